//! The walk over raw rows and, beside them, over what became of them.
//!
//! Owns which purified row belongs to which raw one, and what it records. Raw chunks are decoded and looked at side by side
//! ([`Run::in_order`]); in between they are matched in order, by the one matcher that each hands on to the next. Rows with
//! names of their own are matched by them, others by their group, by what a repair never changes (what system and user said),
//! and by the record.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use super::edited::is_as_recorded;
use super::report::{FileFacts, RepairView};
use crate::batch::Decoded;
use crate::error::Error;
use crate::ingest::{BadLine, Chunk, DecodedChunk, IngestError, Input, RowOf, RowQueue, Shape, decode_chunk};
use crate::options::ColumnConfig;
use crate::record::{RecordReader, RowRecord};
use crate::rollout::{Role, Rollout};
use crate::run::{Run, RunError};
use crate::schema::PURIFICATION;

/// What is told of files that are no two sides of one data set.
pub(super) const TOGETHER: &str = "give the raw data, unsorted, as it was purified, and what purify made of it";

/// Raw rows after one that are asked whether they are what a purified row without a name was.
const MAX_AHEAD: usize = 64;

/// What a view of any of a row's repairs says of it.
pub(super) fn facts_of(row: &RowOf) -> RepairView {
    RepairView {
        rollout: row.batch.id(row.row).into_owned(),
        row: row.number(),
        group: row.batch.group(row.row).map(str::to_owned),
        reward: row.batch.reward(row.row),
        ..RepairView::default()
    }
}

/// A stretch of raw rows, each with what became of it, if it is in the purified data.
pub(super) struct Stretch {
    pub raw: Vec<(RowOf, Option<RowOf>)>,
    pub bad: Vec<BadLine>,
}

/// Files that are read one after another.
struct Files<'w> {
    rest: VecDeque<PathBuf>,
    open: Option<(Input, Shape)>,
    columns: Cow<'w, ColumnConfig>,
    /// A column that each of them has.
    needs: Option<&'static str>,
    facts: Vec<FileFacts>,
}

impl<'w> Files<'w> {
    fn new(paths: &[PathBuf], columns: Cow<'w, ColumnConfig>, needs: Option<&'static str>) -> Self {
        Files { rest: paths.iter().cloned().collect(), open: None, columns, needs, facts: Vec::new() }
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
            let chunk = input.next_chunk()?;
            if let Some(facts) = self.facts.last_mut() {
                facts.rows = input.rows_read();
            }
            match chunk {
                Some(chunk) => return Ok(Some((chunk, shape.clone()))),
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

struct Purified<'w> {
    /// The files of each shard; rows of one stand in order, those of different ones by group.
    shards: Vec<Series<'w>>,
    path: PathBuf,
}

impl<'w> Purified<'w> {
    fn new(paths: &[PathBuf], shards: usize, columns: &ColumnConfig) -> Self {
        let mut of: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
        paths.iter().for_each(|path| of.entry(shard_of(path, shards)).or_default().push(path.clone()));
        Purified {
            shards: of.values().map(|paths| Series::new(paths, columns)).collect(),
            path: paths.first().cloned().unwrap_or_default(),
        }
    }

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
                return Ok(shard.queue.pop());
            }
        }
        let Some(shard) = edited.and_then(|k| self.shards.get_mut(k)) else { return Ok(None) };
        shard.peek()?;
        Ok(shard.queue.pop())
    }

    /// A row that no raw row has become is an error.
    fn refuse_left(&mut self) -> Result<(), Error> {
        for shard in &mut self.shards {
            if let Some(left) = shard.peek()? {
                return Err(Error::Mismatch {
                    path: self.path.clone(),
                    detail: format!("row {} of it is not in the raw data, or not in the same order", left.number()),
                    hint: TOGETHER,
                });
            }
        }
        Ok(())
    }
}

/// Rows of files that are read one after another.
struct Series<'w> {
    files: Files<'w>,
    records: Records,
    queue: RowQueue,
}

impl<'w> Series<'w> {
    fn new(paths: &[PathBuf], columns: &ColumnConfig) -> Self {
        // What purify wrote is native, whatever it was made of.
        let columns = Cow::Owned(ColumnConfig { format: None, ..columns.clone() });
        Series {
            files: Files::new(paths, columns, Some(PURIFICATION)),
            records: Records::new(paths.first().cloned().unwrap_or_default()),
            queue: RowQueue::default(),
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
        let rows = raw.batch.rows().min(raw.row + MAX_AHEAD);
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
            if let Some(row) = self.queue.peek() {
                return Ok(Some(row));
            }
            match self.files.decoded()? {
                Some((batches, _)) => self.queue.extend(batches),
                None => return Ok(None),
            }
        }
    }
}

