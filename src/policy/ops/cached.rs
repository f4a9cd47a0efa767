//! Attention of fresh tokens over keys and values that are kept, for sampling.
//!
//! Owns the cache of one layer of one sequence and the scores over it, in float32 on the CPU whatever the model is computed
//! with; nothing of it has a backward. One sequence never reads another's cache.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::attention::Heads;
use super::dense::{Matrix, multiply};
use super::simd::{exp_in_place, max, vectorised};
use super::{Result, read};

/// Keys and values of the tokens that one layer has seen of one sequence, (tokens, keys * width) each.
#[derive(Clone, Debug, Default)]
pub struct KeyValues {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// `softmax(q k^T / sqrt(width)) v` of fresh tokens over all tokens of their own sequence up to themselves.
///
/// `q` is (tokens, queries * width), `k` and `v` are (tokens, keys * width), sequence after sequence: `counts` says how many
/// of the fresh tokens are whose. Keys and values are appended to `caches`, one for each sequence. Returns the shape of `q`.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: Heads,
    counts: &[usize],
    caches: &mut [&mut KeyValues],
) -> Result<Tensor> {
    let on_cpu = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous();
    let row = heads.queries * heads.width;
    let mut out = vec![0.0; q.elem_count()];
    read([&on_cpu(q)?, &on_cpu(k)?, &on_cpu(v)?], |[q, k, v]| {
        let (mut work, mut rest, mut at) = (Vec::with_capacity(counts.len()), out.as_mut_slice(), 0);
        for (&count, cache) in counts.iter().zip(caches) {
            let (own, others) = rest.split_at_mut(count * row);
            rest = others;
            work.push((at, count, own, cache));
            at += count;
        }
        let key_row = heads.keys * heads.width;
        work.into_par_iter().for_each(|(at, count, out, cache)| {
            cache.keys.extend_from_slice(&k[at * key_row..][..count * key_row]);
            cache.values.extend_from_slice(&v[at * key_row..][..count * key_row]);
            of_sequence(&q[at * row..][..count * row], cache, heads, out);
        });
    })?;
    Tensor::from_vec(out, q.shape(), &Device::Cpu)?.to_device(q.device())?.to_dtype(q.dtype())
}

/// The last tokens of one sequence over all of it.
fn of_sequence(q: &[f32], cache: &KeyValues, heads: Heads, out: &mut [f32]) {
    let Heads { queries, keys, width } = heads;
    let (q_row, k_row) = (queries * width, keys * width);
    let (rows, length) = (q.len() / q_row, cache.keys.len() / k_row);
    let mut scores = vec![0.0; rows * length];
    for head in 0..queries {
        let key_at = head / (queries / keys) * width;
        let k = Matrix::part(&cache.keys[key_at..], length, width, k_row);
        let v = Matrix::part(&cache.values[key_at..], length, width, k_row);
        let query = Matrix::part(&q[head * width..], rows, width, q_row);
        multiply(&mut scores, length, query, k.transposed(), 1.0 / (width as f32).sqrt(), false, false);
        vectorised(|| {
            for (r, row) in scores.chunks_exact_mut(length).enumerate() {
                let (seen, unseen) = row.split_at_mut(length - rows + r + 1);
                let top = max(seen);
                let total = exp_in_place(seen, top);
                seen.iter_mut().for_each(|weight| *weight /= total);
                unseen.fill(0.0);
            }
        });
        multiply(&mut out[head * width..], q_row, Matrix::new(&scores, rows, length), v, 1.0, false, false);
    }
}
