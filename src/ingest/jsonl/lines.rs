//! Text cut into lines, a block of them at a time.

use std::io::{self, BufRead, BufReader, Read};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads whole lines, many at a time.
pub(in crate::ingest) struct LineReader<R> {
    reader: BufReader<R>,
}

impl<R: Read> LineReader<R> {
    pub(in crate::ingest) fn new(source: R) -> Self {
        LineReader { reader: BufReader::with_capacity(1 << 20, source) }
    }

    /// About `bytes` of whole lines, and how many; `None` at the end.
    pub(in crate::ingest) fn next_block(&mut self, bytes: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut block = Vec::with_capacity(bytes + bytes / 8);
        (&mut self.reader).take(bytes as u64).read_to_end(&mut block)?;
        if block.last().is_some_and(|&last| last != b'\n') {
            self.reader.read_until(b'\n', &mut block)?;
        }
        let lines = lines(&block).count() as u64;
        Ok((lines > 0).then_some((block, lines)))
    }

    pub(super) fn next_blocks(&mut self, most: usize, bytes: usize) -> io::Result<Vec<Vec<u8>>> {
        let block = || self.next_block(bytes).map(|block| block.map(|(bytes, _)| bytes)).transpose();
        std::iter::from_fn(block).take(most).collect()
    }
}

/// The lines of a block, with their ends.
pub(super) fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let all = rest;
        // Memory can always be read.
        let length = rest.skip_until(b'\n').unwrap_or_default();
        (length > 0).then(|| &all[..length])
    })
}

/// The lines of a block that may be rows, with their numbers.
pub(super) fn numbered(block: &[u8], first_line: u64) -> impl Iterator<Item = (u64, &[u8])> {
    let stripped = (first_line..).zip(lines(block)).map(|(number, line)| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (number, line.strip_prefix(BYTE_ORDER_MARK).filter(|_| number == 0).unwrap_or(line))
    });
    stripped.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace))
}

/// A line without the mark that some programs put before a file's first.
pub(super) fn unmarked(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
}
