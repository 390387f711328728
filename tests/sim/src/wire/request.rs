//! Requests after the login: SQL batches and transaction manager requests. Module `rpc` decodes RPC.

use super::WireError;
use super::bytes::{Reader, utf16};

/// Skips ALL_HEADERS: a length, then headers that the server does not use.
pub fn skip_headers(reader: &mut Reader) -> Result<(), WireError> {
    let total = reader.u32()? as usize;
    reader.take(total.checked_sub(4).ok_or(reader.malformed())?)?;
    Ok(())
}

pub fn batch(payload: &[u8]) -> Result<String, WireError> {
    let mut reader = Reader::new("SQLBatch", payload);
    skip_headers(&mut reader)?;
    utf16(reader.rest()).ok_or(reader.malformed())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    Begin,
    Commit { then_begin: bool },
    Rollback { then_begin: bool },
    Save,
}

pub fn transaction(payload: &[u8]) -> Result<Transaction, WireError> {
    let mut reader = Reader::new("transaction manager request", payload);
    skip_headers(&mut reader)?;
    let request = reader.u16()?;
    match request {
        5 => Ok(Transaction::Begin),
        7 | 8 => {
            let name = reader.u8()?;
            reader.take(name.into())?;
            let then_begin = reader.u8()? & 1 != 0;
            Ok(if request == 7 { Transaction::Commit { then_begin } } else { Transaction::Rollback { then_begin } })
        }
        9 => Ok(Transaction::Save),
        _ => Err(reader.malformed()),
    }
}
