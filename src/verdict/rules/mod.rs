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
mod shell;
mod web;

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::evidence::Evidence;
use super::json;
use super::pattern::pattern;
use super::{Asked, Failure, Finding, FindingKind, Verdict};

/// Who writes such results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harness {
    CodeInterpreter,
    Shell,
    Database,
    FunctionCalling,
    Editor,
    Web,
    Any,
}

/// A call and its result.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    pub tool: &'static str,
    pub arguments: &'static str,
    pub result: &'static str,
}

/// How a rule is decided.
#[derive(Clone, Copy)]
enum Find {
    /// A pattern of the first line, in messages; text that the call spells itself, and documents, are none.
    First(&'static str),
    /// The same, in messages of at most three lines.
    Brief(&'static str),
    /// The same, however much follows: the words are the harness's own.
    Heading(&'static str),
    /// The error's type, from the evidence.
    Error(fn(&Evidence<'_>) -> Option<Cow<'static, str>>),
    /// Whether the evidence shows that the call did its job.
    Job(fn(&Evidence<'_>) -> bool),
    /// Decided where JSON results are read, or by the exit status.
    Elsewhere,
}

/// What a rule says where it decides.
#[derive(Clone, Copy)]
enum Gives {
    Error(&'static str),
    /// An error: the first exception class that the text names, else this type.
    Named(&'static str),
    /// An error: the exception class that the text names, else a type by the words of the first line.
    Worded,
    Informative(FindingKind),
}

/// One rule of the table.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Stable: reports and columns hold it.
    pub name: &'static str,
    pub harness: Harness,
    /// Why such a result is what the rule says.
    pub reason: &'static str,
    find: Find,
    gives: Gives,
    /// Decided by this rule.
    pub decides: Example,
    /// Looks like it, and is ok.
    pub spares: Example,
}

const fn example(tool: &'static str, arguments: &'static str, result: &'static str) -> Example {
    Example { tool, arguments, result }
}

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

pub(super) const JUDGE_SUCCESS: &str = "Tool call success";
const JUDGE_FAILURE: &str = "Tool call failure";

/// The default detector.
pub(super) fn judge(text: &str, asked: &Asked<'_>) -> Verdict {
    let text = text.trim();
    if text.is_empty() || text.starts_with(JUDGE_SUCCESS) {
        return Verdict::Ok;
    }
    if text.starts_with(JUDGE_FAILURE) {
        let error_type = exception_anywhere(text).unwrap_or(Cow::Borrowed("tool_error"));
        return Verdict::Error(Failure::named(error_type).by("code.judge"));
    }
    json::verdict(text, asked, 0).unwrap_or_else(|| weigh(&Evidence::of(text, None, asked)))
}

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
            None if evidence.edges().iter().any(|e| e.contains("FAIL") || e.contains(" failed")) => {
                informative().unwrap_or(Verdict::Ok)
            }
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
    let first = *evidence.head.first()?;
    let line = ASSIGNED.find(first).map_or(first, |found| &first[found.end()..]);
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || "❌✗⚠\u{fe0f}🚫".contains(c));
    let found = &*FIRST_LINE;
    let (is_brief, is_document) = (evidence.head.len() <= 3, evidence.is_document());
    let line = &line[..line.floor_char_boundary(LINE_BYTES)];
    let rule = found.set.matches(line.as_bytes()).into_iter().map(|k| found.rules[k]).find(|rule| match rule.find {
        Find::Brief(_) => is_brief,
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

pattern!(EXCEPTION_NAME, r"\b([A-Z][A-Za-z0-9]*(?:Error|Exception))\b|\b(worker_timeout)\b");
/// So much of a text that is known to be an error is searched for the error's name.
const NAMED_BYTES: usize = 8 * 1024;

/// The first exception class that a text which is known to be an error names.
pub(super) fn exception_anywhere(text: &str) -> Option<Cow<'static, str>> {
    let edge = &text[..text.floor_char_boundary(NAMED_BYTES)];
    let found = EXCEPTION_NAME.captures(edge)?;
    let name = found.get(1).or(found.get(2))?.as_str();
    Some(Cow::Owned(name.to_owned()))
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
