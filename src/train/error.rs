//! Why training stops.
//!
//! Owns the texts; what to do about each is beside it.

use std::path::PathBuf;

use crate::batch::RowError;
use crate::ingest::IngestError;
use crate::policy::PolicyError;
use crate::policy::sequence::SequenceError;
use crate::run::RunError;

/// Why a row can't be trained on.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    #[error("column `response_logprobs` is null: grpo needs the behaviour log-prob of every policy token")]
    NoLogprobs,
    #[error("token {at} of the response has no behaviour log-prob")]
    NoLogprob { at: usize },
    #[error("token {at} of the response has log-prob {value}, expected a number that is not above 0")]
    BadLogprob { at: usize, value: f32 },
    #[error("its reward is {}, expected a number", shown(*.value))]
    BadReward { value: Option<f64> },
    #[error("its advantage is {value}, expected a number or null")]
    BadAdvantage { value: f64 },
    #[error("column `token_advantages` has {found} values, expected one for each of the {expected} response tokens")]
    TokenAdvantages { found: usize, expected: usize },
    #[error("token {at} of the response is trained on and has no advantage in `token_advantages`")]
    NoTokenAdvantage { at: usize },
    #[error("it belongs to no group")]
    NoGroup,
    #[error("the answer holds no policy tokens")]
    NoAnswer,
}

impl Problem {
    /// Whether every row that needs the tokenizer would fail alike.
    pub fn is_of_model(&self) -> bool {
        match self {
            Problem::Sequence(SequenceError::Policy(error)) => !error.is_of_row(),
            _ => false,
        }
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or("null".to_owned(), |v| v.to_string())
}

/// Why training stops.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("row {row} of `{}` (`{}`): {problem}", path.display(), rollout.escape_debug())]
    Row { path: PathBuf, row: u64, rollout: String, problem: Box<Problem> },
    #[error("`{}` has no column of rewards, which grpo needs", path.display())]
    NoRewards { path: PathBuf },
    #[error("`{}` has no column of groups, which grpo needs", path.display())]
    NoGroups { path: PathBuf },
    #[error("`{}` has no column of log-probs, which grpo needs", path.display())]
    NoOldLogprobs { path: PathBuf },
    #[error("`{}` has a column `advantage`, and {option} would change what it was computed from", path.display())]
    OwnAdvantages { path: PathBuf, option: &'static str },
    #[error("`{}` holds no preference pairs, which dpo needs: expected columns `prompt`, `chosen` and `rejected`, or the same names with `_ids`", path.display())]
    NoPairs { path: PathBuf },
    #[error("`{}` holds preference pairs, which {objective} can't read", path.display())]
    OnlyPairs { path: PathBuf, objective: &'static str },
    #[error("there is nothing to train on: {detail}")]
    Empty { detail: String },
    #[error("{name} is not one of the projections {known}")]
    Target { name: String, known: String },
    #[error("`{}` already holds a run", path.display())]
    Occupied { path: PathBuf },
    #[error("`{}` holds no checkpoint to go on from", path.display())]
    NoCheckpoint { path: PathBuf },
    #[error("checkpoint `{}` can't be used: {detail}", path.display())]
    Checkpoint { path: PathBuf, detail: String },
    #[error("checkpoint `{}` belongs to another run: {what} differs", path.display())]
    OtherRun { path: PathBuf, what: String },
    #[error("update {update}: {what} is not finite; rollouts of it: {rollouts}")]
    NotFinite { update: u64, what: &'static str, rollouts: String, checkpoint: Option<PathBuf> },
    #[error("interrupted by signal {signal} after update {update}")]
    Interrupted { signal: u8, update: u64, checkpoint: PathBuf },
}

impl TrainError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            TrainError::Policy(error) => return error.hint().map(str::to_owned),
            TrainError::Ingest(error) => return error.hint().map(str::to_owned),
            TrainError::Run(error) => return error.hint().map(str::to_owned),
            TrainError::Row { problem, .. } => match problem.as_ref() {
                Problem::NoLogprobs | Problem::NoLogprob { .. } | Problem::BadLogprob { .. } => {
                    "`purify score` computes them with the policy"
                }
                Problem::Sequence(SequenceError::Policy(error)) => return error.hint().map(str::to_owned),
                Problem::BadReward { .. } => "leave the row out, or use --objective sft",
                Problem::NoGroup => "name the column with --group-column",
                _ => "--on-bad-row skip leaves such rows out and counts them",
            },
            TrainError::NoRewards { .. } => "name it with --reward-column, or use --objective sft",
            TrainError::NoGroups { .. } => "name it with --group-column",
            TrainError::NoOldLogprobs { .. } => "`purify score` computes them with the policy",
            TrainError::OwnAdvantages { .. } => {
                "leave the option out, or write the data with --advantage-column false; the main job has --recipe resample-on-correct"
            }
            TrainError::NoPairs { .. } => "`purify --pairs` writes one for each repair",
            TrainError::OnlyPairs { .. } => "use --objective dpo, or give the rollouts themselves",
            TrainError::Empty { .. } => "`purify inspect` shows what the files hold",
            TrainError::Target { .. } => "name some of them, separated by commas",
            TrainError::Occupied { .. } => "--resume goes on with it; give another --out for a new one",
            TrainError::NoCheckpoint { .. } => "start it without --resume",
            TrainError::Checkpoint { .. } => "remove it: the run goes on from the one before",
            TrainError::OtherRun { .. } => "give the options and the data that the run was started with",
            TrainError::NotFinite { checkpoint, .. } => {
                let kept = match checkpoint {
                    Some(path) => format!("`{}` holds the last good state; ", path.display()),
                    None => String::new(),
                };
                return Some(format!("{kept}look at these rollouts, or lower --learning-rate"));
            }
            TrainError::Interrupted { checkpoint, .. } => {
                return Some(format!("`{}` is saved: --resume goes on from it", checkpoint.display()));
            }
        };
        Some(hint.to_owned())
    }
}
