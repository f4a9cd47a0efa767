//! Patterns that are compiled once, when they are first needed.

/// A constant regular expression.
macro_rules! pattern {
    ($(#[$doc:meta])* $vis:vis $name:ident, $text:expr) => {
        $(#[$doc])*
        $vis static $name: std::sync::LazyLock<regex::Regex> =
            std::sync::LazyLock::new(|| regex::Regex::new($text).expect("the pattern is a constant"));
    };
}
pub(super) use pattern;
