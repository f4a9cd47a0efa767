//! One input to its outputs: chunks in, row groups out, in order.
//!
//! Owns the threads. Each takes the next chunk (one at a time reads), purifies and encodes it, and hands it on;
//! whoever completes the next in order appends it. Reading runs ahead by a bounded number of chunks, so that memory
//! does not grow with the file, and the order of the output is the order of the input.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::counts::StageCounts;
use super::judged::Refusal;
use super::outputs::PartPaths;
use super::{Progress, Purifier};
use crate::error::Error;
use crate::guard::calls::{self, CallFaults, ListedTools};
use crate::ingest::sample::SampleReader;
use crate::ingest::{Chunk, Decoded, Input, RowError, Shape, decode_chunk};
use crate::judge::LogIs;
use crate::options::CompressionLevel;
use crate::record::RecordReader;
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
    threads: &Threads<'_>,
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
    let state = State {
        reading: Mutex::new(Reading { input, next: 0, done: false }),
        writing: Mutex::new(Writing {
            next: 0,
            waiting: BTreeMap::new(),
            files,
            rejects: paths.map(|p| (p.rejects.clone(), rejects.clone())),
            counts: StageCounts::default(),
            error: None,
        }),
        turned: Condvar::new(),
        stop: AtomicBool::new(false),
    };
    let worker = Worker {
        purifier,
        shape: &shape,
        schema: &schema,
        encoders: &encoders,
        rejects_schema: &rejects.schema,
        interrupted: threads.interrupted,
    };
    // Within a chunk nothing is handed to the pool: a thread that waited there could be given another chunk's work,
    // and then wait for its own.
    threads.pool.scope(|scope| {
        for _ in 0..threads.pool.current_num_threads() {
            scope.spawn(|_| {
                let _wakes = WakesOthers(&state);
                if let Err(error) = state.work(&worker, threads) {
                    state.fail(error);
                }
            });
        }
    });
    let writing = state.writing.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (writing.error, paths) {
        (Some(error), _) => Err(error),
        (None, None) => Ok(PartResult { counts: writing.counts, files: Vec::new() }),
        (None, Some(paths)) => Ok(PartResult { counts: writing.counts, files: writing.files.finish(paths)? }),
    }
}

/// What a run shares with its threads.
pub struct Threads<'t> {
    /// Chunks are done side by side here.
    pub pool: &'t rayon::ThreadPool,
    pub progress: &'t dyn Progress,
    /// The number of a signal, as soon as one has come.
    pub interrupted: &'t AtomicUsize,
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

struct Reading {
    input: Input,
    next: usize,
    done: bool,
}

struct Writing {
    next: usize,
    waiting: BTreeMap<usize, Purified>,
    files: Files,
    /// Where and how rejects are written, once there are any.
    rejects: Option<(PathBuf, ParquetForm)>,
    counts: StageCounts,
    error: Option<Error>,
}

/// A chunk's share of every output.
struct Purified {
    data: Option<EncodedRows>,
    pairs: Option<EncodedRows>,
    rejects: Option<EncodedRows>,
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

/// Lets the others go when a thread ends, even by a panic.
struct WakesOthers<'s>(&'s State);

impl Drop for WakesOthers<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop.store(true, Ordering::Relaxed);
        }
        self.0.turned.notify_all();
    }
}

impl State {
    fn fail(&self, error: Error) {
        self.stop.store(true, Ordering::Relaxed);
        lock(&self.writing).error.get_or_insert(error);
        self.turned.notify_all();
    }

    fn work(&self, worker: &Worker<'_>, threads: &Threads<'_>) -> Result<(), Error> {
        while let Some(chunk) = self.next_chunk(threads)? {
            let index = chunk.index;
            let purified = worker.purify(chunk)?;
            threads.progress.advance(purified.counts.rows_in);
            let mut writing = lock(&self.writing);
            writing.waiting.insert(index, purified);
            writing.append_in_order()?;
            drop(writing);
            self.turned.notify_all();
        }
        Ok(())
    }

    fn next_chunk(&self, threads: &Threads<'_>) -> Result<Option<Chunk>, Error> {
        let signal = threads.interrupted.load(Ordering::Relaxed);
        if signal != 0 {
            return Err(Error::Interrupted { signal: signal as u8 });
        }
        let most_waiting = 2 * threads.pool.current_num_threads();
        let mut reading = lock(&self.reading);
        // Chunks that wait for a slow one before them are bounded.
        let mut writing = lock(&self.writing);
        while reading.next >= writing.next + most_waiting && !self.stop.load(Ordering::Relaxed) {
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
    fn append_in_order(&mut self) -> Result<(), Error> {
        while let Some(purified) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.counts.add(&purified.counts);
            if let (Some(file), Some(rows)) = (&mut self.files.data, purified.data) {
                file.append(rows)?;
            }
            if let (Some(file), Some(rows)) = (&mut self.files.pairs, purified.pairs) {
                file.append(rows)?;
            }
            if let (Some((path, form)), Some(rows)) = (&self.rejects, purified.rejects) {
                if self.files.rejects.is_none() {
                    self.files.rejects = Some(ParquetFile::create(path, form)?);
                }
                if let Some(file) = &mut self.files.rejects {
                    file.append(rows)?;
                }
            }
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
    interrupted: &'w AtomicUsize,
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
            let signal = self.interrupted.load(Ordering::Relaxed);
            if samples.is_some() && signal != 0 {
                return Err(Error::Interrupted { signal: signal as u8 });
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
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
                return RowResult::Bug(text.unwrap_or_else(|| "no message".to_owned()));
            }
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
