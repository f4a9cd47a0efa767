//! What other settings would decide, from one comparison of each pair of attempts.
//!
//! Owns the curves. A repair is deep if any of its comparisons falls below the threshold, so its least similarity says what is
//! decided at every threshold, and the length of its run at every K.

use super::report::{Curve, MAX_RETRIES, Sensitivity, THRESHOLDS};

/// What the curves need to know of a run with a correction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Least {
    /// Failed attempts.
    pub length: usize,
    /// Least similarities: of the settings' text measure, without junk, by meaning.
    pub text: f64,
    pub exact: f64,
    pub meaning: Option<f64>,
}

/// Runs with a correction by length, and by the least threshold of the curve at which they are deep.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    text: Vec<[u64; THRESHOLDS + 1]>,
    exact: [u64; THRESHOLDS + 1],
    meaning: [u64; THRESHOLDS + 1],
    has_meaning: bool,
    changed_without_junk: u64,
    changed_by_meaning: u64,
    changed_at_lower: u64,
    changed_at_higher: u64,
}

/// The settings that are in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct InForce {
    pub threshold: f64,
    pub semantic_threshold: Option<f64>,
    pub max_retries: usize,
}

/// How far the threshold is moved to see what depends on it.
const STEP: f64 = 0.1;

impl Default for Runs {
    fn default() -> Self {
        Runs {
            text: vec![[0; THRESHOLDS + 1]; MAX_RETRIES],
            exact: [0; THRESHOLDS + 1],
            meaning: [0; THRESHOLDS + 1],
            has_meaning: false,
            changed_without_junk: 0,
            changed_by_meaning: 0,
            changed_at_lower: 0,
            changed_at_higher: 0,
        }
    }
}

/// Index of the first threshold k/100 that is above a similarity; the last index if there is none.
fn first_deep(similarity: f64) -> usize {
    (0..THRESHOLDS).find(|&k| similarity < k as f64 / 100.0).unwrap_or(THRESHOLDS)
}

impl Runs {
    pub(super) fn add(&mut self, run: Least, now: InForce) {
        if run.length <= MAX_RETRIES {
            self.text[run.length - 1][first_deep(run.text)] += 1;
        }
        if run.length > now.max_retries {
            return;
        }
        self.exact[first_deep(run.exact)] += 1;
        let is_deep = run.text < now.threshold;
        let differs = |other: bool| u64::from(other != is_deep);
        self.changed_without_junk += differs(run.exact < now.threshold);
        self.changed_at_lower += differs(run.text < now.threshold - STEP);
        self.changed_at_higher += differs(run.text < now.threshold + STEP);
        if let (Some(meaning), Some(threshold)) = (run.meaning, now.semantic_threshold) {
            self.has_meaning = true;
            self.meaning[first_deep(meaning)] += 1;
            self.changed_by_meaning += differs(meaning < threshold);
        }
    }

    pub(super) fn merge(&mut self, other: &Runs) {
        let add = |mine: &mut [u64; THRESHOLDS + 1], theirs: &[u64; THRESHOLDS + 1]| {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        };
        let Runs {
            text,
            exact,
            meaning,
            has_meaning,
            changed_without_junk,
            changed_by_meaning,
            changed_at_lower,
            changed_at_higher,
        } = other;
        self.text.iter_mut().zip(text).for_each(|(mine, theirs)| add(mine, theirs));
        add(&mut self.exact, exact);
        add(&mut self.meaning, meaning);
        self.has_meaning |= has_meaning;
        self.changed_without_junk += changed_without_junk;
        self.changed_by_meaning += changed_by_meaning;
        self.changed_at_lower += changed_at_lower;
        self.changed_at_higher += changed_at_higher;
    }

    pub(super) fn finish(&self, now: InForce) -> Sensitivity {
        let up_to = |retries: usize| {
            let mut sum = [0; THRESHOLDS + 1];
            for of_length in &self.text[..retries.min(MAX_RETRIES)] {
                sum.iter_mut().zip(of_length).for_each(|(sum, count)| *sum += count);
            }
            sum
        };
        Sensitivity {
            threshold: now.threshold,
            max_retries: now.max_retries as u64,
            by_retries: (1..=MAX_RETRIES).map(|retries| curve(&up_to(retries), retries)).collect(),
            without_junk: curve(&self.exact, now.max_retries),
            semantic: self.has_meaning.then(|| curve(&self.meaning, now.max_retries)),
            changed_without_junk: self.changed_without_junk,
            changed_by_meaning: self.has_meaning.then_some(self.changed_by_meaning),
            changed_at_lower: self.changed_at_lower,
            changed_at_higher: self.changed_at_higher,
        }
    }
}

fn curve(first_deep: &[u64; THRESHOLDS + 1], max_retries: usize) -> Curve {
    let mut deep = 0;
    let so_far = |count: &u64| {
        deep += count;
        deep
    };
    Curve {
        max_retries: max_retries as u64,
        repairs: first_deep.iter().sum(),
        deep: first_deep[..THRESHOLDS].iter().map(so_far).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: InForce = InForce { threshold: 0.5, semantic_threshold: Some(0.7), max_retries: 3 };

    #[test]
    fn curve_counts_the_repairs_that_are_deep_at_each_threshold() {
        let mut runs = Runs::default();
        for (length, text) in [(1, 0.5), (2, 0.499), (4, 0.0), (1, 1.0), (9, 0.1)] {
            runs.add(Least { length, text, exact: text, meaning: None }, NOW);
        }
        let found = runs.finish(NOW);
        let at = |retries: usize, percent: usize| found.by_retries[retries - 1].deep[percent];
        assert_eq!(found.by_retries.iter().map(|c| c.repairs).collect::<Vec<_>>(), [2, 3, 3, 4, 4]);
        assert_eq!((at(2, 49), at(2, 50), at(2, 51)), (0, 1, 2), "at the threshold a repair is shallow");
        assert_eq!((at(5, 0), at(5, 1), at(5, 100)), (0, 1, 3), "nothing is below 0, equal calls never are deep");
        assert_eq!(found.semantic, None);
    }

    #[test]
    fn decisions_that_hang_on_a_setting_are_counted() {
        let mut runs = Runs::default();
        runs.add(Least { length: 1, text: 0.45, exact: 0.8, meaning: Some(0.9) }, NOW);
        runs.add(Least { length: 1, text: 0.55, exact: 0.6, meaning: Some(0.6) }, NOW);
        runs.add(Least { length: 5, text: 0.45, exact: 0.8, meaning: Some(0.9) }, NOW);
        let found = runs.finish(NOW);
        let changed =
            (found.changed_without_junk, found.changed_by_meaning, found.changed_at_lower, found.changed_at_higher);
        assert_eq!(changed, (1, Some(2), 1, 1), "runs beyond K are repaired by no setting of these");
    }
}
