//! Cells of a row by column name, in the types that SQL Server really sends. No meaning is given to them here.

use tiberius::{ColumnData, Row};

use crate::model::Guid;

fn column_data<'a>(row: &'a Row, column: &str) -> Result<&'a ColumnData<'static>, String> {
    row.get_column_data(column).map_err(|_| format!("the column {column} is missing"))
}

fn unexpected(column: &str) -> String {
    format!("the column {column} is of an unexpected type")
}

/// None: NULL.
pub fn text(row: &Row, column: &str) -> Result<Option<String>, String> {
    match column_data(row, column)? {
        ColumnData::String(text) => Ok(text.as_ref().map(|text| text.to_string())),
        other => null(other, column),
    }
}

/// Any integer type, as catalog views differ between releases in tinyint and int.
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

pub fn guid(row: &Row, column: &str) -> Result<Option<Guid>, String> {
    match column_data(row, column)? {
        ColumnData::Guid(guid) => Ok(guid.map(|guid| Guid::from_bytes(*guid.as_bytes()))),
        other => null(other, column),
    }
}

pub fn bytes(row: &Row, column: &str) -> Result<Option<Vec<u8>>, String> {
    match column_data(row, column)? {
        ColumnData::Binary(bytes) => Ok(bytes.as_ref().map(|bytes| bytes.to_vec())),
        other => null(other, column),
    }
}

/// A column that is never NULL.
pub fn required<T>(value: Option<T>, column: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("the column {column} is NULL"))
}

/// tiberius may give a NULL another type than the column's.
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
