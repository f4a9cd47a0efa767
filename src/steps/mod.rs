//! A rollout seen as its steps, attempts and failure runs (docs/method.md, "Words").
//!
//! Owns structure: it reads roles, calls and results, finds out which result answers which call (`pairing`), and asks
//! [`crate::verdict`] what a result says. No similarities, no decisions. Steps lie in message order and never overlap.

pub mod failure_run;
mod pairing;
mod step;

use crate::rollout::{Message, Role, Rollout};
use crate::verdict::{Asked, ErrorDetector, Failure, Verdict};
pub use failure_run::{FailureRun, RunEnd};
pub use step::{Answer, Outcome, Step};

/// The steps of one rollout, in order.
#[derive(Debug)]
pub struct Trajectory<'r, 'a> {
    pub rollout: &'r Rollout<'a>,
    pub steps: Vec<Step>,
    /// Tool messages that answer no call: indices, and what they say.
    pub unasked: Vec<(usize, Verdict)>,
}

impl<'r, 'a> Trajectory<'r, 'a> {
    pub fn new(rollout: &'r Rollout<'a>, detector: &ErrorDetector) -> Self {
        let messages = &rollout.messages;
        let mut steps = stretches(messages);
        let (pairs, unasked) = pairing::pair(messages, &steps);
        for (step, paired) in steps.iter_mut().zip(pairs) {
            let asked = &messages[step.message];
            let answer = |paired: pairing::Paired| {
                let verdict = detector.verdict(&Asked::of(asked, &paired.calls), &messages[paired.message]);
                Answer { message: paired.message, calls: paired.calls, verdict }
            };
            step.answers = paired.into_iter().map(answer).collect();
            let is_attempt = asked.has_call() && (!step.answers.is_empty() || !asked.needs_answer());
            step.attempt = is_attempt.then(|| Outcome::of(step.answers.iter().map(|a| &a.verdict)));
            let behind = messages.get(step.message + 1).filter(|m| step.attempt.is_none() && m.role != Role::Assistant);
            step.refused = behind.and_then(|m| detector.refusal(m.content?));
        }
        let judged = |m: usize| (m, detector.verdict(&Asked::unknown(), &messages[m]));
        Trajectory { rollout, steps, unasked: unasked.into_iter().map(judged).collect() }
    }

    /// All longest stretches of failed attempts with no other message between them.
    pub fn failure_runs(&self) -> Vec<FailureRun> {
        failure_run::find(&self.steps)
    }

    pub fn failed_attempts(&self) -> usize {
        self.steps.iter().filter(|s| s.attempt == Some(Outcome::Failed)).count()
    }

    pub fn attempts(&self) -> usize {
        self.steps.iter().filter(|s| s.attempt.is_some()).count()
    }

    /// The failure of a step that is known to be a failed attempt.
    pub fn failure(&self, step: usize) -> Option<&Failure> {
        self.steps[step].failure()
    }
}

/// The steps by place alone: nothing is paired or judged yet.
fn stretches(messages: &[Message<'_>]) -> Vec<Step> {
    let is_assistant = |(_, message): &(usize, &Message<'_>)| message.role == Role::Assistant;
    let step = |(index, message): (usize, &Message<'_>)| {
        let behind = messages[index + 1..].iter().take_while(|m| m.role == Role::Tool).count();
        let results = index + 1..index + 1 + behind;
        Step {
            message: index,
            results,
            answers: Vec::new(),
            attempt: None,
            refused: None,
            is_context: message.is_context,
        }
    };
    messages.iter().enumerate().filter(is_assistant).map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::options::DetectConfig;
    use crate::rollout::ToolCall;

    fn message<'a>(role: Role, content: Option<&'a str>, ids: &[&'a str]) -> Message<'a> {
        Message {
            role,
            content,
            reasoning: None,
            call_id: (role == Role::Tool).then(|| ids[0]),
            is_error: None,
            is_context: false,
            calls: match role {
                Role::Assistant => {
                    ids.iter().map(|id| ToolCall { id: Some(id), name: "get", arguments: "{}" }).collect()
                }
                Role::System | Role::User | Role::Tool => vec![],
            },
        }
    }

    fn with_steps<T>(messages: Vec<Message<'_>>, read: impl Fn(&Trajectory<'_, '_>) -> T) -> T {
        let rollout = Rollout { id: Cow::Borrowed("r"), group: None, messages, tokens: None };
        let detector = ErrorDetector::new(&DetectConfig::default()).expect("no patterns");
        read(&Trajectory::new(&rollout, &detector))
    }

    #[test]
    fn a_step_knows_which_of_its_calls_failed() {
        let asked = message(Role::Assistant, None, &["a", "b", "c"]);
        let answers = [("c", "Error: user not found"), ("a", "1"), ("b", "Error: gone")];
        let results = answers.iter().map(|&(id, text)| message(Role::Tool, Some(text), &[id]));
        with_steps(std::iter::once(asked).chain(results).collect(), |trajectory| {
            let step = &trajectory.steps[0];
            let failed: Vec<_> = step.failed_calls().map(|(call, f)| (call, f.error_type.to_string())).collect();
            assert_eq!(failed, [(1, "tool_error".to_owned()), (2, "not_found".to_owned())]);
            assert_eq!(step.failure().map(|f| f.error_type.as_ref()), Some("tool_error"));
            let outcomes = [0, 1, 2].map(|call| step.call_outcome(call));
            assert_eq!(outcomes, [Outcome::Ok, Outcome::Failed, Outcome::Failed]);
            assert_eq!(step.attempt, Some(Outcome::Failed));
            assert!(step.is_whole());
        });
    }

    #[test]
    fn a_run_whose_results_stand_elsewhere_has_no_correction() {
        let rollout = vec![
            message(Role::Assistant, None, &["a"]),
            message(Role::Assistant, None, &["b"]),
            message(Role::Tool, Some("3"), &["b"]),
            message(Role::Tool, Some("Error: gone"), &["a"]),
        ];
        with_steps(rollout, |trajectory| {
            assert_eq!(trajectory.steps.iter().map(Step::is_whole).collect::<Vec<_>>(), [false, false]);
            let runs = trajectory.failure_runs();
            assert_eq!(runs, [FailureRun { steps: 0..1, end: RunEnd::Other }]);
        });
    }

    #[test]
    fn a_call_without_a_result_is_open() {
        with_steps(vec![message(Role::Assistant, None, &["a"])], |trajectory| {
            assert_eq!(trajectory.steps[0].attempt, Some(Outcome::Open));
            assert_eq!(trajectory.steps[0].call_outcome(0), Outcome::Open);
        });
    }

    #[test]
    fn a_result_without_a_call_is_kept_with_its_verdict() {
        with_steps(vec![message(Role::Tool, Some("Error: gone"), &["x"])], |trajectory| {
            let [(0, verdict)] = trajectory.unasked.as_slice() else { panic!("{:?}", trajectory.unasked) };
            assert!(verdict.failure().is_some());
        });
    }
}
