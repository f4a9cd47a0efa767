//! Draws the state into a buffer of cells, and says how much fitted.
//!
//! Owns the layout. Nothing is drawn but through [`put`], which escapes: text from data can't move the cursor, and a wide
//! character that does not fit is left out whole.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::detail::{self, Piece, PieceKind};
use super::spool::Entry;
use super::state::{Fit, Focus, State};
use super::text::{cut, width_of};
use crate::audit::report::{DiffLine, RepairView};
use crate::cli::printer::{escaped, grouped};
use crate::record::{FINDINGS, Finding};

/// Columns from which the list has all its columns, and the detail may have its sides beside each other.
const WIDE: u16 = 80;
/// Rows from which the list has a detail below it.
const TALL: u16 = 14;

const HELP: &[&str] = &[
    "up, down, j, k      one line",
    "PgUp, PgDn, space   one page",
    "g, G                to the first, to the last",
    "left, right, h, l   to the previous repair, to the next",
    "n, N                to the next deep repair, to the previous one",
    "Enter, Tab, Esc     into the repair, and back",
    "/                   search: rollout, tool, error type",
    "f                   all, deep, shallow, or one of the findings below",
    "t, e                one tool, one error type: the next one, and all",
    "s                   side by side, or one above the other",
    "w                   wrap long lines, or truncate them",
    "q                   quit",
    "",
    "In the list: least similarity, attempts, and what the guards found:",
];

/// All that is drawn.
pub struct Scene<'s> {
    pub state: &'s State,
    pub entries: &'s [Entry],
    /// Of the selected repair.
    pub lines: &'s [DiffLine],
    pub file: &'s str,
    pub is_coloured: bool,
}

pub fn draw(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) -> Fit {
    if area.height < 3 || area.width < 2 {
        return Fit::default();
    }
    let row = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
    put(buffer, row(0, 1), &title(scene), Style::new().add_modifier(Modifier::BOLD));
    put(buffer, row(area.height - 1, 1), &footer(scene.state), dim());
    let body = row(1, area.height - 2);
    if scene.state.shows_help {
        let findings: Vec<String> = FINDINGS.iter().map(|f| format!("{} {}", f.letter, f.label)).collect();
        let lines = HELP.iter().map(|line| (*line).to_owned()).chain([findings.join(", ")]);
        for (line, y) in lines.zip(body.y..body.bottom()) {
            put(buffer, Rect { y, height: 1, ..body }, &line, Style::new());
        }
        return scene.state.fit;
    }
    let list_height = match scene.state.focus {
        Focus::List if area.height < TALL => body.height,
        Focus::List => (scene.state.shown.len() as u16).clamp(1, body.height / 3),
        Focus::Detail => 0,
    };
    draw_list(scene, Rect { height: list_height, ..body }, buffer);
    // A rule stands between the two.
    let rule = u16::from(list_height > 0);
    let detail = Rect {
        y: body.y + (list_height + rule).min(body.height),
        height: body.height.saturating_sub(list_height + rule),
        ..body
    };
    if rule > 0 && detail.height > 0 {
        put(buffer, Rect { y: detail.y - 1, height: 1, ..body }, &"─".repeat(usize::from(body.width)), dim());
    }
    let detail_rows = draw_detail(scene, detail, buffer);
    Fit { list: usize::from(list_height), detail: usize::from(detail.height), detail_rows }
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// Text in the first row of an area, as much as fits.
fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    let area = area.intersection(buffer.area);
    if area.height > 0 {
        buffer.set_stringn(
            area.x,
            area.y,
            cut(&escaped(text), usize::from(area.width)),
            usize::from(area.width),
            style,
        );
    }
}

fn title(scene: &Scene<'_>) -> String {
    let state = scene.state;
    let all = grouped(scene.entries.len() as u64);
    let place = match state.shown.len() {
        0 => "no repair".to_owned(),
        shown => format!("{} of {}", grouped(state.selected as u64 + 1), grouped(shown as u64)),
    };
    let mut out = format!("{place} ({all} repairs), filter: {}", state.filter.name());
    for (what, chosen) in [("tool", &state.tool.chosen), ("error type", &state.error_type.chosen)] {
        chosen.iter().for_each(|chosen| out += &format!(", {what}: {chosen}"));
    }
    if !state.search.is_empty() && !state.is_typing {
        out += &format!(", search: {}", state.search);
    }
    out + ", " + scene.file
}

fn footer(state: &State) -> String {
    match () {
        () if state.is_typing => format!("/{}_", state.search),
        () if state.shows_help => "any key: back".to_owned(),
        () if !state.note.is_empty() => state.note.to_owned(),
        () if state.focus == Focus::Detail => "? help  Esc list  n next deep  s sides  w wrap  q quit".to_owned(),
        () => "? help  Enter open  / search  f filter  n next deep  q quit".to_owned(),
    }
}

fn draw_list(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let (state, rows) = (scene.state, usize::from(area.height));
    if state.shown.is_empty() && rows > 0 {
        put(buffer, area, "nothing matches; f for another filter, Esc to end the search", Style::new());
    }
    // The selected one stands in the middle, as far as there are others around it.
    let first = state.selected.saturating_sub(rows / 2).min(state.shown.len().saturating_sub(rows));
    for (place, y) in (first..state.shown.len()).zip(area.y..area.bottom()) {
        let Some(entry) = scene.entries.get(state.shown[place]) else { continue };
        let is_selected = place == state.selected;
        let style = if is_selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        let mut line = list_line(&entry.view, area.width);
        if is_selected {
            let rest = usize::from(area.width).saturating_sub(width_of(&line));
            line.push_str(&" ".repeat(rest));
        }
        put(buffer, Rect { y, height: 1, ..area }, &line, style);
    }
}

