//! Column names, their aliases and types: the one mapping that reading and writing share (docs/data.md).
//!
//! Owns what a column is called and what type it may have. Reading values is [`crate::ingest`]'s work, building
//! columns [`crate::write`]'s.

pub mod vectors;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Metadata, Schema, SchemaRef};
use serde_json::{Map, Value, json};

use crate::options::ColumnConfig;
pub use crate::record::PURIFICATION;
use crate::record::{self, LiftError};
use crate::types::described;
pub use crate::types::{is_text, list_item};

pub const REJECT_REASON: &str = "reject_reason";
/// Field of a message that holds, as JSON, what it was made of and no other field says.
pub const OTHER_FIELDS: &str = "other_fields";
pub const LOSS: &str = "loss";
/// What a rollout earned beside its group: float64.
pub const ADVANTAGE: &str = "advantage";
/// The same by response token: a list of float32.
pub const TOKEN_ADVANTAGES: &str = "token_advantages";
/// Metadata of a field under which its use stands, where its name doesn't tell.
const USE: &str = "purify.use";
/// File metadata under which `datasets` keeps its description of the features.
const HUGGINGFACE: &str = "huggingface";

const ID: &[&str] = &["rollout_id", "trajectory_id", "sample_id", "conversation_id", "traj_id", "id"];
const GROUP: &[&str] = &["group_id", "prompt_id", "task_id", "instance_id", "uid", "problem_id", "question_id"];
pub const MESSAGES: &[&str] = &["messages", "conversations", "conversation", "chat"];
pub const REWARD: &[&str] = &["reward", "score"];
const TOOLS: &[&str] = &["tools"];
const RESPONSE_IDS: &[&str] = &["response_ids"];
const RESPONSE_MASK: &[&str] = &["response_mask"];
const RESPONSE_LOGPROBS: &[&str] = &["response_logprobs", "rollout_log_probs", "response_log_probs"];
const PROMPT_IDS: &[&str] = &["prompt_ids"];
/// Preference data: as tokens, or as messages.
const PREFERENCE: [([&str; 3], bool); 2] =
    [(["prompt_ids", "chosen_ids", "rejected_ids"], true), (["prompt", "chosen", "rejected"], false)];

/// What a column is for, and the names under which it is found without a flag.
pub fn aliases() -> Map<String, Value> {
    let all = [
        ("rollout id", ID),
        ("group", GROUP),
        ("messages", MESSAGES),
        ("reward", REWARD),
        ("tools", TOOLS),
        ("prompt tokens", PROMPT_IDS),
        ("response tokens", RESPONSE_IDS),
        ("response mask", RESPONSE_MASK),
        ("log-probs", RESPONSE_LOGPROBS),
    ];
    all.into_iter().map(|(what, names)| (what.to_owned(), json!(names))).collect()
}

/// What a schema lacks or has in a wrong form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("no column of messages: expected one of `messages`, `conversations`, `conversation` or `chat`, found {}", quoted(.found))]
    NoMessages { found: Vec<String> },
    #[error("no column `{name}`, which {option} names; found {}", quoted(.found))]
    NoSuchColumn { name: String, option: &'static str, found: Vec<String> },
    #[error("column `{column}` has type {found}, expected {expected}")]
    WrongType { column: String, expected: &'static str, found: String },
    #[error("column {0}")]
    Record(#[from] LiftError),
    #[error("column `response_ids` has no `response_mask` beside it, which says what the policy wrote")]
    NoMask,
}

/// Names for people, the first of many.
pub fn quoted(names: &[String]) -> String {
    const MAX: usize = 12;
    let mut shown: Vec<String> = names.iter().take(MAX).map(|n| format!("`{n}`")).collect();
    if names.len() > MAX {
        shown.push(format!("{} more", names.len() - MAX));
    }
    if shown.is_empty() { "no columns".to_owned() } else { shown.join(", ") }
}

/// Indices of the recognised columns of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub id: Option<usize>,
    pub group: Option<usize>,
    /// Absent only where rows are read for training alone.
    pub messages: Option<usize>,
    pub reward: Option<usize>,
    /// A column that is called as rewards are and holds no numbers: it is not read.
    pub unread_reward: Option<usize>,
    pub tools: Option<usize>,
    pub prompt_ids: Option<usize>,
    pub response: Option<ResponseColumns>,
    /// What the rollout earned beside its group, from before any edit: ours, or the data's own.
    pub advantage: Option<usize>,
    /// The same by response token.
    pub token_advantages: Option<usize>,
    /// The column that an earlier run of ours has added.
    pub purification: Option<usize>,
    pub preference: Option<PreferenceColumns>,
}

/// Columns of preference data: as tokens (`*_ids`), or as messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferenceColumns {
    pub prompt: usize,
    pub chosen: usize,
    pub rejected: usize,
    pub are_tokens: bool,
}

