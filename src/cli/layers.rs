//! Resolves the layers of options: default < profile < recipe < `purify.toml` < `PURIFY_*` < flags.
//!
//! Owns the order alone. A lower layer becomes the default of the argument of that name, so every value is parsed
//! and checked in one place, whatever layer it comes from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::Value;

use crate::error::Error;
use crate::options::{Options, Profile, Recipe};
use crate::recipe;

/// Read from the working folder if it is there.
const FILE: &str = "purify.toml";

pub(super) enum LayerError {
    Clap(clap::Error),
    File(Error),
}

type Defaults = BTreeMap<String, Vec<String>>;

/// Parses the command line with all layers below it.
pub(super) fn resolve(command: Command, args: &[OsString]) -> Result<ArgMatches, LayerError> {
    // A first, lenient look: which file, and which profile so far.
    let file = named_file(args).map_or_else(|| Path::new(FILE).is_file().then(|| PathBuf::from(FILE)), Some);
    let from_file = match &file {
        Some(path) => read(path, &command).map_err(LayerError::File)?,
        None => Defaults::new(),
    };
    let with_file = with_defaults(command.clone(), &from_file);
    let matches = with_file.clone().try_get_matches_from(args).map_err(|e| named_in_file(e, &file, &from_file))?;
    refuse_misplaced(&command, &matches)?;
    let active = matches.subcommand().map_or(&matches, |(_, sub)| sub);
    let profile = active.try_get_one::<Profile>("profile").ok().flatten().copied().unwrap_or_default();
    let mut layered = of_profile(profile);
    if let Some(recipe) = active.try_get_one::<Recipe>("recipe").ok().flatten().copied() {
        refuse_contradictions(&command, active, &from_file, recipe)?;
        layered.extend(of_recipe(recipe));
    }
    if layered.is_empty() {
        return Ok(matches);
    }
    layered.extend(from_file.clone());
    with_defaults(command, &layered).try_get_matches_from(args).map_err(|e| named_in_file(e, &file, &from_file))
}

/// What a profile sets otherwise than the defaults, by argument.
fn of_profile(profile: Profile) -> Defaults {
    let (plain, set) = (by_argument(&Options::default()), by_argument(&Options::of_profile(profile)));
    // The profile itself is what was asked for.
    set.into_iter().filter(|(id, value)| id != "profile" && plain.get(id) != Some(value)).collect()
}

/// What a recipe sets, by argument.
fn of_recipe(recipe: Recipe) -> Defaults {
    recipe::entry(recipe).settings().map(|(id, value)| (id.to_owned(), vec![value.to_owned()])).collect()
}

/// An option that was given otherwise than the recipe sets it would make the recipe something else.
fn refuse_contradictions(
    command: &Command,
    matches: &ArgMatches,
    from_file: &Defaults,
    recipe: Recipe,
) -> Result<(), LayerError> {
    let is_same = |given: &str, set: &str| match (given.parse::<f64>(), set.parse::<f64>()) {
        (Ok(given), Ok(set)) => given == set,
        _ => given.eq_ignore_ascii_case(set),
    };
    for (id, set) in recipe::entry(recipe).settings() {
        let source = matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
        let is_given = matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        let given = match matches.try_get_raw(id) {
            Ok(Some(mut values)) if is_given => values.next().map(|value| value.to_string_lossy().into_owned()),
            _ => from_file.get(id).and_then(|values| values.first().cloned()),
        };
        if let Some(given) = given.filter(|given| !is_same(given, set)) {
            let (long, name) = (id.replace('_', "-"), recipe.name());
            let said = format!(
                "`--{long} {given}` contradicts `--recipe {name}`, which sets it to `{set}`\n\nhint: leave one of the two out\n"
            );
            return Err(LayerError::Clap(command.clone().error(ErrorKind::ArgumentConflict, said)));
        }
    }
    Ok(())
}

/// Options as they would be typed, by argument.
fn by_argument(options: &Options) -> Defaults {
    use serde_json::Value;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let typed = |value: &Value| match value {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Null => Vec::new(),
        other => vec![text(other)],
    };
    let sections = serde_json::to_value(options).unwrap_or_default();
    let sections = sections.as_object().into_iter().flatten().filter_map(|(_, section)| section.as_object());
    sections.flatten().map(|(id, value)| (id.clone(), typed(value))).collect()
}

