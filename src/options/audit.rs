//! Options of `purify audit`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is audited, and what is written of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct AuditConfig {
    /// Raw rollouts: a file, a glob or a folder. Without PURIFIED, the audit predicts what purifying would do
    #[cfg_attr(feature = "cli", arg(value_name = "RAW"))]
    pub raw: PathBuf,
    /// The same rollouts, purified
    #[cfg_attr(feature = "cli", arg(value_name = "PURIFIED"))]
    pub purified: Option<PathBuf>,
    /// Write all numbers as JSON
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub json: Option<PathBuf>,
    /// Write a page for the browser: the numbers as plots, and every repair before and after
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub html: Option<PathBuf>,
    /// Exit with 1 if this comparison of the report's numbers holds, such as `guards.residue_rate > 0.05` (repeatable)
    #[cfg_attr(feature = "cli", arg(long, value_name = "EXPR"))]
    pub fail_if: Vec<String>,
    /// Text column to break the numbers down by; default: data_source, source, env, environment, dataset or domain
    #[cfg_attr(feature = "cli", arg(long, value_name = "COLUMN"))]
    pub by: Option<String>,
    /// Threads (0: one per core)
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = 0))]
    pub threads: usize,
}
