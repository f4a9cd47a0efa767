//! The file of `purify inspect --results`: one row for each tool result, and what it says.
//!
//! Owns the columns and their order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{Encoder, ParquetFile, ParquetForm, WriteError};
use crate::options::DEFAULT_COMPRESSION_LEVEL;

/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 14;

/// One tool result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRow {
    pub rollout_id: String,
    /// The rollout's row in its file, from 0.
    pub row: u64,
    /// Index of the message that holds the result.
    pub message: usize,
    /// Index of the call within its step, the first one if it answers several; absent if it answers none.
    pub call: Option<usize>,
    /// Absent where calls stand in text.
    pub tool: Option<String>,
    pub verdict: &'static str,
    /// Of an error.
    pub error_type: Option<String>,
    /// Of an error.
    pub fault: Option<&'static str>,
    /// What decided; absent where nothing did.
    pub rule: Option<String>,
    pub file: Arc<str>,
}

/// Rows, in the order in which they are pushed.
pub struct ResultWriter {
    path: PathBuf,
    schema: SchemaRef,
    encoder: Encoder,
    file: ParquetFile,
    rows: Vec<ResultRow>,
}

impl ResultWriter {
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let text = |name: &str, is_optional| Field::new(name, DataType::Utf8, is_optional);
        let number = |name: &str, is_optional| Field::new(name, DataType::Int64, is_optional);
        let schema = Arc::new(Schema::new(vec![
            text("rollout_id", false),
            number("row", false),
            number("message", false),
            number("call", true),
            text("tool", true),
            text("verdict", false),
            text("error_type", true),
            text("fault", true),
            text("rule", true),
            text("file", false),
        ]));
        let form = ParquetForm {
            schema: Arc::clone(&schema),
            metadata: Vec::new(),
            compression_level: DEFAULT_COMPRESSION_LEVEL,
        };
        let (encoder, file) = (Encoder::new(path, &form)?, ParquetFile::create(path, &form)?);
        Ok(ResultWriter { path: path.to_owned(), schema, encoder, file, rows: Vec::new() })
    }

    pub fn push(&mut self, row: ResultRow) -> Result<(), WriteError> {
        self.rows.push(row);
        if self.rows.len() >= GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let rows = std::mem::take(&mut self.rows);
        let numbers = |of: &dyn Fn(&ResultRow) -> Option<usize>| -> ArrayRef {
            let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            Arc::new(rows.iter().map(|row| of(row).map(signed)).collect::<Int64Array>())
        };
        let texts =
            |of: fn(&ResultRow) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
        let arrays = vec![
            texts(|row| Some(&row.rollout_id)),
            numbers(&|row| usize::try_from(row.row).ok()),
            numbers(&|row| Some(row.message)),
            numbers(&|row| row.call),
            texts(|row| row.tool.as_deref()),
            texts(|row| Some(row.verdict)),
            texts(|row| row.error_type.as_deref()),
            texts(|row| row.fault),
            texts(|row| row.rule.as_deref()),
            texts(|row| Some(&row.file)),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|source| WriteError::Columns { path: self.path.clone(), source })?;
        self.file.append(self.encoder.encode(&[batch])?)
    }

    /// Writes what is left and puts the file in place.
    pub fn finish(mut self) -> Result<(), WriteError> {
        if !self.rows.is_empty() {
            self.flush()?;
        }
        self.file.finish().map(|_| ())
    }
}
