//! How the rows of one file are read: as which form, and where in each row it stands.
//!
//! Owns the search for rollouts that something is wrapped around, to a depth of [`MAX_DEPTH`], and what becomes of the
//! wrapping: its fields stand beside those of the row. Rows of another form than the file's first are read as what they are.

use serde_json::Value;

use super::form::Form;
use super::messages::is_list_of_messages;
use super::native::{Row, kind, text_of};
use super::registry::{NATIVE, split_answers, takes_a_second_look};

/// How deep in a row it is looked for.
const MAX_DEPTH: usize = 4;
/// Columns of rows that are none of messages, and are read all the same.
const OTHERWISE: [&str; 4] = ["chosen", "rejected", "response_ids", "prompt_ids"];
/// Fields of the wrapping that a row has as well, as JSON.
const WRAPPING: &str = "wrapping";
/// Where in a path a list's items stand.
const EACH: &str = "[]";

/// What the rows of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub form: &'static Form,
    /// Names of the fields in which a row stands within what was written; empty if it is that itself.
    at: Vec<String>,
    /// Every row is of this form, whatever it looks like.
    is_fixed: bool,
    /// No line holds what only looks like native messages.
    is_plain: bool,
}

impl Reading {
    /// Rows of one form.
    pub fn of(form: &'static Form) -> Self {
        Reading { form, at: Vec::new(), is_fixed: true, is_plain: false }
    }

    /// What the rows of a file are by one of them; `asked`: the form that was named.
    pub fn recognise(row: &Row, asked: Option<&'static Form>) -> Option<Self> {
        let form = |row: &Row| match asked {
            Some(asked) => asked.is_met(row).then_some(asked),
            None => Form::of(row),
        };
        let found = |form, at| Reading { form, at, is_fixed: asked.is_some(), is_plain: false };
        match form(row) {
            Some(form) => Some(found(form, Vec::new())),
            None if OTHERWISE.iter().any(|name| row.contains_key(*name)) => None,
            None => (1..=MAX_DEPTH).find_map(|depth| within(row, depth, &form)).map(|(form, at)| found(form, at)),
        }
    }

    /// Whether the rows are a list that something is wrapped around.
    pub fn is_of_a_list(&self) -> bool {
        self.at.last().is_some_and(|last| last == EACH)
    }

    /// Whether the rows stand in this field.
    pub fn passes(&self, field: &str) -> bool {
        self.at.first().is_some_and(|first| first == field)
    }

    /// What stands in the place of the rows, with the fields around it.
    ///
    /// # Errors
    /// What was expected there, and what was found.
    pub fn unwrapped(&self, row: Row) -> Result<Vec<Row>, String> {
        if self.at.is_empty() { Ok(vec![row]) } else { unwrapped(row, &self.at) }
    }

    /// Whether rows are native as they stand.
    pub fn is_native(&self) -> bool {
        self.form.is_native() && self.at.is_empty()
    }

    /// Whether lines are native as they stand; `lines` are only looked at where some of the file are not.
    pub fn takes_as_they_are(&self, lines: &[u8]) -> bool {
        self.is_native() && (self.is_plain || !takes_a_second_look(lines))
    }

    /// The same where every line was looked at; `is_plain`: none takes a second look.
    pub fn looked_through(self, is_plain: bool) -> Self {
        Reading { is_plain, ..self }
    }

    /// Form and place, for people.
    pub fn name(&self) -> String {
        match self.at.is_empty() {
            true => self.form.name.to_owned(),
            false => format!("{} at `{}`", self.form.name, self.at.join(".").replace(".[]", "[]")),
        }
    }

    /// The native rows of what was written.
    ///
    /// # Errors
    /// What was expected where, and what was found.
    pub fn convert(&self, row: Row) -> Result<Vec<Row>, String> {
        let rows = self.unwrapped(row)?;
        let mut out = Vec::new();
        for row in rows {
            let other = if self.is_fixed { None } else { Form::of(&row) };
            for mut native in other.unwrap_or(self.form).convert(row)? {
                split_answers(&mut native);
                out.push(native);
            }
        }
        Ok(out)
    }
}

