//! `purify inspect`: what is recognised in a file, in numbers, without deciding anything.
//!
//! Owns the survey of one input. Sets that data could make large (tools, error types, groups) are bounded.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::batch::Decoded;
use crate::error::Error;
use crate::ingest::{Input, expand};
use crate::options::{ColumnConfig, DetectConfig};
use crate::purifier::warning::{Doubts, Label, Sums, Warning, labels};
use crate::rollout::Role;
use crate::run::{Run, Task};
use crate::steps::{Answer, Outcome, RunEnd, Step, Trajectory};
use crate::verdict::{ErrorDetector, Verdict};
use crate::write::results::{ResultRow, ResultWriter};

/// Names that are counted one by one; after that, together.
const MAX_NAMES: usize = 1000;
const OTHER: &str = "(others)";

/// What one file holds.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    pub file: String,
    pub format: String,
    pub bytes: u64,
    pub rows: u64,
    /// Rows that can't be read, by reason.
    pub unreadable: BTreeMap<String, u64>,
    /// (what, column).
    pub recognised: Vec<(String, String)>,
    pub passed_through: Vec<String>,
    /// What of the file's rows has no place in native ones: paths, and the number of rows that lose it.
    pub not_kept: BTreeMap<String, u64>,
    pub groups: Option<u64>,
    /// By role.
    pub messages: BTreeMap<String, u64>,
    /// Tool messages on which the data itself says whether they are errors.
    pub labelled: u64,
    pub steps: u64,
    pub attempts: u64,
    /// ok, failed, open.
    pub outcomes: BTreeMap<String, u64>,
    pub recovered: u64,
    pub unrecovered: u64,
    pub tools: BTreeMap<String, u64>,
    pub error_types: BTreeMap<String, u64>,
    /// Tool results by what they say: ok, error, informative, unknown.
    pub verdicts: BTreeMap<String, u64>,
    /// How often each rule decided on a result, those that never did included.
    pub rules: BTreeMap<String, u64>,
    /// Turns without a call that the harness could not read, and said so.
    pub refused: u64,
    /// Tool messages that answer no call.
    pub unasked: u64,
    pub tokens: Option<u64>,
    /// How the detector, blind to the labels, agrees with them.
    pub agreement: Agreement,
    /// What speaks against what was read.
    pub doubts: Doubts,
    /// What the main job would warn of, by name.
    pub warnings: Vec<&'static str>,
}

/// The detector against the data's labels, where there are any.
#[derive(Debug, Default, Serialize)]
pub struct Agreement {
    /// Errors that both see.
    pub both: u64,
    pub detector_only: u64,
    pub label_only: u64,
    pub neither: u64,
    /// The first results on which they differ, as asked for.
    pub examples: Vec<Disagreement>,
}

/// A result on which detector and label differ.
#[derive(Debug, Serialize)]
pub struct Disagreement {
    pub rollout: String,
    pub message: usize,
    pub labelled_error: bool,
    pub call: String,
    pub result: String,
}

impl Agreement {
    /// (precision, recall, F1) of the detector; `None` where nothing is an error.
    pub fn scores(&self) -> Option<(f64, f64, f64)> {
        let (both, detected, labelled) =
            (self.both as f64, (self.both + self.detector_only) as f64, (self.both + self.label_only) as f64);
        (both > 0.0).then(|| (both / detected, both / labelled, 2.0 * both / (detected + labelled)))
    }
}

/// What is shown or written besides the numbers.
#[derive(Clone, Debug, Default)]
pub struct SurveyDetail {
    /// How many results to show on which detector and labels differ.
    pub disagreements: usize,
    /// Where to write what each tool result says.
    pub results: Option<PathBuf>,
}

impl Survey {
    /// What must not be passed by in silence.
    pub fn warnings(&self) -> Vec<Warning> {
        let rejected = self.unreadable.values().sum();
        Warning::of(Sums { rows: self.rows, rejected, attempts: self.attempts, doubts: &self.doubts })
    }

    /// Whether nothing was read.
    pub fn kept_nothing(&self) -> bool {
        self.rows == self.unreadable.values().sum::<u64>()
    }

