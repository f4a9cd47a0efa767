//! Messages and tools as JSON text.
//!
//! Owns the order of fields, and which argument strings may stand as objects: those that every JSON reader takes for the
//! object that they are. All others stay the strings that they were, so that one odd call can't spoil a file.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::cells::{Call, ExportError, Message, calls, is_assistant, text};

use crate::batch::json::numbers::large_number;

/// How the arguments of a call are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// As objects, where they are: TRL's chat templates iterate over them.
    Objects,
    /// As the string that the model wrote: OpenAI's form.
    Strings,
}

/// Fields of a message that trainers know, besides role, content and calls.
const FIELDS: [&str; 3] = ["reasoning_content", "name", "tool_call_id"];

/// A message as one JSON object. Absent content is empty text where templates read it, which take both for the same; in
/// OpenAI's form an assistant's is null.
pub(super) fn message(message: &Message, arguments: Arguments, extra: Option<(&str, &str)>) -> String {
    let is_null = arguments == Arguments::Strings
        && is_assistant(message)
        && !message.get("content").is_some_and(Value::is_string);
    let content = if is_null { "null".to_owned() } else { quoted(text(message, "content")) };
    let mut fields = vec![("role", quoted(text(message, "role"))), ("content", content)];
    fields.extend(FIELDS.iter().filter_map(|name| Some((*name, quoted(message.get(*name)?.as_str()?)))));
    // The data's own word on a result, for who reads it again.
    let is_error = message.get("is_error").and_then(Value::as_bool).filter(|_| arguments == Arguments::Objects);
    fields.extend(is_error.map(|flag| ("is_error", flag.to_string())));
    let calls: Vec<String> = calls(message)
        .map(|Call { id, name, arguments: written }| {
            let arguments = match (written, arguments) {
                (None, _) => "null".to_owned(),
                (Some(written), Arguments::Objects) if plain_object(written) => written.to_owned(),
                (Some(written), _) => quoted(written),
            };
            let function = object(&[("name", quoted(name)), ("arguments", arguments)]);
            let id = id.map(|id| ("id", quoted(id)));
            object(&id.into_iter().chain([("type", quoted("function")), ("function", function)]).collect::<Vec<_>>())
        })
        .collect();
    if !calls.is_empty() {
        fields.push(("tool_calls", format!("[{}]", calls.join(","))));
    }
    fields.extend(extra.map(|(name, value)| (name, value.to_owned())));
    object(&fields)
}

/// Each tool as JSON.
pub(super) fn tools(tools: Option<&Value>) -> Result<Vec<String>, ExportError> {
    let tools = match tools {
        None => return Ok(Vec::new()),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(ExportError::Tools { found: kind(other) }),
    };
    let checked = |(tool, value): (usize, &Value)| {
        let text = value.to_string();
        if large_number(&text).is_none() { Ok(text) } else { Err(ExportError::ToolNumber { tool }) }
    };
    tools.iter().enumerate().map(checked).collect()
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

pub(super) fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!("{{{}}}", fields.join(","))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether text is one JSON object that reads the same everywhere.
pub(super) fn plain_object(text: &str) -> bool {
    let is_object = |value: &Value| value.is_object() && is_shallow(value, MAX_DEPTH);
    // What stands around the object would be lost.
    text.starts_with('{')
        && text.ends_with('}')
        && serde_json::from_str(text).is_ok_and(|value| is_object(&value))
        && serde_json::from_str::<Distinct>(text).is_ok()
        && large_number(text).is_none()
}

/// A value in which no object names a field twice: readers differ in which of the two counts.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Distinct)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Distinct;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a value without fields that come twice")
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Distinct>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, _)) = object.next_entry::<String, Distinct>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a field that comes twice"));
            }
        }
        Ok(self)
    }
}

/// Readers differ in how deep they go.
const MAX_DEPTH: usize = 32;

fn is_shallow(value: &Value, most: usize) -> bool {
    most > 0
        && match value {
            Value::Array(items) => items.iter().all(|item| is_shallow(item, most - 1)),
            Value::Object(fields) => fields.values().all(|field| is_shallow(field, most - 1)),
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Message {
        value.as_object().cloned().expect("an object")
    }

    fn called(arguments: &str) -> String {
        let call = json!({"id": "c", "function": {"name": "f", "arguments": arguments}});
        message(&of(json!({"role": "assistant", "tool_calls": [call]})), Arguments::Objects, None)
    }

    #[test]
    fn arguments_keep_their_bytes_as_an_object() {
        let expected = r#"{"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":{"b": 1.50,  "a":"é\u00e9"}}}]}"#;
        assert_eq!(called("{\"b\": 1.50,  \"a\":\"é\\u00e9\"}"), expected);
    }

    #[test]
    fn arguments_that_are_no_plain_object_stay_text() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(60), "]".repeat(60));
        let odd = [
            "{\"a\": 1, \"a\": 2}",
            "{\"a\": [{\"b\": 1, \"\\u0062\": 2}]}",
            "",
            "{\"a\": ",
            "[1]",
            "\"x\"",
            "{\"n\": 123456789012345678901}",
            "{\"n\": 1e999}",
            "{\"n\": NaN}",
            &deep,
        ];
        for arguments in odd {
            let text = called(arguments);
            assert!(text.ends_with(&format!("\"arguments\":{}}}}}]}}", quoted(arguments))), "{text}");
        }
        let large =
            "{\"n\": [18446744073709551615, -9223372036854775808, 1e30], \"s\": \"999999999999999999999\\\"9\"}";
        assert!(called(large).contains(&format!("\"arguments\":{large}")), "what 64 bits hold stays an object");
    }

    #[test]
    fn unknown_fields_are_left_out_and_text_is_escaped() {
        let found = message(
            &of(json!({"role": "tool", "content": "a\"\n\u{1}", "tool_call_id": "c", "is_error": true, "loss": true})),
            Arguments::Strings,
            Some(("weight", "1")),
        );
        assert_eq!(found, r#"{"role":"tool","content":"a\"\n\u0001","tool_call_id":"c","weight":1}"#);
    }

    #[test]
    fn tools_are_a_list_of_what_readers_can_hold() {
        assert_eq!(tools(None), Ok(vec![]));
        assert_eq!(tools(Some(&json!([{"name": "f"}]))), Ok(vec!["{\"name\":\"f\"}".to_owned()]));
        assert_eq!(tools(Some(&json!({"name": "f"}))), Err(ExportError::Tools { found: "an object" }));
    }
}
