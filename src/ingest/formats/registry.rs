//! The registry of forms: all there are, in the order in which they are tried.
//!
//! Owns what is asked of all of them together: which one a row is of or comes near to, and which texts of a line take a second
//! look, because it may only look like native messages.

use std::sync::LazyLock;

use regex::bytes::Regex;
use serde_json::Value;

use super::form::Form;
use super::native::{Row, message};
use super::{
    anthropic, atif, chat_text, claude_code, codex, gemini_cli, inspect_ai, langchain, message_parts, messages,
    mini_swe_agent, ms_swift, nemo_gym, opencode, openhands, pi, prompt_completion, responses, sharegpt, smolagents,
    spans, swe_agent, tau2, traces, verl,
};
use crate::protocol::{self, Piece};
use crate::schema::MESSAGES;

/// Every form, in the order in which they are tried: the more a form asks for, the earlier.
pub static FORMS: &[&Form] = &[
    &atif::FORM,
    &swe_agent::FORM,
    &traces::FORM,
    &nemo_gym::FORM,
    &verl::FORM,
    &sharegpt::FORM,
    &claude_code::FORM,
    &codex::FORM,
    &gemini_cli::FORM,
    &pi::FORM,
    &opencode::FORM,
    &opencode::EVENTS,
    &smolagents::FORM,
    &smolagents::STREAM,
    &openhands::FORM,
    &openhands::STREAM,
    &mini_swe_agent::FORM,
    &tau2::FORM,
    &inspect_ai::FORM,
    &anthropic::FORM,
    &message_parts::FORM,
    &langchain::FORM,
    &ms_swift::FORM,
    &messages::FORM,
    &message_parts::GEMINI,
    &responses::FORM,
    &spans::OTLP,
    &spans::FORM,
    &prompt_completion::FORM,
    &chat_text::FORM,
];

/// The form of native rows, and of rows that are of no other.
pub static NATIVE: &Form = &messages::FORM;

/// Texts by which a line that looks like native messages is something else.
static SIGNS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let of_forms = FORMS.iter().flat_map(|form| form.signs).map(|sign| regex::escape(sign));
    let of_protocols = protocol::answers_within().map(|marker| regex::escape(&marker.replace('\n', "\\n")));
    Regex::new(&of_forms.chain(of_protocols).collect::<Vec<_>>().join("|")).ok()
});

/// Whether lines may hold what only looks like native messages.
pub fn takes_a_second_look(lines: &[u8]) -> bool {
    SIGNS.as_ref().is_none_or(|signs| signs.is_match(lines))
}

/// Cuts text that model and tools wrote in turn, an assistant's, into their messages.
pub(super) fn split_answers(row: &mut Row) {
    for name in MESSAGES {
        let Some(Value::Array(messages)) = row.get_mut(*name) else { continue };
        if !messages.iter().any(|message| said_in_turn(message).is_some()) {
            continue;
        }
        let mut out = Vec::with_capacity(messages.len());
        for said in std::mem::take(messages) {
            match said_in_turn(&said) {
                None => out.push(said),
                Some(parts) => out.extend(parts.into_iter().map(Value::Object)),
            }
        }
        *messages = out;
    }
}

/// The messages of an assistant's text that holds answers; what stands beside the text stays with the first.
fn said_in_turn(said: &Value) -> Option<Vec<Row>> {
    let said = said.as_object().filter(|said| said.get("role").is_some_and(|role| role == "assistant"))?;
    let pieces = protocol::split(said.get("content")?.as_str()?)?;
    let mut rest = Some(said);
    let part = |piece| match piece {
        Piece::Answered(answer) => message("tool", answer),
        Piece::Said(text) => {
            let mut out = rest.take().cloned().unwrap_or_default();
            out.extend(message("assistant", text));
            out
        }
    };
    Some(pieces.into_iter().map(part).collect())
}

/// The form of that name.
pub fn named(name: &str) -> Option<&'static Form> {
    FORMS.iter().copied().find(|form| form.name == name)
}

/// Forms that a row has something of, the nearest first, each with what is wrong.
pub fn nearest(row: &Row) -> Vec<(&'static Form, String)> {
    let mut near: Vec<_> = FORMS.iter().map(|form| (*form, form.match_of(row))).collect();
    near.retain(|(_, (score, _))| *score > 0);
    near.sort_by_key(|(_, (score, _))| std::cmp::Reverse(*score));
    near.into_iter().map(|(form, (_, unmet))| (form, unmet)).collect()
}

/// Whether any form is recognised by a field.
pub fn is_marker(field: &str) -> bool {
    FORMS.iter().any(|form| form.looks_at(field))
}

impl Form {
    /// The form of a row; the first that fits.
    pub fn of(row: &Row) -> Option<&'static Form> {
        FORMS.iter().copied().find(|form| form.is_met(row))
    }

    /// Whether its rows are native ones.
    pub fn is_native(&self) -> bool {
        self == NATIVE
    }
}
