//! Purifies a batch of rollouts in memory: Arrow in, Arrow out.

use std::sync::Arc;

use arrow::json::{ReaderBuilder, reader::infer_json_schema};
use purify::{Options, Purifier};

pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lines = include_bytes!("../fixtures/rollouts/one_failure_shallow.jsonl").as_slice();
    let schema = Arc::new(infer_json_schema(lines, None)?.0);
    let batch = ReaderBuilder::new(schema).build(lines)?.next().ok_or("no rows")??;
    let purified = Purifier::new(Options::default())?.purify_batch(&batch)?;
    println!("{} rows, {} repairs", purified.data.num_rows(), purified.counts.repairs);
    Ok(())
}
