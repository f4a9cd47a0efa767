//! The trainer: rows in, an adapter or a model out.
//!
//! Owns the loop, top to bottom in the order in which things happen, and the order of data. Reading rows is [`data`]'s,
//! formulas [`objective`]'s, gradients [`step`]'s, the update itself [`learner`]'s and [`optimizer`]'s, what is kept [`checkpoint`]'s. The
//! same seed, data and options give the same weights on the CPU, whether or not a run was stopped in between.

pub mod checkpoint;
pub mod data;
pub mod error;
pub mod learner;
pub mod metrics;
pub mod objective;
pub mod optimizer;
pub mod step;
mod values;

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use crate::options::{ColumnConfig, MiniBatch, ModelChoice, TrainConfig};
use crate::policy::device;
use crate::policy::lora::{LoraConfig, TARGETS};
use crate::policy::{Policy, PolicyError};
use crate::run::{Run, Task, Weight};
use checkpoint::{MetricsFile, RunFolder, RunState};
use data::{DataReport, Dataset, Example};
use error::TrainError;
use learner::{Learner, UpdateError};
use metrics::Metrics;
use step::{References, Rule};

/// Names of rollouts in a complaint.
const MAX_NAMED: usize = 5;

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct TrainSummary {
    pub updates: u64,
    /// Updates that an earlier, stopped run had made.
    pub resumed_from: u64,
    pub first_loss: Option<f64>,
    pub last_loss: Option<f64>,
    pub seconds: f64,
    pub device: String,
    pub data: DataReport,
    pub out: PathBuf,
}

/// Everything between two updates.
struct Trainer<'a> {
    config: &'a TrainConfig,
    learner: Learner,
    adapter: Option<LoraConfig>,
    dataset: Dataset,
    references: References,
    folder: RunFolder,
    state: RunState,
}

/// Trains, from the data to the weights in `config.out`.
pub fn train(
    model: &ModelChoice,
    config: &TrainConfig,
    columns: &ColumnConfig,
    run: &Run<'_>,
) -> Result<TrainSummary, TrainError> {
    let started = Instant::now();
    let folder = RunFolder::open(&config.out, config.resume)?;
    let (policy, adapter, device) = load(model, config)?;
    let dataset = data::load(config, columns, &policy, run)?;
    let settings = json!({
        "train": config,
        "batch_tokens": model.batch_tokens,
        "precision": device.dtype_name(),
        "columns": columns,
    });
    // One level, so that what differs can be named.
    let settings = flattened(settings);
    let state = RunState { update: 0, settings, data: dataset.hash.clone() };
    let learner = Learner::new(policy, model, config);
    let references = match &learner.rule {
        Rule::Dpo { .. } => references(&learner, &dataset)?,
        Rule::Grpo(grpo) if grpo.kl > 0.0 => references(&learner, &dataset)?,
        _ => References::new(),
    };
    let mut trainer = Trainer { config, learner, adapter, dataset, references, folder, state };
    let from = match config.resume {
        true => trainer.restore()?,
        false => 0,
    };
    let updates =
        config.updates.map_or(u64::from(config.epochs.get()) * trainer.updates_per_epoch(), |n| u64::from(n.get()));
    let device = device.name();
    let count = |parameters: Vec<&crate::policy::layers::Parameter>| {
        parameters.iter().map(|p| p.value.elem_count()).sum::<usize>()
    };
    let (trained, all) = (count(trainer.learner.policy.trained()), count(trainer.learner.policy.parameters()));
    trainer.dataset.report.lines().iter().for_each(|line| run.progress.say(Weight::Normal, line));
    run.progress.say(Weight::Normal, &format!("{trained} of {all} parameters are trained, on {device}"));
    if from > 0 {
        run.progress.say(Weight::Normal, &format!("resuming after update {from}"));
    }
    run.progress.start(Task { unit: "updates", file: None, done: from, total: Some(updates) });
    let mut metrics = trainer.folder.metrics(from)?;
    let (mut first_loss, mut last_loss) = (None, None);
    let mut told = metrics::Told::default();
    for update in from + 1..=updates {
        let found = trainer.update(update, &mut metrics)?;
        first_loss.get_or_insert(found.loss);
        last_loss = Some(found.loss);
        told.update(run.progress, &found);
        let signal = run.signal();
        let is_due = config.save_every > 0 && update % config.save_every == 0;
        if is_due || update == updates || signal.is_some() {
            let checkpoint = trainer.save_sound(update)?;
            if let Some(signal) = signal.filter(|_| update < updates) {
                return Err(TrainError::Interrupted { signal, update, checkpoint });
            }
        }
    }
    run.progress.finish();
    let data = trainer.dataset.report.clone();
    trainer.write_result()?;
    Ok(TrainSummary {
        updates,
        resumed_from: from,
        first_loss,
        last_loss,
        seconds: started.elapsed().as_secs_f64(),
        device,
        data,
        out: config.out.clone(),
    })
}

/// The model with what is trained of it: all weights, the adapter that it comes with, or a new one.
pub fn load(
    model: &ModelChoice,
    config: &TrainConfig,
) -> Result<(Policy, Option<LoraConfig>, device::Chosen), TrainError> {
    let chosen = device::choose(model.device, model.precision)?;
    let mut policy = Policy::load(&model.model, &chosen.device, chosen.dtype)?;
    policy.recomputes = config.checkpoint_activations;
    let adapter = match (&model.adapter, config.full) {
        (_, true) => {
            policy.train_all();
            None
        }
        (Some(folder), false) => Some(policy.load_adapter(folder)?),
        (None, false) => {
            let adapter = fresh_adapter(config)?;
            policy.add_adapter(&adapter, config.seed)?;
            Some(adapter)
        }
    };
    Ok((policy, adapter, chosen))
}

