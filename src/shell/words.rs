//! What stands around a program: assignments, wrappers, shells that are given a script.
//!
//! Owns the lists of such programs and of their options that take a value.

/// A wrapper, and its options that are followed by a value.
struct Wrapper {
    name: &'static str,
    with_value: &'static [&'static str],
    /// Words of its own before the program (`timeout 5`).
    operands: usize,
}

const fn wrapper(name: &'static str, with_value: &'static [&'static str], operands: usize) -> Wrapper {
    Wrapper { name, with_value, operands }
}

const WRAPPERS: &[Wrapper] = &[
    wrapper("sudo", &["-u", "-g", "-p", "-C", "-h", "--user", "--group"], 0),
    wrapper("doas", &["-u", "-C"], 0),
    wrapper("timeout", &["-s", "-k", "--signal", "--kill-after"], 1),
    wrapper("gtimeout", &["-s", "-k"], 1),
    wrapper("env", &["-u", "-C", "-S", "--unset", "--chdir"], 0),
    wrapper("nice", &["-n", "--adjustment"], 0),
    wrapper("ionice", &["-c", "-n", "-p"], 0),
    wrapper("nohup", &[], 0),
    wrapper("setsid", &[], 0),
    wrapper("stdbuf", &["-i", "-o", "-e"], 0),
    wrapper("unbuffer", &[], 0),
    wrapper("time", &["-f", "-o"], 0),
    wrapper("exec", &["-a"], 0),
    wrapper("command", &[], 0),
    wrapper("builtin", &[], 0),
    wrapper("eatmydata", &[], 0),
    wrapper("xvfb-run", &["-n", "-s", "-e"], 0),
    wrapper("runuser", &["-u", "-g"], 0),
    wrapper("gosu", &[], 1),
    wrapper("chroot", &[], 1),
    wrapper("taskset", &["-c"], 0),
    wrapper("xargs", &["-I", "-n", "-P", "-d", "-L", "-s", "-a", "-E"], 0),
    wrapper("watch", &["-n", "--interval"], 0),
];

const SHELLS: &[&str] = &["bash", "sh", "zsh", "dash", "ash", "ksh", "busybox"];

/// The name after the last slash.
pub fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The name of `NAME=value`.
pub(super) fn assigned_name(word: &str) -> Option<&str> {
    let (name, _) = word.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_numeric());
    (is_name && !name.is_empty()).then_some(name)
}

/// Takes wrappers and assignments off the front, and gives back the wrappers.
pub(super) fn unwrap(words: &mut Vec<String>) -> Vec<String> {
    let mut wrappers = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if assigned_name(word).is_some() {
            at += 1;
            continue;
        }
        let Some(wrapper) = WRAPPERS.iter().find(|w| w.name == base_name(word)) else { break };
        let inner = behind(wrapper, words, at);
        // `command -v git`, `exec 3<>file`, a bare `env`: nothing is wrapped.
        if inner >= words.len() || (wrapper.name == "command" && words[at + 1].starts_with("-v")) {
            break;
        }
        wrappers.push(wrapper.name.to_owned());
        at = inner;
    }
    words.drain(..at);
    wrappers
}

/// Where the wrapped program stands.
fn behind(wrapper: &Wrapper, words: &[String], at: usize) -> usize {
    let mut next = at + 1;
    let mut operands = wrapper.operands;
    while let Some(word) = words.get(next) {
        if word == "--" {
            next += 1;
            break;
        } else if wrapper.with_value.contains(&word.as_str()) {
            next += 2;
        } else if word.starts_with('-') && word.len() > 1 || assigned_name(word).is_some() {
            next += 1;
        } else if operands > 0 {
            operands -= 1;
            next += 1;
        } else {
            break;
        }
    }
    next
}

/// The script that a shell is given: `bash -lc SCRIPT`, `su user -c SCRIPT`, `eval SCRIPT`.
pub(super) fn inner_script(words: &[String]) -> Option<&str> {
    let program = base_name(words.first()?);
    if program == "eval" {
        return words.get(1).map(String::as_str).filter(|_| words.len() == 2);
    }
    let is_shell = SHELLS.contains(&program);
    if !is_shell && program != "su" {
        return None;
    }
    let at = words.iter().skip(1).position(|word| match is_shell {
        // The options of a shell may be one word (`-lc`); after its first operand they are the script's.
        true => word.starts_with('-') && !word.starts_with("--") && word.ends_with('c'),
        false => word == "-c" || word == "--command",
    })? + 1;
    let is_before_operands = !is_shell || words[1..at].iter().all(|word| word.starts_with('-'));
    words.get(at + 1).map(String::as_str).filter(|_| is_before_operands)
}

/// `set -e`, `set -euo pipefail`.
pub(super) fn sets_errexit(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "set")
        && words[1..].iter().any(|word| word == "errexit" || (word.starts_with('-') && word.contains('e')))
}
