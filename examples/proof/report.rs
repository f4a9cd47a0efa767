//! What came out: raw results as Parquet, tables, plots.
//!
//! Owns the rules by which arms are compared. They were fixed before the first run: `docs/proof.md`, "What we expect".

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema_from_iterator;
use serde_json::{Map, Value, json};

use super::Failure;
use super::arms::{Arm, Kept, RUNS, SWEEP, Update};
use super::draw::Draw;
use super::plots::{self, Effect, Panel};

/// Updates that are averaged.
const SMOOTHED: usize = 5;
const RESAMPLES: usize = 10_000;

/// Runs that can be compared: one start and one regime, trained alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Setting {
    start: String,
    regime: String,
    updates: u64,
}

type Arms = BTreeMap<String, BTreeMap<u64, Kept>>;

/// Writes everything that follows from what is kept in a folder.
pub fn write(out: &Path) -> Result<(), Failure> {
    let (kept, swept) = (read(&out.join(RUNS))?, read(&out.join(SWEEP))?);
    if kept.is_empty() {
        return Err(Failure::new(format!("`{}` holds no finished run", out.display())));
    }
    let results = out.join("results");
    std::fs::create_dir_all(&results)?;
    parquet(&results.join("runs.parquet"), kept.iter().map(run_row))?;
    parquet(&results.join("updates.parquet"), kept.iter().flat_map(update_rows))?;
    let mut text = String::new();
    if !swept.is_empty() {
        parquet(&results.join("sweep.parquet"), swept.iter().flat_map(update_rows))?;
        text += &sweep_table(&swept);
    }
    let mut settings: BTreeMap<Setting, Arms> = BTreeMap::new();
    for run in kept {
        let setting = Setting { start: run.start.clone(), regime: run.regime.clone(), updates: run.updates };
        let name = format!("`{}` {} {} seed {}", run.start, run.regime, run.arm, run.seed);
        if settings.entry(setting).or_default().entry(run.arm.clone()).or_default().insert(run.seed, run).is_some() {
            return Err(Failure::new(format!(
                "{name} is kept twice in `{}`, trained differently: give --out another folder",
                out.join(RUNS).display()
            )));
        }
    }
    for (setting, arms) in &settings {
        let Setting { start, regime, updates } = setting;
        let _ = writeln!(text, "### Start `{start}`, errors {regime}: {updates} updates\n");
        text += &table(arms);
        text.push('\n');
        let name = format!("{start}-{regime}-u{updates}");
        for (measure, title, of) in MEASURES {
            let panels = panels(arms, of);
            for theme in plots::THEMES {
                let path = results.join(format!("{measure}-{name}-{}.svg", theme.name));
                std::fs::write(path, plots::panels(title, &panels, &theme))?;
            }
        }
        let effects = effects(arms, first_failures);
        for theme in plots::THEMES {
            let path = results.join(format!("effects-{name}-{}.svg", theme.name));
            let title = "First calls that fail over all updates, against raw with the same seed";
            std::fs::write(path, plots::effects(title, &effects, &theme))?;
        }
    }
    std::fs::write(results.join("tables.md"), &text)?;
    println!("{text}");
    Ok(())
}

type Of = fn(&Update) -> f64;

fn success(update: &Update) -> f64 {
    update.measured.success
}

fn first_failures(update: &Update) -> f64 {
    update.measured.first_failures
}

const MEASURES: [(&str, &str, Of); 2] =
    [("success", "Success by update", success), ("failures", "First calls that fail by update", first_failures)];

/// The rate with the most success in the last updates of the sweep; of equals the lowest.
pub fn best_rate(swept: &[Kept], arm: &str) -> Option<f64> {
    let mut tried: Vec<&Kept> = swept.iter().filter(|run| run.arm == arm).collect();
    tried.sort_by(|a, b| at_the_end(b).total_cmp(&at_the_end(a)).then(a.learning_rate.total_cmp(&b.learning_rate)));
    tried.first().map(|run| run.learning_rate)
}

/// Smoothed success after the last update.
fn at_the_end(run: &Kept) -> f64 {
    smoothed(run, success).last().copied().unwrap_or(0.0)
}

/// The mean over all updates.
fn over(run: &Kept, of: Of) -> f64 {
    mean(&run.history.iter().map(of).collect::<Vec<_>>())
}

