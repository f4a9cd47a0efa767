//! Recipes: treatments of failed attempts that can be compared, each a bundle of options of the main job.
//!
//! Owns the one table of them: what each sets, and what it needs of the data. Nothing else knows a recipe: stages read the
//! options that it sets. Advantages are those of the group before anything is edited or dropped (docs/method.md, "Where to
//! repair").

use serde_json::Value;

use crate::options::{OptionError, Options, Recipe};

/// An option, as it is called in [`Options`] and would be typed.
pub type Setting = (&'static str, &'static str);

/// What a recipe needs of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Some rollout is known to be better than its group.
    Sign,
    /// Groups of several rollouts with rewards.
    Groups,
    /// Rewards that are not turned into advantages yet.
    OwnAdvantages,
    /// Token columns.
    Tokens,
    /// No column `token_advantages` yet.
    NoTokenAdvantages,
}

/// One recipe.
#[derive(Debug)]
pub struct Entry {
    pub recipe: Recipe,
    pub sets: &'static [&'static [Setting]],
    pub needs: &'static [Need],
    /// The recipe that comes nearest and needs less.
    pub nearest: Recipe,
}

/// Rows stay as they were sampled.
const UNTOUCHED: &[Setting] = &[("mode", "replace"), ("repair_probability", "0.0"), ("unrecovered", "keep")];
/// What the paper takes for a correction.
const PAPER: &[Setting] = &[
    ("mode", "replace"),
    ("corrections", "any"),
    ("on_side_effects", "keep"),
    ("on_cited", "keep"),
    ("repair_unit", "step"),
    ("informative", "repair"),
    ("unrecovered", "keep"),
];
const MASKED: &[Setting] = &[("mode", "mask")];
const EVERYWHERE: &[Setting] = &[("repair_where", "all")];
const POSITIVE: &[Setting] = &[("repair_where", "positive")];
/// Advantages are the rewards', all rollouts are kept.
const PLAIN: &[Setting] =
    &[("advantage_column", "true"), ("failure_penalty", "0.0"), ("resample", "none"), ("token_advantages", "none")];

/// Every recipe, in the order in which they are told.
pub static RECIPES: [Entry; 8] = [
    Entry { recipe: Recipe::Raw, sets: &[UNTOUCHED, PLAIN], needs: &[], nearest: Recipe::Raw },
    Entry { recipe: Recipe::Saar, sets: &[PAPER, EVERYWHERE, PLAIN], needs: &[], nearest: Recipe::Raw },
    Entry {
        recipe: Recipe::SaarPositive,
        sets: &[PAPER, POSITIVE, PLAIN],
        needs: &[Need::Sign],
        nearest: Recipe::Saar,
    },
    Entry { recipe: Recipe::Mask, sets: &[MASKED, EVERYWHERE, PLAIN], needs: &[], nearest: Recipe::Raw },
    Entry {
        recipe: Recipe::MaskPositive,
        sets: &[MASKED, POSITIVE, PLAIN],
        needs: &[Need::Sign],
        nearest: Recipe::Mask,
    },
    Entry {
        recipe: Recipe::ResampleOnCorrect,
        sets: &[
            UNTOUCHED,
            &[
                ("advantage_column", "true"),
                ("failure_penalty", "0.0"),
                ("resample", "on-correct"),
                ("token_advantages", "none"),
            ],
        ],
        needs: &[Need::Groups],
        nearest: Recipe::Raw,
    },
    Entry {
        recipe: Recipe::Penalty,
        sets: &[
            UNTOUCHED,
            &[
                ("advantage_column", "true"),
                ("failure_penalty", "0.1"),
                ("resample", "none"),
                ("token_advantages", "none"),
            ],
        ],
        needs: &[Need::Groups, Need::OwnAdvantages],
        nearest: Recipe::Raw,
    },
    Entry {
        recipe: Recipe::SignGate,
        sets: &[
            UNTOUCHED,
            &[
                ("advantage_column", "true"),
                ("failure_penalty", "0.0"),
                ("resample", "none"),
                ("token_advantages", "sign-gate"),
            ],
        ],
        needs: &[Need::Sign, Need::Tokens, Need::NoTokenAdvantages],
        nearest: Recipe::MaskPositive,
    },
];

