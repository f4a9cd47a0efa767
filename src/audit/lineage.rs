//! A run as OpenLineage events: plain data in, JSON out.
//!
//! Owns the form (OpenLineage 2-0-2 and its facets). It reads no clock, no file and no random source: the same run gives the
//! same events. Sending them is [`crate::pipeline::emit`]'s work.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const SPEC: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACETS: &str = "https://openlineage.io/spec/facets";
/// Names the program and its version; it has no address of its own.
const PRODUCER: &str = concat!("urn:purify:", env!("CARGO_PKG_VERSION"));
/// Of the facet that is ours: a name, the fields are the counters of the run.
const COUNTS_SCHEMA: &str = concat!("urn:purify:", env!("CARGO_PKG_VERSION"), ":schemas/counts.json");
/// How OpenLineage calls files of this machine.
const NAMESPACE: &str = "file";

/// A run of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub job_name: String,
    pub job_namespace: String,
    /// As [`run_id`] makes it.
    pub run_id: String,
    /// Milliseconds since 1970 in UTC.
    pub started: u64,
    pub inputs: Vec<Dataset>,
    pub outputs: Vec<Dataset>,
}

/// A file that was read or written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// In full, from the root.
    pub path: String,
    /// Such as `parquet` or `jsonl`.
    pub format: String,
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
    pub blake3: Option<String>,
    pub fields: Vec<Field>,
    /// Of an output: where its columns come from.
    pub origins: Vec<ColumnOrigin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub data_type: String,
}

/// Where a column comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnOrigin {
    pub column: String,
    /// Path of an input, and its column.
    pub inputs: Vec<(String, String)>,
    pub transformation: Transformation,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Transformation {
    /// The values are those of the input.
    Identity,
    /// They were made of it, as the text says.
    Changed(String),
    /// They tell of it and hold nothing of it, as the text says.
    Derived(String),
}

/// How a run has ended, at that many milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    Complete {
        ended: u64,
        counts: Map<String, Value>,
    },
    Fail {
        ended: u64,
        message: String,
    },
    /// It was told to stop.
    Abort {
        ended: u64,
    },
}

/// The first event of a run.
pub fn start_event(run: &Run) -> Value {
    event(run, "START", run.started, Map::new())
}

/// The last event of a run.
pub fn end_event(run: &Run, end: &End) -> Value {
    let mut facets = Map::new();
    match end {
        End::Complete { ended, counts } => {
            let mut counts = without_nulls(counts);
            counts.insert("_producer".to_owned(), json!(PRODUCER));
            counts.insert("_schemaURL".to_owned(), json!(COUNTS_SCHEMA));
            facets.insert("purify_counts".to_owned(), Value::Object(counts));
            event(run, "COMPLETE", *ended, facets)
        }
        End::Fail { ended, message } => {
            let error = json!({ "message": message, "programmingLanguage": "Rust" });
            facets.insert("errorMessage".to_owned(), facet("1-0-1/ErrorMessageRunFacet", error));
            event(run, "FAIL", *ended, facets)
        }
        End::Abort { ended } => event(run, "ABORT", *ended, facets),
    }
}

/// OpenLineage leaves out what is not known.
fn without_nulls(counts: &Map<String, Value>) -> Map<String, Value> {
    let kept = |(name, value): (&String, &Value)| match value {
        Value::Null => None,
        Value::Object(fields) => Some((name.clone(), Value::Object(without_nulls(fields)))),
        other => Some((name.clone(), other.clone())),
    };
    counts.iter().filter_map(kept).collect()
}

fn event(run: &Run, kind: &str, at: u64, mut facets: Map<String, Value>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let engine = json!({ "version": version, "name": "purify", "openlineageAdapterVersion": version });
    facets.insert("processing_engine".to_owned(), facet("1-1-1/ProcessingEngineRunFacet", engine));
    let job_type = json!({ "processingType": "BATCH", "integration": "PURIFY", "jobType": "JOB" });
    json!({
        "eventType": kind,
        "eventTime": timestamp(at),
        "producer": PRODUCER,
        "schemaURL": SPEC,
        "run": { "runId": run.run_id, "facets": facets },
        "job": {
            "namespace": run.job_namespace,
            "name": run.job_name,
            "facets": { "jobType": facet("2-0-4/JobTypeJobFacet", job_type) },
        },
        "inputs": run.inputs.iter().map(|input| dataset(input, "inputFacets")).collect::<Vec<_>>(),
        "outputs": run.outputs.iter().map(|output| dataset(output, "outputFacets")).collect::<Vec<_>>(),
    })
}

