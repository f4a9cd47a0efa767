//! One update's gradients: examples to packed batches, log-probs to a loss, slopes back to gradients.
//!
//! Owns the division of a mini-batch into batches that fit, which changes no result but in the last bits: every loss is a
//! sum over all of the mini-batch divided by a number that is known beforehand.

use super::data::Example;
use super::metrics::Sums;
use super::objective::{GrpoRule, TokenLoss, dpo, grpo, sft};
use crate::policy::layers::Gradients;
use crate::policy::{Batch, Policy, PolicyError, Slope, TokenStats};

/// An objective with its settings.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    Sft,
    Grpo(GrpoRule),
    Dpo { beta: f64 },
}

/// Loss, gradients and what was seen on the way.
#[derive(Debug, Default)]
pub struct Step {
    pub sums: Sums,
    pub gradients: Gradients,
    /// Examples whose loss is not finite, by index into the mini-batch.
    pub broken: Vec<usize>,
}

/// Log-probs of the policy before training, by example and trained token; empty where none are needed.
pub type References = Vec<Vec<f32>>;

/// Ranges of examples that go through the model together: as many as `most` tokens hold, at least one.
pub fn packed(examples: &[&Example], most: usize) -> Vec<std::ops::Range<usize>> {
    let mut out = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (k, example) in examples.iter().enumerate() {
        if k > start && tokens + example.tokens() > most {
            out.push(start..k);
            (start, tokens) = (k, 0);
        }
        tokens += example.tokens();
    }
    if start < examples.len() {
        out.push(start..examples.len());
    }
    out
}

/// All answers of some examples as one batch.
pub fn batch_of(examples: &[&Example]) -> Batch {
    let mut batch = Batch::default();
    for answer in examples.iter().flat_map(|e| &e.answers) {
        batch.push(answer.ids.iter().copied(), answer.trained.iter().copied());
    }
    batch
}

/// Log-probs of the trained tokens of each example, in their order.
pub fn references(policy: &Policy, examples: &[&Example], most: usize) -> Result<References, PolicyError> {
    let mut out = Vec::with_capacity(examples.len());
    for range in packed(examples, most) {
        let part = &examples[range];
        let stats = policy.log_probs(&batch_of(part))?;
        let mut rest = stats.as_slice();
        for example in part {
            let (own, others) = rest.split_at(example.trained());
            out.push(own.iter().map(|s| s.logprob).collect());
            rest = others;
        }
    }
    Ok(out)
}

impl Rule {
    /// The gradients of the mini-batch's loss.
    ///
    /// `references` holds for the examples of the mini-batch, or is empty.
    pub fn step(
        &self,
        policy: &Policy,
        examples: &[&Example],
        references: &[&[f32]],
        most_tokens: usize,
    ) -> Result<Step, PolicyError> {
        self.check(examples, references)?;
        let mut step = Step::default();
        let trained: usize = examples.iter().map(|e| e.trained()).sum();
        for range in packed(examples, most_tokens) {
            let part = Part {
                rule: *self,
                examples: &examples[range.clone()],
                references: references.get(range.clone()).unwrap_or_default(),
                divisor: match self {
                    Rule::Dpo { .. } => examples.len() as f64,
                    _ => trained as f64,
                },
            };
            let broken = part.add(policy, &mut step)?;
            step.broken.extend(broken.into_iter().map(|k| range.start + k));
        }
        for example in examples {
            if let Some(reward) = example.reward {
                step.sums.rewards = (step.sums.rewards.0 + reward, step.sums.rewards.1 + 1);
            }
        }
        step.sums.loss /= match self {
            Rule::Dpo { .. } => examples.len() as f64,
            _ => trained as f64,
        };
        Ok(step)
    }
}

impl Rule {
    /// Whether every trained token has what the objective asks of it: a number that is not there would be taken for 0.
    fn check(&self, examples: &[&Example], references: &[&[f32]]) -> Result<(), PolicyError> {
        for (k, example) in examples.iter().enumerate() {
            let expected = example.trained();
            let all = |what: &'static str, found: usize| match found == expected {
                true => Ok(()),
                false => Err(PolicyError::Uneven { example: example.id.clone(), what, found, expected }),
            };
            let all_or_none = |what, found| if found == 0 { Ok(()) } else { all(what, found) };
            if matches!(self, Rule::Grpo(_)) {
                all("behaviour log-probs", example.old.len())?;
            }
            all_or_none("advantages", example.advantages.len())?;
            all_or_none("weights", example.weights.len())?;
            match (self, references.get(k)) {
                (Rule::Dpo { .. }, reference) => all("reference log-probs", reference.map_or(0, |r| r.len()))?,
                (Rule::Sft | Rule::Grpo(_), Some(reference)) => all_or_none("reference log-probs", reference.len())?,
                (Rule::Sft | Rule::Grpo(_), None) => {}
            }
        }
        Ok(())
    }
}

/// Examples that go through the model together.
struct Part<'a> {
    rule: Rule,
    examples: &'a [&'a Example],
    references: &'a [&'a [f32]],
    divisor: f64,
}

