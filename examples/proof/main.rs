//! Does training on purified rollouts help, and which treatment helps most?
//!
//! Trains one small policy from one checkpoint on the same prompts under every treatment, with real Python as the tool. Each update
//! writes its rollouts as Parquet, runs the main job with the recipe and makes the trainer's update: the product's own code. What is
//! finished is kept, so that a long run goes on where it stopped. `docs/proof.md` has what came out.

pub mod arms;
pub mod draw;
pub mod measure;
mod plan;
mod plots;
pub mod python;
mod report;
pub mod rollout;
pub mod start;
pub mod tasks;
pub mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use clap::Parser;
use purify::options::{DeviceChoice, ModelChoice, Positive, Precision};
use purify::run::{Run, Silent, panic_text};

use arms::{Kept, Setup};
use plan::Plan;
use python::Pool;
use start::{Checkpoint, Start};
use tempfile::TempDir;
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
    #[arg(long, value_delimiter = ',')]
    regimes: Vec<String>,
    /// Starting checkpoints: harmful (a failure in the context lowers success), harmless
    #[arg(long, value_delimiter = ',')]
    starts: Vec<String>,
    /// One for all arms; else each arm's best of a sweep
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Fixed tasks of the last evaluation
    #[arg(long)]
    tasks: Option<usize>,
    /// Where results are kept
    #[arg(long, default_value = "target/proof")]
    out: PathBuf,
    #[arg(long, default_value = "python3")]
    python: String,
    /// Arms that are trained side by side, one core each; else as many as there are cores
    #[arg(long)]
    jobs: Option<usize>,
    /// Only write tables and plots of what is kept
    #[arg(long)]
    report: bool,
}

/// What a run needs for itself alone.
pub struct World {
    pub pool: Pool,
    pub tokenizer: Tokenizer,
    /// A folder for files of one update.
    pub scratch: PathBuf,
    threads: usize,
    signal: AtomicUsize,
    started: Instant,
    /// Removes what is left there.
    _scratch: TempDir,
}

impl World {
    fn new(python: &str, threads: usize, started: Instant) -> Result<Self, Failure> {
        let scratch = tempfile::tempdir()?;
        Ok(World {
            pool: Pool::start(python, threads)?,
            tokenizer: Tokenizer::default(),
            scratch: scratch.path().to_owned(),
            threads,
            signal: AtomicUsize::new(0),
            started,
            _scratch: scratch,
        })
    }

    /// The threads of the library's commands.
    pub fn run(&self) -> Result<Run<'_>, Failure> {
        Ok(Run::new(self.threads, &Silent, &self.signal)?)
    }

    pub fn say(&self, text: &str) {
        eprintln!("{:>6.0} s  {text}", self.started.elapsed().as_secs_f64());
    }
}

/// Does each piece of work in one of the worlds, and returns what came out in the order asked. The first failure ends it.
fn side_by_side<T: Sync, R: Send>(
    worlds: &mut [World],
    pieces: &[T],
    work: impl Fn(&T, &mut World) -> Result<R, Failure> + Sync,
) -> Result<Vec<R>, Failure> {
    let next = Mutex::new(pieces.iter().enumerate());
    let take = || next.lock().ok().and_then(|mut next| next.next());
    let serve = |world: &mut World| -> Result<Vec<(usize, R)>, Failure> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(world.threads).build()?;
        let mut out = Vec::new();
        while let Some((k, piece)) = take() {
            match threads.install(|| work(piece, world)) {
                Ok(found) => out.push((k, found)),
                Err(failure) => {
                    // Nobody takes what is left.
                    while take().is_some() {}
                    return Err(failure);
                }
            }
        }
        Ok(out)
    };
    let mut out = Vec::new();
    std::thread::scope(|scope| -> Result<(), Failure> {
        let threads: Vec<_> = worlds.iter_mut().map(|world| scope.spawn(|| serve(world))).collect();
        for thread in threads {
            let found =
                thread.join().map_err(|panic| Failure::new(format!("this is a bug: {}", panic_text(&*panic))))?;
            out.extend(found?);
        }
        Ok(())
    })?;
    out.sort_by_key(|(k, _)| *k);
    Ok(out.into_iter().map(|(_, found)| found).collect())
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

/// Runs what is asked for and not kept yet.
pub fn prove(arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan::of(arguments)?;
    let out = &arguments.out;
    std::fs::create_dir_all(out)?;
    if arguments.report {
        return report::write(out);
    }
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let jobs = arguments.jobs.unwrap_or(cores).max(1);
    let mut worlds = (0..jobs)
        .map(|_| World::new(&arguments.python, (cores / jobs).max(1), started))
        .collect::<Result<Vec<_>, _>>()?;
    let starts = plan.starts();
    let checkpoints: Vec<(Start, Checkpoint)> = side_by_side(&mut worlds, &starts, |start, world| {
        Ok((*start, start::checkpoint(*start, world, out, arguments.quick)?))
    })?;
    let limit = arguments.hours.map(|hours| Duration::from_secs_f64(hours * 3600.0));
    let is_over = || limit.is_some_and(|limit| started.elapsed() > limit);
    let mut all = |runs: &[Setup]| -> Result<Vec<Option<Kept>>, Failure> {
        let run = |setup: &Setup, world: &mut World| {
            let checkpoint = checkpoints.iter().find(|(start, _)| *start == setup.start);
            let (_, checkpoint) = checkpoint.ok_or_else(|| Failure::new("this is a bug: a run without a start"))?;
            if is_over() { Ok(None) } else { arms::run(setup, checkpoint, world, out).map(Some) }
        };
        side_by_side(&mut worlds, runs, run)
    };
    let swept: Vec<Kept> = all(&plan.sweep())?.into_iter().flatten().collect();
    let runs = plan.runs(|arm| report::best_rate(&swept, arm.name()).ok_or_else(cut_short))?;
    if all(&runs)?.iter().any(Option::is_none) {
        eprintln!("the hours are used up; what is finished is kept");
    }
    report::write(out)
}

fn cut_short() -> Failure {
    Failure::new("the hours were used up before the learning rate was swept; what is finished is kept")
}
