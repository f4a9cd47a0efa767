//! Options of a run over files: what is read and written, and what fails it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

#[cfg(feature = "cli")]
use super::numbers::boolish;
use super::{CompressionLevel, DEFAULT_COMPRESSION_LEVEL, DeviceChoice};

/// One of `of` equal parts of the groups; `index` counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Shard {
    pub index: u32,
    pub of: u32,
}

/// A shard as it is read, unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    index: u32,
    of: u32,
}

impl TryFrom<Parts> for Shard {
    type Error = String;

    fn try_from(Parts { index, of }: Parts) -> Result<Self, String> {
        match (1..=of).contains(&index) {
            true => Ok(Shard { index, of }),
            false => Err(format!("expected `i/n` with i from 1 to n, such as `1/4`, found `{index}/{of}`")),
        }
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some(Parts { index: i.parse().ok()?, of: n.parse().ok()? }));
        let odd = || format!("expected `i/n` with i from 1 to n, such as `1/4`, found `{text}`");
        Shard::try_from(parts.ok_or_else(odd)?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// What is read and written, and what fails the run.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Input and output"))]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Rollouts: files, globs or folders of Parquet or JSON lines
    #[cfg_attr(feature = "cli", arg(long = "in", env = "PURIFY_IN", value_name = "PATH", num_args = 1.., required = true))]
    pub inputs: Vec<PathBuf>,
    /// File (one input) or folder (several) to write; default: NAME.purified.parquet beside the input
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_OUT", value_name = "PATH"))]
    pub out: Option<PathBuf>,
    /// Also write what a trainer reads: NAME.TARGET.parquet beside the output, or a folder
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_TO", value_name = "TARGET"))]
    pub to: Option<String>,
    /// Also write a preference pair for each retry that was repaired
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_PAIRS", value_parser = boolish()))]
    pub pairs: bool,
    /// Plan and count, but write nothing
    #[cfg_attr(feature = "cli", arg(long))]
    pub dry_run: bool,
    /// Process one of n parts, split by group; all parts together are the whole input
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SHARD", value_name = "I/N"))]
    pub shard: Option<Shard>,
    /// Write a full report as JSON, with times
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_REPORT", value_name = "FILE"))]
    pub report: Option<PathBuf>,
    /// Exit with 1 if this comparison of counters holds, such as `unrecovered_rate > 0.3` (repeatable)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_FAIL_IF", value_name = "EXPR"))]
    pub fail_if: Vec<String>,
    /// Exit with 1 if any row was rejected, or if the run warns of something
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_STRICT", value_parser = boolish()))]
    pub strict: bool,
    #[default(DEFAULT_COMPRESSION_LEVEL)]
    /// zstd level of what is written
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_COMPRESSION_LEVEL", value_name = "1..22", default_value_t = DEFAULT_COMPRESSION_LEVEL))]
    pub compression_level: CompressionLevel,
    /// Threads (0: one per core)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_THREADS", value_name = "N", default_value_t))]
    pub threads: usize,
    /// The command line asks for it beside the options that it serves.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub compute: ComputeConfig,
}

/// What computes for the method, and where: it decides nothing, and is not recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct ComputeConfig {
    /// Vectors that `purify embed` has written
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_EMBEDDINGS", value_name = "FILE", num_args = 1.., value_delimiter = ',', help_heading = "Similarity by meaning"))]
    pub embeddings: Vec<PathBuf>,
    /// Device for the gate's model
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "PURIFY_GATE_DEVICE", value_enum, default_value_t, help_heading = "Gate")
    )]
    pub gate_device: DeviceChoice,
}
