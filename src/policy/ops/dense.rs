//! Matrix products and element-wise operations on float32 slices, on all cores.
//!
//! Owns what runs on the CPU; tensors, devices and the unfused forms are [`super`]'s. Work is split by rows in pieces
//! whose size depends on the shape alone, so that results are the same for any number of threads.

use rayon::prelude::*;

use super::simd::{self, sigmoid, sum2, vectorised};

/// Entries of one piece of work: large enough to pay for its start.
const PIECE: usize = 1 << 14;

/// Rows of `width` entries in one piece.
fn piece_rows(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// A matrix in a slice: entry (r, c) stands at `r * rows_by + c * columns_by`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    rows_by: usize,
    columns_by: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Matrix { data, rows, columns, rows_by: columns, columns_by: 1 }
    }

    /// `columns` entries of each row of a wider matrix, whose rows are `stride` entries long.
    pub fn part(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Matrix { data, rows, columns, rows_by: stride, columns_by: 1 }
    }

    pub fn transposed(self) -> Self {
        Matrix { rows: self.columns, columns: self.rows, rows_by: self.columns_by, columns_by: self.rows_by, ..self }
    }

    fn span(&self) -> usize {
        match self.rows * self.columns {
            0 => 0,
            _ => (self.rows - 1) * self.rows_by + (self.columns - 1) * self.columns_by + 1,
        }
    }
}

/// `out = scale * a b`, added to what stands there if `adds`; rows of `out` are `stride` entries apart.
pub fn multiply(out: &mut [f32], stride: usize, a: Matrix<'_>, b: Matrix<'_>, scale: f32, adds: bool, parallel: bool) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m == 0 || n == 0 {
        return;
    }
    let spanned = (m - 1) * stride + n;
    assert!(
        k == b.rows && stride >= n && out.len() >= spanned && a.data.len() >= a.span() && b.data.len() >= b.span(),
        "this is a bug: a product of {m} x {k} and {} x {n} into {} entries",
        b.rows,
        out.len()
    );
    if k == 0 {
        if !adds {
            out[..spanned].fill(0.0);
        }
        return;
    }
    let parallelism = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: the assertion above holds every access of all three operands within its slice, and `out` is borrowed
    // alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            adds,
            a.data.as_ptr(),
            a.columns_by as isize,
            a.rows_by as isize,
            b.data.as_ptr(),
            b.columns_by as isize,
            b.rows_by as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Adds `bias` to each row.
pub fn add_rows(x: &mut [f32], bias: &[f32]) {
    let width = bias.len();
    x.par_chunks_mut(piece_rows(width) * width).for_each(|rows| {
        vectorised(|| rows.chunks_exact_mut(width).for_each(|row| row.iter_mut().zip(bias).for_each(|(x, b)| *x += b)))
    });
}

/// Sum of the rows.
pub fn sum_rows(x: &[f32], width: usize) -> Vec<f32> {
    reduce_rows(x.len() / width, piece_rows(width), width, |rows, total| {
        for row in x[rows.start * width..rows.end * width].chunks_exact(width) {
            total.iter_mut().zip(row).for_each(|(t, x)| *t += x);
        }
    })
}

/// Sums over rows in pieces, which are added in order.
fn reduce_rows(
    rows: usize,
    piece: usize,
    width: usize,
    add: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = (0..rows.div_ceil(piece))
        .into_par_iter()
        .map(|p| {
            let mut part = vec![0.0; width];
            vectorised(|| add(p * piece..((p + 1) * piece).min(rows), &mut part));
            part
        })
        .collect();
    let mut total = vec![0.0; width];
    for part in parts {
        total.iter_mut().zip(&part).for_each(|(t, p)| *t += p);
    }
    total
}

/// `y = x / rms(x) * weight` by rows as wide as `weight`, and 1 / rms of each row.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> (Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let rows = x.len() / width;
    let (mut y, mut inverse) = (vec![0.0; x.len()], vec![0.0; rows]);
    let piece = piece_rows(width);
    let pieces = y.par_chunks_mut(piece * width).zip(inverse.par_chunks_mut(piece)).zip(x.par_chunks(piece * width));
    pieces.for_each(|((y, inverse), x)| {
        vectorised(|| {
            for ((y, inverse), x) in y.chunks_exact_mut(width).zip(inverse).zip(x.chunks_exact(width)) {
                let r = 1.0 / (sum2(x, x, |a, b| a * b) / width as f32 + eps).sqrt();
                *inverse = r;
                for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
                    *y = x * r * w;
                }
            }
        })
    });
    (y, inverse)
}

