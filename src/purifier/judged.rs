//! Mode `append`: repairs that the policy would not have made without the error are not made.
//!
//! Owns the loop of decisions, left to right: a repair that is refused leaves its error in the context of those after it,
//! so they are judged again. What can't be judged is not repaired: a gate that can't see lets nothing through.

use serde_json::Value;

use super::rows::Refusal;
use super::warning::Doubts;
use super::{Guarded, PurifiedRow, Purifier};
use crate::batch::sample::{Sample, SampleTokens};
use crate::group::Advantage;
use crate::judge::{Judge, JudgeError, JudgedRollout, LogIs};
use crate::options::{Mode, Unrecovered};
use crate::record::{RepairKind, RepairRecord};
use crate::rejects::RejectReason;
use crate::rewrite::{self, CallSource, MessageSource, PurifiedRollout};
use crate::rollout::{Message, Rollout};
use crate::saar::Gate;
use crate::steps::Trajectory;

/// Fields of a message that belong to its reasoning; everything else goes with the call.
const REASONING_FIELDS: [&str; 2] = ["content", "reasoning_content"];

impl Purifier<'_> {
    /// [`Purifier::purify`] with a judge over each repair.
    pub(super) fn purify_judged(
        &self,
        rollout: &Rollout<'_>,
        sample: &Sample,
        (judge, threshold): (&dyn Judge, f64),
        advantage: Option<Advantage>,
    ) -> Result<PurifiedRow, Refusal> {
        let trajectory = Trajectory::new(rollout, &self.detector);
        let mut refused: Vec<bool> = Vec::new();
        let mut judged = Vec::new();
        loop {
            let gate = Gate { refused: &refused };
            let guarded = self.guarded(&trajectory, Some(gate), advantage)?;
            let mut row = self.applied(&trajectory, guarded, advantage)?;
            let Some(purified) = row.rollout.as_ref().filter(|_| !row.plan.repairs.is_empty()) else {
                row.judged = judged;
                return Ok(row);
            };
            let found = ask(judge, rollout, sample, purified, &row.records)?;
            let fails = |log_is: &Option<LogIs>| log_is.is_none_or(|l| l.sum < threshold.ln());
            let recovered = row.plan.repairs.iter().zip(&found).filter(|(r, _)| r.kind == RepairKind::Recovered);
            let first = recovered.clone().find(|(_, log_is)| fails(log_is));
            if let Some((repair, log_is)) = first {
                if refused.len() <= repair.recovered_run {
                    refused.resize(repair.recovered_run + 1, false);
                }
                refused[repair.recovered_run] = true;
                judged.push(*log_is);
                continue;
            }
            judged.extend(recovered.map(|(_, log_is)| *log_is));
            for (record, log_is) in row.records.iter_mut().zip(found) {
                record.log_importance_ratio = log_is.map(|l| l.sum);
                record.log_importance_ratio_mean = log_is.map(|l| l.mean);
            }
            row.judged = judged;
            return Ok(row);
        }
    }
}

fn ask(
    judge: &dyn Judge,
    rollout: &Rollout<'_>,
    sample: &Sample,
    purified: &PurifiedRollout,
    records: &[RepairRecord],
) -> Result<Vec<Option<LogIs>>, JudgeError> {
    let messages: Vec<Message<'_>> = purified.messages().iter().map(|source| source.of(rollout)).collect();
    let changed = purified_sample(sample, purified)?;
    let (raw, purified) = (
        JudgedRollout { sample, messages: &rollout.messages },
        JudgedRollout { sample: &changed, messages: &messages },
    );
    judge.log_is(raw, purified, records)
}

/// The row as it would be written.
fn purified_sample(raw: &Sample, purified: &PurifiedRollout) -> Result<Sample, JudgeError> {
    let composed = |messages: &Vec<Value>| purified.messages().iter().map(|source| compose(messages, source)).collect();
    let messages = raw.messages.as_ref().map(composed).transpose()?;
    let tokens = raw.tokens.as_ref().map(|tokens| match purified.tokens() {
        None => tokens.clone(),
        Some(splice) => SampleTokens {
            prompt: tokens.prompt.clone(),
            response: splice.kept.iter().flat_map(|r| tokens.response[r.clone()].iter().copied()).collect(),
            mask: splice.kept.iter().flat_map(|r| tokens.mask[r.clone()].iter().copied()).collect(),
            logprobs: None,
        },
    });
    Ok(Sample { messages, tokens, tools: raw.tools.clone(), id: raw.id.clone(), ..Sample::default() })
}

/// A message as it would be written.
fn compose(messages: &[Value], source: &MessageSource) -> Result<Value, JudgeError> {
    let message = |at: usize| {
        messages.get(at).and_then(Value::as_object).ok_or_else(|| JudgeError {
            message: format!("message {at} of the raw row is not there to be judged: this is a bug"),
            hint: None,
        })
    };
    let mut out = message(source.call)?.clone();
    let reasoning = message(source.reasoning)?;
    for name in REASONING_FIELDS {
        match reasoning.get(name) {
            Some(value) => out.insert(name.to_owned(), value.clone()),
            None => out.shift_remove(name),
        };
    }
    if let Some(calls) = &source.calls {
        let call = |of: &CallSource| {
            let found = message(of.message)?.get("tool_calls").and_then(|calls| calls.get(of.call));
            found.cloned().ok_or_else(|| JudgeError {
                message: format!("call {} of message {} is not there to be judged: this is a bug", of.call, of.message),
                hint: None,
            })
        };
        out.insert("tool_calls".to_owned(), calls.iter().map(call).collect::<Result<_, _>>()?);
    }
    if let Some(text) = &source.content {
        out.insert("content".to_owned(), Value::String(text.clone()));
    }
    Ok(Value::Object(out))
}

impl Purifier<'_> {
    /// Applies a plan, in the mode of the settings.
    pub(super) fn applied(
        &self,
        trajectory: &Trajectory<'_, '_>,
        Guarded { plan, findings }: Guarded,
        advantage: Option<Advantage>,
    ) -> Result<PurifiedRow, RejectReason> {
        let drops = self.options.method.mode == Mode::Drop || self.options.method.unrecovered == Unrecovered::Drop;
        if drops && plan.unrecovered > 0 {
            return Err(RejectReason::Unrecovered { runs: plan.unrecovered });
        }
        let purified = rewrite::apply(trajectory, &plan, self.marker.as_ref())?;
        let loss = match self.options.method.mode {
            Mode::Mask => rewrite::loss_flags(trajectory.rollout, purified.as_ref()),
            _ => Vec::new(),
        };
        let mut records = rewrite::records(trajectory, &plan, purified.as_ref(), self.options.method.similarity_metric);
        for (record, findings) in records.iter_mut().zip(findings) {
            record.findings = findings;
        }
        let runs = rewrite::runs(trajectory, &plan);
        let token_advantages = self.token_advantages(trajectory, advantage)?;
        let judged = Vec::new();
        let doubts = Doubts::of(trajectory, &self.detector);
        Ok(PurifiedRow { records, runs, plan, rollout: purified, loss, judged, advantage, token_advantages, doubts })
    }
}
