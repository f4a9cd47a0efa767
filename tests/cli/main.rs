//! The program as a user runs it: exit status, stdout, stderr, files.
//!
//! Where does a new test go? By the command that it runs: `purify.rs` for the main job, `train.rs` for scoring and
//! training, `compare.rs` for comparing recipes, `embed.rs` for vectors and similarity by meaning, `formats.rs` for what other programs write, `export.rs` for what they read, `guards.rs` for what a repair leaves behind, `audit.rs` for audits, `lineage.rs` for what is told of a run, `recipes.rs` for recipes, `rewards.rs` for groups and what they earned, `view.rs` for the viewer in a terminal of its own, `warnings.rs` for what a run must not pass by in silence, `commands.rs` for all others, `odd_input.rs` for data that no method foresees, `trouble.rs` for signals, full disks and other bad luck.

mod audit;
mod commands;
#[cfg(feature = "train")]
mod compare;
mod corrections;
#[cfg(feature = "embed")]
mod embed;
mod export;
mod formats;
mod guards;
mod harness;
mod inspect;
mod lineage;
mod odd_input;
mod purify;
mod recipes;
mod records;
mod rewards;
#[cfg(feature = "train")]
mod train;
mod trouble;
#[cfg(all(unix, feature = "view"))]
mod view;
mod warnings;
