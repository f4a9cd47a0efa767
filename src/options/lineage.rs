//! Options of lineage events.

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

pub const DEFAULT_JOB: &str = "purify";

/// Where a run is reported, and under which name.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Lineage"))]
#[serde(deny_unknown_fields, default)]
pub struct LineageConfig {
    /// Report the run as OpenLineage events: appended to a file, or posted (http, https; a host alone means /api/v1/lineage)
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE|URL", env = "PURIFY_OPENLINEAGE"))]
    pub openlineage: Option<String>,
    #[default(DEFAULT_JOB.to_owned())]
    /// Name of the job in lineage events
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", default_value = DEFAULT_JOB, env = "PURIFY_JOB_NAME"))]
    pub job_name: String,
    #[default(DEFAULT_JOB.to_owned())]
    /// Namespace of the job in lineage events
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", default_value = DEFAULT_JOB, env = "PURIFY_JOB_NAMESPACE"))]
    pub job_namespace: String,
}
