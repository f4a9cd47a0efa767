//! OpenAI's Responses API: `output` items, with the `input` that they answer.
//!
//! Owns the row; its items are [`super::items`]'s. `instructions` are the system's message.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::items::{Turns, is_item};
use super::native::{Row, kind, message, with_messages};

pub(super) static FORM: Form = Form::new(
    "responses",
    "`output` items (`function_call`, `function_call_output`, `reasoning`): OpenAI's Responses API",
    &[Need::any(&["output"], "a list of items such as `function_call`", |output| {
        output.as_array().is_some_and(|items| items.iter().any(is_item))
    })],
    |row| Ok(vec![convert(row)?]),
    Consumed::These(&["input", "output", "instructions"]),
);

fn convert(mut row: Row) -> Result<Row, String> {
    let mut turns = Turns::default();
    if let Some(Value::String(instructions)) = row.get("instructions") {
        turns.begin(message("system", instructions.as_str()));
    }
    for name in ["input", "output"] {
        match row.get_mut(name).map(Value::take) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                turns.begin(message(if name == "input" { "user" } else { "assistant" }, text));
            }
            Some(Value::Array(items)) => turns.add_all(items, name)?,
            other => return Err(format!("`{name}` is {}, expected items or text", kind(other.as_ref()))),
        }
    }
    with_messages(row, &["input", "output", "instructions"], turns.finish())
}
