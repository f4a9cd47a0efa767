//! JSON results: objects with error, status or exit-code fields, and what stands inside them.
//!
//! Owns the field names. A text field inside an object is judged by the rules for text, two levels deep, with the exit
//! status that stands beside it. An object that the harness has cut off is read as far as it goes.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::asked::Asked;
use super::evidence::Evidence;
use super::rules::{TABLE, exception_anywhere, specific, status_type, weigh, worded};
use super::said::{Failure, Verdict};
use crate::pattern::pattern;

/// JSON results beyond this are not parsed: a harness's error object is small.
const JSON_BYTES: usize = 256 * 1024;
/// So much of a text field that was truncated is read.
const CUT_BYTES: usize = 64 * 1024;

pattern!(
    TELLING_KEY,
    r#"(?i)["'](?:is_?error|errors?|error_?(?:message|type|code)?|exception|traceback|exit_?code|exitstatus|return_?code|status(?:_?code)?|success|ok|code|detail|stderr|stdout|output|result|content|text|observation|message)["']\s*:"#
);
pattern!(PYTHON_DICT_ERROR, r#"^\{'(?:error|exception|Error)': ?(?:'[^']|"[^"])"#);
pattern!(CUT_FIELD, r#"^\{\s*"(?:output|stdout|stderr|result|content|text|observation)"\s*:\s*""#);
pattern!(
    /// The same words as in [`STAND_INS`], at the start of an object whose end is missing.
    CUT_STAND_IN,
    r#"^\{\s*"status"\s*:\s*"(?i:mock|mocked|stub|not_implemented|unavailable|disabled)"\s*,\s*"(?:message|detail|error|msg|error_message)"\s*:"#
);

/// What a JSON result says: `None` if it is not a JSON object or says nothing telling.
pub(super) fn verdict(text: &str, asked: &Asked<'_>, depth: usize) -> Option<Verdict> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    if PYTHON_DICT_ERROR.is_match(text) {
        let error_type = exception_anywhere(text).unwrap_or(Cow::Borrowed("tool_error"));
        return Some(Verdict::Error(Failure::named(error_type).by("json.error-field")));
    }
    let is_object = text.starts_with('{') && text.ends_with('}');
    let is_array = text.starts_with('[') && text.ends_with(']');
    if !is_object && !is_array {
        if CUT_STAND_IN.is_match(text) {
            return Some(not_available());
        }
        let found = CUT_FIELD.find(text)?;
        let inner = unescaped(&text[found.end()..]);
        return Some(within(&inner, None, asked, depth));
    }
    if text.len() > JSON_BYTES || !TELLING_KEY.is_match(text) {
        return is_object.then_some(Verdict::Ok);
    }
    if is_object {
        let telling: Telling = serde_json::from_str(text).ok()?;
        return Some(of_object(Fields { object: &telling.fields, count: telling.count }, asked, depth));
    }
    // A list of content parts speaks through its first text; any other list is data.
    let parts: Vec<Value> = serde_json::from_str(text).ok()?;
    let part = parts.first()?.as_object()?;
    let inner = part.get("text")?.as_str()?;
    part.contains_key("type").then(|| within(inner, None, asked, depth))
}

/// The fields of an object that a rule asks for, and how many it has: results are data for the most part, and that is passed over.
struct Telling {
    fields: Map<String, Value>,
    count: usize,
}

/// The name of a field, borrowed where it holds no escape.
#[derive(serde::Deserialize)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

impl<'de> Deserialize<'de> for Telling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Telling;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Telling, A::Error> {
                let mut out = Telling { fields: Map::new(), count: 0 };
                while let Some(Name(name)) = object.next_key()? {
                    out.count += 1;
                    match NAMES.contains(&name.as_ref()) {
                        true => drop(out.fields.insert(name.into_owned(), object.next_value()?)),
                        false => drop(object.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(out)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A text field of an object.
fn within(text: &str, status: Option<i64>, asked: &Asked<'_>, depth: usize) -> Verdict {
    if depth >= 2 {
        return Verdict::Ok;
    }
    if status.is_none()
        && let Some(verdict) = verdict(text.trim(), asked, depth + 1)
    {
        return verdict;
    }
    weigh(&Evidence::of(text, status, asked, &TABLE))
}

/// The text of a JSON string whose end is missing.
fn unescaped(cut: &str) -> String {
    let mut out = String::new();
    let mut characters = cut[..cut.floor_char_boundary(CUT_BYTES)].chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => match characters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => {}
                Some('u') => out.push('\u{fffd}'),
                Some(other) => out.push(other),
                None => break,
            },
            other => out.push(other),
        }
    }
    out
}

/// An object and how it is asked.
#[derive(Clone, Copy)]
struct Fields<'o> {
    object: &'o Map<String, Value>,
    /// Of its fields, those included that nothing asks for.
    count: usize,
}

/// Every name that is asked for.
const NAMES: &[&str] = &[
    "Error",
    "code",
    "content",
    "data",
    "detail",
    "error",
    "error_message",
    "error_type",
    "errors",
    "exception",
    "exception_type",
    "exitCode",
    "exitStatus",
    "exit_code",
    "exit_status",
    "exitcode",
    "http_status",
    "isError",
    "is_error",
    "message",
    "metadata",
    "msg",
    "observation",
    "ok",
    "output",
    "reason",
    "result",
    "result_status",
    "return_code",
    "returncode",
    "run_status",
    "state",
    "status",
    "statusCode",
    "status_code",
    "stderr",
    "stdout",
    "succeeded",
    "success",
    "text",
    "traceback",
    "type",
];

const EXIT: &[&str] = &["exit_code", "exitCode", "exitcode", "returncode", "return_code", "exit_status", "exitStatus"];
const WORDS: &[&str] = &["error", "message", "detail", "error_message", "stderr", "output", "content", "msg", "reason"];
const STREAMS: &[&str] = &["output", "stdout", "result", "content", "text", "observation"];

impl<'o> Fields<'o> {
    fn get(&self, names: &[&str]) -> Option<&'o Value> {
        debug_assert!(names.iter().all(|name| NAMES.contains(name)), "{names:?} are not all among the names");
        names.iter().find_map(|name| self.object.get(*name))
    }

    fn text(&self, names: &[&str]) -> Option<&'o str> {
        self.get(names).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    }

    /// What explains an error.
    fn words(&self) -> &'o str {
        self.text(WORDS).unwrap_or_default()
    }

    /// The error's type: what a field calls it, a class that the words name, what the words say.
    fn error(&self, fallback: &'static str, rule: &'static str) -> Verdict {
        let is_name = |n: &&str| n.len() <= 60 && n.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
        let named = self
            .text(&["error_type", "exception", "exception_type"])
            .or_else(|| self.object.get("error")?.as_object()?.get("type")?.as_str())
            .filter(is_name);
        let found = named.map(|n| Cow::Owned(n.to_owned())).or_else(|| exception_anywhere(self.words()));
        let told = Some(worded(self.words())).filter(|&t| t != "tool_error").map(Cow::Borrowed);
        Verdict::Error(Failure::named(found.or(told).unwrap_or(Cow::Borrowed(fallback))).by(rule))
    }

    fn status(&self) -> Option<i64> {
        let nested = || EXIT.iter().find_map(|name| self.object.get("metadata")?.as_object()?.get(*name));
        self.get(EXIT).or_else(nested).and_then(number)
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The first word of an object that tells, most telling field first.
fn of_object(fields: Fields<'_>, asked: &Asked<'_>, depth: usize) -> Verdict {
    if let Some(flag) = fields.get(&["is_error", "isError"]) {
        return if truth(flag) == Some(true) { fields.error("tool_error", "json.flag") } else { Verdict::Ok };
    }
    if let Some(verdict) = stand_in(&fields) {
        return verdict;
    }
    if let Some(status) = fields.status() {
        return of_status(&fields, status, asked);
    }
    error_field(&fields)
        .or_else(|| {
            let denied = fields.get(&["success", "ok", "succeeded"]).and_then(truth) == Some(false);
            denied.then(|| fields.error("tool_error", "json.no-success"))
        })
        .or_else(|| status_word(&fields))
        .or_else(|| http_status(&fields))
        .or_else(|| {
            let is_code = fields.text(&["code"]).is_some_and(|code| code.starts_with("ERR_"));
            is_code.then(|| fields.error("tool_error", "json.error-field"))
        })
        .or_else(|| {
            let is_all = fields.count == 1 && fields.text(&["detail"]).is_some();
            is_all.then(|| fields.error("http_error", "json.detail"))
        })
        .unwrap_or_else(|| inner(&fields, asked, depth))
}

/// An exit status beside the streams.
fn of_status(fields: &Fields<'_>, status: i64, asked: &Asked<'_>) -> Verdict {
    let streams = [fields.text(&["stdout"]), fields.text(&["stderr"])];
    let text = match streams {
        [Some(stdout), Some(stderr)] => Cow::Owned(format!("{stdout}\n{stderr}")),
        [Some(only), None] | [None, Some(only)] => Cow::Borrowed(only),
        [None, None] => Cow::Borrowed(fields.text(STREAMS).unwrap_or_default()),
    };
    // The error stream tells more than what was printed before it.
    if let (true, [Some(_), Some(stderr)]) = (status != 0, streams)
        && let Verdict::Error(failure) = weigh(&Evidence::of(&text, Some(status), asked, &TABLE))
    {
        let told = specific(&Evidence::of(stderr, Some(status), asked, &TABLE));
        return Verdict::Error(told.unwrap_or(failure));
    }
    match weigh(&Evidence::of(&text, Some(status), asked, &TABLE)) {
        Verdict::Error(failure) if failure.rule == "shell.exit-status" && status_type(status) == "exit_code" => {
            match fields.error("exit_code", "shell.exit-status") {
                Verdict::Error(named) if fields.get(&["error"]).is_some_and(|e| !e.is_null()) => Verdict::Error(named),
                _ => Verdict::Error(failure),
            }
        }
        verdict => verdict,
    }
}

fn error_field(fields: &Fields<'_>) -> Option<Verdict> {
    let error = fields.get(&["error", "errors", "exception", "traceback", "error_message", "Error"])?;
    let is_said = match error {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::String(text) => !matches!(text.trim(), "" | "None" | "none" | "null" | "no" | "0" | "false"),
        // Numbers are data; so is a list of findings among other fields.
        Value::Array(items) => {
            let is_all = fields.count <= 2 || fields.get(&["data"]).is_some();
            !items.is_empty() && is_all && !items.iter().all(Value::is_number)
        }
        Value::Object(inner) => !inner.is_empty(),
        // A number of many fields that happens to be called so (an error estimate) is data.
        Value::Number(n) => n.as_i64().is_some_and(|n| n != 0) && fields.count <= 2,
    };
    is_said.then(|| fields.error("tool_error", "json.error-field"))
}

fn status_word(fields: &Fields<'_>) -> Option<Verdict> {
    let status = fields.get(&["status", "state", "type", "result_status", "run_status"]).and_then(Value::as_str)?;
    let explains = || fields.get(&["message", "detail", "error", "msg", "stderr", "error_message"]).is_some();
    match status.to_ascii_lowercase().as_str() {
        "error" | "exception" | "failure" if fields.count <= 8 => Some(fields.error("tool_error", "json.status")),
        "fail" if fields.count == 2 && fields.get(&["data"]).is_some() => {
            Some(fields.error("tool_error", "json.status"))
        }
        "failed" | "fail" if explains() && fields.count <= 6 => Some(fields.error("tool_error", "json.status")),
        "timeout" | "timed_out" | "timelimitexceeded" => {
            Some(Verdict::Error(Failure::named("timeout").by("json.status")))
        }
        _ => None,
    }
}

/// Something that answers in the tool's place says so, whatever else it makes up.
fn stand_in(fields: &Fields<'_>) -> Option<Verdict> {
    let status = fields.text(&["status"])?.to_ascii_lowercase();
    let explains = || fields.get(&["message", "detail", "error", "msg", "error_message"]).is_some();
    (STAND_INS.contains(&status.as_str()) && explains()).then(not_available)
}

const STAND_INS: &[&str] = &["mock", "mocked", "stub", "not_implemented", "unavailable", "disabled"];

fn not_available() -> Verdict {
    Verdict::Error(Failure::named("not_available").by("json.stand-in"))
}

fn http_status(fields: &Fields<'_>) -> Option<Verdict> {
    let code = fields.get(&["status_code", "statusCode", "http_status", "code", "status"]).and_then(number)?;
    if !(400..600).contains(&code) || fields.count > 6 || fields.words().is_empty() {
        return None;
    }
    let named = |error_type: &'static str| Verdict::Error(Failure::named(error_type).by("json.http-status"));
    Some(match code {
        429 => named("rate_limit"),
        500.. => named("server_error"),
        _ => fields.error("http_error", "json.http-status"),
    })
}

/// What stands inside an object that says nothing of itself.
fn inner(fields: &Fields<'_>, asked: &Asked<'_>, depth: usize) -> Verdict {
    if let Some(text) = fields.text(&["stderr"]).or_else(|| fields.text(STREAMS)) {
        return within(text, None, asked, depth);
    }
    match fields.get(&["content", "result"]) {
        Some(Value::Array(parts)) => {
            let text = parts.first().and_then(|part| part.as_object()?.get("text")?.as_str());
            text.map_or(Verdict::Ok, |text| within(text, None, asked, depth))
        }
        Some(Value::Object(object)) if depth < 2 => of_object(Fields { object, count: object.len() }, asked, depth + 1),
        _ => Verdict::Ok,
    }
}
