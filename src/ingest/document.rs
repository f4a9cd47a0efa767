//! One JSON document: a rollout, or a list of them, as lines.
//!
//! Owns what a document itself does not say: a trial's reward and task, which its `result.json` has, and the task that a
//! `.traj` file is named after.

use std::path::Path;

use serde_json::Value;

use super::IngestError;
use super::formats::{Beside, Form, INSTANCE, Row, TRIAL_RESULT};
use crate::batch::json::numbers::{large_number, may_be_large};

/// The rows of a document, one a line.
pub(super) fn lines(path: &Path) -> Result<Vec<u8>, IngestError> {
    let text = std::fs::read(path).map_err(|source| IngestError::Open { path: path.to_owned(), source })?;
    let not_json = |e: serde_json::Error| {
        let (detail, is_cut_off) = (e.to_string(), e.is_eof());
        IngestError::NotJson { path: path.to_owned(), detail, is_cut_off }
    };
    let value = serde_json::from_slice(&text).map_err(not_json)?;
    if may_be_large(&value)
        && let Some(number) = std::str::from_utf8(&text).ok().and_then(large_number)
    {
        return Err(IngestError::LargeNumber { path: path.to_owned(), number });
    }
    let rows = match value {
        Value::Array(rows) => rows,
        row => vec![row],
    };
    let beside = |row: &Row| Form::of(row).map_or(Beside::Nothing, |form| form.beside);
    let has_trial = rows.iter().filter_map(Value::as_object).any(|row| beside(row) == Beside::TrialResult);
    let result = if has_trial { trial_result(path)? } else { None };
    let task = path.extension().filter(|end| *end == "traj").and(path.file_stem()).map(|stem| stem.to_string_lossy());
    let mut out = Vec::with_capacity(text.len());
    for mut row in rows {
        if let Some(object) = row.as_object_mut() {
            match (beside(object), &result, &task) {
                (Beside::TrialResult, Some(result), _) => {
                    object.insert(TRIAL_RESULT.to_owned(), result.clone());
                }
                (Beside::FileName, _, Some(task)) => {
                    object.entry(INSTANCE).or_insert_with(|| task.as_ref().into());
                }
                (Beside::Nothing | Beside::TrialResult | Beside::FileName, _, _) => {}
            }
        }
        serde_json::to_writer(&mut out, &row).map_err(not_json)?;
        out.push(b'\n');
    }
    Ok(out)
}

/// harbor's `result.json`: beside the trajectory, or beside its folder.
fn trial_result(path: &Path) -> Result<Option<Value>, IngestError> {
    let files = path.ancestors().skip(1).take(2).map(|folder| folder.join("result.json"));
    let Some((file, text)) = files.filter_map(|file| std::fs::read(&file).ok().map(|text| (file, text))).next() else {
        return Ok(None);
    };
    match serde_json::from_slice(&text) {
        Ok(result @ Value::Object(_)) => Ok(Some(result)),
        Ok(_) => Err(IngestError::NoResult { path: file, detail: "it is another kind of value".to_owned() }),
        Err(error) => Err(IngestError::NoResult { path: file, detail: error.to_string() }),
    }
}
