//! `purify score`, `purify train` and the gate, as a user runs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float32Array, Float64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Int8Type, Int32Type, Schema};
use serde_json::{Value, json};

use crate::harness::{Place, Said, fixture, json_rows, said, write};

/// The options that the golden numbers were made with.
const GOLDEN: [&str; 14] = [
    "--learning-rate",
    "1e-3",
    "--warmup",
    "0",
    "--weight-decay",
    "0.01",
    "--clip-grad-norm",
    "1.0",
    "--batch-rollouts",
    "all",
    "--seed",
    "0",
    "--updates",
    "4",
];

fn tiny(model: &str) -> String {
    fixture("models").join(model).to_string_lossy().into_owned()
}

fn golden(model: &str) -> Value {
    let text = std::fs::read_to_string(fixture("models").join(model).join("golden.json")).expect("the numbers");
    serde_json::from_str(&text).expect("JSON")
}

fn ints(rows: &Value, name: &str) -> ListArray {
    let row = |row: &Value| {
        let ids = row[name].as_array().expect("ids").iter().map(|v| v.as_i64().map(|n| n as i32));
        Some(ids.collect::<Vec<_>>())
    };
    ListArray::from_iter_primitive::<Int32Type, _, _>(rows.as_array().expect("rows").iter().map(row))
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// The golden rollouts, as a trainer writes them.
fn golden_rows(golden: &Value) -> RecordBatch {
    let rows = &golden["rows"];
    let all = rows.as_array().expect("rows");
    let text = |name: &str| Arc::new(StringArray::from_iter(all.iter().map(|r| r[name].as_str()))) as ArrayRef;
    let logprobs = all.iter().map(|r| {
        let values = r["response_logprobs"].as_array().expect("numbers").iter();
        Some(values.map(|v| v.as_f64().map(|x| x as f32)).collect::<Vec<_>>())
    });
    let mask = all.iter().map(|r| {
        let values = r["response_mask"].as_array().expect("numbers").iter();
        Some(values.map(|v| v.as_i64().map(|x| x as i8)).collect::<Vec<_>>())
    });
    table(vec![
        ("rollout_id", text("rollout_id")),
        ("group_id", text("group_id")),
        ("prompt_ids", Arc::new(ints(rows, "prompt_ids"))),
        ("response_ids", Arc::new(ints(rows, "response_ids"))),
        ("response_mask", Arc::new(ListArray::from_iter_primitive::<Int8Type, _, _>(mask))),
        ("response_logprobs", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(logprobs))),
        ("reward", Arc::new(Float64Array::from_iter(all.iter().map(|r| r["reward"].as_f64())))),
    ])
}

fn golden_pairs(golden: &Value) -> RecordBatch {
    let column = |name: &'static str| (name, Arc::new(ints(&golden["pairs"], name)) as ArrayRef);
    table(["prompt_ids", "chosen_ids", "rejected_ids"].map(column).to_vec())
}

/// A folder with the golden rollouts in it.
fn place_with_rows(model: &str) -> Place {
    let place = Place::new();
    write(&place.path("rows.parquet"), &golden_rows(&golden(model)), 4);
    place
}

/// A model that reads the byte fixtures: a tiny one with their tokenizer, a template and room for long rollouts.
pub fn chat_model(place: &Place) -> PathBuf {
    let folder = place.path("model");
    std::fs::create_dir_all(&folder).expect("a folder");
    let from = fixture("models");
    std::fs::copy(from.join("tiny-qwen3/model.safetensors"), folder.join("model.safetensors")).expect("a copy");
    std::fs::copy(from.join("bytes/tokenizer.json"), folder.join("tokenizer.json")).expect("a copy");
    std::fs::copy(from.join("chat_template.jinja"), folder.join("chat_template.jinja")).expect("a copy");
    set_config(&from.join("tiny-qwen3/config.json"), &folder, &[("max_position_embeddings", json!(16_384))]);
    folder
}

fn set_config(from: &Path, folder: &Path, changes: &[(&str, Value)]) {
    let mut config: Value =
        serde_json::from_str(&std::fs::read_to_string(from).expect("a configuration")).expect("JSON");
    for (name, value) in changes {
        config[*name] = value.clone();
    }
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a file");
}

fn train(place: &Place, args: &[&str]) -> Said {
    place.run(&[&["train"], args].concat())
}

