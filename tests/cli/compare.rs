//! `purify compare`, as a user runs it: what it writes, and what it refuses.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema;
use serde_json::{Value, json};

use crate::harness::{Place, Said, write};
use crate::train::chat_model;

/// Twelve groups of four rollouts: none to two failures and then a success, rewards that differ within each group.
fn rollouts(place: &Place) -> Vec<Value> {
    let of = |group: usize, k: usize| {
        let call = |name: &str| {
            let code = json!({"code": format!("print({name}({}))", 100 + group)}).to_string();
            json!({"role": "assistant", "content": "I run it.", "tool_calls": [
                {"id": name, "type": "function", "function": {"name": "python", "arguments": code}}]})
        };
        let result = |name: &str, text: String| json!({"role": "tool", "tool_call_id": name, "content": text});
        let mut messages =
            vec![json!({"role": "user", "content": format!("How many primes are below {}?", 100 + group)})];
        for name in ["count_prims", "count_prime"].iter().take((group + k) % 3) {
            let error = format!(
                "Traceback (most recent call last):\n  File \"<string>\", line 1\nNameError: name '{name}' is not defined"
            );
            messages.extend([call(name), result(name, error)]);
        }
        messages.extend([call("count_primes"), result("count_primes", (25 + group).to_string())]);
        messages.push(json!({"role": "assistant", "content": format!("There are {}.", 25 + group)}));
        let reward = if (k + group / 2).is_multiple_of(2) { 1.0 } else { 0.0 };
        json!({"rollout_id": format!("g{group}r{k}"), "group_id": format!("g{group}"), "reward": reward, "messages": messages})
    };
    let rows: Vec<Value> = (0..12).flat_map(|group| (0..4).map(move |k| of(group, k))).collect();
    written(place, &rows);
    rows
}

fn written(place: &Place, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(place.path("raw.jsonl"), lines.join("\n")).expect("written");
}

fn model(place: &Place) -> PathBuf {
    chat_model(place)
}

fn compared(place: &Place, more: &str) -> Said {
    let args = ["compare", "--in", "raw.jsonl", "--model", "model", "--out", "compare"];
    place.run_by_default(&args.into_iter().chain(more.split(' ')).collect::<Vec<_>>())
}

fn report(place: &Place) -> Value {
    serde_json::from_slice(&place.bytes("compare/compare.json")).expect("JSON")
}

#[test]
fn every_recipe_is_trained_on_as_many_tokens_and_measured_on_the_same_calls() {
    let place = Place::new();
    rollouts(&place);
    model(&place);
    let all = "raw,saar,saar-positive,mask,mask-positive,resample-on-correct,penalty,sign-gate";
    let done = compared(&place, &format!("--recipes {all} --updates 2 --learning-rate 1e-3 --token-budget 900"));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let report = report(&place);
    assert_eq!(done.json(), report);
    assert_eq!((&report["training_groups"], &report["held_out_groups"]), (&json!(10), &json!(2)));
    let recipes = report["recipes"].as_array().expect("recipes");
    let names: Vec<&str> = recipes.iter().filter_map(|recipe| recipe["recipe"].as_str()).collect();
    assert_eq!(names, all.split(',').collect::<Vec<_>>());
    let number = |recipe: &Value, path: &str| recipe.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let budget = report["token_budget"].as_f64().expect("a budget");
    let raw = &recipes[0];
    for recipe in recipes {
        let trained = number(recipe, "/trained_tokens");
        assert!(trained >= 2.0 * budget && trained < 3.0 * budget, "{trained} of twice {budget}");
        assert_eq!(recipe["updates"].as_array().map(Vec::len), Some(2));
        for path in
            ["/failed_first_calls/calls", "/failed_first_calls/before", "/corrections/calls", "/corrections/before"]
        {
            let (found, expected) = (number(recipe, path), number(raw, path));
            assert!(expected.is_finite() && (found - expected).abs() < 1e-6, "{path} of {}", recipe["recipe"]);
        }
        for path in ["/failed_first_calls/change", "/corrections/change", "/grad_norm", "/kl", "/entropy"] {
            assert!(number(recipe, path).is_finite() && number(recipe, path) != 0.0, "{path} of {}", recipe["recipe"]);
        }
        assert!(number(recipe, "/kl") > 0.0 && number(recipe, "/entropy") > 0.0);
        let [low, high] =
            ["/failed_first_calls/interval/0", "/failed_first_calls/interval/1"].map(|p| number(recipe, p));
        assert!(
            low <= number(recipe, "/failed_first_calls/change") && number(recipe, "/failed_first_calls/change") <= high
        );
    }
    let repairs: Vec<f64> = recipes.iter().map(|recipe| number(recipe, "/repairs")).collect();
    assert!(repairs[1] > repairs[2] && repairs[2] > 0.0, "{repairs:?}");
    assert_eq!((repairs[0], repairs[5], repairs[6], repairs[7]), (0.0, 0.0, 0.0, 0.0));
    // Two treatments of the same rollouts end in different weights.
    let ends: Vec<String> = recipes.iter().map(|recipe| recipe["failed_first_calls"]["change"].to_string()).collect();
    assert!((1..ends.len()).all(|k| !ends[..k].contains(&ends[k])), "{ends:?}");

    let page = String::from_utf8(place.bytes("compare/compare.html")).expect("text");
    assert!(page.contains("<svg") && !page.contains("<script"), "plots, and nothing that runs");
    for name in &names {
        assert!(page.contains(&format!("<tr><th>{name}</th>")) && done.stderr.contains(name), "{name}");
    }
    for text in ["Success. Whether the trained policy solves more tasks needs the environment", "what this can't know:"]
    {
        assert!(done.stderr.contains(text), "{}", done.stderr);
    }
    assert!(page.contains("What this can't know"));
}

