//! Patterns that are compiled once, when they are first needed.

/// A constant regular expression.
macro_rules! pattern {
    ($(#[$doc:meta])* $vis:vis $name:ident, $text:expr) => {
        $(#[$doc])*
        $vis static $name: std::sync::LazyLock<regex::Regex> =
            std::sync::LazyLock::new(|| $crate::pattern::compiled($text));
    };
}
pub(crate) use pattern;

/// Word edges are those of ASCII: with those of Unicode, text that is not ASCII is matched by the slow engine.
pub(crate) fn compiled(text: &str) -> regex::Regex {
    regex::Regex::new(&text.replace(r"\b", r"(?-u:\b)")).expect("the pattern is a constant")
}
