//! Pieces that native rows are made of, and how they are taken out of foreign ones.
//!
//! Owns messages, calls, and what is kept beside them as JSON. Text is taken over byte for byte; what a row does not say stays
//! absent.

use serde_json::{Map, Value};

/// A row as JSON: fields in the order in which they came.
pub type Row = Map<String, Value>;

pub(super) const OTHER_FIELDS: &str = crate::schema::OTHER_FIELDS;
/// Field of a message that is context and is not trained on.
pub(super) const LOSS: &str = crate::schema::LOSS;

/// Whether a value says anything.
pub fn is_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().any(is_said),
        Value::Object(fields) => fields.values().any(is_said),
        _ => true,
    }
}

/// Whether anything is said at a path, `[]` in it being every entry of a list.
pub fn holds(row: &Row, path: &str) -> bool {
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
pub fn message(role: &str, content: impl Into<Value>) -> Row {
    let mut out = Row::new();
    out.insert("role".to_owned(), Value::String(role.to_owned()));
    out.insert("content".to_owned(), content.into());
    out
}

/// A structured call.
pub fn call(id: Option<Value>, name: &str, arguments: &Value) -> Value {
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
pub fn take_calls(row: &mut Row, [id, name, arguments]: [&str; 3]) -> Result<Option<Value>, String> {
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
pub fn put_back(row: &mut Row, name: &str, rest: Value) {
    if is_said(&rest) {
        row.insert(name.to_owned(), rest);
    }
}

/// Keeps beside a message, as JSON, what is left of the parts that it was made of.
pub fn keep_rest(message: &mut Row, parts: impl IntoIterator<Item = Row>) {
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
pub fn mark_context(message: &mut Row) {
    message.insert(LOSS.to_owned(), Value::Bool(false));
}

/// Text as it is; anything else as JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Adds the fields that have no native name.
///
/// # Errors
/// One is called as a field that was made.
pub fn pass_through(out: &mut Row, row: Row) -> Result<(), String> {
    for (name, value) in row {
        if out.contains_key(&name) {
            return Err(format!(
                "`{name}` already exists beside what is converted into it; remove one of them, or name the format of the other with --format"
            ));
        }
        out.insert(name, value);
    }
    Ok(())
}

/// Puts messages where the native row has them, in the place of the field that held them.
pub fn with_messages(row: Row, replaced: &[&str], messages: Vec<Row>) -> Result<Row, String> {
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
pub fn kind(value: Option<&Value>) -> &'static str {
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
pub fn text<'r>(row: &'r Row, name: &str) -> Result<&'r str, String> {
    let found = row.get(name);
    found.and_then(Value::as_str).ok_or_else(|| format!("`{name}` is {}, expected text", kind(found)))
}

/// The same, taken out of its row.
pub fn take_text(row: &mut Row, name: &str) -> Result<String, String> {
    match row.shift_remove(name) {
        Some(Value::String(text)) => Ok(text),
        found => Err(format!("`{name}` is {}, expected text", kind(found.as_ref()))),
    }
}

/// The list of objects of a field that must be there, taken out of its row.
pub fn take_objects(row: &mut Row, name: &str) -> Result<Vec<Row>, String> {
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
