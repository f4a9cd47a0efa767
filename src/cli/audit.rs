//! `purify audit`: what is shown of the numbers, and which files are written.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::lineage::{self, Done, Told};
use super::printer::{Printer, escaped, grouped};
use super::signals::Watch;
use crate::audit::lineage::Dataset;
use crate::audit::report::{AuditReport, FileFacts, GuardCount, Side, Tally};
use crate::audit::{self};
use crate::decision::Reason;
use crate::error::{Error, ExitStatus};
use crate::ingest::expand;
use crate::options::{AuditConfig, ComputeConfig, DEFAULT_JOB, EmbedModel, LineageConfig, Options};
use crate::pipeline::semantic::{Prepared, threshold};
use crate::record::Finding;
use crate::run::Run;

/// Entries of a list that are shown; the JSON has all.
const MAX_SHOWN: usize = 6;

#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    audit: AuditConfig,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    compute: ComputeConfig,
    #[command(flatten)]
    embed: EmbedModel,
    #[command(flatten)]
    lineage: LineageConfig,
}

pub(super) fn run(args: AuditArgs, printer: &Printer) -> Result<ExitStatus, Error> {
    let signals = super::signals::watch();
    let progress = signals.progress(printer);
    let AuditArgs { audit: config, options: mut settings, compute, embed: model, mut lineage } = args;
    if lineage.job_name == DEFAULT_JOB {
        lineage.job_name = format!("{DEFAULT_JOB}-audit");
    }
    let files: Vec<PathBuf> = std::iter::once(&config.raw).chain(&config.purified).cloned().collect();
    let told = Told::start(&lineage, &files, &settings, printer)?;
    let mut whole = || -> Result<AuditReport, Error> {
        let prepared = vectors(&config, &model, &compute.embeddings, &mut settings, &signals, printer)?;
        let run = Run::new(config.threads, &progress, &signals.seen)?;
        audit::audit(&config, &settings, prepared.as_ref().map(|p| &p.vectors), &run)
    };
    let report = match told {
        Some(told) => told.end(whole(), |report| read_and_written(report, &files, &config))?,
        None => whole()?,
    };
    printer.line(&table(&report));
    if report.rows.edited > 0 {
        printer.warning(&format!(
            "{} purified rows are not what their record says: they have been changed since",
            grouped(report.rows.edited)
        ));
    }
    if report.is_purified && report.rows.left_out > 0 {
        printer.warning(&format!(
            "{} raw rows are not in the purified data: only the raw side counts them",
            grouped(report.rows.left_out)
        ));
    }
    if !report.settings_known {
        printer.warning(
            "there is no manifest beside the purified data: the options given here are taken for those that decided, and may differ from them",
        );
    }
    if !report.detects_alike {
        printer.warning(
            "the data was purified with other error options: give the same ones, otherwise the two sides cannot be compared",
        );
    }
    for path in config.json.iter().chain(&config.html) {
        printer.line(&format!("  wrote {}", escaped(&path.to_string_lossy())));
    }
    for undecided in &report.gates_undecided {
        printer.warning(&escaped(undecided));
    }
    for failure in &report.gate_failures {
        printer.line(&escaped(failure));
    }
    printer.json(&serde_json::Value::Object(audit::numbers(&report, true)));
    match report.gate_failures.len() {
        0 => Ok(ExitStatus::Done),
        failed => Err(Error::Gates { failed, gates: config.fail_if.len() }),
    }
}

/// Vectors of all that the curves compare, if anything gives them; and the threshold for them.
fn vectors(
    config: &AuditConfig,
    model: &EmbedModel,
    files: &[PathBuf],
    settings: &mut Options,
    signals: &Watch,
    printer: &Printer,
) -> Result<Option<Prepared>, Error> {
    let semantic = &settings.semantic;
    let is_given = !files.is_empty() || model.embed_model.is_some();
    if !is_given && !semantic.is_used(settings.method.similarity_metric) {
        return Ok(None);
    }
    let raw = std::slice::from_ref(&config.raw);
    let mut widest = audit::widest(settings);
    let prepared = super::embed::vectors(raw, model, files, &mut widest, config.threads, signals, printer)?;
    if let Some(prepared) = &prepared {
        settings.semantic.semantic_threshold = threshold(settings, prepared);
        settings.vectors = widest.vectors;
    }
    Ok(prepared)
}

fn read_and_written(report: &AuditReport, files: &[PathBuf], config: &AuditConfig) -> Done {
    let paths = expand(files).unwrap_or_default();
    let input = |(path, facts): (&PathBuf, &FileFacts)| Dataset {
        format: facts.format.clone(),
        rows: Some(facts.rows),
        bytes: Some(facts.bytes),
        ..lineage::file(path)
    };
    Done {
        inputs: paths.iter().zip(&report.files).map(input).collect(),
        outputs: config.json.iter().chain(&config.html).map(|path| lineage::file(path)).collect(),
        counts: audit::numbers(report, true),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1}%", 100.0 * share))
}

fn of(tally: Tally) -> String {
    format!("{} of {} ({})", grouped(tally.failed), grouped(tally.attempts), percent(tally.rate()))
}

