//! The walk over raw rows and, beside them, over what became of them.
//!
//! Owns which purified row belongs to which raw one, what it records, and the threads: as many chunks as there are threads are
//! read, matched in order, and looked at side by side. Rows with names of their own are matched by them, others by their group, by what a
//! repair never changes (what system and user said), and by the record.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::edited::is_as_recorded;
use super::report::{FileFacts, RepairView};
use crate::batch::Decoded;
use crate::error::Error;
use crate::ingest::{BadLine, Chunk, DecodedChunk, IngestError, Input, Shape, decode_chunk};
use crate::options::ColumnConfig;
use crate::pipeline::Progress;
use crate::record::{RecordReader, RowRecord};
use crate::rollout::{Role, Rollout};
use crate::schema::PURIFICATION;

/// What is told of files that are no two sides of one data set.
pub(super) const TOGETHER: &str = "give the raw data, unsorted, as it was purified, and what purify made of it";

/// Raw rows behind one that are asked whether they are what a purified row without a name was.
const MOST_AHEAD: usize = 64;

/// A row of a batch that is shared with others.
#[derive(Clone)]
pub(super) struct RowOf {
    pub batch: Arc<Decoded>,
    pub row: usize,
}

impl RowOf {
    /// What a view of any of its repairs says of it.
    pub(super) fn facts(&self) -> RepairView {
        RepairView {
            rollout: self.batch.id(self.row).into_owned(),
            row: self.batch.number(self.row),
            group: self.batch.group(self.row).map(str::to_owned),
            reward: self.batch.reward(self.row),
            ..RepairView::default()
        }
    }
}

/// A stretch of raw rows, each with what became of it, if it is in the purified data.
pub(super) struct Stretch {
    pub raw: Vec<(RowOf, Option<RowOf>)>,
    pub bad: Vec<BadLine>,
}

/// Files that are read one behind the other.
struct Files<'w> {
    rest: VecDeque<PathBuf>,
    open: Option<(Input, Shape)>,
    columns: Cow<'w, ColumnConfig>,
    /// A column that each of them has.
    needs: Option<&'static str>,
    facts: Vec<FileFacts>,
    next: usize,
}

impl<'w> Files<'w> {
    fn new(paths: &[PathBuf], columns: Cow<'w, ColumnConfig>, needs: Option<&'static str>) -> Self {
        Files { rest: paths.iter().cloned().collect(), open: None, columns, needs, facts: Vec::new(), next: 0 }
    }

    fn next_chunk(&mut self) -> Result<Option<(Chunk, Shape)>, Error> {
        loop {
            if self.open.is_none() {
                let Some(path) = self.rest.pop_front() else { return Ok(None) };
                let input = Input::open(&path, &self.columns)?;
                let shape = input.shape();
                if let Some(name) = self.needs.filter(|name| shape.schema.field_with_name(name).is_err()) {
                    return Err(Error::Mismatch { path, detail: format!("it has no column `{name}`"), hint: TOGETHER });
                }
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.facts.push(FileFacts { file, format: input.format_name(), bytes: input.size, rows: 0 });
                self.open = Some((input, shape));
            }
            let Some((input, shape)) = &mut self.open else { continue };
            let chunk = input.next_chunk(self.next)?;
            if let Some(facts) = self.facts.last_mut() {
                facts.rows = input.rows_read();
            }
            match chunk {
                Some(chunk) => {
                    self.next += 1;
                    return Ok(Some((chunk, shape.clone())));
                }
                None => self.open = None,
            }
        }
    }

    fn decoded(&mut self) -> Result<Option<DecodedChunk>, Error> {
        match self.next_chunk()? {
            Some((chunk, shape)) => Ok(Some(decode_chunk(chunk, &shape)?)),
            None => Ok(None),
        }
    }
}

/// Reads both sides together.
pub(super) struct Walk<'w> {
    raw: Files<'w>,
    purified: Option<Purified<'w>>,
    progress: &'w dyn Progress,
    interrupted: &'w AtomicUsize,
}

struct Purified<'w> {
    /// The files of each shard; rows of one stand in order, those of different ones by group.
    shards: Vec<Series<'w>>,
    path: PathBuf,
}

