//! Options of the columns: what the rows look like, which column is what, what becomes of tokens.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// What to do with token columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum TokenColumns {
    /// Spliced together with the messages.
    #[default]
    Splice,
    /// Not written.
    Drop,
}

/// Which column holds what; well-known names are recognised without these.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Columns and tokens"))]
#[serde(deny_unknown_fields, default)]
pub struct ColumnConfig {
    /// Form of the rows; recognised by their fields by default
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_FORMAT", value_name = "FORMAT"))]
    pub format: Option<String>,
    /// Column of the rollout's unique name
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ID_COLUMN", value_name = "NAME"))]
    pub id_column: Option<String>,
    /// Column of the prompt or task that rollouts share
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_GROUP_COLUMN", value_name = "NAME"))]
    pub group_column: Option<String>,
    /// Column of the messages
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MESSAGES_COLUMN", value_name = "NAME"))]
    pub messages_column: Option<String>,
    /// Column of the reward
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_REWARD_COLUMN", value_name = "NAME"))]
    pub reward_column: Option<String>,
    /// What to do with token columns
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_TOKENS", value_enum, default_value_t))]
    pub tokens: TokenColumns,
    /// tokenizer.json, or the folder that holds it: finds the call marker in token columns
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_TOKENIZER", value_name = "PATH"))]
    pub tokenizer: Option<PathBuf>,
    /// Token ids of `<tool_call>`, in place of a tokenizer (Qwen2.5 and Qwen3: 151657)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_CALL_MARKER_IDS", value_name = "ID", value_delimiter = ','))]
    pub call_marker_ids: Vec<i32>,
}

impl ColumnConfig {
    pub fn drops_tokens(&self) -> bool {
        self.tokens == TokenColumns::Drop
    }
}
