//! One input to its outputs: chunks in, row groups out, in order.
//!
//! Owns the threads. Each takes the next chunk (one at a time reads), purifies and encodes it, and hands it on;
//! whoever completes the next in order appends it. Reading runs ahead by a bounded number of chunks, so that memory
//! does not grow with the file, and the order of the output is the order of the input.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use rayon::prelude::*;

use super::counts::StageCounts;
use super::outputs::PartPaths;
use super::{Progress, Purifier};
use crate::config::Mode;
use crate::error::Error;
use crate::ingest::{Chunk, Decoded, Input, RowError, Shape, decode_chunk};
use crate::schema::OutputSchema;
use crate::write::columns::{self, WrittenRow};
use crate::write::{
    EncodedRows, Encoder, FileRecord, ParquetFile, WriteError, create_parquet, pairs, rejects, remove_stale,
};

/// What became of one input.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct PartResult {
    pub counts: StageCounts,
    pub files: Vec<FileRecord>,
}

/// Fewest rows that are worth a task of their own.
const MIN_ROWS_PER_TASK: usize = 8;

/// Purifies one input. Without `paths` nothing is written.
pub fn purify(
    purifier: &Purifier<'_>,
    input: Input,
    paths: Option<&PartPaths>,
    compression_level: i32,
    progress: &dyn Progress,
    interrupted: &AtomicUsize,
) -> Result<PartResult, Error> {
    let shape = input.shape();
    let schema = purifier.output_schema(&shape);
    let has_lines = input.rows.is_none();
    let metadata = input.metadata.clone();
    let create = |path, schema: &SchemaRef| create_parquet(path, schema, &[], compression_level);
    let (mut files, mut encoders) = (Files::default(), Encoders::default());
    if let Some(paths) = paths {
        let (file, encoder) = create_parquet(&paths.data, &schema.schema, &metadata, compression_level)?;
        (files.data, encoders.data) = (Some(file), Some(encoder));
        if purifier.pairs {
            let (file, encoder) = create(&paths.pairs, &pairs::schema(&shape.schema, &shape.columns))?;
            (files.pairs, encoders.pairs) = (Some(file), Some(encoder));
        }
    }
    let rejects_schema = rejects::schema(&shape.schema, has_lines);
    let state = State {
        reading: Mutex::new(Reading { input, next: 0, done: false }),
        writing: Mutex::new(Writing {
            next: 0,
            waiting: BTreeMap::new(),
            files,
            counts: StageCounts::default(),
            error: None,
        }),
        turned: Condvar::new(),
        stop: AtomicBool::new(false),
    };
    let worker =
        Worker { purifier, shape: &shape, schema: &schema, encoders: &encoders, rejects_schema: &rejects_schema };
    let threads = rayon::current_num_threads();
    let open_rejects = |file: &mut Option<(ParquetFile, Encoder)>| -> Result<(), WriteError> {
        if file.is_none()
            && let Some(paths) = paths
        {
            *file = Some(create(&paths.rejects, &rejects_schema)?);
        }
        Ok(())
    };
    rayon::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|_| {
                if let Err(error) = state.work(&worker, threads, progress, interrupted, &open_rejects) {
                    state.fail(error);
                }
            });
        }
    });
    let writing = state.writing.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = writing.error {
        return Err(error);
    }
    let mut records = Vec::new();
    let Files { data, pairs, rejects } = writing.files;
    if let Some(paths) = paths {
        // The data file comes last: where it stands, its companions do.
        if let Some(pairs) = pairs {
            records.push(pairs.finish()?);
        } else {
            remove_stale(&paths.pairs)?;
        }
        match rejects {
            Some((file, _)) => records.push(file.finish()?),
            None => remove_stale(&paths.rejects)?,
        }
        if let Some(data) = data {
            records.insert(0, data.finish()?);
        }
    }
    Ok(PartResult { counts: writing.counts, files: records })
}

