//! The second pass: lines to batches, and the lines that are not rows.
//!
//! Most blocks of lines are appended to columns as they are read ([`columns`]); what is in any way odd goes by way of values.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use serde_json::Value;

use super::columns;
use super::kind::odd_number;
use super::lines::numbered;
use super::values::{fit, to_batches};
use crate::batch::RowError;
use crate::batch::json::numbers::{large_number, may_be_large, too_large};
use crate::ingest::bad_line::BadLine;
use crate::ingest::formats::{Reading, Row};
use crate::ingest::lenient;

/// Batches with the numbers of their lines.
pub(in crate::ingest) type NumberedBatches = Vec<(RecordBatch, Vec<u64>)>;

/// Batches with the numbers of their lines, and the lines that are not rows.
pub(in crate::ingest) fn decode_lines(
    block: &[u8],
    schema: &SchemaRef,
    first_line: u64,
    reading: &Reading,
) -> (NumberedBatches, Vec<BadLine>) {
    match reading.takes_as_they_are(block).then(|| columns::decode(block, schema, first_line)).flatten() {
        Some(batch) => (vec![batch], Vec::new()),
        None => decode_values(block, schema, first_line, reading),
    }
}

/// The same by way of values: lines that are no rows, and layouts that have to be converted.
pub(super) fn decode_values(
    block: &[u8],
    schema: &SchemaRef,
    first_line: u64,
    reading: &Reading,
) -> (NumberedBatches, Vec<BadLine>) {
    let (mut rows, mut numbers, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    let as_rows = DataType::Struct(schema.fields().clone());
    for (number, line) in numbered(block, first_line) {
        match parse(line, number).and_then(|row| converted(row, reading, schema, number)) {
            Ok(converted) => {
                for row in converted {
                    let mut value = Value::Object(row);
                    fit(&mut value, &as_rows);
                    rows.push(value);
                    numbers.push(number);
                }
            }
            Err(error) => bad.push(BadLine { row: number, text: String::from_utf8_lossy(line).into_owned(), error }),
        }
    }
    let (batches, misfits) = to_batches(&rows, schema);
    bad.extend(misfits.into_iter().map(|(k, error)| BadLine {
        row: numbers[k],
        text: rows[k].to_string(),
        error: RowError::NoFit { line: Some(numbers[k] + 1), detail: error.to_string() },
    }));
    bad.sort_by_key(|line| line.row);
    (batches.into_iter().map(|(batch, range)| (batch, numbers[range].to_vec())).collect(), bad)
}

fn converted(row: Row, reading: &Reading, schema: &Schema, number: u64) -> Result<Vec<Row>, RowError> {
    let line = Some(number + 1);
    let rows = reading.convert(row).map_err(|detail| RowError::Layout { line, layout: reading.form.name, detail })?;
    match rows.iter().find_map(|row| odd_number(row, schema)) {
        Some(detail) => Err(RowError::NoFit { line, detail }),
        None => Ok(rows),
    }
}

fn parse(line: &[u8], number: u64) -> Result<Row, RowError> {
    let line_number = number + 1;
    if let Err(error) = std::str::from_utf8(line) {
        return Err(RowError::NoUtf8 { line: line_number, byte: error.valid_up_to() });
    }
    match lenient::value(line).map(|(value, _)| value) {
        Ok(Value::Object(row)) => match large_number_in(&row, line) {
            None => Ok(row),
            Some(number) => Err(RowError::NoFit { line: Some(line_number), detail: too_large(&number) }),
        },
        Ok(_) => Err(RowError::NoJson { line: line_number, detail: "it is another kind of value".to_owned() }),
        Err(error) => Err(RowError::NoJson { line: line_number, detail: why_no_json(&error) }),
    }
}

fn large_number_in(row: &Row, line: &[u8]) -> Option<String> {
    let text = row.values().any(may_be_large).then(|| std::str::from_utf8(line).ok()).flatten()?;
    large_number(text)
}

/// The parser's words. It counts lines of its own input, which is always one.
fn why_no_json(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}
