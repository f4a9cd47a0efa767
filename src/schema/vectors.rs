//! Columns of the file of vectors and of its index.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

/// blake3 of the text, 64 hexadecimal digits.
pub const TEXT_HASH: &str = "text_hash";
pub const KIND: &str = "kind";
pub const EMBEDDING: &str = "embedding";
/// Whether the model's limit cut the text.
pub const IS_CUT: &str = "is_cut";
/// File metadata that holds the model's card.
pub const CARD: &str = "purify.model";

/// One row per text and kind.
pub fn vectors(dimension: i32) -> Schema {
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    Schema::new(vec![
        Field::new(TEXT_HASH, DataType::Utf8, false),
        Field::new(KIND, DataType::Utf8, false),
        Field::new(EMBEDDING, DataType::FixedSizeList(item, dimension), false),
        Field::new(IS_CUT, DataType::Boolean, false),
    ])
}

/// One row per step and kind; steps of a rollout count from 0.
pub fn index() -> Schema {
    Schema::new(vec![
        Field::new("rollout_id", DataType::Utf8, false),
        Field::new("step", DataType::Int32, false),
        Field::new(KIND, DataType::Utf8, false),
        Field::new(TEXT_HASH, DataType::Utf8, false),
    ])
}
