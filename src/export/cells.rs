//! What exports are made of: messages as JSON, the cells of a row, and why a row can't be exported.

use serde_json::{Map, Value};

use crate::schema::LOSS;

/// A message as JSON, fields that are null left out.
pub type Message = Map<String, Value>;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Flag,
    Tokens,
    /// A list of numbers, one for each token.
    Numbers,
    /// A list of JSON values (`arrow.json`).
    Json,
    /// A list of role and content.
    Turns,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Text(String),
    Number(f64),
    Flag(bool),
    Tokens(Vec<i32>),
    Numbers(Vec<Option<f32>>),
    /// Texts that each hold one JSON value.
    Json(Vec<String>),
    /// (role, content).
    Turns(Vec<(String, String)>),
}

impl Cell {
    pub(super) fn text(text: Option<&str>) -> Cell {
        text.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))
    }

    pub(super) fn number(value: Option<f64>) -> Cell {
        value.map_or(Cell::Null, Cell::Number)
    }
}

/// One row of an export, a cell for each column of [`super::Target::columns`].
pub type Cells = Vec<Cell>;

pub(super) const AT_LEAST_ONE: &str = "at least one message";

/// Why a row can't be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    #[error("it has no messages, which `{form}` is made of")]
    NoMessages { form: &'static str },
    #[error("it has no tokens, other rows have")]
    NoTokens,
    #[error("`token_advantages` has {found} entries, expected {expected}: one for each token of the response")]
    TokenAdvantages { found: usize, expected: usize },
    #[error("message {message} is not to be trained on (`loss` is false), which `{form}` can't say without tokens")]
    Untrained { message: usize, form: &'static str },
    #[error("`{part}` is not to be trained on (`loss` is false), which `{form}` can't say")]
    UntrainedSide { part: &'static str, form: &'static str },
    #[error("`tools` is {found}, expected a list")]
    Tools { found: &'static str },
    #[error("tool {tool} holds a number that JSON readers can't hold")]
    ToolNumber { tool: usize },
    #[error("a call in {place} has no {part}, which `{form}` can't say")]
    IncompleteCall { place: String, part: &'static str, form: &'static str },
    #[error("message {message} is {found}, which `{form}` can't say there: it has {expected}")]
    Order { message: usize, found: &'static str, expected: &'static str, form: &'static str },
    #[error("the arguments of a call in message {message} are not a plain JSON object, which `{form}` can't say")]
    Input { message: usize, form: &'static str },
    #[error(
        "tool {tool} is not a function with a name and an object of parameters, which is all that `{form}` can say"
    )]
    ToolForm { tool: usize, form: &'static str },
    #[error("{part} is empty, expected {expected}")]
    Empty { part: &'static str, expected: &'static str },
}

impl ExportError {
    /// The name under which such rows are counted.
    pub fn code(&self) -> &'static str {
        match self {
            ExportError::NoMessages { .. } => "no_messages",
            ExportError::NoTokens => "no_tokens",
            ExportError::TokenAdvantages { .. } => "token_advantages",
            ExportError::Untrained { .. } | ExportError::UntrainedSide { .. } => "untrained_message",
            ExportError::Tools { .. } | ExportError::ToolNumber { .. } | ExportError::ToolForm { .. } => "no_tools",
            ExportError::Order { .. } => "order_of_messages",
            ExportError::Input { .. } | ExportError::IncompleteCall { .. } => "incomplete_call",
            ExportError::Empty { .. } => "empty",
        }
    }
}

pub(super) fn is_assistant(message: &Message) -> bool {
    message.get("role").and_then(Value::as_str) == Some("assistant")
}

pub(super) fn is_untrained(message: &Message) -> bool {
    message.get(LOSS) == Some(&Value::Bool(false))
}

/// The text of a field; empty if there is none.
pub(super) fn text<'m>(message: &'m Message, name: &str) -> &'m str {
    message.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A structured call.
pub(super) struct Call<'m> {
    pub(super) id: Option<&'m str>,
    /// Empty if it has none.
    pub(super) name: &'m str,
    pub(super) arguments: Option<&'m str>,
}

pub(super) fn calls(message: &Message) -> impl Iterator<Item = Call<'_>> {
    let calls = message.get("tool_calls").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    calls.iter().map(|call| {
        let of_function = |name: &str| call.get("function").and_then(|f| f.get(name)?.as_str());
        Call {
            id: call.get("id").and_then(Value::as_str),
            name: of_function("name").unwrap_or_default(),
            arguments: of_function("arguments"),
        }
    })
}
