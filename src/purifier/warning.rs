//! What a run must not pass by in silence: that it has read rows and found nothing to do in them, though there is something.
//!
//! Owns what is counted of each rollout for that ([`Doubts`]), from where on the sums are worth a [`Warning`], and its words.
//! Which text looks like a call is [`crate::protocol`]'s to say.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::group::BaselineTally;
use crate::message::{Message, Role};
use crate::protocol::{CallLook, call_look};
use crate::steps::{Answer, Outcome, Step, Trajectory};
use crate::verdict::{Asked, ErrorDetector, Verdict};

/// Labels may disagree with the detector in this share of the results: one in so many.
const LABELS_PER_DISAGREEMENT: u64 = 20;

/// Counts that speak against what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Doubts {
    /// Attempts without a result.
    pub open_attempts: u64,
    /// Rows without an attempt that hold tools' messages or text that is surely a call.
    pub unread_calls: u64,
    /// Rows without an attempt that hold text which is a call for some agents and for others is not.
    pub unread_code: u64,
    /// Results on which the data itself says whether they are errors.
    pub labelled_results: u64,
    /// Those of them of which the detector, blind to the label, says otherwise.
    pub label_disagreements: u64,
}

impl AddAssign for Doubts {
    fn add_assign(&mut self, other: Doubts) {
        let Doubts { open_attempts, unread_calls, unread_code, labelled_results, label_disagreements } = other;
        self.open_attempts += open_attempts;
        self.unread_calls += unread_calls;
        self.unread_code += unread_code;
        self.labelled_results += labelled_results;
        self.label_disagreements += label_disagreements;
    }
}

impl Doubts {
    /// Those of one rollout.
    pub fn of(trajectory: &Trajectory<'_, '_>, detector: &ErrorDetector) -> Self {
        let open = trajectory.steps.iter().filter(|step| step.attempt == Some(Outcome::Open)).count();
        let mut out = Doubts { open_attempts: open as u64, ..Doubts::default() };
        if trajectory.attempts() == 0 {
            match unread(&trajectory.rollout.messages) {
                Some(CallLook::Call) => out.unread_calls = 1,
                Some(CallLook::Code) => out.unread_code = 1,
                None => {}
            }
        }
        for label in labels(trajectory, detector) {
            out.labelled_results += 1;
            out.label_disagreements += u64::from(label.disagrees());
        }
        out
    }
}

/// What in messages without an attempt looks like one.
fn unread(messages: &[Message<'_>]) -> Option<CallLook> {
    if messages.iter().any(|message| message.role == Role::Tool) {
        return Some(CallLook::Call);
    }
    let said = messages.iter().filter(|message| message.role == Role::Assistant).filter_map(|message| message.content);
    said.filter_map(call_look).max()
}

/// A result on which the data itself says whether it is an error, and what the detector says that does not see this.
pub struct Label<'t> {
    pub step: &'t Step,
    pub answer: &'t Answer,
    pub is_error: bool,
    pub blind: Verdict,
}

impl Label<'_> {
    /// Whether the detector sees an error where the data sees none, or the other way round. An informative result may be labelled
    /// either way: whoever labels by exit codes calls a failing test an error. Of a result without text the detector says nothing.
    pub fn disagrees(&self) -> bool {
        match &self.blind {
            Verdict::Error(_) => !self.is_error,
            Verdict::Ok => self.is_error,
            Verdict::Informative(_) | Verdict::Unknown => false,
        }
    }
}

/// The labelled results of a rollout, in order.
pub fn labels<'t>(trajectory: &'t Trajectory<'_, '_>, detector: &ErrorDetector) -> impl Iterator<Item = Label<'t>> {
    let messages = &trajectory.rollout.messages;
    let answers = trajectory.steps.iter().flat_map(|step| step.answers.iter().map(move |answer| (step, answer)));
    answers.filter_map(move |(step, answer)| {
        let (asked, result) = (&messages[step.message], &messages[answer.message]);
        let is_error = result.is_error?;
        let text = result.content.filter(|text| !text.trim().is_empty());
        let blind = Message { is_error: None, content: text, ..result.clone() };
        let blind = detector.verdict(&Asked::of(asked, &answer.calls), &blind);
        Some(Label { step, answer, is_error, blind })
    })
}

/// The sums that warnings follow from.
#[derive(Clone, Copy, Debug)]
pub struct Sums<'c> {
    /// Rows of other shards left out.
    pub rows: u64,
    pub rejected: u64,
    pub attempts: u64,
    pub doubts: &'c Doubts,
}

/// Something that a run would otherwise pass by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Calls that nothing reads.
    UnreadCalls {
        rows: u64,
        of: u64,
    },
    /// Calls, and not one result.
    NoResults {
        attempts: u64,
    },
    MostRejected {
        rejected: u64,
        of: u64,
    },
    LabelsDisagree {
        disagreements: u64,
        of: u64,
    },
    /// Groups, and a column of rewards that holds no numbers.
    UnreadRewards,
    /// Rows that stand in a group and have no reward that is a finite number.
    MissingRewards {
        rows: u64,
        of: u64,
    },
}

