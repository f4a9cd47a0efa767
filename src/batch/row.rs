//! A row as it is written: what was decided on it, and what it becomes.

use crate::rewrite::{PurifiedRollout, RepairRecord};
use crate::saar::Plan;

/// A row that is written.
pub struct WrittenRow {
    /// Index within its batch.
    pub row: usize,
    pub plan: Plan,
    pub records: Vec<RepairRecord>,
    /// `None`: the row stays as it is.
    pub purified: Option<PurifiedRollout>,
    /// The loss flag of each message, where the schema marks the loss; empty elsewhere.
    pub loss: Vec<bool>,
}

/// Constants of a run that every row's provenance names.
#[derive(Clone, Debug)]
pub struct RunLabels {
    pub profile: String,
    pub mode: String,
    pub measure: String,
}
