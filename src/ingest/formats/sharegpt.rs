//! ShareGPT, as LLaMA-Factory reads it: `conversations` of `from` and `value`.
//!
//! Owns the names of its speakers. A `function_call` is an assistant's call (its value is JSON of `name` and `arguments`, or
//! a list of such); an `observation` is what the tool said.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::take_loss;
use super::native::{LOSS, Row, call, keep_rest, kind, message, take_objects, take_text, with_messages};
use crate::batch::json::text::{Place, value as json_value};

const FIELD: &str = "conversations";

pub(super) static FORM: Form = Form::new(
    "sharegpt",
    "`conversations` of from and value (LLaMA-Factory)",
    &[Need::any(&[FIELD], "a list of turns with `from` and `value`", |turns| {
        turns.get(0).is_some_and(|first| first.get("from").is_some() && first.get("value").is_some())
    })],
    |row| Ok(vec![convert(row)?]),
    Consumed::These(&[FIELD, "system"]),
);

/// A message, and what its turns and calls say beside it.
type Turn = (Row, Vec<Row>);

fn convert(mut row: Row) -> Result<Row, String> {
    let mut out: Vec<Turn> = Vec::new();
    // Beside the turns, not among them.
    let beside = row.get("system").and_then(Value::as_str).filter(|s| !s.is_empty());
    let replaced: &[&str] = if beside.is_some() { &[FIELD, "system"] } else { &[FIELD] };
    out.extend(beside.map(|system| (message("system", system), Vec::new())));
    let turns = row.get_mut(FIELD).map(Value::take).unwrap_or_default();
    let turns = take_objects(&mut Row::from_iter([(FIELD.to_owned(), turns)]), FIELD)?;
    for (k, turn) in turns.into_iter().enumerate() {
        add_turn(turn, &mut out).map_err(|detail| format!("turn {k} of `{FIELD}`: {detail}"))?;
    }
    let keep = |(mut message, rest): Turn| {
        keep_rest(&mut message, rest);
        message
    };
    with_messages(row, replaced, out.into_iter().map(keep).collect())
}

fn add_turn(mut turn: Row, out: &mut Vec<Turn>) -> Result<(), String> {
    let (from, value) = (take_text(&mut turn, "from")?, take_text(&mut turn, "value")?);
    let loss = take_loss(&mut turn)?.map(Value::Bool);
    let role = match from.as_str() {
        "human" | "user" => "user",
        "gpt" | "assistant" | "model" => "assistant",
        "system" => "system",
        "observation" | "tool" | "function_response" => "tool",
        "function_call" => {
            let (calls, of_calls) = calls(value)?;
            // What the assistant said right before belongs to the same message, if both are trained on, or neither.
            let is_open = |m: &Row| m.get("role").is_some_and(|r| r == "assistant") && !m.contains_key("tool_calls");
            let before = out.pop_if(|(m, _)| is_open(m) && m.get(LOSS) == loss.as_ref());
            let (mut asked, mut rest) = before.unwrap_or_else(|| (message("assistant", Value::Null), Vec::new()));
            asked.extend(loss.map(|loss| (LOSS.to_owned(), loss)));
            asked.insert("tool_calls".to_owned(), Value::Array(calls));
            rest.push(turn);
            rest.extend(of_calls);
            out.push((asked, rest));
            return Ok(());
        }
        other => {
            let known = "human, gpt, function_call, observation or system";
            return Err(format!("`from` is `{}`, expected {known}", other.escape_debug()));
        }
    };
    let mut said = message(role, value);
    said.extend(loss.map(|loss| (LOSS.to_owned(), loss)));
    out.push((said, vec![turn]));
    Ok(())
}

/// The calls of a `function_call` turn, and what they say beside name and arguments; text that is not JSON is one call
/// without a name, as the model wrote it.
pub(super) fn calls(value: String) -> Result<(Vec<Value>, Vec<Row>), String> {
    // Arguments stay the text that they are within the text.
    let items = match json_value(&value, Place::Call) {
        Ok(Value::Array(items)) => items,
        Ok(item @ Value::Object(_)) => vec![item],
        Ok(_) | Err(_) => return Ok((vec![call(None, "", &Value::String(value))], Vec::new())),
    };
    let (mut calls, mut rest) = (Vec::new(), Vec::new());
    for item in items {
        let Value::Object(mut item) = item else {
            return Err(format!("a call is {}, expected an object", kind(Some(&item))));
        };
        let name = take_text(&mut item, "name")?;
        let arguments = item.shift_remove("arguments").unwrap_or_default();
        calls.push(call(item.shift_remove("id"), &name, &arguments));
        rest.push(item);
    }
    Ok((calls, rest))
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
                [{"id": null, "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
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
        assert_eq!((&function["name"], &function["arguments"]), (&Value::Null, &json!("f(x=1")));
    }

    #[test]
    fn turns_that_are_not_trained_on_stay_apart_from_those_that_are() {
        let call = r#"{"name": "f", "arguments": {}}"#;
        let row = json!({"conversations": [{"from": "gpt", "value": "a", "weight": 0}, {"from": "function_call", "value": call},
            {"from": "gpt", "value": "b", "loss": 1.0}, {"from": "function_call", "value": call, "weight": true}]});
        let found = converted(row).expect("it is a row");
        let messages = found["messages"].as_array().expect("messages").iter();
        let said: Vec<_> = messages.map(|m| (m["content"].as_str(), m.get("loss").and_then(Value::as_bool))).collect();
        assert_eq!(said, [(Some("a"), Some(false)), (None, None), (Some("b"), Some(true))]);
        let half = converted(json!({"conversations": [{"from": "gpt", "value": "a", "weight": 0.5}]}));
        let expected = json!({"role": "assistant", "content": "a", "loss": true, "other_fields": "{\"weight\":0.5}"});
        assert_eq!(half.expect("it is a row")["messages"][0], expected);
    }

    #[test]
    fn unknown_speaker_is_named() {
        let row = json!({"conversations": [{"from": "critic\u{1b}", "value": "x"}]});
        let expected = "turn 0 of `conversations`: `from` is `critic\\u{1b}`, expected human, gpt, function_call, observation or system";
        assert_eq!(converted(row), Err(expected.to_owned()));
    }
}
