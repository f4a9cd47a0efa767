//! Anthropic's messages, one JSON object a line: `system`, `messages` of blocks, `tools`.
//!
//! Owns that line: which native messages are one of Anthropic's, and which can't be. What was read from blocks is written as
//! blocks again, in their order, signatures of thinking included; `input` holds the bytes that the model wrote. Turns that
//! Anthropic's order doesn't allow are refused: no turn is moved, and none is made up.

use serde_json::Value;

use super::cells::{Call, Cell, ExportError, Message, calls, text};
use super::json::{object, plain_object, quoted};
use super::profile::Profile;
use crate::schema::OTHER_FIELDS;

const NAME: &str = "anthropic";

pub(super) static LINES: Profile = Profile::lines(
    NAME,
    "JSON lines of `system`, `messages` of blocks (`tool_use`, `tool_result`, `thinking`) and `tools`: Anthropic's messages",
    |rollout| Ok(vec![vec![Cell::Text(line(&rollout.trained()?, &rollout.tools()?)?)]]),
);

fn line(messages: &[Message], tools: &[String]) -> Result<String, ExportError> {
    let is_system = |message: &Message| matches!(text(message, "role"), "system" | "developer");
    let (system, turns) = messages.split_at(messages.iter().take_while(|message| is_system(message)).count());
    let mut fields = Vec::new();
    let told: Vec<String> = system.iter().map(|message| quoted(text(message, "content"))).collect();
    match told.as_slice() {
        [] => {}
        [one] => fields.push(("system", one.clone())),
        all => fields.push(("system", listed(all.iter().map(|told| block("text", &[("text", told.clone())]))))),
    }
    fields.push(("messages", listed(Turns { first: system.len(), turns, next: 0 }.all()?)));
    if !tools.is_empty() {
        let tools: Result<Vec<_>, _> = tools.iter().enumerate().map(|(tool, text)| of_tool(tool, text)).collect();
        fields.push(("tools", listed(tools?)));
    }
    Ok(object(&fields))
}

fn listed(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
}

fn block(of_type: &str, fields: &[(&str, String)]) -> String {
    object(&[&[("type", quoted(of_type))], fields].concat())
}

/// The messages behind the system's, read one after another.
struct Turns<'m> {
    /// How many messages stand before them.
    first: usize,
    turns: &'m [Message],
    next: usize,
}

impl<'m> Turns<'m> {
    fn all(mut self) -> Result<Vec<String>, ExportError> {
        let mut out = Vec::new();
        while let Some(message) = self.turns.get(self.next) {
            let at = self.next;
            self.next += 1;
            match text(message, "role") {
                "assistant" if at == 0 => return Err(self.misplaced(at, "the assistant's", "the user's")),
                "assistant" => {
                    out.push(assistant(self.first + at, message)?);
                    out.extend(self.answers(at)?);
                }
                "user" => out.push(turn("user", content(message))),
                "tool" | "function" => {
                    return Err(self.misplaced(at, "a result", "one only behind the message that holds its call"));
                }
                _ => return Err(self.misplaced(at, "the system's", "the system's only at the beginning")),
            }
        }
        Ok(out)
    }

    fn misplaced(&self, at: usize, found: &'static str, expected: &'static str) -> ExportError {
        ExportError::Order { message: self.first + at, found, expected, form: NAME }
    }

    /// The results of the calls of message `at`, and what the user says behind them: one message. Nothing if it makes none, or
    /// is the last.
    fn answers(&mut self, at: usize) -> Result<Option<String>, ExportError> {
        let ids = ids(self.first + at, &self.turns[at]);
        if ids.is_empty() || self.next == self.turns.len() {
            return Ok(None);
        }
        let mut open: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut blocks = Vec::new();
        while let Some(result) = self.turns.get(self.next).filter(|m| matches!(text(m, "role"), "tool" | "function")) {
            // A result without an id answers the first call that is open.
            let answered = match result.get("tool_call_id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
                Some(id) => open.iter().position(|open| *open == id),
                None => (!open.is_empty()).then_some(0),
            };
            let Some(answered) = answered else {
                return Err(self.misplaced(self.next, "a result", "one for each call of the message before it"));
            };
            blocks.push(result_block(open.remove(answered), result));
            self.next += 1;
        }
        if !open.is_empty() {
            return Err(self.misplaced(at, "a message with a call that has no result", "a result for each call"));
        }
        if let Some(user) = self.turns.get(self.next).filter(|message| text(message, "role") == "user") {
            blocks.extend(match content_of(text(user, "content")) {
                Some(said) => Some(said[1..said.len() - 1].to_owned()).into_iter().collect(),
                None => blocks_of(user, &mut std::iter::empty(), None),
            });
            self.next += 1;
        }
        Ok(Some(turn("user", listed(blocks))))
    }
}

