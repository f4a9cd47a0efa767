//! What a rule looks at: a failed call and a later one, each in its step.

use super::call::{Attempt, Subject};

/// What the judge depends on besides the calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings<'s> {
    /// Tools that end, hand in, plan or think, besides [`super::ENDING`].
    pub ending_tools: &'s [String],
}

/// Where the two steps stand in their failure run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The later step failed as well.
    pub among_failed: bool,
    /// A failed attempt behind the failed one announces another way, and would be removed with it.
    pub changes_way: bool,
}

/// A failed call and a later one, in their steps.
pub struct Pair<'p, 't> {
    pub failed: &'p Subject<'t>,
    pub later: &'p Subject<'t>,
    pub failed_step: &'p Attempt<'t>,
    pub later_step: &'p Attempt<'t>,
    pub place: Place,
    /// Of what is inside the two calls.
    pub similarity: f64,
    /// The cosine of their vectors, if there are any.
    pub meaning: Option<f64>,
    pub settings: Settings<'p>,
}
