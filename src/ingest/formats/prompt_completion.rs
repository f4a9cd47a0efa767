//! `prompt` and `completion`, each a list of messages or a text, as TRL has them.
//!
//! Owns their joining. Where both are text, the prompt is a user's and the completion an assistant's.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::settle;
use super::native::{Row, kind, message, take_objects, text, with_messages};

pub(super) static FORM: Form = Form::new(
    "prompt-completion",
    "`prompt` and `completion`",
    &[
        Need::any(&["prompt"], "messages or text", |side| side.is_array() || side.is_string()),
        Need::any(&["completion"], "messages or text", |side| side.is_array() || side.is_string()),
    ],
    |row| Ok(vec![convert(row)?]),
    Consumed::These(&["prompt", "completion"]),
);

fn convert(mut row: Row) -> Result<Row, String> {
    let mut out = side(&mut row, "prompt", "user")?;
    out.extend(side(&mut row, "completion", "assistant")?);
    with_messages(row, &["prompt", "completion"], out)
}

/// Leaves the field in its place, empty, so that the messages may stand there.
fn side(row: &mut Row, name: &str, role: &str) -> Result<Vec<Row>, String> {
    let found = row.get_mut(name).map(Value::take);
    match found {
        Some(Value::String(text)) => Ok(vec![message(role, text)]),
        Some(list @ Value::Array(_)) => {
            let mut messages = take_objects(&mut Row::from_iter([(name.to_owned(), list)]), name)?;
            for (k, message) in messages.iter_mut().enumerate() {
                let sound = text(message, "role").map(drop);
                sound.and_then(|()| settle(message)).map_err(|detail| format!("message {k} of `{name}`: {detail}"))?;
            }
            Ok(messages)
        }
        other => Err(format!("`{name}` is {}, expected messages or text", kind(other.as_ref()))),
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
