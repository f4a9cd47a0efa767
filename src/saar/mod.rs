//! SAAR: decides how each failure run of a rollout is repaired (docs/method.md, "Parameters", "Repair of one recovered
//! run" and "Unrecovered runs").
//!
//! Owns the fold over a run, the threshold rule and the treatment of unrecovered runs. It reads a
//! [`Trajectory`] and a [`Measure`] and returns a [`Plan`]; it can't touch data. Pure: the draw of the repair
//! probability is a hash of (seed, rollout id).

pub mod plan;
mod scope;
mod texts;

use std::borrow::Cow;

use crate::decision::{Reason, RunDecision};
use crate::options::{
    Compare, Mode, Pairing, RepairFaults, RepairUnit, RepairWhere, SaarConfig, TextKind, Unrecovered,
};
use crate::record::AdvantageSign;
use crate::rollout::Message;
use crate::similarity::Measure;
use crate::similarity::semantic::{NoVector, Vectors};
use crate::steps::{FailureRun, RunEnd, Trajectory};
use crate::tokens::CallMarker;
use crate::verdict::Fault;
pub use plan::{Granularity, Plan, Repair, RepairKind, ReplacedCall, RunOutcome, RunPlan, Scope};
pub use texts::{CalledCode, call_code, call_segment, called_code, calls_of, code_of, step_text};

/// The importance gate's word on the recovered runs of one rollout, in order (docs/method.md, "Importance"): whether a run is not to
/// be repaired. Runs after the last entry are.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'g> {
    pub refused: &'g [bool],
}

/// What is known of a rollout besides its messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'k> {
    pub gate: Option<Gate<'k>>,
    /// What speaks for and against each failure run, in order; absent: whatever did its job is a correction.
    pub decisions: Option<&'k [RunDecision]>,
    /// Whether the rollout did better than its group; absent where nothing tells.
    pub sign: Option<AdvantageSign>,
    pub place: RepairWhere,
    pub unit: RepairUnit,
}

impl Known<'_> {
    /// The paper's rule: whatever did its job is a correction, whole steps, everywhere.
    pub fn nothing() -> Self {
        Known { place: RepairWhere::All, unit: RepairUnit::Step, ..Known::default() }
    }

    /// Whether nothing is done in the rollout since it did no better than its group.
    pub fn is_worse(&self) -> bool {
        self.place == RepairWhere::Positive && self.sign == Some(AdvantageSign::Negative)
    }
}

/// Which run a repair is of: its index among all, and among the recovered ones.
#[derive(Clone, Copy)]
struct Place {
    run: usize,
    recovered_run: usize,
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
    pub fn plan(&self, trajectory: &Trajectory<'_, '_>, known: Known<'_>) -> Result<Plan, NoVector> {
        let mut plan = Plan {
            selected: is_selected(self.config, &trajectory.rollout.id),
            attempts: trajectory.attempts(),
            failed_attempts: trajectory.failed_attempts(),
            sign: known.sign,
            ..Plan::default()
        };
        if plan.failed_attempts == 0 {
            return Ok(plan);
        }
        if self.config.mode == Mode::Mask && plan.selected && !known.is_worse() {
            plan.masked = self.steps_to_mask(trajectory);
        }
        let mut stopped = false;
        for (index, run) in trajectory.failure_runs().into_iter().enumerate() {
            let decision = known.decisions.and_then(|decisions| decisions.get(index));
            let reason = self.reason_against(trajectory, &run, &plan, stopped, known);
            let mut planned = RunPlan {
                steps: run.steps.clone(),
                outcome: RunOutcome::Left,
                reason,
                is_recovered: false,
                decision: decision.cloned(),
            };
            match self.correction_of(&run) {
                Ok(correction) => {
                    planned.is_recovered = true;
                    let recovered = plan.recovered;
                    plan.recovered += 1;
                    let refused = || known.gate.is_some_and(|gate| gate.refuses(recovered)).then_some(Reason::Gate);
                    if self.config.mode != Mode::Mask && planned.reason.is_none() {
                        let scope = match decision.and_then(|decision| decision.reason) {
                            Some(reason) => Err(reason),
                            None => scope::of(trajectory, &run, correction, decision, known.unit),
                        };
                        match scope.and_then(|scope| refused().map_or(Ok(scope), Err)) {
                            Err(reason) => planned.reason = Some(reason),
                            Ok(scope) => {
                                let place = Place { run: index, recovered_run: recovered };
                                plan.repairs.push(self.repair(trajectory, &run, correction, scope, place)?);
                                planned.outcome = RunOutcome::Repaired;
                            }
                        }
                    }
                }
                Err(why) => {
                    plan.unrecovered += 1;
                    let collapses = self.config.unrecovered == Unrecovered::Collapse && self.config.mode != Mode::Mask;
                    let last = run.steps.start + run.steps.len().min(self.config.max_retries.get() as usize + 1) - 1;
                    if collapses && last > run.steps.start && planned.reason.is_none() {
                        let place = Place { run: index, recovered_run: plan.recovered };
                        plan.repairs.push(self.fold(trajectory, &run, RepairKind::Collapsed, last, place)?);
                    }
                    planned.reason = planned.reason.or(Some(why));
                    stopped |= self.config.stop_after_unrecovered;
                }
            }
            let is_masked = |step| trajectory.steps.get(step).is_some() && plan.masked.contains(&step);
            if run.steps.clone().any(is_masked) {
                (planned.outcome, planned.reason) = (RunOutcome::Masked, None);
            }
            plan.runs.push(planned);
        }
        Ok(plan)
    }

