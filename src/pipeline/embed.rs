//! `purify embed`: every step of the inputs as vectors, each distinct text once.
//!
//! Owns the run: texts from rows, a window of new ones at a time through the model, vectors into the journal, and in the end
//! the file of vectors in order of their hashes and the index of steps. What an earlier file or a killed run has is not
//! embedded again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::semantic::{Engine, same_model};
use crate::embed::EmbedError;
use crate::embed::batch::Batcher;
use crate::embed::store::Store;
use crate::embedding::{ModelCard, TextHash};
use crate::error::Error;
use crate::ingest::vectors::{VectorFile, check_index};
use crate::ingest::{DecodedChunk, Input, expand};
use crate::options::{ColumnConfig, EmbedConfig, TextKind};
use crate::rollout::{Role, Rollout};
use crate::run::{Run, RunError, Task};
use crate::saar::step_text;
use crate::write::vectors::{IndexWriter, VectorWriter, index_path};

/// New texts that are held until they are embedded: enough that most find others of their length.
const WINDOW_TEXTS: usize = 1 << 16;
const WINDOW_BYTES: usize = 64 << 20;

/// What a run did.
#[derive(Debug, Serialize)]
pub struct EmbedSummary {
    pub rows: u64,
    /// Rows that can't be read, by reason.
    pub unreadable: BTreeMap<String, u64>,
    pub first_unreadable: Option<String>,
    pub steps: u64,
    /// Texts of all steps, repeated ones each time.
    pub texts: u64,
    /// Different ones.
    pub distinct: u64,
    /// Share of the texts that repeat another.
    pub repeated_share: f64,
    pub embedded: u64,
    /// Had by the file that was there.
    pub from_file: u64,
    /// Had by a run that was killed.
    pub from_journal: u64,
    /// In the file from before, in none of these inputs.
    pub kept: u64,
    /// Distinct texts of these inputs that the model's limit cuts.
    pub cut: u64,
    /// How often a batch had to be halved because memory ran out.
    pub halved: u32,
    pub model: ModelCard,
    pub outputs: Vec<PathBuf>,
    pub seconds: f64,
    /// Texts that were embedded, by the seconds that the model took.
    pub embedded_per_second: f64,
}

/// Embeds the texts of all inputs.
pub fn embed(
    config: &EmbedConfig,
    columns: &ColumnConfig,
    engine: Engine<'_>,
    run: &Run<'_>,
) -> Result<EmbedSummary, Error> {
    let started = Instant::now();
    let paths = expand(&config.inputs)?;
    let index = index_path(&config.out);
    for out in [&config.out, &index] {
        super::outputs::refuse_input(out, &paths)?;
    }
    if index.exists() {
        check_index(&index)?;
    }
    let card = engine.embedder.card().clone();
    let earlier = match config.out.exists() {
        true => Some(VectorFile::open(&config.out)?),
        false => None,
    };
    if let Some(earlier) = &earlier {
        same_model(&card, "the model", &earlier.card, &config.out)?;
    }
    let mut store = Store::open(&config.out, &card)?;
    let mut summary = EmbedSummary {
        rows: 0,
        unreadable: BTreeMap::new(),
        first_unreadable: None,
        steps: 0,
        texts: 0,
        distinct: 0,
        repeated_share: 0.0,
        embedded: 0,
        from_file: 0,
        from_journal: 0,
        kept: 0,
        cut: 0,
        halved: 0,
        model: card,
        outputs: Vec::new(),
        seconds: 0.0,
        embedded_per_second: 0.0,
    };
    let journaled: HashSet<TextHash> = store.entries().map(|(hash, _)| *hash).collect();
    if let Some(earlier) = earlier {
        let copied: Result<(), Error> =
            earlier.read(|row| Ok(store.put(row.hash, row.kind, row.is_cut, &row.embedding)?));
        if let Err(error) = copied {
            // A journal of copies alone is of no use.
            if journaled.is_empty() {
                store.remove()?;
            }
            return Err(error);
        }
        store.flush()?;
    }
    let mut texts = Texts {
        kinds: kinds(&config.kinds),
        seen: HashMap::new(),
        window: Window::default(),
        batcher: Batcher::new(engine.embedder, engine.batch_tokens, run),
        index: IndexWriter::create(&index)?,
        store,
        run,
        model_seconds: 0.0,
    };
    for path in &paths {
        texts.read(path, columns, &mut summary)?;
    }
    texts.embed_window(&mut summary)?;
    run.progress.finish();
    summary.halved = texts.batcher.halved;
    summary.distinct = texts.seen.len() as u64;
    summary.repeated_share = match summary.texts {
        0 => 0.0,
        texts => 1.0 - summary.distinct as f64 / texts as f64,
    };
    for (hash, seen) in &texts.seen {
        seen.kinds.iter().for_each(|&kind| texts.store.see(hash, kind));
        summary.cut += u64::from(texts.store.get(hash).is_some_and(|e| e.is_cut));
        match seen.is_new {
            true => {}
            false if journaled.contains(hash) => summary.from_journal += 1,
            false => summary.from_file += 1,
        }
    }
    summary.kept = texts.store.entries().filter(|(hash, _)| !texts.seen.contains_key(*hash)).count() as u64;
    if texts.model_seconds > 0.0 {
        summary.embedded_per_second = summary.embedded as f64 / texts.model_seconds;
    }
    let Texts { index: steps, mut store, .. } = texts;
    write_vectors(&config.out, &summary.model, &mut store)?;
    steps.finish()?;
    store.remove()?;
    summary.outputs = vec![config.out.clone(), index];
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// Each kind once, in a fixed order.
fn kinds(asked: &[TextKind]) -> Vec<TextKind> {
    TextKind::ALL.into_iter().filter(|kind| asked.contains(kind)).collect()
}

fn write_vectors(path: &Path, card: &ModelCard, store: &mut Store) -> Result<(), Error> {
    let mut writer = VectorWriter::create(path, card)?;
    let entries: Vec<_> = store.entries().map(|(hash, entry)| (*hash, *entry)).collect();
    let mut vector = Vec::with_capacity(card.dimension);
    for (hash, entry) in entries {
        vector.clear();
        store.read(entry, &mut vector)?;
        for kind in entry.kinds() {
            writer.push(&hash, kind, entry.is_cut, &vector)?;
        }
    }
    writer.finish()?;
    Ok(())
}

/// A text of these inputs.
struct Seen {
    /// Whether no vector was there for it.
    is_new: bool,
    kinds: Vec<TextKind>,
}

/// Texts that wait for the model.
#[derive(Default)]
struct Window {
    texts: Vec<(TextHash, TextKind, String)>,
    bytes: usize,
}

/// The texts of a run, and what is known of them.
struct Texts<'r> {
    kinds: Vec<TextKind>,
    seen: HashMap<TextHash, Seen>,
    window: Window,
    batcher: Batcher<'r>,
    index: IndexWriter,
    store: Store,
    run: &'r Run<'r>,
    model_seconds: f64,
}

