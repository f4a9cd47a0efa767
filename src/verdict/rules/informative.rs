//! Results of calls that did their job and report a bad state of something else.
//!
//! Asked only of shells, since the program that ran must be known. A crash before the tested behaviour is reached (a
//! missing program, a wrong path, a syntax error of the script itself) is an error, and none of these.

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

// --- what is run ---------------------------------------------------------------------------------------------------

/// Programs that run tests and do nothing else.
const TEST_RUNNERS: &[&str] = &[
    "pytest",
    "py.test",
    "pytest-3",
    "tox",
    "nox",
    "nosetests",
    "nose2",
    "trial",
    "behave",
    "jest",
    "vitest",
    "mocha",
    "ava",
    "karma",
    "jasmine",
    "rspec",
    "phpunit",
    "bats",
    "ctest",
    "cypress",
    "playwright",
    "ginkgo",
    "gotestsum",
];
/// Programs that run tests when they are told to, and the words that tell them.
const TEST_COMMANDS: &[(&str, &[&str])] = &[
    ("npm", &["test", "t", "run test"]),
    ("yarn", &["test", "run test"]),
    ("pnpm", &["test", "run test"]),
    ("bun", &["test", "run test"]),
    ("deno", &["test"]),
    ("go", &["test"]),
    ("cargo", &["test", "nextest"]),
    ("mvn", &["test", "verify"]),
    ("mvnw", &["test", "verify"]),
    ("gradle", &["test", "check"]),
    ("gradlew", &["test", "check"]),
    ("make", &["test", "tests", "check"]),
    ("rake", &["test", "spec"]),
    ("dotnet", &["test"]),
    ("swift", &["test"]),
    ("mix", &["test"]),
    ("bazel", &["test"]),
    ("sbt", &["test"]),
    ("rails", &["test"]),
    ("poetry", &["run pytest", "run tox"]),
    ("uv", &["run pytest"]),
    ("npx", &["jest", "vitest", "mocha", "ava", "playwright"]),
];
const TEST_MODULES: &[&str] =
    &["pytest", "unittest", "nose", "nose2", "doctest", "tox", "nox", "django", "testtools.run"];

const CHECKERS: &[&str] = &[
    "flake8",
    "pylint",
    "mypy",
    "ruff",
    "pyflakes",
    "pycodestyle",
    "pydocstyle",
    "pyright",
    "bandit",
    "black",
    "isort",
    "eslint",
    "tsc",
    "shellcheck",
    "yamllint",
    "jsonlint",
    "xmllint",
    "hadolint",
    "markdownlint",
    "stylelint",
    "prettier",
    "rubocop",
    "golint",
    "golangci-lint",
    "staticcheck",
    "clang-tidy",
    "cppcheck",
    "codespell",
    "gofmt",
    "clang-format",
    "desktop-file-validate",
    "checkpatch.pl",
];
const CHECK_COMMANDS: &[(&str, &[&str])] = &[
    ("cargo", &["check", "clippy", "fmt"]),
    ("go", &["vet"]),
    ("npm", &["run lint", "audit"]),
    ("yarn", &["lint"]),
    ("npx", &["eslint", "tsc", "prettier"]),
    ("terraform", &["validate"]),
    ("helm", &["lint"]),
    ("pip", &["check"]),
    ("pre-commit", &["run"]),
];
const CHECK_MODULES: &[&str] =
    &["py_compile", "compileall", "flake8", "pylint", "mypy", "ruff", "pyflakes", "pycodestyle", "json.tool", "black"];
/// Programs that only look when they are given one of these options.
const CHECK_OPTIONS: &[(&str, &[&str])] = &[
    ("bash", &["-n"]),
    ("sh", &["-n"]),
    ("node", &["--check", "-c"]),
    ("php", &["-l"]),
    ("perl", &["-c"]),
    ("ruby", &["-c"]),
    ("gcc", &["-fsyntax-only"]),
    ("g++", &["-fsyntax-only"]),
    ("clang", &["-fsyntax-only"]),
    ("nginx", &["-t"]),
    ("sshd", &["-t"]),
    ("visudo", &["-c"]),
    ("apachectl", &["-t", "configtest"]),
    ("sha256sum", &["-c", "--check"]),
    ("md5sum", &["-c", "--check"]),
];

const SEARCHES: &[&str] = &[
    "grep", "egrep", "fgrep", "zgrep", "rg", "ag", "ack", "find", "fd", "fdfind", "locate", "diff", "cmp", "comm",
    "ugrep",
];
const PROBES: &[&str] = &[
    "which",
    "type",
    "hash",
    "test",
    "[",
    "[[",
    "pgrep",
    "pidof",
    "whereis",
    "getent",
    "lsof",
    "fuser",
    "mountpoint",
    "command",
    "ping",
    "nc",
    "ncat",
    "pg_isready",
    "xdpyinfo",
];
const PROBE_COMMANDS: &[(&str, &[&str])] = &[
    ("git", &["grep", "ls-files", "rev-parse", "show-ref", "check-ignore", "config", "merge-base", "diff"]),
    ("pip", &["show", "index"]),
    ("pip3", &["show", "index"]),
    ("dpkg", &["-s", "-l", "-L", "-S"]),
    ("rpm", &["-q", "-qa"]),
    ("systemctl", &["is-active", "is-enabled", "status", "is-failed"]),
    ("service", &["status"]),
    ("tmux", &["has-session", "has"]),
    ("npm", &["ls", "list", "outdated"]),
    ("brew", &["list"]),
    ("kubectl", &["get"]),
    ("docker", &["inspect"]),
];
/// Programs that tell by their status whether something is there, if their complaints are thrown away.
const LOOKS: &[&str] =
    &["ls", "stat", "cat", "file", "head", "readlink", "du", "wc", "dpkg", "conda", "tail", "realpath"];

