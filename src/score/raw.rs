//! The raw file beside a purified one: its rows, found by id in order.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::batch::sample::{Sample, SampleReader};
use crate::batch::{Decoded, RowError};
use crate::ingest::{IngestError, Input, Shape};
use crate::options::ColumnConfig;
use crate::policy::sequence::Sequence;

use super::error::ScoreError;
use super::scorer::Scorer;

/// Rows of a raw file, read on as they are asked for.
pub(super) struct RawRows {
    path: PathBuf,
    input: Input,
    shape: Shape,
    batches: VecDeque<(Decoded, Vec<Result<Sample, RowError>>)>,
    next: usize,
}

impl RawRows {
    pub(super) fn open(path: &Path, columns: &ColumnConfig) -> Result<Self, IngestError> {
        let input = Input::open(path, columns)?;
        let shape = input.shape();
        Ok(RawRows { path: path.to_owned(), input, shape, batches: VecDeque::new(), next: 0 })
    }

    /// The sequence of the raw row that became `purified`: that of its name, else that of its number. `None` if the row
    /// can't be read by the model.
    pub(super) fn sequence(&mut self, scorer: &Scorer, purified: &Sample) -> Result<Option<Sequence>, ScoreError> {
        let has_ids = self.input.columns.id.is_some();
        loop {
            let rows = self.batches.front().map_or(0, |(batch, _)| batch.rows());
            if self.next >= rows {
                self.batches.pop_front();
                self.next = 0;
                if self.batches.is_empty() && !self.read_on()? {
                    return Err(ScoreError::NotInRaw { path: self.path.clone(), rollout: purified.id.clone() });
                }
                continue;
            }
            let Some((batch, samples)) = self.batches.front() else { continue };
            let row = self.next;
            let is_same = match has_ids {
                true => batch.id(row) == purified.id.as_str(),
                false => batch.number(row) == purified.number,
            };
            self.next += 1;
            if !is_same {
                continue;
            }
            let (Ok(sample), Ok(rollout)) = (&samples[row], batch.rollout(row)) else { return Ok(None) };
            return Ok(scorer.sequence(sample, Some(&rollout)).ok());
        }
    }

    fn read_on(&mut self) -> Result<bool, IngestError> {
        let Some((batches, _)) = self.input.next_decoded()? else { return Ok(false) };
        for batch in batches {
            let row = batch.number(0);
            let failed = |source| IngestError::Rows { path: self.path.clone(), row, source };
            let samples = {
                let reader = SampleReader::new(&batch, &self.shape.columns).map_err(failed)?;
                (0..batch.rows()).map(|row| reader.row(row)).collect()
            };
            self.batches.push_back((batch, samples));
        }
        Ok(true)
    }
}