#[test]
fn the_same_comparison_gives_the_same_bytes_and_another_seed_other_groups() {
    let place = Place::new();
    rollouts(&place);
    model(&place);
    let settings = "--recipes raw,mask-positive --updates 1 --token-budget 300 --held-out 0.5";
    assert_eq!(compared(&place, settings).code, 0);
    let [json, html] = ["compare/compare.json", "compare/compare.html"].map(|name| place.bytes(name));
    assert_eq!(compared(&place, settings).code, 0, "a folder that is there is written again");
    assert!(place.bytes("compare/compare.json") == json && place.bytes("compare/compare.html") == html);
    let first = report(&place);
    assert_eq!((&first["token_budget"], &first["held_out_groups"]), (&json!(300), &json!(6)));
    assert_eq!(compared(&place, &format!("{settings} --seed 1")).code, 0);
    assert_ne!(report(&place)["recipes"][0]["failed_first_calls"], first["recipes"][0]["failed_first_calls"]);
}

#[test]
fn rates_of_zero_leave_the_policy_where_it_was() {
    let place = Place::new();
    rollouts(&place);
    model(&place);
    let done = compared(&place, "--recipes sign-gate --updates 1 --learning-rate 0 --full");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let recipe = &report(&place)["recipes"][0];
    assert_eq!((&recipe["failed_first_calls"]["change"], &recipe["kl"]), (&json!(0.0), &json!(0.0)));
    assert!(recipe["grad_norm"].as_f64().is_some_and(|norm| norm > 0.0));
}

#[test]
fn recipes_that_are_unknown_double_or_none_and_budgets_of_zero_are_usage_errors() {
    let place = Place::new();
    rollouts(&place);
    for (more, expected) in [
        ("--recipes raw,saar-positve", "a similar value exists: 'saar-positive'"),
        ("--recipes raw,saar,raw", "error: --recipes: `raw` is named twice\n"),
        ("--updates 3", "--recipes <RECIPE,...>"),
        ("--recipes raw --updates 0", "invalid value '0' for '--updates <N>'"),
        ("--recipes raw --token-budget 0", "invalid value '0' for '--token-budget <N>'"),
        ("--recipes raw --held-out 1.5", "invalid value '1.5' for '--held-out <0..1>'"),
        ("--recipes raw --tokens drop", "error: --tokens drop: recipes are compared by tokens\n"),
    ] {
        let done = compared(&place, more);
        assert_eq!(done.code, 2, "{more}: {}", done.stderr);
        assert!(done.stderr.contains(expected), "{more}: {}", done.stderr);
    }
    model(&place);
    let done = compared(&place, "--recipes raw,saar --token-budget 1000000");
    assert_eq!(done.code, 2, "{}", done.stderr);
    let expected = "error: --token-budget 1000000 is more than --recipe saar has to train on, ";
    assert!(done.stderr.contains(expected), "{}", done.stderr);
    assert!(!place.path("compare/compare.json").exists());
}

