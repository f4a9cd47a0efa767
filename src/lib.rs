//! purify (stub doc)
pub mod config;
pub mod rollout;
pub mod tokens;
pub mod schema;
pub mod ingest;
pub mod steps;
pub mod similarity;
pub mod saar;
pub mod rewrite;
pub mod write;
pub mod pipeline;
pub mod error;
pub mod cli;
