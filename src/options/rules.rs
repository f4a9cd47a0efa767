//! A user's own rules of what a tool result says (`--rules FILE`).
//!
//! Owns the file's form and the reading of it: the rules become part of the options, so that a manifest holds them and a
//! resumed run sees when they have changed. Deciding is left to [`crate::verdict`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A file of rules, read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    /// Where they come from.
    #[serde(default)]
    pub file: PathBuf,
    /// In the order in which they are asked.
    #[serde(rename = "rule")]
    pub rules: Vec<UserRule>,
}

/// One rule: a result of one of these tools that matches the pattern is what the rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRule {
    /// Stands in reports and columns.
    pub name: String,
    /// A regular expression, looked for anywhere in the result.
    pub pattern: String,
    pub verdict: UserVerdict,
    /// Of an error; without it the rule's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// Of an error; without it what the type says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<UserFault>,
    /// Names of tools, with `*` for any characters; without them every tool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserVerdict {
    Ok,
    Error,
    Informative,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserFault {
    Model,
    Environment,
}

#[cfg(feature = "cli")]
impl std::str::FromStr for RulesFile {
    type Err = String;

    /// Reads the file of that name.
    fn from_str(path: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("`{path}` can't be read: {error}"))?;
        RulesFile::parse(std::path::Path::new(path), &text)
    }
}

#[cfg(feature = "cli")]
impl RulesFile {
    fn parse(path: &std::path::Path, text: &str) -> Result<Self, String> {
        let place = path.display();
        let read: RulesFile = toml::from_str(text).map_err(|error| format!("`{place}` holds no rules: {error}"))?;
        for rule in &read.rules {
            let named = |found: String| format!("`{place}`: rule `{}`: {found}", rule.name);
            regex::Regex::new(&rule.pattern)
                .map_err(|_| named(format!("`{}` is not a valid regular expression", rule.pattern)))?;
            if rule.verdict != UserVerdict::Error && (rule.error_type.is_some() || rule.fault.is_some()) {
                return Err(named("`error_type` and `fault` belong to the verdict `error`".to_owned()));
            }
            for tool in &rule.tools {
                glob::Pattern::new(tool)
                    .map_err(|error| named(format!("`{tool}` is not a valid pattern of tool names: {error}")))?;
            }
        }
        Ok(RulesFile { file: path.to_owned(), ..read })
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use std::path::Path;

    use super::*;

    fn parsed(text: &str) -> Result<RulesFile, String> {
        RulesFile::parse(Path::new("rules.toml"), text)
    }

    #[test]
    fn a_file_of_rules_is_read_in_order() {
        let text = "[[rule]]\nname = 'seat'\npattern = '^Seat'\nverdict = 'error'\nfault = 'environment'\ntools = ['book_*']\n\n\
                    [[rule]]\nname = 'late'\npattern = 'late'\nverdict = 'informative'\n";
        let rules = parsed(text).expect("rules").rules;
        assert_eq!(rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["seat", "late"]);
        assert_eq!((rules[0].fault, rules[1].verdict), (Some(UserFault::Environment), UserVerdict::Informative));
    }

    #[test]
    fn a_mistake_names_the_rule() {
        let rule =
            |rest: &str| parsed(&format!("[[rule]]\nname = 'a'\nverdict = 'ok'\n{rest}")).expect_err("a mistake");
        assert_eq!(rule("pattern = '('"), "`rules.toml`: rule `a`: `(` is not a valid regular expression");
        assert_eq!(
            rule("pattern = 'x'\nfault = 'model'"),
            "`rules.toml`: rule `a`: `error_type` and `fault` belong to the verdict `error`"
        );
        assert!(rule("patern = 'x'").contains("unknown field `patern`"));
    }
}
