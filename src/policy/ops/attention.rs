//! Causal attention over packed sequences, forward and backward, in blocks of queries.
//!
//! Owns the scores: no more than a block of them ever exists, and the backward computes them again from the
//! log-sum-exp that the forward kept, so that memory grows with the length and not with its square (FlashAttention-2,
//! arXiv 2307.08691, without its tiling of keys). Queries of several heads share one head of keys and values.

use std::ops::Range;

use candle_core::{D, DType, Tensor};
use rayon::prelude::*;

use super::dense::{Matrix, multiply};
use super::simd::{exp, exp_in_place, max, sum2, vectorised};
use super::{Result, read};

/// Queries of one block on the CPU.
const BLOCK: usize = 64;
/// The same where a block is a handful of kernels.
const DEVICE_BLOCK: usize = 1024;

/// Heads of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub queries: usize,
    pub keys: usize,
    /// Entries of one head.
    pub width: usize,
}

impl Heads {
    fn group(self) -> usize {
        self.queries / self.keys
    }

    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// `softmax(q k^T / sqrt(width)) v` within each sequence.
///
/// `q` is (tokens, queries * width); `k` and `v` are (tokens, keys * width); `sequences` are ranges of tokens that cover
/// all of them in order. Returns the output, shaped as `q`, and the log-sum-exp of the scores, (tokens, queries).
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: Heads,
    sequences: &[Range<usize>],
) -> Result<(Tensor, Tensor)> {
    if !super::is_fused(q) {
        return device::attention(q, k, v, heads, sequences);
    }
    let tokens = q.dim(0)?;
    let (out, sums) = read([q, k, v], |[q, k, v]| forward(q, k, v, heads, sequences))?;
    let device = q.device();
    Ok((
        Tensor::from_vec(out, (tokens, heads.queries * heads.width), device)?,
        Tensor::from_vec(sums, (tokens, heads.queries), device)?,
    ))
}

/// Gradients of [`attention`] in `q`, `k` and `v`, given its results and the gradient of its output.
#[allow(clippy::too_many_arguments)] // three inputs, two results, one gradient: they are what the formula has
pub fn attention_backward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    out: &Tensor,
    sums: &Tensor,
    dout: &Tensor,
    heads: Heads,
    sequences: &[Range<usize>],
) -> Result<(Tensor, Tensor, Tensor)> {
    if !super::is_fused(q) {
        return device::attention_backward(q, k, v, out, sums, dout, heads, sequences);
    }
    let (dq, dk, dv) = read([q, k, v, out, sums, dout], |[q, k, v, out, sums, dout]| {
        let saved = Saved { q, k, v, out, sums, dout };
        backward(&saved, heads, sequences)
    })?;
    let device = q.device();
    Ok((
        Tensor::from_vec(dq, q.shape(), device)?,
        Tensor::from_vec(dk, k.shape(), device)?,
        Tensor::from_vec(dv, v.shape(), device)?,
    ))
}

/// Blocks of queries: (sequence, first query, after the last), tokens counted from the sequence's first.
fn blocks(sequences: &[Range<usize>]) -> Vec<(usize, usize, usize)> {
    let mut out = Vec::new();
    for (s, sequence) in sequences.iter().enumerate() {
        out.extend((0..sequence.len()).step_by(BLOCK).map(|first| (s, first, (first + BLOCK).min(sequence.len()))));
    }
    out
}

