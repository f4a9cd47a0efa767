//! Whether a later call is the failed one again, now right (docs/method.md, "What is a correction").
//!
//! Owns the judgement: from evidence to [`Correction`] with an affinity. What counts as evidence is one table
//! ([`all_rules`]): each rule with its name, its reason and an example for and against it. Pure: no file, no model; the
//! cosine of two vectors is one more piece of evidence where there are any.

mod call;
mod evidence;
mod pair;
mod programs;
pub mod rules;
mod table;
mod tools;

pub use call::{Attempt, Call, Subject, base_of};
pub use tools::{ENDING, Kind, kind as kind_of, words as tool_words};

pub use crate::decision::Correction;
use crate::similarity::{Exact, Measure};
pub use evidence::{announces_another_plan, is_unknown_tool};
pub use pair::{Pair, Place, Settings};
pub use programs::missing as missing_programs;
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

/// Calls of a step that are compared; behind them a step of hundreds of calls is known well enough.
const MAX_CALLS: usize = 24;

/// Bytes of text that are compared for one step, shared by its pairs of calls; each pair gets at least [`MIN_COMPARED`].
const COMPARED: usize = 128 * 1024;
const MIN_COMPARED: usize = 1024;

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
                let found = weigh(&pair([call, candidate], [failed, later], place, meaning, settings));
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

fn pair<'p, 't>(
    [failed, later]: [&'p Subject<'t>; 2],
    [failed_step, later_step]: [&'p Attempt<'t>; 2],
    place: Place,
    meaning: Option<f64>,
    settings: Settings<'p>,
) -> Pair<'p, 't> {
    let pairs = failed_step.calls.len().min(MAX_CALLS) * later_step.calls.len().min(MAX_CALLS);
    let share = (COMPARED / pairs.max(1)).max(MIN_COMPARED);
    let [old, new] = [failed, later].map(|subject| call::first_bytes(subject.inner(), share));
    let similarity = alike(old, new);
    Pair { failed, later, failed_step, later_step, place, similarity, meaning, settings }
}

/// How alike two texts are: difflib's ratio without its junk heuristic, after what both begin and end with is set aside as
/// matched. A retry changes a few lines of a program, and the rest need not be searched for blocks.
fn alike(old: &str, new: &str) -> f64 {
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let head: usize = old.chars().zip(new.chars()).take_while(same).map(|(c, _)| c.len_utf8()).sum();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let ends = old_rest.chars().rev().zip(new_rest.chars().rev());
    let tail: usize = ends.take_while(same).map(|(c, _)| c.len_utf8()).sum();
    let middles = [&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]];
    let count = |text: &str| text.chars().count() as f64;
    let (aside, [a, b]) = (count(&old[..head]) + count(&old_rest[old_rest.len() - tail..]), middles.map(count));
    match a + b > 0.0 {
        true => (2.0 * aside + Exact.similarity(middles[0], middles[1]).get() * (a + b)) / (2.0 * aside + a + b),
        false => 1.0,
    }
}

/// The fold over the table.
pub fn weigh(pair: &Pair<'_, '_>) -> Judgement {
    let mut affinity = pair.similarity;
    let mut evidence = Vec::new();
    for rule in all_rules() {
        if !rule.speaks(pair) {
            continue;
        }
        evidence.push(rule.name);
        affinity = match rule.effect {
            Effect::Never => return Judgement { evidence, ..Judgement::none() },
            Effect::AtLeast(least) => affinity.max(least),
            Effect::Times(factor) => affinity * factor,
            Effect::Plus(more) => (affinity + more).clamp(0.0, 1.0),
        };
    }
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
        rule.speaks(&pair(calls, [&failed, &later], place, Some(cosine), Settings::default()))
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
    fn what_both_texts_begin_and_end_with_counts_as_matched() {
        for (old, new, expected) in [
            ("", "", 1.0),
            ("abc", "abc", 1.0),
            ("abc", "", 0.0),
            ("aé1c", "aé2c", 0.75),
            ("aa", "aaa", 0.8),
            ("print(is_prim(7))", "print(is_prime(7))", 34.0 / 35.0),
        ] {
            assert!((alike(old, new) - expected).abs() < 1e-12, "{old} {new}: {}", alike(old, new));
        }
        let (old, new) = ("import math\nx = 1\nprint(x)", "import maths\ny = 2\nprint(y)");
        assert!((alike(old, new) - Exact.similarity(old, new).get()).abs() < 0.1);
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
