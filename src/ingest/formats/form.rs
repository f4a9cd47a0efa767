//! What a form of rows is: its name, how a row of it is told, and what becomes of one.
//!
//! Owns the types that an entry of the registry is made of. Which forms there are is [`super::FORMS`]'s to say.

use serde_json::Value;

use super::native::{Row, holds, kind};
use super::token_ids;

/// Field under which a trial's `result.json` is given to the trajectory beside it.
pub const TRIAL_RESULT: &str = "trial_result";
/// Field under which the name of a file is given to the trajectory in it, where files are named after tasks.
pub const INSTANCE: &str = "instance_id";

/// What rows of one kind look like, and what becomes of them.
pub struct Form {
    /// As `--format` takes it.
    pub name: &'static str,
    /// What the rows are, and who writes them: a line of help, and of the documentation.
    pub help: &'static str,
    /// What it must have; a row that has all of it is of this form.
    pub(super) needs: &'static [Need],
    /// Gives the native rows of one row, or what was expected where, and what was found.
    pub(super) convert: fn(Row) -> Result<Vec<Row>, String>,
    /// What of a row becomes part of the native row's own fields, or of a record beside them.
    pub(super) consumes: Consumed,
    /// Fields that are looked at, and stay.
    pub(super) consults: &'static [&'static str],
    /// The column of its reward, where it has one and others may be called so.
    pub reward: Option<&'static str>,
    /// What its rows are given that stands beside them.
    pub beside: Beside,
    /// Paths that no native row holds, such as `steps[].metrics`.
    pub(super) not_kept: &'static [&'static str],
    /// Path of the ids that are put together to token columns, where that is possible.
    pub(super) token_ids: Option<&'static str>,
    /// The rows that a row is made of, where each of them loses for itself.
    pub(super) parts: Option<fn(&Row) -> Vec<Row>>,
    /// Texts in lines that look native and are not: they take a second look.
    pub(super) signs: &'static [&'static str],
    /// Puts a file's rows together, where they are the records of sessions and no rollouts.
    pub(super) gather: Option<fn(Vec<Row>) -> Vec<Row>>,
    /// What else of a row is lost.
    pub(super) also_lost: Option<fn(&Row) -> Option<&'static str>>,
}

/// Which fields of a row a form makes its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Consumed {
    All,
    These(&'static [&'static str]),
}

/// What a row itself does not say, and its file's surroundings do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// The reward of a trial: `result.json`.
    TrialResult,
    /// The task that a `.traj` file is named after.
    FileName,
}

impl Form {
    pub(super) const fn new(
        name: &'static str,
        help: &'static str,
        needs: &'static [Need],
        convert: fn(Row) -> Result<Vec<Row>, String>,
        consumes: Consumed,
    ) -> Self {
        Form {
            name,
            help,
            needs,
            convert,
            consumes,
            consults: &[],
            reward: None,
            beside: Beside::Nothing,
            not_kept: &[],
            token_ids: None,
            parts: None,
            signs: &[],
            gather: None,
            also_lost: None,
        }
    }

    /// Whether a row has all that the form needs.
    pub fn is_met(&self, row: &Row) -> bool {
        self.needs.iter().all(|need| need.is_met(row))
    }

    /// Whether a field tells of what form a row is.
    pub(super) fn looks_at(&self, field: &str) -> bool {
        self.needs.iter().any(|need| need.any_of.contains(&field))
    }

    /// How much of what it needs a row has, in thousandths, and what is wrong with the rest.
    pub(super) fn match_of(&self, row: &Row) -> (usize, String) {
        let score: usize = self.needs.iter().map(|need| need.score(row)).sum();
        let unmet = self.needs.iter().filter(|need| !need.is_met(row)).map(|need| need.unmet(row));
        (score * 500 / self.needs.len().max(1), unmet.collect::<Vec<_>>().join(", "))
    }

    /// Whether a field becomes part of the native row's own fields, or of a record beside them.
    pub fn consumes(&self, field: &str) -> bool {
        match self.consumes {
            Consumed::All => true,
            Consumed::These(fields) => fields.contains(&field),
        }
    }

    /// Whether a field is looked at, and stays.
    pub fn consults(&self, field: &str) -> bool {
        self.consults.contains(&field)
    }

    /// The native rows of one row.
    ///
    /// # Errors
    /// What was expected where, and what was found.
    pub fn convert(&self, row: Row) -> Result<Vec<Row>, String> {
        (self.convert)(row)
    }

    /// Whether its rows are records that make up sessions.
    pub fn gathers(&self) -> bool {
        self.gather.is_some()
    }

    /// The sessions that a file's records make up.
    pub fn gathered(&self, records: Vec<Row>) -> Vec<Row> {
        self.gather.map_or_else(Vec::new, |gather| gather(records))
    }

    /// Whether nothing of its rows is ever lost.
    pub fn keeps_all(&self) -> bool {
        self.not_kept.is_empty() && self.token_ids.is_none() && self.also_lost.is_none()
    }

    /// What of a row its native rows don't hold: paths, and `token ids` where these could not be put together.
    pub fn not_kept(&self, row: &Row) -> Vec<&'static str> {
        let mut out: Vec<&str> = self.not_kept.iter().copied().filter(|path| holds(row, path)).collect();
        let loses_any = match self.parts {
            Some(parts) => parts(row).iter().any(|row| self.loses_ids(row)),
            None => self.loses_ids(row),
        };
        if loses_any {
            out.push("token ids");
        }
        out.extend(self.also_lost.and_then(|lost| lost(row)));
        out
    }

    fn loses_ids(&self, row: &Row) -> bool {
        let lacks_ids = |rows: Vec<Row>| rows.iter().any(|row| !row.contains_key(token_ids::RESPONSE));
        self.token_ids.is_some_and(|path| holds(row, path)) && self.convert(row.clone()).is_ok_and(lacks_ids)
    }
}

/// What a row of a form must have.
pub(super) struct Need {
    /// Any one of these fields.
    any_of: &'static [&'static str],
    /// Holding such a value.
    is: fn(&Value) -> bool,
    /// The value in words.
    expected: &'static str,
}

impl Need {
    pub(super) const fn any(any_of: &'static [&'static str], expected: &'static str, is: fn(&Value) -> bool) -> Self {
        Need { any_of, is, expected }
    }

    fn is_met(&self, row: &Row) -> bool {
        self.any_of.iter().any(|name| row.get(*name).is_some_and(self.is))
    }

    /// What is wrong, for people.
    fn unmet(&self, row: &Row) -> String {
        match self.any_of.iter().find_map(|name| Some((name, row.get(*name)?))) {
            Some((name, found)) => format!("`{name}` is {}, expected {}", kind(Some(found)), self.expected),
            None => {
                let names: Vec<String> = self.any_of.iter().map(|name| format!("`{name}`")).collect();
                format!("{} is missing", names.join(" or "))
            }
        }
    }

    /// Twice how much of it is there.
    fn score(&self, row: &Row) -> usize {
        match self.is_met(row) {
            true => 2,
            false => usize::from(self.any_of.iter().any(|name| row.contains_key(*name))),
        }
    }
}

/// No two forms share a name.
impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Form {}

impl std::fmt::Debug for Form {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}
