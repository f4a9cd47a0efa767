//! A decision as plain data: what to repair in one rollout, and why.
//!
//! Made by [`crate::saar`], applied by [`crate::rewrite`], shown by a dry run and by audits. It holds step
//! and message indices into the raw rollout and never text of it.

use std::ops::RangeInclusive;

pub use crate::record::{Granularity, RepairKind};

/// One run becomes one step: the reasoning of one attempt, call and results of the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    pub kind: RepairKind,
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

/// Why a recovered run was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// The draw of the repair probability went against the rollout.
    NotSelected,
    /// It comes after the rollout's first unrecovered run, and the settings stop there.
    BehindUnrecovered,
    /// It starts after the attempt at which repairs stop.
    TooManyAttempts,
    /// All its failures were the environment's.
    EnvironmentFault,
    /// The importance gate refused it.
    Gate,
    /// What stays needs a name that only its failed attempts define.
    Dependency,
}

impl Skip {
    pub fn name(self) -> &'static str {
        match self {
            Skip::NotSelected => "not_selected",
            Skip::BehindUnrecovered => "behind_unrecovered",
            Skip::TooManyAttempts => "too_many_attempts",
            Skip::EnvironmentFault => "environment_fault",
            Skip::Gate => "gate",
            Skip::Dependency => "dependency",
        }
    }
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
    pub skipped: Vec<Skip>,
    /// Steps that mode `mask` takes out of the loss.
    pub masked: Vec<usize>,
}

impl Plan {
    /// Leaves out the repairs that a list marks, for one reason.
    pub fn leave_out(&mut self, marked: &[bool], reason: Skip) {
        let mut marks = marked.iter();
        let before = self.repairs.len();
        self.repairs.retain(|_| marks.next() != Some(&true));
        self.skipped.extend(std::iter::repeat_n(reason, before - self.repairs.len()));
    }
}
