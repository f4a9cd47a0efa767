//! Columns to JSON values, row by row.
//!
//! Owns what of Arrow's types JSON can hold: a value that it can't hold exactly is refused and never rounded. Nulls within
//! objects are left out: columns of structs pad each object with the fields of all others, columns of maps don't.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, MapArray, StructArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use serde_json::{Number, Value};

use super::json_text::{self, Place};
use super::written::leaf;
use crate::ingest::decode::{List, Text, strict_cast};
use crate::ingest::formats::Row;
use crate::schema::{is_text, list_item};

/// Arrow's name for text that holds JSON, and the key under which a field has it.
const EXTENSION: &str = "ARROW:extension:name";
const JSON: &str = "arrow.json";

pub(super) fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION).is_some_and(|name| name == JSON)
}

pub(super) fn marked_as_json(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(EXTENSION.to_owned(), JSON.to_owned());
    field.with_metadata(metadata)
}

/// A column whose values can be read as JSON.
pub(in crate::ingest) enum Cells {
    Text(Text),
    Json(Text),
    Flag(BooleanArray),
    Whole(Int64Array),
    Unsigned(UInt64Array),
    Number(Float64Array),
    List(List, Box<Cells>),
    Object(StructArray, Vec<(String, Cells)>),
    /// An object whose fields are data.
    Map(MapArray, Text, Box<Cells>),
    /// Of a type that JSON does not have.
    Other(ArrayRef),
}

impl Cells {
    pub(in crate::ingest) fn new(field: &Field, array: &ArrayRef) -> Result<Self, ArrowError> {
        let wide = |to| strict_cast(array, &to);
        Ok(match field.data_type() {
            text if is_text(text) && is_json(field) => Cells::Json(Text::new(array)?),
            text if is_text(text) => Cells::Text(Text::new(array)?),
            DataType::Boolean => Cells::Flag(array.as_boolean().clone()),
            DataType::UInt64 => Cells::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            whole if whole.is_integer() => Cells::Whole(wide(DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            number if number.is_floating() => {
                Cells::Number(wide(DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let child = |(field, column): (&std::sync::Arc<Field>, &ArrayRef)| {
                    Ok((field.name().clone(), Cells::new(field, column)?))
                };
                let children = fields.iter().zip(array.columns()).map(child);
                Cells::Object(array.clone(), children.collect::<Result<_, ArrowError>>()?)
            }
            DataType::Dictionary(_, values) => {
                let plain = field.clone().with_data_type(values.as_ref().clone());
                Cells::new(&plain, &wide(values.as_ref().clone())?)?
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 && is_text(pair[0].data_type()) => {
                    let map = array.as_map();
                    let values = Cells::new(&pair[1], map.values())?;
                    Cells::Map(map.clone(), Text::new(map.keys())?, Box::new(values))
                }
                _ => Cells::Other(array.clone()),
            },
            other => match list_item(other) {
                Some(item) => {
                    let list = List::new(array)?;
                    let items = Cells::new(item, &list.values)?;
                    Cells::List(list, Box::new(items))
                }
                None => Cells::Other(array.clone()),
            },
        })
    }

    /// The value of a row.
    ///
    /// # Errors
    /// What JSON can't hold of it.
    pub(in crate::ingest) fn value(&self, row: usize, place: Place) -> Result<Value, String> {
        Ok(match self {
            Cells::Text(text) => text.get(row).map_or(Value::Null, Value::from),
            Cells::Json(text) => text.get(row).map_or(Ok(Value::Null), |text| json_text::value(text, place))?,
            Cells::Flag(flags) => flags.is_valid(row).then(|| flags.value(row)).into(),
            Cells::Whole(numbers) => numbers.is_valid(row).then(|| numbers.value(row)).into(),
            Cells::Unsigned(numbers) => numbers.is_valid(row).then(|| numbers.value(row)).into(),
            Cells::Number(numbers) if numbers.is_valid(row) => {
                let number = numbers.value(row);
                Value::Number(Number::from_f64(number).ok_or_else(|| format!("it holds {number}, which JSON can't"))?)
            }
            Cells::Number(_) => Value::Null,
            Cells::List(list, items) => match list.range(row) {
                Some(range) => Value::Array(range.map(|k| items.value(k, place)).collect::<Result<_, _>>()?),
                None => Value::Null,
            },
            Cells::Object(array, _) if array.is_null(row) => Value::Null,
            Cells::Object(_, children) => {
                let mut object = Row::new();
                for (name, child) in children {
                    let value = child.value(row, place.below(name)).map_err(|detail| format!("`{name}`: {detail}"));
                    match value? {
                        Value::Null => {}
                        value => {
                            object.insert(name.clone(), value);
                        }
                    }
                }
                Value::Object(object)
            }
            Cells::Map(array, ..) if array.is_null(row) => Value::Null,
            Cells::Map(array, keys, values) => {
                let start = usize::try_from(array.value_offsets()[row]).unwrap_or_default();
                let mut object = Row::new();
                for k in start..start + array.value(row).len() {
                    let name = keys.get(k).unwrap_or_default();
                    let value = values.value(k, place.below(name)).map_err(|detail| format!("`{name}`: {detail}"))?;
                    if object.insert(name.to_owned(), value).is_some() {
                        return Err(format!("it holds the key `{}` twice", name.escape_debug()));
                    }
                }
                Value::Object(object)
            }
            Cells::Other(array) if array.is_null(row) => Value::Null,
            Cells::Other(array) => leaf(array, row)?,
        })
    }

    /// The JSON of a row as text: its own where it is text; `None` if it is null.
    pub(super) fn json(&self, row: usize) -> Result<Option<String>, String> {
        Ok(match self {
            Cells::Text(text) => text.get(row).map(str::to_owned),
            Cells::Json(text) => match text.get(row) {
                Some(text) => json_text::value(text, Place::Elsewhere).map(|_| Some(text.to_owned()))?,
                None => None,
            },
            Cells::List(list, items) => match list.range(row) {
                Some(range) => {
                    let item = |k| Ok(items.json(k)?.unwrap_or_else(|| "null".to_owned()));
                    Some(format!("[{}]", range.map(item).collect::<Result<Vec<_>, String>>()?.join(", ")))
                }
                None => None,
            },
            other => Some(other.value(row, Place::Elsewhere)?).filter(|v| !v.is_null()).map(|v| v.to_string()),
        })
    }
}
