//! pi's sessions (`.jsonl`): a header, and entries that make up a tree.
//!
//! Owns which entries make up the rollout: those on the way from the last one to the root, which is what pi itself goes on from.
//! Branches that were left are kept as JSON, and so is what is no message. What a part is called is [`super::parts`]'s.

use std::collections::HashMap;

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::take_content;
use super::native::{Row, keep_rest, kind, message, take_objects, take_text, text_of};
use super::parts::{answer_of, messages_of_parts};

const ENTRIES: &str = "entries";
/// Who speaks in a session's messages.
const ROLES: [&str; 7] =
    ["user", "assistant", "toolResult", "bashExecution", "custom", "branchSummary", "compactionSummary"];

pub(super) static FORM: Form = Form {
    gather: Some(gather),
    ..Form::new(
        "pi",
        "Entries of pi's sessions (`type` message, `message` with a role such as toolResult); `isError` is the data's label",
        &[
            Need::any(&["type"], "`message`", |of_type| of_type == "message"),
            Need::any(&["message"], "an object with a role of pi's", |message| {
                message.get("role").and_then(Value::as_str).is_some_and(|role| ROLES.contains(&role))
            }),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

/// The entries of each session, its header first.
fn gather(records: Vec<Row>) -> Vec<Row> {
    let mut out: Vec<(Value, Vec<Value>)> = Vec::new();
    for record in records {
        let is_header = record.get("type").is_some_and(|of_type| of_type == "session");
        let id = record.get("id").filter(|_| is_header).cloned();
        match out.last_mut() {
            Some((_, entries)) if !is_header => entries.push(Value::Object(record)),
            _ => out.push((id.unwrap_or_default(), vec![Value::Object(record)])),
        }
    }
    let row = |(id, entries)| Row::from_iter([("session".to_owned(), id), (ENTRIES.to_owned(), Value::Array(entries))]);
    out.into_iter().map(row).collect()
}

fn convert(mut row: Row) -> Result<Row, String> {
    let entries = take_objects(&mut row, ENTRIES)?;
    let is_on_the_way = on_the_way(&entries);
    let (mut messages, mut others) = (Vec::new(), Vec::new());
    for (k, (entry, is_on_the_way)) in entries.into_iter().zip(is_on_the_way).enumerate() {
        let of_type = entry.get("type").and_then(Value::as_str).unwrap_or_default();
        let is_said = matches!(of_type, "message" | "custom_message") && is_on_the_way;
        match is_said
            .then(|| messages_of(entry.clone()))
            .transpose()
            .map_err(|detail| format!("entry {k}: {detail}"))?
        {
            Some(said) => messages.extend(said.into_iter().map(Value::Object)),
            None => others.push(Value::Object(entry)),
        }
    }
    let mut out = Row::new();
    out.extend(row.shift_remove("session").filter(Value::is_string).map(|id| ("rollout_id".to_owned(), id)));
    out.insert("messages".to_owned(), Value::Array(messages));
    if !others.is_empty() {
        out.insert("other_records".to_owned(), Value::String(Value::Array(others).to_string()));
    }
    Ok(out)
}

/// Whether each entry stands on the way from the last one to the root. The first version's entries have no parents.
fn on_the_way(entries: &[Row]) -> Vec<bool> {
    let id = |entry: &Row, name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    let has_parents = entries.iter().any(|entry| entry.contains_key("parentId"));
    let Some(last) = entries.iter().rposition(|entry| id(entry, "parentId").is_some()).filter(|_| has_parents) else {
        return vec![true; entries.len()];
    };
    let places: HashMap<String, usize> =
        entries.iter().enumerate().filter_map(|(k, entry)| Some((id(entry, "id")?, k))).collect();
    let mut out = vec![false; entries.len()];
    let mut next = Some(last);
    // An entry comes after its parent, so that this ends.
    while let Some(place) = next {
        out[place] = true;
        let parent = id(&entries[place], "parentId").and_then(|id| places.get(&id).copied());
        next = parent.filter(|parent| *parent < place);
    }
    out
}

fn messages_of(mut entry: Row) -> Result<Vec<Row>, String> {
    if entry.get("type").is_some_and(|of_type| of_type == "custom_message") {
        let mut said = message("user", take_content(&mut entry, "content")?);
        keep_rest(&mut said, [entry]);
        return Ok(vec![said]);
    }
    let mut given = match entry.shift_remove("message") {
        Some(Value::Object(given)) => given,
        other => return Err(format!("`message` is {}, expected an object", kind(other.as_ref()))),
    };
    entry.shift_remove("type");
    let role = take_text(&mut given, "role")?;
    let content = given.shift_remove("content").unwrap_or_default();
    let mut said = match role.as_str() {
        "assistant" | "user" => messages_of_parts(&role, content, Row::new())?,
        "toolResult" => {
            let id = given.shift_remove("toolCallId").unwrap_or_default();
            let is_error = given.shift_remove("isError").and_then(|flag| flag.as_bool());
            messages_of_parts("user", Value::Array(vec![answer_of(id, content, is_error)]), Row::new())?
        }
        // What the user ran, and summaries: the model reads them as the user's words.
        _ => {
            let text = ["output", "summary"].iter().find_map(|name| given.shift_remove(*name));
            vec![message("user", text_of(&text.unwrap_or(content)))]
        }
    };
    if !ROLES[..3].contains(&role.as_str()) {
        given.insert("role".to_owned(), role.into());
    }
    if let Some(last) = said.last_mut() {
        keep_rest(last, [entry, Row::from_iter([("message".to_owned(), Value::Object(given))])]);
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(records: Value) -> Value {
        let Value::Array(records) = records else { panic!("records are a list") };
        let records = records.into_iter().map(|r| r.as_object().cloned().expect("an object")).collect();
        let rows: Vec<Value> = gather(records).into_iter().map(|r| Value::Object(convert(r).expect("a row"))).collect();
        rows.into()
    }

    fn entry(id: &str, parent: Value, message: Value) -> Value {
        json!({"type": "message", "id": id, "parentId": parent, "timestamp": "t", "message": message})
    }

    #[test]
    fn the_branch_that_a_session_ends_in_is_the_rollout() {
        let answer = json!({"role": "toolResult", "toolCallId": "c", "toolName": "bash", "isError": true,
            "content": [{"type": "text", "text": "no"}]});
        let found = converted(json!([
            {"type": "session", "version": 3, "id": "s", "cwd": "/w"},
            entry("1", json!(null), json!({"role": "user", "content": "q"})),
            entry("2", json!("1"), json!({"role": "assistant", "content": [{"type": "text", "text": "left"}]})),
            entry("3", json!("1"), json!({"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm."}, {"type": "toolCall", "id": "c", "name": "bash", "arguments": {}}]})),
            {"type": "model_change", "id": "4", "parentId": "3", "modelId": "m"},
            entry("5", json!("4"), answer)]));
        let messages = found[0]["messages"].as_array().expect("a list");
        let roles: Vec<_> = messages.iter().map(|m| m["role"].clone()).collect();
        assert_eq!(roles, ["user", "assistant", "tool"]);
        assert_eq!((&messages[2]["is_error"], &messages[2]["content"]), (&json!(true), &json!("no")));
        assert_eq!((&messages[1]["reasoning_content"], &found[0]["rollout_id"]), (&json!("Hm."), &json!("s")));
        let others = found[0]["other_records"].as_str().expect("text");
        assert!(others.contains("left") && others.contains("model_change"), "{others}");
    }

    #[test]
    fn entries_without_parents_are_read_in_their_order() {
        let mut user = entry("1", json!(null), json!({"role": "user", "content": "q"}));
        user.as_object_mut().expect("an object").retain(|name, _| name != "id" && name != "parentId");
        assert_eq!(
            converted(json!([user]))[0]["messages"],
            json!([{"role": "user", "content": "q",
            "other_fields": "{\"timestamp\":\"t\"}"}])
        );
    }
}
