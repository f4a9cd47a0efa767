//! The method on rollouts and on batches of them: the door of the library.
//!
//! Owns the order of the pure stages on one rollout (find failures, plan, look at the plan, have it judged, apply it) and, in
//! `rows`, on a record batch. Arrow in, Arrow out: no command line, environment, file, thread or signal. Whoever has any of
//! these hands in what they stand for: options, vectors, a judge, a call marker.

pub mod counts;
mod earned;
mod guarded;
mod judged;
mod rows;
pub mod warning;

use crate::batch::row::RunLabels;
use crate::group::{Advantage, Baselines};
use crate::judge::{Judge, LogIs};
use crate::options::{Mode, Options, Shard, TokenAdvantages};
use crate::record::{Findings, RepairRecord, RunRecord};
use crate::rejects::RejectReason;
use crate::rewrite::PurifiedRollout;
use crate::rollout::Rollout;
use crate::saar::{Comparison, Meaning, Plan, Planner};
use crate::schema::{Changes, Columns};
use crate::similarity::measure;
use crate::similarity::semantic::Vectors;
use crate::steps::Trajectory;
use crate::tokens::CallMarker;
use crate::verdict::{ErrorDetector, PatternError};
pub use earned::Earnings;
pub use rows::{PurifiedBatch, PurifyError, RowPurifier};
use warning::Doubts;

/// All that decides what becomes of a rollout, ready for use.
pub struct Purifier<'a> {
    options: Options,
    judge: Option<(&'a dyn Judge, f64)>,
    labels: RunLabels,
    detector: ErrorDetector,
    comparison: Comparison<'a>,
    marker: Option<CallMarker>,
    baselines: Option<Baselines>,
}

/// A rollout with all that was decided on it.
pub struct PurifiedRow {
    pub plan: Plan,
    pub records: Vec<RepairRecord>,
    /// Every failure run, repaired or not.
    pub runs: Vec<RunRecord>,
    /// `None`: it stays as it is.
    pub rollout: Option<PurifiedRollout>,
    /// Mode `mask`: the loss flag of each message; else empty.
    pub loss: Vec<bool>,
    /// What a judge said of each recovered run, made or refused; empty without one.
    pub judged: Vec<Option<LogIs>>,
    /// What it earned beside its group, where that is known.
    pub advantage: Option<Advantage>,
    /// The same by response token, where the options ask for it.
    pub token_advantages: Option<Vec<f32>>,
    /// What speaks against what was read.
    pub doubts: Doubts,
}

/// A plan, and what the guards say of each of its repairs.
struct Guarded {
    plan: Plan,
    findings: Vec<Findings<Option<bool>>>,
}

/// Options that contradict each other, or ask for what was not handed in.
#[derive(Debug, thiserror::Error)]
pub enum UnfitOptions {
    #[error("mode `append` leaves out repairs by their importance ratio, and nothing computes it")]
    NoGate,
    #[error("--gate-model judges repairs, and mode `mask` makes none")]
    GateInMask,
    #[error("similarity by meaning needs vectors, and nothing gives them")]
    NoVectors,
    #[error("no threshold is known for this model and these texts")]
    NoThreshold,
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl UnfitOptions {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            UnfitOptions::NoGate => "give --gate-model with the policy's folder",
            UnfitOptions::GateInMask => "leave one of the two out",
            UnfitOptions::NoVectors => "give --embeddings with a file of `purify embed`, or --embed-model",
            UnfitOptions::NoThreshold => "`purify calibrate` finds one on your data; give it with --semantic-threshold",
            UnfitOptions::Pattern(_) => "patterns use the syntax of the Rust regex crate, which has no look-around",
        }
    }
}

impl<'a> Purifier<'a> {
    /// Calls are compared as text, and where they start in tokens is told by the ids of the options alone.
    ///
    /// # Errors
    /// Options that contradict each other, or that need more than this.
    pub fn new(options: Options) -> Result<Self, UnfitOptions> {
        Self::with_vectors(options, None)
    }

    /// The same where the options compare by meaning, with the vectors of every text that is compared.
    ///
    /// # Errors
    /// As [`Purifier::new`].
    pub fn with_vectors(options: Options, vectors: Option<&'a Vectors>) -> Result<Self, UnfitOptions> {
        match (options.method.mode, &options.gate.gate_model) {
            (Mode::Append, None) => return Err(UnfitOptions::NoGate),
            (Mode::Mask, Some(_)) => return Err(UnfitOptions::GateInMask),
            _ => {}
        }
        let labels = RunLabels {
            profile: options.method.profile,
            // A gate is what append means.
            mode: match (options.method.mode, &options.gate.gate_model) {
                (Mode::Replace, Some(_)) => Mode::Append,
                (mode, _) => mode,
            },
        };
        let ids = &options.columns.call_marker_ids;
        Ok(Purifier {
            judge: None,
            baselines: None,
            labels,
            detector: ErrorDetector::new(&options.errors)?,
            comparison: comparison(&options, vectors)?,
            marker: (!ids.is_empty()).then(|| CallMarker::Ids(ids.clone())),
            options,
        })
    }

