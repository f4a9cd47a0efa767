//! What other programs write, pointed at as it is.
//!
//! `fixtures/formats` holds the same rollout in every form (`scripts/make_format_fixtures.py`): one call fails, its correction
//! follows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use serde_json::{Value, json};

use crate::harness::{Place, fixture, json_rows, rows, write};

/// (file of fixtures/formats, what `inspect` calls it, whether calls stand in the text).
const FORMS: &[(&str, &str, bool)] = &[
    ("messages.jsonl", "JSON lines", false),
    ("parts.jsonl", "JSON lines", false),
    ("sharegpt.jsonl", "JSON lines, sharegpt", false),
    ("prompt_completion.jsonl", "JSON lines, prompt-completion", false),
    ("chat_text.jsonl", "JSON lines, chat-text", true),
    ("verl.jsonl", "JSON lines, verl", true),
    ("verl_classic.jsonl", "JSON lines, verl", true),
    ("verl_uid.jsonl", "JSON lines, verl", true),
    ("nemo_gym.jsonl", "JSON lines, nemo-gym", false),
    ("traces.jsonl", "JSON lines, traces", false),
    ("swe_agent.traj", "JSON, swe-agent", false),
];

const CALL: &str =
    "<tool_call>\n{\"name\": \"python\", \"arguments\": {\"code\": \"print(nth_prime(10))\"}}\n</tool_call>";

/// (role, content) of every message, and the arguments of every call.
fn shape(messages: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let arguments = |m: &Value| {
        let calls = m["tool_calls"].as_array().cloned().unwrap_or_default();
        calls.iter().map(|c| text(&c["function"]["arguments"])).collect()
    };
    let messages = messages.as_array().expect("messages");
    messages.iter().map(|m| (text(&m["role"]), text(&m["content"]), arguments(m))).collect()
}

/// Purifies one of the files and looks at every message; `call` is what the correction's arguments are.
fn assert_purified(name: &str, format: &str, is_inline: bool, call: &str) {
    let place = Place::new();
    place.with(&format!("formats/{name}"), name);
    let inspected = place.run(&["inspect", name, "--json"]);
    assert_eq!(inspected.json()["format"], *format, "{name}: {}", inspected.stdout);
    // Token columns of the traces are ids without a tokenizer of theirs.
    let done = place.run(&["--in", name, "--out", "p.parquet", "--tokens", "drop"]);
    assert_eq!(done.code, 0, "{name}: {}", done.stderr);
    assert_eq!(done.count("rows_rejected"), 0, "{name}: {}", done.stdout);
    let rows = place.rows("p.parquet");
    let looked_at = ["messages", "purification"].map(|name| rows.schema().index_of(name).expect("it is there"));
    for row in json_rows(&rows.project(&looked_at).expect("columns")) {
        let thought = "I list primes.\n";
        let (content, calls) = match is_inline {
            true => (format!("{thought}{CALL}"), vec![]),
            false => (thought.to_owned(), vec![call.to_owned()]),
        };
        let message = |role: &str, content: &str| (role.to_owned(), content.to_owned(), vec![]);
        let expected = [
            message("system", "You have a tool: python."),
            message("user", "What is the 10th prime?"),
            ("assistant".to_owned(), content, calls),
            message("tool", "29"),
            message("assistant", "The 10th prime is 29."),
        ];
        assert_eq!(shape(&row["messages"]), expected, "{name}");
        let repairs = row["purification"]["repairs"].as_array().expect("repairs");
        assert_eq!((repairs.len(), &repairs[0]["error_types"][0]), (1, &Value::from("NameError")), "{name}");
    }
}

const ARGUMENTS: &str = "{\"code\": \"print(nth_prime(10))\"}";

#[test]
fn every_form_is_recognised_and_gives_the_same_purified_rollout() {
    for (name, format, is_inline) in FORMS {
        assert_purified(name, format, *is_inline, ARGUMENTS);
    }
}

#[test]
fn every_form_is_read_from_parquet_too() {
    // What the arguments are where they were not text: JSON without the fields of other rows.
    let compact = "{\"code\":\"print(nth_prime(10))\"}";
    for (name, format, is_inline, arguments) in [
        ("sharegpt", "Parquet, sharegpt", false, ARGUMENTS),
        ("prompt_completion", "Parquet, prompt-completion", false, ARGUMENTS),
        ("chat_text", "Parquet, chat-text", true, ARGUMENTS),
        ("verl", "Parquet, verl", true, ARGUMENTS),
        ("nemo_gym", "Parquet, nemo-gym", false, ARGUMENTS),
        ("parts", "Parquet", false, ARGUMENTS),
        ("arguments_struct", "Parquet", false, compact),
        ("json_arguments", "Parquet", false, "{ \"code\":\"print(nth_prime(10))\", \"n\":1.50 }"),
        ("json_calls", "Parquet", false, compact),
        ("json_messages", "Parquet", false, compact),
        ("json_logical", "Parquet", false, compact),
    ] {
        assert_purified(&format!("{name}.parquet"), format, is_inline, arguments);
    }
}

#[test]
fn columns_that_a_form_does_not_use_keep_their_types_and_values() {
    let place = Place::new();
    place.with("formats/prompt_completion.parquet", "raw.parquet");
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "p.parquet"]).code, 0);
    let (raw, purified) = (place.rows("raw.parquet"), place.rows("p.parquet"));
    for name in ["reward", "when", "cost", "blob", "weight", "source"] {
        assert_eq!(purified.column_by_name(name), raw.column_by_name(name), "{name}");
        let field = |batch: &RecordBatch| batch.schema().field_with_name(name).cloned().expect("it is there");
        assert_eq!(field(&purified), field(&raw));
    }
    let names: Vec<_> = purified.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["messages", "reward", "when", "cost", "blob", "weight", "source", "purification"]);
}

