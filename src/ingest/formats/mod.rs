//! What rows look like that other programs wrote, each turned into the native row (data.md, section 1).
//!
//! Owns the list of layouts, how one is recognised, what it consumes, and nothing of files: a layout gets one JSON value and
//! gives rows. Text is taken over byte for byte; what a layout can't say stays absent. A row's fields that have no native name
//! pass through, a message's are kept as JSON beside it. The few that are lost are declared, so that they can be counted.

mod atif;
mod chat_text;
mod messages;
mod nemo_gym;
mod prompt_completion;
mod sharegpt;
mod swe_agent;
mod token_ids;
mod traces;
mod verl;

pub(super) use messages::{WEIGHT, joined};
use serde_json::Value;

use crate::options::Layout;
use crate::schema::MESSAGES;

/// A row as JSON: fields in the order in which they came.
pub type Row = crate::batch::json::Object;

/// Field under which a trial's `result.json` is given to the trajectory beside it.
pub(super) const TRIAL_RESULT: &str = "trial_result";
/// Field under which the name of a file is given to the trajectory in it, where files are named after tasks.
pub(super) const INSTANCE: &str = "instance_id";
/// Field of a message that holds, as JSON, what it was made of and no native field says.
const OTHER_FIELDS: &str = "other_fields";
/// Field of a message that is context and is not trained on.
const LOSS: &str = crate::schema::LOSS;

/// Whether a row is a trajectory that may have a trial beside it.
pub(super) fn is_trajectory(row: &Row) -> bool {
    atif::is_row(row)
}

/// Whether a row is a trajectory whose file is named after its task.
pub(super) fn is_named_by_file(row: &Row) -> bool {
    swe_agent::is_row(row)
}

/// What a layout's own file says of it.
struct Form {
    is_row: fn(&Row) -> bool,
    convert: fn(Row) -> Result<Vec<Row>, String>,
    /// Paths that no native row holds, such as `steps[].metrics`.
    not_kept: &'static [&'static str],
    /// Path of the ids that are put together to token columns, where that is possible.
    token_ids: Option<&'static str>,
}

/// In the order in which they are tried.
const LAYOUTS: [Layout; 9] = [
    Layout::Atif,
    Layout::SweAgent,
    Layout::Traces,
    Layout::NemoGym,
    Layout::Verl,
    Layout::ShareGpt,
    Layout::Messages,
    Layout::PromptCompletion,
    Layout::ChatText,
];

/// Fields by which layouts are recognised.
pub(super) const MARKERS: [&str; 15] = [
    "schema_version",
    "steps",
    "traces",
    "response",
    "input",
    "output",
    "conversations",
    "messages",
    "conversation",
    "chat",
    "prompt",
    "completion",
    "text",
    "score",
    "trajectory",
];

impl Layout {
    /// The layout of a row, by its fields; the first that fits.
    pub fn recognise(row: &Row) -> Option<Layout> {
        LAYOUTS.into_iter().find(|layout| (layout.form().is_row)(row))
    }

    /// Whether a field becomes part of the native row's own fields, or of a record beside them.
    pub(super) fn consumes(self, field: &str) -> bool {
        match self {
            Layout::Messages => MESSAGES.contains(&field),
            Layout::ShareGpt => ["conversations", "system"].contains(&field),
            Layout::PromptCompletion => ["prompt", "completion"].contains(&field),
            Layout::ChatText => field == "text",
            Layout::Verl => ["input", "output"].contains(&field),
            Layout::NemoGym => ["responses_create_params", "response"].contains(&field),
            Layout::Traces | Layout::Atif | Layout::SweAgent => true,
        }
    }

