//! How each rule of the table finds out whether it speaks.
//!
//! Owns one function for each rule, and the patterns that they look for in results and in reasoning.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use super::call::{Attempt, Subject};
use super::pair::Pair;
use super::programs::{self, Does};
use super::text::first_bytes;
use super::tools::{self, Kind};
use crate::pattern::pattern;
use crate::similarity::{Exact, Measure};

/// Share of the failed code's names that the later code must use as well.
const MAX_NAMES: f64 = 0.5;
/// Fewer names tell nothing.
const MIN_NAMES: usize = 4;
/// Texts shorter than this may be alike by chance.
const LONG_TEXT: usize = 150;
/// Similarity from which on two texts count as the same.
const SAME_TEXT: f64 = 0.8;
/// Similarity that a program with the same test of its own must keep.
const NEARLY_EQUAL: f64 = 0.95;
/// A result of fewer bytes that holds a complaint holds nothing else.
const SHORT_RESULT: usize = 200;
/// Share of the words of a refused edit that another edit of the file must hold.
const SAME_EDIT: f64 = 0.4;
/// Similarity below which two patterns look for different things.
const SAME_PATTERN: f64 = 0.5;
/// Similarity of names from which on one is the other, misspelt.
const SAME_PROGRAM: f64 = 0.7;
/// Bytes of a step's reasoning in which it is looked for what the step gives up.
const LONG_REASONING: usize = 8 * 1024;
/// Cosine from which on two calls count as meaning the same.
const SAME_MEANING: f64 = 0.85;

type P<'p, 't, 'a> = &'a Pair<'p, 't>;

fn is_same_tool(pair: P<'_, '_, '_>) -> bool {
    let (failed, later) = (pair.failed, pair.later);
    let is_same_name = tools::own_name(&failed.call.tool) == tools::own_name(&later.call.tool);
    let is_family = failed.kind() == later.kind() && matches!(failed.kind(), Kind::Shell | Kind::Python | Kind::Sql);
    is_same_name || is_family
}

// What rules a correction out.

pub(super) fn ends_or_thinks(pair: P<'_, '_, '_>) -> bool {
    let ends = |subject: &Subject<'_>| tools::ends(&subject.call.tool, pair.settings.ending_tools);
    ends(pair.later) && !(ends(pair.failed) && is_same_tool(pair))
}

pub(super) fn hands_nothing(pair: P<'_, '_, '_>) -> bool {
    pair.later.inner().trim().is_empty() && !pair.failed.inner().trim().is_empty()
}

pattern!(
    SHOWN_ERROR,
    r"(?m)(?:: (?:command )?not found|No such file or directory|Unmatched [(\[])\s*$|^Traceback \(most recent call last\)|^(?:fatal|error|E|ERROR)(?:\[\w+\])?: |\bERROR \d{3}: "
);

pub(super) fn hides_failure(pair: P<'_, '_, '_>) -> bool {
    if pair.later.kind() != Kind::Shell {
        return false;
    }
    let is_all_complaint = || pair.later.result().len() < SHORT_RESULT && programs::complains(pair.later);
    let shows_error = || !programs::only(pair.later, Does::Look) && SHOWN_ERROR.is_match(pair.later.result());
    programs::hides_exit_code(pair.later) && (is_all_complaint() || shows_error())
}

pub(super) fn near_tool_name(pair: P<'_, '_, '_>) -> bool {
    let (failed, later) = (&pair.failed.call.tool, &pair.later.call.tool);
    pair.failed.is_unknown_tool() && failed != later && tools::is_near(failed, later)
}

pub(super) fn same_arguments(pair: P<'_, '_, '_>) -> bool {
    let is_other = pair.failed.call.tool != pair.later.call.tool;
    pair.failed.is_unknown_tool() && is_other && pair.failed.inner().len() > 8 && pair.similarity() >= SAME_TEXT
}

pub(super) fn unknown_tool_dropped(pair: P<'_, '_, '_>) -> bool {
    pair.failed.is_unknown_tool() && !near_tool_name(pair) && !same_arguments(pair)
}

pub(super) fn ran_a_check(pair: P<'_, '_, '_>) -> bool {
    programs::ran_a_check(pair.failed)
}

pub(super) fn searched_in_vain(pair: P<'_, '_, '_>) -> bool {
    programs::searched_in_vain(pair.failed)
}

