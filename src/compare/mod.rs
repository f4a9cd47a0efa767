//! `purify compare`: recipes side by side on one's own rollouts, without an environment.
//!
//! Owns the order: the rollouts are scored by the model, treated by the main job under each recipe, and trained on by the
//! trainer's own update, from the same weights with the same number of tokens. Groups that are held out tell what changed. What is looked
//! at is `probe`'s, which groups `groups`'s, what is said [`report`]'s, how it looks [`page`]'s.

mod groups;
pub mod page;
mod plot;
mod probe;
pub mod report;

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::options::{
    ColumnConfig, CompareConfig, DEFAULT_COMPRESSION_LEVEL, DetectConfig, ModelChoice, Objective, OnBadRow, Options,
    Recipe, RunConfig, ScoreConfig, TokenColumns, TrainConfig,
};
use crate::pipeline;
use crate::recipe;
use crate::run::{Run, Task};
use crate::score::{self, ScoreError, ScoreSummary};
use crate::train::data::{self, DataReport, Example};
use crate::train::error::TrainError;
use crate::train::learner::{Learner, UpdateError};
use crate::verdict::ErrorDetector;
use crate::write::write_text;
use groups::{Groups, Split};
use probe::{Measured, Probes};
use report::{CANNOT_KNOW, CompareReport, RecipeReport, UpdateReport};

/// Tokens of an update where none are asked for: more change little in what a comparison shows.
const MOST_TOKENS: u64 = 65_536;

/// A recipe and what it has to train on.
struct Treated {
    recipe: Recipe,
    repairs: u64,
    /// Rollouts that there are to train on, and their trained tokens.
    rollouts: u64,
    tokens: u64,
    /// As many of them as the updates can use.
    examples: Vec<Example>,
    report: DataReport,
}

/// What all recipes share.
struct Comparison<'c> {
    model: &'c ModelChoice,
    config: &'c CompareConfig,
    columns: ColumnConfig,
    errors: &'c DetectConfig,
    split: Split,
    run: &'c Run<'c>,
}

/// Compares recipes, and writes `compare.json` and `compare.html` into the folder that is asked for.
///
/// # Errors
/// Recipes that are named twice or that the data can't serve, rollouts without groups or rewards, a model that can't be used.
pub fn compare(
    model: &ModelChoice,
    config: &CompareConfig,
    (columns, errors): (&ColumnConfig, &DetectConfig),
    run: &Run<'_>,
) -> Result<CompareReport, Error> {
    check(config, columns)?;
    let groups = Groups::read(&config.input, columns, run)?;
    let split = groups.split(&config.input, config)?;
    groups.serve(&config.recipes)?;
    let (raw, scored) = scored(model, config, columns, run)?;
    // Whatever the input was, what was scored is native.
    let columns = ColumnConfig { format: None, tokenizer: tokenizer(model, columns), ..columns.clone() };
    let comparison = Comparison { model, config, columns, errors, split, run };
    let files = comparison.treated(&raw)?;
    let report = comparison.compared((&raw, scored), files)?;
    let text = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
    write_text(&config.out.join("compare.json"), &text)?;
    write_text(&config.out.join("compare.html"), &page::page(&report))?;
    Ok(report)
}

fn check(config: &CompareConfig, columns: &ColumnConfig) -> Result<(), Error> {
    let recipes = &config.recipes;
    if let Some(k) = (1..recipes.len()).find(|&k| recipes[..k].contains(&recipes[k])) {
        return Err(Error::usage(format!("--recipes: `{}` is named twice", recipes[k].name()), None));
    }
    if columns.tokens == TokenColumns::Drop {
        return Err(Error::usage("--tokens drop: recipes are compared by tokens", Some("leave it out")));
    }
    Ok(())
}

/// Tells where calls start: what was asked for, else the model's own tokenizer.
fn tokenizer(model: &ModelChoice, columns: &ColumnConfig) -> Option<PathBuf> {
    let is_told = columns.tokenizer.is_some() || !columns.call_marker_ids.is_empty();
    match is_told || !model.model.is_dir() {
        true => columns.tokenizer.clone(),
        false => Some(model.model.clone()),
    }
}

fn rows(config: &CompareConfig, name: &str) -> PathBuf {
    config.out.join("rows").join(format!("{name}.parquet"))
}

