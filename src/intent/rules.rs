//! What a rule of evidence is: a name, a reason, an effect, and an example for and against it.
//!
//! Owns the type alone: the rules are in `table`, and how each finds out whether it speaks in `evidence.rs`.
//! A test runs every rule's examples.

use super::pair::Pair;

/// What a rule does to the affinity, which starts at the similarity of the two calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// It is no correction, whatever else speaks for it.
    Never,
    Times(f64),
    AtLeast(f64),
    Plus(f64),
}

/// One kind of evidence.
pub struct Rule {
    /// As records and reports have it.
    pub name: &'static str,
    /// Why it tells anything.
    pub reason: &'static str,
    pub effect: Effect,
    pub(super) says: fn(&Pair<'_, '_>) -> bool,
    /// A pair where it speaks, and one like it where it does not.
    pub examples: [Example; 2],
}

impl Rule {
    pub fn speaks(&self, pair: &Pair<'_, '_>) -> bool {
        (self.says)(pair)
    }
}

/// A failed call and a later one, as a harness would write them.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    pub tool: &'static str,
    pub failed: &'static str,
    pub error_type: &'static str,
    pub result: &'static str,
    pub later_tool: &'static str,
    pub later: &'static str,
    pub later_result: &'static str,
    pub reasoning: &'static str,
    /// In front of the failed call.
    pub failed_reasoning: &'static str,
    /// Of a failed attempt between the two.
    pub reasoning_between: &'static str,
}

pub(super) const fn pair_of(failed: [&'static str; 4], later: [&'static str; 2]) -> Example {
    let [tool, call, error_type, result] = failed;
    let [later_tool, later] = later;
    Example {
        tool,
        failed: call,
        error_type,
        result,
        later_tool,
        later,
        later_result: "",
        reasoning: "",
        failed_reasoning: "",
        reasoning_between: "",
    }
}

impl Example {
    pub(super) const fn with_result(self, later_result: &'static str) -> Self {
        Example { later_result, ..self }
    }

    pub(super) const fn with_reasoning(self, reasoning: &'static str) -> Self {
        Example { reasoning, ..self }
    }

    pub(super) const fn with_failed_reasoning(self, failed_reasoning: &'static str) -> Self {
        Example { failed_reasoning, ..self }
    }

    pub(super) const fn with_reasoning_between(self, reasoning_between: &'static str) -> Self {
        Example { reasoning_between, ..self }
    }
}
