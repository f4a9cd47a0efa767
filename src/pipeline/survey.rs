//! `purify inspect`: what is recognised in a file, in numbers, without deciding anything.
//!
//! Owns the survey of one input. Sets that data could make large (tools, error types, groups) are bounded.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::batch::Decoded;
use crate::error::Error;
use crate::ingest::{Input, expand, raw_rows};
use crate::options::{ColumnConfig, DetectConfig};
use crate::rollout::{Message, Role, Rollout};
use crate::run::{Run, Task};
use crate::steps::{Answer, Outcome, RunEnd, Step, Trajectory};
use crate::verdict::{Asked, ErrorDetector};

/// Names that are counted one by one; behind that, together.
const MOST_NAMES: usize = 1000;
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
    pub tokens: Option<u64>,
    /// How the detector, blind to the labels, agrees with them.
    pub agreement: Agreement,
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

/// Surveys every input.
///
/// `disagreements`: how many results to show on which detector and labels differ.
pub fn survey(
    inputs: &[PathBuf],
    errors: &DetectConfig,
    columns: &ColumnConfig,
    disagreements: usize,
    run: &Run<'_>,
) -> Result<Vec<Survey>, Error> {
    let detector = ErrorDetector::new(errors)?;
    let paths = expand(inputs)?;
    let mut out = Vec::with_capacity(paths.len());
    for (k, path) in paths.iter().enumerate() {
        let input = run.install(|| Input::open(path, columns))?;
        run.progress.start(Task::rollouts(path, k, paths.len(), input.rows));
        out.push(survey_file(input, &detector, disagreements, run)?);
    }
    run.progress.finish();
    Ok(out)
}

fn survey_file(input: Input, detector: &ErrorDetector, disagreements: usize, run: &Run<'_>) -> Result<Survey, Error> {
    let described = input.columns.described(&input.schema);
    let named: HashSet<&String> = described.iter().map(|(_, column)| column).collect();
    let mut out = Survey {
        file: input.path.to_string_lossy().into_owned(),
        format: input.format_name(),
        bytes: input.size,
        passed_through: input.schema.fields().iter().map(|f| f.name().clone()).filter(|n| !named.contains(n)).collect(),
        recognised: described.iter().map(|(what, column)| ((*what).to_owned(), column.clone())).collect(),
        not_kept: raw_rows::not_kept(&input.path, input.format, input.form)?,
        tokens: input.columns.response.map(|_| 0),
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
            out.add_batch(batch, detector, disagreements);
            groups.extend((0..batch.rows()).filter_map(|row| Some(blake3::hash(batch.group(row)?.as_bytes()))));
        }
        run.progress.advance(out.rows - before);
        Ok::<(), Error>(())
    })?;
    out.groups = has_groups.then_some(groups.len() as u64);
    Ok(out)
}

impl Survey {
    fn add_batch(&mut self, batch: &Decoded, detector: &ErrorDetector, disagreements: usize) {
        for row in 0..batch.rows() {
            self.rows += 1;
            match batch.rollout(row) {
                Ok(rollout) => {
                    self.add_rollout(&rollout, detector, disagreements);
                }
                Err(error) => count(&mut self.unreadable, error.code()),
            }
        }
    }

    fn add_rollout(&mut self, rollout: &Rollout<'_>, detector: &ErrorDetector, disagreements: usize) {
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
        let trajectory = Trajectory::new(rollout, detector);
        self.steps += trajectory.steps.len() as u64;
        for step in &trajectory.steps {
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
        self.compare_labels(&trajectory, detector, disagreements);
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
        for (step, answer) in trajectory.steps.iter().flat_map(|s| s.answers.iter().map(move |a| (s, a))) {
            let messages = &trajectory.rollout.messages;
            let (asked, result) = (&messages[step.message], &messages[answer.message]);
            let Some(labelled_error) = result.is_error else { continue };
            let blind = Message { is_error: None, ..result.clone() };
            let detected = detector.verdict(&Asked::of(asked, &answer.calls), &blind).failure().is_some();
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
        let name = if counts.len() < MOST_NAMES { name } else { OTHER };
        *counts.entry(name.to_owned()).or_default() += 1;
    }
}