/// An option of the main job in front of another command would be ignored.
fn refuse_misplaced(command: &Command, matches: &ArgMatches) -> Result<(), LayerError> {
    let Some((name, _)) = matches.subcommand() else { return Ok(()) };
    let is_typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let misplaced = command.get_arguments().find(|arg| !arg.is_global_set() && is_typed(arg.get_id().as_str()));
    let Some(long) = misplaced.and_then(Arg::get_long) else { return Ok(()) };
    let said = format!(
        "`--{long}` in front of `{name}` belongs to the main job\n\nhint: write it after `{name}` if it has such an option\n"
    );
    Err(LayerError::Clap(command.clone().error(ErrorKind::ArgumentConflict, said)))
}

/// The value of `--config`, without parsing the rest.
fn named_file(args: &[OsString]) -> Option<PathBuf> {
    args.iter().enumerate().find_map(|(k, arg)| {
        let text = arg.to_str()?;
        match text.strip_prefix("--config")? {
            "" => args.get(k + 1).map(PathBuf::from),
            rest => rest.strip_prefix('=').map(PathBuf::from),
        }
    })
}

/// A bad value from the file must name the file.
fn named_in_file(error: clap::Error, file: &Option<PathBuf>, defaults: &Defaults) -> LayerError {
    use clap::error::{ContextKind, ContextValue};
    let invalid = match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
        (Some(ContextValue::String(arg)), Some(ContextValue::String(value))) => Some((arg, value)),
        _ => None,
    };
    if let (Some(path), Some((arg, value))) = (file, invalid) {
        let id = arg.trim_start_matches("--").split([' ', '=']).next().unwrap_or_default().replace('-', "_");
        if defaults.get(&id).is_some_and(|values| values.contains(value)) {
            let message = format!("`{}`: `{}` can't be `{value}`", path.display(), id.replace('_', "-"));
            return LayerError::File(Error::usage(message, Some("`purify --help` lists the values")));
        }
    }
    LayerError::Clap(error)
}

fn with_defaults(mut command: Command, defaults: &Defaults) -> Command {
    let ids: Vec<String> = command.get_arguments().map(|a| a.get_id().to_string()).collect();
    for id in ids {
        if let Some(values) = defaults.get(&id) {
            let values = values.clone();
            command = command.mut_arg(id, |arg| arg.default_values(values).required(false));
        }
    }
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |sub| with_defaults(sub, defaults));
    }
    command
}

/// The file's options by argument; a key that is not an option is an error that names the nearest ones.
fn read(path: &Path, command: &Command) -> Result<Defaults, Error> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::usage(format!("`{shown}` can't be read: {e}"), Some("check --config")))?;
    let table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| Error::usage(format!("`{shown}` is not valid TOML: {}", e.message()), None))?;
    let arguments = || command.get_arguments().chain(command.get_subcommands().flat_map(Command::get_arguments));
    let known: Vec<String> = arguments()
        .filter_map(|a| a.get_long().map(str::to_owned))
        .filter(|long| !matches!(long.as_str(), "help" | "version" | "config"))
        .collect();
    let mut out = Defaults::new();
    for (key, value) in table {
        let long = key.replace('_', "-");
        if !known.contains(&long) {
            let near = known.iter().filter(|k| similar_name(k, &long)).map(|k| format!("`{k}`")).collect::<Vec<_>>();
            let hint = match near.is_empty() {
                true => "an option of `purify --help`, without the dashes".to_owned(),
                false => format!("did you mean {}?", near.join(" or ")),
            };
            return Err(Error::usage(format!("`{shown}`: there is no option `{}`", key.escape_debug()), Some(&hint)));
        }
        let id = arguments()
            .find(|a| a.get_long() == Some(long.as_str()))
            .map(|a| a.get_id().to_string())
            .unwrap_or_default();
        let values = values(&value)
            .ok_or_else(|| Error::usage(format!("`{shown}`: `{key}` is a table, expected a value or a list"), None))?;
        out.insert(id, values);
    }
    Ok(out)
}

fn values(value: &Value) -> Option<Vec<String>> {
    Some(match value {
        Value::Array(items) => items.iter().map(values).collect::<Option<Vec<_>>>()?.concat(),
        Value::Table(_) => return None,
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    })
}

fn similar_name(a: &str, b: &str) -> bool {
    crate::similarity::lexical::ratio(a, b, crate::similarity::lexical::Junk::Off) >= 0.7
}
