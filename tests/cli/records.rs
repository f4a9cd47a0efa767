//! Records of what was done before: they are kept by whatever is done next, whoever wrote them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::{Value, json};

use crate::harness::{Place, fixture, json_rows, rows, write};

/// Purified files of version 0.1.0, each with the raw file that it was made of.
const EARLIER: [(&str, &str); 5] = [
    ("all", "rollouts/all.parquet"),
    ("tokens", "rollouts/tokens.parquet"),
    ("mask", "rollouts/all.parquet"),
    ("collapse", "rollouts/all.parquet"),
    ("gated", "rollouts/all.parquet"),
];

fn earlier(name: &str) -> String {
    format!("purified_0_1_0/{name}.parquet")
}

/// Places a file of version 0.1.0 as `purified.parquet`, and its raw file as `raw.parquet`.
fn place_of(name: &str, raw: &str) -> Place {
    let place = Place::new();
    place.with(&earlier(name), "purified.parquet");
    place.with(raw, "raw.parquet");
    place
}

/// The records of a file as JSON, whatever version wrote them.
fn records(batch: &RecordBatch) -> Vec<Value> {
    let text: Vec<String> = json_rows(batch).iter().map(|row| row["purification"].to_string()).collect();
    // The one name that has changed.
    let renamed = |text: &String| text.replace("\"log_is", "\"log_importance_ratio");
    text.iter().map(|text| serde_json::from_str(&renamed(text)).expect("JSON")).collect()
}

fn repairs(record: &Value) -> &[Value] {
    record["repairs"].as_array().map_or(&[], Vec::as_slice)
}

/// Checks that no record of `before` is lost: each row is in `again.parquet` with its repairs and counts, or among the
/// rejects with a reason; and that reverting what was written gives the raw rows. Returns how many rows were rejected.
fn keeps_every_record(place: &Place, before: &RecordBatch, what: &str) -> usize {
    let after = place.rows("again.parquet");
    let rejects = place.path("again.rejects.parquet");
    let rejects = if rejects.exists() { json_rows(&rows(&rejects)) } else { Vec::new() };
    let rejected: BTreeSet<usize> = rejects
        .iter()
        .map(|row| {
            let reason = row["reject_reason"].as_str().expect("a reason");
            let number = reason.split(": row ").nth(1).and_then(|rest| rest.split(' ').next());
            number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{what}: no row in `{reason}`"))
        })
        .collect();
    assert_eq!(after.num_rows() + rejected.len(), before.num_rows(), "{what}");
    let kept: Vec<usize> = (0..before.num_rows()).filter(|row| !rejected.contains(row)).collect();
    let old = records(before);
    for (new, &row) in records(&after).iter().zip(&kept) {
        let old = &old[row];
        for field in ["repairs", "failed_attempts", "recovered", "unrecovered", "raw_logprobs"] {
            assert_eq!(new[field], old[field], "{what}: `{field}` of row {row}");
        }
    }
    let said = place.run(&["revert", "again.parquet", "--raw", "raw.parquet", "--out", "reverted.parquet"]);
    assert_eq!(said.code, 0, "{what}: {}", said.stderr);
    let indices = UInt32Array::from_iter_values(kept.iter().map(|&row| row as u32));
    let expected = take_record_batch(&place.rows("raw.parquet"), &indices).expect("rows");
    assert_eq!(place.rows("reverted.parquet"), expected, "{what}");
    rejected.len()
}

#[test]
fn files_of_version_0_1_0_are_purified_again_and_keep_every_record() {
    for (name, raw) in EARLIER {
        let place = place_of(name, raw);
        let before = place.rows("purified.parquet");
        let said = place.run(&["--in", "purified.parquet", "--out", "again.parquet", "--call-marker-ids", "258"]);
        assert_eq!((said.code, said.count("rows_changed")), (0, 0), "{name}: {}", said.stderr);
        // A run that was too long, and is now one attempt, could be repaired: that is refused.
        let refused = usize::from(name == "collapse");
        assert_eq!(keeps_every_record(&place, &before, name), refused, "{name}");
    }
}

#[test]
fn files_of_version_0_1_0_are_reverted_audited_and_compared() {
    for (name, raw) in EARLIER {
        let place = place_of(name, raw);
        let repairs: usize = records(&place.rows("purified.parquet")).iter().map(|record| repairs(record).len()).sum();
        let said = place.run(&["revert", "purified.parquet", "--raw", "raw.parquet", "--out", "reverted.parquet"]);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        assert_eq!(place.rows("reverted.parquet"), place.rows("raw.parquet"), "{name}");
        let args = ["audit", "raw.parquet", "purified.parquet", "--call-marker-ids", "258", "--json", "report.json"];
        let said = place.run(&args);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        let report: Value = serde_json::from_slice(&place.bytes("report.json")).expect("JSON");
        let found = ["repairs", "collapsed"].map(|count| report["repairs"][count].as_u64().expect("a count"));
        assert_eq!(found.iter().sum::<u64>(), repairs as u64, "{name}");
        assert_eq!(report["rows"]["edited"], json!(0), "{name}");
        let said = place.run(&["diff", "raw.parquet", "purified.parquet"]);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        assert_eq!(said.stdout.contains("@@ raw messages"), repairs > 0, "{name}");
    }
}

