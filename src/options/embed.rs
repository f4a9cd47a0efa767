//! Options of `purify embed`, `purify calibrate`, and of similarity by meaning in the main job.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

#[cfg(feature = "cli")]
use super::numbers::boolish;
use super::{DeviceChoice, Fraction, Positive, SimilarityMetric, Whole};

/// Tokens that go through an embedding model at once on the CPU: more is no faster there. A GPU takes sixteen times that.
pub const DEFAULT_EMBED_BATCH_TOKENS: usize = 2048;

/// Texts of a step that are embedded where nobody asks for others.
const DEFAULT_KINDS: [TextKind; 3] = [TextKind::Reasoning, TextKind::Call, TextKind::Code];

/// A text of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum TextKind {
    /// What stands before the first call, `reasoning_content` included.
    Reasoning,
    /// The rendered call with its markers.
    Call,
    /// The value of the code argument, else the arguments.
    #[default]
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

/// Engine that computes the vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum EmbedPrecision {
    /// float32 on the CPU, float16 on a GPU.
    #[default]
    Auto,
    Float32,
    Float16,
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
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
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Embedding model"))]
#[serde(deny_unknown_fields, default)]
pub struct EmbedModel {
    /// Embedding model: a folder with model.onnx or model.safetensors and tokenizer.json, a known name (minilm, bge-small,
    /// bge-base, gte-small, gte-base), or a repository of the hub
    #[cfg_attr(
        feature = "cli",
        arg(long, visible_alias = "model", env = "PURIFY_EMBED_MODEL", value_name = "DIR|NAME")
    )]
    pub embed_model: Option<String>,
    /// Engine that computes the vectors
    #[cfg_attr(
        feature = "cli",
        arg(long, visible_alias = "engine", env = "PURIFY_EMBED_ENGINE", value_enum, default_value_t)
    )]
    pub embed_engine: EngineChoice,
    /// Device to compute on
    #[cfg_attr(
        feature = "cli",
        arg(long, visible_alias = "device", env = "PURIFY_EMBED_DEVICE", value_enum, default_value_t)
    )]
    pub embed_device: DeviceChoice,
    /// Type of the candle engine's numbers
    #[cfg_attr(
        feature = "cli",
        arg(long, visible_alias = "precision", env = "PURIFY_EMBED_PRECISION", value_enum, default_value_t)
    )]
    pub embed_precision: EmbedPrecision,
    /// How the vectors of a text's tokens become one
    #[cfg_attr(
        feature = "cli",
        arg(long, visible_alias = "pooling", env = "PURIFY_EMBED_POOLING", value_enum, default_value_t)
    )]
    pub embed_pooling: PoolingChoice,
    /// Maximum tokens of a text; longer ones are truncated. Default: the model's own limit
    #[cfg_attr(
        feature = "cli",
        arg(long, visible_alias = "max-tokens", env = "PURIFY_EMBED_MAX_TOKENS", value_name = "N")
    )]
    pub embed_max_tokens: Option<Whole<3, 1_000_000>>,
    /// Maximum tokens in a batch; halved automatically when memory runs out
    #[cfg_attr(
        feature = "cli",
        arg(long, visible_alias = "batch-tokens", env = "PURIFY_EMBED_BATCH_TOKENS", value_name = "N")
    )]
    pub embed_batch_tokens: Option<Positive>,
}

/// Similarity by meaning (docs/method.md, "Call segment and similarity").
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Similarity by meaning"))]
#[serde(deny_unknown_fields, default)]
pub struct SemanticConfig {
    /// Record the cosine of each comparison beside the similarity that decides
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ALSO_SEMANTIC", value_parser = boolish()))]
    pub also_semantic: bool,
    /// Text of two attempts whose vectors are compared
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SEMANTIC_OF", value_enum, default_value_t))]
    pub semantic_of: TextKind,
    /// Cosine below which a repair is deep, with --similarity-metric semantic; each known model has its own default
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SEMANTIC_THRESHOLD", value_name = "0..1"))]
    pub semantic_threshold: Option<Fraction>,
}

impl SemanticConfig {
    /// Whether anything is compared by meaning, with this measure.
    pub fn is_used(&self, metric: SimilarityMetric) -> bool {
        self.also_semantic || metric == SimilarityMetric::Semantic
    }
}

/// What `purify embed` reads and writes.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Input and output"))]
#[serde(deny_unknown_fields, default)]
pub struct EmbedConfig {
    /// Rollouts: files, globs or folders of Parquet or JSON lines
    #[cfg_attr(feature = "cli", arg(long = "in", env = "PURIFY_IN", value_name = "PATH", num_args = 1.., required = true))]
    pub inputs: Vec<PathBuf>,
    /// File of vectors to write; texts that it already holds are not embedded again
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_OUT", value_name = "FILE"))]
    pub out: PathBuf,
    #[default(DEFAULT_KINDS.to_vec())]
    /// Texts of a step that are embedded
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_KINDS", value_enum, value_delimiter = ',', default_values_t = DEFAULT_KINDS))]
    pub kinds: Vec<TextKind>,
    /// Exit with 1 if a row can't be read
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_STRICT", value_parser = boolish()))]
    pub strict: bool,
}

/// What `purify calibrate` reads.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Input and output"))]
#[serde(deny_unknown_fields, default)]
pub struct CalibrateConfig {
    /// Rollouts: files, globs or folders of Parquet or JSON lines
    #[cfg_attr(feature = "cli", arg(long = "in", env = "PURIFY_IN", value_name = "PATH", num_args = 1.., required = true))]
    pub inputs: Vec<PathBuf>,
}
