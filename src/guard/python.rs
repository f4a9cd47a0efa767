//! Names in a piece of Python: which it uses before it defines them, and which it defines.
//!
//! Owns the reading of Python's scopes, on the tree of ruff's parser. It follows the order of the text: a branch that need
//! not run counts as run. Names in a function's body are used, if anywhere, once the whole text has run. Code of another
//! version of Python, or of none, has no names: that is unknown, never guessed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rustc_hash::FxHashSet as HashSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{
    Comprehension, ExceptHandler, Expr, Identifier, MatchCase, Parameters, Pattern, Stmt, StmtClassDef,
    StmtFunctionDef, WithItem,
};

use super::glance;

/// What running a piece of code needs and leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Used, and not defined before by the code itself.
    pub used: BTreeSet<String>,
    /// The same after a `from m import *` of its own, which may have defined them.
    pub doubtful: BTreeSet<String>,
    /// Defined at the top level.
    pub defined: BTreeSet<String>,
    /// It may define any name: `from m import *`, `%run`.
    pub is_open: bool,
}

/// Code beyond this is not parsed.
const MAX_BYTES: usize = 1 << 18;

/// The names of a piece of code; `None` if it is no Python that can be read.
pub(super) fn names(code: &str) -> Option<Names> {
    if code.len() > MAX_BYTES || glance::is_broken(code) {
        return None;
    }
    let code = at_the_margin(code);
    // A line that begins with `%` may be the second half of a sum: what parses as it is needs no cleaning.
    parsed(&code).or_else(|| {
        let cell = without_notebook(&code)?;
        let mut names = parsed(&cell.code)?;
        names.is_open |= cell.runs_files;
        Some(names)
    })
}

/// Code whose first line is indented is moved to the margin, as IPython does before it runs a cell.
fn at_the_margin(code: &str) -> Cow<'_, str> {
    let code = code.trim_start_matches(['\r', '\n']);
    let indent = &code[..code.len() - code.trim_start_matches([' ', '\t']).len()];
    if indent.is_empty() {
        return Cow::Borrowed(code);
    }
    let lines = code.split_inclusive('\n').map(|line| line.strip_prefix(indent).unwrap_or(line));
    Cow::Owned(lines.collect())
}

fn parsed(code: &str) -> Option<Names> {
    if glance::is_deep(code) {
        return None;
    }
    let module = ruff_python_parser::parse_module(code).ok()?;
    let mut walk = Walk { scopes: vec![Scope::new(Kind::Module)], ..Walk::default() };
    walk.visit_body(module.suite());
    Some(walk.finish())
}

/// A notebook's cell as plain Python.
struct Cell {
    code: String,
    runs_files: bool,
}

/// Takes out what only a notebook knows: magics, shell lines, fences. `None`: there is nothing of the kind.
fn without_notebook(code: &str) -> Option<Cell> {
    let mut cell = Cell { code: String::with_capacity(code.len()), runs_files: false };
    let mut is_changed = false;
    for line in code.lines() {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        if let Some(magic) = text.strip_prefix("%%") {
            is_changed = true;
            if !["time", "capture", "prun"].iter().any(|known| magic.starts_with(known)) {
                // Another language, or a file: nothing of it runs here.
                return Some(Cell { code: String::new(), runs_files: false });
            }
        } else if text.starts_with('%') || text.starts_with('!') || text.starts_with("```") {
            is_changed = true;
            cell.runs_files |= text.starts_with("%run") || text.starts_with("%load");
            cell.code.push_str(if text.starts_with('`') { "" } else { indent });
            cell.code.push_str(if text.starts_with('`') { "" } else { "pass" });
        } else if let Some((target, _)) = line.split_once("= !").or_else(|| line.split_once("= %")) {
            is_changed = true;
            cell.code.push_str(target);
            cell.code.push_str("= None");
        } else {
            cell.code.push_str(line);
        }
        cell.code.push('\n');
    }
    is_changed.then_some(cell)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Module,
    Class,
    Function,
    Comprehension,
}

struct Scope<'c> {
    kind: Kind,
    defined: HashSet<&'c str>,
    /// Of a function: all names in its body, which are its own if it assigns them anywhere.
    used: HashSet<&'c str>,
    globals: HashSet<&'c str>,
}

impl Scope<'_> {
    fn new(kind: Kind) -> Self {
        Scope { kind, defined: HashSet::default(), used: HashSet::default(), globals: HashSet::default() }
    }
}

#[derive(Default)]
struct Walk<'c> {
    /// The module's first, the innermost last.
    scopes: Vec<Scope<'c>>,
    doubtful: HashSet<&'c str>,
    /// Used by functions that nothing has called yet.
    later: HashSet<&'c str>,
    is_open: bool,
}

impl<'c> Walk<'c> {
    fn finish(mut self) -> Names {
        let Some(mut module) = self.scopes.pop() else { return Names::default() };
        let used = if self.is_open { &mut self.doubtful } else { &mut module.used };
        used.extend(self.later.difference(&module.defined));
        let owned = |names: HashSet<&str>| names.into_iter().map(str::to_owned).collect();
        Names {
            used: owned(module.used),
            doubtful: owned(self.doubtful),
            defined: owned(module.defined),
            is_open: self.is_open,
        }
    }