#[derive(Default)]
struct Files {
    data: Option<ParquetFile>,
    pairs: Option<ParquetFile>,
    /// Opened with the first reject.
    rejects: Option<(ParquetFile, Encoder)>,
}

#[derive(Default)]
struct Encoders {
    data: Option<Encoder>,
    pairs: Option<Encoder>,
}

struct Reading {
    input: Input,
    next: usize,
    done: bool,
}

struct Writing {
    next: usize,
    waiting: BTreeMap<usize, Purified>,
    files: Files,
    counts: StageCounts,
    error: Option<Error>,
}

/// A chunk's share of every output.
struct Purified {
    data: Option<EncodedRows>,
    pairs: Option<EncodedRows>,
    rejects: Vec<RecordBatch>,
    counts: StageCounts,
}

struct State {
    reading: Mutex<Reading>,
    writing: Mutex<Writing>,
    /// A chunk was appended, or the run has failed.
    turned: Condvar,
    stop: AtomicBool,
}

/// A panic in another thread is reported by rayon; the data behind the lock is not used after it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type OpenRejects<'f> = dyn Fn(&mut Option<(ParquetFile, Encoder)>) -> Result<(), WriteError> + Sync + 'f;

impl State {
    fn fail(&self, error: Error) {
        self.stop.store(true, Ordering::Relaxed);
        lock(&self.writing).error.get_or_insert(error);
        self.turned.notify_all();
    }

    fn work(
        &self,
        worker: &Worker<'_>,
        threads: usize,
        progress: &dyn Progress,
        interrupted: &AtomicUsize,
        open_rejects: &OpenRejects<'_>,
    ) -> Result<(), Error> {
        while let Some(chunk) = self.next_chunk(threads, interrupted)? {
            let index = chunk.index;
            let purified = worker.purify(chunk)?;
            progress.advance(purified.counts.rows_in);
            let mut writing = lock(&self.writing);
            writing.waiting.insert(index, purified);
            writing.append_in_order(open_rejects)?;
            drop(writing);
            self.turned.notify_all();
        }
        Ok(())
    }

    fn next_chunk(&self, threads: usize, interrupted: &AtomicUsize) -> Result<Option<Chunk>, Error> {
        let signal = interrupted.load(Ordering::Relaxed);
        if signal != 0 {
            return Err(Error::Interrupted { signal: signal as u8 });
        }
        let mut reading = lock(&self.reading);
        // Chunks that wait for a slow one before them are bounded.
        let mut writing = lock(&self.writing);
        while reading.next >= writing.next + 2 * threads && !self.stop.load(Ordering::Relaxed) {
            writing = self.turned.wait(writing).unwrap_or_else(PoisonError::into_inner);
        }
        drop(writing);
        if reading.done || self.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let index = reading.next;
        let chunk = reading.input.next_chunk(index)?;
        reading.next += 1;
        reading.done = chunk.is_none();
        Ok(chunk)
    }
}

impl Writing {
    fn append_in_order(&mut self, open_rejects: &OpenRejects<'_>) -> Result<(), Error> {
        while let Some(purified) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.counts.add(&purified.counts);
            if let (Some(file), Some(rows)) = (&mut self.files.data, purified.data) {
                file.append(rows)?;
            }
            if let (Some(file), Some(rows)) = (&mut self.files.pairs, purified.pairs) {
                file.append(rows)?;
            }
            if !purified.rejects.is_empty() {
                open_rejects(&mut self.files.rejects)?;
                if let Some((file, encoder)) = &mut self.files.rejects {
                    file.append(encoder.encode(&purified.rejects)?)?;
                }
            }
        }
        Ok(())
    }
}

/// What became of one row.
enum RowResult {
    Written(Box<WrittenRow>),
    Rejected(RowError),
    Elsewhere,
}

struct Worker<'w> {
    purifier: &'w Purifier<'w>,
    shape: &'w Shape,
    schema: &'w OutputSchema,
    encoders: &'w Encoders,
    rejects_schema: &'w SchemaRef,
}

