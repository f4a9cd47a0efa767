//! The ONNX engine: fastembed over ONNX Runtime, on the CPU, and on CUDA where the library has it.
//!
//! Owns nothing of the computation: files and options go in, vectors come out. The graph says what it wants and gives; a
//! graph that gives one vector for a text is taken at its word.

use std::path::Path;

use fastembed::{
    Error, InitOptionsUserDefined, OutputKey, Pooling, QuantizationMode, SingleBatchOutput, TextEmbedding,
    TokenizerFiles, UserDefinedEmbeddingModel,
};
use ort::ep::{CUDA, ExecutionProvider, ExecutionProviderDispatch};

use super::folder::{self, ModelFolder};
use super::{EmbedError, Embedder, Embedding, ModelCard, TextLength, runtime};
use crate::options::{DEFAULT_EMBED_BATCH_TOKENS, DeviceChoice};

/// Outputs by their usual names, the better known first.
const OUTPUTS: &[OutputKey] = &[
    OutputKey::OnlyOne,
    OutputKey::ByName("sentence_embedding"),
    OutputKey::ByName("text_embeds"),
    OutputKey::ByName("last_hidden_state"),
    OutputKey::ByName("token_embeddings"),
];
/// Operators that fit the range of numbers to the whole batch as it runs.
const RANGE_OPERATORS: [&[u8]; 2] = [b"DynamicQuantizeLinear", b"DynamicQuantizeMatMul"];

pub(super) struct OnnxEngine {
    folder: ModelFolder,
    engine: TextEmbedding,
    card: ModelCard,
    is_one_by_one: bool,
}

impl OnnxEngine {
    pub(super) fn load(folder: ModelFolder, path: &Path, name: &str, device: DeviceChoice) -> Result<Self, EmbedError> {
        let environment = runtime::environment()?;
        let graph = std::fs::read(path).map_err(|source| EmbedError::Read { path: path.to_owned(), source })?;
        let external = external_data(path)?;
        let mut weights = blake3::Hasher::new();
        weights.update(&graph);
        external.iter().for_each(|(_, bytes)| {
            weights.update(bytes);
        });
        let weights = weights.finalize().to_hex().to_string();
        let is_one_by_one = RANGE_OPERATORS.iter().any(|op| contains(&graph, op));
        let is_quantised = is_one_by_one || [&b"MatMulInteger"[..], b"QLinear"].iter().any(|op| contains(&graph, op));
        let mut model = UserDefinedEmbeddingModel::new(graph, tokenizer_files(&folder)?)
            .with_pooling(folder.pooling.into())
            .with_quantization(if is_one_by_one { QuantizationMode::Dynamic } else { QuantizationMode::None });
        for (name, bytes) in external {
            model = model.with_external_initializer(name, bytes);
        }
        let has_cuda = CUDA::is_available().unwrap_or(false);
        if device == DeviceChoice::Cuda && !has_cuda {
            let detail = "this ONNX Runtime was built without it (`pip install onnxruntime-gpu` has it)".to_owned();
            return Err(EmbedError::Device { device: "cuda", detail });
        }
        let on_cuda = device != DeviceChoice::Cpu && has_cuda;
        let providers = if on_cuda { vec![CUDA::default().build().error_on_failure()] } else { Vec::new() };
        let options = |providers: Vec<ExecutionProviderDispatch>| {
            InitOptionsUserDefined::new()
                .with_environment(environment.clone())
                .with_execution_providers(providers)
                .with_max_length(folder.max_tokens)
        };
        let failed = |error: Error| match classified(&error, path) {
            EmbedError::Compute { detail, .. } => EmbedError::Weights { path: path.to_owned(), detail },
            error => error,
        };
        // A library with CUDA may stand on a machine without.
        let again = (on_cuda && device == DeviceChoice::Auto).then(|| model.clone());
        let (mut engine, on_cuda) = match (TextEmbedding::try_new_from_user_defined(model, options(providers)), again) {
            (Ok(engine), _) => (engine, on_cuda),
            (Err(error), Some(model)) => {
                tracing::info!("no CUDA for ONNX Runtime: {}", one_line(&error.to_string()));
                (TextEmbedding::try_new_from_user_defined(model, options(Vec::new())).map_err(failed)?, false)
            }
            (Err(error), None) if on_cuda => {
                return Err(EmbedError::Device { device: "cuda", detail: one_line(&error.to_string()) });
            }
            (Err(error), None) => return Err(failed(error)),
        };
        engine.tokenizer = folder.tokenizer.clone();
        let card = ModelCard {
            name: name.to_owned(),
            weights,
            config: "in the graph".to_owned(),
            tokenizer: folder.tokenizer_hash.clone(),
            engine: "onnx".to_owned(),
            precision: if is_quantised { "quantised" } else { "as stored" }.to_owned(),
            device: if on_cuda { "cuda" } else { "cpu" }.to_owned(),
            pooling: folder.pooling.name().to_owned(),
            normalised: folder.normalises,
            max_tokens: folder.max_tokens,
            dimension: 0,
        };
        let mut out = OnnxEngine { folder, engine, card, is_one_by_one };
        // Whether tokenizer, graph and pooling go together shows only when a text goes through.
        let (vectors, pools) = out.run(&["a"]).map_err(|error| match error {
            EmbedError::Compute { detail, .. } => EmbedError::Weights { path: path.to_owned(), detail },
            error => error,
        })?;
        out.card.dimension = vectors.first().map_or(0, Vec::len);
        if !pools {
            out.card.pooling = "none".to_owned();
        }
        Ok(out)
    }

