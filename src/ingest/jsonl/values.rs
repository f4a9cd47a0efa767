//! Rows that are JSON values to batches of a known schema.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use serde_json::Value;

/// Batches of consecutive rows.
type RangedBatches = Vec<(RecordBatch, Range<usize>)>;

/// Rows as batches, and those that spoil theirs.
pub(in crate::ingest) fn to_batches(rows: &[Value], schema: &SchemaRef) -> (RangedBatches, Vec<(usize, ArrowError)>) {
    if let Ok(batch) = to_batch(rows, schema) {
        return (vec![(batch, 0..rows.len())], Vec::new());
    }
    let (mut batches, mut misfits) = (Vec::new(), Vec::new());
    for (k, row) in rows.iter().enumerate() {
        match to_batch(std::slice::from_ref(row), schema) {
            Ok(batch) => batches.push((batch, k..k + 1)),
            Err(error) => misfits.push((k, error)),
        }
    }
    (batches, misfits)
}

/// Turns what stands where the schema has text into text that holds JSON.
pub(in crate::ingest) fn fit(value: &mut Value, data_type: &DataType) {
    match (data_type, &mut *value) {
        (_, Value::Null) | (DataType::Utf8, Value::String(_)) => {}
        (DataType::Utf8, other) => *value = Value::String(other.to_string()),
        (DataType::List(item), Value::Array(items)) => items.iter_mut().for_each(|v| fit(v, item.data_type())),
        (DataType::Struct(fields), Value::Object(object)) => {
            for field in fields {
                if let Some(inner) = object.get_mut(field.name()) {
                    fit(inner, field.data_type());
                }
            }
        }
        _ => {}
    }
}

fn to_batch(rows: &[Value], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema))))
}
