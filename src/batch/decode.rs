//! Record batch to rollouts: borrowed views, row by row.
//!
//! Owns the reading of tokens, names and numbers; messages are read in `messages`. Views borrow from the batch: no text is copied.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, Int8Array, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int8Type, Int32Type};
use arrow::error::ArrowError;

use super::arrays::{List, Text, strict_cast};
use super::messages::Messages;
use super::row_error::RowError;
use crate::message::with_answers;
use crate::rollout::Rollout;
use crate::schema::{Columns, is_text};
use crate::tokens::Tokens;

/// Token columns of a batch, widths evened out; `List::range` rows match.
#[derive(Debug)]
pub struct Response {
    pub ids: List,
    pub mask: List,
    pub logprobs: Option<(String, List)>,
    id_values: Int32Array,
    mask_values: Int8Array,
}

impl Response {
    fn new(batch: &RecordBatch, columns: &Columns) -> Result<Option<Self>, ArrowError> {
        let Some(found) = columns.response else { return Ok(None) };
        let ids = List::new(batch.column(found.ids))?;
        let mask = List::new(batch.column(found.mask))?;
        let logprobs = found
            .logprobs
            .map(|k| Ok::<_, ArrowError>((batch.schema_ref().field(k).name().clone(), List::new(batch.column(k))?)))
            .transpose()?;
        Ok(Some(Response {
            id_values: strict_cast(&ids.values, &DataType::Int32)?.as_primitive::<Int32Type>().clone(),
            mask_values: strict_cast(&mask.values, &DataType::Int8)?.as_primitive::<Int8Type>().clone(),
            ids,
            mask,
            logprobs,
        }))
    }

    /// The mask of a row that has been read.
    pub fn mask_of(&self, row: usize) -> &[i8] {
        self.mask.range(row).map_or(&[], |range| &self.mask_values.values()[range])
    }

    /// `None` of a row without tokens, where others have some.
    pub fn row(&self, row: usize) -> Result<Option<Tokens<'_>>, RowError> {
        let null = |column: &str| RowError::NullTokens { column: column.to_owned() };
        let (ids, mask) = match (self.ids.range(row), self.mask.range(row)) {
            (None, None) => return Ok(None),
            (ids, mask) => (ids.ok_or_else(|| null("response_ids"))?, mask.ok_or_else(|| null("response_mask"))?),
        };
        if mask.len() != ids.len() {
            return Err(RowError::MaskLength { mask: mask.len(), ids: ids.len() });
        }
        if let Some((column, list)) = &self.logprobs
            && let Some(range) = list.range(row)
            && range.len() != ids.len()
        {
            return Err(RowError::LogprobLength { column: column.clone(), logprobs: range.len(), ids: ids.len() });
        }
        let first_null = |values: &dyn Array, range: &Range<usize>| {
            (values.null_count() > 0).then(|| range.clone().find(|&k| values.is_null(k))).flatten()
        };
        for (column, values, range) in
            [("response_ids", &self.id_values as &dyn Array, &ids), ("response_mask", &self.mask_values, &mask)]
        {
            if let Some(at) = first_null(values, range) {
                return Err(RowError::NullToken { column: column.to_owned(), at: at - range.start });
            }
        }
        Ok(Some(Tokens { ids: &self.id_values.values()[ids], mask: &self.mask_values.values()[mask] }))
    }
}

/// One batch, ready to be read as rollouts.
#[derive(Debug)]
pub struct Decoded {
    pub batch: RecordBatch,
    pub messages: Messages,
    pub response: Option<Response>,
    id: Option<Text>,
    group: Option<Text>,
    tools: Option<Text>,
    reward: Option<Float64Array>,
    advantage: Option<Float64Array>,
    /// Names rows that have no id of their own.
    stem: Arc<str>,
    numbers: RowNumbers,
}

/// Numbers of a batch's rows in their file, from 0.
#[derive(Debug)]
pub enum RowNumbers {
    From(u64),
    /// Lines of a text file, some of which are not rows.
    Listed(Vec<u64>),
}

impl Decoded {
    pub fn new(
        batch: RecordBatch,
        columns: &Columns,
        stem: &Arc<str>,
        numbers: RowNumbers,
    ) -> Result<Self, ArrowError> {
        let text = |index: Option<usize>| index.map(|k| Text::new(batch.column(k))).transpose();
        let number = |index: Option<usize>| -> Result<Option<Float64Array>, ArrowError> {
            let array = index.map(|k| strict_cast(batch.column(k), &DataType::Float64)).transpose()?;
            Ok(array.map(|array| array.as_primitive::<Float64Type>().clone()))
        };
        Ok(Decoded {
            messages: columns
                .messages
                .map_or_else(|| Messages::absent(batch.num_rows()), |k| Messages::new(&batch, k))?,
            response: Response::new(&batch, columns)?,
            id: text(columns.id)?,
            group: text(columns.group)?,
            reward: number(columns.reward)?,
            advantage: number(columns.advantage)?,
            tools: text(columns.tools.filter(|&k| is_text(batch.column(k).data_type())))?,
            stem: Arc::clone(stem),
            numbers,
            batch,
        })
    }

    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The row's number in its file, from 0.
    pub fn number(&self, row: usize) -> u64 {
        match &self.numbers {
            RowNumbers::From(first) => first + row as u64,
            RowNumbers::Listed(numbers) => numbers[row],
        }
    }

    /// The row's name: its own, else `<file stem>:<row number>`.
    pub fn id(&self, row: usize) -> Cow<'_, str> {
        match self.id.as_ref().and_then(|ids| ids.get(row)) {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(format!("{}:{}", self.stem, self.number(row))),
        }
    }

    /// An empty name is none.
    pub fn group(&self, row: usize) -> Option<&str> {
        self.group.as_ref().and_then(|groups| groups.get(row)).filter(|name| !name.is_empty())
    }

    /// What the column `advantage` says, if there is one.
    pub fn advantage(&self, row: usize) -> Option<f64> {
        self.advantage.as_ref().filter(|numbers| numbers.is_valid(row)).map(|numbers| numbers.value(row))
    }

    pub fn reward(&self, row: usize) -> Option<f64> {
        self.reward.as_ref().filter(|rewards| rewards.is_valid(row)).map(|rewards| rewards.value(row))
    }

    /// The tools' JSON schemas, as text.
    pub fn tools(&self, row: usize) -> Option<&str> {
        self.tools.as_ref().and_then(|tools| tools.get(row))
    }

    pub fn rollout(&self, row: usize) -> Result<Rollout<'_>, RowError> {
        Ok(Rollout {
            id: self.id(row),
            group: self.group(row),
            messages: with_answers(self.messages.row(row)?),
            tokens: self.response.as_ref().map(|r| r.row(row)).transpose()?.flatten(),
        })
    }
}
