//! Calls and answers that stand in a message's text, between markers.
//!
//! Owns the table of protocols and the cutting of text by it, and nothing of messages: who speaks is
//! [`crate::rollout`]'s to say. Text is only cut, never changed.

use std::sync::LazyLock;

use regex::Regex;

/// The marker that opens a call in Hermes and Qwen chat text.
pub const CALL_MARKER: &str = "<tool_call>";

/// How one kind of agent writes calls and gets their answers.
#[derive(Debug)]
pub struct Protocol {
    /// Who writes it.
    pub name: &'static str,
    /// What a call stands between; a closing marker without text: the call goes on to the end.
    pub call: (&'static str, &'static str),
    /// What an answer stands between; a closing marker without text: the answer is the whole message.
    pub answer: (&'static str, &'static str),
    /// Whether the markers of a call may as well be meant for the reader: then only an answer after it makes it one.
    pub needs_answer: bool,
}

/// In the order in which they are tried.
pub static PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "Hermes, Qwen",
        call: (CALL_MARKER, "</tool_call>"),
        answer: ("<tool_response>", "</tool_response>"),
        needs_answer: false,
    },
    Protocol {
        name: "ReTool",
        call: ("<code>", "</code>"),
        answer: ("<interpreter>", "</interpreter>"),
        needs_answer: true,
    },
    Protocol {
        name: "Search-R1",
        call: ("<search>", "</search>"),
        answer: ("<information>", "</information>"),
        needs_answer: true,
    },
    Protocol {
        name: "ReSearch",
        call: ("<search>", "</search>"),
        answer: ("<result>", "</result>"),
        needs_answer: true,
    },
    Protocol {
        name: "SkyRL-SQL",
        call: ("<sql>", "</sql>"),
        answer: ("<observation>", "</observation>"),
        needs_answer: true,
    },
    Protocol {
        name: "ToRL, SimpleTIR",
        call: ("```python\n", "```"),
        answer: ("```output\n", "```"),
        needs_answer: true,
    },
    Protocol { name: "mini-swe-agent", call: ("```bash\n", "```"), answer: ("<returncode>", ""), needs_answer: true },
    Protocol {
        name: "mini-swe-agent 2",
        call: ("```mswea_bash_command\n", "```"),
        answer: ("<returncode>", ""),
        needs_answer: true,
    },
    Protocol {
        name: "OpenHands, Qwen Coder",
        call: ("<function=", "</function>"),
        answer: ("EXECUTION RESULT of [", ""),
        needs_answer: true,
    },
    Protocol {
        name: "CodeAct",
        call: ("<execute_bash>", "</execute_bash>"),
        answer: ("OBSERVATION:", ""),
        needs_answer: true,
    },
    Protocol {
        name: "CodeAct, Python",
        call: ("<execute_ipython>", "</execute_ipython>"),
        answer: ("OBSERVATION:", ""),
        needs_answer: true,
    },
    Protocol { name: "ReAct", call: ("Action:", ""), answer: ("Observation:", ""), needs_answer: true },
    Protocol { name: "Terminus", call: ("{", "}"), answer: ("New Terminal Output:", ""), needs_answer: true },
];

/// Opening markers of answers that may stand within what a model said.
pub fn answers_within() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().filter(|p| p.needs_answer && !p.answer.1.is_empty()).map(|p| p.answer.0)
}

/// Where the last call of a text begins, if the text ends with it.
fn last_call(text: &str, protocol: &Protocol) -> Option<usize> {
    let (open, close) = protocol.call;
    let inner = text.trim_end().strip_suffix(close)?;
    if close.is_empty() {
        let at = inner.rfind(open)?;
        return is_line_start(text, at).then_some(at);
    }
    if open == "{" {
        // The whole text is the call.
        let is_call = inner.trim_start().starts_with(open) && inner.contains("\"keystrokes\"");
        return is_call.then_some(text.len() - text.trim_start().len());
    }
    let at = inner.rfind(open)?;
    (!inner[at + open.len()..].contains(close)).then_some(at)
}

fn is_line_start(text: &str, at: usize) -> bool {
    text[..at].chars().next_back().is_none_or(|before| before == '\n')
}

