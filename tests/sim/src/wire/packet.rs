//! Packets, and their reassembly into messages (MS-TDS 2.2.3).

use super::WireError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub const HEADER: usize = 8;
pub const DEFAULT_SIZE: u16 = 4096;

pub mod kind {
    pub const BATCH: u8 = 0x01;
    pub const RPC: u8 = 0x03;
    pub const ANSWER: u8 = 0x04;
    pub const ATTENTION: u8 = 0x06;
    pub const TRANSACTION: u8 = 0x0E;
    pub const LOGIN7: u8 = 0x10;
    pub const SSPI: u8 = 0x11;
    pub const PRELOGIN: u8 = 0x12;
}

const END: u8 = 0x01;
const IGNORE: u8 = 0x02;
const RESET: u8 = 0x08 | SKIP_TRANSACTION;
const SKIP_TRANSACTION: u8 = 0x10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    /// The session must be reset before the message is executed.
    pub reset: bool,
    /// The reset keeps the transaction.
    pub keeps_transaction: bool,
    /// The client has given up the request: it must not be executed.
    pub ignored: bool,
    pub payload: Vec<u8>,
}

impl Message {
    fn new(kind: u8) -> Self {
        Self { kind, reset: false, keeps_transaction: false, ignored: false, payload: Vec::new() }
    }
}

/// The maximum size of a message, in bytes.
fn limit(kind: u8) -> Result<usize, WireError> {
    match kind {
        kind::PRELOGIN => Ok(8 << 10),
        kind::LOGIN7 | kind::SSPI => Ok(128 << 10),
        kind::BATCH | kind::RPC | kind::TRANSACTION => Ok(16 << 20),
        kind::ATTENTION => Ok(0),
        other => Err(WireError::Unexpected(other)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    pub status: u8,
    pub length: u16,
}

impl Header {
    pub fn parse(bytes: [u8; HEADER]) -> Result<Self, WireError> {
        let header = Self { kind: bytes[0], status: bytes[1], length: u16::from_be_bytes([bytes[2], bytes[3]]) };
        match usize::from(header.length) {
            HEADER.. => Ok(header),
            _ => Err(WireError::Malformed("packet header")),
        }
    }

    pub fn body(self) -> usize {
        usize::from(self.length) - HEADER
    }
}

/// The next complete message; `None` if the peer closes the connection between two messages.
///
/// # Errors
/// An unexpected kind, a message above its size limit, a malformed packet, or a read error.
pub async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Message>, WireError> {
    let mut message: Option<Message> = None;
    loop {
        let Some(header) = read_header(from, message.is_none()).await? else { return Ok(None) };
        let limit = limit(header.kind)?;
        let mut current = match message.take() {
            Some(partial) if partial.kind == header.kind => partial,
            // An ATTENTION may interrupt an incomplete request.
            None => Message::new(header.kind),
            Some(_) if header.kind == kind::ATTENTION => Message::new(header.kind),
            Some(_) => return Err(WireError::Malformed("packet sequence")),
        };
        let start = current.payload.len();
        if start + header.body() > limit {
            return Err(WireError::TooLarge { kind: header.kind, limit });
        }
        current.payload.resize(start + header.body(), 0);
        from.read_exact(&mut current.payload[start..]).await?;
        current.reset |= header.status & RESET != 0;
        current.keeps_transaction |= header.status & SKIP_TRANSACTION != 0;
        current.ignored = header.status & IGNORE != 0;
        if header.status & (END | IGNORE) != 0 {
            return Ok(Some(current));
        }
        message = Some(current);
    }
}

async fn read_header(from: &mut (impl AsyncRead + Unpin), first: bool) -> Result<Option<Header>, WireError> {
    let mut bytes = [0; HEADER];
    let got = from.read(&mut bytes).await?;
    if got == 0 && first {
        return Ok(None);
    }
    if got == 0 {
        return Err(WireError::Malformed("end of stream inside a message"));
    }
    from.read_exact(&mut bytes[got..]).await?;
    Header::parse(bytes).map(Some)
}

/// Splits a payload into packets of at most `size` bytes. An empty payload becomes one empty packet.
pub fn split(kind: u8, spid: u16, size: u16, payload: &[u8]) -> Vec<u8> {
    let body = usize::from(size).max(HEADER + 1) - HEADER;
    let count = payload.len().div_ceil(body).max(1);
    let mut out = Vec::with_capacity(payload.len() + count * HEADER);
    for index in 0..count {
        let part = &payload[index * body..payload.len().min((index + 1) * body)];
        let status = if index + 1 == count { END } else { 0 };
        out.extend([kind, status]);
        out.extend(((part.len() + HEADER) as u16).to_be_bytes());
        out.extend(spid.to_be_bytes());
        out.extend([(index as u8).wrapping_add(1), 0]);
        out.extend(part);
    }
    out
}

/// Writes a message in packets of at most `size` bytes and flushes.
pub async fn write_message(
    to: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    spid: u16,
    size: u16,
    payload: &[u8],
) -> Result<(), WireError> {
    to.write_all(&split(kind, spid, size, payload)).await?;
    to.flush().await?;
    Ok(())
}
