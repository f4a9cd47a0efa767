//! A lenient reader of shell commands: which programs a text runs, with which words, and how they hang together.
//!
//! Owns the cut of a text into simple commands: quotes, here-documents, redirections, lists and pipes, command
//! substitutions, shells within shells (`bash -lc '...'`), and wrappers (`sudo`, `timeout 5`, `env A=b`). It expands
//! nothing and runs nothing. What it can't read it keeps as words and says so ([`Script::is_whole`]); what a program does
//! is for its callers to know. Time is linear in the text at each depth, and depth is bounded.

mod lex;
mod quotes;
mod words;

pub use words::{assigned_name, base_name};

/// How a command depends on the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// The first, or after `;`, a line break or `&`: it runs whatever came before.
    #[default]
    Then,
    /// After `&&`: it runs if the one before went well.
    And,
    /// After `||`: it runs if the one before failed.
    Or,
    /// After `|`: it runs beside the one before.
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

    /// The first argument that is not an option: what `git`, `apt-get`, `docker` or `npm` are told to do.
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

/// Shells within shells, and substitutions within substitutions, that are still read.
const DEEPEST: usize = 6;

/// Reads a command line or a script.
pub fn read(text: &str) -> Script {
    let mut script = Script { is_whole: true, ..Script::default() };
    read_into(text, 0, &mut script);
    script
}

/// `["bash", "-lc", "..."]`, as some harnesses write a command.
pub fn read_words(words: &[String]) -> Script {
    let mut script = Script { is_whole: true, ..Script::default() };
    let command = lex::Raw { words: words.to_vec(), ..lex::Raw::default() };
    take(command, 0, &mut script);
    script
}

fn read_into(text: &str, depth: usize, script: &mut Script) {
    if depth > DEEPEST {
        script.is_whole = false;
        return;
    }
    let (commands, is_whole) = lex::cut(text);
    script.is_whole &= is_whole;
    for raw in commands {
        take(raw, depth, script);
    }
}

