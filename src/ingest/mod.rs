//! Opens inputs and cuts them into chunks of rows.
//!
//! Owns formats of files and whole-file errors; [`crate::batch`] reads rows, `listing` finds files. A chunk's bounds depend on the
//! file alone, never on threads, so that what is written from chunks is the same everywhere. Memory is bounded by a chunk.

mod foreign;
pub mod formats;
mod jsonl;
mod known;
mod lenient;
mod listing;
mod packed;
mod parquet_file;
pub mod raw_rows;
mod rows;
mod source;
pub mod vectors;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::file::metadata::KeyValue;

pub use crate::batch::json::numbers::large_number;
use crate::batch::{Decoded, RowError, RowNumbers};
use crate::options::ColumnConfig;
use crate::schema::{Columns, SchemaError, quoted, with_reward};
use foreign::Conversion;
use formats::{FORMS, Form, NATIVE, Reading};
use jsonl::{Asked, Inferred};
pub use known::KnownInput;
pub use lenient::Mended;
pub use listing::{EXPORT_FOLDER, EXPORT_RECORD, MANIFEST, expand};
use packed::Packing;
use parquet_file::Parquet;
pub use rows::{RowOf, RowQueue, RowReader};
use source::Source;

/// Decoded bytes after which a chunk is full; it becomes a row group.
const CHUNK_BYTES: usize = 16 << 20;
/// The same for lines of text, which grow several times over while they are parsed.
const CHUNK_TEXT_BYTES: usize = 4 << 20;
/// Rows after which a chunk is full.
const CHUNK_ROWS: usize = 1 << 16;

/// What to do where a file's form is not known.
static FORMS_HINT: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<&str> = FORMS.iter().map(|form| form.name).collect();
    format!("known formats are {}: --format names one, --messages-column names a column of messages", names.join(", "))
});

