//! One arm: sample, write, treat, score, train, again and again.
//!
//! Owns the loop and what is kept of it. The treatment is the main job's, the update the trainer's.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device};
use purify::options::{ColumnConfig, NonNegative, Objective, Options, Recipe, RunConfig, ScoreConfig, TrainConfig};
use purify::pipeline;
use purify::policy::Policy;
use purify::recipe::{self, RECIPES};
use purify::score;
use purify::train::data::{self, Example};
use purify::train::error::TrainError;
use purify::train::learner::Learner;
use serde::{Deserialize, Serialize};

use super::draw::Draw;
use super::measure::{self, Evaluation, Measured};
use super::rollout::{Rollout, Rules, sample, write};
use super::start::{Checkpoint, Start};
use super::tasks::tasks;
use super::text::CALL;
use super::{Failure, World, model_choice};

/// Prompts of an update, and rollouts of a prompt.
const PROMPTS: usize = 32;
const PER_PROMPT: usize = 8;

/// Folders of what is compared, and of what looked for a learning rate.
pub const RUNS: &str = "runs";
pub const SWEEP: &str = "sweep";

/// A treatment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arm {
    Treated(Recipe),
    /// Repaired while sampling.
    Rollback,
}

impl Arm {
    pub const QUICK: [Arm; 2] = [Arm::Treated(Recipe::Raw), Arm::Treated(Recipe::SaarPositive)];

    pub fn all() -> Vec<Self> {
        RECIPES.iter().map(|entry| Arm::Treated(entry.recipe)).chain([Arm::Rollback]).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Arm::Treated(recipe) => recipe.name(),
            Arm::Rollback => "rollback",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|arm| arm.name() == name)
    }

    /// What the main job does to its rollouts.
    fn recipe(self) -> Recipe {
        match self {
            Arm::Treated(recipe) => recipe,
            Arm::Rollback => Recipe::Raw,
        }
    }

    /// Whether tokens end up in a context that they were not sampled in.
    fn edits(self) -> bool {
        matches!(self, Arm::Rollback | Arm::Treated(Recipe::Saar | Recipe::SaarPositive))
    }

    /// Half of what is sampled is trained on.
    fn per_prompt(self) -> usize {
        if self == Arm::Treated(Recipe::ResampleOnCorrect) { 2 * PER_PROMPT } else { PER_PROMPT }
    }
}

/// What an error costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Regime {
    /// Five calls.
    Cheap,
    /// Two calls: an error is half of them.
    Dear,
}

impl Regime {
    pub fn name(self) -> &'static str {
        match self {
            Regime::Cheap => "cheap",
            Regime::Dear => "dear",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Regime::Cheap, Regime::Dear].into_iter().find(|regime| regime.name() == name)
    }

    pub fn calls(self) -> usize {
        match self {
            Regime::Cheap => 5,
            Regime::Dear => 2,
        }
    }
}

/// Everything that an arm's result depends on.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub start: Start,
    pub regime: Regime,
    pub arm: Arm,
    pub seed: u64,
    pub updates: u64,
    pub learning_rate: f64,
    pub tasks: usize,
    /// Looks for a learning rate and is compared with nothing else.
    pub is_sweep: bool,
}

/// One update, as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Update {
    pub update: u64,
    /// Of the rollouts as they were sampled.
    pub measured: Measured,
    /// Tokens sampled so far.
    pub sampled_tokens: u64,
    pub trained_tokens: u64,
    pub repairs: u64,
    pub grad_norm: Option<f64>,
    pub entropy: Option<f64>,
    pub clip_fraction: Option<f64>,
    /// Sampling with its calls, treating with its files, scoring, training.
    pub seconds: [f64; 4],
}

/// An arm with one seed, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub start: String,
    pub regime: String,
    pub arm: String,
    pub seed: u64,
    pub updates: u64,
    pub learning_rate: f64,
    pub tasks: usize,
    pub checkpoint: String,
    pub before: Evaluation,
    pub after: Evaluation,
    pub history: Vec<Update>,
    /// Calls that ran out of time or memory, hung or were killed; workers that were replaced.
    pub lost_calls: u64,
    pub replaced_workers: u64,
    /// Failed calls on which the main job and the tool did not agree.
    pub verdicts_differ: u64,
    pub seconds: f64,
}

