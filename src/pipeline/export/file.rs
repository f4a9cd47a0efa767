//! One file of an export from all its sources.
//!
//! Owns what a chunk gives to a file. Chunks are turned into rows side by side, and appended in their order.

use std::path::Path;

use arrow::array::RecordBatch;

use super::counts::ExportCounts;
use super::sources::{Source, Sources};
use crate::batch::sample::{PreferenceReader, SampleReader};
use crate::batch::{Decoded, RowError};
use crate::error::Error;
use crate::export::{Cells, Container, ExportError, MadeOf, Target};
use crate::ingest::{Chunk, Shape, decode_chunk};
use crate::options::ExportConfig;
use crate::purifier::counts::add_all;
use crate::run::{Run, RunError, Task};
use crate::write::export::{self as rows, LinesFile, Reject};
use crate::write::{EncodedRows, Encoder, FileRecord, ParquetFile, ParquetForm, WriteError};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Rows(Target),
    /// The table of repairs.
    Repairs,
}

/// Writes files under the settings of one export.
pub(super) struct Writer<'w> {
    pub(super) config: &'w ExportConfig,
    pub(super) root: &'w Path,
    pub(super) run: &'w Run<'w>,
}

/// What came of a file.
pub(super) struct Done {
    pub counts: ExportCounts,
    pub record: FileRecord,
    pub rejects: Vec<Reject>,
}

/// A file that is written.
enum OutFile {
    Parquet(Box<ParquetFile>),
    Lines(Box<LinesFile>),
}

impl OutFile {
    fn append(&mut self, rows: PartRows) -> Result<(), Error> {
        match (self, rows) {
            (OutFile::Parquet(file), PartRows::Encoded(rows)) => Ok(file.append(rows)?),
            (OutFile::Lines(file), PartRows::Lines(rows)) => Ok(file.append(&rows)?),
            (OutFile::Parquet(_), PartRows::Lines(_)) | (OutFile::Lines(_), PartRows::Encoded(_)) => {
                Err(bug("the rows of an export are not of its file's kind"))
            }
        }
    }
}

fn bug(detail: &str) -> Error {
    RunError::Bug { place: "export".to_owned(), detail: detail.to_owned() }.into()
}

/// A chunk's share of a file.
struct Part {
    rows: PartRows,
    counts: ExportCounts,
    rejects: Vec<Reject>,
}

enum PartRows {
    Encoded(EncodedRows),
    Lines(Vec<Cells>),
}

/// Why a row of a chunk is left out.
enum Refusal {
    Row(RowError),
    Export(ExportError),
}

impl From<RowError> for Refusal {
    fn from(error: RowError) -> Self {
        Refusal::Row(error)
    }
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Self {
        Refusal::Export(error)
    }
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Refusal::Row(error) => error.code(),
            Refusal::Export(error) => error.code(),
        }
    }

    fn text(&self) -> String {
        match self {
            Refusal::Row(error) => error.to_string(),
            Refusal::Export(error) => error.to_string(),
        }
    }
}

