//! Residue: text that stays and speaks of an error which is gone.
//!
//! Owns which text of a repaired rollout was written after a removed error, and the wordings by which it gives that
//! away. What was written before the error can't speak of it: a shallow repair's own reasoning is never residue. Code
//! is looked at for its comments alone, since what a program prints is about the program.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::cited::Facts;
use crate::options::TextKind;
use crate::pattern::compiled;
use crate::rollout::Role;
use crate::saar::{Plan, called_code, step_text};
use crate::steps::Trajectory;

/// Where residue was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residue {
    /// In the newer reasoning that a deep repair brings in.
    pub reasoning: bool,
    /// In the call of the correction.
    pub call: bool,
    /// In the reasoning of the message directly after the repaired step.
    pub behind: bool,
}

impl Residue {
    pub fn is_any(self) -> bool {
        self.reasoning || self.call || self.behind
    }

    /// Whether the repair would be free of it with the older reasoning.
    pub fn goes_if_shallow(self) -> bool {
        self.reasoning && !self.call && !self.behind
    }
}

/// Looks at what one repair of a plan leaves.
pub fn find(trajectory: &Trajectory<'_, '_>, plan: &Plan, index: usize) -> Residue {
    let repair = &plan.repairs[index];
    let messages = &trajectory.rollout.messages;
    let reasoning_of = |step: usize| step_text(&messages[trajectory.steps[step].message], TextKind::Reasoning);
    let gone = Gone::new(trajectory, repair.first()..repair.last(), &repair.error_types);
    let reasoning = repair.reasoning != repair.first() && {
        let text = reasoning_of(repair.reasoning);
        gone.is_named_in(&text) || COMPLAINT.is_match(&text)
    };
    let call = called_code(&messages[trajectory.steps[repair.last()].message]).iter().any(|called| {
        is_prose(&called.code) && (gone.is_named_in(&called.code) || COMPLAINT.is_match(&called.code))
            || looks_back(&comments(&called.code))
    });
    // The step after may be another repair's, with reasoning from after an error of its own.
    let behind = repair.last() + 1;
    let follows = trajectory.steps.get(behind).is_some_and(|s| s.message == trajectory.steps[repair.last()].end());
    let keeps_its_reasoning =
        || plan.repairs.get(index + 1).is_none_or(|next| next.first() != behind || next.reasoning == behind);
    Residue { reasoning, call, behind: follows && keeps_its_reasoning() && gone.is_named_in(&reasoning_of(behind)) }
}

/// What one repair has removed, as far as later text may repeat it.
struct Gone {
    /// What the errors found out: text that states it has no ground any more.
    facts: Facts,
    /// Names of exceptions, as one writes them in a sentence: `keyerror`, `key error`.
    names: Vec<String>,
    /// The telling words of each message.
    messages: Vec<BTreeSet<String>>,
}

/// Errors of one run that are read, from the last one back.
const MAX_ERRORS: usize = 4;
/// An error's message is repeated if so many of its telling words stand in one sentence,
const MIN_WORDS: usize = 3;
/// and this share of them.
const MIN_SHARE: f64 = 0.6;

impl Gone {
    fn new(trajectory: &Trajectory<'_, '_>, steps: std::ops::Range<usize>, error_types: &[String]) -> Self {
        let classes = error_types.iter().filter(|t| t.ends_with("Error") || t.ends_with("Exception"));
        let mut facts = Facts::default();
        for (step, error) in steps.clone().zip(error_types) {
            for message in &trajectory.rollout.messages[trajectory.steps[step].results.clone()] {
                facts.extend(Facts::of(message.content.unwrap_or_default(), error));
            }
        }
        let results = steps.rev().take(MAX_ERRORS).flat_map(|step| {
            trajectory.rollout.messages[trajectory.steps[step].results.clone()].iter().filter(|m| m.role == Role::Tool)
        });
        Gone {
            facts,
            names: classes.flat_map(|class| [class.to_lowercase(), spelled_out(class)]).collect(),
            messages: results
                .map(|m| telling_words(m.content.unwrap_or_default()))
                .filter(|words| words.len() >= MIN_WORDS)
                .collect(),
        }
    }

    /// Whether a text that was written after the errors speaks of them.
    fn is_named_in(&self, text: &str) -> bool {
        if looks_back(text) || self.facts.are_cited_in(text) {
            return true;
        }
        let lower = text.to_lowercase();
        if self.names.iter().any(|name| lower.contains(name)) {
            return true;
        }
        // A message of which the whole text has too few words is in none of its sentences.
        let is_near = |message: &&BTreeSet<String>| repeats(message, |word| lower.contains(word));
        let near: Vec<&BTreeSet<String>> = self.messages.iter().filter(is_near).collect();
        !near.is_empty()
            && SENTENCE_END.split(&lower).any(|sentence| {
                let words: BTreeSet<String> = words(sentence).collect();
                near.iter().any(|message| repeats(message, |word| words.contains(word)))
            })
    }
}

