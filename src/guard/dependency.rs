//! Dependence on what was removed: a name that stays in use though only a removed attempt defines it.
//!
//! Owns the order of definitions and uses over a rollout's Python calls. A failed attempt may have defined all that it
//! holds before it failed, unless it never ran (a syntax error). Those who use a name are the correction and every
//! later step that stays and succeeds. Code that can't be read makes the answer unknown, not false.
//!
//! Most repairs are cleared by a glance at the words (`glance`); the others are parsed.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::glance;
use super::python::{Names, Reader};
use crate::saar::{Plan, RepairKind, called_code};
use crate::steps::{Outcome, Trajectory};

/// Steps after a repair at which one glances; if that is not enough, the code is parsed.
const MAX_GLANCES: usize = 32;

/// For each repair of a plan: whether what stays depends on what it removes; `None`: not known, or its tool keeps no
/// Python names. `unmakes`: a repair that is found is not made, so that its names are there for the steps after.
pub fn find(
    trajectory: &Trajectory<'_, '_>,
    plan: &Plan,
    stateful_tools: &[String],
    unmakes: bool,
) -> Vec<Option<bool>> {
    let codes = Codes { trajectory, stateful_tools, of_step: vec![OnceCell::new(); trajectory.steps.len()] };
    let mut out: Vec<Option<bool>> = Vec::with_capacity(plan.repairs.len());
    let mut parsed = None;
    for (index, repair) in plan.repairs.iter().enumerate() {
        let removes_python = (repair.first()..repair.last()).any(|step| codes.get(step).is_some());
        out.push(match repair.kind {
            RepairKind::Recovered if removes_python => {
                if codes.get(repair.last()).is_some_and(glance::is_broken) {
                    None
                } else if is_clear(&codes, plan, index) {
                    Some(false)
                } else {
                    parsed.get_or_insert_with(|| Pass::over(&codes, plan, unmakes))[index]
                }
            }
            _ => None,
        });
    }
    out
}

/// The Python of each step, read from its calls when it is needed.
struct Codes<'t> {
    trajectory: &'t Trajectory<'t, 't>,
    stateful_tools: &'t [String],
    of_step: Vec<OnceCell<Option<String>>>,
}

impl Codes<'_> {
    fn get(&self, step: usize) -> Option<&str> {
        let read = || {
            let message = &self.trajectory.rollout.messages[self.trajectory.steps[step].message];
            let is_stateful = |tool: &str| self.stateful_tools.iter().any(|known| known.eq_ignore_ascii_case(tool));
            let codes: Vec<String> = called_code(message)
                .into_iter()
                .filter(|called| is_stateful(&called.tool))
                .map(|called| called.code)
                .collect();
            (!codes.is_empty()).then(|| codes.join("\n"))
        };
        self.of_step[step].get_or_init(read).as_deref()
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

/// The repair that removes each step.
fn removed_by(plan: &Plan, steps: usize) -> Vec<Option<usize>> {
    let mut out = vec![None; steps];
    for (index, repair) in plan.repairs.iter().enumerate() {
        out[repair.first()..repair.last()].fill(Some(index));
    }
    out
}

/// Whether the words alone tell that nothing of what a repair removes is needed.
fn is_clear(codes: &Codes<'_>, plan: &Plan, index: usize) -> bool {
    let repair = &plan.repairs[index];
    let mut names = HashSet::new();
    for step in (repair.first()..repair.last()).filter(|&step| !codes.never_ran(step)) {
        match codes.get(step).map(glance::may_define) {
            Some(Some(defined)) => names.extend(defined),
            Some(None) => return false,
            None => {}
        }
    }
    names.retain(|name| !is_builtin(name));
    let removed: HashSet<usize> =
        plan.repairs[index + 1..].iter().take(MAX_GLANCES).flat_map(|r| r.first()..r.last()).collect();
    let stays = |step: &usize| codes.is_ok(*step) && !removed.contains(step);
    for (count, step) in (repair.last()..codes.of_step.len()).filter(stays).enumerate() {
        if names.is_empty() {
            return true;
        }
        if count >= MAX_GLANCES {
            return false;
        }
        let Some(code) = codes.get(step) else { continue };
        if glance::may_need(code, &names) {
            return false;
        }
        for defined in glance::surely_defines(code) {
            names.remove(defined);
        }
    }
    true
}

/// One pass over the steps in order, with every name that is known so far.
struct Pass<'p> {
    plan: &'p Plan,
    /// Defined by what stays.
    kept: HashSet<String>,
    /// What stays may have defined any name.
    kept_is_open: bool,
    /// Defined by nothing but these repairs' removed attempts.
    removed: HashMap<String, Vec<usize>>,
    /// Repairs whose removed attempts may have defined any name.
    open: Vec<usize>,
    /// Names of each repair in `removed`.
    pending: Vec<usize>,
    proven: Vec<bool>,
    unknown: Vec<bool>,
    unmakes: bool,
}

