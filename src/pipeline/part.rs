//! One input to its outputs: chunks in, row groups out, in order.
//!
//! Owns which files a chunk's rows go to. Chunks are purified and encoded side by side and appended in the order of the input
//! ([`crate::run::Run::in_order`]), so that memory does not grow with the file.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::Purifier;
use super::counts::StageCounts;
use super::judged::Refusal;
use super::outputs::PartPaths;
use crate::error::Error;
use crate::guard::calls::{self, CallFaults, ListedTools};
use crate::ingest::sample::SampleReader;
use crate::ingest::{Chunk, Decoded, Input, RowError, Shape, decode_chunk};
use crate::judge::LogIs;
use crate::options::CompressionLevel;
use crate::record::RecordReader;
use crate::run::{Run, panic_text};
use crate::schema::OutputSchema;
use crate::write::columns::{self, WrittenRow};
use crate::write::{
    EncodedRows, Encoder, FileRecord, ParquetFile, ParquetForm, WriteError, pairs, rejects, remove_stale,
};

/// What became of one input.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct PartResult {
    pub counts: StageCounts,
    pub files: Vec<FileRecord>,
}

/// Purifies one input. Without `paths` nothing is written.
pub fn purify(
    purifier: &Purifier<'_>,
    input: Input,
    paths: Option<&PartPaths>,
    compression_level: CompressionLevel,
    run: &Run<'_>,
) -> Result<PartResult, Error> {
    let shape = input.shape();
    let schema = purifier.output_schema(&shape);
    let form = |schema: &SchemaRef, metadata| ParquetForm { schema: Arc::clone(schema), metadata, compression_level };
    let data = form(&schema.schema, input.metadata.clone());
    let pairs = form(&pairs::schema(&shape.schema, &shape.columns), Vec::new());
    let rejects = form(&rejects::schema(&shape.schema, input.may_have_bad_lines()), Vec::new());
    let (mut files, mut encoders) = (Files::default(), Encoders::default());
    if let Some(paths) = paths {
        files.data = Some(ParquetFile::create(&paths.data, &data)?);
        encoders.data = Some(Encoder::new(&paths.data, &data)?);
        encoders.rejects = Some(Encoder::new(&paths.rejects, &rejects)?);
        if purifier.pairs {
            files.pairs = Some(ParquetFile::create(&paths.pairs, &pairs)?);
            encoders.pairs = Some(Encoder::new(&paths.pairs, &pairs)?);
        }
    }
    let rejects_path = paths.map(|p| (p.rejects.clone(), rejects.clone()));
    let mut writing = Writing { files, rejects: rejects_path, counts: StageCounts::default() };
    let worker =
        Worker { purifier, shape: &shape, schema: &schema, encoders: &encoders, rejects_schema: &rejects.schema, run };
    // Within a chunk nothing is handed to the pool, whose threads are all at work on chunks.
    let work = |chunk: Chunk, _: &Shape| worker.purify(chunk);
    input.each_chunk(run, work, |purified| {
        run.progress.advance(purified.counts.rows_in);
        writing.append(purified)
    })?;
    let files = paths.map(|paths| writing.files.finish(paths)).transpose()?;
    Ok(PartResult { counts: writing.counts, files: files.unwrap_or_default() })
}

#[derive(Default)]
struct Files {
    data: Option<ParquetFile>,
    pairs: Option<ParquetFile>,
    /// Opened with the first reject.
    rejects: Option<ParquetFile>,
}

impl Files {
    fn finish(self, paths: &PartPaths) -> Result<Vec<FileRecord>, Error> {
        let mut records = Vec::new();
        // The data file comes last: where it stands, its companions do.
        for (file, path) in [(self.pairs, &paths.pairs), (self.rejects, &paths.rejects), (self.data, &paths.data)] {
            match file {
                Some(file) => {
                    let name = path.strip_prefix(&paths.root).unwrap_or(path).to_string_lossy().into_owned();
                    records.insert(0, FileRecord { file: name, ..file.finish()? });
                }
                None => remove_stale(path)?,
            }
        }
        Ok(records)
    }
}

#[derive(Default)]
struct Encoders {
    data: Option<Encoder>,
    pairs: Option<Encoder>,
    rejects: Option<Encoder>,
}

