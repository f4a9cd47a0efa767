//! Rows to examples: what is trained on, and what is left out and why.
//!
//! Owns what each objective needs of a row. Order is that of the files. Examples hold tokens alone, so that raw and
//! purified data train alike. Advantages are those that the rows say, from before they were edited; where they say none, those of
//! the groups as they are in the files given. What single tokens have is `values`'s.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::{Problem, TrainError};
use super::values;
use crate::batch::sample::{Preference, PreferenceReader, Sample, SampleReader};
use crate::batch::{Decoded, RowError};
use crate::group::{GroupRules, Member, advantages, overlong_penalty};
use crate::ingest::{IngestError, Input, Shape, expand};
use crate::options::{ColumnConfig, DetectConfig, Objective, OnBadRow, TrainConfig};
use crate::policy::Policy;
use crate::policy::sequence::{Sequence, SequenceError, Sequencer};
use crate::rollout::Rollout;
use crate::run::Run;
use crate::schema::Columns;
use crate::steps::Trajectory;
use crate::verdict::ErrorDetector;

/// Tokens of one answer and its context.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub ids: Vec<u32>,
    /// Whether the token is trained on.
    pub trained: Vec<bool>,
}

/// What one update takes a number of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// Name of the rollout, for people.
    pub id: String,
    /// The group that its rollout belongs to.
    pub group: Option<String>,
    /// One for sft and grpo; chosen and rejected for dpo.
    pub answers: Vec<Answer>,
    /// Behaviour log-probs of the trained tokens (grpo).
    pub old: Vec<f32>,
    /// Weights of the trained tokens; empty: all 1.
    pub weights: Vec<f32>,
    pub advantage: f64,
    /// Advantages of the trained tokens; empty: `advantage` holds for all of them.
    pub advantages: Vec<f32>,
    pub reward: Option<f64>,
}

impl Example {
    /// Tokens of all answers.
    pub fn tokens(&self) -> usize {
        self.answers.iter().map(|a| a.ids.len()).sum()
    }

    /// Tokens that are trained on.
    pub fn trained(&self) -> usize {
        // Nothing predicts the first token.
        self.answers.iter().map(|a| a.trained.iter().skip(1).filter(|t| **t).count()).sum()
    }
}

/// What was read, and what of it is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataReport {
    pub rows: u64,
    pub examples: u64,
    /// Tokens of all examples, and those of them that are trained on.
    pub tokens: u64,
    pub trained_tokens: u64,
    /// Left out by --on-bad-row skip, and the first of them in words.
    pub bad_rows: u64,
    pub first_bad_row: Option<String>,
    /// Left out: longer than --max-length.
    pub too_long: u64,
    /// Left out: no token of the policy's.
    pub nothing_to_train: u64,
    pub groups: u64,
    /// Groups left out: all rewards equal.
    pub equal_groups: u64,
    /// Groups left out: a single rollout.
    pub single_groups: u64,
    pub first_single_group: Option<String>,
    /// Rollouts left out: their column `advantage` is null, since nothing tells what they earned beside their group.
    pub no_advantage: u64,
    /// Messages whose calls the model's chat template does not show: they are not learnt.
    pub hidden_calls: u64,
    /// Rollouts left out by resample-on-correct.
    pub resampled: u64,
}

impl DataReport {
    /// What was read and left out, for people. Names in it are those of the data.
    pub fn lines(&self) -> Vec<String> {
        let mut out = vec![format!(
            "{} of {} rows, {} tokens, {} of them trained on",
            self.examples, self.rows, self.tokens, self.trained_tokens
        )];
        if let Some(first) = &self.first_bad_row {
            out.push(format!("bad rows dropped: {}; the first: {first}", self.bad_rows));
        }
        let single = self.first_single_group.as_deref().unwrap_or_default();
        let left_out = [
            ("rollouts dropped, longer than --max-length", self.too_long),
            ("rollouts dropped, no policy tokens in them", self.nothing_to_train),
            ("groups dropped, all rewards equal", self.equal_groups),
            (&format!("groups dropped, a single rollout (such as `{single}`)"), self.single_groups),
            ("rollouts dropped, their advantage is null", self.no_advantage),
            ("rollouts dropped by --resample-on-correct", self.resampled),
            ("messages whose calls the model's chat template does not show", self.hidden_calls),
        ];
        out.extend(left_out.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what}: {count}")));
        out
    }
}

