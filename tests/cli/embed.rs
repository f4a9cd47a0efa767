//! `purify embed`, `purify calibrate`, and similarity by meaning in the main job, as a user runs them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use serde_json::{Value, json};

use crate::harness::{Place, Said, fixture, json_rows, said, without_provenance};

fn tiny() -> String {
    fixture("models/tiny-bert").to_string_lossy().into_owned()
}

/// To embed with the tiny model, on the CPU, without ONNX Runtime.
fn embedding(place: &Place, input: &str, out: &str) -> Command {
    let tiny = tiny();
    place.command(&["embed", "--in", input, "--out", out, "--model", &tiny, "--engine", "candle", "--device", "cpu"])
}

fn embed(place: &Place, input: &str, out: &str, more: &[&str]) -> Said {
    said(&embedding(place, input, out).args(more).output().expect("the program runs"))
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<String> {
    rows.column_by_name(name).expect("a column").as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

fn repairs(place: &Place, file: &str) -> Vec<Value> {
    json_rows(&place.rows(file))
        .iter()
        .flat_map(|row| row["purification"]["repairs"].as_array().cloned().unwrap_or_default())
        .collect()
}

#[test]
fn each_distinct_text_gets_one_vector_and_the_index_ties_steps_to_them() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = embed(&place, "raw.parquet", "steps.parquet", &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let (vectors, index) = (place.rows("steps.parquet"), place.rows("steps.index.parquet"));
    let keys: Vec<(String, String)> = texts(&vectors, "text_hash").into_iter().zip(texts(&vectors, "kind")).collect();
    assert!(keys.is_sorted() && keys.windows(2).all(|w| w[0] != w[1]), "in order of the hash, each once");
    let embeddings = vectors.column_by_name("embedding").expect("vectors").as_fixed_size_list().clone();
    assert_eq!(embeddings.value_length(), 32);
    let first = embeddings.value(0);
    let length: f32 = first.as_primitive::<Float32Type>().values().iter().map(|v| v * v).sum();
    assert!((length - 1.0).abs() < 1e-5);
    let distinct: std::collections::HashSet<_> = keys.iter().map(|(hash, _)| hash).collect();
    assert_eq!(done.count("distinct"), distinct.len() as u64);
    assert_eq!(done.count("embedded"), distinct.len() as u64);
    assert_eq!(done.count("texts"), index.num_rows() as u64);
    let tied: std::collections::HashSet<_> =
        texts(&index, "text_hash").into_iter().zip(texts(&index, "kind")).collect();
    assert_eq!(tied, keys.into_iter().collect(), "nothing is tied to nothing, and nothing is left over");
    assert!(done.json()["repeated_share"].as_f64().expect("a share") > 0.4);
    assert_eq!(place.files(), ["raw.parquet", "steps.index.parquet", "steps.parquet"]);
}

#[test]
fn hash_of_a_text_is_blake3_of_what_the_step_says() {
    let place = Place::new();
    std::fs::write(
        place.path("a.jsonl"),
        json!({"rollout_id": "r", "messages": [
            {"role": "user", "content": "u"},
            {"role": "assistant", "reasoning_content": "think", "content": "say", "tool_calls":
                [{"id": "1", "type": "function", "function": {"name": "python", "arguments": "{\"code\": \"1 + 1\"}"}}]},
            {"role": "tool", "content": "2"},
            {"role": "assistant", "content": "two"}]})
        .to_string()
            + "\n",
    )
    .expect("it is written");
    assert_eq!(embed(&place, "a.jsonl", "s.parquet", &["--kinds", "reasoning,call,code,step"]).code, 0);
    let call = "<tool_call>\n{\"name\": \"python\", \"arguments\": {\"code\": \"1 + 1\"}}\n</tool_call><|im_end|>";
    let expected = [
        ("r", 0, "reasoning", "think\nsay".to_owned()),
        ("r", 0, "call", call.to_owned()),
        ("r", 0, "code", "1 + 1".to_owned()),
        ("r", 0, "step", format!("think\nsay\n{call}")),
        ("r", 1, "reasoning", "two".to_owned()),
        ("r", 1, "step", "two".to_owned()),
    ];
    let expected: Vec<Value> = expected
        .iter()
        .map(|(rollout, step, kind, text)| {
            let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
            json!({"rollout_id": rollout, "step": step, "kind": kind, "text_hash": hash})
        })
        .collect();
    assert_eq!(json_rows(&place.rows("s.index.parquet")), expected);
}

#[test]
fn second_run_embeds_nothing_and_writes_the_same_bytes() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    assert_eq!(embed(&place, "raw.parquet", "steps.parquet", &[]).code, 0);
    let (vectors, index) = (place.bytes("steps.parquet"), place.bytes("steps.index.parquet"));
    let again = embed(&place, "raw.parquet", "steps.parquet", &[]);
    assert_eq!((again.count("embedded"), again.count("from_file")), (0, again.count("distinct")));
    assert_eq!((place.bytes("steps.parquet"), place.bytes("steps.index.parquet")), (vectors, index));
}

#[test]
fn what_is_new_is_embedded_and_the_file_is_the_one_of_a_single_run() {
    let place = Place::new();
    place.with("rollouts/two_runs.parquet", "part.parquet");
    place.with("rollouts/all.parquet", "raw.parquet");
    assert_eq!(embed(&place, "part.parquet", "grown.parquet", &[]).code, 0);
    let grown = embed(&place, "raw.parquet", "grown.parquet", &[]);
    let whole = embed(&place, "raw.parquet", "whole.parquet", &[]);
    assert!(grown.count("from_file") > 0);
    assert_eq!(grown.count("embedded") + grown.count("from_file"), whole.count("embedded"));
    assert_eq!(place.bytes("grown.parquet"), place.bytes("whole.parquet"));
    // The other way round nothing that was paid for is lost.
    let back = embed(&place, "part.parquet", "grown.parquet", &[]);
    assert!(back.count("kept") > 0);
    assert_eq!(place.bytes("grown.parquet"), place.bytes("whole.parquet"));
}

#[test]
fn size_of_batches_and_threads_do_not_show_in_the_bytes() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "raw.parquet", "a.parquet", &[]);
    embed(&place, "raw.parquet", "b.parquet", &["--batch-tokens", "1"]);
    let done = embedding(&place, "raw.parquet", "c.parquet").env("RAYON_NUM_THREADS", "1").output().expect("it runs");
    assert_eq!(said(&done).code, 0);
    assert_eq!(place.bytes("a.parquet"), place.bytes("b.parquet"));
    assert_eq!(place.bytes("a.parquet"), place.bytes("c.parquet"));
}

