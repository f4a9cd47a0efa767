//! `purify export` and `--to`: what trainers read. `scripts/interop.sh` asks the trainers themselves.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type};
use serde_json::{Value, json};

use crate::harness::{Place, json_rows};

fn purified(fixture: &str, args: &[&str]) -> Place {
    let place = Place::new();
    place.with(&format!("rollouts/{fixture}.parquet"), "raw.parquet");
    let done = place.run(&[&["--in", "raw.parquet", "--out", "p.parquet"], args].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    place
}

/// The JSON values of a list column in one row.
fn values(batch: &RecordBatch, column: &str, row: usize) -> Vec<Value> {
    texts(batch, column, row).iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
}

fn texts(batch: &RecordBatch, column: &str, row: usize) -> Vec<String> {
    let list = batch.column_by_name(column).unwrap_or_else(|| panic!("no {column}")).as_list::<i32>().value(row);
    let list = list.as_string::<i32>();
    (0..list.len()).map(|k| list.value(k).to_owned()).collect()
}

fn row_of(batch: &RecordBatch, id: &str) -> usize {
    let ids = batch.column_by_name("rollout_id").expect("ids").as_string::<i32>();
    (0..ids.len()).find(|&k| ids.value(k) == id).unwrap_or_else(|| panic!("no {id}"))
}

#[test]
fn each_target_has_the_columns_that_its_trainer_names() {
    let place = purified("all", &["--pairs"]);
    let expected = [
        ("trl-sft", "rollout_id group_id reward messages tools"),
        ("trl-dpo", "rollout_id prompt chosen rejected tools"),
        ("trl-kto", "rollout_id prompt completion label tools"),
        ("verl-sft", "rollout_id group_id reward messages"),
    ];
    for (target, columns) in expected {
        let done = place.run(&["export", "p.parquet", "--to", target]);
        assert_eq!(done.code, 0, "{target}: {}", done.stderr);
        let rows = place.rows(&format!("p.{target}.parquet"));
        let names: Vec<&str> = rows.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names.join(" "), columns, "{target}");
        let DataType::List(item) = rows.schema_ref().field(names.len() - 1).data_type() else { panic!("a list") };
        let is_json = item.metadata().get("ARROW:extension:name").map(String::as_str) == Some("arrow.json");
        assert_eq!(is_json, target != "verl-sft", "verl decodes no JSON columns");
    }
}

#[test]
fn arguments_become_objects_with_the_bytes_that_the_model_wrote() {
    let place = Place::new();
    let call =
        |arguments: &str| json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let row = json!({"rollout_id": "r", "messages": [{"role": "user", "content": "q"}, {"role": "assistant",
        "content": null, "tool_calls": [call("{\"b\":  1.50, \"a\": \"\\u00e9\"}"), call("{\"a\": ")]}]});
    std::fs::write(place.path("raw.jsonl"), row.to_string()).expect("written");
    assert_eq!(place.run(&["export", "raw.jsonl", "--to", "trl-sft"]).code, 0);
    let rows = place.rows("raw.trl-sft.parquet");
    let text = &texts(&rows, "messages", 0)[1];
    assert!(text.contains("\"arguments\":{\"b\":  1.50, \"a\": \"\\u00e9\"}}"), "{text}");
    assert!(text.contains("\"arguments\":\"{\\\"a\\\": \"}"), "what is not an object stays text: {text}");
    assert_eq!(place.run(&["export", "raw.jsonl", "--to", "verl-sft"]).code, 0);
    let said = json_rows(&place.rows("raw.verl-sft.parquet"))[0]["messages"][1]["content"].clone();
    let expected = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\":  1.50, \"a\": \"\\u00e9\"}}\n</tool_call>\n\
                    <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": }\n</tool_call>";
    assert_eq!(said, expected);
}

