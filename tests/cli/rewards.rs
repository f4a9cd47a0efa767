//! Groups and what they earned: whatever the rewards are and wherever the rollouts of a group stand, a row's advantage is that of the
//! whole input, or it is said why there is none (docs/method.md, "Where to repair").

use std::io::Write;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use serde_json::{Value, json};

use crate::corrections::{looked, retried, rollouts};
use crate::harness::{Place, json_rows, rows, write};

/// Lines of rollouts that were retried, each with its rest: `"reward": ...` as it is written.
fn lines(place: &Place, name: &str, rests: &[(&str, &str)]) {
    let messages = [vec![json!({"role": "user", "content": "How many?"})], retried()].concat();
    let mut file = std::fs::File::create(place.path(name)).expect("a file");
    for (k, (group, rest)) in rests.iter().enumerate() {
        let row = json!({"rollout_id": format!("{name}{k}"), "group_id": group, "messages": messages}).to_string();
        let row = row.strip_suffix('}').expect("an object").to_owned();
        writeln!(file, "{row}{rest}}}").expect("written");
    }
}

fn advantages(place: &Place, name: &str) -> Vec<Option<f64>> {
    match place.rows(name).column_by_name("advantage") {
        Some(column) => column.as_primitive::<Float64Type>().iter().collect(),
        None => Vec::new(),
    }
}

const DEFAULT: [&str; 4] = ["--out", "p.parquet", "--in", "raw.jsonl"];

