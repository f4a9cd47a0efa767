//! One side of the purifying: what the rollouts hold.
//!
//! Owns the counting of steps, attempts, failure runs and the cascade. An attempt without a result is open: it is counted, and
//! neither a success nor a failure.

use std::collections::BTreeMap;

use super::report::{Cascade, MAX_POSITIONS, MAX_STREAK, RunCounts, Side, Tally};
use crate::rollout::{Message, Rollout};
use crate::steps::{Outcome, RunEnd, Step, Trajectory};

/// Names that are counted one by one, those that come first; data could make more of them.
const MAX_NAMES: usize = 1000;
pub(super) const OTHERS: &str = "(others)";
/// Of calls that stand in text.
const IN_TEXT: &str = "(in text)";

/// Tokens of a rollout by message, as far as they can be told apart.
pub(super) struct MessageTokens {
    pub all: u64,
    /// Policy tokens of each message.
    pub of: Vec<u64>,
}

/// The entry of a name. The rows of a stretch bound how many there are.
pub(super) fn entry<'m, V: Default>(map: &'m mut BTreeMap<String, V>, name: &str) -> &'m mut V {
    map.entry(name.to_owned()).or_default()
}

/// Adds the counts of a map to those of another, which stays bounded: a name that was there in time is counted to the end.
pub(super) fn merge<V: Default + Clone>(
    into: &mut BTreeMap<String, V>,
    from: &BTreeMap<String, V>,
    add: impl Fn(&mut V, &V),
) {
    for (name, value) in from {
        add(bounded(into, name), value);
    }
}

/// The entry of a name in a map that stays bounded.
pub(super) fn bounded<'m, V: Default>(map: &'m mut BTreeMap<String, V>, name: &str) -> &'m mut V {
    let is_named = map.contains_key(name) || map.len() < MAX_NAMES;
    entry(map, if is_named { name } else { OTHERS })
}

/// Adds a count that may not be known.
fn add_known(mine: &mut Option<u64>, theirs: Option<u64>) {
    if let Some(theirs) = theirs {
        *mine.get_or_insert(0) += theirs;
    }
}

fn characters(message: &Message<'_>) -> u64 {
    let count = |text: &str| text.chars().count() as u64;
    let texts = [message.content, message.reasoning].into_iter().flatten();
    texts.map(count).sum::<u64>() + message.calls.iter().map(|c| count(c.name) + count(c.arguments)).sum::<u64>()
}

impl Side {
    /// Counts a rollout.
    pub(super) fn add(&mut self, trajectory: &Trajectory<'_, '_>, tokens: Option<&MessageTokens>) {
        let rollout = trajectory.rollout;
        self.rollouts += 1;
        self.messages += rollout.messages.len() as u64;
        self.steps += trajectory.steps.len() as u64;
        self.characters += rollout.messages.iter().map(characters).sum::<u64>();
        if let Some(tokens) = tokens {
            *self.tokens.get_or_insert(0) += tokens.all;
            self.tokens_on_failures.get_or_insert(0);
        }
        let (mut position, mut before) = (0, None);
        for step in &trajectory.steps {
            let Some(outcome) = &step.attempt else { continue };
            self.attempts += 1;
            let failed = match outcome {
                Outcome::Open => {
                    self.open += 1;
                    continue;
                }
                Outcome::Ok | Outcome::Informative => {
                    self.ok += 1;
                    false
                }
                Outcome::Failed => {
                    self.failed += 1;
                    let failures = step.failure().into_iter();
                    failures.for_each(|f| *entry(&mut self.error_types, &f.error_type) += 1);
                    self.add_cost(rollout, step, tokens);
                    true
                }
            };
            self.add_tools(trajectory, step);
            self.add_position(position, failed);
            self.cascade.add(before, failed);
            position += 1;
            before = Some(match (before, failed) {
                (_, false) => 0,
                (Some(streak), true) => streak + 1,
                (None, true) => 1,
            });
        }
        for run in trajectory.failure_runs() {
            let counts = self.failure_runs.entry(run.steps.len() as u64).or_default();
            match run.end {
                RunEnd::Correction(_) => {
                    counts.corrected += 1;
                    self.corrected += 1;
                }
                RunEnd::Other => {
                    counts.uncorrected += 1;
                    self.uncorrected += 1;
                }
            }
        }
    }

    fn add_cost(&mut self, rollout: &Rollout<'_>, step: &Step, tokens: Option<&MessageTokens>) {
        let messages = [step.message].into_iter().chain(step.results.clone());
        self.characters_on_failures += messages.map(|m| characters(&rollout.messages[m])).sum::<u64>();
        if let Some(tokens) = tokens {
            *self.tokens_on_failures.get_or_insert(0) += tokens.of.get(step.message).copied().unwrap_or_default();
        }
    }

