//! Importance ratios of repairs: how likely the policy finds the correction once the error is gone (docs/method.md,
//! "Importance").
//!
//! Owns which tokens were moved by a repair and where the same tokens stand in the raw rollout. Pure: log-probs are the
//! policy's. A token counts if it was sampled after an error that the purified rollout no longer shows: the call of the
//! correction, and the reasoning of a deep repair.

use std::ops::Range;

use crate::judge::LogIs;
use crate::policy::sequence::Sequence;
use crate::record::{Granularity, RepairKind, RepairRecord, RepairScope};

/// Tokens that a repair moved: the same ids in both sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub purified: Vec<usize>,
    pub raw: Vec<usize>,
}

/// The moved tokens of each repair; `None` where a side does not hold them.
///
/// `call_start` finds the token in which a message's first call begins, if that can be told.
pub fn moved(
    purified: &Sequence,
    raw: &Sequence,
    repairs: &[RepairRecord],
    call_start: &dyn Fn(&[u32]) -> Option<usize>,
) -> Vec<Option<Moved>> {
    let mut removed = 0;
    repairs
        .iter()
        .map(|repair| {
            let message = repair.first_message.checked_sub(removed)?;
            removed += repair.removed_messages;
            match (repair.kind, repair.scope) {
                (RepairKind::Recovered, Some(RepairScope::Steps) | None) => {}
                // Single calls, and steps that were only taken out, have no tokens of a correction of their own.
                (RepairKind::Recovered, Some(RepairScope::Calls | RepairScope::Removal)) => return None,
                (RepairKind::Collapsed, _) => return None,
            }
            let place = purified.places.get(message)?.clone()?;
            let last = repair.first_message + repair.removed_messages;
            let correction = raw.places.get(last)?.clone()?;
            let shared = common_suffix(&purified.ids[place.clone()], &raw.ids[correction.clone()]);
            let kept = match repair.granularity {
                // What the reasonings happen to end with alike is not part of the correction.
                Granularity::Shallow => {
                    call_start(&purified.ids[place.clone()]).map_or(shared, |at| shared.min(place.len() - at))
                }
                Granularity::Deep => shared,
            };
            let mut out = Moved::default();
            if repair.granularity == Granularity::Deep && shared < place.len() {
                let attempts = (repair.first_message + 1..last).rev().filter_map(|m| raw.places.get(m)?.clone());
                out.add_reasoning(purified, raw, place.start..place.end - shared, attempts);
            }
            out.purified.extend(place.end - kept..place.end);
            out.raw.extend(correction.end - kept..correction.end);
            // Nothing predicts the first token.
            let is_scored = out.purified.iter().chain(&out.raw).all(|&k| k > 0);
            (kept > 0 && is_scored).then_some(out)
        })
        .collect()
}

impl Moved {
    /// The reasoning that a deep repair took from an attempt between the first and the correction.
    fn add_reasoning(
        &mut self,
        purified: &Sequence,
        raw: &Sequence,
        reasoning: Range<usize>,
        mut attempts: impl Iterator<Item = Range<usize>>,
    ) {
        let ids = &purified.ids[reasoning.clone()];
        if let Some(attempt) = attempts.find(|a| raw.ids[a.clone()].starts_with(ids)) {
            self.raw.extend(attempt.start..attempt.start + ids.len());
            self.purified.extend(reasoning);
        }
    }

    /// From log-probs by token of either sequence.
    pub fn log_is(&self, purified: impl Fn(usize) -> f64, raw: impl Fn(usize) -> f64) -> LogIs {
        let sum =
            self.purified.iter().map(|&k| purified(k)).sum::<f64>() - self.raw.iter().map(|&k| raw(k)).sum::<f64>();
        LogIs { sum, mean: sum / self.purified.len().max(1) as f64 }
    }
}

fn common_suffix(a: &[u32], b: &[u32]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: u32 = 100;

    fn sequence(messages: &[(bool, &[u32])]) -> Sequence {
        let mut out = Sequence::default();
        for (is_policy, ids) in messages {
            let start = out.ids.len();
            out.ids.extend(*ids);
            out.policy.extend(std::iter::repeat_n(*is_policy, ids.len()));
            out.places.push(is_policy.then_some(start..start + ids.len()));
        }
        out
    }

    fn call_start(ids: &[u32]) -> Option<usize> {
        ids.iter().position(|&id| id == CALL)
    }

    fn repair(is_shallow: bool) -> RepairRecord {
        let granularity = if is_shallow { Granularity::Shallow } else { Granularity::Deep };
        RepairRecord { first_message: 1, removed_messages: 2, granularity, ..RepairRecord::default() }
    }

    #[test]
    fn shallow_repair_moves_the_call_alone() {
        // Both reasonings end with 7: it stays where it was.
        let raw = sequence(&[
            (false, &[1]),
            (true, &[5, 7, CALL, 8]),
            (false, &[2]),
            (true, &[6, 7, CALL, 9]),
            (false, &[3]),
        ]);
        let purified = sequence(&[(false, &[1]), (true, &[5, 7, CALL, 9]), (false, &[3])]);
        let found = moved(&purified, &raw, &[repair(true)], &call_start);
        assert_eq!(found, [Some(Moved { purified: vec![3, 4], raw: vec![8, 9] })]);
    }

    #[test]
    fn deep_repair_moves_the_reasoning_as_well() {
        let raw =
            sequence(&[(false, &[1]), (true, &[5, CALL, 8]), (false, &[2]), (true, &[6, CALL, 9]), (false, &[3])]);
        let purified = sequence(&[(false, &[1]), (true, &[6, CALL, 9]), (false, &[3])]);
        let found = moved(&purified, &raw, &[repair(false)], &call_start);
        assert_eq!(found, [Some(Moved { purified: vec![1, 2, 3], raw: vec![5, 6, 7] })]);
    }

    #[test]
    fn deep_repair_finds_reasoning_of_an_attempt_in_between() {
        let raw = sequence(&[
            (false, &[1]),
            (true, &[5, CALL, 8]),
            (false, &[2]),
            (true, &[6, 6, CALL, 9]),
            (false, &[2]),
            (true, &[4, CALL, 10]),
        ]);
        let purified = sequence(&[(false, &[1]), (true, &[6, 6, CALL, 10])]);
        let deep = RepairRecord { removed_messages: 4, ..repair(false) };
        let found = moved(&purified, &raw, &[deep], &call_start);
        assert_eq!(found, [Some(Moved { purified: vec![1, 2, 3, 4], raw: vec![5, 6, 11, 12] })]);
    }

    #[test]
    fn ratio_is_the_difference_of_both_sums() {
        let moved = Moved { purified: vec![1, 2], raw: vec![3, 4] };
        let found = moved.log_is(|_| -1.0, |k| -(k as f64));
        assert_eq!(found, LogIs { sum: 5.0, mean: 2.5 });
    }
}
