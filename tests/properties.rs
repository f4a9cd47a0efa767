//! Generated rollouts against what a repair must never do (docs/method.md, "Invariants").
//!
//! Rollouts come from a strategy over steps; the library purifies them, and each invariant is checked on the sources
//! that a purified rollout names. Invariants 6 and 7 need files: see `tests/cli/purify.rs`.

use std::borrow::Cow;

use proptest::prelude::*;
use purify::options::{Options, Profile};
use purify::purifier::{PurifiedRow, Purifier};
use purify::rewrite::MessageSource;
use purify::rollout::{Message, Role, Rollout, ToolCall};
use purify::steps::{Outcome, RunEnd, Trajectory};
use purify::verdict::ErrorDetector;
use serde_json::{Value, json};

/// The options of this JSON on top of the paper's rule, whose repairs do not depend on what made-up calls are about.
fn settings(options: Value) -> Options {
    let mut all = serde_json::to_value(Options::of_profile(Profile::Saar)).expect("JSON");
    for (section, values) in options.as_object().expect("sections") {
        let values = values.as_object().expect("options");
        values.iter().for_each(|(name, value)| all[section][name] = value.clone());
    }
    Options::from_json(&all).unwrap_or_else(|error| panic!("{error}"))
}

/// A message with text of its own.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    role: Role,
    content: Option<String>,
    is_error: Option<bool>,
    /// (name, arguments)
    calls: Vec<(String, String)>,
}

fn rollout(messages: &[Owned]) -> Rollout<'_> {
    Rollout {
        id: Cow::Borrowed("r"),
        group: None,
        tokens: None,
        messages: messages
            .iter()
            .map(|m| Message {
                role: m.role,
                content: m.content.as_deref(),
                reasoning: None,
                call_id: None,
                is_error: m.is_error,
                is_context: false,
                calls: m.calls.iter().map(|(name, arguments)| ToolCall { id: None, name, arguments }).collect(),
            })
            .collect(),
    }
}

/// The purified rollout's messages, written out.
fn written_out(raw: &[Owned], purified: &PurifiedRow) -> Vec<Owned> {
    let Some(rollout) = &purified.rollout else { return raw.to_vec() };
    rollout
        .messages()
        .iter()
        .map(|MessageSource { reasoning, call, content, calls }| Owned {
            content: content.clone().or_else(|| raw[*reasoning].content.clone()),
            calls: match calls {
                Some(calls) => calls.iter().map(|source| raw[source.message].calls[source.call].clone()).collect(),
                None => raw[*call].calls.clone(),
            },
            ..raw[*call].clone()
        })
        .collect()
}

fn message(role: Role, content: Option<String>) -> Owned {
    Owned { role, content, is_error: None, calls: Vec::new() }
}

/// A user message, talk, or an attempt: structured or inline calls, ok, failed or open.
fn part() -> impl Strategy<Value = Vec<Owned>> {
    let text = "[a-c ]{0,6}";
    let attempt = (proptest::option::of(text), proptest::collection::vec("[x-z]{0,8}", 1..3), any::<bool>(), 0..8u8);
    prop_oneof![
        1 => text.prop_map(|t| vec![message(Role::User, Some(t))]),
        1 => text.prop_map(|t| vec![message(Role::Assistant, Some(t))]),
        8 => attempt.prop_map(|(thought, arguments, inline, outcome)| {
            let mut asked = message(Role::Assistant, thought);
            if inline {
                let calls: String = arguments.iter().map(|a| format!("<tool_call>\n{a}\n</tool_call>\n")).collect();
                asked.content = Some(asked.content.unwrap_or_default() + &calls);
            } else {
                asked.calls = arguments.iter().map(|a| ("f".to_owned(), a.clone())).collect();
            }
            let results = arguments.iter().enumerate().map(|(k, a)| Owned {
                is_error: Some(outcome < 4 && k == 0),
                ..message(Role::Tool, Some(format!("result of {a}")))
            });
            let mut out = vec![asked];
            if outcome < 7 {
                out.extend(results);
            }
            out
        }),
    ]
}

