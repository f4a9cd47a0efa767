//! How alike two texts are, for a judgement of intent.
//!
//! Owns the measure: difflib's ratio without its junk heuristic, after what both begin and end with is set aside as matched. A
//! retry changes a few lines of a program, and the rest need not be searched for blocks. What is left is compared by
//! characters; where it is long, by words, which tell as much of two programs and are a fifth as many.

use crate::similarity::{Exact, Measure, lexical};

/// Bytes, of both texts together, up to which characters are compared.
const BY_CHARACTER: usize = 512;

/// From 0 to 1.
pub(super) fn alike(old: &str, new: &str) -> f64 {
    let head = common_head(old, new);
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = common_tail(old_rest, new_rest);
    let middles = [&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]];
    let count = |text: &str| text.chars().count() as f64;
    let (aside, [a, b]) = (count(&old[..head]) + count(&old_rest[old_rest.len() - tail..]), middles.map(count));
    let [old, new] = middles;
    let ratio = || match old.len() + new.len() <= BY_CHARACTER {
        true => Exact.similarity(old, new).get(),
        false => lexical::ratio_of_words(old, new),
    };
    match a + b > 0.0 {
        // Of one that holds nothing more, nothing is left to match.
        true if old.is_empty() || new.is_empty() => 2.0 * aside / (2.0 * aside + a + b),
        true => (2.0 * aside + ratio() * (a + b)) / (2.0 * aside + a + b),
        false => 1.0,
    }
}

/// Bytes of whole characters that both begin with.
fn common_head(old: &str, new: &str) -> usize {
    let same = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    old.floor_char_boundary(same).min(new.floor_char_boundary(same))
}

/// Bytes of whole characters that both end with.
fn common_tail(old: &str, new: &str) -> usize {
    let same = old.bytes().rev().zip(new.bytes().rev()).take_while(|(a, b)| a == b).count();
    let whole = |text: &str| text.len() - text.ceil_char_boundary(text.len() - same);
    whole(old).min(whole(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_texts_begin_and_end_with_counts_as_matched() {
        for (old, new, expected) in [
            ("", "", 1.0),
            ("abc", "abc", 1.0),
            ("abc", "", 0.0),
            ("aé1c", "aé2c", 0.75),
            ("aa", "aaa", 0.8),
            ("print(is_prim(7))", "print(is_prime(7))", 34.0 / 35.0),
        ] {
            assert!((alike(old, new) - expected).abs() < 1e-12, "{old} {new}: {}", alike(old, new));
        }
        let (old, new) = ("import math\nx = 1\nprint(x)", "import maths\ny = 2\nprint(y)");
        assert!((alike(old, new) - Exact.similarity(old, new).get()).abs() < 0.1);
    }

    #[test]
    fn long_texts_are_compared_by_their_words() {
        let lines =
            |of: std::ops::Range<usize>| of.map(|k| format!("total_{k} = price_{k} * {k}\n")).collect::<String>();
        let (old, new) = (format!("a\n{}b", lines(0..40)), format!("b\n{}c", lines(20..60)));
        let (by_words, by_characters) = (alike(&old, &new), Exact.similarity(&old, &new).get());
        assert!((by_words - by_characters).abs() < 0.25, "{by_words} {by_characters}");
        assert!((alike(&lines(0..40), &lines(40..80)) - 1.0).abs() > 0.2);
    }
}