/// Whether enough of a message's telling words are there.
fn repeats(message: &BTreeSet<String>, is_there: impl Fn(&str) -> bool) -> bool {
    let shared = message.iter().filter(|word| is_there(word)).count();
    shared >= MIN_WORDS && shared as f64 >= MIN_SHARE * message.len() as f64
}

/// `ZeroDivisionError` as `zero division error`.
fn spelled_out(class: &str) -> String {
    let mut out = String::new();
    for c in class.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The words of the line that says what went wrong: the last one that speaks of an error, without its class.
fn telling_words(result: &str) -> BTreeSet<String> {
    const MAX_LINES: usize = 40;
    const MAX_CHARS: usize = 200;
    let line = result.lines().rev().take(MAX_LINES).find(|line| ERROR_LINE.is_match(line)).unwrap_or_default();
    let said = ERROR_LINE.find(line).map_or(line, |found| &line[found.end()..]);
    let said: String = said.chars().take(MAX_CHARS).collect();
    words(&said.to_lowercase()).filter(|word| !COMMON.contains(&word.as_str())).collect()
}

/// Words that many errors share, and those that say nothing.
const COMMON: &[&str] = &[
    "the", "and", "for", "that", "this", "with", "not", "are", "was", "has", "have", "you", "cannot", "can", "error",
    "int", "str", "object",
];

/// Stems, so that `exchanged` is `exchanges`.
fn words(lower: &str) -> impl Iterator<Item = String> {
    lower.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.chars().nth(2).is_some()).map(|word| {
        let stem = ["ing", "ed", "es", "s", "e"].iter().find_map(|end| word.strip_suffix(end));
        stem.unwrap_or(word).to_owned()
    })
}

/// Arguments that are sentences (a tool to think with, a summary for a human), not code.
fn is_prose(text: &str) -> bool {
    const MIN_WORDS: usize = 6;
    let is_sign =
        |b: &u8| matches!(b, b'=' | b'(' | b')' | b'{' | b'}' | b'[' | b']' | b';' | b'_' | b'<' | b'>' | b'#' | b'\\');
    text.bytes().filter(|b| is_sign(b)).count() * 33 < text.len()
        && text.split_whitespace().nth(MIN_WORDS - 1).is_some()
}

/// The comments of code, whatever its language.
fn comments(code: &str) -> String {
    code.lines().filter_map(comment).collect::<Vec<_>>().join("\n")
}

/// From a mark that stands free to the end of the line.
fn comment(line: &str) -> Option<&str> {
    let bytes = line.as_bytes();
    let behind_mark = |at: usize| match bytes[at] {
        b'#' => Some(at + 1),
        b'/' | b'-' if bytes.get(at + 1) == Some(&bytes[at]) => Some(at + 2),
        _ => None,
    };
    let is_blank = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_whitespace);
    let stands_free = |at: &usize| *at == 0 || is_blank(at - 1);
    let start = (0..bytes.len()).filter(stands_free).filter_map(behind_mark).find(|end| is_blank(*end))?;
    Some(line[start..].trim())
}

/// One pattern of many; letters stand for both cases, `\b` and `\w` for ASCII, which is much faster.
fn any_of(patterns: &[&str]) -> Regex {
    let all = patterns.iter().map(|p| format!("(?:{p})")).collect::<Vec<_>>().join("|");
    let all = all.replace(r"\b", r"(?-u:\b)").replace(r"\w", "[a-zA-Z0-9_]").replace('\'', "['’]");
    compiled(&format!("(?im){all}"))
}

static SENTENCE_END: LazyLock<Regex> = LazyLock::new(|| any_of(&[r"[.!?](?:\s|$)", r"\n"]));
static ERROR_LINE: LazyLock<Regex> =
    LazyLock::new(|| any_of(&[r"(?:error|exception)\w*(?: executing query)?[\]):]*[ \t]*"]));

/// Most text holds no word that every wording needs one of, and a search for plain words is quick.
fn looks_back(text: &str) -> bool {
    HINT.is_match(text) && LOOKING_BACK.is_match(text)
}

