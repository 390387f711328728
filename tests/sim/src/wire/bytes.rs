//! A bounds-checked reader, and the string formats of TDS.

use super::WireError;
use bytes::{BufMut, BytesMut};

#[derive(Debug, Clone)]
pub struct Reader<'a> {
    data: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// `what` is the name of the message in errors.
    pub fn new(what: &'static str, data: &'a [u8]) -> Self {
        Self { data, what }
    }

    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    pub fn peek(&self) -> Option<u8> {
        self.data.first().copied()
    }

    pub fn malformed(&self) -> WireError {
        WireError::Malformed(self.what)
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.data.split_at_checked(count).ok_or(WireError::Malformed(self.what))?;
        self.data = tail;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, tail) = self.data.split_first_chunk::<N>().ok_or(WireError::Malformed(self.what))?;
        self.data = tail;
        Ok(*head)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.data)
    }

    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u16_be(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A string of `units` UTF-16 code units.
    pub fn utf16(&mut self, units: usize) -> Result<String, WireError> {
        let bytes = self.take(units.checked_mul(2).ok_or(WireError::Malformed(self.what))?)?;
        utf16(bytes).ok_or(WireError::Malformed(self.what))
    }

    pub fn b_varchar(&mut self) -> Result<String, WireError> {
        let units = self.u8()?;
        self.utf16(usize::from(units))
    }
}

/// Decodes UTF-16LE. A lone surrogate becomes U+FFFD; an odd length is an error.
pub fn utf16(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Some(String::from_utf16_lossy(&units))
}

/// At most `limit` code units of `text`, so that the length field always matches the string.
pub fn units(text: &str, limit: usize) -> Vec<u16> {
    text.encode_utf16().take(limit).collect()
}

pub trait PutTds {
    fn put_units(&mut self, units: &[u16]);
    fn put_b_varchar(&mut self, text: &str);
    fn put_us_varchar(&mut self, text: &str);
}

impl PutTds for BytesMut {
    fn put_units(&mut self, units: &[u16]) {
        for unit in units {
            self.put_u16_le(*unit);
        }
    }

    fn put_b_varchar(&mut self, text: &str) {
        let units = units(text, usize::from(u8::MAX));
        self.put_u8(units.len() as u8);
        self.put_units(&units);
    }

    fn put_us_varchar(&mut self, text: &str) {
        let units = units(text, 8000);
        self.put_u16_le(units.len() as u16);
        self.put_units(&units);
    }
}