/// Why a whole input can't be read.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("`{}` can't be opened", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("`{pattern}` matches no file of Parquet or JSON lines")]
    NoMatch { pattern: String },
    #[error("`{pattern}` is not a valid file pattern")]
    Pattern { pattern: String, source: glob::PatternError },
    #[error("`{}` is not a Parquet file: it starts with {found}, expected `PAR1`", path.display())]
    NotParquet { path: PathBuf, found: String },
    #[error("`{}` is truncated: a Parquet file ends with `PAR1`, but its {size} bytes end differently", path.display())]
    CutOff { path: PathBuf, size: u64 },
    #[error("`{}` has a broken footer", path.display())]
    Footer { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("`{}`: {source}", path.display())]
    Schema { path: PathBuf, source: SchemaError },
    #[error("`{}` can't be read after row {row}", path.display())]
    Rows { path: PathBuf, row: u64, source: ArrowError },
    #[error("`{}` is packed with {codec}, which this build can't read", path.display())]
    Codec { path: PathBuf, codec: &'static str },
    #[error("`{}` holds no line that is a JSON object with fields: {detail}", path.display())]
    NoObjects { path: PathBuf, detail: String },
    #[error("`{}` holds no row of the format `{form}`: row {row}: {detail}", path.display())]
    NoRows { path: PathBuf, row: u64, form: &'static str, detail: String },
    #[error("`{}` is in an unrecognised format: its rows have {fields}; {nearest}", path.display())]
    UnknownForm { path: PathBuf, fields: String, nearest: String },
    #[error("there is no format `{name}`")]
    NoSuchForm { name: String },
    #[error("`{}` holds no row of the format `{form}`", path.display())]
    NoRowOf { path: PathBuf, form: &'static str },
    #[error("`{}` is not a JSON document: {detail}", path.display())]
    NotJson { path: PathBuf, detail: String, is_cut_off: bool },
    #[error("`{}` holds the whole number {number}, which 64 bits can't hold", path.display())]
    LargeNumber { path: PathBuf, number: String },
    #[error("`{}` is not a JSON object with a trial's reward: {detail}", path.display())]
    NoResult { path: PathBuf, detail: String },
    #[error("`{}` was changed while it was read", path.display())]
    Changed { path: PathBuf },
    #[error("`{}` is compressed with {with}", path.display())]
    Packed { path: PathBuf, with: &'static str },
    #[error("`{}` can't be unpacked ({with}): {detail}", path.display())]
    Unpack { path: PathBuf, with: &'static str, detail: String },
    #[error("`{}` unpacks to more than {bound} bytes", path.display())]
    UnpacksTooLarge { path: PathBuf, bound: u64 },
    #[error("`{}` is not a file of vectors: {detail}", path.display())]
    Vectors { path: PathBuf, detail: String },
}

impl IngestError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            IngestError::Open { .. } => "check the path and its permissions",
            IngestError::NoMatch { .. } => {
                "files must end in .parquet, .jsonl, .ndjson, .json, .traj or .eval, text also in .gz or .zst (in folders, .json is \
                 read if it is called trajectory.json); quote a glob for the shell"
            }
            IngestError::Pattern { .. } => "a glob knows `*`, `?`, `**` and `[abc]`",
            IngestError::NotParquet { .. } => "give JSON lines the ending .jsonl or .ndjson",
            IngestError::CutOff { .. } => "the file was not written to its end; copy or write it again",
            IngestError::Footer { .. } => "copy or write the file again",
            IngestError::Schema { source: SchemaError::NoMessages { .. }, .. } => {
                "name the column with --messages-column; `purify inspect FILE` shows what is there"
            }
            IngestError::Schema { source: SchemaError::NoMask, .. } => "--tokens drop writes the data without tokens",
            IngestError::Schema { .. } => "the README lists the types that columns may have",
            IngestError::Codec { .. } => "build it with the cargo feature `codecs`, or `full`",
            IngestError::Rows { .. } => "the file is damaged there; copy or write it again",
            IngestError::NoRows { .. } => "--format names another format; the README says what is read of each",
            IngestError::UnknownForm { .. } | IngestError::NoSuchForm { .. } => FORMS_HINT.as_str(),
            IngestError::NotJson { is_cut_off: true, .. } => {
                "the file was not written to its end; copy or write it again"
            }
            IngestError::NoRowOf { .. } => "leave --format out: the first row tells; `purify inspect FILE` shows it",
            IngestError::NotJson { .. } => "give JSON lines the ending .jsonl or .ndjson",
            IngestError::LargeNumber { .. } => "write it as text",
            IngestError::NoResult { .. } => "write it again, or take it away: the rollout has no reward then",
            IngestError::Changed { .. } => "run it again when nobody writes to it",
            IngestError::Packed { .. } => "unpack it first; Parquet is packed by itself",
            IngestError::Unpack { .. } => "the file is damaged or was not written to its end; copy or write it again",
            IngestError::UnpacksTooLarge { .. } => "unpack it, and split it if it is what it should be",
            IngestError::Vectors { .. } => "`purify embed` writes such files; remove this one or give another name",
            IngestError::NoObjects { .. } => {
                "each line must be one rollout, such as {\"messages\": [...]}; a document that lists them ends in .json"
            }
        })
    }
}

/// The form that is asked for by name.
fn asked_for(config: &ColumnConfig) -> Result<Option<&'static Form>, IngestError> {
    let form = |name: &String| formats::named(name).ok_or_else(|| IngestError::NoSuchForm { name: name.clone() });
    config.format.as_ref().map(form).transpose()
}

/// Kinds of file that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Parquet,
    JsonLines,
    /// One document.
    Json,
    /// Documents in a zip: inspect_ai's logs.
    Zip,
}

impl Format {
    pub fn of(path: &Path) -> Option<Self> {
        let end = path.extension()?.to_str()?.to_ascii_lowercase();
        match end.as_str() {
            "parquet" | "pq" => Some(Format::Parquet),
            "jsonl" | "ndjson" => Some(Format::JsonLines),
            "json" | "traj" => Some(Format::Json),
            "eval" => Some(Format::Zip),
            // Text is unpacked.
            "gz" | "zst" => Format::of(Path::new(path.file_stem()?)).filter(|inner| *inner != Format::Zip),
            _ => None,
        }
    }

