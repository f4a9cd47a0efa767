//! What shell commands do, as far as intent needs it: look, prepare, check, change.
//!
//! Owns the lists of programs. What a failed command may have changed is [`crate::guard::effects`]'s question: there a doubt
//! counts as one, here only what is known.

use std::collections::BTreeSet;

use super::call::Subject;
use super::tools::Kind;
use crate::pattern::pattern;
use crate::shell::{Command, Join};

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// It shows what is there.
    Look,
    /// It makes ready what others need: packages, folders, rights.
    Prepare,
    Work,
}

const LOOKING: &[&str] = &[
    "[",
    "[[",
    "ag",
    "awk",
    "basename",
    "bat",
    "cat",
    "cmp",
    "column",
    "comm",
    "command",
    "cut",
    "date",
    "df",
    "diff",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "false",
    "fd",
    "fgrep",
    "file",
    "find",
    "free",
    "getconf",
    "getent",
    "grep",
    "groups",
    "head",
    "hexdump",
    "hostname",
    "id",
    "info",
    "jobs",
    "jq",
    "ldd",
    "less",
    "locate",
    "ls",
    "lsblk",
    "lscpu",
    "lsof",
    "man",
    "md5sum",
    "more",
    "netstat",
    "nl",
    "nm",
    "nproc",
    "objdump",
    "od",
    "pgrep",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readelf",
    "readlink",
    "realpath",
    "rg",
    "sed",
    "seq",
    "sha256sum",
    "sleep",
    "sort",
    "ss",
    "stat",
    "strings",
    "tac",
    "tail",
    "test",
    "top",
    "tr",
    "tree",
    "true",
    "type",
    "uname",
    "uniq",
    "uptime",
    "wc",
    "whereis",
    "which",
    "who",
    "whoami",
    "xxd",
    "zcat",
];
const LOOKING_GIT: &[&str] = &[
    "status",
    "log",
    "diff",
    "show",
    "branch",
    "remote",
    "config",
    "blame",
    "grep",
    "ls-files",
    "rev-parse",
    "describe",
];
const INSTALLERS: &[&str] = &[
    "apk",
    "apt",
    "apt-get",
    "brew",
    "bun",
    "bundle",
    "conda",
    "dnf",
    "gem",
    "mamba",
    "micromamba",
    "npm",
    "pacman",
    "pip",
    "pip3",
    "pipx",
    "pnpm",
    "poetry",
    "uv",
    "yarn",
    "yum",
    "zypper",
];
const INSTALLING: &[&str] = &["install", "add", "update", "upgrade", "i", "ci", "sync", "-S", "create"];
const PREPARING: &[&str] = &["mkdir", "chmod", "chown", "touch", "ln", "export", "source"];

/// What one command does.
fn does(command: &Command) -> Does {
    let program = command.program();
    let looks = match program {
        "sed" => !command.arguments().iter().any(|word| word.starts_with("-i") || word == "--in-place"),
        "find" => !command.has_option(&["-delete", "-exec", "-execdir", "-ok"]),
        "git" => LOOKING_GIT.contains(&command.subcommand()),
        "pip" | "pip3" | "npm" | "conda" => {
            ["show", "list", "freeze", "search", "view", "info", "index"].contains(&command.subcommand())
        }
        "apt-cache" | "dpkg" => true,
        _ => LOOKING.contains(&program) || asks_for_help(command),
    };
    if looks && command.written().next().is_none() {
        Does::Look
    } else if is_install(command) || PREPARING.contains(&program) {
        Does::Prepare
    } else {
        Does::Work
    }
}

/// `tool --help`, `tool --version`.
fn asks_for_help(command: &Command) -> bool {
    !command.words.is_empty()
        && command.has_option(&["--help", "--version", "-V", "-h"])
        && command.arguments().len() <= 2
}

fn is_install(command: &Command) -> bool {
    let is_installer = |name: &str| INSTALLERS.contains(&name);
    let installs = |words: &[String]| words.iter().any(|word| INSTALLING.contains(&word.as_str()));
    match command.python_module() {
        Some(module) => is_installer(module) && installs(command.arguments()),
        None => is_installer(command.program()) && installs(command.arguments()),
    }
}

/// The commands that count: without those that only move about.
fn commands<'s>(subject: &'s Subject<'_>) -> impl Iterator<Item = &'s Command> {
    const ASIDE: &[&str] = &[
        "", "cd", "set", "export", "source", ".", "pushd", "popd", "unset", "shopt", "ulimit", "trap", "alias", "wait",
        "true", ":", "sleep",
    ];
    subject.script().commands.iter().filter(|command| !ASIDE.contains(&command.program()))
}