impl Warning {
    /// All that the sums give rise to.
    pub fn of(sums: Sums<'_>) -> Vec<Warning> {
        let Sums { rows, rejected, attempts, doubts } = sums;
        let Doubts { open_attempts, unread_calls, unread_code, labelled_results, label_disagreements } = *doubts;
        // Where calls are read, blocks of code in other rows are meant for the reader.
        let unread = if attempts == 0 { unread_calls + unread_code } else { unread_calls };
        let found = [
            (unread > 0).then_some(Warning::UnreadCalls { rows: unread, of: rows }),
            (attempts > 0 && open_attempts == attempts).then_some(Warning::NoResults { attempts }),
            (rejected > rows - rejected.min(rows)).then_some(Warning::MostRejected { rejected, of: rows }),
            (label_disagreements * LABELS_PER_DISAGREEMENT > labelled_results)
                .then_some(Warning::LabelsDisagree { disagreements: label_disagreements, of: labelled_results }),
        ];
        found.into_iter().flatten().collect()
    }

    /// Those about what groups earned; `is_unread`: a column of rewards beside groups holds no numbers.
    pub fn of_rewards(tally: &BaselineTally, is_unread: bool) -> Vec<Warning> {
        let of = tally.rows - tally.ungrouped;
        let missing = (tally.unrewarded > 0 && tally.unrewarded < of)
            .then_some(Warning::MissingRewards { rows: tally.unrewarded, of });
        is_unread.then_some(Warning::UnreadRewards).into_iter().chain(missing).collect()
    }

    /// Its name in counters.
    pub fn name(self) -> &'static str {
        match self {
            Warning::UnreadCalls { .. } => "unread_calls",
            Warning::NoResults { .. } => "no_results",
            Warning::MostRejected { .. } => "most_rejected",
            Warning::LabelsDisagree { .. } => "labels_disagree",
            Warning::UnreadRewards => "unread_rewards",
            Warning::MissingRewards { .. } => "missing_rewards",
        }
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Warning::UnreadCalls { .. } => {
                "`purify inspect FILE` shows how the rows are read; --format names the format that wrote them, \
                 --messages-column another column"
            }
            Warning::NoResults { .. } => {
                "a result is a message of role `tool` behind its call, or one that names it in `tool_call_id`; --format names \
                 the format that wrote the rows"
            }
            Warning::MostRejected { .. } => {
                "`reject_reason` of the rejects says why; --format names the format that wrote the rows"
            }
            Warning::LabelsDisagree { .. } => {
                "the labels count where there are any; `purify inspect FILE --disagreements 10` shows where they differ, and --rules, \
                 --error-pattern and --success-pattern change what the detector says"
            }
            Warning::UnreadRewards => {
                "advantages are unknown and --repair-where positive repairs all rollouts; --reward-column names a column of numbers"
            }
            Warning::MissingRewards { .. } => {
                "they have no advantage and are repaired whatever they earned, and the baseline of their group is that of the others"
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Warning::UnreadCalls { rows, of } => {
                write!(f, "{rows} of {of} rows look as if they held calls, and no attempt was found in them")
            }
            Warning::NoResults { attempts } => write!(f, "none of the {attempts} attempts has a result"),
            Warning::MostRejected { rejected, of } => write!(f, "{rejected} of {of} rows were rejected"),
            Warning::LabelsDisagree { disagreements, of } => {
                let percent = disagreements as f64 * 100.0 / of.max(1) as f64;
                write!(
                    f,
                    "the data's labels and the detector disagree on {disagreements} of {of} results ({percent:.1}%)"
                )
            }
            Warning::UnreadRewards => write!(f, "there are groups, and the column of rewards holds no numbers"),
            Warning::MissingRewards { rows, of } => {
                write!(f, "{rows} of {of} rows with a group have no reward that is a finite number")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rows: u64, rejected: u64, attempts: u64, doubts: Doubts) -> Vec<&'static str> {
        Warning::of(Sums { rows, rejected, attempts, doubts: &doubts }).into_iter().map(Warning::name).collect()
    }

    #[test]
    fn each_bound_is_where_it_is_said_to_be() {
        let none = Doubts::default();
        assert!(names(0, 0, 0, none).is_empty());
        assert!(names(4, 2, 1, none).is_empty(), "half of the rows");
        assert_eq!(names(5, 3, 1, none), ["most_rejected"]);
        let open = |open_attempts| Doubts { open_attempts, ..none };
        assert!(names(1, 0, 2, open(1)).is_empty());
        assert_eq!(names(1, 0, 2, open(2)), ["no_results"]);
        let labels =
            |label_disagreements| Doubts { labelled_results: 40, label_disagreements, open_attempts: 0, ..none };
        assert!(names(1, 0, 40, labels(2)).is_empty(), "5 %");
        assert_eq!(names(1, 0, 40, labels(3)), ["labels_disagree"]);
    }

    #[test]
    fn code_is_only_a_call_that_was_not_read_where_no_calls_are() {
        let doubts = Doubts { unread_code: 1, ..Doubts::default() };
        assert_eq!(names(3, 0, 0, doubts), ["unread_calls"]);
        assert!(names(3, 0, 1, doubts).is_empty());
        assert_eq!(names(3, 0, 1, Doubts { unread_calls: 1, ..Doubts::default() }), ["unread_calls"]);
    }
}
