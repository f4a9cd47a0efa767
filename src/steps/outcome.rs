//! Tells a failed tool result from a good one, and names the error (saar.md, section 5).
//!
//! Owns the order of the rules and both detectors' tables. It reads a result and the call it answers and nothing
//! else. Evidence is taken from where harnesses put it: the first lines, the last lines, an exit status, the
//! fields of a JSON object. Text that a call read or printed on purpose is no evidence, whatever it says.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::config::{DetectConfig, Detector};
use crate::rollout::{Message, ToolCall};

/// Whose fault a failure was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Model,
    /// Time-outs, rate limits, server errors.
    Environment,
}

/// An error, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exception's class where there is one, else a short stable name.
    pub error_type: Cow<'static, str>,
    pub fault: Fault,
}

impl Failure {
    fn named(error_type: impl Into<Cow<'static, str>>) -> Self {
        let error_type = error_type.into();
        let fault = if is_environment(&error_type) { Fault::Environment } else { Fault::Model };
        Failure { error_type, fault }
    }
}

fn is_environment(error_type: &str) -> bool {
    const NAMES: &[&str] = &["timeout", "worker_timeout", "rate_limit", "server_error", "connection_error"];
    NAMES.contains(&error_type)
        || ["Timeout", "Connection", "RateLimit", "ServiceUnavailable", "InternalServerError", "BadGateway"]
            .iter()
            .any(|part| error_type.contains(part))
}

/// A user's pattern that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("pattern `{pattern}` is no regular expression")]
pub struct PatternError {
    pattern: String,
    source: regex::Error,
}

/// The rules, in order: the data's own word, the user's patterns, the detector.
pub struct ErrorDetector {
    success: Vec<Regex>,
    errors: Vec<(String, Regex)>,
    detector: Detector,
}

impl ErrorDetector {
    pub fn new(config: &DetectConfig) -> Result<Self, PatternError> {
        let compile = |pattern: &str| {
            Regex::new(pattern).map_err(|source| PatternError { pattern: pattern.to_owned(), source })
        };
        let success = config.success_pattern.iter().map(|p| compile(p)).collect::<Result<_, _>>()?;
        let errors = config
            .error_pattern
            .iter()
            .map(|p| {
                let is_name = |n: &str| !n.is_empty() && n.chars().all(|c| c.is_alphanumeric() || c == '_');
                let (name, pattern) = p.split_once('=').filter(|(n, _)| is_name(n)).unwrap_or(("user_pattern", p));
                Ok((name.to_owned(), compile(pattern)?))
            })
            .collect::<Result<_, _>>()?;
        Ok(ErrorDetector { success, errors, detector: config.detector })
    }

    /// The failure that a tool message reports, if it does. `call` is the call that it answers, if known.
    pub fn failure(&self, asked: &Message<'_>, call: Option<&ToolCall<'_>>, result: &Message<'_>) -> Option<Failure> {
        let text = result.content.unwrap_or_default();
        let asked = Asked::new(asked, call);
        let detect = || match self.detector {
            Detector::Default => detect(text, &asked),
            Detector::Reference => reference(text),
        };
        match result.is_error {
            Some(false) => None,
            Some(true) => Some(
                self.user_error(text).or_else(detect).unwrap_or_else(|| Failure::named("unknown_error")),
            ),
            None if self.success.iter().any(|p| p.is_match(text)) => None,
            None => self.user_error(text).or_else(detect),
        }
    }

    fn user_error(&self, text: &str) -> Option<Failure> {
        let (name, _) = self.errors.iter().find(|(_, pattern)| pattern.is_match(text))?;
        Some(Failure::named(name.clone()))
    }
}

/// The reference's rule (`_detect_error_from_text` of Open-CLEANER).
fn reference(text: &str) -> Option<Failure> {
    const TYPES: &[&str] = &[
        "ImportError",
        "ModuleNotFoundError",
        "SyntaxError",
        "IndexError",
        "IndentationError",
        "NameError",
        "TypeError",
        "worker_timeout",
        "NotImplementedError",
        "ValueError",
        "ZeroDivisionError",
    ];
    if text.is_empty() || text.contains(JUDGE_SUCCESS) {
        return None;
    }
    let error_type = TYPES.iter().copied().find(|name| text.contains(name)).unwrap_or("unknown_error");
    Some(Failure::named(error_type))
}

const JUDGE_SUCCESS: &str = "Tool call success";
const JUDGE_FAILURE: &str = "Tool call failure";
const TRACEBACK: &str = "Traceback (most recent call last)";
/// Lines at either end of a result in which evidence is looked for, and their greatest extent.
const EDGE_LINES: usize = 40;
const EDGE_BYTES: usize = 8 * 1024;
/// JSON results beyond this are not parsed: a harness's error object is small.
const JSON_BYTES: usize = 256 * 1024;

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("the pattern is a constant"));
    };
}

