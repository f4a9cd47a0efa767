//! Writes files whole or not at all.
//!
//! Owns output paths, Parquet encoding and the rename: a reader never sees a partial file under its final name.
//! Building batches is left to [`crate::batch`]. Bytes depend on the batches alone.

pub mod export;
pub mod results;
pub mod scores;
pub mod vectors;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowLeafColumn, ArrowRowGroupWriterFactory, ArrowWriter, ArrowWriterOptions, compute_leaves,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use serde::Serialize;

use crate::options::CompressionLevel;

/// Why an output can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("`{}` can't be written", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` can't be encoded", path.display())]
    Encode { path: PathBuf, source: ParquetError },
    #[error("`{}` is being written by another run", path.display())]
    Busy { path: PathBuf },
    #[error("`{}` is the input itself", path.display())]
    IsInput { path: PathBuf },
    #[error("`{}` is a file, expected a folder for {inputs} inputs", path.display())]
    NeedsFolder { path: PathBuf, inputs: usize },
    #[error("`{}` belongs to another run: this one writes {total} such files", path.display())]
    OtherRun { path: PathBuf, total: usize },
    #[error("`{}` exists and was not written by purify", path.display())]
    Foreign { path: PathBuf },
    #[error("the columns of `{}` can't be built", path.display())]
    Columns { path: PathBuf, source: arrow::error::ArrowError },
}

impl WriteError {
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            WriteError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or give --out on another disk; no partial file was left")
            }
            WriteError::Io { .. } => Some("check that the folder of --out exists and may be written to"),
            WriteError::Busy { .. } => Some("wait for it, or give another --out"),
            WriteError::IsInput { .. } => Some("give another name: an input is never changed"),
            WriteError::OtherRun { .. } => {
                Some("remove it, or give another --out: a reader would take both for one data set")
            }
            WriteError::Foreign { .. } => Some("move it away, or give another --out"),
            WriteError::NeedsFolder { .. } => Some("give --out the name of a folder"),
            WriteError::Encode { .. } | WriteError::Columns { .. } => None,
        }
    }
}

/// What a finished file is, for the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct FileRecord {
    pub file: String,
    pub rows: u64,
    pub bytes: u64,
    pub blake3: String,
}

