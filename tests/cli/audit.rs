//! `purify audit`: every number against an independent count, and what it refuses.
//!
//! `fixtures/audit/golden.json` was counted by `scripts/make_audit_fixtures.py`, which makes the repairs with CPython's difflib.

use arrow::json::ReaderBuilder;
use serde_json::{Value, json};

use crate::harness::{self, Place, fixture, json_rows};

/// A place with the fixture and the marker of its tokens.
fn labelled() -> Place {
    let place = Place::new();
    place.with("audit/raw.parquet", "raw.parquet");
    std::fs::write(place.path("purify.toml"), "call-marker-ids = [7]\n").expect("written");
    place
}

fn report(place: &Place, args: &[&str]) -> Value {
    let done = place.run(&[&["audit"], args, &["--json", "report.json"]].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    serde_json::from_slice(&place.bytes("report.json")).expect("JSON")
}

/// Where two values differ; of numbers with a point only beyond rounding.
fn differences(path: &str, expected: &Value, found: &Value, out: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or(json!("absent"));
                differences(&format!("{path}.{name}"), &of(a), &of(b), out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (k, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{k}]"), a, b, out);
            }
        }
        (a, b) => {
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * a.abs().max(1.0);
            let same = a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| near(a, b));
            if !same {
                out.push(format!("{path}: expected {a}, found {b}"));
            }
        }
    }
}

/// Rows are held to the manifest, and so is why runs of purified data were left; that results were cut, by the tests of the guards.
fn leave_what_is_counted_elsewhere(name: &str, expected: &Value, found: &mut Value) {
    let Some(found) = found.as_object_mut() else { return };
    if matches!(name, "rows" | "guards") {
        found.retain(|name, _| expected.get(name).is_some());
    }
    if found.get("skipped").is_some_and(Value::is_null) {
        found.remove("skipped");
        found.insert("skipped".to_owned(), expected["skipped"].clone());
    }
    for (name, found) in found {
        leave_what_is_counted_elsewhere(name, &expected[name.as_str()], found);
    }
}

fn assert_golden(report: &Value) {
    let golden: Value =
        serde_json::from_slice(&std::fs::read(fixture("audit/golden.json")).expect("it is there")).expect("JSON");
    let mut wrong = Vec::new();
    for (name, expected) in golden.as_object().expect("parts") {
        let mut found = report[name].clone();
        leave_what_is_counted_elsewhere(name, expected, &mut found);
        differences(name, expected, &found, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_number_of_raw_data_equals_an_independent_count() {
    let place = labelled();
    assert_golden(&report(&place, &["raw.parquet"]));
}

#[test]
fn purified_data_leads_to_the_numbers_that_were_foretold() {
    let place = labelled();
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "p.parquet"]).code, 0);
    let found = report(&place, &["raw.parquet", "p.parquet"]);
    assert_golden(&found);
    let predicted = report(&place, &["raw.parquet"]);
    for part in ["before", "after", "repairs", "guards", "reference", "sensitivity", "groups"] {
        assert_eq!(found[part], predicted[part], "{part}");
    }
}

#[test]
fn numbers_agree_with_the_manifest() {
    let place = labelled();
    place.run(&["--in", "raw.parquet", "--out", "p.parquet"]);
    let manifest: Value = serde_json::from_slice(&place.bytes("p.manifest.json")).expect("JSON");
    let (counts, found) = (&manifest["counts"], report(&place, &["raw.parquet", "p.parquet"]));
    for (name, path) in [
        ("rows_in", "/rows/raw"),
        ("rows_out", "/rows/purified"),
        ("rows_changed", "/repairs/rollouts_repaired"),
        ("attempts", "/before/attempts"),
        ("failed_attempts", "/before/failed"),
        ("recovered", "/repairs/recovered"),
        ("unrecovered", "/repairs/unrecovered"),
        ("repairs", "/repairs/repairs"),
        ("repairs_shallow", "/repairs/shallow"),
        ("repairs_deep", "/repairs/deep"),
        ("removed_messages", "/repairs/removed_messages"),
        ("error_types", "/repairs/error_types"),
    ] {
        assert_eq!(Some(&counts[name]), found.pointer(path), "{name}");
    }
    for (name, path) in [
        ("residue", "/guards/residue/yes"),
        ("depends_on_removed", "/guards/depends_on_removed/yes"),
        ("identical_retry", "/guards/identical_retry/yes"),
        ("lossy_result", "/guards/lossy_result/yes"),
        ("orphan_call_id", "/guards/orphan_call_ids"),
        ("duplicate_call_id", "/guards/duplicate_call_ids"),
        ("unlisted_tool", "/guards/unlisted_tools"),
    ] {
        assert_eq!(Some(&counts["guards"][name]), found.pointer(path), "{name}");
    }
}

