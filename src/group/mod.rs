//! Groups of rollouts of one prompt, and what a reward is worth within its group.
//!
//! Owns advantages (GRPO, arXiv 2402.03300), the filter of groups that teach nothing (DAPO's dynamic sampling,
//! arXiv 2503.14476), the price of overlong answers (DAPO's soft punishment) and the choice of rollouts by their tool
//! errors (rStar2-Agent's resample-on-correct, arXiv 2508.20722). Pure: rewards in, numbers out.

pub mod baseline;
pub mod resample;

use std::collections::BTreeMap;

pub use baseline::{Advantage, BaselineTally, Baselines};

/// Added to a standard deviation (verl's `epsilon`).
const EPS: f64 = 1e-6;

/// What the group stage reads of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: String,
    pub group: String,
    pub reward: f64,
    /// Failed tool calls that are left in it.
    pub tool_errors: usize,
}

/// How groups are turned into advantages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// Groups whose rewards are all equal are left out.
    pub skips_equal: bool,
    /// Half of each group is kept: of the better half those with the fewest tool errors.
    pub resamples_on_correct: bool,
    /// Decides between rollouts that are equal otherwise.
    pub seed: u64,
}

/// Advantages, and what was left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advantages {
    /// By member; `None`: it is not trained on.
    pub of: Vec<Option<f64>>,
    pub groups: usize,
    /// Groups left out since all rewards are equal.
    pub equal: usize,
    /// Groups left out since one rollout can't be compared with itself; with the first one's name.
    pub single: usize,
    pub first_single: Option<String>,
    /// Rollouts left out by resample-on-correct.
    pub resampled: usize,
}

/// The most that failed attempts take from a reward, in penalties of one.
const MAX_PENALTIES: usize = 3;

/// A reward less `penalty` for each failed attempt, three at most; one above zero stays at zero or above.
pub fn penalised(reward: f64, penalty: f64, failed_attempts: usize) -> f64 {
    let less = reward - penalty * failed_attempts.min(MAX_PENALTIES) as f64;
    if reward > 0.0 { less.max(0.0) } else { less }
}

/// `(reward - mean) / (std + 1e-6)` within each group, with n - 1 in the deviation.
pub fn advantages(members: &[Member], rules: GroupRules) -> Advantages {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (k, member) in members.iter().enumerate() {
        groups.entry(&member.group).or_default().push(k);
    }
    let mut out = Advantages { of: vec![None; members.len()], groups: groups.len(), ..Advantages::default() };
    for (name, all) in groups {
        let kept = if rules.resamples_on_correct { resampled(members, &all, rules.seed) } else { all.clone() };
        out.resampled += all.len() - kept.len();
        let rewards: Vec<f64> = kept.iter().map(|&k| members[k].reward).collect();
        if kept.len() < 2 {
            out.single += 1;
            out.first_single.get_or_insert_with(|| name.to_owned());
            continue;
        }
        if rules.skips_equal && rewards.iter().all(|r| *r == rewards[0]) {
            out.equal += 1;
            continue;
        }
        let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
        let variance = rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (rewards.len() - 1) as f64;
        for (&k, reward) in kept.iter().zip(&rewards) {
            out.of[k] = Some((reward - mean) / (variance.sqrt() + EPS));
        }
    }
    out
}

/// Half of the rollouts above the group's mean, those with the fewest tool errors, and half of the others, drawn by a
/// hash of (seed, id); rounded up.
fn resampled(members: &[Member], all: &[usize], seed: u64) -> Vec<usize> {
    let mean = all.iter().map(|&k| members[k].reward).sum::<f64>() / all.len() as f64;
    let draw = |k: usize| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(members[k].id.as_bytes());
        *hasher.finalize().as_bytes()
    };
    let (mut positive, mut negative): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&k| members[k].reward > mean);
    positive.sort_by_cached_key(|&k| (members[k].tool_errors, draw(k)));
    negative.sort_by_cached_key(|&k| draw(k));
    positive.truncate(positive.len().div_ceil(2));
    negative.truncate(negative.len().div_ceil(2));
    let mut kept = [positive, negative].concat();
    kept.sort_unstable();
    kept
}

/// What DAPO takes off the reward of an answer that comes close to the longest one allowed: nothing up to
/// `longest - buffer` tokens, then linearly up to `factor` at `longest`.
pub fn overlong_penalty(length: usize, longest: usize, buffer: usize, factor: f64) -> f64 {
    let over = length as f64 - (longest as f64 - buffer as f64);
    (-over / buffer.max(1) as f64 * factor).clamp(-factor, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, group: &str, reward: f64, tool_errors: usize) -> Member {
        Member { id: id.to_owned(), group: group.to_owned(), reward, tool_errors }
    }

    const RULES: GroupRules = GroupRules { skips_equal: true, resamples_on_correct: false, seed: 0 };

    #[test]
    fn advantage_is_the_reward_relative_to_its_own_group() {
        let members =
            [member("a", "g", 1.0, 0), member("b", "h", 5.0, 0), member("c", "g", 0.0, 0), member("d", "h", 1.0, 0)];
        let found = advantages(&members, RULES);
        // std of (1, 0) with n - 1 is sqrt(0.5)
        let expected = 0.5 / (0.5f64.sqrt() + 1e-6);
        assert_eq!(found.of[0], Some(expected));
        assert_eq!(found.of[2], Some(-expected));
        assert_eq!(found.of[1], Some(2.0 / (8f64.sqrt() + 1e-6)));
    }

    #[test]
    fn group_with_equal_rewards_is_left_out_and_counted() {
        let members = [member("a", "g", 1.0, 0), member("b", "g", 1.0, 0)];
        let found = advantages(&members, RULES);
        assert_eq!((found.of.clone(), found.equal), (vec![None, None], 1));
        let kept = advantages(&members, GroupRules { skips_equal: false, ..RULES });
        assert_eq!(kept.of, vec![Some(0.0), Some(0.0)]);
    }

    #[test]
    fn group_of_one_is_left_out_and_named() {
        let found = advantages(&[member("a", "alone", 1.0, 0)], RULES);
        assert_eq!((found.of, found.single, found.first_single.as_deref()), (vec![None], 1, Some("alone")));
    }

    #[test]
    fn resample_on_correct_keeps_the_positives_with_the_fewest_tool_errors() {
        let members =
            [member("a", "g", 1.0, 3), member("b", "g", 1.0, 0), member("c", "g", 0.0, 0), member("d", "g", 0.0, 9)];
        let found = advantages(&members, GroupRules { resamples_on_correct: true, ..RULES });
        assert!(found.of[0].is_none() && found.of[1].is_some());
        assert_eq!(found.of[2..].iter().flatten().count(), 1);
        assert_eq!(found.resampled, 2);
    }

    #[test]
    fn penalty_is_bounded_and_never_turns_a_success_negative() {
        assert_eq!([0, 1, 3, 9].map(|failed| penalised(1.0, 0.25, failed)), [1.0, 0.75, 0.25, 0.25]);
        assert_eq!([0, 1, 9].map(|failed| penalised(0.0, 0.25, failed)), [0.0, -0.25, -0.75]);
        assert_eq!(penalised(0.1, 0.25, 2), 0.0);
        assert_eq!(penalised(-1.0, 0.25, 1), -1.25);
    }

    #[test]
    fn overlong_answers_lose_up_to_the_factor() {
        assert_eq!(overlong_penalty(100, 200, 50, 1.0), 0.0);
        assert_eq!(overlong_penalty(175, 200, 50, 1.0), -0.5);
        assert_eq!(overlong_penalty(500, 200, 50, 1.0), -1.0);
    }
}
