//! Small inputs of kinds that people have: what is read of each.
//!
//! Every file of fixtures/cases, and every session of fixtures/formats, has its line here.

use std::path::{Path, PathBuf};

use purify::ingest::Input;
use purify::options::{ColumnConfig, DetectConfig};
use purify::steps::{Outcome, Trajectory};
use purify::verdict::ErrorDetector;

/// What is found in a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    rows: usize,
    attempts: usize,
    failed: usize,
    open: usize,
    /// Failure runs with a success behind them.
    corrected: usize,
}

const fn found(rows: usize, attempts: usize, failed: usize, corrected: usize) -> Found {
    Found { rows, attempts, failed, open: 0, corrected }
}

const CASES: &[(&str, Found)] = &[
    ("cases/anthropic_blocks.jsonl", found(1, 2, 1, 1)),
    ("cases/arguments_object_and_double_encoded.jsonl", found(2, 4, 2, 2)),
    ("cases/flat_calls.jsonl", found(1, 2, 1, 1)),
    ("cases/langchain_messages.jsonl", found(1, 2, 1, 1)),
    ("cases/legacy_function_call.jsonl", found(1, 2, 1, 1)),
    ("cases/lines_named.json", found(2, 4, 2, 2)),
    ("cases/lone_surrogate.jsonl", found(2, 4, 2, 2)),
    ("cases/messages_as_json_string.jsonl", found(1, 2, 1, 1)),
    ("cases/messages_as_json_string.parquet", found(1, 2, 1, 1)),
    ("cases/one_of_five_parallel_calls_fails.jsonl", found(1, 2, 1, 1)),
    ("cases/openai_responses.jsonl", found(1, 1, 1, 0)),
    ("cases/python_nan.jsonl", found(1, 2, 1, 1)),
    ("cases/results_out_of_order.jsonl", found(3, 6, 1, 1)),
    ("cases/roles_tool_call_tool_response.jsonl", found(1, 2, 1, 1)),
    ("cases/tool_response_in_user_turn.jsonl", found(2, 4, 2, 2)),
    ("cases/verdicts.jsonl", found(6, 12, 2, 2)),
    ("cases/verl_nan_score.jsonl", found(2, 4, 2, 2)),
    ("cases/verl_retool_code_interpreter.jsonl", found(1, 2, 1, 1)),
    ("cases/verl_torl_fences.jsonl", found(1, 2, 1, 1)),
    ("formats/ai_sdk.jsonl", found(1, 2, 1, 1)),
    ("formats/anthropic.jsonl", found(1, 2, 1, 1)),
    ("formats/anthropic.jsonl.gz", found(1, 2, 1, 1)),
    ("formats/claude_code.jsonl", found(2, 2, 1, 1)),
    ("formats/claude_code.jsonl.gz", found(2, 2, 1, 1)),
    ("formats/codex.jsonl", found(1, 2, 1, 1)),
    ("formats/gemini.jsonl", found(1, 2, 1, 1)),
    ("formats/gemini_cli.json", found(1, 2, 1, 1)),
    ("formats/gemini_cli.jsonl", found(1, 2, 1, 1)),
    ("formats/inspect_ai.eval", found(2, 4, 2, 2)),
    ("formats/inspect_ai.json", found(2, 4, 2, 2)),
    ("formats/langchain.jsonl", found(1, 2, 1, 1)),
    ("formats/mini_swe_agent.traj.json", found(1, 2, 1, 1)),
    ("formats/mini_swe_agent_2.traj.json", found(1, 2, 1, 1)),
    ("formats/ms_swift.jsonl", found(1, 2, 1, 1)),
    ("formats/opencode.json", found(1, 2, 1, 1)),
    ("formats/opencode_events.jsonl", found(1, 2, 1, 1)),
    ("formats/openhands.jsonl", found(1, 2, 1, 1)),
    ("formats/openhands_events.json", found(1, 2, 1, 1)),
    ("formats/openinference.jsonl", found(1, 2, 1, 1)),
    ("formats/otlp.jsonl", found(1, 2, 1, 1)),
    ("formats/pi.jsonl", found(1, 2, 1, 1)),
    ("formats/responses.jsonl", found(1, 2, 1, 1)),
    ("formats/smolagents.json", found(1, 3, 1, 1)),
    ("formats/smolagents_code.json", found(1, 3, 1, 1)),
    ("formats/tau2_bench.json", found(2, 4, 2, 2)),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn read(path: &Path) -> Found {
    let (out, unreadable) = read_with_unreadable(path);
    assert!(unreadable.is_empty(), "{}: {unreadable:?}", path.display());
    out
}

/// What is found in a file, and its lines that are no row: each with the code of its reason.
fn read_with_unreadable(path: &Path) -> (Found, Vec<(u64, &'static str)>) {
    let mut input = Input::open(path, &ColumnConfig::default()).unwrap_or_else(|error| panic!("{error}"));
    let detector = ErrorDetector::new(&DetectConfig::default()).expect("defaults");
    let (mut out, mut unreadable) = (Found::default(), Vec::new());
    while let Some((batches, bad)) = input.next_decoded().expect("it can be read") {
        unreadable.extend(bad.iter().map(|row| (row.row, row.error.code())));
        for (batch, row) in batches.iter().flat_map(|batch| (0..batch.rows()).map(move |row| (batch, row))) {
            let rollout = batch.rollout(row).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let trajectory = Trajectory::new(&rollout, &detector);
            let outcomes: Vec<&Outcome> = trajectory.steps.iter().filter_map(|step| step.attempt.as_ref()).collect();
            let is_failed = |outcome: &&&Outcome| matches!(outcome, Outcome::Failed);
            out.rows += 1;
            out.attempts += outcomes.len();
            out.failed += outcomes.iter().filter(is_failed).count();
            out.open += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Open)).count();
            let pairs = outcomes.windows(2);
            out.corrected += pairs.filter(|pair| is_failed(&&pair[0]) && matches!(pair[1], Outcome::Ok)).count();
        }
    }
    (out, unreadable)
}

