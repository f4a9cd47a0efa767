//! Columns of a batch beside its rollouts: the record of what was done to the rows, and any text.

use arrow::error::ArrowError;

use super::Decoded;
use super::arrays::Text;
use crate::record::RecordReader;
use crate::schema::{PURIFICATION, is_text};

impl Decoded {
    /// The text of a column of that name.
    pub fn text_column(&self, name: &str) -> Option<Text> {
        self.batch.column_by_name(name).filter(|column| is_text(column.data_type())).and_then(|c| Text::new(c).ok())
    }

    /// What was done to the rows before; `None` if the file has no such column.
    pub fn records(&self) -> Result<Option<RecordReader>, ArrowError> {
        let column = self.batch.column_by_name(PURIFICATION);
        column.map(RecordReader::new).transpose().map_err(|error| ArrowError::SchemaError(error.to_string()))
    }
}