fn metrics(place: &Place, out: &str) -> Vec<Value> {
    let text = String::from_utf8(place.bytes(&format!("{out}/metrics.jsonl"))).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What of the metrics does not depend on the clock.
fn timeless(mut metrics: Vec<Value>) -> Vec<Value> {
    for line in &mut metrics {
        let line = line.as_object_mut().expect("an object");
        line.remove("seconds");
        line.remove("tokens_per_second");
    }
    metrics
}

fn assert_close(what: &str, found: &Value, expected: &Value) {
    let (found, expected) = (found.as_f64().expect("a number"), expected.as_f64().expect("a number"));
    assert!((found - expected).abs() < 1e-4 * expected.abs().max(1e-3), "{what}: {found}, expected {expected}");
}

#[test]
fn metrics_equal_the_golden_numbers() {
    for model in ["tiny-qwen3", "tiny-qwen2", "tiny-llama"] {
        let golden = golden(model);
        let place = place_with_rows(model);
        write(&place.path("pairs.parquet"), &golden_pairs(&golden), 4);
        let adapter = format!("{}/adapter", tiny(model));
        let cases: [(&str, &str, &str, &[&str]); 4] = [
            ("sft", "sft", "rows.parquet", &["--full"]),
            ("grpo", "grpo", "rows.parquet", &["--full"]),
            ("dpo", "dpo", "pairs.parquet", &["--full"]),
            ("lora_sft", "sft", "rows.parquet", &["--adapter", &adapter]),
        ];
        for (name, objective, data, what) in cases {
            let start = ["--model", &tiny(model), "--data", data, "--objective", objective, "--out", name];
            let said = train(&place, &[&start, what, &GOLDEN[..]].concat());
            assert_eq!(said.code, 0, "{}", said.stderr);
            let found = metrics(&place, name);
            let steps = golden[name]["steps"].as_array().expect("updates");
            for (found, expected) in found.iter().zip(steps) {
                assert_close(&format!("{model}, {name}"), &found["loss"], &expected["loss"]);
                assert_close(&format!("{model}, {name}"), &found["grad_norm"], &expected["grad_norm"]);
            }
            assert_close(&format!("{model}, {name}"), &found[3]["loss"], &golden[name]["loss_after"]);
        }
    }
}

#[test]
fn bfloat16_weights_come_near_the_golden_numbers() {
    for (model, what) in [("tiny-qwen3", "--full"), ("tiny-llama", "--lora-rank=4")] {
        let place = place_with_rows(model);
        let start = ["--model", &tiny(model), "--data", "rows.parquet", "--objective", "sft", "--out", "run"];
        let said = train(&place, &[&start[..], &[what, "--precision", "bfloat16"], &GOLDEN[..]].concat());
        assert_eq!(said.code, 0, "{}", said.stderr);
        let (found, golden) = (metrics(&place, "run"), golden(model));
        let near = |found: &Value, expected: &Value| {
            let (found, expected) = (found.as_f64().expect("a number"), expected.as_f64().expect("a number"));
            assert!((found / expected - 1.0).abs() < 2e-2, "{model}: {found}, expected {expected}");
        };
        near(&found[0]["loss"], &golden["sft"]["steps"][0]["loss"]);
        if what == "--full" {
            near(&found[0]["grad_norm"], &golden["sft"]["steps"][0]["grad_norm"]);
            near(&found[3]["loss"], &golden["sft"]["loss_after"]);
        }
    }
}

#[test]
fn scores_equal_the_golden_log_probs() {
    for model in ["tiny-qwen3", "tiny-qwen2", "tiny-llama"] {
        let place = place_with_rows(model);
        let said = place.run(&["score", "--in", "rows.parquet", "--model", &tiny(model), "--out", "scored.parquet"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!((said.count("rows"), said.count("scored"), said.count("policy_tokens")), (6, 6, 106));
        let scored = json_rows(&place.rows("scored.parquet"));
        let golden = golden(model);
        for (found, row) in scored.iter().zip(golden["rows"].as_array().expect("rows")) {
            assert_eq!(found["response_ids"], row["response_ids"]);
            let mask = row["response_mask"].as_array().expect("a mask");
            for (k, mask) in mask.iter().enumerate() {
                let found = found["response_logprobs"][k].as_f64().expect("a log-prob");
                // What a tool wrote keeps what stood there.
                let expected = if mask == 1 { &row["logprobs"][k] } else { &row["response_logprobs"][k] };
                assert!((found - expected.as_f64().expect("a number")).abs() < 1e-4, "{model}, token {k}");
            }
        }
    }
}

#[test]
fn training_on_messages_writes_an_adapter_that_lowers_the_loss() {
    let place = Place::new();
    chat_model(&place);
    place.with("rollouts/two_runs.parquet", "raw.parquet");
    let args = "--model model --data raw.parquet --objective sft --lora-rank 4 --learning-rate 1e-2 --warmup 2 \
                --updates 12 --out adapter --merge";
    let said = train(&place, &args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let found = metrics(&place, "adapter");
    assert_eq!(found.len(), 12);
    assert!(found[11]["loss"].as_f64() < found[0]["loss"].as_f64().map(|x| x - 0.1), "{found:?}");
    assert_eq!(found[0]["learning_rate"], json!(0.005));
    let config: Value = serde_json::from_slice(&place.bytes("adapter/adapter_config.json")).expect("JSON");
    assert_eq!((&config["r"], &config["lora_alpha"], &config["peft_type"]), (&json!(4), &json!(8), &json!("LORA")));
    // The merged model, used as it stands, begins where the adapter ended.
    let args = "--model adapter/merged --data raw.parquet --objective sft --full --learning-rate 0 --updates 1 --out m";
    let merged = train(&place, &args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(merged.code, 0, "{}", merged.stderr);
    let args =
        "--model model --adapter adapter --data raw.parquet --objective sft --learning-rate 0 --updates 1 --out a";
    assert_eq!(train(&place, &args.split_whitespace().collect::<Vec<_>>()).code, 0);
    assert_close("merged", &metrics(&place, "m")[0]["loss"], &metrics(&place, "a")[0]["loss"]);
}

#[test]
fn raw_and_purified_data_train_alike_and_pairs_train_dpo() {
    let place = Place::new();
    chat_model(&place);
    place.with("rollouts/tokens.parquet", "raw.parquet");
    let args = "--in raw.parquet --out purified.parquet --tokenizer model --pairs";
    assert_eq!(place.run(&args.split_whitespace().collect::<Vec<_>>()).code, 0);
    let refused = "--model model --data purified.parquet --objective grpo --updates 1 --out refused";
    let said = train(&place, &refused.split_whitespace().collect::<Vec<_>>());
    assert_eq!(said.code, 3);
    assert!(said.stderr.contains("has no behaviour log-prob\n\nhint: `purify score` computes them with the policy"));
    let score = "score --in purified.parquet --raw raw.parquet --model model --out scored.parquet";
    assert_eq!(place.run(&score.split_whitespace().collect::<Vec<_>>()).code, 0);
    for (out, data, more) in [
        ("raw", "raw.parquet", "--objective grpo"),
        ("grpo", "scored.parquet", "--objective grpo --repair-weight-cap 2.0 --kl 0.1 --resample-on-correct"),
        ("sft", "scored.parquet", "--objective sft --checkpoint-activations"),
        ("dpo", "purified.pairs.parquet", "--objective dpo"),
    ] {
        let args = format!("--model model --data {data} {more} --updates 1 --warmup 0 --out {out}");
        let said = train(&place, &args.split_whitespace().collect::<Vec<_>>());
        assert_eq!(said.code, 0, "{args}: {}", said.stderr);
        assert!(metrics(&place, out)[0]["grad_norm"].as_f64() > Some(0.0), "{args}");
    }
    // Right after scoring the policy is the behaviour policy: no token moved, so nothing is clipped.
    let found = &metrics(&place, "grpo")[0];
    assert_eq!(found["clip_fraction"], json!(0.0));
    assert!(found["approx_kl"].as_f64().expect("a number").abs() < 1e-6);
}

#[test]
fn messages_without_tokens_get_them_when_scored_and_repairs_their_ratio() {
    let place = Place::new();
    chat_model(&place);
    place.with("rollouts/all.parquet", "raw.parquet");
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "purified.parquet"]).code, 0);
    let args = "score --in purified.parquet --raw raw.parquet --model model";
    let said = place.run(&args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(said.count("rows"), 25);
    let repairs = said.count("repairs");
    assert_eq!(said.json()["importance"]["repairs"], json!(repairs));
    let rows = json_rows(&place.rows("purified.scored.parquet"));
    let mut ratios = 0;
    for row in &rows {
        let ids = row["response_ids"].as_array().expect("tokens");
        assert_eq!(row["response_mask"].as_array().map(Vec::len), Some(ids.len()));
        let mask = row["response_mask"].as_array().expect("a mask").iter();
        let logprobs = row["response_logprobs"].as_array().expect("log-probs");
        for (mask, logprob) in mask.zip(logprobs) {
            assert_eq!(mask == 1, logprob.is_number(), "policy tokens have log-probs, others none");
        }
        for repair in row["purification"]["repairs"].as_array().expect("repairs") {
            let (sum, mean) = (&repair["log_importance_ratio"], &repair["log_importance_ratio_mean"]);
            assert!(sum.as_f64().expect("a ratio").abs() >= mean.as_f64().expect("a ratio").abs());
            ratios += 1;
        }
    }
    assert_eq!(ratios, repairs);
    // Scored data goes into the trainer without a tokenizer.
    std::fs::remove_file(place.path("model/tokenizer.json")).expect("it was there");
    let args = "--model model --data purified.scored.parquet --objective grpo --updates 1 --out run";
    let said = train(&place, &args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.stderr);
}

#[test]
fn repairs_stay_on_record_where_scored_data_is_purified_again() {
    let place = Place::new();
    chat_model(&place);
    place.with("rollouts/all.parquet", "raw.parquet");
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "purified.parquet"]).code, 0);
    let args = "score --in purified.parquet --raw raw.parquet --model model --out scored.parquet";
    assert_eq!(place.run(&args.split_whitespace().collect::<Vec<_>>()).code, 0);
    let said = place.run(&["--in", "scored.parquet", "--out", "again.parquet", "--tokenizer", "model"]);
    assert_eq!((said.code, said.count("rows_out")), (0, 25), "{}", said.stderr);
    let repairs = |file: &str| -> Vec<Value> {
        json_rows(&place.rows(file)).iter().map(|row| row["purification"]["repairs"].clone()).collect()
    };
    let (scored, again) = (repairs("scored.parquet"), repairs("again.parquet"));
    assert_eq!(again, scored);
    let ratios = again.iter().flat_map(|r| r.as_array().cloned().unwrap_or_default());
    assert_eq!(ratios.filter(|repair| repair["log_importance_ratio"].is_number()).count(), 14);
}

