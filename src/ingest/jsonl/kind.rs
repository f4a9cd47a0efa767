//! What kind of values the fields of a file have, and the type that holds them.
//!
//! Owns how kinds of different lines become one. Inside messages the native types (docs/data.md) win over what odd lines
//! hold. A value that changes no kind is told from its text by [`super::settled`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use serde_json::Value;

use crate::ingest::formats::{self, Row};
use crate::schema::{LOSS, MESSAGES, REWARD};

/// Fields that are text if their first value is.
const TEXT_FIELDS: &[&str] =
    &["role", "content", "reasoning_content", "name", "tool_call_id", "arguments", "id", "type"];
/// A nested object with more keys than this over all lines becomes text that holds JSON.
const MAX_FIELDS: usize = 256;
/// Every whole number up to this is exact as a float.
const LARGEST_EXACT: u64 = 1 << 53;

/// Where in a row a field stands: inside messages the native types win over what odd lines hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Row,
    Message,
    Content,
    Call,
    Other,
}

impl Within {
    /// Where the fields of this field's values stand.
    pub(super) fn below(self, name: &str) -> Self {
        match (self, name) {
            (Within::Row, name) if MESSAGES.contains(&name) => Within::Message,
            (Within::Message, "tool_calls") => Within::Call,
            (Within::Message, "content") => Within::Content,
            _ => Within::Other,
        }
    }

    /// The type of a native field that no line has in its native form.
    fn native_type(self, name: &str) -> Option<DataType> {
        let list = |item| DataType::List(Arc::new(Field::new("element", item, true)));
        let texts = |names: &[&str]| names.iter().map(|n| Field::new(*n, DataType::Utf8, true)).collect::<Vec<_>>();
        let function = || DataType::Struct(texts(&["name", "arguments"]).into());
        Some(match (self, name) {
            (Within::Row, name) if MESSAGES.contains(&name) => {
                list(DataType::Struct(texts(&["role", "content"]).into()))
            }
            (Within::Row, "prompt_ids" | "response_ids" | "response_mask") => list(DataType::Int64),
            (Within::Row, "response_logprobs") => list(DataType::Float64),
            (Within::Message, "is_error" | LOSS) => DataType::Boolean,
            (Within::Message, "tool_calls") => {
                let mut call = texts(&["id", "type"]);
                call.push(Field::new("function", function(), true));
                list(DataType::Struct(call.into()))
            }
            (Within::Call, "function") => function(),
            _ => return None,
        })
    }

    /// Whether a value has the native form of a field (docs/data.md, "Input columns"). One that has not says nothing of the
    /// field's type, so that a bad line is a reject and does not change how all others are read.
    fn fits(self, name: &str, value: &Value) -> bool {
        let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(is));
        value.is_null()
            || match (self, name) {
                (Within::Row, name) if MESSAGES.contains(&name) => all(Value::is_object),
                (Within::Row, "prompt_ids" | "response_ids") => all(Value::is_i64),
                (Within::Row, "response_mask") => all(|v| v.is_i64() || v.is_boolean()),
                (Within::Row, "response_logprobs") => all(|v| v.is_number() || v.is_null()),
                (Within::Message, "is_error" | LOSS) => value.is_boolean(),
                (Within::Message, "tool_calls") => all(Value::is_object),
                (Within::Call, "function") => value.is_object(),
                _ => true,
            }
    }
}

/// The kinds of a file's columns, in order of first appearance.
pub(in crate::ingest) struct Kinds {
    pub(super) fields: Vec<(String, Kind)>,
    /// Columns that hold numbers if any row has one there.
    numbers: Vec<String>,
    /// What else stands in these.
    odd: Vec<(String, Kind)>,
}

impl Kinds {
    /// `reward`: the column that is named as such.
    pub(in crate::ingest) fn new(reward: Option<&str>) -> Self {
        let numbers = reward.map_or_else(|| REWARD.to_vec(), |name| vec![name]);
        Kinds { fields: Vec::new(), numbers: numbers.into_iter().map(str::to_owned).collect(), odd: Vec::new() }
    }

    /// From here on only the column of that name holds rewards.
    pub(super) fn name_reward(&mut self, name: &str) {
        self.numbers = vec![name.to_owned()];
    }

    pub(in crate::ingest) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Widens the kinds to what also holds a native row.
    pub(in crate::ingest) fn absorb(&mut self, row: &Row) {
        let is_odd = |value: &Value| !value.is_null() && !value.is_number();
        let odd: Row = self
            .numbers
            .iter()
            .filter_map(|name| row.get_key_value(name))
            .filter(|(_, v)| is_odd(v))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if odd.is_empty() {
            absorb_fields(&mut self.fields, row, Within::Row);
        } else {
            let mut row = row.clone();
            odd.keys().for_each(|name| drop(row.insert(name.clone(), Value::Null)));
            absorb_fields(&mut self.fields, &row, Within::Row);
            absorb_fields(&mut self.odd, &odd, Within::Row);
        }
        for (_, kind) in
            self.fields.iter_mut().filter(|(name, kind)| *kind == Kind::Text && self.numbers.contains(name))
        {
            *kind = Kind::Number;
        }
    }

    /// Where no row has a number, what stands there is no odd one.
    fn own<'k>(&'k self, named: &'k (String, Kind)) -> &'k (String, Kind) {
        let odd = self.odd.iter().find(|(odd, _)| named.1 == Kind::Unknown && *odd == named.0);
        odd.unwrap_or(named)
    }

