//! `purify score`: log-probs of a data set under a policy, and the importance ratio of each repair.
//!
//! Owns the walk over a file and, beside it, over the raw one. Rows in = rows out, in order: a row that can't be scored
//! stays as it is and is counted with its reason, as is a line that never was a row. What a model
//! says is [`scorer`]'s; columns are built by [`crate::write`].

pub mod error;
mod gate;
pub mod importance;
mod raw;
pub mod scorer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::batch::Decoded;
use crate::batch::sample::{Sample, SampleReader};
use crate::ingest::{BadLine, IngestError, Input, Shape};
use crate::judge::LogIs;
use crate::options::{ColumnConfig, ModelChoice, ScoreConfig};
use crate::policy::PolicyError;
use crate::policy::sequence::{Sequence, SequenceError};
use crate::run::{Run, Task, Weight};
use crate::write::scores::{ScoredRow, ScoredSchema, assemble};
use crate::write::{Encoder, ParquetFile, ParquetForm, WriteError};
use error::Problem;
pub use error::ScoreError;
use raw::RawRows;
pub use scorer::Scorer;

/// Repairs whose ratio is below this are named in the summary: the authors' own gate.
const LOW_RATIO: f64 = 0.5;

/// What scoring did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ScoreSummary {
    pub rows: u64,
    pub scored: u64,
    /// Rows that stayed as they were, by reason.
    pub unscored: BTreeMap<String, u64>,
    /// The first of them, in words.
    pub first_unscored: Option<String>,
    /// Lines of text that are not rows and so can't be written, by reason; the first of them in words.
    pub unwritten: BTreeMap<String, u64>,
    pub first_unwritten: Option<String>,
    /// Messages whose calls the model's chat template does not show: they are not scored.
    pub hidden_calls: u64,
    /// Tokens that the policy wrote.
    pub policy_tokens: u64,
    /// Mean log-prob of those tokens.
    pub mean_logprob: Option<f64>,
    pub repairs: u64,
    pub importance: Option<Importance>,
    pub seconds: f64,
    pub device: String,
    pub out: PathBuf,
}

/// The distribution of `log_is` over repairs.
#[derive(Clone, Debug, Serialize)]
pub struct Importance {
    pub repairs: u64,
    /// Share of repairs whose ratio is below 0.5.
    pub below_half: f64,
    /// Of the sum over the correction's tokens: least, 5%, 25%, 50%, 75%, 95%, most.
    pub log_is: [f64; 7],
    /// The same of the mean per token.
    pub log_is_mean: [f64; 7],
}

