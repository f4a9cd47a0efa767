//! What reproduces others bit for bit. The lexical ratio against CPython: a committed golden file, CPython itself where the
//! machine has it, and the pairs that the method's reference logged where the data folder is there. `--profile open-cleaner`
//! against the reference's loop, written anew as it runs while sampling.

use std::borrow::Cow;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use purify::options::{Options, Profile};
use purify::purifier::Purifier;
use purify::rollout::{Message, Role, Rollout, ToolCall};
use purify::similarity::lexical::{Junk, ratio};
use purify::similarity::{Exact, Measure};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("`{name}` is a string"))
}

fn lines(path: PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// Says loudly that a test could not look at what it is for.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n");
}

#[test]
fn ratios_equal_cpythons_to_the_last_bit() {
    // Made by scripts/make_fixtures.py with CPython's difflib.
    let pairs = lines(root().join("fixtures/reference/ratios.jsonl"));
    assert!(pairs.len() > 80);
    for pair in &pairs {
        let (a, b) = (text(pair, "a"), text(pair, "b"));
        let bits = |r: f64| format!("{:016x}", r.to_bits());
        assert_eq!(bits(ratio(a, b, Junk::Automatic)), text(pair, "automatic"), "{a:?} {b:?}");
        assert_eq!(bits(ratio(a, b, Junk::Off)), text(pair, "off"), "{a:?} {b:?}");
        assert_eq!(bits(Exact.similarity(a, b).get()), text(pair, "off"), "{a:?} {b:?}");
    }
}

/// Reads pairs from stdin, writes the bits of their ratios.
const ORACLE: &str = "
import difflib, json, struct, sys
for line in sys.stdin:
    a, b = json.loads(line)
    print(struct.pack('>d', difflib.SequenceMatcher(None, a, b).ratio()).hex())
";

/// A seeded stream of numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn text(&mut self, alphabet: &[char], most: usize) -> String {
        let len = self.below(most + 1);
        (0..len).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    /// Random, code-like, and made to be hard: few letters, cycles, letters just rare enough not to be junk.
    fn pair(&mut self, k: usize) -> (String, String) {
        let wide: Vec<char> = ('!'..='~').chain("äß漢字😀\n\t ".chars()).collect();
        let few: Vec<char> = "ab \n".chars().collect();
        match k % 4 {
            0 => (self.text(&wide, 600), self.text(&wide, 600)),
            1 => (self.text(&few, 500), self.text(&few, 500)),
            2 => {
                let source: Vec<char> = include_str!("references.rs").chars().collect();
                let at = self.below(source.len() - 1500);
                let a: Vec<char> = source[at..at + 200 + self.below(1300)].to_vec();
                let mut b = a.clone();
                for _ in 0..self.below(20) {
                    let cut = self.below(b.len());
                    let end = (cut + self.below(60)).min(b.len());
                    let from = self.below(source.len() - 80);
                    b.splice(cut..end, source[from..from + self.below(80)].iter().copied());
                    if b.is_empty() {
                        b.push('x');
                    }
                }
                (a.into_iter().collect(), b.into_iter().collect())
            }
            _ => {
                let period = 90 + self.below(30);
                let cycle: Vec<char> =
                    (0..period).map(|c| char::from_u32(0x4e00 + c as u32).expect("a letter")).collect();
                let mut turn = |n: usize| -> String {
                    let shift = self.below(period);
                    (0..n).map(|c| cycle[(c * 7 + shift) % period]).collect()
                };
                (turn(700), turn(800))
            }
        }
    }
}

