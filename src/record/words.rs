//! Values of a record that are one of a few words.
//!
//! Owns the words as files hold them. A word that no version has written is an error, never another word.

use crate::config::{Mode, Profile, SimilarityMetric};

/// One of a few values, each with its word.
pub trait Word: Copy + PartialEq + 'static {
    const ALL: &'static [Self];

    /// As it stands in files.
    fn word(self) -> &'static str;

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.word() == word)
    }
}

macro_rules! words {
    ($name:ident: $($variant:ident = $word:literal),* $(,)?) => {
        impl Word for $name {
            const ALL: &'static [Self] = &[$($name::$variant),*];

            fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word),*
                }
            }
        }
    };
}

/// How much of a step a correction replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granularity {
    /// The first reasoning stands; call and results are replaced.
    #[default]
    Shallow,
    /// The reasoning is replaced as well.
    Deep,
}

/// What a repair makes of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepairKind {
    /// Replaced by the correction.
    #[default]
    Recovered,
    /// No correction: the first attempts became one failed step.
    Collapsed,
}

impl Granularity {
    pub fn name(self) -> &'static str {
        self.word()
    }
}

impl RepairKind {
    pub fn name(self) -> &'static str {
        self.word()
    }
}

words!(Granularity: Shallow = "shallow", Deep = "deep");
words!(RepairKind: Recovered = "recovered", Collapsed = "collapsed");
words!(Profile: Default = "default", OpenCleaner = "open-cleaner");
words!(Mode: Replace = "replace", Drop = "drop", Mask = "mask", Append = "append");
words!(SimilarityMetric: Lexical = "lexical", Exact = "exact", Semantic = "semantic");

#[cfg(test)]
mod tests {
    use super::*;

    fn each_is_read_back<W: Word + std::fmt::Debug>() {
        for value in W::ALL {
            assert_eq!(W::parse(value.word()), Some(*value));
        }
        assert_eq!(W::parse(""), None);
    }

    #[test]
    fn every_word_is_read_as_the_value_that_wrote_it() {
        each_is_read_back::<Granularity>();
        each_is_read_back::<RepairKind>();
        each_is_read_back::<Profile>();
        each_is_read_back::<Mode>();
        each_is_read_back::<SimilarityMetric>();
    }
}
