//! The byte stream below the packets: a socket, or TLS with a handshake inside PRELOGIN packets.

use super::WireError;
use super::packet::{DEFAULT_SIZE, HEADER, Header, kind, split};
use openssl::ssl::{Ssl, SslContext};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<SslStream<PreloginShim>>),
    /// Without a socket, after a failed change of state. Reads return end of file.
    Gone,
}

impl Stream {
    /// Runs the server side of the TLS handshake in packets of type 0x12.
    ///
    /// # Errors
    /// A failed handshake, or a stream that is already encrypted.
    pub async fn encrypt(self, context: &SslContext) -> Result<Self, WireError> {
        let Self::Plain(tcp) = self else { return Err(WireError::Malformed("second handshake")) };
        let tls = |error: &dyn std::fmt::Display| WireError::Tls(error.to_string());
        let ssl = Ssl::new(context).map_err(|error| tls(&error))?;
        let mut stream = SslStream::new(ssl, PreloginShim::new(tcp)).map_err(|error| tls(&error))?;
        Pin::new(&mut stream).accept().await.map_err(|error| tls(&error))?;
        stream.get_mut().flush().await?;
        stream.get_mut().wrapping = false;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Ends TLS after the login, for encryption of the login only.
    pub fn decrypt(self) -> Self {
        match self {
            Self::Tls(mut tls) => tls.get_mut().tcp.take().map_or(Self::Gone, Self::Plain),
            plain => plain,
        }
    }
}

/// A socket that adds and removes PRELOGIN packet headers while `wrapping` is set. Afterwards bytes pass unchanged.
pub struct PreloginShim {
    tcp: Option<TcpStream>,
    wrapping: bool,
    header: [u8; HEADER],
    header_read: usize,
    body_left: usize,
    unsent: Vec<u8>,
    framed: Vec<u8>,
}

/// The maximum of unsent handshake bytes; a handshake is far smaller.
const UNSENT_LIMIT: usize = 256 << 10;

impl PreloginShim {
    fn new(tcp: TcpStream) -> Self {
        Self {
            tcp: Some(tcp),
            wrapping: true,
            header: [0; HEADER],
            header_read: 0,
            body_left: 0,
            unsent: Vec::new(),
            framed: Vec::new(),
        }
    }

    fn tcp(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.tcp.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn poll_unsent(&mut self, cx: &mut Context) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            let packets = split(kind::PRELOGIN, 0, DEFAULT_SIZE, &std::mem::take(&mut self.unsent));
            self.framed.extend(packets);
        }
        while !self.framed.is_empty() {
            let framed = std::mem::take(&mut self.framed);
            let sent = self.tcp()?.poll_write(cx, &framed);
            self.framed = framed;
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => drop(self.framed.drain(..count)),
            }
        }
        self.tcp()?.poll_flush(cx)
    }

    /// Reads headers up to a packet with a body; false at the end of the stream.
    fn poll_header(&mut self, cx: &mut Context) -> Poll<io::Result<bool>> {
        while self.body_left == 0 {
            let mut header = self.header;
            let mut part = ReadBuf::new(&mut header[self.header_read..]);
            ready!(self.tcp()?.poll_read(cx, &mut part))?;
            let got = part.filled().len();
            if got == 0 {
                return Poll::Ready(Ok(false));
            }
            self.header = header;
            self.header_read += got;
            if self.header_read < HEADER {
                continue;
            }
            self.header_read = 0;
            match Header::parse(self.header) {
                Ok(header) if header.kind == kind::PRELOGIN => self.body_left = header.body(),
                _ => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for PreloginShim {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<io::Result<()>> {
        if !self.wrapping {
            return self.tcp()?.poll_read(cx, buf);
        }
        ready!(self.poll_unsent(cx))?;
        if !ready!(self.poll_header(cx))? {
            return Poll::Ready(Ok(()));
        }
        let count = buf.remaining().min(self.body_left);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(count));
        ready!(self.tcp()?.poll_read(cx, &mut part))?;
        let got = part.filled().len();
        self.body_left -= got;
        buf.advance(got);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PreloginShim {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.wrapping {
            return self.tcp()?.poll_write(cx, bytes);
        }
        if self.unsent.len() + bytes.len() > UNSENT_LIMIT {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        self.unsent.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        match self.wrapping {
            true => self.poll_unsent(cx),
            false => self.tcp()?.poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        self.tcp()?.poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}
