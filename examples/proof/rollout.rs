//! Rollouts: the policy writes calls, the tool answers, until the policy gives its answer.
//!
//! Owns the conversation and how it stands in tokens and in messages; both go into one Parquet file, as an RL framework writes
//! it. A reward is 1 for the right answer and 0 for anything else.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::ReaderBuilder;
use purify::policy::Policy;
use purify::policy::sample::{Continued, Sampler, Sampling};
use serde_json::{Value, json};

use super::Failure;
use super::python::{End, Pool, Said};
use super::tasks::Task;
use super::text::{ASSISTANT, CALL, END, TOOL, Tokenizer, USER};

/// Tokens of one message of the policy.
const MAX_MESSAGE: usize = 56;
/// Characters of a result that are shown.
const MAX_RESULT: usize = 64;
/// Tokens of a rollout.
pub const MAX_LENGTH: usize = 1024;

/// How rollouts are sampled.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub per_task: usize,
    /// Most calls of a rollout.
    pub calls: usize,
    pub temperature: f64,
    pub seed: u64,
    /// A failed call that was put right is taken out at once, and the continuation is sampled in the clean context.
    pub rolls_back: bool,
    /// Each rollout begins with a call that fails.
    pub injects: bool,
}

/// One rollout.
#[derive(Clone, Debug, Default)]
pub struct Rollout {
    pub task: usize,
    pub prompt: Vec<u32>,
    pub ids: Vec<u32>,
    pub mask: Vec<i8>,
    pub logprobs: Vec<Option<f32>>,
    pub messages: Vec<Value>,
    /// Whether each call failed, in the order in which they were made, those rolled back included.
    pub failed: Vec<bool>,
    pub reward: f64,
    /// Tokens that the policy wrote, those rolled back included.
    pub sampled: usize,
    /// Its last message had no end.
    pub is_unfinished: bool,
    /// Where the failed calls began that the next one may put right: in tokens and in messages.
    failing_from: Option<(usize, usize)>,
}

impl Rollout {
    fn context(&mut self, ids: &[u32]) {
        self.ids.extend(ids);
        self.mask.extend(ids.iter().map(|_| 0));
        self.logprobs.extend(ids.iter().map(|_| Some(0.0)));
    }

    fn wrote(&mut self, ids: &[u32], logprobs: impl IntoIterator<Item = Option<f32>>) {
        self.ids.extend(ids);
        self.mask.extend(ids.iter().map(|_| 1));
        self.logprobs.extend(logprobs);
    }

    fn called(&mut self, code: &str, said: &Said) {
        let id = format!("call_{}", self.messages.len());
        let function = json!({"name": "python", "arguments": json!({ "code": code }).to_string()});
        let call = json!({"id": id, "type": "function", "function": function});
        self.messages.push(json!({"role": "assistant", "content": "", "tool_calls": [call]}));
        self.messages.push(json!({"role": "tool", "tool_call_id": id, "content": said.text}));
    }
}

/// A result as it is shown to the policy.
pub fn shown(said: Said) -> Said {
    let text = match said.end {
        End::Ok | End::Error => said.text.chars().take(MAX_RESULT).collect(),
        End::Time => "TimeoutError: the call took too long".to_owned(),
        End::Hang => "TimeoutError: the call waits for nothing".to_owned(),
        End::Memory => "MemoryError: the call took too much".to_owned(),
        End::Killed => "RuntimeError: the call was killed".to_owned(),
    };
    Said { text, ..said }
}

/// What comes between a call and what the policy writes next.
fn result_ids(tokenizer: &Tokenizer, said: &Said) -> Vec<u32> {
    [vec![TOOL], tokenizer.encode(&said.text), vec![END, ASSISTANT]].concat()
}

pub fn prompt_ids(tokenizer: &Tokenizer, task: &Task) -> Vec<u32> {
    [vec![USER], tokenizer.encode(&task.prompt), vec![END, ASSISTANT]].concat()
}

/// The right answer of each task, as Python gives it.
pub fn answers(pool: &mut Pool, tasks: &[Task]) -> Result<Vec<String>, Failure> {
    let good: Vec<String> = tasks.iter().map(|task| task.good.clone()).collect();
    let said = pool.run(&good)?;
    match said.iter().position(|said| said.end != End::Ok) {
        None => Ok(said.into_iter().map(|said| shown(said).text).collect()),
        Some(k) => {
            Err(Failure::new(format!("this is a bug: the call `{}` does not answer its task: {:?}", good[k], said[k])))
        }
    }
}

