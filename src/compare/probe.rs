//! What the held-out groups say of a policy: log-probs of failed first calls and of corrections, entropy, distance from the start.
//!
//! Owns the places that are looked at and the sums over them. Calls of one group hang together, so that intervals are over groups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use crate::batch::Decoded;
use crate::batch::sample::SampleReader;
use crate::error::Error;
use crate::ingest::{IngestError, Input};
use crate::options::ColumnConfig;
use crate::policy::sequence::{Sequence, Sequencer};
use crate::policy::{Policy, PolicyError, TokenStats};
use crate::run::Run;
use crate::steps::{Outcome, Trajectory};
use crate::train::data::{Answer, Example};
use crate::train::step::{batch_of, packed};
use crate::verdict::ErrorDetector;

use super::report::{Change, HeldOut};

/// Draws of groups for an interval.
const RESAMPLES: usize = 2000;

/// A held-out rollout, and the calls in it that are looked at.
#[derive(Clone, Debug)]
struct Reading {
    example: Example,
    /// Ranges of its trained tokens, one for each call.
    calls: Vec<Range<usize>>,
}

/// Everything that is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    /// Rollouts as they were sampled; their calls are failed first ones.
    sampled: Vec<Reading>,
    /// Rollouts of which every failed attempt that was put right is taken out; their calls are corrections.
    corrected: Vec<Reading>,
}

/// What one policy gives the places.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// Log-prob of each call.
    failed: Vec<f64>,
    corrections: Vec<f64>,
    /// Log-prob of each sampled token.
    tokens: Vec<f32>,
    /// Mean over sampled tokens, in nats.
    pub entropy: f64,
}

/// What one row is read for.
enum Look<'l> {
    FailedFirst(&'l ErrorDetector),
    Corrections,
}

impl Probes {
    /// `raw` holds the rollouts as they were sampled, `repaired` the same with every recovered run replaced.
    pub(super) fn read(
        policy: &Policy,
        (raw, repaired): (&Path, &Path),
        columns: &ColumnConfig,
        (held_out, detector): (&BTreeSet<String>, &ErrorDetector),
        run: &Run<'_>,
    ) -> Result<Self, Error> {
        let read = |path, look| readings(policy, path, columns, (held_out, look), run);
        let sampled = read(raw, Look::FailedFirst(detector))?;
        let corrected = read(repaired, Look::Corrections)?;
        Ok(Probes { sampled, corrected: corrected.into_iter().filter(|reading| !reading.calls.is_empty()).collect() })
    }

    /// Whether there is a token to look at.
    pub(super) fn is_empty(&self) -> bool {
        self.sampled.is_empty()
    }

    pub(super) fn measure(&self, policy: &Policy, most_tokens: usize) -> Result<Measured, PolicyError> {
        let mut out = Measured::default();
        let mut entropy = 0.0;
        each(policy, &self.sampled, most_tokens, |reading, stats| {
            out.failed.extend(reading.calls.iter().map(|call| sum(&stats[call.clone()])));
            out.tokens.extend(stats.iter().map(|s| s.logprob));
            entropy += stats.iter().map(|s| f64::from(s.entropy)).sum::<f64>();
        })?;
        each(policy, &self.corrected, most_tokens, |reading, stats| {
            out.corrections.extend(reading.calls.iter().map(|call| sum(&stats[call.clone()])));
        })?;
        out.entropy = entropy / out.tokens.len().max(1) as f64;
        Ok(out)
    }

    /// What changed from one measurement to another.
    pub(super) fn held_out(&self, before: &Measured, after: &Measured) -> HeldOut<Change> {
        HeldOut {
            failed_first_calls: change(&self.sampled, &before.failed, &after.failed),
            corrections: change(&self.corrected, &before.corrections, &after.corrections),
            entropy: after.entropy,
            kl: after.kl_from(before),
        }
    }
}

