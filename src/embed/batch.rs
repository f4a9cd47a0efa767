//! The order in which texts go through a model.
//!
//! Owns batching: longest texts first, and only texts of the same number of tokens beside each other. So nothing is
//! padded, no work is wasted on padding, and a vector can't depend on its neighbours. A batch that does not fit into memory
//! is halved, and so are those after it.

use super::{EmbedError, Embedder, Embedding, TextLength};
use crate::run::Run;

/// Texts of a batch that can't be halved any more.
const SMALLEST_BATCH: usize = 1;

/// Goes over texts with one model, remembering how much fits.
pub struct Batcher<'e> {
    embedder: &'e mut dyn Embedder,
    /// Tokens of a batch.
    budget: usize,
    /// How often memory was too small.
    pub halved: u32,
    run: &'e Run<'e>,
}

/// The vector of one text.
pub struct Embedded {
    /// Index into the texts given.
    pub index: usize,
    pub embedding: Embedding,
    pub length: TextLength,
}

impl<'e> Batcher<'e> {
    /// `batch_tokens`: in place of the engine's own choice. A signal to `run` ends it between two batches.
    pub fn new(embedder: &'e mut dyn Embedder, batch_tokens: Option<usize>, run: &'e Run<'e>) -> Self {
        let budget = batch_tokens.unwrap_or_else(|| embedder.batch_tokens());
        Batcher { embedder, budget, halved: 0, run }
    }

    pub fn embedder(&self) -> &dyn Embedder {
        self.embedder
    }

    /// Embeds all texts; `done` is given the vectors of each batch as it is done, in an order that depends on the texts
    /// alone.
    pub fn embed<E: From<EmbedError>>(
        &mut self,
        texts: &[&str],
        mut done: impl FnMut(Vec<Embedded>) -> Result<(), E>,
    ) -> Result<(), E> {
        let lengths = self.embedder.lengths(texts)?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&k| std::cmp::Reverse(lengths[k].tokens));
        for group in order.chunk_by(|&a, &b| lengths[a].tokens == lengths[b].tokens) {
            let mut rest = group;
            while !rest.is_empty() {
                if let Some(signal) = self.run.signal() {
                    return Err(EmbedError::Interrupted { signal }.into());
                }
                let (batch, embeddings) = self.next(texts, rest, lengths[group[0]].tokens)?;
                rest = &rest[batch.len()..];
                let embedded = batch.iter().zip(embeddings).map(|(&index, embedding)| Embedded {
                    index,
                    embedding,
                    length: lengths[index],
                });
                done(embedded.collect())?;
            }
        }
        Ok(())
    }

    /// Embeds as many of the first texts of `rest` as fit.
    fn next<'r>(
        &mut self,
        texts: &[&str],
        rest: &'r [usize],
        tokens: usize,
    ) -> Result<(&'r [usize], Vec<Embedding>), EmbedError> {
        let most = if self.embedder.is_one_by_one() { SMALLEST_BATCH } else { self.budget / tokens.max(1) };
        let mut size = most.clamp(SMALLEST_BATCH, rest.len());
        loop {
            let batch: Vec<&str> = rest[..size].iter().map(|&k| texts[k]).collect();
            match self.embedder.embed(&batch) {
                Ok(embeddings) => return Ok((&rest[..size], embeddings)),
                Err(EmbedError::Memory { detail }) if size > SMALLEST_BATCH => {
                    size /= 2;
                    self.budget = size * tokens;
                    self.halved += 1;
                    tracing::warn!("a batch does not fit into memory ({detail}): going on with {} tokens", self.budget);
                }
                Err(EmbedError::Memory { detail }) => return Err(EmbedError::TooLarge { tokens, detail }),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::fake::FakeEmbedder;
    use super::*;
    use crate::run::Silent;

    fn run(signal: &AtomicUsize) -> Run<'_> {
        Run::new(1, &Silent, signal).expect("a thread")
    }

    fn embedded(embedder: &mut FakeEmbedder, texts: &[&str], budget: usize) -> (Vec<Embedding>, u32) {
        let signal = AtomicUsize::new(0);
        let run = run(&signal);
        let mut batcher = Batcher::new(embedder, Some(budget), &run);
        let mut out: Vec<Option<Embedding>> = vec![None; texts.len()];
        batcher
            .embed(texts, |batch| {
                batch.into_iter().for_each(|e| out[e.index] = Some(e.embedding));
                Ok::<(), EmbedError>(())
            })
            .expect("it fits");
        let halved = batcher.halved;
        (out.into_iter().map(|e| e.expect("every text has a vector")).collect(), halved)
    }

    const TEXTS: [&str; 7] = ["abcd", "bcde", "x", "cdef", "defg", "y", "a longer text"];

    #[test]
    fn only_texts_of_one_length_share_a_batch_and_the_longest_come_first() {
        let mut embedder = FakeEmbedder::new(100);
        embedded(&mut embedder, &TEXTS, 100);
        assert_eq!(embedder.batches, [1, 4, 2]);
    }

    #[test]
    fn budget_of_tokens_bounds_a_batch() {
        let mut embedder = FakeEmbedder::new(100);
        embedded(&mut embedder, &TEXTS, 9);
        assert_eq!(embedder.batches, [1, 2, 2, 2]);
    }

    #[test]
    fn batch_that_does_not_fit_is_halved_until_it_does_and_nothing_is_lost() {
        let roomy = embedded(&mut FakeEmbedder::new(100), &TEXTS, 100).0;
        let mut narrow = FakeEmbedder::new(1);
        let (vectors, halved) = embedded(&mut narrow, &TEXTS, 100);
        assert_eq!(vectors, roomy);
        assert!(narrow.batches.iter().all(|&size| size == 1));
        assert_eq!(halved, 3, "4 texts to 2, 2 to 1, and 2 shorter ones to 1");
    }

    #[test]
    fn text_that_does_not_fit_alone_ends_the_run() {
        let mut embedder = FakeEmbedder::new(0);
        let signal = AtomicUsize::new(0);
        let run = run(&signal);
        let mut batcher = Batcher::new(&mut embedder, None, &run);
        let found = batcher.embed(&["abc"], |_| Ok::<(), EmbedError>(()));
        assert!(matches!(found, Err(EmbedError::TooLarge { tokens: 3, .. })));
    }

    #[test]
    fn signal_ends_it_between_two_batches() {
        let mut embedder = FakeEmbedder::new(100);
        let signal = AtomicUsize::new(0);
        let run = run(&signal);
        let mut batcher = Batcher::new(&mut embedder, None, &run);
        let found = batcher.embed(&TEXTS, |_| {
            signal.store(2, Ordering::Relaxed);
            Ok::<(), EmbedError>(())
        });
        assert!(matches!(found, Err(EmbedError::Interrupted { signal: 2 })));
        assert_eq!(embedder.batches.len(), 1);
    }
}
