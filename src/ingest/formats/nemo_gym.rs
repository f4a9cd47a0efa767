//! NeMo-Gym's `rollouts.jsonl`: items of the Responses API in `response.output`.
//!
//! Owns the items: reasoning, message, function_call, function_call_output. What the model wrote between two answers of tools
//! is one message. Where items carry token ids, they are put together again, if each prompt continues the one before.

use serde_json::Value;

use super::messages::joined;
use super::{Row, call, kind, message, text};

const PARAMS: &str = "responses_create_params";
const TASK: &str = "_ng_task_index";

pub(super) fn is_row(row: &Row) -> bool {
    row.get("response").is_some_and(|r| r.get("output").is_some_and(Value::is_array))
}

pub(super) fn convert(mut row: Row) -> Result<Row, String> {
    let params = row.remove(PARAMS);
    let response = row.remove("response");
    let mut turns = Turns::default();
    match params.as_ref().and_then(|p| p.get("input")) {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => turns.out.push(message("user", text.as_str())),
        Some(Value::Array(items)) => turns.add_all(items, "input")?,
        other => return Err(format!("`{PARAMS}.input` is {}, expected items or text", kind(other))),
    }
    let output = response.as_ref().and_then(|r| r.get("output")).and_then(Value::as_array);
    let output = output.ok_or_else(|| "`response.output` is no list".to_owned())?;
    turns.add_all(output, "response.output")?;
    turns.close();
    let mut out = Row::new();
    if let Some(task) = row.get(TASK).filter(|t| !t.is_null() && !row.contains_key("group_id")) {
        out.insert("group_id".to_owned(), Value::String(super::text_of(task)));
    }
    out.insert("messages".to_owned(), Value::Array(turns.out.into_iter().map(Value::Object).collect()));
    let tools = params.as_ref().and_then(|p| p.get("tools")).filter(|t| !t.is_null());
    if let Some(tools) = tools.filter(|_| !row.contains_key("tools")) {
        out.insert("tools".to_owned(), Value::String(super::text_of(tools)));
    }
    if let Some(tokens) = tokens(output) {
        out.extend(tokens);
    }
    out.extend(row);
    Ok(out)
}

/// Messages, and the assistant's one that is being put together.
#[derive(Default)]
struct Turns {
    out: Vec<Row>,
    open: Option<Row>,
}

impl Turns {
    fn add_all(&mut self, items: &[Value], name: &str) -> Result<(), String> {
        for (k, item) in items.iter().enumerate() {
            let found = item.as_object().ok_or_else(|| format!("it is {}, expected an object", kind(Some(item))));
            found.and_then(|item| self.add(item)).map_err(|detail| format!("item {k} of `{name}`: {detail}"))?;
        }
        Ok(())
    }

    fn add(&mut self, item: &Row) -> Result<(), String> {
        // Plain chat messages have no type.
        match item.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => {
                let role = text(item, "role")?;
                let content = match item.get("content") {
                    Some(Value::String(text)) => Value::String(text.clone()),
                    Some(parts @ Value::Array(_)) => joined(parts).map_or_else(|| parts.clone(), Value::String),
                    None | Some(Value::Null) => Value::Null,
                    other => return Err(format!("`content` is {}, expected text or parts", kind(other))),
                };
                if role != "assistant" {
                    self.close();
                    self.out.push(message(role, content));
                    return Ok(());
                }
                // A second message of the same turn is a message of its own.
                if self.open.as_ref().is_some_and(|m| m.contains_key("tool_calls") || !m["content"].is_null()) {
                    self.close();
                }
                self.assistant().insert("content".to_owned(), content);
            }
            "reasoning" => {
                let parts = ["content", "summary"]
                    .iter()
                    .filter_map(|n| item.get(*n))
                    .find(|v| v.as_array().is_some_and(|a| !a.is_empty()));
                let texts =
                    parts.and_then(Value::as_array).into_iter().flatten().filter_map(|p| p.get("text")?.as_str());
                let text = texts.collect::<Vec<_>>().join("\n");
                if self.open.as_ref().is_some_and(|m| m.contains_key("tool_calls") || !m["content"].is_null()) {
                    self.close();
                }
                self.assistant().insert("reasoning_content".to_owned(), Value::String(text));
            }
            "function_call" => {
                let arguments = item.get("arguments").unwrap_or(&Value::Null);
                let asked = call(item.get("call_id"), text(item, "name")?, arguments);
                let message = self.assistant();
                match message.get_mut("tool_calls").and_then(Value::as_array_mut) {
                    Some(calls) => calls.push(asked),
                    None => {
                        message.insert("tool_calls".to_owned(), Value::Array(vec![asked]));
                    }
                }
            }
            "function_call_output" => {
                self.close();
                let output = item.get("output").map(|o| joined(o).unwrap_or_else(|| super::text_of(o)));
                let mut answer = message("tool", output.map_or(Value::Null, Value::String));
                answer.insert("tool_call_id".to_owned(), item.get("call_id").cloned().unwrap_or(Value::Null));
                self.out.push(answer);
            }
            other => {
                let known = "message, reasoning, function_call or function_call_output";
                return Err(format!("`type` is `{}`, expected {known}", other.escape_debug()));
            }
        }
        Ok(())
    }

    fn assistant(&mut self) -> &mut Row {
        self.open.get_or_insert_with(|| message("assistant", Value::Null))
    }

    fn close(&mut self) {
        self.out.extend(self.open.take());
    }
}

