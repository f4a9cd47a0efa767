//! Vectors for similarity by meaning, gathered before anything is written.
//!
//! Owns the first look at the inputs, which finds the texts that will be compared, and the gathering of their vectors: from
//! files of `purify embed`, and from a model for those that no file has. So the main job itself only ever looks vectors up,
//! its order and its threads are what they always are, and a text without a vector ends the run before it began.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{check, purifier};
use crate::embed::batch::Batcher;
use crate::embed::{EmbedError, Embedder};
use crate::embedding::{ModelCard, TextHash};
use crate::error::Error;
use crate::ingest::vectors::VectorFile;
use crate::ingest::{Chunk, IngestError, Input, Shape, decode_chunk, expand};
use crate::options::{Fraction, Options, SimilarityMetric, TextKind};
use crate::purifier::UnfitOptions;
use crate::rollout::Rollout;
use crate::run::{Run, Task};
use crate::saar::{Comparison, Known, Plan, Planner, step_text};
use crate::similarity::semantic::{Vectors, default_threshold};
use crate::similarity::{Measure, Similarity};
use crate::steps::Trajectory;

/// Vectors for a run, and what a user should know about them.
#[derive(Debug)]
pub struct Prepared {
    pub vectors: Vectors,
    pub card: ModelCard,
    /// Distinct texts that are compared.
    pub texts: u64,
    /// Those that no file had.
    pub embedded: u64,
    /// Embedded ones that the model's limit cut.
    pub cut: u64,
}

/// A model, and how much of it goes through at once.
pub struct Engine<'e> {
    pub embedder: &'e mut dyn Embedder,
    pub batch_tokens: Option<usize>,
}

/// Where vectors come from.
#[derive(Default)]
pub struct Sources<'e> {
    /// Files that `purify embed` has written.
    pub files: &'e [PathBuf],
    /// Embeds what no file has.
    pub engine: Option<Engine<'e>>,
}

/// Gathers the vectors that a run with these settings needs, and completes the settings: the threshold, if none is given,
/// and the model's card.
///
/// # Errors
/// A file that is not a file of vectors, vectors of two models, a text without a vector, no threshold.
pub fn prepare(
    inputs: &[PathBuf],
    settings: &mut Options,
    sources: Sources<'_>,
    run: &Run<'_>,
) -> Result<Option<Prepared>, Error> {
    if !settings.semantic.is_used(settings.method.similarity_metric) {
        return Ok(None);
    }
    let prepared = gather(inputs, settings, sources, run)?;
    if settings.method.similarity_metric == SimilarityMetric::Semantic {
        settings.semantic.semantic_threshold = Some(threshold(settings, &prepared).ok_or_else(no_threshold)?);
    }
    settings.vectors = serde_json::to_value(&prepared.card).ok();
    Ok(Some(prepared))
}

/// The threshold of the settings, else the one that is known for the model of these vectors.
pub fn threshold(settings: &Options, prepared: &Prepared) -> Option<Fraction> {
    let known = || default_threshold(&prepared.card, settings.semantic.semantic_of).and_then(Fraction::new);
    settings.semantic.semantic_threshold.or_else(known)
}

fn no_threshold() -> Error {
    UnfitOptions::NoThreshold.into()
}

/// The vectors of all texts that are compared in the inputs.
pub(super) fn gather(
    inputs: &[PathBuf],
    settings: &Options,
    sources: Sources<'_>,
    run: &Run<'_>,
) -> Result<Prepared, Error> {
    let Sources { files, engine } = sources;
    if engine.is_none() && files.is_empty() {
        return Err(UnfitOptions::NoVectors.into());
    }
    let mut card = engine.as_ref().map(|e| (e.embedder.card().clone(), "the model".to_owned()));
    for path in files {
        let found = VectorFile::open(path)?.card;
        match &card {
            Some((first, name)) => same_model(first, name, &found, path)?,
            None => card = Some((found, format!("`{}`", path.display()))),
        }
    }
    let needs = Needs::find(inputs, settings, engine.is_some(), run)?;
    let kind = settings.semantic.semantic_of;
    let mut vectors = Vectors::default();
    for path in files {
        VectorFile::open(path)?.read(|row| {
            if needs.texts.contains_key(&row.hash) {
                vectors.insert(row.hash, row.embedding);
            }
            Ok::<(), IngestError>(())
        })?;
    }
    let missing: Vec<(&TextHash, &Need)> = needs.texts.iter().filter(|(hash, _)| !vectors.contains(hash)).collect();
    let (mut embedded, mut cut) = (0, 0);
    if let (false, Some(engine)) = (missing.is_empty(), engine) {
        let texts: Vec<&str> = missing.iter().filter_map(|(_, need)| need.text.as_deref()).collect();
        run.progress.start(Task { unit: "texts", file: None, done: 0, total: Some(texts.len() as u64) });
        let mut found = Vec::new();
        let mut batcher = Batcher::new(engine.embedder, engine.batch_tokens, run);
        batcher.embed(&texts, |batch| {
            run.progress.advance(batch.len() as u64);
            found.extend(batch);
            Ok::<(), EmbedError>(())
        })?;
        run.progress.finish();
        embedded = found.len() as u64;
        cut = found.iter().filter(|e| e.length.is_cut).count() as u64;
        for one in found {
            vectors.insert(*missing[one.index].0, one.embedding);
        }
    } else if let Some((_, need)) = missing.iter().min_by_key(|(_, need)| (need.file, need.row)) {
        return Err(Error::NoVector {
            path: needs.files[need.file].clone(),
            row: need.row,
            kind: kind.name(),
            missing: missing.len(),
            texts: needs.texts.len(),
        });
    }
    let Some((card, _)) = card else { return Err(no_threshold()) };
    Ok(Prepared { vectors, card, texts: needs.texts.len() as u64, embedded, cut })
}