/// Many different long texts: the tiny model takes a while.
fn slow_input(place: &Place) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(place.path("slow.jsonl")).expect("a file"));
    for k in 0..6000 {
        let text = format!("{k} {}", "words of a step ".repeat(1 + k % 3));
        writeln!(out, "{}", json!({"messages": [{"role": "assistant", "content": text}]})).expect("it is written");
    }
}

#[test]
fn embedding_killed_at_any_moment_goes_on_to_the_same_bytes() {
    let place = Place::new();
    slow_input(&place);
    let started = Instant::now();
    assert_eq!(embed(&place, "slow.jsonl", "whole.parquet", &[]).code, 0);
    let whole = started.elapsed();
    let mut kills = 0;
    loop {
        let mut child = embedding(&place, "slow.jsonl", "s.parquet")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        // The first life is short enough to be cut on a machine of any mood; each one lasts longer than the one before.
        std::thread::sleep(whole.mul_f64(0.05 + 0.15 * f64::from(kills)));
        if child.try_wait().expect("it can be asked").is_some() {
            break;
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        kills += 1;
    }
    assert!(kills > 0, "it was killed at least once");
    assert_eq!(place.bytes("s.parquet"), place.bytes("whole.parquet"));
    let left: Vec<String> =
        place.files().into_iter().filter(|f| f.contains("journal") || f.contains("partial")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn interrupted_embedding_keeps_what_it_has_and_says_so() {
    let place = Place::new();
    slow_input(&place);
    let child = embedding(&place, "slow.jsonl", "s.parquet")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let until = Instant::now() + Duration::from_secs(60);
    // The first flush of the journal shows that it embeds.
    let journal = |place: &Place| place.files().into_iter().find(|f| f.ends_with(".journal"));
    let size = |place: &Place| journal(place).map_or(0, |f| place.path(&f).metadata().map_or(0, |m| m.len()));
    while size(&place) == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(100));
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let ended = said(&child.wait_with_output().expect("it ends"));
    if ended.code == 0 {
        crate::harness::skipped("the program was done before the signal came");
        return;
    }
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert!(ended.stderr.contains("run it again: what is embedded is kept"), "{}", ended.stderr);
    let again = embed(&place, "slow.jsonl", "s.parquet", &[]);
    assert_eq!(again.count("from_journal") + again.count("embedded"), again.count("distinct"));
    embed(&place, "slow.jsonl", "whole.parquet", &[]);
    assert_eq!(place.bytes("s.parquet"), place.bytes("whole.parquet"));
}

#[test]
fn granularity_by_meaning_follows_the_cosine_and_its_own_threshold() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "raw.parquet", "steps.parquet", &[]);
    let run = |threshold: &str, out: &str| {
        let args = ["--in", "raw.parquet", "--out", out, "--similarity", "semantic", "--embeddings", "steps.parquet"];
        place.run(&[&args[..], &["--semantic-threshold", threshold]].concat())
    };
    assert_eq!(run("0", "all_shallow.parquet").count("repairs_deep"), 0);
    // The tiny model finds everything similar: the middle of what it finds parts the repairs.
    let mut least: Vec<f64> = repairs(&place, "all_shallow.parquet").iter().map(least_similarity).collect();
    least.sort_by(f64::total_cmp);
    let middle = least[least.len() / 2];
    let some = run(&format!("{middle:?}"), "some.parquet");
    let found = repairs(&place, "some.parquet");
    for repair in &found {
        assert_eq!(repair["measure"], "semantic");
        assert_eq!(repair["similarity"], repair["semantic_similarity"]);
        assert_eq!(repair["granularity"] == "deep", least_similarity(repair) < middle, "{repair}");
    }
    let deep = found.iter().filter(|r| r["granularity"] == "deep").count();
    assert_eq!(some.count("repairs_deep"), deep as u64);
    assert!(deep > 0 && deep < found.len(), "{deep} of {}", found.len());
    // Where the least cosine equals the threshold, the repair is shallow.
    assert!(found.iter().any(|r| least_similarity(r) == middle && r["granularity"] == "shallow"));
}

