//! What spans say of messages and tools, under the names of their conventions.
//!
//! Owns the names: OpenInference (`llm.input_messages`), OpenTelemetry's `gen_ai` (attributes, and the events of earlier versions),
//! OpenLLMetry (`gen_ai.prompt`, `traceloop`). What a part is called is [`super::parts`]'s.

use serde_json::{Map, Value};

use super::native::{Row, call, keep_rest, message, text_of};
use super::parts::{messages_of_one, role_of};
use super::span_values::{Span, at, entries};

/// What a span says.
pub(super) enum Said {
    Nothing,
    ByTool {
        id: Option<Value>,
        name: Option<String>,
        result: Option<String>,
    },
    /// What a model was given, and what it said.
    ByModel {
        given: Vec<Row>,
        said: Vec<Row>,
    },
}

const GIVEN: [&str; 4] = ["llm.input_messages", "gen_ai.input.messages", "gen_ai.prompt", "llm.prompts"];
const SAID: [&str; 4] = ["llm.output_messages", "gen_ai.output.messages", "gen_ai.completion", "llm.completions"];
/// What says of what kind a span is.
const KINDS: [&str; 3] = ["openinference.span.kind", "gen_ai.operation.name", "traceloop.span.kind"];

/// What a span says.
///
/// # Errors
/// What was expected where, and what was found.
pub(super) fn said_by(span: &Span) -> Result<Said, String> {
    let of_kind = KINDS.iter().find_map(|name| span.text(name)).unwrap_or_default().to_ascii_lowercase();
    if matches!(of_kind.as_str(), "tool" | "execute_tool") {
        return Ok(by_tool(span));
    }
    // An agent's span says again what those below it say.
    if matches!(of_kind.as_str(), "agent" | "invoke_agent" | "create_agent" | "chain" | "workflow" | "task") {
        return Ok(Said::Nothing);
    }
    let mut given = messages_under(span, &GIVEN)?;
    let mut said = messages_under(span, &SAID)?;
    for (name, attributes) in &span.events {
        from_event(name, attributes, &mut given, &mut said)?;
    }
    if given.is_empty() && said.is_empty() {
        return Ok(Said::Nothing);
    }
    let system = span.get("gen_ai.system_instructions").map(|system| texts_of(&entries(system)));
    if let Some(system) = system.filter(|text| !text.is_empty() && !given.iter().any(|m| m["role"] == "system")) {
        given.insert(0, message("system", system));
    }
    // Whoever does not say who speaks is the model.
    said.iter_mut().for_each(|said| drop(said.insert("role".to_owned(), "assistant".into())));
    Ok(Said::ByModel { given, said })
}

fn by_tool(span: &Span) -> Said {
    let first = |names: &[&str]| names.iter().find_map(|name| span.get(name)).cloned();
    Said::ByTool {
        id: first(&["gen_ai.tool.call.id", "tool_call.id", "tool.id"]),
        name: first(&["gen_ai.tool.name", "tool.name", "tool_call.function.name", "traceloop.entity.name"])
            .map(|name| text_of(&name)),
        result: first(&["gen_ai.tool.call.result", "output.value", "traceloop.entity.output"])
            .map(|text| text_of(&text)),
    }
}

/// The tools that a model was offered.
pub(super) fn tools_of(span: &Span) -> Option<Value> {
    let parsed = |value: Value| match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    };
    let of = |value: Value| match value.pointer("/tool/json_schema").cloned() {
        Some(schema) => parsed(schema),
        None => parsed(value),
    };
    let named = ["llm.tools", "gen_ai.tool.definitions", "gen_ai.request.tools"];
    let tools: Vec<Value> = named.iter().find_map(|name| span.get(name)).map(entries)?.into_iter().map(of).collect();
    (!tools.is_empty()).then_some(Value::Array(tools))
}

fn messages_under(span: &Span, names: &[&str]) -> Result<Vec<Row>, String> {
    let mut out = Vec::new();
    let Some(name) = names.iter().find(|name| span.get(name).is_some_and(|list| !entries(list).is_empty())) else {
        return Ok(out);
    };
    let list = span.get(name).map(entries).unwrap_or_default();
    for (k, item) in list.into_iter().enumerate() {
        let Value::Object(item) = item else { continue };
        out.extend(messages_of(item).map_err(|detail| format!("message {k} of `{name}`: {detail}"))?);
    }
    Ok(out)
}

