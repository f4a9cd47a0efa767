//! The files of schemas/ equal what the code says. `scripts/regenerate.sh --write` brings them up to date.

use std::path::Path;

#[test]
fn schemas_are_what_the_code_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut known = Vec::new();
    for (name, text) in purify::cli::schemas::all() {
        if std::env::var_os("PURIFY_WRITE_SCHEMAS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(name), &text).expect("schemas can be written");
        }
        let there = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(there, text, "schemas/{name} is out of date: run scripts/regenerate.sh --write");
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
