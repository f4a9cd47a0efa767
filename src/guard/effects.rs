//! Side effects of a failed call: whether it may have changed something before it failed.
//!
//! Owns what programs, Python and tools change, and how far a command line got. What the later call does again counts as
//! not lost. It is honest: `unknown` where nothing tells, for scripts, programs that are not listed, and foreign shells.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::changes::{self, Change};
pub use crate::decision::SideEffects;
use crate::intent::{Kind, Subject, base_of};
use crate::pattern::pattern;
use crate::shell::{Command, Join};

/// Of one failed call; `again`: the calls that take its place, whose own changes are not lost.
pub fn of_call(failed: &Subject<'_>, again: &[Subject<'_>]) -> SideEffects {
    let error = failed.error();
    if ["unknown_tool", "invalid_arguments", "invalid_format"].contains(&error) || failed.is_unknown_tool() {
        return SideEffects::No;
    }
    // Of what stands between the two ends nobody knows.
    let is_open = matches!(failed.kind(), Kind::Python | Kind::Shell | Kind::Sql) && failed.is_cut();
    let of_the_rest = if is_open { SideEffects::Unknown } else { SideEffects::No };
    of_what_is_read(failed, again).max(of_the_rest)
}

fn of_what_is_read(failed: &Subject<'_>, again: &[Subject<'_>]) -> SideEffects {
    let error = failed.error();
    match failed.kind() {
        Kind::Look => SideEffects::No,
        Kind::Sql => of_sql(failed.inner()),
        Kind::Edit => {
            if is_cut_off(error) {
                SideEffects::Unknown
            } else {
                SideEffects::No
            }
        }
        Kind::Python | Kind::Shell if !failed.script().commands.is_empty() => of_shell(failed, again),
        Kind::Python => of_python(failed.inner(), failed, again),
        Kind::Shell => SideEffects::Unknown,
        Kind::Other => of_tool(&failed.call.tool),
    }
}

/// Errors after which a request may have gone through.
fn is_cut_off(error: &str) -> bool {
    ["timeout", "worker_timeout", "server_error", "connection_error"].contains(&error) || error.contains("Timeout")
}

/// A tool of which only the name is known: those that read change nothing, of all others nothing is known.
fn of_tool(name: &str) -> SideEffects {
    const READING: &[&str] = &[
        "calculate",
        "calculator",
        "check",
        "compute",
        "count",
        "describe",
        "explain",
        "fetch",
        "find",
        "get",
        "is",
        "list",
        "lookup",
        "query",
        "read",
        "retrieve",
        "search",
        "show",
        "summarize",
        "translate",
        "validate",
        "view",
    ];
    let words = crate::intent::tool_words(name);
    let reads = words.iter().any(|word| READING.contains(&word.as_str()));
    if reads { SideEffects::No } else { SideEffects::Unknown }
}

/// A statement that fails is undone by the data base; of several, those before it stand.
fn of_sql(text: &str) -> SideEffects {
    let statements: Vec<&str> = text.split(';').filter(|s| !s.trim().is_empty()).collect();
    let writes = |statement: &&str| SQL_CHANGES.is_match(statement);
    match statements.as_slice() {
        [] | [_] => SideEffects::No,
        [before @ .., _] if before.iter().any(writes) => SideEffects::Yes,
        _ => SideEffects::No,
    }
}

/// Python: what stands before the line that failed.
fn of_python(code: &str, failed: &Subject<'_>, again: &[Subject<'_>]) -> SideEffects {
    let error = failed.error();
    // A syntax error that names the code itself: none of it ran.
    if ["SyntaxError", "IndentationError", "TabError"].contains(&error) && !failed.result().contains("Traceback (most")
    {
        return SideEffects::No;
    }
    let ran = match failed_line(failed.result()) {
        Some(line) => Cow::Owned(code.lines().take(line).collect::<Vec<_>>().join("\n")),
        None => Cow::Borrowed(code),
    };
    let changed = ran.lines().filter(|line| PYTHON_CHANGES.is_match(line));
    let is_repeated = |line: &str| {
        !SENT.is_match(line) && again.iter().any(|s| s.inner().contains(line.trim()) || writes_the_same(line, s))
    };
    if changed.clone().any(|line| !is_repeated(line)) {
        SideEffects::Yes
    } else if IMPORTED.captures_iter(&ran).any(|c| QUIET_MODULES.binary_search(&&c[1]).is_err())
        || PYTHON_DOUBT.is_match(&ran)
    {
        SideEffects::Unknown
    } else {
        SideEffects::No
    }
}

