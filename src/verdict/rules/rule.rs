//! What a rule of the detector is: a name, a reason, how it is decided, what it gives, and two examples.
//!
//! Owns the type, and what rules of several groups ask of a text. The rules themselves are in the groups' files.

use std::borrow::Cow;

use crate::pattern::pattern;
use crate::verdict::evidence::Evidence;
use crate::verdict::said::FindingKind;

/// Who writes such results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harness {
    CodeInterpreter,
    Shell,
    Database,
    FunctionCalling,
    Editor,
    Web,
    Any,
}

/// A call and its result.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    pub tool: &'static str,
    pub arguments: &'static str,
    pub result: &'static str,
}

/// How a rule is decided.
#[derive(Clone, Copy)]
pub(super) enum Find {
    /// A pattern of the first line, in messages; text that the call spells itself, and documents, are none.
    First(&'static str),
    /// The same, in messages of at most three lines.
    Brief(&'static str),
    /// The same, however much follows: the words are the harness's own.
    Heading(&'static str),
    /// The error's type, from the evidence.
    Error(fn(&Evidence<'_>) -> Option<Cow<'static, str>>),
    /// Whether the evidence shows that the call did its job.
    Job(fn(&Evidence<'_>) -> bool),
    /// Decided where JSON results are read, or by the exit status.
    Elsewhere,
}

/// What a rule says where it decides.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    Error(&'static str),
    /// An error: the first exception class that the text names, else this type.
    Named(&'static str),
    /// An error: the exception class that the text names, else a type by the words of the first line.
    Worded,
    Informative(FindingKind),
}

/// One rule of the table.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Stable: reports and columns hold it.
    pub name: &'static str,
    pub harness: Harness,
    /// Why such a result is what the rule says.
    pub reason: &'static str,
    pub(super) find: Find,
    pub(super) gives: Gives,
    /// Decided by this rule.
    pub decides: Example,
    /// Looks like it, and is ok.
    pub spares: Example,
}

pub(super) const fn example(tool: &'static str, arguments: &'static str, result: &'static str) -> Example {
    Example { tool, arguments, result }
}

pattern!(EXCEPTION_NAME, r"\b([A-Z][A-Za-z0-9]*(?:Error|Exception))\b|\b(worker_timeout)\b");
/// So much of a text that is known to be an error is searched for the error's name.
const NAMED_BYTES: usize = 8 * 1024;

/// The first exception class that a text which is known to be an error names.
pub fn exception_anywhere(text: &str) -> Option<Cow<'static, str>> {
    let edge = &text[..text.floor_char_boundary(NAMED_BYTES)];
    let found = EXCEPTION_NAME.captures(edge)?;
    let name = found.get(1).or(found.get(2))?.as_str();
    Some(Cow::Owned(name.to_owned()))
}
