//! The ratio of CPython's `difflib.SequenceMatcher(None, a, b).ratio()`, to the last bit.
//!
//! Owns the matching-block arithmetic and nothing else: which texts are compared, and what a ratio
//! means, is decided in [`crate::saar`]. The invariant: for every pair of strings the number of
//! matched code points equals CPython's, automatic junk heuristic included (docs/method.md, "Call segment and similarity").
//!
//! CPython looks for the longest block by walking all pairs of equal, not popular code points, again
//! for each sub-rectangle. Three strategies find the same blocks with less work:
//! - `Matcher::split`: the maximal diagonals of at least `GRAM` code points are found once, by an index
//!   of grams, and are only clipped and divided afterwards. This serves nearly every real pair.
//! - `Matcher::singles`: where all blocks of a rectangle have one code point, one walk from left to right meets
//!   them in CPython's order. This serves what is left between diagonals.
//! - `Matcher::hashed`: the longest block's length by rolling hashes, then one walk for all blocks of that length.
//!   It bounds hostile pairs to O(n·sqrt(n)·log n), where CPython needs O(n^3): lengths of blocks strictly
//!   fall with nesting and add up to at most n.

mod hashed;
mod hashes;
mod matcher;
mod symbol;

use std::cell::RefCell;
use std::collections::HashMap;

use rustc_hash::FxHashMap;

pub use matcher::Junk;
use matcher::{Buffers, Matcher};
use symbol::Symbol;

/// `2 * M / (len(a) + len(b))` over code points; 1.0 for two empty texts.
///
/// Not symmetric: `a` is the older text, `b` the newer. Source: CPython 3.11 `Lib/difflib.py`.
pub fn ratio(a: &str, b: &str, junk: Junk) -> f64 {
    thread_local! {
        static BUFFERS: RefCell<(Buffers<u8>, Buffers<u32>)> = RefCell::default();
    }
    BUFFERS.with_borrow_mut(|(narrow, wide)| {
        if a.is_ascii() && b.is_ascii() {
            return ratio_of(a.as_bytes(), b.as_bytes(), 128, junk, narrow);
        }
        let mut ids = HashMap::new();
        let mut dense = |text: &str| -> Vec<u32> {
            text.chars()
                .map(|c| {
                    let next = ids.len() as u32;
                    *ids.entry(c).or_insert(next)
                })
                .collect()
        };
        let (a, b) = (dense(a), dense(b));
        let alphabet = ids.len();
        ratio_of(&a, &b, alphabet, junk, wide)
    })
}

/// The same ratio over words instead of code points: runs of letters, digits, `_` and what is not ASCII, runs of white space,
/// and every other character alone. No word is junk.
pub fn ratio_of_words(a: &str, b: &str) -> f64 {
    thread_local! {
        static BUFFERS: RefCell<Buffers<u32>> = RefCell::default();
    }
    let mut ids = FxHashMap::default();
    let mut dense = |text| -> Vec<u32> {
        words(text)
            .map(|word| {
                let next = ids.len() as u32;
                *ids.entry(word).or_insert(next)
            })
            .collect()
    };
    let (a, b) = (dense(a), dense(b));
    let alphabet = ids.len();
    BUFFERS.with_borrow_mut(|buffers| ratio_of(&a, &b, alphabet, Junk::Off, buffers))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let mut rest = text;
    std::iter::from_fn(move || {
        let bytes = rest.as_bytes();
        let first = bytes.first()?;
        let length = match first {
            byte if is_part(byte) => bytes.iter().take_while(|byte| is_part(byte)).count(),
            byte if byte.is_ascii_whitespace() => bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count(),
            _ => 1,
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        Some(word)
    })
}

fn ratio_of<S: Symbol>(a: &[S], b: &[S], alphabet: usize, junk: Junk, buffers: &mut Buffers<S>) -> f64 {
    let length = a.len() + b.len();
    if length == 0 {
        return 1.0;
    }
    let matched = Matcher::new(a, b, alphabet, junk, buffers).run();
    2.0 * matched as f64 / length as f64
}

#[cfg(test)]
mod tests;
