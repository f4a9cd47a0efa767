//! What the viewer shows: keys in, state out.
//!
//! Owns filter, search, selection and scrolling. It knows neither terminal nor files; drawing tells it how much fits.

use std::collections::BTreeSet;

use ratatui::crossterm::event::KeyCode;

use super::spool::Entry;
use crate::audit::report::RepairView;
use crate::record::{FINDINGS, Finding, Granularity};

/// Which repairs are listed.
#[derive(Clone, Copy, Debug, Default)]
pub enum Filter {
    #[default]
    All,
    Of(Granularity),
    With(&'static Finding),
}

impl Filter {
    /// All of them, in the order in which a key goes through them.
    fn each() -> impl Iterator<Item = Filter> {
        let granularities = [Granularity::Deep, Granularity::Shallow].map(Filter::Of);
        [Filter::All].into_iter().chain(granularities).chain(FINDINGS.iter().map(Filter::With))
    }

    fn next(self) -> Self {
        Self::each().skip_while(|filter| filter.name() != self.name()).nth(1).unwrap_or_default()
    }

    pub fn name(self) -> &'static str {
        match self {
            Filter::All => "all",
            Filter::Of(granularity) => granularity.name(),
            Filter::With(finding) => finding.label,
        }
    }

    fn passes(self, view: &RepairView) -> bool {
        match self {
            Filter::All => true,
            Filter::Of(granularity) => view.record.granularity == granularity,
            Filter::With(finding) => *(finding.of)(&view.record.findings) == Some(true),
        }
    }
}

/// One of the values that the repairs have, or none: then all pass.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    values: Vec<String>,
    pub chosen: Option<String>,
}

impl Choice {
    /// Sorted, each once.
    fn of<'v>(values: impl Iterator<Item = &'v String>) -> Self {
        Choice { values: values.cloned().collect::<BTreeSet<_>>().into_iter().collect(), chosen: None }
    }

    fn turn(&mut self) {
        let next = self.values.iter().position(|value| Some(value) == self.chosen.as_ref()).map_or(0, |at| at + 1);
        self.chosen = self.values.get(next).cloned();
    }

    fn passes<'v>(&self, mut values: impl Iterator<Item = &'v String>) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| values.any(|value| value == chosen))
    }
}

fn is_deep(view: &RepairView) -> bool {
    view.record.granularity == Granularity::Deep
}

/// Whether the rollout's id, the tool or an error type holds the text, which is lower case.
fn mentions(view: &RepairView, wanted: &str) -> bool {
    let texts = std::iter::once(&view.rollout).chain(&view.record.tool).chain(&view.record.error_types);
    wanted.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(wanted))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Focus {
    #[default]
    List,
    Detail,
}

/// What a key asks of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    GoOn,
    Quit,
}

/// Rows that fit, as of the last drawing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fit {
    pub list: usize,
    pub detail: usize,
    /// Of the detail, all in all.
    pub detail_rows: usize,
}

pub struct State {
    pub focus: Focus,
    pub filter: Filter,
    pub tool: Choice,
    pub error_type: Choice,
    pub search: String,
    /// Keys go into the search.
    pub is_typing: bool,
    /// Indices of the entries that are listed.
    pub shown: Vec<usize>,
    /// Into `shown`.
    pub selected: usize,
    /// First row of the detail.
    pub scroll: usize,
    pub is_side_by_side: bool,
    pub wraps: bool,
    pub shows_help: bool,
    /// What the last key could not do.
    pub note: &'static str,
    pub fit: Fit,
}

impl State {
    pub fn new(entries: &[Entry]) -> Self {
        State {
            focus: Focus::List,
            filter: Filter::All,
            tool: Choice::of(entries.iter().filter_map(|entry| entry.view.record.tool.as_ref())),
            error_type: Choice::of(entries.iter().flat_map(|entry| &entry.view.record.error_types)),
            search: String::new(),
            is_typing: false,
            shown: (0..entries.len()).collect(),
            selected: 0,
            scroll: 0,
            is_side_by_side: true,
            wraps: true,
            shows_help: false,
            note: "",
            fit: Fit::default(),
        }
    }

    /// Index of the entry that is shown in detail.
    pub fn current(&self) -> Option<usize> {
        self.shown.get(self.selected).copied()
    }

    /// Told what the drawing had room for, which changes with the terminal.
    pub fn fits(&mut self, fit: Fit) {
        self.fit = fit;
        self.scroll = self.scroll.min(fit.detail_rows.saturating_sub(fit.detail));
    }

