//! A decision as plain data: what to repair in one rollout, and why.
//!
//! Made by [`crate::saar`], applied by [`crate::rewrite`], shown by a dry run and by audits. It holds step
//! and message indices into the raw rollout and never text of it.

use std::ops::{Range, RangeInclusive};

use crate::decision::{Reason, RunDecision};
use crate::record::AdvantageSign;
pub use crate::record::{Granularity, RepairKind, RunOutcome};

/// A call of a run's first step, and the call of its last that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplacedCall {
    pub failed: usize,
    pub corrected: usize,
}

/// What of its steps a repair touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// They become one step: the reasoning of one attempt, call and results of the last.
    #[default]
    Steps,
    /// Failed calls of the first step are replaced by calls of the last; the other calls of the first stay, with what
    /// answered them.
    Calls(Vec<ReplacedCall>),
    /// The failed ones go and the last stays as it is: it did its job and is no retry, which stands further on.
    Removal,
}

/// What is done to one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    pub kind: RepairKind,
    pub scope: Scope,
    /// Index into [`Plan::runs`].
    pub run: usize,
    /// Which of the rollout's recovered runs it is (for a collapsed one: those before it).
    pub recovered_run: usize,
    /// Steps from the first failed attempt to the one whose call and results stay.
    pub steps: RangeInclusive<usize>,
    /// Step whose reasoning stays.
    pub reasoning: usize,
    /// As `reasoning`, before the last attempt was folded in: the state that a preference pair rejects.
    pub rejected_reasoning: usize,
    /// Whether the calls can be told from their reasoning: if not, it can only be deep.
    pub is_separable: bool,
    pub granularity: Granularity,
    /// It would have been deep, and was made shallow for the sake of what stays.
    pub made_shallow: bool,
    /// Every `s_i` of docs/method.md, "Repair of one recovered run", in order.
    pub similarity: Vec<f64>,
    /// The cosine of each comparison; absent where nothing is compared by meaning.
    pub semantic_similarity: Option<Vec<f64>>,
    /// One per failed attempt of the run that the repair covers.
    pub error_types: Vec<String>,
}

impl Repair {
    pub fn first(&self) -> usize {
        *self.steps.start()
    }

    pub fn last(&self) -> usize {
        *self.steps.end()
    }

    /// Keeps the reasoning of the first attempt after all.
    pub fn make_shallow(&mut self) {
        if self.is_separable {
            (self.reasoning, self.rejected_reasoning) = (self.first(), self.first());
            self.granularity = Granularity::Shallow;
            self.made_shallow = true;
        }
    }

    /// Attempts that become one.
    pub fn attempts(&self) -> usize {
        self.last() - self.first() + 1
    }
}

/// What becomes of one failure run, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPlan {
    /// Its failed steps.
    pub steps: Range<usize>,
    pub outcome: RunOutcome,
    /// Why it is left.
    pub reason: Option<Reason>,
    /// Whether an attempt that did its job follows it, and it is not too long.
    pub is_recovered: bool,
    /// What speaks for and against it; absent where nothing was asked.
    pub decision: Option<RunDecision>,
}

/// All decisions on one rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The draw of the repair probability.
    pub selected: bool,
    pub attempts: usize,
    pub failed_attempts: usize,
    /// Failure runs with a correction, at most `max_retries` long, repaired or not.
    pub recovered: usize,
    pub unrecovered: usize,
    /// In order, never overlapping.
    pub repairs: Vec<Repair>,
    /// Every failure run, in order.
    pub runs: Vec<RunPlan>,
    /// Whether the rollout did better than its group; absent where nothing tells.
    pub sign: Option<AdvantageSign>,
    /// Steps that mode `mask` takes out of the loss.
    pub masked: Vec<usize>,
}

impl Plan {
    /// Leaves out the repairs that a list marks, for one reason.
    pub fn leave_out(&mut self, marked: &[bool], reason: Reason) {
        let mut marks = marked.iter();
        let runs = &mut self.runs;
        self.repairs.retain(|repair| {
            let goes = marks.next() == Some(&true);
            if goes && let Some(run) = runs.get_mut(repair.run) {
                (run.outcome, run.reason) = (RunOutcome::Left, Some(reason));
            }
            !goes
        });
    }

    /// Why recovered runs are left as they are, one reason each.
    pub fn skipped(&self) -> impl Iterator<Item = Reason> {
        self.runs.iter().filter(|run| run.is_recovered).filter_map(|run| run.reason)
    }
}
