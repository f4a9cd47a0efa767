//! A folder that holds an embedding model: which files there are, and what they say about pooling, limit and pad.
//!
//! Owns the conventions of transformers and sentence-transformers (`config.json`, `modules.json`,
//! `sentence_bert_config.json`, `1_Pooling/config.json`) and of ONNX exports (`model.onnx`, `onnx/model.onnx`). Only what is
//! there is believed; options override it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{Tokenizer, TruncationParams};

use super::{EmbedError, Embedding, TextLength};
use crate::options::{EmbedModel, PoolingChoice};

/// Where exports put the graph, in the order in which it is looked for.
const ONNX_FILES: [&str; 2] = ["model.onnx", "onnx/model.onnx"];
const SAFETENSORS: &str = "model.safetensors";
/// The limit of BERT, where nothing says otherwise.
const DEFAULT_MAX_TOKENS: usize = 512;
const PROBE: &str = "a \u{1f980}";
/// Libraries write 1e30 for "no limit".
const NO_LIMIT: f64 = 1e9;

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    /// The first token's.
    Cls,
}

impl Pooling {
    pub(super) fn name(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
        }
    }
}

/// A folder, read.
pub(super) struct ModelFolder {
    pub(super) path: PathBuf,
    pub(super) onnx: Option<PathBuf>,
    pub(super) safetensors: Option<PathBuf>,
    /// `config.json`; null where there is none.
    pub(super) config: Value,
    /// Cuts at the limit, never pads.
    pub(super) tokenizer: Tokenizer,
    /// blake3 of tokenizer.json.
    pub(super) tokenizer_hash: String,
    pub(super) pooling: Pooling,
    /// Whether the folder says how to pool, or an option does.
    pub(super) is_pooling_known: bool,
    pub(super) normalises: bool,
    pub(super) max_tokens: usize,
}

impl ModelFolder {
    /// Vectors of these texts, checked and scaled to length 1, if the model does that.
    pub(super) fn finished(&self, vectors: Vec<Vec<f32>>, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        if vectors.len() != texts.len() {
            let detail = format!("it gave {} vectors for {} texts", vectors.len(), texts.len());
            return Err(EmbedError::Compute { path: self.path.clone(), detail });
        }
        let finish = |(mut vector, text): (Vec<f32>, &&str)| {
            if self.normalises {
                let length = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
                vector.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
            }
            Embedding::new(vector).ok_or_else(|| EmbedError::NoVector {
                path: self.path.clone(),
                tokens: self.lengths(&[text]).ok().and_then(|l| Some(l.first()?.tokens)).unwrap_or_default(),
                head: text.chars().take(40).collect(),
            })
        };
        vectors.into_iter().zip(texts).map(finish).collect()
    }

