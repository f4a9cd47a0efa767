//! Shells: their own words, those of the programs that they start, compilers, exit statuses.

use std::borrow::Cow;

use super::code;
use super::rule::{Find, Gives, Harness, Rule, example};
use crate::pattern::pattern;
use crate::verdict::asked::Asked;
use crate::verdict::evidence::Evidence;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "shell.own-words",
        harness: Harness::Shell,
        reason: "the shell says that it could not run the command",
        find: Find::Error(own_words),
        gives: Gives::Named("shell_error"),
        decides: example("bash", r#"{"command": "foo"}"#, "bash: line 1: foo: command not found"),
        spares: example(
            "bash",
            r#"{"command": "ls"}"#,
            "bash: cannot set terminal process group (-1): Inappropriate ioctl for device\nbash: no job control in this shell\na.py\nb.py",
        ),
    },
    Rule {
        name: "shell.program",
        harness: Harness::Shell,
        reason: "`program: complaint`, as programs of a Unix system write it",
        find: Find::Error(program),
        gives: Gives::Named("shell_error"),
        decides: example("bash", r#"{"command": "ls /x"}"#, "ls: cannot access '/x': No such file or directory"),
        spares: example("bash", r#"{"command": "tar czf a.tgz /x"}"#, "tar: Removing leading `/' from member names"),
    },
    Rule {
        name: "shell.usage",
        harness: Harness::Shell,
        reason: "a program that was called wrongly shows how it wants to be called",
        find: Find::Error(usage),
        gives: Gives::Error("usage_error"),
        decides: example("bash", r#"{"command": "tool"}"#, "usage: tool [-o OUT] input"),
        spares: example("bash", r#"{"command": "tool --help"}"#, "usage: tool [-o OUT] input"),
    },
    Rule {
        name: "shell.compiler",
        harness: Harness::Shell,
        reason: "the first lines are a compiler's, a linker's or a package manager's errors",
        find: Find::Error(compiler),
        gives: Gives::Error("compile_error"),
        decides: example(
            "bash",
            r#"{"command": "cargo build"}"#,
            "error[E0382]: borrow of moved value: `x`\n --> src/main.rs:4:20",
        ),
        spares: example(
            "bash",
            r#"{"command": "grep -n error build.log"}"#,
            "12:main.c:3:5: error: expected ';'\n40:make: *** [all] Error 2",
        ),
    },
    Rule {
        name: "shell.exit-status",
        harness: Harness::Shell,
        reason: "the exit status is not 0, and nothing says more",
        find: Find::Elsewhere,
        gives: Gives::Error("exit_code"),
        decides: example("execute_bash", r#"{"command": "false"}"#, "[The command completed with exit code 1.]"),
        spares: example("bash", r#"{"command": "cat deploy.sh"}"#, "set -e\ncp a b\nexit 3"),
    },
];

pattern!(
    ITSELF,
    r"^(?:/\S*/)?(?:ba|z|da|k|a)?sh: |^zsh:\d+: |(?:^|: )-c: line \d+: |^\S+: \d+: (?:Syntax error|\S+: (?:not found|Permission denied))|^(?:-?bash|source|eval|\./\S+|/\S+\.sh): line \d+: |^'.{1,200}' is not recognized as an internal or external command"
);
pattern!(
    PROGRAM_LINE,
    r"^(?:/(?:usr/)?(?:local/)?s?bin/)?([A-Za-z_][\w.+-]*|\[): (?:.*: )?(?:\(\d+\) )?(?i:\*\*\* .*|no such file or directory|permission denied|command not found|is a directory|not a directory|file exists|directory not empty|operation not permitted|invalid option.*|unrecognized option.*|illegal option.*|unknown (?:option|predicate|command).*|option requires an argument.*|missing (?:operand|argument|destination).*|extra operand.*|too many arguments.*|invalid argument.*|cannot .*|can't .*|could not .*|couldn't .*|unable to .*|failed to .*|not recognized.*|syntax error.*|unexpected .*|unterminated.*|bad .*|invalid .*|illegal .*|paths must precede.*|only one instance.*|missing .*|error: .*|fatal: .*|target .*|possible .*|runaway .*|read error.*|no file systems.*|.*same file|unknown .*|expected .*|not in gzip.*|exiting with failure.*|this does not look like.*)$"
);
pattern!(NO_SUCH_COMMAND, r"(?i)command not found|: not found$|is not recognized as an internal");
pattern!(USAGE, r"^(?i:usage): \S+|^Try '.+ --help' for more information");
/// What tools that show files are made of.
const VIEWERS: &[&str] = &["cat", "sed", "head", "tail", "nl", "ls", "find", "grep", "rg"];
pattern!(
    /// Warnings of programs that went on.
    HARMLESS,
    r"Removing leading|already has \.gz suffix|[Ww]arning:|WARN"
);

fn is_harmless(line: &str) -> bool {
    HARMLESS.is_match(line)
}

/// The first line that tells something, and the last one.
fn telling<'e>(evidence: &Evidence<'e>) -> impl Iterator<Item = &'e str> {
    let first = evidence.head().find(|line| !is_harmless(line));
    first.into_iter().chain(evidence.last)
}

fn own_words(evidence: &Evidence<'_>) -> Option<Cow<'static, str>> {
    let line = telling(evidence).find(|line| ITSELF.is_match(line) && !evidence.asked.spells(line))?;
    Some(Cow::Borrowed(type_of(line)))
}

fn is_complaint(line: &str, asked: &Asked<'_>) -> bool {
    // Whether it matches is found much sooner than where.
    let Some(found) = PROGRAM_LINE.is_match(line).then(|| PROGRAM_LINE.captures(line)).flatten() else { return false };
    // A program that the call never named did not run: its message was read from somewhere. But a tool that shows files
    // runs programs of its own.
    let program = &found[1];
    let ran = || asked.arguments().contains(program) || (asked.is_reading_tool() && VIEWERS.contains(&program));
    !is_harmless(line) && !asked.spells(line) && (!asked.reads() || ran())
}

fn program(evidence: &Evidence<'_>) -> Option<Cow<'static, str>> {
    // `Error: not found` is a tool's message: no program is called so.
    let is_program = |line: &&str| line.contains(": ") && !line.starts_with("Error:") && !line.starts_with("error:");
    let line = telling(evidence).filter(is_program).find(|line| is_complaint(line, evidence.asked))?;
    Some(Cow::Borrowed(type_of(line)))
}

fn usage(evidence: &Evidence<'_>) -> Option<Cow<'static, str>> {
    let (first, asked) = (evidence.first?, evidence.asked);
    let is_asked_for = || asked.arguments().contains("help") || asked.arguments().contains("-h");
    let usage = USAGE.is_match(first) && !asked.reads() && !is_asked_for();
    usage.then_some(Cow::Borrowed("usage_error"))
}

fn type_of(line: &str) -> &'static str {
    let has = |text: &str| line.contains(text);
    if NO_SUCH_COMMAND.is_match(line) {
        "command_not_found"
    } else if has("No such file or directory") {
        "no_such_file"
    } else if has("ermission denied") || has("not permitted") {
        "permission_denied"
    } else if has("syntax error") || has("unexpected EOF") || has("unexpected end") {
        "shell_syntax_error"
    } else if has("option") || has("operand") || has("argument") {
        "usage_error"
    } else if has("imed out") {
        "timeout"
    } else {
        "shell_error"
    }
}

pattern!(
    COMPILER,
    r"^(?:error\[E\d+\]: |\S+:\d+(?::\d+)?: (?:fatal )?(?:error|undefined reference)\b|\S+\.java:\d+: error:|\S+\(\d+,\d+\): error |(?:\./)?\S+\.go:\d+:\d+: |# command-line-arguments|npm ERR!|npm error|.*error TS\d+:|thread '.*' panicked at|panic: |fatal error: |error: subprocess-exited-with-error|ERROR: (?:Could not|Failed|No matching|Cannot)|E: )"
);

pattern!(
    /// Every wording of [`COMPILER`] has one of them.
    COMPILER_WORD,
    r"error|undefined reference|\.go:|# command-line-arguments|npm ERR!|panic|ERROR: |E: "
);

fn compiler(evidence: &Evidence<'_>) -> Option<Cow<'static, str>> {
    let line = evidence.head().take(3).find(|line| COMPILER_WORD.is_match(line) && COMPILER.is_match(line))?;
    (!evidence.asked.reads() && !evidence.asked.spells(line)).then_some(Cow::Borrowed(if line.contains("panic") {
        "panic"
    } else {
        "compile_error"
    }))
}

/// Lines of an output that is nothing but an error's message.
const MESSAGE_LINES: usize = 3;

/// Whether all that came out of a command whose status says nothing is a failure's message: a few lines of it, or a traceback
/// that ends the output.
pub(super) fn is_nothing_but_errors(evidence: &Evidence<'_>) -> bool {
    let asked = evidence.asked;
    if evidence.is_silent() || asked.is_reading_tool() {
        return false;
    }
    let is_error = |line: &str| ITSELF.is_match(line) || is_complaint(line, asked) || (evidence.table.is_told)(line);
    if evidence.is_within(MESSAGE_LINES) && evidence.head().all(is_error) {
        return !evidence.head().any(|line| asked.spells(line));
    }
    code::has_traceback(evidence.text) && evidence.last.is_some_and(code::is_exception_line)
}
