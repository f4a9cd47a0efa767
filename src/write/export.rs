//! Rows of an export as arrays, JSON lines, and the table of repairs.
//!
//! Owns the Arrow type of each kind of column. What stands in the cells is [`crate::export`]'s decision. JSON columns are
//! `arrow.json`, which `datasets` decodes.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Builder, Float64Array, Int32Array, Int32Builder, ListArray, ListBuilder,
    RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_schema::extension::Json;

use super::{AtomicFile, FileRecord, WriteError};
use crate::batch::Decoded;
use crate::export::{Cell, Cells, Kind};
use crate::record::field::write;
use crate::record::{Recorded, RepairRecord};

/// The schema of an export.
pub fn schema(columns: &[(&'static str, Kind)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, kind)| Field::new(*name, data_type(*kind), true));
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

fn turn_fields() -> Fields {
    ["role", "content"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec().into()
}

/// The items of the kinds that are lists.
fn item(kind: Kind) -> FieldRef {
    Arc::new(match kind {
        Kind::Json => Field::new("element", DataType::Utf8, true).with_extension_type(Json::default()),
        Kind::Turns => Field::new("element", DataType::Struct(turn_fields()), true),
        Kind::Numbers => Field::new("element", DataType::Float32, true),
        Kind::Tokens | Kind::Text | Kind::Number | Kind::Flag => Field::new("element", DataType::Int32, true),
    })
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Number => DataType::Float64,
        Kind::Flag => DataType::Boolean,
        Kind::Tokens | Kind::Numbers | Kind::Json | Kind::Turns => DataType::List(item(kind)),
    }
}

/// The rows as a batch.
///
/// # Errors
/// A cell of another kind than its column's: [`crate::export`] makes none.
pub fn batch(schema: &SchemaRef, columns: &[(&'static str, Kind)], rows: &[Cells]) -> Result<RecordBatch, ArrowError> {
    let arrays = columns.iter().enumerate().map(|(k, (name, kind))| {
        let cells: Vec<&Cell> = rows.iter().map(|row| &row[k]).collect();
        array(name, *kind, &cells)
    });
    RecordBatch::try_new(Arc::clone(schema), arrays.collect::<Result<_, _>>()?)
}

/// The values of a column; none where the cell is null.
fn values<'c, T>(
    column: &str,
    cells: &[&'c Cell],
    value: impl Fn(&'c Cell) -> Option<T>,
) -> Result<Vec<Option<T>>, ArrowError> {
    let of = |cell: &&'c Cell| match (cell, value(cell)) {
        (Cell::Null, _) => Ok(None),
        (_, Some(value)) => Ok(Some(value)),
        (other, None) => {
            let shown: String = format!("{other:?}").chars().take(40).collect();
            Err(ArrowError::SchemaError(format!("column `{column}` was given {shown}: this is a bug")))
        }
    };
    cells.iter().map(of).collect()
}

fn array(name: &str, kind: Kind, cells: &[&Cell]) -> Result<ArrayRef, ArrowError> {
    Ok(match kind {
        Kind::Text => {
            let texts = values(name, cells, |cell| if let Cell::Text(text) = cell { Some(text) } else { None })?;
            Arc::new(StringArray::from_iter(texts))
        }
        Kind::Number => {
            let numbers =
                values(name, cells, |cell| if let Cell::Number(number) = cell { Some(*number) } else { None })?;
            Arc::new(Float64Array::from(numbers))
        }
        Kind::Flag => {
            let flags = values(name, cells, |cell| if let Cell::Flag(flag) = cell { Some(*flag) } else { None })?;
            Arc::new(BooleanArray::from(flags))
        }
        Kind::Tokens => {
            let mut builder = ListBuilder::new(Int32Builder::new()).with_field(item(kind));
            let lists = values(name, cells, |cell| if let Cell::Tokens(ids) = cell { Some(ids) } else { None })?;
            lists.into_iter().for_each(|ids| builder.append_option(ids.map(|ids| ids.iter().copied().map(Some))));
            Arc::new(builder.finish())
        }
        Kind::Numbers => {
            let mut builder = ListBuilder::new(Float32Builder::new()).with_field(item(kind));
            let lists = values(name, cells, |cell| if let Cell::Numbers(all) = cell { Some(all) } else { None })?;
            lists.into_iter().for_each(|all| builder.append_option(all.map(|all| all.iter().copied())));
            Arc::new(builder.finish())
        }
        Kind::Json => {
            let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item(kind));
            let lists = values(name, cells, |cell| if let Cell::Json(texts) = cell { Some(texts) } else { None })?;
            lists.into_iter().for_each(|texts| builder.append_option(texts.map(|texts| texts.iter().map(Some))));
            Arc::new(builder.finish())
        }
        Kind::Turns => {
            let lists = values(name, cells, |cell| if let Cell::Turns(turns) = cell { Some(turns) } else { None })?;
            turns(&lists)?
        }
    })
}

fn turns(lists: &[Option<&Vec<(String, String)>>]) -> Result<ArrayRef, ArrowError> {
    let field = item(Kind::Turns);
    let all = || lists.iter().flatten().flat_map(|turns| turns.iter());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(all().map(|turn| &turn.0))),
        Arc::new(StringArray::from_iter_values(all().map(|turn| &turn.1))),
    ];
    let turns = StructArray::try_new(turn_fields(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|turns| turns.map_or(0, Vec::len)));
    let nulls = lists.iter().map(Option::is_some).collect();
    Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(turns), Some(nulls))?))
}

