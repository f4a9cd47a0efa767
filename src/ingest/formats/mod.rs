//! What rows look like that other programs wrote, each turned into the native row.
//!
//! Owns the registry: one [`Form`] for each, which holds all that belongs to it, in a file of its own. A form knows nothing of
//! files: it gets one JSON value and gives rows. Text is taken over byte for byte; what a form can't say stays absent. A
//! row's fields that have no native name pass through, a message's are kept as JSON beside it. The few that are lost are
//! declared, so that they can be counted.
//!
//! A new form is a file with its `FORM` and a line in [`FORMS`]; tests ask for a fixture that bears its name.

mod anthropic;
mod atif;
mod blocks;
mod chat_text;
mod claude_code;
mod codex;
mod form;
mod inspect_ai;
mod items;
mod langchain;
mod messages;
mod mini_swe_agent;
mod ms_swift;
mod native;
mod nemo_gym;
mod openhands;
mod prompt_completion;
mod reading;
mod responses;
mod sharegpt;
mod swe_agent;
mod tau2;
mod token_ids;
mod traces;
mod verl;

use std::sync::LazyLock;

use regex::bytes::Regex;
use serde_json::Value;

use crate::protocol::{self, Piece};
use crate::schema::MESSAGES;
pub(super) use form::{Beside, INSTANCE, TRIAL_RESULT};
pub use form::{Form, Row};
pub(super) use messages::{WEIGHT, joined};
pub(super) use native::kind;
use native::message;
pub use reading::Reading;

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
    &openhands::FORM,
    &openhands::STREAM,
    &mini_swe_agent::FORM,
    &tau2::FORM,
    &inspect_ai::FORM,
    &anthropic::FORM,
    &langchain::FORM,
    &ms_swift::FORM,
    &messages::FORM,
    &responses::FORM,
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
pub(super) fn takes_a_second_look(lines: &[u8]) -> bool {
    SIGNS.as_ref().is_none_or(|signs| signs.is_match(lines))
}

/// Cuts text that model and tools wrote in turn, an assistant's, into their messages.
fn split_answers(row: &mut Row) {
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
pub(super) fn nearest(row: &Row) -> Vec<(&'static Form, String)> {
    let mut near: Vec<_> = FORMS.iter().map(|form| (*form, form.match_of(row))).collect();
    near.retain(|(_, (score, _))| *score > 0);
    near.sort_by_key(|(_, (score, _))| std::cmp::Reverse(*score));
    near.into_iter().map(|(form, (_, unmet))| (form, unmet)).collect()
}

/// Whether any form is recognised by a field.
pub(super) fn is_marker(field: &str) -> bool {
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
