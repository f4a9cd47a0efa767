//! Options of the decision on a failure run: what counts as a correction, and what may be lost.

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

#[cfg(feature = "cli")]
use super::numbers::boolish;

/// Which later calls correct a failed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Corrections {
    /// The same thing again, now right.
    #[default]
    Retry,
    /// Another way to the same end as well.
    Workaround,
    /// Whatever did its job after the failure: the paper's rule.
    Any,
}

/// What to do with a repair that would lose something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum OnLoss {
    /// Not looked for.
    Keep,
    /// Written into the column and counted.
    Flag,
    /// The repair is not made.
    #[default]
    Skip,
}

/// In which rollouts repairs are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum RepairWhere {
    /// Where the rollout did better than its group; where groups and rewards don't tell, everywhere.
    #[default]
    Positive,
    /// In all rollouts.
    All,
}

/// What of a failed attempt is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum RepairUnit {
    /// The calls that failed; those beside them that did their job stay, with their results.
    #[default]
    Call,
    /// The whole step.
    Step,
}

/// Which failure runs are repaired.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Corrections"))]
#[serde(deny_unknown_fields, default)]
pub struct DecideConfig {
    /// Which later calls count as the correction of a failed one
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_CORRECTIONS", value_enum, default_value_t))]
    pub corrections: Corrections,
    /// What to do with a repair whose failed calls have changed something
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ON_SIDE_EFFECTS", value_enum, default_value_t))]
    pub on_side_effects: OnLoss,
    /// What to do with a repair whose failure later text relies on
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ON_CITED", value_enum, default_value_t))]
    pub on_cited: OnLoss,
    /// Maximum number of steps between a failure and its retry; they stay
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MAX_DETOUR", value_name = "N", default_value_t = 0))]
    pub max_detour: u32,
    /// More tools that end, hand in, plan or think, and so correct nothing
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ENDING_TOOLS", value_name = "NAME", value_delimiter = ','))]
    pub ending_tools: Vec<String>,
    /// Which rollouts are repaired (needs groups and rewards; advantages are from before any edit)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_REPAIR_WHERE", value_enum, default_value_t))]
    pub repair_where: RepairWhere,
    /// What is replaced of an attempt with several calls
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_REPAIR_UNIT", value_enum, default_value_t))]
    pub repair_unit: RepairUnit,
    /// Write the column `advantage`: each reward relative to its group, before any edit (where there are groups and rewards)
    #[default(true)]
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "PURIFY_ADVANTAGE_COLUMN", value_name = "BOOL", default_value = "true", value_parser = boolish(), num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)
    )]
    pub advantage_column: bool,
}

impl DecideConfig {
    /// Whether anything is asked about a correction: the paper takes whatever did its job.
    pub fn judges(&self) -> bool {
        self.corrections != Corrections::Any
            || self.on_side_effects != OnLoss::Keep
            || self.on_cited != OnLoss::Keep
            || self.max_detour > 0
    }

    /// Whether the baselines of groups are needed.
    pub fn needs_advantages(&self) -> bool {
        self.repair_where == RepairWhere::Positive || self.advantage_column
    }

    /// The paper's rule: whatever did its job directly after a failure is its correction, in all rollouts.
    pub fn of_the_paper() -> Self {
        DecideConfig {
            corrections: Corrections::Any,
            on_side_effects: OnLoss::Keep,
            on_cited: OnLoss::Keep,
            repair_where: RepairWhere::All,
            repair_unit: RepairUnit::Step,
            advantage_column: false,
            ..DecideConfig::default()
        }
    }
}