fn turn(role: &str, content: String) -> String {
    object(&[("role", quoted(role)), ("content", content)])
}

/// The ids of a message's calls. One that has none is named after its place, which is all that tells it.
fn ids(at: usize, message: &Message) -> Vec<String> {
    let named = |(k, call): (usize, Call<'_>)| match call.id {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => format!("call_{at}_{k}"),
    };
    calls(message).enumerate().map(named).collect()
}

fn assistant(at: usize, message: &Message) -> Result<String, ExportError> {
    let mut uses = Vec::new();
    for (id, call) in ids(at, message).into_iter().zip(calls(message)) {
        let input = call.arguments.filter(|arguments| plain_object(arguments));
        let input = input.ok_or(ExportError::Input { message: at, form: NAME })?;
        uses.push(Use { id, name: call.name.to_owned(), input: input.to_owned() });
    }
    let thought = message.get("reasoning_content").and_then(Value::as_str).filter(|thought| !thought.is_empty());
    if uses.is_empty() && thought.is_none() && blocks_read(message).is_none() {
        return Ok(turn("assistant", quoted(text(message, "content"))));
    }
    Ok(turn("assistant", listed(blocks_of(message, &mut uses.into_iter(), thought))))
}

fn result_block(id: &str, result: &Message) -> String {
    let mut fields = vec![("tool_use_id", quoted(id)), ("content", content(result))];
    let is_error = result.get("is_error").and_then(Value::as_bool);
    fields.extend(is_error.map(|flag| ("is_error", flag.to_string())));
    block("tool_result", &fields)
}

/// A call, as a block says it.
struct Use {
    id: String,
    name: String,
    input: String,
}

impl Use {
    fn block(self, of_type: &str) -> String {
        block(of_type, &[("id", quoted(&self.id)), ("name", quoted(&self.name)), ("input", self.input)])
    }
}

/// The blocks that a message was read from, without what the native message says itself.
fn blocks_read(message: &Message) -> Option<Vec<Message>> {
    let beside: Value = serde_json::from_str(message.get(OTHER_FIELDS)?.as_str()?).ok()?;
    let blocks = beside.get("content")?.as_array()?.iter().map(|block| block.as_object().cloned());
    let blocks = blocks.collect::<Option<Vec<_>>>()?;
    // Parts of other forms are none of Anthropic's blocks.
    blocks.iter().all(|block| is_text(block) || is_own(text(block, "type"))).then_some(blocks)
}

/// What a block is that says nothing else.
fn is_text(block: &Message) -> bool {
    matches!(text(block, "type"), "text" | "")
}

/// Blocks besides text that Anthropic's messages have (anthropic 0.70, `types/content_block_param.py`).
fn is_own(of_type: &str) -> bool {
    const KINDS: [&str; 8] = [
        "thinking",
        "redacted_thinking",
        "tool_use",
        "server_tool_use",
        "image",
        "document",
        "search_result",
        "container_upload",
    ];
    KINDS.contains(&of_type) || of_type.ends_with("_tool_result")
}

/// A content that was read as JSON because it holds pictures and the like: the blocks that it is.
fn content_of(said: &str) -> Option<&str> {
    let is_list = said.starts_with("[{") && said.ends_with("}]");
    let blocks: Vec<Message> = is_list.then(|| serde_json::from_str(said).ok()).flatten()?;
    let are_blocks = blocks.iter().all(|block| is_text(block) || is_own(text(block, "type")));
    (are_blocks && !blocks.iter().all(is_text)).then_some(said)
}

/// A user's words or a result: text, or the blocks that they were read from.
fn content(message: &Message) -> String {
    let said = text(message, "content");
    match (content_of(said), blocks_read(message)) {
        (Some(blocks), _) => blocks.to_owned(),
        (None, Some(_)) => listed(blocks_of(message, &mut std::iter::empty(), None)),
        (None, None) => quoted(said),
    }
}

