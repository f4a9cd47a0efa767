//! What a result says of the call itself: that its tool, or a program of it, is not there.

use std::collections::BTreeSet;

use super::text::first_bytes;
use super::tools::Kind;
use crate::pattern::pattern;
use crate::shell::{Script, base_name};

pattern!(
    UNKNOWN_TOOL,
    r#"(?i)\b(?:tool|function|action)\s+[`'"]?.{1,2000}?[`'"]?\s+(?:does not exist|not found|is not (?:available|defined|found|a valid)|is unknown)|\b(?:unknown|invalid|no such|undefined) (?:tool|function|action)\b"#
);
/// Results longer than this are about something else.
const LONGEST_REFUSAL: usize = 6000;

/// Whether the tool does not exist.
pub(super) fn is_unknown_tool(tool: &str, kind: Kind, result: &str) -> bool {
    let result = result.trim_start();
    let opening = first_bytes(result, 4000);
    kind != Kind::Sql
        && result.len() < LONGEST_REFUSAL
        && opening.contains(first_bytes(tool, 60))
        && UNKNOWN_TOOL.is_match(opening)
}

pattern!(
    MISSING,
    r"(?m)(?:^|: |line \d+: |\d: )([\w./+-]+): (?:command )?not found\b|No module named '?([\w.]+)'?\s*$|executable file not found in \$PATH: .([\w./+-]+)|'([\w./+-]+)' is not recognized as"
);

/// Programs of a command that are not there.
pub(super) fn missing_programs(script: &Script, result: &str) -> BTreeSet<String> {
    if script.commands.is_empty() {
        return BTreeSet::new();
    }
    let found = MISSING.captures_iter(result).take(20).filter_map(|c| (1..5).find_map(|k| c.get(k)));
    let names: BTreeSet<String> = found.map(|m| base_name(m.as_str()).to_owned()).collect();
    let is_run = |name: &String| {
        let runs = |c: &crate::shell::Command| {
            c.program() == name || c.python_module() == Some(name) || c.wrappers.contains(name)
        };
        script.commands.iter().any(runs)
    };
    names.into_iter().filter(is_run).collect()
}
