//! Why a failure run was repaired, or left, in plain words.
//!
//! Owns the sentences. What was decided stands in the record, whose names these are the words for; nothing is decided again.

use crate::decision::{Correction, Reason, SideEffects};
use crate::intent;
use crate::record::{AdvantageSign, RepairRecord, RowRecord, RunOutcome, RunRecord};

/// The decision on one failure run, and what it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    pub title: String,
    pub lines: Vec<String>,
}

/// Of each failure run of a row, in order.
pub fn of_row(record: &RowRecord) -> Vec<Why> {
    match &record.runs {
        Some(runs) => runs.iter().map(of_run).collect(),
        // Written before the record said more.
        None => record.repairs.iter().map(of_recorded_repair).collect(),
    }
}

fn of_run(run: &RunRecord) -> Why {
    let became = match (run.decision, run.reason) {
        (RunOutcome::Repaired, _) => "repaired".to_owned(),
        (RunOutcome::Masked, _) => "out of the loss".to_owned(),
        (RunOutcome::Left, Some(reason)) => format!("left: {} ({})", reason.name(), reason.meaning()),
        (RunOutcome::Left, None) => "left".to_owned(),
    };
    let sign = run.advantage_sign.map(|sign| match sign {
        AdvantageSign::Positive => "the rollout did better than its group",
        AdvantageSign::Negative => "the rollout did no better than its group",
    });
    let said = Said {
        correction: run.correction,
        affinity: run.affinity,
        evidence: run.evidence.as_deref(),
        side_effects: run.side_effects,
        cited_later: run.cited_later,
    };
    let is_told = run.reason != Some(Reason::NegativeAdvantage);
    let lines = said.lines().into_iter().chain(sign.filter(|_| is_told).map(str::to_owned)).collect();
    Why { title: title(run.first_message, run.attempts, &became), lines }
}

fn of_recorded_repair(repair: &RepairRecord) -> Why {
    // Its attempts are those that became one: the correction is among them.
    let failed = repair.attempts.saturating_sub(1);
    Why { title: title(repair.first_message, failed, "repaired"), lines: of_repair(repair) }
}

/// Why a repair was made; empty where its record does not say.
pub fn of_repair(repair: &RepairRecord) -> Vec<String> {
    let said = Said {
        correction: repair.correction,
        affinity: repair.affinity,
        evidence: repair.evidence.as_deref(),
        side_effects: repair.side_effects,
        cited_later: repair.cited_later,
    };
    said.lines()
}

/// What a rule of evidence says, by its name; a name that this version does not know is shown as it is.
pub fn rule(name: &str) -> String {
    intent::reason(name).map_or_else(|| name.to_owned(), |reason| format!("{name}: {reason}"))
}

/// What the later call is to the failed one.
pub fn correction(found: Correction) -> &'static str {
    match found {
        Correction::Retry => "a retry: the same thing again, corrected",
        Correction::Workaround => "a workaround: the same end by another way",
        Correction::Other => "no correction: the later call does something else",
    }
}

/// Whether the failed calls changed something.
pub fn side_effects(found: SideEffects) -> &'static str {
    match found {
        SideEffects::No => "the failed calls changed nothing that would be lost",
        SideEffects::Unknown => "whether the failed calls changed something cannot be told",
        SideEffects::Yes => "the failed calls changed something that would be lost",
    }
}

/// Whether later text relies on the failure.
pub fn cited(is_cited: bool) -> &'static str {
    if is_cited { "later text relies on the failure" } else { "no later text relies on the failure" }
}

fn title(first_message: usize, failed: usize, became: &str) -> String {
    let attempts = if failed == 1 { "attempt" } else { "attempts" };
    format!("message {first_message}, {failed} failed {attempts}: {became}")
}

/// What both kinds of record say.
struct Said<'r> {
    correction: Option<Correction>,
    affinity: Option<f64>,
    evidence: Option<&'r [String]>,
    side_effects: Option<SideEffects>,
    cited_later: Option<bool>,
}

impl Said<'_> {
    fn lines(&self) -> Vec<String> {
        let Some(found) = self.correction else { return Vec::new() };
        let affinity = self.affinity.map(|affinity| format!(" (affinity {affinity:.2})")).unwrap_or_default();
        let mut out = vec![format!("{}{affinity}", correction(found))];
        let evidence = self.evidence.unwrap_or_default();
        if evidence.is_empty() && self.affinity.is_some_and(|affinity| affinity > 0.0) {
            out.push("no rule spoke: the affinity is how alike the two calls are".to_owned());
        }
        out.extend(evidence.iter().map(|name| rule(name)));
        out.extend(self.side_effects.map(|found| side_effects(found).to_owned()));
        out.extend(self.cited_later.map(|found| cited(found).to_owned()));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_with_its_decision_its_rules_and_what_would_be_lost() {
        let left = RunRecord {
            first_message: 3,
            attempts: 2,
            reason: Some(Reason::SideEffects),
            correction: Some(Correction::Retry),
            affinity: Some(0.75),
            evidence: Some(vec!["only_looks".to_owned(), "of_another_version".to_owned()]),
            side_effects: Some(SideEffects::Yes),
            cited_later: Some(false),
            advantage_sign: Some(AdvantageSign::Positive),
            ..RunRecord::default()
        };
        let why = of_run(&left);
        assert_eq!(
            why.title,
            "message 3, 2 failed attempts: left: side_effects (the failed calls changed something that would be lost)"
        );
        assert_eq!(why.lines[0], "a retry: the same thing again, corrected (affinity 0.75)");
        assert!(why.lines[1].starts_with("only_looks: the later call looks at what is there"), "{:?}", why.lines);
        assert_eq!(
            why.lines[2..],
            [
                "of_another_version",
                "the failed calls changed something that would be lost",
                "no later text relies on the failure",
                "the rollout did better than its group"
            ]
        );
    }

    #[test]
    fn a_record_of_an_earlier_version_says_what_it_can() {
        let old = RowRecord {
            repairs: vec![RepairRecord { first_message: 1, attempts: 2, ..RepairRecord::default() }],
            ..RowRecord::default()
        };
        let why = of_row(&old);
        assert_eq!(why.len(), 1);
        assert_eq!((why[0].title.as_str(), why[0].lines.len()), ("message 1, 1 failed attempt: repaired", 0));
    }

    #[test]
    fn every_reason_has_words_of_its_own() {
        let mut words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.meaning()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