    pub fn press(&mut self, key: KeyCode, entries: &[Entry]) -> Asked {
        self.note = "";
        if self.is_typing {
            self.type_in(key, entries);
            return Asked::GoOn;
        }
        if std::mem::take(&mut self.shows_help) {
            return Asked::GoOn;
        }
        match key {
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Char('?') => self.shows_help = true,
            KeyCode::Char('/') => {
                self.search.clear();
                self.is_typing = true;
                self.list_again(entries);
            }
            KeyCode::Char('f') => {
                self.filter = self.filter.next();
                self.list_again(entries);
            }
            KeyCode::Char('t') => {
                self.tool.turn();
                self.list_again(entries);
            }
            KeyCode::Char('e') => {
                self.error_type.turn();
                self.list_again(entries);
            }
            KeyCode::Char('s') => self.is_side_by_side = !self.is_side_by_side,
            KeyCode::Char('w') => self.wraps = !self.wraps,
            KeyCode::Char('n') => self.seek_deep(entries, true),
            KeyCode::Char('N') => self.seek_deep(entries, false),
            KeyCode::Right | KeyCode::Char('l') => self.select(self.selected.saturating_add(1)),
            KeyCode::Left | KeyCode::Char('h') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Enter if self.current().is_some() => self.focus = Focus::Detail,
            KeyCode::Tab if self.current().is_some() => {
                self.focus = if self.focus == Focus::List { Focus::Detail } else { Focus::List };
            }
            KeyCode::Esc if self.focus == Focus::List && !self.search.is_empty() => {
                self.search.clear();
                self.list_again(entries);
            }
            KeyCode::Esc | KeyCode::Backspace => self.focus = Focus::List,
            _ => self.travel(key),
        }
        Asked::GoOn
    }

