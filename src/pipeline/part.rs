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
use arrow::error::ArrowError;

use super::Progress;
use super::outputs::PartPaths;
use crate::batch::rejects;
use crate::error::Error;
use crate::ingest::{BadLine, Chunk, Input, Shape, decode_chunk};
use crate::options::CompressionLevel;
use crate::purifier::counts::StageCounts;
use crate::purifier::{PurifiedBatch, Purifier, PurifyError, RowPurifier};
use crate::rejects::RejectReason;
use crate::write::{EncodedRows, Encoder, FileRecord, ParquetFile, ParquetForm, remove_stale};

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
    let file = shape.path.file_name().unwrap_or_default().to_string_lossy();
    let rows = purifier
        .rows(&shape.schema, &shape.columns, &file)
        .map_err(|error| Error::of_rows(error, &shape.path))?
        .with_lines(input.may_have_bad_lines(), &shape.schema)
        .only_counting(paths.is_none());
    let form = |schema: &SchemaRef, metadata| ParquetForm { schema: Arc::clone(schema), metadata, compression_level };
    let data = form(&rows.data_schema().schema, input.metadata.clone());
    let pairs = form(rows.pairs_schema(), Vec::new());
    let rejects = form(rows.rejects_schema(), Vec::new());
    let (mut files, mut encoders) = (Files::default(), Encoders::default());
    if let Some(paths) = paths {
        files.data = Some(ParquetFile::create(&paths.data, &data)?);
        encoders.data = Some(Encoder::new(&paths.data, &data)?);
        encoders.rejects = Some(Encoder::new(&paths.rejects, &rejects)?);
        if purifier.options().pairs {
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
    let worker = Worker { rows: &rows, shape: &shape, encoders: &encoders, interrupted: threads.interrupted };
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
    fn add(&mut self, purified: PurifiedBatch) {
        for (all, batch) in
            [(&mut self.data, purified.data), (&mut self.pairs, purified.pairs), (&mut self.rejects, purified.rejects)]
        {
            if batch.num_rows() > 0 {
                all.push(batch);
            }
        }
        self.rejected.extend(purified.rejected);
    }

    /// Puts lines that never became rows among those that did, in the order of the input.
    fn sort_rejects(&mut self, schema: &SchemaRef) -> Result<(), ArrowError> {
        if !self.rejected.is_sorted() {
            let all = arrow::compute::concat_batches(schema, &self.rejects)?;
            let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
            order.sort_by_key(|&k| self.rejected[k as usize]);
            self.rejects = vec![arrow::compute::take_record_batch(&all, &arrow::array::UInt32Array::from(order))?];
        }
        Ok(())
    }
}

struct Worker<'w> {
    rows: &'w RowPurifier<'w>,
    shape: &'w Shape,
    encoders: &'w Encoders,
    interrupted: &'w AtomicUsize,
}

impl Worker<'_> {
    fn purify(&self, chunk: Chunk) -> Result<Purified, Error> {
        let (decoded, bad_lines) = decode_chunk(chunk, self.shape)?;
        let (mut counts, mut batches) = (StageCounts::default(), Batches::default());
        for batch in &decoded {
            let purified = self.rows.purify(batch).map_err(|error| self.failed(error))?;
            counts.add(&purified.counts);
            batches.add(purified);
        }
        let schema = self.rows.rejects_schema();
        let columns = |error: ArrowError| self.failed(error.into());
        if !bad_lines.is_empty() {
            let mut lines = Vec::with_capacity(bad_lines.len());
            for BadLine { row, text, error } in bad_lines {
                let reason = RejectReason::from(error);
                counts.rows_in += 1;
                counts.add_reject(reason.code());
                batches.rejected.push(row);
                lines.push((text, self.rows.reason(row, &reason)));
            }
            batches.rejects.push(rejects::of_lines(schema, &lines).map_err(columns)?);
        }
        drop(decoded);
        batches.sort_rejects(schema).map_err(columns)?;
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

    /// A judge that was not asked any more is no fault of its own.
    fn failed(&self, error: PurifyError) -> Error {
        match (&error, self.interrupted.load(Ordering::Relaxed)) {
            (PurifyError::Judge(_), signal @ 1..) => Error::Interrupted { signal: signal as u8 },
            _ => Error::of_rows(error, &self.shape.path),
        }
    }
}