/// Where an arm is kept.
fn place(setup: &Setup, checkpoint: &Checkpoint, out: &Path) -> PathBuf {
    out.join(if setup.is_sweep { SWEEP } else { RUNS }).join(format!(
        "{}-{}-{}-s{}-u{}-lr{:e}-t{}-{}.json",
        setup.start.name,
        setup.regime.name(),
        setup.arm.name(),
        setup.seed,
        setup.updates,
        setup.learning_rate,
        setup.tasks,
        checkpoint.hash
    ))
}

/// Evaluates a checkpoint once for each regime; it is kept beside it.
fn before(setup: &Setup, checkpoint: &Checkpoint, policy: &Policy, world: &mut World) -> Result<Evaluation, Failure> {
    let path = checkpoint.folder.join(format!("before-{}-t{}.json", setup.regime.name(), setup.tasks));
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(serde_json::from_str(&text)?);
    }
    let found = measure::evaluate(policy, world, setup.regime.calls(), setup.tasks)?;
    whole(&path, &found)?;
    Ok(found)
}

/// Writes a file that is there whole or not at all, whoever writes the same beside.
fn whole(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(serde_json::to_string(value)?.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// Trains an arm, unless it is kept already.
pub fn run(setup: &Setup, checkpoint: &Checkpoint, world: &mut World, out: &Path) -> Result<Kept, Failure> {
    let path = place(setup, checkpoint, out);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(serde_json::from_str(&text)?);
    }
    let started = Instant::now();
    let mut policy = Policy::load(&checkpoint.folder, &Device::Cpu, DType::F32)?;
    policy.train_all();
    let before = before(setup, checkpoint, &policy, world)?;
    let counts = world.pool.counts;
    let mut arm = Training::new(setup, policy, &checkpoint.folder, world)?;
    for update in 1..=setup.updates {
        arm.update(update, world)?;
    }
    let after = measure::evaluate(&arm.learner.policy, world, setup.regime.calls(), setup.tasks)?;
    let lost =
        |counts: super::python::ToolCounts| counts.timed_out + counts.out_of_memory + counts.hung + counts.killed;
    let kept = Kept {
        start: setup.start.name.to_owned(),
        regime: setup.regime.name().to_owned(),
        arm: setup.arm.name().to_owned(),
        seed: setup.seed,
        updates: setup.updates,
        learning_rate: setup.learning_rate,
        tasks: setup.tasks,
        checkpoint: checkpoint.hash.clone(),
        before,
        after,
        history: arm.history,
        lost_calls: lost(world.pool.counts) - lost(counts),
        replaced_workers: world.pool.counts.replaced - counts.replaced,
        verdicts_differ: arm.verdicts_differ,
        seconds: started.elapsed().as_secs_f64(),
    };
    let by_part = kept.history.iter().fold([0.0; 4], |sum, u| std::array::from_fn(|k| sum[k] + u.seconds[k]));
    world.say(&format!(
        "{} {} {} seed {} rate {:e}: success {:.3}, first calls that fail {:.3}, greedy {:.3}; {:.0} s (sample, treat, score, train: {by_part:.0?})",
        kept.start, kept.regime, kept.arm, kept.seed, kept.learning_rate, after.sampled.success, after.sampled.first_failures,
        after.greedy.success, kept.seconds
    ));
    whole(&path, &kept)?;
    Ok(kept)
}

/// An arm between two updates.
struct Training<'s> {
    setup: &'s Setup,
    learner: Learner,
    config: TrainConfig,
    options: Options,
    history: Vec<Update>,
    verdicts_differ: u64,
    model: PathBuf,
}

impl<'s> Training<'s> {
    fn new(setup: &'s Setup, policy: Policy, folder: &Path, world: &World) -> Result<Self, Failure> {
        let mut config = TrainConfig::new(Objective::Grpo, Vec::new(), world.scratch.clone());
        config.full = true;
        config.warmup = 0;
        config.learning_rate = NonNegative::new(setup.learning_rate)
            .ok_or_else(|| Failure::new("--learning-rate is a number that is not below 0"))?;
        let mut options = Options::default();
        options.columns.call_marker_ids = vec![CALL as i32];
        Ok(Training {
            setup,
            learner: Learner::new(policy, &model_choice(folder), &config),
            config,
            options: recipe::applied(&options, setup.arm.recipe())?,
            history: Vec::new(),
            verdicts_differ: 0,
            model: world.scratch.join("policy"),
        })
    }

