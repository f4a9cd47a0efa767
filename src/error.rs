//! The error of a whole run, what to do about it, and the exit status.
//!
//! Wraps each stage's error; imported by the top alone, so that stages know nothing of each other.

use std::path::{Path, PathBuf};

use crate::embed::EmbedError;
use crate::ingest::IngestError;
use crate::purifier::{PurifyError, UnfitOptions};
use crate::run::RunError;
use crate::verdict::PatternError;
use crate::write::WriteError;

/// Exit statuses, as `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Done,
    /// A gate failed.
    Findings,
    Usage,
    Input,
    Output,
    /// The program itself failed.
    Bug,
    /// 128 + the signal's number.
    Signal(u8),
}

impl ExitStatus {
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Done => 0,
            ExitStatus::Findings => 1,
            ExitStatus::Usage => 2,
            ExitStatus::Input => 3,
            ExitStatus::Output => 4,
            ExitStatus::Bug => 101,
            ExitStatus::Signal(number) => 128 + number,
        }
    }
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Unfit(#[from] UnfitOptions),
    #[error("`{}` has token columns, and nothing tells where a call starts in them", path.display())]
    NoCallMarker { path: PathBuf },
    #[error("tokenizer `{}` can't be used: {detail}", path.display())]
    Tokenizer { path: PathBuf, detail: String },
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    #[error(
        "row {row} of `{}`: a {kind} to compare has no vector, and neither have {} of the {texts} texts to compare",
        path.display(), missing - 1
    )]
    NoVector { path: PathBuf, row: u64, kind: &'static str, missing: usize, texts: usize },
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error("`{}`: {detail}", path.display())]
    Mismatch { path: PathBuf, detail: String, hint: &'static str },
    #[error("lineage events can't be sent to `{target}`: {detail}")]
    Emit { target: String, detail: String, hint: &'static str },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("this is a bug: row {row}, rollout `{rollout}`: {detail}")]
    Bug { rollout: String, row: u64, detail: String },
    #[error("nothing is kept: {detail}")]
    NothingKept { detail: String },
    #[error("{failed} of {gates} gates failed")]
    Gates { failed: usize, gates: usize },
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(Box<crate::train::error::TrainError>),
    #[cfg(feature = "train")]
    #[error(transparent)]
    Score(Box<crate::score::ScoreError>),
    #[error("this build can't {what}")]
    NotBuilt { what: &'static str, feature: &'static str },
}

impl From<PatternError> for Error {
    fn from(error: PatternError) -> Self {
        Error::Unfit(error.into())
    }
}

impl Error {
    pub fn usage(message: impl Into<String>, hint: Option<&str>) -> Self {
        Error::Usage { message: message.into(), hint: hint.map(str::to_owned) }
    }

    /// Of the file whose rows are purified.
    pub fn of_rows(error: PurifyError, path: &Path) -> Self {
        let path = path.to_owned();
        match error {
            PurifyError::Schema(source) => IngestError::Schema { path, source }.into(),
            PurifyError::NoCallMarker => Error::NoCallMarker { path },
            PurifyError::Columns(source) => WriteError::Columns { path, source }.into(),
            PurifyError::Judge(error) => {
                Error::usage(format!("--gate-model: {}", error.message), error.hint.as_deref())
            }
            PurifyError::Bug { rollout, row, detail } => Error::Bug { rollout, row, detail },
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Ingest(error) => error.hint().map(str::to_owned),
            Error::Write(error) => error.hint().map(str::to_owned),
            Error::Unfit(error) => Some(error.hint().to_owned()),
            Error::NoCallMarker { .. } => Some(
                "give --tokenizer FILE, or --call-marker-ids (151657 for Qwen2.5 and Qwen3); \
                 --tokens drop writes the data without tokens"
                    .to_owned(),
            ),
            Error::Tokenizer { .. } => Some("give the file tokenizer.json or its folder".to_owned()),
            Error::NoVector { kind, .. } => Some(format!(
                "run `purify embed --kinds {kind}` on this input, or give --embed-model: it embeds what no file has"
            )),
            Error::Embed(error) => error.hint(),
            Error::Usage { hint, .. } => hint.clone(),
            Error::Mismatch { hint, .. } | Error::Emit { hint, .. } => Some((*hint).to_owned()),
            Error::Run(error) => error.hint().map(str::to_owned),
            Error::Bug { .. } => Some("please report it, with the rollout if you may".to_owned()),
            Error::NothingKept { .. } => Some(
                "`purify inspect FILE` shows how its rows are read; --format names the format that wrote them"
                    .to_owned(),
            ),
            Error::Gates { .. } => None,
            #[cfg(feature = "train")]
            Error::Train(error) => error.hint(),
            #[cfg(feature = "train")]
            Error::Score(error) => error.hint(),
            Error::NotBuilt { feature, .. } => Some(format!("build it with the cargo feature `{feature}`, or `full`")),
        }
    }

    pub fn status(&self) -> ExitStatus {
        match self {
            Error::Ingest(_)
            | Error::NoCallMarker { .. }
            | Error::Tokenizer { .. }
            | Error::NoVector { .. }
            | Error::NothingKept { .. }
            | Error::Mismatch { .. } => ExitStatus::Input,
            Error::Embed(error) => match error {
                EmbedError::Write { .. } | EmbedError::Busy { .. } => ExitStatus::Output,
                EmbedError::Device { .. } | EmbedError::NoRuntime { .. } => ExitStatus::Usage,
                EmbedError::Interrupted { signal } => ExitStatus::Signal(*signal),
                _ => ExitStatus::Input,
            },
            Error::Write(_) | Error::Emit { .. } => ExitStatus::Output,
            Error::Unfit(_) | Error::Usage { .. } => ExitStatus::Usage,
            Error::Run(error) => run_status(error),
            Error::Bug { .. } => ExitStatus::Bug,
            Error::Gates { .. } => ExitStatus::Findings,
            #[cfg(feature = "train")]
            Error::Train(error) => train_status(error),
            #[cfg(feature = "train")]
            Error::Score(error) => score_status(error),
            Error::NotBuilt { .. } => ExitStatus::Usage,
        }
    }
}

fn run_status(error: &RunError) -> ExitStatus {
    match error {
        RunError::Threads { .. } => ExitStatus::Usage,
        RunError::Interrupted { signal } => ExitStatus::Signal(*signal),
        RunError::Bug { .. } => ExitStatus::Bug,
    }
}

#[cfg(feature = "train")]
impl From<crate::train::error::TrainError> for Error {
    fn from(error: crate::train::error::TrainError) -> Self {
        Error::Train(Box::new(error))
    }
}

#[cfg(feature = "train")]
impl From<crate::score::ScoreError> for Error {
    fn from(error: crate::score::ScoreError) -> Self {
        Error::Score(Box::new(error))
    }
}

#[cfg(feature = "train")]
fn train_status(error: &crate::train::error::TrainError) -> ExitStatus {
    use crate::train::error::TrainError;
    match error {
        TrainError::NotFinite { .. } => ExitStatus::Findings,
        TrainError::Interrupted { signal, .. } => ExitStatus::Signal(*signal),
        TrainError::Run(error) => run_status(error),
        TrainError::Target { .. } | TrainError::Occupied { .. } | TrainError::OtherRun { .. } => ExitStatus::Usage,
        TrainError::Policy(error) => policy_status(error),
        _ => ExitStatus::Input,
    }
}

#[cfg(feature = "train")]
fn policy_status(error: &crate::policy::PolicyError) -> ExitStatus {
    use crate::policy::PolicyError;
    match error {
        PolicyError::Write(_) => ExitStatus::Output,
        PolicyError::Device { .. } => ExitStatus::Usage,
        PolicyError::Tensor(_) => ExitStatus::Bug,
        _ => ExitStatus::Input,
    }
}

#[cfg(feature = "train")]
fn score_status(error: &crate::score::ScoreError) -> ExitStatus {
    use crate::score::ScoreError;
    match error {
        ScoreError::Unscored { .. } => ExitStatus::Findings,
        ScoreError::Write(_) => ExitStatus::Output,
        ScoreError::Run(error) => run_status(error),
        ScoreError::Policy(error) => policy_status(error),
        _ => ExitStatus::Input,
    }
}
