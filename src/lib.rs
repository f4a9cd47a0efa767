//! Offline trajectory purification for agentic RL.
//!
//! Small models that learn to use tools fail often, read the error and correct themselves a turn later. With a reward
//! for the outcome alone, the failed calls of a successful rollout are rewarded too. This crate replaces them, in stored
//! rollouts, with the model's own correction: SAAR, similarity-aware adaptive rollback (CLEANER, arXiv 2601.15141).
//!
//! # Example
//!
//! A batch in memory is purified as a file is; nothing is opened, started or asked for behind this door.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::json::{ReaderBuilder, reader::infer_json_schema};
//! use purify::{Options, Purifier};
//!
//! let line = r#"{"messages": [
//!     {"role": "user", "content": "How many primes are there below 1000?"},
//!     {"role": "assistant", "content": "I count.", "tool_calls": [{"function": {"name": "python", "arguments": "{\"code\": \"print(count_prims(1000))\"}"}}]},
//!     {"role": "tool", "content": "Traceback (most recent call last):\n  File \"<string>\", line 1\nNameError: name 'count_prims' is not defined"},
//!     {"role": "assistant", "content": "A typo.", "tool_calls": [{"function": {"name": "python", "arguments": "{\"code\": \"print(count_primes(1000))\"}"}}]},
//!     {"role": "tool", "content": "168"}
//! ]}"#.replace('\n', " ");
//! let schema = Arc::new(infer_json_schema(line.as_bytes(), None)?.0);
//! let batch = ReaderBuilder::new(schema).build(line.as_bytes())?.next().expect("one batch")?;
//!
//! let purified = Purifier::new(Options::default())?.purify_batch(&batch)?;
//! assert_eq!(purified.data.num_rows(), 1); // the failed call is gone, and so is its traceback
//! assert_eq!((purified.counts.repairs, purified.rejects.num_rows()), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Architecture
//!
//! Two storeys. The upper one is pure: Arrow batches in, Arrow batches out. It names no file, thread, clock, command line or
//! Parquet, and `--no-default-features` builds it alone. One direction; a stage only sees what is to its left, and
//! [`purifier`] alone knows the order.
//!
//! ```text
//! batch --> steps --> similarity --> saar --> guard --> rewrite --> batch
//! Rollout   Trajectory  Similarity   Plan     Findings  PurifiedRollout   PurifiedBatch { data, pairs, rejects, counts }
//! ```
//!
//! - [`options`]: every option once, as plain data. [`message`], [`rollout`], [`tokens`]: the nouns, borrowed from a batch.
//!   [`protocol`]: how calls and answers stand in text. [`schema`]: what columns are called. No
//!   stage does any of this again.
//! - [`batch`] reads rollouts from columns, and copies what stays from the input's own arrays: what is not repaired is byte for
//!   byte what it was.
//! - [`record`]: what was done to a row, as plain data: one type, and one table of its fields that reader, writer, report and
//!   viewer walk.
//! - [`verdict`] says of one tool result whether it is ok, an error, or informative: rules as data.
//! - [`steps`] splits a rollout into steps, finds out which result answers which call, and finds failure runs.
//! - [`shell`], [`intent`]: what a command does, and whether a later call is a failed one again.
//! - [`similarity`] compares two calls: CPython's difflib ratio, to the last bit, some hundred times as fast; or the cosine
//!   of two vectors ([`embedding`]).
//! - [`saar`] decides and can't touch data; [`rewrite`] applies and can't decide. The [`saar::Plan`] between them is
//!   plain data, so that a dry run or an audit can look at a decision without executing it.
//! - [`guard`] looks at a plan for what it would leave behind or take away. What follows from a finding is [`purifier`]'s
//!   to decide.
//! - [`recipe`]: treatments of failed attempts by name, each a bundle of options.
//! - [`rejects`]: why a row is not written. [`judge`]: the one question that is asked of a policy; it needs no model to be
//!   built.
//!
//! The lower storey owns the world (cargo features `files`, `cli` and those of single commands):
//!
//! - [`run`]: threads, signals and progress of a command, and the one loop over chunks.
//! - [`ingest`] cuts files into chunks whose bounds depend on the file alone; what other programs write is turned into native
//!   rows first ([`ingest::formats`]). [`write`](mod@write): files that are there whole or not at all.
//! - [`pipeline`]: one command's work over files, from options to manifest.
//! - [`export`] turns what is written into the rows that trainers eat, a pure function for each.
//! - [`embed`] makes vectors, with ONNX Runtime or candle (feature `embed`); a text's vector has the same bits whatever stands
//!   beside it. All vectors of a run are gathered before its first row is written.
//! - [`audit`] reads both sides of a purifying together, counts them and shows each repair: as JSON, as a page for the browser,
//!   in the terminal. It changes nothing. Its [`audit::lineage`] says in OpenLineage's words what a run has read and written.
//! - [`score`], [`train`] (feature `train`): log-probs and a policy update, on raw and purified data alike, with the
//!   model in [`policy`], whose gradients are written out beside each operation. [`group`] turns rewards into advantages.
//! - [`compare`] (feature `train`): recipes side by side on the user's own rollouts, from the same weights with the same tokens.
//! - [`cli`] parses, resolves the layers of options, calls one function, prints.
//!
//! `tests/architecture/` holds the paths of the code to this.
//!
//! # Glossary
//!
//! | word | sense |
//! | --- | --- |
//! | rollout | one sampled conversation: one input row, never changed in place |
//! | group | the rollouts of one prompt |
//! | step | an assistant message with the tool messages that answer it |
//! | reasoning, call, result | the parts of a step |
//! | context | a message that is read and never trained on: its `loss` is false |
//! | attempt | a step that holds a call; ok, informative, failed, or open (no result) |
//! | verdict | what a tool result says: ok, error, informative, unknown |
//! | informative | the call did its job, and its output reports a bad state of something else: a failing test, a search without a match |
//! | fault | whose a failure was: the model's or the environment's |
//! | failure run | longest stretch of failed attempts with nothing in between |
//! | correction | the ok attempt that directly follows a failure run |
//! | recovered, unrecovered | a run of at most K attempts with a correction; any other |
//! | granularity | shallow: the call is replaced; deep: its reasoning as well |
//! | repair, plan | what is done to one run; to one rollout |
//! | reward | the outcome's number; to **score** is to compute a policy's log-probs |
//! | advantage | a reward relative to its own group |
//! | update | one change of the trained weights, from a mini-batch of rollouts |
//! | behaviour log-prob | what the sampling policy gave a token; absent on spliced ones until they are scored |
//! | importance ratio | how much likelier a correction is without the error in its context than with it |
//! | embedding, vector | the numbers that a model gives for one text; its **card** says which model, and how |
//! | calibration | the search for the semantic threshold whose decisions agree best with those by text |
//! | container | what holds rows: Parquet, JSON lines, a JSON document |
//! | form | what one row looks like |
//! | target | who an export is written for |
//! | purified | the product of [`rewrite`], and nothing else |
//! | guard, finding | a look at one repair of a plan; what it says |
//! | retry, workaround, other | what a later call is to a failed one: the same thing again; another way to the same end; something else |
//! | affinity, evidence | how near a later call comes to a failed one, 0 to 1; the rules that say so |
//! | side effects | what a failed call may have changed before it failed: no, unknown, yes |
//! | cited | later text states what only the failure showed |
//! | residue | text in a purified rollout that speaks of an error which is no longer there |
//! | dependency | a name that stays in use though only a removed attempt defines it |
//! | side | the data before or after it was purified |
//! | cascade | how often an attempt fails, by what came before it |
//! | sensitivity | what other settings would decide |
//! | gate | a comparison over counted numbers that fails a run (`--fail-if`) |
//! | trace | where the columns of one output come from |
//! | decision, reason | what became of a failure run; why |
//! | record | what was done to a row, in the column `purification` |
//! | reject | a row that is not written, kept whole with its reason |