/// The rollouts with tokens and the model's own log-probs, so that every recipe starts from the same.
fn scored(
    model: &ModelChoice,
    config: &CompareConfig,
    columns: &ColumnConfig,
    run: &Run<'_>,
) -> Result<(PathBuf, ScoreSummary), Error> {
    let out = rows(config, "scored");
    let summary = rescored(model, &config.input, &out, columns, run)?;
    if summary.scored > 0 {
        return Ok((out, summary));
    }
    let detail = format!("the model can read none of its rows: {}", summary.first_unscored.unwrap_or_default());
    let hint = "`purify score` says the same of every row; give the model that sampled the rollouts";
    Err(Error::Mismatch { path: config.input.clone(), detail, hint })
}

fn rescored(
    model: &ModelChoice,
    input: &Path,
    out: &Path,
    columns: &ColumnConfig,
    run: &Run<'_>,
) -> Result<ScoreSummary, ScoreError> {
    let config = ScoreConfig {
        input: input.to_owned(),
        out: Some(out.to_owned()),
        raw: None,
        strict: false,
        compression_level: DEFAULT_COMPRESSION_LEVEL,
    };
    score::score(model, &config, columns, run)
}

impl Comparison<'_> {
    /// What each recipe makes of the rollouts, and how many repairs it made; the paper's rule comes last where it is not compared, since its
    /// corrections are looked at.
    fn treated(&self, raw: &Path) -> Result<Vec<(Recipe, PathBuf, u64)>, Error> {
        let looked_at = [Recipe::Saar].into_iter().filter(|saar| !self.config.recipes.contains(saar));
        let recipes = self.config.recipes.iter().copied().chain(looked_at);
        recipes.map(|recipe| self.treat(recipe, raw)).collect()
    }

    fn treat(&self, recipe: Recipe, raw: &Path) -> Result<(Recipe, PathBuf, u64), Error> {
        let mut options = Options { columns: self.columns.clone(), errors: self.errors.clone(), ..Options::default() };
        options.method.seed = self.config.seed;
        let options = recipe::applied(&options, recipe).map_err(|error| Error::Bug {
            rollout: String::new(),
            row: 0,
            detail: error.to_string(),
        })?;
        let out = rows(self.config, recipe.name());
        let config = RunConfig { inputs: vec![raw.to_owned()], out: Some(out.clone()), ..RunConfig::default() };
        let summary = pipeline::run(&config, &options, None, None, self.run)?;
        let repairs = summary.counts.repairs;
        if summary.counts.rows_changed == 0 {
            return Ok((recipe, out, repairs));
        }
        // Tokens in a context that they were not sampled in have no log-prob yet.
        let whole = rows(self.config, &format!("{}.scored", recipe.name()));
        rescored(self.model, &out, &whole, &self.columns, self.run)?;
        Ok((recipe, whole, repairs))
    }

    fn train_config(&self, data: PathBuf) -> TrainConfig {
        let mut config = TrainConfig::new(Objective::Grpo, vec![data], self.config.out.clone());
        config.full = self.config.full;
        config.learning_rate = self.config.learning_rate;
        config.warmup = 0;
        config.seed = self.config.seed;
        config.on_bad_row = OnBadRow::Skip;
        config
    }

    fn compared(
        &self,
        (raw, scored): (&Path, ScoreSummary),
        files: Vec<(Recipe, PathBuf, u64)>,
    ) -> Result<CompareReport, Error> {
        let repaired = files.iter().find(|(recipe, ..)| *recipe == Recipe::Saar).map(|(_, path, _)| path.clone());
        let (policy, _, device) = crate::train::load(self.model, &self.train_config(raw.to_owned()))?;
        let detector = ErrorDetector::new(self.errors)?;
        let pair = (raw, repaired.as_deref().unwrap_or(raw));
        let probes = Probes::read(&policy, pair, &self.columns, (&self.split.held_out, &detector), self.run)?;
        if probes.is_empty() {
            let detail = "the model can read no rollout of the groups that are held out".to_owned();
            return Err(self.unfit(detail, "give another --seed, or a larger --held-out"));
        }
        let compared = files.into_iter().filter(|(recipe, ..)| self.config.recipes.contains(recipe));
        let treated = compared.map(|file| self.loaded(file, &policy)).collect::<Result<Vec<_>, Error>>()?;
        let budget = self.budget(&treated)?;
        let before = self.run.install(|| probes.measure(&policy, self.most_tokens())).map_err(TrainError::from)?;
        drop(policy);
        let updates = u64::from(self.config.updates.get()) * treated.len() as u64;
        self.run.progress.start(Task { unit: "updates", file: None, done: 0, total: Some(updates) });
        let recipes = treated.into_iter().map(|treated| self.trained(treated, budget, (&probes, &before)));
        let recipes = recipes.collect::<Result<Vec<_>, Error>>()?;
        self.run.progress.finish();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(CompareReport {
            input: name(&self.config.input),
            model: name(&self.model.model),
            device: device.name(),
            settings: self.config.clone(),
            rows: scored.rows,
            unscored: scored.unscored,
            first_unscored: scored.first_unscored,
            training_groups: self.split.training as u64,
            held_out_groups: self.split.held_out.len() as u64,
            token_budget: budget,
            entropy_before: before.entropy,
            recipes,
            cannot_know: CANNOT_KNOW,
        })
    }

    fn unfit(&self, detail: String, hint: &'static str) -> Error {
        Error::Mismatch { path: self.config.input.clone(), detail, hint }
    }

    fn most_tokens(&self) -> usize {
        usize::try_from(self.model.batch_tokens.get()).unwrap_or(usize::MAX)
    }

    /// The examples of a recipe, those of held-out groups left out.
    fn loaded(
        &self,
        (recipe, path, repairs): (Recipe, PathBuf, u64),
        policy: &crate::policy::Policy,
    ) -> Result<Treated, Error> {
        let dataset = data::load(&self.train_config(path), &self.columns, policy, self.run)?;
        let is_trained = |e: &Example| !e.group.as_ref().is_some_and(|group| self.split.held_out.contains(group));
        let examples: Vec<Example> = dataset.examples.into_iter().filter(is_trained).collect();
        if examples.is_empty() {
            let detail = format!("--recipe {} leaves nothing to train on outside the held-out groups", recipe.name());
            return Err(self
                .unfit(detail, "give another --seed or a smaller --held-out; rewards have to differ within a group"));
        }
        let rollouts = examples.len() as u64;
        let tokens = examples.iter().map(|e| e.trained() as u64).sum();
        let asked = self.config.token_budget.map_or(MOST_TOKENS, |budget| u64::from(budget.get()));
        let usable = asked.saturating_mul(u64::from(self.config.updates.get()));
        let examples = Stream::first(examples, self.config.seed, usable);
        Ok(Treated { recipe, repairs, rollouts, tokens, examples, report: dataset.report })
    }

    /// Tokens of an update: no recipe sees a rollout twice in one.
    fn budget(&self, treated: &[Treated]) -> Result<u64, Error> {
        let fewest = treated.iter().map(|t| (t.tokens, t.recipe.name())).min();
        let (least, name) = fewest.unwrap_or((0, "none"));
        match self.config.token_budget.map(|budget| u64::from(budget.get())) {
            Some(asked) if asked > least => Err(Error::usage(
                format!("--token-budget {asked} is more than --recipe {name} has to train on, {least}"),
                Some("give a smaller one, or leave it out"),
            )),
            Some(asked) => Ok(asked),
            None => Ok(least.min(MOST_TOKENS)),
        }
    }

    fn trained(
        &self,
        treated: Treated,
        budget: u64,
        (probes, before): (&Probes, &Measured),
    ) -> Result<RecipeReport, Error> {
        let config = self.train_config(PathBuf::new());
        let (policy, ..) = crate::train::load(self.model, &config)?;
        let mut learner = Learner::new(policy, self.model, &config);
        let mut stream = Stream::new(&treated.examples, self.config.seed);
        let (mut updates, mut tokens, mut trained_tokens) = (Vec::new(), 0, 0);
        let mut last = before.clone();
        for update in 1..=u64::from(self.config.updates.get()) {
            self.run.check()?;
            let examples = stream.up_to(update * budget);
            let found = self.run.install(|| learner.update(update, &examples, &[]));
            let found = found.map_err(|error| self.broken(error, treated.recipe, update))?;
            last =
                self.run.install(|| probes.measure(&learner.policy, self.most_tokens())).map_err(TrainError::from)?;
            tokens += found.tokens;
            trained_tokens += found.trained_tokens;
            updates.push(UpdateReport {
                update,
                loss: found.loss,
                grad_norm: found.grad_norm,
                trained_tokens: found.trained_tokens,
                held_out: probes.held_out(before, &last).each(|change| change.change),
            });
            self.run.progress.note(treated.recipe.name());
            self.run.progress.advance(1);
        }
        Ok(RecipeReport {
            recipe: treated.recipe.name(),
            rollouts: treated.rollouts,
            repairs: treated.repairs,
            no_advantage: treated.report.no_advantage,
            bad_rows: treated.report.bad_rows,
            first_bad_row: treated.report.first_bad_row,
            trained_tokens,
            tokens,
            grad_norm: updates.iter().map(|u| u.grad_norm).sum::<f64>() / updates.len().max(1) as f64,
            held_out: probes.held_out(before, &last),
            updates,
        })
    }

    fn broken(&self, error: UpdateError, recipe: Recipe, update: u64) -> Error {
        match error {
            UpdateError::Policy(error) => TrainError::from(error).into(),
            UpdateError::NotFinite { what, .. } => self.unfit(
                format!("--recipe {}, update {update}: {what} is not finite", recipe.name()),
                "lower --learning-rate",
            ),
        }
    }
}

