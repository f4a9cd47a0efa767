//! The first pass: what the lines of a file are, and the schema that holds every row.
//!
//! Most lines change no kind ([`settled`](super::settled)); what is in any way new is read by way of values, one line after the other.

use std::io::{self, Read};

use arrow::datatypes::Schema;
use rayon::prelude::*;
use serde_json::Value;

use super::kind::Kinds;
use super::lines::{LineReader, lines, unmarked};
use crate::ingest::formats::{Form, Reading, Row, takes_a_second_look};
use crate::ingest::lenient::{self, Mended};

/// What the first pass hands to a thread at once, and how many of these it holds.
pub(super) const BLOCK_BYTES: usize = 1 << 20;
const MAX_BLOCKS: usize = 8;

/// The form of the lines, if it is not `asked` for, and the schema that holds every row; `None` if no line is an object.
/// `reward` names the column of rewards.
///
/// The first line that is an object of a known form decides; one that has none is read as messages, and the columns tell
/// what is missing.
pub(in crate::ingest) fn infer_schema(
    source: &mut (dyn Read + Send),
    asked: Asked,
    reward: Option<&str>,
) -> io::Result<Option<Inferred>> {
    infer_in_blocks(source, asked, reward, BLOCK_BYTES)
}

/// What is known of a file's rows before they are looked at.
#[derive(Clone, Debug, Default)]
pub(in crate::ingest) struct Asked {
    /// The form that was named.
    pub(in crate::ingest) form: Option<&'static Form>,
    /// How they are to be read.
    pub(in crate::ingest) reading: Option<Reading>,
}

/// What the rows of a file are.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::ingest) struct Inferred {
    pub(in crate::ingest) reading: Reading,
    /// That holds every row.
    pub(in crate::ingest) schema: Schema,
    /// How many rows are no JSON as they stand, and are read all the same.
    pub(in crate::ingest) mended: Mended,
}

pub(super) fn infer_in_blocks(
    source: &mut (dyn Read + Send),
    asked: Asked,
    reward: Option<&str>,
    bytes: usize,
) -> io::Result<Option<Inferred>> {
    let mut reader = LineReader::new(source);
    let mut inference = Inference::new(asked, reward);
    // Of the first lines everything is new, so that they are few.
    let mut blocks = reader.next_blocks(1, bytes)?;
    let mut is_plain = true;
    while !blocks.is_empty() {
        let (next, found) =
            rayon::join(|| reader.next_blocks(MAX_BLOCKS, bytes), || inference.unsettled_lines(&blocks));
        for (plain, odd) in found {
            is_plain &= plain;
            odd.into_iter().for_each(|line| inference.absorb(line));
        }
        blocks = next?;
    }
    let Inference { reading, kinds, mended, .. } = inference;
    let reading = reading.unwrap_or_default().looked_through(is_plain);
    Ok((!kinds.is_empty()).then(|| Inferred { reading, schema: kinds.schema(), mended }))
}

/// What the lines so far say.
pub(super) struct Inference {
    asked: Option<&'static Form>,
    reading: Option<Reading>,
    /// Somebody has said which column holds rewards.
    names_reward: bool,
    kinds: Kinds,
    mended: Mended,
}

impl Inference {
    pub(super) fn new(asked: Asked, reward: Option<&str>) -> Self {
        let known = asked.reading.as_ref().map(|reading| reading.form).or(asked.form).and_then(|form| form.reward);
        Inference {
            asked: asked.form,
            reading: asked.reading,
            names_reward: reward.is_some(),
            kinds: Kinds::new(reward.or(known)),
            mended: Mended::default(),
        }
    }

    /// Whether each block holds nothing that only looks native, and its lines that may say something new. A line that
    /// changes no kind now changes none later: kinds only ever widen.
    fn unsettled_lines<'b>(&self, blocks: &'b [Vec<u8>]) -> Vec<(bool, Vec<&'b [u8]>)> {
        let unsettled = |block: &'b Vec<u8>| {
            let looks_native = !takes_a_second_look(block);
            let is_plain = looks_native && !lenient::may_hold_half_pairs(block);
            (looks_native, lines(block).filter(|line| !self.is_settled(line, is_plain)).collect())
        };
        blocks.par_iter().map(unsettled).collect()
    }

    /// Whether a line surely changes nothing; `is_plain`: it holds nothing that only looks like native messages, or like JSON.
    pub(super) fn is_settled(&self, line: &[u8], is_plain: bool) -> bool {
        match &self.reading {
            None => false,
            Some(reading) if reading.is_native() && (is_plain || !takes_a_second_look(line)) => {
                let line = unmarked(line);
                self.kinds.are_settled_by(line) && (is_plain || !lenient::has_half_pair(line))
            }
            Some(reading) => match strict_object(line) {
                // What has to be mended is counted.
                None => false,
                Some(row) => {
                    let rows = reading.convert(row).unwrap_or_default();
                    rows.iter().all(|row| self.kinds.are_settled_by_row(row))
                }
            },
        }
    }

    pub(super) fn absorb(&mut self, line: &[u8]) {
        let Ok((Value::Object(row), mended)) = lenient::value(unmarked(line)) else { return };
        self.mended += mended;
        if self.reading.is_none() {
            self.reading = Reading::recognise(&row, self.asked).or_else(|| self.asked.map(Reading::of));
            let reward = self.reading.as_ref().and_then(|reading| reading.form.reward).filter(|_| !self.names_reward);
            reward.into_iter().for_each(|name| self.kinds.name_reward(name));
        }
        // A row that does not convert is a bad line, and says nothing of the types.
        let rows = self.reading.clone().unwrap_or_default().convert(row).unwrap_or_default();
        rows.iter().for_each(|row| self.kinds.absorb(row));
    }
}

fn strict_object(line: &[u8]) -> Option<Row> {
    serde_json::from_slice(unmarked(line)).ok()
}
