//! Audits: what was done to a data set, and whether it can be trusted. Reads, counts, draws; changes nothing.
//!
//! Owns the numbers of both sides of the purifying. [`report`] says what they are called; [`html`] makes a page of them. Given
//! raw data alone, the other side is what purifying with the settings would make of it.

mod counts;
mod groups;
pub mod html;
pub mod lineage;
pub mod repairs;
pub mod report;
mod sensitivity;
mod side;
mod walk;

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::config::{AuditConfig, Mode, RepairFaults, SaarConfig, Settings, Unrecovered};
use crate::error::Error;
use crate::guard::calls::{ListedTools, faults};
use crate::ingest::record::{Record, RecordReader};
use crate::ingest::{RowError, expand};
use crate::pipeline::gate::Gate;
use crate::pipeline::{Progress, Purifier};
use crate::rollout::Rollout;
use crate::saar::{Comparison, Planner, RepairKind};
use crate::similarity::{Exact, Lexical, Measure, measure};
use crate::steps::Trajectory;
use counts::{Counts, Done};
use groups::Graded;
use report::{AuditReport, ByColumn, MOST_RETRIES, REPORT_VERSION, RowCounts, Slice};
use sensitivity::{InForce, Least};
use side::{MessageTokens, entry};
use walk::{RowOf, Stretch, Walk};

/// Columns that commonly say where a rollout comes from.
const SOURCES: [&str; 6] = ["data_source", "source", "env", "environment", "dataset", "domain"];

/// Items on all threads of the pool, results in order.
fn side_by_side<T: Send, R: Send>(items: Vec<T>, each: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    items.into_par_iter().map(each).collect()
}

/// Audits raw data, and what became of it if that is given.
pub fn audit(
    config: &AuditConfig,
    settings: &Settings,
    progress: &dyn Progress,
    interrupted: &AtomicUsize,
) -> Result<AuditReport, Error> {
    let gates = gates(config)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads)
        .build()
        .map_err(|error| Error::usage(format!("{} threads can't be started: {error}", config.threads), None))?;
    let raw = expand(std::slice::from_ref(&config.raw))?;
    let purified = config.purified.as_ref().map(|path| expand(std::slice::from_ref(path))).transpose()?;
    let auditor = Auditor::new(config, settings, purified.as_deref())?;
    let mut walk = Walk::new(&raw, purified.as_deref(), &settings.columns, progress, interrupted);
    progress.start(0, 1, &config.raw, None);
    let mut all = Counts::default();
    let mut column = config.by.clone();
    pool.install(|| -> Result<(), Error> {
        loop {
            let stretches = walk.next_stretches(pool.current_num_threads())?;
            if stretches.is_empty() {
                return Ok(());
            }
            if column.is_none() {
                column = stretches.iter().flat_map(|s| &s.raw).next().and_then(|(row, _)| source_column(row));
            }
            let column = column.as_deref();
            for counts in side_by_side(stretches, |stretch| auditor.count(stretch, column)) {
                all.merge(counts?);
            }
        }
    })?;
    progress.finish();
    let mut report = auditor.report(all, column, settings);
    report.files = walk.facts();
    let numbers = numbers(&report);
    report.gate_failures = gates.iter().filter_map(|gate| gate.check(&numbers)).collect();
    Ok(report)
}

/// The comparisons of `--fail-if`, over the numbers that any report may have.
fn gates(config: &AuditConfig) -> Result<Vec<Gate>, Error> {
    let mut any =
        AuditReport { groups: Some(Default::default()), by_column: Some(Default::default()), ..Default::default() };
    any.sensitivity.semantic = Some(Default::default());
    let known = numbers(&any);
    let parse = |text: &String| Gate::parse(text, &known).map_err(|message| Error::usage(message, None));
    config.fail_if.iter().map(parse).collect()
}

/// Every number of a report at its path, such as `after.failure_rate`; a share of nothing is 0. Lists and texts are left out.
pub fn numbers(report: &AuditReport) -> Map<String, Value> {
    fn kept(value: Value) -> Option<Value> {
        match value {
            Value::Number(_) => Some(value),
            Value::Null => Some(Value::from(0)),
            Value::Object(fields) => Some(Value::Object(fields.into_iter().filter_map(named).collect())),
            _ => None,
        }
    }
    fn named((name, value): (String, Value)) -> Option<(String, Value)> {
        kept(value).map(|value| (name, value))
    }
    let report = AuditReport { settings: Value::Bool(true), ..report.clone() };
    match serde_json::to_value(report).map(kept) {
        Ok(Some(Value::Object(numbers))) => numbers,
        _ => Map::new(),
    }
}

