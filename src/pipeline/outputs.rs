//! Which files a run writes for which input.
//!
//! Owns names: a file beside the input, or a folder in the layout that `datasets.load_dataset` opens (docs/data.md, "Files beside
//! the data").

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::export::card::TITLE;
use crate::ingest::{Format, MANIFEST};
use crate::options::Shard;
use crate::write::WriteError;

/// Files of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPaths {
    /// The folder that names in records are relative to.
    pub root: PathBuf,
    pub data: PathBuf,
    pub pairs: PathBuf,
    pub rejects: PathBuf,
    /// Marks the part as done until the run is; only in folders.
    pub marker: Option<PathBuf>,
}

/// Files of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    pub parts: Vec<PartPaths>,
    pub manifest: PathBuf,
    /// The data set's card; only in folders.
    pub card: Option<PathBuf>,
}

impl Outputs {
    /// Names all files, and refuses a name that is an input's.
    ///
    /// `read` are files besides the inputs that are read. `report` is written by the same run and must be none of the others
    /// either.
    pub fn plan(
        inputs: &[PathBuf],
        read: &[PathBuf],
        out: Option<&Path>,
        shard: Option<Shard>,
        report: Option<&Path>,
    ) -> Result<Self, Error> {
        let outputs = match out {
            Some(out) if inputs.len() > 1 || names_folder(out) => {
                if out.is_file() {
                    return Err(WriteError::NeedsFolder { path: out.to_owned(), inputs: inputs.len() }.into());
                }
                in_folder(inputs.len(), out, shard)
            }
            Some(out) => {
                refuse_ending(out)?;
                beside(out, shard)
            }
            None => match inputs {
                [input] => beside(&input.with_extension("purified.parquet"), shard),
                _ => {
                    return Err(Error::usage(
                        format!("{} inputs need --out FOLDER", inputs.len()),
                        Some("a single input is written beside itself, several go into a folder"),
                    ));
                }
            },
        };
        let written: Vec<&PathBuf> = outputs
            .parts
            .iter()
            .flat_map(|p| [&p.data, &p.pairs, &p.rejects])
            .chain([&outputs.manifest])
            .chain(&outputs.card)
            .collect();
        for path in written.iter().copied().map(PathBuf::as_path).chain(report) {
            refuse_input(path, inputs)?;
            refuse_input(path, read)?;
        }
        if let Some(report) = report.filter(|r| written.iter().any(|w| place(w) == place(r))) {
            return Err(Error::usage(
                format!("--report `{}` is an output of the same run", report.display()),
                Some("give the report another name"),
            ));
        }
        Ok(outputs)
    }
}

/// Files of a run over other inputs would be read as part of this one.
pub(super) fn refuse_others(root: &Path, total: usize) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(root.join("data")) else { return Ok(()) };
    let is_other = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of = name.strip_prefix("train-").and_then(|n| n.strip_suffix(".parquet")?.split_once("-of-"));
        of.is_some_and(|(_, of)| of.parse() != Ok(total))
    };
    let mut others: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_other).collect();
    others.sort();
    match others.into_iter().next() {
        Some(path) => Err(WriteError::OtherRun { path, total }.into()),
        None => Ok(()),
    }
}

/// A README that is not purify's is somebody's work.
pub(super) fn refuse_foreign_card(card: &Path) -> Result<(), Error> {
    match std::fs::read_to_string(card) {
        Ok(text) if !text.contains(TITLE) => Err(WriteError::Foreign { path: card.to_owned() }.into()),
        _ => Ok(()),
    }
}

/// An input is never changed, under whatever name it is given.
pub fn refuse_input(path: &Path, inputs: &[PathBuf]) -> Result<(), Error> {
    match inputs.iter().any(|input| place(input) == place(path)) {
        true => Err(WriteError::IsInput { path: path.to_owned() }.into()),
        false => Ok(()),
    }
}

/// Under another ending Parquet would be read as something else.
pub fn refuse_ending(out: &Path) -> Result<(), Error> {
    match Format::of(out) {
        Some(Format::Parquet) => Ok(()),
        _ => Err(Error::usage(
            format!("--out `{}` does not end in .parquet, and Parquet is what is written", out.display()),
            Some("give the file that ending, or a folder a `/` at its end; `purify export` writes JSON lines"),
        )),
    }
}

/// The file that a path leads to once its folders are there: `new/../a` is `a` even before `new` is made.
pub fn place(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
        // Links are followed as soon as they can be.
        out = out.canonicalize().unwrap_or(out);
    }
    out
}

fn names_folder(path: &Path) -> bool {
    let ends_with_separator = path.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
    path.is_dir() || ends_with_separator || (path.extension().is_none() && !path.is_file())
}

fn beside(data: &Path, shard: Option<Shard>) -> Outputs {
    let stem = data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let stem = match shard {
        Some(Shard { index, of }) => format!("{stem}-{:05}-of-{of:05}", index - 1),
        None => stem,
    };
    let named = |suffix: &str| data.with_file_name(format!("{stem}{suffix}"));
    Outputs {
        parts: vec![PartPaths {
            root: data.parent().unwrap_or(Path::new("")).to_owned(),
            data: if shard.is_some() { named(".parquet") } else { data.to_owned() },
            pairs: named(".pairs.parquet"),
            rejects: named(".rejects.parquet"),
            marker: None,
        }],
        manifest: named(".manifest.json"),
        card: None,
    }
}

fn in_folder(inputs: usize, folder: &Path, shard: Option<Shard>) -> Outputs {
    let (index, of) = shard.map_or((0, 1), |s| (s.index as usize - 1, s.of as usize));
    let total = inputs * of;
    let parts = (0..inputs).map(|input| {
        let name = format!("{:05}-of-{total:05}", input * of + index);
        let side = |what: &str| match total {
            1 => folder.join(format!("{what}.parquet")),
            _ => folder.join(what).join(format!("train-{name}.parquet")),
        };
        PartPaths {
            root: folder.to_owned(),
            data: folder.join("data").join(format!("train-{name}.parquet")),
            pairs: side("pairs"),
            rejects: side("rejects"),
            marker: Some(folder.join(".purify").join(format!("train-{name}.json"))),
        }
    });
    let manifest = match shard {
        Some(_) => folder.join(format!("manifest-{index:05}-of-{of:05}.json")),
        None => folder.join(MANIFEST),
    };
    Outputs { parts: parts.collect(), manifest, card: Some(folder.join("README.md")) }
}
