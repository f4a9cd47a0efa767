//! Who may import whom, which outside crates stay behind which door, and how long a file may get.
//!
//! Every path of the code is followed to the file that defines its name (`graph`). The table is the direction of the data: a
//! stage sees what is to its left, `cli` is seen by nobody. It is the whole truth: what it allows is used.

mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use graph::{Graph, circles};

/// Module, and the modules whose names it may use.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("decision", &[]),
    ("embedding", &[]),
    ("group", &[]),
    ("lib", &[]),
    ("main", &[]),
    ("options", &[]),
    ("pattern", &[]),
    ("protocol", &[]),
    ("python_json", &[]),
    ("run", &[]),
    ("shell", &[]),
    ("types", &[]),
    ("device", &["options"]),
    ("message", &["protocol"]),
    ("recipe", &["options"]),
    ("record", &["decision", "options", "types"]),
    ("similarity", &["embedding", "options"]),
    ("embed", &["device", "embedding", "options", "run"]),
    ("intent", &["decision", "pattern", "shell", "similarity"]),
    ("schema", &["options", "record", "types"]),
    ("tokens", &["message", "protocol"]),
    ("verdict", &["message", "options", "pattern", "shell"]),
    ("rollout", &["message", "tokens"]),
    ("steps", &["message", "rollout", "verdict"]),
    ("saar", &["decision", "message", "options", "protocol", "record", "similarity", "steps", "tokens", "verdict"]),
    ("guard", &["decision", "intent", "message", "options", "pattern", "record", "saar", "shell", "steps"]),
    ("rewrite", &["decision", "message", "options", "record", "rollout", "saar", "steps", "tokens"]),
    ("batch", &["message", "options", "record", "rewrite", "rollout", "saar", "schema", "tokens", "types"]),
    ("decide", &["decision", "guard", "intent", "message", "options", "rollout", "saar", "steps", "verdict"]),
    ("export", &["batch", "protocol", "python_json", "schema"]),
    ("ingest", &["batch", "embedding", "message", "options", "protocol", "run", "schema", "types"]),
    ("judge", &["batch", "message", "record"]),
    ("rejects", &["batch", "rewrite", "similarity"]),
    (
        "purifier",
        &[
            "batch",
            "decide",
            "decision",
            "group",
            "guard",
            "judge",
            "message",
            "options",
            "protocol",
            "record",
            "rejects",
            "rewrite",
            "rollout",
            "saar",
            "schema",
            "similarity",
            "steps",
            "tokens",
            "verdict",
        ],
    ),
    ("write", &["batch", "embedding", "export", "options", "record", "schema"]),
    ("policy", &["batch", "device", "message", "options", "python_json", "tokens", "write"]),
    ("score", &["batch", "ingest", "judge", "options", "policy", "record", "rollout", "run", "write"]),
    (
        "train",
        &["batch", "group", "ingest", "options", "policy", "rollout", "run", "schema", "steps", "verdict", "write"],
    ),
    ("error", &["embed", "ingest", "policy", "purifier", "run", "score", "train", "verdict", "write"]),
    (
        "pipeline",
        &[
            "batch",
            "embed",
            "embedding",
            "error",
            "export",
            "group",
            "ingest",
            "judge",
            "message",
            "options",
            "purifier",
            "recipe",
            "record",
            "rejects",
            "rollout",
            "run",
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
        "audit",
        &[
            "batch",
            "decision",
            "error",
            "group",
            "guard",
            "ingest",
            "intent",
            "message",
            "options",
            "pipeline",
            "purifier",
            "record",
            "rollout",
            "run",
            "saar",
            "similarity",
            "steps",
            "tokens",
            "write",
        ],
    ),
    (
        "compare",
        &[
            "batch", "error", "ingest", "options", "pipeline", "policy", "recipe", "run", "score", "steps", "train",
            "verdict", "write",
        ],
    ),
    (
        "cli",
        &[
            "audit",
            "compare",
            "decision",
            "embed",
            "error",
            "export",
            "ingest",
            "judge",
            "options",
            "pipeline",
            "purifier",
            "recipe",
            "record",
            "run",
            "schema",
            "score",
            "similarity",
            "train",
        ],
    ),
];

/// Arrow in, Arrow out: what comes after the library's door names nothing of the world.
const PURE: &[&str] = &[
    "batch",
    "decide",
    "decision",
    "embedding",
    "group",
    "guard",
    "intent",
    "judge",
    "message",
    "options",
    "pattern",
    "protocol",
    "purifier",
    "recipe",
    "record",
    "rejects",
    "rewrite",
    "rollout",
    "saar",
    "schema",
    "shell",
    "similarity",
    "steps",
    "tokens",
    "types",
    "verdict",
];
/// What the world is called.
const WORLD: &[&str] = &[
    "clap::",
    "parquet::",
    "rayon::",
    "signal_hook::",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
    "tokio::",
];
/// Where what is typed becomes an option: derived, or read, in builds with a command line alone.
const MIRRORS: &[(&str, &str)] = &[("options", "clap::"), ("options/rules.rs", "std::fs")];

