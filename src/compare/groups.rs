//! Which groups are trained on, and which are held out.
//!
//! Owns the first look at the rollouts: a comparison needs groups of several rollouts with rewards that are numbers, and recipes that they
//! can serve. Whoever lacks them is told so before a model is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::batch::Decoded;
use crate::error::Error;
use crate::ingest::Input;
use crate::options::{ColumnConfig, CompareConfig, Recipe};
use crate::recipe::{self, Facts};
use crate::run::Run;

/// What is known of the rollouts of one group that have rewards.
#[derive(Clone, Copy, Debug)]
struct Group {
    rollouts: u64,
    least: f64,
    most: f64,
}

/// The groups of an input.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<String, Group>,
    /// Rollouts without a reward.
    unrewarded: u64,
    /// Of the input as it is; scoring gives it tokens.
    has_advantages: bool,
    has_token_advantages: bool,
}

/// What is done with each group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Split {
    pub held_out: BTreeSet<String>,
    /// Groups of several rollouts with rewards that are left to train on.
    pub training: usize,
}

fn unfit(path: &Path, detail: String, hint: &'static str) -> Error {
    Error::Mismatch { path: path.to_owned(), detail, hint }
}

impl Groups {
    /// # Errors
    /// An input that can't be read or has no such columns, or a reward that is no number.
    pub(super) fn read(path: &Path, columns: &ColumnConfig, run: &Run<'_>) -> Result<Self, Error> {
        let input = run.install(|| Input::open_any(path, columns))?;
        for (found, what, hint) in [
            (input.columns.group, "groups", "name the column with --group-column"),
            (input.columns.reward, "rewards", "name the column with --reward-column"),
        ] {
            if found.is_none() {
                return Err(unfit(path, format!("no column of {what} is recognised"), hint));
            }
        }
        let mut out = Groups {
            has_advantages: input.columns.advantage.is_some(),
            has_token_advantages: input.columns.token_advantages.is_some(),
            ..Groups::default()
        };
        input.each_decoded(run, |(batches, _)| {
            for batch in &batches {
                for row in 0..batch.rows() {
                    out.take(path, batch, row)?;
                }
            }
            Ok::<(), Error>(())
        })?;
        Ok(out)
    }

    fn take(&mut self, path: &Path, batch: &Decoded, row: usize) -> Result<(), Error> {
        // A rollout without a reward has no advantage; nothing trains on it, and that is counted.
        let Some(reward) = batch.reward(row) else {
            self.unrewarded += 1;
            return Ok(());
        };
        if !reward.is_finite() {
            let (id, number) = (batch.id(row), batch.number(row));
            return Err(unfit(
                path,
                format!("row {number} (`{}`) has reward {reward}, expected a number", id.escape_debug()),
                "leave such rows out, or make their rewards null: recipes are compared by what rollouts earned",
            ));
        }
        if let Some(name) = batch.group(row) {
            let new = Group { rollouts: 0, least: reward, most: reward };
            let group = self.by_name.entry(name.to_owned()).or_insert(new);
            group.rollouts += 1;
            group.least = group.least.min(reward);
            group.most = group.most.max(reward);
        }
        Ok(())
    }

    /// Whether each recipe can be applied.
    ///
    /// # Errors
    /// The first that can't, what it lacks, and the nearest that can.
    pub(super) fn serve(&self, recipes: &[Recipe]) -> Result<(), Error> {
        let facts = Facts {
            has_groups: self.by_name.values().any(|group| group.rollouts > 1),
            has_sign: self.has_advantages || self.by_name.values().any(|group| group.least < group.most),
            has_advantages: self.has_advantages,
            has_tokens: true,
            has_token_advantages: self.has_token_advantages,
        };
        let served = recipes.iter().try_for_each(|recipe| recipe::check(*recipe, facts));
        served.map_err(|unserved| Error::usage(unserved.to_string(), Some(&unserved.hint())))
    }

    /// Draws the groups to hold out, of those that hold several rollouts with rewards; at least one stays on either side.
    ///
    /// # Errors
    /// Fewer than two such groups.
    pub(super) fn split(&self, path: &Path, config: &CompareConfig) -> Result<Split, Error> {
        let mut several: Vec<&String> =
            self.by_name.iter().filter(|(_, group)| group.rollouts > 1).map(|(name, _)| name).collect();
        if several.len() < 2 {
            // What is not there may be why: a reader of JSON finds null where a program wrote `NaN`.
            let missing = match self.unrewarded {
                0 => String::new(),
                rows => format!("; {rows} rollouts have no reward (null, or NaN in JSON)"),
            };
            let detail = format!(
                "{} of its {} groups hold several rollouts with rewards, expected at least two: one to train on and one to hold out{missing}",
                several.len(),
                self.by_name.len()
            );
            return Err(unfit(
                path,
                detail,
                "a group is the rollouts of one prompt; name their column with --group-column",
            ));
        }
        several.sort_by_cached_key(|name| {
            let mut hasher = blake3::Hasher::new();
            *hasher.update(&config.seed.to_le_bytes()).update(name.as_bytes()).finalize().as_bytes()
        });
        let wanted = (several.len() as f64 * config.held_out.get()).round() as usize;
        let held = wanted.clamp(1, several.len() - 1);
        let held_out: BTreeSet<String> = several[..held].iter().map(|name| (*name).clone()).collect();
        Ok(Split { training: several.len() - held, held_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Fraction, NonNegative, Positive};

    fn config(held_out: f64, seed: u64) -> CompareConfig {
        CompareConfig {
            input: "raw.parquet".into(),
            out: "compare".into(),
            recipes: vec![Recipe::Raw],
            updates: Positive::nearest(1),
            token_budget: None,
            held_out: Fraction::new(held_out).expect("a share"),
            learning_rate: NonNegative::new(1e-3).expect("a rate"),
            full: false,
            seed,
        }
    }

    fn groups(sizes: &[u64]) -> Groups {
        let group = |(k, &rollouts): (usize, &u64)| (format!("g{k}"), Group { rollouts, least: 0.0, most: 1.0 });
        Groups { by_name: sizes.iter().enumerate().map(group).collect(), ..Groups::default() }
    }

    #[test]
    fn one_group_stays_on_either_side_whatever_the_share() {
        let path = Path::new("raw.parquet");
        for (share, held) in [(0.0, 1), (0.2, 2), (1.0, 9)] {
            let split = groups(&[2; 10]).split(path, &config(share, 0)).expect("ten groups");
            assert_eq!((split.held_out.len(), split.training), (held, 10 - held));
        }
    }

    #[test]
    fn the_seed_alone_draws_the_groups() {
        let split = |seed| groups(&[3; 30]).split(Path::new("a"), &config(0.3, seed)).expect("thirty groups");
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
    }

    #[test]
    fn groups_of_one_are_never_held_out_and_are_not_enough() {
        let split = groups(&[1, 4, 1, 4]).split(Path::new("a"), &config(1.0, 0)).expect("two groups");
        assert!(split.held_out.iter().all(|name| ["g1", "g3"].contains(&name.as_str())));
        let error = groups(&[1, 1, 4]).split(Path::new("a"), &config(0.5, 0)).expect_err("one group").to_string();
        assert!(
            error.contains("1 of its 3 groups hold several rollouts with rewards, expected at least two"),
            "{error}"
        );
    }
}
