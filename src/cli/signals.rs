//! SIGINT and SIGTERM: remembered, not acted on, so that a run ends between two chunks and tidies up.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use signal_hook::consts::{SIGINT, SIGTERM};

/// Holds the signal's number as soon as one has come, 0 before. A second signal ends the process at once.
pub(super) fn watch() -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        let again = Arc::new(std::sync::atomic::AtomicBool::new(false));
        // Order matters: the first signal arms the flag that lets the second one through.
        let registered = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
            .and_then(|_| signal_hook::flag::register(signal, again))
            .and_then(|_| signal_hook::flag::register_usize(signal, Arc::clone(&seen), signal as usize));
        if let Err(error) = registered {
            tracing::warn!("signal {signal} can't be watched: {error}");
        }
    }
    seen
}
