//! What a command runs on: its threads, the signal that may end it, and who is told how far it is.
//!
//! Owns one [`Run`] for each command, passed along in place of the three, and the one loop over chunks ([`Run::in_order`]).
//! What a chunk is and what is done with it is its caller's. Imports no other module, so that every stage may loop.

mod in_order;
mod progress;

use std::sync::atomic::{AtomicUsize, Ordering};

pub use progress::{Progress, Silent, Task, Weight};

/// Why a run ends, whatever it was doing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{threads} threads can't be started")]
    Threads { threads: usize, source: rayon::ThreadPoolBuildError },
    #[error("interrupted by signal {signal}; nothing was left half-written")]
    Interrupted { signal: u8 },
    /// The program itself failed; the text says where.
    #[error("this is a bug: {place}: {detail}")]
    Bug { place: String, detail: String },
}

impl RunError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            RunError::Threads { .. } => Some("give fewer with --threads"),
            RunError::Interrupted { .. } => Some("run it again: finished files are kept"),
            RunError::Bug { .. } => Some("please report it, with the rollout if you may"),
        }
    }
}

/// The threads of a command, the signal that ends it, and its observer.
pub struct Run<'r> {
    pool: rayon::ThreadPool,
    pub progress: &'r dyn Progress,
    signal: &'r AtomicUsize,
}

impl<'r> Run<'r> {
    /// `threads`: 0 for one per core. `signal` holds the number of a signal as soon as one has come, 0 before.
    pub fn new(threads: usize, progress: &'r dyn Progress, signal: &'r AtomicUsize) -> Result<Self, RunError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|source| RunError::Threads { threads, source })?;
        Ok(Run { pool, progress, signal })
    }

    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The signal that has come, if one has.
    pub fn signal(&self) -> Option<u8> {
        u8::try_from(self.signal.load(Ordering::Relaxed)).ok().filter(|&signal| signal != 0)
    }

    /// An error as soon as a signal has come.
    pub fn check(&self) -> Result<(), RunError> {
        self.signal().map_or(Ok(()), |signal| Err(RunError::Interrupted { signal }))
    }

    /// Does one thing on the run's threads, where it may split itself up.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

/// The words of a panic.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
