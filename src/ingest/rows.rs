//! The rows of an opened input: chunk by chunk on the threads of a run, or one by one as they are asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use super::chunk::{Chunk, DecodedChunk, Shape, decode_chunk};
use super::error::IngestError;
use super::input::Input;
use crate::batch::Decoded;
use crate::run::{Run, RunError};

impl Chunk {
    /// Where it stands, for people.
    pub fn place(&self, shape: &Shape) -> String {
        format!("the rows from {} on of `{}`", self.first_row, shape.path.display())
    }
}

impl Input {
    /// Hands what `work` makes of each chunk to `take`, in the order of the file; see [`Run::in_order`].
    pub fn each_chunk<R, E>(
        mut self,
        run: &Run<'_>,
        work: impl Fn(Chunk, &Shape) -> Result<R, E> + Sync,
        take: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E>
    where
        R: Send,
        E: From<RunError> + From<IngestError> + Send,
    {
        let shape = self.shape();
        let source = || self.next_chunk().map_err(E::from);
        run.in_order(source, |chunk| chunk.place(&shape), |chunk| work(chunk, &shape), take)
    }

    /// The same where only the decoding is done side by side.
    pub fn each_decoded<E>(self, run: &Run<'_>, take: impl FnMut(DecodedChunk) -> Result<(), E>) -> Result<(), E>
    where
        E: From<RunError> + From<IngestError> + Send,
    {
        self.each_chunk(run, |chunk, shape| Ok(decode_chunk(chunk, shape)?), take)
    }
}

/// A row of a batch that is shared with others.
#[derive(Clone)]
pub struct RowOf {
    pub batch: Arc<Decoded>,
    pub row: usize,
}

impl RowOf {
    /// Its number in the file, from 0.
    pub fn number(&self) -> u64 {
        self.batch.number(self.row)
    }
}

/// The rows of an input, read on as they are asked for. Of lines, those that are not rows are passed over.
pub struct RowReader {
    pub input: Input,
    queue: RowQueue,
}

impl RowReader {
    pub fn new(input: Input) -> Self {
        RowReader { input, queue: RowQueue::default() }
    }

    pub fn next_row(&mut self) -> Result<Option<RowOf>, IngestError> {
        loop {
            if let Some(row) = self.queue.pop() {
                return Ok(Some(row));
            }
            match self.input.next_decoded()? {
                Some((batches, _)) => self.queue.extend(batches),
                None => return Ok(None),
            }
        }
    }
}

/// Rows of batches that were read and not yet asked for.
#[derive(Default)]
pub struct RowQueue {
    batches: VecDeque<Arc<Decoded>>,
    next: usize,
}

impl RowQueue {
    pub fn extend(&mut self, batches: Vec<Decoded>) {
        self.batches.extend(batches.into_iter().map(Arc::new));
    }

    /// The next row, which stays the next one.
    pub fn peek(&mut self) -> Option<RowOf> {
        while self.batches.front().is_some_and(|batch| self.next >= batch.rows()) {
            self.batches.pop_front();
            self.next = 0;
        }
        self.batches.front().map(|batch| RowOf { batch: Arc::clone(batch), row: self.next })
    }

    pub fn pop(&mut self) -> Option<RowOf> {
        let row = self.peek();
        self.next += usize::from(row.is_some());
        row
    }
}
