//! Purified rollouts to a record batch.
//!
//! Owns the building of columns: what is not repaired is copied from the input's own arrays, range by range, so that
//! types, nulls and bytes stay what they were. Provenance columns are made in `super::provenance`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Builder, Float64Array, Int64Array, LargeListArray, LargeStringArray,
    ListArray, ListBuilder, RecordBatch, StructArray, UInt32Array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;

use super::arrays::List;
use super::decode::Decoded;
use super::gather::Pieces;
use super::provenance;
use super::row::{RunLabels, WrittenRow};
use crate::rewrite::MessageSource;
use crate::schema::{Columns, LOSS, OutputSchema, list_item};

/// The batch that is written for the rows of `decoded` that stay.
pub fn assemble(
    decoded: &Decoded,
    columns: &Columns,
    schema: &OutputSchema,
    rows: &[WrittenRow],
    labels: &RunLabels,
) -> Result<RecordBatch, ArrowError> {
    let batch = &decoded.batch;
    let all_rows = rows.len() == batch.num_rows();
    let indices = UInt32Array::from_iter_values(rows.iter().map(|r| r.row as u32));
    let same = |k: usize| {
        if all_rows { Ok(Arc::clone(batch.column(k))) } else { take(batch.column(k), &indices, None) }
    };
    let token_advantages = columns.token_advantages.filter(|_| columns.response.is_some());
    let is_changed = rows.iter().any(|r| r.purified.is_some());
    let tokens_change = rows.iter().any(|r| r.purified.as_ref().is_some_and(|p| p.tokens().is_some()));
    let response = columns.response.filter(|_| tokens_change);
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.kept.len() + 1);
    for (&k, field) in schema.kept.iter().zip(schema.schema.fields()) {
        let array = if columns.messages == Some(k) && (is_changed || schema.marks_loss) {
            messages_column(decoded, field, rows, schema.marks_loss)?
        } else if response.is_some_and(|r| r.ids == k) {
            tokens_column(decoded, TokenColumn::Ids, field, rows)?
        } else if response.is_some_and(|r| r.mask == k) {
            tokens_column(decoded, TokenColumn::Mask, field, rows)?
        } else if response.is_some_and(|r| r.logprobs == Some(k)) {
            tokens_column(decoded, TokenColumn::Logprobs, field, rows)?
        } else if tokens_change && token_advantages == Some(k) {
            tokens_column(decoded, TokenColumn::Advantages(&List::new(batch.column(k))?), field, rows)?
        } else {
            same(k)?
        };
        // A null log-prob needs a nullable item, which the input need not have had.
        arrays.push(if array.data_type() == field.data_type() { array } else { cast(&array, field.data_type())? });
    }
    let Some(record) = schema.schema.fields().last() else {
        return Err(ArrowError::SchemaError("the output has no columns: this is a bug".to_owned()));
    };
    if schema.adds_advantage {
        arrays.push(Arc::new(rows.iter().map(|row| row.advantage).collect::<Float64Array>()));
    }
    if schema.adds_token_advantages {
        let mut lists = ListBuilder::new(Float32Builder::new());
        for row in rows {
            match &row.token_advantages {
                Some(values) => lists.append_value(values.iter().copied().map(Some)),
                None => lists.append_null(),
            }
        }
        let at = arrays.len();
        arrays.push(cast(&lists.finish(), schema.schema.field(at).data_type())?);
    }
    arrays.push(provenance::column(decoded, record.data_type(), rows, labels)?);
    RecordBatch::try_new(Arc::clone(&schema.schema), arrays)
}

/// Appends the purified messages of one row to the pieces of both halves of a message.
pub struct MessagePieces<'d> {
    decoded: &'d Decoded,
    /// Of `content` and `reasoning_content`.
    reasoning: Pieces,
    /// As `reasoning`, with joined contents from a second source.
    content: Pieces,
    joined: Vec<String>,
    /// Of everything else.
    rest: Pieces,
    /// As `rest`, with lists of calls that were put together from a second source.
    calls: Pieces,
    /// The calls of these lists, and how many each has.
    composed: (Pieces, Vec<usize>),
}

impl<'d> MessagePieces<'d> {
    pub fn new(decoded: &'d Decoded) -> Self {
        MessagePieces {
            decoded,
            reasoning: Pieces::default(),
            content: Pieces::default(),
            joined: Vec::new(),
            rest: Pieces::default(),
            calls: Pieces::default(),
            composed: (Pieces::default(), Vec::new()),
        }
    }

