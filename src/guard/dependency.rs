//! Dependence on what was removed: a name that stays in use though only a removed attempt defines it.
//!
//! Owns the order of definitions and uses over a rollout's Python calls. A failed attempt may have defined all that it
//! holds before it failed, unless it never ran (a syntax error). Those who use a name are the correction and every
//! later step that stays and succeeds. Code that can't be read makes the answer unknown, not false.
//!
//! Three sieves, each finer and dearer: the lines that a correction leaves out, without unpacking a call (`raw`); the words of
//! the code (`glance`); its tree (`python`), of those steps alone that mention a name in doubt, and of each at most once.

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use super::builtins::is_builtin;
use super::glance;
use super::pass::Pass;
use super::python::{self, Names};
use super::raw::Code;
use crate::intent::{Kind, kind_of};
use crate::message::Message;
use crate::saar::{Plan, Repair, RepairKind, called_code, code_of};
use crate::steps::{Outcome, Trajectory};

/// Steps after a repair at which one glances; if that is not enough, the code is parsed.
const MAX_GLANCES: usize = 32;

/// For each repair of a plan: whether what stays depends on what it removes; `None`: not known, or its tool keeps no
/// Python names. `stateful_tools`: tools that do, besides those whose name or `code` argument says that they run Python and those
/// that the data proves to; one that keeps no names is no harm, since a call that ran there defines all that it uses. `unmakes`: a repair that is found is not
/// made, so that its names are there for the steps after.
pub fn find(
    trajectory: &Trajectory<'_, '_>,
    plan: &Plan,
    stateful_tools: &[String],
    unmakes: bool,
) -> Vec<Option<bool>> {
    let codes = Codes::new(trajectory, stateful_tools);
    let doubts: Vec<Doubt> = plan
        .repairs
        .iter()
        .enumerate()
        .map(|(index, repair)| match repair.kind {
            RepairKind::Recovered => doubt(&codes, plan, index),
            RepairKind::Collapsed => Doubt::Unknown,
        })
        .collect();
    let named: HashSet<&str> = doubts.iter().flat_map(Doubt::names).map(String::as_str).collect();
    let is_any = doubts.iter().any(|doubt| matches!(doubt, Doubt::Any));
    let passed = match named.is_empty() && !is_any {
        true => Vec::new(),
        false => read(&codes, plan, (!is_any).then_some(&named), unmakes),
    };
    let answer = |(index, doubt): (usize, &Doubt)| match doubt {
        Doubt::None => Some(false),
        Doubt::Unknown => None,
        Doubt::Names(_) | Doubt::Any => passed[index],
    };
    doubts.iter().enumerate().map(answer).collect()
}

/// What the words leave open of one repair.
enum Doubt {
    /// Nothing of what it removes is needed.
    None,
    /// Its code can't be told, or is none.
    Unknown,
    /// These names may be.
    Names(Vec<String>),
    /// Any name may be.
    Any,
}

impl Doubt {
    fn names(&self) -> &[String] {
        match self {
            Doubt::Names(names) => names,
            Doubt::None | Doubt::Unknown | Doubt::Any => &[],
        }
    }
}

/// The Python of each step, read when it is needed.
struct Codes<'t> {
    trajectory: &'t Trajectory<'t, 't>,
    stateful_tools: &'t [String],
    of_step: Vec<OnceCell<Option<Code<'t>>>>,
    unpacked: Vec<OnceCell<String>>,
    names: Vec<OnceCell<Option<Names>>>,
    proven: OnceCell<HashSet<&'t str>>,
    /// The tool that was asked for last, and whether it runs Python: mostly it is the same again.
    last_tool: Cell<Option<(&'t str, bool)>>,
}

impl<'t> Codes<'t> {
    fn new(trajectory: &'t Trajectory<'t, 't>, stateful_tools: &'t [String]) -> Self {
        let steps = trajectory.steps.len();
        Codes {
            trajectory,
            stateful_tools,
            of_step: vec![OnceCell::new(); steps],
            unpacked: vec![OnceCell::new(); steps],
            names: vec![OnceCell::new(); steps],
            proven: OnceCell::new(),
            last_tool: Cell::new(None),
        }
    }

