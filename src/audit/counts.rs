//! Everything that is counted row by row.
//!
//! Owns the sums of a stretch of rows, and their adding up: of all rows, and of those of one reward or one source. What purifying did comes from the
//! record that it wrote, or from the plan that it would write; both are [`Done`].

use std::collections::{BTreeMap, HashMap};

use super::groups::GradedGroups;
use super::report::{Decisions, GuardCount, Guards, Part, Repairs};
use super::sensitivity::Runs;
use super::side::{bounded, entry, merge};
use crate::guard::calls::CallFaults;
use crate::purifier::PurifiedRow;
use crate::record::{Granularity, RepairKind, RowRecord, RunOutcome, RunRecord};
use crate::steps::{Outcome, RunEnd, Trajectory};

/// Bins of the similarity histogram.
const BINS: usize = 20;

/// What was, or would be, done to a rollout.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub record: RowRecord,
    /// Recovered runs that were left unchanged; known of plans alone.
    pub skipped: Vec<&'static str>,
}

impl Done {
    pub(super) fn of_plan(row: &PurifiedRow) -> Self {
        Done {
            record: RowRecord {
                failed_attempts: row.plan.failed_attempts,
                recovered: row.plan.recovered,
                unrecovered: row.plan.unrecovered,
                repairs: row.records.clone(),
                runs: Some(row.runs.clone()),
                ..RowRecord::default()
            },
            skipped: row.plan.skipped().map(|reason| reason.name()).collect(),
        }
    }
}

/// How rollouts are told apart: by the sign of the reward, then by a column's value (`None`: no column was asked for).
pub(super) type PartKey = (&'static str, Option<String>);

/// Rollouts that are told apart, in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Parts {
    found: Vec<(PartKey, Part)>,
    places: HashMap<PartKey, usize>,
}

impl Parts {
    pub(super) fn of(&mut self, key: PartKey) -> &mut Part {
        let place = *self.places.entry(key).or_insert_with_key(|key| {
            self.found.push((key.clone(), Part::default()));
            self.found.len() - 1
        });
        &mut self.found[place].1
    }
}

/// The sums of a stretch of rows.
#[derive(Debug, Default)]
pub(super) struct Stretched {
    pub counts: Counts,
    pub parts: Parts,
}

/// The sums of all rows: each rollout is counted once, in its part, and parts are added up.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub counts: Counts,
    pub all: Part,
    pub by_reward: BTreeMap<String, Part>,
    pub by_column: BTreeMap<String, Part>,
}

impl Total {
    pub(super) fn add(&mut self, stretch: Stretched) {
        self.counts.merge(stretch.counts);
        for ((sign, value), part) in stretch.parts.found {
            self.all.merge(&part);
            bounded(&mut self.by_reward, sign).merge(&part);
            if let Some(value) = value {
                bounded(&mut self.by_column, &value).merge(&part);
            }
        }
    }

    /// `is_foretold`: why runs are left is known of each.
    pub(super) fn finish(&mut self, is_foretold: bool) {
        let parts = self.by_reward.values_mut().chain(self.by_column.values_mut());
        for part in parts.chain([&mut self.all]) {
            part.finish();
            let skipped = part.repairs.skipped.take().unwrap_or_default();
            part.repairs.skipped = is_foretold.then_some(skipped);
        }
    }
}

/// What is counted of all rows alone.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub rows: u64,
    pub unreadable: BTreeMap<String, u64>,
    pub purified_rows: u64,
    pub left_out: u64,
    pub edited: u64,
    pub decisions: Decisions,
    pub reference: Reference,
    pub runs: Runs,
    pub groups: GradedGroups,
}

/// Counters of the reference's agent loop (`tool_agent_loop.py`, `extra_fields`): calls, and places at which they failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reference {
    calls: u64,
    calls_ok: u64,
    first_calls: u64,
    first_calls_ok: u64,
    triggered: u64,
    recovered: u64,
    failure_reasons: BTreeMap<String, u64>,
}

