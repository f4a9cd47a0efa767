//! Low-rank adapters in the form of PEFT: made from a seed, or read from its folder.
//!
//! Owns the adapter's configuration and the names of its tensors. What PEFT can do beyond plain LoRA on projections is
//! refused by name, since an adapter that is half understood would train something else.

use std::path::Path;

use candle_core::{DType, Tensor};
use serde_json::{Value, json};

use super::layers::{Lora, Parameter};
use super::weights::Weights;
use super::{Policy, PolicyError};

/// Projections that an adapter may have; PEFT's `all-linear` on these families.
pub const TARGETS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Rank, scale and place of an adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    pub rank: usize,
    pub alpha: f64,
    /// Scale by alpha / sqrt(rank) in place of alpha / rank (rsLoRA).
    pub is_rank_stabilised: bool,
    pub targets: Vec<String>,
}

impl LoraConfig {
    fn scale(&self) -> f64 {
        match self.is_rank_stabilised {
            true => self.alpha / (self.rank as f64).sqrt(),
            false => self.alpha / self.rank as f64,
        }
    }

    /// `adapter_config.json` as PEFT reads it.
    pub fn to_json(&self, base: &str) -> Value {
        json!({
            "base_model_name_or_path": base,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": if self.alpha.fract() == 0.0 { json!(self.alpha as i64) } else { json!(self.alpha) },
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": self.targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.is_rank_stabilised,
        })
    }

    /// From `adapter_config.json`.
    fn from_json(text: &str, path: &Path) -> Result<Self, PolicyError> {
        let refuse = |detail: String| PolicyError::Adapter { path: path.to_owned(), detail };
        let fields: serde_json::Map<String, Value> =
            serde_json::from_str(text).map_err(|e| refuse(format!("it is not a JSON object: {e}")))?;
        let is_set = |name: &str| match fields.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(items)) => !items.is_empty(),
            Some(_) => true,
        };
        let kind = fields.get("peft_type").and_then(Value::as_str).unwrap_or("nothing");
        if kind != "LORA" {
            return Err(refuse(format!("`peft_type` is `{}`, expected `LORA`", kind.escape_debug())));
        }
        const REFUSED: [&str; 9] = [
            "use_dora",
            "fan_in_fan_out",
            "modules_to_save",
            "rank_pattern",
            "alpha_pattern",
            "layers_to_transform",
            "target_parameters",
            "trainable_token_indices",
            "lora_bias",
        ];
        if let Some(name) = REFUSED.into_iter().find(|name| is_set(name)) {
            return Err(refuse(format!("`{name}` is set, which is not supported")));
        }
        if fields.get("bias").and_then(Value::as_str).is_some_and(|b| b != "none") {
            return Err(refuse("`bias` is not `none`, which is not supported".to_owned()));
        }
        let rank = fields.get("r").and_then(Value::as_u64).filter(|r| (1..=65_536).contains(r));
        let alpha = fields.get("lora_alpha").and_then(Value::as_f64);
        let targets: Option<Vec<String>> = match fields.get("target_modules") {
            Some(Value::String(all)) if all == "all-linear" => Some(TARGETS.map(str::to_owned).to_vec()),
            Some(Value::Array(names)) => names.iter().map(|n| n.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let targets = targets.ok_or_else(|| refuse("`target_modules` is not a list of names".to_owned()))?;
        if let Some(other) = targets.iter().find(|t| !TARGETS.contains(&t.as_str())) {
            let detail = format!("module `{}` can't have one, expected some of {TARGETS:?}", other.escape_debug());
            return Err(refuse(detail));
        }
        Ok(LoraConfig {
            rank: rank.ok_or_else(|| refuse("`r` is not a rank".to_owned()))? as usize,
            alpha: alpha.ok_or_else(|| refuse("`lora_alpha` is not a number".to_owned()))?,
            is_rank_stabilised: fields.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
            targets,
        })
    }
}

/// Name of an adapter's tensor in PEFT's files.
fn tensor_name(layer: usize, projection: &str, half: &str) -> String {
    format!("base_model.model.model.layers.{layer}.{projection}.lora_{half}.weight")
}