    fn get(&self, step: usize) -> Option<&Code<'t>> {
        self.of_step[step].get_or_init(|| self.read(step)).as_ref()
    }

    fn read(&self, step: usize) -> Option<Code<'t>> {
        let message: &'t Message<'t> = &self.trajectory.rollout.messages[self.trajectory.steps[step].message];
        if let [call] = message.calls.as_slice() {
            return self.runs_python(call.name, call.arguments).then(|| Code::of(call.arguments));
        }
        let called = called_code(message).into_iter();
        let codes: Vec<String> = called
            .filter(|c| self.runs_python_by_name(&c.tool) || self.proven().contains(c.tool.as_str()))
            .map(|c| c.code)
            .collect();
        (!codes.is_empty()).then(|| Code::Plain(Cow::Owned(codes.join("\n"))))
    }

    fn runs_python(&self, tool: &'t str, arguments: &str) -> bool {
        let by_name = match self.last_tool.get() {
            Some((last, answer)) if last == tool => answer,
            _ => {
                let answer = self.runs_python_by_name(tool);
                self.last_tool.set(Some((tool, answer)));
                answer
            }
        };
        by_name || first_argument(arguments) == Some("code") || self.proven().contains(tool)
    }

    fn runs_python_by_name(&self, tool: &str) -> bool {
        self.stateful_tools.iter().any(|known| known.eq_ignore_ascii_case(tool)) || kind_of(tool) == Kind::Python
    }

    /// Tools that run Python and keep its names, whatever they are called: a call that did its job used a name that only an earlier
    /// call of the tool defined.
    fn proven(&self) -> &HashSet<&'t str> {
        self.proven.get_or_init(|| {
            let mut out = HashSet::default();
            let mut defined: HashMap<&str, HashSet<String>> = HashMap::default();
            for step in (0..self.of_step.len()).filter(|&step| !self.never_ran(step)) {
                let message: &'t Message<'t> = &self.trajectory.rollout.messages[self.trajectory.steps[step].message];
                let [call] = message.calls.as_slice() else { continue };
                if out.contains(call.name) || !may_run_python(call.name, call.arguments) {
                    continue;
                }
                let Some(names) = python::names(&code_of(call.arguments)) else { continue };
                let known = defined.entry(call.name).or_default();
                if self.is_ok(step) && names.used.iter().any(|name| known.contains(name) && !is_builtin(name)) {
                    out.insert(call.name);
                }
                known.extend(names.defined);
            }
            out
        })
    }

    fn unpacked(&self, step: usize) -> &str {
        self.unpacked[step].get_or_init(|| self.get(step).map(|code| code.unpacked().into_owned()).unwrap_or_default())
    }

    /// `None`: it is no Python that can be read.
    fn names(&self, step: usize) -> Option<&Names> {
        self.names[step].get_or_init(|| python::names(self.unpacked(step))).as_ref()
    }

    /// Whether the step failed before any of its code ran.
    fn never_ran(&self, step: usize) -> bool {
        let error = self.trajectory.failure(step);
        error.is_some_and(|f| ["SyntaxError", "IndentationError", "TabError"].contains(&f.error_type.as_ref()))
    }

    fn is_ok(&self, step: usize) -> bool {
        self.trajectory.steps[step].attempt.is_some_and(Outcome::did_its_job)
    }
}

/// The name of the first argument, as the model wrote it.
fn first_argument(arguments: &str) -> Option<&str> {
    arguments.trim_start_matches(['{', ' ', '\n']).strip_prefix('"')?.split('"').next()
}

/// Whether nothing says that a tool runs something else than Python, and it was handed something that may be code.
fn may_run_python(tool: &str, arguments: &str) -> bool {
    let is_open = matches!(kind_of(tool), Kind::Other | Kind::Shell);
    let is_text = first_argument(arguments).is_some_and(|name| ["input", "script", "source"].contains(&name));
    is_open && (is_text || !arguments.trim_start().starts_with('{'))
}

