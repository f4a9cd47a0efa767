//! One input to its outputs: chunks in, row groups out, in order.
//!
//! Owns which files a chunk's rows go to. Chunks are purified and encoded side by side and appended in the order of the input
//! ([`crate::run::Run::in_order`]), so that memory does not grow with the file.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::outputs::PartPaths;
use crate::batch::rejects;
use crate::error::Error;
use crate::ingest::{BadLine, Chunk, Input, Shape, decode_chunk};
use crate::options::CompressionLevel;
use crate::purifier::counts::StageCounts;
use crate::purifier::{PurifiedBatch, Purifier, PurifyError, RowPurifier};
use crate::rejects::RejectReason;
use crate::run::Run;
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
    run: &Run<'_>,
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
    let rejects_path = paths.map(|p| (p.rejects.clone(), rejects.clone()));
    let mut writing = Writing { files, rejects: rejects_path, counts: StageCounts::default() };
    let worker = Worker { rows: &rows, shape: &shape, encoders: &encoders, run };
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
    run: &'w Run<'w>,
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
        match (&error, self.run.check()) {
            (PurifyError::Judge(_), Err(interrupted)) => interrupted.into(),
            _ => Error::of_rows(error, &self.shape.path),
        }
    }
}
