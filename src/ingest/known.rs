//! Inputs that were looked at and closed again, until their rows are read.
//!
//! Owns what is kept of them: what their rows look like, a few kilobytes each, and neither a handle nor a row, so that thousands
//! of inputs can be checked before the first is read. What takes a pass over the rows is not found out a second time.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::chunk::Shape;
use super::container::Format;
use super::error::IngestError;
use super::input::{Input, Reader};
use super::jsonl::LineReader;
use super::parquet_file;
use super::source::Source;
use crate::schema::Columns;

/// An input without its reader.
#[derive(Clone, Debug)]
pub struct KnownInput {
    pub format: Format,
    /// Bytes.
    pub size: u64,
    /// Known beforehand for Parquet.
    pub rows: Option<u64>,
    pub shape: Shape,
    modified: Option<SystemTime>,
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|found| found.modified()).ok()
}

impl Input {
    /// Closes the file, and keeps what is known of it.
    pub fn close(self) -> KnownInput {
        let (format, size, rows, shape) = (self.format, self.size, self.rows, self.shape());
        KnownInput { format, size, rows, modified: modified(&shape.path), shape }
    }
}

impl KnownInput {
    /// Opens it to be read from its beginning.
    ///
    /// # Errors
    /// A file that has changed since it was looked at.
    pub fn open(&self) -> Result<Input, IngestError> {
        let Shape { path, reading, notes, conversion, schema, columns, stem } = self.shape.clone();
        let failed = |source| IngestError::Open { path: path.clone(), source };
        let file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != self.size || modified(&path) != self.modified {
            return Err(IngestError::Changed { path });
        }
        let (reader, metadata) = match self.format {
            Format::Parquet => {
                let (reader, metadata) = parquet_file::reopen(&path, file)?;
                (Reader::Parquet(Box::new(reader)), metadata)
            }
            Format::JsonLines | Format::Json | Format::Zip => {
                let asked = Some(reading.form).filter(|form| form.gathers());
                let lines = Source::open(&path, self.format, asked)?.read(&path)?;
                (Reader::Lines(LineReader::new(lines)), Vec::new())
            }
        };
        Ok(Input {
            path,
            format: self.format,
            size: self.size,
            rows: self.rows,
            reading,
            notes,
            conversion,
            schema: Arc::clone(&schema),
            columns,
            metadata,
            reader,
            next_row: 0,
            stem,
        })
    }
}

impl KnownInput {
    /// Its rows with nothing but their groups and rewards, where that spares work; `None` if it has not both.
    ///
    /// # Errors
    /// As [`KnownInput::open`].
    pub fn rewards(&self) -> Result<Option<Input>, IngestError> {
        let columns = &self.shape.columns;
        let (Some(group), Some(reward)) = (columns.group, columns.reward) else { return Ok(None) };
        let mut input = self.open()?;
        if self.shape.conversion.is_some() {
            return Ok(Some(input));
        }
        let kept = [group.min(reward), group.max(reward)];
        let place = |column: usize| kept.iter().position(|&k| k == column);
        let failed = |source| IngestError::Rows { path: self.shape.path.clone(), row: 0, source };
        if let Reader::Parquet(_) = input.reader {
            let file = File::open(&self.shape.path)
                .map_err(|source| IngestError::Open { path: self.shape.path.clone(), source })?;
            input.reader = Reader::Parquet(Box::new(parquet_file::reopen_columns(&self.shape.path, file, &kept)?));
        }
        input.schema = Arc::new(self.shape.schema.project(&kept).map_err(failed)?);
        input.columns = Columns { group: place(group), reward: place(reward), ..Columns::default() };
        Ok(Some(input))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::batch::Decoded;

    const FIXTURES: [&str; 9] = [
        "formats/verl.parquet",
        "formats/sharegpt.parquet",
        "formats/json_calls.parquet",
        "formats/traces.jsonl",
        "formats/swe_agent.traj",
        "formats/claude_code.jsonl.gz",
        "formats/tau2_bench.json",
        "formats/inspect_ai.eval",
        "rollouts/all.parquet",
    ];

    fn copied(folder: &Path, fixture: &str) -> PathBuf {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
        let to = folder.join(from.file_name().expect("a name"));
        std::fs::copy(from, &to).expect("a fixture");
        to
    }

    fn batches(mut input: Input) -> Vec<arrow::array::RecordBatch> {
        let mut out = Vec::new();
        while let Some((batches, _)) = input.next_decoded().expect("it can be read") {
            out.extend(batches.into_iter().map(|Decoded { batch, .. }| batch));
        }
        out
    }

    #[test]
    fn known_input_is_read_as_one_that_was_just_opened_whatever_wrote_it() {
        let (folder, columns) = (tempfile::tempdir().expect("a folder"), Default::default());
        for fixture in FIXTURES {
            let path = copied(folder.path(), fixture);
            let known = Input::open(&path, &columns).expect(fixture).close();
            #[cfg(target_os = "linux")]
            assert_eq!(handles(&path), 0, "{fixture} is still open");
            let reopened = known.open().expect(fixture);
            let opened = Input::open(&path, &columns).expect(fixture);
            assert_eq!(reopened.metadata, opened.metadata, "{fixture}");
            assert_eq!(batches(reopened), batches(opened), "{fixture}");
        }
    }

    #[cfg(target_os = "linux")]
    fn handles(path: &Path) -> usize {
        let links = std::fs::read_dir("/proc/self/fd").expect("this process").flatten();
        links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|target| target == path)).count()
    }

    #[test]
    fn file_that_was_changed_since_it_was_looked_at_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = copied(folder.path(), FIXTURES[0]);
        let known = Input::open(&path, &Default::default()).expect("a fixture").close();
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes.push(b'\n');
        std::fs::write(&path, bytes).expect("it is written");
        assert!(matches!(known.open(), Err(IngestError::Changed { .. })));
    }
}
