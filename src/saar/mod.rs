//! SAAR: decides how each failure run of a rollout is repaired (docs/method.md, "Parameters", "Repair of one recovered
//! run" and "Unrecovered runs").
//!
//! Owns the fold over a run, the threshold rule and the treatment of unrecovered runs. It reads a
//! [`Trajectory`] and a [`Measure`] and returns a [`Plan`]; it can't touch data. Pure: the draw of the repair
//! probability is a hash of (seed, rollout id).

pub mod plan;
mod texts;

use std::borrow::Cow;

use crate::options::{Compare, Mode, Pairing, RepairFaults, SaarConfig, TextKind, Unrecovered};
use crate::rollout::Message;
use crate::similarity::Measure;
use crate::similarity::semantic::{NoVector, Vectors};
use crate::steps::{FailureRun, RunEnd, Trajectory};
use crate::tokens::CallMarker;
use crate::verdict::Fault;
pub use plan::{Granularity, Plan, Repair, RepairKind, Skip};
pub use texts::{CalledCode, call_code, call_segment, called_code, step_text};

/// The importance gate's word on the recovered runs of one rollout, in order (docs/method.md, "Importance"): whether a run is not to
/// be repaired. Runs after the last entry are.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'g> {
    pub refused: &'g [bool],
}

/// Where the calls of a rollout's token columns start, by message; `None`: the rollout has no tokens.
pub type CallStarts = Vec<Option<usize>>;

/// How two attempts are compared, and which number decides.
#[derive(Clone, Copy)]
pub enum Comparison<'c> {
    /// Their calls as text.
    Text(&'c dyn Measure),
    /// The same; the cosine is recorded beside it.
    TextAndMeaning(&'c dyn Measure, Meaning<'c>),
    /// By the cosine of their vectors, with a threshold of its own.
    Meaning(Meaning<'c>, f64),
}

/// Vectors of one text of each attempt.
#[derive(Clone, Copy)]
pub struct Meaning<'c> {
    pub vectors: &'c Vectors,
    pub of: TextKind,
}

/// Two attempts, compared.
struct Compared {
    /// The number that decides.
    similarity: f64,
    semantic: Option<f64>,
    is_deep: bool,
}

/// All that a plan depends on besides the rollout.
pub struct Planner<'c> {
    pub config: &'c SaarConfig,
    pub comparison: Comparison<'c>,
    pub marker: Option<&'c CallMarker>,
}

