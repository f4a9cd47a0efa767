//! The default rule: a failed call is replaced where a later one is its retry, in the better rollouts of a group, and nothing
//! that did its job is taken out (docs/method.md, "What is a correction", "What must not be lost", "Where to repair").

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use serde_json::{Value, json};

use crate::harness::{Place, json_rows, without_provenance};

pub fn step(tool: &str, arguments: &Value, result: &str) -> Vec<Value> {
    vec![
        json!({"role": "assistant", "content": "", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": tool, "arguments": arguments.to_string()}}]}),
        json!({"role": "tool", "tool_call_id": "c", "content": result}),
    ]
}

pub fn python(code: &str, result: &str) -> Vec<Value> {
    step("python", &json!({ "code": code }), result)
}

const TYPO: &str = "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'is_prim' is not defined";

/// A typo, and the same call without it.
pub fn retried() -> Vec<Value> {
    [
        python("print(sum(is_prim(n) for n in range(1000)))", TYPO),
        python("print(sum(is_prime(n) for n in range(1000)))", "168"),
    ]
    .concat()
}

/// A query of a table that is not there, and another question.
pub fn looked() -> Vec<Value> {
    let query = |sql: &str, result: &str| step("sql", &json!({ "query": sql }), result);
    let missing = "Error executing query: Table 'd.singers' doesn't exist";
    [query("SELECT name FROM singers ORDER BY age", missing), query("SHOW TABLES", "[('singer',)]")].concat()
}

pub fn rollouts(place: &Place, name: &str, rows: &[(&str, Option<f64>, Vec<Value>)]) {
    let line = |(k, (group, reward, steps)): (usize, &(&str, Option<f64>, Vec<Value>))| {
        let user = vec![json!({"role": "user", "content": "How many primes are there?"})];
        let answer = vec![json!({"role": "assistant", "content": "There are 168."})];
        let messages = [user, steps.clone(), answer].concat();
        json!({"rollout_id": format!("r{k}"), "group_id": group, "reward": reward, "messages": messages}).to_string()
    };
    let lines: Vec<String> = rows.iter().enumerate().map(line).collect();
    std::fs::write(place.path(name), lines.join("\n")).expect("written");
}

#[test]
fn a_retry_is_repaired_and_another_question_is_left_with_its_reason() {
    let place = Place::new();
    rollouts(&place, "raw.jsonl", &[("a", None, retried()), ("b", None, looked())]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("repairs")), (0, 1), "{}", done.stderr);
    assert_eq!(done.json()["left"], json!({"not_a_retry": 1}), "{}", done.stdout);
    assert_eq!(done.json()["skipped"], json!({"not_a_retry": 1}));
    let paper = place.run_by_default(&["--in", "raw.jsonl", "--dry-run", "--profile", "saar"]);
    assert_eq!(paper.count("repairs"), 2, "the paper takes whatever did its job");
}

#[test]
fn failing_tests_are_no_failed_attempt() {
    let place = Place::new();
    let tests = "tests/test_a.py F\n=== FAILURES ===\nE   assert 3 == 4\n=== 1 failed, 8 passed in 0.31s ===";
    let run = |result: &str| step("bash", &json!({"command": "python -m pytest tests/test_a.py -q"}), result);
    rollouts(&place, "raw.jsonl", &[("a", None, [run(tests), run("9 passed in 0.30s")].concat())]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--dry-run"]);
    assert_eq!((done.count("failed_attempts"), done.count("repairs")), (0, 0), "{}", done.stdout);
    let counted = place.run_by_default(&["--in", "raw.jsonl", "--dry-run", "--informative", "repair"]);
    assert_eq!(counted.count("failed_attempts"), 1);
}

#[test]
fn repairs_are_made_where_a_rollout_did_better_than_its_group() {
    let place = Place::new();
    let rows = [("g", Some(1.0), retried()), ("g", Some(0.0), retried()), ("alone", Some(0.0), retried())];
    rollouts(&place, "raw.jsonl", &rows);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!(done.count("repairs"), 2, "{}", done.stdout);
    assert_eq!(done.json()["left"], json!({"negative_advantage": 1}));
    let rows = place.rows("p.parquet");
    let found = rows.column_by_name("advantage").expect("the column").as_primitive::<Float64Type>().clone();
    // Of rewards 1 and 0: half a reward over a deviation of sqrt(1/2).
    let expected = 0.5 / (0.5f64.sqrt() + 1e-6);
    assert!((found.value(0) - expected).abs() < 1e-12 && (found.value(1) + expected).abs() < 1e-12);
    assert!(found.is_null(2), "nothing tells of a rollout that is alone");
    let all = place.run_by_default(&["--in", "raw.jsonl", "--dry-run", "--repair-where", "all"]);
    assert_eq!(all.count("repairs"), 3);
    // What was written keeps its advantages, whatever is left of the groups.
    let again = place.run_by_default(&["--in", "p.parquet", "--out", "again.parquet"]);
    assert_eq!((again.code, again.count("repairs")), (0, 0), "{}", again.stderr);
    let kept = place.rows("again.parquet").column_by_name("advantage").expect("the column").clone();
    assert_eq!(kept.as_primitive::<Float64Type>(), &found);
}

#[test]
fn calls_that_did_their_job_stay_beside_one_that_is_replaced() {
    let place = Place::new();
    place.with("cases/one_of_five_parallel_calls_fails.jsonl", "raw.jsonl");
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("repairs")), (0, 1), "{}{}", done.stdout, done.stderr);
    let calls_of = |file: &str| -> usize {
        let rows = place.rows(file);
        let messages = rows.column_by_name("messages").expect("messages").as_list::<i32>().value(0);
        let calls = messages.as_struct().column_by_name("tool_calls").expect("calls").as_list::<i32>().clone();
        (0..calls.len()).map(|k| calls.value(k).len()).max().unwrap_or_default()
    };
    assert_eq!(calls_of("p.parquet"), 5, "four that did their job, and the corrected one");
    let row = json_rows(&place.rows("p.parquet"))[0].clone();
    let asked: Vec<&Value> = row["messages"][1]["tool_calls"].as_array().expect("calls").iter().collect();
    let answered = row["messages"].as_array().expect("messages").iter().filter(|m| m["role"] == "tool");
    assert!(asked.iter().map(|call| &call["id"]).eq(answered.map(|m| &m["tool_call_id"])), "{row}");
    assert_eq!(asked[3]["function"]["arguments"], json!("{\"i\": 33}"));
    let audit = place.run_by_default(&["audit", "raw.jsonl", "p.parquet"]);
    assert!(audit.code == 0 && !audit.stderr.contains("edited"), "{}", audit.stderr);
}

