//! Why a record can't be read: its column is not one that this version can lift, or a row's value is wrong.
//!
//! Owns the messages, which name the field. The lifting itself is the cells' and the fields'.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::types::described;

/// The version of fields that every file has.
pub const FIRST: &str = "0.1.0-alpha";

/// Why a column is not a record that this version can lift.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiftError {
    #[error("`{field}` has type {found}, expected {expected}")]
    Type { field: String, expected: String, found: String },
    #[error("`{field}` is missing, which every version of purify has written")]
    Missing { field: String },
    #[error("`{field}` is not known to this version, which would lose it; a newer purify may have written it")]
    Unknown { field: String },
    #[error("`{field}` is there twice, also under its earlier name `{formerly}`")]
    Twice { field: String, formerly: &'static str },
    #[error("`{field}` does not fit {expected}: {detail}")]
    Value { field: String, expected: String, detail: String },
    #[error("`{field}` can't be lifted: this is a bug: {detail}")]
    Bug { field: String, detail: String },
}

impl LiftError {
    pub(super) fn wrong_type(field: &str, expected: &DataType, found: &DataType) -> Self {
        LiftError::Type { field: field.to_owned(), expected: described(expected), found: described(found) }
    }

    pub(super) fn not_a_struct(field: &str, found: &DataType) -> Self {
        let expected = "the struct that purify writes".to_owned();
        LiftError::Type { field: field.to_owned(), expected, found: described(found) }
    }

    pub(super) fn bug(field: &str, error: &ArrowError) -> Self {
        LiftError::Bug { field: field.to_owned(), detail: error.to_string() }
    }
}

/// What is wrong with a value of one row's record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {detail}")]
pub struct RecordError {
    pub field: String,
    pub detail: String,
}
