//! What a file's rows are, and the native columns that hold them all: a first pass over the columns that matter.

use std::fs::File;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use serde_json::Value;

use super::conversion::{Conversion, Rows, converted, row_of};
use super::marks::marked_columns;
use crate::ingest::formats::{Form, is_marker};
use crate::ingest::jsonl::Kinds;
use crate::schema::{is_text, updated_metadata, with_reward};

/// The column that every conversion makes.
const CONVERTED: &str = "messages";

/// A Parquet file that was opened.
pub(in crate::ingest) struct Source<'f> {
    pub(in crate::ingest) file: &'f File,
    pub(in crate::ingest) metadata: &'f ArrowReaderMetadata,
    pub(in crate::ingest) batch_rows: usize,
}

/// What the rows of a file are.
pub(in crate::ingest) enum Inferred {
    /// To be converted, and the native schema of all of them.
    Rows(Box<Conversion>, Schema),
    /// No row converts; the first one's number, and why.
    Refused { form: &'static Form, row: u64, detail: String },
    /// No row is of any form, or there is none.
    Nothing,
}

/// The conversion to a form, if none is `asked` for that of the first row that has one.
pub(in crate::ingest) fn infer(source: &Source<'_>, asked: Option<&'static Form>) -> Result<Inferred, ArrowError> {
    let columns: Vec<FieldRef> = marked_columns(source.metadata);
    let recognised = asked.map_or_else(|| recognise(source, &columns), |form| Ok(Some(form)))?;
    let Some(form) = recognised else { return Ok(Inferred::Nothing) };
    let is_consumed = |column: &FieldRef| {
        let is_tools = column.name() == "tools" && !is_text(column.data_type());
        is_tools || form.consumes(column.name())
    };
    let is_read = |column: &FieldRef| is_consumed(column) || form.consults(column.name());
    let read: Vec<bool> = columns.iter().map(is_read).collect();
    let mut kinds = Kinds::new(None);
    let (mut first_row, mut refused) = (0, None);
    scan(source, &columns, &read, |rows| {
        for k in 0..rows.len {
            match converted(form, &columns, rows, k) {
                Ok(native) => native.iter().for_each(|row| kinds.absorb(row)),
                // A reject says nothing of the types.
                Err(detail) => drop(refused.get_or_insert((first_row + k as u64, detail))),
            }
        }
        first_row += rows.len as u64;
        None::<()>
    })?;
    if let Some((row, detail)) = refused.filter(|_| kinds.is_empty()) {
        return Ok(Inferred::Refused { form, row, detail });
    }
    if kinds.is_empty() {
        return Ok(Inferred::Nothing);
    }
    let inferred = kinds.schema();
    let own = |field: &FieldRef| {
        columns.iter().position(|c| c.name() == field.name() && c.name() != CONVERTED && !is_consumed(c))
    };
    let kept: Vec<Option<usize>> = inferred.fields().iter().map(own).collect();
    let file_schema = source.metadata.schema();
    let field = |(field, own): (&FieldRef, &Option<usize>)| own.map_or(field, |k| &file_schema.fields()[k]).clone();
    let native: Vec<FieldRef> = inferred.fields().iter().zip(&kept).map(field).collect();
    // What `datasets` says of columns that are consumed holds no longer.
    let untouched: Vec<FieldRef> = kept.iter().flatten().map(|&k| Arc::clone(&file_schema.fields()[k])).collect();
    let schema = Schema::new_with_metadata(native, updated_metadata(file_schema.metadata(), &untouched));
    let of_layout = inferred.fields().iter().zip(&kept).filter(|(_, own)| own.is_none()).map(|(f, _)| Arc::clone(f));
    let converted = Arc::new(Schema::new(of_layout.collect::<Vec<_>>()));
    let schema = with_reward(schema, form.reward);
    Ok(Inferred::Rows(Box::new(Conversion { form, columns, read, kept, converted }), schema))
}

fn recognise(source: &Source<'_>, columns: &[FieldRef]) -> Result<Option<&'static Form>, ArrowError> {
    let read: Vec<bool> = columns.iter().map(|column| is_marker(column.name())).collect();
    scan(source, columns, &read, |rows| {
        (0..rows.len).find_map(|k| Form::of(&row_of(columns, rows, k, |_| Ok(Value::Null)).ok()?))
    })
}

/// Goes through some columns of a file, up to the first find.
fn scan<T>(
    source: &Source<'_>,
    columns: &[FieldRef],
    read: &[bool],
    mut find: impl FnMut(&Rows) -> Option<T>,
) -> Result<Option<T>, ArrowError> {
    let chosen: Vec<usize> = (0..columns.len()).filter(|&k| read[k]).collect();
    if chosen.is_empty() {
        return Ok(None);
    }
    let mask = ProjectionMask::roots(source.metadata.parquet_schema(), chosen.iter().copied());
    let file = source.file.try_clone()?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, source.metadata.clone())
        .with_projection(mask)
        .with_batch_size(source.batch_rows)
        .build()?;
    for batch in reader {
        let batch = batch?;
        let mut arrays = vec![None; columns.len()];
        chosen.iter().zip(batch.columns()).for_each(|(&k, array)| arrays[k] = Some(array));
        if let Some(found) = find(&Rows::new(columns, &arrays, batch.num_rows())?) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
