//! A call, as far as its intent goes: what is inside it, what it is about, and what came of it.
//!
//! Owns the cut from the wrapper (names of arguments, harness options) to the text that counts, and the reading of that
//! text: commands, programs, targets, names. It judges nothing.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeSet;

use serde_json::Value;

use rustc_hash::FxHashSet;

use super::said;
use super::text::{first_bytes, last_bytes};
use super::tools::{self, Kind};
use crate::pattern::pattern;
use crate::shell::{self, Script};

/// A call with its result.
#[derive(Clone, Debug, Default)]
pub struct Call<'t> {
    /// Empty if the data does not say.
    pub tool: Cow<'t, str>,
    /// As the model wrote them, JSON or not.
    pub arguments: Cow<'t, str>,
    pub result: Cow<'t, str>,
    /// The name of its error; `None`: it did its job.
    pub error_type: Option<Cow<'t, str>>,
}

/// A step that holds calls: what the model wrote before them, and each call with its result.
#[derive(Debug, Default)]
pub struct Attempt<'t> {
    pub reasoning: Cow<'t, str>,
    pub calls: Vec<Subject<'t>>,
}

impl<'t> Attempt<'t> {
    pub fn new(reasoning: Cow<'t, str>, calls: impl IntoIterator<Item = Call<'t>>) -> Self {
        Attempt { reasoning, calls: calls.into_iter().map(Subject::new).collect() }
    }
}

/// A call, read when it is asked for.
#[derive(Debug, Default)]
pub struct Subject<'t> {
    pub call: Call<'t>,
    parsed: OnceCell<Option<Value>>,
    inner: OnceCell<String>,
    script: OnceCell<Script>,
    kind: OnceCell<Kind>,
    missing: OnceCell<BTreeSet<String>>,
    is_unknown: OnceCell<bool>,
    targets: OnceCell<BTreeSet<String>>,
    shown: OnceCell<Option<String>>,
}

/// Of a longer text, this many bytes at its start and at its end are compared and read: a program that is resubmitted is known
/// by its first pages, and what is run stands behind the file that it is written to.
const TEXT_HEAD: usize = 12 * 1024;
const TEXT_TAIL: usize = 4 * 1024;

/// Of a longer result, this many bytes at each end are read: errors stand there.
const RESULT_ENDS: usize = 8 * 1024;

/// Arguments that hold what a tool runs.
const CODE: &[&str] =
    &["code", "command", "cmd", "commands", "script", "source", "query", "sql", "input", "keystrokes", "expression"];
/// Arguments that hold which of its actions a tool is to do.
const ACTIONS: &[&str] = &["command", "action", "operation", "method", "mode"];

impl<'t> Subject<'t> {
    pub fn new(call: Call<'t>) -> Self {
        Subject { call, ..Subject::default() }
    }

    /// The result; of a long one, its two ends.
    pub fn result(&self) -> &str {
        let whole = self.call.result.as_ref();
        let shortened = || {
            let (head, tail) = (first_bytes(whole, RESULT_ENDS), last_bytes(whole, RESULT_ENDS));
            (head.len() + tail.len() < whole.len()).then(|| format!("{head}\n{tail}"))
        };
        self.shown.get_or_init(shortened).as_deref().unwrap_or(whole)
    }

    /// The name of its error; empty if it did its job.
    pub fn error(&self) -> &str {
        self.call.error_type.as_deref().unwrap_or_default()
    }

    fn parsed(&self) -> Option<&Value> {
        self.parsed.get_or_init(|| serde_json::from_str(&self.call.arguments).ok()).as_ref()
    }

