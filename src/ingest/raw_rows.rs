//! Rows of a text file as its program wrote them, before their form turns them into native ones.
//!
//! Owns what is said of such rows: why a file gives none, and what of them is not kept. Lines that are not JSON objects are
//! skipped here; reading them as rollouts tells what is wrong with each.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::container::Format;
use super::error::IngestError;
use super::formats::{Form, Reading, Row, nearest as near_forms};
use super::lenient;
use super::packed::failed;
use super::source::Source;

/// Calls `see` with each row and its number, that of its line, from 0, until it returns `false`.
fn each(path: &Path, source: &Source, mut see: impl FnMut(u64, Row) -> bool) -> Result<(), IngestError> {
    let mut reader = BufReader::with_capacity(1 << 20, source.read(path)?);
    let mut line = Vec::new();
    for number in 0.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|source| failed(path, source))? == 0 {
            break;
        }
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if let Ok((Value::Object(row), _)) = lenient::value(text)
            && !see(number, row)
        {
            break;
        }
    }
    Ok(())
}

/// Why no line of a file is a row; `asked`: the format that was named.
pub(super) fn why_none(path: &Path, source: &Source, asked: Option<&'static Form>) -> IngestError {
    let mut refused = None;
    let seen = each(path, source, |number, row| {
        let reading = source.reading.clone().or_else(|| Reading::recognise(&row, asked));
        let reading = reading.or_else(|| asked.map(Reading::of)).unwrap_or_default();
        refused = reading.convert(row).err().map(|detail| (number, reading.form, detail));
        refused.is_none()
    });
    match (seen, refused) {
        (Err(error), _) => error,
        (Ok(()), Some((row, form, detail))) => {
            IngestError::NoRows { path: path.to_owned(), row, form: form.name, detail }
        }
        (Ok(()), None) => IngestError::NoObjects { path: path.to_owned(), detail: first_line(path, source) },
    }
}

/// How many forms of the nearest are told of.
const MAX_NEAREST: usize = 3;

/// Which forms the first row of a file comes near to, and what is wrong with it for each.
pub(super) fn nearest(path: &Path, source: &Source) -> Result<String, IngestError> {
    let mut found = Vec::new();
    each(path, source, |_, row| {
        found = near_forms(&row);
        false
    })?;
    Ok(told_of(&found))
}

/// What is said of forms that a row comes near to.
fn told_of(near: &[(&'static Form, String)]) -> String {
    let Some(((first, wrong), others)) = near.split_first() else {
        return "nothing of what any format needs is there".to_owned();
    };
    let others: Vec<String> =
        others.iter().take(MAX_NEAREST - 1).map(|(form, wrong)| format!("{} ({wrong})", form.name)).collect();
    let others = if others.is_empty() { String::new() } else { format!("; then {}", others.join(", ")) };
    format!("it looks like {}, but {wrong}{others}", first.name)
}

/// What is wrong with the first line that is not blank.
fn first_line(path: &Path, source: &Source) -> String {
    let lines = source.read(path).map(|text| BufReader::new(text).split(b'\n'));
    let mut lines = lines.into_iter().flatten().map_while(Result::ok).enumerate();
    let Some((number, line)) = lines.find(|(_, line)| !line.trim_ascii().is_empty()) else {
        return "it is empty".to_owned();
    };
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
    let detail = match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(_)) => "has none".to_owned(),
        Ok(_) => "is another kind of value".to_owned(),
        Err(error) => format!("is none: {}", error.to_string().replace(" at line 1 column ", " at column ")),
    };
    format!("line {} {detail}", number + 1)
}

/// Fields of a text file's rows that its form does not keep, each with the number of rows that lose it.
pub(super) fn not_kept(path: &Path, format: Format, form: &'static Form) -> Result<BTreeMap<String, u64>, IngestError> {
    let mut out = BTreeMap::new();
    if form.keeps_all() {
        return Ok(out);
    }
    let source = Source::open(path, format, Some(form))?;
    each(path, &source, |_, row| {
        for lost in form.not_kept(&row) {
            *out.entry(lost.to_owned()).or_default() += 1;
        }
        true
    })?;
    Ok(out)
}
