//! Results as harnesses write them, and what the detector says of each.

use super::*;
use crate::rollout::Role;

fn verdict(tool: &str, arguments: &str, result: &str) -> Option<String> {
    test_support::verdict_of(tool, arguments, result).failure().map(|f| f.error_type.to_string())
}

/// (tool, arguments, result, type)
const FAILURES: &[(&str, &str, &str, &str)] = &[
    // code interpreters
    (
        "python",
        r#"{"code": "print(x)"}"#,
        "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'x' is not defined\n",
        "NameError",
    ),
    (
        "python",
        r#"{"code": "f(1)"}"#,
        "0.5\nTraceback (most recent call last):\n  File \"/tmp/tmpa1b2.py\", line 3, in <module>\n    f(1)\nmypkg.errors.QuotaError: no quota\nleft for today",
        "QuotaError",
    ),
    (
        "code_interpreter",
        r#"{"code": "1/0"}"#,
        "Tool call failure\nreason: \nstderr: ZeroDivisionError at line 1: division by zero",
        "ZeroDivisionError",
    ),
    ("ipython", "x=", "  Cell In[2], line 1\n    x=\n      ^\nSyntaxError: invalid syntax", "SyntaxError"),
    (
        "ipython",
        "df['a']",
        "---------------------------------------------------------------------------\nKeyError                                  Traceback (most recent call last)\nCell In[4], line 1\n----> 1 df['a']\n\nKeyError: 'a'",
        "KeyError",
    ),
    (
        "python",
        "open('a.csv').read()",
        "Traceback (most recent call last):\n  File \"/workspace/main.py\", line 1, in <module>\nFileNotFoundError: [Errno 2] No such file or directory: 'a.csv'",
        "FileNotFoundError",
    ),
    (
        "python_interpreter",
        "x = 1",
        "Code execution failed at line 'x = 1' due to: InterpreterError: Forbidden access",
        "InterpreterError",
    ),
    (
        "execute",
        "{}",
        "exitcode: 1 (execution failed)\nCode output: Traceback (most recent call last):\n  File \"\", line 1, in <module>\nValueError: bad",
        "ValueError",
    ),
    (
        "javascript",
        "f()",
        "/app/a.js:1\nf()\n^\n\nReferenceError: f is not defined\n    at Object.<anonymous> (/app/a.js:1:1)\n    at node:internal/main:23:47",
        "ReferenceError",
    ),
    // shells
    ("bash", r#"{"command": "foo"}"#, "bash: line 1: foo: command not found", "command_not_found"),
    ("bash", r#"{"command": "foo"}"#, "/bin/sh: 1: foo: not found", "command_not_found"),
    ("bash", r#"{"command": "ls /x"}"#, "ls: cannot access '/x': No such file or directory", "no_such_file"),
    ("bash", r#"{"command": "cat notes.txt"}"#, "cat: notes.txt: No such file or directory", "no_such_file"),
    (
        "bash",
        r#"{"command": "python a.py"}"#,
        "python: can't open file '/w/a.py': [Errno 2] No such file or directory",
        "no_such_file",
    ),
    (
        "bash",
        r#"{"command": "make"}"#,
        "gcc -c a.c\na.c: In function 'main':\na.c:3:5: error: 'x' undeclared\nmake: *** [Makefile:2: a.o] Error 1\n[The command completed with exit code 2.]",
        "compile_error",
    ),
    ("execute_bash", r#"{"command": "false"}"#, "[The command completed with exit code 1.]", "exit_code"),
    (
        "shell",
        r#"["bash","-lc","x"]"#,
        "Exit code: 127\nWall time: 0 seconds\nOutput:\nbash: x: command not found",
        "command_not_found",
    ),
    ("terminal", "sleep 999", "Command timed out after 30 seconds", "timeout"),
    (
        "bash",
        "cat a.log && python run.py",
        "ok\nTraceback (most recent call last):\n  File \"/w/run.py\", line 2, in <module>\n    main()\nRuntimeError: stop",
        "RuntimeError",
    ),
    ("bash", "git push", "fatal: not a git repository (or any of the parent directories): .git", "tool_error"),
    ("bash", "cargo build", "error[E0382]: borrow of moved value: `x`\n --> src/main.rs:4:20", "compile_error"),
    (
        "terminal",
        "foo --bar",
        "root@1a2b:/app# foo --bar\nbash: foo: command not found\nroot@1a2b:/app#",
        "command_not_found",
    ),
    ("terminal", "make all", "make: *** No rule to make target 'all'.  Stop.", "shell_error"),
    ("terminal", "curl http://x.y", "curl: (6) Could not resolve host: x.y", "shell_error"),
    ("terminal", "apt install zzz", "E: Unable to locate package zzz", "shell_error"),
    (
        "cmd",
        "typ a.txt",
        "'typ' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n",
        "command_not_found",
    ),
    ("powershell", "foo", "foo : The term 'foo' is not recognized as the name of a cmdlet", "tool_error"),
    (
        "appworld",
        "apis.x.y()",
        "Execution failed. Traceback:\n  File \"<python-input>\", line 1, in <module>\n    apis.x.y()\nException: Response status code is 401",
        "tool_error",
    ),
    (
        "browser",
        "click('12')",
        "TimeoutError: locator.click: Timeout 30000ms exceeded.\nCall log:\n  - waiting for locator\n  - retrying",
        "TimeoutError",
    ),
    // databases
    ("sql", "SELECT", "(1064, \"You have an error in your SQL syntax; check the manual\")", "sql_error"),
    ("sql", "SELECT", "1054 (42S22): Unknown column 'x' in 'field list'", "sql_error"),
    ("sql", "SELECT", "ERROR 1054 (42S22) at line 1: Unknown column 'x' in 'field list'", "sql_error"),
    ("sql", "SELECT", "near \"FROM\": syntax error", "sql_error"),
    ("duckdb", "SELECT", "Catalog Error: Table with name t does not exist!", "sql_error"),
    ("sql", "SELECT a FROM t", "Error executing query: Unknown column 'a' in 'field list'", "sql_error"),
    ("query", "{}", "sqlite3.OperationalError: no such table: users", "OperationalError"),
    // function calling
    ("book", "{}", "Error: user not found", "not_found"),
    ("book", "{}", "# var_3 = \"Error: item is not available\"", "tool_error"),
    ("book", "{}", r#"{"error": "Invalid date"}"#, "tool_error"),
    ("book", "{}", r#"{"status": "error", "message": "missing parameter `city`"}"#, "invalid_arguments"),
    ("book", "{}", r#"{"success": false, "reason": "seat taken"}"#, "tool_error"),
    ("book", "{}", r#"{"isError": true, "content": [{"type": "text", "text": "boom"}]}"#, "tool_error"),
    (
        "run",
        "{}",
        r#"{"stdout": "", "stderr": "Traceback (most recent call last):\n  File \"<string>\", line 1\nTypeError: x", "exit_code": 1}"#,
        "TypeError",
    ),
    (
        "run",
        "{}",
        r#"{"output": "Traceback (most recent call last):\n  File \"<string>\", line 1\nTypeError: x"}"#,
        "TypeError",
    ),
    ("api", "{}", r#"{"code": 429, "message": "Too many requests"}"#, "rate_limit"),
    ("api", "{}", r#"{"detail": "Not Found"}"#, "not_found"),
    ("api", "{}", "HTTP error 503: Service Unavailable", "server_error"),
    ("api", "{}", "{'error': 'KeyError: city'}", "KeyError"),
    ("shell", "{}", r#"{"output": "x", "metadata": {"exit_code": 1}}"#, "exit_code"),
    ("exec", "x", "Chunk ID: 1a\nWall time: 0.1 s\nProcess exited with code 2\nOutput:\nx", "exit_code"),
    (
        "execute_bash",
        "sleep 500",
        "[The command has no new output after 10 seconds.]\n[The command timed out after 120 seconds.]",
        "timeout",
    ),
    ("code", "x = (", "Error in code parsing:\nThe code blob is invalid", "invalid_format"),
    ("sql", "SELECT", "(sqlite3.OperationalError) no such table: users\n[SQL: SELECT 1]", "OperationalError"),
    ("deploy", "{}", "[ERROR] the bucket is gone", "tool_error"),
    ("get", "{}", "HTTP/1.1 404 Not Found", "not_found"),
    ("x", "{}", "Tool 'x' raised an exception: boom", "tool_error"),
    ("x", "{}", r#"{"status": "fail", "data": {"title": "needed"}}"#, "tool_error"),
    ("x", "{}", r#"{"code": "ERR_BAD_INPUT", "message": "no"}"#, "tool_error"),
    ("fetch", "{}", "404 Client Error: Not Found for url: https://e.x/a", "not_found"),
    ("mcp", "{}", "MCP error -32602: Invalid arguments for tool", "invalid_arguments"),
    ("alfworld", "go to 1", "Nothing happens.", "tool_error"),
    ("nope", "{}", "nope is not a valid tool, try one of [search].", "unknown_tool"),
    ("nope", "{}", "Unknown function 'nope'", "unknown_tool"),
    ("nope", "{", "Invalid JSON in arguments for 'nope'", "invalid_arguments"),
    ("edit", "{}", "<tool_use_error>String to replace not found in file.</tool_use_error>", "edit_refused"),
    (
        "edit",
        "edit 2:2",
        "Your proposed edit has introduced new syntax error(s). Please read this error message carefully.",
        "edit_refused",
    ),
    (
        "answer",
        "",
        "I don't understand your input. \nIf you want to execute code, please use <execute>.",
        "invalid_format",
    ),
    ("read_file", r#"{"path": "a"}"#, "Error: file not found: a", "not_found"),
];

/// Results that print, list, search or read text of errors, and are none.
const SUCCESSES: &[(&str, &str, &str)] = &[
    (
        "bash",
        "cat server.log",
        "2024-05-01 INFO start\nTraceback (most recent call last):\n  File \"/srv/app.py\", line 9, in handle\n    go()\nKeyError: 'user'\n2024-05-01 INFO restart",
    ),
    (
        "bash",
        "tail -n 4 err.log",
        "Traceback (most recent call last):\n  File \"/srv/app.py\", line 9, in handle\n    go()\nKeyError: 'user'",
    ),
    ("bash", "grep -rn Error src", "src/a.py:3:    raise ValueError('x')\nsrc/b.py:9:class AppError(Exception):"),
    ("bash", "grep -n error build.log", "12:main.c:3:5: error: expected ';'\n40:make: *** [all] Error 2"),
    ("bash", "ls", "Error.py\nerrors.log\nexception_handler.rs"),
    ("bash", "ls tests", "error: a file with an odd name\nb.txt\nc.txt\nd.txt\ne.txt\nf.txt"),
    ("bash", "echo 'Error: just a text'", "Error: just a text"),
    ("python", r#"print("ValueError: not really")"#, "ValueError: not really"),
    (
        "python",
        r#"{"code": "print(open('run.log').read())"}"#,
        "epoch 1\nTraceback (most recent call last):\n  File \"/exp/train.py\", line 80, in step\nRuntimeError: CUDA out of memory",
    ),
    (
        "python",
        "try:\n    f()\nexcept Exception:\n    traceback.print_exc()\nprint('went on')",
        "Traceback (most recent call last):\n  File \"<string>\", line 2, in <module>\nValueError: x\nwent on",
    ),
    (
        "python",
        r#"print("Traceback (most recent call last):\n  File \"a.py\"")"#,
        "Traceback (most recent call last):\n  File \"a.py\"",
    ),
    ("python", "print(rmse)", "Mean squared error: 0.25"),
    ("python", "print(e)", "error: 0"),
    ("python", "x", "Error rate after 10 epochs is 0.12"),
    (
        "read_file",
        r#"{"path": "app.py"}"#,
        "def f():\n    try:\n        g()\n    except ValueError as e:\n        raise RuntimeError('failed') from e\n",
    ),
    (
        "read_file",
        r#"{"path": "notes.md"}"#,
        "Error handling\n\n1. Never swallow\n2. Log\n3. Retry\n4. Fail\n5. Alert\n",
    ),
    (
        "view",
        "{}",
        "Here's the result of running `cat -n` on /a.py:\n     1\tTraceback (most recent call last):\n     2\tValueError: x",
    ),
    ("search", r#"{"query": "python error"}"#, "[{\"title\": \"TypeError: explained\", \"url\": \"https://e.x\"}]"),
    ("book", "{}", r#"{"order_id": 7, "status": "delivered", "error": null}"#),
    ("book", "{}", r#"{"errors": [], "data": {"ok": true}}"#),
    ("list_payments", "{}", r#"[{"id": 1, "status": "failed"}, {"id": 2, "status": "paid"}]"#),
    (
        "get_payment",
        "{}",
        r#"{"id": 1, "user": "a", "amount": 3, "status": "failed", "method": "card", "at": "x", "ref": "y"}"#,
    ),
    ("fit", "{}", r#"{"mean": 3, "error": 0.02}"#),
    ("fit", "{}", r#"{"slope": 1, "errors": [0.1, 0.2]}"#),
    ("lint", "{}", r#"{"file": "a.py", "errors": [{"line": 3}], "count": 1}"#),
    ("get_product", "{}", r#"{"code": 450, "name": "Lamp"}"#),
    ("get_flight", "{}", r#"{"status": "delayed", "code": 404, "gate": "A1"}"#),
    ("get_job_status", "{}", r#"{"id": 3, "status": "failed", "reason": "out of stock"}"#),
    ("run", "{}", r#"{"stdout": "Error: shown on purpose\n", "stderr": "", "exit_code": 0}"#),
    (
        "execute_bash",
        "pytest -q || true",
        "E   AssertionError\n1 failed, 3 passed\n[The command completed with exit code 0.]",
    ),
    ("python", "print(1)", "Tool call success\nstdout: 1\nstderr: "),
    ("python", "print(1)", "[Executed Successfully with No Output]"),
    ("sql", "SELECT * FROM errors", "[('TypeError', 3), ('Error: x', 4)]"),
    ("terminal", "ls", "root@1a2b:/app# ls\na.py  errors.log\nroot@1a2b:/app#"),
    ("python", "print(n)", "404"),
    ("python", "print(t)", "500 internal combustion engines were counted in 2020"),
    ("sql", "SELECT year, note FROM t", "(1984, 'a select view')"),
    ("bash", "man grep", "grep: print lines that match patterns"),
    (
        "wiki",
        "{}",
        "Page: Error\nSummary: An error (from the Latin errāre, meaning 'to wander') is an inaccurate or incorrect action.",
    ),
    ("bash", "tar czf a.tgz /x", "tar: Removing leading `/' from member names"),
    ("bash", "git log -1", "commit 1a2b\n\n    fix: ValueError: bad input\n"),
    ("python", "", ""),
];

#[test]
fn failures_of_many_harnesses_are_found_and_named() {
    let wrong: Vec<String> = FAILURES
        .iter()
        .filter(|(tool, arguments, result, want)| verdict(tool, arguments, result).as_deref() != Some(want))
        .map(|(tool, arguments, result, want)| {
            format!("{result:?}: expected {want}, found {:?}", verdict(tool, arguments, result))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn text_about_errors_that_a_call_read_or_printed_is_no_failure() {
    let wrong: Vec<String> = SUCCESSES
        .iter()
        .filter_map(|(tool, arguments, result)| Some(format!("{result:?}: {}", verdict(tool, arguments, result)?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_datas_own_word_goes_before_every_pattern() {
    let config = DetectConfig {
        success_pattern: vec!["fine".to_owned()],
        error_pattern: vec!["seat_taken=taken".to_owned(), "gone".to_owned()],
        ..DetectConfig::default()
    };
    let detector = ErrorDetector::new(&config).expect("patterns compile");
    let failure = |content, is_error| {
        let result = Message {
            role: Role::Tool,
            content: Some(content),
            reasoning: None,
            call_id: None,
            is_error,
            is_context: false,
            calls: vec![],
        };
        detector.verdict(&Asked::unknown(), &result).failure().map(|f| f.error_type.to_string())
    };
    assert_eq!(failure("Error: fine", None), None);
    assert_eq!(failure("taken", None).as_deref(), Some("seat_taken"));
    assert_eq!(failure("gone", None).as_deref(), Some("user_pattern"));
    assert_eq!(failure("Error: x", Some(false)), None);
    assert_eq!(failure("fine", Some(true)).as_deref(), Some("unknown_error"));
}

#[test]
fn the_reference_detector_takes_all_but_success_for_an_error() {
    let name = |text| reference(text).map(|f| f.error_type.into_owned());
    assert_eq!(name(""), None);
    assert_eq!(name("... Tool call success ..."), None);
    assert_eq!(name("ModuleNotFoundError: No module named 'x'").as_deref(), Some("ModuleNotFoundError"));
    assert_eq!(name("TypeError after NameError").as_deref(), Some("NameError"));
    assert_eq!(name("42").as_deref(), Some("unknown_error"));
}

#[test]
fn time_outs_rate_limits_and_servers_are_the_environments_fault() {
    for name in [
        "timeout",
        "worker_timeout",
        "rate_limit",
        "server_error",
        "TimeoutError",
        "ReadTimeout",
        "ConnectionResetError",
    ] {
        assert_eq!(Failure::named(name).fault, Fault::Environment, "{name}");
    }
    assert_eq!(Failure::named("TypeError").fault, Fault::Model);
}
