//! What each group earned over a whole input, before anything is edited, dropped or selected.
//!
//! Owns the running statistics of every group's rewards and the advantage that follows from them (docs/method.md, "Where to
//! repair"). It is fed in a first pass over groups and rewards alone; memory grows with the number of groups, never with rows
//! or names. Where nothing tells which rollout did better, the advantage is absent, never 0.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::EPS;
use super::resample::{LeftOut, RowKey};

/// What one rollout earned: `reward - mean` of its group over the deviation, as [`super::advantages`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Advantage(f64);

impl Advantage {
    /// `None` unless the number is finite.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Advantage(value))
    }

    pub fn get(self) -> f64 {
        self.0
    }

    /// Whether the rollout did better than its group did on average.
    pub fn is_positive(self) -> bool {
        self.0 > 0.0
    }
}

/// Mean and sum of squared deviations of a group's rewards, kept as rewards come (Welford's recurrence).
#[derive(Clone, Copy, Debug, Default)]
struct Rewards {
    count: u64,
    mean: f64,
    squares: f64,
    least: f64,
    most: f64,
}

impl Rewards {
    fn add(&mut self, reward: f64) {
        self.count += 1;
        let from_mean = reward - self.mean;
        self.mean += from_mean / self.count as f64;
        self.squares += from_mean * (reward - self.mean);
        (self.least, self.most) = match self.count {
            1 => (reward, reward),
            _ => (self.least.min(reward), self.most.max(reward)),
        };
    }

    fn advantage(&self, reward: f64) -> Option<Advantage> {
        if self.count < 2 || self.least == self.most {
            return None;
        }
        let deviation = (self.squares / (self.count - 1) as f64).sqrt();
        Advantage::new((reward - self.mean) / (deviation + EPS))
    }
}

/// The baseline of every group of an input.
#[derive(Clone, Debug, Default)]
pub struct Baselines {
    groups: HashMap<u128, Rewards>,
    tally: BaselineTally,
    left_out: LeftOut,
}

/// How much of an input has a baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BaselineTally {
    pub rows: u64,
    /// Rows without a group.
    pub ungrouped: u64,
    /// Rows with a group whose reward is absent or not a finite number.
    pub unrewarded: u64,
    pub groups: u64,
    /// Groups of a single rollout: it can't be compared with itself.
    pub single: u64,
    /// Groups whose rewards are all equal.
    pub equal: u64,
    /// Rows of all other groups: their advantage is known.
    pub told: u64,
}

/// Which groups tell who did better, and why the others don't.
impl fmt::Display for BaselineTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BaselineTally { groups, single, equal, .. } = *self;
        if groups == 0 {
            return f.write_str("there are no groups with rewards: all rollouts are alike");
        }
        write!(f, "of {groups} groups {} tell", groups - single - equal)?;
        if equal > 0 {
            write!(f, ", {equal} have equal rewards")?;
        }
        match single {
            0 => Ok(()),
            single => {
                write!(
                    f,
                    ", {single} are a single rollout (groups that are spread over files need all of them at once)"
                )
            }
        }
    }
}

impl BaselineTally {
    /// Whether no row at all can be told better or worse than its group.
    pub fn tells_nothing(&self) -> bool {
        self.groups == self.single + self.equal
    }
}

impl Baselines {
    /// Takes one row in. A reward that is not a finite number counts as absent.
    pub fn add(&mut self, group: Option<&str>, reward: Option<f64>) {
        self.tally.rows += 1;
        match (group, reward.filter(|r| r.is_finite())) {
            (None, _) => self.tally.ungrouped += 1,
            (Some(_), None) => self.tally.unrewarded += 1,
            (Some(group), Some(reward)) => self.groups.entry(key(group)).or_default().add(reward),
        }
    }

    /// The advantage of a rollout; `None` where nothing tells: no group, no finite reward, a group of one, equal rewards.
    pub fn advantage(&self, group: Option<&str>, reward: Option<f64>) -> Option<Advantage> {
        let reward = reward.filter(|r| r.is_finite())?;
        self.groups.get(&key(group?))?.advantage(reward)
    }

    /// The same with rows that are not to be written.
    pub fn without(self, left_out: LeftOut) -> Self {
        Baselines { left_out, ..self }
    }

    /// Whether a row is not to be written, since others of its group were chosen.
    pub fn leaves_out(&self, group: Option<&str>, id: &str, number: u64) -> bool {
        !self.left_out.is_empty() && group.is_some_and(|group| self.left_out.contains(RowKey::new(group, id, number)))
    }

