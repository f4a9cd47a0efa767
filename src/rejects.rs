//! Why a row is not written: the only place that says so.
//!
//! Owns the reasons, their names in counters and files, and the words of the complaint. A row that is rejected is kept whole,
//! with its reason; [`crate::batch::rejects`] builds those columns.

use crate::batch::RowError;
use crate::rewrite::SpliceError;
use crate::similarity::semantic::NoVector;

/// Why one row is not written. The caller adds file and row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    /// It can't be read as a rollout.
    #[error(transparent)]
    Unreadable(#[from] RowError),
    /// Its tokens can't be cut where its messages are.
    #[error(transparent)]
    Tokens(#[from] SpliceError),
    #[error("it was purified before and needs further repairs now; the record of the first would be lost")]
    PurifiedBefore,
    #[error("it holds {runs} failure runs without a correction")]
    Unrecovered { runs: usize },
    #[error("others of its group were chosen: --resample keeps half of each group")]
    NotResampled,
    #[error("{repairs} of its repairs leave text about a removed error")]
    Residue { repairs: usize },
    #[error("{0}, although the file was read for such texts before: it has changed since")]
    NoVector(#[from] NoVector),
}

impl RejectReason {
    /// The name under which such rows are counted.
    pub fn code(&self) -> &'static str {
        match self {
            RejectReason::Unreadable(error) => error.code(),
            RejectReason::Tokens(_) => "tokens_do_not_fit_messages",
            RejectReason::PurifiedBefore => "purified_before",
            RejectReason::Unrecovered { .. } => "unrecovered",
            RejectReason::NotResampled => "not_resampled",
            RejectReason::Residue { .. } => "residue",
            RejectReason::NoVector(_) => "no_vector",
        }
    }

    /// As it stands in `reject_reason`: its name, the place, the complaint.
    pub fn at(&self, row: u64, file: &str) -> String {
        format!("{}: row {row} of `{file}`: {self}", self.code())
    }
}
