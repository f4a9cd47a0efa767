//! A text's vector, its name, and the card of the model that it comes from.
//!
//! Owns these as plain data. Who computes vectors is [`crate::embed`]'s, what they decide is
//! [`crate::similarity::semantic`]'s.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a text: its blake3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextHash([u8; 32]);

impl TextHash {
    pub const LEN: usize = 32;

    pub fn of(text: &str) -> Self {
        TextHash(*blake3::hash(text.as_bytes()).as_bytes())
    }

    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        TextHash(bytes)
    }

    /// `None` unless it is 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| TextHash(*hash.as_bytes()))
    }

    pub fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from(self.0).fmt(f)
    }
}

impl fmt::Debug for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The vector of one text: every number finite, not all of them zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// `None` if it has no direction: a number that is none, or only zeros.
    pub fn new(values: impl Into<Box<[f32]>>) -> Option<Self> {
        let values = values.into();
        let is_sound = values.iter().all(|v| v.is_finite()) && values.iter().any(|&v| v != 0.0);
        is_sound.then_some(Embedding(values))
    }

    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// In float64; from -1 to 1 but for rounding.
    pub fn cosine(&self, other: &Embedding) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum() };
        dot(&self.0, &other.0) / (dot(&self.0, &self.0).sqrt() * dot(&other.0, &other.0).sqrt())
    }
}

/// All that a text's vector depends on. Vectors of two cards that differ are not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Its repository, or the last part of its folder's path: for people; two names of the same weights are the same model.
    pub name: String,
    /// blake3 of the weights, of all files that hold them.
    pub weights: String,
    /// What the engine takes from config.json.
    pub config: String,
    /// blake3 of tokenizer.json.
    pub tokenizer: String,
    /// onnx or candle.
    pub engine: String,
    /// Of the engine's numbers.
    pub precision: String,
    /// cpu or cuda.
    pub device: String,
    /// mean, cls, or none where the model itself gives one vector for a text.
    pub pooling: String,
    pub normalised: bool,
    pub max_tokens: usize,
    pub dimension: usize,
}

impl ModelCard {
    /// What differs, if the vectors are not those of `other`: (what, ours, theirs).
    pub fn difference(&self, other: &ModelCard) -> Option<(&'static str, String, String)> {
        let fields = |card: &ModelCard| {
            [
                ("dimension", card.dimension.to_string()),
                ("weights", card.weights.clone()),
                ("config", card.config.clone()),
                ("tokenizer", card.tokenizer.clone()),
                ("engine", card.engine.clone()),
                ("precision", card.precision.clone()),
                ("device", card.device.clone()),
                ("pooling", card.pooling.clone()),
                ("normalised", card.normalised.to_string()),
                ("max_tokens", card.max_tokens.to_string()),
            ]
        };
        let differs = fields(self).into_iter().zip(fields(other)).find(|(ours, theirs)| ours.1 != theirs.1);
        differs.map(|((name, ours), (_, theirs))| (name, ours, theirs))
    }
}
