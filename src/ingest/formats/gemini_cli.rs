//! Gemini CLI's sessions: a document with `messages`, or lines that are a header, messages, and changes of both.
//!
//! Owns the putting together: a message that is written again replaces the earlier one of its id, `$rewindTo` takes back a message
//! and all behind it, `$set` changes the header or replaces all messages. Calls hold their results. What a part is called is
//! [`super::parts`]'s.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::native::{Row, keep_rest, kind, take_objects, take_text, text_of};
use super::parts::{answer_of, messages_of_parts};

pub(super) static FORM: Form = Form {
    gather: Some(gather),
    ..Form::new(
        "gemini-cli",
        "Sessions of Gemini CLI (`sessionId`, `projectHash`; messages of `type` user and gemini); `status` is the data's label",
        &[
            Need::any(&["sessionId", "id"], "text", Value::is_string),
            Need::any(&["projectHash", "toolCalls", "thoughts"], "text or a list", |said| {
                said.is_string() || said.is_array()
            }),
            Need::any(&["messages", "startTime", "type"], "a list, a time or `gemini`", |said| {
                said.is_array() || said.as_str().is_some_and(|said| said == "gemini" || said.contains(':'))
            }),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

/// The sessions: each begins with its header.
fn gather(records: Vec<Row>) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    for mut record in records {
        if record.contains_key("projectHash") {
            record.entry("messages").or_insert_with(|| Value::Array(Vec::new()));
            out.push(record);
            continue;
        }
        if out.is_empty() {
            out.push(Row::from_iter([("messages".to_owned(), Value::Array(Vec::new()))]));
        }
        let Some(session) = out.last_mut() else { continue };
        match (record.shift_remove("$set"), record.shift_remove("$rewindTo")) {
            (Some(Value::Object(changes)), _) => session.extend(changes),
            (_, Some(to)) => rewind(session, &to),
            (None | Some(_), None) => add(session, record),
        }
    }
    out
}

fn messages_in(session: &mut Row) -> Option<&mut Vec<Value>> {
    session.get_mut("messages").and_then(Value::as_array_mut)
}

/// Takes back a message and all behind it.
fn rewind(session: &mut Row, to: &Value) {
    let Some(messages) = messages_in(session) else { return };
    let from = messages.iter().position(|message| message.get("id") == Some(to)).unwrap_or_default();
    messages.truncate(from);
}

/// Adds a message, or puts it in the place of the one with its id.
fn add(session: &mut Row, record: Row) {
    let Some(messages) = messages_in(session) else { return };
    let id = record.get("id").cloned();
    match messages.iter_mut().find(|message| id.is_some() && message.get("id") == id.as_ref()) {
        Some(earlier) => *earlier = Value::Object(record),
        None => messages.push(Value::Object(record)),
    }
}

fn convert(mut row: Row) -> Result<Row, String> {
    let (mut messages, mut others): (Vec<Row>, Vec<Value>) = (Vec::new(), Vec::new());
    for (k, item) in take_objects(&mut row, "messages")?.into_iter().enumerate() {
        let role = match item.get("type").and_then(Value::as_str) {
            Some("user") => "user",
            Some("gemini" | "model" | "assistant") => "assistant",
            // Notes for whoever sits there.
            _ => {
                others.push(Value::Object(item));
                continue;
            }
        };
        add_messages(role, item, &mut messages).map_err(|detail| format!("message {k} of `messages`: {detail}"))?;
    }
    let mut out = Row::new();
    out.extend(row.shift_remove("sessionId").filter(Value::is_string).map(|id| ("rollout_id".to_owned(), id)));
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    out.insert("session".to_owned(), Value::String(Value::Object(row).to_string()));
    if !others.is_empty() {
        out.insert("other_records".to_owned(), Value::String(Value::Array(others).to_string()));
    }
    Ok(out)
}

/// Adds the messages of one; an answer that a call already holds is not added again.
fn add_messages(role: &str, mut item: Row, out: &mut Vec<Row>) -> Result<(), String> {
    item.shift_remove("type");
    let mut parts = match item.shift_remove("content") {
        Some(Value::Array(parts)) => parts,
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        None | Some(Value::Null) => Vec::new(),
        Some(part) => vec![part],
    };
    if let Some(thoughts) = item.get("thoughts").and_then(thoughts_of) {
        let text = serde_json::json!({"type": "thinking", "thinking": thoughts});
        parts.insert(0, text);
    }
    let mut calls_rest = Vec::new();
    if item.get("toolCalls").is_some_and(Value::is_array) {
        for (k, call) in take_objects(&mut item, "toolCalls")?.into_iter().enumerate() {
            let (asked, answer, rest) = call_parts(call).map_err(|detail| format!("call {k}: {detail}"))?;
            parts.push(asked);
            parts.extend(answer);
            calls_rest.push(Value::Object(rest));
        }
    }
    let beside = Row::from_iter([("toolCalls".to_owned(), Value::Array(calls_rest))]);
    let mut made = messages_of_parts(role, Value::Array(parts), Row::new())?;
    let is_known = |said: &Row| {
        let id = said.get("tool_call_id").filter(|id| !id.is_null());
        id.is_some() && out.iter().any(|earlier| earlier.get("tool_call_id") == id)
    };
    made.retain(|said| !is_known(said));
    if let Some(first) = made.first_mut() {
        keep_rest(first, [item, beside]);
    }
    out.extend(made);
    Ok(())
}

/// Subjects and descriptions of thoughts, as Gemini CLI shows them.
fn thoughts_of(thoughts: &Value) -> Option<String> {
    let said = |thought: &Value| {
        let of = |name: &str| thought.get(name).and_then(Value::as_str).unwrap_or_default();
        match (of("subject"), of("description")) {
            ("", text) => text.to_owned(),
            (subject, "") => format!("**{subject}**"),
            (subject, text) => format!("**{subject}** {text}"),
        }
    };
    let texts: Vec<String> = thoughts.as_array()?.iter().map(said).filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// A call, what came of it, and what else is said of it.
fn call_parts(mut call: Row) -> Result<(Value, Option<Value>, Row), String> {
    let id = call.shift_remove("id").unwrap_or_default();
    let name = take_text(&mut call, "name")?;
    let args = call.shift_remove("args").unwrap_or_default();
    let asked = serde_json::json!({"type": "tool_use", "id": id, "name": name, "input": args});
    let status = call.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_error = matches!(status.as_str(), "error" | "cancelled").then_some(true);
    let answer = match call.shift_remove("result") {
        None | Some(Value::Null) if is_error.is_some() => {
            let shown = call.get("resultDisplay").filter(|shown| shown.is_string()).map(text_of);
            Some(answer_of(id, shown.unwrap_or_default().into(), is_error))
        }
        None | Some(Value::Null) => None,
        Some(result) => Some(answered_by(id, result, is_error)?),
    };
    Ok((asked, answer, call))
}

/// The answer in a list of parts, or in what stands in its place.
fn answered_by(id: Value, result: Value, is_error: Option<bool>) -> Result<Value, String> {
    let parts = match result {
        Value::Array(parts) => parts,
        one => vec![one],
    };
    let response = parts.iter().find_map(|part| part.get("functionResponse")?.get("response"));
    if let Some(response) = response {
        return Ok(answer_of(id, response.clone(), is_error));
    }
    let text = |part: &Value| match part {
        Value::String(text) => Ok(text.clone()),
        Value::Object(part) => Ok(part.get("text").map_or_else(|| Value::Object(part.clone()).to_string(), text_of)),
        other => Err(format!("`result` holds {}, expected parts", kind(Some(other)))),
    };
    let texts = parts.iter().map(text).collect::<Result<Vec<String>, String>>()?;
    Ok(answer_of(id, texts.concat().into(), is_error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(records: Value) -> Vec<Value> {
        let Value::Array(records) = records else { panic!("records are a list") };
        let records = records.into_iter().map(|r| r.as_object().cloned().expect("an object")).collect();
        gather(records).into_iter().map(|r| Value::Object(convert(r).expect("a row"))).collect()
    }

    fn turn(id: &str, text: &str, status: &str, response: Value) -> Value {
        let result = json!([{"functionResponse": {"id": "c", "name": "f", "response": response}}]);
        json!({"id": id, "timestamp": "2026-01-02T03:04:05Z", "type": "gemini", "content": text, "thoughts": [
            {"subject": "Plan", "description": "Look."}],
            "toolCalls": [{"id": format!("c{id}"), "name": "f", "args": {}, "status": status, "result": result, "timestamp": "t"}]})
    }

    #[test]
    fn lines_and_the_document_are_the_same_session() {
        let header = json!({"sessionId": "s", "projectHash": "h", "startTime": "2026-01-02T03:04:05Z"});
        let user = json!({"id": "0", "timestamp": "t", "type": "user", "content": [{"text": "q"}]});
        let (first, second) =
            (turn("1", "See.", "error", json!({"error": "no"})), turn("2", "", "success", json!({"output": "3"})));
        let note = json!({"id": "9", "type": "info", "content": "Update available"});
        let mut document = header.clone();
        document["messages"] = json!([user, first, note, second]);
        let of_document = converted(json!([document]));
        let of_lines = converted(json!([header, user, turn("1", "half", "executing", json!({})), first, note,
            turn("8", "x", "success", json!({})), {"$rewindTo": "8"}, second]));
        assert_eq!(of_document, of_lines);
        let messages = of_lines[0]["messages"].as_array().expect("a list");
        let roles: Vec<_> = messages.iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "assistant", "tool"]);
        assert_eq!((&messages[2]["content"], &messages[2]["is_error"]), (&json!("no"), &json!(true)));
        assert_eq!((&messages[4]["content"], messages[4].get("is_error")), (&json!("3"), None));
        assert_eq!(messages[1]["reasoning_content"], "**Plan** Look.");
        assert!(of_lines[0]["other_records"].as_str().expect("text").contains("Update available"));
    }

    #[test]
    fn damaged_calls_are_named() {
        let row = json!({"messages": [{"type": "gemini", "content": "", "toolCalls": [{"name": 7}]}]});
        let refused = convert(row.as_object().cloned().expect("an object")).expect_err("it is damaged");
        assert_eq!(refused, "message 0 of `messages`: call 0: `name` is a number, expected text");
    }
}
