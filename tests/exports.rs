//! Native rows to a target and back: what the target can hold comes back as it was.
//!
//! Rows are generated as hostile text, exported with the library, and read again as any input is.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use purify::batch::sample::{PreferenceReader, PreferenceText, Sample, SampleReader};
use purify::ingest::Input;
use purify::options::{ColumnConfig, DEFAULT_COMPRESSION_LEVEL, ExportConfig, Options, RunConfig};
use purify::pipeline::export::export;
use purify::run::{Run, Silent};
use serde_json::{Map, Value, json};

/// Text that breaks what is glued together: quotes, escapes, controls, markers, any letter.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~é\n\t\"\\\\]{0,12}",
        1 => any::<String>(),
        1 => Just("</tool_call>\n<tool_call>\u{0}\u{1b}[31m\u{2028}".to_owned()),
    ]
}

/// Argument strings: objects in any spelling, and what is none.
fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => objects(),
        1 => any::<i128>().prop_map(|n| format!("{{\"n\": {n}}}")),
        1 => Just("{\"a\": 1, \"a\": {\"b\": \"\\ud83d\\ude00\"}}".to_owned()),
        1 => Just("{\"half\": \"\\ud800\"}".to_owned()),
        2 => text(),
        1 => Just("[1]".to_owned()),
        1 => Just("\"{}\"".to_owned()),
        1 => Just(format!("{{\"deep\": {}{}}}", "[".repeat(80), "]".repeat(80))),
    ]
}

/// Argument strings that are objects to every reader.
fn objects() -> impl Strategy<Value = String> {
    (text(), -1e20..1e20f64).prop_map(|(t, n)| format!("{{\"a\":  {},\"b\" : [{n:?}, 1e3, null, true]}}", json!(t)))
}

