//! The command line: parses, resolves the layers of options, calls one library function, prints.
//!
//! Owns the tree of commands and the order default < profile < `purify.toml` < `PURIFY_*` < flags. Values are
//! declared in [`crate::config`]; everything that is printed goes through [`printer`].

mod audit;
mod bar;
mod diff;
mod embed;
mod export;
mod layers;
mod lineage;
pub mod printer;
pub mod reference;
pub mod schemas;
mod score;
mod signals;
mod train;
mod view;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{
    CalibrateConfig, ColumnConfig, DetectConfig, EmbedConfig, EmbedModel, GateConfig, GuardConfig, LineageConfig,
    ModelChoice, RunConfig, SaarConfig, ScoreConfig, SemanticConfig, Settings, TrainConfig,
};
use crate::error::{Error, ExitStatus};
use crate::pipeline::{self, Summary};
use lineage::Told;
use printer::{Printer, Verbosity};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a gate failed: --fail-if, or --strict with rejected rows; or training met a loss that is no number
  2    usage
  3    an input can't be read
  4    an output can't be written
  130  interrupted (143: terminated)

Options are taken from: defaults < --profile < purify.toml < PURIFY_* variables < flags.
The last line on stdout is one JSON object with the counters.";

/// Replace failed tool calls in stored agent rollouts by the model's own corrections (SAAR, arXiv 2601.15141)
#[derive(Parser, Debug)]
#[command(
    name = "purify",
    version,
    subcommand_negates_reqs = true,
    after_help = EXIT_CODES,
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunConfig,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    embed: EmbedModel,
    #[command(flatten)]
    lineage: LineageConfig,
    #[command(flatten)]
    global: GlobalArgs,
}

#[derive(Args, Debug)]
struct SettingsArgs {
    #[command(flatten)]
    method: SaarConfig,
    #[command(flatten)]
    errors: DetectConfig,
    #[command(flatten)]
    columns: ColumnConfig,
    #[command(flatten)]
    gate: GateConfig,
    #[command(flatten)]
    guard: GuardConfig,
    #[command(flatten)]
    semantic: SemanticConfig,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "General")]
struct GlobalArgs {
    /// Say nothing but errors; stdout still gets its JSON
    #[arg(short, long, global = true, env = "PURIFY_QUIET", value_parser = clap::builder::BoolishValueParser::new())]
    quiet: bool,
    /// Say more (repeatable)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// File of options in place of ./purify.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct ScoreArgs {
    #[command(flatten)]
    score: ScoreConfig,
    #[command(flatten)]
    model: ModelChoice,
    #[command(flatten)]
    columns: ColumnConfig,
}

#[derive(Args, Debug)]
struct EmbedArgs {
    #[command(flatten)]
    embed: EmbedConfig,
    #[command(flatten)]
    model: EmbedModel,
    #[command(flatten)]
    columns: ColumnConfig,
}

#[derive(Args, Debug)]
struct CalibrateArgs {
    #[command(flatten)]
    calibrate: CalibrateConfig,
    #[command(flatten)]
    model: EmbedModel,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Args, Debug)]
struct TrainArgs {
    #[command(flatten)]
    model: ModelChoice,
    #[command(flatten)]
    train: TrainConfig,
    #[command(flatten)]
    columns: ColumnConfig,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show what is recognised in a file: columns, rows, messages, tools, errors, tokens
    Inspect {
        /// Files, globs or folders
        #[arg(required = true)]
        inputs: Vec<PathBuf>,
        #[command(flatten)]
        errors: DetectConfig,
        #[command(flatten)]
        columns: ColumnConfig,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Show this many results on which the detector and the data's labels differ
        #[arg(long, value_name = "N", default_value_t = 0)]
        disagreements: usize,
    },
    /// Show the repaired steps of a rollout, before and after
    Diff {
        raw: PathBuf,
        purified: PathBuf,
        /// Name of the rollout; without it the first repaired ones
        #[arg(long, value_name = "ID")]
        rollout: Option<String>,
        /// How many rollouts to show without --rollout
        #[arg(long, default_value_t = 3)]
        most: usize,
        #[command(flatten)]
        columns: ColumnConfig,
    },
    /// Show the repairs of a purified file in the terminal: list, search, step through, before and after
    View {
        purified: PathBuf,
        /// The file that was purified
        #[arg(long, value_name = "FILE")]
        raw: Option<PathBuf>,
        #[command(flatten)]
        columns: ColumnConfig,
    },
    /// Write the raw rows of a purified file again, byte for byte
    Revert {
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
    /// Find the semantic threshold that decides most like the text does
    Calibrate(Box<CalibrateArgs>),
    /// Compute the log-probs of rollouts under a policy, and how likely it finds each correction by itself
    Score(Box<ScoreArgs>),
    /// Train a policy on rollouts or pairs: a LoRA adapter, or every weight
    Train(Box<TrainArgs>),
    /// Say what is wrong with a data set, what purifying did or would do to it, and what hangs on the settings
    Audit(Box<audit::AuditArgs>),
    /// Write purified rollouts or pairs in the form that a trainer eats
    Export(Box<export::ExportArgs>),
    /// Print a completion script
    Completions { shell: clap_complete::Shell },
    /// Print the man page
    Man,
    /// Print the options in force, as purify.toml
    Config {
        #[command(flatten)]
        settings: Box<SettingsArgs>,
        #[command(flatten)]
        model: Box<EmbedModel>,
    },
}

/// The tree of commands, for help, completions and generated files.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program and returns its exit status.
pub fn run(args: Vec<OsString>) -> ExitStatus {
    let matches = match layers::resolve(command(), &args) {
        Ok(matches) => matches,
        Err(layers::LayerError::Clap(error)) => {
            // Help and version are no failure.
            let status = if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Done };
            printer::clap_message(&error);
            return status;
        }
        Err(layers::LayerError::File(error)) => {
            Printer::new(Verbosity::Normal).error(&error);
            return error.status();
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            printer::clap_message(&error.format(&mut command()));
            return ExitStatus::Usage;
        }
    };
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, _) => Verbosity::Verbose,
    };
    let printer = Printer::new(verbosity);
    match dispatch(cli, &printer) {
        Ok(status) => status,
        Err(error) => {
            printer.error(&error);
            error.status()
        }
    }
}