impl Part {
    pub(super) fn add_repairs(&mut self, done: &Done) {
        let (found, repairs) = (&done.record, &mut self.repairs);
        repairs.recovered += found.recovered as u64;
        repairs.unrecovered += found.unrecovered as u64;
        repairs.rollouts_repaired += u64::from(!found.repairs.is_empty());
        done.skipped.iter().for_each(|reason| *entry(repairs.skipped.get_or_insert_default(), reason) += 1);
        for repair in &found.repairs {
            if repair.kind == RepairKind::Collapsed {
                repairs.collapsed += 1;
            } else {
                repairs.repairs += 1;
                match repair.granularity {
                    Granularity::Deep => repairs.deep += 1,
                    Granularity::Shallow => repairs.shallow += 1,
                }
                let least = repair.similarity.iter().copied().fold(f64::INFINITY, f64::min);
                if least.is_finite() {
                    repairs.similarity[((least * BINS as f64) as usize).min(BINS - 1)] += 1;
                }
                let counts = self.guards.findings.0.each_mut();
                counts.zip(repair.findings.each()).for_each(|((_, count), (_, finding))| count.add(*finding));
            }
            repairs.removed_messages += repair.removed_messages as u64;
            repairs.removed_tokens += repair.removed_tokens.map_or(0, |tokens| tokens as u64);
            *entry(&mut repairs.by_tool, repair.tool.as_deref().unwrap_or("(in text)")) += 1;
            repair.error_types.iter().for_each(|name| *entry(&mut repairs.error_types, name) += 1);
        }
    }

    pub(super) fn add_faults(&mut self, found: CallFaults) {
        self.guards.orphan_call_ids += found.orphan_call_id;
        self.guards.duplicate_call_ids += found.duplicate_call_id;
        self.guards.unlisted_tools += found.unlisted_tool;
    }

    fn merge(&mut self, other: &Part) {
        // Without `..`, so that no count can be forgotten; the same below.
        let Part { before, after, repairs, guards } = other;
        self.before.merge(before);
        self.after.merge(after);
        self.repairs.merge(repairs);
        self.guards.merge(guards);
    }

    fn finish(&mut self) {
        self.before.finish();
        self.after.finish();
        let (repairs, guards) = (&mut self.repairs, &mut self.guards);
        repairs.deep_rate = (repairs.repairs > 0).then(|| repairs.deep as f64 / repairs.repairs as f64);
        guards.residue_rate = guards.findings.0.residue.rate();
        guards.dependency_rate = guards.findings.0.depends_on_removed.rate();
    }
}

impl Counts {
    fn merge(&mut self, other: Counts) {
        let Counts { rows, unreadable, purified_rows, left_out, edited, decisions, reference, runs, groups } = other;
        self.rows += rows;
        merge(&mut self.unreadable, &unreadable, |mine, theirs| *mine += theirs);
        self.purified_rows += purified_rows;
        self.left_out += left_out;
        self.edited += edited;
        self.decisions.merge(&decisions);
        self.reference.merge(reference);
        self.runs.merge(&runs);
        self.groups.merge(groups);
    }
}

impl Decisions {
    /// `None`: nothing says what became of the `found` runs of a row.
    pub(super) fn add(&mut self, runs: Option<&[RunRecord]>, found: usize) {
        let Some(runs) = runs else {
            self.failure_runs += found as u64;
            self.unrecorded += found as u64;
            return;
        };
        self.failure_runs += runs.len() as u64;
        for run in runs {
            match run.decision {
                RunOutcome::Repaired => self.repaired += 1,
                RunOutcome::Masked => self.masked += 1,
                RunOutcome::Left => self.left += 1,
            }
            run.reason.iter().for_each(|reason| *entry(&mut self.reasons, reason.name()) += 1);
            run.evidence.iter().flatten().for_each(|rule| *entry(&mut self.evidence, rule) += 1);
        }
    }

    fn merge(&mut self, other: &Decisions) {
        let Decisions { failure_runs, repaired, masked, left, unrecorded, reasons, evidence } = other;
        self.failure_runs += failure_runs;
        self.repaired += repaired;
        self.masked += masked;
        self.left += left;
        self.unrecorded += unrecorded;
        merge(&mut self.reasons, reasons, |mine, theirs| *mine += theirs);
        merge(&mut self.evidence, evidence, |mine, theirs| *mine += theirs);
    }
}

impl Repairs {
    fn merge(&mut self, other: &Repairs) {
        let Repairs {
            rollouts_repaired,
            recovered,
            unrecovered,
            repairs,
            shallow,
            deep,
            collapsed,
            deep_rate: _,
            removed_messages,
            removed_tokens,
            similarity,
            by_tool,
            error_types,
            skipped,
        } = other;
        self.rollouts_repaired += rollouts_repaired;
        self.recovered += recovered;
        self.unrecovered += unrecovered;
        self.repairs += repairs;
        self.shallow += shallow;
        self.deep += deep;
        self.collapsed += collapsed;
        self.removed_messages += removed_messages;
        self.removed_tokens += removed_tokens;
        self.similarity.iter_mut().zip(similarity).for_each(|(mine, theirs)| *mine += theirs);
        merge(&mut self.by_tool, by_tool, |mine, theirs| *mine += theirs);
        merge(&mut self.error_types, error_types, |mine, theirs| *mine += theirs);
        let nothing = BTreeMap::new();
        let skipped = skipped.as_ref().unwrap_or(&nothing);
        merge(self.skipped.get_or_insert_default(), skipped, |mine, theirs| *mine += theirs);
    }
}