/// A message's blocks: those that it was read from, each filled with what the native message says now, and what none of them
/// holds, in the usual order.
fn blocks_of(message: &Message, uses: &mut impl Iterator<Item = Use>, mut thought: Option<&str>) -> Vec<String> {
    let mut said = Some(text(message, "content")).filter(|said| !said.is_empty());
    let mut out = Vec::new();
    for mut read in blocks_read(message).unwrap_or_default() {
        let of_type = if is_text(&read) { "text" } else { text(&read, "type") }.to_owned();
        let own = match of_type.as_str() {
            // Where text stood in several blocks, the first holds all of it.
            "text" => said.take().map(|said| vec![("text", quoted(said))]),
            "thinking" => thought.take().map(|thought| thinking(thought, text(&read, "signature"))),
            "tool_use" | "server_tool_use" => {
                out.extend(uses.next().map(|call| call.block(&of_type)));
                None
            }
            _ => Some(Vec::new()),
        };
        let Some(own) = own else { continue };
        read.retain(|name, _| name != "type" && own.iter().all(|(own, _)| own != name));
        let kept = read.iter().map(|(name, value)| (name.as_str(), value.to_string()));
        out.push(block(&of_type, &own.into_iter().chain(kept).collect::<Vec<_>>()));
    }
    // What is thought comes before what is said.
    let first = thought.map(|thought| block("thinking", &thinking(thought, "")));
    out.splice(0..0, first);
    out.extend(said.map(|said| block("text", &[("text", quoted(said))])));
    out.extend(uses.map(|call| call.block("tool_use")));
    out
}

fn thinking(thought: &str, signature: &str) -> Vec<(&'static str, String)> {
    vec![("thinking", quoted(thought)), ("signature", quoted(signature))]
}

