//! Claude Code's sessions (`.jsonl`): records of type user and assistant, each with one of Anthropic's messages.
//!
//! Owns which records make up a rollout: those of one session, each side chain being one of its own. Several records with one
//! message id are one message, also where an answer stands between them. What else is recorded is kept as JSON; a
//! message's blocks are [`super::blocks`]'s.

use serde_json::Value;

use super::blocks::messages_of;
use super::form::{Consumed, Form, Need};
use super::native::{Row, keep_rest, kind, mark_context, take_objects, take_text, text_of};

const RECORDS: &str = "records";
/// What a program wrote in the model's name.
const SYNTHETIC: &str = "<synthetic>";

pub(super) static FORM: Form = Form {
    gather: Some(gather),
    ..Form::new(
        "claude-code",
        "Records of Claude Code's sessions (`type` user and assistant, `message`, `sessionId`); `is_error` is the data's label",
        &[
            Need::any(&["type"], "`user` or `assistant`", |of_type| {
                of_type.as_str().is_some_and(|of_type| matches!(of_type, "user" | "assistant"))
            }),
            Need::any(&["message"], "an object with `role`", |message| message.get("role").is_some()),
            Need::any(&["sessionId", "session_id", "uuid", "parentUuid"], "a name", |_| true),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

/// The rollout that a record belongs to, in words that are its name.
fn chain_of(record: &Row, session: &str) -> String {
    let is_side = record.get("isSidechain") == Some(&Value::Bool(true));
    let agent = record.get("agentId").or_else(|| record.get("parent_tool_use_id")).filter(|name| name.is_string());
    match (agent, is_side) {
        (Some(agent), _) => format!("{session}/{}", text_of(agent)),
        (None, true) => format!("{session}/sidechain"),
        (None, false) => session.to_owned(),
    }
}

/// The records of each chain; those that are of none stay with the first.
fn gather(records: Vec<Row>) -> Vec<Row> {
    let mut out: Vec<(String, Vec<Value>)> = Vec::new();
    let (mut session, mut before) = (String::new(), Vec::new());
    for record in records {
        let named = ["sessionId", "session_id"].iter().find_map(|name| record.get(*name)?.as_str());
        if !FORM.is_met(&record) {
            match out.last_mut() {
                Some((_, last)) => last.push(Value::Object(record)),
                None => before.push(Value::Object(record)),
            }
            continue;
        }
        session = named.map_or(session, str::to_owned);
        let chain = chain_of(&record, &session);
        match out.iter_mut().find(|(name, _)| *name == chain) {
            Some((_, records)) => records.push(Value::Object(record)),
            None => {
                let mut first = std::mem::take(&mut before);
                first.push(Value::Object(record));
                out.push((chain, first));
            }
        }
    }
    let row = |(name, records): (String, Vec<Value>)| {
        Row::from_iter([("session".to_owned(), Value::String(name)), (RECORDS.to_owned(), Value::Array(records))])
    };
    out.into_iter().map(row).collect()
}

fn convert(mut row: Row) -> Result<Row, String> {
    let (mut messages, mut others): (Vec<Said>, Vec<Value>) = (Vec::new(), Vec::new());
    for (k, record) in take_objects(&mut row, RECORDS)?.into_iter().enumerate() {
        match FORM.is_met(&record) {
            false => others.push(Value::Object(record)),
            true => add(record, &mut messages).map_err(|detail| format!("record {k}: {detail}"))?,
        }
    }
    let mut natives = Vec::new();
    for said in messages {
        natives.extend(said.into_natives()?.into_iter().map(Value::Object));
    }
    let mut out = Row::new();
    out.extend(row.shift_remove("session").filter(|id| id != "").map(|id| ("rollout_id".to_owned(), id)));
    out.insert("messages".to_owned(), Value::Array(natives));
    if !others.is_empty() {
        out.insert("other_records".to_owned(), Value::String(Value::Array(others).to_string()));
    }
    Ok(out)
}

/// A message that several records may make up.
struct Said {
    role: String,
    id: Option<String>,
    content: Value,
    /// What the records and their messages say beside it.
    rest: Vec<Row>,
    is_synthetic: bool,
}

impl Said {
    fn into_natives(self) -> Result<Vec<Row>, String> {
        let mut natives = messages_of(&self.role, self.content, Row::new())?;
        if let Some(last) = natives.last_mut() {
            keep_rest(last, self.rest);
        }
        if self.is_synthetic {
            natives.iter_mut().for_each(mark_context);
        }
        Ok(natives)
    }
}

fn add(mut record: Row, out: &mut Vec<Said>) -> Result<(), String> {
    let mut message = match record.shift_remove("message") {
        Some(Value::Object(message)) => message,
        other => return Err(format!("`message` is {}, expected an object", kind(other.as_ref()))),
    };
    record.shift_remove("type");
    let role = take_text(&mut message, "role")?;
    let content = message.shift_remove("content").unwrap_or_default();
    let id = message.get("id").and_then(Value::as_str).filter(|_| role == "assistant").map(str::to_owned);
    let is_synthetic = message.get("model").is_some_and(|model| model == SYNTHETIC);
    // An answer may stand between the records of a message, another message of the model's may not.
    let begun = out.iter_mut().rev().find(|said| said.role == "assistant").filter(|_| id.is_some());
    if let Some(said) = begun.filter(|said| said.id == id)
        && let (Value::Array(blocks), Value::Array(more)) = (&mut said.content, &content)
    {
        blocks.extend(more.iter().cloned());
        said.rest.push(record);
        return Ok(());
    }
    let rest = vec![record, Row::from_iter([("message".to_owned(), Value::Object(message))])];
    out.push(Said { role, id, content, rest, is_synthetic });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(records: Value) -> Vec<Value> {
        let Value::Array(records) = records else { panic!("records are a list") };
        let records = records.into_iter().map(|r| r.as_object().cloned().expect("an object")).collect();
        gather(records).into_iter().map(|row| Value::Object(convert(row).expect("a row"))).collect()
    }

    fn record(of_type: &str, message: Value) -> Value {
        json!({"type": of_type, "message": message, "sessionId": "s", "uuid": "u"})
    }

    #[test]
    fn records_of_one_message_are_one_also_around_an_answer() {
        let use_of = |id: &str| json!({"type": "tool_use", "id": id, "name": "Bash", "input": {"command": "ls"}});
        let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "x", "is_error": true});
        let found = converted(json!([
            {"type": "summary", "summary": "x", "leafUuid": "l"},
            record("user", json!({"role": "user", "content": "q"})),
            record("assistant", json!({"role": "assistant", "id": "m", "content": [{"type": "text", "text": "See."}]})),
            record("assistant", json!({"role": "assistant", "id": "m", "content": [use_of("a")]})),
            record("user", json!({"role": "user", "content": [result("a")]})),
            record("assistant", json!({"role": "assistant", "id": "m", "content": [use_of("b")]})),
            record("user", json!({"role": "user", "content": [result("b")]}))]));
        let [row] = found.as_slice() else { panic!("one rollout") };
        let roles: Vec<_> = row["messages"].as_array().expect("a list").iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "tool"]);
        assert_eq!(row["messages"][1]["tool_calls"].as_array().map(Vec::len), Some(2));
        assert_eq!((&row["messages"][2]["is_error"], &row["rollout_id"]), (&json!(true), &json!("s")));
        assert!(row["other_records"].as_str().expect("text").contains("leafUuid"));
    }

    #[test]
    fn side_chains_are_rollouts_of_their_own_and_what_no_model_wrote_is_context() {
        let mut side =
            record("assistant", json!({"role": "assistant", "id": "n", "content": [], "model": "<synthetic>"}));
        side["isSidechain"] = json!(true);
        side["message"]["content"] = json!([{"type": "text", "text": "API error"}]);
        let found = converted(json!([record("user", json!({"role": "user", "content": "q"})), side]));
        assert_eq!(found.len(), 2);
        assert_eq!((&found[1]["rollout_id"], &found[1]["messages"][0]["loss"]), (&json!("s/sidechain"), &json!(false)));
    }
}