pattern!(ASSERT, r"(?m)^\s*assert\b.*$");

pub(super) fn own_assertion(pair: P<'_, '_, '_>) -> bool {
    if pair.failed.error() != "AssertionError" {
        return false;
    }
    let asserts =
        |subject: &Subject<'_>| -> usize { subject.python().iter().map(|code| ASSERT.find_iter(code).count()).sum() };
    let (failed, later) = (asserts(pair.failed), asserts(pair.later));
    failed > 0 && (later < failed || pair.similarity() < NEARLY_EQUAL || !changes_more_than_its_test(pair))
}

/// Whether the two programs differ in a line that is no assertion.
fn changes_more_than_its_test(pair: P<'_, '_, '_>) -> bool {
    let rest = |subject: &Subject<'_>| ASSERT.replace_all(subject.inner(), "").split_whitespace().collect::<String>();
    rest(pair.failed) != rest(pair.later)
}

pub(super) fn mended_elsewhere(pair: P<'_, '_, '_>) -> bool {
    let (failed, later) = (pair.failed, pair.later);
    if failed.kind() != Kind::Shell || later.kind() != Kind::Shell || !failed.missing_programs().is_empty() {
        return false;
    }
    let is_repeated_beside_others = failed.inner().trim() == later.inner().trim() && {
        let new_changes = |subject: &&Subject<'_>| {
            let is_new = pair.failed_step.calls.iter().all(|old| old.inner() != subject.inner());
            is_new && programs::changes_files(subject)
        };
        pair.later_step.calls.iter().filter(new_changes).count() > 0
    };
    is_repeated_beside_others || programs::repeats_behind_a_change(failed, later)
}

pattern!(ONLY_IMPORTS, r"^(?:\s*(?:(?:from|import)\s[^\n;]*|#[^\n]*|[!%]\s*pip3? install[^\n]*)?(?:\n|$))+$");

pub(super) fn only_prepares(pair: P<'_, '_, '_>) -> bool {
    let prepares = |subject: &Subject<'_>| match subject.kind() {
        Kind::Shell => programs::only(subject, Does::Prepare),
        Kind::Python => ONLY_IMPORTS.is_match(subject.inner()),
        Kind::Sql | Kind::Edit | Kind::Look | Kind::Other => false,
    };
    prepares(pair.later) && !prepares(pair.failed) && !programs::installs(pair.failed)
}

const LOOKING_STATEMENTS: &[&str] = &["show", "desc", "describe", "explain", "pragma", "use", "help"];

fn looks(subject: &Subject<'_>) -> bool {
    match subject.kind() {
        Kind::Shell => programs::only(subject, Does::Look),
        Kind::Sql => LOOKING_STATEMENTS.contains(&statement(subject).as_str()),
        Kind::Look => true,
        Kind::Python | Kind::Edit | Kind::Other => false,
    }
}

/// The verb of an SQL statement, in lower case.
fn statement(subject: &Subject<'_>) -> String {
    let letters = subject.inner().trim_start_matches(|c: char| !c.is_alphabetic());
    letters.chars().take_while(|c| c.is_alphabetic()).flat_map(char::to_lowercase).take(20).collect()
}

pub(super) fn only_looks(pair: P<'_, '_, '_>) -> bool {
    let knows_kind =
        |subject: &Subject<'_>| matches!(subject.kind(), Kind::Shell | Kind::Sql | Kind::Edit | Kind::Python);
    let is_to_do = || !looks(pair.failed) && !pair.failed.is_unknown_tool() && !is_program_misspelt(pair);
    knows_kind(pair.failed) && looks(pair.later) && is_to_do()
}

/// Whether the programs that are not there have nearly the names of some that the later call runs.
fn is_program_misspelt(pair: P<'_, '_, '_>) -> bool {
    let missing = pair.failed.missing_programs();
    let is_near = |name: &String| pair.later.programs().iter().any(|p| Exact.similarity(name, p).get() >= SAME_PROGRAM);
    !missing.is_empty() && missing.iter().all(is_near)
}

// What lowers.

pub(super) fn other_tool(pair: P<'_, '_, '_>) -> bool {
    let differs = |a: Option<&str>, b: Option<&str>| a.is_some() && b.is_some() && a != b;
    !is_same_tool(pair) || differs(pair.failed.action(), pair.later.action())
}

