//! What a rule looks at: a failed call and a later one, each in its step.

use std::cell::OnceCell;

use super::alike::alike;
use super::call::{Attempt, Subject};
use super::text::first_bytes;

/// Calls of a step that are compared; after them a step of hundreds of calls is known well enough.
pub(super) const MAX_CALLS: usize = 24;

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
    /// The cosine of their vectors, if there are any.
    pub meaning: Option<f64>,
    pub settings: Settings<'p>,
    similarity: OnceCell<f64>,
}

/// Bytes of text that are compared for one step, shared by its pairs of calls; each pair gets at least [`MIN_COMPARED`].
const COMPARED: usize = 128 * 1024;
const MIN_COMPARED: usize = 1024;

impl<'p, 't> Pair<'p, 't> {
    pub(super) fn new(
        [failed, later]: [&'p Subject<'t>; 2],
        [failed_step, later_step]: [&'p Attempt<'t>; 2],
        place: Place,
        meaning: Option<f64>,
        settings: Settings<'p>,
    ) -> Self {
        Pair { failed, later, failed_step, later_step, place, meaning, settings, similarity: OnceCell::new() }
    }

    /// Of what is inside the two calls, from 0 to 1: the first pages of each. Most of a judgement's cost, so it is found when
    /// it is asked for.
    pub fn similarity(&self) -> f64 {
        *self.similarity.get_or_init(|| {
            let pairs = self.failed_step.calls.len().min(MAX_CALLS) * self.later_step.calls.len().min(MAX_CALLS);
            let share = (COMPARED / pairs.max(1)).max(MIN_COMPARED);
            let [old, new] = [self.failed, self.later].map(|subject| first_bytes(subject.inner(), share));
            alike(old, new)
        })
    }
}
