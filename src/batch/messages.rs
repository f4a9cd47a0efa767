//! The column of messages: borrowed views of each row's, with their calls.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;

use super::arrays::{List, Text};
use super::row_error::RowError;
use crate::message::{Message, Role, ToolCall};
use crate::schema::LOSS;

#[derive(Debug)]
struct Calls {
    list: List,
    id: Text,
    name: Text,
    arguments: Text,
}

/// Message column of a batch.
#[derive(Debug)]
pub struct Messages {
    pub list: List,
    column: String,
    role: Text,
    content: Text,
    reasoning_content: Text,
    tool_call_id: Text,
    is_error: Option<BooleanArray>,
    loss: Option<BooleanArray>,
    calls: Option<Calls>,
}

impl Messages {
    /// Where the calls of message `k` stand among all calls of the batch.
    pub fn calls_range(&self, k: usize) -> Range<usize> {
        self.calls.as_ref().and_then(|calls| calls.list.range(k)).unwrap_or(0..0)
    }

    /// All calls of the batch; `None` if the data has no calls of its own.
    pub fn call_values(&self) -> Option<&ArrayRef> {
        self.calls.as_ref().map(|calls| &calls.list.values)
    }

    pub(super) fn new(batch: &RecordBatch, index: usize) -> Result<Self, ArrowError> {
        let list = List::new(batch.column(index))?;
        let fields = list.values.as_struct();
        let calls = match fields.column_by_name("tool_calls") {
            Some(array) if *array.data_type() != DataType::Null => {
                let list = List::new(array)?;
                let function = list.values.as_struct().column_by_name("function").map(|f| f.as_struct());
                let field = |name| function.map_or(Ok(Text::Absent), |f| Text::field(f, name));
                let id = Text::id(list.values.as_struct(), "id")?;
                Some(Calls { id, name: field("name")?, arguments: field("arguments")?, list })
            }
            _ => None,
        };
        let flags = |name| fields.column_by_name(name).and_then(|a| a.as_boolean_opt()).cloned();
        Ok(Messages {
            column: batch.schema_ref().field(index).name().clone(),
            role: Text::field(fields, "role")?,
            content: Text::field(fields, "content")?,
            reasoning_content: Text::field(fields, "reasoning_content")?,
            tool_call_id: Text::id(fields, "tool_call_id")?,
            is_error: flags("is_error"),
            loss: flags(LOSS),
            calls,
            list,
        })
    }

    /// For data without messages: every row has none.
    pub(super) fn absent(rows: usize) -> Result<Self, ArrowError> {
        let item = Arc::new(Field::new_list_field(DataType::Struct(Fields::empty()), true));
        let values: ArrayRef = Arc::new(StructArray::new_empty_fields(0, None));
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(0, rows));
        let array: ArrayRef = Arc::new(ListArray::try_new(item, offsets, values, None)?);
        Ok(Messages {
            list: List::new(&array)?,
            column: String::new(),
            role: Text::Absent,
            content: Text::Absent,
            reasoning_content: Text::Absent,
            tool_call_id: Text::Absent,
            is_error: None,
            loss: None,
            calls: None,
        })
    }

    pub(super) fn row(&self, row: usize) -> Result<Vec<Message<'_>>, RowError> {
        let column = || self.column.clone();
        let range = self.list.range(row).ok_or_else(|| RowError::NullMessages { column: column() })?;
        let first = range.start;
        range
            .map(|k| {
                let message = k - first;
                if self.list.values.is_null(k) {
                    return Err(RowError::NullMessage { column: column(), message });
                }
                let name = self.role.get(k).ok_or_else(|| RowError::NullRole { column: column(), message })?;
                let role = Role::parse(name).ok_or_else(|| RowError::UnknownRole {
                    column: column(),
                    message,
                    found: name.to_owned(),
                })?;
                if let Some(call) = self.empty_call(k) {
                    return Err(RowError::NoFunction { column: column(), message, call });
                }
                Ok(Message {
                    role,
                    content: self.content.get(k),
                    reasoning: self.reasoning_content.get(k),
                    call_id: self.tool_call_id.get(k).filter(|id| !id.is_empty()),
                    is_error: self.is_error.as_ref().filter(|a| a.is_valid(k)).map(|a| a.value(k)),
                    is_context: self.loss.as_ref().is_some_and(|a| a.is_valid(k) && !a.value(k)),
                    calls: self.calls_of(k),
                })
            })
            .collect()
    }

    /// The first call of a message that says nothing where its name and arguments stand.
    fn empty_call(&self, message: usize) -> Option<usize> {
        let calls = self.calls.as_ref()?;
        let function = calls.list.values.as_struct().column_by_name("function");
        let says = |k: usize| calls.list.values.is_valid(k) && function.is_some_and(|f| f.is_valid(k));
        calls.list.range(message)?.position(|k| !says(k))
    }

    fn calls_of(&self, message: usize) -> Vec<ToolCall<'_>> {
        let Some(calls) = &self.calls else { return Vec::new() };
        let Some(range) = calls.list.range(message) else { return Vec::new() };
        range
            .map(|k| ToolCall {
                id: calls.id.get(k).filter(|id| !id.is_empty()),
                name: calls.name.get(k).unwrap_or_default(),
                arguments: calls.arguments.get(k).unwrap_or_default(),
            })
            .collect()
    }
}
