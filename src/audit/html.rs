//! The HTML report: one file that needs no network, holds every repair and opens from disk.
//!
//! Owns the form of the file and its safety; what it shows is drawn in the browser by `page/*.js`, where text from data can
//! only become text nodes. Everything from data stands here in blocks that no browser runs, with no character that ends one,
//! and the page's own policy lets nothing run but its one script. Repairs are written as they come: memory holds some
//! hundred of them. Finding what to write, and the file itself, are the caller's.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use miniz_oxide::deflate::compress_to_vec;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::report::{AuditReport, DiffLine, RepairView};
use super::why;
use crate::decision::{Correction, Reason, SideEffects};
use crate::intent;
use crate::record::field::shown;
use crate::record::{Field, RepairRecord};

const SKELETON: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(
    include_str!("page/text.js"),
    include_str!("page/plots.js"),
    include_str!("page/report.js"),
    include_str!("page/repairs.js"),
);
/// Repairs of a block; the page inflates the lines of one when the first of them is opened.
const BLOCK: usize = 200;
/// Of deflate, from 0 to 10.
const EFFORT: u8 = 6;

/// A page that is being written: repairs first, then the numbers.
pub struct Page<W: Write> {
    out: W,
    facts: Vec<Value>,
    lines: Vec<Vec<String>>,
}

