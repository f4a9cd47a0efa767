//! Sampling from the policy: many sequences at once, each with its own cache of keys and values.
//!
//! Owns the loop over tokens, the draw of each and the end of an answer. What a token is worth is the forward pass's: a
//! log-prob that is returned here is the one that [`Policy::log_probs`] gives to the same sequence. A draw depends on (seed,
//! stream, place in the sequence) alone, so that a rollout does not depend on what is sampled beside it.

use candle_core::{DType, Tensor};

use super::layers::{self, Layer};
use super::ops::cached::{self, KeyValues};
use super::ops::{self, Rotation};
use super::{Policy, PolicyError};

/// How tokens are drawn, and when an answer ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0: always the likeliest token.
    pub temperature: f64,
    /// Most tokens of one answer.
    pub max_tokens: usize,
    /// Tokens that end an answer; the one that does is part of it.
    pub stop: Vec<u32>,
    pub seed: u64,
}

/// What the policy wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub ids: Vec<u32>,
    /// `log pi` of each token at temperature 1.
    pub logprobs: Vec<f32>,
    /// Whether it ended by itself: a token of [`Sampling::stop`] was drawn.
    pub is_whole: bool,
}

/// One sequence that is being written.
#[derive(Clone, Debug, Default)]
struct Sequence {
    layers: Vec<KeyValues>,
    /// Tokens that the caches hold.
    length: usize,
    /// Drawn and not yet read by the model.
    pending: Option<u32>,
    /// Tells its draws from those of other sequences.
    stream: u64,
}

/// Sequences of one policy and what the policy remembers of them.
pub struct Sampler<'p> {
    policy: &'p Policy,
    sequences: Vec<Sequence>,
    rotation: (Tensor, Tensor),
    positions: usize,
}

/// Text that a sequence is continued with before the policy answers: a prompt, or what a tool said.
#[derive(Clone, Copy, Debug)]
pub struct Continued<'i> {
    /// The number that [`Sampler::begin`] gave.
    pub sequence: usize,
    pub ids: &'i [u32],
}

impl<'p> Sampler<'p> {
    /// A sampler whose sequences never hold more than `max_length` tokens, nor more than the model was made for.
    pub fn new(policy: &'p Policy, max_length: usize) -> Result<Self, PolicyError> {
        let positions = max_length.min(policy.config.positions);
        let rotation = layers::rotation_tables(&policy.config, positions, &policy.embedding.value)?;
        Ok(Sampler { policy, sequences: Vec::new(), rotation, positions })
    }

    /// Begins an empty sequence; equal `stream`s draw equal tokens from equal texts.
    pub fn begin(&mut self, stream: u64) -> usize {
        let layers = vec![KeyValues::default(); self.policy.layers.len()];
        self.sequences.push(Sequence { layers, stream, ..Sequence::default() });
        self.sequences.len() - 1
    }

