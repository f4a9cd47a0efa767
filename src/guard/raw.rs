//! Code as it stands in the arguments of a call, read without being unpacked.
//!
//! Owns two questions that most repairs are cleared by: which lines of a failed call its correction does not have, and
//! whether a text mentions a name. Arguments are JSON mostly, where a line break is two characters: unpacking every call of a
//! rollout would cost more than all else that a guard does.

use std::borrow::Cow;

use crate::saar::code_of;

/// The text of a step's Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Code<'t> {
    /// Arguments as the model wrote them, an object of JSON.
    Packed(&'t str),
    /// The code itself.
    Plain(Cow<'t, str>),
}

impl<'t> Code<'t> {
    /// Of a call with these arguments.
    pub(super) fn of(arguments: &'t str) -> Self {
        match arguments.trim_start().starts_with('{') {
            true => Code::Packed(arguments),
            false => Code::Plain(Cow::Borrowed(arguments)),
        }
    }

    /// The code itself.
    pub(super) fn unpacked(&self) -> Cow<'_, str> {
        match self {
            Code::Packed(arguments) => Cow::Owned(code_of(arguments)),
            Code::Plain(code) => Cow::Borrowed(code),
        }
    }

    fn text(&self) -> &str {
        match self {
            Code::Packed(text) => text,
            Code::Plain(text) => text,
        }
    }

    /// Whether it mentions a name as a word. In doubt, it does.
    pub(super) fn mentions(&self, name: &str) -> bool {
        let text = self.text();
        let is_packed = matches!(self, Code::Packed(_));
        if is_packed && !name.is_ascii() {
            // It may stand there as `\u00e9`.
            return true;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        text.match_indices(name).any(|(at, _)| {
            let (before, behind) = (&text[..at], &text[at + name.len()..]);
            let starts = !before.ends_with(is_word) || is_packed && ends_in_escape(before.as_bytes());
            starts && !behind.starts_with(is_word)
        })
    }

    /// The lines of `self` that `other` does not have at its ends: both are the same before and behind them.
    pub(super) fn lines_unlike(&self, other: &Code<'_>) -> Cow<'_, str> {
        match (self, other) {
            (Code::Packed(old), Code::Packed(new)) => {
                let middle = middle(old, new, "\\n");
                // Any part of a JSON string between two line breaks is one.
                let unpacked: Option<String> = serde_json::from_str(&format!("\"{}\"", string_part(middle))).ok();
                unpacked.map_or_else(|| self.unpacked(), Cow::Owned)
            }
            (Code::Plain(old), Code::Plain(new)) => Cow::Borrowed(middle(old, new, "\n")),
            (Code::Packed(_), Code::Plain(_)) | (Code::Plain(_), Code::Packed(_)) => self.unpacked(),
        }
    }
}

/// The part of `old` between what both texts begin with and what both end with, from line break to line break.
fn middle<'o>(old: &'o str, new: &str, line_break: &str) -> &'o str {
    if old == new {
        return "";
    }
    let same = |(a, b): &(u8, u8)| a == b;
    let shorter = old.len().min(new.len());
    let head = old.bytes().zip(new.bytes()).take_while(same).count();
    let tail = old.bytes().rev().zip(new.bytes().rev()).take_while(same).count().min(shorter - head);
    let start = old.as_bytes()[..head].windows(line_break.len()).rposition(|w| w == line_break.as_bytes());
    let start = start.map_or(0, |at| at + line_break.len());
    let behind = &old.as_bytes()[old.len() - tail..];
    let end = behind.windows(line_break.len()).position(|w| w == line_break.as_bytes());
    let end = end.map_or(old.len(), |at| old.len() - tail + at);
    old.get(start..end.max(start)).unwrap_or(old)
}

/// What of a piece of an object stands within the string that holds the code, as far as quotes tell.
fn string_part(piece: &str) -> &str {
    let is_quote = |at: usize| piece.as_bytes()[..at].iter().rev().take_while(|b| **b == b'\\').count() % 2 == 0;
    let quotes: Vec<usize> = piece.match_indices('"').map(|(at, _)| at).filter(|at| is_quote(*at)).collect();
    match quotes.as_slice() {
        [] => piece,
        // `{"code": "...` at the front, `..."}` at the end; more of them: it can't be told.
        [.., open] if piece.trim_start().starts_with('{') && quotes.len() == 3 => &piece[open + 1..],
        [close] => &piece[..*close],
        [_, _, open, close] if piece.trim_start().starts_with('{') => &piece[open + 1..*close],
        // Not to be read: the caller falls back on the whole.
        _ => "\\",
    }
}

/// Whether a text ends in the letter of an escape: `\n`, `\t`, `\u0041`.
fn ends_in_escape(before: &[u8]) -> bool {
    let backslashes = |end: usize| before[..end].iter().rev().take_while(|b| **b == b'\\').count();
    let letter = before.len().saturating_sub(1);
    let is_letter = before.last().is_some_and(|b| b"nrtbf".contains(b)) && backslashes(letter) % 2 == 1;
    let is_code = before.len() >= 6 && before[before.len() - 5] == b'u' && backslashes(before.len() - 5) % 2 == 1;
    is_letter || is_code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(code: &str) -> String {
        serde_json::json!({ "code": code }).to_string()
    }

    #[test]
    fn names_are_found_as_words_whatever_stands_before_them_in_json() {
        let arguments = packed("import os\nnode = 1\n\tx2 = node.a\nprint(node)");
        let code = Code::of(&arguments);
        for name in ["os", "node", "x2", "print", "a"] {
            assert!(code.mentions(name), "{name}");
        }
        for name in ["nod", "x", "ode", "rint"] {
            assert!(!code.mentions(name), "{name}");
        }
        assert!(code.mentions("é"));
        let plain = Code::of("x = y\nz");
        assert!(plain.mentions("z") && !plain.mentions("nz"));
    }

    #[test]
    fn only_lines_that_the_other_does_not_have_are_left() {
        let (old, new) =
            ("a = 1\nb = f(a)\nc = \"x\\ny\"\nprint(c)", "a = 1\nb = g(a)\nprint(b)\nc = \"x\\ny\"\nprint(c)");
        let (old_packed, new_packed) = (packed(old), packed(new));
        assert_eq!(Code::of(&old_packed).lines_unlike(&Code::of(&new_packed)), "b = f(a)");
        assert_eq!(Code::of(old).lines_unlike(&Code::of(new)), "b = f(a)");
        assert_eq!(Code::of(&old_packed).lines_unlike(&Code::of(&old_packed)), "");
        assert_eq!(Code::of(&old_packed).lines_unlike(&Code::of(new)), old);
    }

    #[test]
    fn first_and_last_lines_lose_what_is_around_the_code() {
        let (old, new) = (packed("a = 1"), packed("b = 2"));
        assert_eq!(Code::of(&old).lines_unlike(&Code::of(&new)), "a = 1");
        let (old, new) = (packed("a = 1\nc"), packed("b = 2\nc"));
        assert_eq!(Code::of(&old).lines_unlike(&Code::of(&new)), "a = 1");
        let (old, new) = (packed("c\na = \"1\""), packed("c\nb = 2"));
        assert_eq!(Code::of(&old).lines_unlike(&Code::of(&new)), "a = \"1\"");
    }
}
