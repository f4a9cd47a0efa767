//! `prompt` and `completion`, each a list of messages or a text, as TRL has them.
//!
//! Owns their joining. Where both are text, the prompt is a user's and the completion an assistant's.

use serde_json::Value;

use super::messages::join_parts;
use super::{Row, kind, message, with_messages};

pub(super) fn is_row(row: &Row) -> bool {
    let is_side = |name: &str| row.get(name).is_some_and(|v| v.is_array() || v.is_string());
    is_side("prompt") && is_side("completion")
}

pub(super) fn convert(row: Row) -> Result<Row, String> {
    let mut out = side(&row, "prompt", "user")?;
    out.extend(side(&row, "completion", "assistant")?);
    Ok(with_messages(row, &["prompt", "completion"], out))
}

fn side(row: &Row, name: &str, role: &str) -> Result<Vec<Row>, String> {
    match row.get(name) {
        Some(Value::String(text)) => Ok(vec![message(role, text.as_str())]),
        Some(Value::Array(_)) => {
            let mut messages: Vec<Row> = super::objects(row, name)?.into_iter().cloned().collect();
            messages.iter_mut().for_each(join_parts);
            Ok(messages)
        }
        other => Err(format!("`{name}` is {}, expected messages or text", kind(other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_sides_become_one_list_of_messages() {
        let row = json!({"prompt": [{"role": "user", "content": "q"}], "reward": 1.0,
            "completion": [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}]});
        let Value::Object(row) = row else { panic!("a row is an object") };
        let expected = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "reward": 1.0});
        assert_eq!(convert(row).map(Value::Object), Ok(expected));
    }

    #[test]
    fn texts_are_a_users_and_an_assistants() {
        let Value::Object(row) = json!({"prompt": "q", "completion": "a"}) else { panic!("a row is an object") };
        let expected = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]});
        assert_eq!(convert(row).map(Value::Object), Ok(expected));
    }
}