    /// Reads what continues each sequence and lets the policy answer, all side by side. Answers come in the order asked.
    ///
    /// # Errors
    /// A token that the vocabulary lacks, or a text that leaves no room for an answer.
    pub fn answer(&mut self, asked: &[Continued<'_>], sampling: &Sampling) -> Result<Vec<Answer>, PolicyError> {
        let mut answers = vec![Answer::default(); asked.len()];
        let mut fresh: Vec<Vec<u32>> = Vec::with_capacity(asked.len());
        for Continued { sequence, ids } in asked {
            self.policy.check(ids)?;
            let known = self.sequences[*sequence].pending.take();
            let all: Vec<u32> = known.into_iter().chain(ids.iter().copied()).collect();
            let length = self.sequences[*sequence].length + all.len();
            if all.is_empty() || length >= self.positions {
                return Err(PolicyError::TooLong { length, positions: self.positions });
            }
            fresh.push(all);
        }
        let mut open: Vec<usize> = (0..asked.len()).filter(|_| sampling.max_tokens > 0).collect();
        while !open.is_empty() {
            let read: Vec<(usize, &[u32])> = open.iter().map(|&k| (asked[k].sequence, &fresh[k][..])).collect();
            let logits = self.extend(&read)?;
            let mut still_open = Vec::with_capacity(open.len());
            for (row, &k) in logits.iter().zip(&open) {
                let sequence = &mut self.sequences[asked[k].sequence];
                let (id, logprob) = draw(row, sampling, sequence.stream, sequence.length);
                let answer = &mut answers[k];
                answer.ids.push(id);
                answer.logprobs.push(logprob);
                answer.is_whole = sampling.stop.contains(&id);
                let is_full = answer.ids.len() >= sampling.max_tokens || sequence.length + 1 >= self.positions;
                if answer.is_whole || is_full {
                    sequence.pending = Some(id);
                } else {
                    fresh[k] = vec![id];
                    still_open.push(k);
                }
            }
            open = still_open;
        }
        Ok(answers)
    }

    /// Reads fresh tokens of some sequences; the logits behind the last of each.
    fn extend(&mut self, read: &[(usize, &[u32])]) -> Result<Vec<Vec<f32>>, PolicyError> {
        let policy = self.policy;
        let ids: Vec<u32> = read.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let counts: Vec<usize> = read.iter().map(|(_, ids)| ids.len()).collect();
        let positions = read.iter().flat_map(|(sequence, ids)| {
            let from = self.sequences[*sequence].length;
            (from..from + ids.len()).map(|p| p as u32)
        });
        let (cos, sin) = self.rotation.clone();
        let rotation = Rotation { cos, sin, positions: positions.collect() };
        let ids = Tensor::new(ids.as_slice(), policy.device())?;
        let mut x = policy.embedding.value.index_select(&ids, 0)?;
        for (depth, layer) in policy.layers.iter().enumerate() {
            let mut caches = self.caches(read, depth);
            x = continued(layer, x, &rotation, &counts, &mut caches)?;
        }
        for (sequence, ids) in read {
            self.sequences[*sequence].length += ids.len();
        }
        let ends = counts.iter().scan(0u32, |end, &count| {
            *end += count as u32;
            Some(*end - 1)
        });
        let last = Tensor::from_iter(ends, policy.device())?;
        let hidden = policy.norm.forward(&x.index_select(&last, 0)?)?.0;
        Ok(ops::linear(&hidden, &policy.head_weight().value)?.to_dtype(DType::F32)?.to_vec2()?)
    }

    /// The caches of one layer, in the order of `read`.
    fn caches(&mut self, read: &[(usize, &[u32])], depth: usize) -> Vec<&mut KeyValues> {
        let mut by_sequence: Vec<Option<&mut KeyValues>> =
            self.sequences.iter_mut().map(|sequence| sequence.layers.get_mut(depth)).collect();
        read.iter().filter_map(|(sequence, _)| by_sequence[*sequence].take()).collect()
    }
}

/// [`Layer::infer`] of fresh tokens.
fn continued(
    layer: &Layer,
    x: Tensor,
    rotation: &Rotation,
    counts: &[usize],
    caches: &mut [&mut KeyValues],
) -> Result<Tensor, PolicyError> {
    let (normed, _) = layer.input_norm.forward(&x)?;
    let (mut q, mut k, v) = (layer.q.forward(&normed)?, layer.k.forward(&normed)?, layer.v.forward(&normed)?);
    if let Some((q_norm, k_norm)) = &layer.head_norms {
        (q, k) = (q_norm.forward(&q)?.0, k_norm.forward(&k)?.0);
    }
    let (q, k) = (ops::rope(&q, rotation, false)?, ops::rope(&k, rotation, false)?);
    let attended = cached::attention(&q, &k, &v, layer.heads, counts, caches)?;
    let middle = ops::add(layer.o.forward(&attended)?, &x)?;
    let (normed, _) = layer.mlp_norm.forward(&middle)?;
    let gated = ops::swiglu(&layer.gate.forward(&normed)?, &layer.up.forward(&normed)?)?;
    Ok(ops::add(layer.down.forward(&gated)?, &middle)?)
}

/// A token and its log-prob at temperature 1.
fn draw(logits: &[f32], sampling: &Sampling, stream: u64, place: usize) -> (u32, f32) {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let likeliest = || logits.iter().position(|&l| l == top).unwrap_or(0);
    let total = |temperature: f64| -> f64 { logits.iter().map(|&l| (f64::from(l - top) / temperature).exp()).sum() };
    let id = if sampling.temperature > 0.0 {
        let mut left = uniform(sampling.seed, stream, place) * total(sampling.temperature);
        let drawn = logits.iter().position(|&l| {
            left -= (f64::from(l - top) / sampling.temperature).exp();
            left < 0.0
        });
        drawn.unwrap_or_else(likeliest)
    } else {
        likeliest()
    };
    (id as u32, (f64::from(logits[id] - top) - total(1.0).ln()) as f32)
}

/// A number in 0..1 from a hash.
fn uniform(seed: u64, stream: u64, place: usize) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&stream.to_le_bytes()).update(&(place as u64).to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
}
