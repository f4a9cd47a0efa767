//! JSON lines: a schema from a first pass, batches from a second.
//!
//! Owns lines and the inference of types; what a line looks like is its layout's ([`super::formats`]). A field that has different kinds of value in different lines becomes
//! text that holds JSON; so do a call's `arguments` where they are no string. A line that is no JSON object is a
//! [`BadLine`], never the end of the file. Numbers of rows are numbers of lines, from 0.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use serde_json::Value;

use super::formats::Row;
use super::{BadLine, RowError};
use crate::config::Layout;
use crate::schema::MESSAGES;

/// Fields that are text if their first value is.
const TEXT_FIELDS: &[&str] =
    &["role", "content", "reasoning_content", "name", "tool_call_id", "arguments", "id", "type"];
/// A nested object with more keys than this over all lines becomes text that holds JSON.
const MOST_FIELDS: usize = 256;
/// Every whole number up to this is exact as a float.
const LARGEST_EXACT: u64 = 1 << 53;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads whole lines, many at a time.
pub(super) struct LineReader {
    reader: BufReader<Box<dyn Read + Send>>,
    rest: Vec<u8>,
}

impl LineReader {
    pub(super) fn new(source: impl Read + Send + 'static) -> Self {
        LineReader { reader: BufReader::with_capacity(1 << 20, Box::new(source)), rest: Vec::new() }
    }

    /// About `bytes` of whole lines, and how many; `None` at the end.
    pub(super) fn next_block(&mut self, bytes: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut block = std::mem::take(&mut self.rest);
        (&mut self.reader).take(bytes as u64).read_to_end(&mut block)?;
        if block.last().is_some_and(|&last| last != b'\n') {
            self.reader.read_until(b'\n', &mut block)?;
        }
        let lines = block.split_inclusive(|&b| b == b'\n').count() as u64;
        Ok((lines > 0).then_some((block, lines)))
    }
}

/// Where in a row a field stands: inside messages the native types win over what odd lines hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Row,
    Message,
    Call,
    Other,
}

impl Within {
    /// Where the fields of this field's values stand.
    fn below(self, name: &str) -> Self {
        match (self, name) {
            (Within::Row, name) if MESSAGES.contains(&name) => Within::Message,
            (Within::Message, "tool_calls") => Within::Call,
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
            (Within::Message, "is_error") => DataType::Boolean,
            (Within::Message, "tool_calls") => {
                let mut call = texts(&["id", "type"]);
                call.push(Field::new("function", function(), true));
                list(DataType::Struct(call.into()))
            }
            (Within::Call, "function") => function(),
            _ => return None,
        })
    }

    /// Whether a value has the native form of a field (data.md, section 1). One that has not says nothing of the
    /// field's type, so that a bad line is a reject and does not change how all others are read.
    fn fits(self, name: &str, value: &Value) -> bool {
        let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(is));
        value.is_null()
            || match (self, name) {
                (Within::Row, name) if MESSAGES.contains(&name) => all(Value::is_object),
                (Within::Row, "prompt_ids" | "response_ids") => all(Value::is_i64),
                (Within::Row, "response_mask") => all(|v| v.is_i64() || v.is_boolean()),
                (Within::Row, "response_logprobs") => all(|v| v.is_number() || v.is_null()),
                (Within::Message, "is_error") => value.is_boolean(),
                (Within::Message, "tool_calls") => all(Value::is_object),
                (Within::Call, "function") => value.is_object(),
                _ => true,
            }
    }
}