#[test]
fn repairs_stay_on_record_where_token_columns_are_dropped() {
    let place = place_of("tokens", "rollouts/tokens.parquet");
    let before = place.rows("purified.parquet");
    let said = place.run(&["--in", "purified.parquet", "--out", "again.parquet", "--tokens", "drop"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(keeps_every_record(&place, &before, "--tokens drop"), 0);
    let said = place.run(&["audit", "raw.parquet", "again.parquet", "--tokens", "drop", "--json", "report.json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let report: Value = serde_json::from_slice(&place.bytes("report.json")).expect("JSON");
    assert_eq!((&report["rows"]["edited"], &report["repairs"]["repairs"]), (&json!(0), &json!(6)));
}

#[test]
fn repairs_stay_on_record_where_what_is_left_is_masked() {
    let place = place_of("all", "rollouts/all.parquet");
    let before = place.rows("purified.parquet");
    let said = place.run(&["--in", "purified.parquet", "--out", "again.parquet", "--mode", "mask"]);
    assert_eq!((said.code, said.count("repairs")), (0, 0), "{}", said.stderr);
    assert!(said.count("masked_attempts") > 0);
    assert_eq!(keeps_every_record(&place, &before, "--mode mask"), 0);
    // A row that was repaired and masked says both.
    let both = |record: &Value| record["mode"] == "mask" && !repairs(record).is_empty();
    assert!(records(&place.rows("again.parquet")).iter().any(both));
}

/// Pairs of values of different options, by option and place.
type Pair = ((usize, usize), (usize, usize));

const OPTIONS: &[(&str, &[&str])] = &[
    ("--mode", &["replace", "drop", "mask"]),
    ("--tokens", &["splice", "drop"]),
    ("--on-residue", &["keep", "flag", "shallow", "drop"]),
    ("--on-dependency", &["keep", "flag", "skip"]),
    ("--unrecovered", &["keep", "collapse", "drop"]),
    ("--max-retries", &["1", "3", "9"]),
    ("--repair-faults", &["all", "model"]),
];

fn pairs_of(choice: &[usize]) -> impl Iterator<Item = Pair> {
    let places = || choice.iter().copied().enumerate();
    places().flat_map(move |a| places().filter(move |b| a.0 < b.0).map(move |b| (a, b)))
}

/// Choices of a value for each option, few of them, in which every two values of two options meet.
fn all_pairs() -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for (_, values) in OPTIONS {
        all = all.into_iter().flat_map(|c| (0..values.len()).map(move |k| [&c[..], &[k]].concat())).collect();
    }
    let mut left: BTreeSet<Pair> = all.iter().flat_map(|choice| pairs_of(choice)).collect();
    let mut out = Vec::new();
    while !left.is_empty() {
        let new = |choice: &&Vec<usize>| pairs_of(choice).filter(|pair| left.contains(pair)).count();
        let best = all.iter().max_by_key(new).expect("there are choices").clone();
        pairs_of(&best).for_each(|pair| {
            left.remove(&pair);
        });
        out.push(best);
    }
    out
}

#[test]
fn whatever_two_options_meet_over_purified_data_no_record_is_lost() {
    let choices = all_pairs();
    let mut rejected = 0;
    for (name, raw) in EARLIER {
        let place = place_of(name, raw);
        let before = place.rows("purified.parquet");
        for choice in &choices {
            let options = OPTIONS.iter().zip(choice).flat_map(|((option, values), &k)| [*option, values[k]]);
            let options: Vec<&str> = options.collect();
            let what = format!("{name} {}", options.join(" "));
            let args = ["--in", "purified.parquet", "--out", "again.parquet", "--call-marker-ids", "258"];
            let said = place.run(&[&args[..], &options].concat());
            assert_eq!(said.code, 0, "{what}: {}", said.stderr);
            rejected += keeps_every_record(&place, &before, &what);
        }
    }
    assert!(rejected > 0, "some of it is refused, with its reason");
}

/// The record's column with another type: that of its fields is changed by `change`, by path.
fn retyped(batch: &RecordBatch, change: &dyn Fn(&str, &ArrayRef) -> ArrayRef) -> RecordBatch {
    fn of(path: &str, array: &ArrayRef, change: &dyn Fn(&str, &ArrayRef) -> ArrayRef) -> ArrayRef {
        if let Some(list) = array.as_list_opt::<i32>() {
            let values = of(path, list.values(), change);
            let item = Arc::new(Field::new("item", values.data_type().clone(), true));
            let list = arrow::array::ListArray::new(item, list.offsets().clone(), values, list.nulls().cloned());
            return change(path, &(Arc::new(list) as ArrayRef));
        }
        let Some(structs) = array.as_struct_opt() else { return change(path, array) };
        let fields = structs.fields().iter().zip(structs.columns());
        let columns: Vec<(String, ArrayRef)> = fields
            .map(|(field, column)| (field.name().clone(), of(&format!("{path}.{}", field.name()), column, change)))
            .collect();
        let fields: Fields =
            columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|(_, column)| column).collect();
        Arc::new(arrow::array::StructArray::new(fields, arrays, structs.nulls().cloned()))
    }
    let at = batch.schema().index_of("purification").expect("the column");
    let column = of("purification", batch.column(at), change);
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[at] = Field::new("purification", column.data_type().clone(), true);
    let mut columns = batch.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
}

#[test]
fn records_that_another_program_wrote_in_wider_types_are_kept() {
    let place = place_of("gated", "rollouts/all.parquet");
    let before = place.rows("purified.parquet");
    let wide = |_: &str, array: &ArrayRef| match array.data_type() {
        DataType::Int32 => cast(array, &DataType::Int64).expect("wider"),
        DataType::Utf8 => cast(array, &DataType::LargeUtf8).expect("wider"),
        DataType::List(item) => cast(array, &DataType::LargeList(Arc::clone(item))).expect("wider"),
        _ => Arc::clone(array),
    };
    write(&place.path("purified.parquet"), &retyped(&before, &wide), 1000);
    let said = place.run(&["--in", "purified.parquet", "--out", "again.parquet"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(keeps_every_record(&place, &before, "wider types"), 0);
}

#[test]
fn a_record_that_can_not_be_lifted_is_an_error_that_names_the_field() {
    let place = Place::new();
    let before = rows(&fixture(&earlier("all")));
    let texts = |path: &str, array: &ArrayRef| match path {
        "purification.repairs.attempts" => cast(array, &DataType::Utf8).expect("text"),
        _ => Arc::clone(array),
    };
    write(&place.path("purified.parquet"), &retyped(&before, &texts), 1000);
    let said = place.run(&["--in", "purified.parquet", "--out", "again.parquet"]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    let expected = "column `purification.repairs.attempts` has type Utf8, expected Int32";
    assert!(said.stderr.contains(expected), "{}", said.stderr);
    assert!(!place.path("again.parquet").exists());
}

#[test]
fn a_row_whose_record_makes_no_sense_is_rejected_with_the_field_and_its_value() {
    let place = Place::new();
    let before = rows(&fixture(&earlier("all")));
    let words = |path: &str, array: &ArrayRef| match path {
        "purification.repairs.granularity" => {
            Arc::new(StringArray::from_iter_values((0..array.len()).map(|_| "sideways"))) as ArrayRef
        }
        _ => Arc::clone(array),
    };
    write(&place.path("purified.parquet"), &retyped(&before, &words), 1000);
    let said = place.run(&["--in", "purified.parquet", "--out", "again.parquet"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let repaired = records(&before).iter().filter(|record| !repairs(record).is_empty()).count();
    assert_eq!(said.json()["rejects"]["bad_record"], json!(repaired));
    let reason = json_rows(&place.rows("again.rejects.parquet"))[0]["reject_reason"].to_string();
    let expected = "`purification.repairs.granularity` holds `sideways`, expected one of shallow, deep";
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn the_importance_ratio_is_written_under_its_new_name_and_read_under_both() {
    let place = place_of("gated", "rollouts/all.parquet");
    let old = json_rows(&place.rows("purified.parquet"));
    place.run(&["--in", "purified.parquet", "--out", "again.parquet"]);
    place.run(&["--in", "again.parquet", "--out", "third.parquet"]);
    for file in ["again.parquet", "third.parquet"] {
        let mut ratios = 0;
        for (new, old) in json_rows(&place.rows(file)).iter().zip(&old) {
            for (new, old) in repairs(&new["purification"]).iter().zip(repairs(&old["purification"])) {
                assert_eq!(new["log_importance_ratio"], old["log_is"]);
                assert_eq!(new["log_importance_ratio_mean"], old["log_is_mean"]);
                ratios += usize::from(new["log_importance_ratio"].is_number());
            }
        }
        assert!(ratios > 0);
    }
    assert_eq!(place.bytes("again.parquet"), place.bytes("third.parquet"));
}