/// What the call asked for, as far as it tells reported text from the harness's own. Most results show no sign of an
/// error, so the call is only looked into where one does.
struct Asked<'a> {
    name: &'a str,
    arguments: &'a str,
    reads: OnceCell<bool>,
    may_read: OnceCell<bool>,
}

pattern!(READING_TOOL, r"(?i)(^|_|\b)(read|view|cat|show|search|grep|browse|fetch|log|logs|tail|head|list|ls)(_|\b|$)");
pattern!(
    READING_COMMAND,
    r#"(?m)(^|[\n;&|("'`]|\\n)\s*(sudo )?(cat|ls|find|tree|head|tail|less|more|grep|egrep|fgrep|zgrep|rg|ag|sed|awk|nl|zcat|bat|strings|journalctl|dmesg|git (log|show|diff|grep|blame)|docker logs|kubectl logs|view|open|scroll_down|scroll_up|goto|search_file|search_dir)(\s|$)"#
);
pattern!(
    RUNNING_COMMAND,
    r#"(?m)(^|[\n;&|("'`]|\\n)\s*(sudo |time |timeout \S+ )*(python[\d.]*|ipython|node|deno|bun|npm|npx|yarn|make|cargo|go|gcc|g\+\+|clang|cc|java|javac|mvn|gradle|ruby|perl|php|pytest|tox|pip3?|bash|sh|\./\S+|docker run|psql|mysql|sqlite3)\b"#
);
pattern!(
    READING_CODE,
    r"\bopen\(|\.read\(|\.read_text\(|\.readlines\(|readFile|File\.read|print_exc|format_exc|format_tb|print_tb"
);
pattern!(HANDLING_CODE, r"print_exc|format_exc|logging\.exception|logger\.exception|print_exception|traceback\.print");

impl<'a> Asked<'a> {
    fn new(message: &Message<'a>, call: Option<&ToolCall<'a>>) -> Self {
        let (name, arguments) = match call {
            Some(call) => (call.name, call.arguments),
            None => ("", message.inline_call().and_then(|at| Some(&message.content?[at..])).unwrap_or_default()),
        };
        Asked { name, arguments, reads: OnceCell::new(), may_read: OnceCell::new() }
    }

    /// It shows text that exists already and does nothing else: a file, a log, a search.
    fn reads(&self) -> bool {
        *self.reads.get_or_init(|| {
            READING_TOOL.is_match(self.name)
                || (READING_COMMAND.is_match(self.arguments) && !RUNNING_COMMAND.is_match(self.arguments))
        })
    }

    /// Its code reads files, among other things.
    fn may_read(&self) -> bool {
        *self.may_read.get_or_init(|| READING_CODE.is_match(self.arguments))
    }

    /// Its code catches errors and prints them.
    fn handles(&self) -> bool {
        HANDLING_CODE.is_match(self.arguments)
    }

    /// Whether the call itself holds the line, and so may have printed it.
    fn spells(&self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= 6 && self.arguments.contains(line)
    }
}

/// The default detector.
fn detect(text: &str, asked: &Asked<'_>) -> Option<Failure> {
    let text = unwrapped(text);
    if text.is_empty() || text.starts_with(JUDGE_SUCCESS) {
        return None;
    }
    if text.starts_with(JUDGE_FAILURE) {
        return Some(Failure::named(exception_anywhere(text).unwrap_or(Cow::Borrowed("tool_error"))));
    }
    if let Some(verdict) = from_json(text, asked, 0) {
        return verdict;
    }
    let (head, tail) = (first_lines(text), last_lines(text));
    if let Some(verdict) = exit_status(&head, &tail) {
        return verdict.map(|fallback| specific(text, &head, &tail, asked).unwrap_or(fallback));
    }
    specific(text, &head, &tail, asked)
}

/// The rules that look at the text itself, most telling first.
fn specific(text: &str, head: &[&str], tail: &[&str], asked: &Asked<'_>) -> Option<Failure> {
    traceback(text, tail, asked)
        .or_else(|| shell(head, tail, asked))
        .or_else(|| compiler(head, asked))
        .or_else(|| announced(head, text, asked))
}

pattern!(WRAPPER_HEAD, r"^(?i:observation|output|result|execution result|tool result|tool output|stdout)s?:[ \t]*\r?\n");
pattern!(SHORT_WRAPPER_HEAD, r"^(?:Observation|OBSERVATION):[ \t]*");
pattern!(
    WRAPPER_TAIL,
    r"^(?:You have \d+ steps? left.*|You should take the last step.*|\(Open file: .*\)|\(Current directory: .*\)|bash-\$|\[(?:Current working directory|Python interpreter|Jupyter current working directory): .*\]|</?(?:tool_response|output|result|observation)>|```)$"
);

