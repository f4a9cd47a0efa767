//! The method on rollouts in memory: steps, similarity, plan, rewrite; no files.
//!
//! Data model: ten attempts of about 1,000 characters; a share of them fails first, with a correction that changes one
//! line. Limits: one thread, one rollout at a time. Whole-program figures come from `scripts/compare_baseline.sh`.

use std::borrow::Cow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use purify::options::Options;
use purify::purifier::Purifier;
use purify::rollout::{Message, Role, Rollout, ToolCall};

/// (arguments, result) of each attempt.
fn attempts(failing: usize) -> Vec<(String, String)> {
    let code = |k: usize, last: &str| {
        let body: String = (0..24).map(|n| format!("    total_{k} += values[{n}] * weight_{}\\n", n * k)).collect();
        format!("{{\"code\": \"def f_{k}(values):\\n{body}{last}\"}}")
    };
    (0..10)
        .flat_map(|k| {
            let error =
                "Traceback (most recent call last):\n  File \"<string>\", line 9\nNameError: name 'x' is not defined";
            let failed = (k < failing).then(|| (code(k, "print(x)"), error.to_owned()));
            failed.into_iter().chain([(code(k, "print(f(v))"), "0.25\n0.5\n".to_owned())])
        })
        .collect()
}

fn end_to_end(criterion: &mut Criterion) {
    let purifier = Purifier::new(Options::default()).expect("the defaults are sound");
    let mut group = criterion.benchmark_group("one_rollout");
    group.throughput(Throughput::Elements(1));
    for failing in [0, 3, 10] {
        let attempts = attempts(failing);
        let message = |role, content, calls| Message {
            role,
            content,
            reasoning: None,
            call_id: None,
            is_error: None,
            is_context: false,
            calls,
        };
        let messages = attempts.iter().flat_map(|(arguments, result)| {
            let call = ToolCall { id: None, name: "python", arguments };
            [message(Role::Assistant, Some("I go on."), vec![call]), message(Role::Tool, Some(result.as_str()), vec![])]
        });
        let rollout = Rollout { id: Cow::Borrowed("r"), group: None, messages: messages.collect(), tokens: None };
        group.bench_function(format!("10_attempts_{}pct_failed", failing * 10), |b| {
            b.iter(|| purifier.purify(&rollout, None).map(|row| row.plan.repairs.len()))
        });
    }
    group.finish();
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
