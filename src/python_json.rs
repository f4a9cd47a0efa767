//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is what chat templates print.
//!
//! Owns spaces after `,` and `:`, Python's escapes and its way of writing floats. Keys keep their order.

use std::fmt::Write;

use serde_json::Value;

/// The text of a value; `indent` spreads it over lines.
pub fn dumps(value: &Value, indent: Option<usize>) -> String {
    let mut out = String::new();
    write(&mut out, value, indent, 0);
    out
}

fn write(out: &mut String, value: &Value, indent: Option<usize>, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => match n.as_f64().filter(|_| n.is_f64()) {
            Some(float) => out.push_str(&python_float(float)),
            None => out.push_str(&n.to_string()),
        },
        Value::String(text) => string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (k, item) in items.iter().enumerate() {
                separate(out, k, indent, depth + 1);
                write(out, item, indent, depth + 1);
            }
            close(out, items.is_empty(), indent, depth);
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (k, (name, field)) in fields.iter().enumerate() {
                separate(out, k, indent, depth + 1);
                string(out, name);
                out.push_str(": ");
                write(out, field, indent, depth + 1);
            }
            close(out, fields.is_empty(), indent, depth);
            out.push('}');
        }
    }
}

fn line(out: &mut String, indent: usize, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent * depth));
}

fn separate(out: &mut String, index: usize, indent: Option<usize>, depth: usize) {
    match indent {
        Some(indent) => {
            out.push_str(if index > 0 { "," } else { "" });
            line(out, indent, depth);
        }
        None => out.push_str(if index > 0 { ", " } else { "" }),
    }
}

fn close(out: &mut String, is_empty: bool, indent: Option<usize>, depth: usize) {
    if let Some(indent) = indent.filter(|_| !is_empty) {
        line(out, indent, depth);
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => {
                // Writing to a string can't fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Python's `repr` of a float: an exponent from 1e16 on and below 1e-4, of two digits at least.
fn python_float(x: f64) -> String {
    if x == 0.0 || (1e-4..1e16).contains(&x.abs()) {
        return format!("{x:?}");
    }
    let text = format!("{x:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_python_writes_it() {
        let value: Value = serde_json::from_str(
            r#"{"b": [1, 2.0, 1e16, 1e-5, 12345678901234567890], "a": "\u0001\"\\/ü\n", "e": {}, "n": null}"#,
        )
        .expect("JSON");
        // json.dumps(value, ensure_ascii=False) of CPython 3.11
        let expected =
            r#"{"b": [1, 2.0, 1e+16, 1e-05, 12345678901234567890], "a": "\u0001\"\\/ü\n", "e": {}, "n": null}"#;
        assert_eq!(dumps(&value, None), expected);
        assert_eq!(
            dumps(&serde_json::json!({"a": [1, {}], "b": []}), Some(2)),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"
        );
    }
}