/// Prompt, response, mask and log-probs of the items that carry ids.
fn tokens(output: &[Value]) -> Option<Row> {
    let fields = ["prompt_token_ids", "generation_token_ids", "generation_log_probs"];
    put_together(output.iter().map(|item| fields.map(|name| item.get(name))))
}

/// The tokens of a rollout from (prompt, generated, log-probs) of each of its model calls; `None` where there are none, or
/// where a prompt is not what came before it.
pub(super) fn put_together<'v>(calls: impl Iterator<Item = [Option<&'v Value>; 3]>) -> Option<Row> {
    let list = |value: Option<&Value>| value?.as_array().cloned();
    let mut all: Vec<Value> = Vec::new();
    let (mut prompt_len, mut mask, mut logprobs): (Option<usize>, Vec<Value>, Vec<Value>) =
        (None, Vec::new(), Vec::new());
    for [prompt, generated, of_call] in calls {
        let Some(generated) = list(generated) else { continue };
        let prompt = list(prompt)?;
        let behind = prompt.strip_prefix(all.as_slice())?;
        if prompt_len.is_none() {
            prompt_len = Some(prompt.len());
        } else {
            mask.extend(behind.iter().map(|_| Value::from(0)));
            logprobs.extend(behind.iter().map(|_| Value::Null));
        }
        all.extend_from_slice(behind);
        mask.extend(generated.iter().map(|_| Value::from(1)));
        let of_call = list(of_call).filter(|l| l.len() == generated.len());
        logprobs.extend(of_call.unwrap_or_else(|| vec![Value::Null; generated.len()]));
        all.extend(generated);
    }
    let response = all.split_off(prompt_len?);
    let mut out = Row::new();
    out.insert("prompt_ids".to_owned(), Value::Array(all));
    out.insert("response_ids".to_owned(), Value::Array(response));
    out.insert("response_mask".to_owned(), Value::Array(mask));
    if logprobs.iter().any(|l| !l.is_null()) {
        out.insert("response_logprobs".to_owned(), Value::Array(logprobs));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Result<Value, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        convert(row).map(Value::Object)
    }

    fn row() -> Value {
        json!({"responses_create_params": {"input": [{"role": "user", "content": "q"}], "tools": [{"name": "f"}]}, "reward": 1.0,
            "_ng_task_index": 4, "_ng_rollout_index": 1, "response": {"output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "think"}], "prompt_token_ids": [1, 2],
                 "generation_token_ids": [3, 4], "generation_log_probs": [-0.5, -0.25]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"x\":  1}"},
                {"type": "function_call_output", "call_id": "c1", "output": "Error: no"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}],
                 "prompt_token_ids": [1, 2, 3, 4, 5], "generation_token_ids": [6], "generation_log_probs": [-1.0]}]}})
    }

    #[test]
    fn items_become_messages_and_tokens_are_put_together() {
        let found = converted(row()).expect("it is a row");
        let expected = json!({"group_id": "4", "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": null, "reasoning_content": "think", "tool_calls":
                [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":  1}"}}]},
            {"role": "tool", "content": "Error: no", "tool_call_id": "c1"},
            {"role": "assistant", "content": "done"}],
            "tools": "[{\"name\":\"f\"}]", "prompt_ids": [1, 2], "response_ids": [3, 4, 5, 6], "response_mask": [1, 1, 0, 1],
            "response_logprobs": [-0.5, -0.25, null, -1.0], "reward": 1.0, "_ng_task_index": 4, "_ng_rollout_index": 1});
        assert_eq!(found, expected);
    }

    #[test]
    fn tokens_of_a_prompt_that_does_not_continue_are_absent_and_never_guessed() {
        let mut row = row();
        row["response"]["output"][3]["prompt_token_ids"] = json!([9, 2, 3, 4, 5]);
        let found = converted(row).expect("it is a row");
        assert!(found.get("response_ids").is_none());
        assert_eq!(found["messages"].as_array().map(Vec::len), Some(4));
    }

    #[test]
    fn item_of_an_unknown_type_is_named() {
        let row = json!({"response": {"output": [{"type": "web_search"}]}});
        let expected = "item 0 of `response.output`: `type` is `web_search`, expected message, reasoning, function_call or function_call_output";
        assert_eq!(converted(row), Err(expected.to_owned()));
    }
}
