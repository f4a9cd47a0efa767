//! Progress on stderr: a bar on a terminal, a plain line now and then elsewhere.
//!
//! Owns what is shown of any command's work. Text from data is escaped here.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::printer::{Printer, Verbosity, escaped, grouped};
use crate::run::{Progress, Task, Weight};

/// Time between two plain lines.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Shows how far a command is; says nothing if the printer is quiet.
pub struct TerminalProgress<'p> {
    printer: &'p Printer,
    bar: Option<ProgressBar>,
    /// Cleared when work begins: from then on a signal lets the run tidy up.
    at_once: Option<Arc<AtomicBool>>,
    state: Mutex<State>,
}

struct State {
    unit: &'static str,
    done: u64,
    /// Of all work, where that is known.
    total: Option<u64>,
    note: String,
    last_line: Instant,
}

impl State {
    /// One line that says how far it is.
    fn line(&self) -> String {
        let of = self.total.map_or(String::new(), |total| format!(" of {}", grouped(total)));
        let note = if self.note.is_empty() { String::new() } else { format!(", {}", self.note) };
        format!("{}{of} {} done{note}", grouped(self.done), self.unit)
    }
}

impl<'p> TerminalProgress<'p> {
    pub fn new(printer: &'p Printer, at_once: Option<Arc<AtomicBool>>) -> Self {
        let is_shown = printer.verbosity() > Verbosity::Quiet && std::io::stderr().is_terminal();
        let bar = is_shown.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8)));
        let state = State { unit: "", done: 0, total: None, note: String::new(), last_line: Instant::now() };
        TerminalProgress { printer, bar, at_once, state: Mutex::new(state) }
    }

    /// Changes the state, and says it where a line is due.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if self.bar.is_none() && state.last_line.elapsed() >= HEARTBEAT {
            state.last_line = Instant::now();
            self.printer.line(&state.line());
        }
    }
}

fn style(unit: &str) -> ProgressStyle {
    let template = format!("{{msg}} {{wide_bar}} {{human_pos}}/{{human_len}} {unit} {{per_sec}} {{eta}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn name_of(path: &Path) -> String {
    escaped(&path.file_name().unwrap_or_default().to_string_lossy())
}

impl Progress for TerminalProgress<'_> {
    fn start(&self, task: Task<'_>) {
        if let Some(at_once) = &self.at_once {
            at_once.store(false, Ordering::Relaxed);
        }
        self.change(|state| match task.file {
            // Rows are counted over all files.
            Some(_) if state.unit == task.unit => {}
            _ => {
                (state.unit, state.done, state.total) =
                    (task.unit, task.done, task.total.filter(|_| task.file.is_none()))
            }
        });
        let Some(bar) = &self.bar else { return };
        bar.set_style(style(task.unit));
        match task.file {
            Some((path, index, files)) => {
                bar.reset();
                bar.set_message(format!("{}/{files} {}", index + 1, name_of(path)));
            }
            None => bar.set_position(task.done),
        }
        match task.total {
            Some(total) => bar.set_length(total),
            None => bar.unset_length(),
        }
        bar.reset_eta();
    }

    fn advance(&self, units: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(units);
        }
        self.change(|state| state.done += units);
    }

    fn note(&self, text: &str) {
        let text = escaped(text);
        if let Some(bar) = &self.bar {
            bar.set_message(text.clone());
        }
        self.change(|state| state.note = text);
    }

    fn say(&self, weight: Weight, text: &str) {
        match weight {
            Weight::Normal => self.printer.line(&escaped(text)),
            Weight::Detail => self.printer.detail(&escaped(text)),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
