//! Why a model, or the messages for it, can't be used.
//!
//! Owns the complaints and what to do about each; who meets them is left to the rest of the policy.

use std::path::PathBuf;

use crate::write::WriteError;

/// Why a model can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("`{}` can't be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("`{}` is not a model: expected a folder with `config.json`, or a .gguf file", path.display())]
    NoModel { path: PathBuf },
    #[error("`{}` holds neither `model.safetensors` nor `model.safetensors.index.json`", path.display())]
    NoWeights { path: PathBuf },
    #[error("`{}` is a model of type `{}`, expected qwen2, qwen3 or llama", path.display(), found.escape_debug())]
    Architecture { path: PathBuf, found: String },
    #[error("`{}` describes a model that can't be used: {detail}", path.display())]
    Config { path: PathBuf, detail: String },
    #[error("`{}` can't be used: {detail}", path.display())]
    Weights { path: PathBuf, detail: String },
    #[error("`{}` has no tensor `{name}`", path.display())]
    MissingTensor { name: String, path: PathBuf },
    #[error("tensor `{name}` of `{}` has shape {found:?}, expected {expected:?}", path.display())]
    Shape { name: String, path: PathBuf, expected: Vec<usize>, found: Vec<usize> },
    #[error("token {id} is not in the model's vocabulary of {vocabulary}")]
    Token { id: i64, vocabulary: usize },
    #[error("a sequence has {length} tokens, the model takes at most {positions}")]
    TooLong { length: usize, positions: usize },
    #[error("adapter `{}` can't be used: {detail}", path.display())]
    Adapter { path: PathBuf, detail: String },
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// One of an example's columns does not hold a number for each of its trained tokens.
    #[error("internal error: example `{}` has {found} {what} for {expected} trained tokens: this is a bug", example.escape_debug())]
    Uneven { example: String, what: &'static str, found: usize, expected: usize },
    #[error("device `{device}` can't be used: {detail}")]
    Device { device: &'static str, detail: String },
    #[error("a computation failed: {}", first_line(.0))]
    Tensor(#[from] candle_core::Error),
}

impl PolicyError {
    /// Whether it is one row's fault and not the model's.
    pub fn is_of_row(&self) -> bool {
        matches!(
            self,
            PolicyError::Token { .. }
                | PolicyError::TooLong { .. }
                | PolicyError::Chat(ChatError::Render { .. } | ChatError::Place { .. } | ChatError::Encode { .. })
        )
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            PolicyError::NoModel { .. } | PolicyError::NoWeights { .. } => {
                "give the folder that holds config.json, model.safetensors and tokenizer.json; nothing is downloaded"
            }
            PolicyError::Architecture { .. } => "models of the Qwen2, Qwen3 and Llama families are supported",
            PolicyError::Weights { .. } | PolicyError::MissingTensor { .. } | PolicyError::Shape { .. } => {
                "copy the model's files again, all from one place: weights and config.json don't belong together"
            }
            PolicyError::Token { .. } => "the data was tokenised for another model",
            PolicyError::TooLong { .. } => "leave such rows out with --max-length, or use a model of longer contexts",
            PolicyError::Adapter { .. } => "give the folder that PEFT has written for this very model",
            PolicyError::Device { .. } => "--device cpu always works",
            PolicyError::Chat(error) => return error.hint(),
            PolicyError::Write(error) => return error.hint(),
            _ => return None,
        })
    }
}

/// candle's errors carry a backtrace where the environment asks for one.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Why messages can't become tokens.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    #[error("`{}` can't be used: {detail}", path.display())]
    Tokenizer { path: PathBuf, detail: String },
    #[error("`{}` has no chat template", path.display())]
    NoTemplate { path: PathBuf },
    #[error("the chat template can't be used: {detail}")]
    Template { detail: String },
    #[error("the tokenizer's vocabulary has {tokenizer} entries, the model's {model}")]
    Vocabulary { tokenizer: usize, model: usize },
    #[error("the chat template refuses these messages: {detail}")]
    Render { detail: String },
    #[error("message {message} can't be told apart in the text that the chat template makes of the conversation")]
    Place { message: usize },
    #[error("the rendered text can't be tokenised: {detail}")]
    Encode { detail: String },
}

impl ChatError {
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            ChatError::Tokenizer { .. } | ChatError::NoTemplate { .. } => {
                "the model's folder needs tokenizer.json, and tokenizer_config.json or chat_template.jinja; or give data \
                 with token columns"
            }
            ChatError::Vocabulary { .. } => "tokenizer.json belongs to another model",
            ChatError::Place { .. } => "give data with token columns, which say themselves what the policy wrote",
            _ => return None,
        })
    }
}
