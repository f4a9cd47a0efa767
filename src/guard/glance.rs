//! A glance at Python: what its words tell without a parser, a hundred times as fast.
//!
//! Owns four answers, each wrong on one side only: what code *may* define, what it *surely* defines, whether it *may*
//! need a name, and whether it is *surely* broken. Where they leave a doubt, [`super::python`] reads the code for good.
//! A word in a string counts as a use; one after a dot never is a name.

use rustc_hash::FxHashSet as HashSet;

/// Levels of a tree that are walked: each is a call, and so is its end.
const MAX_NESTED: usize = 600;

/// Names that code may define at its top level; `None`: any.
#[cfg(test)]
pub(super) fn may_define(code: &str) -> Option<HashSet<&str>> {
    let mut out = HashSet::default();
    for line in LogicalLines::of(code) {
        let text = line.text;
        let makes_any = ["match ", "exec(", "exec ", "execfile(", "globals("].iter().any(|word| text.contains(word));
        if makes_any || (text.starts_with("from ") && text.ends_with('*')) || text.starts_with('%') {
            return None;
        }
        out.extend(targets(text));
        out.extend(text.match_indices(":=").filter_map(|(at, _)| words(&text[..at]).last()).map(|(_, word)| word));
        out.extend(text.strip_prefix("global ").into_iter().flat_map(|names| words(names).map(|(_, word)| word)));
    }
    Some(out)
}

/// Names that a few lines out of some code may define, wherever the brackets and strings around them began; `None`: any.
pub(super) fn lines_may_define(lines: &str) -> Option<HashSet<&str>> {
    let mut out = HashSet::default();
    for text in lines.lines().flat_map(|line| line.split(';')).map(str::trim) {
        let makes_any = ["match ", "exec(", "exec ", "execfile(", "globals("].iter().any(|word| text.contains(word));
        if makes_any || (text.starts_with("from ") && text.ends_with('*')) || text.starts_with('%') {
            return None;
        }
        out.extend(targets(text));
        out.extend(text.match_indices(":=").filter_map(|(at, _)| words(&text[..at]).last()).map(|(_, word)| word));
        // Names alone may be the rest of an import or of a tuple of targets.
        let is_list = text.chars().all(|c| is_word(c) || " ,()[]*".contains(c));
        let target = if is_list { text } else { text.split_once('=').map_or("", |(left, _)| left) };
        if !target.contains('.') && target.chars().all(|c| is_word(c) || " ,()[]*".contains(c))
            || text.starts_with("global ")
        {
            out.extend(words(if text.starts_with("global ") { text } else { target }).map(|(_, word)| word));
        }
    }
    out.retain(|name| !name.starts_with(|c: char| c.is_numeric()));
    Some(out)
}

/// Names that code defines whatever it does: assignments, imports and definitions that stand at the margin.
pub(super) fn surely_defines(code: &str) -> Vec<&str> {
    LogicalLines::of(code)
        .filter(|line| line.indent == 0 && !line.text.contains("lambda"))
        .flat_map(|line| if opens_branch(line.text) { Vec::new() } else { targets(line.text) })
        .collect()
}

/// Whether code may use one of the names before it defines it.
pub(super) fn may_need(code: &str, names: &HashSet<&str>) -> bool {
    let mut module: HashSet<&str> = HashSet::default();
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for line in LogicalLines::of(code) {
        let text = line.text;
        while blocks.last().is_some_and(|block| line.indent <= block.indent) {
            blocks.pop();
        }
        if text.starts_with("global ") && words(text).any(|(_, word)| names.contains(word)) {
            return true;
        }
        let defined = targets(text);
        let function = function_header(text);
        let parameters = function.map(parameters).unwrap_or_default();
        let mentioned: Vec<&str> = words(text).map(|(_, word)| word).filter(|word| names.contains(word)).collect();
        for name in &mentioned {
            let is_known = module.contains(name) || blocks.iter().any(|block| block.locals.contains(name));
            let is_only_defined = (defined.contains(name) || parameters.contains(name))
                && mentioned.iter().filter(|other| *other == name).count() == 1;
            if !is_known && !is_only_defined {
                return true;
            }
        }
        match blocks.last_mut() {
            // What a class's body defines is the class's own.
            Some(block) if block.is_class => {}
            Some(block) => block.locals.extend(defined),
            None => module.extend(defined),
        }
        if function.is_some() {
            blocks.push(Block { indent: line.indent, is_class: false, locals: parameters.into_iter().collect() });
        } else if text.starts_with("class ") {
            blocks.push(Block { indent: line.indent, is_class: true, locals: HashSet::default() });
        }
    }
    false
}

