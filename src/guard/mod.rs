//! Guards: what a repair leaves behind, or takes away, without a word.
//!
//! Owns the findings. Pure: each guard reads a [`crate::steps::Trajectory`] and a [`crate::saar::Plan`] and returns
//! plain data. What follows from a finding (`--on-residue`, `--on-dependency`) is [`crate::pipeline`]'s to decide.

pub mod calls;
mod changes;
pub mod cited;
pub mod dependency;
pub mod effects;
mod glance;
mod python;
pub mod residue;
pub mod results;

/// What the guards say of one repair; `None`: not looked at, or not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Text that stays speaks of the error that is gone.
    pub residue: Option<bool>,
    /// What stays uses a name that only the removed attempts define.
    pub depends_on_removed: Option<bool>,
    /// The correction repeats a failed call: the tool was flaky, and there is nothing to learn.
    pub identical_retry: Option<bool>,
    /// The harness has cut a result of the correction.
    pub lossy_result: Option<bool>,
    /// Its reasoning spoke of the error, so it was made shallow.
    pub made_shallow: bool,
}
