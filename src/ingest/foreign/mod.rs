//! Parquet that other programs wrote: rows by way of JSON, as lines are, to native columns.
//!
//! Owns which columns go that way: those that the form consumes. All others pass through by the number of their row, since
//! their types may hold what JSON can't. [`cells`](crate::batch::json::cells) reads values, [`super::formats`] converts them.

mod conversion;
mod infer;
mod marks;

pub(super) use conversion::Conversion;
pub(super) use infer::{Inferred, Source, infer};
pub(super) use marks::holds_json;