impl Worker<'_> {
    fn purify(&self, chunk: Chunk) -> Result<Purified, Error> {
        let (decoded, bad_lines) = decode_chunk(chunk, self.shape)?;
        let mut out = Purified { data: None, pairs: None, rejects: Vec::new(), counts: StageCounts::default() };
        let (mut data, mut pair_batches) = (Vec::new(), Vec::new());
        for batch in &decoded {
            self.purify_batch(batch, &mut out, &mut data, &mut pair_batches)?;
        }
        if !bad_lines.is_empty() {
            let lines: Vec<(String, String)> = bad_lines
                .into_iter()
                .map(|line| {
                    out.counts.rows_in += 1;
                    out.counts.add_reject(line.error.code());
                    (line.text, self.reason(line.row, &line.error))
                })
                .collect();
            out.rejects.push(rejects::of_lines(self.rejects_schema, &lines).map_err(|e| self.columns_error(e))?);
        }
        drop(decoded);
        if let Some(encoder) = &self.encoders.data {
            out.data = Some(encoder.encode(&data)?);
        }
        if let Some(encoder) = &self.encoders.pairs {
            out.pairs = Some(encoder.encode(&pair_batches)?);
        }
        Ok(out)
    }

    fn purify_batch(
        &self,
        batch: &Decoded,
        out: &mut Purified,
        data: &mut Vec<RecordBatch>,
        pair_batches: &mut Vec<RecordBatch>,
    ) -> Result<(), Error> {
        let results: Vec<RowResult> = (0..batch.rows())
            .into_par_iter()
            .with_min_len(MIN_ROWS_PER_TASK)
            .map(|row| self.purify_row(batch, row))
            .collect();
        let (mut written, mut rejected) = (Vec::new(), Vec::new());
        for (row, result) in results.into_iter().enumerate() {
            out.counts.rows_in += 1;
            match result {
                RowResult::Written(row) => {
                    out.counts.add_row(&row.plan, &row.records, row.purified.is_some());
                    written.push(*row);
                }
                RowResult::Rejected(error) => {
                    out.counts.add_reject(error.code());
                    rejected.push((row, self.reason(batch.number(row), &error)));
                }
                RowResult::Elsewhere => out.counts.rows_elsewhere += 1,
            }
        }
        let failed = |error| self.columns_error(error);
        if !rejected.is_empty() {
            out.rejects.push(rejects::of_rows(self.rejects_schema, &batch.batch, &rejected).map_err(failed)?);
        }
        if self.encoders.data.is_some() && !written.is_empty() {
            let labels = &self.purifier.labels;
            data.push(columns::assemble(batch, &self.shape.columns, self.schema, &written, labels).map_err(failed)?);
        }
        if let Some(encoder) = &self.encoders.pairs
            && let Some(pairs) =
                pairs::assemble(batch, &self.shape.columns, encoder.schema(), &written).map_err(failed)?
        {
            out.counts.pairs += pairs.num_rows() as u64;
            pair_batches.push(pairs);
        }
        Ok(())
    }

    fn purify_row(&self, batch: &Decoded, row: usize) -> RowResult {
        if !self.purifier.is_ours(batch.group(row), &batch.id(row)) {
            return RowResult::Elsewhere;
        }
        let purified = batch.rollout(row).and_then(|rollout| self.purifier.purify(&rollout));
        match purified {
            Ok(purified) => {
                let was_purified = self
                    .shape
                    .columns
                    .purification
                    .is_some_and(|k| arrow::array::Array::is_valid(batch.batch.column(k), row));
                if was_purified && !purified.plan.repairs.is_empty() && self.purifier.method.mode != Mode::Mask {
                    return RowResult::Rejected(RowError::PurifiedBefore);
                }
                RowResult::Written(Box::new(WrittenRow {
                    row,
                    plan: purified.plan,
                    records: purified.records,
                    purified: purified.rollout,
                    loss: purified.loss,
                }))
            }
            Err(error) => RowResult::Rejected(error),
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
