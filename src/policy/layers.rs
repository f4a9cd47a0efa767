//! The parts of a transformer, each with its backward beside its forward.
//!
//! Owns the order of operations of one layer and what is kept between the two passes. Shapes are (tokens, width) of
//! packed sequences: no padding exists. Parameters that are not trained get no gradient and cost none.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Tensor};

use super::config::ModelConfig;
use super::ops::attention::{Heads, attention, attention_backward};
use super::ops::{self, Result, Rotation};

/// A named tensor of the model.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    /// Shared with the optimizer, which changes it in place.
    pub value: Tensor,
    pub is_trained: bool,
}

impl Parameter {
    /// The value in the type that `like` is computed in.
    fn of_type(&self, like: &Tensor) -> Result<Tensor> {
        self.value.to_dtype(like.dtype())
    }
}

/// Gradients by parameter, in float32 and in the order of names.
#[derive(Debug, Default)]
pub struct Gradients(BTreeMap<String, Tensor>);

impl Gradients {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Puts a total in place.
    pub fn set(&mut self, parameter: &Parameter, total: Tensor) {
        self.0.insert(parameter.name.clone(), total);
    }

    /// Adds a gradient that is at hand.
    pub fn add(&mut self, parameter: &Parameter, part: Tensor) -> Result<()> {
        let part = part.to_dtype(DType::F32)?;
        let total = match self.0.remove(&parameter.name) {
            None => part,
            Some(total) => ops::add(total, &part)?,
        };
        self.0.insert(parameter.name.clone(), total);
        Ok(())
    }

    /// Adds `scale * dy^T x`.
    pub fn add_outer(&mut self, parameter: &Parameter, dy: &Tensor, x: &Tensor, scale: f64) -> Result<()> {
        let total = ops::add_outer(self.0.remove(&parameter.name), dy, x, scale)?;
        self.0.insert(parameter.name.clone(), total);
        Ok(())
    }
}

/// Low-rank update `scale * b a` of a projection (LoRA, arXiv 2106.09685), as PEFT names and shapes it.
#[derive(Clone, Debug)]
pub struct Lora {
    /// (rank, in)
    pub a: Parameter,
    /// (out, rank)
    pub b: Parameter,
    pub scale: f64,
}

/// `x w^T + bias + scale * (x a^T) b^T`.
#[derive(Clone, Debug)]
pub struct Linear {
    pub weight: Parameter,
    pub bias: Option<Parameter>,
    pub lora: Option<Lora>,
}

impl Linear {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = ops::linear(x, &self.weight.value)?;
        if let Some(bias) = &self.bias {
            y = ops::add_bias(y, &bias.value)?;
        }
        if let Some(lora) = &self.lora {
            let low = (ops::linear(x, &lora.a.of_type(x)?)? * lora.scale)?;
            y = ops::add(y, &ops::linear(&low, &lora.b.of_type(x)?)?)?;
        }
        Ok(y)
    }

    /// Gradient in `x`, added to `total`; those of the parameters go to `gradients`.
    pub fn backward(
        &self,
        x: &Tensor,
        dy: &Tensor,
        total: Option<Tensor>,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        if self.weight.is_trained {
            gradients.add_outer(&self.weight, dy, x, 1.0)?;
        }
        if let Some(bias) = self.bias.as_ref().filter(|b| b.is_trained) {
            gradients.add(bias, ops::bias_backward(dy)?)?;
        }
        let mut dx = ops::linear_backward(dy, &self.weight.value, total)?;
        if let Some(lora) = &self.lora {
            let a = lora.a.of_type(x)?;
            let low = ops::linear(x, &a)?;
            gradients.add_outer(&lora.b, dy, &low, lora.scale)?;
            let dlow = ops::linear_backward(dy, &lora.b.of_type(x)?, None)?;
            gradients.add_outer(&lora.a, &dlow, x, lora.scale)?;
            dx = ops::linear_backward(&(dlow * lora.scale)?, &a, Some(dx))?;
        }
        Ok(dx)
    }
}

/// Root-mean-square norm with a weight.
#[derive(Clone, Debug)]
pub struct Norm {
    pub weight: Parameter,
    pub eps: f64,
}

