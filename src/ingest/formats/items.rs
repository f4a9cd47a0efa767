//! Items of OpenAI's Responses API as native messages: message, reasoning, calls and their outputs.
//!
//! Owns which items make up a message: what the model wrote between two answers of tools is one. An answer stands behind the
//! message that asked for it, even where the model had begun to write again before it came.

use serde_json::Value;
use serde_json::map::Entry;

use super::messages::take_content;
use super::native::{Row, call, keep_rest, kind, message, take_text, text_of};

/// Items that only this API has.
pub(super) const KINDS: [&str; 8] = [
    "function_call",
    "function_call_output",
    "reasoning",
    "custom_tool_call",
    "custom_tool_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_call",
];
/// Items of tools that the API itself runs: their outcome is not told.
const HOSTED: [&str; 5] =
    ["web_search_call", "file_search_call", "code_interpreter_call", "computer_call", "image_generation_call"];

/// Whether a value is such an item.
pub(super) fn is_item(item: &Value) -> bool {
    item.get("type").and_then(Value::as_str).is_some_and(|of_type| KINDS.contains(&of_type))
}

/// The texts of a reasoning item's parts, one a line; `None` if there are none, or others.
fn parts_text(parts: &Value) -> Option<String> {
    let parts = parts.as_array().filter(|parts| !parts.is_empty())?;
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part.get("text")?.as_str()).collect();
    Some(texts?.join("\n"))
}

/// Messages, and the assistant's one that is being put together.
#[derive(Default)]
pub(super) struct Turns {
    out: Vec<Row>,
    open: Option<Row>,
    /// What the items of the open message say beside it.
    rest: Vec<Row>,
    /// Calls without an answer, and where theirs is to stand.
    asked: Vec<(Value, usize)>,
}

impl Turns {
    /// A message that is given as it is.
    pub(super) fn begin(&mut self, message: Row) {
        self.close();
        self.out.push(message);
    }

    /// The messages.
    pub(super) fn finish(mut self) -> Vec<Row> {
        self.close();
        self.out
    }

    pub(super) fn add_all(&mut self, items: Vec<Value>, name: &str) -> Result<(), String> {
        for (k, item) in items.into_iter().enumerate() {
            let added = match item {
                Value::Object(item) => self.add(item),
                other => Err(format!("it is {}, expected an object", kind(Some(&other)))),
            };
            added.map_err(|detail| format!("item {k} of `{name}`: {detail}"))?;
        }
        Ok(())
    }

    pub(super) fn add(&mut self, mut item: Row) -> Result<(), String> {
        // Plain chat messages have no type.
        let of_type = match item.shift_remove("type") {
            None | Some(Value::Null) => "message".to_owned(),
            Some(Value::String(of_type)) => of_type,
            other => return Err(format!("`type` is {}, expected text", kind(other.as_ref()))),
        };
        match of_type.as_str() {
            "message" => self.add_message(item),
            "reasoning" => self.add_reasoning(item),
            "function_call" => self.add_call(item, "arguments"),
            "custom_tool_call" => self.add_call(item, "input"),
            "local_shell_call" => {
                item.insert("name".to_owned(), Value::from("shell"));
                self.add_call(item, "action")
            }
            "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => self.add_answer(item),
            "mcp_call" => {
                let answer = ["output", "error"].map(|name| item.shift_remove(name).unwrap_or_default());
                let id = item.get("id").cloned().unwrap_or_default();
                item.insert("call_id".to_owned(), id.clone());
                self.add_call(item, "arguments")?;
                self.add_answer(answered(id, answer))
            }
            hosted if HOSTED.contains(&hosted) => {
                item.insert("type".to_owned(), Value::from(hosted));
                self.assistant(item);
                Ok(())
            }
            other => {
                let known = "message, reasoning, function_call, function_call_output or another call";
                Err(format!("`type` is `{}`, expected {known}", other.escape_debug()))
            }
        }
    }

    fn add_call(&mut self, mut item: Row, arguments: &str) -> Result<(), String> {
        let name = take_text(&mut item, "name")?;
        let arguments = item.shift_remove(arguments).unwrap_or_default();
        let asked = call(item.shift_remove("call_id"), &name, &arguments);
        let message = self.assistant(item);
        match message.get_mut("tool_calls").and_then(Value::as_array_mut) {
            Some(calls) => calls.push(asked),
            None => drop(message.insert("tool_calls".to_owned(), Value::Array(vec![asked]))),
        }
        Ok(())
    }

