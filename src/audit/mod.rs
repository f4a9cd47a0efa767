//! Audits: what was done to a data set, and whether it can be trusted. Reads, counts, draws; changes nothing.
//!
//! Owns the order: rows are walked over, counted, summed up, gated. [`report`] says what the numbers are called; [`html`] makes
//! a page of them. Given raw data alone, the other side is what purifying with the settings would make of it.

mod auditor;
mod counts;
mod decided;
mod edited;
mod groups;
pub mod html;
pub mod lineage;
pub mod repairs;
pub mod report;
mod sensitivity;
mod side;
mod walk;
pub mod why;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::ingest::{RowOf, expand};
use crate::options::{AuditConfig, Options};
use crate::pipeline::gate::{self, Gate};
use crate::pipeline::outputs::refuse_input;
use crate::pipeline::write_json;
use crate::run::{Run, Task};
use crate::similarity::semantic::Vectors;
use crate::write::{AtomicFile, WriteError};
use auditor::Auditor;
use counts::Total;
use decided::{Decided, in_force};
use html::Page;
use report::{AuditReport, ByColumn, Part, REPORT_VERSION, RowCounts, RunCounts, Tally};
use sensitivity::InForce;
use walk::{Stretch, Walk};

/// Columns that commonly say where a rollout comes from.
const SOURCES: [&str; 6] = ["data_source", "source", "env", "environment", "dataset", "domain"];

/// Audits raw data, and what became of it if that is given. `vectors`, if there are any, say what meaning would decide. Writes
/// the JSON and the page that the settings ask for.
pub fn audit(
    config: &AuditConfig,
    settings: &Options,
    vectors: Option<&Vectors>,
    run: &Run<'_>,
) -> Result<AuditReport, Error> {
    let gates = gates(config)?;
    let raw = expand(std::slice::from_ref(&config.raw))?;
    let purified = config.purified.as_ref().map(|path| expand(std::slice::from_ref(path))).transpose()?;
    for out in config.json.iter().chain(&config.html) {
        refuse_input(out, &raw)?;
        refuse_input(out, purified.as_deref().unwrap_or_default())?;
    }
    if let (Some(json), Some(html)) = (&config.json, &config.html) {
        refuse_input(json, std::slice::from_ref(html))
            .map_err(|_| Error::usage("--json and --html name the same file", Some("give one of them another name")))?;
    }
    let first = purified.iter().flatten().next().or(config.purified.as_ref()).map(|path| path.as_path());
    let decided = purified.as_deref().map(Decided::of).unwrap_or_default();
    let method = decided.method().unwrap_or_else(|| settings.method.clone());
    let settings = &Options { method, ..settings.clone() };
    let now = in_force(settings);
    let auditor = Auditor::new(settings, vectors, (&config.raw, first), now, config.html.is_some())?;
    let mut page = config.html.as_deref().map(PageFile::begin).transpose()?;
    let purified = purified.as_deref();
    let walk = Walk { raw: &raw, purified: purified.map(|p| (p, decided.shards())), columns: &settings.columns };
    run.progress.start(Task::rollouts(&config.raw, 0, 1, None));
    let mut all = Total::default();
    let by = By::Unknown(config.by.clone());
    let look = |stretch: Stretch, column: Option<Arc<str>>| auditor.count(stretch, column.as_deref());
    let (files, by) = walk.each(run, by, By::of, look, |found| {
        all.add(found.stretch);
        let page = page.as_mut();
        page.map_or(Ok(()), |page| found.views.into_iter().try_for_each(|view| page.write(|page| page.repair(view))))
    })?;
    run.progress.finish();
    let column = match by {
        By::Known(column) => column.map(|column| column.to_string()),
        By::Unknown(named) => named,
    };
    let mut report = summed_up(all, column, settings, now, purified.is_some());
    report.files = files;
    report.detects_alike = decided.detects_like(settings);
    if report.is_purified {
        report.settings_known = decided.is_known();
        report.repairs.skipped = decided.skipped();
    }
    if let Some(then) = decided.settings() {
        report.settings = then.clone();
    }
    (report.gate_failures, report.gates_undecided) = gate::check_all(&gates, &numbers(&report, false), None);
    if let Some(path) = &config.json {
        write_json(path, &report)?;
    }
    if let Some(page) = page {
        page.finish(&report)?;
    }
    Ok(report)
}

/// The settings whose comparisons an audit makes: vectors are gathered for them.
pub fn widest(settings: &Options) -> Options {
    let mut widest = Options { method: auditor::every_run(&settings.method), ..settings.clone() };
    widest.semantic.also_semantic = true;
    widest
}

/// The report's page, and where it goes.
struct PageFile<'p> {
    page: Page<AtomicFile>,
    path: &'p Path,
}

impl<'p> PageFile<'p> {
    fn begin(path: &'p Path) -> Result<Self, Error> {
        let page = Page::begin(AtomicFile::create(path)?).map_err(|source| unwritable(path, source))?;
        Ok(PageFile { page, path })
    }

    fn write(&mut self, write: impl FnOnce(&mut Page<AtomicFile>) -> io::Result<()>) -> Result<(), Error> {
        write(&mut self.page).map_err(|source| unwritable(self.path, source))
    }

    fn finish(self, report: &AuditReport) -> Result<(), Error> {
        let file = self.page.finish(report).map_err(|source| unwritable(self.path, source))?;
        file.finish(0)?;
        Ok(())
    }
}

fn unwritable(path: &Path, source: io::Error) -> Error {
    WriteError::Io { path: path.to_owned(), source }.into()
}

