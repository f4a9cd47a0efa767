//! Native rows as the rows that a trainer reads: one [`Profile`] for each kind of file, in a file of its own.
//!
//! Owns the registry [`PROFILES`], what a profile's columns are and what stands in them. Reading rows is [`crate::ingest`]'s work, building arrays
//! [`crate::write`]'s. Text is taken over byte for byte; what a target can't say without loss is refused, never bent.

mod anthropic;
pub mod card;
mod cells;
mod json;
mod openai;
mod profile;
mod trl;
mod verl;

pub use cells::{Cell, Cells, ExportError, Kind, Message};
pub use profile::{Column, Container, Facts, MadeOf, Profile, Target};

/// Every profile, in the order in which help lists them.
pub static PROFILES: &[&Profile] = &[&trl::SFT, &trl::DPO, &trl::KTO, &verl::SFT, &openai::LINES, &anthropic::LINES];

/// A data set folder, which several profiles share.
pub const FOLDER: &str = "folder";
const FOLDER_HELP: &str =
    "A data set folder as the hubs have them, with the configurations `rl`, `sft`, `dpo` and `audit`";

/// Whom an export is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportTarget {
    Profile(&'static Profile),
    /// All profiles that have a configuration, the rollouts themselves and the table of repairs.
    Folder,
}

impl ExportTarget {
    /// The target of that name.
    pub fn named(name: &str) -> Option<Self> {
        match PROFILES.iter().find(|profile| profile.name == name) {
            Some(profile) => Some(ExportTarget::Profile(profile)),
            None => (name == FOLDER).then_some(ExportTarget::Folder),
        }
    }

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            ExportTarget::Profile(profile) => profile.name,
            ExportTarget::Folder => FOLDER,
        }
    }

    /// Whether it is made of preference pairs.
    pub fn needs_pairs(self) -> bool {
        match self {
            ExportTarget::Profile(profile) => profile.made_of.needs_pairs(),
            ExportTarget::Folder => true,
        }
    }
}

/// Names and help of all targets.
pub fn targets() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROFILES.iter().map(|profile| (profile.name, profile.help)).chain([(FOLDER, FOLDER_HELP)])
}

/// Whether the target of that name is made of preference pairs.
pub fn needs_pairs(name: &str) -> bool {
    ExportTarget::named(name).is_some_and(ExportTarget::needs_pairs)
}
