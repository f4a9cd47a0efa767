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
use super::arms::{Arm, Kept, Update};
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
    learning_rate: String,
}

type Arms = BTreeMap<String, BTreeMap<u64, Kept>>;

/// Writes everything that follows from what is kept in a folder.
pub fn write(out: &Path) -> Result<(), Failure> {
    let kept = read(out)?;
    if kept.is_empty() {
        return Err(Failure::new(format!("`{}` holds no finished run", out.display())));
    }
    let results = out.join("results");
    std::fs::create_dir_all(&results)?;
    parquet(&results.join("runs.parquet"), kept.iter().map(run_row))?;
    parquet(&results.join("updates.parquet"), kept.iter().flat_map(update_rows))?;
    let mut settings: BTreeMap<Setting, Arms> = BTreeMap::new();
    for run in kept {
        let setting = Setting {
            start: run.start.clone(),
            regime: run.regime.clone(),
            updates: run.updates,
            learning_rate: format!("{:e}", run.learning_rate),
        };
        settings.entry(setting).or_default().entry(run.arm.clone()).or_default().insert(run.seed, run);
    }
    let mut text = String::new();
    for (setting, arms) in &settings {
        let Setting { start, regime, updates, learning_rate } = setting;
        let _ =
            writeln!(text, "### start `{start}`, errors {regime}: {updates} updates, learning rate {learning_rate}\n");
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

fn read(out: &Path) -> Result<Vec<Kept>, Failure> {
    let Ok(folder) = std::fs::read_dir(out.join("runs")) else { return Ok(Vec::new()) };
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

fn reached_text(arms: &Arms, runs: &BTreeMap<u64, Kept>, of: Of, is_high: bool) -> String {
    let Some(raw) = arms.get("raw") else { return "-".to_owned() };
    let text = runs.iter().filter_map(|(seed, run)| {
        let (own, raws) = reached(raw.get(seed)?, run, of, is_high);
        Some(format!("{}/{raws}", own.map_or("never".to_owned(), |at| at.to_string())))
    });
    text.collect::<Vec<_>>().join(", ")
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
        "| arm | seeds | success | first calls that fail | recovery | greedy success | greedy first failures | unseen | calls | tokens a success |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    let all = ordered(arms);
    if let Some(run) = all.first().and_then(|(_, runs)| runs.values().next()) {
        let b = run.before;
        let _ = writeln!(
            out,
            "| *the start* | | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} | {:.0} |",
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
            "| `{arm}` | {} | {} | {} | {} | {} | {} | {} | {:.2} | {:.0} |",
            runs.len(),
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
    let _ = writeln!(
        out,
        "\n| arm, against `raw` with the same seed | first failures, all updates | success, all updates | success at the end | updates to raw's best success (arm/raw) | updates to raw's fewest first failures | gradient norm, to raw's | seconds an arm |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    let over = |of: Of| move |run: &Kept| mean(&run.history.iter().map(of).collect::<Vec<_>>());
    let norm = |run: &Kept| mean(&run.history.iter().filter_map(|u| u.grad_norm).collect::<Vec<_>>());
    for (arm, runs) in &all {
        let ratios = runs.iter().filter_map(|(seed, run)| Some(norm(run) / norm(arms.get("raw")?.get(seed)?)));
        let _ = writeln!(
            out,
            "| `{arm}` | {} | {} | {} | {} | {} | {:.2} | {:.0} |",
            difference_text(&against_raw(arms, runs, over(first_failures))),
            difference_text(&against_raw(arms, runs, over(success))),
            difference_text(&against_raw(arms, runs, |run| run.after.sampled.success)),
            reached_text(arms, runs, success, true),
            reached_text(arms, runs, first_failures, false),
            mean(&ratios.collect::<Vec<_>>()),
            mean(&runs.values().map(|run| run.seconds).collect::<Vec<_>>()),
        );
    }
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
    let over = |run: &Kept| mean(&run.history.iter().map(of).collect::<Vec<_>>());
    let effect = |(name, runs): (&String, &BTreeMap<u64, Kept>)| {
        let seeds = against_raw(arms, runs, over);
        Effect { name: name.clone(), mean: mean(&seeds), interval: interval(&seeds), seeds }
    };
    ordered(arms).into_iter().filter(|(name, _)| name.as_str() != "raw").map(effect).collect()
}