    fn use_name(&mut self, name: &'c str) {
        // They may make any name.
        self.is_open |= ["exec", "execfile", "globals"].contains(&name);
        for scope in self.scopes.iter_mut().rev() {
            match scope.kind {
                Kind::Function => {
                    scope.used.insert(name);
                    return;
                }
                _ if scope.defined.contains(name) => return,
                Kind::Module => {
                    let used = if self.is_open { &mut self.doubtful } else { &mut scope.used };
                    used.insert(name);
                }
                Kind::Class | Kind::Comprehension => {}
            }
        }
    }

    /// Defines a name where an assignment does: a comprehension has only its own targets.
    fn define(&mut self, name: &'c str) {
        let scope = self.scopes.iter_mut().rposition(|s| s.kind != Kind::Comprehension);
        self.define_in(scope, name);
    }

    fn define_in(&mut self, scope: Option<usize>, name: &'c str) {
        let Some(at) = scope else { return };
        let at = if self.scopes[at].globals.contains(name) { 0 } else { at };
        self.scopes[at].defined.insert(name);
    }

    fn define_all<'i>(&mut self, names: impl IntoIterator<Item = &'i Identifier>)
    where
        'c: 'i,
        'i: 'c,
    {
        names.into_iter().for_each(|name| self.define(name.as_str()));
    }

    /// A target of an assignment: its names are defined, what an attribute or an index belongs to is used.
    fn bind(&mut self, target: &'c Expr, scope: Option<usize>) {
        match target {
            Expr::Name(name) => match scope {
                Some(_) => self.define_in(scope, name.id.as_str()),
                None => self.define(name.id.as_str()),
            },
            Expr::Tuple(all) => all.elts.iter().for_each(|one| self.bind(one, scope)),
            Expr::List(all) => all.elts.iter().for_each(|one| self.bind(one, scope)),
            Expr::Starred(one) => self.bind(&one.value, scope),
            other => self.visit_expr(other),
        }
    }

    /// Names that a function leaves open are looked up around it when it runs; a class around it is not asked.
    fn leave_function(&mut self) {
        let Some(function) = self.scopes.pop() else { return };
        for name in function.used.difference(&function.defined).copied() {
            let around = self.scopes.iter_mut().rev().find(|s| match s.kind {
                Kind::Function => true,
                Kind::Comprehension => s.defined.contains(name),
                Kind::Module | Kind::Class => false,
            });
            match around {
                Some(scope) if scope.kind == Kind::Function => {
                    scope.used.insert(name);
                }
                Some(_) => {}
                None => {
                    self.later.insert(name);
                }
            }
        }
    }

    /// What stands in a function's head is read where the function is defined.
    fn visit_head(&mut self, parameters: &'c Parameters) {
        for parameter in parameters {
            parameter.default().into_iter().for_each(|value| self.visit_expr(value));
            parameter.annotation().into_iter().for_each(|kind| self.visit_expr(kind));
        }
    }

    fn enter_function(&mut self, parameters: Option<&'c Parameters>) {
        self.scopes.push(Scope::new(Kind::Function));
        for parameter in parameters.into_iter().flatten() {
            self.define(parameter.name().as_str());
        }
    }

    fn visit_function(&mut self, function: &'c StmtFunctionDef) {
        function.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
        self.visit_head(&function.parameters);
        function.returns.iter().for_each(|kind| self.visit_expr(kind));
        self.define(function.name.as_str());
        self.enter_function(Some(&function.parameters));
        self.visit_body(&function.body);
        self.leave_function();
    }

    fn visit_class(&mut self, class: &'c StmtClassDef) {
        class.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
        class.arguments.iter().for_each(|arguments| self.visit_arguments(arguments));
        self.scopes.push(Scope::new(Kind::Class));
        self.visit_body(&class.body);
        self.scopes.pop();
        self.define(class.name.as_str());
    }

    /// `generators` before `results`: what they take from is read around them, what they make within.
    fn visit_comprehensions(&mut self, generators: &'c [Comprehension], results: &[Option<&'c Expr>]) {
        self.scopes.push(Scope::new(Kind::Comprehension));
        let inner = self.scopes.len() - 1;
        for generator in generators {
            self.visit_expr(&generator.iter);
            self.bind(&generator.target, Some(inner));
            generator.ifs.iter().for_each(|condition| self.visit_expr(condition));
        }
        results.iter().flatten().for_each(|result| self.visit_expr(result));
        self.scopes.pop();
    }
}

