//! The default detector: what a tool result says of itself, whatever harness wrote it.
//!
//! Owns the tables of texts. Evidence is taken from where harnesses put it: the first lines, the last lines, an exit
//! status, the fields of a JSON object ([`super::json`]). Text that a call read or printed on purpose is no evidence,
//! whatever it says. Every rule is bounded: a result of a megabyte costs as much as one of some pages.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::asked::{Asked, RUNNING_COMMAND};
use super::{Failure, json};

pub(super) const JUDGE_SUCCESS: &str = "Tool call success";
const JUDGE_FAILURE: &str = "Tool call failure";
const TRACEBACK: &str = "Traceback (most recent call last)";
/// Lines at either end of a result in which evidence is looked for, and their greatest extent.
const EDGE_LINES: usize = 40;
const EDGE_BYTES: usize = 8 * 1024;

/// A compiled pattern.
macro_rules! pattern {
    ($name:ident, $text:expr) => {
        pub(super) static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($text).expect("the pattern is a constant"));
    };
}
pub(super) use pattern;

/// The default detector.
pub(super) fn detect(text: &str, asked: &Asked<'_>) -> Option<Failure> {
    let text = unwrapped(text);
    if text.is_empty() || text.starts_with(JUDGE_SUCCESS) {
        return None;
    }
    if text.starts_with(JUDGE_FAILURE) {
        return Some(Failure::named(exception_anywhere(text).unwrap_or(Cow::Borrowed("tool_error"))));
    }
    if let Some(verdict) = json::verdict(text, asked, 0) {
        return verdict;
    }
    let (head, tail) = (first_lines(text), last_lines(text));
    if let Some(verdict) = exit_status(&head, &tail) {
        return verdict.map(|fallback| specific(text, &head, &tail, asked).unwrap_or(fallback));
    }
    specific(text, &head, &tail, asked)
}

/// The rules that look at the text itself, most telling first.
pub(super) fn specific(text: &str, head: &[&str], tail: &[&str], asked: &Asked<'_>) -> Option<Failure> {
    traceback(text, tail, asked)
        .or_else(|| shell(head, tail, asked))
        .or_else(|| compiler(head, asked))
        .or_else(|| announced(head, text, asked))
}

pattern!(
    WRAPPER_HEAD,
    r"^(?i:observation|output|result|execution result|tool result|tool output|stdout)s?:[ \t]*\r?\n"
);
pattern!(SHORT_WRAPPER_HEAD, r"^(?:Observation|OBSERVATION):[ \t]*");
pattern!(
    WRAPPER_TAIL,
    r"^(?:You have \d+ steps? left.*|You should take the last step.*|\(Open file: .*\)|\(Current directory: .*\)|bash-\$|\[(?:Current working directory|Python interpreter|Jupyter current working directory): .*\]|</?(?:tool_response|output|result|observation)>|```|(?:\([\w.-]+\) )?[\w.-]+@[\w.-]+:[^\n]*[#$])$"
);

/// The result without what the harness says on every turn.
pub(super) fn unwrapped(text: &str) -> &str {
    let mut text = text.trim();
    for opening in ["<tool_response>", "<output>", "<result>", "<observation>", "```output", "```"] {
        text = text.strip_prefix(opening).unwrap_or(text).trim_start();
    }
    if let Some(found) = WRAPPER_HEAD.find(text).or_else(|| SHORT_WRAPPER_HEAD.find(text)) {
        text = text[found.end()..].trim_start();
    }
    loop {
        let cut = text.rfind('\n').map_or(0, |at| at + 1);
        if text.is_empty() || !WRAPPER_TAIL.is_match(text[cut..].trim_end()) {
            return text;
        }
        text = text[..cut].trim_end();
    }
}

pub(super) fn first_lines(text: &str) -> Vec<&str> {
    let edge = &text[..text.floor_char_boundary(EDGE_BYTES)];
    edge.lines().map(|l| l.trim_end_matches('\r')).filter(|l| !l.trim().is_empty()).take(EDGE_LINES).collect()
}

/// The last lines, last one first.
pub(super) fn last_lines(text: &str) -> Vec<&str> {
    let edge = &text[text.ceil_char_boundary(text.len().saturating_sub(EDGE_BYTES))..];
    edge.lines().rev().map(|l| l.trim_end_matches('\r')).filter(|l| !l.trim().is_empty()).take(EDGE_LINES).collect()
}

