//! Options of the method: how a failure is found, how a repair is decided, and what may refuse one.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

#[cfg(feature = "cli")]
use super::numbers::boolish;
use super::{Fraction, NonNegative, RulesFile, Whole};

/// What to do with failed attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Recovered runs are replaced by the model's own correction.
    #[default]
    Replace,
    /// As replace; a rollout with an unrecovered run is rejected.
    Drop,
    /// Nothing is removed: failed attempts are marked untrained (`loss` flag per message, mask 0 on tokens).
    Mask,
    /// As replace, but a repair that the importance gate refuses is not made (needs --gate-model).
    Append,
}

impl Mode {
    /// As it is typed, and stands in files.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Replace => "replace",
            Mode::Drop => "drop",
            Mode::Mask => "mask",
            Mode::Append => "append",
        }
    }
}

/// A set of defaults; single options still override it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A failed call is replaced where a later one is its retry and nothing is lost, in the better rollouts of a group.
    #[default]
    Default,
    /// The paper's rule: whatever works directly after a failure is its correction, in all rollouts (as version 0.1.0).
    Saar,
    /// The published reference, bit for bit: its detector, collapse, nothing after an unrecovered run, 30 attempts.
    OpenCleaner,
}

impl Profile {
    /// As it is typed, and stands in files.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Default => "default",
            Profile::Saar => "saar",
            Profile::OpenCleaner => "open-cleaner",
        }
    }
}

/// What decides whether a tool result is an error, where the data does not say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// Knows tracebacks, exit codes, JSON errors, shells, databases, harness messages.
    #[default]
    Default,
    /// The reference's rule: whatever does not contain `Tool call success` is an error.
    Reference,
}

/// What becomes of results that report a bad state of something else: failing tests, searches without a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Informative {
    /// The call did its job: it is no failed attempt.
    #[default]
    Keep,
    /// They count as errors.
    Repair,
}

/// What to do with a failure run without a correction, or with too many attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Unrecovered {
    /// It stays, and is counted.
    #[default]
    Keep,
    /// Its first attempts (at most max-retries + 1) become one failed step.
    Collapse,
    /// The rollout is rejected.
    Drop,
}

/// Which failures are repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum RepairFaults {
    /// Runs with at least one failure of the model's own making.
    Model,
    /// Time-outs, rate limits and server errors as well.
    #[default]
    All,
}

/// The similarity measure of two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
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

impl SimilarityMetric {
    /// As it is typed, and stands in files.
    pub fn name(self) -> &'static str {
        match self {
            SimilarityMetric::Lexical => "lexical",
            SimilarityMetric::Exact => "exact",
            SimilarityMetric::Semantic => "semantic",
        }
    }
}

/// Which part of a call is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// The rendered call with its markers, as the reference.
    #[default]
    Segment,
    /// The value of the code argument, else the arguments: the paper's wording.
    Code,
}

/// Which attempts of a run are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// Each attempt with the one before: each retry overwrites the last.
    #[default]
    Consecutive,
    /// The first with the correction.
    FirstLast,
}

