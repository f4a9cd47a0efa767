//! Options of `purify embed`, `purify calibrate`, and of similarity by meaning in the main job.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{DeviceChoice, Fraction, SimilarityMetric};

/// Tokens that go through an embedding model at once on the CPU: more is no faster there. A GPU takes sixteen times that.
pub const DEFAULT_EMBED_BATCH_TOKENS: usize = 2048;

/// A text of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextKind {
    /// What stands before the first call, `reasoning_content` included.
    Reasoning,
    /// The rendered call with its markers.
    Call,
    /// The value of the code argument, else the arguments.
    Code,
    /// Reasoning and call together.
    Step,
}

impl TextKind {
    pub const ALL: [TextKind; 4] = [TextKind::Reasoning, TextKind::Call, TextKind::Code, TextKind::Step];

    /// As it stands in files and is typed.
    pub fn name(self) -> &'static str {
        match self {
            TextKind::Reasoning => "reasoning",
            TextKind::Call => "call",
            TextKind::Code => "code",
            TextKind::Step => "step",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        TextKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What computes vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// What the folder holds; of both: candle on a GPU, ONNX Runtime on the CPU if it is found.
    #[default]
    Auto,
    /// ONNX Runtime, through fastembed: model.onnx.
    Onnx,
    /// candle: model.safetensors of the BERT family.
    Candle,
}

/// Type of the candle engine's weights and activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmbedPrecision {
    /// float32 on the CPU, float16 on a GPU.
    #[default]
    Auto,
    Float32,
    Float16,
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolingChoice {
    /// As the model's own files say; the mean where they say nothing.
    #[default]
    Auto,
    Mean,
    /// The first token's.
    Cls,
}

/// Which embedding model, and how it is run.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Embedding model")]
pub struct EmbedModel {
    /// Embedding model: a folder with model.onnx or model.safetensors and tokenizer.json, a known name (minilm, bge-small,
    /// bge-base, gte-small, gte-base), or a repository of the hub
    #[arg(long, visible_alias = "model", env = "PURIFY_EMBED_MODEL", value_name = "DIR|NAME")]
    pub embed_model: Option<String>,
    /// What computes vectors
    #[arg(long, visible_alias = "engine", env = "PURIFY_EMBED_ENGINE", value_enum, default_value = "auto")]
    pub embed_engine: EngineChoice,
    /// Where they are computed
    #[arg(long, visible_alias = "device", env = "PURIFY_EMBED_DEVICE", value_enum, default_value = "auto")]
    pub embed_device: DeviceChoice,
    /// Type of the candle engine's numbers
    #[arg(long, visible_alias = "precision", env = "PURIFY_EMBED_PRECISION", value_enum, default_value = "auto")]
    pub embed_precision: EmbedPrecision,
    /// How the vectors of a text's tokens become one
    #[arg(long, visible_alias = "pooling", env = "PURIFY_EMBED_POOLING", value_enum, default_value = "auto")]
    pub embed_pooling: PoolingChoice,
    /// Tokens behind which a text is cut, in place of the model's own limit
    #[arg(long, visible_alias = "max-tokens", env = "PURIFY_EMBED_MAX_TOKENS", value_name = "N", value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    pub embed_max_tokens: Option<u32>,
    /// Tokens that go through the model at once; halved by itself where memory is short
    #[arg(long, visible_alias = "batch-tokens", env = "PURIFY_EMBED_BATCH_TOKENS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub embed_batch_tokens: Option<u32>,
}

/// Similarity by meaning (saar.md, section 4).
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Similarity by meaning")]
pub struct SemanticConfig {
    /// Record the cosine of each comparison beside the similarity that decides
    #[arg(long, env = "PURIFY_ALSO_SEMANTIC", value_parser = BoolishValueParser::new())]
    pub also_semantic: bool,
    /// Text of two attempts whose vectors are compared
    #[arg(long, env = "PURIFY_SEMANTIC_OF", value_enum, default_value = "code")]
    pub semantic_of: TextKind,
    /// Cosine below which a repair is deep, with --similarity-metric semantic; each known model has its own default
    #[arg(long, env = "PURIFY_SEMANTIC_THRESHOLD", value_name = "0..1")]
    pub semantic_threshold: Option<Fraction>,
    /// Vectors that `purify embed` has written
    #[arg(long, env = "PURIFY_EMBEDDINGS", value_name = "FILE", num_args = 1.., value_delimiter = ',')]
    #[serde(skip)]
    pub embeddings: Vec<PathBuf>,
}

impl SemanticConfig {
    /// Whether anything is compared by meaning, with this measure.
    pub fn is_used(&self, metric: SimilarityMetric) -> bool {
        self.also_semantic || metric == SimilarityMetric::Semantic
    }
}

impl Default for SemanticConfig {
    fn default() -> Self {
        SemanticConfig {
            also_semantic: false,
            semantic_of: TextKind::Code,
            semantic_threshold: None,
            embeddings: Vec::new(),
        }
    }
}

/// What `purify embed` reads and writes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Input and output")]
pub struct EmbedConfig {
    /// Rollouts: files, globs or folders of Parquet or JSON lines
    #[arg(long = "in", env = "PURIFY_IN", value_name = "PATH", num_args = 1.., required = true)]
    pub inputs: Vec<PathBuf>,
    /// File of vectors to write; what it holds already is not embedded again
    #[arg(long, env = "PURIFY_OUT", value_name = "FILE")]
    pub out: PathBuf,
    /// Texts of a step that are embedded
    #[arg(long, env = "PURIFY_KINDS", value_enum, value_delimiter = ',', default_value = "reasoning,call,code")]
    pub kinds: Vec<TextKind>,
    /// Exit with 1 if a row can't be read
    #[arg(long, env = "PURIFY_STRICT", value_parser = BoolishValueParser::new())]
    pub strict: bool,
}

/// What `purify calibrate` reads.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Input and output")]
pub struct CalibrateConfig {
    /// Rollouts: files, globs or folders of Parquet or JSON lines
    #[arg(long = "in", env = "PURIFY_IN", value_name = "PATH", num_args = 1.., required = true)]
    pub inputs: Vec<PathBuf>,
}
