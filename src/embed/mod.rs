//! Text in, vector out (docs/method.md, "Call segment and similarity").
//!
//! Owns the [`Embedder`] trait, its two engines (`onnx`, `candle`), the order in which texts go through them
//! ([`batch`]) and the store in which vectors wait to be written ([`store`]). It knows no rollouts: which texts are
//! embedded, and what their vectors decide, is left to others. A text's vector depends on model, engine and device alone,
//! never on the texts beside it.

pub mod batch;
#[cfg(feature = "embed")]
mod candle;
mod error;
#[cfg(feature = "embed")]
mod folder;
#[cfg(feature = "embed")]
mod hub;
#[cfg(feature = "embed")]
mod load;
#[cfg(feature = "embed")]
mod onnx;
#[cfg(feature = "embed")]
mod runtime;
pub mod store;

pub use crate::embedding::{Embedding, ModelCard, TextHash};
pub use error::EmbedError;
#[cfg(feature = "embed")]
pub use load::{Loaded, load};

/// How long a text is for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLength {
    /// At most the model's limit.
    pub tokens: usize,
    /// Whether the limit cut it.
    pub is_cut: bool,
}

/// An engine with a model.
pub trait Embedder: Send {
    fn card(&self) -> &ModelCard;

    /// Tokens that may go through at once: on the CPU more is no faster, on a GPU it is.
    fn batch_tokens(&self) -> usize;

    /// Whether a text's vector would depend on the texts beside it (weights that are quantised as they run).
    fn is_one_by_one(&self) -> bool {
        false
    }

    fn lengths(&self, texts: &[&str]) -> Result<Vec<TextLength>, EmbedError>;

    /// The vectors of texts that all have the same number of tokens: none is padded, so none depends on the others.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError>;
}

/// An embedder without a model, for tests: a vector counts the bytes of a text by their low bits.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    pub struct FakeEmbedder {
        pub card: ModelCard,
        /// Texts that fit into its memory at once.
        pub memory: usize,
        /// The sizes of the batches that it was given.
        pub batches: Vec<usize>,
    }

    impl FakeEmbedder {
        pub fn new(memory: usize) -> Self {
            let card = ModelCard {
                name: "fake".to_owned(),
                weights: "0".to_owned(),
                config: String::new(),
                tokenizer: "0".to_owned(),
                engine: "fake".to_owned(),
                precision: "float32".to_owned(),
                device: "cpu".to_owned(),
                pooling: "none".to_owned(),
                normalised: false,
                max_tokens: 64,
                dimension: 8,
            };
            FakeEmbedder { card, memory, batches: Vec::new() }
        }
    }

    impl Embedder for FakeEmbedder {
        fn card(&self) -> &ModelCard {
            &self.card
        }

        fn batch_tokens(&self) -> usize {
            64
        }

        fn lengths(&self, texts: &[&str]) -> Result<Vec<TextLength>, EmbedError> {
            let length = |t: &&str| TextLength { tokens: t.len().clamp(1, 64), is_cut: t.len() > 64 };
            Ok(texts.iter().map(length).collect())
        }

        fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
            assert!(texts.iter().all(|t| t.len().clamp(1, 64) == texts[0].len().clamp(1, 64)), "texts of one length");
            if texts.len() > self.memory {
                return Err(EmbedError::Memory { detail: "the test's".to_owned() });
            }
            self.batches.push(texts.len());
            let vector = |text: &&str| {
                let mut counts = [0.125f32; 8];
                text.bytes().take(64).for_each(|b| counts[usize::from(b % 8)] += 1.0);
                Embedding::new(counts)
            };
            Ok(texts.iter().filter_map(vector).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_of_a_vector_with_itself_is_one_whatever_its_length() {
        let a = Embedding::new([3.0, 4.0]).expect("a vector");
        let b = Embedding::new([0.3, 0.4]).expect("a vector");
        assert!((a.cosine(&b) - 1.0).abs() < 1e-7);
        assert!(a.cosine(&Embedding::new([-4.0, 3.0]).expect("a vector")).abs() < 1e-12);
    }

    #[test]
    fn vector_without_a_direction_is_none() {
        assert!(Embedding::new([0.0, 0.0]).is_none());
        assert!(Embedding::new([1.0, f32::NAN]).is_none());
        assert!(Embedding::new([f32::INFINITY, 0.0]).is_none());
    }

    #[test]
    fn cards_of_two_names_of_the_same_weights_do_not_differ() {
        let card = fake::FakeEmbedder::new(1).card;
        assert_eq!(card.difference(&ModelCard { name: "other".to_owned(), ..card.clone() }), None);
        let wider = ModelCard { dimension: 16, ..card.clone() };
        assert_eq!(card.difference(&wider), Some(("dimension", "8".to_owned(), "16".to_owned())));
    }

    #[test]
    fn hash_is_read_back_from_its_text() {
        let hash = TextHash::of("x = 1");
        assert_eq!(TextHash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(TextHash::from_hex("abc"), None);
    }
}