#[test]
fn pairs_are_single_messages_with_the_purified_context_before_them() {
    let place = purified("all", &["--pairs"]);
    let done = place.run(&["export", "p.parquet", "--to", "trl-dpo"]);
    assert_eq!((done.code, done.json()["counts"]["trl-dpo"]["pairs_in"].as_u64()), (0, Some(8)), "{}", done.stderr);
    let rows = place.rows("p.trl-dpo.parquet");
    for row in 0..rows.num_rows() {
        assert!(!values(&rows, "prompt", row).is_empty());
        for side in ["chosen", "rejected"] {
            let messages = values(&rows, side, row);
            assert_eq!((messages.len(), &messages[0]["role"]), (1, &json!("assistant")));
        }
    }
    let named = place.run(&["export", "p.pairs.parquet", "--to", "trl-dpo", "--out", "named.parquet"]);
    assert_eq!(named.code, 0, "{}", named.stderr);
    assert_eq!(place.bytes("named.parquet"), place.bytes("p.trl-dpo.parquet"), "found beside or given is the same");
}

#[test]
fn both_sides_of_each_pair_are_completions_and_nothing_else_is() {
    let place = purified("all", &["--pairs"]);
    let done = place.run(&["export", "p.parquet", "--to", "trl-kto"]);
    let pairs = place.rows("p.pairs.parquet").num_rows();
    assert_eq!(done.json()["counts"]["trl-kto"]["rows_out"], json!(2 * pairs), "{}", done.stdout);
    let rows = place.rows("p.trl-kto.parquet");
    let labels = rows.column_by_name("label").expect("labels").as_boolean();
    assert_eq!(labels.true_count(), pairs);
    for row in 0..rows.num_rows() {
        assert_eq!(values(&rows, "completion", row)[0]["role"], "assistant");
    }
}

#[test]
fn sides_of_pairs_that_are_not_to_be_trained_on_are_rejects() {
    let place = Place::new();
    let side = |loss: bool| json!([{"role": "assistant", "content": "a", "loss": loss}]);
    let pair = |chosen: bool, rejected: bool| json!({"prompt": [{"role": "user", "content": "q", "loss": false}], "chosen": side(chosen), "rejected": side(rejected)});
    let lines = [pair(true, true), pair(false, true), pair(true, false)].map(|line| format!("{line}\n"));
    std::fs::write(place.path("pairs.jsonl"), lines.concat()).expect("written");
    for (target, rows) in [("trl-kto", 2), ("trl-dpo", 1)] {
        let done = place.run(&["export", "pairs.jsonl", "--to", target]);
        assert_eq!((done.code, &done.json()["counts"][target]["rows_out"]), (0, &json!(rows)), "{}", done.stderr);
        let rejects = json_rows(&place.rows(&format!("pairs.{target}.rejects.parquet")));
        let reasons: Vec<_> = rejects.iter().map(|row| row["reject_reason"].as_str().expect("a reason")).collect();
        let expected = ["chosen", "rejected"].into_iter().zip(1..).map(|(part, row)| {
            format!("untrained_message: row {row} of `pairs.jsonl`: `{part}` is not to be trained on (`loss` is false), which `{target}` can't say")
        });
        assert_eq!(reasons, expected.collect::<Vec<_>>());
    }
}

#[test]
fn without_pairs_the_error_says_how_to_get_them() {
    let place = purified("all", &[]);
    let done = place.run(&["export", "p.parquet", "--to", "trl-dpo"]);
    let expected = "error: `p.parquet`: it has no pairs beside it, which `trl-dpo` is made of\n\n\
                    hint: purify the raw file with --pairs, or give the file of pairs\n";
    assert_eq!((done.code, done.stderr.as_str()), (3, expected));
    place.run(&["--in", "raw.parquet", "--out", "p.parquet", "--pairs"]);
    let done = place.run(&["export", "p.pairs.parquet", "--to", "openai"]);
    let expected = "error: `p.pairs.parquet`: it holds pairs, expected rollouts for `openai`\n\n\
                    hint: give the purified file; pairs go to trl-dpo and trl-kto\n";
    assert_eq!((done.code, done.stderr.as_str()), (3, expected));
}

