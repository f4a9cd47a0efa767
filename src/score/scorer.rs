//! A policy that reads rows: sequences, their log-probs, and the importance ratio of each repair.
//!
//! Owns the model and the packing of sequences. Which tokens a repair moved is [`super::importance`]'s.

use super::importance::{self, moved};
use crate::batch::sample::Sample;
use crate::judge::LogIs;
use crate::options::ModelChoice;
use crate::policy::sequence::{Sequence, SequenceError, Sequencer};
use crate::policy::{Batch, Policy, PolicyError, device};
use crate::record::RepairRecord;
use crate::rollout::Rollout;

/// A policy that reads rows.
pub struct Scorer {
    policy: Policy,
    pub sequencer: Sequencer,
    most_tokens: usize,
    pub device: String,
}

impl Scorer {
    /// Loads the model, with its adapter if there is one.
    pub fn load(model: &ModelChoice) -> Result<Self, PolicyError> {
        let chosen = device::choose(model.device, model.precision)?;
        let mut policy = Policy::load(&model.model, &chosen.device, chosen.dtype)?;
        if let Some(adapter) = &model.adapter {
            policy.load_adapter(adapter)?;
        }
        let sequencer = Sequencer::new(&policy);
        let most_tokens = usize::try_from(model.batch_tokens.get()).unwrap_or(usize::MAX);
        Ok(Scorer { policy, sequencer, most_tokens, device: chosen.name() })
    }

    /// A row as a sequence that the model can read. `rollout` finds its messages among its tokens.
    pub(super) fn sequence(&self, sample: &Sample, rollout: Option<&Rollout<'_>>) -> Result<Sequence, SequenceError> {
        let sequence = self.sequencer.rollout(sample, rollout.map(|r| r.messages.as_slice()))?;
        self.policy.check(&sequence.ids)?;
        Ok(sequence)
    }

    /// Log-probs at the wanted places of each sequence, in order; as many sequences at once as fit.
    pub fn log_probs(&self, jobs: &[(&[u32], Vec<usize>)]) -> Result<Vec<Vec<f32>>, PolicyError> {
        let mut out = Vec::with_capacity(jobs.len());
        let mut start = 0;
        while start < jobs.len() {
            let (mut batch, mut end) = (Batch::default(), start);
            while end < jobs.len() && (end == start || batch.ids.len() + jobs[end].0.len() <= self.most_tokens) {
                let (ids, wanted) = &jobs[end];
                let mut flags = vec![false; ids.len()];
                wanted.iter().for_each(|&k| flags[k] = true);
                batch.push(ids.iter().copied(), flags);
                end += 1;
            }
            let stats = self.policy.log_probs(&batch)?;
            let mut rest = stats.as_slice();
            for (_, wanted) in &jobs[start..end] {
                let (own, others) = rest.split_at(wanted.len());
                out.push(own.iter().map(|s| s.logprob).collect());
                rest = others;
            }
            start = end;
        }
        Ok(out)
    }

    fn call_start(&self, ids: &[u32]) -> Option<usize> {
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        self.sequencer.call_start(&ids)
    }

    /// The importance ratio of each repair, from both sequences alone.
    pub fn ratios(
        &self,
        purified: &Sequence,
        raw: &Sequence,
        repairs: &[RepairRecord],
    ) -> Result<Vec<Option<LogIs>>, PolicyError> {
        self.policy.check(&purified.ids)?;
        self.policy.check(&raw.ids)?;
        let moved = moved(purified, raw, repairs, &|ids| self.call_start(ids));
        let wanted = |pick: fn(&importance::Moved) -> &Vec<usize>| {
            let mut places: Vec<usize> = moved.iter().flatten().flat_map(pick).copied().collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        let jobs = [(purified.ids.as_slice(), wanted(|m| &m.purified)), (raw.ids.as_slice(), wanted(|m| &m.raw))];
        let scores = self.log_probs(&jobs)?;
        let at = |side: usize, k: usize| jobs[side].1.binary_search(&k).map_or(0.0, |n| f64::from(scores[side][n]));
        Ok(moved.iter().map(|m| m.as_ref().map(|m| m.log_is(|k| at(0, k), |k| at(1, k)))).collect())
    }
}
