//! `purify export`, and `--to` after the main job: what is said in the end.

use clap::Args;

use super::printer::{Printer, escaped, grouped};
use crate::error::{Error, ExitStatus};
use crate::options::{ColumnConfig, ExportConfig};
use crate::pipeline::export::{self, ExportSummary};
use crate::run::Run;

#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    export: ExportConfig,
    #[command(flatten)]
    columns: ColumnConfig,
}

pub(super) fn run(args: &ExportArgs, printer: &Printer) -> Result<ExitStatus, Error> {
    let signals = super::signals::watch();
    let progress = signals.progress(printer);
    let run = Run::new(args.export.threads, &progress, &signals.seen)?;
    let summary = export::export(&args.export, &args.columns, &run)?;
    say(&summary, printer);
    for path in &summary.outputs {
        printer.line(&format!("  wrote {}", escaped(&path.to_string_lossy())));
    }
    printer.json(&serde_json::to_value(&summary).unwrap_or_default());
    match args.export.strict && summary.rejected() > 0 {
        true => Err(Error::Gates { failed: 1, gates: 1 }),
        false => Ok(ExitStatus::Done),
    }
}

/// Counts, for people.
pub(super) fn say(summary: &ExportSummary, printer: &Printer) {
    for (name, counts) in &summary.counts {
        let rejects: Vec<String> =
            counts.rejects.iter().map(|(reason, count)| format!("{reason} {}", grouped(*count))).collect();
        let rejects = if rejects.is_empty() { String::new() } else { format!(", rejected: {}", rejects.join(", ")) };
        printer.line(&format!("  {name}: {} rows{rejects}", grouped(counts.rows_out)));
    }
    if summary.as_tokens {
        printer.line("  token columns were exported in place of messages; --tokens drop exports messages");
    }
}