/// The kind of a field's values, over all lines.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
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
                if fields.len() > MOST_FIELDS {
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
            (Kind::Unknown | Kind::Whole | Kind::LargeWhole | Kind::Number, Value::Number(n)) => {
                let kind = match n.as_i64() {
                    Some(whole) if whole.unsigned_abs() > LARGEST_EXACT => Kind::LargeWhole,
                    Some(_) => Kind::Whole,
                    None if n.is_f64() => Kind::Number,
                    None => Kind::Text,
                };
                *self = match (&*self, kind) {
                    (Kind::Unknown, kind) => kind,
                    (Kind::Whole, Kind::Whole) => Kind::Whole,
                    (Kind::Whole | Kind::LargeWhole, Kind::Whole | Kind::LargeWhole) => Kind::LargeWhole,
                    (Kind::Whole | Kind::Number, Kind::Whole | Kind::Number) => Kind::Number,
                    _ => Kind::Text,
                };
            }
            _ => *self = Kind::Text,
        }
    }

    /// The type of a field of that name.
    fn data_type(&self, name: &str, within: Within) -> DataType {
        let is_unknown = *self == Kind::Unknown || *self == Kind::List(Box::new(Kind::Unknown));
        match within.native_type(name).filter(|_| is_unknown) {
            Some(native) => native,
            None if name == "arguments" => DataType::Utf8,
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

/// The layout of the lines, if it is not `asked` for, and the schema that holds every row; `None` if no line is an object.
///
/// The first line that is an object of a known layout decides; one that has none is read as messages, and the columns tell
/// what is missing.
pub(super) fn infer_schema(source: &mut dyn Read, asked: Option<Layout>) -> io::Result<Option<(Layout, Schema)>> {
    let mut reader = BufReader::with_capacity(1 << 20, source);
    let (mut line, mut fields): (Vec<u8>, Vec<(String, Kind)>) = (Vec::new(), Vec::new());
    let mut layout = asked;
    while reader.read_until(b'\n', &mut line)? > 0 {
        if let Ok(Value::Object(row)) = serde_json::from_slice(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line)) {
            layout = layout.or_else(|| Layout::recognise(&row));
            // A row that does not convert is a bad line, and says nothing of the types.
            for row in layout.unwrap_or(Layout::Messages).convert(row).unwrap_or_default() {
                absorb_fields(&mut fields, &row, Within::Row);
            }
        }
        line.clear();
    }
    let fields: Vec<FieldRef> = fields
        .iter()
        .map(|(name, kind)| Arc::new(Field::new(name, kind.data_type(name, Within::Row), true)) as FieldRef)
        .collect();
    Ok((!fields.is_empty()).then(|| (layout.unwrap_or(Layout::Messages), Schema::new(fields))))
}

/// Batches with the numbers of their lines, and the lines that are no rows.
pub(super) fn decode_lines(
    block: &[u8],
    schema: &SchemaRef,
    first_line: u64,
    layout: Layout,
) -> (Vec<(RecordBatch, Vec<u64>)>, Vec<BadLine>) {
    let (mut rows, mut numbers, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    let as_rows = DataType::Struct(schema.fields().clone());
    for (number, line) in (first_line..).zip(block.split(|&b| b == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| number == 0).unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match parse(line, number).and_then(|row| converted(row, layout, number)) {
            Ok(converted) => {
                for row in converted {
                    let mut value = Value::Object(row);
                    fit(&mut value, &as_rows);
                    rows.push(value);
                    numbers.push(number);
                }
            }
            Err(error) => bad.push(BadLine { row: number, text: String::from_utf8_lossy(line).into_owned(), error }),
        }
    }
    if let Ok(batch) = to_batch(&rows, schema) {
        return (vec![(batch, numbers)], bad);
    }
    // One row spoils the batch: find out which.
    let mut batches = Vec::new();
    for (row, number) in rows.into_iter().zip(numbers) {
        match to_batch(std::slice::from_ref(&row), schema) {
            Ok(batch) => batches.push((batch, vec![number])),
            Err(error) => bad.push(BadLine {
                row: number,
                text: row.to_string(),
                error: RowError::NoFit { line: number + 1, detail: error.to_string() },
            }),
        }
    }
    bad.sort_by_key(|line| line.row);
    (batches, bad)
}

fn converted(row: Row, layout: Layout, number: u64) -> Result<Vec<Row>, RowError> {
    layout.convert(row).map_err(|detail| RowError::Layout { line: number + 1, layout: layout.name(), detail })
}

fn parse(line: &[u8], number: u64) -> Result<Row, RowError> {
    let line_number = number + 1;
    if let Err(error) = std::str::from_utf8(line) {
        return Err(RowError::NoUtf8 { line: line_number, byte: error.valid_up_to() });
    }
    match serde_json::from_slice(line) {
        Ok(Value::Object(row)) => Ok(row),
        Ok(_) => Err(RowError::NoJson { line: line_number, detail: "it is another kind of value".to_owned() }),
        // serde_json counts lines of its own input, which is always one.
        Err(error) => Err(RowError::NoJson {
            line: line_number,
            detail: error.to_string().replace(" at line 1 column ", " at column "),
        }),
    }
}

/// Turns what stands where the schema has text into text that holds JSON.
fn fit(value: &mut Value, data_type: &DataType) {
    match (data_type, &mut *value) {
        (_, Value::Null) | (DataType::Utf8, Value::String(_)) => {}
        (DataType::Utf8, other) => *value = Value::String(other.to_string()),
        (DataType::List(item), Value::Array(items)) => items.iter_mut().for_each(|v| fit(v, item.data_type())),
        (DataType::Struct(fields), Value::Object(object)) => {
            for field in fields {
                if let Some(inner) = object.get_mut(field.name()) {
                    fit(inner, field.data_type());
                }
            }
        }
        _ => {}
    }
}

fn to_batch(rows: &[Value], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema))))
}
