//! The decision on a failure run as plain data, and every reason for which one is left as it is.
//!
//! Owns the words alone. Made by [`crate::decide`] and by [`crate::saar`], kept by [`crate::record`].

use std::ops::Range;

/// Why a run is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The draw of the repair probability went against the rollout.
    NotSelected,
    /// The rollout did no better than its group, and repairs are made in the better ones.
    NegativeAdvantage,
    /// It stands after the rollout's first unrecovered run, and the options stop there.
    BehindUnrecovered,
    /// It starts after the attempt at which repairs stop.
    TooManyAttempts,
    /// It is longer than the most retries that are repaired.
    TooManyFailures,
    /// All its failures were the environment's.
    EnvironmentFault,
    /// The importance gate refused it.
    Gate,
    /// What stays needs a name that only its failed attempts define.
    Dependency,
    /// Nothing in reach did its job.
    NoCorrection,
    /// The failing output is what the call was for.
    Informative,
    /// What follows it does something else.
    NotARetry,
    /// What follows it goes another way to the same end.
    Workaround,
    /// Some of its calls did their job, and they can't be told from those that failed.
    PartialStep,
    /// Its failed calls have changed something.
    SideEffects,
    /// Later text relies on the failure.
    CitedLater,
}

impl Reason {
    pub const ALL: [Reason; 15] = [
        Reason::NotSelected,
        Reason::NegativeAdvantage,
        Reason::BehindUnrecovered,
        Reason::TooManyAttempts,
        Reason::TooManyFailures,
        Reason::EnvironmentFault,
        Reason::Gate,
        Reason::Dependency,
        Reason::NoCorrection,
        Reason::Informative,
        Reason::NotARetry,
        Reason::Workaround,
        Reason::PartialStep,
        Reason::SideEffects,
        Reason::CitedLater,
    ];

    /// As records and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NotSelected => "not_selected",
            Reason::NegativeAdvantage => "negative_advantage",
            Reason::BehindUnrecovered => "behind_unrecovered",
            Reason::TooManyAttempts => "too_many_attempts",
            Reason::TooManyFailures => "too_many_failures",
            Reason::EnvironmentFault => "environment_fault",
            Reason::Gate => "gate",
            Reason::Dependency => "dependency",
            Reason::NoCorrection => "no_correction",
            Reason::Informative => "informative",
            Reason::NotARetry => "not_a_retry",
            Reason::Workaround => "workaround",
            Reason::PartialStep => "partial_step",
            Reason::SideEffects => "side_effects",
            Reason::CitedLater => "cited_later",
        }
    }

    /// In plain words, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Reason::NotSelected => "the draw of the repair probability went against the rollout",
            Reason::NegativeAdvantage => "the rollout did no better than its group",
            Reason::BehindUnrecovered => "it stands after the rollout's first unrecovered run",
            Reason::TooManyAttempts => "it starts after the attempt at which repairs stop",
            Reason::TooManyFailures => "it is longer than the retries that are repaired",
            Reason::EnvironmentFault => "all its failures were the environment's",
            Reason::Gate => "the importance gate refused it",
            Reason::Dependency => "what stays needs a name that only the failed attempts define",
            Reason::NoCorrection => "no step in reach did its job",
            Reason::Informative => "the failing output is what the call was for",
            Reason::NotARetry => "what follows does something else",
            Reason::Workaround => "what follows goes another way to the same end",
            Reason::PartialStep => "some of its calls did their job, and cannot be told from those that failed",
            Reason::SideEffects => "the failed calls changed something that would be lost",
            Reason::CitedLater => "later text relies on the failure",
        }
    }
}

/// What a later call is to a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Correction {
    /// It does something else.
    Other,
    /// Another way to the same end.
    Workaround,
    /// The same thing again.
    Retry,
}

impl Correction {
    pub const ALL: [Correction; 3] = [Correction::Other, Correction::Workaround, Correction::Retry];

    pub fn name(self) -> &'static str {
        match self {
            Correction::Other => "other",
            Correction::Workaround => "workaround",
            Correction::Retry => "retry",
        }
    }
}

/// Whether a failed call has changed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SideEffects {
    #[default]
    No,
    Unknown,
    Yes,
}

impl SideEffects {
    pub const ALL: [SideEffects; 3] = [SideEffects::No, SideEffects::Unknown, SideEffects::Yes];

    pub fn name(self) -> &'static str {
        match self {
            SideEffects::No => "no",
            SideEffects::Unknown => "unknown",
            SideEffects::Yes => "yes",
        }
    }
}

/// What speaks for and against repairing one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDecision {
    /// The failed steps.
    pub steps: Range<usize>,
    /// The step that corrects them, or that was looked at in vain; `None`: there is none in reach.
    pub later: Option<usize>,
    pub correction: Correction,
    /// How near the later step comes, 0 to 1: of the failed attempts' affinities the least.
    pub affinity: f64,
    /// Names of the rules that spoke on the attempt with the least affinity.
    pub evidence: Vec<&'static str>,
    /// Each failed call of the last failed step with the later call that comes nearest to it: what a step that failed in
    /// part takes over, the other calls of both staying as they are.
    pub calls: Vec<(usize, usize)>,
    /// `None`: not looked at, since nothing would be repaired.
    pub side_effects: Option<SideEffects>,
    /// The same.
    pub cited_later: Option<bool>,
    /// `None`: it is repaired.
    pub reason: Option<Reason>,
}

impl RunDecision {
    pub fn is_repaired(&self) -> bool {
        self.reason.is_none()
    }

    /// Steps that did their job and stand between the run and its correction; they stay.
    pub fn detour(&self) -> usize {
        self.later.map_or(0, |later| later - self.steps.end)
    }
}
