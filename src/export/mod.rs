//! Native rows as the rows that a trainer eats: a pure function for each target.
//!
//! Owns what a target's columns are and what stands in them. Reading rows is [`crate::ingest`]'s work, building arrays
//! [`crate::write`]'s. Text is taken over byte for byte; what a target can't say without loss is refused, never bent.

pub mod card;
mod json;
mod openai;
mod trl;
mod verl;

use serde_json::{Map, Value};

use crate::batch::sample::{Preference, PreferenceText, Sample};
use crate::options::ExportTarget;
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

/// One row of an export, a cell for each column of [`Form::columns`].
pub type Cells = Vec<Cell>;

const AT_LEAST_ONE: &str = "at least one message";

/// Why a row can't be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    #[error("it has no messages, which `{form}` is made of")]
    NoMessages { form: &'static str },
    #[error("it has no tokens, other rows have")]
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

/// What one file of an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    TrlSft {
        /// `input_ids` and `labels` in place of messages.
        as_tokens: bool,
    },
    TrlDpo {
        /// Log-probs of a reference policy stand beside each pair.
        has_reference: bool,
    },
    TrlKto,
    VerlSft,
    OpenAi,
}

impl Form {
    /// The target, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Form::TrlSft { .. } => ExportTarget::TrlSft,
            Form::TrlDpo { .. } => ExportTarget::TrlDpo,
            Form::TrlKto => ExportTarget::TrlKto,
            Form::VerlSft => ExportTarget::VerlSft,
            Form::OpenAi => ExportTarget::OpenAi,
        }
        .name()
    }

    /// Names and types, in order. Rows of [`Form::OpenAi`] are lines.
    pub fn columns(self) -> Vec<(&'static str, Kind)> {
        let of_rollouts = [("rollout_id", Kind::Text), ("group_id", Kind::Text), ("reward", Kind::Number)];
        let (names, own) = match self {
            Form::TrlSft { as_tokens: true } => (3, trl::SFT_TOKENS),
            Form::TrlSft { as_tokens: false } => (3, trl::SFT),
            Form::TrlDpo { has_reference: true } => (1, trl::DPO_WITH_REFERENCE),
            Form::TrlDpo { has_reference: false } => (1, trl::DPO),
            Form::TrlKto => (1, trl::KTO),
            Form::VerlSft => (3, verl::SFT),
            Form::OpenAi => (0, openai::LINE),
        };
        of_rollouts[..names].iter().chain(own).copied().collect()
    }

    /// The rows that a rollout gives; `failed` are the messages of its failed attempts, for [`Form::TrlKto`].
    ///
    /// # Errors
    /// If the form can't hold it.
    pub fn of_rollout(self, sample: &Sample, failed: &[usize]) -> Result<Vec<Cells>, ExportError> {
        // A name that is made of a file's would be another one in the next file.
        let id = || Cell::text(Some(sample.id.as_str()).filter(|_| !sample.is_unnamed));
        let names = || [id(), Cell::text(sample.group.as_deref()), Cell::number(sample.reward)];
        let tools = || json::tools(sample.tools.as_ref());
        let one = |own: Cells| Ok(vec![names().into_iter().chain(own).collect()]);
        match self {
            Form::TrlSft { as_tokens: true } => one(trl::sft_tokens(sample)?),
            Form::TrlSft { as_tokens: false } => one(trl::sft(&self.trained(sample)?, &tools()?)),
            Form::VerlSft => one(verl::sft(&self.trained(sample)?, &tools()?)),
            Form::OpenAi => Ok(vec![vec![Cell::Text(openai::line(&self.messages(sample)?, &tools()?))]]),
            Form::TrlKto => {
                let (messages, tools) = (self.messages(sample)?, tools()?);
                let row = |at: usize| {
                    let own = trl::kto(&messages[..at], &messages[at..=at], &tools, false)?;
                    Ok([id()].into_iter().chain(own).collect())
                };
                // Context is read and never trained on: a prompt may hold it, a completion is none of it.
                let is_own = |at: &usize| messages.get(*at).is_some_and(|message| !is_untrained(message));
                failed.iter().copied().filter(is_own).map(row).collect()
            }
            Form::TrlDpo { .. } => Ok(Vec::new()),
        }
    }

    /// The rows that a preference pair gives; none in the forms that are made of rollouts.
    ///
    /// # Errors
    /// If the form can't hold it.
    pub fn of_pair(self, pair: &Preference) -> Result<Vec<Cells>, ExportError> {
        let PreferenceText::Messages(parts) = &pair.parts else {
            return Err(ExportError::NoMessages { form: self.name() });
        };
        let parts = parts.each_ref().map(|part| objects(part));
        let [prompt, chosen, rejected] = &parts;
        for (part, messages) in [("chosen", chosen), ("rejected", rejected)] {
            if messages.iter().any(is_untrained) {
                return Err(ExportError::UntrainedSide { part, form: self.name() });
            }
        }
        for (part, messages) in ["prompt", "chosen", "rejected"].iter().zip(&parts) {
            self.check_calls(messages, |k| format!("message {k} of `{part}`"))?;
        }
        let tools = json::tools(pair.tools.as_ref())?;
        let own = match self {
            Form::TrlKto => vec![trl::kto(prompt, chosen, &tools, true)?, trl::kto(prompt, rejected, &tools, false)?],
            Form::TrlDpo { has_reference } => {
                vec![trl::dpo(&parts, &tools, has_reference.then_some(pair.reference_logps))?]
            }
            _ => Vec::new(),
        };
        Ok(own.into_iter().map(|own| [Cell::Text(pair.id.clone())].into_iter().chain(own).collect()).collect())
    }

    fn messages(self, sample: &Sample) -> Result<Vec<Message>, ExportError> {
        let messages = sample.messages.as_ref().ok_or(ExportError::NoMessages { form: self.name() })?;
        match messages.is_empty() {
            // Trainers look at the first message to see what the others are.
            true => Err(ExportError::Empty { part: "messages", expected: AT_LEAST_ONE }),
            false => {
                let messages = objects(messages);
                self.check_calls(&messages, |k| format!("message {k}"))?;
                Ok(messages)
            }
        }
    }

    /// A call without a name is none anywhere. Without arguments it is one for templates, which write null.
    fn check_calls(self, messages: &[Message], place: impl Fn(usize) -> String) -> Result<(), ExportError> {
        for (k, call) in messages.iter().enumerate().flat_map(|(k, m)| calls(m).map(move |call| (k, call))) {
            let part = match call {
                Call { name: "", .. } => "name",
                Call { arguments: None, .. } if self == Form::OpenAi => "arguments",
                _ => continue,
            };
            return Err(ExportError::IncompleteCall { place: place(k), part, form: self.name() });
        }
        Ok(())
    }

    /// The messages, all of whose assistant's are to be trained on.
    fn trained(self, sample: &Sample) -> Result<Vec<Message>, ExportError> {
        let messages = self.messages(sample)?;
        match messages.iter().position(|m| is_assistant(m) && is_untrained(m)) {
            Some(message) => Err(ExportError::Untrained { message, form: self.name() }),
            None => Ok(messages),
        }
    }
}

fn objects(messages: &[Value]) -> Vec<Message> {
    messages.iter().filter_map(Value::as_object).cloned().collect()
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
