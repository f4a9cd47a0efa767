//! CPython's difflib is the judge.

use super::matcher::Rect;
use super::*;

/// CPython's algorithm, spelled out: the oracle for the three strategies.
fn plain_ratio(a: &[char], b: &[char], junk: Junk) -> f64 {
    let mut b2j: HashMap<char, Vec<usize>> = HashMap::new();
    for (j, c) in b.iter().enumerate() {
        b2j.entry(*c).or_default().push(j);
    }
    if junk == Junk::Automatic && b.len() >= 200 {
        b2j.retain(|_, js| js.len() <= b.len() / 100 + 1);
    }
    let (mut stack, mut matched) = (vec![(0, a.len(), 0, b.len())], 0);
    while let Some((alo, ahi, blo, bhi)) = stack.pop() {
        let (mut bi, mut bj, mut size) = (alo, blo, 0);
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        for (i, c) in a.iter().enumerate().take(ahi).skip(alo) {
            let mut next = HashMap::new();
            for &j in b2j.get(c).into_iter().flatten().filter(|&&j| j >= blo && j < bhi) {
                let k = j.checked_sub(1).and_then(|p| lengths.get(&p)).copied().unwrap_or(0) + 1;
                next.insert(j, k);
                if k > size {
                    (bi, bj, size) = (i + 1 - k, j + 1 - k, k);
                }
            }
            lengths = next;
        }
        while bi > alo && bj > blo && a[bi - 1] == b[bj - 1] {
            (bi, bj, size) = (bi - 1, bj - 1, size + 1);
        }
        while bi + size < ahi && bj + size < bhi && a[bi + size] == b[bj + size] {
            size += 1;
        }
        if size > 0 {
            matched += size;
            if alo < bi && blo < bj {
                stack.push((alo, bi, blo, bj));
            }
            if bi + size < ahi && bj + size < bhi {
                stack.push((bi + size, ahi, bj + size, bhi));
            }
        }
    }
    if a.len() + b.len() == 0 { 1.0 } else { 2.0 * matched as f64 / (a.len() + b.len()) as f64 }
}

fn by_hash(a: &str, b: &str, junk: Junk) -> f64 {
    let (a, b): (Vec<u32>, Vec<u32>) = (a.chars().map(u32::from).collect(), b.chars().map(u32::from).collect());
    let alphabet = a.iter().chain(&b).max().map_or(0, |&m| m as usize + 1);
    let mut buffers = Buffers::default();
    let mut matcher = Matcher::new(&a, &b, alphabet, junk, &mut buffers);
    matcher.hashed(Rect { alo: 0, ahi: a.len(), blo: 0, bhi: b.len() }, usize::MAX);
    if a.len() + b.len() == 0 { 1.0 } else { 2.0 * matcher.matched as f64 / (a.len() + b.len()) as f64 }
}

fn text(alphabet: &'static str, most: usize) -> impl proptest::strategy::Strategy<Value = String> {
    let letters: Vec<char> = alphabet.chars().collect();
    proptest::collection::vec(0..letters.len(), 0..most)
        .prop_map(move |picks| picks.into_iter().map(|k| letters[k]).collect())
}

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_strategy_equals_the_plain_algorithm_on_random_texts(
        a in prop_oneof![text("ab", 40), text("abcdefgh \n", 300), text("abcdefghijklmnopqrstuvwxyzäß漢😀", 500)],
        b in prop_oneof![text("ab", 40), text("abcdefgh \n", 300), text("abcdefghijklmnopqrstuvwxyzäß漢😀", 500)],
    ) {
        let (ca, cb): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        for junk in [Junk::Automatic, Junk::Off] {
            let want = plain_ratio(&ca, &cb, junk);
            prop_assert_eq!(ratio(&a, &b, junk).to_bits(), want.to_bits());
            prop_assert_eq!(by_hash(&a, &b, junk).to_bits(), want.to_bits());
        }
    }

    #[test]
    fn every_strategy_equals_the_plain_algorithm_on_edited_texts(
        a in text("abcdefghijklmnop_() =", 600),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), "[a-z_ ]{0,6}"), 0..12),
    ) {
        let mut b: Vec<char> = a.chars().collect();
        for (at, word) in edits {
            let at = if b.is_empty() { 0 } else { at.index(b.len()) };
            b.splice(at..(at + 3).min(b.len()), word.chars());
        }
        let (ca, b_text): (Vec<char>, String) = (a.chars().collect(), b.iter().collect());
        for junk in [Junk::Automatic, Junk::Off] {
            let want = plain_ratio(&ca, &b, junk);
            prop_assert_eq!(ratio(&a, &b_text, junk).to_bits(), want.to_bits());
            prop_assert_eq!(by_hash(&a, &b_text, junk).to_bits(), want.to_bits());
        }
    }

    #[test]
    fn without_junk_the_ratio_equals_the_crate_difflib_fast(
        a in text("abcdefghijklm \n", 400), b in text("abcdefghijklm \n", 400),
    ) {
        prop_assert_eq!(ratio(&a, &b, Junk::Off).to_bits(), difflib_fast::ratio(&a, &b).to_bits());
    }
}

#[test]
fn two_empty_texts_are_equal() {
    assert_eq!(ratio("", "", Junk::Automatic), 1.0);
    assert_eq!(ratio("", "a", Junk::Automatic), 0.0);
}

#[test]
fn the_ratio_is_not_symmetric() {
    // The example of CPython's own documentation.
    assert_eq!(ratio("tide", "diet", Junk::Automatic), 0.25);
    assert_eq!(ratio("diet", "tide", Junk::Automatic), 0.5);
}
