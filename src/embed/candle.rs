//! The candle engine: the BERT family (MiniLM, bge, gte) from safetensors, on the CPU and on CUDA, in float32 or float16.
//!
//! The encoder is candle-transformers'. The embeddings below it and the mask are ours: its own entry multiplies the mask by
//! the least float32, which is minus infinity in float16, and every vector would be no number. With texts of one length
//! there is nothing to mask.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Embedding as Table, LayerNorm, Module, VarBuilder, embedding, layer_norm};
use candle_transformers::models::bert::{BertEncoder, Config};

use super::folder::{ModelFolder, Pooling};
use super::{EmbedError, Embedder, Embedding, ModelCard, TextLength};
use crate::device;
use crate::options::{DEFAULT_EMBED_BATCH_TOKENS, DeviceChoice, EmbedPrecision};

pub(super) struct CandleEngine {
    folder: ModelFolder,
    words: Table,
    positions: Table,
    /// The row of token type 0: a text is never one of a pair. Shape (width).
    token_type: Tensor,
    norm: LayerNorm,
    encoder: BertEncoder,
    device: Device,
    card: ModelCard,
}

impl CandleEngine {
    pub(super) fn load(
        folder: ModelFolder,
        path: &Path,
        name: &str,
        device: DeviceChoice,
        precision: EmbedPrecision,
    ) -> Result<Self, EmbedError> {
        let device = device::place(device).map_err(|detail| EmbedError::Device { device: "cuda", detail })?;
        let dtype = match precision {
            EmbedPrecision::Float32 => DType::F32,
            EmbedPrecision::Float16 => DType::F16,
            EmbedPrecision::Auto if device.is_cpu() => DType::F32,
            EmbedPrecision::Auto => DType::F16,
        };
        let config = read_config(&folder)?;
        let bytes = std::fs::read(path).map_err(|source| EmbedError::Read { path: path.to_owned(), source })?;
        let unusable = |e: candle_core::Error| EmbedError::Weights { path: path.to_owned(), detail: first_line(&e) };
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(unusable)?;
        // Checkpoints of a head on top have the model below a name of its own.
        let prefix = ["", "bert.", "roberta."]
            .into_iter()
            .find(|prefix| tensors.contains_key(&format!("{prefix}embeddings.word_embeddings.weight")));
        let Some(prefix) = prefix else {
            let detail = "it has no tensor `embeddings.word_embeddings.weight`".to_owned();
            return Err(EmbedError::Weights { path: path.to_owned(), detail });
        };
        let beyond = format!("{prefix}encoder.layer.{}.", config.num_hidden_layers);
        if let Some(name) = tensors.keys().filter(|name| name.starts_with(&beyond)).min() {
            let detail = format!(
                "it has a tensor `{}`, config.json says `num_hidden_layers` is {}",
                name.escape_debug(),
                config.num_hidden_layers
            );
            return Err(EmbedError::Weights { path: path.to_owned(), detail });
        }
        let tensors = if device.is_cpu() { by_input(tensors).map_err(unusable)? } else { tensors };
        let root = VarBuilder::from_tensors(tensors, dtype, &device);
        let root = if prefix.is_empty() { root } else { root.pp(prefix.trim_end_matches('.')) };
        let build = || -> candle_core::Result<_> {
            let at = root.pp("embeddings");
            let width = config.hidden_size;
            let types = at.get((config.type_vocab_size, width), "token_type_embeddings.weight")?;
            Ok((
                embedding(config.vocab_size, width, at.pp("word_embeddings"))?,
                embedding(config.max_position_embeddings, width, at.pp("position_embeddings"))?,
                types.get(0)?,
                layer_norm(width, config.layer_norm_eps, at.pp("LayerNorm"))?,
                BertEncoder::load(root.pp("encoder"), &config)?,
            ))
        };
        let (words, positions, token_type, norm, encoder) = build().map_err(unusable)?;
        let card = ModelCard {
            name: name.to_owned(),
            weights: blake3::hash(&bytes).to_hex().to_string(),
            config: format!(
                "{} layers, {} heads, {:?}, epsilon {:e}",
                config.num_hidden_layers, config.num_attention_heads, config.hidden_act, config.layer_norm_eps
            ),
            tokenizer: folder.tokenizer_hash.clone(),
            engine: "candle".to_owned(),
            precision: if dtype == DType::F16 { "float16" } else { "float32" }.to_owned(),
            device: if device.is_cpu() { "cpu" } else { "cuda" }.to_owned(),
            pooling: folder.pooling.name().to_owned(),
            normalised: folder.normalises,
            max_tokens: folder.max_tokens,
            dimension: config.hidden_size,
        };
        Ok(CandleEngine { folder, words, positions, token_type, norm, encoder, device, card })
    }

