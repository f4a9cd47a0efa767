//! What users say of results themselves: `--success-pattern`, `--error-pattern`, and files of rules.
//!
//! Asked in this order, before the detector.

use glob::Pattern;
use regex::Regex;

use super::asked::Asked;
use super::said::{Failure, Fault, Finding, FindingKind, Verdict};
use crate::options::{DetectConfig, RulesFile, UserFault, UserRule, UserVerdict};

/// A user's pattern that does not compile.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    #[error("pattern `{pattern}` is not a valid regular expression")]
    Regex { pattern: String, source: regex::Error },
    #[error("`{pattern}` names no tools")]
    Tools { pattern: String, source: glob::PatternError },
}

/// All that a user has said.
pub(super) struct UserRules {
    success: Vec<Regex>,
    errors: Vec<(String, Regex)>,
    rules: Vec<Compiled>,
}

struct Compiled {
    rule: UserRule,
    pattern: Regex,
    tools: Vec<Pattern>,
}

impl UserRules {
    pub fn new(config: &DetectConfig) -> Result<Self, PatternError> {
        let error = |text: &String| {
            let is_name = |n: &str| !n.is_empty() && n.chars().all(|c| c.is_alphanumeric() || c == '_');
            let (name, pattern) = text.split_once('=').filter(|(n, _)| is_name(n)).unwrap_or(("user_pattern", text));
            Ok((name.to_owned(), regex(pattern)?))
        };
        let rules = config.rules.iter().flat_map(|file: &RulesFile| &file.rules);
        Ok(UserRules {
            success: config.success_pattern.iter().map(|p| regex(p)).collect::<Result<_, _>>()?,
            errors: config.error_pattern.iter().map(error).collect::<Result<_, _>>()?,
            rules: rules.map(Compiled::new).collect::<Result<_, _>>()?,
        })
    }

    /// What the first rule that applies says.
    pub fn verdict(&self, text: &str, asked: &Asked<'_>) -> Option<Verdict> {
        if self.success.iter().any(|p| p.is_match(text)) {
            return Some(Verdict::Ok);
        }
        if let Some((name, _)) = self.errors.iter().find(|(_, pattern)| pattern.is_match(text)) {
            return Some(Verdict::Error(Failure::named(name.clone()).by("error_pattern")));
        }
        self.rules.iter().find(|rule| rule.applies(text, asked)).map(|compiled| compiled.rule.says())
    }

    /// Names of the rules of files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|compiled| compiled.rule.name.as_str())
    }
}

fn regex(pattern: &str) -> Result<Regex, PatternError> {
    Regex::new(pattern).map_err(|source| PatternError::Regex { pattern: pattern.to_owned(), source })
}

impl Compiled {
    fn new(rule: &UserRule) -> Result<Self, PatternError> {
        let tool =
            |name: &String| Pattern::new(name).map_err(|source| PatternError::Tools { pattern: name.clone(), source });
        let tools = rule.tools.iter().map(tool).collect::<Result<_, _>>()?;
        Ok(Compiled { rule: rule.clone(), pattern: regex(&rule.pattern)?, tools })
    }

    fn applies(&self, text: &str, asked: &Asked<'_>) -> bool {
        (self.tools.is_empty() || self.tools.iter().any(|tool| tool.matches(asked.tool())))
            && self.pattern.is_match(text)
    }
}

impl UserRule {
    fn says(&self) -> Verdict {
        match self.verdict {
            UserVerdict::Ok => Verdict::Ok,
            UserVerdict::Error => {
                let error_type = self.error_type.clone().unwrap_or_else(|| self.name.clone());
                let failure = Failure::named(error_type).by(self.name.clone());
                Verdict::Error(match self.fault {
                    Some(UserFault::Model) => Failure { fault: Fault::Model, ..failure },
                    Some(UserFault::Environment) => Failure { fault: Fault::Environment, ..failure },
                    None => failure,
                })
            }
            UserVerdict::Informative => {
                Verdict::Informative(Finding { kind: FindingKind::Other, rule: self.name.clone().into() })
            }
        }
    }
}