// --- the table of README ---------------------------------------------------------------------------------------------

pub fn bash(command: &str, result: &str) -> Vec<Value> {
    step("bash", &json!({ "command": command }), result)
}

fn says(text: &str) -> Vec<Value> {
    vec![json!({"role": "assistant", "content": text})]
}

/// One rollout of an agent for the first cell of each row of README's table, with the results that a harness would give.
fn scenario(failed: &str) -> Option<Vec<Value>> {
    let python_error =
        |error: &str| format!("Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\n{error}");
    Some(match failed {
        "`print(is_prim(7))`: NameError" => [
            python("print(is_prim(7))", &python_error("NameError: name 'is_prim' is not defined")),
            python("print(is_prime(7))", "True"),
        ]
        .concat(),
        "`search(querry=\"rust\")`: unexpected argument" => [
            step("search", &json!({"querry": "rust"}), "Error: search() got an unexpected keyword argument 'querry'"),
            step("search", &json!({"query": "rust"}), "[{\"title\": \"Rust\"}]"),
        ]
        .concat(),
        "`pytest -q`: 2 failed" => [
            bash("pytest -q", "FF.\n=== FAILURES ===\nE   assert 1 == 2\n2 failed, 1 passed in 0.10s"),
            step(
                "str_replace_editor",
                &json!({"command": "str_replace", "path": "/r/a.py", "old_str": "1", "new_str": "2"}),
                "The file has been edited.",
            ),
        ]
        .concat(),
        "`SELECT nme FROM t`: no such column" => [
            step("sql", &json!({"query": "SELECT nme FROM t"}), "Error executing query: no such column: nme"),
            step("sql", &json!({"query": "SHOW TABLES"}), "[('t',)]"),
        ]
        .concat(),
        "`import yaml`: ModuleNotFoundError" => [
            python("import yaml", &python_error("ModuleNotFoundError: No module named 'yaml'")),
            step("finish", &json!({"message": "can't be done"}), "done"),
        ]
        .concat(),
        "`mkdir out && gcc man.c -o out/app`: no such file" => [
            bash(
                "mkdir out && gcc man.c -o out/app",
                "gcc: error: man.c: No such file or directory\ngcc: fatal error: no input files\n[exit code: 1]",
            ),
            bash("gcc main.c -o out/app", "[exit code: 0]"),
        ]
        .concat(),
        "`pytest -q`: command not found" => [
            bash("pytest -q", "bash: pytest: command not found"),
            bash("python -m pytest -q", "3 passed in 0.10s"),
            says("All tests pass; pytest is not installed as a command, so I ran the module."),
        ]
        .concat(),
        "any, in a rollout below its group's mean" => retried(),
        "four failures in a row" => {
            let typo = |k: usize| python(&format!("print(sum(is_prim(n) for n in range(100{k})))"), TYPO);
            [(0..4).flat_map(typo).collect(), python("print(sum(is_prime(n) for n in range(1004)))", "168")].concat()
        }
        "one of four parallel calls" => {
            let call = |k: usize, city: &str| json!({"id": format!("c{k}"), "type": "function", "function": {"name": "weather", "arguments": json!({ "city": city }).to_string()}});
            let result =
                |k: usize, text: &str| json!({"role": "tool", "tool_call_id": format!("c{k}"), "content": text});
            vec![
                json!({"role": "assistant", "content": "", "tool_calls": [call(0, "Rome"), call(1, "Pariss"), call(2, "Oslo"), call(3, "Bern")]}),
                result(0, "18"),
                result(1, "Error: unknown city 'Pariss'"),
                result(2, "9"),
                result(3, "11"),
                json!({"role": "assistant", "content": "A typo.", "tool_calls": [call(4, "Paris")]}),
                result(4, "15"),
            ]
        }
        _ => return None,
    })
}