fn messages() -> impl Strategy<Value = Vec<Owned>> {
    proptest::collection::vec(part(), 0..12).prop_map(|parts| parts.concat())
}

fn detector() -> ErrorDetector {
    ErrorDetector::new(&settings(json!({})).errors).expect("no patterns")
}

fn purify(raw: &[Owned], options: Value) -> PurifiedRow {
    let settings = settings(options);
    Purifier::new(settings).expect("settings are sound").purify(&rollout(raw), None).expect("the rollout can be read")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_rollout_without_a_recovered_run_stays_as_it_is(raw in messages()) {
        let purified = purify(&raw, json!({}));
        if purified.plan.recovered == 0 {
            prop_assert!(purified.rollout.is_none());
        }
        prop_assert_eq!(purified.plan.recovered == 0, purified.rollout.is_none());
    }

    #[test]
    fn purifying_twice_changes_nothing(raw in messages()) {
        let once = written_out(&raw, &purify(&raw, json!({})));
        let again = purify(&once, json!({}));
        prop_assert_eq!(&written_out(&once, &again), &once);
        prop_assert!(again.plan.repairs.is_empty());
    }

    #[test]
    fn messages_outside_repaired_runs_are_untouched_and_in_order(raw in messages()) {
        let purified = purify(&raw, json!({}));
        let Some(result) = &purified.rollout else { return Ok(()) };
        let borrowed = rollout(&raw);
        let trajectory = Trajectory::new(&borrowed, &detector());
        let mut repaired = vec![false; raw.len()];
        for repair in &purified.plan.repairs {
            let (from, to) = (trajectory.steps[repair.first()].message, trajectory.steps[repair.last()].end());
            repaired[from..to].fill(true);
        }
        let kept: Vec<usize> = result.messages().iter().map(|m| m.call).filter(|&c| !repaired[c]).collect();
        let wanted: Vec<usize> = (0..raw.len()).filter(|&k| !repaired[k]).collect();
        prop_assert_eq!(kept, wanted);
        for source in result.messages().iter().filter(|m| !repaired[m.call]) {
            prop_assert_eq!(source, &MessageSource::whole(source.call));
        }
    }

    #[test]
    fn every_call_is_answered_by_the_results_that_it_got(raw in messages()) {
        let purified = purify(&raw, json!({}));
        let Some(result) = &purified.rollout else { return Ok(()) };
        for (k, source) in result.messages().iter().enumerate() {
            let answers = |at: usize| raw[at + 1..].iter().take_while(|m| m.role == Role::Tool).count();
            if raw[source.call].role == Role::Assistant {
                for n in 1..=answers(source.call) {
                    prop_assert_eq!(result.messages().get(k + n), Some(&MessageSource::whole(source.call + n)));
                }
            }
        }
    }

    #[test]
    fn no_failed_attempt_of_a_recovered_run_is_left(raw in messages(), k in 1..5usize) {
        let once = written_out(&raw, &purify(&raw, json!({"method": { "max_retries": k }})));
        let borrowed = rollout(&once);
        let runs = Trajectory::new(&borrowed, &detector()).failure_runs();
        prop_assert!(runs.iter().all(|r| r.end == RunEnd::Other || r.steps.len() > k));
    }

    #[test]
    fn a_purified_rollout_is_never_longer(raw in messages()) {
        let once = written_out(&raw, &purify(&raw, json!({})));
        prop_assert!(once.len() <= raw.len());
    }

    #[test]
    fn a_repair_takes_call_and_results_of_the_correction_and_text_of_the_run(raw in messages()) {
        let purified = purify(&raw, json!({}));
        let borrowed = rollout(&raw);
        let trajectory = Trajectory::new(&borrowed, &detector());
        for repair in &purified.plan.repairs {
            prop_assert_eq!(&trajectory.steps[repair.last()].attempt, &Some(Outcome::Ok));
            prop_assert!(repair.steps.contains(&repair.reasoning));
            prop_assert_eq!(repair.similarity.len(), repair.attempts() - 1);
            prop_assert_eq!(repair.error_types.len(), repair.attempts() - 1);
            let last_deep = repair.similarity.iter().rposition(|&s| s < 0.5).map_or(0, |at| at + 1);
            prop_assert_eq!(repair.reasoning - repair.first(), last_deep);
        }
    }

    #[test]
    fn guards_that_only_flag_change_no_message_and_no_pair(raw in messages()) {
        let flagged = purify(&raw, json!({}));
        let kept = purify(&raw, json!({"guard": { "on_residue": "keep", "on_dependency": "keep" }}));
        prop_assert_eq!(&flagged.plan, &kept.plan);
        prop_assert_eq!(&flagged.rollout, &kept.rollout);
        prop_assert!(kept.records.iter().all(|r| r.findings.residue.is_none()));
        prop_assert!(flagged.records.iter().all(|r| r.findings.residue.is_some()));
    }

    #[test]
    fn purifying_twice_changes_nothing_whatever_the_guards_do(raw in messages()) {
        let options =
            || json!({"guard": { "on_residue": "shallow", "on_dependency": "skip", "stateful_tools": ["f"] }});
        let once = written_out(&raw, &purify(&raw, options()));
        prop_assert_eq!(written_out(&once, &purify(&once, options())), once);
    }

    #[test]
    fn mode_mask_removes_nothing_and_trains_only_what_succeeded(raw in messages()) {
        let purified = purify(&raw, json!({"method": { "mode": "mask" }}));
        prop_assert_eq!(written_out(&raw, &purified), raw.clone());
        let borrowed = rollout(&raw);
        let trajectory = Trajectory::new(&borrowed, &detector());
        let failed: Vec<usize> =
            trajectory.steps.iter().filter(|s| matches!(s.attempt, Some(Outcome::Failed))).map(|s| s.message).collect();
        for (k, trained) in purified.loss.iter().enumerate() {
            prop_assert_eq!(*trained, raw[k].role == Role::Assistant && !failed.contains(&k));
        }
    }

    #[test]
    fn the_reference_profile_changes_nothing_behind_an_unrecovered_run(raw in messages()) {
        let method = json!({"unrecovered": "collapse", "stop_after_unrecovered": true, "max_attempts": 30});
        let purified = purify(&raw, json!({ "method": method }));
        let borrowed = rollout(&raw);
        let runs = Trajectory::new(&borrowed, &detector()).failure_runs();
        let is_unrecovered = |r: &purify::steps::FailureRun| r.end == RunEnd::Other || r.steps.len() > 3;
        if let Some(first) = runs.iter().find(|r| is_unrecovered(r)) {
            prop_assert!(purified.plan.repairs.iter().all(|r| r.first() <= first.steps.start));
        }
    }
}

