//! What is known of a run's inputs that a recipe depends on.

use crate::group::Baselines;
use crate::recipe::Facts;
use crate::schema::Columns;

/// The facts about inputs with these columns, once the first pass has been over them.
pub fn facts(inputs: &[&Columns], baselines: Option<&Baselines>) -> Facts {
    let tally = baselines.map(Baselines::tally).unwrap_or_default();
    let has_advantages = inputs.iter().any(|columns| columns.advantage.is_some());
    Facts {
        has_groups: tally.groups > tally.single,
        has_sign: has_advantages || !tally.tells_nothing(),
        has_advantages,
        has_tokens: inputs.iter().all(|columns| columns.response.is_some()),
        has_token_advantages: inputs.iter().any(|columns| columns.token_advantages.is_some()),
    }
}