fn gated(place: &Place, threshold: &str) -> (Said, Vec<Value>) {
    let args = format!("--in raw.parquet --out gated.parquet --gate-model model --is-threshold {threshold}");
    let said = place.run(&args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let rows = json_rows(&place.rows("gated.parquet"));
    (said, rows)
}

#[test]
fn gate_makes_the_repairs_whose_ratio_reaches_the_threshold_and_no_others() {
    let place = Place::new();
    chat_model(&place);
    place.with("rollouts/all.parquet", "raw.parquet");
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "plain.parquet"]).code, 0);
    let plain = json_rows(&place.rows("plain.parquet"));
    // At 0 every repair passes: what is written is what is written without a gate, with ratios.
    let (said, open) = gated(&place, "0");
    assert_eq!(said.count("repairs"), said.count("gate_judged"));
    let messages = |rows: &[Value]| rows.iter().map(|r| r["messages"].clone()).collect::<Vec<_>>();
    assert_eq!(messages(&open), messages(&plain));
    assert_eq!(open[0]["purification"]["mode"], json!("append"));
    // The same ratios as `purify score` finds with both files.
    let args = "score --in plain.parquet --raw raw.parquet --model model --out scored.parquet";
    assert_eq!(place.run(&args.split_whitespace().collect::<Vec<_>>()).code, 0);
    let scored = json_rows(&place.rows("scored.parquet"));
    let ratios = |row: &Value| {
        let repairs = row["purification"]["repairs"].as_array().expect("repairs");
        repairs.iter().map(|r| r["log_importance_ratio"].as_f64().expect("a ratio")).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for (open, scored) in open.iter().zip(&scored) {
        for (a, b) in ratios(open).into_iter().zip(ratios(scored)) {
            assert!((a - b).abs() < 1e-4, "{a} and {b}");
            all.push(a);
        }
    }
    // Between the ratios: some pass, some don't, and those that don't leave their rows as they were.
    all.sort_by(f64::total_cmp);
    let middle = ((all[all.len() / 2 - 1] + all[all.len() / 2]) / 2.0).exp();
    let (said, some) = gated(&place, &middle.to_string());
    let refused = said.json()["skipped"]["gate"].as_u64().expect("some are refused");
    assert!(said.count("repairs") > 0 && refused > 0);
    assert_eq!(
        said.json()["log_is"].as_object().expect("bins").values().filter_map(Value::as_u64).sum::<u64>(),
        said.count("gate_judged")
    );
    assert!(some.iter().flat_map(ratios).all(|log_is| log_is >= middle.ln()));
    let (said, none) = gated(&place, "1e300");
    assert_eq!(said.count("repairs"), 0);
    let raw = json_rows(&place.rows("raw.parquet"));
    assert_eq!(messages(&none), messages(&raw));
}

