//! The files of src and who uses what of whom: every path of the code, resolved to the file that defines its name.
//!
//! `crate::`, `super::`, `self::` and names of child modules are followed, in `use`, in code and in macros; tests are left
//! out. A re-export is a signpost: who uses the name uses the file after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::{Item, UseTree};

/// A path in the code, absolute: the names of modules, then what is used of them.
type Names = Vec<String>;

/// One file of src.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    module: Names,
    /// What the file imports, and whether it only hands it on: (path, its name here).
    imports: Vec<(Names, String, bool)>,
    /// Every other path of its code, as written.
    paths: Vec<Names>,
    /// All names of its code.
    words: BTreeSet<String>,
}

pub struct Graph {
    pub sources: Vec<Source>,
    by_module: BTreeMap<Names, usize>,
}

impl Graph {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        walk(&root, &mut files);
        files.sort();
        let sources: Vec<Source> = files.iter().map(|path| Source::read(&root, path)).collect();
        let by_module = sources.iter().enumerate().map(|(k, source)| (source.module.clone(), k)).collect();
        Graph { sources, by_module }
    }

    /// Files that a file uses something of.
    pub fn used_by(&self, file: usize) -> BTreeSet<usize> {
        let source = &self.sources[file];
        let handed_on = |name: &str, is_export: bool| is_export && !source.words.contains(name);
        let imports = source.imports.iter().filter(|(_, name, is_export)| !handed_on(name, *is_export));
        let paths = imports.map(|(path, ..)| path).chain(&source.paths);
        paths.filter_map(|path| self.resolve(&self.absolute(source, path)?, 0)).filter(|&used| used != file).collect()
    }

    /// `None` for a path into another crate.
    fn absolute(&self, source: &Source, path: &[String]) -> Option<Names> {
        let mut at = source.module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            child => {
                at.push(child.to_owned());
                self.by_module.get(&at)?;
                rest = &path[1..];
            }
        }
        at.extend(rest.iter().cloned());
        Some(at)
    }

    /// The file that defines what a path names.
    fn resolve(&self, path: &[String], depth: usize) -> Option<usize> {
        let (file, rest) = (0..=path.len()).rev().find_map(|n| Some((*self.by_module.get(&path[..n])?, &path[n..])))?;
        let source = &self.sources[file];
        let Some(name) = rest.first().filter(|_| depth < 8) else { return Some(file) };
        let export = source.imports.iter().find(|(_, known, is_export)| *is_export && known == name);
        let behind = export.and_then(|(path, ..)| self.resolve(&self.absolute(source, path)?, depth + 1));
        Some(behind.unwrap_or(file))
    }
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a source");
        let relative = path.strip_prefix(root).expect("below src").to_owned();
        let mut module: Names = relative.with_extension("").iter().map(|n| n.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|name| ["mod", "lib"].contains(&name.as_str())) {
            module.pop();
        }
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", relative.display()));
        let mut out =
            Source { path: relative, text, module, imports: Vec::new(), paths: Vec::new(), words: BTreeSet::new() };
        out.add_items(parsed.items);
        out
    }

    fn add_items(&mut self, items: Vec<Item>) {
        for item in items {
            if is_test(&item) {
                continue;
            }
            match item {
                Item::Use(used) => {
                    let is_export = !matches!(used.vis, syn::Visibility::Inherited);
                    self.add_tree(&used.tree, &mut Vec::new(), is_export);
                }
                Item::Mod(module) if module.content.is_none() => {}
                item => self.add_tokens(quote::ToTokens::into_token_stream(item)),
            }
        }
    }

    fn add_tree(&mut self, tree: &UseTree, before: &mut Names, is_export: bool) {
        let mut add = |names: Names, as_name: String| self.imports.push((names, as_name, is_export));
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_tree(&path.tree, before, is_export);
                before.pop();
            }
            UseTree::Name(name) if name.ident == "self" => {
                add(before.clone(), before.last().cloned().unwrap_or_default());
            }
            UseTree::Name(name) => add([before.as_slice(), &[name.ident.to_string()]].concat(), name.ident.to_string()),
            UseTree::Rename(name) => {
                add([before.as_slice(), &[name.ident.to_string()]].concat(), name.rename.to_string())
            }
            UseTree::Glob(_) => add(before.clone(), "*".to_owned()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, before, is_export)),
        }
    }

    /// Paths of any depth: `a::b::c`, in macros as well.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path = Names::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.end_path(&mut path);
                    }
                    self.words.insert(name.to_string());
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    self.end_path(&mut path);
                    colons = 0;
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.end_path(&mut path);
                    colons = 0;
                }
            }
        }
        self.end_path(&mut path);
    }

    fn end_path(&mut self, path: &mut Names) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.paths.push(path);
        }
    }
}

fn is_test(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("src is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|end| end == "rs") {
            out.push(path);
        }
    }
}

/// Sets of nodes that reach each other, those of one node left out.
pub fn circles(edges: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reach = |from: usize| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(node) = next.pop() {
            next.extend(edges[node].iter().filter(|&&used| seen.insert(used)).copied());
        }
        seen
    };
    let reached: Vec<BTreeSet<usize>> = (0..edges.len()).map(reach).collect();
    let mut out: Vec<Vec<usize>> = Vec::new();
    for node in (0..edges.len()).filter(|&node| reached[node].contains(&node)) {
        if !out.iter().flatten().any(|&known| known == node) {
            out.push((0..edges.len()).filter(|&n| reached[node].contains(&n) && reached[n].contains(&node)).collect());
        }
    }
    out
}
