//! Names in a piece of Python: which it uses before it defines them, and which it defines.
//!
//! Owns the reading of Python's scopes, on a tree that tree-sitter parses. It follows the order of the text: a branch
//! that need not run counts as run. Names in a function's body are used, if anywhere, once the whole text has run.

use std::collections::{BTreeSet, HashSet};

use tree_sitter::{Node, Parser};

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
const MAX_BYTES: usize = 1 << 20;
/// Trees beyond this are not walked: each level is a call.
const MAX_DEPTH: usize = 300;

/// Reads pieces of code, one after another.
pub(super) struct Reader(Option<Parser>);

impl Reader {
    pub(super) fn new() -> Self {
        let mut parser = Parser::new();
        Reader(parser.set_language(&tree_sitter_python::LANGUAGE.into()).is_ok().then_some(parser))
    }

    /// The names of a piece of code; `None` if it is not Python that can be parsed.
    pub(super) fn names(&mut self, code: &str) -> Option<Names> {
        if code.len() > MAX_BYTES || glance::is_broken(code) {
            return None;
        }
        // A line that begins with `%` may be the second half of a sum: what parses as it is needs no cleaning.
        self.parsed(code).or_else(|| {
            let cell = without_notebook(code)?;
            let mut names = self.parsed(&cell.code)?;
            names.is_open |= cell.runs_files;
            Some(names)
        })
    }

    fn parsed(&mut self, code: &str) -> Option<Names> {
        let tree = self.0.as_mut()?.parse(code, None)?;
        if tree.root_node().has_error() {
            return None;
        }
        let mut walk = Walk { code, scopes: vec![Scope::new(Kind::Module)], ..Walk::default() };
        walk.visit(tree.root_node(), 0);
        (!walk.is_too_deep).then(|| walk.finish())
    }
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
        Scope { kind, defined: HashSet::new(), used: HashSet::new(), globals: HashSet::new() }
    }
}