impl Norm {
    /// The normed rows, and what the backward needs.
    pub fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        ops::rms_norm(x, &self.weight.value, self.eps)
    }

    pub fn backward(&self, x: &Tensor, inverse: &Tensor, dy: &Tensor, gradients: &mut Gradients) -> Result<Tensor> {
        let trained = self.weight.is_trained;
        let (dx, dw) = ops::rms_norm_backward(x, &self.weight.value, inverse, dy, trained)?;
        if let Some(dw) = dw {
            gradients.add(&self.weight, dw)?;
        }
        Ok(dx)
    }
}

/// Sequences laid end to end, and the angles of their positions.
#[derive(Clone, Debug)]
pub struct Packing {
    /// Ranges of tokens that cover all of them in order.
    pub sequences: Vec<Range<usize>>,
    pub rotation: Rotation,
}

/// One layer: attention and gated MLP, each with a norm before it and a residual around it.
#[derive(Clone, Debug)]
pub struct Layer {
    pub input_norm: Norm,
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub o: Linear,
    pub head_norms: Option<(Norm, Norm)>,
    pub mlp_norm: Norm,
    pub gate: Linear,
    pub up: Linear,
    pub down: Linear,
    pub heads: Heads,
}

/// What a layer's backward needs of its forward.
#[derive(Debug)]
pub struct Saved {
    x: Tensor,
    normed: Tensor,
    inverse: Tensor,
    /// Queries and keys before their norms, and 1 / rms, where they have norms.
    unnormed: Option<[Tensor; 4]>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attended: Tensor,
    sums: Tensor,
    middle: Tensor,
    mlp_normed: Tensor,
    mlp_inverse: Tensor,
    gate: Tensor,
    up: Tensor,
    gated: Tensor,
}

