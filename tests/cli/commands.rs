//! All commands but the main job.

use crate::harness::{Place, json_rows};

#[test]
fn revert_gives_the_raw_rows_back() {
    let place = Place::new();
    for (fixture, args) in
        [("all", vec![]), ("tokens", vec!["--call-marker-ids", "258"]), ("all", vec!["--mode", "mask"])]
    {
        place.with(&format!("rollouts/{fixture}.parquet"), "raw.parquet");
        place.run(&[vec!["--in", "raw.parquet"], args].concat());
        let said = place.run(&["revert", "raw.purified.parquet", "--raw", "raw.parquet", "--out", "back.parquet"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(place.rows("back.parquet"), place.rows("raw.parquet"));
        assert!(said.json()["restored"].as_u64() > Some(0));
    }
}

#[test]
fn revert_refuses_files_that_do_not_belong_together() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    place.with("rollouts/two_runs.parquet", "other.parquet");
    place.run(&["--in", "raw.parquet"]);
    let other = place.run(&["revert", "raw.purified.parquet", "--raw", "other.parquet"]);
    assert_eq!(other.code, 3);
    assert!(other.stderr.contains("row 0 of the purified file is not in it"), "{}", other.stderr);
    let plain = place.run(&["revert", "raw.parquet", "--raw", "raw.parquet", "--out", "x.parquet"]);
    assert_eq!(plain.code, 3);
    assert!(plain.stderr.contains("it has no column `purification`"), "{}", plain.stderr);
    assert!(!place.path("raw.purified.reverted.parquet").exists() && !place.path("x.parquet").exists());
}

#[test]
fn parquet_is_not_written_under_another_ending() {
    let place = Place::new();
    place.with("rollouts/one_failure_shallow.jsonl", "raw.jsonl");
    assert_eq!(place.run(&["--in", "raw.jsonl", "--out", "p.pq"]).code, 0);
    let files = place.files();
    for out in ["back.jsonl", "back.txt"] {
        for args in [["revert", "p.pq", "--raw", "raw.jsonl"].as_slice(), &["--in", "raw.jsonl"]] {
            let refused = place.run(&[args, &["--out", out]].concat());
            assert_eq!(refused.code, 2, "{}", refused.stderr);
            let expected = format!("error: --out `{out}` does not end in .parquet, and Parquet is what is written\n");
            assert!(refused.stderr.starts_with(&expected), "{}", refused.stderr);
        }
    }
    assert_eq!(place.files(), files);
}

#[test]
fn diff_shows_the_repaired_step_before_and_after_and_escapes_it() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    place.run(&["--in", "raw.parquet"]);
    let said = place.run(&["diff", "raw.parquet", "raw.purified.parquet", "--rollout", "one_failure_shallow"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(
        said.stdout.starts_with("rollout one_failure_shallow\n@@ raw messages 2 to 5, purified 2 to 3\n"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("\n- The helper's name has a typo.\n"));
    let hostile = place.run(&["diff", "raw.parquet", "raw.purified.parquet", "--rollout", "control_characters"]);
    assert!(
        !hostile.stdout.contains('\u{1b}') && hostile.stdout.contains("\\u{1b}]0;title\\u{7}"),
        "{}",
        hostile.stdout
    );
    let missing = place.run(&["diff", "raw.parquet", "raw.purified.parquet", "--rollout", "nobody"]);
    assert_eq!(missing.code, 3);
    let coloured = place
        .command(&["diff", "raw.parquet", "raw.purified.parquet"])
        .env_remove("NO_COLOR")
        .env("CLICOLOR_FORCE", "1")
        .output();
    assert!(String::from_utf8_lossy(&coloured.expect("it runs").stdout).contains("\u{1b}[31m- "));
}

#[test]
fn inspect_says_what_was_recognised() {
    let place = Place::new();
    place.with("rollouts/tokens.parquet", "raw.parquet");
    let said = place.run(&["inspect", "raw.parquet"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    for line in [
        "rollouts            7 (0 can't be read)",
        "messages            `messages`",
        "response tokens     `response_ids`",
        "log-probs           `response_logprobs`",
        "attempts            failed 8, ok 7",
        "failure runs        6 recovered, 1 not",
        "error types         NameError 5, ModuleNotFoundError 2, no_such_file 1",
    ] {
        assert!(said.stdout.contains(line), "no `{line}` in\n{}", said.stdout);
    }
    let json = place.run(&["inspect", "--json", "raw.parquet"]).json();
    assert_eq!(json["tools"]["python"], 15);
    assert_eq!(json["passed_through"], serde_json::json!([]));
}

#[test]
fn help_lists_exit_codes_and_the_version_is_told() {
    let place = Place::new();
    let help = place.run(&["--help"]);
    assert_eq!(help.code, 0);
    for text in ["Exit codes:", "130  interrupted", "--similarity-threshold", "PURIFY_MAX_RETRIES"] {
        assert!(help.stdout.contains(text), "{text}");
    }
    assert_eq!(place.run(&["--version"]).stdout, format!("purify {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
#[cfg(feature = "completions")]
fn completions_and_the_man_page_are_there() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&["completions", shell]).stdout.contains("similarity-threshold"), "{shell}");
    }
    assert!(place.run(&["man"]).stdout.starts_with(".ie"));
}

#[test]
fn usage_errors_say_what_to_type() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    place.with("rollouts/two_runs.parquet", "b.parquet");
    let cases: &[(&[&str], &str)] = &[
        (
            &["--in", "raw.parquet", "--fail-if", "nonsense"],
            "`nonsense` is not a comparison such as `unrecovered_rate > 0.3`",
        ),
        (&["--in", "raw.parquet", "--fail-if", "repair > 1"], "no number is named `repair`; there are rows_in"),
        (&["--in", "raw.parquet", "--similarity-threshold", "1.5"], "expected a number from 0 to 1, found `1.5`"),
        (&["--in", "raw.parquet", "--shard", "4/3"], "expected `i/n` with i from 1 to n, such as `1/4`, found `4/3`"),
        (&["--in", "raw.parquet", "--error-pattern", "("], "pattern `(` is not a valid regular expression"),
        (&["--in", "raw.parquet", "--mode", "append"], "mode `append` leaves out repairs by their importance ratio"),
        (&["--in", "raw.parquet", "b.parquet"], "2 inputs need --out FOLDER"),
        (&["--in", "raw.parquet", "--max-retries", "0"], "expected a whole number from 1 to 1000000, found `0`"),
        (
            &["--max-retries", "2", "inspect", "raw.parquet"],
            "`--max-retries` in front of `inspect` belongs to the main job",
        ),
        (&[], "--in <PATH>"),
    ];
    for (args, text) in cases {
        let said = place.run(args);
        assert_eq!(said.code, 2, "{args:?}: {}", said.stderr);
        assert!(said.stderr.contains(text), "no `{text}` in {}", said.stderr);
    }
    std::fs::write(place.path("purify.toml"), "similarity-treshold = 0.6\n").expect("a file");
    let said = place.run(&["--in", "raw.parquet"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("there is no option `similarity-treshold`"), "{}", said.stderr);
    assert!(said.stderr.contains("did you mean `similarity-threshold`"), "{}", said.stderr);
    std::fs::write(place.path("purify.toml"), "similarity-threshold = 7\n").expect("a file");
    let said = place.run(&["--in", "raw.parquet"]);
    assert!(said.stderr.contains("`purify.toml`: `similarity-threshold` can't be `7`"), "{}", said.stderr);
    assert_eq!(place.files(), ["b.parquet", "purify.toml", "raw.parquet"]);
}

#[test]
fn what_holds_for_every_command_may_stand_in_front_of_it() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    std::fs::write(place.path("mine.toml"), "max-retries = 1\n").expect("a file");
    let behind = place.run(&["audit", "raw.parquet", "--quiet", "--config", "mine.toml"]);
    let in_front = place.run(&["-q", "--config", "mine.toml", "audit", "raw.parquet"]);
    assert_eq!((behind.code, behind.stderr.as_str()), (0, ""));
    assert_eq!((in_front.code, in_front.stderr, in_front.stdout), (behind.code, behind.stderr, behind.stdout));
}

#[test]
fn patterns_of_the_user_decide_what_an_error_is() {
    let place = Place::new();
    place.with("rollouts/no_failure.parquet", "raw.parquet");
    let said = place.run(&["--in", "raw.parquet", "--error-pattern", "primes=^168"]);
    assert_eq!(said.count("failed_attempts"), 1);
    place.with("rollouts/one_failure_shallow.parquet", "raw.parquet");
    let said = place.run(&["--in", "raw.parquet", "--success-pattern", "NameError"]);
    assert_eq!(said.count("failed_attempts"), 0);
    assert!(
        json_rows(&place.rows("raw.purified.parquet"))[0]["purification"]["repairs"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );
}

#[test]
fn options_in_force_can_be_given_back_as_a_file_and_stay_what_they_are() {
    let place = Place::new();
    let first =
        place.run(&["config", "--similarity-threshold", "0.6", "--is-threshold", "0.25", "--semantic-of", "call"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    for line in
        ["similarity-threshold = 0.6", "is-threshold = 0.25", "semantic-of = \"call\"", "embed-engine = \"auto\""]
    {
        assert!(first.stdout.contains(line), "{line} is not in {}", first.stdout);
    }
    std::fs::write(place.path("mine.toml"), &first.stdout).expect("it is written");
    let again = place.run(&["config", "--config", "mine.toml"]);
    assert_eq!((again.code, again.stdout), (0, first.stdout), "{}", again.stderr);
}