static HINT: LazyLock<Regex> = LazyLock::new(|| {
    any_of(&[
        "error",
        "exception",
        "trace",
        "mistake",
        "typo",
        "bug",
        "problem",
        "forgot",
        "miss",
        "mistype",
        "mistook",
        "overlook",
        "neglect",
        "my bad",
        "oversight",
        "confusion",
        "inconvenience",
        "oops",
        "oh no",
        "uh oh",
        "i see",
        "fix",
        "correct",
        "resolv",
        "address",
        "handl",
        "modified",
        "revised",
        "again",
        "retry",
        "rerun",
        "re-run",
        "one more",
        "once more",
        "this time",
        "attempt",
        "previous",
        "earlier",
        "prior",
        "failed",
        "last",
        "first",
        "initial",
        "original",
        " now",
        "now ",
        "approach",
        "differently",
        "another way",
        "timing out",
        "timed out",
        "too long",
        "very long",
        "too slow",
        "hanging",
        "roadblock",
        "technical",
        "trouble",
        "issues",
        "since ",
        "instead",
        "without",
    ])
});

/// Wordings that look back on an error, a failed attempt or its repair, wherever they come after it.
static LOOKING_BACK: LazyLock<Regex> = LazyLock::new(|| {
    any_of(&[
        // The error itself.
        r"\b(?:the|this|that|an|another|previous|last|earlier|\w+) (?:error|exception|traceback)s? (?:message )?(?:indicate|say|said|show|suggest|mean|occurr?|was|is (?:caused|due|because|raised)|in the (?:previous|last|code above)|because|due to|states|tells)",
        r"\b(?:error message|stack ?trace|traceback)\b",
        r"\b(?:this|that|the same|previous|last|above|there's an|there is an) (?:\w+ )?(?:error|exception)\b",
        r"\bthere (?:was|were|seems to be|appears to be)(?: still)? (?:an?|some|another) (?:\w+ )?(?:error|mistake|typo|bug|problem with (?:my|the) (?:code|call|command|query))",
        r"\b(?:got|getting|get|received|encountered|hit|threw|throws|throwing|raised|raises|raising) (?:an?|the|this|that|another) (?:\w+ )?(?:error|exception|\w+error|\w+exception)\b",
        r"\bno (?:more|longer any) (?:\w+)?errors?\b",
        // Whose fault it was.
        r"\b(?:I|we)(?:'ve| have)? (?:also |just |accidentally |mistakenly |incorrectly |clearly )?(?:made (?:an?|another|the|some|that|this) (?:\w+ )?(?:mistake|error|typo)s?|forgot|forgotten|missed|misspelled|mistyped|mistook|overlooked|neglected)\b",
        r"\b(?:I|we) (?:was|were) missing\b",
        r"\bmy (?:mistake|bad|error|typo|oversight)\b",
        r"\b(?:apologi[sz]e|apologies|sorry) for (?:the|my|that|this|any) (?:\w+ )?(?:mistake|error|oversight|typo)s?\b",
        r"\b(?:apologi[sz]e|apologies|sorry) for the (?:\w+ )?(?:confusion|inconvenience) (?:earlier|before)\b",
        r"\b(?:oops|whoops|oh no|uh oh)\b",
        r"\bah,? I see\b|\bI see (?:the|my) (?:issue|problem|mistake|error)\b|\bI see what went wrong\b",
        // What is done about it.
        r"\b(?:fix|correct|resolv|address|handl)(?:e|es|s|ed|ing)? (?:the|this|that|these|my|those) (?:\w+ ){0,2}(?:error|mistake|typo|exception|assertion|import|indentation|syntax|traceback|failure|case)s?\b",
        r"\b(?:let me|let's|let us|I'll|I will|I should|(?:I|we) need to|we should|(?:I|we) can|I must|try to|trying to|to) (?:now |quickly )?(?:fix|correct) (?:it|this|that)\b",
        r"\bI(?:'ve| have)? (?:fixed|corrected)\b",
        r"\b(?:modified|corrected|fixed|revised) (?:\w+ )?(?:solution|code|version|query|function|script|command|call|parameters?|import)\b",
        r"\b(?:with|using) the correct (?:parameter|argument|name|column|table|path|syntax|value|import)s?\b",
        // Once more.
        r"\b(?:try|run|use|execute|call|import|retry|attempt|test|submit|do)(?:ning|ting|ing)?\b[^.!?\n]{0,40}\bagain\b",
        r"\b(?:trying|using|executing)\b[^.!?\n]{0,40}\bagain\b",
        r"\b(?:retry|retrying|re-?run(?:ning)?|try(?:ing)? (?:it |that |this )?(?:once|one) more)\b|\bone more time\b",
        r"\b(?:hopefully|should|let's hope)\b[^.!?\n]{0,60}\bthis time\b|\bthis time (?:it|with|using|I|we)\b",
        r"\b(?:previous|earlier|last|first|prior|failed|initial|original) (?:attempt|try|tries|call|query|command|execution|import|calculation)s?\b[^.!?\n]{0,30}\b(?:fail|didn't|did not|was|were|might have been|had|error|incorrect|wrong)",
        r"\b(?:failed|previous|earlier) (?:attempt|try)s?\b",
        // Another way, as agents announce it.
        r"\b(?:try|trying|take|use|using|need|find|switch to|adjust) (?:an? |the |some |my |our )?(?:(?:\w+ ){0,2}(?:different|alternative|another|other|new|simpler|better|faster|more \w+) )?(?:approach|strategy|technique)(?:es)?\b",
        r"\b(?:a|some|using) (?:completely |totally |slightly )?(?:different|alternative|simpler) (?:approach|method|way|strategy|technique|ports?|versions?)\b",
        r"\b(?:try|check|do|approach|think about|handle)\b[^.!?\n]{0,50}\bdifferently\b",
        r"\b(?:try|use|do|run|rewrite|work)(?:ing)?\b[^.!?\n]{0,30}\bwithout\b[^.!?\n]{0,30}\b(?:flag|option|dependency|parameter|module|library|package)s?\b",
        // What stood in the way.
        r"\b(?:is|are|was|were|keeps?|kept|been) (?:still )?(?:timing out|hanging|too slow|taking (?:too|so|very|a very) long|causing (?:issues|problems|errors|trouble))\b",
        r"\b(?:timed out|timing out)\b",
        r"\b(?:hit|ran into|running into|encounter(?:ed|ing)) (?:a |an |some )?(?:roadblock|snag|technical|issue|problem|difficult)\w*\b|\btechnical (?:issues|difficulties|problems)\b",
        r"\b(?:having|had) (?:some )?(?:trouble|issues|difficult(?:y|ies)|problems) (?:with |access|us|connect|read|find)\w*\b",
        r"\bsince [^ ,.\n]+(?: [^ ,.\n]+)? (?:(?:is|are|was)(?:n't| not) (?:\w+ )?(?:installed|available|there|supported|accessible|working)|requires|failed|fails)\b",
        // It is well now.
        r"\b(?:works?|working|runs?|running|passes|passing|passed|evaluates?|returns?|returning|executes?|handles?|correct|defined|installed|imported)(?: \w+){0,2} now\b",
        r"\bnow (?:\w+ly )?(?:works|working|runs|running|passes|passing|handles|evaluates|returns|returning|compiles|succeeds|correct|fixed)\b",
        r"\bnow be (?:correct|fixed|working|right)\b",
    ])
});