/// What is known of the data that a recipe is to be applied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// There are groups of several rollouts with finite rewards.
    pub has_groups: bool,
    /// Some rollout is known to be better than its group.
    pub has_sign: bool,
    /// The rows say their advantages themselves.
    pub has_advantages: bool,
    pub has_tokens: bool,
    pub has_token_advantages: bool,
}

/// A recipe that the data can't serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this data can't serve --recipe {}: {}", .recipe.name(), lacking(*.lacks))]
pub struct Unserved {
    pub recipe: Recipe,
    pub lacks: Need,
    /// The nearest recipe that it can serve.
    pub nearest: Recipe,
}

impl Unserved {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let nearest = self.nearest.name();
        match self.lacks {
            Need::Sign | Need::Groups => format!(
                "name the columns with --group-column and --reward-column if they are there; the nearest that can be served is --recipe {nearest}"
            ),
            Need::OwnAdvantages | Need::NoTokenAdvantages => {
                format!("apply it to the raw rows; the nearest that can be served is --recipe {nearest}")
            }
            Need::Tokens => format!(
                "`purify score` writes them from messages; the nearest that can be served is --recipe {nearest}"
            ),
        }
    }
}

fn lacking(need: Need) -> &'static str {
    match need {
        Need::Sign => "no rollout is known to be better than its group (no rewards, groups of one, or equal rewards)",
        Need::Groups => "there are no groups of several rollouts with rewards that are numbers",
        Need::OwnAdvantages => "its rows have a column `advantage`, and the recipe computes advantages of its own",
        Need::Tokens => "it has no token columns (`response_ids`, `response_mask`)",
        Need::NoTokenAdvantages => "its rows have a column `token_advantages` already",
    }
}

impl Entry {
    /// All that it sets.
    pub fn settings(&self) -> impl Iterator<Item = Setting> {
        self.sets.iter().copied().flatten().copied()
    }

    fn lacks(&self, facts: Facts) -> Option<Need> {
        self.needs.iter().copied().find(|need| match need {
            Need::Sign => !facts.has_sign,
            Need::Groups => !facts.has_groups,
            Need::OwnAdvantages => facts.has_advantages,
            Need::Tokens => !facts.has_tokens,
            Need::NoTokenAdvantages => facts.has_token_advantages,
        })
    }
}

/// The entry of a recipe.
pub fn entry(recipe: Recipe) -> &'static Entry {
    let at = match recipe {
        Recipe::Raw => 0,
        Recipe::Saar => 1,
        Recipe::SaarPositive => 2,
        Recipe::Mask => 3,
        Recipe::MaskPositive => 4,
        Recipe::ResampleOnCorrect => 5,
        Recipe::Penalty => 6,
        Recipe::SignGate => 7,
    };
    &RECIPES[at]
}

/// Whether the data can serve a recipe.
///
/// # Errors
/// What it lacks, and the nearest recipe that it can serve.
pub fn check(recipe: Recipe, facts: Facts) -> Result<(), Unserved> {
    let Some(lacks) = entry(recipe).lacks(facts) else { return Ok(()) };
    let mut nearest = entry(recipe).nearest;
    while entry(nearest).lacks(facts).is_some() {
        nearest = entry(nearest).nearest;
    }
    Err(Unserved { recipe, lacks, nearest })
}

