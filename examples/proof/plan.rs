//! Which runs there are, and in which order: a sweep of the learning rate, then seed by seed all that is compared.
//!
//! Owns what the whole experiment is. What is asked for in options takes its place; what a run does is `arms`'.

use super::arms::{Arm, Regime, Setup};
use super::start::{STARTS, Start};
use super::{Arguments, Failure};

/// Updates of one arm and seed, in a whole run and in a quick one.
const UPDATES: u64 = 20;
const QUICK_UPDATES: u64 = 4;
const SEEDS: u64 = 5;
/// Fixed tasks of the last evaluation.
const TASKS: usize = 1000;
const QUICK_TASKS: usize = 100;
/// Rates that every arm is tried with, how long, and the seed, which no comparison uses.
const RATES: [f64; 3] = [3e-4, 6e-4, 1e-3];
const SWEEP_UPDATES: u64 = 10;
const SWEEP_SEED: u64 = 1000;
/// The rate where none is swept.
const RATE: f64 = 3e-4;
/// Arms that are run from the second start too.
const CONTROLS: [&str; 4] = ["raw", "saar", "saar-positive", "mask-positive"];

/// Arms that are compared: they begin alike and have the same number of calls.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub start: Start,
    pub regime: Regime,
    pub arms: Vec<Arm>,
}

/// Hours of a year: more are a slip of the keyboard.
const MOST_HOURS: f64 = 24.0 * 365.0;

/// The learning rate of an arm.
#[derive(Clone, Debug, PartialEq)]
pub enum Rates {
    /// One for all.
    Given(f64),
    /// Each arm's best of these.
    Swept(Vec<f64>),
}

/// Everything that is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub comparisons: Vec<Comparison>,
    pub seeds: Vec<u64>,
    pub updates: u64,
    pub tasks: usize,
    pub rates: Rates,
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

impl Plan {
    pub fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let quick = arguments.quick;
        let seeds = match (&arguments.seeds[..], quick) {
            ([], true) => vec![0],
            ([], false) => (0..SEEDS).collect(),
            (asked, _) => asked.to_vec(),
        };
        if (1..seeds.len()).any(|k| seeds[..k].contains(&seeds[k])) {
            return Err(Failure::new("--seeds: a seed is named twice"));
        }
        let plan = Plan {
            comparisons: comparisons(arguments)?,
            seeds,
            updates: arguments.updates.unwrap_or(if quick { QUICK_UPDATES } else { UPDATES }),
            tasks: arguments.tasks.unwrap_or(if quick { QUICK_TASKS } else { TASKS }),
            rates: match arguments.learning_rate {
                Some(rate) => Rates::Given(rate),
                None if quick => Rates::Given(RATE),
                None => Rates::Swept(RATES.to_vec()),
            },
        };
        if arguments.learning_rate.is_some_and(|rate| !(rate >= 0.0 && rate.is_finite())) {
            return Err(Failure::new("--learning-rate is a number that is not below 0"));
        }
        if plan.updates == 0
            || plan.tasks == 0
            || arguments.hours.is_some_and(|hours| !(hours > 0.0 && hours < MOST_HOURS))
        {
            return Err(Failure::new(
                "nothing can be trained with a budget of zero: --updates, --hours (of a year at most) and --tasks are above zero",
            ));
        }
        Ok(plan)
    }

    /// Starts, each once.
    pub fn starts(&self) -> Vec<Start> {
        let is_used = |start: &Start| self.comparisons.iter().any(|c| c.start == *start) || self.is_swept_from(*start);
        STARTS.into_iter().filter(is_used).collect()
    }

    fn is_swept_from(&self, start: Start) -> bool {
        matches!(self.rates, Rates::Swept(_)) && start == STARTS[0]
    }

    /// Runs from which each arm gets its rate: all from the first start, errors cheap.
    pub fn sweep(&self) -> Vec<Setup> {
        let Rates::Swept(rates) = &self.rates else { return Vec::new() };
        let setup = |arm, learning_rate| Setup {
            start: STARTS[0],
            regime: Regime::Cheap,
            arm,
            seed: SWEEP_SEED,
            updates: SWEEP_UPDATES.min(self.updates),
            learning_rate,
            tasks: QUICK_TASKS.min(self.tasks),
            is_sweep: true,
        };
        let arms = Arm::all().into_iter().filter(|arm| self.comparisons.iter().any(|c| c.arms.contains(arm)));
        arms.flat_map(|arm| rates.iter().map(move |rate| setup(arm, *rate))).collect()
    }

    /// All that is compared. Seed by seed, so that a run that is cut short has all arms on as many seeds as it has.
    pub fn runs(&self, rate_of: impl Fn(Arm) -> Result<f64, Failure>) -> Result<Vec<Setup>, Failure> {
        let mut out = Vec::new();
        for &seed in &self.seeds {
            for Comparison { start, regime, arms } in &self.comparisons {
                for &arm in arms {
                    let learning_rate = match &self.rates {
                        Rates::Given(rate) => *rate,
                        Rates::Swept(_) => rate_of(arm)?,
                    };
                    let (start, regime, updates, tasks) = (*start, *regime, self.updates, self.tasks);
                    out.push(Setup { start, regime, arm, seed, updates, learning_rate, tasks, is_sweep: false });
                }
            }
        }
        Ok(out)
    }
}

/// The whole: both regimes under all arms, and the second start under some. With options: what they name, each with each.
fn comparisons(arguments: &Arguments) -> Result<Vec<Comparison>, Failure> {
    let arms = match (&arguments.arms[..], arguments.quick) {
        ([], true) => Arm::QUICK.to_vec(),
        ([], false) => Arm::all(),
        (names, _) => distinct("arms", names, Arm::named)?,
    };
    let regimes = match (&arguments.regimes[..], arguments.quick) {
        ([], true) => vec![Regime::Cheap],
        ([], false) => vec![Regime::Cheap, Regime::Dear],
        (names, _) => distinct("regimes", names, Regime::named)?,
    };
    let starts = match &arguments.starts[..] {
        [] => vec![STARTS[0]],
        names => distinct("starts", names, Start::named)?,
    };
    let mut out = Vec::new();
    for start in starts {
        out.extend(regimes.iter().map(|&regime| Comparison { start, regime, arms: arms.clone() }));
    }
    let is_whole = [&arguments.arms, &arguments.regimes, &arguments.starts].into_iter().all(|names| names.is_empty());
    if is_whole && !arguments.quick {
        let arms = CONTROLS.into_iter().filter_map(Arm::named).collect();
        out.push(Comparison { start: STARTS[1], regime: Regime::Cheap, arms });
    }
    Ok(out)
}
