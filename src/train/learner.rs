//! One update of a policy: gradients of a mini-batch, their norm, and the step of the optimizer.
//!
//! Owns the policy while it is trained, and the optimizer's moments. Which examples an update takes, and what is kept on disk, is
//! left to whoever calls: the trainer, or a loop that samples anew for each update.

use std::time::Instant;

use super::data::Example;
use super::metrics::{Metrics, Sums};
use super::objective::GrpoRule;
use super::optimizer::{AdamConfig, AdamW, norm};
use super::step::Rule;
use crate::options::{ModelChoice, Objective, TrainConfig};
use crate::policy::{Policy, PolicyError};

/// Why an update is not made. The policy is what it was before.
#[derive(Debug)]
pub enum UpdateError {
    Policy(PolicyError),
    /// A number that is not finite; `broken` are the examples that it came from, by index, where that is known.
    NotFinite {
        what: &'static str,
        broken: Vec<usize>,
    },
}

impl From<PolicyError> for UpdateError {
    fn from(error: PolicyError) -> Self {
        UpdateError::Policy(error)
    }
}

/// A policy that is trained, and all that its next update depends on besides the examples.
#[derive(Debug)]
pub struct Learner {
    pub policy: Policy,
    pub optimizer: AdamW,
    pub rule: Rule,
    pub adam: AdamConfig,
    /// Tokens that go through the model at once.
    pub most_tokens: usize,
}

impl Learner {
    /// A learner whose optimizer has seen nothing yet.
    pub fn new(policy: Policy, model: &ModelChoice, config: &TrainConfig) -> Self {
        Learner {
            policy,
            optimizer: AdamW::default(),
            rule: rule(config),
            adam: AdamConfig {
                learning_rate: config.learning_rate.get(),
                betas: (config.beta1.get(), config.beta2.get()),
                weight_decay: config.weight_decay.get(),
                clip_norm: config.clip_grad_norm.get(),
                warmup: config.warmup,
            },
            most_tokens: usize::try_from(model.batch_tokens.get()).unwrap_or(usize::MAX),
        }
    }

    /// Changes the policy by one update, counted from 1. `references` holds the log-probs of the policy before training for
    /// each example, or is empty.
    pub fn update(
        &mut self,
        update: u64,
        examples: &[&Example],
        references: &[&[f32]],
    ) -> Result<Metrics, UpdateError> {
        let started = Instant::now();
        let step = self.rule.step(&self.policy, examples, references, self.most_tokens)?;
        let norm = norm(&step.gradients).map_err(PolicyError::from)?;
        if !step.sums.loss.is_finite() || !norm.is_finite() {
            let what = if step.sums.loss.is_finite() { "the gradient" } else { "the loss" };
            return Err(UpdateError::NotFinite { what, broken: step.broken });
        }
        let trained = self.policy.trained();
        self.optimizer.update(&self.adam, update, &trained, &step.gradients, norm).map_err(PolicyError::from)?;
        let (rate, seconds) = (self.adam.rate_at(update), started.elapsed().as_secs_f64());
        Ok(metrics(update, &self.rule, &step.sums, norm, rate, seconds))
    }
}

fn rule(config: &TrainConfig) -> Rule {
    match config.objective {
        Objective::Sft => Rule::Sft,
        Objective::Dpo => Rule::Dpo { beta: config.dpo.beta.get() },
        Objective::Grpo => Rule::Grpo(GrpoRule {
            clip_low: config.grpo.clip_low.get(),
            clip_high: config.grpo.clip_high.get(),
            dual_clip: config.grpo.dual_clip.get(),
            kl: config.grpo.kl.get(),
        }),
    }
}

fn metrics(update: u64, rule: &Rule, sums: &Sums, norm: f64, rate: f64, seconds: f64) -> Metrics {
    let trained = sums.trained.max(1) as f64;
    let is_grpo = matches!(rule, Rule::Grpo(_));
    let pairs = (sums.pairs > 0).then_some(sums.pairs as f64);
    Metrics {
        update,
        loss: sums.loss,
        grad_norm: norm,
        learning_rate: rate,
        tokens: sums.tokens,
        trained_tokens: sums.trained,
        seconds,
        tokens_per_second: sums.tokens as f64 / seconds.max(1e-9),
        clip_fraction: is_grpo.then(|| sums.clipped as f64 / trained),
        approx_kl: is_grpo.then(|| sums.log_ratio / trained),
        entropy: sums.entropy / trained,
        reward_mean: (sums.rewards.1 > 0).then(|| sums.rewards.0 / sums.rewards.1 as f64),
        margin: pairs.map(|n| sums.margin / n),
        accuracy: pairs.map(|n| sums.preferred as f64 / n),
    }
}