impl Purified<'_> {
    /// What a raw row has become: the next row of one of the shards. Of rows without names that were asked the same, the one
    /// that its record fits; one that fits none was edited.
    fn next_if_same(&mut self, raw: &RowOf) -> Result<Option<RowOf>, Error> {
        let mut edited = None;
        for (k, shard) in self.shards.iter_mut().enumerate() {
            let Some(next) = shard.peek()? else { continue };
            let is_next = match are_named_alike(raw, &next) {
                Some(is_same) => is_same,
                None if !is_asked_alike(raw, &next) => false,
                None => {
                    let fits = shard.fits(raw, &next)?;
                    if !fits && edited.is_none() && !shard.fits_later(raw, &next)? {
                        edited = Some(k);
                    }
                    fits
                }
            };
            if is_next {
                shard.next += 1;
                return Ok(Some(next));
            }
        }
        let Some(shard) = edited.and_then(|k| self.shards.get_mut(k)) else { return Ok(None) };
        let found = shard.peek()?;
        shard.next += 1;
        Ok(found)
    }

    /// A row that no raw row has become.
    fn left(&mut self) -> Result<Option<RowOf>, Error> {
        for shard in &mut self.shards {
            if let Some(row) = shard.peek()? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// Rows of files that are read one behind the other.
struct Series<'w> {
    files: Files<'w>,
    records: Records,
    batches: VecDeque<Arc<Decoded>>,
    next: usize,
}

impl<'w> Series<'w> {
    fn new(paths: &[PathBuf], columns: &ColumnConfig) -> Self {
        // What purify wrote is native, whatever it was made of.
        let columns = Cow::Owned(ColumnConfig { format: None, ..columns.clone() });
        Series {
            files: Files::new(paths, columns, Some(PURIFICATION)),
            records: Records::new(paths.first().cloned().unwrap_or_default()),
            batches: VecDeque::new(),
            next: 0,
        }
    }

    /// Whether a row is what its record says that a raw row became.
    fn fits(&mut self, raw: &RowOf, row: &RowOf) -> Result<bool, Error> {
        let record = self.records.row(row)?;
        Ok(match (raw.batch.rollout(raw.row), row.batch.rollout(row.row)) {
            (Ok(before), Ok(after)) => is_as_recorded(&before, &after, &record),
            _ => false,
        })
    }

    /// Whether it is what one of the next raw rows became: then this one was left out.
    fn fits_later(&mut self, raw: &RowOf, row: &RowOf) -> Result<bool, Error> {
        let rows = raw.batch.rows().min(raw.row + MOST_AHEAD);
        for later in (raw.row + 1..rows).map(|row| RowOf { batch: Arc::clone(&raw.batch), row }) {
            if self.fits(&later, row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next row that is not matched yet.
    fn peek(&mut self) -> Result<Option<RowOf>, Error> {
        loop {
            match self.batches.front() {
                Some(batch) if self.next < batch.rows() => {
                    return Ok(Some(RowOf { batch: Arc::clone(batch), row: self.next }));
                }
                Some(_) => {
                    self.batches.pop_front();
                    self.next = 0;
                }
                None => match self.files.decoded()? {
                    Some((batches, _)) => self.batches.extend(batches.into_iter().map(Arc::new)),
                    None => return Ok(None),
                },
            }
        }
    }
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        raw: &[PathBuf],
        purified: Option<(&[PathBuf], usize)>,
        columns: &'w ColumnConfig,
        progress: &'w dyn Progress,
        interrupted: &'w AtomicUsize,
    ) -> Self {
        let of_purified = |(paths, shards): (&[PathBuf], usize)| {
            let mut of: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
            paths.iter().for_each(|path| of.entry(shard_of(path, shards)).or_default().push(path.clone()));
            Purified {
                shards: of.values().map(|paths| Series::new(paths, columns)).collect(),
                path: paths.first().cloned().unwrap_or_default(),
            }
        };
        Walk {
            raw: Files::new(raw, Cow::Borrowed(columns), None),
            purified: purified.map(of_purified),
            progress,
            interrupted,
        }
    }

    /// The next stretches, at most `most` of them; empty at the end.
    ///
    /// # Errors
    /// A purified row that no raw row has become.
    pub(super) fn next_stretches(&mut self, most: usize) -> Result<Vec<Stretch>, Error> {
        let signal = self.interrupted.load(Ordering::Relaxed);
        if signal != 0 {
            return Err(Error::Interrupted { signal: signal as u8 });
        }
        let mut chunks = Vec::new();
        while chunks.len() < most {
            match self.raw.next_chunk()? {
                Some(chunk) => chunks.push(chunk),
                None => break,
            }
        }
        let decoded = super::side_by_side(chunks, |(chunk, shape)| decode_chunk(chunk, &shape));
        let mut out = Vec::new();
        for chunk in decoded {
            let (batches, bad) = chunk?;
            let mut raw = Vec::new();
            for batch in batches.into_iter().map(Arc::new) {
                for row in 0..batch.rows() {
                    let one = RowOf { batch: Arc::clone(&batch), row };
                    let became = self.match_to(&one)?;
                    raw.push((one, became));
                }
            }
            self.progress.advance((raw.len() + bad.len()) as u64);
            out.push(Stretch { raw, bad });
        }
        match &mut self.purified {
            Some(purified) if out.is_empty() => match purified.left()? {
                None => Ok(out),
                Some(left) => Err(Error::Mismatch {
                    path: purified.path.clone(),
                    detail: format!(
                        "row {} of it is not in the raw data, or not in the same order",
                        left.batch.number(left.row)
                    ),
                    hint: TOGETHER,
                }),
            },
            _ => Ok(out),
        }
    }

    fn match_to(&mut self, raw: &RowOf) -> Result<Option<RowOf>, Error> {
        self.purified.as_mut().map_or(Ok(None), |purified| purified.next_if_same(raw))
    }

    pub(super) fn facts(self) -> Vec<FileFacts> {
        let mut purified: Vec<FileFacts> =
            self.purified.into_iter().flat_map(|p| p.shards).flat_map(|shard| shard.files.facts).collect();
        purified.sort_by(|a, b| a.file.cmp(&b.file));
        self.raw.facts.into_iter().chain(purified).collect()
    }
}

/// What purified rows record of themselves.
pub(super) struct Records {
    path: PathBuf,
    /// Of the batch that the last row stood in.
    of: Option<(Arc<Decoded>, RecordReader)>,
}

impl Records {
    pub(super) fn new(path: PathBuf) -> Self {
        Records { path, of: None }
    }

    /// A row without a record was left as it is.
    pub(super) fn row(&mut self, row: &RowOf) -> Result<RowRecord, Error> {
        if self.of.as_ref().is_none_or(|(batch, _)| !Arc::ptr_eq(batch, &row.batch)) {
            let number = row.batch.number(row.row);
            let failed = |source| IngestError::Rows { path: self.path.clone(), row: number, source };
            let reader = row.batch.records().map_err(failed)?.ok_or_else(|| Error::Mismatch {
                path: self.path.clone(),
                detail: "it has no column `purification`".to_owned(),
                hint: TOGETHER,
            })?;
            self.of = Some((Arc::clone(&row.batch), reader));
        }
        let Some((_, reader)) = &self.of else { return Ok(RowRecord::default()) };
        let record = reader.row(row.row).map_err(|error| Error::Mismatch {
            path: self.path.clone(),
            detail: format!("the record of row {} can't be read: {error}", row.batch.number(row.row)),
            hint: "give what purify wrote",
        })?;
        Ok(record.unwrap_or_default())
    }
}

/// Whether two rows have the same name; `None` if one of them has none.
fn are_named_alike(raw: &RowOf, purified: &RowOf) -> Option<bool> {
    match (raw.batch.id(raw.row), purified.batch.id(purified.row)) {
        (Cow::Borrowed(a), Cow::Borrowed(b)) => Some(a == b),
        _ => None,
    }
}

fn is_asked_alike(raw: &RowOf, purified: &RowOf) -> bool {
    let is_group = raw.batch.group(raw.row) == purified.batch.group(purified.row);
    is_group
        && match (raw.batch.rollout(raw.row), purified.batch.rollout(purified.row)) {
            (Ok(a), Ok(b)) => asked(&a).eq(asked(&b)),
            _ => false,
        }
}

/// The shard that wrote a file: of `train-00003-of-00006`, file 3, shards taking turns.
fn shard_of(path: &Path, shards: usize) -> usize {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let number = stem.rsplit_once("-of-").and_then(|(front, _)| front.rsplit('-').next()?.parse::<usize>().ok());
    number.map_or(0, |number| number % shards)
}

/// What system and user said.
fn asked<'r>(rollout: &'r Rollout<'_>) -> impl Iterator<Item = Option<&'r str>> {
    rollout.messages.iter().filter(|m| matches!(m.role, Role::System | Role::User)).map(|m| m.content)
}
