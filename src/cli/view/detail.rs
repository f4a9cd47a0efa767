//! One repair as rows of pieces: what is known of it, then its lines, below or beside each other.
//!
//! Owns which line stands opposite to which. Drawing the pieces is [`super::draw`]'s.

use serde_json::Value;

use super::text::{cut, wrap};
use crate::audit::report::{DiffLine, RepairView};
use crate::audit::why;
use crate::cli::printer::escaped;
use crate::record::field::shown;
use crate::record::{Field, RepairRecord, Shown};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    Fact,
    Rule,
    Both,
    Before,
    After,
}

/// Text of a row from one column on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub column: usize,
    pub text: String,
    pub kind: PieceKind,
}

impl Piece {
    pub fn fact(text: &str) -> Self {
        Piece { column: 0, text: text.to_owned(), kind: PieceKind::Fact }
    }
}

pub type ScreenLine = Vec<Piece>;

/// Which repair it is, and what was found of it.
pub fn facts(view: &RepairView, width: usize) -> Vec<ScreenLine> {
    let mut place = format!("{}, row {}, repair {}", view.rollout, view.row, view.repair);
    view.group.iter().for_each(|group| place += &format!(", group {group}"));
    view.reward.iter().for_each(|reward| place += &format!(", reward {reward}"));
    let plain = shown::<RepairRecord>().into_iter().filter(|field| field.finding.is_none());
    let what = plain.filter_map(|field| told(field, &view.record)).collect::<Vec<_>>().join(", ");
    let findings = view.record.findings.each().filter(|(_, found)| **found == Some(true));
    let found: Vec<&str> = findings.map(|(finding, _)| finding.label).collect();
    let found = if found.is_empty() { String::new() } else { format!("found: {}", found.join(", ")) };
    let why = why::of_repair(&view.record);
    let heading = (!why.is_empty()).then(|| "why this is a correction:".to_owned());
    let texts = [place, what, found].into_iter().chain(heading).chain(why.iter().map(|line| format!("  {line}")));
    let texts: Vec<String> = texts.collect();
    let shown = texts.iter().filter(|text| !text.is_empty());
    let mut rows: Vec<ScreenLine> =
        shown.flat_map(|text| wrap(&escaped(text), width)).map(|text| vec![Piece::fact(&text)]).collect();
    rows.push(Vec::new());
    rows
}

/// What a field says, as a part of a sentence; `None` where it says nothing.
fn told(field: &Field<RepairRecord>, record: &RepairRecord) -> Option<String> {
    let value = worded(&field.value(record)).filter(|text| !text.is_empty())?;
    Some(match field.shown {
        Shown::Alone => value,
        Shown::Labelled => format!("{} {value}", field.label),
        Shown::Counted => format!("{value} {}", field.label),
    })
}

fn worded(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_f64() => number.as_f64().map(|number| format!("{number:.3}")),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(if *flag { "yes" } else { "no" }.to_owned()),
        Value::Array(items) => Some(items.iter().filter_map(worded).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => Some(fields.values().filter_map(worded).collect::<Vec<_>>().join(" ")),
    }
}

fn parts(line: &DiffLine) -> (&str, PieceKind) {
    match line {
        DiffLine::Both(text) => (text, PieceKind::Both),
        DiffLine::Before(text) => (text, PieceKind::Before),
        DiffLine::After(text) => (text, PieceKind::After),
    }
}

/// A line as rows with its mark, from one column on.
fn marked(line: &DiffLine, column: usize, width: usize, wraps: bool) -> Vec<Piece> {
    let (text, kind) = parts(line);
    let mark = match kind {
        PieceKind::Before => "- ",
        PieceKind::After => "+ ",
        _ => "  ",
    };
    let (text, room) = (escaped(text), width.saturating_sub(mark.len()));
    let rows = if wraps { wrap(&text, room) } else { vec![cut(&text, room)] };
    let piece = |(k, text): (usize, String)| {
        let mark = if k == 0 { mark } else { "  " };
        Piece { column, text: format!("{mark}{text}"), kind }
    };
    rows.into_iter().enumerate().map(piece).collect()
}

pub fn unified(lines: &[DiffLine], width: usize, wraps: bool) -> Vec<ScreenLine> {
    lines.iter().flat_map(|line| marked(line, 0, width, wraps)).map(|piece| vec![piece]).collect()
}

/// Before on the left, after on the right; lines of one stretch stand opposite to each other in order.
pub fn side_by_side(lines: &[DiffLine], width: usize, wraps: bool) -> Vec<ScreenLine> {
    let half = width.saturating_sub(1) / 2;
    let mut rows = Vec::new();
    let mut rest = lines;
    while let Some(line) = rest.first() {
        if let DiffLine::Both(_) = line {
            rows.extend(opposite(Some(line), Some(line), half, wraps));
            rest = &rest[1..];
            continue;
        }
        let end = rest.iter().position(|line| matches!(line, DiffLine::Both(_))).unwrap_or(rest.len());
        let (stretch, behind) = rest.split_at(end);
        let of = |kind: PieceKind| stretch.iter().filter(move |line| parts(line).1 == kind);
        let (mut before, mut after) = (of(PieceKind::Before), of(PieceKind::After));
        loop {
            match (before.next(), after.next()) {
                (None, None) => break,
                (left, right) => rows.extend(opposite(left, right, half, wraps)),
            }
        }
        rest = behind;
    }
    rows
}

fn opposite(left: Option<&DiffLine>, right: Option<&DiffLine>, half: usize, wraps: bool) -> Vec<ScreenLine> {
    let of = |line: Option<&DiffLine>, column| line.map(|line| marked(line, column, half, wraps)).unwrap_or_default();
    let (left, right) = (of(left, 0), of(right, half + 1));
    let rule = Piece { column: half, text: "│".to_owned(), kind: PieceKind::Rule };
    let row = |k: usize| left.get(k).cloned().into_iter().chain([rule.clone()]).chain(right.get(k).cloned()).collect();
    (0..left.len().max(right.len())).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use DiffLine::{After, Before, Both};

    fn texts(rows: &[ScreenLine]) -> Vec<String> {
        rows.iter()
            .map(|row| row.iter().map(|p| format!("{}:{}", p.column, p.text)).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn lines_of_a_stretch_stand_opposite_to_each_other() {
        let lines = [Both("a".into()), Before("b".into()), Before("c".into()), After("d".into()), Both("e".into())];
        assert_eq!(
            texts(&side_by_side(&lines, 21, true)),
            ["0:  a 10:│ 11:  a", "0:- b 10:│ 11:+ d", "0:- c 10:│", "0:  e 10:│ 11:  e"]
        );
        assert_eq!(texts(&unified(&lines, 21, true)), ["0:  a", "0:- b", "0:- c", "0:+ d", "0:  e"]);
    }

    #[test]
    fn long_line_is_wrapped_with_one_mark_or_cut() {
        let lines = [Before("abcdefgh".into()), After("x".into())];
        assert_eq!(texts(&side_by_side(&lines, 13, true)), ["0:- abcd 6:│ 7:+ x", "0:  efgh 6:│"]);
        assert_eq!(texts(&unified(&lines, 6, false)), ["0:- abc…", "0:+ x"]);
    }
}
