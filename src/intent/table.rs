//! The table of evidence.
//!
//! Owns the rules' order and weights. Rules name kinds of tools, calls and errors, never a task, a data set or a model. A
//! new rule is one entry here and one function in `evidence.rs`.

use super::evidence as says;
use super::rules::{Effect, Rule, pair_of};

const NO_PROGRAM: &str = "bash: xxd: command not found";
const NO_TOOL: &str = "Error: Tool 'host_bash' not found.";
const NAME_ERROR: &str = "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'math' is not defined";
const ASSERTION: &str =
    "Traceback (most recent call last):\n  File \"<stdin>\", line 4, in <module>\nAssertionError: expected 4, got 2";

/// In the order in which they are applied: what rules a correction out, what makes it less or more likely, what the later
/// reasoning adds or takes away.
pub const RULES: &[Rule] = &[
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
        name: "other_way_announced",
        reason: "the later reasoning says that it goes another way",
        effect: Effect::Plus(-0.2),
        says: says::other_way_announced,
        examples: [
            pair_of(["python", "brute_force(12)", "timeout", "timed out"], ["python", "brute_force(3)"])
                .with_reasoning("This takes too long. Let me try a completely different approach."),
            pair_of(["python", "brute_force(12)", "timeout", "timed out"], ["python", "brute_force(3)"])
                .with_reasoning("This takes too long. Let me use a smaller number."),
        ],
    },
    Rule {
        name: "look_announced",
        reason: "the later reasoning says that it checks, looks or debugs, which the failed step did not set out to do",
        effect: Effect::Plus(-0.3),
        says: says::look_announced,
        examples: [
            pair_of(
                ["bash", "gcc a.x -o a && ./a", "shell_error", "ld: file format not recognized"],
                ["bash", "gcc -c a.x"],
            )
            .with_reasoning("Let me check the compilation step more carefully:"),
            pair_of(
                ["bash", "gcc a.x -o a && ./a", "shell_error", "ld: file format not recognized"],
                ["bash", "gcc -x c a.x -o a && ./a"],
            )
            .with_reasoning("The type must be named."),
        ],
    },
    Rule {
        name: "drops_what_it_wrote",
        reason: "the failed call was to write a file, which the later one leaves out",
        effect: Effect::Plus(-0.2),
        says: says::drops_what_it_wrote,
        examples: [
            pair_of(
                ["python", "s = mean(rows)\nopen('out.txt', 'w').write(s)", "TypeError", "TypeError: x"],
                ["python", "s = mean(rows)\nprint(rows[0])"],
            ),
            pair_of(
                ["python", "s = mean(rows)\nopen('out.txt', 'w').write(s)", "TypeError", "TypeError: x"],
                ["python", "s = mean(rows)\nopen('out.txt', 'w').write(str(s))"],
            ),
        ],
    },
    Rule {
        name: "drops_what_it_made",
        reason: "the later code gives a value to none of the names that the failed code was to make",
        effect: Effect::Plus(-0.2),
        says: says::drops_what_it_made,
        examples: [
            pair_of(
                ["python", "hours = (100 - change) / 3", "NameError", "NameError: name 'change' is not defined"],
                ["python", "change = symbols('change')"],
            ),
            pair_of(
                ["python", "hours = (100 - change) / 3", "NameError", "NameError: name 'change' is not defined"],
                ["python", "change = 40\nhours = (100 - change) / 3"],
            ),
        ],
    },
    Rule {
        name: "error_taken_up",
        reason: "the later reasoning takes up the error, or the name that it complains about",
        effect: Effect::Plus(0.05),
        says: says::error_taken_up,
        examples: [
            pair_of(["python", "math.sqrt(2)", "NameError", NAME_ERROR], ["python", "import math\nmath.sqrt(2)"])
                .with_reasoning("I forgot to import the math module."),
            pair_of(["python", "math.sqrt(2)", "NameError", NAME_ERROR], ["python", "import math\nmath.sqrt(2)"])
                .with_reasoning("Now the root of two."),
        ],
    },
    Rule {
        name: "means_the_same",
        reason: "the vectors of the two calls lie close together",
        effect: Effect::Plus(0.1),
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
];