/// All examples of a run.
#[derive(Debug, Default)]
pub struct Dataset {
    pub examples: Vec<Example>,
    pub report: DataReport,
    /// Hash of what the examples hold: a resume must go on with the same.
    pub hash: String,
}

struct Loader<'a> {
    config: &'a TrainConfig,
    policy: &'a Policy,
    sequencer: Sequencer,
    detector: Option<ErrorDetector>,
    examples: Vec<Example>,
    earned: Vec<Earned>,
    report: DataReport,
}

/// Where the advantage of a rollout comes from.
enum Earned {
    /// From the rollouts of its group.
    Beside(Member),
    /// From its own columns.
    Own(f64),
}

/// Reads all rows and computes advantages where the objective has them.
pub fn load(
    config: &TrainConfig,
    columns: &ColumnConfig,
    policy: &Policy,
    run: &Run<'_>,
) -> Result<Dataset, TrainError> {
    let detector = match config.grpo.resample_on_correct {
        true => ErrorDetector::new(&DetectConfig::default()).ok(),
        false => None,
    };
    let sequencer = Sequencer::new(policy);
    let mut loader = Loader {
        config,
        policy,
        sequencer,
        detector,
        examples: Vec::new(),
        earned: Vec::new(),
        report: DataReport::default(),
    };
    for path in expand(&config.data)? {
        loader.read(&path, columns, run)?;
    }
    loader.finish()
}