fn forward(q: &[f32], k: &[f32], v: &[f32], heads: Heads, sequences: &[Range<usize>]) -> (Vec<f32>, Vec<f32>) {
    let Heads { queries, keys, width } = heads;
    let (q_row, k_row) = (queries * width, keys * width);
    let tokens = q.len() / q_row;
    let (mut out, mut sums) = (vec![0.0; q.len()], vec![0.0; tokens * queries]);
    let mut work = Vec::new();
    let (mut out_rest, mut sums_rest) = (out.as_mut_slice(), sums.as_mut_slice());
    for (s, first, end) in blocks(sequences) {
        let (out_block, rest) = out_rest.split_at_mut((end - first) * q_row);
        let (sums_block, sums_left) = sums_rest.split_at_mut((end - first) * queries);
        (out_rest, sums_rest) = (rest, sums_left);
        work.push((sequences[s].start, first, end, out_block, sums_block));
    }
    work.into_par_iter().for_each_init(Vec::new, |scores: &mut Vec<f32>, (start, first, end, out, sums)| {
        let rows = end - first;
        scores.resize(rows * end, 0.0);
        for head in 0..queries {
            let key_at = start * k_row + head / heads.group() * width;
            let query_at = (start + first) * q_row + head * width;
            let keys = Matrix::part(&k[key_at..], end, width, k_row);
            let values = Matrix::part(&v[key_at..], end, width, k_row);
            let query = Matrix::part(&q[query_at..], rows, width, q_row);
            multiply(scores, end, query, keys.transposed(), heads.scale(), false, false);
            let mut inverse = [0f32; BLOCK];
            vectorised(|| {
                for (r, row) in scores.chunks_exact_mut(end).enumerate() {
                    let (seen, unseen) = row.split_at_mut(first + r + 1);
                    let top = max(seen);
                    let total = exp_in_place(seen, top);
                    unseen.fill(0.0);
                    inverse[r] = 1.0 / total;
                    sums[r * queries + head] = top + total.ln();
                }
            });
            multiply(&mut out[head * width..], q_row, Matrix::new(scores, rows, end), values, 1.0, false, false);
            for (r, inverse) in inverse.iter().take(rows).enumerate() {
                out[r * q_row + head * width..][..width].iter_mut().for_each(|x| *x *= inverse);
            }
        }
    });
    (out, sums)
}

/// What a backward reads.
struct Saved<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: &'a [f32],
    sums: &'a [f32],
    dout: &'a [f32],
}

fn backward(saved: &Saved<'_>, heads: Heads, sequences: &[Range<usize>]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let Heads { queries, keys, width } = heads;
    let (q_row, k_row, group_row) = (queries * width, keys * width, heads.group() * width);
    // One sequence and one head of keys at a time: their gradients belong to nobody else.
    let units: Vec<(Range<usize>, usize)> =
        sequences.iter().flat_map(|s| (0..keys).map(move |head| (s.clone(), head))).collect();
    let parts: Vec<[Vec<f32>; 3]> =
        units.par_iter().map(|(sequence, head)| backward_of(saved, heads, sequence.clone(), *head)).collect();
    let (mut dq, mut dk, mut dv) = (vec![0.0; saved.q.len()], vec![0.0; saved.k.len()], vec![0.0; saved.k.len()]);
    for ((sequence, head), [q_part, k_part, v_part]) in units.into_iter().zip(parts) {
        for (k, token) in sequence.enumerate() {
            dq[token * q_row + head * group_row..][..group_row].copy_from_slice(&q_part[k * group_row..][..group_row]);
            dk[token * k_row + head * width..][..width].copy_from_slice(&k_part[k * width..][..width]);
            dv[token * k_row + head * width..][..width].copy_from_slice(&v_part[k * width..][..width]);
        }
    }
    (dq, dk, dv)
}

