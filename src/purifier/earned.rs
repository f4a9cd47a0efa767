//! What a row earned: its reward as the options take it, and its advantage beside its group.
//!
//! Owns the first pass over a batch, from which the baselines of groups follow, and the advantages of single tokens. Before a
//! row is decided on, all of its group must have been here.

use super::Purifier;
use crate::batch::Decoded;
use crate::group::resample::{Candidates, RowKey};
use crate::group::{Advantage, Baselines, Member, penalised};
use crate::options::{Resample, TokenAdvantages};
use crate::rejects::RejectReason;
use crate::rewrite::SpliceError;
use crate::steps::Trajectory;

/// What the first pass gathers.
#[derive(Debug, Default)]
pub struct Earnings {
    baselines: Baselines,
    candidates: Candidates,
}

impl Earnings {
    /// The baselines of all groups; `seed` decides between rollouts that could be chosen alike.
    pub fn finish(self, seed: u64) -> Baselines {
        self.baselines.without(self.candidates.left_out(seed))
    }
}

impl Purifier<'_> {
    /// Takes the rows of a batch into the first pass. Messages are only read where failed attempts count.
    pub fn gather(&self, batch: &Decoded, into: &mut Earnings) {
        let rewards = &self.options.rewards;
        for row in 0..batch.rows() {
            let (group, reward) = (batch.group(row), batch.reward(row));
            if !rewards.counts_failures() {
                into.baselines.add(group, reward);
                continue;
            }
            // A row that can't be read is rejected later; its reward was the group's all the same.
            let failed =
                batch.rollout(row).map_or(0, |rollout| Trajectory::new(&rollout, &self.detector).failed_attempts());
            into.baselines.add(group, self.reward(reward, failed));
            if let (Resample::OnCorrect, Some(group), Some(reward)) = (rewards.resample, group, reward) {
                let id = batch.id(row);
                let key = RowKey::new(group, &id, batch.number(row));
                let member = Member { id: id.into_owned(), group: group.to_owned(), reward, tool_errors: failed };
                into.candidates.add(key, member);
            }
        }
    }

    /// A reward less what failed attempts take from it.
    pub(super) fn reward(&self, reward: Option<f64>, failed_attempts: usize) -> Option<f64> {
        reward.map(|reward| penalised(reward, self.options.rewards.failure_penalty.get(), failed_attempts))
    }

    /// The advantage of each response token, where the options ask for them: minus the absolute advantage on failed attempts, the
    /// rollout's own elsewhere, 0 on what the policy did not write.
    pub(super) fn token_advantages(
        &self,
        trajectory: &Trajectory<'_, '_>,
        advantage: Option<Advantage>,
    ) -> Result<Option<Vec<f32>>, RejectReason> {
        let (Some(advantage), Some(tokens)) = (advantage.map(Advantage::get), &trajectory.rollout.tokens) else {
            return Ok(None);
        };
        if self.options.rewards.token_advantages != TokenAdvantages::SignGate {
            return Ok(None);
        }
        let of_token = |&mask: &i8| if mask != 0 { advantage as f32 } else { 0.0 };
        let mut out: Vec<f32> = tokens.mask.iter().map(of_token).collect();
        if trajectory.failed_attempts() > 0 {
            let runs = tokens.runs_by_message(&trajectory.rollout.messages, self.marker.as_ref());
            let runs = runs.map_err(SpliceError::from)?;
            for step in (0..trajectory.steps.len()).filter(|&step| trajectory.failure(step).is_some()) {
                if let Some(run) = runs.get(trajectory.steps[step].message).cloned().flatten() {
                    out[run].fill(-advantage.abs() as f32);
                }
            }
        }
        Ok(Some(out))
    }
}
