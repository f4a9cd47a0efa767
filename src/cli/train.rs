//! `purify train`: what a run says in the end.

use crate::error::{Error, ExitStatus};
use crate::options::{ColumnConfig, ModelChoice, TrainConfig};

use super::printer::Printer;

#[cfg(not(feature = "train"))]
pub(super) fn run(_: &ModelChoice, _: &TrainConfig, _: &ColumnConfig, _: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "train", feature: "train" })
}

#[cfg(feature = "train")]
pub(super) fn run(
    model: &ModelChoice,
    config: &TrainConfig,
    columns: &ColumnConfig,
    printer: &Printer,
) -> Result<ExitStatus, Error> {
    let signals = super::signals::watch();
    let progress = signals.progress(printer);
    let run = crate::run::Run::new(0, &progress, &signals.seen)?;
    let summary = crate::train::train(model, config, columns, &run)?;
    printer.line(&format!(
        "{} updates on {}, loss {} -> {}, {:.1} s; written to {}",
        summary.updates - summary.resumed_from,
        summary.device,
        loss(summary.first_loss),
        loss(summary.last_loss),
        summary.seconds,
        summary.out.display()
    ));
    printer.json(&serde_json::to_value(&summary).unwrap_or_default());
    Ok(ExitStatus::Done)
}

#[cfg(feature = "train")]
fn loss(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{v:.4}"))
}
