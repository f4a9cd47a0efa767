//! Evidence that rules a correction out, whatever else speaks for it.

use super::super::evidence as says;
use super::super::rules::{Effect, Rule, pair_of};

const NO_TOOL: &str = "Error: Tool 'host_bash' not found.";
const ASSERTION: &str =
    "Traceback (most recent call last):\n  File \"<stdin>\", line 4, in <module>\nAssertionError: expected 4, got 2";

/// What rules a correction out.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "ends_or_thinks",
        reason: "the later call ends the task, hands it in or over, plans or thinks: nothing is tried again",
        effect: Effect::Never,
        says: says::ends_or_thinks,
        examples: [
            pair_of(
                ["bash", r#"{"command": "pytest"}"#, "command_not_found", "bash: pytest: not found"],
                ["finish", r#"{"message": "fixed"}"#],
            ),
            pair_of(
                ["finish", r#"{"mesage": "a"}"#, "invalid_arguments", "'message' is a required property"],
                ["finish", r#"{"message": "a"}"#],
            ),
        ],
    },
    Rule {
        name: "hands_nothing",
        reason: "the later call hands nothing to its tool",
        effect: Effect::Never,
        says: says::hands_nothing,
        examples: [
            pair_of(["bash", "ls 'a", "shell_syntax_error", "unexpected EOF"], ["bash", " "]),
            pair_of(["bash", "ls 'a", "shell_syntax_error", "unexpected EOF"], ["bash", "ls a"]),
        ],
    },
    Rule {
        name: "hides_failure",
        reason: "the later result shows an error that a pipe or `|| true` has kept from the exit code",
        effect: Effect::Never,
        says: says::hides_failure,
        examples: [
            pair_of(["bash", "wget -q http://h/a", "exit_code", ""], ["bash", "wget http://h/a 2>&1 | tail -5"])
                .with_result("ERROR 404: Not Found."),
            pair_of(["bash", "cat a.lg", "no_such_file", "cat: a.lg: No such file"], ["bash", "cat a.log | tail -5"])
                .with_result("fatal: x\nERROR 404: Not Found."),
        ],
    },
    Rule {
        name: "unknown_tool_dropped",
        reason: "the failed call's tool does not exist, and the later call is neither a tool of nearly that name nor the same arguments",
        effect: Effect::Never,
        says: says::unknown_tool_dropped,
        examples: [
            pair_of(
                ["plot", r#"{"f": "x^2"}"#, "unknown_tool", "Tool 'plot' does not exist."],
                ["web_search", r#"{"query": "graph of a parabola"}"#],
            ),
            pair_of(
                ["host_bash", r#"{"command": "ls"}"#, "unknown_tool", NO_TOOL],
                ["host_execute_bash", r#"{"command": "pwd"}"#],
            ),
        ],
    },
    Rule {
        name: "ran_a_check",
        reason: "the failed call ran tests or a checker, and its output is what it was made for",
        effect: Effect::Never,
        says: says::ran_a_check,
        examples: [
            pair_of(
                ["bash", "python -m pytest -q tests", "exit_code", "1 failed, 3 passed"],
                ["bash", "python -m pytest -q tests/a.py"],
            ),
            pair_of(
                ["bash", "pytset -q tests", "command_not_found", "bash: pytset: not found"],
                ["bash", "pytest -q tests"],
            ),
        ],
    },
    Rule {
        name: "searched_in_vain",
        reason: "the failed call searched or asked, and its answer is no",
        effect: Effect::Never,
        says: says::searched_in_vain,
        examples: [
            pair_of(["bash", "grep -rn frob src | head", "exit_code", ""], ["bash", "grep -rn frobnicate src | head"]),
            pair_of(["bash", "grep -n '\\(a' f", "exit_code", "grep: Unmatched ( or \\("], ["bash", "grep -n '(a' f"]),
        ],
    },
    Rule {
        name: "own_assertion",
        reason: "the failed code tested its own result, and the later one has another test, or a program that differs",
        effect: Effect::Never,
        says: says::own_assertion,
        examples: [
            pair_of(
                ["python", "def f(n):\n    return n\nassert f(2) == 4", "AssertionError", ASSERTION],
                ["python", "def f(n):\n    return n\nprint(f(2))"],
            ),
            pair_of(
                [
                    "python",
                    "def double(n):\n    return n * 2.0 - n\nassert double(2) == 4, double(2)",
                    "AssertionError",
                    ASSERTION,
                ],
                ["python", "def double(n):\n    return n * 2.0\nassert double(2) == 4, double(2)"],
            ),
        ],
    },
    Rule {
        name: "mended_elsewhere",
        reason: "the later step changes something else first and repeats the failed call as it was: the call was not what was wrong",
        effect: Effect::Never,
        says: says::mended_elsewhere,
        examples: [
            pair_of(
                ["bash", "python3 fit.py", "ValueError", "ValueError: bad method"],
                ["bash", "sed -i 's/lm/trf/' fit.py && python3 fit.py"],
            ),
            pair_of(
                ["bash", "python3 fit.py --method lm", "ValueError", "ValueError: bad method"],
                ["bash", "python3 fit.py --method trf"],
            ),
        ],
    },
    Rule {
        name: "only_prepares",
        reason: "the later call only installs, makes or imports what was missing; the thing itself is not done again",
        effect: Effect::Never,
        says: says::only_prepares,
        examples: [
            pair_of(
                ["bash", "sshpass -p x ssh h", "command_not_found", "bash: sshpass: not found"],
                ["bash", "apt-get install -y sshpass"],
            ),
            pair_of(
                ["bash", "sudo apt-get install -y jq", "command_not_found", "bash: sudo: not found"],
                ["bash", "apt-get install -y jq"],
            ),
        ],
    },
    Rule {
        name: "only_looks",
        reason: "the later call looks at what is there; the failed one was to do something",
        effect: Effect::Never,
        says: says::only_looks,
        examples: [
            pair_of(["sql", "SELECT name FROM singers", "sql_error", "no table singers"], ["sql", "SHOW TABLES"]),
            pair_of(
                ["sql", "SELECT name FROM singers", "sql_error", "no table singers"],
                ["sql", "SELECT name FROM singer"],
            ),
        ],
    },
];
