//! Applies a plan: says of every message and token of the purified rollout where it comes from.
//!
//! Owns the composition of a repaired step and is the only maker of [`PurifiedRollout`]. It can't decide, and it
//! copies no text: a purified rollout is a list of places in the raw one, so that what is not repaired stays byte
//! for byte what it was. Building columns from it is [`crate::write`]'s work.

pub mod splice;

use crate::decision::{Correction, RunDecision};
use crate::options::SimilarityMetric;
use crate::record::{Findings, RepairRecord, RepairScope, RunRecord};
use crate::rollout::{Message, Role, Rollout, ToolCall};
use crate::saar::{Plan, Repair, RepairKind, ReplacedCall, RunPlan, Scope};
use crate::steps::Trajectory;
use crate::tokens::CallMarker;
pub use splice::{SpliceError, TokenSplice};

/// Where a message of the purified rollout comes from; indices of raw messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSource {
    /// `content` and `reasoning_content`.
    pub reasoning: usize,
    /// Everything else.
    pub call: usize,
    /// The content, where it joins the reasoning of one message with the inline call of another.
    pub content: Option<String>,
    /// The calls one by one, where they come from several messages; `None`: all of the message `call`.
    pub calls: Option<Vec<CallSource>>,
}

/// Where a call comes from: a raw message, and the call's index within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSource {
    pub message: usize,
    pub call: usize,
}

impl MessageSource {
    pub fn whole(message: usize) -> Self {
        MessageSource { reasoning: message, call: message, content: None, calls: None }
    }

    /// The message itself.
    pub fn of<'m>(&'m self, rollout: &'m Rollout<'_>) -> Message<'m> {
        let (reasoning, call) = (&rollout.messages[self.reasoning], &rollout.messages[self.call]);
        let content = self.content.as_deref().or(reasoning.content);
        let calls = match &self.calls {
            Some(calls) => calls.iter().map(|c| rollout.messages[c.message].calls[c.call]).collect(),
            None => call.calls.clone(),
        };
        Message { content, reasoning: reasoning.reasoning, calls, ..call.clone() }
    }
}

/// One retry as a preference: the same prompt, the corrected message and the last failed state of the fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Index into [`Plan::repairs`].
    pub repair: usize,
    /// Purified messages before the step: a prefix of [`PurifiedRollout::messages`].
    pub prompt_len: usize,
    pub chosen: MessageSource,
    pub rejected: MessageSource,
}

/// The product of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PurifiedRollout {
    messages: Vec<MessageSource>,
    tokens: Option<TokenSplice>,
    untrained: Vec<usize>,
    pairs: Vec<Pair>,
}

impl PurifiedRollout {
    /// The messages, in order.
    pub fn messages(&self) -> &[MessageSource] {
        &self.messages
    }

    /// The response tokens; `None` if the rollout has none or they stay as they are.
    pub fn tokens(&self) -> Option<&TokenSplice> {
        self.tokens.as_ref()
    }

    /// Raw messages that mode `mask` takes out of the loss.
    pub fn untrained(&self) -> &[usize] {
        &self.untrained
    }

    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }
}

