//! Inputs as they are given to the files that are read.
//!
//! Owns globs, folders and their order. What a file holds is told when it is opened.

use std::path::{Path, PathBuf};

use super::container::Format;
use super::error::IngestError;

/// Record of an exported folder.
pub const EXPORT_RECORD: &str = "export.json";
/// Folder of exports beside the rollouts of a folder.
pub const EXPORT_FOLDER: &str = "export";
/// Record of a purified folder.
pub const MANIFEST: &str = "manifest.json";

/// Files, globs and folders to files, sorted by name within each argument; each file once.
pub fn expand(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, IngestError> {
    let mut out: Vec<PathBuf> = Vec::new();
    for input in inputs {
        let text = input.to_string_lossy();
        let found = if input.is_dir() {
            let mut found = Vec::new();
            list_folder(input, &mut found)?;
            found.sort();
            found
        } else if input.exists() || !text.contains(['*', '?', '[']) {
            vec![input.clone()]
        } else {
            let paths =
                glob::glob(&text).map_err(|source| IngestError::Pattern { pattern: text.to_string(), source })?;
            let mut found: Vec<PathBuf> = paths.flatten().filter(|p| p.is_file() && Format::of(p).is_some()).collect();
            found.sort();
            found
        };
        if found.is_empty() {
            return Err(IngestError::NoMatch { pattern: text.into_owned() });
        }
        for path in found {
            if !out.contains(&path) {
                out.push(path);
            }
        }
    }
    Ok(out)
}

/// Pairs and rejects that an earlier run has left in a folder, and the forms beside an export's rollouts: no rollouts to
/// purify.
fn is_companion(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stands_beside = |record: &str| path.is_dir() && path.with_file_name(record).is_file();
    if ["sft", "dpo", "audit"].contains(&&*name) && stands_beside(EXPORT_RECORD)
        || name == EXPORT_FOLDER && stands_beside(MANIFEST)
    {
        return true;
    }
    ["pairs", "rejects"].iter().any(|what| {
        (path.is_dir() && name == *what)
            || name == format!("{what}.parquet")
            || name.ends_with(&format!(".{what}.parquet"))
    })
}

/// Folders are full of JSON that is not data: of documents only trajectories are taken from them.
fn is_listed(path: &Path) -> bool {
    match Format::of(path) {
        Some(Format::Json) => path.extension().is_some_and(|end| end == "traj") || path.ends_with("trajectory.json"),
        found => found.is_some(),
    }
}

fn list_folder(folder: &Path, out: &mut Vec<PathBuf>) -> Result<(), IngestError> {
    let open = |source| IngestError::Open { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(open)? {
        let path = entry.map_err(open)?.path();
        let is_hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if is_hidden || is_companion(&path) {
        } else if path.is_dir() {
            list_folder(&path, out)?;
        } else if is_listed(&path) {
            out.push(path);
        }
    }
    Ok(())
}
