//! Opens inputs and cuts them into chunks of rows.
//!
//! Owns formats of files and whole-file errors; [`crate::batch`] reads rows, `listing` finds files. A chunk's bounds depend on the
//! file alone, never on threads, so that what is written from chunks is the same everywhere. Memory is bounded by a chunk.

mod bad_line;
mod chunk;
mod container;
mod error;
mod foreign;
pub mod formats;
mod input;
mod jsonl;
mod known;
mod lenient;
mod listing;
mod packed;
mod parquet_file;
mod raw_rows;
mod rows;
mod source;
pub mod vectors;

pub use bad_line::BadLine;
pub use chunk::{Chunk, DecodedChunk, Notes, Shape, decode_chunk};
pub use container::Format;
pub use error::IngestError;
pub use input::Input;
pub use known::KnownInput;
pub use lenient::Mended;
pub use listing::{EXPORT_FOLDER, EXPORT_RECORD, MANIFEST, expand};
pub use rows::{RowOf, RowQueue, RowReader};

pub use crate::batch::Decoded;
pub use crate::batch::json::numbers::large_number;