#[derive(Default)]
struct Walk<'c> {
    code: &'c str,
    /// The module's first, the innermost last.
    scopes: Vec<Scope<'c>>,
    doubtful: HashSet<&'c str>,
    /// Used by functions that nothing has called yet.
    later: HashSet<&'c str>,
    is_open: bool,
    is_too_deep: bool,
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

    fn text(&self, node: Node<'_>) -> &'c str {
        self.code.get(node.byte_range()).unwrap_or_default()
    }

    fn use_name(&mut self, name: &'c str) {
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

    fn define(&mut self, name: &'c str, kinds: &[Kind]) {
        let Some(scope) = self.scopes.iter_mut().rev().find(|s| kinds.contains(&s.kind)) else { return };
        if scope.globals.contains(name) {
            self.scopes[0].defined.insert(name);
        } else {
            scope.defined.insert(name);
        }
    }

    /// Names that a function leaves open are looked up around it when it runs; a class around it is not asked.
    fn leave_function(&mut self) {
        let Some(function) = self.scopes.pop() else { return };
        for name in function.used.difference(&function.defined).copied() {
            let around = self.scopes.iter_mut().rev().find(|s| match s.kind {
                Kind::Function => true,
                Kind::Comprehension => s.defined.contains(name),
                _ => false,
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

    fn visit_children(&mut self, node: Node<'_>, depth: usize) {
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            self.visit(child, depth + 1);
        }
    }

    fn visit_field(&mut self, node: Node<'_>, field: &str, depth: usize) {
        let mut cursor = node.walk();
        for child in node.children_by_field_name(field, &mut cursor).filter(Node::is_named) {
            self.visit(child, depth + 1);
        }
    }

    fn visit(&mut self, node: Node<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            self.is_too_deep = true;
            return;
        }
        match node.kind() {
            "identifier" => {
                // They may make any name.
                self.is_open |= ["exec", "globals"].contains(&self.text(node));
                self.use_name(self.text(node));
            }
            "comment" | "future_import_statement" | "nonlocal_statement" => {}
            "attribute" => self.visit_field(node, "object", depth),
            "keyword_argument" => self.visit_field(node, "value", depth),
            "dotted_name" => node.named_child(0).into_iter().for_each(|first| self.visit(first, depth + 1)),
            "assignment" | "augmented_assignment" | "named_expression" => self.visit_assignment(node, depth),
            "for_statement" => {
                self.visit_field(node, "right", depth);
                self.bind_field(node, "left", ASSIGNED, depth);
                self.visit_field(node, "body", depth);
                self.visit_field(node, "alternative", depth);
            }
            "list_comprehension" | "set_comprehension" | "dictionary_comprehension" | "generator_expression" => {
                self.visit_comprehension(node, depth);
            }
            "as_pattern" => self.visit_alias(node, depth),
            "except_clause" => {
                self.visit_field(node, "value", depth);
                self.bind_field(node, "alias", ASSIGNED, depth);
                let mut cursor = node.walk();
                for block in node.named_children(&mut cursor).filter(|c| c.kind() == "block") {
                    self.visit(block, depth + 1);
                }
            }
            "function_definition" | "lambda" => self.visit_function(node, depth),
            "class_definition" => {
                self.visit_field(node, "superclasses", depth);
                self.scopes.push(Scope::new(Kind::Class));
                self.visit_field(node, "body", depth);
                self.scopes.pop();
                self.bind_field(node, "name", ASSIGNED, depth);
            }
            "import_statement" | "import_from_statement" => self.visit_import(node, depth),
            "global_statement" => {
                let mut cursor = node.walk();
                let names: Vec<&str> = node.named_children(&mut cursor).map(|n| self.text(n)).collect();
                self.scopes.last_mut().into_iter().for_each(|scope| scope.globals.extend(&names));
            }
            "delete_statement" => {
                self.visit_children(node, depth);
                let gone: Vec<&str> = node.named_child(0).map(|n| self.text(n)).into_iter().collect();
                self.scopes.last_mut().into_iter().for_each(|s| s.defined.retain(|name| !gone.contains(name)));
            }
            "case_clause" => {
                let mut cursor = node.walk();
                for child in node.named_children(&mut cursor) {
                    if child.kind() == "case_pattern" {
                        self.visit_pattern(child, depth + 1);
                    } else {
                        self.visit(child, depth + 1);
                    }
                }
            }
            _ => self.visit_children(node, depth),
        }
    }

    fn visit_assignment(&mut self, node: Node<'_>, depth: usize) {
        for field in ["type", "right", "value"] {
            self.visit_field(node, field, depth);
        }
        match node.kind() {
            // An annotation alone defines nothing.
            "assignment" if node.child_by_field_name("right").is_none() => {}
            "named_expression" => self.bind_field(node, "name", ASSIGNED, depth),
            // It can't bring a name into being.
            "augmented_assignment" => self.visit_field(node, "left", depth),
            _ => self.bind_field(node, "left", ASSIGNED, depth),
        }
    }

    fn visit_comprehension(&mut self, node: Node<'_>, depth: usize) {
        self.scopes.push(Scope::new(Kind::Comprehension));
        let mut cursor = node.walk();
        for clause in node.named_children(&mut cursor) {
            match clause.kind() {
                "for_in_clause" => {
                    self.visit_field(clause, "right", depth + 1);
                    self.bind_field(clause, "left", &[Kind::Comprehension], depth + 1);
                }
                "if_clause" => self.visit(clause, depth + 1),
                _ => {}
            }
        }
        self.visit_field(node, "body", depth);
        self.scopes.pop();
    }

    /// `x as y`: all but the alias is used.
    fn visit_alias(&mut self, node: Node<'_>, depth: usize) {
        let alias = node.child_by_field_name("alias").map(|a| a.id());
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor).filter(|c| Some(c.id()) != alias) {
            self.visit(child, depth + 1);
        }
        self.bind_field(node, "alias", ASSIGNED, depth);
    }

    fn visit_function(&mut self, node: Node<'_>, depth: usize) {
        let mut parameters = Vec::new();
        if let Some(list) = node.child_by_field_name("parameters") {
            let mut cursor = list.walk();
            for parameter in list.named_children(&mut cursor) {
                self.visit_field(parameter, "value", depth + 1);
                self.visit_field(parameter, "type", depth + 1);
                match parameter.kind() {
                    "identifier" | "tuple_pattern" => parameters.push(parameter),
                    "typed_parameter" | "list_splat_pattern" | "dictionary_splat_pattern" => {
                        parameters.extend(parameter.named_child(0));
                    }
                    _ => parameters.extend(parameter.child_by_field_name("name")),
                }
            }
        }
        self.visit_field(node, "return_type", depth);
        self.bind_field(node, "name", ASSIGNED, depth);
        self.scopes.push(Scope::new(Kind::Function));
        for parameter in parameters {
            self.bind(parameter, ASSIGNED, depth + 1);
        }
        self.visit_field(node, "body", depth);
        self.leave_function();
    }

    fn visit_import(&mut self, node: Node<'_>, depth: usize) {
        let mut cursor = node.walk();
        self.is_open |= node.named_children(&mut cursor).any(|c| c.kind() == "wildcard_import");
        let mut cursor = node.walk();
        for name in node.children_by_field_name("name", &mut cursor) {
            let bound = name.child_by_field_name("alias").or_else(|| name.named_child(0));
            bound.into_iter().for_each(|bound| self.bind(bound, ASSIGNED, depth + 1));
        }
    }

    /// A pattern of `match`: single names are captured, dotted ones are looked up.
    fn visit_pattern(&mut self, node: Node<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            self.is_too_deep = true;
            return;
        }
        let mut cursor = node.walk();
        let children: Vec<Node<'_>> = node.named_children(&mut cursor).collect();
        match node.kind() {
            "identifier" => self.bind(node, ASSIGNED, depth),
            "dotted_name" if children.len() == 1 => self.bind(children[0], ASSIGNED, depth),
            "dotted_name" => self.visit(node, depth),
            "class_pattern" => {
                children.iter().take(1).for_each(|class| self.visit(*class, depth + 1));
                children.iter().skip(1).for_each(|child| self.visit_pattern(*child, depth + 1));
            }
            "keyword_pattern" => children.iter().skip(1).for_each(|child| self.visit_pattern(*child, depth + 1)),
            _ => children.iter().for_each(|child| self.visit_pattern(*child, depth + 1)),
        }
    }

    fn bind_field(&mut self, node: Node<'_>, field: &str, kinds: &[Kind], depth: usize) {
        let mut cursor = node.walk();
        for child in node.children_by_field_name(field, &mut cursor).filter(Node::is_named) {
            self.bind(child, kinds, depth + 1);
        }
    }

    /// A target of an assignment: its names are defined, what an attribute or an index belongs to is used.
    fn bind(&mut self, node: Node<'_>, kinds: &[Kind], depth: usize) {
        if depth > MAX_DEPTH {
            self.is_too_deep = true;
            return;
        }
        match node.kind() {
            "identifier" => self.define(self.text(node), kinds),
            "attribute" | "subscript" => self.visit(node, depth),
            _ => {
                let mut cursor = node.walk();
                for child in node.named_children(&mut cursor) {
                    self.bind(child, kinds, depth + 1);
                }
            }
        }
    }
}

/// Scopes in which an assignment defines: a comprehension has only its own targets.
const ASSIGNED: &[Kind] = &[Kind::Module, Kind::Class, Kind::Function];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(code: &str) -> (Vec<String>, Vec<String>) {
        let names = Reader::new().names(code).unwrap_or_else(|| panic!("can't be read: {code}"));
        (names.used.into_iter().collect(), names.defined.into_iter().collect())
    }

    /// (code, used, defined), names by spaces.
    #[test]
    fn names_are_read_as_python_runs_them() {
        for (code, used, defined) in [
            ("x = y + 1", "y", "x"),
            ("x = x + 1", "x", "x"),
            ("x += 1", "x", ""),
            ("a, (b, *c) = f(d)", "d f", "a b c"),
            ("a = b = 1", "", "a b"),
            ("x: int = 1\ny: int", "int", "x"),
            ("o.a = 1\nd[k] = v", "d k o v", ""),
            ("import os.path, numpy as np\nfrom m import a as b, c", "", "b c np os"),
            ("for i, x in enumerate(xs):\n    s = i\nprint(s, i)", "enumerate print xs", "i s x"),
            ("with open(p) as f, g() as (h, i):\n    f.read()", "g open p", "f h i"),
            ("try:\n    f()\nexcept (A, B) as e:\n    print(e)", "A B f print", "e"),
            ("if (n := len(s)) > 3:\n    print(n)", "len print s", "n"),
            ("[x * k for x in xs if x > t]\nx", "k t x xs", ""),
            ("{a: b for a, b in p.items()}", "p", ""),
            ("ys = [y := f(x) for x in xs]", "f xs", "y ys"),
            ("f = lambda a, b=c: a + b + d", "c d", "f"),
            ("def f(a, *b, k=d, **c) -> T:\n    l = a + g + l\n    return h\nh = 1", "T d g", "f h"),
            ("def f():\n    global n\n    n = 1\nf()\nprint(n)", "print", "f n"),
            ("def f():\n    def g():\n        return a + b\n    a = 1\n    return g", "b", "f"),
            ("class A(B):\n    x = y\n    def m(self):\n        return x", "B x y", "A"),
            ("@d\ndef f(): pass", "d", "f"),
            ("x = 1\ndel x\nprint(x)", "print x", ""),
            ("print(f'{a!r:>{w}} {b.c}', end=e)", "a b e print w", ""),
            (
                "match c:\n    case P(x=a, y=[b, *r]) | {'k': v}:\n        pass\n    case Q.z:\n        pass",
                "P Q c",
                "a b r v",
            ),
            ("print 'python two', x", "x", ""),
            ("async def f():\n    async with s() as t:\n        await t", "s", "f"),
        ] {
            let split = |names: &str| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(names(code), (split(used), split(defined)), "{code}");
        }
    }

    #[test]
    fn a_notebooks_own_lines_are_left_out() {
        assert_eq!(
            names("!pip install x\n%matplotlib inline\nimport x\nfiles = !ls\n"),
            (vec![], vec!["files".into(), "x".into()])
        );
        assert_eq!(names("%%bash\nrm -r $x").1, Vec::<String>::new());
        assert_eq!(names("```python\nx = 1\n```").1, ["x"]);
        assert!(Reader::new().names("%run setup.py\nx").is_some_and(|n| n.is_open));
        assert!(Reader::new().names("exec('x = 1')").is_some_and(|n| n.is_open));
        assert!(Reader::new().names("globals()['x'] = 1").is_some_and(|n| n.is_open));
        let open = Reader::new().names("a\nfrom m import *\nb").expect("Python");
        assert!(open.is_open && open.used.contains("a") && open.doubtful.contains("b"));
    }

    #[test]
    fn what_is_no_python_or_too_much_of_it_has_no_names() {
        let mut reader = Reader::new();
        for code in [
            "x = = 1".to_owned(),
            "def f(:".to_owned(),
            format!("x = {}1{}", "(".repeat(5000), ")".repeat(5000)),
            "x = 1\n".repeat(200_000),
        ] {
            assert_eq!(reader.names(&code), None);
        }
    }
}