    /// What will be repaired, and what stops it.
    pub fn outlook(&self) -> String {
        let outcome = |name: &str| self.outcomes.get(name).copied().unwrap_or_default();
        let unreadable: u64 = self.unreadable.values().sum();
        let runs = self.recovered + self.unrecovered;
        if self.rows == 0 {
            return "nothing to repair: there is no row".to_owned();
        }
        if self.kept_nothing() {
            return format!("nothing to repair: none of {unreadable} rows can be read");
        }
        if self.attempts == 0 {
            let unread = self.doubts.unread_calls + self.doubts.unread_code;
            return match unread {
                0 => "nothing to repair: no message holds a call".to_owned(),
                rows => format!("nothing to repair: no call is read, though {rows} rows look as if they held some"),
            };
        }
        if outcome("open") == self.attempts {
            return "nothing to repair: no call has a result".to_owned();
        }
        if runs == 0 {
            return "nothing to repair: no attempt failed".to_owned();
        }
        if self.recovered == 0 {
            return format!("nothing to repair: none of {runs} failure runs has an attempt after it that did its job");
        }
        let left = match self.unrecovered {
            0 => String::new(),
            n => format!("; {n} have no attempt after them that did its job"),
        };
        let lost = if unreadable > 0 { format!("; {unreadable} rows can't be read") } else { String::new() };
        format!("{} of {runs} failure runs may be repaired{left}{lost}", self.recovered)
    }
}

/// Surveys every input.
pub fn survey(
    inputs: &[PathBuf],
    errors: &DetectConfig,
    columns: &ColumnConfig,
    detail: &SurveyDetail,
    run: &Run<'_>,
) -> Result<Vec<Survey>, Error> {
    let detector = ErrorDetector::new(errors)?;
    let results = detail.results.as_ref().map(|path| ResultWriter::create(path)).transpose()?;
    let mut surveyor = Surveyor { detector: &detector, disagreements: detail.disagreements, results };
    let paths = expand(inputs)?;
    let mut surveys = Vec::with_capacity(paths.len());
    for (k, path) in paths.iter().enumerate() {
        let input = run.install(|| Input::open(path, columns))?;
        run.progress.start(Task::rollouts(path, k, paths.len(), input.rows));
        surveys.push(surveyor.file(input, run)?);
    }
    run.progress.finish();
    if let Some(results) = surveyor.results {
        results.finish()?;
    }
    Ok(surveys)
}

struct Surveyor<'d> {
    detector: &'d ErrorDetector,
    disagreements: usize,
    results: Option<ResultWriter>,
}

impl Surveyor<'_> {
    fn file(&mut self, input: Input, run: &Run<'_>) -> Result<Survey, Error> {
        let described = input.columns.described(&input.schema);
        let named: HashSet<&String> = described.iter().map(|(_, column)| column).collect();
        let mut out = Survey {
            file: input.path.to_string_lossy().into_owned(),
            format: input.format_name(),
            bytes: input.size,
            passed_through: input
                .schema
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .filter(|n| !named.contains(n))
                .collect(),
            recognised: described.iter().map(|(what, column)| ((*what).to_owned(), column.clone())).collect(),
            not_kept: input.not_kept()?,
            tokens: input.columns.response.map(|_| 0),
            rules: self.detector.rules().map(|name| (name.to_owned(), 0)).collect(),
            ..Survey::default()
        };
        let mut groups: HashSet<blake3::Hash> = HashSet::new();
        let has_groups = input.columns.group.is_some();
        input.each_decoded(run, |(batches, bad)| {
            let before = out.rows;
            for line in &bad {
                out.rows += 1;
                count(&mut out.unreadable, line.error.code());
            }
            for batch in &batches {
                self.batch(&mut out, batch)?;
                groups.extend((0..batch.rows()).filter_map(|row| Some(blake3::hash(batch.group(row)?.as_bytes()))));
            }
            run.progress.advance(out.rows - before);
            Ok::<(), Error>(())
        })?;
        out.groups = has_groups.then_some(groups.len() as u64);
        out.warnings = out.warnings().into_iter().map(Warning::name).collect();
        Ok(out)
    }

    fn batch(&mut self, out: &mut Survey, batch: &Decoded) -> Result<(), Error> {
        let file: Arc<str> = out.file.as_str().into();
        for row in 0..batch.rows() {
            out.rows += 1;
            match batch.rollout(row) {
                Ok(rollout) => {
                    let trajectory = Trajectory::new(&rollout, self.detector);
                    out.add_rollout(&trajectory);
                    out.compare_labels(&trajectory, self.detector, self.disagreements);
                    out.doubts += Doubts::of(&trajectory, self.detector);
                    let place = (batch.number(row), Arc::clone(&file));
                    results_of(&trajectory, place).try_for_each(|row| {
                        count(&mut out.verdicts, row.verdict);
                        row.rule.iter().for_each(|rule| count(&mut out.rules, rule));
                        self.results.as_mut().map_or(Ok(()), |writer| writer.push(row))
                    })?;
                }
                Err(error) => count(&mut out.unreadable, error.code()),
            }
        }
        Ok(())
    }
}

