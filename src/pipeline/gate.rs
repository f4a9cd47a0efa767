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

/// Longer spellings first: `>=` is not `>` with `=` behind it.
const OPS: &[(&str, Op)] = &[
    ("<=", Op::AtMost),
    (">=", Op::AtLeast),
    ("==", Op::Equal),
    ("!=", Op::Unequal),
    ("<", Op::Less),
    (">", Op::More),
];
/// Counters by kind: entries appear only once something was counted, and are 0 before.
pub const MAPS: &[&str] = &["skipped", "error_types", "rejects", "log_is"];

impl Gate {
    /// Parses and checks the name against what is counted.
    pub fn parse(text: &str, counters: &Map<String, Value>) -> Result<Self, String> {
        let (at, (spelling, op)) = OPS
            .iter()
            .filter_map(|pair| Some((text.find(pair.0)?, *pair)))
            .min_by_key(|(at, (spelling, _))| (*at, std::cmp::Reverse(spelling.len())))
            .ok_or_else(|| format!("`{text}` is no comparison such as `unrecovered_rate > 0.3`"))?;
        let (name, bound) = (text[..at].trim(), text[at + spelling.len()..].trim());
        let bound = bound.parse().map_err(|_| format!("`{bound}` in `{text}` is no number"))?;
        Ok(Gate { text: text.to_owned(), name: resolve(counters, name)?, op, bound })
    }

    /// The complaint, if the comparison holds.
    pub fn check(&self, counters: &Map<String, Value>) -> Option<String> {
        let value = counter(counters, &self.name).and_then(Value::as_f64).unwrap_or_default();
        let holds = match self.op {
            Op::Less => value < self.bound,
            Op::AtMost => value <= self.bound,
            Op::More => value > self.bound,
            Op::AtLeast => value >= self.bound,
            Op::Equal => value == self.bound,
            Op::Unequal => value != self.bound,
        };
        holds.then(|| format!("gate failed: `{}` holds, `{}` is {value}", self.text, self.name))
    }
}

/// Names that a message lists at most.
const MOST_LISTED: usize = 40;

/// The whole path of a name.
fn resolve(counters: &Map<String, Value>, name: &str) -> Result<String, String> {
    if is_entry(counters, name) || counter(counters, name).is_some_and(Value::is_number) {
        return Ok(name.to_owned());
    }
    let known = names(counters);
    let ends_so = |path: &&String| path.strip_suffix(name).is_some_and(|front| front.ends_with('.'));
    match known.iter().filter(ends_so).collect::<Vec<_>>()[..] {
        [path] => Ok(path.clone()),
        [] => Err(format!("nothing is counted under `{name}`; there are {}", listed(&known, name))),
        [..] => Err(format!("more than one number is called `{name}`: {}", listed(&known, name))),
    }
}

/// All names, or of many those that share a word with the wanted one.
fn listed(known: &[String], wanted: &str) -> String {
    let words: Vec<&str> = wanted.split(['.', '_']).filter(|word| word.len() > 2).collect();
    let near: Vec<&str> =
        known.iter().map(String::as_str).filter(|name| words.iter().any(|word| name.contains(word))).collect();
    let all = || known.iter().map(String::as_str).collect();
    let shown = if near.is_empty() || known.len() <= MOST_LISTED { all() } else { near };
    let more = if shown.len() > MOST_LISTED { ", and others: the JSON report has all" } else { "" };
    format!("{}{more}", shown[..shown.len().min(MOST_LISTED)].join(", "))
}

/// The value at a path; names may hold points themselves.
fn counter<'c>(counters: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    let below = |(at, _): (usize, &str)| counter(counters.get(&path[..at])?.as_object()?, &path[at + 1..]);
    counters.get(path).or_else(|| path.match_indices('.').find_map(below))
}

/// Whether a path leads into a map whose entries the data names: before anything is counted, only these are empty.
fn is_entry(counters: &Map<String, Value>, path: &str) -> bool {
    path.match_indices('.').any(|(at, _)| {
        let map = counters.get(&path[..at]).and_then(Value::as_object);
        map.is_some_and(|map| if map.is_empty() { path.len() > at + 1 } else { is_entry(map, &path[at + 1..]) })
    })
}

/// All counters that have a name before anything is counted: `rows_in`, `guards.residue`.
pub fn names(counters: &Map<String, Value>) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| match value {
        Value::Object(group) => names(group).into_iter().map(|entry| format!("{name}.{entry}")).collect(),
        Value::Number(_) => vec![name.clone()],
        _ => Vec::new(),
    };
    counters.iter().flat_map(of).collect()
}