#[test]
fn arguments_that_are_json_stay_the_text_that_they_are() {
    let place = Place::new();
    place.with("formats/json_arguments.parquet", "raw.parquet");
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "p.parquet", "--repair-probability", "0"]).code, 0);
    let messages = shape(&json_rows(&place.rows("p.parquet"))[0]["messages"]);
    let arguments: Vec<&str> = messages.iter().flat_map(|(_, _, calls)| calls).map(String::as_str).collect();
    // The first was a text in JSON, the second an object.
    assert_eq!(arguments, ["{\"code\": \"print(nth_prim(10))\"}", "{ \"code\":\"print(nth_prime(10))\", \"n\":1.50 }"]);
}

#[test]
fn tools_that_are_lists_become_json_and_are_described_anew() {
    let place = Place::new();
    place.with("formats/json_messages.parquet", "raw.parquet");
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "p.parquet"]).code, 0);
    let purified = place.rows("p.parquet");
    let tools = json_rows(&purified)[0]["tools"].as_str().map(str::to_owned).expect("text");
    let expected = json!([{"type": "function", "function": {"name": "python", "parameters": {"type": "object"}}}]);
    assert_eq!(serde_json::from_str::<Value>(&tools).expect("JSON"), expected);
    let described = purified.schema().metadata()["huggingface"].clone();
    let described: Value = serde_json::from_str(&described).expect("JSON");
    let features = &described["info"]["features"];
    assert_eq!(features["tools"], json!({"dtype": "string", "_type": "Value"}));
    assert_eq!(features["messages"][0]["role"]["dtype"], "string", "{features}");
}

#[test]
fn reverted_rows_of_another_form_are_the_native_rows_that_they_became() {
    let place = Place::new();
    place.with("formats/sharegpt.parquet", "raw.parquet");
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "p.parquet"]).code, 0);
    let done = place.run(&["revert", "p.parquet", "--raw", "raw.parquet", "--out", "back.parquet"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    place.with("formats/sharegpt.jsonl", "raw.jsonl");
    assert_eq!(place.run(&["--in", "raw.jsonl", "--out", "q.parquet"]).code, 0);
    let done = place.run(&["revert", "q.parquet", "--raw", "raw.jsonl", "--out", "back_too.parquet"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(json_rows(&place.rows("back.parquet")), json_rows(&place.rows("back_too.parquet")));
    assert_eq!(json_rows(&place.rows("back.parquet"))[0]["messages"].as_array().map(Vec::len), Some(7));
}

/// Rows of a schema as a Parquet file.
fn parquet(place: &Place, name: &str, fields: Vec<Field>, values: &[Value]) {
    let mut decoder =
        arrow::json::ReaderBuilder::new(Arc::new(Schema::new(fields))).build_decoder().expect("a decoder");
    decoder.serialize(values).expect("rows");
    write(&place.path(name), &decoder.flush().expect("rows").expect("a batch"), 2);
}

fn list_of(fields: Vec<Field>) -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Struct(fields.into()), true)))
}