    /// Ids of shape (texts, tokens) to vectors of shape (texts, width), in float32.
    fn forward(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        let (_, tokens) = ids.dims2()?;
        let positions = self.positions.forward(&Tensor::arange(0u32, tokens as u32, &self.device)?)?;
        let hidden = self.words.forward(ids)?.broadcast_add(&positions)?.broadcast_add(&self.token_type)?;
        let hidden = self.norm.forward(&hidden)?;
        let no_mask = Tensor::zeros((1, 1, 1, tokens), hidden.dtype(), &self.device)?;
        let hidden = self.encoder.forward(&hidden, &no_mask)?.to_dtype(DType::F32)?;
        match self.folder.pooling {
            Pooling::Mean => hidden.mean(1),
            Pooling::Cls => hidden.narrow(1, 0, 1)?.squeeze(1),
        }
    }
}

impl Embedder for CandleEngine {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn batch_tokens(&self) -> usize {
        DEFAULT_EMBED_BATCH_TOKENS * if self.device.is_cpu() { 1 } else { 16 }
    }

    fn lengths(&self, texts: &[&str]) -> Result<Vec<TextLength>, EmbedError> {
        self.folder.lengths(texts)
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let encoded = self.folder.tokenizer.encode_batch_fast(texts.to_vec(), true).map_err(|e| {
            EmbedError::Compute { path: self.folder.path.clone(), detail: format!("the tokenizer: {e}") }
        })?;
        let ids: Vec<&[u32]> = encoded.iter().map(|e| e.get_ids()).collect();
        let run = || -> candle_core::Result<Vec<Vec<f32>>> {
            let shape = (ids.len(), ids.first().map_or(0, |ids| ids.len()));
            let pooled = self.forward(&Tensor::from_vec(ids.concat(), shape, &self.device)?)?;
            pooled.contiguous()?.to_device(&Device::Cpu)?.to_vec2()
        };
        let vectors = run().map_err(|e| classified(&e, &self.folder.path))?;
        self.folder.finished(vectors, texts)
    }
}

/// Lays the weights of products out with their inputs as rows.
///
/// As stored, a product of few rows is a row of dot products, which sums in another order than one of many: a text's bits
/// would depend on the texts beside it.
fn by_input(mut tensors: HashMap<String, Tensor>) -> candle_core::Result<HashMap<String, Tensor>> {
    for (name, tensor) in &mut tensors {
        if tensor.rank() == 2 && name.ends_with(".weight") && !name.contains("embeddings.") {
            *tensor = tensor.t()?.contiguous()?.t()?;
        }
    }
    Ok(tensors)
}

/// The model's config, held to what the encoder computes.
fn read_config(folder: &ModelFolder) -> Result<Config, EmbedError> {
    let path = folder.path.join("config.json");
    let refuse = |detail: String| EmbedError::Config { path: path.clone(), detail };
    let config = &folder.config;
    if config.is_null() {
        return Err(refuse("it is missing".to_owned()));
    }
    let stated = config["model_type"].as_str().unwrap_or("bert");
    if stated != "bert" {
        return Err(refuse(format!(
            "the candle engine computes models of type bert, found `{}`",
            stated.escape_debug()
        )));
    }
    let positions = config["position_embedding_type"].as_str().unwrap_or("absolute");
    if positions != "absolute" {
        return Err(refuse(format!("position_embedding_type is `{}`, expected absolute", positions.escape_debug())));
    }
    // Exports leave out what doesn't matter after training; candle's reader wants it all.
    let mut filled = serde_json::json!({
        "hidden_dropout_prob": 0.0, "initializer_range": 0.02, "pad_token_id": 0, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    });
    if let (Some(filled), Some(config)) = (filled.as_object_mut(), config.as_object()) {
        filled.extend(config.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
    }
    let config: Config = serde_json::from_value(filled).map_err(|e| refuse(e.to_string()))?;
    match config.num_attention_heads {
        0 => Err(refuse("it has no attention heads".to_owned())),
        heads if !config.hidden_size.is_multiple_of(heads) => {
            Err(refuse(format!("{heads} heads don't divide the width {}", config.hidden_size)))
        }
        _ => Ok(config),
    }
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn classified(error: &candle_core::Error, path: &Path) -> EmbedError {
    let text = error.to_string();
    let detail = first_line(error);
    match ["OUT_OF_MEMORY", "out of memory"].iter().any(|word| text.contains(word)) {
        true => EmbedError::Memory { detail },
        false => EmbedError::Compute { path: path.to_owned(), detail },
    }
}
