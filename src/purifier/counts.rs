//! What happened, in numbers.
//!
//! Owns the counters of a run, their sums and rates. They are the last line on stdout, part of the manifest, and what
//! `--fail-if` reads. Addable in any order: the result never depends on threads.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::warning::{Doubts, Sums, Warning};
use crate::guard::calls::CallFaults;
use crate::judge::LogIs;
use crate::record::{Finding, Findings, RepairRecord};
use crate::saar::{Granularity, Plan, RepairKind};

/// Lower edges of the bins of `log_is`; -0.69 is a ratio of one half.
const LOG_IS_EDGES: [f64; 9] = [-32.0, -16.0, -8.0, -4.0, -2.0, -0.69, 0.0, 0.69, 2.0];

/// The name of a bin: letters keep the order where names are sorted.
fn log_is_bin(log_is: f64) -> String {
    let bin = LOG_IS_EDGES.iter().filter(|edge| log_is >= **edge).count();
    let letter = char::from(b'a' + bin as u8);
    match bin {
        0 => format!("{letter} below {}", LOG_IS_EDGES[0]),
        _ => format!("{letter} from {}", LOG_IS_EDGES[bin - 1]),
    }
}

/// Adds counts by name.
pub(crate) fn add_all(mine: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    theirs.iter().for_each(|(name, count)| *mine.entry(name.clone()).or_default() += count);
}

/// Counters of rows, attempts and repairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageCounts {
    pub rows_in: u64,
    pub rows_out: u64,
    pub rows_rejected: u64,
    /// Rows of other shards.
    pub rows_elsewhere: u64,
    /// Rows whose messages or mask changed.
    pub rows_changed: u64,
    pub attempts: u64,
    pub failed_attempts: u64,
    /// Failure runs with a correction, repaired or not.
    pub recovered: u64,
    pub unrecovered: u64,
    pub repairs: u64,
    pub repairs_shallow: u64,
    pub repairs_deep: u64,
    pub collapsed: u64,
    pub masked_attempts: u64,
    pub removed_messages: u64,
    pub removed_tokens: u64,
    pub pairs: u64,
    /// Repairs that the gate's model has judged, and those that it could not (they are not made).
    pub gate_judged: u64,
    pub gate_unjudged: u64,
    pub guards: GuardCounts,
    /// What speaks against what was read, in the rows that are written.
    #[serde(default)]
    pub doubts: Doubts,
    /// Recovered runs that were left as they are, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// All failure runs that were left as they are, recovered or not, by reason.
    #[serde(default)]
    pub left: BTreeMap<String, u64>,
    /// Failed attempts of repaired runs, by error type.
    pub error_types: BTreeMap<String, u64>,
    /// Rejected rows, by reason.
    pub rejects: BTreeMap<String, u64>,
    /// Judged repairs by the logarithm of their importance ratio.
    pub log_is: BTreeMap<String, u64>,
}

/// What the guards found: repairs, but for the last three.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardCounts {
    /// Repairs of which a finding holds.
    pub found: Findings<u64>,
    /// Repairs of which it could not be told, or was not asked.
    pub unknown: Findings<u64>,
    /// Deep repairs that became shallow and thereby free of residue.
    pub made_shallow: u64,
    pub calls: CallFaults,
}

impl GuardCounts {
    fn add_findings(&mut self, findings: &Findings<Option<bool>>) {
        let counts = self.found.each_mut().zip(self.unknown.each_mut());
        for ((_, finding), ((_, found), (_, unknown))) in findings.each().zip(counts) {
            *found += u64::from(*finding == Some(true));
            *unknown += u64::from(finding.is_none());
        }
    }

    pub fn add_faults(&mut self, found: CallFaults) {
        self.calls.orphan_call_id += found.orphan_call_id;
        self.calls.duplicate_call_id += found.duplicate_call_id;
        self.calls.unlisted_tool += found.unlisted_tool;
    }

    fn add(&mut self, other: &GuardCounts) {
        let GuardCounts { found, unknown, made_shallow, calls } = other;
        for (mine, theirs) in [(&mut self.found, found), (&mut self.unknown, unknown)] {
            mine.each_mut().zip(theirs.each()).for_each(|((_, mine), (_, theirs))| *mine += theirs);
        }
        self.made_shallow += made_shallow;
        self.add_faults(*calls);
    }

    /// Each counter under its name, in the order in which they are written.
    fn named(&mut self) -> Vec<(String, &mut u64)> {
        let GuardCounts { found, unknown, made_shallow, calls } = self;
        let (mut told, mut others): (Vec<_>, Vec<_>) =
            found.each_mut().partition(|(finding, _)| finding.counts_unknown);
        let unknown = unknown.each_mut().filter(|(finding, _)| finding.counts_unknown);
        let plain = |(finding, count): (&Finding, _)| (finding.name.to_owned(), count);
        let mut out: Vec<(String, &mut u64)> = told.drain(..).map(plain).collect();
        // It comes after the finding that it comes from.
        out.insert(1, ("made_shallow".to_owned(), made_shallow));
        out.extend(unknown.map(|(finding, count)| (format!("{}_unknown", finding.name), count)));
        out.extend(others.drain(..).map(plain));
        out.push(("orphan_call_id".to_owned(), &mut calls.orphan_call_id));
        out.push(("duplicate_call_id".to_owned(), &mut calls.duplicate_call_id));
        out.push(("unlisted_tool".to_owned(), &mut calls.unlisted_tool));
        out
    }
}

impl Serialize for GuardCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.clone().named().into_iter().map(|(name, count)| (name, *count)))
    }
}

impl<'de> Deserialize<'de> for GuardCounts {
    /// A counter that an earlier version did not have is 0.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let mut out = GuardCounts::default();
        for (name, count) in out.named() {
            *count = found.get(&name).copied().unwrap_or_default();
        }
        Ok(out)
    }
}

