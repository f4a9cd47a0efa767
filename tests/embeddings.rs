//! Vectors against PyTorch and Python's onnxruntime, with the same weights, on both engines.
//!
//! `fixtures/models/tiny-bert` is a random model of ours, `fixtures/reference/embeddings.json` what transformers and
//! onnxruntime make of it and of the real MiniLM (`scripts/make_embedder.py`). The library of ONNX Runtime and the real
//! models are fetched by `scripts/fetch_models.sh`; where that can't be done, the tests that need them say so loudly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;

use clap::{Args, FromArgMatches};
use purify::embed::batch::Batcher;
use purify::embed::{EmbedError, Embedder, Embedding, Loaded, load};
use purify::options::EmbedModel;
use purify::run::{Run, Silent};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn options(args: &[&str]) -> EmbedModel {
    let command = EmbedModel::augment_args(clap::Command::new("test"));
    let args = ["test", "--device", "cpu"].iter().chain(args);
    EmbedModel::from_arg_matches(&command.get_matches_from(args)).expect("they parse")
}

fn loaded(model: &Path, args: &[&str]) -> Result<Loaded, EmbedError> {
    load(&model.to_string_lossy(), &options(args), false)
}

fn embedder(model: &Path, args: &[&str]) -> Box<dyn Embedder> {
    loaded(model, args).unwrap_or_else(|e| panic!("{}: {e}", model.display())).embedder
}

fn tiny() -> PathBuf {
    root().join("fixtures/models/tiny-bert")
}

/// A copy of the tiny model to break.
fn tiny_copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("1_Pooling")).expect("a folder");
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ] {
        std::fs::copy(tiny().join(name), folder.path().join(name)).expect("it is there");
    }
    folder
}

/// What the fetched models and the library need; `None` where they can't be fetched.
fn fetched() -> Option<PathBuf> {
    static FETCHED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FETCHED.get_or_init(|| {
        let done = Command::new(root().join("scripts/fetch_models.sh")).arg("embed").output();
        if !done.is_ok_and(|d| d.status.success()) {
            return None;
        }
        // Beside the program is one of the places where it is looked for.
        let library = std::fs::read_dir(root().join("models/onnxruntime")).ok()?.flatten().next()?.path();
        let beside = std::env::current_exe().ok()?.with_file_name(library.file_name()?);
        if !beside.exists() {
            std::fs::copy(&library, &beside).ok()?;
        }
        Some(root().join("models"))
    });
    if found.is_none() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: ONNX Runtime and MiniLM can't be fetched ***\n");
    }
    found.clone()
}

