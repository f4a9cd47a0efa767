//! The parts of a message under the names that programs give them, as Anthropic's blocks: text, thinking, tool_use, tool_result.
//!
//! Owns the table of names: AI SDK (`tool-call`, `tool-result`, `tool-NAME` with a state), Gemini (`functionCall`,
//! `functionResponse`), pi (`toolCall`), opencode (`tool`), OpenTelemetry (`tool_call`, `tool_call_response`). What becomes of blocks
//! is [`super::blocks`]'s to say. What a part says beside these stays in its block.

use serde_json::Value;

use super::blocks::messages_of;
use super::native::{Row, is_said, keep_rest, kind, message, text_of};

/// Parts that hold a call, and maybe what came of it.
const CALLS: [&str; 6] = ["tool-call", "tool_call", "toolCall", "function_call", "tool-invocation", "dynamic-tool"];
/// Parts that hold what came of a call.
const ANSWERS: [&str; 4] = ["tool-result", "tool_call_response", "toolResult", "tool_call_output"];
/// Parts of text.
const TEXTS: [&str; 4] = ["text", "input_text", "output_text", "refusal"];
const THOUGHTS: [&str; 3] = ["thinking", "reasoning", "thought"];

/// Names of the fields of parts.
const IDS: [&str; 6] = ["id", "toolCallId", "tool_call_id", "callID", "call_id", "tool_use_id"];
const NAMES: [&str; 4] = ["name", "toolName", "tool_name", "tool"];
const INPUTS: [&str; 5] = ["input", "arguments", "args", "parameters", "rawInput"];
const OUTPUTS: [&str; 5] = ["output", "result", "response", "content", "responses"];

/// Whether a part is one that holds a call or an answer, under a name that Anthropic's blocks do not have.
pub(super) fn is_call_or_answer(part: &Value) -> bool {
    if part.get("functionCall").is_some_and(Value::is_object)
        || part.get("functionResponse").is_some_and(Value::is_object)
    {
        return true;
    }
    let Some(of_kind) = part.get("type").and_then(Value::as_str) else { return false };
    let is_named = CALLS.contains(&of_kind) || ANSWERS.contains(&of_kind);
    // Of the AI SDK's `tool-NAME` and of opencode's `tool`.
    is_named || (of_kind.starts_with("tool-") || of_kind == "tool") && part.get("state").is_some()
}

/// Who speaks, under the names that programs have for it.
pub(super) fn role_of(name: &str) -> &str {
    match name {
        "model" | "gemini" | "ai" => "assistant",
        "human" => "user",
        "toolResult" | "function" => "tool",
        other => other,
    }
}

/// The native messages of one that is made of parts; `rest` is what it says beside them.
///
/// # Errors
/// What was expected where, and what was found.
pub(super) fn messages_of_parts(role: &str, parts: Value, rest: Row) -> Result<Vec<Row>, String> {
    let parts = match parts {
        Value::Array(parts) => parts,
        // One part, as Gemini's programs take it.
        part @ Value::Object(_) => vec![part],
        text @ (Value::String(_) | Value::Null) => {
            let mut said = message(role, text);
            keep_rest(&mut said, [rest]);
            return Ok(vec![said]);
        }
        other => return Err(format!("`parts` is {}, expected a list", kind(Some(&other)))),
    };
    let (mut turn, mut out, mut rest) = (Turn::default(), Vec::new(), Some(rest));
    for (k, part) in parts.into_iter().enumerate() {
        let part = match part {
            Value::Object(part) => part,
            Value::String(text) => {
                Row::from_iter([("type".to_owned(), "text".into()), ("text".to_owned(), text.into())])
            }
            other => return Err(format!("part {k} is {}, expected an object", kind(Some(&other)))),
        };
        for block in blocks_of(part).map_err(|detail| format!("part {k}: {detail}"))? {
            if turn.is_over(&block) {
                std::mem::take(&mut turn).add_to(&mut out, role, rest.take())?;
            }
            turn.add(block);
        }
    }
    turn.add_to(&mut out, role, rest.take())?;
    Ok(out)
}

/// What a model said up to the next answers, and these.
#[derive(Default)]
struct Turn {
    said: Vec<Value>,
    answers: Vec<Value>,
}

impl Turn {
    /// Whether a block belongs to the next turn: what is said behind an answer was written after it came.
    fn is_over(&self, block: &Row) -> bool {
        !self.answers.is_empty() && (is_said_by_block(block) && type_of(block) != "tool_use" || begins_a_step(block))
    }

    fn add(&mut self, block: Row) {
        let is_answer = type_of(&block) == "tool_result";
        if is_answer { &mut self.answers } else { &mut self.said }.push(Value::Object(block));
    }

