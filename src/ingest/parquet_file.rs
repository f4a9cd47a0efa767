//! Opens a Parquet file: as it is where its columns are native, else by way of a conversion.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;

use super::error::IngestError;
use super::foreign::{Conversion, Inferred, Source, holds_json, infer};
use super::formats::{Form, NATIVE, WEIGHT};
use crate::schema::{Columns, LOSS, MESSAGES, SchemaError, list_item};

/// Bounds of the rows that are decoded at once.
const BATCH_ROWS: std::ops::RangeInclusive<usize> = 16..=512;
const BATCH_BYTES: usize = 1 << 20;
/// The same where rows are a name and a number.
const REWARD_ROWS: usize = 8192;
const MAGIC: &[u8; 4] = b"PAR1";

/// A file with its schema, as native rows have it.
pub(super) struct Parquet {
    pub(super) rows: u64,
    /// `None`: its columns are native.
    pub(super) conversion: Option<Conversion>,
    pub(super) schema: SchemaRef,
    pub(super) columns: Columns,
    pub(super) metadata: Vec<KeyValue>,
    pub(super) reader: ParquetRecordBatchReader,
}

impl Parquet {
    pub(super) fn open(
        path: &Path,
        mut file: File,
        size: u64,
        form: Option<&'static Form>,
        recognise: impl Fn(&Schema) -> Result<Columns, SchemaError>,
    ) -> Result<Self, IngestError> {
        check_magic(path, &mut file, size)?;
        let footer = |source| IngestError::Footer { path: path.to_owned(), source };
        let metadata = ArrowReaderMetadata::load(&file, Default::default()).map_err(footer)?;
        if let Some(codec) = unreadable_codec(&metadata) {
            return Err(IngestError::Codec { path: path.to_owned(), codec });
        }
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
        let batch_rows = batch_rows(&metadata);
        let native = recognise(metadata.schema());
        let is_native = is_native(&native, &metadata, form);
        let converted = if is_native {
            Inferred::Nothing
        } else {
            let source = Source { file: &file, metadata: &metadata, batch_rows };
            let failed = |source| IngestError::Rows { path: path.to_owned(), row: 0, source };
            let is_of_messages = native.as_ref().is_ok_and(|columns| columns.messages.is_some());
            infer(&source, form.or(is_of_messages.then_some(NATIVE))).map_err(failed)?
        };
        let schema_error = |source| IngestError::Schema { path: path.to_owned(), source };
        let (conversion, schema, columns) = match converted {
            Inferred::Rows(conversion, schema) => {
                // What the file itself lacks is said of its own columns.
                let columns = recognise(&schema).or_else(|error| native.and(Err(error))).map_err(schema_error)?;
                (Some(*conversion), Arc::new(schema), columns)
            }
            Inferred::Refused { form, row, detail } => {
                return Err(IngestError::NoRows { path: path.to_owned(), row, form: form.name, detail });
            }
            Inferred::Nothing => match form.filter(|form| !form.is_native() && !is_native) {
                Some(form) => return Err(IngestError::NoRowOf { path: path.to_owned(), form: form.name }),
                None => (None, Arc::clone(metadata.schema()), native.map_err(schema_error)?),
            },
        };
        let (reader, key_values) = read(file, metadata).map_err(footer)?;
        Ok(Parquet { rows, conversion, schema, columns, metadata: key_values, reader })
    }
}

/// A codec of the file that this build lacks.
fn unreadable_codec(metadata: &ArrowReaderMetadata) -> Option<&'static str> {
    let chunks = metadata.metadata().row_groups().iter().flat_map(|group| group.columns());
    let lacking = |codec| match codec {
        Compression::BROTLI(_) => Some("Brotli"),
        Compression::LZ4 | Compression::LZ4_RAW => Some("LZ4"),
        Compression::LZO
        | Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::GZIP(_)
        | Compression::ZSTD(_) => None,
    };
    let found = chunks.filter_map(|chunk| lacking(chunk.compression())).next();
    found.filter(|_| !cfg!(feature = "codecs"))
}

