//! What rows look like that other programs wrote, each turned into the native row.
//!
//! Owns what others see of the registry: one [`Form`] for each, which holds all that belongs to it, in a file of its own. A form knows nothing of
//! files: it gets one JSON value and gives rows. Text is taken over byte for byte; what a form can't say stays absent. A
//! row's fields that have no native name pass through, a message's are kept as JSON beside it. The few that are lost are
//! declared, so that they can be counted.
//!
//! A new form is a file with its `FORM`, named here, and a line in [`FORMS`]; tests ask for a fixture that bears its name.

mod anthropic;
mod atif;
mod blocks;
mod chat_text;
mod claude_code;
mod codex;
mod form;
mod gemini_cli;
mod inspect_ai;
mod items;
mod langchain;
mod message_parts;
mod messages;
mod mini_swe_agent;
mod ms_swift;
mod native;
mod nemo_gym;
mod opencode;
mod openhands;
mod parts;
mod pi;
mod prompt_completion;
mod reading;
mod registry;
mod responses;
mod sharegpt;
mod smolagents;
mod span_messages;
mod span_values;
mod spans;
mod swe_agent;
mod tau2;
mod token_ids;
mod traces;
mod verl;

pub use form::Form;
pub(super) use form::{Beside, INSTANCE, TRIAL_RESULT};
pub(super) use messages::{WEIGHT, joined};
pub use native::Row;
pub(super) use native::kind;
pub use reading::Reading;
pub use registry::{FORMS, NATIVE, named};
pub(super) use registry::{is_marker, nearest, takes_a_second_look};
