//! Generated rollouts of agents against what the default rule must never do (docs/method.md, "Invariants", 4 to 6).
//!
//! Calls are about something here, unlike those of `properties.rs`: several tools, parallel calls with ids, results in any
//! order, typos and their corrections, tests that fail, searches without a match.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::json::reader::infer_json_schema;
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use proptest::prelude::*;
use purify::options::Options;
use purify::purifier::{PurifiedRow, Purifier};
use purify::record::RunOutcome;
use purify::rollout::{Message, Role, Rollout, ToolCall};
use purify::steps::{Outcome, Trajectory};
use purify::verdict::{ErrorDetector, Verdict};
use serde_json::{Value, json};

/// A message with text of its own.
#[derive(Clone, Debug)]
struct Owned {
    role: Role,
    content: String,
    call_id: Option<String>,
    /// (id, name, arguments)
    calls: Vec<(String, String, String)>,
}

/// A call and its result.
#[derive(Clone, Debug)]
struct Called {
    tool: &'static str,
    arguments: String,
    result: String,
}

fn called(tool: &'static str, argument: &str, value: &str, result: impl Into<String>) -> Called {
    Called { tool, arguments: serde_json::json!({ argument: value }).to_string(), result: result.into() }
}

/// What an agent may do: right, misspelt, refused, informative, something else.
fn call() -> impl Strategy<Value = Called> {
    let word = prop_oneof![Just("rust"), Just("parquet"), Just("arrow")];
    (0..9u8, word, 0..1000u32).prop_map(|(kind, word, tag)| match kind {
        0 => called("search", "querry", word, "Error: search() got an unexpected keyword argument 'querry'"),
        1 => called("search", "query", word, format!("{tag} pages on {word}")),
        2 => called("bash", "command", &format!("pyhton {word}.py"), "bash: pyhton: command not found"),
        3 => called("bash", "command", &format!("python {word}.py"), format!("{tag} rows")),
        4 => called("bash", "command", "pytest -q", "FF.\n=== FAILURES ===\nE   assert 1 == 2\n2 failed, 1 passed in 0.10s"),
        5 => called(
            "python",
            "code",
            &format!("print(cout('{word}'))"),
            "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'cout' is not defined",
        ),
        6 => called("python", "code", &format!("print(count('{word}'))"), format!("{tag}")),
        7 => called("sql", "query", &format!("SELECT nme FROM {word}"), "Error executing query: no such column: nme"),
        _ => called("sql", "query", "SHOW TABLES", format!("[('{word}', {tag})]")),
    })
}

/// A step of up to four calls; whether its results come in the order of the calls.
fn step() -> impl Strategy<Value = (Vec<Called>, bool)> {
    (
        prop_oneof![3 => proptest::collection::vec(call(), 1..=1), 1 => proptest::collection::vec(call(), 2..=4)],
        any::<bool>(),
    )
}

fn rollout_of() -> impl Strategy<Value = Vec<Owned>> {
    let talk = prop_oneof![9 => Just(None), 1 => Just(Some("Go on."))];
    proptest::collection::vec((step(), talk), 1..10).prop_map(|steps| {
        let plain = |role, text: &str| Owned { role, content: text.to_owned(), call_id: None, calls: Vec::new() };
        let mut out = vec![plain(Role::User, "Count.")];
        for (at, ((calls, in_order), talk)) in steps.into_iter().enumerate() {
            let id = |k: usize| format!("c{at}_{k}");
            let asked = calls.iter().enumerate().map(|(k, c)| (id(k), c.tool.to_owned(), c.arguments.clone()));
            out.push(Owned { calls: asked.collect(), ..plain(Role::Assistant, "") });
            let answer = |(k, c): (usize, &Called)| Owned { call_id: Some(id(k)), ..plain(Role::Tool, &c.result) };
            let mut answers: Vec<Owned> = calls.iter().enumerate().map(answer).collect();
            if !in_order {
                answers.reverse();
            }
            out.extend(answers);
            out.extend(talk.map(|text| plain(Role::User, text)));
        }
        out
    })
}

