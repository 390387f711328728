//! The type of a value, and of an expression with several results.

use super::collation::Collation;
use super::values::{as_text, unsupported};
use crate::value::{Message, Parameter, SqlType, Value};

/// The type of a parameter.
pub fn of_parameter(parameter: &Parameter) -> SqlType {
    match (&parameter.value, parameter.is_varchar) {
        // Each character is one byte of the client.
        (Value::NVarChar(text), true) if text.chars().count() > 8000 => SqlType::VarChar(0),
        (_, true) => SqlType::VarChar(8000),
        (value, false) => of_value(value),
    }
}

/// The type of a value.
fn of_value(value: &Value) -> SqlType {
    match value {
        Value::Null => SqlType::NVarChar(4000),
        Value::Bit(_) => SqlType::Bit,
        Value::TinyInt(_) => SqlType::TinyInt,
        Value::SmallInt(_) => SqlType::SmallInt,
        Value::Int(_) => SqlType::Int,
        Value::BigInt(_) => SqlType::BigInt,
        Value::Real(_) => SqlType::Real,
        Value::NVarChar(text) => match text.encode_utf16().count() {
            0..=4000 => SqlType::NVarChar(4000),
            _ => SqlType::NVarChar(0),
        },
        Value::Guid(_) => SqlType::Guid,
        Value::Numeric { precision, scale, .. } => SqlType::Numeric { precision: *precision, scale: *scale },
        Value::DateTime(_) => SqlType::DateTime,
        Value::Binary(_) => SqlType::Binary(8000),
        Value::Variant(_) => SqlType::Variant,
    }
}

/// The type of a text literal.
pub fn of_text(text: &str) -> SqlType {
    SqlType::NVarChar(match text.encode_utf16().count() {
        0 => 1,
        units @ 1..=4000 => units as u16,
        _ => 0,
    })
}

/// The declared size of a text; 0 without a limit.
fn text_size(ty: SqlType) -> Option<u16> {
    match ty {
        SqlType::NVarChar(size) | SqlType::VarChar(size) | SqlType::Char(size) => Some(size),
        _ => None,
    }
}

pub fn is_text(ty: SqlType) -> bool {
    text_size(ty).is_some()
}

fn integer_rank(ty: SqlType) -> Option<u8> {
    Some(match ty {
        SqlType::Bit => 0,
        SqlType::TinyInt => 1,
        SqlType::SmallInt => 2,
        SqlType::Int => 3,
        SqlType::BigInt => 4,
        _ => return None,
    })
}

/// The type of CASE or COALESCE: the one of highest precedence, and the longest text.
///
/// # Errors
/// 102 for a combination that is not implemented.
pub fn common(a: SqlType, b: SqlType) -> Result<SqlType, Message> {
    if let (Some(left), Some(right)) = (text_size(a), text_size(b))
        && a != b
    {
        let size = if left == 0 || right == 0 { 0 } else { left.max(right) };
        let is_varchar = |ty| matches!(ty, SqlType::VarChar(_));
        return Ok(if is_varchar(a) && is_varchar(b) {
            SqlType::VarChar(size)
        } else {
            SqlType::NVarChar(size.min(4000))
        });
    }
    Ok(match (a, b) {
        (a, b) if a == b => a,
        (SqlType::Binary(0), SqlType::Binary(_)) | (SqlType::Binary(_), SqlType::Binary(0)) => SqlType::Binary(0),
        (SqlType::Binary(a), SqlType::Binary(b)) => SqlType::Binary(a.max(b)),
        (SqlType::Variant, _) | (_, SqlType::Variant) => SqlType::Variant,
        (a, b) if is_text(a) && integer_rank(b).is_some() => b,
        (a, b) if is_text(b) && integer_rank(a).is_some() => a,
        (SqlType::Guid, b) if is_text(b) => SqlType::Guid,
        (a, SqlType::Guid) if is_text(a) => SqlType::Guid,
        (a, b) => match (integer_rank(a), integer_rank(b)) {
            (Some(left), Some(right)) => {
                if left >= right {
                    a
                } else {
                    b
                }
            }
            _ => return Err(unsupported("CASE")),
        },
    })
}

/// The parts of a value by which equal values of a type hash equally; `None` for NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Number(i64),
    Text(String),
    Guid([u8; 16]),
}

/// Whether equal values of the two types have equal keys.
pub fn have_keys(a: SqlType, b: SqlType) -> bool {
    (integer_rank(a).is_some() && integer_rank(b).is_some())
        || (is_text(a) && is_text(b))
        || (a == SqlType::Guid && b == SqlType::Guid)
}

pub fn key(value: &Value, collation: Collation) -> Option<Key> {
    match value {
        Value::Guid(guid) => Some(Key::Guid(*guid)),
        Value::NVarChar(_) => as_text(value).map(|text| Key::Text(collation.key(&text))),
        value => super::values::as_integer(value).map(Key::Number),
    }
}
