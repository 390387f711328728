//! Inserts a Kerberos token into the driver's LOGIN7 and extracts the server's token from the response (MS-TDS 2.2.6.4,
//! 2.2.7.22), because the driver supports passwords only. `kerberos` obtains the token.
//!
//! ```text
//! state        driver (tiberius)            SspiStream                       server
//! -----------  ---------------------------  -------------------------------  -----------------------------
//! Login        LOGIN7 packets (0x10)   -->  buffers until end of message
//!                                           sets fIntSecurity, appends the
//!                                           token, fixes ibSSPI and cbSSPI
//! Wait                                      sends from `sent` on        -->  LOGIN7 packets (0x10)
//!                                           drops a message with only   <--  response (0x04) [SSPI 0xed]
//!                                           the SSPI token, reads on
//!                                           buffers until end of msg.   <--  response (0x04) [SSPI], LOGINACK, ...
//! Replay       response (0x04)         <--  returns from `given` on
//! PassThrough  any packet              <->  unchanged                   <->  any packet
//! ```
//!
//! Without a token, the stream starts in `PassThrough`. A message of another type or a response over `LONGEST` bytes
//! is an `InvalidData` error.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sql::prelogin::{HEADER, Header, TABULAR, packets};

const LOGIN7: u8 = 0x10;
/// The offsets of OptionFlags2 and of ibSSPI, which cbSSPI follows, in LOGIN7.
const FLAGS2: usize = 25;
const SSPI: usize = 78;
const FIXED: usize = 94;
const INTEGRATED: u8 = 0x80;
/// The bytes of type and length before a token.
const TOKEN_HEADER: usize = 3;
/// The longest accepted response to a login, in bytes.
const LONGEST: usize = 1 << 17;

/// The LOGIN7 with the token appended; `None` if the input is too short for a LOGIN7 or the token is too long.
fn with_token(login: &[u8], token: &[u8]) -> Option<Vec<u8>> {
    if login.len() < FIXED {
        return None;
    }
    let mut login = login.to_vec();
    let (at, length) = (u16::try_from(login.len()).ok()?, u16::try_from(token.len()).ok()?);
    login[FLAGS2] |= INTEGRATED;
    login[SSPI..SSPI + 2].copy_from_slice(&at.to_le_bytes());
    login[SSPI + 2..SSPI + 4].copy_from_slice(&length.to_le_bytes());
    login.extend_from_slice(token);
    let whole = u32::try_from(login.len()).ok()?;
    login[..4].copy_from_slice(&whole.to_le_bytes());
    Some(login)
}

/// The SSPI token of the server's response. Only ERROR, INFO, LOGINACK and ENVCHANGE may precede it.
fn token_in(mut answer: &[u8]) -> Option<&[u8]> {
    const SSPI: u8 = 0xed;
    /// ERROR, INFO, LOGINACK, ENVCHANGE.
    const BEFORE: [u8; 4] = [0xaa, 0xab, 0xad, 0xe3];
    while let [kind, low, high, rest @ ..] = answer {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let body = rest.get(..length)?;
        match *kind {
            SSPI => return Some(body),
            kind if BEFORE.contains(&kind) => answer = &rest[length..],
            _ => return None,
        }
    }
    None
}

/// The server's token, available after the response to the login.
#[derive(Debug, Clone, Default)]
pub struct ServerToken(Arc<Mutex<Option<Vec<u8>>>>);

impl ServerToken {
    /// Takes the token; `None` if the response had none.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().take()
    }
}

/// Collects the packets of one message.
#[derive(Debug, Default)]
struct MessageBuffer {
    bytes: Vec<u8>,
    payload: Vec<u8>,
    /// The number of `bytes` in complete packets.
    read: usize,
}