#[test]
fn tokens_are_counted_on_both_sides() {
    let place = Place::new();
    place.with("rollouts/tokens.parquet", "raw.parquet");
    let marker = ["--call-marker-ids", "258"];
    place.run(&[&["--in", "raw.parquet", "--out", "p.parquet"], &marker[..]].concat());
    let found = report(&place, &[&["raw.parquet", "p.parquet"], &marker[..]].concat());
    let predicted = report(&place, &[&["raw.parquet"], &marker[..]].concat());
    let tokens = |report: &Value, side: &str| report[side]["tokens"].as_u64().expect("tokens");
    assert_eq!(tokens(&found, "before") - tokens(&found, "after"), found["repairs"]["removed_tokens"]);
    assert!(found["before"]["tokens_on_failures"].as_u64() > found["after"]["tokens_on_failures"].as_u64());
    for side in ["before", "after"] {
        for name in ["tokens", "tokens_on_failures"] {
            assert_eq!(found[side][name], predicted[side][name], "{side} {name}");
        }
    }
}

#[test]
fn report_does_not_depend_on_threads() {
    let place = labelled();
    let one = report(&place, &["raw.parquet", "--threads", "1"]);
    assert_eq!(one, report(&place, &["raw.parquet", "--threads", "4"]));
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let place = labelled();
    place.with("rollouts/all.parquet", "other.parquet");
    place.run(&["--in", "other.parquet", "--out", "o.parquet"]);
    let hint = "\n\nhint: give the raw data, unsorted, as it was purified, and what purify made of it\n";
    let done = place.run(&["audit", "raw.parquet", "o.parquet"]);
    let expected = format!("error: `o.parquet`: row 0 of it is not in the raw data, or not in the same order{hint}");
    assert_eq!((done.code, done.stderr), (3, expected));
    let done = place.run(&["audit", "raw.parquet", "raw.parquet"]);
    let expected = format!("error: `raw.parquet`: it has no column `purification`{hint}");
    assert_eq!((done.code, done.stderr), (3, expected));
}

#[test]
fn any_number_of_the_report_can_be_a_gate() {
    let place = labelled();
    let holds = [
        "files.0.rows == 160",
        "by_column.values.code.before.by_tool.python.failed > 0",
        "before.failure_runs.10.corrected == 2",
    ];
    for gate in holds {
        let done = place.run(&["audit", "raw.parquet", "--fail-if", gate]);
        assert_eq!(done.code, 1, "{gate}: {}", done.stderr);
    }
    let gates = ["--fail-if", "before.error_rate > 0.2", "--fail-if", "guards.residue_rate > 0.9"];
    let done = place.run(&[&["audit", "raw.parquet"], &gates[..]].concat());
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("gate failed: `before.error_rate > 0.2` holds"), "{}", done.stderr);
    assert!(done.stderr.ends_with("error: 1 of 2 gates failed\n"), "{}", done.stderr);
    for (wrong, said) in [
        ("before.error_rate >", "`` in `before.error_rate >` is not a number"),
        ("no_such.number > 1", "no number is named `no_such.number`; there are report_version, decisions.failure_runs"),
        ("1 > 2 > 3", "no number is named `1 > 2`; there are report_version"),
        ("error_rate > 1", "more than one number is named `error_rate`: before.error_rate, "),
        ("residue", "`residue` is not a comparison such as"),
        ("after.by_tool.python.faild > 1", "no number is named `after.by_tool.python.faild`"),
        ("by_reward.postive.before.faild > 1", "no number is named `by_reward.postive.before.faild`"),
        (
            "cascade.ratio > 1",
            "more than one number is named `cascade.ratio`: before.cascade.ratio, after.cascade.ratio\n",
        ),
    ] {
        let done = place.run(&["audit", "raw.parquet", "--fail-if", wrong]);
        assert_eq!(done.code, 2, "{wrong}: {}", done.stderr);
        assert!(done.stderr.starts_with(&format!("error: {said}")), "{}", done.stderr);
    }
}

