//! What a verdict is made of: the word, what an error is called, what an informative result is about.
//!
//! Owns the nouns, and whose fault an error of a name is. Which one a result gets is the rules' to say.

use std::borrow::Cow;

/// What a tool result says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call did its job.
    Ok,
    /// The call failed.
    Error(Failure),
    /// The call did its job, and its output reports a bad state of something else.
    Informative(Finding),
    /// The result holds no text to judge by.
    Unknown,
}

impl Verdict {
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Verdict::Error(failure) => Some(failure),
            Verdict::Ok | Verdict::Informative(_) | Verdict::Unknown => None,
        }
    }

    /// Its name in columns and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Error(_) => "error",
            Verdict::Informative(_) => "informative",
            Verdict::Unknown => "unknown",
        }
    }

    /// The rule that decided; nothing where none did.
    pub fn rule(&self) -> Option<&str> {
        match self {
            Verdict::Error(failure) => Some(&failure.rule),
            Verdict::Informative(finding) => Some(&finding.rule),
            Verdict::Ok | Verdict::Unknown => None,
        }
    }
}

/// What an informative result is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// A test runner ran, and tests fail.
    Tests,
    /// A checker, linter or compiler that was run to look has found something.
    Check,
    /// A script that was written to show a fault shows it.
    Reproduction,
    /// A search without a match.
    Search,
    /// A question about the system that is answered with no.
    Probe,
    /// What a user's rule says.
    Other,
}

impl FindingKind {
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Tests => "tests",
            FindingKind::Check => "check",
            FindingKind::Reproduction => "reproduction",
            FindingKind::Search => "search",
            FindingKind::Probe => "probe",
            FindingKind::Other => "informative",
        }
    }
}

/// What an informative result reports, and the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    pub rule: Cow<'static, str>,
}

/// Whose fault a failure was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Model,
    /// Time-outs, rate limits, server errors.
    Environment,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Model => "model",
            Fault::Environment => "environment",
        }
    }
}

/// An error, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exception's class where there is one, else a short stable name.
    pub error_type: Cow<'static, str>,
    pub fault: Fault,
    /// The rule that found it.
    pub rule: Cow<'static, str>,
}

impl Failure {
    pub(super) fn named(error_type: impl Into<Cow<'static, str>>) -> Self {
        let error_type = error_type.into();
        let fault = if is_environment(&error_type) { Fault::Environment } else { Fault::Model };
        Failure { error_type, fault, rule: Cow::Borrowed("text") }
    }

    pub(super) fn by(self, rule: impl Into<Cow<'static, str>>) -> Self {
        Failure { rule: rule.into(), ..self }
    }
}

fn is_environment(error_type: &str) -> bool {
    const NAMES: &[&str] = &["timeout", "worker_timeout", "rate_limit", "server_error", "connection_error"];
    NAMES.contains(&error_type)
        || ["Timeout", "Connection", "RateLimit", "ServiceUnavailable", "InternalServerError", "BadGateway"]
            .iter()
            .any(|part| error_type.contains(part))
}