/// A tool: Anthropic's own, or OpenAI's in its words.
fn of_tool(tool: usize, told: &str) -> Result<String, ExportError> {
    let refused = || ExportError::ToolForm { tool, form: NAME };
    let Ok(Value::Object(told_of)) = serde_json::from_str(told) else { return Err(refused()) };
    if told_of.contains_key("input_schema") {
        return Ok(told.to_owned());
    }
    let function = told_of.get("function").and_then(Value::as_object).unwrap_or(&told_of);
    let name = function.get("name").and_then(Value::as_str).ok_or_else(refused)?;
    let mut fields = vec![("name", quoted(name))];
    fields.extend(function.get("description").and_then(Value::as_str).map(|text| ("description", quoted(text))));
    let schema = match function.get("parameters") {
        None | Some(Value::Null) => block("object", &[]),
        Some(schema @ Value::Object(_)) => schema.to_string(),
        Some(_) => return Err(refused()),
    };
    fields.push(("input_schema", schema));
    Ok(object(&fields))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(messages: Value) -> Result<Value, ExportError> {
        let messages: Vec<Message> = serde_json::from_value(messages).expect("messages");
        line(&messages, &[]).map(|line| serde_json::from_str(&line).expect("JSON"))
    }

    fn call(id: Value, arguments: &str) -> Value {
        json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
    }

    #[test]
    fn calls_and_results_become_blocks_and_the_system_stands_beside() {
        let found = written(json!([
            {"role": "system", "content": "Be good."}, {"role": "user", "content": "q"},
            {"role": "assistant", "content": "See.", "reasoning_content": "Hm.", "tool_calls": [call(json!("a"), "{\"x\": 1}"), call(json!("b"), "{}")]},
            {"role": "tool", "content": "3", "tool_call_id": "b", "is_error": false},
            {"role": "tool", "content": "no", "tool_call_id": "a", "is_error": true},
            {"role": "user", "content": "Go on."}, {"role": "assistant", "content": "Done."}]));
        let expected = json!({"system": "Be good.", "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "See."},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "b", "content": "3", "is_error": false},
                {"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": true},
                {"type": "text", "text": "Go on."}]},
            {"role": "assistant", "content": "Done."}]});
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn input_keeps_the_bytes_of_the_arguments() {
        let arguments = "{\"b\": 1.50,  \"a\":\"é\\u00e9\"}";
        let messages = json!([{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [call(json!("c"), arguments)]}]);
        let messages: Vec<Message> = serde_json::from_value(messages).expect("messages");
        let found = line(&messages, &[]).expect("a line");
        assert!(found.contains(&format!("\"input\":{arguments}}}")), "{found}");
    }

    #[test]
    fn calls_without_ids_are_answered_by_position() {
        let found = written(json!([{"role": "user", "content": "q"},
            {"role": "assistant", "content": null, "tool_calls": [call(Value::Null, "{}"), call(Value::Null, "{}")]},
            {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]))
        .expect("a line");
        let blocks = |k: usize, name: &str| -> Vec<String> {
            let blocks = found["messages"][k]["content"].as_array().expect("blocks");
            blocks.iter().map(|block| block[name].as_str().expect("an id").to_owned()).collect()
        };
        assert_eq!(
            (blocks(1, "id"), blocks(2, "tool_use_id")),
            (vec!["call_1_0".into(), "call_1_1".into()], vec!["call_1_0".into(), "call_1_1".into()])
        );
    }

    #[test]
    fn blocks_that_were_read_keep_their_order_and_their_other_fields() {
        let beside = json!({"content": [{"type": "text", "cache_control": {"type": "ephemeral"}}, {"type": "thinking", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"}, {"type": "tool_use"}]});
        let found = written(json!([{"role": "user", "content": "q"},
            {"role": "assistant", "content": "See.", "reasoning_content": "Hm.", "other_fields": beside.to_string(), "tool_calls": [call(json!("a"), "{}")]}]))
        .expect("a line");
        let expected = json!([{"type": "text", "text": "See.", "cache_control": {"type": "ephemeral"}}, {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"}, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]);
        assert_eq!(found["messages"][1]["content"], expected);
    }

    #[test]
    fn pictures_are_blocks_again() {
        let picture = r#"[{"type":"image","source":{"type":"url","url":"x"}},{"type":"text","text":"This?"}]"#;
        let of = |content: &str| {
            written(json!([{"role": "user", "content": content}])).expect("a line")["messages"][0]["content"].clone()
        };
        assert_eq!(of(picture).to_string(), picture);
        for words in ["[{\"type\":\"text\",\"text\":\"x\"}]", "[{\"type\":\"image_url\"}]", "[{", "[]"] {
            assert_eq!(of(words), json!(words), "what a user wrote is left as it is");
        }
    }

    #[test]
    fn what_the_order_of_turns_does_not_allow_is_refused_with_its_message() {
        let asked = |id: &str| json!({"role": "assistant", "tool_calls": [call(json!(id), "{}")]});
        let user = json!({"role": "user", "content": "q"});
        let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "1"});
        let refused = |messages: Value| written(messages).expect_err("it can't be said").to_string();
        for (messages, told) in [
            (json!([asked("a")]), "message 0 is the assistant's, which `anthropic` can't say there: it has the user's"),
            (
                json!([user, {"role": "system", "content": "s"}]),
                "message 1 is the system's, which `anthropic` can't say there: it has the system's only at the beginning",
            ),
            (
                json!([user, result("a")]),
                "message 1 is a result, which `anthropic` can't say there: it has one only behind the message that holds its call",
            ),
            (
                json!([user, asked("a"), result("b")]),
                "message 2 is a result, which `anthropic` can't say there: it has one for each call of the message before it",
            ),
            (
                json!([user, asked("a"), user]),
                "message 1 is a message with a call that has no result, which `anthropic` can't say there: it has a result for each call",
            ),
            (
                json!([user, {"role": "assistant", "tool_calls": [call(json!("a"), "{\"x\": ")]}]),
                "the arguments of a call in message 1 are not a plain JSON object, which `anthropic` can't say",
            ),
        ] {
            assert_eq!(refused(messages), told);
        }
        assert!(written(json!([user, asked("a")])).is_ok(), "the last message's calls may be open");
    }

    #[test]
    fn tools_are_said_in_its_words() {
        let tool = json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}});
        let own = r#"{"name":"f","input_schema":{"type":"object"}}"#;
        let expected = r#"{"name":"f","description":"d","input_schema":{"type":"object","properties":{}}}"#;
        assert_eq!(of_tool(0, &tool.to_string()).as_deref(), Ok(expected));
        assert_eq!(of_tool(0, own).as_deref(), Ok(own));
        assert_eq!(of_tool(0, r#"{"name":"f"}"#).as_deref(), Ok(own));
        assert_eq!(of_tool(1, "7"), Err(ExportError::ToolForm { tool: 1, form: NAME }));
    }
}