impl Writer<'_> {
    fn form(&self, schema: arrow::datatypes::SchemaRef) -> ParquetForm {
        ParquetForm { schema, metadata: Vec::new(), compression_level: self.config.compression_level }
    }

    /// Writes the file from the sources that it is made of.
    pub(super) fn write(&self, content: Content, path: &Path, sources: &Sources) -> Result<Done, Error> {
        let (mut file, encoder) = match content {
            Content::Rows(target) if target.profile.container == Container::Lines => {
                (OutFile::Lines(Box::new(LinesFile::create(path)?)), None)
            }
            content => {
                let form = self.form(match content {
                    Content::Rows(target) => rows::schema(&target.columns()),
                    Content::Repairs => rows::repairs_schema(),
                });
                let encoder = Encoder::new(path, &form)?;
                (OutFile::Parquet(Box::new(ParquetFile::create(path, &form)?)), Some(encoder))
            }
        };
        let (mut counts, mut rejects) = (ExportCounts::default(), Vec::new());
        let made_of = match content {
            Content::Rows(target) => target.profile.made_of,
            Content::Repairs => MadeOf::Rollouts,
        };
        let all: Vec<&Source> = match made_of {
            MadeOf::Pairs => sources.pairs.iter().collect(),
            MadeOf::Rollouts => sources.rollouts.iter().collect(),
        };
        for (k, source) in all.iter().enumerate() {
            let input = source.input.open()?;
            self.run.progress.start(Task::rollouts(&source.path, k, all.len(), input.rows));
            let work = |chunk: Chunk, shape: &Shape| self.part(content, chunk, shape, encoder.as_ref());
            input.each_chunk(self.run, work, |part| {
                self.run.progress.advance(part.counts.rollouts_in + part.counts.pairs_in);
                counts.add(&part.counts);
                rejects.extend(part.rejects);
                file.append(part.rows)
            })?;
        }
        self.run.progress.finish();
        let mut record = match file {
            OutFile::Parquet(file) => file.finish()?,
            OutFile::Lines(file) => file.finish()?,
        };
        counts.rows_out = record.rows;
        record.file = path.strip_prefix(self.root).unwrap_or(path).to_string_lossy().into_owned();
        Ok(Done { counts, record, rejects })
    }

    pub(super) fn write_rejects(&self, path: &Path, rejects: &[Reject]) -> Result<FileRecord, Error> {
        let form = self.form(rows::rejects_schema());
        let batch = rows::rejects(&form.schema, rejects)
            .map_err(|source| WriteError::Columns { path: path.to_owned(), source })?;
        let (mut file, encoder) = (ParquetFile::create(path, &form)?, Encoder::new(path, &form)?);
        file.append(encoder.encode(&[batch])?)?;
        Ok(file.finish()?)
    }

    fn part(&self, content: Content, chunk: Chunk, shape: &Shape, encoder: Option<&Encoder>) -> Result<Part, Error> {
        let columns_error = |source| Error::from(WriteError::Columns { path: shape.path.clone(), source });
        let (decoded, bad_lines) = decode_chunk(chunk, shape)?;
        let mut out = PartBuilder { file: file_name(&shape.path), ..PartBuilder::default() };
        let mut batches: Vec<RecordBatch> = Vec::new();
        for batch in &decoded {
            match content {
                Content::Repairs => {
                    out.counts.rollouts_in += batch.rows() as u64;
                    batches.extend(rows::repairs(batch, &rows::repairs_schema()).map_err(columns_error)?);
                }
                Content::Rows(target) => add_rows(target, batch, shape, &mut out).map_err(columns_error)?,
            }
        }
        for line in bad_lines {
            out.counts.rollouts_in += 1;
            out.reject(line.row, &Refusal::Row(line.error), serde_json::Value::from(line.text).to_string());
        }
        if let (Content::Rows(target), Some(encoder)) = (content, encoder)
            && !out.rows.is_empty()
        {
            batches.push(rows::batch(encoder.schema(), &target.columns(), &out.rows).map_err(columns_error)?);
        }
        let rows = match encoder {
            Some(encoder) => PartRows::Encoded(encoder.encode(&batches)?),
            None => PartRows::Lines(out.rows),
        };
        Ok(Part { rows, counts: out.counts, rejects: out.rejects })
    }
}

fn add_rows(
    target: Target,
    batch: &Decoded,
    shape: &Shape,
    out: &mut PartBuilder,
) -> Result<(), arrow::error::ArrowError> {
    let pairs = match shape.columns.preference.filter(|_| shape.columns.messages.is_none()) {
        Some(found) => Some(PreferenceReader::new(batch, found, &shape.columns)?),
        None => None,
    };
    let samples = match pairs {
        Some(_) => None,
        None => Some(SampleReader::new(batch, &shape.columns)?),
    };
    for row in 0..batch.rows() {
        let made = match (&pairs, &samples) {
            (Some(pairs), _) => {
                out.counts.pairs_in += 1;
                of_pair(target, pairs, row)
            }
            (None, Some(samples)) => {
                out.counts.rollouts_in += 1;
                of_rollout(target, batch, samples, row)
            }
            (None, None) => Ok(Vec::new()),
        };
        match made {
            Ok(rows) => out.rows.extend(rows),
            Err(refusal) => out.reject(batch.number(row), &refusal, rows::row_text(&batch.batch, row)?),
        }
    }
    Ok(())
}

fn of_rollout(target: Target, batch: &Decoded, samples: &SampleReader<'_>, row: usize) -> Result<Vec<Cells>, Refusal> {
    let sample = samples.row(row)?;
    // Tokens are used as they are; all other profiles are made of messages, which must be sound.
    if target.reads_messages() && sample.messages.is_some() {
        batch.rollout(row)?;
    }
    Ok(target.of_rollout(&sample)?)
}

fn of_pair(target: Target, pairs: &PreferenceReader<'_>, row: usize) -> Result<Vec<Cells>, Refusal> {
    Ok(target.of_pair(&pairs.row(row)?)?)
}

/// What a chunk gives, row by row.
#[derive(Default)]
struct PartBuilder {
    file: String,
    rows: Vec<Cells>,
    counts: ExportCounts,
    rejects: Vec<Reject>,
}

impl PartBuilder {
    fn reject(&mut self, row: u64, refusal: &Refusal, content: String) {
        let reason = format!("{}: row {row} of `{}`: {}", refusal.code(), self.file, refusal.text());
        self.counts.rows_rejected += 1;
        *self.counts.rejects.entry(refusal.code().to_owned()).or_default() += 1;
        self.rejects.push(Reject { file: self.file.clone(), row, reason, content });
    }
}

impl ExportCounts {
    fn add(&mut self, other: &ExportCounts) {
        let ExportCounts { rollouts_in, pairs_in, rows_out, rows_rejected, rejects } = other;
        self.rollouts_in += rollouts_in;
        self.pairs_in += pairs_in;
        self.rows_out += rows_out;
        self.rows_rejected += rows_rejected;
        add_all(&mut self.rejects, rejects);
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
