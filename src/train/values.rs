//! What a row says of single tokens: whether they are trained on, behaviour log-probs, weights, advantages.
//!
//! Owns the step from tokens of the response (or messages) to tokens of the sequence. A value that a trained token lacks is an error
//! of the row, never a number that was made up.

use super::error::Problem;
use crate::batch::sample::Sample;
use crate::policy::sequence::Sequence;

/// Policy tokens, those of messages that mode `mask` has taken out of the loss left out.
pub(super) fn trained(sample: &Sample, sequence: &Sequence) -> Vec<bool> {
    let mut trained = sequence.policy.clone();
    if sample.tokens.is_none() {
        let messages = sample.messages.iter().flatten();
        for (message, place) in messages.zip(&sequence.places) {
            if let Some(place) = place.as_ref().filter(|_| message.get("loss") == Some(&serde_json::json!(false))) {
                trained[place.clone()].fill(false);
            }
        }
    }
    trained
}

/// Behaviour log-probs by token of the sequence; every trained token has one.
pub(super) fn old_logprobs(sample: &Sample, sequence: &Sequence, trained: &[bool]) -> Result<Vec<f32>, Problem> {
    let found = sample.tokens.as_ref().and_then(|t| t.logprobs.as_ref()).ok_or(Problem::NoLogprobs)?;
    let mut out = vec![0.0; sequence.ids.len()];
    for (at, value) in found.iter().enumerate() {
        let k = sequence.prompt + at;
        // The first token of all is never predicted.
        if trained[k] && k > 0 {
            let value = value.ok_or(Problem::NoLogprob { at })?;
            // Rounding may leave a certain token a little above zero.
            if !value.is_finite() || value > 1e-3 {
                return Err(Problem::BadLogprob { at, value });
            }
            out[k] = value;
        }
    }
    Ok(out)
}

/// Advantages by token of the sequence, as the column `token_advantages` has them; empty where the row has none.
pub(super) fn token_advantages(sample: &Sample, sequence: &Sequence, trained: &[bool]) -> Result<Vec<f32>, Problem> {
    let Some(found) = &sample.token_advantages else { return Ok(Vec::new()) };
    let expected = sequence.ids.len() - sequence.prompt;
    if found.len() != expected || sample.tokens.is_none() {
        return Err(Problem::TokenAdvantages { found: found.len(), expected });
    }
    let mut out = vec![0.0; sequence.ids.len()];
    for (at, value) in found.iter().enumerate().filter(|(at, _)| trained[sequence.prompt + at]) {
        out[sequence.prompt + at] = value.filter(|v| v.is_finite()).ok_or(Problem::NoTokenAdvantage { at })?;
    }
    Ok(out)
}

/// Weights by token: `min(e^log_importance_ratio, cap)` on repaired steps, 1 elsewhere.
pub(super) fn weights(sample: &Sample, sequence: &Sequence, cap: f64) -> Vec<f32> {
    let mut out = vec![1.0; sequence.ids.len()];
    let mut removed = 0;
    for repair in &sample.repairs {
        let message = repair.first_message - removed.min(repair.first_message);
        removed += repair.removed_messages;
        if let (Some(Some(place)), Some(ratio)) = (sequence.places.get(message), repair.log_importance_ratio) {
            out[place.clone()].fill(ratio.exp().min(cap) as f32);
        }
    }
    out
}