/// The result without what the harness says on every turn.
fn unwrapped(text: &str) -> &str {
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

fn first_lines(text: &str) -> Vec<&str> {
    let edge = &text[..text.floor_char_boundary(EDGE_BYTES)];
    edge.lines().map(|l| l.trim_end_matches('\r')).filter(|l| !l.trim().is_empty()).take(EDGE_LINES).collect()
}

/// The last lines, last one first.
fn last_lines(text: &str) -> Vec<&str> {
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
    let code = tail.iter().take(3).find_map(status).or_else(|| head.iter().take(2).find_map(status))?;
    Some(match code {
        0 => None,
        124 | 137 | 143 => Some(Failure::named("timeout")),
        127 => Some(Failure::named("command_not_found")),
        _ => Some(Failure::named("exit_code")),
    })
}

pattern!(
    EXCEPTION_LINE,
    r"^(?:\x1b\[[\d;]*m)*(?:E\s+)?(?:Uncaught )?(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Interrupt|Timeout|Exit|StopIteration|Warning|Abort|Invalid|NotFound|DoesNotExist)|[A-Z]\w*Err|StopIteration)(?:\x1b\[[\d;]*m)*(?::|$|\s+at line|\s*\()"
);
pattern!(CURRENT_FRAME, r#"File "(?:<[^">]*>|/tmp/[^"]*|[^"]*\.ipynb)"|Cell In ?\[|<ipython-input|Input In \["#);
pattern!(STREAM_LABEL, r"(?i)^\[?(?:code |program )?(?:output|stderr|stdout|error)s?\]?:?$");
pattern!(CARET_LINE, r"^\s*[\^~]+\s*$");
pattern!(JS_FRAME, r"^\s+at .+[:(].*\d+\)?$");

pattern!(FRAME_FILE, r#"File "(?:[^"]*/)?([^"/]+)", line \d+"#);

/// Whether a traceback goes through a file that the call names, so that the call ran it.
fn ran_here(traceback: &str, asked: &Asked<'_>) -> bool {
    let runs = RUNNING_COMMAND.is_match(asked.arguments);
    runs && FRAME_FILE.captures_iter(traceback).take(20).any(|frame| asked.arguments.contains(&frame[1]))
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
        let printed = asked.arguments.contains(TRACEBACK) || asked.handles();
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
            class_of(l.trim_start_matches("Exception in thread \"main\" ")).or_else(|| {
                (l.starts_with("Error: ") || l.starts_with("Uncaught Error: ")).then(|| "Error".to_owned())
            })
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
    r"^(?:/(?:usr/)?(?:local/)?s?bin/)?([A-Za-z_][\w.+-]*|\[): (?:.*: )?(?i:no such file or directory|permission denied|command not found|not found|is a directory|not a directory|file exists|directory not empty|operation not permitted|invalid option.*|unrecognized option.*|illegal option.*|unknown (?:option|predicate|command).*|option requires an argument.*|missing (?:operand|argument|destination).*|extra operand.*|too many arguments.*|invalid argument.*|cannot .*|can't .*|could not .*|couldn't .*|unable to .*|failed to .*|not recognized.*|syntax error.*|unexpected .*|unterminated.*|bad .*|invalid .*|illegal .*|paths must precede.*|only one instance.*|missing .*|error: .*|fatal: .*|target .*|possible .*|runaway .*|read error.*|no file systems.*|.*same file|unknown .*|expected .*|not in gzip.*|exiting with failure.*|this does not look like.*)$"
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
            !is_harmless(line) && !asked.spells(line) && (!asked.reads() || asked.arguments.contains(&found[1]))
        })
    };
    let is_telling = |line: &&&str| !is_harmless(line);
    let line = [head.iter().find(is_telling), tail.first()].into_iter().flatten().find(|line| is_error(line));
    if let Some(line) = line {
        return Some(Failure::named(shell_error_type(line)));
    }
    let usage = USAGE.is_match(head.first()?) && !asked.reads() && !asked.arguments.contains("help");
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
    (!asked.reads() && !asked.spells(line)).then(|| {
        Failure::named(if line.contains("panic") { "panic" } else { "compile_error" })
    })
}

