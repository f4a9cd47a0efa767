//! Fields: what every reader, writer and view of a record walks.
//!
//! Owns the codec between records and struct columns. It knows no field by name: the tables stand beside the records, in
//! [`super`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field as ArrowField, Fields};
use arrow::error::ArrowError;
use serde_json::Value;

use super::cell::{Cell, list_of};
use super::finding::Finding;
use super::lift::{FIRST, LiftError, RecordError};
use crate::types::list_item;

/// How a value is told to people, besides its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The value says it all: `deep`.
    Alone,
    /// `similarity 0.912`.
    Labelled,
    /// `2 attempts`.
    Counted,
}

/// One field of a record `R`.
pub struct Field<R> {
    pub name: &'static str,
    /// What earlier versions called it.
    pub formerly: Option<&'static str>,
    /// Version of purify that first wrote it. Files before that do not have it.
    pub since: &'static str,
    /// For people.
    pub label: &'static str,
    pub shown: Shown,
    /// Its place among those that are shown, from the front; those without one come last, in the order of the table.
    pub place: Option<u8>,
    /// Written only where the data can have it.
    pub is_optional: bool,
    /// Set where it is what a guard has found.
    pub finding: Option<&'static Finding>,
    access: Box<dyn Access<R> + Send + Sync>,
}

/// A record: a struct of cells.
pub trait Recorded: Default + 'static {
    /// In the order of the column.
    fn fields() -> &'static [Field<Self>];
}

/// The type after a field.
trait Access<R> {
    fn data_type(&self) -> DataType;
    fn lift(&self, path: &str, array: &ArrayRef) -> Result<ArrayRef, LiftError>;
    fn write(&self, records: &[Option<&R>]) -> Result<ArrayRef, ArrowError>;
    fn read(&self, path: &str, array: &ArrayRef, at: usize, into: &mut R) -> Result<(), RecordError>;
    fn value(&self, record: &R) -> Value;
}

struct Pair<G, S> {
    of: G,
    slot: S,
}

impl<R, T, G, S> Access<R> for (Pair<G, S>, std::marker::PhantomData<fn() -> T>)
where
    T: Cell,
    G: Fn(&R) -> &T,
    S: Fn(&mut R) -> &mut T,
{
    fn data_type(&self) -> DataType {
        T::data_type()
    }

    fn lift(&self, path: &str, array: &ArrayRef) -> Result<ArrayRef, LiftError> {
        T::lift(path, array)
    }

    fn write(&self, records: &[Option<&R>]) -> Result<ArrayRef, ArrowError> {
        T::write(records.iter().map(|record| record.map(|record| (self.0.of)(record))))
    }

    fn read(&self, path: &str, array: &ArrayRef, at: usize, into: &mut R) -> Result<(), RecordError> {
        *(self.0.slot)(into) = T::read(path, array, at)?;
        Ok(())
    }

    fn value(&self, record: &R) -> Value {
        (self.0.of)(record).shown()
    }
}

impl<R: 'static> Field<R> {
    /// A field that every version has written. Its Arrow type is that of `T`.
    pub fn new<T: Cell>(
        name: &'static str,
        label: &'static str,
        of: impl Fn(&R) -> &T + Send + Sync + 'static,
        slot: impl Fn(&mut R) -> &mut T + Send + Sync + 'static,
    ) -> Self {
        let access = Box::new((Pair { of, slot }, std::marker::PhantomData));
        Field {
            name,
            formerly: None,
            since: FIRST,
            label,
            shown: Shown::Labelled,
            place: None,
            is_optional: false,
            finding: None,
            access,
        }
    }

    pub fn since(self, version: &'static str) -> Self {
        Field { since: version, ..self }
    }

    pub fn formerly(self, name: &'static str) -> Self {
        Field { formerly: Some(name), ..self }
    }

    pub fn shown(self, place: u8, shown: Shown) -> Self {
        Field { place: Some(place), shown, ..self }
    }

    pub fn optional(self) -> Self {
        Field { is_optional: true, ..self }
    }

    pub(super) fn finding(self, finding: &'static Finding) -> Self {
        Field { finding: Some(finding), ..self }
    }

    pub fn data_type(&self) -> DataType {
        self.access.data_type()
    }

    /// Whether its numbers have a fraction.
    pub fn is_decimal(&self) -> bool {
        let own = self.data_type();
        list_item(&own).map_or(&own, |item| item.data_type()).is_floating()
    }

    /// The value as JSON; null where there is none.
    pub fn value(&self, record: &R) -> Value {
        self.access.value(record)
    }

    /// Whether files of some version do not have it.
    fn may_be_absent(&self) -> bool {
        self.is_optional || self.since != FIRST
    }

    fn path(&self, of: &str) -> String {
        format!("{of}.{}", self.name)
    }
}

