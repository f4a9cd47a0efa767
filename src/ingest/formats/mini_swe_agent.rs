//! mini-swe-agent's `.traj.json`: `messages` and `info`.
//!
//! Owns what differs from native messages: `extra` of a message, and the turn that ends a run. The block of a call stays in the
//! text, byte for byte, and what came of it in the turn behind it: [`crate::protocol`] knows both. The exit status stands in the
//! result's text. `info` is kept as JSON.

use serde_json::Value;

use super::form::{Beside, Consumed, Form, Need};
use super::items::{Turns, is_item};
use super::messages::settle;
use super::native::{Row, keep_rest, mark_context, message, pass_through, take_objects, text, text_of};

pub(super) static FORM: Form = Form {
    beside: Beside::FileName,
    ..Form::new(
        "mini-swe-agent",
        "`messages` and `info` of mini-swe-agent's `.traj.json` files, v1 (a block in the text) and v2 (calls)",
        &[
            Need::any(&["messages"], "a list", Value::is_array),
            Need::any(&["trajectory_format", "info"], "`mini-swe-agent-1`, or an object with `exit_status`", |said| {
                said.as_str().is_some_and(|format| format.starts_with("mini-swe-agent"))
                    || said.get("exit_status").is_some() && said.get("submission").is_some()
            }),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

fn convert(mut row: Row) -> Result<Row, String> {
    let mut out = Row::new();
    let mut messages = Vec::new();
    for (k, item) in take_objects(&mut row, "messages")?.into_iter().enumerate() {
        messages.extend(messages_of(item).map_err(|detail| format!("message {k} of `messages`: {detail}"))?);
    }
    out.extend(row.get("instance_id").filter(|id| id.is_string()).map(|id| ("group_id".to_owned(), id.clone())));
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    let as_text = |value: Value| if value.is_object() || value.is_array() { value.to_string().into() } else { value };
    pass_through(&mut out, row.into_iter().map(|(name, value)| (name, as_text(value))).collect())?;
    Ok(out)
}

fn messages_of(mut item: Row) -> Result<Vec<Row>, String> {
    // v2 keeps whole responses of OpenAI's API among the messages, and their outputs.
    if let Some(Value::Array(_)) = item.get("output").filter(|_| !item.contains_key("role")) {
        let mut turns = Turns::default();
        turns.add_all(
            item.shift_remove("output").and_then(|output| output.as_array().cloned()).unwrap_or_default(),
            "output",
        )?;
        let mut said = turns.finish();
        said.last_mut().into_iter().for_each(|last| keep_rest(last, [std::mem::take(&mut item)]));
        return Ok(said);
    }
    if is_item(&Value::Object(item.clone())) {
        let mut turns = Turns::default();
        turns.add(item)?;
        return Ok(turns.finish());
    }
    settle(&mut item)?;
    let role = text(&item, "role")?.to_owned();
    if role == "exit" {
        let content = item.shift_remove("content").unwrap_or_default();
        let mut said = message("user", if content.is_null() { content } else { text_of(&content).into() });
        mark_context(&mut said);
        keep_rest(&mut said, [item]);
        return Ok(vec![said]);
    }
    // Fields that are objects are of no use as columns.
    let mut rest = Row::new();
    for name in
        ["extra", "timestamp", "reasoning", "thinking_blocks", "provider_specific_fields", "annotations", "refusal"]
    {
        rest.extend(item.shift_remove_entry(name));
    }
    keep_rest(&mut item, [rest]);
    Ok(vec![item])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_stay_in_the_text_and_what_is_said_beside_it_is_kept() {
        let Value::Object(row) = json!({"trajectory_format": "mini-swe-agent-1", "instance_id": "x__1",
            "info": {"exit_status": "Submitted", "submission": "diff"}, "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "q"},
            {"role": "assistant", "content": "THOUGHT: see\n\n```bash\nls\n```", "extra": {"cost": 0.5}},
            {"role": "user", "content": "<returncode>1</returncode>\n<output>\nno\n</output>"},
            {"role": "exit", "content": "done", "extra": {"exit_status": "Submitted"}}]})
        else {
            panic!()
        };
        assert!(FORM.is_met(&row));
        let found = convert(row).expect("a row");
        assert_eq!(
            (&found["group_id"], &found["info"]),
            (&json!("x__1"), &json!("{\"exit_status\":\"Submitted\",\"submission\":\"diff\"}"))
        );
        assert_eq!(
            found["messages"][2],
            json!({"role": "assistant", "content": "THOUGHT: see\n\n```bash\nls\n```",
            "other_fields": "{\"extra\":{\"cost\":0.5}}"})
        );
        assert_eq!(found["messages"][4]["loss"], json!(false));
    }
}
