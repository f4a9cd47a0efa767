//! The card of a data set folder: front matter that the hubs read, and a written-out account of what was done.
//!
//! Owns its text. Names of files are data: they go in as code, with nothing in them that Markdown or YAML would read.

use std::fmt::Write;

use serde_json::Value;

/// What the card tells.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub version: &'static str,
    pub license: Option<String>,
    /// The rollouts; files whose columns differ from one another stand apart, since a data set has one schema.
    pub rollouts: Vec<Rollouts>,
    pub sft: u64,
    /// The configuration `sft` holds tokens.
    pub as_tokens: bool,
    /// Absent where there are no pairs.
    pub dpo: Option<u64>,
    /// Absent where the rollouts have no record of repairs.
    pub repairs: Option<u64>,
    pub rejected: u64,
    /// (file, rows, hash) of what was exported.
    pub inputs: Vec<(String, u64, String)>,
    /// The method's settings, if the main job's manifest was there.
    pub settings: Option<Value>,
    /// Its counters.
    pub counts: Value,
}

/// Files of rollouts with the same columns.
#[derive(Clone, Debug, Default)]
pub struct Rollouts {
    pub files: Vec<String>,
    pub rows: u64,
}

/// The hubs' classes of sizes, by their upper bounds.
const SIZES: [(u64, &str); 6] = [
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (u64::MAX, "n>10M"),
];

/// File of each form.
pub const PART: &str = "train-00000-of-00001.parquet";
/// Title of every card; a README without it is somebody else's.
pub const TITLE: &str = "# Purified rollouts";

fn rollouts_name(index: usize) -> String {
    if index == 0 { "rl".to_owned() } else { format!("rl_{}", index + 1) }
}

pub fn text(facts: &Facts) -> String {
    let mut out = front_matter(facts);
    configurations(&mut out, facts);
    account(&mut out, facts);
    out
}

fn front_matter(facts: &Facts) -> String {
    let mut out = "---\n".to_owned();
    if let Some(license) = &facts.license {
        // A JSON string is a YAML string.
        let _ = writeln!(out, "license: {}", Value::from(license.as_str()));
    }
    let rollouts: u64 = facts.rollouts.iter().map(|part| part.rows).sum();
    let size = SIZES.iter().find(|(bound, _)| rollouts < *bound).map_or("n>10M", |(_, name)| name);
    let _ = write!(
        out,
        "task_categories:\n- text-generation\nsize_categories:\n- {size}\ntags:\n- agent\n- tool-use\n- rlhf\n- purify\nconfigs:\n"
    );
    let mut config = |name: &str, files: &[String], extra: &str| {
        let _ = write!(out, "- config_name: {name}\n{extra}  data_files:\n  - split: train\n    path:\n");
        // Named one by one: a pattern would take in what another run has left.
        files.iter().for_each(|file| {
            let _ = writeln!(out, "    - {file}");
        });
    };
    let one = |name: &str| vec![format!("{name}/{PART}")];
    for (k, part) in facts.rollouts.iter().enumerate() {
        config(&rollouts_name(k), &part.files, if k == 0 { "  default: true\n" } else { "" });
    }
    if facts.sft > 0 {
        config("sft", &one("sft"), "");
    }
    if facts.dpo.is_some() {
        config("dpo", &one("dpo"), "");
    }
    if facts.repairs.is_some() {
        config("audit", &one("audit"), "");
    }
    let _ = write!(out, "---\n\n{TITLE}\n\n");
    out
}

fn configurations(out: &mut String, facts: &Facts) {
    let form = match facts.as_tokens {
        true => "`input_ids` and `labels`, -100 on what is not learnt",
        false => "`messages` and `tools`, for TRL's SFTTrainer",
    };
    out.push_str("| configuration | rows | what it holds |\n| --- | --- | --- |\n");
    for (k, part) in facts.rollouts.iter().enumerate() {
        let what = match k {
            0 => "the rollouts: messages, tokens and rewards as far as there are any, and the record `purification`",
            _ => "more of them, from files of other columns",
        };
        let _ = writeln!(out, "| {} | {} | {what} |", code(&rollouts_name(k)), part.rows);
    }
    let _ = writeln!(out, "| `sft` | {} | {form} |", facts.sft);
    if let Some(rows) = facts.dpo {
        let _ = writeln!(
            out,
            "| `dpo` | {rows} | `prompt`, `chosen`, `rejected`: a correction and the failed attempt that it replaced |"
        );
    }
    if let Some(rows) = facts.repairs {
        let _ = writeln!(out, "| `audit` | {rows} | each repair: where, how, how similar, what was removed |");
    }
    out.push_str("\n```python\nfrom datasets import load_dataset\n\nrollouts = load_dataset(\"PATH\", \"rl\", split=\"train\")\n```\n");
    if facts.rejected > 0 {
        let _ = write!(
            out,
            "\n{} rows could not be written in one of these forms; they are in `export.rejects.parquet`, unchanged, each with its \
             reason.\n",
            facts.rejected
        );
    }
}

