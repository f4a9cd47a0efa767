//! Guards: what they write into the column, count, and make of a row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::{Value, json};

use crate::harness::{Place, json_rows, write};

/// Two rollouts: the second talks of the error that its repair removes, and needs a name of the failed attempt.
fn write_rollouts(place: &Place) {
    let call = |code: &str| json!([{"type": "function", "function": {"name": "python", "arguments": json!({"code": code}).to_string()}}]);
    let rollout = |id: &str, correction: &str, answer: &str| {
        json!({"rollout_id": id, "messages": [
            {"role": "user", "content": "How far is it?"},
            {"role": "assistant", "content": "I take the square root.", "tool_calls": call("n = 16\nprint(sqrt(n))")},
            {"role": "tool", "content": "NameError: name 'sqrt' is not defined", "is_error": true},
            {"role": "assistant", "content": "", "tool_calls": call(correction)},
            {"role": "tool", "content": "4.0\n", "is_error": false},
            {"role": "assistant", "content": answer},
        ]})
    };
    let rows = [
        rollout("plain", "n = 16\nprint(n ** 0.5)", "It is 4."),
        rollout("needy", "print(n ** 0.5)", "I fixed the NameError: it is 4."),
    ];
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(place.path("raw.jsonl"), text).expect("a file");
}

fn repair_of(row: &Value) -> &Value {
    &row["purification"]["repairs"][0]
}

