//! The manifest: what went into a run, what came out, under which settings.
//!
//! Owns what it says. When it is written is the run's; how it is found again, [`super::records`]'.

use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::purifier::counts::StageCounts;
use crate::write::FileRecord;

/// Version of the manifest's form.
pub const MANIFEST_VERSION: u32 = 1;

/// One input as the manifest names it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct InputRecord {
    pub file: String,
    pub format: String,
    pub bytes: u64,
    pub rows: u64,
    pub blake3: String,
}

/// The record of a run: the same input and settings give the same bytes.
#[derive(Debug, Serialize)]
pub struct RunManifest<'s> {
    pub manifest_version: u32,
    pub tool: &'static str,
    pub tool_version: &'static str,
    pub settings: &'s Options,
    pub inputs: Vec<InputRecord>,
    pub outputs: Vec<FileRecord>,
    pub counts: StageCounts,
    /// Names of what the run warned of.
    pub warnings: Vec<&'static str>,
}