/// Token columns: ids and mask come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseColumns {
    pub ids: usize,
    pub mask: usize,
    pub logprobs: Option<usize>,
}

impl Columns {
    /// [`Columns::recognise_any`], where messages there must be.
    pub fn recognise(schema: &Schema, config: &ColumnConfig) -> Result<Self, SchemaError> {
        let columns = Self::recognise_any(schema, config)?;
        match columns.messages {
            Some(_) => Ok(columns),
            None => Err(SchemaError::NoMessages { found: schema.fields().iter().map(|f| f.name().clone()).collect() }),
        }
    }

    /// Finds the columns by flag or by well-known name, and checks their types. Rows may be messages, tokens, or
    /// preference pairs.
    pub fn recognise_any(schema: &Schema, config: &ColumnConfig) -> Result<Self, SchemaError> {
        let names = || schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        let named = |flag: &Option<String>, option: &'static str, known: &[&str]| match flag {
            Some(name) => schema.index_of(name).map(Some).map_err(|_| SchemaError::NoSuchColumn {
                name: name.clone(),
                option,
                found: names(),
            }),
            None => Ok(known.iter().find_map(|name| schema.index_of(name).ok())),
        };
        let known = |names: &[&str]| names.iter().find_map(|name| schema.index_of(name).ok());
        let messages = named(&config.messages_column, "--messages-column", MESSAGES)?;
        messages.map_or(Ok(()), |k| check_messages(schema.field(k)))?;
        let preference = PREFERENCE.iter().find_map(|(names, are_tokens)| {
            let [prompt, chosen, rejected] = names.map(|name| schema.index_of(name).ok());
            let (prompt, chosen, rejected) = (prompt?, chosen?, rejected?);
            Some(PreferenceColumns { prompt, chosen, rejected, are_tokens: *are_tokens })
        });
        let mask = known(RESPONSE_MASK);
        let response = match known(RESPONSE_IDS) {
            Some(_) if config.drops_tokens() => None,
            Some(ids) => Some(ResponseColumns {
                ids,
                mask: mask.ok_or(SchemaError::NoMask)?,
                logprobs: known(RESPONSE_LOGPROBS),
            }),
            None => None,
        };
        if let Some(response) = response {
            check_list(schema.field(response.ids), "list<int32>", DataType::is_integer)?;
            check_list(schema.field(response.mask), "list<int8> or list<bool>", |t| {
                t.is_integer() || *t == DataType::Boolean
            })?;
            if let Some(logprobs) = response.logprobs {
                check_list(schema.field(logprobs), "list<float32>", DataType::is_floating)?;
            }
        }
        let purification = known(&[PURIFICATION]);
        purification.map(|p| record::has_logprobs(schema.field(p).data_type())).transpose()?;
        if messages.is_none() && response.is_none() && preference.is_none() {
            return Err(SchemaError::NoMessages { found: names() });
        }
        let marked = schema.fields().iter().position(|f| f.metadata().get(USE).is_some_and(|is| is == REWARD[0]));
        let reward = match marked.filter(|_| config.reward_column.is_none()) {
            Some(marked) => Some(marked),
            None => named(&config.reward_column, "--reward-column", REWARD)?,
        };
        let holds_numbers = |&k: &usize| schema.field(k).data_type().is_numeric();
        if let Some(k) = reward.filter(|k| config.reward_column.is_some() && !holds_numbers(k)) {
            let (column, found) = (schema.field(k).name().clone(), described(schema.field(k).data_type()));
            return Err(SchemaError::WrongType { column, expected: "numbers, since --reward-column names it", found });
        }
        Ok(Columns {
            id: named(&config.id_column, "--id-column", ID)?,
            group: named(&config.group_column, "--group-column", GROUP)?,
            messages,
            reward: reward.filter(holds_numbers),
            unread_reward: reward.filter(|k| !holds_numbers(k)),
            tools: known(TOOLS).filter(|&t| {
                let found = schema.field(t).data_type();
                is_text(found) || list_item(found).is_some()
            }),
            prompt_ids: known(PROMPT_IDS),
            response,
            advantage: known(&[ADVANTAGE]).filter(|&k| schema.field(k).data_type().is_floating()),
            token_advantages: known(&[TOKEN_ADVANTAGES]).filter(|&k| {
                growing_item(schema.field(k).data_type()).is_some_and(|item| item.data_type().is_floating())
            }),
            purification,
            preference,
        })
    }

    /// (what, column) of everything recognised, for people.
    pub fn described(&self, schema: &Schema) -> Vec<(&'static str, String)> {
        [
            ("rollout id", self.id),
            ("group", self.group),
            ("messages", self.messages),
            ("tools", self.tools),
            ("reward", self.reward),
            ("reward (not read: no numbers)", self.unread_reward),
            ("prompt tokens", self.prompt_ids),
            ("response tokens", self.response.map(|r| r.ids)),
            ("response mask", self.response.map(|r| r.mask)),
            ("log-probs", self.response.and_then(|r| r.logprobs)),
            ("advantage", self.advantage),
            ("token advantages", self.token_advantages),
            ("earlier purification", self.purification),
        ]
        .into_iter()
        .filter_map(|(what, index)| Some((what, schema.field(index?).name().clone())))
        .collect()
    }
}