/// What each tool result of a rollout says, in the order of the messages.
fn results_of<'t>(
    trajectory: &'t Trajectory<'_, '_>,
    (row, file): (u64, Arc<str>),
) -> impl Iterator<Item = ResultRow> + use<'t> {
    let said = move |message: usize, verdict: &Verdict| ResultRow {
        rollout_id: trajectory.rollout.id.to_string(),
        row,
        message,
        call: None,
        tool: None,
        verdict: verdict.name(),
        error_type: verdict.failure().map(|f| f.error_type.to_string()),
        fault: verdict.failure().map(|f| f.fault.name()),
        rule: verdict.rule().map(str::to_owned),
        file: Arc::clone(&file),
    };
    let mut rows: Vec<ResultRow> =
        trajectory.unasked.iter().map(|(message, verdict)| said(*message, verdict)).collect();
    for step in &trajectory.steps {
        let calls = &trajectory.rollout.messages[step.message].calls;
        rows.extend(step.answers.iter().map(|answer| ResultRow {
            call: (!answer.calls.is_empty()).then_some(answer.calls.start),
            tool: calls.get(answer.calls.start).map(|call| call.name.to_owned()),
            ..said(answer.message, &answer.verdict)
        }));
    }
    rows.sort_by_key(|row| row.message);
    rows.into_iter()
}

impl Survey {
    fn add_rollout(&mut self, trajectory: &Trajectory<'_, '_>) {
        let rollout = trajectory.rollout;
        for message in &rollout.messages {
            count(
                &mut self.messages,
                match message.role {
                    Role::System => "system",
                    Role::User => "user",
                    Role::Assistant => "assistant",
                    Role::Tool => "tool",
                },
            );
            self.labelled += u64::from(message.role == Role::Tool && message.is_error.is_some());
            message.calls.iter().for_each(|call| count(&mut self.tools, call.name));
        }
        if let (Some(all), Some(tokens)) = (&mut self.tokens, &rollout.tokens) {
            *all += tokens.ids.len() as u64;
        }
        self.unasked += trajectory.unasked.len() as u64;
        self.steps += trajectory.steps.len() as u64;
        for step in &trajectory.steps {
            self.refused += u64::from(step.refused.is_some());
            let Some(outcome) = &step.attempt else { continue };
            self.attempts += 1;
            count(
                &mut self.outcomes,
                match outcome {
                    Outcome::Ok => "ok",
                    Outcome::Informative => "informative",
                    Outcome::Open => "open",
                    Outcome::Failed => "failed",
                },
            );
            step.failure().into_iter().for_each(|f| count(&mut self.error_types, &f.error_type));
        }
        for run in trajectory.failure_runs() {
            match run.end {
                RunEnd::Correction(_) => self.recovered += 1,
                RunEnd::Other => self.unrecovered += 1,
            }
        }
    }
}

impl Survey {
    fn compare_labels(&mut self, trajectory: &Trajectory<'_, '_>, detector: &ErrorDetector, most: usize) {
        for Label { step, answer, is_error: labelled_error, blind } in labels(trajectory, detector) {
            let detected = blind.failure().is_some();
            match (detected, labelled_error) {
                (true, true) => self.agreement.both += 1,
                (true, false) => self.agreement.detector_only += 1,
                (false, true) => self.agreement.label_only += 1,
                (false, false) => self.agreement.neither += 1,
            }
            if detected != labelled_error && self.agreement.examples.len() < most {
                self.agreement.examples.push(disagreement(trajectory, step, answer, labelled_error));
            }
        }
    }
}

fn disagreement(trajectory: &Trajectory<'_, '_>, step: &Step, answer: &Answer, labelled_error: bool) -> Disagreement {
    let messages = &trajectory.rollout.messages;
    let call = messages[step.message].calls.get(answer.calls.start);
    Disagreement {
        rollout: trajectory.rollout.id.to_string(),
        message: answer.message,
        labelled_error,
        call: call.map(|c| format!("{}({})", c.name, c.arguments)).unwrap_or_default(),
        result: messages[answer.message].content.unwrap_or_default().to_owned(),
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        let name = if counts.len() < MAX_NAMES { name } else { OTHER };
        *counts.entry(name.to_owned()).or_default() += 1;
    }
}