/// Complaints that are about the error where they stand right after it; elsewhere they may be about anything.
static COMPLAINT: LazyLock<Regex> = LazyLock::new(|| {
    any_of(&[
        r"\b(?:does|do)(?:n't| not) exist\b",
        r"\b(?:is|are)(?:n't| not) (?:\w+ )?(?:defined|installed|available|found|valid|supported|allowed|a valid|sufficient|enough|accessible|present|recogni[sz]ed)\b",
        r"\bnot (?:defined|installed|available|found|sufficient|enough|exist|supported|allowed|recogni[sz]ed|callable|iterable)\b",
        r"\b(?:undefined|unavailable|missing|no such|failed|fails|failing|invalid|incorrect(?:ly)?|discrepanc\w+|no longer)\b",
        r"\bno [^ \n]+ (?:column|table|module|file|attribute)\b",
        r"\bdoes(?:n't| not) have (?:an?|enough)\b",
        r"\b(?:did|does)(?:n't| not) work\b|\bnot working\b",
        r"\b(?:does|do|did|will|would|can)(?:n't| not|not) (?:\w+ )?(?:recogni[sz]e|like|allow|support|have|accept|understand|know|see|take|let|find|expect|install|match|provide)\b",
        r"\b(?:breaks|broke|refuses?|complains?|conflicts? with|clashes|not (?:a )?valid|has the wrong|wrong form|unsupported|temporarily)\b",
        r"\bstill (?:see|show|fail|get|has|have|not|there|wrong|broken|visible|running into|timing)\w*\b",
        r"\b(?:the|this|that|my|main|real) (?:issue|problem|trouble|bug)s? (?:is|was|are|seems|must|here|could|might)\b|\bhaving issues\b|\bhave a bug\b",
        r"\b(?:oh|ah|aha|hmm|i see|right)\b ?[,.!:-]",
        r"\b(?:let me|let's|i'll|i will|i need to|we need to|i should|i have to|i must) (?:now |just |quickly |actually )?(?:fix|correct|adjust|repair|wrap|rewrite|simplify|put it|escape)\b",
        r"\b(?:let me|let's|i'll|i will) (?:now |just )?(?:try|use) (?:with |it with |using )?(?:the |an? )?(?:just|only|correct|proper|right|available|existing)\b|\b(?:proper|correct|right) (?:\w+ )?(?:types?|formats?|tools?|names?|syntax|paths?|versions?)\b",
        r"\btak(?:es|ing) (?:a |too |so |very )*(?:very )?long\b|\btoo (?:long|slow|large|big|many)\b|\bis stuck\b",
        r"\b(?:try|use|switch to|go with) (?:\w+ ){0,4}instead\b|\bmore (?:robust|compatible|efficient|conservative|direct|practical) (?:approach|way|version|method)s?\b",
        r"\bis empty\b|\bstill have an? (?:issue|problem)\b|\bconfirmed the (?:issue|problem|error|bug)\b",
    ])
});

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(error_types: &[&str], results: &[&str]) -> Gone {
        Gone {
            facts: Facts::default(),
            names: error_types.iter().flat_map(|t| [t.to_lowercase(), spelled_out(t)]).collect(),
            messages: results.iter().map(|r| telling_words(r)).filter(|w| w.len() >= MIN_WORDS).collect(),
        }
    }

    /// Sentences of our own, written as models write after an error.
    #[test]
    fn text_that_looks_back_on_an_error_is_residue() {
        let gone = gone(&["KeyError"], &["Traceback (most recent call last):\nKeyError: 'region'"]);
        for text in [
            "The error message indicates that the column has another name.",
            "I got an exception because the list was empty.",
            "I forgot to import numpy, so the name was unknown.",
            "We missed the second argument.",
            "Oops, wrong order of arguments.",
            "My mistake: the index starts at one.",
            "Let me fix the indentation and go on.",
            "Let's correct that and compute the mean.",
            "I’ve fixed the call; the mean is 4.",
            "Let me try again with the other table.",
            "I will rerun it with a smaller range.",
            "Hopefully it finds the file this time.",
            "The previous attempt failed since the server was not up.",
            "The function is working correctly now.",
            "The query now returns a single row.",
            "There are no more errors, so I can answer.",
            "Sorry for the earlier mistake.",
            "The corrected query gives 12 rows.",
            "A KeyError means that the column is called otherwise.",
            "That was a key error, so I list the columns first.",
        ] {
            assert!(gone.is_named_in(text), "{text}");
        }
    }

    #[test]
    fn text_that_only_goes_on_is_no_residue() {
        let gone = gone(&["KeyError"], &["KeyError: 'region'"]);
        for text in [
            "The mean is 4, so the answer is 4.",
            "The standard error of the mean is 0.3, and the margin of error 0.6.",
            "Now I compute the second sum.",
            "There are five rows in the table. I check its columns next.",
            "The problem asks for the sum of all primes below 1000.",
            "I can now write a query that joins both tables.",
            "To fix the radius, we set r = 1.",
            "It can't be exchanged at this time.",
            "The code handles errors by itself and logs them.",
            "We get the same number as before.",
        ] {
            assert!(!gone.is_named_in(text), "{text}");
        }
    }

    #[test]
    fn the_errors_own_words_are_known_again_in_one_sentence() {
        let gone = gone(&[], &["Error: gift card balance is not enough"]);
        assert!(gone.is_named_in("The balance of the gift card does not cover it: it is not enough."));
        assert!(!gone.is_named_in("I pay with the card. The gift is for a friend. The balance is fine."));
    }

    #[test]
    fn only_comments_of_code_are_looked_at() {
        let code = "try:\n    f()\nexcept ValueError:\n    print('an error occurred, try again')  # retry below";
        assert_eq!(comments(code), "retry below");
        assert!(!is_prose(code));
        assert!(is_prose("The card does not have enough balance, so I look for another one."));
        assert_eq!(comments("x = 1\n# a\ny = 2 # b"), "a\nb");
        assert_eq!(comments("SELECT 1"), "");
        assert!(gone(&["NameError"], &[]).is_named_in(&comments("# fixed the NameError\nx = 1")));
    }

    #[test]
    fn complaints_count_right_behind_the_error_alone() {
        assert!(COMPLAINT.is_match("The `visitors` table does not exist."));
        assert!(COMPLAINT.is_match("It seems that the module is not installed."));
        assert!(!COMPLAINT.is_match("The table has three columns."));
    }
}
