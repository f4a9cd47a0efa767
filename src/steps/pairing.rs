//! Which tool message answers which call.
//!
//! By id, wherever the result stands: after its step, in another order, or later in the rollout. By position where ids
//! are absent, double within a step, or answer nothing. A single result for a batch of calls answers all of them. Each
//! tool message of a rollout is in exactly one place: in one step's answers, or among the unasked.

use std::collections::HashMap;
use std::ops::Range;

use super::step::Step;
use crate::rollout::{Message, Role};

/// A tool message and the calls of its step that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paired {
    pub message: usize,
    /// Indices of calls; empty after a message without one.
    pub calls: Range<usize>,
}

/// The pairs of each step, in the order of the calls, and the tool messages that belong to no step.
pub(super) fn pair(messages: &[Message<'_>], steps: &[Step]) -> (Vec<Vec<Paired>>, Vec<usize>) {
    let mut pairing = Pairing::new(messages, steps);
    for step in 0..steps.len() {
        pairing.pair_stretch(step);
    }
    let mut unasked = Vec::new();
    let mut next = 0;
    for (message, _) in messages.iter().enumerate().filter(|(_, m)| m.role == Role::Tool) {
        while steps.get(next).is_some_and(|s| s.message < message) {
            next += 1;
        }
        let is_apart = next.checked_sub(1).is_none_or(|last| !steps[last].results.contains(&message));
        if is_apart && !pairing.pair_apart(message, next) {
            unasked.push(message);
        }
    }
    (pairing.finish(), unasked)
}

struct Pairing<'p, 'a> {
    messages: &'p [Message<'a>],
    steps: &'p [Step],
    pairs: Vec<Vec<Paired>>,
    /// Where the calls of each step start in `is_answered`.
    first_call: Vec<usize>,
    is_answered: Vec<bool>,
    /// Steps that hold a call of that id; made when the first result does not come after its call.
    by_id: Option<HashMap<&'p str, Vec<usize>>>,
}

