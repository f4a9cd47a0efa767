//! Tools by their names: families, near names, and those that never try anything again.
//!
//! Owns all lists of tool names that a judgement of intent needs. A name says what a tool is for, whatever the harness puts
//! in front of it (`server__tool`, `functions.tool`).

use crate::similarity::{Exact, Measure};

/// Share of letters in common above which two names may be one, misspelt.
const NEAR_LETTERS: f64 = 0.85;

/// What a tool is for, as far as its name and its arguments say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Shell,
    Python,
    Sql,
    /// It writes files.
    Edit,
    /// It shows what is there: files, pages, records.
    Look,
    Other,
}

/// A tool's own name: without the server, the harness's prefix, or chat markers that a model has let slip into it.
pub fn own_name(name: &str) -> &str {
    let name = name.split(['<', '{', '(']).next().unwrap_or(name).trim();
    let name = name.rsplit("__").next().unwrap_or(name);
    name.rsplit(['.', '/', ':']).next().unwrap_or(name)
}

/// Its words in lower case: `executeBash`, `execute_bash` and `execute-bash` are two words each.
pub fn words(name: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut follows_lower = false;
    for c in own_name(name).chars() {
        if !c.is_alphanumeric() {
            out.push(String::new());
        } else {
            if out.is_empty() || (c.is_uppercase() && follows_lower) {
                out.push(String::new());
            }
            if let Some(last) = out.last_mut() {
                last.extend(c.to_lowercase());
            }
        }
        follows_lower = c.is_lowercase() || c.is_numeric();
    }
    out.retain(|word| !word.is_empty());
    out
}

const SQL: &[&str] = &["sql", "mysql", "postgres", "postgresql", "sqlite", "duckdb", "bigquery", "snowflake"];
const PYTHON: &[&str] =
    &["python", "python3", "ipython", "jupyter", "notebook", "pyodide", "interpreter", "repl", "code"];
const SHELL: &[&str] = &[
    "bash",
    "shell",
    "sh",
    "zsh",
    "terminal",
    "cmd",
    "command",
    "commands",
    "console",
    "exec",
    "powershell",
    "process",
    "keystrokes",
    "tmux",
];
const RUN: &[&str] = &["run", "execute", "exec"];
const EDIT: &[&str] = &["edit", "editor", "write", "patch", "replace", "insert", "create", "apply", "append", "modify"];
const FILE: &[&str] =
    &["file", "files", "edit", "editor", "text", "str", "patch", "diff", "content", "write", "multiedit"];
const LOOK: &[&str] = &[
    "read", "view", "open", "show", "get", "list", "ls", "cat", "find", "search", "grep", "glob", "fetch", "lookup",
    "browse", "query", "head", "tail", "describe", "inspect", "stat", "check", "count",
];

/// The kind of a tool, by its name alone.
pub fn kind(name: &str) -> Kind {
    let words = words(name);
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let first_is = |list: &[&str]| words.first().is_some_and(|word| list.contains(&word.as_str()));
    if has(SQL) {
        Kind::Sql
    } else if has(PYTHON) && (!has(&["code"]) || has(RUN) || has(&["interpreter", "python"])) && !first_is(LOOK) {
        Kind::Python
    } else if has(SHELL) && !first_is(LOOK) || words == ["run"] || words == ["execute"] {
        Kind::Shell
    } else if has(EDIT) && has(FILE) {
        Kind::Edit
    } else if first_is(LOOK) {
        Kind::Look
    } else {
        Kind::Other
    }
}

/// Tools that end a task, hand it in or over, plan or think: nothing is tried again with them. Without separators.
pub const ENDING: &[&str] = &[
    "answer",
    "askfollowupquestion",
    "askhuman",
    "askuser",
    "attemptcompletion",
    "clarify",
    "complete",
    "completetask",
    "done",
    "endconversation",
    "endtask",
    "exit",
    "exitplanmode",
    "finalanswer",
    "finalize",
    "finish",
    "giveup",
    "handoff",
    "makeplan",
    "note",
    "plan",
    "quit",
    "reflect",
    "reportresult",
    "respond",
    "respondtouser",
    "sequentialthinking",
    "stop",
    "submit",
    "submitanswer",
    "submitresult",
    "submitsolution",
    "taskcomplete",
    "taskdone",
    "terminate",
    "think",
    "thinking",
    "thought",
    "todo",
    "todoread",
    "todowrite",
    "transfertohuman",
    "transfertohumanagent",
    "transfertohumanagents",
    "updateplan",
    "writeplan",
    "writetodos",
];