impl Loader<'_> {
    fn read(&mut self, path: &Path, columns: &ColumnConfig, run: &Run<'_>) -> Result<(), TrainError> {
        let input = run.install(|| Input::open_any(path, columns))?;
        self.check(&input)?;
        let shape = input.shape();
        input.each_decoded(run, |(batches, bad)| {
            for line in bad {
                self.report.rows += 1;
                self.leave_out(row_error(path, line.row, "", line.error.into()))?;
            }
            batches.iter().try_for_each(|batch| self.read_batch(batch, &shape))
        })
    }

    /// Whole columns that the objective needs.
    fn check(&self, input: &Input) -> Result<(), TrainError> {
        let (path, columns) = (input.path.clone(), &input.columns);
        match self.config.objective {
            Objective::Dpo if columns.preference.is_none() => Err(TrainError::NoPairs { path }),
            Objective::Dpo => Ok(()),
            objective if columns.messages.is_none() && columns.response.is_none() => {
                let objective = if objective == Objective::Sft { "sft" } else { "grpo" };
                Err(TrainError::OnlyPairs { path, objective })
            }
            Objective::Sft => Ok(()),
            Objective::Grpo => self.check_rewards(path, columns),
        }
    }

    fn check_rewards(&self, path: PathBuf, columns: &Columns) -> Result<(), TrainError> {
        match self.config.grpo.changes_advantages().filter(|_| columns.advantage.is_some()) {
            Some(option) => Err(TrainError::OwnAdvantages { path, option }),
            None if columns.advantage.is_none() && columns.reward.is_none() => Err(TrainError::NoRewards { path }),
            None if columns.advantage.is_none() && columns.group.is_none() => Err(TrainError::NoGroups { path }),
            None if columns.response.is_none_or(|r| r.logprobs.is_none()) => Err(TrainError::NoOldLogprobs { path }),
            None => Ok(()),
        }
    }

    fn read_batch(&mut self, batch: &Decoded, shape: &Shape) -> Result<(), TrainError> {
        let failed = |source| IngestError::Rows { path: shape.path.clone(), row: batch.number(0), source };
        let fail = |row: usize, problem| row_error(&shape.path, batch.number(row), &batch.id(row), problem);
        if self.config.objective == Objective::Dpo {
            let Some(found) = shape.columns.preference else { return Ok(()) };
            let reader = PreferenceReader::new(batch, found, &shape.columns).map_err(failed)?;
            for row in 0..batch.rows() {
                self.report.rows += 1;
                let read = reader.row(row).map_err(Problem::from).and_then(|pair| self.read_pair(pair));
                read.or_else(|problem| self.leave_out(fail(row, problem)))?;
            }
            return Ok(());
        }
        let reader = SampleReader::new(batch, &shape.columns).map_err(failed)?;
        for row in 0..batch.rows() {
            self.report.rows += 1;
            let sample = reader.row(row).map_err(Problem::from);
            let read = sample.and_then(|sample| self.read_rollout(&sample, batch.rollout(row), shape));
            read.or_else(|problem| self.leave_out(fail(row, problem)))?;
        }
        Ok(())
    }

    /// Ends the run, or counts the row as left out; a model that can't be used is not a row's fault.
    fn leave_out(&mut self, error: TrainError) -> Result<(), TrainError> {
        let is_of_model = matches!(&error, TrainError::Row { problem, .. } if problem.is_of_model());
        if self.config.on_bad_row == OnBadRow::Fail || is_of_model {
            return Err(error);
        }
        self.report.bad_rows += 1;
        self.report.first_bad_row.get_or_insert_with(|| error.to_string());
        Ok(())
    }

    fn read_pair(&mut self, pair: Preference) -> Result<(), Problem> {
        let answers = self.sequencer.preference(&pair)?;
        self.report.hidden_calls += answers.iter().map(|a| a.hidden_calls as u64).sum::<u64>();
        let answers: Vec<Answer> = answers.into_iter().map(Answer::from).collect();
        if answers.iter().any(|a| !a.trained.iter().skip(1).any(|t| *t)) {
            return Err(Problem::NoAnswer);
        }
        self.push(Example { id: pair.id, answers, ..Example::default() })?;
        Ok(())
    }

    fn read_rollout(
        &mut self,
        sample: &Sample,
        rollout: Result<Rollout<'_>, RowError>,
        shape: &Shape,
    ) -> Result<(), Problem> {
        let rollout = match sample.messages {
            Some(_) => Some(rollout?),
            None => None,
        };
        let cap = self.config.grpo.repair_weight_cap;
        let wants_places = cap.is_some() && !sample.repairs.is_empty();
        let messages = rollout.as_ref().map(|r| r.messages.as_slice()).filter(|_| wants_places);
        let sequence = self.sequencer.rollout(sample, messages)?;
        let weights = cap.map_or(Vec::new(), |cap| values::weights(sample, &sequence, cap.get()));
        self.report.hidden_calls += sequence.hidden_calls as u64;
        let reward = sample.reward;
        let trained = values::trained(sample, &sequence);
        let keep = |values: Vec<f32>| values.into_iter().zip(&trained).skip(1).filter(|(_, t)| **t).map(|(v, _)| v);
        let mut example = Example { id: sample.id.clone(), group: sample.group.clone(), reward, ..Example::default() };
        if !weights.is_empty() {
            example.weights = keep(weights).collect();
        }
        if self.config.objective == Objective::Grpo {
            let old = values::old_logprobs(sample, &sequence, &trained)?;
            example.old = keep(old).collect();
            let advantages = values::token_advantages(sample, &sequence, &trained)?;
            if !advantages.is_empty() {
                example.advantages = keep(advantages).collect();
            }
            let length = sequence.ids.len() - sequence.prompt;
            let earned = match shape.columns.advantage {
                None => Some(Earned::Beside(self.member(sample, rollout.as_ref(), length)?)),
                Some(_) => own_advantage(sample, self.config.grpo.keep_equal_groups)?.map(Earned::Own),
            };
            example.answers = vec![Answer { ids: sequence.ids, trained }];
            match earned {
                None => self.report.no_advantage += 1,
                Some(earned) => {
                    if self.push(example)? {
                        self.earned.push(earned);
                    }
                }
            }
            return Ok(());
        }
        example.answers = vec![Answer { ids: sequence.ids, trained }];
        self.push(example)?;
        Ok(())
    }

    /// A rollout as one of its group; `length` counts the tokens of its response.
    fn member(&self, sample: &Sample, rollout: Option<&Rollout<'_>>, length: usize) -> Result<Member, Problem> {
        let reward = sample.reward.filter(|r| r.is_finite()).ok_or(Problem::BadReward { value: sample.reward })?;
        let grpo = &self.config.grpo;
        let penalty = grpo
            .overlong
            .map_or(0.0, |longest| overlong_penalty(length, longest, grpo.overlong_buffer, grpo.overlong_factor.get()));
        let errors = rollout.zip(self.detector.as_ref());
        Ok(Member {
            id: sample.id.clone(),
            group: sample.group.clone().ok_or(Problem::NoGroup)?,
            reward: reward + penalty,
            tool_errors: errors.map_or(0, |(r, detector)| Trajectory::new(r, detector).failed_attempts()),
        })
    }

    /// Whether the example is kept.
    fn push(&mut self, example: Example) -> Result<bool, Problem> {
        let longest = example.answers.iter().map(|a| a.ids.len()).max().unwrap_or(0);
        if self.config.max_length.is_some_and(|most| longest > most) {
            self.report.too_long += 1;
            return Ok(false);
        }
        for answer in &example.answers {
            self.policy.check(&answer.ids).map_err(SequenceError::from)?;
        }
        if example.trained() == 0 {
            self.report.nothing_to_train += 1;
            return Ok(false);
        }
        self.examples.push(example);
        Ok(true)
    }

    fn finish(mut self) -> Result<Dataset, TrainError> {
        if self.config.objective == Objective::Grpo {
            let rules = GroupRules {
                skips_equal: !self.config.grpo.keep_equal_groups,
                resamples_on_correct: self.config.grpo.resample_on_correct,
                seed: self.config.seed,
            };
            let (members, places): (Vec<Option<Member>>, Vec<Option<f64>>) = self
                .earned
                .into_iter()
                .map(|earned| match earned {
                    Earned::Beside(member) => (Some(member), None),
                    Earned::Own(advantage) => (None, Some(advantage)),
                })
                .unzip();
            let members: Vec<Member> = members.into_iter().flatten().collect();
            let found = advantages(&members, rules);
            self.report.groups = found.groups as u64;
            self.report.equal_groups = found.equal as u64;
            self.report.single_groups = found.single as u64;
            self.report.first_single_group = found.first_single;
            self.report.resampled = found.resampled as u64;
            let mut beside = found.of.into_iter();
            let kept =
                self.examples.into_iter().zip(places).filter_map(|(example, own)| {
                    Some(Example { advantage: own.or_else(|| beside.next()?)?, ..example })
                });
            self.examples = kept.collect();
        }
        let report = &mut self.report;
        report.examples = self.examples.len() as u64;
        report.tokens = self.examples.iter().map(|e| e.tokens() as u64).sum();
        report.trained_tokens = self.examples.iter().map(|e| e.trained() as u64).sum();
        if self.examples.is_empty() {
            return Err(TrainError::Empty { detail: left_out(report) });
        }
        let hash = hash(&self.examples);
        Ok(Dataset { examples: self.examples, report: self.report, hash })
    }
}

