//! Casts, comparison and text of values. A conversion that is not implemented exactly is error 102, which the caller
//! records.

use std::cmp::Ordering;

use super::collation::Collation;
use super::evaluate::error;
use crate::value::{Message, SqlType, Value};

/// The error of a feature that the interpreter does not implement. Batches record every error 102.
pub fn unsupported(what: impl std::fmt::Display) -> Message {
    error(102, 15, format!("Incorrect syntax near '{what}'."))
}

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
        Value::Numeric { value, scale, .. } => i64::try_from(value / power_of_ten(*scale)?).ok()?,
        Value::NVarChar(text) if text.trim().is_empty() => 0,
        Value::NVarChar(text) => text.trim().parse().ok()?,
        Value::Variant(inner) => as_integer(inner)?,
        Value::Null | Value::Guid(_) | Value::DateTime(_) | Value::Binary(_) | Value::Real(_) => return None,
    })
}

fn power_of_ten(scale: u8) -> Option<i128> {
    10i128.checked_pow(scale.into())
}

/// The value as text; `None` for NULL and for a value whose text is not implemented.
pub fn as_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null | Value::Binary(_) | Value::DateTime(_) | Value::Real(_) => return None,
        Value::NVarChar(text) => text.clone(),
        Value::Guid(bytes) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]].map(<[String]>::concat).join("-")
        }
        Value::Variant(inner) => as_text(inner)?,
        Value::Numeric { value, scale, .. } => {
            let (digits, scale) =
                (format!("{:0>width$}", value.unsigned_abs(), width = usize::from(*scale) + 1), *scale);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if *value < 0 { "-" } else { "" };
            if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
        }
        other => as_integer(other)?.to_string(),
    })
}

/// The order of two values; `None` if a value is NULL. A text and a value of another type compare as that type.
///
/// # Errors
/// 245 for a text that is not a number, 8169 for a text that is not a GUID, 102 for types that do not compare here.
pub fn compare(a: &Value, b: &Value, collation: Collation) -> Result<Option<Ordering>, Message> {
    let (a, b) = (unwrap_variant(a.clone()), unwrap_variant(b.clone()));
    Ok(match (&a, &b) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::NVarChar(a), Value::NVarChar(b)) => Some(collation.compare(a, b)),
        (Value::Guid(a), Value::Guid(b)) => Some(guid_key(a).cmp(&guid_key(b))),
        (Value::Guid(_), Value::NVarChar(_)) => return compare(&a, &cast(b, SqlType::Guid)?, collation),
        (Value::NVarChar(_), Value::Guid(_)) => return compare(&cast(a, SqlType::Guid)?, &b, collation),
        (Value::Binary(a), Value::Binary(b)) => {
            let strip = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            Some(a[..strip(a)].cmp(&b[..strip(b)]))
        }
        (Value::DateTime(a), Value::DateTime(b)) => Some(a.cmp(b)),
        (Value::Guid(_) | Value::Binary(_) | Value::DateTime(_), _) => return Err(unsupported("comparison")),
        (_, Value::Guid(_) | Value::Binary(_) | Value::DateTime(_)) => return Err(unsupported("comparison")),
        _ => {
            let (a, b) = (number(&a)?, number(&b)?);
            let scale = a.1.max(b.1);
            let scaled = |(value, own): (i128, u8)| value.checked_mul(power_of_ten(scale - own)?);
            match (scaled(a), scaled(b)) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => {
                    return Err(error(
                        8115,
                        16,
                        "Arithmetic overflow error converting expression to data type numeric.",
                    ));
                }
            }
        }
    })
}

/// The digits and the scale of a number, or of a text that is an integer.
fn number(value: &Value) -> Result<(i128, u8), Message> {
    match value {
        Value::Numeric { value, scale, .. } => Ok((*value, *scale)),
        other => match as_integer(other) {
            Some(number) => Ok((number.into(), 0)),
            None => Err(not_a_number(other, "int")),
        },
    }
}

fn not_a_number(value: &Value, ty: &str) -> Message {
    let text = as_text(value).unwrap_or_default();
    error(245, 16, format!("Conversion failed when converting the nvarchar value '{text}' to data type {ty}."))
}

/// A total order for ORDER BY: NULL is the lowest value.
pub fn sort_order(a: &Value, b: &Value, collation: Collation) -> Ordering {
    match (a == &Value::Null, b == &Value::Null) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        // The values of one column have one type, so that the comparison has a result.
        (false, false) => compare(a, b, collation).ok().flatten().unwrap_or(Ordering::Equal),
    }
}

/// The bytes of a GUID in the order in which SQL Server compares them.
fn guid_key(guid: &[u8; 16]) -> [u8; 16] {
    // The value has the order of its text; SQL Server stores the first three groups reversed.
    const ORDER: [usize; 16] = [10, 11, 12, 13, 14, 15, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0];
    ORDER.map(|at| guid[at])
}

/// Whether the text matches a LIKE pattern with `%`, `_` and `[]`, exactly.
pub fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    // matched[j]: the pattern up to here matches the first j characters.
    let mut matched = vec![false; text.len() + 1];
    matched[0] = true;
    let mut at = 0;
    while let Some(&c) = pattern.get(at) {
        at += 1;
        let mut next = vec![false; text.len() + 1];
        if c == '%' {
            let mut any = false;
            for (slot, before) in next.iter_mut().zip(&matched) {
                any |= before;
                *slot = any;
            }
        } else {
            let set =
                if c == '[' { pattern[at..].iter().position(|c| *c == ']').map(|end| at..at + end) } else { None };
            for (index, letter) in text.iter().enumerate() {
                let fits = match &set {
                    Some(set) => in_set(*letter, &pattern[set.clone()]),
                    None => c == '_' || c == *letter,
                };
                next[index + 1] = matched[index] && fits;
            }
            at = set.map_or(at, |set| set.end + 1);
        }
        matched = next;
    }
    matched[text.len()]
}

