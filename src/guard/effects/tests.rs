//! Failed calls and what they changed before they failed.

use super::*;
use crate::intent::Call;

fn subject(tool: &'static str, call: &'static str, error: &'static str, result: &'static str) -> Subject<'static> {
    Subject::new(Call {
        tool: Cow::Borrowed(tool),
        arguments: Cow::Borrowed(call),
        result: Cow::Borrowed(result),
        error_type: (!error.is_empty()).then_some(Cow::Borrowed(error)),
    })
}

fn effects(tool: &'static str, call: &'static str, error: &'static str, result: &'static str) -> SideEffects {
    of_call(&subject(tool, call, error, result), &[])
}

const NO_SUDO: &str = "bash: line 1: sudo: command not found";

#[test]
fn a_command_that_never_ran_changed_nothing() {
    for (call, error, result) in [
        ("sudo apt-get update && sudo apt-get install -y jq", "command_not_found", NO_SUDO),
        ("cd /a && frob x && rm -rf y", "command_not_found", "bash: frob: command not found"),
        ("set -e\nfrob x\nmkdir y", "command_not_found", "bash: line 2: frob: command not found"),
        ("grep -n '\\(' a", "exit_code", "grep: Unmatched ( or \\("),
        ("ls -l /nope | head", "no_such_file", "ls: cannot access '/nope'"),
        (
            "python3 - <<'E'\nimport math\nprint(math.sqroot(2))\nopen('a', 'w').write('x')\nE",
            "AttributeError",
            "Traceback (most recent call last):\n  File \"<stdin>\", line 2, in <module>\nAttributeError: x",
        ),
    ] {
        assert_eq!(effects("bash", call, error, result), SideEffects::No, "{call}");
    }
    assert_eq!(effects("rm_file", "{}", "unknown_tool", "no such tool"), SideEffects::No);
    assert_eq!(
        effects("str_replace_editor", r#"{"command": "str_replace"}"#, "not_found", "old_str not found"),
        SideEffects::No
    );
}

#[test]
fn what_ran_before_the_failure_counts() {
    for (call, error, result) in [
        ("mkdir y && frob x", "command_not_found", "bash: frob: command not found"),
        ("rm -f a; frob x", "command_not_found", "bash: frob: command not found"),
        ("frob x; rm -f a", "command_not_found", "bash: frob: command not found"),
        (
            "pip install a && python -c 'import b'",
            "ModuleNotFoundError",
            "Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\nModuleNotFoundError: No module named 'b'",
        ),
        ("curl -X POST http://h/rows -d x | jq .", "command_not_found", "bash: jq: command not found"),
        ("pkill -f srv || true\nnohup srv >log 2>&1 &\nsleep 60", "timeout", "Command timed out"),
        (
            "cat > a.py <<E\nx\nE\npython a.py",
            "NameError",
            "Traceback (most recent call last):\n  File \"/w/a.py\", line 1, in <module>\nNameError: x",
        ),
        ("git commit -qm x && git push", "exit_code", "fatal: no remote"),
        (
            "python3 - <<'E'\nopen('a', 'w').write('x')\nboom()\nE",
            "NameError",
            "Traceback (most recent call last):\n  File \"<stdin>\", line 2, in <module>\nNameError: boom",
        ),
    ] {
        assert_eq!(effects("bash", call, error, result), SideEffects::Yes, "{call}");
    }
    assert_eq!(
        effects("python", "import os\nos.remove('a')\nboom()", "NameError", "NameError: boom"),
        SideEffects::Yes
    );
    assert_eq!(
        effects("sql", "INSERT INTO t VALUES (1); SELECT x FROM u", "sql_error", "no column x"),
        SideEffects::Yes
    );
}

#[test]
fn nobody_knows_what_scripts_and_unlisted_programs_do() {
    for (call, error, result) in [
        ("./run.sh", "exit_code", ""),
        ("python3 train.py", "timeout", "Command timed out"),
        ("Remove-Item -Recurse C:\\temp", "tool_error", "Access is denied"),
        ("mv a b", "exit_code", "mv: cannot stat 'a'"),
    ] {
        assert_eq!(effects("bash", call, error, result), SideEffects::Unknown, "{call}");
    }
    assert_eq!(effects("book_flight", "{}", "tool_error", "Error: sold out"), SideEffects::Unknown);
    assert_eq!(effects("get_flight", "{}", "not_found", "Error: not found"), SideEffects::No);
    assert_eq!(effects("python", "import torchdata\nx()", "NameError", "x"), SideEffects::Unknown);
    assert_eq!(effects("python", "import math\nmath.sqroot(2)", "AttributeError", "x"), SideEffects::No);
}

#[test]
fn what_the_later_call_does_again_is_not_lost() {
    let failed = subject(
        "bash",
        "mkdir -p out && cat > out/a.py <<E\nx\nE\npython out/a.py",
        "NameError",
        "Traceback (most recent call last)\nNameError: x",
    );
    let same = subject("bash", "mkdir -p out && cat > out/a.py <<E\ny\nE\npython out/a.py", "", "");
    let less = subject("bash", "python out/a.py", "", "");
    assert!(of_call(&failed, &[same]) < SideEffects::Yes);
    assert_eq!(of_call(&failed, &[less]), SideEffects::Yes);
}
