//! The LOGIN7 message (MS-TDS 2.2.6.4).

use super::WireError;
use super::bytes::{Reader, utf16};

const WHAT: &str = "LOGIN7";
const FIXED: usize = 94;
const INTEGRATED: u8 = 0x80;
const EXTENSION: u8 = 0x10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login7 {
    pub tds_version: u32,
    pub packet_size: u32,
    pub host: String,
    pub user: String,
    pub password: String,
    pub app: String,
    pub server: String,
    pub database: String,
    /// The SSPI token that replaces the password.
    pub sspi: Option<Vec<u8>>,
    /// The ids of the FeatureExt block; `None` without a block.
    pub features: Option<Vec<u8>>,
}

impl Login7 {
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        if payload.len() < FIXED {
            return Err(WireError::Malformed(WHAT));
        }
        let mut head = Reader::new(WHAT, payload);
        if head.u32()? as usize != payload.len() {
            return Err(WireError::Malformed(WHAT));
        }
        let (tds_version, packet_size) = (head.u32()?, head.u32()?);
        head.take(12)?;
        let [_, flags2, _, flags3] = head.array()?;
        head.take(8)?;
        let host = text(&mut head, payload)?;
        let user = text(&mut head, payload)?;
        let password = decode_password(field(&mut head, payload)?)?;
        let app = text(&mut head, payload)?;
        let server = text(&mut head, payload)?;
        let (extension, extension_length) = (head.u16()?, head.u16()?);
        let _library = text(&mut head, payload)?;
        let _language = text(&mut head, payload)?;
        let database = text(&mut head, payload)?;
        let _client_id: [u8; 6] = head.array()?;
        let (sspi, short_length) = (head.u16()?, usize::from(head.u16()?));
        head.take(8)?;
        let long_length = head.u32()? as usize;
        // The long length is valid only if the short length is 0xFFFF.
        let length = if short_length == 0xFFFF && long_length > 0 { long_length } else { short_length };
        let sspi = match flags2 & INTEGRATED {
            0 => None,
            _ => Some(slice(payload, sspi.into(), length)?.to_vec()),
        };
        let features = match flags3 & EXTENSION {
            0 => None,
            _ => Some(features(payload, extension.into(), extension_length.into())?),
        };
        Ok(Self { tds_version, packet_size, host, user, password, app, server, database, sspi, features })
    }

    /// The packet size of the session; a requested size of 0 means the default.
    pub fn agreed_packet_size(&self) -> u16 {
        match self.packet_size {
            0 => super::packet::DEFAULT_SIZE,
            size => size.clamp(512, 32767) as u16,
        }
    }
}

fn field<'a>(head: &mut Reader, payload: &'a [u8]) -> Result<&'a [u8], WireError> {
    let (offset, units) = (head.u16()?, head.u16()?);
    slice(payload, offset.into(), usize::from(units) * 2)
}

fn text(head: &mut Reader, payload: &[u8]) -> Result<String, WireError> {
    utf16(field(head, payload)?).ok_or(WireError::Malformed(WHAT))
}

fn slice(payload: &[u8], offset: usize, length: usize) -> Result<&[u8], WireError> {
    match length {
        // The offset of an empty field is undefined.
        0 => Ok(&[]),
        _ => payload.get(offset..offset + length).ok_or(WireError::Malformed(WHAT)),
    }
}

/// Decodes a password: XOR with 0xA5, then swap the nibbles of each byte.
fn decode_password(hidden: &[u8]) -> Result<String, WireError> {
    let plain: Vec<u8> = hidden.iter().map(|byte| (byte ^ 0xA5).rotate_left(4)).collect();
    utf16(&plain).ok_or(WireError::Malformed(WHAT))
}

fn features(payload: &[u8], offset: usize, length: usize) -> Result<Vec<u8>, WireError> {
    let at = Reader::new(WHAT, slice(payload, offset, length)?).u32()? as usize;
    let mut block = Reader::new(WHAT, payload.get(at..).ok_or(WireError::Malformed(WHAT))?);
    let mut ids = Vec::new();
    loop {
        match block.u8()? {
            0xFF => return Ok(ids),
            id => {
                let length = block.u32()? as usize;
                block.take(length)?;
                ids.push(id);
            }
        }
    }
}