/// The rows of a file whose schema is known, and its own key-value metadata.
pub(super) fn reopen(path: &Path, file: File) -> Result<(ParquetRecordBatchReader, Vec<KeyValue>), IngestError> {
    let metadata = ArrowReaderMetadata::load(&file, Default::default());
    let read = metadata.and_then(|metadata| read(file, metadata));
    read.map_err(|source| IngestError::Footer { path: path.to_owned(), source })
}

/// Some top-level columns of such a file alone.
pub(super) fn reopen_columns(
    path: &Path,
    file: File,
    columns: &[usize],
) -> Result<ParquetRecordBatchReader, IngestError> {
    let read = || {
        let metadata = ArrowReaderMetadata::load(&file, Default::default())?;
        let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(mask)
            .with_batch_size(REWARD_ROWS)
            .build()
    };
    read().map_err(|source| IngestError::Footer { path: path.to_owned(), source })
}

fn read(
    file: File,
    metadata: ArrowReaderMetadata,
) -> Result<(ParquetRecordBatchReader, Vec<KeyValue>), parquet::errors::ParquetError> {
    let key_values = metadata.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    let key_values = key_values.filter(|kv| kv.key != parquet::arrow::ARROW_SCHEMA_META_KEY).cloned().collect();
    let batch_rows = batch_rows(&metadata);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    Ok((builder.with_batch_size(batch_rows).build()?, key_values))
}

/// How many rows are decoded at once.
fn batch_rows(metadata: &ArrowReaderMetadata) -> usize {
    let rows = metadata.metadata().file_metadata().num_rows();
    let bytes: i64 = metadata.metadata().row_groups().iter().map(|g| g.total_byte_size()).sum();
    let per_row = usize::try_from(bytes).unwrap_or(0) / usize::try_from(rows).unwrap_or(1).max(1);
    (BATCH_BYTES / per_row.max(1)).clamp(*BATCH_ROWS.start(), *BATCH_ROWS.end())
}

/// Whether the columns can be read as they are. What purify wrote always can, whatever its input was.
fn is_native(native: &Result<Columns, SchemaError>, metadata: &ArrowReaderMetadata, asked: Option<&Form>) -> bool {
    match native {
        Ok(columns) => {
            let is_asked = asked.is_none_or(Form::is_native);
            let is_read = |k: usize| !holds_json(metadata, k) && !is_weighed(metadata.schema().field(k));
            columns.purification.is_some() || (is_asked && columns.messages.is_none_or(is_read))
        }
        Err(SchemaError::NoMessages { .. } | SchemaError::WrongType { .. }) => false,
        Err(_) => true,
    }
}

/// Whether messages say in another way than by a flag whether they are trained on.
fn is_weighed(messages: &Field) -> bool {
    let item = list_item(messages.data_type()).map(|item| item.data_type());
    let Some(DataType::Struct(fields)) = item.filter(|_| MESSAGES.contains(&messages.name().as_str())) else {
        return false;
    };
    let type_of = |name: &str| fields.find(name).map_or(&DataType::Null, |(_, field)| field.data_type());
    *type_of(WEIGHT) != DataType::Null || !matches!(type_of(LOSS), DataType::Boolean | DataType::Null)
}

pub(super) fn check_magic(path: &Path, file: &mut File, size: u64) -> Result<(), IngestError> {
    let failed = |source| IngestError::Open { path: path.to_owned(), source };
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic).map_err(failed)?;
    if magic != MAGIC {
        let found = match magic.is_empty() {
            true => "nothing (it is empty)".to_owned(),
            false => format!("`{}`", magic.escape_ascii()),
        };
        return Err(IngestError::NotParquet { path: path.to_owned(), found });
    }
    let mut end = [0; 4];
    if size >= 12 {
        file.seek(SeekFrom::End(-4)).map_err(failed)?;
        file.read_exact(&mut end).map_err(failed)?;
    }
    if &end != MAGIC {
        return Err(IngestError::CutOff { path: path.to_owned(), size });
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(())
}
