//! What programs change, by their names and what they are told.
//!
//! Owns the lists. A program that is on none is unknown.

use crate::shell::Command;

/// Whether a command changes something when it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Something,
    Unknown,
}

/// When a listed program changes something.
enum When {
    Always,
    /// With one of these options, or words that start with them.
    Option(&'static [&'static str]),
    /// Except for these subcommands.
    Unless(&'static [&'static str]),
    Never,
}

use When::{Always, Never, Option, Unless};

/// Sorted by name.
const PROGRAMS: &[(&str, When)] = &[
    (".", Never),
    (":", Never),
    ("[", Never),
    ("[[", Never),
    ("apk", Unless(&["info", "search", "list"])),
    ("apt", Unless(&["list", "search", "show", "policy"])),
    ("apt-cache", Never),
    ("apt-get", Unless(&["check"])),
    ("awk", Never),
    ("base64", Never),
    ("basename", Never),
    ("brew", Unless(&["list", "info", "search"])),
    ("cat", Never),
    ("cc", Always),
    ("cd", Never),
    ("chgrp", Always),
    ("chmod", Always),
    ("chown", Always),
    ("clang", Always),
    ("cmp", Never),
    ("column", Never),
    ("comm", Never),
    ("command", Never),
    ("conda", Unless(&["list", "info", "search", "env"])),
    ("cp", Always),
    ("crontab", Always),
    (
        "curl",
        Option(&[
            "-o",
            "-O",
            "-X",
            "-d",
            "-F",
            "-T",
            "--data",
            "--request",
            "--form",
            "--output",
            "--upload-file",
            "--json",
        ]),
    ),
    ("cut", Never),
    ("date", Never),
    ("dd", Option(&["of="])),
    ("df", Never),
    ("diff", Never),
    ("dirname", Never),
    ("docker", Unless(&["ps", "images", "logs", "inspect", "version", "info"])),
    ("dpkg", Option(&["-i", "-r", "--install", "--remove", "--configure"])),
    ("du", Never),
    ("echo", Never),
    ("egrep", Never),
    ("env", Never),
    ("exit", Never),
    ("export", Never),
    ("false", Never),
    ("fgrep", Never),
    ("file", Never),
    ("find", Option(&["-delete", "-exec", "-execdir", "-fprint"])),
    ("free", Never),
    ("g++", Always),
    ("gcc", Always),
    ("getent", Never),
    (
        "git",
        Unless(&[
            "status",
            "log",
            "diff",
            "show",
            "blame",
            "grep",
            "ls-files",
            "rev-parse",
            "describe",
            "remote",
            "branch",
        ]),
    ),
    ("grep", Never),
    ("groupadd", Always),
    ("groups", Never),
    ("gunzip", Always),
    ("gzip", Always),
    ("head", Never),
    ("hexdump", Never),
    ("hostname", Never),
    ("id", Never),
    ("install", Always),
    ("iptables", Always),
    ("jobs", Never),
    ("jq", Never),
    ("kill", Always),
    ("killall", Always),
    ("kubectl", Unless(&["get", "describe", "logs", "version", "explain", "top"])),
    ("ldd", Never),
    ("less", Never),
    ("ln", Always),
    ("locate", Never),
    ("ls", Never),
    ("lscpu", Never),
    ("lsof", Never),
    ("man", Never),
    ("md5sum", Never),
    ("mkdir", Always),
    ("mkfifo", Always),
    ("mktemp", Always),
    ("more", Never),
    ("mount", Always),
    ("mv", Always),
    ("nc", Never),
    ("netstat", Never),
    ("nl", Never),
    ("nm", Never),
    ("npm", Unless(&["ls", "list", "view", "info", "search", "outdated"])),
    ("nproc", Never),
    ("objdump", Never),
    ("od", Never),
    ("passwd", Always),
    ("patch", Always),
    ("pgrep", Never),
    ("ping", Never),
    ("pip", Unless(&["show", "list", "freeze", "index", "check", "--version"])),
    ("pip3", Unless(&["show", "list", "freeze", "index", "check", "--version"])),
    ("pkill", Always),
    ("popd", Never),
    ("printenv", Never),
    ("printf", Never),
    ("ps", Never),
    ("pushd", Never),
    ("pwd", Never),
    ("readelf", Never),
    ("readlink", Never),
    ("realpath", Never),
    ("rg", Never),
    ("rm", Always),
    ("rmdir", Always),
    ("rsync", Always),
    ("scp", Always),
    ("sed", Option(&["-i", "--in-place"])),
    ("seq", Never),
    ("service", Unless(&["--status-all"])),
    ("set", Never),
    ("sha256sum", Never),
    ("shopt", Never),
    ("shred", Always),
    ("sleep", Never),
    ("sort", Option(&["-o"])),
    ("source", Never),
    ("split", Always),
    ("ss", Never),
    ("ssh-keygen", Always),
    ("stat", Never),
    ("strings", Never),
    ("systemctl", Unless(&["status", "is-active", "is-enabled", "list-units", "show", "cat"])),
    ("tail", Never),
    ("tar", Unless(&["-t", "-tf", "-tvf", "tf", "tvf", "-tzf", "-tzvf", "tzf", "-tjf"])),
    ("tee", Always),
    ("test", Never),
    ("touch", Always),
    ("tr", Never),
    ("tree", Never),
    ("true", Never),
    ("truncate", Always),
    ("type", Never),
    ("umount", Always),
    ("uname", Never),
    ("uniq", Never),
    ("unzip", Unless(&["-l", "-v", "-p", "-Z"])),
    ("uptime", Never),
    ("useradd", Always),
    ("userdel", Always),
    ("usermod", Always),
    ("wait", Never),
    ("wc", Never),
    ("wget", Unless(&["--spider"])),
    ("whereis", Never),
    ("which", Never),
    ("whoami", Never),
    ("xxd", Never),
    ("yarn", Unless(&["list", "info", "why"])),
    ("yum", Unless(&["list", "info", "search"])),
    ("zcat", Never),
    ("zip", Always),
];

