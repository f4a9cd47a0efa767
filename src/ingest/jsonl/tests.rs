//! Both ways through both passes give the same, whatever the lines hold.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::columns;
use super::decode::{decode_lines, decode_values};
use super::infer::{Asked, BLOCK_BYTES, Inference, Inferred, infer_in_blocks};
use super::kind::Kinds;
use super::lines::{LineReader, lines, unmarked};
use crate::ingest::bad_line::BadLine;
use crate::ingest::formats::{Form, NATIVE, Reading, named, takes_a_second_look};
use crate::ingest::lenient::{self, Mended};

/// The first pass as it is meant: every line by way of values, one after the other.
fn inferred_slowly(text: &[u8], asked: Option<&'static Form>) -> Option<Inferred> {
    let (mut found, mut kinds, mut all) = (None::<Reading>, Kinds::new(None), Mended::default());
    for line in lines(text) {
        let line = unmarked(line);
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
        let mut inference = Inference::new(Asked::default(), None);
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
    (prop::collection::vec(message, 0..4), value(), reward)
        .prop_map(|(messages, x, y)| format!("{{\"messages\": [{}], \"x\": {x}, \"reward\": {y}}}", messages.join(",")))
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
    (line, odd, prop::option::weighted(0.05, any::<prop::sample::Index>())).prop_map(|(line, (before, behind), at)| {
        let mut line = format!("{before}{line}{behind}").into_bytes();
        if let Some(at) = at.filter(|_| !line.is_empty()) {
            let at = at.index(line.len());
            line[at] = 0xff;
        }
        line
    })
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
