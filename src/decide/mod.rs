//! What becomes of a failure run, and why (docs/method.md, "What is a correction", "What must not be lost").
//!
//! Owns the decision: which of the steps behind a run corrects it, if one does, and what a repair would lose. It reads a
//! [`Trajectory`] and returns plain data for every run, repaired or not; making the repair is [`crate::saar`]'s. Whether
//! later code needs names of the failed code is [`crate::guard::dependency`]'s to find, once all repairs are known
//! ([`RunDecision::depends`]).

mod attempts;

use std::ops::Range;

use crate::guard::cited::Facts;
use crate::guard::effects::{self, SideEffects};
use crate::intent::{self, Attempt, Correction, Judgement, Settings};
use crate::options::{Corrections, DecideConfig, OnLoss};
use crate::steps::{FailureRun, Outcome, Trajectory};

/// Why a run is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing in reach did its job.
    NoCorrection,
    /// The failing output is what the call was for.
    Informative,
    /// What stands behind it does something else.
    NotARetry,
    /// What stands behind it goes another way to the same end.
    Workaround,
    /// Its failed calls have changed something.
    SideEffects,
    /// Later text relies on the failure.
    CitedLater,
}

impl Reason {
    pub const ALL: [Reason; 6] = [
        Reason::NoCorrection,
        Reason::Informative,
        Reason::NotARetry,
        Reason::Workaround,
        Reason::SideEffects,
        Reason::CitedLater,
    ];

    /// As records and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NoCorrection => "no_correction",
            Reason::Informative => "informative",
            Reason::NotARetry => "not_a_retry",
            Reason::Workaround => "workaround",
            Reason::SideEffects => "side_effects",
            Reason::CitedLater => "cited_later",
        }
    }
}

/// The decision on one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDecision {
    /// The failed steps.
    pub steps: Range<usize>,
    /// The step that corrects them, or that was looked at in vain; `None`: there is none in reach.
    pub later: Option<usize>,
    pub correction: Correction,
    /// How near the later step comes, 0 to 1: of the failed attempts' affinities the least.
    pub affinity: f64,
    /// Names of the rules that spoke on the attempt with the least affinity.
    pub evidence: Vec<&'static str>,
    /// Each failed call of the last failed step with the later call that comes nearest to it: what a step that failed in
    /// part takes over, the other calls of both staying as they are.
    pub calls: Vec<(usize, usize)>,
    /// `None`: not looked at, since nothing would be repaired.
    pub side_effects: Option<SideEffects>,
    /// The same.
    pub cited_later: Option<bool>,
    /// `None`: it is repaired.
    pub reason: Option<Reason>,
}

impl RunDecision {
    pub fn is_repaired(&self) -> bool {
        self.reason.is_none()
    }

    /// Steps that did their job and stand between the run and its correction; they stay.
    pub fn detour(&self) -> usize {
        self.later.map_or(0, |later| later - self.steps.end)
    }