    /// The vectors as the graph and the pooling give them, and whether there was anything to pool.
    fn run(&mut self, texts: &[&str]) -> Result<(Vec<Vec<f32>>, bool), EmbedError> {
        let pooling = Pooling::from(self.folder.pooling);
        let pool = |batch: &SingleBatchOutput| -> Result<(Vec<Vec<f32>>, bool), Error> {
            let pools = batch.select_output(&OUTPUTS)?.ndim() == 3;
            let rows = batch.select_and_pool_output(&OUTPUTS, Some(pooling.clone()))?;
            Ok((rows.rows().into_iter().map(|row| row.to_vec()).collect(), pools))
        };
        let output = self.engine.transform(texts, Some(texts.len())).map_err(|e| classified(&e, &self.folder.path))?;
        output
            .export_with_transformer(|batches| {
                let mut all = (Vec::new(), true);
                for batch in batches {
                    let (rows, pools) = pool(batch)?;
                    all.0.extend(rows);
                    all.1 &= pools;
                }
                Ok(all)
            })
            .map_err(|e| classified(&e, &self.folder.path))
    }
}

impl Embedder for OnnxEngine {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn batch_tokens(&self) -> usize {
        DEFAULT_EMBED_BATCH_TOKENS * if self.card.device == "cuda" { 16 } else { 1 }
    }

    fn is_one_by_one(&self) -> bool {
        self.is_one_by_one
    }

    fn lengths(&self, texts: &[&str]) -> Result<Vec<TextLength>, EmbedError> {
        self.folder.lengths(texts)
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let (vectors, _) = self.run(texts)?;
        self.folder.finished(vectors, texts)
    }
}

impl From<folder::Pooling> for Pooling {
    fn from(pooling: folder::Pooling) -> Self {
        match pooling {
            folder::Pooling::Mean => Pooling::Mean,
            folder::Pooling::Cls => Pooling::Cls,
        }
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// fastembed wants four files; of these only tokenizer.json is believed, and it is replaced by ours once loaded.
fn tokenizer_files(folder: &ModelFolder) -> Result<TokenizerFiles, EmbedError> {
    let path = folder.path.join("tokenizer.json");
    let failed = |source| EmbedError::Read { path: path.clone(), source };
    Ok(TokenizerFiles {
        tokenizer_file: std::fs::read(&path).map_err(failed)?,
        config_file: b"{}".to_vec(),
        special_tokens_map_file: b"{}".to_vec(),
        tokenizer_config_file: br#"{"model_max_length": 1000000000, "pad_token": "[PAD]"}"#.to_vec(),
    })
}

/// Weights that an export has put beside the graph.
fn external_data(graph: &Path) -> Result<Vec<(String, Vec<u8>)>, EmbedError> {
    let name = graph.file_name().unwrap_or_default().to_string_lossy();
    let mut out = Vec::new();
    for name in [format!("{name}_data"), format!("{name}.data")] {
        let path = graph.with_file_name(&name);
        match std::fs::read(&path) {
            Ok(bytes) => out.push((name, bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(EmbedError::Read { path, source }),
        }
    }
    Ok(out)
}

/// Memory that is too small is told from everything else by the words of ONNX Runtime and CUDA.
fn classified(error: &Error, path: &Path) -> EmbedError {
    let detail = one_line(&error.to_string());
    let is_memory =
        ["bad_alloc", "out of memory", "Failed to allocate memory", "CUDA_ERROR_OUT_OF_MEMORY", "bad allocation"];
    match is_memory.iter().any(|word| detail.contains(word)) {
        true => EmbedError::Memory { detail },
        false => EmbedError::Compute { path: path.to_owned(), detail },
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