    /// The column of its reward, where it has one and others may be called so.
    pub(super) fn reward(self) -> Option<&'static str> {
        (self == Layout::Verl).then_some("score")
    }

    /// Whether a field is looked at, and stays.
    pub(super) fn consults(self, field: &str) -> bool {
        matches!((self, field), (Layout::Verl, "uid") | (Layout::NemoGym, "_ng_task_index"))
    }

    /// The native rows of one row.
    ///
    /// # Errors
    /// What was expected where, and what was found.
    pub fn convert(self, row: Row) -> Result<Vec<Row>, String> {
        (self.form().convert)(row)
    }

    /// Whether nothing of its rows is ever lost.
    pub fn keeps_all(self) -> bool {
        self.form().not_kept.is_empty() && self.form().token_ids.is_none()
    }

    /// What of a row its native rows don't hold: paths, and `token ids` where these could not be put together.
    pub fn not_kept(self, row: &Row) -> Vec<&'static str> {
        let form = self.form();
        let mut out: Vec<&str> = form.not_kept.iter().copied().filter(|path| holds(row, path)).collect();
        let lacks_ids = |rows: Vec<Row>| rows.iter().any(|row| !row.contains_key(token_ids::RESPONSE));
        let loses_ids = |row: &Row| {
            form.token_ids.is_some_and(|path| holds(row, path)) && self.convert(row.clone()).is_ok_and(lacks_ids)
        };
        let loses_any = match self {
            Layout::Traces => traces::one_by_one(row).any(|row| loses_ids(&row)),
            _ => loses_ids(row),
        };
        if loses_any {
            out.push("token ids");
        }
        if self == Layout::Traces && traces::lacks_nodes(row) {
            out.push("traces without nodes");
        }
        out
    }

    fn form(self) -> &'static Form {
        match self {
            Layout::Atif => &atif::FORM,
            Layout::SweAgent => &swe_agent::FORM,
            Layout::Traces => &traces::FORM,
            Layout::NemoGym => &nemo_gym::FORM,
            Layout::Verl => &verl::FORM,
            Layout::ShareGpt => &sharegpt::FORM,
            Layout::Messages => &messages::FORM,
            Layout::PromptCompletion => &prompt_completion::FORM,
            Layout::ChatText => &chat_text::FORM,
        }
    }
}

/// Whether a value says anything.
fn is_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().any(is_said),
        Value::Object(fields) => fields.values().any(is_said),
        _ => true,
    }
}

/// Whether anything is said at a path, `[]` in it being every entry of a list.
fn holds(row: &Row, path: &str) -> bool {
    let (name, behind) = path.split_once('.').map_or((path, None), |(name, behind)| (name, Some(behind)));
    let below = |value: &Value| match behind {
        None => is_said(value),
        Some(behind) => value.as_object().is_some_and(|row| holds(row, behind)),
    };
    match name.strip_suffix("[]") {
        Some(name) => row.get(name).and_then(Value::as_array).is_some_and(|items| items.iter().any(below)),
        None => row.get(name).is_some_and(below),
    }
}

/// A message of role and content.
fn message(role: &str, content: impl Into<Value>) -> Row {
    let mut out = Row::new();
    out.insert("role".to_owned(), Value::String(role.to_owned()));
    out.insert("content".to_owned(), content.into());
    out
}

/// A structured call.
fn call(id: Option<Value>, name: &str, arguments: &Value) -> Value {
    let mut function = Row::new();
    let said = |text: String| if text.is_empty() { Value::Null } else { Value::String(text) };
    function.insert("name".to_owned(), said(name.to_owned()));
    let arguments = if arguments.is_null() { Value::Null } else { Value::String(text_of(arguments)) };
    function.insert("arguments".to_owned(), arguments);
    let mut out = Row::new();
    out.insert("id".to_owned(), id.unwrap_or(Value::Null));
    out.insert("type".to_owned(), Value::String("function".to_owned()));
    out.insert("function".to_owned(), Value::Object(function));
    Value::Object(out)
}

/// Takes the calls out of what a message is made of, `id`, `name` and `arguments` being called so; what else they say stays.
fn take_calls(row: &mut Row, [id, name, arguments]: [&str; 3]) -> Result<Option<Value>, String> {
    if !row.get("tool_calls").is_some_and(is_said) {
        row.shift_remove("tool_calls");
        return Ok(None);
    }
    let mut calls = Vec::new();
    let mut rest = Vec::new();
    for (k, mut asked) in take_objects(row, "tool_calls")?.into_iter().enumerate() {
        let name = take_text(&mut asked, name).map_err(|detail| format!("call {k}: {detail}"))?;
        let arguments = asked.shift_remove(arguments).unwrap_or_default();
        calls.push(call(asked.shift_remove(id), &name, &arguments));
        if asked.get("type").is_some_and(|of_type| of_type == "function") {
            asked.shift_remove("type");
        }
        rest.push(Value::Object(asked));
    }
    put_back(row, "tool_calls", Value::Array(rest));
    Ok(Some(Value::Array(calls)))
}