#[test]
fn every_case_is_read_as_it_should_be() {
    for (name, expected) in CASES {
        assert_eq!(read(&fixtures().join(name)), *expected, "{name}");
    }
}

#[test]
fn lines_that_a_call_lists_are_fine_and_an_exit_status_and_refused_arguments_are_errors() {
    let path = fixtures().join("cases/verdicts.jsonl");
    let mut input = Input::open(&path, &ColumnConfig::default()).expect("it can be read");
    let detector = ErrorDetector::new(&DetectConfig::default()).expect("defaults");
    let (batches, _) = input.next_decoded().expect("rows").expect("a chunk");
    let first_outcome = |row| {
        let rollout = batches[0].rollout(row).expect("a rollout");
        let trajectory = Trajectory::new(&rollout, &detector);
        trajectory.steps.iter().find_map(|step| step.attempt.as_ref()).map(|outcome| format!("{outcome:?}"))
    };
    let found: Vec<String> = (0..batches[0].rows()).map(|row| first_outcome(row).expect("an attempt")).collect();
    // grep_n, grep_n2, grep_none, pyd, mini, cat_exit
    assert_eq!(found, ["Ok", "Ok", "Informative", "Failed", "Failed", "Ok"]);
}

#[test]
fn every_file_of_the_folder_has_its_line() {
    for entry in std::fs::read_dir(fixtures().join("cases")).expect("the folder is there") {
        let name = format!("cases/{}", entry.expect("an entry").file_name().to_string_lossy());
        assert!(CASES.iter().any(|(known, _)| *known == name), "{name} has no line");
    }
}

#[test]
fn rows_that_were_mended_are_counted() {
    let mended = |name: &str| {
        let input =
            Input::open(&fixtures().join("cases").join(name), &ColumnConfig::default()).expect("it can be read");
        (input.notes.mended.surrogates, input.notes.mended.not_numbers)
    };
    assert_eq!(mended("lone_surrogate.jsonl"), (1, 0));
    assert_eq!((mended("python_nan.jsonl"), mended("verl_nan_score.jsonl")), ((0, 1), (0, 1)));
}

/// A file of some text in a folder of its own.
fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("it can be written");
    (folder, path)
}

fn refused(name: &str, bytes: &[u8]) -> String {
    let (_folder, path) = written(name, bytes);
    match Input::open(&path, &ColumnConfig::default()) {
        Ok(_) => panic!("{name} is read"),
        Err(error) => error.to_string().replace(&*path.to_string_lossy(), name),
    }
}

#[test]
fn file_of_no_form_is_told_which_it_comes_near_to() {
    let atif = br#"{"schema_version": "ATIF-v1.8", "agent": {"name": "a"}, "x": 1}"#;
    let expected = "`a.json` is in an unrecognised format: its rows have `schema_version`, `agent`, `x`; \
                    it looks like atif, but `steps` is missing";
    let told = refused("a.json", atif);
    assert!(told.starts_with(expected), "{told}");
    let verl = br#"{"input": "q", "output": "a"}"#;
    let told = refused("a.jsonl", verl);
    assert!(told.contains("it looks like verl, but `score` is missing"), "{told}");
}

#[test]
fn packed_files_that_are_damaged_are_refused_by_what_is_wrong() {
    let whole = std::fs::read(fixtures().join("formats/anthropic.jsonl.gz")).expect("the fixture is there");
    let told = refused("a.jsonl.gz", &whole[..whole.len() / 2]);
    assert!(told.starts_with("`a.jsonl.gz` can't be unpacked (gzip): "), "{told}");
    let told = refused("a.eval", b"PK\x03\x04 and nothing");
    assert!(told.starts_with("`a.eval` can't be unpacked (zip): "), "{told}");
    assert_eq!(refused("a.jsonl", b""), "`a.jsonl` holds no line that is a JSON object with fields: it is empty");
}

#[test]
fn bad_records_and_rows_of_a_session_are_rejects_or_passed_over_and_never_the_end() {
    let text = std::fs::read_to_string(fixtures().join("formats/claude_code.jsonl")).expect("the fixture is there");
    let (_folder, path) = written("cut.jsonl", &text.as_bytes()[..text.len() - 100]);
    let last = text.lines().count() as u64 - 1;
    let cut_off = (found(2, 2, 1, 1), vec![(last, "no_json")]);
    assert_eq!(read_with_unreadable(&path), cut_off, "the last record is cut off");
    let crlf = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let (_folder, path) = written("crlf.jsonl", crlf.as_bytes());
    assert_eq!(read(&path), found(2, 2, 1, 1));
}

#[test]
fn rollouts_are_found_within_what_is_wrapped_around_them() {
    let text = std::fs::read_to_string(fixtures().join("cases/flat_calls.jsonl")).expect("the fixture is there");
    let lines = format!("{{\"trace\": {}, \"reward\": 1.0}}\n", text.trim());
    let (_folder, path) = written("wrapped.jsonl", lines.as_bytes());
    assert_eq!(read(&path), found(1, 2, 1, 1));
    let input = Input::open(&path, &ColumnConfig::default()).expect("it can be read");
    assert_eq!(input.format_name(), "JSON lines, messages at `trace`");
    let list = format!("{{\"rollouts\": [{0}, {0}]}}", text.trim());
    let (_folder, path) = written("list.json", list.as_bytes());
    assert_eq!(read(&path), found(2, 4, 2, 2));
}