    pub fn tally(&self) -> BaselineTally {
        let count = |is: fn(&Rewards) -> bool| self.groups.values().filter(|r| is(r)).count() as u64;
        BaselineTally {
            groups: self.groups.len() as u64,
            single: count(|r| r.count == 1),
            equal: count(|r| r.count > 1 && r.least == r.most),
            told: self.groups.values().filter(|r| r.least != r.most).map(|r| r.count).sum(),
            ..self.tally
        }
    }

    /// Ties what is written to the baselines that it was written with: a part of a resumed run is only reused if they are the
    /// same.
    pub fn digest(&self) -> String {
        let mut groups: Vec<(&u128, &Rewards)> = self.groups.iter().collect();
        groups.sort_unstable_by_key(|(key, _)| **key);
        let mut hasher = blake3::Hasher::new();
        for (key, rewards) in groups {
            hasher.update(&key.to_le_bytes()).update(&rewards.count.to_le_bytes());
            hasher.update(&rewards.mean.to_bits().to_le_bytes()).update(&rewards.squares.to_bits().to_le_bytes());
        }
        for key in self.left_out.sorted() {
            hasher.update(&key.to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Names may be long; half of a hash is enough to tell them apart.
fn key(group: &str) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&blake3::hash(group.as_bytes()).as_bytes()[..16]);
    u128::from_le_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::super::{GroupRules, Member, advantages};
    use super::*;

    fn baselines(rows: &[(&str, f64)]) -> Baselines {
        let mut out = Baselines::default();
        rows.iter().for_each(|(group, reward)| out.add(Some(group), Some(*reward)));
        out
    }

    #[test]
    fn baseline_gives_the_advantages_that_the_trainer_computes() {
        let rows = [("g", 1.0), ("h", 5.5), ("g", 0.0), ("h", 1.25), ("g", 0.0), ("h", -3.0), ("g", 0.3)];
        let members: Vec<Member> = rows
            .iter()
            .enumerate()
            .map(|(k, (group, reward))| Member {
                id: k.to_string(),
                group: (*group).to_owned(),
                reward: *reward,
                tool_errors: 0,
            })
            .collect();
        let rules = GroupRules { skips_equal: true, resamples_on_correct: false, seed: 0 };
        let found = baselines(&rows);
        for (of, (group, reward)) in advantages(&members, rules).of.iter().zip(rows) {
            let ours = found.advantage(Some(group), Some(reward)).map(Advantage::get);
            assert!((ours.expect("mixed") - of.expect("mixed")).abs() < 1e-12, "{group} {reward}");
        }
    }

    #[test]
    fn nothing_tells_without_group_reward_company_or_difference() {
        let found = baselines(&[("alone", 1.0), ("same", 0.5), ("same", 0.5), ("mixed", 1.0), ("mixed", 0.0)]);
        for (group, reward) in [
            (None, Some(1.0)),
            (Some("mixed"), None),
            (Some("mixed"), Some(f64::NAN)),
            (Some("alone"), Some(1.0)),
            (Some("same"), Some(0.5)),
            (Some("elsewhere"), Some(1.0)),
        ] {
            assert_eq!(found.advantage(group, reward), None, "{group:?} {reward:?}");
        }
        assert!(found.advantage(Some("mixed"), Some(1.0)).is_some_and(Advantage::is_positive));
        assert!(found.advantage(Some("mixed"), Some(0.0)).is_some_and(|a| !a.is_positive()));
    }

    #[test]
    fn rewards_that_are_absent_or_not_finite_leave_the_baseline_of_the_others() {
        let mut found = baselines(&[("g", 1.0), ("g", 0.0)]);
        let before = found.advantage(Some("g"), Some(1.0));
        found.add(Some("g"), None);
        found.add(Some("g"), Some(f64::NAN));
        found.add(Some("g"), Some(f64::INFINITY));
        found.add(None, Some(1.0));
        assert_eq!(found.advantage(Some("g"), Some(1.0)), before);
        let expected = BaselineTally { rows: 6, ungrouped: 1, unrewarded: 3, groups: 1, single: 0, equal: 0, told: 2 };
        assert_eq!(found.tally(), expected);
        assert!(!found.tally().tells_nothing());
    }

    #[test]
    fn digest_changes_with_any_reward_and_with_nothing_else() {
        let rows = [("g", 1.0), ("h", 0.0)];
        assert_eq!(baselines(&rows).digest(), baselines(&rows).digest());
        assert_ne!(baselines(&rows).digest(), baselines(&[("g", 1.0), ("h", 0.5)]).digest());
    }
}
