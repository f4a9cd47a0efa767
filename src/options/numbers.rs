//! Numbers with a range, and what yes and no are called: an option of such a type can't hold a wrong value, whatever it was read from.
//!
//! Owns the range, its check and the words of the complaint. Command line, environment, `purify.toml` and JSON all come
//! through here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number from 0 to 1, both included.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Fraction(f64);

impl Fraction {
    pub(super) const HALF: Self = Fraction(0.5);
    pub(super) const ONE: Self = Fraction(1.0);

    /// For defaults, which stand in the code: the nearest number in range.
    pub(super) const fn of(value: f64) -> Self {
        Fraction(if value >= 1.0 {
            1.0
        } else if value > 0.0 {
            value
        } else {
            0.0
        })
    }

    /// `None` outside 0..=1, or for NaN.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Fraction(value))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

/// A finite number that is not below zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct NonNegative(f64);

impl NonNegative {
    /// `None` below zero, or for what is not finite.
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value >= 0.0).then_some(NonNegative(value))
    }

    pub fn get(self) -> f64 {
        self.0
    }

    /// For defaults, which stand in the code: what is out of range becomes zero.
    pub(super) const fn of(value: f64) -> Self {
        NonNegative(if value >= 0.0 && value.is_finite() { value } else { 0.0 })
    }
}

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Whole<const MIN: u32, const MAX: u32>(u32);

/// At least one.
pub type Positive = Whole<1, { u32::MAX }>;

/// zstd's levels.
pub type CompressionLevel = Whole<1, 22>;

/// zstd level of what is written; 1 is also pyarrow's.
pub const DEFAULT_COMPRESSION_LEVEL: CompressionLevel = CompressionLevel::nearest(1);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// `None` out of range.
    pub fn new(value: u32) -> Option<Self> {
        (MIN..=MAX).contains(&value).then_some(Whole(value))
    }

    /// The nearest number in range.
    pub const fn nearest(value: u32) -> Self {
        if value < MIN {
            Whole(MIN)
        } else if value > MAX {
            Whole(MAX)
        } else {
            Whole(value)
        }
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

/// How a number is read, shown and refused: its type, what it is made from, what was expected.
macro_rules! number {
    ([$($generics:tt)*] $name:ty, $inner:ty, $expected:expr) => {
        impl<$($generics)*> TryFrom<$inner> for $name {
            type Error = String;

            fn try_from(value: $inner) -> Result<Self, String> {
                <$name>::new(value).ok_or_else(|| format!("expected {}, found {value}", $expected))
            }
        }

        impl<$($generics)*> From<$name> for $inner {
            fn from(value: $name) -> $inner {
                value.0
            }
        }

        impl<$($generics)*> FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let value = text.parse::<$inner>().ok().and_then(<$name>::new);
                value.ok_or_else(|| format!("expected {}, found `{text}`", $expected))
            }
        }

        impl<$($generics)*> fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // As it would be typed: `1.0` and `2e-6`.
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

number!([] Fraction, f64, "a number from 0 to 1");
number!([] NonNegative, f64, "a number that is not below 0");
number!([const MIN: u32, const MAX: u32] Whole<MIN, MAX>, u32, format_args!("a whole number from {MIN} to {MAX}"));

/// Words and digits that mean yes or no, in the environment and in files.
#[cfg(feature = "cli")]
pub(super) fn boolish() -> clap::builder::BoolishValueParser {
    clap::builder::BoolishValueParser::new()
}
