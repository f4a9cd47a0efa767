//! `--fail-if`: a comparison over the counters.
//!
//! Owns the small grammar `NAME OP NUMBER`; a name is a counter, a rate, a path such as `rejects.unknown_role`, or the end of
//! a path where only one ends so: `residue_rate` is `guards.residue_rate`.

use serde_json::{Map, Value};

/// A comparison that fails the run if it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    name: String,
    op: Op,
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

const OPS: &[(&str, Op)] = &[
    ("<=", Op::AtMost),
    (">=", Op::AtLeast),
    ("==", Op::Equal),
    ("!=", Op::Unequal),
    ("<", Op::Less),
    (">", Op::More),
];
/// What a gate says of the numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Passed,
    /// The complaint.
    Failed(String),
    /// There is no such number here, and why that matters.
    Undecided(String),
}

/// Stands in known counters for every name that data may give to an entry, with what each entry has.
pub const ANY: &str = "*";

/// Counters by kind: entries appear only once something was counted, and are 0 before.
pub const MAPS: &[&str] = &["skipped", "left", "error_types", "rejects", "log_is"];

impl Gate {
    /// Parses and checks the name against what is counted.
    pub fn parse(text: &str, counters: &Map<String, Value>) -> Result<Self, String> {
        // The last one, the longer first (`>=` is not `>` with `=` after it): names from data may hold such signs.
        let (at, (spelling, op)) = OPS
            .iter()
            .filter_map(|pair| Some((text.rfind(pair.0)?, *pair)))
            .max_by_key(|(at, (spelling, _))| (at + spelling.len(), spelling.len()))
            .ok_or_else(|| format!("`{text}` is not a comparison such as `unrecovered_rate > 0.3`"))?;
        let (name, bound) = (text[..at].trim(), text[at + spelling.len()..].trim());
        let number = bound.parse().ok().filter(|number: &f64| !number.is_nan());
        let bound = number.ok_or_else(|| format!("`{bound}` in `{text}` is not a number"))?;
        Ok(Gate { text: text.to_owned(), name: resolve(counters, name)?, op, bound })
    }

    /// Whether the comparison holds. `absent` is what a number is that is not there, if that is known.
    pub fn check(&self, counters: &Map<String, Value>, absent: Option<f64>) -> Verdict {
        let found = counter(counters, &self.name);
        let value = match found {
            None => absent,
            Some(value) => value.as_f64(),
        };
        let Some(value) = value else {
            return Verdict::Undecided(format!("gate not decided: `{}`, this data has no `{}`", self.text, self.name));
        };
        let holds = match self.op {
            Op::Less => value < self.bound,
            Op::AtMost => value <= self.bound,
            Op::More => value > self.bound,
            Op::AtLeast => value >= self.bound,
            Op::Equal => value == self.bound,
            Op::Unequal => value != self.bound,
        };
        match holds {
            true => Verdict::Failed(format!("gate failed: `{}` holds, `{}` is {value}", self.text, self.name)),
            false => Verdict::Passed,
        }
    }
}

/// The complaints of all gates, and the gates that could not be decided.
pub fn check_all(gates: &[Gate], counters: &Map<String, Value>, absent: Option<f64>) -> (Vec<String>, Vec<String>) {
    let (mut failed, mut undecided) = (Vec::new(), Vec::new());
    for gate in gates {
        match gate.check(counters, absent) {
            Verdict::Passed => {}
            Verdict::Failed(text) => failed.push(text),
            Verdict::Undecided(text) => undecided.push(text),
        }
    }
    (failed, undecided)
}

/// Names that a message lists at most.
const MAX_LISTED: usize = 48;

/// The whole path of a name.
fn resolve(counters: &Map<String, Value>, name: &str) -> Result<String, String> {
    if is_known(counters, name) {
        return Ok(name.to_owned());
    }
    let known = names(counters);
    let ends_so = |path: &&String| path.strip_suffix(name).is_some_and(|front| front.ends_with('.'));
    match known.iter().filter(ends_so).collect::<Vec<_>>()[..] {
        [path] => Ok(path.clone()),
        [] => Err(format!("no number is named `{name}`; there are {}", listed(&known, name))),
        ref some => {
            let some: Vec<&str> = some.iter().map(|path| path.as_str()).collect();
            Err(format!("more than one number is named `{name}`: {}", some.join(", ")))
        }
    }
}

fn is_known(counters: &Map<String, Value>, path: &str) -> bool {
    counter(counters, path).is_some_and(is_counted) || is_entry(counters, path)
}

/// All names, or of many those that share a word with the wanted one.
fn listed(known: &[String], wanted: &str) -> String {
    let words: Vec<&str> = wanted.split(['.', '_']).filter(|word| word.len() > 2).collect();
    let near: Vec<&str> =
        known.iter().map(String::as_str).filter(|name| words.iter().any(|word| name.contains(word))).collect();
    let all = || known.iter().map(String::as_str).collect();
    let shown = if near.is_empty() || known.len() <= MAX_LISTED { all() } else { near };
    let more = if shown.len() > MAX_LISTED { ", and others: the JSON report has all" } else { "" };
    format!("{}{more}", shown[..shown.len().min(MAX_LISTED)].join(", "))
}

/// The value at a path; names may hold points themselves.
fn counter<'c>(counters: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    let below = |(at, _): (usize, &str)| counter(counters.get(&path[..at])?.as_object()?, &path[at + 1..]);
    counters.get(path).or_else(|| path.match_indices('.').find_map(below))
}

/// A number, or what may be one.
fn is_counted(value: &Value) -> bool {
    value.is_number() || value.is_null()
}

/// Whether a path leads into a map whose entries the data names: before anything is counted these are empty, or hold [`ANY`].
fn is_entry(counters: &Map<String, Value>, path: &str) -> bool {
    let behind = |at: usize| &path[at + 1..];
    let of_any = |map: &Map<String, Value>, path: &str| {
        let any = map.get(ANY).and_then(Value::as_object);
        any.is_some_and(|any| path.match_indices('.').any(|(at, _)| is_known(any, &path[at + 1..])))
    };
    path.match_indices('.').any(|(at, _)| match counters.get(&path[..at]).and_then(Value::as_object) {
        None => false,
        Some(map) if map.is_empty() => !behind(at).is_empty(),
        Some(map) => of_any(map, behind(at)) || is_entry(map, behind(at)),
    })
}

/// All counters that have a name before anything is counted: `rows_in`, `guards.residue`.
pub fn names(counters: &Map<String, Value>) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| match value {
        Value::Object(group) => names(group).into_iter().map(|entry| format!("{name}.{entry}")).collect(),
        Value::Number(_) | Value::Null => vec![name.clone()],
        _ => Vec::new(),
    };
    counters.iter().filter(|(name, _)| *name != ANY).flat_map(of).collect()
}
