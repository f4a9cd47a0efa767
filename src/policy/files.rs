//! Files of a model's folder: tensors, JSON, anything else.
//!
//! Owns how each is written: whole, or not at all. What belongs into a folder is [`super::save`]'s.

use std::collections::HashMap;
use std::path::Path;

use candle_core::Tensor;
use serde_json::Value;

use super::error::PolicyError;
use crate::write::{write_by, write_bytes};

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), PolicyError> {
    write_bytes(path, bytes)?;
    Ok(())
}

/// Writes tensors as safetensors, with the mark of the format that transformers asks for.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), PolicyError> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let contiguous = tensors.iter().map(|(name, t)| Ok((name, t.to_device(&candle_core::Device::Cpu)?.contiguous()?)));
    let contiguous = contiguous.collect::<candle_core::Result<Vec<_>>>()?;
    write_by(path, |partial| {
        safetensors::serialize_to_file(contiguous.iter().map(|(n, t)| (n.as_str(), t)), Some(metadata), partial)
            .map_err(|e| PolicyError::Weights { path: path.to_owned(), detail: e.to_string() })
    })
}

/// Writes JSON for people to read.
pub fn write_json(path: &Path, value: &Value) -> Result<(), PolicyError> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    write_whole(path, text.as_bytes())
}