pub(super) fn other_program(pair: P<'_, '_, '_>) -> bool {
    let is_shell = pair.failed.kind() == Kind::Shell && pair.later.kind() == Kind::Shell;
    is_shell && !programs::shares_its_work(pair.failed, pair.later)
}

pattern!(
    OTHER_WAY,
    r"(?i)\b(?:different|another|alternative|simpler|new|other) (?:approach|strategy|route|idea|tack)\b|\bcompletely different\b|\bwork ?around\b"
);
pattern!(
    LOOK,
    r"(?i)\b(?:let me|let's|let us|i'll|i will|i'm going to|first,?)\s+(?:first |also |now |just |quickly |try to )?(?:check|look|see|inspect|examine|debug|investigate|explore|find out|understand|diagnose|print|list)\b|\bto (?:debug|investigate|diagnose|see why|see what)\b"
);

/// Both search, and for different things.
pub(super) fn other_search(pair: P<'_, '_, '_>) -> bool {
    let (failed, later) = (programs::patterns(pair.failed), programs::patterns(pair.later));
    let is_near = |a: &str| later.iter().any(|b| Exact.similarity(a, b).get() >= SAME_PATTERN);
    !failed.is_empty() && !failed.iter().all(|a| is_near(a))
}

pub(super) fn other_way_announced(pair: P<'_, '_, '_>) -> bool {
    OTHER_WAY.is_match(&pair.later_step.reasoning)
}

pattern!(
    ANOTHER_PLAN,
    r"(?i)\b(?:different|another|alternative) (?:way|method)\b|\b(?:analy[sz]e|approach|do|evaluate|look at|solve|tackle|think about|try) [^.\n]{0,40}\bdifferently\b"
);

/// Whether a step's reasoning says that it goes another way than the steps before it.
pub fn announces_another_plan(step: &Attempt<'_>) -> bool {
    OTHER_WAY.is_match(&step.reasoning) || ANOTHER_PLAN.is_match(&step.reasoning)
}

pub(super) fn way_changed_between(pair: P<'_, '_, '_>) -> bool {
    pair.place.changes_way
}

pub(super) fn look_announced(pair: P<'_, '_, '_>) -> bool {
    let says = |attempt: &Attempt<'_>| LOOK.is_match(&attempt.reasoning);
    says(pair.later_step) && !says(pair.failed_step) && !looks(pair.failed)
}

pattern!(
    REFUSED,
    r"(?i)\b(?:not enough|insufficient|sold out|out of stock|fully booked|expired|(?:not |un)available|not eligible|ineligible|non-?refundable|already (?:been )?(?:booked|taken|used|cancell?ed|paid|reserved|delivered|shipped|processed|closed|returned|exists?)|can(?:not|'t| not) be (?:cancell?ed|modified|changed|returned|exchanged|refunded))\b"
);
/// Errors that tell of the way to the tool, or of how it was called, and not of what it was asked for.
const NOT_A_REFUSAL: &[&str] = &[
    "connection_error",
    "invalid_arguments",
    "invalid_format",
    "not_available",
    "rate_limit",
    "server_error",
    "timeout",
    "unknown_tool",
];

pub(super) fn refused_as_things_are(pair: P<'_, '_, '_>) -> bool {
    let is_plain = pair.failed.kind() == Kind::Other && is_same_tool(pair) && !arguments_mended(pair);
    let is_refusal = || !NOT_A_REFUSAL.contains(&pair.failed.error()) && !pair.failed.is_unknown_tool();
    is_plain
        && pair.failed.call.arguments != pair.later.call.arguments
        && REFUSED.is_match(first_bytes(pair.failed.result(), SHORT_RESULT))
        && is_refusal()
}

