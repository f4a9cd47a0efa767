//! Composes the stages: the only place that knows their order.
//!
//! Owns a run: its inputs one after another (`part`), their files ([`outputs`]), counters (`counts`), gates
//! ([`gate`]) and the manifest. A finished part of a folder is marked, so that a killed run goes on where it stopped.

pub mod baselines;
pub mod calibrate;
pub mod embed;
pub mod emit;
pub mod export;
pub mod gate;
mod judging;
mod manifest;
pub mod outputs;
mod part;
mod recipes;
mod records;
pub mod revert;
pub mod semantic;
mod summary;
pub mod survey;
mod tokenizer;
pub mod trace;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::group::Baselines;
use crate::ingest::{Format, Input, KnownInput, Shape, expand};
use crate::judge::Judge;
use crate::options::{ColumnConfig, Options, RunConfig};
use crate::purifier::Purifier;
use crate::purifier::counts::StageCounts;
use crate::recipe;
use crate::run::{Run, Task};
use crate::schema::{Columns, OutputSchema};
use crate::similarity::semantic::Vectors;
use crate::write::{FileRecord, remove_stale, write_text};
use gate::Gate;
use judging::OwnThread;
pub use manifest::{InputRecord, MANIFEST_VERSION, RunManifest};
use outputs::{Outputs, PartPaths};
use part::PartResult;
use records::{card_text, hash_file, to_text};
pub use records::{manifest_beside, manifests_beside, write_json};
pub use summary::{Summary, write_report};
use trace::PartTrace;

/// The purifier of these settings; a tokenizer that they name is read.
///
/// # Errors
/// Settings that contradict each other, no vectors where they are needed, a tokenizer that can't be read.
pub fn purifier<'a>(settings: &Options, vectors: Option<&'a Vectors>) -> Result<Purifier<'a>, Error> {
    let purifier = Purifier::with_vectors(settings.clone(), vectors)?;
    match &settings.columns.tokenizer {
        Some(path) => Ok(purifier.with_marker(Some(tokenizer::load(path)?))),
        None => Ok(purifier),
    }
}

/// What is written of the rows of an input.
fn output_schema(purifier: &Purifier<'_>, shape: &Shape) -> OutputSchema {
    OutputSchema::new(&shape.schema, &shape.columns, purifier.changes(&shape.columns))
}

/// Token columns can only be spliced where something tells the calls in them.
pub fn check(purifier: &Purifier<'_>, path: &Path, has_tokens: bool) -> Result<(), Error> {
    match purifier.can_cut(has_tokens) {
        true => Ok(()),
        false => Err(Error::NoCallMarker { path: path.to_owned() }),
    }
}

/// Marks a finished part; `key` ties it to input and settings.
#[derive(Serialize, Deserialize)]
struct Marker {
    key: String,
    input: InputRecord,
    result: PartResult,
}

