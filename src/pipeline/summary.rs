//! What a run did, for people and for the next step of a DAG.
//!
//! Owns the summary and the full report (`--report`). What is printed of it is the command line's.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::export::ExportSummary;
use super::manifest::InputRecord;
use super::records::to_text;
use super::trace::PartTrace;
use crate::error::Error;
use crate::group::BaselineTally;
use crate::options::Options;
use crate::purifier::counts::StageCounts;
use crate::purifier::warning::Warning;
use crate::write::write_text;

/// What a run did, for people and for the next step of a DAG.
#[derive(Debug)]
pub struct Summary {
    pub counts: StageCounts,
    pub inputs: Vec<InputRecord>,
    /// Files written, in full.
    pub written: Vec<PathBuf>,
    /// Parts that an earlier, interrupted run had finished.
    pub resumed: usize,
    pub seconds: f64,
    pub threads: usize,
    pub gate_failures: Vec<String>,
    /// Gates over what is not known here.
    pub gates_undecided: Vec<String>,
    /// What `--to` has made of it.
    pub exported: Option<ExportSummary>,
    /// Where the columns of each part come from, in the order of `inputs`.
    pub traces: Vec<PartTrace>,
    /// How much of the input has a baseline; `None`: nothing asked for it.
    pub groups: Option<BaselineTally>,
    /// All that the run would otherwise pass by.
    pub warnings: Vec<Warning>,
}

impl Summary {
    /// The counters, the rates and the files as one JSON object.
    pub fn to_json(&self) -> Value {
        let mut out = self.counts.to_json();
        out.insert("outputs".to_owned(), json!(self.written.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>()));
        out.insert("warnings".to_owned(), json!(warning_names(&self.warnings)));
        if let Some(groups) = &self.groups {
            out.insert("groups".to_owned(), json!(groups));
        }
        out.insert("gate_failures".to_owned(), json!(self.gate_failures));
        out.insert("gates_undecided".to_owned(), json!(self.gates_undecided));
        if let Some(exported) = &self.exported {
            out.insert("exported".to_owned(), json!(exported));
        }
        Value::Object(out)
    }
}

/// The stable names of warnings, as the manifest and the JSON summary list them.
pub fn warning_names(warnings: &[Warning]) -> Vec<&'static str> {
    warnings.iter().map(|warning| warning.name()).collect()
}

/// Writes the full report: settings, inputs, counters, and what the manifest leaves out because it changes from run
/// to run: times and the host.
pub fn write_report(path: &Path, settings: &Options, summary: &Summary) -> Result<(), Error> {
    let report = json!({
        "tool": "purify",
        "tool_version": env!("CARGO_PKG_VERSION"),
        "settings": settings,
        "inputs": summary.inputs,
        "counts": Value::Object(summary.counts.to_json()),
        "outputs": summary.written.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>(),
        "gate_failures": summary.gate_failures,
        "resumed_parts": summary.resumed,
        "host": {
            "seconds": summary.seconds,
            "threads": summary.threads,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        },
    });
    write_text(path, &to_text(&report)?)?;
    Ok(())
}
