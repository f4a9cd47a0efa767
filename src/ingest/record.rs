//! The column `purification` as plain data: what was done to each row.
//!
//! Owns its reading. Writing it is [`crate::write`]'s work; fields that an older version did not write are absent.

use arrow::array::{Array, AsArray, BooleanArray, Float64Array, Int64Array, StructArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;

use crate::batch::decode::{Decoded, List, Text, strict_cast};
use crate::schema::PURIFICATION;

/// What was done to one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub failed_attempts: u64,
    pub recovered: u64,
    pub unrecovered: u64,
    pub repairs: Vec<RecordedRepair>,
}

/// What was done to one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedRepair {
    /// Index in the raw messages.
    pub first_message: u64,
    pub attempts: u64,
    /// `recovered` or `collapsed`.
    pub kind: String,
    /// `shallow` or `deep`.
    pub granularity: String,
    pub similarity: Vec<f64>,
    pub semantic_similarity: Vec<f64>,
    pub error_types: Vec<String>,
    pub tool: Option<String>,
    pub removed_messages: u64,
    pub removed_tokens: u64,
    pub residue: Option<bool>,
    pub depends_on_removed: Option<bool>,
    pub identical_retry: Option<bool>,
    pub lossy_result: Option<bool>,
}

/// The column of one batch.
pub struct RecordReader {
    record: StructArray,
    counts: [Int64Array; 3],
    list: List,
    ints: [Int64Array; 4],
    texts: [Text; 3],
    numbers: [(List, Float64Array); 2],
    error_types: (List, Text),
    flags: [Option<BooleanArray>; 4],
}

impl RecordReader {
    /// `None` if the batch has no such column.
    pub fn new(decoded: &Decoded) -> Result<Option<Self>, ArrowError> {
        let column = decoded.batch.column_by_name(PURIFICATION).and_then(|c| c.as_struct_opt());
        let Some(record) = column.cloned() else { return Ok(None) };
        let missing = |name: &str| ArrowError::SchemaError(format!("`{PURIFICATION}` has no field `{name}`"));
        let list = List::new(record.column_by_name("repairs").ok_or_else(|| missing("repairs"))?)?;
        let Some(repairs) = list.values.as_struct_opt().cloned() else { return Err(missing("repairs")) };
        let ints = |of: &StructArray, name: &str| -> Result<Int64Array, ArrowError> {
            let array = of.column_by_name(name).ok_or_else(|| missing(name))?;
            Ok(strict_cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        let numbers = |name: &str| -> Result<(List, Float64Array), ArrowError> {
            let list = List::new(repairs.column_by_name(name).ok_or_else(|| missing(name))?)?;
            let values = strict_cast(&list.values, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
            Ok((list, values))
        };
        let text = |name: &str| repairs.column_by_name(name).map_or(Ok(Text::Absent), Text::new);
        let types = List::new(repairs.column_by_name("error_types").ok_or_else(|| missing("error_types"))?)?;
        let flags = |name: &str| repairs.column_by_name(name).and_then(|array| array.as_boolean_opt()).cloned();
        Ok(Some(RecordReader {
            counts: [ints(&record, "failed_attempts")?, ints(&record, "recovered")?, ints(&record, "unrecovered")?],
            ints: [
                ints(&repairs, "first_message")?,
                ints(&repairs, "attempts")?,
                ints(&repairs, "removed_messages")?,
                ints(&repairs, "removed_tokens")?,
            ],
            texts: [text("kind")?, text("granularity")?, text("tool")?],
            numbers: [numbers("similarity")?, numbers("semantic_similarity")?],
            error_types: {
                let names = Text::new(&types.values)?;
                (types, names)
            },
            flags: ["residue", "depends_on_removed", "identical_retry", "lossy_result"].map(flags),
            list,
            record,
        }))
    }

    /// `None` if the row has no record.
    pub fn row(&self, row: usize) -> Option<Record> {
        if self.record.is_null(row) {
            return None;
        }
        let [failed_attempts, recovered, unrecovered] = self.counts.each_ref().map(|array| unsigned(array, row));
        let repairs = self.list.range(row).into_iter().flatten().map(|k| self.repair(k)).collect();
        Some(Record { failed_attempts, recovered, unrecovered, repairs })
    }

    fn repair(&self, k: usize) -> RecordedRepair {
        let [first_message, attempts, removed_messages, removed_tokens] =
            self.ints.each_ref().map(|array| unsigned(array, k));
        let [kind, granularity, tool] = self.texts.each_ref().map(|text| text.get(k).map(str::to_owned));
        let [similarity, semantic_similarity] = self.numbers.each_ref().map(|(list, values)| {
            list.range(k).into_iter().flatten().filter(|&at| values.is_valid(at)).map(|at| values.value(at)).collect()
        });
        let (types, names) = &self.error_types;
        let error_types = types.range(k).into_iter().flatten().filter_map(|at| names.get(at).map(str::to_owned));
        let [residue, depends_on_removed, identical_retry, lossy_result] =
            self.flags.each_ref().map(|flags| flags.as_ref().filter(|f| f.is_valid(k)).map(|f| f.value(k)));
        RecordedRepair {
            first_message,
            attempts,
            kind: kind.unwrap_or_default(),
            granularity: granularity.unwrap_or_default(),
            similarity,
            semantic_similarity,
            error_types: error_types.collect(),
            tool,
            removed_messages,
            removed_tokens,
            residue,
            depends_on_removed,
            identical_retry,
            lossy_result,
        }
    }
}

fn unsigned(array: &Int64Array, at: usize) -> u64 {
    match array.is_valid(at) {
        true => u64::try_from(array.value(at)).unwrap_or_default(),
        false => 0,
    }
}