#[test]
fn rows_that_do_not_convert_are_rejects_with_what_they_hold() {
    let place = Place::new();
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let image = Field::new("image", DataType::Binary, true);
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("conversations", list_of(vec![text("from"), text("value"), image]), true),
    ];
    let said = |from: &str| json!({"from": from, "value": "x"});
    let values = [
        json!({"id": 1, "conversations": [said("human"), said("gpt")]}),
        json!({"id": 2, "conversations": [said("critic")]}),
        json!({"id": 3, "conversations": [{"from": "gpt", "value": "x", "image": "ff00"}]}),
        json!({"id": 4, "conversations": null}),
        json!({"id": 5, "conversations": [said("gpt")]}),
    ];
    parquet(&place, "plain.parquet", fields, &values);
    let plain = place.rows("plain.parquet");
    let when = TimestampMicrosecondArray::from(vec![1_500_000; 5]).with_timezone("Europe/Berlin");
    let columns = plain.columns().iter().cloned().chain([Arc::new(when) as ArrayRef]);
    let names = ["id", "conversations", "when"];
    let raw = RecordBatch::try_from_iter_with_nullable(names.into_iter().zip(columns).map(|(n, c)| (n, c, true)));
    write(&place.path("raw.parquet"), &raw.expect("three columns"), 2);
    let done = place.run(&["--in", "raw.parquet", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_in"), done.count("rows_out")), (0, 5, 2), "{}", done.stderr);
    let ids = place.rows("p.parquet").column_by_name("id").cloned().expect("it is there");
    assert_eq!(ids.as_primitive::<Int64Type>().values(), &[1, 5]);
    let rejects = place.rows("p.rejects.parquet");
    let looked_at = ["raw_line", "reject_reason"].map(|name| rejects.schema().index_of(name).expect("it is there"));
    let rejects = json_rows(&rejects.project(&looked_at).expect("columns"));
    let reasons: Vec<_> = rejects.iter().map(|r| r["reject_reason"].as_str().expect("a reason")).collect();
    let it = |row: u64, detail: &str| {
        format!("wrong_format: row {row} of `raw.parquet`: it is not a row of the format `sharegpt`: {detail}")
    };
    assert_eq!(
        reasons,
        [
            it(
                1,
                "turn 0 of `conversations`: `from` is `critic`, expected human, gpt, function_call, observation or system"
            ),
            it(2, "column `conversations`: `image`: it holds a value of type Binary, which JSON can't"),
            it(3, "`conversations` is null, expected a list"),
        ]
    );
    let line = rejects[1]["raw_line"].as_str().expect("the row");
    let mut expected = values[2].clone();
    expected["when"] = json!("1970-01-01T00:00:01.500Z");
    assert_eq!(serde_json::from_str::<Value>(line).expect("JSON"), expected);
}

#[test]
fn odd_types_within_parts_and_arguments_are_read_as_json() {
    let place = Place::new();
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let map = DataType::Map(
        Arc::new(Field::new(
            "entries",
            DataType::Struct(vec![Field::new("keys", DataType::Utf8, false), text("values")].into()),
            false,
        )),
        false,
    );
    let at = Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true);
    let part = vec![text("type"), text("text"), Field::new("image", DataType::Binary, true), at.clone()];
    let cost = Field::new("cost", DataType::Decimal128(10, 2), true);
    let arguments = DataType::Struct(vec![at, cost, Field::new("env", map, true)].into());
    let function = DataType::Struct(vec![text("name"), Field::new("arguments", arguments, true)].into());
    let calls = Field::new("tool_calls", list_of(vec![text("id"), Field::new("function", function, true)]), true);
    let content = Field::new("content", list_of(part), true);
    let fields = vec![Field::new("messages", list_of(vec![text("role"), content, calls]), true)];
    let row = |image: Value| {
        let part = json!({"type": "text", "text": "a", "image": image, "at": "2026-01-02T03:04:05"});
        let arguments = json!({"at": "2026-01-02T03:04:05.250", "cost": "0.10", "env": {"A": "b", "C": null}});
        let call = json!({"id": "c", "function": {"name": "f", "arguments": arguments}});
        json!({"messages": [{"role": "user", "content": [part]}, {"role": "assistant", "tool_calls": [call]}]})
    };
    parquet(&place, "raw.parquet", fields.clone(), &[row(json!(null)), row(json!("ff00"))]);
    let done = place.run(&["--in", "raw.parquet", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out")), (0, 1), "{}", done.stderr);
    let messages = json_rows(&place.rows("p.parquet"))[0]["messages"].clone();
    assert_eq!(
        (&messages[0]["content"], &messages[0]["other_fields"]),
        (&json!("a"), &json!(r#"{"content":[{"at":"2026-01-02T03:04:05"}]}"#))
    );
    let arguments = r#"{"at":"2026-01-02T03:04:05.250","cost":0.1,"env":{"A":"b","C":null}}"#;
    assert_eq!(shape(&messages)[1].2, [arguments]);
    let detail = "column `messages`: `content`: `image`: it holds a value of type Binary, which JSON can't";
    let reason = format!("wrong_format: row 1 of `raw.parquet`: it is not a row of the format `messages`: {detail}");
    assert_eq!(reasons(&place, "p.rejects.parquet"), [reason]);
    // Where no row can be read, the first one tells why.
    parquet(&place, "bytes.parquet", fields, &[row(json!("00"))]);
    let refused = place.run(&["--in", "bytes.parquet", "--out", "q.parquet"]);
    let expected = format!("error: `bytes.parquet` holds no row of the format `messages`: row 0: {detail}\n");
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.starts_with(&expected), "{}", refused.stderr);
}

#[test]
fn format_is_forced_on_parquet_but_never_on_what_purify_wrote() {
    let place = Place::new();
    place.with("formats/sharegpt.parquet", "raw.parquet");
    let refused = place.run(&["--in", "raw.parquet", "--out", "p.parquet", "--format", "verl"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("`raw.parquet` holds no row of the format `verl`"), "{}", refused.stderr);
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "p.parquet", "--format", "sharegpt"]).code, 0);
    let again = place.run(&["--in", "p.parquet", "--out", "q.parquet", "--format", "sharegpt"]);
    assert_eq!((again.code, again.count("rows_out")), (0, 1), "{}", again.stderr);
}

#[test]
fn what_comes_out_of_parquet_of_another_form_does_not_depend_on_threads() {
    let place = Place::new();
    let one = rows(&fixture("formats/json_calls.parquet"));
    let all = arrow::compute::concat_batches(&one.schema(), &vec![one.clone(); 700]).expect("one schema");
    write(&place.path("raw.parquet"), &all, 100);
    for threads in ["1", "4"] {
        let out = format!("p{threads}.parquet");
        let done = place.run(&["--in", "raw.parquet", "--out", &out, "--threads", threads]);
        assert_eq!((done.code, done.count("rows_out")), (0, 700), "{}", done.stderr);
    }
    assert_eq!(place.bytes("p1.parquet"), place.bytes("p4.parquet"));
}

#[test]
fn reward_group_and_name_of_each_form_are_found() {
    let row = |name: &str| {
        let place = Place::new();
        place.with(&format!("formats/{name}.jsonl"), "raw.jsonl");
        assert_eq!(place.run(&["--in", "raw.jsonl", "--out", "p.parquet", "--tokens", "drop"]).code, 0, "{name}");
        json_rows(&place.rows("p.parquet"))
    };
    let verl = row("verl");
    assert_eq!((&verl[0]["score"], &verl[1]["score"]), (&Value::from(1.0), &Value::from(0.0)));
    assert_eq!(verl[0]["group_id"], verl[1]["group_id"], "the same prompt is one group");
    let uid = &row("verl_uid")[0];
    assert_eq!((&uid["rollout_id"], &uid["group_id"]), (&Value::from("q7_0_0"), &Value::from("q7")));
    let gym = &row("nemo_gym")[0];
    assert_eq!((&gym["reward"], &gym["group_id"]), (&Value::from(1.0), &Value::from("3")));
    let trace = &row("traces")[0];
    assert_eq!((&trace["reward"], &trace["group_id"]), (&Value::from(1.0), &Value::from("group-1")));
    assert_eq!(trace["rollout_id"], "trace-1");
}

#[test]
fn tokens_of_traces_are_spliced_with_their_messages() {
    let place = Place::new();
    place.with("formats/traces.jsonl", "raw.jsonl");
    let done = place.run(&["--in", "raw.jsonl", "--out", "p.parquet", "--call-marker-ids", "151657"]);
    assert_eq!((done.code, done.count("repairs_shallow")), (0, 1), "{}", done.stderr);
    let row = &json_rows(&place.rows("p.parquet"))[0];
    let numbers = |name: &str| serde_json::from_value::<Vec<Option<f64>>>(row[name].clone()).expect("numbers");
    // The first thought, the second call, and everything after it.
    let ids = [21, 151657, 42, 50, 51, 52, 60, 61, 62].map(|id| Some(f64::from(id)));
    assert_eq!(numbers("response_ids"), ids);
    assert_eq!(numbers("response_mask"), [1, 1, 1, 0, 0, 0, 0, 1, 1].map(|m| Some(f64::from(m))));
    assert_eq!(numbers("response_logprobs")[0], Some(-0.5));
    assert_eq!(numbers("response_logprobs")[1..], [None; 8], "what was sampled after the error has none");
}

#[test]
fn format_can_be_forced_and_lines_of_another_one_are_rejected_by_name() {
    let place = Place::new();
    let verl = std::fs::read_to_string(fixture("formats/verl_uid.jsonl")).expect("it is there");
    std::fs::write(place.path("mixed.jsonl"), format!("{verl}{{\"input\": 7, \"output\": \"\", \"score\": 0}}\n"))
        .expect("written");
    let done = place.run(&["--in", "mixed.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out")), (0, 1), "{}", done.stderr);
    assert_eq!(done.json()["rejects"]["wrong_format"], 1);
    let reason = json_rows(&place.rows("p.rejects.parquet"))[0]["reject_reason"].as_str().expect("a reason").to_owned();
    let expected = "wrong_format: row 1 of `mixed.jsonl`: line 2 is not a row of the format `verl`: `input` is a number, expected text";
    assert_eq!(reason, expected);
    let forced = place.run(&["--in", "mixed.jsonl", "--out", "f.parquet", "--format", "sharegpt"]);
    assert_eq!(forced.code, 3, "{}", forced.stderr);
}

