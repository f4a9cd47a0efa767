//! Options of `purify export`, and of `--to`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(feature = "cli")]
use super::numbers::boolish;
use super::{CompressionLevel, DEFAULT_COMPRESSION_LEVEL};

/// What a trainer, or a hub, eats as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum ExportTarget {
    /// TRL's SFTTrainer: `messages` and `tools`, or `input_ids` and `labels` where there are tokens.
    TrlSft,
    /// TRL's DPOTrainer: `prompt`, `chosen`, `rejected`, from pairs.
    TrlDpo,
    /// TRL's KTOTrainer: `prompt`, `completion`, `label`, from pairs and failed attempts without a correction.
    TrlKto,
    /// verl's multi-turn SFT: `messages` of role and content, calls and tools as text.
    VerlSft,
    /// JSON lines of `messages` and `tools`.
    #[cfg_attr(feature = "cli", value(name = "openai"))]
    #[serde(rename = "openai")]
    OpenAi,
    /// A data set folder as the hubs have them, with the configurations `rl`, `sft`, `dpo` and `audit`.
    Folder,
}

impl ExportTarget {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            ExportTarget::TrlSft => "trl-sft",
            ExportTarget::TrlDpo => "trl-dpo",
            ExportTarget::TrlKto => "trl-kto",
            ExportTarget::VerlSft => "verl-sft",
            ExportTarget::OpenAi => "openai",
            ExportTarget::Folder => "folder",
        }
    }

    /// Whether it is made of preference pairs.
    pub fn needs_pairs(self) -> bool {
        matches!(self, ExportTarget::TrlDpo | ExportTarget::TrlKto | ExportTarget::Folder)
    }
}

/// What is exported, to what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct ExportConfig {
    /// Purified rollouts, or pairs: files, globs or folders
    #[cfg_attr(feature = "cli", arg(required = true, value_name = "PATH"))]
    pub inputs: Vec<PathBuf>,
    /// Who is to read it
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "TARGET"))]
    pub to: ExportTarget,
    /// File (or, for `folder`, folder) to write; default: NAME.TARGET.parquet beside the input
    #[cfg_attr(feature = "cli", arg(long, value_name = "PATH"))]
    pub out: Option<PathBuf>,
    /// Licence in the card of a folder, such as apache-2.0
    #[cfg_attr(feature = "cli", arg(long, value_name = "ID"))]
    pub license: Option<String>,
    /// zstd level of what is written
    #[cfg_attr(feature = "cli", arg(long, value_name = "1..22", default_value_t = DEFAULT_COMPRESSION_LEVEL))]
    pub compression_level: CompressionLevel,
    /// Exit with 1 if a row was rejected
    #[cfg_attr(feature = "cli", arg(long, value_parser = boolish(), default_value_t = false, action = clap::ArgAction::SetTrue))]
    pub strict: bool,
    /// Threads (0: one per core)
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = 0))]
    pub threads: usize,
}
