//! `purify inspect`: what is recognised in files, and whether anything of it can be read.

use super::printer::{self, Printer};
use super::progress::TerminalProgress;
use super::signals;
use super::tree::InspectArgs;
use crate::error::{Error, ExitStatus};
use crate::pipeline::survey::{self, Survey, SurveyDetail};
use crate::run::Run;

pub(super) fn run(args: &InspectArgs, printer: &Printer) -> Result<ExitStatus, Error> {
    let (signals, progress) = (signals::watch(), TerminalProgress::new(printer, None));
    let run = Run::new(0, &progress, &signals.seen)?;
    let detail = SurveyDetail { disagreements: args.disagreements, results: args.results.clone() };
    let surveys = survey::survey(&args.inputs, &args.errors, &args.columns, &detail, &run)?;
    printer.surveys(&surveys, args.json, args.rules_report);
    surveyed(&surveys, args.strict, printer)
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
