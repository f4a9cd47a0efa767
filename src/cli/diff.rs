//! `purify diff`: the repaired steps of a rollout, before and after.
//!
//! Owns the search for the rollout in both files and the comparison as lines. Rows without a name of their own are told by
//! what a repair never changes. Printing is [`super::printer`]'s.

use std::path::Path;

use crate::audit::why::{self, Why};
use crate::error::Error;
use crate::options::ColumnConfig;
use crate::pipeline::revert::{Rendered, RenderedReader};

/// A line of a comparison, unescaped.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Same(String),
    Gone(String),
    New(String),
}

/// A stretch of messages that differ.
#[derive(Debug)]
pub struct Hunk {
    pub title: String,
    pub lines: Vec<Line>,
}

#[derive(Debug)]
pub struct RolloutDiff {
    pub id: String,
    /// The decision on each failure run, if that was asked for.
    pub why: Vec<Why>,
    pub hunks: Vec<Hunk>,
}

/// Which rollouts are shown, and what of them.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// By its id; `None`: the first ones that differ, or of which there is something to say.
    pub rollout: Option<&'a str>,
    pub max_rollouts: usize,
    /// Also say why each failure run was repaired or left.
    pub why: bool,
}

/// Compares the rollouts that are asked for.
pub fn find(raw: &Path, purified: &Path, asked: Asked<'_>, columns: &ColumnConfig) -> Result<Vec<RolloutDiff>, Error> {
    let (wanted, most) = (asked.rollout, asked.max_rollouts);
    let mut before = RenderedReader::open(raw, columns)?;
    let mut after = RenderedReader::open(purified, columns)?;
    let mut out = Vec::new();
    while out.len() < most.max(1) {
        let Some(new) = after.next_rollout()? else { break };
        if new.is_named && wanted.is_some_and(|id| new.id != id) {
            continue;
        }
        let Some(old) = find_raw(&mut before, &new)? else {
            return Err(Error::Mismatch {
                path: raw.to_owned(),
                detail: format!("it has no rollout `{}` after the preceding ones", new.id),
                hint: "give the raw file first, then what purify made of it",
            });
        };
        if wanted.is_some_and(|id| ![&old.id, &new.id].contains(&&id.to_owned())) {
            continue;
        }
        let mut diff = compare(&old, &new);
        if asked.why {
            let record = new.record().map_err(|detail| Error::Mismatch {
                path: purified.to_owned(),
                detail,
                hint: "give the raw file first, then what purify made of it",
            })?;
            diff.why = why::of_row(&record);
        }
        if wanted.is_some() || !diff.hunks.is_empty() || !diff.why.is_empty() {
            out.push(diff);
        }
        if wanted.is_some() {
            break;
        }
    }
    match (out.is_empty(), wanted) {
        (true, Some(id)) => Err(Error::Mismatch {
            path: purified.to_owned(),
            detail: format!("it has no rollout `{id}`"),
            hint: "a row that was rejected is not in it; see the rejects",
        }),
        _ => Ok(out),
    }
}

fn find_raw(before: &mut RenderedReader, new: &Rendered) -> Result<Option<Rendered>, Error> {
    while let Some(old) = before.next_rollout()? {
        let is_found = if old.is_named && new.is_named { old.id == new.id } else { may_become(&old, new) };
        if is_found {
            return Ok(Some(old));
        }
    }
    Ok(None)
}

/// Whether all that others than the assistant say in a purified rollout stands in the raw one, in order: a repair leaves
/// messages out and writes none but the assistant's anew.
fn may_become(old: &Rendered, new: &Rendered) -> bool {
    let mut rest = old.messages.iter();
    let others = new.messages.iter().filter(|message| !message.starts_with("[assistant]"));
    others.into_iter().all(|message| rest.any(|raw| raw == message))
}

fn compare(old: &Rendered, new: &Rendered) -> RolloutDiff {
    let ops = similar::capture_diff_slices(similar::Algorithm::Myers, &old.messages, &new.messages);
    let hunks = ops
        .iter()
        .filter(|op| op.tag() != similar::DiffTag::Equal)
        .map(|op| {
            let (before, after) = (op.old_range(), op.new_range());
            Hunk {
                title: format!(
                    "@@ raw messages {} to {}, purified {} to {}",
                    before.start, before.end, after.start, after.end
                ),
                lines: lines(&old.messages[before].concat(), &new.messages[after].concat()),
            }
        })
        .collect();
    // A name that is made of a file's own is the raw one's.
    RolloutDiff { id: if new.is_named { &new.id } else { &old.id }.clone(), why: Vec::new(), hunks }
}

fn lines(old: &str, new: &str) -> Vec<Line> {
    similar::TextDiff::from_lines(old, new)
        .iter_all_changes()
        .map(|change| {
            let text = change.value().trim_end_matches('\n').to_owned();
            match change.tag() {
                similar::ChangeTag::Equal => Line::Same(text),
                similar::ChangeTag::Delete => Line::Gone(text),
                similar::ChangeTag::Insert => Line::New(text),
            }
        })
        .collect()
}