pattern!(ASSIGNED, r#"^(?:#\s*)?[A-Za-z_]\w*\s*=\s*["']?"#);
pattern!(
    ANNOUNCED_ERROR,
    r"^(?:\x1b\[[\d;]*m|[\s\[(<*❌✗⚠️#>!-])*(?:(?:(?i:fatal|runtime|internal|execution|tool|api|http|server|request|syntax|compilation|validation|parse|parsing|query|sql|database|function|code|command|unexpected|critical|an?|the|python|script)) )*(?i:error|exception)s?\b[\])>*]*(?: code)?(?: \d+)?(?:\s*[:!\-–—]|\s*$|\s+(?:(?:has )?occurred|executing|calling|running|while|when|during|invoking|parsing|processing|fetching|reading|opening|loading|evaluating|from|in tool|in function|at line)\b)"
);
pattern!(
    ANNOUNCED_FAILURE,
    r"^(?i:fail(?:ed|ure)?: |fatal: |failed to |unable to |could not |couldn't |cannot |can't |invalid (?:tool|function|action|command|argument|arguments|input|json|parameter|parameters|syntax|request|api|`\w+`|column|query|path|url|format|id|option|operation)\b|unknown (?:function|tool|command|action|argument|parameter|column|table|database|error|option)\b|unrecognized |malformed |no such |permission denied|access denied|unauthorized|forbidden|not found\b|bad request|missing (?:required|argument|parameter)|unsupported (?:tool|action|operation|command)|illegal |(?:the )?(?:tool|function|action|api|command) .{1,80}? (?:is not (?:found|available|defined|valid|recognized|supported)|not found|does not exist|doesn't exist|failed|could not be)|no (?:valid )?(?:\w+ )?(?:code|action|command|tool call|function call)(?: block)?s? (?:was |were |is )?(?:found|detected|provided|given|parsed)|your (?:proposed )?(?:edit|command|response|action) (?:has introduced|failed|was not|could not|is not|did not pass the)|file .{1,200} (?:not found|does not exist)|division by zero|segmentation fault|core dumped|aborted|killed$|assertion failed|no replacement was performed|(?:request|call) failed|code execution failed|execution failed|compilation failed)"
);
pattern!(
    TIMED_OUT,
    r"^(?:(?i:error: |the |your |tool |code |query |script |python )*)(?i:command|execution|request|process|operation|program|connection|call|read|query|code|script|tool)?\s*(?i:timed out|timeout|time limit exceeded|timeout expired|timeout error|timeout after|exceeded (?:the )?(?:time|timeout))"
);
pattern!(RATE_LIMITED, r"(?i)rate.?limit|too many requests|quota exceeded|\b429\b");
pattern!(
    SERVER_FAILED,
    r"(?i)internal server error|service (?:temporarily )?unavailable|bad gateway|gateway time-?out|\b50[0234]\b|overloaded"
);
pattern!(NO_CONNECTION, r"(?i)connection (?:refused|reset|aborted|error)|network is unreachable|name resolution|could not resolve");
pattern!(SQL, r"(?i)\b(?:column|table|sql|query|database|relation|group by|syntax to use|view|subquery|select)\b");
pattern!(TAGGED, r"^<(?:tool_use_error|error|exception|tool_error)>");
pattern!(NO_TOOL, r"(?i)(?:unknown|no such|invalid|unrecognized) (?:function|tool|action)|(?:function|tool|action) .*(?:not found|does not exist|doesn't exist|not available|not defined|is not (?:a )?valid)");
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
    if TIMED_OUT.is_match(line) && head.len() <= ANNOUNCED_LINES {
        return (!asked.spells(line)).then(|| Failure::named("timeout"));
    }
    if REFUSED_EDIT.is_match(line) {
        return Some(Failure::named("edit_refused"));
    }
    if REFUSED_FORMAT.is_match(line) && head.len() <= ANNOUNCED_LINES {
        return (!asked.spells(line)).then(|| Failure::named("invalid_format"));
    }
    let is_announced = TAGGED.is_match(line) || ANNOUNCED_ERROR.is_match(line) || ANNOUNCED_FAILURE.is_match(line);
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

fn announced_type(line: &str) -> &'static str {
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
fn exception_anywhere(text: &str) -> Option<Cow<'static, str>> {
    let edge = &text[..text.floor_char_boundary(EDGE_BYTES)];
    let found = EXCEPTION_NAME.captures(edge)?;
    let name = found.get(1).or(found.get(2))?.as_str();
    Some(Cow::Owned(name.to_owned()))
}