/// Whether all that a command line does is of one kind; looking beside it does not count.
pub(super) fn only(subject: &Subject<'_>, kind: Does) -> bool {
    let all: Vec<Does> = commands(subject).map(does).collect();
    let is_kind = |one: &Does| *one == kind || *one == Does::Look;
    all.iter().all(is_kind) && all.contains(&kind)
}

pub(super) fn installs(subject: &Subject<'_>) -> bool {
    commands(subject).any(is_install)
}

pattern!(
    CHECKER,
    r"^(?:pytest|py\.test|tox|nox|nose2?|nosetests|ctest|jest|mocha|vitest|rspec|phpunit|mypy|pyright|flake8|pylint|ruff|black|eslint|tsc|shellcheck|hadolint|jsonlint|yamllint|unittest|py_compile|compileall|doctest|bats|golangci-lint)$"
);
pattern!(
    CHECK_SCRIPT,
    r"(?i)(?:^|[/_.-])(?:run_?)?(?:tests?|check|verify|validate|lint)(?:[_.-]\w*)*\.(?:py|sh|js|ts|rb|pl)$|(?:^|/)test_\w+\.\w+$|(?:^|/)(?:reproduce|repro)\w*\.\w+$"
);
pattern!(
    CHECK_CODE,
    r"\bast\.parse\(|\bpy_compile\b|\bcompileall\b|\bunittest\.main\(|\bpytest\.main\(|\bjson\.tool\b"
);
pattern!(
    NEVER_RAN,
    r"(?m): (?:command )?not found|No module named|unrecognized arguments|file or directory not found|no tests ran|can't open file|syntax error|unexpected EOF|^usage: "
);

/// Whether a failed call ran tests or a checker that did its work.
pub(super) fn ran_a_check(subject: &Subject<'_>) -> bool {
    let checks = |command: &Command| {
        let program = command.python_module().unwrap_or_else(|| command.program());
        let first = command.subcommand();
        CHECKER.is_match(program)
            || CHECK_SCRIPT.is_match(program)
            || (command.is_python() && CHECK_SCRIPT.is_match(first))
            || matches!(
                (program, first),
                (
                    "cargo" | "go" | "npm" | "yarn" | "pnpm" | "make" | "mvn" | "gradle" | "dotnet",
                    "test" | "check" | "vet" | "clippy" | "lint"
                )
            )
            || (program == "nginx" && command.has_option(&["-t"]))
            || (program == "sshd" && command.has_option(&["-t"]))
    };
    let is_check = commands(subject).any(checks)
        || (subject.kind() == Kind::Shell && subject.python().iter().any(|code| CHECK_CODE.is_match(code)));
    let has_run = || !NEVER_RAN.is_match(subject.result()) || CHECK_CODE.is_match(subject.inner());
    is_check && has_run()
}

const SEARCHES: &[&str] = &[
    "grep", "egrep", "fgrep", "rg", "ag", "find", "fd", "which", "whereis", "type", "test", "[", "[[", "diff", "cmp",
    "pgrep", "command", "getent", "locate",
];

/// Whether the last command of a call that looks came back with nothing but an exit code.
pub(super) fn searched_in_vain(subject: &Subject<'_>) -> bool {
    if subject.kind() != Kind::Shell || subject.error() != "exit_code" {
        return false;
    }
    let all: Vec<&Command> = commands(subject).collect();
    let searches = all.iter().any(|c| SEARCHES.contains(&c.program()));
    let ends_in_search = all
        .iter()
        .rev()
        .find(|c| !["head", "tail", "cat", "sort", "wc", "sed", "awk"].contains(&c.program()))
        .is_some_and(|c| SEARCHES.contains(&c.program()));
    (ends_in_search || searches && all.iter().all(|c| does(c) == Does::Look)) && !complains(subject)
}

/// Whether a result holds a complaint of one of its programs (`grep: ...`).
pub(super) fn complains(subject: &Subject<'_>) -> bool {
    let result = subject.result();
    let names = |program: &str| {
        result
            .match_indices(&format!("{program}: "))
            .any(|(at, _)| !result[..at].ends_with(|c: char| c.is_alphanumeric() || c == '/'))
    };
    let programs: BTreeSet<&str> = subject.script().commands.iter().map(Command::program).collect();
    programs.into_iter().any(|program| !["", "echo", "printf"].contains(&program) && names(program))
}

