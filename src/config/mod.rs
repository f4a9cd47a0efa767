//! Every option, once: its name, help text, default and range, as plain data.
//!
//! The command line, `purify.toml`, the environment, `--help`, the man page, `schemas/config.json` and the
//! manifest are all derived from these structs. Resolving the layers is left to [`crate::cli`]; acting on a
//! value is left to the stage that reads it.

mod audit;
mod embed;
mod export;
mod guard;
mod lineage;
mod train;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Serialize;

pub use audit::AuditConfig;
pub use embed::{
    CalibrateConfig, DEFAULT_EMBED_BATCH_TOKENS, EmbedConfig, EmbedModel, EmbedPrecision, EngineChoice, PoolingChoice,
    SemanticConfig, TextKind,
};
pub use export::{ExportConfig, ExportTarget};
pub use guard::{GuardConfig, OnDependency, OnResidue};
pub use lineage::{DEFAULT_JOB, LineageConfig};
pub use train::{
    DeviceChoice, DpoConfig, GrpoConfig, MiniBatch, ModelChoice, NonNegative, Objective, OnBadRow, Precision,
    ScoreConfig, TrainConfig,
};

/// Similarity at which granularity changes; paper and reference code.
pub const DEFAULT_SIMILARITY_THRESHOLD: &str = "0.5";
/// Longest failure run that is repaired; the reference recommends 3.
pub const DEFAULT_MAX_RETRIES: &str = "3";
/// Share of rollouts that are repaired; the reference uses 1.0 for Qwen3-4B and 0.7 for Qwen2.5-7B.
pub const DEFAULT_REPAIR_PROBABILITY: &str = "1.0";
/// zstd level of what is written; 1 is also pyarrow's.
pub const DEFAULT_COMPRESSION_LEVEL: &str = "1";
/// Ratio below which the authors' follow-up keeps the failed attempt.
pub const DEFAULT_IS_THRESHOLD: &str = "0.5";
/// The reference starts no repair from a rollout's 31st attempt on.
pub const REFERENCE_MAX_ATTEMPTS: &str = "30";

/// A number from 0 to 1, both included.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Fraction(f64);

impl Fraction {
    /// `None` outside 0..=1, or for NaN.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Fraction(value))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a number from 0 to 1, found `{text}`");
        Fraction::new(text.parse().map_err(|_| expected())?).ok_or_else(expected)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of `of` equal parts of the groups; `index` counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shard {
    pub index: u32,
    pub of: u32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str| part.parse::<u32>().ok().filter(|&n| n > 0);
        text.split_once('/')
            .and_then(|(i, n)| Some(Shard { index: parse(i)?, of: parse(n)? }))
            .filter(|shard| shard.index <= shard.of)
            .ok_or_else(|| format!("expected `i/n` with i from 1 to n, such as `1/4`, found `{text}`"))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// What becomes of failed attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Recovered runs are replaced by the model's own correction.
    #[default]
    Replace,
    /// As replace; a rollout with an unrecovered run goes to the rejects.
    Drop,
    /// Nothing is removed: failed attempts are marked untrained (`loss` flag per message, mask 0 on tokens).
    Mask,
    /// As replace, but a repair that the importance gate refuses is not made (needs --gate-model).
    Append,
}

/// A set of defaults; single options still override it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Any tool output; unrecovered runs stay as they are.
    #[default]
    Default,
    /// The published reference, bit for bit: its detector, collapse, nothing behind an unrecovered run, 30 attempts.
    OpenCleaner,
}

/// Who says whether a tool result is an error, where the data does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// Knows tracebacks, exit codes, JSON errors, shells, databases, harness messages.
    #[default]
    Default,
    /// The reference's rule: whatever does not contain `Tool call success` is an error.
    Reference,
}

/// What becomes of a failure run without a correction, or with too many attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unrecovered {
    /// It stays, and is counted.
    Keep,
    /// Its first attempts (at most max-retries + 1) become one failed step.
    Collapse,
    /// The rollout goes to the rejects.
    Drop,
}

