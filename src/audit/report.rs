//! What an audit says, as plain data: the JSON report, and one repair to look at.
//!
//! Owns the names and the senses of the numbers. Counting is done beside it, drawing in `html` and in the viewer. Every map is
//! sorted and every number is a count or a share of counts, so that the same data gives the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

#[cfg(feature = "schemas")]
use crate::record::FINDINGS;
use crate::record::{Findings, RepairRecord};

/// Version of the report's form.
pub const REPORT_VERSION: u32 = 1;
/// Thresholds of the sensitivity curve: 0.00, 0.01, ... 1.00.
pub const THRESHOLDS: usize = 101;
/// Longest failure runs that the sensitivity looks at: K from 1 to this.
pub const MAX_RETRIES: usize = 5;
/// Failures in a row that are told apart; the last entry holds all longer ones.
pub const MAX_STREAK: usize = 4;
/// Attempts of a rollout that are told apart by position; the last entry holds all after.
pub const MAX_POSITIONS: usize = 32;

/// Everything that an audit says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct AuditReport {
    pub report_version: u32,
    /// What became of every failure run of the raw data, and why.
    pub decisions: Decisions,
    pub tool: &'static str,
    pub tool_version: &'static str,
    /// The raw files, then the purified ones if they were given.
    pub files: Vec<FileFacts>,
    /// Whether `after` was read from purified files; else it is what purifying with these settings would give.
    pub is_purified: bool,
    /// The settings that decided, as the manifest beside the purified data has them, or those that would decide.
    pub settings: Value,
    /// Whether that manifest was found, or nothing is purified yet.
    pub settings_known: bool,
    /// Whether failures were looked for with the settings of that manifest.
    pub detects_alike: bool,
    pub rows: RowCounts,
    pub before: Side,
    pub after: Side,
    pub repairs: Repairs,
    pub guards: Guards,
    /// Counters of the raw data under the names that the method's reference code logs.
    pub reference: BTreeMap<String, f64>,
    pub sensitivity: Sensitivity,
    /// Absent where no rollout has both a group and a reward.
    pub groups: Option<Groups>,
    /// By the sign of the reward: `positive`, `zero`, `negative`, `none`.
    pub by_reward: BTreeMap<String, Part>,
    /// By the values of one column, if one was named or found.
    pub by_column: Option<ByColumn>,
    /// Gates of `--fail-if` that failed, in words.
    pub gate_failures: Vec<String>,
    /// Gates over what is not known of this data.
    pub gates_undecided: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct FileFacts {
    pub file: String,
    pub format: String,
    pub bytes: u64,
    pub rows: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct RowCounts {
    pub raw: u64,
    /// Rows that can't be read, by reason.
    pub unreadable: BTreeMap<String, u64>,
    /// Rows of the purified files.
    pub purified: Option<u64>,
    /// Raw rows that the purified files do not have: rejected, or dropped by the settings.
    pub left_out: u64,
    /// Purified rows whose messages or rewards are not what their record says: they have been changed since.
    pub edited: u64,
}

/// How many failure runs were repaired, how many were left, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Decisions {
    pub failure_runs: u64,
    pub repaired: u64,
    /// Taken out of the loss.
    pub masked: u64,
    pub left: u64,
    /// Those of rows that are not in the purified data, or whose record is of a version that did not say.
    pub unrecorded: u64,
    /// Of those that were left, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// How often each rule of evidence spoke.
    pub evidence: BTreeMap<String, u64>,
}

/// Attempts, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Tally {
    pub attempts: u64,
    pub failed: u64,
}

impl Tally {
    pub fn add(&mut self, failed: bool) {
        self.attempts += 1;
        self.failed += u64::from(failed);
    }

    pub fn merge(&mut self, other: Tally) {
        self.attempts += other.attempts;
        self.failed += other.failed;
    }

    /// Share that failed; absent of nothing.
    pub fn rate(self) -> Option<f64> {
        (self.attempts > 0).then(|| self.failed as f64 / self.attempts as f64)
    }
}

/// The same numbers of some of the rollouts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Part {
    pub before: Side,
    pub after: Side,
    pub repairs: Repairs,
    pub guards: Guards,
}

/// The data as it is on one side of the purifying.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Side {
    pub rollouts: u64,
    pub messages: u64,
    pub steps: u64,
    /// Steps with a call: ok, failed or open (no result).
    pub attempts: u64,
    pub ok: u64,
    pub failed: u64,
    pub open: u64,
    /// Failed among those with a result; the main job's `failure_rate` is among all attempts.
    pub error_rate: Option<f64>,
    /// Characters of all messages, and of failed attempts with their results.
    pub characters: u64,
    pub characters_on_failures: u64,
    /// Response tokens, and policy tokens of failed attempts; absent without token columns.
    pub tokens: Option<u64>,
    pub tokens_on_failures: Option<u64>,
    /// Rollouts whose first attempt was ok, of those that have an attempt with a result.
    pub first_attempts: Tally,
    pub first_attempt_success_rate: Option<f64>,
    /// Attempts with a result, by tool.
    pub by_tool: BTreeMap<String, Tally>,
    /// Failed attempts, by error type.
    pub error_types: BTreeMap<String, u64>,
    /// By their place among the attempts of their rollout; at most [`MAX_POSITIONS`] entries.
    pub by_position: Vec<Tally>,
    /// Failure runs, by length.
    pub failure_runs: BTreeMap<u64, RunCounts>,
    /// Runs with a correction directly after them, of any length; and all others.
    pub corrected: u64,
    pub uncorrected: u64,
    pub cascade: Cascade,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct RunCounts {
    pub corrected: u64,
    pub uncorrected: u64,
}

