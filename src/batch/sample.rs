//! Rows as scoring and training read them: owned, with tokens, reward and messages as JSON.
//!
//! Owns the reading of columns that the main job only passes through. A sample holds what the row says and nothing that
//! was made up: what is missing is `None`. Turning messages into tokens needs a model and is left to others.

use std::borrow::Cow;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type};
use arrow::error::ArrowError;
use serde_json::Value;

use super::arrays::{List, Text, strict_cast};
use super::decode::Decoded;
use super::json::cells::Cells;
use super::json::text::Place;
use super::row_error::RowError;
use crate::record::{RecordReader, RepairRecord};
use crate::schema::{Columns, PreferenceColumns, is_text, list_item};

/// One rollout.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Row of its file, from 0.
    pub number: u64,
    pub id: String,
    /// The name is made of the file's, since the row has none of its own.
    pub is_unnamed: bool,
    pub group: Option<String>,
    pub reward: Option<f64>,
    /// What it earned beside its group, from before any edit.
    pub advantage: Option<f64>,
    /// The same by response token; an entry may be absent.
    pub token_advantages: Option<Vec<Option<f32>>>,
    pub tokens: Option<SampleTokens>,
    /// Absent where the file has none; as chat templates read them, fields that are null left out.
    pub messages: Option<Vec<Value>>,
    pub tools: Option<Value>,
    pub repairs: Vec<RepairRecord>,
}

/// Tokens of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleTokens {
    /// Absent where the file has no such column.
    pub prompt: Option<Vec<i32>>,
    pub response: Vec<i32>,
    /// 1 where the policy wrote the token.
    pub mask: Vec<i8>,
    /// Behaviour log-probs, one for each token of the response; a token may have none.
    pub logprobs: Option<Vec<Option<f32>>>,
}

/// One side of a preference pair, or its prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum PreferenceText {
    Tokens([Vec<i32>; 3]),
    Messages([Vec<Value>; 3]),
}

/// One preference pair: prompt, chosen, rejected.
#[derive(Clone, Debug)]
pub struct Preference {
    pub number: u64,
    pub id: String,
    pub parts: PreferenceText,
    pub tools: Option<Value>,
    /// Log-probs of a reference policy for chosen and rejected, in the columns of TRL's names.
    pub reference_logps: [Option<f64>; 2],
}

/// Columns of one batch, ready to be read row by row.
pub struct SampleReader<'d> {
    decoded: &'d Decoded,
    tools: Option<Tools>,
    prompt: Option<(List, Int32Array)>,
    logprobs: Option<Float32Array>,
    token_advantages: Option<(List, Float32Array)>,
    messages: Option<Vec<Option<Vec<Value>>>>,
    records: Option<RecordReader>,
}

/// Integers of any width; a value that does not fit is an error of the column.
fn ints(array: &ArrayRef) -> Result<Int32Array, ArrowError> {
    Ok(strict_cast(array, &DataType::Int32)?.as_primitive::<Int32Type>().clone())
}

fn token_list(array: &ArrayRef) -> Result<(List, Int32Array), ArrowError> {
    let list = List::new(array)?;
    let values = ints(&list.values)?;
    Ok((list, values))
}

fn number_list(array: &ArrayRef) -> Result<(List, Float32Array), ArrowError> {
    let list = List::new(array)?;
    let values = strict_cast(&list.values, &DataType::Float32)?.as_primitive::<Float32Type>().clone();
    Ok((list, values))
}

/// The numbers of a row, some of which may be absent.
fn numbers_of(list: &List, values: &Float32Array, row: usize) -> Option<Vec<Option<f32>>> {
    let number = |k: usize| values.is_valid(k).then(|| values.value(k));
    list.range(row).map(|range: Range<usize>| range.map(number).collect())
}

fn tokens_of(column: &str, (list, values): &(List, Int32Array), row: usize) -> Result<Vec<i32>, RowError> {
    let range = list.range(row).ok_or_else(|| RowError::NullTokens { column: column.to_owned() })?;
    if let Some(at) = range.clone().find(|&k| values.is_null(k)) {
        return Err(RowError::NullToken { column: column.to_owned(), at: at - range.start });
    }
    Ok(values.values()[range].to_vec())
}

