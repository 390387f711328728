//! From a target to a TCP connection: DNS, SQL Server Browser, dial. TDS starts in `session`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::browser::{self, BrowserError};
use crate::sql::error::{self, Phase};
use crate::sql::{Deadlines, InstanceAddress, Target};

/// The socket addresses of the instance, in the order of the connection attempts. Never empty.
///
/// # Errors
/// `HostNotFound`, `BrowserSilent` or `InstanceNotFound`; `Unresponsive` if DNS exceeds its deadline.
pub async fn resolve(target: &Target, deadlines: &Deadlines) -> Result<Vec<SocketAddr>, Unavailable> {
    let hosts = lookup(target, deadlines.resolve).await?;
    let InstanceAddress::Instance(instance) = &target.endpoint else {
        let InstanceAddress::Port(port) = target.endpoint else { return Ok(Vec::new()) };
        return Ok(hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect());
    };
    let share = share(deadlines.browser, hosts.len());
    let mut outcome = BrowserError::Silent;
    for host in hosts {
        match browser::resolve_port(SocketAddr::new(host, browser::PORT), instance, share).await {
            Ok(port) => return Ok(vec![SocketAddr::new(host, port)]),
            Err(error) => outcome = error,
        }
    }
    let cause = match outcome {
        BrowserError::Silent => UnavailableCause::BrowserSilent,
        BrowserError::Closed | BrowserError::NoTcp | BrowserError::Unreadable => UnavailableCause::InstanceNotFound,
    };
    Err(error::unavailable(cause, format!("The port of {} is unknown: {outcome}.", target.address())))
}

async fn lookup(target: &Target, deadline: Duration) -> Result<Vec<IpAddr>, Unavailable> {
    let not_found =
        || error::unavailable(UnavailableCause::HostNotFound, format!("DNS has no address for {:?}.", target.host));
    match timeout(deadline, tokio::net::lookup_host((target.host.as_str(), 0))).await {
        Err(_) => Err(error::timed_out(&target.address(), Phase::Resolve, deadline)),
        Ok(Err(_)) => Err(not_found()),
        Ok(Ok(found)) => {
            let hosts: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            if hosts.is_empty() { Err(not_found()) } else { Ok(hosts) }
        }
    }
}

/// Dials the addresses one after the other, each with an equal share of the deadline.
///
/// # Errors
/// `ConnectionRefused` if any address refused the connection, else the failure of the last address that answered.
pub async fn dial(target: &Target, addresses: &[SocketAddr], deadline: Duration) -> Result<TcpStream, Unavailable> {
    let share = share(deadline, addresses.len());
    let mut outcome = error::timed_out(&target.address(), Phase::Connect, deadline);
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                tune(&stream).map_err(|e| error::io(&target.address(), Phase::Connect, &e))?;
                return Ok(stream);
            }
            // A refusal is more precise than a timeout, and DNS may rotate the addresses at each poll.
            Ok(Err(e)) if outcome.cause != UnavailableCause::ConnectionRefused => {
                outcome = error::io(&target.address(), Phase::Connect, &e);
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
    Err(outcome)
}

fn share(whole: Duration, parts: usize) -> Duration {
    whole / u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
}

/// Detects a vanished peer within half a minute, also between polls.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5)).with_retries(3);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    stream.set_nodelay(true)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;
    use crate::sql::tests::{closed_port, target};

    #[tokio::test]
    async fn dial_to_a_closed_port_is_refused() {
        let (_socket, port) = closed_port();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let target = target(port);
        let unavailable = dial(&target, &[address], Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::ConnectionRefused);
        assert!(unavailable.detail.contains(&target.address()), "{}", unavailable.detail);
    }

    #[tokio::test]
    async fn dial_after_a_refusal_tries_the_second_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let (_socket, port) = closed_port();
        let closed = (Ipv4Addr::LOCALHOST, port).into();
        assert!(dial(&target(open.port()), &[closed, open], Duration::from_secs(10)).await.is_ok());
    }

    #[tokio::test]
    async fn resolve_of_an_unknown_host_is_host_not_found() {
        let mut target = target(1433);
        target.host = "sql a.invalid".into();
        let unavailable = resolve(&target, &Deadlines::default()).await.unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::HostNotFound);
    }

    #[tokio::test]
    async fn resolve_of_an_instance_without_a_browser_is_instance_not_found() {
        let mut target = target(1433);
        target.host = "127.73.14.34".into();
        target.endpoint = InstanceAddress::Instance("RTC".into());
        let unavailable = resolve(&target, &Deadlines::default()).await.unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::InstanceNotFound);
        assert!(unavailable.detail.contains("127.73.14.34\\RTC"), "{}", unavailable.detail);
    }
}