fn least_similarity(repair: &Value) -> f64 {
    repair["similarity"].as_array().expect("numbers").iter().filter_map(Value::as_f64).fold(1.0, f64::min)
}

#[test]
fn recording_the_cosine_as_well_changes_no_decision() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "raw.parquet", "steps.parquet", &[]);
    place.run(&["--in", "raw.parquet", "--out", "plain.parquet"]);
    let both = place.run(&[
        "--in",
        "raw.parquet",
        "--out",
        "both.parquet",
        "--also-semantic",
        "--embeddings",
        "steps.parquet",
    ]);
    assert_eq!(both.code, 0, "{}", both.stderr);
    assert_eq!(
        without_provenance(&place.rows("plain.parquet")),
        without_provenance(&place.rows("both.parquet")),
        "the rollouts are the same"
    );
    let (plain, both) = (repairs(&place, "plain.parquet"), repairs(&place, "both.parquet"));
    assert!(!both.is_empty());
    for (plain, both) in plain.iter().zip(&both) {
        assert_eq!((&plain["similarity"], &plain["granularity"]), (&both["similarity"], &both["granularity"]));
        assert!(plain["semantic_similarity"].is_null());
        let (text, meaning) = (&both["similarity"], &both["semantic_similarity"]);
        assert_eq!(text.as_array().map(Vec::len), meaning.as_array().map(Vec::len), "{both}");
    }
    let manifest: Value = serde_json::from_slice(&place.bytes("both.manifest.json")).expect("JSON");
    assert_eq!(manifest["settings"]["vectors"]["name"], "tiny-bert");
}

