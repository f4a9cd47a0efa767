//! Rows of a record batch, read and put together again: Arrow in, Arrow out.
//!
//! Owns the columns: [`decode`] borrows rollouts from them, [`columns`] builds them anew where a repair has changed a row,
//! [`provenance`], [`pairs`] and [`rejects`] are what stands beside. Files, threads and clocks are left to others, and so is
//! every decision: that is [`crate::purifier`]'s.

mod arrays;
pub mod columns;
pub mod decode;
mod gather;
pub mod json;
mod messages;
pub mod pairs;
pub mod provenance;
mod records;
pub mod rejects;
pub mod row;
mod row_error;
pub mod sample;

pub use decode::{Decoded, RowNumbers};
pub use row_error::RowError;
