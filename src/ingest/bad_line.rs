//! A row of which nothing but its text is left.

use crate::batch::RowError;

/// A row that did not even become one: a line that is not JSON.
pub struct BadLine {
    pub row: u64,
    pub text: String,
    pub error: RowError,
}
