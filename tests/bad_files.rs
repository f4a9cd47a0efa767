//! Every file of fixtures/bad, with the exact message that it gets.
//!
//! A file that can't be read at all is exit 3 and stderr; a row that can't be read is a reject with its reason. A
//! file that is added to the folder without a case here fails the first test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use arrow::array::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const TYPES_HINT: &str = "the README lists the types that columns may have";
const AGAIN_HINT: &str = "copy or write the file again";
const LINES_HINT: &str = "give JSON lines the ending .jsonl or .ndjson";
const CUT_HINT: &str = "the file was not written to its end; copy or write it again";
const FORM_HINT: &str = "--format names another format; the README says what is read of each";
/// What is said of a file that nothing knows: the names of the registry.
static FORMATS_HINT: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<&str> = purify::ingest::formats::FORMS.iter().map(|form| form.name).collect();
    let names = names.join(", ");
    format!("known formats are {names}: --format names one, --messages-column names a column of messages")
});
const ROLES: &str = "expected system, developer, user, assistant, tool or function";

enum Want {
    /// The whole message, and the hint.
    Refused(&'static str, &'static str),
    /// Rows written, and the reason of each reject.
    Rejected(usize, Vec<String>),
}

use Want::{Refused, Rejected};

fn known_files() -> Vec<(&'static str, &'static [&'static str], Want)> {
    let marker: &[&str] = &["--call-marker-ids", "1"];
    let one = |reason: &str| vec![reason.to_owned()];
    vec![
        ("atif_cut_off.json", &[], Refused("`atif_cut_off.json` is not a JSON document: EOF while parsing a value at line 9 column 16", CUT_HINT)),
        ("atif_large_number.json", &[], Refused("`atif_large_number.json` holds the whole number -9223372036854775809, which 64 bits can't hold", "write it as text")),
        ("atif_no_version.json", &[], Refused("`atif_no_version.json` holds no row of the format `atif`: row 0: `schema_version` is nothing, expected `ATIF-v1.0` or a later minor version, which only adds fields", FORM_HINT)),
        ("atif_odd_version.json", &[], Refused("`atif_odd_version.json` holds no row of the format `atif`: row 0: `schema_version` is `1.8`, expected `ATIF-v1.0` or a later minor version, which only adds fields", FORM_HINT)),
        ("atif_types.json", &[], Refused("`atif_types.json` holds no row of the format `atif`: row 0: step 0: `observation` is text, expected an object", FORM_HINT)),
        ("atif_version.json", &[], Refused("`atif_version.json` holds no row of the format `atif`: row 0: `schema_version` is `ATIF-v2.0`, expected `ATIF-v1.0` or a later minor version, which only adds fields", FORM_HINT)),
        ("broken_footer.parquet", &[], Refused("`broken_footer.parquet` has a broken footer\ncaused by: Parquet error: Received empty union from remote ColumnOrder", AGAIN_HINT)),
        ("broken_page.parquet", &[], Refused("`broken_page.parquet` can't be read after row 0\ncaused by: Parquet argument error: Parquet error: Required field type_ is missing", "the file is damaged there; copy or write it again")),
        ("chat_text_cut_off.jsonl", &[], Rejected(1, one("no_json: row 1 of `chat_text_cut_off.jsonl`: line 2 is not a JSON object: EOF while parsing a string at column 21"))),
        ("chat_text_types.jsonl", &[], Rejected(1, one("wrong_format: row 1 of `chat_text_types.jsonl`: line 2 is not a row of the format `chat-text`: `text` is a list, expected text"))),
        ("cut_off.parquet", &[], Refused("`cut_off.parquet` is truncated: a Parquet file ends with `PAR1`, but its 3267 bytes end differently", "the file was not written to its end; copy or write it again")),
        ("deep_arguments.parquet", &[], Rejected(1, vec![])),
        ("deep_json.jsonl", &[], Rejected(1, one("no_json: row 1 of `deep_json.jsonl`: line 2 is not a JSON object: recursion limit exceeded at column 657"))),
        ("empty_file.parquet", &[], Refused("`empty_file.parquet` is not a Parquet file: it starts with nothing (it is empty), expected `PAR1`", LINES_HINT)),
        ("huge_number.jsonl", &[], Rejected(1, one("no_json: row 1 of `huge_number.jsonl`: line 2 is not a JSON object: number out of range at column 32"))),
        ("invalid_utf8.jsonl", &[], Rejected(1, one("no_utf8: row 1 of `invalid_utf8.jsonl`: line 2 is not valid UTF-8: byte 43 of it can't be read"))),
        ("large_number.jsonl", &[], Rejected(1, one("no_fit: row 1 of `large_number.jsonl`: line 2 does not fit the columns of the file: it holds the whole number 18446744073709551616, which 64 bits can't hold; write it as text"))),
        ("mask_missing.parquet", &[], Refused("`mask_missing.parquet`: column `response_ids` has no `response_mask` beside it, which says what the policy wrote", "--tokens drop writes the data without tokens")),
        ("mask_of_another_length.parquet", marker, Rejected(1, one("mask_length: row 1 of `mask_of_another_length.parquet`: column `response_mask` has 1 entries, expected 2, one for each of `response_ids`"))),
        ("messages_are_text.parquet", &[], Refused("`messages_are_text.parquet`: column `messages` has type Utf8, expected list<struct<role, content, …>>", TYPES_HINT)),
        ("more_runs_than_messages.parquet", marker, Rejected(0, one("tokens_do_not_fit_messages: row 0 of `more_runs_than_messages.parquet`: `response_mask` has 5 runs of policy tokens, expected at most one for each of the 3 assistant messages"))),
        ("nemo_gym_cut_off.jsonl", &[], Rejected(1, one("no_json: row 1 of `nemo_gym_cut_off.jsonl`: line 2 is not a JSON object: EOF while parsing a string at column 49"))),
        ("nemo_gym_types.jsonl", &[], Rejected(1, one("wrong_format: row 1 of `nemo_gym_types.jsonl`: line 2 is not a row of the format `nemo-gym`: item 0 of `response.output`: `name` is nothing, expected text"))),
        ("no_json.jsonl", &[], Rejected(2, vec![
            "no_json: row 1 of `no_json.jsonl`: line 2 is not a JSON object: EOF while parsing a list at column 14".to_owned(),
            "no_json: row 2 of `no_json.jsonl`: line 3 is not a JSON object: it is another kind of value".to_owned(),
        ])),
        ("no_message_column.parquet", &[], Refused("`no_message_column.parquet`: no column of messages: expected one of `messages`, `conversations`, `conversation` or `chat`, found `prompt`, `answer`", "name the column with --messages-column; `purify inspect FILE` shows what is there")),
        ("no_objects.jsonl", &[], Refused("`no_objects.jsonl` holds no line that is a JSON object with fields: line 1 is none: expected value at column 1", "each line must be one rollout, such as {\"messages\": [...]}; a document that lists them ends in .json")),
        ("not_parquet.parquet", &[], Refused("`not_parquet.parquet` is not a Parquet file: it starts with `roll`, expected `PAR1`", LINES_HINT)),
        ("null_messages.parquet", &[], Rejected(1, one("null_messages: row 1 of `null_messages.parquet`: column `messages` is null, expected a list of messages"))),
        ("null_role.parquet", &[], Rejected(1, vec![format!("null_role: row 1 of `null_role.parquet`: message 0 of column `messages` has no role, {ROLES}")])),
        ("prompt_completion_cut_off.jsonl", &[], Rejected(1, one("no_json: row 1 of `prompt_completion_cut_off.jsonl`: line 2 is not a JSON object: EOF while parsing a string at column 17"))),
        ("prompt_completion_types.jsonl", &[], Rejected(1, one("wrong_format: row 1 of `prompt_completion_types.jsonl`: line 2 is not a row of the format `prompt-completion`: `completion` is an object, expected messages or text"))),
        ("sharegpt_cut_off.jsonl", &[], Rejected(1, one("no_json: row 1 of `sharegpt_cut_off.jsonl`: line 2 is not a JSON object: EOF while parsing a string at column 41"))),
        ("sharegpt_types.jsonl", &[], Rejected(1, one("wrong_format: row 1 of `sharegpt_types.jsonl`: line 2 is not a row of the format `sharegpt`: turn 1 of `conversations`: `value` is an object, expected text"))),
        ("swe_agent_cut_off.traj", &[], Refused("`swe_agent_cut_off.traj` is not a JSON document: EOF while parsing a value at line 6 column 3", CUT_HINT)),
        ("swe_agent_types.traj", &[], Refused("`swe_agent_types.traj` holds no row of the format `swe-agent`: row 0: step 0: `response` is null, expected text", FORM_HINT)),
        ("traces_cut_off.jsonl", &[], Rejected(1, one("no_json: row 1 of `traces_cut_off.jsonl`: line 2 is not a JSON object: EOF while parsing a string at column 79"))),
        ("traces_types.jsonl", &[], Rejected(1, one("wrong_format: row 1 of `traces_types.jsonl`: line 2 is not a row of the format `traces`: trace 0: node 0: `mask` has 1 entries, expected 2, one for each of `token_ids`"))),
        ("traces_version.jsonl", &[], Refused("`traces_version.jsonl` holds no row of the format `traces`: row 0: trace 0: its version is 2, expected 1", FORM_HINT)),
        ("unknown_form.json", &[], Refused("`unknown_form.json` is in an unrecognised format: its rows have `question`, `answer`; nothing of what any format needs is there", FORMATS_HINT.as_str())),
        ("unknown_form.jsonl", &[], Refused("`unknown_form.jsonl` is in an unrecognised format: its rows have `question`, `answer`; nothing of what any format needs is there", FORMATS_HINT.as_str())),
        ("unknown_role.parquet", &[], Rejected(1, vec![format!("unknown_role: row 1 of `unknown_role.parquet`: message 0 of column `messages` has role `critic\\u{{1b}}[31m`, {ROLES}")])),
        ("verl_cut_off.jsonl", &[], Rejected(1, one("no_json: row 1 of `verl_cut_off.jsonl`: line 2 is not a JSON object: EOF while parsing a string at column 31"))),
        ("verl_types.jsonl", &[], Rejected(1, one("wrong_format: row 1 of `verl_types.jsonl`: line 2 is not a row of the format `verl`: `output` is a list, expected text"))),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bad")
}

#[test]
fn every_bad_file_has_a_case() {
    let mut there: Vec<String> = std::fs::read_dir(folder())
        .expect("fixtures/bad")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    let known: Vec<String> = known_files().iter().map(|case| case.0.to_owned()).collect();
    assert_eq!(there, known);
}

#[test]
fn every_bad_file_gets_its_exact_message() {
    for (name, args, want) in known_files() {
        let place = tempfile::tempdir().expect("a temporary folder");
        std::fs::copy(folder().join(name), place.path().join(name)).expect("the file is there");
        let output = Command::new(assert_cmd::cargo::cargo_bin!("purify"))
            .current_dir(place.path())
            .args(["-q", "--in", name, "--out", "out.parquet"])
            .args(args)
            .env("NO_COLOR", "1")
            .output()
            .expect("the program runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        match want {
            Refused(message, hint) => {
                assert_eq!(output.status.code(), Some(3), "{name}: {stderr}");
                assert_eq!(stderr, format!("error: {message}\n\nhint: {hint}\n"), "{name}");
                let left = std::fs::read_dir(place.path()).expect("the folder").count();
                assert_eq!(left, 1, "{name}: something was left half-written");
            }
            Rejected(rows, reasons) => {
                // Of which nothing is kept, that is said.
                let code = if rows == 0 { 3 } else { 0 };
                assert_eq!(output.status.code(), Some(code), "{name}: {stderr}");
                assert_eq!(count(&place.path().join("out.parquet")), rows, "{name}");
                assert_eq!(reject_reasons(&place.path().join("out.rejects.parquet")), reasons, "{name}");
            }
        }
    }
}

fn count(path: &Path) -> usize {
    let file = std::fs::File::open(path).expect("an output");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
    reader.map(|batch| batch.expect("a batch").num_rows()).sum()
}

fn reject_reasons(path: &Path) -> Vec<String> {
    let Ok(file) = std::fs::File::open(path) else { return Vec::new() };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
    reader
        .flat_map(|batch| {
            let batch = batch.expect("a batch");
            let reasons = batch.column_by_name("reject_reason").expect("a reason").as_string::<i32>();
            reasons.iter().map(|r| r.expect("never null").to_owned()).collect::<Vec<_>>()
        })
        .collect()
}