/// Whether a line opens a file for writing that a later call writes as well.
fn writes_the_same(line: &str, later: &Subject<'_>) -> bool {
    let written = later.written();
    let quoted = QUOTED.captures_iter(line).map(|c| base_of(&c[1]).to_owned());
    // `open(path, 'w')`: which file it is stands elsewhere; what the later call writes is taken for it.
    let mut named = quoted.filter(|name| name.contains('.')).peekable();
    if named.peek().is_none() {
        !written.is_empty() && line.contains("open(")
    } else {
        named.all(|name| written.contains(&name))
    }
}

/// The line of the code itself at which a traceback starts.
fn failed_line(result: &str) -> Option<usize> {
    let found = OWN_LINE.captures(result)?;
    (1..4).find_map(|k| found.get(k))?.as_str().parse().ok()
}

/// A command line: what ran of it, and what that changes.
fn of_shell(failed: &Subject<'_>, again: &[Subject<'_>]) -> SideEffects {
    let script = failed.script();
    let stop = stopped_at(failed);
    let mut found = SideEffects::No;
    let mut is_cut = false;
    let repeated: BTreeSet<String> = again.iter().flat_map(Subject::written).collect();
    for (k, command) in script.commands.iter().enumerate() {
        match (stop, command.join) {
            (Some(at), _) if k <= at => {}
            (Some(_), Join::Then) if script.stops_at_error => break,
            (Some(_), Join::Then) => is_cut = false,
            (Some(at), Join::And) if k == at + 1 => is_cut = true,
            (Some(_), Join::Or) => is_cut = false,
            _ => {}
        }
        if is_cut {
            continue;
        }
        let is_same = |c: &Command| c.words == command.words && c.document() == command.document();
        let is_again = changes::is_repeatable(command) && again.iter().any(|s| s.script().commands.iter().any(is_same));
        let of_one =
            if is_again { SideEffects::No } else { of_command(command, failed, again, stop == Some(k), &repeated) };
        found = found.max(of_one);
    }
    // How much of it ran before the shell gave up, or which program is missing, is not seen.
    let is_broken = SYNTAX_ERROR.is_match(failed.result()) && failed.python().is_empty();
    let is_missing = NOT_FOUND_CODE.is_match(failed.result()) && failed.missing_programs().is_empty();
    if is_broken || is_missing { found.min(SideEffects::Unknown) } else { found }
}