    fn add_answer(&mut self, mut item: Row) -> Result<(), String> {
        // Codex says beside the text whether the call went well.
        let is_error = match item.get_mut("output") {
            Some(Value::Object(output)) if output.get("content").is_some() => {
                let is_error = output.get("success").and_then(Value::as_bool).map(|success| !success);
                let content = output.shift_remove("content").unwrap_or_default();
                item.insert("output".to_owned(), content);
                is_error
            }
            Some(Value::Object(_)) => {
                let text = text_of(&item.shift_remove("output").unwrap_or_default());
                item.insert("output".to_owned(), Value::String(text));
                None
            }
            _ => None,
        };
        let mut answer = message("tool", take_content(&mut item, "output")?);
        let id = item.shift_remove("call_id").unwrap_or_default();
        answer.insert("tool_call_id".to_owned(), id.clone());
        let is_error = item.shift_remove("is_error").and_then(|flag| flag.as_bool()).or(is_error);
        answer.extend(is_error.map(|flag| ("is_error".to_owned(), Value::Bool(flag))));
        keep_rest(&mut answer, [item]);
        if self.open.as_ref().is_some_and(|open| open.contains_key("tool_calls")) {
            self.close();
        }
        match self.asked.iter().position(|(asked, _)| *asked == id && !id.is_null()) {
            Some(found) => {
                let (_, at) = self.asked.remove(found);
                self.asked.iter_mut().filter(|(_, place)| *place >= at).for_each(|(_, place)| *place += 1);
                self.out.insert(at, answer);
            }
            None => {
                self.close();
                self.out.push(answer);
            }
        }
        Ok(())
    }

    fn add_message(&mut self, mut item: Row) -> Result<(), String> {
        let role = take_text(&mut item, "role")?;
        let content = take_content(&mut item, "content")?;
        if role == "assistant" {
            self.begin_unless_empty();
            self.assistant(item).insert("content".to_owned(), content);
        } else {
            self.push(message(&role, content), item);
        }
        Ok(())
    }

    fn add_reasoning(&mut self, mut item: Row) -> Result<(), String> {
        let said = ["content", "summary"].into_iter().find_map(|name| Some((name, parts_text(item.get(name)?)?)));
        self.begin_unless_empty();
        let Some((name, text)) = said else {
            self.assistant(item);
            return Ok(());
        };
        item.shift_remove(name);
        match self.assistant(item).entry("reasoning_content") {
            Entry::Vacant(place) => drop(place.insert(Value::String(text))),
            Entry::Occupied(mut said) => *said.get_mut() = Value::String(text_of(said.get()) + "\n" + &text),
        }
        Ok(())
    }

    /// A second text, or what follows a call, is a message of its own.
    fn begin_unless_empty(&mut self) {
        if self.open.as_ref().is_some_and(|m| m.contains_key("tool_calls") || !m["content"].is_null()) {
            self.close();
        }
    }

    /// The assistant's message that an item belongs to.
    fn assistant(&mut self, rest: Row) -> &mut Row {
        self.rest.push(rest);
        self.open.get_or_insert_with(|| message("assistant", Value::Null))
    }

    /// A message of another one's.
    fn push(&mut self, mut message: Row, rest: Row) {
        self.close();
        keep_rest(&mut message, [rest]);
        self.out.push(message);
    }

    fn close(&mut self) {
        if let Some(mut message) = self.open.take() {
            keep_rest(&mut message, std::mem::take(&mut self.rest));
            let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
            let behind = self.out.len() + 1;
            let asked: Vec<_> = calls.filter_map(|call| Some((call.get("id")?.clone(), behind))).collect();
            self.asked.extend(asked);
            self.out.push(message);
        }
    }
}

/// The answer of a call that was answered where it was made.
fn answered(id: Value, [output, error]: [Value; 2]) -> Row {
    let is_error = !error.is_null();
    let text = text_of(if is_error { &error } else { &output });
    Row::from_iter([
        ("call_id".to_owned(), id),
        ("output".to_owned(), Value::String(text)),
        ("is_error".to_owned(), Value::Bool(is_error)),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(items: Value) -> Result<Value, String> {
        let Value::Array(items) = items else { panic!("items are a list") };
        let mut turns = Turns::default();
        turns.add_all(items, "output")?;
        Ok(Value::Array(turns.finish().into_iter().map(Value::Object).collect()))
    }

    #[test]
    fn what_is_written_before_an_answer_comes_does_not_part_call_and_answer() {
        let found = converted(json!([
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call_output", "call_id": "a", "output": "no"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}]));
        let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let expected = json!([
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "content": "no", "tool_call_id": "a"},
            {"role": "assistant", "content": "done", "reasoning_content": "Hm."}]);
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn answers_carry_what_the_program_says_of_them() {
        let found = converted(json!([
            {"type": "custom_tool_call", "call_id": "a", "name": "apply_patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "a", "output": {"content": "bad patch", "success": false}},
            {"type": "mcp_call", "id": "m", "name": "g", "arguments": "{}", "error": "gone", "output": null}]));
        let found = found.expect("messages");
        assert_eq!(found[0]["tool_calls"][0]["function"]["arguments"], "*** Begin");
        assert_eq!((&found[1]["content"], &found[1]["is_error"]), (&json!("bad patch"), &json!(true)));
        assert_eq!((&found[3]["content"], &found[3]["is_error"]), (&json!("gone"), &json!(true)));
    }

    #[test]
    fn other_items_are_named() {
        let known = "expected message, reasoning, function_call, function_call_output or another call";
        assert_eq!(
            converted(json!([{"type": "robot"}])),
            Err(format!("item 0 of `output`: `type` is `robot`, {known}"))
        );
    }
}
