//! The repairs of a purified file, one by one, with their lines before and after.
//!
//! Owns the comparison of both sides of a repair. What was repaired is what the column `purification` says; nothing is decided
//! again. Which rows belong together is `walk`'s.

use std::path::Path;

use super::decided::Decided;
use super::report::{DiffLine, RepairView};
use super::walk::{Records, Stretch, TOGETHER, Walk, facts_of};
use crate::error::Error;
use crate::ingest::{RowOf, expand};
use crate::options::{ColumnConfig, TokenColumns};
use crate::pipeline::revert::render;
use crate::record::{RepairRecord, RepairScope};
use crate::rollout::{Message, Role, Rollout};
use crate::run::{Run, Task};

/// Text of one side of a repair that is compared; what is after it is cut.
pub const MAX_CHARACTERS: usize = 20_000;

/// Tells each repair of purified data to `each`, in their order.
///
/// # Errors
/// Files that do not belong together, and what `each` gives.
pub fn each_repair(
    purified: &Path,
    raw: &Path,
    columns: &ColumnConfig,
    run: &Run<'_>,
    mut each: impl FnMut(RepairView) -> Result<(), Error>,
) -> Result<(), Error> {
    // Tokens are never looked into.
    let columns = ColumnConfig { tokens: TokenColumns::Drop, ..columns.clone() };
    let (raw, paths) = (expand(&[raw.to_owned()])?, expand(&[purified.to_owned()])?);
    let walk = Walk { raw: &raw, purified: Some((&paths, Decided::of(&paths).shards())), columns: &columns };
    run.progress.start(Task::rollouts(purified, 0, 1, None));
    let look = |stretch: Stretch, ()| {
        let mut records = Records::new(purified.to_owned());
        let mut found = Vec::new();
        for (before, after) in &stretch.raw {
            let Some(after) = after else { continue };
            let record = records.row(after)?;
            if !record.repairs.is_empty() {
                found.extend(views_of(before, after, &record.repairs, purified)?);
            }
        }
        Ok(found)
    };
    walk.each(run, (), |(), _| Ok(()), look, |found| found.into_iter().try_for_each(&mut each))?;
    run.progress.finish();
    Ok(())
}

fn views_of(before: &RowOf, after: &RowOf, repairs: &[RepairRecord], path: &Path) -> Result<Vec<RepairView>, Error> {
    let mismatch = |detail: String| Error::Mismatch {
        path: path.to_owned(),
        detail: format!("row {}: {detail}", after.batch.number(after.row)),
        hint: TOGETHER,
    };
    let raw = before.batch.rollout(before.row).map_err(|error| mismatch(error.to_string()))?;
    let new = after.batch.rollout(after.row).map_err(|error| mismatch(error.to_string()))?;
    views(&facts_of(before), &raw, &new, repairs).map_err(mismatch)
}

/// The repairs of one rollout. `facts` says what holds for all of them.
///
/// # Errors
/// A record that names messages which the rollouts don't have.
pub fn views(
    facts: &RepairView,
    raw: &Rollout<'_>,
    purified: &Rollout<'_>,
    repairs: &[RepairRecord],
) -> Result<Vec<RepairView>, String> {
    let mut removed = 0;
    let mut out = Vec::with_capacity(repairs.len());
    for (index, repair) in repairs.iter().enumerate() {
        let (first, gone) = (repair.first_message, repair.removed_messages);
        let mut sides = || {
            let at = first.checked_sub(removed)?;
            let after = steps(&purified.messages, at, at)?;
            let before = match repair.scope {
                // Its results stand where those of both steps stood.
                Some(RepairScope::Calls) => {
                    raw.messages.get(first..first.checked_add(gone)?.checked_add(after.len())?)?
                }
                Some(RepairScope::Steps | RepairScope::Removal) | None => {
                    steps(&raw.messages, first, first.checked_add(gone)?)?
                }
            };
            removed += gone;
            Some((before, after))
        };
        let (before, after) = sides().ok_or_else(|| {
            format!(
                "repair {index} is recorded at message {} with {} removed; it has {} messages, {} when purified",
                repair.first_message,
                repair.removed_messages,
                raw.messages.len(),
                purified.messages.len()
            )
        })?;
        let (lines, is_cut) = compare(before, after);
        out.push(RepairView { repair: index as u64, record: repair.clone(), lines, is_cut, ..facts.clone() });
    }
    Ok(out)
}