fn failing(thought: &str, arguments: &str) -> Vec<Owned> {
    let asked = Owned {
        calls: vec![("f".to_owned(), arguments.to_owned())],
        ..message(Role::Assistant, Some(thought.to_owned()))
    };
    vec![asked, Owned { is_error: Some(true), ..message(Role::Tool, Some(format!("failed {arguments}"))) }]
}

fn succeeding(thought: &str, arguments: &str) -> Vec<Owned> {
    let mut out = failing(thought, arguments);
    out[1] = Owned { is_error: Some(false), ..message(Role::Tool, Some(format!("did {arguments}"))) };
    out
}

fn contents(messages: &[Owned]) -> Vec<&str> {
    messages.iter().map(|m| m.content.as_deref().unwrap_or_default()).collect()
}

#[test]
fn shallow_replacement_keeps_the_first_reasoning() {
    let raw =
        [failing("first", "aaaaaaaaaaaaaaaaaaaaaaaaab"), succeeding("second", "aaaaaaaaaaaaaaaaaaaaaaaaac")].concat();
    let out = written_out(&raw, &purify(&raw, json!({})));
    assert_eq!(contents(&out), ["first", "did aaaaaaaaaaaaaaaaaaaaaaaaac"]);
    assert_eq!(out[0].calls[0].1, "aaaaaaaaaaaaaaaaaaaaaaaaac");
}

