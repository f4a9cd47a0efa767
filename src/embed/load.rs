//! From a name or a folder to an engine that is ready.
//!
//! Owns the choice of the engine. Where a name's files come from is
//! `hub`'s.

use std::path::{Path, PathBuf};

use super::candle::CandleEngine;
use super::folder::ModelFolder;
use super::onnx::OnnxEngine;
use super::{EmbedError, Embedder, hub, runtime};
use crate::options::{DeviceChoice, EmbedModel, EngineChoice};

/// An engine, and what a user should know about how it was chosen.
pub struct Loaded {
    pub embedder: Box<dyn Embedder>,
    pub notes: Vec<String>,
}

/// Loads the model that the options name. `shows_progress`: whether a download may draw a bar.
pub fn load(name: &str, options: &EmbedModel, shows_progress: bool) -> Result<Loaded, EmbedError> {
    let (path, name) = match Path::new(name) {
        path if path.exists() => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let last = absolute.file_name().map_or_else(|| name.to_owned(), |n| n.to_string_lossy().into_owned());
            (path.to_owned(), last)
        }
        _ => (hub::fetch(name, options, shows_progress)?, hub::repository(name).to_owned()),
    };
    let folder = ModelFolder::read(&path, options)?;
    let mut notes = Vec::new();
    if !folder.is_pooling_known {
        notes.push(format!("`{}` does not say how to pool: the mean is taken (--embed-pooling)", path.display()));
    }
    let embedder: Box<dyn Embedder> = match choose(&folder, options, &mut notes)? {
        Chosen::Onnx(path) => Box::new(OnnxEngine::load(folder, &path, &name, options.embed_device)?),
        Chosen::Candle(path) => {
            Box::new(CandleEngine::load(folder, &path, &name, options.embed_device, options.embed_precision)?)
        }
    };
    Ok(Loaded { embedder, notes })
}

enum Chosen {
    Onnx(PathBuf),
    Candle(PathBuf),
}

fn choose(folder: &ModelFolder, options: &EmbedModel, notes: &mut Vec<String>) -> Result<Chosen, EmbedError> {
    let missing = |file: &str| EmbedError::NoModel { path: folder.path.clone(), detail: format!("it holds no {file}") };
    let wants_cuda = options.embed_device != DeviceChoice::Cpu && crate::device::has_cuda();
    Ok(match (options.embed_engine, &folder.onnx, &folder.safetensors) {
        (EngineChoice::Onnx, Some(onnx), _) => Chosen::Onnx(onnx.clone()),
        (EngineChoice::Onnx, None, _) => return Err(missing("model.onnx")),
        (EngineChoice::Candle, _, Some(weights)) => Chosen::Candle(weights.clone()),
        (EngineChoice::Candle, _, None) => return Err(missing("model.safetensors")),
        (EngineChoice::Auto, Some(_), Some(weights)) if wants_cuda => Chosen::Candle(weights.clone()),
        (EngineChoice::Auto, Some(_), Some(weights)) if !runtime::is_there() => {
            notes.push("ONNX Runtime is not found: candle computes, at about half its speed on a CPU".to_owned());
            Chosen::Candle(weights.clone())
        }
        (EngineChoice::Auto, Some(onnx), _) => Chosen::Onnx(onnx.clone()),
        (EngineChoice::Auto, None, Some(weights)) => Chosen::Candle(weights.clone()),
        (EngineChoice::Auto, None, None) => return Err(missing("model.onnx")),
    })
}
