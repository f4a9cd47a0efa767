//! JSON lines to columns: the schema of the whole file, then every row, on the pool's threads.
//!
//! Data model: rollouts of four calls, their code and results with escapes and some letters beyond ASCII, 16 MB. Limits: the
//! file is in the page cache. With `PURIFY_READ_JSONL=FILE` that file is read instead, three times, and the median printed
//! (`scripts/compare_jsonl.py`).

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use purify::ingest::{Input, decode_chunk};
use purify::options::ColumnConfig;

const BYTES: usize = 16 << 20;

fn rollouts() -> String {
    let mut out = String::with_capacity(BYTES + (1 << 16));
    let mut row = 0_u64;
    while out.len() < BYTES {
        let _ = write!(
            out,
            r#"{{"rollout_id": "r-{row}", "messages": [{{"role": "user", "content": "Wie groß ist {row}²?"}}"#
        );
        for call in 0..4 {
            let line = format!(r#"    total_{call} += values[{row}] * \\\"weight_{call}\\\"\\n"#);
            let _ = write!(
                out,
                r#", {{"role": "assistant", "content": "I go on with {row}.\n", "tool_calls": [{{"id": "c{call}", "type": "function", "function": {{"name": "python", "arguments": "{{\"code\": \"{}\"}}"}}}}]}}, {{"role": "tool", "tool_call_id": "c{call}", "content": "{}"}}"#,
                line.repeat(20),
                r"a\t0.25\n".repeat(20),
            );
        }
        let _ = writeln!(out, r#"], "reward": {}.5}}"#, row % 2);
        row += 1;
    }
    out
}

/// Rows and lines that are none.
fn read(path: &Path, columns: &ColumnConfig, pool: &rayon::ThreadPool) -> (usize, usize) {
    let input = pool.install(|| Input::open(path, columns)).expect("it can be opened");
    let (shape, input, read) = (input.shape(), Mutex::new(input), Mutex::new((0, 0)));
    // A closure, so that the lock is let go before the chunk is decoded.
    let next = || input.lock().expect("no panic").next_chunk().expect("it can be read");
    let work = || {
        while let Some(chunk) = next() {
            let (batches, bad) = decode_chunk(chunk, &shape).expect("it can be decoded");
            let mut read = read.lock().expect("no panic");
            read.0 += batches.iter().map(|batch| batch.rows()).sum::<usize>();
            read.1 += bad.len();
        }
    };
    pool.scope(|scope| (0..pool.current_num_threads()).for_each(|_| scope.spawn(|_| work())));
    read.into_inner().expect("no panic")
}

fn report(path: &Path, columns: &ColumnConfig) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    let mut times: Vec<(Duration, (usize, usize))> = (0..3)
        .map(|_| {
            let started = Instant::now();
            let read = read(path, columns, &pool);
            (started.elapsed(), read)
        })
        .collect();
    times.sort();
    let (time, (rows, bad)) = times[1];
    println!("{{\"seconds\": {}, \"rows\": {rows}, \"bad_lines\": {bad}}}", time.as_secs_f64());
}

fn main() {
    let columns = ColumnConfig::default();
    if let Some(path) = std::env::var_os("PURIFY_READ_JSONL") {
        return report(path.as_ref(), &columns);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rollouts.jsonl");
    std::fs::write(&path, rollouts()).expect("it is written");
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("read_jsonl");
    group.throughput(Throughput::Bytes(std::fs::metadata(&path).expect("it is there").len()));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        group.bench_function(format!("{threads}_threads"), |b| b.iter(|| read(&path, &columns, &pool)));
    }
    group.finish();
    criterion.final_summary();
}
