//! Reads `steps.parquet` back.
//!
//! Owns its checks: columns and types, the model's card, and every row. Writing it is [`crate::write`]'s.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Float32Type};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use super::error::IngestError;
use super::parquet_file::check_magic;
use crate::embedding::{Embedding, ModelCard, TextHash};
use crate::options::TextKind;
use crate::schema::vectors as columns;

const BATCH_ROWS: usize = 4096;

/// An opened file of vectors.
pub struct VectorFile {
    path: PathBuf,
    pub card: ModelCard,
    pub rows: u64,
    metadata: ArrowReaderMetadata,
    file: File,
}

/// One of its rows.
pub struct VectorRow {
    pub hash: TextHash,
    pub kind: TextKind,
    pub is_cut: bool,
    pub embedding: Embedding,
}

impl VectorFile {
    pub fn open(path: &Path) -> Result<Self, IngestError> {
        let failed = |source| IngestError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        check_magic(path, &mut file, size)?;
        let footer = |source| IngestError::Footer { path: path.to_owned(), source };
        let metadata = ArrowReaderMetadata::load(&file, Default::default()).map_err(footer)?;
        let refuse = |detail: String| IngestError::Vectors { path: path.to_owned(), detail };
        let stated = metadata.metadata().file_metadata().key_value_metadata();
        let card = stated.into_iter().flatten().find(|kv| kv.key == columns::CARD).and_then(|kv| kv.value.as_deref());
        let card = card.ok_or_else(|| refuse(format!("it has no metadata `{}`", columns::CARD)))?;
        let card: ModelCard = serde_json::from_str(card)
            .map_err(|e| refuse(format!("its metadata `{}` is damaged: {e}", columns::CARD)))?;
        let expected = columns::vectors(i32::try_from(card.dimension).unwrap_or(i32::MAX));
        for field in expected.fields() {
            let found = metadata.schema().field_with_name(field.name());
            let found = found.map_err(|_| refuse(format!("it has no column `{}`", field.name())))?;
            if !is_as_expected(found.data_type(), field.data_type()) {
                let (name, found, expected) = (field.name(), found.data_type(), field.data_type());
                return Err(refuse(format!(
                    "column `{name}` is {found}, expected {expected} as its model's card says"
                )));
            }
        }
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
        Ok(VectorFile { path: path.to_owned(), card, rows, metadata, file })
    }

    /// Gives every row to `take`.
    pub fn read<E: From<IngestError>>(self, mut take: impl FnMut(VectorRow) -> Result<(), E>) -> Result<(), E> {
        let VectorFile { path, metadata, file, .. } = self;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|source| IngestError::Footer { path: path.clone(), source })?;
        let mut row = 0;
        for batch in reader {
            let batch = batch.map_err(|source| IngestError::Rows { path: path.clone(), row, source })?;
            let column = |name: &str| batch.column_by_name(name).cloned();
            let (Some(hashes), Some(kinds), Some(vectors), Some(cut)) = (
                column(columns::TEXT_HASH),
                column(columns::KIND),
                column(columns::EMBEDDING),
                column(columns::IS_CUT),
            ) else {
                break;
            };
            let (hashes, kinds) = (hashes.as_string::<i32>(), kinds.as_string::<i32>());
            let (vectors, cut): (_, &BooleanArray) = (vectors.as_fixed_size_list(), cut.as_boolean());
            for k in 0..batch.num_rows() {
                let refuse = |detail: &str| IngestError::Vectors {
                    path: path.clone(),
                    detail: format!("row {}: {detail}", row + k as u64),
                };
                let hash = hashes.is_valid(k).then(|| TextHash::from_hex(hashes.value(k))).flatten();
                let hash = hash.ok_or_else(|| refuse("`text_hash` is not a hash of 64 hexadecimal digits"))?;
                let kind = kinds.is_valid(k).then(|| TextKind::of_name(kinds.value(k))).flatten();
                let kind = kind.ok_or_else(|| refuse("`kind` is none of reasoning, call, code, step"))?;
                let values = vectors.is_valid(k).then(|| vectors.value(k));
                let values = values.filter(|v| v.null_count() == 0);
                let values = values.map(|v| v.as_primitive::<Float32Type>().values().to_vec());
                let embedding =
                    values.and_then(Embedding::new).ok_or_else(|| refuse("`embedding` has no direction"))?;
                let is_cut = cut.is_valid(k).then(|| cut.value(k)).ok_or_else(|| refuse("`is_cut` is null"))?;
                take(VectorRow { hash, kind, is_cut, embedding })?;
            }
            row += batch.num_rows() as u64;
        }
        Ok(())
    }
}

/// Refuses a file that is not an index of steps: it would be overwritten by one.
pub fn check_index(path: &Path) -> Result<(), IngestError> {
    let refuse = |detail: String| IngestError::Vectors { path: path.to_owned(), detail };
    let file = File::open(path).map_err(|source| IngestError::Open { path: path.to_owned(), source })?;
    let is_index = ArrowReaderMetadata::load(&file, Default::default()).is_ok_and(|metadata| {
        let (found, expected) = (metadata.schema().fields(), columns::index());
        found.len() == expected.fields().len()
            && found.iter().zip(expected.fields()).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
    });
    match is_index {
        true => Ok(()),
        false => Err(refuse("the index of steps goes there, and it is something else".to_owned())),
    }
}

/// Names and nullability of list items differ between writers; they don't matter.
fn is_as_expected(found: &DataType, expected: &DataType) -> bool {
    match (found, expected) {
        (DataType::FixedSizeList(a, n), DataType::FixedSizeList(b, m)) => n == m && a.data_type() == b.data_type(),
        (a, b) => a == b,
    }
}
