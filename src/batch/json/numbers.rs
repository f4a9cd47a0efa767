//! Whole numbers in JSON text that 64 bits don't hold.
//!
//! Owns finding them. Parsers here make floats of them, which are other numbers, and the reader of `datasets` refuses a file
//! with one: so they are never taken over in silence.

use serde_json::Value;

/// From here on a float may stand for a whole number of the text.
const FIRST_TOO_LARGE: f64 = i64::MAX as f64;
/// What of a number is told; data could make it long.
const MAX_TOLD: usize = 40;

/// The first such number of a JSON text.
pub fn large_number(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut k, mut in_string) = (0, false);
    while k < bytes.len() {
        match bytes[k] {
            b'\\' if in_string => k += 1,
            b'"' => in_string = !in_string,
            b'-' | b'0'..=b'9' if !in_string => {
                let len = bytes[k..].iter().take_while(|b| b"+-.eE0123456789".contains(b)).count();
                let number = &text[k..k + len];
                let is_whole = !number.contains(['.', 'e', 'E']);
                let fits = number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
                if is_whole && !fits {
                    return Some(number.chars().take(MAX_TOLD).collect());
                }
                k += len.max(1) - 1;
            }
            _ => {}
        }
        k += 1;
    }
    None
}

/// Whether a parsed value may have been one in its text: quicker than to look there.
pub fn may_be_large(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64() && number.as_f64().is_some_and(|n| n.abs() >= FIRST_TOO_LARGE),
        Value::Array(items) => items.iter().any(may_be_large),
        Value::Object(fields) => fields.values().any(may_be_large),
        _ => false,
    }
}

/// What is told of one.
pub fn too_large(number: &str) -> String {
    format!("it holds the whole number {number}, which 64 bits can't hold; write it as text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_64_bits_hold_are_none() {
        for text in [
            "[18446744073709551615, -9223372036854775808]",
            "{\"n\": 1e30, \"s\": \"99999999999999999999\\\"9\"}",
            "-0",
        ] {
            assert_eq!(large_number(text), None, "{text}");
        }
    }

    #[test]
    fn larger_ones_are_told_and_not_missed_once_parsed() {
        for number in ["18446744073709551616", "-9223372036854775809", "123456789012345678901"] {
            let text = format!("{{\"a\": [1, {{\"b\": {number}}}]}}");
            assert_eq!(large_number(&text).as_deref(), Some(number));
            assert!(may_be_large(&serde_json::from_str(&text).expect("JSON")), "{number}");
        }
    }
}