/// The rows of README's table: the failed call, and what became of it.
fn readme_rows() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("it is there");
    let table = readme.split("| failed call | what came next | |").nth(1).expect("the table").trim_start();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.map(cells).map(|cells| (cells[0].clone(), cells[2].clone())).collect()
}

#[test]
fn every_row_of_readmes_table_is_what_the_program_does() {
    let rows = readme_rows();
    assert!(rows.len() >= 10, "{rows:?}");
    for (failed, said) in rows {
        let steps = scenario(&failed).unwrap_or_else(|| panic!("README's row `{failed}` has no rollout here"));
        let reward = if failed.contains("below") { 0.0 } else { 1.0 };
        let place = Place::new();
        rollouts(&place, "raw.jsonl", &[("g", Some(reward), steps), ("g", Some(1.0 - reward), Vec::new())]);
        let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let reason = said.strip_prefix("left: ").and_then(|rest| rest.split('`').nth(1));
        match reason {
            None => {
                assert!(said.starts_with("repaired"), "{failed}: {said}");
                assert_eq!((done.count("repairs"), &done.json()["left"]), (1, &json!({})), "{failed}: {}", done.stdout);
            }
            // An informative result is no failed attempt.
            Some("informative") => {
                assert_eq!((done.count("failed_attempts"), done.count("repairs")), (0, 0), "{failed}")
            }
            Some(reason) => {
                assert_eq!(
                    (done.count("repairs"), &done.json()["left"]),
                    (0, &json!({ reason: 1 })),
                    "{failed}: {}",
                    done.stdout
                );
            }
        }
    }
}

// --- why -------------------------------------------------------------------------------------------------------------

#[test]
fn diff_says_why_each_failure_run_was_repaired_or_left() {
    let place = Place::new();
    rollouts(&place, "raw.jsonl", &[("a", None, retried()), ("b", None, looked())]);
    assert_eq!(place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]).code, 0);
    let why = place.run_by_default(&["diff", "raw.jsonl", "p.parquet", "--why"]);
    assert_eq!(why.code, 0, "{}", why.stderr);
    for part in [
        "message 1, 1 failed attempt: repaired",
        "a retry: the same thing again, corrected (affinity ",
        "message 1, 1 failed attempt: left: not_a_retry (what follows does something else)",
        "only_looks: the later call looks at what is there; the failed one was to do something",
        "no later text relies on the failure",
    ] {
        assert!(why.stdout.contains(part), "{part}\n{}", why.stdout);
    }
    let plain = place.run_by_default(&["diff", "raw.jsonl", "p.parquet"]);
    assert!(!plain.stdout.contains("not_a_retry") && !plain.stdout.contains("rollout r1"), "{}", plain.stdout);
    let one = place.run_by_default(&["diff", "raw.jsonl", "p.parquet", "--why", "--rollout", "r1"]);
    assert!(one.stdout.contains("not_a_retry") && one.stdout.contains("no difference"), "{}", one.stdout);
}