/// Whether doing it once more leaves what doing it once leaves: what is sent, committed or killed twice does not.
pub(super) fn is_repeatable(command: &Command) -> bool {
    !["curl", "wget", "git", "kill", "killall", "pkill", "docker", "kubectl", "mv", "rm", "nc", "ssh", "tee"]
        .contains(&command.program())
        && !command.is_background
}

pub(super) fn of(command: &Command) -> Change {
    let changes = |does: bool| if does { Change::Something } else { Change::Nothing };
    let (program, words) = match command.python_module() {
        Some(module) => (module, command.arguments()),
        None => (command.program(), command.arguments()),
    };
    if program.is_empty() || words.iter().any(|word| word == "--help" || word == "--version") {
        return Change::Nothing;
    }
    let Ok(at) = PROGRAMS.binary_search_by(|(name, _)| (*name).cmp(program)) else { return Change::Unknown };
    match &PROGRAMS[at].1 {
        Always => Change::Something,
        Never => Change::Nothing,
        Option(options) => changes(words.iter().any(|word| options.iter().any(|option| word.starts_with(option)))),
        Unless(harmless) => changes(!words.iter().any(|word| harmless.contains(&word.as_str()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_for_its_search() {
        assert!(PROGRAMS.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn programs_are_judged_by_what_they_are_told() {
        for (text, want) in [
            ("curl -s http://h", Change::Nothing),
            ("curl -s -X POST http://h", Change::Something),
            ("git log --oneline", Change::Nothing),
            ("git checkout -- a", Change::Something),
            ("sed -n 1p a", Change::Nothing),
            ("sed -i s/a/b/ a", Change::Something),
            ("python -m pip install a", Change::Something),
            ("python -m pip show a", Change::Nothing),
            ("find . -name a", Change::Nothing),
            ("find . -delete", Change::Something),
            ("frobnicate", Change::Unknown),
            ("frobnicate --help", Change::Nothing),
        ] {
            let script = crate::shell::read(text);
            assert_eq!(of(&script.commands[0]), want, "{text}");
        }
    }
}
