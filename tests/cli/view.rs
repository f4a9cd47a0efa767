//! The viewer, through a pseudo-terminal.

use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::harness::Place;

const PATIENCE: Duration = Duration::from_secs(30);
const DOWN: &str = "\u{1b}[B";

/// The program in a terminal of its own, and what is on its screen.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    said: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// Everything that was sent.
    bytes: Vec<u8>,
    child: Box<dyn Child + Send + Sync>,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn nonzero(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("more than nothing")
}

impl Terminal {
    fn open(place: &Place, columns: u16, rows: u16, args: &[&str], no_color: bool) -> Self {
        let pty = native_pty_system().openpty(size(columns, rows)).expect("a terminal");
        let mut command = CommandBuilder::new(assert_cmd::cargo::cargo_bin!("purify"));
        command.args(args);
        command.cwd(place.path("."));
        command.env("TERM", "xterm-256color");
        command.env("NO_COLOR", if no_color { "1" } else { "" });
        let child = pty.slave.spawn_command(command).expect("the program starts");
        drop(pty.slave);
        let mut reader = pty.master.try_clone_reader().expect("a reader");
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keys = pty.master.take_writer().expect("a writer");
        let screen = vt100::Parser::new(nonzero(rows), nonzero(columns), 0);
        Terminal { master: pty.master, keys, said, screen, bytes: Vec::new(), child }
    }

    /// The viewer on what the main job makes of all fixtures.
    fn view(place: &Place, no_color: bool) -> Self {
        Self::view_of(place, &[], no_color)
    }

    /// The same, purified with more options.
    fn view_of(place: &Place, options: &[&str], no_color: bool) -> Self {
        place.with("rollouts/all.parquet", "raw.parquet");
        assert_eq!(place.run(&[&["--in", "raw.parquet"], options].concat()).code, 0);
        let args = ["view", "raw.purified.parquet", "--raw", "raw.parquet"];
        let terminal = Self::open(place, 100, 30, &args, no_color);
        terminal.until(|text| text.contains("? help"))
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    fn send(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("it reads keys");
    }

    /// Reads on until the screen is as it should be.
    fn until(mut self, is_there: impl Fn(&str) -> bool) -> Self {
        let end = Instant::now() + PATIENCE;
        while !is_there(&self.text()) {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    self.screen.process(&bytes);
                    self.bytes.extend(bytes);
                }
                Err(RecvTimeoutError::Timeout) => panic!("it never came:\n{}", self.text()),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended:\n{}", self.text()),
            }
        }
        self
    }

    fn after(mut self, keys: &str, is_there: impl Fn(&str) -> bool) -> Self {
        self.send(keys);
        self.until(is_there)
    }

    /// Waits for the end: exit code, everything sent, and whether the terminal is as it was.
    fn ended(mut self) -> (u32, Vec<u8>, bool) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("it can be asked") {
                Some(status) => break status,
                None if Instant::now() > end => {
                    let _ = self.child.kill();
                    panic!("it does not end:\n{}", self.text());
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        while let Ok(bytes) = self.said.recv_timeout(Duration::from_millis(500)) {
            self.screen.process(&bytes);
            self.bytes.extend(bytes);
        }
        let screen = self.screen.screen();
        let is_restored = !screen.alternate_screen() && !screen.hide_cursor();
        (status.exit_code(), self.bytes, is_restored)
    }
}

fn selected(text: &str) -> String {
    text.lines().next().unwrap_or_default().split(" (").next().unwrap_or_default().to_owned()
}

#[test]
fn repairs_are_listed_searched_opened_and_the_terminal_is_put_back() {
    let place = Place::new();
    let terminal = Terminal::view(&place, true);
    let all = selected(&terminal.text());
    assert!(all.starts_with("1 of "), "{}", terminal.text());
    let terminal = terminal.after(DOWN, |text| text.starts_with("2 of"));
    let terminal = terminal.after("/one_failure_deep\r", |text| text.starts_with("1 of 1 ("));
    let terminal = terminal.after("\r", |text| text.contains("Esc list") && text.contains("one_failure_deep, row"));
    let text = terminal.text();
    assert!(text.contains("deep, recovered, 2 attempts") && text.contains("│  168"), "{text}");
    let terminal = terminal.after("s", |text| !text.contains('│') && text.contains("\n- "));
    let terminal = terminal.after("?", |text| text.contains("to the next deep repair"));
    let terminal = terminal.after("x\u{1b}", |text| text.contains("Enter open"));
    let mut terminal = terminal.after("/\u{1b}", |text| selected(text).ends_with(all.trim_start_matches("1 ")));
    terminal.send("q");
    let (code, bytes, is_restored) = terminal.ended();
    assert_eq!((code, is_restored), (0, true), "{}", String::from_utf8_lossy(&bytes));
}