impl Measured {
    /// KL of the policy before to this one, estimated (k3) on the sampled tokens.
    pub(super) fn kl_from(&self, before: &Measured) -> f64 {
        let k3 = |(&now, &then): (&f32, &f32)| {
            let log_ratio = f64::from(now) - f64::from(then);
            log_ratio.exp_m1() - log_ratio
        };
        self.tokens.iter().zip(&before.tokens).map(k3).sum::<f64>() / self.tokens.len().max(1) as f64
    }
}

fn sum(stats: &[TokenStats]) -> f64 {
    stats.iter().map(|s| f64::from(s.logprob)).sum()
}

/// Reads each rollout with the policy, as many at once as fit.
fn each(
    policy: &Policy,
    readings: &[Reading],
    most_tokens: usize,
    mut take: impl FnMut(&Reading, &[TokenStats]),
) -> Result<(), PolicyError> {
    let examples: Vec<&Example> = readings.iter().map(|reading| &reading.example).collect();
    for range in packed(&examples, most_tokens) {
        let stats = policy.log_probs(&batch_of(&examples[range.clone()]))?;
        let mut rest = stats.as_slice();
        for reading in &readings[range] {
            let (own, others) = rest.split_at(reading.example.trained());
            take(reading, own);
            rest = others;
        }
    }
    Ok(())
}

