//! Repairs in reach: what is listed stays in memory, the lines in an unnamed temporary file.
//!
//! Owns the places of the lines. A hundred thousand repairs of twenty thousand characters are no matter of memory then.

use std::io::{self, Read, Seek, SeekFrom, Write};

use tempfile::SpooledTempFile;

use crate::audit::report::{DiffLine, RepairView};

/// Bytes of lines that are kept in memory before there is a file.
const IN_MEMORY: usize = 16 << 20;

/// A repair without its lines, and where they are.
pub struct Entry {
    pub view: RepairView,
    at: u64,
    bytes: usize,
}

pub struct Spool {
    pub entries: Vec<Entry>,
    lines: SpooledTempFile,
    end: u64,
}

impl Spool {
    pub fn new() -> Self {
        Spool { entries: Vec::new(), lines: tempfile::spooled_tempfile(IN_MEMORY), end: 0 }
    }

    pub fn push(&mut self, mut view: RepairView) -> io::Result<()> {
        let text = serde_json::to_vec(&std::mem::take(&mut view.lines))?;
        self.lines.write_all(&text)?;
        self.entries.push(Entry { view, at: self.end, bytes: text.len() });
        self.end += text.len() as u64;
        Ok(())
    }

    /// The lines of a repair; none if there is no such repair.
    pub fn lines(&mut self, index: usize) -> io::Result<Vec<DiffLine>> {
        let Some(entry) = self.entries.get(index) else { return Ok(Vec::new()) };
        let mut text = vec![0; entry.bytes];
        self.lines.seek(SeekFrom::Start(entry.at))?;
        self.lines.read_exact(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_in_any_order() {
        let mut spool = Spool::new();
        let lines = |k: u64| vec![DiffLine::Both(format!("{k}\n\u{1b}[31m")), DiffLine::After("ü".repeat(k as usize))];
        for k in 0..100 {
            spool.push(RepairView { repair: k, lines: lines(k), ..RepairView::default() }).expect("room");
        }
        for k in [99, 0, 50, 50, 1] {
            assert_eq!(spool.lines(k).expect("they are there"), lines(k as u64));
            assert_eq!(spool.entries[k].view.repair, k as u64);
        }
        assert_eq!(spool.lines(100).expect("nothing"), []);
    }
}
