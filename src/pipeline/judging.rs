//! A judge as the run asks it: in a thread of its own, and no longer once the run is to end.
//!
//! A thread of the pool that waited for the model would be given another chunk's work, and would then wait for its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::judge::{Judge, JudgeError, LogIs, Side};
use crate::record::RepairRecord;

pub(super) struct OwnThread<'j> {
    pub(super) judge: &'j dyn Judge,
    /// The number of a signal, as soon as one has come.
    pub(super) interrupted: &'j AtomicUsize,
}

impl Judge for OwnThread<'_> {
    fn log_is(
        &self,
        raw: Side<'_>,
        purified: Side<'_>,
        repairs: &[RepairRecord],
    ) -> Result<Vec<Option<LogIs>>, JudgeError> {
        if self.interrupted.load(Ordering::Relaxed) != 0 {
            return Err(JudgeError { message: "the run was interrupted".to_owned(), hint: None });
        }
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| self.judge.log_is(raw, purified, repairs));
            asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