fn step(is_error: bool, arguments: BoxedStrategy<String>) -> impl Strategy<Value = Vec<Value>> {
    let call = (proptest::option::of(text()), "[a-z_]{1,6}", arguments);
    (proptest::option::of(text()), proptest::option::of(text()), proptest::collection::vec(call, 1..3), text()).prop_map(
        move |(content, reasoning, calls, result)| {
            let calls: Vec<Value> = calls
                .iter()
                .map(|(id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
                .collect();
            let results = calls.iter().map(|c| json!({"role": "tool", "content": result, "tool_call_id": c["id"], "is_error": is_error}));
            let mut asked = json!({"role": "assistant", "content": content, "tool_calls": calls});
            if let Some(reasoning) = reasoning {
                asked["reasoning_content"] = json!(reasoning);
            }
            let results: Vec<Value> = results.collect();
            [vec![asked], results].concat()
        },
    )
}

fn rollout() -> impl Strategy<Value = Value> {
    rollout_with(arguments().boxed())
}

fn rollout_with(arguments: BoxedStrategy<String>) -> impl Strategy<Value = Value> {
    let step = move |is_error| step(is_error, arguments.clone());
    let steps = proptest::collection::vec(any::<bool>().prop_flat_map(step), 0..5);
    let tools = proptest::option::of(
        text().prop_map(|t| json!([{"type": "function", "function": {"name": "f", "description": t}}])),
    );
    (text(), steps, text(), tools, proptest::option::of(-2.0..2.0f64)).prop_map(
        |(question, steps, answer, tools, reward)| {
            let mut messages = vec![json!({"role": "user", "content": question})];
            messages.extend(steps.concat());
            messages.push(json!({"role": "assistant", "content": answer}));
            json!({"rollout_id": "r", "messages": messages, "tools": tools.map(|t| t.to_string()), "reward": reward})
        },
    )
}

fn write_lines(folder: &Path, rows: &[Value]) -> std::path::PathBuf {
    let path = folder.join("raw.jsonl");
    std::fs::write(&path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).expect("written");
    path
}

fn exported(input: &Path, to: &str) -> std::path::PathBuf {
    let columns = ColumnConfig::default();
    let config = ExportConfig {
        inputs: vec![input.to_owned()],
        to: to.to_owned(),
        out: None,
        license: None,
        compression_level: DEFAULT_COMPRESSION_LEVEL,
        strict: false,
        threads: 2,
    };
    let signal = AtomicUsize::new(0);
    let run = Run::new(2, &Silent, &signal).expect("threads");
    let summary = export(&config, &columns, &run).unwrap_or_else(|e| panic!("{e}: {:?}", e.hint()));
    assert_eq!(summary.rejected(), 0, "{:?}", summary.counts);
    summary.outputs[0].clone()
}

fn samples(path: &Path) -> Vec<Sample> {
    let mut input = Input::open(path, &ColumnConfig::default()).unwrap_or_else(|e| panic!("{e}: {e:?}"));
    let columns = input.columns.clone();
    let mut out = Vec::new();
    while let Some((batches, bad)) = input.next_decoded().expect("it can be read") {
        assert!(bad.is_empty());
        for batch in &batches {
            let reader = SampleReader::new(batch, &columns).expect("columns");
            out.extend((0..batch.rows()).map(|row| reader.row(row).expect("a row")));
        }
    }
    out
}

fn pairs(path: &Path) -> Vec<[Vec<Value>; 3]> {
    let mut input = Input::open_any(path, &ColumnConfig::default()).unwrap_or_else(|e| panic!("{e}: {e:?}"));
    let columns = input.columns.clone();
    let mut out = Vec::new();
    while let Some((batches, _)) = input.next_decoded().expect("it can be read") {
        for batch in &batches {
            let reader = PreferenceReader::new(batch, columns.preference.expect("pairs"), &columns).expect("columns");
            out.extend((0..batch.rows()).map(|row| match reader.row(row).expect("a row").parts {
                PreferenceText::Messages(parts) => parts,
                PreferenceText::Tokens(_) => panic!("messages"),
            }));
        }
    }
    out
}

/// What OpenAI's and TRL's messages can hold of a native one.
fn held(message: &Value) -> Value {
    let mut out = Map::new();
    out.insert("role".to_owned(), message["role"].clone());
    out.insert("content".to_owned(), json!(message["content"].as_str().unwrap_or_default()));
    for name in ["reasoning_content", "tool_call_id"] {
        if let Some(text) = message[name].as_str() {
            out.insert(name.to_owned(), json!(text));
        }
    }
    let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
    let calls = calls
        .iter()
        .map(|c| json!([c.get("id").filter(|id| !id.is_null()), c["function"]["name"], c["function"]["arguments"]]));
    out.insert("calls".to_owned(), calls.collect());
    Value::Object(out)
}

/// What Anthropic's blocks hold of a native message: arguments as the objects that they are, the label of a result, and no ids
/// where some were made up.
fn said_in_blocks(message: &Value) -> Value {
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
    let input = |call: &Value| serde_json::from_str::<Value>(call["function"]["arguments"].as_str().expect("text"));
    let calls: Vec<Value> =
        calls.iter().map(|c| json!([c["function"]["name"], input(c).expect("an object")])).collect();
    json!([text("role"), text("content"), text("reasoning_content"), message["is_error"], calls])
}

fn all_held(messages: &[Value]) -> Vec<Value> {
    messages.iter().map(held).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn messages_and_tools_come_back_from_openai_and_trl(rows in proptest::collection::vec(rollout(), 1..4)) {
        let place = tempfile::tempdir().expect("a folder");
        let raw = write_lines(place.path(), &rows);
        let before = samples(&raw);
        for target in ["openai", "trl-sft"] {
            let after = samples(&exported(&raw, target));
            prop_assert_eq!(before.len(), after.len());
            for (before, after) in before.iter().zip(&after) {
                let messages = |s: &Sample| all_held(s.messages.as_deref().expect("messages"));
                prop_assert_eq!(messages(before), messages(after), "{:?}", target);
                prop_assert_eq!(&before.tools, &after.tools);
                if target == "trl-sft" {
                    prop_assert_eq!((&before.id, before.reward), (&after.id, after.reward));
                }
            }
        }
    }

    #[test]
    fn messages_come_back_from_anthropic(rows in proptest::collection::vec(rollout_with(objects().boxed()), 1..4)) {
        let place = tempfile::tempdir().expect("a folder");
        let raw = write_lines(place.path(), &rows);
        let after = samples(&exported(&raw, "anthropic"));
        let before = samples(&raw);
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            let messages = |s: &Sample| s.messages.iter().flatten().map(said_in_blocks).collect::<Vec<_>>();
            prop_assert_eq!(messages(before), messages(after));
        }
    }

    #[test]
    fn verl_text_holds_every_text_in_its_order(rows in proptest::collection::vec(rollout(), 1..4)) {
        let place = tempfile::tempdir().expect("a folder");
        let raw = write_lines(place.path(), &rows);
        let after = samples(&exported(&raw, "verl-sft"));
        for (before, after) in samples(&raw).iter().zip(&after) {
            let turns = after.messages.as_deref().expect("messages");
            let text: String = turns.iter().map(|t| t["content"].as_str().expect("text")).collect::<Vec<_>>().join("\n");
            let mut rest = text.as_str();
            for message in before.messages.as_deref().expect("messages") {
                let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
                let parts = [&message["reasoning_content"], &message["content"]].into_iter().cloned();
                for part in parts.chain(calls.into_iter().map(|c| c["function"]["arguments"].clone())) {
                    let part = part.as_str().unwrap_or_default();
                    let at = rest.find(part);
                    prop_assert!(at.is_some(), "{part:?} is not in {rest:?}");
                    rest = &rest[at.unwrap_or_default() + part.len()..];
                }
            }
        }
    }

    #[test]
    fn pairs_come_back_from_trl(rows in proptest::collection::vec(rollout(), 1..4)) {
        let place = tempfile::tempdir().expect("a folder");
        write_lines(place.path(), &rows);
        let config = RunConfig {
            inputs: vec![place.path().join("raw.jsonl")],
            out: Some(place.path().join("p.parquet")),
            ..RunConfig::default()
        };
        let settings = Options { pairs: true, ..Options::default() };
        let signal = AtomicUsize::new(0);
        let run = Run::new(0, &Silent, &signal).expect("threads");
        purify::pipeline::run(&config, &settings, None, None, &run).expect("it runs");
        let before = pairs(&place.path().join("p.pairs.parquet"));
        let after = pairs(&exported(&place.path().join("p.parquet"), "trl-dpo"));
        let all = |pairs: &[[Vec<Value>; 3]]| pairs.iter().map(|p| p.each_ref().map(|part| all_held(part))).collect::<Vec<_>>();
        prop_assert_eq!(all(&before), all(&after));
    }
}