#[test]
fn gate_lets_nothing_through_that_it_cannot_judge() {
    let place = Place::new();
    let model = chat_model(&place);
    place.with("rollouts/all.parquet", "raw.parquet");
    // Too short for some rollouts: their repairs are not made, whatever the threshold.
    set_config(&fixture("models/tiny-qwen3/config.json"), &model, &[("max_position_embeddings", json!(700))]);
    let (said, rows) = gated(&place, "0");
    let unjudged = said.count("gate_unjudged");
    assert!(unjudged > 0 && said.count("gate_judged") > 0, "{}", said.stdout);
    assert_eq!(said.json()["skipped"]["gate"], json!(unjudged));
    let repairs = rows.iter().map(|r| r["purification"]["repairs"].as_array().expect("repairs").len());
    assert_eq!(repairs.sum::<usize>() as u64, said.count("gate_judged"));
}

#[test]
fn gate_judges_tokens_as_it_judges_messages() {
    let place = Place::new();
    chat_model(&place);
    place.with("rollouts/tokens.parquet", "raw.parquet");
    let args = "--in raw.parquet --out gated.parquet --tokenizer model --gate-model model --is-threshold 0";
    let said = place.run(&args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!((said.count("gate_judged"), said.count("gate_unjudged")), (said.count("repairs"), 0));
    assert!(said.count("repairs") > 0);
}

const RESUMABLE: &str = "--model model --data rows.parquet --objective sft --learning-rate 1e-2 --warmup 3 \
                         --batch-rollouts 2 --updates 9 --save-every 2";

fn resumable(place: &Place, more: &str) -> Said {
    train(place, &format!("{RESUMABLE} {more}").split_whitespace().collect::<Vec<_>>())
}

#[test]
fn resumed_training_equals_uninterrupted() {
    for (kind, file) in [("--lora-rank 4", "adapter_model.safetensors"), ("--full", "model.safetensors")] {
        let place = place_with_rows("tiny-qwen3");
        std::os::unix::fs::symlink(tiny("tiny-qwen3"), place.path("model")).expect("a link");
        assert_eq!(resumable(&place, &format!("{kind} --out whole")).code, 0);
        let first = RESUMABLE.replace("--updates 9", "--updates 5") + &format!(" {kind} --out parts");
        assert_eq!(train(&place, &first.split_whitespace().collect::<Vec<_>>()).code, 0);
        let said = resumable(&place, &format!("{kind} --out parts --resume"));
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(said.json()["resumed_from"], json!(5));
        assert!(place.bytes(&format!("whole/{file}")) == place.bytes(&format!("parts/{file}")), "{kind}");
        assert_eq!(timeless(metrics(&place, "whole")), timeless(metrics(&place, "parts")));
        let optimizer = "checkpoint-000009/optimizer.safetensors";
        assert!(place.bytes(&format!("whole/{optimizer}")) == place.bytes(&format!("parts/{optimizer}")), "{kind}");
    }
}

#[test]
fn training_gives_the_same_bits_on_any_number_of_threads() {
    let place = place_with_rows("tiny-qwen3");
    std::os::unix::fs::symlink(tiny("tiny-qwen3"), place.path("model")).expect("a link");
    for threads in ["1", "2", "5"] {
        let args = format!("train {RESUMABLE} --full --out run{threads}");
        let mut command = place.command(&args.split_whitespace().collect::<Vec<_>>());
        let said = said(&command.env("RAYON_NUM_THREADS", threads).output().expect("it runs"));
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(place.bytes("run1/model.safetensors") == place.bytes(&format!("run{threads}/model.safetensors")));
    }
}

#[test]
fn training_killed_at_any_moment_goes_on_to_the_same_weights() {
    let place = place_with_rows("tiny-qwen3");
    std::os::unix::fs::symlink(tiny("tiny-qwen3"), place.path("model")).expect("a link");
    let long = RESUMABLE.replace("--updates 9", "--updates 120");
    let whole = format!("{long} --full --out whole");
    assert_eq!(train(&place, &whole.split_whitespace().collect::<Vec<_>>()).code, 0);
    let parts = format!("train {long} --full --out parts --resume");
    let parts: Vec<&str> = parts.split_whitespace().collect();
    let mut kills = 0;
    // Each life lasts a little longer than the one before: the kills fall on all kinds of moments.
    for life in 1..40 {
        let mut child = place.command(&parts).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(37 * life));
        match child.try_wait().expect("a status") {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => {
                child.kill().expect("it can be killed");
                child.wait().expect("a status");
                kills += 1;
            }
        }
    }
    assert!(kills > 0, "it was killed at least once");
    assert_eq!(place.run(&parts).code, 0);
    assert!(place.bytes("whole/model.safetensors") == place.bytes("parts/model.safetensors"));
    assert_eq!(timeless(metrics(&place, "whole")), timeless(metrics(&place, "parts")));
}