/// Which files are walked over, and how they are read.
pub(super) struct Walk<'w> {
    pub raw: &'w [PathBuf],
    /// The purified files, and the number of shards that wrote them.
    pub purified: Option<(&'w [PathBuf], usize)>,
    pub columns: &'w ColumnConfig,
}

/// What is handed from each stretch to the next, so that rows are matched in order.
struct Matcher<'w, S> {
    purified: Option<Purified<'w>>,
    state: S,
}

/// A raw chunk that waits for its turn.
struct Turn<'w, S> {
    chunk: Chunk,
    shape: Shape,
    /// Where the matcher comes from, and where it goes on to.
    from: mpsc::Receiver<Matcher<'w, S>>,
    to: mpsc::SyncSender<Matcher<'w, S>>,
}

/// The chunk before has ended without handing the matcher on, and has said why.
fn no_matcher() -> RunError {
    RunError::Bug { place: "the audit".to_owned(), detail: "a chunk was never matched".to_owned() }
}

impl<'w> Walk<'w> {
    /// Goes over all raw rows: `see` sees the stretches in order and may keep a state, `look` looks at them side by side, and
    /// `take` is given what it has found, in order. The facts of all files at the end.
    ///
    /// # Errors
    /// A purified row that no raw row has become.
    pub(super) fn each<S: Send, X: Send, R: Send>(
        &self,
        run: &Run<'_>,
        state: S,
        see: impl Fn(&mut S, &Stretch) -> Result<X, Error> + Sync,
        look: impl Fn(Stretch, X) -> Result<R, Error> + Sync,
        mut take: impl FnMut(R) -> Result<(), Error>,
    ) -> Result<(Vec<FileFacts>, S), Error> {
        let mut raw = Files::new(self.raw, Cow::Borrowed(self.columns), None);
        let (first, mut from) = mpsc::sync_channel(1);
        let purified = self.purified.map(|(paths, shards)| Purified::new(paths, shards, self.columns));
        first.send(Matcher { purified, state }).map_err(|_| no_matcher())?;
        let next_turn = || {
            let Some((chunk, shape)) = raw.next_chunk()? else { return Ok(None) };
            let (to, next) = mpsc::sync_channel(1);
            Ok(Some(Turn { chunk, shape, from: std::mem::replace(&mut from, next), to }))
        };
        let work = |Turn { chunk, shape, from, to }: Turn<'w, S>| {
            let (batches, bad) = decode_chunk(chunk, &shape)?;
            let mut matcher = from.recv().map_err(|_| no_matcher())?;
            let stretch = Stretch { raw: matched(matcher.purified.as_mut(), batches)?, bad };
            let seen = see(&mut matcher.state, &stretch)?;
            // Who is next may have failed on its own chunk, and says so itself.
            let _ = to.send(matcher);
            let rows = stretch.raw.len() + stretch.bad.len();
            Ok((rows, look(stretch, seen)?))
        };
        run.in_order(
            next_turn,
            |turn| turn.chunk.place(&turn.shape),
            work,
            |(rows, found)| {
                run.progress.advance(rows as u64);
                take(found)
            },
        )?;
        let Matcher { mut purified, state } = from.recv().map_err(|_| no_matcher())?;
        if let Some(purified) = &mut purified {
            purified.refuse_left()?;
        }
        let mut of_purified: Vec<FileFacts> =
            purified.into_iter().flat_map(|p| p.shards).flat_map(|shard| shard.files.facts).collect();
        of_purified.sort_by(|a, b| a.file.cmp(&b.file));
        Ok((raw.facts.into_iter().chain(of_purified).collect(), state))
    }
}

/// The rows of a chunk, each with what it has become.
fn matched(
    mut purified: Option<&mut Purified<'_>>,
    batches: Vec<Decoded>,
) -> Result<Vec<(RowOf, Option<RowOf>)>, Error> {
    let mut out = Vec::new();
    for batch in batches.into_iter().map(Arc::new) {
        for row in 0..batch.rows() {
            let one = RowOf { batch: Arc::clone(&batch), row };
            let became = purified.as_mut().map_or(Ok(None), |purified| purified.next_if_same(&one))?;
            out.push((one, became));
        }
    }
    Ok(out)
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
