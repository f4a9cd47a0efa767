//! Whether a purified row is what its record says that it became.
//!
//! Owns the comparison of messages: those outside of repairs stay as they were, a repaired step has the call and the results of
//! the correction and the reasoning of one of the run's attempts. What a format can't hold differs on neither side.

use crate::record::{RepairRecord, RowRecord};
use crate::rollout::{Message, Role, Rollout};

pub(super) fn is_as_recorded(before: &Rollout<'_>, after: &Rollout<'_>, record: &RowRecord) -> bool {
    matches(&before.messages, &after.messages, &record.repairs).is_some()
}

/// `None` where they do not.
fn matches(mut before: &[Message<'_>], mut after: &[Message<'_>], repairs: &[RepairRecord]) -> Option<()> {
    let mut place = 0;
    for repair in repairs {
        let kept = repair.first_message.checked_sub(place)?;
        (before, after) = same(before, after, kept)?;
        let removed = repair.removed_messages;
        let run = before.get(..=removed)?;
        is_joined(run, after.first()?).then_some(())?;
        (before, after) = (&before[removed + 1..], &after[1..]);
        place = repair.first_message + removed + 1;
    }
    let (left, more) = same(before, after, before.len())?;
    (left.is_empty() && more.is_empty()).then_some(())
}

/// What comes after the first messages of both, if these are the same.
fn same<'a, 'm, 'b, 'n>(
    before: &'a [Message<'m>],
    after: &'b [Message<'n>],
    count: usize,
) -> Option<(&'a [Message<'m>], &'b [Message<'n>])> {
    let (kept, found) = (before.get(..count)?, after.get(..count)?);
    let is_same = |(a, b): (&Message<'_>, &Message<'_>)| {
        (a.content, a.reasoning) == (b.content, b.reasoning) && is_same_but_text(a, b)
    };
    kept.iter().zip(found).all(is_same).then_some((&before[count..], &after[count..]))
}

/// All but what is written, and whether it is trained on, which mode `mask` changes.
fn is_same_but_text(a: &Message<'_>, b: &Message<'_>) -> bool {
    (a.role, a.call_id, a.is_error, &a.calls) == (b.role, b.call_id, b.is_error, &b.calls)
}

/// Whether a message has the call of a run's last message and the reasoning of one of the run's.
fn is_joined(run: &[Message<'_>], found: &Message<'_>) -> bool {
    let Some(last) = run.last().filter(|last| is_same_but_text(last, found)) else { return false };
    run.iter().filter(|message| message.role == Role::Assistant).any(|reasoning| {
        let text = reasoning.content.unwrap_or_default();
        let thought = &text[..reasoning.inline_call().unwrap_or(text.len())];
        let is_content = match last.inline_call() {
            _ if std::ptr::eq(reasoning, last) => found.content == last.content,
            Some(at) => {
                let call = &last.content.unwrap_or_default()[at..];
                found.content.and_then(|content| content.strip_prefix(thought)) == Some(call)
            }
            None => found.content.unwrap_or_default() == thought,
        };
        is_content && found.reasoning == reasoning.reasoning
    })
}
