//! The record: what was done to each row, as plain data. Every file of ours holds it in the column `purification`.
//!
//! Owns the one type of a repair's record and of a row's, and the one table of the fields of each: name, type, version,
//! how a field is written, read and shown. Reader, writer, schema, report and viewer walk the tables, so that a new field
//! is one entry here. Pure: files are others' work.

mod cell;
pub mod field;
pub mod finding;
mod lift;
mod words;

use std::sync::LazyLock;

use arrow::array::{Array, ArrayRef, StructArray, new_empty_array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::decision::{Correction, Reason, SideEffects};
use crate::options::{Mode, Profile, SimilarityMetric};
pub use cell::Cell;
pub use field::{Field, Recorded, Shown};
pub use finding::{FINDINGS, Finding, Findings};
pub use lift::{FIRST, LiftError, RecordError};
pub use words::{AdvantageSign, Granularity, RepairKind, RepairScope, RunOutcome, Word};

/// The column.
pub const PURIFICATION: &str = "purification";

/// What was done to one run of failed attempts. Messages are counted in the raw rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepairRecord {
    /// The first failed attempt.
    pub first_message: usize,
    /// That became one.
    pub attempts: usize,
    pub kind: RepairKind,
    pub granularity: Granularity,
    /// By which the granularity was decided.
    pub measure: SimilarityMetric,
    /// Of each comparison, in order.
    pub similarity: Vec<f64>,
    /// The cosine of each; absent where nothing was compared by meaning.
    pub semantic_similarity: Option<Vec<f64>>,
    /// One of each failed attempt.
    pub error_types: Vec<String>,
    /// Of the call that stays; absent where calls stand in text.
    pub tool: Option<String>,
    pub removed_messages: usize,
    /// Absent without token columns.
    pub removed_tokens: Option<usize>,
    pub findings: Findings<Option<bool>>,
    /// Absent in files of versions that always replaced whole steps.
    pub scope: Option<RepairScope>,
    /// What the later call is to the failed one; absent where nothing was asked, and the same below.
    pub correction: Option<Correction>,
    /// How near it comes, 0 to 1.
    pub affinity: Option<f64>,
    /// Names of the rules that say so (docs/method.md, "What is a correction").
    pub evidence: Option<Vec<String>>,
    pub side_effects: Option<SideEffects>,
    pub cited_later: Option<bool>,
    /// `log pi(correction | purified context) - log pi(correction | raw context)`; filled in by scoring or by the gate.
    pub log_importance_ratio: Option<f64>,
    /// The same per token.
    pub log_importance_ratio_mean: Option<f64>,
}

/// A field of a record under its own name: `field!(R, name, label)`.
macro_rules! field {
    ($record:ty, $name:ident, $label:literal) => {
        Field::<$record>::new(stringify!($name), $label, |r| &r.$name, |r| &mut r.$name)
    };
}

static REPAIR_FIELDS: LazyLock<Vec<Field<RepairRecord>>> = LazyLock::new(|| {
    type R = RepairRecord;
    let of_finding = |finding: &'static Finding| {
        let (of, slot) = (finding.of, finding.slot);
        Field::<R>::new(finding.name, finding.label, move |r| of(&r.findings), move |r| slot(&mut r.findings))
            .since(finding.since)
            .finding(finding)
    };
    let mut out = vec![
        field!(R, first_message, "first message").shown(6, Shown::Labelled),
        field!(R, attempts, "attempts").shown(2, Shown::Counted),
        field!(R, kind, "kind").shown(1, Shown::Alone),
        field!(R, granularity, "granularity").shown(0, Shown::Alone),
        field!(R, measure, "measure"),
        field!(R, similarity, "similarity").shown(3, Shown::Labelled),
        field!(R, semantic_similarity, "semantic similarity"),
        field!(R, error_types, "error types").shown(5, Shown::Alone),
        field!(R, tool, "tool").shown(4, Shown::Alone),
        field!(R, removed_messages, "removed messages").shown(7, Shown::Counted),
        field!(R, removed_tokens, "removed tokens").shown(8, Shown::Counted),
    ];
    out.extend(FINDINGS.iter().map(of_finding));
    out.extend([
        field!(R, scope, "scope").since("0.2.0"),
        field!(R, correction, "correction").since("0.2.0"),
        field!(R, affinity, "affinity").since("0.2.0"),
        field!(R, evidence, "evidence").since("0.2.0"),
        field!(R, side_effects, "side effects").since("0.2.0"),
        field!(R, cited_later, "cited later").since("0.2.0"),
    ]);
    out.extend([
        field!(R, log_importance_ratio, "log importance ratio").formerly("log_is"),
        field!(R, log_importance_ratio_mean, "log importance ratio per token").formerly("log_is_mean"),
    ]);
    out
});