/// A text file that is written whole or not at all.
pub struct LinesFile {
    path: std::path::PathBuf,
    file: AtomicFile,
    rows: u64,
}

impl LinesFile {
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        Ok(LinesFile { path: path.to_owned(), file: AtomicFile::create(path)?, rows: 0 })
    }

    pub fn append(&mut self, rows: &[Cells]) -> Result<(), WriteError> {
        for cell in rows.iter().flatten() {
            let Cell::Text(line) = cell else { continue };
            let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.write_all(b"\n"));
            written.map_err(|source| WriteError::Io { path: self.path.clone(), source })?;
            self.rows += 1;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<FileRecord, WriteError> {
        self.file.finish(self.rows)
    }
}

/// Copies a file whole or not at all.
pub fn copy(from: &Path, to: &Path, rows: u64) -> Result<FileRecord, WriteError> {
    let failed = |source| WriteError::Io { path: to.to_owned(), source };
    let mut file = AtomicFile::create(to)?;
    std::io::copy(&mut std::fs::File::open(from).map_err(failed)?, &mut file).map_err(failed)?;
    file.finish(rows)
}

/// The schema of the table of repairs: one row for each, with its record.
pub fn repairs_schema() -> SchemaRef {
    let names = [("rollout_id", DataType::Utf8), ("group_id", DataType::Utf8), ("repair", DataType::Int32)];
    let names = names.map(|(name, data_type)| Field::new(name, data_type, true));
    let fields = RepairRecord::fields().iter().map(|field| Field::new(field.name, field.data_type(), true));
    Arc::new(Schema::new(names.into_iter().chain(fields).collect::<Fields>()))
}

/// The repairs of a purified batch; `None` where it has none.
pub fn repairs(decoded: &Decoded, schema: &SchemaRef) -> Result<Option<RecordBatch>, ArrowError> {
    let Some(records) = decoded.records()? else { return Ok(None) };
    let (mut ids, mut groups, mut numbers, mut repairs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..decoded.rows() {
        let record = records.row(row).map_err(|error| ArrowError::SchemaError(error.to_string()))?;
        for (number, repair) in record.into_iter().flat_map(|record| record.repairs).enumerate() {
            ids.push(decoded.id(row).into_owned());
            groups.push(decoded.group(row).map(str::to_owned));
            numbers.push(number as i32);
            repairs.push(repair);
        }
    }
    if repairs.is_empty() {
        return Ok(None);
    }
    let fields: Fields = schema.fields()[3..].iter().cloned().collect();
    let repairs = write(&repairs.iter().map(Some).collect::<Vec<_>>(), &fields)?;
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(ids)),
        Arc::new(StringArray::from_iter(groups)),
        Arc::new(Int32Array::from(numbers)),
    ];
    arrays.extend(repairs.columns().iter().cloned());
    RecordBatch::try_new(Arc::clone(schema), arrays).map(Some)
}

/// Rows that were not exported: where they stand, why, and the whole row as JSON.
pub fn rejects_schema() -> SchemaRef {
    let fields = [("file", DataType::Utf8), ("row", DataType::UInt64), ("reject_reason", DataType::Utf8)];
    let mut fields = fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec();
    fields.push(Field::new("content", DataType::Utf8, true).with_extension_type(Json::default()));
    Arc::new(Schema::new(fields))
}

/// A row that was not exported.
pub struct Reject {
    pub file: String,
    pub row: u64,
    pub reason: String,
    /// As JSON; a line that is none as a JSON string.
    pub content: String,
}

pub fn rejects(schema: &SchemaRef, rows: &[Reject]) -> Result<RecordBatch, ArrowError> {
    let texts = |f: fn(&Reject) -> &String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(f))) };
    let numbers = arrow::array::UInt64Array::from_iter_values(rows.iter().map(|r| r.row));
    let arrays = vec![texts(|r| &r.file), Arc::new(numbers) as ArrayRef, texts(|r| &r.reason), texts(|r| &r.content)];
    RecordBatch::try_new(Arc::clone(schema), arrays)
}

/// One row as JSON.
pub fn row_text(batch: &RecordBatch, row: usize) -> Result<String, ArrowError> {
    let mut text = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    writer.write(&batch.slice(row, 1))?;
    writer.finish()?;
    Ok(String::from_utf8_lossy(text.trim_ascii_end()).into_owned())
}
