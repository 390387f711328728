//! Encodes TYPE_INFO and values of result sets. Module `param` decodes parameters.

use super::WireError;
use super::bytes::{PutTds, units};
use super::code_page::encode_1252;
use super::param::VARCHAR;
use crate::value::{Column, SqlType, Value};
use bytes::{BufMut, BytesMut};

/// SQL_Latin1_General_CP1_CI_AS.
pub const COLLATION: [u8; 5] = [0x09, 0x04, 0xD0, 0x00, 0x34];
const MAX: u16 = 0xFFFF;
const TICKS_PER_SECOND: i64 = 300;
const DAY_MILLIS: i64 = 86_400_000;

mod code {
    pub const GUID: u8 = 0x24;
    pub const INTN: u8 = 0x26;
    pub const INT1: u8 = 0x30;
    pub const BIT: u8 = 0x32;
    pub const INT2: u8 = 0x34;
    pub const INT4: u8 = 0x38;
    pub const FLT4: u8 = 0x3B;
    pub const DATETIME: u8 = 0x3D;
    pub const VARIANT: u8 = 0x62;
    pub const BITN: u8 = 0x68;
    pub const NUMERICN: u8 = 0x6C;
    pub const FLTN: u8 = 0x6D;
    pub const DATETIMEN: u8 = 0x6F;
    pub const INT8: u8 = 0x7F;
    pub const BIGVARBINARY: u8 = 0xA5;
    pub const BIGVARCHAR: u8 = super::VARCHAR;
    pub const BIGCHAR: u8 = 0xAF;
    pub const NVARCHAR: u8 = 0xE7;
}

/// The size of a NUMERIC value with its sign, in bytes.
fn numeric_length(precision: u8) -> u8 {
    match precision {
        ..=9 => 5,
        10..=19 => 9,
        20..=28 => 13,
        _ => 17,
    }
}

fn is_max(ty: SqlType) -> bool {
    matches!(ty, SqlType::NVarChar(0 | 4001..) | SqlType::VarChar(0 | 8001..) | SqlType::Binary(0 | 8001..))
}

pub fn put_type_info(out: &mut BytesMut, ty: SqlType, nullable: bool) {
    let fixed = |out: &mut BytesMut, fixed: u8, variable: u8, length: u8| {
        if nullable {
            out.put_slice(&[variable, length]);
        } else {
            out.put_u8(fixed);
        }
    };
    match ty {
        SqlType::Bit => fixed(out, code::BIT, code::BITN, 1),
        SqlType::TinyInt => fixed(out, code::INT1, code::INTN, 1),
        SqlType::SmallInt => fixed(out, code::INT2, code::INTN, 2),
        SqlType::Int => fixed(out, code::INT4, code::INTN, 4),
        SqlType::BigInt => fixed(out, code::INT8, code::INTN, 8),
        SqlType::Real => fixed(out, code::FLT4, code::FLTN, 4),
        SqlType::DateTime => fixed(out, code::DATETIME, code::DATETIMEN, 8),
        SqlType::Guid => out.put_slice(&[code::GUID, 16]),
        SqlType::Numeric { precision, scale } => {
            out.put_slice(&[code::NUMERICN, numeric_length(precision), precision, scale]);
        }
        SqlType::NVarChar(length) => {
            out.put_u8(code::NVARCHAR);
            out.put_u16_le(if is_max(ty) { MAX } else { length * 2 });
            out.put_slice(&COLLATION);
        }
        SqlType::VarChar(length) => {
            out.put_u8(code::BIGVARCHAR);
            out.put_u16_le(if is_max(ty) { MAX } else { length });
            out.put_slice(&COLLATION);
        }
        SqlType::Char(length) => {
            out.put_u8(code::BIGCHAR);
            out.put_u16_le(length);
            out.put_slice(&COLLATION);
        }
        SqlType::Binary(length) => {
            out.put_u8(code::BIGVARBINARY);
            out.put_u16_le(if is_max(ty) { MAX } else { length });
        }
        SqlType::Variant => {
            out.put_u8(code::VARIANT);
            out.put_u32_le(8009);
        }
    }
}

