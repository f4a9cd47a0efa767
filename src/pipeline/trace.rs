//! Where the columns of a run's files come from, for those who follow data: lineage.
//!
//! Owns what is known of one part. How lineage is told is [`crate::audit::lineage`]'s.

use std::path::PathBuf;

use crate::ingest::Shape;
use crate::schema::{OutputSchema, PURIFICATION};
use crate::write::FileRecord;

/// A column's name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedColumn {
    pub name: String,
    pub data_type: String,
    pub origin: Origin,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The input's values.
    Kept,
    /// The input's values, where repairs have changed them.
    Repaired,
    /// What was done to the rows.
    Record,
}

/// One input and what was written of it.
#[derive(Clone, Debug)]
pub struct PartTrace {
    pub input: PathBuf,
    /// Name and type of the input's columns; empty where its form is not ours, since it has none of these names.
    pub columns_in: Vec<(String, String)>,
    /// The folder that the names of `files` are relative to.
    pub root: PathBuf,
    /// The purified rows first, then their companions; empty if nothing was written.
    pub files: Vec<FileRecord>,
    /// Of the purified rows.
    pub columns_out: Vec<TracedColumn>,
}

impl PartTrace {
    pub(super) fn new(shape: &Shape, schema: &OutputSchema) -> Self {
        let columns = &shape.columns;
        let tokens = columns.response.map(|r| [Some(r.ids), Some(r.mask), r.logprobs]).unwrap_or_default();
        let is_repaired = |index: usize| columns.messages == Some(index) || tokens.contains(&Some(index));
        let origin = |name: &str| match shape.schema.index_of(name) {
            _ if name == PURIFICATION => Origin::Record,
            Ok(index) if is_repaired(index) => Origin::Repaired,
            _ => Origin::Kept,
        };
        let fields = shape.schema.fields().iter().filter(|_| shape.is_native());
        let columns_in = fields.map(|field| (field.name().clone(), field.data_type().to_string())).collect();
        let columns_out = schema.schema.fields().iter().map(|field| TracedColumn {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            origin: origin(field.name()),
        });
        PartTrace {
            input: shape.path.clone(),
            columns_in,
            root: PathBuf::new(),
            files: Vec::new(),
            columns_out: columns_out.collect(),
        }
    }
}
