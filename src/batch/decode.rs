//! Record batch to rollouts: borrowed views, row by row.
//!
//! Owns the reading of values, whatever width or encoding their columns have, and the complaint about a row
//! that can't be read. Complaints about whole files are in [`crate::ingest`]. Views borrow from the batch: no text is copied.

use std::borrow::Cow;
use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int8Array, Int32Array, LargeStringArray, ListArray,
    OffsetSizeTrait, RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int8Type, Int32Type};
use arrow::error::ArrowError;
use std::sync::Arc;

use crate::record::RecordError;
use crate::rollout::{Message, Role, Rollout, ToolCall, with_answers};
use crate::schema::{Columns, LOSS, is_text, list_item};
use crate::tokens::Tokens;

/// Why one row can't be read. The text names the column; file and row are added by the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("column `{column}` is null, expected a list of messages")]
    NullMessages { column: String },
    #[error("message {message} of column `{column}` is null")]
    NullMessage { column: String, message: usize },
    #[error("message {message} of column `{column}` has no role, expected {}", Role::KNOWN)]
    NullRole { column: String, message: usize },
    #[error("message {message} of column `{column}` has role `{}`, expected {}", shown(.found), Role::KNOWN)]
    UnknownRole { column: String, message: usize, found: String },
    #[error("column `response_mask` has {mask} entries, expected {ids}, one for each of `response_ids`")]
    MaskLength { mask: usize, ids: usize },
    #[error("column `{column}` has {logprobs} entries, expected {ids}, one for each of `response_ids`")]
    LogprobLength { column: String, logprobs: usize, ids: usize },
    #[error("column `{column}` is null, expected a list of tokens")]
    NullTokens { column: String },
    #[error("column `{column}` holds a null at {at}, expected a value for each token")]
    NullToken { column: String, at: usize },
    #[error(
        "call {call} of message {message} of column `{column}` has no `function`, expected its name and arguments there"
    )]
    NoFunction { column: String, message: usize, call: usize },
    #[error("line {line} is not valid UTF-8: byte {byte} of it can't be read")]
    NoUtf8 { line: u64, byte: usize },
    #[error("line {line} is not a JSON object: {detail}")]
    NoJson { line: u64, detail: String },
    #[error("{} does not fit the columns of the file: {detail}", subject(.line))]
    NoFit { line: Option<u64>, detail: String },
    #[error("{} is not a row of the format `{layout}`: {detail}", subject(.line))]
    Layout { line: Option<u64>, layout: &'static str, detail: String },
    #[error("its record of what was done before can't be read: {0}")]
    Record(#[from] RecordError),
    #[error("column `tools` is not JSON: {detail}")]
    NoTools { detail: String },
}

impl RowError {
    /// The name under which such rows are counted.
    pub fn code(&self) -> &'static str {
        match self {
            RowError::NullMessages { .. } => "null_messages",
            RowError::NullMessage { .. } => "null_message",
            RowError::NullRole { .. } => "null_role",
            RowError::UnknownRole { .. } => "unknown_role",
            RowError::MaskLength { .. } => "mask_length",
            RowError::LogprobLength { .. } => "logprob_length",
            RowError::NullTokens { .. } => "null_tokens",
            RowError::NullToken { .. } => "null_token",
            RowError::NoFunction { .. } => "no_function",
            RowError::NoUtf8 { .. } => "no_utf8",
            RowError::NoJson { .. } => "no_json",
            RowError::NoFit { .. } => "no_fit",
            RowError::Layout { .. } => "wrong_format",
            RowError::Record(_) => "bad_record",
            RowError::NoTools { .. } => "no_tools",
        }
    }
}

/// Rows of text have lines beside their numbers.
fn subject(line: &Option<u64>) -> String {
    line.map_or_else(|| "it".to_owned(), |line| format!("line {line}"))
}

