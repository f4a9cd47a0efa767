//! What of its steps a repair touches: all, single calls, or nothing but the failed steps themselves.
//!
//! Owns the treatment of attempts that failed in part (docs/method.md, "What must not be lost"): what did its job is never
//! taken out. Where the failed calls can't be told from the others, the run is left.

use super::plan::{ReplacedCall, Scope};
use crate::decision::{Reason, RunDecision};
use crate::options::RepairUnit;
use crate::steps::{FailureRun, Step, Trajectory};

pub(super) fn of(
    trajectory: &Trajectory<'_, '_>,
    run: &FailureRun,
    correction: usize,
    decision: Option<&RunDecision>,
    unit: RepairUnit,
) -> Result<Scope, Reason> {
    let steps = &trajectory.steps;
    let is_partial = |step: usize| has_good_call(trajectory, &steps[step]);
    let is_detour = decision.is_some_and(|decision| decision.detour() > 0);
    if unit == RepairUnit::Step || !run.steps.clone().any(is_partial) {
        return Ok(if is_detour { Scope::Removal } else { Scope::Steps });
    }
    // Tokens can only be cut where a message begins, and only the first attempt's calls have a place in the step that stays.
    let is_mergeable =
        !is_detour && trajectory.rollout.tokens.is_none() && !(run.steps.start + 1..run.steps.end).any(is_partial);
    let found = is_mergeable.then(|| replaced(trajectory, &steps[run.steps.start], &steps[correction], decision));
    found.flatten().map(Scope::Calls).ok_or(Reason::PartialStep)
}

fn has_good_call(trajectory: &Trajectory<'_, '_>, step: &Step) -> bool {
    let calls = trajectory.rollout.messages[step.message].call_count();
    (0..calls).any(|call| step.call_outcome(call).did_its_job())
}

/// Which call of the correction replaces which failed one; `None` if that can't be told, or two calls would have one id.
fn replaced(
    trajectory: &Trajectory<'_, '_>,
    first: &Step,
    last: &Step,
    decision: Option<&RunDecision>,
) -> Option<Vec<ReplacedCall>> {
    let [old, new] = [first, last].map(|step| &trajectory.rollout.messages[step.message].calls);
    let failed: Vec<usize> = first.failed_calls().map(|(call, _)| call).collect();
    // Calls in text stand in one piece with the others.
    if old.is_empty() || failed.len() != new.len() {
        return None;
    }
    let nearest = |call: usize| decision?.calls.iter().find(|(old, _)| *old == call).map(|(_, new)| *new);
    let asked: Vec<usize> = failed.iter().filter_map(|&call| nearest(call)).collect();
    let is_clear = asked.len() == failed.len() && (0..new.len()).all(|call| asked.contains(&call));
    let in_order = || (0..new.len()).collect();
    let corrected: Vec<usize> = if is_clear { asked } else { in_order() };
    let kept = |id: &str| (0..old.len()).any(|call| !failed.contains(&call) && old[call].id == Some(id));
    if new.iter().filter_map(|call| call.id).any(kept) {
        return None;
    }
    Some(failed.into_iter().zip(corrected).map(|(failed, corrected)| ReplacedCall { failed, corrected }).collect())
}
