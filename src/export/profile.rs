//! What an export profile is: its name, what it is made of, its columns and the rows that fill them.
//!
//! Owns the types that an entry of [`super::PROFILES`] is made of, and what every profile checks of a rollout or a pair.

use serde_json::Value;

use super::cells::{AT_LEAST_ONE, Call, Cell, Cells, ExportError, Kind, Message, calls, is_assistant, is_untrained};
use super::json;
use crate::batch::sample::{Preference, PreferenceText, Sample};
use crate::schema::ADVANTAGE;

/// Name and type of a column.
pub type Column = (&'static str, Kind);

/// Rows without their names, or why there are none.
pub(super) type Made = Result<Vec<Cells>, ExportError>;

/// A kind of file that one trainer reads.
pub struct Profile {
    /// As `--to` takes it.
    pub name: &'static str,
    /// Who reads it, and what it holds: a line of help.
    pub help: &'static str,
    pub container: Container,
    pub made_of: MadeOf,
    /// Its configuration in a data set folder; `None`: it has none there.
    pub configuration: Option<&'static str>,
    /// What stands before its own columns.
    pub(super) names: Names,
    pub(super) columns: fn(Facts) -> &'static [Column],
    /// Whether its rows are made of token columns, under these facts; others are made of messages, which must be sound.
    pub(super) is_of_tokens: fn(Facts) -> bool,
    /// Whether a call without arguments can't be said in it.
    pub(super) needs_arguments: bool,
    /// The rows that a rollout gives, each without its names.
    pub(super) of_rollout: Option<fn(&Rollout<'_>) -> Made>,
    /// The rows that a preference pair gives, each without its name.
    pub(super) of_pair: Option<fn(&Pair<'_>) -> Made>,
}

impl Profile {
    /// One JSON object a line for each rollout, in the words of a chat API.
    pub(super) const fn lines(name: &'static str, help: &'static str, line: fn(&Rollout<'_>) -> Made) -> Self {
        Profile {
            name,
            help,
            container: Container::Lines,
            made_of: MadeOf::Rollouts,
            configuration: None,
            names: Names::Nothing,
            columns: |_| &[("line", Kind::Text)],
            is_of_tokens: |_| false,
            needs_arguments: true,
            of_rollout: Some(line),
            of_pair: None,
        }
    }
}

/// What a file is, by its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Parquet,
    /// Rows have one cell: a line of JSON.
    Lines,
}

impl Container {
    pub fn extension(self) -> &'static str {
        match self {
            Container::Parquet => "parquet",
            Container::Lines => "jsonl",
        }
    }
}

/// What the rows of a profile come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeOf {
    Rollouts,
    Pairs,
}

impl MadeOf {
    pub fn needs_pairs(self) -> bool {
        self == MadeOf::Pairs
    }
}

/// The names that stand before a profile's own columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Nothing,
    Id,
    /// Name, group, reward, and the advantage where there are any.
    Rollout,
}

impl Names {
    fn columns(self, facts: Facts) -> &'static [Column] {
        let all = &[
            ("rollout_id", Kind::Text),
            ("group_id", Kind::Text),
            ("reward", Kind::Number),
            (ADVANTAGE, Kind::Number),
        ];
        match self {
            Names::Nothing => &[],
            Names::Id => &all[..1],
            Names::Rollout if facts.has_advantage => all,
            Names::Rollout => &all[..3],
        }
    }

    /// What stands in them.
    fn of(self, sample: &Sample, facts: Facts) -> Cells {
        // A name that is made of a file's would be another one in the next file.
        let id = || Cell::text(Some(sample.id.as_str()).filter(|_| !sample.is_unnamed));
        match self {
            Names::Nothing => Vec::new(),
            Names::Id => vec![id()],
            Names::Rollout => {
                let advantage = facts.has_advantage.then(|| Cell::number(sample.advantage));
                let names = [id(), Cell::text(sample.group.as_deref()), Cell::number(sample.reward)];
                names.into_iter().chain(advantage).collect()
            }
        }
    }
}

/// What the sources of an export have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Prompt and response tokens in all rollouts.
    pub as_tokens: bool,
    /// Log-probs of a reference policy in all pairs.
    pub has_reference: bool,
    /// Advantages in some rollouts, of the whole and by token.
    pub has_advantage: bool,
    pub has_token_advantages: bool,
}

/// What one file of an export holds: a profile under the facts of its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub profile: &'static Profile,
    pub facts: Facts,
}

impl Target {
    /// Names and types, in order.
    pub fn columns(self) -> Vec<Column> {
        self.profile.names.columns(self.facts).iter().chain((self.profile.columns)(self.facts)).copied().collect()
    }

