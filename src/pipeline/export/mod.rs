//! `purify export`, and `--to`: purified rollouts and pairs in the form that a trainer reads.
//!
//! Owns which files are read and written for a target (`sources`), and the record of it; `file` writes one
//! output. What stands in a row is [`crate::export`]'s decision.

mod counts;
mod file;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::manifest::{InputRecord, MANIFEST_VERSION};
use super::outputs::{Outputs, refuse_foreign_card, refuse_input, refuse_others};
use super::records::{hash_file, to_text};
use crate::error::Error;
use crate::export::{ExportTarget, PROFILES, Profile, Target, card, targets};
use crate::ingest::{EXPORT_FOLDER, EXPORT_RECORD};
use crate::options::{ColumnConfig, CompressionLevel, ExportConfig, Options, RunConfig};
use crate::run::Run;
use crate::write::{FileRecord, export as rows, remove_stale, write_text};
pub use counts::ExportCounts;
use file::{Content, Writer};
use sources::Sources;

/// What was written, for people and for the next step of a DAG.
#[derive(Debug, Serialize)]
pub struct ExportSummary {
    pub target: &'static str,
    /// By what the files hold: of a folder `sft`, `dpo` and `audit`, else the target.
    pub counts: BTreeMap<String, ExportCounts>,
    pub outputs: Vec<PathBuf>,
    /// Rows hold tokens in place of messages.
    pub as_tokens: bool,
}

impl ExportSummary {
    pub fn rejected(&self) -> u64 {
        self.counts.values().map(|c| c.rows_rejected).sum()
    }
}

#[derive(Serialize)]
struct Record<'r> {
    manifest_version: u32,
    tool: &'static str,
    tool_version: &'static str,
    target: &'static str,
    columns: &'r ColumnConfig,
    compression_level: CompressionLevel,
    inputs: Vec<InputRecord>,
    outputs: Vec<FileRecord>,
    counts: &'r BTreeMap<String, ExportCounts>,
}

/// Writes the inputs for the target, with rejects and a record beside them.
pub fn export(config: &ExportConfig, columns: &ColumnConfig, run: &Run<'_>) -> Result<ExportSummary, Error> {
    let to = target_of(&config.to)?;
    let sources = run.install(|| Sources::find(config, to, columns))?;
    let plan = Plan::new(config, to, &sources)?;
    let written = plan.files.iter().map(|f| &f.path).chain([&plan.rejects, &plan.record]).chain(&plan.card);
    for path in written {
        refuse_input(path, &sources.all())?;
    }
    if let Some(card) = &plan.card {
        refuse_others(&plan.root, plan.data.len())?;
        refuse_foreign_card(card)?;
    }
    let writer = Writer { config, root: &plan.root, run };
    let mut counts: BTreeMap<String, ExportCounts> = BTreeMap::new();
    let mut rejected = Vec::new();
    let mut records = plan.copied(&sources)?;
    for planned in &plan.files {
        let done = writer.write(planned.content, &planned.path, &sources)?;
        let is_needed = plan.card.is_none() || done.counts.rows_out > 0;
        counts.insert(planned.name.to_owned(), done.counts);
        rejected.extend(done.rejects);
        match is_needed {
            true => records.push(done.record),
            // A configuration without rows can't be loaded.
            false => remove_stale(&planned.path)?,
        }
    }
    match rejected.is_empty() {
        true => remove_stale(&plan.rejects)?,
        false => records.push(writer.write_rejects(&plan.rejects, &rejected)?),
    }
    let mut outputs: Vec<PathBuf> = records.iter().map(|r| plan.root.join(&r.file)).collect();
    let record = Record {
        manifest_version: MANIFEST_VERSION,
        tool: "purify",
        tool_version: env!("CARGO_PKG_VERSION"),
        target: to.name(),
        columns,
        compression_level: config.compression_level,
        inputs: sources.records()?,
        outputs: records,
        counts: &counts,
    };
    if let Some(path) = &plan.card {
        write_text(path, &card::text(&plan.facts(config, &sources, &record, &counts)))?;
        outputs.push(path.clone());
    }
    write_text(&plan.record, &to_text(&record)?)?;
    outputs.push(plan.record.clone());
    Ok(ExportSummary { target: to.name(), counts, outputs, as_tokens: sources.facts.as_tokens })
}

