//! The loop over chunks: read one after the other, worked on side by side, taken in their order by one consumer.
//!
//! Owns the bounds and the end. A worker needs a ticket before it reads, and a ticket comes back when a chunk is taken, so that what is
//! in flight is bounded whatever chunk is slow. Every chunk that was read gives exactly one result, be it the words of a
//! panic, and results are looked at in order: the first error of the input ends the run, whatever the threads. Nothing waits but
//! on a channel, which wakes everybody when its other end goes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::bounded;

use super::{Run, RunError, panic_text};

/// Chunks in flight for each thread: one that is worked on, one that waits for its turn.
const IN_FLIGHT: usize = 2;

/// Where chunks come from, one reader at a time.
struct Reading<S> {
    source: S,
    next: usize,
    is_done: bool,
}

/// What became of one chunk; `None` is the end of the source.
struct Outcome<R, E> {
    index: usize,
    /// Where the chunk comes from.
    place: String,
    result: Result<Option<R>, E>,
}

impl Run<'_> {
    /// Hands what `work` makes of each chunk of `source` to `take`, in the order of the source, until the source gives `None`.
    ///
    /// `source` and `work` run on the threads of the run, `take` on the caller's. `place` says where a chunk comes from, should
    /// the program fail on it. Must not be called from `work`, nor from within [`Run::install`].
    ///
    /// # Errors
    /// The first in the order of the source, of whatever stage; a signal; a panic as a [`RunError::Bug`].
    pub fn in_order<T, R, E>(
        &self,
        source: impl FnMut() -> Result<Option<T>, E> + Send,
        place: impl Fn(&T) -> String + Sync,
        work: impl Fn(T) -> Result<R, E> + Sync,
        mut take: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E>
    where
        T: Send,
        R: Send,
        E: From<RunError> + Send,
    {
        let most = IN_FLIGHT * self.threads();
        let (give_back, tickets) = bounded(most);
        let (done, outcomes) = bounded(most);
        let reading = Mutex::new(Reading { source, next: 0, is_done: false });
        let (reading, place, work) = (&reading, &place, &work);
        self.pool.in_place_scope(move |scope| {
            while give_back.try_send(()).is_ok() {}
            scope.spawn_broadcast(move |_, _| {
                while tickets.recv().is_ok() {
                    let Some((index, read)) = self.read(reading) else { break };
                    let place = read.as_ref().map_or_else(|_| None, Option::as_ref).map(place).unwrap_or_default();
                    let result = read.and_then(|chunk| chunk.map(|chunk| caught(&place, || work(chunk))).transpose());
                    if done.send(Outcome { index, place, result }).is_err() {
                        break;
                    }
                }
            });
            let mut waiting = BTreeMap::new();
            let mut next = 0;
            let mut consume = || loop {
                let Outcome { place, result, .. } = match waiting.remove(&next) {
                    Some(outcome) => outcome,
                    None => {
                        let outcome: Outcome<R, E> = outcomes.recv().map_err(|_| gone())?;
                        waiting.insert(outcome.index, outcome);
                        continue;
                    }
                };
                let Some(found) = result? else { return Ok(()) };
                caught(&place, || take(found))?;
                next += 1;
                // Nobody may want it any more.
                let _ = give_back.send(());
            };
            let consumed = consume();
            lock(reading).is_done = true;
            consumed
        })
    }

    /// The next chunk and its number; `None` once the end was told.
    fn read<T, E: From<RunError>>(
        &self,
        reading: &Mutex<Reading<impl FnMut() -> Result<Option<T>, E>>>,
    ) -> Option<(usize, Result<Option<T>, E>)> {
        let mut reading = lock(reading);
        if reading.is_done {
            return None;
        }
        let index = reading.next;
        reading.next += 1;
        let read = self.check().map_err(E::from).and_then(|()| caught("the input", &mut reading.source));
        reading.is_done = !matches!(read, Ok(Some(_)));
        Some((index, read))
    }
}

/// What holds a lock is not looked at again after a panic, but for its end.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn caught<R, E: From<RunError>>(place: &str, work: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
    let bug = |panic: Box<dyn std::any::Any + Send>| {
        E::from(RunError::Bug { place: place.to_owned(), detail: panic_text(panic.as_ref()) })
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(bug(panic)))
}

