//! Vectors on disk until all of them are there.
//!
//! Owns a journal beside the output: a header with the model's card, then one record of fixed size for each text, appended
//! as it is embedded. A killed run goes on after the last whole record. Each model has a journal of its own: a run with
//! another one takes nothing over, and takes nothing away. Only hashes and places are held in memory; vectors
//! are read back one by one. Who writes the final file, and in what form, is left to others.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{EmbedError, Embedding, ModelCard, TextHash};
use crate::options::TextKind;

const MAGIC: &[u8] = b"purify vectors 1\n";
/// Bytes of a record's own checksum: a power cut can leave zeros where a record should be.
const CHECKSUM: usize = 8;
/// A header that is longer is not one that purify wrote.
const MAX_HEADER: u64 = 1 << 16;

/// What is known of a text besides its vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    slot: u64,
    /// Whether the model's limit cut it.
    pub is_cut: bool,
    /// Bits of the kinds that it was seen as.
    kinds: u8,
}

impl Entry {
    pub fn kinds(self) -> impl Iterator<Item = TextKind> {
        TextKind::ALL.into_iter().filter(move |&kind| self.kinds & bit(kind) != 0)
    }
}

fn bit(kind: TextKind) -> u8 {
    1 << (kind as u8)
}

/// Hidden, beside the output, with a mark of the model.
fn journal_path(out: &Path, card: &ModelCard) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let mark = blake3::hash(format!("{card:?}").as_bytes()).to_hex();
    out.with_file_name(format!(".{name}.{}.journal", &mark[..8]))
}

/// The vectors of one model, by text.
pub struct Store {
    path: PathBuf,
    /// Holds the lock for as long as the store is open.
    reader: File,
    writer: BufWriter<File>,
    dimension: usize,
    header: u64,
    slots: u64,
    /// In order of the hash, so that what is written from it never depends on what came first.
    entries: BTreeMap<TextHash, Entry>,
    /// Texts that an earlier, killed run had embedded.
    pub resumed: u64,
}