struct Writing {
    files: Files,
    /// Where and how rejects are written, once there are any.
    rejects: Option<(PathBuf, ParquetForm)>,
    counts: StageCounts,
}

/// A chunk's share of every output.
struct Purified {
    data: Option<EncodedRows>,
    pairs: Option<EncodedRows>,
    rejects: Option<EncodedRows>,
    counts: StageCounts,
}

impl Writing {
    fn append(&mut self, purified: Purified) -> Result<(), Error> {
        self.counts.add(&purified.counts);
        if let (Some(file), Some(rows)) = (&mut self.files.data, purified.data) {
            file.append(rows)?;
        }
        if let (Some(file), Some(rows)) = (&mut self.files.pairs, purified.pairs) {
            file.append(rows)?;
        }
        if let (Some((path, form)), Some(rows)) = (&self.rejects, purified.rejects) {
            let file = match &mut self.files.rejects {
                Some(file) => file,
                none => none.insert(ParquetFile::create(path, form)?),
            };
            file.append(rows)?;
        }
        Ok(())
    }
}

/// What a chunk gives to every output, before it is encoded.
#[derive(Default)]
struct Batches {
    data: Vec<RecordBatch>,
    pairs: Vec<RecordBatch>,
    rejects: Vec<RecordBatch>,
    /// Numbers of the rejected rows, in the order of `rejects`.
    rejected: Vec<u64>,
}

impl Batches {
    /// Puts lines that never became rows among those that did, in the order of the input.
    fn sort_rejects(&mut self, schema: &SchemaRef) -> Result<(), arrow::error::ArrowError> {
        if !self.rejected.is_sorted() {
            let all = arrow::compute::concat_batches(schema, &self.rejects)?;
            let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
            order.sort_by_key(|&k| self.rejected[k as usize]);
            self.rejects = vec![arrow::compute::take_record_batch(&all, &arrow::array::UInt32Array::from(order))?];
        }
        Ok(())
    }
}

/// What became of one row.
enum RowResult {
    Written(Box<WrittenRow>, Vec<Option<LogIs>>, CallFaults),
    Rejected(RowError),
    /// The run can't go on.
    Stop(Box<Error>),
    Elsewhere,
    /// The program itself failed on it.
    Bug(String),
}

struct Worker<'w> {
    purifier: &'w Purifier<'w>,
    shape: &'w Shape,
    schema: &'w OutputSchema,
    encoders: &'w Encoders,
    rejects_schema: &'w SchemaRef,
    run: &'w Run<'w>,
}

