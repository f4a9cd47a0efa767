//! Copies ranges of arrays into a new array of the same type.
//!
//! Owns the mechanics of splicing columns; which ranges is said by [`super::columns`]. Neighbouring ranges are copied
//! at once, so that untouched stretches cost one memory copy.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, MutableArrayData, make_array};
use arrow::error::ArrowError;

/// A stretch of one source, or of nulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Copy { source: usize, range: Range<usize> },
    Nulls(usize),
}

/// Pieces in order.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    list: Vec<Piece>,
    len: usize,
}

impl Pieces {
    /// Appends a range of the first source.
    pub fn copy(&mut self, range: Range<usize>) {
        self.copy_from(0, range);
    }

    pub fn copy_from(&mut self, source: usize, range: Range<usize>) {
        self.len += range.len();
        if range.is_empty() {
            return;
        }
        match self.list.last_mut() {
            Some(Piece::Copy { source: s, range: last }) if *s == source && last.end == range.start => {
                last.end = range.end;
            }
            Some(_) | None => self.list.push(Piece::Copy { source, range }),
        }
    }

    pub fn nulls(&mut self, count: usize) {
        if count > 0 {
            self.len += count;
            self.list.push(Piece::Nulls(count));
        }
    }

    /// Elements so far.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn gather(&self, sources: &[&ArrayRef]) -> Result<ArrayRef, ArrowError> {
        if let [Piece::Copy { source: 0, range }] = &self.list[..] {
            return Ok(sources[0].slice(range.start, range.len()));
        }
        let data: Vec<_> = sources.iter().map(|array| array.to_data()).collect();
        let has_nulls = self.list.iter().any(|piece| matches!(piece, Piece::Nulls(_)));
        let mut out = MutableArrayData::try_new(data.iter().collect(), has_nulls, self.len)?;
        for piece in &self.list {
            match piece {
                Piece::Copy { source, range } => out.try_extend(*source, range.start, range.end)?,
                Piece::Nulls(count) => out.try_extend_nulls(*count)?,
            }
        }
        Ok(make_array(out.freeze()))
    }
}
