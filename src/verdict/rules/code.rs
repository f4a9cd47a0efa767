//! Code interpreters: stack traces, and the exception lines that judges and notebooks give.

use std::borrow::Cow;

use super::rule::{Find, Gives, Harness, Rule, example};
use crate::pattern::pattern;
use crate::verdict::asked::{Asked, RUNNING_COMMAND};
use crate::verdict::evidence::Evidence;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "code.judge",
        harness: Harness::CodeInterpreter,
        reason: "the reference's tool says of each call whether it failed",
        find: Find::Elsewhere,
        gives: Gives::Named("tool_error"),
        decides: example(
            "code_interpreter",
            r#"{"code": "1/0"}"#,
            "Tool call failure\nreason: \nstderr: ZeroDivisionError at line 1: division by zero",
        ),
        spares: example("code_interpreter", r#"{"code": "print(1)"}"#, "Tool call success\nstdout: 1\nstderr: "),
    },
    Rule {
        name: "code.traceback",
        harness: Harness::CodeInterpreter,
        reason: "a traceback of the code that the call ran, not one that it read or printed",
        find: Find::Error(traceback),
        gives: Gives::Named("traceback"),
        decides: example(
            "python",
            r#"{"code": "print(x)"}"#,
            "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'x' is not defined\n",
        ),
        spares: example(
            "bash",
            r#"{"command": "cat server.log"}"#,
            "2024-05-01 INFO start\nTraceback (most recent call last):\n  File \"/srv/app.py\", line 9, in handle\n    go()\nKeyError: 'user'\n2024-05-01 INFO restart",
        ),
    },
    Rule {
        name: "code.exception-line",
        harness: Harness::CodeInterpreter,
        reason: "the last line names an exception, below a caret or nearly alone",
        find: Find::Error(exception_line),
        gives: Gives::Named("exception"),
        decides: example("ipython", "x=", "  Cell In[2], line 1\n    x=\n      ^\nSyntaxError: invalid syntax"),
        spares: example("python", r#"print("ValueError: not really")"#, "ValueError: not really"),
    },
    Rule {
        name: "code.script-frames",
        harness: Harness::CodeInterpreter,
        reason: "frames of JavaScript or Java with the error above them",
        find: Find::Error(script_frames),
        gives: Gives::Named("Error"),
        decides: example(
            "javascript",
            "f()",
            "/app/a.js:1\nf()\n^\n\nReferenceError: f is not defined\n    at Object.<anonymous> (/app/a.js:1:1)\n    at node:internal/main:23:47",
        ),
        spares: example("bash", r#"{"command": "cat a.txt"}"#, "x and y\n    at home (12:1)\n    at work (1:2)"),
    },
    Rule {
        name: "code.errno",
        harness: Harness::CodeInterpreter,
        reason: "the system's name of an error, as Node prints it",
        find: Find::First(
            r"^(?:Error: )?E(?:NO|AC|PERM|IS|EXIST|IN|CONN|TIME|ADDR|PIPE|BUSY|M|NET|HOST|AI|AGAIN|BAD|ROFS|XDEV|LOOP)[A-Z]{0,12}: [a-z]",
        ),
        gives: Gives::Error("system_error"),
        decides: example("Read", r#"{"file_path": "/a"}"#, "ENOENT: no such file or directory, open '/a'"),
        spares: example("Read", r#"{"file_path": "/a"}"#, "EXTRA: how to read a file"),
    },
    Rule {
        name: "code.bare-message",
        harness: Harness::CodeInterpreter,
        reason: "Python's own words for an error, alone: a tool that prints `str(e)`",
        find: Find::Brief(
            r"^(?:error: ?)?(?:'?\w+'? object (?:has no attribute|is not (?:subscriptable|callable|iterable)|does not support|cannot be)|(?:list|string|tuple) index out of range|\w+\(\) (?:missing \d+ required|got an unexpected keyword|takes \d+ positional)|name '\w+' is not defined|No module named |unsupported operand type|invalid literal for |could not convert string to |division by zero|local variable '|(?:cannot|can't) (?:import name|unpack|multiply|concatenate)|unhashable type|not enough values to unpack|too many values to unpack|maximum recursion depth)",
        ),
        gives: Gives::Named("python_error"),
        decides: example("get", "{}", "'str' object has no attribute 'get'"),
        spares: example("python", "print('name', n)", "name 'Ada' is not in the list"),
    },
];

pub(super) const TRACEBACK: &str = "Traceback (most recent call last)";

pattern!(
    /// The same, found at the speed of a search for a text.
    ANY_TRACEBACK,
    r"Traceback \(most recent call last\)"
);

pub(super) fn has_traceback(text: &str) -> bool {
    ANY_TRACEBACK.is_match(text)
}

pattern!(
    EXCEPTION_LINE,
    r"^(?:\x1b\[[\d;]*m)*(?:E\s+)?\(?(?:Uncaught )?(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Interrupt|Timeout|Exit|StopIteration|Warning|Abort|Invalid|NotFound|DoesNotExist)|[A-Z]\w*Err|StopIteration)(?:\x1b\[[\d;]*m)*(?::|$|\s+at line|\s*\(|\)\s)"
);
pattern!(
    /// Every class that the line may name has one of them.
    EXCEPTION_WORD,
    r"Err|Exception|Interrupt|Timeout|Exit|StopIteration|Warning|Abort|Invalid|NotFound|DoesNotExist"
);
pattern!(CURRENT_FRAME, r#"File "(?:<[^">]*>|/tmp/[^"]*|[^"]*\.ipynb)"|Cell In ?\[|<ipython-input|Input In \["#);
pattern!(STREAM_LABEL, r"(?i)^\[?(?:code |program )?(?:output|stderr|stdout|error)s?\]?:?$");
pattern!(CARET_LINE, r"^\s*[\^~]+\s*$");
pattern!(FRAME_WORD, "[ \t]at ");
pattern!(SCRIPT_FRAME, r"^\s+at .+[:(].*\d+\)?$");
pattern!(FRAME_FILE, r#"File "(?:[^"]*/)?([^"/]+)", line \d+"#);

/// Whether a traceback goes through a file that the call names, so that the call ran it.
fn ran_here(traceback: &str, asked: &Asked<'_>) -> bool {
    let runs = RUNNING_COMMAND.is_match(asked.arguments());
    runs && FRAME_FILE.captures_iter(traceback).take(20).any(|frame| asked.arguments().contains(&frame[1]))
}

fn class_of(line: &str) -> Option<String> {
    // Whether it matches is found much sooner than where, and whether it may sooner still.
    let found = || EXCEPTION_LINE.is_match(line).then(|| EXCEPTION_LINE.captures(line)).flatten();
    EXCEPTION_WORD.is_match(line).then(found).flatten().map(|found| found[1].to_owned())
}

/// The exception that a line names as its first word.
pub(super) fn is_exception_line(line: &str) -> bool {
    EXCEPTION_LINE.is_match(line) && (line.contains(':') || line.starts_with('('))
}

fn traceback(evidence: &Evidence<'_>) -> Option<Cow<'static, str>> {
    let (text, asked) = (evidence.text, evidence.asked);
    let first = ANY_TRACEBACK.find(text)?.start();
    let at = first + text[first..].rfind(TRACEBACK)?;
    let line_start = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let before = text[line_start..at].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '\u{1b}');
    // IPython puts the class before the words; a logger or a listing puts other things there.
    let indented = text[line_start..].starts_with([' ', '\t']);
    let in_place =
        !indented && before.split_whitespace().count() <= 1 && !before.ends_with(':') || STREAM_LABEL.is_match(before);
    let has_failed = evidence.status.is_some_and(|status| status != 0);
    let is_printed = || !has_failed && (asked.arguments().contains(TRACEBACK) || asked.handles());
    if !in_place || is_printed() {
        return None;
    }
    let after = &text[at + TRACEBACK.len()..];
    // A log that code reads may hold a traceback anywhere but, as a rule, not as the first thing printed; and a program that
    // failed says why, and is gone.
    let is_first = line_start == 0;
    let is_own = has_failed
        || (CURRENT_FRAME.is_match(text) && !asked.is_reading_tool())
        || ran_here(&text[at..], asked)
        || (!asked.reads() && (!asked.may_read() || is_first));
    is_own.then(|| {
        let class = after.lines().skip(1).find_map(class_of);
        let class = class.or_else(|| class_of(before.split_whitespace().next().unwrap_or_default()));
        class.map_or(Cow::Borrowed("traceback"), Cow::Owned)
    })
}

fn exception_line(evidence: &Evidence<'_>) -> Option<Cow<'static, str>> {
    let (last, asked) = (evidence.last?, evidence.asked);
    let class = class_of(last)?;
    if has_traceback(evidence.text) || asked.spells(last) {
        return None;
    }
    let is_current = || CURRENT_FRAME.is_match(evidence.text);
    let pointed = || evidence.tail().skip(1).take(4).any(|l| CARET_LINE.is_match(l)) || is_current();
    let is_told = evidence.tail().nth(2).is_none() || pointed();
    (is_told && (!asked.reads() || is_current())).then_some(Cow::Owned(class))
}

fn script_frames(evidence: &Evidence<'_>) -> Option<Cow<'static, str>> {
    let may_be_frame = |line: &str| line.starts_with(char::is_whitespace) && line.trim_start().starts_with("at ");
    let is_frame = |line: &str| may_be_frame(line) && SCRIPT_FRAME.is_match(line);
    if !FRAME_WORD.is_match(evidence.text)
        || !evidence.tail().any(is_frame)
        || evidence.tail().nth(1).is_none()
        || evidence.asked.reads()
    {
        return None;
    }
    let plain = |line: &str| line.starts_with("Error: ") || line.starts_with("Uncaught Error: ");
    let tail: Vec<&str> = evidence.tail().collect();
    tail.into_iter().rev().find_map(|line| {
        let class = class_of(line.trim_start_matches("Exception in thread \"main\" "));
        class.map(Cow::Owned).or_else(|| plain(line).then_some(Cow::Borrowed("Error")))
    })
}