#[test]
fn model_in_the_main_job_gives_what_the_file_gives_whatever_the_text_that_is_compared() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "raw.parquet", "steps.parquet", &["--kinds", "reasoning,call,code,step"]);
    let tiny = tiny();
    for of in ["call", "code", "reasoning", "step"] {
        let base =
            ["--in", "raw.parquet", "--similarity", "semantic", "--semantic-threshold", "0.8", "--semantic-of", of];
        let by_file = place.run(&[&base[..], &["--out", "f.parquet", "--embeddings", "steps.parquet"]].concat());
        let by_model = [&base[..], &["--out", "m.parquet", "--model", &tiny, "--engine", "candle", "--device", "cpu"]];
        let by_model = place.run(&by_model.concat());
        assert_eq!((by_file.code, by_model.code), (0, 0), "{of}: {}{}", by_file.stderr, by_model.stderr);
        assert_eq!(place.bytes("f.parquet"), place.bytes("m.parquet"), "{of}");
    }
}

#[test]
fn text_without_a_vector_ends_the_run_before_anything_is_written() {
    let place = Place::new();
    place.with("rollouts/no_failure.parquet", "other.parquet");
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "other.parquet", "steps.parquet", &[]);
    let before = place.files();
    let args = ["--in", "raw.parquet", "--also-semantic", "--embeddings", "steps.parquet"];
    let failed = place.run(&args);
    assert_eq!(failed.code, 3);
    assert!(failed.stderr.contains("of `raw.parquet`: a code to compare has no vector"), "{}", failed.stderr);
    assert!(failed.stderr.contains("purify embed --kinds code"), "{}", failed.stderr);
    assert_eq!(place.files(), before);
    // With the model as well, only those are embedded.
    let tiny = tiny();
    let filled = place.run(&[&args[..], &["--model", &tiny, "--engine", "candle", "--device", "cpu"]].concat());
    assert_eq!(filled.code, 0, "{}", filled.stderr);
}

#[test]
fn meaning_without_vectors_or_without_a_threshold_is_a_usage_error() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let none = place.run(&["--in", "raw.parquet", "--similarity", "semantic"]);
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("similarity by meaning needs vectors"), "{}", none.stderr);
    embed(&place, "raw.parquet", "steps.parquet", &[]);
    let no_threshold = place.run(&["--in", "raw.parquet", "--similarity", "semantic", "--embeddings", "steps.parquet"]);
    assert_eq!(no_threshold.code, 2);
    assert!(no_threshold.stderr.contains("purify calibrate"), "{}", no_threshold.stderr);
}

#[test]
fn calibration_finds_a_threshold_and_counts_add_up() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "raw.parquet", "steps.parquet", &[]);
    let found = place.run(&["calibrate", "--in", "raw.parquet", "--embeddings", "steps.parquet"]);
    assert_eq!(found.code, 0, "{}", found.stderr);
    let (all, plain) = (found.json(), place.run(&["--in", "raw.parquet", "--dry-run"]));
    let count = |row: &Value, names: [&str; 2]| names.iter().map(|n| row[*n].as_u64().expect("a count")).sum::<u64>();
    for row in all["table"].as_array().expect("rows").iter().chain([&all["best"]]) {
        assert_eq!(count(row, ["both_deep", "text_deep"]), plain.count("repairs_deep"), "{row}");
        assert_eq!(count(row, ["both_shallow", "meaning_deep"]), plain.count("repairs_shallow"), "{row}");
        assert!(row["kappa"].as_f64() <= all["best"]["kappa"].as_f64());
    }
    assert!(found.stderr.contains("best agreement beyond chance"), "{}", found.stderr);
    // What it found decides as it said.
    let threshold = all["best"]["threshold"].to_string();
    let args = ["--in", "raw.parquet", "--dry-run", "--similarity", "semantic", "--embeddings", "steps.parquet"];
    let decided = place.run(&[&args[..], &["--semantic-threshold", &threshold]].concat());
    assert_eq!(decided.count("repairs_deep"), count(&all["best"], ["both_deep", "meaning_deep"]));
}