/// Purifies all inputs of a run.
///
/// `vectors` are those that [`semantic::prepare`] has gathered; `judge` answers for the gate's model.
pub fn run(
    config: &RunConfig,
    settings: &Options,
    vectors: Option<&Vectors>,
    judge: Option<&dyn Judge>,
    run: &Run<'_>,
) -> Result<Summary, Error> {
    let started = Instant::now();
    let no_counts = StageCounts::default().to_json();
    let gates = config
        .fail_if
        .iter()
        .map(|text| Gate::parse(text, &no_counts).map_err(|message| Error::usage(message, None)))
        .collect::<Result<Vec<_>, _>>()?;
    let purifier = purifier(settings, vectors)?;
    let judge = judge.map(|judge| OwnThread { judge, run });
    let purifier = purifier.judged_by(judge.as_ref().map(|judge| judge as &dyn Judge));
    let paths = expand(&config.inputs)?;
    let outputs = if config.dry_run {
        None
    } else {
        let (out, report) = (config.out.as_deref(), config.report.as_deref());
        Some(Outputs::plan(&paths, &config.compute.embeddings, out, settings.shard, report)?)
    };
    if let Some(report) = &config.report {
        outputs::refuse_input(report, &paths)?;
        outputs::refuse_input(report, &config.compute.embeddings)?;
    }
    if let Some((outputs, card)) = outputs.as_ref().and_then(|o| Some((o, o.card.as_ref()?))) {
        let root = outputs.parts.first().map(|p| p.root.clone()).unwrap_or_default();
        outputs::refuse_others(&root, outputs.parts.len() * settings.shard.map_or(1, |s| s.of as usize))?;
        outputs::refuse_foreign_card(card)?;
    }
    let asked = outputs.as_ref().map(|o| export::of_run(config, settings, o)).transpose()?.flatten();
    let wants_baselines = settings.needs_groups();
    let mut checked = run.install(|| check_inputs(&purifier, &paths, wants_baselines))?;
    let purifier = match wants_baselines {
        true => {
            let found = baselines::gather(&purifier, checked.iter().filter_map(Checked::known), run)?;
            purifier.with_baselines(found)
        }
        false => purifier,
    };
    if let Some(recipe) = settings.rewards.recipe {
        let inputs: Vec<&Columns> =
            checked.iter().filter_map(Checked::known).map(|known| &known.shape.columns).collect();
        let facts = recipes::facts(&inputs, purifier.baselines());
        recipe::check(recipe, facts).map_err(|unserved| Error::usage(unserved.to_string(), Some(&unserved.hint())))?;
    }
    let baselines = purifier.baselines().map(Baselines::digest).unwrap_or_default();
    let mut summary = Summary {
        counts: StageCounts::default(),
        inputs: Vec::new(),
        written: Vec::new(),
        resumed: 0,
        seconds: 0.0,
        threads: run.threads(),
        gate_failures: Vec::new(),
        gates_undecided: Vec::new(),
        exported: None,
        traces: Vec::new(),
        groups: purifier.baselines().map(Baselines::tally),
        warnings: baselines::warnings(&purifier, checked.iter().filter_map(Checked::known)),
    };
    let mut files = Vec::new();
    for (k, (path, checked)) in paths.iter().zip(checked.drain(..)).enumerate() {
        let part = outputs.as_ref().map(|o| &o.parts[k]);
        let input = run.install(|| checked.open(&settings.columns))?;
        check(&purifier, &input.path, input.columns.response.is_some())?;
        run.progress.start(Task::rollouts(path, k, paths.len(), input.rows));
        let shape = input.shape();
        let mut trace = PartTrace::new(&shape, &output_schema(&purifier, &shape));
        let (record, result) =
            match part.map(|part| finished(part, (settings, &baselines), path)).transpose()?.flatten() {
                Some(marker) => {
                    summary.resumed += 1;
                    run.progress.advance(marker.result.counts.rows_in);
                    (marker.input, marker.result)
                }
                None => do_part(&purifier, (settings, &baselines), input, part, run)?,
            };
        summary.counts.add(&result.counts);
        summary.inputs.push(record);
        if let Some(part) = part {
            summary.written.extend(result.files.iter().map(|f| part.root.join(&f.file)));
            trace.root.clone_from(&part.root);
            trace.files.clone_from(&result.files);
        }
        summary.traces.push(trace);
        files.extend(result.files);
    }
    summary.warnings.splice(0..0, summary.counts.warnings());
    if let Some(outputs) = &outputs {
        finish_outputs(outputs, settings, &mut summary, files)?;
    }
    if let Some(asked) = asked {
        // Whatever the input was, the output is native.
        let columns = ColumnConfig { format: None, ..settings.columns.clone() };
        let exported = export::export(&asked, &columns, run)?;
        let written: Vec<PathBuf> = exported.outputs.iter().filter(|o| !summary.written.contains(o)).cloned().collect();
        summary.written.extend(written);
        summary.exported = Some(exported);
    }
    run.progress.finish();
    let counters = summary.counts.to_json();
    // Entries of a map appear once something was counted.
    (summary.gate_failures, summary.gates_undecided) = gate::check_all(&gates, &counters, Some(0.0));
    if config.strict && summary.counts.rows_rejected > 0 {
        summary
            .gate_failures
            .push(format!("gate failed: --strict, {} rows were rejected", summary.counts.rows_rejected));
    }
    if config.strict {
        summary
            .gate_failures
            .extend(summary.warnings.iter().map(|warning| format!("gate failed: --strict, {warning}")));
    }
    if let Some(rows) = summary.exported.as_ref().map(|e| e.rejected()).filter(|rows| config.strict && *rows > 0) {
        summary.gate_failures.push(format!("gate failed: --strict, {rows} rows could not be exported"));
    }
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// An input before its turn.
enum Checked {
    Open(Box<Input>),
    /// It was looked at: closed, so that thousands of inputs take no handles.
    Known(Box<KnownInput>),
    /// JSON lines: looking at them is a whole pass.
    Unread(PathBuf),
}

impl Checked {
    fn known(&self) -> Option<&KnownInput> {
        match self {
            Checked::Known(known) => Some(known),
            Checked::Open(_) | Checked::Unread(_) => None,
        }
    }

    fn open(self, columns: &ColumnConfig) -> Result<Input, Error> {
        Ok(match self {
            Checked::Open(input) => *input,
            Checked::Known(known) => known.open()?,
            Checked::Unread(path) => Input::open(&path, columns)?,
        })
    }
}

/// Looks at the inputs before anything is written: a bad one fails the run early. The first one is opened to be read.
fn check_inputs(purifier: &Purifier<'_>, paths: &[PathBuf], wants_all: bool) -> Result<Vec<Checked>, Error> {
    let look = |(k, path): (usize, &PathBuf)| {
        if k > 0 && !wants_all && Format::of(path) == Some(Format::JsonLines) {
            return Ok(Checked::Unread(path.clone()));
        }
        let input = Input::open(path, &purifier.options().columns)?;
        check(purifier, path, input.columns.response.is_some())?;
        Ok(if k == 0 && !wants_all { Checked::Open(Box::new(input)) } else { Checked::Known(Box::new(input.close())) })
    };
    paths.iter().enumerate().map(look).collect()
}

fn finish_outputs(
    outputs: &Outputs,
    settings: &Options,
    summary: &mut Summary,
    files: Vec<FileRecord>,
) -> Result<(), Error> {
    let manifest = RunManifest {
        manifest_version: MANIFEST_VERSION,
        tool: "purify",
        tool_version: env!("CARGO_PKG_VERSION"),
        settings,
        inputs: summary.inputs.clone(),
        outputs: files,
        counts: summary.counts.clone(),
        warnings: summary::warning_names(&summary.warnings),
    };
    if let Some(card) = &outputs.card {
        write_text(card, &card_text(settings, outputs.parts.len() == 1 && settings.shard.is_none()))?;
        summary.written.push(card.clone());
    }
    write_text(&outputs.manifest, &to_text(&manifest)?)?;
    summary.written.push(outputs.manifest.clone());
    // The run is whole: markers have done their work.
    for marker in outputs.parts.iter().filter_map(|p| p.marker.as_ref()) {
        remove_stale(marker)?;
        if let Some(folder) = marker.parent() {
            // Another shard may still need it.
            let _ = std::fs::remove_dir(folder);
        }
    }
    Ok(())
}

/// Ties a finished part to its input, the settings, the baselines of all inputs, and the version.
fn part_key((settings, baselines): (&Options, &str), input_hash: &str) -> Result<String, Error> {
    let text = format!("{} {input_hash} {baselines} {}", env!("CARGO_PKG_VERSION"), to_text(settings)?);
    Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
}

/// The marker of a part that an earlier run has done with this input and these settings, if its files still stand.
fn finished(part: &PartPaths, decided_by: (&Options, &str), input: &Path) -> Result<Option<Marker>, Error> {
    let text = part.marker.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    let Some(marker) = text.and_then(|text| serde_json::from_str::<Marker>(&text).ok()) else { return Ok(None) };
    let stands = |file: &FileRecord| std::fs::metadata(part.root.join(&file.file)).is_ok_and(|m| m.len() == file.bytes);
    let is_same = marker.key == part_key(decided_by, &hash_file(input)?)?;
    Ok((is_same && marker.result.files.iter().all(stands)).then_some(marker))
}

/// Purifies one input and marks it as done.
fn do_part(
    purifier: &Purifier<'_>,
    decided_by: (&Options, &str),
    input: Input,
    part: Option<&PartPaths>,
    run: &Run<'_>,
) -> Result<(InputRecord, PartResult), Error> {
    let (path, format, bytes) = (input.path.clone(), input.format_name(), input.size);
    let (hash, result) = std::thread::scope(|scope| {
        // The pool's, so that one thread stays one; done beside the rest, since only the record needs it.
        let hash = scope.spawn(|| run.install(|| hash_file(&path)));
        let result = part::purify(purifier, input, part, decided_by.0.compression_level, run);
        (hash.join(), result)
    });
    let (result, hash) = (result?, hash.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let key = part_key(decided_by, &hash)?;
    let input = InputRecord { file, format, bytes, rows: result.counts.rows_in, blake3: hash };
    let marker = Marker { key, input, result };
    if let Some(path) = part.and_then(|p| p.marker.as_ref()) {
        write_text(path, &to_text(&marker)?)?;
    }
    Ok((marker.input, marker.result))
}