    fn type_in(&mut self, key: KeyCode, entries: &[Entry]) {
        match key {
            KeyCode::Enter | KeyCode::Tab => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.search.clear();
            }
            KeyCode::Backspace => {
                self.search.pop();
            }
            KeyCode::Char(c) => self.search.push(c),
            _ => return,
        }
        self.list_again(entries);
    }

    /// Lists what passes; the selection stays on its repair, or goes to the next one that passes.
    fn list_again(&mut self, entries: &[Entry]) {
        let current = self.current();
        let wanted = self.search.to_lowercase();
        let passes = |view: &RepairView| {
            self.filter.passes(view)
                && self.tool.passes(view.record.tool.iter())
                && self.error_type.passes(view.record.error_types.iter())
                && mentions(view, &wanted)
        };
        self.shown = (0..entries.len()).filter(|&k| passes(&entries[k].view)).collect();
        let behind = self.shown.partition_point(|&k| current.is_some_and(|current| k < current));
        self.selected = behind.min(self.shown.len().saturating_sub(1));
        if self.current() != current {
            self.scroll = 0;
        }
        if self.shown.is_empty() {
            self.focus = Focus::List;
        }
    }

    fn select(&mut self, place: usize) {
        let place = place.min(self.shown.len().saturating_sub(1));
        if place != self.selected {
            self.selected = place;
            self.scroll = 0;
        }
    }

    fn seek_deep(&mut self, entries: &[Entry], is_forward: bool) {
        let is_wanted = |&place: &usize| self.shown.get(place).is_some_and(|&k| is_deep(&entries[k].view));
        let found = match is_forward {
            true => (self.selected + 1..self.shown.len()).find(is_wanted),
            false => (0..self.selected).rev().find(is_wanted),
        };
        match found {
            Some(place) => self.select(place),
            None if is_forward => self.note = "no deep repair after this one",
            None => self.note = "no deep repair before this one",
        }
    }

    /// Through the list, or through the lines of a repair.
    fn travel(&mut self, key: KeyCode) {
        let (at, last, page) = match self.focus {
            Focus::List => (self.selected, self.shown.len().saturating_sub(1), self.fit.list),
            Focus::Detail => (self.scroll, self.fit.detail_rows.saturating_sub(self.fit.detail), self.fit.detail),
        };
        let page = page.saturating_sub(1).max(1);
        let to = match key {
            KeyCode::Down | KeyCode::Char('j') => at.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => at.saturating_add(page),
            KeyCode::PageUp => at.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            _ => return,
        };
        match self.focus {
            Focus::List => self.select(to),
            Focus::Detail => self.scroll = to.min(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spool::Spool;
    use super::*;
    use crate::record::{Findings, RepairRecord};

    /// Names as `d1` for the deep repair of rollout d1, `s2` for a shallow one.
    fn entries(names: &[&str]) -> Vec<Entry> {
        let mut spool = Spool::new();
        for name in names {
            let view = RepairView {
                rollout: (*name).to_owned(),
                record: RepairRecord {
                    granularity: if name.starts_with('d') { Granularity::Deep } else { Granularity::Shallow },
                    tool: Some("Python".to_owned()),
                    error_types: vec![if name.ends_with('2') { "NameError" } else { "SyntaxError" }.to_owned()],
                    findings: Findings { residue: Some(name.ends_with('3')), ..Findings::default() },
                    ..RepairRecord::default()
                },
                ..RepairView::default()
            };
            spool.push(view).expect("room");
        }
        spool.entries
    }

    fn press(state: &mut State, entries: &[Entry], keys: &str) {
        for key in keys.chars() {
            let key = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            state.press(key, entries);
        }
    }

    #[test]
    fn search_looks_at_rollout_tool_and_error_type_in_any_case() {
        let entries = entries(&["s1", "d2", "s3"]);
        let mut state = State::new(&entries);
        for (search, shown) in
            [("D2", vec![1]), ("nameERR", vec![1]), ("python", vec![0, 1, 2]), ("nothing", vec![]), ("", vec![0, 1, 2])]
        {
            press(&mut state, &entries, &format!("/{search}\n"));
            assert_eq!(state.shown, shown, "{search}");
        }
    }

    #[test]
    fn keys_that_are_typed_into_the_search_do_nothing_else() {
        let entries = entries(&["s1", "d2"]);
        let mut state = State::new(&entries);
        press(&mut state, &entries, "/q?fn");
        assert_eq!((state.search.as_str(), state.filter.name(), state.shows_help), ("q?fn", "all", false));
        state.press(KeyCode::Esc, &entries);
        assert_eq!((state.search.as_str(), state.shown.len()), ("", 2));
    }

    #[test]
    fn filter_goes_round_and_keeps_the_selected_repair_where_it_passes() {
        let entries = entries(&["s1", "d2", "s3", "d4"]);
        let mut state = State::new(&entries);
        press(&mut state, &entries, "G");
        let mut seen = Vec::new();
        for _ in 0..7 {
            press(&mut state, &entries, "f");
            seen.push((state.filter.name(), state.shown.len(), state.current()));
        }
        assert_eq!(
            seen,
            [
                ("deep", 2, Some(3)),
                ("shallow", 2, Some(2)),
                ("residue", 1, Some(2)),
                ("depends on removed", 0, None),
                ("identical retry", 0, None),
                ("lossy result", 0, None),
                ("all", 4, Some(0)),
            ]
        );
    }

    #[test]
    fn one_tool_or_error_type_alone_is_listed_and_all_again_behind_the_last() {
        let entries = entries(&["s1", "d2", "s3"]);
        let mut state = State::new(&entries);
        let mut seen = Vec::new();
        for key in "eeetft".chars() {
            press(&mut state, &entries, &key.to_string());
            seen.push(state.shown.clone());
        }
        // NameError, SyntaxError, all; Python; of these the deep ones, and those of all tools.
        assert_eq!(seen, [vec![1], vec![0, 2], vec![0, 1, 2], vec![0, 1, 2], vec![1], vec![1]]);
    }

    #[test]
    fn next_deep_repair_is_found_in_both_directions_and_its_absence_is_said() {
        let entries = entries(&["s1", "d2", "s3", "d4", "s5"]);
        let mut state = State::new(&entries);
        press(&mut state, &entries, "\nn");
        assert_eq!((state.current(), state.focus), (Some(1), Focus::Detail));
        press(&mut state, &entries, "nn");
        assert_eq!((state.current(), state.note), (Some(3), "no deep repair after this one"));
        press(&mut state, &entries, "N");
        assert_eq!((state.current(), state.note), (Some(1), ""));
    }

    #[test]
    fn travel_stays_within_the_list_and_within_the_lines() {
        let entries = entries(&["s1", "d2", "s3"]);
        let mut state = State::new(&entries);
        state.fit = Fit { list: 2, detail: 10, detail_rows: 25 };
        press(&mut state, &entries, "kjjjjj");
        assert_eq!(state.selected, 2);
        press(&mut state, &entries, "g");
        state.press(KeyCode::PageDown, &entries);
        assert_eq!(state.selected, 1);
        press(&mut state, &entries, "\nG");
        assert_eq!(state.scroll, 15);
        state.press(KeyCode::PageUp, &entries);
        assert_eq!(state.scroll, 6);
        state.press(KeyCode::Right, &entries);
        assert_eq!((state.selected, state.scroll), (2, 0), "another repair starts at its top");
    }

    #[test]
    fn empty_list_has_no_detail_and_any_key_is_survived() {
        let mut state = State::new(&[]);
        for key in "jkgG nNfsw/a\n\thl".chars() {
            press(&mut state, &[], &key.to_string());
        }
        state.press(KeyCode::Tab, &[]);
        assert_eq!((state.focus, state.current()), (Focus::List, None));
        assert_eq!(state.press(KeyCode::Char('q'), &[]), Asked::Quit);
    }
}