    /// Whether rollouts are read by their messages.
    pub fn reads_messages(self) -> bool {
        !(self.profile.is_of_tokens)(self.facts)
    }

    /// The rows that a rollout gives; none in the profiles that are made of pairs.
    ///
    /// # Errors
    /// If the profile can't hold it.
    pub fn of_rollout(self, sample: &Sample) -> Result<Vec<Cells>, ExportError> {
        let Some(rows) = self.profile.of_rollout else { return Ok(Vec::new()) };
        let names = self.profile.names.of(sample, self.facts);
        let own = rows(&Rollout { sample, target: self })?;
        Ok(own.into_iter().map(|own| names.iter().cloned().chain(own).collect()).collect())
    }

    /// The rows that a preference pair gives; none in the profiles that are made of rollouts.
    ///
    /// # Errors
    /// If the profile can't hold it.
    pub fn of_pair(self, pair: &Preference) -> Result<Vec<Cells>, ExportError> {
        let Some(rows) = self.profile.of_pair else { return Ok(Vec::new()) };
        let own = rows(&Pair::new(self, pair)?)?;
        Ok(own.into_iter().map(|own| [Cell::Text(pair.id.clone())].into_iter().chain(own).collect()).collect())
    }

    /// A call without a name is none anywhere. Without arguments it is one for templates, which write null.
    fn check_calls(self, messages: &[Message], place: impl Fn(usize) -> String) -> Result<(), ExportError> {
        for (k, call) in messages.iter().enumerate().flat_map(|(k, m)| calls(m).map(move |call| (k, call))) {
            let part = match call {
                Call { name: "", .. } => "name",
                Call { arguments: None, .. } if self.profile.needs_arguments => "arguments",
                Call { .. } => continue,
            };
            return Err(ExportError::IncompleteCall { place: place(k), part, form: self.profile.name });
        }
        Ok(())
    }
}

/// A rollout that is exported.
pub(super) struct Rollout<'s> {
    pub(super) sample: &'s Sample,
    pub(super) target: Target,
}

impl Rollout<'_> {
    /// Its messages, at least one, each of whose calls is whole.
    pub(super) fn messages(&self) -> Result<Vec<Message>, ExportError> {
        let messages = self.sample.messages.as_ref();
        let messages = messages.ok_or(ExportError::NoMessages { form: self.target.profile.name })?;
        if messages.is_empty() {
            // Trainers look at the first message to see what the others are.
            return Err(ExportError::Empty { part: "messages", expected: AT_LEAST_ONE });
        }
        let messages = objects(messages);
        self.target.check_calls(&messages, |k| format!("message {k}"))?;
        Ok(messages)
    }

    /// The messages, all of whose assistant's are to be trained on.
    pub(super) fn trained(&self) -> Result<Vec<Message>, ExportError> {
        let messages = self.messages()?;
        match messages.iter().position(|m| is_assistant(m) && is_untrained(m)) {
            Some(message) => Err(ExportError::Untrained { message, form: self.target.profile.name }),
            None => Ok(messages),
        }
    }

    pub(super) fn tools(&self) -> Result<Vec<String>, ExportError> {
        json::tools(self.sample.tools.as_ref())
    }
}

/// A preference pair that is exported: both sides are to be trained on, and their calls are whole.
pub(super) struct Pair<'p> {
    /// Prompt, chosen, rejected.
    pub(super) parts: [Vec<Message>; 3],
    pub(super) tools: Vec<String>,
    pub(super) reference_logps: &'p [Option<f64>; 2],
    pub(super) facts: Facts,
}

impl<'p> Pair<'p> {
    fn new(target: Target, pair: &'p Preference) -> Result<Self, ExportError> {
        let form = target.profile.name;
        let PreferenceText::Messages(parts) = &pair.parts else { return Err(ExportError::NoMessages { form }) };
        let parts = parts.each_ref().map(|part| objects(part));
        let [_, chosen, rejected] = &parts;
        for (part, messages) in [("chosen", chosen), ("rejected", rejected)] {
            if messages.iter().any(is_untrained) {
                return Err(ExportError::UntrainedSide { part, form });
            }
        }
        for (part, messages) in ["prompt", "chosen", "rejected"].iter().zip(&parts) {
            target.check_calls(messages, |k| format!("message {k} of `{part}`"))?;
        }
        let tools = json::tools(pair.tools.as_ref())?;
        Ok(Pair { parts, tools, reference_logps: &pair.reference_logps, facts: target.facts })
    }
}

fn objects(messages: &[Value]) -> Vec<Message> {
    messages.iter().filter_map(Value::as_object).cloned().collect()
}

/// No two profiles share a name.
impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Profile {}

impl std::fmt::Debug for Profile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}
