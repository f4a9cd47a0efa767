//! OpenHands' `output.jsonl` and event streams: `history` of actions and observations (0.x), or the SDK's events (1.x).
//!
//! Owns which events are messages: an action is the model's, with the call that it came from; an observation answers it, or
//! is the user's. Several calls of one response are one message. The exit code of a command stands in its text. The reward is
//! whether the run's own report calls the task resolved.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::{joined, take_content};
use super::native::{Row, call, is_said, keep_rest, kind, message, pass_through, take_objects, text_of};

const HISTORY: &str = "history";
/// What the call of an event is made of.
const CALL: [&str; 3] = ["id", "name", "arguments"];
/// Kinds of the SDK's events.
const KINDS: [&str; 5] = ["ActionEvent", "ObservationEvent", "MessageEvent", "SystemPromptEvent", "AgentErrorEvent"];

pub(super) static FORM: Form = Form::new(
    "openhands",
    "`history` of actions and observations: OpenHands' `output.jsonl`, 0.x and the SDK's events",
    &[Need::any(&[HISTORY, "events"], "a list of events with `action` or `observation`", |events| {
        events.as_array().is_some_and(|all| all.iter().any(is_event))
    })],
    |row| Ok(vec![convert(row)?]),
    Consumed::All,
);

/// Records of a stream, one event a line or a file that is a list of them.
pub(super) static STREAM: Form = Form {
    gather: Some(|events| {
        let events = events.into_iter().map(Value::Object).collect();
        vec![Row::from_iter([(HISTORY.to_owned(), Value::Array(events))])]
    }),
    ..Form::new(
        "openhands-events",
        "OpenHands' events alone, as a list or one a line",
        &[
            Need::any(&["action", "observation", "kind"], "what was done or seen", |said| {
                !said.as_str().is_some_and(|said| said.ends_with("Event") && !KINDS.contains(&said))
            }),
            Need::any(&["source"], "agent, user or environment", |source| {
                source.as_str().is_some_and(|who| matches!(who, "agent" | "user" | "environment"))
            }),
            Need::any(&["timestamp"], "a time", Value::is_string),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

fn is_event(event: &Value) -> bool {
    let pair = event.as_array().and_then(|pair| pair.first());
    let event = pair.unwrap_or(event);
    let says = |name: &str| event.get(name).is_some();
    let is_of_sdk = event.get("kind").and_then(Value::as_str).is_some_and(|kind| KINDS.contains(&kind));
    says("source") && (says("action") || says("observation") || is_of_sdk) || pair.is_some() && says("action")
}

fn convert(mut row: Row) -> Result<Row, String> {
    let name = if row.contains_key(HISTORY) { HISTORY } else { "events" };
    // Older files pair each action with its observation.
    if let Some(Value::Array(events)) = row.get_mut(name) {
        let flat = |event| match event {
            Value::Array(pair) => pair,
            event => vec![event],
        };
        *events = std::mem::take(events).into_iter().flat_map(flat).collect();
    }
    let mut story = Story::default();
    for (k, event) in take_objects(&mut row, name)?.into_iter().enumerate() {
        story.add(event).map_err(|detail| format!("event {k} of `{name}`: {detail}"))?;
    }
    let mut out = Row::new();
    out.extend(row.get("instance_id").filter(|id| id.is_string()).map(|id| ("group_id".to_owned(), id.clone())));
    let messages = story.messages.into_iter().map(Value::Object).collect();
    out.insert("messages".to_owned(), Value::Array(messages));
    if let Some(reward) = reward(&row) {
        out.insert("reward".to_owned(), Value::from(reward));
    }
    if !story.others.is_empty() {
        out.insert("other_events".to_owned(), Value::String(Value::Array(story.others).to_string()));
    }
    let as_text = |value: Value| if value.is_object() || value.is_array() { value.to_string().into() } else { value };
    pass_through(&mut out, row.into_iter().map(|(name, value)| (name, as_text(value))).collect())?;
    Ok(out)
}

/// Whether the run's own report calls the task resolved.
fn reward(row: &Row) -> Option<f64> {
    let reports = [row.get("report"), row.get("test_result").and_then(|result| result.get("report"))];
    let resolved = reports.into_iter().flatten().find_map(|report| report.get("resolved")?.as_bool())?;
    Some(f64::from(u8::from(resolved)))
}

/// Messages, as far as the events went.
#[derive(Default)]
struct Story {
    messages: Vec<Row>,
    /// The response that the last message was made of.
    response: Option<Value>,
    others: Vec<Value>,
}

impl Story {
    fn add(&mut self, mut event: Row) -> Result<(), String> {
        let of_kind = event.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        match of_kind.as_str() {
            "ActionEvent" => self.add_asked(event, "llm_response_id"),
            "ObservationEvent" => {
                let mut observation = event.shift_remove("observation").unwrap_or_default();
                let is_error = observation.get("is_error").and_then(Value::as_bool).filter(|is_error| *is_error);
                let content = match observation.get("content").and_then(joined) {
                    Some((text, _)) => text,
                    None => text_of(
                        observation.get("content").or_else(|| observation.get("output")).unwrap_or(&observation),
                    ),
                };
                observation.as_object_mut().into_iter().for_each(|seen| drop(seen.shift_remove("content")));
                event.insert("observation".to_owned(), observation);
                self.answer(event, Value::String(content), is_error)
            }
            "AgentErrorEvent" => {
                let content = event.shift_remove("error").unwrap_or_default();
                self.answer(event, content, Some(true))
            }
            "MessageEvent" => {
                let Some(Value::Object(mut said)) = event.shift_remove("llm_message") else { return Ok(()) };
                let role = said.get("role").and_then(Value::as_str).unwrap_or("user").to_owned();
                let mut out = message(&role, take_content(&mut said, "content")?);
                keep_rest(&mut out, [event]);
                self.push(out);
                Ok(())
            }
            "SystemPromptEvent" => {
                let mut prompt = event.shift_remove("system_prompt").unwrap_or_default();
                let text = prompt.get_mut("text").map_or(Value::Null, Value::take);
                let mut out = message("system", text);
                keep_rest(&mut out, [event]);
                self.push(out);
                Ok(())
            }
            "" if event.get("observation").is_some_and(is_said) => self.add_observation(event),
            "" if event.get("action").is_some_and(is_said) => self.add_action(event),
            _ => {
                self.others.push(Value::Object(event));
                Ok(())
            }
        }
    }

    fn push(&mut self, message: Row) {
        self.response = None;
        self.messages.push(message);
    }

    /// The SDK's action: what the model thought, and its call.
    fn add_asked(&mut self, mut event: Row, response: &str) -> Result<(), String> {
        let of_response = event.get(response).filter(|id| id.is_string()).cloned();
        let mut asked = match event.shift_remove("tool_call") {
            Some(Value::Object(asked)) => asked,
            None | Some(Value::Null) => Row::new(),
            other => return Err(format!("`tool_call` is {}, expected an object", kind(other.as_ref()))),
        };
        // LiteLLM's form has a function of its own.
        if let Some(Value::Object(function)) = asked.shift_remove("function") {
            asked.extend(function);
        }
        let name = asked.get("name").or_else(|| event.get("tool_name")).and_then(Value::as_str).unwrap_or_default();
        let id = asked.get("id").or_else(|| event.get("tool_call_id")).cloned();
        let arguments = asked.get("arguments").or_else(|| event.get("action")).cloned().unwrap_or_default();
        let made = call(id, name, &arguments);
        asked.retain(|name, _| !CALL.contains(&name.as_str()));
        event.insert("tool_call".to_owned(), Value::Object(asked));
        let asked = made;
        let joins = of_response.is_some() && self.response == of_response;
        match self
            .messages
            .iter_mut()
            .rev()
            .find(|m| m.get("role").is_some_and(|role| role == "assistant"))
            .filter(|_| joins)
        {
            Some(said) => {
                if let Some(calls) = said.get_mut("tool_calls").and_then(Value::as_array_mut) {
                    calls.push(asked);
                }
                keep_rest(said, [event]);
            }
            None => {
                let content = take_content(&mut event, "thought")?;
                let mut said = message("assistant", content);
                let thoughts = event.shift_remove("reasoning_content").filter(Value::is_string);
                said.extend(thoughts.map(|text| ("reasoning_content".to_owned(), text)));
                said.insert("tool_calls".to_owned(), Value::Array(vec![asked]));
                ["tool_name", "tool_call_id"].iter().for_each(|name| drop(event.shift_remove(*name)));
                keep_rest(&mut said, [event]);
                self.messages.push(said);
            }
        }
        self.response = of_response;
        Ok(())
    }

    fn answer(&mut self, mut event: Row, content: Value, is_error: Option<bool>) -> Result<(), String> {
        let mut out = message("tool", content);
        out.insert("tool_call_id".to_owned(), event.shift_remove("tool_call_id").unwrap_or_default());
        out.extend(is_error.map(|is_error| ("is_error".to_owned(), Value::Bool(is_error))));
        keep_rest(&mut out, [event]);
        self.messages.push(out);
        Ok(())
    }

    /// An action of 0.x.
    fn add_action(&mut self, mut event: Row) -> Result<(), String> {
        let action = event.get("action").and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_agents = event.get("source").is_none_or(|source| source == "agent");
        let metadata = event.shift_remove("tool_call_metadata").filter(is_said);
        let mut args = match event.shift_remove("args") {
            Some(Value::Object(args)) => args,
            _ => Row::new(),
        };
        if let Some(metadata) = metadata.filter(|_| is_agents) {
            event.extend(
                Some(args).filter(|args| !args.is_empty()).map(|args| ("args".to_owned(), Value::Object(args))),
            );
            return self.add_response(metadata, event);
        }
        let role = match (action.as_str(), is_agents) {
            ("system", _) => "system",
            ("message", true) | ("finish" | "think", true) => "assistant",
            ("message", false) => "user",
            (_, true) => {
                // Without a call of its own, the action is one.
                let thought = args.shift_remove("thought").filter(Value::is_string).unwrap_or_default();
                let mut said = message("assistant", thought);
                said.insert("tool_calls".to_owned(), Value::Array(vec![call(None, &action, &Value::Object(args))]));
                keep_rest(&mut said, [event]);
                self.push(said);
                return Ok(());
            }
            (_, false) => {
                event.insert("args".to_owned(), Value::Object(args));
                self.others.push(Value::Object(event));
                return Ok(());
            }
        };
        let text = ["content", "final_thought", "thought"]
            .iter()
            .find_map(|name| args.get(*name).filter(|t| is_said(t)).cloned());
        let mut said = message(role, text.unwrap_or_default());
        event.insert("args".to_owned(), Value::Object(args));
        keep_rest(&mut said, [event]);
        self.push(said);
        Ok(())
    }

    /// What the model answered, from which an action was made; several actions may be made of one answer.
    fn add_response(&mut self, mut metadata: Value, mut event: Row) -> Result<(), String> {
        let id = metadata.pointer("/model_response/id").filter(|id| id.is_string()).cloned();
        let said = self.messages.iter_mut().rev().find(|m| m.get("role").is_some_and(|role| role == "assistant"));
        if let Some(said) = said.filter(|_| id.is_some() && self.response == id) {
            keep_rest(said, [event]);
            return Ok(());
        }
        let answered = metadata.pointer_mut("/model_response/choices/0/message").map(Value::take);
        let mut said = match answered {
            Some(Value::Object(mut answered)) => {
                let mut said = message("assistant", take_content(&mut answered, "content")?);
                let thoughts = answered.shift_remove("reasoning_content").filter(Value::is_string);
                said.extend(thoughts.map(|text| ("reasoning_content".to_owned(), text)));
                let calls = answered.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
                let calls: Vec<Value> = calls.map(of_function).collect();
                said.extend((!calls.is_empty()).then_some(("tool_calls".to_owned(), Value::Array(calls))));
                ["role", "tool_calls"].iter().for_each(|name| drop(answered.shift_remove(*name)));
                event.insert("message".to_owned(), Value::Object(answered));
                said
            }
            _ => message("assistant", Value::Null),
        };
        if !said.contains_key("tool_calls") {
            let name = metadata.get("function_name").and_then(Value::as_str).unwrap_or_default();
            let asked = call(metadata.get("tool_call_id").cloned(), name, &Value::Null);
            said.insert("tool_calls".to_owned(), Value::Array(vec![asked]));
        }
        event.insert("tool_call_metadata".to_owned(), metadata);
        keep_rest(&mut said, [event]);
        self.messages.push(said);
        self.response = id;
        Ok(())
    }

    /// An observation of 0.x.
    fn add_observation(&mut self, mut event: Row) -> Result<(), String> {
        let of_kind = event.get("observation").and_then(Value::as_str).unwrap_or_default().to_owned();
        let metadata = event.shift_remove("tool_call_metadata").filter(is_said);
        let is_of_state =
            matches!(of_kind.as_str(), "agent_state_changed" | "null" | "recall" | "user_rejected" | "condense");
        let answers = self.messages.last().is_some_and(|m| m.contains_key("tool_calls") || m["role"] == "tool");
        if is_of_state && metadata.is_none() {
            self.others.push(Value::Object(event));
            return Ok(());
        }
        let content = take_content(&mut event, "content")?;
        let is_error = (of_kind == "error").then_some(true);
        if metadata.is_none() && !answers {
            let mut said = message("user", content);
            keep_rest(&mut said, [event]);
            self.push(said);
            return Ok(());
        }
        event.extend(metadata.and_then(|m| m.get("tool_call_id").cloned()).map(|id| ("tool_call_id".to_owned(), id)));
        self.answer(event, if content.is_null() { Value::from("") } else { content }, is_error)
    }
}

fn of_function(asked: &Value) -> Value {
    let function = asked.get("function");
    let name = function.and_then(|f| f.get("name")?.as_str()).unwrap_or_default();
    let arguments = function.and_then(|f| f.get("arguments")).cloned().unwrap_or_default();
    call(asked.get("id").cloned(), name, &arguments)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Row {
        let Value::Object(row) = row else { panic!("a row is an object") };
        assert!(FORM.is_met(&row), "it is recognised");
        convert(row).expect("a row")
    }

    #[test]
    fn actions_are_the_models_and_observations_answer_them() {
        let response = json!({"id": "r", "choices": [{"message": {"content": "See.", "tool_calls":
            [{"id": "a", "function": {"name": "execute_bash", "arguments": "{\"command\": \"ls\"}"}}]}}]});
        let found = converted(json!({"instance_id": "x", "report": {"resolved": true}, "history": [
            {"id": 0, "source": "user", "action": "message", "args": {"content": "q"}},
            {"id": 1, "source": "agent", "action": "run", "args": {"command": "ls"},
             "tool_call_metadata": {"tool_call_id": "a", "function_name": "execute_bash", "model_response": response}},
            {"id": 2, "source": "agent", "observation": "run", "content": "no such file", "cause": 1,
             "extras": {"metadata": {"exit_code": 2}}, "tool_call_metadata": {"tool_call_id": "a"}},
            {"id": 3, "source": "environment", "observation": "agent_state_changed", "content": ""}]}));
        let messages = &found["messages"];
        let roles: Vec<_> = messages.as_array().expect("a list").iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["user", "assistant", "tool"]);
        assert_eq!(messages[1]["tool_calls"][0]["function"]["name"], "execute_bash");
        assert_eq!((&messages[2]["tool_call_id"], &messages[2]["content"]), (&json!("a"), &json!("no such file")));
        assert_eq!((&found["reward"], &found["group_id"]), (&json!(1.0), &json!("x")));
    }

    #[test]
    fn the_sdks_events_are_read_and_calls_of_one_response_are_one_message() {
        let asked = |id: &str| {
            json!({"kind": "ActionEvent", "source": "agent", "thought": [{"type": "text", "text": "See."}],
            "tool_name": "terminal", "tool_call_id": id, "llm_response_id": "r",
            "tool_call": {"id": id, "name": "terminal", "arguments": "{}"}})
        };
        let found = converted(json!({"history": [
            {"kind": "SystemPromptEvent", "source": "agent", "system_prompt": {"type": "text", "text": "s"}},
            {"kind": "MessageEvent", "source": "user", "llm_message": {"role": "user", "content": [{"type": "text", "text": "q"}]}},
            asked("a"), asked("b"),
            {"kind": "ObservationEvent", "source": "environment", "tool_call_id": "a",
             "observation": {"content": [{"type": "text", "text": "x"}], "is_error": false}},
            {"kind": "AgentErrorEvent", "source": "agent", "tool_call_id": "b", "error": "no tool"}]}));
        let messages = &found["messages"];
        assert_eq!(messages.as_array().map(Vec::len), Some(5));
        assert_eq!(messages[2]["tool_calls"].as_array().map(Vec::len), Some(2));
        assert_eq!((&messages[4]["content"], &messages[4]["is_error"]), (&json!("no tool"), &json!(true)));
    }
}
