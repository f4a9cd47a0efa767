//! SAAR: decides how each failure run of a rollout is repaired (saar.md, sections 2, 3, 6).
//!
//! Owns the fold over a run, the threshold rule and the treatment of unrecovered runs. It reads a
//! [`Trajectory`] and a [`Measure`] and returns a [`Plan`]; it can't touch data. Pure: the draw of the repair
//! probability is a hash of (seed, rollout id).

pub mod plan;

use std::borrow::Cow;

use crate::config::{Compare, Mode, Pairing, RepairFaults, SaarConfig, Unrecovered};
use crate::rollout::{CALL_MARKER, END_OF_TURN, Message};
use crate::similarity::{Measure, Similarity};
use crate::steps::{FailureRun, Fault, RunEnd, Trajectory};
use crate::tokens::CallMarker;
pub use plan::{Granularity, Plan, Repair, RepairKind, Skip};

/// Arguments that hold code, in the order in which they are looked for (`--compare code`).
const CODE_ARGUMENTS: &[&str] = &["code", "command", "cmd", "script", "source", "query", "sql", "input"];

/// The importance gate's word on the recovered runs of one rollout, in order (saar.md, section 8): whether a run is not to
/// be repaired. Runs behind the last entry are.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'g> {
    pub refused: &'g [bool],
}

/// Where the calls of a rollout's token columns start, by message; `None`: the rollout has no tokens.
pub type CallStarts = Vec<Option<usize>>;

/// All that a plan depends on besides the rollout.
pub struct Planner<'c> {
    pub config: &'c SaarConfig,
    pub measure: &'c dyn Measure,
    pub marker: Option<&'c CallMarker>,
}