/// Which failures are repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairFaults {
    /// Runs with at least one failure of the model's own making.
    Model,
    /// Time-outs, rate limits and server errors as well.
    All,
}

/// The measure of two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SimilarityMetric {
    /// Python's difflib ratio with its junk heuristic, as the reference.
    #[default]
    Lexical,
    /// The same without the junk heuristic.
    Exact,
    /// Cosine of two embeddings (needs --embeddings or --embed-model).
    Semantic,
}

/// What of a call is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// The rendered call with its markers, as the reference.
    Segment,
    /// The value of the code argument, else the arguments: the paper's wording.
    Code,
}

/// Which attempts of a run are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// Each attempt with the one before: each retry overwrites the last.
    Consecutive,
    /// The first with the correction.
    FirstLast,
}

/// What becomes of token columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenColumns {
    /// Spliced together with the messages.
    Splice,
    /// Left out of what is written.
    Drop,
}

/// What the rows of a file look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `messages` of role and content: OpenAI, TRL, the hubs' data sets.
    Messages,
    /// `conversations` of from and value (LLaMA-Factory).
    #[value(name = "sharegpt")]
    #[serde(rename = "sharegpt")]
    ShareGpt,
    /// `prompt` and `completion`.
    PromptCompletion,
    /// `text` in ChatML, special tokens kept.
    ChatText,
    /// `input`, `output`, `score`: verl's rollout dump.
    Verl,
    /// `response.output` items: NeMo-Gym's rollouts.
    NemoGym,
    /// `traces` of `nodes`: verifiers and prime-rl.
    Traces,
    /// `steps` of a trajectory: harbor and its agents.
    Atif,
    /// `trajectory` of actions and observations: SWE-agent's `.traj` files.
    SweAgent,
}

impl Layout {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Messages => "messages",
            Layout::ShareGpt => "sharegpt",
            Layout::PromptCompletion => "prompt-completion",
            Layout::ChatText => "chat-text",
            Layout::Verl => "verl",
            Layout::NemoGym => "nemo-gym",
            Layout::Traces => "traces",
            Layout::Atif => "atif",
            Layout::SweAgent => "swe-agent",
        }
    }
}

/// How a repair is decided (saar.md, sections 2, 3, 6).
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Method")]
pub struct SaarConfig {
    /// Defaults to start from; every other option overrides them
    #[arg(long, env = "PURIFY_PROFILE", value_enum, default_value = "default")]
    pub profile: Profile,
    /// What becomes of failed attempts
    #[arg(long, env = "PURIFY_MODE", value_enum, default_value = "replace")]
    pub mode: Mode,
    /// Similarity below which the reasoning is replaced as well (deep); at it: shallow
    #[arg(long, env = "PURIFY_SIMILARITY_THRESHOLD", value_name = "0..1", default_value = DEFAULT_SIMILARITY_THRESHOLD)]
    pub similarity_threshold: Fraction,
    /// Measure of two calls
    #[arg(long, visible_alias = "similarity", env = "PURIFY_SIMILARITY_METRIC", value_enum, default_value = "lexical")]
    pub similarity_metric: SimilarityMetric,
    /// What of a call is compared
    #[arg(long, env = "PURIFY_COMPARE", value_enum, default_value = "segment")]
    pub compare: Compare,
    /// Which attempts of a run are compared
    #[arg(long, env = "PURIFY_PAIRING", value_enum, default_value = "consecutive")]
    pub pairing: Pairing,
    /// Longest run of failed attempts that is repaired
    #[arg(long, env = "PURIFY_MAX_RETRIES", value_name = "K", default_value = DEFAULT_MAX_RETRIES, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_retries: u32,
    /// Share of rollouts that are repaired, drawn by (seed, rollout id)
    #[arg(long, env = "PURIFY_REPAIR_PROBABILITY", value_name = "0..1", default_value = DEFAULT_REPAIR_PROBABILITY)]
    pub repair_probability: Fraction,
    /// Seed of the draw
    #[arg(long, env = "PURIFY_SEED", value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// What becomes of a run without a correction
    #[arg(long, env = "PURIFY_UNRECOVERED", value_enum, default_value = "keep")]
    pub unrecovered: Unrecovered,
    /// Leave everything behind a rollout's first unrecovered run as it is
    #[arg(long, env = "PURIFY_STOP_AFTER_UNRECOVERED", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub stop_after_unrecovered: bool,
    /// Start no repair behind this many attempts of a rollout (0: no limit)
    #[arg(long, env = "PURIFY_MAX_ATTEMPTS", value_name = "N", default_value_t = 0)]
    pub max_attempts: u32,
    /// Which failures are repaired
    #[arg(long, env = "PURIFY_REPAIR_FAULTS", value_enum, default_value = "all")]
    pub repair_faults: RepairFaults,
}