#[test]
fn conversion_changes_no_byte_of_what_a_model_wrote() {
    let place = Place::new();
    place.with("formats/verl.jsonl", "raw.jsonl");
    assert_eq!(
        place.run(&["--in", "raw.jsonl", "--out", "p.parquet", "--max-retries", "1", "--repair-probability", "0"]).code,
        0
    );
    let raw: Value = serde_json::from_str(
        std::fs::read_to_string(place.path("raw.jsonl")).expect("it is there").lines().next().expect("a line"),
    )
    .expect("JSON");
    let rows = json_rows(&place.rows("p.parquet"));
    let mut output = String::new();
    for (role, content, _) in shape(&rows[0]["messages"]).into_iter().skip(2) {
        output += &match role.as_str() {
            "tool" => format!("\nuser\n<tool_response>\n{content}\n</tool_response>\nassistant\n"),
            _ => content,
        };
    }
    assert_eq!(Value::from(output), raw["output"], "the messages, put together again, are the text");
}

#[test]
fn dumps_of_older_verl_give_the_same_messages() {
    let messages = |name: &str| {
        let place = Place::new();
        place.with(&format!("formats/{name}.jsonl"), "raw.jsonl");
        assert_eq!(place.run(&["--in", "raw.jsonl", "--out", "p.parquet", "--repair-probability", "0"]).code, 0);
        json_rows(&place.rows("p.parquet")).into_iter().map(|row| row["messages"].clone()).collect::<Vec<_>>()
    };
    let old = std::fs::read_to_string(fixture("formats/verl_classic.jsonl")).expect("it is there");
    assert!(old.contains("</tool_call>user\\n<tool_response>"), "{old}");
    assert_eq!(messages("verl_classic"), messages("verl"));
}

#[test]
fn trial_folder_is_read_with_the_reward_beside_its_trajectory() {
    let place = Place::new();
    place.with("formats/atif/agent/trajectory.json", "trial/agent/trajectory.json");
    place.with("formats/atif/result.json", "trial/result.json");
    let inspected = place.run(&["inspect", "trial", "--json"]);
    assert_eq!(inspected.json()["format"], "JSON, atif", "{}", inspected.stdout);
    let done = place.run(&["--in", "trial", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("repairs_shallow")), (0, 1), "{}", done.stderr);
    let row = &json_rows(&place.rows("p.parquet"))[0];
    assert_eq!((&row["rollout_id"], &row["group_id"]), (&Value::from("trial-1"), &Value::from("primes/tenth")));
    assert_eq!(row["reward"], 1.0);
    let messages = shape(&row["messages"]);
    assert_eq!((messages.len(), messages[3].1.as_str()), (5, "29"));
    assert_eq!(messages[2].2, ["{\"code\":\"print(nth_prime(10))\"}"]);
}

