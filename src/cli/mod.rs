//! The command line: parses, resolves the layers of options, calls one library function, prints.
//!
//! Owns the tree of commands and the order default < profile < recipe < `purify.toml` < `PURIFY_*` < flags. Values are
//! declared in [`crate::options`]; everything that is printed goes through [`printer`].

mod audit;
mod compare;
mod diff;
mod embed;
mod export;
mod layers;
mod lineage;
pub mod printer;
mod progress;
pub mod reference;
#[cfg(feature = "schemas")]
pub mod schemas;
mod score;
mod signals;
mod train;
#[cfg(feature = "view")]
mod view;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::{Error, ExitStatus};
use crate::export as targets;
use crate::ingest::formats::FORMS;
use crate::options::{
    CalibrateConfig, ColumnConfig, ComputeConfig, DetectConfig, EmbedConfig, EmbedModel, LineageConfig, ModelChoice,
    Options, RunConfig, ScoreConfig, TrainConfig,
};
use crate::pipeline::survey::Survey;
use crate::pipeline::{self, Summary};
use crate::run::Run;
use lineage::Told;
use printer::{Printer, Verbosity};
use progress::TerminalProgress;

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
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunConfig,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    compute: ComputeConfig,
    #[command(flatten)]
    embed: EmbedModel,
    #[command(flatten)]
    lineage: LineageConfig,
    #[command(flatten)]
    global: GlobalArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "General")]
struct GlobalArgs {
    /// Print only errors; stdout still gets its JSON
    #[arg(short, long, global = true, env = "PURIFY_QUIET", value_parser = clap::builder::BoolishValueParser::new())]
    quiet: bool,
    /// Print more (repeatable)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Options file to use instead of ./purify.toml
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
    options: Options,
    #[command(flatten)]
    compute: ComputeConfig,
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
        /// Show up to N results on which the detector and the labels in the data disagree
        #[arg(long, value_name = "N", default_value_t = 0)]
        disagreements: usize,
        /// Write what each tool result says: a Parquet file, one row for each
        #[arg(long, value_name = "FILE")]
        results: Option<PathBuf>,
        /// Say how often each rule decided
        #[arg(long)]
        rules_report: bool,
        /// Exit with 1 if a row can't be read, or if the main job would warn of something
        #[arg(long)]
        strict: bool,
    },
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

