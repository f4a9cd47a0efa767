//! `purify revert`: the raw rows of a purified file, byte for byte.
//!
//! Owns the walk over both files side by side. A row comes from the raw file, found by its rollout id in order; a row
//! that was never repaired must be equal in both, else the files don't belong together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use serde::Serialize;

use super::outputs::refuse_ending;
use crate::error::Error;
use crate::ingest::{IngestError, Input, RowOf, RowReader};
use crate::options::{ColumnConfig, DEFAULT_COMPRESSION_LEVEL, TokenColumns};
use crate::record::{RecordReader, RowRecord};
use crate::run::{Run, Task};
use crate::schema::PURIFICATION;
use crate::write::{Encoder, ParquetFile, ParquetForm, WriteError};

/// What was written.
#[derive(Debug, Serialize)]
pub struct RevertReport {
    pub path: PathBuf,
    pub rows: u64,
    /// Rows that had repairs.
    pub restored: u64,
}

/// Writes the raw rows of `purified` to `out`, in its order. Rows that only the raw file has are left out.
pub fn revert(
    purified: &Path,
    raw: &Path,
    out: &Path,
    columns: &ColumnConfig,
    run: &Run<'_>,
) -> Result<RevertReport, Error> {
    refuse_ending(out)?;
    for input in [purified, raw] {
        if out.canonicalize().is_ok_and(|o| input.canonicalize().is_ok_and(|i| i == o)) {
            return Err(WriteError::IsInput { path: out.to_owned() }.into());
        }
    }
    let (after, before) = run.install(|| Ok::<_, Error>((open(purified, columns)?, open(raw, columns)?)))?;
    let mut before = RowReader::new(before);
    if after.columns.purification.is_none() {
        return Err(Error::Mismatch {
            path: purified.to_owned(),
            detail: format!("it has no column `{PURIFICATION}`"),
            hint: "give the file that purify wrote first, the raw one with --raw",
        });
    }
    let has_ids = after.columns.id.is_some() && before.input.columns.id.is_some();
    let form = ParquetForm {
        schema: Arc::clone(&before.input.schema),
        metadata: before.input.metadata.clone(),
        compression_level: DEFAULT_COMPRESSION_LEVEL,
    };
    let (file, encoder) = (ParquetFile::create(out, &form)?, Encoder::new(out, &form)?);
    let mut sink = Sink { file, encoder, batches: Vec::new(), rows: 0 };
    let mut restored = 0;
    run.progress.start(Task::rollouts(purified, 0, 1, after.rows));
    after.each_decoded(run, |(batches, _)| {
        for batch in batches.into_iter().map(Arc::new) {
            let failed = |source| IngestError::Rows { path: purified.to_owned(), row: batch.number(0), source };
            let records = batch.records().map_err(failed)?;
            for row in 0..batch.rows() {
                let wanted = RowOf { batch: Arc::clone(&batch), row };
                let found = find(&mut before, &wanted, has_ids, raw)?;
                let is_changed = is_changed(records.as_ref(), row)
                    .map_err(|detail| bad_record(purified, wanted.number(), &detail))?;
                restored += u64::from(is_changed);
                if !is_changed && !same_messages(&wanted, &found) {
                    return Err(differs(raw, found.number()));
                }
                sink.push(&found)?;
            }
            run.progress.advance(batch.rows() as u64);
        }
        Ok(())
    })?;
    run.progress.finish();
    let record = sink.finish()?;
    Ok(RevertReport { path: out.to_owned(), rows: record.rows, restored })
}

/// Whether a row differs from the raw one, as its record says.
fn is_changed(records: Option<&RecordReader>, row: usize) -> Result<bool, String> {
    let record = records.map(|records| records.row(row)).transpose().map_err(|error| error.to_string())?;
    Ok(record.flatten().is_some_and(|record| record.is_changed()))
}

fn differs(raw: &Path, row: u64) -> Error {
    Error::Mismatch {
        path: raw.to_owned(),
        detail: format!("row {row} differs from the purified file, where it was never repaired"),
        hint: "give the file that was purified, unchanged",
    }
}

fn bad_record(path: &Path, row: u64, detail: &str) -> Error {
    Error::Mismatch {
        path: path.to_owned(),
        detail: format!("the record of row {row} can't be read: {detail}"),
        hint: "give the file as purify wrote it",
    }
}

fn open(path: &Path, columns: &ColumnConfig) -> Result<Input, Error> {
    // Tokens are copied with their rows and never looked into.
    let columns = ColumnConfig { tokens: TokenColumns::Drop, ..columns.clone() };
    Ok(Input::open(path, &columns)?)
}

