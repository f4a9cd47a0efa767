//! smolagents' memory: `steps` of a run, or the steps alone, as a list or one a line.
//!
//! Owns what each kind of step becomes: a task is the user's, an action is the model's message and what came of it. Code that a
//! `CodeAgent` writes stays in the text, byte for byte, where [`crate::protocol`] finds it. `error` is the data's own label.
//! What a model was given at each step repeats the steps before, and is not kept but for the system's message.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::{joined, take_content};
use super::native::{Row, call, is_said, keep_rest, kind, message, pass_through, take_objects, text_of};
use crate::protocol;

const STEPS: &str = "steps";
const GIVEN: &str = "model_input_messages";

pub(super) static FORM: Form = Form {
    not_kept: &["steps[].model_input_messages"],
    ..Form::new(
        "smolagents",
        "`steps` of smolagents' memory, as `RunResult` and `get_full_steps` give them; `error` is the data's label",
        &[Need::any(&[STEPS], "a list with a step that has `step_number` and `model_output`", |steps| {
            steps.as_array().is_some_and(|all| all.iter().filter_map(Value::as_object).any(is_action))
        })],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

pub(super) static STREAM: Form = Form {
    gather: Some(gather),
    not_kept: &["steps[].model_input_messages"],
    ..Form::new(
        "smolagents-steps",
        "Steps of smolagents' memory alone, as a list or one a line; `error` is the data's label",
        &[
            Need::any(&["step_number", "task"], "a number or text", |said| said.is_number() || said.is_string()),
            Need::any(&["task_images", "model_output_message"], "null, a list or an object", |said| {
                said.is_null() || said.is_array() || said.is_object()
            }),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

fn is_action(step: &Row) -> bool {
    step.contains_key("step_number") && (step.contains_key("model_output") || step.contains_key("tool_calls"))
}

/// The steps of each run. A task behind an action begins the next one.
fn gather(records: Vec<Row>) -> Vec<Row> {
    let mut runs: Vec<Vec<Value>> = Vec::new();
    let mut has_acted = true;
    for record in records {
        let begins =
            has_acted && !is_action(&record) && (record.contains_key("task") || record.contains_key("system_prompt"));
        if begins || runs.is_empty() {
            runs.push(Vec::new());
            has_acted = false;
        }
        has_acted |= is_action(&record);
        if let Some(run) = runs.last_mut() {
            run.push(Value::Object(record));
        }
    }
    runs.into_iter().map(|steps| Row::from_iter([(STEPS.to_owned(), Value::Array(steps))])).collect()
}

fn convert(mut row: Row) -> Result<Row, String> {
    let mut messages: Vec<Row> = Vec::new();
    let mut others = Vec::new();
    if let Some(Value::Object(prompt)) = row.get("system_prompt").filter(|p| p.get("system_prompt").is_some()).cloned()
    {
        row.shift_remove("system_prompt");
        add(prompt, &mut messages, &mut others)?;
    }
    for (k, step) in take_objects(&mut row, STEPS)?.into_iter().enumerate() {
        add(step, &mut messages, &mut others).map_err(|detail| format!("step {k}: {detail}"))?;
    }
    let mut out = Row::new();
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    if !others.is_empty() {
        out.insert("other_records".to_owned(), Value::String(Value::Array(others).to_string()));
    }
    let as_text = |value: Value| if value.is_object() || value.is_array() { value.to_string().into() } else { value };
    pass_through(&mut out, row.into_iter().map(|(name, value)| (name, as_text(value))).collect())?;
    Ok(out)
}

fn add(mut step: Row, out: &mut Vec<Row>, others: &mut Vec<Value>) -> Result<(), String> {
    if is_action(&step) {
        return add_action(step, out);
    }
    let of_kind = [("system_prompt", "system"), ("task", "user"), ("plan", "assistant")];
    let Some((name, role)) = of_kind.into_iter().find(|(name, _)| step.get(*name).is_some_and(Value::is_string)) else {
        others.push(Value::Object(step));
        return Ok(());
    };
    step.shift_remove(GIVEN);
    let text = step.shift_remove(name).unwrap_or_default();
    if role == "assistant" {
        // The whole message says the plan again, or more.
        let whole = step.get("model_output_message").and_then(|m| m.get("content")).and_then(Value::as_str);
        if whole.is_some_and(|whole| Some(whole) == text.as_str()) {
            step.shift_remove("model_output_message");
        }
    }
    let mut said = message(role, text);
    keep_rest(&mut said, [step]);
    out.push(said);
    Ok(())
}

fn add_action(mut step: Row, out: &mut Vec<Row>) -> Result<(), String> {
    let given = step.shift_remove(GIVEN);
    if !out.iter().any(|said| said["role"] == "system")
        && let Some(system) = given.as_ref().and_then(system_of)
    {
        out.insert(0, message("system", system));
    }
    let mut whole = match step.shift_remove("model_output_message") {
        Some(Value::Object(whole)) => whole,
        None | Some(Value::Null) => Row::new(),
        found => return Err(format!("`model_output_message` is {}, expected an object", kind(found.as_ref()))),
    };
    let of_whole = take_content(&mut whole, "content")?;
    let own = take_content(&mut step, "model_output")?;
    let content = if own.is_null() { of_whole.clone() } else { own };
    if content != of_whole && !of_whole.is_null() {
        whole.insert("content".to_owned(), of_whole);
    }
    whole.shift_remove("role");
    let mut asked = calls(&mut step)?;
    let of_message = calls(&mut whole)?;
    if asked.is_empty() {
        asked = of_message;
    }
    let code = step.get("code_action").and_then(Value::as_str).map(str::to_owned);
    let is_in_text = |call: &Value| {
        let text = content.as_str().unwrap_or_default();
        let written = call.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default();
        protocol::answered_call_at(text).is_some()
            && (text.contains(written) || code.as_deref().is_some_and(|c| text.contains(c)))
    };
    let mut said = message("assistant", content.clone());
    let one_id = if asked.len() == 1 { asked[0].get("id").cloned() } else { None };
    let has_calls = !asked.is_empty();
    if asked.len() == 1 && is_in_text(&asked[0]) {
        step.insert("tool_calls".to_owned(), Value::Array(asked));
    } else if has_calls {
        said.insert("tool_calls".to_owned(), Value::Array(asked));
    }
    let answer = answer_of(&mut step, has_calls, one_id.filter(|_| said.contains_key("tool_calls")));
    let is_said_twice = |code: &str| content.as_str().is_some_and(|text| text.contains(code));
    if step.get("code_action").and_then(Value::as_str).is_some_and(is_said_twice) {
        step.shift_remove("code_action");
    }
    keep_rest(&mut said, [step, Row::from_iter([("model_output_message".to_owned(), Value::Object(whole))])]);
    out.push(said);
    out.extend(answer);
    Ok(())
}

/// What came of an action: what was observed, and the error behind it. Without a call, the error is the program's word to the
/// model.
fn answer_of(step: &mut Row, has_calls: bool, id: Option<Value>) -> Option<Row> {
    let observed = step.shift_remove("observations").filter(|text| !text.is_null());
    let error = step.get("error").filter(|error| !error.is_null()).cloned();
    let told = error.as_ref().map(|error| error.get("message").map_or_else(|| text_of(error), text_of));
    let text = match (observed.map(|text| text_of(&text)), told) {
        (None, None) => return None,
        (Some(text), None) | (None, Some(text)) => text,
        (Some(observed), Some(told)) => observed + "\n" + &told,
    };
    if !has_calls {
        return Some(message("user", text));
    }
    let mut answer = message("tool", text);
    answer.extend(id.map(|id| ("tool_call_id".to_owned(), id)));
    answer.extend(error.map(|_| ("is_error".to_owned(), Value::Bool(true))));
    Some(answer)
}

/// Calls as OpenAI writes them, or flat ones, taken out of their row.
fn calls(row: &mut Row) -> Result<Vec<Value>, String> {
    if !row.get("tool_calls").is_some_and(is_said) {
        row.shift_remove("tool_calls");
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    for (k, mut asked) in take_objects(row, "tool_calls")?.into_iter().enumerate() {
        let mut function = match asked.shift_remove("function") {
            Some(Value::Object(function)) => function,
            _ => asked.clone(),
        };
        let name = match function.shift_remove("name") {
            Some(Value::String(name)) => name,
            found => return Err(format!("call {k}: `name` is {}, expected text", kind(found.as_ref()))),
        };
        let arguments = function.shift_remove("arguments").unwrap_or_default();
        out.push(call(asked.shift_remove("id"), &name, &arguments));
    }
    Ok(out)
}

/// The system's message in what a model was given.
fn system_of(given: &Value) -> Option<String> {
    let first = given.as_array()?.first().filter(|first| first.get("role").is_some_and(|role| role == "system"))?;
    let content = first.get("content")?;
    content.as_str().map(str::to_owned).or_else(|| joined(content).map(|(text, _)| text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps() -> Value {
        let given = json!([{"role": "system", "content": [{"type": "text", "text": "s"}]}]);
        let asked = |code: &str| json!([{"id": "call_1", "type": "function", "function": {"name": "python_interpreter", "arguments": code}}]);
        json!([{"task": "q", "task_images": null},
            {"step_number": 1, "model_input_messages": given, "tool_calls": asked("f(x)"), "model_output": "See.\n<code>\nf(x)\n</code>",
             "code_action": "f(x)", "error": {"type": "AgentExecutionError", "message": "no x"}, "observations": "Execution logs:\n"},
            {"step_number": 2, "tool_calls": [], "error": {"type": "AgentParsingError", "message": "no code"}, "model_output": "Hm."},
            {"step_number": 3, "tool_calls": asked("f(1)"), "model_output": "See.\n<code>\nf(1)\n</code>", "error": null, "observations": "3"}])
    }

    #[test]
    fn code_stays_in_the_text_and_errors_are_labels() {
        let Value::Object(row) = json!({"steps": steps(), "output": 3}) else { panic!() };
        assert!(FORM.is_met(&row));
        let found = convert(row).expect("a row");
        let messages = found["messages"].as_array().expect("a list");
        let roles: Vec<_> = messages.iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "tool"]);
        assert_eq!(messages[2]["content"], "See.\n<code>\nf(x)\n</code>");
        assert!(!messages[2].as_object().expect("an object").contains_key("tool_calls"));
        assert_eq!(
            (&messages[3]["content"], &messages[3]["is_error"]),
            (&json!("Execution logs:\n\nno x"), &json!(true))
        );
        assert_eq!((messages[7].get("is_error"), &found["output"]), (None, &json!(3)));
    }

    #[test]
    fn a_failed_step_has_its_calls_in_the_models_message() {
        let asked = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": {"n": 1}}}]);
        let Value::Object(row) = json!({"steps": [{"step_number": 1, "tool_calls": [], "model_output": "See.",
            "error": {"message": "no"}, "model_output_message": {"role": "assistant", "content": "See.", "tool_calls": asked}}]})
        else {
            panic!()
        };
        let found = convert(row).expect("a row");
        let expected = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"n\":1}"}});
        assert_eq!(found["messages"][0]["tool_calls"], json!([expected]));
        assert_eq!(
            (&found["messages"][1]["tool_call_id"], &found["messages"][1]["is_error"]),
            (&json!("c"), &json!(true))
        );
    }

    #[test]
    fn steps_of_several_runs_are_parted_at_their_tasks() {
        let Value::Array(steps) = steps() else { panic!() };
        let twice = steps.iter().chain(&steps).map(|s| s.as_object().cloned().expect("an object"));
        let runs = gather(twice.collect());
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0], runs[1]);
    }
}
