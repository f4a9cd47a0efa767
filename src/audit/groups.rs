//! What purifying does to groups of one prompt (GRPO).
//!
//! Owns the comparison of both sides: which groups teach anything, and which rollouts resample-on-correct picks. Advantages are
//! [`crate::group`]'s.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::report::{GroupCounts, Groups, Slice, WorstGroup};
use crate::group::{GroupRules, Member, advantages};

/// Groups that are named.
const MAX_NAMED: usize = 20;
const RULES: GroupRules = GroupRules { skips_equal: true, resamples_on_correct: false, seed: 0 };
const PICKING: GroupRules = GroupRules { resamples_on_correct: true, ..RULES };

/// All rollouts with group and reward, by group: what the memory of an audit grows with.
#[derive(Debug, Default)]
pub(super) struct GradedGroups(BTreeMap<Box<str>, GradedGroup>);

#[derive(Debug, Default)]
struct GradedGroup {
    rollouts: Vec<Graded>,
    slice: Slice,
}

/// A rollout on both sides.
#[derive(Debug)]
pub(super) struct Graded {
    pub id: Box<str>,
    pub reward: f64,
    pub failed_before: u32,
    /// `None`: it is not in the purified data.
    pub failed_after: Option<u32>,
}

impl GradedGroups {
    pub(super) fn add(&mut self, group: &str, graded: Graded, slice: Slice) {
        let group = self.0.entry(group.into()).or_default();
        group.rollouts.push(graded);
        group.slice.merge(slice);
    }

    pub(super) fn merge(&mut self, other: GradedGroups) {
        for (name, theirs) in other.0 {
            let mine = self.0.entry(name).or_default();
            mine.rollouts.extend(theirs.rollouts);
            mine.slice.merge(theirs.slice);
        }
    }

    /// `None`: there are none.
    pub(super) fn compare(&self) -> Option<Groups> {
        if self.0.is_empty() {
            return None;
        }
        let (mut before, mut after) = (SideOfGroups::default(), SideOfGroups::default());
        let mut out = Groups::default();
        for group in self.0.values() {
            let picked_before = before.add(group.rollouts.iter().map(|graded| (graded, graded.failed_before)));
            let staying = group.rollouts.iter().filter_map(|graded| Some((graded, graded.failed_after?)));
            let picked_after = after.add(staying);
            let both = picked_before.intersection(&picked_after).count();
            out.picked_on_both += both as u64;
            out.picked_before_only += (picked_before.len() - both) as u64;
            out.picked_after_only += (picked_after.len() - both) as u64;
        }
        Some(Groups { before: before.finish(), after: after.finish(), worst: self.worst(), ..out })
    }

    fn worst(&self) -> Vec<WorstGroup> {
        let mut groups: Vec<(&str, Slice)> = self.0.iter().map(|(name, group)| (&**name, group.slice)).collect();
        groups.retain(|(_, slice)| slice.failed_before > 0);
        groups.sort_by_key(|(name, slice)| (Reverse(slice.failed_before), *name));
        let named = |(group, slice): (&str, Slice)| WorstGroup { group: group.to_owned(), slice };
        groups.into_iter().take(MAX_NAMED).map(named).collect()
    }
}

/// Groups of one side, counted one after the other.
#[derive(Default)]
struct SideOfGroups {
    counts: GroupCounts,
    advantages: u64,
    absolute: f64,
}

impl SideOfGroups {
    /// Counts a group's rollouts, each with its failed attempts, and says which resample-on-correct keeps.
    fn add<'g>(&mut self, group: impl Iterator<Item = (&'g Graded, u32)>) -> BTreeSet<&'g str> {
        let (ids, members): (Vec<&str>, Vec<Member>) = group
            .map(|(graded, failed)| {
                let tool_errors = usize::try_from(failed).unwrap_or(usize::MAX);
                (
                    &*graded.id,
                    Member { id: graded.id.to_string(), group: String::new(), reward: graded.reward, tool_errors },
                )
            })
            .unzip();
        let found = advantages(&members, RULES);
        let counts = &mut self.counts;
        counts.groups += found.groups as u64;
        counts.rollouts += members.len() as u64;
        counts.mixed += (found.groups - found.equal - found.single) as u64;
        counts.equal += found.equal as u64;
        counts.single += found.single as u64;
        for (member, advantage) in members.iter().zip(&found.of) {
            let Some(advantage) = advantage else { continue };
            self.advantages += 1;
            self.absolute += advantage.abs();
            counts.failures_rewarded += if *advantage > 0.0 { member.tool_errors as u64 } else { 0 };
        }
        let kept = advantages(&members, PICKING);
        ids.into_iter().zip(kept.of).filter_map(|(id, advantage)| advantage.map(|_| id)).collect()
    }

    fn finish(self) -> GroupCounts {
        let mean = (self.advantages > 0).then(|| self.absolute / self.advantages as f64);
        GroupCounts { mean_absolute_advantage: mean, ..self.counts }
    }
}

impl Slice {
    pub(super) fn merge(&mut self, other: Slice) {
        let Slice { rollouts, attempts, failed_before, failed_after, repairs, deep, uncorrected, removed_messages } =
            other;
        self.rollouts += rollouts;
        self.attempts += attempts;
        self.failed_before += failed_before;
        self.failed_after += failed_after;
        self.repairs += repairs;
        self.deep += deep;
        self.uncorrected += uncorrected;
        self.removed_messages += removed_messages;
    }
}
