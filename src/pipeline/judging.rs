//! A judge as the run asks it: in a thread of its own, and no longer once the run is to end.
//!
//! A thread of the pool that waited for the model would be given another chunk's work, and would then wait for its own.

use crate::judge::{Judge, JudgeError, JudgedRollout, LogIs};
use crate::record::RepairRecord;
use crate::run::Run;

pub(super) struct OwnThread<'j> {
    pub(super) judge: &'j dyn Judge,
    pub(super) run: &'j Run<'j>,
}

impl Judge for OwnThread<'_> {
    fn log_is(
        &self,
        raw: JudgedRollout<'_>,
        purified: JudgedRollout<'_>,
        repairs: &[RepairRecord],
    ) -> Result<Vec<Option<LogIs>>, JudgeError> {
        if self.run.check().is_err() {
            return Err(JudgeError { message: "the run was interrupted".to_owned(), hint: None });
        }
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| self.judge.log_is(raw, purified, repairs));
            asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