/// How a repair is decided (docs/method.md, "Repair of one recovered run").
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Method"))]
#[serde(deny_unknown_fields, default)]
pub struct SaarConfig {
    /// Defaults to start from; every other option overrides them
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_PROFILE", value_enum, default_value_t))]
    pub profile: Profile,
    /// What to do with failed attempts
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MODE", value_enum, default_value_t))]
    pub mode: Mode,
    /// Similarity below which the reasoning is replaced too (deep); a repair at the threshold is shallow
    // Paper and reference code.
    #[default(Fraction::HALF)]
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SIMILARITY_THRESHOLD", value_name = "0..1", default_value_t = SaarConfig::default().similarity_threshold))]
    pub similarity_threshold: Fraction,
    /// Similarity measure of two calls
    #[cfg_attr(
        feature = "cli",
        arg(long, visible_alias = "similarity", env = "PURIFY_SIMILARITY_METRIC", value_enum, default_value_t)
    )]
    pub similarity_metric: SimilarityMetric,
    /// Which part of a call is compared
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_COMPARE", value_enum, default_value_t))]
    pub compare: Compare,
    /// Which attempts of a run are compared
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_PAIRING", value_enum, default_value_t))]
    pub pairing: Pairing,
    /// Longest run of failed attempts that is repaired
    // The reference recommends 3.
    #[default(Whole::nearest(3))]
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MAX_RETRIES", value_name = "K", default_value_t = SaarConfig::default().max_retries))]
    pub max_retries: Whole<1, 1_000_000>,
    /// Share of rollouts that are repaired; the draw depends on the seed and the rollout id alone
    // The reference uses 1.0 for Qwen3-4B and 0.7 for Qwen2.5-7B.
    #[default(Fraction::ONE)]
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_REPAIR_PROBABILITY", value_name = "0..1", default_value_t = SaarConfig::default().repair_probability))]
    pub repair_probability: Fraction,
    /// Seed of the draw
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SEED", value_name = "N", default_value_t))]
    pub seed: u64,
    /// What to do with a failure run that has no correction
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_UNRECOVERED", value_enum, default_value_t))]
    pub unrecovered: Unrecovered,
    /// Leave everything after a rollout's first unrecovered run unchanged
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_STOP_AFTER_UNRECOVERED", value_name = "BOOL", default_value_t, value_parser = boolish(), num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set))]
    pub stop_after_unrecovered: bool,
    /// Start no repair after this many attempts of a rollout (0: no limit)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_MAX_ATTEMPTS", value_name = "N", default_value_t))]
    pub max_attempts: u32,
    /// Which failures are repaired
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_REPAIR_FAULTS", value_enum, default_value_t))]
    pub repair_faults: RepairFaults,
}

/// How an error is told apart from a success (docs/method.md, "What counts as an error").
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Errors in tool results"))]
#[serde(deny_unknown_fields, default)]
pub struct DetectConfig {
    /// What decides where neither the data nor a pattern does
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_DETECTOR", value_enum, default_value_t))]
    pub detector: Detector,
    /// A result that matches this regular expression is a success (repeatable; before --error-pattern)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_SUCCESS_PATTERN", value_name = "REGEX"))]
    pub success_pattern: Vec<String>,
    /// A result that matches this regular expression is an error (repeatable; `NAME=REGEX` names its type)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_ERROR_PATTERN", value_name = "[NAME=]REGEX"))]
    pub error_pattern: Vec<String>,
    /// TOML file of rules: name, pattern, verdict, error_type, fault, tools (repeatable; asked after the patterns)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_RULES", value_name = "FILE"))]
    pub rules: Vec<RulesFile>,
    /// Failing tests, checks, searches without a match: no failed attempts, or errors like others
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_INFORMATIVE", value_enum, default_value_t))]
    pub informative: Informative,
}

/// The importance gate (docs/method.md, "Importance").
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[cfg_attr(feature = "cli", command(next_help_heading = "Gate"))]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// Policy (folder or .gguf) that judges each repair: one that it would not have made without the error is not made,
    /// and the failed attempts stay (mode append)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_GATE_MODEL", value_name = "PATH"))]
    pub gate_model: Option<PathBuf>,
    /// Adapter on the gate's model
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_GATE_ADAPTER", value_name = "DIR", requires = "gate_model"))]
    pub gate_adapter: Option<PathBuf>,
    // Below it the authors' follow-up keeps the failed attempt.
    #[default(NonNegative::of(0.5))]
    /// Smallest importance ratio of a repair: pi(correction | without the error) / pi(correction | with it)
    #[cfg_attr(feature = "cli", arg(long, env = "PURIFY_IS_THRESHOLD", value_name = "X", default_value_t = GateConfig::default().is_threshold))]
    pub is_threshold: NonNegative,
}
