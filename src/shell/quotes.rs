//! The words of a text: quotes, escapes, and the brackets of substitutions.
//!
//! Owns what a word is without its quotes, and where a bracket ends.

use super::lex::Scanner;

impl Scanner<'_> {
    /// The word that starts here, unquoted; substitutions within it are noted. Ends before blanks and operators.
    pub(super) fn text_of_word(&mut self) -> String {
        let mut out = String::new();
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
                b'\'' => self.single_quoted(&mut out),
                b'"' => self.double_quoted(&mut out),
                b'$' if self.peek(1) == Some(b'\'') => {
                    self.at += 1;
                    self.ansi_quoted(&mut out);
                }
                b'$' if self.peek(1) == Some(b'"') => self.at += 1,
                b'$' if matches!(self.peek(1), Some(b'(' | b'{')) => self.dollar(&mut out),
                b'`' => self.backquoted(&mut out),
                b'\\' => {
                    self.at += 1;
                    if self.peek(0) == Some(b'\n') {
                        self.at += 1;
                    } else {
                        self.push_char(&mut out);
                    }
                }
                _ => self.push_char(&mut out),
            }
        }
        out
    }

    fn push_char(&mut self, out: &mut String) {
        if let Some(c) = self.text[self.at..].chars().next() {
            out.push(c);
            self.at += c.len_utf8();
        }
    }

    fn single_quoted(&mut self, out: &mut String) {
        self.at += 1;
        let rest = &self.text[self.at..];
        match rest.find('\'') {
            Some(end) => {
                out.push_str(&rest[..end]);
                self.at += end + 1;
            }
            None => {
                out.push_str(rest);
                self.at = self.bytes.len();
                self.is_whole = false;
            }
        }
    }

    /// `$'...'`, with the escapes that occur.
    fn ansi_quoted(&mut self, out: &mut String) {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\'' => {
                    self.at += 1;
                    return;
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek(0) {
                        Some(b'n') => out.push('\n'),
                        Some(b't') => out.push('\t'),
                        Some(_) => {
                            self.push_char(out);
                            continue;
                        }
                        None => break,
                    }
                    self.at += 1;
                }
                _ => self.push_char(out),
            }
        }
        self.is_whole = false;
    }

    fn double_quoted(&mut self, out: &mut String) {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' if matches!(self.peek(1), Some(b'"' | b'\\' | b'$' | b'`')) => {
                    self.at += 1;
                    self.push_char(out);
                }
                b'\\' if self.peek(1) == Some(b'\n') => self.at += 2,
                b'$' if matches!(self.peek(1), Some(b'(' | b'{')) => self.dollar(out),
                b'`' => self.backquoted(out),
                _ => self.push_char(out),
            }
        }
        self.is_whole = false;
    }

    /// `$(...)`, `$((...))` and `${...}`: kept as text; what runs is noted.
    fn dollar(&mut self, out: &mut String) {
        let start = self.at;
        self.at += 1;
        if self.peek(0) == Some(b'{') {
            self.balanced(b'{', b'}');
        } else {
            let is_sum = self.peek(1) == Some(b'(');
            let inner = self.substitution();
            if !is_sum {
                self.now.substitutions.push(inner);
            }
        }
        out.push_str(&self.text[start..self.at]);
    }

    /// The text within the brackets that start here.
    pub(super) fn substitution(&mut self) -> String {
        let start = self.at + 1;
        self.balanced(b'(', b')');
        let end = if self.bytes.get(self.at - 1) == Some(&b')') { self.at - 1 } else { self.at };
        self.text[start.min(end)..end].to_owned()
    }

    /// Goes after the bracket that closes the one here; quotes within are passed over.
    pub(super) fn balanced(&mut self, open: u8, close: u8) {
        let mut depth = 0usize;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.at += 1,
                b'\'' => {
                    let rest = &self.bytes[self.at + 1..];
                    self.at += rest.iter().position(|b| *b == b'\'').map_or(0, |end| end + 1);
                }
                _ if byte == open => depth += 1,
                _ if byte == close => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return;
                    }
                }
                _ => {}
            }
            self.at = (self.at + 1).min(self.bytes.len());
        }
        self.is_whole = false;
    }

    fn backquoted(&mut self, out: &mut String) {
        let start = self.at;
        let rest = &self.text[start + 1..];
        let inner = match rest.find('`') {
            Some(end) => &rest[..end],
            None => {
                self.is_whole = false;
                rest
            }
        };
        self.now.substitutions.push(inner.to_owned());
        self.at = (start + inner.len() + 2).min(self.bytes.len());
        out.push_str(&self.text[start..self.at]);
    }
}