/// Marks the column that a layout's rewards stand in, where another one has the name that would win. What is written
/// keeps the mark.
pub fn with_reward(schema: Schema, name: Option<&str>) -> Schema {
    let index = |name: &str| schema.index_of(name).ok();
    let Some(at) = name.and_then(index) else { return schema };
    if REWARD.iter().find_map(|name| index(name)) == Some(at) {
        return schema;
    }
    let mark = |(k, field): (usize, &FieldRef)| match k == at {
        true => {
            let mut metadata = field.metadata().clone();
            metadata.insert(USE.to_owned(), REWARD[0].to_owned());
            Arc::new(field.as_ref().clone().with_metadata(metadata))
        }
        false => Arc::clone(field),
    };
    let fields: Vec<FieldRef> = schema.fields().iter().enumerate().map(mark).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The same of lists whose length is their own: a repair changes it.
fn growing_item(data_type: &DataType) -> Option<&FieldRef> {
    list_item(data_type).filter(|_| !matches!(data_type, DataType::FixedSizeList(..)))
}

fn wrong_type(column: impl Into<String>, expected: &'static str, found: &DataType) -> SchemaError {
    SchemaError::WrongType { column: column.into(), expected, found: described(found) }
}

fn check_list(field: &Field, expected: &'static str, is_item: impl Fn(&DataType) -> bool) -> Result<(), SchemaError> {
    match growing_item(field.data_type()) {
        Some(item) if is_item(item.data_type()) => Ok(()),
        _ => Err(wrong_type(field.name(), expected, field.data_type())),
    }
}

fn struct_fields<'s>(field: &'s Field, path: &str, expected: &'static str) -> Result<&'s Fields, SchemaError> {
    match growing_item(field.data_type()).map(|item| item.data_type()) {
        Some(DataType::Struct(fields)) => Ok(fields),
        _ => Err(wrong_type(path, expected, field.data_type())),
    }
}

fn check_text(fields: &Fields, path: &str, name: &str) -> Result<(), SchemaError> {
    match fields.find(name) {
        Some((_, field)) if !is_text(field.data_type()) => {
            Err(wrong_type(format!("{path}.{name}"), "utf8", field.data_type()))
        }
        _ => Ok(()),
    }
}

/// Checks the type of a message column, inner fields included (docs/data.md, "Input columns").
fn check_messages(field: &Field) -> Result<(), SchemaError> {
    let path = field.name();
    let fields = struct_fields(field, path, "list<struct<role, content, …>>")?;
    if fields.find("role").is_none() {
        return Err(wrong_type(path, "list<struct<role, content, …>>", field.data_type()));
    }
    for name in ["role", "content", "reasoning_content"] {
        check_text(fields, path, name)?;
    }
    if let Some((_, flag)) = fields.find("is_error")
        && !matches!(flag.data_type(), DataType::Boolean | DataType::Null)
    {
        return Err(wrong_type(format!("{path}.is_error"), "bool", flag.data_type()));
    }
    let Some((_, calls)) = fields.find("tool_calls") else { return Ok(()) };
    if *calls.data_type() == DataType::Null {
        return Ok(());
    }
    let path = format!("{path}.tool_calls");
    let fields = struct_fields(calls, &path, "list<struct<id, type, function>>")?;
    match fields.find("function").map(|(_, f)| f.data_type()) {
        Some(DataType::Struct(function)) => {
            let path = format!("{path}.function");
            check_text(function, &path, "name")?;
            check_text(function, &path, "arguments")
        }
        Some(other) => Err(wrong_type(format!("{path}.function"), "struct<name, arguments>", other)),
        None => Err(wrong_type(path, "list<struct<id, type, function>>", calls.data_type())),
    }
}

/// How the schema of what is written differs from the one read.
#[derive(Clone, Debug)]
pub struct OutputSchema {
    pub schema: SchemaRef,
    /// Input columns that are written, in order; `purification` comes last and is not among them.
    pub kept: Vec<usize>,
    /// Whether messages gain (or keep) a `loss` flag.
    pub marks_loss: bool,
    /// Whether the column `advantage` comes after those kept.
    pub adds_advantage: bool,
    /// Whether the column `token_advantages` comes after that.
    pub adds_token_advantages: bool,
}

/// What a run changes about the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub drops_tokens: bool,
    pub marks_loss: bool,
    pub adds_advantage: bool,
    pub adds_token_advantages: bool,
}

