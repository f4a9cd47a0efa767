//! What a model is: sizes and switches from `config.json` (both generations) or from a GGUF file's metadata.
//!
//! Owns the complaint about models that are not understood. What can't be computed exactly is refused: a model that is
//! nearly right gives log-probs that are quietly wrong.

use std::path::Path;

use candle_core::quantized::gguf_file;
use serde_json::{Map, Value, json};

use super::error::PolicyError;

/// Families of models: they differ in biases and in the norms of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    Qwen2,
    Qwen3,
    Llama,
}

impl Architecture {
    fn parse(model_type: &str) -> Option<Self> {
        match model_type {
            "qwen2" => Some(Architecture::Qwen2),
            "qwen3" => Some(Architecture::Qwen3),
            "llama" | "mistral" => Some(Architecture::Llama),
            _ => None,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Architecture::Qwen2 => "Qwen2ForCausalLM",
            Architecture::Qwen3 => "Qwen3ForCausalLM",
            Architecture::Llama => "LlamaForCausalLM",
        }
    }

    fn model_type(self) -> &'static str {
        match self {
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
            Architecture::Llama => "llama",
        }
    }
}

/// How angles of the rotary embedding are stretched for long contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Positions divided by a factor.
    Linear(f64),
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original_positions: f64,
    },
}

/// Sizes and switches of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    pub architecture: Architecture,
    pub vocabulary: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub key_heads: usize,
    pub head_width: usize,
    pub norm_eps: f64,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    /// Longest sequence that the model was made for.
    pub positions: usize,
    /// The head shares the embedding's weights.
    pub is_tied: bool,
    /// Biases of the projections to queries, keys and values; of attention's output; of the MLP.
    pub qkv_bias: bool,
    pub output_bias: bool,
    pub mlp_bias: bool,
    /// Queries and keys have norms of their own.
    pub has_head_norms: bool,
}

