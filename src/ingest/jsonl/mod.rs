//! JSON lines: a schema from a first pass, batches from a second.
//!
//! Owns lines; what a line looks like is its form's ([`super::formats`]). A field that has different kinds of value in
//! different lines ([`kind`]) becomes text that holds JSON; so do a call's `arguments` where they are not a string. A line that
//! is not a JSON object is a [`BadLine`], never the end of the file. Numbers of rows are numbers of lines, from 0.
//!
//! Both passes have a quick way, which builds no values: most lines change no kind ([`settled`]), and most blocks of lines
//! can be appended to columns as they are read ([`columns`]). What is in any way odd goes the slow way; both give the same.

mod columns;
mod field_name;
mod kind;
mod settled;

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use rayon::prelude::*;
use serde_json::Value;

use super::BadLine;
use super::formats::{Form, Reading, Row, takes_a_second_look};
use super::lenient::{self, Mended};
use crate::batch::RowError;
use crate::batch::json::numbers::{large_number, may_be_large, too_large};
pub(super) use kind::Kinds;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What the first pass hands to a thread at once, and how many of these it holds.
const BLOCK_BYTES: usize = 1 << 20;
const MAX_BLOCKS: usize = 8;

/// Reads whole lines, many at a time.
pub(super) struct LineReader<R> {
    reader: BufReader<R>,
}

impl<R: Read> LineReader<R> {
    pub(super) fn new(source: R) -> Self {
        LineReader { reader: BufReader::with_capacity(1 << 20, source) }
    }

    /// About `bytes` of whole lines, and how many; `None` at the end.
    pub(super) fn next_block(&mut self, bytes: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut block = Vec::with_capacity(bytes + bytes / 8);
        (&mut self.reader).take(bytes as u64).read_to_end(&mut block)?;
        if block.last().is_some_and(|&last| last != b'\n') {
            self.reader.read_until(b'\n', &mut block)?;
        }
        let lines = lines(&block).count() as u64;
        Ok((lines > 0).then_some((block, lines)))
    }

    fn next_blocks(&mut self, most: usize, bytes: usize) -> io::Result<Vec<Vec<u8>>> {
        let block = || self.next_block(bytes).map(|block| block.map(|(bytes, _)| bytes)).transpose();
        std::iter::from_fn(block).take(most).collect()
    }
}

/// The lines of a block, with their ends.
fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let all = rest;
        // Memory can always be read.
        let length = rest.skip_until(b'\n').unwrap_or_default();
        (length > 0).then(|| &all[..length])
    })
}

/// The lines of a block that may be rows, with their numbers.
fn numbered(block: &[u8], first_line: u64) -> impl Iterator<Item = (u64, &[u8])> {
    let stripped = (first_line..).zip(lines(block)).map(|(number, line)| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (number, line.strip_prefix(BYTE_ORDER_MARK).filter(|_| number == 0).unwrap_or(line))
    });
    stripped.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace))
}

/// The form of the lines, if it is not `asked` for, and the schema that holds every row; `None` if no line is an object.
/// `reward` names the column of rewards.
///
/// The first line that is an object of a known form decides; one that has none is read as messages, and the columns tell
/// what is missing.
pub(super) fn infer_schema(
    source: &mut (dyn Read + Send),
    asked: Asked,
    reward: Option<&str>,
) -> io::Result<Option<Inferred>> {
    infer_in_blocks(source, asked, reward, BLOCK_BYTES)
}

/// What is known of a file's rows before they are looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The form that was named.
    pub(super) form: Option<&'static Form>,
    /// How they are to be read.
    pub(super) reading: Option<Reading>,
}

/// What the rows of a file are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inferred {
    pub(super) reading: Reading,
    /// That holds every row.
    pub(super) schema: Schema,
    /// How many rows are no JSON as they stand, and are read all the same.
    pub(super) mended: Mended,
}