/// The options with what a recipe sets, whatever they were before.
///
/// # Errors
/// A setting that is no option: a fault of the table.
pub fn applied(options: &Options, recipe: Recipe) -> Result<Options, OptionError> {
    let unreadable = |detail: String| OptionError { name: format!("recipe {}", recipe.name()), detail };
    let mut sections = serde_json::to_value(options).map_err(|error| unreadable(error.to_string()))?;
    for (name, text) in entry(recipe).settings() {
        let mut fields = sections.as_object_mut().into_iter().flat_map(|sections| sections.values_mut());
        let field = fields.find_map(|section| section.as_object_mut()?.get_mut(name));
        let field = field.ok_or_else(|| unreadable(format!("there is no option `{name}`")))?;
        *field = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    }
    let mut out = Options::from_json(&sections)?;
    out.rewards.recipe = Some(recipe);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Mode, RepairWhere, Resample, TokenAdvantages};

    #[test]
    fn every_recipe_stands_at_its_place_and_sets_options_that_there_are() {
        for found in &RECIPES {
            assert_eq!(entry(found.recipe).recipe, found.recipe);
            let options = applied(&Options::default(), found.recipe).expect("options");
            assert_eq!(options.rewards.recipe, Some(found.recipe));
            assert!(options.decision.advantage_column);
            let names: Vec<&str> = found.settings().map(|(name, _)| name).collect();
            assert!((1..names.len()).all(|k| !names[..k].contains(&names[k])), "{:?} twice in {names:?}", found.recipe);
            for name in ["advantage_column", "failure_penalty", "resample", "token_advantages", "mode"] {
                assert!(names.contains(&name), "{:?} leaves `{name}` open", found.recipe);
            }
        }
    }

    #[test]
    fn recipe_is_its_bundle_whatever_was_set_before() {
        let mut odd = Options::default();
        odd.method.mode = Mode::Mask;
        odd.rewards.resample = Resample::OnCorrect;
        let options = applied(&odd, Recipe::SignGate).expect("options");
        assert_eq!((options.method.mode, options.rewards.resample), (Mode::Replace, Resample::None));
        assert_eq!(options.rewards.token_advantages, TokenAdvantages::SignGate);
        assert_eq!(options.method.repair_probability.get(), 0.0);
        let paper = Options::of_profile(crate::options::Profile::Saar);
        let saar = applied(&Options::default(), Recipe::Saar).expect("options");
        let decision = crate::options::DecideConfig { advantage_column: true, ..paper.decision };
        assert_eq!((saar.decision.clone(), saar.errors), (decision, paper.errors));
        let positive = applied(&Options::default(), Recipe::SaarPositive).expect("options").decision;
        let place = RepairWhere::Positive;
        assert_eq!(positive, crate::options::DecideConfig { repair_where: place, ..saar.decision });
    }

    #[test]
    fn data_that_cannot_serve_a_recipe_is_told_the_nearest_that_it_can() {
        let nothing = Facts::default();
        let groups = Facts { has_groups: true, ..nothing };
        let signs = Facts { has_sign: true, ..groups };
        for (recipe, facts, lacks, nearest) in [
            (Recipe::SaarPositive, nothing, Need::Sign, Recipe::Saar),
            (Recipe::MaskPositive, groups, Need::Sign, Recipe::Mask),
            (Recipe::ResampleOnCorrect, nothing, Need::Groups, Recipe::Raw),
            (Recipe::Penalty, Facts { has_advantages: true, ..signs }, Need::OwnAdvantages, Recipe::Raw),
            (Recipe::SignGate, nothing, Need::Sign, Recipe::Mask),
            (Recipe::SignGate, signs, Need::Tokens, Recipe::MaskPositive),
        ] {
            assert_eq!(check(recipe, facts), Err(Unserved { recipe, lacks, nearest }));
        }
        let all = Facts { has_tokens: true, ..signs };
        assert!(RECIPES.iter().all(|found| check(found.recipe, all).is_ok()));
        for recipe in [Recipe::Raw, Recipe::Saar, Recipe::Mask] {
            assert_eq!(check(recipe, nothing), Ok(()));
        }
    }
}
