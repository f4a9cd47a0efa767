//! The rules of the default detector: one table, grouped by who writes such results, and the order in which it is asked.
//!
//! Each rule has a stable name, its reason, and two examples that a test sends through the whole detector: one that it
//! decides, and one that looks like it and is fine. To add a rule, add an entry to the group's file; what is told by the
//! first line of a message needs no code.

mod calls;
mod code;
mod database;
mod edit;
mod harness;
mod informative;
mod programs;
mod rule;
mod shell;
mod web;

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::evidence::{Evidence, Table};
use super::said::{Failure, Finding, Verdict};
use crate::pattern::pattern;
pub(super) use rule::exception_anywhere;
pub use rule::{Example, Harness, Rule};
use rule::{Find, Gives};

/// The groups, most telling first: within a result the first rule that applies decides.
const GROUPS: &[&[Rule]] = &[
    informative::RULES,
    code::RULES,
    shell::RULES,
    harness::RULES,
    edit::RULES,
    database::RULES,
    web::RULES,
    calls::RULES,
];

/// The table as its own rules may ask it.
pub(super) static TABLE: Table = Table { is_told, error: specific };

/// All rules.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    GROUPS.iter().copied().flatten()
}

/// Memory of the automaton, for each thread.
const AUTOMATON_BYTES: usize = 4 * 1024 * 1024;
/// So much of a line is looked at.
const LINE_BYTES: usize = 1024;

/// The rules that are told by the first line, as one automaton.
struct FirstLine {
    set: RegexSet,
    rules: Vec<&'static Rule>,
}

static FIRST_LINE: LazyLock<FirstLine> = LazyLock::new(|| {
    let told = |rule: &&'static Rule| matches!(rule.find, Find::First(_) | Find::Brief(_) | Find::Heading(_));
    let rules: Vec<_> = all().filter(told).collect();
    let pattern = |rule: &&'static Rule| match rule.find {
        Find::First(pattern) | Find::Brief(pattern) | Find::Heading(pattern) => pattern,
        Find::Error(_) | Find::Job(_) | Find::Elsewhere => "",
    };
    // Bytes, and room for the automaton: with Unicode classes it would be built anew all the time.
    let set = RegexSetBuilder::new(rules.iter().map(pattern)).unicode(false).dfa_size_limit(AUTOMATON_BYTES).build();
    FirstLine { set: set.expect("the patterns are constants"), rules }
});

pattern!(TESTS_FAILED, "FAIL| failed");

/// What text says, with the exit status that came with it.
pub(super) fn weigh(evidence: &Evidence<'_>) -> Verdict {
    let informative = || informative(evidence).map(Verdict::Informative);
    let error = || specific(evidence).map(Verdict::Error);
    match evidence.status {
        // The status is that of the last command alone: what failed before it speaks through the output.
        Some(0) if shell::is_nothing_but_errors(evidence) && evidence.asked.hides_status() => {
            informative().or_else(error).unwrap_or(Verdict::Ok)
        }
        Some(0) => Verdict::Ok,
        Some(status) => {
            let fallback = || Failure::named(status_type(status)).by("shell.exit-status");
            informative().or_else(error).unwrap_or_else(|| Verdict::Error(fallback()))
        }
        // Most results are fine: the call is only read where there is something to explain.
        None => match error() {
            Some(error) => informative().unwrap_or(error),
            None if evidence.edges().any(|edge| TESTS_FAILED.is_match(edge)) => informative().unwrap_or(Verdict::Ok),
            None => Verdict::Ok,
        },
    }
}

/// The type of an exit status that nothing else explains.
pub(super) fn status_type(status: i64) -> &'static str {
    match status {
        124 | 137 | 143 => "timeout",
        127 => "command_not_found",
        126 => "permission_denied",
        _ => "exit_code",
    }
}

fn informative(evidence: &Evidence<'_>) -> Option<Finding> {
    evidence.asked.command()?;
    informative::RULES.iter().find_map(|rule| match (rule.find, rule.gives) {
        (Find::Job(did), Gives::Informative(kind)) if did(evidence) => {
            Some(Finding { kind, rule: Cow::Borrowed(rule.name) })
        }
        _ => None,
    })
}