#[test]
fn vectors_of_another_model_are_never_mixed() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "raw.parquet", "steps.parquet", &[]);
    let bytes = place.bytes("steps.parquet");
    let other = embed(&place, "raw.parquet", "steps.parquet", &["--pooling", "cls"]);
    assert_eq!(other.code, 3);
    assert!(
        other.stderr.contains(
            "`steps.parquet`: its vectors are of another model: pooling is mean, expected cls as of the model"
        ),
        "{}",
        other.stderr
    );
    assert_eq!(place.bytes("steps.parquet"), bytes);
    embed(&place, "raw.parquet", "cls.parquet", &["--pooling", "cls"]);
    let mixed = ["--in", "raw.parquet", "--also-semantic", "--embeddings", "steps.parquet", "cls.parquet"];
    let mixed = place.run(&mixed);
    assert_eq!(mixed.code, 3);
    assert!(mixed.stderr.contains("expected mean as of `steps.parquet`"), "{}", mixed.stderr);
}

#[test]
fn cached_file_that_is_damaged_is_named_with_what_is_wrong() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "raw.parquet", "steps.parquet", &[]);
    let read = |file: &str| place.run(&["--in", "raw.parquet", "--also-semantic", "--embeddings", file]).stderr;
    assert!(read("raw.parquet").contains("it has no metadata `purify.model`"), "{}", read("raw.parquet"));
    std::fs::write(place.path("cut.parquet"), &place.bytes("steps.parquet")[..500]).expect("it is written");
    assert!(read("cut.parquet").contains("`cut.parquet` is truncated"), "{}", read("cut.parquet"));
    assert!(read("none.parquet").contains("`none.parquet` can't be opened"), "{}", read("none.parquet"));
    // The card and the column of one file, not of one model.
    let rows = place.rows("steps.parquet");
    let rewritten = |name: &str, rows: &RecordBatch, card: &str| {
        let metadata = vec![parquet::file::metadata::KeyValue::new("purify.model".to_owned(), card.to_owned())];
        let properties =
            parquet::file::properties::WriterProperties::builder().set_key_value_metadata(Some(metadata)).build();
        let file = std::fs::File::create(place.path(name)).expect("a file");
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, rows.schema(), Some(properties)).expect("a writer");
        writer.write(rows).expect("rows");
        writer.close().expect("a footer");
    };
    let card = json!({"name": "x", "weights": "w", "config": "c", "tokenizer": "t", "engine": "candle", "precision": "float32", "device": "cpu",
        "pooling": "mean", "normalised": true, "max_tokens": 48, "dimension": 64});
    rewritten("wide.parquet", &rows, &card.to_string());
    let wide = read("wide.parquet");
    assert!(wide.contains("column `embedding` is FixedSizeList(32 x"), "{wide}");
    assert!(wide.contains("expected FixedSizeList(64 x"), "{wide}");
    assert!(
        embed(&place, "raw.parquet", "wide.parquet", &[]).stderr.contains("`wide.parquet` is not a file of vectors")
    );
    rewritten("card.parquet", &rows, "{");
    assert!(read("card.parquet").contains("its metadata `purify.model` is damaged"), "{}", read("card.parquet"));
    let mut card = card;
    card["dimension"] = json!(32);
    let hashes = arrow::array::StringArray::from_iter_values((0..rows.num_rows()).map(|k| format!("{k}")));
    let mut columns = rows.columns().to_vec();
    columns[0] = std::sync::Arc::new(hashes);
    rewritten("hash.parquet", &RecordBatch::try_new(rows.schema(), columns).expect("columns"), &card.to_string());
    assert!(read("hash.parquet").contains("row 0: `text_hash` is not a hash"), "{}", read("hash.parquet"));
}

