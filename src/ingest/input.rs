//! One input, opened and recognised, and cut into chunks of rows.
//!
//! Owns the bounds of chunks, which depend on the file alone. What a chunk holds is [`super::chunk`]'s to decode.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::file::metadata::KeyValue;

use super::chunk::{Chunk, ChunkData, DecodedChunk, Notes, Shape, decode_chunk};
use super::container::Format;
use super::error::IngestError;
use super::foreign::Conversion;
use super::formats::{self, Form, NATIVE, Reading};
use super::jsonl::{Asked, Inferred, LineReader, infer_schema};
use super::packed::{self, Packing};
use super::parquet_file::Parquet;
use super::raw_rows;
use super::source::Source;
use crate::options::ColumnConfig;
use crate::schema::{Columns, SchemaError, quoted, with_reward};

/// Decoded bytes after which a chunk is full; it becomes a row group.
const CHUNK_BYTES: usize = 16 << 20;
/// The same for lines of text, which grow several times over while they are parsed.
const CHUNK_TEXT_BYTES: usize = 4 << 20;
/// Rows after which a chunk is full.
const CHUNK_ROWS: usize = 1 << 16;

/// One input, opened and recognised.
pub struct Input {
    pub path: PathBuf,
    pub format: Format,
    /// Bytes.
    pub size: u64,
    /// Known beforehand for Parquet.
    pub rows: Option<u64>,
    /// What its rows were before they were turned into native ones.
    pub reading: Reading,
    pub notes: Notes,
    /// Of Parquet that has to be converted.
    pub(super) conversion: Option<Arc<Conversion>>,
    pub schema: SchemaRef,
    pub columns: Columns,
    /// The file's own key-value metadata, the Arrow schema left out.
    pub metadata: Vec<KeyValue>,
    pub(super) reader: Reader,
    pub(super) next_row: u64,
    pub(super) stem: Arc<str>,
}

pub(super) enum Reader {
    Parquet(Box<ParquetRecordBatchReader>),
    Lines(LineReader<Box<dyn Read + Send>>),
}

impl Input {
    /// Opens rollouts with messages.
    pub fn open(path: &Path, config: &ColumnConfig) -> Result<Self, IngestError> {
        Self::open_with(path, config, |schema| Columns::recognise(schema, config))
    }

    /// Opens rollouts with messages or with tokens alone, or preference pairs: what can be scored and trained on.
    pub fn open_any(path: &Path, config: &ColumnConfig) -> Result<Self, IngestError> {
        Self::open_with(path, config, |schema| Columns::recognise_any(schema, config))
    }

    fn open_with(
        path: &Path,
        config: &ColumnConfig,
        recognise: impl Fn(&Schema) -> Result<Columns, SchemaError>,
    ) -> Result<Self, IngestError> {
        let failed = |source| IngestError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let format = Format::recognise(path, &mut file).map_err(failed)?;
        let stem: Arc<str> = path.file_stem().unwrap_or_default().to_string_lossy().into();
        let schema_error = |source| IngestError::Schema { path: path.to_owned(), source };
        let asked = asked_for(config)?;
        match format {
            Format::Parquet => {
                if let Some(with) = Packing::of(path)?.name() {
                    return Err(IngestError::Packed { path: path.to_owned(), with });
                }
                let parquet = Parquet::open(path, file, size, asked, recognise)?;
                Ok(Input {
                    path: path.to_owned(),
                    format,
                    size,
                    rows: Some(parquet.rows),
                    reading: Reading::of(parquet.conversion.as_ref().map_or(NATIVE, |conversion| conversion.form)),
                    notes: Notes::default(),
                    conversion: parquet.conversion.map(Arc::new),
                    schema: parquet.schema,
                    columns: parquet.columns,
                    metadata: parquet.metadata,
                    reader: Reader::Parquet(Box::new(parquet.reader)),
                    next_row: 0,
                    stem,
                })
            }
            Format::JsonLines | Format::Json | Format::Zip => {
                let source = Source::open(path, format, asked)?;
                let known = Asked { form: asked, reading: source.reading.clone() };
                let mut text = source.read(path)?;
                let inferred = infer_schema(&mut text, known, config.reward_column.as_deref())
                    .map_err(|source| packed::failed(path, source))?;
                let Some(Inferred { reading, schema, mended }) = inferred else {
                    return Err(raw_rows::why_none(path, &source, asked));
                };
                let schema = with_reward(schema, reading.form.reward);
                let columns = match recognise(&schema) {
                    Err(SchemaError::NoMessages { found }) if asked.is_none() => {
                        let (fields, nearest) = (quoted(&found), raw_rows::nearest(path, &source)?);
                        return Err(IngestError::UnknownForm { path: path.to_owned(), fields, nearest });
                    }
                    found => found.map_err(schema_error)?,
                };
                let reader = Reader::Lines(LineReader::new(source.read(path)?));
                Ok(Input {
                    path: path.to_owned(),
                    format,
                    size,
                    rows: None,
                    reading,
                    notes: Notes { mended, not_kept: source.not_kept, place: source.place },
                    conversion: None,
                    schema: Arc::new(schema),
                    columns,
                    metadata: Vec::new(),
                    reader,
                    next_row: 0,
                    stem,
                })
            }
        }
    }

