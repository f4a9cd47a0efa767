//! Checkpoints: everything that the next update depends on, written whole or not at all.
//!
//! Owns the folders `checkpoint-NNNNNN` below the run's own, and `metrics.jsonl`. A checkpoint holds the weights in the
//! layout of the hub or of PEFT, so that each can be used as it stands, the optimizer's moments, and which run it is of. A
//! folder gets its name when all is in it; a run that is killed at any moment finds the last whole one.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TrainError;
use super::metrics::Metrics;
use super::optimizer::AdamW;
use crate::policy::files::{write_json, write_tensors, write_whole};
use crate::policy::lora::LoraConfig;
use crate::policy::weights::Weights;
use crate::policy::{Policy, PolicyError};
use crate::write::WriteError;

const PREFIX: &str = "checkpoint-";
const STATE: &str = "trainer.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const ADAPTER: &str = "adapter_model.safetensors";
const METRICS: &str = "metrics.jsonl";
/// Checkpoints that are kept: the last, and the one before in case the disk fails under the last.
const KEPT: usize = 2;

/// Which run a checkpoint is of, and how far it went.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct RunState {
    /// Updates made.
    pub update: u64,
    /// Options that the result depends on.
    pub settings: Value,
    /// Hash of the examples.
    pub data: String,
}

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    root: PathBuf,
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> TrainError + '_ {
    |source| PolicyError::from(WriteError::Io { path: path.to_owned(), source }).into()
}

impl RunFolder {
    /// Makes the folder; one that holds a run is only taken to go on with it.
    pub fn open(root: &Path, resumes: bool) -> Result<Self, TrainError> {
        std::fs::create_dir_all(root).map_err(io_error(root))?;
        if root.join(METRICS).exists() && !resumes {
            return Err(TrainError::Occupied { path: root.to_owned() });
        }
        Ok(RunFolder { root: root.to_owned() })
    }

    fn checkpoint(&self, update: u64) -> PathBuf {
        self.root.join(format!("{PREFIX}{update:06}"))
    }

    /// Whole checkpoints, the latest first.
    fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>, TrainError> {
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(io_error(&self.root))? {
            let path = entry.map_err(io_error(&self.root))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            out.extend(name.strip_prefix(PREFIX).and_then(|n| n.parse().ok()).map(|n| (n, path)));
        }
        out.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        Ok(out)
    }

    /// The path of the latest whole checkpoint.
    pub fn latest(&self) -> Result<Option<PathBuf>, TrainError> {
        Ok(self.checkpoints()?.into_iter().next().map(|(_, path)| path))
    }

    /// Saves the state after `state.update` updates; there already if an earlier part of the run has been there.
    pub fn save(
        &self,
        state: &RunState,
        policy: &Policy,
        adapter: Option<&LoraConfig>,
        optimizer: &AdamW,
    ) -> Result<PathBuf, TrainError> {
        let path = self.checkpoint(state.update);
        if path.exists() {
            return Ok(path);
        }
        let partial = self.root.join(format!(".{PREFIX}{:06}.partial", state.update));
        if partial.exists() {
            std::fs::remove_dir_all(&partial).map_err(io_error(&partial))?;
        }
        std::fs::create_dir_all(&partial).map_err(io_error(&partial))?;
        match adapter {
            Some(config) => policy.save_adapter(&partial, config)?,
            None => policy.save_full(&partial)?,
        }
        write_tensors(&partial.join(OPTIMIZER), &optimizer.state())?;
        let state_json = serde_json::to_value(state).unwrap_or_default();
        write_json(&partial.join(STATE), &state_json)?;
        std::fs::rename(&partial, &path).map_err(io_error(&path))?;
        for (_, old) in self.checkpoints()?.into_iter().skip(KEPT) {
            std::fs::remove_dir_all(&old).map_err(io_error(&old))?;
        }
        Ok(path)
    }

    /// Puts the latest checkpoint's state back; returns the updates made, 0 if there is none.
    pub fn restore(
        &self,
        expected: &RunState,
        policy: &mut Policy,
        is_adapter: bool,
        optimizer: &mut AdamW,
    ) -> Result<u64, TrainError> {
        let Some((_, path)) = self.checkpoints()?.into_iter().next() else { return Ok(0) };
        let broken = |detail: String| TrainError::Checkpoint { path: path.clone(), detail };
        let file = path.join(STATE);
        let text = std::fs::read_to_string(&file).map_err(|e| broken(format!("`{STATE}`: {e}")))?;
        let found: RunState = serde_json::from_str(&text).map_err(|e| broken(format!("`{STATE}`: {e}")))?;
        if let Some(what) = difference(expected, &found) {
            return Err(TrainError::OtherRun { path, what });
        }
        let weights = match is_adapter {
            true => Weights::of_file(&path.join(ADAPTER))?,
            false => Weights::of_folder(&path)?,
        };
        policy.restore(&weights)?;
        let moments = Weights::of_file(&path.join(OPTIMIZER))?;
        let (config, device) = (policy.config.clone(), policy.device().clone());
        optimizer.restore(&policy.trained(), |name, parameter| {
            moments.get(name, parameter.value.dims(), &config, candle_core::DType::F32, &device)
        })?;
        Ok(found.update)
    }

    /// Opens the metrics, lines after `update` left out: they will be made again.
    pub fn metrics(&self, update: u64) -> Result<MetricsFile, TrainError> {
        let path = self.root.join(METRICS);
        let kept: String = std::fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .filter(|line| {
                let line: Option<Value> = serde_json::from_str(line).ok();
                line.and_then(|l| l.get("update")?.as_u64()).is_some_and(|n| n <= update)
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        write_whole(&path, kept.as_bytes())?;
        let file = std::fs::OpenOptions::new().append(true).open(&path).map_err(io_error(&path))?;
        Ok(MetricsFile { path, file })
    }
}

/// What tells two runs apart, if anything.
fn difference(expected: &RunState, found: &RunState) -> Option<String> {
    if expected.data != found.data {
        return Some("the data".to_owned());
    }
    let (Some(expected), Some(found)) = (expected.settings.as_object(), found.settings.as_object()) else {
        return Some("the settings' form".to_owned());
    };
    let keys = expected.keys().chain(found.keys());
    let key = keys.into_iter().find(|key| expected.get(*key) != found.get(*key))?;
    Some(format!("`{key}`"))
}

/// `metrics.jsonl`: one line for each update.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: std::fs::File,
}

impl MetricsFile {
    pub fn append(&mut self, metrics: &Metrics) -> Result<(), TrainError> {
        let line = serde_json::to_string(metrics).unwrap_or_default() + "\n";
        self.file.write_all(line.as_bytes()).map_err(io_error(&self.path))
    }
}