    /// Has each repair judged: those whose ratio is below the threshold of the options are not made.
    pub fn judged_by(self, judge: Option<&'a dyn Judge>) -> Self {
        let threshold = self.options.gate.is_threshold.get();
        Purifier { judge: judge.map(|judge| (judge, threshold)), ..self }
    }

    /// Tells where calls start in tokens, in place of the options' own ids.
    pub fn with_marker(self, marker: Option<CallMarker>) -> Self {
        Purifier { marker, ..self }
    }

    /// Tells what each group earned over the whole input, of which batches are parts.
    pub fn with_baselines(self, baselines: Baselines) -> Self {
        Purifier { baselines: Some(baselines), ..self }
    }

    pub fn baselines(&self) -> Option<&Baselines> {
        self.baselines.as_ref()
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn detector(&self) -> &ErrorDetector {
        &self.detector
    }

    /// Tells reasoning and call of a message's tokens apart, if anything does.
    pub fn marker(&self) -> Option<&CallMarker> {
        self.marker.as_ref()
    }

    /// Decides and applies: the whole method on one rollout. `advantage` is what it earned beside its group, where that is known.
    ///
    /// # Errors
    /// Why the rollout is not written.
    pub fn purify(&self, rollout: &Rollout<'_>, advantage: Option<Advantage>) -> Result<PurifiedRow, RejectReason> {
        self.decide(&Trajectory::new(rollout, &self.detector), advantage)
    }

    /// The same where the failures of the rollout are found already.
    ///
    /// # Errors
    /// As [`Purifier::purify`].
    pub fn decide(
        &self,
        trajectory: &Trajectory<'_, '_>,
        advantage: Option<Advantage>,
    ) -> Result<PurifiedRow, RejectReason> {
        let guarded = self.guarded(trajectory, None, advantage)?;
        self.applied(trajectory, guarded, advantage)
    }

    fn planner(&self) -> Planner<'_> {
        Planner { config: &self.options.method, comparison: self.comparison, marker: self.marker.as_ref() }
    }

    /// How the columns of what is written differ from those read.
    pub fn changes(&self, columns: &Columns) -> Changes {
        let knows_advantages = columns.group.is_some() && columns.reward.is_some();
        Changes {
            drops_tokens: self.options.columns.drops_tokens(),
            marks_loss: self.options.method.mode == Mode::Mask,
            adds_advantage: self.options.decision.advantage_column && knows_advantages && columns.advantage.is_none(),
            adds_token_advantages: self.options.rewards.token_advantages != TokenAdvantages::None
                && (knows_advantages || columns.advantage.is_some())
                && columns.response.is_some()
                && columns.token_advantages.is_none(),
        }
    }

    /// Whether a row belongs to this shard: its group decides, so that groups stay whole.
    pub fn is_ours(&self, group: Option<&str>, id: &str) -> bool {
        let Some(Shard { index, of }) = self.options.shard else { return true };
        let hash = blake3::hash(group.unwrap_or(id).as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(first) % u64::from(of) == u64::from(index - 1)
    }

    /// Whether rows with tokens can be purified: tokens are only cut where something tells the calls in them.
    pub fn can_cut(&self, has_tokens: bool) -> bool {
        !has_tokens || self.options.method.mode == Mode::Mask || self.marker.is_some()
    }
}

/// What the options compare attempts by.
fn comparison<'a>(options: &Options, vectors: Option<&'a Vectors>) -> Result<Comparison<'a>, UnfitOptions> {
    let semantic = &options.semantic;
    let meaning = match (semantic.is_used(options.method.similarity_metric), vectors) {
        (true, Some(vectors)) => Some(Meaning { vectors, of: semantic.semantic_of }),
        (true, None) => return Err(UnfitOptions::NoVectors),
        (false, _) => None,
    };
    match (measure(options.method.similarity_metric), meaning) {
        (Some(measure), None) => Ok(Comparison::Text(measure)),
        (Some(measure), Some(meaning)) => Ok(Comparison::TextAndMeaning(measure, meaning)),
        (None, Some(meaning)) => {
            let threshold = semantic.semantic_threshold.ok_or(UnfitOptions::NoThreshold)?;
            Ok(Comparison::Meaning(meaning, threshold.get()))
        }
        (None, None) => Err(UnfitOptions::NoVectors),
    }
}