    /// Adds its messages to those of the same program's message before.
    fn add_to(self, earlier: &mut Vec<Row>, role: &str, rest: Option<Row>) -> Result<(), String> {
        let mut out = Vec::new();
        let is_first = earlier.is_empty();
        let (mut rest, said) = (rest.unwrap_or_default(), self.said);
        let says_any = said.iter().filter_map(Value::as_object).any(is_said_by_block);
        if says_any || (!said.is_empty() && is_first) {
            out.extend(messages_of(role, Value::Array(said), std::mem::take(&mut rest))?);
        } else if !said.is_empty() {
            // Marks of steps and the like: nobody said them.
            rest.insert("parts".to_owned(), Value::Array(said));
            let before = earlier.last_mut().filter(|_| self.answers.is_empty());
            before.into_iter().for_each(|before| keep_rest(before, [std::mem::take(&mut rest)]));
        }
        if !self.answers.is_empty() {
            out.extend(messages_of("user", Value::Array(self.answers), std::mem::take(&mut rest))?);
        }
        if out.is_empty() && is_first && role == "assistant" {
            let mut empty = message(role, Value::Null);
            keep_rest(&mut empty, [rest]);
            out.push(empty);
        }
        earlier.extend(out);
        Ok(())
    }
}

/// Whether a block is something that its speaker said, called or got.
fn is_said_by_block(block: &Row) -> bool {
    let of_type = type_of(block);
    matches!(of_type, "text" | "thinking" | "redacted_thinking" | "tool_use" | "server_tool_use" | "tool_result")
        || block.contains_key("inlineData")
        || matches!(of_type, "image" | "document" | "image_url" | "file")
}

fn begins_a_step(block: &Row) -> bool {
    matches!(type_of(block), "step-start" | "step_start")
}

