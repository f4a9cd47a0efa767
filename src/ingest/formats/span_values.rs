//! What spans say, whoever wrote them: OTLP, the SDKs' exporters, Phoenix, data frames.
//!
//! Owns the shape: ids, times, status, and attributes as a tree, whose names are cut at their dots. What a name means is
//! [`super::spans`]'s to say.

use serde_json::{Map, Value};

use super::native::{Row, kind, text_of};

/// A list in which every number of a name may be an entry is bounded by this.
const MAX_ENTRIES: usize = 1 << 16;

/// Name and attributes of what happened within a span.
pub(super) type Event = (String, Map<String, Value>);

/// One span.
pub(super) struct Span {
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) name: String,
    /// As text whose order is that of time, within one file.
    pub(super) start: String,
    /// What the span's status says, if that is an error.
    pub(super) error: Option<String>,
    pub(super) attributes: Map<String, Value>,
    /// Name and attributes.
    pub(super) events: Vec<Event>,
}

/// The spans in a record: of OTLP, of a list, or the record itself.
pub(super) fn spans_in(record: Row) -> Vec<Row> {
    let list = |row: &Row, names: &[&str]| -> Vec<Value> {
        names.iter().find_map(|name| row.get(*name)?.as_array().cloned()).unwrap_or_default()
    };
    let rows = |values: Vec<Value>| values.into_iter().filter_map(|value| value.as_object().cloned());
    if ["resourceSpans", "resource_spans"].iter().any(|name| record.contains_key(*name)) {
        let resources = rows(list(&record, &["resourceSpans", "resource_spans"]));
        let scopes = resources.flat_map(|resource| {
            rows(list(&resource, &["scopeSpans", "scope_spans", "instrumentationLibrarySpans"])).collect::<Vec<_>>()
        });
        return scopes.flat_map(|scope| rows(list(&scope, &["spans"])).collect::<Vec<_>>()).collect();
    }
    if record.contains_key("spans") {
        return rows(list(&record, &["spans"])).collect();
    }
    vec![record]
}

/// The id of the trace that a span is of.
pub(super) fn trace_of(span: &Row) -> Option<String> {
    let id = ["trace_id", "traceId", "context.trace_id"].iter().find_map(|name| span.get(*name));
    id.or_else(|| span.get("context")?.get("trace_id")).filter(|id| !id.is_null()).map(text_of)
}

/// Whether a value is a span, or an OTLP record of some.
pub(super) fn is_list_of_spans(list: &Value) -> bool {
    let is_span = |value: &Value| {
        let is_otlp =
            ["scopeSpans", "scope_spans", "instrumentationLibrarySpans"].iter().any(|n| value.get(*n).is_some());
        is_otlp || value.as_object().is_some_and(|span| trace_of(span).is_some())
    };
    list.as_array().is_some_and(|all| all.iter().any(is_span))
}

impl Span {
    /// # Errors
    /// What was expected where, and what was found.
    pub(super) fn of(mut row: Row) -> Result<Self, String> {
        let trace = trace_of(&row).unwrap_or_default();
        let context = row.get("context").cloned().unwrap_or_default();
        let mut take = |names: &[&str]| names.iter().find_map(|name| row.shift_remove(*name)).filter(|v| !v.is_null());
        let id = take(&["span_id", "spanId", "context.span_id"]).or_else(|| context.get("span_id").cloned());
        // Who called is of no use: spans are put in the order of time.
        take(&["parent_id", "parentSpanId", "parent_span_id"]);
        let start = take(&["start_time", "startTimeUnixNano", "start_time_unix_nano", "startTime"]);
        let name = take(&["name", "span_name"]);
        let (status, code) = (take(&["status"]), take(&["status_code"]));
        let message = take(&["status_message"]);
        let events = take(&["events"]);
        let given = take(&["attributes"]);
        let mut attributes = Map::new();
        for (name, value) in attributes_of(given)? {
            grow(&mut attributes, &name, tree(value));
        }
        // A data frame has a column for each.
        for (name, value) in row.into_iter().filter(|(_, value)| !value.is_null()) {
            if let Some(name) = name.strip_prefix("attributes.") {
                grow(&mut attributes, name, tree(parsed(value)));
            }
        }
        let events = events_of(events)?;
        let error = error_of(status, code, message, &events);
        Ok(Span {
            trace,
            id: id.map(|id| text_of(&id)).unwrap_or_default(),
            name: name.map(|name| text_of(&name)).unwrap_or_default(),
            start: start.map(|start| in_order(&start)).unwrap_or_default(),
            error,
            attributes,
            events,
        })
    }

