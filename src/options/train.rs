//! Options of `purify score` and `purify train`, once each.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(feature = "cli")]
use super::DEFAULT_COMPRESSION_LEVEL;
#[cfg(feature = "cli")]
use super::numbers::boolish;
use super::{CompressionLevel, Fraction, NonNegative, Positive, Whole};

/// Tokens that go through a model at once: enough to keep two cores or a GPU busy.
pub const DEFAULT_BATCH_TOKENS: Positive = Positive::nearest(8192);

/// Objective to train on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Every policy token of every rollout, whatever its reward.
    Sft,
    /// Rewards within groups: clipped policy gradient in DAPO's form.
    Grpo,
    /// Pairs: the correction over the failed call. CLEANER's appendix reports that DPO on tool calls failed.
    Dpo,
}

/// Where the model is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda,
}

/// What to do with a row that can't be trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum OnBadRow {
    /// The run fails and says why.
    #[default]
    Fail,
    /// It is dropped and counted.
    Skip,
}

/// Type of weights and activations; log-probs and optimizer are float32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// float32 on the CPU, bfloat16 on a GPU.
    #[default]
    Auto,
    Float32,
    Bfloat16,
}

/// Rollouts of one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MiniBatch {
    All,
    Rollouts(usize),
}

impl FromStr for MiniBatch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(MiniBatch::All),
            (_, Ok(n @ 1..)) => Ok(MiniBatch::Rollouts(n)),
            _ => Err(format!("expected a number of rollouts or `all`, found `{text}`")),
        }
    }
}

impl Serialize for MiniBatch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            MiniBatch::All => serializer.serialize_str("all"),
            MiniBatch::Rollouts(n) => serializer.serialize_u64(*n as u64),
        }
    }
}

/// Which model, and where it is computed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Model"))]
pub struct ModelChoice {
    /// Folder with config.json, model.safetensors and tokenizer.json, or a .gguf file (Qwen2, Qwen3, Llama)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MODEL", value_name = "PATH"))]
    pub model: PathBuf,
    /// Adapter folder, as PEFT writes it: it is scored with, or trained on
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ADAPTER", value_name = "DIR"))]
    pub adapter: Option<PathBuf>,
    /// Device to compute on
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_DEVICE", value_enum, default_value_t))]
    pub device: DeviceChoice,
    /// Type of weights and activations
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_PRECISION", value_enum, default_value_t))]
    pub precision: Precision,
    /// Maximum tokens in a batch
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_BATCH_TOKENS", value_name = "N", default_value_t = DEFAULT_BATCH_TOKENS))]
    pub batch_tokens: Positive,
}

impl ModelChoice {
    /// The gate's model, with the defaults of everything that the gate has no option for.
    pub fn of_gate(model: PathBuf, gate: &super::GateConfig, device: DeviceChoice) -> Self {
        ModelChoice {
            model,
            adapter: gate.gate_adapter.clone(),
            device,
            precision: Precision::Auto,
            batch_tokens: DEFAULT_BATCH_TOKENS,
        }
    }
}

/// What is scored, and where it goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Input and output"))]
pub struct ScoreConfig {
    /// Rollouts to score, Parquet or JSON lines, raw or purified
    #[cfg_attr(feature = "cli", arg(long = "in", env = "PURIFY_IN", value_name = "FILE"))]
    pub input: PathBuf,
    /// File to write; default: NAME.scored.parquet beside the input
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_OUT", value_name = "FILE"))]
    pub out: Option<PathBuf>,
    /// The file that was purified: with it, each repair gets its importance ratio
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_RAW", value_name = "FILE"))]
    pub raw: Option<PathBuf>,
    /// Exit with 1 if a row could not be scored
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_STRICT", value_parser = boolish()))]
    pub strict: bool,
    /// zstd level of what is written
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_COMPRESSION_LEVEL", value_name = "1..22", default_value_t = DEFAULT_COMPRESSION_LEVEL))]
    pub compression_level: CompressionLevel,
}