/// Calls that share nothing but their rendering, which is longer than they are.
fn long(letter: char) -> String {
    letter.to_string().repeat(190)
}

#[test]
fn deep_replacement_takes_the_corrections_reasoning() {
    let raw = [failing("first", &long('p')), succeeding("second", &long('q'))].concat();
    let out = written_out(&raw, &purify(&raw, json!({})));
    assert_eq!(out[0].content.as_deref(), Some("second"));
    assert_eq!(out.len(), 2);
}

#[test]
fn similarity_equal_to_threshold_is_shallow() {
    let raw = [failing("first", "abcd"), succeeding("second", "efgh")].concat();
    let similarity = purify(&raw, json!({})).plan.repairs[0].similarity[0];
    let at = purify(&raw, json!({"method": { "similarity_threshold": similarity }}));
    assert_eq!(at.plan.repairs[0].granularity.name(), "shallow");
    let above = purify(&raw, json!({"method": { "similarity_threshold": similarity + 1e-9 }}));
    assert_eq!(above.plan.repairs[0].granularity.name(), "deep");
}

#[test]
fn the_reasoning_of_a_middle_attempt_stays_if_the_last_retry_was_alike() {
    let mut third = long('q');
    third.replace_range(0..1, "r");
    let raw = [failing("first", &long('p')), failing("second", &long('q')), succeeding("third", &third)].concat();
    let purified = purify(&raw, json!({}));
    assert_eq!(written_out(&raw, &purified)[0].content.as_deref(), Some("second"));
    assert_eq!(purified.plan.repairs[0].granularity.name(), "deep");
    // Compared first with last, the correction's own reasoning is taken.
    let other = purify(&raw, json!({"method": { "pairing": "first-last" }}));
    assert_eq!(written_out(&raw, &other)[0].content.as_deref(), Some("third"));
    assert_eq!(other.plan.repairs[0].similarity.len(), 1);
}

#[test]
fn failure_run_longer_than_max_retries_is_left_untouched_or_collapsed() {
    let raw = [
        failing("1", "aaaaaaaa1"),
        failing("2", "aaaaaaaa2"),
        failing("3", "aaaaaaaa3"),
        failing("4", "aaaaaaaa4"),
        failing("5", "aaaaaaaa5"),
        succeeding("6", "aaaaaaaa6"),
    ]
    .concat();
    assert!(purify(&raw, json!({})).rollout.is_none());
    let collapsed = written_out(&raw, &purify(&raw, json!({"method": { "unrecovered": "collapse" }})));
    let expected = ["1", "failed aaaaaaaa4", "5", "failed aaaaaaaa5", "6", "did aaaaaaaa6"];
    assert_eq!(contents(&collapsed), expected);
    let five = written_out(&raw, &purify(&raw, json!({"method": { "max_retries": 5 }})));
    assert_eq!(contents(&five), ["1", "did aaaaaaaa6"]);
}

#[test]
fn repairs_stop_behind_the_attempt_limit() {
    let pair = || [failing("a", "aaaaaaaaaaaa1"), succeeding("b", "aaaaaaaaaaaa2")].concat();
    let raw = [pair(), pair(), pair()].concat();
    let purified = purify(&raw, json!({"method": { "max_attempts": 4 }}));
    assert_eq!(purified.plan.repairs.len(), 2);
    assert_eq!(purified.plan.skipped().count(), 1);
}

