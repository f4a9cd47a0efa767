//! Who may import whom, which outside crates stay behind which door, and how long a file may get.
//!
//! Reads the `use crate::` and `crate::` paths of src. The table is the direction of the data: a stage sees what is to
//! its left, `cli` is seen by nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Module, and the modules that it may name.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("options", &[]),
    ("types", &[]),
    ("record", &["options", "types"]),
    ("rollout", &["tokens"]),
    ("tokens", &["rollout"]),
    ("schema", &["options", "record", "rollout", "tokens", "types"]),
    ("device", &["options"]),
    ("embed", &["options", "device"]),
    ("ingest", &["options", "embed", "record", "rewrite", "rollout", "schema", "similarity", "tokens"]),
    ("verdict", &["options", "rollout"]),
    ("steps", &["rollout", "verdict"]),
    ("similarity", &["options", "embed"]),
    ("saar", &["options", "record", "rollout", "similarity", "steps", "tokens", "verdict"]),
    ("intent", &["shell", "similarity"]),
    ("guard", &["options", "intent", "record", "rollout", "saar", "shell", "steps"]),
    ("rewrite", &["options", "record", "rollout", "saar", "steps", "tokens"]),
    ("shell", &[]),
    ("python_json", &[]),
    ("export", &["options", "ingest", "python_json", "rollout", "schema"]),
    ("write", &["options", "embed", "export", "ingest", "record", "rewrite", "rollout", "saar", "schema", "tokens"]),
    ("group", &[]),
    ("judge", &["ingest", "record", "rollout"]),
    ("score", &["options", "ingest", "judge", "policy", "record", "rollout", "write"]),
    ("policy", &["options", "device", "ingest", "python_json", "rollout", "tokens"]),
    ("train", &["options", "group", "ingest", "policy", "rollout", "steps", "verdict"]),
    ("error", &["embed", "ingest", "policy", "score", "train", "verdict", "write"]),
    (
        "pipeline",
        &[
            "options",
            "embed",
            "error",
            "export",
            "guard",
            "ingest",
            "judge",
            "record",
            "rewrite",
            "rollout",
            "saar",
            "schema",
            "similarity",
            "steps",
            "tokens",
            "verdict",
            "write",
        ],
    ),
    (
        "cli",
        &[
            "audit",
            "options",
            "embed",
            "error",
            "ingest",
            "judge",
            "pipeline",
            "record",
            "schema",
            "score",
            "similarity",
            "train",
        ],
    ),
    (
        "audit",
        &[
            "options",
            "error",
            "group",
            "guard",
            "ingest",
            "pipeline",
            "record",
            "rollout",
            "saar",
            "schema",
            "similarity",
            "steps",
            "tokens",
            "verdict",
            "write",
        ],
    ),
    ("main", &[]),
    (
        "lib",
        &[
            "audit",
            "cli",
            "options",
            "device",
            "embed",
            "error",
            "export",
            "group",
            "guard",
            "ingest",
            "intent",
            "judge",
            "pipeline",
            "policy",
            "python_json",
            "record",
            "rewrite",
            "rollout",
            "saar",
            "schema",
            "score",
            "shell",
            "similarity",
            "steps",
            "tokens",
            "train",
            "verdict",
            "types",
            "write",
        ],
    ),
];

