//! Small records beside the data: hashes, manifests as they are found again, the card of a folder.
//!
//! Owns their reading and their text. What a manifest says is [`super::manifest`]'s.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::ingest::{IngestError, MANIFEST};
use crate::options::Options;
use crate::write::write_text;

/// The manifest of the run that wrote a file, if it still stands there.
pub fn manifest_beside(data: &Path) -> Option<Value> {
    parsed(&whole_manifest(data)?)
}

/// The manifests of the runs that wrote some files, each once: of a run in shards, those of all shards.
pub fn manifests_beside(data: &[PathBuf]) -> Vec<Value> {
    let of = |data: &PathBuf| whole_manifest(data).map_or_else(|| shard_manifests(data), |file| vec![file]);
    let files: BTreeSet<PathBuf> = data.iter().flat_map(of).collect();
    files.iter().filter_map(|file| parsed(file)).collect()
}

fn parsed(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// The folder above that of a file.
fn folder_above(data: &Path) -> Option<PathBuf> {
    Some(std::path::absolute(data).ok()?.parent()?.parent()?.to_owned())
}

/// Beside a file under its name, or else above it.
fn whole_manifest(data: &Path) -> Option<PathBuf> {
    let stem = data.file_stem()?.to_string_lossy().into_owned();
    let beside = data.with_file_name(format!("{stem}.manifest.json"));
    let above = folder_above(data).map(|folder| folder.join(MANIFEST));
    [Some(beside), above].into_iter().flatten().find(|file| file.is_file())
}

/// Above a file of a run in shards. Each counts its own rows alone.
fn shard_manifests(data: &Path) -> Vec<PathBuf> {
    let entries = folder_above(data).and_then(|folder| std::fs::read_dir(folder).ok());
    let names = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_shards = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("manifest-") && name.ends_with(".json")
    };
    names.filter(is_shards).collect()
}

pub(super) fn hash_file(path: &Path) -> Result<String, Error> {
    let failed = |source| IngestError::Open { path: path.to_owned(), source };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).map_err(failed)?).map_err(failed)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Writes plain data as JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    write_text(path, &to_text(value)?)?;
    Ok(())
}

pub(super) fn to_text(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Error::usage(format!("a record can't be written as JSON: {error}"), None))
}

/// The data set's card: front matter that `datasets` reads, and what was done.
pub(super) fn card_text(settings: &Options, single: bool) -> String {
    let pairs = match (settings.pairs, single) {
        (false, _) => "",
        (true, true) => "- config_name: pairs\n  data_files:\n  - split: train\n    path: pairs.parquet\n",
        (true, false) => "- config_name: pairs\n  data_files:\n  - split: train\n    path: pairs/train-*\n",
    };
    format!(
        "---\nconfigs:\n- config_name: default\n  default: true\n  data_files:\n  - split: train\n    path: data/train-*\n{pairs}\
         tags:\n- agent\n- tool-use\n- rlhf\n---\n\n# Purified rollouts\n\n\
         Failed tool calls that the model itself corrected were replaced by its own correction (SAAR, arXiv 2601.15141), \
         by purify {}. No text was invented or edited. The column `purification` records for each rollout what was done; \
         `manifest.json` holds settings, inputs, counts and hashes; rows that were not written are in `rejects`.\n",
        env!("CARGO_PKG_VERSION")
    )
}
