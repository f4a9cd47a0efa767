//! Audits: what was done to a data set, and whether it can be trusted. Reads, counts, draws; changes nothing.
//!
//! Owns the numbers of both sides of the purifying. [`report`] says what they are called; [`html`] makes a page of them.

pub mod html;
pub mod report;
