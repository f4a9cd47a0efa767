//! One file of an export from all its sources.
//!
//! Owns the threads: as many chunks as there are threads are turned into rows side by side, and appended in their order.

use std::path::Path;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use rayon::prelude::*;

use super::sources::{Source, Sources};
use super::{ExportCounts, Reading};
use crate::batch::sample::{PreferenceReader, SampleReader};
use crate::batch::{Decoded, RowError};
use crate::error::Error;
use crate::export::{Cells, Container, ExportError, MadeOf, Target};
use crate::ingest::{Chunk, Input, Shape, decode_chunk};
use crate::options::ExportConfig;

use crate::steps::{Outcome, Trajectory};
use crate::verdict::ErrorDetector;
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
    config: &'w ExportConfig,
    reading: &'w Reading<'w>,
    detector: &'w ErrorDetector,
    root: &'w Path,
    pool: rayon::ThreadPool,
}

/// What came of a file.
pub(super) struct Done {
    pub counts: ExportCounts,
    pub record: FileRecord,
    pub rejects: Vec<Reject>,
}

/// Where rows go.
enum Sink {
    Parquet(Box<ParquetFile>, Box<Encoder>),
    Lines(Box<LinesFile>),
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

impl<'w> Writer<'w> {
    pub(super) fn new(
        config: &'w ExportConfig,
        reading: &'w Reading<'w>,
        detector: &'w ErrorDetector,
        root: &'w Path,
    ) -> Result<Self, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads)
            .build()
            .map_err(|error| Error::usage(format!("{} threads can't be started: {error}", config.threads), None))?;
        Ok(Writer { config, reading, detector, root, pool })
    }

    fn form(&self, schema: arrow::datatypes::SchemaRef) -> ParquetForm {
        ParquetForm { schema, metadata: Vec::new(), compression_level: self.config.compression_level }
    }

    /// Writes the file from the sources that it is made of.
    pub(super) fn write(&self, content: Content, path: &Path, sources: &Sources) -> Result<Done, Error> {
        let mut sink = match content {
            Content::Rows(target) if target.profile.container == Container::Lines => {
                Sink::Lines(Box::new(LinesFile::create(path)?))
            }
            content => {
                let form = self.form(match content {
                    Content::Rows(target) => rows::schema(&target.columns()),
                    Content::Repairs => rows::repairs_schema(),
                });
                let encoder = Encoder::new(path, &form)?;
                Sink::Parquet(Box::new(ParquetFile::create(path, &form)?), Box::new(encoder))
            }
        };
        let (mut counts, mut rejects) = (ExportCounts::default(), Vec::new());
        let made_of = match content {
            Content::Rows(target) => target.profile.made_of,
            Content::Repairs => MadeOf::Rollouts,
        };
        let all: Vec<&Source> = match made_of {
            MadeOf::Pairs => sources.pairs.iter().collect(),
            MadeOf::PairsAndFailures => sources.pairs.iter().chain(&sources.rollouts).collect(),
            MadeOf::Rollouts => sources.rollouts.iter().collect(),
        };
        for (k, source) in all.iter().enumerate() {
            let input = Input::open_any(&source.path, self.reading.columns)?;
            self.reading.progress.start(k, all.len(), &source.path, input.rows);
            self.add(content, input, &mut sink, &mut counts, &mut rejects)?;
        }
        self.reading.progress.finish();
        let mut record = match sink {
            Sink::Parquet(file, _) => file.finish()?,
            Sink::Lines(file) => file.finish()?,
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

    /// Appends what one source gives.
    fn add(
        &self,
        content: Content,
        mut input: Input,
        sink: &mut Sink,
        counts: &mut ExportCounts,
        rejects: &mut Vec<Reject>,
    ) -> Result<(), Error> {
        let shape = input.shape();
        let mut next = 0;
        loop {
            let signal = self.reading.interrupted.load(Ordering::Relaxed);
            if signal != 0 {
                return Err(Error::Interrupted { signal: signal as u8 });
            }
            let mut chunks = Vec::new();
            while chunks.len() < self.pool.current_num_threads() {
                let Some(chunk) = input.next_chunk(next)? else { break };
                chunks.push(chunk);
                next += 1;
            }
            if chunks.is_empty() {
                return Ok(());
            }
            let encoder = match &*sink {
                Sink::Parquet(_, encoder) => Some(encoder.as_ref()),
                Sink::Lines(_) => None,
            };
            let parts: Vec<Result<Part, Error>> =
                self.pool.install(|| chunks.into_par_iter().map(|c| self.part(content, c, &shape, encoder)).collect());
            for part in parts {
                let part = part?;
                self.reading.progress.advance(part.counts.rollouts_in + part.counts.pairs_in);
                counts.add(&part.counts);
                rejects.extend(part.rejects);
                match (&mut *sink, part.rows) {
                    (Sink::Parquet(file, _), PartRows::Encoded(rows)) => file.append(rows)?,
                    (Sink::Lines(file), PartRows::Lines(rows)) => file.append(&rows)?,
                    _ => {}
                }
            }
        }
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
                Content::Rows(target) => self.add_rows(target, batch, shape, &mut out).map_err(columns_error)?,
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

    fn add_rows(
        &self,
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
                    self.of_rollout(target, batch, samples, row)
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

    fn of_rollout(
        &self,
        target: Target,
        batch: &Decoded,
        samples: &SampleReader<'_>,
        row: usize,
    ) -> Result<Vec<Cells>, Refusal> {
        let sample = samples.row(row)?;
        // Tokens are used as they are; all other profiles are made of messages, which must be sound.
        let mut failed = Vec::new();
        if target.reads_messages() && sample.messages.is_some() {
            let rollout = batch.rollout(row)?;
            if target.reads_failures() {
                let trajectory = Trajectory::new(&rollout, self.detector);
                let steps = trajectory.steps.iter();
                failed.extend(steps.filter(|s| s.attempt == Some(Outcome::Failed)).map(|s| s.message));
            }
        }
        Ok(target.of_rollout(&sample, &failed)?)
    }
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
        self.rollouts_in += other.rollouts_in;
        self.pairs_in += other.pairs_in;
        self.rows_rejected += other.rows_rejected;
        for (reason, count) in &other.rejects {
            *self.rejects.entry(reason.clone()).or_default() += count;
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
