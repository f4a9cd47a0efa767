//! The library's door: a batch in memory is purified as a file is.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use purify::judge::{Judge, JudgeError, JudgedRollout, LogIs};
use purify::options::{GateConfig, RunConfig};
use purify::purifier::PurifyError;
use purify::run::{Run, Silent};
use purify::{Options, Purifier};
use serde_json::json;

#[path = "../examples/arrow_batch.rs"]
mod arrow_batch;
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rollouts").join(name)
}

/// All rows of a Parquet file.
fn rows(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().expect("Parquet").map(|batch| batch.expect("rows")).collect();
    concat_batches(&schema, &batches).expect("one schema")
}

fn options(value: serde_json::Value) -> Options {
    Options::from_json(&value).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn example_of_a_batch_runs_and_is_short() {
    arrow_batch::main().unwrap_or_else(|error| panic!("{error}"));
    let text = include_str!("../examples/arrow_batch.rs");
    let code = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("//")).count();
    assert!(code <= 15, "{code} lines of code");
}

#[test]
fn batch_becomes_what_the_command_line_writes_of_its_file() {
    let raw = rows(&fixture("all.parquet"));
    for value in [
        json!({"pairs": true}),
        json!({"method": {"mode": "mask"}}),
        json!({"method": {"unrecovered": "drop"}, "pairs": true}),
        json!({"guard": {"on_residue": "drop"}, "shard": {"index": 1, "of": 2}}),
        json!({"method": {"repair_probability": 0.5, "seed": 7}, "columns": {"tokens": "drop"}}),
    ] {
        let options = options(value.clone());
        let place = tempfile::tempdir().expect("a folder");
        let out = place.path().join("out.parquet");
        let run = RunConfig {
            inputs: vec![fixture("all.parquet")],
            out: Some(out.clone()),
            shard: options.shard,
            ..RunConfig::default()
        };
        let signal = AtomicUsize::new(0);
        let threads = Run::new(1, &Silent, &signal).expect("a thread");
        let summary = purify::pipeline::run(&run, &options, None, None, &threads);
        let summary = summary.unwrap_or_else(|error| panic!("{value}: {error}"));
        let purified = Purifier::new(options.clone()).expect("sound options").purify_batch(&raw).expect("rollouts");
        assert_eq!(purified.counts, summary.counts, "{value}");
        let columns = |batch: &RecordBatch| batch.columns().to_vec();
        let is_data = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.ends_with(".parquet") && !name.contains("pairs") && !name.contains("rejects")
        };
        let written = summary.written.iter().find(is_data).expect("a file of rows");
        assert_eq!(columns(&purified.data), columns(&rows(written)), "{value}");
        if options.pairs {
            assert_eq!(columns(&purified.pairs), columns(&rows(&out.with_extension("pairs.parquet"))), "{value}");
        }
        assert_eq!(purified.rejects.num_rows() as u64, summary.counts.rows_rejected, "{value}");
        assert_eq!(purified.rejected.len(), purified.rejects.num_rows(), "{value}");
    }
}

#[test]
fn rejects_hold_the_row_and_its_reason() {
    let raw = rows(&fixture("all.parquet"));
    let purifier = Purifier::new(options(json!({"method": {"unrecovered": "drop"}}))).expect("sound options");
    let purified = purifier.purify_batch(&raw).expect("rollouts");
    assert!(purified.rejects.num_rows() > 0);
    let reasons = purified.rejects.column_by_name("reject_reason").expect("a reason").as_string::<i32>().clone();
    for (reason, row) in reasons.iter().zip(&purified.rejected) {
        let reason = reason.expect("a reason");
        assert!(reason.contains(&format!("row {row} of `batch`: ")), "{reason}");
    }
}

#[test]
fn batch_without_messages_is_an_error_that_names_what_is_there() {
    let batch = RecordBatch::try_from_iter([(
        "text",
        std::sync::Arc::new(arrow::array::StringArray::from(vec!["a"])) as arrow::array::ArrayRef,
    )])
    .expect("a batch");
    let error = Purifier::new(Options::default()).expect("defaults").purify_batch(&batch).expect_err("no messages");
    assert!(matches!(error, PurifyError::Schema(_)), "{error}");
    assert!(error.to_string().contains("`text`"), "{error}");
}

struct Panics;

impl Judge for Panics {
    fn log_is(
        &self,
        _: JudgedRollout<'_>,
        _: JudgedRollout<'_>,
        _: &[purify::record::RepairRecord],
    ) -> Result<Vec<Option<LogIs>>, JudgeError> {
        panic!("no such layer")
    }
}

#[test]
fn panic_is_an_internal_error_that_names_rollout_and_row() {
    let raw = rows(&fixture("all.parquet"));
    let gate = GateConfig { gate_model: Some("policy".into()), ..GateConfig::default() };
    let options = Options { gate, ..options(json!({"columns": {"tokens": "drop"}})) };
    let purifier = Purifier::new(options).expect("sound options").judged_by(Some(&Panics));
    let error = purifier.purify_batch(&raw).expect_err("a panic");
    let said = error.to_string();
    assert!(said.starts_with("this is a bug: row ") && said.ends_with("no such layer"), "{said}");
    assert!(matches!(error, PurifyError::Bug { rollout, .. } if !rollout.is_empty()));
}