fn source_column(row: &RowOf) -> Option<String> {
    SOURCES.iter().find(|name| row.batch.text_column(name).is_some()).map(|name| (*name).to_owned())
}

/// Counts stretches of rows.
struct Auditor<'a> {
    purifier: Purifier<'a>,
    /// All runs with a correction that the curves look at, whatever the settings repair.
    every_run: SaarConfig,
    text: &'static dyn Measure,
    now: InForce,
    purified: Option<PathBuf>,
}

impl<'a> Auditor<'a> {
    fn new(config: &AuditConfig, settings: &'a Settings, purified: Option<&[PathBuf]>) -> Result<Self, Error> {
        let first = purified.and_then(|paths| paths.first()).or(config.purified.as_ref()).cloned();
        let every_run = SaarConfig {
            mode: Mode::Replace,
            max_retries: MOST_RETRIES as u32,
            unrecovered: Unrecovered::Keep,
            stop_after_unrecovered: false,
            max_attempts: 0,
            repair_faults: RepairFaults::All,
            ..settings.method.clone()
        };
        Ok(Auditor {
            purifier: Purifier::new(settings)?,
            every_run,
            text: measure(settings.method.similarity_metric).unwrap_or(&Lexical),
            now: in_force(settings, first.as_deref()),
            purified: first,
        })
    }

