//! Kinds of values that a record holds, each with its Arrow type.
//!
//! Owns how one value is written, read, and shown. Which values a record has is the table's. What an earlier version or
//! another program has written in another width is lifted to the present type; what that can't hold is an error.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Builder, Float64Array, Float64Builder, Int32Array, ListBuilder,
    StringArray, StringBuilder, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int32Type};
use arrow::error::ArrowError;
use serde_json::{Value, json};

use super::lift::{LiftError, RecordError};
use super::words::Word;
use crate::types::{described, is_text, list_item};

/// A value of a record.
pub trait Cell: Sized + 'static {
    /// The type of its column.
    fn data_type() -> DataType;

    /// A column of the same values as this version would have written it. `path` names it.
    fn lift(path: &str, array: &ArrayRef) -> Result<ArrayRef, LiftError> {
        lift_to(path, array, &Self::data_type())
    }

    /// A column; `None` stands for a row without a record.
    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError>;

    /// Reads a column that was lifted. `path` names it.
    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError>;

    /// As JSON; null where there is none.
    fn shown(&self) -> Value;
}

/// A list with the name that all lists of ours give to their items.
pub(super) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, true)))
}

fn lift_to(path: &str, array: &ArrayRef, to: &DataType) -> Result<ArrayRef, LiftError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(to, array.len()));
    }
    if !holds_such(array.data_type(), to) {
        return Err(LiftError::wrong_type(path, to, array.data_type()));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &strict).map_err(|error| LiftError::Value {
        field: path.to_owned(),
        expected: described(to),
        detail: error.to_string(),
    })
}