/// Encodes one cell, in the format that `put_type_info` has announced.
///
/// # Errors
/// A value that does not fit the column.
pub fn put_value(out: &mut BytesMut, column: &Column, value: &Value) -> Result<(), WireError> {
    let misfit = || WireError::Misfit { value: format!("{value:?}"), column: format!("{column:?}") };
    let integer = |value: &Value| integer(value).ok_or_else(misfit);
    let mut sized = |length: u8, bytes: &[u8]| {
        if column.nullable {
            out.put_u8(length);
        }
        out.put_slice(bytes);
    };
    match (column.ty, value) {
        (_, Value::Null) => return put_null(out, column).ok_or_else(misfit),
        (SqlType::Bit, value) => sized(1, &[u8::from(integer(value)? != 0)]),
        (SqlType::TinyInt, value) => sized(1, &u8::try_from(integer(value)?).map_err(|_| misfit())?.to_le_bytes()),
        (SqlType::SmallInt, value) => sized(2, &i16::try_from(integer(value)?).map_err(|_| misfit())?.to_le_bytes()),
        (SqlType::Int, value) => sized(4, &i32::try_from(integer(value)?).map_err(|_| misfit())?.to_le_bytes()),
        (SqlType::BigInt, value) => sized(8, &integer(value)?.to_le_bytes()),
        (SqlType::Real, Value::Real(number)) => sized(4, &number.to_le_bytes()),
        (SqlType::DateTime, Value::DateTime(millis)) => sized(8, &datetime(*millis)),
        (SqlType::Guid, Value::Guid(guid)) => {
            out.put_u8(16);
            out.put_slice(&guid_bytes(guid));
        }
        (SqlType::Numeric { precision, .. }, value) => {
            let number = match value {
                Value::Numeric { value, .. } => *value,
                other => integer(other)?.into(),
            };
            out.put_u8(numeric_length(precision));
            put_numeric(out, number, precision);
        }
        (ty @ SqlType::NVarChar(length), Value::NVarChar(text)) => {
            let units: Vec<u16> = text.encode_utf16().collect();
            if is_max(ty) {
                put_plp(out, units.len() * 2, |out| out.put_units(&units));
            } else if units.len() <= usize::from(length) {
                out.put_u16_le(units.len() as u16 * 2);
                out.put_units(&units);
            } else {
                return Err(misfit());
            }
        }
        (ty @ SqlType::VarChar(length), Value::NVarChar(text)) => {
            put_varchar(out, ty, length, text).ok_or_else(misfit)?
        }
        (SqlType::Char(length), Value::NVarChar(text)) => put_char(out, length, text).ok_or_else(misfit)?,
        (ty @ SqlType::Binary(length), Value::Binary(bytes)) => {
            if is_max(ty) {
                put_plp(out, bytes.len(), |out| out.put_slice(bytes));
            } else if bytes.len() <= usize::from(length) {
                out.put_u16_le(bytes.len() as u16);
                out.put_slice(bytes);
            } else {
                return Err(misfit());
            }
        }
        (SqlType::Variant, Value::Variant(inner)) => put_variant(out, inner).ok_or_else(misfit)?,
        (SqlType::Variant, plain) => put_variant(out, plain).ok_or_else(misfit)?,
        _ => return Err(misfit()),
    }
    Ok(())
}

/// Encodes a `varchar(n)`; `None` for a text that does not fit.
fn put_varchar(out: &mut BytesMut, ty: SqlType, length: u16, text: &str) -> Option<()> {
    let bytes = encode_1252(text)?;
    if is_max(ty) {
        put_plp(out, bytes.len(), |out| out.put_slice(&bytes));
    } else if bytes.len() <= usize::from(length) {
        out.put_u16_le(bytes.len() as u16);
        out.put_slice(&bytes);
    } else {
        return None;
    }
    Some(())
}

/// Encodes a `char(n)`, padded with blanks; `None` for a text that does not fit.
fn put_char(out: &mut BytesMut, length: u16, text: &str) -> Option<()> {
    let mut bytes = encode_1252(text)?;
    if bytes.len() > usize::from(length) {
        return None;
    }
    bytes.resize(usize::from(length), b' ');
    out.put_u16_le(length);
    out.put_slice(&bytes);
    Some(())
}