#[test]
fn a_time_out_is_repaired_unless_only_the_models_faults_are() {
    let mut raw = [failing("a", "aaaaaaaaaaaa1"), succeeding("b", "aaaaaaaaaaaa2")].concat();
    raw[1].content = Some("Command timed out after 5 seconds".to_owned());
    assert_eq!(purify(&raw, json!({})).plan.repairs.len(), 1);
    let models = purify(&raw, json!({"method": { "repair_faults": "model" }}));
    assert!(models.plan.repairs.is_empty() && models.rollout.is_none());
    assert_eq!(models.plan.skipped().next().map(|reason| reason.name()), Some("environment_fault"));
}

#[test]
fn the_draw_depends_on_seed_and_id_alone() {
    let raw = [failing("a", "aaaaaaaaaaaa1"), succeeding("b", "aaaaaaaaaaaa2")].concat();
    let picks = |seed: u64| -> Vec<bool> {
        let settings = settings(json!({"method": { "repair_probability": 0.5, "seed": seed }}));
        let purifier = Purifier::new(settings).expect("settings are sound");
        (0..400)
            .map(|k| {
                let row = Rollout { id: Cow::Owned(format!("r{k}")), ..rollout(&raw) };
                purifier.purify(&row, None).expect("readable").plan.selected
            })
            .collect()
    };
    assert_eq!(picks(1), picks(1));
    assert_ne!(picks(1), picks(2));
    let share = picks(1).iter().filter(|&&p| p).count();
    assert!((150..250).contains(&share), "{share} of 400");
}

#[test]
fn inline_calls_are_joined_with_the_first_reasoning_byte_for_byte() {
    let inline = |thought: &str, call: &str, is_error: bool| {
        vec![
            message(
                Role::Assistant,
                Some(format!(
                    "{thought}<tool_call>\n{{\"name\": \"f\", \"arguments\": {{\"code\": \"{call}\"}}}}\n</tool_call>"
                )),
            ),
            Owned { is_error: Some(is_error), ..message(Role::Tool, Some("r".to_owned())) },
        ]
    };
    let raw = [inline("I think.\n\n", "print(1", true), inline("Oh.\n", "print(1)", false)].concat();
    let out = written_out(&raw, &purify(&raw, json!({})));
    let wanted = "I think.\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"code\": \"print(1)\"}}\n</tool_call>";
    assert_eq!(out[0].content.as_deref(), Some(wanted));
    assert_eq!(out.len(), 2);
}

