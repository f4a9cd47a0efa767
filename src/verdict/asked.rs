//! What a call asked for, as far as it tells reported text from the harness's own words.
//!
//! Owns the reading of a call's tool and arguments. Most results show no sign of an error, so the call is only looked into
//! where one does.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::text::pattern;
use crate::rollout::Message;

/// The tool and the arguments of a call; of a batch that one result answers, all arguments.
pub struct Asked<'a> {
    name: &'a str,
    arguments: Cow<'a, str>,
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
        Asked { name, arguments, reads: OnceCell::new(), may_read: OnceCell::new() }
    }

    pub(super) fn arguments(&self) -> &str {
        &self.arguments
    }

    /// It shows text that exists already and does nothing else: a file, a log, a search.
    pub(super) fn reads(&self) -> bool {
        *self.reads.get_or_init(|| {
            READING_TOOL.is_match(self.name)
                || (READING_COMMAND.is_match(&self.arguments) && !RUNNING_COMMAND.is_match(&self.arguments))
        })
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
}
