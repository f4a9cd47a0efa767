//! Options of `purify export`, and of `--to`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::CompressionLevel;
#[cfg(feature = "cli")]
use super::DEFAULT_COMPRESSION_LEVEL;
#[cfg(feature = "cli")]
use super::numbers::boolish;

/// What is exported, to what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct ExportConfig {
    /// Purified rollouts, or pairs: files, globs or folders
    #[cfg_attr(feature = "cli", arg(required = true, value_name = "PATH"))]
    pub inputs: Vec<PathBuf>,
    /// Target to write for
    #[cfg_attr(feature = "cli", arg(long, value_name = "TARGET"))]
    pub to: String,
    /// File (or, for `folder`, folder) to write; default: NAME.TARGET.parquet beside the input
    #[cfg_attr(feature = "cli", arg(long, value_name = "PATH"))]
    pub out: Option<PathBuf>,
    /// Licence in the card of a folder, such as apache-2.0
    #[cfg_attr(feature = "cli", arg(long, value_name = "ID"))]
    pub license: Option<String>,
    /// zstd level of what is written
    #[cfg_attr(feature = "cli", arg(long, value_name = "1..22", default_value_t = DEFAULT_COMPRESSION_LEVEL))]
    pub compression_level: CompressionLevel,
    /// Exit with 1 if any row was rejected
    #[cfg_attr(feature = "cli", arg(long, value_parser = boolish(), default_value_t = false, action = clap::ArgAction::SetTrue))]
    pub strict: bool,
    /// Threads (0: one per core)
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = 0))]
    pub threads: usize,
}
