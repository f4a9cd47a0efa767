//! Anthropic's messages: `messages` whose content is blocks, `tool_use` and `tool_result` among them, and `system` beside them.
//!
//! Owns the row; its blocks are [`super::blocks`]'s.

use serde_json::Value;

use super::blocks::{any_has_blocks, messages_of};
use super::form::{Consumed, Form, Need};
use super::messages::joined;
use super::native::{Row, keep_rest, kind, message, take_objects, take_text, with_messages};

pub(super) static FORM: Form = Form {
    signs: &["\"tool_use\"", "\"tool_result\"", "\"thinking\"", "\"redacted_thinking\"", "\"server_tool_use\""],
    ..Form::new(
        "anthropic",
        "`messages` of blocks (`tool_use`, `tool_result`, `thinking`): Anthropic's API; `is_error` is the data's label",
        &[Need::any(&["messages"], "messages with a block `tool_use` or `tool_result`", any_has_blocks)],
        |row| Ok(vec![convert(row)?]),
        Consumed::These(&["messages", "system"]),
    )
};

fn convert(mut row: Row) -> Result<Row, String> {
    let given = row.get_mut("messages").map(Value::take).unwrap_or_default();
    let given = take_objects(&mut Row::from_iter([("messages".to_owned(), given)]), "messages")?;
    let mut out = Vec::new();
    let replaced: &[&str] = match row.get("system") {
        Some(system @ (Value::String(_) | Value::Array(_))) => {
            out.extend(system_of(system.clone())?);
            &["messages", "system"]
        }
        _ => &["messages"],
    };
    for (k, mut item) in given.into_iter().enumerate() {
        let in_place = |detail| format!("message {k} of `messages`: {detail}");
        let role = take_text(&mut item, "role").map_err(in_place)?;
        let content = item.shift_remove("content").unwrap_or_default();
        out.extend(messages_of(&role, content, item).map_err(in_place)?);
    }
    with_messages(row, replaced, out)
}

/// The system's message; nothing where it says nothing.
fn system_of(system: Value) -> Result<Option<Row>, String> {
    Ok(match joined(&system) {
        _ if system.as_str().is_some_and(str::is_empty) => None,
        Some((text, rest)) => {
            let mut said = message("system", text);
            keep_rest(&mut said, [Row::from_iter(rest.map(|rest| ("content".to_owned(), rest)))]);
            Some(said)
        }
        None if system.is_string() => Some(message("system", system)),
        None => return Err(format!("`system` is {}, expected text or blocks of text", kind(Some(&system)))),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Result<Value, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        assert!(FORM.is_met(&row), "it is recognised");
        convert(row).map(Value::Object)
    }

    #[test]
    fn blocks_become_messages_with_calls_answers_and_the_datas_own_label() {
        let row = json!({"system": "Be good.", "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "See."},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "is_error": true, "content": "no"},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "3"}]},
                {"type": "text", "text": "Go on."}]}], "reward": 1});
        let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let rest = r#"{"content":[{"type":"thinking","signature":"s"},{"type":"text"},{"type":"tool_use"},{"type":"tool_use"}]}"#;
        let expected = json!([
            {"role": "system", "content": "Be good."}, {"role": "user", "content": "q"},
            {"role": "assistant", "content": "See.", "reasoning_content": "Hm.",
             "tool_calls": [call("a", "f", "{\"x\":1}"), call("b", "g", "{}")], "other_fields": rest},
            {"role": "tool", "content": "no", "tool_call_id": "a", "is_error": true},
            {"role": "tool", "content": "3", "tool_call_id": "b"}, {"role": "user", "content": "Go on."}]);
        assert_eq!(converted(row).expect("a row")["messages"], expected);
    }

    #[test]
    fn usual_order_of_blocks_is_said_by_the_message_alone() {
        let row = json!({"messages": [{"role": "assistant", "content": [
            {"type": "text", "text": "See."}, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]}]});
        assert!(converted(row).expect("a row")["messages"][0].get("other_fields").is_none());
    }

    #[test]
    fn damaged_blocks_are_refused_with_what_is_wrong() {
        let refused = |blocks: Value| {
            let Value::Object(row) = json!({"messages": [{"role": "user", "content": blocks}]}) else { panic!() };
            convert(row).expect_err("it is damaged")
        };
        assert_eq!(refused(json!(7)), "message 0 of `messages`: `content` is a number, expected text or blocks");
        assert_eq!(refused(json!([7])), "message 0 of `messages`: block 0 is a number, expected an object");
        assert_eq!(
            refused(json!([{"type": "tool_result", "content": 7}])),
            "message 0 of `messages`: block 0: `content` is a number, expected text or parts"
        );
    }
}