fn sweep_table(swept: &[Kept]) -> String {
    let mut rates: Vec<f64> = swept.iter().map(|run| run.learning_rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let updates = swept.iter().map(|run| run.updates).max().unwrap_or(0);
    let mut out = format!(
        "### The learning rate of each arm\n\nSuccess in the last {SMOOTHED} of {updates} updates, errors cheap, one seed that no comparison uses.\n\n| arm |"
    );
    rates.iter().for_each(|rate| out += &format!(" {rate:e} |"));
    out += &format!(" taken |\n| --- |{}\n", " --- |".repeat(rates.len() + 1));
    for arm in Arm::all().into_iter().map(Arm::name).filter(|arm| swept.iter().any(|run| run.arm == *arm)) {
        let found = |rate: f64| swept.iter().find(|run| run.arm == arm && run.learning_rate == rate);
        let cell = |rate: &f64| found(*rate).map_or("-".to_owned(), |run| format!("{:.3}", at_the_end(run)));
        let cells: Vec<String> = rates.iter().map(cell).collect();
        let best = best_rate(swept, arm).map_or("-".to_owned(), |rate| format!("{rate:e}"));
        out += &format!("| `{arm}` | {} | {best} |\n", cells.join(" | "));
    }
    out + "\n"
}

fn read(folder: &Path) -> Result<Vec<Kept>, Failure> {
    let Ok(folder) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<_> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let parse = |path: std::path::PathBuf| -> Result<Kept, Failure> {
        let text = std::fs::read_to_string(&path)?;
        serde_json::from_str(&text).map_err(|error| Failure::new(format!("`{}`: {error}", path.display())))
    };
    paths.into_iter().map(parse).collect()
}

/// Nested objects as one, their names joined.
fn flat(into: &mut Map<String, Value>, name: &str, value: Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field } else { format!("{name}_{field}") };
                flat(into, &name, value);
            }
        }
        value => {
            into.insert(name.to_owned(), value);
        }
    }
}

fn run_row(run: &Kept) -> Value {
    let mut row = Map::new();
    let mut fields = json!(run);
    fields.as_object_mut().map(|fields| fields.remove("history"));
    flat(&mut row, "", fields);
    Value::Object(row)
}

fn update_rows(run: &Kept) -> Vec<Value> {
    let of_run = json!({"start": run.start, "regime": run.regime, "arm": run.arm, "seed": run.seed, "learning_rate": run.learning_rate});
    let row = |update: &Update| {
        let mut row = Map::new();
        flat(&mut row, "", of_run.clone());
        let mut fields = json!(update);
        let seconds = fields.as_object_mut().and_then(|fields| fields.remove("seconds")).unwrap_or_default();
        flat(&mut row, "", fields);
        for (part, value) in ["sample", "treat", "score", "train"].iter().zip(seconds.as_array().into_iter().flatten())
        {
            row.insert(format!("seconds_{part}"), value.clone());
        }
        Value::Object(row)
    };
    run.history.iter().map(row).collect()
}

fn parquet(path: &Path, rows: impl Iterator<Item = Value>) -> Result<(), Failure> {
    let rows: Vec<Value> = rows.collect();
    let schema = Arc::new(infer_json_schema_from_iterator(rows.iter().map(Ok))?);
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(&rows)?;
    let mut writer = parquet::arrow::ArrowWriter::try_new(std::fs::File::create(path)?, schema, None)?;
    if let Some(batch) = decoder.flush()? {
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(())
}

/// Means over the last updates, the window shorter at the beginning.
fn smoothed(run: &Kept, of: Of) -> Vec<f64> {
    let values: Vec<f64> = run.history.iter().map(of).collect();
    let window = |k: usize| &values[(k + 1).saturating_sub(SMOOTHED)..=k];
    (0..values.len()).map(|k| window(k).iter().sum::<f64>() / window(k).len() as f64).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

fn with_spread(values: &[f64]) -> String {
    let text = |value: f64| format!("{value:.3}");
    deviation(values).map_or_else(|| text(mean(values)), |spread| format!("{} ± {}", text(mean(values)), text(spread)))
}

/// Percentiles 2.5 and 97.5 of means of differences drawn again; `None` for fewer than two.
fn interval(differences: &[f64]) -> Option<(f64, f64)> {
    if differences.len() < 2 {
        return None;
    }
    let mut draw = Draw::of(&[37]);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| mean(&(0..differences.len()).map(|_| differences[draw.below(differences.len())]).collect::<Vec<_>>()))
        .collect();
    means.sort_by(f64::total_cmp);
    Some((means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40]))
}

