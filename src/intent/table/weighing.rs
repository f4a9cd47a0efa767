//! Evidence of the two calls themselves, or of the attempts between them: it makes the later one more likely to be the same again,
//! or less.

use super::super::evidence as says;
use super::super::rules::{Effect, Rule, pair_of};

const NO_PROGRAM: &str = "bash: xxd: command not found";
const NO_TOOL: &str = "Error: Tool 'host_bash' not found.";
const NAME_ERROR: &str = "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'math' is not defined";

/// In their order: what stands in for the similarity of the texts, what lowers it, the least that a kind of correction is worth,
/// and what lowers that as well.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "means_the_same",
        reason: "the vectors of the two calls lie close together: the same in other words",
        effect: Effect::AtLeast(0.6),
        says: says::means_the_same,
        examples: [
            pair_of(
                ["f", r#"{"q": "capital of France"}"#, "timeout", "timed out"],
                ["f", r#"{"q": "France, capital city"}"#],
            ),
            pair_of(
                ["f", r#"{"q": "capital of France"}"#, "timeout", "timed out"],
                ["f", r#"{"q": "weather on Mars"}"#],
            ),
        ],
    },
    Rule {
        name: "other_tool",
        reason: "the later call is of another tool, or does another of its actions",
        effect: Effect::Times(0.4),
        says: says::other_tool,
        examples: [
            pair_of(
                ["whois_lookup", r#"{"domain": "a.org"}"#, "not_found", "no whois"],
                ["dig_lookup", r#"{"domain": "a.org"}"#],
            ),
            pair_of(["bash", "ls", "exit_code", "x"], ["host__execute_bash", r#"{"command": "ls -a"}"#]),
        ],
    },
    Rule {
        name: "other_program",
        reason: "the later command runs other programs",
        effect: Effect::Times(0.5),
        says: says::other_program,
        examples: [
            pair_of(
                ["bash", "sqlite3 a.db .tables", "tool_error", "Error: file is not a database"],
                ["bash", "strings a.db | sort -u > a.txt; ./recover a.txt"],
            ),
            pair_of(
                ["bash", "sqlite3 a.bd .tables", "tool_error", "Error: unable to open"],
                ["bash", "cd /app && timeout 5 sqlite3 a.db .tables"],
            ),
        ],
    },
    Rule {
        name: "other_search",
        reason: "both calls search, and for different things",
        effect: Effect::Times(0.5),
        says: says::other_search,
        examples: [
            pair_of(
                ["bash", "grep -n 'lookup\\(' /repo/src/models/fields.py", "exit_code", "grep: Unmatched ( or \\("],
                ["bash", "grep -n SelectInfo -R /repo/src/models"],
            ),
            pair_of(
                ["bash", "grep -n 'lookup\\(' /repo/src/models/fields.py", "exit_code", "grep: Unmatched ( or \\("],
                ["bash", "grep -n 'lookup(' /repo/src/models/fields.py"],
            ),
        ],
    },
    Rule {
        name: "near_tool_name",
        reason: "the failed call's tool does not exist, and the later call's tool has nearly its name",
        effect: Effect::AtLeast(0.9),
        says: says::near_tool_name,
        examples: [
            pair_of(
                ["host_bash", r#"{"command": "ls"}"#, "unknown_tool", NO_TOOL],
                ["host_execute_bash", r#"{"command": "pwd"}"#],
            ),
            pair_of(
                ["plot", r#"{"f": "x^2"}"#, "unknown_tool", "Tool 'plot' does not exist."],
                ["web_search", r#"{"query": "x^2"}"#],
            ),
        ],
    },
    Rule {
        name: "same_arguments",
        reason: "the failed call's tool does not exist, and the later tool is handed the same",
        effect: Effect::AtLeast(0.8),
        says: says::same_arguments,
        examples: [
            pair_of(
                ["cat_file", r#"{"path": "/tmp/server.log"}"#, "unknown_tool", "unknown tool"],
                ["read", r#"{"file": "/tmp/server.log"}"#],
            ),
            pair_of(
                ["cat_file", r#"{"path": "/tmp/server.log"}"#, "unknown_tool", "unknown tool"],
                ["read", r#"{"file": "/etc/hosts"}"#],
            ),
        ],
    },
    Rule {
        name: "arguments_mended",
        reason: "the tool refused the arguments as such, and the same tool is called with others",
        effect: Effect::AtLeast(0.8),
        says: says::arguments_mended,
        examples: [
            pair_of(
                ["search_wiki", "{}", "invalid_arguments", "'query' is a required property"],
                ["search_wiki", r#"{"query": "lutetium"}"#],
            ),
            pair_of(["find", r#"{"mail": "a@b"}"#, "not_found", "no such user"], ["find", r#"{"mail": "d@e"}"#]),
        ],
    },
    Rule {
        name: "stray_text_dropped",
        reason: "the failed call held text that does not belong there, and the later call is the rest of it",
        effect: Effect::AtLeast(0.6),
        says: says::stray_text_dropped,
        examples: [
            pair_of(
                [
                    "sql",
                    "DESC matches. This shows us which columns there are.",
                    "sql_error",
                    "You have an error in your SQL syntax",
                ],
                ["sql", "DESC matches"],
            ),
            pair_of(["sql", "DESC matches", "sql_error", "Table 'matches' doesn't exist"], ["sql", "DESC match"]),
        ],
    },
    Rule {
        name: "program_replaced",
        reason: "a program is not there, and the later command does the same to the same target with another one",
        effect: Effect::AtLeast(0.6),
        says: says::program_replaced,
        examples: [
            pair_of(
                ["bash", "xxd /app/maze.txt", "command_not_found", NO_PROGRAM],
                ["bash", "od -An -tx1 /app/maze.txt"],
            ),
            pair_of(["bash", "xxd ./mystery", "command_not_found", NO_PROGRAM], ["bash", "./mystery"]),
        ],
    },
    Rule {
        name: "same_text_other_tool",
        reason: "the same text is handed to another tool",
        effect: Effect::AtLeast(0.7),
        says: says::same_text_other_tool,
        examples: [
            pair_of(
                [
                    "bash",
                    "cat > play.py <<\"PY\"\nimport subprocess\nimport sys\n\ndef main():\n    process = subprocess.run(['./game'], capture_output=True, text=True)\n    print(process.stdout)\n\nif __name__ == '__main__':\n    sys.exit(main())\nPY",
                    "shell_syntax_error",
                    "syntax error near unexpected token",
                ],
                [
                    "write_file",
                    "{\"path\": \"play.py\", \"content\": \"import subprocess\\nimport sys\\n\\ndef main():\\n    process = subprocess.run(['./game'], capture_output=True, text=True)\\n    print(process.stdout)\\n\\nif __name__ == '__main__':\\n    sys.exit(main())\\n\"}",
                ],
            ),
            pair_of(
                ["bash", "cat a.py", "no_such_file", "cat: a.py: No such file or directory"],
                ["write_file", r#"{"path": "a.py", "content": "print(1)"}"#],
            ),
        ],
    },
    Rule {
        name: "same_file_edited",
        reason: "the failed edit was refused, and the later call edits the same file",
        effect: Effect::AtLeast(0.6),
        says: says::same_file_edited,
        examples: [
            pair_of(
                [
                    "str_replace_editor",
                    r#"{"command": "str_replace", "path": "/r/a/core.py", "old_str": "x", "new_str": "y"}"#,
                    "not_found",
                    "Error: old_str not found in /r/a/core.py.",
                ],
                ["bash", "python - <<'E'\np='a/core.py'\ns=open(p).read()\nopen(p,'w').write(s.replace('x ', 'y'))\nE"],
            ),
            pair_of(
                [
                    "str_replace_editor",
                    r#"{"command": "str_replace", "path": "/r/a/core.py", "old_str": "x", "new_str": "y"}"#,
                    "not_found",
                    "Error: old_str not found in /r/a/core.py.",
                ],
                ["bash", "sed -n 1,90p a/core.py"],
            ),
        ],
    },
    Rule {
        name: "same_names",
        reason: "the later code works with most of the names that the failed code used",
        effect: Effect::AtLeast(0.5),
        says: says::same_names,
        examples: [
            pair_of(
                [
                    "python",
                    "g = (dE / dB) * (planck / magneton)\ng",
                    "NameError",
                    "NameError: name 'magneton' is not defined",
                ],
                [
                    "python",
                    "from scipy.constants import h as planck\nmagneton = 9.27e-24\nB1, B2 = 3074, 3174\ndB = B2 - B1\ndE = dB * planck * magneton\ng = dE / dB\nprint(g)",
                ],
            ),
            pair_of(
                [
                    "python",
                    "from sympy import symbols\nx = symbols('x')\nroots = solve(eq, x)\nprint(roots)",
                    "NameError",
                    NAME_ERROR,
                ],
                ["python", "values = [1, 2, 3]\ntotal = sum(values)\nprint(total)"],
            ),
        ],
    },
    Rule {
        name: "refused_as_things_are",
        reason: "the call was in order and the state of things refused it (no balance, sold out, expired): the other choice that follows rests on what it found out",
        effect: Effect::Times(0.4),
        says: says::refused_as_things_are,
        examples: [
            pair_of(
                ["pay_order", r#"{"order": 7, "card": "gift_1"}"#, "tool_error", "Error: card balance is not enough"],
                ["pay_order", r#"{"order": 7, "card": "gift_2"}"#],
            ),
            pair_of(
                ["pay_order", r#"{"order": "7a", "card": "gift_1"}"#, "not_found", "Error: order 7a not found"],
                ["pay_order", r#"{"order": "7", "card": "gift_1"}"#],
            ),
        ],
    },
    Rule {
        name: "goes_back",
        reason: "the failed step's reasoning gives up what the later call uses: in front of that call it would contradict it",
        effect: Effect::Times(0.4),
        says: says::goes_back,
        examples: [
            pair_of(
                ["python", "r = nsolve(eq, x)\nprint(r)", "TypeError", "TypeError: expected a starting point"],
                ["python", "r = solve(eq, x)\nprint(r)"],
            )
            .with_failed_reasoning("It seems that `solve` is not able to handle this equation."),
            pair_of(
                ["python", "r = solve(eq, x)\nprint(r)", "NameError", "NameError: name 'eq' is not defined"],
                ["python", "eq = x - 1\nr = solve(eq, x)\nprint(r)"],
            )
            .with_failed_reasoning("Since `factor` is not able to do it, I use `solve`."),
        ],
    },
    Rule {
        name: "way_changed_between",
        reason: "a failed attempt between the two announces another way; its reasoning would go, and what the first one set out would stand in front of the call that follows from it",
        effect: Effect::Times(0.4),
        says: says::way_changed_between,
        examples: [
            pair_of(
                ["python", "minimum(f, x)", "NameError", "NameError: name 'minimum' is not defined"],
                ["python", "critical(g, x)"],
            )
            .with_reasoning_between("Since that is not there, let's look at the problem differently."),
            pair_of(
                ["python", "minimum(f, x)", "NameError", "NameError: name 'minimum' is not defined"],
                ["python", "minimize(f, x)"],
            )
            .with_reasoning_between("I should import the function first."),
        ],
    },
];
