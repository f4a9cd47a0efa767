//! Input as no method foresees it: ids that answer nothing, results without calls, hundreds of parallel calls, a command of a
//! megabyte, foreign shells, Python of another version. Each is read as far as it can be, what can't be told is unknown, and nothing
//! is lost (docs/method.md, "What must not be lost").

use arrow::array::{Array, AsArray};
use serde_json::{Value, json};

use crate::corrections::{bash, python, retried, rollouts, step};
use crate::harness::{Place, json_rows};

#[test]
fn rewards_that_are_no_numbers_tell_no_advantage_and_lose_nothing() {
    let place = Place::new();
    let rows = [("g", Some(1.0), retried()), ("g", None, retried()), ("g", Some(0.0), retried())];
    rollouts(&place, "absent.jsonl", &rows);
    let done = place.run_by_default(&["--in", "absent.jsonl", "--dry-run"]);
    assert_eq!((done.code, done.count("rows_in")), (0, 3), "{}", done.stderr);
    let line = |reward: &str| {
        let messages = [vec![json!({"role": "user", "content": "q"})], retried()].concat();
        let row = json!({"rollout_id": reward, "group_id": "g", "reward": "@", "messages": messages}).to_string();
        row.replace("\"@\"", reward)
    };
    std::fs::write(place.path("nan.jsonl"), [line("NaN"), line("1.0"), line("0.5")].join("\n")).expect("written");
    let done = place.run_by_default(&["--in", "nan.jsonl", "--dry-run"]);
    assert_eq!((done.code, done.count("rows_in"), done.count("rows_rejected")), (0, 3, 0), "{}", done.stderr);
    std::fs::write(place.path("text.jsonl"), [line("\"good\""), line("\"bad\"")].join("\n")).expect("written");
    let done = place.run_by_default(&["--in", "text.jsonl", "--out", "text.parquet"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("repairs")), (0, 2, 2), "{}{}", done.stdout, done.stderr);
    let rows = place.rows("text.parquet");
    let tells = rows.column_by_name("advantage").map_or(0, |found| found.len() - found.null_count());
    assert_eq!(tells, 0, "words are no rewards: nothing tells the sign");
}

#[test]
fn results_without_calls_and_ids_that_answer_nothing_are_left_where_they_are() {
    let place = Place::new();
    let stray = vec![json!({"role": "tool", "tool_call_id": "nobody", "content": "Error: lost"})];
    rollouts(&place, "raw.jsonl", &[("a", None, [stray, retried()].concat())]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("repairs")), (0, 1), "{}", done.stderr);
    assert_eq!(done.json()["guards"]["orphan_call_id"], json!(1), "{}", done.stdout);
    let rows = place.rows("p.parquet");
    let messages = rows.column_by_name("messages").expect("messages").as_list::<i32>().value(0);
    let contents = messages.as_struct().column_by_name("content").expect("content").as_string::<i32>().clone();
    assert!(contents.iter().flatten().any(|text| text == "Error: lost"));
}

#[test]
fn a_step_of_five_hundred_calls_keeps_all_that_did_their_job() {
    let place = Place::new();
    let call = |k: usize, key: &str| json!({"id": format!("c{k}"), "type": "function", "function": {"name": "get_row", "arguments": json!({ key: k }).to_string()}});
    let result = |k: usize, text: String| json!({"role": "tool", "tool_call_id": format!("c{k}"), "content": text});
    let calls: Vec<Value> = (0..500).map(|k| call(k, if k == 250 { "roww" } else { "row" })).collect();
    let text = |k: usize| {
        if k == 250 {
            "Error: get_row() got an unexpected keyword argument 'roww'".to_owned()
        } else {
            format!("value {k}")
        }
    };
    let mut steps = vec![json!({"role": "assistant", "content": "", "tool_calls": calls})];
    steps.extend((0..500).map(|k| result(k, text(k))));
    steps.push(json!({"role": "assistant", "content": "", "tool_calls": [call(500, "row")]}));
    steps.push(result(500, "value 250".to_owned()));
    rollouts(&place, "raw.jsonl", &[("a", None, steps)]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("failed_attempts"), done.count("repairs")), (0, 1, 1), "{}", done.stdout);
    let rows = place.rows("p.parquet");
    let messages = rows.column_by_name("messages").expect("messages").as_list::<i32>().value(0);
    let contents = messages.as_struct().column_by_name("content").expect("content").as_string::<i32>().clone();
    for k in 0..500 {
        assert_eq!(contents.iter().flatten().filter(|text| *text == format!("value {k}")).count(), 1, "value {k}");
    }
}

