//! `--recipe`: bundles of options by name, what contradicts them, and data that can't serve them.

use serde_json::{Value, json};

use crate::harness::{Place, Said};

fn rows(place: &Place, name: &str, rewards: &[Value], has_tokens: bool) {
    let row = |(k, reward): (usize, &Value)| {
        let mut row = json!({
            "rollout_id": format!("r{k}"), "group_id": "g", "reward": reward,
            "messages": [
                {"role": "user", "content": "How many?"},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "python", "arguments": "{\"code\": \"print(len(items))\"}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "3"},
            ],
        });
        if has_tokens {
            row["prompt_ids"] = json!([1, 2]);
            row["response_ids"] = json!([7, 8, 9]);
            row["response_mask"] = json!([1, 1, 0]);
        }
        row.to_string()
    };
    let lines: Vec<String> = rewards.iter().enumerate().map(row).collect();
    std::fs::write(place.path(name), lines.join("\n")).expect("written");
}

fn asked(place: &Place, more: &str) -> Said {
    let args: Vec<&str> = ["--in", "raw.jsonl", "--out", "p.parquet"].into_iter().chain(more.split(' ')).collect();
    place.run_by_default(&args)
}

#[test]
fn manifest_names_the_recipe_and_what_it_stands_for() {
    let place = Place::new();
    rows(&place, "raw.jsonl", &[json!(1.0), json!(0.0)], false);
    let done = asked(&place, "--recipe mask-positive");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let manifest: Value = serde_json::from_slice(&place.bytes("p.manifest.json")).expect("JSON");
    let settings = &manifest["settings"];
    assert_eq!(settings["rewards"]["recipe"], json!("mask-positive"));
    assert_eq!(
        (&settings["method"]["mode"], &settings["decision"]["repair_where"]),
        (&json!("mask"), &json!("positive"))
    );
}

#[test]
fn option_that_contradicts_the_recipe_is_a_usage_error_that_names_both() {
    let place = Place::new();
    rows(&place, "raw.jsonl", &[json!(1.0), json!(0.0)], false);
    for (more, said) in [
        ("--recipe saar --mode mask", "`--mode mask` contradicts `--recipe saar`, which sets it to `replace`"),
        ("--recipe mask-positive --repair-where all", "`--repair-where all` contradicts `--recipe mask-positive`"),
        ("--recipe penalty --failure-penalty 0.2", "`--failure-penalty 0.2` contradicts `--recipe penalty`"),
        ("--recipe raw --advantage-column false", "`--advantage-column false` contradicts `--recipe raw`"),
    ] {
        let done = asked(&place, more);
        assert_eq!(done.code, 2, "{more}: {}", done.stdout);
        assert!(done.stderr.contains(said), "{more}: {}", done.stderr);
    }
    std::fs::write(place.path("purify.toml"), "mode = \"mask\"\n").expect("written");
    let done = asked(&place, "--recipe saar");
    assert!(done.code == 2 && done.stderr.contains("`--mode mask` contradicts"), "{}", done.stderr);
    std::fs::remove_file(place.path("purify.toml")).expect("it was there");
    // The same value, typed otherwise, contradicts nothing; a recipe goes before a profile.
    for more in [
        "--recipe penalty --failure-penalty 0.10",
        "--recipe saar --mode replace",
        "--recipe saar-positive --profile saar",
    ] {
        let done = asked(&place, more);
        assert_eq!(done.code, 0, "{more}: {}", done.stderr);
    }
}

#[test]
fn recipe_is_named_once() {
    let place = Place::new();
    rows(&place, "raw.jsonl", &[json!(1.0), json!(0.0)], false);
    let done = asked(&place, "--recipe raw --recipe saar");
    assert!(done.code == 2 && done.stderr.contains("cannot be used multiple times"), "{}", done.stderr);
    let done = asked(&place, "--recipe purest");
    assert!(done.code == 2 && done.stderr.contains("resample-on-correct"), "{}", done.stderr);
}

#[test]
fn data_that_cannot_serve_a_recipe_says_what_it_lacks_and_the_nearest_that_it_can() {
    let place = Place::new();
    for (rewards, has_tokens, recipe, lacks, nearest) in [
        (vec![json!(1.0)], false, "saar-positive", "no rollout is known to be better than its group", "saar"),
        (vec![json!(1.0), json!(1.0)], false, "mask-positive", "no rollout is known to be better", "mask"),
        (vec![Value::Null, Value::Null], false, "penalty", "no groups of several rollouts with rewards", "raw"),
        (vec![json!(1.0)], false, "resample-on-correct", "no groups of several rollouts with rewards", "raw"),
        (vec![json!(1.0), json!(0.0)], false, "sign-gate", "it has no token columns", "mask-positive"),
        (vec![json!(1.0)], true, "sign-gate", "no rollout is known to be better than its group", "mask"),
    ] {
        rows(&place, "raw.jsonl", &rewards, has_tokens);
        let done = asked(&place, &format!("--recipe {recipe} --call-marker-ids 7"));
        assert_eq!(done.code, 2, "{recipe}: {}", done.stdout);
        let said = format!("this data can't serve --recipe {recipe}: ");
        assert!(done.stderr.contains(&said) && done.stderr.contains(lacks), "{}", done.stderr);
        assert!(done.stderr.contains(&format!("--recipe {nearest}\n")), "{}", done.stderr);
        assert!(!place.path("p.parquet").exists());
    }
}

#[test]
fn rows_that_were_not_chosen_are_rejects_with_their_reason() {
    let place = Place::new();
    rows(&place, "raw.jsonl", &[json!(1.0), json!(1.0), json!(0.0), json!(0.0)], false);
    let done = asked(&place, "--recipe resample-on-correct");
    assert_eq!((done.code, done.count("rows_out"), done.count("rows_rejected")), (0, 2, 2), "{}", done.stderr);
    assert_eq!(done.json()["rejects"], json!({"not_resampled": 2}));
    let again = asked(&place, "--recipe resample-on-correct --threads 1");
    assert_eq!(again.count("rows_out"), 2);
    // Another seed draws otherwise; the number that is kept stays.
    assert_eq!(asked(&place, "--recipe resample-on-correct --seed 5").count("rows_out"), 2);
}
