//! Spans of OpenTelemetry, as `gen_ai` conventions and OpenInference have them: one trace is one rollout.
//!
//! Owns which spans make up the conversation. A model's span holds what the model was given and what it said; the next one mostly
//! repeats that, with the results behind it. Where none does, tools' spans say what came of the calls. A tool's span with an error
//! status is the data's own label. How spans are written is [`super::span_values`]'s, what their messages look like
//! [`super::span_messages`]'s.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::native::{Row, keep_rest, message, take_objects};
use super::span_messages::{Said, said_by, tools_of};
use super::span_values::{Span, is_list_of_spans, spans_in, trace_of};

const SPANS: &str = "spans";
/// What of spans no message holds: each model's span repeats what was said before.
const NOT_KEPT: &[&str] = &["spans[]"];

pub(super) static FORM: Form = Form {
    gather: Some(gather),
    not_kept: NOT_KEPT,
    ..Form::new(
        "spans",
        "Spans, one a record: OpenTelemetry's `gen_ai` and OpenInference (Phoenix); a tool's span status is the data's label",
        &[
            Need::any(&["context", "trace_id", "traceId", "context.trace_id"], "text or ids", |id| {
                id.is_string() || id.get("trace_id").is_some()
            }),
            Need::any(&["start_time", "startTimeUnixNano", "start_time_unix_nano", "startTime"], "a time", |time| {
                time.is_string() || time.is_number()
            }),
            Need::any(
                &["parent_id", "parentSpanId", "parent_span_id", "attributes", "span_kind", "status_code"],
                "what a span has",
                |_| true,
            ),
        ],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

pub(super) static OTLP: Form = Form {
    gather: Some(gather),
    not_kept: NOT_KEPT,
    ..Form::new(
        "otlp",
        "Records of spans: OTLP's `resourceSpans`, or `spans` of a trace; a tool's span status is the data's label",
        &[Need::any(&["resourceSpans", "resource_spans", SPANS], "a list of spans", is_list_of_spans)],
        |row| Ok(vec![convert(row)?]),
        Consumed::All,
    )
};

/// The spans of each trace.
fn gather(records: Vec<Row>) -> Vec<Row> {
    let mut out: Vec<(Option<String>, Vec<Value>)> = Vec::new();
    for span in records.into_iter().flat_map(spans_in) {
        let trace = trace_of(&span);
        match out.iter_mut().find(|(known, _)| *known == trace) {
            Some((_, spans)) => spans.push(Value::Object(span)),
            None => out.push((trace, vec![Value::Object(span)])),
        }
    }
    let row = |(trace, spans): (Option<String>, Vec<Value>)| {
        Row::from_iter([("trace_id".to_owned(), trace.into()), (SPANS.to_owned(), Value::Array(spans))])
    };
    out.into_iter().map(row).collect()
}

fn convert(mut row: Row) -> Result<Row, String> {
    let records = if row.contains_key(SPANS) { take_objects(&mut row, SPANS)? } else { vec![row] };
    let spans = records
        .into_iter()
        .flat_map(spans_in)
        .enumerate()
        .map(|(k, span)| Span::of(span).map_err(|detail| format!("span {k}: {detail}")));
    let mut spans = spans.collect::<Result<Vec<Span>, String>>()?;
    // A span is written when it ends.
    spans.sort_by(|a, b| a.start.cmp(&b.start));
    let trace = spans.iter().map(|span| span.trace.clone()).find(|trace| !trace.is_empty());
    let mut conversation = Conversation::default();
    for (k, span) in spans.into_iter().enumerate() {
        conversation.add(span).map_err(|detail| format!("span {k}: {detail}"))?;
    }
    let tools = conversation.tools.take();
    let (messages, others) = conversation.finish()?;
    let mut out = Row::new();
    out.extend(trace.map(|id| ("rollout_id".to_owned(), Value::String(id))));
    out.insert("messages".to_owned(), Value::Array(messages.into_iter().map(Value::Object).collect()));
    out.extend(tools.map(|tools| ("tools".to_owned(), Value::String(tools.to_string()))));
    if !others.is_empty() {
        out.insert("other_records".to_owned(), Value::String(Value::Array(others).to_string()));
    }
    Ok(out)
}

/// What the spans so far say.
#[derive(Default)]
struct Conversation {
    /// Conversations with a model, in the order in which they began; a trace may hold those of several agents.
    chains: Vec<Vec<Row>>,
    /// Calls of tools that spans tell of.
    calls: Vec<ToolSpan>,
    tools: Option<Value>,
}

/// A call of a tool, as its own span tells it.
struct ToolSpan {
    id: Option<Value>,
    name: Option<String>,
    result: Option<String>,
    error: Option<String>,
    is_used: bool,
}

impl Conversation {
    fn add(&mut self, span: Span) -> Result<(), String> {
        match said_by(&span)? {
            Said::Nothing => {}
            Said::ByTool { id, name, result } => {
                self.calls.push(ToolSpan { id, name, result, error: span.error, is_used: false });
            }
            Said::ByModel { given, mut said } => {
                self.tools = tools_of(&span).or(self.tools.take());
                if let Some(last) = said.last_mut() {
                    let names =
                        [("span", span.name), ("span_id", span.id)].into_iter().filter(|(_, name)| !name.is_empty());
                    keep_rest(last, [names.map(|(name, value)| (name.to_owned(), value.into())).collect()]);
                }
                let chain = self.chain_of(given);
                self.chains[chain].extend(said);
            }
        }
        Ok(())
    }

    /// The chain that a model's span goes on with, brought to what the model was given.
    fn chain_of(&mut self, given: Vec<Row>) -> usize {
        let Some(first) = given.first() else {
            self.answer_last();
            return self.last_chain();
        };
        let begins_as = |chain: &Vec<Row>| chain.first().is_some_and(|earlier| is_same(earlier, first));
        match self.chains.iter().rposition(|chain| begins_as(chain) && chain.len() <= given.len()) {
            Some(chain) => {
                let earlier = std::mem::take(&mut self.chains[chain]);
                self.chains[chain] = restated(earlier, given);
                chain
            }
            // Only what is new.
            None if !self.chains.is_empty() && given.iter().all(|said| said["role"] == "tool") => {
                let chain = self.last_chain();
                self.chains[chain].extend(given);
                chain
            }
            None => {
                self.chains.push(given);
                self.chains.len() - 1
            }
        }
    }

    fn last_chain(&mut self) -> usize {
        if self.chains.is_empty() {
            self.chains.push(Vec::new());
        }
        self.chains.len() - 1
    }

    /// Puts what tools' spans say behind the calls of the last message.
    fn answer_last(&mut self) {
        if let Some(chain) = self.chains.last_mut() {
            answer_calls(chain, &mut self.calls);
        }
    }

    /// The messages of the longest conversation, and the others.
    fn finish(mut self) -> Result<(Vec<Row>, Vec<Value>), String> {
        let longest = (0..self.chains.len()).max_by_key(|&k| (self.chains[k].len(), std::cmp::Reverse(k)));
        let Some(longest) = longest else {
            return Err("no span says what a model was given or said, expected one with `gen_ai.input.messages`, \
                        `llm.input_messages` or `gen_ai.prompt`"
                .to_owned());
        };
        let mut messages = self.chains.remove(longest);
        label(&mut messages, &mut self.calls);
        answer_calls(&mut messages, &mut self.calls);
        let others = self.chains.into_iter().map(|chain| Value::Array(chain.into_iter().map(Value::Object).collect()));
        Ok((messages, others.collect()))
    }
}

/// Whether two messages are the same one, told twice.
fn is_same(a: &Row, b: &Row) -> bool {
    let text = |m: &Row| m.get("content").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    a.get("role") == b.get("role") && text(a) == text(b)
}

/// A conversation that is told again, with what was said of its messages before.
fn restated(earlier: Vec<Row>, given: Vec<Row>) -> Vec<Row> {
    let mut earlier = earlier.into_iter().map(Some).collect::<Vec<_>>();
    let kept = |(k, said): (usize, Row)| {
        let before = earlier.get_mut(k).and_then(|before| before.take_if(|before| is_same(before, &said)));
        match before {
            // The first telling is the model's own; a call without an id gets it from the second.
            Some(before) if before.contains_key("tool_calls") == said.contains_key("tool_calls") => before,
            _ => said,
        }
    };
    given.into_iter().enumerate().map(kept).collect()
}

fn calls_of(message: &Row) -> Vec<(Option<Value>, String)> {
    let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let name = |call: &Value| call.pointer("/function/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    calls.map(|call| (call.get("id").filter(|id| !id.is_null()).cloned(), name(call))).collect()
}

/// The span of a call: by its id, else the first of its name that nobody has taken.
fn span_of<'s>(spans: &'s mut [ToolSpan], id: Option<&Value>, name: &str) -> Option<&'s mut ToolSpan> {
    let by_id = spans.iter().position(|span| !span.is_used && id.is_some() && span.id.as_ref() == id);
    let is_named = |span: &ToolSpan| {
        let may_be = span.id.is_none() || id.is_none();
        may_be && (name.is_empty() || span.name.as_deref().is_none_or(|n| n == name))
    };
    let place = by_id.or_else(|| spans.iter().position(|span| !span.is_used && is_named(span)))?;
    spans.get_mut(place)
}

/// Labels the results of which a tool's span says that they are errors.
fn label(messages: &mut [Row], spans: &mut [ToolSpan]) {
    let mut asked: Vec<(Option<Value>, String)> = Vec::new();
    for said in messages {
        if said["role"] != "tool" {
            let calls = calls_of(said);
            if !calls.is_empty() {
                asked = calls;
            }
            continue;
        }
        let id = said.get("tool_call_id").filter(|id| !id.is_null()).cloned();
        let of = asked.iter().position(|(call, _)| id.is_none() || *call == id);
        let name = of.map(|k| asked.remove(k).1).unwrap_or_default();
        let Some(span) = span_of(spans, id.as_ref(), &name) else { continue };
        span.is_used = true;
        if span.error.is_some() {
            said.insert("is_error".to_owned(), Value::Bool(true));
        }
    }
}

/// Puts what tools' spans say behind calls that have no result.
fn answer_calls(messages: &mut Vec<Row>, spans: &mut [ToolSpan]) {
    let mut k = 0;
    while k < messages.len() {
        let calls = calls_of(&messages[k]);
        k += 1;
        let from = k;
        while messages.get(k).is_some_and(|said| said["role"] == "tool") {
            k += 1;
        }
        // Results without ids answer in order; where there are any, nothing is missing that could be told.
        if k > from && messages[from..k].iter().any(|said| said.get("tool_call_id").is_none_or(Value::is_null)) {
            continue;
        }
        for (id, name) in calls {
            if messages[from..k].iter().any(|said| id.is_some() && said.get("tool_call_id") == id.as_ref()) {
                continue;
            }
            let Some(span) = span_of(spans, id.as_ref(), &name) else { continue };
            let Some(text) = span.result.clone().or_else(|| span.error.clone()) else { continue };
            span.is_used = true;
            let mut answer = message("tool", text);
            answer.extend(id.map(|id| ("tool_call_id".to_owned(), id)));
            if span.error.is_some() {
                answer.insert("is_error".to_owned(), Value::Bool(true));
            }
            messages.insert(k, answer);
            k += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(spans: Value) -> Row {
        let Value::Array(spans) = spans else { panic!("spans are a list") };
        let spans = spans.into_iter().map(|s| s.as_object().cloned().expect("an object")).collect();
        let [row] = gather(spans).try_into().expect("one trace");
        convert(row).expect("a row")
    }

    fn roles(row: &Row) -> Vec<Value> {
        row["messages"].as_array().expect("a list").iter().map(|m| m["role"].clone()).collect()
    }

    fn span(start: u8, attributes: Value) -> Value {
        json!({"name": "s", "context": {"trace_id": "t", "span_id": start.to_string()}, "parent_id": null,
            "start_time": format!("2026-01-02T03:04:0{start}Z"), "status": {"status_code": "UNSET"}, "attributes": attributes})
    }

    fn asked(id: &str) -> Value {
        json!({"message.role": "assistant", "message.tool_calls": [{"tool_call.id": id, "tool_call.function.name": "f",
            "tool_call.function.arguments": "{}"}]})
    }

    #[test]
    fn spans_that_repeat_what_was_said_are_one_conversation() {
        let user = json!({"message.role": "user", "message.content": "q"});
        let answer =
            |id: &str, text: &str| json!({"message.role": "tool", "message.content": text, "message.tool_call_id": id});
        let mut failed = span(2, json!({"openinference.span.kind": "TOOL", "tool.name": "f", "tool_call.id": "a"}));
        failed["status"] = json!({"status_code": "ERROR", "description": "no"});
        let found = converted(json!([
            span(
                1,
                json!({"openinference.span.kind": "LLM", "llm.input_messages": [user], "llm.output_messages": [asked("a")]})
            ),
            failed,
            span(
                3,
                json!({"openinference.span.kind": "LLM", "llm.input_messages": [user, asked("a"), answer("a", "no")],
                "llm.output_messages": [asked("b")]})
            ),
            span(
                4,
                json!({"openinference.span.kind": "TOOL", "tool.name": "f", "tool_call.id": "b", "output.value": "3"})
            )
        ]));
        assert_eq!(roles(&found), ["user", "assistant", "tool", "assistant", "tool"]);
        assert_eq!((&found["messages"][2]["is_error"], &found["rollout_id"]), (&json!(true), &json!("t")));
        assert_eq!((&found["messages"][4]["content"], found["messages"][4].get("is_error")), (&json!("3"), None));
    }

    #[test]
    fn gen_ai_spans_are_read_whether_their_messages_are_json_or_text() {
        let parts = json!([{"role": "user", "parts": [{"type": "text", "content": "q"}]}]);
        let said = json!([{"role": "assistant", "parts": [{"type": "reasoning", "content": "Hm."},
            {"type": "tool_call", "id": "a", "name": "f", "arguments": {}}], "finish_reason": "tool_call"}]);
        for (input, output) in [(parts.clone(), said.clone()), (parts.to_string().into(), said.to_string().into())] {
            let found = converted(json!([
                span(
                    1,
                    json!({"gen_ai.operation.name": "chat", "gen_ai.input.messages": input, "gen_ai.output.messages": output})
                ),
                span(
                    2,
                    json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "f", "gen_ai.tool.call.id": "a",
                    "gen_ai.tool.call.result": "3"})
                )
            ]));
            assert_eq!(roles(&found), ["user", "assistant", "tool"]);
            assert_eq!(found["messages"][1]["reasoning_content"], "Hm.");
            assert_eq!(found["messages"][2]["content"], "3");
        }
    }

    #[test]
    fn other_agents_conversations_stand_beside_the_longest() {
        let one = |text: &str| {
            json!({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": text,
            "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "a"})
        };
        let longer = json!({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "q", "gen_ai.prompt.1.role": "assistant",
            "gen_ai.prompt.1.content": "a", "gen_ai.prompt.2.role": "user", "gen_ai.prompt.2.content": "r",
            "gen_ai.completion.0.content": "b"});
        let found = converted(json!([span(1, one("q")), span(2, one("sub")), span(3, longer)]));
        assert_eq!(roles(&found), ["user", "assistant", "user", "assistant"]);
        assert!(found["other_records"].as_str().expect("text").contains("sub"));
    }

    #[test]
    fn a_trace_without_a_models_words_is_refused() {
        let Value::Object(row) = json!({"trace_id": "t", "spans": [span(1, json!({"http.route": "/"}))]}) else {
            panic!()
        };
        assert!(convert(row).expect_err("nothing is said").starts_with("no span says what a model was given or said"));
    }
}