/// Runs the program and returns its exit status.
pub fn run(args: Vec<OsString>) -> ExitStatus {
    let matches = match layers::resolve(command(), &args) {
        Ok(matches) => matches,
        Err(layers::LayerError::Clap(error)) => {
            // Help and version are not failures.
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
        None => purify(RunConfig { compute: cli.compute, ..cli.run }, cli.options, &cli.embed, &cli.lineage, printer),
        Some(Command::Inspect { inputs, errors, columns, json, disagreements, results, rules_report, strict }) => {
            let (signals, progress) = (signals::watch(), TerminalProgress::new(printer, None));
            let run = Run::new(0, &progress, &signals.seen)?;
            let detail = pipeline::survey::SurveyDetail { disagreements, results };
            let surveys = pipeline::survey::survey(&inputs, &errors, &columns, &detail, &run)?;
            printer.surveys(&surveys, json, rules_report);
            surveyed(&surveys, strict, printer)
        }
        Some(Command::Diff { raw, purified, rollout, max_rollouts, why, columns }) => {
            let asked = diff::Asked { rollout: rollout.as_deref(), max_rollouts, why };
            let found = diff::find(&raw, &purified, asked, &columns)?;
            printer.diffs(&found);
            Ok(ExitStatus::Done)
        }
        Some(Command::View { purified, raw, columns }) => {
            let raw = raw.ok_or_else(|| no_raw(&purified))?;
            show(&purified, &raw, &columns, printer)
        }
        Some(Command::Revert { purified, raw, out, columns }) => {
            let out = out.unwrap_or_else(|| purified.with_extension("reverted.parquet"));
            let signals = signals::watch();
            let progress = signals.progress(printer);
            let run = Run::new(0, &progress, &signals.seen)?;
            let report = pipeline::revert::revert(&purified, &raw, &out, &columns, &run)?;
            printer.reverted(&report);
            Ok(ExitStatus::Done)
        }
        Some(Command::Embed(args)) => embed::run(&args.embed, &args.model, &args.columns, printer),
        Some(Command::Calibrate(args)) => {
            embed::run_calibrate(&args.calibrate, &args.model, &args.options, &args.compute.embeddings, printer)
        }
        Some(Command::Score(args)) => score::run(&args.model, &args.score, &args.columns, printer),
        Some(Command::Train(args)) => train::run(&args.model, &args.train, &args.columns, printer),
        Some(Command::Compare(args)) => compare::run(&args, printer),
        Some(Command::Audit(args)) => audit::run(*args, printer),
        Some(Command::Export(args)) => export::run(&args, printer),
        Some(Command::Completions { shell }) => completions(shell, printer),
        Some(Command::Man) => man(printer),
        Some(Command::Config { options, compute: _, model }) => {
            printer.config(&options, &model);
            Ok(ExitStatus::Done)
        }
    }
}

/// What follows from what was found: a file of which nothing can be read is an error, whatever was asked for.
fn surveyed(surveys: &[Survey], strict: bool, printer: &Printer) -> Result<ExitStatus, Error> {
    let unreadable: u64 = surveys.iter().flat_map(|survey| survey.unreadable.values()).sum();
    let warnings = surveys.iter().flat_map(|survey| survey.warnings().into_iter().map(move |w| (survey, w)));
    let mut warned = 0;
    for (survey, warning) in warnings {
        warned += 1;
        printer.warning(&format!("`{}`: {warning}; {}", printer::escaped(&survey.file), warning.hint()));
    }
    if surveys.iter().all(Survey::kept_nothing) {
        let detail = match unreadable {
            0 => "the inputs hold no row".to_owned(),
            rows => format!("none of {rows} rows can be read"),
        };
        return Err(Error::NothingKept { detail });
    }
    Ok(if strict && (warned > 0 || unreadable > 0) { ExitStatus::Findings } else { ExitStatus::Done })
}

#[cfg(feature = "view")]
use view::run as show;

#[cfg(not(feature = "view"))]
fn show(_: &Path, _: &Path, _: &ColumnConfig, _: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "show repairs in the terminal (`purify diff` prints them)", feature: "view" })
}

#[cfg(feature = "completions")]
use clap_complete::Shell;

/// Whatever shell is named: nothing can be printed for it.
#[cfg(not(feature = "completions"))]
type Shell = String;

#[cfg(feature = "completions")]
fn completions(shell: Shell, printer: &Printer) -> Result<ExitStatus, Error> {
    printer.completions(shell, &mut command());
    Ok(ExitStatus::Done)
}

#[cfg(not(feature = "completions"))]
fn completions(_: Shell, _: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "make completion scripts", feature: "completions" })
}

#[cfg(feature = "completions")]
fn man(printer: &Printer) -> Result<ExitStatus, Error> {
    printer.man(command());
    Ok(ExitStatus::Done)
}

#[cfg(not(feature = "completions"))]
fn man(_: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "make the man page", feature: "completions" })
}

fn no_raw(purified: &Path) -> Error {
    let hint = format!("give the file that was purified: purify view {} --raw FILE", purified.display());
    Error::usage("`purify view` shows what was removed, which only the raw file has", Some(&hint))
}