    fn count(&self, stretch: Stretch, column: Option<&str>) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        for line in &stretch.bad {
            counts.rows += 1;
            *entry(&mut counts.unreadable, line.error.code()) += 1;
        }
        let mut listed = ListedTools::default();
        // Readers of the batch that the last row stood in.
        let mut records: Option<(*const crate::ingest::Decoded, RecordReader)> = None;
        for (raw, became) in &stretch.raw {
            counts.rows += 1;
            let rollout = match raw.batch.rollout(raw.row) {
                Ok(rollout) => rollout,
                Err(error) => {
                    *entry(&mut counts.unreadable, error.code()) += 1;
                    continue;
                }
            };
            let done = match became {
                None => None,
                Some(found) => {
                    let at = std::sync::Arc::as_ptr(&found.batch);
                    if records.as_ref().is_none_or(|(of, _)| *of != at) {
                        records = Some((at, self.records(found)?));
                    }
                    let record = records.as_ref().and_then(|(_, reader)| reader.row(found.row));
                    Some(Done { record: record.unwrap_or_default(), skipped: Vec::new() })
                }
            };
            counts.add_faults(faults(&rollout.messages, listed.of(raw.batch.tools(raw.row))));
            self.add_row(&mut counts, raw, &rollout, became.as_ref().zip(done), column)?;
        }
        Ok(counts)
    }

    fn records(&self, row: &RowOf) -> Result<RecordReader, Error> {
        let path = || self.purified.clone().unwrap_or_default();
        let found = RecordReader::new(&row.batch).map_err(|source| {
            Error::from(crate::ingest::IngestError::Rows { path: path(), row: row.batch.number(row.row), source })
        })?;
        found.ok_or_else(|| Error::Mismatch {
            path: path(),
            detail: "it has no column `purification`".to_owned(),
            hint: "give the raw file first, then what purify made of it",
        })
    }

    fn add_row(
        &self,
        counts: &mut Counts,
        raw: &RowOf,
        rollout: &Rollout<'_>,
        became: Option<(&RowOf, Done)>,
        column: Option<&str>,
    ) -> Result<(), Error> {
        let detector = self.purifier.detector();
        let before = Trajectory::new(rollout, detector);
        let tokens = self.tokens(rollout);
        counts.before.add(&before, tokens.as_ref());
        counts.reference.add(&before, detector, self.now.max_retries);
        let mut slice = Slice {
            rollouts: 1,
            attempts: before.attempts() as u64,
            failed_before: before.failed_attempts() as u64,
            ..Slice::default()
        };
        let mut stays = true;
        let done = match became {
            Some((row, done)) => {
                let after = row.batch.rollout(row.row).map_err(|error| self.unreadable(row, &error))?;
                let trajectory = Trajectory::new(&after, detector);
                counts.purified_rows += 1;
                counts.after.add(&trajectory, self.tokens(&after).as_ref());
                self.check(row, &done.record, &before)?;
                slice.add_after(&trajectory);
                done
            }
            None if self.purified.is_some() => {
                stays = false;
                Done::default()
            }
            None => match self.purifier.purify(rollout) {
                Ok(row) => {
                    self.add_planned(&mut counts.after, &mut slice, rollout, &row, tokens.as_ref());
                    Done::of_plan(&row)
                }
                Err(_) => {
                    stays = false;
                    Done::default()
                }
            },
        };
        counts.left_out += u64::from(!stays);
        slice.add_done(&done.record);
        counts.add_repairs(&done);
        if before.failed_attempts() > 0 {
            self.add_runs(counts, &before, &done.record);
        }
        self.add_slices(counts, raw, slice, stays, column);
        Ok(())
    }

    /// The other side of a row that has not been purified yet.
    fn add_planned(
        &self,
        after: &mut report::Side,
        slice: &mut Slice,
        rollout: &Rollout<'_>,
        row: &crate::pipeline::PurifiedRow,
        tokens: Option<&MessageTokens>,
    ) {
        let Some(purified) = &row.rollout else {
            let same = Trajectory::new(rollout, self.purifier.detector());
            after.add(&same, tokens);
            return slice.add_after(&same);
        };
        let messages = purified.messages().iter().map(|source| source.of(rollout)).collect();
        let changed = Rollout { id: rollout.id.clone(), group: rollout.group, messages, tokens: None };
        let trajectory = Trajectory::new(&changed, self.purifier.detector());
        let removed: u64 = row.records.iter().filter_map(|r| r.removed_tokens).map(|n| n as u64).sum();
        let tokens = tokens.map(|tokens| MessageTokens {
            all: tokens.all.saturating_sub(removed),
            of: purified.messages().iter().map(|s| tokens.of.get(s.call).copied().unwrap_or_default()).collect(),
        });
        after.add(&trajectory, tokens.as_ref());
        slice.add_after(&trajectory);
    }

    /// A record that speaks of other failures than the raw row has belongs to another row, or was made with another detector.
    fn check(&self, row: &RowOf, record: &Record, before: &Trajectory<'_, '_>) -> Result<(), Error> {
        let fits = record.repairs.iter().all(|repair| {
            let at = usize::try_from(repair.first_message).unwrap_or(usize::MAX);
            before.steps.iter().any(|step| step.message == at && step.attempt.is_some())
        });
        match fits {
            true => Ok(()),
            false => Err(Error::Mismatch {
                path: self.purified.clone().unwrap_or_default(),
                detail: format!(
                    "row {} of it records a repair where the raw row has no attempt",
                    row.batch.number(row.row)
                ),
                hint: "give the files that were purified first, then what purify made of them",
            }),
        }
    }

    fn unreadable(&self, row: &RowOf, error: &RowError) -> Error {
        Error::Mismatch {
            path: self.purified.clone().unwrap_or_default(),
            detail: format!("row {} of it can't be read: {error}", row.batch.number(row.row)),
            hint: "give what purify wrote",
        }
    }

    fn tokens(&self, rollout: &Rollout<'_>) -> Option<MessageTokens> {
        let tokens = rollout.tokens.as_ref()?;
        let runs = tokens.runs_by_message(&rollout.messages, None).unwrap_or_default();
        let of = runs.iter().map(|run| run.as_ref().map_or(0, |run| run.len() as u64)).collect();
        Some(MessageTokens { all: tokens.ids.len() as u64, of })
    }

    /// What every threshold and K would decide on the runs of a rollout.
    fn add_runs(&self, counts: &mut Counts, before: &Trajectory<'_, '_>, record: &Record) {
        let plan = |measure: &dyn Measure| {
            let planner = Planner { config: &self.every_run, comparison: Comparison::Text(measure), marker: None };
            planner.plan(before, None).map(|plan| plan.repairs).unwrap_or_default()
        };
        let (text, exact) = (plan(self.text), plan(&Exact));
        let least = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
        for (text, exact) in text.iter().zip(&exact).filter(|(repair, _)| repair.kind == RepairKind::Recovered) {
            let first = before.steps[text.first()].message as u64;
            let recorded = record.repairs.iter().find(|repair| repair.first_message == first);
            let meaning = recorded.map(|repair| least(&repair.semantic_similarity)).filter(|least| least.is_finite());
            let run = Least {
                length: text.attempts() - 1,
                text: least(&text.similarity),
                exact: least(&exact.similarity),
                meaning,
            };
            counts.runs.add(run, self.now);
        }
    }

    fn add_slices(&self, counts: &mut Counts, raw: &RowOf, slice: Slice, stays: bool, column: Option<&str>) {
        let reward = raw.batch.reward(raw.row).filter(|reward| reward.is_finite());
        let sign = match reward {
            None => "none",
            Some(reward) if reward > 0.0 => "positive",
            Some(reward) if reward < 0.0 => "negative",
            Some(_) => "zero",
        };
        entry(&mut counts.by_reward, sign).merge(slice);
        if let Some(column) = column {
            let text = raw.batch.text_column(column);
            let value = text.as_ref().and_then(|text| text.get(raw.row)).unwrap_or("(none)");
            entry(&mut counts.by_column, value).merge(slice);
        }
        if let (Some(reward), Some(group)) = (reward, raw.batch.group(raw.row)) {
            let id = raw.batch.id(raw.row).into_owned();
            counts.graded.push(Graded { id, group: group.to_owned(), reward, slice, stays });
        }
    }

    fn report(&self, mut counts: Counts, column: Option<String>, settings: &Settings) -> AuditReport {
        counts.before.finish();
        counts.after.finish();
        let mut repairs = counts.repairs;
        repairs.deep_rate = (repairs.repairs > 0).then(|| repairs.deep as f64 / repairs.repairs as f64);
        let mut guards = counts.guards;
        guards.residue_rate = guards.residue.rate();
        guards.dependency_rate = guards.depends_on_removed.rate();
        let appended = repairs.skipped.get("gate").copied().unwrap_or_default();
        AuditReport {
            report_version: REPORT_VERSION,
            tool: "purify",
            tool_version: env!("CARGO_PKG_VERSION"),
            files: Vec::new(),
            is_purified: self.purified.is_some(),
            settings: serde_json::to_value(settings).unwrap_or_default(),
            rows: RowCounts {
                raw: counts.rows,
                unreadable: counts.unreadable,
                purified: self.purified.is_some().then_some(counts.purified_rows),
                left_out: counts.left_out,
            },
            reference: counts.reference.named(repairs.repairs, appended),
            sensitivity: counts.runs.finish(self.now),
            groups: groups::compare(&counts.graded),
            by_reward: counts.by_reward,
            by_column: column
                .filter(|_| !counts.by_column.is_empty())
                .map(|column| ByColumn { column, values: counts.by_column }),
            before: counts.before,
            after: counts.after,
            repairs,
            guards,
            gate_failures: Vec::new(),
        }
    }
}

