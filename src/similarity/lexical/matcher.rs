//! The matcher: the longest blocks of two texts in CPython's order.
//!
//! Owns the strategies that serve real pairs, and their memory. Rectangles that cost too much go to the strategy of `hashed`.

use std::ops::Range;

use super::hashes::Hashes;
use super::symbol::Symbol;

/// Length of the grams that find diagonals; shorter blocks are left to [`Matcher::singles`].
const GRAM: usize = 2;
/// CPython's automatic junk heuristic starts at this many code points of `b` (`__chain_b`).
const AUTOJUNK_MIN_LEN: usize = 200;
/// Steps that [`Matcher::split`] may take before a rectangle is handed to [`Matcher::hashed`].
const SPLIT_BUDGET_BASE: usize = 2_000_000;
const SPLIT_BUDGET_PER_SYMBOL: usize = 64;
/// Up to this many core symbols of `b` are looked through one by one; beyond, by their sorted positions.
const SCANNED_SYMBOLS: usize = 128;
const NONE: u32 = u32::MAX;

/// Which code points of the second text may start a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Junk {
    /// CPython's default: with 200 code points or more, those that occur more than `len / 100 + 1` times may not.
    Automatic,
    /// `autojunk=False`: all may.
    Off,
}

/// Allocations that outlive one pair; their contents do not.
#[derive(Default)]
pub(super) struct Buffers<S> {
    /// Whether a symbol occurs in `b` and is not popular: it may start a block.
    pub(super) core: Vec<bool>,
    /// `positions[starts[s] .. starts[s + 1]]`: where core symbol `s` occurs in `b`, ascending. Filled when needed.
    pub(super) starts: Vec<u32>,
    pub(super) positions: Vec<u32>,
    pub(super) gram_heads: Vec<u32>,
    pub(super) gram_next: Vec<u32>,
    pub(super) core_a: CorePlaces,
    pub(super) core_b: CorePlaces,
    pub(super) diagonals: Vec<Diagonal>,
    pub(super) right: Vec<Diagonal>,
    pub(super) stack: Vec<(Rect, usize, usize)>,
    pub(super) symbol: std::marker::PhantomData<S>,
}

/// Where core symbols stand in a text, so that popular ones cost nothing.
#[derive(Default)]
pub(super) struct CorePlaces {
    /// Ascending; what lies after the last rank is left over from an earlier text.
    pub(super) places: Vec<u32>,
    /// `rank[i]`: how many of them lie before `i`, from 0 to the text's length.
    pub(super) rank: Vec<u32>,
}

impl CorePlaces {
    /// Without branches: which symbols are popular can't be predicted.
    pub(super) fn fill<S: Symbol>(&mut self, text: &[S], core: &[bool]) {
        let n = text.len();
        if self.rank.len() <= n {
            self.places.resize(n + 1, 0);
            self.rank.resize(n + 1, 0);
        }
        let places = &mut self.places[..=n];
        let mut found = 0;
        for ((i, s), rank) in (0..).zip(text).zip(&mut self.rank) {
            places[found] = i;
            *rank = found as u32;
            found += usize::from(core[s.index()]);
        }
        self.rank[n] = found as u32;
    }

    /// Indices into `places` of what lies in a range of the text.
    pub(super) fn within(&self, range: Range<usize>) -> Range<usize> {
        self.rank[range.start] as usize..self.rank[range.end] as usize
    }

    /// Places in a range where two core symbols stand side by side.
    pub(super) fn grams(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = usize> {
        self.places[self.within(range)].windows(GRAM).filter(|w| w[1] == w[0] + 1).map(|w| w[0] as usize)
    }
}

/// A longest stretch of equal, not popular symbols: `a[i..i+len] == b[j..j+len]`.
#[derive(Clone, Copy)]
pub(super) struct Diagonal {
    pub(super) i: u32,
    pub(super) j: u32,
    pub(super) len: u32,
}

/// Half-open ranges of both texts.
#[derive(Clone, Copy)]
pub(super) struct Rect {
    pub(super) alo: usize,
    pub(super) ahi: usize,
    pub(super) blo: usize,
    pub(super) bhi: usize,
}

impl Rect {
    pub(super) fn is_empty(&self) -> bool {
        self.alo >= self.ahi || self.blo >= self.bhi
    }

    pub(super) fn symbols(&self) -> usize {
        (self.ahi - self.alo) + (self.bhi - self.blo)
    }

    /// The part of a diagonal inside the rectangle, or `None`.
    pub(super) fn clip(&self, d: Diagonal) -> Option<Diagonal> {
        let (i, j, len) = (d.i as usize, d.j as usize, d.len as usize);
        let skip = self.alo.saturating_sub(i).max(self.blo.saturating_sub(j));
        let end = len.min(self.ahi.saturating_sub(i)).min(self.bhi.saturating_sub(j));
        (skip < end).then(|| Diagonal { i: (i + skip) as u32, j: (j + skip) as u32, len: (end - skip) as u32 })
    }
}

/// A matching block, grown over popular symbols.
pub(super) struct Block {
    pub(super) i: usize,
    pub(super) j: usize,
    pub(super) len: usize,
}

pub(super) struct Matcher<'t, S> {
    pub(super) a: &'t [S],
    pub(super) b: &'t [S],
    pub(super) buffers: &'t mut Buffers<S>,
    pub(super) matched: usize,
    pub(super) hashes: Option<Hashes>,
}