/// Rollouts in an order that the seed draws, pass after pass; the same for every recipe, as far as it has them.
struct Stream<'e> {
    examples: &'e [Example],
    seed: u64,
    passes: u64,
    /// Of this pass, the next one last.
    left: Vec<usize>,
    taken: u64,
}

impl<'e> Stream<'e> {
    fn new(examples: &'e [Example], seed: u64) -> Self {
        Stream { examples, seed, passes: 0, left: Vec::new(), taken: 0 }
    }

    /// The rollouts of the first pass that come before so many tokens have been trained on: nobody needs the others.
    fn first(mut examples: Vec<Example>, seed: u64, tokens: u64) -> Vec<Example> {
        examples.sort_by_cached_key(|example| std::cmp::Reverse(rank(seed, 0, &example.id)));
        let mut taken = 0;
        examples.retain(|example| {
            let is_reached = taken < tokens;
            taken += example.trained() as u64;
            is_reached
        });
        examples
    }

    /// The next rollouts, until so many tokens have been trained on in all; at least one.
    fn up_to(&mut self, tokens: u64) -> Vec<&'e Example> {
        let mut out = Vec::new();
        while out.is_empty() || self.taken < tokens {
            let Some(k) = self.left.pop() else {
                self.begin_pass();
                continue;
            };
            self.taken += self.examples[k].trained() as u64;
            out.push(&self.examples[k]);
        }
        out
    }

    fn begin_pass(&mut self) {
        self.left = (0..self.examples.len()).collect();
        self.left.sort_by_cached_key(|&k| rank(self.seed, self.passes, &self.examples[k].id));
        self.passes += 1;
    }
}

