//! Why a row can't be read: the words, and the names under which such rows are counted.
//!
//! Complaints about whole files are in [`crate::ingest`].

use crate::message::Role;
use crate::record::RecordError;

/// Why one row can't be read. The text names the column; file and row are added by the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("column `{column}` is null, expected a list of messages")]
    NullMessages { column: String },
    #[error("message {message} of column `{column}` is null")]
    NullMessage { column: String, message: usize },
    #[error("message {message} of column `{column}` has no role, expected {}", Role::KNOWN)]
    NullRole { column: String, message: usize },
    #[error("message {message} of column `{column}` has role `{}`, expected {}", shown(.found), Role::KNOWN)]
    UnknownRole { column: String, message: usize, found: String },
    #[error("column `response_mask` has {mask} entries, expected {ids}, one for each of `response_ids`")]
    MaskLength { mask: usize, ids: usize },
    #[error("column `{column}` has {logprobs} entries, expected {ids}, one for each of `response_ids`")]
    LogprobLength { column: String, logprobs: usize, ids: usize },
    #[error("column `{column}` is null, expected a list of tokens")]
    NullTokens { column: String },
    #[error("column `{column}` holds a null at {at}, expected a value for each token")]
    NullToken { column: String, at: usize },
    #[error(
        "call {call} of message {message} of column `{column}` has no `function`, expected its name and arguments there"
    )]
    NoFunction { column: String, message: usize, call: usize },
    #[error("line {line} is not valid UTF-8: byte {byte} of it can't be read")]
    NoUtf8 { line: u64, byte: usize },
    #[error("line {line} is not a JSON object: {detail}")]
    NoJson { line: u64, detail: String },
    #[error("{} does not fit the columns of the file: {detail}", subject(.line))]
    NoFit { line: Option<u64>, detail: String },
    #[error("{} is not a row of the format `{layout}`: {detail}", subject(.line))]
    Layout { line: Option<u64>, layout: &'static str, detail: String },
    #[error("its record of what was done before can't be read: {0}")]
    Record(#[from] RecordError),
    #[error("column `tools` is not JSON: {detail}")]
    NoTools { detail: String },
}

impl RowError {
    /// The name under which such rows are counted.
    pub fn code(&self) -> &'static str {
        match self {
            RowError::NullMessages { .. } => "null_messages",
            RowError::NullMessage { .. } => "null_message",
            RowError::NullRole { .. } => "null_role",
            RowError::UnknownRole { .. } => "unknown_role",
            RowError::MaskLength { .. } => "mask_length",
            RowError::LogprobLength { .. } => "logprob_length",
            RowError::NullTokens { .. } => "null_tokens",
            RowError::NullToken { .. } => "null_token",
            RowError::NoFunction { .. } => "no_function",
            RowError::NoUtf8 { .. } => "no_utf8",
            RowError::NoJson { .. } => "no_json",
            RowError::NoFit { .. } => "no_fit",
            RowError::Layout { .. } => "wrong_format",
            RowError::Record(_) => "bad_record",
            RowError::NoTools { .. } => "no_tools",
        }
    }
}

/// Rows of text have lines beside their numbers.
fn subject(line: &Option<u64>) -> String {
    line.map_or_else(|| "it".to_owned(), |line| format!("line {line}"))
}

/// Hostile text in a message: control characters escaped, length bounded.
fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(40).flat_map(char::escape_default).collect();
    if text.chars().nth(40).is_some() {
        out.push('…');
    }
    out
}