#[test]
fn rows_that_can_not_be_read_are_counted_and_the_first_is_named() {
    let place = Place::new();
    place.with("bad/no_json.jsonl", "bad.jsonl");
    let done = embed(&place, "bad.jsonl", "s.parquet", &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.json()["unreadable"]["no_json"].as_u64() >= Some(1), "{}", done.stdout);
    assert!(done.stderr.contains("the first: row "), "{}", done.stderr);
    assert_eq!(embed(&place, "bad.jsonl", "s.parquet", &["--strict"]).code, 1);
}

#[test]
fn input_is_never_overwritten_by_its_vectors() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let before = place.bytes("raw.parquet");
    let failed = embed(&place, "raw.parquet", "raw.parquet", &[]);
    assert_eq!(failed.code, 4, "{}", failed.stderr);
    assert_eq!(place.bytes("raw.parquet"), before);
    assert_eq!(place.files(), ["raw.parquet"]);
}

#[test]
fn missing_library_is_an_error_that_says_how_to_get_it() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let tiny = tiny();
    let args = ["embed", "--in", "raw.parquet", "--out", "s.parquet", "--model", &tiny, "--engine", "onnx"];
    for (library, expected) in
        [("no/such.so", "ORT_DYLIB_PATH names `no/such.so`, no file"), ("raw.parquet", "failed to load from")]
    {
        let failed = said(&place.command(&args).env("ORT_DYLIB_PATH", library).output().expect("it runs"));
        assert_eq!(failed.code, 2, "{}", failed.stderr);
        assert!(failed.stderr.contains(expected), "{}", failed.stderr);
        assert!(failed.stderr.contains("pip install onnxruntime"), "{}", failed.stderr);
        assert!(!failed.stderr.contains("panicked"), "{}", failed.stderr);
    }
    let clean = place.command(&args).env_clear().env("HOME", place.path("home")).output().expect("it runs");
    let clean = said(&clean);
    if clean.code == 0 {
        crate::harness::skipped("this machine has the library where every program finds it");
        return;
    }
    assert_eq!(clean.code, 2, "{}", clean.stderr);
    assert!(clean.stderr.contains("ONNX Runtime was not found"), "{}", clean.stderr);
}

#[test]
fn cuda_that_is_not_there_is_an_error_and_never_the_cpu() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let tiny = tiny();
    let args = ["embed", "--in", "raw.parquet", "--out", "s.parquet", "--model", &tiny, "--engine", "candle"];
    let done = place.run(&[&args[..], &["--device", "cuda"]].concat());
    if done.code == 0 {
        assert!(done.stderr.contains("cuda"), "{}", done.stderr);
        return;
    }
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("device `cuda` can't be used"), "{}", done.stderr);
}

#[test]
fn name_that_is_neither_folder_nor_model_is_refused() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    for name in ["no-such-folder", "../up/down/x", "a/b/c"] {
        let failed = place.run(&["embed", "--in", "raw.parquet", "--out", "s.parquet", "--model", name]);
        assert_eq!(failed.code, 3, "{}", failed.stderr);
        assert!(failed.stderr.contains("neither a known name nor a repository"), "{}", failed.stderr);
    }
}

