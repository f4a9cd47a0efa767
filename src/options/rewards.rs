//! Options of what a reward is worth, and the recipe that sets options of several kinds at once.

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::NonNegative;

/// A treatment of failed attempts, as a bundle of options; `crate::recipe` says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// Rows as they were sampled; advantages and counts are written.
    Raw,
    /// The paper's rule: every recovered run is replaced, in all rollouts.
    Saar,
    /// The paper's rule where the advantage is above zero or not known; other rollouts as they were sampled.
    SaarPositive,
    /// Failed attempts are not trained on, in all rollouts.
    Mask,
    /// Failed attempts are not trained on where the advantage is above zero or not known.
    MaskPositive,
    /// Half of each group is kept: of the better rollouts those with the fewest failed attempts (GRPO-RoC).
    ResampleOnCorrect,
    /// Failed attempts cost a bounded part of the reward before advantages are computed.
    Penalty,
    /// Tokens of failed attempts get minus the absolute advantage, all others the rollout's own.
    SignGate,
}

impl Recipe {
    /// As it is typed, and stands in files.
    pub fn name(self) -> &'static str {
        match self {
            Recipe::Raw => "raw",
            Recipe::Saar => "saar",
            Recipe::SaarPositive => "saar-positive",
            Recipe::Mask => "mask",
            Recipe::MaskPositive => "mask-positive",
            Recipe::ResampleOnCorrect => "resample-on-correct",
            Recipe::Penalty => "penalty",
            Recipe::SignGate => "sign-gate",
        }
    }
}

/// Which rollouts of a group are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Resample {
    /// All of them.
    #[default]
    None,
    /// Half of those above the group's mean, the fewest failed attempts first, and half of the others, drawn by --seed;
    /// the rest are rejects.
    OnCorrect,
}

/// Whether tokens have advantages of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum TokenAdvantages {
    /// No: the rollout's holds for all of them.
    #[default]
    None,
    /// Tokens of failed attempts get minus the absolute advantage (column `token_advantages`).
    SignGate,
}

/// What rewards are made into, for the trainer.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Rewards and advantages"))]
#[serde(deny_unknown_fields, default)]
pub struct RewardConfig {
    /// Bundle of options for one treatment of failed attempts; an option that contradicts it is an error
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_RECIPE", value_enum))]
    pub recipe: Option<Recipe>,
    /// Take this from a reward for each failed attempt, at most three times, before advantages are computed; a reward
    /// above zero stays at zero or above
    #[default(NonNegative::of(0.0))]
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_FAILURE_PENALTY", value_name = "X", default_value_t = RewardConfig::default().failure_penalty))]
    pub failure_penalty: NonNegative,
    /// Which rollouts of a group are kept
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_RESAMPLE", value_enum, default_value_t))]
    pub resample: Resample,
    /// Whether to write advantages of single tokens (needs token columns)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_TOKEN_ADVANTAGES", value_enum, default_value_t))]
    pub token_advantages: TokenAdvantages,
}

impl RewardConfig {
    /// Whether the first pass over groups and rewards has to find failed attempts as well.
    pub fn counts_failures(&self) -> bool {
        self.failure_penalty.get() > 0.0 || self.resample == Resample::OnCorrect
    }
}