    /// An attempt counts once for each tool that has answered it; it failed for those whose own result is an error.
    fn add_tools(&mut self, trajectory: &Trajectory<'_, '_>, step: &Step) {
        let calls = &trajectory.rollout.messages[step.message].calls;
        let mut tools: BTreeMap<&str, bool> = BTreeMap::new();
        for answer in &step.answers {
            let name = calls.get(answer.calls.start).map_or(IN_TEXT, |call| call.name);
            *tools.entry(name).or_default() |= answer.verdict.failure().is_some();
        }
        tools.into_iter().for_each(|(name, failed)| entry(&mut self.by_tool, name).add(failed));
    }

    fn add_position(&mut self, position: usize, failed: bool) {
        let at = position.min(MAX_POSITIONS - 1);
        if self.by_position.len() <= at {
            self.by_position.resize(at + 1, Tally::default());
        }
        self.by_position[at].add(failed);
        if position == 0 {
            self.first_attempts.add(failed);
        }
    }

    /// Adds the counts of other rollouts; shares are computed in the end. Without `..`, so that no count can be forgotten.
    pub(super) fn merge(&mut self, other: &Side) {
        let Side {
            rollouts,
            messages,
            steps,
            attempts,
            ok,
            failed,
            open,
            error_rate: _,
            characters,
            characters_on_failures,
            tokens,
            tokens_on_failures,
            first_attempts,
            first_attempt_success_rate: _,
            by_tool,
            error_types,
            by_position,
            failure_runs,
            corrected,
            uncorrected,
            cascade,
        } = other;
        self.rollouts += rollouts;
        self.messages += messages;
        self.steps += steps;
        self.attempts += attempts;
        self.ok += ok;
        self.failed += failed;
        self.open += open;
        self.characters += characters;
        self.characters_on_failures += characters_on_failures;
        add_known(&mut self.tokens, *tokens);
        add_known(&mut self.tokens_on_failures, *tokens_on_failures);
        self.first_attempts.merge(*first_attempts);
        merge(&mut self.by_tool, by_tool, |mine, theirs| mine.merge(*theirs));
        merge(&mut self.error_types, error_types, |mine, theirs| *mine += theirs);
        if self.by_position.len() < by_position.len() {
            self.by_position.resize(by_position.len(), Tally::default());
        }
        self.by_position.iter_mut().zip(by_position).for_each(|(mine, theirs)| mine.merge(*theirs));
        for (length, RunCounts { corrected, uncorrected }) in failure_runs {
            let mine: &mut RunCounts = self.failure_runs.entry(*length).or_default();
            mine.corrected += corrected;
            mine.uncorrected += uncorrected;
        }
        self.corrected += corrected;
        self.uncorrected += uncorrected;
        self.cascade.merge(cascade);
    }

    /// Computes the shares, once everything is counted.
    pub(super) fn finish(&mut self) {
        self.error_rate = Tally { attempts: self.ok + self.failed, failed: self.failed }.rate();
        self.first_attempt_success_rate = self.first_attempts.rate().map(|failed| 1.0 - failed);
        self.cascade.finish();
    }
}

impl Cascade {
    /// `before`: failures in a row directly before the attempt; `None` for the first one.
    fn add(&mut self, before: Option<usize>, failed: bool) {
        match before {
            None => self.first.add(failed),
            Some(0) => self.after_ok.add(failed),
            Some(streak) => self.after_failures[streak.min(MAX_STREAK) - 1].add(failed),
        }
    }

    fn merge(&mut self, other: &Cascade) {
        let Cascade { first, after_ok, after_failures, rate_after_ok: _, rate_after_failure: _, ratio: _ } = other;
        self.first.merge(*first);
        self.after_ok.merge(*after_ok);
        self.after_failures.iter_mut().zip(after_failures).for_each(|(mine, theirs)| mine.merge(*theirs));
    }

    fn finish(&mut self) {
        let mut after_failure = Tally::default();
        self.after_failures.iter().for_each(|tally| after_failure.merge(*tally));
        self.rate_after_ok = self.after_ok.rate();
        self.rate_after_failure = after_failure.rate();
        self.ratio = match (self.rate_after_failure, self.rate_after_ok) {
            (Some(after_failure), Some(after_ok)) if after_ok > 0.0 => Some(after_failure / after_ok),
            _ => None,
        };
    }
}