pattern!(
    EXIT_STATUS,
    r"(?i)^[\W_]*(?:(?:the )?(?:command|process|program|script|shell|code|execution|task)\b.{0,80}?)?\b(?:exit(?:ed)?[ _-]?(?:with )?(?:status|code)|exitcode|return[ _]?code|exited with|exit)\s*(?:was|is|of|[:=])?\s*(-?\d+)\b"
);

/// What an exit status says: `Some(None)` for 0, `Some(Some(_))` for others, `None` if there is none.
fn exit_status(head: &[&str], tail: &[&str]) -> Option<Option<Failure>> {
    let status = |line: &&str| {
        let found = EXIT_STATUS.captures(line)?;
        found[1].parse::<i64>().ok()
    };
    let code = tail.iter().take(3).find_map(status).or_else(|| head.iter().take(4).find_map(status))?;
    Some(match code {
        0 => None,
        124 | 137 | 143 => Some(Failure::named("timeout")),
        127 => Some(Failure::named("command_not_found")),
        _ => Some(Failure::named("exit_code")),
    })
}

pattern!(
    EXCEPTION_LINE,
    r"^(?:\x1b\[[\d;]*m)*(?:E\s+)?\(?(?:Uncaught )?(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Interrupt|Timeout|Exit|StopIteration|Warning|Abort|Invalid|NotFound|DoesNotExist)|[A-Z]\w*Err|StopIteration)(?:\x1b\[[\d;]*m)*(?::|$|\s+at line|\s*\(|\)\s)"
);
pattern!(CURRENT_FRAME, r#"File "(?:<[^">]*>|/tmp/[^"]*|[^"]*\.ipynb)"|Cell In ?\[|<ipython-input|Input In \["#);
pattern!(STREAM_LABEL, r"(?i)^\[?(?:code |program )?(?:output|stderr|stdout|error)s?\]?:?$");
pattern!(CARET_LINE, r"^\s*[\^~]+\s*$");
pattern!(JS_FRAME, r"^\s+at .+[:(].*\d+\)?$");

pattern!(FRAME_FILE, r#"File "(?:[^"]*/)?([^"/]+)", line \d+"#);

/// Whether a traceback goes through a file that the call names, so that the call ran it.
fn ran_here(traceback: &str, asked: &Asked<'_>) -> bool {
    let runs = RUNNING_COMMAND.is_match(asked.arguments());
    runs && FRAME_FILE.captures_iter(traceback).take(20).any(|frame| asked.arguments().contains(&frame[1]))
}

/// Python, JavaScript and Java stack traces, and the bare exception line that judges give.
fn traceback(text: &str, tail: &[&str], asked: &Asked<'_>) -> Option<Failure> {
    let named = |class: &str| Some(Failure::named(class.to_owned()));
    let class_of = |line: &str| EXCEPTION_LINE.captures(line).map(|c| c[1].to_owned());
    let current = || CURRENT_FRAME.is_match(text);
    if let Some(at) = text.rfind(TRACEBACK) {
        let line_start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let before = text[line_start..at].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '\u{1b}');
        // IPython puts the class before the words; a logger or a listing puts other things there.
        let indented = text[line_start..].starts_with([' ', '\t']);
        let in_place = !indented && before.split_whitespace().count() <= 1 && !before.ends_with(':')
            || STREAM_LABEL.is_match(before);
        let printed = asked.arguments().contains(TRACEBACK) || asked.handles();
        // A log that code reads may hold a traceback anywhere but, as a rule, not as the first thing printed.
        let is_first = line_start == 0;
        let is_own = current() || ran_here(&text[at..], asked) || (!asked.reads() && (!asked.may_read() || is_first));
        if in_place && !printed && is_own {
            let after = &text[at + TRACEBACK.len()..];
            let class = after
                .lines()
                .skip(1)
                .find_map(class_of)
                .or_else(|| class_of(before.split_whitespace().next().unwrap_or_default()));
            return Some(Failure::named(class.map_or(Cow::Borrowed("traceback"), Cow::Owned)));
        }
        return None;
    }
    let last = tail.first()?;
    let is_short = tail.len() <= 2;
    if let Some(class) = class_of(last) {
        let pointed = tail.iter().skip(1).take(4).any(|l| CARET_LINE.is_match(l)) || current();
        if (pointed || is_short) && !asked.spells(last) && (!asked.reads() || current()) {
            return named(&class);
        }
    }
    if tail.len() > 1 && tail.iter().any(|l| JS_FRAME.is_match(l)) && !asked.reads() {
        let class = tail.iter().rev().find_map(|l| {
            class_of(l.trim_start_matches("Exception in thread \"main\" "))
                .or_else(|| (l.starts_with("Error: ") || l.starts_with("Uncaught Error: ")).then(|| "Error".to_owned()))
        });
        if let Some(class) = class {
            return named(&class);
        }
    }
    None
}

pattern!(
    SHELL_ITSELF,
    r"^(?:/\S*/)?(?:ba|z|da|k|a)?sh: |^zsh:\d+: |(?:^|: )-c: line \d+: |^\S+: \d+: (?:Syntax error|\S+: (?:not found|Permission denied))|^(?:-?bash|source|eval|\./\S+|/\S+\.sh): line \d+: "
);
pattern!(
    PROGRAM_LINE,
    r"^(?:/(?:usr/)?(?:local/)?s?bin/)?([A-Za-z_][\w.+-]*|\[): (?:.*: )?(?:\(\d+\) )?(?i:\*\*\* .*|no such file or directory|permission denied|command not found|not found|is a directory|not a directory|file exists|directory not empty|operation not permitted|invalid option.*|unrecognized option.*|illegal option.*|unknown (?:option|predicate|command).*|option requires an argument.*|missing (?:operand|argument|destination).*|extra operand.*|too many arguments.*|invalid argument.*|cannot .*|can't .*|could not .*|couldn't .*|unable to .*|failed to .*|not recognized.*|syntax error.*|unexpected .*|unterminated.*|bad .*|invalid .*|illegal .*|paths must precede.*|only one instance.*|missing .*|error: .*|fatal: .*|target .*|possible .*|runaway .*|read error.*|no file systems.*|.*same file|unknown .*|expected .*|not in gzip.*|exiting with failure.*|this does not look like.*)$"
);
pattern!(NO_SUCH_COMMAND, r"(?i)command not found|: not found$|is not recognized as an internal");
pattern!(USAGE, r"^(?i:usage): \S+|^Try '.+ --help' for more information");
/// Warnings of programs that went on.
const HARMLESS: &[&str] = &["Removing leading", "already has .gz suffix", "warning:", "Warning:", "WARNING:", "WARN"];

/// Messages of shells and of the programs that they start.
fn shell(head: &[&str], tail: &[&str], asked: &Asked<'_>) -> Option<Failure> {
    let is_harmless = |line: &str| HARMLESS.iter().any(|h| line.contains(h));
    let is_error = |line: &str| -> bool {
        if SHELL_ITSELF.is_match(line) {
            return !asked.spells(line);
        }
        PROGRAM_LINE.captures(line).is_some_and(|found| {
            // A program that the call never named did not run: its message was read from somewhere.
            !is_harmless(line) && !asked.spells(line) && (!asked.reads() || asked.arguments().contains(&found[1]))
        })
    };
    let is_telling = |line: &&&str| !is_harmless(line);
    let line = [head.iter().find(is_telling), tail.first()].into_iter().flatten().find(|line| is_error(line));
    if let Some(line) = line {
        return Some(Failure::named(shell_error_type(line)));
    }
    let usage = USAGE.is_match(head.first()?) && !asked.reads() && !asked.arguments().contains("help");
    usage.then(|| Failure::named("usage_error"))
}

fn shell_error_type(line: &str) -> &'static str {
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
    r"^(?:error\[E\d+\]: |\S+:\d+(?::\d+)?: (?:fatal )?(?:error|undefined reference)\b|\S+\.java:\d+: error:|\S+\(\d+,\d+\): error |(?:\./)?\S+\.go:\d+:\d+: |# command-line-arguments|npm ERR!|npm error|.*error TS\d+:|thread '.*' panicked at|panic: |fatal error: )"
);