fn gone() -> RunError {
    RunError::Bug { place: "the loop over chunks".to_owned(), detail: "its workers are gone".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::run::Silent;

    const THREADS: usize = 4;

    fn run(signal: &AtomicUsize) -> Run<'_> {
        Run::new(THREADS, &Silent, signal).expect("threads")
    }

    fn numbers(end: usize) -> impl FnMut() -> Result<Option<usize>, RunError> {
        let mut next = 0..end;
        move || Ok(next.next())
    }

    fn place(chunk: &usize) -> String {
        format!("chunk {chunk}")
    }

    fn failure(chunk: usize) -> RunError {
        RunError::Bug { place: place(&chunk), detail: "it fails".to_owned() }
    }

    /// Fails, in place of hanging, if it takes far longer than it ever should.
    fn in_time(test: impl FnOnce() + Send + 'static) {
        let (done, is_done) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            test();
            drop(done);
        });
        let ended = is_done.recv_timeout(Duration::from_secs(120));
        assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected), "somebody waits for ever");
        thread.join().expect("the test itself");
    }

    #[test]
    fn results_come_in_the_order_of_the_source_whichever_is_slow() {
        let signal = AtomicUsize::new(0);
        let mut taken = Vec::new();
        let work = |chunk: usize| {
            if chunk.is_multiple_of(7) {
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok::<_, RunError>(chunk)
        };
        let take = |chunk| {
            taken.push(chunk);
            Ok(())
        };
        run(&signal).in_order(numbers(200), place, work, take).expect("it runs");
        assert_eq!(taken, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn chunks_in_flight_stay_bounded_behind_a_slow_one() {
        let signal = AtomicUsize::new(0);
        let (read, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut source = numbers(100);
        let counted = || {
            let ahead = read.fetch_add(1, Ordering::SeqCst) + 1 - taken.load(Ordering::SeqCst);
            assert!(ahead <= IN_FLIGHT * THREADS, "{ahead} chunks are in flight");
            source()
        };
        let work = |chunk: usize| {
            if chunk == 3 {
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok::<_, RunError>(())
        };
        let take = |()| {
            taken.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        run(&signal).in_order(counted, place, work, take).expect("it runs");
        assert_eq!(taken.into_inner(), 100);
    }

    /// Runs the loop with something going wrong at a chunk, many times, so that every thread is somewhere else each time.
    fn ends_each_time(goes_wrong: fn(usize, usize) -> Result<usize, RunError>, expected: fn(usize) -> String) {
        in_time(move || {
            let signal = AtomicUsize::new(0);
            let run = run(&signal);
            for round in 0..3000 {
                let at = round % 23;
                let mut taken = 0;
                let take = |chunk| {
                    assert_eq!(chunk, taken);
                    taken += 1;
                    Ok(())
                };
                let found = run.in_order(numbers(40), place, |chunk| goes_wrong(chunk, at), take);
                assert_eq!((found.expect_err("it fails").to_string(), taken), (expected(at), at));
            }
        });
    }

    #[test]
    fn failing_worker_ends_the_loop_and_wakes_everybody_each_of_thousands_of_times() {
        let goes_wrong = |chunk: usize, at: usize| if chunk >= at { Err(failure(chunk)) } else { Ok(chunk) };
        ends_each_time(goes_wrong, |at| failure(at).to_string());
    }

    #[test]
    fn panicking_worker_is_an_internal_error_and_wakes_everybody_each_of_thousands_of_times() {
        // Without the hook, which would print each.
        let goes_wrong = |chunk: usize, at: usize| match chunk < at {
            true => Ok(chunk),
            false => std::panic::resume_unwind(Box::new(format!("the worker of {chunk}"))),
        };
        ends_each_time(goes_wrong, |at| format!("this is a bug: chunk {at}: the worker of {at}"));
    }

    #[test]
    fn failing_reader_or_consumer_ends_the_loop_behind_what_was_good() {
        in_time(|| {
            let signal = AtomicUsize::new(0);
            let run = run(&signal);
            for at in (0..30).cycle().take(1000) {
                let (mut source, mut taken) = (numbers(40), 0);
                let broken = || source().and_then(|chunk| if chunk == Some(at) { Err(failure(at)) } else { Ok(chunk) });
                let count = |_: usize| {
                    taken += 1;
                    Ok(())
                };
                let found = run.in_order(broken, place, Ok, count).expect_err("the reader fails");
                assert_eq!((found.to_string(), taken), (failure(at).to_string(), at));
                let full = |chunk| if chunk == at { Err(failure(at)) } else { Ok(()) };
                let found = run.in_order(numbers(40), place, Ok, full).expect_err("the consumer fails");
                assert_eq!(found.to_string(), failure(at).to_string());
            }
        });
    }

    #[test]
    fn signal_ends_the_loop_before_the_next_chunk() {
        let signal = AtomicUsize::new(0);
        let mut taken = 0;
        let take = |_: usize| {
            taken += 1;
            signal.store(15, Ordering::Relaxed);
            Ok(())
        };
        let found = run(&signal).in_order(numbers(1000), place, Ok::<_, RunError>, take);
        assert!(matches!(found, Err(RunError::Interrupted { signal: 15 })), "{found:?}");
        assert!((1..=1 + IN_FLIGHT * THREADS).contains(&taken), "{taken} chunks were taken");
    }
}
