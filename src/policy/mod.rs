//! The policy: a causal language model whose log-probs can be read and whose parameters can be changed.
//!
//! Owns loading, the pass forward and the pass backward. Text and tokens are [`chat`]'s, adapters [`lora`]'s, saving
//! [`save`]'s, complaints [`error`]'s; what is computed from log-probs is left to `train` and `score`. Gradients are written out by hand beside
//! each operation ([`ops`], [`layers`]): no graph is recorded, so none can end silently.

pub mod chat;
pub mod config;
pub mod device;
pub mod error;
pub mod files;
pub mod layers;
pub mod lora;
pub mod ops;
pub mod sample;
pub mod save;
pub mod sequence;
pub mod weights;

use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use config::ModelConfig;
use layers::{Gradients, Layer, Linear, Norm, Packing, Parameter, Saved};
use ops::Rotation;
use ops::attention::Heads;
use ops::head::{AddWeight, log_probs, log_probs_backward};
use weights::Weights;

pub use error::PolicyError;
pub use ops::head::TokenStats;

/// Tokens of the MLP that are computed at once when nothing is kept.
const MLP_CHUNK: usize = 2048;

/// Sequences to be read by the policy, and the places whose log-probs are wanted.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub ids: Vec<u32>,
    /// Ranges of `ids` that cover all of it in order.
    pub sequences: Vec<Range<usize>>,
    /// Indices into `ids`, ascending, never the first of a sequence.
    pub wanted: Vec<usize>,
}

impl Batch {
    /// Appends a sequence; `wanted` holds for the tokens whose log-probs are wanted.
    pub fn push(&mut self, ids: impl IntoIterator<Item = u32>, wanted: impl IntoIterator<Item = bool>) {
        let start = self.ids.len();
        self.ids.extend(ids);
        self.sequences.push(start..self.ids.len());
        // Nothing predicts the first token.
        self.wanted.extend(wanted.into_iter().enumerate().skip(1).filter(|(_, w)| *w).map(|(k, _)| start + k));
    }
}

