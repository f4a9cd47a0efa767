//! ATIF 1.x, the trajectory format of harbor and its agents: `steps` of a system, a user and an agent.
//!
//! Owns the steps: an agent's message, its calls, and what it observed. Reward and task stand in the trial's result. Token
//! ids are put together if each step's prompt continues the one before. A step that was copied from an earlier trajectory, or
//! that no model wrote, is context. What has no native column is kept as JSON: of the trajectory all but its steps, of the
//! trial all.

use serde_json::Value;

use super::form::{Beside, Consumed, Form, Need, TRIAL_RESULT};
use super::messages::take_content;
use super::native::{Row, keep_rest, kind, mark_context, message, put_back, take_calls, take_objects, take_text};
use super::token_ids::{CallFields, put_together};

const VERSION: &str = "schema_version";
/// Minor versions only add fields.
const KNOWN: &str = "ATIF-v1.";
const COPIED: &str = "is_copied_context";
const IDS: CallFields = ["prompt_token_ids", "completion_token_ids", "logprobs"];

pub(super) static FORM: Form = Form {
    beside: Beside::TrialResult,
    token_ids: Some("steps[].metrics.completion_token_ids"),
    ..Form::new(
        "atif",
        "`steps` of a trajectory: harbor and its agents",
        NEEDS,
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

/// By what else it has, so that a version that is missing or odd can be told.
const NEEDS: &[Need] = &[
    Need::any(&["steps"], "a list", |_| true),
    Need::any(&["agent", VERSION], "an agent, or a version `ATIF-v1.0`", |said| {
        !said.is_string() || said.as_str().is_some_and(|version| version.starts_with("ATIF"))
    }),
];

fn convert(mut row: Row) -> Result<Row, String> {
    check_version(row.get(VERSION))?;
    let result = row.shift_remove(TRIAL_RESULT);
    let steps = take_objects(&mut row, "steps")?;
    // What was copied stands in the prompts of the steps after it.
    let own = steps.iter().filter(|step| !is_copied(step)).filter_map(|step| step.get("metrics")?.as_object());
    let tokens = put_together(own, IDS)?;
    let mut messages = Vec::new();
    for (k, step) in steps.into_iter().enumerate() {
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
    out.extend(tokens.unwrap_or_default());
    out.insert("trajectory".to_owned(), Value::String(Value::Object(row).to_string()));
    if let Some(result) = result {
        out.insert(TRIAL_RESULT.to_owned(), Value::String(result.to_string()));
    }
    Ok(out)
}

fn check_version(found: Option<&Value>) -> Result<(), String> {
    let told = match found {
        Some(Value::String(version)) if version.starts_with(KNOWN) => return Ok(()),
        Some(Value::String(version)) => format!("`{}`", version.escape_debug()),
        Some(Value::Number(version)) => format!("the number {version}"),
        other => kind(other).to_owned(),
    };
    Err(format!("`{VERSION}` is {told}, expected `{KNOWN}0` or a later minor version, which only adds fields"))
}

/// The reward of a trial: the only one, or the one of that name.
fn reward(result: &Value) -> Option<f64> {
    let rewards = result.get("verifier_result")?.get("rewards")?.as_object()?;
    match rewards.len() {
        1 => rewards.values().next()?.as_f64(),
        _ => rewards.get("reward")?.as_f64(),
    }
}

fn is_copied(step: &Row) -> bool {
    step.get(COPIED) == Some(&Value::Bool(true))
}

fn add_step(mut step: Row, out: &mut Vec<Row>) -> Result<(), String> {
    let role = match take_text(&mut step, "source")?.as_str() {
        "system" => "system",
        "user" => "user",
        "agent" => "assistant",
        other => return Err(format!("`source` is `{}`, expected system, user or agent", other.escape_debug())),
    };
    let is_context = is_copied(&step) || step.get("llm_call_count").and_then(Value::as_u64) == Some(0);
    let mut said = message(role, take_content(&mut step, "message")?);
    if let Some(Value::String(_)) = step.get("reasoning_content") {
        said.extend(step.shift_remove_entry("reasoning_content"));
    }
    let calls = take_calls(&mut step, ["tool_call_id", "function_name", "arguments"])?;
    said.extend(calls.map(|calls| ("tool_calls".to_owned(), calls)));
    let known = if is_copied(&step) { &IDS[..1] } else { &IDS };
    if let Some(Value::Object(metrics)) = step.get_mut("metrics") {
        known.iter().for_each(|name| drop(metrics.shift_remove(*name)));
    }
    let results = answers(&mut step)?;
    keep_rest(&mut said, [step]);
    let first = out.len();
    out.push(said);
    out.extend(results);
    if is_context {
        out[first..].iter_mut().for_each(mark_context);
    }
    Ok(())
}

/// What the tools said in a step.
fn answers(step: &mut Row) -> Result<Vec<Row>, String> {
    let observation = match step.shift_remove("observation") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(observation)) => observation,
        other => return Err(format!("`observation` is {}, expected an object", kind(other.as_ref()))),
    };
    let mut rest = observation;
    let mut out = Vec::new();
    for mut result in take_objects(&mut rest, "results")? {
        let mut answer = message("tool", take_content(&mut result, "content")?);
        let id = result.shift_remove("source_call_id").filter(|id| !id.is_null());
        answer.extend(id.map(|id| ("tool_call_id".to_owned(), id)));
        keep_rest(&mut answer, [result]);
        out.push(answer);
    }
    put_back(step, "observation", Value::Object(rest));
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

    /// The messages without what is kept beside them.
    fn without_rest(messages: &Value) -> Value {
        let mut messages = messages.clone();
        for message in messages.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            message.shift_remove(crate::ingest::formats::native::OTHER_FIELDS);
        }
        messages
    }

    #[test]
    fn what_a_step_says_beside_its_message_is_kept_as_json() {
        let mut row = trajectory();
        row["steps"][1]["timestamp"] = json!("2026-01-02T03:04:05Z");
        row["steps"][1]["metrics"]["cost_usd"] = json!(0.25);
        row["steps"][1]["tool_calls"][0]["extra"] = json!({"timeout": 3});
        row["steps"][1]["observation"]["results"][0]["extra"] = json!({"seconds": 2});
        let found = converted(row).expect("a trajectory");
        let rest = |k: usize| found["messages"][k]["other_fields"].as_str().expect("text").to_owned();
        let step = r#"{"step_id":2,"metrics":{"cost_usd":0.25},"timestamp":"2026-01-02T03:04:05Z","tool_calls":[{"extra":{"timeout":3}}]}"#;
        assert_eq!((rest(1).as_str(), rest(2).as_str()), (step, r#"{"extra":{"seconds":2}}"#));
    }

    #[test]
    fn copied_steps_and_those_that_no_model_wrote_are_context() {
        let mut row = trajectory();
        row["steps"][1]["is_copied_context"] = json!(true);
        let found = converted(row.clone()).expect("a trajectory");
        let loss = |found: &Value| {
            let messages = found["messages"].as_array().expect("messages");
            messages.iter().map(|m| m.get("loss").cloned()).collect::<Vec<_>>()
        };
        assert_eq!(loss(&found), [None, Some(json!(false)), Some(json!(false)), None]);
        // Its tokens are read in the prompt of the step after it.
        assert_eq!((&found["prompt_ids"], &found["response_ids"]), (&json!([1, 2, 3, 4]), &json!([5])));
        row["steps"][1]["is_copied_context"] = json!(false);
        row["steps"][2]["llm_call_count"] = json!(0);
        let found = converted(row).expect("a trajectory");
        assert_eq!(loss(&found), [None, None, None, Some(json!(false))]);
    }

    #[test]
    fn steps_become_messages_and_tokens_are_put_together() {
        let found = converted(trajectory()).expect("a trajectory");
        let messages = json!([{"role": "user", "content": "q"},
            {"role": "assistant", "content": "see", "reasoning_content": "think", "tool_calls":
                [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "content": "Error: no", "tool_call_id": "c"}, {"role": "assistant", "content": "done"}]);
        assert_eq!(without_rest(&found["messages"]), messages);
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
        let version = |version: Value| {
            let mut row = trajectory();
            row["schema_version"] = version;
            assert!(FORM.is_met(row.as_object().expect("an object")), "it is one all the same");
            converted(row)
        };
        for (odd, told) in [
            (json!("ATIF-v2.0"), "`ATIF-v2.0`"),
            (json!("1.8"), "`1.8`"),
            (json!("atif-v1.8\n"), "`atif-v1.8\\n`"),
            (json!(1.8), "the number 1.8"),
            (json!(null), "null"),
        ] {
            let expected = "expected `ATIF-v1.0` or a later minor version, which only adds fields";
            assert_eq!(version(odd), Err(format!("`schema_version` is {told}, {expected}")));
        }
        assert_eq!(
            version(json!("ATIF-v1.9")),
            converted(trajectory()).map(|mut row| {
                let text = row["trajectory"].as_str().expect("text").replace("v1.8", "v1.9");
                row["trajectory"] = Value::from(text);
                row
            })
        );
        let mut row = trajectory();
        row["steps"][0]["source"] = json!("judge");
        assert_eq!(converted(row), Err("step 0: `source` is `judge`, expected system, user or agent".to_owned()));
    }
}
