//! Token columns from what rollout servers noted: of each model call its prompt, what it generated, and log-probs.
//!
//! Owns the putting together and the cut between prompt and response. Nothing is guessed: a prompt that is not what came
//! before it gives no tokens at all.

use serde_json::Value;

use super::native::{Row, kind};

pub(super) const RESPONSE: &str = "response_ids";

/// Tokens of a rollout, from its first to its last; mask 1 where the policy wrote one.
#[derive(Default)]
pub(super) struct TokenIds {
    ids: Vec<Value>,
    mask: Vec<bool>,
    logprobs: Vec<Value>,
}

impl TokenIds {
    /// Tokens that the policy read.
    pub(super) fn read(&mut self, ids: &[Value]) {
        self.ids.extend_from_slice(ids);
        self.mask.resize(self.ids.len(), false);
        self.logprobs.resize(self.ids.len(), Value::Null);
    }

    /// A token that it wrote.
    pub(super) fn wrote(&mut self, id: Value, logprob: Value) {
        self.ids.push(id);
        self.mask.push(true);
        self.logprobs.push(logprob);
    }

    /// The columns; `None` without a token of the policy's. The prompt ends before the first of them.
    pub(super) fn columns(mut self) -> Option<Row> {
        let start = self.mask.iter().position(|&m| m)?;
        let response = self.ids.split_off(start);
        let mask: Vec<u8> = self.mask[start..].iter().map(|&m| u8::from(m)).collect();
        let logprobs = self.logprobs.split_off(start);
        let mut out = Row::new();
        out.insert("prompt_ids".to_owned(), Value::Array(self.ids));
        out.insert(RESPONSE.to_owned(), Value::Array(response));
        out.insert("response_mask".to_owned(), Value::from(mask));
        if logprobs.iter().any(|l| !l.is_null()) {
            out.insert("response_logprobs".to_owned(), Value::Array(logprobs));
        }
        Some(out)
    }
}

/// A list that need not be there.
pub(super) fn list<'r>(row: &'r Row, name: &str) -> Result<Option<&'r [Value]>, String> {
    match row.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        other => Err(format!("`{name}` is {}, expected a list", kind(other))),
    }
}

/// Names of the fields of one model call: prompt, generated, log-probs.
pub(super) type CallFields = [&'static str; 3];

/// The token columns of a rollout from what its model calls say; `None` where none says ids, or where a prompt is not what
/// came before it.
///
/// # Errors
/// A call has another number of log-probs than of tokens.
pub(super) fn put_together<'r>(
    calls: impl Iterator<Item = &'r Row>,
    [prompt, generated, logprobs]: CallFields,
) -> Result<Option<Row>, String> {
    let mut all = TokenIds::default();
    for call in calls {
        let Some(ids) = list(call, generated)? else { continue };
        let of_call = list(call, logprobs)?.unwrap_or_default();
        if !of_call.is_empty() && of_call.len() != ids.len() {
            let (found, expected) = (of_call.len(), ids.len());
            return Err(format!(
                "`{logprobs}` has {found} entries, expected {expected}, one for each of `{generated}`"
            ));
        }
        let Some(behind) = list(call, prompt)?.and_then(|prompt| prompt.strip_prefix(all.ids.as_slice())) else {
            return Ok(None);
        };
        all.read(behind);
        for (k, id) in ids.iter().enumerate() {
            all.wrote(id.clone(), of_call.get(k).cloned().unwrap_or_default());
        }
    }
    Ok(all.columns())
}
