//! Options of `purify compare`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(feature = "cli")]
use super::numbers::boolish;
use super::{Fraction, NonNegative, Positive, Recipe};

/// What is compared, on what, and for how long.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Comparison"))]
pub struct CompareConfig {
    /// Raw rollouts with groups and rewards, Parquet or JSON lines
    #[cfg_attr(feature = "cli", arg(long = "in", env = "PURIFY_IN", value_name = "FILE"))]
    pub input: PathBuf,
    /// Folder to write: compare.html, compare.json, and in rows/ what each recipe trains on
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_OUT", value_name = "DIR"))]
    pub out: PathBuf,
    /// Recipes to compare, each named once
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            env = "PURIFY_RECIPES",
            value_name = "RECIPE,...",
            value_enum,
            value_delimiter = ',',
            required = true
        )
    )]
    pub recipes: Vec<Recipe>,
    /// Updates of each recipe
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_UPDATES", value_name = "N", default_value = "5"))]
    pub updates: Positive,
    /// Tokens that one update trains on; default: as many as the recipe with the fewest has, at most 65536
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_TOKEN_BUDGET", value_name = "N"))]
    pub token_budget: Option<Positive>,
    /// Share of the groups that is not trained on and tells what training changed
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_HELD_OUT", value_name = "0..1", default_value = "0.2"))]
    pub held_out: Fraction,
    /// Learning rate, the same for all recipes
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_LEARNING_RATE", value_name = "X", default_value = "1e-4"))]
    pub learning_rate: NonNegative,
    /// Train all weights instead of an adapter (a lower --learning-rate suits that)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_FULL", conflicts_with = "adapter", value_parser = boolish(), default_value_t = false, action = clap::ArgAction::SetTrue))]
    pub full: bool,
    /// Seed of the groups held out, of the order of rollouts and of a new adapter
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SEED", value_name = "N", default_value_t = 0))]
    pub seed: u64,
}
