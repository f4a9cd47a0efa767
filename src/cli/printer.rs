//! The only file that prints: data on stdout, everything else on stderr.
//!
//! Owns colours and tables. Text from data goes through [`escaped`] first: control characters are shown,
//! never sent. Colours follow the terminal, `NO_COLOR` and `CLICOLOR_FORCE`.

use std::fmt::Write as _;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use indicatif::HumanCount;

use super::diff::{Line, RolloutDiff};
use crate::error::Error;
use crate::options::{EmbedModel, Options};
use crate::pipeline::Summary;
use crate::pipeline::revert::RevertReport;
use crate::pipeline::survey::Survey;

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();
/// Entries of a table; the report file has all.
const MAX_ENTRIES: usize = 12;

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

/// Text from data, fit for a terminal: control characters and direction marks are shown as escapes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let is_hidden =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if c == '\t' {
            out.push_str("    ");
        } else if c.is_control() || is_hidden {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes to stdout; a reader that has gone away (`| head`) is not an error.
fn stdout(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn stderr(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = out.write_all(text.as_bytes());
}

/// What clap has to say: help and version on stdout, complaints on stderr.
pub fn clap_message(error: &clap::Error) {
    let _ = error.print();
}

pub struct Printer {
    verbosity: Verbosity,
}

impl Printer {
    pub fn new(verbosity: Verbosity) -> Self {
        Printer { verbosity }
    }

    /// `error:`, what caused it, then the hint.
    pub fn error(&self, error: &Error) {
        let mut out = format!("{ERROR}error:{ERROR:#} {}\n", one_line(&error.to_string()));
        let mut cause = std::error::Error::source(error);
        let mut said = error.to_string();
        while let Some(source) = cause {
            let text = source.to_string();
            // Wrappers that only pass their inner text on say nothing new.
            if !said.contains(&text) {
                let _ = writeln!(out, "{ERROR}caused by:{ERROR:#} {}", one_line(&text));
            }
            said = text;
            cause = source.source();
        }
        if let Some(hint) = error.hint() {
            let _ = writeln!(out, "\n{HINT}hint:{HINT:#} {}", one_line(&hint));
        }
        stderr(&out);
    }

    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// One line on stderr; text from data in it must have been escaped.
    pub fn line(&self, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            stderr(&format!("{text}\n"));
        }
    }

    /// What went wrong and is not an error: it is said even where nothing else is.
    pub fn warning(&self, text: &str) {
        stderr(&format!("warning: {text}\n"));
    }

    /// As [`Printer::line`], where more is wanted.
    pub fn detail(&self, text: &str) {
        if self.verbosity > Verbosity::Normal {
            stderr(&format!("{text}\n"));
        }
    }

    /// One line of JSON on stdout.
    pub fn json(&self, value: &serde_json::Value) {
        stdout(&format!("{value}\n"));
    }

    /// A short table on stderr; the counters as one line of JSON on stdout.
    pub fn summary(&self, summary: &Summary, dry_run: bool) {
        if self.verbosity > Verbosity::Quiet {
            stderr(&self.summary_table(summary, dry_run));
        }
        for warning in &summary.warnings {
            self.warning(&format!("{warning}; {}", warning.hint()));
        }
        for undecided in &summary.gates_undecided {
            self.warning(&escaped(undecided));
        }
        for failure in &summary.gate_failures {
            stderr(&format!("{ERROR}{}{ERROR:#}\n", escaped(failure)));
        }
        stdout(&format!("{}\n", summary.to_json()));
    }

    fn summary_table(&self, summary: &Summary, dry_run: bool) -> String {
        let counts = &summary.counts;
        let rates = counts.rates();
        let percent = |name: &str| format!("{:.1}%", rates.get(name).copied().flatten().unwrap_or_default() * 100.0);
        let mut out = String::new();
        let mut row = |name: &str, value: u64, note: String| {
            let _ = writeln!(out, "  {name:<18}{:>12}  {DIM}{note}{DIM:#}", grouped(value));
        };
        row(
            "rollouts read",
            counts.rows_in,
            format!("{} {}", summary.inputs.len(), if summary.inputs.len() == 1 { "file" } else { "files" }),
        );
        if counts.rows_elsewhere > 0 {
            row("of other shards", counts.rows_elsewhere, String::new());
        }
        row(
            "rollouts written",
            counts.rows_out,
            if dry_run { "dry run: nothing is written".to_owned() } else { String::new() },
        );
        row("changed", counts.rows_changed, percent("changed_rate"));
        row("rejected", counts.rows_rejected, listed(&counts.rejects));
        if let Some(groups) = &summary.groups {
            row("advantages known", groups.told, groups.to_string());
        }
        row(
            "attempts",
            counts.attempts,
            format!("{} failed ({})", grouped(counts.failed_attempts), percent("failure_rate")),
        );
        row(
            "failure runs",
            counts.recovered + counts.unrecovered,
            format!("{} unrecovered ({})", grouped(counts.unrecovered), percent("unrecovered_rate")),
        );
        row(
            "repairs",
            counts.repairs,
            format!("{} shallow, {} deep", grouped(counts.repairs_shallow), grouped(counts.repairs_deep)),
        );
        if counts.collapsed > 0 {
            row("collapsed runs", counts.collapsed, String::new());
        }
        if counts.masked_attempts > 0 {
            row("masked attempts", counts.masked_attempts, String::new());
        }
        if !counts.skipped.is_empty() {
            row("left unchanged", counts.skipped.values().sum(), listed(&counts.skipped));
        }
        row("messages removed", counts.removed_messages, String::new());
        if counts.removed_tokens > 0 {
            row("tokens removed", counts.removed_tokens, String::new());
        }
        if counts.pairs > 0 {
            row("pairs", counts.pairs, String::new());
        }
        if !counts.error_types.is_empty() && self.verbosity == Verbosity::Verbose {
            row("errors repaired", counts.error_types.values().sum(), listed(&counts.error_types));
        }
        if summary.resumed > 0 {
            let _ = writeln!(out, "  {} files were finished by an earlier run", summary.resumed);
        }
        for path in &summary.written {
            let _ = writeln!(out, "  {GREEN}wrote{GREEN:#} {}", escaped(&path.to_string_lossy()));
        }
        let _ = writeln!(out, "  {DIM}{:.1} s{DIM:#}", summary.seconds);
        out
    }

    pub fn surveys(&self, surveys: &[Survey], json: bool, rules: bool) {
        for survey in surveys {
            if json {
                stdout(&format!("{}\n", serde_json::to_string(survey).unwrap_or_default()));
            } else {
                stdout(&survey_text(survey, rules));
            }
        }
    }

    pub fn diffs(&self, diffs: &[RolloutDiff]) {
        let mut out = String::new();
        for diff in diffs {
            let _ = writeln!(out, "{BOLD}rollout {}{BOLD:#}", escaped(&diff.id));
            for why in &diff.why {
                let _ = writeln!(out, "  {}", escaped(&why.title));
                why.lines.iter().for_each(|line| {
                    let _ = writeln!(out, "    {}", escaped(line));
                });
            }
            for hunk in &diff.hunks {
                let _ = writeln!(out, "{HINT}{}{HINT:#}", escaped(&hunk.title));
                for line in &hunk.lines {
                    let _ = match line {
                        Line::Same(text) => writeln!(out, "  {}", escaped(text)),
                        Line::Gone(text) => writeln!(out, "{RED}- {}{RED:#}", escaped(text)),
                        Line::New(text) => writeln!(out, "{GREEN}+ {}{GREEN:#}", escaped(text)),
                    };
                }
            }
            if diff.hunks.is_empty() {
                let _ = writeln!(out, "  no difference");
            }
            out.push('\n');
        }
        stdout(&out);
    }

    pub fn reverted(&self, report: &RevertReport) {
        if self.verbosity > Verbosity::Quiet {
            stderr(&format!(
                "  {} rows, {} of them had been repaired\n  {GREEN}wrote{GREEN:#} {}\n",
                grouped(report.rows),
                grouped(report.restored),
                escaped(&report.path.to_string_lossy())
            ));
        }
        stdout(&format!("{}\n", serde_json::to_string(report).unwrap_or_default()));
    }

    #[cfg(feature = "completions")]
    pub fn completions(&self, shell: clap_complete::Shell, command: &mut clap::Command) {
        let mut out = Vec::new();
        clap_complete::generate(shell, command, "purify", &mut out);
        stdout(&String::from_utf8_lossy(&out));
    }

    #[cfg(feature = "completions")]
    pub fn man(&self, command: clap::Command) {
        let mut out = Vec::new();
        let _ = clap_mangen::Man::new(command).render(&mut out);
        let mut raw = std::io::stdout().lock();
        let _ = raw.write_all(&out);
    }

    /// The settings in force, in the form of `purify.toml`.
    pub fn config(&self, settings: &Options, model: &EmbedModel) {
        let mut out = String::new();
        let sections = [
            serde_json::to_value(&settings.method),
            serde_json::to_value(&settings.decision),
            serde_json::to_value(&settings.rewards),
            serde_json::to_value(&settings.errors),
            serde_json::to_value(&settings.columns),
            serde_json::to_value(&settings.gate),
            serde_json::to_value(&settings.guard),
            serde_json::to_value(&settings.semantic),
            serde_json::to_value(model),
        ];
        for section in sections.into_iter().flatten() {
            for (name, value) in section.as_object().into_iter().flatten() {
                // JSON's scalars and lists of strings are TOML's as well; what is null is not set.
                let key = name.replace('_', "-");
                let _ = match value.is_null() {
                    true => writeln!(out, "# {key} ="),
                    false => writeln!(out, "{key} = {value}"),
                };
            }
        }
        stdout(&out);
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(|line| escaped(line.trim())).collect::<Vec<_>>().join(" ")
}

pub(super) fn listed(counts: &std::collections::BTreeMap<String, u64>) -> String {
    let mut entries: Vec<_> = counts.iter().collect();
    entries.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
    let more = entries.len().saturating_sub(MAX_ENTRIES);
    let mut out: Vec<String> = entries
        .iter()
        .take(MAX_ENTRIES)
        .map(|(name, count)| format!("{} {}", escaped(name), grouped(**count)))
        .collect();
    if more > 0 {
        out.push(format!("{more} more"));
    }
    out.join(", ")
}

/// The first part of a text, marked where it was cut.
fn head(text: &str) -> String {
    const MAX: usize = 600;
    let cut = text.floor_char_boundary(MAX);
    if cut < text.len() { format!("{}…", &text[..cut]) } else { text.to_owned() }
}

/// Digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

fn survey_text(survey: &Survey, rules: bool) -> String {
    let mut out = format!("{BOLD}{}{BOLD:#}\n", escaped(&survey.file));
    let mut row = |name: &str, text: String| {
        let _ = writeln!(out, "  {name:<20}{text}");
    };
    row("format", format!("{}, {} bytes", survey.format, grouped(survey.bytes)));
    row("rollouts", format!("{} ({} can't be read)", grouped(survey.rows), grouped(survey.unreadable.values().sum())));
    if !survey.unreadable.is_empty() {
        row("unreadable", listed(&survey.unreadable));
    }
    for (what, column) in &survey.recognised {
        row(what, format!("`{}`", escaped(column)));
    }
    row(
        "passed through",
        match survey.passed_through.is_empty() {
            true => "nothing".to_owned(),
            false => survey.passed_through.iter().map(|c| format!("`{}`", escaped(c))).collect::<Vec<_>>().join(", "),
        },
    );
    if !survey.not_kept.is_empty() {
        let rows = |n: u64| format!("{} {}", grouped(n), if n == 1 { "row" } else { "rows" });
        let lost = survey.not_kept.iter().map(|(what, n)| format!("{} ({})", escaped(what), rows(*n)));
        row("not kept", lost.collect::<Vec<_>>().join(", "));
    }
    row("groups", survey.groups.map_or_else(|| "unknown: no column says".to_owned(), grouped));
    row("messages", listed(&survey.messages));
    row("steps", format!("{}, {} of them attempts", grouped(survey.steps), grouped(survey.attempts)));
    row("attempts", listed(&survey.outcomes));
    row(
        "errors labelled",
        format!(
            "{} of {} results",
            grouped(survey.labelled),
            grouped(survey.messages.get("tool").copied().unwrap_or_default())
        ),
    );
    row("failure runs", format!("{} recovered, {} not", grouped(survey.recovered), grouped(survey.unrecovered)));
    row("tools", listed(&survey.tools));
    row("results", listed(&survey.verdicts));
    row("error types", listed(&survey.error_types));
    if survey.refused > 0 {
        row("refused turns", format!("{}: the harness could not read a call in them", grouped(survey.refused)));
    }
    if survey.unasked > 0 {
        row("results apart", format!("{} answer no call", grouped(survey.unasked)));
    }
    if let Some(tokens) = survey.tokens {
        row("response tokens", grouped(tokens));
    }
    if let Some((precision, recall, f1)) = survey.agreement.scores() {
        row("detector, blind", format!("precision {precision:.4}, recall {recall:.4}, F1 {f1:.4} against the labels"));
    }
    for example in &survey.agreement.examples {
        let verdict =
            if example.labelled_error { "labelled an error, not detected" } else { "detected, not labelled an error" };
        let _ = writeln!(out, "\n  {BOLD}{} message {}: {verdict}{BOLD:#}", escaped(&example.rollout), example.message);
        let _ = writeln!(out, "  {DIM}{}{DIM:#}", escaped(&head(&example.call)));
        for line in head(&example.result).lines() {
            let _ = writeln!(out, "  | {}", escaped(line));
        }
    }
    if rules {
        let _ = writeln!(out, "\n  {BOLD}how often each rule decided{BOLD:#}");
        for (name, times) in &survey.rules {
            let _ = writeln!(out, "  {:>12}  {}", grouped(*times), escaped(name));
        }
    }
    let _ = writeln!(out, "  {BOLD}{}{BOLD:#}", escaped(&survey.outlook()));
    out
}
