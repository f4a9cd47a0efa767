//! The rows of a text file, one a line, whatever holds them: lines, a document, records that make up a session, a zip.
//!
//! Owns what is packed around text (gzip, zstd, zip; unpacked up to a bound) and what a file itself does not say: a trial's reward
//! and task, which its `result.json` has, and the task that a file is named after. Lines are read again and again from
//! their file; all else is brought into lines once.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::container::Format;
use super::error::IngestError;
use super::formats::{Beside, Form, INSTANCE, Reading, Row, TRIAL_RESULT};
use super::lenient;
use super::packed::{Packing, entries, failed, unpacked};
use crate::batch::json::numbers::{large_number, may_be_large};

/// Lines that are looked at to tell whether they are a session's records.
const MAX_PEEKED: usize = 200;
/// What is wrapped around a list of rows stands beside each of them up to this many bytes.
const MAX_WRAPPING: usize = 2048;

/// Rows as lines.
pub(super) struct Source {
    lines: Lines,
    /// Known beforehand.
    pub(super) reading: Option<Reading>,
    /// Where the rows stood in a document, for people.
    pub(super) place: Option<String>,
    /// Fields of a document that no row has.
    pub(super) not_kept: Vec<String>,
}

enum Lines {
    File(Packing),
    Memory(Arc<[u8]>),
}

impl Source {
    /// The rows of a file that is not Parquet; `asked`: the form that was named.
    pub(super) fn open(path: &Path, format: Format, asked: Option<&'static Form>) -> Result<Self, IngestError> {
        let packing = Packing::of(path)?;
        match format {
            Format::Zip => Rows::new(entries(path)?, path)?.into_source(path, asked),
            Format::Json => match document(path, packing)? {
                Some(rows) => Rows::new(rows, path)?.into_source(path, asked),
                None => Ok(Source::lines(packing)),
            },
            Format::JsonLines | Format::Parquet => {
                let peeked = asked.map_or_else(|| peek(path, packing), |form| Ok(Some(form)))?;
                match peeked.filter(|form| form.gathers()) {
                    Some(form) => Ok(Source {
                        reading: Some(Reading::of(form)),
                        ..Source::in_memory(gathered(records(path, packing)?, form))
                    }),
                    None => Ok(Source::lines(packing)),
                }
            }
        }
    }

    fn lines(packing: Packing) -> Self {
        Source { lines: Lines::File(packing), reading: None, place: None, not_kept: Vec::new() }
    }

    fn in_memory(lines: Vec<u8>) -> Self {
        Source { lines: Lines::Memory(lines.into()), reading: None, place: None, not_kept: Vec::new() }
    }

    /// The lines from the first.
    pub(super) fn read(&self, path: &Path) -> Result<Box<dyn Read + Send>, IngestError> {
        match &self.lines {
            Lines::Memory(lines) => Ok(Box::new(io::Cursor::new(Arc::clone(lines)))),
            Lines::File(packing) => unpacked(path, *packing),
        }
    }
}

/// Rows that are held in memory.
struct Rows {
    rows: Vec<Value>,
    place: Option<String>,
    not_kept: Vec<String>,
}

impl Rows {
    /// The rows of a document; of one that is wrapped around a list of rows, these.
    fn new(mut rows: Vec<Value>, path: &Path) -> Result<Self, IngestError> {
        let (mut place, mut not_kept) = (None, Vec::new());
        if let [Value::Object(row)] = rows.as_mut_slice()
            && let Some(reading) = Reading::recognise(row, None).filter(Reading::is_of_a_list)
        {
            for (name, value) in row.iter_mut().filter(|(name, _)| !reading.passes(name)) {
                if value.to_string().len() > MAX_WRAPPING {
                    *value = Value::Null;
                    not_kept.push(name.clone());
                }
            }
            row.retain(|name, _| !not_kept.contains(name));
            place = Some(reading.name());
            let refused = |detail| IngestError::NotJson { path: path.to_owned(), detail, is_cut_off: false };
            let inner = reading.unwrapped(std::mem::take(row)).map_err(refused)?;
            rows = inner.into_iter().map(Value::Object).collect();
        }
        Ok(Rows { rows, place, not_kept })
    }

    fn into_source(self, path: &Path, asked: Option<&'static Form>) -> Result<Source, IngestError> {
        let objects = || self.rows.iter().filter_map(Value::as_object);
        let form = asked.or_else(|| objects().find_map(Form::of));
        match form.filter(|form| form.gathers()) {
            Some(form) => {
                let records = self.rows.into_iter().map(|record| match record {
                    Value::Object(record) => Ok(record),
                    other => Err(other.to_string().into_bytes()),
                });
                let (reading, lines) = (Some(Reading::of(form)), gathered(records, form));
                Ok(Source { reading, place: self.place, not_kept: self.not_kept, ..Source::in_memory(lines) })
            }
            None => self.completed(path),
        }
    }

