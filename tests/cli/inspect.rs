//! `purify inspect`: what is recognised, what each tool result says, which rule decided.

use arrow::array::{Array, Int64Array, StringArray};

use crate::harness::Place;

/// Four calls of one step, their results out of order, and one more.
const ROLLOUT: &str = r#"{"id": "r", "messages": [
{"role": "user", "content": "q"},
{"role": "assistant", "content": "Look.", "tool_calls": [
 {"id": "a", "type": "function", "function": {"name": "bash", "arguments": "{\"command\": \"grep -rn frobnicate src\"}"}},
 {"id": "b", "type": "function", "function": {"name": "bash", "arguments": "{\"command\": \"ls /x\"}"}},
 {"id": "c", "type": "function", "function": {"name": "book_seat", "arguments": "{}"}}]},
{"role": "tool", "tool_call_id": "c", "content": "Seat 3 is taken"},
{"role": "tool", "tool_call_id": "a", "content": "{\"output\": \"\", \"exit_code\": 1}"},
{"role": "tool", "tool_call_id": "b", "content": "ls: cannot access '/x': No such file or directory"},
{"role": "assistant", "content": "Again.", "tool_calls": [
 {"id": "d", "type": "function", "function": {"name": "bash", "arguments": "{\"command\": \"ls /y\"}"}}]},
{"role": "tool", "tool_call_id": "d", "content": "a.txt"},
{"role": "assistant", "content": "Done."}]}"#;

const RULES: &str = r#"
[[rule]]
name = "seat-taken"
pattern = '^Seat \d+ is taken'
verdict = "error"
fault = "environment"
tools = ["book_*"]
"#;

fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.path("raw.jsonl"), ROLLOUT.replace('\n', "") + "\n").expect("a file");
    std::fs::write(place.path("rules.toml"), RULES).expect("a file");
    place
}

#[test]
fn each_result_has_a_row_that_says_what_it_is_and_why() {
    let place = place();
    let said = place.run(&["inspect", "raw.jsonl", "--results", "results.parquet", "--rules", "rules.toml"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let rows = place.rows("results.parquet");
    let text = |name: &str| -> Vec<Option<String>> {
        let column = rows.column_by_name(name).expect("the column").as_any();
        let column = column.downcast_ref::<StringArray>().expect("text");
        column.iter().map(|cell| cell.map(str::to_owned)).collect()
    };
    let numbers = |name: &str| -> Vec<i64> {
        let column = rows.column_by_name(name).expect("the column").as_any();
        column.downcast_ref::<Int64Array>().expect("numbers").values().to_vec()
    };
    let some = |words: [&str; 4]| words.map(|w| (!w.is_empty()).then(|| w.to_owned())).to_vec();
    assert_eq!(numbers("message"), [2, 3, 4, 6]);
    assert_eq!(numbers("call"), [2, 0, 1, 0]);
    assert_eq!(numbers("row"), [0, 0, 0, 0]);
    assert_eq!(text("tool"), some(["book_seat", "bash", "bash", "bash"]));
    assert_eq!(text("verdict"), some(["error", "informative", "error", "ok"]));
    assert_eq!(text("error_type"), some(["seat-taken", "", "no_such_file", ""]));
    assert_eq!(text("fault"), some(["environment", "", "model", ""]));
    assert_eq!(text("rule"), some(["seat-taken", "informative.search", "shell.program", ""]));
}

#[test]
fn rules_are_counted_and_the_last_line_says_what_will_be_repaired() {
    let place = place();
    let said = place.run(&["inspect", "raw.jsonl", "--rules", "rules.toml", "--rules-report"]);
    for line in ["results             error 2, informative 1, ok 1", "1  seat-taken", "0  json.detail"] {
        assert!(said.stdout.contains(line), "no `{line}` in\n{}", said.stdout);
    }
    assert_eq!(said.stdout.lines().last(), Some("  1 of 1 failure runs may be repaired"), "{}", said.stdout);
    let json = place.run(&["inspect", "raw.jsonl", "--json"]).json();
    assert_eq!(json["verdicts"], serde_json::json!({"error": 1, "informative": 1, "ok": 2}));
    assert_eq!((&json["rules"]["informative.search"], &json["rules"]["shell.program"]), (&1.into(), &1.into()));
}

#[test]
fn informative_results_count_as_errors_where_that_is_asked_for() {
    let place = place();
    let json = place.run(&["inspect", "raw.jsonl", "--json", "--informative", "repair"]).json();
    assert_eq!(json["verdicts"], serde_json::json!({"error": 2, "ok": 2}));
    assert_eq!(json["error_types"], serde_json::json!({"search": 1}));
}

#[test]
fn a_mistake_in_a_file_of_rules_names_the_rule() {
    let place = place();
    std::fs::write(place.path("rules.toml"), RULES.replace("d+ is", "d+ (is")).expect("a file");
    let said = place.run(&["inspect", "raw.jsonl", "--rules", "rules.toml"]);
    assert_eq!(said.code, 2);
    let told = r"`rules.toml`: rule `seat-taken`: `^Seat \d+ (is taken` is not a valid regular expression";
    assert!(said.stderr.contains(told), "{}", said.stderr);
}

#[test]
fn a_turn_that_the_harness_could_not_read_is_counted() {
    let place = Place::new();
    let rollout = r#"{"id": "r", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ls"}, {"role": "user", "content": "Your response could not be parsed: no command was found."}]}"#;
    std::fs::write(place.path("raw.jsonl"), rollout.to_owned() + "\n").expect("a file");
    let json = place.run(&["inspect", "raw.jsonl", "--json"]).json();
    assert_eq!((&json["refused"], &json["attempts"]), (&1.into(), &0.into()));
}
