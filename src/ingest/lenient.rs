//! JSON as Python writes it: numbers that are none, halves of surrogate pairs.
//!
//! Owns what becomes of these: `NaN` and `Infinity` are null, half a pair is U+FFFD. A text is only looked at where the parser
//! refuses it, and what was mended is counted, never passed by.

use std::ops::AddAssign;
use std::sync::LazyLock;

use regex::bytes::Regex;
use serde_json::Value;

/// How many rows of a file were mended, by what was wrong with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Rows that hold half a surrogate pair.
    pub surrogates: u64,
    /// Rows that hold `NaN` or `Infinity`.
    pub not_numbers: u64,
}

impl Mended {
    /// What was wrong, in words, with the number of rows.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            ("half surrogate pairs (read as U+FFFD)", self.surrogates),
            ("NaN and Infinity (read as null)", self.not_numbers),
        ];
        all.into_iter().filter(|(_, rows)| *rows > 0)
    }
}

impl AddAssign for Mended {
    fn add_assign(&mut self, other: Mended) {
        let Mended { surrogates, not_numbers } = other;
        self.surrogates += surrogates;
        self.not_numbers += not_numbers;
    }
}

/// The value of a JSON text, and what had to be mended.
///
/// # Errors
/// What the parser says of the text as it is.
pub(super) fn value(text: &[u8]) -> Result<(Value, Mended), serde_json::Error> {
    let error = match serde_json::from_slice(text) {
        Ok(value) => return Ok((value, Mended::default())),
        Err(error) => error,
    };
    match mended(text).map(|(text, found)| (serde_json::from_slice(&text), found)) {
        Some((Ok(value), found)) => Ok((value, found)),
        Some((Err(_), _)) | None => Err(error),
    }
}

/// How the escape of half a pair begins, or that of a whole one.
static SURROGATE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\\ud|\\uD").ok());

/// Whether a text may hold half a surrogate pair: quicker than to look for one.
pub(super) fn may_hold_half_pairs(text: &[u8]) -> bool {
    SURROGATE.as_ref().is_none_or(|surrogate| surrogate.is_match(text))
}

/// Whether a text holds half a surrogate pair, which readers that skip a value don't see.
pub(super) fn has_half_pair(text: &[u8]) -> bool {
    may_hold_half_pairs(text) && mended(text).is_some()
}

/// The text with what Python writes brought into JSON; `None` if it holds nothing of that.
fn mended(text: &[u8]) -> Option<(Vec<u8>, Mended)> {
    let mut out = Vec::with_capacity(text.len());
    let mut found = Mended::default();
    let (mut k, mut in_string) = (0, false);
    while k < text.len() {
        let rest = &text[k..];
        let length = match rest[0] {
            b'\\' if in_string => match half_pair(rest) {
                Some(false) => 12.min(rest.len()),
                Some(true) => {
                    found.surrogates = 1;
                    out.extend_from_slice(b"\\ufffd");
                    k += 6;
                    continue;
                }
                None => 2.min(rest.len()),
            },
            b'"' => {
                in_string = !in_string;
                1
            }
            b'N' | b'I' | b'-' if !in_string => match not_a_number(rest) {
                Some(length) => {
                    found.not_numbers = 1;
                    out.extend_from_slice(b"null");
                    k += length;
                    continue;
                }
                None => 1,
            },
            _ => 1,
        };
        out.extend_from_slice(&rest[..length]);
        k += length;
    }
    (found != Mended::default()).then_some((out, found))
}

/// The length of a number that is none.
fn not_a_number(text: &[u8]) -> Option<usize> {
    ["NaN", "Infinity", "-Infinity"].into_iter().find(|name| text.starts_with(name.as_bytes())).map(str::len)
}

/// Whether an escape is half a surrogate pair; `None` if it is none at all, `Some(false)` if the other half follows.
fn half_pair(text: &[u8]) -> Option<bool> {
    let unit = |text: &[u8]| {
        let digits = text.strip_prefix(b"\\u").and_then(|digits| digits.get(..4))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match unit(text)? {
        0xd800..0xdc00 => Some(!unit(&text[6..]).is_some_and(|next| (0xdc00..0xe000).contains(&next))),
        0xdc00..0xe000 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_are_none_are_null_and_text_that_names_them_stays() {
        let text = br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" Infinity", "d": -1}"#;
        let (found, mended) = value(text).expect("it can be read");
        assert_eq!(found, json!({"a": null, "b": [null, null], "c": "NaN \" Infinity", "d": -1}));
        assert_eq!(mended, Mended { surrogates: 0, not_numbers: 1 });
    }

    #[test]
    fn half_a_pair_is_a_replacement_and_a_whole_one_its_character() {
        let text = br#"{"a": "x \ud835 y", "b": "\ud83c\udf78", "c": "\udf78\ud83c\udf78", "d": "\\ud835"}"#;
        let (found, mended) = value(text).expect("it can be read");
        let expected = json!({"a": "x \u{fffd} y", "b": "\u{1f378}", "c": "\u{fffd}\u{1f378}", "d": "\\ud835"});
        assert_eq!(found, expected);
        assert_eq!(mended, Mended { surrogates: 1, not_numbers: 0 });
    }

    #[test]
    fn text_that_is_broken_otherwise_is_refused_in_the_parsers_own_words() {
        for text in [&b"{\"a\": NaN"[..], b"{\"a\": nan}", b"\"\\ud8", b"", b"-", b"\"\\"] {
            let own = serde_json::from_slice::<Value>(text).expect_err("it is no JSON").to_string();
            assert_eq!(value(text).expect_err("it is no JSON").to_string(), own);
        }
    }
}
