//! JSON lines: a schema from a first pass, batches from a second.
//!
//! Owns lines; what a line looks like is its form's ([`super::formats`]). A field that has different kinds of value in
//! different lines (`kind`) becomes text that holds JSON; so do a call's `arguments` where they are not a string. A line that
//! is not a JSON object is a [`BadLine`](super::BadLine), never the end of the file. Numbers of rows are numbers of lines, from 0.
//!
//! Both passes have a quick way, which builds no values: most lines change no kind (`settled`), and most blocks of lines
//! can be appended to columns as they are read (`columns`). What is in any way odd goes the slow way; both give the same.

mod columns;
mod decode;
mod field_name;
mod infer;
mod kind;
mod lines;
mod settled;
#[cfg(test)]
mod tests;
mod values;

pub(super) use decode::{NumberedBatches, decode_lines};
pub(super) use infer::{Asked, Inferred, infer_schema};
pub(super) use kind::Kinds;
pub(super) use lines::LineReader;
pub(super) use values::{fit, to_batches};