    /// The attempt that did its job directly after a run that is not too long, or why there is none.
    fn correction_of(&self, run: &FailureRun) -> Result<usize, Reason> {
        match run.end {
            RunEnd::Correction(correction) if run.steps.len() <= self.config.max_retries.get() as usize => {
                Ok(correction)
            }
            RunEnd::Correction(_) => Err(Reason::TooManyFailures),
            RunEnd::Other => Err(Reason::NoCorrection),
        }
    }

    /// Why nothing is done about a run, whatever follows it.
    fn reason_against(
        &self,
        trajectory: &Trajectory<'_, '_>,
        run: &FailureRun,
        plan: &Plan,
        stopped: bool,
        known: Known<'_>,
    ) -> Option<Reason> {
        let attempts_before = || trajectory.steps[..run.steps.start].iter().filter(|s| s.attempt.is_some()).count();
        let limit = self.config.max_attempts as usize;
        if !plan.selected {
            Some(Reason::NotSelected)
        } else if known.is_worse() {
            Some(Reason::NegativeAdvantage)
        } else if stopped {
            Some(Reason::BehindUnrecovered)
        } else if limit > 0 && attempts_before() >= limit {
            Some(Reason::TooManyAttempts)
        } else if self.config.repair_faults == RepairFaults::Model
            && run.steps.clone().all(|s| trajectory.failure(s).is_some_and(|f| f.fault == Fault::Environment))
        {
            Some(Reason::EnvironmentFault)
        } else {
            None
        }
    }

    fn repair(
        &self,
        trajectory: &Trajectory<'_, '_>,
        run: &FailureRun,
        correction: usize,
        scope: Scope,
        place: Place,
    ) -> Result<Repair, NoVector> {
        Ok(match scope {
            Scope::Steps => self.fold(trajectory, run, RepairKind::Recovered, correction, place)?,
            // What stays beside the replaced calls was reasoned for along with them.
            Scope::Calls(_) => {
                let mut repair = self.fold(trajectory, run, RepairKind::Recovered, correction, place)?;
                (repair.reasoning, repair.rejected_reasoning) = (repair.first(), repair.first());
                Repair { scope, granularity: Granularity::Shallow, ..repair }
            }
            Scope::Removal => Repair {
                kind: RepairKind::Recovered,
                scope,
                run: place.run,
                recovered_run: place.recovered_run,
                steps: run.steps.start..=correction,
                reasoning: correction,
                rejected_reasoning: run.steps.start,
                is_separable: true,
                made_shallow: false,
                granularity: Granularity::Deep,
                similarity: Vec::new(),
                semantic_similarity: None,
                error_types: error_types(trajectory, run.steps.clone()),
            },
        })
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
        place: Place,
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
            scope: Scope::Steps,
            run: place.run,
            recovered_run: place.recovered_run,
            steps: first..=last,
            reasoning,
            rejected_reasoning,
            is_separable,
            made_shallow: false,
            granularity: if reasoning == first { Granularity::Shallow } else { Granularity::Deep },
            similarity: compared.iter().map(|c| c.similarity).collect(),
            semantic_similarity: compared.iter().map(|c| c.semantic).collect(),
            error_types: error_types(trajectory, first..last + 1),
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

/// One for each failed attempt.
fn error_types(trajectory: &Trajectory<'_, '_>, steps: std::ops::Range<usize>) -> Vec<String> {
    steps.filter_map(|s| trajectory.failure(s)).map(|f| f.error_type.clone().into_owned()).collect()
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