/// What is learnt, from what, and how.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Training"))]
pub struct TrainConfig {
    /// Rollouts (for dpo: pairs), Parquet or JSON lines, raw or purified
    #[cfg_attr(feature = "cli", arg(long = "data", env = "PURIFY_DATA", value_name = "PATH", num_args = 1.., required = true))]
    #[serde(skip)]
    pub data: Vec<PathBuf>,
    /// Folder to write: adapter or model, checkpoints, metrics.jsonl
    #[cfg_attr(feature = "cli", arg(long = "out", env = "PURIFY_TRAIN_OUT", value_name = "DIR"))]
    #[serde(skip)]
    pub out: PathBuf,
    /// Objective to train on
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_OBJECTIVE", value_enum))]
    pub objective: Objective,
    /// Train all weights instead of an adapter
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_FULL", conflicts_with_all = ["adapter", "lora_rank", "lora_alpha", "lora_targets", "merge"], value_parser = boolish()))]
    pub full: bool,
    /// Rank of a new adapter
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_LORA_RANK", value_name = "R", default_value = "16"))]
    pub lora_rank: Whole<1, 65_536>,
    /// Scale of the adapter is this over the rank; default: twice the rank
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_LORA_ALPHA", value_name = "X"))]
    pub lora_alpha: Option<NonNegative>,
    /// Projections that get an adapter; default: q,k,v,o,gate,up,down
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_LORA_TARGETS", value_name = "NAME", value_delimiter = ','))]
    pub lora_targets: Vec<String>,
    /// Also write the model with the adapter merged into its weights, into DIR/merged
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MERGE", value_parser = boolish()))]
    #[serde(skip)]
    pub merge: bool,
    /// Updates to make; default: one pass over the data (--epochs)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_UPDATES", value_name = "N", conflicts_with = "epochs"))]
    #[serde(skip)]
    pub updates: Option<Positive>,
    /// Passes over the data
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_EPOCHS", value_name = "N", default_value = "1"))]
    #[serde(skip)]
    pub epochs: Positive,
    /// Rollouts (pairs) of one update, or `all`
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_BATCH_ROLLOUTS", value_name = "N|all", default_value = "32"))]
    pub batch_rollouts: MiniBatch,
    /// Learning rate
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_LEARNING_RATE", value_name = "X", default_value = "2e-6"))]
    pub learning_rate: NonNegative,
    /// Updates over which the learning rate rises to its value; it is constant after that
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_WARMUP", value_name = "N", default_value_t = 20))]
    pub warmup: u64,
    /// AdamW's weight decay
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_WEIGHT_DECAY", value_name = "X", default_value = "0.01"))]
    pub weight_decay: NonNegative,
    /// AdamW's first beta
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_BETA1", value_name = "0..1", default_value = "0.9"))]
    pub beta1: Fraction,
    /// AdamW's second beta
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_BETA2", value_name = "0..1", default_value = "0.999"))]
    pub beta2: Fraction,
    /// Largest norm of the gradient (0: no limit)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_CLIP_GRAD_NORM", value_name = "X", default_value = "1.0"))]
    pub clip_grad_norm: NonNegative,
    /// Seed of the data order and of a new adapter
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SEED", value_name = "N", default_value_t = 0))]
    pub seed: u64,
    /// Drop rollouts with more tokens than this; by default, a rollout that is too long for the model is an error
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MAX_LENGTH", value_name = "TOKENS"))]
    pub max_length: Option<usize>,
    /// What to do with a row that can't be trained on
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ON_BAD_ROW", value_enum, default_value_t))]
    pub on_bad_row: OnBadRow,
    /// Keep only each layer's input and recompute the rest: less memory, a third more time
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_CHECKPOINT_ACTIVATIONS", value_parser = boolish()))]
    pub checkpoint_activations: bool,
    /// Save a checkpoint every N updates (0: only at the end and when stopped)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SAVE_EVERY", value_name = "N", default_value_t = 50))]
    #[serde(skip)]
    pub save_every: u64,
    /// Resume from the last checkpoint in --out
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_RESUME", value_parser = boolish()))]
    #[serde(skip)]
    pub resume: bool,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub grpo: GrpoConfig,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub dpo: DpoConfig,
}

