//! The strategy for hostile pairs: blocks by rolling hashes, longest first.
//!
//! Owns the walks by the hashes; small rectangles go back to [`Matcher::split`]. A collision of hashes is told
//! apart by comparing the texts, so the result is exact.

use super::hashes::Hashes;
use super::matcher::{Matcher, Rect};
use super::symbol::Symbol;

/// Below this many symbols (both sides) a rectangle that a walk leaves is split again.
const HASHED_MIN_SYMBOLS: usize = 4096;

impl<S: Symbol> Matcher<'_, S> {
    /// Matches a rectangle whose blocks have at most `limit` core symbols, whatever the texts are.
    pub(super) fn hashed(&mut self, r: Rect, limit: usize) {
        if r.is_empty() {
            return;
        }
        let hashes = self.hashes.take().unwrap_or_else(|| Hashes::new(self.a, self.b, &self.buffers.core));
        let found = self.longest_by_hash(&hashes, &r, limit);
        self.hashes = Some(hashes);
        match found {
            Some((len, grams)) if len > 1 => self.sweep_hashed(r, len, &grams),
            Some(_) => self.singles(r),
            None => self.corner(r),
        }
    }

    /// The greatest length of a core block, at most `limit`, with the grams of `b` of that length.
    fn longest_by_hash(&self, hashes: &Hashes, r: &Rect, limit: usize) -> Option<(usize, Vec<(u64, u32)>)> {
        let most = (r.ahi - r.alo).min(r.bhi - r.blo).min(limit);
        // Gallop down from the limit (lengths fall by little from one nesting to the next), then bisect.
        let (mut high, mut step) = (most, 0);
        let (mut low, mut grams) = loop {
            let len = most.saturating_sub(step);
            if len == 0 {
                break (0, Vec::new());
            }
            if let Some(grams) = self.common_grams(hashes, r, len) {
                break (len, grams);
            }
            high = len - 1;
            step = if limit == usize::MAX { most.div_ceil(2).max(step * 3 / 2 + 1) } else { step * 2 + 1 };
        };
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.common_grams(hashes, r, middle) {
                Some(found) => (low, grams) = (middle, found),
                None => high = middle - 1,
            }
        }
        (low > 0).then_some((low, grams))
    }

    /// The core grams of `b` in the rectangle by (hash, position), if one of them stands in `a` as well.
    fn common_grams(&self, hashes: &Hashes, r: &Rect, len: usize) -> Option<Vec<(u64, u32)>> {
        let core_end = &hashes.core_end;
        let mut grams: Vec<(u64, u32)> = (r.blo..=r.bhi - len)
            .filter(|&j| core_end[j] as usize >= j + len)
            .map(|j| (hashes.of_b(j, len), j as u32))
            .collect();
        grams.sort_unstable();
        (r.alo..=r.ahi - len).any(|i| self.first_gram(hashes, &grams, r, i, len).is_some()).then_some(grams)
    }

    /// As [`Matcher::first_occurrence`] for `len` symbols, by hash; a collision is told apart by comparing.
    fn first_gram(&self, hashes: &Hashes, grams: &[(u64, u32)], r: &Rect, i: usize, len: usize) -> Option<usize> {
        let hash = hashes.of_a(i, len);
        let from = grams.partition_point(|&g| g < (hash, r.blo as u32));
        grams[from..]
            .iter()
            .take_while(|g| g.0 == hash && g.1 as usize + len <= r.bhi)
            .map(|g| g.1 as usize)
            .find(|&j| self.a[i..i + len] == self.b[j..j + len])
    }

    fn sweep_hashed(&mut self, mut r: Rect, len: usize, grams: &[(u64, u32)]) {
        let mut i = r.alo;
        while i + len <= r.ahi && r.blo + len <= r.bhi {
            let found = self.hashes.as_ref().and_then(|hashes| self.first_gram(hashes, grams, &r, i, len));
            let Some(j) = found else {
                i += 1;
                continue;
            };
            let block = self.grow(&r, i, j, len);
            self.matched += block.len;
            self.below(Rect { ahi: block.i, bhi: block.j, ..r }, len - 1);
            r.alo = block.i + block.len;
            r.blo = block.j + block.len;
            i = r.alo;
        }
        self.below(r, len - 1);
    }

    /// What a hashed sweep leaves: small rectangles are cheaper to split.
    fn below(&mut self, r: Rect, limit: usize) {
        if r.is_empty() {
        } else if limit == 0 {
            self.corner(r);
        } else if limit == 1 {
            self.singles(r);
        } else if r.symbols() < HASHED_MIN_SYMBOLS {
            self.split(r);
        } else {
            self.hashed(r, limit);
        }
    }
}