fn of_command(
    command: &Command,
    failed: &Subject<'_>,
    again: &[Subject<'_>],
    is_culprit: bool,
    repeated: &BTreeSet<String>,
) -> SideEffects {
    let is_lost = |path: &str| !repeated.contains(base_of(path));
    let redirects = match (command.written().any(is_lost), is_culprit) {
        (false, _) => SideEffects::No,
        (true, true) => SideEffects::Unknown,
        (true, false) => SideEffects::Yes,
    };
    if is_culprit
        && failed.missing_programs().iter().any(|name| name == command.program() || command.wrappers.contains(name))
    {
        return redirects;
    }
    let own = match command.python_code() {
        Some(code) => of_python(code, failed, again),
        None => match changes::of(command) {
            Change::Nothing => SideEffects::No,
            // A program that refuses has mostly done nothing, but nobody knows.
            Change::Something if is_culprit => SideEffects::Unknown,
            Change::Something
                if command.written().next().is_some() && !command.written().any(is_lost) && !command.is_background =>
            {
                SideEffects::No
            }
            Change::Something => SideEffects::Yes,
            Change::Unknown => SideEffects::Unknown,
        },
    };
    let started = if command.is_background && !is_culprit { SideEffects::Yes } else { SideEffects::No };
    own.max(redirects).max(started)
}

/// The command at which a line failed, if the result tells; else the last one.
fn stopped_at(failed: &Subject<'_>) -> Option<usize> {
    let commands = &failed.script().commands;
    let result = failed.result();
    let missing = failed.missing_programs();
    let is_missing = |c: &Command| missing.iter().any(|name| name == c.program() || c.wrappers.contains(name));
    if let Some(at) = commands.iter().position(is_missing) {
        return Some(at);
    }
    let error = failed.error();
    if is_cut_off(error) {
        return None;
    }
    let complains =
        |c: &Command| c.program().len() > 1 && c.program() != "echo" && result.contains(&format!("{}: ", c.program()));
    // Package managers complain under other names than their own.
    let is_apt = |c: &Command| ["apt", "apt-get"].contains(&c.program()) && c.has_option(&["install"]);
    if result.lines().any(|line| line.starts_with("E: "))
        && let Some(at) = commands.iter().position(is_apt)
    {
        return Some(at);
    }
    if result.contains("Traceback (most")
        && let Some(at) = commands.iter().position(Command::is_python)
    {
        return Some(at);
    }
    commands.iter().position(complains).or_else(|| commands.len().checked_sub(1))
}

pattern!(
    SQL_CHANGES,
    r"(?i)^\s*(?:insert|update|delete|create|drop|alter|truncate|replace|merge|grant|revoke|commit|call|copy|load|set)\b"
);
pattern!(SYNTAX_ERROR, r"syntax error|unexpected EOF|unexpected end of file");
pattern!(NOT_FOUND_CODE, r#"(?i)exit[ _]?code"?(?: is)?[ :=]+127\b"#);
pattern!(
    OWN_LINE,
    r#"File "<(?:stdin|string|ipython-input[^>]*|cell[^>]*)>", line (\d+), in <(?:module|cell line: \d+)>|Cell In\[\d+\], line (\d+)\n|(?m)^-+> (\d+) "#
);
pattern!(QUOTED, r#"['"]([^'"\n]{1,300})['"]"#);
pattern!(
    PYTHON_CHANGES,
    r#"(?x)
    \bopen\([^)\n]*,\s*(?:mode\s*=\s*)?['"][wax+] | \.write_(?:text|bytes)\( | \bos\.(?:remove|unlink|rename|replace|mkdir|makedirs|rmdir|removedirs|chmod|chown|symlink|link|kill|system|popen|exec\w*|truncate)\(
    | \bshutil\.\w+\( | \bsubprocess\.\w+\( | \.(?:unlink|rmdir|touch|symlink_to|rename)\( | \.mkdir\(
    | \brequests\.(?:post|put|delete|patch)\( | \b(?:client|session|http\w*)\.(?:post|put|delete|patch)\(
    | \.to_(?:csv|json|parquet|excel|pickle|sql|feather|hdf)\(\s*[^)\s] | \.savefig\( | \.save(?:_\w+)?\(\s*[^)\s] | \bnp\.save\w*\( | \b(?:json|pickle|joblib|yaml)\.dump\(
    | \.(?:commit|executescript)\( | \bexecute(?:many)?\(\s*['"f]+\s*(?i:insert|update|delete|create|drop|alter)
    | \.send(?:all|line|mail|_message)?\( | ^\s*[!%]\s*(?:pip|apt|conda|rm|mv|cp|mkdir|wget|git) | \bpip\b.*\binstall\b | \bextract(?:all)?\(
    "#
);
pattern!(SENT, r"\.(?:post|put|patch|delete|send\w*|commit)\(");
pattern!(PYTHON_DOUBT, r"\b(?:exec|eval|__import__|importlib|ctypes|socket|urlopen|connect|Popen|Process|Thread)\b");
pattern!(IMPORTED, r"(?m)^\s*(?:from|import)\s+(\w+)");

/// Modules that compute and change nothing outside by themselves.
const QUIET_MODULES: &[&str] = &[
    "PIL",
    "__future__",
    "abc",
    "argparse",
    "ast",
    "base64",
    "binascii",
    "bisect",
    "calendar",
    "cmath",
    "collections",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "glob",
    "hashlib",
    "heapq",
    "inspect",
    "io",
    "itertools",
    "json",
    "math",
    "matplotlib",
    "mpmath",
    "networkx",
    "numpy",
    "operator",
    "os",
    "pandas",
    "pathlib",
    "pprint",
    "queue",
    "random",
    "re",
    "scipy",
    "seaborn",
    "shutil",
    "sklearn",
    "statistics",
    "statsmodels",
    "string",
    "struct",
    "subprocess",
    "sympy",
    "sys",
    "textwrap",
    "time",
    "traceback",
    "typing",
    "unicodedata",
    "uuid",
    "warnings",
    "zlib",
];

#[cfg(test)]
mod tests;