impl Planner<'_> {
    /// Decides on every failure run of a rollout.
    ///
    /// With token columns, a run whose calls can't be told apart from their reasoning is repaired deep.
    ///
    /// # Errors
    /// Attempts are compared by meaning, and a text has no vector.
    pub fn plan(&self, trajectory: &Trajectory<'_, '_>, gate: Option<Gate<'_>>) -> Result<Plan, NoVector> {
        let config = self.config;
        let mut plan = Plan {
            selected: is_selected(config, &trajectory.rollout.id),
            attempts: trajectory.attempts(),
            failed_attempts: trajectory.failed_attempts(),
            ..Plan::default()
        };
        if plan.failed_attempts == 0 {
            return Ok(plan);
        }
        if config.mode == Mode::Mask && plan.selected {
            plan.masked = self.steps_to_mask(trajectory);
        }
        let mut stopped = false;
        for run in trajectory.failure_runs() {
            match run.end {
                RunEnd::Correction(correction) if run.steps.len() <= config.max_retries.get() as usize => {
                    plan.recovered += 1;
                    let refused = gate.is_some_and(|gate| gate.refuses(plan.recovered - 1));
                    match self.reason_to_skip(trajectory, &run, &plan, stopped, refused) {
                        Some(skip) => plan.skipped.push(skip),
                        None if config.mode == Mode::Mask => {}
                        None => {
                            let index = plan.recovered - 1;
                            plan.repairs.push(self.fold(trajectory, &run, RepairKind::Recovered, correction, index)?);
                        }
                    }
                }
                _ => {
                    plan.unrecovered += 1;
                    let collapses = config.unrecovered == Unrecovered::Collapse && config.mode != Mode::Mask;
                    let last = run.steps.start + run.steps.len().min(config.max_retries.get() as usize + 1) - 1;
                    if collapses
                        && last > run.steps.start
                        && self.reason_to_skip(trajectory, &run, &plan, stopped, false).is_none()
                    {
                        plan.repairs.push(self.fold(trajectory, &run, RepairKind::Collapsed, last, plan.recovered)?);
                    }
                    stopped |= config.stop_after_unrecovered;
                }
            }
        }
        Ok(plan)
    }

    fn reason_to_skip(
        &self,
        trajectory: &Trajectory<'_, '_>,
        run: &FailureRun,
        plan: &Plan,
        stopped: bool,
        refused: bool,
    ) -> Option<Skip> {
        let attempts_before = || trajectory.steps[..run.steps.start].iter().filter(|s| s.attempt.is_some()).count();
        let limit = self.config.max_attempts as usize;
        if !plan.selected {
            Some(Skip::NotSelected)
        } else if stopped {
            Some(Skip::BehindUnrecovered)
        } else if limit > 0 && attempts_before() >= limit {
            Some(Skip::TooManyAttempts)
        } else if self.config.repair_faults == RepairFaults::Model
            && run.steps.clone().all(|s| trajectory.failure(s).is_some_and(|f| f.fault == Fault::Environment))
        {
            Some(Skip::EnvironmentFault)
        } else if refused {
            Some(Skip::Gate)
        } else {
            None
        }
    }

    fn steps_to_mask(&self, trajectory: &Trajectory<'_, '_>) -> Vec<usize> {
        let counts = |fault| self.config.repair_faults == RepairFaults::All || fault == Fault::Model;
        (0..trajectory.steps.len()).filter(|&s| trajectory.failure(s).is_some_and(|f| counts(f.fault))).collect()
    }

    /// The fold (docs/method.md, "Repair of one recovered run") over the attempts `run.steps.start ..= last`.
    fn fold(
        &self,
        trajectory: &Trajectory<'_, '_>,
        run: &FailureRun,
        kind: RepairKind,
        last: usize,
        recovered_run: usize,
    ) -> Result<Repair, NoVector> {
        let first = run.steps.start;
        let calls = self.calls(trajectory, first, last);
        let (mut reasoning, mut rejected_reasoning) = (first, first);
        let mut compared = Vec::new();
        match self.config.pairing {
            Pairing::Consecutive => {
                for step in first + 1..=last {
                    rejected_reasoning = reasoning;
                    let found = self.compare(&calls[step - first - 1], &calls[step - first])?;
                    if found.is_deep {
                        reasoning = step;
                    }
                    compared.push(found);
                }
            }
            Pairing::FirstLast => {
                let found = self.compare(&calls[0], &calls[last - first])?;
                if found.is_deep {
                    reasoning = last;
                }
                compared.push(found);
            }
        }
        let is_separable = calls.iter().all(|c| c.separable);
        if !is_separable {
            reasoning = last;
        }
        Ok(Repair {
            kind,
            recovered_run,
            steps: first..=last,
            reasoning,
            rejected_reasoning,
            is_separable,
            made_shallow: false,
            granularity: if reasoning == first { Granularity::Shallow } else { Granularity::Deep },
            similarity: compared.iter().map(|c| c.similarity).collect(),
            semantic_similarity: compared.iter().map(|c| c.semantic).collect(),
            error_types: (first..=last)
                .filter_map(|s| trajectory.failure(s))
                .map(|f| f.error_type.clone().into_owned())
                .collect(),
        })
    }

    /// At the threshold: shallow.
    fn compare(&self, old: &CallText<'_>, new: &CallText<'_>) -> Result<Compared, NoVector> {
        let cosine = |meaning: Meaning<'_>| {
            let text = |call: &CallText<'_>| step_text(call.message, meaning.of).into_owned();
            meaning.vectors.similarity(&text(old), &text(new)).map(|s| s.get())
        };
        let gamma = self.config.similarity_threshold.get();
        Ok(match self.comparison {
            Comparison::Text(measure) => {
                let similarity = measure.similarity(&old.text, &new.text).get();
                Compared { similarity, semantic: None, is_deep: similarity < gamma }
            }
            Comparison::TextAndMeaning(measure, meaning) => {
                let similarity = measure.similarity(&old.text, &new.text).get();
                Compared { similarity, semantic: Some(cosine(meaning)?), is_deep: similarity < gamma }
            }
            Comparison::Meaning(meaning, threshold) => {
                let similarity = cosine(meaning)?;
                Compared { similarity, semantic: Some(similarity), is_deep: similarity < threshold }
            }
        })
    }

    fn calls<'r>(&self, trajectory: &'r Trajectory<'_, '_>, first: usize, last: usize) -> Vec<CallText<'r>> {
        let rollout = trajectory.rollout;
        let runs = rollout.tokens.as_ref().and_then(|t| t.runs_by_message(&rollout.messages, self.marker).ok());
        (first..=last)
            .map(|step| {
                let index = trajectory.steps[step].message;
                let message = &rollout.messages[index];
                let mut call = CallText { message, text: self.compared_text(message), separable: true };
                if let (Some(runs), Some(tokens), Some(marker)) = (&runs, &rollout.tokens, self.marker)
                    && let Some(range) = &runs[index]
                {
                    let ids = &tokens.ids[range.clone()];
                    let start = marker.find(ids);
                    call.separable = start.is_some();
                    if self.config.compare == Compare::Segment
                        && let Some(text) = start.and_then(|at| marker.text(&ids[at..]))
                    {
                        call.text = Cow::Owned(text);
                    }
                }
                call
            })
            .collect()
    }

    fn compared_text<'r>(&self, message: &'r Message<'_>) -> Cow<'r, str> {
        match self.config.compare {
            Compare::Segment => call_segment(message),
            Compare::Code => Cow::Owned(call_code(message)),
        }
    }
}

impl Gate<'_> {
    fn refuses(&self, recovered_run: usize) -> bool {
        self.refused.get(recovered_run).copied().unwrap_or(false)
    }
}

struct CallText<'r> {
    message: &'r Message<'r>,
    text: Cow<'r, str>,
    /// Whether the tokens show where the call starts.
    separable: bool,
}

/// The draw of p: a uniform number from a hash of (seed, rollout id), so that order, shard and thread don't matter.
fn is_selected(config: &SaarConfig, rollout_id: &str) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&config.seed.to_le_bytes()).update(rollout_id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    let uniform = (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64;
    uniform < config.repair_probability.get()
}
