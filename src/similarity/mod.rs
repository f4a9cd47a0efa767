//! Two texts in, a similarity out.
//!
//! Owns the [`Measure`] trait and its result type; [`lexical`] holds the ratio of the method's reference, [`semantic`] the
//! cosine of two vectors. What is compared, and what a similarity decides, is [`crate::saar`]'s.

pub mod lexical;
pub mod semantic;

use crate::options::SimilarityMetric;

/// From 0 (nothing in common) to 1 (equal).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Similarity(f64);

impl Similarity {
    /// Clamped to 0..=1; NaN counts as 0.
    pub fn new(value: f64) -> Self {
        Similarity(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) })
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

/// A measure of two calls: the older first. It need not be symmetric.
pub trait Measure: Send + Sync {
    fn similarity(&self, old: &str, new: &str) -> Similarity;
}

/// Python's difflib ratio, automatic junk heuristic included.
pub struct Lexical;

/// The same without the heuristic.
pub struct Exact;

impl Measure for Lexical {
    fn similarity(&self, old: &str, new: &str) -> Similarity {
        Similarity::new(lexical::ratio(old, new, lexical::Junk::Automatic))
    }
}

/// Pairs of this many bytes go to difflib-fast, which is the quicker one there. Below, starting costs it more than comparing;
/// above, its worst case is quadratic with a large constant. Our own path gives the same bits.
const EXACT_CRATE_BYTES: std::ops::RangeInclusive<usize> = 400..=64 * 1024;

impl Measure for Exact {
    fn similarity(&self, old: &str, new: &str) -> Similarity {
        Similarity::new(if EXACT_CRATE_BYTES.contains(&(old.len() + new.len())) {
            difflib_fast::ratio(old, new)
        } else {
            lexical::ratio(old, new, lexical::Junk::Off)
        })
    }
}

/// The measure of a setting; `None` for the one that needs vectors.
pub fn measure(metric: SimilarityMetric) -> Option<&'static dyn Measure> {
    match metric {
        SimilarityMetric::Lexical => Some(&Lexical),
        SimilarityMetric::Exact => Some(&Exact),
        SimilarityMetric::Semantic => None,
    }
}
