//! Rolling hashes of two texts. A collision is told apart by whoever asks, on the texts themselves.

use super::symbol::Symbol;

/// Rolling hashes modulo 2^61 - 1 of both texts, with the base's powers.
pub(super) struct Hashes {
    pub(super) a: Vec<u64>,
    pub(super) b: Vec<u64>,
    pub(super) powers: Vec<u64>,
    /// End of the stretch of core symbols that position `j` of `b` lies in; `j` itself if there is none.
    pub(super) core_end: Vec<u32>,
}

const PRIME: u64 = (1 << 61) - 1;
const BASE: u64 = 0x0123_4567_89ab_cdef;

impl Hashes {
    pub(super) fn new<S: Symbol>(a: &[S], b: &[S], core: &[bool]) -> Self {
        let mut core_end = vec![0; b.len()];
        let mut end = b.len();
        for (j, s) in b.iter().enumerate().rev() {
            if !core[s.index()] {
                end = j;
            }
            core_end[j] = end as u32;
        }
        let prefixes = |text: &[S]| {
            let mut out = Vec::with_capacity(text.len() + 1);
            out.push(0);
            for s in text {
                let last = out[out.len() - 1];
                out.push((mul_mod(last, BASE) + s.index() as u64 + 1) % PRIME);
            }
            out
        };
        let mut powers = vec![1];
        for _ in 0..a.len().max(b.len()) {
            powers.push(mul_mod(powers[powers.len() - 1], BASE));
        }
        Hashes { a: prefixes(a), b: prefixes(b), powers, core_end }
    }

    pub(super) fn of_a(&self, i: usize, len: usize) -> u64 {
        (self.a[i + len] + PRIME - mul_mod(self.a[i], self.powers[len])) % PRIME
    }

    pub(super) fn of_b(&self, j: usize, len: usize) -> u64 {
        (self.b[j + len] + PRIME - mul_mod(self.b[j], self.powers[len])) % PRIME
    }
}

fn mul_mod(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    let folded = (product >> 61) as u64 + (product as u64 & PRIME);
    if folded >= PRIME { folded - PRIME } else { folded }
}