impl OutputSchema {
    pub fn new(input: &Schema, columns: &Columns, changes: Changes) -> Self {
        let Changes { drops_tokens, marks_loss, adds_advantage, adds_token_advantages } = changes;
        let dropped = |index: usize| {
            let name = input.field(index).name().as_str();
            let token_columns = [RESPONSE_IDS, RESPONSE_MASK, RESPONSE_LOGPROBS, PROMPT_IDS, &[TOKEN_ADVANTAGES]];
            let is_token = token_columns.concat().contains(&name);
            (drops_tokens && is_token) || columns.purification == Some(index)
        };
        let kept: Vec<usize> = (0..input.fields().len()).filter(|&k| !dropped(k)).collect();
        let mut fields: Vec<FieldRef> = kept
            .iter()
            .map(|&k| {
                let field = &input.fields()[k];
                if columns.messages == Some(k) && marks_loss {
                    Arc::new(field.as_ref().clone().with_data_type(with_loss(field.data_type())))
                } else if columns.response.and_then(|r| r.logprobs) == Some(k) {
                    Arc::new(field.as_ref().clone().with_data_type(with_nullable_item(field.data_type())))
                } else {
                    Arc::clone(field)
                }
            })
            .collect();
        // What an earlier run has kept is kept on.
        let earlier = columns.purification.and_then(|k| record::has_logprobs(input.field(k).data_type()).ok());
        if adds_advantage {
            fields.push(Arc::new(Field::new(ADVANTAGE, DataType::Float64, true)));
        }
        if adds_token_advantages {
            let item = Field::new("element", DataType::Float32, true);
            fields.push(Arc::new(Field::new(TOKEN_ADVANTAGES, DataType::List(Arc::new(item)), true)));
        }
        let with_logprobs = columns.response.is_some_and(|r| r.logprobs.is_some()) || earlier == Some(true);
        fields.push(Arc::new(Field::new(PURIFICATION, record::data_type(with_logprobs), true)));
        let metadata = updated_metadata(input.metadata(), &fields);
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        OutputSchema { schema, kept, marks_loss, adds_advantage, adds_token_advantages }
    }
}

