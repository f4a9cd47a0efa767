//! What text is packed in: gzip, zstd, zip.
//!
//! Owns the bound of what is unpacked, so that a small file can't fill memory or disk, and the words for what can't be
//! unpacked.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde_json::Value;

use super::error::IngestError;
use super::lenient;

/// What may be unpacked of any file, and of each of its bytes: text shrinks to a tenth, seldom to a fiftieth.
const LEAST_BOUND: u64 = 1 << 30;
const MAX_GROWTH: u64 = 256;
/// Where a zip holds its rows.
const ROWS_OF_ZIP: &str = "samples/";
const HEADER_OF_ZIP: &str = "header.json";

/// What a file is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// By its first bytes.
    pub(super) fn of(path: &Path) -> Result<Self, IngestError> {
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut start));
        read.map_err(|source| IngestError::Open { path: path.to_owned(), source })?;
        Ok(Self::by_magic(&start))
    }

    pub(super) fn by_magic(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            _ => Packing::Plain,
        }
    }

    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Packing::Plain => None,
            Packing::Gzip => Some("gzip"),
            Packing::Zstd => Some("zstd"),
        }
    }
}

/// The bytes of a file, unpacked up to the bound.
pub(super) fn unpacked(path: &Path, packing: Packing) -> Result<Box<dyn Read + Send>, IngestError> {
    let opened = |source| IngestError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(opened)?;
    let size = file.metadata().map_err(opened)?.len();
    let file = BufReader::with_capacity(1 << 16, file);
    Ok(match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(Bounded::new(flate2::bufread::MultiGzDecoder::new(file), size)),
        Packing::Zstd => Box::new(Bounded::new(zstd::Decoder::with_buffer(file).map_err(opened)?, size)),
    })
}

/// A reader that ends with an error where it gives more than the bound.
struct Bounded<R> {
    source: R,
    left: u64,
    bound: u64,
}

/// More is packed in a file than may be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("it unpacks to more than {bound} bytes")]
struct TooLarge {
    bound: u64,
}

impl<R> Bounded<R> {
    fn new(source: R, packed: u64) -> Self {
        let bound = LEAST_BOUND.max(packed.saturating_mul(MAX_GROWTH));
        Bounded { source, left: bound, bound }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(TooLarge { bound: self.bound })),
        }
        Ok(read)
    }
}

/// Why bytes of a file can't be had.
pub(super) fn failed(path: &Path, source: io::Error) -> IngestError {
    let bound = source.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()).map(|too_large| too_large.bound);
    let packing = Packing::of(path).ok().and_then(Packing::name);
    match (bound, packing) {
        (Some(bound), _) => IngestError::UnpacksTooLarge { path: path.to_owned(), bound },
        (None, Some(with)) => IngestError::Unpack { path: path.to_owned(), with, detail: source.to_string() },
        (None, None) => IngestError::Open { path: path.to_owned(), source },
    }
}

/// The rows of a zip: its samples in the order of their names, each with what the header says of all.
pub(super) fn entries(path: &Path) -> Result<Vec<Value>, IngestError> {
    let unpack = |detail: String| IngestError::Unpack { path: path.to_owned(), with: "zip", detail };
    let file = File::open(path).map_err(|source| IngestError::Open { path: path.to_owned(), source })?;
    let size = file.metadata().map_err(|source| IngestError::Open { path: path.to_owned(), source })?.len();
    let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| unpack(error.to_string()))?;
    let rows = zip.file_names().filter_map(Result::ok).map(|name| name.into_owned());
    let mut names: Vec<String> = rows.filter(|name| name.starts_with(ROWS_OF_ZIP) && name.ends_with(".json")).collect();
    names.sort();
    let mut left = LEAST_BOUND.max(size.saturating_mul(MAX_GROWTH));
    let mut value_of = |name: &str| -> Result<Value, IngestError> {
        let entry = zip.by_name(name).map_err(|error| unpack(format!("`{name}`: {error}")))?;
        let mut text = Vec::new();
        entry.take(left + 1).read_to_end(&mut text).map_err(|error| unpack(format!("`{name}`: {error}")))?;
        let bound = left;
        left =
            left.checked_sub(text.len() as u64).ok_or(IngestError::UnpacksTooLarge { path: path.to_owned(), bound })?;
        let not_json = |error: serde_json::Error| IngestError::NotJson {
            path: path.to_owned(),
            detail: format!("`{name}`: {error}"),
            is_cut_off: false,
        };
        lenient::value(&text).map(|(value, _)| value).map_err(not_json)
    };
    let header = value_of(HEADER_OF_ZIP).ok();
    let rows = names.iter().map(|name| value_of(name)).collect::<Result<Vec<Value>, _>>()?;
    if rows.is_empty() {
        return Err(unpack(format!("it holds no `{ROWS_OF_ZIP}*.json`, as inspect_ai's logs do")));
    }
    let eval = header.as_ref().and_then(|header| header.get("eval")).cloned();
    Ok(rows.into_iter().map(|row| with_eval(row, eval.as_ref())).collect())
}

fn with_eval(mut row: Value, eval: Option<&Value>) -> Value {
    if let (Some(object), Some(eval)) = (row.as_object_mut(), eval) {
        object.entry("eval").or_insert_with(|| eval.clone());
    }
    row
}