#[test]
fn interrupt_writes_a_checkpoint_to_go_on_from() {
    let place = place_with_rows("tiny-qwen3");
    std::os::unix::fs::symlink(tiny("tiny-qwen3"), place.path("model")).expect("a link");
    let endless = RESUMABLE.replace("--updates 9", "--updates 1000000").replace("--save-every 2", "--save-every 0");
    let args = format!("train {endless} --full --out run");
    let args: Vec<&str> = args.split_whitespace().collect();
    let child = place.command(&args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    let has_lines = || std::fs::read(place.path("run/metrics.jsonl")).is_ok_and(|text| !text.is_empty());
    while !has_lines() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let said = said(&child.wait_with_output().expect("an end"));
    assert_eq!(said.code, 130, "{}", said.stderr);
    assert!(said.stderr.contains("is saved: --resume goes on from it"), "{}", said.stderr);
    let update = metrics(&place, "run").len();
    assert!(place.path(&format!("run/checkpoint-{update:06}/trainer.json")).exists());
}

/// The first line of an error, and its status.
fn complaint(said: &Said) -> (i32, String) {
    let line = said.stderr.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
    (said.code, line.to_owned())
}

#[test]
fn models_that_do_not_fit_are_refused_by_what_is_wrong_with_them() {
    let place = place_with_rows("tiny-qwen3");
    let tiny = fixture("models/tiny-qwen3");
    let make = |name: &str, changes: &[(&str, Value)]| {
        let folder = place.path(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::copy(tiny.join("model.safetensors"), folder.join("model.safetensors")).expect("a copy");
        set_config(&tiny.join("config.json"), &folder, changes);
    };
    make("gemma", &[("model_type", json!("gemma3"))]);
    make("deeper", &[("num_hidden_layers", json!(3))]);
    make("wider", &[("intermediate_size", json!(200))]);
    make("windowed", &[("layer_types", json!(["sliding_attention", "full_attention"]))]);
    make("yarn", &[("rope_parameters", json!({"rope_type": "yarn", "rope_theta": 1e6}))]);
    make("short", &[("max_position_embeddings", json!(40))]);
    make("cut", &[]);
    let weights = std::fs::read(tiny.join("model.safetensors")).expect("weights");
    std::fs::write(place.path("cut/model.safetensors"), &weights[..weights.len() / 2]).expect("a file");
    std::fs::create_dir_all(place.path("empty")).expect("a folder");
    let size = weights.len() / 2;
    let cases = [
        ("none", 3, "`none` is not a model: expected a folder with `config.json`, or a .gguf file".to_owned()),
        ("empty", 3, "`empty` is not a model: expected a folder with `config.json`, or a .gguf file".to_owned()),
        ("gemma", 3, "`gemma/config.json` is a model of type `gemma3`, expected qwen2, qwen3 or llama".to_owned()),
        (
            "deeper",
            3,
            "`deeper/model.safetensors` has no tensor `model.layers.2.input_layernorm.weight`".to_owned(),
        ),
        (
            "wider",
            3,
            "tensor `model.layers.0.mlp.gate_proj.weight` of `wider/model.safetensors` has shape [160, 64], expected [200, 64]"
                .to_owned(),
        ),
        (
            "windowed",
            3,
            "`windowed/config.json` describes a model that can't be used: it has sliding-window attention, which is not supported"
                .to_owned(),
        ),
        (
            "yarn",
            3,
            "`yarn/config.json` describes a model that can't be used: its rotary embedding is of type `yarn`, expected default, linear or llama3"
                .to_owned(),
        ),
        (
            "short",
            3,
            "row 0 of `rows.parquet` (`r0`): a sequence has 43 tokens, the model takes at most 40".to_owned(),
        ),
    ];
    for (model, code, text) in cases {
        let args = ["--model", model, "--data", "rows.parquet", "--objective", "sft", "--out", &format!("out-{model}")];
        let said = train(&place, &args);
        assert_eq!(complaint(&said), (code, text));
    }
    let cut = train(&place, &["--model", "cut", "--data", "rows.parquet", "--objective", "sft", "--out", "o"]);
    let (code, text) = complaint(&cut);
    assert_eq!(code, 3);
    assert!(text.starts_with("`cut/model.safetensors` can't be used: tensor `"), "{text}");
    assert!(text.ends_with(&format!("does not lie within the file's {size} bytes: it is truncated")), "{text}");
    let other = format!("{}/adapter", self::tiny("tiny-llama"));
    let args = [
        "--model",
        &self::tiny("tiny-qwen3"),
        "--adapter",
        &other,
        "--data",
        "rows.parquet",
        "--objective",
        "sft",
        "--out",
        "o",
    ];
    let (code, text) = complaint(&train(&place, &args));
    assert_eq!(code, 3);
    assert!(text.contains("has shape"), "{text}");
}

#[test]
fn tokenizer_of_another_model_is_refused() {
    let place = Place::new();
    let model = chat_model(&place);
    place.with("rollouts/no_failure.parquet", "raw.parquet");
    let run =
        |out: &str| train(&place, &["--model", "model", "--data", "raw.parquet", "--objective", "sft", "--out", out]);
    std::fs::remove_file(model.join("chat_template.jinja")).expect("it was there");
    assert_eq!(
        complaint(&run("a")),
        (3, "row 0 of `raw.parquet` (`no_failure`): `model` has no chat template".to_owned())
    );
    let text = std::fs::read_to_string(model.join("tokenizer.json")).expect("a tokenizer");
    let mut tokenizer: Value = serde_json::from_str(&text).expect("JSON");
    for id in 264..700 {
        tokenizer["model"]["vocab"][format!("word{id}")] = json!(id);
    }
    std::fs::write(model.join("tokenizer.json"), tokenizer.to_string()).expect("a file");
    let (code, text) = complaint(&run("b"));
    assert_eq!(code, 3);
    assert!(text.starts_with("row 0 of `raw.parquet` (`no_failure`): the tokenizer's vocabulary has "), "{text}");
    assert!(text.ends_with(" entries, the model's 512"), "{text}");
    // Ids that the model does not know: the data was made with another tokenizer.
    let golden = golden("tiny-qwen3");
    let mut rows = golden["rows"].clone();
    rows[1]["response_ids"][3] = json!(512);
    write(&place.path("rows.parquet"), &golden_rows(&json!({ "rows": rows })), 4);
    let args = ["--model", "model", "--data", "rows.parquet", "--objective", "sft", "--out", "c"];
    let said = train(&place, &args);
    assert_eq!(
        complaint(&said),
        (3, "row 1 of `rows.parquet` (`r1`): token 512 is not in the model's vocabulary of 512".to_owned())
    );
}

#[test]
fn data_that_cannot_be_trained_on_is_refused_with_its_row() {
    let place = Place::new();
    let golden = golden("tiny-qwen3");
    let rows = golden_rows(&golden);
    let without = |name: &str| {
        let keep: Vec<usize> = (0..rows.num_columns()).filter(|&k| rows.schema().field(k).name() != name).collect();
        rows.project(&keep).expect("columns")
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut rows = golden["rows"].clone();
        change(&mut rows);
        golden_rows(&json!({ "rows": rows }))
    };
    write(&place.path("no_reward.parquet"), &without("reward"), 4);
    write(&place.path("no_group.parquet"), &without("group_id"), 4);
    write(&place.path("no_logprobs.parquet"), &without("response_logprobs"), 4);
    write(&place.path("no_prompt.parquet"), &without("prompt_ids"), 4);
    write(&place.path("empty.parquet"), &rows.slice(0, 0), 4);
    write(&place.path("alone.parquet"), &rows.slice(0, 1), 4);
    write(
        &place.path("equal.parquet"),
        &changed(&|r| r.as_array_mut().expect("rows").iter_mut().for_each(|r| r["reward"] = json!(1.0))),
        4,
    );
    write(&place.path("null_reward.parquet"), &changed(&|r| r[2]["reward"] = json!(null)), 4);
    write(&place.path("positive.parquet"), &changed(&|r| r[1]["response_logprobs"][2] = json!(0.5)), 4);
    write(&place.path("null.parquet"), &changed(&|r| r[1]["response_logprobs"][2] = json!(null)), 4);
    write(
        &place.path("untrained.parquet"),
        &changed(&|r| {
            r.as_array_mut().expect("rows").iter_mut().for_each(|r| {
                let n = r["response_mask"].as_array().expect("a mask").len();
                r["response_mask"] = json!(vec![0; n]);
            })
        }),
        4,
    );
    write(&place.path("nan.parquet"), &with_nan(&rows), 4);
    write(&place.path("pairs.parquet"), &golden_pairs(&golden), 4);
    let cases = [
        ("grpo", "no_reward", "`no_reward.parquet` has no column of rewards, which grpo needs"),
        ("grpo", "no_group", "`no_group.parquet` has no column of groups, which grpo needs"),
        ("grpo", "no_logprobs", "`no_logprobs.parquet` has no column of log-probs, which grpo needs"),
        (
            "sft",
            "no_prompt",
            "row 0 of `no_prompt.parquet` (`r0`): it has `response_ids` but no `prompt_ids`: what came before the response is unknown",
        ),
        ("sft", "empty", "there is nothing to train on: the files hold no row"),
        (
            "grpo",
            "alone",
            "there is nothing to train on: of 1 rows, dropped: 1 groups of a single rollout (such as `g0`)",
        ),
        ("grpo", "equal", "there is nothing to train on: of 6 rows, dropped: 2 groups whose rewards are all equal"),
        ("grpo", "null_reward", "row 2 of `null_reward.parquet` (`r2`): its reward is null, expected a number"),
        (
            "grpo",
            "positive",
            "row 1 of `positive.parquet` (`r1`): token 2 of the response has log-prob 0.5, expected a number that is not above 0",
        ),
        (
            "grpo",
            "nan",
            "row 0 of `nan.parquet` (`r0`): token 1 of the response has log-prob NaN, expected a number that is not above 0",
        ),
        ("grpo", "null", "row 1 of `null.parquet` (`r1`): token 2 of the response has no behaviour log-prob"),
        (
            "sft",
            "untrained",
            "there is nothing to train on: of 6 rows, dropped: 6 rollouts without a token of the policy's",
        ),
        (
            "dpo",
            "no_reward",
            "`no_reward.parquet` holds no preference pairs, which dpo needs: expected columns `prompt`, `chosen` and `rejected`, or the same names with `_ids`",
        ),
        ("grpo", "pairs", "`pairs.parquet` holds preference pairs, which grpo can't read"),
    ];
    for (objective, name, text) in cases {
        let data = format!("{name}.parquet");
        let args = [
            "--model",
            &tiny("tiny-qwen3"),
            "--data",
            &data,
            "--objective",
            objective,
            "--out",
            &format!("out-{name}-{objective}"),
        ];
        assert_eq!(complaint(&train(&place, &args)), (3, text.to_owned()));
    }
    // A bad row can be left out, and is counted.
    let args = [
        "--model",
        &tiny("tiny-qwen3"),
        "--data",
        "null.parquet",
        "--objective",
        "grpo",
        "--on-bad-row",
        "skip",
        "--updates",
        "1",
        "--out",
        "skip",
    ];
    let said = train(&place, &args);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(said.json()["data"]["bad_rows"], json!(1));
    assert!(
        said.stderr.contains("bad rows dropped: 1; the first: row 1 of `null.parquet` (`r1`): token 2"),
        "{}",
        said.stderr
    );
    // What is too long can be left out, and is counted.
    let args = [
        "--model",
        &tiny("tiny-qwen3"),
        "--data",
        "no_reward.parquet",
        "--objective",
        "sft",
        "--max-length",
        "40",
        "--updates",
        "1",
        "--out",
        "short",
    ];
    let said = train(&place, &args);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(said.json()["data"]["too_long"], json!(2));
    let again = train(&place, &args);
    assert_eq!(complaint(&again), (2, "`short` already holds a run".to_owned()));
    let other = train(&place, &[&args[..], &["--resume", "--learning-rate", "1"]].concat());
    let text = "checkpoint `short/checkpoint-000001` belongs to another run: `learning_rate` differs".to_owned();
    assert_eq!(complaint(&other), (2, text));
}

/// The second log-prob of the first row is NaN.
fn with_nan(rows: &RecordBatch) -> RecordBatch {
    let at = rows.schema().index_of("response_logprobs").expect("a column");
    let list = rows.column(at).as_any().downcast_ref::<ListArray>().expect("a list");
    let values = list.values().as_any().downcast_ref::<Float32Array>().expect("floats");
    let values: Float32Array =
        values.iter().enumerate().map(|(k, x)| if k == 1 { Some(f32::NAN) } else { x }).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let list = ListArray::new(item, list.offsets().clone(), Arc::new(values), None);
    let mut columns = rows.columns().to_vec();
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields[at] = Arc::new(Field::new(
        "response_logprobs",
        DataType::List(Arc::new(Field::new("item", DataType::Float32, true))),
        true,
    ));
    columns[at] = Arc::new(list);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns")
}

#[test]
fn loss_that_is_no_number_stops_with_the_rollouts_named_and_a_good_checkpoint_kept() {
    // One token of the vocabulary is broken, and one rollout holds it: the others' log-probs are sound.
    let place = place_with_rows("tiny-llama");
    std::os::unix::fs::symlink(tiny("tiny-llama"), place.path("good")).expect("a link");
    let folder = place.path("broken");
    std::fs::create_dir_all(&folder).expect("a folder");
    set_config(&fixture("models/tiny-llama/config.json"), &folder, &[]);
    let golden = golden("tiny-llama");
    let rows = golden["rows"].as_array().expect("rows");
    let holds = |row: &Value, id: u64| {
        ["prompt_ids", "response_ids"].iter().any(|n| row[n].as_array().is_some_and(|ids| ids.contains(&json!(id))))
    };
    let only_in_third = |id: &u64| rows.iter().filter(|row| holds(row, *id)).count() == 1 && holds(&rows[2], *id);
    let broken = (0..512).find(only_in_third).expect("a token of the third rollout alone");
    let mut weights = std::fs::read(fixture("models/tiny-llama/model.safetensors")).expect("weights");
    poison(&mut weights, "model.embed_tokens.weight", broken as usize * 64);
    std::fs::write(folder.join("model.safetensors"), weights).expect("a file");
    let args = ["--model", "broken", "--data", "rows.parquet", "--objective", "sft", "--updates", "2", "--out", "a"];
    let found = complaint(&train(&place, &args));
    assert_eq!(found, (1, "update 1: the loss is not finite; rollouts of it: `r2`".to_owned()));
    // A step that is far too long: the weights before it stay the last.
    let args = "--model good --data rows.parquet --objective sft --full --learning-rate 1e30 --warmup 0 \
                --batch-rollouts all --updates 9 --save-every 1 --out b";
    let said = train(&place, &args.split_whitespace().collect::<Vec<_>>());
    let (code, text) = complaint(&said);
    assert_eq!(code, 1, "{}", said.stderr);
    assert_eq!(text, "update 1: a weight is not finite; rollouts of it: `r0`, `r1`, `r2`, `r3`, `r4` and 1 more");
    assert!(!place.path("b/checkpoint-000001").exists());
    // Broken later on: the state before that update is saved and named.
    let args = "--model broken --data rows.parquet --objective sft --batch-rollouts 1 --updates 6 --save-every 0 \
                --seed 1 --out c";
    let said = train(&place, &args.split_whitespace().collect::<Vec<_>>());
    let good = metrics(&place, "c").len();
    assert!(good > 0, "the seed puts other rollouts first");
    let text = format!("update {}: the loss is not finite; rollouts of it: `r2`", good + 1);
    assert_eq!(complaint(&said), (1, text));
    let kept = format!("hint: `c/checkpoint-{good:06}` holds the last good state");
    assert!(said.stderr.contains(&kept), "{}", said.stderr);
    assert!(place.path(&format!("c/checkpoint-{good:06}/trainer.json")).exists());
}

/// Puts a NaN into a tensor of a safetensors file.
fn poison(file: &mut [u8], tensor: &str, entry: usize) {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).expect("JSON");
    let start = header[tensor]["data_offsets"][0].as_u64().expect("an offset") as usize + 8 + length + entry * 4;
    file[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
}

#[test]
#[cfg(target_os = "linux")]
fn scoring_a_long_rollout_with_a_large_vocabulary_stays_within_its_memory() {
    const TOKENS: usize = 20_480;
    const VOCABULARY: usize = 151_936;
    const WIDTH: usize = 64;
    let place = Place::new();
    let folder = place.path("thin");
    std::fs::create_dir_all(&folder).expect("a folder");
    let changes = [("vocab_size", json!(VOCABULARY)), ("max_position_embeddings", json!(32_768))];
    set_config(&fixture("models/tiny-qwen3/config.json"), &folder, &changes);
    widen_vocabulary(&folder, VOCABULARY, WIDTH);
    let ids = |n: usize| (0..n).map(|k| Some((k * 7919 % VOCABULARY) as i32)).collect::<Vec<_>>();
    let list =
        |ids: Vec<Option<i32>>| Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(ids)])) as ArrayRef;
    let mask = vec![Some(1i8); TOKENS - 480];
    let rows = table(vec![
        ("prompt_ids", list(ids(480))),
        ("response_ids", list(ids(TOKENS - 480))),
        ("response_mask", Arc::new(ListArray::from_iter_primitive::<Int8Type, _, _>([Some(mask)]))),
    ]);
    write(&place.path("long.parquet"), &rows, 4);
    let args = ["score", "--in", "long.parquet", "--model", "thin", "--out", "scored.parquet"];
    let mut child = place.command(&args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let done = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(high.unwrap_or(0));
        if let Some(done) = child.try_wait().expect("a status") {
            break done;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(done.success());
    let weights = std::fs::metadata(folder.join("model.safetensors")).expect("weights").len();
    let over = (peak * 1024).saturating_sub(weights);
    assert!(over < 3 << 29, "{} MiB over the weights, expected at most 1536", over >> 20);
}

/// The tiny model's weights with a larger embedding.
#[cfg(target_os = "linux")]
fn widen_vocabulary(folder: &Path, vocabulary: usize, width: usize) {
    use candle_core::{Device, Tensor};
    let path = fixture("models/tiny-qwen3/model.safetensors");
    let mut tensors = candle_core::safetensors::load(path, &Device::Cpu).expect("weights");
    let values: Vec<f32> = (0..vocabulary * width).map(|k| ((k * 2_654_435_761) % 1000) as f32 * 1e-4 - 0.05).collect();
    let embedding = Tensor::from_vec(values, (vocabulary, width), &Device::Cpu).expect("a tensor");
    tensors.insert("model.embed_tokens.weight".to_owned(), embedding);
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("a file");
}

#[test]
fn rows_that_cannot_be_scored_stay_and_are_counted() {
    let place = Place::new();
    let golden = golden("tiny-qwen3");
    let mut rows = golden["rows"].clone();
    rows[1]["response_ids"][3] = json!(9999);
    let long: Vec<i32> = vec![5; 600];
    rows[3]["response_ids"] = json!(long);
    rows[3]["response_mask"] = json!(vec![1; 600]);
    rows[3]["response_logprobs"] = json!(vec![-1.0; 600]);
    write(&place.path("rows.parquet"), &golden_rows(&json!({ "rows": rows })), 4);
    let args = ["score", "--in", "rows.parquet", "--model", &tiny("tiny-qwen3"), "--out", "scored.parquet"];
    let said = place.run(&args);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!((said.count("rows"), said.count("scored")), (6, 4));
    assert_eq!(said.json()["unscored"], json!({"too_long": 1, "unknown_token": 1}));
    let first = "row 1 of `rows.parquet` (`r1`): token 9999 is not in the model's vocabulary of 512";
    assert_eq!(said.json()["first_unscored"], json!(first));
    let (before, after) = (json_rows(&place.rows("rows.parquet")), json_rows(&place.rows("scored.parquet")));
    for row in [1, 3] {
        assert_eq!(before[row], after[row]);
    }
    let strict = place.run(&[&args[..], &["--strict"]].concat());
    assert_eq!(complaint(&strict), (1, "2 of 6 rows could not be scored".to_owned()));
    let own = place.run(&["score", "--in", "rows.parquet", "--model", &tiny("tiny-qwen3"), "--out", "./rows.parquet"]);
    assert_eq!(complaint(&own), (4, "`./rows.parquet` is the input itself".to_owned()));
    let raw = place.run(&[&args[..], &["--raw", "rows.parquet"]].concat());
    assert_eq!(raw.code, 3);
    // A line that is not a row can't be written: that is said, and `--strict` fails.
    let line = json!({"prompt_ids": [1, 2], "response_ids": [3], "response_mask": [1]});
    std::fs::write(place.path("rows.jsonl"), format!("{line}\nnot JSON\n{line}\n")).expect("a file");
    let args = ["score", "--in", "rows.jsonl", "--model", &tiny("tiny-qwen3"), "--strict"];
    let said = place.run(&args);
    assert_eq!(complaint(&said), (1, "1 of 3 rows could not be scored".to_owned()));
    assert!(said.stderr.contains("lines dropped, not rows (no_json): 1\n"), "{}", said.stderr);
    assert_eq!(place.rows("rows.scored.parquet").num_rows(), 2);
}
