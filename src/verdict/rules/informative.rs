//! Results of calls that did their job and report a bad state of something else.
//!
//! Asked only of shells, since the program that ran must be known. A crash before the tested behaviour is reached (a
//! missing program, a wrong path, a syntax error of the script itself) is an error, and none of these.

use super::programs::{checks, looks, probes, reproduces, runs_tests, searches};
use super::rule::{Find, Gives, Harness, Rule, example};
use crate::pattern::pattern;
use crate::shell::{Command, Join, base_name};
use crate::verdict::evidence::Evidence;
use crate::verdict::said::FindingKind;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "informative.tests",
        harness: Harness::Shell,
        reason: "a test runner ran, and its report says which tests fail",
        find: Find::Job(tests),
        gives: Gives::Informative(FindingKind::Tests),
        decides: example(
            "bash",
            r#"{"command": "cd /w && python -m pytest -q tests"}"#,
            r#"{"output": "F.\n=== FAILURES ===\nE   assert 1 == 2\n=== short test summary info ===\nFAILED tests/test_a.py::test_x\n1 failed, 1 passed in 0.1s", "exit_code": 1}"#,
        ),
        spares: example(
            "bash",
            r#"{"command": "pytest -q tests"}"#,
            r#"{"output": "12 passed in 0.10s", "exit_code": 0}"#,
        ),
    },
    Rule {
        name: "informative.check",
        harness: Harness::Shell,
        reason: "a checker, a linter or a compiler that was run to look has found something",
        find: Find::Job(check),
        gives: Gives::Informative(FindingKind::Check),
        decides: example(
            "bash",
            r#"{"command": "python -m py_compile a.py"}"#,
            r#"{"output": "  File \"a.py\", line 3\n    x = (\n        ^\nSyntaxError: '(' was never closed", "exit_code": 1}"#,
        ),
        spares: example(
            "bash",
            r#"{"command": "ruff check ."}"#,
            r#"{"output": "All checks passed!", "exit_code": 0}"#,
        ),
    },
    Rule {
        name: "informative.reproduction",
        harness: Harness::Shell,
        reason: "a script that was written to show a fault shows it",
        find: Find::Job(reproduction),
        gives: Gives::Informative(FindingKind::Reproduction),
        decides: example(
            "bash",
            r#"{"command": "cd /w && python reproduce_issue.py"}"#,
            r#"{"output": "Traceback (most recent call last):\n  File \"/w/reproduce_issue.py\", line 4, in <module>\n    parse('')\n  File \"/w/lib/parse.py\", line 9, in parse\n    return tokens[0]\nIndexError: list index out of range", "exit_code": 1}"#,
        ),
        spares: example("bash", r#"{"command": "python reproduce_issue.py"}"#, r#"{"output": "ok", "exit_code": 0}"#),
    },
    Rule {
        name: "informative.search",
        harness: Harness::Shell,
        reason: "a search or a comparison ends with status 1 where nothing matches or something differs",
        find: Find::Job(search),
        gives: Gives::Informative(FindingKind::Search),
        decides: example("bash", r#"{"command": "grep -rn frobnicate src"}"#, r#"{"output": "", "exit_code": 1}"#),
        spares: example(
            "bash",
            r#"{"command": "grep -rn def src"}"#,
            r#"{"output": "src/a.py:1:def f():", "exit_code": 0}"#,
        ),
    },
    Rule {
        name: "informative.probe",
        harness: Harness::Shell,
        reason: "a question about the system (is it there, is it running) is answered with no",
        find: Find::Job(probe),
        gives: Gives::Informative(FindingKind::Probe),
        decides: example(
            "bash",
            r#"{"command": "which strace ltrace"}"#,
            r#"{"output": "(no output)", "exit_code": 1}"#,
        ),
        spares: example("bash", r#"{"command": "which ls"}"#, r#"{"output": "/bin/ls", "exit_code": 0}"#),
    },
    Rule {
        name: "informative.limit",
        harness: Harness::Shell,
        reason: "the command set a limit to its own time, and it was reached; what came out until then is the result",
        find: Find::Job(limit),
        gives: Gives::Informative(FindingKind::Probe),
        decides: example(
            "bash",
            r#"{"command": "timeout 10 python3 talk.py 2>&1"}"#,
            r#"{"output": "Welcome\nYou are at the start", "exit_code": 124}"#,
        ),
        spares: example("bash", r#"{"command": "timeout 10 ls"}"#, r#"{"output": "a.py", "exit_code": 0}"#),
    },
];

pattern!(
    /// What reports of test runners hold where tests fail.
    TEST_REPORT,
    r"(?m)\b\d+ (?:failed|failing|failures?|errors?)\b|^FAILED\b|^FAIL\b|^--- FAIL|failures=\d|errors=\d|test result: FAILED|^=+ (?:FAILURES|ERRORS) =+|^Tests:? .*(?:fail|error)|Tests run:.*(?:Failures|Errors): [1-9]|^not ok \d|^E   |✗|✕|^\s*\d+\) .*|\bAssertionError\b|assertion .*failed|^_{4,} .* _{4,}$|^[.FEsx]{2,}\s*(?:\[ *\d+%\])?$"
);
pattern!(
    /// The runner itself did not get as far as a test.
    RUNNER_FAILED,
    r"(?m)^ERROR: (?:file or directory )?not found|^ERROR: usage|unrecognized arguments|ImportError while loading conftest|No module named '?(?:pytest|unittest|nose|tox|django)\b|: (?:command )?not found|ModuleNotFoundError: No module named 'conftest'|can't open file|No such file or directory: '?\S*test|^npm ERR! Missing script|^make: \*\*\* No rule|Missing script:|INTERNALERROR|npm error Missing script|cannot find module|error: no such (?:sub)?command"
);

fn any_edge(evidence: &Evidence<'_>, pattern: &regex::Regex) -> bool {
    evidence.edges().any(|edge| pattern.is_match(edge))
}

/// Whether one of the commands that gave the status is of a kind; of a status of 0, any.
fn ran(evidence: &Evidence<'_>, kind: impl Fn(&Command) -> bool) -> bool {
    evidence.asked.script().commands.iter().any(kind)
}

fn tests(evidence: &Evidence<'_>) -> bool {
    let is_redirected = || {
        let failed = evidence.status == Some(1) && evidence.is_silent();
        failed && evidence.asked.deciding().iter().any(|c| runs_tests(c) && !c.redirects.is_empty())
    };
    ran(evidence, runs_tests)
        && (any_edge(evidence, &TEST_REPORT) || is_redirected())
        && !any_edge(evidence, &RUNNER_FAILED)
}

pattern!(
    /// The checker itself did not run.
    CHECKER_FAILED,
    r"(?m): (?:command )?not found|No module named|^(?i:usage:)|unrecognized (?:option|argument)|can't open|No such file or directory|error: unexpected argument|^(?:ba)?sh: |ENOENT|npm ERR! Missing script|could not find `Cargo.toml`|MODULE_NOT_FOUND|Traceback \(most recent call last\)"
);

fn check(evidence: &Evidence<'_>) -> bool {
    let status = evidence.status.unwrap_or(0);
    let compiles = |c: &Command| c.python_code().is_some() && checks(c);
    let compiled_badly = || ran(evidence, compiles) && evidence.tail().take(3).any(|l| SYNTAX.is_match(l));
    let deciding = evidence.asked.deciding();
    let looked = || deciding.iter().any(checks) && !any_edge(evidence, &CHECKER_FAILED);
    (1..126).contains(&status) && (compiled_badly() || looked())
}

pattern!(SYNTAX, r"^(?:py_compile\.PyCompileError|(?:Sorry: )?(?:SyntaxError|IndentationError|TabError))\b");
pattern!(
    /// Errors of a script that never came to what it was to show.
    CRASH,
    r"^(?:\w+\.)*(?:ModuleNotFoundError|ImportError|SyntaxError|IndentationError|TabError|NameError|FileNotFoundError|PermissionError|KeyboardInterrupt)\b"
);

fn reproduction(evidence: &Evidence<'_>) -> bool {
    let asserts = |c: &Command| {
        c.python_code().is_some_and(|code| code.contains("assert ") || code.contains("raise AssertionError"))
    };
    let last = evidence.last.unwrap_or_default();
    if !evidence.status.is_some_and(|status| (1..124).contains(&status)) {
        return false;
    }
    let is_assertion = last.starts_with("AssertionError");
    (ran(evidence, reproduces)
        && !evidence.tail().take(3).any(|l| CRASH.is_match(l))
        && !any_edge(evidence, &RUNNER_FAILED))
        || (is_assertion && asserted_outside(evidence) && ran(evidence, asserts))
}

/// Whether the last frame is the script's own top, or a test of it: what was asserted is the tested code's result.
fn asserted_outside(evidence: &Evidence<'_>) -> bool {
    let frame = evidence.tail().find(|line| line.trim_start().starts_with("File \""));
    frame.is_some_and(|line| line.ends_with("in <module>") || line.contains(", in test"))
}

/// Whether the output holds no message of an error.
fn is_quiet(evidence: &Evidence<'_>) -> bool {
    evidence.is_silent() || (!complains(evidence) && (evidence.table.error)(evidence).is_none())
}

pattern!(
    COMPLAINT,
    r"(?m)^(?:[\w./-]+: )+(?:.*: )?(?:No such file or directory|Permission denied|command not found|not found|Is a directory|invalid|unrecognized|unknown)|^Traceback|^\w*(?:Error|Exception): |^(?i:error|fatal)\b"
);

fn complains(evidence: &Evidence<'_>) -> bool {
    !evidence.asked.reads() && any_edge(evidence, &COMPLAINT)
}

fn search(evidence: &Evidence<'_>) -> bool {
    evidence.status == Some(1) && evidence.asked.deciding().iter().any(searches) && is_quiet(evidence)
}

fn probe(evidence: &Evidence<'_>) -> bool {
    let Some(status) = evidence.status.filter(|status| (1..124).contains(status)) else { return false };
    let deciding = evidence.asked.deciding();
    let text = evidence.asked.command().unwrap_or_default();
    let discards = || ["2>/dev/null", "2> /dev/null", "&>/dev/null", "/dev/null 2>&1"].iter().any(|d| text.contains(d));
    if status <= 4 && deciding.iter().any(probes) && (is_quiet(evidence) || says_absent(evidence)) {
        return true;
    }
    let only_looks = || deciding.iter().all(|c| looks(c) || matches!(c.program(), "cd" | "echo" | "true"));
    let is_told_by_status = || evidence.is_silent() || (only_looks() && is_quiet(evidence));
    if status <= 2 && discards() && deciding.iter().any(looks) && is_told_by_status() {
        return true;
    }
    // A loop of trials whose output is thrown away: none of them succeeded.
    let tries = |c: &Command| c.is_conditional && c.join == Join::And;
    evidence.is_silent() && discards() && deciding.iter().any(tries)
}

pattern!(
    LIMIT_REACHED,
    r"(?i)\b(?:max(?:imum)?[ _-]?(?:run[ _-]?)?time|(?:time|run[ _-]?time) limit) (?:was |has been )?reached\b"
);

fn limit(evidence: &Evidence<'_>) -> bool {
    let limited = |c: &Command| c.wrappers.iter().any(|w| base_name(w) == "timeout");
    let is_cut =
        || evidence.status == Some(124) && !evidence.is_silent() && evidence.asked.deciding().iter().any(limited);
    let says_so = || evidence.last.is_some_and(|line| LIMIT_REACHED.is_match(line));
    evidence.status.is_some_and(|status| status != 0) && (says_so() || (is_cut() && is_quiet(evidence)))
}

pattern!(
    ABSENT,
    r"(?i)^(?:WARNING: Package\(s\) not found|package '.*' is not installed|dpkg-query: (?:package|no packages found)|.*\bis not installed|.* not found$|inactive|disabled|unknown|can't find session|no server running)"
);

/// The answer no, in the words of the program that was asked.
fn says_absent(evidence: &Evidence<'_>) -> bool {
    evidence.is_within(3)
        && evidence.first.is_some_and(|line| ABSENT.is_match(line) && !line.contains("command not found"))
}
