//! `purify completions` and `purify man`: the tree of commands, written for shells and for `man`.

use clap::Command;

use super::printer::Printer;
use crate::error::{Error, ExitStatus};

#[cfg(feature = "completions")]
pub(super) use clap_complete::Shell;

/// Whatever shell is named: nothing can be printed for it.
#[cfg(not(feature = "completions"))]
pub(super) type Shell = String;

#[cfg(feature = "completions")]
pub(super) fn completions(shell: Shell, mut command: Command, printer: &Printer) -> Result<ExitStatus, Error> {
    printer.completions(shell, &mut command);
    Ok(ExitStatus::Done)
}

#[cfg(not(feature = "completions"))]
pub(super) fn completions(_: Shell, _: Command, _: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "make completion scripts", feature: "completions" })
}

#[cfg(feature = "completions")]
pub(super) fn man(command: Command, printer: &Printer) -> Result<ExitStatus, Error> {
    printer.man(command);
    Ok(ExitStatus::Done)
}

#[cfg(not(feature = "completions"))]
pub(super) fn man(_: Command, _: &Printer) -> Result<ExitStatus, Error> {
    Err(Error::NotBuilt { what: "make the man page", feature: "completions" })
}