impl Slice {
    fn add_after(&mut self, after: &Trajectory<'_, '_>) {
        self.failed_after = after.failed_attempts() as u64;
        let uncorrected = after.failure_runs().into_iter().filter(|run| run.end == crate::steps::RunEnd::Other);
        self.uncorrected = uncorrected.count() as u64;
    }

    fn add_done(&mut self, record: &Record) {
        let recovered = record.repairs.iter().filter(|r| r.kind == RepairKind::Recovered.name());
        self.repairs = recovered.clone().count() as u64;
        self.deep = recovered.filter(|r| r.granularity == "deep").count() as u64;
        self.removed_messages = record.repairs.iter().map(|r| r.removed_messages).sum();
    }
}

/// The threshold and K that decided: the manifest's beside the purified data, else the settings'.
fn in_force(settings: &Settings, purified: Option<&std::path::Path>) -> InForce {
    let method = purified.and_then(crate::pipeline::manifest_beside);
    let method = method.as_ref().and_then(|m| m.get("settings")?.get("method"));
    let number = |name: &str| method.and_then(|m| m.get(name)?.as_f64());
    InForce {
        threshold: number("similarity_threshold").unwrap_or(settings.method.similarity_threshold.get()),
        semantic_threshold: settings.semantic.semantic_threshold.map(|t| t.get()),
        max_retries: number("max_retries").map_or(settings.method.max_retries as usize, |k| k as usize),
    }
}