/// Applies a plan to the rollout that it was made for; `None` if nothing changes.
pub fn apply(
    trajectory: &Trajectory<'_, '_>,
    plan: &Plan,
    marker: Option<&CallMarker>,
) -> Result<Option<PurifiedRollout>, SpliceError> {
    if plan.repairs.is_empty() && plan.masked.is_empty() {
        return Ok(None);
    }
    let rollout = trajectory.rollout;
    let mut messages = Vec::with_capacity(rollout.messages.len());
    let mut pairs = Vec::new();
    let mut next = 0;
    for (index, repair) in plan.repairs.iter().enumerate() {
        messages.extend((next..trajectory.steps[repair.first()].message).map(MessageSource::whole));
        let last = &trajectory.steps[repair.last()];
        let raw = || MessageSource::whole(trajectory.steps[repair.first()].message);
        let (message, results, rejected) = match &repair.scope {
            Scope::Steps => (
                joined(trajectory, repair.reasoning, repair.last()),
                last.results.clone().collect(),
                Some(joined(trajectory, repair.rejected_reasoning, repair.last() - 1)),
            ),
            Scope::Calls(replaced) => {
                let (message, results) = partly_replaced(trajectory, repair, replaced);
                (message, results, Some(raw()))
            }
            // What follows is no answer to the same question.
            Scope::Removal => (MessageSource::whole(last.message), last.results.clone().collect(), None),
        };
        let is_pair = |rejected: &MessageSource| is_retry(plan, repair) && !say_the_same(rollout, [&message, rejected]);
        if let Some(rejected) = rejected.filter(is_pair) {
            pairs.push(Pair { repair: index, prompt_len: messages.len(), chosen: message.clone(), rejected });
        }
        messages.push(message);
        messages.extend(results.into_iter().map(MessageSource::whole));
        next = last.end();
    }
    messages.extend((next..rollout.messages.len()).map(MessageSource::whole));
    let untrained: Vec<usize> = plan.masked.iter().map(|&s| trajectory.steps[s].message).collect();
    let tokens = splice::splice(trajectory, plan, &untrained, marker)?;
    Ok(Some(PurifiedRollout { messages, tokens, untrained, pairs }))
}

/// Whether what a repair puts in place is the same thing again: another thing is not what the failed attempt should have been.
/// Unless it was asked, whatever did its job is taken for it.
fn is_retry(plan: &Plan, repair: &Repair) -> bool {
    let decision = plan.runs.get(repair.run).and_then(|run| run.decision.as_ref());
    repair.kind == RepairKind::Recovered && decision.is_none_or(|decision| decision.correction == Correction::Retry)
}

/// Whether two messages can't be told apart but by the ids of their calls: neither is to be preferred, as where a call that ran out of
/// time was made again.
fn say_the_same(rollout: &Rollout<'_>, sides: [&MessageSource; 2]) -> bool {
    let [a, b] = sides.map(|side| side.of(rollout));
    let same = |(a, b): (&ToolCall<'_>, &ToolCall<'_>)| (a.name, a.arguments) == (b.name, b.arguments);
    let are_calls_same = a.calls.len() == b.calls.len() && a.calls.iter().zip(&b.calls).all(same);
    a.content == b.content && a.reasoning == b.reasoning && are_calls_same
}

/// The first step of a run with some of its calls replaced by calls of the last, and the results of all of them. Each result
/// of a replaced call gives its place to the results of the call that replaces it.
fn partly_replaced(
    trajectory: &Trajectory<'_, '_>,
    repair: &Repair,
    replaced: &[ReplacedCall],
) -> (MessageSource, Vec<usize>) {
    let (first, last) = (&trajectory.steps[repair.first()], &trajectory.steps[repair.last()]);
    let replacing = |call: usize| replaced.iter().find(|r| r.failed == call).map(|r| r.corrected);
    let calls = (0..trajectory.rollout.messages[first.message].calls.len())
        .map(|call| match replacing(call) {
            Some(corrected) => CallSource { message: last.message, call: corrected },
            None => CallSource { message: first.message, call },
        })
        .collect();
    let mut results: Vec<usize> = Vec::new();
    for answer in first.answers_in_order() {
        match replacing(answer.calls.start) {
            None => results.push(answer.message),
            Some(corrected) => {
                let new = last.answers_in_order().filter(|a| a.calls.contains(&corrected)).map(|a| a.message);
                results.extend(new.filter(|message| !results.contains(message)).collect::<Vec<_>>());
            }
        }
    }
    (MessageSource { calls: Some(calls), ..MessageSource::whole(first.message) }, results)
}

/// The assistant message with the reasoning of one step and the calls of another.
fn joined(trajectory: &Trajectory<'_, '_>, reasoning: usize, call: usize) -> MessageSource {
    let (r, c) = (trajectory.steps[reasoning].message, trajectory.steps[call].message);
    let (r_message, c_message) = (&trajectory.rollout.messages[r], &trajectory.rollout.messages[c]);
    if r == c {
        return MessageSource::whole(c);
    }
    let thought = |at: Option<usize>| {
        let text = r_message.content.unwrap_or_default();
        &text[..at.unwrap_or(text.len())]
    };
    let content = match (r_message.inline_call(), c_message.inline_call()) {
        (None, None) => None,
        (at, None) => Some(thought(at).to_owned()),
        (at, Some(call_at)) => Some(thought(at).to_owned() + &c_message.content.unwrap_or_default()[call_at..]),
    };
    MessageSource { reasoning: r, call: c, content, calls: None }
}

