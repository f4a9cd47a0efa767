//! `purify score`: what a run shows while it goes on, and what it says in the end.

use crate::error::{Error, ExitStatus};
use crate::judge::Judge;
use crate::options::{ColumnConfig, DeviceChoice, GateConfig, ModelChoice, ScoreConfig};
#[cfg(feature = "train")]
use crate::run::Run;

use super::printer::Printer;

/// The policy that judges repairs, if the settings name one.
#[cfg(feature = "train")]
pub(super) fn judge(gate: &GateConfig, device: DeviceChoice) -> Result<Option<Box<dyn Judge>>, Error> {
    let Some(path) = &gate.gate_model else { return Ok(None) };
    let model = ModelChoice::of_gate(path.clone(), gate, device);
    let scorer = crate::score::Scorer::load(&model).map_err(crate::score::ScoreError::from)?;
    Ok(Some(Box::new(scorer)))
}

#[cfg(not(feature = "train"))]
pub(super) fn judge(gate: &GateConfig, _: DeviceChoice) -> Result<Option<Box<dyn Judge>>, Error> {
    match gate.gate_model {
        Some(_) => Err(Error::NotBuilt { what: "load models", feature: "train" }),
        None => Ok(None),
    }
}

#[cfg(not(feature = "train"))]
pub(super) fn run(_: &ModelChoice, _: &ScoreConfig, _: &ColumnConfig, _: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "score", feature: "train" })
}

#[cfg(feature = "train")]
pub(super) fn run(
    model: &ModelChoice,
    config: &ScoreConfig,
    columns: &ColumnConfig,
    printer: &Printer,
) -> Result<ExitStatus, Error> {
    let signals = super::signals::watch();
    let progress = signals.progress(printer);
    let run = Run::new(0, &progress, &signals.seen)?;
    let summary = crate::score::score(model, config, columns, &run)?;
    let mean = summary.mean_logprob.map_or("-".to_owned(), |m| format!("{m:.4}"));
    printer.line(&format!(
        "{} of {} rows scored on {}, {} policy tokens, mean log-prob {mean}, {:.1} s; written to {}",
        summary.scored,
        summary.rows,
        summary.device,
        summary.policy_tokens,
        summary.seconds,
        summary.out.display()
    ));
    for (reason, rows) in &summary.unscored {
        printer.line(&format!("rows not scored ({reason}): {rows}"));
    }
    if let Some(first) = &summary.first_unscored {
        printer.line(&format!("the first: {}", super::printer::escaped(first)));
    }
    for (reason, lines) in &summary.unwritten {
        printer.line(&format!("lines dropped, not rows ({reason}): {lines}"));
    }
    if let Some(first) = &summary.first_unwritten {
        printer.line(&format!("the first: {}", super::printer::escaped(first)));
    }
    if summary.hidden_calls > 0 {
        let count = summary.hidden_calls;
        printer.line(&format!("messages whose calls the model's chat template does not show: {count}"));
    }
    if let Some(found) = &summary.importance {
        let [least, _, low, median, high, _, most] = found.log_is;
        printer.line(&format!(
            "log importance ratio of {} repairs: {least:.2} | {low:.2} | {median:.2} | {high:.2} | {most:.2} (min, quartiles, \
             max); ratio below 0.5: {:.1}%",
            found.repairs,
            100.0 * found.below_half
        ));
    }
    printer.json(&serde_json::to_value(&summary).unwrap_or_default());
    let unscored = summary.rows - summary.scored;
    match config.strict && unscored > 0 {
        true => Err(crate::score::ScoreError::Unscored { unscored, rows: summary.rows }.into()),
        false => Ok(ExitStatus::Done),
    }
}
