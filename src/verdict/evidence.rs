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
    /// The first line that holds something.
    pub first: Option<&'e str>,
    /// The last one.
    pub last: Option<&'e str>,
    pub status: Option<i64>,
    pub asked: &'e Asked<'e>,
    pub table: &'static Table,
}

impl<'e> Evidence<'e> {
    /// `status`: what the result's own fields say; without it the text's first and last lines are asked.
    pub fn of(text: &'e str, status: Option<i64>, asked: &'e Asked<'e>, table: &'static Table) -> Self {
        let (tagged, text) = tagged(text);
        let text = unwrapped(text);
        let spoken = || if may_name_status(text) && !asked.is_reading_tool() { exit_status(text) } else { None };
        let status = status.or(tagged).or_else(spoken);
        Evidence { text, first: first_lines(text).next(), last: last_lines(text).next(), status, asked, table }
    }

    /// The first lines that hold something.
    pub fn head(&self) -> impl Iterator<Item = &'e str> + use<'e> {
        first_lines(self.text)
    }

    /// The last ones, last one first.
    pub fn tail(&self) -> impl Iterator<Item = &'e str> + use<'e> {
        last_lines(self.text)
    }

    /// Whether at most so many lines hold something.
    pub fn is_within(&self, lines: usize) -> bool {
        self.head().nth(lines).is_none()
    }

    /// Nothing was printed, or the harness says so.
    pub fn is_silent(&self) -> bool {
        self.text.is_empty() || self.first.is_some_and(|line| self.is_within(1) && NO_OUTPUT.is_match(line))
    }

    /// A text so long that its first line is a title rather than a message.
    pub fn is_document(&self) -> bool {
        !self.is_within(LONGEST_MESSAGE) || (!self.is_within(5) && self.asked.shows_file())
    }

    /// The text's two ends, as far as rules look; of a short text, all of it once.
    pub fn edges(&self) -> impl Iterator<Item = &'e str> + use<'e> {
        let (text, size) = (self.text, self.text.len());
        let last = || &text[text.ceil_char_boundary(size.saturating_sub(EDGE_BYTES))..];
        let first = &text[..text.floor_char_boundary(EDGE_BYTES)];
        std::iter::once(first).chain((size > EDGE_BYTES).then(last))
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
    r"^(?i:(?:observation|output|result|execution result|tool result|tool output|stdout)s?:|#{1,4} (?:result|output))[ \t]*\r?\n|^(?:Observation|OBSERVATION):[ \t]*"
);
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
    if let Some(found) = WRAPPER_HEAD.find(text) {
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

fn first_lines(text: &str) -> impl Iterator<Item = &str> {
    let edge = &text[..text.floor_char_boundary(EDGE_BYTES)];
    edge.lines().map(|l| l.trim_end_matches('\r')).filter(|l| !l.trim_start().is_empty()).take(EDGE_LINES)
}

fn last_lines(text: &str) -> impl Iterator<Item = &str> {
    let edge = &text[text.ceil_char_boundary(text.len().saturating_sub(EDGE_BYTES))..];
    edge.lines().rev().map(|l| l.trim_end_matches('\r')).filter(|l| !l.trim_start().is_empty()).take(EDGE_LINES)
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
    let found = || TAGGED_STATUS.captures(text);
    match text.trim_start().starts_with('<').then(found).flatten() {
        Some(found) => (found[1].parse().ok(), &text[found[0].len()..]),
        None => (None, text),
    }
}

pattern!(STATUS_WORD, r"(?i-u)exit|return");
/// Up to here the whole text is asked for a word at once, rather than line by line.
const SHORT_TEXT: usize = 512;

/// Most results name no exit status, and hold none of its words either.
fn may_name_status(text: &str) -> bool {
    text.len() > SHORT_TEXT || STATUS_WORD.is_match(text)
}

/// The exit status that the first or the last lines name.
fn exit_status(text: &str) -> Option<i64> {
    let status = |line: &str| {
        let found = STATUS_WORD.is_match(line).then(|| EXIT_STATUS.captures(line)).flatten()?;
        found.get(1).or(found.get(2))?.as_str().parse().ok()
    };
    last_lines(text).take(3).find_map(status).or_else(|| first_lines(text).take(4).find_map(status))
}