#[test]
fn gate_over_what_is_not_known_is_a_warning_and_no_silence() {
    let place = Place::new();
    let mut row = {
        place.with("rollouts/one_failure_deep.parquet", "one.parquet");
        json_rows(&place.rows("one.parquet"))
    }
    .remove(0);
    row.as_object_mut().expect("a row").retain(|name, _| name == "messages");
    std::fs::write(place.path("raw.jsonl"), format!("{row}\n")).expect("written");
    for gate in ["before.by_tool.nope.failed > 3", "before.tokens > 0", "groups.after.failures_rewarded > 0"] {
        let done = place.run(&["audit", "raw.jsonl", "--fail-if", gate]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stderr.contains(&format!("warning: gate not decided: `{gate}`")), "{}", done.stderr);
    }
    let blind = ["--in", "raw.jsonl", "--on-residue", "keep", "--fail-if", "residue_rate > 0.05"];
    let done = place.run(&blind);
    assert!(done.stderr.contains("warning: gate not decided: `residue_rate > 0.05`"), "{}", done.stderr);
    assert!(done.json()["residue_rate"].is_null());
    let done = place.run(&["audit", "raw.jsonl", "--fail-if", "residue_rate > nan"]);
    assert_eq!(done.code, 2, "{}", done.stderr);
}

#[test]
fn entries_of_lists_and_names_with_signs_can_be_gates() {
    let place = labelled();
    let gates =
        ["before.cascade.after_failures.0.failed", "sensitivity.by_retries.2.deep.50", "before.by_position.0.failed"];
    for gate in gates {
        let done = place.run(&["audit", "raw.parquet", "--fail-if", &format!("{gate} > 0")]);
        assert_eq!(done.code, 1, "{gate}: {}", done.stderr);
    }
    let odd = place.run(&["audit", "raw.parquet", "--fail-if", "before.by_tool.<i>x.failed > 0"]);
    assert!(odd.stderr.contains("this data has no `before.by_tool.<i>x.failed`"), "{}", odd.stderr);
}

#[test]
fn rows_that_were_changed_behind_the_record_are_counted() {
    let place = labelled();
    let write = |name: &str, cut: usize| {
        let rows = json_rows(&place.rows("raw.parquet")).into_iter().enumerate().map(|(k, mut row)| {
            if k < cut {
                row["messages"].as_array_mut().expect("messages").pop();
            }
            format!("{row}\n")
        });
        std::fs::write(place.path(name), rows.collect::<String>()).expect("written");
    };
    write("raw.jsonl", 0);
    write("cut.jsonl", 3);
    for (input, out, edited) in [("raw.jsonl", "p.parquet", 0), ("cut.jsonl", "e.parquet", 3)] {
        assert_eq!(place.run(&["--in", input, "--out", out]).code, 0);
        assert_eq!(report(&place, &["raw.jsonl", out])["rows"]["edited"], edited);
    }
    let edited = place.run(&["audit", "raw.jsonl", "e.parquet"]);
    assert!(edited.stderr.contains("warning: 3 purified rows are not what their record says"), "{}", edited.stderr);
}

#[test]
fn row_with_a_repair_is_held_to_its_record_too() {
    let place = labelled();
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "p.parquet"]).code, 0);
    let rows = json_rows(&place.rows("p.parquet"));
    let repaired = |row: &Value| row["purification"]["repairs"].as_array().is_some_and(|all| !all.is_empty());
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 4] = [
        ("call", |row| row["messages"][2]["tool_calls"][0]["function"]["arguments"] = json!("{}")),
        ("reasoning", |row| row["messages"][2]["content"] = json!("Other words.")),
        ("verdict", |row| row["messages"][3]["is_error"] = json!(row["messages"][3]["is_error"] == json!(false))),
        ("reward", |row| row["reward"] = json!(99.0)),
    ];
    let schema = place.rows("p.parquet").schema();
    for (what, change) in changes {
        let mut changed = 0;
        let rows = rows.iter().cloned().map(|mut row| {
            if repaired(&row) && changed < 5 {
                change(&mut row);
                changed += 1;
            }
            row
        });
        let mut decoder = ReaderBuilder::new(schema.clone()).build_decoder().expect("a decoder");
        decoder.serialize(&rows.collect::<Vec<_>>()).expect("rows of the schema");
        let batch = decoder.flush().expect("a batch").expect("rows");
        harness::write(&place.path("e.parquet"), &batch, 1000);
        std::fs::copy(place.path("p.manifest.json"), place.path("e.manifest.json")).expect("copied");
        assert_eq!(report(&place, &["raw.parquet", "e.parquet"])["rows"]["edited"], changed, "{what}");
    }
}