/// The body of a function or class.
struct Block<'c> {
    indent: usize,
    is_class: bool,
    locals: HashSet<&'c str>,
}

fn opens_branch(text: &str) -> bool {
    ["if ", "elif ", "else", "for ", "while ", "try", "except", "with ", "async ", "match "]
        .iter()
        .any(|word| text.starts_with(word))
}

/// A function's parameters with all that comes after them.
fn function_header(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("async ").unwrap_or(text).strip_prefix("def ")?;
    Some(&rest[rest.find('(')?..])
}

fn parameters(header: &str) -> Vec<&str> {
    let inner = header.strip_prefix('(').unwrap_or(header);
    inner.split(',').filter_map(|parameter| words(parameter).next()).map(|(_, word)| word).collect()
}

/// Names that a statement defines, as far as its words tell.
fn targets(text: &str) -> Vec<&str> {
    if text.starts_with("import ") || text.starts_with("from ") {
        let names = text.split_once("import ").map_or("", |(_, names)| names);
        return names.split(',').filter_map(imported).collect();
    }
    let rest = text.strip_prefix("async ").unwrap_or(text);
    if let Some(name) = rest.strip_prefix("def ").or_else(|| rest.strip_prefix("class ")) {
        return words(name).next().map(|(_, word)| word).into_iter().collect();
    }
    let mut out: Vec<&str> = Vec::new();
    if let Some((names, _)) = rest.strip_prefix("for ").and_then(|loops| loops.split_once(" in ")) {
        out.extend(words(names).map(|(_, word)| word));
    }
    if rest.starts_with("with ") || rest.starts_with("except") {
        out.extend(
            rest.match_indices(" as ").filter_map(|(at, _)| words(&rest[at + 4..]).next()).map(|(_, word)| word),
        );
    }
    // A branch may hold its statement on the same line.
    let statement = if opens_branch(rest) { rest.rsplit_once(": ").map_or("", |(_, s)| s) } else { rest };
    out.extend(assigned(statement));
    out
}

fn imported(name: &str) -> Option<&str> {
    match name.split_once(" as ") {
        Some((_, alias)) => words(alias).next(),
        None => words(name).next(),
    }
    .map(|(_, word)| word)
}

/// Names before each single `=` that no bracket holds.
fn assigned(statement: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let bytes = statement.as_bytes();
    for (at, _) in statement.match_indices('=') {
        let before = at.checked_sub(1).map_or(b' ', |k| bytes[k]);
        let is_single = bytes.get(at + 1) != Some(&b'=') && !b"=!<>:+-*/%&|^@~".contains(&before);
        if !is_single {
            break;
        }
        let target = statement[start..at].split(':').next().unwrap_or_default();
        let names: Vec<&str> =
            target.split(',').map(|name| name.trim_matches([' ', '\t', '(', ')', '[', ']', '*'])).collect();
        let is_name = |name: &&str| !name.is_empty() && name.chars().all(is_word);
        if !names.iter().any(is_name) {
            break;
        }
        out.extend(names.into_iter().filter(is_name));
        start = at + 1;
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of a text with their places, but for those after a dot.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        loop {
            let start = next + text[next..].find(is_word)?;
            let end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |len| start + len);
            next = end;
            let is_attribute = text[..start].ends_with('.') && !text[..start].ends_with("..");
            if !is_attribute {
                return Some((start, &text[start..end]));
            }
        }
    })
}

/// Whether the code can't be Python's: a block that nothing opens, a line that falls back on no margin, or brackets and long
/// strings that do not close.
pub(super) fn is_broken(code: &str) -> bool {
    let mut margins: Vec<usize> = Vec::new();
    let mut opens = false;
    for (number, line) in LogicalLines::of(code).enumerate() {
        if !line.is_whole {
            return true;
        }
        while margins.len() > 1 && margins.last().is_some_and(|margin| line.indent < *margin) {
            margins.pop();
        }
        match margins.last() {
            // Notebooks take the first line's margin away.
            None => margins.push(line.indent),
            Some(_) if number == 1 && line.indent == 0 && !opens => margins = vec![0],
            Some(margin) if line.indent > *margin && opens => margins.push(line.indent),
            Some(margin) if line.indent != *margin || opens && !line.is_joined => return true,
            Some(_) => {}
        }
        opens = line.text.ends_with(':');
    }
    opens
}

/// Whether a tree of the code might be too deep to walk: brackets within brackets, or long chains of operators. Words and
/// operators since the last comma count for each open bracket.
pub(super) fn is_deep(code: &str) -> bool {
    LogicalLines::of(code).any(|line| is_deep_line(line.text.as_bytes()))
}

