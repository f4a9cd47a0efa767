//! The files of `schemas/`, made from what the code says: options, columns, counters, the report.
//!
//! Owns their form alone. A test compares them with the committed ones; `scripts/regenerate.sh` writes them.

use serde_json::{Map, Value, json};

use crate::audit::report::AuditReport;
use crate::pipeline::MANIFEST_VERSION;
use crate::pipeline::gate::{MAPS, names};
use crate::purifier::counts::StageCounts;
use crate::record;
use crate::schema;

/// (file name, content) of every generated schema.
pub fn all() -> Vec<(&'static str, String)> {
    let text = |value: Value| serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
    vec![
        ("config.json", text(config())),
        ("columns.json", text(columns())),
        ("counts.json", text(counts())),
        ("audit.json", text(schemars::schema_for!(AuditReport).to_value())),
    ]
}

/// Every option of the main job: what `purify.toml` may hold.
fn config() -> Value {
    let options: Map<String, Value> = super::tree::command()
        .get_arguments()
        .filter_map(|arg| {
            let long = arg.get_long().filter(|l| !matches!(*l, "help" | "version" | "config"))?;
            let defaults: Vec<String> =
                arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
            let values: Vec<Value> = arg
                .get_possible_values()
                .iter()
                .map(|v| json!({"value": v.get_name(), "help": v.get_help().map(ToString::to_string)}))
                .collect();
            let mut option = json!({
                "help": arg.get_help().map(ToString::to_string),
                "environment": arg.get_env().map(|e| e.to_string_lossy().into_owned()),
                "default": defaults.first(),
            });
            if !values.is_empty() {
                option["values"] = Value::Array(values);
            }
            Some((long.to_owned(), option))
        })
        .collect();
    json!({"title": "purify.toml", "options": options})
}

/// Columns that are recognised, and the one that is added.
fn columns() -> Value {
    json!({
        "recognised": schema::aliases(),
        "added": {
            record::PURIFICATION: record::data_type(true).to_string(),
            "rejects": {schema::REJECT_REASON: "Utf8"},
            "mode mask": {format!("messages.{}", schema::LOSS): "Boolean"},
        },
    })
}

/// Counters and rates: the last line on stdout, and what `--fail-if` may name.
fn counts() -> Value {
    json!({
        "manifest_version": MANIFEST_VERSION,
        "names": names(&StageCounts::default().to_json()),
        "by_kind": MAPS,
    })
}
