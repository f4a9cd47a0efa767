//! Messages of parts under other names than Anthropic's (AI SDK and what is built on it), and Gemini's `contents`.
//!
//! Owns the row; what a part is called is [`super::parts`]'s.

use serde_json::{Value, json};

use super::form::{Consumed, Form, Need};
use super::messages::joined;
use super::native::{Row, kind, message, take_objects, with_messages};
use super::parts::{any_has_parts, messages_of_one};

pub(super) static FORM: Form = Form {
    signs: &[
        "\"tool-call\"",
        "\"tool-result\"",
        "\"tool-invocation\"",
        "\"dynamic-tool\"",
        "\"toolCallId\"",
        "\"toolCall\"",
        "\"tool_call_response\"",
        "\"functionCall\"",
    ],
    ..Form::new(
        "parts",
        "`messages` of parts (`tool-call`, `tool-result`, `tool_call`, ...): AI SDK and programs that use it; `isError` is the data's label",
        &[Need::any(&["messages"], "messages with a part `tool-call` or `tool-result`", any_has_parts)],
        |row| Ok(vec![convert(row, "messages")?]),
        Consumed::These(&["messages", "system"]),
    )
};

pub(super) static GEMINI: Form = Form::new(
    "gemini",
    "`contents` of role and parts (`functionCall`, `functionResponse`): Gemini's API",
    &[Need::any(&["contents"], "a list of objects with `parts`", |contents| {
        contents.as_array().is_some_and(|all| all.iter().any(|content| content.get("parts").is_some()))
    })],
    |row| Ok(vec![convert(row, "contents")?]),
    Consumed::These(&["contents", "systemInstruction", "system_instruction"]),
);

fn convert(mut row: Row, name: &'static str) -> Result<Row, String> {
    let given = take_objects(&mut row.clone(), name)?;
    let mut out = Vec::new();
    let mut replaced = vec![name];
    for system in ["system", "systemInstruction", "system_instruction"] {
        if let Some(said) = row.get(system).filter(|said| !said.is_null()) {
            out.push(message("system", system_text(said, system)?));
            replaced.push(system);
        }
    }
    for (k, item) in given.into_iter().enumerate() {
        out.extend(messages_of_one(item).map_err(|detail| format!("message {k} of `{name}`: {detail}"))?);
    }
    row.insert(name.to_owned(), Value::Null);
    with_messages(row, &replaced, out)
}

/// What the system's message says; Gemini's is made of parts.
fn system_text(said: &Value, name: &str) -> Result<String, String> {
    match said {
        Value::String(text) => Ok(text.clone()),
        _ => {
            let parts = said.get("parts").unwrap_or(said);
            let parts = if parts.is_object() { json!([parts]) } else { parts.clone() };
            let text = joined(&parts).filter(|(_, rest)| rest.is_none()).map(|(text, _)| text);
            text.ok_or_else(|| format!("`{name}` is {}, expected text or parts of text", kind(Some(said))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geminis_contents_are_messages() {
        let Value::Object(row) = json!({"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [
            {"role": "user", "parts": [{"text": "q"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"error": "no"}}}]}], "reward": 1})
        else {
            panic!()
        };
        assert!(GEMINI.is_met(&row) && !FORM.is_met(&row));
        let found = convert(row, "contents").expect("a row");
        let messages = found["messages"].as_array().expect("a list");
        let roles: Vec<_> = messages.iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool"]);
        assert_eq!((&messages[3]["is_error"], &found["reward"]), (&json!(true), &json!(1)));
        assert!(!found.contains_key("contents") && !found.contains_key("systemInstruction"));
    }

    #[test]
    fn messages_of_the_ai_sdk_are_read() {
        let Value::Object(row) = json!({"messages": [{"role": "user", "content": "q"},
            {"role": "assistant", "content": [{"type": "text", "text": "See."},
                {"type": "tool-call", "toolCallId": "a", "toolName": "f", "input": {}}]},
            {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "a", "toolName": "f",
                "output": {"type": "text", "value": "3"}}]}]})
        else {
            panic!()
        };
        assert!(FORM.is_met(&row));
        let found = convert(row, "messages").expect("a row");
        assert_eq!((&found["messages"][2]["role"], &found["messages"][2]["content"]), (&json!("tool"), &json!("3")));
    }
}