fn readings(
    policy: &Policy,
    path: &Path,
    columns: &ColumnConfig,
    (held_out, look): (&BTreeSet<String>, Look<'_>),
    run: &Run<'_>,
) -> Result<Vec<Reading>, Error> {
    let input = run.install(|| Input::open_any(path, columns))?;
    let (shape, sequencer) = (input.shape(), Sequencer::new(policy));
    let mut out = Vec::new();
    input.each_decoded(run, |(batches, _)| {
        for batch in &batches {
            let failed = |source| IngestError::Rows { path: path.to_owned(), row: batch.number(0), source };
            let reader = SampleReader::new(batch, &shape.columns).map_err(failed)?;
            let is_held = |row: &usize| batch.group(*row).is_some_and(|group| held_out.contains(group));
            let rows = (0..batch.rows()).filter(is_held);
            // What the model can't read was counted when it was scored.
            out.extend(rows.filter_map(|row| reading(policy, &sequencer, (batch, &reader), row, &look)));
        }
        Ok::<(), Error>(())
    })?;
    Ok(out)
}

fn reading(
    policy: &Policy,
    sequencer: &Sequencer,
    (batch, reader): (&Decoded, &SampleReader<'_>),
    row: usize,
    look: &Look<'_>,
) -> Option<Reading> {
    let (sample, rollout) = (reader.row(row).ok()?, batch.rollout(row).ok()?);
    let sequence = sequencer.rollout(&sample, Some(&rollout.messages)).ok()?;
    policy.check(&sequence.ids).ok()?;
    let place = |message: usize| sequence.places.get(message).cloned().flatten();
    let (places, trained): (Vec<Range<usize>>, Vec<bool>) = match look {
        Look::FailedFirst(detector) => {
            let trajectory = Trajectory::new(&rollout, detector);
            let first = trajectory.steps.iter().find(|step| step.attempt.is_some());
            let failed = first.filter(|step| step.attempt == Some(Outcome::Failed));
            (failed.and_then(|step| place(step.message)).into_iter().collect(), sequence.policy.clone())
        }
        Look::Corrections => {
            let mut removed = 0;
            let corrections = sample.repairs.iter().filter_map(|repair| {
                let message = repair.first_message - removed.min(repair.first_message);
                removed += repair.removed_messages;
                place(message)
            });
            let places: Vec<Range<usize>> = corrections.collect();
            let trained = (0..sequence.ids.len()).map(|k| places.iter().any(|place| place.contains(&k))).collect();
            (places, trained)
        }
    };
    let calls = places.into_iter().map(|place| counted(&trained, place)).filter(|call| !call.is_empty()).collect();
    let Sequence { ids, .. } = sequence;
    let answers = vec![Answer { ids, trained }];
    let example = Example { id: sample.id, group: sample.group, answers, ..Example::default() };
    (example.trained() > 0).then_some(Reading { example, calls })
}

/// A range of tokens as one of the trained ones among them.
fn counted(trained: &[bool], place: Range<usize>) -> Range<usize> {
    // Nothing predicts the first token of all.
    let before = |end: usize| trained[..end.min(trained.len())].iter().skip(1).filter(|t| **t).count();
    before(place.start)..before(place.end)
}

fn change(readings: &[Reading], before: &[f64], after: &[f64]) -> Option<Change> {
    let groups = readings.iter().flat_map(|reading| reading.calls.iter().map(|_| reading.example.group.as_deref()));
    let mut by_group: BTreeMap<Option<&str>, (f64, u64)> = BTreeMap::new();
    for ((group, before), after) in groups.zip(before).zip(after) {
        let (sum, calls) = by_group.entry(group).or_default();
        *sum += after - before;
        *calls += 1;
    }
    let calls: u64 = by_group.values().map(|(_, calls)| calls).sum();
    if calls == 0 {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / calls as f64;
    let clusters: Vec<(f64, u64)> = by_group.into_values().collect();
    Some(Change {
        calls,
        groups: clusters.len() as u64,
        before: mean(before),
        after: mean(after),
        change: clusters.iter().map(|(sum, _)| sum).sum::<f64>() / calls as f64,
        interval: interval(&clusters),
    })
}

/// Percentiles 2.5 and 97.5 of the mean over groups that are drawn again.
fn interval(clusters: &[(f64, u64)]) -> Option<(f64, f64)> {
    if clusters.len() < 2 {
        return None;
    }
    let mut draws = blake3::Hasher::new().update(b"groups").finalize_xof();
    let mut pick = || {
        let mut bytes = [0; 8];
        draws.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % clusters.len() as u64) as usize
    };
    let mut mean = || {
        let (sum, calls) = (0..clusters.len()).fold((0.0, 0), |(sum, calls), _| {
            let (more, n) = clusters[pick()];
            (sum + more, calls + n)
        });
        sum / calls as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| mean()).collect();
    means.sort_by(f64::total_cmp);
    Some((means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(group: &str, calls: usize) -> Reading {
        let example = Example { group: Some(group.to_owned()), ..Example::default() };
        Reading { example, calls: vec![0..1; calls] }
    }

    #[test]
    fn a_change_is_the_mean_over_calls_and_its_interval_is_over_groups() {
        let readings = [reading("a", 2), reading("b", 1), reading("b", 1)];
        let found = change(&readings, &[-4.0; 4], &[-5.0, -5.0, -2.0, -2.0]).expect("four calls");
        assert_eq!((found.calls, found.groups, found.before, found.after), (4, 2, -4.0, -3.5));
        assert_eq!((found.change, found.interval), (0.5, Some((-1.0, 2.0))));
        assert_eq!(change(&[reading("a", 3)], &[-1.0; 3], &[-1.0; 3]).expect("calls").interval, None);
        assert_eq!(change(&[reading("a", 0)], &[], &[]), None);
    }

    #[test]
    fn a_place_is_counted_among_the_trained_tokens_without_the_first_of_all() {
        let trained = [true, true, false, true, true, true];
        assert_eq!(counted(&trained, 3..5), 1..3);
        assert_eq!(counted(&trained, 0..2), 0..1);
        assert_eq!(counted(&trained, 2..3), 1..1);
    }

    #[test]
    fn a_policy_that_did_not_move_has_no_distance_from_the_start() {
        let start = Measured { tokens: vec![-0.5, -2.0], ..Measured::default() };
        assert_eq!(start.kl_from(&start), 0.0);
        let moved = Measured { tokens: vec![-1.5, -2.0], ..Measured::default() };
        assert!((moved.kl_from(&start) - ((-1.0f64).exp() - 1.0 + 1.0) / 2.0).abs() < 1e-6);
    }
}