#[test]
fn compare_code_looks_at_the_code_argument_alone() {
    let raw =
        [failing("a", r#"{"code": "pppp", "timeout": 10}"#), succeeding("b", r#"{"code": "qqqq", "timeout": 10}"#)]
            .concat();
    assert_eq!(purify(&raw, json!({"method": { "compare": "code" }})).plan.repairs[0].similarity, [0.0]);
    assert!(purify(&raw, json!({})).plan.repairs[0].similarity[0] > 0.8);
}

/// A Python call that fails or not.
fn python(thought: &str, code: &str, is_error: bool) -> Vec<Owned> {
    let mut out = failing(thought, &serde_json::json!({ "code": code }).to_string());
    out[0].calls[0].0 = "python".to_owned();
    out[1].is_error = Some(is_error);
    out
}

fn finding(raw: &[Owned], options: Value) -> purify::record::Findings<Option<bool>> {
    purify(raw, options).records[0].findings
}

#[test]
fn a_correction_that_uses_a_name_of_the_removed_attempt_depends_on_it() {
    let failed = || python("", "import math\ngamma = 10.7\nprint(math.sqrt(gama))", true);
    let depends =
        |correction: &str| finding(&[failed(), python("", correction, false)].concat(), json!({})).depends_on_removed;
    assert_eq!(depends("print(math.sqrt(gamma))"), Some(true));
    assert_eq!(depends("import math\ngamma = 10.7\nprint(math.sqrt(gamma))"), Some(false));
    assert_eq!(depends("print(10.7 ** 0.5)"), Some(false));
    assert_eq!(depends("print(math.sqrt(gamma)"), None);
    assert_eq!(depends("from math import *\nprint(sqrt(gamma))"), None);
}

#[test]
fn names_of_earlier_steps_that_stay_are_there() {
    let raw = [
        python("", "import math\ngamma = 10.7", false),
        python("", "gamma = 10.7\nprint(math.sqrt(gama))", true),
        python("", "print(math.sqrt(gamma))", false),
    ]
    .concat();
    assert_eq!(finding(&raw, json!({})).depends_on_removed, Some(false));
}

#[test]
fn a_later_step_may_depend_as_well() {
    let step = |code: &str, is_error| python("", code, is_error);
    let raw = [step("n = 3\nprint(m)", true), step("print(4)", false), step("print(n)", false)].concat();
    assert_eq!(finding(&raw, json!({})).depends_on_removed, Some(true));
    // Defined again in between.
    let raw = [step("n = 3\nprint(m)", true), step("n = 4", false), step("print(n)", false)].concat();
    assert_eq!(finding(&raw, json!({})).depends_on_removed, Some(false));
}

#[test]
fn code_that_never_ran_defines_nothing_and_a_guard_that_is_off_looks_at_nothing() {
    let mut raw = [python("", "n = = 3", true), python("", "print(n)", false)].concat();
    raw[1].content = Some("  File \"<stdin>\", line 1\n    n = = 3\n        ^\nSyntaxError: invalid syntax".to_owned());
    assert_eq!(finding(&raw, json!({})).depends_on_removed, Some(false));
    let raw = [python("", "n = 3\nprint(m)", true), python("", "print(n)", false)].concat();
    assert_eq!(finding(&raw, json!({"guard": { "on_dependency": "keep" }})).depends_on_removed, None);
}

/// What the guard says of the one repair in calls of a tool: (code, whether it fails).
fn dependence(tool: &str, argument: &str, steps: &[(&str, bool)]) -> Option<bool> {
    let step = |(code, is_error): &(&str, bool)| {
        let mut out = failing("", &json!({ argument: code }).to_string());
        out[0].calls[0].0 = tool.to_owned();
        out[1].is_error = Some(*is_error);
        out
    };
    finding(&steps.iter().flat_map(step).collect::<Vec<_>>(), json!({})).depends_on_removed
}

#[test]
fn tools_that_keep_names_are_known_by_their_own() {
    let steps = [("total = 3 * 7\nprint(totl)", true), ("print(total)", false)];
    for tool in
        ["stateful_python_code_exec", "ipython", "jupyter_cell", "code_interpreter", "server__run_python", "repl"]
    {
        assert_eq!(dependence(tool, "input", &steps), Some(true), "{tool}");
    }
    for tool in ["lookup_code", "sql", "read_notebook"] {
        assert_eq!(dependence(tool, "input", &[steps[0], ("print(21)", false)]), None, "{tool}");
    }
}

#[test]
fn a_tool_whose_calls_use_names_of_earlier_ones_keeps_them_whatever_it_is_called() {
    let failed = ("total = 3 * 7\nprint(totl)", true);
    let proof = [("n = 3", false), ("print(n)", false)];
    let of = |steps: &[&[(&str, bool)]]| dependence("workbench", "input", &steps.concat());
    assert_eq!(of(&[&proof, &[failed, ("print(total)", false)]]), Some(true));
    assert_eq!(of(&[&proof, &[failed, ("print(3 * 7)", false)]]), Some(false));
    assert_eq!(of(&[&[failed, ("print(total)", false)]]), Some(true), "the need itself proves it");
    // Nothing is proven where each call defines all that it uses, where a use failed, or where the words are no Python.
    assert_eq!(of(&[&[failed, ("total = 3 * 7\nprint(total)", false)]]), None);
    let fresh = [("n = 3\nprint(n)", false), ("n = 4\nprint(n)", false)];
    assert_eq!(of(&[&fresh, &[failed, ("print(3 * 7)", false)]]), None);
    assert_eq!(of(&[&[("n = 3 please", false), ("show n", false), failed, ("print(3 * 7)", false)]]), None);
    assert_eq!(of(&[&[("n = 3", false), failed, ("print(3 * 7)", false), ("print(n)", true)]]), None);
}

#[test]
fn a_repair_that_takes_away_a_needed_name_can_be_skipped() {
    let raw = [python("", "n = 3\nprint(m)", true), python("", "print(n)", false)].concat();
    let skipped = purify(&raw, json!({"guard": { "on_dependency": "skip" }}));
    assert!(skipped.plan.repairs.is_empty() && skipped.rollout.is_none());
    assert_eq!(skipped.plan.skipped().next().map(|reason| reason.name()), Some("dependency"));
    // A repair after it may then use the names that stay.
    let raw = [raw, python("", "n = 3\nprint(k)", true), python("", "print(n)", false)].concat();
    let skipped = purify(&raw, json!({"guard": { "on_dependency": "skip" }}));
    assert_eq!((skipped.plan.repairs.len(), skipped.plan.skipped().count()), (1, 1));
    assert_eq!(skipped.records[0].findings.depends_on_removed, Some(false));
}

const LOOKS_BACK: &str = "I forgot the bracket in the previous attempt. Let me fix that.";

#[test]
fn a_deep_repair_whose_reasoning_speaks_of_the_error_can_be_made_shallow() {
    let raw = [failing("I count.", &long('p')), succeeding(LOOKS_BACK, &long('q'))].concat();
    let flagged = purify(&raw, json!({}));
    assert_eq!(flagged.records[0].findings.residue, Some(true));
    assert_eq!(written_out(&raw, &flagged)[0].content.as_deref(), Some(LOOKS_BACK));
    let shallow = purify(&raw, json!({"guard": { "on_residue": "shallow" }}));
    assert_eq!(written_out(&raw, &shallow)[0].content.as_deref(), Some("I count."));
    let found = shallow.records[0].findings;
    assert_eq!((found.residue, shallow.plan.repairs[0].made_shallow), (Some(false), true));
    assert_eq!(shallow.records[0].granularity.name(), "shallow");
}

#[test]
fn residue_behind_a_repair_stays_flagged_and_can_cost_the_rollout() {
    let behind = vec![message(Role::Assistant, Some("The code works now, after I fixed the typo.".to_owned()))];
    let raw = [failing("I count.", &long('p')), succeeding("Once more.", &long('q')), behind].concat();
    let shallow = purify(&raw, json!({"guard": { "on_residue": "shallow" }}));
    assert_eq!((shallow.records[0].findings.residue, shallow.records[0].granularity.name()), (Some(true), "deep"));
    let settings = settings(json!({"guard": { "on_residue": "drop" }}));
    let refused = Purifier::new(settings).expect("settings are sound").purify(&rollout(&raw), None);
    assert_eq!(refused.err().map(|e| e.code()), Some("residue"));
}

#[test]
fn what_was_written_before_the_error_is_no_residue() {
    let raw =
        [failing(LOOKS_BACK, "aaaaaaaaaaaaaaaaaaaaaaaaab"), succeeding("", "aaaaaaaaaaaaaaaaaaaaaaaaac")].concat();
    assert_eq!(finding(&raw, json!({})).residue, Some(false));
}

#[test]
fn the_same_call_again_and_a_cut_result_are_told() {
    let mut raw = [failing("", "same"), succeeding("", "same")].concat();
    assert_eq!(
        (finding(&raw, json!({})).identical_retry, finding(&raw, json!({})).lossy_result),
        (Some(true), Some(false))
    );
    raw[3].content = Some("1\n2\n[... output truncated ...]".to_owned());
    raw[2].calls[0].1 = "other".to_owned();
    assert_eq!(
        (finding(&raw, json!({})).identical_retry, finding(&raw, json!({})).lossy_result),
        (Some(false), Some(true))
    );
}
