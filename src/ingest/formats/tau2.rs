//! tau2-bench's simulations (`results.json`): `messages` of a policy, a user and their tools, with `task_id` and `reward_info`.
//!
//! Owns who called a tool: the user has tools of its own, and their calls and results are no attempts of the policy. A
//! result's `error` is the data's own label.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::take_content;
use super::native::{Row, keep_rest, message, pass_through, take_calls, take_objects, take_text, text_of};

pub(super) static FORM: Form = Form::new(
    "tau2-bench",
    "`simulations` of tau2-bench's `results.json`, or one of them (`task_id`, `reward_info`); `error` is the data's label",
    &[
        Need::any(&["messages"], "a list", Value::is_array),
        Need::any(&["task_id"], "a name", |_| true),
        Need::any(&["reward_info", "termination_reason"], "the outcome", |_| true),
    ],
    |row| Ok(vec![convert(row)?]),
    Consumed::All,
);

fn convert(mut row: Row) -> Result<Row, String> {
    let mut messages = Vec::new();
    for (k, item) in take_objects(&mut row, "messages")?.into_iter().enumerate() {
        add(item, &mut messages).map_err(|detail| format!("message {k} of `messages`: {detail}"))?;
    }
    let mut out = Row::new();
    out.extend(row.get("id").filter(|id| id.is_string()).map(|id| ("rollout_id".to_owned(), id.clone())));
    out.extend(row.get("task_id").filter(|id| !id.is_null()).map(|id| ("group_id".to_owned(), text_of(id).into())));
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    let reward = row.get("reward_info").and_then(|info| info.get("reward")?.as_f64());
    out.insert("reward".to_owned(), reward.map_or(Value::Null, Value::from));
    let as_text = |value: Value| if value.is_object() || value.is_array() { value.to_string().into() } else { value };
    pass_through(&mut out, row.into_iter().map(|(name, value)| (name, as_text(value))).collect())?;
    Ok(out)
}

fn add(mut item: Row, out: &mut Vec<Row>) -> Result<(), String> {
    let role = take_text(&mut item, "role")?;
    if item.get("tool_messages").is_some_and(Value::is_array) {
        // Results of one turn, together.
        for answer in take_objects(&mut item, "tool_messages")? {
            add(answer, out)?;
        }
        if let Some(last) = out.last_mut() {
            keep_rest(last, [item]);
        }
        return Ok(());
    }
    let is_users = item.get("requestor").is_some_and(|who| who == "user");
    let mut said = match (role.as_str(), is_users) {
        ("tool", false) => {
            let mut said = message("tool", take_content(&mut item, "content")?);
            said.extend(item.shift_remove("id").map(|id| ("tool_call_id".to_owned(), id)));
            if let Some(Value::Bool(is_error)) = item.shift_remove("error") {
                said.insert("is_error".to_owned(), Value::Bool(is_error));
            }
            said
        }
        ("tool", true) => {
            item.insert("role".to_owned(), Value::from("tool"));
            message("user", take_content(&mut item, "content")?)
        }
        _ => message(&role, take_content(&mut item, "content")?),
    };
    if role == "assistant" {
        let calls = take_calls(&mut item, ["id", "name", "arguments"])?;
        said.extend(calls.map(|calls| ("tool_calls".to_owned(), calls)));
    }
    keep_rest(&mut said, [item]);
    out.push(said);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_users_own_tools_are_no_attempts_of_the_policy() {
        let Value::Object(row) = json!({"id": "s", "task_id": "t", "trial": 1, "reward_info": {"reward": 0.0}, "messages": [
            {"role": "assistant", "content": null, "tool_calls":
                [{"id": "a", "name": "f", "arguments": {"x": 1}, "requestor": "assistant"}]},
            {"role": "tool", "id": "a", "content": "Error: no", "requestor": "assistant", "error": true},
            {"role": "user", "content": null, "tool_calls": [{"id": "b", "name": "g", "arguments": {}, "requestor": "user"}]},
            {"role": "tool", "id": "b", "content": "on", "requestor": "user", "error": false}]})
        else {
            panic!()
        };
        assert!(FORM.is_met(&row));
        let found = convert(row).expect("a row");
        let roles: Vec<_> = found["messages"].as_array().expect("a list").iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["assistant", "tool", "user", "user"]);
        assert_eq!(found["messages"][1]["is_error"], json!(true));
        assert!(found["messages"][2].get("tool_calls").is_none());
        assert_eq!((&found["group_id"], &found["reward"], &found["trial"]), (&json!("t"), &json!(0.0), &json!(1)));
    }
}
