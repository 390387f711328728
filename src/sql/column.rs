//! Reads the columns of a row by name, in the types that SQL Server sends. The callers interpret the values.

use tiberius::{ColumnData, Row};

use crate::model::Guid;

fn column_data<'a>(row: &'a Row, column: &str) -> Result<&'a ColumnData<'static>, String> {
    row.get_column_data(column).map_err(|_| format!("the column {column} is missing"))
}

fn unexpected(column: &str) -> String {
    format!("the column {column} is of an unexpected type")
}

/// A character column; `None` is NULL. Errors name the column.
fn text(row: &Row, column: &str) -> Result<Option<String>, String> {
    match column_data(row, column)? {
        ColumnData::String(text) => Ok(text.as_ref().map(|text| text.to_string())),
        other => null(other, column),
    }
}

/// The longest name of SQL Server (`sysname`), in characters.
const LONGEST_NAME: usize = 128;

/// A name. A server that returns a longer one is no SQL Server, and nothing of it is kept beyond the limit.
pub fn name(row: &Row, column: &str) -> Result<Option<String>, String> {
    Ok(text(row, column)?.map(|name| match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => name[..end].to_owned(),
        None => name,
    }))
}

/// A column of any integer type or bit: the same catalog column is tinyint or int, depending on the release.
pub fn integer(row: &Row, column: &str) -> Result<Option<i64>, String> {
    match column_data(row, column)? {
        ColumnData::U8(number) => Ok(number.map(i64::from)),
        ColumnData::I16(number) => Ok(number.map(i64::from)),
        ColumnData::I32(number) => Ok(number.map(i64::from)),
        ColumnData::I64(number) => Ok(*number),
        ColumnData::Bit(bit) => Ok(bit.map(i64::from)),
        other => null(other, column),
    }
}

/// A uniqueidentifier column; `None` is NULL.
pub fn guid(row: &Row, column: &str) -> Result<Option<Guid>, String> {
    match column_data(row, column)? {
        ColumnData::Guid(guid) => Ok(guid.map(|guid| Guid::from_bytes(*guid.as_bytes()))),
        other => null(other, column),
    }
}

/// A binary column; `None` is NULL.
pub fn bytes(row: &Row, column: &str) -> Result<Option<Vec<u8>>, String> {
    match column_data(row, column)? {
        ColumnData::Binary(bytes) => Ok(bytes.as_ref().map(|bytes| bytes.to_vec())),
        other => null(other, column),
    }
}

/// The value of a column that must not be NULL.
pub fn required<T>(value: Option<T>, column: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("the column {column} is NULL"))
}

/// tiberius may return NULL in a type that differs from the type of the column.
fn null<T>(data: &ColumnData<'static>, column: &str) -> Result<Option<T>, String> {
    match data {
        ColumnData::U8(None)
        | ColumnData::I16(None)
        | ColumnData::I32(None)
        | ColumnData::I64(None)
        | ColumnData::Bit(None)
        | ColumnData::Guid(None)
        | ColumnData::Binary(None)
        | ColumnData::String(None) => Ok(None),
        _ => Err(unexpected(column)),
    }
}