#[test]
fn each_of_hundreds_of_corrected_calls_takes_the_place_of_its_own_failed_one() {
    let place = Place::new();
    let call = |id: &str, k: usize, key: &str| json!({"id": format!("{id}{k}"), "type": "function", "function": {"name": "get_row", "arguments": json!({ key: k }).to_string()}});
    let result =
        |id: &str, k: usize, text: &str| json!({"role": "tool", "tool_call_id": format!("{id}{k}"), "content": text});
    let asked = |calls: Vec<Value>| json!({"role": "assistant", "content": "", "tool_calls": calls});
    let refused = "Error: get_row() got an unexpected keyword argument 'roww'";
    let value = |k: usize| format!("value {k}");
    let fails = |k: &usize| k % 2 == 1;
    let mut steps = vec![asked((0..500).map(|k| call("a", k, if fails(&k) { "roww" } else { "row" })).collect())];
    let first = |k: usize| if fails(&k) { result("a", k, refused) } else { result("a", k, &value(k)) };
    steps.extend((0..500).map(first));
    steps.push(asked((0..500).filter(fails).map(|k| call("b", k, "row")).collect()));
    steps.extend((0..500).filter(fails).map(|k| result("b", k, &value(k))));
    rollouts(&place, "raw.jsonl", &[("a", None, steps)]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("repairs")), (0, 1), "{}{}", done.stdout, done.stderr);
    let row = json_rows(&place.rows("p.parquet"))[0].clone();
    let messages = row["messages"].as_array().expect("messages");
    let calls = messages[1]["tool_calls"].as_array().expect("calls");
    assert_eq!((calls.len(), messages.len()), (500, 1 + 1 + 500 + 1));
    for call in calls {
        let arguments: Value =
            serde_json::from_str(call["function"]["arguments"].as_str().unwrap_or_default()).expect("JSON");
        let answers: Vec<&Value> =
            messages.iter().filter(|m| m["tool_call_id"] == call["id"]).map(|m| &m["content"]).collect();
        assert_eq!(answers, [&json!(value(arguments["row"].as_u64().expect("a row") as usize))]);
    }
}

#[test]
fn a_rollout_of_results_alone_stays_as_it_was() {
    let place = Place::new();
    let failed = retried()[1].clone();
    rollouts(&place, "raw.jsonl", &[("a", None, vec![failed.clone(), failed]), ("b", None, retried())]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("repairs")), (0, 2, 1), "{}", done.stderr);
    assert_eq!((done.count("failed_attempts"), &done.json()["guards"]["orphan_call_id"]), (1, &json!(2)));
    let row = json_rows(&place.rows("p.parquet"))[0].clone();
    assert_eq!(row["messages"].as_array().map(Vec::len), Some(4));
}

#[test]
fn ids_that_all_answer_nothing_are_answered_by_their_places() {
    let place = Place::new();
    let renamed = |(k, mut message): (usize, Value)| {
        if message["role"] == "tool" {
            message["tool_call_id"] = json!(format!("nobody{k}"));
        }
        message
    };
    rollouts(&place, "raw.jsonl", &[("a", None, retried().into_iter().enumerate().map(renamed).collect())]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("failed_attempts"), done.count("repairs")), (0, 1, 1), "{}", done.stdout);
    assert_eq!(done.json()["guards"]["orphan_call_id"], json!(2));
}

// --- what foreign code did --------------------------------------------------------------------------------------------

/// What became of one rollout: the reason why it was left, and what its failed calls may have changed.
fn decided(steps: &[Vec<Value>]) -> (Value, Value) {
    let place = Place::new();
    rollouts(&place, "raw.jsonl", &[("a", None, steps.concat())]);
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!((done.code, done.count("rows_out"), done.count("failed_attempts")), (0, 1, 1), "{}", done.stderr);
    let run = json_rows(&place.rows("p.parquet"))[0]["purification"]["runs"][0].clone();
    (run["reason"].clone(), run["side_effects"].clone())
}

#[test]
fn of_a_command_of_a_megabyte_both_ends_are_read_and_its_middle_is_unknown() {
    let missing = "bash: pyhton: command not found";
    let filler = format!("echo {}", "x ".repeat(1 << 19));
    let pair = |between: &str| {
        let command = |end: &str| format!("{filler} && {between}{end}");
        [bash(&command("pyhton a.py"), missing), bash(&command("python a.py"), "ok")]
    };
    assert_eq!(decided(&pair("")), (Value::Null, json!("unknown")));
    let removes =
        decided(&[bash(&format!("{filler} && rm -rf /w/old && pyhton a.py"), missing), bash("python a.py", "ok")]);
    assert_ne!(removes, (Value::Null, json!("no")), "what is done behind a megabyte is done");
    // A program that is written to a file in front of the command that fails.
    let written = |end: &str| format!("cat > /w/a.py <<'END'\n{}END\n{end}", "x = 1\n".repeat(1 << 17));
    let [failed, retried] = ["pyhton /w/a.py", "python /w/a.py"].map(written);
    assert_eq!(decided(&[bash(&failed, missing), bash(&retried, "ok")]), (Value::Null, json!("unknown")));
    let code = |name: &str| format!("text = '{}'\nprint(len({name}))", "a".repeat(1 << 20));
    let error = "Traceback (most recent call last):\n  File \"<stdin>\", line 2, in <module>\nNameError: name 'txt' is not defined";
    assert_eq!(
        decided(&[python(&code("txt"), error), python(&code("text"), "1048576")]),
        (Value::Null, json!("unknown"))
    );
}

