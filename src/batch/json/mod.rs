//! Values of columns as JSON, and JSON's own limits.
//!
//! Owns what of Arrow's types JSON can hold, and the numbers that it can't. Which columns are read so is said by others.

pub mod cells;
pub mod numbers;
pub mod text;
pub mod written;

/// One object, such as a row or a message.
pub type Object = serde_json::Map<String, serde_json::Value>;