impl SaarConfig {
    /// The options as a manifest has them; `None` if they are another version's.
    pub fn recorded(options: &serde_json::Value) -> Option<Self> {
        #[derive(clap::Parser)]
        struct Recorded {
            #[command(flatten)]
            method: SaarConfig,
        }
        let typed = |(name, value): (&String, &serde_json::Value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("--{}={value}", name.replace('_', "-"))
        };
        let args = options.as_object()?.iter().map(typed);
        let parsed = <Recorded as clap::Parser>::try_parse_from(std::iter::once("purify".to_owned()).chain(args));
        parsed.ok().map(|recorded| recorded.method)
    }
}

/// How an error is told from a success (saar.md, section 5).
#[derive(Args, Clone, Debug, Default, Serialize)]
#[command(next_help_heading = "Errors in tool results")]
pub struct DetectConfig {
    /// Who decides where neither the data nor a pattern says so
    #[arg(long, env = "PURIFY_DETECTOR", value_enum, default_value = "default")]
    pub detector: Detector,
    /// A result that matches this regular expression is a success (repeatable; before --error-pattern)
    #[arg(long, env = "PURIFY_SUCCESS_PATTERN", value_name = "REGEX")]
    pub success_pattern: Vec<String>,
    /// A result that matches this regular expression is an error (repeatable; `NAME=REGEX` names its type)
    #[arg(long, env = "PURIFY_ERROR_PATTERN", value_name = "[NAME=]REGEX")]
    pub error_pattern: Vec<String>,
}

/// Which column is what; the well-known names are found without these.
#[derive(Args, Clone, Debug, Default, Serialize)]
#[command(next_help_heading = "Columns and tokens")]
pub struct ColumnConfig {
    /// What the rows of JSON look like; recognised by their fields without this
    #[arg(long, env = "PURIFY_FORMAT", value_enum)]
    pub format: Option<Layout>,
    /// Column of the rollout's unique name
    #[arg(long, env = "PURIFY_ID_COLUMN", value_name = "NAME")]
    pub id_column: Option<String>,
    /// Column of the prompt or task that rollouts share
    #[arg(long, env = "PURIFY_GROUP_COLUMN", value_name = "NAME")]
    pub group_column: Option<String>,
    /// Column of the messages
    #[arg(long, env = "PURIFY_MESSAGES_COLUMN", value_name = "NAME")]
    pub messages_column: Option<String>,
    /// Column of the outcome
    #[arg(long, env = "PURIFY_REWARD_COLUMN", value_name = "NAME")]
    pub reward_column: Option<String>,
    /// What becomes of token columns
    #[arg(long, env = "PURIFY_TOKENS", value_enum, default_value = "splice")]
    pub tokens: Option<TokenColumns>,
    /// tokenizer.json, or the folder that holds it: finds the call marker in token columns
    #[arg(long, env = "PURIFY_TOKENIZER", value_name = "PATH")]
    pub tokenizer: Option<PathBuf>,
    /// Token ids of `<tool_call>`, in place of a tokenizer (Qwen2.5 and Qwen3: 151657)
    #[arg(long, env = "PURIFY_CALL_MARKER_IDS", value_name = "ID", value_delimiter = ',')]
    pub call_marker_ids: Vec<i32>,
}

impl ColumnConfig {
    pub fn drops_tokens(&self) -> bool {
        self.tokens == Some(TokenColumns::Drop)
    }
}

