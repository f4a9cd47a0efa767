//! OpenAI's chat form, one JSON object a line: `messages` and `tools`, arguments as strings.
//!
//! Owns that line. Its `weight` on an assistant's message says what is trained on (0 or 1), and is written only where a
//! message is not.

use super::cells::{Cell, Message, is_assistant, is_untrained};
use super::json::{Arguments, message, object};
use super::profile::Profile;

pub(super) static LINES: Profile = Profile::lines("openai", "JSON lines of `messages` and `tools`", |rollout| {
    Ok(vec![vec![Cell::Text(line(&rollout.messages()?, &rollout.tools()?))]])
});

fn line(messages: &[Message], tools: &[String]) -> String {
    let weighs = messages.iter().any(|m| is_assistant(m) && is_untrained(m));
    let weight =
        |m: &Message| (weighs && is_assistant(m)).then_some(("weight", if is_untrained(m) { "0" } else { "1" }));
    let messages: Vec<String> = messages.iter().map(|m| message(m, Arguments::Strings, weight(m))).collect();
    let mut fields = vec![("messages", format!("[{}]", messages.join(",")))];
    if !tools.is_empty() {
        fields.push(("tools", format!("[{}]", tools.join(","))));
    }
    object(&fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<Message> {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn arguments_stay_strings() {
        let found = messages(
            r#"[{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{\"a\":  1}"}}]}]"#,
        );
        let expected = r#"{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":  1}"}}]}],"tools":[{"x":1}]}"#;
        assert_eq!(line(&found, &["{\"x\":1}".to_owned()]), expected);
    }

    #[test]
    fn message_that_is_not_trained_on_weighs_nothing() {
        let found = messages(
            r#"[{"role": "user", "content": "q", "loss": false}, {"role": "assistant", "content": "a", "loss": false},
                {"role": "assistant", "content": "b", "loss": true}]"#,
        );
        let expected = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","weight":0},{"role":"assistant","content":"b","weight":1}]}"#;
        assert_eq!(line(&found, &[]), expected);
        assert!(!line(&found[2..], &[]).contains("weight"), "where all are trained on, nothing is said");
    }
}