/// Messages of a run and its correction that are not in the purified rollout.
fn removed_messages(trajectory: &Trajectory<'_, '_>, repair: &Repair) -> usize {
    let (first, last) = (&trajectory.steps[repair.first()], &trajectory.steps[repair.last()]);
    match &repair.scope {
        Scope::Steps | Scope::Removal => last.message - first.message,
        Scope::Calls(replaced) => {
            last.end() - first.message - 1 - partly_replaced(trajectory, repair, replaced).1.len()
        }
    }
}

/// The records of a plan's repairs, in order.
///
/// `measure`: by which they were decided.
pub fn records(
    trajectory: &Trajectory<'_, '_>,
    plan: &Plan,
    purified: Option<&PurifiedRollout>,
    measure: SimilarityMetric,
) -> Vec<RepairRecord> {
    let removed_tokens = purified.and_then(PurifiedRollout::tokens).map(|t| t.removed.as_slice());
    let message = |step: usize| trajectory.steps[step].message;
    let decision = |repair: &Repair| plan.runs.get(repair.run).and_then(|run| run.decision.as_ref());
    let record = |(k, repair): (usize, &Repair)| RepairRecord {
        first_message: message(repair.first()),
        attempts: repair.attempts(),
        kind: repair.kind,
        granularity: repair.granularity,
        measure,
        similarity: repair.similarity.clone(),
        semantic_similarity: repair.semantic_similarity.clone(),
        error_types: repair.error_types.clone(),
        tool: trajectory.rollout.messages[message(repair.last())].calls.first().map(|c| c.name.to_owned()),
        removed_messages: removed_messages(trajectory, repair),
        removed_tokens: removed_tokens.and_then(|removed| removed.get(k).copied()),
        findings: Findings::default(),
        scope: Some(match repair.scope {
            Scope::Steps => RepairScope::Steps,
            Scope::Calls(_) => RepairScope::Calls,
            Scope::Removal => RepairScope::Removal,
        }),
        correction: decision(repair).map(|found| found.correction),
        affinity: decision(repair).map(|found| found.affinity),
        evidence: decision(repair).map(evidence),
        side_effects: decision(repair).and_then(|found| found.side_effects),
        cited_later: decision(repair).and_then(|found| found.cited_later),
        log_importance_ratio: None,
        log_importance_ratio_mean: None,
    };
    plan.repairs.iter().enumerate().map(record).collect()
}

fn evidence(decision: &RunDecision) -> Vec<String> {
    decision.evidence.iter().map(|rule| (*rule).to_owned()).collect()
}

/// The records of a plan's failure runs, in order.
pub fn runs(trajectory: &Trajectory<'_, '_>, plan: &Plan) -> Vec<RunRecord> {
    let record = |run: &RunPlan| {
        let decision = run.decision.as_ref();
        RunRecord {
            first_message: trajectory.steps[run.steps.start].message,
            attempts: run.steps.len(),
            decision: run.outcome,
            reason: run.reason,
            correction: decision.filter(|found| found.later.is_some()).map(|found| found.correction),
            affinity: decision.filter(|found| found.later.is_some()).map(|found| found.affinity),
            evidence: decision.map(evidence),
            side_effects: decision.and_then(|found| found.side_effects),
            cited_later: decision.and_then(|found| found.cited_later),
            advantage_sign: plan.sign,
        }
    };
    plan.runs.iter().map(record).collect()
}

/// Mode `mask`: which messages stay in the loss. Only what the policy wrote is ever trained on.
pub fn loss_flags(rollout: &Rollout<'_>, purified: Option<&PurifiedRollout>) -> Vec<bool> {
    let untrained = purified.map_or(&[][..], PurifiedRollout::untrained);
    let is_trained = |(k, message): (usize, &Message<'_>)| message.role == Role::Assistant && !untrained.contains(&k);
    rollout.messages.iter().enumerate().map(is_trained).collect()
}
