//! `purify compare`: the table at the end, and the hint to what no table holds.

use clap::Args;

use crate::error::{Error, ExitStatus};
use crate::options::{ColumnConfig, CompareConfig, DetectConfig, ModelChoice};

use super::printer::Printer;

#[derive(Args, Debug)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    compare: CompareConfig,
    #[command(flatten)]
    model: ModelChoice,
    #[command(flatten)]
    errors: DetectConfig,
    #[command(flatten)]
    columns: ColumnConfig,
}

#[cfg(not(feature = "train"))]
pub(super) fn run(_: &CompareArgs, _: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "compare recipes", feature: "train" })
}

#[cfg(feature = "train")]
pub(super) fn run(args: &CompareArgs, printer: &Printer) -> Result<ExitStatus, Error> {
    let CompareArgs { compare, model, errors, columns } = args;
    let signals = super::signals::watch();
    let progress = signals.progress(printer);
    let run = crate::run::Run::new(0, &progress, &signals.seen)?;
    let report = crate::compare::compare(model, compare, (columns, errors), &run)?;
    shown::warnings(&report, printer);
    printer.line(&shown::table(&report));
    for name in ["compare.html", "compare.json"] {
        printer.line(&format!("  wrote {}", super::printer::escaped(&compare.out.join(name).to_string_lossy())));
    }
    printer.json(&serde_json::to_value(&report).unwrap_or_default());
    Ok(ExitStatus::Done)
}

#[cfg(feature = "train")]
mod shown {
    use std::fmt::Write as _;

    use crate::cli::printer::{Printer, escaped, grouped};
    use crate::compare::report::{Change, CompareReport};

    pub(super) fn warnings(report: &CompareReport, printer: &Printer) {
        if let Some(first) = &report.first_unscored {
            let rows = report.unscored.values().sum();
            printer.warning(&format!("the model can't read {} rows; the first: {}", grouped(rows), escaped(first)));
        }
        for recipe in report.recipes.iter().filter(|recipe| recipe.bad_rows > 0) {
            let first = recipe.first_bad_row.as_deref().map(escaped).unwrap_or_default();
            let rows = grouped(recipe.bad_rows);
            printer.warning(&format!("{} leaves out {rows} rows; the first: {first}", recipe.recipe));
        }
    }

    /// One line for each recipe, and what none of the numbers say.
    pub(super) fn table(report: &CompareReport) -> String {
        let change = |change: &Option<Change>| match change {
            None => "none there".to_owned(),
            Some(Change { change, interval: Some((low, high)), .. }) => format!("{change:+.4} [{low:+.4}, {high:+.4}]"),
            Some(Change { change, interval: None, .. }) => format!("{change:+.4}"),
        };
        let mut out = format!(
            "  {} groups trained on, {} held out; {} trained tokens an update\n\n",
            grouped(report.training_groups),
            grouped(report.held_out_groups),
            grouped(report.token_budget)
        );
        let mut row = |cells: [&str; 8]| {
            let [name, repairs, tokens, norm, failed, corrections, entropy, kl] = cells;
            let _ = writeln!(
                out,
                "  {name:<20}{repairs:>8}{tokens:>10}{norm:>10}{failed:>30}{corrections:>30}{entropy:>10}{kl:>10}"
            );
        };
        row(["recipe", "repairs", "tokens", "gradient", "failed first calls", "corrections", "entropy", "KL"]);
        for recipe in &report.recipes {
            row([
                recipe.recipe,
                &grouped(recipe.repairs),
                &grouped(recipe.trained_tokens),
                &format!("{:.3}", recipe.grad_norm),
                &change(&recipe.held_out.failed_first_calls),
                &change(&recipe.held_out.corrections),
                &format!("{:+.4}", recipe.held_out.entropy - report.entropy_before),
                &format!("{:.1e}", recipe.held_out.kl),
            ]);
        }
        out += "\n  changes of log-prob (nats a call, 95% interval over groups), of entropy, and KL from the start, on held-out groups\n  what this can't know:\n";
        for text in report.cannot_know {
            let _ = writeln!(out, "    {text}");
        }
        out.trim_end().to_owned()
    }
}
