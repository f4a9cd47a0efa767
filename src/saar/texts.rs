//! The texts of a step: what is compared, and what is embedded (docs/method.md, "Call segment and similarity").
//!
//! Owns how an assistant message is cut into reasoning and call, and how a call is rendered.

use std::borrow::Cow;

use crate::options::TextKind;
use crate::rollout::{CALL_MARKER, END_OF_TURN, Message};

/// Arguments that hold code, in the order in which they are looked for (`--compare code`).
const CODE_ARGUMENTS: &[&str] = &["code", "command", "cmd", "script", "source", "query", "sql", "input"];

/// A text of an assistant message; empty where it has none.
pub fn step_text<'r>(message: &'r Message<'_>, kind: TextKind) -> Cow<'r, str> {
    match kind {
        TextKind::Reasoning => reasoning(message),
        _ if kind != TextKind::Step && !message.has_call() => Cow::Borrowed(""),
        TextKind::Call => call_segment(message),
        TextKind::Code => Cow::Owned(call_code(message)),
        TextKind::Step if message.has_call() => {
            let (reasoning, call) = (reasoning(message), call_segment(message));
            if reasoning.is_empty() { call } else { Cow::Owned(format!("{reasoning}\n{call}")) }
        }
        TextKind::Step => reasoning(message),
    }
}

/// The text before the first call, after `reasoning_content` if there is any.
fn reasoning<'r>(message: &'r Message<'_>) -> Cow<'r, str> {
    let content = message.content.unwrap_or_default();
    let content = &content[..message.inline_call().unwrap_or(content.len())];
    match message.reasoning.filter(|r| !r.is_empty()) {
        None => Cow::Borrowed(content),
        Some(reasoning) if content.is_empty() => Cow::Borrowed(reasoning),
        Some(reasoning) => Cow::Owned(format!("{reasoning}\n{content}")),
    }
}

/// The call segment of an attempt as text: rendered, or cut from the content (docs/method.md, "Call segment and similarity").
pub fn call_segment<'r>(message: &'r Message<'_>) -> Cow<'r, str> {
    if let Some(at) = message.inline_call() {
        let text = &message.content.unwrap_or_default()[at..];
        return match text.trim_end().ends_with(END_OF_TURN) {
            true => Cow::Borrowed(text),
            false => Cow::Owned(format!("{text}{END_OF_TURN}")),
        };
    }
    let mut out = String::new();
    for (k, call) in message.calls.iter().enumerate() {
        if k > 0 {
            out.push('\n');
        }
        for part in
            [CALL_MARKER, "\n{\"name\": \"", call.name, "\", \"arguments\": ", call.arguments, "}\n</tool_call>"]
        {
            out.push_str(part);
        }
    }
    out.push_str(END_OF_TURN);
    Cow::Owned(out)
}

/// What one call hands to its tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalledCode {
    /// Empty if the call does not say.
    pub tool: String,
    /// The code argument if there is one, else the arguments.
    pub code: String,
}

/// The code of an attempt, joined.
pub fn call_code(message: &Message<'_>) -> String {
    called_code(message).into_iter().map(|called| called.code).collect::<Vec<_>>().join("\n")
}

/// The code of each call of an attempt.
pub fn called_code(message: &Message<'_>) -> Vec<CalledCode> {
    match message.inline_call() {
        Some(at) => inline_calls(&message.content.unwrap_or_default()[at..])
            .into_iter()
            .map(|(tool, arguments)| CalledCode { tool, code: code_of(&arguments) })
            .collect(),
        None => {
            message.calls.iter().map(|c| CalledCode { tool: c.name.to_owned(), code: code_of(c.arguments) }).collect()
        }
    }
}

/// The code argument of a call if there is one, else its arguments.
pub fn code_of(arguments: &str) -> String {
    let parsed: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(arguments).ok();
    parsed
        .as_ref()
        .and_then(|object| CODE_ARGUMENTS.iter().find_map(|name| object.get(*name)?.as_str()))
        .map_or_else(|| arguments.to_owned(), str::to_owned)
}

/// Tool and arguments of each call of an attempt, wherever they stand.
pub fn calls_of<'r>(message: &'r Message<'_>) -> Vec<(Cow<'r, str>, Cow<'r, str>)> {
    match message.inline_call() {
        Some(at) => inline_calls(&message.content.unwrap_or_default()[at..])
            .into_iter()
            .map(|(tool, arguments)| (Cow::Owned(tool), Cow::Owned(arguments)))
            .collect(),
        None => message.calls.iter().map(|c| (Cow::Borrowed(c.name), Cow::Borrowed(c.arguments))).collect(),
    }
}

/// Name and arguments of calls that stand in text; a call that is not JSON stands for itself, whole.
fn inline_calls(segment: &str) -> Vec<(String, String)> {
    segment
        .split(CALL_MARKER)
        .map(|part| part.split("</tool_call>").next().unwrap_or(part).trim())
        .filter(|part| !part.is_empty())
        .map(|part| {
            let object: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(part).ok();
            let name = object.as_ref().and_then(|o| o.get("name")?.as_str()).unwrap_or_default();
            let arguments = match object.as_ref().and_then(|o| o.get("arguments")) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => part.to_owned(),
            };
            (name.to_owned(), arguments)
        })
        .collect()
}
