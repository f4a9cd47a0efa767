//! Resample-on-correct over a whole input (rStar2-Agent, arXiv 2508.20722): which rollouts of each group are left out.
//!
//! Owns the candidates, a few numbers and a name for each row, and the choice, which is made once all are known.

use std::collections::{BTreeMap, HashSet};

use super::{Member, resampled};

/// Tells a row from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey(u128);

impl RowKey {
    /// `number` is the row's within its file.
    pub fn new(group: &str, id: &str, number: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(group.len() as u64).to_le_bytes()).update(group.as_bytes());
        hasher.update(&number.to_le_bytes()).update(id.as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        RowKey(u128::from_le_bytes(half))
    }
}

/// The rows of an input that can be chosen from.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    keys: Vec<RowKey>,
    members: Vec<Member>,
}

/// Rows that are not chosen.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(HashSet<RowKey>);

impl Candidates {
    /// Takes a row in; one whose reward is not a finite number is no candidate, and stays.
    pub fn add(&mut self, key: RowKey, member: Member) {
        if member.reward.is_finite() {
            self.keys.push(key);
            self.members.push(member);
        }
    }

    /// Chooses in every group; `seed` decides between rollouts that are equal otherwise.
    pub fn left_out(self, seed: u64) -> LeftOut {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (k, member) in self.members.iter().enumerate() {
            groups.entry(&member.group).or_default().push(k);
        }
        let mut out = HashSet::new();
        for all in groups.values() {
            let kept = resampled(&self.members, all, seed);
            out.extend(all.iter().filter(|k| !kept.contains(k)).map(|&k| self.keys[k]));
        }
        LeftOut(out)
    }
}

impl LeftOut {
    pub fn contains(&self, key: RowKey) -> bool {
        self.0.contains(&key)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in an order that is always the same.
    pub fn sorted(&self) -> Vec<u128> {
        let mut keys: Vec<u128> = self.0.iter().map(|key| key.0).collect();
        keys.sort_unstable();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successes_with_the_fewest_failed_attempts_stay_and_half_of_the_others() {
        let mut candidates = Candidates::default();
        let rows = [(1.0, 2), (1.0, 0), (1.0, 1), (1.0, 3), (0.0, 0), (0.0, 5), (f64::NAN, 9)];
        for (k, (reward, tool_errors)) in rows.into_iter().enumerate() {
            let member = Member { id: k.to_string(), group: "g".to_owned(), reward, tool_errors };
            candidates.add(RowKey::new("g", &k.to_string(), k as u64), member);
        }
        let found = candidates.left_out(0);
        let stays = |k: usize| !found.contains(RowKey::new("g", &k.to_string(), k as u64));
        assert_eq!([0, 1, 2, 3].map(stays), [false, true, true, false]);
        assert_eq!([4, 5].map(stays).iter().filter(|stays| **stays).count(), 1);
        assert!(stays(6));
    }
}
