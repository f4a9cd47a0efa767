//! Each recipe on a group that was made by hand: what becomes of four rollouts, to the last number.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int32Type};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema;
use purify::options::Recipe;
use purify::recipe::{RECIPES, applied};
use purify::{Options, PurifiedBatch, Purifier};
use serde_json::{Value, json};

/// What (1, 1, 0, 0) is worth within its group: half a reward over a deviation of sqrt(1/3).
fn unit() -> f64 {
    0.5 / ((1.0f64 / 3.0).sqrt() + 1e-6)
}

/// A call of one tool with its result; the call stands in the two tokens `[7, token]`, the result in one.
fn step(code: &str, result: &str) -> [Value; 2] {
    let call = json!({"id": "c", "type": "function", "function": {"name": "python", "arguments": json!({"code": code}).to_string()}});
    [json!({"role": "assistant", "content": "", "tool_calls": [call]}), json!({"role": "tool", "content": result})]
}

/// A rollout that fails so many times before it gets it right.
fn rollout(id: &str, reward: Value, failures: usize) -> Value {
    let mut messages = vec![json!({"role": "user", "content": "How many?"})];
    let (mut ids, mut mask) = (vec![], vec![]);
    for k in 0..=failures {
        let is_last = k == failures;
        let (code, result) = match is_last {
            true => ("print(len(items))", "3"),
            false => ("print(len(itms))", "NameError: name 'itms' is not defined"),
        };
        messages.extend(step(code, result));
        ids.extend([7, 100 + k, 200 + k]);
        mask.extend([1, 1, 0]);
    }
    let logprobs: Vec<f64> = mask.iter().map(|&m| -0.5 * f64::from(m)).collect();
    json!({
        "rollout_id": id, "group_id": "g", "reward": reward, "messages": messages,
        "prompt_ids": [1, 2], "response_ids": ids, "response_mask": mask, "response_logprobs": logprobs,
    })
}

fn batch(rows: &[Value]) -> RecordBatch {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let schema = Arc::new(infer_json_schema(text.as_bytes(), None).expect("a schema").0);
    let mut batches = ReaderBuilder::new(schema).build(text.as_bytes()).expect("a reader");
    batches.next().expect("a batch").expect("rows")
}

/// Two that succeed, without and with a failure before; two that don't, with one failure and with two in a row.
fn group() -> RecordBatch {
    batch(&[
        rollout("clean", json!(1.0), 0),
        rollout("fixed", json!(1.0), 1),
        rollout("wrong", json!(0.0), 1),
        rollout("worst", json!(0.0), 2),
    ])
}

fn treated(recipe: Recipe) -> PurifiedBatch {
    let mut options = Options::default();
    options.columns.call_marker_ids = vec![7];
    let options = applied(&options, recipe).expect("a recipe is options");
    Purifier::new(options).expect("sound options").purify_batch(&group()).expect("rollouts")
}

fn advantages(found: &PurifiedBatch) -> Vec<Option<f64>> {
    found.data.column_by_name("advantage").expect("the column").as_primitive::<Float64Type>().iter().collect()
}

/// Entries of a list column by row.
fn lists<T>(found: &PurifiedBatch, column: &str, read: impl Fn(&dyn Array) -> Vec<T>) -> Vec<Vec<T>> {
    let column = found.data.column_by_name(column).expect("the column");
    let list = column.as_list::<i32>();
    (0..list.len()).map(|row| read(&list.value(row))).collect()
}

fn ids(found: &PurifiedBatch) -> Vec<Vec<i32>> {
    lists(found, "response_ids", |values| {
        let values = arrow::compute::cast(&values.slice(0, values.len()), &arrow::datatypes::DataType::Int32);
        values.expect("whole numbers").as_primitive::<Int32Type>().values().to_vec()
    })
}

fn masks(found: &PurifiedBatch) -> Vec<Vec<i8>> {
    lists(found, "response_mask", |values| {
        let values = arrow::compute::cast(&values.slice(0, values.len()), &arrow::datatypes::DataType::Int8);
        values.expect("whole numbers").as_primitive::<Int8Type>().values().to_vec()
    })
}

fn names(batch: &RecordBatch) -> Vec<String> {
    let names = batch.column_by_name("rollout_id").expect("names").as_string::<i32>().clone();
    names.iter().flatten().map(str::to_owned).collect()
}

const CLEAN: [i32; 3] = [7, 100, 200];
const FIXED: [i32; 6] = [7, 100, 200, 7, 101, 201];
const WORST: [i32; 9] = [7, 100, 200, 7, 101, 201, 7, 102, 202];

fn assert_plain_advantages(found: &PurifiedBatch) {
    let u = unit();
    for (found, expected) in advantages(found).into_iter().zip([u, u, -u, -u]) {
        assert!((found.expect("it is known") - expected).abs() < 1e-12, "{found:?}, expected {expected}");
    }
}

#[test]
fn raw_writes_advantages_and_counts_and_changes_nothing() {
    let found = treated(Recipe::Raw);
    assert_plain_advantages(&found);
    assert_eq!(ids(&found), [CLEAN.to_vec(), FIXED.to_vec(), FIXED.to_vec(), WORST.to_vec()]);
    assert_eq!((found.counts.failed_attempts, found.counts.repairs, found.counts.rows_changed), (4, 0, 0));
    for column in ["messages", "response_mask", "response_logprobs", "reward"] {
        assert_eq!(found.data.column_by_name(column), group().column_by_name(column), "{column}");
    }
}

