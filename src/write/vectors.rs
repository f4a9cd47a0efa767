//! `steps.parquet`, one row per text, and its index, one row per step and kind.
//!
//! Owns the columns and their order. Reading them back is [`crate::ingest::vectors`]'s.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{BooleanArray, FixedSizeListArray, Float32Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::file::metadata::KeyValue;

use super::{Encoder, FileRecord, ParquetFile, ParquetForm, WriteError};
use crate::embedding::{ModelCard, TextHash};
use crate::options::{CompressionLevel, TextKind};
use crate::schema::vectors as columns;

/// Rows of a row group of vectors.
const GROUP_ROWS: usize = 1 << 14;
const COMPRESSION_LEVEL: CompressionLevel = CompressionLevel::nearest(1);

/// The file that ties steps to the texts of `out`: `steps.parquet` has `steps.index.parquet`.
pub fn index_path(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{}.index.parquet", name.strip_suffix(".parquet").unwrap_or(&name)))
}

/// Rows that are written group by group.
struct Rows {
    path: PathBuf,
    schema: SchemaRef,
    encoder: Encoder,
    file: ParquetFile,
}

impl Rows {
    fn create(path: &Path, schema: Schema, metadata: Vec<KeyValue>) -> Result<Self, WriteError> {
        let schema = Arc::new(schema);
        let form = ParquetForm { schema: Arc::clone(&schema), metadata, compression_level: COMPRESSION_LEVEL };
        let (encoder, file) = (Encoder::new(path, &form)?, ParquetFile::create(path, &form)?);
        Ok(Rows { path: path.to_owned(), schema, encoder, file })
    }

    fn append(&mut self, arrays: Vec<arrow::array::ArrayRef>) -> Result<(), WriteError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|source| WriteError::Columns { path: self.path.clone(), source })?;
        self.file.append(self.encoder.encode(&[batch])?)
    }
}

/// Vectors, in the order in which they are pushed.
pub struct VectorWriter {
    rows: Rows,
    dimension: i32,
    hashes: Vec<String>,
    kinds: Vec<&'static str>,
    cut: Vec<bool>,
    values: Vec<f32>,
}

impl VectorWriter {
    pub fn create(path: &Path, card: &ModelCard) -> Result<Self, WriteError> {
        let dimension = i32::try_from(card.dimension).unwrap_or(i32::MAX);
        let metadata = vec![KeyValue::new(columns::CARD.to_owned(), serde_json::to_string(card).ok())];
        Ok(VectorWriter {
            rows: Rows::create(path, columns::vectors(dimension), metadata)?,
            dimension,
            hashes: Vec::new(),
            kinds: Vec::new(),
            cut: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Appends one row; `vector` has the card's dimension.
    pub fn push(&mut self, hash: &TextHash, kind: TextKind, is_cut: bool, vector: &[f32]) -> Result<(), WriteError> {
        self.hashes.push(hash.to_string());
        self.kinds.push(kind.name());
        self.cut.push(is_cut);
        self.values.extend_from_slice(vector);
        if self.hashes.len() >= GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let values = Arc::new(Float32Array::from(std::mem::take(&mut self.values)));
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let vectors = FixedSizeListArray::try_new(item, self.dimension, values, None)
            .map_err(|source| WriteError::Columns { path: self.rows.path.clone(), source })?;
        self.rows.append(vec![
            Arc::new(StringArray::from_iter_values(std::mem::take(&mut self.hashes))),
            Arc::new(StringArray::from_iter_values(std::mem::take(&mut self.kinds))),
            Arc::new(vectors),
            Arc::new(BooleanArray::from(std::mem::take(&mut self.cut))),
        ])
    }

    pub fn finish(mut self) -> Result<FileRecord, WriteError> {
        self.flush()?;
        self.rows.file.finish()
    }
}

/// Which text each step holds.
pub struct IndexWriter {
    rows: Rows,
    rollouts: Vec<String>,
    steps: Vec<i32>,
    kinds: Vec<&'static str>,
    hashes: Vec<String>,
}

impl IndexWriter {
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let rows = Rows::create(path, columns::index(), Vec::new())?;
        Ok(IndexWriter { rows, rollouts: Vec::new(), steps: Vec::new(), kinds: Vec::new(), hashes: Vec::new() })
    }

    /// Appends one row; `step` counts the rollout's steps from 0.
    pub fn push(&mut self, rollout: &str, step: usize, kind: TextKind, hash: &TextHash) -> Result<(), WriteError> {
        self.rollouts.push(rollout.to_owned());
        self.steps.push(i32::try_from(step).unwrap_or(i32::MAX));
        self.kinds.push(kind.name());
        self.hashes.push(hash.to_string());
        if self.hashes.len() >= 4 * GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.rows.append(vec![
            Arc::new(StringArray::from_iter_values(std::mem::take(&mut self.rollouts))),
            Arc::new(Int32Array::from(std::mem::take(&mut self.steps))),
            Arc::new(StringArray::from_iter_values(std::mem::take(&mut self.kinds))),
            Arc::new(StringArray::from_iter_values(std::mem::take(&mut self.hashes))),
        ])
    }

    pub fn finish(mut self) -> Result<FileRecord, WriteError> {
        self.flush()?;
        self.rows.file.finish()
    }
}
