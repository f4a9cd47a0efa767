//! The command line: parses, resolves the layers of options, calls one library function, prints.
//!
//! Owns the order default < profile < recipe < `purify.toml` < `PURIFY_*` < flags. The tree of commands is
//! `tree`'s, values are declared in [`crate::options`]; everything that is printed goes through [`printer`].

mod audit;
mod compare;
mod completions;
mod diff;
mod embed;
mod export;
mod inspect;
mod layers;
mod lineage;
pub mod printer;
mod progress;
mod purify;
pub mod reference;
#[cfg(feature = "schemas")]
pub mod schemas;
mod score;
mod signals;
mod train;
mod tree;
#[cfg(feature = "view")]
mod view;

use std::ffi::OsString;
use std::path::Path;

use clap::FromArgMatches;

use crate::error::{Error, ExitStatus};
#[cfg(not(feature = "view"))]
use crate::options::ColumnConfig;
use crate::options::RunConfig;
use crate::pipeline;
use crate::run::Run;
use printer::{Printer, Verbosity};
pub use tree::command;
use tree::{Cli, Command};

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
        None => {
            purify::run(RunConfig { compute: cli.compute, ..cli.run }, cli.options, &cli.embed, &cli.lineage, printer)
        }
        Some(Command::Inspect(args)) => inspect::run(&args, printer),
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
        Some(Command::Completions { shell }) => completions::completions(shell, command(), printer),
        Some(Command::Man) => completions::man(command(), printer),
        Some(Command::Config { options, compute: _, model }) => {
            printer.config(&options, &model);
            Ok(ExitStatus::Done)
        }
    }
}

#[cfg(feature = "view")]
use view::run as show;

#[cfg(not(feature = "view"))]
fn show(_: &Path, _: &Path, _: &ColumnConfig, _: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "show repairs in the terminal (`purify diff` prints them)", feature: "view" })
}

fn no_raw(purified: &Path) -> Error {
    let hint = format!("give the file that was purified: purify view {} --raw FILE", purified.display());
    Error::usage("`purify view` shows what was removed, which only the raw file has", Some(&hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Options, Profile, TrainConfig, Unrecovered};

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
