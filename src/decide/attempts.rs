//! A step of a trajectory as intent sees it: reasoning, and each call with its own result and error.

use std::borrow::Cow;

use crate::intent::{Attempt, Call};
use crate::options::TextKind;
use crate::saar::{calls_of, step_text};
use crate::steps::Trajectory;

/// The calls of a step with their results.
pub(super) fn of<'r>(trajectory: &'r Trajectory<'_, '_>, step: usize) -> Attempt<'r> {
    let message = &trajectory.rollout.messages[trajectory.steps[step].message];
    let mut errors = trajectory.steps[step].failed_calls().peekable();
    let calls = calls_of(message).into_iter().enumerate().map(|(k, (tool, arguments))| {
        let failure = errors.next_if(|(call, _)| *call == k).map(|(_, failure)| failure);
        let error_type = failure.map(|failure| Cow::Borrowed(failure.error_type.as_ref()));
        Call { tool, arguments, result: result(trajectory, step, k), error_type }
    });
    Attempt::new(reasoning(trajectory, step), calls)
}

/// What the model wrote before the calls of a step.
pub(super) fn reasoning<'r>(trajectory: &'r Trajectory<'_, '_>, step: usize) -> Cow<'r, str> {
    step_text(&trajectory.rollout.messages[trajectory.steps[step].message], TextKind::Reasoning)
}

/// All that answers a call.
fn result<'r>(trajectory: &'r Trajectory<'_, '_>, step: usize, call: usize) -> Cow<'r, str> {
    let answers = trajectory.steps[step].answers.iter().filter(|answer| answer.calls.contains(&call));
    let mut texts = answers.filter_map(|answer| trajectory.rollout.messages[answer.message].content);
    let Some(first) = texts.next() else { return Cow::Borrowed("") };
    texts.fold(Cow::Borrowed(first), |all, next| Cow::Owned(format!("{all}\n{next}")))
}
