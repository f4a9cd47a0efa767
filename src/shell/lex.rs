//! A text cut into raw commands: quotes, lists, pipes, redirections, here-documents, keywords.
//!
//! Owns the scanner's way through a text; its words are cut in [`super::quotes`]. It never fails: what is not closed ends at the end of the text, and the caller is told.

use super::command::{Join, Redirect};
use super::words::assigned_name;

/// A simple command as it stands, before wrappers are taken off.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub join: Join,
    pub words: Vec<String>,
    pub redirects: Vec<Redirect>,
    pub is_background: bool,
    pub is_conditional: bool,
    /// Texts of `$(...)`, `` `...` `` and `<(...)`.
    pub substitutions: Vec<String>,
}

impl Raw {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.redirects.is_empty() && self.substitutions.is_empty()
    }
}

/// Commands in order, and whether everything was closed.
pub(super) fn cut(text: &str) -> (Vec<Raw>, bool) {
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: 0,
        out: Vec::new(),
        now: Raw::default(),
        is_whole: true,
        depth: 0,
        documents: Vec::new(),
        expects: Expects::Command,
    };
    scanner.run();
    (scanner.out, scanner.is_whole)
}

/// What a word would be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// A program, a keyword or an assignment.
    Command,
    Argument,
    /// The words of `for x in ...`, up to `;`, a line break or `do`.
    Loop,
    /// `case x in`, and the patterns up to `)`.
    Pattern,
}

/// A here-document that was announced on this line.
struct Announced {
    end: String,
    strips_tabs: bool,
    command: usize,
    redirect: usize,
}