/// Where the calls of a text begin that are surely calls.
pub fn call_at(text: &str) -> Option<usize> {
    text.find(CALL_MARKER)
}

/// Where the call of a text begins that is one if an answer follows.
pub fn answered_call_at(text: &str) -> Option<usize> {
    PROTOCOLS.iter().filter(|protocol| protocol.needs_answer).find_map(|protocol| last_call(text, protocol))
}

/// Whose answers may follow a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callers(u32);

impl Callers {
    /// Nothing was asked.
    pub const NONE: Callers = Callers(0);
    /// Anybody's: a tool speaks.
    pub const ANY: Callers = Callers(u32::MAX);

    /// Those whose calls end a text.
    pub fn of(text: &str) -> Self {
        let is_call = |protocol: &Protocol| match protocol.needs_answer {
            true => last_call(text, protocol).is_some(),
            false => text.contains(protocol.call.0),
        };
        Self::those(is_call)
    }

    /// Those whose answers are told by markers that nobody else writes: calls that do not stand in text may be answered so.
    pub fn marked() -> Self {
        Self::those(|protocol| !protocol.answer.1.is_empty() || protocol.answer.0.starts_with('<'))
    }

    fn those(holds: impl Fn(&Protocol) -> bool) -> Self {
        let bits = PROTOCOLS.iter().enumerate().filter(|(_, protocol)| holds(protocol));
        Callers(bits.fold(0, |so_far, (k, _)| so_far | 1 << k))
    }

    fn has(self, k: usize) -> bool {
        self.0 >> k & 1 == 1
    }
}

/// What a message that is nothing but answers to these says, without the markers around the whole; `None` for any other.
pub fn answer(text: &str, callers: Callers) -> Option<&str> {
    if callers == Callers::NONE {
        return None;
    }
    let trimmed = text.trim();
    // Most messages are none: their first character tells.
    if !trimmed.starts_with(['<', '`', 'N', 'E', 'O']) {
        return None;
    }
    PROTOCOLS.iter().enumerate().filter(|(k, _)| callers.has(*k)).find_map(|(_, protocol)| {
        let (open, close) = protocol.answer;
        let inner = trimmed.strip_prefix(open)?;
        match close {
            "" => Some(text),
            _ => without_line_breaks(inner.strip_suffix(close)?).into(),
        }
    })
}

/// How a text looks that may hold calls which nothing has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallLook {
    /// Code or a tag, which some agents call by and others show to the reader.
    Code,
    /// Nobody writes this to a reader.
    Call,
}

/// Openings of calls that no protocol of the table reads: other templates' special tokens, blocks and parts as JSON.
const OTHER_CALLS: &[&str] = &[
    r"<function_calls?>",
    r"<invoke name=",
    r"<tool_use>",
    r"<\|tool▁calls?▁begin\|>",
    r"<｜tool▁calls?▁begin｜>",
    r"<\|tool_calls?(_begin|_section_begin)?\|>",
    r"\[TOOL_CALLS\]",
    r"<\|python_tag\|>",
    r"<\|channel\|>commentary to=",
    r"<｜DSML｜",
    r"(?m)^Action Input:",
    r#""type"\s*:\s*"(tool_use|tool_call|toolCall|tool-call|function_call|tool_result)""#,
    r#""(functionCall|function_call|tool_calls)"\s*:\s*[\[{]"#,
];

/// How a text of a model looks in which no call was read.
pub fn call_look(text: &str) -> Option<CallLook> {
    static CALLS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let sure = [PROTOCOLS[0].call.0, "<function=", "<execute_bash>", "<execute_ipython>"].map(regex::escape);
        Regex::new(
            &sure.into_iter().chain(OTHER_CALLS.iter().map(|call| (*call).to_owned())).collect::<Vec<_>>().join("|"),
        )
        .ok()
    });
    if CALLS.as_ref().is_some_and(|calls| calls.is_match(text)) {
        return Some(CallLook::Call);
    }
    // A tag and its end may stand anywhere; a block of code is more often than not for the reader, but at the very end.
    let is_code = |protocol: &Protocol| {
        let (open, close) = protocol.call;
        let is_tag = open.starts_with('<') && text.find(open).is_some_and(|at| text[at..].contains(close));
        protocol.needs_answer && (is_tag || last_call(text, protocol).is_some())
    };
    PROTOCOLS.iter().any(is_code).then_some(CallLook::Code)
}