/// Gradients of one head of keys in one sequence: those of its queries' heads side by side, of keys, of values.
fn backward_of(saved: &Saved<'_>, heads: Heads, sequence: Range<usize>, key_head: usize) -> [Vec<f32>; 3] {
    let Heads { queries, keys, width } = heads;
    let (q_row, k_row, group) = (queries * width, keys * width, heads.group());
    let (start, length) = (sequence.start, sequence.len());
    let mut dq = vec![0.0; length * group * width];
    let (mut dk, mut dv) = (vec![0.0; length * width], vec![0.0; length * width]);
    let (mut scores, mut dscores) = (Vec::new(), Vec::new());
    for first in (0..length).step_by(BLOCK) {
        let end = (first + BLOCK).min(length);
        let rows = end - first;
        scores.resize(rows * end, 0.0);
        dscores.resize(rows * end, 0.0);
        let key_at = start * k_row + key_head * width;
        let k = Matrix::part(&saved.k[key_at..], end, width, k_row);
        let v = Matrix::part(&saved.v[key_at..], end, width, k_row);
        for g in 0..group {
            let head = key_head * group + g;
            let query_at = (start + first) * q_row + head * width;
            let part = |data| Matrix::part(data, rows, width, q_row);
            let (q, dout) = (part(&saved.q[query_at..]), part(&saved.dout[query_at..]));
            multiply(&mut scores, end, q, k.transposed(), heads.scale(), false, false);
            multiply(&mut dscores, end, dout, v.transposed(), 1.0, false, false);
            vectorised(|| {
                for (r, (p, ds)) in scores.chunks_exact_mut(end).zip(dscores.chunks_exact_mut(end)).enumerate() {
                    let at = query_at + r * q_row;
                    let shared = sum2(&saved.out[at..][..width], &saved.dout[at..][..width], |o, d| o * d);
                    let total = saved.sums[(start + first + r) * queries + head];
                    let seen = first + r + 1;
                    for (p, ds) in p[..seen].iter_mut().zip(&mut ds[..seen]) {
                        *p = exp(*p - total);
                        *ds = *p * (*ds - shared);
                    }
                    p[seen..].fill(0.0);
                    ds[seen..].fill(0.0);
                }
            });
            let (p, ds) = (Matrix::new(&scores, rows, end), Matrix::new(&dscores, rows, end));
            multiply(&mut dv, width, p.transposed(), dout, 1.0, true, false);
            multiply(&mut dk, width, ds.transposed(), q, heads.scale(), true, false);
            let at = first * group * width + g * width;
            multiply(&mut dq[at..], group * width, ds, k, heads.scale(), false, false);
        }
    }
    [dq, dk, dv]
}

/// The same from candle's own operations, for other devices and types.
mod device {
    use super::*;

    /// One sequence of a packed tensor as (keys, group, tokens, width) in float32.
    fn grouped(x: &Tensor, heads: Heads, sequence: &Range<usize>, group: usize) -> Result<Tensor> {
        let length = sequence.len();
        let x = x.narrow(0, sequence.start, length)?.reshape((length, heads.keys, group, heads.width))?;
        x.permute((1, 2, 0, 3))?.contiguous()
    }

    fn packed(x: &Tensor) -> Result<Tensor> {
        let (keys, group, length, width) = x.dims4()?;
        x.permute((2, 0, 1, 3))?.contiguous()?.reshape((length, keys * group * width))
    }

    /// 0 where query `first + r` sees key `c`, else -infinity; (rows, end).
    fn mask(first: usize, end: usize, like: &Tensor) -> Result<Tensor> {
        let row = |r: usize| (0..end).map(move |c| if c <= first + r { 0f32 } else { f32::NEG_INFINITY });
        let values: Vec<f32> = (0..end - first).flat_map(row).collect();
        Tensor::from_vec(values, (end - first, end), like.device())
    }

    /// Scores of a block of queries, (keys, group, rows, end), in float32.
    fn scores(q: &Tensor, k: &Tensor, heads: Heads, first: usize, end: usize) -> Result<Tensor> {
        let (keys, group, rows, width) = q.dims4()?;
        let flat = q.reshape((keys, group * rows, width))?;
        let seen = k.narrow(2, 0, end)?.squeeze(1)?;
        let scores = flat.matmul(&seen.t()?)?.to_dtype(DType::F32)?.reshape((keys, group, rows, end))?;
        (scores * f64::from(heads.scale()))?.broadcast_add(&mask(first, end, q)?)
    }

