//! The repairs of a purified file, one by one, with their lines before and after.
//!
//! Owns the finding of both sides of a repair and their comparison. What was repaired is what the column `purification`
//! says; nothing is decided again. Rows with names of their own are matched by them, others by what a repair never
//! changes: what system and user said.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::{DiffLine, RepairView};
use crate::config::ColumnConfig;
use crate::error::Error;
use crate::ingest::record::{RecordReader, RecordedRepair};
use crate::ingest::{Decoded, IngestError};
use crate::pipeline::revert::{Row, Rows, render};
use crate::rollout::{Message, Role, Rollout};

/// Text of one side of a repair that is compared; what is behind it is cut.
pub const MOST_CHARACTERS: usize = 20_000;

/// Reads repairs in the order of the purified file.
pub struct RepairReader {
    raw: Rows,
    purified: Rows,
    raw_path: PathBuf,
    purified_path: PathBuf,
    /// Of the batch that the last row stood in.
    records: Option<(Arc<Decoded>, RecordReader)>,
    ready: VecDeque<RepairView>,
    is_done: bool,
}

impl RepairReader {
    pub fn open(purified: &Path, raw: &Path, columns: &ColumnConfig) -> Result<Self, Error> {
        Ok(RepairReader {
            raw: Rows::open(raw, columns)?,
            // What purify wrote is native, whatever it was made of.
            purified: Rows::open(purified, &ColumnConfig { format: None, ..columns.clone() })?,
            raw_path: raw.to_owned(),
            purified_path: purified.to_owned(),
            records: None,
            ready: VecDeque::new(),
            is_done: false,
        })
    }

    fn next_view(&mut self) -> Result<Option<RepairView>, Error> {
        loop {
            if let Some(view) = self.ready.pop_front() {
                return Ok(Some(view));
            }
            let Some(after) = self.purified.next_row()? else { return Ok(None) };
            let repairs = self.recorded(&after)?;
            let before = self.find_raw(&after)?;
            if !repairs.is_empty() {
                self.ready = self.views(&before, &after, &repairs)?.into();
            }
        }
    }

    fn recorded(&mut self, row: &Row) -> Result<Vec<RecordedRepair>, Error> {
        if self.records.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &row.decoded)) {
            let failed = |source| IngestError::Rows { path: self.purified_path.clone(), row: row.number, source };
            let reader = RecordReader::new(&row.decoded).map_err(failed)?.ok_or_else(|| Error::Mismatch {
                path: self.purified_path.clone(),
                detail: "it has no column `purification`".to_owned(),
                hint: "give the file that purify wrote first, the raw one with --raw",
            })?;
            self.records = Some((Arc::clone(&row.decoded), reader));
        }
        let record = self.records.as_ref().and_then(|(_, reader)| reader.row(row.row));
        Ok(record.map(|record| record.repairs).unwrap_or_default())
    }

    fn find_raw(&mut self, after: &Row) -> Result<Row, Error> {
        while let Some(before) = self.raw.next_row()? {
            if is_same(&before, after) {
                return Ok(before);
            }
        }
        Err(Error::Mismatch {
            path: self.raw_path.clone(),
            detail: format!("row {} of the purified file is not in it, or not in the same order", after.number),
            hint: "give the file that was purified, unsorted",
        })
    }

    fn views(&self, before: &Row, after: &Row, repairs: &[RecordedRepair]) -> Result<Vec<RepairView>, Error> {
        let mismatch = |path: &Path, row: &Row, detail: String| Error::Mismatch {
            path: path.to_owned(),
            detail: format!("row {}: {detail}", row.number),
            hint: "give the file that purify wrote first, and with --raw the one that it was made of",
        };
        let of_raw = |detail| mismatch(&self.raw_path, before, detail);
        let raw = before.decoded.rollout(before.row).map_err(|error| of_raw(error.to_string()))?;
        let new = after.decoded.rollout(after.row);
        let new = new.map_err(|error| mismatch(&self.purified_path, after, error.to_string()))?;
        let facts = RepairView {
            rollout: raw.id.to_string(),
            row: before.number,
            group: new.group.map(str::to_owned),
            reward: after.decoded.reward(after.row),
            ..RepairView::default()
        };
        views(&facts, &raw, &new, repairs).map_err(of_raw)
    }
}

impl Iterator for RepairReader {
    type Item = Result<RepairView, Error>;

    /// Nothing comes behind an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let next = self.next_view().transpose();
        self.is_done = !matches!(next, Some(Ok(_)));
        next
    }
}

