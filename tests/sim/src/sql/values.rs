//! Casts, comparison and text of values.

use std::cmp::Ordering;

use crate::value::{SqlType, Value};

/// The value inside a SQL_VARIANT, or the value itself.
pub fn unwrap_variant(value: Value) -> Value {
    match value {
        Value::Variant(inner) => *inner,
        other => other,
    }
}

/// The value as an integer; `None` for NULL and for a value without one.
pub fn as_integer(value: &Value) -> Option<i64> {
    Some(match value {
        Value::Bit(bit) => i64::from(*bit),
        Value::TinyInt(number) => i64::from(*number),
        Value::SmallInt(number) => i64::from(*number),
        Value::Int(number) => i64::from(*number),
        Value::BigInt(number) => *number,
        Value::Numeric { value, scale: 0, .. } => i64::try_from(*value).ok()?,
        Value::NVarChar(text) => text.trim().parse().ok()?,
        Value::Variant(inner) => as_integer(inner)?,
        Value::Null | Value::Guid(_) | Value::Numeric { .. } | Value::DateTime(_) | Value::Binary(_) => return None,
    })
}

/// The value as text; `None` for NULL.
pub fn as_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::NVarChar(text) => text.clone(),
        Value::Guid(bytes) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]].map(<[String]>::concat).join("-")
        }
        Value::Variant(inner) => as_text(inner)?,
        Value::Binary(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        Value::DateTime(millis) => millis.to_string(),
        Value::Numeric { value, .. } => value.to_string(),
        other => as_integer(other)?.to_string(),
    })
}

/// The order of two values; `None` if a value is NULL. Strings compare without case and trailing blanks, as in the
/// default collation.
pub fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    let textual = |value: &Value| matches!(value, Value::NVarChar(_) | Value::Guid(_));
    if (textual(a) && textual(b)) || matches!(a, Value::Guid(_)) || matches!(b, Value::Guid(_)) {
        let fold = |value| as_text(value).map(|text| text.trim_end().to_lowercase());
        return Some(fold(a)?.cmp(&fold(b)?));
    }
    Some(as_integer(a)?.cmp(&as_integer(b)?))
}

/// Whether the text matches a LIKE pattern with `%` and `_`, without case.
pub fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    // matched[j]: the pattern up to here matches the first j characters.
    let mut matched = vec![false; text.len() + 1];
    matched[0] = true;
    for c in pattern {
        let before = matched.clone();
        for at in 0..=text.len() {
            matched[at] = match c {
                '%' => before[..=at].iter().any(|matched| *matched),
                '_' => at > 0 && before[at - 1],
                c => at > 0 && before[at - 1] && text[at - 1] == c,
            };
        }
    }
    matched[text.len()]
}

/// Converts a value to a type. NULL stays NULL.
///
/// # Errors
/// The text of error 245 for a value that cannot be converted.
pub fn cast(value: Value, ty: SqlType) -> Result<Value, String> {
    let value = unwrap_variant(value);
    if value == Value::Null {
        return Ok(Value::Null);
    }
    let failed = || format!("Conversion failed when converting the value {value:?} to {ty:?}.");
    let integer = || as_integer(&value).ok_or_else(failed);
    Ok(match ty {
        SqlType::Bit => Value::Bit(integer()? != 0),
        SqlType::TinyInt => Value::TinyInt(u8::try_from(integer()?).map_err(|_| failed())?),
        SqlType::SmallInt => Value::SmallInt(i16::try_from(integer()?).map_err(|_| failed())?),
        SqlType::Int => Value::Int(i32::try_from(integer()?).map_err(|_| failed())?),
        SqlType::BigInt => Value::BigInt(integer()?),
        SqlType::NVarChar(size) => {
            let text = as_text(&value).ok_or_else(failed)?;
            Value::NVarChar(if size == 0 { text } else { text.chars().take(usize::from(size)).collect() })
        }
        SqlType::Char(size) => {
            let text = as_text(&value).ok_or_else(failed)?;
            let size = usize::from(size);
            Value::NVarChar(format!("{:<size$}", text.chars().take(size).collect::<String>()))
        }
        SqlType::Numeric { precision, scale } => Value::Numeric { value: i128::from(integer()?), precision, scale },
        SqlType::Guid => match &value {
            Value::Guid(_) => value,
            other => {
                let digits: Vec<u8> = as_text(other).ok_or_else(failed)?.bytes().filter(|byte| *byte != b'-').collect();
                let mut bytes = [0; 16];
                if digits.len() != 32 {
                    return Err(failed());
                }
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|_| failed())?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| failed())?;
                }
                Value::Guid(bytes)
            }
        },
        SqlType::DateTime => Value::DateTime(integer()?),
        SqlType::Binary(_) => match value {
            Value::Binary(_) => value,
            _ => return Err(failed()),
        },
        SqlType::Variant => Value::Variant(Box::new(value)),
    })
}