impl Store {
    /// Opens the journal of `out`, and takes over what a killed run of the same model has left in it.
    pub fn open(out: &Path, card: &ModelCard) -> Result<Self, EmbedError> {
        // Whatever the model is called.
        let card = &ModelCard { name: String::new(), ..card.clone() };
        let path = journal_path(out, card);
        let failed = |source| EmbedError::Write { path: path.clone(), source };
        if std::fs::symlink_metadata(&path).is_ok_and(|m| !m.is_file()) {
            return Err(failed(io::Error::other("there is something that is not a file")));
        }
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let open = || OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let reader = open().map_err(failed)?;
        match reader.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(EmbedError::Busy { path: out.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut header = MAGIC.to_vec();
        serde_json::to_writer(&mut header, card).map_err(|e| failed(e.into()))?;
        header.push(b'\n');
        let mut store = Store {
            writer: BufWriter::with_capacity(1 << 20, open().map_err(failed)?),
            path: path.clone(),
            reader,
            dimension: card.dimension,
            header: header.len() as u64,
            slots: 0,
            entries: BTreeMap::new(),
            resumed: 0,
        };
        if header.len() as u64 > MAX_HEADER || !store.take_over(&header).map_err(failed)? {
            store.slots = 0;
            store.entries.clear();
            store.writer.get_ref().set_len(0).map_err(failed)?;
            store.writer.write_all(&header).map_err(failed)?;
        }
        store.resumed = store.slots;
        Ok(store)
    }

    fn record_len(&self) -> usize {
        TextHash::LEN + 2 + 4 * self.dimension + CHECKSUM
    }

    /// Reads the records after a header that is ours; whether it is.
    fn take_over(&mut self, header: &[u8]) -> io::Result<bool> {
        let mut reader = BufReader::with_capacity(1 << 20, &self.reader);
        let mut found = vec![0; header.len()];
        match reader.read_exact(&mut found) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        if found != header {
            return Ok(false);
        }
        let mut record = vec![0; self.record_len()];
        let mut entries = BTreeMap::new();
        let mut slots = 0;
        while reader.read_exact(&mut record).is_ok() && is_whole(&record) {
            let mut hash = [0; TextHash::LEN];
            hash.copy_from_slice(&record[..TextHash::LEN]);
            let (is_cut, kinds) = (record[TextHash::LEN] != 0, record[TextHash::LEN + 1]);
            entries.insert(TextHash::from_bytes(hash), Entry { slot: slots, is_cut, kinds });
            slots += 1;
        }
        self.entries = entries;
        self.slots = slots;
        let end = self.header + slots * self.record_len() as u64;
        self.writer.get_ref().set_len(end)?;
        self.writer.seek(SeekFrom::Start(end))?;
        Ok(true)
    }

    pub fn entries(&self) -> impl Iterator<Item = (&TextHash, &Entry)> {
        self.entries.iter()
    }

    pub fn get(&self, hash: &TextHash) -> Option<&Entry> {
        self.entries.get(hash)
    }

    /// Notes that a text whose vector is here was seen as `kind`.
    pub fn see(&mut self, hash: &TextHash, kind: TextKind) {
        if let Some(entry) = self.entries.get_mut(hash) {
            entry.kinds |= bit(kind);
        }
    }

    /// Appends a vector; one that is here already stays.
    ///
    /// # Panics
    /// If the vector has another dimension than the card.
    pub fn put(
        &mut self,
        hash: TextHash,
        kind: TextKind,
        is_cut: bool,
        embedding: &Embedding,
    ) -> Result<(), EmbedError> {
        assert_eq!(embedding.values().len(), self.dimension, "a model has one dimension");
        if self.entries.contains_key(&hash) {
            self.see(&hash, kind);
            return Ok(());
        }
        let mut record = Vec::with_capacity(self.record_len());
        record.extend_from_slice(hash.bytes());
        record.extend_from_slice(&[u8::from(is_cut), bit(kind)]);
        embedding.values().iter().for_each(|v| record.extend_from_slice(&v.to_le_bytes()));
        let checksum = blake3::hash(&record);
        record.extend_from_slice(&checksum.as_bytes()[..CHECKSUM]);
        self.writer.write_all(&record).map_err(|source| self.failed(source))?;
        self.entries.insert(hash, Entry { slot: self.slots, is_cut, kinds: bit(kind) });
        self.slots += 1;
        Ok(())
    }

    /// Hands what was appended to the system: a killed run loses nothing before this.
    pub fn flush(&mut self) -> Result<(), EmbedError> {
        self.writer.flush().map_err(|source| EmbedError::Write { path: self.path.clone(), source })
    }

    /// Reads a vector back, onto the end of `out`. Everything must have been flushed.
    pub fn read(&mut self, entry: Entry, out: &mut Vec<f32>) -> Result<(), EmbedError> {
        let at = self.header + entry.slot * self.record_len() as u64 + (TextHash::LEN + 2) as u64;
        let mut bytes = vec![0; 4 * self.dimension];
        let read = self.reader.seek(SeekFrom::Start(at)).and_then(|_| self.reader.read_exact(&mut bytes));
        read.map_err(|source| EmbedError::Read { path: self.path.clone(), source })?;
        out.extend(bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)));
        Ok(())
    }

    /// Removes the journal: the vectors stand elsewhere.
    pub fn remove(self) -> Result<(), EmbedError> {
        std::fs::remove_file(&self.path).map_err(|source| EmbedError::Write { path: self.path.clone(), source })
    }

    fn failed(&self, source: io::Error) -> EmbedError {
        EmbedError::Write { path: self.path.clone(), source }
    }
}