/// Hostile text in a message: control characters escaped, length bounded.
fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(40).flat_map(char::escape_default).collect();
    if text.chars().nth(40).is_some() {
        out.push('…');
    }
    out
}

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

    fn field(fields: &StructArray, name: &str) -> Result<Self, ArrowError> {
        fields.column_by_name(name).map_or(Ok(Text::Absent), Text::new)
    }

    /// A field that is only compared: one of another type is as good as none.
    fn id(fields: &StructArray, name: &str) -> Result<Self, ArrowError> {
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

    fn new(batch: &RecordBatch, index: usize) -> Result<Self, ArrowError> {
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
    fn absent(rows: usize) -> Result<Self, ArrowError> {
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

    fn row(&self, row: usize) -> Result<Vec<Message<'_>>, RowError> {
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

/// Token columns of a batch, widths evened out; `List::range` rows match.
#[derive(Debug)]
pub struct Response {
    pub ids: List,
    pub mask: List,
    pub logprobs: Option<(String, List)>,
    id_values: Int32Array,
    mask_values: Int8Array,
}

impl Response {
    fn new(batch: &RecordBatch, columns: &Columns) -> Result<Option<Self>, ArrowError> {
        let Some(found) = columns.response else { return Ok(None) };
        let ids = List::new(batch.column(found.ids))?;
        let mask = List::new(batch.column(found.mask))?;
        let logprobs = found
            .logprobs
            .map(|k| Ok::<_, ArrowError>((batch.schema_ref().field(k).name().clone(), List::new(batch.column(k))?)))
            .transpose()?;
        Ok(Some(Response {
            id_values: strict_cast(&ids.values, &DataType::Int32)?.as_primitive::<Int32Type>().clone(),
            mask_values: strict_cast(&mask.values, &DataType::Int8)?.as_primitive::<Int8Type>().clone(),
            ids,
            mask,
            logprobs,
        }))
    }

    /// The mask of a row that has been read.
    pub fn mask_of(&self, row: usize) -> &[i8] {
        self.mask.range(row).map_or(&[], |range| &self.mask_values.values()[range])
    }

    /// `None` of a row without tokens, where others have some.
    pub fn row(&self, row: usize) -> Result<Option<Tokens<'_>>, RowError> {
        let null = |column: &str| RowError::NullTokens { column: column.to_owned() };
        let (ids, mask) = match (self.ids.range(row), self.mask.range(row)) {
            (None, None) => return Ok(None),
            (ids, mask) => (ids.ok_or_else(|| null("response_ids"))?, mask.ok_or_else(|| null("response_mask"))?),
        };
        if mask.len() != ids.len() {
            return Err(RowError::MaskLength { mask: mask.len(), ids: ids.len() });
        }
        if let Some((column, list)) = &self.logprobs
            && let Some(range) = list.range(row)
            && range.len() != ids.len()
        {
            return Err(RowError::LogprobLength { column: column.clone(), logprobs: range.len(), ids: ids.len() });
        }
        let first_null = |values: &dyn Array, range: &Range<usize>| {
            (values.null_count() > 0).then(|| range.clone().find(|&k| values.is_null(k))).flatten()
        };
        for (column, values, range) in
            [("response_ids", &self.id_values as &dyn Array, &ids), ("response_mask", &self.mask_values, &mask)]
        {
            if let Some(at) = first_null(values, range) {
                return Err(RowError::NullToken { column: column.to_owned(), at: at - range.start });
            }
        }
        Ok(Some(Tokens { ids: &self.id_values.values()[ids], mask: &self.mask_values.values()[mask] }))
    }
}

/// One batch, ready to be read as rollouts.
#[derive(Debug)]
pub struct Decoded {
    pub batch: RecordBatch,
    pub messages: Messages,
    pub response: Option<Response>,
    id: Option<Text>,
    group: Option<Text>,
    tools: Option<Text>,
    reward: Option<Float64Array>,
    advantage: Option<Float64Array>,
    /// Names rows that have no id of their own.
    stem: Arc<str>,
    numbers: RowNumbers,
}

/// Numbers of a batch's rows in their file, from 0.
#[derive(Debug)]
pub enum RowNumbers {
    From(u64),
    /// Lines of a text file, some of which are not rows.
    Listed(Vec<u64>),
}

impl Decoded {
    pub fn new(
        batch: RecordBatch,
        columns: &Columns,
        stem: &Arc<str>,
        numbers: RowNumbers,
    ) -> Result<Self, ArrowError> {
        let text = |index: Option<usize>| index.map(|k| Text::new(batch.column(k))).transpose();
        let number = |index: Option<usize>| -> Result<Option<Float64Array>, ArrowError> {
            let array = index.map(|k| strict_cast(batch.column(k), &DataType::Float64)).transpose()?;
            Ok(array.map(|array| array.as_primitive::<Float64Type>().clone()))
        };
        Ok(Decoded {
            messages: columns
                .messages
                .map_or_else(|| Messages::absent(batch.num_rows()), |k| Messages::new(&batch, k))?,
            response: Response::new(&batch, columns)?,
            id: text(columns.id)?,
            group: text(columns.group)?,
            reward: number(columns.reward)?,
            advantage: number(columns.advantage)?,
            tools: text(columns.tools.filter(|&k| is_text(batch.column(k).data_type())))?,
            stem: Arc::clone(stem),
            numbers,
            batch,
        })
    }

    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The row's number in its file, from 0.
    pub fn number(&self, row: usize) -> u64 {
        match &self.numbers {
            RowNumbers::From(first) => first + row as u64,
            RowNumbers::Listed(numbers) => numbers[row],
        }
    }

    /// The row's name: its own, else `<file stem>:<row number>`.
    pub fn id(&self, row: usize) -> Cow<'_, str> {
        match self.id.as_ref().and_then(|ids| ids.get(row)) {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(format!("{}:{}", self.stem, self.number(row))),
        }
    }

    /// An empty name is none.
    pub fn group(&self, row: usize) -> Option<&str> {
        self.group.as_ref().and_then(|groups| groups.get(row)).filter(|name| !name.is_empty())
    }

    /// What the column `advantage` says, if there is one.
    pub fn advantage(&self, row: usize) -> Option<f64> {
        self.advantage.as_ref().filter(|numbers| numbers.is_valid(row)).map(|numbers| numbers.value(row))
    }

    pub fn reward(&self, row: usize) -> Option<f64> {
        self.reward.as_ref().filter(|rewards| rewards.is_valid(row)).map(|rewards| rewards.value(row))
    }

    /// The tools' JSON schemas, as text.
    pub fn tools(&self, row: usize) -> Option<&str> {
        self.tools.as_ref().and_then(|tools| tools.get(row))
    }

    pub fn rollout(&self, row: usize) -> Result<Rollout<'_>, RowError> {
        Ok(Rollout {
            id: self.id(row),
            group: self.group(row),
            messages: with_answers(self.messages.row(row)?),
            tokens: self.response.as_ref().map(|r| r.row(row)).transpose()?.flatten(),
        })
    }
}