impl<'d> SampleReader<'d> {
    pub fn new(decoded: &'d Decoded, columns: &Columns) -> Result<Self, ArrowError> {
        let batch = &decoded.batch;
        let logprobs = decoded.response.as_ref().and_then(|r| r.logprobs.as_ref());
        let logprobs = logprobs.map(|(_, list)| strict_cast(&list.values, &DataType::Float32)).transpose()?;
        Ok(SampleReader {
            decoded,
            tools: columns.tools.map(|k| Tools::new(batch, k)).transpose()?,
            prompt: columns.prompt_ids.map(|k| token_list(batch.column(k))).transpose()?,
            logprobs: logprobs.map(|array| array.as_primitive::<Float32Type>().clone()),
            token_advantages: columns.token_advantages.map(|k| number_list(batch.column(k))).transpose()?,
            messages: columns.messages.map(|k| json_of(batch, k)).transpose()?,
            records: decoded.records()?,
        })
    }

    pub fn row(&self, row: usize) -> Result<Sample, RowError> {
        let decoded = self.decoded;
        Ok(Sample {
            number: decoded.number(row),
            is_unnamed: matches!(decoded.id(row), Cow::Owned(_)),
            id: decoded.id(row).into_owned(),
            group: decoded.group(row).map(str::to_owned),
            reward: decoded.reward(row),
            advantage: decoded.advantage(row),
            token_advantages: self.token_advantages.as_ref().and_then(|(list, values)| numbers_of(list, values, row)),
            tokens: self.tokens(row)?,
            messages: self.messages.as_ref().and_then(|all| all[row].clone()),
            tools: self.tools.as_ref().map_or(Ok(None), |tools| tools.row(row))?,
            repairs: self.repairs(row)?,
        })
    }

    fn repairs(&self, row: usize) -> Result<Vec<RepairRecord>, RowError> {
        let record = self.records.as_ref().map(|records| records.row(row)).transpose()?.flatten();
        Ok(record.map_or_else(Vec::new, |record| record.repairs))
    }

    fn tokens(&self, row: usize) -> Result<Option<SampleTokens>, RowError> {
        let Some(response) = &self.decoded.response else { return Ok(None) };
        // A file of mixed rows: this one has messages alone.
        if response.ids.range(row).is_none() && self.messages.as_ref().is_some_and(|m| m[row].is_some()) {
            return Ok(None);
        }
        let null = || RowError::NullTokens { column: "response_ids".to_owned() };
        let tokens = response.row(row)?.ok_or_else(null)?;
        let logprobs = match (&response.logprobs, &self.logprobs) {
            (Some((_, list)), Some(values)) => numbers_of(list, values, row),
            _ => None,
        };
        Ok(Some(SampleTokens {
            prompt: self.prompt.as_ref().map(|p| tokens_of("prompt_ids", p, row)).transpose()?,
            response: tokens.ids.to_vec(),
            mask: tokens.mask.to_vec(),
            logprobs,
        }))
    }
}

/// The tools' schemas: text that holds JSON, or lists.
enum Tools {
    Text(Text),
    Listed(Cells),
}

impl Tools {
    fn new(batch: &RecordBatch, column: usize) -> Result<Self, ArrowError> {
        let (schema, array) = (batch.schema(), batch.column(column));
        Ok(match is_text(array.data_type()) {
            true => Tools::Text(Text::new(array)?),
            false => Tools::Listed(Cells::new(schema.field(column), array)?),
        })
    }

