//! Native lines straight into columns, without values between.
//!
//! Owns the appending of what a line holds to what came before. It gives what [`super::decode`] gives, or nothing: a
//! block that holds a bad line, a field twice or anything else that takes a second look is refused as a whole.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder, RecordBatch,
    StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use arrow::error::ArrowError;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::field_name::FieldName;
use super::kind::Within;
use super::lines::numbered;
use crate::batch::json::numbers::may_be_large;
use crate::ingest::formats;

/// JSON grows at most so often when it is written again (`1e15`); the text of a column must fit into 2 GiB.
const MAX_GROWTH: usize = 16;

/// The rows of a block with the numbers of their lines.
pub(super) fn decode(block: &[u8], schema: &SchemaRef, first_line: u64) -> Option<(RecordBatch, Vec<u64>)> {
    if block.len() > i32::MAX as usize / MAX_GROWTH {
        return None;
    }
    let mut rows = Objects::new(schema.fields(), Within::Row)?;
    let mut numbers = Vec::new();
    for (number, line) in numbered(block, first_line) {
        let mut text = serde_json::Deserializer::from_str(std::str::from_utf8(line).ok()?);
        RowSeed(&mut rows).deserialize(&mut text).ok()?;
        text.end().ok()?;
        numbers.push(number);
    }
    let columns = rows.children.into_iter().map(Column::finish).collect::<Result<Vec<_>, _>>().ok()?;
    Some((RecordBatch::try_new(Arc::clone(schema), columns).ok()?, numbers))
}

/// A column that grows.
enum Column {
    /// What is not text is written as JSON.
    Text(StringBuilder),
    /// Text, or parts that are joined.
    Content(StringBuilder),
    Flag(BooleanBuilder),
    Whole(Int64Builder),
    Number(Float64Builder),
    List(Box<Lists>),
    Object(Objects),
}

struct Lists {
    item: FieldRef,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
    values: Column,
}

struct Objects {
    fields: Fields,
    validity: NullBufferBuilder,
    children: Vec<Column>,
}

impl Objects {
    fn new(fields: &Fields, within: Within) -> Option<Self> {
        let child = |field: &FieldRef| {
            let below = within.below(field.name());
            match (below, field.data_type()) {
                (Within::Content, DataType::Utf8) => Some(Column::Content(StringBuilder::new())),
                (Within::Message, DataType::List(item)) if matches!(item.data_type(), DataType::Struct(_)) => {
                    Column::new(field.data_type(), below)
                }
                // Content that was joined within what is something else.
                (Within::Content | Within::Message, _) => None,
                (_, data_type) => Column::new(data_type, below),
            }
        };
        let children = fields.iter().map(child).collect::<Option<Vec<_>>>()?;
        Some(Objects { fields: fields.clone(), validity: NullBufferBuilder::new(0), children })
    }

    /// Brings fields that an object does not have up to its length.
    fn fill(&mut self) {
        let filled = self.validity.len() + 1;
        self.children.iter_mut().filter(|child| child.len() < filled).for_each(Column::append_null);
    }

    fn append<'de, A: MapAccess<'de>>(&mut self, mut object: A) -> Result<(), A::Error> {
        let (before, mut expected) = (self.validity.len(), 0);
        while let Some(at) =
            object.next_key_seed(FieldName { fields: &self.fields, name_of: |field| field.name(), expected })?
        {
            if self.children[at].len() > before {
                return Err(A::Error::custom("a field that comes twice"));
            }
            object.next_value_seed(&mut self.children[at])?;
            expected = at + 1;
        }
        self.fill();
        self.validity.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.fill();
        self.validity.append_null();
    }
}

