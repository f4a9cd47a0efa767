//! Losses of log-probs, and their slopes.
//!
//! Owns the formulas: sft, grpo as verl computes it for DAPO (clip-higher, dual clip, mean over all policy tokens of the
//! mini-batch) and dpo (arXiv 2305.18290). A slope is the derivative of the loss in one log-prob; turning it into
//! gradients is the policy's work. Log-probs are float32, what is added up is float64.

/// Bound of `log rho` and of the reference ratio, as in verl.
const MAX_LOG_RATIO: f64 = 20.0;

/// Settings of the clipped policy gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrpoRule {
    /// rho is clipped below 1 - this.
    pub clip_low: f64,
    /// rho is clipped above 1 + this: higher than below, so that rare tokens can rise (DAPO).
    pub clip_high: f64,
    /// For negative advantages the loss is at most this times the advantage (dual clip).
    pub dual_clip: f64,
    /// Weight of the KL to the reference policy; 0: none.
    pub kl: f64,
}

/// What one token adds to the loss, before it is divided by the number of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenLoss {
    pub loss: f64,
    /// Derivative in the token's log-prob.
    pub slope: f64,
    /// The clip decided, so that the policy gradient is zero.
    pub is_clipped: bool,
}

/// `-log pi`.
pub fn sft(logprob: f64) -> TokenLoss {
    TokenLoss { loss: -logprob, slope: -1.0, is_clipped: false }
}

/// The clipped policy gradient of one token, with the KL to `reference` (k3) if the rule has a weight for it.
pub fn grpo(rule: &GrpoRule, logprob: f64, old: f64, advantage: f64, reference: Option<f64>) -> TokenLoss {
    let log_ratio = logprob - old;
    let ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
    let free = -advantage * ratio;
    let clipped = -advantage * ratio.clamp(1.0 - rule.clip_low, 1.0 + rule.clip_high);
    let bound = -advantage * rule.dual_clip;
    let is_bounded = advantage < 0.0 && free.max(clipped) > bound;
    let is_clipped = clipped > free || is_bounded;
    let is_saturated = log_ratio.abs() > MAX_LOG_RATIO;
    let mut out = TokenLoss {
        loss: if is_bounded { bound } else { free.max(clipped) },
        slope: if is_clipped || is_saturated { 0.0 } else { free },
        is_clipped,
    };
    if let Some(reference) = reference.filter(|_| rule.kl > 0.0) {
        let log_ratio = (reference - logprob).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO);
        let ratio = log_ratio.exp();
        out.loss += rule.kl * (ratio - log_ratio - 1.0);
        out.slope += rule.kl * (1.0 - ratio);
    }
    out
}

/// What one pair adds to the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairLoss {
    pub loss: f64,
    /// Derivative in the log-prob of the chosen answer; that of the rejected one is its negative.
    pub slope: f64,
    /// beta times the difference of the log-ratios: positive where the chosen answer is preferred.
    pub margin: f64,
}

/// `-log sigmoid(beta ((chosen - reference) - (rejected - reference)))`, log-probs of whole answers.
///
/// The reference's appendix reports DPO on tool calls as an attempt that failed; it is here to be compared.
pub fn dpo(beta: f64, chosen: f64, rejected: f64, reference_chosen: f64, reference_rejected: f64) -> PairLoss {
    let margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected));
    // log(1 + e^-x) without overflow on either side
    let loss = (-margin).max(0.0) + (-margin.abs()).exp().ln_1p();
    PairLoss { loss, slope: -beta / (1.0 + margin.exp()), margin }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: GrpoRule = GrpoRule { clip_low: 0.2, clip_high: 0.28, dual_clip: 10.0, kl: 0.0 };

    fn slope_by_difference(f: impl Fn(f64) -> f64, at: f64) -> f64 {
        (f(at + 1e-6) - f(at - 1e-6)) / 2e-6
    }

    #[test]
    fn slopes_are_the_derivatives_of_the_losses() {
        for advantage in [-1.5, -0.1, 0.0, 0.7, 2.0] {
            for old in [-9.0, -3.0, -2.2, -2.0, -1.9, -1.5, -0.5] {
                let f = |logprob| grpo(&RULE, logprob, old, advantage, None).loss;
                let found = grpo(&RULE, -2.05, old, advantage, None).slope;
                assert!((found - slope_by_difference(f, -2.05)).abs() < 1e-5, "advantage {advantage}, old {old}");
            }
        }
        let with_kl = GrpoRule { kl: 0.1, ..RULE };
        let f = |logprob| grpo(&with_kl, logprob, -1.0, 0.5, Some(-2.0)).loss;
        assert!((grpo(&with_kl, -1.1, -1.0, 0.5, Some(-2.0)).slope - slope_by_difference(f, -1.1)).abs() < 1e-6);
        for chosen in [-300.0, -5.0, -1.0, 300.0] {
            let f = |c| dpo(0.1, c, -4.0, -3.0, -3.5).loss;
            assert!((dpo(0.1, chosen, -4.0, -3.0, -3.5).slope - slope_by_difference(f, chosen)).abs() < 1e-6);
        }
    }

    #[test]
    fn clip_is_higher_above_than_below() {
        let loss = |ratio: f64, advantage| grpo(&RULE, ratio.ln(), 0.0, advantage, None);
        assert!(!loss(1.27, 1.0).is_clipped);
        assert!(loss(1.29, 1.0).is_clipped);
        assert!(!loss(0.81, -1.0).is_clipped);
        assert!(loss(0.79, -1.0).is_clipped);
        assert_eq!(loss(30.0, -1.0).loss, 10.0);
        assert_eq!(loss(30.0, -1.0).slope, 0.0);
    }
}