fn type_of(block: &Row) -> &str {
    block.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn take_first(row: &mut Row, names: &[&str]) -> Option<Value> {
    names
        .iter()
        .find_map(|name| row.get(*name).is_some_and(|v| !v.is_null()).then(|| row.shift_remove(*name)).flatten())
}

/// A part as blocks: a call that holds its own answer is two.
fn blocks_of(mut part: Row) -> Result<Vec<Row>, String> {
    if let Some(Value::Object(asked)) = part.shift_remove("functionCall") {
        return Ok(vec![call(asked, part)?]);
    }
    if let Some(Value::Object(answer)) = part.shift_remove("functionResponse") {
        return Ok(vec![answered(answer, part, None)]);
    }
    if let Some(Value::Object(invoked)) = part.shift_remove("toolInvocation") {
        return call_and_answer(invoked, part);
    }
    let of_kind = type_of(&part).to_owned();
    if let Some(Value::Object(mut state)) = part.get("state").filter(|state| state.is_object()).cloned() {
        // opencode has input and output one level deeper.
        part.shift_remove("state");
        part.shift_remove("type");
        state.extend(part);
        // A part's own id is not its call's.
        let own = state.shift_remove_entry("id");
        return call_and_answer(state, Row::from_iter(own));
    }
    match of_kind.as_str() {
        "tool_use" | "tool_result" | "redacted_thinking" | "server_tool_use" => Ok(vec![part]),
        kind if ANSWERS.contains(&kind) => {
            part.shift_remove("type");
            Ok(vec![answered(part, Row::new(), None)])
        }
        kind if CALLS.contains(&kind) => {
            part.shift_remove("type");
            call_and_answer(part, Row::new())
        }
        kind if kind.starts_with("tool-") && part.contains_key("state") => {
            let name = kind.trim_start_matches("tool-").to_owned();
            part.shift_remove("type");
            part.entry("toolName").or_insert_with(|| name.into());
            call_and_answer(part, Row::new())
        }
        kind if THOUGHTS.contains(&kind) || part.get("thought") == Some(&Value::Bool(true)) => {
            let text = take_first(&mut part, &["thinking", "text", "content", "reasoning"]);
            Ok(vec![block_of_text("thinking", text, part)])
        }
        kind if TEXTS.contains(&kind) || kind.is_empty() && part.contains_key("text") => {
            let text = take_first(&mut part, &["text", "content", "refusal"]);
            Ok(vec![block_of_text("text", text, part)])
        }
        _ => Ok(vec![part]),
    }
}

fn block_of_text(of_kind: &str, text: Option<Value>, mut rest: Row) -> Row {
    rest.shift_remove("type");
    let text = text.map_or_else(String::new, |text| text_of(&text));
    let mut out = Row::from_iter([("type".to_owned(), of_kind.into()), (of_kind.to_owned(), text.into())]);
    out.extend(rest);
    out
}

/// A block of a call; `beside` is what stood around it.
fn call(mut asked: Row, beside: Row) -> Result<Row, String> {
    let id = take_first(&mut asked, &IDS).unwrap_or_default();
    let name = match take_first(&mut asked, &NAMES) {
        Some(Value::String(name)) => name,
        found => return Err(format!("`name` of a call is {}, expected text", kind(found.as_ref()))),
    };
    let input = take_first(&mut asked, &INPUTS).unwrap_or_default();
    let mut out = Row::from_iter([
        ("type".to_owned(), "tool_use".into()),
        ("id".to_owned(), id),
        ("name".to_owned(), name.into()),
        ("input".to_owned(), input),
    ]);
    out.extend(asked);
    out.extend(beside);
    Ok(out)
}

/// The blocks of a part in which what came of its call stands, if anything has.
fn call_and_answer(mut part: Row, beside: Row) -> Result<Vec<Row>, String> {
    let error = take_first(&mut part, &["errorText", "error"]);
    let status =
        part.get("status").or_else(|| part.get("state")).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_error = error.is_some() || matches!(status.as_str(), "error" | "output-error" | "cancelled" | "failed");
    let output = error.clone().or_else(|| take_first(&mut part, &OUTPUTS));
    let is_answered = output.is_some() || is_error;
    let id = IDS.iter().find_map(|name| part.get(*name).filter(|id| !id.is_null()).cloned()).unwrap_or_default();
    let mut out = vec![call(part, beside)?];
    if is_answered {
        let answer =
            Row::from_iter([("tool_call_id".to_owned(), id), ("output".to_owned(), output.unwrap_or_default())]);
        out.push(answered(answer, Row::new(), is_error.then_some(true)));
    }
    Ok(out)
}

/// A block of an answer.
pub(super) fn answered(mut answer: Row, beside: Row, is_error: Option<bool>) -> Row {
    let id = take_first(&mut answer, &["tool_call_id", "toolCallId", "call_id", "callID", "tool_use_id", "id"]);
    let (content, of_output) = content_of(take_first(&mut answer, &OUTPUTS).unwrap_or_default());
    let own =
        ["isError", "is_error"].iter().find_map(|name| answer.shift_remove(*name)).and_then(|flag| flag.as_bool());
    let mut out = Row::from_iter([
        ("type".to_owned(), "tool_result".into()),
        ("tool_use_id".to_owned(), id.unwrap_or_default()),
        ("content".to_owned(), content),
    ]);
    let is_error = is_error.or(own).or(of_output);
    out.extend(is_error.map(|flag| ("is_error".to_owned(), flag.into())));
    out.extend(answer);
    out.extend(beside);
    out
}

/// What a tool said, out of what was put around it, and whether that calls it an error.
fn content_of(output: Value) -> (Value, Option<bool>) {
    let Value::Object(mut fields) = output else {
        return match output {
            text @ (Value::String(_) | Value::Null) => (text, None),
            parts @ Value::Array(_) if are_texts(&parts) => (parts, None),
            other => (text_of(&other).into(), None),
        };
    };
    // The AI SDK says of what type a value is.
    if let (Some(of_type), Some(value)) = (fields.get("type").and_then(Value::as_str), fields.get("value"))
        && fields.len() == 2
    {
        let is_error = of_type.starts_with("error-").then_some(true);
        return (content_of(value.clone()).0, is_error);
    }
    let said: Vec<String> = fields.iter().filter(|(_, value)| is_said(value)).map(|(name, _)| name.clone()).collect();
    match said.as_slice() {
        [name] if name == "error" => (text_of(&fields.shift_remove(name).unwrap_or_default()).into(), Some(true)),
        [name] if matches!(name.as_str(), "output" | "result" | "content") => {
            content_of(fields.shift_remove(name).unwrap_or_default())
        }
        _ => (Value::Object(fields).to_string().into(), None),
    }
}

fn are_texts(parts: &Value) -> bool {
    super::messages::joined(parts).is_some()
}

/// Whether any message of a list has a part that holds a call or an answer.
pub(super) fn any_has_parts(messages: &Value) -> bool {
    let has = |message: &Value| {
        ["parts", "content"].iter().filter_map(|name| message.get(*name)?.as_array()).flatten().any(is_call_or_answer)
    };
    messages.as_array().is_some_and(|all| all.iter().any(has))
}

/// The native messages of one that has its parts under `parts` or `content`.
pub(super) fn messages_of_one(mut item: Row) -> Result<Vec<Row>, String> {
    let role = match item.shift_remove("role") {
        Some(Value::String(role)) => role_of(&role).to_owned(),
        None => "user".to_owned(),
        found => return Err(format!("`role` is {}, expected text", kind(found.as_ref()))),
    };
    let name = if item.get("parts").is_some_and(|parts| !parts.is_null()) { "parts" } else { "content" };
    let parts = item.shift_remove(name).unwrap_or_default();
    // The AI SDK repeats what its parts say.
    if name == "parts" && item.get("content").is_some_and(Value::is_string) {
        let content = item.shift_remove("content").unwrap_or_default();
        let parts_text = joined_texts(&parts);
        if parts_text.as_deref() != content.as_str() {
            item.insert("content".to_owned(), content);
        }
    }
    messages_of_parts(&role, parts, item)
}

fn joined_texts(parts: &Value) -> Option<String> {
    let texts = parts.as_array()?.iter().filter_map(|part| part.get("text")?.as_str());
    Some(texts.collect())
}

/// What a call's own answer says, as a part.
pub(super) fn answer_of(id: Value, output: Value, is_error: Option<bool>) -> Value {
    Value::Object(answered(
        Row::from_iter([("tool_call_id".to_owned(), id), ("output".to_owned(), output)]),
        Row::new(),
        is_error,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(role: &str, parts: Value) -> Value {
        let made = messages_of_parts(role, parts, Row::new()).expect("messages");
        Value::Array(made.into_iter().map(Value::Object).collect())
    }

    fn asked(id: &str, arguments: &str) -> Value {
        json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
    }

    #[test]
    fn calls_and_answers_are_the_same_under_every_name() {
        let calls = [
            json!({"type": "tool-call", "toolCallId": "a", "toolName": "f", "input": {"x": 1}}),
            json!({"type": "tool_call", "id": "a", "name": "f", "arguments": {"x": 1}}),
            json!({"type": "toolCall", "id": "a", "name": "f", "arguments": {"x": 1}}),
            json!({"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}}),
        ];
        for call in calls {
            let expected = json!([{"role": "assistant", "content": null, "tool_calls": [asked("a", "{\"x\":1}")]}]);
            assert_eq!(of("assistant", json!([call])), expected, "{call}");
        }
        let answers = [
            json!({"type": "tool-result", "toolCallId": "a", "output": {"type": "error-text", "value": "no"}}),
            json!({"type": "tool-result", "toolCallId": "a", "result": "no", "isError": true}),
            json!({"functionResponse": {"id": "a", "response": {"error": "no"}}}),
        ];
        for answer in answers {
            let expected = json!([{"role": "tool", "content": "no", "tool_call_id": "a", "is_error": true}]);
            assert_eq!(of("user", json!([answer])), expected, "{answer}");
        }
        let plain = of("tool", json!([{"type": "tool_call_response", "id": "a", "response": {"output": "3"}}]));
        assert_eq!(plain, json!([{"role": "tool", "content": "3", "tool_call_id": "a"}]));
    }

    #[test]
    fn calls_that_hold_their_answers_are_turns() {
        let found = of(
            "assistant",
            json!([{"type": "step-start"}, {"type": "text", "text": "See."},
                {"type": "tool", "id": "p", "callID": "a", "tool": "f", "state": {"status": "error", "input": {}, "error": "no"}},
                {"type": "text", "text": "Again."},
                {"type": "tool-f", "toolCallId": "b", "state": "output-available", "input": {}, "output": {"n": 3}},
                {"type": "text", "text": "Done."}]),
        );
        let roles: Vec<_> = found.as_array().expect("a list").iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["assistant", "tool", "assistant", "tool", "assistant"]);
        assert_eq!((&found[1]["content"], &found[1]["is_error"]), (&json!("no"), &json!(true)));
        assert_eq!((&found[3]["content"], &found[3]["tool_call_id"]), (&json!("{\"n\":3}"), &json!("b")));
        assert_eq!(found[2]["tool_calls"], json!([asked("b", "{}")]));
    }

    #[test]
    fn thoughts_are_reasoning() {
        for thought in [json!({"thought": true, "text": "Hm."}), json!({"type": "reasoning", "content": "Hm."})] {
            let found = of("assistant", json!([thought, {"text": "Yes."}]));
            assert_eq!((&found[0]["reasoning_content"], &found[0]["content"]), (&json!("Hm."), &json!("Yes.")));
        }
    }

    #[test]
    fn damaged_parts_are_refused_with_what_is_wrong() {
        let refused = |parts: Value| messages_of_parts("assistant", parts, Row::new()).expect_err("it is damaged");
        assert_eq!(refused(json!(7)), "`parts` is a number, expected a list");
        assert_eq!(refused(json!([7])), "part 0 is a number, expected an object");
        assert_eq!(refused(json!([{"functionCall": {}}])), "part 0: `name` of a call is nothing, expected text");
    }
}