/// The fields in the order in which they are shown.
pub fn shown<R: Recorded>() -> Vec<&'static Field<R>> {
    let mut out: Vec<&Field<R>> = R::fields().iter().collect();
    out.sort_by_key(|field| field.place.unwrap_or(u8::MAX));
    out
}

/// The struct that holds such records, with or without the optional fields.
pub fn data_type<R: Recorded>(with_optional: bool) -> DataType {
    let fields = R::fields().iter().filter(|field| with_optional || !field.is_optional);
    DataType::Struct(fields.map(|field| ArrowField::new(field.name, field.data_type(), true)).collect())
}

fn has(fields: &Fields, name: &str) -> bool {
    fields.find(name).is_some()
}

/// A struct column as this version would have written it.
pub fn lift<R: Recorded>(path: &str, array: &ArrayRef) -> Result<StructArray, LiftError> {
    let with_optional = |fields: &Fields| R::fields().iter().any(|f| f.is_optional && has(fields, f.name));
    let DataType::Struct(found) = array.data_type() else {
        let all = data_type::<R>(false);
        return match array.data_type() {
            DataType::Null => Ok(new_null_array(&all, array.len()).as_struct().clone()),
            other => Err(LiftError::not_a_struct(path, other)),
        };
    };
    let column = array.as_struct();
    let known = |name: &str| R::fields().iter().any(|field| field.name == name || field.formerly == Some(name));
    if let Some(unknown) = found.iter().find(|field| !known(field.name())) {
        return Err(LiftError::Unknown { field: format!("{path}.{}", unknown.name()) });
    }
    let DataType::Struct(wanted) = data_type::<R>(with_optional(found)) else {
        return Err(LiftError::not_a_struct(path, array.data_type()));
    };
    let written = R::fields().iter().filter(|field| has(&wanted, field.name));
    let columns = written.map(|field| lift_field(path, field, column)).collect::<Result<Vec<_>, _>>()?;
    let nulls = column.nulls().cloned();
    StructArray::try_new_with_length(wanted, columns, nulls, column.len()).map_err(|error| LiftError::bug(path, &error))
}

fn lift_field<R: Recorded>(path: &str, field: &Field<R>, column: &StructArray) -> Result<ArrayRef, LiftError> {
    let found = column.column_by_name(field.name);
    let earlier = field.formerly.and_then(|name| column.column_by_name(name));
    match (found, earlier) {
        (Some(_), Some(_)) => {
            Err(LiftError::Twice { field: field.path(path), formerly: field.formerly.unwrap_or(field.name) })
        }
        (Some(array), None) | (None, Some(array)) => field.access.lift(&field.path(path), array),
        (None, None) if field.may_be_absent() => Ok(new_null_array(&field.data_type(), column.len())),
        (None, None) => Err(LiftError::Missing { field: field.path(path) }),
    }
}

/// A struct column of records; a row may have none. `fields` is of [`data_type`].
pub fn write<R: Recorded>(records: &[Option<&R>], fields: &Fields) -> Result<StructArray, ArrowError> {
    let written = R::fields().iter().filter(|field| has(fields, field.name));
    let columns = written.map(|field| field.access.write(records)).collect::<Result<Vec<_>, _>>()?;
    let nulls =
        records.iter().any(Option::is_none).then(|| records.iter().map(Option::is_some).collect::<NullBuffer>());
    StructArray::try_new_with_length(fields.clone(), columns, nulls, records.len())
}