#[test]
fn what_a_foreign_shell_changed_is_unknown_wherever_it_is_typed() {
    let denied = "Remove-Item : Access to the path 'C:\\temp' is denied.\nAt line:1 char:1\n+ FullyQualifiedErrorId : RemoveFileSystemItemUnAuthorizedAccess";
    let denied = json!({"output": denied, "exit_code": 1}).to_string();
    let typed = |tool: &str, around: fn(&str) -> String| {
        let call = |command: &str, result: &str| step(tool, &json!({ "command": around(command) }), result);
        [call("Remove-Item -Recurse C:\\temp", &denied), call("Remove-Item -Recurse -Force C:\\temp", "removed")]
    };
    let plain: fn(&str) -> String = str::to_owned;
    for (tool, around) in [
        ("powershell", plain),
        ("bash", plain),
        ("run_terminal_cmd", plain),
        ("bash", |command| format!("pwsh -Command \"{command}\"")),
        ("bash", |command| format!("powershell.exe -NoProfile -Command \"{command}\"")),
    ] {
        assert_eq!(decided(&typed(tool, around)), (Value::Null, json!("unknown")), "{tool}: {}", around("..."));
    }
    let missing = "'typ' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n";
    let windows = [("typ b.txt", missing), ("type b.txt", "hi")].map(|(c, r)| step("cmd", &json!({ "command": c }), r));
    assert_eq!(decided(&windows).0, Value::Null);
    let node = [
        ("fs.writeFileSync('a', 'x'); consol.log(5)", "ReferenceError: consol is not defined"),
        ("fs.writeFileSync('b', 'x'); console.log(5)", "5"),
    ];
    assert_eq!(decided(&node.map(|(c, r)| step("javascript", &json!({ "code": c }), r))).1, json!("unknown"));
}

#[test]
fn python_of_another_version_is_unknown_and_never_guessed() {
    let error = |line: usize, name: &str| {
        format!(
            "Traceback (most recent call last):\n  File \"<stdin>\", line {line}, in <module>\nNameError: name '{name}' is not defined"
        )
    };
    let depends = |failed: &str, error: &str, retried: &str| {
        let place = Place::new();
        rollouts(&place, "raw.jsonl", &[("a", None, [python(failed, error), python(retried, "3")].concat())]);
        let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet"]);
        assert_eq!((done.code, done.count("repairs")), (0, 1), "{}", done.stdout);
        json_rows(&place.rows("p.parquet"))[0]["purification"]["repairs"][0]["depends_on_removed"].clone()
    };
    let total = |name: &str| format!("print 'total of all rows in the table', {name}");
    assert_eq!(depends(&format!("n = 3\n{}", total("m")), &error(2, "m"), &total("n")), Value::Null);
    // Names that a text makes when it runs, in Python 2 and 3.
    for made in
        ["exec 'total = 3'", "exec('total = 3')", "execfile('totals.py')", "%run totals.py", "from totals import *"]
    {
        let [failed, retried] = ["totl", "total"].map(|name| format!("print({name} + len('all rows of the table'))"));
        assert_eq!(depends(&format!("{made}\n{failed}"), &error(2, "totl"), &retried), Value::Null, "{made}");
    }
    assert_eq!(
        depends(&format!("n = 3\n{}", total("m")), &error(2, "m"), &format!("n = 3\n{}", total("n"))),
        json!(false)
    );
}

#[test]
fn a_group_that_nothing_tells_of_is_repaired_and_has_no_advantage() {
    let place = Place::new();
    let messages = [vec![json!({"role": "user", "content": "q"})], retried()].concat();
    std::fs::write(place.path("raw.jsonl"), json!({"reward": 0.0, "messages": messages}).to_string()).expect("written");
    let done = place.run_by_default(&["--in", "raw.jsonl", "--out", "p.parquet", "--repair-where", "positive"]);
    assert_eq!((done.code, done.count("repairs")), (0, 1), "{}", done.stderr);
}