/// Whether a tool is among [`ENDING`], or named by `more`, whatever stands in front of its name.
pub fn ends(name: &str, more: &[String]) -> bool {
    let words = words(name);
    let is_listed =
        |joined: &str| ENDING.binary_search(&joined).is_ok() || more.iter().any(|m| self::words(m).concat() == joined);
    // A harness may put its own name in front with a single underscore: `env_finish`.
    (0..words.len()).any(|from| is_listed(&words[from..].concat()) && (from == 0 || is_clear_end(&words[from..])))
}

/// After a prefix only names count that mean nothing else.
fn is_clear_end(words: &[String]) -> bool {
    const CLEAR: &[&str] = &["finish", "submit", "think", "finalanswer", "terminate", "transfertohumanagents"];
    CLEAR.contains(&words.concat().as_str())
}

/// Whether one name may be meant by the other: the same but for separators, with a part more, nearly the same letters, or
/// another name for the same kind of interpreter.
pub fn is_near(a: &str, b: &str) -> bool {
    let is_family = kind(a) == kind(b) && matches!(kind(a), Kind::Shell | Kind::Python | Kind::Sql);
    if is_family {
        return true;
    }
    let letters = |name: &str| -> String {
        let name = name.split(['<', '{', '(']).next().unwrap_or(name);
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(200).collect()
    };
    let (a, b) = (letters(a), letters(b));
    let shorter = a.len().min(b.len());
    if shorter == 0 {
        return false;
    }
    a == b
        || (shorter >= 4 && (a.ends_with(&b) || b.ends_with(&a)))
        || (shorter >= 6 && (a.starts_with(&b) || b.starts_with(&a)))
        || Exact.similarity(&a, &b).get() >= NEAR_LETTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_ends_is_sorted_for_its_search() {
        assert!(ENDING.is_sorted());
    }

    #[test]
    fn names_tell_the_kind_of_a_tool_whatever_the_harness_puts_before_them() {
        for (name, want) in [
            ("bash", Kind::Shell),
            ("execute_bash", Kind::Shell),
            ("server__host_execute_bash", Kind::Shell),
            ("run_terminal_cmd", Kind::Shell),
            ("Bash", Kind::Shell),
            ("runInTerminal", Kind::Shell),
            ("functions.shell", Kind::Shell),
            ("python", Kind::Python),
            ("stateful_python_code_exec", Kind::Python),
            ("code_interpreter", Kind::Python),
            ("execute_code", Kind::Python),
            ("execute_ipython_cell", Kind::Python),
            ("run_sql", Kind::Sql),
            ("execute_sql_query", Kind::Sql),
            ("str_replace_editor", Kind::Edit),
            ("write_file", Kind::Edit),
            ("apply_patch", Kind::Edit),
            ("MultiEdit", Kind::Edit),
            ("read_file", Kind::Look),
            ("get_user_details", Kind::Look),
            ("web_search", Kind::Other),
            ("search_code", Kind::Look),
            ("book_reservation", Kind::Other),
            ("create_order", Kind::Other),
        ] {
            assert_eq!(kind(name), want, "{name}");
        }
    }

    #[test]
    fn tools_that_end_or_think_are_known_and_others_are_not_taken_for_them() {
        let more = ["hand_in".to_owned()];
        for name in ["finish", "swe__env_finish", "think", "TodoWrite", "attempt_completion", "HandIn", "final_answer"]
        {
            assert!(ends(name, &more), "{name}");
        }
        for name in
            ["get_plan", "answer_phone", "submit_order", "note_create", "exit_code", "complete_purchase", "bash"]
        {
            assert!(!ends(name, &more), "{name}");
        }
    }

    #[test]
    fn near_names_are_misspelt_or_have_a_part_more() {
        for (a, b) in [
            ("Maps_-Server__search_nearby", "Maps_Server__search_nearby"),
            ("env_execute_bash", "env__env_execute_bash"),
            ("search__web<sep>{\"query\": 1}", "search__web"),
            ("write_fiel", "write_file"),
            ("env__host_bash", "env__host_execute_bash"),
        ] {
            assert!(is_near(a, b), "{a} {b}");
        }
        for (a, b) in [("read_paper", "web_search"), ("send_message", "terminal"), ("", "bash"), ("plot", "search")] {
            assert!(!is_near(a, b), "{a} {b}");
        }
    }
}