/// Serves files of the tiny model as the hub does, and counts what was asked for.
fn hub() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let range = lines.by_ref().take_while(|l| !l.is_empty()).filter_map(|l| {
                let (name, value) = l.split_once(": ")?;
                name.eq_ignore_ascii_case("range").then(|| value.trim_start_matches("bytes=").to_owned())
            });
            let range: Vec<String> = range.collect();
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let file = path.split("/resolve/main/").nth(1).unwrap_or_default();
            log.lock().expect("a lock").push(file.to_owned());
            let mut stream = stream;
            let Ok(bytes) = std::fs::read(fixture("models/tiny-bert").join(file)) else {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                continue;
            };
            let (from, to) = range.first().and_then(|r| r.split_once('-')).unwrap_or(("0", ""));
            let from: usize = from.parse().unwrap_or(0);
            let to = to.parse::<usize>().map_or(bytes.len(), |to| (to + 1).min(bytes.len()));
            let etag = blake3::hash(&bytes).to_hex();
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\nETag: \"{etag}\"\r\n\
                 X-Repo-Commit: 0123456789abcdef0123456789abcdef01234567\r\nConnection: close\r\n\r\n",
                to - from,
                to - 1,
                bytes.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|_| stream.write_all(&bytes[from..to]));
        }
    });
    (address, asked)
}

#[test]
fn known_name_is_fetched_from_the_hub_once_and_then_found_in_its_cache() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let (address, asked) = hub();
    let run = |endpoint: &str, out: &str, name: &str| {
        let args =
            ["embed", "--in", "raw.parquet", "--out", out, "--model", name, "--engine", "candle", "--device", "cpu"];
        let mut command = place.command(&args);
        said(&command.env("HF_HOME", place.path("cache")).env("HF_ENDPOINT", endpoint).output().expect("it runs"))
    };
    let fetched = run(&address, "hub.parquet", "minilm");
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    assert_eq!(fetched.json()["model"]["name"], "sentence-transformers/all-MiniLM-L6-v2");
    assert_eq!(fetched.json()["model"]["max_tokens"], 48, "the file that says so was fetched as well");
    let first = asked.lock().expect("a lock").len();
    let again = run(&address, "again.parquet", "sentence-transformers/all-MiniLM-L6-v2");
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(asked.lock().expect("a lock").len(), first, "the cache was enough");
    embed(&place, "raw.parquet", "folder.parquet", &[]);
    let hashes = |file: &str| texts(&place.rows(file), "text_hash");
    assert_eq!(hashes("hub.parquet"), hashes("folder.parquet"));
    // Nobody listens there.
    let offline = run("http://127.0.0.1:9", "offline.parquet", "bge-small");
    assert_eq!(offline.code, 3, "{}", offline.stderr);
    assert!(offline.stderr.contains("`BAAI/bge-small-en-v1.5` can't be fetched from the hub"), "{}", offline.stderr);
    assert!(offline.stderr.contains("put `config.json`, `tokenizer.json`, `model.safetensors`"), "{}", offline.stderr);
}

#[test]
fn known_model_brings_its_own_threshold_but_none_for_reasoning() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let (address, _) = hub();
    let run = |of: &str| {
        let args = ["--in", "raw.parquet", "--out", "p.parquet", "--similarity", "semantic", "--semantic-of", of];
        let args = [&args[..], &["--model", "minilm", "--engine", "candle", "--device", "cpu"]].concat();
        let mut command = place.command(&args);
        said(&command.env("HF_HOME", place.path("cache")).env("HF_ENDPOINT", &address).output().expect("it runs"))
    };
    let done = run("code");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let manifest: Value = serde_json::from_slice(&place.bytes("p.manifest.json")).expect("JSON");
    assert_eq!(manifest["settings"]["semantic"]["semantic_threshold"], 0.72);
    let none = run("reasoning");
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("no threshold is known for this model and these texts"), "{}", none.stderr);
}

