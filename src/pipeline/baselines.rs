//! The first pass: groups and rewards of all inputs, before the first row is decided on.
//!
//! Owns the walk alone; what an advantage is is [`crate::group`]'s. Groups may be spread over inputs, and a part of a run sees only
//! its own rows, so that the baselines are those of the whole whatever is done in this run.

use crate::error::Error;
use crate::group::Baselines;
use crate::ingest::KnownInput;
use crate::run::Run;

/// The baselines of all groups of some inputs.
///
/// # Errors
/// An input that can't be read, or a signal.
pub fn gather<'k>(inputs: impl IntoIterator<Item = &'k KnownInput>, run: &Run<'_>) -> Result<Baselines, Error> {
    let mut out = Baselines::default();
    for known in inputs {
        let Some(input) = run.install(|| known.rewards())? else { continue };
        input.each_decoded(run, |(batches, _)| {
            for batch in &batches {
                (0..batch.rows()).for_each(|row| out.add(batch.group(row), batch.reward(row)));
            }
            Ok::<(), Error>(())
        })?;
    }
    Ok(out)
}