#[test]
fn trajectories_of_swe_agent_are_listed_and_named_after_their_task() {
    let place = Place::new();
    for run in ["first", "second"] {
        place.with("formats/swe_agent.traj", &format!("runs/{run}/primes__tenth/primes__tenth.traj"));
    }
    std::fs::write(place.path("runs/preds.json"), "{}").expect("it is written");
    let done = place.run(&["--in", "runs", "--out", "p/"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("repairs")), (0, 2, 2), "{}", done.stderr);
    let inspected = place.run(&["inspect", "runs/first/primes__tenth/primes__tenth.traj", "--json"]).json();
    assert_eq!(inspected["recognised"][0], serde_json::json!(["group", "instance_id"]));
    let files = place.files();
    let data = files.iter().find(|f| f.starts_with("p/data")).expect("data");
    assert_eq!(json_rows(&place.rows(data))[0]["instance_id"], "primes__tenth");
}

#[test]
fn copied_context_is_never_trained_on_and_never_repaired() {
    let place = Place::new();
    place.with("formats/atif_continued.json", "trajectory.json");
    let done = place.run(&["--in", "trajectory.json", "--out", "p.parquet", "--call-marker-ids", "151657", "--pairs"]);
    // The failed call was copied: the run's only call of its own works.
    assert_eq!((done.code, done.count("repairs"), done.count("recovered")), (0, 0, 0), "{}", done.stderr);
    let row = &json_rows(&place.rows("p.parquet"))[0];
    let loss: Vec<_> = row["messages"].as_array().expect("messages").iter().map(|m| m["loss"].as_bool()).collect();
    let context = Some(false);
    assert_eq!(loss, [context, context, context, context, None, None, None]);
    assert_eq!(row["response_mask"], serde_json::json!([1, 1, 1, 0, 1, 1]), "its tokens stand in the prompt");
    // The same without the mark: the run is repaired.
    let text = std::fs::read_to_string(place.path("trajectory.json")).expect("it is there");
    std::fs::write(place.path("own.json"), text.replace("\"is_copied_context\": true", "\"llm_call_count\": 1"))
        .expect("written");
    let own = place.run(&["--in", "own.json", "--out", "o.parquet", "--tokens", "drop"]);
    assert_eq!((own.code, own.count("repairs")), (0, 1), "{}", own.stderr);
    assert!(json_rows(&place.rows("o.parquet"))[0]["messages"][0].get("loss").is_none());
}

#[test]
fn inspect_tells_what_a_form_loses_and_only_where_it_does() {
    let place = Place::new();
    let not_kept = |name: &str| place.run(&["inspect", name, "--json"]).json()["not_kept"].clone();
    for name in ["messages.jsonl", "verl.jsonl", "nemo_gym.jsonl", "traces.jsonl", "atif_continued.json"] {
        place.with(&format!("formats/{name}"), name);
        assert_eq!(not_kept(name), serde_json::json!({}), "{name}");
    }
    place.with("formats/swe_agent.traj", "swe_agent.traj");
    assert_eq!(not_kept("swe_agent.traj"), serde_json::json!({"history": 1, "trajectory[].query": 1}));
    let text = std::fs::read_to_string(place.path("traces.jsonl")).expect("it is there");
    std::fs::write(place.path("more.jsonl"), text.replacen("\"advantages\": null", "\"advantages\": [0.5]", 1) + &text)
        .expect("written");
    assert_eq!(not_kept("more.jsonl"), serde_json::json!({"traces[].nodes[].advantages": 1}));
    // A prompt that does not continue what came before it.
    let text = std::fs::read_to_string(place.path("atif_continued.json")).expect("it is there");
    let mut odd: Value = serde_json::from_str(&text).expect("JSON");
    odd["steps"][4]["metrics"]["prompt_token_ids"] = serde_json::json!([99]);
    std::fs::write(place.path("odd.json"), odd.to_string()).expect("written");
    assert_eq!(not_kept("odd.json"), serde_json::json!({"token ids": 1}));
    let said = place.run(&["inspect", "odd.json"]).stdout;
    assert!(said.contains("  not kept            token ids (1 row)\n"), "{said}");
}

#[test]
fn list_of_rollouts_in_one_document_is_read_and_a_broken_document_is_named() {
    let place = Place::new();
    let line = std::fs::read_to_string(fixture("formats/sharegpt.jsonl")).expect("it is there");
    std::fs::write(place.path("all.json"), format!("[{line},\n{line}]")).expect("it is written");
    let done = place.run(&["--in", "all.json", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("repairs")), (0, 2, 2), "{}", done.stderr);
    std::fs::write(place.path("cut.json"), &line[..40]).expect("it is written");
    let cut = place.run(&["--in", "cut.json", "--out", "q.parquet"]);
    assert_eq!(cut.code, 3);
    assert!(cut.stderr.contains("`cut.json` is not a JSON document: EOF"), "{}", cut.stderr);
    assert!(!place.path("q.parquet").exists());
}