#[test]
fn rows_without_names_are_matched_by_what_their_record_says() {
    let place = Place::new();
    let step = |k: usize, is_error: bool| {
        let call = json!({"id": format!("c{k}"), "type": "function", "function": {"name": "f", "arguments": format!("{{\"k\": {k}}}")}});
        [
            json!({"role": "assistant", "content": "Step.", "tool_calls": [call]}),
            json!({"role": "tool", "content": "result", "tool_call_id": format!("c{k}"), "is_error": is_error}),
        ]
    };
    let row = |group: usize, outcomes: &[bool]| {
        let steps = outcomes.iter().enumerate().flat_map(|(k, is_error)| step(10 * group + k, *is_error));
        let messages: Vec<Value> =
            std::iter::once(json!({"role": "user", "content": "the same"})).chain(steps).collect();
        json!({"group_id": format!("g{group}"), "messages": messages}).to_string() + "\n"
    };
    // Not corrected, ok, corrected: all of them asked the same.
    let rows = (0..9).flat_map(|group| [row(group, &[true]), row(group, &[false]), row(group, &[true, false])]);
    std::fs::write(place.path("n.jsonl"), rows.collect::<String>()).expect("written");
    assert_eq!(place.run(&["--in", "n.jsonl", "--out", "n.parquet", "--mode", "drop"]).code, 0);
    for shard in ["1/2", "2/2"] {
        assert_eq!(place.run(&["--in", "n.jsonl", "--out", "s/", "--shard", shard, "--mode", "drop"]).code, 0);
    }
    let (whole, shards) = (report(&place, &["n.jsonl", "n.parquet"]), report(&place, &["n.jsonl", "s/"]));
    let rows = json!({"raw": 27, "unreadable": {}, "purified": 18, "left_out": 9, "edited": 0});
    assert_eq!((&whole["rows"], &shards["rows"]), (&rows, &rows));
    assert_eq!((&whole["after"], &whole["repairs"]["repairs"]), (&shards["after"], &json!(9)));
}

#[test]
fn shards_of_a_run_are_audited_as_the_whole() {
    let place = labelled();
    for name in ["a", "b"] {
        std::fs::copy(place.path("raw.parquet"), place.path(&format!("{name}.in.parquet"))).expect("copied");
    }
    let many = ["--in", "a.in.parquet", "b.in.parquet", "--similarity-threshold", "0.8"];
    assert_eq!(place.run(&[&many[..], &["--out", "whole/"]].concat()).code, 0);
    for shard in ["1/3", "2/3", "3/3"] {
        assert_eq!(place.run(&[&many[..], &["--out", "parts/", "--shard", shard]].concat()).code, 0);
    }
    // One that is missing leaves its rows out.
    std::fs::create_dir_all(place.path("two/data")).expect("a folder");
    for name in [
        "data/train-00000-of-00006.parquet",
        "data/train-00002-of-00006.parquet",
        "data/train-00003-of-00006.parquet",
        "manifest-00000-of-00003.json",
    ] {
        std::fs::copy(place.path(&format!("parts/{name}")), place.path(&format!("two/{name}"))).expect("copied");
    }
    let two = report(&place, &["*.in.parquet", "two/"]);
    let rows = |name: &str| two["rows"][name].as_u64().expect("a count");
    assert_eq!((rows("raw"), rows("purified") + rows("left_out"), rows("edited")), (320, 320, 0));
    assert!(rows("left_out") > 0 && rows("purified") > 0, "{}", two["rows"]);
    let (whole, parts) = (report(&place, &["*.in.parquet", "whole/"]), report(&place, &["*.in.parquet", "parts/"]));
    for part in ["rows", "before", "after", "repairs", "guards", "sensitivity", "groups", "by_reward", "by_column"] {
        assert_eq!(parts[part], whole[part], "{part}");
    }
    assert_eq!((&parts["settings"]["method"], &parts["settings_known"]), (&whole["settings"]["method"], &json!(true)));
}