/// Whether a character is in the set of a LIKE pattern, such as `a-f` or `^xyz`.
fn in_set(letter: char, set: &[char]) -> bool {
    let (negated, set) = match set {
        ['^', rest @ ..] => (true, rest),
        set => (false, set),
    };
    let mut at = 0;
    let mut found = false;
    while let Some(&from) = set.get(at) {
        match (set.get(at + 1), set.get(at + 2)) {
            (Some('-'), Some(to)) => {
                found |= (from..=*to).contains(&letter);
                at += 3;
            }
            _ => {
                found |= from == letter;
                at += 1;
            }
        }
    }
    found != negated
}

/// Converts a value to a type. NULL stays NULL.
///
/// # Errors
/// 245, 220, 8115, 8169 or 8170 as SQL Server; 102 for a conversion that is not implemented.
pub fn cast(value: Value, ty: SqlType) -> Result<Value, Message> {
    let value = unwrap_variant(value);
    if value == Value::Null {
        return Ok(Value::Null);
    }
    Ok(match ty {
        SqlType::Bit => Value::Bit(integer(&value, "bit")? != 0),
        SqlType::TinyInt => Value::TinyInt(small(&value, "tinyint")?),
        SqlType::SmallInt => Value::SmallInt(small(&value, "smallint")?),
        SqlType::Int => Value::Int(i32::try_from(integer(&value, "int")?).map_err(|_| overflow("int"))?),
        SqlType::BigInt => Value::BigInt(integer(&value, "bigint")?),
        SqlType::NVarChar(size) => Value::NVarChar(cast_text(&value, size, "nvarchar")?),
        SqlType::VarChar(size) => Value::NVarChar(cast_text(&value, size, "varchar")?),
        SqlType::Char(size) => {
            let text = cast_text(&value, size, "char")?;
            Value::NVarChar(format!("{text:<width$}", width = usize::from(size)))
        }
        SqlType::Numeric { precision, scale } => cast_numeric(&value, precision, scale)?,
        SqlType::Guid => match &value {
            Value::Guid(_) => value,
            Value::NVarChar(text) => parse_guid(text).ok_or_else(|| {
                error(8169, 16, "Conversion failed when converting from a character string to uniqueidentifier.")
            })?,
            _ => return Err(unsupported("uniqueidentifier")),
        },
        SqlType::DateTime => match value {
            Value::DateTime(_) => value,
            _ => return Err(unsupported("datetime")),
        },
        SqlType::Real => match value {
            Value::Real(_) => value,
            _ => return Err(unsupported("real")),
        },
        SqlType::Binary(size) => match value {
            Value::Binary(mut bytes) => {
                if size > 0 {
                    bytes.truncate(size.into());
                }
                Value::Binary(bytes)
            }
            _ => return Err(unsupported("varbinary")),
        },
        SqlType::Variant => Value::Variant(Box::new(value)),
    })
}

fn overflow(ty: &str) -> Message {
    error(8115, 16, format!("Arithmetic overflow error converting expression to data type {ty}."))
}

fn integer(value: &Value, ty: &str) -> Result<i64, Message> {
    match value {
        Value::Guid(_) | Value::DateTime(_) | Value::Binary(_) | Value::Real(_) => Err(unsupported(ty)),
        value => as_integer(value).ok_or_else(|| not_a_number(value, ty)),
    }
}

fn small<T: TryFrom<i64>>(value: &Value, ty: &str) -> Result<T, Message> {
    let number = integer(value, ty)?;
    let text = || format!("Arithmetic overflow error for data type {ty}, value = {number}.");
    T::try_from(number).map_err(|_| error(220, 16, text()))
}

/// The text of a value, cut to a number of UTF-16 units; 0 is no limit. Only texts are cut.
fn cast_text(value: &Value, size: u16, ty: &str) -> Result<String, Message> {
    let text = as_text(value).ok_or_else(|| unsupported(ty))?;
    let size = usize::from(size);
    if size == 0 || text.encode_utf16().count() <= size {
        return Ok(text);
    }
    match value {
        Value::NVarChar(_) => {
            let units: Vec<u16> = text.encode_utf16().take(size).collect();
            String::from_utf16(&units).map_err(|_| unsupported("half of a surrogate pair"))
        }
        Value::Guid(_) => Err(error(8170, 16, "Insufficient result space to convert uniqueidentifier value to char.")),
        _ => Err(overflow(ty)),
    }
}

fn cast_numeric(value: &Value, precision: u8, scale: u8) -> Result<Value, Message> {
    let (digits, own) = match value {
        Value::NVarChar(_) if as_integer(value).is_none() => return Err(unsupported("numeric")),
        Value::Guid(_) | Value::DateTime(_) | Value::Binary(_) => return Err(unsupported("numeric")),
        value => number(value)?,
    };
    // A smaller scale rounds, which is not implemented.
    let factor = scale.checked_sub(own).and_then(power_of_ten).ok_or_else(|| unsupported("numeric"))?;
    let value = digits.checked_mul(factor).filter(|value| power_of_ten(precision).is_some_and(|max| value.abs() < max));
    Ok(Value::Numeric { value: value.ok_or_else(|| overflow("numeric"))?, precision, scale })
}

fn parse_guid(text: &str) -> Option<Value> {
    let digits: Vec<u8> = text.trim().bytes().filter(|byte| !matches!(byte, b'-' | b'{' | b'}')).collect();
    let mut bytes = [0; 16];
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Value::Guid(bytes))
}