#[test]
fn rollouts_that_cannot_be_compared_are_refused_before_a_model_is_loaded() {
    let place = Place::new();
    let rows = rollouts(&place);
    type Change = fn(usize, &mut Value);
    let changes: [(&str, Change, i32, &str, &str); 7] = [
        (
            "raw",
            |k, row| row["reward"] = if k % 4 == 0 { json!(1.0) } else { Value::Null },
            3,
            "expected at least two: one to train on and one to hold out; 36 rollouts have no reward (null, or NaN in JSON)",
            "a group is the rollouts of one prompt",
        ),
        (
            "raw",
            |k, row| row["group_id"] = json!(k.to_string()),
            3,
            "0 of its 48 groups hold several rollouts with rewards, expected at least two: one to train on and one to hold out",
            "name their column with --group-column",
        ),
        (
            "raw",
            |_, row| row["group_id"] = json!("g"),
            3,
            "1 of its 1 groups hold several rollouts with rewards",
            "name their column with --group-column",
        ),
        (
            "raw",
            |_, row| _ = row.as_object_mut().expect("a row").remove("group_id"),
            3,
            "no column of groups is recognised",
            "name the column with --group-column",
        ),
        (
            "raw",
            |_, row| _ = row.as_object_mut().expect("a row").remove("reward"),
            3,
            "no column of rewards is recognised",
            "name the column with --reward-column",
        ),
        (
            "raw,sign-gate",
            |_, row| row["reward"] = json!(1.0),
            2,
            "this data can't serve --recipe sign-gate: no rollout is known to be better than its group",
            "the nearest that can be served is --recipe mask\n",
        ),
        (
            "raw,penalty",
            |k, row| row["advantage"] = json!(if k % 2 == 0 { 0.5 } else { -0.5 }),
            2,
            "this data can't serve --recipe penalty: its rows have a column `advantage`",
            "the nearest that can be served is --recipe raw\n",
        ),
    ];
    for (recipes, change, code, expected, hint) in changes {
        let mut rows = rows.clone();
        rows.iter_mut().enumerate().for_each(|(k, row)| change(k, row));
        written(&place, &rows);
        let done = compared(&place, &format!("--recipes {recipes}"));
        assert_eq!(done.code, code, "{expected}: {}", done.stderr);
        assert!(done.stderr.contains(expected) && done.stderr.contains(hint), "{expected}: {}", done.stderr);
        assert!(!place.path("compare").exists(), "{expected}");
    }
}

#[test]
fn reward_that_is_no_number_is_told_with_its_row() {
    let place = Place::new();
    rollouts(&place);
    let text = place.bytes("raw.jsonl");
    let schema = Arc::new(infer_json_schema(text.as_slice(), None).expect("rows").0);
    let reader = ReaderBuilder::new(Arc::clone(&schema)).build(text.as_slice()).expect("a reader");
    let batch = reader.map(|batch| batch.expect("rows")).next().expect("a batch");
    let rewards = Float64Array::from_iter_values((0..batch.num_rows()).map(|k| if k == 7 { f64::NAN } else { 1.0 }));
    let mut columns = batch.columns().to_vec();
    columns[schema.index_of("reward").expect("rewards")] = Arc::new(rewards);
    write(&place.path("raw.parquet"), &RecordBatch::try_new(schema, columns).expect("columns"), 10);
    let args = ["compare", "--in", "raw.parquet", "--model", "model", "--out", "compare", "--recipes", "raw"];
    let done = place.run_by_default(&args);
    let expected = "row 7 (`g1r3`) has reward NaN, expected a number";
    assert!(done.code == 3 && done.stderr.contains(expected), "{}", done.stderr);
    assert!(done.stderr.contains("leave such rows out, or make their rewards null"), "{}", done.stderr);
}

#[test]
fn model_that_is_missing_or_reads_none_of_the_rows_is_named() {
    let place = Place::new();
    rollouts(&place);
    let done = compared(&place, "--recipes raw,saar");
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("`model`"), "{}", done.stderr);
    let folder = model(&place);
    let config = std::fs::read_to_string(folder.join("config.json")).expect("a configuration");
    std::fs::write(folder.join("config.json"), config.replace("16384", "16")).expect("written");
    let done = compared(&place, "--recipes raw,saar");
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("`raw.jsonl`: the model can read none of its rows: "), "{}", done.stderr);
    assert!(done.stderr.contains("give the model that sampled the rollouts"), "{}", done.stderr);
    assert!(done.stderr.contains("purify score"), "{}", done.stderr);
}