fn is_whole(record: &[u8]) -> bool {
    let (body, checksum) = record.split_at(record.len() - CHECKSUM);
    &blake3::hash(body).as_bytes()[..CHECKSUM] == checksum
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeEmbedder;
    use super::*;

    fn vector(first: f32) -> Embedding {
        Embedding::new([first, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).expect("a vector")
    }

    fn nameless() -> ModelCard {
        ModelCard { name: String::new(), ..FakeEmbedder::new(1).card }
    }

    fn filled(folder: &Path) -> PathBuf {
        let out = folder.join("steps.parquet");
        let mut store = Store::open(&out, &FakeEmbedder::new(1).card).expect("it opens");
        store.put(TextHash::of("a"), TextKind::Code, false, &vector(1.0)).expect("it is written");
        store.put(TextHash::of("b"), TextKind::Call, true, &vector(2.0)).expect("it is written");
        store.flush().expect("it is written");
        journal_path(&out, &nameless())
    }

    #[test]
    fn killed_run_goes_on_behind_its_last_whole_record() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = filled(folder.path());
        let whole = std::fs::read(&journal).expect("it is there");
        for cut in [1, 20, 70] {
            std::fs::write(&journal, &whole[..whole.len() - cut]).expect("it is written");
            let card = FakeEmbedder::new(1).card;
            let mut store = Store::open(&folder.path().join("steps.parquet"), &card).expect("it opens");
            assert_eq!(store.resumed, 1, "{cut} bytes are missing");
            let entry = *store.get(&TextHash::of("a")).expect("it is there");
            assert!(store.get(&TextHash::of("b")).is_none());
            let mut values = Vec::new();
            store.read(entry, &mut values).expect("it is read");
            assert_eq!(values, vector(1.0).values());
            store.put(TextHash::of("b"), TextKind::Call, true, &vector(2.0)).expect("it is written");
            store.flush().expect("it is written");
            drop(store);
            assert_eq!(std::fs::read(&journal).expect("it is there"), whole);
        }
    }

    #[test]
    fn record_of_zeros_ends_what_is_taken_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = filled(folder.path());
        let mut bytes = std::fs::read(&journal).expect("it is there");
        let end = bytes.len();
        bytes[end - 74..].fill(0);
        std::fs::write(&journal, &bytes).expect("it is written");
        let store = Store::open(&folder.path().join("steps.parquet"), &FakeEmbedder::new(1).card).expect("it opens");
        assert_eq!(store.resumed, 1);
    }

    #[test]
    fn run_with_another_model_takes_nothing_over_and_nothing_away() {
        let folder = tempfile::tempdir().expect("a folder");
        filled(folder.path());
        let (out, card) = (folder.path().join("steps.parquet"), FakeEmbedder::new(1).card);
        let renamed = ModelCard { name: "renamed".to_owned(), ..card.clone() };
        assert_eq!(Store::open(&out, &renamed).expect("it opens").resumed, 2);
        let other = ModelCard { weights: "1".to_owned(), ..card.clone() };
        let store = Store::open(&out, &other).expect("it opens");
        assert_eq!(store.resumed, 0);
        store.remove().expect("it is removed");
        assert_eq!(Store::open(&out, &card).expect("it opens").resumed, 2);
    }

    #[cfg(unix)]
    #[test]
    fn link_in_the_place_of_a_journal_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (out, card) = (folder.path().join("steps.parquet"), FakeEmbedder::new(1).card);
        let precious = folder.path().join("precious");
        std::fs::write(&precious, "text").expect("it is written");
        std::os::unix::fs::symlink(&precious, journal_path(&out, &nameless())).expect("a link");
        assert!(matches!(Store::open(&out, &card), Err(EmbedError::Write { .. })));
        assert_eq!(std::fs::read_to_string(&precious).expect("it is there"), "text");
    }

    #[test]
    fn second_run_on_the_same_output_is_told_to_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let (out, card) = (folder.path().join("steps.parquet"), FakeEmbedder::new(1).card);
        let _first = Store::open(&out, &card).expect("it opens");
        assert!(matches!(Store::open(&out, &card), Err(EmbedError::Busy { .. })));
    }

    #[test]
    fn kinds_of_a_text_add_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(&folder.path().join("s"), &FakeEmbedder::new(1).card).expect("it opens");
        let hash = TextHash::of("ls");
        store.put(hash, TextKind::Code, false, &vector(1.0)).expect("it is written");
        store.put(hash, TextKind::Reasoning, false, &vector(1.0)).expect("it is written");
        let entry = store.get(&hash).expect("it is there");
        assert_eq!(entry.kinds().collect::<Vec<_>>(), [TextKind::Reasoning, TextKind::Code]);
    }
}