#[test]
fn tokens_go_out_as_ids_and_labels_unless_they_are_dropped() {
    let place = purified("tokens", &["--call-marker-ids", "258"]);
    let done = place.run(&["export", "p.parquet", "--to", "trl-sft"]);
    assert_eq!((done.code, &done.json()["as_tokens"]), (0, &json!(true)), "{}", done.stderr);
    let (rows, native) = (place.rows("p.trl-sft.parquet"), place.rows("p.parquet"));
    let ints = |batch: &RecordBatch, name: &str, row: usize| {
        batch
            .column_by_name(name)
            .expect(name)
            .as_list::<i32>()
            .value(row)
            .as_primitive::<Int32Type>()
            .values()
            .to_vec()
    };
    for row in 0..rows.num_rows() {
        let (ids, labels) = (ints(&rows, "input_ids", row), ints(&rows, "labels", row));
        let (prompt, response) = (ints(&native, "prompt_ids", row), ints(&native, "response_ids", row));
        assert_eq!(ids, [prompt.clone(), response].concat());
        let mask = native.column_by_name("response_mask").expect("mask").as_list::<i32>().value(row);
        let mask = arrow::compute::cast(&mask, &DataType::Int32).expect("numbers");
        let learnt = mask.as_primitive::<Int32Type>().values().iter().map(|&m| m != 0);
        let expected: Vec<bool> = prompt.iter().map(|_| false).chain(learnt).collect();
        assert_eq!(labels.iter().map(|&l| l != -100).collect::<Vec<_>>(), expected);
        assert!(labels.iter().zip(&ids).all(|(label, id)| *label == -100 || label == id));
    }
    let done = place.run(&["export", "p.parquet", "--to", "trl-sft", "--tokens", "drop", "--out", "m.parquet"]);
    assert_eq!((done.code, &done.json()["as_tokens"]), (0, &json!(false)));
    assert!(place.rows("m.parquet").column_by_name("messages").is_some());
}

