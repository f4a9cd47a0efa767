//! What a tool result says of the call that it answers: ok, an error, informative, or unknown.
//!
//! Owns the order of the rules (the data's own word, the user's patterns, the detector), the reference's
//! detector. It reads a result and the call that it answers and nothing else: which result
//! answers which call is [`crate::steps`]'s to find out. The default detector is the table [`rules`].

mod asked;
mod evidence;
mod json;
mod judge;
pub mod rules;
mod said;
mod user;

use crate::options::{DetectConfig, Detector, Informative};
use crate::rollout::Message;
pub use asked::Asked;
use judge::{JUDGE_SUCCESS, judge};
pub use said::{Failure, Fault, Finding, FindingKind, Verdict};
pub use user::PatternError;
use user::UserRules;

/// The rules, in order: the data's own word, the user's, the detector.
pub struct ErrorDetector {
    user: UserRules,
    detector: Detector,
    informative: Informative,
}

impl ErrorDetector {
    pub fn new(config: &DetectConfig) -> Result<Self, PatternError> {
        let user = UserRules::new(config)?;
        Ok(ErrorDetector { user, detector: config.detector, informative: config.informative })
    }

    /// What a tool message says of the call that it answers.
    pub fn verdict(&self, asked: &Asked<'_>, result: &Message<'_>) -> Verdict {
        let Some(text) = result.content else {
            return match result.is_error {
                Some(true) => Verdict::Error(Failure::named("unknown_error").by(LABEL)),
                Some(false) => Verdict::Ok,
                None => Verdict::Unknown,
            };
        };
        if result.is_error == Some(false) {
            return Verdict::Ok;
        }
        let is_labelled = result.is_error == Some(true);
        let of_user = self.user.verdict(text, asked).filter(|verdict| !is_labelled || *verdict != Verdict::Ok);
        let verdict = of_user.unwrap_or_else(|| match self.detector {
            Detector::Default => judge(text, asked),
            Detector::Reference => reference(text).map_or(Verdict::Ok, Verdict::Error),
        });
        match (verdict, self.informative) {
            (Verdict::Ok | Verdict::Unknown, _) if is_labelled => {
                Verdict::Error(Failure::named("unknown_error").by(LABEL))
            }
            (Verdict::Informative(finding), Informative::Repair) => {
                Verdict::Error(Failure::named(finding.kind.name()).by(finding.rule))
            }
            (verdict, _) => verdict,
        }
    }

    /// What a harness says of a turn in which it could not read a call, if it does.
    pub fn refusal(&self, text: &str) -> Option<Failure> {
        match self.detector {
            Detector::Default => rules::refusal(text),
            Detector::Reference => None,
        }
    }

    /// Names of all rules that may decide, in order.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        let built_in = rules::all().filter(|_| self.detector == Detector::Default);
        self.user.names().chain(built_in.map(|rule| rule.name))
    }
}

/// The rule of an error that the data itself marks as one.
const LABEL: &str = "label";

/// The reference's rule (`_detect_error_from_text` of Open-CLEANER).
fn reference(text: &str) -> Option<Failure> {
    const TYPES: &[&str] = &[
        "ImportError",
        "ModuleNotFoundError",
        "SyntaxError",
        "IndexError",
        "IndentationError",
        "NameError",
        "TypeError",
        "worker_timeout",
        "NotImplementedError",
        "ValueError",
        "ZeroDivisionError",
    ];
    if text.is_empty() || text.contains(JUDGE_SUCCESS) {
        return None;
    }
    let error_type = TYPES.iter().copied().find(|name| text.contains(name)).unwrap_or("unknown_error");
    Some(Failure::named(error_type).by("reference"))
}

#[cfg(test)]
pub(crate) mod test_support {
    use super::*;
    use crate::rollout::{Role, ToolCall};

    /// What the default detector says of one call and its result.
    pub(crate) fn verdict_of(tool: &str, arguments: &str, result: &str) -> Verdict {
        let detector = ErrorDetector::new(&DetectConfig::default()).expect("no patterns");
        let message = |role, content, calls| Message {
            role,
            content,
            reasoning: None,
            call_id: None,
            is_error: None,
            is_context: false,
            calls,
        };
        let asked = message(Role::Assistant, None, vec![ToolCall { id: None, name: tool, arguments }]);
        detector.verdict(&Asked::of(&asked, &(0..1)), &message(Role::Tool, Some(result), vec![]))
    }
}

#[cfg(test)]
mod tests;
