//! Options of the decision on a failure run: what counts as a correction, and what may be lost.

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

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
    /// Whatever did its job behind the failure: the paper's rule.
    Any,
}

/// What becomes of a repair that would lose something.
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

/// Which failure runs are repaired.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Corrections"))]
#[serde(deny_unknown_fields, default)]
pub struct DecideConfig {
    /// Which later calls count as the correction of a failed one
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_CORRECTIONS", value_enum, default_value_t))]
    pub corrections: Corrections,
    /// What becomes of a repair whose failed calls have changed something
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ON_SIDE_EFFECTS", value_enum, default_value_t))]
    pub on_side_effects: OnLoss,
    /// What becomes of a repair whose failure later text relies on
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ON_CITED", value_enum, default_value_t))]
    pub on_cited: OnLoss,
    /// Steps that did their job and may stand between a failure and its retry; they stay
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MAX_DETOUR", value_name = "N", default_value_t = 0))]
    pub max_detour: u32,
    /// Tools that end, hand in, plan or think, besides those known: they correct nothing
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ENDING_TOOLS", value_name = "NAME", value_delimiter = ','))]
    pub ending_tools: Vec<String>,
}
