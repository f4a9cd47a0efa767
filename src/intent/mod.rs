//! Whether a later call is the failed one again, now right (docs/method.md, "What is a correction").
//!
//! Owns the judgement: from evidence to [`Correction`] with an affinity. What counts as evidence is one table
//! ([`all_rules`]): each rule with its name, its reason and an example for and against it. Pure: no file, no model; the
//! cosine of two vectors is one more piece of evidence where there are any.

mod alike;
mod call;
mod evidence;
mod pair;
mod programs;
pub mod rules;
mod said;
mod table;
mod text;
mod tools;

pub use call::{Attempt, Call, Subject, base_of};
pub use tools::{ENDING, Kind, kind as kind_of, words as tool_words};

pub use crate::decision::Correction;
pub use evidence::announces_another_plan;
use pair::MAX_CALLS;
pub use pair::{Pair, Place, Settings};
use rules::Effect;
pub use table::all_rules;

/// Affinity from which on a later call counts as the same thing again. Chosen on labelled repairs by leaving out each source
/// in turn; precision changes little between 0.45 and 0.6.
pub const RETRY: f64 = 0.5;
/// Affinity from which on it counts as another way to the same end.
pub const WORKAROUND: f64 = 0.25;

/// A judgement, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub correction: Correction,
    /// From 0 (nothing in common) to 1 (the same call).
    pub affinity: f64,
    /// Names of the rules that spoke on the pair that decides, in the table's order.
    pub evidence: Vec<&'static str>,
    /// Each failed call with the later call that comes nearest to it, by their places in their steps.
    pub calls: Vec<(usize, usize)>,
}

impl Judgement {
    /// Nothing that could be a correction is there.
    pub fn none() -> Self {
        Judgement { correction: Correction::Other, affinity: 0.0, evidence: Vec::new(), calls: Vec::new() }
    }
}

/// Judges a step against a failed one: each failed call looks for the later call that comes nearest, and the one that finds
/// least decides. A later call that failed as well may be looked at too ([`Place::among_failed`]): it is how a failure leads
/// to the next one of its run.
pub fn judge(
    failed: &Attempt<'_>,
    later: &Attempt<'_>,
    place: Place,
    meaning: Option<f64>,
    settings: Settings<'_>,
) -> Judgement {
    let of_call = |(index, call): (usize, &Subject<'_>)| {
        let candidates = later.calls.iter().enumerate().take(MAX_CALLS);
        candidates
            .filter(|(_, candidate)| place.among_failed || candidate.call.error_type.is_none())
            .map(|(at, candidate)| {
                let found = weigh(&Pair::new([call, candidate], [failed, later], place, meaning, settings));
                Judgement { calls: vec![(index, at)], ..found }
            })
            .reduce(|best, next| if next.affinity > best.affinity { next } else { best })
            .unwrap_or_else(Judgement::none)
    };
    let failures = failed.calls.iter().enumerate().filter(|(_, call)| call.call.error_type.is_some());
    let weaker = |least: Judgement, next: Judgement| {
        let calls = [least.calls.as_slice(), next.calls.as_slice()].concat();
        Judgement { calls, ..if next.affinity < least.affinity { next } else { least } }
    };
    failures.map(of_call).reduce(weaker).unwrap_or_else(Judgement::none)
}

/// The fold over the table. A rule that could only raise the affinity to where it is already is not asked.
pub fn weigh(pair: &Pair<'_, '_>) -> Judgement {
    let mut affinity = None;
    let mut evidence = Vec::new();
    for rule in all_rules() {
        let is_raised = |least: f64| affinity.unwrap_or_else(|| pair.similarity()) < least;
        let matters = match rule.effect {
            Effect::AtLeast(least) => is_raised(least),
            Effect::Never | Effect::Times(_) | Effect::Plus(_) => true,
        };
        if !matters || !rule.speaks(pair) {
            continue;
        }
        evidence.push(rule.name);
        let so_far = || affinity.unwrap_or_else(|| pair.similarity());
        affinity = Some(match rule.effect {
            Effect::Never => return Judgement { evidence, ..Judgement::none() },
            Effect::AtLeast(least) => so_far().max(least),
            Effect::Times(factor) => so_far() * factor,
            Effect::Plus(more) => (so_far() + more).clamp(0.0, 1.0),
        });
    }
    let affinity = affinity.unwrap_or_else(|| pair.similarity());
    Judgement { correction: correction_of(affinity), affinity, evidence, calls: Vec::new() }
}

fn correction_of(affinity: f64) -> Correction {
    if affinity >= RETRY {
        Correction::Retry
    } else if affinity >= WORKAROUND {
        Correction::Workaround
    } else {
        Correction::Other
    }
}

/// The reason of a rule, by its name.
pub fn reason(name: &str) -> Option<&'static str> {
    all_rules().find(|rule| rule.name == name).map(|rule| rule.reason)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::rules::{Example, Rule};
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
        let failed = Attempt::new(Cow::Borrowed(example.failed_reasoning), [failed]);
        let later = Attempt::new(Cow::Borrowed(example.reasoning), [later]);
        let between = Attempt::new(Cow::Borrowed(example.reasoning_between), []);
        let place = Place { among_failed: false, changes_way: announces_another_plan(&between) };
        let calls = [&failed.calls[0], &later.calls[0]];
        rule.speaks(&Pair::new(calls, [&failed, &later], place, Some(cosine), Settings::default()))
    }

    #[test]
    fn every_rule_speaks_on_its_example_and_is_silent_on_the_other() {
        let silent = all_rules().filter(|rule| !speaks(rule, &rule.examples[0], 0.95));
        let loud = all_rules().filter(|rule| speaks(rule, &rule.examples[1], 0.2));
        let wrong: Vec<String> = silent
            .map(|rule| format!("{} is silent on its example", rule.name))
            .chain(loud.map(|rule| format!("{} speaks where it must not", rule.name)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_rule_has_a_name_of_its_own_and_a_reason() {
        let mut names: Vec<&str> = all_rules().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all_rules().count());
        assert!(all_rules().all(|rule| rule.reason.len() > 20));
    }
}
