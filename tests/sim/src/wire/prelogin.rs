//! The PRELOGIN message and the negotiation of encryption.

use super::WireError;
use super::bytes::Reader;
use crate::config::TlsMode;
use bytes::{BufMut, BytesMut};

const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const INSTOPT: u8 = 2;
const THREADID: u8 = 3;
const MARS: u8 = 4;
const TERMINATOR: u8 = 0xFF;

/// The ENCRYPTION byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encrypt {
    Off = 0,
    On = 1,
    NotSupported = 2,
    Required = 3,
}

impl Encrypt {
    fn parse(byte: u8) -> Result<Self, WireError> {
        match byte {
            0 => Ok(Self::Off),
            1 => Ok(Self::On),
            2 => Ok(Self::NotSupported),
            3 => Ok(Self::Required),
            _ => Err(WireError::Malformed("PRELOGIN encryption")),
        }
    }
}

/// The part of the connection that TLS covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionScope {
    Nothing,
    Login,
    Everything,
    /// The negotiation failed. The client must disconnect, or the server disconnects it.
    Refused,
}

impl EncryptionScope {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing | Self::Refused => "nothing",
            Self::Login => "login",
            Self::Everything => "everything",
        }
    }
}

/// The table of MS-TDS 2.2.6.5: the encryption byte of the response, and the resulting scope.
pub fn agree(client: Encrypt, server: TlsMode) -> (Encrypt, EncryptionScope) {
    use Encrypt::{NotSupported, Off, On, Required};
    match (client, server) {
        (Off | NotSupported, TlsMode::Off) => (NotSupported, EncryptionScope::Nothing),
        (On | Required, TlsMode::Off) => (NotSupported, EncryptionScope::Refused),
        (Off, TlsMode::LoginOnly) => (Off, EncryptionScope::Login),
        (NotSupported, TlsMode::LoginOnly) => (NotSupported, EncryptionScope::Nothing),
        (On | Required, TlsMode::LoginOnly | TlsMode::Required) => (On, EncryptionScope::Everything),
        (Off, TlsMode::Required) => (Required, EncryptionScope::Everything),
        (NotSupported, TlsMode::Required) => (Required, EncryptionScope::Refused),
    }
}

/// The options of a client that the server uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prelogin {
    pub encrypt: Encrypt,
    pub instance: String,
}

impl Prelogin {
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "PRELOGIN";
        let mut table = Reader::new(WHAT, payload);
        let mut found = Self { encrypt: Encrypt::NotSupported, instance: String::new() };
        loop {
            let option = table.u8()?;
            if option == TERMINATOR {
                return Ok(found);
            }
            let mut data = Reader::new(WHAT, payload);
            let (offset, length) = (table.u16_be()?, table.u16_be()?);
            data.take(usize::from(offset))?;
            let data = data.take(usize::from(length))?;
            match option {
                ENCRYPTION => found.encrypt = Encrypt::parse(*data.first().ok_or(WireError::Malformed(WHAT))?)?,
                INSTOPT => {
                    let name = data.split(|byte| *byte == 0).next().unwrap_or_default();
                    found.instance = String::from_utf8_lossy(name).into_owned();
                }
                _ => {}
            }
        }
    }
}

/// The PRELOGIN response. THREADID is empty: some clients reject a value other than 0.
pub fn answer(version: [u8; 4], encrypt: Encrypt, instance_matches: bool) -> BytesMut {
    let mut build = [0; 6];
    build[..4].copy_from_slice(&version);
    let options: [(u8, &[u8]); 5] = [
        (VERSION, &build),
        (ENCRYPTION, &[encrypt as u8]),
        (INSTOPT, if instance_matches { &[0] } else { &[1] }),
        (THREADID, &[]),
        (MARS, &[0]),
    ];
    let mut out = BytesMut::new();
    let mut offset = options.len() * 5 + 1;
    for (option, data) in options {
        out.put_u8(option);
        out.put_u16(offset as u16);
        out.put_u16(data.len() as u16);
        offset += data.len();
    }
    out.put_u8(TERMINATOR);
    for (_, data) in options {
        out.put_slice(data);
    }
    out
}