/// How a loss depends on log-probs.
pub enum Slope<'a> {
    /// Each token's slope follows from its own log-prob: (index into `wanted`, what the head says).
    Each(&'a (dyn Fn(usize, TokenStats) -> f32 + Sync)),
    /// All log-probs are needed first; costs a second pass of the head.
    Joint(&'a dyn Fn(&[TokenStats]) -> Vec<f32>),
}

/// A causal language model of the Qwen2, Qwen3 or Llama family.
#[derive(Clone, Debug)]
pub struct Policy {
    pub config: ModelConfig,
    /// Where it came from.
    pub source: PathBuf,
    embedding: Parameter,
    layers: Vec<Layer>,
    norm: Norm,
    /// `None`: the embedding's weights.
    head: Option<Parameter>,
    /// Keep each layer's input alone and compute the rest again in the backward.
    pub recomputes: bool,
    device: Device,
    dtype: DType,
}

impl Policy {
    /// Loads a folder in the hub's layout, or a GGUF file. No parameter is trained at first.
    pub fn load(path: &Path, device: &Device, dtype: DType) -> Result<Self, PolicyError> {
        let (config, weights) = if path.is_dir() {
            let config = path.join("config.json");
            if !config.exists() {
                return Err(PolicyError::NoModel { path: path.to_owned() });
            }
            let text = std::fs::read_to_string(&config)
                .map_err(|source| PolicyError::Read { path: config.clone(), source })?;
            (ModelConfig::from_json(&text, &config)?, Weights::of_folder(path)?)
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
            let weights = Weights::of_gguf(path)?;
            let Weights::Gguf { content, .. } = &weights else {
                return Err(PolicyError::NoModel { path: path.to_owned() });
            };
            (ModelConfig::from_gguf(content, path)?, weights)
        } else {
            return Err(PolicyError::NoModel { path: path.to_owned() });
        };
        Self::build(config, path, &weights, device, dtype)
    }

    fn build(
        config: ModelConfig,
        source: &Path,
        weights: &Weights,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, PolicyError> {
        let parameter = |name: String, shape: &[usize]| {
            let value = weights.get(&name, shape, &config, dtype, device)?;
            Ok::<_, PolicyError>(Parameter { name, value, is_trained: false })
        };
        let (hidden, width) = (config.hidden, config.head_width);
        let (q_width, k_width) = (config.heads * width, config.key_heads * width);
        let heads = Heads { queries: config.heads, keys: config.key_heads, width };
        let norm = |name: String, width: usize| {
            Ok::<_, PolicyError>(Norm { weight: parameter(name, &[width])?, eps: config.norm_eps })
        };
        let mut layers = Vec::with_capacity(config.layers.min(1024));
        for k in 0..config.layers {
            let name = |part: &str| format!("model.layers.{k}.{part}");
            let linear = |part: &str, rows: usize, columns: usize, has_bias: bool| {
                Ok::<_, PolicyError>(Linear {
                    weight: parameter(name(&format!("{part}.weight")), &[rows, columns])?,
                    bias: has_bias.then(|| parameter(name(&format!("{part}.bias")), &[rows])).transpose()?,
                    lora: None,
                })
            };
            let head_norm = |part: &str| norm(name(&format!("self_attn.{part}.weight")), width);
            layers.push(Layer {
                input_norm: norm(name("input_layernorm.weight"), hidden)?,
                q: linear("self_attn.q_proj", q_width, hidden, config.qkv_bias)?,
                k: linear("self_attn.k_proj", k_width, hidden, config.qkv_bias)?,
                v: linear("self_attn.v_proj", k_width, hidden, config.qkv_bias)?,
                o: linear("self_attn.o_proj", hidden, q_width, config.output_bias)?,
                head_norms: match config.has_head_norms {
                    true => Some((head_norm("q_norm")?, head_norm("k_norm")?)),
                    false => None,
                },
                mlp_norm: norm(name("post_attention_layernorm.weight"), hidden)?,
                gate: linear("mlp.gate_proj", config.intermediate, hidden, config.mlp_bias)?,
                up: linear("mlp.up_proj", config.intermediate, hidden, config.mlp_bias)?,
                down: linear("mlp.down_proj", hidden, config.intermediate, config.mlp_bias)?,
                heads,
            });
        }
        Ok(Policy {
            embedding: parameter("model.embed_tokens.weight".to_owned(), &[config.vocabulary, hidden])?,
            norm: norm("model.norm.weight".to_owned(), hidden)?,
            head: match config.is_tied {
                true => None,
                false => Some(parameter("lm_head.weight".to_owned(), &[config.vocabulary, hidden])?),
            },
            layers,
            config,
            source: source.to_owned(),
            recomputes: false,
            device: device.clone(),
            dtype,
        })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All parameters of the model itself, adapters left out, in the order of layers.
    pub fn parameters(&self) -> Vec<&Parameter> {
        let mut out = vec![&self.embedding];
        for layer in &self.layers {
            for (_, linear) in layer.linears() {
                out.push(&linear.weight);
                out.extend(&linear.bias);
            }
            out.extend(layer.norms().into_iter().map(|n| &n.weight));
        }
        out.push(&self.norm.weight);
        out.extend(&self.head);
        out
    }

    /// Parameters that are trained, adapters included.
    pub fn trained(&self) -> Vec<&Parameter> {
        let adapters = self.layers.iter().flat_map(|l| l.linears()).filter_map(|(_, l)| l.lora.as_ref());
        let adapters = adapters.flat_map(|lora| [&lora.a, &lora.b]);
        self.parameters().into_iter().chain(adapters).filter(|p| p.is_trained).collect()
    }

    /// Trains every parameter of the model.
    pub fn train_all(&mut self) {
        self.for_each_parameter(&mut |parameter| parameter.is_trained = true);
    }

    /// Puts back the values of all trained parameters.
    pub fn restore(&mut self, weights: &Weights) -> Result<(), PolicyError> {
        let (config, device) = (self.config.clone(), self.device.clone());
        let mut first_error = None;
        self.for_each_parameter(&mut |parameter| {
            if parameter.is_trained && first_error.is_none() {
                let (shape, dtype) = (parameter.value.dims().to_vec(), parameter.value.dtype());
                match weights.get(&parameter.name, &shape, &config, dtype, &device) {
                    Ok(value) => parameter.value = value,
                    Err(error) => first_error = Some(error),
                }
            }
        });
        first_error.map_or(Ok(()), Err)
    }

    fn for_each_parameter(&mut self, f: &mut dyn FnMut(&mut Parameter)) {
        f(&mut self.embedding);
        f(&mut self.norm.weight);
        self.head.iter_mut().for_each(&mut *f);
        for layer in &mut self.layers {
            layer.norms_mut().into_iter().for_each(|n| f(&mut n.weight));
            for (_, linear) in layer.linears_mut() {
                f(&mut linear.weight);
                linear.bias.iter_mut().for_each(&mut *f);
                linear.lora.iter_mut().for_each(|lora| {
                    f(&mut lora.a);
                    f(&mut lora.b);
                });
            }
        }
    }

    /// Whether every trained parameter is a number.
    pub fn is_finite(&self) -> Result<bool, PolicyError> {
        for parameter in self.trained() {
            // A maximum would pass over NaN.
            if !ops::sum_of_squares(&parameter.value.to_dtype(DType::F32)?)?.is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn head_weight(&self) -> &Parameter {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Checks that a sequence can be read: every id in the vocabulary, no more tokens than positions.
    pub fn check(&self, ids: &[u32]) -> Result<(), PolicyError> {
        let vocabulary = self.config.vocabulary;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(PolicyError::Token { id: i64::from(id), vocabulary });
        }
        if ids.len() > self.config.positions {
            return Err(PolicyError::TooLong { length: ids.len(), positions: self.config.positions });
        }
        Ok(())
    }

    fn packing(&self, batch: &Batch) -> Result<Packing, PolicyError> {
        for sequence in &batch.sequences {
            self.check(&batch.ids[sequence.clone()])?;
        }
        let longest = batch.sequences.iter().map(Range::len).max().unwrap_or(0);
        let (cos, sin) = layers::rotation_tables(&self.config, longest, &self.embedding.value)?;
        let positions = batch.sequences.iter().flat_map(|s| 0..s.len() as u32).collect();
        Ok(Packing { sequences: batch.sequences.clone(), rotation: Rotation { cos, sin, positions } })
    }

    fn embedded(&self, batch: &Batch) -> Result<(Tensor, Tensor), PolicyError> {
        let ids = Tensor::new(batch.ids.as_slice(), &self.device)?;
        Ok((self.embedding.value.index_select(&ids, 0)?, ids))
    }

    /// The rows of `hidden` that predict the wanted tokens, and what they should predict.
    fn predictions(&self, batch: &Batch) -> Result<(Tensor, Vec<u32>), PolicyError> {
        let rows: Vec<u32> = batch.wanted.iter().map(|&k| k as u32 - 1).collect();
        let targets = batch.wanted.iter().map(|&k| batch.ids[k]).collect();
        Ok((Tensor::from_vec(rows, batch.wanted.len(), &self.device)?, targets))
    }

    /// `log pi(y_t | y_<t)` and the entropy at each wanted place, temperature 1, float32 from the logits on.
    pub fn log_probs(&self, batch: &Batch) -> Result<Vec<TokenStats>, PolicyError> {
        if batch.wanted.is_empty() {
            return Ok(Vec::new());
        }
        let hidden = self.last_hidden(batch)?;
        let (rows, targets) = self.predictions(batch)?;
        let hidden = hidden.index_select(&rows, 0)?;
        Ok(log_probs(&hidden, &self.head_weight().value, &targets)?)
    }

    /// Logits of every token, (tokens, vocabulary), in float32: for short sequences alone.
    pub fn logits(&self, batch: &Batch) -> Result<Tensor, PolicyError> {
        let hidden = self.last_hidden(batch)?;
        Ok(ops::linear(&hidden, &self.head_weight().value)?.to_dtype(DType::F32)?)
    }

    /// What the head reads, (tokens, hidden); nothing of it is kept for a backward.
    fn last_hidden(&self, batch: &Batch) -> Result<Tensor, PolicyError> {
        let packing = self.packing(batch)?;
        let (mut x, _) = self.embedded(batch)?;
        for layer in &self.layers {
            x = layer.infer(x, &packing, MLP_CHUNK)?;
        }
        Ok(self.norm.forward(&x)?.0)
    }

    /// Log-probs, and the gradients of a loss of them, added to `gradients`.
    pub fn backward(
        &self,
        batch: &Batch,
        slope: Slope<'_>,
        gradients: &mut Gradients,
    ) -> Result<Vec<TokenStats>, PolicyError> {
        if batch.wanted.is_empty() {
            return Ok(Vec::new());
        }
        let packing = self.packing(batch)?;
        let (mut x, ids) = self.embedded(batch)?;
        let mut kept: Vec<(Tensor, Option<Saved>)> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            if self.recomputes {
                let y = layer.infer(x.clone(), &packing, MLP_CHUNK)?;
                kept.push((x, None));
                x = y;
            } else {
                let (y, saved) = layer.forward(&x, &packing)?;
                kept.push((x, Some(saved)));
                x = y;
            }
        }
        let (hidden, inverse) = self.norm.forward(&x)?;
        let (stats, dhidden) = self.head_backward(batch, &hidden, slope, gradients)?;
        let mut dx = self.norm.backward(&x, &inverse, &dhidden, gradients)?;
        drop((hidden, dhidden, x));
        for (layer, (x, saved)) in self.layers.iter().zip(kept).rev() {
            let saved = match saved {
                Some(saved) => saved,
                None => layer.forward(&x, &packing)?.1,
            };
            dx = layer.backward(saved, dx, &packing, gradients)?;
        }
        if self.embedding.is_trained {
            let total = match gradients.get(&self.embedding.name) {
                Some(total) => total.clone(),
                None => self.embedding.value.zeros_like()?.to_dtype(DType::F32)?,
            };
            gradients.set(&self.embedding, ops::add_at_rows(total, &ids, &batch.ids, &dx.to_dtype(DType::F32)?)?);
        }
        Ok(stats)
    }

    /// Gradient in `hidden`, zero where nothing is predicted.
    fn head_backward(
        &self,
        batch: &Batch,
        hidden: &Tensor,
        slope: Slope<'_>,
        gradients: &mut Gradients,
    ) -> Result<(Vec<TokenStats>, Tensor), PolicyError> {
        let (rows, targets) = self.predictions(batch)?;
        let (predicting, head) = (hidden.index_select(&rows, 0)?, self.head_weight());
        let joint;
        let constant;
        let slope: &(dyn Fn(usize, TokenStats) -> f32 + Sync) = match slope {
            Slope::Each(slope) => slope,
            Slope::Joint(slopes) => {
                joint = slopes(&log_probs(&predicting, &head.value, &targets)?);
                constant = |k: usize, _| joint[k];
                &constant
            }
        };
        let mut add = |scores: &Tensor, hidden: &Tensor| gradients.add_outer(head, scores, hidden, 1.0);
        let add_weight: Option<AddWeight<'_>> = if head.is_trained { Some(&mut add) } else { None };
        let (stats, dpredicting) = log_probs_backward(&predicting, &head.value, &targets, slope, add_weight)?;
        let indices: Vec<u32> = batch.wanted.iter().map(|&k| k as u32 - 1).collect();
        let dhidden = ops::add_at_rows(hidden.zeros_like()?, &rows, &indices, &dpredicting)?;
        Ok((stats, dhidden))
    }
}
