//! Who is told how far a run is.

use std::path::Path;

/// What begins.
#[derive(Clone, Copy, Debug)]
pub struct Task<'t> {
    /// What is counted, such as `rollouts`.
    pub unit: &'static str,
    /// The file that is read, its place among all of them, and their number.
    pub file: Option<(&'t Path, usize, usize)>,
    /// Units that are done already.
    pub done: u64,
    /// Units in all, where that is known.
    pub total: Option<u64>,
}

impl<'t> Task<'t> {
    /// The rollouts of the `index`-th of `files` files.
    pub fn rollouts(path: &'t Path, index: usize, files: usize, total: Option<u64>) -> Self {
        Task { unit: "rollouts", file: Some((path, index, files)), done: 0, total }
    }
}

/// How much a line matters to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Normal,
    /// For those who want to know more.
    Detail,
}

/// Told of work as it is done.
pub trait Progress: Sync {
    /// Work begins; from the first time on there is something to tidy up.
    fn start(&self, task: Task<'_>);
    /// So many more units are done.
    fn advance(&self, units: u64);
    /// How it goes, beside the count.
    fn note(&self, text: &str);
    /// A line of its own. It may hold text from data, unescaped.
    fn say(&self, weight: Weight, text: &str);
    fn finish(&self);
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: Task<'_>) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn say(&self, _: Weight, _: &str) {}
    fn finish(&self) {}
}