/// Whether a type holds values of the same kind, in whatever width.
fn holds_such(found: &DataType, wanted: &DataType) -> bool {
    if *found == DataType::Null {
        return true;
    }
    match (list_item(found), list_item(wanted)) {
        (Some(found), Some(wanted)) => holds_such(found.data_type(), wanted.data_type()),
        (None, None) => match wanted {
            DataType::Boolean => *found == DataType::Boolean,
            text if is_text(text) => is_text(found),
            float if float.is_floating() => found.is_numeric(),
            int => int.is_integer() && found.is_integer(),
        },
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn counts(counts: impl Iterator<Item = Option<usize>>) -> Result<ArrayRef, ArrowError> {
    let narrow = |count: usize| {
        let bug = |_| ArrowError::ComputeError(format!("a count of {count} does not fit 32 bits: this is a bug"));
        i32::try_from(count).map_err(bug)
    };
    Ok(Arc::new(counts.map(|count| count.map(narrow).transpose()).collect::<Result<Int32Array, _>>()?))
}

fn null(path: &str) -> RecordError {
    RecordError { field: path.to_owned(), detail: "is null".to_owned() }
}

/// Of a value that every record has.
fn required<T>(path: &str, value: Option<T>) -> Result<T, RecordError> {
    value.ok_or_else(|| null(path))
}

impl Cell for Option<usize> {
    fn data_type() -> DataType {
        DataType::Int32
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        counts(cells.map(|cell| cell.copied().flatten()))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        let array = array.as_primitive::<Int32Type>();
        let count = |value: i32| {
            usize::try_from(value)
                .map_err(|_| RecordError { field: path.to_owned(), detail: format!("is {value}, expected a count") })
        };
        array.is_valid(at).then(|| count(array.value(at))).transpose()
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Cell for usize {
    fn data_type() -> DataType {
        Option::<usize>::data_type()
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        counts(cells.map(|cell| cell.copied()))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        required(path, Option::read(path, array, at)?)
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Cell for Option<bool> {
    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(cells.map(|cell| cell.copied().flatten()).collect::<BooleanArray>()))
    }

    fn read(_: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        let array = array.as_boolean();
        Ok(array.is_valid(at).then(|| array.value(at)))
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Cell for bool {
    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(cells.map(|cell| cell.copied()).collect::<BooleanArray>()))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        required(path, Option::read(path, array, at)?)
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Cell for Option<f64> {
    fn data_type() -> DataType {
        DataType::Float64
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(cells.map(|cell| cell.copied().flatten()).collect::<Float64Array>()))
    }

    fn read(_: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        let array = array.as_primitive::<Float64Type>();
        Ok(array.is_valid(at).then(|| array.value(at)))
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Cell for Option<String> {
    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(cells.map(|cell| cell.and_then(|text| text.as_deref())).collect::<StringArray>()))
    }

    fn read(_: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        let array = array.as_string::<i32>();
        Ok(array.is_valid(at).then(|| array.value(at).to_owned()))
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl<W: Word> Cell for W {
    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(cells.map(|cell| cell.map(|value| value.word())).collect::<StringArray>()))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        let array = array.as_string::<i32>();
        let word = required(path, array.is_valid(at).then(|| array.value(at)))?;
        W::parse(word).ok_or_else(|| {
            let known: Vec<&str> = W::ALL.iter().map(|value| value.word()).collect();
            let shown: String = word.chars().take(40).flat_map(char::escape_default).collect();
            RecordError {
                field: path.to_owned(),
                detail: format!("holds `{shown}`, expected one of {}", known.join(", ")),
            }
        })
    }

    fn shown(&self) -> Value {
        json!(self.word())
    }
}

impl<W: Word> Cell for Option<W> {
    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(cells.map(|cell| cell.and_then(|value| value.map(W::word))).collect::<StringArray>()))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        array.is_valid(at).then(|| W::read(path, array, at)).transpose()
    }

    fn shown(&self) -> Value {
        json!(self.map(W::word))
    }
}

/// The item of a list at a row; `None` of a null.
fn items(array: &ArrayRef, at: usize) -> Option<ArrayRef> {
    let list = array.as_list::<i32>();
    list.is_valid(at).then(|| list.value(at))
}

impl Cell for Option<Vec<f64>> {
    fn data_type() -> DataType {
        list_of(DataType::Float64)
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        let mut out =
            ListBuilder::new(Float64Builder::new()).with_field(Field::new("element", DataType::Float64, true));
        for cell in cells {
            out.append_option(cell.and_then(Option::as_ref).map(|values| values.iter().map(|&v| Some(v))));
        }
        Ok(Arc::new(out.finish()))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        let Some(items) = items(array, at) else { return Ok(None) };
        items
            .as_primitive::<Float64Type>()
            .iter()
            .map(|value| required(path, value))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Cell for Vec<f64> {
    fn data_type() -> DataType {
        list_of(DataType::Float64)
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        let mut out =
            ListBuilder::new(Float64Builder::new()).with_field(Field::new("element", DataType::Float64, true));
        cells.for_each(|cell| out.append_option(cell.map(|values| values.iter().map(|&v| Some(v)))));
        Ok(Arc::new(out.finish()))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        required(path, Option::read(path, array, at)?)
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

/// Log-probs by token; a token may have none.
impl Cell for Option<Vec<Option<f32>>> {
    fn data_type() -> DataType {
        list_of(DataType::Float32)
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        let mut out =
            ListBuilder::new(Float32Builder::new()).with_field(Field::new("element", DataType::Float32, true));
        cells.for_each(|cell| out.append_option(cell.and_then(Option::as_ref).map(|values| values.iter().copied())));
        Ok(Arc::new(out.finish()))
    }

    fn read(_: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        Ok(items(array, at).map(|items| items.as_primitive::<Float32Type>().iter().collect()))
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Cell for Option<Vec<String>> {
    fn data_type() -> DataType {
        Vec::<String>::data_type()
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        Vec::<String>::write(cells.map(|cell| cell.and_then(Option::as_ref)))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        array.is_valid(at).then(|| Vec::<String>::read(path, array, at)).transpose()
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Cell for Vec<String> {
    fn data_type() -> DataType {
        list_of(DataType::Utf8)
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        let mut out = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
        cells.for_each(|cell| out.append_option(cell.map(|texts| texts.iter().map(Some))));
        Ok(Arc::new(out.finish()))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        let items = required(path, items(array, at))?;
        items.as_string::<i32>().iter().map(|text| required(path, text.map(str::to_owned))).collect()
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}
