//! inspect_ai's logs: samples of an `.eval` zip, or of a `.json` log's `samples`.
//!
//! Owns a sample: its `messages`, its score as the reward, its id as the group and its epoch as the member. A tool message's
//! `error` is the data's own label. `events` repeat the messages.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::take_content;
use super::native::{
    Row, is_said, keep_rest, message, pass_through, put_back, take_calls, take_objects, take_text, text_of,
};

/// Where a message names a text that stands beside it.
const ATTACHMENT: &str = "attachment://";

pub(super) static FORM: Form = Form {
    not_kept: &["events"],
    ..Form::new(
        "inspect-ai",
        "Samples of inspect_ai's logs, `.eval` and `.json` (`messages`, `epoch`, `scores`); a tool's `error` is the data's label",
        &[
            Need::any(&["messages"], "a list", Value::is_array),
            Need::any(&["epoch"], "a number", Value::is_number),
            Need::any(&["scores", "target", "store"], "of a sample", |_| true),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

fn convert(mut row: Row) -> Result<Row, String> {
    let attachments = row.shift_remove("attachments").filter(is_said).unwrap_or_default();
    let mut messages = Vec::new();
    for (k, item) in take_objects(&mut row, "messages")?.into_iter().enumerate() {
        messages.push(message_of(item, &attachments).map_err(|e| format!("message {k} of `messages`: {e}"))?);
    }
    row.shift_remove("events");
    let mut out = Row::new();
    let id = row.get("id").filter(|id| !id.is_null()).map(text_of);
    let named = [row.get("eval").and_then(|eval| eval.get("eval_id")), row.get("epoch")];
    if let Some(id) = &id {
        let of_log = named[0].map(|id| format!("{}:", text_of(id))).unwrap_or_default();
        let epoch = named[1].map(text_of).unwrap_or_default();
        out.insert("rollout_id".to_owned(), Value::String(format!("{of_log}{id}:{epoch}")));
        out.insert("group_id".to_owned(), Value::String(id.clone()));
    }
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    out.insert("reward".to_owned(), reward(row.get("scores")).map_or(Value::Null, Value::from));
    let as_text = |value: Value| if value.is_object() || value.is_array() { value.to_string().into() } else { value };
    pass_through(&mut out, row.into_iter().map(|(name, value)| (name, as_text(value))).collect())?;
    Ok(out)
}

/// The only score as a number; of several, which counts is never guessed.
fn reward(scores: Option<&Value>) -> Option<f64> {
    let scores = scores?.as_object()?;
    let value = scores.values().next().filter(|_| scores.len() == 1)?.get("value")?;
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::String(letter) => match letter.as_str() {
            "C" => Some(1.0),
            "P" => Some(0.5),
            "I" | "N" => Some(0.0),
            _ => None,
        },
        _ => None,
    }
}

fn message_of(mut item: Row, attachments: &Value) -> Result<Row, String> {
    let role = take_text(&mut item, "role")?;
    let mut thoughts = None;
    if let Some(Value::Array(parts)) = item.get_mut("content") {
        let of_thoughts = |part: &Value| part.get("type").is_some_and(|of_type| of_type == "reasoning");
        let said: Vec<String> = parts
            .iter()
            .filter(|p| of_thoughts(p))
            .filter_map(|p| Some(p.get("reasoning")?.as_str()?.to_owned()))
            .collect();
        thoughts = (!said.is_empty()).then(|| said.join("\n"));
        parts.retain(|part| !of_thoughts(part));
    }
    let mut content = take_content(&mut item, "content")?;
    let attached = content.as_str().and_then(|text| attachments.get(text.strip_prefix(ATTACHMENT)?));
    if let Some(text) = attached.filter(|text| text.is_string()) {
        content = text.clone();
    }
    let mut said = message(&role, content);
    said.extend(thoughts.map(|text| ("reasoning_content".to_owned(), Value::String(text))));
    let calls = take_calls(&mut item, ["id", "function", "arguments"])?;
    said.extend(calls.map(|calls| ("tool_calls".to_owned(), calls)));
    if role == "tool" {
        said.extend(item.shift_remove_entry("tool_call_id"));
        let error = item.shift_remove("error").unwrap_or_default();
        // A tool that did its work may have found an error: only its own failure is told.
        said.extend((!error.is_null()).then_some(("is_error".to_owned(), Value::Bool(true))));
        // What the model was shown of an error is the error itself, where there is no other content.
        if said["content"].as_str().is_none_or(str::is_empty)
            && let Some(text) = error.get("message").and_then(Value::as_str)
        {
            said.insert("content".to_owned(), Value::from(text));
        }
        put_back(&mut item, "error", error);
    }
    keep_rest(&mut said, [item]);
    Ok(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sample_gives_messages_score_group_and_member() {
        let Value::Object(row) = json!({"id": 7, "epoch": 2, "target": "x", "scores": {"match": {"value": "C"}},
            "attachments": {"h": "long text"}, "events": [{"event": "model"}], "messages": [
            {"role": "user", "content": "attachment://h", "source": "input"},
            {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "See."}],
             "tool_calls": [{"id": "a", "function": "bash", "arguments": {"cmd": "ls"}, "type": "function"}]},
            {"role": "tool", "content": "", "tool_call_id": "a", "function": "bash",
             "error": {"type": "timeout", "message": "Command timed out"}}]})
        else {
            panic!()
        };
        assert!(FORM.is_met(&row));
        assert_eq!(FORM.not_kept(&row), ["events"]);
        let found = convert(row).expect("a row");
        assert_eq!(
            (&found["group_id"], &found["rollout_id"], &found["reward"]),
            (&json!("7"), &json!("7:2"), &json!(1.0))
        );
        assert_eq!(found["messages"][0]["content"], "long text");
        assert_eq!(
            (&found["messages"][1]["content"], &found["messages"][1]["reasoning_content"]),
            (&json!("See."), &json!("Hm."))
        );
        assert_eq!(
            (&found["messages"][2]["is_error"], &found["messages"][2]["content"]),
            (&json!(true), &json!("Command timed out"))
        );
    }
}
