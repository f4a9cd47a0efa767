//! `rejects.parquet`: every row that was not written, whole, with the reason.
//!
//! Owns the rejects' columns: the input's own, then `reject_reason`. A line that never became a row, or a row of
//! another form that does not convert, has all columns null and stands in `raw_line`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::schema::REJECT_REASON;

const RAW_LINE: &str = "raw_line";

/// The input's columns, nullable, with the reason after them.
pub fn schema(input: &Schema, has_lines: bool) -> SchemaRef {
    let mut fields: Vec<_> = input.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true))).collect();
    if has_lines {
        fields.push(Arc::new(Field::new(RAW_LINE, DataType::Utf8, true)));
    }
    fields.push(Arc::new(Field::new(REJECT_REASON, DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

/// Rejected rows of a batch, by index and reason.
pub fn of_rows(schema: &SchemaRef, batch: &RecordBatch, rows: &[(usize, String)]) -> Result<RecordBatch, ArrowError> {
    let indices = UInt32Array::from_iter_values(rows.iter().map(|r| r.0 as u32));
    let mut arrays = batch.columns().iter().map(|c| take(c, &indices, None)).collect::<Result<Vec<_>, _>>()?;
    if schema.fields().len() > arrays.len() + 1 {
        arrays.push(new_null_array(&DataType::Utf8, rows.len()));
    }
    arrays.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.1))));
    RecordBatch::try_new(Arc::clone(schema), arrays)
}

/// Lines that are not rows, as text and reason.
pub fn of_lines(schema: &SchemaRef, lines: &[(String, String)]) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().len() - 2;
    let mut arrays: Vec<ArrayRef> =
        schema.fields()[..columns].iter().map(|f| new_null_array(f.data_type(), lines.len())).collect();
    arrays.push(Arc::new(StringArray::from_iter_values(lines.iter().map(|l| &l.0))));
    arrays.push(Arc::new(StringArray::from_iter_values(lines.iter().map(|l| &l.1))));
    RecordBatch::try_new(Arc::clone(schema), arrays)
}