/// A facet with what every facet must say; `name` is its version and the name of its schema.
fn facet(name: &str, mut fields: Value) -> Value {
    let schema = name.split('/').next_back().unwrap_or_default();
    fields["_producer"] = json!(PRODUCER);
    fields["_schemaURL"] = json!(format!("{FACETS}/{name}.json#/$defs/{schema}"));
    fields
}

fn dataset(data: &Dataset, statistics_of: &str) -> Value {
    let mut facets = BTreeMap::from([
        ("dataSource", facet("1-0-1/DatasourceDatasetFacet", json!({ "name": "file", "uri": file_uri(&data.path) }))),
        ("storage", facet("1-0-1/StorageDatasetFacet", json!({ "storageLayer": "file", "fileFormat": data.format }))),
    ]);
    if !data.fields.is_empty() {
        let fields = data.fields.iter().map(|field| json!({ "name": field.name, "type": field.data_type }));
        let fields = json!({ "fields": fields.collect::<Vec<_>>() });
        facets.insert("schema", facet("1-2-0/SchemaDatasetFacet", fields));
    }
    if let Some(hash) = &data.blake3 {
        let version = json!({ "datasetVersion": format!("blake3:{hash}") });
        facets.insert("version", facet("1-0-1/DatasetVersionDatasetFacet", version));
    }
    if !data.origins.is_empty() {
        facets.insert("columnLineage", facet("1-2-0/ColumnLineageDatasetFacet", column_lineage(&data.origins)));
    }
    let mut out = json!({ "namespace": NAMESPACE, "name": data.path, "facets": facets });
    if data.rows.is_some() || data.bytes.is_some() {
        let (name, schema) = match statistics_of {
            "inputFacets" => ("inputStatistics", "1-0-0/InputStatisticsInputDatasetFacet"),
            _ => ("outputStatistics", "1-0-2/OutputStatisticsOutputDatasetFacet"),
        };
        let known = [("rowCount", data.rows), ("size", data.bytes), ("fileCount", Some(1))];
        let known: Map<String, Value> =
            known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
        out[statistics_of] = json!({ name: facet(schema, Value::Object(known)) });
    }
    out
}

fn column_lineage(origins: &[ColumnOrigin]) -> Value {
    let column = |origin: &ColumnOrigin| {
        let transformation = match &origin.transformation {
            Transformation::Identity => json!({ "type": "DIRECT", "subtype": "IDENTITY", "masking": false }),
            Transformation::Changed(how) => {
                json!({ "type": "DIRECT", "subtype": "TRANSFORMATION", "description": how, "masking": false })
            }
            Transformation::Derived(how) => {
                json!({ "type": "INDIRECT", "subtype": "CONDITIONAL", "description": how, "masking": false })
            }
        };
        let inputs = origin.inputs.iter().map(|(path, field)| {
            json!({ "namespace": NAMESPACE, "name": path, "field": field, "transformations": [transformation] })
        });
        (origin.column.clone(), json!({ "inputFields": inputs.collect::<Vec<_>>() }))
    };
    json!({ "fields": origins.iter().map(column).collect::<Map<_, _>>() })
}

fn file_uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let escaped = path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") });
    format!("file://{}", escaped.collect::<String>())
}

/// A UUID of version 7: the time, then bits of a hash of what is run, where others take random ones.
pub fn run_id(started: u64, inputs_and_settings: &str) -> String {
    let hash = blake3::hash(format!("{started} {inputs_and_settings}").as_bytes());
    let mut bits = [0; 10];
    bits.copy_from_slice(&hash.as_bytes()[6..16]);
    uuid::Builder::from_unix_timestamp_millis(started, &bits).into_uuid().to_string()
}

