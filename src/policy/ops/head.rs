//! The head: log-probs of chosen tokens, and the gradient of any loss of them, in chunks of rows.
//!
//! Owns the logits: never more than a chunk of them exists, so that a vocabulary of 152k and a rollout of 20k tokens fit.
//! What a loss is made of is left to the caller, who gives its slope in each log-prob.

use candle_core::{D, DType, Tensor};
use rayon::prelude::*;

use super::dense::{Matrix, multiply};
use super::simd::{exp_in_place, max, sum2, vectorised};
use super::{Result, is_fused, read};

/// Logits of one chunk: 16M entries are 64 MiB.
const CHUNK_ENTRIES: usize = 16 << 20;

/// Rows of one chunk for a vocabulary.
fn chunk_rows(vocabulary: usize) -> usize {
    (CHUNK_ENTRIES / vocabulary.max(1)).clamp(16, 1024)
}

/// What the head says of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenStats {
    pub logprob: f32,
    /// Of the whole distribution, in nats.
    pub entropy: f32,
}

/// `log softmax(hidden weight^T)` at `targets`, and the entropies; temperature 1.
///
/// `hidden` is (tokens, width), `weight` is (vocabulary, width), `targets` one id for each token.
pub fn log_probs(hidden: &Tensor, weight: &Tensor, targets: &[u32]) -> Result<Vec<TokenStats>> {
    let chunk = chunk_rows(weight.dim(0)?);
    let mut out = Vec::with_capacity(targets.len());
    for (k, targets) in targets.chunks(chunk).enumerate() {
        let hidden = hidden.narrow(0, k * chunk, targets.len())?;
        if is_fused(&hidden) {
            out.extend(read([&hidden, weight], |[h, w]| {
                let mut logits = logits(h, w, targets.len());
                stats_in_place(&mut logits, targets, None)
            })?);
        } else {
            out.extend(device_stats(&device_logits(&hidden, weight)?, targets)?.0);
        }
    }
    Ok(out)
}

/// Takes the factors `scores` and `hidden` of a gradient `scores^T hidden`.
pub type AddWeight<'a> = &'a mut dyn FnMut(&Tensor, &Tensor) -> Result<()>;

/// [`log_probs`], and the gradients of a loss in `hidden` and `weight`.
///
/// `slope(k, stats)` is the derivative of the loss in the log-prob of token k. The gradient in `weight` goes to
/// `add_weight(scores, hidden)`, the factors of `scores^T hidden`, chunk by chunk, if it is wanted.
pub fn log_probs_backward(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &[u32],
    slope: &(dyn Fn(usize, TokenStats) -> f32 + Sync),
    mut add_weight: Option<AddWeight<'_>>,
) -> Result<(Vec<TokenStats>, Tensor)> {
    let (vocabulary, chunk) = (weight.dim(0)?, chunk_rows(weight.dim(0)?));
    let mut stats = Vec::with_capacity(targets.len());
    let mut dhidden = Vec::new();
    for (k, targets) in targets.chunks(chunk).enumerate() {
        let rows = targets.len();
        let hidden = hidden.narrow(0, k * chunk, rows)?;
        let slope = |row: usize, stats: TokenStats| slope(k * chunk + row, stats);
        let dlogits = if is_fused(&hidden) {
            let mut logits = read([&hidden, weight], |[h, w]| logits(h, w, rows))?;
            stats.extend(stats_in_place(&mut logits, targets, Some(&slope)));
            Tensor::from_vec(logits, (rows, vocabulary), hidden.device())?
        } else {
            let (found, probs) = device_stats(&device_logits(&hidden, weight)?, targets)?;
            let slopes: Vec<f32> = found.iter().enumerate().map(|(k, &s)| slope(k, s)).collect();
            stats.extend(found);
            device_slopes(&probs, targets, slopes)?.to_dtype(hidden.dtype())?
        };
        dhidden.push(dlogits.matmul(weight)?);
        if let Some(add) = add_weight.as_mut() {
            add(&dlogits, &hidden)?;
        }
    }
    let dhidden = if dhidden.is_empty() { hidden.clone() } else { Tensor::cat(&dhidden, 0)? };
    Ok((stats, dhidden))
}

fn logits(hidden: &[f32], weight: &[f32], rows: usize) -> Vec<f32> {
    let width = hidden.len() / rows;
    let vocabulary = weight.len() / width;
    let mut out = vec![0.0; rows * vocabulary];
    let weight = Matrix::new(weight, vocabulary, width);
    multiply(&mut out, vocabulary, Matrix::new(hidden, rows, width), weight.transposed(), 1.0, false, true);
    out
}

/// Reads the statistics off rows of logits and, with a slope, turns these into their gradient.
fn stats_in_place(
    logits: &mut [f32],
    targets: &[u32],
    slope: Option<&(dyn Fn(usize, TokenStats) -> f32 + Sync)>,
) -> Vec<TokenStats> {
    let vocabulary = logits.len() / targets.len();
    let rows = logits.par_chunks_exact_mut(vocabulary).zip(targets).enumerate();
    rows.map(|(k, (row, &target))| {
        vectorised(|| {
            let top = max(row);
            let at_target = row[target as usize] - top;
            // Entropy is log(sum) - E[z - top]: the row is kept while its exponentials are summed.
            let mut weighted = 0.0;
            let mut total = 0.0;
            let mut kept = [0f32; 512];
            for part in row.chunks_mut(kept.len()) {
                let kept = &mut kept[..part.len()];
                kept.iter_mut().zip(part.iter()).for_each(|(kept, z)| *kept = z - top);
                total += exp_in_place(part, top);
                weighted += sum2(kept, part, |z, e| z * e);
            }
            let log_total = total.ln();
            let stats = TokenStats { logprob: at_target - log_total, entropy: log_total - weighted / total };
            if let Some(slope) = slope {
                let slope = slope(k, stats);
                let factor = -slope / total;
                row.iter_mut().for_each(|e| *e *= factor);
                row[target as usize] += slope;
            }
            stats
        })
    })
    .collect()
}

fn device_logits(hidden: &Tensor, weight: &Tensor) -> Result<Tensor> {
    hidden.matmul(&weight.t()?)?.to_dtype(DType::F32)
}

fn indices(targets: &[u32], like: &Tensor) -> Result<Tensor> {
    Tensor::new(targets, like.device())?.unsqueeze(1)
}

/// The statistics of rows of logits, and their probabilities.
fn device_stats(logits: &Tensor, targets: &[u32]) -> Result<(Vec<TokenStats>, Tensor)> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?;
    let exps = shifted.exp()?;
    let total = exps.sum_keepdim(D::Minus1)?;
    let probs = exps.broadcast_div(&total)?;
    let log_total = total.log()?.squeeze(1)?;
    let at_target = shifted.gather(&indices(targets, logits)?, 1)?.squeeze(1)?;
    let logprobs = (at_target - &log_total)?.to_vec1::<f32>()?;
    let entropies = (&log_total - (&probs * &shifted)?.sum(D::Minus1)?)?.to_vec1::<f32>()?;
    let stats = logprobs.into_iter().zip(entropies).map(|(logprob, entropy)| TokenStats { logprob, entropy });
    Ok((stats.collect(), probs))
}

fn device_slopes(probs: &Tensor, targets: &[u32], slopes: Vec<f32>) -> Result<Tensor> {
    let slopes = Tensor::from_vec(slopes, (targets.len(), 1), probs.device())?;
    let spread = probs.broadcast_mul(&slopes.neg()?)?;
    spread.scatter_add(&indices(targets, probs)?, &slopes, 1)
}