/// Text that may only stand in these modules (or files).
const DOORS: &[(&str, &[&str])] = &[
    (
        "arrow::",
        &[
            "batch",
            "ingest",
            "purifier",
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
    ("clap::", &["cli", "options"]),
    ("println!", &[]),
    ("print!(", &[]),
    (
        "std::fs",
        &["embed", "ingest", "write", "pipeline", "policy", "train/checkpoint.rs", "cli/layers.rs", "options/rules.rs"],
    ),
    (
        "Instant::now",
        &[
            "pipeline/mod.rs",
            "pipeline/embed.rs",
            "score/mod.rs",
            "train/learner.rs",
            "train/mod.rs",
            "cli/progress.rs",
        ],
    ),
    ("tokenizers::", &["embed/folder.rs", "pipeline/tokenizer.rs", "policy"]),
    ("candle_core::", &["device.rs", "embed/candle.rs", "policy", "train"]),
    ("candle_transformers::", &["embed/candle.rs"]),
    ("fastembed::", &["embed/onnx.rs"]),
    ("ort::", &["embed/onnx.rs", "embed/runtime.rs"]),
    ("hf_hub::", &["embed/hub.rs"]),
    ("ruff_python", &["guard/python.rs"]),
    ("minijinja::", &["policy/chat.rs"]),
    ("crossbeam_channel::", &["run"]),
    ("rayon::", &["ingest/jsonl", "policy/ops", "run"]),
    ("ratatui::", &["cli/view"]),
    ("schemars::", &["audit/report.rs", "cli/schemas.rs"]),
    ("ureq::", &["pipeline/emit.rs"]),
    ("unsafe", &["main.rs", "policy/ops/dense.rs"]),
];

const MAX_LINES: usize = 450;

/// Every file of src with its text.
fn sources() -> Vec<(PathBuf, String)> {
    Graph::read().sources.into_iter().map(|source| (source.path, source.text)).collect()
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
    let graph = Graph::read();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, source) in graph.sources.iter().enumerate() {
        let module = module_of(&source.path);
        let allowed = table.get(module.as_str()).unwrap_or_else(|| panic!("`{module}` is not in the table"));
        for used in graph.used_by(file) {
            let name = module_of(&graph.sources[used].path);
            let (path, of) = (source.path.display(), graph.sources[used].path.display());
            assert!(
                name == module || allowed.contains(&name.as_str()),
                "src/{path} uses something of src/{of}, which `{module}` may not"
            );
            found.entry(module.clone()).or_default().insert(name);
        }
    }
    for (module, allowed) in table {
        let used = found.remove(module).unwrap_or_default();
        for name in allowed {
            assert!(used.contains(*name), "`{module}` may use `{name}`, and does not: take it out of the table");
        }
    }
}

#[test]
fn what_stands_behind_the_door_uses_nothing_that_does_not() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    for module in PURE {
        for name in table[module] {
            assert!(PURE.contains(name), "`{module}` is pure and may use `{name}`, which is not");
        }
    }
    for (path, text) in sources() {
        let module = module_of(&path);
        if !PURE.contains(&module.as_str()) {
            continue;
        }
        let is_mirror = |word: &str| MIRRORS.iter().any(|(place, of)| *of == word && path.starts_with(place));
        for word in WORLD.iter().filter(|word| !is_mirror(word)) {
            assert!(!code(&text).contains(word), "src/{} names `{word}`", path.display());
        }
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let graph = Graph::read();
    let edges: Vec<BTreeSet<usize>> = (0..graph.sources.len()).map(|file| graph.used_by(file)).collect();
    let name = |&file: &usize| graph.sources[file].path.to_string_lossy().into_owned();
    let told = |circle: Vec<usize>| {
        let uses = |&file: &usize| {
            let within = edges[file].iter().filter(|used| circle.contains(used));
            within.map(|used| format!("\n  src/{} uses src/{}", name(&file), name(used))).collect::<String>()
        };
        format!("\na circle of files:{}", circle.iter().map(uses).collect::<String>())
    };
    let found: String = circles(&edges).into_iter().map(told).collect();
    assert!(found.is_empty(), "{found}");
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
        assert!(lines <= MAX_LINES, "src/{} has {lines} lines of code, expected at most {MAX_LINES}", path.display());
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
