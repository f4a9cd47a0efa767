//! What a rule of evidence is: a name, a reason, an effect, and an example for and against it.
//!
//! Owns the type alone: the rules are in `table.rs`, and how each finds out whether it speaks in `evidence.rs`.
//! The test at the foot runs every rule's examples.

use super::Pair;
pub use super::table::RULES;

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
}

pub(super) const fn pair_of(failed: [&'static str; 4], later: [&'static str; 2]) -> Example {
    let [tool, call, error_type, result] = failed;
    let [later_tool, later] = later;
    Example { tool, failed: call, error_type, result, later_tool, later, later_result: "", reasoning: "" }
}

impl Example {
    pub(super) const fn with_result(self, later_result: &'static str) -> Self {
        Example { later_result, ..self }
    }

    pub(super) const fn with_reasoning(self, reasoning: &'static str) -> Self {
        Example { reasoning, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::{Attempt, Call, Settings, pair};
    use super::*;

    /// Whether a rule speaks on an example; `cosine` stands in for vectors.
    fn speaks(rule: &Rule, example: &Example, cosine: f64) -> bool {
        let failed = Call {
            tool: Cow::Borrowed(example.tool),
            arguments: Cow::Borrowed(example.failed),
            result: Cow::Borrowed(example.result),
            error_type: Some(Cow::Borrowed(example.error_type)),
        };
        let later = Call {
            tool: Cow::Borrowed(example.later_tool),
            arguments: Cow::Borrowed(example.later),
            result: Cow::Borrowed(example.later_result),
            error_type: None,
        };
        let failed = Attempt::new(Cow::Borrowed(""), [failed]);
        let later = Attempt::new(Cow::Borrowed(example.reasoning), [later]);
        rule.speaks(&pair(&failed.calls[0], &later.calls[0], &failed, &later, Some(cosine), Settings::default()))
    }

    #[test]
    fn every_rule_speaks_on_its_example_and_is_silent_on_the_other() {
        let silent = RULES.iter().filter(|rule| !speaks(rule, &rule.examples[0], 0.95));
        let loud = RULES.iter().filter(|rule| speaks(rule, &rule.examples[1], 0.2));
        let wrong: Vec<String> = silent
            .map(|rule| format!("{} is silent on its example", rule.name))
            .chain(loud.map(|rule| format!("{} speaks where it must not", rule.name)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_rule_has_a_name_of_its_own_and_a_reason() {
        let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
        assert!(RULES.iter().all(|rule| rule.reason.len() > 20));
    }
}