impl Texts<'_> {
    fn read(&mut self, path: &Path, columns: &ColumnConfig, summary: &mut EmbedSummary) -> Result<(), Error> {
        let run = self.run;
        let input = run.install(|| Input::open(path, columns))?;
        let read = input.each_decoded(run, |chunk| self.add_chunk(path, chunk, summary));
        read.map_err(|error| match error {
            // What is embedded is kept.
            Error::Run(RunError::Interrupted { signal }) => EmbedError::Interrupted { signal }.into(),
            error => error,
        })
    }

    fn add_chunk(
        &mut self,
        path: &Path,
        (batches, bad_lines): DecodedChunk,
        summary: &mut EmbedSummary,
    ) -> Result<(), Error> {
        summary.rows += bad_lines.len() as u64;
        let mut bad: Vec<_> = bad_lines.into_iter().map(|line| (line.row, line.error)).collect();
        for batch in &batches {
            for row in 0..batch.rows() {
                match batch.rollout(row) {
                    Ok(rollout) => self.add(&rollout, summary)?,
                    Err(error) => bad.push((batch.number(row), error)),
                }
                summary.rows += 1;
            }
        }
        bad.sort_by_key(|(row, _)| *row);
        for (row, error) in bad {
            *summary.unreadable.entry(error.code().to_owned()).or_default() += 1;
            let text = || format!("row {row} of `{}`: {error}", path.to_string_lossy());
            summary.first_unreadable.get_or_insert_with(text);
        }
        Ok(())
    }

    fn add(&mut self, rollout: &Rollout<'_>, summary: &mut EmbedSummary) -> Result<(), Error> {
        let steps = rollout.messages.iter().filter(|m| m.role == Role::Assistant);
        for (step, message) in steps.enumerate() {
            summary.steps += 1;
            for kind in self.kinds.clone() {
                let text = step_text(message, kind);
                if text.is_empty() {
                    continue;
                }
                let hash = TextHash::of(&text);
                summary.texts += 1;
                self.index.push(&rollout.id, step, kind, &hash)?;
                self.take(hash, kind, &text, summary)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, hash: TextHash, kind: TextKind, text: &str, summary: &mut EmbedSummary) -> Result<(), Error> {
        match self.seen.entry(hash) {
            Entry::Occupied(mut seen) => {
                if !seen.get().kinds.contains(&kind) {
                    seen.get_mut().kinds.push(kind);
                }
                return Ok(());
            }
            Entry::Vacant(vacant) => {
                let is_new = self.store.get(&hash).is_none();
                vacant.insert(Seen { is_new, kinds: vec![kind] });
                if !is_new {
                    return Ok(());
                }
            }
        }
        self.window.bytes += text.len();
        self.window.texts.push((hash, kind, text.to_owned()));
        if self.window.texts.len() >= WINDOW_TEXTS || self.window.bytes >= WINDOW_BYTES {
            self.embed_window(summary)?;
        }
        Ok(())
    }

    fn embed_window(&mut self, summary: &mut EmbedSummary) -> Result<(), Error> {
        let Window { texts, .. } = std::mem::take(&mut self.window);
        if texts.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let total = Some(summary.embedded + texts.len() as u64);
        self.run.progress.start(Task { unit: "texts", file: None, done: summary.embedded, total });
        let borrowed: Vec<&str> = texts.iter().map(|(_, _, text)| text.as_str()).collect();
        let (store, progress) = (&mut self.store, self.run.progress);
        let result = self.batcher.embed(&borrowed, |batch| {
            for one in &batch {
                let (hash, kind, _) = &texts[one.index];
                store.put(*hash, *kind, one.length.is_cut, &one.embedding)?;
            }
            // What is done is kept, whatever ends the run.
            store.flush()?;
            progress.advance(batch.len() as u64);
            Ok::<(), Error>(())
        });
        self.model_seconds += started.elapsed().as_secs_f64();
        result?;
        summary.embedded += texts.len() as u64;
        Ok(())
    }
}
