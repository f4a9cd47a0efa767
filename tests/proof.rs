//! The program of the proof where things go wrong: no Python, calls that hang, fork or eat memory, a policy that never stops, and
//! nothing to do.

#[allow(dead_code)]
#[path = "../examples/proof/main.rs"]
mod proof;

use std::path::Path;
use std::time::Duration;

use candle_core::{DType, Device};
use clap::Parser;
use proof::draw::Draw;
use proof::python::{End, Pool, ToolCounts};
use proof::rollout::{Rules, sample};
use proof::tasks::{TEMPLATES, task};
use proof::text::Tokenizer;
use proof::{Arguments, Failure, prove};

fn pool() -> Option<Pool> {
    let started = Pool::start("python3", 1);
    if started.is_err() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: python3 can't be started ***\n");
    }
    started.ok()
}

fn said(pool: &mut Pool, code: &str) -> (End, String) {
    let said = pool.run(&[code.to_owned()]).expect("the worker can be replaced").remove(0);
    (said.end, said.text)
}

fn is_there(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[test]
fn python_that_is_missing_or_is_none_is_told_with_what_to_do() {
    let error = Pool::start("no-such-python", 2).err().expect("it is missing").to_string();
    assert!(error.starts_with("`no-such-python` can't be started: ") && error.contains("--python"), "{error}");
    let error = Pool::start("true", 1).err().expect("it is no Python").to_string();
    assert!(error.contains("it ended at once") && error.contains("--python"), "{error}");
}

#[test]
fn every_call_begins_with_nothing() {
    let Some(mut pool) = pool() else { return };
    assert_eq!(said(&mut pool, "x = 1\nprint(x)"), (End::Ok, "1".to_owned()));
    assert_eq!(said(&mut pool, "print(x)"), (End::Error, "NameError: name 'x' is not defined".to_owned()));
    assert_eq!(said(&mut pool, "import builtins\nbuiltins.len = None"), (End::Ok, String::new()));
    assert_eq!(said(&mut pool, "print(len('abc'))"), (End::Ok, "3".to_owned()));
    assert_eq!(said(&mut pool, "print(").0, End::Error);
    assert!(said(&mut pool, "print('a' * 10**6)").1.len() <= 400);
    assert_eq!(said(&mut pool, "exit()").0, End::Error);
}

#[test]
#[cfg(target_os = "linux")]
fn calls_that_hang_fork_or_eat_memory_are_ended_counted_and_never_remembered() {
    let Some(mut pool) = pool() else { return };
    let ids = pool.ids();
    let bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass";
    for (code, end) in [
        ("while True: pass", End::Time),
        ("import time\ntime.sleep(1000)", End::Hang),
        ("x = bytearray(10**10)", End::Memory),
        (bomb, End::Time),
        ("import os\nos.kill(os.getpid(), 9)", End::Time),
        ("import os\nos._exit(0)", End::Killed),
    ] {
        assert_eq!(said(&mut pool, code).0, end, "{code}");
    }
    assert_eq!(said(&mut pool, "import os\nos.fork()").0, End::Error, "it may start nothing");
    let writes = "import os\nf = os.memfd_create('f')\nos.write(f, b'a')";
    assert_eq!(said(&mut pool, writes).0, End::Error, "it may write nothing");
    said(&mut pool, "while True: pass");
    let expected =
        ToolCounts { calls: 9, remembered: 0, timed_out: 4, out_of_memory: 1, hung: 1, killed: 1, replaced: 0 };
    assert_eq!(pool.counts, expected);
    assert_eq!(said(&mut pool, "print(1)"), (End::Ok, "1".to_owned()), "the worker goes on");
    assert_eq!(pool.ids(), ids);
    drop(pool);
    assert!(!ids.into_iter().any(is_there), "no worker is left, not even as a zombie");
}

#[test]
#[cfg(target_os = "linux")]
fn worker_that_is_lost_or_does_not_answer_is_replaced() {
    let Some(pool) = pool() else { return };
    let mut pool = pool.with_patience(Duration::from_secs(2));
    for signal in ["-KILL", "-STOP"] {
        let id = pool.ids()[0];
        let sent = std::process::Command::new("kill").args([signal, &id.to_string()]).status();
        assert!(sent.expect("kill is there").success());
        assert_eq!(said(&mut pool, &format!("print('{signal}')")).0, End::Killed);
        assert!(!is_there(id), "it is killed and waited for");
        assert_eq!(
            said(&mut pool, &format!("print('{signal}')")),
            (End::Ok, signal.to_owned()),
            "it was not remembered"
        );
    }
    assert_eq!((pool.counts.killed, pool.counts.replaced), (2, 2));
}

/// The processes that a process has started.
fn children(of: u32) -> Vec<u32> {
    let parent = |id: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (state, rest) = stat.rsplit_once(") ")?.1.split_once(' ')?;
        (state != "Z").then(|| rest.split(' ').next()?.parse().ok()).flatten()
    };
    let all = std::fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|id| parent(*id) == Some(of)).collect()
}

