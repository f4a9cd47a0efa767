//! Guards: what a repair leaves behind, or takes away, without a word.
//!
//! Owns what a finding means; the findings themselves are fields of the record ([`crate::record::finding`]). Pure: each guard reads a [`crate::steps::Trajectory`] and a [`crate::saar::Plan`] and returns
//! plain data. What follows from a finding (`--on-residue`, `--on-dependency`) is [`crate::pipeline`]'s to decide.

mod builtins;
pub mod calls;
mod changes;
pub mod cited;
pub mod dependency;
pub mod effects;
mod glance;
mod pass;
mod python;
mod raw;
pub mod residue;
pub mod results;

pub use crate::record::Findings;
use crate::saar::Repair;
use crate::steps::Trajectory;

/// A guard that looks at one recovered run's repair by itself, and from which nothing follows.
pub struct Guard {
    pub slot: fn(&mut Findings<Option<bool>>) -> &mut Option<bool>,
    /// `None`: it can't tell.
    pub look: fn(&Trajectory<'_, '_>, &Repair) -> Option<bool>,
}

/// All such guards. Those that other repairs or the options have a say in are [`residue`] and [`dependency`].
pub static GUARDS: &[Guard] = &[
    Guard {
        slot: |found| &mut found.identical_retry,
        look: |run, repair| Some(results::is_identical_retry(run, repair)),
    },
    Guard { slot: |found| &mut found.lossy_result, look: |run, repair| Some(results::is_lossy(run, repair)) },
];