/// Samples rollouts of tasks, `rules.per_task` of each, all side by side.
pub fn sample(
    policy: &Policy,
    tokenizer: &Tokenizer,
    pool: &mut Pool,
    tasks: &[Task],
    rules: &Rules,
) -> Result<Vec<Rollout>, Failure> {
    let expected = answers(pool, tasks)?;
    let mut sampler = Sampler::new(policy, MAX_LENGTH)?;
    let sampling =
        Sampling { temperature: rules.temperature, max_tokens: MAX_MESSAGE, stop: vec![END], seed: rules.seed };
    let mut rollouts = Vec::with_capacity(tasks.len() * rules.per_task);
    // Rollout, its sequence, and what it is continued with.
    let mut open: Vec<(usize, usize, Vec<u32>)> = Vec::new();
    let injected: Vec<String> = tasks.iter().map(|task| task.loud[0].clone()).collect();
    let injected = if rules.injects { pool.run(&injected)? } else { Vec::new() };
    for k in 0..tasks.len() * rules.per_task {
        let task = k / rules.per_task;
        let mut rollout = Rollout { task, prompt: prompt_ids(tokenizer, &tasks[task]), ..Rollout::default() };
        rollout.messages.push(json!({"role": "user", "content": tasks[task].prompt}));
        let mut ids = rollout.prompt.clone();
        if let Some(said) = injected.get(task) {
            let call = [vec![CALL], tokenizer.encode(&tasks[task].loud[0]), vec![END]].concat();
            let result = result_ids(tokenizer, &shown(said.clone()));
            rollout.context(&call);
            rollout.context(&result);
            ids.extend([call, result].concat());
        }
        let sequence = sampler.begin(k as u64);
        rollouts.push(rollout);
        open.push((k, sequence, ids));
    }
    while !open.is_empty() {
        let asked: Vec<Continued<'_>> =
            open.iter().map(|(_, sequence, ids)| Continued { sequence: *sequence, ids }).collect();
        let written = sampler.answer(&asked, &sampling)?;
        let mut calls = Vec::new();
        for ((k, sequence, _), answer) in open.iter().zip(written) {
            let rollout: &mut Rollout = &mut rollouts[*k];
            let start = rollout.ids.len();
            rollout.sampled += answer.ids.len();
            rollout.wrote(&answer.ids, answer.logprobs.iter().copied().map(Some));
            rollout.is_unfinished = !answer.is_whole;
            let inside = &answer.ids[..answer.ids.len() - usize::from(answer.is_whole)];
            match inside.split_first() {
                Some((&CALL, code)) if answer.is_whole && rollout.failed.len() < rules.calls => {
                    calls.push((*k, *sequence, start, tokenizer.decode(code)));
                }
                _ => {
                    let text = tokenizer.decode(inside);
                    rollout.reward = f64::from(answer.is_whole && text == expected[rollout.task]);
                    rollout.messages.push(json!({"role": "assistant", "content": text}));
                }
            }
        }
        let codes: Vec<String> = calls.iter().map(|(.., code)| code.clone()).collect();
        let said = pool.run(&codes)?;
        open.clear();
        for ((k, sequence, start, code), said) in calls.into_iter().zip(said) {
            let (said, rollout) = (shown(said), &mut rollouts[k]);
            let is_failed = said.end != End::Ok;
            rollout.failed.push(is_failed);
            let result = result_ids(tokenizer, &said);
            let clean_from = rollout.failing_from.filter(|_| rules.rolls_back && !is_failed);
            if is_failed {
                rollout.failing_from.get_or_insert((start, rollout.messages.len()));
            } else {
                rollout.failing_from = None;
            }
            match clean_from {
                None => {
                    rollout.called(&code, &said);
                    rollout.context(&result);
                    open.push((k, sequence, result));
                }
                Some((ids, messages)) => {
                    let call = rollout.ids.split_off(start);
                    rollout.ids.truncate(ids);
                    rollout.mask.truncate(ids);
                    rollout.logprobs.truncate(ids);
                    rollout.messages.truncate(messages);
                    // It was sampled in a context that is gone.
                    rollout.wrote(&call, call.iter().map(|_| None));
                    rollout.called(&code, &said);
                    rollout.context(&result);
                    let clean = sampler.begin((k + rollouts.len()) as u64);
                    let whole = [rollouts[k].prompt.clone(), rollouts[k].ids.clone()].concat();
                    open.push((k, clean, whole));
                }
            }
        }
    }
    Ok(rollouts)
}

fn list(name: &str, item: DataType) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new("element", item, true))), true)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn schema() -> Schema {
    let function = DataType::Struct(Fields::from(vec![text("name"), text("arguments")]));
    let call = DataType::Struct(Fields::from(vec![text("id"), text("type"), Field::new("function", function, true)]));
    let message = DataType::Struct(Fields::from(vec![
        text("role"),
        text("content"),
        list("tool_calls", call),
        text("tool_call_id"),
    ]));
    Schema::new(vec![
        text("rollout_id"),
        text("group_id"),
        Field::new("reward", DataType::Float64, true),
        list("messages", message),
        list("prompt_ids", DataType::Int32),
        list("response_ids", DataType::Int32),
        list("response_mask", DataType::Int8),
        list("response_logprobs", DataType::Float32),
    ])
}

/// Writes rollouts as rows.
pub fn write(path: &Path, rollouts: &[Rollout]) -> Result<(), Failure> {
    let row = |(k, r): (usize, &Rollout)| {
        json!({
            "rollout_id": format!("r{k}"), "group_id": format!("t{}", r.task), "reward": r.reward, "messages": r.messages,
            "prompt_ids": r.prompt, "response_ids": r.ids, "response_mask": r.mask, "response_logprobs": r.logprobs,
        })
    };
    let rows: Vec<Value> = rollouts.iter().enumerate().map(row).collect();
    let schema = Arc::new(schema());
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(&rows)?;
    let file = std::fs::File::create(path)?;
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema, None)?;
    if let Some(batch) = decoder.flush()? {
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(())
}
