//! Kinds of file that are read, told by their names, else by their first bytes.
//!
//! What one row looks like is its form's ([`super::formats`]).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::packed::Packing;

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
    pub(super) fn recognise(path: &Path, file: &mut File) -> io::Result<Self> {
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