    fn update(&mut self, update: u64, world: &mut World) -> Result<(), Failure> {
        let mut clock = Instant::now();
        let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed().as_secs_f64();
        let setup = self.setup;
        let tasks = tasks(PROMPTS, false, &mut Draw::of(&[29, setup.seed, update]));
        let rules = Rules {
            per_task: setup.arm.per_prompt(),
            calls: setup.regime.calls(),
            temperature: 1.0,
            seed: Draw::of(&[31, setup.seed, update]).number(),
            rolls_back: setup.arm == Arm::Rollback,
            injects: false,
        };
        let rollouts = {
            let World { tokenizer, pool, .. } = &mut *world;
            sample(&self.learner.policy, tokenizer, pool, &tasks, &rules)?
        };
        let sampling = lap();
        let (data, repairs) = self.treated(&rollouts, world)?;
        let treating = lap();
        let data = if setup.arm.edits() { self.scored(&data, world)? } else { data };
        let scoring = lap();
        self.config.data = vec![data];
        let loaded = data::load(&self.config, &ColumnConfig::default(), &self.learner.policy, &world.run()?);
        let examples = match loaded {
            Ok(dataset) => dataset.examples,
            // Every group is of one mind: there is nothing to learn from this update.
            Err(TrainError::Empty { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let examples: Vec<&Example> = examples.iter().collect();
        let metrics = match examples.is_empty() {
            true => None,
            false => Some(self.learner.update(update, &examples, &[]).map_err(|e| Failure::new(format!("{e:?}")))?),
        };
        let sampled: usize = rollouts.iter().map(|r| r.sampled).sum();
        self.history.push(Update {
            update,
            measured: measure::of(&rollouts),
            sampled_tokens: self.history.last().map_or(0, |u| u.sampled_tokens) + sampled as u64,
            trained_tokens: metrics.as_ref().map_or(0, |m| m.trained_tokens),
            repairs,
            grad_norm: metrics.as_ref().map(|m| m.grad_norm),
            entropy: metrics.as_ref().map(|m| m.entropy),
            clip_fraction: metrics.as_ref().and_then(|m| m.clip_fraction),
            seconds: [sampling, treating, scoring, lap()],
        });
        Ok(())
    }

    /// The main job over the rollouts; what it wrote, and how many repairs it made.
    fn treated(&mut self, rollouts: &[Rollout], world: &World) -> Result<(PathBuf, u64), Failure> {
        let (raw, out) = (world.scratch.join("raw.parquet"), world.scratch.join("treated.parquet"));
        write(&raw, rollouts)?;
        let config = RunConfig { inputs: vec![raw], out: Some(out.clone()), ..RunConfig::default() };
        let summary = pipeline::run(&config, &self.options, None, None, &world.run()?)?;
        let left = |r: &Rollout| {
            let kept = r.failed.iter().filter(|failed| **failed).count();
            if self.setup.arm == Arm::Rollback { None } else { Some(kept as u64) }
        };
        let failed: Option<u64> = rollouts.iter().map(left).sum();
        // Rows that were not chosen are not counted attempt by attempt.
        if let Some(failed) = failed.filter(|_| summary.counts.rows_rejected == 0) {
            self.verdicts_differ += failed.abs_diff(summary.counts.failed_attempts);
        }
        Ok((out, summary.counts.repairs))
    }

    /// Behaviour log-probs of tokens whose context has changed.
    fn scored(&self, data: &Path, world: &World) -> Result<PathBuf, Failure> {
        self.learner.policy.save_full(&self.model)?;
        let out = world.scratch.join("scored.parquet");
        let config = ScoreConfig {
            input: data.to_owned(),
            out: Some(out.clone()),
            raw: None,
            strict: true,
            compression_level: RunConfig::default().compression_level,
        };
        score::score(&model_choice(&self.model), &config, &ColumnConfig::default(), &world.run()?)?;
        Ok(out)
    }
}
