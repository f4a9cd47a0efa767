//! Scored rows to a record batch: log-probs, tokens where the file had none, and ratios in the provenance.
//!
//! Owns those columns; every other one is the input's own array.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Builder, Int8Builder, Int32Builder, ListBuilder, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::batch::Decoded;
use crate::record::{self, RecordReader};
use crate::schema::{Columns, updated_metadata, with_nullable_item};

/// What scoring found for one row; `None`: it could not be scored, and stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ScoredRow {
    /// By token of the response; tokens that the policy did not write have none of their own.
    pub logprobs: Option<Vec<Option<f32>>>,
    /// Prompt, response and mask, where the file has no tokens.
    pub tokens: Option<(Vec<i32>, Vec<i32>, Vec<i8>)>,
    /// `log_importance_ratio` and its mean per token, by repair.
    pub ratios: Vec<Option<(f64, f64)>>,
}

/// How the schema of scored data differs from the one read.
#[derive(Clone, Debug)]
pub struct ScoredSchema {
    pub schema: SchemaRef,
    adds_tokens: bool,
    adds_logprobs: bool,
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, true)))
}

impl ScoredSchema {
    pub fn new(input: &Schema, columns: &Columns) -> Self {
        let logprobs = columns.response.and_then(|r| r.logprobs);
        let mut fields: Vec<FieldRef> = input.fields().iter().cloned().collect();
        if let Some(k) = logprobs {
            let data_type = with_nullable_item(fields[k].data_type());
            fields[k] = Arc::new(fields[k].as_ref().clone().with_data_type(data_type).with_nullable(true));
        }
        if let Some(k) = columns.purification {
            // The column was recognised, so that it can be lifted.
            let has_raw = record::has_logprobs(fields[k].data_type()) == Ok(true);
            let data_type = record::data_type(has_raw);
            fields[k] = Arc::new(fields[k].as_ref().clone().with_data_type(data_type));
        }
        let (adds_tokens, adds_logprobs) = (columns.response.is_none(), logprobs.is_none());
        let add = |fields: &mut Vec<FieldRef>, name: &str, item| {
            fields.push(Arc::new(Field::new(name, list(item), true)));
        };
        if adds_tokens {
            add(&mut fields, "prompt_ids", DataType::Int32);
            add(&mut fields, "response_ids", DataType::Int32);
            add(&mut fields, "response_mask", DataType::Int8);
        }
        if adds_logprobs {
            add(&mut fields, "response_logprobs", DataType::Float32);
        }
        let metadata = updated_metadata(input.metadata(), &fields);
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        ScoredSchema { schema, adds_tokens, adds_logprobs }
    }
}

/// The batch that is written for all rows of `decoded`.
pub fn assemble(
    decoded: &Decoded,
    columns: &Columns,
    schema: &ScoredSchema,
    rows: &[ScoredRow],
) -> Result<RecordBatch, ArrowError> {
    let batch = &decoded.batch;
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.schema.fields().len());
    for (k, (array, field)) in batch.columns().iter().zip(schema.schema.fields()).enumerate() {
        let array = match () {
            () if columns.response.and_then(|r| r.logprobs) == Some(k) => logprobs(decoded, rows)?,
            () if columns.purification == Some(k) => with_ratios(array, field.data_type(), rows)?,
            () => Arc::clone(array),
        };
        arrays.push(if array.data_type() == field.data_type() { array } else { cast(&array, field.data_type())? });
    }
    if schema.adds_tokens {
        let parts = || rows.iter().map(|row| row.tokens.as_ref());
        arrays.push(ints(parts().map(|t| t.map(|t| t.0.as_slice()))));
        arrays.push(ints(parts().map(|t| t.map(|t| t.1.as_slice()))));
        let mut mask = ListBuilder::new(Int8Builder::new()).with_field(Field::new("element", DataType::Int8, true));
        parts().for_each(|t| mask.append_option(t.map(|t| t.2.iter().map(|&m| Some(m)))));
        arrays.push(Arc::new(mask.finish()));
    }
    if schema.adds_logprobs {
        arrays.push(logprobs(decoded, rows)?);
    }
    RecordBatch::try_new(Arc::clone(&schema.schema), arrays)
}

fn ints<'v>(rows: impl Iterator<Item = Option<&'v [i32]>>) -> ArrayRef {
    let mut out = ListBuilder::new(Int32Builder::new()).with_field(Field::new("element", DataType::Int32, true));
    rows.for_each(|row| out.append_option(row.map(|ids| ids.iter().map(|&id| Some(id)))));
    Arc::new(out.finish())
}

/// New log-probs where a row was scored, its old ones elsewhere.
fn logprobs(decoded: &Decoded, rows: &[ScoredRow]) -> Result<ArrayRef, ArrowError> {
    let found = decoded.response.as_ref().and_then(|r| r.logprobs.as_ref()).map(|(_, list)| list);
    let values = found.map(|l| cast(&l.values, &DataType::Float32)).transpose()?;
    let values = values.as_ref().map(|v| v.as_primitive::<arrow::datatypes::Float32Type>());
    let mut out = ListBuilder::new(Float32Builder::new()).with_field(Field::new("element", DataType::Float32, true));
    for (k, row) in rows.iter().enumerate() {
        let old = found.and_then(|l| l.range(k)).zip(values);
        let old = |at: usize| {
            let (range, values) = old.as_ref()?;
            let at = range.start + at;
            (at < range.end && values.is_valid(at)).then(|| values.value(at))
        };
        match (&row.logprobs, found.and_then(|l| l.range(k))) {
            // What the policy did not write keeps what stood there.
            (Some(new), _) => out.append_value(new.iter().enumerate().map(|(at, new)| new.or_else(|| old(at)))),
            (None, Some(range)) => out.append_value((0..range.len()).map(old)),
            (None, None) => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// The records with the ratios filled in; a repair without one keeps what it had.
fn with_ratios(array: &ArrayRef, data_type: &DataType, rows: &[ScoredRow]) -> Result<ArrayRef, ArrowError> {
    let wrong = |error: &dyn std::error::Error| ArrowError::SchemaError(error.to_string());
    let reader = RecordReader::new(array).map_err(|error| wrong(&error))?;
    let mut records = Vec::with_capacity(rows.len());
    for (k, row) in rows.iter().enumerate() {
        let mut record = reader.row(k).map_err(|error| wrong(&error))?;
        let repairs = record.iter_mut().flat_map(|record| &mut record.repairs);
        for (repair, (sum, mean)) in repairs.zip(&row.ratios).filter_map(|(repair, ratio)| Some((repair, (*ratio)?))) {
            repair.log_importance_ratio = Some(sum);
            repair.log_importance_ratio_mean = Some(mean);
        }
        records.push(record);
    }
    record::column(&records.iter().map(Option::as_ref).collect::<Vec<_>>(), data_type)
}
