//! Text as columns of a terminal: how wide it is, where it is cut and wrapped.
//!
//! Owns the measure, which is the one that the cells are filled by. What it is given has been escaped.

use ratatui::style::Style;
use ratatui::text::Span;

pub fn width_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// What stands in one place: a character with the marks on it.
fn characters(text: &str) -> Vec<String> {
    Span::raw(text).styled_graphemes(Style::new()).map(|grapheme| grapheme.symbol.to_owned()).collect()
}

/// As much as fits, with a sign where something is left out.
pub fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for character in characters(text) {
        used += width_of(&character);
        if used + 1 > width {
            break;
        }
        out += &character;
    }
    if width > 0 { out + "…" } else { out }
}

/// All of it, in rows of at most this width; at least one.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut rows, mut used) = (vec![String::new()], 0);
    for character in characters(text) {
        let wide = width_of(&character);
        if used > 0 && used + wide > width {
            rows.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(row) = rows.last_mut() {
            *row += &character;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_and_marks_are_counted_in_columns_and_never_split() {
        let text = "漢字e\u{301}漢";
        assert_eq!(width_of(text), 7);
        assert_eq!(wrap(text, 3), ["漢", "字e\u{301}", "漢"]);
        assert_eq!(cut(text, 4), "漢…");
        assert_eq!(cut(text, 7), text);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn nothing_is_lost_by_wrapping() {
        let text = "a漢\u{301}b🦀c".repeat(20);
        for width in 1..12 {
            let rows = wrap(&text, width);
            assert_eq!(rows.concat(), text);
            assert!(rows.iter().all(|row| width_of(row) <= width.max(2)), "{width}");
        }
    }
}
