//! The default rule: a failed call is replaced where a later one is its retry, in the better rollouts of a group, and nothing
//! that did its job is taken out (docs/method.md, "What is a correction", "What must not be lost", "Where to repair").

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use serde_json::{Value, json};

use crate::harness::Place;

fn step(tool: &str, arguments: &Value, result: &str) -> Vec<Value> {
    vec![
        json!({"role": "assistant", "content": "", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": tool, "arguments": arguments.to_string()}}]}),
        json!({"role": "tool", "tool_call_id": "c", "content": result}),
    ]
}

fn python(code: &str, result: &str) -> Vec<Value> {
    step("python", &json!({ "code": code }), result)
}

const TYPO: &str = "Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'is_prim' is not defined";

/// A typo, and the same call without it.
fn retried() -> Vec<Value> {
    [
        python("print(sum(is_prim(n) for n in range(1000)))", TYPO),
        python("print(sum(is_prime(n) for n in range(1000)))", "168"),
    ]
    .concat()
}

fn rollouts(place: &Place, name: &str, rows: &[(&str, Option<f64>, Vec<Value>)]) {
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
    let missing = "Error executing query: Table 'd.singers' doesn't exist";
    let query = |sql: &str, result: &str| step("sql", &json!({ "query": sql }), result);
    let looked =
        [query("SELECT name FROM singers ORDER BY age", missing), query("SHOW TABLES", "[('singer',)]")].concat();
    rollouts(&place, "raw.jsonl", &[("a", None, retried()), ("b", None, looked)]);
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
    let audit = place.run_by_default(&["audit", "raw.jsonl", "p.parquet"]);
    assert!(audit.code == 0 && !audit.stderr.contains("edited"), "{}", audit.stderr);
}
