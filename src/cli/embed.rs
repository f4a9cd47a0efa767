//! `purify embed`, `purify calibrate`, and the vectors of the main job: what is shown while texts are embedded, and what is
//! said in the end.

use std::path::PathBuf;

use crate::embed::Embedder;
use crate::error::{Error, ExitStatus};
use crate::options::{CalibrateConfig, ColumnConfig, EmbedConfig, EmbedModel, Options};
use crate::pipeline::calibrate::{Agreement, Calibration, calibrate};
use crate::pipeline::embed;
use crate::pipeline::semantic::{Engine, Prepared, Sources, prepare};
use crate::run::Run;

use super::printer::{Printer, Verbosity, escaped};
use super::progress::TerminalProgress;
use super::signals::Watch;

/// Below this agreement is called fair at best (Landis and Koch, 1977: 0.21 to 0.40 is fair).
const MIN_KAPPA: f64 = 0.4;

/// Embeds the inputs' steps.
pub(super) fn run(
    config: &EmbedConfig,
    model: &EmbedModel,
    columns: &ColumnConfig,
    printer: &Printer,
) -> Result<ExitStatus, Error> {
    let signals = super::signals::watch();
    let mut loaded = load(model, printer)?.ok_or_else(|| {
        Error::usage(
            "no embedding model is named",
            Some("give --embed-model with its folder, or a known name such as minilm"),
        )
    })?;
    let progress = signals.progress(printer);
    let run = Run::new(0, &progress, &signals.seen)?;
    let summary = embed::embed(config, columns, engine(loaded.as_mut(), model), &run)?;
    let card = &summary.model;
    printer.line(&format!(
        "{} rollouts, {} steps, {} texts, {} of them distinct ({:.1}% repeat another)",
        summary.rows,
        summary.steps,
        summary.texts,
        summary.distinct,
        100.0 * summary.repeated_share
    ));
    printer.line(&format!(
        "{} embedded by `{}` ({}, {}, {}) at {:.0} texts/s; {} were already in the file, {} in the journal of a killed run",
        summary.embedded,
        escaped(&card.name),
        card.engine,
        card.precision,
        card.device,
        summary.embedded_per_second,
        summary.from_file,
        summary.from_journal
    ));
    if summary.kept > 0 {
        printer.line(&format!("texts in the file that these inputs do not contain (kept): {}", summary.kept));
    }
    if summary.cut > 0 {
        printer.line(&format!("texts truncated at the model's limit of {} tokens: {}", card.max_tokens, summary.cut));
    }
    if summary.halved > 0 {
        printer.line(&format!("batches halved because memory ran out: {} times", summary.halved));
    }
    let unreadable: u64 = summary.unreadable.values().sum();
    for (reason, rows) in &summary.unreadable {
        printer.line(&format!("rows that can't be read ({}): {rows}", escaped(reason)));
    }
    if let Some(first) = &summary.first_unreadable {
        printer.line(&format!("the first: {}", escaped(first)));
    }
    for path in &summary.outputs {
        printer.line(&format!("wrote {}", escaped(&path.to_string_lossy())));
    }
    printer.json(&serde_json::to_value(&summary).unwrap_or_default());
    match config.strict && unreadable > 0 {
        true => Err(Error::Gates { failed: 1, gates: 1 }),
        false => Ok(ExitStatus::Done),
    }
}

/// Finds the semantic threshold that agrees best with the decision by text.
pub(super) fn run_calibrate(
    config: &CalibrateConfig,
    model: &EmbedModel,
    settings: &Options,
    files: &[PathBuf],
    printer: &Printer,
) -> Result<ExitStatus, Error> {
    let signals = super::signals::watch();
    let mut loaded = load(model, printer)?;
    // Nothing is written that had to be tidied up.
    let progress = TerminalProgress::new(printer, None);
    let run = Run::new(0, &progress, &signals.seen)?;
    let engine = loaded.as_mut().map(|embedder| engine(embedder.as_mut(), model));
    let found = calibrate(&config.inputs, settings, Sources { files, engine }, &run)?;
    if printer.verbosity() > Verbosity::Quiet {
        table(&found).iter().for_each(|line| printer.line(line));
    }
    printer.json(&serde_json::to_value(&found).unwrap_or_default());
    Ok(ExitStatus::Done)
}

