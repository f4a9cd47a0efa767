//! Options of lineage events.

use clap::Args;
use serde::Serialize;

pub const DEFAULT_JOB: &str = "purify";

/// Where a run is reported, and under which name.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Lineage")]
pub struct LineageConfig {
    /// Report the run as OpenLineage events: appended to a file, or posted (http, https; a host alone means /api/v1/lineage)
    #[arg(long, value_name = "FILE|URL", env = "PURIFY_OPENLINEAGE")]
    pub openlineage: Option<String>,
    /// Name of the job in lineage events
    #[arg(long, value_name = "NAME", default_value = DEFAULT_JOB, env = "PURIFY_JOB_NAME")]
    pub job_name: String,
    /// Namespace of the job in lineage events
    #[arg(long, value_name = "NAME", default_value = DEFAULT_JOB, env = "PURIFY_JOB_NAMESPACE")]
    pub job_namespace: String,
}