#[test]
fn diff_finds_rollouts_without_names_behind_one_that_was_rejected() {
    let place = Place::new();
    let text = std::fs::read_to_string(fixture("formats/verl.jsonl")).expect("it is there");
    let line = text.lines().next().expect("a line");
    let other = line.replace("10th prime?", "11th prime?");
    let unlike = line.replace("\\n29\\n", "\\nNameError: name 'x' is not defined\\n").replace("10th", "12th");
    std::fs::write(place.path("verl.jsonl"), format!("{unlike}\n{line}\n{other}\n")).expect("it is written");
    let done = place.run(&["--in", "verl.jsonl", "--out", "v.parquet", "--unrecovered", "drop"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("rows_rejected")), (0, 2, 1), "{}", done.stderr);
    let all = place.run(&["diff", "verl.jsonl", "v.parquet"]);
    assert_eq!(all.code, 0, "{}", all.stderr);
    let names: Vec<&str> = all.stdout.lines().filter(|line| line.starts_with("rollout")).collect();
    assert_eq!(names, ["rollout verl:1", "rollout verl:2"]);
    for name in ["verl:2", "v:1"] {
        let one = place.run(&["diff", "verl.jsonl", "v.parquet", "--rollout", name]);
        assert!(one.stdout.starts_with("rollout verl:2\n@@ raw messages 2 to 5, purified 2 to 3\n"), "{}", one.stdout);
    }
    let none = place.run(&["diff", "verl.jsonl", "v.parquet", "--rollout", "verl:0"]);
    assert!(none.stderr.contains("`v.parquet`: it has no rollout `verl:0`"), "{}", none.stderr);
}

#[test]
fn arguments_within_a_text_of_calls_stay_byte_for_byte() {
    let place = Place::new();
    let arguments = r#"{ "a": 1.10,  "b":"\u00e9", "a": 12345678901234567890123}"#;
    let turn = |from: &str, value: &str| json!({"from": from, "value": value});
    let call = format!(r#"{{"name": "f", "arguments": {arguments}}}"#);
    let row = json!({"conversations": [turn("human", "q"), turn("function_call", &call), turn("observation", "1")]});
    std::fs::write(place.path("raw.jsonl"), row.to_string()).expect("written");
    assert_eq!(place.run(&["--in", "raw.jsonl", "--out", "p.parquet"]).code, 0);
    assert_eq!(shape(&json_rows(&place.rows("p.parquet"))[0]["messages"])[1].2, [arguments]);
}

#[test]
fn call_that_says_nothing_where_it_should_is_a_reject() {
    let place = Place::new();
    let row = |call: Value| json!({"messages": [{"role": "assistant", "tool_calls": [call]}]}).to_string();
    let good = row(json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}));
    let nameless = row(json!({"id": "d", "arguments": {"a": 1}}));
    std::fs::write(place.path("raw.jsonl"), format!("{good}\n{nameless}\n")).expect("written");
    let done = place.run(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out")), (0, 1), "{}", done.stderr);
    let reason = json_rows(&place.rows("p.rejects.parquet"))[0]["reject_reason"].clone();
    let expected = "no_function: row 1 of `raw.jsonl`: call 0 of message 0 of column `messages` has no `function`, expected its name and arguments there";
    assert_eq!(reason, expected);
}

#[test]
fn lists_of_a_fixed_size_become_lists_whose_length_a_repair_may_change() {
    let place = Place::new();
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let message = DataType::Struct(vec![text("role"), text("content")].into());
    let item = Arc::new(Field::new("element", message, true));
    let said = |role: &str, content: &str| json!({"role": role, "content": content});
    let call =
        |code: &str| format!("<tool_call>\n{{\"name\": \"f\", \"arguments\": {{\"x\": \"{code}\"}}}}\n</tool_call>");
    let messages = json!([
        said("assistant", &call("a")),
        said("tool", "NameError: name 'a' is not defined"),
        said("assistant", &call("b")),
        said("tool", "1")
    ]);
    let fields = vec![Field::new("messages", DataType::FixedSizeList(item, 4), true)];
    parquet(&place, "raw.parquet", fields, &[json!({"messages": messages})]);
    let done = place.run(&["--in", "raw.parquet", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("repairs")), (0, 1), "{}", done.stderr);
    let expected = [("assistant".to_owned(), call("b"), vec![]), ("tool".to_owned(), "1".to_owned(), vec![])];
    assert_eq!(shape(&json_rows(&place.rows("p.parquet"))[0]["messages"]), expected);
}

/// Reasons of all rejects.
fn reasons(place: &Place, name: &str) -> Vec<String> {
    let rows = json_rows(&place.rows(name));
    rows.iter().map(|row| row["reject_reason"].as_str().expect("a reason").to_owned()).collect()
}

/// What each row of a file says of the training on its last message.
fn losses(place: &Place, name: &str) -> Vec<Option<bool>> {
    let last = |row: &Value| row["messages"].as_array().and_then(|all| all.last()?["loss"].as_bool());
    json_rows(&place.rows(name)).iter().map(last).collect()
}