fn is_deep_line(bytes: &[u8]) -> bool {
    let mut open = vec![0usize];
    let (mut sum, mut at) = (0usize, 0);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    while at < bytes.len() && sum <= MAX_NESTED {
        let start = at;
        at += 1;
        match bytes[start] {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'(' | b'[' | b'{' => {
                open.push(1);
                sum += 1;
                continue;
            }
            b')' | b']' | b'}' if open.len() > 1 => {
                sum -= open.pop().unwrap_or_default();
                continue;
            }
            b',' | b';' => {
                sum -= open.last_mut().map(std::mem::take).unwrap_or_default();
                continue;
            }
            // What stands in braces of such a string is code; all others are passed over.
            quote @ (b'"' | b'\'') if !has_code(&bytes[..start]) => {
                at = string_end(bytes, start, quote).unwrap_or(bytes.len());
            }
            byte if is_word(byte) => at += bytes[at..].iter().take_while(|b| is_word(**b)).count(),
            _ => {}
        }
        sum += 1;
        open.last_mut().into_iter().for_each(|count| *count += 1);
    }
    sum > MAX_NESTED
}

/// Whether the letters before a quote make it an f-string or a template.
fn has_code(before: &[u8]) -> bool {
    let letters = before.iter().rev().take_while(|byte| byte.is_ascii_alphabetic());
    letters.take(3).any(|byte| matches!(byte, b'f' | b'F' | b't' | b'T'))
}

/// A statement without its comment, whatever number of lines its brackets and strings take.
struct LogicalLine<'c> {
    indent: usize,
    text: &'c str,
    /// It comes after a semicolon.
    is_joined: bool,
    /// Its brackets and strings close.
    is_whole: bool,
}

struct LogicalLines<'c> {
    rest: &'c str,
    indent: usize,
    is_joined: bool,
}

impl<'c> LogicalLines<'c> {
    fn of(code: &'c str) -> Self {
        LogicalLines { rest: code, indent: 0, is_joined: false }
    }
}

impl<'c> Iterator for LogicalLines<'c> {
    type Item = LogicalLine<'c>;

    fn next(&mut self) -> Option<LogicalLine<'c>> {
        while !self.rest.is_empty() {
            let Statement { code, end, is_whole } = statement(self.rest);
            let text = self.rest[..code].trim_start();
            if !self.is_joined {
                let margin = &self.rest[..code - text.len()];
                self.indent = margin.len() - margin.rfind('\n').map_or(0, |at| at + 1);
            }
            let line = LogicalLine { indent: self.indent, text: text.trim_end(), is_joined: self.is_joined, is_whole };
            self.is_joined = self.rest[..end].ends_with(';');
            self.rest = &self.rest[end..];
            if !text.is_empty() {
                return Some(line);
            }
        }
        None
    }
}

/// The first statement of a text.
struct Statement {
    /// Where its code ends.
    code: usize,
    /// Where the next begins: after a line break or semicolon that is in no bracket or string.
    end: usize,
    is_whole: bool,
}

fn statement(text: &str) -> Statement {
    let bytes = text.as_bytes();
    let (mut depth, mut at, mut comment) = (0usize, 0, None);
    let mut is_whole = true;
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => is_whole = false,
            },
            b'\\' => at += 1,
            b'#' => {
                comment = comment.or((depth == 0).then_some(at));
                at += bytes[at..].iter().position(|&b| b == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            quote @ (b'"' | b'\'') => {
                match string_end(bytes, at, quote) {
                    Some(end) => at = end,
                    None => (at, is_whole) = (bytes.len(), false),
                }
                continue;
            }
            b'\n' | b';' if depth == 0 => return Statement { code: comment.unwrap_or(at), end: at + 1, is_whole },
            _ => {}
        }
        at += 1;
    }
    Statement { code: comment.unwrap_or(text.len()), end: text.len(), is_whole: is_whole && depth == 0 }
}

/// After the string that opens at a place; one of a single line ends with the line at the latest, since notebooks have lines
/// of other languages. `None`: it has no end.
fn string_end(bytes: &[u8], start: usize, quote: u8) -> Option<usize> {
    let is_triple = bytes[start..].starts_with(&[quote; 3]);
    let mut at = start + if is_triple { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'\n' if !is_triple => return Some(at),
            b if b == quote && !is_triple => return Some(at + 1),
            b if b == quote && bytes[at..].starts_with(&[quote; 3]) => return Some(at + 3),
            _ => {}
        }
        at += 1;
    }
    (!is_triple).then_some(bytes.len())
}

#[cfg(test)]
mod tests;