/// Text that may only stand in these modules (or files).
const DOORS: &[(&str, &[&str])] = &[
    (
        "arrow::",
        &[
            "ingest",
            "record",
            "schema",
            "types.rs",
            "write",
            "pipeline/export/file.rs",
            "pipeline/part.rs",
            "pipeline/revert.rs",
        ],
    ),
    ("parquet::", &["ingest", "write"]),
    ("clap::", &["cli", "options", "pipeline/mod.rs"]),
    ("println!", &[]),
    ("print!(", &[]),
    (
        "std::fs",
        &["options/rules.rs", "embed", "ingest", "write", "pipeline", "policy", "train/checkpoint.rs", "cli/layers.rs"],
    ),
    (
        "Instant::now",
        &[
            "pipeline/mod.rs",
            "pipeline/embed.rs",
            "score/mod.rs",
            "train/mod.rs",
            "cli/bar.rs",
            "cli/embed.rs",
            "cli/printer.rs",
            "cli/score.rs",
        ],
    ),
    ("tokenizers::", &["embed/folder.rs", "pipeline/tokenizer.rs", "policy"]),
    ("candle_core::", &["device.rs", "embed/candle.rs", "policy", "train"]),
    ("candle_transformers::", &["embed/candle.rs"]),
    ("fastembed::", &["embed/onnx.rs"]),
    ("ort::", &["embed/onnx.rs", "embed/runtime.rs"]),
    ("hf_hub::", &["embed/hub.rs"]),
    ("tree_sitter", &["guard/python.rs"]),
    ("minijinja::", &["policy/chat.rs"]),
    ("rayon::", &["audit/mod.rs", "ingest/jsonl", "pipeline", "policy/ops"]),
    ("ratatui::", &["cli/view"]),
    ("schemars::", &["audit/report.rs", "cli/schemas.rs"]),
    ("ureq::", &["pipeline/emit.rs"]),
    ("unsafe", &["main.rs", "policy/ops/dense.rs"]),
];

const MOST_LINES: usize = 450;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).expect("src is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                out.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    walk(&root, &mut out);
    out.into_iter().map(|(path, text)| (path.strip_prefix(&root).expect("below src").to_owned(), text)).collect()
}

fn module_of(path: &Path) -> String {
    let first = path.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file, without its tests and comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    for (path, text) in sources() {
        let module = module_of(&path);
        let allowed = table.get(module.as_str()).unwrap_or_else(|| panic!("`{module}` is not in the table"));
        for part in code(&text).split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(
                name == module || allowed.contains(&name.as_str()),
                "src/{} imports `crate::{name}`, which `{module}` may not",
                path.display()
            );
        }
    }
}

#[test]
fn outside_crates_stay_behind_their_doors() {
    for (path, text) in sources() {
        let module = module_of(&path);
        for (word, doors) in DOORS {
            let is_door = doors.iter().any(|d| *d == module || path.starts_with(d));
            let uses = code(&text).lines().any(|line| {
                line.match_indices(word)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
            });
            assert!(is_door || !uses, "src/{} uses `{word}`, which belongs into {doors:?}", path.display());
        }
    }
}

#[test]
fn no_file_grows_beyond_what_one_reads_at_a_sitting() {
    for (path, text) in sources() {
        let lines = code(&text).lines().count();
        assert!(lines <= MOST_LINES, "src/{} has {lines} lines of code, expected at most {MOST_LINES}", path.display());
    }
}

#[test]
fn every_file_says_first_what_it_owns() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "src/{} has no opening words", path.display());
    }
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    for (path, text) in sources() {
        for (number, line) in code(&text).lines().enumerate() {
            for word in [".unwrap()", "panic!(", "todo!(", "unimplemented!(", "unreachable!("] {
                assert!(!line.contains(word), "src/{}:{} has `{word}`", path.display(), number + 1);
            }
        }
    }
}

/// Where a value that nobody thought of would become wrong data: each is named, or is an internal error.
const CODECS: &[&str] = &[
    "batch/columns.rs",
    "batch/gather.rs",
    "batch/pairs.rs",
    "batch/provenance.rs",
    "batch/rejects.rs",
    "record",
    "rewrite",
    "write",
];

#[test]
fn codecs_name_every_case() {
    for (path, text) in sources().into_iter().filter(|(path, _)| CODECS.iter().any(|codec| path.starts_with(codec))) {
        for (number, line) in code(&text).lines().enumerate() {
            let arm = line.trim_start();
            assert!(
                !arm.starts_with("_ =>") && !arm.starts_with("_ if "),
                "src/{}: `{arm}` (line {} without comments) hides a case; name it, or make it an internal error",
                path.display(),
                number + 1
            );
        }
    }
}