pub(super) struct Scanner<'t> {
    pub(super) text: &'t str,
    pub(super) bytes: &'t [u8],
    pub(super) at: usize,
    out: Vec<Raw>,
    pub(super) now: Raw,
    pub(super) is_whole: bool,
    /// Open branches, loops and functions.
    depth: usize,
    documents: Vec<Announced>,
    expects: Expects,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.peek(1) == Some(b'\n') => self.at += 2,
                b'\n' => self.line_break(),
                b'#' => self.comment(),
                b';' => self.separator(),
                b'&' => self.ampersand(),
                b'|' => self.pipe(),
                b'(' | b')' => self.bracket(byte),
                b'<' | b'>' => self.redirection(),
                _ => self.word(),
            }
        }
        self.finish(Join::Then);
        self.is_whole &= self.documents.is_empty() && self.depth == 0;
    }

    pub(super) fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Ends a command; the next one depends on it by `join`.
    fn finish(&mut self, join: Join) {
        let mut now = std::mem::take(&mut self.now);
        now.is_conditional = self.depth > 0;
        let was = now.join;
        let is_empty = now.is_empty();
        if !is_empty {
            self.out.push(now);
        }
        // Keywords alone are no command: what depends on `then` depends on what was before it.
        self.now.join = if is_empty && join == Join::Then { was } else { join };
        self.expects = Expects::Command;
    }

    fn line_break(&mut self) {
        self.at += 1;
        if self.expects != Expects::Pattern {
            self.finish(Join::Then);
        }
        for announced in std::mem::take(&mut self.documents) {
            self.document(announced);
        }
    }

    fn comment(&mut self) {
        // Words never start here inside: `word` has eaten them.
        while self.peek(0).is_some_and(|b| b != b'\n') {
            self.at += 1;
        }
    }

    fn separator(&mut self) {
        let is_pattern_end = self.peek(1) == Some(b';');
        self.at += if is_pattern_end { 2 } else { 1 };
        self.finish(Join::Then);
        if is_pattern_end {
            self.expects = Expects::Pattern;
        }
    }

    fn ampersand(&mut self) {
        match self.peek(1) {
            Some(b'&') => {
                self.at += 2;
                self.finish(Join::And);
            }
            Some(b'>') => self.redirection(),
            _ => {
                self.at += 1;
                self.now.is_background = true;
                self.finish(Join::Then);
            }
        }
    }

    fn pipe(&mut self) {
        let is_or = self.peek(1) == Some(b'|');
        self.at += if is_or || self.peek(1) == Some(b'&') { 2 } else { 1 };
        if self.expects != Expects::Pattern {
            self.finish(if is_or { Join::Or } else { Join::Pipe });
        }
    }

    fn bracket(&mut self, byte: u8) {
        if byte == b'(' && self.peek(1) == Some(b'(') && self.now.words.is_empty() {
            // `((i++))`, `for ((...))`: sums run nothing.
            self.balanced(b'(', b')');
            return;
        }
        self.at += 1;
        if self.expects == Expects::Pattern {
            if byte == b')' {
                self.finish(Join::Then);
            }
            return;
        }
        // `name() {` defines a function; the braces are keywords.
        let is_function = byte == b'(' && self.peek(0) == Some(b')') && self.now.words.len() == 1;
        if is_function {
            self.at += 1;
            self.now.words.clear();
            self.expects = Expects::Command;
            return;
        }
        let join = self.now.join;
        if self.now.is_empty() {
            self.finish(join);
        } else {
            self.finish(Join::Then);
        }
    }

    fn redirection(&mut self) {
        if self.peek(0) == Some(b'&') {
            self.at += 1;
        }
        let is_input = self.peek(0) == Some(b'<');
        let arrows = self.bytes[self.at..].iter().take_while(|b| **b == b'<' || **b == b'>').count().min(3);
        if self.peek(1) == Some(b'(') && arrows == 1 {
            self.at += 1;
            let inner = self.substitution();
            self.now.substitutions.push(inner);
            self.now.words.push("<(...)".to_owned());
            return;
        }
        self.at += arrows;
        if matches!(self.peek(0), Some(b'&')) {
            // `2>&1`, `>&-`: between channels.
            self.at += 1;
            self.skip_blanks();
            let _channel = self.text_of_word();
            return;
        }
        let strips_tabs = is_input && arrows == 2 && self.peek(0) == Some(b'-');
        self.at += usize::from(strips_tabs || self.peek(0) == Some(b'|'));
        self.skip_blanks();
        let target = self.text_of_word();
        let redirect = match (is_input, arrows) {
            (true, 2) => {
                let redirect = self.now.redirects.len();
                self.documents.push(Announced { end: target, strips_tabs, command: self.out.len(), redirect });
                Redirect::Document(String::new())
            }
            (true, 3) => Redirect::Text(target),
            (true, _) => Redirect::From(target),
            (false, 1) => Redirect::Into(target),
            (false, _) => Redirect::Onto(target),
        };
        self.now.redirects.push(redirect);
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(0), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn document(&mut self, announced: Announced) {
        let mut text = String::new();
        let mut is_closed = false;
        while self.at < self.bytes.len() {
            let rest = &self.text[self.at..];
            let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
            self.at = (self.at + line.len() + 1).min(self.bytes.len());
            let line = if announced.strips_tabs { line.trim_start_matches('\t') } else { line };
            // Harnesses indent, so blanks around the end are let pass.
            if line.trim() == announced.end {
                is_closed = true;
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        self.is_whole &= is_closed;
        if let Some(Redirect::Document(place)) =
            self.out.get_mut(announced.command).and_then(|c| c.redirects.get_mut(announced.redirect))
        {
            *place = text;
        }
    }

    fn word(&mut self) {
        let start = self.at;
        let text = self.text_of_word();
        if self.at == start {
            // A byte that starts nothing: never loop.
            self.at += 1;
            return;
        }
        let is_plain = self.text[start..self.at] == text;
        // `2>file`: the number is a channel.
        if matches!(self.peek(0), Some(b'<' | b'>')) && is_plain && text.bytes().all(|b| b.is_ascii_digit()) {
            return;
        }
        if self.expects == Expects::Command && is_plain && self.keyword(&text) {
            return;
        }
        match self.expects {
            Expects::Command => {
                self.now.words.push(text);
                let only_assigns = self.now.words.iter().all(|word| assigned_name(word).is_some());
                self.expects = if only_assigns { Expects::Command } else { Expects::Argument };
            }
            Expects::Argument => self.now.words.push(text),
            Expects::Loop if is_plain && text == "do" => {
                self.finish(Join::Then);
            }
            Expects::Loop | Expects::Pattern => {
                if is_plain && text == "esac" {
                    self.depth = self.depth.saturating_sub(1);
                    self.finish(Join::Then);
                    self.expects = Expects::Argument;
                }
            }
        }
    }

    /// Whether a word is a keyword here; if so, it has been taken in.
    fn keyword(&mut self, word: &str) -> bool {
        if !self.now.words.is_empty() {
            return false;
        }
        match word {
            "if" | "while" | "until" | "{" => self.depth += 1,
            "for" | "select" => {
                self.depth += 1;
                self.expects = Expects::Loop;
            }
            "case" => {
                self.depth += 1;
                self.expects = Expects::Pattern;
                self.skip_case_head();
            }
            "fi" | "done" | "esac" | "}" => {
                self.depth = self.depth.saturating_sub(1);
                self.expects = Expects::Argument;
            }
            "function" => {
                self.skip_blanks();
                let _name = self.text_of_word();
            }
            "[[" => self.test(),
            "then" | "else" | "elif" | "do" | "!" => {}
            _ => return false,
        }
        true
    }

    /// `[[ ... ]]`: what looks like operators inside is none.
    fn test(&mut self) {
        let rest = &self.text[self.at..];
        let inner = rest.find("]]").map_or(rest, |end| &rest[..end]);
        self.now.words.extend(std::iter::once("[[").chain(inner.split_whitespace()).map(str::to_owned));
        self.at = (self.at + inner.len() + 2).min(self.bytes.len());
        self.expects = Expects::Argument;
    }

    /// `x in` after `case`.
    fn skip_case_head(&mut self) {
        for _ in 0..2 {
            self.skip_blanks();
            let _word = self.text_of_word();
        }
    }
}
