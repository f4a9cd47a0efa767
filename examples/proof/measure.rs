//! What a policy does: success, first calls that fail, recovery, calls and tokens.
//!
//! Owns the measures and the sets of tasks that every policy is held to.

use purify::policy::Policy;
use serde::{Deserialize, Serialize};

use super::draw::Draw;
use super::rollout::{Rollout, Rules, sample};
use super::tasks::tasks;
use super::{Failure, World};

/// Numbers of a set of rollouts; all but tokens are shares or means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub rollouts: u64,
    pub success: f64,
    /// First calls that fail, among rollouts with a call.
    pub first_failures: f64,
    /// Success of rollouts whose first call failed.
    pub success_after_failure: f64,
    /// Success of those whose first call did not.
    pub success_without_failure: f64,
    pub calls: f64,
    /// Tokens sampled for each success.
    pub tokens_per_success: f64,
    pub unfinished: f64,
}

/// The measures of rollouts.
pub fn of(rollouts: &[Rollout]) -> Measured {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
        if count == 0 { 0.0 } else { sum / count as f64 }
    };
    let first = |r: &Rollout| r.failed.first().copied();
    let of_first = |failed: bool| rollouts.iter().filter(move |r| first(r) == Some(failed));
    let tokens: usize = rollouts.iter().map(|r| r.sampled).sum();
    let successes = rollouts.iter().map(|r| r.reward).sum::<f64>();
    Measured {
        rollouts: rollouts.len() as u64,
        success: mean(&mut rollouts.iter().map(|r| r.reward)),
        first_failures: mean(&mut rollouts.iter().filter_map(first).map(|failed| f64::from(u8::from(failed)))),
        success_after_failure: mean(&mut of_first(true).map(|r| r.reward)),
        success_without_failure: mean(&mut of_first(false).map(|r| r.reward)),
        calls: mean(&mut rollouts.iter().map(|r| r.failed.len() as f64)),
        tokens_per_success: tokens as f64 / successes.max(1.0),
        unfinished: mean(&mut rollouts.iter().map(|r| f64::from(u8::from(r.is_unfinished)))),
    }
}

/// A policy on the sets of tasks that are the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub sampled: Measured,
    pub greedy: Measured,
    /// Of the two templates that were never trained on.
    pub unseen: Measured,
    /// Rollouts that begin with a call that fails; their success is recovery.
    pub injected: Measured,
}

/// Evaluates; `count` is that of the fixed tasks. Half of them are asked again with an injected error, a quarter greedily; of
/// unseen ones there are a tenth as many.
pub fn evaluate(policy: &Policy, world: &mut World, calls: usize, count: usize) -> Result<Evaluation, Failure> {
    let fixed = tasks(count, false, &mut Draw::of(&[17]));
    let unseen = tasks(count / 10, true, &mut Draw::of(&[19]));
    let rules = Rules { per_task: 1, calls, temperature: 1.0, seed: 23, rolls_back: false, injects: false };
    let World { tokenizer, pool, .. } = world;
    let mut look = |tasks: &[_], rules: Rules| -> Result<Measured, Failure> {
        Ok(of(&sample(policy, tokenizer, pool, tasks, &rules)?))
    };
    Ok(Evaluation {
        sampled: look(&fixed, rules)?,
        greedy: look(&fixed[..count / 4], Rules { temperature: 0.0, ..rules })?,
        unseen: look(&unseen, rules)?,
        injected: look(&fixed[..count / 2], Rules { injects: true, ..rules })?,
    })
}
