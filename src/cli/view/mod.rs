//! `purify view`: the repairs of a purified file in the terminal.
//!
//! Owns the terminal and the loop: it is put back on every way out, a panic and a signal among them. What a key does is
//! [`state`]'s, what is seen [`draw`]'s.

mod detail;
mod draw;
mod spool;
mod state;
mod text;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::SIGINT;

use super::printer::{Printer, escaped};
use super::signals::{self, Watch};
use crate::audit::repairs::each_repair;
use crate::error::{Error, ExitStatus};
use crate::options::ColumnConfig;
use crate::run::Run;
use draw::Scene;
use spool::Spool;
use state::{Asked, State};

/// Longest time until a signal is seen.
const TICK: Duration = Duration::from_millis(100);

/// Shows repairs until the user has seen enough.
pub fn run(purified: &Path, raw: &Path, columns: &ColumnConfig, printer: &Printer) -> Result<ExitStatus, Error> {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        return Err(Error::usage(
            "`purify view` needs a terminal on stdin and stdout",
            Some("`purify diff RAW PURIFIED` prints repairs to a file or a pipe"),
        ));
    }
    let watch = signals::watch();
    let progress = watch.progress(printer);
    let run = Run::new(0, &progress, &watch.seen)?;
    let mut spool = Spool::new();
    each_repair(purified, raw, columns, &run, |view| spool.push(view).map_err(no_spool))?;
    let name = purified.file_name().unwrap_or_default().to_string_lossy();
    if spool.entries.is_empty() {
        printer.line(&format!("no repairs in `{}`", escaped(&name)));
        return Ok(ExitStatus::Done);
    }
    let mut screen = Screen::open().map_err(no_terminal)?;
    watch.at_once.store(false, Ordering::Relaxed);
    screen.show(&mut spool, &name, &watch)
}

fn no_spool(error: io::Error) -> Error {
    Error::usage(
        format!("repairs can't be kept in a temporary file: {error}"),
        Some("free some space, or name another folder in TMPDIR"),
    )
}

fn no_terminal(error: io::Error) -> Error {
    Error::usage(
        format!("the terminal can't be used: {error}"),
        Some("`purify diff RAW PURIFIED` prints repairs to a file or a pipe"),
    )
}

/// The terminal while it is ours.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Screen {
    /// A panic puts the terminal back as well.
    fn open() -> io::Result<Self> {
        ratatui::try_init().map(Screen).inspect_err(|_| ratatui::restore())
    }

    fn show(&mut self, spool: &mut Spool, file: &str, watch: &Watch) -> Result<ExitStatus, Error> {
        let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut state = State::new(&spool.entries);
        let (mut lines, mut lines_of) = (Vec::new(), None);
        loop {
            if state.current() != lines_of {
                lines_of = state.current();
                lines = lines_of.map(|index| spool.lines(index)).transpose().map_err(no_spool)?.unwrap_or_default();
            }
            let mut fit = state.fit;
            let scene = Scene { state: &state, entries: &spool.entries, lines: &lines, file, is_coloured };
            self.0.draw(|frame| fit = draw::draw(&scene, frame.area(), frame.buffer_mut())).map_err(no_terminal)?;
            state.fits(fit);
            match next_key(watch).map_err(no_terminal)? {
                Input::Signal(number) => return Ok(ExitStatus::Signal(number)),
                Input::Resize => {}
                Input::Key(key) => {
                    if state.press(key, &spool.entries) == Asked::Quit {
                        return Ok(ExitStatus::Done);
                    }
                }
            }
        }
    }
}

enum Input {
    Key(KeyCode),
    Resize,
    Signal(u8),
}

/// Waits for something to happen.
fn next_key(watch: &Watch) -> io::Result<Input> {
    loop {
        let signal = watch.seen.load(Ordering::Relaxed);
        if signal != 0 {
            return Ok(Input::Signal(signal as u8));
        }
        if !event::poll(TICK)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Release => {}
            // Keys arrive raw, so that this is not a signal.
            Event::Key(KeyEvent { code: KeyCode::Char('c'), modifiers: KeyModifiers::CONTROL, .. }) => {
                return Ok(Input::Signal(SIGINT as u8));
            }
            Event::Key(key) if key.modifiers.contains(KeyModifiers::CONTROL) => {}
            Event::Key(key) => return Ok(Input::Key(key.code)),
            Event::Resize(..) => return Ok(Input::Resize),
            _ => {}
        }
    }
}
