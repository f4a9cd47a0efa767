//! A correction against its calls and results: the same call again, a result that was cut.
//!
//! Owns the markers by which harnesses say that they have left something out. Only markers count: text that ends in the
//! middle of a word may have been written so.

use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::compiled;
use crate::saar::{Repair, call_segment};
use crate::steps::Trajectory;

/// Whether the correction repeats one of the failed calls, byte for byte.
pub fn is_identical_retry(trajectory: &Trajectory<'_, '_>, repair: &Repair) -> bool {
    let call = |step: usize| call_segment(&trajectory.rollout.messages[trajectory.steps[step].message]);
    let correction = call(repair.last());
    (repair.first()..repair.last()).any(|step| call(step) == correction)
}

/// Whether a result of the correction was cut by the harness.
pub fn is_lossy(trajectory: &Trajectory<'_, '_>, repair: &Repair) -> bool {
    let results = trajectory.steps[repair.last()].results.clone();
    trajectory.rollout.messages[results].iter().any(|m| m.content.is_some_and(|text| CUT.is_match(text)))
}

/// In order: a remark in brackets (MINT, OpenHands, mini-swe-agent), dots beside the word (verl), SWE-agent's and Claude's
/// note, a number of things left out, a sentence.
static CUT: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        r"[\[(<][^\[\]()<>\n]{0,60}\b(?:truncated|clipped|elided)\b[^\[\]()<>\n]{0,60}[\])>]",
        r"(?:\.\.\.|…)[ \t]*\(?(?:output |response |content |rest )?truncated",
        r"truncated\)?[ \t]*(?:\.\.\.|…)",
        r"<response clipped>|<elided_chars>",
        r"\b[\d,]+ (?:more )?(?:characters?|chars|bytes|tokens|lines) (?:were |have been )?(?:truncated|omitted|elided|removed|clipped|not shown)\b",
        r"\b(?:output|result|response|observation) (?:was|is|has been) (?:too long and (?:was|is|has been) )?(?:truncated|clipped|cut off)\b",
    ];
    compiled(&format!("(?i){}", patterns.join("|")))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_of_harnesses_are_known() {
        for text in [
            "a\n[Output Truncated]\n",
            "a\n[... Observation truncated due to length ...]\nb",
            "abc...(truncated)...xyz",
            "(truncated)...xyz",
            "abc\n... output truncated ...",
            "line<response clipped><NOTE>only part of it</NOTE>",
            "<elided_chars>\n1200 characters elided\n</elided_chars>",
            "[120 lines omitted]",
            "The output was truncated to 5000 characters.",
        ] {
            assert!(CUT.is_match(text), "{text}");
        }
    }

    #[test]
    fn text_about_cutting_is_no_marker() {
        for text in [
            "-rwxr-xr-x 1 root root 35000 Feb 1 2024 truncate",
            "def truncate(text, n):\n    return text[:n]",
            "[1, 2, 3, ..., 1000]",
            "the table was truncated by `TRUNCATE TABLE t`",
            "3 lines changed",
        ] {
            assert!(!CUT.is_match(text), "{text}");
        }
    }
}
