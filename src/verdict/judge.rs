//! The default detector from the outside: a sandbox's own words, JSON, text.
//!
//! Owns the order of the three. What JSON says is `json`'s, what text says is [`super::rules`]'.

use std::borrow::Cow;

use super::asked::Asked;
use super::evidence::Evidence;
use super::json;
use super::rules::{TABLE, exception_anywhere, weigh};
use super::said::{Failure, Verdict};

pub(super) const JUDGE_SUCCESS: &str = "Tool call success";
const JUDGE_FAILURE: &str = "Tool call failure";

/// The default detector.
pub(super) fn judge(text: &str, asked: &Asked<'_>) -> Verdict {
    let text = text.trim();
    if text.is_empty() || text.starts_with(JUDGE_SUCCESS) {
        return Verdict::Ok;
    }
    if text.starts_with(JUDGE_FAILURE) {
        let error_type = exception_anywhere(text).unwrap_or(Cow::Borrowed("tool_error"));
        return Verdict::Error(Failure::named(error_type).by("code.judge"));
    }
    json::verdict(text, asked, 0).unwrap_or_else(|| weigh(&Evidence::of(text, None, asked, &TABLE)))
}