/// Gradients of [`rms_norm`] in `x` and, if wanted, in `weight`.
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    inverse: &[f32],
    dy: &[f32],
    wants_weight: bool,
) -> (Vec<f32>, Option<Vec<f32>>) {
    let width = weight.len();
    let piece = piece_rows(width);
    let mut dx = vec![0.0; x.len()];
    let pieces = dx.par_chunks_mut(piece * width).enumerate();
    pieces.for_each(|(p, dx)| {
        let first = p * piece;
        vectorised(|| {
            for (k, dx) in dx.chunks_exact_mut(width).enumerate() {
                let (row, r) = (first + k, inverse[first + k]);
                let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
                // mean(x * w * dy) * r^3, the share of the norm itself
                let mut products = 0.0;
                for (x, (dy, w)) in x.chunks(256).zip(dy.chunks(256).zip(weight.chunks(256))) {
                    let mut lanes = [0f32; 256];
                    for (l, (dy, w)) in lanes.iter_mut().zip(dy.iter().zip(w)) {
                        *l = dy * w;
                    }
                    products += sum2(x, &lanes[..x.len()], |a, b| a * b);
                }
                let shared = products * r * r * r / width as f32;
                for ((dx, &x), (&dy, &w)) in dx.iter_mut().zip(x).zip(dy.iter().zip(weight)) {
                    *dx = dy * w * r - x * shared;
                }
            }
        })
    });
    let dw = wants_weight.then(|| {
        reduce_rows(inverse.len(), piece, width, |rows, total| {
            for row in rows {
                let r = inverse[row];
                let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
                for ((t, &x), &dy) in total.iter_mut().zip(x).zip(dy) {
                    *t += dy * x * r;
                }
            }
        })
    });
    (dx, dw)
}

/// `silu(gate) * up`.
pub fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; gate.len()];
    out.par_chunks_mut(PIECE).zip(gate.par_chunks(PIECE)).zip(up.par_chunks(PIECE)).for_each(|((out, gate), up)| {
        vectorised(|| {
            for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
                *out = g * sigmoid(g) * u;
            }
        })
    });
    out
}

/// Gradients of [`swiglu`] in `gate` and `up`.
pub fn swiglu_backward(gate: &[f32], up: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut dgate, mut dup) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
    let outs = dgate.par_chunks_mut(PIECE).zip(dup.par_chunks_mut(PIECE));
    let ins = gate.par_chunks(PIECE).zip(up.par_chunks(PIECE)).zip(dy.par_chunks(PIECE));
    outs.zip(ins).for_each(|((dgate, dup), ((gate, up), dy))| {
        vectorised(|| {
            for (k, dgate) in dgate.iter_mut().enumerate() {
                let (g, u, d) = (gate[k], up[k], dy[k]);
                let s = sigmoid(g);
                *dgate = d * u * s * (1.0 + g * (1.0 - s));
                dup[k] = d * g * s;
            }
        })
    });
    (dgate, dup)
}

/// Where the angles of a rotation come from: cosines and sines by position, half a head wide, and each row's position.
#[derive(Clone, Copy)]
pub struct Angles<'a> {
    pub cos: &'a [f32],
    pub sin: &'a [f32],
    pub positions: &'a [u32],
    pub half: usize,
}

/// Rotary embedding: rows hold heads of `2 * half` entries, and entry k turns with entry k + half. `back` turns the
/// other way, which is the gradient.
pub fn rope(x: &[f32], width: usize, angles: Angles<'_>, back: bool) -> Vec<f32> {
    let half = angles.half;
    let sign = if back { -1.0 } else { 1.0 };
    let mut out = vec![0.0; x.len()];
    let piece = piece_rows(width);
    out.par_chunks_mut(piece * width).enumerate().for_each(|(p, out)| {
        vectorised(|| {
            for (k, out) in out.chunks_exact_mut(width).enumerate() {
                let row = p * piece + k;
                let at = angles.positions[row] as usize * half;
                let (cos, sin) = (&angles.cos[at..][..half], &angles.sin[at..][..half]);
                let x = &x[row * width..][..width];
                for (out, x) in out.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half)) {
                    let (low, high) = x.split_at(half);
                    let (out_low, out_high) = out.split_at_mut(half);
                    for j in 0..half {
                        let (c, s) = (cos[j], sign * sin[j]);
                        out_low[j] = low[j] * c - high[j] * s;
                        out_high[j] = high[j] * c + low[j] * s;
                    }
                }
            }
        })
    });
    out
}

/// `a + b`, in `a`.
pub fn add(a: &mut [f32], b: &[f32]) {
    a.par_chunks_mut(PIECE)
        .zip(b.par_chunks(PIECE))
        .for_each(|(a, b)| vectorised(|| a.iter_mut().zip(b).for_each(|(a, b)| *a += b)));
}

/// Replaces each entry by `f` of it and of the entries at its place in `others`.
pub fn zip_in_place<const N: usize>(target: &mut [f32], others: [&[f32]; N], f: impl Fn(f32, [f32; N]) -> f32 + Sync) {
    target.par_chunks_mut(PIECE).enumerate().for_each(|(p, target)| {
        let others = others.map(|o| &o[p * PIECE..][..target.len()]);
        vectorised(|| {
            for (k, t) in target.iter_mut().enumerate() {
                *t = f(*t, others.map(|o| o[k]));
            }
        })
    });
}

/// Sum of squares, in float64 from pieces of float32.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let parts: Vec<f64> =
        x.par_chunks(1 << 12).map(|x| vectorised(|| f64::from(simd::sum2(x, x, |a, b| a * b)))).collect();
    parts.iter().sum()
}