    /// What stands under a name, cut at its dots.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        at(&self.attributes, name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }
}

/// What stands under a name in a tree.
pub(super) fn at<'t>(tree: &'t Map<String, Value>, name: &str) -> Option<&'t Value> {
    let mut parts = name.split('.');
    let first = tree.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part)).filter(|value| !value.is_null())
}

/// The entries of a list, or of an object whose names are their numbers.
pub(super) fn entries(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Object(fields) => {
            let mut numbered: Vec<(usize, &Value)> =
                fields.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value))).collect();
            numbered.sort_by_key(|(number, _)| *number);
            numbered.into_iter().take(MAX_ENTRIES).map(|(_, value)| value.clone()).collect()
        }
        // Some write lists as JSON.
        Value::String(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str::<Vec<Value>>(text).unwrap_or_default().into_iter().map(tree).collect()
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// A value whose objects' names are cut at their dots.
fn tree(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut out = Map::new();
            fields.into_iter().for_each(|(name, value)| grow(&mut out, &name, tree(value)));
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(tree).collect()),
        other => other,
    }
}

/// Puts a value where its name says. Where a text stands in the way, the whole name is kept.
fn grow(out: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((first, behind)) = name.split_once('.').filter(|(first, behind)| !first.is_empty() && !behind.is_empty())
    else {
        return put(out, name, value);
    };
    match out.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => grow(inner, behind, value),
        _ => put(out, name, value),
    }
}

fn put(out: &mut Map<String, Value>, name: &str, value: Value) {
    match (out.get_mut(name), value) {
        (Some(Value::Object(inner)), Value::Object(more)) => {
            more.into_iter().for_each(|(name, value)| put(inner, &name, value));
        }
        (_, value) => drop(out.insert(name.to_owned(), value)),
    }
}

