//! ShareGPT, as LLaMA-Factory reads it: `conversations` of `from` and `value`.
//!
//! Owns the names of its speakers. A `function_call` is an assistant's call (its value is JSON of `name` and `arguments`, or
//! a list of such); an `observation` is what the tool said.

use serde_json::Value;

use super::{Row, call, kind, message, text, with_messages};

const FIELD: &str = "conversations";

pub(super) fn is_row(row: &Row) -> bool {
    let first = row.get(FIELD).and_then(Value::as_array).and_then(|all| all.first());
    first.is_some_and(|m| m.get("from").is_some() && m.get("value").is_some())
}

pub(super) fn convert(row: Row) -> Result<Row, String> {
    let mut out: Vec<Row> = Vec::new();
    // Beside the turns, not among them.
    if let Some(system) = row.get("system").and_then(Value::as_str).filter(|s| !s.is_empty()) {
        out.push(message("system", system));
    }
    for (k, turn) in super::objects(&row, FIELD)?.into_iter().enumerate() {
        let at = |detail: String| format!("turn {k} of `{FIELD}`: {detail}");
        let (from, value) = (text(turn, "from").map_err(at)?, text(turn, "value").map_err(at)?);
        let role = match from {
            "human" | "user" => "user",
            "gpt" | "assistant" | "model" => "assistant",
            "system" => "system",
            "observation" | "tool" | "function_response" => "tool",
            "function_call" => {
                let calls = calls(value).map_err(at)?;
                // What the assistant said right before belongs to the same message.
                let before =
                    out.pop_if(|m| m.get("role").is_some_and(|r| r == "assistant") && !m.contains_key("tool_calls"));
                let mut asked = before.unwrap_or_else(|| message("assistant", Value::Null));
                asked.insert("tool_calls".to_owned(), Value::Array(calls));
                out.push(asked);
                continue;
            }
            other => {
                let known = "human, gpt, function_call, observation or system";
                return Err(at(format!("`from` is `{}`, expected {known}", other.escape_debug())));
            }
        };
        out.push(message(role, value));
    }
    Ok(with_messages(row, &[FIELD, "system"], out))
}

/// The calls of a `function_call` turn; text that is no JSON is one call without a name, as the model wrote it.
fn calls(value: &str) -> Result<Vec<Value>, String> {
    let one = |item: &Value| {
        let item = item.as_object().ok_or_else(|| format!("a call is {}, expected an object", kind(Some(item))))?;
        let arguments = item.get("arguments").unwrap_or(&Value::Null);
        Ok(call(item.get("id"), text(item, "name")?, arguments))
    };
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Array(items)) => items.iter().map(one).collect(),
        Ok(item @ Value::Object(_)) => Ok(vec![one(&item)?]),
        Ok(_) | Err(_) => Ok(vec![call(None, "", &Value::String(value.to_owned()))]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Result<Value, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        convert(row).map(Value::Object)
    }

    #[test]
    fn turns_become_messages_and_a_call_joins_what_was_said_before_it() {
        let row = json!({"id": 7, "conversations": [
            {"from": "human", "value": "q"}, {"from": "gpt", "value": "Let me see."},
            {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
            {"from": "observation", "value": "2"}, {"from": "gpt", "value": "two"}], "system": "s", "tools": "[]"});
        let expected = json!({"id": 7, "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "q"},
            {"role": "assistant", "content": "Let me see.", "tool_calls":
                [{"id": null, "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "content": "2"}, {"role": "assistant", "content": "two"}], "tools": "[]"});
        assert_eq!(converted(row), Ok(expected));
    }

    #[test]
    fn arguments_that_are_text_stay_byte_for_byte() {
        let value = json!({"name": "f", "arguments": "{\"x\":  1,}"}).to_string();
        let row = json!({"conversations": [{"from": "function_call", "value": value}]});
        let found = converted(row).expect("it is a row");
        assert_eq!(found["messages"][0]["tool_calls"][0]["function"]["arguments"], "{\"x\":  1,}");
        assert!(found["messages"][0]["content"].is_null());
    }

    #[test]
    fn call_that_is_no_json_is_kept_as_the_model_wrote_it() {
        let row = json!({"conversations": [{"from": "function_call", "value": "f(x=1"}]});
        let found = converted(row).expect("it is a row");
        let function = &found["messages"][0]["tool_calls"][0]["function"];
        assert_eq!((&function["name"], &function["arguments"]), (&json!(""), &json!("f(x=1")));
    }

    #[test]
    fn unknown_speaker_is_named() {
        let row = json!({"conversations": [{"from": "critic\u{1b}", "value": "x"}]});
        let expected = "turn 0 of `conversations`: `from` is `critic\\u{1b}`, expected human, gpt, function_call, observation or system";
        assert_eq!(converted(row), Err(expected.to_owned()));
    }
}
