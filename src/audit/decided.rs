//! What decided how the data was purified: the manifests of its run.
//!
//! Owns their finding and what an audit takes from them. A shard of a run has a manifest of its own; without any the options of
//! the audit are taken, which is said.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::sensitivity::InForce;
use crate::options::{Options, SaarConfig};
use crate::pipeline::manifests_beside;

#[derive(Debug, Default)]
pub(super) struct Decided {
    manifests: Vec<Value>,
}

impl Decided {
    pub(super) fn of(purified: &[PathBuf]) -> Self {
        Decided { manifests: manifests_beside(purified) }
    }

    pub(super) fn is_known(&self) -> bool {
        !self.manifests.is_empty()
    }

    /// The settings; all shards of a run have the same but for their number.
    pub(super) fn settings(&self) -> Option<&Value> {
        self.manifests.first()?.get("settings")
    }

    /// The method by which the data was purified, so that what other settings would decide is asked of the same runs.
    pub(super) fn method(&self) -> Option<SaarConfig> {
        Options::from_json(self.settings()?).ok().map(|options| options.method)
    }

    /// Why runs were left: a record says that one was, not why. `None` where a manifest does not tell.
    pub(super) fn skipped(&self) -> Option<BTreeMap<String, u64>> {
        let mut out = BTreeMap::new();
        for manifest in &self.manifests {
            let counts: BTreeMap<String, u64> =
                serde_json::from_value(manifest.get("counts")?.get("skipped")?.clone()).ok()?;
            counts.into_iter().for_each(|(reason, runs)| *out.entry(reason).or_default() += runs);
        }
        self.is_known().then_some(out)
    }

    /// How many shards a run had, whose files stand side by side.
    pub(super) fn shards(&self) -> usize {
        let of = self.settings().and_then(|settings| settings.get("shard")?.get("of")?.as_u64());
        of.map_or(1, |of| usize::try_from(of).unwrap_or(1).max(1))
    }

    /// Whether failures are found with these settings as they were then; if not, the sides do not compare.
    pub(super) fn detects_like(&self, settings: &Options) -> bool {
        let then = self.settings().and_then(|then| then.get("errors"));
        then.is_none_or(|then| serde_json::to_value(&settings.errors).is_ok_and(|now| now == *then))
    }
}

/// The threshold and K that decided.
pub(super) fn in_force(settings: &Options) -> InForce {
    InForce {
        threshold: settings.method.similarity_threshold.get(),
        semantic_threshold: settings.semantic.semantic_threshold.map(|t| t.get()),
        max_retries: settings.method.max_retries.get() as usize,
    }
}
