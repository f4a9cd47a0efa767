//! Bad luck: outputs that can't be written, signals, full disks, a kill at any moment.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Place, fixture, rows, said, skipped, write};

#[test]
fn outputs_that_cannot_be_written_are_exit_4_and_leave_nothing() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    place.with("rollouts/two_runs.parquet", "b.parquet");
    std::fs::write(place.path("file"), "x").expect("a file");
    let before = place.files();
    let cases: &[(&[&str], &str)] = &[
        (
            &["--in", "raw.parquet", "--out", "raw.parquet"],
            "error: `raw.parquet` is the input itself\n\nhint: give another name: an input is never changed\n",
        ),
        (
            &["--in", "raw.parquet", "b.parquet", "--out", "file"],
            "error: `file` is a file, expected a folder for 2 inputs\n\nhint: give --out the name of a folder\n",
        ),
        (&["--in", "raw.parquet", "--out", "file/x.parquet"], "error: `file/x.parquet` can't be written\n"),
    ];
    let by_detour: &[&[&str]] = &[
        &["--in", "raw.parquet", "--out", "new/../raw.parquet"],
        &["--in", "raw.parquet", "--out", "x.parquet", "--report", "raw.parquet"],
        &["--in", "raw.parquet", "--dry-run", "--report", "./raw.parquet"],
    ];
    for args in by_detour {
        let said = place.run(args);
        assert_eq!(said.code, 4, "{}", said.stderr);
        assert!(said.stderr.contains("is the input itself"), "{}", said.stderr);
        assert_eq!(place.files(), before);
    }
    let twice = place.run(&["--in", "raw.parquet", "--out", "x.parquet", "--report", "x.parquet"]);
    assert_eq!(twice.code, 2, "{}", twice.stderr);
    for (args, text) in cases {
        let said = place.run(args);
        assert_eq!(said.code, 4, "{}", said.stderr);
        assert!(said.stderr.starts_with(text), "{}", said.stderr);
        assert_eq!(place.files(), before);
    }
}

#[test]
fn inputs_that_are_not_there_are_exit_3() {
    let place = Place::new();
    for (pattern, text) in [
        ("none.parquet", "`none.parquet` can't be opened"),
        ("*.parquet", "`*.parquet` matches no file of Parquet or JSON lines"),
    ] {
        let said = place.run(&["--in", pattern]);
        assert_eq!(said.code, 3);
        assert!(said.stderr.contains(text), "{}", said.stderr);
    }
}

#[test]
fn a_bad_file_among_several_fails_the_run_before_anything_is_written() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "in/a.parquet");
    place.with("bad/cut_off.parquet", "in/b.parquet");
    let said = place.run(&["--in", "in", "--out", "out"]);
    assert_eq!(said.code, 3);
    assert_eq!(place.files(), ["in/a.parquet", "in/b.parquet"]);
}

/// Rows enough for a run of some seconds in a debug build.
fn many_rows(place: &Place, name: &str, times: usize) {
    let all = rows(&fixture("rollouts/all.parquet"));
    let many = arrow::compute::concat_batches(&all.schema(), &vec![all.clone(); times]).expect("one schema");
    std::fs::create_dir_all(place.path(name).parent().expect("a parent")).expect("a folder");
    write(&place.path(name), &many, 1000);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_run_with_its_status_and_tidies_up() {
    let place = Place::new();
    many_rows(&place, "raw.parquet", 8000);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = place
            .command(&["--in", "raw.parquet"])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        wait_until(|| place.path(".raw.purified.parquet.partial").exists());
        Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().expect("kill is there");
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(code));
        assert_eq!(place.files(), ["raw.parquet"]);
    }
}

fn wait_until(ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(60), "the program never got there");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(unix)]
#[test]
fn killed_at_any_moment_no_partial_file_is_left_and_the_next_run_does_the_rest() {
    let place = Place::new();
    for k in 0..6 {
        many_rows(&place, &format!("in/{k}.parquet"), 400);
    }
    let args = ["--in", "in", "--out", "out", "--pairs"];
    let whole = place.run(&["--in", "in", "--out", "whole", "--pairs"]);
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    for part in [1, 3] {
        let mut child = place.command(&args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        wait_until(|| place.path(&format!("out/.purify/train-0000{part}-of-00006.json")).exists());
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        for name in place.files().iter().filter(|f| f.starts_with("out/data/train")) {
            assert_eq!(place.bytes(name), place.bytes(&name.replacen("out", "whole", 1)), "{name}");
        }
        assert!(!place.path("out/manifest.json").exists());
    }
    let rest = place.run(&args);
    assert_eq!(rest.code, 0, "{}", rest.stderr);
    assert!(rest.stderr.contains("files were finished by an earlier run"), "{}", rest.stderr);
    for name in place.files().iter().filter(|f| f.starts_with("whole/")) {
        assert_eq!(place.bytes(name), place.bytes(&name.replacen("whole", "out", 1)), "{name}");
    }
    assert_eq!(whole.count("repairs"), rest.count("repairs"));
    let left: Vec<_> = place.files().into_iter().filter(|f| f.contains(".partial") || f.contains(".purify")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_full_disk_is_exit_4_and_leaves_nothing_half_written() {
    let place = Place::new();
    many_rows(&place, "raw.parquet", 400);
    std::fs::create_dir(place.path("small")).expect("a folder");
    let small = place.path("small");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
        .arg(&small)
        .output()
        .is_ok_and(|o| o.status.success());
    if !mounted {
        return skipped("a small disk (tmpfs) can't be mounted here");
    }
    let output =
        place.command(&["--in", "raw.parquet", "--out", "small/out.parquet", "--compression-level", "1"]).output();
    let left = std::fs::read_dir(&small).map(|d| d.count());
    let _ = Command::new("umount").arg(&small).status();
    let said = said(&output.expect("it runs"));
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(
        said.stderr.contains("error: `small/out.parquet` can't be written\ncaused by: No space left on device"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("hint: free some space"), "{}", said.stderr);
    assert_eq!(left.expect("the disk can be read"), 0);
}

#[test]
fn two_runs_do_not_write_the_same_file() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let held = std::fs::File::create(place.path(".raw.purified.parquet.partial")).expect("a file");
    held.lock().expect("a lock");
    let said = place.run(&["--in", "raw.parquet"]);
    assert_eq!(said.code, 4);
    assert!(
        said.stderr.starts_with("error: `raw.purified.parquet` is being written by another run\n"),
        "{}",
        said.stderr
    );
    drop(held);
    assert_eq!(place.run(&["--in", "raw.parquet"]).code, 0);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    let mut child = place.command(&["inspect", "raw.parquet"]).stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}
