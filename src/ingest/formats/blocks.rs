//! Anthropic's content blocks as native messages: text, thinking, tool_use, tool_result.
//!
//! Owns one message's blocks. An assistant's become one message, a user's one for each answer and one for what the user says.
//! What a block says beside its text, name, input or answer is kept as JSON beside the message, the blocks in their order, so that
//! they can be written as blocks again.

use serde_json::Value;

use super::messages::{joined, take_content};
use super::native::{Row, call, is_said, keep_rest, kind, message, text_of};

/// Kinds of block that no plain message has.
pub(super) const KINDS: [&str; 5] = ["tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use"];

/// Whether a content is a list that has such a block.
pub(super) fn has_blocks(content: &Value) -> bool {
    let is_block = |block: &Value| block.get("type").and_then(Value::as_str).is_some_and(|kind| KINDS.contains(&kind));
    content.as_array().is_some_and(|blocks| blocks.iter().any(is_block))
}

/// Whether any of a list's messages has such a block.
pub(super) fn any_has_blocks(messages: &Value) -> bool {
    messages.as_array().is_some_and(|all| all.iter().any(|message| message.get("content").is_some_and(has_blocks)))
}

/// The native messages of one, its role and content being called so; `rest` is what it says beside these.
///
/// # Errors
/// What was expected where, and what was found.
pub(super) fn messages_of(role: &str, content: Value, rest: Row) -> Result<Vec<Row>, String> {
    let blocks = match content {
        Value::Array(blocks) => blocks,
        text @ (Value::String(_) | Value::Null) => {
            let mut said = message(role, text);
            keep_rest(&mut said, [rest]);
            return Ok(vec![said]);
        }
        other => return Err(format!("`content` is {}, expected text or blocks", kind(Some(&other)))),
    };
    let mut out = match role {
        "assistant" => vec![assistant(blocks, rest)?],
        _ => of_user(role, blocks, rest)?,
    };
    out.retain(|message| message.len() > 1);
    Ok(out)
}

fn object(block: Value, k: usize) -> Result<Row, String> {
    match block {
        Value::Object(block) => Ok(block),
        Value::String(text) => {
            Ok(Row::from_iter([("type".to_owned(), Value::from("text")), ("text".to_owned(), Value::String(text))]))
        }
        other => Err(format!("block {k} is {}, expected an object", kind(Some(&other)))),
    }
}

fn kind_of(block: &Row) -> String {
    block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An assistant's message.
fn assistant(blocks: Vec<Value>, rest: Row) -> Result<Row, String> {
    let (mut texts, mut thoughts, mut calls, mut kept) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (k, block) in blocks.into_iter().enumerate() {
        let mut block = object(block, k)?;
        let of_kind = kind_of(&block);
        match (of_kind.as_str(), block.get("text"), block.get("thinking")) {
            ("text", Some(Value::String(text)), _) => texts.push(text.clone()),
            ("thinking", _, Some(Value::String(thought))) => thoughts.push(thought.clone()),
            ("tool_use" | "server_tool_use", _, _) => {
                let name = block.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let input = block.shift_remove("input").unwrap_or_default();
                calls.push(call(block.shift_remove("id"), &name, &input));
                block.shift_remove("name");
            }
            _ => {}
        }
        if of_kind == "text" || of_kind == "thinking" {
            block.shift_remove(&of_kind);
        }
        kept.push(block);
    }
    let content = if texts.is_empty() { Value::Null } else { Value::String(texts.concat()) };
    let mut said = message("assistant", content);
    if !thoughts.is_empty() {
        said.insert("reasoning_content".to_owned(), Value::String(thoughts.join("\n")));
    }
    if !calls.is_empty() {
        said.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    keep_rest(&mut said, [with_kept(rest, kept, texts.len() > 1 || thoughts.len() > 1)]);
    Ok(said)
}

/// What blocks say beside what they are made of; nothing if that is only of what kind they are, in the order that is usual.
fn with_kept(mut rest: Row, kept: Vec<Row>, is_split: bool) -> Row {
    let rank = |block: &Row| match kind_of(block).as_str() {
        "thinking" => 0,
        "text" => 1,
        "tool_use" => 2,
        _ => 3,
    };
    let is_plain = kept.iter().all(|block| block.iter().all(|(name, value)| name == "type" || !is_said(value)));
    let is_usual = kept.iter().map(rank).is_sorted() && kept.iter().all(|block| rank(block) < 3);
    if !(is_plain && is_usual) || is_split {
        rest.insert("content".to_owned(), Value::Array(kept.into_iter().map(Value::Object).collect()));
    }
    rest
}

/// A user's answers and words, in their order.
fn of_user(role: &str, blocks: Vec<Value>, rest: Row) -> Result<Vec<Row>, String> {
    let mut out: Vec<Row> = Vec::new();
    let mut words: Vec<Value> = Vec::new();
    for (k, block) in blocks.into_iter().enumerate() {
        let block = object(block, k)?;
        if kind_of(&block) == "tool_result" {
            out.extend(said(role, std::mem::take(&mut words)));
            out.push(answer(block).map_err(|detail| format!("block {k}: {detail}"))?);
        } else {
            words.push(Value::Object(block));
        }
    }
    out.extend(said(role, words));
    if let Some(last) = out.last_mut() {
        keep_rest(last, [rest]);
    }
    Ok(out)
}

/// A message of blocks that are no answers.
fn said(role: &str, words: Vec<Value>) -> Option<Row> {
    if words.is_empty() {
        return None;
    }
    let words = Value::Array(words);
    Some(match joined(&words) {
        Some((text, rest)) => {
            let mut said = message(role, text);
            keep_rest(&mut said, [Row::from_iter(rest.map(|rest| ("content".to_owned(), rest)))]);
            said
        }
        None => message(role, words.to_string()),
    })
}

/// A tool's message.
fn answer(mut block: Row) -> Result<Row, String> {
    let content = match block.get("content") {
        // Pictures and the like are read as JSON.
        Some(Value::Object(_)) => Value::String(text_of(&block.shift_remove("content").unwrap_or_default())),
        _ => take_content(&mut block, "content")?,
    };
    let mut out = message("tool", if content.is_null() { Value::from("") } else { content });
    out.insert("tool_call_id".to_owned(), block.shift_remove("tool_use_id").unwrap_or_default());
    if let Some(Value::Bool(is_error)) = block.get("is_error") {
        out.insert("is_error".to_owned(), Value::Bool(*is_error));
        block.shift_remove("is_error");
    }
    block.shift_remove("type");
    keep_rest(&mut out, [block]);
    Ok(out)
}