fn fresh_adapter(config: &TrainConfig) -> Result<LoraConfig, TrainError> {
    let targets = match config.lora_targets.as_slice() {
        [] => TARGETS.map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    if let Some(name) = targets.iter().find(|t| !TARGETS.contains(&t.as_str())) {
        return Err(TrainError::Target { name: format!("`{}`", name.escape_debug()), known: TARGETS.join(", ") });
    }
    let rank = config.lora_rank.get() as usize;
    let alpha = config.lora_alpha.map_or(2.0 * rank as f64, |a| a.get());
    Ok(LoraConfig { rank, alpha, is_rank_stabilised: false, targets })
}

fn references(learner: &Learner, dataset: &Dataset) -> Result<References, PolicyError> {
    step::references(&learner.policy, &dataset.examples.iter().collect::<Vec<_>>(), learner.most_tokens)
}

/// Nested objects as one, by their innermost names.
fn flattened(value: serde_json::Value) -> serde_json::Value {
    fn add(out: &mut serde_json::Map<String, serde_json::Value>, name: String, value: serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => fields.into_iter().for_each(|(name, value)| add(out, name, value)),
            value => {
                out.insert(name, value);
            }
        }
    }
    let mut out = serde_json::Map::new();
    add(&mut out, String::new(), value);
    serde_json::Value::Object(out)
}

impl Trainer<'_> {
    fn per_update(&self) -> usize {
        match self.config.batch_rollouts {
            MiniBatch::All => self.dataset.examples.len(),
            MiniBatch::Rollouts(n) => n.min(self.dataset.examples.len()),
        }
    }

    fn updates_per_epoch(&self) -> u64 {
        self.dataset.examples.len().div_ceil(self.per_update()) as u64
    }

    /// Examples of an update, by index: each pass goes over the data in an order of its own, drawn by the seed.
    fn picks(&self, update: u64) -> Vec<usize> {
        let (epoch, part) = ((update - 1) / self.updates_per_epoch(), (update - 1) % self.updates_per_epoch());
        let mut order: Vec<usize> = (0..self.dataset.examples.len()).collect();
        order.sort_by_cached_key(|&k| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.config.seed.to_le_bytes()).update(&epoch.to_le_bytes());
            *hasher.update(&(k as u64).to_le_bytes()).finalize().as_bytes()
        });
        let mut picks: Vec<usize> =
            order.into_iter().skip(part as usize * self.per_update()).take(self.per_update()).collect();
        picks.sort_unstable();
        picks
    }

    fn restore(&mut self) -> Result<u64, TrainError> {
        let is_adapter = self.adapter.is_some();
        let update =
            self.folder.restore(&self.state, &mut self.learner.policy, is_adapter, &mut self.learner.optimizer)?;
        self.state.update = update;
        Ok(update)
    }

    fn save(&self) -> Result<PathBuf, TrainError> {
        self.folder.save(&self.state, &self.learner.policy, self.adapter.as_ref(), &self.learner.optimizer)
    }

    /// [`Trainer::save`], unless the weights are no longer finite numbers: such a state must not become the last one.
    fn save_sound(&self, update: u64) -> Result<PathBuf, TrainError> {
        if self.learner.policy.is_finite()? {
            return self.save();
        }
        let examples: Vec<&Example> = self.picks(update).iter().map(|&k| &self.dataset.examples[k]).collect();
        Err(self.not_finite(update, "a weight", &examples, &[]))
    }

    fn update(&mut self, update: u64, file: &mut MetricsFile) -> Result<Metrics, TrainError> {
        let picks = self.picks(update);
        let examples: Vec<&Example> = picks.iter().map(|&k| &self.dataset.examples[k]).collect();
        let references: Vec<&[f32]> = match self.references.is_empty() {
            true => Vec::new(),
            false => picks.iter().map(|&k| self.references[k].as_slice()).collect(),
        };
        let metrics = match self.learner.update(update, &examples, &references) {
            Ok(metrics) => metrics,
            Err(UpdateError::Policy(error)) => return Err(error.into()),
            Err(UpdateError::NotFinite { what, broken }) => {
                return Err(self.not_finite(update, what, &examples, &broken));
            }
        };
        file.append(&metrics)?;
        self.state.update = update;
        Ok(metrics)
    }

    /// The state before the update is saved if it is sound; else the last checkpoint stays the last.
    fn not_finite(&self, update: u64, what: &'static str, examples: &[&Example], broken: &[usize]) -> TrainError {
        let all: Vec<usize> = (0..examples.len()).collect();
        let broken = if broken.is_empty() { &all } else { broken };
        let names: Vec<String> =
            broken.iter().take(MAX_NAMED).map(|&k| format!("`{}`", examples[k].id.escape_debug())).collect();
        let more = broken.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let is_sound = self.learner.policy.is_finite().unwrap_or(false);
        let kept = if is_sound { self.save().map(Some) } else { self.folder.latest() };
        match kept {
            Ok(checkpoint) => TrainError::NotFinite { update, what, rollouts: names.join(", ") + &more, checkpoint },
            Err(error) => error,
        }
    }

    fn write_result(mut self) -> Result<(), TrainError> {
        let out = &self.config.out;
        match &self.adapter {
            None => self.learner.policy.save_full(out)?,
            Some(config) => {
                self.learner.policy.save_adapter(out, config)?;
                if self.config.merge {
                    self.learner.policy.merge_adapter()?;
                    self.learner.policy.save_full(&out.join("merged"))?;
                }
            }
        }
        Ok(())
    }
}
