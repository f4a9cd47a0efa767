//! Progress of scoring and training: a bar on a terminal, a plain line now and then elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::printer::{Printer, Verbosity};

/// Time between two plain lines.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Counts towards a total; says nothing if the printer is quiet.
pub struct Bar<'p> {
    printer: &'p Printer,
    bar: Option<ProgressBar>,
    unit: &'static str,
    total: Cell<u64>,
    last_line: Cell<Instant>,
}

impl<'p> Bar<'p> {
    pub fn new(printer: &'p Printer, unit: &'static str) -> Self {
        let is_shown = printer.verbosity() > Verbosity::Quiet && std::io::stderr().is_terminal();
        let bar = is_shown.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            let template = format!("{{msg}} {{wide_bar}} {{human_pos}}/{{human_len}} {unit} {{eta}}");
            bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Bar { printer, bar, unit, total: Cell::new(0), last_line: Cell::new(Instant::now()) }
    }

    /// Begins to count, at `from` of `total`.
    pub fn start(&self, from: u64, total: u64) {
        self.total.set(total);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(from);
            bar.reset_eta();
        }
    }

    pub fn set(&self, position: u64, message: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(message);
                bar.set_position(position);
            }
            None if self.last_line.get().elapsed() >= HEARTBEAT => {
                self.last_line.set(Instant::now());
                self.printer.line(&format!("{position} of {} {}, {message}", self.total.get(), self.unit));
            }
            None => {}
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