impl TrainConfig {
    /// All options but these three as the command line has them by default.
    pub fn new(objective: Objective, data: Vec<PathBuf>, out: PathBuf) -> Self {
        let number = NonNegative::of;
        TrainConfig {
            data,
            out,
            objective,
            full: false,
            lora_rank: Whole::nearest(16),
            lora_alpha: None,
            lora_targets: Vec::new(),
            merge: false,
            updates: None,
            epochs: Positive::nearest(1),
            batch_rollouts: MiniBatch::Rollouts(32),
            learning_rate: number(2e-6),
            warmup: 20,
            weight_decay: number(0.01),
            beta1: Fraction::of(0.9),
            beta2: Fraction::of(0.999),
            clip_grad_norm: number(1.0),
            seed: 0,
            max_length: None,
            on_bad_row: OnBadRow::default(),
            checkpoint_activations: false,
            save_every: 50,
            resume: false,
            grpo: GrpoConfig {
                clip_low: number(0.2),
                clip_high: number(0.28),
                dual_clip: number(10.0),
                kl: number(0.0),
                keep_equal_groups: false,
                overlong: None,
                overlong_buffer: 4096,
                overlong_factor: number(1.0),
                repair_weight_cap: None,
                resample_on_correct: false,
            },
            dpo: DpoConfig { beta: number(0.1) },
        }
    }
}

/// grpo's own options.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Training by rewards (grpo)"))]
pub struct GrpoConfig {
    /// The ratio to the behaviour policy is clipped below 1 - this
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_CLIP_LOW", value_name = "X", default_value = "0.2"))]
    pub clip_low: NonNegative,
    /// The ratio is clipped above 1 + this (clip-higher)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_CLIP_HIGH", value_name = "X", default_value = "0.28"))]
    pub clip_high: NonNegative,
    /// For negative advantages the loss is at most this times the advantage
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_DUAL_CLIP", value_name = "X", default_value = "10"))]
    pub dual_clip: NonNegative,
    /// Weight of the KL to the policy before training (k3; 0: none)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_KL", value_name = "X", default_value = "0"))]
    pub kl: NonNegative,
    /// Train on groups whose rewards are all equal as well (their advantages are 0)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_KEEP_EQUAL_GROUPS", value_parser = boolish()))]
    pub keep_equal_groups: bool,
    /// Maximum answer length in tokens; the reward falls over the last --overlong-buffer of them
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_OVERLONG", value_name = "TOKENS"))]
    pub overlong: Option<usize>,
    /// Tokens before the longest answer over which the reward falls
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "PURIFY_OVERLONG_BUFFER", value_name = "TOKENS", default_value_t = 4096)
    )]
    pub overlong_buffer: usize,
    /// Penalty of an answer of full length
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_OVERLONG_FACTOR", value_name = "X", default_value = "1.0"))]
    pub overlong_factor: NonNegative,
    /// Weigh the tokens of each repaired step by its importance ratio (`log_importance_ratio`, of `purify score --raw`), at most this;
    /// 2.0 is usual
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_REPAIR_WEIGHT_CAP", value_name = "X"))]
    pub repair_weight_cap: Option<NonNegative>,
    /// Keep half of each group; of the better rollouts, those with the fewest tool errors (rStar2-Agent)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_RESAMPLE_ON_CORRECT", value_parser = boolish()))]
    pub resample_on_correct: bool,
}

impl GrpoConfig {
    /// The option, if one is given, that changes the rewards or groups from which advantages come.
    pub fn changes_advantages(&self) -> Option<&'static str> {
        match (self.overlong, self.resample_on_correct) {
            (Some(_), _) => Some("--overlong"),
            (None, true) => Some("--resample-on-correct"),
            (None, false) => None,
        }
    }
}

/// dpo's own options.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Training by pairs (dpo)"))]
pub struct DpoConfig {
    /// Strength of the preference: smaller lets the policy move further from where it started
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_BETA", value_name = "X", default_value = "0.1"))]
    pub beta: NonNegative,
}
