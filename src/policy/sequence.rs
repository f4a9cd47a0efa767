//! A row as the policy reads it: ids, what the policy wrote, and where each message stands.
//!
//! Owns the choice between token columns, which are used as they are, and messages, which are rendered and tokenised.
//! The tokenizer is loaded when the first row needs it: data with tokens needs none.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::chat::{Chat, ChatError};
use super::{Policy, PolicyError};
use crate::batch::sample::{Preference, PreferenceText, Sample};
use crate::rollout::Message;
use crate::tokens::{AlignError, CallMarker, Decode, Tokens};

/// Why a row can't become a sequence.
#[derive(Debug, thiserror::Error)]
pub enum SequenceError {
    #[error("it has `response_ids` but no `prompt_ids`: what came before the response is unknown")]
    NoPrompt,
    #[error("it has neither tokens nor messages")]
    Nothing,
    #[error(transparent)]
    Align(#[from] AlignError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl From<ChatError> for SequenceError {
    fn from(error: ChatError) -> Self {
        SequenceError::Policy(error.into())
    }
}

/// Tokens of one conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    pub ids: Vec<u32>,
    /// Whether the policy wrote the token.
    pub policy: Vec<bool>,
    /// Tokens before the response.
    pub prompt: usize,
    /// Tokens of each message that the policy wrote, by message; empty where the row has no messages.
    pub places: Vec<Option<Range<usize>>>,
    /// Messages whose calls the chat template does not show.
    pub hidden_calls: usize,
}

/// Turns rows into sequences for one model.
pub struct Sequencer {
    model: PathBuf,
    vocabulary: usize,
    chat: OnceLock<Result<Chat, String>>,
}

impl Sequencer {
    pub fn new(policy: &Policy) -> Self {
        Sequencer { model: policy.source.clone(), vocabulary: policy.config.vocabulary, chat: OnceLock::new() }
    }

    /// The model's template and tokenizer, loaded once.
    pub fn chat(&self) -> Result<&Chat, PolicyError> {
        let loaded =
            self.chat.get_or_init(|| Chat::load(&self.model, self.vocabulary).map_err(|error| error.to_string()));
        match loaded {
            Ok(chat) => Ok(chat),
            // Again, for the error itself: it can't be kept.
            Err(_) => Chat::load(&self.model, self.vocabulary)
                .and_then(|_| Err(ChatError::NoTemplate { path: self.model.clone() }.into())),
        }
    }

    /// The token in which the first call of a message begins, where the tokenizer tells.
    pub fn call_start(&self, ids: &[i32]) -> Option<usize> {
        CallMarker::Decoded(Box::new(self.chat().ok()?.decoder())).find(ids)
    }

    /// A rollout. With `messages`, a row of tokens gets the places of its messages as well.
    pub fn rollout(&self, sample: &Sample, messages: Option<&[Message<'_>]>) -> Result<Sequence, SequenceError> {
        match (&sample.tokens, &sample.messages) {
            (Some(tokens), _) => {
                let prompt = tokens.prompt.as_ref().ok_or(SequenceError::NoPrompt)?;
                let places = match messages.filter(|m| !m.is_empty()) {
                    None => Vec::new(),
                    Some(messages) => {
                        let response = Tokens { ids: &tokens.response, mask: &tokens.mask };
                        let marker = self.chat().ok().map(|chat| CallMarker::Decoded(Box::new(chat.decoder())));
                        let runs = response.runs_by_message(messages, marker.as_ref())?;
                        let shifted = |run: Range<usize>| run.start + prompt.len()..run.end + prompt.len();
                        runs.into_iter().map(|run| run.map(shifted)).collect()
                    }
                };
                let policy = prompt.iter().map(|_| false).chain(tokens.mask.iter().map(|&m| m != 0)).collect();
                let ids = self.ids(prompt.iter().chain(&tokens.response))?;
                Ok(Sequence { ids, policy, prompt: prompt.len(), places, hidden_calls: 0 })
            }
            (None, Some(messages)) => {
                let rendered = self.chat()?.tokens(messages, sample.tools.as_ref())?;
                let prompt = rendered.mask.iter().position(|&m| m).unwrap_or(rendered.ids.len());
                let (places, hidden_calls) = (rendered.places, rendered.hidden_calls);
                Ok(Sequence { ids: rendered.ids, policy: rendered.mask, prompt, places, hidden_calls })
            }
            (None, None) => Err(SequenceError::Nothing),
        }
    }

    /// The chosen and the rejected answer of a pair; only the answer itself counts as the policy's.
    pub fn preference(&self, pair: &Preference) -> Result<[Sequence; 2], SequenceError> {
        match &pair.parts {
            PreferenceText::Tokens([prompt, chosen, rejected]) => {
                let answer = |answer: &[i32]| {
                    let ids = self.ids(prompt.iter().chain(answer))?;
                    let policy = (0..ids.len()).map(|k| k >= prompt.len()).collect();
                    Ok(Sequence { ids, policy, prompt: prompt.len(), ..Sequence::default() })
                };
                [answer(chosen), answer(rejected)].into_iter().collect::<Result<Vec<_>, SequenceError>>()
            }
            PreferenceText::Messages([prompt, chosen, rejected]) => {
                let answer = |answer: &[serde_json::Value]| {
                    let messages = [prompt.as_slice(), answer].concat();
                    let rendered = self.chat()?.tokens(&messages, pair.tools.as_ref())?;
                    let mut policy = vec![false; rendered.ids.len()];
                    let places = rendered.places[prompt.len()..].iter().flatten();
                    places.for_each(|place| policy[place.clone()].fill(true));
                    let start = policy.iter().position(|&m| m).unwrap_or(rendered.ids.len());
                    let (places, hidden_calls) = (rendered.places, rendered.hidden_calls);
                    Ok(Sequence { ids: rendered.ids, policy, prompt: start, places, hidden_calls })
                };
                [answer(chosen), answer(rejected)].into_iter().collect::<Result<Vec<_>, SequenceError>>()
            }
        }
        .and_then(|answers| answers.try_into().map_err(|_| SequenceError::Nothing))
    }

    fn ids<'i>(&self, ids: impl Iterator<Item = &'i i32>) -> Result<Vec<u32>, PolicyError> {
        let unknown = |&id: &i32| PolicyError::Token { id: i64::from(id), vocabulary: self.vocabulary };
        ids.map(|id| u32::try_from(*id).map_err(|_| unknown(id))).collect()
    }
}

impl Chat {
    /// Reads ids back as text, special tokens kept.
    fn decoder(&self) -> impl Decode + use<> {
        Decoder(self.tokenizer().clone())
    }
}

struct Decoder(std::sync::Arc<tokenizers::Tokenizer>);

impl Decode for Decoder {
    fn decode(&self, ids: &[i32]) -> Option<String> {
        let ids = ids.iter().map(|&id| u32::try_from(id).ok()).collect::<Option<Vec<_>>>()?;
        self.0.decode(&ids, false).ok()
    }
}
