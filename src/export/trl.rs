//! TRL: SFT, DPO and KTO (1.16), with messages as JSON columns.
//!
//! Owns their columns. DPO and KTO have no mask for tools: everything after `prompt` is completion, so that completions are
//! single assistant messages (trl 1.16, `dpo_trainer.py`, `tokenize_fn`). SFT takes `input_ids` with `labels` as they are
//! and leaves the template out.

use super::cells::{AT_LEAST_ONE, Cell, Cells, ExportError, Kind, Message};
use super::json::{Arguments, message};
use super::profile::{Column, Container, MadeOf, Names, Pair, Profile};

use crate::batch::sample::Sample;
use crate::schema::TOKEN_ADVANTAGES;

pub(super) static SFT: Profile = Profile {
    name: "trl-sft",
    help: "TRL's SFTTrainer: `messages` and `tools`, or `input_ids` and `labels` where there are tokens",
    container: Container::Parquet,
    made_of: MadeOf::Rollouts,
    configuration: Some("sft"),
    names: Names::Rollout,
    columns: |facts| match (facts.as_tokens, facts.has_token_advantages) {
        (false, _) => SFT_MESSAGES,
        (true, false) => &SFT_TOKENS[..2],
        (true, true) => SFT_TOKENS,
    },
    is_of_tokens: |facts| facts.as_tokens,
    needs_arguments: false,
    of_rollout: Some(|rollout| match rollout.target.facts.as_tokens {
        true => Ok(vec![sft_tokens(rollout.sample, rollout.target.facts.has_token_advantages)?]),
        false => Ok(vec![vec![all(&rollout.trained()?), listed(&rollout.tools()?)]]),
    }),
    of_pair: None,
};

pub(super) static DPO: Profile = Profile {
    name: "trl-dpo",
    help: "TRL's DPOTrainer: `prompt`, `chosen`, `rejected`, from pairs",
    container: Container::Parquet,
    made_of: MadeOf::Pairs,
    configuration: Some("dpo"),
    names: Names::Id,
    columns: |facts| if facts.has_reference { DPO_WITH_REFERENCE } else { DPO_PARTS },
    is_of_tokens: |_| false,
    needs_arguments: false,
    of_rollout: None,
    of_pair: Some(|pair| {
        Ok(vec![dpo(&pair.parts, &pair.tools, pair.facts.has_reference.then_some(*pair.reference_logps))?])
    }),
};

pub(super) static KTO: Profile = Profile {
    name: "trl-kto",
    help: "TRL's KTOTrainer: `prompt`, `completion`, `label`, from pairs: one row for each side",
    container: Container::Parquet,
    made_of: MadeOf::Pairs,
    configuration: None,
    names: Names::Id,
    columns: |_| KTO_PARTS,
    is_of_tokens: |_| false,
    needs_arguments: false,
    of_rollout: None,
    of_pair: Some(|Pair { parts: [prompt, chosen, rejected], tools, .. }| {
        Ok(vec![kto(prompt, chosen, tools, true)?, kto(prompt, rejected, tools, false)?])
    }),
};

const SFT_MESSAGES: &[Column] = &[("messages", Kind::Json), ("tools", Kind::Json)];
const SFT_TOKENS: &[Column] =
    &[("input_ids", Kind::Tokens), ("labels", Kind::Tokens), (TOKEN_ADVANTAGES, Kind::Numbers)];
const DPO_PARTS: &[Column] =
    &[("prompt", Kind::Json), ("chosen", Kind::Json), ("rejected", Kind::Json), ("tools", Kind::Json)];
const DPO_WITH_REFERENCE: &[Column] = &[
    ("prompt", Kind::Json),
    ("chosen", Kind::Json),
    ("rejected", Kind::Json),
    ("tools", Kind::Json),
    ("ref_chosen_logps", Kind::Number),
    ("ref_rejected_logps", Kind::Number),
];
const KTO_PARTS: &[Column] =
    &[("prompt", Kind::Json), ("completion", Kind::Json), ("label", Kind::Flag), ("tools", Kind::Json)];

/// The label of a token that is not learnt, in every trainer that computes torch's cross entropy.
const NOT_LEARNT: i32 = -100;

fn all(messages: &[Message]) -> Cell {
    Cell::Json(messages.iter().map(|m| message(m, Arguments::Objects, None)).collect())
}

