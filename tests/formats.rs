//! Every form, row by row: nothing is lost unsaid, and no damage makes it panic.

use std::path::Path;

use proptest::prelude::*;
use purify::ingest::formats::{FORMS, Form, NATIVE, Row, named};
use serde_json::{Value, json};

/// (file of fixtures/formats, its form).
const FIXTURES: &[(&str, &str)] = &[
    ("messages.jsonl", "messages"),
    ("parts.jsonl", "messages"),
    ("sharegpt.jsonl", "sharegpt"),
    ("prompt_completion.jsonl", "prompt-completion"),
    ("chat_text.jsonl", "chat-text"),
    ("verl.jsonl", "verl"),
    ("verl_classic.jsonl", "verl"),
    ("verl_uid.jsonl", "verl"),
    ("nemo_gym.jsonl", "nemo-gym"),
    ("traces.jsonl", "traces"),
    ("atif/agent/trajectory.json", "atif"),
    ("atif_continued.json", "atif"),
    ("swe_agent.traj", "swe-agent"),
    ("anthropic.jsonl", "anthropic"),
    ("claude_code.jsonl", "claude-code"),
    ("responses.jsonl", "responses"),
    ("codex.jsonl", "codex"),
    ("langchain.jsonl", "langchain"),
    ("mini_swe_agent.traj.json", "mini-swe-agent"),
    ("mini_swe_agent_2.traj.json", "mini-swe-agent"),
    ("ms_swift.jsonl", "ms-swift"),
    ("openhands.jsonl", "openhands"),
    ("openhands_events.json", "openhands-events"),
    ("tau2_bench.json", "tau2-bench"),
    ("inspect_ai.json", "inspect-ai"),
    ("gemini_cli.json", "gemini-cli"),
    ("gemini_cli.jsonl", "gemini-cli"),
    ("pi.jsonl", "pi"),
    ("opencode.json", "opencode"),
    ("opencode_events.jsonl", "opencode-events"),
    ("smolagents.json", "smolagents"),
    ("smolagents_code.json", "smolagents-steps"),
    ("ai_sdk.jsonl", "parts"),
    ("gemini.jsonl", "gemini"),
    ("openinference.jsonl", "spans"),
    ("otlp.jsonl", "otlp"),
];

fn form(name: &str) -> &'static Form {
    named(name).expect("a form of that name")
}

/// Markers of flat text, which are read and not kept.
const MARKERS: &[&str] = &["<|im_start|>", "<|im_end|>", "<tool_response>", "</tool_response>"];

/// Everything that a fixture holds.
fn records(name: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/formats").join(name);
    let text = std::fs::read_to_string(path).expect("the fixture is there");
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let flat = |value| match value {
        Value::Array(items) => items,
        // Rows that a document is wrapped around.
        Value::Object(mut document) => match ["samples", "simulations"].iter().find_map(|n| document.remove(*n)) {
            Some(Value::Array(rows)) => rows,
            _ => vec![Value::Object(document)],
        },
        other => vec![other],
    };
    let values = values.map(|value| value.expect("JSON")).flat_map(flat);
    values.map(|value| value.as_object().cloned().expect("a row is an object")).collect()
}

/// The first row of a fixture; of a session's, what its records make up.
fn row(name: &str) -> Row {
    let records = records(name);
    let form = records.iter().find_map(Form::of).expect("a form");
    let rows = if form.gathers() { form.gathered(records) } else { records };
    rows.into_iter().next().expect("a row")
}

/// Every text and number, with the path at which it stands; of JSON in text, what it says.
fn leaves(value: &Value, path: &str, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            leaves(value, format!("{path}.{name}").trim_start_matches('.'), out);
        }),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, &format!("{path}[]"), out)),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => leaves(&inner, path, out),
            _ => out.push((path.to_owned(), text.clone())),
        },
        Value::Number(number) => out.push((path.to_owned(), number.to_string())),
        Value::Bool(_) | Value::Null => {}
    }
}