fn message(m: &Owned) -> Message<'_> {
    Message {
        role: m.role,
        content: Some(&m.content),
        reasoning: None,
        call_id: m.call_id.as_deref(),
        is_error: None,
        is_context: false,
        calls: m.calls.iter().map(|(id, name, arguments)| ToolCall { id: Some(id), name, arguments }).collect(),
    }
}

fn rollout(messages: &[Owned]) -> Rollout<'_> {
    Rollout { id: Cow::Borrowed("r"), group: None, tokens: None, messages: messages.iter().map(message).collect() }
}

fn purify<'a>(raw: &'a Rollout<'a>) -> PurifiedRow {
    Purifier::new(Options::default()).expect("settings are sound").purify(raw, None).expect("the rollout can be read")
}

fn detector() -> ErrorDetector {
    ErrorDetector::new(&Options::default().errors).expect("no patterns")
}

/// The purified messages, as another reader sees them.
fn written<'a>(raw: &'a Rollout<'a>, purified: &'a PurifiedRow) -> Vec<Message<'a>> {
    match &purified.rollout {
        None => raw.messages.clone(),
        Some(rollout) => rollout.messages().iter().map(|source| source.of(raw)).collect(),
    }
}

/// Each call with the text that answers it by id.
fn answered(messages: &[Message<'_>]) -> Vec<(String, String)> {
    let results: HashMap<&str, &str> = messages.iter().filter_map(|m| Some((m.call_id?, m.content?))).collect();
    let calls = messages.iter().flat_map(|m| &m.calls);
    let answer =
        |call: &ToolCall<'_>| results.get(call.id.unwrap_or_default()).copied().unwrap_or("nothing").to_owned();
    calls.map(|call| (call.arguments.to_owned(), answer(call))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_failure_run_is_on_record_with_a_decision(messages in rollout_of()) {
        let raw = rollout(&messages);
        let purified = purify(&raw);
        let trajectory = Trajectory::new(&raw, &detector());
        let found: Vec<(usize, usize)> = trajectory
            .failure_runs()
            .iter()
            .map(|run| (trajectory.steps[run.steps.start].message, run.steps.len()))
            .collect();
        let recorded: Vec<(usize, usize)> = purified.runs.iter().map(|run| (run.first_message, run.attempts)).collect();
        prop_assert_eq!(recorded, found);
        for run in &purified.runs {
            prop_assert_eq!(run.decision == RunOutcome::Left, run.reason.is_some(), "{:?}", run);
        }
        let repaired = purified.runs.iter().filter(|run| run.decision == RunOutcome::Repaired).count();
        prop_assert_eq!(repaired, purified.records.len());
    }

    #[test]
    fn nothing_that_did_its_job_is_removed(messages in rollout_of()) {
        let raw = rollout(&messages);
        let purified = purify(&raw);
        let trajectory = Trajectory::new(&raw, &detector());
        let mut rest = answered(&written(&raw, &purified));
        let did_their_job = trajectory.steps.iter().flat_map(|step| &step.answers).filter(|answer| {
            matches!(answer.verdict, Verdict::Ok | Verdict::Informative(_))
        });
        for answer in did_their_job {
            let id = raw.messages[answer.message].call_id;
            let call = raw.messages.iter().flat_map(|m| &m.calls).find(|call| call.id == id).expect("it was asked for");
            let wanted = (call.arguments.to_owned(), raw.messages[answer.message].content.unwrap_or_default().to_owned());
            let at = rest.iter().position(|found| *found == wanted);
            prop_assert!(at.is_some(), "{:?} is gone", wanted);
            at.into_iter().for_each(|at| { rest.remove(at); });
        }
    }

    #[test]
    fn ids_answer_and_no_call_gets_another_result(messages in rollout_of()) {
        let raw = rollout(&messages);
        let purified = purify(&raw);
        let new = written(&raw, &purified);
        let before: HashSet<(String, String)> = answered(&raw.messages).into_iter().collect();
        for pair in answered(&new) {
            prop_assert!(before.contains(&pair), "{:?} is new", pair);
        }
        let mut asked = HashSet::new();
        for message in &new {
            for call in &message.calls {
                prop_assert!(asked.insert(call.id), "{:?} is there twice", call.id);
            }
            if message.role == Role::Tool {
                prop_assert!(asked.contains(&message.call_id), "{:?} answers nothing before it", message.call_id);
            }
        }
        let calls = new.iter().map(|m| m.calls.len()).sum::<usize>();
        prop_assert_eq!(calls, new.iter().filter(|m| m.role == Role::Tool).count());
    }

    #[test]
    fn no_failed_attempt_of_a_repaired_run_is_left_and_all_others_are(messages in rollout_of()) {
        let raw = rollout(&messages);
        let purified = purify(&raw);
        let failed = |rollout: &Rollout<'_>| {
            let trajectory = Trajectory::new(rollout, &detector());
            trajectory.steps.iter().filter(|step| step.attempt == Some(Outcome::Failed)).count()
        };
        let repaired: usize =
            purified.runs.iter().filter(|run| run.decision == RunOutcome::Repaired).map(|run| run.attempts).sum();
        let new = Rollout { messages: written(&raw, &purified), ..rollout(&[]) };
        prop_assert_eq!(failed(&new), failed(&raw) - repaired);
    }
}

/// A rollout as a batch of one row, purified through the door, and its messages as they are written.
fn written_by_the_door(messages: &[Owned]) -> Vec<Owned> {
    let call = |(id, name, arguments): &(String, String, String)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let message = |m: &Owned| {
        let calls: Vec<Value> = m.calls.iter().map(call).collect();
        json!({"role": format!("{:?}", m.role).to_lowercase(), "content": m.content, "tool_call_id": m.call_id, "tool_calls": calls})
    };
    let row = json!({"rollout_id": "r", "messages": messages.iter().map(message).collect::<Vec<_>>()}).to_string();
    let (schema, _) = infer_json_schema(row.as_bytes(), None).expect("JSON");
    let mut reader = ReaderBuilder::new(Arc::new(schema)).build(row.as_bytes()).expect("a schema");
    let batch = reader.next().expect("a batch").expect("a row");
    let purified = Purifier::new(Options::default()).expect("sound").purify_batch(&batch).expect("rollouts");
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(&purified.data).expect("rows");
    let row: Value = serde_json::from_slice(&writer.into_inner()).expect("one row");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let called = |c: &Value| (text(&c["id"]), text(&c["function"]["name"]), text(&c["function"]["arguments"]));
    let read = |m: &Value| Owned {
        role: Role::parse(&text(&m["role"])).expect("a role"),
        content: text(&m["content"]),
        call_id: m["tool_call_id"].as_str().map(str::to_owned),
        calls: m["tool_calls"].as_array().into_iter().flatten().map(called).collect(),
    };
    row["messages"].as_array().expect("messages").iter().map(read).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn what_is_written_is_what_was_decided(messages in rollout_of()) {
        let raw = rollout(&messages);
        let decided: Vec<String> = written(&raw, &purify(&raw)).iter().map(|m| format!("{m:?}")).collect();
        let found = written_by_the_door(&messages);
        let found: Vec<String> = found.iter().map(|m| format!("{:?}", message(m))).collect();
        prop_assert_eq!(found, decided);
    }
}

#[test]
fn the_generated_rollouts_hold_what_the_invariants_are_about() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let (mut runner, strategy) = (TestRunner::deterministic(), rollout_of());
    let (mut repaired, mut left, mut parts) = (0, 0, 0);
    for _ in 0..300 {
        let messages = strategy.new_tree(&mut runner).expect("a rollout").current();
        let raw = rollout(&messages);
        let purified = purify(&raw);
        repaired += purified.records.len();
        left += purified.runs.iter().filter(|run| run.decision == RunOutcome::Left).count();
        parts += purified.records.iter().filter(|r| r.scope == Some(purify::record::RepairScope::Calls)).count();
    }
    assert!(repaired > 10 && left > 50 && parts > 0, "{repaired} repaired, {left} left, {parts} in part");
}