/// The repair that removes each step.
fn removed_by(plan: &Plan, steps: usize) -> Vec<Option<usize>> {
    let mut out = vec![None; steps];
    for (index, repair) in plan.repairs.iter().enumerate() {
        out[repair.first()..repair.last()].fill(Some(index));
    }
    out
}

/// What the words tell of a repair.
fn doubt(codes: &Codes<'_>, plan: &Plan, index: usize) -> Doubt {
    let repair = &plan.repairs[index];
    let removed = || (repair.first()..repair.last()).filter(|&step| codes.get(step).is_some());
    if removed().next().is_none() {
        return Doubt::Unknown;
    }
    let Some(mut names) = left_out(codes, repair) else { return Doubt::Any };
    if names.is_empty() {
        return Doubt::None;
    }
    let correction = codes.unpacked(repair.last());
    if glance::is_broken(correction) {
        return Doubt::Unknown;
    }
    let all: Vec<String> = names.iter().cloned().collect();
    let is_removed =
        |step: usize| plan.repairs[index + 1..].iter().take(MAX_GLANCES).any(|r| (r.first()..r.last()).contains(&step));
    let stays = (repair.last()..codes.of_step.len()).filter(|&step| codes.is_ok(step) && !is_removed(step));
    for (count, step) in stays.enumerate() {
        if names.is_empty() {
            return Doubt::None;
        }
        if count >= MAX_GLANCES {
            return Doubt::Names(all);
        }
        let is_mentioned = |code: &Code<'_>| names.iter().any(|name| code.mentions(name));
        if !codes.get(step).is_some_and(is_mentioned) {
            continue;
        }
        let text = codes.unpacked(step);
        if glance::may_need(text, &names.iter().map(String::as_str).collect()) {
            return Doubt::Names(all);
        }
        for defined in glance::surely_defines(text) {
            names.remove(defined);
        }
    }
    Doubt::None
}

/// Names that the removed attempts may have defined, on lines that the correction does not have; `None`: any.
fn left_out(codes: &Codes<'_>, repair: &Repair) -> Option<HashSet<String>> {
    let mut names = HashSet::default();
    let correction = codes.get(repair.last());
    for step in (repair.first()..repair.last()).filter(|&step| !codes.never_ran(step)) {
        let Some(code) = codes.get(step) else { continue };
        let lines = match correction {
            Some(correction) => code.lines_unlike(correction),
            None => code.unpacked(),
        };
        let defined = glance::lines_may_define(&lines)?;
        names.extend(defined.into_iter().filter(|name| !is_builtin(name)).map(str::to_owned));
    }
    Some(names)
}

/// The answers of a pass over the steps that mention one of the names, or over all.
fn read(codes: &Codes<'_>, plan: &Plan, named: Option<&HashSet<&str>>, unmakes: bool) -> Vec<Option<bool>> {
    let mut pass = Pass::new(plan, unmakes);
    for (step, repair) in removed_by(plan, codes.of_step.len()).into_iter().enumerate() {
        let Some(code) = codes.get(step).filter(|_| !codes.never_ran(step)) else { continue };
        let concerns = |names: &HashSet<&str>| {
            OPENING.iter().any(|word| code.mentions(word)) || names.iter().any(|name| code.mentions(name))
        };
        if !named.is_none_or(concerns) {
            continue;
        }
        match (repair, codes.names(step)) {
            (Some(repair), names) => pass.remove(repair, names),
            (None, Some(names)) => pass.keep(names, codes.is_ok(step)),
            (None, None) => {
                pass.give_up(step);
                break;
            }
        }
    }
    pass.answers()
}

/// Words of code that may define any name: a step with one of them concerns every name.
const OPENING: &[&str] = &["exec", "globals", "import *", "%run", "%load"];
