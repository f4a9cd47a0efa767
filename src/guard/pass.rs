//! One pass over a rollout's Python in order: what stays, what is removed, and which names the one needs of the other.
//!
//! Owns the bookkeeping of names alone. Which steps are looked at, and how they are read, is [`super::dependency`]'s.

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use super::builtins::is_builtin;
use super::python::Names;
use crate::saar::Plan;

/// One pass over the steps in order, with every name that is known so far.
pub(super) struct Pass<'p> {
    plan: &'p Plan,
    /// Defined by what stays.
    kept: HashSet<String>,
    /// What stays may have defined any name.
    kept_is_open: bool,
    /// Defined by nothing but these repairs' removed attempts.
    removed: HashMap<String, Vec<usize>>,
    /// Repairs whose removed attempts may have defined any name.
    open: Vec<usize>,
    /// Names of each repair in `removed`.
    pending: Vec<usize>,
    proven: Vec<bool>,
    unknown: Vec<bool>,
    unmakes: bool,
}

impl<'p> Pass<'p> {
    pub(super) fn new(plan: &'p Plan, unmakes: bool) -> Self {
        let repairs = plan.repairs.len();
        Pass {
            plan,
            kept: HashSet::default(),
            kept_is_open: false,
            removed: HashMap::default(),
            open: Vec::new(),
            pending: vec![0; repairs],
            proven: vec![false; repairs],
            unknown: vec![false; repairs],
            unmakes,
        }
    }

    /// For each repair whether what stays depends on it; `None`: not known.
    pub(super) fn answers(self) -> Vec<Option<bool>> {
        let answer = |(proven, unknown): (&bool, &bool)| match (proven, unknown) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        };
        self.proven.iter().zip(&self.unknown).map(answer).collect()
    }

    /// A removed attempt; `None`: it can't be read.
    pub(super) fn remove(&mut self, repair: usize, names: Option<&Names>) {
        if names.is_none_or(|n| n.is_open) && self.open.last() != Some(&repair) {
            self.open.push(repair);
        }
        for name in names.into_iter().flat_map(|n| &n.defined) {
            let repairs = self.removed.entry(name.clone()).or_default();
            if repairs.last() != Some(&repair) {
                repairs.push(repair);
                self.pending[repair] += 1;
            }
        }
    }

    /// A step that stays.
    pub(super) fn keep(&mut self, names: &Names, is_ok: bool) {
        if is_ok {
            for name in &names.used {
                self.need(name);
            }
            for name in names.doubtful.iter().filter(|name| !self.kept.contains(*name) && !is_builtin(name)) {
                self.removed.get(name).into_iter().flatten().for_each(|&r| self.unknown[r] = true);
            }
        }
        for name in &names.defined {
            for repair in self.removed.remove(name).unwrap_or_default() {
                self.pending[repair] -= 1;
            }
            self.kept.insert(name.clone());
        }
        self.kept_is_open |= names.is_open;
    }

    fn need(&mut self, name: &str) {
        if self.kept.contains(name) || is_builtin(name) {
            return;
        }
        match self.removed.get(name) {
            Some(repairs) if self.kept_is_open => repairs.iter().for_each(|&r| self.unknown[r] = true),
            Some(repairs) => {
                let found = repairs.clone();
                found.iter().for_each(|&r| self.proven[r] = true);
                if self.unmakes {
                    self.unmake(&found);
                }
            }
            // It came from nowhere that is seen: from the tool's own start, or from what could not be read.
            None if !self.kept_is_open => self.open.iter().for_each(|&r| self.unknown[r] = true),
            None => {}
        }
    }

    /// The attempts of these repairs stay after all.
    fn unmake(&mut self, repairs: &[usize]) {
        let back: Vec<String> = self
            .removed
            .iter()
            .filter(|(_, by)| by.iter().any(|r| repairs.contains(r)))
            .map(|(n, _)| n.clone())
            .collect();
        for name in back {
            for repair in self.removed.remove(&name).unwrap_or_default() {
                self.pending[repair] -= 1;
            }
            self.kept.insert(name);
        }
        self.kept_is_open |= self.open.iter().any(|r| repairs.contains(r));
        self.open.retain(|r| !repairs.contains(r));
    }

    /// Code that stays and can't be read: it may need what is gone, and may have defined all that is used behind it.
    pub(super) fn give_up(&mut self, step: usize) {
        for (index, repair) in self.plan.repairs.iter().enumerate() {
            self.unknown[index] |= self.pending[index] > 0 || repair.last() >= step;
        }
        self.open.iter().for_each(|&r| self.unknown[r] = true);
    }
}