#[test]
fn rewards_that_are_words_are_said_to_be_unread_and_all_rollouts_are_repaired() {
    let place = Place::new();
    lines(&place, "raw.jsonl", &[("g", r#", "reward": "good""#), ("g", r#", "reward": "bad""#)]);
    let done = place.run_by_default(&DEFAULT);
    assert_eq!((done.code, done.count("rows_out"), done.count("repairs")), (0, 2, 2), "{}", done.stdout);
    let expected = "warning: there are groups, and the column of rewards holds no numbers; advantages are unknown and --repair-where \
                    positive repairs all rollouts; --reward-column names a column of numbers\n";
    assert!(done.stderr.contains(expected), "{}", done.stderr);
    assert_eq!(done.json()["warnings"], json!(["unread_rewards"]));
    let written: Vec<Value> = json_rows(&place.rows("p.parquet")).iter().map(|row| row["reward"].clone()).collect();
    assert_eq!(written, [json!("good"), json!("bad")], "they are data all the same");
    assert!(advantages(&place, "p.parquet").is_empty());
    assert_eq!(place.run_by_default(&[&DEFAULT[..], &["--strict"]].concat()).code, 1);
    // Nothing asks for them.
    let all = ["--repair-where", "all", "--advantage-column", "false"];
    let done = place.run_by_default(&[&DEFAULT[..], &all].concat());
    assert_eq!((done.code, &done.json()["warnings"]), (0, &json!([])), "{}", done.stderr);
}

#[test]
fn a_column_of_words_that_is_named_as_the_reward_is_an_error() {
    let place = Place::new();
    lines(&place, "raw.jsonl", &[("g", r#", "outcome": "good""#)]);
    let done = place.run_by_default(&[&DEFAULT[..], &["--reward-column", "outcome"]].concat());
    assert_eq!(done.code, 3, "{}", done.stderr);
    let expected = "column `outcome` has type Utf8, expected numbers, since --reward-column names it";
    assert!(done.stderr.contains(expected), "{}", done.stderr);
    assert!(!place.path("p.parquet").exists());
}

#[test]
fn rewards_that_are_absent_in_part_are_counted_and_the_baseline_is_that_of_the_others() {
    let place = Place::new();
    let given = [r#", "reward": 1.0"#, r#", "reward": NaN"#, r#", "reward": null"#, "", r#", "reward": 0.0"#];
    lines(&place, "raw.jsonl", &given.map(|rest| ("g", rest)));
    let done = place.run_by_default(&DEFAULT);
    assert_eq!((done.code, done.count("rows_out"), done.count("repairs")), (0, 5, 4), "{}", done.stdout);
    assert_eq!(done.json()["left"], json!({"negative_advantage": 1}));
    let expected = "warning: 3 of 5 rows with a group have no reward that is a finite number; they have no advantage and are repaired \
                    whatever they earned, and the baseline of their group is that of the others\n";
    assert!(done.stderr.contains(expected), "{}", done.stderr);
    assert_eq!(done.json()["warnings"], json!(["missing_rewards"]));
    let told = json!({"rows": 5, "ungrouped": 0, "unrewarded": 3, "groups": 1, "single": 0, "equal": 0, "told": 2});
    assert_eq!(done.json()["groups"], told);
    let half = 0.5 / (0.5f64.sqrt() + 1e-6);
    assert_eq!(advantages(&place, "p.parquet"), [Some(half), None, None, None, Some(-half)]);
}

#[test]
fn words_among_numbers_lose_no_row() {
    let place = Place::new();
    let given = [r#", "reward": 1.0"#, r#", "reward": "bad""#, r#", "reward": 0.0"#];
    lines(&place, "raw.jsonl", &given.map(|rest| ("g", rest)));
    let done = place.run_by_default(&DEFAULT);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!((done.count("rows_out"), done.count("rows_rejected")), (2, 1), "{}", done.stdout);
    let rejects = json_rows(&place.rows("p.rejects.parquet"));
    let reason = rejects[0]["reject_reason"].as_str().unwrap_or_default();
    assert!(reason.contains("row 1 of `raw.jsonl`") && reason.contains("reward"), "{reason}");
    assert_eq!(rejects[0]["raw_line"].as_str().map(|line| line.contains("\"bad\"")), Some(true), "{rejects:?}");
}

#[test]
fn advantages_that_nothing_tells_are_said_to_be_unknown() {
    let place = Place::new();
    let said = |name: &str, rests: &[(&str, &str)]| {
        lines(&place, name, rests);
        let done = place.run_by_default(&["--in", name, "--dry-run"]);
        assert_eq!((done.code, done.count("repairs")), (0, rests.len() as u64), "{}", done.stderr);
        assert_eq!(done.json()["groups"]["told"], json!(0));
        done.stderr.lines().find(|line| line.contains("advantages known")).unwrap_or_default().trim().to_owned()
    };
    let none = "advantages known             0  there are no groups with rewards: all rollouts are alike";
    assert_eq!(said("none.jsonl", &[("", ""), ("", "")]), none);
    let one = r#", "reward": 1.0"#;
    let spread = "advantages known             0  of 3 groups 0 tell, 1 have equal rewards, 2 are a single rollout \
                  (groups that are spread over files need all of them at once)";
    assert_eq!(said("spread.jsonl", &[("a", one), ("b", one), ("c", one), ("c", one)]), spread);
}

#[test]
fn shards_of_groups_that_are_spread_over_files_and_row_groups_are_the_whole() {
    let place = Place::new();
    // Each group has a rollout in each file, and the files don't tell alone what it earned.
    let row = |group: &'static str, reward: f64, steps: fn() -> Vec<Value>| (group, Some(reward), steps());
    let first = [row("a", 1.0, retried), row("b", 0.0, retried), row("c", 0.5, looked), row("d", 0.0, retried)];
    let second = [row("b", 1.0, retried), row("c", 0.5, retried), row("a", 0.0, retried), row("d", -1.0, looked)];
    let third = [row("d", 3.0, retried), row("a", 0.25, retried), row("e", 1.0, retried), row("b", 0.5, looked)];
    for (name, rows) in [("x.jsonl", &first), ("y.jsonl", &second), ("z.jsonl", &third)] {
        rollouts(&place, name, rows);
        // Names that are the files' own.
        let text = String::from_utf8(place.bytes(name)).expect("text");
        std::fs::write(place.path(name), text.replace("\"rollout_id\":\"r", &format!("\"rollout_id\":\"{name}_r")))
            .expect("written");
    }
    // Row groups of one row each.
    let parquet = |name: &str| {
        let read = place.run_by_default(&["--in", name, "--out", "read.parquet", "--repair-probability", "0"]);
        assert_eq!(read.code, 0, "{}", read.stderr);
        let batch = rows(&place.path("read.parquet"));
        let kept = ["purification", "advantage"].map(str::to_owned);
        let own: Vec<usize> =
            (0..batch.num_columns()).filter(|&k| !kept.contains(batch.schema_ref().field(k).name())).collect();
        write(&place.path("y.parquet"), &batch.project(&own).expect("columns"), 1);
    };
    parquet("y.jsonl");
    let inputs = ["--in", "x.jsonl", "y.parquet", "z.jsonl"];
    let written = |folder: &str| -> Vec<String> {
        let files = place.files().into_iter().filter(|f| f.starts_with(&format!("{folder}/data/")));
        let mut out: Vec<String> =
            files.flat_map(|file| json_rows(&place.rows(&file))).map(|row| row.to_string()).collect();
        out.sort();
        out
    };
    let whole = place.run_by_default(&[&inputs[..], &["--out", "whole/"]].concat());
    assert_eq!((whole.code, whole.count("repairs")), (0, 5), "{}{}", whole.stdout, whole.stderr);
    let mut repairs = 0;
    for k in 1..=3 {
        let shard = format!("{k}/3");
        let done = place.run_by_default(&[&inputs[..], &["--out", "parts/", "--shard", &shard]].concat());
        assert_eq!((done.code, &done.json()["groups"]), (0, &whole.json()["groups"]), "{}", done.stderr);
        repairs += done.count("repairs");
    }
    assert_eq!((repairs, written("parts")), (5, written("whole")));
}