impl Guards {
    fn merge(&mut self, other: &Guards) {
        let Guards {
            findings,
            orphan_call_ids,
            duplicate_call_ids,
            unlisted_tools,
            residue_rate: _,
            dependency_rate: _,
        } = other;
        for ((_, mine), (_, theirs)) in self.findings.0.each_mut().zip(findings.0.each()) {
            mine.merge(*theirs);
        }
        self.orphan_call_ids += orphan_call_ids;
        self.duplicate_call_ids += duplicate_call_ids;
        self.unlisted_tools += unlisted_tools;
    }
}

impl GuardCount {
    fn merge(&mut self, other: GuardCount) {
        let GuardCount { yes, no, unknown } = other;
        self.yes += yes;
        self.no += no;
        self.unknown += unknown;
    }

    fn add(&mut self, finding: Option<bool>) {
        match finding {
            Some(true) => self.yes += 1,
            Some(false) => self.no += 1,
            None => self.unknown += 1,
        }
    }

    /// Share of what it could tell; absent of nothing.
    pub fn rate(self) -> Option<f64> {
        let known = self.yes + self.no;
        (known > 0).then(|| self.yes as f64 / known as f64)
    }
}

impl Reference {
    /// Counts the raw rollout as the reference's loop would have met it: each result is a call; a retry stands directly after
    /// a failed attempt; a place at which a call failed is recovered if the run there has a correction within K attempts.
    pub(super) fn add(&mut self, trajectory: &Trajectory<'_, '_>, max_retries: usize) {
        let mut retried_until = None;
        for step in &trajectory.steps {
            let is_retry = retried_until == Some(step.message);
            for answer in step.answers.iter().filter(|_| step.attempt.is_some()) {
                let failure = answer.verdict.failure();
                self.calls += 1;
                self.calls_ok += u64::from(failure.is_none());
                self.first_calls += u64::from(!is_retry);
                self.first_calls_ok += u64::from(!is_retry && failure.is_none());
                if let Some(failure) = failure {
                    *entry(&mut self.failure_reasons, &failure.error_type) += 1;
                }
            }
            retried_until = (step.attempt == Some(Outcome::Failed)).then_some(step.end());
        }
        for run in trajectory.failure_runs() {
            self.triggered += 1;
            let is_recovered = matches!(run.end, RunEnd::Correction(_)) && run.steps.len() <= max_retries;
            self.recovered += u64::from(is_recovered);
        }
    }

    fn merge(&mut self, other: Reference) {
        let Reference { calls, calls_ok, first_calls, first_calls_ok, triggered, recovered, failure_reasons } = other;
        self.calls += calls;
        self.calls_ok += calls_ok;
        self.first_calls += first_calls;
        self.first_calls_ok += first_calls_ok;
        self.triggered += triggered;
        self.recovered += recovered;
        merge(&mut self.failure_reasons, &failure_reasons, |mine, theirs| *mine += theirs);
    }

    /// Under the reference's names; `replaced` and `appended` are the repairs that were made, and those that a gate refused.
    pub(super) fn named(&self, replaced: u64, appended: u64) -> BTreeMap<String, f64> {
        let mut out: BTreeMap<String, f64> = [
            ("tool_call_total", self.calls),
            ("tool_call_success", self.calls_ok),
            ("first_attempt_total", self.first_calls),
            ("first_attempt_success", self.first_calls_ok),
            ("global_rollback_triggered", self.triggered),
            ("global_rollback_recovered", self.recovered),
            ("global_rollback_failed", self.triggered - self.recovered),
            ("rollback_replace_count", replaced),
            ("rollback_append_count", appended),
        ]
        .map(|(name, count)| (name.to_owned(), count as f64))
        .into();
        for (total, ok, name) in [
            (self.calls, self.calls_ok, "tool_call_success_rate"),
            (self.first_calls, self.first_calls_ok, "first_attempt_success_rate"),
        ] {
            if total > 0 {
                out.insert(name.to_owned(), ok as f64 / total as f64);
            }
        }
        for (reason, count) in &self.failure_reasons {
            out.insert(format!("tool_failure_reasons/{reason}"), *count as f64);
        }
        out
    }
}
