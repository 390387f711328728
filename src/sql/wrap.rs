//! The two layers around TLS that make tiberius believe in a plain connection. No policy here.
//!
//! Below TLS, `Packed` carries the handshake in PRELOGIN packets (MS-TDS 3.2.5.2), then steps aside. Above TLS, `Veiled`
//! answers the PRELOGIN of tiberius from memory, as the true one went before TLS; then it steps aside too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sql::meter::Meter;
use crate::sql::prelogin::{HEADER, Header, PRELOGIN, TABULAR, packets, reply_without_encryption};

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Handshake records in PRELOGIN packets until `unpack`, raw bytes afterwards.
#[derive(Debug)]
pub struct Packed<S> {
    inner: S,
    packing: bool,
    /// Handshake bytes of the flight that is being written.
    flight: Vec<u8>,
    /// The flight as packets, and how much of it is written.
    sending: Vec<u8>,
    sent: usize,
    header: [u8; HEADER],
    header_read: usize,
    /// Payload of the current packet that is still to come.
    payload: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Packed<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            packing: true,
            flight: Vec::new(),
            sending: Vec::new(),
            sent: 0,
            header: [0; HEADER],
            header_read: 0,
            payload: 0,
        }
    }

    /// From the end of the handshake on: TLS records directly on the stream.
    pub fn unpack(&mut self) {
        self.packing = false;
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
            if self.flight.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.sending = packets(PRELOGIN, &self.flight);
            self.flight.clear();
        }
    }

    /// Ready once `payload` bytes of the current packet may be read; false at the end of the stream.
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Packed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        if !self.packing && self.payload == 0 {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Packed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.packing {
            self.flight.extend_from_slice(buf);
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

/// Swallows the one PRELOGIN that tiberius writes and answers it from memory; transparent afterwards, but for the meter.
#[derive(Debug)]
pub struct Veiled<S> {
    inner: S,
    meter: Meter,
    /// The PRELOGIN of tiberius, as far as it is written; None once it is answered.
    swallowed: Option<Vec<u8>>,
    /// What is left of the answer.
    answer: Vec<u8>,
}

impl<S> Veiled<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, meter: Meter::default(), swallowed: Some(Vec::new()), answer: Vec::new() }
    }

    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Takes bytes of the PRELOGIN; the number of bytes that belong to it.
    fn swallow(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(swallowed) = &mut self.swallowed else { return Ok(0) };
        let header = swallowed.get(..HEADER).and_then(|bytes| bytes.try_into().ok());
        let wanted = match header.map(Header::parse) {
            None => HEADER - swallowed.len(),
            Some(Some(Header { kind: PRELOGIN, last: true, length })) => HEADER + length - swallowed.len(),
            Some(_) => return Err(invalid("the driver did not begin with one PRELOGIN packet")),
        };
        let taken = wanted.min(buf.len());
        swallowed.extend_from_slice(&buf[..taken]);
        if swallowed.len() > HEADER && taken == wanted {
            self.swallowed = None;
            self.answer = packets(TABULAR, &reply_without_encryption());
        }
        Ok(taken)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Veiled<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.answer.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            return Poll::Ready(self.meter.add(buf.filled().len() - before));
        }
        let read = self.answer.len().min(buf.remaining());
        buf.put_slice(&self.answer[..read]);
        self.answer.drain(..read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Veiled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.swallowed.is_some() {
            return Poll::Ready(self.swallow(buf));
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
    use crate::sql::meter::ANSWER_LIMIT;
    use crate::sql::prelogin::{Encryption, parse, request};

    #[tokio::test]
    async fn a_flight_travels_in_packets_and_then_raw() {
        let (client, mut server) = duplex(64);
        let mut packed = Packed::new(client);
        packed.write_all(b"client ").await.unwrap();
        packed.write_all(b"hello").await.unwrap();
        packed.flush().await.unwrap();
        let mut seen = [0; HEADER + 12];
        server.read_exact(&mut seen).await.unwrap();
        assert_eq!(
            Header::parse(seen[..HEADER].try_into().unwrap()),
            Some(Header { kind: PRELOGIN, last: true, length: 12 })
        );
        assert_eq!(&seen[HEADER..], b"client hello");

        server.write_all(&packets(PRELOGIN, b"server ")).await.unwrap();
        server.write_all(&packets(TABULAR, b"hello")).await.unwrap();
        let mut hello = [0; 12];
        packed.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"server hello");

        packed.unpack();
        packed.write_all(b"raw").await.unwrap();
        server.write_all(b"RAW").await.unwrap();
        let mut raw = [0; 3];
        server.read_exact(&mut raw).await.unwrap();
        assert_eq!(&raw, b"raw");
        packed.read_exact(&mut raw).await.unwrap();
        assert_eq!(&raw, b"RAW");
    }

    #[tokio::test]
    async fn garbage_in_the_handshake_is_invalid() {
        let (client, mut server) = duplex(64);
        server.write_all(b"HTTP/1.1 400 Bad Request").await.unwrap();
        let error = Packed::new(client).read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn the_prelogin_of_the_driver_never_leaves() {
        let (client, mut server) = duplex(1024);
        let mut veiled = Veiled::new(client);
        for byte in packets(PRELOGIN, &request("", true)) {
            veiled.write_all(&[byte]).await.unwrap();
        }
        let mut header = [0; HEADER];
        veiled.read_exact(&mut header).await.unwrap();
        let header = Header::parse(header).unwrap();
        assert_eq!(header.kind, TABULAR);
        let mut reply = vec![0; header.length];
        veiled.read_exact(&mut reply).await.unwrap();
        assert_eq!(parse(&reply).unwrap().encryption, Encryption::NotSupported);

        veiled.write_all(b"login").await.unwrap();
        let mut login = [0; 5];
        server.read_exact(&mut login).await.unwrap();
        assert_eq!(&login, b"login", "the login is the first thing the server sees");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off_and_each_question_counts_anew() {
        let mut veiled = Veiled::new(tokio::io::repeat(7));
        veiled.swallowed = None;
        let mut part = vec![0; ANSWER_LIMIT];
        veiled.read_exact(&mut part).await.unwrap();
        veiled.meter().reset();
        veiled.read_exact(&mut part).await.unwrap();
        let error = veiled.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        /// Whatever a server sends in place of its handshake is read to its end or refused, and no more is given than came.
        #[test]
        fn no_bytes_of_a_handshake_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), tabular: bool) {
            let kind = if tabular { TABULAR } else { PRELOGIN };
            let framed = [packets(kind, &bytes), bytes.clone()].concat();
            for sent in [bytes.clone(), framed] {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let (client, mut server) = duplex(4096);
                    server.write_all(&sent).await.unwrap();
                    drop(server);
                    let mut seen = Vec::new();
                    let _ = Packed::new(client).read_to_end(&mut seen).await;
                    assert!(seen.len() <= sent.len());
                });
            }
        }
    }

    #[tokio::test]
    async fn anything_but_a_prelogin_is_refused() {
        let (client, _server) = duplex(1024);
        let error = Veiled::new(client).write_all(&packets(0x10, b"login")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
