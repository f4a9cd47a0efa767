//! Arrow types that hold the same values in other widths and encodings.
//!
//! Owns that question alone: what a column is called and what it is for is [`crate::schema`]'s.

use arrow::datatypes::{DataType, FieldRef};

/// Whether a column is text, in any width or encoding.
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The element field of any list type.
pub fn list_item(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// A type for people: long ones are cut.
pub fn described(data_type: &DataType) -> String {
    const MAX_LENGTH: usize = 160;
    let mut out = data_type.to_string();
    if out.len() > MAX_LENGTH {
        out.truncate(out.floor_char_boundary(MAX_LENGTH));
        out.push('…');
    }
    out
}
