//! Whether a later call is the failed one again, now right (docs/method.md, "What is a correction").
//!
//! Owns the judgement: from evidence to [`Correction`] with an affinity. What counts as evidence is one table
//! ([`rules::RULES`]): each rule with its name, its reason and an example for and against it. Pure: no file, no model; the
//! cosine of two vectors is one more piece of evidence where there are any.

mod call;
mod evidence;
mod programs;
pub mod rules;
mod table;
mod tools;

pub use call::{Attempt, Call, Subject, base_of};
pub use tools::{ENDING, Kind, words as tool_words};

use crate::similarity::{Exact, Measure};
use rules::{Effect, RULES, Rule};

/// What a later call is to a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Correction {
    /// It does something else.
    Other,
    /// Another way to the same end.
    Workaround,
    /// The same thing again.
    Retry,
}

impl Correction {
    pub const ALL: [Correction; 3] = [Correction::Other, Correction::Workaround, Correction::Retry];

    pub fn name(self) -> &'static str {
        match self {
            Correction::Other => "other",
            Correction::Workaround => "workaround",
            Correction::Retry => "retry",
        }
    }

    fn of(affinity: f64) -> Self {
        if affinity >= RETRY {
            Correction::Retry
        } else if affinity >= WORKAROUND {
            Correction::Workaround
        } else {
            Correction::Other
        }
    }
}

/// Affinity from which on a later call counts as the same thing again. Chosen on labelled repairs by leaving out each source
/// in turn; precision changes little between 0.45 and 0.6.
pub const RETRY: f64 = 0.5;
/// Affinity from which on it counts as another way to the same end.
pub const WORKAROUND: f64 = 0.25;

/// What the judge depends on besides the calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings<'s> {
    /// Tools that end, hand in, plan or think, besides [`ENDING`].
    pub ending_tools: &'s [String],
}

/// A judgement, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub correction: Correction,
    /// From 0 (nothing in common) to 1 (the same call).
    pub affinity: f64,
    /// Names of the rules that spoke, in the table's order.
    pub evidence: Vec<&'static str>,
}

impl Judgement {
    fn none() -> Self {
        Judgement { correction: Correction::Other, affinity: 0.0, evidence: Vec::new() }
    }
}

/// A failed call and a later one, in their steps.
pub struct Pair<'p, 't> {
    pub failed: &'p Subject<'t>,
    pub later: &'p Subject<'t>,
    pub failed_step: &'p Attempt<'t>,
    pub later_step: &'p Attempt<'t>,
    /// Of what is inside the two calls.
    pub similarity: f64,
    /// The cosine of their vectors, if there are any.
    pub meaning: Option<f64>,
    pub settings: Settings<'p>,
}

/// Calls of a step that are compared; after them a step of hundreds of calls is known well enough.
const MAX_CALLS: usize = 24;

/// Bytes of text that are compared for one step, shared by its pairs of calls; each pair gets at least [`MIN_COMPARED`].
const COMPARED: usize = 128 * 1024;
const MIN_COMPARED: usize = 1024;

/// Judges a step against a failed one: each failed call looks for the later call that comes nearest, and the one that finds
/// least decides. A later call that failed as well may be looked at too (`among_failed`): it is how a failure leads to the
/// next one of its run.
pub fn judge(
    failed: &Attempt<'_>,
    later: &Attempt<'_>,
    among_failed: bool,
    meaning: Option<f64>,
    settings: Settings<'_>,
) -> Judgement {
    let of_call = |call: &Subject<'_>| {
        let candidates = later.calls.iter().take(MAX_CALLS).filter(|c| among_failed || c.call.error_type.is_none());
        candidates.map(|candidate| weigh(&pair(call, candidate, failed, later, meaning, settings))).fold(
            Judgement::none(),
            |best, next| {
                if next.affinity > best.affinity || best.evidence.is_empty() { next } else { best }
            },
        )
    };
    let failures = failed.calls.iter().filter(|c| c.call.error_type.is_some()).take(MAX_CALLS);
    failures
        .map(of_call)
        .reduce(|least, next| if next.affinity < least.affinity { next } else { least })
        .unwrap_or_else(Judgement::none)
}

fn pair<'p, 't>(
    failed: &'p Subject<'t>,
    later: &'p Subject<'t>,
    failed_step: &'p Attempt<'t>,
    later_step: &'p Attempt<'t>,
    meaning: Option<f64>,
    settings: Settings<'p>,
) -> Pair<'p, 't> {
    let pairs = failed_step.calls.len().min(MAX_CALLS) * later_step.calls.len().min(MAX_CALLS);
    let share = (COMPARED / pairs.max(1)).max(MIN_COMPARED);
    let [old, new] = [failed, later].map(|subject| call::first_bytes(subject.inner(), share));
    let similarity = Exact.similarity(old, new).get();
    Pair { failed, later, failed_step, later_step, similarity, meaning, settings }
}

/// The fold over the table.
pub fn weigh(pair: &Pair<'_, '_>) -> Judgement {
    let mut affinity = pair.similarity;
    let mut evidence = Vec::new();
    for rule in RULES {
        if !rule.speaks(pair) {
            continue;
        }
        evidence.push(rule.name);
        affinity = match rule.effect {
            Effect::Never => return Judgement { correction: Correction::Other, affinity: 0.0, evidence },
            Effect::AtLeast(least) => affinity.max(least),
            Effect::Times(factor) => affinity * factor,
            Effect::Plus(more) => (affinity + more).clamp(0.0, 1.0),
        };
    }
    Judgement { correction: Correction::of(affinity), affinity, evidence }
}

/// The reason of a rule, by its name.
pub fn reason(name: &str) -> Option<&'static str> {
    RULES.iter().find(|rule: &&Rule| rule.name == name).map(|rule| rule.reason)
}