    /// Messages so far.
    pub fn count(&self) -> usize {
        self.rest.len()
    }

    /// All messages of a row as they are.
    pub fn push_row(&mut self, row: usize) {
        if let Some(range) = self.decoded.messages.list.range(row) {
            self.reasoning.copy(range.clone());
            self.content.copy(range.clone());
            self.calls.copy(range.clone());
            self.rest.copy(range);
        }
    }

    pub fn push(&mut self, row: usize, source: &MessageSource) {
        let base = self.decoded.messages.list.range(row).map_or(0, |r| r.start);
        let (reasoning, rest) = (base + source.reasoning, base + source.call);
        self.reasoning.copy(reasoning..reasoning + 1);
        self.rest.copy(rest..rest + 1);
        match &source.calls {
            None => self.calls.copy(rest..rest + 1),
            Some(calls) => {
                let (pieces, lengths) = &mut self.composed;
                let before = pieces.len();
                for call in calls {
                    let own = self.decoded.messages.calls_range(base + call.message);
                    let at = own.start + call.call;
                    pieces.copy(at..at + 1);
                }
                self.calls.copy_from(1, lengths.len()..lengths.len() + 1);
                lengths.push(pieces.len() - before);
            }
        }
        match &source.content {
            None => self.content.copy(reasoning..reasoning + 1),
            Some(text) => {
                self.content.copy_from(1, self.joined.len()..self.joined.len() + 1);
                self.joined.push(text.clone());
            }
        }
    }

    /// The column of calls: the input's own lists, and those that were put together.
    fn calls_of(&self, field: &Field, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let (pieces, lengths) = &self.composed;
        let Some(values) = self.decoded.messages.call_values().filter(|_| !lengths.is_empty()) else {
            return self.calls.gather(&[array]);
        };
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        let ends = std::iter::once(0).chain(ends).collect();
        self.calls.gather(&[array, &list_of(pieces.gather(&[values])?, ends, field)?])
    }

    /// The messages' struct array; `loss` is added as a field if given.
    pub fn build(self, loss: Option<BooleanArray>) -> Result<ArrayRef, ArrowError> {
        let messages = self.decoded.messages.list.values.as_struct();
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut arrays = Vec::new();
        let mut earlier_loss = None;
        for (field, array) in messages.fields().iter().zip(messages.columns()) {
            if field.name() == LOSS && loss.is_some() {
                earlier_loss = Some(self.rest.gather(&[array])?);
                continue;
            }
            // What is no reasoning goes with the call.
            let name = field.name().as_str();
            arrays.push(if name == "content" {
                let joined = cast(&LargeStringArray::from_iter_values(&self.joined), array.data_type())?;
                self.content.gather(&[array, &joined])?
            } else if name == "tool_calls" {
                self.calls_of(field, array)?
            } else if name == "reasoning_content" {
                self.reasoning.gather(&[array])?
            } else {
                self.rest.gather(&[array])?
            });
            fields.push(Arc::clone(field));
        }
        if let Some(loss) = loss {
            // What an earlier hand took out of the loss stays out.
            let loss = match earlier_loss.as_ref().and_then(|a| a.as_boolean_opt()) {
                Some(earlier) => {
                    (0..loss.len()).map(|k| Some(loss.value(k) && (earlier.is_null(k) || earlier.value(k)))).collect()
                }
                None => loss,
            };
            fields.push(Arc::new(Field::new(LOSS, DataType::Boolean, true)));
            arrays.push(Arc::new(loss));
        }
        Ok(Arc::new(StructArray::try_new_with_length(Fields::from(fields), arrays, None, self.rest.len())?))
    }
}

fn messages_column(
    decoded: &Decoded,
    field: &Field,
    rows: &[WrittenRow],
    marks_loss: bool,
) -> Result<ArrayRef, ArrowError> {
    let mut pieces = MessagePieces::new(decoded);
    let mut offsets = vec![0];
    let mut loss: Vec<bool> = Vec::new();
    for written in rows {
        match &written.purified {
            Some(purified) => purified.messages().iter().for_each(|source| pieces.push(written.row, source)),
            None => pieces.push_row(written.row),
        }
        offsets.push(pieces.count());
        loss.extend(&written.loss);
    }
    list_of(pieces.build(marks_loss.then(|| BooleanArray::from(loss)))?, offsets, field)
}

