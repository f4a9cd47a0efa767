//! Decisions on small rollouts, written as harnesses write them.

use std::borrow::Cow;

use super::*;
use crate::message::{Message, Role, ToolCall};
use crate::options::DetectConfig;
use crate::rollout::Rollout;
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
    assert!(!decisions(&[other, NO_TABLE, RIGHT_TABLE], "done")[0].is_repaired());
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
    let retried = ("", "bash", r#"{"command": "od -An -tx1 /data/a.bin"}"#, r#"{"output": "00 01", "exit_code": 0}"#);
    assert!(decisions(&[failed, retried], "The bytes are 0 and 1.")[0].is_repaired());
    let cited = &decisions(&[failed, retried], "The bytes are 0 and 1; `xxd` is not installed here.")[0];
    assert_eq!((cited.cited_later, cited.reason), (Some(true), Some(Reason::CitedLater)));
}

#[test]
fn vectors_make_a_retry_of_what_is_asked_in_other_words_and_overrule_nothing() {
    let asked = |query: &'static str, result: &'static str| ("", "web_search", query, result);
    let failed = asked(r#"{"query": "capital of France"}"#, "Error: request timed out after 30 s");
    let reworded = asked(r#"{"query": "Paris, chief city"}"#, "Paris");
    let order = |card: &'static str, result: &'static str| ("", "pay_order", card, result);
    let refused = order(r#"{"card": "gift_1"}"#, "Error: gift card balance is not enough");
    let other_card = order(r#"{"card": "gift_2"}"#, "paid");
    let near = |_: usize, _: usize| Some(0.95);
    let found = |steps: &[Said<'_>], meaning: Option<&dyn Fn(usize, usize) -> Option<f64>>| {
        let rollout = rollout(steps, "done");
        let detector = ErrorDetector::new(&DetectConfig::default()).expect("no patterns");
        let trajectory = Trajectory::new(&rollout, &detector);
        let config = DecideConfig::default();
        let decider = Decider { config: &config, meaning };
        decider.decide(&trajectory, &trajectory.failure_runs()[0])
    };
    assert!(!found(&[failed, reworded], None).is_repaired());
    let by_meaning = found(&[failed, reworded], Some(&near));
    assert!(by_meaning.is_repaired() && by_meaning.evidence.contains(&"means_the_same"), "{by_meaning:?}");
    let other = found(&[refused, other_card], Some(&near));
    assert!(!other.is_repaired(), "{other:?}");
    assert_eq!(other.affinity, found(&[refused, other_card], None).affinity);
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