impl<W: Write> Page<W> {
    pub fn begin(mut out: W) -> io::Result<Self> {
        // The style comes last, so that nothing is looked for in it.
        let skeleton = SKELETON.replacen("{policy}", &policy(), 1).replacen("{style}", STYLE, 1);
        out.write_all(skeleton.as_bytes())?;
        writeln!(out, r#"<script type="application/json" id="fields">{}</script>"#, inert_json(&fields())?)?;
        writeln!(out, r#"<script type="application/json" id="words">{}</script>"#, inert_json(&words())?)?;
        Ok(Page { out, facts: Vec::with_capacity(BLOCK), lines: Vec::with_capacity(BLOCK) })
    }

    /// Repairs are listed in the order in which they come.
    pub fn repair(&mut self, repair: RepairView) -> io::Result<()> {
        let (facts, lines) = split(repair);
        self.facts.push(facts);
        self.lines.push(lines);
        if self.facts.len() < BLOCK { Ok(()) } else { self.write_block() }
    }

    /// The numbers, and the script that starts when all is there. Without this a page shows nothing.
    pub fn finish(mut self, report: &AuditReport) -> io::Result<W> {
        self.write_block()?;
        writeln!(self.out, r#"<script type="application/json" id="report">{}</script>"#, inert_json(report)?)?;
        write!(self.out, "<script>{SCRIPT}</script>\n</body>\n</html>\n")?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Facts stand plain, so that the table is there at once; lines are packed, since few are ever looked at.
    fn write_block(&mut self) -> io::Result<()> {
        if self.facts.is_empty() {
            return Ok(());
        }
        let lines = STANDARD.encode(compress_to_vec(&serde_json::to_vec(&self.lines)?, EFFORT));
        writeln!(self.out, r#"<script type="application/json" class="facts">{}</script>"#, inert_json(&self.facts)?)?;
        writeln!(self.out, r#"<script type="text/plain" class="lines">{lines}</script>"#)?;
        self.facts.clear();
        self.lines.clear();
        Ok(())
    }
}

/// What is shown of a repair's record, for `repairs.js`: facts stand in this order.
fn fields() -> Vec<Value> {
    let described = |field: &Field<RepairRecord>| {
        let meaning = field.finding.map(|finding| finding.meaning);
        json!({"name": field.name, "label": field.label, "decimal": field.is_decimal(), "finding": meaning})
    };
    shown::<RepairRecord>().into_iter().map(described).collect()
}

/// Plain words for the names that decisions are told by.
fn words() -> Value {
    let named = |pairs: Vec<(&'static str, &'static str)>| pairs.into_iter().collect::<BTreeMap<_, _>>();
    json!({
        "reasons": named(Reason::ALL.iter().map(|reason| (reason.name(), reason.meaning())).collect()),
        "rules": named(intent::all_rules().map(|rule| (rule.name, rule.reason)).collect()),
        "corrections": named(Correction::ALL.iter().map(|found| (found.name(), why::correction(*found))).collect()),
        "side_effects": named(SideEffects::ALL.iter().map(|found| (found.name(), why::side_effects(*found))).collect()),
        "cited_later": [why::cited(false), why::cited(true)],
    })
}

/// What the table shows, searches and sorts of a repair; a list, since names would be most of a large page.
fn split(repair: RepairView) -> (Value, Vec<String>) {
    let record: Vec<Value> = shown::<RepairRecord>().iter().map(|field| field.value(&repair.record)).collect();
    let found = &repair.record;
    let why = json!([
        found.correction.map(Correction::name),
        found.affinity,
        found.evidence,
        found.side_effects.map(SideEffects::name),
        found.cited_later
    ]);
    let facts =
        json!([[repair.rollout, repair.row, repair.repair], [repair.group, repair.reward], record, repair.is_cut, why]);
    (facts, repair.lines.into_iter().map(marked).collect())
}

/// A line with its mark in front, as in a patch.
fn marked(line: DiffLine) -> String {
    let (mark, text) = match line {
        DiffLine::Both(text) => (' ', text),
        DiffLine::Before(text) => ('-', text),
        DiffLine::After(text) => ('+', text),
    };
    format!("{mark}{text}")
}

/// JSON without a character that means something to a reader of HTML. Outside strings JSON has none of them, so that
/// their escapes give the same values.
fn inert_json(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value)?;
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Nothing is loaded, and nothing runs or styles but the page's own two texts, known by their hashes.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const INJECTIONS: &str = include_str!("../../fixtures/injections.json");

    fn page(repairs: impl IntoIterator<Item = RepairView>, report: &AuditReport) -> String {
        let mut page = Page::begin(Vec::new()).unwrap();
        for repair in repairs {
            page.repair(repair).unwrap();
        }
        String::from_utf8(page.finish(report).unwrap()).unwrap()
    }

    /// A repair and a report with the text wherever data can put one.
    fn full_of(text: &str) -> (RepairView, AuditReport) {
        let own = || text.to_owned();
        let repair = RepairView {
            rollout: own(),
            group: Some(own()),
            record: RepairRecord { tool: Some(own()), error_types: vec![own()], ..RepairRecord::default() },
            lines: vec![DiffLine::Both(own()), DiffLine::Before(own()), DiffLine::After(own())],
            ..RepairView::default()
        };
        let mut report =
            AuditReport { gate_failures: vec![own()], gates_undecided: vec![own()], ..AuditReport::default() };
        report.before.by_tool.insert(own(), Default::default());
        report.after.error_types.insert(own(), 1);
        report.repairs.skipped.get_or_insert_default().insert(own(), 1);
        report.settings = serde_json::json!({ text: text });
        (repair, report)
    }

    /// The texts between all `open` and the next `close`.
    fn between<'t>(page: &'t str, open: &str, close: &str) -> Vec<&'t str> {
        page.split(open).skip(1).map(|part| part.split(close).next().unwrap()).collect()
    }

    #[test]
    fn no_text_from_data_adds_a_tag_or_ends_a_block() {
        let texts: Vec<String> = serde_json::from_str(INJECTIONS).unwrap();
        assert_eq!(texts.len(), 200);
        let (repair, report) = full_of("tame");
        let tame = page([repair], &report);
        for text in texts {
            let (repair, report) = full_of(&text);
            let wild = page([repair], &report);
            for mark in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
                assert_eq!(wild.matches(mark).count(), tame.matches(mark).count(), "{mark:?} of {text:?}");
            }
        }
    }

    #[test]
    fn escaped_text_is_read_back_as_it_was() {
        let text = "</script><!-- & \u{2028}\u{2029}\0\u{1f}\"\\ \u{10ffff}";
        let (repair, report) = full_of(text);
        let page = page([repair], &report);
        let facts = between(&page, r#"class="facts">"#, "</script>");
        let facts: serde_json::Value = serde_json::from_str(facts[0]).unwrap();
        assert_eq!(facts[0][0][0], text);
        let report = between(&page, r#"id="report">"#, "</script>");
        let report: serde_json::Value = serde_json::from_str(report[0]).unwrap();
        assert_eq!(report["gate_failures"][0], text);
    }

    #[test]
    fn the_policy_names_the_hashes_of_the_script_and_the_style() {
        let page = page([], &AuditReport::default());
        let policy = between(&page, r#"http-equiv="Content-Security-Policy" content=""#, "\"")[0];
        for (kind, open, close) in [("script", "<script>", "</script>"), ("style", "<style>", "</style>")] {
            let text = between(&page, open, close);
            assert_eq!(text.len(), 1, "one {kind}");
            let hash = STANDARD.encode(Sha256::digest(text[0].as_bytes()));
            assert!(policy.contains(&format!("{kind}-src 'sha256-{hash}'")), "{policy}");
        }
        assert!(policy.starts_with("default-src 'none';"));
        assert!(!policy.contains("unsafe") && !policy.contains("http"));
    }

    #[test]
    fn the_script_makes_no_markup_from_text() {
        for door in
            ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "DOMParser", "srcdoc"]
        {
            assert!(!SCRIPT.contains(door), "{door}");
        }
        assert!(SCRIPT.is_ascii() && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
    }

    #[test]
    fn every_repair_is_in_one_block_and_its_lines_in_the_same() {
        let repairs = (0..2 * BLOCK as u64 + 1).map(|row| RepairView {
            row,
            lines: vec![DiffLine::Before(format!("{row}")), DiffLine::After("new".to_owned())],
            ..RepairView::default()
        });
        let page = page(repairs, &AuditReport::default());
        let facts = between(&page, r#"class="facts">"#, "</script>");
        let lines = between(&page, r#"class="lines">"#, "</script>");
        assert_eq!((facts.len(), lines.len()), (3, 3));
        let mut row = 0;
        for (facts, lines) in facts.iter().zip(lines) {
            let facts: Vec<serde_json::Value> = serde_json::from_str(facts).unwrap();
            let lines = miniz_oxide::inflate::decompress_to_vec(&STANDARD.decode(lines).unwrap()).unwrap();
            let lines: Vec<[String; 2]> = serde_json::from_slice(&lines).unwrap();
            assert_eq!(facts.len(), lines.len());
            for (fact, line) in facts.iter().zip(&lines) {
                assert_eq!(fact[0][1], row);
                assert_eq!(*line, [format!("-{row}"), "+new".to_owned()]);
                row += 1;
            }
        }
        assert_eq!(row, 2 * BLOCK as u64 + 1);
    }

    #[test]
    fn the_same_audit_gives_the_same_bytes() {
        let twice = [(), ()].map(|()| {
            let (repair, report) = full_of("text");
            page([repair], &report)
        });
        assert_eq!(twice[0], twice[1]);
    }

    #[test]
    fn a_writer_that_is_full_is_an_error() {
        let mut small = [0; 64];
        assert!(Page::begin(&mut small[..]).is_err());
    }
}