fn without_line_breaks(text: &str) -> &str {
    let text = text.strip_prefix('\n').unwrap_or(text);
    text.strip_suffix('\n').unwrap_or(text)
}

/// A piece of text that model and tools wrote in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    Said(&'t str),
    Answered(&'t str),
}

/// The pieces of a text in which answers follow calls; `None` if there is none. The line breaks next to an answer's markers
/// belong to them.
pub fn split(text: &str) -> Option<Vec<Piece<'_>>> {
    PROTOCOLS.iter().find_map(|protocol| split_by(text, protocol))
}

fn split_by<'t>(text: &'t str, protocol: &Protocol) -> Option<Vec<Piece<'t>>> {
    let ((_, call_end), (open, close)) = (protocol.call, protocol.answer);
    if close.is_empty() || !protocol.needs_answer {
        return None;
    }
    let (mut out, mut rest, mut from) = (Vec::new(), text, 0);
    while let Some(found) = rest[from..].find(open) {
        let (said, inner) = (&rest[..from + found], &rest[from + found + open.len()..]);
        // An answer stands right after a call; anything else is what the model wrote.
        if !said.trim_end().ends_with(call_end) {
            from += found + open.len();
            continue;
        }
        let Some(length) = end_of(inner, close) else {
            // Cut off within the answer.
            out.extend([Piece::Said(own(said)), Piece::Answered(without_line_breaks(inner))]);
            return Some(out);
        };
        out.extend([Piece::Said(own(said)), Piece::Answered(without_line_breaks(&inner[..length]))]);
        rest = &inner[length + close.len()..];
        rest = rest.strip_prefix('\n').unwrap_or(rest);
        from = 0;
    }
    if out.is_empty() {
        return None;
    }
    if !rest.trim().is_empty() {
        out.push(Piece::Said(rest));
    }
    Some(out)
}

/// Where an answer ends: a fence on a line of its own, a tag anywhere.
fn end_of(inner: &str, close: &str) -> Option<usize> {
    match close {
        "```" if inner.starts_with(close) => Some(0),
        "```" => inner.find("\n```").map(|at| at + 1),
        _ => inner.find(close),
    }
}