#[test]
fn weights_of_messages_are_read_row_by_row_whatever_the_others_are() {
    let place = Place::new();
    let row = |weight: Value| json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": weight}]});
    let weights = [json!(0), json!(null), json!(0.5), json!("no"), json!(false), json!(1), json!([0])];
    std::fs::write(place.path("raw.jsonl"), weights.map(|w| format!("{}\n", row(w))).concat()).expect("written");
    let done = place.run(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("rows_rejected")), (0, 5, 2), "{}", done.stderr);
    assert_eq!(losses(&place, "p.parquet"), [Some(false), None, Some(true), Some(false), Some(true)]);
    let kept = json_rows(&place.rows("p.parquet")).into_iter().map(|row| row["messages"][1]["other_fields"].clone());
    assert_eq!(
        kept.collect::<Vec<_>>(),
        [json!(null), json!(null), json!(r#"{"weight":0.5}"#), json!(null), json!(null)]
    );
    let odd = |row: u64, kind: &str| {
        format!(
            "wrong_format: row {row} of `raw.jsonl`: line {} is not a row of the format `messages`: message 1 of `messages`: `weight` is {kind}, expected a number or a flag",
            row + 1
        )
    };
    assert_eq!(reasons(&place, "p.rejects.parquet"), [odd(3, "text"), odd(6, "a list")]);
}

#[test]
fn weights_in_parquet_are_read_in_every_type() {
    let place = Place::new();
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    for (name, data_type) in [
        ("weight", DataType::Int64),
        ("weight", DataType::UInt8),
        ("weight", DataType::Float64),
        ("weight", DataType::Boolean),
        ("loss", DataType::Int32),
    ] {
        let is_flag = data_type == DataType::Boolean;
        let own = Field::new(name, data_type.clone(), true);
        let fields = vec![Field::new("messages", list_of(vec![text("role"), text("content"), own]), true)];
        let row = |weight: Value| json!({"messages": [{"role": "assistant", "content": "a", name: weight}]});
        let values = if is_flag { [json!(false), json!(true)] } else { [json!(0), json!(1)] };
        let [no, yes] = values.map(row);
        parquet(&place, "raw.parquet", fields, &[no, row(json!(null)), yes]);
        let done = place.run(&["--in", "raw.parquet", "--out", "p.parquet"]);
        assert_eq!((done.code, done.count("rows_out")), (0, 3), "{}", done.stderr);
        assert_eq!(losses(&place, "p.parquet"), [Some(false), None, Some(true)], "{name}: {data_type}");
    }
}

#[test]
fn row_with_an_odd_reward_is_rejected_alone() {
    let place = Place::new();
    let row = |reward: Value| json!({"messages": [{"role": "user", "content": "q"}], "reward": reward}).to_string();
    let rewards = [json!("N/A"), json!(1), json!(true), json!(null), json!({"a": 1}), json!(0.5)];
    std::fs::write(place.path("raw.jsonl"), rewards.map(|reward| row(reward) + "\n").concat()).expect("written");
    let done = place.run(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("rows_rejected")), (0, 3, 3), "{}", done.stderr);
    let found = json_rows(&place.rows("p.parquet"));
    let found: Vec<_> = found.iter().map(|row| row.get("reward").and_then(Value::as_f64)).collect();
    assert_eq!(found, [Some(1.0), None, Some(0.5)]);
    let odd = |row: u64, kind: &str| {
        format!(
            "no_fit: row {row} of `raw.jsonl`: line {} does not fit the columns of the file: `reward` is {kind}, expected a number",
            row + 1
        )
    };
    assert_eq!(reasons(&place, "p.rejects.parquet"), [odd(0, "text"), odd(2, "a flag"), odd(4, "an object")]);
    let scores = [
        r#"{"input": "user\nq\nassistant\n", "output": "a", "score": {"acc": 1}}"#,
        r#"{"input": "user\nq\nassistant\n", "output": "a", "score": 1}"#,
    ];
    std::fs::write(place.path("verl.jsonl"), scores.join("\n")).expect("written");
    let done = place.run(&["--in", "verl.jsonl", "--out", "v.parquet"]);
    assert_eq!((done.count("rows_out"), &json_rows(&place.rows("v.parquet"))[0]["score"]), (1, &json!(1)));
}

#[test]
fn score_of_verl_is_the_reward_whatever_its_extras_are_called() {
    let place = Place::new();
    let row = |score: u8, extra: Value| json!({"input": "user\nq\nassistant\n", "output": "a", "score": score, "reward": extra});
    let rows = [row(1, json!(0.25)), row(0, json!(0.5))];
    std::fs::write(place.path("raw.jsonl"), rows.clone().map(|row| format!("{row}\n")).concat()).expect("written");
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let fields = vec![text("input"), text("output"), number("score"), number("reward")];
    parquet(&place, "rows.parquet", fields, &rows);
    for raw in ["raw.jsonl", "rows.parquet"] {
        assert_eq!(place.run(&["--in", raw, "--out", "p.parquet"]).code, 0);
        let extras = json_rows(&place.rows("p.parquet")).iter().map(|row| row["reward"].as_f64()).collect::<Vec<_>>();
        assert_eq!(extras, [Some(0.25), Some(0.5)], "{raw}");
        let reward = |args: &[&str]| {
            let found = place.run(&[&["inspect", "--json"], args].concat()).json()["recognised"].clone();
            let found = found.as_array().expect("columns").iter().find(|pair| pair[0] == "reward").cloned();
            found.expect("a reward")[1].clone()
        };
        // What was purified tells it too.
        assert_eq!((reward(&[raw]), reward(&["p.parquet"])), (json!("score"), json!("score")), "{raw}");
        assert_eq!(reward(&[raw, "--reward-column", "reward"]), "reward");
    }
    // An extra needs no number in each row.
    let odd = [row(1, json!(0.25)), row(0, json!("none"))].map(|row| format!("{row}\n")).concat();
    std::fs::write(place.path("odd.jsonl"), odd).expect("written");
    let done = place.run(&["--in", "odd.jsonl", "--out", "o.parquet"]);
    assert_eq!((done.code, done.count("rows_out")), (0, 2), "{}", done.stderr);
}

