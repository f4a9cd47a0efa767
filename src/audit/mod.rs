//! Audits: what was done to a data set, and whether it can be trusted. Reads, counts, draws; changes nothing.
//!
//! Owns the numbers of both sides of the purifying. [`report`] says what they are called.

pub mod lineage;
pub mod repairs;
pub mod report;
