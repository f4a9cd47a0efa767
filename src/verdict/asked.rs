//! What a call asked for, as far as it tells reported text from the harness's own words.
//!
//! Owns the reading of a call's tool and arguments: the shell command in it, whether it only shows what is there already,
//! whether its exit status is its own. Most results show no sign of an error, so all of it is read on demand.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use serde_json::Value;

use crate::pattern::pattern;
use crate::rollout::Message;
use crate::shell::{self, Command, Join, Script};

/// The tool and the arguments of a call; of a batch that one result answers, all arguments.
pub struct Asked<'a> {
    name: &'a str,
    arguments: Cow<'a, str>,
    command: OnceCell<Option<String>>,
    script: OnceCell<Script>,
    reads: OnceCell<bool>,
    may_read: OnceCell<bool>,
}

/// Commands of a script that ends at the first failure, of which one may be told to have ended it.
const MAX_DECIDING: usize = 6;
/// Commands longer than this are not read: their verdict rests on the result alone.
const LONGEST_COMMAND: usize = 256 * 1024;

pattern!(READING_TOOL, r"(?i)(^|_|\b)(read|view|cat|show|search|grep|browse|fetch|log|logs|tail|head|list|ls)(_|\b|$)");
pattern!(FILE_ARGUMENT, r#"(?i)"(?:file|path|file_?path|file_?name|uri|url)"\s*:"#);
pattern!(EDITING_TOOL, r"(?i)edit|replace");
pattern!(
    SHELL_TOOL,
    r"(?i)(^|[_\-.])z?sh($|[_\-.])|bash|shell|terminal|console|command|cmd|(^|[_\-.])(exec|execute|run|cli)$"
);
pattern!(CODE_TOOL, r"(?i)python|jupyter|notebook|code|sql|query|javascript");
pattern!(
    READING_COMMAND,
    r#"(?m)(^|[\n;&|("'`]|\\n)\s*(sudo )?(cat|ls|find|tree|head|tail|less|more|grep|egrep|fgrep|zgrep|rg|ag|sed|awk|nl|zcat|bat|strings|journalctl|dmesg|git (log|show|diff|grep|blame)|docker logs|kubectl logs|view|open|scroll_down|scroll_up|goto|search_file|search_dir)(\s|$)"#
);
pattern!(
    pub(super) RUNNING_COMMAND,
    r#"(?m)(^|[\n;&|("'`]|\\n)\s*(sudo |time |timeout \S+ )*(python[\d.]*|ipython|node|deno|bun|npm|npx|yarn|make|cargo|go|gcc|g\+\+|clang|cc|java|javac|mvn|gradle|ruby|perl|php|pytest|tox|pip3?|bash|sh|\./\S+|docker run|psql|mysql|sqlite3)\b"#
);
pattern!(
    READING_CODE,
    r"\bopen\(|\.read\(|\.read_text\(|\.readlines\(|readFile|File\.read|print_exc|format_exc|format_tb|print_tb"
);
pattern!(HANDLING_CODE, r"print_exc|format_exc|logging\.exception|logger\.exception|print_exception|traceback\.print");

impl<'a> Asked<'a> {
    /// The calls of a message that one result answers.
    pub fn of(message: &Message<'a>, calls: &Range<usize>) -> Self {
        let in_text = || message.inline_call().and_then(|at| Some(&message.content?[at..])).unwrap_or_default();
        match message.calls.get(calls.clone()) {
            Some([call]) => Asked::new(call.name, Cow::Borrowed(call.arguments)),
            Some([first, rest @ ..]) => {
                let all = rest.iter().fold(first.arguments.to_owned(), |all, call| all + "\n" + call.arguments);
                Asked::new(first.name, Cow::Owned(all))
            }
            Some([]) | None => Asked::new("", Cow::Borrowed(in_text())),
        }
    }

    /// Of a result that answers no call.
    pub fn unknown() -> Self {
        Asked::new("", Cow::Borrowed(""))
    }

    fn new(name: &'a str, arguments: Cow<'a, str>) -> Self {
        Asked {
            name,
            arguments,
            command: OnceCell::new(),
            script: OnceCell::new(),
            reads: OnceCell::new(),
            may_read: OnceCell::new(),
        }
    }

    pub(super) fn tool(&self) -> &str {
        self.name
    }

    pub(super) fn arguments(&self) -> &str {
        &self.arguments
    }

    /// The tool itself shows what is there already: a file, a page, a search.
    pub(super) fn is_reading_tool(&self) -> bool {
        let views = || self.arguments.contains("\"view\"");
        READING_TOOL.is_match(self.name) || (EDITING_TOOL.is_match(self.name) && views())
    }

    /// It shows text that exists already and does nothing else: a file, a log, a search.
    pub(super) fn reads(&self) -> bool {
        *self.reads.get_or_init(|| {
            let script = || &self.script().commands;
            self.is_reading_tool()
                || match self.command() {
                    Some(_) => {
                        script().iter().any(only_reads) && script().iter().all(|c| only_reads(c) || goes_along(c))
                    }
                    None => READING_COMMAND.is_match(&self.arguments) && !RUNNING_COMMAND.is_match(&self.arguments),
                }
        })
    }

    /// It shows a file: what it says is as long as the file.
    pub(super) fn shows_file(&self) -> bool {
        self.reads() && (self.command().is_some() || FILE_ARGUMENT.is_match(&self.arguments))
    }

    /// Its code reads files, among other things.
    pub(super) fn may_read(&self) -> bool {
        *self.may_read.get_or_init(|| READING_CODE.is_match(&self.arguments))
    }

    /// Its code catches errors and prints them.
    pub(super) fn handles(&self) -> bool {
        HANDLING_CODE.is_match(&self.arguments)
    }

    /// Whether the call itself holds the line, and so may have printed it.
    pub(super) fn spells(&self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= 6 && self.arguments.contains(line)
    }

    /// The shell command that the call runs; `None` where the tool is no shell.
    pub(super) fn command(&self) -> Option<&str> {
        self.command.get_or_init(|| command_of(self.name, &self.arguments)).as_deref()
    }

    /// The same, read; empty where there is none.
    pub(super) fn script(&self) -> &Script {
        self.script.get_or_init(|| self.command().map(shell::read).unwrap_or_default())
    }

    /// The commands of which one gave the exit status: those after the last `;` or line break.
    pub(super) fn deciding(&self) -> &[Command] {
        let script = self.script();
        let commands = &script.commands;
        if script.stops_at_error {
            // Any of them may have ended a script of `set -e`: of a long one, nobody knows which.
            return if commands.len() > MAX_DECIDING { &[] } else { commands };
        }
        let starts = |c: &Command| c.join == Join::Then && !c.is_conditional;
        &commands[commands.iter().rposition(starts).unwrap_or(0)..]
    }

    /// Whether a failure inside the command leaves its exit status at 0: pipes, lists, `|| true`.
    pub(super) fn hides_status(&self) -> bool {
        let commands = &self.script().commands;
        let is_link = |c: &Command| matches!(c.join, Join::Pipe | Join::Or);
        commands.iter().any(is_link) || (commands.len() > self.deciding().len())
    }
}

/// Programs that show what is there.
const READERS: &[&str] = &[
    "cat",
    "ls",
    "find",
    "tree",
    "head",
    "tail",
    "less",
    "more",
    "grep",
    "egrep",
    "fgrep",
    "zgrep",
    "rg",
    "ag",
    "sed",
    "awk",
    "nl",
    "zcat",
    "bat",
    "strings",
    "journalctl",
    "dmesg",
    "view",
    "open",
    "scroll_down",
    "scroll_up",
    "goto",
    "search_file",
    "search_dir",
    "find_file",
    "man",
];
/// Programs that stand beside readers and leave no errors of their own.
const COMPANIONS: &[&str] = &[
    "cd", "echo", "printf", "true", "set", "export", "pwd", "sort", "uniq", "cut", "tr", "wc", "column", "fold", "tee",
    "xargs", "", "sleep", "clear",
];
/// What programs show when they are told to.
const READING_WORDS: &[(&str, &[&str])] =
    &[("git", &["log", "show", "diff", "grep", "blame"]), ("docker", &["logs"]), ("kubectl", &["logs"])];

fn only_reads(command: &Command) -> bool {
    let (program, told) = (command.program(), command.subcommand());
    let writes = command.written().next().is_some() || (program == "sed" && command.has_option(&["-i", "--in-place"]));
    let reads = READERS.contains(&program)
        || READING_WORDS.iter().any(|(known, words)| *known == program && words.contains(&told));
    reads && !writes
}

fn goes_along(command: &Command) -> bool {
    COMPANIONS.contains(&command.program())
}

fn command_of(tool: &str, arguments: &str) -> Option<String> {
    if arguments.len() > LONGEST_COMMAND || EDITING_TOOL.is_match(tool) {
        return None;
    }
    let is_shell = SHELL_TOOL.is_match(tool) && !CODE_TOOL.is_match(tool);
    let trimmed = arguments.trim();
    match serde_json::from_str::<Value>(trimmed) {
        Ok(Value::Object(object)) => {
            let named = ["command", "cmd", "keystrokes", "bash_command", "shell_command"];
            let loose = ["script", "code", "input", "commands"];
            let names = named.iter().chain(loose.iter().filter(|_| is_shell));
            names.filter_map(|name| object.get(*name)).find_map(text_of)
        }
        Ok(Value::String(text)) if is_shell => Some(text),
        Ok(list @ Value::Array(_)) if is_shell => text_of(&list),
        Ok(_) => None,
        Err(_) if is_shell => Some(without_tags(trimmed).to_owned()),
        Err(_) => None,
    }
}

/// A command as text, or as words.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(words) => {
            let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
            let words = words?;
            Some(match words.as_slice() {
                [_, flag, script] if flag.starts_with('-') && flag.ends_with('c') => (*script).to_owned(),
                _ => words.join(" "),
            })
        }
        _ => None,
    }
}

/// `<parameter=command>ls</parameter>`, as some harnesses write arguments.
fn without_tags(text: &str) -> &str {
    let inner = text.strip_prefix("<parameter=").and_then(|rest| rest.split_once('>')).map_or(text, |(_, inner)| inner);
    inner.split("</parameter>").next().unwrap_or(inner)
}
