//! Later text that relies on a failure as a fact: "pytest is not installed", "the page returned 404".
//!
//! Owns which facts a failure states and how later text is searched for them. What stands right after the error and talks
//! about it as one's own mistake is [`super::residue`]'s; here it is what the world was found to be like. If such text stays
//! and the failure goes, the text has no ground any more.

use crate::pattern::pattern;
use std::collections::BTreeSet;

/// Bytes of a result, at each of its ends, in which the facts of an error stand.
const ENDS: usize = 2000;
/// Facts of one failure that are looked for.
const MAX_FACTS: usize = 12;

/// What a failed call found out.
#[derive(Debug, Default)]
pub struct Facts {
    /// Names of what is missing or refused.
    names: BTreeSet<String>,
    /// Numbers of HTTP errors.
    codes: BTreeSet<String>,
    timed_out: bool,
    denied: bool,
}

impl Facts {
    /// Of a failed call by its result and the name of its error.
    pub fn of(result: &str, error_type: &str) -> Self {
        // That a tool was misspelt says nothing of the world.
        if error_type == "unknown_tool" {
            return Facts::default();
        }
        let text = ends_of(result);
        let mut facts = Facts {
            timed_out: error_type.to_lowercase().contains("timeout") || TIMED_OUT.is_match(&text),
            denied: DENIED.is_match(&text),
            ..Facts::default()
        };
        let named = MISSING.captures_iter(&text).filter_map(|c| (1..=5).find_map(|k| c.get(k)));
        for name in
            named.map(|m| m.as_str().trim_matches(['.', '\'', '"', '`'])).filter(|n| n.len() > 1).take(MAX_FACTS)
        {
            facts.names.insert(name.to_owned());
            // Of a path, the file is what one speaks of.
            if let Some(end) = name.rsplit('/').next().filter(|end| end.len() > 3 && *end != name) {
                facts.names.insert(end.to_owned());
            }
        }
        facts.codes.extend(HTTP.captures_iter(&text).take(MAX_FACTS).map(|c| c[1].to_owned()));
        facts
    }

    /// Adds the facts of another failure.
    pub fn extend(&mut self, other: Facts) {
        self.names.extend(other.names);
        self.codes.extend(other.codes);
        self.timed_out |= other.timed_out;
        self.denied |= other.denied;
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.codes.is_empty() && !self.timed_out && !self.denied
    }

    /// Whether a text states one of them.
    pub fn are_cited_in(&self, text: &str) -> bool {
        self.may_be_in(text) && sentences(text).any(|sentence| self.is_stated(sentence))
    }

    /// Most texts hold none of the names and numbers anywhere.
    fn may_be_in(&self, text: &str) -> bool {
        self.names.iter().chain(&self.codes).any(|name| text.contains(name.as_str()))
            || (self.timed_out && TIMED_OUT.is_match(text))
            || (self.denied && DENIED.is_match(text))
    }

    fn is_stated(&self, sentence: &str) -> bool {
        // What might come, and what is asked, is no fact.
        if !NEGATIVE.is_match(sentence) || OPEN.is_match(sentence) {
            return false;
        }
        self.names.iter().any(|name| is_named(sentence, name))
            || self.codes.iter().any(|code| contains_word(sentence, code))
            || (self.timed_out && TIMED_OUT.is_match(sentence))
            || (self.denied && DENIED.is_match(sentence))
    }
}

