//! What a command is for, by its program and its words: tests, checks, searches, questions to the system.
//!
//! Lists alone; what its output says is a rule's.

use crate::pattern::pattern;
use crate::shell::{Command, base_name};

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

pub(super) fn runs_tests(command: &Command) -> bool {
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

pub(super) fn checks(command: &Command) -> bool {
    CHECKERS.contains(&command.program())
        || is_told(command, CHECK_COMMANDS)
        || is_told(command, CHECK_OPTIONS)
        || command.python_module().is_some_and(|m| CHECK_MODULES.contains(&m))
        || command
            .python_code()
            .is_some_and(|code| ["py_compile", "compileall", "ast.parse("].iter().any(|c| code.contains(c)))
        || (command.program() == "git" && command.has_option(&["--check"]))
}

pattern!(REPRODUCTION_FILE, r"(?i)(?:^|[_-])(?:repro\w*|reproduc\w*|issue\w*|bug\w*|poc|mre|mwe|minimal)(?:[_.-]|$)");

/// Whether a command looks for something in files, or compares them.
pub(super) fn searches(command: &Command) -> bool {
    SEARCHES.contains(&command.program()) || (command.program() == "git" && command.subcommand() == "grep")
}

/// Whether a command asks whether something is there.
pub(super) fn probes(command: &Command) -> bool {
    PROBES.contains(&command.program())
        || is_told(command, PROBE_COMMANDS)
        || command.wrappers.iter().any(|wrapper| wrapper == "command")
        || (command.program() == "ls" && command.has_option(&["-d", "-ld"]))
}

/// Whether a command tells by its status whether something is there, if its complaints are thrown away.
pub(super) fn looks(command: &Command) -> bool {
    LOOKS.contains(&command.program()) || SEARCHES.contains(&command.program())
}

/// Whether a command runs a script that is called after a fault.
pub(super) fn reproduces(command: &Command) -> bool {
    let is_script = |word: &&String| word.contains('.') && REPRODUCTION_FILE.is_match(base_name(word));
    let runs = command.is_python()
        || matches!(command.program(), "node" | "ruby" | "perl" | "php" | "bash" | "sh" | "deno" | "ts-node");
    (runs && command.arguments().iter().any(|word| is_script(&word)))
        || command.words.first().is_some_and(|word| word.starts_with("./") && is_script(&word))
}
