//! What an export reads: purified rollouts, and the pairs that stand beside them.
//!
//! Owns how the files are told apart and found. A target that is made of pairs looks for them where the main job puts them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::batch::sample::REFERENCE_LOGPS;
use crate::error::Error;
use crate::export::{ExportTarget, Facts, MadeOf};
use crate::ingest::{Input, KnownInput, expand};
use crate::options::{ColumnConfig, ExportConfig};
use crate::pipeline::manifest::InputRecord;
use crate::pipeline::records::{hash_file, manifest_beside};

/// One file that is read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub path: PathBuf,
    pub input: KnownInput,
    pub format: String,
    /// Known for Parquet.
    pub rows: u64,
    pub bytes: u64,
    /// Equal where columns and types are.
    pub columns: String,
}

/// The files of an export, and what they have.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The files that were asked for.
    pub asked: Vec<PathBuf>,
    pub rollouts: Vec<Source>,
    pub pairs: Vec<Source>,
    pub facts: Facts,
    /// A record of repairs in all rollouts.
    pub are_purified: bool,
}

impl Sources {
    pub(super) fn find(config: &ExportConfig, to: ExportTarget, columns: &ColumnConfig) -> Result<Self, Error> {
        let facts = Facts { as_tokens: true, has_reference: true, ..Facts::default() };
        let mut out = Sources { facts, are_purified: true, ..Sources::default() };
        out.asked = expand(&config.inputs)?;
        for path in out.asked.clone() {
            out.add(&path, columns)?;
        }
        let made_of = match to {
            ExportTarget::Profile(profile) => Some(profile.made_of),
            ExportTarget::Folder => None,
        };
        let is_made_of_pairs = made_of == Some(MadeOf::Pairs);
        if to.needs_pairs() && out.pairs.is_empty() {
            let rollouts: Vec<PathBuf> = out.rollouts.iter().map(|r| r.path.clone()).collect();
            for path in rollouts {
                match companion(&path) {
                    Some(pairs) => out.add(&pairs, columns)?,
                    None if is_made_of_pairs => return Err(no_pairs(&path, to)),
                    None => {}
                }
            }
        }
        if is_made_of_pairs {
            out.rollouts.clear();
        }
        let needs_rollouts = made_of == Some(MadeOf::Rollouts);
        if let Some(pairs) = out.pairs.first().filter(|_| needs_rollouts) {
            return Err(Error::Mismatch {
                path: pairs.path.clone(),
                detail: format!("it holds pairs, expected rollouts for `{}`", to.name()),
                hint: "give the purified file; pairs go to trl-dpo and trl-kto",
            });
        }
        out.facts.as_tokens &= !out.rollouts.is_empty();
        out.facts.has_reference &= !out.pairs.is_empty();
        out.are_purified &= !out.rollouts.is_empty();
        if let Some(raw) = out.rollouts.first().filter(|_| to == ExportTarget::Folder && !out.are_purified) {
            return Err(Error::Mismatch {
                path: raw.path.clone(),
                detail: "it has no column `purification`, which the folder's card and its `audit` tell of".to_owned(),
                hint: "purify it first; --to folder on the main job does both",
            });
        }
        Ok(out)
    }

    fn add(&mut self, path: &Path, columns: &ColumnConfig) -> Result<(), Error> {
        let input = Input::open_any(path, columns)?;
        let (path, format) = (path.to_owned(), input.format_name());
        let (rows, bytes) = (input.rows.unwrap_or_default(), input.size);
        let columns = format!("{:?}", input.schema.fields());
        let input = input.close();
        let source = Source { path, format, rows, bytes, columns, input };
        let shape = &source.input.shape;
        if shape.columns.preference.is_some() && shape.columns.messages.is_none() {
            self.facts.has_reference &= REFERENCE_LOGPS.iter().all(|name| shape.schema.index_of(name).is_ok());
            self.pairs.push(source);
        } else {
            self.facts.as_tokens &= shape.columns.response.is_some() && shape.columns.prompt_ids.is_some();
            self.facts.has_advantage |= shape.columns.advantage.is_some();
            self.facts.has_token_advantages |= shape.columns.token_advantages.is_some();
            self.are_purified &= shape.columns.purification.is_some();
            self.rollouts.push(source);
        }
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<PathBuf> {
        self.rollouts.iter().chain(&self.pairs).map(|s| s.path.clone()).collect()
    }

    pub(super) fn records(&self) -> Result<Vec<InputRecord>, Error> {
        let record = |source: &Source| {
            Ok(InputRecord {
                file: source.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                format: source.format.clone(),
                bytes: source.bytes,
                rows: source.rows,
                blake3: hash_file(&source.path)?,
            })
        };
        self.rollouts.iter().chain(&self.pairs).map(record).collect()
    }

    /// The main job's manifest beside the first rollouts.
    pub(super) fn manifest(&self) -> Option<Value> {
        manifest_beside(&self.rollouts.first()?.path)
    }
}

/// The pairs that the main job has written beside a file of purified rollouts.
fn companion(rollouts: &Path) -> Option<PathBuf> {
    let stem = rollouts.file_stem()?.to_string_lossy().into_owned();
    let folder = rollouts.parent()?;
    let above = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "data"));
    let name = rollouts.file_name()?;
    let in_folder = above.map(|root| [root.join("pairs").join(name), root.join("pairs.parquet")]);
    let beside = folder.join(format!("{stem}.pairs.parquet"));
    std::iter::once(beside).chain(in_folder.into_iter().flatten()).find(|path| path.is_file())
}

fn no_pairs(path: &Path, to: ExportTarget) -> Error {
    Error::Mismatch {
        path: path.to_owned(),
        detail: format!("it has no pairs beside it, which `{}` is made of", to.name()),
        hint: "purify the raw file with --pairs, or give the file of pairs",
    }
}