/// The record of a row of a column that was lifted.
pub fn read<R: Recorded>(path: &str, column: &StructArray, at: usize) -> Result<R, RecordError> {
    let mut out = R::default();
    for field in R::fields() {
        match column.column_by_name(field.name) {
            Some(array) => field.access.read(&field.path(path), array, at, &mut out)?,
            None if field.is_optional => {}
            None => {
                return Err(RecordError {
                    field: field.path(path),
                    detail: "was not lifted: this is a bug".to_owned(),
                });
            }
        }
    }
    Ok(out)
}

/// Records that earlier versions did not write.
impl<R: Recorded> Cell for Option<Vec<R>> {
    fn data_type() -> DataType {
        Vec::<R>::data_type()
    }

    fn lift(path: &str, array: &ArrayRef) -> Result<ArrayRef, LiftError> {
        Vec::<R>::lift(path, array)
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        Vec::<R>::write(cells.map(|cell| cell.and_then(Option::as_ref)))
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        array.is_valid(at).then(|| Vec::<R>::read(path, array, at)).transpose()
    }

    fn shown(&self) -> Value {
        self.as_ref().map_or(Value::Null, Cell::shown)
    }
}

/// Records in a record.
impl<R: Recorded> Cell for Vec<R> {
    fn data_type() -> DataType {
        list_of(data_type::<R>(true))
    }

    fn lift(path: &str, array: &ArrayRef) -> Result<ArrayRef, LiftError> {
        let wanted = Self::data_type();
        let item = match (array.data_type(), list_item(array.data_type())) {
            (DataType::Null, _) => return Ok(new_null_array(&wanted, array.len())),
            (_, Some(item)) => item,
            (other, None) => return Err(LiftError::wrong_type(path, &wanted, other)),
        };
        let narrow = DataType::List(Arc::clone(item));
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let array = match *array.data_type() == narrow {
            true => Arc::clone(array),
            false => cast_with_options(array, &narrow, &strict).map_err(|error| LiftError::bug(path, &error))?,
        };
        let list = array.as_list::<i32>();
        let values = lift::<R>(path, list.values())?;
        // What is optional in a list of records is always there: one type for all.
        list_array::<R>(list.offsets().clone(), values, list.nulls().cloned())
            .map_err(|error| LiftError::bug(path, &error))
    }

    fn write<'c>(cells: impl Iterator<Item = Option<&'c Self>>) -> Result<ArrayRef, ArrowError> {
        let cells: Vec<Option<&Self>> = cells.collect();
        let all: Vec<Option<&R>> = cells.iter().flatten().flat_map(|records| records.iter().map(Some)).collect();
        let DataType::Struct(fields) = data_type::<R>(true) else {
            return Err(ArrowError::SchemaError("records are structs: this is a bug".to_owned()));
        };
        let offsets = OffsetBuffer::from_lengths(cells.iter().map(|cell| cell.map_or(0, Vec::len)));
        let nulls = cells.iter().any(Option::is_none).then(|| cells.iter().map(Option::is_some).collect());
        list_array::<R>(offsets, write(&all, &fields)?, nulls)
    }

    fn read(path: &str, array: &ArrayRef, at: usize) -> Result<Self, RecordError> {
        let list = array.as_list::<i32>();
        if list.is_null(at) {
            return Err(RecordError { field: path.to_owned(), detail: "is null".to_owned() });
        }
        let offsets = list.value_offsets();
        let values = list.values().as_struct();
        let range = offsets[at] as usize..offsets[at + 1] as usize;
        range.map(|k| read(path, values, k)).collect()
    }

    fn shown(&self) -> Value {
        let one = |record: &R| {
            Value::Object(shown::<R>().into_iter().map(|f| (f.name.to_owned(), f.value(record))).collect())
        };
        Value::Array(self.iter().map(one).collect())
    }
}

