//! Failure runs: longest stretches of failed attempts, and what follows them.
//!
//! Owns the adjacency rule of docs/method.md, "Words". Context is not trained on, so that nothing in it needs repair. How long a
//! run may be is a setting of [`crate::saar`].

use std::ops::Range;

use super::step::{Outcome, Step};

/// What comes after a failure run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// An attempt that did its job, directly after: the index of its step.
    Correction(usize),
    /// Talk without a call, another role, an open attempt, context, or the end.
    Other,
}

/// Failed attempts one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRun {
    /// Indices of the steps; never empty.
    pub steps: Range<usize>,
    pub end: RunEnd,
}

pub(super) fn find(steps: &[Step]) -> Vec<FailureRun> {
    // Results that stand elsewhere tie a step to what lies in between: it can't be taken out in one piece.
    let follows = |k: usize| {
        k < steps.len() && steps[k].message == steps[k - 1].end() && steps[k - 1..=k].iter().all(Step::is_whole)
    };
    let failed = |k: usize| !steps[k].is_context && steps[k].attempt == Some(Outcome::Failed);
    let mut runs = Vec::new();
    let mut k = 0;
    while k < steps.len() {
        if !failed(k) {
            k += 1;
            continue;
        }
        let start = k;
        k += 1;
        while follows(k) && failed(k) {
            k += 1;
        }
        let did_its_job = |k: usize| steps[k].attempt.is_some_and(Outcome::did_its_job);
        let corrected = follows(k) && !steps[k].is_context && did_its_job(k);
        runs.push(FailureRun { steps: start..k, end: if corrected { RunEnd::Correction(k) } else { RunEnd::Other } });
    }
    runs
}
