//! The column `purification` of rows that are written.
//!
//! Owns what a row's record says. A row that an earlier run has purified keeps that record, so that purifying twice equals
//! purifying once and nothing is lost. How records become columns is [`crate::record`]'s.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use arrow::error::ArrowError;

use super::decode::Decoded;
use super::row::{RunLabels, WrittenRow};
use crate::record::{self, RowRecord};

pub(super) fn column(
    decoded: &Decoded,
    data_type: &DataType,
    rows: &[WrittenRow],
    labels: &RunLabels,
) -> Result<ArrayRef, ArrowError> {
    let logprobs = RawLogprobs::new(decoded)?;
    let records: Vec<RowRecord> = rows.iter().map(|row| record_of(row, labels, &logprobs)).collect();
    record::column(&records.iter().map(Some).collect::<Vec<_>>(), data_type)
}

fn record_of(row: &WrittenRow, labels: &RunLabels, logprobs: &RawLogprobs<'_>) -> RowRecord {
    let this = RowRecord {
        profile: labels.profile,
        mode: labels.mode,
        selected: row.plan.selected,
        failed_attempts: row.plan.failed_attempts,
        recovered: row.plan.recovered,
        unrecovered: row.plan.unrecovered,
        repairs: row.records.clone(),
        runs: Some(row.runs.clone()),
        raw_logprobs: logprobs.kept(row),
    };
    match &row.earlier {
        Some(earlier) => earlier.clone().continued_by(&this),
        None => this,
    }
}

/// The behaviour log-probs of a batch.
struct RawLogprobs<'d> {
    decoded: &'d Decoded,
    values: Option<Float32Array>,
}

impl<'d> RawLogprobs<'d> {
    fn new(decoded: &'d Decoded) -> Result<Self, ArrowError> {
        let list = decoded.response.as_ref().and_then(|response| response.logprobs.as_ref());
        let values = list.map(|(_, list)| cast(&list.values, &DataType::Float32)).transpose()?;
        Ok(RawLogprobs { decoded, values: values.map(|values| values.as_primitive::<Float32Type>().clone()) })
    }

    /// Those that the kept tokens of a repaired row had; `None` for a row that stays as it is.
    fn kept(&self, row: &WrittenRow) -> Option<Vec<Option<f32>>> {
        let splice = row.purified.as_ref()?.tokens().filter(|splice| splice.unknown_from.is_some())?;
        let (_, list) = self.decoded.response.as_ref()?.logprobs.as_ref()?;
        let (start, values) = (list.range(row.row)?.start, self.values.as_ref()?);
        let kept = splice.kept.iter().flat_map(|kept| start + kept.start..start + kept.end);
        Some(kept.map(|k| values.is_valid(k).then(|| values.value(k))).collect())
    }
}