/// Where a rollout stands in a pass; the highest comes first.
fn rank(seed: u64, pass: u64, id: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&pass.to_le_bytes()).update(id.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::Answer;

    fn examples(tokens: &[usize]) -> Vec<Example> {
        let example = |(k, &tokens): (usize, &usize)| {
            let answer = Answer { ids: vec![0; tokens + 1], trained: vec![true; tokens + 1] };
            Example { id: format!("r{k}"), answers: vec![answer], ..Example::default() }
        };
        tokens.iter().enumerate().map(example).collect()
    }

    #[test]
    fn every_recipe_trains_on_as_many_tokens_but_for_one_rollout() {
        for tokens in [&[5, 5, 5, 5][..], &[1, 2, 30, 4, 9], &[7]] {
            let examples = examples(tokens);
            let mut stream = Stream::new(&examples, 3);
            let trained: u64 = (1..=6).flat_map(|u| stream.up_to(u * 10)).map(|e| e.trained() as u64).sum();
            let longest = *tokens.iter().max().expect("rollouts") as u64;
            assert!(trained >= 60 && trained < 60 + longest, "{trained} tokens of {tokens:?}");
        }
    }

    #[test]
    fn rollouts_that_no_update_can_use_are_not_kept_and_not_missed() {
        let all = examples(&[3, 9, 4, 1, 7, 2, 8, 5]);
        for tokens in [1, 10, 25, 39, 100] {
            let kept = Stream::first(all.clone(), 5, tokens);
            let ids = |examples: &[Example]| -> Vec<String> {
                Stream::new(examples, 5).up_to(tokens.min(39)).iter().map(|e| e.id.clone()).collect()
            };
            assert_eq!(ids(&kept), ids(&all), "{tokens}");
            assert_eq!(kept.len(), ids(&all).len(), "{tokens}");
        }
    }

    #[test]
    fn rollouts_come_in_an_order_that_does_not_depend_on_which_others_there_are() {
        let all = examples(&[1; 20]);
        let some: Vec<Example> = all.iter().filter(|e| e.id.len() == 2).cloned().collect();
        let names = |examples: &[Example]| -> Vec<String> {
            Stream::new(examples, 7).up_to(examples.len() as u64).iter().map(|e| e.id.clone()).collect()
        };
        let of_some: Vec<String> = names(&all).into_iter().filter(|id| id.len() == 2).collect();
        assert_eq!(names(&some), of_some);
    }
}
