//! Columns to JSON values, row by row.
//!
//! Owns what of Arrow's types JSON can hold: a value that it can't hold exactly is refused and never rounded. Nulls within
//! objects are left out: columns of structs pad each object with the fields of all others, columns of maps don't.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, MapArray, StructArray, UInt64Array,
};
use arrow::datatypes::{ArrowNativeType, DataType, Field, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use serde_json::{Number, Value};

use super::Object;
use super::text::{Place, value as value_of_text};
use super::written::leaf;
use crate::batch::arrays::{List, Text, strict_cast};
use crate::schema::{is_text, list_item};

/// Arrow's name for text that holds JSON, and the key under which a field has it.
const EXTENSION: &str = "ARROW:extension:name";
const JSON: &str = "arrow.json";

pub fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION).is_some_and(|name| name == JSON)
}

pub fn marked_as_json(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(EXTENSION.to_owned(), JSON.to_owned());
    field.with_metadata(metadata)
}

/// A column whose values can be read as JSON.
pub enum Cells {
    Text(Text),
    Json(Text),
    Flag(BooleanArray),
    Whole(Int64Array),
    Unsigned(UInt64Array),
    Number(Float64Array),
    List(List, Box<Cells>),
    Object(StructArray, Vec<(String, Cells)>),
    /// An object whose fields are data.
    Map(Box<Entries>),
    /// Of a type that JSON does not have.
    Other(ArrayRef),
}

/// The fields of a column's objects, one after another.
pub struct Entries {
    array: MapArray,
    names: Text,
    values: Cells,
}

impl Entries {
    fn value(&self, row: usize, place: Place) -> Result<Value, String> {
        if self.array.is_null(row) {
            return Ok(Value::Null);
        }
        let mut object = Object::new();
        let offsets = self.array.value_offsets();
        for k in offsets[row].as_usize()..offsets[row + 1].as_usize() {
            let name = self.names.get(k).unwrap_or_default();
            let value = self.values.value(k, place.below(name));
            let value = value.map_err(|detail| format!("`{}`: {detail}", name.escape_debug()))?;
            if object.insert(name.to_owned(), value).is_some() {
                return Err(format!("it holds the key `{}` twice", name.escape_debug()));
            }
        }
        Ok(Value::Object(object))
    }
}

impl Cells {
    pub fn new(field: &Field, array: &ArrayRef) -> Result<Self, ArrowError> {
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
                    let array = array.as_map();
                    let (names, values) = (Text::new(array.keys())?, Cells::new(&pair[1], array.values())?);
                    Cells::Map(Box::new(Entries { array: array.clone(), names, values }))
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
    pub fn value(&self, row: usize, place: Place) -> Result<Value, String> {
        Ok(match self {
            Cells::Text(text) => text.get(row).map_or(Value::Null, Value::from),
            Cells::Json(text) => text.get(row).map_or(Ok(Value::Null), |text| value_of_text(text, place))?,
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
                let mut object = Object::new();
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
            Cells::Map(entries) => entries.value(row, place)?,
            Cells::Other(array) if array.is_null(row) => Value::Null,
            Cells::Other(array) => leaf(array, row)?,
        })
    }

    /// The JSON of a row as text: its own where it is text; `None` if it is null.
    pub fn json(&self, row: usize) -> Result<Option<String>, String> {
        Ok(match self {
            Cells::Text(text) => text.get(row).map(str::to_owned),
            Cells::Json(text) => match text.get(row) {
                Some(text) => value_of_text(text, Place::Elsewhere).map(|_| Some(text.to_owned()))?,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Builder, MapBuilder, PrimitiveBuilder, PrimitiveDictionaryBuilder, StringBuilder};
    use arrow::datatypes::{Decimal128Type, Int32Type};
    use serde_json::json;

    use super::*;

    fn cells(array: ArrayRef) -> Cells {
        Cells::new(&Field::new("x", array.data_type().clone(), true), &array).expect("a column")
    }

    #[test]
    fn maps_are_objects_with_their_nulls_unless_a_key_comes_twice() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        let mut add = |pairs: Option<&[(&str, Option<i32>)]>| {
            for (name, value) in pairs.unwrap_or_default() {
                map.keys().append_value(name);
                map.values().append_option(*value);
            }
            map.append(pairs.is_some()).expect("a row");
        };
        add(Some(&[("skipped", Some(0))]));
        add(Some(&[("b", Some(1)), ("a", None)]));
        add(None);
        add(Some(&[("c", Some(1)), ("c", Some(2))]));
        let map: ArrayRef = Arc::new(map.finish());
        let found = cells(map.slice(1, 3));
        let values: Vec<_> = (0..3).map(|row| found.value(row, Place::Elsewhere)).collect();
        assert_eq!(
            values,
            [Ok(json!({"b": 1, "a": null})), Ok(json!(null)), Err("it holds the key `c` twice".to_owned())]
        );
    }

    #[test]
    fn dictionary_is_read_as_what_it_holds() {
        let (numbers, costs) =
            (PrimitiveBuilder::new(), PrimitiveBuilder::new().with_data_type(DataType::Decimal128(9, 2)));
        let mut costs =
            PrimitiveDictionaryBuilder::<Int32Type, Decimal128Type>::new_from_empty_builders(numbers, costs);
        costs.append_value(250);
        costs.append_null();
        let found = cells(Arc::new(costs.finish()));
        let values: Vec<_> = (0..2).map(|row| found.value(row, Place::Elsewhere)).collect();
        assert_eq!(values, [Ok(json!(2.5)), Ok(json!(null))]);
    }
}
