//! Batches of a file's own columns to native ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use serde_json::Value;

use crate::batch::RowError;
use crate::batch::json::cells::Cells;
use crate::batch::json::text::Place;
use crate::batch::json::written::written;
use crate::ingest::bad_line::BadLine;
use crate::ingest::formats::{Form, Reading, Row};
use crate::ingest::jsonl::{NumberedBatches, fit, to_batches};

/// How the rows of a file become native.
#[derive(Debug)]
pub(in crate::ingest) struct Conversion {
    pub(in crate::ingest) form: &'static Form,
    /// The file's columns; text that holds JSON is marked.
    pub(super) columns: Vec<FieldRef>,
    /// Whether the form is given the values of a column.
    pub(super) read: Vec<bool>,
    /// For each native column the file's own that it is; `None`: the form's.
    pub(super) kept: Vec<Option<usize>>,
    /// The form's columns.
    pub(super) converted: SchemaRef,
}

impl Conversion {
    /// Native batches with the numbers of their rows, and the rows that are none.
    pub(in crate::ingest) fn decode(
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
pub(super) struct Rows {
    cells: Vec<Option<Cells>>,
    pub(super) len: usize,
}

impl Rows {
    pub(super) fn new(columns: &[FieldRef], arrays: &[Option<&ArrayRef>], len: usize) -> Result<Self, ArrowError> {
        let cells = columns.iter().zip(arrays).map(|(field, array)| array.map(|a| Cells::new(field, a)).transpose());
        Ok(Rows { cells: cells.collect::<Result<_, _>>()?, len })
    }
}

/// A row as JSON; of a column that can't be read so, what `or_else` says.
pub(super) fn row_of(
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
pub(super) fn converted(
    form: &'static Form,
    columns: &[FieldRef],
    rows: &Rows,
    row: usize,
) -> Result<Vec<Row>, String> {
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
