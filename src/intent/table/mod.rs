//! The table of evidence.
//!
//! Owns the rules' order and weights. Rules name kinds of tools, calls and errors, never a task, a data set or a model. A
//! new rule is one entry in one of the three parts, and one function in `evidence.rs`.

mod adding;
mod ruling_out;
mod weighing;

use super::rules::Rule;

/// All rules in the order in which they are applied: what rules a correction out, what the calls say, what adds to it.
pub fn all_rules() -> impl Iterator<Item = &'static Rule> {
    [ruling_out::RULES, weighing::RULES, adding::RULES].into_iter().flatten()
}
