//! The files of schemas/, and the page of options, equal what the code says. `scripts/regenerate.sh --write` brings them
//! up to date.

use std::path::Path;

/// Compares a generated file with the committed one; writes it where the caller of the test has asked for that.
fn assert_current(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("PURIFY_WRITE_SCHEMAS").is_some() {
        std::fs::write(&path, text).expect("generated files can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(there, text, "{name} is out of date: run scripts/regenerate.sh --write");
}

/// The file of docs/ that a registry stands in, one row of a table for each of its entries.
fn assert_documented(file: &str, entries: &[(&str, &str)]) {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file)).unwrap_or_default();
    for (name, help) in entries {
        let row = format!("| `{name}` | {help} |");
        assert!(text.contains(&row), "docs/{file} lacks the row {row}");
    }
}

#[test]
fn every_form_and_every_target_has_its_row_in_the_documentation() {
    let forms: Vec<(&str, &str)> = purify::ingest::formats::FORMS.iter().map(|form| (form.name, form.help)).collect();
    assert_documented("formats.md", &forms);
    assert_documented("exports.md", &purify::export::targets().collect::<Vec<_>>());
}

#[test]
fn schemas_are_what_the_code_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut known = Vec::new();
    for (name, text) in purify::cli::schemas::all() {
        assert_current(&format!("schemas/{name}"), &text);
        known.push(name.to_owned());
    }
    let mut there: Vec<String> = std::fs::read_dir(&folder)
        .expect("schemas/")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    known.sort();
    assert_eq!(there, known, "schemas/ holds files that nothing generates");
}

#[test]
fn the_page_of_options_is_what_the_help_says() {
    assert_current("docs/options.md", &purify::cli::reference::options());
}