impl<'p> Pass<'p> {
    fn over(codes: &Codes<'_>, plan: &'p Plan, unmakes: bool) -> Vec<Option<bool>> {
        let repairs = plan.repairs.len();
        let mut pass = Pass {
            plan,
            kept: HashSet::new(),
            kept_is_open: false,
            removed: HashMap::new(),
            open: Vec::new(),
            pending: vec![0; repairs],
            proven: vec![false; repairs],
            unknown: vec![false; repairs],
            unmakes,
        };
        let mut reader = Reader::new();
        let removed_by = removed_by(plan, codes.of_step.len());
        for (step, repair) in removed_by.into_iter().enumerate() {
            let Some(code) = codes.get(step).filter(|_| !codes.never_ran(step)) else { continue };
            match (repair, reader.names(code)) {
                (Some(repair), names) => pass.remove(repair, names),
                (None, Some(names)) => pass.keep(names, codes.is_ok(step)),
                (None, None) => {
                    pass.give_up(step);
                    break;
                }
            }
        }
        let answer = |k: usize| match (pass.proven[k], pass.unknown[k]) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        };
        (0..repairs).map(answer).collect()
    }

    fn remove(&mut self, repair: usize, names: Option<Names>) {
        if names.as_ref().is_none_or(|n| n.is_open) && self.open.last() != Some(&repair) {
            self.open.push(repair);
        }
        for name in names.map(|n| n.defined).unwrap_or_default() {
            let repairs = self.removed.entry(name).or_default();
            if repairs.last() != Some(&repair) {
                repairs.push(repair);
                self.pending[repair] += 1;
            }
        }
    }

    fn keep(&mut self, names: Names, is_ok: bool) {
        if is_ok {
            for name in &names.used {
                self.need(name);
            }
            for name in names.doubtful.iter().filter(|name| !self.kept.contains(*name) && !is_builtin(name)) {
                self.removed.get(name).into_iter().flatten().for_each(|&r| self.unknown[r] = true);
            }
        }
        for name in names.defined {
            for repair in self.removed.remove(&name).unwrap_or_default() {
                self.pending[repair] -= 1;
            }
            self.kept.insert(name);
        }
        self.kept_is_open |= names.is_open;
    }

    fn need(&mut self, name: &str) {
        if self.kept.contains(name) || is_builtin(name) {
            return;
        }
        match self.removed.get(name) {
            Some(repairs) if self.kept_is_open => repairs.iter().for_each(|&r| self.unknown[r] = true),
            Some(repairs) => {
                let found = repairs.clone();
                found.iter().for_each(|&r| self.proven[r] = true);
                if self.unmakes {
                    self.unmake(&found);
                }
            }
            // It came from nowhere that is seen: from the tool's own start, or from what could not be read.
            None if !self.kept_is_open => self.open.iter().for_each(|&r| self.unknown[r] = true),
            None => {}
        }
    }

    /// The attempts of these repairs stay after all.
    fn unmake(&mut self, repairs: &[usize]) {
        let back: Vec<String> = self
            .removed
            .iter()
            .filter(|(_, by)| by.iter().any(|r| repairs.contains(r)))
            .map(|(n, _)| n.clone())
            .collect();
        for name in back {
            for repair in self.removed.remove(&name).unwrap_or_default() {
                self.pending[repair] -= 1;
            }
            self.kept.insert(name);
        }
        self.kept_is_open |= self.open.iter().any(|r| repairs.contains(r));
        self.open.retain(|r| !repairs.contains(r));
    }

    /// Code that stays and can't be read: it may need what is gone, and may have defined all that is used after it.
    fn give_up(&mut self, step: usize) {
        for (index, repair) in self.plan.repairs.iter().enumerate() {
            self.unknown[index] |= self.pending[index] > 0 || repair.last() >= step;
        }
        self.open.iter().for_each(|&r| self.unknown[r] = true);
    }
}

/// Names that are always there: Python's own, and a notebook's.
fn is_builtin(name: &str) -> bool {
    BUILTINS.contains(name) || (name.starts_with("__") && name.ends_with("__"))
}

static BUILTINS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError \
     BrokenPipeError BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError \
     ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError Ellipsis EncodingWarning \
     EnvironmentError Exception ExceptionGroup False FileExistsError FileNotFoundError FloatingPointError \
     FutureWarning GeneratorExit IOError ImportError ImportWarning In IndentationError IndexError \
     InterruptedError IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError \
     ModuleNotFoundError NameError None NotADirectoryError NotImplemented NotImplementedError OSError Out \
     OverflowError PendingDeprecationWarning PermissionError ProcessLookupError RecursionError \
     ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration StopIteration \
     SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError True TypeError \
     UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError \
     UnicodeWarning UserWarning ValueError Warning ZeroDivisionError _ __ abs aiter all anext any ascii \
     basestring bin bool breakpoint bytearray bytes callable chr classmethod compile complex copyright \
     credits delattr dict dir display divmod enumerate eval exec exit filter float format frozenset \
     get_ipython getattr globals hasattr hash help hex id input int isinstance issubclass iter len \
     license list locals long map max memoryview min next object oct open ord pow print property quit \
     range raw_input reduce repr reversed round set setattr slice sorted staticmethod str sum super tuple \
     type unicode vars xrange zip"
        .split_whitespace()
        .collect()
});
