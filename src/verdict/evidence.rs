//! What of a result is looked at: its text without the harness's wrapping, its first and last lines, its exit status.
//!
//! Owns the wrappings. Evidence is taken from where harnesses put it, and bounded: a result of a megabyte costs as much as
//! one of some pages.

use super::asked::Asked;
use super::said::Failure;
use crate::pattern::pattern;

/// Lines at either end of a result in which evidence is looked for, and their greatest extent.
const EDGE_LINES: usize = 40;
const EDGE_BYTES: usize = 8 * 1024;

/// What the rules say as a whole, for those among them that ask.
pub(super) struct Table {
    /// Whether a line, on its own, would be told as an error.
    pub is_told: fn(&str) -> bool,
    /// The error that a text shows.
    pub error: fn(&Evidence<'_>) -> Option<Failure>,
}

/// A result, laid out for the rules.
pub(super) struct Evidence<'e> {
    pub text: &'e str,
    /// The first lines that hold something.
    pub head: Vec<&'e str>,
    /// The last ones, last one first.
    pub tail: Vec<&'e str>,
    pub status: Option<i64>,
    pub asked: &'e Asked<'e>,
    pub table: &'static Table,
}

impl<'e> Evidence<'e> {
    /// `status`: what the result's own fields say; without it the text's first and last lines are asked.
    pub fn of(text: &'e str, status: Option<i64>, asked: &'e Asked<'e>, table: &'static Table) -> Self {
        let (tagged, text) = tagged(text);
        let text = unwrapped(text);
        let (head, tail) = (first_lines(text), last_lines(text));
        let spoken = || if asked.is_reading_tool() { None } else { exit_status(&head, &tail) };
        let status = status.or(tagged).or_else(spoken);
        Evidence { text, head, tail, status, asked, table }
    }

    /// Nothing was printed, or the harness says so.
    pub fn is_silent(&self) -> bool {
        self.text.is_empty() || (self.head.len() == 1 && NO_OUTPUT.is_match(self.head[0]))
    }

    /// A text so long that its first line is a title rather than a message.
    pub fn is_document(&self) -> bool {
        self.head.len() > LONGEST_MESSAGE || (self.head.len() > 5 && self.asked.shows_file())
    }

    /// The text's two ends, as far as rules look.
    pub fn edges(&self) -> [&'e str; 2] {
        [
            &self.text[..self.text.floor_char_boundary(EDGE_BYTES)],
            &self.text[self.text.ceil_char_boundary(self.text.len().saturating_sub(EDGE_BYTES))..],
        ]
    }
}

/// Lines of a message; a document that begins with the word error is a document.
pub(super) const LONGEST_MESSAGE: usize = 30;

pattern!(
    NO_OUTPUT,
    r"(?i)^[\[(<]?(?:no output|empty|command (?:produced|returned) no output|.*(?:ran successfully|completed successfully|executed successfully).* no output.*|your command ran successfully and did not produce any output.*)[\])>]?\.?$"
);
pattern!(
    WRAPPER_HEAD,
    r"^(?i:(?:observation|output|result|execution result|tool result|tool output|stdout)s?:|#{1,4} (?:result|output))[ \t]*\r?\n"
);
pattern!(SHORT_WRAPPER_HEAD, r"^(?:Observation|OBSERVATION):[ \t]*");
pattern!(
    WRAPPER_TAIL,
    r"^(?:You have \d+ steps? left.*|You should take the last step.*|\(Open file: .*\)|\(Current directory: .*\)|bash-\$|\[(?:Current working directory|Python interpreter|Jupyter current working directory): .*\]|</?(?:tool_response|output|result|observation|stdout|stderr)>|```|(?:\([\w.-]+\) )?[\w.-]+@[\w.-]+:[^\n]*[#$])$"
);
pattern!(
    /// What a shell without a terminal says before it goes on.
    JOB_CONTROL,
    r"^(?:-?(?:ba|z|da|k)?sh: (?:(?:line \d+: )?(?:cannot set terminal process group|no job control in this shell|initialize_job_control|warning: (?:setlocale|shell level|command substitution))|can't access tty)|mesg: ttyname failed|tput: No value for|stdin: is not a tty|the input device is not a TTY)"
);

/// The result without what the harness says on every turn.
pub(super) fn unwrapped(text: &str) -> &str {
    let mut text = text.trim();
    for opening in ["<tool_response>", "<output>", "<result>", "<observation>", "<stdout>", "```output", "```"] {
        text = text.strip_prefix(opening).unwrap_or(text).trim_start();
    }
    if let Some(found) = WRAPPER_HEAD.find(text).or_else(|| SHORT_WRAPPER_HEAD.find(text)) {
        text = text[found.end()..].trim_start();
    }
    while JOB_CONTROL.is_match(text) {
        text = text.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
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

fn last_lines(text: &str) -> Vec<&str> {
    let edge = &text[text.ceil_char_boundary(text.len().saturating_sub(EDGE_BYTES))..];
    edge.lines().rev().map(|l| l.trim_end_matches('\r')).filter(|l| !l.trim().is_empty()).take(EDGE_LINES).collect()
}

pattern!(
    TAGGED_STATUS,
    r"^\s*<(?:return_?code|exit_?code|exit_?status)>\s*(-?\d{1,10})\s*</(?:return_?code|exit_?code|exit_?status)>\s*"
);
pattern!(
    EXIT_STATUS,
    r"(?i)^[\W_]*(?:(?:the )?(?:command|process|program|script|shell|code|execution|task)\b.{0,80}?)?\b(?:exit(?:ed)?[ _-]?(?:with )?(?:status|code)|exitcode|return[ _]?code|exited with)\s*(?:was|is|of|[:=])?\s*(-?\d{1,10})\b|^[\[(<]exit (-?\d{1,10})[\])>]"
);

/// `<returncode>2</returncode>` before all else, and the text after it.
fn tagged(text: &str) -> (Option<i64>, &str) {
    match TAGGED_STATUS.captures(text) {
        Some(found) => (found[1].parse().ok(), &text[found[0].len()..]),
        None => (None, text),
    }
}

/// The exit status that the first or the last lines name.
fn exit_status(head: &[&str], tail: &[&str]) -> Option<i64> {
    let status = |line: &&str| {
        let found = EXIT_STATUS.captures(line)?;
        found.get(1).or(found.get(2))?.as_str().parse().ok()
    };
    tail.iter().take(3).find_map(status).or_else(|| head.iter().take(4).find_map(status))
}
