//! Why texts can't be embedded, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why texts can't be embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    #[error("`{}` can't be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` can't be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is being written by another run", path.display())]
    Busy { path: PathBuf },
    #[error("`{}` is not an embedding model: {detail}", path.display())]
    NoModel { path: PathBuf, detail: String },
    #[error("`{}` describes a model that can't be used: {detail}", path.display())]
    Config { path: PathBuf, detail: String },
    #[error("tokenizer `{}` can't be used: {detail}", path.display())]
    Tokenizer { path: PathBuf, detail: String },
    #[error("`{}` can't be used: {detail}", path.display())]
    Weights { path: PathBuf, detail: String },
    #[error("ONNX Runtime was not found: {detail}")]
    NoRuntime { detail: String },
    #[error("device `{device}` can't be used: {detail}")]
    Device { device: &'static str, detail: String },
    #[error("model `{}` can't be fetched from the hub: {detail}", name.escape_debug())]
    Download { name: String, detail: String, files: Vec<String> },
    #[error("a text of {tokens} tokens needs more memory than is available: {detail}")]
    TooLarge { tokens: usize, detail: String },
    #[error("not enough memory: {detail}")]
    Memory { detail: String },
    #[error("the model in `{}` failed: {detail}", path.display())]
    Compute { path: PathBuf, detail: String },
    #[error("the model in `{}` gives no vector for a text of {tokens} tokens that begins `{}`", path.display(), head.escape_debug())]
    NoVector { path: PathBuf, tokens: usize, head: String },
    #[error("interrupted by signal {signal}")]
    Interrupted { signal: u8 },
}

impl EmbedError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            EmbedError::Read { .. } => "check the path and its permissions".to_owned(),
            EmbedError::Write { .. } => {
                "check that the folder of --out exists, may be written to and has space".to_owned()
            }
            EmbedError::Busy { .. } => "wait for it, or give another --out".to_owned(),
            EmbedError::NoModel { .. } => {
                "give a folder with model.onnx or model.safetensors and tokenizer.json, or a known name \
                 (minilm, bge-small, bge-base, gte-small, gte-base)"
                    .to_owned()
            }
            EmbedError::Config { .. } => {
                "--embed-pooling, --embed-max-tokens and --embed-engine override what the files say; \
                 the candle engine knows the BERT family, ONNX Runtime any model"
                    .to_owned()
            }
            EmbedError::Tokenizer { .. } => "take tokenizer.json from where the weights come from".to_owned(),
            EmbedError::Weights { .. } => "copy or export the file again".to_owned(),
            EmbedError::NoRuntime { .. } => {
                "install it (`pip install onnxruntime`, 1.24 or newer) in the active Python environment, or \
                 name the library: ORT_DYLIB_PATH=.../libonnxruntime.so.1.24.4; --embed-engine candle needs none"
                    .to_owned()
            }
            EmbedError::Device { .. } => "--embed-device cpu computes on the CPU".to_owned(),
            EmbedError::Download { files, .. } => {
                format!("without a network, put {} into a folder and give that", files.join(", "))
            }
            EmbedError::TooLarge { .. } => "truncate texts earlier with --embed-max-tokens".to_owned(),
            EmbedError::Interrupted { .. } => "run it again: what is embedded is kept".to_owned(),
            EmbedError::Memory { .. } => {
                "free some memory, take a smaller model, or give --embed-batch-tokens a smaller number".to_owned()
            }
            EmbedError::Compute { .. } | EmbedError::NoVector { .. } => {
                "its files may be damaged, or not belong together; fetch or export it again".to_owned()
            }
        })
    }
}
