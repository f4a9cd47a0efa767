//! The main job: what is written, where, and that it never depends on how the work was cut.

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use serde_json::{Value, json};

use crate::corrections::{python, retried, rollouts};
use crate::harness::{Place, fixture, json_rows, rows, skipped, without_provenance, write};

const ALL: &str = "rollouts/all.parquet";

#[test]
fn one_input_is_written_beside_itself_with_its_manifest() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    let said = place.run(&["--in", "raw.parquet"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(place.files(), ["raw.parquet", "raw.purified.manifest.json", "raw.purified.parquet"]);
    assert_eq!((said.count("rows_in"), said.count("rows_out"), said.count("rows_rejected")), (25, 25, 0));
    assert_eq!((said.count("repairs"), said.count("unrecovered"), said.count("rows_changed")), (14, 6, 13));
    assert!(said.stderr.contains("rollouts written"), "{}", said.stderr);
    assert_eq!(said.stdout.lines().count(), 1);
}

#[test]
fn repaired_rollouts_hold_the_correction_and_say_what_was_done() {
    let place = Place::new();
    place.with("rollouts/two_failures_then_success.parquet", "raw.parquet");
    place.run(&["--in", "raw.parquet"]);
    let row = &json_rows(&place.rows("raw.purified.parquet"))[0];
    let messages = row["messages"].as_array().expect("messages");
    let roles: Vec<_> = messages.iter().map(|m| m["role"].as_str().unwrap_or_default()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    // Deep at the first retry (another program), shallow at the second (a typo): the middle reasoning stays.
    assert_eq!(messages[1]["content"], "I count them myself.");
    assert_eq!(messages[1]["tool_calls"][0]["id"], "call_2");
    assert_eq!(messages[2]["content"], "168\n");
    let repair = &row["purification"]["repairs"][0];
    assert_eq!(repair["first_message"], 1);
    assert_eq!(repair["attempts"], 3);
    assert_eq!(repair["granularity"], "deep");
    assert_eq!(repair["error_types"], json!(["ModuleNotFoundError", "NameError"]));
    assert_eq!(repair["tool"], "python");
    assert_eq!(repair["removed_messages"], 4);
    assert_eq!(repair["similarity"].as_array().map(Vec::len), Some(2));
}

#[test]
fn rollout_without_failures_is_byte_identical() {
    let place = Place::new();
    for name in ["no_failure", "talk_between", "user_between", "open_attempt", "failure_at_the_end", "hard_negatives"] {
        let raw = place.with(&format!("rollouts/{name}.parquet"), &format!("{name}.parquet"));
        let said = place.run(&["--in", raw.to_str().expect("a path"), "--out", "out.parquet"]);
        assert_eq!(said.count("rows_changed"), 0, "{name}");
        assert_eq!(without_provenance(&place.rows("out.parquet")), rows(&raw), "{name}");
    }
}

#[test]
fn all_calls_of_a_parallel_step_are_replaced_together() {
    let place = Place::new();
    place.with("rollouts/parallel_calls.parquet", "raw.parquet");
    place.run(&["--in", "raw.parquet"]);
    let row = &json_rows(&place.rows("raw.purified.parquet"))[0];
    let messages = row["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 5);
    let ids: Vec<_> = messages[1]["tool_calls"].as_array().expect("calls").iter().map(|c| c["id"].clone()).collect();
    assert_eq!(ids, ["c", "d"]);
    assert_eq!((&messages[2]["tool_call_id"], &messages[3]["tool_call_id"]), (&json!("c"), &json!("d")));
    assert_eq!(messages[1]["content"], "Both at once.");
}

#[test]
fn output_does_not_depend_on_threads() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    let bytes = |threads: &str| {
        let said = place.run(&["--in", "raw.parquet", "--out", "out/", "--pairs", "--threads", threads]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        ["out/data/train-00000-of-00001.parquet", "out/pairs.parquet", "out/manifest.json", "out/README.md"]
            .map(|f| place.bytes(f))
    };
    let one = bytes("1");
    assert_eq!(one, bytes("2"));
    assert_eq!(one, bytes("7"));
}

#[test]
fn output_rows_do_not_depend_on_row_groups_of_the_input() {
    let place = Place::new();
    let all = rows(&fixture(ALL));
    let many = concat_batches(&all.schema(), &vec![all.clone(); 60]).expect("one schema");
    let mut seen = Vec::new();
    for size in [7, 400, 100_000] {
        write(&place.path("raw.parquet"), &many, size);
        place.run(&["--in", "raw.parquet", "--out", "out.parquet"]);
        seen.push(place.rows("out.parquet"));
    }
    assert_eq!(seen[0].num_rows(), 1500);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[test]
fn shards_together_are_the_whole_and_keep_groups_together() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    place.run(&["--in", "raw.parquet", "--out", "whole.parquet"]);
    let mut parts = Vec::new();
    let mut groups: Vec<Vec<Value>> = Vec::new();
    for k in 1..=3 {
        let said = place.run(&["--in", "raw.parquet", "--out", "parts/", "--shard", &format!("{k}/3")]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let part = place.rows(&format!("parts/data/train-0000{}-of-00003.parquet", k - 1));
        groups.push(json_rows(&part).iter().map(|r| r["group_id"].clone()).collect());
        parts.push(part);
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(groups[a].iter().all(|g| !groups[b].contains(g)));
    }
    let sorted = |batches: &[_]| {
        let mut out: Vec<String> = batches.iter().flat_map(json_rows).map(|r| r.to_string()).collect();
        out.sort();
        out
    };
    assert_eq!(sorted(&parts), sorted(&[place.rows("whole.parquet")]));
}

#[test]
fn several_inputs_go_into_a_folder_in_the_hubs_layout() {
    let place = Place::new();
    place.with("rollouts/no_failure.parquet", "runs/a.parquet");
    place.with("rollouts/one_failure_deep.parquet", "runs/b.parquet");
    let said = place.run(&["--in", "runs/*.parquet", "--out", "purified", "--pairs"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let written: Vec<_> = place.files().into_iter().filter(|f| f.starts_with("purified")).collect();
    assert_eq!(
        written,
        [
            "purified/README.md",
            "purified/data/train-00000-of-00002.parquet",
            "purified/data/train-00001-of-00002.parquet",
            "purified/manifest.json",
            "purified/pairs/train-00000-of-00002.parquet",
            "purified/pairs/train-00001-of-00002.parquet",
        ]
    );
    let manifest: Value = serde_json::from_slice(&place.bytes("purified/manifest.json")).expect("JSON");
    assert_eq!(manifest["inputs"][1]["file"], "b.parquet");
    assert_eq!(manifest["outputs"][0]["rows"], 1);
    assert_eq!(manifest["counts"]["repairs"], 1);
    // The same input given twice, by folder and by glob, is done once.
    let twice = place.run(&["--in", "runs", "runs/*.parquet", "--out", "again"]);
    assert_eq!(twice.count("rows_in"), 2);
}

#[test]
fn json_lines_give_the_same_rows_as_parquet() {
    let place = Place::new();
    for name in ["one_failure_shallow", "two_runs", "inline_calls", "reasoning_content", "odd_shapes"] {
        place.with(&format!("rollouts/{name}.jsonl"), "raw.jsonl");
        place.with(&format!("rollouts/{name}.parquet"), "raw.parquet");
        let from_lines = place.run(&["--in", "raw.jsonl", "--out", "lines.parquet"]);
        let from_parquet = place.run(&["--in", "raw.parquet", "--out", "parquet.parquet"]);
        assert_eq!(from_lines.code, 0, "{name}: {}", from_lines.stderr);
        assert_eq!(from_lines.json()["repairs"], from_parquet.json()["repairs"], "{name}");
        assert_eq!(json_rows(&place.rows("lines.parquet")), json_rows(&place.rows("parquet.parquet")), "{name}");
    }
}

#[test]
fn rows_in_are_rows_out_and_rejects_in_order() {
    let place = Place::new();
    place.with("bad/null_messages.parquet", "raw.parquet");
    let said = place.run(&["--in", "raw.parquet"]);
    assert_eq!((said.code, said.count("rows_in"), said.count("rows_out"), said.count("rows_rejected")), (0, 2, 1, 1));
    let rejects = place.rows("raw.purified.rejects.parquet");
    assert_eq!(rejects.num_rows(), 1);
    let id = rejects.column_by_name("rollout_id").expect("the input's columns").as_string::<i32>().value(0).to_owned();
    assert_eq!(id, "bad");
    let strict = place.run(&["--in", "raw.parquet", "--strict"]);
    assert_eq!(strict.code, 1);
    assert!(strict.stderr.contains("--strict, 1 rows were rejected"), "{}", strict.stderr);
    // A later run without rejects leaves no stale ones behind.
    place.with("rollouts/no_failure.parquet", "raw.parquet");
    place.run(&["--in", "raw.parquet"]);
    assert!(!place.path("raw.purified.rejects.parquet").exists());
}

#[test]
fn mode_drop_rejects_rollouts_with_an_unrecovered_run() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    let said = place.run(&["--in", "raw.parquet", "--mode", "drop"]);
    let rejected = said.count("rows_rejected");
    assert_eq!(rejected, said.json()["rejects"]["unrecovered"].as_u64().expect("counted by reason"));
    assert!(rejected > 0);
    assert_eq!(said.count("rows_in"), said.count("rows_out") + rejected);
    let reasons = place.rows("raw.purified.rejects.parquet");
    let reason = reasons.column_by_name("reject_reason").expect("a reason").as_string::<i32>().value(0).to_owned();
    assert!(reason.starts_with("unrecovered: row "), "{reason}");
}

#[test]
fn mode_mask_marks_failed_attempts_and_keeps_every_message() {
    let place = Place::new();
    place.with("rollouts/tokens.parquet", "raw.parquet");
    let said = place.run(&["--in", "raw.parquet", "--mode", "mask"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.count("masked_attempts") > 0);
    let (raw, masked) = (json_rows(&place.rows("raw.parquet")), json_rows(&place.rows("raw.purified.parquet")));
    for (before, after) in raw.iter().zip(&masked) {
        assert_eq!(before["response_ids"], after["response_ids"]);
        assert_eq!(before["response_logprobs"], after["response_logprobs"]);
        let (old, new) = (before["messages"].as_array().expect("list"), after["messages"].as_array().expect("list"));
        assert_eq!(old.len(), new.len());
        // Each run of ones in the mask is an assistant message; it becomes zeros where the loss flag is false.
        let flags: Vec<bool> =
            new.iter().filter(|m| m["role"] == "assistant").map(|m| m["loss"].as_bool().expect("a flag")).collect();
        let ones = |row: &Value| -> Vec<bool> {
            row["response_mask"].as_array().expect("list").iter().map(|m| m.as_i64() == Some(1)).collect()
        };
        let (raw_mask, mask) = (ones(before), ones(after));
        let mut run = 0;
        for k in 0..raw_mask.len() {
            if raw_mask[k] && (k == 0 || !raw_mask[k - 1]) {
                run += 1;
            }
            assert_eq!(mask[k], raw_mask[k] && flags[run - 1]);
        }
        assert!(new.iter().filter(|m| m["role"] != "assistant").all(|m| m["loss"] == false));
    }
}

/// The text of byte tokens and ChatML markers of fixtures/models/bytes.
fn decoded(ids: &[i64]) -> String {
    const SPECIAL: [&str; 4] = ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"];
    let mut bytes = Vec::new();
    for &id in ids {
        match usize::try_from(id - 256) {
            Ok(special) => bytes.extend(SPECIAL[special].bytes()),
            Err(_) => bytes.push(id as u8),
        }
    }
    String::from_utf8(bytes).expect("text")
}

fn ints(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|v| v.as_i64().expect("a number")).collect()
}

#[test]
fn spliced_tokens_decode_to_the_spliced_text() {
    let place = Place::new();
    place.with("rollouts/tokens.parquet", "raw.parquet");
    let by_ids = place.run(&["--in", "raw.parquet", "--call-marker-ids", "258"]);
    assert_eq!(by_ids.code, 0, "{}", by_ids.stderr);
    let batch = place.rows("raw.purified.parquet");
    let bytes = place.bytes("raw.purified.parquet");
    for row in json_rows(&batch) {
        let (ids, mask) = (ints(&row["response_ids"]), ints(&row["response_mask"]));
        assert_eq!(ids.len(), mask.len());
        assert_eq!(ids.len(), row["response_logprobs"].as_array().expect("a list").len());
        let written: Vec<i64> = ids.iter().zip(&mask).filter(|(_, m)| **m == 1).map(|(id, _)| *id).collect();
        let messages = row["messages"].as_array().expect("a list");
        let rendered: String = messages
            .iter()
            .filter(|m| m["role"] == "assistant")
            .map(|m| {
                let content = m["content"].as_str().unwrap_or_default();
                let calls: Vec<String> = m["tool_calls"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|c| {
                        let (name, arguments) = (&c["function"]["name"], &c["function"]["arguments"]);
                        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                        format!(
                            "<tool_call>\n{{\"name\": \"{}\", \"arguments\": {}}}\n</tool_call>",
                            text(name),
                            text(arguments)
                        )
                    })
                    .collect();
                let between = if content.is_empty() || calls.is_empty() { "" } else { "\n" };
                format!("{content}{between}{}<|im_end|>", calls.join("\n"))
            })
            .collect();
        assert_eq!(decoded(&written), rendered, "{}", row["rollout_id"]);
    }
    assert!(!bytes.is_empty());
    if cfg!(feature = "tokenizer") {
        // A tokenizer finds the same places as the marker's ids.
        let tokenizer = fixture("models/bytes");
        let by_text = place.run(&["--in", "raw.parquet", "--tokenizer", tokenizer.to_str().expect("a path")]);
        assert_eq!(by_text.code, 0, "{}", by_text.stderr);
        assert_eq!(without_provenance(&place.rows("raw.purified.parquet")), without_provenance(&batch));
    }
}

#[test]
fn spliced_tokens_have_no_behaviour_logprob() {
    let place = Place::new();
    place.with("rollouts/tokens.parquet", "raw.parquet");
    place.run(&["--in", "raw.parquet", "--call-marker-ids", "258"]);
    let (raw, purified) = (json_rows(&place.rows("raw.parquet")), json_rows(&place.rows("raw.purified.parquet")));
    for (before, after) in raw.iter().zip(&purified) {
        let repairs = after["purification"]["repairs"].as_array().expect("a list");
        let old: Vec<Value> = before["response_logprobs"].as_array().expect("a list").clone();
        let new: Vec<Value> = after["response_logprobs"].as_array().expect("a list").clone();
        if repairs.is_empty() {
            assert_eq!(old, new);
            continue;
        }
        let mask = ints(&after["response_mask"]);
        let first_unknown = new.iter().position(Value::is_null).expect("a repair makes log-probs unknown");
        assert_eq!(old[..first_unknown], new[..first_unknown]);
        for k in first_unknown..new.len() {
            assert_eq!(new[k].is_null(), mask[k] == 1, "token {k} of {}", after["rollout_id"]);
        }
        // The old values are kept, one for each token that stayed.
        let kept = after["purification"]["raw_logprobs"].as_array().expect("a list");
        assert_eq!(kept.len(), new.len());
        assert!(kept.iter().all(|p| !p.is_null()));
        let removed: i64 = repairs.iter().map(|r| r["removed_tokens"].as_i64().expect("counted")).sum();
        assert_eq!(old.len() - new.len(), removed as usize);
    }
}

#[test]
fn token_columns_can_be_left_out() {
    let place = Place::new();
    place.with("rollouts/tokens.parquet", "raw.parquet");
    let said = place.run(&["--in", "raw.parquet", "--tokens", "drop"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let schema = place.rows("raw.purified.parquet").schema();
    let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["rollout_id", "group_id", "messages", "tools", "reward", "purification"]);
}

#[test]
fn pairs_hold_the_corrected_and_the_last_failed_message() {
    let place = Place::new();
    let count = |name: &str, result: &str| python(&format!("print(sum({name}(n) for n in range(1000)))"), result);
    let fails = |name: &str| {
        let error = format!(
            "Traceback (most recent call last):\n  File \"<stdin>\", line 1\nNameError: name '{name}' is not defined"
        );
        count(name, &error)
    };
    let steps = [fails("is_prim"), fails("is_prme"), count("is_prime", "168"), retried()].concat();
    rollouts(&place, "raw.jsonl", &[("a", None, steps)]);
    let said = place.run(&["--in", "raw.jsonl", "--pairs"]);
    let pairs = json_rows(&place.rows("raw.purified.pairs.parquet"));
    assert_eq!((said.count("repairs"), said.count("pairs"), pairs.len()), (2, 2, 2), "{}", said.stderr);
    let code = |message: &Value| message["tool_calls"][0]["function"]["arguments"].to_string();
    let (chosen, rejected) = (&pairs[0]["chosen"][0], &pairs[0]["rejected"][0]);
    assert!(code(chosen).contains("is_prime(") && code(rejected).contains("is_prme("), "{pairs:?}");
    assert_eq!(chosen["content"], rejected["content"]);
    assert_eq!(pairs[0]["prompt"].as_array().map(Vec::len), Some(1));
    assert_eq!(pairs[0]["error_type"], "NameError");
    // The second repair of a rollout stands on the first one's result.
    assert_eq!((&pairs[1]["repair"], pairs[1]["prompt"].as_array().map(Vec::len)), (&json!(1), Some(3)));
}

#[test]
fn purifying_a_purified_file_changes_nothing() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    place.run(&["--in", "raw.parquet", "--out", "once.parquet"]);
    let said = place.run(&["--in", "once.parquet", "--out", "twice.parquet"]);
    assert_eq!((said.count("repairs"), said.count("rows_rejected")), (0, 0));
    assert_eq!(place.rows("once.parquet"), place.rows("twice.parquet"));
}

#[test]
fn the_reference_profile_is_the_reference() {
    let place = Place::new();
    place.with("rollouts/unrecovered_then_recovered.parquet", "raw.parquet");
    // The fixture's tool never says `Tool call success`: to the reference, every attempt has failed.
    let said = place.run(&["--in", "raw.parquet", "--profile", "open-cleaner"]);
    assert_eq!((said.count("attempts"), said.count("failed_attempts"), said.count("repairs")), (4, 4, 0));
    assert_eq!(said.count("collapsed"), 1);
    let row = &json_rows(&place.rows("raw.purified.parquet"))[0];
    let repair = &row["purification"]["repairs"][0];
    assert_eq!((&repair["kind"], &row["purification"]["profile"]), (&json!("collapsed"), &json!("open-cleaner")));
    // The first run became one failed step; everything after it stays.
    let messages = row["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 11 - 2);
    // A flag goes before the profile.
    let kept = place.run(&["--in", "raw.parquet", "--profile", "open-cleaner", "--unrecovered", "keep"]);
    assert_eq!(kept.count("collapsed"), 0);
}

#[test]
fn dry_run_plans_and_counts_and_writes_nothing() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    let said = place.run(&["--in", "raw.parquet", "--dry-run"]);
    assert_eq!((said.code, said.count("repairs")), (0, 14));
    assert_eq!(place.files(), ["raw.parquet"]);
}

#[test]
fn options_come_from_default_file_environment_and_flag_in_this_order() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    let threshold = |command: &mut std::process::Command| -> f64 {
        let output = command.output().expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|l| l.starts_with("similarity-threshold")).expect("an option in force").to_owned();
        line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a number")
    };
    assert_eq!(threshold(&mut place.command(&["config"])), 0.5);
    std::fs::write(place.path("purify.toml"), "similarity-threshold = 0.6\npairs = true\n").expect("a file");
    assert_eq!(threshold(&mut place.command(&["config"])), 0.6);
    assert_eq!(threshold(place.command(&["config"]).env("PURIFY_SIMILARITY_THRESHOLD", "0.7")), 0.7);
    let mut with_flag = place.command(&["config", "--similarity-threshold", "0.8"]);
    assert_eq!(threshold(with_flag.env("PURIFY_SIMILARITY_THRESHOLD", "0.7")), 0.8);
    place.run(&["--in", "raw.parquet"]);
    assert!(place.path("raw.purified.pairs.parquet").exists());
    let without = place.command(&["--in", "raw.parquet"]).env("PURIFY_PAIRS", "0").output().expect("the program runs");
    assert!(without.status.success() && !place.path("raw.purified.pairs.parquet").exists());
    let strict = place.command(&["--in", "raw.parquet", "--mode", "drop"]).env("PURIFY_STRICT", "1").output();
    assert_eq!(strict.expect("the program runs").status.code(), Some(1));
}

#[test]
fn gates_fail_the_run_after_the_files_are_written() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    let said = place.run(&["--in", "raw.parquet", "--fail-if", "unrecovered_rate > 0.2", "--fail-if", "rows_in == 0"]);
    assert_eq!(said.code, 1);
    assert!(
        said.stderr.contains("gate failed: `unrecovered_rate > 0.2` holds, `unrecovered_rate` is 0.3"),
        "{}",
        said.stderr
    );
    assert_eq!(said.json()["gate_failures"].as_array().map(Vec::len), Some(1));
    assert!(place.path("raw.purified.parquet").exists());
    assert_eq!(place.run(&["--in", "raw.parquet", "--fail-if", "skipped.gate >= 1"]).code, 0);
}

#[test]
fn the_report_holds_settings_counts_and_times() {
    let place = Place::new();
    place.with(ALL, "raw.parquet");
    place.run(&["--in", "raw.parquet", "--report", "report.json", "-q"]);
    let report: Value = serde_json::from_slice(&place.bytes("report.json")).expect("JSON");
    assert_eq!(report["counts"]["repairs"], 14);
    assert_eq!(report["settings"]["method"]["max_retries"], 3);
    assert!(report["host"]["seconds"].as_f64().is_some());
}

#[test]
fn metadata_of_the_file_is_kept_and_the_features_description_is_updated() {
    use parquet::arrow::ArrowWriter;
    let place = Place::new();
    let all = rows(&fixture(ALL));
    let features = r#"{"info": {"features": {"rollout_id": {"dtype": "string", "_type": "Value"}}}}"#;
    let metadata = [("huggingface".to_owned(), features.to_owned()), ("mine".to_owned(), "kept".to_owned())];
    let schema = all.schema().as_ref().clone().with_metadata(metadata);
    let batch = arrow::array::RecordBatch::try_new(schema.into(), all.columns().to_vec()).expect("the same columns");
    let file = std::fs::File::create(place.path("raw.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
    place.run(&["--in", "raw.parquet"]);
    let written = place.rows("raw.purified.parquet").schema();
    assert_eq!(written.metadata()["mine"], "kept");
    let described: Value = serde_json::from_str(&written.metadata()["huggingface"]).expect("JSON");
    let features = &described["info"]["features"];
    assert_eq!(features["rollout_id"]["dtype"], "string");
    assert_eq!(features["purification"]["recovered"]["dtype"], "int32");
}

#[test]
fn other_widths_and_encodings_of_columns_are_read_and_kept() {
    use arrow::datatypes::{DataType, Field};
    let place = Place::new();
    let all = rows(&fixture(ALL));
    fn wide(data_type: &DataType) -> DataType {
        let field = |f: &Field| Field::new(f.name(), wide(f.data_type()), f.is_nullable());
        match data_type {
            DataType::Utf8 => DataType::LargeUtf8,
            DataType::List(item) => DataType::LargeList(field(item).into()),
            DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| field(f)).collect()),
            other => other.clone(),
        }
    }
    let schema = all.schema();
    let fields: Vec<Field> = schema.fields().iter().map(|f| Field::new(f.name(), wide(f.data_type()), true)).collect();
    let columns =
        all.columns().iter().zip(&fields).map(|(c, f)| arrow::compute::cast(c, f.data_type()).expect("wider"));
    let batch =
        arrow::array::RecordBatch::try_new(arrow::datatypes::Schema::new(fields.clone()).into(), columns.collect())
            .expect("columns fit");
    write(&place.path("raw.parquet"), &batch, 100);
    let said = place.run(&["--in", "raw.parquet"]);
    assert_eq!(said.count("repairs"), 14, "{}", said.stderr);
    let written = place.rows("raw.purified.parquet");
    for field in &fields {
        assert_eq!(written.schema().field_with_name(field.name()).expect("kept").data_type(), field.data_type());
    }
    place.with(ALL, "narrow.parquet");
    place.run(&["--in", "narrow.parquet"]);
    let narrow = place.rows("narrow.purified.parquet");
    assert_eq!(json_rows(&written), json_rows(&narrow));
}

#[test]
fn expected_results_of_real_rollouts_come_out() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.exists() {
        return skipped("the real rollouts (shared/data) are not beside this checkout");
    }
    let place = Place::new();
    for source in ["mint", "intercode", "tau_bench", "swe_agent"] {
        let raw = data.join(format!("rollouts/{source}.parquet"));
        let said = place.run(&["--in", raw.to_str().expect("a path"), "--out", "out.parquet"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let (out, expected) = (place.rows("out.parquet"), rows(&data.join(format!("expected/{source}.parquet"))));
        assert_eq!(out.num_rows(), expected.num_rows());
        assert_eq!(out.column_by_name("messages"), expected.column_by_name("messages"), "{source}");
        let done = out.column_by_name("purification").expect("provenance").as_struct();
        for name in ["failed_attempts", "unrecovered"] {
            assert_eq!(done.column_by_name(name), expected.column_by_name(name), "{source} {name}");
        }
        let (ours, theirs) =
            (done.column_by_name("repairs").expect("ours"), expected.column_by_name("repairs").expect("theirs"));
        let (ours, theirs) = (ours.as_list::<i32>(), theirs.as_list::<i32>());
        assert_eq!(ours.offsets(), theirs.offsets(), "{source}");
        for name in ["first_message", "attempts", "granularity", "similarity"] {
            let column = |list: &arrow::array::ListArray| {
                list.values().as_struct().column_by_name(name).expect("a field").to_data()
            };
            assert_eq!(column(ours), column(theirs), "{source} {name}");
        }
    }
}

#[test]
fn the_detector_finds_the_labelled_errors_of_real_rollouts() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/rollouts");
    if !data.exists() {
        return skipped("the real rollouts (shared/data) are not beside this checkout");
    }
    let place = Place::new();
    for (source, least) in [("mint", 0.99), ("tau_bench", 0.99), ("intercode", 0.98)] {
        let raw = data.join(format!("{source}.parquet"));
        let said = place.run(&["inspect", "--json", raw.to_str().expect("a path")]);
        let agreement = said.json()["agreement"].clone();
        let count = |name: &str| agreement[name].as_f64().expect("a count");
        let f1 = 2.0 * count("both") / (2.0 * count("both") + count("detector_only") + count("label_only"));
        assert!(f1 >= least, "{source}: F1 {f1}");
    }
}

#[test]
fn rows_without_an_id_are_named_by_file_and_number() {
    let place = Place::new();
    std::fs::write(place.path("raw.jsonl"), "\n{\"messages\": []}\nno json\n{\"messages\": []}\n").expect("a file");
    let said = place.run(&["--in", "raw.jsonl"]);
    assert_eq!((said.count("rows_in"), said.count("rows_out"), said.count("rows_rejected")), (3, 2, 1));
    let rejects = place.rows("raw.purified.rejects.parquet");
    let line = rejects.column_by_name("raw_line").expect("the line").as_string::<i32>();
    assert!(line.is_valid(0) && line.value(0) == "no json");
}

#[test]
fn a_line_of_another_form_is_a_reject_and_changes_no_other_line() {
    let place = Place::new();
    let good = r#"{"messages": [{"role": "user", "content": "a"}], "n": 9007199254740993}"#;
    let lines = [
        &format!("\u{feff}{good}"),
        r#"{"messages": "nope", "n": 1}"#,
        r#"{"messages": null, "n": 1}"#,
        "no json",
        r#"{"messages": [{"role": "assistant", "content": "b", "tool_calls": "none"}], "n": 0.5}"#,
        r#"{"messages": [{"role": "tool", "content": "c", "is_error": "true"}], "n": 2}"#,
        good,
    ];
    std::fs::write(place.path("raw.jsonl"), lines.join("\n")).expect("a file");
    let said = place.run(&["--in", "raw.jsonl"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!((said.count("rows_in"), said.count("rows_out")), (7, 2));
    // A number that no float holds keeps its digits.
    let written = json_rows(&place.rows("raw.purified.parquet"));
    assert_eq!(written[0]["n"], "9007199254740993");
    let rejects = place.rows("raw.purified.rejects.parquet");
    let reasons = rejects.column_by_name("reject_reason").expect("a reason").as_string::<i32>();
    let rows: Vec<&str> =
        reasons.iter().map(|r| r.expect("never null").split(" of `").next().unwrap_or_default()).collect();
    assert_eq!(rows, ["no_fit: row 1", "null_messages: row 2", "no_json: row 3", "no_fit: row 4", "no_fit: row 5"]);
}

#[test]
fn runs_of_tokens_that_were_cut_off_are_given_to_the_right_messages() {
    use arrow::array::{Int8Array, Int32Array, ListArray, RecordBatch, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field};
    let place = Place::new();
    // Talk, a failed call, its correction, talk; the response ends after the correction.
    let line = |role: &str, content: &str, call: &str| {
        let calls = if call.is_empty() {
            "null".to_owned()
        } else {
            format!(r#"[{{"function": {{"name": "f", "arguments": "{call}"}}}}]"#)
        };
        format!(r#"{{"role": "{role}", "content": "{content}", "tool_calls": {calls}}}"#)
    };
    let messages = [
        line("user", "q", ""),
        line("assistant", "A", "1"),
        line("tool", "fine", ""),
        line("assistant", "B", "2"),
        line("tool", "Error: x", ""),
        line("assistant", "C", "3"),
        line("tool", "5", ""),
        line("assistant", "done", ""),
    ];
    std::fs::write(place.path("text.jsonl"), format!("{{\"messages\": [{}]}}\n", messages.join(","))).expect("a file");
    place.run(&["--in", "text.jsonl", "--out", "text.parquet", "--repair-probability", "0"]);
    let text = without_provenance(&place.rows("text.parquet"));
    let purify = |name: &str, ids: Vec<i32>, mask: Vec<i8>| {
        let item = |t: &DataType| std::sync::Arc::new(Field::new("element", t.clone(), true));
        let one = |n: usize| OffsetBuffer::from_lengths([n]);
        let ids_list =
            ListArray::new(item(&DataType::Int32), one(ids.len()), std::sync::Arc::new(Int32Array::from(ids)), None);
        let mask_list =
            ListArray::new(item(&DataType::Int8), one(mask.len()), std::sync::Arc::new(Int8Array::from(mask)), None);
        let fields = vec![
            text.schema().field(0).clone(),
            Field::new("response_ids", ids_list.data_type().clone(), true),
            Field::new("response_mask", mask_list.data_type().clone(), true),
        ];
        let columns: Vec<arrow::array::ArrayRef> =
            vec![text.column(0).clone(), std::sync::Arc::new(ids_list), std::sync::Arc::new(mask_list)];
        let batch: RecordBatch = StructArray::new(fields.into(), columns, None).into();
        write(&place.path(name), &batch, 10);
        place.run(&["--in", name, "--out", "out.parquet", "--call-marker-ids", "7"])
    };
    let said = purify("cut.parquet", vec![1, 7, 10, 90, 2, 7, 20, 91, 3, 7, 30], vec![1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1]);
    assert_eq!((said.count("rows_out"), said.count("repairs")), (1, 1), "{}", said.stderr);
    assert_eq!(ints(&json_rows(&place.rows("out.parquet"))[0]["response_ids"]), [1, 7, 10, 90, 2, 7, 30]);
    // One run less: it could belong to any two of the three calls, so the row is refused and not guessed.
    let said = purify("ambiguous.parquet", vec![2, 7, 20, 91, 3, 7, 30], vec![1, 1, 1, 0, 1, 1, 1]);
    assert_eq!((said.count("rows_out"), said.count("rows_rejected")), (0, 1));
    assert_eq!(said.json()["rejects"]["tokens_do_not_fit_messages"], 1);
}