struct Reference {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

fn reference(model: &str, what: &str) -> Reference {
    let path = root().join("fixtures/reference/embeddings.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("it is JSON");
    Reference {
        texts: serde_json::from_value(all["texts"].clone()).expect("texts"),
        vectors: serde_json::from_value(all[model][what].clone()).expect("vectors"),
    }
}

fn embedded(embedder: &mut dyn Embedder, texts: &[String], batch_tokens: usize) -> Vec<Embedding> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let signal = AtomicUsize::new(0);
    let run = Run::new(1, &Silent, &signal).expect("a thread");
    let mut out: Vec<Option<Embedding>> = vec![None; texts.len()];
    Batcher::new(embedder, Some(batch_tokens), &run)
        .embed(&texts, |batch| {
            batch.into_iter().for_each(|e| out[e.index] = Some(e.embedding));
            Ok::<(), EmbedError>(())
        })
        .expect("it embeds");
    out.into_iter().map(|e| e.expect("every text has a vector")).collect()
}

fn assert_close(mut embedder: Box<dyn Embedder>, reference: &Reference, least: f64) {
    let found = embedded(embedder.as_mut(), &reference.texts, 4096);
    for ((text, found), expected) in reference.texts.iter().zip(&found).zip(&reference.vectors) {
        let length: f64 = found.values().iter().map(|&v| f64::from(v).powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-5, "{text:?} has length {length}");
        let cosine = found.cosine(&Embedding::new(expected.clone()).expect("a vector"));
        assert!(cosine >= least, "{text:?}: cosine {cosine}");
    }
}

/// Texts of many lengths, several of each: batches form.
fn many_texts() -> Vec<String> {
    (0..60).map(|k| format!("x{} = {}", k % 7, "abc 1 ".repeat(k % 9))).collect()
}

#[test]
fn candle_vectors_equal_pytorchs_with_either_pooling() {
    for pooling in ["mean", "cls"] {
        let engine = embedder(&tiny(), &["--engine", "candle", "--pooling", pooling]);
        assert_close(engine, &reference("tiny", pooling), 0.999999);
    }
}

#[test]
fn candle_vectors_in_float16_stay_close() {
    let engine = embedder(&tiny(), &["--engine", "candle", "--precision", "float16"]);
    assert_eq!(engine.card().precision, "float16");
    assert_close(engine, &reference("tiny", "mean"), 0.999);
}

#[test]
fn onnx_vectors_equal_pytorchs_with_either_pooling() {
    if fetched().is_none() {
        return;
    }
    for pooling in ["mean", "cls"] {
        let engine = embedder(&tiny(), &["--engine", "onnx", "--pooling", pooling]);
        assert_close(engine, &reference("tiny", pooling), 0.999999);
    }
}

#[test]
fn vectors_of_the_real_model_equal_pytorchs_and_int8_equals_int8() {
    let Some(models) = fetched() else { return };
    assert_close(embedder(&models.join("minilm"), &["--engine", "candle"]), &reference("minilm", "mean"), 0.9999);
    assert_close(embedder(&models.join("minilm-int8"), &[]), &reference("minilm", "int8"), 0.9999);
}

#[test]
fn vector_has_the_same_bits_alone_and_in_a_batch() {
    let texts = many_texts();
    let mut engines = vec![embedder(&tiny(), &["--engine", "candle"])];
    if fetched().is_some() {
        engines.push(embedder(&tiny(), &["--engine", "onnx"]));
    }
    for mut engine in engines {
        let alone = embedded(engine.as_mut(), &texts, 1);
        for batch_tokens in [64, 4096] {
            let together = embedded(engine.as_mut(), &texts, batch_tokens);
            let differ = (0..texts.len()).filter(|&k| together[k] != alone[k]).count();
            assert_eq!(differ, 0, "{} of {} with {}", differ, texts.len(), engine.card().engine);
        }
    }
}

#[test]
fn model_that_is_quantised_as_it_runs_gets_one_text_at_a_time() {
    if fetched().is_none() {
        return;
    }
    let folder = tiny_copy();
    std::fs::remove_file(folder.path().join("model.safetensors")).expect("it is there");
    std::fs::copy(tiny().join("dynamic.onnx"), folder.path().join("model.onnx")).expect("it is there");
    let engine = embedder(folder.path(), &[]);
    assert!(engine.is_one_by_one());
    assert_eq!(engine.card().precision, "quantised");
    assert_close(engine, &reference("tiny", "dynamic"), 0.9999);
}

#[test]
fn text_behind_the_models_limit_does_not_count() {
    let mut engine = embedder(&tiny(), &["--engine", "candle"]);
    let long = "a ".repeat(46) + &"b ".repeat(100);
    let lengths = engine.lengths(&["a", &long]).expect("they are measured");
    assert_eq!((lengths[0].tokens, lengths[0].is_cut), (3, false));
    assert_eq!((lengths[1].tokens, lengths[1].is_cut), (48, true));
    let found = embedded(engine.as_mut(), &[long.clone(), long + "c"], 4096);
    assert_eq!(found[0], found[1]);
}

#[test]
fn folder_that_does_not_say_how_to_pool_gets_the_mean_and_a_note() {
    let folder = tiny_copy();
    std::fs::remove_file(folder.path().join("modules.json")).expect("it is there");
    std::fs::remove_dir_all(folder.path().join("1_Pooling")).expect("it is there");
    let found = loaded(folder.path(), &["--engine", "candle"]).expect("it loads");
    assert_eq!(found.embedder.card().pooling, "mean");
    assert!(found.notes[0].contains("does not say how to pool"), "{:?}", found.notes);
}

#[test]
fn model_without_a_normalising_module_keeps_the_lengths_of_its_vectors() {
    let folder = tiny_copy();
    let modules = std::fs::read_to_string(folder.path().join("modules.json")).expect("it is there");
    std::fs::write(folder.path().join("modules.json"), modules.replace("Normalize", "Dense")).expect("it is written");
    let mut engine = embedder(folder.path(), &["--engine", "candle"]);
    let found = embedded(engine.as_mut(), &["x".to_owned()], 64);
    let length: f64 = found[0].values().iter().map(|&v| f64::from(v).powi(2)).sum();
    assert!((length - 1.0).abs() > 0.1, "{length}");
}

/// (what is done to the folder, options, what the error says).
type Broken = (&'static str, fn(&Path), &'static [&'static str], &'static str);

const BROKEN: &[Broken] = &[
    ("no weights", |f| remove(f, "model.safetensors"), &[], "it holds neither model.onnx nor model.safetensors"),
    ("no tokenizer", |f| remove(f, "tokenizer.json"), &[], "it holds no tokenizer.json"),
    ("no ONNX file", |_| {}, &["--engine", "onnx"], "it holds no model.onnx"),
    (
        "a tokenizer that is none",
        |f| write(f, "tokenizer.json", "{}"),
        &[],
        "tokenizer.json` can't be used: it is none",
    ),
    (
        "a tokenizer of a larger model",
        |f| edit(f, "config.json", "\"vocab_size\": 140", "\"vocab_size\": 100"),
        &[],
        "it has 140 tokens, the model knows 100",
    ),
    (
        "a tokenizer without a token for unknown words",
        |f| edit(f, "tokenizer.json", "\"unk_token\": \"[UNK]\"", "\"unk_token\": \"[NONE]\""),
        &[],
        "tokenizer.json` can't be used: WordPiece error",
    ),
    (
        "a tokenizer that frames nothing",
        |f| edit_json(f, "tokenizer.json", |all| all["post_processor"] = Value::Null),
        &[],
        "its `post_processor` is missing",
    ),
    (
        "weights that are truncated",
        |f| write(f, "model.safetensors", "12345678901234"),
        &[],
        "model.safetensors` can't be used",
    ),
    (
        "weights of another shape",
        |f| edit(f, "config.json", "\"hidden_size\": 32", "\"hidden_size\": 64"),
        &[],
        "model.safetensors` can't be used: shape mismatch",
    ),
    (
        "heads that don't divide the width",
        |f| edit(f, "config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5"),
        &[],
        "5 heads don't divide the width 32",
    ),
    (
        "fewer layers than there are weights for",
        |f| edit(f, "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"),
        &[],
        "it has a tensor `encoder.layer.1.attention.output.LayerNorm.bias`, config.json says `num_hidden_layers` is 1",
    ),
    (
        "another family",
        |f| edit(f, "config.json", "\"model_type\": \"bert\"", "\"model_type\": \"mpnet\""),
        &[],
        "the candle engine computes models of type bert, found `mpnet`",
    ),
    (
        "no config",
        |f| remove(f, "config.json"),
        &[],
        "config.json` describes a model that can't be used: it is missing",
    ),
    ("a config that is not JSON", |f| write(f, "config.json", "{"), &[], "it is not JSON"),
    (
        "another pooling",
        |f| edit(f, "1_Pooling/config.json", "mean_tokens\": true", "max_tokens\": true"),
        &[],
        "its pooling is neither the mean nor the first token",
    ),
    (
        "a limit beyond its positions",
        |_| {},
        &["--max-tokens", "65"],
        "it has 64 positions, a limit of 65 tokens is asked for",
    ),
];

fn remove(folder: &Path, name: &str) {
    std::fs::remove_file(folder.join(name)).expect("it is there");
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("it is written");
}

fn edit(folder: &Path, name: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(folder.join(name)).expect("it is there");
    assert!(text.contains(from), "{name} has no {from}: {text}");
    write(folder, name, &text.replace(from, to));
}

fn edit_json(folder: &Path, name: &str, edit: fn(&mut Value)) {
    let mut value: Value =
        serde_json::from_slice(&std::fs::read(folder.join(name)).expect("it is there")).expect("it is JSON");
    edit(&mut value);
    write(folder, name, &value.to_string());
}

#[test]
fn folder_that_can_not_be_used_is_refused_with_what_is_wrong_in_it() {
    for (name, spoil, args, expected) in BROKEN {
        let folder = tiny_copy();
        spoil(folder.path());
        let error = loaded(folder.path(), args).err().unwrap_or_else(|| panic!("{name}: it was loaded"));
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert!(error.hint().is_some(), "{name}: no hint");
    }
}

#[test]
fn onnx_file_that_is_none_is_refused_and_nothing_panics() {
    if fetched().is_none() {
        return;
    }
    let folder = tiny_copy();
    write(folder.path(), "model.onnx", "not a graph");
    let error = loaded(folder.path(), &["--engine", "onnx"]).err().expect("it is refused");
    assert!(error.to_string().contains("model.onnx` can't be used"), "{error}");
    // A graph whose table of words is smaller than the tokenizer thinks fails on a text, not in the loader.
    std::fs::copy(tiny().join("model.onnx"), folder.path().join("model.onnx")).expect("it is there");
    remove(folder.path(), "config.json");
    edit(folder.path(), "tokenizer.json", "\"##~\": 139", "\"##~\": 139, \"zz\": 5000");
    let mut engine = embedder(folder.path(), &["--engine", "onnx"]);
    let error = engine.embed(&["zz"]).expect_err("token 5000 is not in the model's vocabulary");
    assert!(matches!(error, EmbedError::Compute { .. }), "{error}");
}
