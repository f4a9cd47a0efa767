//! The tool: real CPython in worker processes, with limits.
//!
//! Owns the pool: workers are ready before they are timed, one that does not answer is killed and replaced, and what was killed or
//! ran out of time is counted and never remembered. What a call may use is the worker's own matter (`worker.py`).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// CPU seconds of one call.
const CPU_SECONDS: u32 = 1;
/// For a worker to start, on a machine that is busy.
const START: Duration = Duration::from_secs(60);
/// For a worker that should have ended its call long ago.
const ANSWER: Duration = Duration::from_secs(60);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Ok,
    Error,
    /// Its CPU time was used up.
    Time,
    Memory,
    /// It waited without doing anything.
    Hang,
    /// It, or its worker, was killed.
    Killed,
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub end: End,
    pub text: String,
}

impl Said {
    /// What is said for a worker that says nothing.
    fn lost() -> Self {
        Said { end: End::Killed, text: "its worker did not answer".to_owned() }
    }
}

/// Why there is no tool.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("`{name}` can't be started: {source}; give --python with the path of a CPython 3")]
    NoPython { name: String, source: std::io::Error },
    #[error("`{name}` was started and is not ready: {detail}; give --python with the path of a CPython 3")]
    NotReady { name: String, detail: String },
}

/// What became of calls that did not end by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolCounts {
    pub calls: u64,
    /// Answered from memory.
    pub remembered: u64,
    pub timed_out: u64,
    pub out_of_memory: u64,
    pub hung: u64,
    pub killed: u64,
    /// Workers that were replaced.
    pub replaced: u64,
}

struct Worker {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Worker {
    fn start(name: &str) -> Result<Self, ToolError> {
        let mut command = Command::new(name);
        command.args(["-I", "-S", "-c", include_str!("worker.py"), &CPU_SECONDS.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| ToolError::NoPython { name: name.to_owned(), source })?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(ToolError::NotReady { name: name.to_owned(), detail: "it has no pipes".to_owned() });
        };
        let (sender, lines) = channel();
        // Ends with the worker, whose end closes the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let worker = Worker { child, stdin, lines };
        match worker.lines.recv_timeout(START) {
            Ok(line) if line == "ready" => Ok(worker),
            Ok(line) => {
                Err(ToolError::NotReady { name: name.to_owned(), detail: format!("it said `{}`", line.escape_debug()) })
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(ToolError::NotReady { name: name.to_owned(), detail: "it said nothing for a minute".to_owned() })
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(ToolError::NotReady { name: name.to_owned(), detail: "it ended at once".to_owned() })
            }
        }
    }

    /// `None`: the worker is of no use any more.
    fn ask(&mut self, code: &str, patience: Duration) -> Option<Said> {
        writeln!(self.stdin, "{}", json!({ "code": code })).ok()?;
        self.stdin.flush().ok()?;
        let answer: Value = serde_json::from_str(&self.lines.recv_timeout(patience).ok()?).ok()?;
        let end = match answer["end"].as_str()? {
            "ok" => End::Ok,
            "error" => End::Error,
            "time" => End::Time,
            "memory" => End::Memory,
            "hang" => End::Hang,
            _ => End::Killed,
        };
        Some(Said { end, text: answer["out"].as_str()?.trim_end().to_owned() })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Workers, and what they have said before.
pub struct Pool {
    name: String,
    patience: Duration,
    workers: Vec<Worker>,
    memory: HashMap<String, Said>,
    pub counts: ToolCounts,
}

impl Pool {
    /// Starts the workers; all are ready when this returns.
    pub fn start(name: &str, workers: usize) -> Result<Self, ToolError> {
        let workers = (0..workers.max(1)).map(|_| Worker::start(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Pool {
            name: name.to_owned(),
            patience: ANSWER,
            workers,
            memory: HashMap::new(),
            counts: ToolCounts::default(),
        })
    }

    /// The same with less patience for a worker that does not answer.
    #[allow(dead_code)] // of the tests
    pub fn with_patience(self, patience: Duration) -> Self {
        Pool { patience, ..self }
    }

    /// Process ids of the workers.
    #[allow(dead_code)] // of the tests
    pub fn ids(&self) -> Vec<u32> {
        self.workers.iter().map(|worker| worker.child.id()).collect()
    }

    /// Runs calls, each in fresh state, and returns what they said in the order asked.
    ///
    /// # Errors
    /// A worker that had to be replaced, and could not.
    pub fn run(&mut self, codes: &[String]) -> Result<Vec<Said>, ToolError> {
        self.counts.calls += codes.len() as u64;
        let mut fresh: Vec<&String> = codes.iter().filter(|code| !self.memory.contains_key(*code)).collect();
        fresh.sort_unstable();
        fresh.dedup();
        let next = Mutex::new(fresh.iter());
        let found: Mutex<Vec<(String, Said)>> = Mutex::default();
        let replaced: Mutex<Vec<ToolError>> = Mutex::default();
        let (name, patience) = (&self.name, self.patience);
        let replacements: u64 = std::thread::scope(|scope| {
            let serve = |worker: &mut Worker| {
                let mut replacements = 0;
                loop {
                    let code = match next.lock() {
                        Ok(mut next) => next.next().copied(),
                        Err(_) => None,
                    };
                    let Some(code) = code else { return replacements };
                    let said = worker.ask(code, patience);
                    let is_lost = said.is_none();
                    if let Ok(mut found) = found.lock() {
                        found.push((code.clone(), said.unwrap_or_else(Said::lost)));
                    }
                    if is_lost {
                        replacements += 1;
                        match Worker::start(name) {
                            Ok(fresh) => *worker = fresh,
                            Err(error) => {
                                if let Ok(mut errors) = replaced.lock() {
                                    errors.push(error);
                                }
                                return replacements;
                            }
                        }
                    }
                }
            };
            let threads: Vec<_> = self.workers.iter_mut().map(|worker| scope.spawn(move || serve(worker))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
        });
        self.counts.replaced += replacements;
        if let Some(error) = replaced.into_inner().ok().and_then(|mut errors| errors.pop()) {
            return Err(error);
        }
        let mut lost = HashMap::new();
        for (code, said) in found.into_inner().unwrap_or_default() {
            let count = match said.end {
                End::Ok | End::Error => None,
                End::Time => Some(&mut self.counts.timed_out),
                End::Memory => Some(&mut self.counts.out_of_memory),
                End::Hang => Some(&mut self.counts.hung),
                End::Killed => Some(&mut self.counts.killed),
            };
            match count {
                None => self.memory.insert(code, said),
                Some(count) => {
                    *count += 1;
                    lost.insert(code, said)
                }
            };
        }
        self.counts.remembered += (codes.len() - fresh.len()) as u64;
        let said = |code: &String| self.memory.get(code).or_else(|| lost.get(code)).cloned().unwrap_or_else(Said::lost);
        Ok(codes.iter().map(said).collect())
    }
}
