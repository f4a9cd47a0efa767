//! The starting checkpoints: a small Qwen3 trained from scratch on made demonstrations, errors and all.
//!
//! Owns the shape of the policy, its first weights, what the demonstrations are like, and when to stop. A checkpoint is kept, and
//! results name it by the hash of its weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{Int8Type, Int32Type};
use candle_core::{DType, Device, Tensor};
use purify::options::{ColumnConfig, NonNegative, Objective, TrainConfig};
use purify::policy::Policy;
use purify::policy::files::{write_json, write_tensors};
use purify::train::data::{self, Example};
use purify::train::learner::Learner;
use serde_json::json;

use super::draw::Draw;
use super::measure::{self, Measured};
use super::python::{End, Pool};
use super::rollout::{MAX_LENGTH, Rules, prompt_ids, sample, shown};
use super::tasks::{Task, tasks};
use super::text::{ASSISTANT, CALL, END, TOOL, Tokenizer};
use super::{Failure, World};

const HIDDEN: usize = 128;
const INTERMEDIATE: usize = 240;
const LAYERS: usize = 4;
const HEADS: usize = 4;
const KEY_HEADS: usize = 2;

/// Demonstrations of one round, and of one update.
const ROUND: usize = 3200;
const MINI_BATCH: usize = 64;
const MAX_ROUNDS: u64 = 24;
const QUICK_ROUNDS: u64 = 2;
/// Raised when anything changes that a checkpoint depends on: tasks, tokenizer, demonstrations, training.
const VERSION: u32 = 2;
const LEARNING_RATE: f64 = 3e-3;
/// Demonstrations with none, one and two errors before the call that works, drawn independently of the task.
const ERRORS: [f64; 3] = [0.54, 0.33, 0.13];
/// Where training stops: success, and first calls that fail.
const SUCCESS: (f64, f64) = (0.55, 0.65);
const FAILING: (f64, f64) = (0.40, 0.50);

/// One kind of start: how often the call that works is silently wrong, without and with an error before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    pub name: &'static str,
    silent: (f64, f64),
}

/// In one, a failure in the context lowers success; in the other it doesn't.
pub const STARTS: [Start; 2] =
    [Start { name: "harmful", silent: (0.20, 0.52) }, Start { name: "harmless", silent: (0.34, 0.34) }];

impl Start {
    pub fn named(name: &str) -> Option<Self> {
        STARTS.into_iter().find(|start| start.name == name)
    }
}

/// A checkpoint and its name.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub folder: PathBuf,
    pub hash: String,
}

/// The checkpoint of a start, made if it is not kept yet.
///
/// A quick one is trained for two rounds, wherever that leads.
pub fn checkpoint(start: Start, world: &mut World, kept: &Path, is_quick: bool) -> Result<Checkpoint, Failure> {
    let name = format!("{}{}-v{VERSION}", start.name, if is_quick { "-quick" } else { "" });
    let folder = kept.join(&name);
    if !folder.join("config.json").exists() {
        let partial = kept.join(format!(".{name}.partial"));
        train(start, world, &partial, is_quick)?;
        std::fs::rename(&partial, &folder)?;
    }
    let weights = std::fs::read(folder.join("model.safetensors"))?;
    Ok(Checkpoint { hash: blake3::hash(&weights).to_hex()[..12].to_owned(), folder })
}

/// A policy of random weights, in a folder.
pub fn fresh(tokenizer: &Tokenizer, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let width = HIDDEN / HEADS;
    let mut draw = Draw::of(&[7]);
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let mut matrix = |name: String, rows: usize, columns: usize, deviation: f64| -> Result<(), Failure> {
        let values: Vec<f32> = (0..rows * columns).map(|_| (draw.normal() * deviation) as f32).collect();
        tensors.push((name, Tensor::from_vec(values, (rows, columns), &Device::Cpu)?));
        Ok(())
    };
    matrix("model.embed_tokens.weight".to_owned(), tokenizer.vocabulary(), HIDDEN, 0.05)?;
    let deviation = 1.0 / (HIDDEN as f64).sqrt();
    for k in 0..LAYERS {
        let name = |part: &str| format!("model.layers.{k}.{part}.weight");
        matrix(name("self_attn.q_proj"), HEADS * width, HIDDEN, deviation)?;
        matrix(name("self_attn.k_proj"), KEY_HEADS * width, HIDDEN, deviation)?;
        matrix(name("self_attn.v_proj"), KEY_HEADS * width, HIDDEN, deviation)?;
        matrix(name("self_attn.o_proj"), HIDDEN, HEADS * width, deviation * 0.4)?;
        matrix(name("mlp.gate_proj"), INTERMEDIATE, HIDDEN, deviation)?;
        matrix(name("mlp.up_proj"), INTERMEDIATE, HIDDEN, deviation)?;
        matrix(name("mlp.down_proj"), HIDDEN, INTERMEDIATE, deviation * 0.4)?;
    }
    let mut ones = |name: String, size: usize| -> Result<(), Failure> {
        tensors.push((name, Tensor::ones(size, DType::F32, &Device::Cpu)?));
        Ok(())
    };
    for k in 0..LAYERS {
        for (part, size) in [("self_attn.q_norm", width), ("self_attn.k_norm", width), ("input_layernorm", HIDDEN)] {
            ones(format!("model.layers.{k}.{part}.weight"), size)?;
        }
        ones(format!("model.layers.{k}.post_attention_layernorm.weight"), HIDDEN)?;
    }
    ones("model.norm.weight".to_owned(), HIDDEN)?;
    write_tensors(&folder.join("model.safetensors"), &tensors)?;
    let config = json!({
        "model_type": "qwen3", "vocab_size": tokenizer.vocabulary(), "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "head_dim": width,
        "max_position_embeddings": MAX_LENGTH, "tie_word_embeddings": true, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "hidden_act": "silu", "attention_bias": false,
    });
    write_json(&folder.join("config.json"), &config)?;
    Ok(())
}