/// The comparisons of `--fail-if`, over the numbers that any report may have.
fn gates(config: &AuditConfig) -> Result<Vec<Gate>, Error> {
    let mut part = Part::default();
    part.repairs.skipped = Some(Default::default());
    let any_part = BTreeMap::from([(gate::ANY.to_owned(), part.clone())]);
    let mut any = AuditReport {
        repairs: part.repairs,
        groups: Some(Default::default()),
        by_column: Some(ByColumn { values: any_part.clone(), ..Default::default() }),
        by_reward: any_part,
        ..Default::default()
    };
    any.sensitivity.semantic = Some(Default::default());
    let mut known = numbers(&any, false);
    name_entries(&mut known);
    let parse = |text: &String| Gate::parse(text, &known).map_err(|message| Error::usage(message, None));
    config.fail_if.iter().map(parse).collect()
}

/// Says of maps whose names the data gives what each of their entries holds.
fn name_entries(known: &mut Map<String, Value>) {
    let entry = |value: Value| Value::Object(Map::from_iter([(gate::ANY.to_owned(), value)]));
    let tally = || serde_json::to_value(Tally::default()).unwrap_or_default();
    for (name, value) in known.iter_mut() {
        let Value::Object(below) = value else { continue };
        match name.as_str() {
            "repairs" => {}
            "by_tool" => *value = entry(tally()),
            "failure_runs" => *value = entry(serde_json::to_value(RunCounts::default()).unwrap_or_default()),
            _ => name_entries(below),
        }
    }
}

/// Every number of a report at its path, such as `after.error_rate` or `before.by_position.0.failed`; null is what is not known.
/// Texts are left out, and with `is_short` lists and parts of the data as well.
pub fn numbers(report: &AuditReport, is_short: bool) -> Map<String, Value> {
    fn kept(value: Value, is_short: bool) -> Option<Value> {
        let below = |fields: &mut dyn Iterator<Item = (String, Value)>| {
            let kept = fields.filter_map(|(name, value)| kept(value, is_short).map(|value| (name, value)));
            Some(Value::Object(kept.collect()))
        };
        match value {
            Value::Number(_) | Value::Null => Some(value),
            Value::Object(fields) => below(&mut fields.into_iter()),
            Value::Array(items) if !is_short => {
                below(&mut items.into_iter().enumerate().map(|(k, item)| (k.to_string(), item)))
            }
            _ => None,
        }
    }
    let report = AuditReport { settings: Value::Bool(true), ..report.clone() };
    let mut numbers = match serde_json::to_value(report).map(|report| kept(report, is_short)) {
        Ok(Some(Value::Object(numbers))) => numbers,
        _ => Map::new(),
    };
    numbers.retain(|name, _| !is_short || !matches!(name.as_str(), "by_reward" | "by_column"));
    numbers
}

/// By which column rows are told apart: the first row tells.
enum By {
    /// There was no row yet; the column that was asked for.
    Unknown(Option<String>),
    Known(Option<Arc<str>>),
}

impl By {
    fn of(&mut self, stretch: &Stretch) -> Result<Option<Arc<str>>, Error> {
        if let (By::Unknown(named), Some((first, _))) = (&*self, stretch.raw.first()) {
            let column = match named {
                Some(named) if first.batch.text_column(named).is_none() => return Err(no_column(first, named)),
                Some(named) => Some(named.clone()),
                None => source_column(first),
            };
            *self = By::Known(column.map(Arc::from));
        }
        Ok(match self {
            By::Unknown(_) => None,
            By::Known(column) => column.clone(),
        })
    }
}

fn no_column(row: &RowOf, named: &str) -> Error {
    let schema = row.batch.batch.schema();
    let texts = schema.fields().iter().map(|field| field.name()).filter(|name| row.batch.text_column(name).is_some());
    let texts: Vec<&str> = texts.map(String::as_str).collect();
    Error::usage(
        format!("--by: there is no column of text `{named}`"),
        Some(&format!("there are {}", texts.join(", "))),
    )
}

fn source_column(row: &RowOf) -> Option<String> {
    SOURCES.iter().find(|name| row.batch.text_column(name).is_some()).map(|name| (*name).to_owned())
}

fn summed_up(
    mut total: Total,
    column: Option<String>,
    settings: &Options,
    now: InForce,
    is_purified: bool,
) -> AuditReport {
    total.finish(!is_purified);
    let Total { counts, all: Part { before, after, repairs, guards }, by_reward, by_column } = total;
    let appended = repairs.skipped.iter().flatten().find(|(why, _)| *why == "gate").map_or(0, |(_, runs)| *runs);
    AuditReport {
        report_version: REPORT_VERSION,
        decisions: counts.decisions,
        tool: "purify",
        tool_version: env!("CARGO_PKG_VERSION"),
        files: Vec::new(),
        is_purified,
        settings_known: true,
        detects_alike: true,
        settings: serde_json::to_value(settings).unwrap_or_default(),
        rows: RowCounts {
            raw: counts.rows,
            unreadable: counts.unreadable,
            purified: is_purified.then_some(counts.purified_rows),
            left_out: counts.left_out,
            edited: counts.edited,
        },
        reference: counts.reference.named(repairs.repairs, appended),
        sensitivity: counts.runs.finish(now),
        groups: counts.groups.compare(),
        by_reward,
        by_column: column.filter(|_| !by_column.is_empty()).map(|column| ByColumn { column, values: by_column }),
        before,
        after,
        repairs,
        guards,
        gate_failures: Vec::new(),
        gates_undecided: Vec::new(),
    }
}
