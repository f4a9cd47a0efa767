//! Finds the call marker for token columns by a tokenizer.
//!
//! Owns the loading of `tokenizer.json`. The search itself is [`crate::tokens`]'s.

use crate::error::Error;
use crate::tokens::CallMarker;

#[cfg(feature = "tokenizer")]
pub(super) fn load(path: &std::path::Path) -> Result<CallMarker, Error> {
    struct Vocabulary(tokenizers::Tokenizer);

    impl crate::tokens::Decode for Vocabulary {
        fn decode(&self, ids: &[i32]) -> Option<String> {
            let ids = ids.iter().map(|&id| u32::try_from(id).ok()).collect::<Option<Vec<_>>>()?;
            self.0.decode(&ids, false).ok()
        }
    }

    let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    let tokenizer = tokenizers::Tokenizer::from_file(&file)
        .map_err(|error| Error::Tokenizer { path: file, detail: error.to_string() })?;
    Ok(CallMarker::Decoded(Box::new(Vocabulary(tokenizer))))
}

#[cfg(not(feature = "tokenizer"))]
pub(super) fn load(path: &std::path::Path) -> Result<CallMarker, Error> {
    Err(Error::Tokenizer {
        path: path.to_owned(),
        detail: "this build can't read one; build it with the cargo feature `tokenizer`, or give --call-marker-ids"
            .to_owned(),
    })
}
