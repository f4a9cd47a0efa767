//! Text and lists of a column, whatever width or encoding they have.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, LargeStringArray, OffsetSizeTrait, StringArray, StringViewArray, StructArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::schema::list_item;

/// Text of any width; `Absent` where the data has no such field.
#[derive(Debug)]
pub enum Text {
    Narrow(StringArray),
    Wide(LargeStringArray),
    View(StringViewArray),
    Absent,
}

impl Text {
    pub fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match array.data_type() {
            DataType::Utf8 => Text::Narrow(array.as_string().clone()),
            DataType::LargeUtf8 => Text::Wide(array.as_string().clone()),
            DataType::Utf8View => Text::View(array.as_string_view().clone()),
            DataType::Null => Text::Absent,
            _ => Text::Wide(strict_cast(array, &DataType::LargeUtf8)?.as_string().clone()),
        })
    }

    pub(super) fn field(fields: &StructArray, name: &str) -> Result<Self, ArrowError> {
        fields.column_by_name(name).map_or(Ok(Text::Absent), Text::new)
    }

    /// A field that is only compared: one of another type is as good as none.
    pub(super) fn id(fields: &StructArray, name: &str) -> Result<Self, ArrowError> {
        match fields.column_by_name(name).map(|array| array.data_type()) {
            Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => Text::field(fields, name),
            _ => Ok(Text::Absent),
        }
    }

    pub fn get(&self, index: usize) -> Option<&str> {
        match self {
            Text::Narrow(array) => array.is_valid(index).then(|| array.value(index)),
            Text::Wide(array) => array.is_valid(index).then(|| array.value(index)),
            Text::View(array) => array.is_valid(index).then(|| array.value(index)),
            Text::Absent => None,
        }
    }
}

pub fn strict_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// A list column, whatever its offsets' width: ranges of a shared child.
#[derive(Debug)]
pub struct List {
    pub values: ArrayRef,
    offsets: Vec<usize>,
    array: ArrayRef,
}

impl List {
    pub fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        match array.data_type() {
            DataType::List(_) => Ok(Self::of::<i32>(array)),
            DataType::LargeList(_) => Ok(Self::of::<i64>(array)),
            other => {
                let item = list_item(other).ok_or_else(|| ArrowError::CastError(format!("{other} is not a list")))?;
                Self::new(&strict_cast(array, &DataType::LargeList(Arc::clone(item)))?)
            }
        }
    }

    fn of<O: OffsetSizeTrait>(array: &ArrayRef) -> Self {
        let list = array.as_list::<O>();
        List {
            values: Arc::clone(list.values()),
            offsets: list.value_offsets().iter().map(|o| o.as_usize()).collect(),
            array: Arc::clone(array),
        }
    }

    pub fn data_type(&self) -> &DataType {
        self.array.data_type()
    }

    /// Child indices of a row; `None` if it is null.
    pub fn range(&self, row: usize) -> Option<Range<usize>> {
        self.array.is_valid(row).then(|| self.offsets[row]..self.offsets[row + 1])
    }
}