impl Recorded for RepairRecord {
    fn fields() -> &'static [Field<Self>] {
        &REPAIR_FIELDS
    }
}

/// What was decided on one failure run, repaired or not. Messages are counted in the raw rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunRecord {
    /// The first failed attempt.
    pub first_message: usize,
    /// That failed.
    pub attempts: usize,
    pub decision: RunOutcome,
    /// Why it was left; absent where it was not.
    pub reason: Option<Reason>,
    /// What the later call is to the failed one; absent where there is none, or nothing was asked.
    pub correction: Option<Correction>,
    /// How near it comes, 0 to 1.
    pub affinity: Option<f64>,
    /// Names of the rules that say so.
    pub evidence: Option<Vec<String>>,
    pub side_effects: Option<SideEffects>,
    pub cited_later: Option<bool>,
    /// Of the rollout; absent where nothing tells.
    pub advantage_sign: Option<AdvantageSign>,
}

static RUN_FIELDS: LazyLock<Vec<Field<RunRecord>>> = LazyLock::new(|| {
    type R = RunRecord;
    vec![
        field!(R, first_message, "first message"),
        field!(R, attempts, "attempts"),
        field!(R, decision, "decision"),
        field!(R, reason, "reason"),
        field!(R, correction, "correction"),
        field!(R, affinity, "affinity"),
        field!(R, evidence, "evidence"),
        field!(R, side_effects, "side effects"),
        field!(R, cited_later, "cited later"),
        field!(R, advantage_sign, "advantage"),
    ]
});

impl Recorded for RunRecord {
    fn fields() -> &'static [Field<Self>] {
        &RUN_FIELDS
    }
}

/// What was done to one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowRecord {
    pub profile: Profile,
    pub mode: Mode,
    /// Whether the draw of the repair probability fell on it.
    pub selected: bool,
    /// Of the raw rollout.
    pub failed_attempts: usize,
    /// Failure runs with a correction, repaired or not.
    pub recovered: usize,
    pub unrecovered: usize,
    pub repairs: Vec<RepairRecord>,
    /// Every failure run; absent in files of versions that did not say.
    pub runs: Option<Vec<RunRecord>>,
    /// The behaviour log-probs that the tokens of a repaired row had.
    pub raw_logprobs: Option<Vec<Option<f32>>>,
}

static ROW_FIELDS: LazyLock<Vec<Field<RowRecord>>> = LazyLock::new(|| {
    type R = RowRecord;
    vec![
        field!(R, profile, "profile"),
        field!(R, mode, "mode"),
        field!(R, selected, "selected"),
        field!(R, failed_attempts, "failed attempts"),
        field!(R, recovered, "recovered runs"),
        field!(R, unrecovered, "unrecovered runs"),
        field!(R, repairs, "repairs"),
        field!(R, runs, "failure runs").since("0.2.0"),
        field!(R, raw_logprobs, "raw log-probs").optional(),
    ]
});

impl Recorded for RowRecord {
    fn fields() -> &'static [Field<Self>] {
        &ROW_FIELDS
    }
}

impl RowRecord {
    /// Whether the row differs from the raw one.
    pub fn is_changed(&self) -> bool {
        !self.repairs.is_empty() || self.mode == Mode::Mask
    }

    /// The record of a row that was purified before, and that this run leaves as it is or masks: `this` is what the run
    /// alone would say. Counts are the raw rollout's, and nothing is taken back.
    pub fn continued_by(self, this: &RowRecord) -> RowRecord {
        match this.mode {
            // Every message has a flag now.
            Mode::Mask => RowRecord { mode: Mode::Mask, selected: self.selected || this.selected, ..self },
            Mode::Replace | Mode::Drop | Mode::Append => self,
        }
    }
}

/// The column's type, with what the old log-probs were where there are any.
pub fn data_type(with_logprobs: bool) -> DataType {
    field::data_type::<RowRecord>(with_logprobs)
}

/// Whether a column's type holds old log-probs.
///
/// # Errors
/// It is not a record that this version can lift.
pub fn has_logprobs(found: &DataType) -> Result<bool, LiftError> {
    lifted(&new_empty_array(found)).map(|array| array.column_by_name("raw_logprobs").is_some())
}

/// The column as this version would have written it.
pub fn lifted(array: &ArrayRef) -> Result<StructArray, LiftError> {
    field::lift::<RowRecord>(PURIFICATION, array)
}