#[test]
fn saar_replaces_every_recovered_run_in_all_rollouts() {
    let found = treated(Recipe::Saar);
    assert_plain_advantages(&found);
    assert_eq!(ids(&found), [CLEAN.to_vec(), vec![7, 101, 201], vec![7, 101, 201], vec![7, 102, 202]]);
    assert_eq!(found.counts.repairs, 3);
}

#[test]
fn saar_positive_replaces_where_the_advantage_is_above_zero() {
    let found = treated(Recipe::SaarPositive);
    assert_plain_advantages(&found);
    assert_eq!(ids(&found), [CLEAN.to_vec(), vec![7, 101, 201], FIXED.to_vec(), WORST.to_vec()]);
    assert_eq!((found.counts.repairs, found.counts.left["negative_advantage"]), (1, 2));
}

#[test]
fn mask_takes_failed_attempts_out_of_the_loss_in_all_rollouts() {
    let found = treated(Recipe::Mask);
    assert_plain_advantages(&found);
    assert_eq!(ids(&found), [CLEAN.to_vec(), FIXED.to_vec(), FIXED.to_vec(), WORST.to_vec()]);
    let fixed = vec![0, 0, 0, 1, 1, 0];
    assert_eq!(masks(&found), [vec![1, 1, 0], fixed.clone(), fixed, vec![0, 0, 0, 0, 0, 0, 1, 1, 0]]);
}

#[test]
fn mask_positive_takes_them_out_where_the_advantage_is_above_zero() {
    let found = treated(Recipe::MaskPositive);
    assert_plain_advantages(&found);
    let whole = |attempts: usize| [1, 1, 0].repeat(attempts);
    assert_eq!(masks(&found), [whole(1), vec![0, 0, 0, 1, 1, 0], whole(2), whole(3)]);
}

#[test]
fn resample_on_correct_keeps_the_success_with_the_fewest_failures_and_half_of_the_rest() {
    let found = treated(Recipe::ResampleOnCorrect);
    let (kept, left) = (names(&found.data), names(&found.rejects));
    assert_eq!((kept.len(), kept[0].as_str(), left[0].as_str()), (2, "clean", "fixed"));
    // The baseline is that of all four.
    let u = unit();
    let [Some(better), Some(worse)] = advantages(&found)[..] else { panic!("two rollouts") };
    assert!((better - u).abs() < 1e-12 && (worse + u).abs() < 1e-12);
    assert_eq!(found.counts.rejects["not_resampled"], 2);
    assert_eq!(found.counts.rows_in, found.counts.rows_out + found.counts.rows_rejected);
}

#[test]
fn penalty_takes_a_bounded_part_of_the_reward_where_attempts_failed() {
    let found = treated(Recipe::Penalty);
    // 1, 0.9, -0.1, -0.2
    let rewards = [1.0, 0.9, -0.1, -0.2];
    let mean = rewards.iter().sum::<f64>() / 4.0;
    let deviation = (rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    for (found, reward) in advantages(&found).into_iter().zip(rewards) {
        assert!((found.expect("it is known") - (reward - mean) / (deviation + 1e-6)).abs() < 1e-12);
    }
    // The reward itself stays what it was.
    assert_eq!(found.data.column_by_name("reward"), group().column_by_name("reward"));
    assert_eq!(ids(&found), [CLEAN.to_vec(), FIXED.to_vec(), FIXED.to_vec(), WORST.to_vec()]);
}

#[test]
fn sign_gate_pushes_failed_attempts_down_whatever_the_rollout_earned() {
    let found = treated(Recipe::SignGate);
    assert_plain_advantages(&found);
    let u = unit() as f32;
    let values = lists(&found, "token_advantages", |values| values.as_primitive::<Float32Type>().values().to_vec());
    let expected = [
        vec![u, u, 0.0],
        vec![-u, -u, 0.0, u, u, 0.0],
        vec![-u, -u, 0.0, -u, -u, 0.0],
        vec![-u, -u, 0.0, -u, -u, 0.0, -u, -u, 0.0],
    ];
    assert_eq!(values, expected);
    assert_eq!(masks(&found), [1, 2, 2, 3].map(|attempts| [1, 1, 0].repeat(attempts)));
}

#[test]
fn groups_of_one_equal_rewards_and_rewards_that_are_no_numbers_have_no_advantage_in_any_recipe() {
    for rewards in [[json!(1.0), json!(1.0)], [json!(1.0), Value::Null]] {
        let [first, second] = rewards;
        let rows = batch(&[rollout("a", first, 0), rollout("b", second, 0)]);
        for entry in &RECIPES {
            let mut options = Options::default();
            options.columns.call_marker_ids = vec![7];
            let options = applied(&options, entry.recipe).expect("a recipe is options");
            let found = Purifier::new(options).expect("sound options").purify_batch(&rows).expect("rollouts");
            assert!(advantages(&found).iter().all(Option::is_none), "{:?}", entry.recipe);
        }
    }
}

#[test]
fn token_advantages_of_an_earlier_run_are_spliced_with_the_tokens() {
    let gated = treated(Recipe::SignGate).data;
    let kept: Vec<usize> =
        (0..gated.num_columns()).filter(|&k| gated.schema().field(k).name() != "purification").collect();
    let gated = gated.project(&kept).expect("the columns are there");
    let mut options = Options::default();
    options.columns.call_marker_ids = vec![7];
    let options = applied(&options, Recipe::Saar).expect("a recipe is options");
    let found = Purifier::new(options).expect("sound options").purify_batch(&gated).expect("rollouts");
    let u = unit() as f32;
    let values = lists(&found, "token_advantages", |values| values.as_primitive::<Float32Type>().values().to_vec());
    assert_eq!(values, [vec![u, u, 0.0], vec![u, u, 0.0], vec![-u, -u, 0.0], vec![-u, -u, 0.0]]);
}