fn is_told(command: &Command, table: &[(&str, &[&str])]) -> bool {
    let Some((_, words)) = table.iter().find(|(program, _)| *program == command.program()) else { return false };
    words.iter().any(|told| {
        let mut rest = command.arguments().iter().map(String::as_str);
        match told.split_once(' ') {
            Some((first, second)) => rest.any(|w| w == first) && rest.next().is_some_and(|w| w.starts_with(second)),
            None => rest.any(|w| w == *told),
        }
    })
}

/// The Python script or module that a command runs.
fn python_target(command: &Command) -> Option<&str> {
    if command.is_python() {
        return command.arguments().iter().find(|word| !word.starts_with('-')).map(String::as_str);
    }
    command.words.first().map(String::as_str).filter(|word| word.ends_with(".py") || word.contains('/'))
}

fn runs_tests(command: &Command) -> bool {
    TEST_RUNNERS.contains(&command.program())
        || is_told(command, TEST_COMMANDS)
        || command.python_module().is_some_and(|m| TEST_MODULES.contains(&m))
        || python_target(command).is_some_and(|target| {
            let name = base_name(target);
            let told = || command.arguments().iter().any(|word| word == "test");
            TEST_FILE.is_match(name) || (name == "manage.py" && told())
        })
}

pattern!(TEST_FILE, r"(?i)^(?:run_?tests?|runtests|tests?|test_\w+|\w+_tests?)(?:\.py|\.sh|\.js|\.ts)?$");
pattern!(REPRODUCTION_FILE, r"(?i)(?:^|[_-])(?:repro\w*|reproduc\w*|issue\w*|bug\w*|poc|mre|mwe|minimal)(?:[_.-]|$)");

fn checks(command: &Command) -> bool {
    CHECKERS.contains(&command.program())
        || is_told(command, CHECK_COMMANDS)
        || is_told(command, CHECK_OPTIONS)
        || command.python_module().is_some_and(|m| CHECK_MODULES.contains(&m))
        || command
            .python_code()
            .is_some_and(|code| ["py_compile", "compileall", "ast.parse("].iter().any(|c| code.contains(c)))
        || (command.program() == "git" && command.has_option(&["--check"]))
}

// --- what came out -------------------------------------------------------------------------------------------------

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
    let shows = |c: &Command| {
        let is_script = |word: &&String| word.contains('.') && REPRODUCTION_FILE.is_match(base_name(word));
        let runs = c.is_python()
            || matches!(c.program(), "node" | "ruby" | "perl" | "php" | "bash" | "sh" | "deno" | "ts-node");
        (runs && c.arguments().iter().any(|w| is_script(&w)))
            || c.words.first().is_some_and(|w| w.starts_with("./") && is_script(&w))
    };
    let asserts = |c: &Command| {
        c.python_code().is_some_and(|code| code.contains("assert ") || code.contains("raise AssertionError"))
    };
    let last = evidence.last.unwrap_or_default();
    if !evidence.status.is_some_and(|status| (1..124).contains(&status)) {
        return false;
    }
    let is_assertion = last.starts_with("AssertionError");
    (ran(evidence, shows) && !evidence.tail().take(3).any(|l| CRASH.is_match(l)) && !any_edge(evidence, &RUNNER_FAILED))
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
    let searches = |c: &Command| SEARCHES.contains(&c.program()) || (c.program() == "git" && c.subcommand() == "grep");
    evidence.status == Some(1) && evidence.asked.deciding().iter().any(searches) && is_quiet(evidence)
}

fn probe(evidence: &Evidence<'_>) -> bool {
    let Some(status) = evidence.status.filter(|status| (1..124).contains(status)) else { return false };
    let deciding = evidence.asked.deciding();
    let asks = |c: &Command| {
        PROBES.contains(&c.program())
            || is_told(c, PROBE_COMMANDS)
            || c.wrappers.iter().any(|w| w == "command")
            || (c.program() == "ls" && c.has_option(&["-d", "-ld"]))
    };
    let text = evidence.asked.command().unwrap_or_default();
    let discards = || ["2>/dev/null", "2> /dev/null", "&>/dev/null", "/dev/null 2>&1"].iter().any(|d| text.contains(d));
    let looks = |c: &Command| LOOKS.contains(&c.program()) || SEARCHES.contains(&c.program());
    if status <= 4 && deciding.iter().any(asks) && (is_quiet(evidence) || says_absent(evidence)) {
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
