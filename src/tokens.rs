//! Tokens of a rollout, aligned with its assistant messages.
//!
//! Owns the alignment of mask and messages and the place of the call marker (docs/method.md, "Tokens"). Cutting and
//! joining is [`crate::rewrite`]'s work. A log-prob that no longer holds is absent, never 0.0.

use std::ops::Range;

use crate::message::{CALL_MARKER, Message, Role};

/// Response tokens of one rollout: `ids` and `mask` are equally long.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    pub ids: &'a [i32],
    /// 1 where the policy wrote the token.
    pub mask: &'a [i8],
}

impl Tokens<'_> {
    /// The runs of mask 1, in order: the assistant messages of the response.
    pub fn policy_runs(&self) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut start = None;
        for (k, &m) in self.mask.iter().enumerate() {
            match (m != 0, start) {
                (true, None) => start = Some(k),
                (false, Some(from)) => {
                    runs.push(from..k);
                    start = None;
                }
                _ => {}
            }
        }
        runs.extend(start.map(|from| from..self.mask.len()));
        runs
    }

    /// The run of each assistant message, by message index; `None` where a message has no tokens in the response.
    ///
    /// Context has no run, unless there are too many for the other messages. Fewer runs than messages are told apart by
    /// what the runs hold: earlier messages stand in the prompt, later ones were truncated. An alignment that is not the
    /// only possible one is refused, never guessed.
    pub fn runs_by_message(
        &self,
        messages: &[Message<'_>],
        marker: Option<&CallMarker>,
    ) -> Result<Vec<Option<Range<usize>>>, AlignError> {
        let runs = self.policy_runs();
        let all = || messages.iter().enumerate().filter(|(_, m)| m.role == Role::Assistant);
        let mut assistants: Vec<usize> = all().filter(|(_, m)| !m.is_context).map(|(k, _)| k).collect();
        if assistants.len() < runs.len() {
            assistants = all().map(|(k, _)| k).collect();
        }
        let (count, found) = (assistants.len(), runs.len());
        let spare = count.checked_sub(found).ok_or(AlignError::TooManyRuns { messages: count, runs: found })?;
        let holds = |first: usize| {
            runs.iter().zip(&assistants[first..]).all(|(run, &m)| self.may_be(run, &messages[m], marker))
        };
        let first = match spare {
            0 => 0,
            _ => {
                let mut possible = (0..=spare).filter(|&first| holds(first));
                match (possible.next(), possible.next()) {
                    (Some(first), None) => first,
                    _ => return Err(AlignError::Ambiguous { messages: count, runs: found }),
                }
            }
        };
        let mut out = vec![None; messages.len()];
        for (run, &message) in runs.into_iter().zip(&assistants[first..]) {
            out[message] = Some(run);
        }
        Ok(out)
    }

    /// Whether a run can be a message's: a call marker where there is a call, and, where ids can be read, its text.
    fn may_be(&self, run: &Range<usize>, message: &Message<'_>, marker: Option<&CallMarker>) -> bool {
        let Some(marker) = marker else { return true };
        let ids = &self.ids[run.clone()];
        let text = message.content.unwrap_or_default().trim();
        marker.find(ids).is_some() == (message.has_call() && !message.needs_answer())
            && marker.text(ids).is_none_or(|decoded| text.is_empty() || decoded.contains(text))
    }
}

/// Why mask and messages don't fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlignError {
    #[error(
        "`response_mask` has {runs} runs of policy tokens, expected at most one for each of the {messages} assistant messages"
    )]
    TooManyRuns { messages: usize, runs: usize },
    #[error(
        "`response_mask` has {runs} runs of policy tokens for {messages} assistant messages, and which belongs to which can't be told"
    )]
    Ambiguous { messages: usize, runs: usize },
}

/// Turns ids into text, special tokens kept.
pub trait Decode: Send + Sync {
    /// `None` if the ids hold one that the vocabulary lacks.
    fn decode(&self, ids: &[i32]) -> Option<String>;
}

/// Finds the token in which the first call marker begins.
pub enum CallMarker {
    /// The marker's own ids.
    Ids(Vec<i32>),
    /// By the decoded text, whatever the tokenisation.
    Decoded(Box<dyn Decode>),
}

impl CallMarker {
    /// Index of the marker's first token within `ids`, or `None` if there is no marker.
    pub fn find(&self, ids: &[i32]) -> Option<usize> {
        match self {
            CallMarker::Ids(marker) => ids.windows(marker.len().max(1)).position(|window| window == marker),
            CallMarker::Decoded(decoder) => find_decoded(decoder.as_ref(), ids),
        }
    }

    /// The decoded text of a segment, where a tokenizer is at hand.
    pub fn text(&self, ids: &[i32]) -> Option<String> {
        match self {
            CallMarker::Ids(_) => None,
            CallMarker::Decoded(decoder) => decoder.decode(ids),
        }
    }
}

/// The first token whose prefix, itself included, decodes past the marker's first byte.
fn find_decoded(decoder: &dyn Decode, ids: &[i32]) -> Option<usize> {
    let at = decoder.decode(ids)?.find(CALL_MARKER)?;
    // A prefix may end inside a character, which decodes to U+FFFD: it does not count as reached.
    let reaches = |n: usize| decoder.decode(&ids[..n]).is_some_and(|text| text.trim_end_matches('\u{fffd}').len() > at);
    let (mut low, mut high) = (0, ids.len());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if reaches(middle) { high = middle } else { low = middle }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assistant(is_context: bool) -> Message<'static> {
        Message {
            role: Role::Assistant,
            content: None,
            reasoning: None,
            call_id: None,
            is_error: None,
            is_context,
            calls: Vec::new(),
        }
    }

    #[test]
    fn context_has_no_run_of_its_own() {
        let tokens = Tokens { ids: &[1, 2, 3], mask: &[1, 0, 1] };
        let messages = [assistant(true), assistant(false), assistant(true), assistant(false)];
        assert_eq!(tokens.runs_by_message(&messages, None), Ok(vec![None, Some(0..1), None, Some(2..3)]));
    }

    #[test]
    fn mask_that_counts_context_is_read_as_it_is() {
        let tokens = Tokens { ids: &[1, 2, 3], mask: &[1, 0, 1] };
        let messages = [assistant(true), assistant(false)];
        assert_eq!(tokens.runs_by_message(&messages, None), Ok(vec![Some(0..1), Some(2..3)]));
    }
}