/// Everyday words count only where they are marked as names.
fn is_named(sentence: &str, name: &str) -> bool {
    let is_plain = name.len() < 4 || COMMON.binary_search(&name.to_lowercase().as_str()).is_ok();
    match is_plain {
        true => ['`', '"', '\''].iter().any(|q| sentence.contains(&format!("{q}{name}{q}"))),
        false => contains_word(sentence, name),
    }
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

fn ends_of(result: &str) -> String {
    if result.len() <= 2 * ENDS {
        return result.to_owned();
    }
    let head = (0..=ENDS).rev().find(|at| result.is_char_boundary(*at)).unwrap_or(0);
    let tail = (result.len() - ENDS..=result.len()).find(|at| result.is_char_boundary(*at)).unwrap_or(result.len());
    format!("{}\n{}", &result[..head], &result[tail..])
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    SENTENCE.find_iter(text).map(|m| m.as_str())
}

/// Names that are words of every text; sorted.
const COMMON: &[&str] = &[
    "bash", "cat", "code", "command", "data", "diff", "file", "files", "find", "git", "input", "less", "line", "list",
    "main", "make", "more", "name", "node", "output", "page", "path", "python", "python3", "query", "search", "server",
    "sort", "source", "table", "test", "tests", "text", "time", "tool", "tree", "type", "user", "value", "which",
];

pattern!(
    MISSING,
    r#"(?x)
    No\ module\ named\ '?([\w.]+) | ([\w./+-]+):\ (?:command\ )?not\ found
    | (?:cannot\ import\ name|has\ no\ attribute|No\ such\ file\ or\ directory:|cannot\ access|can't\ open\ file|[Uu]nable\ to\ locate\ package|Unknown\ column|[Tt]able|[Tt]ool|[Ff]unction|[Mm]odule|[Pp]ackage|[Ff]ile|[Cc]olumn)\ ['"`]?([\w./+@-]+)['"`]?\ ?(?:does|doesn|is\ not|not\ found|:\ No|from|$|in\ |cannot|could|could\ not)?
    | ['"`]([\w./+@-]+)['"`]\ (?:not\ found|is\ not|does\ not\ exist|doesn't\ exist|was\ not\ found)
    | (?:^|\ )([\w./+@-]+):\ No\ such\ file
    "#
);
pattern!(HTTP, r"(?i)\b(?:http|status|error|code)\D{0,12}([45]\d\d)\b");
pattern!(TIMED_OUT, r"(?i)\btim(?:ed?|ing)[ -]?out\b|\btoo (?:long|slow)\b|\btime limit\b|\btimeouts?\b");
pattern!(
    DENIED,
    r"(?i)\bpermission (?:was |is )?(?:denied|not granted)|\b(?:access|permission) denied\b|\bnot (?:permitted|authorized|allowed)\b|\bforbidden\b|\bunauthorized\b"
);
pattern!(
    NEGATIVE,
    r"(?i)\b(?:not|isn't|aren't|wasn't|weren't|doesn't|don't|didn't|can't|cannot|couldn't|won't|hasn't|no|never|unable|unavailable|missing|lack(?:s|ing|ed)?|fail(?:s|ed|ing|ure)?|error(?:s|ed)?|refus\w+|denied|forbidden|block\w*|broken|invalid|timed|timing|timeouts?|time limit|too (?:long|slow)|without|absent|unsupported|incompatib\w+|[45]\d\d)\b"
);
pattern!(
    OPEN,
    r"(?i)\bif\b|\bunless\b|\bwhether\b|\?\s*$|\bmake sure\b|\bensure\b|\bwould\b|\bno longer\b|\bwithout (?:timing|any|errors?)\b"
);
pattern!(SENTENCE, r"[^.!?\n;]+(?:[.!?;]\S[^.!?\n;]*)*[.!?;]?");

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PYTEST: &str = "bash: line 1: pytest: command not found";

    #[test]
    fn later_text_that_states_what_the_failure_showed_cites_it() {
        for (result, error, text) in [
            (NO_PYTEST, "command_not_found", "I could not run the tests, since pytest is not installed here."),
            (
                "ModuleNotFoundError: No module named 'tomlkit'",
                "ModuleNotFoundError",
                "Execution is limited by missing dependencies (e.g., tomlkit), but the change is local.",
            ),
            ("GET /a: HTTP status 404", "tool_error", "The page returned a 404, so the citation is made up."),
            ("Command timed out after 60s", "timeout", "Training the full model timed out, hence the smaller one."),
            (
                "ls: cannot access 'data/raw': No such file or directory",
                "no_such_file",
                "There is no folder data/raw in the repository.",
            ),
            ("Permission denied", "permission_denied", "I was not allowed to delete it: permission denied."),
            (
                "Error executing query: Table 'shop.orders' doesn't exist",
                "sql_error",
                "The table shop.orders does not exist.",
            ),
        ] {
            assert!(Facts::of(result, error).are_cited_in(text), "{text}");
        }
    }

    #[test]
    fn text_that_goes_on_or_only_names_the_thing_cites_nothing() {
        let facts = Facts::of(NO_PYTEST, "command_not_found");
        for text in [
            "All tests pass under pytest now.",
            "I installed pytest and ran the suite.",
            "The parser does not handle empty lines.",
            "If pytest is not installed, run pip install pytest.",
            "",
        ] {
            assert!(!facts.are_cited_in(text), "{text}");
        }
        let file = Facts::of("bash: line 1: file: command not found", "command_not_found");
        assert!(!file.are_cited_in("The file does not end with a line break."));
        assert!(file.are_cited_in("The tool `file` is not installed."));
        assert!(Facts::of("x", "exit_code").is_empty());
    }

    #[test]
    fn common_names_are_sorted_for_their_search() {
        assert!(COMMON.is_sorted());
    }
}