    pub(in crate::ingest) fn schema(&self) -> Schema {
        let field = |(name, kind): &(String, Kind)| Field::new(name, kind.data_type(name, Within::Row), true);
        Schema::new(self.fields.iter().map(|named| Arc::new(field(self.own(named))) as FieldRef).collect::<Vec<_>>())
    }
}

/// What stands in a row where the column holds numbers.
pub(super) fn odd_number(row: &Row, schema: &Schema) -> Option<String> {
    let is_number = |name: &str| schema.field_with_name(name).is_ok_and(|field| field.data_type().is_numeric());
    let odd = |(name, value): &(&String, &Value)| !value.is_null() && !value.is_number() && is_number(name);
    let (name, value) = row.iter().find(odd)?;
    Some(format!("`{name}` is {}, expected a number", formats::kind(Some(value))))
}

/// The kind of a field's values, over all lines.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Unknown,
    Flag,
    Whole,
    /// Whole numbers, some of which a float can't hold.
    LargeWhole,
    Number,
    Text,
    List(Box<Kind>),
    /// In order of first appearance.
    Object(Vec<(String, Kind)>),
}

impl Kind {
    fn absorb(&mut self, value: &Value, within: Within) {
        match (&mut *self, value) {
            (_, Value::Null) | (Kind::Text, _) => {}
            (Kind::Object(fields), Value::Object(object)) => {
                absorb_fields(fields, object, within);
                if fields.len() > MAX_FIELDS {
                    // Keys that are data: a mapping, and no record.
                    *self = Kind::Text;
                }
            }
            (Kind::List(kind), Value::Array(items)) => items.iter().for_each(|item| kind.absorb(item, within)),
            (Kind::Unknown, Value::Object(object)) if !object.is_empty() => {
                let mut fields = Vec::new();
                absorb_fields(&mut fields, object, within);
                *self = Kind::Object(fields);
            }
            (Kind::Unknown, Value::Array(items)) => {
                let mut kind = Kind::Unknown;
                items.iter().for_each(|item| kind.absorb(item, within));
                *self = Kind::List(Box::new(kind));
            }
            (Kind::Unknown, Value::Bool(_)) => *self = Kind::Flag,
            (Kind::Flag, Value::Bool(_)) => {}
            (kind, Value::Number(n)) => {
                let number = match n.as_i64() {
                    Some(whole) => Kind::of_whole(whole),
                    None if n.is_f64() => Kind::Number,
                    None => Kind::Text,
                };
                *self = kind.with_number(number);
            }
            _ => *self = Kind::Text,
        }
    }

    pub(super) fn of_whole(whole: i64) -> Kind {
        if whole.unsigned_abs() > LARGEST_EXACT { Kind::LargeWhole } else { Kind::Whole }
    }

    /// The kind that also holds a number of another kind.
    pub(super) fn with_number(&self, number: Kind) -> Kind {
        match (self, number) {
            (Kind::Unknown, number) => number,
            (Kind::Whole, Kind::Whole) => Kind::Whole,
            (Kind::Whole | Kind::LargeWhole, Kind::Whole | Kind::LargeWhole) => Kind::LargeWhole,
            (Kind::Whole | Kind::Number, Kind::Whole | Kind::Number) => Kind::Number,
            _ => Kind::Text,
        }
    }

    /// The type of a field of that name.
    fn data_type(&self, name: &str, within: Within) -> DataType {
        let is_unknown = *self == Kind::Unknown || *self == Kind::List(Box::new(Kind::Unknown));
        match within.native_type(name).filter(|_| is_unknown) {
            Some(native) => native,
            // JSON text in one column, whatever the tools of other rows look like.
            None if name == "arguments" || (within, name) == (Within::Row, "tools") => DataType::Utf8,
            None => self.value_type(within.below(name)),
        }
    }

    fn value_type(&self, within: Within) -> DataType {
        match self {
            Kind::Unknown | Kind::Text => DataType::Utf8,
            Kind::Flag => DataType::Boolean,
            Kind::Whole | Kind::LargeWhole => DataType::Int64,
            Kind::Number => DataType::Float64,
            Kind::List(kind) => DataType::List(Arc::new(Field::new("element", kind.value_type(within), true))),
            Kind::Object(fields) => {
                let field = |(name, kind): &(String, Kind)| Field::new(name, kind.data_type(name, within), true);
                DataType::Struct(fields.iter().map(field).collect::<Fields>())
            }
        }
    }
}

fn absorb_fields(fields: &mut Vec<(String, Kind)>, object: &serde_json::Map<String, Value>, within: Within) {
    let known: HashMap<String, usize> = match fields.len() {
        0..=16 => HashMap::new(),
        _ => fields.iter().enumerate().map(|(k, (name, _))| (name.clone(), k)).collect(),
    };
    for (name, value) in object {
        let at = match known.is_empty() {
            true => fields.iter().position(|(n, _)| n == name),
            false => known.get(name).copied().or_else(|| fields.iter().position(|(n, _)| n == name)),
        };
        let at = at.unwrap_or_else(|| {
            let kind =
                if TEXT_FIELDS.contains(&name.as_str()) && value.is_string() { Kind::Text } else { Kind::Unknown };
            fields.push((name.clone(), kind));
            fields.len() - 1
        });
        if within.fits(name, value) {
            fields[at].1.absorb(value, within.below(name));
        }
    }
}