/// A schema's metadata, the features description of `datasets` in it brought up to date.
pub fn updated_metadata(metadata: &Metadata, fields: &[FieldRef]) -> Metadata {
    let mut metadata = metadata.clone();
    if let Some(described) = metadata.get(HUGGINGFACE).and_then(|text| updated_features(text, fields)) {
        metadata.insert(HUGGINGFACE.to_owned(), described);
    }
    metadata
}

fn with_item(data_type: &DataType, item: Field) -> DataType {
    let item = Arc::new(item);
    match data_type {
        DataType::LargeList(_) => DataType::LargeList(item),
        DataType::ListView(_) => DataType::ListView(item),
        DataType::LargeListView(_) => DataType::LargeListView(item),
        DataType::FixedSizeList(_, _) => DataType::List(item),
        _ => DataType::List(item),
    }
}

/// The same list type with room for nulls.
pub fn with_nullable_item(data_type: &DataType) -> DataType {
    match list_item(data_type) {
        Some(item) => with_item(data_type, item.as_ref().clone().with_nullable(true)),
        None => data_type.clone(),
    }
}

fn with_loss(data_type: &DataType) -> DataType {
    let Some(item) = list_item(data_type) else { return data_type.clone() };
    let DataType::Struct(fields) = item.data_type() else { return data_type.clone() };
    let mut fields: Vec<FieldRef> = fields.iter().filter(|f| f.name() != LOSS).cloned().collect();
    fields.push(Arc::new(Field::new(LOSS, DataType::Boolean, true)));
    with_item(data_type, item.as_ref().clone().with_data_type(DataType::Struct(Fields::from(fields))))
}

/// The features description of `datasets`, brought up to date: columns that went are gone, new ones described.
fn updated_features(text: &str, fields: &[FieldRef]) -> Option<String> {
    let mut described: Value = serde_json::from_str(text).ok()?;
    let features = described.get_mut("info")?.get_mut("features")?.as_object_mut()?;
    let lists_have_type = text.contains("\"List\"");
    features.retain(|name, _| fields.iter().any(|f| f.name() == name));
    for field in fields {
        let is_new = !features.contains_key(field.name()) || field.name() == PURIFICATION;
        let gained_loss = field.data_type().to_string().contains(LOSS);
        if is_new || gained_loss {
            features.insert(field.name().clone(), feature(field.data_type(), lists_have_type));
        }
    }
    serde_json::to_string(&described).ok()
}

fn feature(data_type: &DataType, lists_have_type: bool) -> Value {
    let value = |dtype: &str| json!({"dtype": dtype, "_type": "Value"});
    if let Some(item) = list_item(data_type) {
        let inner = feature(item.data_type(), lists_have_type);
        return if lists_have_type { json!({"feature": inner, "_type": "List"}) } else { json!([inner]) };
    }
    match data_type {
        DataType::Struct(fields) => Value::Object(
            fields.iter().map(|f| (f.name().clone(), feature(f.data_type(), lists_have_type))).collect::<Map<_, _>>(),
        ),
        DataType::Utf8 | DataType::Utf8View => value("string"),
        DataType::LargeUtf8 => value("large_string"),
        DataType::Boolean => value("bool"),
        DataType::Float32 => value("float32"),
        DataType::Float64 => value("float64"),
        other => value(&other.to_string().to_lowercase()),
    }
}