#[test]
fn advantages_go_along_where_the_form_can_hold_them() {
    let args = ["--call-marker-ids", "258", "--recipe", "sign-gate"];
    let place = purified("tokens", &args);
    let exported = |args: &[&str]| {
        let done = place.run(&[&["export", "p.parquet", "--out", "e.parquet"], args].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        place.rows("e.parquet")
    };
    let names = |batch: &RecordBatch| {
        batch.schema_ref().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>().join(" ")
    };
    let (native, tokens) = (place.rows("p.parquet"), exported(&["--to", "trl-sft"]));
    assert_eq!(names(&tokens), "rollout_id group_id reward advantage input_ids labels token_advantages");
    let numbers = |batch: &RecordBatch, row: usize| {
        let column = batch.column_by_name("token_advantages").expect("it is there");
        column.as_list::<i32>().value(row).as_primitive::<Float32Type>().values().to_vec()
    };
    let mut signs = [0, 0];
    for row in 0..tokens.num_rows() {
        let (found, own) = (numbers(&tokens, row), numbers(&native, row));
        let prompt = found.len() - own.len();
        assert_eq!(tokens.column_by_name("input_ids").expect("ids").as_list::<i32>().value(row).len(), found.len());
        assert!(found[..prompt].iter().all(|value| *value == 0.0) && found[prompt..] == own);
        signs[0] += own.iter().filter(|value| **value < 0.0).count();
        signs[1] += own.iter().filter(|value| **value > 0.0).count();
    }
    assert!(signs.iter().all(|count| *count > 0), "{signs:?}");
    assert_eq!(tokens.column_by_name("advantage"), native.column_by_name("advantage"));
    let dropped = ["--tokens", "drop", "--to"];
    let messages = exported(&[&dropped[..], &["trl-sft"]].concat());
    assert_eq!(names(&messages), "rollout_id group_id reward advantage messages tools");
    let verl = exported(&[&dropped[..], &["verl-sft"]].concat());
    assert_eq!(names(&verl), "rollout_id group_id reward advantage messages");
    assert_eq!(verl.column_by_name("advantage"), native.column_by_name("advantage"));
}

#[test]
fn row_that_a_target_can_not_hold_is_rejected_whole() {
    let place = Place::new();
    let lines = [
        json!({"rollout_id": "good", "messages": [{"role": "assistant", "content": "a", "loss": true}]}),
        json!({"rollout_id": "masked", "messages": [{"role": "assistant", "content": "a", "loss": false}]}),
        json!({"rollout_id": "empty", "messages": []}),
        json!({"rollout_id": "tools", "messages": [{"role": "assistant", "content": "a"}], "tools": "{}"}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(place.path("raw.jsonl"), text + "no JSON\n").expect("written");
    let done = place.run(&["export", "raw.jsonl", "--to", "trl-sft", "--strict"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert_eq!(done.json()["counts"]["trl-sft"]["rows_out"], 1);
    let found: Vec<(Value, Value)> = json_rows(&place.rows("raw.trl-sft.rejects.parquet"))
        .into_iter()
        .map(|r| (r["reject_reason"].clone(), r["content"].clone()))
        .collect();
    let reasons: Vec<&str> = found.iter().map(|r| r.0.as_str().expect("text")).collect();
    let expected = [
        "untrained_message: row 1 of `raw.jsonl`: message 0 is not to be trained on (`loss` is false), which `trl-sft` can't say without tokens",
        "empty: row 2 of `raw.jsonl`: messages is empty, expected at least one message",
        "no_tools: row 3 of `raw.jsonl`: `tools` is an object, expected a list",
        "no_json: row 4 of `raw.jsonl`: line 5 is not a JSON object: expected ident at column 2",
    ];
    assert_eq!(reasons, expected);
    let content: Value = serde_json::from_str(found[0].1.as_str().expect("text")).expect("JSON");
    assert_eq!(content["rollout_id"], "masked");
    let weighed = place.run(&["export", "raw.jsonl", "--to", "openai"]);
    assert_eq!(weighed.json()["counts"]["openai"]["rejects"], json!({"empty": 1, "no_json": 1, "no_tools": 1}));
    let lines = String::from_utf8(place.bytes("raw.openai.jsonl")).expect("text");
    assert_eq!(lines.lines().nth(1), Some(r#"{"messages":[{"role":"assistant","content":"a","weight":0}]}"#));
}

#[test]
fn call_that_a_target_can_not_say_is_never_filled_in() {
    let place = Place::new();
    let row = |id: &str, function: Value| {
        json!({"rollout_id": id, "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "tool_calls": [{"id": "c", "type": "function", "function": function}]},
        ]})
    };
    let lines = [
        row("whole", json!({"name": "f", "arguments": ""})),
        row("bare", json!({"name": "f"})),
        row("nameless", json!({"arguments": "{}"})),
    ];
    std::fs::write(place.path("raw.jsonl"), lines.map(|line| format!("{line}\n")).concat()).expect("written");
    let reasons = |target: &str| {
        let done = place.run(&["export", "raw.jsonl", "--to", target]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        json_rows(&place.rows(&format!("raw.{target}.rejects.parquet")))
            .into_iter()
            .map(|r| r["reject_reason"].clone())
            .collect::<Vec<_>>()
    };
    let lacks = |row: u64, part: &str, target: &str| {
        json!(format!(
            "incomplete_call: row {row} of `raw.jsonl`: a call in message 1 has no {part}, which `{target}` can't say"
        ))
    };
    for target in ["trl-sft", "verl-sft"] {
        assert_eq!(reasons(target), [lacks(2, "name", target)]);
    }
    assert_eq!(reasons("openai"), [lacks(1, "arguments", "openai"), lacks(2, "name", "openai")]);
    let messages =
        |file: &str| json_rows(&place.rows(file)).into_iter().map(|r| r["messages"][1].clone()).collect::<Vec<_>>();
    let said: Vec<Value> = messages("raw.verl-sft.parquet").into_iter().map(|m| m["content"].clone()).collect();
    let call =
        |arguments: &str| format!("a\n<tool_call>\n{{\"name\": \"f\", \"arguments\": {arguments}}}\n</tool_call>");
    assert_eq!(said, [call(""), call("null")], "as Qwen's template renders them");
}

#[test]
fn card_does_not_take_the_counts_of_one_shard_for_those_of_all() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    for shard in ["1/2", "2/2"] {
        assert_eq!(place.run(&["--in", "raw.parquet", "--out", "s/", "--shard", shard]).code, 0);
    }
    let card = |data: &str, out: &str| {
        let done = place.run(&["export", data, "--to", "folder", "--out", out]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        String::from_utf8(place.bytes(&format!("{out}README.md"))).expect("text")
    };
    assert!(!card("s/data", "of_shards/").contains("| rollouts read |"));
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "whole/"]).code, 0);
    assert!(card("whole/data", "of_whole/").contains("| rollouts read |"));
}

#[test]
fn main_job_exports_on_the_way() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = place.run(&["--in", "raw.parquet", "--to", "trl-dpo"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.json()["exported"]["counts"]["trl-dpo"]["rows_out"], 8);
    place.run(&["--in", "raw.parquet", "--out", "p.parquet", "--pairs"]);
    place.run(&["export", "p.pairs.parquet", "--to", "trl-dpo", "--out", "apart.parquet"]);
    assert_eq!(place.bytes("raw.purified.trl-dpo.parquet"), place.bytes("apart.parquet"));
    let sharded = place.run(&["--in", "raw.parquet", "--out", "s/", "--to", "trl-sft", "--shard", "1/2"]);
    let expected = "error: --to exports all rows, and --shard writes a part of them\n\n\
                    hint: run `purify export` when all parts are there\n";
    assert_eq!((sharded.code, sharded.stderr.as_str()), (2, expected));
    let file = place.run(&["--in", "raw.parquet", "--out", "f.parquet", "--to", "folder"]);
    assert_eq!((file.code, file.stderr.as_str()), (2, "error: --to folder needs --out FOLDER\n"));
    assert!(!place.path("s").exists() && !place.path("f.parquet").exists(), "refused before anything was written");
}

#[test]
fn folder_has_a_configuration_for_each_use_and_is_read_as_its_rollouts_alone() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = place.run(&["--in", "raw.parquet", "--out", "hub/", "--to", "folder"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let part = "train-00000-of-00001.parquet";
    // One of the rollouts has no message, which no trainer takes.
    let counts = [("data", 25), ("sft", 24), ("dpo", 8), ("audit", 14)];
    for (name, rows) in counts {
        assert_eq!(place.rows(&format!("hub/{name}/{part}")).num_rows(), rows, "{name}");
    }
    let card = String::from_utf8(place.bytes("hub/README.md")).expect("text");
    for config in ["rl", "sft", "dpo", "audit"] {
        assert!(card.contains(&format!("- config_name: {config}\n")), "{card}");
    }
    assert!(
        card.contains("| repairs that replaced the call alone | 11 |") && card.contains("- `raw.parquet` (25 rows,")
    );
    let again = place.run(&["--in", "hub", "--out", "again.parquet"]);
    assert_eq!((again.code, again.count("rows_in")), (0, 25), "{}", again.stderr);
    let apart = place.run(&["export", "hub/data", "--to", "folder", "--out", "apart", "--license", "apache-2.0"]);
    assert_eq!(apart.code, 0, "{}", apart.stderr);
    for (name, _) in counts {
        assert_eq!(place.bytes(&format!("apart/{name}/{part}")), place.bytes(&format!("hub/{name}/{part}")), "{name}");
    }
    assert!(
        String::from_utf8(place.bytes("apart/README.md")).expect("text").starts_with("---\nlicense: \"apache-2.0\"\n")
    );
}

#[test]
fn repairs_stand_in_the_audit_as_they_were_recorded() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    place.run(&["--in", "raw.parquet", "--out", "hub/", "--to", "folder"]);
    let audit = json_rows(&place.rows("hub/audit/train-00000-of-00001.parquet"));
    let native = json_rows(&place.rows("hub/data/train-00000-of-00001.parquet"));
    let mut expected = Vec::new();
    for row in native {
        for (k, repair) in row["purification"]["repairs"].as_array().into_iter().flatten().enumerate() {
            let mut repair = repair.clone();
            repair["rollout_id"] = row["rollout_id"].clone();
            repair["group_id"] = row["group_id"].clone();
            repair["repair"] = json!(k);
            expected.push(repair);
        }
    }
    assert_eq!(audit, expected);
}

#[test]
fn several_inputs_go_into_one_file_in_their_order() {
    let place = Place::new();
    place.with("rollouts/two_runs.parquet", "a.parquet");
    place.with("rollouts/all.parquet", "b.parquet");
    let refused = place.run(&["export", "a.parquet", "b.parquet", "--to", "openai"]);
    assert_eq!((refused.code, refused.stderr.lines().next()), (2, Some("error: 2 inputs need --out FILE")));
    let done = place.run(&["export", "a.parquet", "b.parquet", "--to", "openai", "--out", "all.jsonl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    for name in ["a", "b"] {
        place.run(&["export", &format!("{name}.parquet"), "--to", "openai"]);
    }
    assert_eq!(place.bytes("all.jsonl"), [place.bytes("a.openai.jsonl"), place.bytes("b.openai.jsonl")].concat());
}

#[test]
fn bytes_do_not_depend_on_threads_and_inputs_are_never_overwritten() {
    let place = purified("all", &["--pairs"]);
    for target in ["trl-sft", "trl-dpo", "trl-kto", "verl-sft", "openai"] {
        for threads in ["1", "4"] {
            let args = ["export", "p.parquet", "--to", target, "--threads", threads, "--out", threads];
            assert_eq!(place.run(&args).code, 0);
        }
        assert_eq!(place.bytes("1"), place.bytes("4"), "{target}");
    }
    let before = place.bytes("p.parquet");
    let done = place.run(&["export", "p.parquet", "--to", "trl-sft", "--out", "p.parquet"]);
    assert_eq!((done.code, done.stderr.lines().next()), (4, Some("error: `p.parquet` is the input itself")));
    assert_eq!(place.bytes("p.parquet"), before);
}

#[test]
fn reference_log_probs_of_pairs_are_passed_on() {
    let place = purified("all", &["--pairs"]);
    let pairs = place.rows("p.pairs.parquet");
    let numbers: Vec<f64> = (0..pairs.num_rows()).map(|k| -0.5 * k as f64).collect();
    let mut fields = pairs.schema_ref().fields().to_vec();
    let mut columns = pairs.columns().to_vec();
    for name in ["ref_chosen_logps", "ref_rejected_logps"] {
        fields.push(std::sync::Arc::new(arrow::datatypes::Field::new(name, DataType::Float64, true)));
        columns.push(std::sync::Arc::new(arrow::array::Float64Array::from(numbers.clone())));
    }
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
    crate::harness::write(&place.path("scored.parquet"), &RecordBatch::try_new(schema, columns).expect("a batch"), 5);
    let done = place.run(&["export", "scored.parquet", "--to", "trl-dpo"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let rows = place.rows("scored.trl-dpo.parquet");
    let found = rows.column_by_name("ref_rejected_logps").expect("log-probs").as_primitive::<Float64Type>();
    assert_eq!(found.values().to_vec(), numbers);
    assert_eq!(row_of(&rows, "one_failure_shallow"), row_of(&pairs, "one_failure_shallow"));
}

#[test]
fn rollouts_of_different_columns_are_configurations_of_their_own() {
    let place = Place::new();
    for name in ["one_failure_shallow", "two_runs"] {
        place.with(&format!("rollouts/{name}.jsonl"), &format!("runs/{name}.jsonl"));
    }
    let more = json!({"rollout_id": "x", "extra": 1, "messages": [{"role": "user", "content": "q"}]});
    std::fs::write(place.path("runs/z.jsonl"), more.to_string()).expect("written");
    let done = place.run(&["--in", "runs", "--out", "hub/", "--to", "folder"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let card = String::from_utf8(place.bytes("hub/README.md")).expect("text");
    for part in ["- config_name: rl\n", "- config_name: rl_2\n", "    - data/train-00002-of-00003.parquet\n"] {
        assert!(card.contains(part), "{card}");
    }
    assert!(!card.contains("train-*"), "a pattern would take in what another run has left");
}

#[test]
fn folder_refuses_what_is_not_of_this_run_or_not_purified() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "in/a.parquet");
    place.with("rollouts/two_runs.parquet", "in/b.parquet");
    assert_eq!(place.run(&["--in", "in", "--out", "hub/", "--to", "folder"]).code, 0);
    let other = place.run(&["--in", "in/a.parquet", "--out", "hub/", "--to", "folder"]);
    let expected = "error: `hub/data/train-00000-of-00002.parquet` belongs to another run: this one writes 1 such files\n\n\
                    hint: remove it, or give another --out: a reader would take both for one data set\n";
    assert_eq!((other.code, other.stderr.as_str()), (4, expected));
    std::fs::create_dir(place.path("mine")).expect("a folder");
    std::fs::write(place.path("mine/README.md"), "# Notes\n").expect("written");
    let foreign = place.run(&["--in", "in/a.parquet", "--out", "mine/", "--to", "folder"]);
    let expected =
        "error: `mine/README.md` exists and was not written by purify\n\nhint: move it away, or give another --out\n";
    assert_eq!((foreign.code, foreign.stderr.as_str()), (4, expected));
    let raw = place.run(&["export", "in/a.parquet", "--to", "folder", "--out", "raw"]);
    assert_eq!(raw.code, 3, "{}", raw.stderr);
    assert!(raw.stderr.contains("it has no column `purification`"), "{}", raw.stderr);
}

#[test]
fn configurations_without_rows_are_not_there() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = place.run(&["--in", "raw.parquet", "--out", "hub/", "--to", "folder", "--repair-probability", "0"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let card = String::from_utf8(place.bytes("hub/README.md")).expect("text");
    assert!(!card.contains("config_name: dpo") && !card.contains("config_name: audit"), "{card}");
    assert!(!place.path("hub/dpo/train-00000-of-00001.parquet").exists());
}

#[test]
fn strict_fails_a_run_whose_rows_can_not_be_exported() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = place.run(&["--in", "raw.parquet", "--to", "trl-sft", "--strict"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("--strict, 1 rows could not be exported"), "{}", done.stderr);
}

#[test]
fn what_is_not_trained_on_comes_back_from_openai() {
    let place = Place::new();
    let row = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "loss": false},
        {"role": "assistant", "content": "b"}]});
    std::fs::write(place.path("raw.jsonl"), row.to_string()).expect("written");
    assert_eq!(place.run(&["export", "raw.jsonl", "--to", "openai"]).code, 0);
    let back = place.run(&["export", "raw.openai.jsonl", "--to", "trl-sft"]);
    assert_eq!(back.json()["counts"]["trl-sft"]["rejects"], json!({"untrained_message": 1}), "{}", back.stderr);
}

#[test]
fn rows_without_a_name_of_their_own_get_none_in_an_export() {
    let place = Place::new();
    let row = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]});
    std::fs::write(place.path("raw.jsonl"), format!("{row}\n{row}\n")).expect("written");
    let done = place.run(&["--in", "raw.jsonl", "--out", "p.parquet", "--to", "trl-sft"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let ids: Vec<Value> =
        json_rows(&place.rows("p.trl-sft.parquet")).iter().map(|row| row.get("rollout_id").cloned().into()).collect();
    assert_eq!(ids, [json!(null), json!(null)]);
}

/// The blocks of a message: text alone is one of them.
fn blocks(message: &Value) -> Value {
    match &message["content"] {
        Value::String(text) => json!([{"type": "text", "text": text}]),
        blocks => blocks.clone(),
    }
}

#[test]
fn what_came_from_anthropic_goes_back_to_it_block_by_block() {
    let place = Place::new();
    place.with("formats/anthropic.jsonl", "raw.jsonl");
    let done = place.run(&[
        "--in",
        "raw.jsonl",
        "--out",
        "p.parquet",
        "--repair-probability",
        "0",
        "--to",
        "anthropic",
        "--strict",
    ]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let read = |name: &str| -> Value { serde_json::from_slice(&place.bytes(name)).expect("one line of JSON") };
    let (before, after) = (read("raw.jsonl"), read("p.anthropic.jsonl"));
    let messages = |row: &Value| -> Vec<(Value, Value)> {
        let messages = row["messages"].as_array().expect("messages").iter();
        messages.map(|message| (message["role"].clone(), blocks(message))).collect()
    };
    assert_eq!(messages(&before), messages(&after));
    assert_eq!(before["system"], after["system"]);
    // What is purified goes the same way: the failed call and its result are gone, as a pair.
    let done = place.run(&["--in", "raw.jsonl", "--out", "q.parquet", "--to", "anthropic", "--strict"]);
    assert_eq!((done.code, done.count("repairs")), (0, 1), "{}", done.stderr);
    let purified = messages(&read("q.anthropic.jsonl"));
    let raw = messages(&before);
    assert_eq!(purified.len(), raw.len() - 2);
    assert_eq!(
        purified[2],
        (json!("user"), json!([{"type": "tool_result", "tool_use_id": "t1", "content": "29", "is_error": false}]))
    );
}

#[test]
fn turns_that_anthropic_does_not_allow_are_rejected_with_their_message() {
    let place = Place::new();
    let call = |arguments: &str| json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]});
    let (user, result) =
        (json!({"role": "user", "content": "q"}), json!({"role": "tool", "tool_call_id": "c", "content": "1"}));
    let rows = [
        json!({"messages": [user, call("{}"), result]}),
        json!({"messages": [call("{}"), result]}),
        json!({"messages": [user, call("[1]"), result]}),
        json!({"messages": [user, call("{}"), user]}),
    ];
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(place.path("raw.jsonl"), lines).expect("written");
    let done = place.run(&["export", "raw.jsonl", "--to", "anthropic"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.json()["counts"]["anthropic"]["rejects"], json!({"order_of_messages": 2, "incomplete_call": 1}));
    let rejects = json_rows(&place.rows("raw.anthropic.rejects.parquet"));
    let reasons: Vec<&str> = rejects.iter().map(|row| row["reject_reason"].as_str().expect("a reason")).collect();
    let expected = [
        "order_of_messages: row 1 of `raw.jsonl`: message 0 is the assistant's, which `anthropic` can't say there: it has the user's",
        "incomplete_call: row 2 of `raw.jsonl`: the arguments of a call in message 1 are not a plain JSON object, which `anthropic` can't say",
        "order_of_messages: row 3 of `raw.jsonl`: message 1 is a message with a call that has no result, which `anthropic` can't say there: it has a result for each call",
    ];
    assert_eq!(reasons, expected);
}