fn account(out: &mut String, facts: &Facts) {
    let _ = write!(
        out,
        "\n## What was done to this data\n\n\
         These are rollouts of a model that calls tools. Where a call failed and the model itself corrected it directly \
         afterwards, the failed call and its error were replaced by the correction (SAAR, arXiv 2601.15141), by purify {}. \
         No text was invented: each message that stays is the model's or the tool's own. What was repaired, and how, is recorded \
         in the column `purification` of `rl`, and as a table in `audit`.\n",
        facts.version
    );
    let counter = |name: &str| facts.counts.get(name).and_then(Value::as_u64);
    let lines = [
        ("rows_in", "rollouts read"),
        ("rows_out", "rollouts written"),
        ("rows_changed", "of them changed"),
        ("rows_rejected", "rejected, in the rejects of the purifying run"),
        ("attempts", "tool calls with a result"),
        ("failed_attempts", "of them failed"),
        ("repairs_shallow", "repairs that replaced the call alone"),
        ("repairs_deep", "repairs that replaced the reasoning as well"),
        ("unrecovered", "runs of failures without a correction, left unchanged or treated as the settings say"),
        ("removed_messages", "messages removed"),
        ("removed_tokens", "tokens removed"),
    ];
    let known: Vec<String> =
        lines.iter().filter_map(|(name, what)| Some(format!("| {what} | {} |\n", counter(name)?))).collect();
    if !known.is_empty() {
        let _ = write!(out, "\n| | |\n| --- | --- |\n{}", known.concat());
    }
    if let Some(Value::Object(settings)) = &facts.settings {
        out.push_str("\nSettings: ");
        let settings: Vec<String> = settings.iter().map(|(name, value)| code(&format!("{name} = {value}"))).collect();
        let _ = writeln!(out, "{}.", settings.join(", "));
    }
    out.push_str("\nMade from:\n\n");
    for (file, rows, hash) in &facts.inputs {
        let _ = writeln!(out, "- {} ({rows} rows, blake3 {hash})", code(file));
    }
    out.push_str(
        "\nPurified rollouts are not samples of the policy that wrote them: after a repair its context has changed. Log-probs \
         there are null until they are scored again.\n",
    );
}

/// Text as Markdown code: nothing in it can end that.
fn code(text: &str) -> String {
    let shown: String = text.chars().map(|c| if c == '`' || c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_those_that_are_there() {
        let of = |file: &str, rows: u64| Rollouts { files: vec![file.to_owned()], rows };
        let rollouts = vec![of("data/a.parquet", 600), of("data/b.parquet", 400)];
        let facts = Facts { rollouts, sft: 990, dpo: None, repairs: Some(3), ..Facts::default() };
        let card = text(&facts);
        assert!(card.contains("- 1K<n<10K\n"), "{card}");
        assert!(card.contains("\n| `rl` | 600 | ") && card.contains("\n| `rl_2` | 400 | "), "{card}");
        assert!(card.contains("- config_name: rl_2\n") && card.contains("    - data/b.parquet\n"), "{card}");
        assert!(card.contains("config_name: audit") && !card.contains("config_name: dpo"), "{card}");
    }

    #[test]
    fn names_can_not_leave_their_place() {
        let inputs = vec![("a`\n---\n# x.parquet".to_owned(), 1, "0".to_owned())];
        let card = text(&Facts { inputs, license: Some("mit\nx: y".to_owned()), ..Facts::default() });
        assert!(card.contains("license: \"mit\\nx: y\"\n"), "{card}");
        assert_eq!(card.matches("\n---\n").count(), 1, "{card}");
    }
}