fn listed(tools: &[String]) -> Cell {
    match tools {
        [] => Cell::Null,
        tools => Cell::Json(tools.to_vec()),
    }
}

/// Prompt and response as one sequence; what the policy wrote is its own label. Advantages by token are those of the sequence, 0 on
/// its prompt.
fn sft_tokens(sample: &Sample, has_advantages: bool) -> Result<Cells, ExportError> {
    let tokens = sample.tokens.as_ref().ok_or(ExportError::NoTokens)?;
    let prompt = tokens.prompt.as_ref().ok_or(ExportError::NoTokens)?;
    let learnt = tokens.response.iter().zip(&tokens.mask).map(|(&id, &mask)| if mask != 0 { id } else { NOT_LEARNT });
    let labels = prompt.iter().map(|_| NOT_LEARNT).chain(learnt).collect();
    let mut out = vec![Cell::Tokens([prompt.as_slice(), &tokens.response].concat()), Cell::Tokens(labels)];
    if has_advantages {
        out.push(match &sample.token_advantages {
            None => Cell::Null,
            Some(own) if own.len() != tokens.response.len() => {
                return Err(ExportError::TokenAdvantages { found: own.len(), expected: tokens.response.len() });
            }
            Some(own) => Cell::Numbers(prompt.iter().map(|_| Some(0.0)).chain(own.iter().copied()).collect()),
        });
    }
    Ok(out)
}

fn dpo(
    [prompt, chosen, rejected]: &[Vec<Message>; 3],
    tools: &[String],
    reference: Option<[Option<f64>; 2]>,
) -> Result<Cells, ExportError> {
    for (part, messages) in [("prompt", prompt), ("chosen", chosen), ("rejected", rejected)] {
        filled(part, messages)?;
    }
    let mut out = vec![all(prompt), all(chosen), all(rejected), listed(tools)];
    out.extend(reference.into_iter().flatten().map(Cell::number));
    Ok(out)
}

fn kto(prompt: &[Message], completion: &[Message], tools: &[String], label: bool) -> Result<Cells, ExportError> {
    filled("prompt", prompt)?;
    filled("completion", completion)?;
    Ok(vec![all(prompt), all(completion), Cell::Flag(label), listed(tools)])
}

fn filled(part: &'static str, messages: &[Message]) -> Result<(), ExportError> {
    match messages.is_empty() {
        true => Err(ExportError::Empty { part, expected: AT_LEAST_ONE }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::sample::SampleTokens;

    #[test]
    fn tokens_that_the_policy_did_not_write_are_not_learnt() {
        let tokens =
            SampleTokens { prompt: Some(vec![1, 2]), response: vec![3, 4, 5], mask: vec![1, 0, 1], logprobs: None };
        let sample = Sample { tokens: Some(tokens), ..Sample::default() };
        let expected = vec![Cell::Tokens(vec![1, 2, 3, 4, 5]), Cell::Tokens(vec![-100, -100, 3, -100, 5])];
        assert_eq!(sft_tokens(&sample, false), Ok(expected.clone()));
        let numbers = |values: &[f32]| values.iter().copied().map(Some).collect::<Vec<_>>();
        let with = |values: &[f32]| Sample { token_advantages: Some(numbers(values)), ..sample.clone() };
        let own = Cell::Numbers(numbers(&[0.0, 0.0, -0.5, 0.0, 0.5]));
        let all: Vec<Cell> = expected.iter().cloned().chain([own]).collect();
        assert_eq!(sft_tokens(&with(&[-0.5, 0.0, 0.5]), true), Ok(all));
        let none: Vec<Cell> = expected.into_iter().chain([Cell::Null]).collect();
        assert_eq!(sft_tokens(&sample, true), Ok(none));
        let refused = ExportError::TokenAdvantages { found: 2, expected: 3 };
        assert_eq!(sft_tokens(&with(&[-0.5, 0.0]), true), Err(refused));
    }

    #[test]
    fn pair_without_a_prompt_is_refused() {
        let message: Message = serde_json::from_str(r#"{"role": "assistant", "content": "a"}"#).expect("JSON");
        let (one, none) = (vec![message], Vec::new());
        let refused = ExportError::Empty { part: "prompt", expected: AT_LEAST_ONE };
        assert_eq!(dpo(&[none, one.clone(), one], &[], None), Err(refused));
    }
}
