//! SIGINT and SIGTERM: remembered, not acted on, so that a run ends between two chunks and tidies up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::printer::Printer;
use super::progress::TerminalProgress;

/// What is known of signals.
pub(super) struct Watch {
    /// The signal's number as soon as one has come, 0 before.
    pub(super) seen: Arc<AtomicUsize>,
    /// While true, a signal ends the process at once: at first, since nothing needs tidying before an output is
    /// opened, and again after a first signal.
    pub(super) at_once: Arc<AtomicBool>,
}

impl Watch {
    /// Progress of work that a signal lets tidy up, once it has begun.
    pub(super) fn progress<'p>(&self, printer: &'p Printer) -> TerminalProgress<'p> {
        TerminalProgress::new(printer, Some(Arc::clone(&self.at_once)))
    }
}

pub(super) fn watch() -> Watch {
    let seen = Arc::new(AtomicUsize::new(0));
    let at_once = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGTERM] {
        // Order matters: the first signal arms the flag that lets the second one through.
        let registered = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&at_once))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&at_once)))
            .and_then(|_| signal_hook::flag::register_usize(signal, Arc::clone(&seen), signal as usize));
        if let Err(error) = registered {
            tracing::warn!("signal {signal} can't be watched: {error}");
        }
    }
    Watch { seen, at_once }
}
