//! The page `docs/options.md`, made from the tree of commands.
//!
//! Owns the page's form alone: names, values, defaults and texts are those of `--help`. A test compares it with the
//! committed page; `scripts/regenerate.sh` writes it.

use std::collections::HashMap;
use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

use super::tree::command;

const OPENING: &str = "\
# Options

This page is generated from the program's help (`scripts/regenerate.sh --write`).

Options come from defaults < `--profile` < `purify.toml` < `PURIFY_*` variables < flags. In `purify.toml` an option is written without its dashes
(`similarity-threshold = 0.5`); lists are arrays. `purify config` prints what is in force.
";

/// The whole page.
pub fn options() -> String {
    let root = command();
    let of_root: HashMap<&str, &Arg> = shown(&root).filter_map(|arg| Some((arg.get_long()?, arg))).collect();
    let mut out = OPENING.to_owned();
    section(&mut out, "purify", &root, shown(&root).collect(), &[]);
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let is_shared = |arg: &&Arg| {
            arg.get_long().and_then(|long| of_root.get(long)).is_some_and(|same| same.get_help() == arg.get_help())
        };
        let (shared, own): (Vec<&Arg>, Vec<&Arg>) = shown(command).partition(is_shared);
        section(&mut out, &format!("purify {}", command.get_name()), command, own, &shared);
    }
    out
}

fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
}

/// What one command takes: its own arguments by heading, and the names of those that the main job has too.
fn section(out: &mut String, title: &str, command: &Command, own: Vec<&Arg>, shared: &[&Arg]) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(out, "\n## {title}\n\n{about}.\n");
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &own {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            let _ = write!(out, "\n**{heading}**\n");
        }
        out.push_str("\n| option | default | |\n| --- | --- | --- |\n");
        own.iter().filter(|arg| arg.get_help_heading() == heading).for_each(|arg| out.push_str(&row(arg)));
    }
    if !shared.is_empty() {
        let names: Vec<String> = shared.iter().filter_map(|arg| Some(format!("`--{}`", arg.get_long()?))).collect();
        let _ = write!(out, "\nAs the main job: {}.\n", names.join(", "));
    }
}

fn row(arg: &Arg) -> String {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let values: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let name = match (arg.get_long(), arg.get_short()) {
        (None, _) => values.join(" "),
        (Some(long), short) => {
            let short = short.map(|short| format!("-{short}, ")).unwrap_or_default();
            let is_listed = !arg.get_possible_values().is_empty();
            let value = match takes_value && !is_listed && !values.is_empty() {
                true => format!(" {}", values.join(" ")),
                false => String::new(),
            };
            format!("{short}--{long}{value}")
        }
    };
    let aliases: Vec<String> =
        arg.get_visible_aliases().unwrap_or_default().iter().map(|alias| format!("`--{alias}`")).collect();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default = match (takes_value, defaults.is_empty()) {
        (true, false) => format!("`{}`", defaults.join(",").replace(',', ", ")),
        _ => String::new(),
    };
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set() && takes_value) {
        let help = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
        let _ = write!(text, "<br>`{}`{help}", value.get_name());
    }
    if !aliases.is_empty() {
        let _ = write!(text, "<br>Also {}", aliases.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, "<br>`{}`", variable.to_string_lossy());
    }
    // Inside a table a bar ends the cell.
    let cell = |text: String| text.replace('|', "\\|");
    format!("| `{}` | {} | {} |\n", cell(name), cell(default), cell(text))
}