fn dispatch(cli: Cli, printer: &Printer) -> Result<ExitStatus, Error> {
    match cli.command {
        None => purify(cli.run, cli.settings, &cli.embed, &cli.lineage, printer),
        Some(Command::Inspect { inputs, errors, columns, json, disagreements }) => {
            let surveys = pipeline::survey::survey(&inputs, &errors, &columns, disagreements)?;
            printer.surveys(&surveys, json);
            Ok(ExitStatus::Done)
        }
        Some(Command::Diff { raw, purified, rollout, most, columns }) => {
            let found = diff::find(&raw, &purified, rollout.as_deref(), most, &columns)?;
            printer.diffs(&found);
            Ok(ExitStatus::Done)
        }
        Some(Command::View { purified, raw, columns }) => {
            let raw = raw.ok_or_else(|| no_raw(&purified))?;
            view::run(&purified, &raw, &columns, printer)
        }
        Some(Command::Revert { purified, raw, out, columns }) => {
            let out = out.unwrap_or_else(|| purified.with_extension("reverted.parquet"));
            let report = pipeline::revert::revert(&purified, &raw, &out, &columns)?;
            printer.reverted(&report);
            Ok(ExitStatus::Done)
        }
        Some(Command::Embed(args)) => embed::run(&args.embed, &args.model, &args.columns, printer),
        Some(Command::Calibrate(args)) => {
            let settings = args.settings.into_settings(false, None, 1);
            embed::run_calibrate(&args.calibrate, &args.model, &settings, printer)
        }
        Some(Command::Score(args)) => score::run(&args.model, &args.score, &args.columns, printer),
        Some(Command::Train(args)) => train::run(&args.model, &args.train, &args.columns, printer),
        Some(Command::Audit(args)) => audit::run(*args, printer),
        Some(Command::Export(args)) => export::run(&args, printer),
        Some(Command::Completions { shell }) => {
            printer.completions(shell, &mut command());
            Ok(ExitStatus::Done)
        }
        Some(Command::Man) => {
            printer.man(command());
            Ok(ExitStatus::Done)
        }
        Some(Command::Config { settings, model }) => {
            printer.config(&settings.into_settings(false, None, 1), &model);
            Ok(ExitStatus::Done)
        }
    }
}

fn no_raw(purified: &Path) -> Error {
    let hint = format!("give the file that was purified: purify view {} --raw FILE", purified.display());
    Error::usage("`purify view` shows what was removed, which only the raw file has", Some(&hint))
}

impl SettingsArgs {
    fn into_settings(self, pairs: bool, shard: Option<crate::config::Shard>, compression_level: i32) -> Settings {
        let SettingsArgs { method, errors, columns, gate, guard, semantic } = self;
        Settings { compression_level, pairs, shard, gate, guard, semantic, ..Settings::new(method, errors, columns) }
    }
}

fn purify(
    run: RunConfig,
    settings: SettingsArgs,
    model: &EmbedModel,
    lineage: &LineageConfig,
    printer: &Printer,
) -> Result<ExitStatus, Error> {
    let pairs = run.pairs || run.to.is_some_and(|to| to.needs_pairs());
    let mut settings = settings.into_settings(pairs, run.shard, run.compression_level);
    let signals = signals::watch();
    let progress = printer.progress(Arc::clone(&signals.at_once));
    // A dry run writes nothing, so there is nothing to follow.
    let told = if run.dry_run { None } else { Told::start(lineage, &run.inputs, &settings, printer)? };
    let mut whole = || -> Result<Summary, Error> {
        let prepared = embed::vectors(&run.inputs, model, &mut settings, &signals, printer)?;
        let vectors = prepared.as_ref().map(|p| &p.vectors);
        let judge = score::judge(&settings.gate)?;
        let summary = pipeline::run(&run, &settings, vectors, judge.as_deref(), &progress, &signals.seen)?;
        if let Some(path) = &run.report {
            pipeline::write_report(path, &settings, &summary)?;
        }
        Ok(summary)
    };
    let summary = match told {
        Some(told) => told.end(whole(), lineage::of_run)?,
        None => whole()?,
    };
    printer.summary(&summary, run.dry_run);
    if let Some(exported) = &summary.exported {
        export::say(exported, printer);
    }
    match summary.gate_failures.len() {
        0 => Ok(ExitStatus::Done),
        failed => Err(Error::Gates { failed, gates: run.fail_if.len() + usize::from(run.strict) }),
    }
}
