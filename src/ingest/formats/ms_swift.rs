//! ms-swift's messages: roles `tool_call`, whose content is the call as JSON, and `tool_response`.
//!
//! Owns these roles. Calls that follow each other are one message, together with what the assistant said right before them.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::settle;
use super::native::{LOSS, Row, keep_rest, message, take_objects, take_text, text, with_messages};
use super::sharegpt::calls;

pub(super) static FORM: Form = Form {
    signs: &["\"tool_call\"", "\"tool_response\"", "\"tool_responses\"", "\"tool-call\"", "\"tool-response\""],
    ..Form::new(
        "ms-swift",
        "`messages` with roles `tool_call` and `tool_response`: ms-swift",
        &[Need::any(&["messages"], "messages with the role `tool_call`", |messages| {
            let is_call = |message: &Value| message.get("role").and_then(Value::as_str).is_some_and(is_of_tool);
            messages.as_array().is_some_and(|all| all.iter().any(is_call))
        })],
        |row| Ok(vec![convert(row)?]),
        Consumed::These(&["messages"]),
    )
};

fn is_of_tool(role: &str) -> bool {
    is_call(role) || is_answer(role)
}

fn is_call(role: &str) -> bool {
    matches!(role, "tool_call" | "tool-call")
}

fn is_answer(role: &str) -> bool {
    matches!(role, "tool_response" | "tool_responses" | "tool-response")
}

fn convert(mut row: Row) -> Result<Row, String> {
    let given = row.get_mut("messages").map(Value::take).unwrap_or_default();
    let given = take_objects(&mut Row::from_iter([("messages".to_owned(), given)]), "messages")?;
    let mut out: Vec<Row> = Vec::new();
    for (k, item) in given.into_iter().enumerate() {
        add(item, &mut out).map_err(|detail| format!("message {k} of `messages`: {detail}"))?;
    }
    with_messages(row, &["messages"], out)
}

fn add(mut item: Row, out: &mut Vec<Row>) -> Result<(), String> {
    settle(&mut item)?;
    let role = text(&item, "role")?.to_owned();
    if is_answer(&role) {
        item.insert("role".to_owned(), Value::from("tool"));
    }
    if !is_call(&role) {
        out.push(item);
        return Ok(());
    }
    item.shift_remove("role");
    let (asked, rest) = calls(take_text(&mut item, "content")?)?;
    let loss = item.shift_remove(LOSS);
    let is_open = |message: &Row| {
        message.get("role").is_some_and(|role| role == "assistant") && message.get(LOSS) == loss.as_ref()
    };
    let mut asking = out.pop_if(|said| is_open(said)).unwrap_or_else(|| {
        let mut begun = message("assistant", Value::Null);
        begun.extend(loss.clone().map(|loss| (LOSS.to_owned(), loss)));
        begun
    });
    match asking.get_mut("tool_calls").and_then(Value::as_array_mut) {
        Some(calls) => calls.extend(asked),
        None => drop(asking.insert("tool_calls".to_owned(), Value::Array(asked))),
    }
    keep_rest(&mut asking, rest.into_iter().chain([item]));
    out.push(asking);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_join_what_was_said_before_them_and_answers_are_the_tools() {
        let Value::Object(row) = json!({"messages": [
            {"role": "user", "content": "q"}, {"role": "assistant", "content": "See."},
            {"role": "tool_call", "content": "{\"name\": \"f\", \"arguments\": {\"x\":  1}}"},
            {"role": "tool_call", "content": "{\"name\": \"g\", \"arguments\": {}}"},
            {"role": "tool_response", "content": "1"}, {"role": "tool_response", "content": "2"},
            {"role": "tool_call", "content": "no JSON"}]})
        else {
            panic!()
        };
        assert!(FORM.is_met(&row));
        let found = convert(row).expect("a row");
        let call = |name: Value, arguments: &str| json!({"id": null, "type": "function", "function": {"name": name, "arguments": arguments}});
        let expected = json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "See.",
             "tool_calls": [call(json!("f"), "{\"x\":  1}"), call(json!("g"), "{}")]},
            {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"},
            {"role": "assistant", "content": null, "tool_calls": [call(json!(null), "no JSON")]}]);
        assert_eq!(found["messages"], expected);
    }

    #[test]
    fn call_that_is_no_text_is_refused() {
        let Value::Object(row) = json!({"messages": [{"role": "tool_call", "content": 7}]}) else { panic!() };
        let refused = convert(row).expect_err("it is damaged");
        assert_eq!(refused, "message 0 of `messages`: `content` is a number, expected text");
    }
}