fn purify(
    config: RunConfig,
    options: Options,
    model: &EmbedModel,
    lineage: &LineageConfig,
    printer: &Printer,
) -> Result<ExitStatus, Error> {
    let pairs = config.pairs || config.to.as_deref().is_some_and(targets::needs_pairs);
    let (shard, compression_level) = (config.shard, config.compression_level);
    let mut options = Options { pairs, shard, compression_level, ..options };
    let signals = signals::watch();
    let progress = signals.progress(printer);
    // A dry run writes nothing, so there is nothing to follow.
    let told = if config.dry_run { None } else { Told::start(lineage, &config.inputs, &options, printer)? };
    let mut whole = || -> Result<Summary, Error> {
        let (inputs, files, threads) = (&config.inputs, &config.compute.embeddings, config.threads);
        let prepared = embed::vectors(inputs, model, files, &mut options, threads, &signals, printer)?;
        let vectors = prepared.as_ref().map(|p| &p.vectors);
        let judge = score::judge(&options.gate, config.compute.gate_device)?;
        let run = Run::new(threads, &progress, &signals.seen)?;
        let summary = pipeline::run(&config, &options, vectors, judge.as_deref(), &run)?;
        if let Some(path) = &config.report {
            pipeline::write_report(path, &options, &summary)?;
        }
        Ok(summary)
    };
    let summary = match told {
        Some(told) => told.end(whole(), lineage::of_run)?,
        None => whole()?,
    };
    printer.summary(&summary, config.dry_run);
    if let Some(exported) = &summary.exported {
        export::say(exported, printer);
    }
    let counts = &summary.counts;
    if counts.kept_nothing() {
        let detail = match counts.rows_in {
            0 => "the inputs hold no row".to_owned(),
            rows => format!("all {rows} rows were rejected ({})", printer::listed(&counts.rejects)),
        };
        return Err(Error::NothingKept { detail });
    }
    match summary.gate_failures.len() {
        0 => Ok(ExitStatus::Done),
        failed => {
            let gates = config.fail_if.len() + usize::from(config.strict);
            Err(Error::Gates { failed, gates: gates.max(failed) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Profile, Unrecovered};

    /// Defaults only: the environment of whoever runs the tests is left out.
    fn resolved(args: &[&str]) -> Options {
        fn without_environment(command: clap::Command) -> clap::Command {
            let command = command.mut_args(|arg| arg.env(None::<&str>));
            command.mut_subcommands(without_environment)
        }
        let args: Vec<OsString> = [&["purify", "--in", "a.parquet"], args].concat().iter().map(Into::into).collect();
        let matches = layers::resolve(without_environment(command()), &args);
        let matches = matches.unwrap_or_else(|_| panic!("{args:?} is not a command line"));
        let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{error}"));
        cli.options
    }

    #[test]
    fn default_options_are_those_of_an_empty_command_line() {
        assert_eq!(resolved(&[]), Options::default());
    }

    #[test]
    fn trainers_options_of_the_library_are_those_of_a_command_line_that_names_no_other() {
        use crate::options::Objective;
        let args = ["purify", "train", "--data", "a", "--out", "b", "--objective", "grpo", "--model", "m"];
        let matches = command().mut_subcommand("train", |c| c.mut_args(|arg| arg.env(None::<&str>)));
        let matches = matches.try_get_matches_from(args).unwrap_or_else(|error| panic!("{error}"));
        let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{error}"));
        let Some(Command::Train(typed)) = cli.command else { panic!("it is the trainer") };
        let built = TrainConfig::new(Objective::Grpo, vec!["a".into()], "b".into());
        assert_eq!(format!("{:?}", typed.train), format!("{built:?}"));
    }

    #[test]
    fn options_of_a_profile_are_those_of_the_command_line() {
        for profile in [Profile::Default, Profile::Saar, Profile::OpenCleaner] {
            assert_eq!(resolved(&["--profile", profile.name()]), Options::of_profile(profile));
        }
        let kept = resolved(&["--profile", "open-cleaner", "--unrecovered", "keep"]);
        assert_eq!(kept.method.unrecovered, Unrecovered::Keep);
        assert_eq!(kept.method.max_attempts, 30);
    }

    #[test]
    fn every_option_of_the_method_can_be_typed() {
        let command = command();
        let ids: Vec<&str> = command.get_arguments().map(|arg| arg.get_id().as_str()).collect();
        let all = serde_json::to_value(Options::default()).unwrap_or_default();
        let sections = all.as_object().into_iter().flatten();
        for name in sections.flat_map(|(name, value)| value.as_object().map_or(vec![name], |s| s.keys().collect())) {
            // The card is found, never typed.
            assert!(ids.contains(&name.as_str()) || name == "vectors", "{name}");
        }
    }
}
