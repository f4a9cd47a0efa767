//! `--openlineage`: what is told of a run, and when.

use serde_json::{Value, json};

use crate::harness::Place;

fn events(place: &Place) -> Vec<Value> {
    let text = String::from_utf8(place.bytes("events.jsonl")).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["eventType"].as_str().expect("a kind")).collect()
}

fn named<'e>(event: &'e Value, side: &str, end: &str) -> &'e Value {
    let all = event[side].as_array().expect("a list");
    all.iter().find(|data| data["name"].as_str().expect("a name").ends_with(end)).expect("it is named")
}

#[test]
fn run_is_told_at_its_start_and_its_end_with_rows_and_columns() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = place.run(&["--in", "raw.parquet", "--openlineage", "events.jsonl", "--job-name", "nightly"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let events = events(&place);
    assert_eq!(kinds(&events), ["START", "COMPLETE"]);
    assert_eq!(events[0]["run"]["runId"], events[1]["run"]["runId"]);
    assert!(events.iter().all(|event| event["job"]["name"] == "nightly"));
    assert!(events[0]["inputs"][0]["name"].as_str().expect("a name").ends_with("/raw.parquet"));
    let end = &events[1];
    let (raw, purified) = (named(end, "inputs", "/raw.parquet"), named(end, "outputs", "/raw.purified.parquet"));
    assert_eq!(raw["inputFacets"]["inputStatistics"]["rowCount"], done.count("rows_in"));
    assert_eq!(purified["outputFacets"]["outputStatistics"]["rowCount"], done.count("rows_out"));
    assert_eq!(end["run"]["facets"]["purify_counts"]["repairs"], done.count("repairs"));
    let bytes = blake3::hash(&place.bytes("raw.purified.parquet")).to_hex().to_string();
    assert_eq!(purified["facets"]["version"]["datasetVersion"], format!("blake3:{bytes}"));
    let from = |column: &str| {
        let of = &purified["facets"]["columnLineage"]["fields"][column]["inputFields"][0];
        (of["field"].clone(), of["transformations"][0]["subtype"].clone())
    };
    assert_eq!(from("rollout_id"), (json!("rollout_id"), json!("IDENTITY")));
    assert_eq!(from("messages"), (json!("messages"), json!("TRANSFORMATION")));
    assert_eq!(from("purification"), (json!("messages"), json!("CONDITIONAL")));
    let schema = purified["facets"]["schema"]["fields"].as_array().expect("columns");
    assert!(schema.iter().any(|field| field["name"] == "purification"));
}

#[test]
fn columns_of_other_forms_are_not_said_to_come_from_columns() {
    let place = Place::new();
    place.with("formats/nemo_gym.jsonl", "raw.jsonl");
    let done = place.run(&["--in", "raw.jsonl", "--tokens", "drop", "--openlineage", "events.jsonl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let events = events(&place);
    let purified = named(&events[1], "outputs", "/raw.purified.parquet");
    assert!(purified["facets"]["schema"].is_object() && purified["facets"]["columnLineage"].is_null());
}

#[test]
fn run_that_fails_is_told_with_its_message() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = place.run(&["--in", "raw.parquet", "--out", "raw.parquet", "--openlineage", "events.jsonl"]);
    assert_eq!(done.code, 4, "{}", done.stderr);
    let events = events(&place);
    assert_eq!(kinds(&events), ["START", "FAIL"]);
    let message = &events[1]["run"]["facets"]["errorMessage"]["message"];
    assert_eq!(*message, "`raw.parquet` is the input itself");
}

#[test]
fn audit_is_told_with_its_numbers_and_a_dry_run_is_not() {
    let place = Place::new();
    place.with("audit/raw.parquet", "raw.parquet");
    std::fs::write(place.path("purify.toml"), "call-marker-ids = [7]\n").expect("written");
    place.run(&["--in", "raw.parquet", "--dry-run", "--openlineage", "events.jsonl"]);
    assert!(!place.path("events.jsonl").exists());
    let args = ["audit", "raw.parquet", "--json", "a.json", "--html", "a.html", "--openlineage", "events.jsonl"];
    let done = place.run(&args);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let events = events(&place);
    assert_eq!(kinds(&events), ["START", "COMPLETE"]);
    let report: Value = serde_json::from_slice(&place.bytes("a.json")).expect("JSON");
    assert_eq!(events[1]["run"]["facets"]["purify_counts"]["before"]["failed"], report["before"]["failed"]);
    assert_eq!(events[1]["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"], report["rows"]["raw"]);
    named(&events[1], "outputs", "/a.json");
    named(&events[1], "outputs", "/a.html");
}

#[test]
fn file_of_events_that_cannot_be_written_ends_the_run_before_it_begins() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = place.run(&["--in", "raw.parquet", "--openlineage", "no/such/folder/events.jsonl"]);
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(done.stderr.contains("lineage events can't be sent to `no/such/folder/events.jsonl`"), "{}", done.stderr);
    assert!(!place.path("raw.purified.parquet").exists());
}

/// Nobody listens at port 9 of this machine.
#[cfg(feature = "http")]
#[test]
fn receiver_that_is_away_is_a_warning() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let done = place.run(&["--in", "raw.parquet", "--openlineage", "http://127.0.0.1:9"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("warning: lineage events can't be sent to `http://127.0.0.1:9"), "{}", done.stderr);
    assert!(place.path("raw.purified.parquet").exists());
}

#[test]
fn events_are_never_written_into_data() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let raw = place.bytes("raw.parquet");
    for args in [&["--in", "raw.parquet"][..], &["audit", "raw.parquet"]] {
        let done = place.run(&[args, &["--openlineage", "raw.parquet"]].concat());
        assert_eq!(done.code, 4, "{}", done.stderr);
        assert!(done.stderr.contains("it exists and does not hold OpenLineage events"), "{}", done.stderr);
        assert_eq!(place.bytes("raw.parquet"), raw);
    }
}
