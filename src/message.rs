//! A message and its calls, borrowed from a decoded batch.
//!
//! Owns the types, and what in a message's text is a call or an answer; [`crate::rollout`] hands them on. Text is what the data
//! holds, byte for byte.

use crate::protocol;
pub use crate::protocol::CALL_MARKER;
use crate::protocol::Callers;

/// The marker that ends a message in ChatML.
pub const END_OF_TURN: &str = "<|im_end|>";

/// Who wrote a message. `developer` counts as system, `function` as tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    pub const KNOWN: &'static str = "system, developer, user, assistant, tool or function";

    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => return None,
        })
    }
}

/// One entry of `messages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub role: Role,
    pub content: Option<&'a str>,
    /// `reasoning_content`: what some models write apart from the content.
    pub reasoning: Option<&'a str>,
    /// Which call a tool message answers, if the data says so.
    pub call_id: Option<&'a str>,
    /// The data's own word on a tool result.
    pub is_error: Option<bool>,
    /// `loss` is false: it is read and never trained on.
    pub is_context: bool,
    pub calls: Vec<ToolCall<'a>>,
}

/// One structured call; an absent name or argument string is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolCall<'a> {
    pub id: Option<&'a str>,
    pub name: &'a str,
    /// As the model wrote it, JSON or not.
    pub arguments: &'a str,
}

impl Message<'_> {
    /// Where the calls start inside the content, if they stand there and not in `calls` (docs/method.md, "Call segment and
    /// similarity").
    pub fn inline_call(&self) -> Option<usize> {
        let text = self.content.filter(|_| self.role == Role::Assistant && self.calls.is_empty())?;
        protocol::call_at(text).or_else(|| protocol::answered_call_at(text))
    }

    /// Whether what looks like its call is one only if an answer follows: a last block of code may be meant for the reader.
    pub fn needs_answer(&self) -> bool {
        self.inline_call().is_some() && self.content.is_some_and(|text| protocol::call_at(text).is_none())
    }

    /// Whose answers may follow it.
    fn callers(&self) -> Callers {
        match self.content {
            _ if !self.calls.is_empty() => Callers::marked(),
            Some(text) => Callers::of(text),
            None => Callers::NONE,
        }
    }

    pub fn has_call(&self) -> bool {
        self.call_count() > 0
    }

    /// How many calls it makes; those that stand in text count as one.
    pub fn call_count(&self) -> usize {
        match self.role {
            Role::Assistant if self.calls.is_empty() => usize::from(self.inline_call().is_some()),
            Role::Assistant => self.calls.len(),
            Role::System | Role::User | Role::Tool => 0,
        }
    }
}

/// A user's message that is nothing but answers to calls in the text before it is the tools'. What a tool says stands
/// without the markers of its protocol.
pub fn with_answers(mut messages: Vec<Message<'_>>) -> Vec<Message<'_>> {
    let mut asked = Callers::NONE;
    for message in &mut messages {
        let callers = match message.role {
            Role::Tool => Callers::ANY,
            Role::User => asked,
            Role::System | Role::Assistant => Callers::NONE,
        };
        if let Some(answer) = message.content.and_then(|text| protocol::answer(text, callers)) {
            message.role = Role::Tool;
            message.content = Some(answer);
        }
        asked = match message.role {
            Role::Assistant => message.callers(),
            Role::Tool => asked,
            Role::System | Role::User => Callers::NONE,
        };
    }
    messages
}
