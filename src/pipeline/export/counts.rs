//! Rows of an export, counted.

use std::collections::BTreeMap;

use serde::Serialize;

/// Rows of an export. A row may give several, or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExportCounts {
    pub rollouts_in: u64,
    pub pairs_in: u64,
    pub rows_out: u64,
    pub rows_rejected: u64,
    /// By reason.
    pub rejects: BTreeMap<String, u64>,
}