/// Scores a file.
pub fn score(
    model: &ModelChoice,
    config: &ScoreConfig,
    columns: &ColumnConfig,
    run: &Run<'_>,
) -> Result<ScoreSummary, ScoreError> {
    let started = Instant::now();
    let out = config.out.clone().unwrap_or_else(|| config.input.with_extension("scored.parquet"));
    for input in [Some(&config.input), config.raw.as_ref()].into_iter().flatten() {
        if out.canonicalize().is_ok_and(|o| input.canonicalize().is_ok_and(|i| i == o)) {
            return Err(WriteError::IsInput { path: out }.into());
        }
    }
    let input = run.install(|| Input::open_any(&config.input, columns))?;
    let raw = config.raw.as_ref().map(|path| RawRows::open(path, columns)).transpose()?;
    if raw.is_some() && input.columns.purification.is_none() {
        return Err(ScoreError::NotPurified { path: config.input.clone() });
    }
    let scorer = Scorer::load(model)?;
    let schema = ScoredSchema::new(&input.schema, &input.columns);
    let form = ParquetForm {
        schema: schema.schema.clone(),
        metadata: input.metadata.clone(),
        compression_level: config.compression_level,
    };
    run.progress.say(Weight::Detail, &format!("scoring on {}", scorer.device));
    run.progress.start(Task { unit: "rollouts", file: None, done: 0, total: input.rows });
    let (mut file, encoder) = (ParquetFile::create(&out, &form)?, Encoder::new(&out, &form)?);
    let shape = input.shape();
    let summary = ScoreSummary { device: scorer.device.clone(), out: out.clone(), ..ScoreSummary::default() };
    let mut walk = Walk { scorer: &scorer, shape: &shape, raw, summary, logprobs: 0.0, ratios: Vec::new() };
    let scoring = Instant::now();
    // The model has the threads; rows are read ahead of it.
    input.each_decoded(run, |(batches, bad)| {
        bad.iter().for_each(|line| walk.count_unwritten(line));
        let mut scored = Vec::new();
        for batch in &batches {
            run.check()?;
            let rows = walk.rows(batch)?;
            let columns = |source| WriteError::Columns { path: out.clone(), source };
            scored.push(assemble(batch, &shape.columns, &schema, &rows).map_err(columns)?);
            run.progress.advance(batch.rows() as u64);
            let tokens = walk.summary.policy_tokens as f64 / scoring.elapsed().as_secs_f64().max(1e-9);
            run.progress.note(&format!("{tokens:.0} policy tokens/s"));
        }
        Ok::<(), ScoreError>(file.append(encoder.encode(&scored)?)?)
    })?;
    file.finish()?;
    run.progress.finish();
    let mut summary = walk.finish();
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// The state of a walk over one file.
struct Walk<'a> {
    scorer: &'a Scorer,
    shape: &'a Shape,
    raw: Option<RawRows>,
    summary: ScoreSummary,
    logprobs: f64,
    ratios: Vec<LogIs>,
}