/// What was said before an answer, without the line break that belongs to its marker.
fn own(said: &str) -> &str {
    said.strip_suffix('\n').unwrap_or(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_within_a_text_are_cut_out_of_it() {
        let text = "Let me.\n<code>\nprint(y)\n</code>\n<interpreter>\nNameError\n</interpreter>\nFix.\n<code>\nprint(3)\n\
                    </code>\n<interpreter>\n3\n</interpreter>\n<answer>3</answer>";
        let expected = [
            Piece::Said("Let me.\n<code>\nprint(y)\n</code>"),
            Piece::Answered("NameError"),
            Piece::Said("Fix.\n<code>\nprint(3)\n</code>"),
            Piece::Answered("3"),
            Piece::Said("<answer>3</answer>"),
        ];
        assert_eq!(split(text).as_deref(), Some(&expected[..]));
        let fences = "See.\n```python\nprint(y)\n```\n```output\na ``` b\n```\nDone.";
        let expected =
            [Piece::Said("See.\n```python\nprint(y)\n```"), Piece::Answered("a ``` b"), Piece::Said("Done.")];
        assert_eq!(split(fences).as_deref(), Some(&expected[..]));
        let search = "<think>a</think><search> q </search>\n\n<information>none</information>\n\n<answer> b </answer>";
        let expected = [
            Piece::Said("<think>a</think><search> q </search>\n"),
            Piece::Answered("none"),
            Piece::Said("\n<answer> b </answer>"),
        ];
        assert_eq!(split(search).as_deref(), Some(&expected[..]));
    }

    #[test]
    fn answer_that_is_cut_off_or_empty_is_one() {
        let cut = "<code>\nf()\n</code>\n<interpreter>\nTrace";
        assert_eq!(split(cut), Some(vec![Piece::Said("<code>\nf()\n</code>"), Piece::Answered("Trace")]));
        let empty = "```python\nx=1\n```\n```output\n```\n";
        assert_eq!(split(empty), Some(vec![Piece::Said("```python\nx=1\n```"), Piece::Answered("")]));
    }

    #[test]
    fn markers_that_answer_no_call_are_the_models_own() {
        for text in ["The tag <interpreter> opens it.", "```output\n3\n```", "<tool_call>\n{}\n</tool_call>", ""] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn call_at_the_end_of_a_text_is_found_and_one_within_is_not() {
        assert_eq!(answered_call_at("a <code>f()</code>\n"), Some(2));
        assert_eq!(answered_call_at("THOUGHT: see\n\n```bash\nls\n```"), Some(14));
        assert_eq!(answered_call_at("<search>a</search> <search>b</search>"), Some(19));
        assert_eq!(answered_call_at("```bash\nls\n``` and so on"), None);
        assert_eq!(answered_call_at("text\n```\nplain\n```"), None);
        assert_eq!(answered_call_at("{\"commands\": [{\"keystrokes\": \"ls\\n\"}]}"), Some(0));
        assert_eq!(answered_call_at("{\"answer\": 1}"), None);
    }

    #[test]
    fn calls_of_agents_without_an_api_for_them_are_found() {
        assert_eq!(
            answered_call_at("I look.\n<function=bash>\n<parameter=command>ls</parameter>\n</function>"),
            Some(8)
        );
        assert_eq!(answered_call_at("Thought: see\nAction: search\nAction Input: rust"), Some(13));
        assert_eq!(answered_call_at("My Action: search"), None);
        assert_eq!(answer("Observation: none found", Callers::ANY), Some("Observation: none found"));
        assert!(answer("EXECUTION RESULT of [execute_bash]:\na.txt", Callers::ANY).is_some());
        assert_eq!(answer("Only this.", Callers::ANY), None);
    }

    #[test]
    fn text_in_which_no_call_was_read_may_still_look_like_one() {
        for text in ["<tool_call>\n{}", "[TOOL_CALLS] [{}]", "x <invoke name=\"f\">", "[{\"type\": \"tool_use\"}]"] {
            assert_eq!(call_look(text), Some(CallLook::Call), "{text}");
        }
        assert_eq!(call_look("So:\n```python\nprint(3)\n```"), Some(CallLook::Code));
        for text in ["29", "The <search> tag", "{\"answer\": 1}", "```python\nprint(3)\n```\nprints 3."] {
            assert_eq!(call_look(text), None, "{text}");
        }
    }

    #[test]
    fn message_that_is_nothing_but_answers_is_told_by_its_markers() {
        assert_eq!(answer("<tool_response>\n3\n</tool_response>\n", Callers::ANY), Some("3"));
        assert!(
            answer("<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>", Callers::ANY)
                .is_some()
        );
        assert_eq!(
            answer("<returncode>1</returncode>\n<output>\n</output>", Callers::ANY),
            Some("<returncode>1</returncode>\n<output>\n</output>")
        );
        assert_eq!(answer("look: <tool_response>3</tool_response>", Callers::ANY), None);
        assert_eq!(answer("<tool_response> is a tag", Callers::ANY), None);
        assert_eq!(answer("Now what?", Callers::ANY), None);
    }

    #[test]
    fn answer_is_one_to_the_call_before_it_and_to_no_other_protocols() {
        let code = Callers::of("See.\n```python\nprint(y)\n```");
        assert_eq!(answer("Observation:\nYour answer is wrong.", code), None);
        assert!(answer("```output\n3\n```", code).is_some());
        assert!(answer("Observation: 3", Callers::of("Action: search\nAction Input: x")).is_some());
        assert_eq!(answer("Observation: 3", Callers::marked()), None);
        assert!(answer("<tool_response>3</tool_response>", Callers::marked()).is_some());
        assert_eq!(answer("<tool_response>3</tool_response>", Callers::NONE), None);
    }
}