    fn blocks(length: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..length).step_by(DEVICE_BLOCK).map(move |first| (first, (first + DEVICE_BLOCK).min(length)))
    }

    pub fn attention(
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        heads: Heads,
        sequences: &[Range<usize>],
    ) -> Result<(Tensor, Tensor)> {
        let (mut outs, mut sums) = (Vec::new(), Vec::new());
        for sequence in sequences {
            let (q, k, v) = (
                grouped(q, heads, sequence, heads.group())?,
                grouped(k, heads, sequence, 1)?,
                grouped(v, heads, sequence, 1)?,
            );
            for (first, end) in blocks(sequence.len()) {
                let q = q.narrow(2, first, end - first)?.contiguous()?;
                let (keys, group, rows, width) = q.dims4()?;
                let scores = scores(&q, &k, heads, first, end)?;
                let top = scores.max_keepdim(D::Minus1)?;
                let weights = scores.broadcast_sub(&top)?.exp()?;
                let total = weights.sum_keepdim(D::Minus1)?;
                let weights = weights.broadcast_div(&total)?.to_dtype(v.dtype())?;
                let values = v.narrow(2, 0, end)?.squeeze(1)?.contiguous()?;
                let out = weights.reshape((keys, group * rows, end))?.matmul(&values)?;
                outs.push(packed(&out.reshape((keys, group, rows, width))?)?);
                sums.push(packed(&(top + total.log()?)?)?);
            }
        }
        Ok((Tensor::cat(&outs, 0)?, Tensor::cat(&sums, 0)?))
    }

    #[allow(clippy::too_many_arguments)]
    pub fn attention_backward(
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        sums: &Tensor,
        dout: &Tensor,
        heads: Heads,
        sequences: &[Range<usize>],
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (mut dqs, mut dks, mut dvs) = (Vec::new(), Vec::new(), Vec::new());
        let one = Heads { width: 1, ..heads };
        for sequence in sequences {
            let group = heads.group();
            let (q, out, dout) = (
                grouped(q, heads, sequence, group)?,
                grouped(out, heads, sequence, group)?,
                grouped(dout, heads, sequence, group)?,
            );
            let sums = grouped(sums, one, sequence, group)?;
            let (k, v) = (grouped(k, heads, sequence, 1)?, grouped(v, heads, sequence, 1)?);
            let shared = (out.to_dtype(DType::F32)? * dout.to_dtype(DType::F32)?)?.sum_keepdim(D::Minus1)?;
            let (mut dk, mut dv) = (k.zeros_like()?.to_dtype(DType::F32)?, v.zeros_like()?.to_dtype(DType::F32)?);
            for (first, end) in blocks(sequence.len()) {
                let rows = end - first;
                let block = |x: &Tensor| x.narrow(2, first, rows)?.contiguous();
                let (q, dout) = (block(&q)?, block(&dout)?);
                let (keys, _, _, width) = q.dims4()?;
                let flat = |x: &Tensor, columns: usize| x.reshape((keys, group * rows, columns));
                let p = scores(&q, &k, heads, first, end)?.broadcast_sub(&block(&sums)?)?.exp()?;
                let values = v.narrow(2, 0, end)?.squeeze(1)?.contiguous()?;
                let dp = flat(&dout, width)?.matmul(&values.t()?)?.to_dtype(DType::F32)?;
                let dp = dp.reshape(p.shape())?.broadcast_sub(&block(&shared)?)?;
                let ds = ((&p * dp)? * f64::from(heads.scale()))?.to_dtype(q.dtype())?;
                let (p, ds) = (flat(&p.to_dtype(q.dtype())?, end)?, flat(&ds, end)?);
                let seen = k.narrow(2, 0, end)?.squeeze(1)?.contiguous()?;
                dqs.push(packed(&ds.matmul(&seen)?.reshape((keys, group, rows, width))?)?);
                let add = |total: &Tensor, part: Tensor| -> Result<Tensor> {
                    let part = part.to_dtype(DType::F32)?.unsqueeze(1)?;
                    total.add(&part.pad_with_zeros(2, 0, sequence.len() - end)?)
                };
                dk = add(&dk, ds.t()?.matmul(&flat(&q, width)?)?)?;
                dv = add(&dv, p.t()?.matmul(&flat(&dout, width)?)?)?;
            }
            dks.push(packed(&dk.to_dtype(k.dtype())?)?);
            dvs.push(packed(&dv.to_dtype(v.dtype())?)?);
        }
        Ok((Tensor::cat(&dqs, 0)?, Tensor::cat(&dks, 0)?, Tensor::cat(&dvs, 0)?))
    }
}
