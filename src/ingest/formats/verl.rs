//! verl's rollout dump (`{step}.jsonl`): `input`, `output`, `score`, and whatever the reward function returned. CLEANER's
//! reference writes it too.
//!
//! Owns the cutting of decoded text into messages. Special tokens were skipped in decoding: of a turn's start only the word
//! for its role is left, and of the end of a model's turn before a tool's at most a line break. So a role is looked for only
//! where it may come next, and a tool's answer only by its marker; what a model writes in between stays its own.

use serde_json::Value;

use super::chat_text::{START, parse, split_answer};
use super::form::{Consumed, Form, Need};
use super::native::{Row, message, text, text_of, with_messages};

/// What stands between a call and the tools' answers; newer code writes a line break before it.
const ASKED: &str = "user\n<tool_response>";
const ANSWER: &str = "<tool_response>";
/// What stands between the answers and the model's next words.
const GOES_ON: &str = "\nassistant\n";

pub(super) static FORM: Form = Form {
    consults: &["uid"],
    reward: Some("score"),
    ..Form::new(
        "verl",
        "`input`, `output`, `score`: verl's rollout dump",
        &[
            Need::any(&["input"], "text", Value::is_string),
            Need::any(&["output"], "text", Value::is_string),
            Need::any(&["score"], "a number", |_| true),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::These(&["input", "output"]),
    )
};

fn convert(mut row: Row) -> Result<Row, String> {
    let (input, output) = (text(&row, "input")?, text(&row, "output")?);
    let messages = if input.contains(START) {
        parse(&format!("{input}{output}")).map_err(|detail| format!("`input` and `output`: {detail}"))?
    } else {
        let (mut messages, begun) = prompt(input)?;
        messages.extend(response(&format!("{begun}{output}")));
        messages
    };
    // Some trainers name each rollout or each group; others know no groups, but equal prompts are one.
    let uid = row.get("uid").filter(|uid| uid.is_string() || uid.is_number()).map(text_of);
    let (rollout, group) = match uid {
        Some(uid) => match sample_of(&uid).map(str::to_owned) {
            Some(sample) => (Some(uid), sample),
            None => (None, uid),
        },
        None => (None, format!("input:{}", &blake3::hash(input.as_bytes()).to_hex()[..16])),
    };
    if !row.contains_key("group_id") {
        row.insert("group_id".to_owned(), Value::String(group));
    }
    if let Some(rollout) = rollout.filter(|_| !row.contains_key("rollout_id")) {
        row.insert("rollout_id".to_owned(), Value::String(rollout));
    }
    with_messages(row, &["input", "output"], messages)
}

/// The sample in a uid that names a rollout, `{sample}_{rollout}_{output}`; any other uid is that of a group.
fn sample_of(uid: &str) -> Option<&str> {
    let (rest, output) = uid.rsplit_once('_')?;
    let (sample, rollout) = rest.rsplit_once('_')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (!sample.is_empty() && is_number(rollout) && is_number(output)).then_some(sample)
}

/// The messages of a prompt, a role on the first line, the next ones where they may follow; and what stands already where
/// the model goes on: templates may open its thoughts.
fn prompt(input: &str) -> Result<(Vec<Row>, &str), String> {
    let role_of =
        |text: &str| ["system", "user", "assistant"].into_iter().find(|r| text.starts_with(&format!("{r}\n")));
    let mut role = role_of(input).ok_or_else(|| {
        let head: String = input.chars().take(20).collect();
        format!("`input` starts with `{}`, expected a line `system` or `user`", head.escape_debug())
    })?;
    let (mut out, mut rest) = (Vec::new(), &input[role.len() + 1..]);
    loop {
        let next = if role == "user" { "assistant" } else { "user" };
        let Some((content, behind)) = rest.split_once(&format!("\n{next}\n")) else { break };
        out.push(message(role, content));
        (role, rest) = (next, behind);
    }
    if role == "assistant" {
        return Ok((out, rest));
    }
    out.push(message(role, rest));
    Ok((out, ""))
}

/// Whether a tool's answer may end before a text: where another one follows, a turn, or nothing.
fn may_end(behind: &str) -> bool {
    let Some(next) = behind.strip_prefix('\n') else { return behind.trim_start().is_empty() };
    let is_turn = ["assistant", "user"].iter().filter_map(|role| next.strip_prefix(role));
    next.trim_start().is_empty()
        || next.starts_with(ANSWER)
        || is_turn.into_iter().any(|rest| rest.is_empty() || rest.starts_with('\n'))
}

/// The model's turns, and the tools' answers between them.
fn response(output: &str) -> Vec<Row> {
    let (asking, last) = turns(output);
    // One turn that has no line break there, and the others' are the model's own.
    let is_of_template = asking.iter().all(|(said, _)| said.ends_with('\n'));
    let own = |said: &'_ str| match said.strip_suffix('\n') {
        Some(own) if is_of_template => own.to_owned(),
        _ => said.to_owned(),
    };
    let mut out = Vec::new();
    for (said, answers) in asking {
        out.push(message("assistant", own(said)));
        out.extend(answers.into_iter().map(|answer| message("tool", answer)));
    }
    out.extend(last.map(|said| message("assistant", said)));
    out
}