/// How often an attempt fails, by what came before it in its rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Cascade {
    /// The first attempt of a rollout.
    pub first: Tally,
    pub after_ok: Tally,
    /// After 1, 2, 3 and [`MAX_STREAK`] or more failures in a row.
    pub after_failures: [Tally; MAX_STREAK],
    pub rate_after_ok: Option<f64>,
    /// After any number of failures.
    pub rate_after_failure: Option<f64>,
    /// The second over the first: above 1, failures breed failures.
    pub ratio: Option<f64>,
}

/// What was, or would be, repaired.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Repairs {
    pub rollouts_repaired: u64,
    pub recovered: u64,
    pub unrecovered: u64,
    pub repairs: u64,
    pub shallow: u64,
    pub deep: u64,
    pub collapsed: u64,
    pub deep_rate: Option<f64>,
    pub removed_messages: u64,
    pub removed_tokens: u64,
    /// Repairs by their least similarity: 20 bins from 0 to 1, the last one closed.
    pub similarity: [u64; 20],
    pub by_tool: BTreeMap<String, u64>,
    /// Failed attempts that were replaced, by error type.
    pub error_types: BTreeMap<String, u64>,
    /// Recovered runs that were left unchanged, by reason. Of purified data the manifest alone tells, and of all rows only.
    pub skipped: Option<BTreeMap<String, u64>>,
}

/// What purifying may have broken, and what was odd before; filled from the record of repairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Guards {
    #[serde(flatten)]
    pub findings: FindingCounts,
    pub orphan_call_ids: u64,
    pub duplicate_call_ids: u64,
    pub unlisted_tools: u64,
    pub residue_rate: Option<f64>,
    pub dependency_rate: Option<f64>,
}

/// The counts of each finding under its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FindingCounts(pub Findings<GuardCount>);

impl Serialize for FindingCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.each().map(|(finding, count)| (finding.name, count)))
    }
}

#[cfg(feature = "schemas")]
impl schemars::JsonSchema for FindingCounts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FindingCounts".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let properties: serde_json::Map<String, Value> = FINDINGS
            .iter()
            .map(|finding| (finding.name.to_owned(), generator.subschema_for::<GuardCount>().to_value()))
            .collect();
        let required: Vec<&str> = FINDINGS.iter().map(|finding| finding.name).collect();
        schemars::json_schema!({"type": "object", "properties": properties, "required": required})
    }
}

/// Repairs that a guard has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct GuardCount {
    pub yes: u64,
    pub no: u64,
    /// It could not tell, or was not asked.
    pub unknown: u64,
}

/// What other settings would decide.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Sensitivity {
    /// The threshold and K that are in force.
    pub threshold: f64,
    pub max_retries: u64,
    /// For K from 1 to [`MAX_RETRIES`].
    pub by_retries: Vec<Curve>,
    /// Without the junk heuristic of difflib, with the K in force.
    pub without_junk: Curve,
    /// By the recorded or computed cosine, with the K in force; absent without vectors.
    pub semantic: Option<Curve>,
    /// Repairs that the settings in force decide otherwise than ...
    pub changed_without_junk: u64,
    pub changed_by_meaning: Option<u64>,
    /// ... at a threshold lower or higher by 0.1.
    pub changed_at_lower: u64,
    pub changed_at_higher: u64,
}

/// Decisions at every threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Curve {
    pub max_retries: u64,
    /// Runs that are repaired.
    pub repairs: u64,
    /// How many of them are deep at the thresholds 0.00, 0.01, ... 1.00.
    pub deep: Vec<u64>,
}

/// What purifying does to groups of one prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Groups {
    pub before: GroupCounts,
    pub after: GroupCounts,
    /// Rollouts that resample-on-correct picks on both sides, and on one alone.
    pub picked_on_both: u64,
    pub picked_before_only: u64,
    pub picked_after_only: u64,
    /// The groups with the most failed attempts, most first.
    pub worst: Vec<WorstGroup>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct GroupCounts {
    pub groups: u64,
    pub rollouts: u64,
    /// Groups whose rewards differ: only these teach anything.
    pub mixed: u64,
    pub equal: u64,
    pub single: u64,
    pub mean_absolute_advantage: Option<f64>,
    /// Failed attempts in rollouts with a positive advantage: errors that an update would reward.
    pub failures_rewarded: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct WorstGroup {
    pub group: String,
    pub slice: Slice,
}

/// The main numbers of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Slice {
    pub rollouts: u64,
    pub attempts: u64,
    pub failed_before: u64,
    pub failed_after: u64,
    pub repairs: u64,
    pub deep: u64,
    pub uncorrected: u64,
    pub removed_messages: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct ByColumn {
    pub column: String,
    /// The first 1000 values that the rows have; all others stand under `(others)`, rows without one under `(none)`.
    pub values: BTreeMap<String, Part>,
}

/// One repair, to look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepairView {
    pub rollout: String,
    /// Row of the raw file, from 0.
    pub row: u64,
    /// Which repair of its rollout, from 0.
    pub repair: u64,
    pub group: Option<String>,
    pub reward: Option<f64>,
    pub record: RepairRecord,
    /// The run as it was, and the step that it became, as lines.
    pub lines: Vec<DiffLine>,
    /// Text after the bound was cut.
    pub is_cut: bool,
}

/// A line of both sides, or of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", content = "text", rename_all = "lowercase")]
pub enum DiffLine {
    Both(String),
    Before(String),
    After(String),
}
