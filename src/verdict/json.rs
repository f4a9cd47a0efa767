//! JSON results: objects with error, status or exit-code fields, and what stands inside them.
//!
//! Owns the field names. A text field inside an object is judged by the text rules of [`super::text`], two levels deep.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::Failure;
use super::asked::Asked;
use super::text::{announced_type, exception_anywhere, first_lines, last_lines, pattern, specific, unwrapped};

/// JSON results beyond this are not parsed: a harness's error object is small.
const JSON_BYTES: usize = 256 * 1024;

pattern!(
    TELLING_KEY,
    r#"(?i)["'](?:is_?error|errors?|error_?(?:message|type|code)?|exception|traceback|exit_?code|exitstatus|return_?code|status(?:_?code)?|success|ok|code|detail|stderr|stdout|output|result|content|text|observation|message)["']\s*:"#
);
pattern!(PYTHON_DICT_ERROR, r#"^\{'(?:error|exception|Error)': ?(?:'[^']|"[^"])"#);

/// What a JSON result says: `None` if it is no JSON object or says nothing telling.
pub(super) fn verdict(text: &str, asked: &Asked<'_>, depth: usize) -> Option<Option<Failure>> {
    if PYTHON_DICT_ERROR.is_match(text) {
        return Some(Some(Failure::named(exception_anywhere(text).unwrap_or(Cow::Borrowed("tool_error")))));
    }
    let is_object = text.starts_with('{') && text.ends_with('}');
    let is_array = text.starts_with('[') && text.ends_with(']');
    if !is_object && !is_array {
        return None;
    }
    if text.len() > JSON_BYTES || !TELLING_KEY.is_match(text) {
        return is_object.then_some(None);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => Some(from_object(&object, asked, depth)),
        // A list of content parts speaks through its first text; any other list is data.
        Ok(Value::Array(parts)) => {
            let part = parts.first()?.as_object()?;
            let inner = part.get("text")?.as_str()?;
            part.contains_key("type").then(|| detect_inner(inner, asked, depth))
        }
        _ => None,
    }
}

fn detect_inner(text: &str, asked: &Asked<'_>, depth: usize) -> Option<Failure> {
    if depth >= 2 {
        return None;
    }
    let text = unwrapped(text);
    match verdict(text, asked, depth + 1) {
        Some(verdict) => verdict,
        None => specific(text, &first_lines(text), &last_lines(text), asked),
    }
}

fn from_object(object: &Map<String, Value>, asked: &Asked<'_>, depth: usize) -> Option<Failure> {
    let get = |names: &[&str]| names.iter().find_map(|n| object.get(*n));
    let number = |v: &Value| v.as_i64().or_else(|| v.as_str().and_then(|t| t.parse().ok()));
    let text_of = |names: &[&str]| get(names).and_then(Value::as_str).filter(|t| !t.trim().is_empty());
    let words = || {
        text_of(&["error", "message", "detail", "error_message", "stderr", "output", "content", "msg", "reason"])
            .unwrap_or_default()
    };
    let typed = |fallback: &'static str| {
        let name = text_of(&["error_type", "exception", "exception_type"])
            .or_else(|| object.get("error")?.as_object()?.get("type")?.as_str())
            .filter(|n| n.len() <= 60 && n.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.'));
        let found = name.map(|n| Cow::Owned(n.to_owned())).or_else(|| exception_anywhere(words()));
        let announced = Some(announced_type(words())).filter(|&t| t != "tool_error").map(Cow::Borrowed);
        Failure::named(found.or(announced).unwrap_or(Cow::Borrowed(fallback)))
    };
    let truth =
        |v: &Value| matches!(v, Value::Bool(true)) || v.as_str().is_some_and(|t| t.eq_ignore_ascii_case("true"));
    let falsehood =
        |v: &Value| matches!(v, Value::Bool(false)) || v.as_str().is_some_and(|t| t.eq_ignore_ascii_case("false"));

    if let Some(flag) = get(&["is_error", "isError"]) {
        return truth(flag).then(|| typed("tool_error"));
    }
    const EXIT: &[&str] = &["exit_code", "exitCode", "exitcode", "returncode", "return_code", "exit_status"];
    let nested = || EXIT.iter().find_map(|name| object.get("metadata")?.as_object()?.get(*name));
    if let Some(code) = get(EXIT).or_else(nested).and_then(number) {
        return match code {
            0 => None,
            124 | 137 | 143 => Some(Failure::named("timeout")),
            _ => {
                let inner = text_of(&["stderr", "output", "stdout"]).unwrap_or_default();
                Some(
                    specific(inner, &first_lines(inner), &last_lines(inner), asked)
                        .unwrap_or_else(|| typed("exit_code")),
                )
            }
        };
    }
    if let Some(error) = get(&["error", "errors", "exception", "traceback", "error_message", "Error"]) {
        let is_said = match error {
            Value::Null | Value::Bool(false) => false,
            Value::Bool(true) => true,
            Value::String(text) => !matches!(text.trim(), "" | "None" | "none" | "null" | "no" | "0" | "false"),
            // Numbers are data; so is a list of findings among other fields.
            Value::Array(items) => {
                let is_all = object.len() <= 2 || object.contains_key("data");
                !items.is_empty() && is_all && !items.iter().all(Value::is_number)
            }
            Value::Object(fields) => !fields.is_empty(),
            Value::Number(n) => n.as_i64().is_some_and(|n| n != 0),
        };
        // A number of many fields that happens to be called so (an error estimate) is data.
        if is_said && !(error.is_number() && object.len() > 2) {
            return Some(typed("tool_error"));
        }
    }
    if get(&["success", "ok", "succeeded"]).is_some_and(falsehood) {
        return Some(typed("tool_error"));
    }
    if let Some(status) = get(&["status", "state", "type", "result_status", "run_status"]).and_then(Value::as_str) {
        let status = status.to_ascii_lowercase();
        let explains = get(&["message", "detail", "error", "msg", "stderr", "error_message"]).is_some();
        match status.as_str() {
            "error" | "exception" | "failure" if object.len() <= 8 => return Some(typed("tool_error")),
            "fail" if object.len() == 2 && object.contains_key("data") => return Some(typed("tool_error")),
            "failed" | "fail" if explains && object.len() <= 6 => return Some(typed("tool_error")),
            "timeout" | "timed_out" | "timelimitexceeded" => return Some(Failure::named("timeout")),
            _ => {}
        }
    }
    if let Some(code) = get(&["status_code", "statusCode", "http_status", "code", "status"]).and_then(number)
        && (400..600).contains(&code)
        && object.len() <= 6
        && !words().is_empty()
    {
        return Some(match code {
            429 => Failure::named("rate_limit"),
            500.. => Failure::named("server_error"),
            _ => typed("http_error"),
        });
    }
    if text_of(&["code"]).is_some_and(|code| code.starts_with("ERR_")) {
        return Some(typed("tool_error"));
    }
    if object.len() == 1 && text_of(&["detail"]).is_some() {
        return Some(typed("http_error"));
    }
    let inner =
        text_of(&["stderr"]).or_else(|| text_of(&["output", "stdout", "result", "content", "text", "observation"]));
    match (inner, object.get("content").or(object.get("result"))) {
        (Some(inner), _) => detect_inner(inner, asked, depth),
        (None, Some(Value::Array(parts))) => {
            let text = parts.first()?.as_object()?.get("text")?.as_str()?;
            detect_inner(text, asked, depth)
        }
        (None, Some(Value::Object(inner))) if depth < 2 => from_object(inner, asked, depth + 1),
        _ => None,
    }
}
