//! ATIF 1.x, the trajectory format of harbor and its agents: `steps` of a system, a user and an agent.
//!
//! Owns the steps: an agent's message, its calls, and what it observed. Reward and task stand in the trial's result. Token
//! ids are put together if each step's prompt continues the one before. What has no native column is kept as JSON: of the
//! trajectory all but its steps, of the trial all.

use serde_json::Value;

use super::messages::joined;
use super::nemo_gym::put_together;
use super::{Row, TRIAL_RESULT, call, kind, message, objects, text, text_of};

const VERSION: &str = "schema_version";
/// Minor versions only add fields.
const KNOWN: &str = "ATIF-v1.";

pub(super) fn is_row(row: &Row) -> bool {
    row.get(VERSION).and_then(Value::as_str).is_some_and(|v| v.starts_with("ATIF")) && row.contains_key("steps")
}

pub(super) fn convert(mut row: Row) -> Result<Row, String> {
    let version = text(&row, VERSION)?;
    if !version.starts_with(KNOWN) {
        return Err(format!("`{VERSION}` is `{}`, expected ATIF-v1.0 to ATIF-v1.8", version.escape_debug()));
    }
    let result = row.remove(TRIAL_RESULT);
    let mut messages = Vec::new();
    let steps = objects(&row, "steps")?;
    for (k, step) in steps.iter().enumerate() {
        add_step(step, &mut messages).map_err(|detail| format!("step {k}: {detail}"))?;
    }
    let mut out = Row::new();
    if let Some(id) = ["trajectory_id", "session_id"].iter().find_map(|name| row.get(*name)?.as_str()) {
        out.insert("rollout_id".to_owned(), Value::String(id.to_owned()));
    }
    if let Some(task) = result.as_ref().and_then(|r| r.get("task_name")?.as_str()) {
        out.insert("group_id".to_owned(), Value::String(task.to_owned()));
    }
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    if let Some(tools) = row.get("agent").and_then(|a| a.get("tool_definitions")).filter(|t| t.is_array()) {
        out.insert("tools".to_owned(), Value::String(tools.to_string()));
    }
    out.insert("reward".to_owned(), result.as_ref().and_then(reward).map_or(Value::Null, Value::from));
    let metrics = steps.iter().filter_map(|step| step.get("metrics"));
    out.extend(
        put_together(metrics.map(|m| ["prompt_token_ids", "completion_token_ids", "logprobs"].map(|name| m.get(name))))
            .unwrap_or_default(),
    );
    row.remove("steps");
    out.insert("trajectory".to_owned(), Value::String(Value::Object(row).to_string()));
    if let Some(result) = result {
        out.insert(TRIAL_RESULT.to_owned(), Value::String(result.to_string()));
    }
    Ok(out)
}

/// The reward of a trial: the only one, or the one of that name.
fn reward(result: &Value) -> Option<f64> {
    let rewards = result.get("verifier_result")?.get("rewards")?.as_object()?;
    match rewards.len() {
        1 => rewards.values().next()?.as_f64(),
        _ => rewards.get("reward")?.as_f64(),
    }
}

fn add_step(step: &Row, out: &mut Vec<Row>) -> Result<(), String> {
    let role = match text(step, "source")? {
        "system" => "system",
        "user" => "user",
        "agent" => "assistant",
        other => return Err(format!("`source` is `{}`, expected system, user or agent", other.escape_debug())),
    };
    let content = step.get("message").unwrap_or(&Value::Null);
    let mut said = message(role, joined(content).map_or_else(|| content.clone(), Value::String));
    if let Some(reasoning) = step.get("reasoning_content").filter(|r| r.is_string()) {
        said.insert("reasoning_content".to_owned(), reasoning.clone());
    }
    if step.get("tool_calls").is_some_and(|calls| calls.as_array().is_some_and(|all| !all.is_empty())) {
        let calls = objects(step, "tool_calls")?.into_iter().map(|c| {
            Ok(call(c.get("tool_call_id"), text(c, "function_name")?, c.get("arguments").unwrap_or(&Value::Null)))
        });
        said.insert("tool_calls".to_owned(), Value::Array(calls.collect::<Result<_, String>>()?));
    }
    out.push(said);
    let Some(observation) = step.get("observation").filter(|o| !o.is_null()) else { return Ok(()) };
    let observation = observation
        .as_object()
        .ok_or_else(|| format!("`observation` is {}, expected an object", kind(Some(observation))))?;
    for result in objects(observation, "results")? {
        let content = result.get("content").filter(|c| !c.is_null());
        let mut answer =
            message("tool", content.map_or(Value::Null, |c| Value::String(joined(c).unwrap_or_else(|| text_of(c)))));
        if let Some(id) = result.get("source_call_id").filter(|id| !id.is_null()) {
            answer.insert("tool_call_id".to_owned(), id.clone());
        }
        out.push(answer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Result<Value, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        convert(row).map(Value::Object)
    }

    fn trajectory() -> Value {
        json!({"schema_version": "ATIF-v1.8", "trajectory_id": "t", "agent": {"name": "a", "version": "1"}, "steps": [
            {"step_id": 1, "source": "user", "message": [{"type": "text", "text": "q"}]},
            {"step_id": 2, "source": "agent", "message": "see", "reasoning_content": "think", "tool_calls":
                [{"tool_call_id": "c", "function_name": "f", "arguments": {"x": 1}}],
             "observation": {"results": [{"source_call_id": "c", "content": "Error: no"}]},
             "metrics": {"prompt_token_ids": [1], "completion_token_ids": [2, 3], "logprobs": [-0.5, -0.25]}},
            {"step_id": 3, "source": "agent", "message": "done",
             "metrics": {"prompt_token_ids": [1, 2, 3, 4], "completion_token_ids": [5], "logprobs": [-1.0]}}]})
    }

    #[test]
    fn steps_become_messages_and_tokens_are_put_together() {
        let found = converted(trajectory()).expect("a trajectory");
        let messages = json!([{"role": "user", "content": "q"},
            {"role": "assistant", "content": "see", "reasoning_content": "think", "tool_calls":
                [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "content": "Error: no", "tool_call_id": "c"}, {"role": "assistant", "content": "done"}]);
        assert_eq!(found["messages"], messages);
        assert_eq!((&found["response_ids"], &found["response_mask"]), (&json!([2, 3, 4, 5]), &json!([1, 1, 0, 1])));
        assert_eq!(found["rollout_id"], "t");
        assert!(found["reward"].is_null(), "a trajectory alone has none");
    }

    #[test]
    fn trial_gives_reward_and_task() {
        let mut row = trajectory();
        row[TRIAL_RESULT] = json!({"task_name": "org/task", "verifier_result": {"rewards": {"pass": 1.0}}});
        let found = converted(row.clone()).expect("a trajectory");
        assert_eq!((&found["group_id"], &found["reward"]), (&json!("org/task"), &json!(1.0)));
        row[TRIAL_RESULT]["verifier_result"]["rewards"] = json!({"a": 1.0, "b": 0.0});
        assert!(converted(row).expect("a trajectory")["reward"].is_null(), "which of two is never guessed");
    }

    #[test]
    fn other_versions_and_sources_are_named() {
        let mut row = trajectory();
        row["schema_version"] = json!("ATIF-v2.0");
        assert_eq!(converted(row), Err("`schema_version` is `ATIF-v2.0`, expected ATIF-v1.0 to ATIF-v1.8".to_owned()));
        let mut row = trajectory();
        row["steps"][0]["source"] = json!("judge");
        assert_eq!(converted(row), Err("step 0: `source` is `judge`, expected system, user or agent".to_owned()));
    }
}