pattern!(
    GIVEN_UP,
    r"(?i)\b(?:not (?:able|available|possible|suitable|supported|work(?:ing)?)|unable|can(?:not|'t| not)|does(?:n't| not)|won't|fail(?:s|ed)?)\b"
);
pattern!(SENTENCE, r"[^.!?\n]+(?:[.!?]\S[^.!?\n]*)*");
pattern!(QUOTED_NAME, r#"[`'"](?:[\p{L}_]\w*\.)*([\p{L}_]\w*)(?:\(\))?[`'"]"#);
pattern!(CALLED, r"([\p{L}_]\w*)\s*\(");

pub(super) fn goes_back(pair: P<'_, '_, '_>) -> bool {
    let (reasoning, later) = (first_bytes(&pair.failed_step.reasoning, LONG_REASONING), pair.later.python());
    if later.is_empty() || !GIVEN_UP.is_match(reasoning) {
        return false;
    }
    let calls = |codes: &[&str], name: &str| codes.iter().any(|code| CALLED.captures_iter(code).any(|c| &c[1] == name));
    let given_up = SENTENCE.find_iter(reasoning).map(|m| m.as_str()).filter(|sentence| GIVEN_UP.is_match(sentence));
    let mut names = given_up.flat_map(|sentence| QUOTED_NAME.captures_iter(sentence)).filter_map(|c| c.get(1));
    names.any(|name| calls(&later, name.as_str()) && !calls(&pair.failed.python(), name.as_str()))
}

pub(super) fn drops_what_it_wrote(pair: P<'_, '_, '_>) -> bool {
    let written = pair.failed.written();
    !written.is_empty() && pair.later.written().is_empty()
}

/// None of the names that the failed code gives a value gets one in the later code.
pub(super) fn drops_what_it_made(pair: P<'_, '_, '_>) -> bool {
    let (failed, later) = (pair.failed.python(), pair.later.python());
    let mut old = failed.iter().flat_map(|code| code.lines().filter_map(made_on)).peekable();
    if later.is_empty() || old.peek().is_none() {
        return false;
    }
    let new: FxHashSet<&str> = later.iter().flat_map(|code| code.lines().filter_map(made_on)).collect();
    !old.any(|name| new.contains(name))
}

/// The name that a line of Python gives a value, defines or, as its first word, calls.
fn made_on(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let defined = ["def", "class"].iter().find_map(|word| line.strip_prefix(word)?.strip_prefix(char::is_whitespace));
    let line = defined.map_or(line, str::trim_start);
    let end = line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let is_made = rest.starts_with('(') || (rest.starts_with('=') && !rest.starts_with("=="));
    (is_made && name.starts_with(|c: char| c.is_alphabetic() || c == '_')).then_some(name)
}

// What raises.

pattern!(
    BAD_ARGUMENTS,
    r"(?i)\brequired (?:property|argument|parameter|field)|\bfield required\b|\bmissing \d* ?(?:required )?(?:positional |keyword )?(?:argument|parameter)|\binput validation error|\bvalidation errors? for\b|\bunexpected (?:keyword )?argument|\binvalid (?:arguments?|parameters?|type|input|characters?)\b|\bis not of type\b|\bmust be (?:a|an|of type|one of)\b|\bextra inputs are not permitted|\b(?:failed to|could not|cannot) parse\b|\bis not valid json\b|\bunknown (?:argument|parameter|command)\b"
);

pub(super) fn arguments_mended(pair: P<'_, '_, '_>) -> bool {
    let is_plain = matches!(pair.failed.kind(), Kind::Look | Kind::Edit | Kind::Other);
    let error = pair.failed.error();
    let is_refused = || error == "invalid_arguments" || BAD_ARGUMENTS.is_match(first_bytes(pair.failed.result(), 1500));
    is_plain && is_same_tool(pair) && pair.failed.call.arguments != pair.later.call.arguments && is_refused()
}

pub(super) fn program_replaced(pair: P<'_, '_, '_>) -> bool {
    let (failed, later) = (pair.failed, pair.later);
    if failed.kind() != Kind::Shell || later.kind() != Kind::Shell {
        return false;
    }
    let missing = failed.missing_programs();
    let later_programs = later.programs();
    // In place of a program that looks, one looks with another program or with a few lines of Python.
    let looked = missing.iter().all(|program| programs::is_looking(program));
    let is_alike = !looked || programs::only(later, Does::Look) || !later.python().is_empty();
    let is_gone = is_alike && !missing.is_empty() && !later_programs.iter().any(|p| missing.contains(*p));
    let kept = programs::targets_of(failed, missing);
    let runs_a_target = || later_programs.iter().any(|program| kept.contains(*program));
    let keeps_targets = || !kept.is_empty() && kept.iter().all(|target| later.targets().contains(target));
    is_gone && !runs_a_target() && (pair.similarity() >= 0.6 || keeps_targets())
}

pub(super) fn same_text_other_tool(pair: P<'_, '_, '_>) -> bool {
    let is_long = |subject: &Subject<'_>| subject.inner().len() >= LONG_TEXT;
    !is_same_tool(pair) && is_long(pair.failed) && is_long(pair.later) && pair.similarity() >= SAME_TEXT
}

pub(super) fn same_file_edited(pair: P<'_, '_, '_>) -> bool {
    let (failed, later) = (pair.failed, pair.later);
    let is_refused = failed.kind() == Kind::Edit || programs::is_refused(failed);
    let words = |subject: &Subject<'_>| -> BTreeSet<String> {
        // Of an edit by its old text, that text alone: the new one may be said in many ways.
        let old = ["old_str", "old_string", "old_text", "search"].iter().find_map(|name| subject.argument(name));
        let text = old.filter(|_| std::ptr::eq(subject, failed)).unwrap_or_else(|| subject.inner());
        let found = WORD.find_iter(text).map(|m| m.as_str().to_owned());
        found.filter(|word| !subject.targets().iter().any(|target| target.contains(word.as_str()))).collect()
    };
    let is_same_edit = || {
        let (old, new) = (words(failed), words(later));
        old.intersection(&new).count() as f64 >= SAME_EDIT * old.len() as f64
    };
    is_refused && failed.written().intersection(&later.written()).next().is_some() && is_same_edit()
}