impl<'p, 'a> Pairing<'p, 'a> {
    fn new(messages: &'p [Message<'a>], steps: &'p [Step]) -> Self {
        let mut calls = 0;
        let mut first_call = Vec::with_capacity(steps.len() + 1);
        for step in steps {
            first_call.push(calls);
            calls += messages[step.message].call_count();
        }
        first_call.push(calls);
        let pairs = vec![Vec::new(); steps.len()];
        Pairing { messages, steps, pairs, first_call, is_answered: vec![false; calls], by_id: None }
    }

    fn call_count(&self, step: usize) -> usize {
        self.first_call[step + 1] - self.first_call[step]
    }

    fn is_answered(&self, step: usize, call: usize) -> bool {
        self.is_answered[self.first_call[step] + call]
    }

    fn push(&mut self, step: usize, call: usize, message: usize) {
        self.is_answered[self.first_call[step] + call] = true;
        self.pairs[step].push(Paired { message, calls: call..call + 1 });
    }

    /// The tool messages directly after a step.
    fn pair_stretch(&mut self, step: usize) {
        let results = self.steps[step].results.clone();
        let mut rest = Vec::new();
        for message in results {
            let id = self.messages[message].call_id;
            match id.and_then(|id| self.call_of(step, id)) {
                Some(call) => self.push(step, call, message),
                None if self.pair_by_id(message, step) => {}
                None => rest.push(message),
            }
        }
        for message in rest {
            // What comes after the last call's result belongs to it as well.
            match self.first_open(step).or(self.call_count(step).checked_sub(1)) {
                Some(call) => self.push(step, call, message),
                None if self.pair_with_open(message, step) => {}
                None => self.pairs[step].push(Paired { message, calls: 0..0 }),
            }
        }
    }

    /// A tool message that stands directly after no assistant message; `next`: the first step after it.
    fn pair_apart(&mut self, message: usize, next: usize) -> bool {
        self.pair_by_id(message, next) || self.pair_with_open(message, next)
    }

    /// Pairs a result with the last call of its id before a step.
    fn pair_by_id(&mut self, message: usize, before: usize) -> bool {
        let Some(id) = self.messages[message].call_id else { return false };
        let (steps, messages) = (self.steps, self.messages);
        let by_id = self.by_id.get_or_insert_with(|| {
            let mut out: HashMap<&str, Vec<usize>> = HashMap::new();
            for (k, step) in steps.iter().enumerate() {
                for id in messages[step.message].calls.iter().filter_map(|call| call.id) {
                    out.entry(id).or_default().push(k);
                }
            }
            out
        });
        let Some(&step) = by_id.get(id).and_then(|of| of.iter().rev().find(|&&k| k < before)) else { return false };
        let Some(call) = self.call_of(step, id) else { return false };
        self.push(step, call, message);
        true
    }

    /// Pairs a result with the first call of the step before that nothing answers.
    fn pair_with_open(&mut self, message: usize, next: usize) -> bool {
        let Some(step) = next.checked_sub(1) else { return false };
        let Some(call) = self.first_open(step) else { return false };
        self.push(step, call, message);
        true
    }

    /// The call of an id: the first one without a result, else the last one.
    fn call_of(&self, step: usize, id: &str) -> Option<usize> {
        let calls = &self.messages[self.steps[step].message].calls;
        let mut of_id = (0..calls.len()).filter(|&call| calls[call].id == Some(id));
        of_id.clone().find(|&call| !self.is_answered(step, call)).or_else(|| of_id.next_back())
    }

    fn first_open(&self, step: usize) -> Option<usize> {
        (0..self.call_count(step)).find(|&call| !self.is_answered(step, call))
    }

    fn finish(mut self) -> Vec<Vec<Paired>> {
        for (step, pairs) in self.pairs.iter_mut().enumerate() {
            if let [only] = pairs.as_mut_slice() {
                only.calls = 0..self.first_call[step + 1] - self.first_call[step];
            }
            pairs.sort_by_key(|p| (p.calls.start, p.message));
        }
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::ToolCall;
    use crate::steps::stretches;

    /// The pairs of one stretch: a call's index, and the messages of its result.
    type Pairs = Vec<(usize, Range<usize>)>;

    /// `a+b` is an assistant message with two calls, `>a` a result for call `a`; `+` and `>` alone have no ids, `u` is a user.
    fn pairs(rollout: &str) -> (Vec<Pairs>, Vec<usize>) {
        let named = |id: &'static str| (!id.is_empty()).then_some(id);
        let messages: Vec<Message<'_>> = rollout
            .to_owned()
            .leak()
            .split(' ')
            .map(|word| {
                let mut message = Message {
                    role: Role::Assistant,
                    content: None,
                    reasoning: None,
                    call_id: None,
                    is_error: None,
                    is_context: false,
                    calls: vec![],
                };
                match word.strip_prefix('>') {
                    Some(id) => (message.role, message.call_id) = (Role::Tool, named(id)),
                    None if word == "u" => message.role = Role::User,
                    None if word == "-" => {}
                    None => {
                        let call = |id| ToolCall { id: named(id), name: "f", arguments: "" };
                        message.calls = word.split('+').map(call).collect();
                    }
                }
                message
            })
            .collect();
        let (found, unasked) = pair(&messages, &stretches(&messages));
        (found.into_iter().map(|of| of.into_iter().map(|p| (p.message, p.calls)).collect()).collect(), unasked)
    }

    #[test]
    fn results_find_their_calls_by_id_in_any_order() {
        assert_eq!(pairs("a+b+c >c >a >b").0, [[(2, 0..1), (3, 1..2), (1, 2..3)]]);
    }

    #[test]
    fn a_result_that_comes_later_is_not_lost() {
        let want = vec![vec![(3, 0..1)], vec![(2, 0..1)]];
        assert_eq!(pairs("a b >b >a").0, want);
        assert_eq!(pairs("a u >a"), (vec![vec![(2, 0..1)]], vec![]));
        assert_eq!(pairs("a - >a").0, vec![vec![(2, 0..1)], vec![]]);
        assert_eq!(pairs("a - >").0, vec![vec![(2, 0..1)], vec![]]);
    }

    #[test]
    fn ids_that_are_absent_double_or_unknown_leave_it_to_the_position() {
        let in_order = vec![vec![(1, 0..1), (2, 1..2)]];
        for rollout in ["+ > >", "a+a >a >a", "a+b >x >y", "a+b > >"] {
            assert_eq!(pairs(rollout).0, in_order, "{rollout}");
        }
        assert_eq!(pairs("a+a+b >b >a >a").0, [[(2, 0..1), (3, 1..2), (1, 2..3)]]);
        assert_eq!(pairs("a+b >b >x").0, [[(2, 0..1), (1, 1..2)]]);
    }

    #[test]
    fn ids_that_each_step_uses_again_stay_in_their_step() {
        assert_eq!(pairs("a >a a >a").0, vec![vec![(1, 0..1)], vec![(3, 0..1)]]);
    }

    #[test]
    fn a_single_result_answers_a_whole_batch() {
        assert_eq!(pairs("a+b+c >a").0, [[(1, 0..3)]]);
        assert_eq!(pairs("++ >").0, [[(1, 0..3)]]);
    }

    #[test]
    fn results_that_nobody_asked_for_are_kept_apart() {
        assert_eq!(pairs(">a u >b a >a"), (vec![vec![(4, 0..1)]], vec![0, 2]));
        assert_eq!(pairs("- >").0, [[(1, 0..0)]]);
    }
}