impl MessageBuffer {
    /// Whether the message is complete.
    ///
    /// # Errors
    /// `InvalidData` for a packet of a type other than `kind` or a message over `LONGEST` bytes.
    fn complete(&mut self, kind: u8) -> io::Result<bool> {
        while let Some(header) = self.bytes.get(self.read..self.read + HEADER) {
            let header = header.try_into().ok().and_then(Header::parse).filter(|header| header.kind == kind);
            let Header { last, length, .. } = header.ok_or_else(|| invalid("the packet is not a TDS response"))?;
            let start = self.read + HEADER;
            let Some(body) = self.bytes.get(start..start + length) else { return Ok(false) };
            self.payload.extend_from_slice(body);
            self.read = start + length;
            if last {
                return Ok(true);
            }
        }
        if self.bytes.len() > LONGEST {
            return Err(invalid("the login response is too long"));
        }
        Ok(false)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[derive(Debug)]
enum State {
    /// The driver writes its LOGIN7.
    Login {
        token: Vec<u8>,
        written: MessageBuffer,
    },
    /// Sends the login from `sent` on, then collects the response.
    Wait {
        login: Vec<u8>,
        sent: usize,
        answer: MessageBuffer,
    },
    /// Returns the response to the driver, from `given` on.
    Replay {
        answer: Vec<u8>,
        given: usize,
    },
    PassThrough,
}

/// Adds a token to the login and extracts the server's token from the response; transparent afterwards.
#[derive(Debug)]
pub struct SspiStream<S> {
    inner: S,
    state: State,
    server_token: ServerToken,
}

impl<S> SspiStream<S> {
    /// Without a token, the stream passes all bytes through.
    pub fn new(inner: S, token: Option<Vec<u8>>) -> Self {
        let state = token.map_or(State::PassThrough, |token| State::Login { token, written: MessageBuffer::default() });
        Self { inner, state, server_token: ServerToken::default() }
    }

    /// The shared slot for the server's token.
    pub fn server_token(&self) -> ServerToken {
        self.server_token.clone()
    }
}

impl<S: AsyncWrite + Unpin> SspiStream<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Wait { login, sent, .. } = &mut self.state {
            while *sent < login.len() {
                match ready!(Pin::new(&mut self.inner).poll_write(cx, &login[*sent..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => *sent += written,
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SspiStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        let this = &mut *self;
        if let State::Wait { answer, .. } = &mut this.state {
            let slot = this.server_token.0.clone();
            let mut slot = slot.lock();
            loop {
                if answer.complete(TABULAR)? {
                    let token = slot.is_none().then(|| token_in(&answer.payload)).flatten();
                    let token_only = token.is_some_and(|token| token.len() + TOKEN_HEADER == answer.payload.len());
                    *slot = token.map(<[u8]>::to_vec).or_else(|| slot.take());
                    if !token_only {
                        break;
                    }
                    // The driver would mistake the end of this message for the end of the response.
                    *answer = MessageBuffer { bytes: answer.bytes.split_off(answer.read), ..MessageBuffer::default() };
                    continue;
                }
                let mut part = [0; 4096];
                let mut part = ReadBuf::new(&mut part);
                ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
                if part.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                answer.bytes.extend_from_slice(part.filled());
            }
            this.state = State::Replay { answer: std::mem::take(&mut answer.bytes), given: 0 };
        }
        match &mut this.state {
            State::Replay { answer, given } => {
                let part = (answer.len() - *given).min(buf.remaining());
                buf.put_slice(&answer[*given..*given + part]);
                *given += part;
                if *given == answer.len() {
                    this.state = State::PassThrough;
                }
                Poll::Ready(Ok(()))
            }
            State::Login { .. } | State::Wait { .. } | State::PassThrough => {
                Pin::new(&mut this.inner).poll_read(cx, buf)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SspiStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let State::Login { token, written } = &mut self.state else {
            return Pin::new(&mut self.inner).poll_write(cx, buf);
        };
        written.bytes.extend_from_slice(buf);
        if written.complete(LOGIN7)? {
            let login = with_token(&written.payload, token)
                .ok_or_else(|| invalid("the Kerberos ticket is too long for a login"))?;
            self.state = State::Wait { login: packets(LOGIN7, &login), sent: 0, answer: MessageBuffer::default() };
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn login() -> Vec<u8> {
        let mut login = vec![7; FIXED + 30];
        login[FLAGS2] = 3;
        login
    }

    #[test]
    fn with_token_appends_the_token_and_sets_the_lengths() {
        let login = with_token(&login(), &[9; 300]).unwrap();
        assert_eq!(login[..4], 424_u32.to_le_bytes());
        assert_eq!(login[FLAGS2], 0x83);
        assert_eq!(login[78..82], [124, 0, 44, 1]);
        assert_eq!(login[124..], [9; 300]);
        assert_eq!(with_token(&[0; FIXED - 1], &[9]), None);
        assert_eq!(with_token(&[0; FIXED], &[9; 65_536]), None);
    }

    #[test]
    fn token_in_skips_only_allowed_tokens() {
        let done = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let sspi = [0xed, 2, 0, 8, 9];
        assert_eq!(token_in(&[&sspi[..], &done].concat()), Some(&[8, 9][..]));
        assert_eq!(token_in(&[&[0xe3, 1, 0, 5], &[0xab, 0, 0][..], &sspi].concat()), Some(&[8, 9][..]));
        assert_eq!(token_in(&[&done[..], &sspi].concat()), None);
        assert_eq!(token_in(&sspi[..4]), None);
    }

    #[tokio::test]
    async fn sspi_stream_sends_the_token_and_returns_the_servers_token() {
        let (token, rest) = ([0xed, 1, 0, 4], [0xfd; 5000]);
        let together = packets(TABULAR, &[&token[..], &rest].concat());
        log_in(&together, &together).await;
        // Microsoft's driver expects this form.
        let apart = [packets(TABULAR, &token), packets(TABULAR, &rest)].concat();
        log_in(&apart, &packets(TABULAR, &rest)).await;
    }

    /// Asserts what the driver reads when the server sends `sent`.
    async fn log_in(sent: &[u8], read: &[u8]) {
        let (client, mut server) = duplex(512);
        let mut stream = SspiStream::new(client, Some(vec![9; 5000]));
        let server_token = stream.server_token();
        let serve = async {
            let mut received = MessageBuffer::default();
            while !received.complete(LOGIN7).unwrap() {
                received.bytes.push(server.read_u8().await.unwrap());
            }
            assert_eq!(received.payload.len(), FIXED + 30 + 5000);
            server.write_all(sent).await.unwrap();
            let mut more = [0; 4];
            server.read_exact(&mut more).await.unwrap();
            server.write_all(b"after").await.unwrap();
            more
        };
        let ask = async {
            for byte in packets(LOGIN7, &login()) {
                stream.write_all(&[byte]).await.unwrap();
            }
            stream.flush().await.unwrap();
            let mut given = vec![0; read.len()];
            stream.read_exact(&mut given).await.unwrap();
            assert_eq!(given, read);
            assert_eq!(server_token.take(), Some(vec![4]));
            stream.write_all(b"more").await.unwrap();
            let mut after = [0; 5];
            stream.read_exact(&mut after).await.unwrap();
            after
        };
        let (after, more) = tokio::join!(ask, serve);
        assert_eq!((&after, &more), (b"after", b"more"));
    }

    proptest! {
        #[test]
        fn sspi_parsers_with_any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = token_in(&bytes);
            let _ = with_token(&bytes, &bytes);
            let _ = MessageBuffer { bytes, ..MessageBuffer::default() }.complete(TABULAR);
        }
    }
}