/// Before all else: how many failures were repaired, how many were left, and why.
fn decisions(out: &mut String, report: &AuditReport) {
    let found = &report.decisions;
    let would = if report.is_purified { "" } else { "would be " };
    let counted = [(found.repaired, "repaired"), (found.masked, "out of the loss"), (found.left, "left")];
    let mut parts: Vec<String> = counted
        .iter()
        .filter(|(count, what)| *count > 0 || *what != "out of the loss")
        .map(|(count, what)| format!("{} {would}{what}", grouped(*count)))
        .collect();
    if found.unrecorded > 0 {
        parts.push(format!("{} not recorded", grouped(found.unrecorded)));
    }
    let _ = writeln!(out, "  failure runs {}: {}", grouped(found.failure_runs), parts.join(", "));
    let mut reasons: Vec<(&String, &u64)> = found.reasons.iter().collect();
    reasons.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
    for (name, count) in reasons {
        let meaning = Reason::ALL.iter().find(|reason| reason.name() == name).map_or("", |reason| reason.meaning());
        let _ = writeln!(out, "    {name:<20}{:>10}  {meaning}", grouped(*count));
    }
    out.push('\n');
}

fn table(report: &AuditReport) -> String {
    let mut out = String::new();
    decisions(&mut out, report);
    let mut row = |name: &str, before: String, after: String| {
        let _ = writeln!(out, "  {name:<28}{before:>26}{after:>26}");
    };
    let (before, after) = (&report.before, &report.after);
    let side = if report.is_purified { "purified" } else { "would become" };
    row("", "raw".to_owned(), side.to_owned());
    row("rollouts", grouped(before.rollouts), grouped(after.rollouts));
    row("messages", grouped(before.messages), grouped(after.messages));
    row("attempts", grouped(before.attempts), grouped(after.attempts));
    let failed = |ok: u64, failed: u64| of(Tally { attempts: ok + failed, failed });
    row("failed", failed(before.ok, before.failed), failed(after.ok, after.failed));
    row("first attempt ok", percent(before.first_attempt_success_rate), percent(after.first_attempt_success_rate));
    row("error after an ok attempt", percent(before.cascade.rate_after_ok), percent(after.cascade.rate_after_ok));
    row("error after a failure", percent(before.cascade.rate_after_failure), percent(after.cascade.rate_after_failure));
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |r| format!("{r:.2}"));
    row("ratio", ratio(before.cascade.ratio), ratio(after.cascade.ratio));
    row("runs without correction", grouped(before.uncorrected), grouped(after.uncorrected));
    let spent = |failed: u64, all: u64| {
        format!("{} ({})", grouped(failed), percent((all > 0).then(|| failed as f64 / all as f64)))
    };
    let tokens = |side: &Side| side.tokens_on_failures.zip(side.tokens).map(|(failed, all)| spent(failed, all));
    match (tokens(before), tokens(after)) {
        (Some(before), Some(after)) if report.before.tokens > Some(0) => row("tokens on failures", before, after),
        _ => row(
            "characters on failures",
            spent(before.characters_on_failures, before.characters),
            spent(after.characters_on_failures, after.characters),
        ),
    }
    if let Some(groups) = &report.groups {
        row("groups with mixed rewards", grouped(groups.before.mixed), grouped(groups.after.mixed));
        row("failures rewarded", grouped(groups.before.failures_rewarded), grouped(groups.after.failures_rewarded));
    }
    lists(&mut out, report);
    out.trim_end().to_owned()
}

/// How often a guard has found something, with the share where not all could be told.
fn told((finding, count): (&'static Finding, &GuardCount)) -> String {
    let share = finding.counts_unknown.then(|| format!(" ({})", percent(count.rate())));
    format!("{} {}{}", finding.label, grouped(count.yes), share.unwrap_or_default())
}

fn lists(out: &mut String, report: &AuditReport) {
    let (repairs, changes) = (&report.repairs, &report.sensitivity);
    let _ = writeln!(
        out,
        "\n  repairs {} ({} deep), of {} that could be made {} change at another threshold (-0.1), {} (+0.1), {} without junk",
        grouped(repairs.repairs),
        percent(repairs.deep_rate),
        grouped(changes.without_junk.repairs),
        grouped(changes.changed_at_lower),
        grouped(changes.changed_at_higher),
        grouped(changes.changed_without_junk)
    );
    let _ = writeln!(out, "  {}", report.guards.findings.0.each().map(told).collect::<Vec<_>>().join(", "));
    let guards = &report.guards;
    let faults = [guards.orphan_call_ids, guards.duplicate_call_ids, guards.unlisted_tools];
    if faults.iter().any(|&count| count > 0) {
        let [orphans, doubles, unlisted] = faults.map(grouped);
        let _ = writeln!(
            out,
            "  results without a call {orphans}, repeated call ids {doubles}, calls to unlisted tools {unlisted}"
        );
    }
    let mut errors: Vec<(&String, &u64)> = report.before.error_types.iter().collect();
    errors.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
    let mut tools: Vec<(&String, &Tally)> = report.before.by_tool.iter().collect();
    tools.sort_by_key(|(name, tally)| (std::cmp::Reverse(tally.failed), (*name).clone()));
    let errors = errors.iter().take(MAX_SHOWN).map(|(name, count)| format!("{} {}", escaped(name), grouped(**count)));
    let tools =
        tools.iter().take(MAX_SHOWN).map(|(name, tally)| format!("{} {}", escaped(name), percent(tally.rate())));
    for (what, items) in [("errors", errors.collect::<Vec<_>>()), ("failing tools", tools.collect())] {
        if !items.is_empty() {
            let _ = writeln!(out, "  {what}: {}", items.join(", "));
        }
    }
    if report.rows.left_out > 0 && !report.is_purified {
        let _ = writeln!(out, "  raw rows that would be rejected: {}", grouped(report.rows.left_out));
    }
    for (reason, rows) in &report.rows.unreadable {
        let _ = writeln!(out, "  rows that can't be read ({}): {}", escaped(reason), grouped(*rows));
    }
}