#[test]
fn column_without_a_number_in_any_row_is_no_reward_and_passes_through() {
    let place = Place::new();
    let row = |score: &str| json!({"messages": [{"role": "user", "content": "q"}], "score": score}).to_string();
    std::fs::write(place.path("raw.jsonl"), ["good", "bad"].map(|score| row(score) + "\n").concat()).expect("written");
    let done = place.run(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out")), (0, 2), "{}", done.stderr);
    assert_eq!(json_rows(&place.rows("p.parquet"))[1]["score"], "bad");
}

#[test]
fn episodes_without_a_rollout_are_rejects_and_counted() {
    let place = Place::new();
    let text = std::fs::read_to_string(fixture("formats/traces.jsonl")).expect("it is there");
    let empty = r#"{"id": "e", "traces": []}"#;
    let bare = r#"{"id": "e", "traces": [{"version": 1, "id": "t", "nodes": []}]}"#;
    std::fs::write(place.path("raw.jsonl"), [text.trim_end(), empty, bare].join("\n")).expect("written");
    let done = place.run(&["--in", "raw.jsonl", "--out", "p.parquet", "--tokens", "drop"]);
    let rows = text.lines().count() as u64;
    assert_eq!((done.count("rows_in"), done.count("rows_rejected")), (rows + 2, 2), "{}", done.stderr);
    let inspected = place.run(&["inspect", "raw.jsonl", "--tokens", "drop", "--json"]).json();
    assert_eq!((&inspected["rows"], &inspected["unreadable"]["wrong_format"]), (&json!(rows + 2), &json!(2)));
}

#[test]
fn trial_whose_result_cannot_be_read_is_refused_and_not_left_without_a_reward() {
    for (text, why) in [("{bad", "key must be a string at line 1 column 2"), ("[]", "it is another kind of value")] {
        let place = Place::new();
        place.with("formats/atif/agent/trajectory.json", "trial/agent/trajectory.json");
        std::fs::write(place.path("trial/result.json"), text).expect("written");
        let done = place.run(&["--in", "trial", "--out", "p.parquet"]);
        let expected = format!("error: `trial/result.json` is not a JSON object with a trial's reward: {why}\n");
        assert_eq!(done.code, 3);
        assert!(done.stderr.starts_with(&expected), "{}", done.stderr);
    }
}

#[test]
fn row_without_tokens_stands_among_others_that_have_some() {
    let place = Place::new();
    let item = |ids: [i32; 2], generated: i32| {
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}],
            "prompt_token_ids": ids, "generation_token_ids": [generated], "generation_log_probs": [-0.5]})
    };
    let row = |second: [i32; 2]| {
        json!({"responses_create_params": {"input": [{"role": "user", "content": "q"}]}, "reward": 1.0,
            "response": {"output": [item([1, 2], 3), item(second, 4)]}})
        .to_string()
    };
    let with_tokens = json!({"responses_create_params": {"input": [{"role": "user", "content": "q"}]}, "reward": 1.0,
        "response": {"output": [item([1, 2], 3)]}});
    std::fs::write(place.path("two.jsonl"), format!("{}\n{with_tokens}\n", row([9, 9]))).expect("written");
    let done = place.run(&["--in", "two.jsonl", "--out", "p.parquet", "--call-marker-ids", "7"]);
    assert_eq!((done.code, done.count("rows_out")), (0, 2), "{}", done.stderr);
    let found = json_rows(&place.rows("p.parquet"));
    assert_eq!((&found[0]["response_ids"], &found[1]["response_ids"]), (&json!(null), &json!([3])));
    let inspected = place.run(&["inspect", "two.jsonl", "--json"]).json();
    assert_eq!((&inspected["rows"], &inspected["unreadable"]), (&json!(2), &json!({})), "{inspected}");
}

#[test]
fn what_python_writes_and_json_does_not_know_is_read_and_counted() {
    let place = Place::new();
    let row = |field: &str| format!("{{\"messages\": [{{\"role\": \"user\", \"content\": \"q\"}}], {field}}}\n");
    let lines = [r#""reward": 1.0"#, r#""reward": NaN"#, r#""reward": -Infinity"#, r#""note": "\ud800""#].map(row);
    std::fs::write(place.path("raw.jsonl"), lines.concat()).expect("written");
    let done = place.run(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out")), (0, 4), "{}", done.stderr);
    let rows = json_rows(&place.rows("p.parquet"));
    assert_eq!((&rows[0]["reward"], &rows[3]["note"]), (&json!(1.0), &json!("\u{fffd}")));
    assert!(rows[1].get("reward").is_none_or(Value::is_null) && rows[2].get("reward").is_none_or(Value::is_null));
    let told = place.run(&["inspect", "raw.jsonl"]).stdout;
    assert!(told.contains("half surrogate pairs (read as U+FFFD) (1 row)"), "{told}");
    assert!(told.contains("NaN and Infinity (read as null) (2 rows)"), "{told}");
    std::fs::write(place.path("packed.jsonl"), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]).expect("written");
    let done = place.run(&["--in", "packed.jsonl"]);
    assert_eq!(done.code, 3);
    assert!(done.stderr.starts_with("error: `packed.jsonl` can't be unpacked (gzip): "), "{}", done.stderr);
}

#[test]
fn record_of_a_session_that_is_cut_off_is_a_reject_and_the_rest_is_read() {
    let place = Place::new();
    let text = std::fs::read_to_string(fixture("formats/claude_code.jsonl")).expect("it is there");
    std::fs::write(place.path("cut.jsonl"), &text[..text.len() - 40]).expect("written");
    let done = place.run(&["--in", "cut.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("rows_rejected")), (0, 2, 1), "{}", done.stderr);
    let last = text.lines().count();
    let expected =
        format!("no_json: row {} of `cut.jsonl`: line {last} is not a JSON object: EOF while parsing", last - 1);
    let told = reasons(&place, "p.rejects.parquet");
    assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:?}");
    assert_eq!(place.run(&["--in", "cut.jsonl", "--out", "s.parquet", "--strict"]).code, 1);
}