/// The export that `--to` asks for after the main job; `None` if it does not.
///
/// # Errors
/// If the run's outputs can't be exported together.
pub fn of_run(run: &RunConfig, settings: &Options, outputs: &Outputs) -> Result<Option<ExportConfig>, Error> {
    let Some(name) = &run.to else { return Ok(None) };
    let to = target_of(name)?;
    if run.shard.is_some() {
        return Err(Error::usage(
            "--to exports all rows, and --shard writes a part of them",
            Some("run `purify export` when all parts are there"),
        ));
    }
    let inputs: Vec<PathBuf> = outputs.parts.iter().map(|p| p.data.clone()).collect();
    let root = outputs.parts.first().map(|p| p.root.clone()).unwrap_or_default();
    let out = match (&outputs.card, to) {
        (Some(_), ExportTarget::Folder) => Some(root),
        (None, ExportTarget::Folder) => {
            return Err(Error::usage("--to folder needs --out FOLDER", None));
        }
        (Some(_), ExportTarget::Profile(profile)) => {
            let name = format!("{}.{}", profile.name, profile.container.extension());
            Some(root.join(EXPORT_FOLDER).join(name))
        }
        (None, ExportTarget::Profile(_)) => None,
    };
    let (compression_level, threads) = (settings.compression_level, run.threads);
    Ok(Some(ExportConfig { inputs, to: name.clone(), out, license: None, compression_level, strict: false, threads }))
}

fn target_of(name: &str) -> Result<ExportTarget, Error> {
    let known = || targets().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let unknown = || Error::usage(format!("there is no target `{name}`"), Some(&format!("targets are {}", known())));
    ExportTarget::named(name).ok_or_else(unknown)
}

/// (file, rows, hash) of each.
fn named(inputs: &[InputRecord]) -> Vec<(String, u64, String)> {
    inputs.iter().map(|i| (i.file.clone(), i.rows, i.blake3.clone())).collect()
}

/// One file of an export.
struct Planned {
    /// Under which it is counted.
    name: &'static str,
    content: Content,
    path: PathBuf,
}

/// All files of an export.
struct Plan {
    /// The folder that names in the record are relative to.
    root: PathBuf,
    files: Vec<Planned>,
    /// Where the rollouts themselves go, in a folder.
    data: Vec<PathBuf>,
    rejects: PathBuf,
    record: PathBuf,
    card: Option<PathBuf>,
}

impl Plan {
    fn new(config: &ExportConfig, to: ExportTarget, sources: &Sources) -> Result<Self, Error> {
        let profile = match to {
            ExportTarget::Folder => return Self::folder(config, sources),
            ExportTarget::Profile(profile) => profile,
        };
        let extension = format!("{}.{}", profile.name, profile.container.extension());
        let named_after = |input: &Path| input.with_extension(&extension);
        let path = match (&config.out, sources.asked.as_slice()) {
            (Some(out), [first, ..]) if out.is_dir() => out.join(named_after(first).file_name().unwrap_or_default()),
            (Some(out), _) => out.clone(),
            (None, [one]) => named_after(one),
            (None, several) => {
                return Err(Error::usage(
                    format!("{} inputs need --out FILE", several.len()),
                    Some("a single input is exported beside itself, several into one file"),
                ));
            }
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Plan {
            root: path.parent().unwrap_or(Path::new("")).to_owned(),
            rejects: path.with_file_name(format!("{stem}.rejects.parquet")),
            record: path.with_file_name(format!("{stem}.manifest.json")),
            files: vec![Planned {
                name: profile.name,
                content: Content::Rows(Target { profile, facts: sources.facts }),
                path,
            }],
            data: Vec::new(),
            card: None,
        })
    }

