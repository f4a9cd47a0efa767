//! A record batch to what is written of it: purified rows, preference pairs, rejects, counters.
//!
//! Owns what becomes of each row: written, rejected with its reason, another shard's, or a fault of this program, which ends
//! all. The command line's workers call the same function as everybody else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;

use super::counts::StageCounts;
use super::{Earnings, PurifiedRow, Purifier};
use crate::batch::columns;
use crate::batch::row::WrittenRow;
use crate::batch::sample::SampleReader;
use crate::batch::{Decoded, RowError, RowNumbers, pairs, rejects};
use crate::group::{Advantage, Baselines};
use crate::guard::calls::{self, CallFaults, ListedTools};
use crate::judge::JudgeError;
use crate::record::{RecordReader, RowRecord};
use crate::rejects::RejectReason;
use crate::rollout::Rollout;
use crate::schema::{Columns, OutputSchema, SchemaError};
use crate::steps::Trajectory;

/// The name of a batch that has none.
const UNNAMED: &str = "batch";

/// What a batch has become.
#[derive(Clone, Debug)]
pub struct PurifiedBatch {
    /// The rows that stay, in order, with their record in the column `purification`.
    pub data: RecordBatch,
    /// One row for each repair, where the options ask for pairs.
    pub pairs: RecordBatch,
    /// The rows that are not written, whole, with their `reject_reason`.
    pub rejects: RecordBatch,
    /// Numbers of the rejected rows, as `rejects` has them.
    pub rejected: Vec<u64>,
    pub counts: StageCounts,
}

/// Why a batch can't be purified.
#[derive(Debug, thiserror::Error)]
pub enum PurifyError {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("there are token columns, and nothing says where a call starts in them")]
    NoCallMarker,
    #[error("the columns can't be built")]
    Columns(#[from] ArrowError),
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// `rollout` and `row` (from 0) say on what.
    #[error("this is a bug: row {row}, rollout `{rollout}`: {detail}")]
    Bug { rollout: String, row: u64, detail: String },
}

/// Why a row is not purified: its own fault, or the judge's.
pub(super) enum Refusal {
    Row(RejectReason),
    Judge(JudgeError),
}

impl From<RejectReason> for Refusal {
    fn from(reason: RejectReason) -> Self {
        Refusal::Row(reason)
    }
}

impl From<RowError> for Refusal {
    fn from(error: RowError) -> Self {
        Refusal::Row(error.into())
    }
}

impl From<JudgeError> for Refusal {
    fn from(error: JudgeError) -> Self {
        Refusal::Judge(error)
    }
}

impl Purifier<'_> {
    /// Purifies a batch on its own: columns are recognised by the options, rows are counted from 0.
    ///
    /// Without [`Purifier::with_baselines`] the batch counts as the whole input: advantages are those of the groups in it.
    ///
    /// Rows without an id of their own are called `batch:0` and so on. Batches of one source, whose rows are to be told apart,
    /// go through [`Purifier::rows`].
    ///
    /// # Errors
    /// The columns are not those of rollouts, or this program is at fault. A row that can't be purified is not an error: it is in
    /// the rejects.
    pub fn purify_batch(&self, batch: &RecordBatch) -> Result<PurifiedBatch, PurifyError> {
        let schema = batch.schema();
        let columns = Columns::recognise(&schema, &self.options.columns)?;
        let decoded = Decoded::new(batch.clone(), &columns, &UNNAMED.into(), RowNumbers::From(0))?;
        let mut own = Earnings::default();
        if self.baselines.is_none() && self.options.needs_groups() {
            self.gather(&decoded, &mut own);
        }
        let own = own.finish(self.options.method.seed);
        let baselines = self.baselines.as_ref().unwrap_or(&own);
        self.rows_of(&schema, &columns, UNNAMED, baselines)?.purify(&decoded)
    }

    /// Ready for the batches of one source; `source` names it in the reasons of rejects.
    ///
    /// # Errors
    /// There are tokens, and nothing tells the calls in them.
    pub fn rows<'p>(
        &'p self,
        input: &Schema,
        columns: &'p Columns,
        source: &str,
    ) -> Result<RowPurifier<'p>, PurifyError> {
        static NONE: LazyLock<Baselines> = LazyLock::new(Baselines::default);
        self.rows_of(input, columns, source, self.baselines.as_ref().unwrap_or(&NONE))
    }

    fn rows_of<'p>(
        &'p self,
        input: &Schema,
        columns: &'p Columns,
        source: &str,
        baselines: &'p Baselines,
    ) -> Result<RowPurifier<'p>, PurifyError> {
        if !self.can_cut(columns.response.is_some()) {
            return Err(PurifyError::NoCallMarker);
        }
        Ok(RowPurifier {
            purifier: self,
            columns,
            source: source.to_owned(),
            data: OutputSchema::new(input, columns, self.changes(columns)),
            baselines,
            pairs: pairs::schema(input, columns),
            rejects: rejects::schema(input, false),
            only_counts: false,
        })
    }
}

