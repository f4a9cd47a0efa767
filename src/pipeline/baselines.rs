//! The first pass: groups and rewards of all inputs, before the first row is decided on.
//!
//! Owns the walk alone; what an advantage is is [`crate::group`]'s. Groups may be spread over inputs, and a part of a run sees only
//! its own rows, so that the baselines are those of the whole whatever is done in this run.

use crate::error::Error;
use crate::group::Baselines;
use crate::ingest::KnownInput;
use crate::purifier::warning::Warning;
use crate::purifier::{Earnings, Purifier};
use crate::run::Run;

/// The baselines of all groups of some inputs.
///
/// # Errors
/// An input that can't be read, or a signal.
pub fn gather<'k>(
    purifier: &Purifier<'_>,
    inputs: impl IntoIterator<Item = &'k KnownInput>,
    run: &Run<'_>,
) -> Result<Baselines, Error> {
    let mut out = Earnings::default();
    let reads_all = purifier.options().rewards.counts_failures();
    for known in inputs {
        let opened = || match reads_all {
            true => known.open().map(Some),
            false => known.rewards(),
        };
        let Some(input) = run.install(opened)? else { continue };
        input.each_decoded(run, |(batches, _)| {
            batches.iter().for_each(|batch| purifier.gather(batch, &mut out));
            Ok::<(), Error>(())
        })?;
    }
    Ok(out.finish(purifier.options().method.seed))
}

/// What of the groups and rewards of some inputs could not be read.
pub fn warnings<'k>(purifier: &Purifier<'_>, inputs: impl IntoIterator<Item = &'k KnownInput>) -> Vec<Warning> {
    let Some(baselines) = purifier.baselines() else { return Vec::new() };
    let columns = inputs.into_iter().map(|known| &known.shape.columns);
    let mut unread = columns.filter(|c| c.group.is_some() && c.advantage.is_none() && c.unread_reward.is_some());
    Warning::of_rewards(&baselines.tally(), unread.next().is_some())
}
