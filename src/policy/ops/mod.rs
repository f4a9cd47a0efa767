//! Operations of the policy and their gradients: fused on the CPU, from candle's own operations elsewhere.
//!
//! Each operation stands beside its backward, and none is left to a recorded graph: a gradient that is missing is a
//! missing line here, not a silent zero. `tests` hold every backward to finite differences, and the two forms to each
//! other. All matrices are (tokens, width) without gaps; float32 is fused on the CPU, whatever else takes the long way.

pub mod attention;
pub mod cached;
mod dense;
pub mod head;
mod simd;

use candle_core::{CpuStorage, D, DType, Layout, Storage, Tensor};

pub use candle_core::Result;
pub use dense::zip_in_place;
use dense::{Angles, Matrix};

/// Whether a tensor takes the fused form.
pub fn is_fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// Reads the entries of tensors that are float32, on the CPU and without gaps.
pub fn read<const N: usize, R>(tensors: [&Tensor; N], f: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let guards = tensors.map(|t| t.storage_and_layout());
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else { candle_core::bail!("expected a tensor on the CPU") };
        *slice = entries(storage, layout)?;
    }
    Ok(f(slices))
}

fn entries<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("expected a tensor without gaps, found strides {:?}", layout.stride()),
    }
}

/// Changes a float32 tensor on the CPU in place, for all who share it.
pub fn update<const N: usize>(
    target: &Tensor,
    others: [&Tensor; N],
    f: impl Fn(&mut [f32], [&[f32]; N]),
) -> Result<()> {
    read(others, |others| {
        struct Change<F>(F);
        impl<F: Fn(&mut [f32])> candle_core::InplaceOp1 for Change<F> {
            fn name(&self) -> &'static str {
                "update"
            }
            fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
                let (CpuStorage::F32(data), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
                    candle_core::bail!("expected float32 without gaps");
                };
                (self.0)(&mut data[start..end]);
                Ok(())
            }
        }
        target.inplace_op1(&Change(|target: &mut [f32]| f(target, others)))
    })?
}

/// Sum of the squares of a float32 tensor, in float64 from pieces.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    match is_fused(x) {
        true => read([x], |[x]| dense::sum_of_squares(x)),
        false => Ok(f64::from(x.sqr()?.sum_all()?.to_scalar::<f32>()?)),
    }
}

/// `x w^T`: (tokens, in) and (out, in) to (tokens, out).
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    x.matmul(&w.t()?)
}

/// `dy w`, the gradient of [`linear`] in `x`, added to `total` if there is one.
pub fn linear_backward(dy: &Tensor, w: &Tensor, total: Option<Tensor>) -> Result<Tensor> {
    match total {
        None => dy.matmul(w),
        Some(total) if is_fused(dy) => {
            let ((rows, inner), columns) = (dy.dims2()?, w.dim(1)?);
            update(&total, [dy, w], |out, [dy, w]| {
                let (dy, w) = (Matrix::new(dy, rows, inner), Matrix::new(w, inner, columns));
                dense::multiply(out, columns, dy, w, 1.0, true, true);
            })?;
            Ok(total)
        }
        Some(total) => total + dy.matmul(w)?,
    }
}

/// Adds `scale * dy^T x`, the gradient of [`linear`] in `w`, to a float32 total, or starts one.
pub fn add_outer(total: Option<Tensor>, dy: &Tensor, x: &Tensor, scale: f64) -> Result<Tensor> {
    let ((tokens, rows), columns) = (dy.dims2()?, x.dim(1)?);
    if !is_fused(dy) {
        let part = (dy.t()?.matmul(x)?.to_dtype(DType::F32)? * scale)?;
        return match total {
            None => Ok(part),
            Some(total) => total + part,
        };
    }
    let (total, adds) = match total {
        Some(total) => (total, true),
        None => (Tensor::zeros((rows, columns), DType::F32, dy.device())?, false),
    };
    update(&total, [dy, x], |out, [dy, x]| {
        let (dy, x) = (Matrix::new(dy, tokens, rows).transposed(), Matrix::new(x, tokens, columns));
        dense::multiply(out, columns, dy, x, scale as f32, adds, true);
    })?;
    Ok(total)
}

/// `x + bias` by rows.
pub fn add_bias(x: Tensor, bias: &Tensor) -> Result<Tensor> {
    if !is_fused(&x) {
        return x.broadcast_add(bias);
    }
    update(&x, [bias], |x, [bias]| dense::add_rows(x, bias))?;
    Ok(x)
}

/// Sum of the rows, in float32: the gradient of [`add_bias`] in the bias.
pub fn bias_backward(dy: &Tensor) -> Result<Tensor> {
    if !is_fused(dy) {
        return dy.to_dtype(DType::F32)?.sum(0);
    }
    let width = dy.dim(1)?;
    Tensor::from_vec(read([dy], |[dy]| dense::sum_rows(dy, width))?, width, dy.device())
}

/// `a + b`; the first is used up.
pub fn add(a: Tensor, b: &Tensor) -> Result<Tensor> {
    if !is_fused(&a) {
        return a + b;
    }
    update(&a, [b], |a, [b]| dense::add(a, b))?;
    Ok(a)
}