    /// A named argument that is text.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.parsed()?.get(name)?.as_str()
    }

    /// The first line of an argument that says which action of its tool is meant (`view`, `str_replace`).
    pub fn action(&self) -> Option<&str> {
        let is_word = |text: &&str| text.len() < 40 && !text.contains(char::is_whitespace);
        let object = self.parsed()?.as_object()?;
        let found = ACTIONS.iter().find_map(|name| object.get(*name)?.as_str()).filter(is_word)?;
        (object.len() > 1 && self.kind() != Kind::Shell).then_some(found)
    }

    pub fn kind(&self) -> Kind {
        *self.kind.get_or_init(|| match tools::kind(&self.call.tool) {
            Kind::Edit if self.action_looks() => Kind::Look,
            by_name => by_name,
        })
    }

    /// Whether its tool, as the result says, does not exist.
    pub fn is_unknown_tool(&self) -> bool {
        let says_so = || said::is_unknown_tool(&self.call.tool, self.kind(), self.result());
        *self.is_unknown.get_or_init(|| self.error() == "unknown_tool" || says_so())
    }

    /// Programs that its result says are not there.
    pub fn missing_programs(&self) -> &BTreeSet<String> {
        self.missing.get_or_init(|| said::missing_programs(self.script(), self.result()))
    }

    fn action_looks(&self) -> bool {
        let looks = |action: &str| ["view", "read", "show", "open", "list", "search"].contains(&action);
        self.argument("command").is_some_and(looks)
    }

    /// What is inside the call: the command, the code, the query, or all values of its arguments.
    pub fn inner(&self) -> &str {
        self.inner.get_or_init(|| {
            let text = match self.parsed() {
                Some(Value::Object(object)) => match self.code_argument() {
                    Some(code) => code.to_owned(),
                    None => joined(object.values()),
                },
                Some(Value::Array(values)) => joined(values.iter()),
                Some(Value::String(text)) => text.clone(),
                _ => TAG.replace_all(&self.call.arguments, "").into_owned(),
            };
            clipped(text)
        })
    }

    /// Whether so much is inside that only its two ends are read. Conservative: the wrapper counts.
    pub fn is_cut(&self) -> bool {
        self.call.arguments.len() > TEXT_HEAD + TEXT_TAIL && self.inner().len() + 8 > TEXT_HEAD + TEXT_TAIL
    }

    /// The argument that holds what is run, where it outweighs all others.
    fn code_argument(&self) -> Option<&str> {
        let object = self.parsed()?.as_object()?;
        let texts = || object.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let (name, code) = CODE.iter().find_map(|code| texts().find(|(name, _)| name == code))?;
        texts().all(|(other, text)| other == name || text.len() <= code.len()).then_some(code)
    }

    /// Read as shell; empty for other tools.
    pub fn script(&self) -> &Script {
        self.script.get_or_init(|| {
            let words = || {
                let value =
                    self.parsed()?.as_object().map_or(self.parsed(), |o| CODE.iter().find_map(|n| o.get(*n)))?;
                value.as_array()?.iter().map(|word| Some(word.as_str()?.to_owned())).collect::<Option<Vec<String>>>()
            };
            match self.kind() {
                Kind::Shell => match words() {
                    Some(words) => shell::read_words(&words),
                    None => shell::read(self.inner()),
                },
                // `!pip install x` in a notebook.
                Kind::Python if self.inner().trim_start().starts_with('!') => {
                    shell::read(self.inner().trim_start().trim_start_matches('!'))
                }
                Kind::Python | Kind::Sql | Kind::Edit | Kind::Look | Kind::Other => Script::default(),
            }
        })
    }

    /// The programs that it runs, in order; those that only move about are left out. `python -m x` counts as x.
    pub fn programs(&self) -> Vec<&str> {
        self.script()
            .commands
            .iter()
            .map(|command| command.python_module().unwrap_or_else(|| command.program()))
            .filter(|program| !program.is_empty() && !MOVES.contains(program))
            .collect()
    }

    /// The Python in it: all of a Python tool's text, and what a shell hands to an interpreter.
    pub fn python(&self) -> Vec<&str> {
        match self.kind() {
            Kind::Python if self.script().commands.is_empty() => vec![self.inner()],
            _ => self.script().commands.iter().filter_map(|command| command.python_code()).collect(),
        }
    }

    /// Names that its Python uses; keywords, comments and quoted text are left out.
    pub fn names(&self) -> FxHashSet<&str> {
        let mut out: FxHashSet<&str> = self.python().into_iter().flat_map(names_in).collect();
        out.retain(|name| !KEYWORDS.contains(name));
        out
    }

    /// Paths and addresses in its text, by the part behind the last slash.
    pub fn targets(&self) -> &BTreeSet<String> {
        self.targets.get_or_init(|| {
            let ends = PATH.find_iter(self.inner()).filter_map(|m| {
                m.as_str().trim_end_matches(['/', '.', ',', ':']).rsplit('/').next().filter(|end| end.len() > 1)
            });
            ends.map(str::to_owned).collect()
        })
    }

    /// Files that it writes or edits, by the part after the last slash; as far as its text says.
    pub fn written(&self) -> BTreeSet<String> {
        let end = |path: &str| base_of(path).to_owned();
        if self.kind() == Kind::Edit {
            let paths = ["path", "file_path", "filename", "file", "target_file", "filePath"];
            return paths.iter().filter_map(|name| self.argument(name)).map(end).collect();
        }
        let script = self.script();
        let redirected = script.commands.iter().flat_map(|c| c.written()).map(end);
        let patched = PATCHED.captures_iter(self.inner()).map(|c| end(&c[1]));
        let mut out: BTreeSet<String> = redirected.chain(patched).collect();
        for code in self.python() {
            let named = OPENED.captures_iter(code).filter_map(|c| c.get(1).or(c.get(2)).or(c.get(3)));
            out.extend(named.map(|m| end(m.as_str())));
            if PATH_VARIABLE.is_match(code) {
                out.extend(ASSIGNED_PATH.captures_iter(code).map(|c| end(&c[1])));
            }
        }
        out
    }
}