#[test]
fn curves_are_asked_of_the_method_that_decided() {
    let place = labelled();
    let by_code = ["--compare", "code", "--pairing", "first-last", "--repair-probability", "0.6"];
    assert_eq!(place.run(&[&["--in", "raw.parquet", "--out", "p.parquet"], &by_code[..]].concat()).code, 0);
    let found = report(&place, &["raw.parquet", "p.parquet"]);
    assert_eq!(found["sensitivity"]["by_retries"][2]["repairs"], found["repairs"]["repairs"]);
    assert_eq!(found["sensitivity"]["by_retries"][2]["deep"][50], found["repairs"]["deep"]);
    std::fs::remove_file(place.path("p.manifest.json")).expect("removed");
    let said = place.run(&["audit", "raw.parquet", "p.parquet", "--json", "a.json"]);
    assert!(said.stderr.contains("there is no manifest beside the purified data"), "{}", said.stderr);
    let report: Value = serde_json::from_slice(&place.bytes("a.json")).expect("JSON");
    assert_eq!((&report["settings_known"], &report["repairs"]["skipped"]), (&json!(false), &Value::Null));
}

#[test]
fn nothing_is_foretold_that_purifying_would_refuse() {
    let place = Place::new();
    place.with("audit/raw.parquet", "raw.parquet");
    let (audit, purify) = (place.run(&["audit", "raw.parquet"]), place.run(&["--in", "raw.parquet"]));
    assert_eq!((audit.code, audit.stderr), (3, purify.stderr));
}

#[test]
fn value_that_comes_first_is_counted_to_the_end_whatever_comes_behind_it() {
    let place = Place::new();
    let row = |k: usize| {
        let source = if k.is_multiple_of(2) { "math".to_owned() } else { format!("d{k}") };
        json!({"messages": [{"role": "user", "content": "q"}], "data_source": source}).to_string() + "\n"
    };
    std::fs::write(place.path("raw.jsonl"), (0..4000).map(row).collect::<String>()).expect("written");
    let values = report(&place, &["raw.jsonl"])["by_column"]["values"].clone();
    let of = |name: &str| values[name]["before"]["rollouts"].as_u64().expect("a count");
    assert_eq!((of("math"), of("d1"), of("(others)")), (2000, 1, 2000 - 999));
    assert_eq!(values.as_object().map(serde_json::Map::len), Some(1001));
}

#[test]
fn column_that_is_not_there_is_refused_with_those_that_are() {
    let place = labelled();
    for name in ["nope", "reward"] {
        let done = place.run(&["audit", "raw.parquet", "--by", name]);
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert!(done.stderr.contains(&format!("there is no column of text `{name}`")), "{}", done.stderr);
        assert!(done.stderr.contains("data_source"), "{}", done.stderr);
    }
    let same = place.run(&["audit", "raw.parquet", "--json", "a.out", "--html", "./a.out"]);
    assert_eq!((same.code, same.stderr.starts_with("error: --json and --html name the same file")), (2, true));
}

#[test]
fn modes_are_foretold_as_they_will_be_and_runs_that_stay_say_why() {
    let place = labelled();
    for mode in [&["--mode", "mask"][..], &["--repair-probability", "0.5"], &["--unrecovered", "collapse"]] {
        assert_eq!(place.run(&[&["--in", "raw.parquet", "--out", "p.parquet"], mode].concat()).code, 0);
        let found = report(&place, &[&["raw.parquet", "p.parquet"], mode].concat());
        let predicted = report(&place, &[&["raw.parquet"], mode].concat());
        for part in ["before", "after", "repairs", "guards", "groups"] {
            assert_eq!(found[part], predicted[part], "{mode:?} {part}");
        }
        assert_eq!(found["rows"]["edited"], 0, "{mode:?}");
    }
}

