//! Splices token columns along with the messages (docs/method.md, "Tokens").
//!
//! Owns which raw tokens stay, and which log-probs still hold. Ids are cut and joined, never encoded again. A token
//! keeps its behaviour log-prob only if everything before it stayed: from the first joint on, policy tokens have none.

use std::ops::Range;

use crate::saar::Plan;
use crate::steps::Trajectory;
use crate::tokens::{AlignError, CallMarker, Tokens};

/// Why tokens can't be spliced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    #[error(transparent)]
    Align(#[from] AlignError),
    #[error("the repaired step at message {message} has no tokens in `response_ids`: it is in the prompt")]
    InPrompt { message: usize },
    #[error("the call of message {message} can't be found in its tokens")]
    NoMarker { message: usize },
}

/// Response tokens of a purified rollout, as ranges of the raw ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSplice {
    /// Raw ranges, in order, that stay.
    pub kept: Vec<Range<usize>>,
    /// Raw index from which policy tokens have no behaviour log-prob; `None`: all hold.
    pub unknown_from: Option<usize>,
    /// Raw ranges whose mask becomes 0.
    pub untrained: Vec<Range<usize>>,
    /// Tokens removed by each repair, in order.
    pub removed: Vec<usize>,
}

impl TokenSplice {
    /// Ids and mask of the purified rollout.
    pub fn of(&self, raw: Tokens<'_>) -> (Vec<i32>, Vec<i8>) {
        let mut mask = raw.mask.to_vec();
        self.untrained.iter().for_each(|range| mask[range.clone()].fill(0));
        let kept = || self.kept.iter().cloned();
        (
            kept().flat_map(|range| &raw.ids[range]).copied().collect(),
            kept().flat_map(|range| &mask[range]).copied().collect(),
        )
    }
}

pub(super) fn splice(
    trajectory: &Trajectory<'_, '_>,
    plan: &Plan,
    untrained: &[usize],
    marker: Option<&CallMarker>,
) -> Result<Option<TokenSplice>, SpliceError> {
    let rollout = trajectory.rollout;
    let Some(tokens) = &rollout.tokens else { return Ok(None) };
    let runs = tokens.runs_by_message(&rollout.messages, marker)?;
    let run_of = |step: usize| {
        let message = trajectory.steps[step].message;
        runs[message].clone().ok_or(SpliceError::InPrompt { message })
    };
    let mut out = TokenSplice::default();
    let mut next = 0;
    for repair in &plan.repairs {
        let (first, last) = (run_of(repair.first())?, run_of(repair.last())?);
        out.kept.push(next..first.start);
        let joint = if repair.reasoning == repair.last() {
            last.start
        } else {
            let reasoning = run_of(repair.reasoning)?;
            let start =
                |run: &Range<usize>| marker.and_then(|m| m.find(&tokens.ids[run.clone()])).map(|at| run.start + at);
            // The plan keeps another step's reasoning only where both calls can be told apart.
            let (Some(thought_end), Some(call_start)) = (start(&reasoning), start(&last)) else {
                return Err(SpliceError::NoMarker { message: trajectory.steps[repair.first()].message });
            };
            if repair.reasoning != repair.first() && out.unknown_from.is_none() {
                out.unknown_from = Some(reasoning.start);
            }
            out.kept.push(reasoning.start..thought_end);
            call_start
        };
        out.unknown_from.get_or_insert(joint);
        let stays = out.kept.last().map_or(0, |kept| if kept.start >= first.start { kept.len() } else { 0 });
        out.removed.push(joint - first.start - stays);
        next = joint;
    }
    out.kept.push(next..tokens.ids.len());
    out.kept.retain(|range| !range.is_empty());
    out.untrained = untrained.iter().filter_map(|&message| runs[message].clone()).collect();
    Ok(Some(out))
}