fn infer_in_blocks(
    source: &mut (dyn Read + Send),
    asked: Asked,
    reward: Option<&str>,
    bytes: usize,
) -> io::Result<Option<Inferred>> {
    let mut reader = LineReader::new(source);
    let known = asked.reading.as_ref().map(|reading| reading.form).or(asked.form).and_then(|form| form.reward);
    let mut inference = Inference {
        asked: asked.form,
        reading: asked.reading,
        names_reward: reward.is_some(),
        kinds: Kinds::new(reward.or(known)),
        mended: Mended::default(),
    };
    // Of the first lines everything is new, so that they are few.
    let mut blocks = reader.next_blocks(1, bytes)?;
    let mut is_plain = true;
    while !blocks.is_empty() {
        let (next, found) =
            rayon::join(|| reader.next_blocks(MAX_BLOCKS, bytes), || inference.unsettled_lines(&blocks));
        for (plain, odd) in found {
            is_plain &= plain;
            odd.into_iter().for_each(|line| inference.absorb(line));
        }
        blocks = next?;
    }
    let Inference { reading, kinds, mended, .. } = inference;
    let reading = reading.unwrap_or_default().looked_through(is_plain);
    Ok((!kinds.is_empty()).then(|| Inferred { reading, schema: kinds.schema(), mended }))
}

/// What the lines so far say.
struct Inference {
    asked: Option<&'static Form>,
    reading: Option<Reading>,
    /// Somebody has said which column holds rewards.
    names_reward: bool,
    kinds: Kinds,
    mended: Mended,
}

impl Inference {
    /// Whether each block holds nothing that only looks native, and its lines that may say something new. A line that changes no kind now changes none later: kinds only
    /// ever widen.
    fn unsettled_lines<'b>(&self, blocks: &'b [Vec<u8>]) -> Vec<(bool, Vec<&'b [u8]>)> {
        let unsettled = |block: &'b Vec<u8>| {
            let looks_native = !takes_a_second_look(block);
            let is_plain = looks_native && !lenient::may_hold_half_pairs(block);
            (looks_native, lines(block).filter(|line| !self.is_settled(line, is_plain)).collect())
        };
        blocks.par_iter().map(unsettled).collect()
    }

    /// Whether a line surely changes nothing; `is_plain`: it holds nothing that only looks like native messages, or like JSON.
    fn is_settled(&self, line: &[u8], is_plain: bool) -> bool {
        match &self.reading {
            None => false,
            Some(reading) if reading.is_native() && (is_plain || !takes_a_second_look(line)) => {
                let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
                self.kinds.are_settled_by(line) && (is_plain || !lenient::has_half_pair(line))
            }
            Some(reading) => match strict_object(line) {
                // What has to be mended is counted.
                None => false,
                Some(row) => {
                    let rows = reading.convert(row).unwrap_or_default();
                    rows.iter().all(|row| self.kinds.are_settled_by_row(row))
                }
            },
        }
    }

    fn absorb(&mut self, line: &[u8]) {
        let Ok((Value::Object(row), mended)) = lenient::value(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line))
        else {
            return;
        };
        self.mended += mended;
        if self.reading.is_none() {
            self.reading = Reading::recognise(&row, self.asked).or_else(|| self.asked.map(Reading::of));
            let reward = self.reading.as_ref().and_then(|reading| reading.form.reward).filter(|_| !self.names_reward);
            reward.into_iter().for_each(|name| self.kinds.name_reward(name));
        }
        // A row that does not convert is a bad line, and says nothing of the types.
        let rows = self.reading.clone().unwrap_or_default().convert(row).unwrap_or_default();
        rows.iter().for_each(|row| self.kinds.absorb(row));
    }
}

fn strict_object(line: &[u8]) -> Option<Row> {
    serde_json::from_slice(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)).ok()
}

/// Batches with the numbers of their lines.
pub(super) type NumberedBatches = Vec<(RecordBatch, Vec<u64>)>;

/// Batches with the numbers of their lines, and the lines that are not rows.
pub(super) fn decode_lines(
    block: &[u8],
    schema: &SchemaRef,
    first_line: u64,
    reading: &Reading,
) -> (NumberedBatches, Vec<BadLine>) {
    match reading.takes_as_they_are(block).then(|| columns::decode(block, schema, first_line)).flatten() {
        Some(batch) => (vec![batch], Vec::new()),
        None => decode_values(block, schema, first_line, reading),
    }
}

