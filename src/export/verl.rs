//! verl's multi-turn SFT data set (0.9): `messages` of role and content, nothing else.
//!
//! Owns the raw text of a message: verl decodes no JSON columns and drops no nulls, and renders each message by itself. So
//! calls, reasoning and tools stand in the text, in the Hermes form that Qwen's template gives them; rendered by that
//! template they are the tokens of the structured form.

use super::cells::{Call, Cell, Cells, Kind, Message, calls, text};
use super::profile::{Column, Container, MadeOf, Names, Profile};

use super::json::quoted;
use crate::python_json;
use crate::rollout::CALL_MARKER;

pub(super) static SFT: Profile = Profile {
    name: "verl-sft",
    help: "verl's multi-turn SFT: `messages` of role and content, calls and tools as text",
    container: Container::Parquet,
    made_of: MadeOf::Rollouts,
    configuration: None,
    names: Names::Rollout,
    columns: |_| COLUMNS,
    is_of_tokens: |_| false,
    needs_arguments: false,
    of_rollout: Some(|rollout| Ok(vec![sft(&rollout.trained()?, &rollout.tools()?)])),
    of_pair: None,
};

const COLUMNS: &[Column] = &[("messages", Kind::Turns)];

fn sft(messages: &[Message], tools: &[String]) -> Cells {
    let mut turns: Vec<(String, String)> = Vec::with_capacity(messages.len());
    let mut k = 0;
    while k < messages.len() {
        let results = messages[k..].iter().take_while(|m| is_result(m)).count();
        if results > 1 {
            // The template puts the results of parallel calls into one turn; rendered one by one they would be several.
            let texts: Vec<String> = messages[k..k + results]
                .iter()
                .map(|m| format!("<tool_response>\n{}\n</tool_response>", text(m, "content")))
                .collect();
            turns.push(("user".to_owned(), texts.join("\n")));
            k += results;
        } else {
            turns.push((text(&messages[k], "role").to_owned(), content(&messages[k])));
            k += 1;
        }
    }
    if let Some(tools) = told(tools, &turns) {
        match turns.first_mut().filter(|(role, _)| role == "system") {
            Some((_, system)) if system.is_empty() => *system = tools,
            Some((_, system)) => *system = format!("{system}\n\n{tools}"),
            None => turns.insert(0, ("system".to_owned(), tools)),
        }
    }
    vec![Cell::Turns(turns)]
}

fn is_result(message: &Message) -> bool {
    matches!(text(message, "role"), "tool" | "function")
}

/// What a message says, reasoning and calls included.
fn content(message: &Message) -> String {
    let mut out = match text(message, "reasoning_content") {
        "" => String::new(),
        reasoning => format!("<think>\n{reasoning}\n</think>\n\n"),
    };
    out.push_str(text(message, "content"));
    for (k, Call { name, arguments, .. }) in calls(message).enumerate() {
        if k > 0 || !text(message, "content").is_empty() {
            out.push('\n');
        }
        for part in [
            CALL_MARKER,
            "\n{\"name\": ",
            &quoted(name),
            ", \"arguments\": ",
            arguments.unwrap_or("null"),
            "}\n</tool_call>",
        ] {
            out.push_str(part);
        }
    }
    out
}

/// How the tools are told to the model, unless its prompt does so already.
fn told(tools: &[String], turns: &[(String, String)]) -> Option<String> {
    let is_told = turns.first().is_some_and(|(role, text)| role == "system" && text.contains("<tools>"));
    if tools.is_empty() || is_told {
        return None;
    }
    let tools: Vec<String> = tools
        .iter()
        .map(|tool| serde_json::from_str(tool).map_or(tool.clone(), |tool| python_json::dumps(&tool, None)))
        .collect();
    Some(format!(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function \
         signatures within <tools></tools> XML tags:\n<tools>\n{}\n</tools>\n\nFor each function call, return a json object \
         with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{{\"name\": \
         <function-name>, \"arguments\": <args-json-object>}}\n</tool_call>",
        tools.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(messages: &str, tools: &[&str]) -> Vec<(String, String)> {
        let tools: Vec<String> = tools.iter().map(|t| (*t).to_owned()).collect();
        match sft(&serde_json::from_str::<Vec<Message>>(messages).expect("JSON"), &tools).remove(0) {
            Cell::Turns(turns) => turns,
            other => panic!("turns, not {other:?}"),
        }
    }

    #[test]
    fn calls_and_reasoning_stand_in_the_text() {
        let found = turns(
            r#"[{"role": "user", "content": "q"}, {"role": "assistant", "content": "see", "reasoning_content": "hm",
                 "tool_calls": [{"function": {"name": "f", "arguments": "{\"a\":  1"}}, {"function": {"name": "g", "arguments": "{}"}}]},
                {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}, {"role": "assistant"}]"#,
            &[],
        );
        let said = "<think>\nhm\n</think>\n\nsee\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":  1}\n</tool_call>\n\
                    <tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>";
        let results = "<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>";
        let expected = [("user", "q"), ("assistant", said), ("user", results), ("assistant", "")];
        assert_eq!(found, expected.map(|(role, text)| (role.to_owned(), text.to_owned())));
    }

    #[test]
    fn tools_are_told_once() {
        let tool = r#"{"name":"f"}"#;
        let with_prompt =
            turns(r#"[{"role": "system", "content": "Be good."}, {"role": "user", "content": "q"}]"#, &[tool]);
        assert!(with_prompt[0].1.starts_with("Be good.\n\n# Tools\n"), "{}", with_prompt[0].1);
        assert!(with_prompt[0].1.contains("<tools>\n{\"name\": \"f\"}\n</tools>"), "{}", with_prompt[0].1);
        assert_eq!(turns(r#"[{"role": "user", "content": "q"}]"#, &[tool])[0].0, "system");
        let told = r#"[{"role": "system", "content": "<tools>\n{}\n</tools>"}]"#;
        assert_eq!(turns(told, &[tool])[0].1, "<tools>\n{}\n</tools>");
    }
}
