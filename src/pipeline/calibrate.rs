//! `purify calibrate`: the threshold at which meaning decides most like text does.
//!
//! Owns the comparison of both decisions, repair by repair. A repair is deep if any of its comparisons falls below the
//! threshold, so its least similarity decides. Most repairs are of one sort, so a threshold that always says the same agrees
//! often by chance; the best one agrees most beyond that (Cohen's kappa).

use std::path::PathBuf;

use serde::Serialize;

use super::semantic::{Sources, for_each_plan, gather};
use crate::embedding::ModelCard;
use crate::error::Error;
use crate::ingest::expand;
use crate::options::{Options, SimilarityMetric, TextKind};
use crate::run::Run;
use crate::saar::{Comparison, Meaning, Plan};
use crate::similarity::{Lexical, measure};
use crate::steps::Trajectory;

/// Thresholds that are tried: this many equal steps from 0 to 1.
const STEPS: usize = 1000;
/// Every how many of them one is shown.
const SHOWN: usize = 50;

/// Both decisions at one semantic threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Agreement {
    pub threshold: f64,
    pub both_shallow: u64,
    pub both_deep: u64,
    /// Deep by text, shallow by meaning.
    pub text_deep: u64,
    /// Deep by meaning, shallow by text.
    pub meaning_deep: u64,
    /// Share of the repairs on which they agree.
    pub agreement: f64,
    /// Cohen's kappa: agreement beyond chance; 0 where one side always says the same.
    pub kappa: f64,
}

/// How text and meaning agree on a data set.
#[derive(Debug, Serialize)]
pub struct Calibration {
    pub repairs: u64,
    /// The threshold of the decision by text.
    pub similarity_threshold: f64,
    pub semantic_of: TextKind,
    pub model: ModelCard,
    /// Texts that the model's limit cut, of those that were embedded now.
    pub cut: u64,
    /// The semantic threshold with the highest kappa; the middle one of several.
    pub best: Agreement,
    pub table: Vec<Agreement>,
}

/// Compares both decisions on every repair of the inputs.
pub fn calibrate(
    inputs: &[PathBuf],
    settings: &Options,
    sources: Sources<'_>,
    run: &Run<'_>,
) -> Result<Calibration, Error> {
    let prepared = gather(inputs, settings, sources, run)?;
    let meaning = Meaning { vectors: &prepared.vectors, of: settings.semantic.semantic_of };
    let text = match settings.method.similarity_metric {
        SimilarityMetric::Semantic => &Lexical,
        metric => measure(metric).unwrap_or(&Lexical),
    };
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    let comparison = Comparison::TextAndMeaning(text, meaning);
    let least = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
    let similarities = |_: &Trajectory<'_, '_>, plan: &Plan| {
        let of = |repair: &crate::saar::Repair| {
            (least(&repair.similarity), least(repair.semantic_similarity.as_deref().unwrap_or_default()))
        };
        plan.repairs.iter().map(of).collect::<Vec<_>>()
    };
    for_each_plan(&expand(inputs)?, settings, Some(comparison), run, similarities, |_, found| pairs.extend(found))?;
    if pairs.is_empty() {
        return Err(Error::usage("there is no repair to compare on", Some("take rollouts with recovered failures")));
    }
    let gamma = settings.method.similarity_threshold.get();
    let all: Vec<Agreement> = (0..=STEPS).map(|k| agreement(&pairs, gamma, k as f64 / STEPS as f64)).collect();
    Ok(Calibration {
        repairs: pairs.len() as u64,
        similarity_threshold: gamma,
        semantic_of: settings.semantic.semantic_of,
        model: prepared.card,
        cut: prepared.cut,
        best: best(&all),
        table: all.iter().step_by(SHOWN).copied().collect(),
    })
}

fn agreement(pairs: &[(f64, f64)], gamma: f64, threshold: f64) -> Agreement {
    let mut out = Agreement { threshold, ..Agreement::default() };
    for &(text, meaning) in pairs {
        *match (text < gamma, meaning < threshold) {
            (false, false) => &mut out.both_shallow,
            (true, true) => &mut out.both_deep,
            (true, false) => &mut out.text_deep,
            (false, true) => &mut out.meaning_deep,
        } += 1;
    }
    let all = pairs.len() as f64;
    let share = |count: u64| count as f64 / all;
    out.agreement = share(out.both_shallow + out.both_deep);
    let (text_deep, meaning_deep) = (share(out.both_deep + out.text_deep), share(out.both_deep + out.meaning_deep));
    let chance = text_deep * meaning_deep + (1.0 - text_deep) * (1.0 - meaning_deep);
    out.kappa = if chance < 1.0 { (out.agreement - chance) / (1.0 - chance) } else { 0.0 };
    out
}

/// The middle of the longest stretch of thresholds that agree most beyond chance.
fn best(all: &[Agreement]) -> Agreement {
    let most = all.iter().map(|a| a.kappa).fold(f64::NEG_INFINITY, f64::max);
    let stretches = all.chunk_by(|a, b| (a.kappa == most) == (b.kappa == most));
    let longest = stretches.filter(|s| s[0].kappa == most).max_by_key(|s| s.len()).unwrap_or_default();
    longest.get(longest.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threshold_that_parts_the_repairs_as_text_does_is_found_in_the_middle() {
        // By text, the first two are deep.
        let pairs = [(0.1, 0.2), (0.4, 0.6), (0.6, 0.8), (0.9, 0.99)];
        let all: Vec<_> = (0..=STEPS).map(|k| agreement(&pairs, 0.5, k as f64 / STEPS as f64)).collect();
        let found = best(&all);
        assert_eq!((found.agreement, found.kappa), (1.0, 1.0));
        assert!((found.threshold - 0.7).abs() <= 0.002, "{}", found.threshold);
    }

    #[test]
    fn threshold_that_always_says_the_same_is_not_best_for_being_often_right() {
        // Nine of ten are shallow by text; meaning sees the tenth, at the price of two others.
        let pairs: Vec<(f64, f64)> =
            (0..10).map(|k| (if k == 0 { 0.1 } else { 0.9 }, if k < 3 { 0.4 } else { 0.8 })).collect();
        let all: Vec<_> = (0..=STEPS).map(|k| agreement(&pairs, 0.5, k as f64 / STEPS as f64)).collect();
        let found = best(&all);
        assert_eq!((found.both_deep, found.meaning_deep), (1, 2));
        assert!(found.agreement < agreement(&pairs, 0.5, 0.0).agreement);
    }

    #[test]
    fn agreement_by_chance_alone_has_no_kappa() {
        let found = agreement(&[(0.1, 0.9), (0.9, 0.9)], 0.5, 0.5);
        assert_eq!((found.both_shallow, found.text_deep, found.agreement, found.kappa), (1, 1, 0.5, 0.0));
    }

    #[test]
    fn similarity_at_the_threshold_is_shallow() {
        assert_eq!(agreement(&[(0.5, 0.7)], 0.5, 0.7).both_shallow, 1);
    }
}