impl<'t, S: Symbol> Matcher<'t, S> {
    pub(super) fn new(a: &'t [S], b: &'t [S], alphabet: usize, junk: Junk, buffers: &'t mut Buffers<S>) -> Self {
        find_core(b, alphabet, junk, buffers);
        buffers.positions.clear();
        buffers.core_a.fill(a, &buffers.core);
        buffers.core_b.fill(b, &buffers.core);
        Matcher { a, b, buffers, matched: 0, hashes: None }
    }

    pub(super) fn run(mut self) -> usize {
        let whole = Rect { alo: 0, ahi: self.a.len(), blo: 0, bhi: self.b.len() };
        if !whole.is_empty() {
            self.split(whole);
        }
        self.matched
    }

    /// Grows a core block over equal symbols within the rectangle, as CPython does for popular ones.
    pub(super) fn grow(&self, r: &Rect, i: usize, j: usize, len: usize) -> Block {
        let (a, b) = (self.a, self.b);
        let before = a[r.alo..i].iter().rev().zip(b[r.blo..j].iter().rev()).take_while(|(x, y)| x == y).count();
        let after = common_prefix(&a[i + len..r.ahi], &b[j + len..r.bhi]);
        Block { i: i - before, j: j - before, len: before + len + after }
    }

    /// Finds all diagonals of at least [`GRAM`] symbols once, then divides them block by block.
    pub(super) fn split(&mut self, whole: Rect) {
        let mut budget = SPLIT_BUDGET_BASE + SPLIT_BUDGET_PER_SYMBOL * whole.symbols();
        if !self.find_diagonals(&whole, &mut budget) {
            return self.hashed(whole, usize::MAX);
        }
        let mut diagonals = std::mem::take(&mut self.buffers.diagonals);
        let mut right = std::mem::take(&mut self.buffers.right);
        let mut stack = std::mem::take(&mut self.buffers.stack);
        stack.clear();
        stack.push((whole, 0, diagonals.len()));
        while let Some((r, from, to)) = stack.pop() {
            if to - from > budget {
                self.hashed(r, usize::MAX);
                continue;
            }
            budget -= to - from;
            let Some(best) = longest(&diagonals[from..to]).filter(|d| d.len as usize >= GRAM) else {
                self.singles(r);
                continue;
            };
            let block = self.grow(&r, best.i as usize, best.j as usize, best.len as usize);
            self.matched += block.len;
            let left_rect = Rect { ahi: block.i, bhi: block.j, ..r };
            let right_rect = Rect { alo: block.i + block.len, blo: block.j + block.len, ..r };
            // No diagonal reaches into both: it would be longer than the block.
            right.clear();
            let mut kept = from;
            for k in from..to {
                let d = diagonals[k];
                if let Some(part) = left_rect.clip(d) {
                    diagonals[kept] = part;
                    kept += 1;
                } else if let Some(part) = right_rect.clip(d) {
                    right.push(part);
                }
            }
            diagonals[kept..kept + right.len()].copy_from_slice(&right);
            if !right_rect.is_empty() {
                stack.push((right_rect, kept, kept + right.len()));
            }
            if !left_rect.is_empty() {
                stack.push((left_rect, from, kept));
            }
        }
        self.buffers.diagonals = diagonals;
        self.buffers.right = right;
        self.buffers.stack = stack;
    }

    /// Fills `buffers.diagonals`; false if the budget ran out.
    pub(super) fn find_diagonals(&mut self, r: &Rect, budget: &mut usize) -> bool {
        let Buffers { core, gram_heads, gram_next, core_a, core_b, diagonals, .. } = &mut *self.buffers;
        let (a, b) = (self.a, self.b);
        let is_core = |s: S| core[s.index()];
        diagonals.clear();
        if r.ahi - r.alo < GRAM || r.bhi - r.blo < GRAM {
            return true;
        }
        let bits = (r.bhi - r.blo).next_power_of_two().trailing_zeros().clamp(8, 22) + 1;
        gram_heads.clear();
        gram_heads.resize(1 << bits, NONE);
        if gram_next.len() < b.len() {
            gram_next.resize(b.len(), NONE);
        }
        for j in core_b.grams(r.blo..r.bhi).rev() {
            let head = &mut gram_heads[gram_hash(&b[j..], bits)];
            gram_next[j] = *head;
            *head = j as u32;
        }
        for i in core_a.grams(r.alo..r.ahi) {
            let gram = &a[i..i + GRAM];
            let mut next = gram_heads[gram_hash(gram, bits)];
            let mut steps = 1;
            while next != NONE {
                let j = next as usize;
                next = gram_next[j];
                steps += 1;
                let continues = i > r.alo && j > r.blo && a[i - 1] == b[j - 1] && is_core(b[j - 1]);
                if continues || &b[j..j + GRAM] != gram {
                    continue;
                }
                let (rest_a, rest_b) = (&a[i + GRAM..r.ahi], &b[j + GRAM..r.bhi]);
                let len = GRAM + rest_a.iter().zip(rest_b).take_while(|(x, y)| x == y && is_core(**y)).count();
                steps += len / 8;
                diagonals.push(Diagonal { i: i as u32, j: j as u32, len: len as u32 });
            }
            if steps > *budget {
                return false;
            }
            *budget -= steps;
        }
        true
    }