/// The first row that stands exactly so deep within another one.
fn within(
    row: &Row,
    depth: usize,
    form: &impl Fn(&Row) -> Option<&'static Form>,
) -> Option<(&'static Form, Vec<String>)> {
    row.iter().find_map(|(name, value)| {
        let (form, mut at) = match (value, depth) {
            (Value::Object(inner), 1) => (form(inner)?, Vec::new()),
            (Value::Object(inner), _) => within(inner, depth - 1, form)?,
            (Value::Array(items), 1) if is_list_of_messages(items) => {
                let as_messages = Row::from_iter([("messages".to_owned(), value.clone())]);
                (form(&as_messages)?, Vec::new())
            }
            (Value::Array(items), 1) => (form(items.first()?.as_object()?)?, vec![EACH.to_owned()]),
            (Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => return None,
        };
        at.insert(0, name.clone());
        Some((form, at))
    })
}

/// The rows at a place, each with the fields around it.
fn unwrapped(mut row: Row, at: &[String]) -> Result<Vec<Row>, String> {
    let Some((name, below)) = at.split_first() else { return Ok(vec![row]) };
    let place = || at.join(".");
    let inner =
        row.shift_remove(name).ok_or_else(|| format!("`{}` is missing, where its file's rows stand", place()))?;
    let inner = match (inner, below.first().map(String::as_str)) {
        (Value::Object(inner), _) => unwrapped(inner, below)?,
        (Value::Array(items), Some(EACH)) => {
            let object = |(k, item)| match item {
                Value::Object(item) => Ok(item),
                other => Err(format!("entry {k} of `{name}` is {}, expected an object", kind(Some(&other)))),
            };
            items.into_iter().enumerate().map(object).collect::<Result<_, String>>()?
        }
        (messages @ Value::Array(_), None) => vec![Row::from_iter([("messages".to_owned(), messages)])],
        (other, _) => return Err(format!("`{}` is {}, expected a rollout", place(), kind(Some(&other)))),
    };
    Ok(inner.into_iter().map(|inner| beside(inner, &row)).collect())
}

/// A row with the fields that stood around it.
fn beside(mut inner: Row, around: &Row) -> Row {
    let mut doubled = Row::new();
    for (name, value) in around {
        match inner.contains_key(name) {
            true => doubled.insert(name.clone(), value.clone()),
            false => inner.insert(name.clone(), value.clone()),
        };
    }
    if !doubled.is_empty() {
        inner.entry(WRAPPING).or_insert_with(|| Value::String(text_of(&Value::Object(doubled))));
    }
    inner
}

impl Default for Reading {
    fn default() -> Self {
        Reading { form: NATIVE, at: Vec::new(), is_fixed: false, is_plain: false }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Row {
        let Value::Object(row) = value else { panic!("a row is an object") };
        row
    }

    fn converted(value: Value) -> (String, Value) {
        let row = row(value);
        let reading = Reading::recognise(&row, None).expect("a form");
        let rows = reading.convert(row).expect("rows");
        (reading.name(), Value::Array(rows.into_iter().map(Value::Object).collect()))
    }

    #[test]
    fn messages_are_found_within_what_is_wrapped_around_them() {
        let messages = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
        let (name, rows) = converted(json!({"id": 1, "trace": {"id": 2, "messages": messages}, "reward": 1.0}));
        assert_eq!(name, "messages at `trace`");
        assert_eq!(rows, json!([{"id": 2, "messages": messages, "reward": 1.0, "wrapping": "{\"id\":1}"}]));
        let (name, rows) = converted(json!({"a": {"b": {"dialog": messages}}, "x": [1]}));
        assert_eq!(name, "messages at `a.b.dialog`");
        assert_eq!(rows, json!([{"messages": messages, "x": [1]}]));
        let (name, rows) = converted(json!({"data": [{"messages": messages}, {"messages": []}], "of": "x"}));
        assert_eq!(name, "messages at `data[]`");
        assert_eq!(rows, json!([{"messages": messages, "of": "x"}, {"messages": [], "of": "x"}]));
    }

    #[test]
    fn what_stands_too_deep_or_is_no_rollout_is_not_found() {
        let messages = json!({"messages": []});
        for value in [json!({"a": {"b": {"c": {"d": {"e": messages}}}}}), json!({"a": [1], "b": {"c": "d"}}), json!({})]
        {
            assert_eq!(Reading::recognise(&row(value), None), None);
        }
    }

    #[test]
    fn row_that_lacks_its_place_is_refused_by_it() {
        let reading = Reading::recognise(&row(json!({"trace": {"messages": []}})), None).expect("a form");
        let refused = |value: Value| reading.convert(row(value)).expect_err("it is refused");
        assert_eq!(refused(json!({"x": 1})), "`trace` is missing, where its file's rows stand");
        assert_eq!(refused(json!({"trace": "x"})), "`trace` is text, expected a rollout");
    }

    #[test]
    fn rows_of_other_forms_in_one_file_are_read_as_what_they_are() {
        let reading = Reading::recognise(&row(json!({"messages": []})), None).expect("a form");
        let found = reading.convert(row(json!({"prompt": "q", "completion": "a"}))).expect("rows");
        assert_eq!(found[0]["messages"][1], json!({"role": "assistant", "content": "a"}));
        let fixed = Reading::of(NATIVE).convert(row(json!({"prompt": "q", "completion": "a"}))).expect("rows");
        assert!(!fixed[0].contains_key("messages"));
    }
}
