//! Consecutive rows of one input, and what they are decoded with: on whatever thread, without the file.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::bad_line::BadLine;
use super::error::IngestError;
use super::foreign::Conversion;
use super::formats::Reading;
use super::jsonl::{NumberedBatches, decode_lines};
use super::lenient::Mended;
use crate::batch::{Decoded, RowNumbers};
use crate::schema::Columns;

/// Consecutive rows of one input.
pub struct Chunk {
    pub first_row: u64,
    pub(super) data: ChunkData,
}

pub(super) enum ChunkData {
    Batches(Vec<RecordBatch>),
    Lines(Vec<u8>),
}

/// What is to be told of a file's rows.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// How many of them are no JSON as they stand, and are read all the same.
    pub mended: Mended,
    /// Fields of a document around them that none of them has.
    pub not_kept: Vec<String>,
    /// Where in a document they stand.
    pub(super) place: Option<String>,
}

/// The recognised form of one input.
#[derive(Clone, Debug)]
pub struct Shape {
    pub path: PathBuf,
    pub(super) reading: Reading,
    pub(super) notes: Notes,
    pub(super) conversion: Option<Arc<Conversion>>,
    pub schema: SchemaRef,
    pub columns: Columns,
    pub(super) stem: Arc<str>,
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
    let listed = |batches: NumberedBatches, row| {
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
            let (batches, bad) = decode_lines(&block, &shape.schema, chunk.first_row, &shape.reading);
            Ok((listed(batches, chunk.first_row).collect::<Result<_, _>>()?, bad))
        }
    }
}