fn is_same(raw: &Row, purified: &Row) -> bool {
    let (a, b) = (raw.decoded.id(raw.row), purified.decoded.id(purified.row));
    if let (Cow::Borrowed(a), Cow::Borrowed(b)) = (&a, &b) {
        return a == b;
    }
    match (raw.decoded.rollout(raw.row), purified.decoded.rollout(purified.row)) {
        (Ok(a), Ok(b)) => asked(&a).eq(asked(&b)),
        _ => false,
    }
}

/// What system and user said.
fn asked<'r>(rollout: &'r Rollout<'_>) -> impl Iterator<Item = Option<&'r str>> {
    rollout.messages.iter().filter(|m| matches!(m.role, Role::System | Role::User)).map(|m| m.content)
}

/// The repairs of one rollout. `facts` says what holds for all of them.
///
/// # Errors
/// A record that names messages which the rollouts don't have.
pub fn views(
    facts: &RepairView,
    raw: &Rollout<'_>,
    purified: &Rollout<'_>,
    repairs: &[RecordedRepair],
) -> Result<Vec<RepairView>, String> {
    let mut removed = 0;
    let mut out = Vec::with_capacity(repairs.len());
    for (index, repair) in repairs.iter().enumerate() {
        let [first, gone] = [repair.first_message, repair.removed_messages].map(|n| usize::try_from(n).ok());
        let sides = first.zip(gone).and_then(|(first, gone)| {
            let before = steps(&raw.messages, first, first.checked_add(gone)?)?;
            let at = first.checked_sub(removed)?;
            removed += gone;
            Some((before, steps(&purified.messages, at, at)?))
        });
        let (before, after) = sides.ok_or_else(|| {
            format!(
                "repair {index} is recorded at message {} with {} removed; it has {} messages, {} when purified",
                repair.first_message,
                repair.removed_messages,
                raw.messages.len(),
                purified.messages.len()
            )
        })?;
        let (lines, is_cut) = compare(before, after);
        out.push(RepairView { repair: index as u64, lines, is_cut, ..with_record(facts, repair) });
    }
    Ok(out)
}

/// Messages from `first` to the step of the assistant's message `last`, its results included.
fn steps<'m, 'a>(messages: &'m [Message<'a>], first: usize, last: usize) -> Option<&'m [Message<'a>]> {
    let results = messages.get(last.checked_add(1)?..)?.iter().take_while(|m| m.role == Role::Tool).count();
    messages.get(first..=last + results)
}

fn with_record(facts: &RepairView, repair: &RecordedRepair) -> RepairView {
    RepairView {
        tool: repair.tool.clone(),
        error_types: repair.error_types.clone(),
        kind: repair.kind.clone(),
        granularity: repair.granularity.clone(),
        similarity: repair.similarity.clone(),
        attempts: repair.attempts,
        first_message: repair.first_message,
        residue: repair.residue,
        depends_on_removed: repair.depends_on_removed,
        identical_retry: repair.identical_retry,
        lossy_result: repair.lossy_result,
        ..facts.clone()
    }
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
    let cut = text.char_indices().nth(MOST_CHARACTERS).map(|(at, _)| at);
    cut.inspect(|&at| text.truncate(at));
    (text, cut.is_some())
}

#[cfg(test)]
mod tests {
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

    fn repair(first_message: u64, removed_messages: u64) -> RecordedRepair {
        RecordedRepair { first_message, removed_messages, ..RecordedRepair::default() }
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
        for (first, removed) in [(1, 2), (9, 0), (u64::MAX, u64::MAX), (0, u64::MAX)] {
            let found = views(&RepairView::default(), &raw, &raw, &[repair(first, removed)]);
            assert!(found.expect_err("it does not fit").starts_with("repair 0 is recorded at message"), "{first}");
        }
    }

    #[test]
    fn text_behind_the_bound_is_cut_and_said_to_be() {
        let long = "ü".repeat(MOST_CHARACTERS + 1);
        let new = rollout(&[(U, "q"), (A, &long), (T, "ok")]);
        let found = views(&RepairView::default(), &new, &new, &[repair(1, 0)]).expect("they fit");
        assert!(found[0].is_cut);
        let length = |line: &DiffLine| match line {
            DiffLine::Both(text) | DiffLine::Before(text) | DiffLine::After(text) => text.chars().count(),
        };
        let characters: usize = found[0].lines.iter().map(length).sum();
        assert!(characters <= MOST_CHARACTERS);
    }
}
