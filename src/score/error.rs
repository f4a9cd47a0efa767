//! Why scoring stops, and why a row can't be scored.
//!
//! Owns the complaints and what to do about each.

use std::path::PathBuf;

use crate::batch::RowError;
use crate::ingest::IngestError;
use crate::policy::PolicyError;
use crate::policy::sequence::SequenceError;
use crate::run::RunError;
use crate::write::WriteError;

/// Why scoring stops.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("`{}` has no column `purification`, which says what was repaired", path.display())]
    NotPurified { path: PathBuf },
    #[error("rollout `{}` of the purified file is not in `{}`, or not in the same order", rollout.escape_debug(), path.display())]
    NotInRaw { path: PathBuf, rollout: String },
    #[error("{unscored} of {rows} rows could not be scored")]
    Unscored { unscored: u64, rows: u64 },
    #[error(transparent)]
    Run(#[from] RunError),
}

impl ScoreError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ScoreError::Policy(error) => return error.hint().map(str::to_owned),
            ScoreError::Ingest(error) => return error.hint().map(str::to_owned),
            ScoreError::Write(error) => return error.hint().map(str::to_owned),
            ScoreError::NotPurified { .. } => "give the file that purify wrote with --in, or leave --raw out",
            ScoreError::NotInRaw { .. } => "give the file that was purified, unsorted",
            ScoreError::Run(error) => return error.hint().map(str::to_owned),
            ScoreError::Unscored { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Why one row can't be scored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Sequence(#[from] SequenceError),
}

impl Problem {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Problem::Row(error) => error.code(),
            Problem::Sequence(SequenceError::NoPrompt) => "no_prompt",
            Problem::Sequence(SequenceError::Nothing) => "nothing",
            Problem::Sequence(SequenceError::Align(_)) => "tokens_do_not_fit_messages",
            Problem::Sequence(SequenceError::Policy(PolicyError::TooLong { .. })) => "too_long",
            Problem::Sequence(SequenceError::Policy(PolicyError::Token { .. })) => "unknown_token",
            Problem::Sequence(SequenceError::Policy(_)) => "template",
        }
    }
}