impl Worker<'_> {
    fn purify(&self, chunk: Chunk) -> Result<Purified, Error> {
        let (decoded, bad_lines) = decode_chunk(chunk, self.shape)?;
        let (mut counts, mut batches) = (StageCounts::default(), Batches::default());
        for batch in &decoded {
            self.purify_batch(batch, &mut counts, &mut batches)?;
        }
        if !bad_lines.is_empty() {
            let lines: Vec<(String, String)> = bad_lines
                .into_iter()
                .map(|line| {
                    counts.rows_in += 1;
                    counts.add_reject(line.error.code());
                    batches.rejected.push(line.row);
                    (line.text, self.reason(line.row, &line.error))
                })
                .collect();
            batches.rejects.push(rejects::of_lines(self.rejects_schema, &lines).map_err(|e| self.columns_error(e))?);
        }
        drop(decoded);
        batches.sort_rejects(self.rejects_schema).map_err(|e| self.columns_error(e))?;
        let encode = |encoder: &Option<Encoder>, batches: &[RecordBatch]| {
            let encoder = encoder.as_ref().filter(|_| !batches.is_empty());
            encoder.map(|e| e.encode(batches)).transpose()
        };
        Ok(Purified {
            data: encode(&self.encoders.data, &batches.data)?,
            pairs: encode(&self.encoders.pairs, &batches.pairs)?,
            rejects: encode(&self.encoders.rejects, &batches.rejects)?,
            counts,
        })
    }

    fn purify_batch(&self, batch: &Decoded, counts: &mut StageCounts, out: &mut Batches) -> Result<(), Error> {
        let (mut written, mut rejected) = (Vec::new(), Vec::new());
        let mut listed = ListedTools::default();
        let samples = match self.purifier.judge {
            Some(_) => Some(SampleReader::new(batch, &self.shape.columns).map_err(|e| self.columns_error(e))?),
            None => None,
        };
        let records = batch.records().map_err(|e| self.columns_error(e))?;
        for row in 0..batch.rows() {
            // Chunks are quick, but for those whose rows wait for a model.
            if samples.is_some() {
                self.run.check()?;
            }
            counts.rows_in += 1;
            match self.purify_row(batch, (samples.as_ref(), records.as_ref()), row, &mut listed) {
                RowResult::Written(row, judged, faults) => {
                    counts.add_row(&row.plan, &row.records, row.purified.is_some());
                    counts.guards.add_faults(faults);
                    counts.add_judged(&judged);
                    written.push(*row);
                }
                RowResult::Stop(error) => return Err(*error),
                RowResult::Rejected(error) => {
                    counts.add_reject(error.code());
                    out.rejected.push(batch.number(row));
                    rejected.push((row, self.reason(batch.number(row), &error)));
                }
                RowResult::Elsewhere => counts.rows_elsewhere += 1,
                RowResult::Bug(detail) => {
                    return Err(Error::Bug { rollout: batch.id(row).into_owned(), row: batch.number(row), detail });
                }
            }
        }
        let failed = |error| self.columns_error(error);
        if !rejected.is_empty() {
            out.rejects.push(rejects::of_rows(self.rejects_schema, &batch.batch, &rejected).map_err(failed)?);
        }
        if self.encoders.data.is_some() && !written.is_empty() {
            let labels = &self.purifier.labels;
            out.data
                .push(columns::assemble(batch, &self.shape.columns, self.schema, &written, labels).map_err(failed)?);
        }
        if let Some(encoder) = &self.encoders.pairs
            && let Some(pairs) =
                pairs::assemble(batch, &self.shape.columns, encoder.schema(), &written).map_err(failed)?
        {
            counts.pairs += pairs.num_rows() as u64;
            out.pairs.push(pairs);
        }
        Ok(())
    }

    fn purify_row(
        &self,
        batch: &Decoded,
        (samples, records): (Option<&SampleReader<'_>>, Option<&RecordReader>),
        row: usize,
        listed: &mut ListedTools,
    ) -> RowResult {
        if !self.purifier.is_ours(batch.group(row), &batch.id(row)) {
            return RowResult::Elsewhere;
        }
        let purify = || -> Result<_, Refusal> {
            let rollout = batch.rollout(row)?;
            let earlier = records.map(|records| records.row(row)).transpose().map_err(RowError::from)?.flatten();
            let purified = match (self.purifier.judge, samples) {
                (Some((judge, threshold)), Some(samples)) => {
                    self.purifier.purify_judged(&rollout, &samples.row(row)?, judge, threshold)?
                }
                _ => self.purifier.purify(&rollout)?,
            };
            Ok((purified, earlier, calls::faults(&rollout.messages, listed.of(batch.tools(row)))))
        };
        let purified = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(purify)) {
            Ok(purified) => purified,
            Err(panic) => return RowResult::Bug(panic_text(panic.as_ref())),
        };
        match purified {
            Ok((purified, earlier, faults)) => {
                // Records count messages of the raw rollout, which is not here.
                if earlier.is_some() && !purified.plan.repairs.is_empty() {
                    return RowResult::Rejected(RowError::PurifiedBefore);
                }
                let written = WrittenRow {
                    row,
                    plan: purified.plan,
                    records: purified.records,
                    earlier,
                    purified: purified.rollout,
                    loss: purified.loss,
                };
                RowResult::Written(Box::new(written), purified.judged, faults)
            }
            Err(Refusal::Row(error)) => RowResult::Rejected(error),
            Err(Refusal::Run(error)) => RowResult::Stop(error),
        }
    }

    fn reason(&self, row: u64, error: &RowError) -> String {
        format!(
            "{}: row {row} of `{}`: {error}",
            error.code(),
            self.shape.path.file_name().unwrap_or_default().to_string_lossy()
        )
    }

    fn columns_error(&self, source: arrow::error::ArrowError) -> Error {
        WriteError::Columns { path: self.shape.path.clone(), source }.into()
    }
}