/// One repair in one row, escaped.
fn list_line(view: &RepairView, width: u16) -> String {
    let least = view.record.similarity.iter().copied().fold(f64::INFINITY, f64::min);
    let least = if least.is_finite() { format!("{least:.2}") } else { "   -".to_owned() };
    let errors = view.record.error_types.join(" ");
    let granularity = view.record.granularity.name();
    let columns: &[(&str, usize)] = match width < WIDE {
        true => &[(granularity, 7), (&least, 4), (&errors, 11)],
        false => &[
            (granularity, 7),
            (&least, 4),
            (&format!("{:>2}", view.record.attempts), 2),
            (&flags(view), FINDINGS.len()),
            (view.record.tool.as_deref().unwrap_or("-"), 12),
            (&errors, 24),
        ],
    };
    let mut out = String::new();
    for (text, width) in columns {
        let text = cut(&escaped(text), *width);
        out += &text;
        out += &" ".repeat(width.saturating_sub(width_of(&text)) + 1);
    }
    out + &escaped(&view.rollout)
}

fn flags(view: &RepairView) -> String {
    let letter = |(finding, found): (&Finding, &Option<bool>)| if *found == Some(true) { finding.letter } else { '.' };
    view.record.findings.each().map(letter).collect()
}

/// Returns how many rows the detail has.
fn draw_detail(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) -> usize {
    let current = scene.state.current().and_then(|index| scene.entries.get(index));
    let Some(entry) = current.filter(|_| area.height > 0) else { return 0 };
    let (state, width) = (scene.state, usize::from(area.width));
    let is_split = state.is_side_by_side && area.width >= WIDE;
    let mut rows = detail::facts(&entry.view, width);
    rows.extend(match is_split {
        true => detail::side_by_side(scene.lines, width, state.wraps),
        false => detail::unified(scene.lines, width, state.wraps),
    });
    if entry.view.is_cut {
        rows.push(vec![Piece::fact("the rest of the text is truncated")]);
    }
    let most = rows.len().saturating_sub(usize::from(area.height));
    for (row, y) in rows.iter().skip(state.scroll.min(most)).zip(area.y..area.bottom()) {
        for piece in row {
            let x = area.x.saturating_add(piece.column as u16);
            let place = Rect { x, y, width: area.right().saturating_sub(x), height: 1 };
            put(buffer, place, &piece.text, style_of(piece.kind, scene.is_coloured));
        }
    }
    rows.len()
}

fn style_of(kind: PieceKind, is_coloured: bool) -> Style {
    match kind {
        PieceKind::Fact => Style::new().add_modifier(Modifier::BOLD),
        PieceKind::Rule => dim(),
        PieceKind::Before if is_coloured => Style::new().fg(Color::Red),
        PieceKind::After if is_coloured => Style::new().fg(Color::Green),
        PieceKind::Before | PieceKind::After | PieceKind::Both => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::spool::Spool;
    use super::*;
    use crate::record::RepairRecord;

    fn drawn(view: RepairView, lines: Vec<DiffLine>, width: u16, height: u16) -> String {
        let mut spool = Spool::new();
        spool.push(view).expect("room");
        let mut state = State::new(&spool.entries);
        state.focus = Focus::Detail;
        let scene =
            Scene { state: &state, entries: &spool.entries, lines: &lines, file: "a.parquet", is_coloured: false };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| _ = draw(&scene, frame.area(), frame.buffer_mut())).expect("it draws");
        terminal.backend().to_string()
    }

    #[test]
    fn wide_characters_leave_the_right_side_where_it_is() {
        let lines = vec![DiffLine::Before("漢字 e\u{301}".repeat(9)), DiffLine::After("after".into())];
        let screen = drawn(RepairView::default(), lines, 80, 20);
        let row = screen.lines().find(|line| line.contains("+ after")).expect("it is there");
        assert!(row.contains("│+ after"), "{screen}");
        assert_eq!(width_of(row.trim_matches('"').split('│').next().expect("a left side")), 39, "{screen}");
    }

    #[test]
    fn hostile_text_is_escaped_wherever_it_stands() {
        let hostile = "\u{1b}[2J\u{202e}\u{7}";
        let view = RepairView {
            rollout: hostile.to_owned(),
            group: Some(hostile.to_owned()),
            record: RepairRecord {
                tool: Some(hostile.to_owned()),
                error_types: vec![hostile.to_owned()],
                ..RepairRecord::default()
            },
            ..RepairView::default()
        };
        let screen = drawn(view, vec![DiffLine::Both(hostile.to_owned())], 100, 20);
        assert_eq!(screen.matches("\\u{1b}[2J\\u{202e}\\u{7}").count(), 6, "{screen}");
        assert!(screen.chars().all(|c| c == '\n' || !c.is_control()), "{screen:?}");
    }

    #[test]
    fn every_size_is_survived() {
        let lines = vec![DiffLine::Before("漢".repeat(50)), DiffLine::After("b".repeat(200))];
        for (width, height) in [(1, 1), (1, 30), (2, 3), (3, 4), (40, 2), (300, 3), (500, 1)] {
            drawn(RepairView { rollout: "漢".repeat(300), ..RepairView::default() }, lines.clone(), width, height);
        }
    }
}
