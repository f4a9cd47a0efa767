//! `purify train`: what a run shows while it goes on, and what it says in the end.

#[cfg(feature = "train")]
use std::cell::Cell;

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
    let bar = super::bar::Bar::new(printer, "updates");
    let observer = Progress { printer, bar, signals: &signals, tokens: Cell::new((0, 0.0)) };
    let summary = crate::train::train(model, config, columns, &observer, &signals.seen)?;
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

#[cfg(feature = "train")]
struct Progress<'p> {
    printer: &'p Printer,
    bar: super::bar::Bar<'p>,
    signals: &'p super::signals::Watch,
    /// Tokens and seconds so far.
    tokens: Cell<(u64, f64)>,
}

#[cfg(feature = "train")]
impl crate::train::Observer for Progress<'_> {
    fn start(&self, start: &crate::train::Start<'_>) {
        // From here on a signal is answered with a checkpoint.
        self.signals.at_once.store(false, std::sync::atomic::Ordering::Relaxed);
        let data = start.data;
        self.printer.line(&format!(
            "{} of {} rows, {} tokens, {} of them trained on; {} of {} parameters, {}",
            data.examples, data.rows, data.tokens, data.trained_tokens, start.trained, start.parameters, start.device
        ));
        if let Some(first) = &data.first_bad_row {
            let first = super::printer::escaped(first);
            self.printer.line(&format!("bad rows left out: {}; the first: {first}", data.bad_rows));
        }
        let single = super::printer::escaped(data.first_single_group.as_deref().unwrap_or_default());
        for (what, count) in [
            ("rollouts left out, longer than --max-length", data.too_long),
            ("rollouts left out, no token of the policy's in them", data.nothing_to_train),
            ("groups left out, rewards all equal", data.equal_groups),
            (&format!("groups left out, a single rollout (such as `{single}`)"), data.single_groups),
            ("rollouts left out by --resample-on-correct", data.resampled),
            ("messages whose calls the model's chat template does not show", data.hidden_calls),
        ] {
            if count > 0 {
                self.printer.line(&format!("{what}: {count}"));
            }
        }
        if start.from > 0 {
            self.printer.line(&format!("going on after update {}", start.from));
        }
        self.bar.start(start.from, start.updates);
    }

    fn update(&self, metrics: &crate::train::metrics::Metrics) {
        let (tokens, seconds) = self.tokens.get();
        let (tokens, seconds) = (tokens + metrics.tokens, seconds + metrics.seconds);
        self.tokens.set((tokens, seconds));
        let message = format!("loss {:.4}, {:.0} tokens/s", metrics.loss, tokens as f64 / seconds.max(1e-9));
        self.bar.set(metrics.update, message);
        self.printer.detail(&format!(
            "update {}: loss {:.6}, grad norm {:.4}, {:.0} tokens/s",
            metrics.update, metrics.loss, metrics.grad_norm, metrics.tokens_per_second
        ));
    }

    fn finish(&self) {
        self.bar.finish();
    }
}