/// A purifier for rows of one schema.
pub struct RowPurifier<'p> {
    purifier: &'p Purifier<'p>,
    columns: &'p Columns,
    source: String,
    data: OutputSchema,
    baselines: &'p Baselines,
    pairs: SchemaRef,
    rejects: SchemaRef,
    only_counts: bool,
}

/// What became of one row.
enum RowResult {
    /// With the record of what was done to it before.
    Written(Box<PurifiedRow>, Option<RowRecord>, CallFaults),
    Rejected(RejectReason),
    Elsewhere,
}

impl RowPurifier<'_> {
    /// Rejects that have room for lines which never became rows.
    pub fn with_lines(self, has_lines: bool, input: &Schema) -> Self {
        RowPurifier { rejects: rejects::schema(input, has_lines), ..self }
    }

    /// Builds no column of data or pairs, and counts no pairs.
    pub fn only_counting(self, only_counts: bool) -> Self {
        RowPurifier { only_counts, ..self }
    }

    /// What is written, column by column.
    pub fn data_schema(&self) -> &OutputSchema {
        &self.data
    }

    pub fn pairs_schema(&self) -> &SchemaRef {
        &self.pairs
    }

    pub fn rejects_schema(&self) -> &SchemaRef {
        &self.rejects
    }

    /// How a reject's reason stands in its column.
    pub fn reason(&self, row: u64, reason: &RejectReason) -> String {
        reason.at(row, &self.source)
    }

    /// Purifies a batch of the schema.
    ///
    /// # Errors
    /// Columns that can't be built, a judge that can't answer, a fault of this program.
    pub fn purify(&self, batch: &Decoded) -> Result<PurifiedBatch, PurifyError> {
        let mut counts = StageCounts::default();
        let (mut written, mut reasons, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        let mut listed = ListedTools::default();
        let records = batch.records()?;
        let samples = self.purifier.judge.map(|_| SampleReader::new(batch, self.columns)).transpose()?;
        for row in 0..batch.rows() {
            counts.rows_in += 1;
            match self.row(batch, (samples.as_ref(), records.as_ref()), row, &mut listed)? {
                RowResult::Written(purified, earlier, faults) => {
                    let PurifiedRow { plan, records, runs, rollout, loss, judged, advantage, token_advantages, doubts } =
                        *purified;
                    counts.add_row(&plan, &records, rollout.is_some());
                    counts.guards.add_faults(faults);
                    counts.add_judged(&judged);
                    counts.doubts += doubts;
                    let advantage = advantage.map(Advantage::get);
                    written.push(WrittenRow {
                        row,
                        plan,
                        records,
                        runs,
                        earlier,
                        purified: rollout,
                        loss,
                        advantage,
                        token_advantages,
                    });
                }
                RowResult::Rejected(reason) => {
                    counts.add_reject(reason.code());
                    rejected.push(batch.number(row));
                    reasons.push((row, self.reason(batch.number(row), &reason)));
                }
                RowResult::Elsewhere => counts.rows_elsewhere += 1,
            }
        }
        let rejects = match reasons.is_empty() {
            true => RecordBatch::new_empty(Arc::clone(&self.rejects)),
            false => rejects::of_rows(&self.rejects, &batch.batch, &reasons)?,
        };
        let (data, pairs) = self.assembled(batch, &written)?;
        counts.pairs += pairs.num_rows() as u64;
        Ok(PurifiedBatch { data, pairs, rejects, rejected, counts })
    }

    /// What a row earned beside its group: as it says itself, from before an earlier edit, else by the baselines.
    fn advantage(&self, batch: &Decoded, row: usize, rollout: &Rollout<'_>) -> Option<Advantage> {
        if self.columns.advantage.is_some() {
            return batch.advantage(row).and_then(Advantage::new);
        }
        let failed = match self.purifier.options.rewards.failure_penalty.get() > 0.0 {
            true => Trajectory::new(rollout, &self.purifier.detector).failed_attempts(),
            false => 0,
        };
        self.baselines.advantage(batch.group(row), self.purifier.reward(batch.reward(row), failed))
    }

    fn assembled(&self, batch: &Decoded, rows: &[WrittenRow]) -> Result<(RecordBatch, RecordBatch), ArrowError> {
        let no_data = || RecordBatch::new_empty(Arc::clone(&self.data.schema));
        let no_pairs = || RecordBatch::new_empty(Arc::clone(&self.pairs));
        if self.only_counts || rows.is_empty() {
            return Ok((no_data(), no_pairs()));
        }
        let data = columns::assemble(batch, self.columns, &self.data, rows, &self.purifier.labels)?;
        let pairs = match self.purifier.options.pairs {
            true => pairs::assemble(batch, self.columns, &self.pairs, rows)?,
            false => None,
        };
        Ok((data, pairs.unwrap_or_else(no_pairs)))
    }

    fn row(
        &self,
        batch: &Decoded,
        (samples, records): (Option<&SampleReader<'_>>, Option<&RecordReader>),
        row: usize,
        listed: &mut ListedTools,
    ) -> Result<RowResult, PurifyError> {
        if !self.purifier.is_ours(batch.group(row), &batch.id(row)) {
            return Ok(RowResult::Elsewhere);
        }
        if self.baselines.leaves_out(batch.group(row), &batch.id(row), batch.number(row)) {
            return Ok(RowResult::Rejected(RejectReason::NotResampled));
        }
        let purify = || -> Result<_, Refusal> {
            let rollout = batch.rollout(row)?;
            let advantage = self.advantage(batch, row, &rollout);
            let earlier = records.map(|records| records.row(row)).transpose().map_err(RowError::from)?.flatten();
            let purified = match (self.purifier.judge, samples) {
                (Some(judge), Some(samples)) => {
                    self.purifier.purify_judged(&rollout, &samples.row(row)?, judge, advantage)?
                }
                (None, _) | (_, None) => self.purifier.purify(&rollout, advantage)?,
            };
            Ok((purified, earlier, calls::faults(&rollout.messages, listed.of(batch.tools(row)))))
        };
        let purified = catch_unwind(AssertUnwindSafe(purify)).map_err(|panic| PurifyError::Bug {
            rollout: batch.id(row).into_owned(),
            row: batch.number(row),
            detail: said_by(panic.as_ref()),
        })?;
        match purified {
            // Records count messages of the raw rollout, which is not here.
            Ok((purified, Some(_), _)) if !purified.plan.repairs.is_empty() => {
                Ok(RowResult::Rejected(RejectReason::PurifiedBefore))
            }
            Ok((purified, earlier, faults)) => Ok(RowResult::Written(Box::new(purified), earlier, faults)),
            Err(Refusal::Row(reason)) => Ok(RowResult::Rejected(reason)),
            Err(Refusal::Judge(error)) => Err(error.into()),
        }
    }
}

/// The message of a panic.
fn said_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "no message".to_owned())
}
