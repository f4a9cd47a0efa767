//! Options of the guards: what becomes of a repair that leaves traces, or takes away what is needed later.

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// Tools that run Python and are known to keep names from call to call. One that forgets them does no harm: a call that
/// ran there defines all that it uses.
pub const DEFAULT_STATEFUL_TOOLS: &str = "python,ipython,jupyter,notebook,code_interpreter,python_interpreter,execute_python,run_python,execute_ipython_cell";

/// What to do with a repair that leaves text about the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum OnResidue {
    /// Not looked for.
    Keep,
    /// Written into the column and counted.
    #[default]
    Flag,
    /// As flag; a deep repair whose residue is all in its newer reasoning becomes shallow.
    Shallow,
    /// The rollout is rejected.
    Drop,
}

/// What to do with a repair that removes a definition which is used later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum OnDependency {
    /// Not looked for.
    Keep,
    /// Written into the column and counted.
    #[default]
    Flag,
    /// The repair is not made.
    Skip,
}

/// What is looked for in a repaired rollout, and what follows from it.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Guards"))]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// What to do with a repair that leaves text about the removed error
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ON_RESIDUE", value_enum, default_value_t))]
    pub on_residue: OnResidue,
    /// What to do with a repair that removes a name which later Python code uses
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ON_DEPENDENCY", value_enum, default_value_t))]
    pub on_dependency: OnDependency,
    #[default(DEFAULT_STATEFUL_TOOLS.split(',').map(str::to_owned).collect())]
    /// Tools whose Python keeps its names from call to call
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_STATEFUL_TOOLS", value_name = "NAME", value_delimiter = ',', default_value = DEFAULT_STATEFUL_TOOLS))]
    pub stateful_tools: Vec<String>,
}
