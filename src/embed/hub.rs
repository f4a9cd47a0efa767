//! Models by name, from the hub's cache or the hub itself.
//!
//! Owns the short names, and which files make a model. Downloads go through hf-hub, into its usual cache (`HF_HOME`), from
//! `HF_ENDPOINT` if that is set; a model that is in the cache needs no network.

use std::path::{Path, PathBuf};

use hf_hub::Cache;
use hf_hub::api::sync::{ApiBuilder, ApiError};

use super::{EmbedError, runtime};
use crate::options::{DeviceChoice, EmbedModel, EngineChoice};

/// Short names, and the repositories that they stand for.
const KNOWN: [(&str, &str); 5] = [
    ("minilm", "sentence-transformers/all-MiniLM-L6-v2"),
    ("bge-small", "BAAI/bge-small-en-v1.5"),
    ("bge-base", "BAAI/bge-base-en-v1.5"),
    ("gte-small", "thenlper/gte-small"),
    ("gte-base", "thenlper/gte-base"),
];
/// Files without which there is no model; then those that say how it is meant.
const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];
const OPTIONAL: [&str; 4] =
    ["modules.json", "sentence_bert_config.json", "tokenizer_config.json", "1_Pooling/config.json"];
const ONNX: &str = "onnx/model.onnx";
const SAFETENSORS: &str = "model.safetensors";
const ENDPOINT: &str = "HF_ENDPOINT";
/// In the words of the library below hf-hub.
const NOT_FOUND: &str = "404";
const NO_FOLDER: &str = "the cache holds no folder for it";

/// The repository that a name stands for: a short one, or itself.
pub(super) fn repository(name: &str) -> &str {
    KNOWN.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| full)
}

/// The folder of a model's files, downloaded if need be.
pub(super) fn fetch(name: &str, options: &EmbedModel, shows_progress: bool) -> Result<PathBuf, EmbedError> {
    let repository = repository(name);
    if !is_repository(repository) {
        let detail = "there is no such folder, and it is neither a known name nor a repository".to_owned();
        return Err(EmbedError::NoModel { path: PathBuf::from(name), detail });
    }
    let weights = match options.embed_engine {
        EngineChoice::Onnx => ONNX,
        EngineChoice::Candle => SAFETENSORS,
        // As in a folder that holds both.
        EngineChoice::Auto if options.embed_device != DeviceChoice::Cpu && crate::device::has_cuda() => SAFETENSORS,
        EngineChoice::Auto if runtime::is_there() => ONNX,
        EngineChoice::Auto => SAFETENSORS,
    };
    let failed = |detail: String| EmbedError::Download {
        name: repository.to_owned(),
        detail,
        files: NEEDED.iter().chain([&weights]).chain(&OPTIONAL).map(|f| format!("`{f}`")).collect(),
    };
    // Without a home folder hf-hub does not know where its cache is, and ends the program.
    if ["HF_HOME", "HOME", "USERPROFILE"].iter().all(|name| std::env::var_os(name).is_none()) {
        return Err(failed("neither HF_HOME nor HOME is set, so there is no cache".to_owned()));
    }
    // Where a variable is set but empty, it is not meant.
    let mut builder = ApiBuilder::from_env().with_progress(shows_progress).with_retries(1);
    if std::env::var(ENDPOINT).is_ok_and(|e| e.is_empty()) {
        builder = builder.with_endpoint("https://huggingface.co".to_owned());
    }
    let needed = || NEEDED.into_iter().chain([weights]);
    let cached = Cache::from_env().model(repository.to_owned());
    if needed().all(|file| cached.get(file).is_some()) {
        return cached
            .get(weights)
            .and_then(|path| root_of(&path, weights))
            .ok_or_else(|| failed(NO_FOLDER.to_owned()));
    }
    let api = builder.build().map_err(|e| failed(reason(&e)))?;
    let repo = api.model(repository.to_owned());
    // What is needed comes last: where it is in the cache, the rest was asked for.
    for file in OPTIONAL {
        match repo.get(file) {
            Ok(_) => {}
            // A model that has no such file says so with its absence.
            Err(error) if reason(&error).contains(NOT_FOUND) => {}
            Err(error) => return Err(failed(format!("`{file}`: {}", reason(&error)))),
        }
    }
    let mut root = None;
    for file in needed() {
        let path = repo.get(file).map_err(|e| failed(format!("`{file}`: {}", reason(&e))))?;
        root = root_of(&path, file);
    }
    root.ok_or_else(|| failed(NO_FOLDER.to_owned()))
}

/// The folder of a snapshot, by one of its files.
fn root_of(path: &Path, file: &str) -> Option<PathBuf> {
    path.ancestors().nth(Path::new(file).components().count()).map(Path::to_owned)
}

/// `owner/name`, of the characters that the hub allows.
fn is_repository(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    name.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

fn reason(error: &ApiError) -> String {
    let mut out = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !out.contains(&text) {
            out = format!("{out}: {text}");
        }
        source = cause.source();
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}