    /// Matches a rectangle without core symbols in common.
    pub(super) fn corner(&mut self, r: Rect) {
        // CPython's empty best block sits at the corner and still grows over popular symbols.
        self.matched += common_prefix(&self.a[r.alo..r.ahi], &self.b[r.blo..r.bhi]);
    }

    /// Matches a rectangle whose blocks have at most one core symbol.
    pub(super) fn singles(&mut self, mut r: Rect) {
        let mut from_a = self.buffers.core_a.within(r.alo..r.ahi);
        let mut from_b = self.buffers.core_b.within(r.blo..r.bhi);
        while !from_b.is_empty()
            && let Some(at) = from_a.next()
        {
            let i = self.buffers.core_a.places[at] as usize;
            let Some(j) = self.first_occurrence(self.a[i], from_b.clone()) else { continue };
            let block = self.grow(&r, i, j, 1);
            self.matched += block.len;
            self.corner(Rect { ahi: block.i, bhi: block.j, ..r });
            r.alo = block.i + block.len;
            r.blo = block.j + block.len;
            from_a = self.buffers.core_a.within(r.alo..r.ahi);
            from_b = self.buffers.core_b.within(r.blo..r.bhi);
        }
        self.corner(r);
    }

    /// Leftmost place of a core symbol among core places of `b`, which are given by index.
    pub(super) fn first_occurrence(&mut self, symbol: S, among: Range<usize>) -> Option<usize> {
        if among.len() > SCANNED_SYMBOLS && self.buffers.positions.is_empty() {
            index_positions(self.b, self.buffers);
        }
        let Buffers { core_b, starts, positions, .. } = &*self.buffers;
        let places = &core_b.places[among];
        if places.len() <= SCANNED_SYMBOLS {
            return places.iter().map(|&j| j as usize).find(|&j| self.b[j] == symbol);
        }
        let all = &positions[starts[symbol.index()] as usize..starts[symbol.index() + 1] as usize];
        let next = all[all.partition_point(|j| j < &places[0])..].first()?;
        (*next <= places[places.len() - 1]).then_some(*next as usize)
    }
}

/// Finds the symbols of `b` that are not popular.
fn find_core<S: Symbol>(b: &[S], alphabet: usize, junk: Junk, buffers: &mut Buffers<S>) {
    let Buffers { starts: counts, core, .. } = buffers;
    counts.clear();
    counts.resize(alphabet, 0);
    for s in b {
        counts[s.index()] += 1;
    }
    let most = match junk {
        Junk::Automatic if b.len() >= AUTOJUNK_MIN_LEN => b.len() / 100 + 1,
        _ => usize::MAX,
    };
    core.clear();
    core.extend(counts.iter().map(|&count| count > 0 && count as usize <= most));
}

/// Sorts the positions of `b`'s core symbols by symbol.
fn index_positions<S: Symbol>(b: &[S], buffers: &mut Buffers<S>) {
    let Buffers { starts, positions, core, .. } = buffers;
    starts.clear();
    starts.resize(core.len() + 1, 0);
    for s in b.iter().filter(|s| core[s.index()]) {
        starts[s.index() + 1] += 1;
    }
    for s in 0..core.len() {
        starts[s + 1] += starts[s];
    }
    positions.resize(starts[core.len()] as usize, 0);
    let mut next = starts.clone();
    for (j, s) in b.iter().enumerate().filter(|(_, s)| core[s.index()]) {
        positions[next[s.index()] as usize] = j as u32;
        next[s.index()] += 1;
    }
}

fn gram_hash<S: Symbol>(gram: &[S], bits: u32) -> usize {
    let mixed = (gram[0].index() as u32).wrapping_mul(0x9e37_79b1).wrapping_add(gram[1].index() as u32);
    (mixed.wrapping_mul(0x85eb_ca6b) >> (32 - bits)) as usize
}

fn common_prefix<S: Symbol>(a: &[S], b: &[S]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Longest first, then leftmost in `a`, then leftmost in `b`: the order in which CPython meets them.
fn longest(diagonals: &[Diagonal]) -> Option<Diagonal> {
    diagonals.iter().copied().min_by_key(|d| (std::cmp::Reverse(d.len), d.i, d.j))
}