    pub(super) fn read(path: &Path, options: &EmbedModel) -> Result<Self, EmbedError> {
        let no_model = |detail: String| EmbedError::NoModel { path: path.to_owned(), detail };
        if path.is_file() {
            return Err(no_model("it is a file, expected a folder".to_owned()));
        }
        let onnx = ONNX_FILES.iter().map(|name| path.join(name)).find(|p| p.is_file());
        let safetensors = Some(path.join(SAFETENSORS)).filter(|p| p.is_file());
        if onnx.is_none() && safetensors.is_none() {
            return Err(no_model("it holds neither model.onnx nor model.safetensors".to_owned()));
        }
        let tokenizer_path = path.join("tokenizer.json");
        if !tokenizer_path.is_file() {
            return Err(no_model("it holds no tokenizer.json".to_owned()));
        }
        let config = json(&path.join("config.json"))?;
        let modules = json(&path.join("modules.json"))?;
        let (stated, pooling_path) = stated_pooling(path, &modules)?;
        let chosen = match options.embed_pooling {
            PoolingChoice::Auto => stated,
            PoolingChoice::Mean => Some(Pooling::Mean),
            PoolingChoice::Cls => Some(Pooling::Cls),
        };
        if chosen.is_none() && pooling_path.is_file() {
            let detail = "its pooling is neither the mean nor the first token".to_owned();
            return Err(EmbedError::Config { path: pooling_path, detail });
        }
        let normalises = modules.as_array().is_none_or(|all| all.iter().any(|module| module_is(module, "Normalize")));
        let text = std::fs::read(&tokenizer_path)
            .map_err(|source| EmbedError::Read { path: tokenizer_path.clone(), source })?;
        let max_tokens = match options.embed_max_tokens {
            Some(limit) => limit.get() as usize,
            None => stated_limit(path, &config)?.unwrap_or(DEFAULT_MAX_TOKENS),
        };
        let positions = config["max_position_embeddings"].as_u64().and_then(|n| usize::try_from(n).ok());
        if let Some(positions) = positions.filter(|&n| max_tokens > n) {
            let detail = format!("it has {positions} positions, a limit of {max_tokens} tokens is asked for");
            return Err(EmbedError::Config { path: path.join("config.json"), detail });
        }
        let unusable = |detail: String| EmbedError::Tokenizer { path: tokenizer_path.clone(), detail };
        let mut tokenizer = Tokenizer::from_bytes(&text).map_err(|e| unusable(format!("it is none: {e}")))?;
        // What the file says about padding and cutting was for whoever saved it.
        tokenizer.with_padding(None);
        let cut = TruncationParams { max_length: max_tokens, ..Default::default() };
        tokenizer.with_truncation(Some(cut)).map_err(|e| unusable(e.to_string()))?;
        let highest = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| u64::from(id) + 1);
        if let Some(known) = config["vocab_size"].as_u64().filter(|&known| highest > known) {
            return Err(unusable(format!("it has {highest} tokens, the model knows {known}")));
        }
        // Words that no vocabulary has show whether there is a token for them.
        tokenizer.encode_fast(PROBE, true).map_err(|e| unusable(e.to_string()))?;
        let empty = tokenizer.encode_fast("", true).map_err(|e| unusable(e.to_string()))?;
        if empty.is_empty() {
            let detail =
                "it frames a text with no tokens of its own, so some texts have none: its `post_processor` is missing";
            return Err(unusable(detail.to_owned()));
        }
        Ok(ModelFolder {
            path: path.to_owned(),
            onnx,
            safetensors,
            config,
            tokenizer,
            tokenizer_hash: blake3::hash(&text).to_hex().to_string(),
            pooling: chosen.unwrap_or(Pooling::Mean),
            is_pooling_known: chosen.is_some(),
            normalises,
            max_tokens,
        })
    }

    pub(super) fn lengths(&self, texts: &[&str]) -> Result<Vec<TextLength>, EmbedError> {
        let encoded = self
            .tokenizer
            .encode_batch_fast(texts.to_vec(), true)
            .map_err(|e| EmbedError::Compute { path: self.path.clone(), detail: format!("the tokenizer: {e}") })?;
        let length = |e: &tokenizers::Encoding| TextLength { tokens: e.len(), is_cut: !e.get_overflowing().is_empty() };
        Ok(encoded.iter().map(length).collect())
    }
}

/// A JSON file; null if there is none.
fn json(path: &Path) -> Result<Value, EmbedError> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|e| EmbedError::Config { path: path.to_owned(), detail: format!("it is not JSON: {e}") }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(source) => Err(EmbedError::Read { path: path.to_owned(), source }),
    }
}

/// Whether a module of sentence-transformers is of a kind; newer versions have longer paths.
fn module_is(module: &Value, kind: &str) -> bool {
    module["type"].as_str().is_some_and(|name| name.rsplit('.').next() == Some(kind))
}

/// What the pooling module says, and its file.
fn stated_pooling(path: &Path, modules: &Value) -> Result<(Option<Pooling>, PathBuf), EmbedError> {
    let module = modules.as_array().into_iter().flatten().find(|m| module_is(m, "Pooling"));
    let folder = module.and_then(|m| m["path"].as_str()).unwrap_or("1_Pooling");
    // A name inside the folder, whatever the file says.
    let is_plain = Path::new(folder).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    let file = path.join(if is_plain { folder } else { "1_Pooling" }).join("config.json");
    let config = json(&file)?;
    let is_set = |name: &str| config[name].as_bool() == Some(true);
    let others = ["pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_lasttoken"];
    let mean = is_set("pooling_mode_mean_tokens") || config["pooling_mode"].as_str() == Some("mean");
    let cls = is_set("pooling_mode_cls_token") || config["pooling_mode"].as_str() == Some("cls");
    let pooling = match (mean, cls, others.iter().any(|name| is_set(name))) {
        (true, false, false) => Some(Pooling::Mean),
        (false, true, false) => Some(Pooling::Cls),
        _ => None,
    };
    Ok((pooling, file))
}

/// The limit that the model was made for.
fn stated_limit(path: &Path, config: &Value) -> Result<Option<usize>, EmbedError> {
    let sentence = json(&path.join("sentence_bert_config.json"))?;
    let tokenizer = json(&path.join("tokenizer_config.json"))?;
    let stated = [&sentence["max_seq_length"], &tokenizer["model_max_length"], &config["max_position_embeddings"]];
    let limits = stated.iter().filter_map(|v| v.as_f64().filter(|&n| (3.0..NO_LIMIT).contains(&n)));
    let first = limits.map(|n| n as usize).next();
    let positions = config["max_position_embeddings"].as_u64().and_then(|n| usize::try_from(n).ok());
    Ok(match (first, positions) {
        (Some(limit), Some(positions)) => Some(limit.min(positions)),
        (limit, positions) => limit.or(positions),
    })
}