/// The raw row that a purified one was: the next one of its name, else the next one.
fn find(before: &mut RowReader, wanted: &RowOf, has_ids: bool, raw: &Path) -> Result<RowOf, Error> {
    let id = has_ids.then(|| wanted.batch.id(wanted.row));
    while let Some(candidate) = before.next_row()? {
        if id.as_ref().is_none_or(|id| candidate.batch.id(candidate.row) == *id) {
            return Ok(candidate);
        }
    }
    Err(Error::Mismatch {
        path: raw.to_owned(),
        detail: format!("row {} of the purified file is not in it, or not in the same order", wanted.number()),
        hint: "give the file that was purified, unsorted",
    })
}

fn same_messages(a: &RowOf, b: &RowOf) -> bool {
    let slice = |row: &RowOf| {
        let list = &row.batch.messages.list;
        list.range(row.row).map(|range| list.values.slice(range.start, range.len()).to_data())
    };
    slice(a) == slice(b)
}

/// Collects rows into row groups.
struct Sink {
    file: ParquetFile,
    encoder: Encoder,
    batches: Vec<RecordBatch>,
    rows: usize,
}

/// Rows of a row group of a reverted file.
const GROUP_ROWS: usize = 4096;

impl Sink {
    fn push(&mut self, row: &RowOf) -> Result<(), Error> {
        let index = UInt32Array::from(vec![row.row as u32]);
        let one = take_record_batch(&row.batch.batch, &index).map_err(|e| self.failed(e))?;
        self.batches.push(one);
        self.rows += 1;
        if self.rows >= GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if !self.batches.is_empty() {
            let all = concat_batches(self.encoder.schema(), &self.batches).map_err(|e| self.failed(e))?;
            self.file.append(self.encoder.encode(&[all])?)?;
        }
        self.batches.clear();
        self.rows = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<crate::write::FileRecord, Error> {
        self.flush()?;
        Ok(self.file.finish()?)
    }

    fn failed(&self, source: arrow::error::ArrowError) -> Error {
        WriteError::Columns { path: self.file.path().to_owned(), source }.into()
    }
}

/// A rollout as text, one entry per message.
pub struct Rendered {
    pub id: String,
    /// Its row says its id; else it is made of the file's name and the row's number.
    pub is_named: bool,
    pub messages: Vec<String>,
    row: RowOf,
}

impl Rendered {
    /// What was done to it; a row without a record was left as it is.
    ///
    /// # Errors
    /// What is wrong with the column `purification`, in words; or that there is none.
    pub fn record(&self) -> Result<RowRecord, String> {
        let records = self.row.batch.records().map_err(|error| error.to_string())?;
        let records = records.ok_or_else(|| format!("it has no column `{PURIFICATION}`"))?;
        let record = records.row(self.row.row).map_err(|error| format!("row {}: {error}", self.row.number()))?;
        Ok(record.unwrap_or_default())
    }
}

/// The rollouts of one file of a comparison, as text.
pub struct RenderedReader(RowReader);

impl RenderedReader {
    pub fn open(path: &Path, columns: &ColumnConfig) -> Result<Self, Error> {
        Ok(RenderedReader(RowReader::new(open(path, columns)?)))
    }

    /// The next rollout that can be read.
    pub fn next_rollout(&mut self) -> Result<Option<Rendered>, Error> {
        while let Some(row) = self.0.next_row()? {
            let Ok(rollout) = row.batch.rollout(row.row) else { continue };
            let messages = rollout.messages.iter().map(render).collect();
            let is_named = matches!(rollout.id, std::borrow::Cow::Borrowed(_));
            let id = rollout.id.to_string();
            return Ok(Some(Rendered { id, is_named, messages, row }));
        }
        Ok(None)
    }
}

/// A message as text for people: role, reasoning, content, calls.
pub fn render(message: &crate::rollout::Message<'_>) -> String {
    use std::fmt::Write;
    let mut out = format!(
        "[{}]\n",
        match message.role {
            crate::rollout::Role::System => "system",
            crate::rollout::Role::User => "user",
            crate::rollout::Role::Assistant => "assistant",
            crate::rollout::Role::Tool => "tool",
        }
    );
    if let Some(text) = message.reasoning.filter(|t| !t.is_empty()) {
        let _ = writeln!(out, "(reasoning) {text}");
    }
    if let Some(text) = message.content.filter(|t| !t.is_empty()) {
        let _ = writeln!(out, "{text}");
    }
    for call in &message.calls {
        // Arguments are shown with their line breaks, which JSON writes as two characters.
        let _ = writeln!(out, "call {}({})", call.name, call.arguments.replace("\\n", "\n    "));
    }
    out
}