    /// The layout of the hubs' data sets: a folder for each configuration.
    fn folder(config: &ExportConfig, sources: &Sources) -> Result<Self, Error> {
        let Some(root) = config.out.clone().filter(|out| !out.is_file()) else {
            return Err(Error::usage("--to folder needs --out FOLDER", None));
        };
        if sources.rollouts.is_empty() {
            return Err(Error::usage("--to folder needs purified rollouts, found pairs alone", None));
        }
        let in_folder = |name: &str| root.join(name).join(card::PART);
        let configured = PROFILES.iter().filter_map(|profile| Some((*profile, profile.configuration?)));
        let has_source = |profile: &Profile| !profile.made_of.needs_pairs() || !sources.pairs.is_empty();
        let mut files: Vec<Planned> = configured
            .filter(|(profile, _)| has_source(profile))
            .map(|(profile, name)| {
                let target = Target { profile, facts: sources.facts };
                Planned { name, content: Content::Rows(target), path: in_folder(name) }
            })
            .collect();
        if sources.are_purified {
            files.push(Planned { name: "audit", content: Content::Repairs, path: in_folder("audit") });
        }
        let total = sources.rollouts.len();
        let data = (0..total).map(|k| root.join("data").join(format!("train-{k:05}-of-{total:05}.parquet")));
        Ok(Plan {
            files,
            data: data.collect(),
            rejects: root.join("export.rejects.parquet"),
            record: root.join(EXPORT_RECORD),
            card: Some(root.join("README.md")),
            root,
        })
    }

    /// Brings the rollouts themselves into a folder, unless they stand there.
    fn copied(&self, sources: &Sources) -> Result<Vec<FileRecord>, Error> {
        let mut records = Vec::new();
        for (from, to) in sources.rollouts.iter().zip(&self.data) {
            let stands = from.path.canonicalize().is_ok_and(|from| to.canonicalize().is_ok_and(|to| from == to));
            let mut record = match stands {
                true => FileRecord {
                    file: String::new(),
                    rows: from.rows,
                    bytes: from.bytes,
                    blake3: hash_file(&from.path)?,
                },
                false => rows::copy(&from.path, to, from.rows)?,
            };
            record.file = to.strip_prefix(&self.root).unwrap_or(to).to_string_lossy().into_owned();
            records.push(record);
        }
        Ok(records)
    }

    /// The rollouts' files, those with the same columns together.
    fn by_columns(&self, sources: &Sources) -> Vec<card::Rollouts> {
        let mut out: Vec<(&str, card::Rollouts)> = Vec::new();
        for (source, path) in sources.rollouts.iter().zip(&self.data) {
            let name = path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned();
            let at = out.iter().position(|(columns, _)| *columns == source.columns).unwrap_or(out.len());
            if at == out.len() {
                out.push((&source.columns, card::Rollouts::default()));
            }
            out[at].1.files.push(name);
            out[at].1.rows += source.rows;
        }
        out.into_iter().map(|(_, part)| part).collect()
    }

    /// What the card of a folder tells.
    fn facts(
        &self,
        config: &ExportConfig,
        sources: &Sources,
        record: &Record<'_>,
        counts: &BTreeMap<String, ExportCounts>,
    ) -> card::Facts {
        let manifest = sources.manifest();
        let raw: Option<Vec<InputRecord>> =
            manifest.as_ref().and_then(|m| serde_json::from_value(m.get("inputs")?.clone()).ok());
        let of = |name: &str| counts.get(name).map(|c| c.rows_out).filter(|rows| *rows > 0);
        card::Facts {
            version: env!("CARGO_PKG_VERSION"),
            license: config.license.clone(),
            rollouts: self.by_columns(sources),
            sft: of("sft").unwrap_or_default(),
            as_tokens: sources.facts.as_tokens,
            dpo: of("dpo"),
            repairs: of("audit"),
            rejected: counts.values().map(|c| c.rows_rejected).sum(),
            inputs: named(raw.as_ref().unwrap_or(&record.inputs)),
            settings: manifest.as_ref().and_then(|m| m.get("settings")?.get("method")).cloned(),
            counts: manifest.as_ref().and_then(|m| m.get("counts")).cloned().unwrap_or(Value::Null),
        }
    }
}
