//! Which text of a Parquet file is JSON, as Arrow's extension says it or as Parquet's own types do.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::LogicalType;

use crate::batch::json::cells::{is_json, marked_as_json};
use crate::schema::list_item;

/// Whether any text of a Parquet file's column is JSON, as Arrow's extension `arrow.json` or as a logical type.
pub(in crate::ingest) fn holds_json(metadata: &ArrowReaderMetadata, column: usize) -> bool {
    marked_columns(metadata).get(column).is_some_and(|field| is_json_within(field))
}

fn is_json_within(field: &Field) -> bool {
    match (field.data_type(), list_item(field.data_type())) {
        (DataType::Struct(fields), _) => fields.iter().any(|field| is_json_within(field)),
        (_, Some(item)) => is_json_within(item),
        _ => is_json(field),
    }
}

/// A file's columns; text is marked as JSON also where only Parquet's own types say so.
pub(super) fn marked_columns(metadata: &ArrowReaderMetadata) -> Vec<FieldRef> {
    let leaves = metadata.parquet_schema().columns();
    let mut is_json = leaves.iter().map(|leaf| leaf.logical_type_ref() == Some(&LogicalType::Json));
    metadata.schema().fields().iter().map(|field| marked(field, &mut is_json)).collect()
}

/// Arrow's leaves are Parquet's, in the same order.
fn marked(field: &FieldRef, is_json: &mut impl Iterator<Item = bool>) -> FieldRef {
    let with = |data_type| Arc::new(field.as_ref().clone().with_data_type(data_type));
    match field.data_type() {
        DataType::Struct(fields) => with(DataType::Struct(fields.iter().map(|f| marked(f, is_json)).collect())),
        DataType::List(item) => with(DataType::List(marked(item, is_json))),
        DataType::LargeList(item) => with(DataType::LargeList(marked(item, is_json))),
        DataType::ListView(item) => with(DataType::ListView(marked(item, is_json))),
        DataType::LargeListView(item) => with(DataType::LargeListView(marked(item, is_json))),
        DataType::FixedSizeList(item, size) => with(DataType::FixedSizeList(marked(item, is_json), *size)),
        DataType::Map(entries, is_sorted) => with(DataType::Map(marked(entries, is_json), *is_sorted)),
        _ if is_json.next() == Some(true) => Arc::new(marked_as_json(field.as_ref().clone())),
        _ => Arc::clone(field),
    }
}