#[test]
fn next_deep_repair_is_jumped_to_and_filters_leave_others_out() {
    let place = Place::new();
    let terminal = Terminal::view(&place, true);
    let terminal = terminal.after("/shallow\r", |text| text.contains("search: shallow"));
    let terminal = terminal.after("\u{1b}", |text| !text.contains("search: "));
    let terminal = terminal.after("\rn", |text| text.contains("deep, recovered"));
    let mut terminal = terminal
        .after("\u{1b}", |text| text.contains("Enter open"))
        .after("ff", |text| text.contains("filter: shallow"));
    assert!(!terminal.text().contains("\ndeep"), "{}", terminal.text());
    terminal.send("q");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn an_opened_repair_says_why_it_is_a_correction_with_its_evidence() {
    let place = Place::new();
    let terminal = Terminal::view_of(&place, &["--profile", "default"], true);
    let terminal = terminal.after("\r", |text| text.contains("Esc list"));
    let text = terminal.text();
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "why this is a correction:").skip(1);
    let told = lines.next().unwrap_or_default();
    assert!(told.starts_with("a retry: the same thing again, corrected (affinity "), "{text}");
    assert!(lines.next().is_some_and(|evidence| evidence.contains(": ")), "{text}");
}

#[test]
fn resized_terminal_is_drawn_anew_and_a_narrow_one_has_one_side_below_the_other() {
    let place = Place::new();
    let terminal = Terminal::view(&place, true);
    let mut terminal = terminal.after("\r", |text| text.contains("│"));
    terminal.master.resize(size(40, 20)).expect("a new size");
    terminal.screen.screen_mut().set_size(nonzero(20), nonzero(40));
    // What was on its way for the old size may still come, and a frame comes in pieces: only the whole of one that the program drew for
    // the new size has the first line cut with a sign, one side below the other, and no bar between them.
    let mut terminal = terminal.until(|text| {
        text.starts_with("1 of 14 (14 repairs), filter: all, raw.…\n")
            && text.contains("\n- [tool]\n")
            && !text.contains('│')
    });
    terminal.send("q");
    let (code, _, is_restored) = terminal.ended();
    assert_eq!((code, is_restored), (0, true));
}

#[test]
fn control_sequences_of_the_data_are_shown_and_never_sent() {
    let place = Place::new();
    let terminal = Terminal::view(&place, true);
    let terminal = terminal.after("/control\r", |text| text.starts_with("1 of 1 ("));
    let mut terminal = terminal.after("\r", |text| text.contains("\\u{1b}]0;title\\u{7}"));
    terminal.send("q");
    let (_, bytes, _) = terminal.ended();
    let sent = String::from_utf8_lossy(&bytes);
    assert!(!sent.contains("\u{1b}]") && !sent.contains('\u{7}') && !sent.contains('\u{202e}'), "{sent:?}");
}

#[test]
fn terminal_is_put_back_after_ctrl_c_and_after_a_signal() {
    for (keys, code) in [(Some("\u{3}"), 130), (None, 143)] {
        let place = Place::new();
        let mut terminal = Terminal::view(&place, true);
        match keys {
            Some(keys) => terminal.send(keys),
            None => {
                let id = terminal.child.process_id().expect("it runs").to_string();
                assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
            }
        }
        let (found, _, is_restored) = terminal.ended();
        assert_eq!((found, is_restored), (code, true));
    }
}

#[test]
fn colours_follow_no_color() {
    let place = Place::new();
    for (no_color, has_colour) in [(true, false), (false, true)] {
        let terminal = Terminal::view(&place, no_color);
        let mut terminal = terminal.after("\r", |text| text.contains("Esc list"));
        terminal.send("q");
        let (_, bytes, _) = terminal.ended();
        let sent = String::from_utf8_lossy(&bytes);
        assert_eq!(sent.contains("\u{1b}[38;5;1"), has_colour, "{sent:?}");
    }
}

#[test]
fn without_a_terminal_or_the_raw_file_it_says_what_to_type() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    place.run(&["--in", "raw.parquet"]);
    let said = place.run(&["view", "raw.purified.parquet", "--raw", "raw.parquet"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("`purify view` needs a terminal"), "{}", said.stderr);
    assert!(said.stderr.contains("purify diff RAW PURIFIED"), "{}", said.stderr);
    let said = place.run(&["view", "raw.purified.parquet"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("purify view raw.purified.parquet --raw FILE"), "{}", said.stderr);
}

#[test]
fn files_that_do_not_belong_together_are_told_before_the_screen_is_taken() {
    let place = Place::new();
    place.with("rollouts/all.parquet", "raw.parquet");
    place.with("rollouts/two_runs.parquet", "other.parquet");
    place.run(&["--in", "raw.parquet"]);
    for (args, text) in [
        (
            ["view", "raw.purified.parquet", "--raw", "other.parquet"],
            "is not in the raw data, or not in the same order",
        ),
        (["view", "raw.parquet", "--raw", "raw.parquet"], "it has no column `purification`"),
    ] {
        let (code, bytes, is_restored) = Terminal::open(&place, 200, 30, &args, true).ended();
        let sent = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!((code, is_restored), (3, true), "{sent}");
        assert!(sent.contains(text) && !sent.contains("\u{1b}[?1049h"), "{sent}");
    }
}
