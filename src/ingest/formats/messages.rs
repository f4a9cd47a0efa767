//! Native rows: `messages` of role and content, as OpenAI, TRL and the hubs' data sets have them.
//!
//! Owns the variants of a message's fields: content as a list of parts, and what says whether it is trained on.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::native::{LOSS, Row, call, is_said, keep_rest, kind};
use crate::batch::json::text::{Place, value as json_value};
use crate::schema::MESSAGES;

/// Null is for the columns to say what is wrong. Text may be the list as JSON.
pub(super) static FORM: Form = Form {
    signs: &["\"function_call\":{", "\"function_call\": {"],
    ..Form::new(
        "messages",
        "`messages` of role and content: OpenAI, TRL, the hubs' data sets",
        &[Need::any(MESSAGES, "a list", |messages| {
            messages.is_array()
                || messages.is_null()
                || messages.as_str().is_some_and(|text| text.trim_start().starts_with('['))
        })],
        |row| Ok(vec![convert(row)?]),
        Consumed::These(MESSAGES),
    )
};

fn convert(mut row: Row) -> Result<Row, String> {
    for name in MESSAGES {
        if let Some(Value::String(text)) = row.get(*name)
            && text.trim_start().starts_with('[')
        {
            let listed = json_value(text, Place::Elsewhere).map_err(|detail| format!("`{name}`: {detail}"))?;
            row.insert((*name).to_owned(), listed);
        }
        let Some(Value::Array(messages)) = row.get_mut(*name) else { continue };
        for (k, message) in messages.iter_mut().enumerate() {
            let Some(message) = message.as_object_mut() else { continue };
            settle(message).map_err(|detail| format!("message {k} of `{name}`: {detail}"))?;
        }
    }
    Ok(row)
}

/// OpenAI's field for what `loss` says.
pub const WEIGHT: &str = "weight";

/// Makes text of a message's parts, and a flag of what says whether it is trained on. What else these say stays beside it.
pub(super) fn settle(message: &mut Row) -> Result<(), String> {
    let mut rest = settle_calls(message)?;
    rest.extend(join_parts(message).map(|parts| ("content".to_owned(), parts)));
    let is_native = message.get(LOSS).is_none_or(|loss| loss.is_boolean() || loss.is_null());
    if !is_native || message.contains_key(WEIGHT) {
        let loss = take_loss(message)?;
        rest.extend([LOSS, WEIGHT].iter().filter_map(|name| message.shift_remove_entry(*name)));
        message.extend(loss.map(|loss| (LOSS.to_owned(), Value::Bool(loss))));
    }
    keep_rest(message, [rest]);
    Ok(())
}

/// Gives calls their `function`: those that have none (`{name, arguments}`), and the one of OpenAI's first form
/// (`function_call`). What else they say is returned.
fn settle_calls(message: &mut Row) -> Result<Row, String> {
    let mut rest = Row::new();
    if message.get("function_call").is_some_and(Value::is_object)
        && !message.get("tool_calls").is_some_and(is_said)
        && let Some(Value::Object(mut asked)) = message.shift_remove("function_call")
    {
        let name = asked.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let arguments = asked.shift_remove("arguments").unwrap_or_default();
        message.insert("tool_calls".to_owned(), Value::Array(vec![call(None, &name, &arguments)]));
        asked.shift_remove("name");
        rest.extend(
            Some(asked).filter(|asked| !asked.is_empty()).map(|a| ("function_call".to_owned(), Value::Object(a))),
        );
    }
    let is_flat = |call: &Value| {
        let of = |name: &str| call.get(name).is_some_and(is_said);
        !of("function") && call.get("name").is_some_and(Value::is_string)
    };
    let Some(calls) = message.get_mut("tool_calls").and_then(Value::as_array_mut) else { return Ok(rest) };
    if !calls.iter().any(is_flat) {
        return Ok(rest);
    }
    let mut beside = Vec::new();
    for asked in calls.iter_mut() {
        let mut kept = Row::new();
        if is_flat(asked)
            && let Some(flat) = asked.as_object_mut()
        {
            kept = std::mem::take(flat);
            let name = kept.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let arguments =
                ["arguments", "args", "input", "parameters"].iter().find_map(|name| kept.shift_remove(*name));
            *asked = call(kept.shift_remove("id"), &name, &arguments.unwrap_or_default());
            ["name", "function"].iter().for_each(|name| drop(kept.shift_remove(*name)));
            if kept.get("type").is_some_and(|of_type| of_type == "function" || of_type == "tool_call") {
                kept.shift_remove("type");
            }
        }
        beside.push(Value::Object(kept));
    }
    rest.extend(Some(Value::Array(beside)).filter(is_said).map(|beside| ("tool_calls".to_owned(), beside)));
    Ok(rest)
}

/// Takes out of a message whether it is trained on: no, if its `loss` or its `weight` is false or zero. A number that is more
/// than that stays.
pub(super) fn take_loss(message: &mut Row) -> Result<Option<bool>, String> {
    let mut take = |name: &str| {
        let flag = match message.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(flag)) => Some(*flag),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(0.0) => Some(false),
                Some(1.0) => Some(true),
                _ => return Ok(Some(true)),
            },
            other => return Err(format!("`{name}` is {}, expected a number or a flag", kind(other))),
        };
        message.shift_remove(name);
        Ok(flag)
    };
    match (take(LOSS)?, take(WEIGHT)?) {
        (Some(loss), Some(weight)) if loss != weight => Err(format!("`{LOSS}` and `{WEIGHT}` contradict each other")),
        (loss, weight) => Ok(loss.or(weight)),
    }
}