#[test]
fn models_that_differ_in_their_config_alone_are_two_models() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    for name in ["config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"] {
        place.with(&format!("models/tiny-bert/{name}"), &format!("model/{name}"));
    }
    let args = [
        "embed",
        "--in",
        "raw.parquet",
        "--out",
        "s.parquet",
        "--model",
        "model",
        "--engine",
        "candle",
        "--device",
        "cpu",
    ];
    assert_eq!(place.run(&args).code, 0);
    let config = String::from_utf8(place.bytes("model/config.json")).expect("text");
    std::fs::write(place.path("model/config.json"), config.replace("\"gelu\"", "\"relu\"")).expect("it is written");
    let other = place.run(&args);
    assert_eq!(other.code, 3);
    assert!(other.stderr.contains("its vectors are of another model: config is"), "{}", other.stderr);
}

#[test]
fn index_never_overwrites_a_file_that_is_none() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let other = place.with("rollouts/all.parquet", "s.index.parquet");
    let before = std::fs::read(&other).expect("it is there");
    let failed = embed(&place, "raw.parquet", "s.parquet", &[]);
    assert_eq!(failed.code, 3);
    assert!(failed.stderr.contains("the index of steps goes there, and it is something else"), "{}", failed.stderr);
    assert_eq!(std::fs::read(&other).expect("it is there"), before);
    assert_eq!(embed(&place, "raw.parquet", "steps.a", &[]).code, 0);
    assert!(place.path("steps.a.index.parquet").exists());
}

#[test]
fn vectors_are_never_overwritten_by_the_main_job() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    embed(&place, "raw.parquet", "v.parquet", &[]);
    let before = place.bytes("v.parquet");
    for more in [["--out", "v.parquet"], ["--report", "v.parquet"]] {
        let args = ["--in", "raw.parquet", "--also-semantic", "--embeddings", "v.parquet"];
        let failed = place.run(&[&args[..], &more].concat());
        assert_eq!(failed.code, 4, "{}", failed.stderr);
        assert!(failed.stderr.contains("`v.parquet` is the input itself"), "{}", failed.stderr);
        assert_eq!(place.bytes("v.parquet"), before);
    }
}

#[test]
fn audit_draws_the_curve_of_meaning_from_vectors_or_from_what_was_recorded() {
    let place = Place::new();
    place.with("audit/raw.parquet", "raw.parquet");
    std::fs::write(place.path("purify.toml"), "call-marker-ids = [7]\n").expect("written");
    assert_eq!(embed(&place, "raw.parquet", "steps.parquet", &[]).code, 0);
    let vectors = ["--embeddings", "steps.parquet", "--semantic-threshold", "0.9"];
    let recorded =
        place.run(&[&["--in", "raw.parquet", "--out", "p.parquet", "--also-semantic"], &vectors[..]].concat());
    assert_eq!(recorded.code, 0, "{}", recorded.stderr);
    let report = |args: &[&str]| -> Value {
        let done = place.run(&[&["audit"], args, &["--json", "a.json"]].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        serde_json::from_slice(&place.bytes("a.json")).expect("JSON")
    };
    let predicted = report(&[&["raw.parquet"], &vectors[..]].concat());
    let found = report(&["raw.parquet", "p.parquet", "--semantic-threshold", "0.9"]);
    assert_eq!(predicted["sensitivity"], found["sensitivity"]);
    let least: Vec<f64> = repairs(&place, "p.parquet")
        .iter()
        .map(|repair| repair["semantic_similarity"].as_array().expect("cosines").iter().filter_map(Value::as_f64))
        .map(|cosines| cosines.fold(f64::INFINITY, f64::min))
        .collect();
    assert!(!least.is_empty());
    for percent in [0, 50, 90, 97, 100] {
        let deep = least.iter().filter(|cosine| **cosine < f64::from(percent) / 100.0).count();
        assert_eq!(found["sensitivity"]["semantic"]["deep"][percent as usize], deep, "{percent}");
    }
    assert!(found["sensitivity"]["changed_by_meaning"].is_number());
    assert!(report(&["raw.parquet"])["sensitivity"]["semantic"].is_null());
}
