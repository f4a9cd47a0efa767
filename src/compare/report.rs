//! What a comparison says: plain data, as `compare.json` holds it.
//!
//! Owns names and meanings, and the words for what a comparison without an environment can't know. Equal inputs give equal reports: no
//! time stands in one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::options::CompareConfig;

/// What stored rollouts do not tell, whatever the numbers are.
pub const CANNOT_KNOW: [&str; 5] = [
    "Success. Whether the trained policy solves more tasks needs the environment: nothing was sampled and no tool was called.",
    "New failures. The calls are those of the policy that wrote the rollouts; a trained one may fail in ways that are not among them.",
    "Recovery. Whether the policy still gets out of an error is not measured; recipes that teach fewer errors can lower it.",
    "The long run. A few updates on stored rollouts show a direction; where training on fresh rollouts ends is another question.",
    "Each recipe's own best learning rate. It is one for all here, and edited data has larger gradients.",
];

/// How the log-prob of some calls changed, in nats a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub calls: u64,
    /// Groups that the calls belong to.
    pub groups: u64,
    /// Mean log-prob of a call before training and after it.
    pub before: f64,
    pub after: f64,
    pub change: f64,
    /// Percentiles 2.5 and 97.5 of the change over groups that were drawn again; absent with a single group.
    pub interval: Option<(f64, f64)>,
}

/// What the held-out groups show of a trained policy; `C`: how much of a change is told.
#[derive(Clone, Debug, Serialize)]
pub struct HeldOut<C> {
    /// Calls that failed and were the first of their rollout, in the context in which they were sampled.
    pub failed_first_calls: Option<C>,
    /// Calls that correct a failed one, in the context from which the failure was taken out.
    pub corrections: Option<C>,
    /// Mean over policy tokens, in nats.
    pub entropy: f64,
    pub kl: f64,
}

impl<C> HeldOut<C> {
    /// The same with other words for each change.
    pub fn each<D>(self, of: impl Fn(C) -> D) -> HeldOut<D> {
        let HeldOut { failed_first_calls, corrections, entropy, kl } = self;
        HeldOut { failed_first_calls: failed_first_calls.map(&of), corrections: corrections.map(&of), entropy, kl }
    }
}

/// One update.
#[derive(Clone, Debug, Serialize)]
pub struct UpdateReport {
    pub update: u64,
    pub loss: f64,
    /// Before clipping.
    pub grad_norm: f64,
    pub trained_tokens: u64,
    /// Mean changes since the start, in nats a call.
    #[serde(flatten)]
    pub held_out: HeldOut<f64>,
}

/// One recipe.
#[derive(Clone, Debug, Serialize)]
pub struct RecipeReport {
    pub recipe: &'static str,
    /// Rollouts of the training groups that it has to train on.
    pub rollouts: u64,
    /// Repairs that it made, in all groups.
    pub repairs: u64,
    /// Rows that it left out because nothing tells what they earned, and because they can't be trained on; the first of these.
    pub no_advantage: u64,
    pub bad_rows: u64,
    pub first_bad_row: Option<String>,
    /// Tokens that were trained on, and those that were read for it.
    pub trained_tokens: u64,
    pub tokens: u64,
    /// Mean over updates, before clipping.
    pub grad_norm: f64,
    /// After the last update.
    #[serde(flatten)]
    pub held_out: HeldOut<Change>,
    pub updates: Vec<UpdateReport>,
}

/// A whole comparison.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    pub input: String,
    pub model: String,
    pub device: String,
    pub settings: CompareConfig,
    pub rows: u64,
    /// Rows that the model can't read, by reason; the first of them in words.
    pub unscored: BTreeMap<String, u64>,
    pub first_unscored: Option<String>,
    pub training_groups: u64,
    pub held_out_groups: u64,
    /// Tokens that one update trains on.
    pub token_budget: u64,
    /// Of the held-out groups, before any training.
    pub entropy_before: f64,
    pub recipes: Vec<RecipeReport>,
    pub cannot_know: [&'static str; 5],
}
