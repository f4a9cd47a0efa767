//! Why a whole input can't be read, and what to do about it.
//!
//! Owns the words. A row that can't be read is [`RowError`](crate::batch::RowError)'s.

use std::io;
use std::path::PathBuf;
use std::sync::LazyLock;

use arrow::error::ArrowError;

use super::formats::FORMS;
use crate::schema::SchemaError;

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
