//! Finds the library of ONNX Runtime, and opens it.
//!
//! Owns the places where it is looked for: `ORT_DYLIB_PATH`, beside the program, the active Python environment. `ort` ends
//! the program where the library is missing or too old; here both are errors.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ort::environment::Environment;

use super::EmbedError;

const VARIABLE: &str = "ORT_DYLIB_PATH";

/// The environment of the process, opened on first use.
pub(super) fn environment() -> Result<Environment, EmbedError> {
    static OPENED: Mutex<Option<Environment>> = Mutex::new(None);
    let mut opened = OPENED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(environment) = opened.as_ref() {
        return Ok(environment.clone());
    }
    let path = find()?;
    let builder = ort::init_from(&path).map_err(|e| EmbedError::NoRuntime { detail: e.to_string() })?;
    let environment = builder
        .with_name("purify")
        // It would write to stderr by itself, control sequences included; what matters comes back as an error as well.
        .with_logger(Arc::new(|_, category, _, place, message| {
            tracing::trace!("ONNX Runtime: {category}, {place}: {}", message.escape_debug());
        }))
        .build()
        .map_err(|e| EmbedError::NoRuntime { detail: format!("`{}`: {e}", path.display()) })?;
    tracing::debug!("ONNX Runtime from {}", path.display());
    Ok(opened.insert(environment).clone())
}

/// Whether a library is found; it may still be one that can't be used.
pub(super) fn is_there() -> bool {
    find().is_ok()
}

fn find() -> Result<PathBuf, EmbedError> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|p| !p.is_empty()).map(PathBuf::from) {
        // `ort` would look for a relative path beside the program first.
        return match std::path::absolute(&path) {
            Ok(path) if path.is_file() => Ok(path),
            _ => Err(EmbedError::NoRuntime { detail: format!("{VARIABLE} names `{}`, no file", path.display()) }),
        };
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    let pythons = python_prefixes();
    let found = beside.iter().find_map(|folder| newest(folder)).or_else(|| {
        pythons.iter().flat_map(|prefix| packages(prefix)).find_map(|p| newest(&p.join("onnxruntime").join("capi")))
    });
    found.ok_or_else(|| {
        let environments = match pythons.as_slice() {
            [] => "no Python environment is active".to_owned(),
            all => {
                let listed: Vec<String> = all.iter().map(|p| format!("`{}`", p.display())).collect();
                format!("and in {} no `onnxruntime` package", listed.join(", "))
            }
        };
        EmbedError::NoRuntime {
            detail: format!("{VARIABLE} is not set, there is no library beside the program, {environments}"),
        }
    })
}

/// Where Python environments have their packages: the active one first.
fn python_prefixes() -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = Vec::new();
    let mut add = |path: PathBuf| {
        if path.is_dir() && !out.contains(&path) {
            out.push(path);
        }
    };
    ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(std::env::var_os).map(PathBuf::from).for_each(&mut add);
    let path = std::env::var_os("PATH").unwrap_or_default();
    for bin in std::env::split_paths(&path).filter(|bin| bin.join("python3").is_file()) {
        bin.parent().map(Path::to_owned).into_iter().for_each(&mut add);
    }
    // Debian's pip installs here for the Python in /usr/bin; `pip install --user` below the home folder.
    add(PathBuf::from("/usr/local"));
    std::env::var_os("HOME").map(|home| Path::new(&home).join(".local")).into_iter().for_each(&mut add);
    out
}

/// `lib/python3.X/site-packages` and its like below a prefix, the newest Python first.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let mut out: Vec<(Vec<u32>, PathBuf)> = Vec::new();
    for lib in ["lib", "lib64"] {
        for entry in std::fs::read_dir(prefix.join(lib)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(version) = name.strip_prefix("python") {
                let packages = ["site-packages", "dist-packages"].map(|p| entry.path().join(p));
                out.extend(packages.into_iter().filter(|p| p.is_dir()).map(|p| (version_of(version), p)));
            }
        }
    }
    out.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    out.into_iter().map(|(_, path)| path).chain([prefix.join("Lib").join("site-packages")]).collect()
}

/// The library in a folder, the newest of several.
fn newest(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let version = |name: &str| -> Option<Vec<u32>> {
        let rest = match name {
            "onnxruntime.dll" => "",
            name => match name.strip_prefix("libonnxruntime.")? {
                "so" | "dylib" => "",
                rest => rest.strip_prefix("so.").or_else(|| rest.strip_suffix(".dylib"))?,
            },
        };
        Some(version_of(rest))
    };
    entries
        .filter_map(|entry| Some((version(&entry.file_name().to_string_lossy())?, entry.path())))
        .filter(|(_, path)| path.is_file())
        .max()
        .map(|(_, path)| path)
}

fn version_of(text: &str) -> Vec<u32> {
    text.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_library_of_a_folder_is_taken_and_providers_are_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(newest(folder.path()), None);
        for name in
            ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.24.4", "libonnxruntime_providers_shared.so", "x.so"]
        {
            std::fs::write(folder.path().join(name), "").expect("it is written");
        }
        assert_eq!(newest(folder.path()), Some(folder.path().join("libonnxruntime.so.1.24.4")));
    }

    #[test]
    fn packages_of_the_newest_python_come_first() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["python3.9", "python3.12", "pkgconfig"] {
            std::fs::create_dir_all(folder.path().join("lib").join(name).join("site-packages")).expect("a folder");
        }
        let found = packages(folder.path());
        assert!(found[0].ends_with("python3.12/site-packages"), "{found:?}");
        assert!(found[1].ends_with("python3.9/site-packages"), "{found:?}");
    }
}