/// Vectors of two models can't be compared.
pub(super) fn same_model(first: &ModelCard, first_name: &str, found: &ModelCard, path: &Path) -> Result<(), Error> {
    match found.difference(first) {
        None => Ok(()),
        Some((what, found, expected)) => Err(Error::Mismatch {
            path: path.to_owned(),
            detail: format!(
                "its vectors are of another model: {what} is {found}, expected {expected} as of {first_name}"
            ),
            hint: "embed with one model, or write to another file",
        }),
    }
}

/// A text that will be compared.
struct Need {
    /// Where it stands first.
    file: usize,
    row: u64,
    /// Kept only where it may have to be embedded.
    text: Option<Box<str>>,
}

/// The texts that a run compares.
struct Needs {
    files: Vec<PathBuf>,
    texts: BTreeMap<TextHash, Need>,
}

/// A measure that takes no time: which runs are repaired does not depend on it.
struct Nothing;

impl Measure for Nothing {
    fn similarity(&self, _: &str, _: &str) -> Similarity {
        Similarity::new(1.0)
    }
}

impl Needs {
    fn find(inputs: &[PathBuf], settings: &Options, keeps_text: bool, run: &Run<'_>) -> Result<Needs, Error> {
        let mut out = Needs { files: expand(inputs)?, texts: BTreeMap::new() };
        let kind = settings.semantic.semantic_of;
        let texts = |trajectory: &Trajectory<'_, '_>, plan: &Plan| {
            let steps = plan.repairs.iter().flat_map(|repair| repair.steps.clone());
            let text = |step: usize| needed(trajectory.rollout, trajectory.steps[step].message, kind, keeps_text);
            steps.filter_map(text).collect::<Vec<_>>()
        };
        let files = out.files.clone();
        for_each_plan(&files, settings, None, run, texts, |(file, row), found| {
            for (hash, text) in found {
                out.texts.entry(hash).or_insert(Need { file, row, text });
            }
        })?;
        Ok(out)
    }
}

/// The text of a message that is compared, by its hash; none if it is empty.
fn needed(
    rollout: &Rollout<'_>,
    message: usize,
    kind: TextKind,
    keeps_text: bool,
) -> Option<(TextHash, Option<Box<str>>)> {
    let text = step_text(&rollout.messages[message], kind);
    (!text.is_empty()).then(|| (TextHash::of(&text), keeps_text.then(|| Box::from(&*text))))
}

/// Goes over the plan of every row that can be read, and hands what `look` sees in each to `take`, with (file, row). The other
/// rows are passed over; the run itself rejects them. Without a comparison the granularity of the plans means nothing.
pub(super) fn for_each_plan<X: Send>(
    files: &[PathBuf],
    settings: &Options,
    comparison: Option<Comparison<'_>>,
    run: &Run<'_>,
    look: impl Fn(&Trajectory<'_, '_>, &Plan) -> X + Sync,
    mut take: impl FnMut((usize, u64), X),
) -> Result<(), Error> {
    let mut lexical = settings.clone();
    lexical.method.similarity_metric = SimilarityMetric::Lexical;
    lexical.semantic.also_semantic = false;
    let purifier = purifier(&lexical, None)?;
    let comparison = comparison.unwrap_or(Comparison::Text(&Nothing));
    let planner = Planner { config: &purifier.options().method, comparison, marker: purifier.marker() };
    let seen = |chunk: Chunk, shape: &Shape| -> Result<Vec<(u64, X)>, Error> {
        let (batches, _) = decode_chunk(chunk, shape)?;
        let mut out = Vec::new();
        for batch in &batches {
            for row in (0..batch.rows()).filter(|&row| purifier.is_ours(batch.group(row), &batch.id(row))) {
                let Ok(rollout) = batch.rollout(row) else { continue };
                let trajectory = Trajectory::new(&rollout, purifier.detector());
                let Ok(plan) = planner.plan(&trajectory, Known::nothing()) else { continue };
                out.push((batch.number(row), look(&trajectory, &plan)));
            }
        }
        Ok(out)
    };
    for (file, path) in files.iter().enumerate() {
        let input = run.install(|| Input::open(path, &settings.columns))?;
        check(&purifier, &input.path, input.columns.response.is_some())?;
        input.each_chunk(run, seen, |rows| {
            rows.into_iter().for_each(|(row, found)| take((file, row), found));
            Ok(())
        })?;
    }
    Ok(())
}
