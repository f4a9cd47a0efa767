//! Values as Arrow's JSON writer has them.
//!
//! Owns types that JSON does not have: times are text, decimals are numbers, bytes have no form at all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::array_value_to_string;
use serde_json::Value;

use super::Object;
use crate::batch::arrays::strict_cast;

/// A float holds every decimal of so many digits.
const EXACT_DIGITS: usize = 15;

/// The only value of a column under its name; nothing if it is null.
pub fn written(name: &str, column: &ArrayRef) -> Result<Object, ArrowError> {
    let column = match column.data_type() {
        // The instant is the same; names of zones would need their rules.
        DataType::Timestamp(unit, Some(_)) => strict_cast(column, &DataType::Timestamp(*unit, Some("+00:00".into())))?,
        _ => Arc::clone(column),
    };
    let mut out = LineDelimitedWriter::new(Vec::new());
    out.write(&RecordBatch::try_from_iter_with_nullable([(name, column, true)])?)?;
    out.finish()?;
    serde_json::from_slice(&out.into_inner()).map_err(|error| ArrowError::JsonError(error.to_string()))
}

/// A value that is not null.
///
/// # Errors
/// JSON can't hold it.
pub fn leaf(array: &ArrayRef, row: usize) -> Result<Value, String> {
    let data_type = array.data_type();
    let cant = || format!("it holds a value of type {data_type}, which JSON can't");
    if is_binary(data_type) {
        return Err(cant());
    }
    let failed = |error: ArrowError| format!("{}: {error}", cant());
    match data_type {
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            decimal(&array_value_to_string(array, row).map_err(failed)?)
        }
        _ => Ok(written("value", &array.slice(row, 1)).map_err(failed)?.shift_remove("value").unwrap_or_default()),
    }
}

/// Arrow writes them as hexadecimal digits, which are other bytes.
fn is_binary(data_type: &DataType) -> bool {
    match data_type {
        DataType::RunEndEncoded(_, values) => is_binary(values.data_type()),
        other => other.is_binary() || matches!(other, DataType::FixedSizeBinary(_)),
    }
}

fn decimal(text: &str) -> Result<Value, String> {
    let cant = || format!("it holds the decimal {text}, which 64 bits can't; write it as text");
    let number: Value = serde_json::from_str(text).map_err(|_| cant())?;
    let said = if text.contains('.') { text.trim_end_matches('0') } else { text };
    let digits = said.bytes().filter(u8::is_ascii_digit).skip_while(|&digit| digit == b'0').count();
    if number.is_f64() && digits > EXACT_DIGITS { Err(cant()) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Decimal128Array, Decimal256Array, DurationSecondArray, TimestampMillisecondArray};
    use arrow::datatypes::i256;
    use serde_json::json;

    use super::*;

    fn first(array: impl Array + 'static) -> Result<Value, String> {
        leaf(&(Arc::new(array) as ArrayRef), 0)
    }

    #[test]
    fn times_are_text_and_bytes_are_refused() {
        let at = |zone: Option<&str>| TimestampMillisecondArray::from(vec![1_500]).with_timezone_opt(zone);
        assert_eq!(first(at(None)), Ok(json!("1970-01-01T00:00:01.500")));
        assert_eq!(first(at(Some("Europe/Berlin"))), Ok(json!("1970-01-01T00:00:01.500Z")));
        assert_eq!(first(DurationSecondArray::from(vec![90])), Ok(json!("PT90S")));
        let bytes = first(BinaryArray::from_vec(vec![b"a"]));
        assert_eq!(bytes, Err("it holds a value of type Binary, which JSON can't".to_owned()));
    }

    #[test]
    fn decimals_are_numbers_unless_that_would_round_them() {
        let decimal = |digits: i128, scale: i8| {
            first(Decimal128Array::from(vec![digits]).with_precision_and_scale(38, scale).expect("it fits"))
        };
        assert_eq!(decimal(-10, 2), Ok(json!(-0.1)));
        assert_eq!(decimal(100_000_000_000_000_000_000, 21), Ok(json!(0.1)));
        assert_eq!(decimal(9_223_372_036_854_775_807, 0), Ok(json!(i64::MAX)));
        assert_eq!(decimal(123_456_789_012_345, 5), Ok(json!(1_234_567_890.123_45)));
        let rounded = "it holds the decimal 12345678901234.567, which 64 bits can't; write it as text";
        assert_eq!(decimal(12_345_678_901_234_567, 3), Err(rounded.to_owned()));
        let large = Decimal256Array::from(vec![i256::from_i128(1 << 64)]).with_precision_and_scale(40, 0);
        let told = "it holds the decimal 18446744073709551616, which 64 bits can't; write it as text";
        assert_eq!(first(large.expect("it fits")), Err(told.to_owned()));
    }
}