/// The same by way of values: lines that are no rows, and layouts that have to be converted.
fn decode_values(
    block: &[u8],
    schema: &SchemaRef,
    first_line: u64,
    reading: &Reading,
) -> (NumberedBatches, Vec<BadLine>) {
    let (mut rows, mut numbers, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    let as_rows = DataType::Struct(schema.fields().clone());
    for (number, line) in numbered(block, first_line) {
        match parse(line, number).and_then(|row| converted(row, reading, schema, number)) {
            Ok(converted) => {
                for row in converted {
                    let mut value = Value::Object(row);
                    fit(&mut value, &as_rows);
                    rows.push(value);
                    numbers.push(number);
                }
            }
            Err(error) => bad.push(BadLine { row: number, text: String::from_utf8_lossy(line).into_owned(), error }),
        }
    }
    let (batches, misfits) = to_batches(&rows, schema);
    bad.extend(misfits.into_iter().map(|(k, error)| BadLine {
        row: numbers[k],
        text: rows[k].to_string(),
        error: RowError::NoFit { line: Some(numbers[k] + 1), detail: error.to_string() },
    }));
    bad.sort_by_key(|line| line.row);
    (batches.into_iter().map(|(batch, range)| (batch, numbers[range].to_vec())).collect(), bad)
}

/// Batches of consecutive rows.
type RangedBatches = Vec<(RecordBatch, Range<usize>)>;

/// Rows as batches, and those that spoil theirs.
pub(super) fn to_batches(rows: &[Value], schema: &SchemaRef) -> (RangedBatches, Vec<(usize, ArrowError)>) {
    if let Ok(batch) = to_batch(rows, schema) {
        return (vec![(batch, 0..rows.len())], Vec::new());
    }
    let (mut batches, mut misfits) = (Vec::new(), Vec::new());
    for (k, row) in rows.iter().enumerate() {
        match to_batch(std::slice::from_ref(row), schema) {
            Ok(batch) => batches.push((batch, k..k + 1)),
            Err(error) => misfits.push((k, error)),
        }
    }
    (batches, misfits)
}

fn converted(row: Row, reading: &Reading, schema: &Schema, number: u64) -> Result<Vec<Row>, RowError> {
    let line = Some(number + 1);
    let rows = reading.convert(row).map_err(|detail| RowError::Layout { line, layout: reading.form.name, detail })?;
    match rows.iter().find_map(|row| kind::odd_number(row, schema)) {
        Some(detail) => Err(RowError::NoFit { line, detail }),
        None => Ok(rows),
    }
}

fn parse(line: &[u8], number: u64) -> Result<Row, RowError> {
    let line_number = number + 1;
    if let Err(error) = std::str::from_utf8(line) {
        return Err(RowError::NoUtf8 { line: line_number, byte: error.valid_up_to() });
    }
    match lenient::value(line).map(|(value, _)| value) {
        Ok(Value::Object(row)) => match large_number_in(&row, line) {
            None => Ok(row),
            Some(number) => Err(RowError::NoFit { line: Some(line_number), detail: too_large(&number) }),
        },
        Ok(_) => Err(RowError::NoJson { line: line_number, detail: "it is another kind of value".to_owned() }),
        Err(error) => Err(RowError::NoJson { line: line_number, detail: why_no_json(&error) }),
    }
}

fn large_number_in(row: &Row, line: &[u8]) -> Option<String> {
    let text = row.values().any(may_be_large).then(|| std::str::from_utf8(line).ok()).flatten()?;
    large_number(text)
}

/// The parser's words. It counts lines of its own input, which is always one.
fn why_no_json(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Turns what stands where the schema has text into text that holds JSON.
pub(super) fn fit(value: &mut Value, data_type: &DataType) {
    match (data_type, &mut *value) {
        (_, Value::Null) | (DataType::Utf8, Value::String(_)) => {}
        (DataType::Utf8, other) => *value = Value::String(other.to_string()),
        (DataType::List(item), Value::Array(items)) => items.iter_mut().for_each(|v| fit(v, item.data_type())),
        (DataType::Struct(fields), Value::Object(object)) => {
            for field in fields {
                if let Some(inner) = object.get_mut(field.name()) {
                    fit(inner, field.data_type());
                }
            }
        }
        _ => {}
    }
}

fn to_batch(rows: &[Value], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema))))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::ingest::formats::{NATIVE, named};

    /// The first pass as it is meant: every line by way of values, one after the other.
    fn inferred_slowly(text: &[u8], asked: Option<&'static Form>) -> Option<Inferred> {
        let (mut found, mut kinds, mut all) = (None::<Reading>, Kinds::new(None), Mended::default());
        for line in lines(text) {
            let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            let Ok((Value::Object(row), mended)) = lenient::value(line) else { continue };
            all += mended;
            found = found.or_else(|| Reading::recognise(&row, asked)).or_else(|| asked.map(Reading::of));
            let rows = found.clone().unwrap_or_default().convert(row).unwrap_or_default();
            rows.iter().for_each(|row| kinds.absorb(row));
        }
        let reading = found.unwrap_or_default().looked_through(!takes_a_second_look(text));
        (!kinds.is_empty()).then(|| Inferred { reading, schema: kinds.schema(), mended: all })
    }

    fn assert_both_ways_agree(text: &[u8], asked: Option<&'static Form>) {
        let expected = inferred_slowly(text, asked);
        for bytes in [1, 100, BLOCK_BYTES] {
            let inferred = infer_in_blocks(&mut &*text, Asked { form: asked, reading: None }, None, bytes)
                .expect("memory can be read");
            assert_eq!(inferred, expected, "in blocks of {bytes} bytes");
        }
        let Some(Inferred { reading, schema, .. }) = expected else { return };
        let schema = Arc::new(schema);
        let told = |lines: Vec<BadLine>| lines.into_iter().map(|l| (l.row, l.text, l.error)).collect::<Vec<_>>();
        let mut reader = LineReader::new(text);
        let mut first_line = 0;
        while let Some((block, lines)) = reader.next_block(300).expect("memory can be read") {
            let (batches, bad) = decode_lines(&block, &schema, first_line, &reading);
            let (expected, bad_expected) = decode_values(&block, &schema, first_line, &reading);
            assert_eq!(batches, expected);
            assert_eq!(told(bad), told(bad_expected));
            first_line += lines;
        }
    }

    fn fixtures(folder: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
        let paths = std::fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("an entry").path());
        let lines = paths.filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
        lines.map(|path| (path.display().to_string(), std::fs::read(&path).expect("a fixture"))).collect()
    }

    #[test]
    fn both_ways_agree_on_every_fixture() {
        for (_, text) in ["rollouts", "formats", "bad", "cases"].into_iter().flat_map(fixtures) {
            assert_both_ways_agree(&text, None);
        }
    }

    #[test]
    fn rollouts_with_messages_take_the_quick_way() {
        for (name, text) in fixtures("rollouts") {
            let Inferred { schema, .. } = inferred_slowly(&text, None).expect("it has rows");
            assert!(columns::decode(&text, &Arc::new(schema), 0).is_some(), "{name}");
            let mut inference = Inference {
                asked: None,
                reading: None,
                names_reward: false,
                kinds: Kinds::new(None),
                mended: Mended::default(),
            };
            lines(&text).for_each(|line| inference.absorb(line));
            assert!(lines(&text).all(|line| inference.is_settled(line, false)), "{name}: what was read is new again");
        }
    }

    #[test]
    fn arguments_that_are_objects_and_content_of_parts_take_the_quick_way() {
        let text = br#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]},
            {"role": "tool", "content": [{"type": "image"}]}, {"role": "tool", "content": {"b": 1, "a": 1e2}},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"b": [1.50, -0], "a": "x"}}}]}]}"#;
        let text = text.iter().copied().filter(|&b| b != b'\n').collect::<Vec<u8>>();
        let Inferred { schema, .. } = inferred_slowly(&text, None).expect("it has rows");
        assert!(columns::decode(&text, &Arc::new(schema), 0).is_some());
        assert_both_ways_agree(&text, None);
    }

    #[test]
    fn parts_that_become_text_are_told_from_parts_that_stay() {
        let line = |part: &str| {
            format!(
                "{{\"messages\": [{{\"role\": \"user\", \"content\": [{{\"type\": \"{part}\", \"text\": \"t\"}}]}}]}}\n"
            )
        };
        for parts in [["image", "image"], ["image", "text"], ["text", "image"]] {
            assert_both_ways_agree(parts.map(line).concat().as_bytes(), None);
        }
    }

    #[test]
    fn nesting_of_any_depth_is_an_error_and_no_overflow() {
        for depth in [100, 126, 127, 128, 129, 200_000] {
            let nested = |name: &str| format!("{{\"{name}\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
            let messages = r#"{"messages": [{"role": "user", "content": "q"}], "x": "text", "y": null}"#;
            let text = [messages, &nested("x"), &nested("y"), &nested("new"), &"[".repeat(depth)].join("\n");
            assert_both_ways_agree(text.as_bytes(), None);
        }
    }

    #[test]
    fn an_object_with_too_many_keys_over_all_lines_is_text() {
        let line = |k: usize| format!("{{\"messages\": [], \"x\": {{\"key_{k}\": {k}}}}}\n");
        for keys in [255, 256, 257, 400] {
            assert_both_ways_agree((0..keys).map(line).collect::<String>().as_bytes(), None);
        }
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-0.0",
            "1",
            "7.5",
            "1E2",
            "1e15",
            "1e400",
            "01",
            ".5",
            "-",
            "9007199254740992",
            "9007199254740993",
            "-9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "\"\"",
            "\"text\"",
            "\"user\"",
            "\"a\\n\\\"b\\\"\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud800\"",
            "\"\\ude00x\"",
            "\"\\u0000\"",
            "\"\u{1}\"",
            "\"größer\"",
            "\"\\x\"",
            "\"12\"",
            "nul",
            "[]",
            "{}",
        ]);
        let leaf = leaf.prop_map(str::to_owned);
        leaf.prop_recursive(3, 24, 4, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", ")));
            prop_oneof![list, object_of(inner)]
        })
    }

    fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        let names = vec![
            "role",
            "content",
            "tool_calls",
            "function",
            "arguments",
            "name",
            "is_error",
            "text",
            "type",
            "messages",
            "chat",
            "reward",
            "score",
            "weight",
            "loss",
            "response_logprobs",
            "response_mask",
            "prompt_ids",
            "x",
            "y",
            "\\u0078",
            "ö",
        ];
        prop::collection::vec((prop::sample::select(names), value), 0..5).prop_map(|fields| {
            let fields = fields.iter().map(|(name, value)| format!("\"{name}\": {value}"));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        })
    }

    /// A row of messages, some of whose values are anything.
    fn rollout() -> impl Strategy<Value = String> {
        let text = || prop_oneof![3 => Just("\"text\"".to_owned()), 1 => value()];
        let part = prop_oneof![
            3 => Just("{\"type\": \"text\", \"text\": \"t\"}".to_owned()),
            1 => Just("{\"type\": \"text\", \"text\": \"t\", \"cache\": {\"a\": 1}}".to_owned()),
            1 => value(),
        ];
        let content = prop_oneof![
            3 => text(),
            1 => prop::collection::vec(part, 0..3).prop_map(|parts| format!("[{}]", parts.join(","))),
        ];
        let call = prop_oneof![
            4 => (text(), text()).prop_map(|(name, arguments)| {
                format!("{{\"id\": \"c\", \"function\": {{\"name\": {name}, \"arguments\": {arguments}}}}}")
            }),
            1 => value(),
        ];
        let calls = prop_oneof![
            2 => Just(String::new()),
            2 => prop::collection::vec(call, 0..3).prop_map(|c| format!(", \"tool_calls\": [{}]", c.join(","))),
        ];
        let message = prop_oneof![
            6 => (content, calls).prop_map(|(c, calls)| format!("{{\"role\": \"user\", \"content\": {c}{calls}}}")),
            1 => value().prop_map(|loss| format!("{{\"role\": \"user\", \"loss\": {loss}}}")),
            1 => value(),
        ];
        let reward = prop_oneof![3 => Just("0.5".to_owned()), 1 => value()];
        (prop::collection::vec(message, 0..4), value(), reward).prop_map(|(messages, x, y)| {
            format!("{{\"messages\": [{}], \"x\": {x}, \"reward\": {y}}}", messages.join(","))
        })
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![8 => rollout(), 2 => object_of(value()), 1 => value(), 1 => Just(" \t".to_owned())];
        let odd = prop_oneof![
            12 => Just(("", "")),
            1 => Just(("\u{feff}", "")),
            1 => Just(("", " ")),
            1 => Just(("", " {}")),
            1 => Just(("", "}")),
            1 => Just(("", "\r")),
            1 => Just((" ", "\r\r")),
        ];
        (line, odd, prop::option::weighted(0.05, any::<prop::sample::Index>())).prop_map(
            |(line, (before, behind), at)| {
                let mut line = format!("{before}{line}{behind}").into_bytes();
                if let Some(at) = at.filter(|_| !line.is_empty()) {
                    let at = at.index(line.len());
                    line[at] = 0xff;
                }
                line
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

        #[test]
        fn both_ways_agree_on_any_lines(
            lines in prop::collection::vec(line(), 0..12),
            ends_with_line in any::<bool>(),
            form in prop_oneof![4 => Just(None), 1 => Just(named("prompt-completion")), 1 => Just(Some(NATIVE))],
        ) {
            let mut text = lines.join(&b'\n');
            text.extend(ends_with_line.then_some(b'\n'));
            assert_both_ways_agree(&text, form);
        }
    }
}