impl ModelConfig {
    /// From the text of `config.json`; `path` is for complaints.
    pub fn from_json(text: &str, path: &Path) -> Result<Self, PolicyError> {
        let refuse = |detail: String| PolicyError::Config { path: path.to_owned(), detail };
        let fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| refuse(format!("it is not a JSON object: {error}")))?;
        let model_type = fields.get("model_type").and_then(Value::as_str).unwrap_or("nothing");
        let architecture = Architecture::parse(model_type).ok_or_else(|| PolicyError::Architecture {
            path: path.to_owned(),
            found: model_type.chars().take(60).collect(),
        })?;
        let size = |name: &str| match fields.get(name).and_then(Value::as_u64) {
            Some(n @ 1..=0xffff_ffff) => Ok(n as usize),
            _ => Err(refuse(format!("`{name}` is {}, expected a size", shown(fields.get(name))))),
        };
        let flag = |name: &str, default| fields.get(name).and_then(Value::as_bool).unwrap_or(default);
        let (hidden, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let optional = |name: &str, default: usize| match fields.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(_) => size(name),
        };
        match fields.get("hidden_act").and_then(Value::as_str) {
            None | Some("silu" | "swish") => {}
            Some(other) => return Err(refuse(format!("`hidden_act` is `{other}`, expected `silu`"))),
        }
        let windowed = flag("use_sliding_window", model_type == "mistral")
            && fields.get("sliding_window").is_some_and(|w| !w.is_null());
        let layer_types = fields.get("layer_types").and_then(Value::as_array);
        if windowed || layer_types.is_some_and(|types| types.iter().any(|t| t != "full_attention")) {
            return Err(refuse("it has sliding-window attention, which is not supported".to_owned()));
        }
        let attention_bias = flag("attention_bias", false);
        let (rope_theta, rope_scaling) = rope(&fields).map_err(refuse)?;
        let config = ModelConfig {
            architecture,
            vocabulary: size("vocab_size")?,
            hidden,
            intermediate: size("intermediate_size")?,
            layers: size("num_hidden_layers")?,
            heads,
            key_heads: optional("num_key_value_heads", heads)?,
            head_width: optional("head_dim", hidden / heads)?,
            norm_eps: fields.get("rms_norm_eps").and_then(Value::as_f64).unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            positions: size("max_position_embeddings")?,
            is_tied: flag("tie_word_embeddings", false),
            qkv_bias: architecture == Architecture::Qwen2 || attention_bias,
            output_bias: architecture != Architecture::Qwen2 && attention_bias,
            mlp_bias: architecture == Architecture::Llama && flag("mlp_bias", false),
            has_head_norms: architecture == Architecture::Qwen3,
        };
        config.checked(path)
    }

    /// From the metadata of a GGUF file.
    pub fn from_gguf(content: &gguf_file::Content, path: &Path) -> Result<Self, PolicyError> {
        let refuse = |detail: String| PolicyError::Config { path: path.to_owned(), detail };
        let kind = content.metadata.get("general.architecture").and_then(|v| v.to_string().ok());
        let kind = kind.map_or("nothing", String::as_str);
        let architecture = Architecture::parse(kind).ok_or_else(|| PolicyError::Architecture {
            path: path.to_owned(),
            found: kind.chars().take(60).collect(),
        })?;
        let get = |name: &str| content.metadata.get(&format!("{kind}.{name}"));
        let missing = |name: &str| refuse(format!("`{kind}.{name}` is missing or no number"));
        let size = |name: &str| match get(name).and_then(|v| v.to_u32().ok()) {
            Some(n @ 1..) => Ok(n as usize),
            _ => Err(missing(name)),
        };
        let number = |name: &str| get(name).and_then(|v| v.to_f32().ok()).map(f64::from);
        let scaling = get("rope.scaling.type").and_then(|v| v.to_string().ok()).map(String::as_str);
        if !matches!(scaling, None | Some("none")) || content.tensor_infos.contains_key("rope_freqs.weight") {
            return Err(refuse("its rotary embedding is scaled, which is not supported in GGUF".to_owned()));
        }
        let (hidden, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let embedding = content.tensor_infos.get("token_embd.weight").map(|t| t.shape.dims().to_vec());
        let vocabulary = embedding.and_then(|dims| dims.first().copied());
        let has_bias = |name: &str| content.tensor_infos.contains_key(&format!("blk.0.{name}.bias"));
        let config = ModelConfig {
            architecture,
            vocabulary: vocabulary.ok_or_else(|| refuse("there is no tensor `token_embd.weight`".to_owned()))?,
            hidden,
            intermediate: size("feed_forward_length")?,
            layers: size("block_count")?,
            heads,
            key_heads: if get("attention.head_count_kv").is_some() { size("attention.head_count_kv")? } else { heads },
            head_width: if get("attention.key_length").is_some() {
                size("attention.key_length")?
            } else {
                hidden / heads
            },
            norm_eps: number("attention.layer_norm_rms_epsilon")
                .ok_or_else(|| missing("attention.layer_norm_rms_epsilon"))?,
            rope_theta: number("rope.freq_base").unwrap_or(10_000.0),
            rope_scaling: RopeScaling::None,
            positions: size("context_length")?,
            is_tied: !content.tensor_infos.contains_key("output.weight"),
            qkv_bias: has_bias("attn_q"),
            output_bias: has_bias("attn_output"),
            mlp_bias: has_bias("ffn_up"),
            has_head_norms: architecture == Architecture::Qwen3,
        };
        config.checked(path)
    }

    fn checked(self, path: &Path) -> Result<Self, PolicyError> {
        let ModelConfig { heads, key_heads, head_width, .. } = self;
        if heads % key_heads != 0 || head_width == 0 || head_width % 2 != 0 {
            let detail = format!("{heads} heads of {head_width} entries over {key_heads} heads of keys don't divide");
            return Err(PolicyError::Config { path: path.to_owned(), detail });
        }
        Ok(self)
    }

    /// The `config.json` of this model, for weights that had none (GGUF).
    pub fn to_json(&self) -> Value {
        json!({
            "architectures": [self.architecture.class()],
            "model_type": self.architecture.model_type(),
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "head_dim": self.head_width,
            "hidden_act": "silu",
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "max_position_embeddings": self.positions,
            "tie_word_embeddings": self.is_tied,
            "attention_bias": self.qkv_bias && self.architecture != Architecture::Qwen2,
            "mlp_bias": self.mlp_bias,
            "torch_dtype": "float32",
        })
    }

    /// Angle of position 1 for each pair of entries of a head.
    pub fn frequencies(&self) -> Vec<f32> {
        let half = self.head_width / 2;
        let plain = |k: usize| 1.0 / (self.rope_theta as f32).powf(2.0 * k as f32 / self.head_width as f32);
        let scaled = |f: f32| match self.rope_scaling {
            RopeScaling::None => f,
            RopeScaling::Linear(factor) => f / factor as f32,
            RopeScaling::Llama3 { factor, low, high, original_positions } => {
                let wavelength = 2.0 * std::f64::consts::PI / f64::from(f);
                let smooth = (original_positions / wavelength - low) / (high - low);
                let smooth = smooth.clamp(0.0, 1.0);
                ((1.0 - smooth) * f64::from(f) / factor + smooth * f64::from(f)) as f32
            }
        };
        (0..half).map(|k| scaled(plain(k))).collect()
    }
}

/// Base and scaling of the rotary embedding: at the top (transformers 4) or in `rope_parameters` (transformers 5).
fn rope(fields: &Map<String, Value>) -> Result<(f64, RopeScaling), String> {
    let object = |name: &str| fields.get(name).and_then(Value::as_object);
    let parameters = object("rope_parameters").or_else(|| object("rope_scaling"));
    let number = |name: &str| parameters.and_then(|p| p.get(name)).and_then(Value::as_f64);
    let theta = number("rope_theta").or_else(|| fields.get("rope_theta").and_then(Value::as_f64)).unwrap_or(10_000.0);
    let kind = parameters.and_then(|p| p.get("rope_type").or_else(|| p.get("type"))).and_then(Value::as_str);
    let needed = |name: &str| number(name).ok_or_else(|| format!("`rope_parameters.{name}` is missing"));
    let scaling = match kind {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear(needed("factor")?),
        Some("llama3") => RopeScaling::Llama3 {
            factor: needed("factor")?,
            low: needed("low_freq_factor")?,
            high: needed("high_freq_factor")?,
            original_positions: needed("original_max_position_embeddings")?,
        },
        Some(other) => {
            return Err(format!("its rotary embedding is of type `{other}`, expected default, linear or llama3"));
        }
    };
    Ok((theta, scaling))
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("missing".to_owned(), |v| v.to_string().chars().take(60).collect())
}