#[cfg(feature = "files")]
pub mod audit;
pub mod batch;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "train")]
pub mod compare;
pub mod decide;
pub mod decision;
#[cfg(any(feature = "train", feature = "embed"))]
pub mod device;
#[cfg(feature = "files")]
pub mod embed;
pub mod embedding;
#[cfg(feature = "files")]
pub mod error;
#[cfg(feature = "files")]
pub mod export;
pub mod group;
pub mod guard;
#[cfg(feature = "files")]
pub mod ingest;
pub mod intent;
pub mod judge;
pub mod message;
pub mod options;
mod pattern;
#[cfg(feature = "files")]
pub mod pipeline;
#[cfg(feature = "train")]
pub mod policy;
pub mod protocol;
pub mod purifier;
#[cfg(feature = "files")]
mod python_json;
pub mod recipe;
pub mod record;
pub mod rejects;
pub mod rewrite;
pub mod rollout;
#[cfg(feature = "files")]
pub mod run;
pub mod saar;
pub mod schema;
#[cfg(feature = "train")]
pub mod score;
pub mod shell;
pub mod similarity;
pub mod steps;
pub mod tokens;
#[cfg(feature = "train")]
pub mod train;
mod types;
pub mod verdict;
#[cfg(feature = "files")]
pub mod write;

pub use options::Options;
pub use purifier::{PurifiedBatch, Purifier};