/// A list column of the field's own type from a child and the end of each row in it.
pub fn list_of(values: ArrayRef, offsets: Vec<usize>, field: &Field) -> Result<ArrayRef, ArrowError> {
    let item = match list_item(field.data_type()) {
        Some(item) => Arc::new(item.as_ref().clone().with_data_type(values.data_type().clone())),
        None => Arc::new(Field::new("element", values.data_type().clone(), true)),
    };
    let lengths = offsets.windows(2).map(|pair| pair[1] - pair[0]);
    // Other lists are cast from wide ones.
    let array: ArrayRef = if matches!(field.data_type(), DataType::List(_)) {
        Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?)
    } else {
        Arc::new(LargeListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?)
    };
    if array.data_type() == field.data_type() { Ok(array) } else { cast(&array, field.data_type()) }
}

#[derive(Clone, Copy)]
enum TokenColumn<'l> {
    Ids,
    Mask,
    Logprobs,
    Advantages(&'l List),
}

fn tokens_column(
    decoded: &Decoded,
    column: TokenColumn<'_>,
    field: &Field,
    rows: &[WrittenRow],
) -> Result<ArrayRef, ArrowError> {
    let Some(response) = &decoded.response else {
        return Err(ArrowError::InvalidArgumentError("no token columns".to_owned()));
    };
    let list: &List = match (column, &response.logprobs) {
        (TokenColumn::Ids, _) => &response.ids,
        (TokenColumn::Mask, _) => &response.mask,
        (TokenColumn::Advantages(list), _) => list,
        (TokenColumn::Logprobs, Some((_, list))) => list,
        (TokenColumn::Logprobs, None) => {
            return Err(ArrowError::InvalidArgumentError("no log-probs to splice: this is a bug".to_owned()));
        }
    };
    let mask_of = |row: usize| response.mask_of(row);
    let mut pieces = Pieces::default();
    let mut offsets = vec![0];
    let mut valid = Vec::with_capacity(rows.len());
    let mut most_masked = 0;
    for written in rows {
        let range = list.range(written.row);
        valid.push(range.is_some());
        let Some(range) = range else {
            offsets.push(pieces.len());
            continue;
        };
        let base = range.start;
        match written.purified.as_ref().and_then(|p| p.tokens()) {
            None => pieces.copy(range),
            Some(splice) => {
                for kept in &splice.kept {
                    match column {
                        TokenColumn::Ids | TokenColumn::Advantages(_) => {
                            pieces.copy(base + kept.start..base + kept.end)
                        }
                        TokenColumn::Mask => {
                            for (part, is_untrained) in split_at(kept, &splice.untrained) {
                                if is_untrained {
                                    most_masked = most_masked.max(part.len());
                                    pieces.copy_from(1, 0..part.len());
                                } else {
                                    pieces.copy(base + part.start..base + part.end);
                                }
                            }
                        }
                        TokenColumn::Logprobs => {
                            let mask = mask_of(written.row);
                            let unknown_from = splice.unknown_from.unwrap_or(usize::MAX);
                            for k in kept.clone() {
                                if k >= unknown_from && mask[k] != 0 {
                                    pieces.nulls(1);
                                } else {
                                    pieces.copy(base + k..base + k + 1);
                                }
                            }
                        }
                    }
                }
            }
        }
        offsets.push(pieces.len());
    }
    let zeros = zeros(list.values.data_type(), most_masked)?;
    let array = list_of(pieces.gather(&[&list.values, &zeros])?, offsets, field)?;
    if valid.iter().all(|&v| v) { Ok(array) } else { with_nulls(&array, valid) }
}

fn with_nulls(array: &ArrayRef, valid: Vec<bool>) -> Result<ArrayRef, ArrowError> {
    let data = array.to_data().into_builder().nulls(Some(valid.into())).build()?;
    Ok(arrow::array::make_array(data))
}

/// An array of zeros (or `false`) of a mask's own type.
fn zeros(data_type: &DataType, len: usize) -> Result<ArrayRef, ArrowError> {
    if len == 0 {
        return Ok(new_null_array(data_type, 0));
    }
    cast(&Int64Array::from(vec![0; len]), data_type)
}

/// Cuts a range where the marked ranges begin and end.
fn split_at(range: &std::ops::Range<usize>, marked: &[std::ops::Range<usize>]) -> Vec<(std::ops::Range<usize>, bool)> {
    let mut out = Vec::new();
    let mut next = range.start;
    for mark in marked {
        let (from, to) = (mark.start.clamp(next, range.end), mark.end.clamp(next, range.end));
        if from < to {
            out.push((next..from, false));
            out.push((from..to, true));
            next = to;
        }
    }
    out.push((next..range.end, false));
    out
}
