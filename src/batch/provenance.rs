//! The column `purification`: what was done to each row (data.md, section 2).
//!
//! Owns the provenance record alone. A row that an earlier run has purified and this one leaves as it is keeps its
//! earlier record, so that purifying twice equals purifying once.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Builder, Float64Array, Float64Builder, Int32Array, ListArray, ListBuilder,
    StringArray, StringBuilder, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Field, Fields, Float32Type};
use arrow::error::ArrowError;

use super::decode::Decoded;
use super::row::{RunLabels, WrittenRow};
use crate::guard::Findings;
use crate::rewrite::RepairRecord;
use crate::schema::{OutputSchema, list_item, purification};

pub(super) fn column(
    decoded: &Decoded,
    schema: &OutputSchema,
    rows: &[WrittenRow],
    earlier: Option<ArrayRef>,
    labels: &RunLabels,
) -> Result<ArrayRef, ArrowError> {
    let field = &schema.schema.fields()[schema.schema.fields().len() - 1];
    let DataType::Struct(fields) = field.data_type() else {
        return Err(ArrowError::SchemaError("`purification` is a struct".to_owned()));
    };
    let count = |f: fn(&WrittenRow) -> usize| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| narrow(f(r)))))
    };
    let arrays: Vec<ArrayRef> = fields
        .iter()
        .map(|field| {
            Ok(match field.name().as_str() {
                "profile" => same(&labels.profile, rows.len()),
                "mode" => same(&labels.mode, rows.len()),
                "selected" => Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.plan.selected)))),
                "failed_attempts" => count(|r| r.plan.failed_attempts),
                "recovered" => count(|r| r.plan.recovered),
                "unrecovered" => count(|r| r.plan.unrecovered),
                "repairs" => repairs(field, rows, labels)?,
                _ => raw_logprobs(decoded, rows),
            })
        })
        .collect::<Result<_, ArrowError>>()?;
    let fresh: ArrayRef = Arc::new(StructArray::try_new(fields.clone(), arrays, None)?);
    match earlier.as_ref().map(purification::lifted).transpose()? {
        Some(earlier) if earlier.data_type() == fresh.data_type() => {
            // A null record was never written by us; such a row is described afresh.
            let keeps = BooleanArray::from_iter(
                rows.iter().enumerate().map(|(k, r)| Some(r.purified.is_none() && earlier.is_valid(k))),
            );
            zip(&keeps, &earlier, &fresh)
        }
        _ => Ok(fresh),
    }
}

fn same(text: &str, len: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, len)))
}

fn narrow(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn repairs(field: &Field, rows: &[WrittenRow], labels: &RunLabels) -> Result<ArrayRef, ArrowError> {
    let Some((item, DataType::Struct(fields))) = list_item(field.data_type()).map(|i| (i, i.data_type())) else {
        return Err(ArrowError::SchemaError("`repairs` is a list of structs".to_owned()));
    };
    let all: Vec<&RepairRecord> = rows.iter().flat_map(|r| &r.records).collect();
    let values = repair_structs(fields, &all, labels)?;
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|r| r.records.len()));
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(values), None)?))
}

fn repair_structs(fields: &Fields, all: &[&RepairRecord], labels: &RunLabels) -> Result<StructArray, ArrowError> {
    let ints = |f: fn(&RepairRecord) -> usize| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(all.iter().map(|r| narrow(f(r)))))
    };
    let texts = |f: fn(&RepairRecord) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(all.iter().map(|r| f(r))))
    };
    let arrays: Vec<ArrayRef> = fields
        .iter()
        .map(|field| match field.name().as_str() {
            "first_message" => ints(|r| r.first_message),
            "attempts" => ints(|r| r.attempts),
            "kind" => texts(|r| r.kind.name()),
            "granularity" => texts(|r| r.granularity.name()),
            "measure" => same(&labels.measure, all.len()),
            "similarity" => numbers(all.iter().map(|r| Some(&r.similarity))),
            "semantic_similarity" => numbers(all.iter().map(|r| r.semantic_similarity.as_ref())),
            "error_types" => {
                let mut list =
                    ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
                all.iter().for_each(|r| list.append_value(r.error_types.iter().map(Some)));
                Arc::new(list.finish())
            }
            "tool" => Arc::new(StringArray::from_iter(all.iter().map(|r| r.tool.as_deref()))),
            "removed_messages" => ints(|r| r.removed_messages),
            "removed_tokens" => Arc::new(Int32Array::from_iter(all.iter().map(|r| r.removed_tokens.map(narrow)))),
            "log_is" => Arc::new(Float64Array::from_iter(all.iter().map(|r| r.log_is))),
            "log_is_mean" => Arc::new(Float64Array::from_iter(all.iter().map(|r| r.log_is_mean))),
            "residue" => flags(all, |f| f.residue),
            "depends_on_removed" => flags(all, |f| f.depends_on_removed),
            "identical_retry" => flags(all, |f| f.identical_retry),
            "lossy_result" => flags(all, |f| f.lossy_result),
            _ => new_null_array(field.data_type(), all.len()),
        })
        .collect();
    StructArray::try_new_with_length(fields.clone(), arrays, None, all.len())
}

fn flags(all: &[&RepairRecord], pick: fn(&Findings) -> Option<bool>) -> ArrayRef {
    Arc::new(BooleanArray::from_iter(all.iter().map(|r| pick(&r.findings))))
}

fn numbers<'r>(rows: impl Iterator<Item = Option<&'r Vec<f64>>>) -> ArrayRef {
    let mut list = ListBuilder::new(Float64Builder::new()).with_field(Field::new("element", DataType::Float64, true));
    rows.for_each(|row| list.append_option(row.map(|values| values.iter().map(|&v| Some(v)))));
    Arc::new(list.finish())
}

/// The behaviour log-probs that the kept tokens of a repaired row had; null for a row that stays as it is.
fn raw_logprobs(decoded: &Decoded, rows: &[WrittenRow]) -> ArrayRef {
    let mut list = ListBuilder::new(Float32Builder::new()).with_field(Field::new("element", DataType::Float32, true));
    let logprobs = decoded.response.as_ref().and_then(|r| r.logprobs.as_ref());
    let values = logprobs.and_then(|(_, l)| cast(&l.values, &DataType::Float32).ok());
    for written in rows {
        let splice = written.purified.as_ref().and_then(|p| p.tokens()).filter(|s| s.unknown_from.is_some());
        let range = logprobs.and_then(|(_, l)| l.range(written.row));
        match (splice, range, &values) {
            (Some(splice), Some(range), Some(values)) => {
                let values = values.as_primitive::<Float32Type>();
                list.append_value(splice.kept.iter().flat_map(|kept| {
                    (range.start + kept.start..range.start + kept.end)
                        .map(|k| values.is_valid(k).then(|| values.value(k)))
                }));
            }
            _ => list.append_null(),
        }
    }
    Arc::new(list.finish())
}