/// What the model wrote up to where tools answer, each with the answers; and what it wrote after all of them, if it did.
fn turns(output: &str) -> (Vec<(&str, Vec<&str>)>, Option<&str>) {
    let (mut out, mut rest) = (Vec::new(), output);
    while let Some((said, mut behind)) = rest.split_once(ASKED) {
        let mut answers = Vec::new();
        loop {
            let (answer, next) = split_answer(behind, may_end);
            answers.push(answer);
            match next.strip_prefix('\n').and_then(|n| n.strip_prefix(ANSWER)) {
                Some(more) => behind = more,
                None => {
                    behind = next;
                    break;
                }
            }
        }
        out.push((said, answers));
        match behind.strip_prefix(GOES_ON) {
            Some(next) => rest = next,
            // The rollout ended with a tool's answer.
            None if behind.trim().is_empty() => return (out, None),
            None => rest = behind,
        }
    }
    (out, Some(rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Result<Value, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        convert(row).map(Value::Object)
    }

    const OUTPUT: &str = "Let me try.\n<tool_call>\n{\"name\": \"python\", \"arguments\": {\"code\": \"1/0\"}}\n</tool_call>\nuser\n\
                          <tool_response>\nZeroDivisionError\n</tool_response>\nassistant\nAgain.\n<tool_call>\n{}\n</tool_call>\nuser\n\
                          <tool_response>\n2\n</tool_response>\n<tool_response>\n\n3\n</tool_response>\nassistant\n\\boxed{2}";

    #[test]
    fn decoded_text_is_cut_into_messages_byte_for_byte() {
        let row = json!({"input": "system\nBe good.\n\n# Tools\nuser\nWhat is 1+1?\nassistant\n", "output": OUTPUT, "gts": "2",
            "score": 1.0, "step": 3});
        let found = converted(row).expect("it is a row");
        let expected = json!([
            {"role": "system", "content": "Be good.\n\n# Tools"}, {"role": "user", "content": "What is 1+1?"},
            {"role": "assistant", "content":
                "Let me try.\n<tool_call>\n{\"name\": \"python\", \"arguments\": {\"code\": \"1/0\"}}\n</tool_call>"},
            {"role": "tool", "content": "ZeroDivisionError"},
            {"role": "assistant", "content": "Again.\n<tool_call>\n{}\n</tool_call>"},
            {"role": "tool", "content": "2"}, {"role": "tool", "content": "\n3"},
            {"role": "assistant", "content": "\\boxed{2}"}]);
        assert_eq!(found["messages"], expected);
        assert_eq!((&found["gts"], &found["score"], &found["step"]), (&json!("2"), &json!(1.0), &json!(3)));
    }

    #[test]
    fn equal_prompts_are_one_group_and_a_uid_names_group_and_rollout() {
        let row = |input: &str| json!({"input": input, "output": "a", "score": 0.0});
        let group = |row: Value| converted(row).expect("it is a row")["group_id"].clone();
        assert_eq!(group(row("user\nq\nassistant\n")), group(row("user\nq\nassistant\n")));
        assert_ne!(group(row("user\nq\nassistant\n")), group(row("user\nr\nassistant\n")));
        let named = converted(json!({"input": "user\nq\nassistant\n", "output": "a", "score": 0.0, "uid": "a_b_12_3"}));
        let named = named.expect("it is a row");
        assert_eq!((&named["rollout_id"], &named["group_id"]), (&json!("a_b_12_3"), &json!("a_b")));
    }

    #[test]
    fn plain_uid_is_the_group_that_several_rollouts_share() {
        for uid in [json!("q_7"), json!("0d9b_8f4e_11ef"), json!("_1_2"), json!("a_1_"), json!(7)] {
            let row = json!({"input": "user\nq\nassistant\n", "output": "a", "score": 0.0, "uid": uid});
            let found = converted(row).expect("it is a row");
            assert_eq!((found["group_id"].clone(), found.get("rollout_id")), (Value::from(text_of(&uid)), None));
        }
    }

    #[test]
    fn answer_that_quotes_its_end_marker_is_one_answer() {
        let answer = "a file with </tool_response> in it\n</tool_response>\nand more\nassistant";
        let output = format!(
            "x\nuser\n<tool_response>\n{answer}\n</tool_response>\n<tool_response>\n2\n</tool_response>\nassistant\ny"
        );
        let expected =
            [message("assistant", "x"), message("tool", answer), message("tool", "2"), message("assistant", "y")];
        assert_eq!(response(&output), expected);
    }

    #[test]
    fn line_break_before_the_tools_turn_is_the_templates_only_if_it_stands_everywhere() {
        let output = |first: &str, second: &str| {
            let answer = |k: u8| format!("user\n<tool_response>\n{k}\n</tool_response>\nassistant\n");
            format!("a{first}{}b{second}{}c\n", answer(1), answer(2))
        };
        let expected = |first: &str, second: &str| {
            let said = |text: &str| message("assistant", text);
            [
                said(&format!("a{first}")),
                message("tool", "1"),
                said(&format!("b{second}")),
                message("tool", "2"),
                said("c\n"),
            ]
        };
        for (written, own) in [(["", ""], ["", ""]), (["\n", "\n"], ["", ""]), (["\n\n", "\n"], ["\n", ""])] {
            assert_eq!(response(&output(written[0], written[1])), expected(own[0], own[1]), "{written:?}");
        }
        for mixed in [["\n", ""], ["", "\n"], ["\n\n", ""]] {
            assert_eq!(response(&output(mixed[0], mixed[1])), expected(mixed[0], mixed[1]), "{mixed:?}");
        }
    }

    #[test]
    fn thoughts_that_the_template_opens_begin_the_models_first_message() {
        let row = |output: &str| json!({"input": "user\nq\nassistant\n<think>\n", "output": output, "score": 0.0});
        let messages = |output: &str| converted(row(output)).expect("it is a row")["messages"].clone();
        let begun = json!({"role": "assistant", "content": "<think>\nHm.</think>f()"});
        let question = json!({"role": "user", "content": "q"});
        let called = messages("Hm.</think>f()user\n<tool_response>\n1\n</tool_response>");
        assert_eq!(called, json!([question, begun, {"role": "tool", "content": "1"}]));
        assert_eq!(messages("Hm.</think>f()"), json!([question, begun]));
    }

    #[test]
    fn role_words_that_a_model_writes_are_its_own() {
        let output = "The table\nuser\nid\nassistant\nis empty.";
        let row = json!({"input": "user\nq\nassistant\n", "output": output, "score": 0.0});
        assert_eq!(
            converted(row).expect("it is a row")["messages"][1],
            json!({"role": "assistant", "content": output})
        );
    }

    #[test]
    fn rollout_that_ends_with_a_tools_answer_or_in_the_middle_of_one_loses_nothing() {
        let ended = response("a\nuser\n<tool_response>\n1\n</tool_response>");
        assert_eq!(ended, [message("assistant", "a"), message("tool", "1")]);
        let cut = response("a\nuser\n<tool_response>\n1 and th");
        assert_eq!(cut, [message("assistant", "a"), message("tool", "1 and th")]);
    }

    #[test]
    fn text_with_its_special_tokens_is_read_by_them() {
        let row = json!({"input": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n", "output": "a<|im_end|>", "score": 1});
        let expected = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
        assert_eq!(converted(row).expect("it is a row")["messages"], expected);
    }

    #[test]
    fn prompt_without_a_role_is_refused() {
        let found = converted(json!({"input": "What is\u{7} it?", "output": "", "score": 0}));
        assert_eq!(
            found,
            Err("`input` starts with `What is\\u{7} it?`, expected a line `system` or `user`".to_owned())
        );
    }
}
