//! Never in silence: what a run has read and could do nothing with, it says (docs/reliability.md, "Never in silence").

use serde_json::{Value, json};

use crate::harness::{Place, Said};

fn user() -> Value {
    json!({"role": "user", "content": "How many primes are there?"})
}

fn said(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

fn call(arguments: &str) -> Value {
    let call = json!({"id": "c", "type": "function", "function": {"name": "count", "arguments": arguments}});
    json!({"role": "assistant", "content": "I count.", "tool_calls": [call]})
}

fn labelled(content: &str, is_error: bool) -> Value {
    json!({"role": "tool", "tool_call_id": "c", "content": content, "is_error": is_error})
}

fn answered() -> Vec<Value> {
    vec![user(), call("{}"), json!({"role": "tool", "tool_call_id": "c", "content": "168"}), said("168.")]
}

/// A file of one line for each rollout; of `Err`, the line is what it says.
fn lines(place: &Place, rows: &[Result<Vec<Value>, &str>]) {
    let line = |row: &Result<Vec<Value>, &str>| match row {
        Ok(messages) => json!({ "messages": messages }).to_string(),
        Err(text) => (*text).to_owned(),
    };
    let text: String = rows.iter().map(|row| line(row) + "\n").collect();
    std::fs::write(place.path("raw.jsonl"), text).expect("written");
}

fn names(done: &Said) -> Vec<String> {
    serde_json::from_value(done.json()["warnings"].clone()).unwrap_or_else(|e| panic!("{e}: {}", done.stdout))
}

/// The rows give rise to one warning alone: on stderr, in the counters and the manifest, before the run in `inspect`; and
/// with `--strict` it is exit 1.
fn warns(rows: &[Result<Vec<Value>, &str>], name: &str, told: &str, mends: &str) -> Place {
    let place = Place::new();
    lines(&place, rows);
    let done = place.run(&["-q", "--in", "raw.jsonl", "--out", "p.parquet"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.starts_with(&format!("warning: {told}; ")), "{}", done.stderr);
    assert!(done.stderr.contains(mends), "{}", done.stderr);
    assert_eq!(names(&done), [name]);
    let manifest = place.files().into_iter().find(|file| file.ends_with("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&place.bytes(&manifest)).expect("JSON");
    assert_eq!(manifest["warnings"], json!([name]), "{manifest:#}");
    let strict = place.run(&["-q", "--in", "raw.jsonl", "--out", "strict.parquet", "--strict"]);
    assert_eq!(strict.code, 1, "{}", strict.stderr);
    assert_eq!(
        place.rows("strict.parquet").num_rows(),
        place.rows("p.parquet").num_rows(),
        "a gate keeps what it stops"
    );
    let inspected = place.run(&["inspect", "raw.jsonl"]);
    assert_eq!(inspected.code, 0, "{}", inspected.stderr);
    assert!(inspected.stderr.contains(&format!("warning: `raw.jsonl`: {told}; ")), "{}", inspected.stderr);
    assert_eq!(place.run(&["inspect", "raw.jsonl", "--strict"]).code, 1);
    place
}

#[test]
fn calls_that_nothing_reads_are_warned_of() {
    let unread = [
        said("Let me see. <invoke name=\"count\"><parameter name=\"n\">7</parameter></invoke>"),
        json!({"role": "tool", "content": "168"}),
    ];
    for unread in unread {
        warns(
            &[Ok(vec![user(), said("No call here.")]), Ok(vec![user(), unread.clone(), said("168.")])],
            "unread_calls",
            "1 of 2 rows look as if they held calls, and no attempt was found in them",
            "--format names",
        );
    }
}

#[test]
fn calls_of_which_none_has_a_result_are_warned_of() {
    let rows = [Ok(vec![user(), call("{}"), said("168.")]), Ok(vec![user(), call("{\"n\": 1}")])];
    warns(&rows, "no_results", "none of the 2 attempts has a result", "`tool_call_id`");
    let place = Place::new();
    lines(&place, &[rows[0].clone(), Ok(answered())]);
    assert!(names(&place.run(&["--in", "raw.jsonl", "--out", "p.parquet"])).is_empty(), "one result is enough");
}

#[test]
fn most_rows_rejected_is_warned_of() {
    let bad = || Err("{\"messages\": [{\"role\": ");
    let place = warns(
        &[Ok(answered()), bad(), bad()],
        "most_rejected",
        "2 of 3 rows were rejected",
        "`reject_reason` of the rejects says why",
    );
    lines(&place, &[Ok(answered()), bad()]);
    let half = place.run(&["--in", "raw.jsonl", "--out", "half.parquet"]);
    assert!(names(&half).is_empty(), "half of them is no warning: {}", half.stderr);
    // A rejected row is enough for `--strict`, warning or not.
    assert_eq!(place.run(&["--in", "raw.jsonl", "--out", "x.parquet", "--strict"]).code, 1);
}

#[test]
fn labels_that_disagree_with_the_detector_are_warned_of() {
    let labelled = |content: &str, is_error| Ok(vec![user(), call("{}"), labelled(content, is_error), said("168.")]);
    let place = warns(
        &[labelled("168", true), labelled("168", false)],
        "labels_disagree",
        "the data's labels and the detector disagree on 1 of 2 results (50.0%)",
        "--disagreements 10",
    );
    // Of a result without text, nobody can say otherwise.
    lines(&place, &[labelled("", true), labelled("168", false)]);
    let empty = place.run(&["--in", "raw.jsonl", "--out", "empty.parquet", "--strict"]);
    assert_eq!((empty.code, names(&empty)), (0, vec![]), "{}", empty.stderr);
}

#[test]
fn nothing_kept_is_exit_3_whatever_was_asked_for() {
    for args in [
        &["--in", "raw.jsonl", "--out", "p.parquet"][..],
        &["--in", "raw.jsonl", "--dry-run"],
        &["inspect", "raw.jsonl"],
    ] {
        let place = Place::new();
        lines(&place, &[Ok(vec![json!({"role": "critic", "content": "x"})]), Err("{")]);
        let done = place.run(args);
        assert_eq!(done.code, 3, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains("error: nothing is kept: "), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains("`purify inspect FILE` shows how its rows are read"), "{}", done.stderr);
        std::fs::write(place.path("raw.jsonl"), "").expect("written");
        let empty = place.run(args);
        assert_eq!(empty.code, 3, "{args:?}: {}", empty.stderr);
        assert!(empty.stderr.contains("`raw.jsonl`"), "which file it is: {}", empty.stderr);
    }
}

#[test]
fn a_file_of_no_known_form_is_told_what_it_is_nearest_to_and_what_was_tried() {
    let place = Place::new();
    let near = json!({"schema_version": "ATIF-v1.0", "agent": {"name": "a"}, "session_id": "s"});
    std::fs::write(place.path("near.json"), near.to_string()).expect("written");
    let done = place.run(&["--in", "near.json", "--out", "p.parquet"]);
    assert_eq!(done.code, 3);
    let told = "error: `near.json` is in an unrecognised format: its rows have `schema_version`, `agent`, `session_id`; it looks like atif, but `steps` is missing";
    assert!(done.stderr.starts_with(told), "{}", done.stderr);
    let names: Vec<&str> = purify::ingest::formats::FORMS.iter().map(|form| form.name).collect();
    assert!(done.stderr.contains(&names.join(", ")), "all that were tried: {}", done.stderr);
    assert_eq!(place.files(), ["near.json"]);
}