#[test]
fn findings_stand_in_the_column_and_are_counted() {
    let place = Place::new();
    write_rollouts(&place);
    let said = place.run(&["--in", "raw.jsonl", "--out", "out.parquet"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let rows = json_rows(&place.rows("out.parquet"));
    let found = |row: &Value| {
        ["residue", "depends_on_removed", "identical_retry", "lossy_result"].map(|name| repair_of(row)[name].clone())
    };
    assert_eq!(found(&rows[0]), [json!(false), json!(false), json!(false), json!(false)]);
    assert_eq!(found(&rows[1]), [json!(true), json!(true), json!(false), json!(false)]);
    let guards = json!({"residue": 1, "made_shallow": 0, "depends_on_removed": 1, "residue_unknown": 0, "depends_on_removed_unknown": 0, "identical_retry": 0, "lossy_result": 0,
        "orphan_call_id": 0, "duplicate_call_id": 0, "unlisted_tool": 0});
    assert_eq!(said.json()["guards"], guards);
    let manifest: Value = serde_json::from_slice(&place.bytes("out.manifest.json")).expect("JSON");
    assert_eq!(manifest["counts"]["guards"], guards);
    assert_eq!(manifest["settings"]["guard"]["on_residue"], "flag");
}

#[test]
fn faults_of_calls_are_counted_over_all_rows() {
    let place = Place::new();
    let call =
        |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
    let answer = |id: &str| json!({"role": "tool", "content": "ok", "tool_call_id": id});
    let asked = |calls: &[Value]| json!({"role": "assistant", "content": "", "tool_calls": calls});
    let tools = json!([{"type": "function", "function": {"name": "search"}}]).to_string();
    let row = json!({"rollout_id": "r", "tools": tools, "messages": [
        {"role": "user", "content": "?"}, asked(&[call("a", "search"), call("a", "seek")]), answer("a"), answer("b"),
    ]});
    std::fs::write(place.path("raw.jsonl"), format!("{row}\n")).expect("a file");
    let guards = place.run(&["--in", "raw.jsonl", "--dry-run"]).json()["guards"].clone();
    let found = ["duplicate_call_id", "orphan_call_id", "unlisted_tool"].map(|name| guards[name].as_u64());
    assert_eq!(found, [Some(1); 3]);
}

#[test]
fn gates_read_what_the_guards_count() {
    let place = Place::new();
    write_rollouts(&place);
    let run = |gate: &str| place.run(&["--in", "raw.jsonl", "--dry-run", "--fail-if", gate]);
    for gate in ["guards.residue > 0", "residue_rate >= 0.5", "dependency_rate > 0.4", "guards.depends_on_removed == 1"]
    {
        assert_eq!(run(gate).code, 1, "{gate}");
    }
    assert_eq!(run("guards.lossy_result > 0").code, 0);
    let unknown = run("guards.residues > 0");
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("guards.identical_retry"), "{}", unknown.stderr);
}

#[test]
fn policies_keep_leave_out_or_reject() {
    let place = Place::new();
    write_rollouts(&place);
    let run = |args: &[&str]| place.run(&[&["--in", "raw.jsonl", "--out", "out.parquet"], args].concat());
    let said = run(&["--on-residue", "drop"]);
    assert_eq!((said.count("rows_out"), said.json()["rejects"]["residue"].as_u64()), (1, Some(1)));
    let reason = json_rows(&place.rows("out.rejects.parquet"))[0]["reject_reason"].to_string();
    assert!(reason.contains("1 of its repairs leave text about a removed error"), "{reason}");
    let said = run(&["--on-dependency", "skip"]);
    assert_eq!((said.count("repairs"), said.json()["skipped"]["dependency"].as_u64()), (1, Some(1)));
    let said = run(&["--on-dependency", "keep", "--on-residue", "keep"]);
    assert_eq!(said.json()["guards"]["residue"], 0);
    assert!(repair_of(&json_rows(&place.rows("out.parquet"))[1])["residue"].is_null());
}

/// The column as the first version wrote it: without the fields that came later.
fn of_the_first_version(batch: &RecordBatch) -> RecordBatch {
    let at = batch.schema().index_of("purification").expect("the column");
    let column = batch.column(at).as_struct();
    let repairs = column.column_by_name("repairs").expect("repairs").as_list::<i32>();
    let values = repairs.values().as_struct();
    let old: Vec<usize> = (0..values.num_columns())
        .filter(|&k| !["identical_retry", "lossy_result"].contains(&values.fields()[k].name().as_str()))
        .collect();
    let fields: Fields = old.iter().map(|&k| Arc::clone(&values.fields()[k])).collect();
    let arrays = old.iter().map(|&k| Arc::clone(values.column(k))).collect();
    let values = StructArray::new(fields.clone(), arrays, values.nulls().cloned());
    let item = Arc::new(Field::new("element", DataType::Struct(fields), true));
    let list = ListArray::new(item, repairs.offsets().clone(), Arc::new(values), repairs.nulls().cloned());
    let place = column.fields().iter().position(|f| f.name() == "repairs").expect("repairs");
    let mut fields: Vec<Field> = column.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[place] = Field::new("repairs", list.data_type().clone(), true);
    let mut arrays: Vec<ArrayRef> = column.columns().to_vec();
    arrays[place] = Arc::new(list);
    let column = StructArray::new(Fields::from(fields), arrays, column.nulls().cloned());
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[at] = Field::new("purification", column.data_type().clone(), true);
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(column);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
}

#[test]
fn a_column_of_the_first_version_is_read_and_lifted() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    place.run(&["--in", "raw.parquet", "--out", "once.parquet"]);
    let once = place.rows("once.parquet");
    write(&place.path("old.parquet"), &of_the_first_version(&once), 1000);
    let said = place.run(&["--in", "old.parquet", "--out", "again.parquet"]);
    assert_eq!((said.code, said.count("rows_changed"), said.count("rows_rejected")), (0, 0, 0), "{}", said.stderr);
    let again = place.rows("again.parquet");
    assert_eq!(again.schema().field(again.num_columns() - 1), once.schema().field(once.num_columns() - 1));
    for (new, old) in json_rows(&again).iter().zip(&json_rows(&once)) {
        let count = old["purification"]["repairs"].as_array().map_or(0, Vec::len);
        for k in 0..count {
            let (new, old) = (&new["purification"]["repairs"][k], &old["purification"]["repairs"][k]);
            assert!(new["identical_retry"].is_null() && new["lossy_result"].is_null());
            assert_eq!((&new["residue"], &new["first_message"]), (&old["residue"], &old["first_message"]));
        }
    }
    let said = place.run(&["revert", "old.parquet", "--raw", "raw.parquet", "--out", "raw2.parquet"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(place.rows("raw2.parquet"), place.rows("raw.parquet"));
}

#[test]
fn options_in_force_show_the_guards() {
    let place = Place::new();
    std::fs::write(place.path("purify.toml"), "on-residue = \"shallow\"\nstateful-tools = [\"repl\", \"sage\"]\n")
        .expect("a file");
    let said = place.run(&["config"]);
    assert!(said.stdout.contains("on-residue = \"shallow\""), "{}", said.stdout);
    assert!(said.stdout.contains("on-dependency = \"flag\""), "{}", said.stdout);
    assert!(said.stdout.contains("stateful-tools = [\"repl\",\"sage\"]"), "{}", said.stdout);
}
