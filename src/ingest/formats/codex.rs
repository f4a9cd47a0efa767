//! Codex's sessions (`rollout-*.jsonl`): records `session_meta`, `response_item`, `turn_context`, `event_msg`; in older files the
//! items stand alone.
//!
//! Owns what the records of a file make up: one rollout, whose items are [`super::items`]'s. What
//! else is recorded, events for the screen among it, is kept as JSON.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::items::{Turns, is_item};
use super::native::{Row, kind, message, take_objects};

const RECORDS: &str = "records";
const KINDS: [&str; 5] = ["session_meta", "response_item", "turn_context", "event_msg", "compacted"];

pub(super) static FORM: Form = Form {
    gather: Some(gather),
    ..Form::new(
        "codex",
        "Records of Codex's sessions (`session_meta`, `response_item`), or items of the Responses API, one a line",
        &[Need::any(&["type"], "`session_meta`, `response_item` or an item's", |of_type| {
            of_type.as_str().is_some_and(|of_type| KINDS.contains(&of_type))
                || is_item(&Value::Object(Row::from_iter([("type".to_owned(), of_type.clone())])))
        })],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

/// One session a file; another `session_meta` begins another one.
fn gather(records: Vec<Row>) -> Vec<Row> {
    let mut out: Vec<Vec<Value>> = Vec::new();
    for record in records {
        let begins = record.get("type").is_some_and(|of_type| of_type == "session_meta");
        if begins && out.last().is_some_and(|session| session.iter().any(|r| r.get("payload").is_some()))
            || out.is_empty()
        {
            out.push(Vec::new());
        }
        if let Some(session) = out.last_mut() {
            session.push(Value::Object(record));
        }
    }
    out.into_iter().map(|session| Row::from_iter([(RECORDS.to_owned(), Value::Array(session))])).collect()
}

fn convert(mut row: Row) -> Result<Row, String> {
    let mut turns = Turns::default();
    let (mut id, mut others) = (None, Vec::new());
    for (k, mut record) in take_objects(&mut row, RECORDS)?.into_iter().enumerate() {
        let in_place = |detail| format!("record {k}: {detail}");
        let of_type = record.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match of_type.as_str() {
            "response_item" => match record.shift_remove("payload") {
                Some(Value::Object(mut item)) => {
                    // The record's own fields stand beside its item's.
                    record.shift_remove("type");
                    for (name, value) in record {
                        item.entry(name).or_insert(value);
                    }
                    turns.add(item).map_err(in_place)?;
                }
                other => return Err(in_place(format!("`payload` is {}, expected an object", kind(other.as_ref())))),
            },
            "session_meta" => {
                let payload = record.get("payload");
                id = id.or_else(|| payload.and_then(|p| p.get("id").or_else(|| p.get("session_id"))).cloned());
                let instructions = ["instructions", "base_instructions"].iter().find_map(|name| {
                    let said = payload?.get(*name)?;
                    said.as_str().or_else(|| said.get("text")?.as_str())
                });
                if let Some(instructions) = instructions {
                    turns.begin(message("system", instructions));
                }
                others.push(Value::Object(record));
            }
            "message" => turns.add(record).map_err(in_place)?,
            _ if is_item(&Value::Object(record.clone())) => turns.add(record).map_err(in_place)?,
            // The first record of older files has no type.
            _ => {
                id = id.or_else(|| record.get("id").filter(|_| k == 0).cloned());
                others.push(Value::Object(record));
            }
        }
    }
    let mut out = Row::new();
    out.extend(id.filter(Value::is_string).map(|id| ("rollout_id".to_owned(), id)));
    out.insert("messages".to_owned(), Value::Array(turns.finish().into_iter().map(Value::Object).collect()));
    if !others.is_empty() {
        out.insert("other_records".to_owned(), Value::String(Value::Array(others).to_string()));
    }
    Ok(out)
}