/// Content that is a list of text parts is their text, one after another; gives what else they say. A list with anything
/// else in it stays what it is, and is read as JSON.
fn join_parts(message: &mut Row) -> Option<Value> {
    let content = message.get_mut("content").filter(|content| content.is_array())?;
    let (text, rest) = joined(content)?;
    *content = Value::String(text);
    rest
}

/// Takes the content out of what a message is made of: text, or nothing. What else its parts say stays.
pub(super) fn take_content(row: &mut Row, name: &str) -> Result<Value, String> {
    match row.shift_remove(name) {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(text @ Value::String(_)) => Ok(text),
        Some(parts @ Value::Array(_)) => match joined(&parts) {
            None => Ok(Value::String(parts.to_string())),
            Some((text, rest)) => {
                row.extend(rest.map(|rest| (name.to_owned(), rest)));
                Ok(Value::String(text))
            }
        },
        other => Err(format!("`{name}` is {}, expected text or parts", kind(other.as_ref()))),
    }
}

/// The text of a list of text parts, and what the parts say beside it.
pub fn joined(content: &Value) -> Option<(String, Option<Value>)> {
    let parts = content.as_array()?;
    let text = parts.iter().map(text_part).collect::<Option<Vec<&str>>>()?.concat();
    let rest: Vec<Value> = parts.iter().map(beside_text).collect();
    Some((text, Some(Value::Array(rest)).filter(is_said)))
}

fn beside_text(part: &Value) -> Value {
    let fields = part.as_object().into_iter().flatten();
    let said = fields.filter(|(name, value)| !["type", text_field(part)].contains(&name.as_str()) && is_said(value));
    Value::Object(said.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// Where a part has its text: LLaMA-Factory calls it `value`.
fn text_field(part: &Value) -> &'static str {
    if part.get("text").is_none() && part.get("value").is_some() { "value" } else { "text" }
}

/// Whether a list is one of messages, by its first.
pub(super) fn is_list_of_messages(items: &[Value]) -> bool {
    let is_message = |item: &Value| {
        let says = ["content", "tool_calls", "reasoning_content"].iter().any(|name| item.get(*name).is_some());
        item.get("role").is_some_and(Value::is_string) && says
    };
    items.first().is_some_and(is_message)
}

fn text_part(part: &Value) -> Option<&str> {
    match part {
        Value::String(text) => Some(text),
        whole @ Value::Object(part) => match part.get("type").and_then(Value::as_str) {
            Some("text" | "input_text" | "output_text") | None => part.get(text_field(whole))?.as_str(),
            Some(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Value {
        let Value::Object(row) = row else { panic!("a row is an object") };
        Value::Object(convert(row).expect("a row"))
    }

    #[test]
    fn text_parts_become_one_text() {
        let row = json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "a\n"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": ["c", "d"]},
            {"role": "user", "content": []}]});
        let expected = json!({"messages": [
            {"role": "user", "content": "a\nb"}, {"role": "user", "content": "cd"}, {"role": "user", "content": ""}]});
        assert_eq!(converted(row), expected);
    }

    #[test]
    fn parts_that_are_no_text_are_not_lost() {
        let row =
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]});
        assert_eq!(converted(row.clone()), row);
    }

    #[test]
    fn zero_and_false_are_not_trained_on_and_every_other_number_is() {
        let said = |fields: Value| {
            let row = json!({"messages": [fields]});
            let Value::Object(row) = row else { panic!("a row is an object") };
            convert(row).map(|row| row["messages"][0].clone())
        };
        let no = Ok(json!({"loss": false}));
        for fields in [json!({"weight": 0}), json!({"weight": -0.0}), json!({"weight": false}), json!({"loss": 0})] {
            assert_eq!(said(fields), no);
        }
        for fields in [json!({"weight": 1}), json!({"weight": 1.0}), json!({"loss": 1, "weight": true})] {
            assert_eq!(said(fields), Ok(json!({"loss": true})));
        }
        assert_eq!(said(json!({"weight": null})), Ok(json!({})));
        assert_eq!(said(json!({"loss": null, "weight": 0.0})), no);
        let odd = Err("message 0 of `messages`: `weight` is text, expected a number or a flag".to_owned());
        assert_eq!(said(json!({"weight": "0"})), odd);
        let contrary = Err("message 0 of `messages`: `loss` and `weight` contradict each other".to_owned());
        assert_eq!(said(json!({"loss": false, "weight": 1})), contrary);
    }

    #[test]
    fn weight_that_is_more_than_a_flag_is_kept_as_json() {
        let said = |fields: Value| converted(json!({"messages": [fields]}))["messages"][0].clone();
        let half = said(json!({"role": "assistant", "content": "a", "weight": 0.5}));
        let expected = json!({"role": "assistant", "content": "a", "loss": true, "other_fields": "{\"weight\":0.5}"});
        assert_eq!(half, expected);
        assert_eq!(said(json!({"loss": -2, "weight": 1})), json!({"loss": true, "other_fields": "{\"loss\":-2}"}));
        let beside = json!({"content": [{"text": "a", "cache": 1}], "weight": 3, "other_fields": "{\"a\":1}"});
        let rest = r#"[{"content":[{"cache":1}],"weight":3},{"other_fields":"{\"a\":1}"}]"#;
        assert_eq!(said(beside), json!({"content": "a", "loss": true, "other_fields": rest}));
    }

    #[test]
    fn what_parts_say_beside_their_text_is_kept_as_json() {
        let part = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "annotations": []});
        let row = json!({"messages": [{"role": "user", "content": [part, "b"]}]});
        let rest = r#"{"content":[{"cache_control":{"type":"ephemeral"}},{}]}"#;
        let expected = json!({"messages": [{"role": "user", "content": "ab", "other_fields": rest}]});
        assert_eq!(converted(row), expected);
    }
}