/// Arms in the order in which they are told.
fn ordered(arms: &Arms) -> Vec<(&String, &BTreeMap<u64, Kept>)> {
    let order: Vec<&str> = Arm::all().into_iter().map(Arm::name).collect();
    let mut out: Vec<_> = arms.iter().collect();
    out.sort_by_key(|(name, _)| order.iter().position(|known| known == name));
    out
}

/// Differences to raw of a number of each run, over the seeds that both have.
fn against_raw(arms: &Arms, runs: &BTreeMap<u64, Kept>, of: impl Fn(&Kept) -> f64) -> Vec<f64> {
    let raw = arms.get("raw");
    runs.iter().filter_map(|(seed, run)| Some(of(run) - of(raw?.get(seed)?))).collect()
}

/// The update at which a run reaches raw's best with the same seed, or that it does not.
fn reached(raw: &Kept, run: &Kept, of: Of, is_high: bool) -> (Option<u64>, u64) {
    let better = |a: f64, b: f64| if is_high { a >= b } else { a <= b };
    let pick =
        |values: &[f64]| values.iter().copied().fold(values[0], |best, v| if better(v, best) { v } else { best });
    let (own, other) = (smoothed(run, of), smoothed(raw, of));
    // A window that is not full yet is no average.
    let from = (SMOOTHED - 1).min(own.len().saturating_sub(1));
    let best = pick(&other[from.min(other.len() - 1)..]);
    let at = |values: &[f64]| values.iter().skip(from).position(|v| better(*v, best)).map(|k| (k + from + 1) as u64);
    (at(&own), at(&other).unwrap_or(raw.updates))
}

/// Updates and thousands of sampled tokens until raw's best is reached, the arm's and raw's own.
fn reached_cells(arms: &Arms, runs: &BTreeMap<u64, Kept>, of: Of, is_high: bool) -> (String, String) {
    let Some(raw) = arms.get("raw") else { return ("-".to_owned(), "-".to_owned()) };
    let tokens = |run: &Kept, update: u64| {
        let found = run.history.iter().find(|u| u.update == update);
        found.map_or("-".to_owned(), |u| format!("{:.0}", u.sampled_tokens as f64 / 1000.0))
    };
    let (mut updates, mut thousands) = (Vec::new(), Vec::new());
    for (seed, run) in runs {
        let Some(raw) = raw.get(seed) else { continue };
        let (own, raws) = reached(raw, run, of, is_high);
        let never = || "never".to_owned();
        updates.push(format!("{}/{raws}", own.map_or_else(never, |at| at.to_string())));
        thousands.push(format!("{}/{}", own.map_or_else(never, |at| tokens(run, at)), tokens(raw, raws)));
    }
    (updates.join(", "), thousands.join(", "))
}

fn difference_text(differences: &[f64]) -> String {
    match interval(differences) {
        Some((low, high)) => format!("{:+.3} [{low:+.3}, {high:+.3}]", mean(differences)),
        None if differences.is_empty() => "-".to_owned(),
        None => format!("{:+.3}", mean(differences)),
    }
}

fn table(arms: &Arms) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "| arm | seeds | rate | success | first calls that fail | recovery | greedy success | greedy first failures | unseen | calls | tokens a success |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    let all = ordered(arms);
    if let Some(run) = all.first().and_then(|(_, runs)| runs.values().next()) {
        let b = run.before;
        let _ = writeln!(
            out,
            "| *the start* | | | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} | {:.0} |",
            b.sampled.success,
            b.sampled.first_failures,
            b.injected.success,
            b.greedy.success,
            b.greedy.first_failures,
            b.unseen.success,
            b.sampled.calls,
            b.sampled.tokens_per_success
        );
    }
    for (arm, runs) in &all {
        let of = |of: fn(&Kept) -> f64| runs.values().map(of).collect::<Vec<_>>();
        let _ = writeln!(
            out,
            "| `{arm}` | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} | {:.0} |",
            runs.len(),
            rates(runs),
            with_spread(&of(|r| r.after.sampled.success)),
            with_spread(&of(|r| r.after.sampled.first_failures)),
            with_spread(&of(|r| r.after.injected.success)),
            with_spread(&of(|r| r.after.greedy.success)),
            with_spread(&of(|r| r.after.greedy.first_failures)),
            with_spread(&of(|r| r.after.unseen.success)),
            mean(&of(|r| r.after.sampled.calls)),
            mean(&of(|r| r.after.sampled.tokens_per_success)),
        );
    }
    out += &differences(arms);
    let (lost, differ): (u64, u64) = all
        .iter()
        .flat_map(|(_, runs)| runs.values())
        .fold((0, 0), |(lost, differ), run| (lost + run.lost_calls, differ + run.verdicts_differ));
    let _ = writeln!(
        out,
        "\nCalls that ran out of time or memory, hung or were killed: {lost}. Failed calls on which main job and tool differ: {differ}."
    );
    out
}

