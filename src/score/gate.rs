//! Answers the main job's question with a policy.

use super::error::Problem;
use super::scorer::Scorer;
use crate::judge::{Judge, JudgeError, JudgedRollout, LogIs};
use crate::policy::PolicyError;
use crate::policy::sequence::{Sequence, SequenceError};
use crate::record::RepairRecord;

impl Scorer {
    fn side(&self, side: JudgedRollout<'_>) -> Result<Sequence, Problem> {
        self.sequencer.rollout(side.sample, Some(side.messages)).map_err(Problem::from)
    }
}

impl Judge for Scorer {
    fn log_is(
        &self,
        raw: JudgedRollout<'_>,
        purified: JudgedRollout<'_>,
        repairs: &[RepairRecord],
    ) -> Result<Vec<Option<LogIs>>, JudgeError> {
        let judged = match (self.side(purified), self.side(raw)) {
            (Ok(purified), Ok(raw)) => self.ratios(&purified, &raw, repairs),
            (Err(Problem::Sequence(SequenceError::Policy(error))), _)
            | (_, Err(Problem::Sequence(SequenceError::Policy(error)))) => Err(error),
            _ => return Ok(vec![None; repairs.len()]),
        };
        match judged {
            Ok(ratios) => Ok(ratios),
            Err(error) if error.is_of_row() => Ok(vec![None; repairs.len()]),
            Err(error) => Err(whole(&error)),
        }
    }
}

fn whole(error: &PolicyError) -> JudgeError {
    JudgeError { message: error.to_string(), hint: error.hint().map(str::to_owned) }
}