fn list_array<R: Recorded>(
    offsets: OffsetBuffer<i32>,
    values: StructArray,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let item = Arc::new(ArrowField::new("element", data_type::<R>(true), true));
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(values), nulls)?))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use arrow::array::Int64Array;
    use serde_json::json;

    use super::*;
    use crate::record::{Granularity, RepairRecord};

    /// A copy of the repair's table with one field more, as the next version might have it.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Longer {
        repair: RepairRecord,
        cited_later: Option<bool>,
    }

    static LONGER: LazyLock<Vec<Field<Longer>>> = LazyLock::new(|| {
        type R = Field<Longer>;
        vec![
            R::new("attempts", "attempts", |r| &r.repair.attempts, |r| &mut r.repair.attempts),
            R::new("granularity", "granularity", |r| &r.repair.granularity, |r| &mut r.repair.granularity),
            R::new("tool", "tool", |r| &r.repair.tool, |r| &mut r.repair.tool),
            R::new("cited_later", "cited later", |r| &r.cited_later, |r| &mut r.cited_later).since("0.2.0"),
        ]
    });

    impl Recorded for Longer {
        fn fields() -> &'static [Field<Self>] {
            &LONGER
        }
    }

    fn longer(cited_later: Option<bool>) -> Longer {
        let repair = RepairRecord { attempts: 2, granularity: Granularity::Deep, ..RepairRecord::default() };
        Longer { repair, cited_later }
    }

    fn column(records: &[Option<&Longer>]) -> StructArray {
        let DataType::Struct(fields) = data_type::<Longer>(true) else { panic!("a struct") };
        write(records, &fields).expect("a column")
    }

    #[test]
    fn a_field_that_is_added_to_the_table_is_in_the_type_written_read_and_shown() {
        assert!(data_type::<Longer>(true).to_string().ends_with("\"cited_later\": Boolean)"));
        let records = [longer(Some(true)), longer(None)];
        let array: ArrayRef = Arc::new(column(&records.iter().map(Some).collect::<Vec<_>>()));
        let lifted = lift::<Longer>("x", &array).expect("it is ours");
        for (k, record) in records.iter().enumerate() {
            assert_eq!(read::<Longer>("x", &lifted, k).as_ref(), Ok(record));
        }
        let told: Vec<(&str, Value)> = shown::<Longer>().iter().map(|f| (f.label, f.value(&records[0]))).collect();
        let expected = [json!(2), json!("deep"), Value::Null, json!(true)];
        assert_eq!(
            told,
            ["attempts", "granularity", "tool", "cited later"].into_iter().zip(expected).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_file_from_before_the_field_is_lifted_and_has_nothing_there() {
        let whole = column(&[Some(&longer(Some(true))), None]);
        let fields: Fields = whole.fields()[..3].iter().cloned().collect();
        let before = StructArray::new(fields, whole.columns()[..3].to_vec(), whole.nulls().cloned());
        let lifted = lift::<Longer>("x", &(Arc::new(before) as ArrayRef)).expect("an earlier version's");
        assert_eq!(read::<Longer>("x", &lifted, 0), Ok(longer(None)));
        assert!(lifted.is_null(1), "a row without a record stays one");
    }

    #[test]
    fn fields_of_a_newer_version_or_of_every_version_are_missed_by_name() {
        let whole = column(&[Some(&longer(None))]);
        let with = |name: &str, taken: std::ops::Range<usize>| -> ArrayRef {
            let mut fields: Vec<_> = whole.fields()[taken.clone()].to_vec();
            let mut arrays = whole.columns()[taken].to_vec();
            fields.push(Arc::new(ArrowField::new(name, DataType::Int64, true)));
            arrays.push(Arc::new(Int64Array::from(vec![1])));
            Arc::new(StructArray::new(fields.into(), arrays, None))
        };
        let failed = |array: &ArrayRef| lift::<Longer>("x", array).expect_err("it can't be lifted").to_string();
        let unknown = "`x.later` is not known to this version, which would lose it; a newer purify may have written it";
        assert_eq!(failed(&with("later", 0..4)), unknown);
        let fields: Fields = whole.fields()[1..].iter().cloned().collect();
        let headless: ArrayRef = Arc::new(StructArray::new(fields, whole.columns()[1..].to_vec(), None));
        assert_eq!(failed(&headless), "`x.attempts` is missing, which every version of purify has written");
        // An integer of another width is no fault.
        assert_eq!(lift::<Longer>("x", &with("attempts", 1..4)).map(|array| array.len()), Ok(1));
    }
}
