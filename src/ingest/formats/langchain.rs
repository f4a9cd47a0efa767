//! LangChain's and LangGraph's messages: `type` human, ai, tool or system in place of a role, calls with `args`.
//!
//! Owns their fields, as `messages_to_dict` and `model_dump` write them. A tool's `status` is the data's own label.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::take_content;
use super::native::{Row, call, keep_rest, kind, message, put_back, take_objects, take_text, with_messages};

pub(super) static FORM: Form = Form {
    signs: &["\"human\"", "\"ai\"", "\"HumanMessage\"", "\"AIMessage\""],
    ..Form::new(
        "langchain",
        "`messages` of type human, ai and tool: LangChain and LangGraph; `status` is the data's label",
        &[Need::any(&["messages"], "messages with `type` human or ai in place of a role", |messages| {
            messages.as_array().is_some_and(|all| all.iter().any(is_message))
        })],
        |row| Ok(vec![convert(row)?]),
        Consumed::These(&["messages"]),
    )
};

fn is_message(message: &Value) -> bool {
    let is_typed = message.get("type").and_then(Value::as_str).and_then(role_of).is_some();
    is_typed && message.get("role").is_none() && (message.get("content").is_some() || message.get("data").is_some())
}

fn role_of(of_type: &str) -> Option<&'static str> {
    Some(match of_type {
        "human" | "HumanMessage" | "HumanMessageChunk" => "user",
        "ai" | "AIMessage" | "AIMessageChunk" => "assistant",
        "tool" | "ToolMessage" | "function" | "FunctionMessage" => "tool",
        "system" | "SystemMessage" => "system",
        _ => return None,
    })
}

fn convert(mut row: Row) -> Result<Row, String> {
    let given = row.get_mut("messages").map(Value::take).unwrap_or_default();
    let given = take_objects(&mut Row::from_iter([("messages".to_owned(), given)]), "messages")?;
    let mut out = Vec::new();
    for (k, item) in given.into_iter().enumerate() {
        out.push(message_of(item).map_err(|detail| format!("message {k} of `messages`: {detail}"))?);
    }
    with_messages(row, &["messages"], out)
}

fn message_of(mut item: Row) -> Result<Row, String> {
    let of_type = match item.contains_key("type") {
        true => take_text(&mut item, "type")?,
        false => take_text(&mut item, "role")?,
    };
    // `messages_to_dict` puts all but the type one level deeper.
    if let Some(Value::Object(data)) = item.get_mut("data").filter(|data| data.is_object()) {
        let mut data = std::mem::take(data);
        item.shift_remove("data");
        data.shift_remove("type");
        item.extend(data);
    }
    let known = "human, ai, tool or system";
    let role = role_of(&of_type)
        .or_else(|| ["user", "assistant", "developer"].into_iter().find(|role| *role == of_type))
        .ok_or_else(|| format!("`type` is `{}`, expected {known}", of_type.escape_debug()))?;
    let mut said = message(role, take_content(&mut item, "content")?);
    said.extend(calls(&mut item)?.map(|calls| ("tool_calls".to_owned(), calls)));
    if role == "tool" {
        said.extend(item.shift_remove_entry("tool_call_id"));
        if let Some(is_error) = item.get("status").and_then(Value::as_str).and_then(is_error) {
            said.insert("is_error".to_owned(), Value::Bool(is_error));
        }
    }
    said.extend(item.shift_remove_entry("name").filter(|(_, name)| name.is_string()));
    keep_rest(&mut said, [item]);
    Ok(said)
}

/// `success` stands wherever nobody has said otherwise: it is no label.
fn is_error(status: &str) -> Option<bool> {
    (status == "error").then_some(true)
}

/// Calls, and those whose arguments LangChain could not read.
fn calls(item: &mut Row) -> Result<Option<Value>, String> {
    let mut out = Vec::new();
    for (name, are_typed) in [("tool_calls", "tool_call"), ("invalid_tool_calls", "invalid_tool_call")] {
        if item.get(name).is_none_or(Value::is_null) {
            continue;
        }
        let mut rest = Vec::new();
        for (k, mut asked) in take_objects(item, name)?.into_iter().enumerate() {
            let named = match asked.shift_remove("name") {
                Some(Value::String(name)) => name,
                None | Some(Value::Null) => String::new(),
                other => return Err(format!("call {k}: `name` is {}, expected text", kind(other.as_ref()))),
            };
            let arguments = asked.shift_remove("args").unwrap_or_default();
            out.push(call(asked.shift_remove("id"), &named, &arguments));
            if asked.get("type").is_some_and(|of_type| of_type == are_typed) {
                asked.shift_remove("type");
            }
            rest.push(Value::Object(asked));
        }
        put_back(item, name, Value::Array(rest));
    }
    Ok((!out.is_empty()).then_some(Value::Array(out)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(messages: Value) -> Result<Value, String> {
        let Value::Object(row) = json!({"messages": messages}) else { panic!("a row is an object") };
        convert(row).map(|row| row["messages"].clone())
    }

    #[test]
    fn types_become_roles_and_status_a_label() {
        let found = converted(json!([
            {"type": "human", "content": "q", "additional_kwargs": {}},
            {"type": "ai", "content": "", "tool_calls": [{"name": "f", "args": {"x": 1}, "id": "a", "type": "tool_call"}],
             "usage_metadata": {"input_tokens": 3}},
            {"type": "tool", "content": "no", "name": "f", "tool_call_id": "a", "status": "error"},
            {"type": "ai", "data": {"content": "done", "type": "ai"}}]));
        let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}});
        let expected = json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "", "tool_calls": [call],
             "other_fields": "{\"usage_metadata\":{\"input_tokens\":3}}"},
            {"role": "tool", "content": "no", "tool_call_id": "a", "is_error": true, "name": "f",
             "other_fields": "{\"status\":\"error\"}"},
            {"role": "assistant", "content": "done"}]);
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn other_types_and_damaged_calls_are_named() {
        let refused = |message: Value| converted(json!([message])).expect_err("it is damaged");
        assert_eq!(
            refused(json!({"type": "robot", "content": ""})),
            "message 0 of `messages`: `type` is `robot`, expected human, ai, tool or system"
        );
        assert_eq!(
            refused(json!({"type": "ai", "content": "", "tool_calls": [{"name": 7}]})),
            "message 0 of `messages`: call 0: `name` is a number, expected text"
        );
    }
}