    /// With what stands beside the file.
    fn completed(mut self, path: &Path) -> Result<Source, IngestError> {
        let beside = |row: &Row| Form::of(row).map_or(Beside::Nothing, |form| form.beside);
        let has_trial = self.rows.iter().filter_map(Value::as_object).any(|row| beside(row) == Beside::TrialResult);
        let result = if has_trial { trial_result(path)? } else { None };
        let task = named_after(path);
        for object in self.rows.iter_mut().filter_map(Value::as_object_mut) {
            match (beside(object), &result, &task) {
                (Beside::TrialResult, Some(result), _) => {
                    object.insert(TRIAL_RESULT.to_owned(), result.clone());
                }
                (Beside::FileName, _, Some(task)) => {
                    object.entry(INSTANCE).or_insert_with(|| task.as_str().into());
                }
                (Beside::Nothing | Beside::TrialResult | Beside::FileName, _, _) => {}
            }
        }
        let lines = self.rows.iter().map(|row| row.to_string() + "\n").collect::<String>().into_bytes();
        Ok(Source { place: self.place, not_kept: self.not_kept, ..Source::in_memory(lines) })
    }
}

/// One of the records of sessions, or the text that stands where one was expected.
type Record = Result<Row, Vec<u8>>;

/// Records put together to the sessions that they are of, a line each. What is no record stays on its own line, to be rejected
/// there as any line that is no row; the sessions take the lines between.
fn gathered(records: impl IntoIterator<Item = Record>, form: &'static Form) -> Vec<u8> {
    let (mut read, mut others) = (Vec::new(), BTreeMap::new());
    for (number, record) in records.into_iter().enumerate() {
        match record {
            Ok(row) => read.push(row),
            Err(text) => drop(others.insert(number, text)),
        }
    }
    let mut sessions = form.gathered(read).into_iter();
    let mut lines = Vec::new();
    for number in 0.. {
        if others.is_empty() && sessions.len() == 0 {
            break;
        }
        let session = || sessions.next().map(|session| Value::Object(session).to_string().into_bytes());
        lines.extend(others.remove(&number).or_else(session).unwrap_or_default());
        lines.push(b'\n');
    }
    lines
}

/// The values of a document; `None` if it is lines, whatever its name says.
fn document(path: &Path, packing: Packing) -> Result<Option<Vec<Value>>, IngestError> {
    let mut text = Vec::new();
    unpacked(path, packing)?.read_to_end(&mut text).map_err(|source| failed(path, source))?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let value = match lenient::value(text) {
        Ok((value, _)) => value,
        Err(_) if are_lines(text) => return Ok(None),
        Err(error) => {
            let (detail, is_cut_off) = (error.to_string(), error.is_eof());
            return Err(IngestError::NotJson { path: path.to_owned(), detail, is_cut_off });
        }
    };
    if may_be_large(&value)
        && let Some(number) = std::str::from_utf8(text).ok().and_then(large_number)
    {
        return Err(IngestError::LargeNumber { path: path.to_owned(), number });
    }
    Ok(Some(match value {
        Value::Array(rows) => rows,
        row => vec![row],
    }))
}

/// Whether a text has a JSON object on its first line, and goes on behind it.
fn are_lines(text: &[u8]) -> bool {
    let mut lines = text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let first = lines.next().and_then(|line| lenient::value(line).ok());
    first.is_some_and(|(value, _)| value.is_object()) && lines.next().is_some()
}

/// The form of the first line that has one.
fn peek(path: &Path, packing: Packing) -> Result<Option<&'static Form>, IngestError> {
    let mut found = None;
    each_line(path, packing, |number, line| {
        if let Ok((Value::Object(row), _)) = lenient::value(line) {
            found = Form::of(&row);
        }
        found.is_none() && number < MAX_PEEKED
    })?;
    Ok(found)
}

/// Every line, as a record or as it stands.
fn records(path: &Path, packing: Packing) -> Result<Vec<Record>, IngestError> {
    let mut out = Vec::new();
    each_line(path, packing, |_, line| {
        out.push(match lenient::value(line) {
            Ok((Value::Object(record), _)) => Ok(record),
            Ok(_) | Err(_) => Err(line.trim_ascii().to_owned()),
        });
        true
    })?;
    Ok(out)
}

/// Calls `see` with each line, until it returns `false`.
fn each_line(path: &Path, packing: Packing, mut see: impl FnMut(usize, &[u8]) -> bool) -> Result<(), IngestError> {
    let mut reader = BufReader::new(unpacked(path, packing)?);
    let mut line = Vec::new();
    for number in 0.. {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(|source| failed(path, source))?;
        if length == 0 || !see(number, line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line)) {
            break;
        }
    }
    Ok(())
}

/// The task that a trajectory's file is named after.
fn named_after(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    [".traj.json", ".traj"].iter().find_map(|end| name.strip_suffix(end)).map(str::to_owned)
}

/// harbor's `result.json`: beside the trajectory, or beside its folder.
fn trial_result(path: &Path) -> Result<Option<Value>, IngestError> {
    let files = path.ancestors().skip(1).take(2).map(|folder| folder.join("result.json"));
    let Some((file, text)) = files.filter_map(|file| std::fs::read(&file).ok().map(|text| (file, text))).next() else {
        return Ok(None);
    };
    match serde_json::from_slice(&text) {
        Ok(result @ Value::Object(_)) => Ok(Some(result)),
        Ok(_) => Err(IngestError::NoResult { path: file, detail: "it is another kind of value".to_owned() }),
        Err(error) => Err(IngestError::NoResult { path: file, detail: error.to_string() }),
    }
}