/// Encodes a NULL cell of a ROW; `None` for a column that is not nullable.
fn put_null(out: &mut BytesMut, column: &Column) -> Option<()> {
    if !column.nullable {
        return None;
    }
    match column.ty {
        ty if is_max(ty) => out.put_u64_le(u64::MAX),
        SqlType::NVarChar(_) | SqlType::VarChar(_) | SqlType::Char(_) | SqlType::Binary(_) => out.put_u16_le(MAX),
        SqlType::Variant => out.put_u32_le(0),
        _ => out.put_u8(0),
    }
    Some(())
}

fn put_plp(out: &mut BytesMut, length: usize, put: impl FnOnce(&mut BytesMut)) {
    out.put_u64_le(length as u64);
    if length > 0 {
        out.put_u32_le(length as u32);
        put(out);
    }
    out.put_u32_le(0);
}

fn put_numeric(out: &mut BytesMut, value: i128, precision: u8) {
    out.put_u8(u8::from(value >= 0));
    let magnitude = value.unsigned_abs().to_le_bytes();
    out.put_slice(&magnitude[..usize::from(numeric_length(precision)) - 1]);
}

/// Encodes a SQL_VARIANT cell: length, base type, type properties, value.
fn put_variant(out: &mut BytesMut, value: &Value) -> Option<()> {
    let mut body = BytesMut::new();
    match value {
        Value::Null => {}
        Value::Bit(bit) => body.put_slice(&[code::BIT, 0, u8::from(*bit)]),
        Value::TinyInt(number) => body.put_slice(&[code::INT1, 0, *number]),
        Value::SmallInt(number) => {
            body.put_slice(&[code::INT2, 0]);
            body.put_i16_le(*number);
        }
        Value::Int(number) => {
            body.put_slice(&[code::INT4, 0]);
            body.put_i32_le(*number);
        }
        Value::BigInt(number) => {
            body.put_slice(&[code::INT8, 0]);
            body.put_i64_le(*number);
        }
        Value::Real(number) => {
            body.put_slice(&[code::FLT4, 0]);
            body.put_f32_le(*number);
        }
        Value::NVarChar(text) => {
            let units = units(text, 4000);
            body.put_slice(&[code::NVARCHAR, 7]);
            body.put_slice(&COLLATION);
            body.put_u16_le((units.len() * 2).max(2) as u16);
            body.put_units(&units);
        }
        Value::Guid(guid) => {
            body.put_slice(&[code::GUID, 0]);
            body.put_slice(&guid_bytes(guid));
        }
        Value::Numeric { value, precision, scale } => {
            body.put_slice(&[code::NUMERICN, 2, *precision, *scale]);
            put_numeric(&mut body, *value, *precision);
        }
        Value::DateTime(millis) => {
            body.put_slice(&[code::DATETIME, 0]);
            body.put_slice(&datetime(*millis));
        }
        Value::Binary(bytes) => {
            body.put_slice(&[code::BIGVARBINARY, 2]);
            body.put_u16_le(8000);
            body.put_slice(bytes.get(..8000).unwrap_or(bytes));
        }
        Value::Variant(inner) => return put_variant(out, inner),
    }
    out.put_u32_le(body.len() as u32);
    out.put_slice(&body);
    Some(())
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Bit(bit) => Some(i64::from(*bit)),
        Value::TinyInt(number) => Some(i64::from(*number)),
        Value::SmallInt(number) => Some(i64::from(*number)),
        Value::Int(number) => Some(i64::from(*number)),
        Value::BigInt(number) => Some(*number),
        _ => None,
    }
}

/// Days since 1900-01-01 and ticks of 1/300 s, rounded to the nearest tick.
fn datetime(millis: i64) -> [u8; 8] {
    let ticks = (millis.rem_euclid(DAY_MILLIS) * TICKS_PER_SECOND + 500) / 1000;
    let days = millis.div_euclid(DAY_MILLIS) + ticks / (DAY_MILLIS / 1000 * TICKS_PER_SECOND);
    let ticks = ticks % (DAY_MILLIS / 1000 * TICKS_PER_SECOND);
    let mut out = [0; 8];
    out[..4].copy_from_slice(&(days as i32).to_le_bytes());
    out[4..].copy_from_slice(&(ticks as u32).to_le_bytes());
    out
}

/// Converts a GUID between text order and TDS order, in which the first three groups are little-endian.
pub fn guid_bytes(guid: &[u8; 16]) -> [u8; 16] {
    let mut out = *guid;
    out[..4].reverse();
    out[4..6].reverse();
    out[6..8].reverse();
    out
}
