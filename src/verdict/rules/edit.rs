//! Editors and patch tools that did not apply a change.

use super::rule::{Find, Gives, Harness, Rule, example};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "edit.refused",
    harness: Harness::Editor,
    reason: "the change was not made: what it replaces is not there, not unique, or the result does not parse",
    find: Find::Heading(
        r"^(?i:(?:<tool_use_error>)?(?:error: ?)?(?:your (?:proposed )?(?:edit|change|patch)s? (?:has|have) (?:introduced|not been applied)|(?:edit|patch) (?:failed|rejected|could not be applied)|(?:error: )?patch failed|(?:error: )?patch does not apply|hunk #\d+ failed|no replacement was performed|found (?:multiple|\d+) (?:matches|occurrences)|multiple (?:matches|occurrences) (?:found|of)|(?:the )?(?:old_str|old_string|string to replace|search (?:block|text|string)|text to replace|original text)\b.{0,200}?(?:not found|did not appear|does not (?:appear|exist|match)|is not unique|not unique|no match)|(?:old|new)_str(?:ing)? .{0,80}(?:identical|are the same|exactly the same)|string to replace not found|file has not been read|file (?:has been|was) modified since|no changes? (?:to make|were made|was made):?))",
    ),
    gives: Gives::Error("edit_refused"),
    decides: example(
        "edit",
        "edit 2:2",
        "Your proposed edit has introduced new syntax error(s). Please read this error message carefully.",
    ),
    spares: example("edit", "{}", "The file /a.py has been edited."),
}];
