//! Whether a line changes what is known of the kinds: read straight from its text, without building values.
//!
//! Owns the quick answer. "No" may be wrong, "yes" is not: a line of which nothing is new says nothing, be it a bad line or
//! one that names a field twice.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::field_name::FieldName;
use super::kind::{Kind, Kinds, Within};
use crate::ingest::formats::Row;

impl Kinds {
    /// Whether a line, read as native, surely changes no kind.
    pub(super) fn are_settled_by(&self, line: &[u8]) -> bool {
        self.seed().deserialize(&mut serde_json::Deserializer::from_slice(line)).is_ok()
    }

    /// The same of a native row.
    pub(super) fn are_settled_by_row(&self, row: &Row) -> bool {
        self.seed().deserialize(row).is_ok()
    }

    fn seed(&self) -> Known<'_> {
        Known { of: Of::Fields(&self.fields), within: Within::Row }
    }
}

/// Reads a value, and fails where it is not of a known kind.
#[derive(Clone, Copy)]
struct Known<'k> {
    of: Of<'k>,
    within: Within,
}

#[derive(Clone, Copy)]
enum Of<'k> {
    Fields(&'k [(String, Kind)]),
    Kind(&'k Kind),
}

impl<'de> DeserializeSeed<'de> for Known<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.of {
            // Text holds whatever comes; parts of content may say more than their text.
            Of::Kind(Kind::Text) if self.within != Within::Content => {
                deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ())
            }
            Of::Kind(_) | Of::Fields(_) => deserializer.deserialize_any(self),
        }
    }
}

impl Known<'_> {
    fn number<E: Error>(self, number: Kind) -> Result<(), E> {
        match self.of {
            Of::Kind(kind) if kind.with_number(number) == *kind => Ok(()),
            _ => Err(E::custom("a kind of number that is new")),
        }
    }
}

impl<'de> Visitor<'de> for Known<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a value of a known kind")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.of {
            Of::Kind(_) => Ok(()),
            Of::Fields(_) => Err(E::custom("no object")),
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        match self.of {
            Of::Kind(Kind::Flag) => Ok(()),
            _ => Err(E::custom("a flag, which is new")),
        }
    }

    fn visit_i64<E: Error>(self, whole: i64) -> Result<(), E> {
        self.number(Kind::of_whole(whole))
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<(), E> {
        self.number(i64::try_from(whole).map_or(Kind::Text, Kind::of_whole))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.number(Kind::Number)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        match self.of {
            Of::Kind(Kind::Text) => Ok(()),
            _ => Err(E::custom("text, which is new")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        match self.of {
            // Parts are joined, and their text is of another kind.
            Of::Kind(Kind::List(kind)) if self.within != Within::Content => {
                let item = Known { of: Of::Kind(kind), within: self.within };
                while items.next_element_seed(item)?.is_some() {}
                Ok(())
            }
            _ => Err(A::Error::custom("a list, which is new")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let fields = match self.of {
            Of::Fields(fields) => fields,
            Of::Kind(Kind::Object(fields)) => fields.as_slice(),
            Of::Kind(_) => return Err(A::Error::custom("an object, which is new")),
        };
        let mut expected = 0;
        while let Some(at) = object.next_key_seed(FieldName { fields, name_of: |(name, _)| name, expected })? {
            let (name, kind) = &fields[at];
            object.next_value_seed(Known { of: Of::Kind(kind), within: self.within.below(name) })?;
            expected = at + 1;
        }
        Ok(())
    }
}