/// The messages of one, whatever convention it follows.
fn messages_of(item: Map<String, Value>) -> Result<Vec<Row>, String> {
    if item.get("parts").is_some_and(Value::is_array) {
        return messages_of_one(item);
    }
    let mut inner = match item.get("message") {
        Some(Value::Object(message)) => message.clone(),
        _ => item,
    };
    let role = inner.shift_remove("role").map(|role| text_of(&role)).unwrap_or_else(|| "user".to_owned());
    let contents = inner.shift_remove("contents").map(|contents| entries(&contents)).unwrap_or_default();
    let content = match inner.shift_remove("content") {
        Some(Value::String(text)) => Value::String(text),
        None | Some(Value::Null) if contents.is_empty() => Value::Null,
        None | Some(Value::Null) => texts_of(&contents).into(),
        Some(other) => {
            let texts = texts_of(&entries(&other));
            if texts.is_empty() { text_of(&other).into() } else { texts.into() }
        }
    };
    let mut out = message(role_of(&role), content);
    let thoughts: String = contents.iter().filter_map(thought_of).collect();
    if !thoughts.is_empty() {
        out.insert("reasoning_content".to_owned(), thoughts.into());
    }
    out.extend(
        ["reasoning_content", "reasoning"]
            .iter()
            .find_map(|name| inner.shift_remove(*name).filter(Value::is_string))
            .map(|text| ("reasoning_content".to_owned(), text)),
    );
    let calls: Vec<Value> = inner.shift_remove("tool_calls").map(|calls| entries(&calls)).unwrap_or_default();
    let calls: Vec<Value> = calls.iter().map(call_of).collect();
    if !calls.is_empty() {
        out.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    for (name, native) in [("tool_call_id", "tool_call_id"), ("id", "tool_call_id"), ("name", "name")] {
        if out["role"] == "tool" && !out.contains_key(native) {
            out.extend(inner.shift_remove(name).filter(Value::is_string).map(|value| (native.to_owned(), value)));
        }
    }
    inner.retain(|_, value| !value.is_null());
    keep_rest(&mut out, [inner]);
    Ok(vec![out])
}

/// A call, under whatever names.
fn call_of(given: &Value) -> Value {
    let inner = given.get("tool_call").unwrap_or(given);
    let function = inner.get("function").unwrap_or(inner);
    let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
    let arguments = function.get("arguments").or_else(|| function.get("args")).cloned().unwrap_or_default();
    call(inner.get("id").cloned(), name, &arguments)
}

fn content_part(part: &Value) -> &Value {
    part.get("message_content").unwrap_or(part)
}

fn is_thought(part: &Value) -> bool {
    let of_type = part.get("type").and_then(Value::as_str);
    of_type.is_some_and(|of_type| matches!(of_type, "reasoning" | "thinking"))
}

fn thought_of(part: &Value) -> Option<&str> {
    let part = content_part(part);
    is_thought(part).then(|| part.get("text").or_else(|| part.get("content"))?.as_str()).flatten()
}

/// The texts of parts, one after another.
fn texts_of(parts: &[Value]) -> String {
    let text = |part: &Value| {
        let part = content_part(part);
        let text = part.as_str().or_else(|| part.get("text").or_else(|| part.get("content"))?.as_str())?;
        (!is_thought(part)).then(|| text.to_owned())
    };
    parts.iter().filter_map(text).collect()
}

/// Events of earlier versions: one for each message.
fn from_event(
    name: &str,
    attributes: &Map<String, Value>,
    given: &mut Vec<Row>,
    said: &mut Vec<Row>,
) -> Result<(), String> {
    let in_event = |detail| format!("event `{name}`: {detail}");
    for (source, out) in [(GIVEN, &mut *given), (SAID, &mut *said)] {
        for list in source.iter().filter_map(|name| at(attributes, name)) {
            for item in entries(list).into_iter().filter_map(|item| item.as_object().cloned()) {
                out.extend(messages_of(item).map_err(in_event)?);
            }
        }
    }
    let Some(role) = name.strip_prefix("gen_ai.").and_then(|name| name.strip_suffix(".message")) else {
        if name == "gen_ai.choice" {
            said.extend(messages_of(with_parsed(attributes)).map_err(in_event)?);
        }
        return Ok(());
    };
    let mut item = with_parsed(attributes);
    item.entry("role").or_insert_with(|| role.into());
    given.extend(messages_of(item).map_err(in_event)?);
    Ok(())
}

/// The attributes of an event; what it holds as JSON is read.
fn with_parsed(attributes: &Map<String, Value>) -> Map<String, Value> {
    let mut out = attributes.clone();
    for name in ["message", "tool_calls"] {
        if let Some(parsed) = out.get(name).and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok()) {
            out.insert(name.to_owned(), parsed);
        }
    }
    out
}