/// Whether a leaf is found, flat text by its lines.
fn is_said(leaf: &str, said: &[(String, String)]) -> bool {
    let is_marker = |line: &str| {
        line.is_empty() || MARKERS.iter().any(|m| line.starts_with(m)) || line == "assistant" || line == "user"
    };
    said.iter().any(|(_, s)| s == leaf) || {
        let mut lines = leaf.lines().map(|line| line.trim_end_matches("<|im_end|>")).map(|line| {
            // Where special tokens were skipped, the next turn's role may follow a call on its line.
            line.strip_suffix("user").filter(|said| said.ends_with("</tool_call>")).unwrap_or(line)
        });
        let is_flat = leaf.contains("<tool_response>") || leaf.starts_with("system\n");
        is_flat && lines.all(|line| is_marker(line) || line == "system" || said.iter().any(|(_, s)| s.contains(line)))
    }
}

#[test]
fn every_leaf_of_a_fixture_is_kept_or_told_of() {
    // Where a call, a part or an item says of what kind it is, the native row says it by its form; numbers of nodes as well.
    let by_form = [".type", "[].role", ".message.role", "[].source", "[].from", "nodes[].parent", "schema_version"];
    for (name, layout) in FIXTURES {
        let row = row(name);
        let lost = form(layout).not_kept(&row);
        let native = form(layout).convert(row.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut kept = Vec::new();
        native.into_iter().for_each(|row| leaves(&Value::Object(row), "", &mut kept));
        let mut all = Vec::new();
        leaves(&Value::Object(row), "", &mut all);
        assert!(all.len() > 1, "{name}");
        for (path, leaf) in all {
            let is_told =
                lost.iter().any(|lost| path.starts_with(lost)) || by_form.iter().any(|end| path.ends_with(end));
            // The mask of prompt tokens, and ids that a later prompt repeats, are said by the columns.
            assert!(is_told || is_said(&leaf, &kept), "{name}: `{path}` ({leaf}) is neither kept nor told of");
        }
    }
}

#[test]
fn rows_are_recognised_as_their_form_and_as_no_other() {
    for (name, layout) in FIXTURES {
        let recognised = records(name).iter().find_map(Form::of);
        assert_eq!(recognised.map(|form| form.name), Some(*layout), "{name}");
    }
    assert_eq!(Form::of(&Row::new()), None);
}

#[test]
fn every_form_of_the_registry_has_a_fixture_and_a_name_of_its_own() {
    for (k, form) in FORMS.iter().enumerate() {
        assert!(FIXTURES.iter().any(|(_, name)| *name == form.name), "`{}` has no fixture", form.name);
        assert!(!form.help.is_empty() && !form.help.ends_with('.'), "`{}` has no line of help", form.name);
        assert!(FORMS[..k].iter().all(|other| other.name != form.name), "`{}` stands twice", form.name);
    }
}

#[test]
fn hostile_rows_are_refused_by_name() {
    let error = |layout: &str, row: Value| {
        let Value::Object(row) = row else { panic!("a row is an object") };
        form(layout).convert(row).expect_err("it is damaged")
    };
    let node = |parent: Value| json!({"parent": parent, "message": {"role": "user", "content": "q"}});
    let trace = |nodes: Value| json!({"traces": [{"id": "t", "nodes": nodes}]});
    let cases = [
        ("traces", trace(json!([node(json!(0))])), "trace 0: node 0: its parent is 0, expected a node before it"),
        (
            "traces",
            trace(json!([node(json!(null)), node(json!(2)), node(json!(1))])),
            "trace 0: node 1: its parent is 2, expected a node before it",
        ),
        ("traces", trace(json!([node(json!(-1))])), "trace 0: node 0: its parent is -1, expected a node before it"),
        (
            "traces",
            trace(json!([node(json!(1e300))])),
            "trace 0: node 0: its parent is 1e+300, expected a node before it",
        ),
        ("traces", json!({"traces": null}), "`traces` is null, expected a list"),
        ("traces", json!({"id": "e", "traces": []}), "`traces` is empty, expected a trace"),
        ("traces", trace(json!([])), "`nodes` of each trace is empty, expected a message"),
        ("atif", json!({"schema_version": "ATIF-v1.8", "steps": null}), "`steps` is null, expected a list"),
        (
            "atif",
            json!({"schema_version": 1.8, "steps": []}),
            "`schema_version` is the number 1.8, expected `ATIF-v1.0` or a later minor version, which only adds fields",
        ),
        (
            "atif",
            json!({"schema_version": "ATIF-v1.8", "steps": [{"source": "user", "message": 7}]}),
            "step 0: `message` is a number, expected text or parts",
        ),
        ("nemo-gym", json!({"response": {"output": {}}}), "`response.output` is an object, expected a list"),
        (
            "nemo-gym",
            json!({"response": {"output": [null]}}),
            "item 0 of `response.output`: it is null, expected an object",
        ),
        ("sharegpt", json!({"conversations": null}), "`conversations` is null, expected a list"),
        (
            "sharegpt",
            json!({"conversations": [{"from": null, "value": "x"}]}),
            "turn 0 of `conversations`: `from` is null, expected text",
        ),
        (
            "sharegpt",
            json!({"conversations": [], "messages": []}),
            "`messages` already exists beside what is converted into it; remove one of them, or name the format of the other with --format",
        ),
        (
            "prompt-completion",
            json!({"prompt": [{"content": "q"}], "completion": "a"}),
            "message 0 of `prompt`: `role` is nothing, expected text",
        ),
        (
            "prompt-completion",
            json!({"prompt": null, "completion": "a"}),
            "`prompt` is null, expected messages or text",
        ),
        ("chat-text", json!({"text": 7}), "`text` is a number, expected text"),
        ("verl", json!({"input": "user\nq", "output": null, "score": 0}), "`output` is null, expected text"),
        ("swe-agent", json!({"trajectory": {}}), "`trajectory` is an object, expected a list"),
    ];
    for (layout, row, expected) in cases {
        assert_eq!(error(layout, row), expected);
    }
}

#[test]
fn ids_that_repeat_and_lists_that_are_empty_are_no_error() {
    let asked = json!({"role": "assistant", "content": null, "tool_calls":
        [{"id": "c", "name": "f", "arguments": "{}"}, {"id": "c", "name": "f", "arguments": "{}"}]});
    let nodes =
        json!([{"message": asked}, {"parent": 0, "message": {"role": "tool", "tool_call_id": "c", "content": ""}}]);
    let Value::Object(row) = json!({"traces": [{"id": "t", "nodes": nodes}, {"id": "t", "nodes": []}]}) else {
        panic!()
    };
    let found = form("traces").convert(row.clone()).expect("a row");
    assert_eq!(found.len(), 1);
    assert_eq!(form("traces").not_kept(&row), ["traces without nodes"]);
    let Value::Object(row) = json!({"schema_version": "ATIF-v1.0", "steps": []}) else { panic!() };
    assert_eq!(form("atif").convert(row).expect("a row")[0]["messages"], json!([]));
}

/// Any JSON value, small.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z<>|_\n\\PC]{0,12}".prop_map(Value::from),
        proptest::sample::select(vec![
            "assistant",
            "tool",
            "user",
            "agent",
            "<tool_response>",
            "<|im_start|>",
            "function_call"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let name =
            proptest::sample::select(vec!["role", "content", "id", "type", "text", "name", "output", "nodes", "x"]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name.prop_map(str::to_owned), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Every node of a value, parents first.
fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum(),
        _ => 0,
    }
}

/// Puts a value in the place of the node of that number.
fn replace(value: &mut Value, at: &mut usize, by: &Value) {
    if *at == 0 {
        *value = by.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        _ if *at == usize::MAX => {}
        Value::Array(items) => items.iter_mut().for_each(|item| {
            if *at != usize::MAX {
                replace(item, at, by)
            }
        }),
        Value::Object(fields) => fields.values_mut().for_each(|field| {
            if *at != usize::MAX {
                replace(field, at, by)
            }
        }),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_rows_are_refused_or_give_messages_with_roles(
        which in 0..FIXTURES.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any_value()), 1..4),
        read_as in 0..FIXTURES.len(),
    ) {
        let (name, own) = FIXTURES[which];
        let mut damaged = Value::Object(row(name));
        for (at, by) in damage {
            let mut at = 1 + at.index(nodes(&damaged) - 1);
            replace(&mut damaged, &mut at, &by);
        }
        let Value::Object(damaged) = damaged else { panic!("the row itself stays an object") };
        Form::of(&damaged);
        for layout in [own, FIXTURES[read_as].1] {
            form(layout).not_kept(&damaged);
            let Ok(rows) = form(layout).convert(damaged.clone()) else { continue };
            // Native rows pass as they are: what is wrong with them is told by their columns.
            for row in rows.iter().filter(|_| layout != NATIVE.name) {
                let messages = row["messages"].as_array().expect("a list of messages");
                prop_assert!(messages.iter().all(|m| m["role"].is_string()), "{name} as {layout:?}: {messages:?}");
            }
        }
    }
}