/// The calls of one demonstration, in order.
fn calls_of(task: &Task, start: Start, draw: &mut Draw) -> Vec<String> {
    let at = draw.unit();
    let errors = usize::from(at >= ERRORS[0]) + usize::from(at >= ERRORS[0] + ERRORS[1]);
    let mut calls: Vec<String> = (0..errors).filter_map(|_| draw.pick(&task.loud).cloned()).collect();
    let silent = if errors == 0 { start.silent.0 } else { start.silent.1 };
    let last = if draw.chance(silent) { draw.pick(&task.silent).cloned() } else { None };
    calls.push(last.unwrap_or_else(|| task.good.clone()));
    calls
}

/// A round of demonstrations, written as rows of tokens. The answer repeats what the last call printed.
fn demonstrations(start: Start, round: u64, world: &mut World, path: &Path) -> Result<(), Failure> {
    let mut draw = Draw::of(&[11, round]);
    let tasks = tasks(ROUND, false, &mut draw);
    let calls: Vec<Vec<String>> = tasks.iter().map(|task| calls_of(task, start, &mut draw)).collect();
    let said = world.pool.run(&calls.concat())?;
    let (mut prompts, mut ids, mut masks, mut next) = (Vec::new(), Vec::new(), Vec::new(), said.into_iter());
    let ints = |ids: &[u32]| ids.iter().map(|&id| Some(id as i32)).collect::<Vec<_>>();
    for (task, calls) in tasks.iter().zip(&calls) {
        let (mut response, mut mask) = (Vec::new(), Vec::new());
        let mut add = |part: Vec<u32>, is_own: i8| {
            mask.extend(part.iter().map(|_| Some(is_own)));
            response.extend(part);
        };
        for (k, code) in calls.iter().enumerate() {
            let said = next.next().map(shown).ok_or_else(|| Failure::new("this is a bug: a call without a result"))?;
            let works = said.end == End::Ok;
            if works != (k + 1 == calls.len()) {
                return Err(Failure::new(format!("this is a bug: `{code}` of {} gave {said:?}", task.prompt)));
            }
            add([vec![CALL], world.tokenizer.encode(code), vec![END]].concat(), 1);
            let result = world.tokenizer.encode(&said.text);
            add([vec![TOOL], result.clone(), vec![END, ASSISTANT]].concat(), 0);
            if works {
                add([result, vec![END]].concat(), 1);
            }
        }
        prompts.push(Some(ints(&prompt_ids(&world.tokenizer, task))));
        ids.push(Some(ints(&response)));
        masks.push(Some(mask));
    }
    let names = StringArray::from_iter_values((0..tasks.len()).map(|k| format!("d{k}")));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("rollout_id", Arc::new(names)),
        ("prompt_ids", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(prompts))),
        ("response_ids", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(ids))),
        ("response_mask", Arc::new(ListArray::from_iter_primitive::<Int8Type, _, _>(masks))),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = parquet::arrow::ArrowWriter::try_new(std::fs::File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// Trains from nothing until success and first calls that fail are where they should be.
fn train(start: Start, world: &mut World, folder: &Path, is_quick: bool) -> Result<(), Failure> {
    fresh(&world.tokenizer, folder)?;
    let mut policy = Policy::load(folder, &Device::Cpu, DType::F32)?;
    policy.train_all();
    let path = world.scratch.join("demonstrations.parquet");
    let mut config = TrainConfig::new(Objective::Sft, vec![path.clone()], world.scratch.clone());
    config.full = true;
    config.learning_rate = NonNegative::new(LEARNING_RATE).unwrap_or(config.learning_rate);
    config.warmup = 40;
    let mut learner = Learner::new(policy, &super::model_choice(folder), &config);
    let mut update = 0;
    for round in 0..MAX_ROUNDS {
        demonstrations(start, round, world, &path)?;
        let dataset = data::load(&config, &ColumnConfig::default(), &learner.policy, &world.run()?)?;
        let mut loss = 0.0;
        for examples in dataset.examples.chunks(MINI_BATCH) {
            update += 1;
            let examples: Vec<&Example> = examples.iter().collect();
            loss = learner.update(update, &examples, &[]).map_err(|error| Failure::new(format!("{error:?}")))?.loss;
        }
        let found = look(&learner.policy, world)?;
        world.say(&format!(
            "{}: {update} updates, loss {loss:.3}, success {:.3}, first calls that fail {:.3}",
            start.name, found.success, found.first_failures
        ));
        let is_within = |value: f64, (low, high): (f64, f64)| (low..=high).contains(&value);
        let is_there = is_within(found.success, SUCCESS) && is_within(found.first_failures, FAILING) && round >= 3;
        if is_there || is_quick && round + 1 >= QUICK_ROUNDS {
            learner.policy.save_full(folder)?;
            return Ok(());
        }
    }
    Err(Failure::new(format!(
        "the start `{}` did not come to {SUCCESS:?} success and {FAILING:?} first calls that fail in {MAX_ROUNDS} rounds",
        start.name
    )))
}

fn look(policy: &Policy, world: &mut World) -> Result<Measured, Failure> {
    let tasks = tasks(400, false, &mut Draw::of(&[13]));
    let rules = Rules { per_task: 1, calls: 5, temperature: 1.0, seed: 13, rolls_back: false, injects: false };
    let World { tokenizer, pool, .. } = world;
    let pool: &mut Pool = pool;
    Ok(measure::of(&sample(policy, tokenizer, pool, &tasks, &rules)?))
}