/// A file under a temporary name beside its final one, locked, hashed as it is written.
pub struct AtomicFile {
    path: PathBuf,
    partial: PathBuf,
    inner: BufWriter<File>,
    is_whole: bool,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl AtomicFile {
    /// Takes over what a killed run has left under the temporary name.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Io { path: path.to_owned(), source };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = folder.join(format!(".{name}.partial"));
        loop {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&partial)
                .map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(WriteError::Busy { path: path.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            // Between opening and locking the other run may have renamed the file to its final name.
            if !is_same_file(&file, &partial) {
                continue;
            }
            file.set_len(0).map_err(failed)?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            return Ok(AtomicFile {
                path: path.to_owned(),
                partial,
                inner: BufWriter::with_capacity(1 << 20, file),
                is_whole: false,
                hasher: blake3::Hasher::new(),
                bytes: 0,
            });
        }
    }

    /// Gives what a library has put in the place of the temporary file the final name, readable by whom a new file of ours is.
    fn adopt(mut self) -> Result<(), WriteError> {
        let failed = |source| WriteError::Io { path: self.path.clone(), source };
        let usual = self.inner.get_ref().metadata().map_err(failed)?.permissions();
        std::fs::set_permissions(&self.partial, usual).map_err(failed)?;
        File::open(&self.partial).and_then(|file| file.sync_all()).map_err(failed)?;
        std::fs::rename(&self.partial, &self.path).map_err(failed)?;
        self.is_whole = true;
        Ok(())
    }

    /// Flushes to the disk and gives the file its final name.
    pub fn finish(mut self, rows: u64) -> Result<FileRecord, WriteError> {
        let failed = |source| WriteError::Io { path: self.path.clone(), source };
        self.inner.flush().map_err(failed)?;
        self.inner.get_ref().sync_all().map_err(failed)?;
        std::fs::rename(&self.partial, &self.path).map_err(failed)?;
        self.is_whole = true;
        Ok(FileRecord {
            file: self.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            rows,
            bytes: self.bytes,
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }
}

impl Write for AtomicFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.hasher.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_whole {
            // Nothing can be done about a failure here; the next run takes the file over.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(not(unix))]
fn is_same_file(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Writes a small file whole or not at all.
pub fn write_text(path: &Path, text: &str) -> Result<FileRecord, WriteError> {
    write_bytes(path, text.as_bytes())
}

/// The same of any bytes.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<FileRecord, WriteError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(|source| WriteError::Io { path: path.to_owned(), source })?;
    file.finish(0)
}

/// Lets a library that takes nothing but a path write a file whole or not at all.
pub fn write_by<E: From<WriteError>>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let file = AtomicFile::create(path)?;
    write(&file.partial)?;
    Ok(file.adopt()?)
}

/// Removes what an earlier run has written under a name that this run does not use.
pub fn remove_stale(path: &Path) -> Result<(), WriteError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(WriteError::Io { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A row group, encoded on any thread, to be appended in order.
pub struct EncodedRows {
    columns: Vec<ArrowColumnChunk>,
    rows: u64,
}

/// Encodes batches of one schema; shared by all threads.
pub struct Encoder {
    path: PathBuf,
    schema: SchemaRef,
    factory: ArrowRowGroupWriterFactory,
}

/// A Parquet file that is written row group by row group.
pub struct ParquetFile {
    path: PathBuf,
    writer: SerializedFileWriter<AtomicFile>,
    rows: u64,
}

/// How a Parquet output is written.
#[derive(Clone, Debug)]
pub struct ParquetForm {
    pub schema: SchemaRef,
    /// The file's own key-value metadata.
    pub metadata: Vec<KeyValue>,
    /// zstd's.
    pub compression_level: CompressionLevel,
}

impl ParquetForm {
    fn writer<W: Write + Send>(&self, path: &Path, sink: W) -> Result<ArrowWriter<W>, WriteError> {
        let failed = |source| encode_error(path, source);
        let level = ZstdLevel::try_new(self.compression_level.get() as i32).map_err(failed)?;
        // The Arrow schema's metadata stands in the file's as well, and is the newer of the two.
        let updated = |kv: &KeyValue| match self.schema.metadata().get(&kv.key) {
            Some(value) => KeyValue::new(kv.key.clone(), value.clone()),
            None => kv.clone(),
        };
        let key_values: Vec<KeyValue> = self.metadata.iter().map(updated).collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_key_value_metadata((!key_values.is_empty()).then_some(key_values))
            .set_created_by(format!("purify {}", env!("CARGO_PKG_VERSION")))
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties);
        ArrowWriter::try_new_with_options(sink, Arc::clone(&self.schema), options).map_err(failed)
    }
}

fn encode_error(path: &Path, source: ParquetError) -> WriteError {
    match source {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => WriteError::Io { path: path.to_owned(), source: *source },
            Err(inner) => WriteError::Encode { path: path.to_owned(), source: ParquetError::External(inner) },
        },
        source => WriteError::Encode { path: path.to_owned(), source },
    }
}

impl Encoder {
    /// Encodes for the file that `form` describes; the file itself need not be there yet.
    pub fn new(path: &Path, form: &ParquetForm) -> Result<Self, WriteError> {
        let writer = form.writer(path, io::sink())?;
        let (_, factory) = writer.into_serialized_writer().map_err(|source| encode_error(path, source))?;
        Ok(Encoder { path: path.to_owned(), schema: Arc::clone(&form.schema), factory })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Encodes batches as one row group.
    pub fn encode(&self, batches: &[RecordBatch]) -> Result<EncodedRows, WriteError> {
        let failed = |source| encode_error(&self.path, source);
        let writers = self.factory.create_column_writers(0).map_err(failed)?;
        let mut leaves: Vec<Vec<ArrowLeafColumn>> = writers.iter().map(|_| Vec::new()).collect();
        for batch in batches {
            let mut next = leaves.iter_mut();
            for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
                for (leaf, column) in compute_leaves(field, array).map_err(failed)?.into_iter().zip(&mut next) {
                    column.push(leaf);
                }
            }
        }
        let columns: Result<Vec<ArrowColumnChunk>, ParquetError> = writers
            .into_iter()
            .zip(leaves)
            .map(|(mut writer, leaves)| {
                leaves.iter().try_for_each(|leaf| writer.write(leaf))?;
                writer.close()
            })
            .collect();
        Ok(EncodedRows { columns: columns.map_err(failed)?, rows: batches.iter().map(|b| b.num_rows() as u64).sum() })
    }
}

impl ParquetFile {
    pub fn create(path: &Path, form: &ParquetForm) -> Result<Self, WriteError> {
        let writer = form.writer(path, AtomicFile::create(path)?)?;
        let (writer, _) = writer.into_serialized_writer().map_err(|source| encode_error(path, source))?;
        Ok(ParquetFile { path: path.to_owned(), writer, rows: 0 })
    }

    pub fn append(&mut self, rows: EncodedRows) -> Result<(), WriteError> {
        if rows.rows == 0 {
            return Ok(());
        }
        let failed = |source| encode_error(&self.path, source);
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for column in rows.columns {
            column.append_to_row_group(&mut group).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.rows += rows.rows;
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows appended so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the footer and gives the file its final name.
    pub fn finish(self) -> Result<FileRecord, WriteError> {
        let (path, rows) = (self.path, self.rows);
        self.writer.into_inner().map_err(|source| encode_error(&path, source))?.finish(rows)
    }
}
