//! Writes weights where the hub's tools look for them: full models, and adapters as PEFT has them.
//!
//! Owns the layout of both folders. Every file appears under its name when it is whole.

use std::path::Path;

use candle_core::DType;
use serde_json::{Value, json};

use super::files::{write_json, write_tensors, write_whole};
use super::lora::LoraConfig;
use super::{Policy, PolicyError};
use crate::write::WriteError;

/// Files beside the weights that go along with them.
const COMPANIONS: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
];

fn unwritable(path: &Path) -> impl Fn(std::io::Error) -> PolicyError + '_ {
    |source| WriteError::Io { path: path.to_owned(), source }.into()
}

impl Policy {
    /// Writes the adapter: `adapter_config.json` and `adapter_model.safetensors`.
    pub fn save_adapter(&self, folder: &Path, config: &LoraConfig) -> Result<(), PolicyError> {
        std::fs::create_dir_all(folder).map_err(unwritable(folder))?;
        let tensors = self.adapter().into_iter().map(|p| Ok((p.name.clone(), p.value.to_dtype(DType::F32)?)));
        let tensors = tensors.collect::<candle_core::Result<Vec<_>>>()?;
        write_tensors(&folder.join("adapter_model.safetensors"), &tensors)?;
        let base = std::path::absolute(&self.source).unwrap_or_else(|_| self.source.clone());
        write_json(&folder.join("adapter_config.json"), &config.to_json(&base.to_string_lossy()))
    }

    /// Writes the model in the hub's layout: weights, `config.json`, and the tokenizer's files of its source.
    pub fn save_full(&self, folder: &Path) -> Result<(), PolicyError> {
        std::fs::create_dir_all(folder).map_err(unwritable(folder))?;
        let tensors: Vec<_> = self.parameters().into_iter().map(|p| (p.name.clone(), p.value.clone())).collect();
        write_tensors(&folder.join("model.safetensors"), &tensors)?;
        write_json(&folder.join("config.json"), &self.config_json()?)?;
        if self.source.is_dir() {
            for name in COMPANIONS {
                let (from, to) = (self.source.join(name), folder.join(name));
                if from.is_file() {
                    let bytes = std::fs::read(&from).map_err(|source| PolicyError::Read { path: from, source })?;
                    write_whole(&to, &bytes)?;
                }
            }
        } else {
            super::chat::write_gguf_companions(&self.source, folder)?;
        }
        Ok(())
    }

    /// The source's own configuration, with the type that the weights are written in.
    fn config_json(&self) -> Result<Value, PolicyError> {
        let path = self.source.join("config.json");
        let mut config = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).unwrap_or_else(|_| self.config.to_json()),
            Err(_) => self.config.to_json(),
        };
        let dtype = match self.dtype {
            DType::BF16 => "bfloat16",
            DType::F16 => "float16",
            _ => "float32",
        };
        for key in ["dtype", "torch_dtype"] {
            if config.get(key).is_some() {
                config[key] = json!(dtype);
            }
        }
        Ok(config)
    }
}