pattern!(
    TELLING_KEY,
    r#"(?i)["'](?:is_?error|errors?|error_?(?:message|type|code)?|exception|traceback|exit_?code|exitstatus|return_?code|status(?:_?code)?|success|ok|code|detail|stderr|stdout|output|result|content|text|observation|message)["']\s*:"#
);
pattern!(PYTHON_DICT_ERROR, r#"^\{'(?:error|exception|Error)': ?(?:'[^']|"[^"])"#);

/// What a JSON result says: `None` if it is no JSON object or says nothing telling.
fn from_json(text: &str, asked: &Asked<'_>, depth: usize) -> Option<Option<Failure>> {
    if PYTHON_DICT_ERROR.is_match(text) {
        return Some(Some(Failure::named(exception_anywhere(text).unwrap_or(Cow::Borrowed("tool_error")))));
    }
    let is_object = text.starts_with('{') && text.ends_with('}');
    let is_array = text.starts_with('[') && text.ends_with(']');
    if !is_object && !is_array {
        return None;
    }
    if text.len() > JSON_BYTES || !TELLING_KEY.is_match(text) {
        return is_object.then_some(None);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => Some(from_object(&object, asked, depth)),
        // A list of content parts speaks through its first text; any other list is data.
        Ok(Value::Array(parts)) => {
            let part = parts.first()?.as_object()?;
            let inner = part.get("text")?.as_str()?;
            part.contains_key("type").then(|| detect_inner(inner, asked, depth))
        }
        _ => None,
    }
}

fn detect_inner(text: &str, asked: &Asked<'_>, depth: usize) -> Option<Failure> {
    if depth >= 2 {
        return None;
    }
    let text = unwrapped(text);
    match from_json(text, asked, depth + 1) {
        Some(verdict) => verdict,
        None => specific(text, &first_lines(text), &last_lines(text), asked),
    }
}

fn from_object(object: &Map<String, Value>, asked: &Asked<'_>, depth: usize) -> Option<Failure> {
    let get = |names: &[&str]| names.iter().find_map(|n| object.get(*n));
    let number = |v: &Value| v.as_i64().or_else(|| v.as_str().and_then(|t| t.parse().ok()));
    let text_of = |names: &[&str]| get(names).and_then(Value::as_str).filter(|t| !t.trim().is_empty());
    let words = || {
        text_of(&["error", "message", "detail", "error_message", "stderr", "output", "content", "msg", "reason"])
            .unwrap_or_default()
    };
    let typed = |fallback: &'static str| {
        let name = text_of(&["error_type", "exception", "exception_type"])
            .or_else(|| object.get("error")?.as_object()?.get("type")?.as_str())
            .filter(|n| n.len() <= 60 && n.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.'));
        let found = name.map(|n| Cow::Owned(n.to_owned())).or_else(|| exception_anywhere(words()));
        let announced = Some(announced_type(words())).filter(|&t| t != "tool_error").map(Cow::Borrowed);
        Failure::named(found.or(announced).unwrap_or(Cow::Borrowed(fallback)))
    };
    let truth = |v: &Value| matches!(v, Value::Bool(true)) || v.as_str().is_some_and(|t| t.eq_ignore_ascii_case("true"));
    let falsehood =
        |v: &Value| matches!(v, Value::Bool(false)) || v.as_str().is_some_and(|t| t.eq_ignore_ascii_case("false"));

    if let Some(flag) = get(&["is_error", "isError"]) {
        return truth(flag).then(|| typed("tool_error"));
    }
    if let Some(code) = get(&["exit_code", "exitCode", "exitcode", "returncode", "return_code", "exit_status"])
        .and_then(number)
    {
        return match code {
            0 => None,
            124 | 137 | 143 => Some(Failure::named("timeout")),
            _ => {
                let inner = text_of(&["stderr", "output", "stdout"]).unwrap_or_default();
                Some(specific(inner, &first_lines(inner), &last_lines(inner), asked).unwrap_or_else(|| typed("exit_code")))
            }
        };
    }
    if let Some(error) = get(&["error", "errors", "exception", "traceback", "error_message", "Error"]) {
        let is_said = match error {
            Value::Null | Value::Bool(false) => false,
            Value::Bool(true) => true,
            Value::String(text) => !matches!(text.trim(), "" | "None" | "none" | "null" | "no" | "0" | "false"),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Number(n) => n.as_i64() != Some(0),
        };
        // A number of many fields that happens to be called so (an error estimate) is data.
        if is_said && !(error.is_number() && object.len() > 2) {
            return Some(typed("tool_error"));
        }
    }
    if get(&["success", "ok", "succeeded"]).is_some_and(falsehood) {
        return Some(typed("tool_error"));
    }
    if let Some(status) = get(&["status", "state", "type", "result_status", "run_status"]).and_then(Value::as_str) {
        let status = status.to_ascii_lowercase();
        let explains = get(&["message", "detail", "error", "reason", "msg", "stderr", "error_message", "output"]).is_some();
        match status.as_str() {
            "error" | "exception" | "failure" if object.len() <= 8 => return Some(typed("tool_error")),
            "failed" | "fail" if explains && object.len() <= 6 => return Some(typed("tool_error")),
            "timeout" | "timed_out" | "timelimitexceeded" => return Some(Failure::named("timeout")),
            _ => {}
        }
    }
    if let Some(code) = get(&["status_code", "statusCode", "http_status", "code", "status"]).and_then(number)
        && (400..600).contains(&code)
        && object.len() <= 6
    {
        return Some(match code {
            429 => Failure::named("rate_limit"),
            500.. => Failure::named("server_error"),
            _ => typed("http_error"),
        });
    }
    if object.len() == 1 && text_of(&["detail"]).is_some() {
        return Some(typed("http_error"));
    }
    let inner = text_of(&["stderr"]).or_else(|| text_of(&["output", "stdout", "result", "content", "text", "observation"]));
    match (inner, object.get("content").or(object.get("result"))) {
        (Some(inner), _) => detect_inner(inner, asked, depth),
        (None, Some(Value::Array(parts))) => {
            let text = parts.first()?.as_object()?.get("text")?.as_str()?;
            detect_inner(text, asked, depth)
        }
        (None, Some(Value::Object(inner))) if depth < 2 => from_object(inner, asked, depth + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Role;

    fn verdict(tool: &str, arguments: &str, result: &str) -> Option<String> {
        let config = DetectConfig { detector: Detector::Default, success_pattern: vec![], error_pattern: vec![] };
        let detector = ErrorDetector::new(&config).expect("no patterns");
        let call = ToolCall { name: tool, arguments };
        let message = |role, content, calls| Message { role, content, is_error: None, calls };
        let asked = message(Role::Assistant, None, vec![call]);
        let answer = message(Role::Tool, Some(result), vec![]);
        detector.failure(&asked, Some(&call), &answer).map(|f| f.error_type.into_owned())
    }

    /// (tool, arguments, result, type)
    const FAILURES: &[(&str, &str, &str, &str)] = &[
        // code interpreters
        ("python", r#"{"code": "print(x)"}"#, "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'x' is not defined\n", "NameError"),
        ("python", r#"{"code": "f(1)"}"#, "0.5\nTraceback (most recent call last):\n  File \"/tmp/tmpa1b2.py\", line 3, in <module>\n    f(1)\nmypkg.errors.QuotaError: no quota\nleft for today", "QuotaError"),
        ("code_interpreter", r#"{"code": "1/0"}"#, "Tool call failure\nreason: \nstderr: ZeroDivisionError at line 1: division by zero", "ZeroDivisionError"),
        ("ipython", "x=", "  Cell In[2], line 1\n    x=\n      ^\nSyntaxError: invalid syntax", "SyntaxError"),
        ("ipython", "df['a']", "---------------------------------------------------------------------------\nKeyError                                  Traceback (most recent call last)\nCell In[4], line 1\n----> 1 df['a']\n\nKeyError: 'a'", "KeyError"),
        ("python", "open('a.csv').read()", "Traceback (most recent call last):\n  File \"/workspace/main.py\", line 1, in <module>\nFileNotFoundError: [Errno 2] No such file or directory: 'a.csv'", "FileNotFoundError"),
        ("python_interpreter", "x = 1", "Code execution failed at line 'x = 1' due to: InterpreterError: Forbidden access", "InterpreterError"),
        ("execute", "{}", "exitcode: 1 (execution failed)\nCode output: Traceback (most recent call last):\n  File \"\", line 1, in <module>\nValueError: bad", "ValueError"),
        ("javascript", "f()", "/app/a.js:1\nf()\n^\n\nReferenceError: f is not defined\n    at Object.<anonymous> (/app/a.js:1:1)\n    at node:internal/main:23:47", "ReferenceError"),
        // shells
        ("bash", r#"{"command": "foo"}"#, "bash: line 1: foo: command not found", "command_not_found"),
        ("bash", r#"{"command": "foo"}"#, "/bin/sh: 1: foo: not found", "command_not_found"),
        ("bash", r#"{"command": "ls /x"}"#, "ls: cannot access '/x': No such file or directory", "no_such_file"),
        ("bash", r#"{"command": "cat notes.txt"}"#, "cat: notes.txt: No such file or directory", "no_such_file"),
        ("bash", r#"{"command": "python a.py"}"#, "python: can't open file '/w/a.py': [Errno 2] No such file or directory", "no_such_file"),
        ("bash", r#"{"command": "make"}"#, "gcc -c a.c\na.c: In function 'main':\na.c:3:5: error: 'x' undeclared\nmake: *** [Makefile:2: a.o] Error 1\n[The command completed with exit code 2.]", "compile_error"),
        ("execute_bash", r#"{"command": "false"}"#, "[The command completed with exit code 1.]", "exit_code"),
        ("shell", r#"["bash","-lc","x"]"#, "Exit code: 127\nWall time: 0 seconds\nOutput:\nbash: x: command not found", "command_not_found"),
        ("terminal", "sleep 999", "Command timed out after 30 seconds", "timeout"),
        ("bash", "cat a.log && python run.py", "ok\nTraceback (most recent call last):\n  File \"/w/run.py\", line 2, in <module>\n    main()\nRuntimeError: stop", "RuntimeError"),
        ("bash", "git push", "fatal: not a git repository (or any of the parent directories): .git", "tool_error"),
        ("bash", "cargo build", "error[E0382]: borrow of moved value: `x`\n --> src/main.rs:4:20", "compile_error"),
        // databases
        ("sql", "SELECT a FROM t", "Error executing query: Unknown column 'a' in 'field list'", "sql_error"),
        ("query", "{}", "sqlite3.OperationalError: no such table: users", "OperationalError"),
        // function calling
        ("book", "{}", "Error: user not found", "not_found"),
        ("book", "{}", "# var_3 = \"Error: item is not available\"", "tool_error"),
        ("book", "{}", r#"{"error": "Invalid date"}"#, "tool_error"),
        ("book", "{}", r#"{"status": "error", "message": "missing parameter `city`"}"#, "invalid_arguments"),
        ("book", "{}", r#"{"success": false, "reason": "seat taken"}"#, "tool_error"),
        ("book", "{}", r#"{"isError": true, "content": [{"type": "text", "text": "boom"}]}"#, "tool_error"),
        ("run", "{}", r#"{"stdout": "", "stderr": "Traceback (most recent call last):\n  File \"<string>\", line 1\nTypeError: x", "exit_code": 1}"#, "TypeError"),
        ("run", "{}", r#"{"output": "Traceback (most recent call last):\n  File \"<string>\", line 1\nTypeError: x"}"#, "TypeError"),
        ("api", "{}", r#"{"code": 429, "message": "Too many requests"}"#, "rate_limit"),
        ("api", "{}", r#"{"detail": "Not Found"}"#, "not_found"),
        ("api", "{}", "HTTP error 503: Service Unavailable", "server_error"),
        ("api", "{}", "{'error': 'KeyError: city'}", "KeyError"),
        ("nope", "{}", "Unknown function 'nope'", "unknown_tool"),
        ("nope", "{", "Invalid JSON in arguments for 'nope'", "invalid_arguments"),
        ("edit", "{}", "<tool_use_error>String to replace not found in file.</tool_use_error>", "not_found"),
        ("edit", "edit 2:2", "Your proposed edit has introduced new syntax error(s). Please read this error message carefully.", "edit_refused"),
        ("answer", "", "I don't understand your input. \nIf you want to execute code, please use <execute>.", "invalid_format"),
        ("read_file", r#"{"path": "a"}"#, "Error: file not found: a", "not_found"),
    ];

    /// Results that print, list, search or read text of errors, and are none.
    const SUCCESSES: &[(&str, &str, &str)] = &[
        ("bash", "cat server.log", "2024-05-01 INFO start\nTraceback (most recent call last):\n  File \"/srv/app.py\", line 9, in handle\n    go()\nKeyError: 'user'\n2024-05-01 INFO restart"),
        ("bash", "tail -n 4 err.log", "Traceback (most recent call last):\n  File \"/srv/app.py\", line 9, in handle\n    go()\nKeyError: 'user'"),
        ("bash", "grep -rn Error src", "src/a.py:3:    raise ValueError('x')\nsrc/b.py:9:class AppError(Exception):"),
        ("bash", "grep -n error build.log", "12:main.c:3:5: error: expected ';'\n40:make: *** [all] Error 2"),
        ("bash", "ls", "Error.py\nerrors.log\nexception_handler.rs"),
        ("bash", "ls tests", "error: a file with an odd name\nb.txt\nc.txt\nd.txt\ne.txt\nf.txt") ,
        ("bash", "echo 'Error: just a text'", "Error: just a text"),
        ("python", r#"print("ValueError: not really")"#, "ValueError: not really"),
        ("python", r#"{"code": "print(open('run.log').read())"}"#, "epoch 1\nTraceback (most recent call last):\n  File \"/exp/train.py\", line 80, in step\nRuntimeError: CUDA out of memory"),
        ("python", "try:\n    f()\nexcept Exception:\n    traceback.print_exc()\nprint('went on')", "Traceback (most recent call last):\n  File \"<string>\", line 2, in <module>\nValueError: x\nwent on"),
        ("python", r#"print("Traceback (most recent call last):\n  File \"a.py\"")"#, "Traceback (most recent call last):\n  File \"a.py\""),
        ("python", "print(rmse)", "Mean squared error: 0.25"),
        ("python", "print(e)", "error: 0"),
        ("python", "x", "Error rate after 10 epochs is 0.12"),
        ("read_file", r#"{"path": "app.py"}"#, "def f():\n    try:\n        g()\n    except ValueError as e:\n        raise RuntimeError('failed') from e\n"),
        ("read_file", r#"{"path": "notes.md"}"#, "Error handling\n\n1. Never swallow\n2. Log\n3. Retry\n4. Fail\n5. Alert\n"),
        ("view", "{}", "Here's the result of running `cat -n` on /a.py:\n     1\tTraceback (most recent call last):\n     2\tValueError: x"),
        ("search", r#"{"query": "python error"}"#, "[{\"title\": \"TypeError: explained\", \"url\": \"https://e.x\"}]"),
        ("book", "{}", r#"{"order_id": 7, "status": "delivered", "error": null}"#),
        ("book", "{}", r#"{"errors": [], "data": {"ok": true}}"#),
        ("list_payments", "{}", r#"[{"id": 1, "status": "failed"}, {"id": 2, "status": "paid"}]"#),
        ("get_payment", "{}", r#"{"id": 1, "user": "a", "amount": 3, "status": "failed", "method": "card", "at": "x", "ref": "y"}"#),
        ("run", "{}", r#"{"stdout": "Error: shown on purpose\n", "stderr": "", "exit_code": 0}"#),
        ("execute_bash", "pytest -q || true", "E   AssertionError\n1 failed, 3 passed\n[The command completed with exit code 0.]"),
        ("python", "print(1)", "Tool call success\nstdout: 1\nstderr: "),
        ("python", "print(1)", "[Executed Successfully with No Output]"),
        ("sql", "SELECT * FROM errors", "[('TypeError', 3), ('Error: x', 4)]"),
        ("bash", "man grep", "grep: print lines that match patterns"),
        ("wiki", "{}", "Page: Error\nSummary: An error (from the Latin errāre, meaning 'to wander') is an inaccurate or incorrect action."),
        ("bash", "tar czf a.tgz /x", "tar: Removing leading `/' from member names"),
        ("bash", "git log -1", "commit 1a2b\n\n    fix: ValueError: bad input\n"),
        ("python", "", ""),
    ];

    #[test]
    fn failures_of_many_harnesses_are_found_and_named() {
        let wrong: Vec<String> = FAILURES
            .iter()
            .filter(|(tool, arguments, result, want)| verdict(tool, arguments, result).as_deref() != Some(want))
            .map(|(tool, arguments, result, want)| {
                format!("{result:?}: expected {want}, found {:?}", verdict(tool, arguments, result))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn text_about_errors_that_a_call_read_or_printed_is_no_failure() {
        let wrong: Vec<String> = SUCCESSES
            .iter()
            .filter_map(|(tool, arguments, result)| Some(format!("{result:?}: {}", verdict(tool, arguments, result)?)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_datas_own_word_goes_before_every_pattern() {
        let config = DetectConfig {
            detector: Detector::Default,
            success_pattern: vec!["fine".to_owned()],
            error_pattern: vec!["seat_taken=taken".to_owned(), "gone".to_owned()],
        };
        let detector = ErrorDetector::new(&config).expect("patterns compile");
        let failure = |content, is_error| {
            let result = Message { role: Role::Tool, content: Some(content), is_error, calls: vec![] };
            let asked = Message { role: Role::Assistant, content: None, is_error: None, calls: vec![] };
            detector.failure(&asked, None, &result).map(|f| f.error_type.into_owned())
        };
        assert_eq!(failure("Error: fine", None), None);
        assert_eq!(failure("taken", None).as_deref(), Some("seat_taken"));
        assert_eq!(failure("gone", None).as_deref(), Some("user_pattern"));
        assert_eq!(failure("Error: x", Some(false)), None);
        assert_eq!(failure("fine", Some(true)).as_deref(), Some("unknown_error"));
    }

    #[test]
    fn the_reference_detector_takes_all_but_success_for_an_error() {
        let name = |text| reference(text).map(|f| f.error_type.into_owned());
        assert_eq!(name(""), None);
        assert_eq!(name("... Tool call success ..."), None);
        assert_eq!(name("ModuleNotFoundError: No module named 'x'").as_deref(), Some("ModuleNotFoundError"));
        assert_eq!(name("TypeError after NameError").as_deref(), Some("NameError"));
        assert_eq!(name("42").as_deref(), Some("unknown_error"));
    }

    #[test]
    fn time_outs_rate_limits_and_servers_are_the_environments_fault() {
        for name in ["timeout", "worker_timeout", "rate_limit", "server_error", "TimeoutError", "ReadTimeout", "ConnectionResetError"] {
            assert_eq!(Failure::named(name).fault, Fault::Environment, "{name}");
        }
        assert_eq!(Failure::named("TypeError").fault, Fault::Model);
    }
}
