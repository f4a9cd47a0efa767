//! opencode's sessions: what `opencode export` writes, and the events of `opencode run --format json`.
//!
//! Owns which parts make up a message: those under it, or those of events that name it. A call holds what came of it in its
//! `state`. What a part is called is [`super::parts`]'s.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::native::{Row, keep_rest, kind, take_objects, take_text};
use super::parts::messages_of_parts;

/// Parts that a user says; others are notes on files and the like.
const TEXT: &str = "text";

pub(super) static FORM: Form = Form::new(
    "opencode",
    "`messages` of `info` and `parts`: what `opencode export` writes; `state.status` is the data's label",
    &[Need::any(&["messages"], "messages of `info` and `parts`", |messages| {
        messages.as_array().is_some_and(|all| all.iter().any(is_message))
    })],
    |row| Ok(vec![convert(row)?]),
    Consumed::All,
);

pub(super) static EVENTS: Form = Form {
    gather: Some(gather),
    ..Form::new(
        "opencode-events",
        "Events of `opencode run --format json` (`type`, `sessionID`, `part`); `state.status` is the data's label",
        &[
            Need::any(&["sessionID"], "text", Value::is_string),
            Need::any(&["part"], "an object with `messageID`", |part| part.get("messageID").is_some()),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

fn is_message(message: &Value) -> bool {
    message.get("info").and_then(|info| info.get("role")).is_some() && message.get("parts").is_some_and(Value::is_array)
}

/// A row as `opencode export` writes it for each session that has events. A part that is told of again replaces itself.
fn gather(records: Vec<Row>) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    for mut record in records {
        let id = record.get("sessionID").cloned().unwrap_or_default();
        let part = record.shift_remove("part").filter(|part| part.get("messageID").is_some());
        if !out.iter().any(|session| session.get("session") == Some(&id)) {
            let lists = ["messages", "events"].map(|name| (name.to_owned(), Value::Array(Vec::new())));
            out.push(Row::from_iter([("session".to_owned(), id.clone())].into_iter().chain(lists)));
        }
        let Some(session) = out.iter_mut().find(|session| session.get("session") == Some(&id)) else { continue };
        let name = if part.is_some() { "messages" } else { "events" };
        let Some(items) = session.get_mut(name).and_then(Value::as_array_mut) else { continue };
        match part {
            None => items.push(Value::Object(record)),
            Some(mut part) => {
                let at = record.shift_remove("timestamp").unwrap_or_default();
                if let Some(part) = part.as_object_mut() {
                    part.entry("timestamp").or_insert(at);
                }
                add_part(items, part);
            }
        }
    }
    out
}

fn add_part(messages: &mut Vec<Value>, part: Value) {
    let of = part.get("messageID").cloned().unwrap_or_default();
    let is_of = |message: &Value| message.pointer("/info/id") == Some(&of);
    if !messages.iter().any(is_of) {
        messages.push(serde_json::json!({"info": {"id": of, "role": "assistant"}, "parts": []}));
    }
    let message = messages.iter_mut().find(|message| message.pointer("/info/id") == Some(&of));
    let Some(parts) = message.and_then(|message| message.get_mut("parts")?.as_array_mut()) else { return };
    match parts.iter_mut().find(|earlier| earlier.get("id").is_some() && earlier.get("id") == part.get("id")) {
        Some(earlier) => *earlier = part,
        None => parts.push(part),
    }
}

fn convert(mut row: Row) -> Result<Row, String> {
    let mut messages = Vec::new();
    for (k, item) in take_objects(&mut row, "messages")?.into_iter().enumerate() {
        messages.extend(messages_of(item).map_err(|detail| format!("message {k} of `messages`: {detail}"))?);
    }
    let mut out = Row::new();
    let id = row.get("info").and_then(|info| info.get("id")).or_else(|| row.get("session")).cloned();
    out.extend(id.filter(Value::is_string).map(|id| ("rollout_id".to_owned(), id)));
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    out.insert("session".to_owned(), Value::String(Value::Object(row).to_string()));
    Ok(out)
}

fn messages_of(mut item: Row) -> Result<Vec<Row>, String> {
    let mut info = match item.shift_remove("info") {
        Some(Value::Object(info)) => info,
        found => return Err(format!("`info` is {}, expected an object", kind(found.as_ref()))),
    };
    let role = take_text(&mut info, "role")?;
    let mut parts: Vec<Row> = take_objects(&mut item, "parts")?;
    for part in &mut parts {
        // They say what their message says.
        ["sessionID", "messageID"].iter().for_each(|name| drop(part.shift_remove(*name)));
    }
    let mut rest = Row::from_iter([("info".to_owned(), Value::Object(info))]);
    rest.extend(item);
    if role == "user" {
        let is_text = |part: &Row| part.get("type").is_some_and(|of_type| of_type == TEXT);
        let (texts, others): (Vec<Row>, Vec<Row>) = parts.into_iter().partition(is_text);
        rest.insert("parts".to_owned(), Value::Array(others.into_iter().map(Value::Object).collect()));
        parts = texts;
    }
    let system = rest.get_mut("info").and_then(|info| info.as_object_mut()?.shift_remove("system"));
    let mut out: Vec<Row> =
        system.filter(Value::is_string).map(|text| super::native::message("system", text)).into_iter().collect();
    let parts = Value::Array(parts.into_iter().map(Value::Object).collect());
    let mut said = messages_of_parts(&role, parts, Row::new())?;
    if let Some(first) = said.first_mut() {
        keep_rest(first, [rest]);
    }
    out.extend(said);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(id: &str, state: Value) -> Value {
        json!({"id": format!("prt_{id}"), "sessionID": "ses_1", "messageID": "msg_2", "type": "tool", "callID": id, "tool": "bash", "state": state})
    }

    fn states() -> [Value; 2] {
        let time = json!({"start": 1, "end": 2});
        [
            json!({"status": "error", "input": {"command": "ls /x"}, "error": "no", "time": time}),
            json!({"status": "completed", "input": {"command": "ls"}, "output": "a.txt", "title": "ls", "metadata": {"exit": 0}, "time": time}),
        ]
    }

    #[test]
    fn an_export_and_its_events_are_the_same_turns() {
        let step = |n: u8| json!({"id": format!("prt_s{n}"), "messageID": "msg_2", "type": "step-start"});
        let [failed, done] = states();
        let parts = json!([step(1), tool("a", failed.clone()), step(2), tool("b", done.clone())]);
        let Value::Object(export) = json!({"info": {"id": "ses_1", "title": "t"}, "messages": [
            {"info": {"id": "msg_1", "role": "user", "system": "s"}, "parts": [{"type": "text", "text": "q"}, {"type": "file", "url": "u"}]},
            {"info": {"id": "msg_2", "role": "assistant", "modelID": "m"}, "parts": parts}]})
        else {
            panic!()
        };
        assert!(FORM.is_met(&export));
        let found = convert(export).expect("a row");
        let messages = found["messages"].as_array().expect("a list");
        let roles: Vec<_> = messages.iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant", "tool"]);
        assert_eq!((&messages[3]["is_error"], messages[5].get("is_error")), (&json!(true), None));
        assert_eq!((&messages[5]["content"], &found["rollout_id"]), (&json!("a.txt"), &json!("ses_1")));

        let event =
            |of_type: &str, part: Value| json!({"type": of_type, "timestamp": 1, "sessionID": "ses_1", "part": part});
        let events = [
            event("step_start", step(1)),
            event("tool_use", tool("a", failed)),
            event("step_start", step(2)),
            event("tool_use", tool("b", done)),
            json!({"type": "done", "sessionID": "ses_1"}),
        ];
        let events = events.into_iter().map(|e| e.as_object().cloned().expect("an object")).collect();
        let [row] = gather(events).try_into().expect("one session");
        let of_events = convert(row).expect("a row");
        let roles: Vec<_> =
            of_events["messages"].as_array().expect("a list").iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["assistant", "tool", "assistant", "tool"]);
    }

    #[test]
    fn damaged_messages_are_named() {
        let Value::Object(row) = json!({"messages": [{"info": {"role": "user"}, "parts": 7}]}) else { panic!() };
        assert_eq!(
            convert(row).expect_err("it is damaged"),
            "message 0 of `messages`: `parts` is a number, expected a list"
        );
    }
}
