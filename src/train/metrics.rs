//! What is measured of each update: a line of `metrics.jsonl`.

use serde::Serialize;

use crate::run::{Progress, Weight};

/// One update. A number that the objective has not is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Metrics {
    /// From 1.
    pub update: u64,
    /// Of the mini-batch, before the update.
    pub loss: f64,
    /// Before clipping.
    pub grad_norm: f64,
    pub learning_rate: f64,
    /// Tokens that went through the model, contexts included.
    pub tokens: u64,
    /// Tokens that were trained on.
    pub trained_tokens: u64,
    pub seconds: f64,
    pub tokens_per_second: f64,
    /// Share of trained tokens at which the clip decided (grpo).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_fraction: Option<f64>,
    /// Mean of `logp_old - logp` over trained tokens (grpo).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approx_kl: Option<f64>,
    /// Mean over trained tokens, in nats.
    pub entropy: f64,
    /// Mean reward of the mini-batch's rollouts, where they have rewards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_mean: Option<f64>,
    /// Mean of beta times the difference of log-ratios (dpo).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Share of pairs whose chosen answer is preferred (dpo).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// Sums over a mini-batch, from which its metrics are made.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub loss: f64,
    pub tokens: u64,
    pub trained: u64,
    pub clipped: u64,
    pub log_ratio: f64,
    pub entropy: f64,
    pub rewards: (f64, u64),
    pub margin: f64,
    pub preferred: u64,
    pub pairs: u64,
}

/// What a run shows of its updates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    tokens: u64,
    seconds: f64,
}

impl Told {
    pub fn update(&mut self, progress: &dyn Progress, found: &Metrics) {
        self.tokens += found.tokens;
        self.seconds += found.seconds;
        let speed = self.tokens as f64 / self.seconds.max(1e-9);
        progress.note(&format!("loss {:.4}, {speed:.0} tokens/s", found.loss));
        progress.advance(1);
        let line = format!(
            "update {}: loss {:.6}, grad norm {:.4}, {:.0} tokens/s",
            found.update, found.loss, found.grad_norm, found.tokens_per_second
        );
        progress.say(Weight::Detail, &line);
    }
}
