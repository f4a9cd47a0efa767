//! Text that holds JSON to a value.
//!
//! Owns what a call's arguments are: as text they stay byte for byte what the model wrote, spacing, forms of numbers and
//! fields that come twice included.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Deserializer, Value};

use super::numbers::{large_number, may_be_large, too_large};

/// Where in a rollout a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Elsewhere,
    Call,
    Arguments,
}

impl Place {
    /// Where a field of this value stands.
    pub fn below(self, name: &str) -> Self {
        match (self, name) {
            (_, "tool_calls") => Place::Call,
            (Place::Call, "function") => Place::Call,
            (Place::Call, "arguments") => Place::Arguments,
            _ => Place::Elsewhere,
        }
    }
}

/// The value of a text; arguments that are not text stay the text that they are.
pub fn value(text: &str, place: Place) -> Result<Value, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("it holds text that is not JSON: {error}"))?;
    with_arguments(text.trim(), value, place)
}

/// Puts the arguments' own texts into the value of a text.
///
/// # Errors
/// A number elsewhere that the value would hold as another one.
fn with_arguments(text: &str, value: Value, place: Place) -> Result<Value, String> {
    Ok(match (place, value) {
        (Place::Arguments, value @ (Value::Null | Value::String(_))) => value,
        (Place::Arguments, _) => Value::String(text.to_owned()),
        (_, Value::Object(mut object)) => {
            for (name, inner) in members(text)? {
                // Of a field that comes twice the last one counts.
                let parsed = part(inner)?;
                object.insert(name.clone(), with_arguments(inner, parsed, place.below(&name))?);
            }
            Value::Object(object)
        }
        (_, Value::Array(items)) => {
            let texts = elements(text);
            let items = items.into_iter().zip(texts).map(|(item, text)| with_arguments(text, item, place));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        (_, value) => match Some(text).filter(|_| may_be_large(&value)).and_then(large_number) {
            Some(number) => return Err(too_large(&number)),
            None => value,
        },
    })
}

/// Splits the value off that a text starts with.
fn split_value(text: &str) -> (&str, &str) {
    let mut values = Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next();
    let (value, rest) = text.split_at(values.byte_offset());
    (value.trim(), rest.trim_start())
}

/// The value of a part of a text that has been read whole.
fn part<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("internal error, this is a bug: a part of its JSON is none: {error}"))
}

/// Names and texts of an object's fields.
fn members(object: &str) -> Result<Vec<(String, &str)>, String> {
    let mut out = Vec::new();
    let mut rest = object.strip_prefix('{').unwrap_or_default().trim_start();
    while rest.starts_with('"') {
        let (name, behind) = split_value(rest);
        let (value, behind) = split_value(behind.strip_prefix(':').unwrap_or_default().trim_start());
        out.push((part(name)?, value));
        rest = behind.strip_prefix(',').unwrap_or_default().trim_start();
    }
    Ok(out)
}

/// The texts of a list's items.
fn elements(list: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = list.strip_prefix('[').unwrap_or_default().trim_start();
    while !rest.is_empty() && !rest.starts_with(']') {
        let (value, behind) = split_value(rest);
        out.push(value);
        rest = behind.strip_prefix(',').unwrap_or_default().trim_start();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGUMENTS: &str = r#"{ "b":1.50,"a":[1E2 , "]}\"" ],"b": -0, "arguments": {} }"#;

    #[test]
    fn arguments_stay_byte_for_byte() {
        let text = format!(
            "{{\"role\": \"assistant\", \"tool_calls\": [ {{\"id\":null,\"function\" : {{\"name\":\"f\", \"arguments\": {ARGUMENTS} }} }}, {{}}, {{\"arguments\":{ARGUMENTS}}}]}}"
        );
        let found = value(&text, Place::Elsewhere).expect("it is JSON");
        assert_eq!(found["tool_calls"][0]["function"]["arguments"], ARGUMENTS);
        assert_eq!(found["tool_calls"][2]["arguments"], ARGUMENTS);
        assert_eq!(value(ARGUMENTS, Place::Arguments), Ok(Value::from(ARGUMENTS)));
    }

    #[test]
    fn number_that_would_become_another_one_is_an_error_but_in_arguments() {
        let text = |outside: &str| {
            format!(
                "{{\"n\": [{outside}], \"tool_calls\": [{{\"function\": {{\"arguments\": {{\"n\": 99999999999999999999}}}}}}]}}"
            )
        };
        let error = "it holds the whole number 18446744073709551616, which 64 bits can't hold; write it as text";
        assert_eq!(value(&text("18446744073709551616"), Place::Elsewhere), Err(error.to_owned()));
        let found = value(&text("1e30"), Place::Elsewhere).expect("a float");
        assert_eq!(found["tool_calls"][0]["function"]["arguments"], "{\"n\": 99999999999999999999}");
    }

    #[test]
    fn arguments_that_are_text_are_that_text() {
        assert_eq!(value(r#" "{\"x\":  1,}" "#, Place::Arguments), Ok(Value::from("{\"x\":  1,}")));
        assert_eq!(value("null", Place::Arguments), Ok(Value::Null));
    }

    #[test]
    fn everything_else_is_what_serde_reads() {
        for text in [ARGUMENTS, "[[], {}, [1, [2]], \"a\\u00e9\"]", " 7 ", r#"{"tool_calls": {"x": [{"y": ","}]}}"#] {
            assert_eq!(value(text, Place::Elsewhere), Ok(serde_json::from_str(text).expect("it is JSON")), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_refused() {
        let found = value("{\"a\": ", Place::Call);
        assert_eq!(
            found,
            Err("it holds text that is not JSON: EOF while parsing a value at line 1 column 6".to_owned())
        );
    }
}