/// Milliseconds since 1970 as RFC 3339, in UTC; times beyond the year 9999 as its end.
fn timestamp(millis: u64) -> String {
    let known = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", known.unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let field = |name: &str| Field { name: name.to_owned(), data_type: "Utf8".to_owned() };
        let input = Dataset {
            path: "/data/raw rows.parquet".to_owned(),
            format: "parquet".to_owned(),
            rows: Some(3),
            bytes: Some(400),
            blake3: Some("abc".to_owned()),
            fields: vec![field("id"), field("messages")],
            origins: Vec::new(),
        };
        let from = |column: &str| vec![(input.path.clone(), column.to_owned())];
        let origins = vec![
            ColumnOrigin { column: "id".to_owned(), inputs: from("id"), transformation: Transformation::Identity },
            ColumnOrigin {
                column: "messages".to_owned(),
                inputs: from("messages"),
                transformation: Transformation::Changed("failed attempts are replaced".to_owned()),
            },
        ];
        let output = Dataset { path: "/data/out.parquet".to_owned(), origins, ..input.clone() };
        Run {
            job_name: "purify".to_owned(),
            job_namespace: "team".to_owned(),
            run_id: run_id(1_700_000_000_123, "x"),
            started: 1_700_000_000_123,
            inputs: vec![input],
            outputs: vec![output],
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(millis), text);
        }
    }

    #[test]
    fn run_id_is_a_uuid_of_version_7_that_input_settings_and_time_decide() {
        let id = run_id(1_700_000_000_123, "x");
        assert_eq!(id, run_id(1_700_000_000_123, "x"));
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(id.starts_with("018bcfe5-687b-7") && "89ab".contains(&id[19..20]), "{id}");
        let hash = blake3::hash(b"1700000000123 x").to_hex();
        assert!(id.ends_with(&hash[20..32]), "{id} has the bits of {hash} in their places");
        assert_ne!(id, run_id(1_700_000_000_123, "y"));
        assert_ne!(id, run_id(1_700_000_000_124, "x"));
    }

    #[test]
    fn events_name_job_run_and_files_with_their_columns() {
        let run = run();
        let (start, end) = (start_event(&run), End::Complete { ended: run.started + 1500, counts: Map::new() });
        let end = end_event(&run, &end);
        assert_eq!((&start["eventType"], &end["eventType"]), (&json!("START"), &json!("COMPLETE")));
        assert_eq!(start["run"]["runId"], end["run"]["runId"]);
        assert_eq!(end["eventTime"], "2023-11-14T22:13:21.623Z");
        assert_eq!(end["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"], 3);
        assert_eq!(end["inputs"][0]["facets"]["dataSource"]["uri"], "file:///data/raw%20rows.parquet");
        let output = &end["outputs"][0];
        assert_eq!(output["outputFacets"]["outputStatistics"]["size"], 400);
        assert_eq!(output["facets"]["schema"]["fields"][1], json!({ "name": "messages", "type": "Utf8" }));
        let lineage = &output["facets"]["columnLineage"]["fields"];
        assert_eq!(lineage["id"]["inputFields"][0]["transformations"][0]["subtype"], "IDENTITY");
        let messages = &lineage["messages"]["inputFields"][0];
        assert_eq!((&messages["name"], &messages["field"]), (&json!("/data/raw rows.parquet"), &json!("messages")));
        assert_eq!(messages["transformations"][0]["description"], "failed attempts are replaced");
    }

    #[test]
    fn every_facet_says_who_made_it_and_what_its_form_is() {
        fn check(facets: &Value) {
            for (name, facet) in facets.as_object().expect("facets") {
                assert!(facet["_producer"].is_string() && facet["_schemaURL"].is_string(), "{name}");
            }
        }
        let run = run();
        for end in [
            End::Complete {
                ended: 1,
                counts: Map::from_iter(
                    [("repairs", json!(2)), ("tokens", json!(null))].map(|(n, v)| (n.to_owned(), v)),
                ),
            },
            End::Fail { ended: 1, message: "no space".to_owned() },
            End::Abort { ended: 1 },
        ] {
            let event = end_event(&run, &end);
            check(&event["run"]["facets"]);
            check(&event["job"]["facets"]);
            for (side, own) in [("inputs", "inputFacets"), ("outputs", "outputFacets")] {
                check(&event[side][0]["facets"]);
                check(&event[side][0][own]);
            }
            match end {
                End::Complete { .. } => {
                    let counts = event["run"]["facets"]["purify_counts"].as_object().expect("counts");
                    assert!(counts["repairs"] == 2 && !counts.contains_key("tokens"));
                }
                End::Fail { .. } => assert_eq!(event["run"]["facets"]["errorMessage"]["message"], "no space"),
                End::Abort { .. } => assert_eq!(event["eventType"], "ABORT"),
            }
        }
    }
}