impl Walk<'_> {
    fn rows(&mut self, batch: &Decoded) -> Result<Vec<ScoredRow>, ScoreError> {
        let path = || self.shape.path.clone();
        let failed = |source| IngestError::Rows { path: path(), row: batch.number(0), source };
        let reader = SampleReader::new(batch, &self.shape.columns).map_err(failed)?;
        let mut out = vec![ScoredRow::default(); batch.rows()];
        // Row, sequence, repairs, and the raw sequence where there is one.
        let mut sequences = Vec::new();
        for (row, scored) in out.iter_mut().enumerate() {
            self.summary.rows += 1;
            match self.read(batch, &reader, row)? {
                Ok((sample, sequence, raw)) => {
                    if sample.tokens.is_none() {
                        scored.tokens = Some(tokens_of(&sequence));
                    }
                    self.summary.hidden_calls += sequence.hidden_calls as u64;
                    self.summary.repairs += sample.repairs.len() as u64;
                    sequences.push((row, sequence, sample.repairs, raw));
                }
                Err(problem) => self.count_unscored(batch.number(row), &batch.id(row), &problem),
            }
        }
        let wanted = |s: &Sequence| (1..s.ids.len()).filter(|&k| s.policy[k]).collect::<Vec<_>>();
        let jobs: Vec<_> = sequences.iter().map(|(_, s, _, _)| (s.ids.as_slice(), wanted(s))).collect();
        let scores = self.scorer.log_probs(&jobs)?;
        for ((row, sequence, repairs, raw), (found, (_, places))) in sequences.iter().zip(scores.iter().zip(&jobs)) {
            let mut logprobs = vec![None; sequence.ids.len() - sequence.prompt];
            for (&k, &logprob) in places.iter().zip(found) {
                if let Some(slot) = k.checked_sub(sequence.prompt).and_then(|at| logprobs.get_mut(at)) {
                    *slot = Some(logprob);
                }
                self.logprobs += f64::from(logprob);
            }
            self.summary.scored += 1;
            self.summary.policy_tokens += places.len() as u64;
            out[*row].logprobs = Some(logprobs);
            if let Some(raw) = raw {
                let ratios = match self.scorer.ratios(sequence, raw, repairs) {
                    Ok(ratios) => ratios,
                    Err(PolicyError::TooLong { .. } | PolicyError::Token { .. }) => vec![None; repairs.len()],
                    Err(error) => return Err(error.into()),
                };
                self.ratios.extend(ratios.iter().flatten());
                out[*row].ratios = ratios.into_iter().map(|r| r.map(|r| (r.sum, r.mean))).collect();
            }
        }
        Ok(out)
    }

    /// A row's sample and sequence, and the sequence of the raw row if it was repaired.
    #[allow(clippy::type_complexity)] // an error of the run, or of the row, or three things
    fn read(
        &mut self,
        batch: &Decoded,
        reader: &SampleReader<'_>,
        row: usize,
    ) -> Result<Result<(Sample, Sequence, Option<Sequence>), Problem>, ScoreError> {
        let sample = match reader.row(row) {
            Ok(sample) => sample,
            Err(error) => return Ok(Err(error.into())),
        };
        let wants_raw = self.raw.is_some() && !sample.repairs.is_empty();
        let rollout = wants_raw.then(|| batch.rollout(row)).transpose();
        let sequence = match rollout {
            Err(error) => Err(Problem::from(error)),
            Ok(rollout) => self.scorer.sequence(&sample, rollout.as_ref()).map_err(Problem::from),
        };
        let sequence = match sequence {
            Ok(sequence) => sequence,
            Err(Problem::Sequence(SequenceError::Policy(error))) if !error.is_of_row() => return Err(error.into()),
            Err(problem) => return Ok(Err(problem)),
        };
        let raw = match self.raw.as_mut().filter(|_| wants_raw) {
            None => None,
            Some(raw) => raw.sequence(self.scorer, &sample)?,
        };
        Ok(Ok((sample, sequence, raw)))
    }

    fn count_unscored(&mut self, row: u64, rollout: &str, problem: &Problem) {
        *self.summary.unscored.entry(problem.code().to_owned()).or_default() += 1;
        let place = name_of(&self.shape.path);
        let text = || format!("row {row} of `{place}` (`{}`): {problem}", rollout.escape_debug());
        self.summary.first_unscored.get_or_insert_with(text);
    }

    fn count_unwritten(&mut self, line: &BadLine) {
        self.summary.rows += 1;
        *self.summary.unwritten.entry(line.error.code().to_owned()).or_default() += 1;
        let text = || format!("`{}`: {}", name_of(&self.shape.path), line.error);
        self.summary.first_unwritten.get_or_insert_with(text);
    }

    fn finish(mut self) -> ScoreSummary {
        let tokens = self.summary.policy_tokens;
        self.summary.mean_logprob = (tokens > 0).then(|| self.logprobs / tokens as f64);
        if !self.ratios.is_empty() {
            let low = self.ratios.iter().filter(|r| r.sum < LOW_RATIO.ln()).count();
            self.summary.importance = Some(Importance {
                repairs: self.ratios.len() as u64,
                below_half: low as f64 / self.ratios.len() as f64,
                log_is: quantiles(self.ratios.iter().map(|r| r.sum).collect()),
                log_is_mean: quantiles(self.ratios.iter().map(|r| r.mean).collect()),
            });
        }
        self.summary
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Prompt, response and mask of a rendered row.
fn tokens_of(sequence: &Sequence) -> (Vec<i32>, Vec<i32>, Vec<i8>) {
    let ids: Vec<i32> = sequence.ids.iter().map(|&id| id as i32).collect();
    let mask = sequence.policy[sequence.prompt..].iter().map(|&p| i8::from(p)).collect();
    (ids[..sequence.prompt].to_vec(), ids[sequence.prompt..].to_vec(), mask)
}

/// Least, 5%, 25%, 50%, 75%, 95%, most.
fn quantiles(mut values: Vec<f64>) -> [f64; 7] {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
    [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0].map(at)
}