impl Planner<'_> {
    /// Decides on every failure run of a rollout.
    ///
    /// With token columns, a run whose calls can't be told apart from their reasoning is repaired deep.
    pub fn plan(&self, trajectory: &Trajectory<'_, '_>, gate: Option<Gate<'_>>) -> Plan {
        let config = self.config;
        let mut plan = Plan {
            selected: is_selected(config, &trajectory.rollout.id),
            attempts: trajectory.attempts(),
            failed_attempts: trajectory.failed_attempts(),
            ..Plan::default()
        };
        if plan.failed_attempts == 0 {
            return plan;
        }
        if config.mode == Mode::Mask && plan.selected {
            plan.masked = self.steps_to_mask(trajectory);
        }
        let mut stopped = false;
        for run in trajectory.failure_runs() {
            match run.end {
                RunEnd::Correction(correction) if run.steps.len() <= config.max_retries as usize => {
                    plan.recovered += 1;
                    let refused = gate.is_some_and(|gate| gate.refuses(plan.recovered - 1));
                    match self.reason_to_skip(trajectory, &run, &plan, stopped, refused) {
                        Some(skip) => plan.skipped.push(skip),
                        None if config.mode == Mode::Mask => {}
                        None => {
                            let index = plan.recovered - 1;
                            plan.repairs.push(self.fold(trajectory, &run, RepairKind::Recovered, correction, index));
                        }
                    }
                }
                _ => {
                    plan.unrecovered += 1;
                    let collapses = config.unrecovered == Unrecovered::Collapse && config.mode != Mode::Mask;
                    let last = run.steps.start + run.steps.len().min(config.max_retries as usize + 1) - 1;
                    if collapses
                        && last > run.steps.start
                        && self.reason_to_skip(trajectory, &run, &plan, stopped, false).is_none()
                    {
                        plan.repairs.push(self.fold(trajectory, &run, RepairKind::Collapsed, last, plan.recovered));
                    }
                    stopped |= config.stop_after_unrecovered;
                }
            }
        }
        plan
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

    /// The fold of saar.md, section 3, over the attempts `run.steps.start ..= last`.
    fn fold(
        &self,
        trajectory: &Trajectory<'_, '_>,
        run: &FailureRun,
        kind: RepairKind,
        last: usize,
        recovered_run: usize,
    ) -> Repair {
        let first = run.steps.start;
        let calls = self.calls(trajectory, first, last);
        let gamma = self.config.similarity_threshold.get();
        let (mut reasoning, mut rejected_reasoning) = (first, first);
        let mut similarity = Vec::new();
        match self.config.pairing {
            Pairing::Consecutive => {
                for step in first + 1..=last {
                    rejected_reasoning = reasoning;
                    let s = self.similarity(&calls[step - first - 1], &calls[step - first]);
                    similarity.push(s.get());
                    if s.get() < gamma {
                        reasoning = step;
                    }
                }
            }
            Pairing::FirstLast => {
                let s = self.similarity(&calls[0], &calls[last - first]);
                similarity.push(s.get());
                if s.get() < gamma {
                    reasoning = last;
                }
            }
        }
        if reasoning != last && calls.iter().any(|c| !c.separable) {
            reasoning = last;
        }
        Repair {
            kind,
            recovered_run,
            steps: first..=last,
            reasoning,
            rejected_reasoning,
            granularity: if reasoning == first { Granularity::Shallow } else { Granularity::Deep },
            similarity,
            error_types: (first..=last)
                .filter_map(|s| trajectory.failure(s))
                .map(|f| f.error_type.clone().into_owned())
                .collect(),
        }
    }

    fn similarity(&self, old: &CallText<'_>, new: &CallText<'_>) -> Similarity {
        self.measure.similarity(&old.text, &new.text)
    }

    fn calls<'r>(&self, trajectory: &'r Trajectory<'_, '_>, first: usize, last: usize) -> Vec<CallText<'r>> {
        let rollout = trajectory.rollout;
        let runs = rollout.tokens.as_ref().and_then(|t| t.runs_by_message(&rollout.messages, self.marker).ok());
        (first..=last)
            .map(|step| {
                let index = trajectory.steps[step].message;
                let message = &rollout.messages[index];
                let mut call = CallText { text: self.compared_text(message), separable: true };
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

/// The call segment of an attempt as text (saar.md, section 4): rendered, or cut from the content.
pub fn call_segment<'r>(message: &'r Message<'_>) -> Cow<'r, str> {
    if let Some(at) = message.inline_call() {
        let text = &message.content.unwrap_or_default()[at..];
        return match text.trim_end().ends_with(END_OF_TURN) {
            true => Cow::Borrowed(text),
            false => Cow::Owned(format!("{text}{END_OF_TURN}")),
        };
    }
    let mut out = String::new();
    for (k, call) in message.calls.iter().enumerate() {
        if k > 0 {
            out.push('\n');
        }
        for part in
            [CALL_MARKER, "\n{\"name\": \"", call.name, "\", \"arguments\": ", call.arguments, "}\n</tool_call>"]
        {
            out.push_str(part);
        }
    }
    out.push_str(END_OF_TURN);
    Cow::Owned(out)
}

/// The code of an attempt: of each call the code argument if there is one, else the arguments.
pub fn call_code(message: &Message<'_>) -> String {
    let inline;
    let arguments: Vec<&str> = match message.inline_call() {
        Some(at) => {
            inline = inline_arguments(&message.content.unwrap_or_default()[at..]);
            inline.iter().map(String::as_str).collect()
        }
        None => message.calls.iter().map(|c| c.arguments).collect(),
    };
    let code = |arguments: &str| -> String {
        let parsed: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(arguments).ok();
        parsed
            .as_ref()
            .and_then(|object| CODE_ARGUMENTS.iter().find_map(|name| object.get(*name)?.as_str()))
            .map_or_else(|| arguments.to_owned(), str::to_owned)
    };
    arguments.into_iter().map(code).collect::<Vec<_>>().join("\n")
}

/// The `arguments` of calls that stand in text; a call that is no JSON stands for itself, whole.
fn inline_arguments(segment: &str) -> Vec<String> {
    segment
        .split(CALL_MARKER)
        .map(|part| part.split("</tool_call>").next().unwrap_or(part).trim())
        .filter(|part| !part.is_empty())
        .map(|part| {
            let object: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(part).ok();
            match object.as_ref().and_then(|o| o.get("arguments")) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => part.to_owned(),
            }
        })
        .collect()
}