/// The error that the text itself shows, most telling rule first.
pub(super) fn specific(evidence: &Evidence<'_>) -> Option<Failure> {
    let by_evidence = all().find_map(|rule| match rule.find {
        Find::Error(error) => Some(Failure::named(error(evidence)?).by(rule.name)),
        Find::First(_) | Find::Brief(_) | Find::Heading(_) | Find::Job(_) | Find::Elsewhere => None,
    });
    by_evidence.or_else(|| first_line(evidence))
}

pattern!(
    /// What a variable that holds the message is printed with.
    ASSIGNED,
    r#"^(?:#\s*)?[A-Za-z_]\w*\s*=\s*["']"#
);
pattern!(NONE_AT_ALL, r"(?i)^\W*(?:\w+ )?errors?\s*[:=]\s*(?:0|none|null|no|false|\[\]|n/a|nil)\b\W*$");

/// Errors that the first line tells.
fn first_line(evidence: &Evidence<'_>) -> Option<Failure> {
    let first = evidence.first?;
    let line = ASSIGNED.find(first).map_or(first, |found| &first[found.end()..]);
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || "❌✗⚠\u{fe0f}🚫".contains(c));
    let found = &*FIRST_LINE;
    let line = &line[..line.floor_char_boundary(LINE_BYTES)];
    // Most first lines are no rule's; what else must hold is only asked of those that are.
    if !found.set.is_match(line.as_bytes()) {
        return None;
    }
    let is_document = evidence.is_document();
    let rule = found.set.matches(line.as_bytes()).into_iter().map(|k| found.rules[k]).find(|rule| match rule.find {
        Find::Brief(_) => evidence.is_within(3),
        Find::Heading(_) => !(is_document && evidence.asked.command().is_some() && evidence.asked.reads()),
        Find::First(_) | Find::Error(_) | Find::Job(_) | Find::Elsewhere => !is_document,
    })?;
    if evidence.asked.spells(line) || NONE_AT_ALL.is_match(line) {
        return None;
    }
    let named = || exception_anywhere(evidence.text);
    Some(
        Failure::named(match rule.gives {
            Gives::Error(error_type) => Cow::Borrowed(error_type),
            Gives::Named(error_type) => named().unwrap_or(Cow::Borrowed(error_type)),
            Gives::Worded => named().unwrap_or(Cow::Borrowed(calls::type_of(line))),
            Gives::Informative(_) => return None,
        })
        .by(rule.name),
    )
}

/// Where a message says that the harness could not read a call in what the model wrote.
pub(super) fn refusal(text: &str) -> Option<Failure> {
    let line = text.trim_start().lines().next()?;
    let line = &line[..line.floor_char_boundary(LINE_BYTES)];
    let told = FIRST_LINE.set.matches(line.as_bytes());
    let rule = told.into_iter().map(|k| FIRST_LINE.rules[k]).find(|rule| rule.name == harness::UNREADABLE_TURN)?;
    Some(Failure::named("invalid_format").by(rule.name))
}

/// Whether a line, on its own, would be told as an error.
fn is_told(line: &str) -> bool {
    FIRST_LINE.set.is_match(&line.as_bytes()[..line.floor_char_boundary(LINE_BYTES)]) && !NONE_AT_ALL.is_match(line)
}

/// What words say that are known to be an error's.
pub(super) fn worded(line: &str) -> &'static str {
    calls::type_of(line)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::verdict::test_support::verdict_of;

    #[test]
    fn each_rule_decides_its_example_and_spares_the_other() {
        let mut wrong = Vec::new();
        for rule in all() {
            let found = verdict_of(rule.decides.tool, rule.decides.arguments, rule.decides.result);
            if found.rule() != Some(rule.name) {
                wrong.push(format!("{}: its example gives {found:?}", rule.name));
            }
            let is_informative = matches!(found, Verdict::Informative(_));
            if is_informative != matches!(rule.gives, Gives::Informative(_)) {
                wrong.push(format!("{}: its example is informative: {is_informative}", rule.name));
            }
            let found = verdict_of(rule.spares.tool, rule.spares.arguments, rule.spares.result);
            let is_error = found.failure().is_some();
            let is_spared = if is_informative { found.rule() != Some(rule.name) } else { !is_error };
            if !is_spared {
                wrong.push(format!("{}: what it spares gives {found:?}", rule.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn names_are_unique_and_start_with_their_group() {
        let names: HashSet<_> = all().map(|rule| rule.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|rule| rule.name.contains('.') && !rule.reason.is_empty()));
    }
}