impl Column {
    /// A column of a type that [`super::kind`] gives.
    fn new(data_type: &DataType, within: Within) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8 => Column::Text(StringBuilder::new()),
            DataType::Boolean => Column::Flag(BooleanBuilder::new()),
            DataType::Int64 => Column::Whole(Int64Builder::new()),
            DataType::Float64 => Column::Number(Float64Builder::new()),
            DataType::List(item) => Column::List(Box::new(Lists {
                item: Arc::clone(item),
                offsets: vec![0],
                validity: NullBufferBuilder::new(0),
                values: Column::new(item.data_type(), within)?,
            })),
            DataType::Struct(fields) if !fields.is_empty() => Column::Object(Objects::new(fields, within)?),
            _ => return None,
        })
    }

    fn len(&self) -> usize {
        match self {
            Column::Text(text) | Column::Content(text) => text.len(),
            Column::Flag(flags) => flags.len(),
            Column::Whole(numbers) => numbers.len(),
            Column::Number(numbers) => numbers.len(),
            Column::List(lists) => lists.validity.len(),
            Column::Object(objects) => objects.validity.len(),
        }
    }

    fn append_null(&mut self) {
        match self {
            Column::Text(text) | Column::Content(text) => text.append_null(),
            Column::Flag(flags) => flags.append_null(),
            Column::Whole(numbers) => numbers.append_null(),
            Column::Number(numbers) => numbers.append_null(),
            Column::List(lists) => {
                lists.offsets.extend(lists.offsets.last().copied());
                lists.validity.append_null();
            }
            Column::Object(objects) => objects.append_null(),
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Column::Text(mut text) | Column::Content(mut text) => Arc::new(text.finish()),
            Column::Flag(mut flags) => Arc::new(flags.finish()),
            Column::Whole(mut numbers) => Arc::new(numbers.finish()),
            Column::Number(mut numbers) => Arc::new(numbers.finish()),
            Column::List(lists) => {
                let Lists { item, offsets, mut validity, values } = *lists;
                let offsets = OffsetBuffer::new(offsets.into());
                Arc::new(ListArray::try_new(item, offsets, values.finish()?, validity.finish())?)
            }
            Column::Object(Objects { fields, mut validity, children }) => {
                let children = children.into_iter().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new(fields, children, validity.finish())?)
            }
        })
    }
}

/// A whole line, which must be an object.
struct RowSeed<'c>(&'c mut Objects);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.0.append(object)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Column {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Column {
    /// Appends what is not text to text.
    fn append_json<E: Error>(&mut self, value: impl Into<Value>) -> Result<(), E> {
        let value = value.into();
        if may_be_large(&value) {
            return Err(E::custom("a number that takes a second look"));
        }
        match self {
            Column::Text(text) => text.append_value(value.to_string()),
            Column::Content(text) => {
                text.append_value(match formats::joined(&value) {
                    Some((joined, None)) => joined,
                    Some((_, Some(_))) => return Err(E::custom("parts that say more than their text")),
                    None => value.to_string(),
                });
            }
            _ => return Err(E::custom("a value of another type")),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Column {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a value of the column's type")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.append_null();
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        match self {
            Column::Text(text) | Column::Content(text) => text.append_value(value),
            _ => return Err(E::custom("text, expected another type")),
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self {
            Column::Flag(flags) => flags.append_value(value),
            text => return text.append_json(value),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match self {
            Column::Whole(numbers) => numbers.append_value(value),
            Column::Number(numbers) => numbers.append_value(value as f64),
            text => return text.append_json(value),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(whole) => self.visit_i64(whole),
            Err(_) => self.append_json(value),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self {
            Column::Number(numbers) if !may_be_large(&value.into()) => numbers.append_value(value),
            other => return other.append_json(value),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Column::List(lists) = self else {
            return self.append_json(Value::deserialize(SeqAccessDeserializer::new(items))?);
        };
        while items.next_element_seed(&mut lists.values)?.is_some() {}
        let end = i32::try_from(lists.values.len()).map_err(|_| A::Error::custom("too many items"))?;
        lists.offsets.push(end);
        lists.validity.append_non_null();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        match self {
            Column::Object(objects) => objects.append(object),
            text => text.append_json(Value::deserialize(MapAccessDeserializer::new(object))?),
        }
    }
}
