//! Parquet that other programs wrote: rows by way of JSON, as lines are, to native columns.
//!
//! Owns which columns go that way: those that the form consumes. All others pass through by the number of their row, since
//! their types may hold what JSON can't. [`cells`] reads values, [`super::formats`] converts them.

mod infer;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::LogicalType;
use serde_json::Value;

use super::BadLine;
use super::formats::{Form, Reading, Row};
use super::jsonl::{NumberedBatches, fit, to_batches};
use crate::batch::RowError;
use crate::batch::json::cells::{Cells, is_json, marked_as_json};
use crate::batch::json::text::Place;
use crate::batch::json::written::written;
pub(super) use infer::{Inferred, Source, infer};

/// How the rows of a file become native.
#[derive(Debug)]
pub(super) struct Conversion {
    pub(super) form: &'static Form,
    /// The file's columns; text that holds JSON is marked.
    columns: Vec<FieldRef>,
    /// Whether the form is given the values of a column.
    read: Vec<bool>,
    /// For each native column the file's own that it is; `None`: the form's.
    kept: Vec<Option<usize>>,
    /// The form's columns.
    converted: SchemaRef,
}

impl Conversion {
    /// Native batches with the numbers of their rows, and the rows that are none.
    pub(super) fn decode(
        &self,
        batch: &RecordBatch,
        first_row: u64,
        schema: &SchemaRef,
    ) -> Result<(NumberedBatches, Vec<BadLine>), ArrowError> {
        let arrays: Vec<_> =
            batch.columns().iter().zip(&self.read).map(|(array, read)| read.then_some(array)).collect();
        let values = Rows::new(&self.columns, &arrays, batch.num_rows())?;
        let (mut rows, mut sources, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        let as_rows = DataType::Struct(self.converted.fields().clone());
        let reject = |k: usize, error| BadLine { row: first_row + k as u64, text: json_of(batch, k), error };
        for k in 0..batch.num_rows() {
            match converted(self.form, &self.columns, &values, k) {
                Ok(converted) => {
                    for row in converted {
                        let mut value = Value::Object(row);
                        fit(&mut value, &as_rows);
                        rows.push(value);
                        sources.push(k as u32);
                    }
                }
                Err(detail) => bad.push(reject(k, RowError::Layout { line: None, layout: self.form.name, detail })),
            }
        }
        let (batches, misfits) = to_batches(&rows, &self.converted);
        let batches = batches.into_iter().map(|(converted, range)| {
            let numbers = sources[range.clone()].iter().map(|&k| first_row + u64::from(k)).collect();
            Ok((self.assemble(batch, &converted, &sources[range], schema)?, numbers))
        });
        let batches = batches.collect::<Result<_, ArrowError>>()?;
        let no_fit = |error: ArrowError| RowError::NoFit { line: None, detail: error.to_string() };
        bad.extend(misfits.into_iter().map(|(k, error)| reject(sources[k] as usize, no_fit(error))));
        bad.sort_by_key(|line| line.row);
        Ok((batches, bad))
    }

    /// The form's columns and the file's own, in order.
    fn assemble(
        &self,
        batch: &RecordBatch,
        converted: &RecordBatch,
        sources: &[u32],
        schema: &SchemaRef,
    ) -> Result<RecordBatch, ArrowError> {
        let indices = UInt32Array::from(sources.to_vec());
        let mut of_layout = converted.columns().iter();
        let column = |own: &Option<usize>| match own {
            Some(k) => take(batch.column(*k), &indices, None).map(Some),
            None => Ok(of_layout.next().cloned()),
        };
        let columns = self.kept.iter().map(column).collect::<Result<Option<Vec<_>>, _>>()?;
        RecordBatch::try_new(Arc::clone(schema), columns.unwrap_or_default())
    }
}

/// The values of some rows, column by column; `None` for those that the form is not given.
struct Rows {
    cells: Vec<Option<Cells>>,
    len: usize,
}

impl Rows {
    fn new(columns: &[FieldRef], arrays: &[Option<&ArrayRef>], len: usize) -> Result<Self, ArrowError> {
        let cells = columns.iter().zip(arrays).map(|(field, array)| array.map(|a| Cells::new(field, a)).transpose());
        Ok(Rows { cells: cells.collect::<Result<_, _>>()?, len })
    }
}

/// A row as JSON; of a column that can't be read so, what `or_else` says.
fn row_of(
    columns: &[FieldRef],
    rows: &Rows,
    row: usize,
    or_else: impl Fn(String) -> Result<Value, String>,
) -> Result<Row, String> {
    let value = |(field, cells): (&FieldRef, &Option<Cells>)| {
        let name = field.name();
        let found = match cells {
            // Columns that pass through keep their place.
            None => Ok(Value::Null),
            Some(cells) if name == "tools" => cells.json(row).map(Value::from),
            Some(cells) => cells.value(row, Place::Elsewhere),
        };
        Ok((name.clone(), found.or_else(|detail| or_else(format!("column `{name}`: {detail}")))?))
    };
    columns.iter().zip(&rows.cells).map(value).collect()
}

/// The native rows of a row.
fn converted(form: &'static Form, columns: &[FieldRef], rows: &Rows, row: usize) -> Result<Vec<Row>, String> {
    Reading::of(form).convert(row_of(columns, rows, row, Err)?)
}

/// A row for the rejects; where a column has no form in JSON, why.
fn json_of(batch: &RecordBatch, row: usize) -> String {
    let row = batch.slice(row, 1);
    let mut out = Row::new();
    for (field, column) in row.schema().fields().iter().zip(row.columns()) {
        match written(field.name(), column) {
            Ok(member) => out.extend(member),
            Err(error) => {
                out.insert(field.name().clone(), Value::String(error.to_string()));
            }
        }
    }
    Value::Object(out).to_string()
}

/// Whether any text of a Parquet file's column is JSON, as Arrow's extension `arrow.json` or as a logical type.
pub(super) fn holds_json(metadata: &ArrowReaderMetadata, column: usize) -> bool {
    marked_columns(metadata).get(column).is_some_and(|field| is_json_within(field))
}

fn is_json_within(field: &Field) -> bool {
    match (field.data_type(), crate::schema::list_item(field.data_type())) {
        (DataType::Struct(fields), _) => fields.iter().any(|field| is_json_within(field)),
        (_, Some(item)) => is_json_within(item),
        _ => is_json(field),
    }
}

/// A file's columns; text is marked as JSON also where only Parquet's own types say so.
fn marked_columns(metadata: &ArrowReaderMetadata) -> Vec<FieldRef> {
    let leaves = metadata.parquet_schema().columns();
    let mut is_json = leaves.iter().map(|leaf| leaf.logical_type_ref() == Some(&LogicalType::Json));
    metadata.schema().fields().iter().map(|field| marked(field, &mut is_json)).collect()
}

/// Arrow's leaves are Parquet's, in the same order.
fn marked(field: &FieldRef, is_json: &mut impl Iterator<Item = bool>) -> FieldRef {
    let with = |data_type| Arc::new(field.as_ref().clone().with_data_type(data_type));
    match field.data_type() {
        DataType::Struct(fields) => with(DataType::Struct(fields.iter().map(|f| marked(f, is_json)).collect())),
        DataType::List(item) => with(DataType::List(marked(item, is_json))),
        DataType::LargeList(item) => with(DataType::LargeList(marked(item, is_json))),
        DataType::ListView(item) => with(DataType::ListView(marked(item, is_json))),
        DataType::LargeListView(item) => with(DataType::LargeListView(marked(item, is_json))),
        DataType::FixedSizeList(item, size) => with(DataType::FixedSizeList(marked(item, is_json), *size)),
        DataType::Map(entries, is_sorted) => with(DataType::Map(marked(entries, is_json), *is_sorted)),
        _ if is_json.next() == Some(true) => Arc::new(marked_as_json(field.as_ref().clone())),
        _ => Arc::clone(field),
    }
}