/// The importance gate (saar.md, section 8).
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Gate")]
pub struct GateConfig {
    /// Policy (folder or .gguf) that judges each repair: one that it would not have made without the error is not made,
    /// and the failed attempts stay (mode append)
    #[arg(long, env = "PURIFY_GATE_MODEL", value_name = "PATH")]
    pub gate_model: Option<PathBuf>,
    /// Adapter on the gate's model
    #[arg(long, env = "PURIFY_GATE_ADAPTER", value_name = "DIR", requires = "gate_model")]
    pub gate_adapter: Option<PathBuf>,
    /// Least importance ratio of a repair: pi(correction | without the error) / pi(correction | with it)
    #[arg(long, env = "PURIFY_IS_THRESHOLD", value_name = "X", default_value = DEFAULT_IS_THRESHOLD)]
    pub is_threshold: NonNegative,
    /// Where the gate's model is computed
    #[arg(long, env = "PURIFY_GATE_DEVICE", value_enum, default_value = "auto")]
    #[serde(skip)]
    pub gate_device: DeviceChoice,
}

impl Default for GateConfig {
    fn default() -> Self {
        GateConfig {
            gate_model: None,
            gate_adapter: None,
            is_threshold: NonNegative::HALF,
            gate_device: DeviceChoice::Auto,
        }
    }
}

/// What is read and written, and what fails the run.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Input and output")]
pub struct RunConfig {
    /// Rollouts: files, globs or folders of Parquet or JSON lines
    #[arg(long = "in", env = "PURIFY_IN", value_name = "PATH", num_args = 1.., required = true)]
    pub inputs: Vec<PathBuf>,
    /// File (one input) or folder (several) to write; default: NAME.purified.parquet beside the input
    #[arg(long, env = "PURIFY_OUT", value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Write what a trainer eats as well: NAME.TARGET.parquet beside the output, or into a folder
    #[arg(long, env = "PURIFY_TO", value_enum, value_name = "TARGET")]
    pub to: Option<ExportTarget>,
    /// Write a preference pair for each repair as well
    #[arg(long, env = "PURIFY_PAIRS", value_parser = clap::builder::BoolishValueParser::new())]
    pub pairs: bool,
    /// Plan and count; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do one of n equal parts, split by group; all parts together are the whole
    #[arg(long, env = "PURIFY_SHARD", value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Write the full report, with times, as JSON
    #[arg(long, env = "PURIFY_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Exit with 1 if this holds for the counters, such as `unrecovered_rate > 0.3` (repeatable)
    #[arg(long, env = "PURIFY_FAIL_IF", value_name = "EXPR")]
    pub fail_if: Vec<String>,
    /// Exit with 1 if a row was rejected
    #[arg(long, env = "PURIFY_STRICT", value_parser = clap::builder::BoolishValueParser::new())]
    pub strict: bool,
    /// zstd level of what is written
    #[arg(long, env = "PURIFY_COMPRESSION_LEVEL", value_name = "1..22", default_value = DEFAULT_COMPRESSION_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub compression_level: i32,
    /// Threads (0: one per core)
    #[arg(long, env = "PURIFY_THREADS", value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

/// The settings that decide what is written: the manifest holds them, and a resume compares them.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    pub method: SaarConfig,
    pub errors: DetectConfig,
    pub columns: ColumnConfig,
    pub compression_level: i32,
    pub pairs: bool,
    pub shard: Option<Shard>,
    pub gate: GateConfig,
    pub guard: GuardConfig,
    pub semantic: SemanticConfig,
    /// The card of the model whose vectors are compared, once it is known.
    pub vectors: Option<serde_json::Value>,
}

impl Settings {
    /// Without what has to be asked for: pairs, shards, a gate, similarity by meaning.
    pub fn new(method: SaarConfig, errors: DetectConfig, columns: ColumnConfig) -> Self {
        Settings {
            method,
            errors,
            columns,
            compression_level: 1,
            pairs: false,
            shard: None,
            gate: GateConfig::default(),
            guard: GuardConfig::default(),
            semantic: SemanticConfig::default(),
            vectors: None,
        }
    }
}