impl<'c> Visitor<'c> for Walk<'c> {
    fn visit_stmt(&mut self, statement: &'c Stmt) {
        match statement {
            Stmt::FunctionDef(function) => self.visit_function(function),
            Stmt::ClassDef(class) => self.visit_class(class),
            Stmt::Assign(assignment) => {
                self.visit_expr(&assignment.value);
                assignment.targets.iter().for_each(|target| self.bind(target, None));
            }
            Stmt::AnnAssign(assignment) => {
                self.visit_expr(&assignment.annotation);
                // An annotation alone defines nothing.
                if let Some(value) = &assignment.value {
                    self.visit_expr(value);
                    self.bind(&assignment.target, None);
                }
            }
            Stmt::AugAssign(assignment) => {
                self.visit_expr(&assignment.value);
                // It can't bring a name into being.
                self.visit_expr(&assignment.target);
            }
            Stmt::TypeAlias(alias) => self.bind(&alias.name, None),
            Stmt::For(repeated) => {
                self.visit_expr(&repeated.iter);
                self.bind(&repeated.target, None);
                self.visit_body(&repeated.body);
                self.visit_body(&repeated.orelse);
            }
            Stmt::Import(import) => {
                for alias in &import.names {
                    let whole = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
                    self.define(whole.split('.').next().unwrap_or(whole));
                }
            }
            Stmt::ImportFrom(import) if import.module.as_ref().is_some_and(|m| m.as_str() == "__future__") => {}
            Stmt::ImportFrom(import) => {
                self.is_open |= import.names.iter().any(|alias| alias.name.as_str() == "*");
                let bound = import.names.iter().map(|alias| alias.asname.as_ref().unwrap_or(&alias.name));
                self.define_all(bound.filter(|name| name.as_str() != "*"));
            }
            Stmt::Global(global) => {
                let names = global.names.iter().map(Identifier::as_str);
                self.scopes.last_mut().into_iter().for_each(|scope| scope.globals.extend(names.clone()));
            }
            Stmt::Delete(deleted) => {
                for target in &deleted.targets {
                    self.visit_expr(target);
                    if let (Expr::Name(name), Some(scope)) = (target, self.scopes.last_mut()) {
                        scope.defined.remove(name.id.as_str());
                    }
                }
            }
            Stmt::Nonlocal(_) => {}
            Stmt::Return(_)
            | Stmt::While(_)
            | Stmt::If(_)
            | Stmt::With(_)
            | Stmt::Match(_)
            | Stmt::Raise(_)
            | Stmt::Try(_)
            | Stmt::Assert(_)
            | Stmt::Expr(_)
            | Stmt::Pass(_)
            | Stmt::Break(_)
            | Stmt::Continue(_)
            | Stmt::IpyEscapeCommand(_) => visitor::walk_stmt(self, statement),
        }
    }

    fn visit_expr(&mut self, expression: &'c Expr) {
        match expression {
            Expr::Name(name) => self.use_name(name.id.as_str()),
            Expr::Named(named) => {
                self.visit_expr(&named.value);
                self.bind(&named.target, None);
            }
            Expr::Lambda(lambda) => {
                lambda.parameters.iter().for_each(|parameters| self.visit_head(parameters));
                self.enter_function(lambda.parameters.as_deref());
                self.visit_expr(&lambda.body);
                self.leave_function();
            }
            Expr::ListComp(made) => self.visit_comprehensions(&made.generators, &[Some(&made.elt)]),
            Expr::SetComp(made) => self.visit_comprehensions(&made.generators, &[Some(&made.elt)]),
            Expr::Generator(made) => self.visit_comprehensions(&made.generators, &[Some(&made.elt)]),
            Expr::DictComp(made) => {
                self.visit_comprehensions(&made.generators, &[made.key.as_deref(), Some(&made.value)]);
            }
            // The parts of all other expressions are read in their order.
            _ => visitor::walk_expr(self, expression),
        }
    }

    fn visit_with_item(&mut self, item: &'c WithItem) {
        self.visit_expr(&item.context_expr);
        item.optional_vars.iter().for_each(|target| self.bind(target, None));
    }

    fn visit_except_handler(&mut self, handler: &'c ExceptHandler) {
        let ExceptHandler::ExceptHandler(handler) = handler;
        handler.type_.iter().for_each(|kind| self.visit_expr(kind));
        self.define_all(&handler.name);
        self.visit_body(&handler.body);
    }

    fn visit_match_case(&mut self, case: &'c MatchCase) {
        self.visit_pattern(&case.pattern);
        case.guard.iter().for_each(|guard| self.visit_expr(guard));
        self.visit_body(&case.body);
    }

    /// A pattern of `match`: single names are captured, dotted ones are looked up.
    fn visit_pattern(&mut self, pattern: &'c Pattern) {
        visitor::walk_pattern(self, pattern);
        match pattern {
            Pattern::MatchAs(captured) => self.define_all(&captured.name),
            Pattern::MatchStar(rest) => self.define_all(&rest.name),
            Pattern::MatchMapping(mapping) => self.define_all(&mapping.rest),
            Pattern::MatchValue(_)
            | Pattern::MatchSingleton(_)
            | Pattern::MatchSequence(_)
            | Pattern::MatchClass(_)
            | Pattern::MatchOr(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