/// Adds row k of `part` to row `rows[k]` of `total`, which is used up; `at` holds the same indices as a tensor.
pub fn add_at_rows(total: Tensor, at: &Tensor, rows: &[u32], part: &Tensor) -> Result<Tensor> {
    if !is_fused(&total) {
        return total.index_add(at, part, 0);
    }
    let width = total.dim(1)?;
    update(&total, [part], |total, [part]| {
        for (&row, part) in rows.iter().zip(part.chunks_exact(width)) {
            total[row as usize * width..][..width].iter_mut().zip(part).for_each(|(t, p)| *t += p);
        }
    })?;
    Ok(total)
}

/// Root-mean-square norm by rows as wide as `weight`, and 1 / rms of each row.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let width = weight.elem_count();
    let rows = x.elem_count() / width;
    if is_fused(x) {
        let (y, inverse) = read([x, weight], |[x, w]| dense::rms_norm(x, w, eps as f32))?;
        return Ok((Tensor::from_vec(y, x.shape(), x.device())?, Tensor::from_vec(inverse, (rows, 1), x.device())?));
    }
    let flat = x.reshape((rows, width))?.to_dtype(DType::F32)?;
    let inverse = (flat.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    let y = flat.broadcast_mul(&inverse)?.to_dtype(x.dtype())?.broadcast_mul(weight)?;
    Ok((y.reshape(x.shape())?, inverse))
}

/// Gradients of [`rms_norm`] in `x` and, in float32 and if wanted, in `weight`.
pub fn rms_norm_backward(
    x: &Tensor,
    weight: &Tensor,
    inverse: &Tensor,
    dy: &Tensor,
    wants_weight: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let width = weight.elem_count();
    if is_fused(x) {
        let (dx, dw) = read([x, weight, inverse, dy], |[x, w, inverse, dy]| {
            dense::rms_norm_backward(x, w, inverse, dy, wants_weight)
        })?;
        let dw = dw.map(|dw| Tensor::from_vec(dw, width, x.device())).transpose()?;
        return Ok((Tensor::from_vec(dx, x.shape(), x.device())?, dw));
    }
    let flat = |t: &Tensor| t.reshape(((), width))?.to_dtype(DType::F32);
    let (x_flat, dy) = (flat(x)?, flat(dy)?);
    let normed = x_flat.broadcast_mul(inverse)?;
    let dnormed = dy.broadcast_mul(&weight.to_dtype(DType::F32)?)?;
    let shared = (&normed * &dnormed)?.mean_keepdim(D::Minus1)?;
    let dx = (dnormed - normed.broadcast_mul(&shared)?)?.broadcast_mul(inverse)?;
    let dw = wants_weight.then(|| (dy * normed)?.sum(0)).transpose()?;
    Ok((dx.to_dtype(x.dtype())?.reshape(x.shape())?, dw))
}

/// `silu(gate) * up`.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if !is_fused(gate) {
        return gate.silu()? * up;
    }
    Tensor::from_vec(read([gate, up], |[g, u]| dense::swiglu(g, u))?, gate.shape(), gate.device())
}

/// Gradients of [`swiglu`] in `gate` and `up`.
pub fn swiglu_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    if !is_fused(gate) {
        let sigmoid = (gate.neg()?.exp()? + 1.0)?.recip()?;
        let silu = (gate * &sigmoid)?;
        let slope = (&sigmoid * ((gate * (1.0 - &sigmoid)?)? + 1.0)?)?;
        return Ok((((dy * up)? * slope)?, (dy * silu)?));
    }
    let (dgate, dup) = read([gate, up, dy], |[g, u, dy]| dense::swiglu_backward(g, u, dy))?;
    let tensor = |data| Tensor::from_vec(data, gate.shape(), gate.device());
    Ok((tensor(dgate)?, tensor(dup)?))
}

/// Tables of the rotary embedding for the tokens of a batch.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// (positions, half a head), float32.
    pub cos: Tensor,
    pub sin: Tensor,
    /// Of each token within its sequence.
    pub positions: Vec<u32>,
}

/// Rotary embedding, halves of a head turned against each other (the hub's form); `back` is its gradient.
pub fn rope(x: &Tensor, rotation: &Rotation, back: bool) -> Result<Tensor> {
    let (tokens, width) = x.dims2()?;
    let half = rotation.cos.dim(1)?;
    if is_fused(x) {
        let out = read([x, &rotation.cos, &rotation.sin], |[x, cos, sin]| {
            dense::rope(x, width, Angles { cos, sin, positions: &rotation.positions, half }, back)
        })?;
        return Tensor::from_vec(out, x.shape(), x.device());
    }
    let at = Tensor::new(rotation.positions.as_slice(), x.device())?;
    let table = |t: &Tensor| t.index_select(&at, 0)?.unsqueeze(1)?.to_dtype(x.dtype());
    let (cos, sin) = (table(&rotation.cos)?, table(&rotation.sin)?);
    let sin = if back { sin.neg()? } else { sin };
    let heads = x.reshape((tokens, width / (2 * half), 2 * half))?;
    let (low, high) = (heads.narrow(2, 0, half)?, heads.narrow(2, half, half)?);
    let out_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let out_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
    Tensor::cat(&[out_low, out_high], 2)?.reshape((tokens, width))
}