/// The part of a path after its last slash.
pub fn base_of(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Names in code as it is read: comments and quoted text are passed over; a quote that does not close is no quote.
fn names_in(code: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = code;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find(|c: char| c.is_alphabetic() || matches!(c, '_' | '"' | '\'' | '#'))?;
            let from = &rest[at..];
            match from.as_bytes()[0] {
                b'#' => rest = from.find('\n').map_or("", |end| &from[end..]),
                b'"' => rest = &from[quoted(from, '"')..],
                b'\'' => rest = &from[quoted(from, '\'')..],
                _ => {
                    let (name, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
                    rest = after;
                    return Some(name);
                }
            }
        }
    })
}

/// Bytes of the quoted text that begins here: three quotes to the next three, or one to the next on the line; else the quote alone.
fn quoted(text: &str, quote: char) -> usize {
    let long = match quote {
        '"' => "\"\"\"",
        _ => "'''",
    };
    let of_lines = || text.strip_prefix(long).and_then(|inner| inner.find(long)).map(|end| end + 2 * long.len());
    let of_one_line = || {
        let end = 1 + text[1..].find([quote, '\n'])?;
        text[end..].starts_with(quote).then_some(end + 1)
    };
    of_lines().or_else(of_one_line).unwrap_or(1)
}

fn joined<'v>(values: impl Iterator<Item = &'v Value>) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    values.map(text).collect::<Vec<_>>().join("\n")
}

fn clipped(text: String) -> String {
    if text.len() <= TEXT_HEAD + TEXT_TAIL {
        return text;
    }
    [first_bytes(&text, TEXT_HEAD), last_bytes(&text, TEXT_TAIL)].concat()
}

/// Commands that only move about or set something up for those after them.
const MOVES: &[&str] =
    &["cd", "set", "export", "source", ".", "pushd", "popd", "unset", "shopt", "ulimit", "trap", "alias", "wait"];

const KEYWORDS: &[&str] = &[
    "and", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except", "False",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "None", "nonlocal", "not", "or", "pass",
    "print", "raise", "return", "self", "True", "try", "while", "with", "yield", "select", "SELECT", "FROM", "WHERE",
    "AND", "range", "len", "str", "int", "float", "list", "the", "to", "of", "echo",
];

pattern!(TAG, r"</?parameter[^>\n]{0,80}>|^\s*execute\[|\]\s*$");
pattern!(PATH, r"(?:https?://|[~.]{0,2}/)?[\w@+-]+(?:[./][\w@+-]+)+/?|/[\w@+-]+");
pattern!(PATCHED, r"(?m)^\*\*\* (?:Update|Add) File: (\S+)");
pattern!(
    OPENED,
    r#"open\(\s*[rbuf]*['"]([^'"\n]+)['"]\s*,\s*(?:mode\s*=\s*)?['"][wax]|Path\(\s*['"]([^'"\n]+)['"]\s*\)\.write_|to_(?:csv|json|parquet|excel|pickle)\(\s*['"]([^'"\n]+)['"]"#
);
pattern!(PATH_VARIABLE, r#"open\(\s*\w+\s*,\s*(?:mode\s*=\s*)?['"][wax]|\w\.write_text\("#);
pattern!(ASSIGNED_PATH, r#"(?m)^\s*\w+\s*=\s*(?:Path\(\s*)?[rbuf]*['"]([\w./~-]*[\w-]\.\w{1,6})['"]"#);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_code_and_neither_from_text_nor_from_comments() {
        let names = |code| names_in(code).collect::<Vec<_>>();
        assert_eq!(names("x = f(a_1, 'it is', \"so\") # no\ny2"), ["x", "f", "a_1", "y2"]);
        assert_eq!(names("'''a\nb''' + c + \"\"\"d\ne\"\"\""), ["c"]);
        assert_eq!(names("don't\nstop # it's\ngo"), ["don", "t", "stop", "go"]);
        assert_eq!(names("größe = 1e5 + '' + \"\"\"open"), ["größe", "e5", "open"]);
        assert!(names("").is_empty());
    }
}
