//! A step, what answers its calls, and what came of them.
//!
//! Owns the nouns alone: which message answers which call is found by `pairing`, runs of failures by `failure_run`.

use std::ops::Range;

use crate::verdict::{Failure, Verdict};

/// What came of an attempt, or of a single call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has results and none is an error.
    Ok,
    /// As ok, and a result reports a bad state of something else.
    Informative,
    /// At least one result is an error.
    Failed,
    /// It has no result: a cut-off end.
    Open,
}

impl Outcome {
    /// Whether the tool did what it was asked to do.
    pub fn did_its_job(self) -> bool {
        match self {
            Outcome::Ok | Outcome::Informative => true,
            Outcome::Failed | Outcome::Open => false,
        }
    }

    pub(super) fn of<'v>(verdicts: impl Iterator<Item = &'v Verdict>) -> Self {
        verdicts.fold(Outcome::Open, |so_far, verdict| match (so_far, verdict) {
            (Outcome::Failed, _) | (_, Verdict::Error(_)) => Outcome::Failed,
            (Outcome::Informative, _) | (_, Verdict::Informative(_)) => Outcome::Informative,
            (Outcome::Ok | Outcome::Open, Verdict::Ok | Verdict::Unknown) => Outcome::Ok,
        })
    }
}

/// A tool message that answers calls of a step, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Index of the tool message.
    pub message: usize,
    /// Indices of the calls that it answers: one, or all of a batch with a single result; none after a step without a call.
    /// A call that stands in text is call 0.
    pub calls: Range<usize>,
    pub verdict: Verdict,
}

/// An assistant message with the tool messages that answer it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Index of the assistant message.
    pub message: usize,
    /// Indices of the tool messages directly after it.
    pub results: Range<usize>,
    /// All that answers its calls, wherever it stands, in the order of the calls.
    pub answers: Vec<Answer>,
    /// `None`: no call, hence no attempt.
    pub attempt: Option<Outcome>,
    /// The harness could not read a call in it, and said so: a failed attempt without a call, in no failure run.
    pub refused: Option<Failure>,
    /// It is not trained on: it belongs to no failure run and corrects none.
    pub is_context: bool,
}

impl Step {
    /// The first failure, in the order of the calls, of a failed attempt.
    pub fn failure(&self) -> Option<&Failure> {
        self.attempt?;
        self.answers.iter().find_map(|answer| answer.verdict.failure())
    }

    /// The calls that failed, each with its first failure, in order.
    pub fn failed_calls(&self) -> impl Iterator<Item = (usize, &Failure)> {
        let mut last = None;
        let failures = self.answers.iter().filter_map(|a| Some((a.calls.clone(), a.verdict.failure()?)));
        failures.flat_map(|(calls, failure)| calls.map(move |call| (call, failure))).filter(move |(call, _)| {
            let is_new = last < Some(*call);
            last = last.max(Some(*call));
            is_new
        })
    }

    /// What came of one call.
    pub fn call_outcome(&self, call: usize) -> Outcome {
        Outcome::of(self.answers.iter().filter(|a| a.calls.contains(&call)).map(|a| &a.verdict))
    }

    /// All that answers its calls, in the order of the messages.
    pub fn answers_in_order(&self) -> impl Iterator<Item = &Answer> {
        let mut out: Vec<&Answer> = self.answers.iter().collect();
        out.sort_by_key(|answer| answer.message);
        out.into_iter()
    }

    /// Whether its results, and no others, stand directly behind it.
    pub fn is_whole(&self) -> bool {
        self.answers.len() == self.results.len() && self.answers.iter().all(|a| self.results.contains(&a.message))
    }

    /// Index of the message after the step.
    pub fn end(&self) -> usize {
        self.results.end
    }
}