fn compiler(head: &[&str], asked: &Asked<'_>) -> Option<Failure> {
    let line = head.iter().take(3).find(|line| COMPILER.is_match(line))?;
    (!asked.reads() && !asked.spells(line))
        .then(|| Failure::named(if line.contains("panic") { "panic" } else { "compile_error" }))
}

pattern!(ASSIGNED, r#"^(?:#\s*)?[A-Za-z_]\w*\s*=\s*["']?"#);
pattern!(
    ANNOUNCED_ERROR,
    r"^(?:\x1b\[[\d;]*m|[\s\[(<*❌✗⚠️#>!-])*(?:(?:(?i:fatal|runtime|internal|execution|tool|api|http|server|request|syntax|compilation|validation|parse|parsing|query|sql|database|function|code|command|unexpected|critical|an?|the|python|script|mcp|input|catalog|binder|parser|conversion|validation|network|type|value|key|import|name)) )*(?i:error|exception)s?\b[\])>*]*(?: code)?(?: -?\d+)?(?: \(\w+\))?(?:\s*[:!\-–—]|\s*$|\s+(?:(?:has )?occurred|executing|calling|running|while|when|during|invoking|parsing|processing|fetching|reading|opening|loading|evaluating|from|response from|in|at line|at or near)\b)"
);
pattern!(
    ANNOUNCED_FAILURE,
    r"^(?i:fail(?:ed|ure)?: |fatal: |failed to |unable to |could not |couldn't |cannot |can't |invalid (?:tool|function|action|command|argument|arguments|input|json|parameter|parameters|syntax|request|api|`\w+`|column|query|path|url|format|id|option|operation)\b|unknown (?:function|tool|command|action|argument|parameter|column|table|database|error|option)\b|unrecognized |malformed |no such |permission denied|access denied|unauthorized|forbidden|not found\b|bad request|missing (?:required|argument|parameter)|unsupported (?:tool|action|operation|command)|illegal |(?:the )?(?:tool|function|action|api|command) .{1,80}? (?:is not (?:found|available|defined|valid|recognized|supported)|not found|does not exist|doesn't exist|failed|raised an?|could not be)|no (?:valid )?(?:\w+ )?(?:code|action|command|tool call|function call)(?: block)?s? (?:was |were |is )?(?:found|detected|provided|given|parsed)|your (?:proposed )?(?:edit|command|response|action) (?:has introduced|failed|was not|could not|is not|did not pass the)|file .{1,200} (?:not found|does not exist)|division by zero|\S+ verification failed|failed in sandbox|file has not been read|the term .{1,80} is not recognized|segmentation fault|e: unable|action failed|nothing happens|no known action|\S+ is not a valid (?:tool|function|action)|near \x22.*\x22: syntax error|syntax error at or near|\S+ ?: the term |core dumped|aborted|killed$|assertion failed|no replacement was performed|(?:request|call) failed|code execution failed|execution failed|compilation failed)"
);
pattern!(
    TIMED_OUT,
    r"^\[?(?:(?i:error: |the |your |tool |code |query |script |python )*)(?i:command|execution|request|process|operation|program|connection|call|read|query|code|script|tool)?\s*(?i:timed out|timeout|time limit exceeded|timeout expired|timeout error|timeout after|exceeded (?:the )?(?:time|timeout))"
);
pattern!(RATE_LIMITED, r"(?i)rate.?limit|too many requests|quota exceeded|\b429\b");
pattern!(
    SERVER_FAILED,
    r"(?i)internal server error|service (?:temporarily )?unavailable|bad gateway|gateway time-?out|\b50[0234]\b|overloaded"
);
pattern!(
    NO_CONNECTION,
    r"(?i)connection (?:refused|reset|aborted|error)|network is unreachable|name resolution|could not resolve"
);
pattern!(SQL, r"(?i)\b(?:column|table|sql|query|database|relation|group by|syntax to use|view|subquery|select)\b");
pattern!(SQL_COMPLAINT, r"(?i)error|unknown|exist|denied|duplicate|ambiguous|cannot|invalid|syntax|isn't in");
pattern!(SQL_CODE, r"^\(?\d{4}(?:, [\x22']|\s\(\w{5}\): )");
pattern!(
    HTTP_STATUS,
    r"^(?i:(?:http(?:/[\d.]+)?\s+)?(?:status(?: code)?:?\s+)?(4\d\d|5\d\d)(?::|\s+(?:client error|server error|not found|forbidden|unauthorized|bad request|internal server|service unavailable|too many|error\b|method not|gateway)))"
);
pattern!(LABELLED, r"^\[(?:ERROR|Error|error)\] ");
pattern!(TAGGED, r"^<(?:tool_use_error|error|exception|tool_error)>");
pattern!(
    NO_TOOL,
    r"(?i)(?:unknown|no such|invalid|unrecognized) (?:function|tool|action)|(?:function|tool|action) .*(?:not found|does not exist|doesn't exist|not available|not defined|is not (?:a )?valid)"
);
pattern!(BAD_ARGUMENTS, r"(?i)argument|parameter|json|schema|required|validation|unexpected keyword");
pattern!(NOT_THERE, r"(?i)not found|no such|does(?: not|n't) exist|unknown|missing");
pattern!(
    REFUSED_FORMAT,
    r"^(?i:i (?:don't|do not|can't|cannot|could not|couldn't) (?:understand|parse|process|recognize) |format your \w+ (?:command|code|action|response|answer)|please (?:format|provide|use) (?:your|a valid|the (?:correct|following)) .*(?:format|command|action|code)|your (?:response|output|action|answer) (?:should|must) be |your (?:last )?(?:response|output|message) (?:did not|does not|doesn't|didn't) )"
);
pattern!(
    REFUSED_EDIT,
    r"^(?i:your (?:proposed )?(?:edit|change|patch)s? (?:has|have) (?:introduced|not been applied)|(?:edit|patch) (?:failed|rejected|could not be applied)|error: patch failed|no replacement was performed|found multiple (?:matches|occurrences))"
);
/// Announcements stand at the start of short messages; a document that begins so is a document.
const ANNOUNCED_LINES: usize = 30;

/// Errors that the first line announces in words.
fn announced(head: &[&str], text: &str, asked: &Asked<'_>) -> Option<Failure> {
    let first = *head.first()?;
    let line = ASSIGNED.find(first).map_or(first, |found| &first[found.end()..]);
    let tail = text.lines().next_back().unwrap_or_default();
    let timed_out = TIMED_OUT.is_match(line) || (tail.starts_with('[') && TIMED_OUT.is_match(tail));
    if timed_out && head.len() <= ANNOUNCED_LINES {
        return (!asked.spells(line))
            .then(|| Failure::named(exception_anywhere(line).unwrap_or(Cow::Borrowed("timeout"))));
    }
    if REFUSED_EDIT.is_match(line) {
        return Some(Failure::named("edit_refused"));
    }
    if REFUSED_FORMAT.is_match(line) && head.len() <= ANNOUNCED_LINES {
        return (!asked.spells(line)).then(|| Failure::named("invalid_format"));
    }
    if SQL_CODE.is_match(line) && SQL_COMPLAINT.is_match(line) {
        return Some(Failure::named("sql_error"));
    }
    if let Some(status) =
        HTTP_STATUS.captures(line).filter(|_| head.len() <= ANNOUNCED_LINES && (head.len() <= 5 || !asked.reads()))
    {
        return Some(Failure::named(match &status[1] {
            "429" => "rate_limit",
            code if code.starts_with('5') => "server_error",
            "404" => "not_found",
            _ => "http_error",
        }));
    }
    let names_exception =
        || EXCEPTION_LINE.is_match(line) && (line.contains(':') || line.starts_with('(')) && !asked.reads();
    let is_announced = LABELLED.is_match(line)
        || TAGGED.is_match(line)
        || ANNOUNCED_ERROR.is_match(line)
        || ANNOUNCED_FAILURE.is_match(line)
        || names_exception();
    let is_document = || head.len() > ANNOUNCED_LINES || (head.len() > 5 && asked.reads());
    if !is_announced || is_document() || asked.spells(line) || says_none(line) {
        return None;
    }
    Some(Failure::named(exception_anywhere(text).unwrap_or(Cow::Borrowed(announced_type(line)))))
}

pattern!(NONE_AT_ALL, r"(?i)^\W*(?:\w+ )?errors?\s*[:=]\s*(?:0|none|null|no|false|\[\]|n/a|nil)\b\W*$");

fn says_none(line: &str) -> bool {
    NONE_AT_ALL.is_match(line)
}

pub(super) fn announced_type(line: &str) -> &'static str {
    if RATE_LIMITED.is_match(line) {
        "rate_limit"
    } else if SERVER_FAILED.is_match(line) {
        "server_error"
    } else if NO_CONNECTION.is_match(line) {
        "connection_error"
    } else if line.contains("imed out") || line.contains("imeout") {
        "timeout"
    } else if line.contains("executing query") || (SQL.is_match(line) && line.contains('\'')) {
        "sql_error"
    } else if NO_TOOL.is_match(line) {
        "unknown_tool"
    } else if BAD_ARGUMENTS.is_match(line) {
        "invalid_arguments"
    } else if line.contains("ermission") || line.contains("nauthorized") || line.contains("orbidden") {
        "permission_denied"
    } else if NOT_THERE.is_match(line) {
        "not_found"
    } else {
        "tool_error"
    }
}

pattern!(EXCEPTION_NAME, r"\b([A-Z][A-Za-z0-9]*(?:Error|Exception))\b|\b(worker_timeout)\b");

/// The first exception class that a text which is known to be an error names.
pub(super) fn exception_anywhere(text: &str) -> Option<Cow<'static, str>> {
    let edge = &text[..text.floor_char_boundary(EDGE_BYTES)];
    let found = EXCEPTION_NAME.captures(edge)?;
    let name = found.get(1).or(found.get(2))?.as_str();
    Some(Cow::Owned(name.to_owned()))
}
