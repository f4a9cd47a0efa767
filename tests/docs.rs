//! README and docs, as a reader uses them: their links lead somewhere, their commands run, and pages that comments cite exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

fn named(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn docs() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("docs")).expect("docs/");
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    pages.retain(|path| path.extension().is_some_and(|end| end == "md"));
    pages.sort();
    pages
}

fn all_pages() -> Vec<PathBuf> {
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].iter().map(|name| root().join(name)).chain(docs()).collect()
}

/// The lines of a page, each with its number and the language of the fence that it stands in.
fn lines(text: &str) -> Vec<(usize, Option<&str>, &str)> {
    let mut fence = None;
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            (None, _) => out.push((index + 1, fence, line)),
        }
    }
    out
}

/// The anchors of a page, as GitHub and mdBook make them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = lines(text).into_iter().filter(|(_, fence, line)| fence.is_none() && line.starts_with('#'));
    headings
        .map(|(_, _, line)| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn readme_is_read_in_one_go() {
    let bytes = read(&root().join("README.md")).len();
    assert!(bytes <= 6144, "README.md has {bytes} bytes, expected at most 6144: move details into docs/");
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    let code = Regex::new("`[^`]*`").expect("a pattern");
    let mut broken = Vec::new();
    for page in all_pages() {
        for (number, _, line) in lines(&read(&page)).into_iter().filter(|(_, fence, _)| fence.is_none()) {
            let line = code.replace_all(line, "");
            for found in link.captures_iter(&line) {
                let target = &found[1];
                if target.starts_with("https://") {
                    continue;
                }
                let (file, anchor) = target.split_once('#').map_or((target, None), |(file, at)| (file, Some(at)));
                let file = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
                let leads = file.is_file() && anchor.is_none_or(|anchor| anchors(&read(&file)).contains(anchor));
                if !leads {
                    broken.push(format!("{}:{number}: {target}", named(&page)));
                }
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_page_stands_in_the_summary() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    for page in docs().iter().map(|page| page.file_name().expect("a name").to_string_lossy().into_owned()) {
        assert!(page == "SUMMARY.md" || summary.contains(&format!("({page})")), "docs/SUMMARY.md lacks {page}");
    }
}

/// Lists that have to be complete: what may be typed or read is on its page.
#[test]
fn pages_name_every_format_target_counter_and_field() {
    let page = |name: &str| read(&root().join("docs").join(name));
    let assert_named = |page_name: &str, names: Vec<String>| {
        let text = page(page_name);
        let missing: Vec<&String> = names.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "docs/{page_name} lacks {missing:?}");
    };
    let command = purify::cli::command();
    for (id, page_name) in [("format", "formats.md"), ("to", "exports.md")] {
        let arg = command.get_arguments().find(|arg| arg.get_id() == id).unwrap_or_else(|| panic!("--{id}"));
        let values = arg.get_possible_values();
        assert!(!values.is_empty(), "--{id} lists its values");
        let rows = page(page_name);
        for value in values.iter().filter(|value| !value.is_hide_set()) {
            let row = format!("| `{}` |", value.get_name());
            assert!(rows.contains(&row), "docs/{page_name} has no row `{row}`");
        }
    }
    let schema = |name: &str| -> serde_json::Value {
        serde_json::from_str(&read(&root().join("schemas").join(name))).expect("a schema is JSON")
    };
    let counts = schema("counts.json");
    let listed = |key: &str| counts[key].as_array().expect("a list").iter().filter_map(|v| v.as_str());
    let of_group = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    assert_named("data.md", listed("names").chain(listed("by_kind")).map(of_group).collect());
    let columns = schema("columns.json");
    let aliases = columns["recognised"].as_object().expect("names by use").values();
    let aliases = aliases.flat_map(|names| names.as_array().expect("a list")).filter_map(|name| name.as_str());
    assert_named("data.md", aliases.map(str::to_owned).collect());
    let field = Regex::new(r#""(\w+)": "#).expect("a pattern");
    let added = columns["added"]["purification"].as_str().expect("a type");
    assert_named("data.md", field.captures_iter(added).map(|found| found[1].to_owned()).collect());
}

/// The folder in which a page's commands run: what they read is there, under the names that pages use.
#[cfg(unix)]
fn workplace(of: &tempfile::TempDir) -> PathBuf {
    let folder = of.path().to_owned();
    let fixtures = root().join("fixtures");
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(fixtures.join(to), folder.join(name)).expect("a link");
    let copy = |from: &str, to: &str| {
        std::fs::copy(fixtures.join(from), folder.join(to)).expect("a copy");
    };
    link("", "fixtures");
    link("models/tiny-bert", "minilm");
    copy("rollouts/all.parquet", "raw.parquet");
    // A policy that reads the rollouts: a tiny one with their tokenizer, a template and room for all of them.
    std::fs::create_dir(folder.join("policy")).expect("a folder");
    copy("models/tiny-qwen3/model.safetensors", "policy/model.safetensors");
    copy("models/bytes/tokenizer.json", "policy/tokenizer.json");
    copy("models/chat_template.jinja", "policy/chat_template.jinja");
    let config = read(&fixtures.join("models/tiny-qwen3/config.json"));
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("a configuration is JSON");
    config["max_position_embeddings"] = 16_384.into();
    std::fs::write(folder.join("policy/config.json"), config.to_string()).expect("a file");
    std::fs::create_dir(folder.join("runs")).expect("a folder");
    copy("rollouts/two_runs.jsonl", "runs/monday.jsonl");
    copy("rollouts/parallel_calls.jsonl", "runs/tuesday.jsonl");
    std::fs::create_dir(folder.join("bin")).expect("a folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_purify"), folder.join("bin/purify")).expect("a link");
    folder
}

/// What is to be done with one command of a page.
#[cfg(unix)]
enum Use {
    Run(String),
    /// It needs a terminal, or a feature that this build lacks: its arguments alone are checked.
    Parse(String),
    /// A file of the repository.
    Exists(String),
    Cargo(String),
}

#[cfg(unix)]
fn use_of(command: &str, page: &str) -> Use {
    let is_built = match page {
        "docs/embeddings.md" => cfg!(feature = "embed"),
        "docs/trainer.md" => cfg!(feature = "train"),
        _ => true,
    };
    let purify = match command.strip_prefix("cargo run --release -- ") {
        Some(arguments) => format!("purify {arguments}"),
        None => command.to_owned(),
    };
    match purify.split_whitespace().next() {
        Some("purify") if is_built && !purify.starts_with("purify view ") => Use::Run(purify),
        Some("purify") => Use::Parse(purify),
        Some("cargo") => Use::Cargo(purify),
        first => Use::Exists(first.unwrap_or_default().to_owned()),
    }
}

#[cfg(unix)]
fn check(command: &str, page: &str, folder: &Path) -> Result<(), String> {
    const CARGO: &[&str] = &["bench", "build", "clippy", "deny", "doc", "fmt", "install", "test"];
    match use_of(command, page) {
        Use::Run(line) => {
            let path = std::env::var("PATH").unwrap_or_default();
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).current_dir(folder);
            for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PURIFY_")) {
                shell.env_remove(name);
            }
            let done = shell.env("PATH", format!("{}:{path}", folder.join("bin").display())).output();
            let done = done.map_err(|error| error.to_string())?;
            match done.status.success() {
                true => Ok(()),
                false => Err(format!("{}\n{}", done.status, String::from_utf8_lossy(&done.stderr))),
            }
        }
        Use::Parse(line) => {
            let words = line.split_whitespace().map(|word| word.trim_matches('\''));
            purify::cli::command().try_get_matches_from(words).map(drop).map_err(|error| error.to_string())
        }
        Use::Exists(path) if root().join(&path).is_file() => Ok(()),
        Use::Exists(path) => Err(format!("`{path}` is not in the repository")),
        Use::Cargo(line) => match line.split_whitespace().nth(1) {
            Some(command) if CARGO.contains(&command) => Ok(()),
            _ => Err(format!("expected one of cargo's commands {CARGO:?}")),
        },
    }
}

#[cfg(unix)]
#[test]
fn every_command_runs() {
    let mut failed = Vec::new();
    let mut count = 0;
    for page in all_pages() {
        let name = named(&page);
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = workplace(&temporary);
        for (number, _, line) in lines(&read(&page)).into_iter().filter(|(_, fence, _)| *fence == Some("sh")) {
            let line = line.split(" # ").next().unwrap_or_default().trim();
            for command in line.split(" && ").map(str::trim).filter(|command| !command.is_empty()) {
                count += 1;
                if let Err(problem) = check(command, &name, &folder) {
                    failed.push(format!("{name}:{number}: {command}\n{problem}"));
                }
            }
        }
    }
    assert!(count > 20, "{count} commands were found in the docs, expected more than 20");
    assert!(failed.is_empty(), "commands that fail:\n{}", failed.join("\n"));
}

/// Every source file with its text; comments that run over several lines are joined.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|end| ["rs", "py", "sh", "cjs", "js"].iter().any(|e| end == *e)) {
                out.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "scripts"] {
        walk(&root().join(folder), &mut files);
    }
    files.retain(|path| !path.ends_with("tests/docs.rs"));
    let next_line = Regex::new(r"\n[ \t]*(//[/!]?|#)[ \t]*").expect("a pattern");
    let joined = |path: PathBuf| {
        let text = next_line.replace_all(&read(&path), " ").into_owned();
        (path, text)
    };
    files.into_iter().map(joined).collect()
}

#[test]
fn every_page_and_section_that_a_comment_cites_exists() {
    let citation = Regex::new(r#"docs/([a-z_]+\.md)(?:, ("[^"]+"(?:(?:,| and) "[^"]+")*))?"#).expect("a pattern");
    let title = Regex::new(r#""([^"]+)""#).expect("a pattern");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, text) in sources() {
        for found in citation.captures_iter(&text) {
            let page = root().join("docs").join(&found[1]);
            if !page.is_file() {
                wrong.push(format!("{} cites docs/{}, which does not exist", named(&path), &found[1]));
                continue;
            }
            let text = read(&page);
            let titles: BTreeSet<&str> = lines(&text)
                .into_iter()
                .filter(|(_, fence, line)| fence.is_none() && line.starts_with('#'))
                .map(|(_, _, line)| line.trim_start_matches('#').trim())
                .collect();
            for cited in found.get(2).iter().flat_map(|cited| title.captures_iter(cited.as_str())) {
                count += 1;
                if !titles.contains(&cited[1]) {
                    wrong.push(format!("{} cites \"{}\", which docs/{} lacks", named(&path), &cited[1], &found[1]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 0, "comments cite sections of the method");
}