impl Layer {
    pub fn linears_mut(&mut self) -> [(&'static str, &mut Linear); 7] {
        [
            ("self_attn.q_proj", &mut self.q),
            ("self_attn.k_proj", &mut self.k),
            ("self_attn.v_proj", &mut self.v),
            ("self_attn.o_proj", &mut self.o),
            ("mlp.gate_proj", &mut self.gate),
            ("mlp.up_proj", &mut self.up),
            ("mlp.down_proj", &mut self.down),
        ]
    }

    pub fn linears(&self) -> [(&'static str, &Linear); 7] {
        [
            ("self_attn.q_proj", &self.q),
            ("self_attn.k_proj", &self.k),
            ("self_attn.v_proj", &self.v),
            ("self_attn.o_proj", &self.o),
            ("mlp.gate_proj", &self.gate),
            ("mlp.up_proj", &self.up),
            ("mlp.down_proj", &self.down),
        ]
    }

    pub fn norms(&self) -> Vec<&Norm> {
        let head_norms = self.head_norms.iter().flat_map(|(q, k)| [q, k]);
        [&self.input_norm, &self.mlp_norm].into_iter().chain(head_norms).collect()
    }

    pub fn norms_mut(&mut self) -> Vec<&mut Norm> {
        let head_norms = self.head_norms.iter_mut().flat_map(|(q, k)| [q, k]);
        [&mut self.input_norm, &mut self.mlp_norm].into_iter().chain(head_norms).collect()
    }

    pub fn forward(&self, x: &Tensor, packing: &Packing) -> Result<(Tensor, Saved)> {
        let (normed, inverse) = self.input_norm.forward(x)?;
        let (mut q, mut k, v) = (self.q.forward(&normed)?, self.k.forward(&normed)?, self.v.forward(&normed)?);
        let mut unnormed = None;
        if let Some((q_norm, k_norm)) = &self.head_norms {
            let ((q_normed, q_inverse), (k_normed, k_inverse)) = (q_norm.forward(&q)?, k_norm.forward(&k)?);
            unnormed = Some([q, q_inverse, k, k_inverse]);
            (q, k) = (q_normed, k_normed);
        }
        let (q, k) = (ops::rope(&q, &packing.rotation, false)?, ops::rope(&k, &packing.rotation, false)?);
        let (attended, sums) = attention(&q, &k, &v, self.heads, &packing.sequences)?;
        let middle = ops::add(self.o.forward(&attended)?, x)?;
        let (mlp_normed, mlp_inverse) = self.mlp_norm.forward(&middle)?;
        let (gate, up) = (self.gate.forward(&mlp_normed)?, self.up.forward(&mlp_normed)?);
        let gated = ops::swiglu(&gate, &up)?;
        let y = ops::add(self.down.forward(&gated)?, &middle)?;
        let x = x.clone();
        let saved = Saved {
            x,
            normed,
            inverse,
            unnormed,
            q,
            k,
            v,
            attended,
            sums,
            middle,
            mlp_normed,
            mlp_inverse,
            gate,
            up,
            gated,
        };
        Ok((y, saved))
    }

    /// [`Layer::forward`] without anything kept: each part is dropped as soon as it was read, and the MLP goes over
    /// `chunk` tokens at a time.
    pub fn infer(&self, x: Tensor, packing: &Packing, chunk: usize) -> Result<Tensor> {
        let attended = {
            let (normed, _) = self.input_norm.forward(&x)?;
            let v = self.v.forward(&normed)?;
            let mut k = self.k.forward(&normed)?;
            let mut q = self.q.forward(&normed)?;
            drop(normed);
            if let Some((q_norm, k_norm)) = &self.head_norms {
                (q, k) = (q_norm.forward(&q)?.0, k_norm.forward(&k)?.0);
            }
            (q, k) = (ops::rope(&q, &packing.rotation, false)?, ops::rope(&k, &packing.rotation, false)?);
            attention(&q, &k, &v, self.heads, &packing.sequences)?.0
        };
        let middle = ops::add(self.o.forward(&attended)?, &x)?;
        drop((attended, x));
        let tokens = middle.dim(0)?;
        let mut parts = Vec::with_capacity(tokens.div_ceil(chunk));
        for start in (0..tokens).step_by(chunk) {
            let middle = middle.narrow(0, start, chunk.min(tokens - start))?;
            let (normed, _) = self.mlp_norm.forward(&middle)?;
            let gated = ops::swiglu(&self.gate.forward(&normed)?, &self.up.forward(&normed)?)?;
            parts.push(ops::add(self.down.forward(&gated)?, &middle)?);
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Tensor::cat(&parts, 0),
        }
    }

    /// Gradient in the layer's input.
    pub fn backward(&self, saved: Saved, dy: Tensor, packing: &Packing, gradients: &mut Gradients) -> Result<Tensor> {
        let s = saved;
        let dgated = self.down.backward(&s.gated, &dy, None, gradients)?;
        let (dgate, dup) = ops::swiglu_backward(&s.gate, &s.up, &dgated)?;
        let dnormed = self.gate.backward(&s.mlp_normed, &dgate, None, gradients)?;
        let dnormed = self.up.backward(&s.mlp_normed, &dup, Some(dnormed), gradients)?;
        let dmiddle = ops::add(self.mlp_norm.backward(&s.middle, &s.mlp_inverse, &dnormed, gradients)?, &dy)?;

        let dattended = self.o.backward(&s.attended, &dmiddle, None, gradients)?;
        let (dq, dk, dv) =
            attention_backward(&s.q, &s.k, &s.v, &s.attended, &s.sums, &dattended, self.heads, &packing.sequences)?;
        let (mut dq, mut dk) = (ops::rope(&dq, &packing.rotation, true)?, ops::rope(&dk, &packing.rotation, true)?);
        if let (Some((q_norm, k_norm)), Some([q, q_inverse, k, k_inverse])) = (&self.head_norms, &s.unnormed) {
            dq = q_norm.backward(q, q_inverse, &dq, gradients)?;
            dk = k_norm.backward(k, k_inverse, &dk, gradients)?;
        }
        let dnormed = self.q.backward(&s.normed, &dq, None, gradients)?;
        let dnormed = self.k.backward(&s.normed, &dk, Some(dnormed), gradients)?;
        let dnormed = self.v.backward(&s.normed, &dv, Some(dnormed), gradients)?;
        ops::add(self.input_norm.backward(&s.x, &s.inverse, &dnormed, gradients)?, &dmiddle)
    }
}

/// The angles for positions below `length`.
pub fn rotation_tables(config: &ModelConfig, length: usize, like: &Tensor) -> Result<(Tensor, Tensor)> {
    let frequencies = config.frequencies();
    let angles = || (0..length).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
    let shape = (length, frequencies.len());
    let table = |values: Vec<f32>| Tensor::from_vec(values, shape, like.device());
    Ok((table(angles().map(f32::cos).collect())?, table(angles().map(f32::sin).collect())?))
}