/// JSON where a cell of a data frame holds it.
fn parsed(value: Value) -> Value {
    match &value {
        Value::String(text) if text.starts_with(['[', '{']) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

/// Names and values: OTLP's list of both, or an object.
fn attributes_of(given: Option<Value>) -> Result<Vec<(String, Value)>, String> {
    match given {
        None => Ok(Vec::new()),
        Some(Value::Object(fields)) => Ok(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        Some(Value::String(text)) => match serde_json::from_str(&text) {
            Ok(Value::Object(fields)) => Ok(fields.into_iter().collect()),
            _ => Err("`attributes` is text that is no JSON object, expected attributes".to_owned()),
        },
        Some(Value::Array(pairs)) => {
            let pair = |pair: Value| Some((pair.get("key")?.as_str()?.to_owned(), any_value(pair.get("value")?)));
            Ok(pairs.into_iter().filter_map(pair).collect())
        }
        found => Err(format!("`attributes` is {}, expected attributes", kind(found.as_ref()))),
    }
}

/// OTLP's `AnyValue`.
fn any_value(value: &Value) -> Value {
    let Some((of_kind, inner)) = value.as_object().and_then(|fields| fields.iter().next()) else {
        return value.clone();
    };
    match of_kind.as_str() {
        "arrayValue" | "array_value" => {
            let values = inner.get("values").and_then(Value::as_array);
            Value::Array(values.into_iter().flatten().map(any_value).collect())
        }
        "kvlistValue" | "kvlist_value" => {
            let pairs = inner.get("values").and_then(Value::as_array);
            let pair = |pair: &Value| Some((pair.get("key")?.as_str()?.to_owned(), any_value(pair.get("value")?)));
            Value::Object(pairs.into_iter().flatten().filter_map(pair).collect())
        }
        // Whole numbers are written as text there.
        "intValue" | "int_value" => {
            inner.as_str().and_then(|n| n.parse::<i64>().ok()).map_or_else(|| inner.clone(), Value::from)
        }
        "stringValue" | "string_value" | "boolValue" | "bool_value" | "doubleValue" | "double_value" | "bytesValue"
        | "bytes_value" => inner.clone(),
        _ => value.clone(),
    }
}

fn events_of(given: Option<Value>) -> Result<Vec<Event>, String> {
    let events = match given.map(parsed) {
        None => return Ok(Vec::new()),
        Some(Value::Array(events)) => events,
        found => return Err(format!("`events` is {}, expected a list", kind(found.as_ref()))),
    };
    let mut out = Vec::new();
    for mut event in events.into_iter().filter_map(|event| event.as_object().cloned()) {
        let name = event.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut attributes = Map::new();
        for source in ["attributes", "body"] {
            for (name, value) in attributes_of(event.shift_remove(source)).unwrap_or_default() {
                grow(&mut attributes, &name, tree(value));
            }
        }
        out.push((name, attributes));
    }
    Ok(out)
}

/// What a status says, if that is an error: its own words, else those of the exception.
fn error_of(status: Option<Value>, code: Option<Value>, message: Option<Value>, events: &[Event]) -> Option<String> {
    let of = |name: &str| status.as_ref().and_then(|status| status.get(name)).cloned();
    let code = code.or_else(|| of("code")).or_else(|| of("status_code")).or_else(|| status.clone());
    let is_error = code.is_some_and(|code| match &code {
        Value::Number(number) => number.as_u64() == Some(2),
        Value::String(name) => name.to_ascii_uppercase().trim_start_matches("STATUS_CODE_") == "ERROR",
        _ => false,
    });
    if !is_error {
        return None;
    }
    let told = message.or_else(|| of("description")).or_else(|| of("message"));
    let told = told.filter(|told| told.as_str().is_some_and(|told| !told.is_empty()));
    let exception = || {
        let (_, attributes) = events.iter().find(|(name, _)| name == "exception")?;
        at(attributes, "exception.message").cloned()
    };
    Some(told.or_else(exception).map(|told| text_of(&told)).unwrap_or_default())
}

/// A time as text that sorts.
fn in_order(start: &Value) -> String {
    let text = text_of(start);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) { format!("{text:0>20}") } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn span(value: Value) -> Span {
        Span::of(value.as_object().cloned().expect("an object")).expect("a span")
    }

    #[test]
    fn attributes_are_the_same_tree_however_they_are_written() {
        let flat = span(json!({"context": {"trace_id": "t", "span_id": "s"}, "attributes":
            {"a.0.b": "x", "a.1.b": "y", "n": 2}, "status": {"status_code": "ERROR", "description": "no"}}));
        let nested =
            span(json!({"trace_id": "t", "span_id": "s", "attributes": {"a": [{"b": "x"}, {"b": "y"}], "n": 2},
            "status_code": "ERROR", "status_message": "no"}));
        let otlp = span(json!({"traceId": "t", "spanId": "s", "status": {"code": 2, "message": "no"}, "attributes": [
            {"key": "a.0.b", "value": {"stringValue": "x"}}, {"key": "a.1.b", "value": {"stringValue": "y"}},
            {"key": "n", "value": {"intValue": "2"}}]}));
        let frame =
            span(json!({"context.trace_id": "t", "context.span_id": "s", "attributes.a": [{"b": "x"}, {"b": "y"}],
            "attributes.n": 2, "status_code": "ERROR", "status_message": "no"}));
        for span in [flat, nested, otlp, frame] {
            assert_eq!((span.trace.as_str(), span.id.as_str(), span.error.as_deref()), ("t", "s", Some("no")));
            let list = entries(span.get("a").expect("it is there"));
            assert_eq!(list, [json!({"b": "x"}), json!({"b": "y"})]);
            assert_eq!(span.get("n"), Some(&json!(2)));
        }
    }

    #[test]
    fn an_exception_says_what_a_status_does_not() {
        let failed = span(json!({"trace_id": "t", "status": {"code": "STATUS_CODE_ERROR"}, "events": [
            {"name": "exception", "attributes": {"exception.message": "gone"}}]}));
        assert_eq!(failed.error.as_deref(), Some("gone"));
        assert_eq!(span(json!({"trace_id": "t", "status": {"status_code": "OK"}})).error, None);
    }

    #[test]
    fn times_in_nanoseconds_sort_as_numbers() {
        let start = |start: Value| span(json!({"trace_id": "t", "startTimeUnixNano": start})).start;
        assert!(start(json!("9")) < start(json!("10")));
        assert!(start(json!(9)) < start(json!(10)));
    }
}
