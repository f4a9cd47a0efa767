//! The tree of commands and what each takes, for parsing, help, completions and generated files.
//!
//! Owns the names of commands and their arguments. Values are declared in [`crate::options`]; what a command does stands in [`super`].

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, CommandFactory, Parser, Subcommand};

use super::completions::Shell;
use super::{audit, compare, export};
use crate::export as targets;
use crate::ingest::formats::FORMS;
use crate::options::{
    CalibrateConfig, ColumnConfig, ComputeConfig, DetectConfig, EmbedConfig, EmbedModel, LineageConfig, ModelChoice,
    Options, RunConfig, ScoreConfig, TrainConfig,
};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a gate failed: --fail-if, or --strict with rejected rows; or training met a loss that is not a number
  2    usage
  3    an input can't be read
  4    an output can't be written
  130  interrupted (143: terminated)

Options are taken from: defaults < --profile < --recipe < purify.toml < PURIFY_* variables < flags.
The last line on stdout is one JSON object with the counters.";

/// Replace failed tool calls in stored agent rollouts with the model's own corrections (SAAR, arXiv 2601.15141)
#[derive(Parser, Debug)]
#[command(
    name = "purify",
    version,
    subcommand_negates_reqs = true,
    after_help = EXIT_CODES,
    max_term_width = 110
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) run: RunConfig,
    #[command(flatten)]
    pub(super) options: Options,
    #[command(flatten)]
    pub(super) compute: ComputeConfig,
    #[command(flatten)]
    pub(super) embed: EmbedModel,
    #[command(flatten)]
    pub(super) lineage: LineageConfig,
    #[command(flatten)]
    pub(super) global: GlobalArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "General")]
pub(super) struct GlobalArgs {
    /// Print only errors; stdout still gets its JSON
    #[arg(short, long, global = true, env = "PURIFY_QUIET", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) quiet: bool,
    /// Print more (repeatable)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Options file to use instead of ./purify.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct InspectArgs {
    /// Files, globs or folders
    #[arg(required = true)]
    pub(super) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) errors: DetectConfig,
    #[command(flatten)]
    pub(super) columns: ColumnConfig,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Show up to N results on which the detector and the labels in the data disagree
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) disagreements: usize,
    /// Write what each tool result says: a Parquet file, one row for each
    #[arg(long, value_name = "FILE")]
    pub(super) results: Option<PathBuf>,
    /// Say how often each rule decided
    #[arg(long)]
    pub(super) rules_report: bool,
    /// Exit with 1 if a row can't be read, or if the main job would warn of something
    #[arg(long)]
    pub(super) strict: bool,
}

#[derive(Args, Debug)]
pub(super) struct ScoreArgs {
    #[command(flatten)]
    pub(super) score: ScoreConfig,
    #[command(flatten)]
    pub(super) model: ModelChoice,
    #[command(flatten)]
    pub(super) columns: ColumnConfig,
}

#[derive(Args, Debug)]
pub(super) struct EmbedArgs {
    #[command(flatten)]
    pub(super) embed: EmbedConfig,
    #[command(flatten)]
    pub(super) model: EmbedModel,
    #[command(flatten)]
    pub(super) columns: ColumnConfig,
}

#[derive(Args, Debug)]
pub(super) struct CalibrateArgs {
    #[command(flatten)]
    pub(super) calibrate: CalibrateConfig,
    #[command(flatten)]
    pub(super) model: EmbedModel,
    #[command(flatten)]
    pub(super) options: Options,
    #[command(flatten)]
    pub(super) compute: ComputeConfig,
}

#[derive(Args, Debug)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    pub(super) model: ModelChoice,
    #[command(flatten)]
    pub(super) train: TrainConfig,
    #[command(flatten)]
    pub(super) columns: ColumnConfig,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Show what is recognised in a file: columns, rows, messages, tools, errors, tokens
    Inspect(InspectArgs),
    /// Show the repaired steps of a rollout, before and after
    Diff {
        /// The file that was purified
        raw: PathBuf,
        /// What purify wrote
        purified: PathBuf,
        /// Id of the rollout; by default the first repaired ones are shown
        #[arg(long, value_name = "ID")]
        rollout: Option<String>,
        /// Maximum number of rollouts to show without --rollout
        #[arg(long, alias = "most", value_name = "N", default_value_t = 3)]
        max_rollouts: usize,
        /// Also say of each failure run why it was repaired or left
        #[arg(long)]
        why: bool,
        #[command(flatten)]
        columns: ColumnConfig,
    },
    /// Browse the repairs of a purified file in the terminal: list, search, before and after
    View {
        /// What purify wrote
        purified: PathBuf,
        /// The file that was purified
        #[arg(long, value_name = "FILE")]
        raw: Option<PathBuf>,
        #[command(flatten)]
        columns: ColumnConfig,
    },
    /// Restore the raw rows of a purified file, byte for byte
    Revert {
        /// What purify wrote
        purified: PathBuf,
        /// The file that was purified
        #[arg(long, value_name = "FILE")]
        raw: PathBuf,
        /// File to write; default: NAME.reverted.parquet beside the purified one
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        columns: ColumnConfig,
    },
    /// Embed the steps of rollouts: one vector for each distinct reasoning, call and code
    Embed(Box<EmbedArgs>),
    /// Find the semantic threshold whose decisions agree best with those of the text similarity
    Calibrate(Box<CalibrateArgs>),
    /// Compute the log-probs of rollouts under a policy, and the importance ratio of each repair
    Score(Box<ScoreArgs>),
    /// Train a policy on rollouts or pairs: a LoRA adapter, or every weight
    Train(Box<TrainArgs>),
    /// Compare recipes on one's own rollouts: each trains from the same weights, and held-out groups tell what changed
    Compare(Box<compare::CompareArgs>),
    /// Report what is wrong with a data set, what purifying did or would do to it, and how much depends on the settings
    Audit(Box<audit::AuditArgs>),
    /// Write purified rollouts or pairs in the form that a trainer reads
    Export(Box<export::ExportArgs>),
    /// Print a completion script
    Completions { shell: Shell },
    /// Print the man page
    Man,
    /// Print the options in force, as purify.toml
    Config {
        #[command(flatten)]
        options: Box<Options>,
        #[command(flatten)]
        compute: ComputeConfig,
        #[command(flatten)]
        model: Box<EmbedModel>,
    },
}

/// The tree of commands, for help, completions and generated files.
pub fn command() -> clap::Command {
    registered(Cli::command())
}

/// Gives options the values that registries hold.
fn registered(command: clap::Command) -> clap::Command {
    let forms = FORMS.iter().map(|form| PossibleValue::new(form.name).help(form.help)).collect::<Vec<_>>();
    let targets = targets::targets().map(|(name, help)| PossibleValue::new(name).help(help)).collect::<Vec<_>>();
    command
        .mut_args(|arg| match arg.get_id().as_str() {
            "format" => arg.value_parser(PossibleValuesParser::new(forms.clone())),
            "to" => arg.value_parser(PossibleValuesParser::new(targets.clone())),
            _ => arg,
        })
        .mut_subcommands(registered)
}