pattern!(WORD, r"[\p{L}_][\p{L}\p{N}_]{3,}");

/// Text that does not belong into a call is left out, and what remains is called.
pub(super) fn stray_text_dropped(pair: P<'_, '_, '_>) -> bool {
    let (failed, later) = (pair.failed.inner().trim(), pair.later.inner().trim());
    let is_bare = matches!(pair.failed.kind(), Kind::Shell | Kind::Sql) && is_same_tool(pair);
    is_bare
        && later.len() >= 8
        && later.len() < failed.len()
        && failed.contains(later)
        && MALFORMED.is_match(pair.failed.result())
}

pattern!(
    MALFORMED,
    r"(?i)syntax|unexpected (?:EOF|token|end)|(?m)^usage\b|malformed|unmatched|invalid (?:option|format)|not contain"
);

pub(super) fn same_names(pair: P<'_, '_, '_>) -> bool {
    if pair.failed.python().is_empty() || pair.later.python().is_empty() {
        return false;
    }
    let (failed, later) = (pair.failed.names(), pair.later.names());
    let kept = failed.intersection(&later).count();
    failed.len() >= MIN_NAMES && kept as f64 >= MAX_NAMES * failed.len() as f64
}

pattern!(
    TAKEN_UP,
    r"(?i)\b(?:error|exception|mistake|typo|fix|correct(?:ly|ed)?|forgot|again|wrong|invalid|apologi[sz]e|oops|retry|without|properly|missing|should have|need(?:s|ed)? to (?:be|import|define|use))\b"
);
pattern!(COMPLAINT, r#"['"`‘]([\w./@+-]{2,60})['"`’]|: ([\w./+-]{2,40}): (?:command )?not found"#);

pub(super) fn error_taken_up(pair: P<'_, '_, '_>) -> bool {
    let reasoning = &pair.later_step.reasoning;
    if reasoning.is_empty() {
        return false;
    }
    let error = pair.failed.error();
    let names_class = || error.len() > 4 && reasoning.contains(error);
    let last_line = pair.failed.result().trim_end().rsplit('\n').next().unwrap_or_default();
    let names_it = || {
        let named = COMPLAINT.captures_iter(last_line).filter_map(|c| c.get(1).or(c.get(2)));
        named.take(8).any(|m| reasoning.contains(m.as_str()))
    };
    TAKEN_UP.is_match(reasoning) || names_class() || names_it()
}

/// A vector is that of a whole step: of several calls it says nothing of each.
pub(super) fn means_the_same(pair: P<'_, '_, '_>) -> bool {
    let is_single = |step: &Attempt<'_>| step.calls.len() == 1;
    is_single(pair.failed_step)
        && is_single(pair.later_step)
        && pair.meaning.is_some_and(|cosine| cosine >= SAME_MEANING)
}
