//! SWE-agent's `.traj` files (0.x and 1.x): `trajectory`, the steps; `history`, what the model was shown.
//!
//! Owns the steps. A step is what the model wrote, and what its action gave. Where the history has structured calls, these are
//! the step's; else the action is a call of `bash`, in which SWE-agent runs it, and the thought is what stands before it.
//! An empty observation is what the model was told instead. Demonstrations, and steps that SWE-agent made itself, are context.

use serde_json::Value;

use super::form::{Beside, Consumed, Form, Need};
use super::messages::take_content;
use super::native::{Row, call, keep_rest, kind, mark_context, message, pass_through, take_objects, take_text};

const STEPS: &str = "trajectory";
/// What actions run in; structured calls name it so as well.
const SHELL: &str = "bash";

pub(super) static FORM: Form = Form {
    beside: Beside::FileName,
    // Each repeats the whole conversation.
    not_kept: &["history", "trajectory[].query", "trajectory[].messages"],
    ..Form::new(
        "swe-agent",
        "`trajectory` of actions and observations: SWE-agent's `.traj` files",
        &[Need::any(&[STEPS], "a list of steps with `action` and `observation`", |steps| match steps.get(0) {
            Some(step) => step.get("action").is_some() && step.get("observation").is_some(),
            None => steps.is_array(),
        })],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

fn convert(mut row: Row) -> Result<Row, String> {
    let steps = take_objects(&mut row, STEPS)?;
    let history = match row.get("history") {
        None | Some(Value::Null) => Vec::new(),
        Some(_) => take_objects(&mut row, "history")?,
    };
    let mut queries = Vec::new();
    let mut parts = Vec::new();
    for (k, mut step) in steps.into_iter().enumerate() {
        queries.push(query(&mut step).map_err(|detail| format!("step {k}: {detail}"))?);
        parts.push(step);
    }
    let mut messages = prompt(queries.first(), &history)?;
    let mut asked = history.iter().filter(|item| is_assistant(item) && !is_demo(item));
    for (k, step) in parts.into_iter().enumerate() {
        let told = queries.get(k + 1).and_then(Option::as_ref).and_then(|query| query.last());
        let step = Step { fields: step, told, is_asked: queries[k].as_ref().is_none_or(|q| !q.is_empty()) };
        step.add(&mut asked, &mut messages).map_err(|detail| format!("step {k}: {detail}"))?;
    }
    let mut out = Row::new();
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    row.shift_remove("history");
    // Settings and results of a run are of no use as columns of their own.
    let as_text = |value: Value| if value.is_object() || value.is_array() { value.to_string().into() } else { value };
    pass_through(&mut out, row.into_iter().map(|(name, value)| (name, as_text(value))).collect())?;
    Ok(out)
}

fn is_assistant(item: &Row) -> bool {
    item.get("role").is_some_and(|role| role == "assistant")
}

fn is_demo(item: &Row) -> bool {
    item.get("is_demo") == Some(&Value::Bool(true))
}

/// What the model was shown before a step: nothing where SWE-agent did not ask it, `None` where the file does not say.
fn query(step: &mut Row) -> Result<Option<Vec<Row>>, String> {
    step.shift_remove("messages");
    if step.get("query").is_none_or(Value::is_null) {
        return Ok(None);
    }
    let shown = take_objects(step, "query")?;
    Ok(Some(shown.into_iter().filter(|item| !item.is_empty()).collect()))
}

/// The messages before the first step.
fn prompt(first: Option<&Option<Vec<Row>>>, history: &[Row]) -> Result<Vec<Row>, String> {
    let shown = first.and_then(Option::as_ref).filter(|query| !query.is_empty());
    let items: Vec<Row> = match shown {
        Some(query) => query.clone(),
        None => history.iter().take_while(|item| !is_assistant(item) || is_demo(item)).cloned().collect(),
    };
    let name = if shown.is_some() { "step 0: entry" } else { "entry" };
    let of = if shown.is_some() { "query" } else { "history" };
    let item = |(k, item): (usize, Row)| shown_message(item).map_err(|e| format!("{name} {k} of `{of}`: {e}"));
    items.into_iter().enumerate().map(item).collect()
}

/// A message that the model was shown.
fn shown_message(mut item: Row) -> Result<Row, String> {
    let role = take_text(&mut item, "role")?;
    let mut out = message(&role, take_content(&mut item, "content")?);
    if let Some(Value::Array(_)) = item.get("tool_calls") {
        out.extend(item.shift_remove_entry("tool_calls"));
    }
    out.extend(answered(&mut item).map(|id| ("tool_call_id".to_owned(), id)));
    if is_demo(&item) {
        mark_context(&mut out);
    }
    keep_rest(&mut out, [item]);
    Ok(out)
}

/// The call that a message answers; SWE-agent allows one in a step.
fn answered(item: &mut Row) -> Option<Value> {
    match item.get("tool_call_ids").and_then(Value::as_array).map(Vec::as_slice) {
        Some([id]) if !id.is_null() => {
            let id = id.clone();
            item.shift_remove("tool_call_ids");
            Some(id)
        }
        _ => None,
    }
}

struct Step<'q> {
    /// All but its query.
    fields: Row,
    /// The last message of the next step's query.
    told: Option<&'q Row>,
    is_asked: bool,
}

impl Step<'_> {
    /// Adds what the model wrote and what came of it; `asked` are its messages in the history, those after this step's left.
    fn add<'h>(
        mut self,
        asked: &mut (impl Iterator<Item = &'h Row> + Clone),
        out: &mut Vec<Row>,
    ) -> Result<(), String> {
        let response = take_text(&mut self.fields, "response")?;
        let observation = take_content(&mut self.fields, "observation")?;
        let calls = self.structured_calls(&response, asked);
        let action = self.fields.get("action").and_then(Value::as_str).unwrap_or_default();
        let has_call = calls.is_some() || !action.trim().is_empty();
        let mut said = match calls {
            Some(calls) => {
                let mut said = message("assistant", response);
                said.insert("tool_calls".to_owned(), calls);
                said
            }
            None if has_call => self.with_action(response)?,
            None => message("assistant", response),
        };
        if let Some(Value::String(_)) = self.fields.get("reasoning_content") {
            said.extend(self.fields.shift_remove_entry("reasoning_content"));
        }
        self.forget_repeated(&said);
        if !self.is_asked {
            mark_context(&mut said);
        }
        let id = said.get("tool_calls").and_then(|calls| calls.get(0)?.get("id")).filter(|id| !id.is_null()).cloned();
        let answer = self.answer(observation, has_call)?;
        keep_rest(&mut said, [self.fields]);
        out.push(said);
        if let Some(mut answer) = answer {
            answer.extend(id.filter(|_| has_call).map(|id| ("tool_call_id".to_owned(), id)));
            out.push(answer);
        }
        Ok(())
    }

    /// The calls of this step in the history. What was asked again stands in the trajectory alone.
    fn structured_calls<'h>(
        &self,
        response: &str,
        asked: &mut (impl Iterator<Item = &'h Row> + Clone),
    ) -> Option<Value> {
        let mut ahead = asked.clone();
        let item = ahead.next()?;
        let is_this =
            item.get("content").is_some_and(|c| c == response) && item.get("action") == self.fields.get("action");
        if !is_this {
            return None;
        }
        *asked = ahead;
        item.get("tool_calls").filter(|calls| calls.as_array().is_some_and(|all| !all.is_empty())).cloned()
    }

    /// The thought, and the action as a call.
    fn with_action(&mut self, response: String) -> Result<Row, String> {
        let action = take_text(&mut self.fields, "action")?;
        let thought = match self.fields.shift_remove("thought") {
            Some(Value::String(thought)) => thought,
            None | Some(Value::Null) => String::new(),
            other => return Err(format!("`thought` is {}, expected text", kind(other.as_ref()))),
        };
        let mut said = message("assistant", thought);
        let asked = call(None, SHELL, &Value::String(action));
        said.insert("tool_calls".to_owned(), Value::Array(vec![asked]));
        self.fields.insert("response".to_owned(), Value::String(response));
        Ok(said)
    }

    /// Fields that say again what the message says.
    fn forget_repeated(&mut self, said: &Row) {
        for name in ["thought", "action", "response"] {
            let value = self.fields.get(name);
            if value.is_some() && (value == said.get("content") || value == Some(&Value::String(String::new()))) {
                self.fields.shift_remove(name);
            }
        }
    }

    /// What came of the step. Without a call it is not a tool that answers.
    fn answer(&self, observation: Value, has_call: bool) -> Result<Option<Row>, String> {
        let role = if has_call { "tool" } else { "user" };
        let is_empty = observation.as_str().is_none_or(|text| text.trim().is_empty());
        let mut answer = match self.told.filter(|told| is_empty && !is_assistant(told)) {
            Some(told) => shown_message(told.clone())?,
            None if has_call || !is_empty => message(role, observation),
            None => return Ok(None),
        };
        answer.insert("role".to_owned(), Value::String(role.to_owned()));
        Ok(Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Result<Value, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        convert(row).map(Value::Object)
    }

    fn said(role: &str, content: &str) -> Value {
        json!({"role": role, "content": content})
    }

    /// A step that was parsed from text.
    fn step(thought: &str, action: &str, observation: &str) -> Value {
        let response = format!("{thought}```\n{action}```");
        json!({"action": action, "observation": observation, "response": response, "thought": thought})
    }

    fn asked(id: Option<&str>, name: &str, arguments: &str) -> Value {
        json!([{"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}])
    }

    #[test]
    fn thought_action_and_observation_become_a_call_of_the_shell_and_its_result() {
        let history = json!([said("system", "s"), said("user", "q"), said("assistant", "x")]);
        let row = json!({"environment": "swe_main", "trajectory": [step("I look.\n", "ls -F\n", "a.py\n")], "history": history,
            "info": {"exit_status": "submitted"}});
        let found = converted(row).expect("a trajectory");
        let rest = r#"{"response":"I look.\n```\nls -F\n```"}"#;
        let expected = json!([said("system", "s"), said("user", "q"),
            {"role": "assistant", "content": "I look.\n", "tool_calls": asked(None, "bash", "ls -F\n"), "other_fields": rest},
            said("tool", "a.py\n")]);
        assert_eq!(found["messages"], expected);
        assert_eq!(found["info"], r#"{"exit_status":"submitted"}"#);
        assert_eq!(found["environment"], "swe_main");
    }

    #[test]
    fn structured_calls_of_the_history_are_found_behind_a_step_that_was_asked_again() {
        let calls = asked(Some("c1"), "edit", r#"{"x":  1}"#);
        let history = json!([said("user", "q"),
            {"role": "assistant", "content": "now", "action": "edit x", "tool_calls": calls},
            {"role": "tool", "content": "OBSERVATION: ok", "tool_call_ids": ["c1"]}]);
        let refused = json!({"response": "no call", "thought": "no call", "action": "", "observation": "",
            "query": [said("user", "q")]});
        let worked = json!({"response": "now", "thought": "now", "action": "edit x", "observation": "ok",
            "query": [said("user", "q"), said("assistant", "no call"), said("user", "Your output was not formatted correctly.")]});
        let found = converted(json!({"trajectory": [refused, worked], "history": history})).expect("a trajectory");
        let expected = json!([said("user", "q"), said("assistant", "no call"),
            said("user", "Your output was not formatted correctly."),
            {"role": "assistant", "content": "now", "tool_calls": calls, "other_fields": r#"{"action":"edit x"}"#},
            {"role": "tool", "content": "ok", "tool_call_id": "c1"}]);
        assert_eq!(found["messages"], expected);
    }

    #[test]
    fn empty_observation_is_what_the_model_was_told_instead() {
        let mut next = step("b", "ls", "x");
        next["query"] = json!([
            said("user", "q"),
            said("assistant", "a"),
            said("user", "Your command did not produce any output.")
        ]);
        let found = converted(json!({"trajectory": [step("a", "touch x", ""), next]})).expect("a trajectory");
        assert_eq!(found["messages"][1], said("tool", "Your command did not produce any output."));
    }

    #[test]
    fn demonstrations_and_what_the_program_wrote_itself_are_context() {
        let demo = json!({"role": "assistant", "content": "shown", "is_demo": true});
        let mut first = step("a", "ls", "x");
        first["query"] = json!([said("user", "q"), demo]);
        let last = json!({"response": "Exit due to cost limit", "thought": "Exit due to cost limit", "action": "",
            "observation": "Exited (autosubmitted)", "query": [{}]});
        let found = converted(json!({"trajectory": [first, last]})).expect("a trajectory");
        let messages = found["messages"].as_array().expect("messages");
        let loss: Vec<_> = messages.iter().map(|m| m.get("loss").is_some()).collect();
        assert_eq!(loss, [false, true, false, false, true, false]);
        assert_eq!(messages[5], said("user", "Exited (autosubmitted)"));
    }

    #[test]
    fn damaged_steps_are_refused_with_what_is_wrong() {
        let broken = |steps: Value| converted(json!({"trajectory": steps, "history": []})).expect_err("it is damaged");
        assert_eq!(broken(json!([7])), "entry 0 of `trajectory` is a number, expected an object");
        assert_eq!(
            broken(json!([{"action": "ls", "observation": ""}])),
            "step 0: `response` is nothing, expected text"
        );
        let mut odd = step("a", "ls", "x");
        odd["query"] = json!([{"role": 7}]);
        assert_eq!(broken(json!([odd])), "step 0: entry 0 of `query`: `role` is a number, expected text");
    }
}