impl Policy {
    /// Puts a fresh adapter on the model, as PEFT does: `a` uniform in +-1 / sqrt(in), `b` zero. The numbers follow from
    /// the seed and each tensor's name.
    pub fn add_adapter(&mut self, config: &LoraConfig, seed: u64) -> Result<(), PolicyError> {
        self.adapt(config, |name, shape| {
            let values = match name.contains("lora_A") {
                true => uniform(seed, name, shape[0] * shape[1], 1.0 / (shape[1] as f64).sqrt()),
                false => vec![0.0; shape[0] * shape[1]],
            };
            Ok(Tensor::from_vec(values, (shape[0], shape[1]), &candle_core::Device::Cpu)?)
        })
    }

    /// Puts an adapter that PEFT has written on the model.
    pub fn load_adapter(&mut self, folder: &Path) -> Result<LoraConfig, PolicyError> {
        let path = folder.join("adapter_config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| PolicyError::Read { path: path.clone(), source })?;
        let config = LoraConfig::from_json(&text, &path)?;
        let file = folder.join("adapter_model.safetensors");
        let weights = Weights::of_file(&file)?;
        let model = self.config.clone();
        let mut used = Vec::new();
        self.adapt(&config, |name, shape| {
            used.push(name.to_owned());
            weights.get(name, &shape, &model, DType::F32, &candle_core::Device::Cpu)
        })?;
        if let Some(spare) = weights.names().into_iter().find(|name| !used.contains(name)) {
            let detail = format!("tensor `{}` belongs to no projection that it names", spare.escape_debug());
            return Err(PolicyError::Adapter { path: file, detail });
        }
        Ok(config)
    }

    fn adapt(
        &mut self,
        config: &LoraConfig,
        mut value: impl FnMut(&str, [usize; 2]) -> Result<Tensor, PolicyError>,
    ) -> Result<(), PolicyError> {
        let device = self.device.clone();
        for (k, layer) in self.layers.iter_mut().enumerate() {
            for (projection, linear) in layer.linears_mut() {
                if !config.targets.iter().any(|t| projection.ends_with(t.as_str())) {
                    continue;
                }
                let (rows, columns) = linear.weight.value.dims2()?;
                let mut parameter = |half: &str, shape| {
                    let name = tensor_name(k, projection, half);
                    let value = value(&name, shape)?.to_device(&device)?;
                    Ok::<_, PolicyError>(Parameter { name, value, is_trained: true })
                };
                let (a, b) = (parameter("A", [config.rank, columns])?, parameter("B", [rows, config.rank])?);
                linear.lora = Some(Lora { a, b, scale: config.scale() });
            }
        }
        Ok(())
    }

    /// Adds the adapter to the weights and takes it off.
    pub fn merge_adapter(&mut self) -> Result<(), PolicyError> {
        for layer in &mut self.layers {
            for (_, linear) in layer.linears_mut() {
                if let Some(lora) = linear.lora.take() {
                    let update = (lora.b.value.matmul(&lora.a.value)? * lora.scale)?;
                    let weight = (linear.weight.value.to_dtype(DType::F32)? + update)?;
                    linear.weight.value = weight.to_dtype(linear.weight.value.dtype())?;
                }
            }
        }
        Ok(())
    }

    /// Tensors of the adapter, by PEFT's names.
    pub fn adapter(&self) -> Vec<&Parameter> {
        let loras = self.layers.iter().flat_map(|l| l.linears()).filter_map(|(_, l)| l.lora.as_ref());
        loras.flat_map(|lora| [&lora.a, &lora.b]).collect()
    }
}

/// Numbers in +-bound from a hash of (seed, name): the same whatever is made before or beside them.
fn uniform(seed: u64, name: &str, count: usize, bound: f64) -> Vec<f32> {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).update(name.as_bytes()).finalize_xof();
    let mut bytes = vec![0; count * 4];
    stream.fill(&mut bytes);
    let unit = |b: &[u8]| f64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]) >> 8) / f64::from(1 << 24);
    bytes.chunks_exact(4).map(|b| ((2.0 * unit(b) - 1.0) * bound) as f32).collect()
}