    /// Takes in that later code needs a name that only the failed code makes: that is a change that would be lost.
    pub fn depends(&mut self, on_side_effects: OnLoss) {
        self.side_effects = Some(SideEffects::Yes);
        if on_side_effects == OnLoss::Skip {
            self.reason = self.reason.or(Some(Reason::SideEffects));
        }
    }
}

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
            let direct = intent::judge(attempt, later, false, meaning(first + k, later_step), settings);
            let Some(next) = failed.get(k + 1) else {
                calls.clone_from(&direct.calls);
                return direct;
            };
            let onward = intent::judge(attempt, next, true, meaning(first + k, first + k + 1), settings);
            if onward.affinity > direct.affinity { onward } else { direct }
        });
        links.reduce(|least, next| if next.affinity < least.affinity { next } else { least }).unwrap_or(Judgement {
            correction: Correction::Other,
            affinity: 0.0,
            evidence: Vec::new(),
        })
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
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::options::DetectConfig;
    use crate::rollout::{Message, Role, Rollout, ToolCall};
    use crate::verdict::ErrorDetector;

    /// A step with one call: reasoning, tool, arguments, result.
    type Said<'a> = (&'a str, &'a str, &'a str, &'a str);

    fn rollout<'a>(steps: &[Said<'a>], answer: &'a str) -> Rollout<'a> {
        let message = |role, content, calls| Message {
            role,
            content: Some(content),
            reasoning: None,
            call_id: None,
            is_error: None,
            is_context: false,
            calls,
        };
        let mut messages = vec![message(Role::User, "task", vec![])];
        for &(reasoning, name, arguments, result) in steps {
            messages.push(message(Role::Assistant, reasoning, vec![ToolCall { id: None, name, arguments }]));
            messages.push(message(Role::Tool, result, vec![]));
        }
        messages.push(message(Role::Assistant, answer, vec![]));
        Rollout { id: Cow::Borrowed("r"), group: None, messages, tokens: None }
    }

    fn decisions_with(config: &DecideConfig, steps: &[Said<'_>], answer: &str) -> Vec<RunDecision> {
        let rollout = rollout(steps, answer);
        let detector = ErrorDetector::new(&DetectConfig::default()).expect("no patterns");
        let trajectory = Trajectory::new(&rollout, &detector);
        let decider = Decider { config, meaning: None };
        trajectory.failure_runs().iter().map(|run| decider.decide(&trajectory, run)).collect()
    }

    fn decisions(steps: &[Said<'_>], answer: &str) -> Vec<RunDecision> {
        decisions_with(&DecideConfig::default(), steps, answer)
    }

    const NO_SUDO: Said<'_> = (
        "",
        "bash",
        r#"{"command": "sudo apt-get install -y jq"}"#,
        r#"{"output": "bash: sudo: command not found", "exit_code": 127}"#,
    );
    const NO_TABLE: Said<'_> =
        ("", "sql", "SELECT name FROM singers ORDER BY age", "Error executing query: Table 'd.singers' doesn't exist");
    const TABLES: Said<'_> = ("", "sql", "SHOW TABLES", "[('singer',)]");
    const RIGHT_TABLE: Said<'_> = ("", "sql", "SELECT name FROM singer ORDER BY age", "[('Ann',)]");

    #[test]
    fn a_retry_is_repaired_and_says_why() {
        let retried =
            ("", "bash", r#"{"command": "apt-get install -y jq"}"#, r#"{"output": "Setting up jq", "exit_code": 0}"#);
        let found = decisions(&[NO_SUDO, retried], "done");
        assert_eq!(found.len(), 1);
        assert!(found[0].is_repaired(), "{:?}", found[0]);
        assert_eq!((found[0].steps.clone(), found[0].later, found[0].detour()), (0..1, Some(1), 0));
        assert_eq!(found[0].correction, Correction::Retry);
        assert_eq!(found[0].side_effects, Some(SideEffects::No));
        assert!(found[0].affinity > 0.8);
        assert_eq!(found[0].calls, [(0, 0)]);
    }

    #[test]
    fn every_run_has_a_decision_repaired_or_not() {
        let found = decisions(&[NO_TABLE, TABLES, NO_TABLE, RIGHT_TABLE, NO_TABLE], "done");
        let reasons: Vec<Option<Reason>> = found.iter().map(|d| d.reason).collect();
        assert_eq!(reasons, [Some(Reason::NotARetry), None, Some(Reason::NoCorrection)]);
        assert_eq!(found[0].evidence, ["only_looks"]);
    }

    #[test]
    fn a_detour_leads_to_a_retry_further_behind() {
        let config = DecideConfig { max_detour: 1, ..DecideConfig::default() };
        let found = decisions_with(&config, &[NO_TABLE, TABLES, RIGHT_TABLE], "done");
        assert!(found[0].is_repaired());
        assert_eq!((found[0].later, found[0].detour()), (Some(2), 1));
    }

    #[test]
    fn a_chain_of_retries_is_as_strong_as_its_weakest_link() {
        let wrong_column = (
            "",
            "sql",
            "SELECT nam FROM singer ORDER BY age",
            "Error executing query: Unknown column 'nam' in 'field list'",
        );
        assert!(decisions(&[NO_TABLE, wrong_column, RIGHT_TABLE], "done")[0].is_repaired());
        let other = (
            "",
            "sql",
            "SELECT COUNT(*) FROM concerts JOIN stadiums USING (id)",
            "Error executing query: Table 'd.concerts' doesn't exist",
        );
        assert_eq!(decisions(&[other, NO_TABLE, RIGHT_TABLE], "done")[0].reason, Some(Reason::NotARetry));
    }

    #[test]
    fn what_would_be_lost_stops_a_repair_unless_it_is_kept() {
        let failed = (
            "",
            "bash",
            r#"{"command": "rm -f old.db && frob --in a.db"}"#,
            r#"{"output": "frob: unknown option --in", "exit_code": 2}"#,
        );
        let retried = ("", "bash", r#"{"command": "frob --input a.db"}"#, r#"{"output": "12 rows", "exit_code": 0}"#);
        let skipped = &decisions(&[failed, retried], "done")[0];
        assert_eq!((skipped.side_effects, skipped.reason), (Some(SideEffects::Yes), Some(Reason::SideEffects)));
        for (kind, looked_at) in [(OnLoss::Flag, Some(SideEffects::Yes)), (OnLoss::Keep, None)] {
            let config = DecideConfig { on_side_effects: kind, ..DecideConfig::default() };
            let made = &decisions_with(&config, &[failed, retried], "done")[0];
            assert!(made.is_repaired());
            assert_eq!(made.side_effects, looked_at);
        }
    }

    #[test]
    fn a_failure_that_the_answer_relies_on_stays() {
        let failed = (
            "",
            "bash",
            r#"{"command": "xxd /data/a.bin"}"#,
            r#"{"output": "bash: xxd: command not found", "exit_code": 127}"#,
        );
        let retried =
            ("", "bash", r#"{"command": "od -An -tx1 /data/a.bin"}"#, r#"{"output": "00 01", "exit_code": 0}"#);
        assert!(decisions(&[failed, retried], "The bytes are 0 and 1.")[0].is_repaired());
        let cited = &decisions(&[failed, retried], "The bytes are 0 and 1; xxd is not installed here.")[0];
        assert_eq!((cited.cited_later, cited.reason), (Some(true), Some(Reason::CitedLater)));
    }

    #[test]
    fn names_that_later_code_needs_count_as_a_change() {
        let failed = (
            "",
            "python",
            "x = 1\nprint(math.sqroot(x))",
            "Traceback (most recent call last):\n  File \"<stdin>\", line 2, in <module>\nAttributeError: x",
        );
        let retried = ("", "python", "print(math.sqrt(x))", "1.0");
        let mut decision = decisions_with(
            &DecideConfig { corrections: Corrections::Any, ..DecideConfig::default() },
            &[failed, retried],
            "1",
        )
        .remove(0);
        assert!(decision.is_repaired());
        decision.depends(OnLoss::Flag);
        assert!(decision.is_repaired());
        decision.depends(OnLoss::Skip);
        assert_eq!(decision.reason, Some(Reason::SideEffects));
    }

    #[test]
    fn the_papers_rule_takes_whatever_did_its_job() {
        let config = DecideConfig { corrections: Corrections::Any, ..DecideConfig::default() };
        assert!(decisions_with(&config, &[NO_TABLE, TABLES], "done")[0].is_repaired());
    }

    #[test]
    fn a_step_of_hundreds_of_calls_is_judged_in_time() {
        let long = format!("echo {}", "x ".repeat(8000));
        let call = ToolCall { id: None, name: "bash", arguments: &long };
        let mut rollout = rollout(&[NO_SUDO, NO_SUDO], "done");
        for message in [1, 3] {
            rollout.messages[message].calls = vec![call; 500];
        }
        rollout.messages[4].content = Some("fine");
        let detector = ErrorDetector::new(&DetectConfig::default()).expect("no patterns");
        let trajectory = Trajectory::new(&rollout, &detector);
        let config = DecideConfig::default();
        let decider = Decider { config: &config, meaning: None };
        let found: Vec<RunDecision> =
            trajectory.failure_runs().iter().map(|run| decider.decide(&trajectory, run)).collect();
        assert_eq!(found.len(), 1);
    }
}
