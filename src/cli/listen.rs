//! The ports of the operator.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// As the standard library.
const BACKLOG: i32 = 1_024;

/// Listens on an address. `[::]` accepts IPv4 too, and becomes `0.0.0.0` on a kernel without IPv6.
pub async fn listen(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = if address.ip() == Ipv6Addr::UNSPECIFIED {
        match both_families(address) {
            Err(error) if lacks_ipv6(&error) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await,
            bound => bound,
        }
    } else {
        TcpListener::bind(address).await
    };
    bound.with_context(|| format!("Cannot listen on {address}. To fix: set {flag} to a free address and port."))
}

/// Whatever `net.ipv6.bindv6only` is.
fn both_families(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Without the protocol, or with the protocol and no address.
fn lacks_ipv6(error: &io::Error) -> bool {
    const NO_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.raw_os_error() == Some(NO_FAMILY) || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn listener_of_all_addresses_accepts_both_families() {
        let listener = listen("--listen", "[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            TcpStream::connect(("::1", port)).await.unwrap();
        }
    }

    #[test]
    fn refused_family_is_no_other_error() {
        assert!(lacks_ipv6(&io::Error::from_raw_os_error(rustix::io::Errno::AFNOSUPPORT.raw_os_error())));
        assert!(lacks_ipv6(&io::Error::from(io::ErrorKind::AddrNotAvailable)));
        assert!(!lacks_ipv6(&io::Error::from(io::ErrorKind::AddrInUse)));
    }

    #[tokio::test]
    async fn occupied_port_is_reported_with_its_flag() {
        let first = listen("--listen", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = listen("--listen", first.local_addr().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("To fix: set --listen"), "{error}");
    }
}
