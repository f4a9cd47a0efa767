//! What rows look like that other programs wrote, each turned into the native row.
//!
//! Owns the registry: one [`Form`] for each, which holds all that belongs to it, in a file of its own. A form knows nothing of
//! files: it gets one JSON value and gives rows. Text is taken over byte for byte; what a form can't say stays absent. A
//! row's fields that have no native name pass through, a message's are kept as JSON beside it. The few that are lost are
//! declared, so that they can be counted.
//!
//! A new form is a file with its `FORM` and a line in [`FORMS`]; tests ask for a fixture that bears its name.

mod atif;
mod chat_text;
mod form;
mod messages;
mod native;
mod nemo_gym;
mod prompt_completion;
mod sharegpt;
mod swe_agent;
mod token_ids;
mod traces;
mod verl;

pub(super) use form::{Beside, INSTANCE, TRIAL_RESULT};
pub use form::{Form, Row};
pub(super) use messages::{WEIGHT, joined};
pub(super) use native::kind;

/// Every form, in the order in which they are tried: the more a form asks for, the earlier.
pub static FORMS: &[&Form] = &[
    &atif::FORM,
    &swe_agent::FORM,
    &traces::FORM,
    &nemo_gym::FORM,
    &verl::FORM,
    &sharegpt::FORM,
    &messages::FORM,
    &prompt_completion::FORM,
    &chat_text::FORM,
];

/// The form of native rows, and of rows that are of no other.
pub static NATIVE: &Form = &messages::FORM;

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
