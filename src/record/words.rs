//! Values of a record that are one of a few words.
//!
//! Owns the words as files hold them. A word that no version has written is an error, never another word.

use crate::decision::{Correction, Reason, SideEffects};
use crate::options::{Mode, Profile, SimilarityMetric};

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

/// What of its steps a repair touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairScope {
    /// They became one step.
    Steps,
    /// Failed calls of the first step were replaced by calls of the last; what else the first asked for stayed.
    Calls,
    /// They went, and nothing took their place: the retry stands further on.
    Removal,
}

/// What became of a failure run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunOutcome {
    Repaired,
    /// Its attempts are out of the loss.
    Masked,
    #[default]
    Left,
}

/// Whether a rollout did better than its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvantageSign {
    Positive,
    /// No better: below the mean of its group, or at it.
    Negative,
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
words!(RepairScope: Steps = "steps", Calls = "calls", Removal = "removal");
words!(RunOutcome: Repaired = "repaired", Masked = "masked", Left = "left");
words!(AdvantageSign: Positive = "positive", Negative = "negative");
words!(Profile: Default = "default", Saar = "saar", OpenCleaner = "open-cleaner");
words!(Mode: Replace = "replace", Drop = "drop", Mask = "mask", Append = "append");
words!(SimilarityMetric: Lexical = "lexical", Exact = "exact", Semantic = "semantic");

impl Word for Reason {
    const ALL: &'static [Self] = &Reason::ALL;

    fn word(self) -> &'static str {
        self.name()
    }
}

impl Word for Correction {
    const ALL: &'static [Self] = &Correction::ALL;

    fn word(self) -> &'static str {
        self.name()
    }
}

impl Word for SideEffects {
    const ALL: &'static [Self] = &SideEffects::ALL;

    fn word(self) -> &'static str {
        self.name()
    }
}

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
        each_is_read_back::<RepairScope>();
        each_is_read_back::<RunOutcome>();
        each_is_read_back::<AdvantageSign>();
        each_is_read_back::<Reason>();
        each_is_read_back::<Correction>();
        each_is_read_back::<SideEffects>();
    }
}