    fn row(&self, row: usize) -> Result<Option<Value>, RowError> {
        let tools = match self {
            Tools::Listed(cells) => cells.value(row, Place::Elsewhere),
            Tools::Text(text) => match text.get(row).filter(|t| !t.trim().is_empty()) {
                None => return Ok(None),
                Some(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
            },
        };
        Ok(Some(tools.map_err(|detail| RowError::NoTools { detail })?).filter(|tools: &Value| !tools.is_null()))
    }
}

/// A column of messages as JSON, each a struct or text that holds JSON.
fn messages_of(batch: &RecordBatch, column: usize) -> Result<Vec<Option<Vec<Value>>>, ArrowError> {
    let (schema, array) = (batch.schema(), batch.column(column));
    if !list_item(array.data_type()).is_some_and(|item| is_text(item.data_type())) {
        return json_of(batch, column);
    }
    let cells = Cells::new(schema.field(column), array)?;
    let row = |row: usize| match cells.value(row, Place::Elsewhere) {
        Ok(Value::Array(messages)) => Ok(Some(messages)),
        Ok(_) => Ok(None),
        Err(detail) => Err(ArrowError::JsonError(format!("row {row} of a batch: {detail}"))),
    };
    (0..batch.num_rows()).map(row).collect()
}

/// A column of messages as JSON, fields that are null left out.
fn json_of(batch: &RecordBatch, column: usize) -> Result<Vec<Option<Vec<Value>>>, ArrowError> {
    let name = batch.schema_ref().field(column).name().clone();
    let mut text = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    writer.write(&batch.project(&[column])?)?;
    writer.finish()?;
    let bad = |e: serde_json::Error| ArrowError::JsonError(e.to_string());
    let lines = text.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut row: serde_json::Map<String, Value> = serde_json::from_slice(line).map_err(bad)?;
            Ok(match row.remove(&name) {
                Some(Value::Array(messages)) => Some(messages),
                _ => None,
            })
        })
        .collect()
}

/// Preference columns of one batch.
pub struct PreferenceReader<'d> {
    decoded: &'d Decoded,
    parts: Parts,
    tools: Option<Tools>,
    reference_logps: [Option<Float64Array>; 2],
}

enum Parts {
    Tokens(Box<[(List, Int32Array); 3]>),
    Messages([Vec<Option<Vec<Value>>>; 3]),
}

const PARTS: [&str; 3] = ["prompt", "chosen", "rejected"];
/// TRL's names.
pub const REFERENCE_LOGPS: [&str; 2] = ["ref_chosen_logps", "ref_rejected_logps"];

impl<'d> PreferenceReader<'d> {
    pub fn new(decoded: &'d Decoded, found: PreferenceColumns, columns: &Columns) -> Result<Self, ArrowError> {
        let batch = &decoded.batch;
        let [prompt, chosen, rejected] = [found.prompt, found.chosen, found.rejected];
        let parts = match found.are_tokens {
            true => {
                let read = |k: usize| token_list(batch.column(k));
                Parts::Tokens(Box::new([read(prompt)?, read(chosen)?, read(rejected)?]))
            }
            false => {
                let read = |k: usize| messages_of(batch, k);
                Parts::Messages([read(prompt)?, read(chosen)?, read(rejected)?])
            }
        };
        let logps = |name: &str| -> Result<Option<Float64Array>, ArrowError> {
            let column = batch.column_by_name(name).filter(|c| c.data_type().is_floating());
            let array = column.map(|c| strict_cast(c, &DataType::Float64)).transpose()?;
            Ok(array.map(|array| array.as_primitive::<Float64Type>().clone()))
        };
        let [of_chosen, of_rejected] = REFERENCE_LOGPS;
        Ok(PreferenceReader {
            decoded,
            parts,
            tools: columns.tools.map(|k| Tools::new(batch, k)).transpose()?,
            reference_logps: [logps(of_chosen)?, logps(of_rejected)?],
        })
    }

    pub fn row(&self, row: usize) -> Result<Preference, RowError> {
        let mut parts = match &self.parts {
            Parts::Tokens(_) => PreferenceText::Tokens(Default::default()),
            Parts::Messages(_) => PreferenceText::Messages(Default::default()),
        };
        for (k, name) in PARTS.into_iter().enumerate() {
            match (&self.parts, &mut parts) {
                (Parts::Tokens(from), PreferenceText::Tokens(to)) => {
                    to[k] = tokens_of(&format!("{name}_ids"), &from[k], row)?
                }
                (Parts::Messages(from), PreferenceText::Messages(to)) => {
                    let null = || RowError::NullMessages { column: name.to_owned() };
                    to[k] = from[k][row].clone().ok_or_else(null)?;
                }
                _ => {}
            }
        }
        Ok(Preference {
            number: self.decoded.number(row),
            id: self.decoded.id(row).into_owned(),
            parts,
            tools: self.tools.as_ref().map_or(Ok(None), |tools| tools.row(row))?,
            reference_logps: self
                .reference_logps
                .each_ref()
                .map(|array| array.as_ref().filter(|a| a.is_valid(row)).map(|a| a.value(row))),
        })
    }
}
