//! The main job: purifies the inputs, and says what was done.

use super::lineage::{self, Told};
use super::printer::{self, Printer};
use super::{embed, export, score, signals};
use crate::error::{Error, ExitStatus};
use crate::export as targets;
use crate::options::{EmbedModel, LineageConfig, Options, RunConfig};
use crate::pipeline::{self, Summary};
use crate::run::Run;

pub(super) fn run(
    config: RunConfig,
    options: Options,
    model: &EmbedModel,
    lineage: &LineageConfig,
    printer: &Printer,
) -> Result<ExitStatus, Error> {
    let pairs = config.pairs || config.to.as_deref().is_some_and(targets::needs_pairs);
    let (shard, compression_level) = (config.shard, config.compression_level);
    let mut options = Options { pairs, shard, compression_level, ..options };
    let signals = signals::watch();
    let progress = signals.progress(printer);
    // A dry run writes nothing, so there is nothing to follow.
    let told = if config.dry_run { None } else { Told::start(lineage, &config.inputs, &options, printer)? };
    let mut whole = || -> Result<Summary, Error> {
        let (inputs, files, threads) = (&config.inputs, &config.compute.embeddings, config.threads);
        let prepared = embed::vectors(inputs, model, files, &mut options, threads, &signals, printer)?;
        let vectors = prepared.as_ref().map(|p| &p.vectors);
        let judge = score::judge(&options.gate, config.compute.gate_device)?;
        let run = Run::new(threads, &progress, &signals.seen)?;
        let summary = pipeline::run(&config, &options, vectors, judge.as_deref(), &run)?;
        if let Some(path) = &config.report {
            pipeline::write_report(path, &options, &summary)?;
        }
        Ok(summary)
    };
    let summary = match told {
        Some(told) => told.end(whole(), lineage::of_run)?,
        None => whole()?,
    };
    printer.summary(&summary, config.dry_run);
    if let Some(exported) = &summary.exported {
        export::say(exported, printer);
    }
    let counts = &summary.counts;
    if counts.kept_nothing() {
        let detail = match counts.rows_in {
            0 => "the inputs hold no row".to_owned(),
            rows => format!("all {rows} rows were rejected ({})", printer::listed(&counts.rejects)),
        };
        return Err(Error::NothingKept { detail });
    }
    match summary.gate_failures.len() {
        0 => Ok(ExitStatus::Done),
        failed => {
            let gates = config.fail_if.len() + usize::from(config.strict);
            Err(Error::Gates { failed, gates: gates.max(failed) })
        }
    }
}