/// Takes off what is around a program, and reads what is inside.
fn take(raw: lex::Raw, depth: usize, script: &mut Script) {
    for inner in &raw.substitutions {
        read_into(inner, depth + 1, script);
    }
    let first = script.commands.len();
    let mut words = raw.words;
    let wrappers = words::unwrap(&mut words);
    if let Some(inner) = words::inner_script(&words) {
        let inner = inner.to_owned();
        read_into(&inner, depth + 1, script);
    } else {
        script.stops_at_error |= words::sets_errexit(&words);
        let redirects = raw.redirects.clone();
        script.commands.push(Command {
            join: raw.join,
            words,
            redirects,
            wrappers: wrappers.clone(),
            is_background: raw.is_background,
            is_conditional: raw.is_conditional,
        });
        return;
    }
    // The outer command's place is that of the first inner one, its redirections are those of all.
    for (k, command) in script.commands[first..].iter_mut().enumerate() {
        if k == 0 {
            command.join = raw.join;
        }
        command.is_background |= raw.is_background;
        command.is_conditional |= raw.is_conditional;
        command.redirects.extend(raw.redirects.iter().cloned());
        command.wrappers.splice(0..0, wrappers.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands as text: `&&`, `||`, `|` or `;` before each, `>` for what it writes, `?` where it may not run.
    fn seen(text: &str) -> Vec<String> {
        let sign = |join| match join {
            Join::Then => ";",
            Join::And => "&&",
            Join::Or => "||",
            Join::Pipe => "|",
        };
        let command = |c: &Command| {
            let written: String = c.written().map(|path| format!(" >{path}")).collect();
            let marks =
                format!("{}{}", if c.is_conditional { "?" } else { "" }, if c.is_background { "&" } else { "" });
            format!("{}{marks} {}{written}", sign(c.join), c.words.join(" "))
        };
        read(text).commands.iter().map(command).collect()
    }

    #[test]
    fn lists_and_pipes_are_cut_into_commands() {
        assert_eq!(
            seen("cd /a && ls -la | head -5; echo 'a; b' || true"),
            ["; cd /a", "&& ls -la", "| head -5", "; echo a; b", "|| true"]
        );
        assert_eq!(seen("a\n\n# words; here\nb # c\n"), ["; a", "; b"]);
        assert_eq!(seen("server >log 2>&1 & echo $!"), [";& server >log", "; echo $!"]);
        assert_eq!(seen("a \\\n  --b"), ["; a --b"]);
    }

    #[test]
    fn wrappers_and_inner_shells_are_taken_off() {
        assert_eq!(seen("sudo -u app timeout -k 5 60 env A=b python3 x.py"), ["; python3 x.py"]);
        assert_eq!(
            seen("cd /a && bash -lc 'set -e; pip install x && y'"),
            ["; cd /a", "&& set -e", "; pip install x", "&& y"]
        );
        assert_eq!(seen("su - user -c \"ls -l ~\" > out"), ["; ls -l ~ >out"]);
        assert_eq!(seen("A=1 B=2 make"), ["; make"]);
        let script = read("bash -lc 'set -euo pipefail\nsudo apt-get update'");
        assert!(script.stops_at_error);
        assert_eq!(script.commands[1].wrappers, ["sudo"]);
        let words = ["bash", "-lc", "ls; pwd"].map(str::to_owned);
        assert_eq!(read_words(&words).commands.len(), 2);
    }

    #[test]
    fn documents_belong_to_their_command() {
        let script = read("cd /a && python3 - <<'PY' > out.txt\nimport os\nprint('a; b')\nPY\necho done");
        assert_eq!(script.commands[1].python_code(), Some("import os\nprint('a; b')\n"));
        assert_eq!(script.commands[1].written().collect::<Vec<_>>(), ["out.txt"]);
        assert_eq!(script.commands[2].words, ["echo", "done"]);
        assert_eq!(
            read("python -c 'import os; os.remove(1)'").commands[0].python_code(),
            Some("import os; os.remove(1)")
        );
        assert_eq!(read("python x.py <<E\n1\nE\n").commands[0].python_code(), None);
        assert_eq!(read("python -m pytest -q").commands[0].python_module(), Some("pytest"));
    }

    #[test]
    fn branches_and_loops_mark_what_may_not_run() {
        let text = "for f in *.py; do rm $f; done; if [ -d a ]; then mkdir b; else c; fi\nd";
        assert_eq!(seen(text), [";? rm $f", ";? [ -d a ]", ";? mkdir b", ";? c", "; d"]);
        assert_eq!(seen("case $1 in\n a|b) x ;;\n *) y;;\nesac; z"), [";? x", ";? y", "; z"]);
        assert_eq!(seen("f() {\n rm -r a\n}\nf"), [";? rm -r a", "; f"]);
        assert_eq!(seen("for ((i=0; i<3; i++)); do a; done"), [";? a"]);
        assert_eq!(seen("[[ -f a && -f b ]] && c"), ["; [[ -f a && -f b", "&& c"]);
    }

    #[test]
    fn substitutions_run_before_their_command() {
        assert_eq!(
            seen("echo $(date +%F) `id -u` $((1+2))"),
            ["; date +%F", "; id -u", "; echo $(date +%F) `id -u` $((1+2))"]
        );
        assert_eq!(seen("diff <(sort a) b"), ["; sort a", "; diff <(...) b"]);
    }

    #[test]
    fn what_is_not_closed_is_read_to_its_end_and_said() {
        for text in
            ["echo 'a", "echo \"a", "a $(b", "cat <<E\nx", "if true; then a", "echo `a", "\\", "é $(é", "(((", "a $'b"]
        {
            assert!(!read(text).is_whole || text == "\\", "{text}");
        }
        assert!(read("echo 'a' \"b\" $(c)").is_whole);
        let deep = format!("{}a{}", "$(".repeat(50), ")".repeat(50));
        assert!(!read(&deep).is_whole);
    }

    #[test]
    fn a_long_text_is_read_in_time_linear_in_it() {
        let long = "echo 'x' | grep y && z; ".repeat(50_000);
        assert_eq!(read(&long).commands.len(), 150_000);
        assert!(!read(&"$(".repeat(200_000)).is_whole);
        assert!(!read(&"`".repeat(300_001)).is_whole);
        read(&"<<A ".repeat(50_000));
    }
}