/// The column of some rows; `None`: nothing was done to the row. `data_type` is one of [`data_type`].
pub fn column(records: &[Option<&RowRecord>], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    match data_type {
        DataType::Struct(fields) => Ok(std::sync::Arc::new(field::write(records, fields)?)),
        other => {
            Err(ArrowError::SchemaError(format!("`{PURIFICATION}` has type {other}, expected a struct: this is a bug")))
        }
    }
}

/// The records of a column, row by row.
#[derive(Clone, Debug)]
pub struct RecordReader {
    column: StructArray,
}

impl RecordReader {
    pub fn new(column: &ArrayRef) -> Result<Self, LiftError> {
        Ok(RecordReader { column: lifted(column)? })
    }

    /// `None` if the row has no record.
    pub fn row(&self, row: usize) -> Result<Option<RowRecord>, RecordError> {
        self.column.is_valid(row).then(|| field::read(PURIFICATION, &self.column, row)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Every field is there and differs from its default: what a table forgets is lost in this record.
    fn full() -> RowRecord {
        let some = Some(true);
        let mut findings = Findings::default();
        findings.each_mut().enumerate().for_each(|(k, (_, found))| *found = Some(k % 2 == 0));
        let repair = RepairRecord {
            first_message: 3,
            attempts: 2,
            kind: RepairKind::Collapsed,
            granularity: Granularity::Deep,
            measure: SimilarityMetric::Semantic,
            similarity: vec![0.25, 1.0],
            semantic_similarity: Some(vec![0.5]),
            error_types: vec!["NameError".to_owned()],
            tool: Some("python".to_owned()),
            removed_messages: 4,
            removed_tokens: Some(9),
            findings,
            scope: Some(RepairScope::Calls),
            correction: Some(Correction::Retry),
            affinity: Some(0.75),
            evidence: Some(vec!["same_call".to_owned()]),
            side_effects: Some(SideEffects::Unknown),
            cited_later: some,
            log_importance_ratio: Some(-1.5),
            log_importance_ratio_mean: Some(-0.5),
        };
        let run = RunRecord {
            first_message: 3,
            attempts: 1,
            decision: RunOutcome::Masked,
            reason: Some(Reason::CitedLater),
            correction: Some(Correction::Workaround),
            affinity: Some(0.5),
            evidence: Some(vec!["same_tool".to_owned()]),
            side_effects: Some(SideEffects::Yes),
            cited_later: some,
            advantage_sign: Some(AdvantageSign::Negative),
        };
        RowRecord {
            profile: Profile::OpenCleaner,
            mode: Mode::Append,
            selected: true,
            failed_attempts: 5,
            recovered: 2,
            unrecovered: 1,
            repairs: vec![repair, RepairRecord::default()],
            runs: Some(vec![run, RunRecord::default()]),
            raw_logprobs: Some(vec![Some(-0.25), None]),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_row_may_have_none() {
        let (full, plain) = (full(), RowRecord::default());
        let records = [Some(&full), None, Some(&plain)];
        let array = column(&records, &data_type(true)).expect("a column");
        let reader = RecordReader::new(&array).expect("it is ours");
        for (row, record) in records.into_iter().enumerate() {
            assert_eq!(reader.row(row).as_ref(), Ok(&record.cloned()), "{row}");
        }
        assert_eq!(*lifted(&array).map(|a| Arc::new(a) as ArrayRef).expect("the same"), *array);
    }

    #[test]
    fn old_log_probs_are_only_where_the_type_has_them() {
        let full = full();
        let array = column(&[Some(&full)], &data_type(false)).expect("a column");
        assert_eq!((has_logprobs(array.data_type()), has_logprobs(&data_type(true))), (Ok(false), Ok(true)));
        let found = RecordReader::new(&array).expect("it is ours").row(0).expect("a record");
        assert_eq!(found, Some(RowRecord { raw_logprobs: None, ..full }));
    }

    #[test]
    fn a_row_that_is_masked_behind_its_repairs_says_both() {
        let before = RowRecord { mode: Mode::Replace, selected: false, ..full() };
        let this = RowRecord { mode: Mode::Mask, selected: true, failed_attempts: 1, ..RowRecord::default() };
        let both = before.clone().continued_by(&this);
        assert_eq!(both, RowRecord { mode: Mode::Mask, selected: true, ..before.clone() });
        let replaced = RowRecord { mode: Mode::Replace, ..this };
        assert_eq!(before.clone().continued_by(&replaced), before);
    }

    #[test]
    fn no_field_is_there_twice_under_whatever_name() {
        fn check<R: Recorded>() {
            let mut names: Vec<&str> = R::fields().iter().flat_map(|f| [Some(f.name), f.formerly]).flatten().collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
        check::<RepairRecord>();
        check::<RowRecord>();
    }
}
