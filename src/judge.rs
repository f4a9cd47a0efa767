//! What the main job asks of a policy: how likely it finds a correction by itself (docs/method.md, "Importance").
//!
//! Owns the question alone. It is asked by the pipeline and answered by whoever holds a model, so that the pipeline needs
//! none to be built.

use crate::batch::sample::Sample;
use crate::record::RepairRecord;
use crate::rollout::Message;

/// A rollout as it is judged: before or after a repair.
#[derive(Clone, Copy)]
pub struct JudgedRollout<'a> {
    pub sample: &'a Sample,
    pub messages: &'a [Message<'a>],
}

/// `log pi(correction | purified context) - log pi(correction | raw context)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogIs {
    /// Over the correction's tokens.
    pub sum: f64,
    /// Divided by their number.
    pub mean: f64,
}

/// Why nothing at all can be judged.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct JudgeError {
    pub message: String,
    pub hint: Option<String>,
}

/// Judges repairs.
pub trait Judge: Sync {
    /// The ratio of each repair; `None` where a row can't be read by the model, or the correction's tokens are not found.
    fn log_is(
        &self,
        raw: JudgedRollout<'_>,
        purified: JudgedRollout<'_>,
        repairs: &[RepairRecord],
    ) -> Result<Vec<Option<LogIs>>, JudgeError>;
}