/// What its searches look for: the first argument of grep and the like that is not an option.
pub(super) fn patterns<'s>(subject: &'s Subject<'_>) -> Vec<&'s str> {
    let searches = commands(subject)
        .filter(|c| ["grep", "egrep", "fgrep", "rg", "ag"].contains(&c.program()) && c.join != Join::Pipe);
    searches.filter_map(|c| c.arguments().iter().find(|word| !word.starts_with('-'))).map(String::as_str).collect()
}

/// Whether a program is one that shows what is there.
pub(super) fn is_looking(program: &str) -> bool {
    LOOKING.binary_search(&program).is_ok()
}

/// Whether an error of the command would not be seen in the exit code of the whole.
pub(super) fn hides_exit_code(subject: &Subject<'_>) -> bool {
    let commands = &subject.script().commands;
    commands.iter().skip(1).any(|command| match command.join {
        Join::Pipe => does(command) == Does::Look,
        Join::Or => ["true", ":", "echo", "cat"].contains(&command.program()),
        Join::And | Join::Then => false,
    }) || commands
        .last()
        .is_some_and(|last| commands.len() > 1 && last.join == Join::Then && ["echo", "true"].contains(&last.program()))
}

/// What the missing programs were to work on: their arguments that are no options, by the part after the last slash.
pub(super) fn targets_of(subject: &Subject<'_>, missing: &BTreeSet<String>) -> BTreeSet<String> {
    let commands = subject.script().commands.iter().filter(|c| missing.contains(c.program()));
    let words = commands.flat_map(|c| c.arguments()).filter(|w| w.contains(['/', '.']) && !w.starts_with('-'));
    words.map(|w| crate::shell::base_name(w.trim_end_matches('/')).to_owned()).collect()
}

/// Whether two command lines share a program that does the work; of those that only look, any program.
pub(super) fn shares_its_work(failed: &Subject<'_>, later: &Subject<'_>) -> bool {
    let names = |subject: &Subject<'_>| -> BTreeSet<String> {
        let name = |c: &Command| match c.arguments().first() {
            // An interpreter's work is its script.
            Some(script) if is_interpreter(c) && script.contains('.') => crate::shell::base_name(script).to_owned(),
            _ => c
                .python_module()
                .unwrap_or_else(|| c.program())
                .trim_end_matches(|x: char| x.is_ascii_digit() || x == '.')
                .to_owned(),
        };
        let working: BTreeSet<String> = commands(subject).filter(|c| does(c) != Does::Look).map(name).collect();
        if working.is_empty() { commands(subject).map(name).collect() } else { working }
    };
    names(failed).intersection(&names(later)).next().is_some()
}

fn is_interpreter(command: &Command) -> bool {
    command.is_python() || ["bash", "sh", "node", "ruby", "perl", "php", "Rscript"].contains(&command.program())
}

/// Whether a call changes files or what git keeps.
pub(super) fn changes_files(subject: &Subject<'_>) -> bool {
    subject.kind() == Kind::Edit || commands(subject).any(changes)
}

fn changes(command: &Command) -> bool {
    let in_place = || command.arguments().iter().any(|word| word.starts_with("-i") || word == "--in-place");
    match command.program() {
        "sed" | "perl" => in_place(),
        "git" => ["checkout", "restore", "apply", "reset", "stash", "revert", "clean", "merge"]
            .contains(&command.subcommand()),
        "patch" | "cp" | "mv" | "rm" | "mkdir" | "chmod" | "chown" | "kill" | "pkill" | "killall" => true,
        "cat" | "tee" | "echo" | "printf" => command.written().next().is_some() || command.program() == "tee",
        _ => false,
    }
}

/// Whether the later line holds the failed one's last working command word for word, after a change that the failed line did
/// not make.
pub(super) fn repeats_behind_a_change(failed: &Subject<'_>, later: &Subject<'_>) -> bool {
    let Some(work) = commands(failed).filter(|c| does(c) == Does::Work && !changes(c)).last() else { return false };
    let same = |c: &Command| c.words == work.words && c.document() == work.document();
    let later_commands: Vec<&Command> = commands(later).collect();
    let Some(at) = later_commands.iter().position(|c| same(c)) else { return false };
    let old: Vec<&Command> = commands(failed).collect();
    later_commands[..at]
        .iter()
        .any(|c| changes(c) && !old.iter().any(|o| o.words == c.words && o.document() == c.document()))
}

pattern!(REFUSED, r"(?i)syntax error|unexpected EOF|command not found|here-document|SyntaxError|IndentationError");

/// Whether a failed command never came to do its work.
pub(super) fn is_refused(subject: &Subject<'_>) -> bool {
    REFUSED.is_match(subject.result())
}