/// What the loss of one token needs besides its log-prob.
#[derive(Clone, Copy)]
struct TokenTerms {
    old: f64,
    advantage: f64,
    weight: f64,
    reference: Option<f64>,
}

impl Part<'_> {
    /// Adds the part's share of everything; returns the examples whose loss is not finite.
    fn add(&self, policy: &Policy, step: &mut Step) -> Result<Vec<usize>, PolicyError> {
        let batch = batch_of(self.examples);
        let stats = match self.rule {
            Rule::Dpo { beta } => {
                let slopes = |stats: &[TokenStats]| self.pair_slopes(beta, stats);
                policy.backward(&batch, Slope::Joint(&slopes), &mut step.gradients)?
            }
            _ => {
                let terms = self.terms();
                let slope = |k: usize, stats: TokenStats| {
                    let TokenTerms { weight, .. } = terms[k];
                    (weight * self.token_loss(&terms[k], stats).slope / self.divisor) as f32
                };
                let stats = policy.backward(&batch, Slope::Each(&slope), &mut step.gradients)?;
                self.count_tokens(&terms, &stats, &mut step.sums);
                stats
            }
        };
        step.sums.tokens += batch.ids.len() as u64;
        step.sums.trained += stats.len() as u64;
        step.sums.entropy += stats.iter().map(|s| f64::from(s.entropy)).sum::<f64>();
        if let Rule::Dpo { beta } = self.rule {
            for (k, own) in self.split(&stats).into_iter().enumerate() {
                let loss = self.pair_loss(beta, k, own);
                step.sums.loss += loss.loss;
                step.sums.margin += loss.margin;
                step.sums.preferred += u64::from(loss.margin > 0.0);
                step.sums.pairs += 1;
            }
        }
        let is_broken = |stats: &[TokenStats]| stats.iter().any(|s| !s.logprob.is_finite());
        Ok(self.split(&stats).into_iter().enumerate().filter(|(_, s)| is_broken(s)).map(|(k, _)| k).collect())
    }

    /// The statistics of each example.
    fn split<'s>(&self, stats: &'s [TokenStats]) -> Vec<&'s [TokenStats]> {
        let mut rest = stats;
        let mut next = |n: usize| {
            let (own, others) = rest.split_at(n.min(rest.len()));
            rest = others;
            own
        };
        self.examples.iter().map(|e| next(e.trained())).collect()
    }

    fn terms(&self) -> Vec<TokenTerms> {
        let mut out = Vec::new();
        for (k, example) in self.examples.iter().enumerate() {
            out.extend((0..example.trained()).map(|t| TokenTerms {
                old: f64::from(example.old.get(t).copied().unwrap_or_default()),
                advantage: example.advantages.get(t).map_or(example.advantage, |&a| f64::from(a)),
                weight: f64::from(example.weights.get(t).copied().unwrap_or(1.0)),
                reference: self.references.get(k).and_then(|r| r.get(t)).map(|&r| f64::from(r)),
            }));
        }
        out
    }

    fn token_loss(&self, terms: &TokenTerms, stats: TokenStats) -> TokenLoss {
        let logprob = f64::from(stats.logprob);
        match &self.rule {
            Rule::Grpo(rule) => grpo(rule, logprob, terms.old, terms.advantage, terms.reference),
            _ => sft(logprob),
        }
    }

    fn count_tokens(&self, terms: &[TokenTerms], stats: &[TokenStats], sums: &mut Sums) {
        for (terms, stats) in terms.iter().zip(stats) {
            let found = self.token_loss(terms, *stats);
            sums.loss += terms.weight * found.loss;
            sums.clipped += u64::from(found.is_clipped);
            sums.log_ratio += terms.old - f64::from(stats.logprob);
        }
    }

    fn pair_loss(&self, beta: f64, example: usize, stats: &[TokenStats]) -> super::objective::PairLoss {
        let chosen = self.chosen_tokens(example).min(stats.len());
        let sum = |stats: &[TokenStats]| stats.iter().map(|s| f64::from(s.logprob)).sum::<f64>();
        let reference = self.references.get(example).copied().unwrap_or_default();
        let reference_sum = |r: &[f32]| r.iter().map(|&x| f64::from(x)).sum::<f64>();
        let (reference_chosen, reference_rejected) = reference.split_at(chosen.min(reference.len()));
        dpo(
            beta,
            sum(&stats[..chosen]),
            sum(&stats[chosen..]),
            reference_sum(reference_chosen),
            reference_sum(reference_rejected),
        )
    }

    /// Trained tokens of the chosen answer.
    fn chosen_tokens(&self, example: usize) -> usize {
        self.examples[example].answers.first().map_or(0, |a| a.trained.iter().skip(1).filter(|t| **t).count())
    }

    fn pair_slopes(&self, beta: f64, stats: &[TokenStats]) -> Vec<f32> {
        let mut out = Vec::with_capacity(stats.len());
        for (k, own) in self.split(stats).into_iter().enumerate() {
            let slope = (self.pair_loss(beta, k, own).slope / self.divisor) as f32;
            let chosen = self.chosen_tokens(k);
            out.extend((0..own.len()).map(|t| if t < chosen { slope } else { -slope }));
        }
        out
    }
}
