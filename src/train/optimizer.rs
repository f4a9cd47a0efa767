//! AdamW, the clip of the gradient's norm and the schedule of the learning rate.
//!
//! Owns the moments, which can be saved and put back bit for bit. Formulas and their order are PyTorch's (`AdamW`,
//! arXiv 1711.05101; `clip_grad_norm_`). Sums run in the order of names, so that a norm never depends on a hash.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use crate::policy::layers::{Gradients, Parameter};
use crate::policy::ops::{self, Result};

/// PyTorch's, added to the denominator.
const EPS: f64 = 1e-8;
/// PyTorch's, added to the norm that gradients are clipped by.
const CLIP_EPS: f64 = 1e-6;

/// Settings of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    pub learning_rate: f64,
    pub betas: (f64, f64),
    pub weight_decay: f64,
    /// Largest norm of all gradients together; 0: no limit.
    pub clip_norm: f64,
    /// Updates over which the learning rate rises from zero to its full value.
    pub warmup: u64,
}

impl AdamConfig {
    /// The learning rate of an update, counted from 1: linear warm-up, then constant.
    pub fn rate_at(&self, update: u64) -> f64 {
        match self.warmup {
            0 => self.learning_rate,
            warmup => self.learning_rate * (update as f64 / warmup as f64).min(1.0),
        }
    }
}

/// First and second moment of a parameter, and its float32 value where the model computes in another type.
#[derive(Debug)]
struct Moments {
    first: Tensor,
    second: Tensor,
    master: Option<Tensor>,
}

/// AdamW over named parameters.
#[derive(Debug, Default)]
pub struct AdamW {
    moments: BTreeMap<String, Moments>,
}

/// The norm of all gradients together, in float64.
pub fn norm(gradients: &Gradients) -> Result<f64> {
    let mut total = 0.0;
    for (_, gradient) in gradients.iter() {
        total += ops::sum_of_squares(gradient)?;
    }
    Ok(total.sqrt())
}

impl AdamW {
    /// Changes the parameters in place; `update` counts from 1 and `norm` is that of the gradients.
    pub fn update(
        &mut self,
        config: &AdamConfig,
        update: u64,
        parameters: &[&Parameter],
        gradients: &Gradients,
        norm: f64,
    ) -> Result<()> {
        let clip = match config.clip_norm > 0.0 {
            true => (config.clip_norm / (norm + CLIP_EPS)).min(1.0),
            false => 1.0,
        };
        for parameter in parameters {
            if let Some(gradient) = gradients.get(&parameter.name) {
                self.update_one(config, update, parameter, gradient, clip)?;
            }
        }
        Ok(())
    }

    fn update_one(
        &mut self,
        config: &AdamConfig,
        update: u64,
        parameter: &Parameter,
        gradient: &Tensor,
        clip: f64,
    ) -> Result<()> {
        let Moments { first, second, master } = self.moments_of(parameter)?;
        let (beta1, beta2) = config.betas;
        let rate = config.rate_at(update);
        let correction1 = 1.0 - beta1.powf(update as f64);
        let correction2 = (1.0 - beta2.powf(update as f64)).sqrt();
        let (decay, step) = (1.0 - rate * config.weight_decay, rate / correction1);
        if !ops::is_fused(gradient) || !ops::is_fused(&parameter.value) {
            let gradient = (gradient * clip)?;
            *first = ((&*first * beta1)? + (&gradient * (1.0 - beta1))?)?;
            *second = ((&*second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let divisor = ((second.sqrt()? / correction2)? + EPS)?;
            let value = master.as_ref().unwrap_or(&parameter.value);
            let value = ((value * decay)? - ((&*first / divisor)? * step)?)?;
            // The model shares the storage: it is written over, never replaced.
            parameter.value.slice_set(&value.to_dtype(parameter.value.dtype())?.contiguous()?, 0, 0)?;
            if let Some(master) = master {
                *master = value;
            }
            return Ok(());
        }
        let (beta1, beta2, clip) = (beta1 as f32, beta2 as f32, clip as f32);
        ops::update(first, [gradient], |m, [g]| {
            ops::zip_in_place(m, [g], |m, [g]| m + (g * clip - m) * (1.0 - beta1));
        })?;
        ops::update(second, [gradient], |v, [g]| {
            ops::zip_in_place(v, [g], |v, [g]| v * beta2 + (1.0 - beta2) * (g * clip) * (g * clip));
        })?;
        let (decay, step, correction2, eps) = (decay as f32, step as f32, correction2 as f32, EPS as f32);
        ops::update(&parameter.value, [first, second], |p, [m, v]| {
            ops::zip_in_place(p, [m, v], |p, [m, v]| p * decay - step * m / (v.sqrt() / correction2 + eps));
        })
    }

    fn moments_of(&mut self, parameter: &Parameter) -> Result<&mut Moments> {
        if !self.moments.contains_key(&parameter.name) {
            let value = &parameter.value;
            let zero = || Tensor::zeros(value.shape(), DType::F32, value.device());
            let master = (value.dtype() != DType::F32).then(|| value.to_dtype(DType::F32)).transpose()?;
            let moments = Moments { first: zero()?, second: zero()?, master };
            self.moments.insert(parameter.name.clone(), moments);
        }
        match self.moments.get_mut(&parameter.name) {
            Some(moments) => Ok(moments),
            None => candle_core::bail!("no moments of `{}`", parameter.name),
        }
    }

    /// Everything that the next update depends on, by name.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let parts = |(name, m): (&String, &Moments)| {
            let master = m.master.iter().map(|t| (format!("{name}.master"), t.clone()));
            let moments = [(format!("{name}.first"), m.first.clone()), (format!("{name}.second"), m.second.clone())];
            moments.into_iter().chain(master).collect::<Vec<_>>()
        };
        self.moments.iter().flat_map(parts).collect()
    }

    /// Puts back what [`AdamW::state`] gave; `take` finds a tensor by its name and the parameter that it belongs to.
    pub fn restore<E: From<candle_core::Error>>(
        &mut self,
        parameters: &[&Parameter],
        take: impl Fn(&str, &Parameter) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<(), E> {
        for parameter in parameters {
            let part = |kind: &str| take(&format!("{}.{kind}", parameter.name), parameter);
            let master = (parameter.value.dtype() != DType::F32).then(|| part("master")).transpose()?;
            let moments = Moments { first: part("first")?, second: part("second")?, master };
            self.moments.insert(parameter.name.clone(), moments);
        }
        Ok(())
    }
}
