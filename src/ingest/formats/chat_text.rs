//! Flat chat text with its special tokens: `text` in ChatML, as Hermes and Qwen write it.
//!
//! Owns the markers of a turn and of a tool's answer. Calls stay in the text, where the model wrote them. A user's turn that
//! holds tool answers and nothing else is the tools'.

use super::form::{Consumed, Form, Need};
use super::native::{Row, message, text, with_messages};
use crate::rollout::END_OF_TURN;

const FIELD: &str = "text";
pub(super) const START: &str = "<|im_start|>";
const ANSWER: &str = "<tool_response>";
const ANSWER_END: &str = "</tool_response>";

pub(super) static FORM: Form = Form::new(
    "chat-text",
    "`text` in ChatML, special tokens kept",
    &[Need::any(&[FIELD], "text with `<|im_start|>`", |text| text.as_str().is_some_and(|text| text.contains(START)))],
    |row| Ok(vec![convert(row)?]),
    Consumed::These(&[FIELD]),
);

fn convert(row: Row) -> Result<Row, String> {
    let messages = parse(text(&row, FIELD)?).map_err(|detail| format!("`{FIELD}`: {detail}"))?;
    with_messages(row, &[FIELD], messages)
}

/// The messages of a chat text.
pub(super) fn parse(text: &str) -> Result<Vec<Row>, String> {
    let mut turns = text.split(START);
    let before = turns.next().unwrap_or_default();
    if !before.trim().is_empty() {
        return Err(format!("it starts with {} characters outside of any turn", before.chars().count()));
    }
    let turns: Vec<&str> = turns.collect();
    let mut out = Vec::new();
    for (k, turn) in turns.iter().enumerate() {
        let (role, rest) = turn.split_once('\n').unwrap_or((turn, ""));
        let content = match rest.rfind(END_OF_TURN) {
            Some(at) if rest[at + END_OF_TURN.len()..].trim().is_empty() => &rest[..at],
            Some(_) => return Err(format!("turn {k} goes on after its `{END_OF_TURN}`")),
            // Cut off, or the place where the model was to write.
            None if k + 1 == turns.len() => rest,
            None => return Err(format!("turn {k} has no `{END_OF_TURN}`")),
        };
        let is_open = !rest.contains(END_OF_TURN);
        if is_open && content.is_empty() && k > 0 {
            continue;
        }
        match answers(content).filter(|_| matches!(role, "user" | "tool")) {
            Some(answers) => out.extend(answers.into_iter().map(|answer| message("tool", answer))),
            None => out.push(message(role, content)),
        }
    }
    Ok(out)
}

/// What tools said, if the text is nothing but that.
fn answers(content: &str) -> Option<Vec<&str>> {
    let mut out = Vec::new();
    let mut rest = content.trim();
    while let Some(inner) = rest.strip_prefix(ANSWER) {
        let (answer, behind) = split_answer(inner, |behind| {
            let next = behind.trim_start();
            next.is_empty() || next.starts_with(ANSWER)
        });
        out.push(answer);
        rest = behind.trim_start();
    }
    (rest.is_empty() && !out.is_empty()).then_some(out)
}

/// An answer up to its end marker, without the line breaks next to the markers, and what comes after it. A tool may
/// write the marker itself: only the first one after which an answer may end counts.
pub(super) fn split_answer(inner: &str, may_end: impl Fn(&str) -> bool) -> (&str, &str) {
    let mut ends = inner.match_indices(ANSWER_END).map(|(at, end)| (&inner[..at], &inner[at + end.len()..]));
    let (answer, behind) = ends.find(|(_, behind)| may_end(behind)).unwrap_or((inner, ""));
    let answer = answer.strip_prefix('\n').unwrap_or(answer);
    (answer.strip_suffix('\n').unwrap_or(answer), behind)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(text: &str) -> Result<Value, String> {
        parse(text).map(|all| Value::Array(all.into_iter().map(Value::Object).collect()))
    }

    #[test]
    fn turns_become_messages_and_calls_stay_in_the_text() {
        let text = "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq\n<|im_end|>\n<|im_start|>assistant\nLet me.\n<tool_call>\n\
                    {\"name\": \"f\"}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n 1\n\n</tool_response>\n<tool_response>\n2\n\
                    </tool_response><|im_end|>\n<|im_start|>assistant\ndone<|im_end|>\n";
        let expected = json!([
            {"role": "system", "content": "s"}, {"role": "user", "content": "q\n"},
            {"role": "assistant", "content": "Let me.\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>"},
            {"role": "tool", "content": " 1\n"}, {"role": "tool", "content": "2"},
            {"role": "assistant", "content": "done"}]);
        assert_eq!(parsed(text), Ok(expected));
    }

    #[test]
    fn end_that_is_cut_off_is_kept_and_a_place_to_write_is_no_message() {
        let cut = parsed("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nI thi");
        assert_eq!(cut, Ok(json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "I thi"}])));
        let open = parsed("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n");
        assert_eq!(open, Ok(json!([{"role": "user", "content": "q"}])));
    }

    #[test]
    fn text_outside_of_turns_is_never_dropped() {
        assert_eq!(
            parsed("hello <|im_start|>user\nq<|im_end|>"),
            Err("it starts with 6 characters outside of any turn".to_owned())
        );
        let behind = "<|im_start|>user\nq<|im_end|> more <|im_start|>assistant\na<|im_end|>";
        assert_eq!(parsed(behind), Err("turn 0 goes on after its `<|im_end|>`".to_owned()));
        let missing = "<|im_start|>user\nq\n<|im_start|>assistant\na<|im_end|>";
        assert_eq!(parsed(missing), Err("turn 0 has no `<|im_end|>`".to_owned()));
    }

    #[test]
    fn answer_that_quotes_its_end_marker_is_one_answer() {
        let text = "<|im_start|>user\n<tool_response>\na </tool_response> b\n</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>";
        let answer = |content: &str| json!({"role": "tool", "content": content});
        assert_eq!(parsed(text), Ok(json!([answer("a </tool_response> b"), answer("2")])));
    }

    #[test]
    fn user_who_quotes_a_tools_answer_is_no_tool() {
        let text = "<|im_start|>user\nlook: <tool_response>\n1\n</tool_response><|im_end|>";
        assert_eq!(parsed(text).expect("it parses")[0]["role"], "user");
    }
}