    /// Whether a row may not even become one, so that all that is left of it is its text.
    pub fn may_have_bad_lines(&self) -> bool {
        self.conversion.is_some() || self.format != Format::Parquet
    }

    /// Container and form, for people.
    pub fn format_name(&self) -> String {
        match self.notes.place.clone().or_else(|| (!self.reading.is_native()).then(|| self.reading.name())) {
            None => self.format.name().to_owned(),
            Some(form) => format!("{}, {form}", self.format.name()),
        }
    }

    /// Rows read so far.
    pub fn rows_read(&self) -> u64 {
        self.next_row
    }

    /// The next chunk, or `None` at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, IngestError> {
        let first_row = self.next_row;
        let data = match &mut self.reader {
            Reader::Parquet(reader) => {
                let (mut batches, mut bytes, mut rows) = (Vec::new(), 0, 0);
                let most_bytes = if self.conversion.is_some() { CHUNK_TEXT_BYTES } else { CHUNK_BYTES };
                while bytes < most_bytes && rows < CHUNK_ROWS {
                    let Some(batch) = reader.next() else { break };
                    let batch = batch.map_err(|source| IngestError::Rows {
                        path: self.path.clone(),
                        row: self.next_row,
                        source,
                    })?;
                    bytes += batch_bytes(&batch);
                    rows += batch.num_rows();
                    self.next_row += batch.num_rows() as u64;
                    batches.push(batch);
                }
                (rows > 0).then_some(ChunkData::Batches(batches))
            }
            Reader::Lines(lines) => lines
                .next_block(CHUNK_TEXT_BYTES)
                .map_err(|source| packed::failed(&self.path, source))?
                .map(|(block, rows)| {
                    self.next_row += rows;
                    ChunkData::Lines(block)
                }),
        };
        Ok(data.map(|data| Chunk { first_row, data }))
    }

    /// The next chunk, decoded, for those who read a file from its beginning to its end in one thread.
    pub fn next_decoded(&mut self) -> Result<Option<DecodedChunk>, IngestError> {
        let chunk = self.next_chunk()?;
        chunk.map(|chunk| decode_chunk(chunk, &self.shape())).transpose()
    }

    /// What of its rows the native rows don't hold, each with the number of rows that lose it.
    pub fn not_kept(&self) -> Result<BTreeMap<String, u64>, IngestError> {
        let mended = self.notes.mended.counts().map(|(what, rows)| (what.to_owned(), rows));
        let mut out: BTreeMap<String, u64> = mended.collect();
        out.extend(self.notes.not_kept.iter().map(|field| (format!("`{field}` around the rows"), 1)));
        if self.format != Format::Parquet {
            out.extend(raw_rows::not_kept(&self.path, self.format, self.reading.form)?);
        }
        Ok(out)
    }

    /// What [`decode_chunk`] needs to know of the file, shareable across threads.
    pub fn shape(&self) -> Shape {
        Shape {
            path: self.path.clone(),
            reading: self.reading.clone(),
            notes: self.notes.clone(),
            conversion: self.conversion.clone(),
            schema: Arc::clone(&self.schema),
            columns: self.columns.clone(),
            stem: Arc::clone(&self.stem),
        }
    }
}

/// The form that is asked for by name.
fn asked_for(config: &ColumnConfig) -> Result<Option<&'static Form>, IngestError> {
    let form = |name: &String| formats::named(name).ok_or_else(|| IngestError::NoSuchForm { name: name.clone() });
    config.format.as_ref().map(form).transpose()
}

/// Bytes of the values themselves, independent of how buffers were allocated.
fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}
