//! Decodes RPC parameters: TYPE_INFO and value (MS-TDS 2.2.5.4 and 2.2.5.5).

use super::WireError;
use super::bytes::{Reader, utf16};
use super::code_page::decode_1252;
use super::types::guid_bytes;
use crate::value::Value;

/// BIGVARCHRTYPE.
pub const VARCHAR: u8 = 0xA7;

/// The next parameter value.
///
/// # Errors
/// An unsupported type or a malformed value.
pub fn read_value(reader: &mut Reader) -> Result<Value, WireError> {
    let ty = reader.u8()?;
    match ty {
        0x1F => Ok(Value::Null),
        0x30 => Ok(Value::TinyInt(reader.u8()?)),
        0x32 => Ok(Value::Bit(reader.u8()? != 0)),
        0x34 => Ok(Value::SmallInt(i16::from_le_bytes(reader.array()?))),
        0x38 => Ok(Value::Int(reader.i32()?)),
        0x7F => Ok(Value::BigInt(i64::from_le_bytes(reader.array()?))),
        0x3D => datetime(reader.take(8)?),
        0x24 | 0x26 | 0x68 | 0x6F => {
            reader.u8()?;
            let length = reader.u8()?;
            variable(ty, reader.take(length.into())?)
        }
        0x6A | 0x6C => {
            let [_, precision, scale] = reader.array()?;
            let length = reader.u8()?;
            numeric(reader.take(length.into())?, precision, scale)
        }
        VARCHAR | 0xAF | 0xE7 | 0xEF => {
            let length = reader.u16()?;
            reader.take(5)?;
            text(ty, read_long_value(reader, length)?)
        }
        0xA5 | 0xAD => {
            let length = reader.u16()?;
            Ok(read_long_value(reader, length)?.map_or(Value::Null, Value::Binary))
        }
        0x23 | 0x63 => {
            reader.take(4 + 5)?;
            let length = reader.u32()?;
            let bytes = match length {
                u32::MAX => None,
                length => Some(reader.take(length as usize)?.to_vec()),
            };
            text(ty, bytes)
        }
        other => Err(WireError::ParameterType(other)),
    }
}

/// The data of a type with a two-byte length. A declared length of 0xFFFF means chunks.
fn read_long_value(reader: &mut Reader, declared: u16) -> Result<Option<Vec<u8>>, WireError> {
    if declared != 0xFFFF {
        let length = reader.u16()?;
        return match length {
            0xFFFF => Ok(None),
            length => Ok(Some(reader.take(length.into())?.to_vec())),
        };
    }
    if reader.u64()? == u64::MAX {
        return Ok(None);
    }
    let mut whole = Vec::new();
    loop {
        match reader.u32()? {
            0 => return Ok(Some(whole)),
            length => whole.extend(reader.take(length as usize)?),
        }
    }
}

/// Decodes text: UTF-16 for Unicode types, code page 1252 for the others.
fn text(ty: u8, bytes: Option<Vec<u8>>) -> Result<Value, WireError> {
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    match ty {
        0xE7 | 0xEF | 0x63 => utf16(&bytes).map(Value::NVarChar).ok_or(WireError::Malformed("text parameter")),
        _ => Ok(Value::NVarChar(decode_1252(&bytes))),
    }
}

fn variable(ty: u8, bytes: &[u8]) -> Result<Value, WireError> {
    let value = match (ty, bytes) {
        (_, []) => Value::Null,
        (0x68, [bit]) => Value::Bit(*bit != 0),
        (0x26, [number]) => Value::TinyInt(*number),
        (0x26, [a, b]) => Value::SmallInt(i16::from_le_bytes([*a, *b])),
        (0x26, [a, b, c, d]) => Value::Int(i32::from_le_bytes([*a, *b, *c, *d])),
        (0x26, [a, b, c, d, e, f, g, h]) => Value::BigInt(i64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        (0x6F, bytes) => datetime(bytes)?,
        (0x24, bytes) => {
            Value::Guid(guid_bytes(bytes.try_into().map_err(|_| WireError::Malformed("uniqueidentifier parameter"))?))
        }
        _ => return Err(WireError::Malformed("parameter length")),
    };
    Ok(value)
}

fn numeric(bytes: &[u8], precision: u8, scale: u8) -> Result<Value, WireError> {
    let Some((sign, magnitude)) = bytes.split_first() else { return Ok(Value::Null) };
    let mut wide = [0; 16];
    wide.get_mut(..magnitude.len()).ok_or(WireError::Malformed("numeric parameter"))?.copy_from_slice(magnitude);
    let value = i128::try_from(u128::from_le_bytes(wide)).map_err(|_| WireError::Malformed("numeric parameter"))?;
    Ok(Value::Numeric { value: if *sign == 0 { -value } else { value }, precision, scale })
}

fn datetime(bytes: &[u8]) -> Result<Value, WireError> {
    let mut reader = Reader::new("datetime parameter", bytes);
    let (days, millis) = match bytes.len() {
        4 => (i64::from(reader.u16()?), i64::from(reader.u16()?) * 60_000),
        _ => (i64::from(reader.i32()?), (i64::from(reader.u32()?) * 10 + 1) / 3),
    };
    Ok(Value::DateTime(days * 86_400_000 + millis))
}
