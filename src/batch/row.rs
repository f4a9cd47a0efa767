//! A row as it is written: what was decided on it, and what it becomes.

use crate::options::{Mode, Profile};
use crate::record::{RepairRecord, RowRecord, RunRecord};
use crate::rewrite::PurifiedRollout;
use crate::saar::Plan;

/// A row that is written.
pub struct WrittenRow {
    /// Index within its batch.
    pub row: usize,
    pub plan: Plan,
    /// Of what this run does.
    pub records: Vec<RepairRecord>,
    /// Of every failure run.
    pub runs: Vec<RunRecord>,
    /// What the row says was done to it before.
    pub earlier: Option<RowRecord>,
    /// `None`: the row stays as it is.
    pub purified: Option<PurifiedRollout>,
    /// What it earned beside its group, where that is known and written.
    pub advantage: Option<f64>,
    /// The same by response token, where it is known and written.
    pub token_advantages: Option<Vec<f32>>,
    /// The loss flag of each message, where the schema marks the loss; empty elsewhere.
    pub loss: Vec<bool>,
}

/// Constants of a run that every row's provenance names.
#[derive(Clone, Copy, Debug)]
pub struct RunLabels {
    pub profile: Profile,
    pub mode: Mode,
}
