//! Every option, once: its name, help text, default and range, as plain data.
//!
//! [`Options`] is the method's part: what [`crate::purifier`] takes, the manifest records and a resume compares. The rest
//! belongs to single commands. The command line, `purify.toml`, the environment, `--help`, the man page,
//! `schemas/config.json` and the manifest are all derived from these structs: a new option is one field, with its doc comment
//! as help text and its default beside it. Resolving the layers is left to [`crate::cli`]; acting on a value is left to the
//! stage that reads it.

mod audit;
mod columns;
mod compare;
mod decide;
mod embed;
mod export;
mod guard;
mod lineage;
mod method;
mod numbers;
mod rewards;
mod rules;
mod run;
mod train;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use smart_default::SmartDefault;

pub use audit::AuditConfig;
pub use columns::{ColumnConfig, TokenColumns};
pub use compare::CompareConfig;
pub use decide::{Corrections, DecideConfig, OnLoss, RepairUnit, RepairWhere};
pub use embed::{
    CalibrateConfig, DEFAULT_EMBED_BATCH_TOKENS, EmbedConfig, EmbedModel, EmbedPrecision, EngineChoice, PoolingChoice,
    SemanticConfig, TextKind,
};
pub use export::ExportConfig;
pub use guard::{GuardConfig, OnDependency, OnResidue};
pub use lineage::{DEFAULT_JOB, LineageConfig};
pub use method::{
    Compare, DetectConfig, Detector, GateConfig, Informative, Mode, Pairing, Profile, RepairFaults, SaarConfig,
    SimilarityMetric, Unrecovered,
};
pub use numbers::{CompressionLevel, DEFAULT_COMPRESSION_LEVEL, Fraction, NonNegative, Positive, Whole};
pub use rewards::{Recipe, Resample, RewardConfig, TokenAdvantages};
pub use rules::{RulesFile, UserFault, UserRule, UserVerdict};
pub use run::{ComputeConfig, RunConfig, Shard};
pub use train::{
    DeviceChoice, DpoConfig, GrpoConfig, MiniBatch, ModelChoice, Objective, OnBadRow, Precision, ScoreConfig,
    TrainConfig,
};

/// All that decides what becomes of a rollout, and how it is written.
///
/// Equal to what an empty command line means; survives JSON both ways. The manifest holds it as `settings`.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    #[cfg_attr(feature = "cli", command(flatten))]
    pub method: SaarConfig,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub decision: DecideConfig,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub rewards: RewardConfig,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub errors: DetectConfig,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub columns: ColumnConfig,
    /// Level of compression; the main job's own option.
    #[default(DEFAULT_COMPRESSION_LEVEL)]
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT_COMPRESSION_LEVEL))]
    pub compression_level: CompressionLevel,
    /// Whether preference pairs are made; the main job's own option.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub pairs: bool,
    /// The part of the groups that is done; the main job's own option.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub shard: Option<Shard>,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub gate: GateConfig,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub guard: GuardConfig,
    #[cfg_attr(feature = "cli", command(flatten))]
    pub semantic: SemanticConfig,
    /// The card of the model whose vectors are compared, once it is known.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub vectors: Option<Value>,
}

/// Why options can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("option `{name}`: {detail}")]
pub struct OptionError {
    /// Path of the option, such as `method.max_retries`.
    pub name: String,
    /// What was expected and found.
    pub detail: String,
}

impl Options {
    /// What a profile stands for.
    pub fn of_profile(profile: Profile) -> Self {
        let mut options = Options::default();
        options.method.profile = profile;
        match profile {
            Profile::Default => {}
            Profile::Saar => {
                options.decision = DecideConfig::of_the_paper();
                options.errors.informative = Informative::Repair;
            }
            Profile::OpenCleaner => {
                options.decision = DecideConfig::of_the_paper();
                options.errors.detector = Detector::Reference;
                options.method.unrecovered = Unrecovered::Collapse;
                options.method.stop_after_unrecovered = true;
                // The reference starts no repair from a rollout's 31st attempt on.
                options.method.max_attempts = 30;
            }
        }
        options
    }

    /// Whether something about all rows of a group must be known before the first is decided on.
    pub fn needs_groups(&self) -> bool {
        self.decision.needs_advantages()
            || self.rewards.counts_failures()
            || self.rewards.token_advantages != TokenAdvantages::None
    }

    /// From JSON as a manifest holds it, of this version or an earlier one. What is left out has its default.
    ///
    /// # Errors
    /// A name that is not an option, a value out of range or of another type.
    pub fn from_json(value: &Value) -> Result<Self, OptionError> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            OptionError { name: path, detail: error.into_inner().to_string() }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_survive_json_whatever_they_are() {
        let mut odd = Options::of_profile(Profile::OpenCleaner);
        odd.shard = Some(Shard { index: 2, of: 3 });
        odd.gate.gate_model = Some("models/policy".into());
        odd.columns.call_marker_ids = vec![151_657];
        odd.semantic.semantic_threshold = Fraction::new(0.25);
        odd.vectors = Some(json!({"dimension": 384}));
        for options in [Options::default(), odd] {
            let value = serde_json::to_value(&options).expect("JSON");
            assert_eq!(Options::from_json(&value), Ok(options.clone()), "{value}");
            let text = serde_json::to_string(&options).expect("JSON");
            assert_eq!(serde_json::from_str::<Options>(&text).expect("options"), options);
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(Options::from_json(&json!({})), Ok(Options::default()));
        let found = Options::from_json(&json!({"method": {"mode": "mask"}})).expect("options");
        assert_eq!((found.method.mode, found.method.max_retries.get()), (Mode::Mask, 3));
    }

    #[test]
    fn odd_values_and_unknown_names_are_errors_that_name_the_option() {
        let said = |value: Value| Options::from_json(&value).expect_err("an error").to_string();
        for (value, name, detail) in [
            (
                json!({"method": {"max_retries": 0}}),
                "method.max_retries",
                "expected a whole number from 1 to 1000000, found 0",
            ),
            (json!({"method": {"max_retries": 1.5}}), "method.max_retries", "1.5"),
            (
                json!({"method": {"similarity_threshold": 1.5}}),
                "method.similarity_threshold",
                "a number from 0 to 1, found 1.5",
            ),
            (json!({"gate": {"is_threshold": -1}}), "gate.is_threshold", "not below 0, found -1"),
            (json!({"method": {"mode": "repair"}}), "method.mode", "`repair`"),
            (json!({"method": {"max_retires": 3}}), "max_retires", "`max_retries`"),
            (json!({"shard": {"index": 4, "of": 3}}), "shard", "found `4/3`"),
            (json!({"compression_level": 23}), "compression_level", "from 1 to 22, found 23"),
            (json!({"guards": {}}), "guards", "`guard`"),
        ] {
            let error = said(value);
            assert!(error.contains(name) && error.contains(detail), "{error}");
        }
    }

    #[test]
    fn names_in_messages_are_those_in_files() {
        let text = |value: Value| value.as_str().map(str::to_owned).unwrap_or_default();
        for mode in [Mode::Replace, Mode::Drop, Mode::Mask, Mode::Append] {
            assert_eq!(text(json!(mode)), mode.name());
        }
        for metric in [SimilarityMetric::Lexical, SimilarityMetric::Exact, SimilarityMetric::Semantic] {
            assert_eq!(text(json!(metric)), metric.name());
        }
        for profile in [Profile::Default, Profile::Saar, Profile::OpenCleaner] {
            assert_eq!(text(json!(profile)), profile.name());
        }
    }
}