impl StageCounts {
    pub fn add_row(&mut self, plan: &Plan, records: &[RepairRecord], is_changed: bool) {
        self.rows_out += 1;
        self.rows_changed += u64::from(is_changed);
        self.attempts += plan.attempts as u64;
        self.failed_attempts += plan.failed_attempts as u64;
        self.recovered += plan.recovered as u64;
        self.unrecovered += plan.unrecovered as u64;
        self.masked_attempts += plan.masked.len() as u64;
        for reason in plan.skipped() {
            *self.skipped.entry(reason.name().to_owned()).or_default() += 1;
        }
        for reason in plan.runs.iter().filter_map(|run| run.reason) {
            *self.left.entry(reason.name().to_owned()).or_default() += 1;
        }
        self.guards.made_shallow += plan.repairs.iter().filter(|repair| repair.made_shallow).count() as u64;
        for record in records {
            match (record.kind, record.granularity) {
                (RepairKind::Collapsed, _) => self.collapsed += 1,
                (_, Granularity::Shallow) => self.repairs_shallow += 1,
                (_, Granularity::Deep) => self.repairs_deep += 1,
            }
            if record.kind == RepairKind::Recovered {
                self.repairs += 1;
                self.guards.add_findings(&record.findings);
            }
            self.removed_messages += record.removed_messages as u64;
            self.removed_tokens += record.removed_tokens.unwrap_or_default() as u64;
            for error_type in &record.error_types {
                *self.error_types.entry(error_type.clone()).or_default() += 1;
            }
        }
    }

    pub fn add_judged(&mut self, judged: &[Option<LogIs>]) {
        for found in judged {
            match found {
                None => self.gate_unjudged += 1,
                Some(log_is) => {
                    self.gate_judged += 1;
                    *self.log_is.entry(log_is_bin(log_is.sum)).or_default() += 1;
                }
            }
        }
    }

    pub fn add_reject(&mut self, code: &str) {
        self.rows_rejected += 1;
        *self.rejects.entry(code.to_owned()).or_default() += 1;
    }

    pub fn add(&mut self, other: &StageCounts) {
        let StageCounts {
            rows_in,
            rows_out,
            rows_rejected,
            rows_elsewhere,
            rows_changed,
            attempts,
            failed_attempts,
            recovered,
            unrecovered,
            repairs,
            repairs_shallow,
            repairs_deep,
            collapsed,
            masked_attempts,
            removed_messages,
            removed_tokens,
            pairs,
            gate_judged,
            gate_unjudged,
            guards,
            doubts,
            skipped,
            left,
            error_types,
            rejects,
            log_is,
        } = other;
        self.rows_in += rows_in;
        self.rows_out += rows_out;
        self.rows_rejected += rows_rejected;
        self.rows_elsewhere += rows_elsewhere;
        self.rows_changed += rows_changed;
        self.attempts += attempts;
        self.failed_attempts += failed_attempts;
        self.recovered += recovered;
        self.unrecovered += unrecovered;
        self.repairs += repairs;
        self.repairs_shallow += repairs_shallow;
        self.repairs_deep += repairs_deep;
        self.collapsed += collapsed;
        self.masked_attempts += masked_attempts;
        self.removed_messages += removed_messages;
        self.removed_tokens += removed_tokens;
        self.pairs += pairs;
        self.gate_judged += gate_judged;
        self.gate_unjudged += gate_unjudged;
        self.guards.add(guards);
        self.doubts += *doubts;
        add_all(&mut self.skipped, skipped);
        add_all(&mut self.left, left);
        add_all(&mut self.error_types, error_types);
        add_all(&mut self.rejects, rejects);
        add_all(&mut self.log_is, log_is);
    }

    /// Shares of the counters, by name. A share of nothing is 0; one that no guard could tell is absent.
    pub fn rates(&self) -> BTreeMap<&'static str, Option<f64>> {
        let known = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let share = |part: u64, whole: u64| Some(known(part, whole).unwrap_or_default());
        let guards = &self.guards;
        // Of no repair at all, none was found.
        let found =
            |yes: u64, unknown: u64| if self.repairs == 0 { Some(0.0) } else { known(yes, self.repairs - unknown) };
        BTreeMap::from([
            ("failure_rate", share(self.failed_attempts, self.attempts)),
            ("unrecovered_rate", share(self.unrecovered, self.recovered + self.unrecovered)),
            ("recovery_rate", share(self.recovered, self.recovered + self.unrecovered)),
            ("deep_rate", share(self.repairs_deep, self.repairs)),
            ("residue_rate", found(guards.found.residue, guards.unknown.residue)),
            ("dependency_rate", found(guards.found.depends_on_removed, guards.unknown.depends_on_removed)),
            ("changed_rate", share(self.rows_changed, self.rows_out)),
            ("reject_rate", share(self.rows_rejected, self.rows_in - self.rows_elsewhere)),
        ])
    }

    /// What must not be passed by in silence.
    pub fn warnings(&self) -> Vec<Warning> {
        let (rejected, attempts) = (self.rows_rejected, self.attempts);
        Warning::of(Sums { rows: self.rows_in - self.rows_elsewhere, rejected, attempts, doubts: &self.doubts })
    }

    /// Whether nothing was read, or nothing of it is written.
    pub fn kept_nothing(&self) -> bool {
        self.rows_out == 0 && (self.rows_in == 0 || self.rows_elsewhere < self.rows_in)
    }

    /// Counters and rates as one JSON object.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut out = match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            _ => Map::new(),
        };
        out.extend(self.rates().into_iter().map(|(name, rate)| (name.to_owned(), Value::from(rate))));
        out
    }
}
