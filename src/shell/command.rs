//! A command as it was read: its program, its words, its redirections, and how it hangs on the one before.
//!
//! Owns the types, and what they tell without knowing any program but Python.

use super::words::base_name;

/// How a command hangs on the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// The first, or behind `;`, a line break or `&`: it runs whatever came before.
    #[default]
    Then,
    /// Behind `&&`: it runs if the one before went well.
    And,
    /// Behind `||`: it runs if the one before failed.
    Or,
    /// Behind `|`: it runs beside the one before.
    Pipe,
}

/// Where a redirection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// `< path`
    From(String),
    /// `> path`, `2> path`, `&> path`
    Into(String),
    /// `>> path`
    Onto(String),
    /// `<< END`: the document.
    Document(String),
    /// `<<< text`
    Text(String),
}

/// One program and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub join: Join,
    /// The program and its arguments, unquoted; wrappers and assignments are taken off. Empty: assignments or redirections
    /// alone.
    pub words: Vec<String>,
    pub redirects: Vec<Redirect>,
    /// Programs that run the program: `sudo`, `timeout`, ...
    pub wrappers: Vec<String>,
    /// It goes on beside what follows (`&`).
    pub is_background: bool,
    /// It stands in a branch, a loop or a function: it may run never, or often.
    pub is_conditional: bool,
}

impl Command {
    /// The program's name without its folder; empty if there is none.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", |word| base_name(word))
    }

    pub fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first argument that is no option: what `git`, `apt-get`, `docker` or `npm` are told to do.
    pub fn subcommand(&self) -> &str {
        self.arguments().iter().find(|word| !word.starts_with('-')).map_or("", String::as_str)
    }

    pub fn has_option(&self, names: &[&str]) -> bool {
        self.arguments().iter().any(|word| names.contains(&word.as_str()))
    }

    /// The files that it writes by redirection; `/dev/null` and the like are none.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        self.redirects.iter().filter_map(|redirect| match redirect {
            Redirect::Into(path) | Redirect::Onto(path) => Some(path.as_str()).filter(|p| !p.starts_with("/dev/")),
            Redirect::From(_) | Redirect::Document(_) | Redirect::Text(_) => None,
        })
    }

    /// The text that it is handed on its input.
    pub fn document(&self) -> Option<&str> {
        self.redirects.iter().find_map(|redirect| match redirect {
            Redirect::Document(text) | Redirect::Text(text) => Some(text.as_str()),
            Redirect::From(_) | Redirect::Into(_) | Redirect::Onto(_) => None,
        })
    }

    /// The module of `python -m module`.
    pub fn python_module(&self) -> Option<&str> {
        let at = self.is_python().then(|| self.arguments().iter().position(|word| word == "-m"))??;
        self.arguments().get(at + 1).map(String::as_str)
    }

    /// The Python that it is given: `python -c CODE`, `python - <<END`.
    pub fn python_code(&self) -> Option<&str> {
        if !self.is_python() {
            return None;
        }
        let code = self.arguments().iter().position(|word| word == "-c").and_then(|at| self.arguments().get(at + 1));
        match code {
            Some(code) => Some(code),
            None if self.arguments().iter().all(|word| word.starts_with('-')) => self.document(),
            None => None,
        }
    }

    pub fn is_python(&self) -> bool {
        let version = self.program().strip_prefix("python").or_else(|| self.program().strip_prefix("pypy"));
        version.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    }
}

/// A text, read as shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// In the order in which they stand.
    pub commands: Vec<Command>,
    /// A command that fails ends it (`set -e`).
    pub stops_at_error: bool,
    /// Every quote and bracket is closed, and nothing lies too deep.
    pub is_whole: bool,
}
