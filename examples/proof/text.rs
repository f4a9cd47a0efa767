//! A tokenizer of its own: pieces that are looked for greedily, the longest first, and single characters for everything else.
//!
//! Owns the vocabulary. Any text can be written in it; a character that it lacks becomes `?`.

use std::collections::HashMap;

pub const USER: u32 = 0;
pub const ASSISTANT: u32 = 1;
pub const TOOL: u32 = 2;
pub const END: u32 = 3;
pub const CALL: u32 = 4;
const SPECIAL: [&str; 5] = ["<user>", "<assistant>", "<tool>", "<end>", "<tool_call>"];

/// Words of the tasks and of Python that are one token.
const PIECES: &[&str] = &[
    "print(",
    "sum(",
    "max(",
    "str(",
    "int(",
    "len(",
    "sorted(",
    "sort(",
    "pow(",
    "power(",
    "count(",
    "upper(",
    "range(",
    "import math\n",
    "math.",
    "isqrt(",
    "join(",
    ".upper()",
    ".toupper()",
    ".title()",
    ".replace(",
    ".sub(",
    ".count(",
    ".num(",
    ".sort()",
    ".sorted()",
    ".sum()",
    ".get(",
    "d={",
    "d[",
    "d.",
    "\",\"",
    "\"",
    "):",
    "))",
    "([",
    "])",
    "](",
    "][",
    " of ",
    " in ",
    "sum",
    "join ",
    "root of ",
    "price of ",
    " where ",
    "item ",
    "km in m",
    " km",
    "upper ",
    "put ",
    " for ",
    "add ",
    " and text ",
    "sort ",
    " to the ",
    "count ",
    "first two of ",
    "fig",
    "egg",
    "cat",
    "dog",
    "sun",
    "map",
    "bus",
    "key",
    "pen",
    "cup",
    "hat",
    "fox",
    "banana",
    "pepper",
    "letter",
    "cheese",
    "1000",
    "100",
    "Error: ",
    "Name",
    "Type",
    "Attribute",
    "Index",
    "Key",
    "Syntax",
    "name ",
    " is not defined",
    " object has no attribute ",
    "unsupported operand",
    " type(s)",
    "object ",
    " not ",
    "callable",
    "list",
    " index out of range",
    "takes ",
    "at most ",
    "arguments",
    "given",
    "invalid",
    " syntax",
    "decimal literal",
    "None",
    "must be ",
    "concatenate ",
    "can only ",
    "expected",
    "positional",
    "argument",
    "Did you mean",
    "method",
    "function",
];

/// Text to tokens and back.
pub struct Tokenizer {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
    longest: usize,
}

impl Default for Tokenizer {
    fn default() -> Self {
        let characters = (' '..='~').chain(['\n']).map(String::from);
        let all = SPECIAL.iter().chain(PIECES).map(|piece| (*piece).to_owned()).chain(characters);
        let (mut tokens, mut ids) = (Vec::new(), HashMap::new());
        for token in all {
            if !ids.contains_key(&token) {
                ids.insert(token.clone(), tokens.len() as u32);
                tokens.push(token);
            }
        }
        let longest = PIECES.iter().map(|piece| piece.len()).max().unwrap_or(1);
        Tokenizer { tokens, ids, longest }
    }
}

impl Tokenizer {
    pub fn vocabulary(&self) -> usize {
        self.tokens.len()
    }

    /// Special tokens are never read out of text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let (mut out, mut rest) = (Vec::new(), text);
        while let Some(first) = rest.chars().next() {
            let fits = |length: &usize| rest.is_char_boundary(*length) && !SPECIAL.contains(&&rest[..*length]);
            let found = (1..=self.longest.min(rest.len())).rev().filter(fits).find_map(|length| {
                let id = self.ids.get(&rest[..length])?;
                Some((*id, length))
            });
            let (id, length) = found.unwrap_or_else(|| (self.ids["?"], first.len_utf8()));
            out.push(id);
            rest = &rest[length..];
        }
        out
    }

    pub fn decode(&self, ids: &[u32]) -> String {
        ids.iter().map(|&id| self.tokens.get(id as usize).map_or("?", String::as_str)).collect()
    }
}
