//! The nouns: a rollout and its messages, borrowed from a decoded batch.
//!
//! Owns the types alone. Reading them from columns is [`crate::batch`]'s work, reading structure out of
//! them [`crate::steps`]'s.

use std::borrow::Cow;

pub use crate::message::{CALL_MARKER, END_OF_TURN, Message, Role, ToolCall, with_answers};
use crate::tokens::Tokens;

/// One sampled conversation: one input row.
#[derive(Clone, Debug)]
pub struct Rollout<'a> {
    pub id: Cow<'a, str>,
    /// Prompt or task; absent if the data does not say.
    pub group: Option<&'a str>,
    pub messages: Vec<Message<'a>>,
    pub tokens: Option<Tokens<'a>>,
}