    /// By its name, else by its first bytes: an object opens JSON lines.
    fn recognise(path: &Path, file: &mut File) -> io::Result<Self> {
        if let Some(format) = Format::of(path) {
            return Ok(format);
        }
        let mut start = [0; 64];
        let read = file.read(&mut start)?;
        file.seek(SeekFrom::Start(0))?;
        let start = &start[..read];
        let is_text = start.trim_ascii_start().starts_with(b"{") || Packing::by_magic(start) != Packing::Plain;
        Ok(if is_text { Format::JsonLines } else { Format::Parquet })
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "Parquet",
            Format::JsonLines => "JSON lines",
            Format::Json => "JSON",
            Format::Zip => "zip",
        }
    }
}

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
    conversion: Option<Arc<Conversion>>,
    pub schema: SchemaRef,
    pub columns: Columns,
    /// The file's own key-value metadata, the Arrow schema left out.
    pub metadata: Vec<KeyValue>,
    reader: Reader,
    next_row: u64,
    stem: Arc<str>,
}

/// What is to be told of a file's rows.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// How many of them are no JSON as they stand, and are read all the same.
    pub mended: Mended,
    /// Fields of a document around them that none of them has.
    pub not_kept: Vec<String>,
    /// Where in a document they stand.
    place: Option<String>,
}

enum Reader {
    Parquet(Box<ParquetRecordBatchReader>),
    Lines(jsonl::LineReader<Box<dyn Read + Send>>),
}

/// Consecutive rows of one input.
pub struct Chunk {
    pub first_row: u64,
    data: ChunkData,
}

enum ChunkData {
    Batches(Vec<RecordBatch>),
    Lines(Vec<u8>),
}

/// A row that did not even become one: a line that is not JSON.
pub struct BadLine {
    pub row: u64,
    pub text: String,
    pub error: RowError,
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
                let inferred = jsonl::infer_schema(&mut text, known, config.reward_column.as_deref())
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
                let reader = Reader::Lines(jsonl::LineReader::new(source.read(path)?));
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

/// The recognised form of one input.
#[derive(Clone, Debug)]
pub struct Shape {
    pub path: PathBuf,
    reading: Reading,
    notes: Notes,
    conversion: Option<Arc<Conversion>>,
    pub schema: SchemaRef,
    pub columns: Columns,
    stem: Arc<str>,
}

impl Shape {
    /// Whether its columns are those of the file itself.
    pub fn is_native(&self) -> bool {
        self.conversion.is_none() && self.reading.is_native()
    }
}

/// Batches of rows, and lines that are none.
pub type DecodedChunk = (Vec<Decoded>, Vec<BadLine>);

/// A chunk as batches that can be read row by row, with the lines that can't.
pub fn decode_chunk(chunk: Chunk, shape: &Shape) -> Result<DecodedChunk, IngestError> {
    let failed = |row| move |source| IngestError::Rows { path: shape.path.clone(), row, source };
    let decode = |batch, numbers, row| Decoded::new(batch, &shape.columns, &shape.stem, numbers).map_err(failed(row));
    let listed = |batches: jsonl::NumberedBatches, row| {
        batches.into_iter().map(move |(batch, numbers)| decode(batch, RowNumbers::Listed(numbers), row))
    };
    match chunk.data {
        ChunkData::Batches(batches) => {
            let (mut next, mut decoded, mut bad) = (chunk.first_row, Vec::new(), Vec::new());
            for batch in batches {
                let first = next;
                next += batch.num_rows() as u64;
                match &shape.conversion {
                    None => decoded.push(decode(batch, RowNumbers::From(first), first)?),
                    Some(conversion) => {
                        let (batches, lines) =
                            conversion.decode(&batch, first, &shape.schema).map_err(failed(first))?;
                        decoded.extend(listed(batches, first).collect::<Result<Vec<_>, _>>()?);
                        bad.extend(lines);
                    }
                }
            }
            Ok((decoded, bad))
        }
        ChunkData::Lines(block) => {
            let (batches, bad) = jsonl::decode_lines(&block, &shape.schema, chunk.first_row, &shape.reading);
            Ok((listed(batches, chunk.first_row).collect::<Result<_, _>>()?, bad))
        }
    }
}

/// Bytes of the values themselves, independent of how buffers were allocated.
fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}
