//! Similarity of two calls: our port of CPython's ratio, with and without its junk heuristic, beside difflib-fast.
//!
//! Data: Python-like calls of 500 to 4,000 characters from a seeded generator; a correction changes a few lines, half
//! of them, or all. Ratios against CPython itself, on the pairs that the reference logged, come from
//! `scripts/compare_similarity.py`. Limits: one thread, texts in cache.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use purify::similarity::lexical::{Junk, ratio};

/// A seeded generator of code-like lines (xorshift).
struct Lines(u64);

impl Lines {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn line(&mut self) -> String {
        const WORDS: &[&str] =
            &["count", "total", "items", "value", "index", "table", "query", "price", "order", "user"];
        let (a, b) = (WORDS[self.below(10) as usize], WORDS[self.below(10) as usize]);
        let n = self.below(1000);
        match self.below(4) {
            0 => format!("{a}_{n} = [{b} * {n} for {b} in range({a}_{n})]\\n"),
            1 => format!("if {a} is None or {a} > {n}:\\n"),
            2 => format!("    print(f\\\"{{{a}:.3f}} of {{{b}_{n}}}\\\")\\n"),
            _ => format!("# {b} holds the {a} of run {n}\\n"),
        }
    }

    /// A call of about `size` characters, and one with `changed` of ten lines replaced.
    fn pair(&mut self, size: usize, changed: u64) -> (String, String) {
        let (mut old, mut new) = (String::new(), String::new());
        while old.len() < size {
            let line = self.line();
            old += &line;
            new += &if self.below(10) < changed { self.line() } else { line };
        }
        (old, new)
    }
}

fn similarity(criterion: &mut Criterion) {
    let mut lines = Lines(20260115);
    for size in [500, 2000, 4000] {
        let mut group = criterion.benchmark_group(format!("{size}_characters"));
        group.throughput(Throughput::Bytes(2 * size as u64));
        for changed in [1, 5, 10] {
            let (old, new) = lines.pair(size, changed);
            let case = format!("{}pct_changed", changed * 10);
            group.bench_with_input(BenchmarkId::new("automatic_junk", &case), &(), |b, ()| {
                b.iter(|| ratio(&old, &new, Junk::Automatic))
            });
            group.bench_with_input(BenchmarkId::new("no_junk", &case), &(), |b, ()| {
                b.iter(|| ratio(&old, &new, Junk::Off))
            });
            group.bench_with_input(BenchmarkId::new("difflib_fast_no_junk", &case), &(), |b, ()| {
                b.iter(|| difflib_fast::ratio(&old, &new))
            });
        }
        group.finish();
    }
}

criterion_group!(benches, similarity);
criterion_main!(benches);
