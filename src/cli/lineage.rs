//! Lineage of a run, told at its start and at its end: the clock, the files, and who hears of it.
//!
//! Owns when events are sent. Their form is [`crate::audit::lineage`]'s, their way [`crate::pipeline::emit`]'s. A receiver that is
//! away is not a reason to lose a run's work: that is a warning; a file that can't be written is an error.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::printer::{Printer, escaped};
use crate::audit::lineage::{ColumnOrigin, Dataset, End, Field, Run, Transformation, end_event, run_id, start_event};
use crate::error::Error;
use crate::ingest::expand;
use crate::options::LineageConfig;
use crate::pipeline::emit::{emit, is_url};
use crate::pipeline::outputs::place;
use crate::pipeline::trace::{Origin, PartTrace, TracedColumn};
use crate::pipeline::{InputRecord, Summary};
use crate::run::RunError;

const REPAIRED: &str = "failed attempts are replaced by the correction that the model found itself";
const RECORD: &str = "what was done to the row";

/// A run that somebody wants to hear of.
pub(super) struct Told<'c> {
    target: &'c str,
    run: Run,
    printer: &'c Printer,
}

/// What a finished run has read and written.
#[derive(Default)]
pub(super) struct Done {
    pub inputs: Vec<Dataset>,
    pub outputs: Vec<Dataset>,
    pub counts: Map<String, Value>,
}

impl<'c> Told<'c> {
    /// Tells that a run begins; `None` where nobody wants to know.
    pub(super) fn start(
        config: &'c LineageConfig,
        inputs: &[PathBuf],
        settings: &impl Serialize,
        printer: &'c Printer,
    ) -> Result<Option<Self>, Error> {
        let Some(target) = config.openlineage.as_deref() else { return Ok(None) };
        let started = now();
        let files = expand(inputs)?;
        let text = json!([files, settings]).to_string();
        let run = Run {
            job_name: config.job_name.clone(),
            job_namespace: config.job_namespace.clone(),
            run_id: run_id(started, &text),
            started,
            inputs: files.iter().map(|path| file(path)).collect(),
            outputs: Vec::new(),
        };
        let told = Told { target, run, printer };
        told.send(&start_event(&told.run))?;
        Ok(Some(told))
    }

    /// Tells how it has ended, and hands the outcome on.
    pub(super) fn end<T>(mut self, outcome: Result<T, Error>, done: impl FnOnce(&T) -> Done) -> Result<T, Error> {
        let ended = now();
        let end = match &outcome {
            Ok(found) => {
                let done = done(found);
                (self.run.inputs, self.run.outputs) = (done.inputs, done.outputs);
                End::Complete { ended, counts: done.counts }
            }
            Err(Error::Run(RunError::Interrupted { .. })) => End::Abort { ended },
            Err(error) => End::Fail { ended, message: error.to_string() },
        };
        let sent = self.send(&end_event(&self.run, &end));
        // A run's own error says more than that nobody could be told of it.
        outcome.and_then(|found| sent.map(|()| found))
    }

    fn send(&self, event: &Value) -> Result<(), Error> {
        match emit(self.target, std::slice::from_ref(event)) {
            Err(error @ Error::Emit { .. }) if is_url(self.target) => {
                self.printer.warning(&escaped(&error.to_string()));
                Ok(())
            }
            sent => sent,
        }
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or_default())
}

fn full(path: &Path) -> String {
    place(path).to_string_lossy().into_owned()
}

/// A file of which no more is known than its name.
pub(super) fn file(path: &Path) -> Dataset {
    let format = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    Dataset { path: full(path), format, ..Dataset::default() }
}

/// What the main job has read and written.
pub(super) fn of_run(summary: &Summary) -> Done {
    let inputs = summary.traces.iter().zip(&summary.inputs).map(|(trace, record)| input(trace, record)).collect();
    let mut outputs: Vec<Dataset> = summary.traces.iter().flat_map(written).collect();
    let known: Vec<String> = outputs.iter().map(|output| output.path.clone()).collect();
    outputs.extend(summary.written.iter().map(|path| file(path)).filter(|output| !known.contains(&output.path)));
    let mut counts = summary.counts.to_json();
    counts.insert("gate_failures".to_owned(), json!(summary.gate_failures.len()));
    Done { inputs, outputs, counts }
}

fn input(trace: &PartTrace, record: &InputRecord) -> Dataset {
    let field = |(name, data_type): &(String, String)| Field { name: name.clone(), data_type: data_type.clone() };
    Dataset {
        path: full(&trace.input),
        format: record.format.clone(),
        rows: Some(record.rows),
        bytes: Some(record.bytes),
        blake3: Some(record.blake3.clone()),
        fields: trace.columns_in.iter().map(field).collect(),
        origins: Vec::new(),
    }
}

fn written(trace: &PartTrace) -> Vec<Dataset> {
    let described = |column: &TracedColumn| Field { name: column.name.clone(), data_type: column.data_type.clone() };
    let mut fields: Vec<Field> = trace.columns_out.iter().map(described).collect();
    let mut origins = origins(trace);
    let written = trace.files.iter().map(|record| Dataset {
        rows: Some(record.rows),
        bytes: Some(record.bytes),
        blake3: Some(record.blake3.clone()),
        // They are the first file's.
        fields: std::mem::take(&mut fields),
        origins: std::mem::take(&mut origins),
        ..file(&trace.root.join(&record.file))
    });
    written.collect()
}

/// Where the purified columns come from; of a form without columns of these names nothing is said.
fn origins(trace: &PartTrace) -> Vec<ColumnOrigin> {
    if trace.columns_in.is_empty() {
        return Vec::new();
    }
    let from = |name: &str| (full(&trace.input), name.to_owned());
    let repaired: Vec<&str> =
        trace.columns_out.iter().filter(|c| c.origin == Origin::Repaired).map(|c| c.name.as_str()).collect();
    let origin = |column: &TracedColumn| {
        let (inputs, transformation) = match column.origin {
            Origin::Kept => (vec![from(&column.name)], Transformation::Identity),
            Origin::Repaired => (vec![from(&column.name)], Transformation::Changed(REPAIRED.to_owned())),
            Origin::Record => {
                (repaired.iter().map(|name| from(name)).collect(), Transformation::Derived(RECORD.to_owned()))
            }
        };
        ColumnOrigin { column: column.name.clone(), inputs, transformation }
    };
    trace.columns_out.iter().map(origin).collect()
}