#[test]
fn ratios_equal_cpythons_on_fresh_pairs() {
    let Ok(mut python) =
        Command::new("python3").args(["-c", ORACLE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    else {
        return skipped("there is no python3 to compare with");
    };
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let pairs: Vec<(String, String)> = (0..600).map(|k| numbers.pair(k)).collect();
    let input: String = pairs.iter().map(|p| serde_json::to_string(p).expect("texts are JSON") + "\n").collect();
    let mut stdin = python.stdin.take().expect("stdin is piped");
    let feeder = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = python.wait_with_output().expect("python3 ends");
    feeder.join().expect("the feeder ends").expect("python3 reads");
    let bits: Vec<&str> = std::str::from_utf8(&output.stdout).expect("hex").lines().collect();
    assert_eq!(bits.len(), pairs.len());
    for ((a, b), want) in pairs.iter().zip(bits) {
        assert_eq!(format!("{:016x}", ratio(a, b, Junk::Automatic).to_bits()), want, "{a:?} {b:?}");
    }
}

#[test]
fn hostile_pairs_end_in_seconds() {
    // Bounded by the algorithm, not by a clock: each of these would take CPython hours.
    let n = 200_000;
    let letters: Vec<char> = (0..150).map(|c| char::from_u32(0x4e00 + c).expect("a letter")).collect();
    let turn = |step: usize| -> String { (0..n).map(|k| letters[(k * step) % 150]).collect() };
    let one = "a".repeat(n);
    assert_eq!(ratio(&one, &one, Junk::Automatic), 1.0);
    let (ab, ba) = ("ab".repeat(n / 2), "ba".repeat(n / 2));
    assert_eq!(ratio(&ab, &ba, Junk::Automatic), 0.0);
    assert_eq!(ratio(&turn(1), &turn(1), Junk::Automatic), 1.0);
    let backwards = ratio(&turn(1), &turn(149), Junk::Automatic);
    assert!(backwards > 0.0 && backwards < 0.1);
    assert!(ratio(&turn(1), &turn(7), Junk::Automatic) < 0.2);
    for (a, b) in [(&one, &one), (&ab, &ba), (&turn(1), &turn(149)), (&turn(1), &turn(7))] {
        assert!(Exact.similarity(a, b).get() <= 1.0);
    }
}

#[test]
fn logged_pairs_of_the_reference_agree_in_ratio_and_strategy() {
    let path = root().join("../shared/data/logged_pairs.jsonl");
    if !path.exists() {
        return skipped("the reference's logged pairs (shared/data) are not beside this checkout");
    }
    let pairs = lines(path);
    assert_eq!(pairs.len(), 17);
    for pair in &pairs {
        let found = ratio(text(pair, "old_call"), text(pair, "new_call"), Junk::Automatic);
        let logged = pair["similarity"].as_f64().expect("a number");
        assert_eq!(format!("{found:.3}"), format!("{logged:.3}"), "block {}", pair["block"]);
        let strategy = if found < 0.5 { "Replace reasoning+tool call" } else { "Replace tool call only" };
        assert_eq!(strategy, text(pair, "strategy"), "block {}", pair["block"]);
    }
}

// --- the reference's loop --------------------------------------------------------------------------------------------

/// What a policy samples next.
#[derive(Clone, Debug, PartialEq)]
enum Turn {
    Asked(String),
    Talk(String),
    /// Its one call's arguments and what the tool returned; nothing where sampling was cut off.
    Attempt {
        thought: String,
        arguments: String,
        result: Option<&'static str>,
    },
}

const RESULTS: [&str; 6] =
    ["Tool call success: 3", "", "SyntaxError: invalid syntax", "worker_timeout", "42", "KeyError: 'Tool call'"];

fn turn() -> impl Strategy<Value = Turn> {
    // Long calls of other letters are unlike, so that repairs are deep; long ones have letters that are junk to difflib.
    let arguments = ("[p-s]", 0..260usize, "[a-e]{0,40}").prop_map(|(letter, n, rest)| letter.repeat(n) + &rest);
    let attempt = ("[a-c \n]{0,6}", arguments, proptest::option::weighted(0.97, 0..RESULTS.len() + 3));
    prop_oneof![
        1 => "[a-c]{1,6}".prop_map(Turn::Asked),
        1 => "[a-c]{1,6}".prop_map(Turn::Talk),
        16 => attempt.prop_map(|(thought, code, result)| Turn::Attempt {
            thought,
            arguments: serde_json::json!({ "code": code }).to_string(),
            // Half of them succeed.
            result: result.map(|k| RESULTS.get(k).copied().unwrap_or(RESULTS[0])),
        }),
    ]
}

fn has_failed(turn: &Turn) -> bool {
    let is_error = |text: &str| !text.is_empty() && !text.contains("Tool call success");
    matches!(turn, Turn::Attempt { result: Some(text), .. } if is_error(text))
}

/// The retry takes the place of the call; its reasoning is kept where the calls are unlike, else that of the first.
fn overwritten(old: Turn, retry: &Turn) -> Turn {
    let segment = |arguments: &str| {
        format!("<tool_call>\n{{\"name\": \"code_interpreter\", \"arguments\": {arguments}}}\n</tool_call><|im_end|>")
    };
    match (old, retry) {
        (Turn::Attempt { thought, arguments: old, .. }, Turn::Attempt { thought: new_thought, arguments, result }) => {
            let is_alike = ratio(&segment(&old), &segment(arguments), Junk::Automatic) >= 0.5;
            let thought = if is_alike { thought } else { new_thought.clone() };
            Turn::Attempt { thought, arguments: arguments.clone(), result: *result }
        }
        (old, _) => old,
    }
}

/// The loop of the reference: what fails is rolled back and sampled again, three times at most, until once it did not help or
/// thirty attempts were made.
fn sampled(turns: &[Turn]) -> Vec<Turn> {
    let (mut context, mut next, mut attempts, mut rolls_back) = (Vec::new(), turns.iter().peekable(), 0, true);
    while let Some(turn) = next.next() {
        let mut kept = turn.clone();
        if rolls_back && attempts < 30 && has_failed(turn) {
            let mut retries = 0;
            while has_failed(&kept) {
                let is_answered = |turn: &&Turn| matches!(turn, Turn::Attempt { result: Some(_), .. });
                match (retries < 3).then(|| next.next_if(is_answered)).flatten() {
                    Some(retry) => kept = overwritten(kept, retry),
                    None => {
                        rolls_back = false;
                        break;
                    }
                }
                (retries, attempts) = (retries + 1, attempts + 1);
            }
        }
        attempts += usize::from(matches!(turn, Turn::Attempt { .. }));
        context.push(kept);
    }
    context
}

fn message<'a>(role: Role, content: &'a str, calls: Vec<ToolCall<'a>>) -> Message<'a> {
    Message { role, content: Some(content), reasoning: None, call_id: None, is_error: None, is_context: false, calls }
}

fn messages(turns: &[Turn]) -> Vec<Message<'_>> {
    turns.iter().flat_map(messages_of).collect()
}

fn messages_of(turn: &Turn) -> Vec<Message<'_>> {
    match turn {
        Turn::Asked(text) => vec![message(Role::User, text, Vec::new())],
        Turn::Talk(text) => vec![message(Role::Assistant, text, Vec::new())],
        Turn::Attempt { thought, arguments, result } => {
            let call = ToolCall { id: None, name: "code_interpreter", arguments };
            let result = result.map(|text| message(Role::Tool, text, Vec::new()));
            std::iter::once(message(Role::Assistant, thought, vec![call])).chain(result).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn open_cleaner_gives_what_the_reference_would_have_sampled(turns in proptest::collection::vec(turn(), 0..48)) {
        let raw = Rollout { id: Cow::Borrowed("r"), group: None, tokens: None, messages: messages(&turns) };
        let purifier = Purifier::new(Options::of_profile(Profile::OpenCleaner)).expect("settings are sound");
        let purified = purifier.purify(&raw, None).expect("the rollout can be read");
        let found: Vec<Message<'_>> = match &purified.rollout {
            None => raw.messages.clone(),
            Some(rollout) => rollout.messages().iter().map(|source| source.of(&raw)).collect(),
        };
        let wanted = sampled(&turns);
        prop_assert_eq!(format!("{found:#?}"), format!("{:#?}", messages(&wanted)));
    }
}
