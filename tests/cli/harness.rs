//! A temporary folder, the program in it, and what it said; files as rows.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

/// A folder of its own for one test.
pub struct Place(tempfile::TempDir);

/// What a run said.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The JSON object of the last line.
    pub fn json(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    pub fn count(&self, name: &str) -> u64 {
        self.json()[name].as_u64().unwrap_or_else(|| panic!("no counter `{name}` in {}", self.stdout))
    }
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Says loudly that a test could not look at what it is for.
pub fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n");
}

impl Place {
    pub fn new() -> Self {
        Place(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A fixture, copied into the folder under a name.
    pub fn with(&self, fixture_name: &str, name: &str) -> PathBuf {
        let to = self.path(name);
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
        std::fs::copy(fixture(fixture_name), &to).expect("the fixture is there");
        to
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("purify"));
        command.current_dir(self.0.path()).args(args).env("NO_COLOR", "1");
        // The paper's rule: made-up calls are not about anything. Tests of the default rule take it off again.
        command.env("PURIFY_PROFILE", "saar");
        command
    }

    /// As a user runs it who has set nothing.
    pub fn run_by_default(&self, args: &[&str]) -> Said {
        said(&self.command(args).env_remove("PURIFY_PROFILE").output().expect("the program runs"))
    }

    pub fn run(&self, args: &[&str]) -> Said {
        said(&self.command(args).output().expect("the program runs"))
    }

    /// Names of all files below the folder, sorted.
    pub fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, out: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    walk(&path, root, out);
                } else {
                    out.push(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
                }
            }
        }
        let mut out = Vec::new();
        walk(self.0.path(), self.0.path(), &mut out);
        out.sort();
        out
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn rows(&self, name: &str) -> RecordBatch {
        rows(&self.path(name))
    }
}

pub fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A whole Parquet file as one batch.
pub fn rows(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().expect("a reader").map(|b| b.expect("a batch")).collect();
    concat_batches(&schema, &batches).expect("one schema")
}

pub fn write(path: &Path, batch: &RecordBatch, rows_per_group: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows_per_group)).build();
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("rows");
    writer.close().expect("a footer");
}

/// All columns but the provenance.
pub fn without_provenance(batch: &RecordBatch) -> RecordBatch {
    let keep: Vec<usize> =
        (0..batch.num_columns()).filter(|&k| batch.schema().field(k).name() != "purification").collect();
    batch.project(&keep).expect("the columns are there")
}

/// A row of a column as JSON.
pub fn json_rows(batch: &RecordBatch) -> Vec<Value> {
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    writer.write(batch).expect("rows are JSON");
    writer.finish().expect("an end");
    String::from_utf8(out).expect("text").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}