/// Messages from `first` to the step of the assistant's message `last`, its results included.
fn steps<'m, 'a>(messages: &'m [Message<'a>], first: usize, last: usize) -> Option<&'m [Message<'a>]> {
    let results = messages.get(last.checked_add(1)?..)?.iter().take_while(|m| m.role == Role::Tool).count();
    messages.get(first..=last + results)
}

fn compare(before: &[Message<'_>], after: &[Message<'_>]) -> (Vec<DiffLine>, bool) {
    let [(old, old_is_cut), (new, new_is_cut)] = [before, after].map(bounded);
    let lines = similar::TextDiff::from_lines(&old, &new)
        .iter_all_changes()
        .map(|change| {
            let text = change.value().trim_end_matches('\n').to_owned();
            match change.tag() {
                similar::ChangeTag::Equal => DiffLine::Both(text),
                similar::ChangeTag::Delete => DiffLine::Before(text),
                similar::ChangeTag::Insert => DiffLine::After(text),
            }
        })
        .collect();
    (lines, old_is_cut || new_is_cut)
}

/// Messages as text, cut at the bound.
fn bounded(messages: &[Message<'_>]) -> (String, bool) {
    let mut text: String = messages.iter().map(render).collect();
    let cut = text.char_indices().nth(MAX_CHARACTERS).map(|(at, _)| at);
    cut.inspect(|&at| text.truncate(at));
    (text, cut.is_some())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::rollout::ToolCall;

    fn message(role: Role, text: &str) -> Message<'_> {
        let calls = match role {
            Role::Assistant => vec![ToolCall { id: None, name: "python", arguments: "{}" }],
            _ => Vec::new(),
        };
        Message { role, content: Some(text), reasoning: None, call_id: None, is_error: None, is_context: false, calls }
    }

    fn rollout<'a>(parts: &[(Role, &'a str)]) -> Rollout<'a> {
        let messages = parts.iter().map(|(role, text)| message(*role, text)).collect();
        Rollout { id: Cow::Borrowed("a"), group: None, messages, tokens: None }
    }

    fn repair(first_message: usize, removed_messages: usize) -> RepairRecord {
        RepairRecord { first_message, removed_messages, ..RepairRecord::default() }
    }

    use Role::{Assistant as A, Tool as T, User as U};

    #[test]
    fn second_repair_of_a_rollout_is_found_behind_what_the_first_removed() {
        let raw = rollout(&[
            (U, "q"),
            (A, "1"),
            (T, "bad"),
            (A, "2"),
            (T, "ok"),
            (A, "3"),
            (T, "bad"),
            (A, "4"),
            (T, "fine"),
        ]);
        let new = rollout(&[(U, "q"), (A, "1"), (T, "ok"), (A, "3"), (T, "fine")]);
        let found = views(&RepairView::default(), &raw, &new, &[repair(1, 2), repair(5, 2)]).expect("they fit");
        assert_eq!(found.len(), 2);
        let has = |line: DiffLine| found[1].lines.contains(&line);
        assert!(
            has(DiffLine::Both("3".into())) && has(DiffLine::Before("4".into())) && has(DiffLine::Both("fine".into()))
        );
        assert!(found[1].lines.iter().all(|line| *line != DiffLine::Both("ok".into())));
    }

    #[test]
    fn record_that_does_not_fit_its_rollout_is_an_error() {
        let raw = rollout(&[(U, "q"), (A, "1"), (T, "bad")]);
        for (first, removed) in [(1, 2), (9, 0), (usize::MAX, usize::MAX), (0, usize::MAX)] {
            let found = views(&RepairView::default(), &raw, &raw, &[repair(first, removed)]);
            assert!(found.expect_err("it does not fit").starts_with("repair 0 is recorded at message"), "{first}");
        }
    }

    #[test]
    fn text_behind_the_bound_is_cut_and_said_to_be() {
        let long = "ü".repeat(MAX_CHARACTERS + 1);
        let new = rollout(&[(U, "q"), (A, &long), (T, "ok")]);
        let found = views(&RepairView::default(), &new, &new, &[repair(1, 0)]).expect("they fit");
        assert!(found[0].is_cut);
        let length = |line: &DiffLine| match line {
            DiffLine::Both(text) | DiffLine::Before(text) | DiffLine::After(text) => text.chars().count(),
        };
        let characters: usize = found[0].lines.iter().map(length).sum();
        assert!(characters <= MAX_CHARACTERS);
    }
}
