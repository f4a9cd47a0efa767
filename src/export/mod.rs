//! Native rows as the rows that a trainer reads: one [`Profile`] for each kind of file, in a file of its own.
//!
//! Owns the registry [`PROFILES`], what a profile's columns are and what stands in them. Reading rows is [`crate::ingest`]'s work, building arrays
//! [`crate::write`]'s. Text is taken over byte for byte; what a target can't say without loss is refused, never bent.

pub mod card;
mod json;
mod openai;
mod profile;
mod trl;
mod verl;

use serde_json::{Map, Value};

use crate::schema::LOSS;
pub use profile::{Column, Container, Facts, MadeOf, Profile, Target};

/// A message as JSON, fields that are null left out.
pub type Message = Map<String, Value>;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Flag,
    Tokens,
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
    /// Texts that each hold one JSON value.
    Json(Vec<String>),
    /// (role, content).
    Turns(Vec<(String, String)>),
}

impl Cell {
    fn text(text: Option<&str>) -> Cell {
        text.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))
    }

    fn number(value: Option<f64>) -> Cell {
        value.map_or(Cell::Null, Cell::Number)
    }
}

/// One row of an export, a cell for each column of [`Target::columns`].
pub type Cells = Vec<Cell>;

const AT_LEAST_ONE: &str = "at least one message";

/// Why a row can't be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    #[error("it has no messages, which `{form}` is made of")]
    NoMessages { form: &'static str },
    #[error("it has no tokens, but other rows have")]
    NoTokens,
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
    #[error("{part} is empty, expected {expected}")]
    Empty { part: &'static str, expected: &'static str },
}

impl ExportError {
    /// The name under which such rows are counted.
    pub fn code(&self) -> &'static str {
        match self {
            ExportError::NoMessages { .. } => "no_messages",
            ExportError::NoTokens => "no_tokens",
            ExportError::Untrained { .. } | ExportError::UntrainedSide { .. } => "untrained_message",
            ExportError::Tools { .. } | ExportError::ToolNumber { .. } => "no_tools",
            ExportError::IncompleteCall { .. } => "incomplete_call",
            ExportError::Empty { .. } => "empty",
        }
    }
}

/// Every profile, in the order in which help lists them.
pub static PROFILES: &[&Profile] = &[&trl::SFT, &trl::DPO, &trl::KTO, &verl::SFT, &openai::LINES];

/// A data set folder, which several profiles share.
pub const FOLDER: &str = "folder";
const FOLDER_HELP: &str =
    "A data set folder as the hubs have them, with the configurations `rl`, `sft`, `dpo` and `audit`";

/// Whom an export is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportTarget {
    Profile(&'static Profile),
    /// All profiles that have a configuration, the rollouts themselves and the table of repairs.
    Folder,
}

impl ExportTarget {
    /// The target of that name.
    pub fn named(name: &str) -> Option<Self> {
        match PROFILES.iter().find(|profile| profile.name == name) {
            Some(profile) => Some(ExportTarget::Profile(profile)),
            None => (name == FOLDER).then_some(ExportTarget::Folder),
        }
    }

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            ExportTarget::Profile(profile) => profile.name,
            ExportTarget::Folder => FOLDER,
        }
    }

    /// Whether it is made of preference pairs.
    pub fn needs_pairs(self) -> bool {
        match self {
            ExportTarget::Profile(profile) => profile.made_of.needs_pairs(),
            ExportTarget::Folder => true,
        }
    }
}

/// Names and help of all targets.
pub fn targets() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROFILES.iter().map(|profile| (profile.name, profile.help)).chain([(FOLDER, FOLDER_HELP)])
}

/// Whether the target of that name is made of preference pairs.
pub fn needs_pairs(name: &str) -> bool {
    ExportTarget::named(name).is_some_and(ExportTarget::needs_pairs)
}

fn is_assistant(message: &Message) -> bool {
    message.get("role").and_then(Value::as_str) == Some("assistant")
}

fn is_untrained(message: &Message) -> bool {
    message.get(LOSS) == Some(&Value::Bool(false))
}

/// The text of a field; empty if there is none.
fn text<'m>(message: &'m Message, name: &str) -> &'m str {
    message.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A structured call.
struct Call<'m> {
    id: Option<&'m str>,
    /// Empty if it has none.
    name: &'m str,
    arguments: Option<&'m str>,
}

fn calls(message: &Message) -> impl Iterator<Item = Call<'_>> {
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