#[test]
fn tool_is_blamed_for_its_own_result_alone() {
    let place = Place::new();
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": id, "arguments": "{}"}});
    let row = json!({"messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "tool_calls": [call("good"), call("bad")]},
        {"role": "tool", "tool_call_id": "good", "content": "1", "is_error": false},
        {"role": "tool", "tool_call_id": "bad", "content": "Error: no", "is_error": true}]});
    std::fs::write(place.path("raw.jsonl"), format!("{row}\n")).expect("written");
    let found = report(&place, &["raw.jsonl"]);
    assert_eq!(found["before"]["by_tool"]["good"], json!({"attempts": 1, "failed": 0}));
    assert_eq!(found["before"]["by_tool"]["bad"], json!({"attempts": 1, "failed": 1}));
}

#[test]
fn data_that_was_purified_before_is_no_raw_side() {
    let place = labelled();
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "once.parquet"]).code, 0);
    assert_eq!(place.run(&["--in", "once.parquet", "--out", "twice.parquet"]).code, 0);
    let done = place.run(&["audit", "once.parquet", "twice.parquet"]);
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("it was made of data that was purified before"), "{}", done.stderr);
    assert_eq!(place.run(&["audit", "raw.parquet", "twice.parquet"]).code, 0);
}

#[test]
fn end_of_a_path_is_enough_where_only_one_ends_so() {
    let place = labelled();
    for (gate, code) in [("residue_rate >= 0", 1), ("residue_rate < 0", 0), ("by_tool.python.failed >= 0", 2)] {
        let done = place.run(&["audit", "raw.parquet", "--fail-if", gate]);
        assert_eq!(done.code, code, "{gate}: {}", done.stderr);
    }
    let of_a_tool = ["audit", "raw.parquet", "--fail-if", "before.by_tool.python.failed > 0"];
    assert_eq!(place.run(&of_a_tool).code, 1);
}

#[test]
fn page_holds_every_repair_and_nothing_is_written_over_an_input() {
    let place = labelled();
    assert_eq!(place.run(&["--in", "raw.parquet", "--out", "p.parquet"]).code, 0);
    let facts = |page: &str| -> usize {
        let text = String::from_utf8(place.bytes(page)).expect("text");
        let blocks =
            text.split("class=\"facts\">").skip(1).map(|block| block.split("</script>").next().expect("an end"));
        blocks.map(|block| serde_json::from_str::<Vec<Value>>(block).expect("JSON").len()).sum()
    };
    let found = report(&place, &["raw.parquet", "p.parquet", "--html", "written.html"]);
    let predicted = report(&place, &["raw.parquet", "--html", "predicted.html"]);
    let repairs = found["repairs"]["repairs"].as_u64().expect("a count") as usize;
    assert!(repairs > 0);
    assert_eq!((facts("written.html"), facts("predicted.html")), (repairs, repairs));
    assert_eq!(found["repairs"], predicted["repairs"]);
    let raw = place.bytes("raw.parquet");
    for option in ["--html", "--json"] {
        for input in ["raw.parquet", "p.parquet"] {
            let done = place.run(&["audit", "raw.parquet", "p.parquet", option, input]);
            assert_eq!(done.code, 4, "{}", done.stderr);
            assert!(done.stderr.contains("is the input itself"), "{}", done.stderr);
        }
    }
    assert_eq!(raw, place.bytes("raw.parquet"));
}

#[test]
fn settings_are_those_that_decided_and_another_detector_is_a_warning() {
    let place = labelled();
    let strict = ["--in", "raw.parquet", "--out", "p.parquet", "--similarity-threshold", "0.9", "--max-retries", "1"];
    assert_eq!(place.run(&strict).code, 0);
    let found = report(&place, &["raw.parquet", "p.parquet"]);
    assert_eq!(found["settings"]["method"]["similarity_threshold"], 0.9);
    assert_eq!((&found["sensitivity"]["threshold"], &found["sensitivity"]["max_retries"]), (&json!(0.9), &json!(1)));
    assert_eq!(found["detects_alike"], true);
    let other = place.run(&["audit", "raw.parquet", "p.parquet", "--error-pattern", "fine", "--json", "a.json"]);
    assert!(other.stderr.contains("warning: the data was purified with other error options"), "{}", other.stderr);
    let report: Value = serde_json::from_slice(&place.bytes("a.json")).expect("JSON");
    assert_eq!(report["detects_alike"], false);
}
