//! One JSON document: a rollout, or a list of them, as lines.
//!
//! Owns what stands beside a document: a trial's `result.json`, whose reward and task the trajectory itself does not name.

use std::path::Path;

use serde_json::Value;

use super::IngestError;
use super::formats::{TRIAL_RESULT, is_trajectory};

/// The rows of a document, one a line.
pub(super) fn lines(path: &Path) -> Result<Vec<u8>, IngestError> {
    let text = std::fs::read(path).map_err(|source| IngestError::Open { path: path.to_owned(), source })?;
    let not_json = |e: serde_json::Error| IngestError::NotJson { path: path.to_owned(), detail: e.to_string() };
    let rows = match serde_json::from_slice(&text).map_err(not_json)? {
        Value::Array(rows) => rows,
        row => vec![row],
    };
    let result = trial_result(path);
    let mut out = Vec::with_capacity(text.len());
    for mut row in rows {
        if let (Some(object), Some(result)) = (row.as_object_mut().filter(|row| is_trajectory(row)), &result) {
            object.insert(TRIAL_RESULT.to_owned(), result.clone());
        }
        serde_json::to_writer(&mut out, &row).map_err(not_json)?;
        out.push(b'\n');
    }
    Ok(out)
}

/// harbor's `result.json`: beside the trajectory, or beside its folder.
fn trial_result(path: &Path) -> Option<Value> {
    let folders = path.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join("result.json"))
        .find_map(|file| serde_json::from_slice(&std::fs::read(file).ok()?).ok())
}