#[test]
fn an_audit_says_first_how_many_failures_were_repaired_and_why_the_others_were_left() {
    let place = Place::new();
    rollouts(&place, "raw.jsonl", &[("a", None, retried()), ("b", None, looked())]);
    assert_eq!(place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]).code, 0);
    let expected = json!({
        "failure_runs": 2, "repaired": 1, "masked": 0, "left": 1, "unrecorded": 0,
        "reasons": {"not_a_retry": 1}, "evidence": {"only_looks": 1}
    });
    for (files, would) in [(&["raw.jsonl", "p.parquet"][..], ""), (&["raw.jsonl"][..], "would be ")] {
        let args = [&["audit"], files, &["--json", "a.json", "--html", "a.html"]].concat();
        let done = place.run_by_default(&args);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let first = done.stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert_eq!(first.trim(), format!("failure runs 2: 1 {would}repaired, 1 {would}left"), "{}", done.stderr);
        assert!(done.stderr.contains("not_a_retry") && done.stderr.contains("what follows does something else"));
        let report: Value = serde_json::from_slice(&place.bytes("a.json")).expect("JSON");
        assert_eq!(report["decisions"], expected);
        let page = String::from_utf8(place.bytes("a.html")).expect("text");
        let (decisions, overview) = (page.find("id=\"decisions\""), page.find("id=\"overview\""));
        assert!(decisions.is_some() && decisions < overview);
        assert!(page.contains(r#"["retry",0.9"#), "each repair says why it is a correction");
    }
    let failed = place.run_by_default(&["audit", "raw.jsonl", "p.parquet", "--fail-if", "decisions.left > 0"]);
    assert_ne!(failed.code, 0, "{}", failed.stderr);
}

// --- pairs -----------------------------------------------------------------------------------------------------------

#[test]
fn pairs_come_from_retries_alone() {
    let place = Place::new();
    let finish = step("finish", &json!({"message": "done"}), "ok");
    let tests = "FF.\n=== FAILURES ===\nE   assert 1 == 2\n2 failed, 1 passed in 0.10s";
    let ended = [bash("pytest -q", tests), finish.clone()].concat();
    let gave_up = [bash("pytest -q", "bash: pytest: command not found"), finish].concat();
    rollouts(&place, "raw.jsonl", &[("a", None, ended), ("b", None, gave_up), ("c", None, retried())]);
    // Nor where the output of a test run counts as a failure, nor where whatever did its job is a correction.
    let [counted, paper] = [["--informative", "repair"], ["--profile", "saar"]];
    for (out, more) in [("p.parquet", &[][..]), ("q.parquet", &counted[..]), ("r.parquet", &paper[..])] {
        let done = place.run_by_default(&[&["--in", "raw.jsonl", "--out", out, "--pairs"], more].concat());
        assert_eq!((done.code, done.count("pairs")), (0, 1), "{}{}", done.stdout, done.stderr);
    }
    let paper = place.rows("r.parquet");
    let whole = place.run_by_default(&["--in", "raw.jsonl", "--out", "s.parquet", "--profile", "saar"]);
    assert_eq!(
        (whole.count("repairs"), paper.num_rows()),
        (3, 3),
        "the paper repairs all of them, with pairs or without"
    );
    assert_eq!(without_provenance(&paper), without_provenance(&place.rows("s.parquet")));
}

#[test]
fn a_failed_attempt_that_no_retry_corrected_is_no_unwanted_completion() {
    let place = Place::new();
    let gave_up = [bash("pytest -q", "bash: pytest: command not found"), step("finish", &json!({}), "ok")].concat();
    rollouts(&place, "raw.jsonl", &[("a", None, looked()), ("b", None, gave_up), ("c", None, retried())]);
    for (target, rows) in [("trl-kto", 2), ("trl-dpo", 1)] {
        for profile in ["default", "saar"] {
            let out = format!("{target}_{profile}.parquet");
            let args = ["--in", "raw.jsonl", "--out", &out, "--to", target, "--profile", profile];
            let done = place.run_by_default(&args);
            assert_eq!(done.code, 0, "{}", done.stderr);
            assert_eq!(done.json()["exported"]["counts"][target]["rows_out"], json!(rows), "{target} {profile}");
        }
    }
    let rows = json_rows(&place.rows("trl-kto_default.trl-kto.parquet"));
    let said: Vec<(bool, bool)> = rows
        .iter()
        .map(|row| (row["label"] == json!(true), row["completion"].to_string().contains("is_prime")))
        .collect();
    assert_eq!(said, [(true, true), (false, false)], "the retry is wanted, and what it corrected is not");
}

#[test]
fn a_call_that_was_made_again_as_it_was_is_preferred_to_nothing() {
    let place = Place::new();
    let again = [bash("curl -s a.org/x", "Command timed out after 30 seconds"), bash("curl -s a.org/x", "42")].concat();
    rollouts(&place, "raw.jsonl", &[("a", None, again)]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet", "--pairs"]);
    assert_eq!((done.code, done.count("repairs"), done.count("pairs")), (0, 1, 0), "{}{}", done.stdout, done.stderr);
}
