//! Does training on purified rollouts help, and which treatment helps most?
//!
//! Trains one small policy from one checkpoint on the same prompts under every treatment, with real Python as the tool. Each update
//! writes its rollouts as Parquet, runs the main job with the recipe and makes the trainer's update: the product's own code. What is
//! finished is kept, so that a long run goes on where it stopped. `docs/proof.md` has what came out.

pub mod arms;
pub mod draw;
pub mod measure;
mod plots;
pub mod python;
mod report;
pub mod rollout;
pub mod start;
pub mod tasks;
pub mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use clap::Parser;
use purify::options::{DeviceChoice, ModelChoice, Positive, Precision};
use purify::run::{Run, Silent};

use arms::{Arm, Regime, Setup};
use python::Pool;
use start::Start;
use text::Tokenizer;

/// Why the program stops, in words.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    pub fn new(text: impl Into<String>) -> Self {
        Failure(text.into())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text += &format!(": {inner}");
            source = inner.source();
        }
        Failure(text)
    }
}

/// Trains a small policy under each treatment and writes what comes out.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// Two arms, one seed, few updates
    #[arg(long)]
    quick: bool,
    /// Treatments: recipes of `purify --recipe`, and `rollback`
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Updates of one arm and seed
    #[arg(long)]
    updates: Option<u64>,
    /// Begin no further arm and seed after so many hours
    #[arg(long)]
    hours: Option<f64>,
    /// Calls of a rollout: cheap (5), dear (2)
    #[arg(long, value_delimiter = ',', default_value = "cheap")]
    regimes: Vec<String>,
    /// Starting checkpoints: harmful (a failure in the context lowers success), harmless
    #[arg(long, value_delimiter = ',', default_value = "harmful")]
    starts: Vec<String>,
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Fixed tasks of the last evaluation
    #[arg(long)]
    tasks: Option<usize>,
    /// Where results are kept
    #[arg(long, default_value = "target/proof")]
    out: PathBuf,
    #[arg(long, default_value = "python3")]
    python: String,
    /// Only write tables and plots of what is kept
    #[arg(long)]
    report: bool,
}

/// What every part of the program needs.
pub struct World {
    pub pool: Pool,
    pub tokenizer: Tokenizer,
    /// A folder for files of one update.
    pub scratch: PathBuf,
    signal: AtomicUsize,
    started: Instant,
}

impl World {
    /// The threads of the library's commands.
    pub fn run(&self) -> Result<Run<'_>, Failure> {
        Ok(Run::new(0, &Silent, &self.signal)?)
    }

    pub fn say(&self, text: &str) {
        eprintln!("{:>6.0} s  {text}", self.started.elapsed().as_secs_f64());
    }
}

/// A model on the CPU.
pub fn model_choice(model: &Path) -> ModelChoice {
    ModelChoice {
        model: model.to_owned(),
        adapter: None,
        device: DeviceChoice::Cpu,
        precision: Precision::Float32,
        batch_tokens: Positive::nearest(4096),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match prove(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(text)) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Named once each, or refused.
fn distinct<T: PartialEq>(
    option: &str,
    names: &[String],
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let mut out = Vec::new();
    for name in names {
        let found =
            parse(name).ok_or_else(|| Failure::new(format!("--{option}: there is no `{}`", name.escape_debug())))?;
        if out.contains(&found) {
            return Err(Failure::new(format!("--{option}: `{name}` is named twice")));
        }
        out.push(found);
    }
    Ok(out)
}

/// Runs what is asked for and not kept yet.
pub fn prove(arguments: &Arguments) -> Result<(), Failure> {
    let arms = match (arguments.arms.is_empty(), arguments.quick) {
        (false, _) => distinct("arms", &arguments.arms, Arm::named)?,
        (true, true) => vec![Arm::QUICK[0], Arm::QUICK[1]],
        (true, false) => Arm::all(),
    };
    let regimes = distinct("regimes", &arguments.regimes, Regime::named)?;
    let starts = distinct("starts", &arguments.starts, Start::named)?;
    let seeds = if arguments.seeds.is_empty() {
        (0..if arguments.quick { 1 } else { 5 }).collect()
    } else {
        arguments.seeds.clone()
    };
    if (1..seeds.len()).any(|k| seeds[..k].contains(&seeds[k])) {
        return Err(Failure::new("--seeds: a seed is named twice"));
    }
    let updates = arguments.updates.unwrap_or(if arguments.quick { 4 } else { 60 });
    if updates == 0 || arguments.hours.is_some_and(|hours| hours <= 0.0) || arguments.tasks == Some(0) {
        return Err(Failure::new(
            "nothing can be trained with a budget of zero: --updates, --hours and --tasks are above zero",
        ));
    }
    std::fs::create_dir_all(&arguments.out)?;
    if arguments.report {
        return report::write(&arguments.out);
    }
    let scratch = tempfile::tempdir()?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut world = World {
        pool: Pool::start(&arguments.python, threads)?,
        tokenizer: Tokenizer::default(),
        scratch: scratch.path().to_owned(),
        signal: AtomicUsize::new(0),
        started: Instant::now(),
    };
    let tasks = arguments.tasks.unwrap_or(if arguments.quick { 100 } else { 1000 });
    let limit = arguments.hours.map(|hours| Duration::from_secs_f64(hours * 3600.0));
    // Seed by seed, so that a run that is cut short compares all arms on as many seeds as it has.
    for start in starts {
        let checkpoint = start::checkpoint(start, &mut world, &arguments.out, arguments.quick)?;
        for &seed in &seeds {
            for &regime in &regimes {
                for &arm in &arms {
                    let learning_rate = arguments.learning_rate;
                    let setup = Setup { start, regime, arm, seed, updates, learning_rate, tasks };
                    if limit.is_some_and(|limit| world.started.elapsed() > limit) {
                        world.say("the hours are used up; what is finished is kept");
                        return report::write(&arguments.out);
                    }
                    arms::run(&setup, &checkpoint, &mut world, &arguments.out)?;
                }
            }
        }
    }
    report::write(&arguments.out)
}