/// The learning rates of an arm: one, unless several sweeps are kept together.
fn rates(runs: &BTreeMap<u64, Kept>) -> String {
    let mut rates: Vec<String> = runs.values().map(|run| format!("{:e}", run.learning_rate)).collect();
    rates.dedup();
    rates.join(", ")
}

fn differences(arms: &Arms) -> String {
    let mut out = "\n| arm, against `raw` with the same seed | first failures, all updates | success, all updates | success at the end | first failures at the end | recovery | gradient norm, to raw's | seconds an arm |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
    let norm = |run: &Kept| mean(&run.history.iter().filter_map(|u| u.grad_norm).collect::<Vec<_>>());
    for (arm, runs) in ordered(arms) {
        let ratios = runs.iter().filter_map(|(seed, run)| Some(norm(run) / norm(arms.get("raw")?.get(seed)?)));
        let _ = writeln!(
            out,
            "| `{arm}` | {} | {} | {} | {} | {} | {:.2} | {:.0} |",
            difference_text(&against_raw(arms, runs, |run| over(run, first_failures))),
            difference_text(&against_raw(arms, runs, |run| over(run, success))),
            difference_text(&against_raw(arms, runs, |run| run.after.sampled.success)),
            difference_text(&against_raw(arms, runs, |run| run.after.sampled.first_failures)),
            difference_text(&against_raw(arms, runs, |run| run.after.injected.success)),
            mean(&ratios.collect::<Vec<_>>()),
            mean(&runs.values().map(|run| run.seconds).collect::<Vec<_>>()),
        );
    }
    out += "\n| arm/raw, by seed | updates to raw's best success | thousand tokens to it | updates to raw's fewest first failures | thousand tokens to them |\n| --- | --- | --- | --- | --- |\n";
    for (arm, runs) in ordered(arms).into_iter().filter(|(arm, _)| arm.as_str() != "raw") {
        let (success, failures) =
            (reached_cells(arms, runs, success, true), reached_cells(arms, runs, first_failures, false));
        let _ = writeln!(out, "| `{arm}` | {} | {} | {} | {} |", success.0, success.1, failures.0, failures.1);
    }
    out
}

/// The mean over seeds of a smoothed measure, and its least and most.
fn curve(runs: &BTreeMap<u64, Kept>, of: Of) -> Vec<[f64; 3]> {
    let curves: Vec<Vec<f64>> = runs.values().map(|run| smoothed(run, of)).collect();
    let length = curves.iter().map(Vec::len).min().unwrap_or(0);
    (0..length)
        .map(|k| {
            let values: Vec<f64> = curves.iter().map(|curve| curve[k]).collect();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            [mean(&values), least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
        })
        .collect()
}

fn panels(arms: &Arms, of: Of) -> Vec<Panel> {
    let reference = arms.get("raw").map(|runs| curve(runs, of)).unwrap_or_default();
    let panel = |(name, runs): (&String, &BTreeMap<u64, Kept>)| Panel {
        title: format!("{name} ({} seed{})", runs.len(), if runs.len() == 1 { "" } else { "s" }),
        own: curve(runs, of),
        reference: reference.clone(),
    };
    ordered(arms).into_iter().filter(|(name, _)| name.as_str() != "raw").map(panel).collect()
}

fn effects(arms: &Arms, of: Of) -> Vec<Effect> {
    let effect = |(name, runs): (&String, &BTreeMap<u64, Kept>)| {
        let seeds = against_raw(arms, runs, |run| over(run, of));
        Effect { name: name.clone(), mean: mean(&seeds), interval: interval(&seeds), seeds }
    };
    ordered(arms).into_iter().filter(|(name, _)| name.as_str() != "raw").map(effect).collect()
}
