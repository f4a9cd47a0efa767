//! NeMo-Gym's `rollouts.jsonl`: items of the Responses API in `response.output`.
//!
//! Owns the items: reasoning, message, function_call, function_call_output. What the model wrote between two answers of tools
//! is one message. Where items carry token ids, they are put together again, if each prompt continues the one before. What
//! has no native column is kept as JSON: of the request all but its input, of the response all but its output.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::items::Turns;
use super::native::{Row, kind, message, pass_through, text_of};
use super::token_ids::{CallFields, put_together};

const PARAMS: &str = "responses_create_params";
const RESPONSE: &str = "response";
const TASK: &str = "_ng_task_index";
const IDS: CallFields = ["prompt_token_ids", "generation_token_ids", "generation_log_probs"];

pub(super) static FORM: Form = Form {
    consults: &[TASK],
    token_ids: Some("response.output[].generation_token_ids"),
    ..Form::new(
        "nemo-gym",
        "`response.output` items: NeMo-Gym's rollouts",
        &[Need::any(&[RESPONSE], "an object with a list `output`", |response| {
            response.get("output").is_some_and(Value::is_array)
        })],
        |row| Ok(vec![convert(row)?]),
        Consumed::These(&[PARAMS, RESPONSE]),
    )
};

fn convert(mut row: Row) -> Result<Row, String> {
    let mut object = |name: &str| match row.shift_remove(name) {
        None | Some(Value::Null) => Ok(Row::new()),
        Some(Value::Object(found)) => Ok(found),
        other => Err(format!("`{name}` is {}, expected an object", kind(other.as_ref()))),
    };
    let (mut params, mut response) = (object(PARAMS)?, object(RESPONSE)?);
    let mut turns = Turns::default();
    match params.shift_remove("input") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => turns.begin(message("user", text)),
        Some(Value::Array(items)) => turns.add_all(items, &format!("{PARAMS}.input"))?,
        other => return Err(format!("`{PARAMS}.input` is {}, expected items or text", kind(other.as_ref()))),
    }
    let mut output = match response.shift_remove("output") {
        Some(Value::Array(output)) => output,
        other => return Err(format!("`{RESPONSE}.output` is {}, expected a list", kind(other.as_ref()))),
    };
    let tokens = put_together(output.iter().filter_map(Value::as_object), IDS)?;
    for item in output.iter_mut().filter_map(Value::as_object_mut) {
        IDS.iter().for_each(|name| drop(item.shift_remove(*name)));
    }
    turns.add_all(output, &format!("{RESPONSE}.output"))?;
    let messages = turns.finish();
    let mut out = Row::new();
    if let Some(task) = row.get(TASK).filter(|t| !t.is_null() && !row.contains_key("group_id")) {
        out.insert("group_id".to_owned(), Value::String(text_of(task)));
    }
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    if !row.contains_key("tools") {
        let tools = params.shift_remove("tools").filter(|t| !t.is_null());
        out.extend(tools.map(|tools| ("tools".to_owned(), Value::String(text_of(&tools)))));
    }
    out.extend(tokens.unwrap_or_default());
    pass_through(&mut out, row)?;
    for (name, rest) in [(PARAMS, params), (RESPONSE, response)] {
        if !rest.is_empty() {
            out.insert(name.to_owned(), Value::String(Value::Object(rest).to_string()));
        }
    }
    Ok(out)
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
        let expected = "item 0 of `response.output`: `type` is `web_search`, expected message, reasoning, function_call, function_call_output or another call";
        assert_eq!(converted(row), Err(expected.to_owned()));
    }

    #[test]
    fn several_reasonings_of_a_turn_are_all_kept_and_one_without_text_says_nothing() {
        let reasoning = |text: &str| json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]});
        let hidden = json!({"type": "reasoning", "summary": [], "encrypted_content": "x1y2"});
        let answer = json!({"type": "message", "role": "assistant", "content": "done"});
        let found = converted(json!({"response": {"output": [hidden, reasoning("a"), reasoning("b"), answer]}}));
        let expected = json!([{"role": "assistant", "content": "done", "reasoning_content": "a\nb",
            "other_fields": r#"{"encrypted_content":"x1y2"}"#}]);
        assert_eq!(found.expect("it is a row")["messages"], expected);
    }

    #[test]
    fn log_probs_of_another_number_are_refused() {
        let mut row = row();
        row["response"]["output"][0]["generation_log_probs"] = json!([-0.5]);
        let expected = "`generation_log_probs` has 1 entries, expected 2, one for each of `generation_token_ids`";
        assert_eq!(converted(row), Err(expected.to_owned()));
    }

    #[test]
    fn verifiers_field_that_is_called_as_a_native_one_is_refused() {
        let mut row = row();
        row["messages"] = json!([]);
        let expected = "`messages` already exists beside what is converted into it; remove one of them, or name the format of the other with --format";
        assert_eq!(converted(row), Err(expected.to_owned()));
    }
}