impl From<Sequence> for Answer {
    fn from(sequence: Sequence) -> Self {
        Answer { ids: sequence.ids, trained: sequence.policy }
    }
}

/// The advantage that a row says itself; `None` where it says that nothing tells.
fn own_advantage(sample: &Sample, keeps_equal: bool) -> Result<Option<f64>, Problem> {
    match sample.advantage {
        Some(value) if !value.is_finite() => Err(Problem::BadAdvantage { value }),
        None if keeps_equal => Ok(Some(0.0)),
        found => Ok(found),
    }
}

fn row_error(path: &Path, row: u64, rollout: &str, problem: Problem) -> TrainError {
    TrainError::Row { path: PathBuf::from(path), row, rollout: rollout.to_owned(), problem: Box::new(problem) }
}

fn left_out(report: &DataReport) -> String {
    if report.rows == 0 {
        return "the files hold no row".to_owned();
    }
    let count = |n: u64, what: &str| (n > 0).then(|| format!("{n} {what}"));
    let single = match &report.first_single_group {
        Some(name) => format!("groups of a single rollout (such as `{}`)", name.escape_debug()),
        None => "groups of a single rollout".to_owned(),
    };
    let parts = [
        count(report.bad_rows, "bad rows"),
        count(report.too_long, "rollouts longer than --max-length"),
        count(report.nothing_to_train, "rollouts without a token of the policy's"),
        count(report.equal_groups, "groups whose rewards are all equal"),
        count(report.single_groups, &single),
        count(report.no_advantage, "rollouts whose advantage is null"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("of {} rows, dropped: {}", report.rows, parts.join(", "))
}

/// Ties a checkpoint to its data: ids, masks and what else the loss depends on.
fn hash(examples: &[Example]) -> String {
    let mut hasher = blake3::Hasher::new();
    for example in examples {
        hasher.update(&(example.answers.len() as u64).to_le_bytes());
        for answer in &example.answers {
            hasher.update(&(answer.ids.len() as u64).to_le_bytes());
            answer.ids.iter().zip(&answer.trained).for_each(|(id, trained)| {
                hasher.update(&id.to_le_bytes()).update(&[u8::from(*trained)]);
            });
        }
        example.old.iter().chain(&example.weights).chain(&example.advantages).for_each(|x| {
            hasher.update(&x.to_le_bytes());
        });
        hasher.update(&example.advantage.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