/// Waits for what must become true, and not for long.
fn wait_for(what: &str, is_true: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !is_true() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn call_ends_with_its_worker_however_that_ends() {
    let Some(mut pool) = pool() else { return };
    let worker = pool.ids()[0];
    let asked = std::thread::spawn(move || (said(&mut pool, "import time\ntime.sleep(1000)").0, pool));
    wait_for("the call is there", || !children(worker).is_empty());
    let call = children(worker);
    let sent = std::process::Command::new("kill").args(["-KILL", &worker.to_string()]).status();
    assert!(sent.expect("kill is there").success());
    let is_running =
        |id: &u32| std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    wait_for("the call is gone", || !call.iter().any(is_running));
    let (end, pool) = asked.join().expect("an answer");
    // The worker may have ended the call before it was ended itself.
    assert!(matches!(end, End::Killed | End::Hang), "{end:?}");
    assert_eq!((pool.counts.calls, pool.counts.remembered), (1, 0));
    let ids = pool.ids();
    drop(pool);
    assert!(!ids.into_iter().any(is_there));
}

#[test]
fn every_task_is_answered_by_its_call_and_goes_wrong_as_it_says() {
    let Some(mut pool) = pool() else { return };
    for template in 0..TEMPLATES {
        for seed in 0..20 {
            let task = task(template, &mut Draw::of(&[template as u64, seed]));
            let (end, right) = said(&mut pool, &task.good);
            assert_eq!(end, End::Ok, "{task:?}");
            assert!(!task.loud.is_empty() && !task.silent.is_empty());
            for code in &task.loud {
                assert_eq!(said(&mut pool, code).0, End::Error, "{code}");
            }
            for code in &task.silent {
                let (end, wrong) = said(&mut pool, code);
                assert!(end == End::Ok && wrong != right, "{code} gives {wrong}, as {}", task.good);
            }
        }
    }
}

#[test]
fn text_in_tokens_reads_back_as_it_was() {
    let tokenizer = Tokenizer::default();
    for text in ["print(sum([1,22,3]))", "NameError: name 'math' is not defined", "a\nb <end> <tool_call>", ""] {
        let ids = tokenizer.encode(text);
        assert_eq!(tokenizer.decode(&ids), text);
        assert!(ids.iter().all(|&id| id > proof::text::CALL), "no special token is read out of text");
    }
    assert_eq!(tokenizer.decode(&tokenizer.encode("é")), "?");
}

#[test]
fn policy_that_never_stops_ends_its_rollout_without_reward() {
    let Some(mut pool) = pool() else { return };
    let (place, tokenizer) = (tempfile::tempdir().expect("a folder"), Tokenizer::default());
    proof::start::fresh(&tokenizer, place.path()).unwrap_or_else(|Failure(text)| panic!("{text}"));
    let policy = purify::policy::Policy::load(place.path(), &Device::Cpu, DType::F32).expect("it is sound");
    let tasks = [task(0, &mut Draw::of(&[1])), task(5, &mut Draw::of(&[2]))];
    // Greedy, random weights repeat themselves.
    let rules = Rules { per_task: 2, calls: 5, temperature: 0.0, seed: 0, rolls_back: false, injects: false };
    let found = sample(&policy, &tokenizer, &mut pool, &tasks, &rules).unwrap_or_else(|Failure(text)| panic!("{text}"));
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|r| r.is_unfinished && r.reward == 0.0 && r.sampled > 0 && r.ids.len() < 100));
}

#[test]
fn budgets_of_zero_and_names_that_are_wrong_or_double_are_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let out = place.path().to_str().expect("a path");
    for (more, expected) in [
        ("--updates 0", "a budget of zero"),
        ("--hours 0", "a budget of zero"),
        ("--hours nan", "a budget of zero"),
        ("--learning-rate nan", "--learning-rate is a number"),
        ("--tasks 0", "a budget of zero"),
        ("--arms raw,raw", "--arms: `raw` is named twice"),
        ("--arms raw,purest", "--arms: there is no `purest`"),
        ("--seeds 1,1", "a seed is named twice"),
        ("--regimes free", "--regimes: there is no `free`"),
        ("--report", "holds no finished run"),
        ("--python no-such-python", "`no-such-python` can't be started"),
    ] {
        let args = ["proof", "--out", out].into_iter().chain(more.split(' '));
        let Failure(text) = prove(&Arguments::parse_from(args)).expect_err(more);
        assert!(text.contains(expected), "{more}: {text}");
    }
}
