//! The two stream layers around TLS. tiberius runs above them as on a plain connection.
//!
//! ```text
//! tiberius -> PreloginShim -> SspiStream -> TLS (OpenSSL) -> TlsInPrelogin -> TCP
//! ```
//!
//! `TlsInPrelogin` frames the TLS handshake in TDS packets (MS-TDS 3.2.5.2):
//!
//! ```text
//! state              OpenSSL                  TlsInPrelogin                      server
//! -----------------  -----------------------  ---------------------------------  --------------------------
//! in_handshake       ClientHello, ...    -->  collects until flush or read
//!                                             [0x12|status|length|..] + bytes -> PRELOGIN packets, <= 4096
//!                    ServerHello, ...    <--  removes the header             <-  packets 0x12 or 0x04
//! finish_handshake   the rest of a started packet is still read as payload
//! raw                TLS records         <->  unchanged                      <-> TLS records
//! ```
//!
//! `PreloginShim` answers the PRELOGIN of tiberius from memory, because `session` exchanged the real one before TLS:
//!
//! ```text
//! state              tiberius                 PreloginShim                       server
//! -----------------  -----------------------  ---------------------------------  --------------------------
//! absorbed: Some     PRELOGIN (0x12)     -->  collects one packet                nothing is sent
//! answer not empty   response (0x04)     <--  reply with ENCRYPT_NOT_SUP         nothing is read
//! raw                LOGIN7, batches     <->  unchanged, checks received bytes   LOGIN7, batches
//! ```

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sql::prelogin::{HEADER, Header, PRELOGIN, TABULAR, packets, reply_without_encryption};
use crate::sql::response_check::ResponseCheck;
use crate::sql::response_limit::ResponseLimit;

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Frames handshake records in PRELOGIN packets until `finish_handshake`; passes raw bytes afterwards.
#[derive(Debug)]
pub struct TlsInPrelogin<S> {
    inner: S,
    in_handshake: bool,
    /// Handshake bytes that are not framed yet.
    handshake_bytes: Vec<u8>,
    /// The framed packets, and how many of their bytes are written.
    sending: Vec<u8>,
    sent: usize,
    header: [u8; HEADER],
    header_read: usize,
    /// The unread payload of the current packet, in bytes.
    payload: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsInPrelogin<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            in_handshake: true,
            handshake_bytes: Vec::new(),
            sending: Vec::new(),
            sent: 0,
            header: [0; HEADER],
            header_read: 0,
            payload: 0,
        }
    }

    /// Ends the framing: from now on, TLS records go directly to the stream.
    pub fn finish_handshake(&mut self) {
        self.in_handshake = false;
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.sent < self.sending.len() {
                let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.sending[self.sent..]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.sent += written;
            }
            self.sending.clear();
            self.sent = 0;
            if self.handshake_bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.sending = packets(PRELOGIN, &self.handshake_bytes);
            self.handshake_bytes.clear();
        }
    }

    /// Ready once the payload of a packet can be read; false at the end of the stream.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.payload == 0 {
            while self.header_read < HEADER {
                let mut buffer = ReadBuf::new(&mut self.header[self.header_read..]);
                ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
                match buffer.filled().len() {
                    0 => return Poll::Ready(Ok(false)),
                    read => self.header_read += read,
                }
            }
            self.header_read = 0;
            // Some servers answer the handshake as a tabular result.
            self.payload = match Header::parse(self.header) {
                Some(header) if matches!(header.kind, PRELOGIN | TABULAR) => header.length,
                _ => return Poll::Ready(Err(invalid("the TLS handshake is not in TDS packets"))),
            };
        }
        Poll::Ready(Ok(true))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsInPrelogin<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        if !self.in_handshake && self.payload == 0 {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        if !ready!(self.poll_header(cx))? {
            return Poll::Ready(Ok(()));
        }
        let wanted = self.payload.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        self.payload -= read;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsInPrelogin<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.in_handshake {
            self.handshake_bytes.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Absorbs the PRELOGIN of tiberius and answers it from memory. Afterwards, the shim only counts and checks the received
/// bytes.
#[derive(Debug)]
pub struct PreloginShim<S> {
    inner: S,
    response_limit: ResponseLimit,
    response_check: ResponseCheck,
    /// The PRELOGIN of tiberius, as far as written; `None` after the response.
    absorbed: Option<Vec<u8>>,
    /// The unread part of the response.
    answer: Vec<u8>,
}

impl<S> PreloginShim<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            response_limit: ResponseLimit::default(),
            response_check: ResponseCheck::new(),
            absorbed: Some(Vec::new()),
            answer: Vec::new(),
        }
    }

    pub fn response_limit(&self) -> ResponseLimit {
        self.response_limit.clone()
    }

    pub fn response_check(&self) -> ResponseCheck {
        self.response_check.clone()
    }

    /// Takes bytes of the PRELOGIN and returns their number.
    ///
    /// # Errors
    /// `InvalidData` for anything but a PRELOGIN of one packet.
    fn absorb(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(absorbed) = &mut self.absorbed else { return Ok(0) };
        let header = absorbed.get(..HEADER).and_then(|bytes| bytes.try_into().ok());
        let wanted = match header.map(Header::parse) {
            None => HEADER - absorbed.len(),
            Some(Some(Header { kind: PRELOGIN, last: true, length })) => HEADER + length - absorbed.len(),
            Some(_) => return Err(invalid("the driver did not begin with one PRELOGIN packet")),
        };
        let taken = wanted.min(buf.len());
        absorbed.extend_from_slice(&buf[..taken]);
        if absorbed.len() > HEADER && taken == wanted {
            self.absorbed = None;
            self.answer = packets(TABULAR, &reply_without_encryption());
        }
        Ok(taken)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PreloginShim<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.answer.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            return Poll::Ready(self.response_limit.add(read.len()).and_then(|()| self.response_check.read(read)));
        }
        let read = self.answer.len().min(buf.remaining());
        buf.put_slice(&self.answer[..read]);
        self.answer.drain(..read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PreloginShim<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.absorbed.is_some() {
            return Poll::Ready(self.absorb(buf));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
    use crate::sql::prelogin::{Encryption, parse, request};
    use crate::sql::response_limit::MAX_RESPONSE_BYTES;

    #[tokio::test]
    async fn tls_in_prelogin_frames_the_handshake_and_then_passes_raw_bytes() {
        let (client, mut server) = duplex(64);
        let mut stream = TlsInPrelogin::new(client);
        stream.write_all(b"client ").await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        let mut received = [0; HEADER + 12];
        server.read_exact(&mut received).await.unwrap();
        assert_eq!(
            Header::parse(received[..HEADER].try_into().unwrap()),
            Some(Header { kind: PRELOGIN, last: true, length: 12 })
        );
        assert_eq!(&received[HEADER..], b"client hello");

        server.write_all(&packets(PRELOGIN, b"server ")).await.unwrap();
        server.write_all(&packets(TABULAR, b"hello")).await.unwrap();
        let mut hello = [0; 12];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"server hello");

        stream.finish_handshake();
        stream.write_all(b"raw").await.unwrap();
        server.write_all(b"RAW").await.unwrap();
        let mut raw = [0; 3];
        server.read_exact(&mut raw).await.unwrap();
        assert_eq!(&raw, b"raw");
        stream.read_exact(&mut raw).await.unwrap();
        assert_eq!(&raw, b"RAW");
    }

    #[tokio::test]
    async fn tls_in_prelogin_with_unframed_bytes_is_invalid_data() {
        let (client, mut server) = duplex(64);
        server.write_all(b"HTTP/1.1 400 Bad Request").await.unwrap();
        let error = TlsInPrelogin::new(client).read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn prelogin_shim_answers_the_driver_from_memory() {
        let (client, mut server) = duplex(1024);
        let mut shim = PreloginShim::new(client);
        for byte in packets(PRELOGIN, &request("", true)) {
            shim.write_all(&[byte]).await.unwrap();
        }
        let mut header = [0; HEADER];
        shim.read_exact(&mut header).await.unwrap();
        let header = Header::parse(header).unwrap();
        assert_eq!(header.kind, TABULAR);
        let mut reply = vec![0; header.length];
        shim.read_exact(&mut reply).await.unwrap();
        assert_eq!(parse(&reply).unwrap().encryption, Encryption::NotSupported);

        shim.write_all(b"login").await.unwrap();
        let mut login = [0; 5];
        server.read_exact(&mut login).await.unwrap();
        assert_eq!(&login, b"login", "the server receives the login first");
    }

    #[tokio::test]
    async fn prelogin_shim_limits_each_response_and_reset_restarts_the_count() {
        let info = [&[0xab, 0, 4][..], &[7; 1024]].concat();
        let (client, mut server) = duplex(1 << 16);
        tokio::spawn(async move { server.write_all(&packets(TABULAR, &info.repeat(20_000))).await });
        let mut shim = PreloginShim::new(client);
        shim.absorbed = None;
        let mut part = vec![0; MAX_RESPONSE_BYTES];
        shim.read_exact(&mut part).await.unwrap();
        shim.response_limit().reset();
        shim.read_exact(&mut part).await.unwrap();
        let error = shim.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(shim.response_limit().exceeded());
    }

    proptest! {
        /// Any bytes in place of a handshake are read to the end or rejected, and the output is never longer than the
        /// input.
        #[test]
        fn tls_in_prelogin_with_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), tabular: bool) {
            let kind = if tabular { TABULAR } else { PRELOGIN };
            let framed = [packets(kind, &bytes), bytes.clone()].concat();
            for sent in [bytes.clone(), framed] {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let (client, mut server) = duplex(4096);
                    server.write_all(&sent).await.unwrap();
                    drop(server);
                    let mut received = Vec::new();
                    let _ = TlsInPrelogin::new(client).read_to_end(&mut received).await;
                    assert!(received.len() <= sent.len());
                });
            }
        }
    }

    #[tokio::test]
    async fn prelogin_shim_without_a_prelogin_is_invalid_data() {
        let (client, _server) = duplex(1024);
        let error = PreloginShim::new(client).write_all(&packets(0x10, b"login")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
