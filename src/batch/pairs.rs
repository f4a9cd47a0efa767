//! `pairs.parquet`: one row per repair, ready for preference training (docs/data.md, "Files beside the data").
//!
//! Owns the pairs' columns. Prompt, chosen and rejected have the type of the input's messages, so that what
//! a trainer reads from one it reads from the other.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::columns::{MessagePieces, list_of};
use super::decode::Decoded;
use super::row::WrittenRow;
use crate::rewrite::MessageSource;
use crate::schema::Columns;

/// The schema of pairs made from an input.
pub fn schema(input: &Schema, columns: &Columns) -> SchemaRef {
    let messages = columns.messages.map_or(&DataType::Null, |k| input.field(k).data_type());
    let field = |name: &str, data_type: &DataType| Field::new(name, data_type.clone(), true);
    let mut fields = vec![
        field("rollout_id", &DataType::Utf8),
        field("group_id", &DataType::Utf8),
        field("repair", &DataType::Int32),
        field("prompt", messages),
        field("chosen", messages),
        field("rejected", messages),
    ];
    if let Some(tools) = columns.tools {
        fields.push(field("tools", input.field(tools).data_type()));
    }
    fields.extend([
        field("similarity", &DataType::Float64),
        field("granularity", &DataType::Utf8),
        field("error_type", &DataType::Utf8),
        field("tool", &DataType::Utf8),
        field("attempts", &DataType::Int32),
    ]);
    Arc::new(Schema::new(fields))
}

/// The pairs of a batch; `None` if it has none.
pub fn assemble(
    decoded: &Decoded,
    columns: &Columns,
    schema: &SchemaRef,
    rows: &[WrittenRow],
) -> Result<Option<RecordBatch>, ArrowError> {
    let all: Vec<_> = rows
        .iter()
        .filter_map(|row| row.purified.as_ref().map(|purified| (row, purified)))
        .flat_map(|(row, purified)| purified.pairs().iter().map(move |pair| (row, purified, pair)))
        .collect();
    if all.is_empty() {
        return Ok(None);
    }
    let (mut prompt, mut chosen, mut rejected) =
        (MessagePieces::new(decoded), MessagePieces::new(decoded), MessagePieces::new(decoded));
    let mut prompt_ends = vec![0];
    for (row, purified, pair) in &all {
        purified.messages()[..pair.prompt_len].iter().for_each(|source| prompt.push(row.row, source));
        prompt_ends.push(prompt.count());
        let one = |pieces: &mut MessagePieces<'_>, source: &MessageSource| pieces.push(row.row, source);
        one(&mut chosen, &pair.chosen);
        one(&mut rejected, &pair.rejected);
    }
    let single: Vec<usize> = (0..=all.len()).collect();
    let messages = |name: &str| schema.field_with_name(name);
    let record = |k: usize| &all[k].0.records[all[k].2.repair];
    let texts =
        |f: &dyn Fn(usize) -> Option<String>| -> ArrayRef { Arc::new(StringArray::from_iter((0..all.len()).map(f))) };
    let mut arrays: Vec<ArrayRef> = vec![
        texts(&|k| Some(decoded.id(all[k].0.row).into_owned())),
        texts(&|k| decoded.group(all[k].0.row).map(str::to_owned)),
        Arc::new(Int32Array::from_iter_values(all.iter().map(|p| p.2.repair as i32))),
        list_of(prompt.build(None)?, prompt_ends, messages("prompt")?)?,
        list_of(chosen.build(None)?, single.clone(), messages("chosen")?)?,
        list_of(rejected.build(None)?, single, messages("rejected")?)?,
    ];
    if let Some(tools) = columns.tools {
        let indices = UInt32Array::from_iter_values(all.iter().map(|p| p.0.row as u32));
        arrays.push(take(decoded.batch.column(tools), &indices, None)?);
    }
    arrays.extend([
        Arc::new(Float64Array::from_iter((0..all.len()).map(|k| record(k).similarity.last().copied()))) as ArrayRef,
        texts(&|k| Some(record(k).granularity.name().to_owned())),
        texts(&|k| record(k).error_types.last().cloned()),
        texts(&|k| record(k).tool.clone()),
        Arc::new(Int32Array::from_iter_values((0..all.len()).map(|k| record(k).attempts as i32))),
    ]);
    let arrays = arrays
        .into_iter()
        .zip(schema.fields())
        .map(
            |(array, field)| {
                if array.data_type() == field.data_type() { Ok(array) } else { cast(&array, field.data_type()) }
            },
        )
        .collect::<Result<_, _>>()?;
    Ok(Some(RecordBatch::try_new(Arc::clone(schema), arrays)?))
}