/// Leaves in a row what is left of a field, if anything is.
fn put_back(row: &mut Row, name: &str, rest: Value) {
    if is_said(&rest) {
        row.insert(name.to_owned(), rest);
    }
}

/// Keeps beside a message, as JSON, what is left of the parts that it was made of.
fn keep_rest(message: &mut Row, parts: impl IntoIterator<Item = Row>) {
    let said = |part: Row| -> Row { part.into_iter().filter(|(_, value)| is_said(value)).collect() };
    let mut rest: Vec<Row> = parts.into_iter().map(said).filter(|part| !part.is_empty()).collect();
    if rest.is_empty() {
        return;
    }
    // A field of that name that the message had is a part like the others.
    rest.extend(
        message.shift_remove_entry(OTHER_FIELDS).map(|own| said(Row::from_iter([own]))).filter(|own| !own.is_empty()),
    );
    let text = match rest.len() {
        1 => Value::Object(rest.remove(0)).to_string(),
        _ => Value::Array(rest.into_iter().map(Value::Object).collect()).to_string(),
    };
    message.insert(OTHER_FIELDS.to_owned(), Value::String(text));
}

/// Marks a message as context: it is not trained on.
fn mark_context(message: &mut Row) {
    message.insert(LOSS.to_owned(), Value::Bool(false));
}

/// Text as it is; anything else as JSON.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Adds the fields that have no native name.
///
/// # Errors
/// One is called as a field that was made.
fn pass_through(out: &mut Row, row: Row) -> Result<(), String> {
    for (name, value) in row {
        if out.contains_key(&name) {
            return Err(format!(
                "`{name}` stands beside what is converted into it; remove one of them, or name the other's format with --format"
            ));
        }
        out.insert(name, value);
    }
    Ok(())
}

/// Puts messages where the native row has them, in the place of the field that held them.
fn with_messages(row: Row, replaced: &[&str], messages: Vec<Row>) -> Result<Row, String> {
    let mut messages = Some(Value::Array(messages.into_iter().map(Value::Object).collect()));
    let (mut out, mut behind) = (Row::new(), Row::new());
    for (name, value) in row {
        match replaced.contains(&name.as_str()) {
            true => out.extend(messages.take().map(|messages| ("messages".to_owned(), messages))),
            false if messages.is_some() && name != "messages" => out.extend([(name, value)]),
            false => behind.extend([(name, value)]),
        }
    }
    out.extend(messages.map(|messages| ("messages".to_owned(), messages)));
    pass_through(&mut out, behind)?;
    Ok(out)
}

/// The kind of a value, for errors.
pub(super) fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a flag",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "text",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    }
}

/// The text of a field that must be there.
fn text<'r>(row: &'r Row, name: &str) -> Result<&'r str, String> {
    let found = row.get(name);
    found.and_then(Value::as_str).ok_or_else(|| format!("`{name}` is {}, expected text", kind(found)))
}

/// The same, taken out of its row.
fn take_text(row: &mut Row, name: &str) -> Result<String, String> {
    match row.shift_remove(name) {
        Some(Value::String(text)) => Ok(text),
        found => Err(format!("`{name}` is {}, expected text", kind(found.as_ref()))),
    }
}

/// The list of objects of a field that must be there, taken out of its row.
fn take_objects(row: &mut Row, name: &str) -> Result<Vec<Row>, String> {
    let items = match row.shift_remove(name) {
        Some(Value::Array(items)) => items,
        found => return Err(format!("`{name}` is {}, expected a list", kind(found.as_ref()))),
    };
    let object = |(k, item)| match item {
        Value::Object(item) => Ok(item),
        other => Err(format!("entry {k} of `{name}` is {}, expected an object", kind(Some(&other)))),
    };
    items.into_iter().enumerate().map(object).collect()
}