fn table(found: &Calibration) -> Vec<String> {
    let line = |a: &Agreement| {
        format!(
            "  {:>9.3} {:>13} {:>11} {:>12} {:>15} {:>9.1}% {:>7.3}",
            a.threshold,
            a.both_shallow,
            a.both_deep,
            a.text_deep,
            a.meaning_deep,
            100.0 * a.agreement,
            a.kappa
        )
    };
    let mut out = vec![
        format!(
            "{} repairs; deep by text below {}, by meaning (`{}`, cosine of {}) deep below:",
            found.repairs,
            found.similarity_threshold,
            escaped(&found.model.name),
            found.semantic_of.name()
        ),
        "  threshold  both shallow   both deep  deep by text  deep by meaning   agree    kappa".to_owned(),
    ];
    out.extend(found.table.iter().map(line));
    out.push("best agreement beyond chance:".to_owned());
    out.push(line(&found.best));
    if found.best.kappa < MIN_KAPPA {
        out.push(format!(
            "kappa is below {MIN_KAPPA}: on this data the two measure different things, and no threshold makes them agree"
        ));
    }
    if found.cut > 0 {
        out.push(format!("texts truncated at the model's limit of {} tokens: {}", found.model.max_tokens, found.cut));
    }
    out
}

/// The vectors of a run that compares by meaning.
pub(super) fn vectors(
    inputs: &[PathBuf],
    model: &EmbedModel,
    files: &[PathBuf],
    settings: &mut Options,
    threads: usize,
    signals: &Watch,
    printer: &Printer,
) -> Result<Option<Prepared>, Error> {
    if !settings.semantic.is_used(settings.method.similarity_metric) {
        if !files.is_empty() || settings.semantic.semantic_threshold.is_some() {
            printer.line("nothing is compared by meaning: give --similarity-metric semantic or --also-semantic");
        }
        return Ok(None);
    }
    let mut loaded = load(model, printer)?;
    // Nothing is written yet that had to be tidied up.
    let progress = TerminalProgress::new(printer, None);
    let run = Run::new(threads, &progress, &signals.seen)?;
    let engine = loaded.as_mut().map(|embedder| engine(embedder.as_mut(), model));
    let prepared = prepare(inputs, settings, Sources { files, engine }, &run)?;
    if let Some(prepared) = &prepared {
        printer.detail(&format!(
            "{} texts are compared by meaning, {} of them embedded now; `{}`, {}, {}",
            prepared.texts,
            prepared.embedded,
            escaped(&prepared.card.name),
            prepared.card.engine,
            prepared.card.device
        ));
        if prepared.cut > 0 {
            let (cut, limit) = (prepared.cut, prepared.card.max_tokens);
            printer.line(&format!("texts truncated at the model's limit of {limit} tokens: {cut}"));
        }
    }
    Ok(prepared)
}

fn engine<'e>(embedder: &'e mut dyn Embedder, model: &EmbedModel) -> Engine<'e> {
    Engine { embedder, batch_tokens: model.embed_batch_tokens.map(|n| n.get() as usize) }
}

#[cfg(feature = "embed")]
fn load(model: &EmbedModel, printer: &Printer) -> Result<Option<Box<dyn Embedder>>, Error> {
    use std::io::IsTerminal;
    let Some(name) = &model.embed_model else { return Ok(None) };
    let shows_progress = printer.verbosity() > Verbosity::Quiet && std::io::stderr().is_terminal();
    let loaded = crate::embed::load(name, model, shows_progress)?;
    loaded.notes.iter().for_each(|note| printer.line(&escaped(note)));
    let card = loaded.embedder.card();
    printer.detail(&format!(
        "embedding with `{}`: {}, {}, {}",
        escaped(&card.name),
        card.engine,
        card.precision,
        card.device
    ));
    Ok(Some(loaded.embedder))
}

#[cfg(not(feature = "embed"))]
fn load(model: &EmbedModel, _: &Printer) -> Result<Option<Box<dyn Embedder>>, Error> {
    match model.embed_model {
        Some(_) => Err(Error::NotBuilt { what: "load embedding models", feature: "embed" }),
        None => Ok(None),
    }
}
