//! The tasks: fourteen templates with the mistakes that come naturally to each, loud ones and silent ones.
//!
//! Owns what is asked, what is right, and how it goes wrong. Two templates are never trained on: they put together what others
//! ask for alone.

use super::draw::Draw;

pub const TRAINED: usize = 12;
pub const TEMPLATES: usize = 14;

const WORDS: [&str; 12] = ["fig", "egg", "cat", "dog", "sun", "map", "bus", "key", "pen", "cup", "hat", "fox"];
const LONG: [&str; 4] = ["banana", "pepper", "letter", "cheese"];

/// One question, and calls that answer it, rightly and wrongly.
#[derive(Clone, Debug)]
pub struct Task {
    pub prompt: String,
    pub good: String,
    /// They raise: a missing import, a function of another name, text beside a number, one place too far.
    pub loud: Vec<String>,
    /// They print something else: arguments in the wrong order, units, one place off, what a method returns.
    pub silent: Vec<String>,
}

/// A task of a template.
pub fn task(template: usize, draw: &mut Draw) -> Task {
    let mut number = |low: usize, high: usize| low + draw.below(high - low);
    let (a, b, c) = (number(2, 40), number(2, 40), number(2, 40));
    let (word, other) = (number(0, WORDS.len()), number(1, WORDS.len()));
    let (word, other) = (WORDS[word], WORDS[(word + other) % WORDS.len()]);
    let print = |inside: &str| format!("print({inside})");
    let prints = |all: &[String]| all.iter().map(|inside| print(inside)).collect::<Vec<_>>();
    let list = format!("[{a},{b},{c}]");
    let (prompt, good, loud, silent) = match template {
        0 => (
            format!("sum {a} {b} {c}"),
            print(&format!("sum({list})")),
            prints(&[format!("sum({a},{b},{c})"), format!("{list}.sum()")]),
            prints(&[format!("sum([{a},{b}])"), format!("max({list})")]),
        ),
        1 => (
            format!("join {a} {word}"),
            print(&format!("str({a})+\"{word}\"")),
            prints(&[format!("{a}+\"{word}\""), format!("join({a},\"{word}\")")]),
            prints(&[format!("\"{word}\"+str({a})")]),
        ),
        2 => {
            // Half of 4 is its root.
            let square = (3 + a % 11).pow(2);
            (
                format!("root of {square}"),
                format!("import math\nprint(math.isqrt({square}))"),
                prints(&[format!("math.isqrt({square})"), format!("isqrt({square})")]),
                prints(&[format!("{square}**2"), format!("{square}//2")]),
            )
        }
        3 => {
            let b = if a == b { b + 1 } else { b };
            let d = format!("d={{\"{other}\":{a},\"{word}\":{b}}}\n");
            (
                format!("price of {word} where {other} {a} {word} {b}"),
                format!("{d}print(d[\"{word}\"])"),
                vec![format!("{d}print(d[{word}])"), format!("{d}print(d.{word})")],
                vec![format!("{d}print(d[\"{other}\"])")],
            )
        }
        4 => {
            let k = 1 + c % 3;
            let list = format!("[{a},{},{}]", a + 1 + b % 9, b + 41);
            (
                format!("item {k} of {}", list.trim_matches(['[', ']']).replace(',', " ")),
                print(&format!("{list}[{}]", k - 1)),
                prints(&[format!("{list}({})", k - 1), format!("{list}.get({k})")]),
                prints(&[format!("{list}[{}]", if k < 3 { k } else { 1 })]),
            )
        }
        5 => (
            format!("{a} km in m"),
            print(&format!("{a}*1000")),
            prints(&[format!("{a} km"), format!("km({a})")]),
            prints(&[format!("{a}*100"), format!("{a}/1000")]),
        ),
        6 => (
            format!("upper {word}"),
            print(&format!("\"{word}\".upper()")),
            prints(&[format!("\"{word}\".toupper()"), format!("upper(\"{word}\")")]),
            prints(&[format!("\"{word}\".title()")]),
        ),
        7 => {
            let (from, to) = (&word[1..2], &other[2..3]);
            let to = if from == to { "x" } else { to };
            (
                format!("put {to} for {from} in {word}"),
                print(&format!("\"{word}\".replace(\"{from}\",\"{to}\")")),
                prints(&[format!("\"{word}\".sub(\"{from}\",\"{to}\")"), format!("\"{word}\".replace(\"{from}\")")]),
                prints(&[format!("\"{word}\".replace(\"{to}\",\"{from}\")")]),
            )
        }
        8 => (
            format!("add {a} and text {b}"),
            print(&format!("{a}+int(\"{b}\")")),
            prints(&[format!("{a}+\"{b}\"")]),
            prints(&[format!("\"{a}\"+\"{b}\"")]),
        ),
        9 => {
            let list = format!("[{},{a},{}]", a + 1 + b % 9, a + 11 + c);
            (
                format!("sort {}", list.trim_matches(['[', ']']).replace(',', " ")),
                print(&format!("sorted({list})")),
                prints(&[format!("{list}.sorted()"), format!("sort({list})")]),
                prints(&[format!("{list}.sort()"), list]),
            )
        }
        10 => {
            let (base, power) = (3 + a % 6, 2 + b % 3);
            let power = if base == power { power + 1 } else { power };
            // 2^4 = 4^2
            let base = if (base, power) == (4, 2) { 5 } else { base };
            (
                format!("{base} to the {power}"),
                print(&format!("pow({base},{power})")),
                prints(&[format!("math.pow({base},{power})"), format!("power({base},{power})")]),
                prints(&[format!("pow({power},{base})"), format!("{base}*{power}")]),
            )
        }
        11 => {
            let word = LONG[a % LONG.len()];
            let letter = &word[1..2];
            (
                format!("count {letter} in {word}"),
                print(&format!("\"{word}\".count(\"{letter}\")")),
                prints(&[format!("count(\"{word}\",\"{letter}\")"), format!("\"{word}\".num(\"{letter}\")")]),
                prints(&[format!("\"{letter}\".count(\"{word}\")"), format!("len(\"{word}\")")]),
            )
        }
        12 => (
            format!("sum first two of {a} {b} {c}"),
            print(&format!("sum([{a},{b}])")),
            prints(&[format!("sum({a},{b})")]),
            prints(&[format!("sum({list})")]),
        ),
        _ => (
            format!("upper join {a} {word}"),
            print(&format!("(str({a})+\"{word}\").upper()")),
            prints(&[format!("({a}+\"{word}\").upper()")]),
            prints(&[format!("str({a})+\"{word}\"")]),
        ),
    };
    Task { prompt, good, loud, silent }
}

/// So many tasks of the templates that are trained on, or of the two that are not.
pub fn tasks(count: usize, are_unseen: bool, draw: &mut Draw) -> Vec<Task> {
    let template = |draw: &mut Draw| match are_unseen {
        true => TRAINED + draw.below(TEMPLATES - TRAINED),
        false => draw.below(TRAINED),
    };
    (0..count)
        .map(|_| {
            let template = template(draw);
            task(template, draw)
        })
        .collect()
}
