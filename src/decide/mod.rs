//! What becomes of a failure run, and why (docs/method.md, "What is a correction", "What must not be lost").
//!
//! Owns the decision: which of the steps behind a run corrects it, if one does, and what a repair would lose. It reads a
//! [`Trajectory`] and returns plain data for every run, repaired or not; making the repair is [`crate::saar`]'s. Whether
//! later code needs names of the failed code is [`crate::guard::dependency`]'s to find, once all repairs are known.

mod attempts;

pub use crate::decision::{Reason, RunDecision};
use crate::guard::cited::Facts;
use crate::guard::effects::{self, SideEffects};
use crate::intent::{self, Attempt, Correction, Judgement, Place, Settings};
use crate::options::{Corrections, DecideConfig, OnLoss};
use crate::steps::{FailureRun, Outcome, Trajectory};

/// All that decisions depend on besides the trajectory.
pub struct Decider<'c> {
    pub config: &'c DecideConfig,
    /// The cosine of two steps' calls, where there are vectors.
    pub meaning: Option<&'c dyn Fn(usize, usize) -> Option<f64>>,
}

impl Decider<'_> {
    /// Decides on one run.
    pub fn decide(&self, trajectory: &Trajectory<'_, '_>, run: &FailureRun) -> RunDecision {
        let failed: Vec<Attempt<'_>> = run.steps.clone().map(|step| attempts::of(trajectory, step)).collect();
        let mut first: Option<(usize, Attempt<'_>, Judgement)> = None;
        for later in within_reach(trajectory, run, self.config.max_detour as usize) {
            let attempt = attempts::of(trajectory, later);
            let judgement = self.judge(&failed, run, &attempt, later);
            let is_found = judgement.correction == Correction::Retry;
            if is_found || first.is_none() {
                first = Some((later, attempt, judgement));
            }
            if is_found {
                break;
            }
        }
        match first {
            None => undecided(run),
            Some((later, attempt, judgement)) => self.conclude(trajectory, run, &failed, (later, &attempt), judgement),
        }
    }

    /// Each attempt of the run is judged against the later step, or against the next attempt if that is nearer: a chain of
    /// retries holds as well as its weakest link.
    fn judge(&self, failed: &[Attempt<'_>], run: &FailureRun, later: &Attempt<'_>, later_step: usize) -> Judgement {
        let settings = Settings { ending_tools: &self.config.ending_tools };
        let meaning = |old: usize, new: usize| self.meaning.and_then(|cosine| cosine(old, new));
        let first = run.steps.start;
        let mut calls = Vec::new();
        let links = failed.iter().enumerate().map(|(k, attempt)| {
            let changes_way = failed[k + 1..].iter().any(intent::announces_another_plan);
            let place = Place { among_failed: false, changes_way };
            let direct = intent::judge(attempt, later, place, meaning(first + k, later_step), settings);
            let Some(next) = failed.get(k + 1) else {
                calls.clone_from(&direct.calls);
                return direct;
            };
            let onward = intent::judge(
                attempt,
                next,
                Place { among_failed: true, ..place },
                meaning(first + k, first + k + 1),
                settings,
            );
            if onward.affinity > direct.affinity { onward } else { direct }
        });
        let weakest = links.reduce(|least, next| if next.affinity < least.affinity { next } else { least });
        weakest.map(|weakest| Judgement { calls, ..weakest }).unwrap_or_else(Judgement::none)
    }

    fn conclude(
        &self,
        trajectory: &Trajectory<'_, '_>,
        run: &FailureRun,
        failed: &[Attempt<'_>],
        (later, attempt): (usize, &Attempt<'_>),
        judgement: Judgement,
    ) -> RunDecision {
        let mut out = RunDecision {
            steps: run.steps.clone(),
            later: Some(later),
            correction: judgement.correction,
            affinity: judgement.affinity,
            evidence: judgement.evidence,
            calls: judgement.calls,
            side_effects: None,
            cited_later: None,
            reason: None,
        };
        out.reason = self.reason_against(&out);
        if out.reason.is_some() {
            return out;
        }
        if self.config.on_side_effects != OnLoss::Keep {
            out.side_effects = Some(side_effects(failed, attempt));
        }
        if self.config.on_cited != OnLoss::Keep {
            out.cited_later = Some(is_cited(trajectory, failed, later));
        }
        if out.side_effects == Some(SideEffects::Yes) && self.config.on_side_effects == OnLoss::Skip {
            out.reason = Some(Reason::SideEffects);
        } else if out.cited_later == Some(true) && self.config.on_cited == OnLoss::Skip {
            out.reason = Some(Reason::CitedLater);
        }
        out
    }

    /// Whether the later step is no correction that the options take.
    fn reason_against(&self, decision: &RunDecision) -> Option<Reason> {
        match (self.config.corrections, decision.correction) {
            (Corrections::Any, _) | (_, Correction::Retry) | (Corrections::Workaround, Correction::Workaround) => None,
            _ if decision.evidence.iter().any(|rule| INFORMATIVE.contains(rule)) => Some(Reason::Informative),
            (Corrections::Retry, Correction::Workaround) => Some(Reason::Workaround),
            (Corrections::Retry | Corrections::Workaround, Correction::Other) => Some(Reason::NotARetry),
        }
    }
}

/// Rules that say of a failed call that its output is what it was for.
const INFORMATIVE: &[&str] = &["ran_a_check", "searched_in_vain", "own_assertion"];

fn undecided(run: &FailureRun) -> RunDecision {
    RunDecision {
        steps: run.steps.clone(),
        later: None,
        correction: Correction::Other,
        affinity: 0.0,
        evidence: Vec::new(),
        calls: Vec::new(),
        side_effects: None,
        cited_later: None,
        reason: Some(Reason::NoCorrection),
    }
}

/// The steps behind a run that did their job, one after another with no other message between them: the one directly
/// behind, and at most `detour` more.
pub fn within_reach(trajectory: &Trajectory<'_, '_>, run: &FailureRun, detour: usize) -> Vec<usize> {
    let steps = &trajectory.steps;
    let follows = |k: usize| steps[k].message == steps[k - 1].end() && steps[k].is_whole() && steps[k - 1].is_whole();
    let did_its_job = |k: usize| !steps[k].is_context && steps[k].attempt.is_some_and(Outcome::did_its_job);
    let last = steps.len().min(run.steps.end.saturating_add(detour).saturating_add(1));
    (run.steps.end..last).take_while(|&k| k > 0 && follows(k) && did_its_job(k)).collect()
}

fn side_effects(failed: &[Attempt<'_>], later: &Attempt<'_>) -> SideEffects {
    let calls = failed.iter().flat_map(|attempt| &attempt.calls).filter(|call| call.call.error_type.is_some());
    calls.map(|call| effects::of_call(call, &later.calls)).max().unwrap_or_default()
}

/// Whether what the model wrote behind the correction states what only the failures showed.
fn is_cited(trajectory: &Trajectory<'_, '_>, failed: &[Attempt<'_>], later: usize) -> bool {
    let mut facts = Facts::default();
    for call in failed.iter().flat_map(|attempt| &attempt.calls).filter(|call| call.call.error_type.is_some()) {
        facts.extend(Facts::of(call.result(), call.error()));
    }
    let behind = later + 1..trajectory.steps.len();
    !facts.is_empty() && behind.into_iter().any(|step| facts.are_cited_in(&attempts::reasoning(trajectory, step)))
}

#[cfg(test)]
mod tests;
