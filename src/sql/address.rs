//! From a target to a TCP connection: DNS, SQL Server Browser, dial. TDS starts in `session`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::browser::{self, BrowserError};
use crate::sql::error::{self, Phase};
use crate::sql::limits::Opening;
use crate::sql::resolver::LookupError;
use crate::sql::{InstanceAddress, Target};

/// The last port at which a named instance accepted a login. The polls and the moves of one instance share it.
#[derive(Debug, Default)]
pub struct LastPort(AtomicU16);

impl LastPort {
    pub fn get(&self) -> Option<u16> {
        Some(self.0.load(Ordering::Relaxed)).filter(|port| *port != 0)
    }

    pub fn set(&self, port: u16) {
        self.0.store(port, Ordering::Relaxed);
    }

    /// Keeps the port of a login of this process.
    pub fn restore(&self, port: u16) {
        let _ = self.0.compare_exchange(0, port, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Where to dial an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In the order of the connection attempts. Never empty.
    addresses: Vec<SocketAddr>,
    /// Why the port is the last known one and not that of the SQL Server Browser.
    outdated: Option<BrowserError>,
}

/// Resolves the instance. If the SQL Server Browser returns no port, the last known port of the instance is used: only the
/// instance's own port shows whether the instance answers.
///
/// # Errors
/// `HostNotFound`, `AddressDenied`, `ResolverSilent`, `BrowserSilent`, `InstanceNotFound` or `OperatorLimited`.
pub async fn resolve(target: &Target, opening: &Opening, last_port: &LastPort) -> Result<Route, Unavailable> {
    let mut hosts = lookup(target, opening).await?;
    // After the lookup, because any name can have such an address.
    hosts.retain(|host| !opening.limits.denies(*host));
    if hosts.is_empty() {
        return Err(error::address_denied(target));
    }
    let at = |port: u16| hosts.iter().map(|host| SocketAddr::new(*host, port)).collect();
    let instance = match &target.endpoint {
        InstanceAddress::Port(port) => return Ok(Route { addresses: at(*port), outdated: None }),
        InstanceAddress::Instance(instance) => instance,
    };
    let share = share(opening.deadlines.browser, hosts.len());
    let mut outcome = BrowserError::Silent;
    for host in &hosts {
        match browser::resolve_port(SocketAddr::new(*host, browser::PORT), instance, share).await {
            Ok(port) => return Ok(Route { addresses: vec![SocketAddr::new(*host, port)], outdated: None }),
            Err(error) if error.supersedes(&outcome) => outcome = error,
            Err(_) => {}
        }
    }
    // Read last, as the port of a former process is restored while the first poll runs.
    match (&outcome, last_port.get()) {
        (
            BrowserError::Silent
            | BrowserError::Closed
            | BrowserError::UnknownInstance { .. }
            | BrowserError::Unreadable
            | BrowserError::NoDescriptors
            | BrowserError::Limited(_),
            Some(port),
        ) => Ok(Route { addresses: at(port), outdated: Some(outcome) }),
        // The instance runs without TCP, so that its former port proves nothing.
        (BrowserError::NoTcp, _) | (_, None) => Err(without_port(target, &outcome)),
    }
}

fn without_port(target: &Target, error: &BrowserError) -> Unavailable {
    let (cause, fix) = match error {
        BrowserError::Silent | BrowserError::Closed => (
            UnavailableCause::BrowserSilent,
            "start the SQL Server Browser and open UDP 1434, or set the port of the server in spec.sql".to_owned(),
        ),
        BrowserError::UnknownInstance { known } => (
            UnavailableCause::InstanceNotFound,
            format!("set instance to one that it knows ({known}), start the instance, or set its port"),
        ),
        BrowserError::NoTcp => (
            UnavailableCause::InstanceNotFound,
            "enable TCP/IP for the instance in the SQL Server Configuration Manager".to_owned(),
        ),
        BrowserError::Unreadable => {
            (UnavailableCause::InstanceNotFound, "set the port of the server in spec.sql".to_owned())
        }
        BrowserError::NoDescriptors | BrowserError::Limited(_) => {
            let detail =
                format!("The port of {} is unknown: {error}. This proves nothing about the server.", target.address());
            return error::unavailable(UnavailableCause::OperatorLimited, detail);
        }
    };
    error::unavailable(cause, format!("The port of {} is unknown: {error}. To fix: {fix}.", target.address()))
}

/// The addresses of the host, at least one. An IP address and a name in `/etc/hosts` need no share.
async fn lookup(target: &Target, opening: &Opening) -> Result<Vec<IpAddr>, Unavailable> {
    let (resolver, deadline) = (opening.limits.resolver(), opening.deadlines.resolve);
    if let Some(addresses) = resolver.without_dns(&target.host).map_err(|error| without_address(target, &error))? {
        return Ok(addresses);
    }
    let _share = opening.lookup(target).await?;
    match timeout(deadline, resolver.lookup(&target.host)).await {
        Err(_) => Err(error::timed_out(&target.address(), Phase::Resolve, deadline)),
        Ok(found) => found.map_err(|error| without_address(target, &error)),
    }
}

fn without_address(target: &Target, error: &LookupError) -> Unavailable {
    match error {
        LookupError::NotFound => {
            let detail = format!("DNS has no address for {:?}.", target.host);
            error::unavailable(UnavailableCause::HostNotFound, detail)
        }
        LookupError::Silent => error::resolver_silent(&target.host),
        LookupError::NotSent(error) => error::operator_limited(&target.address(), error),
        LookupError::NotConfigured(why) => error::no_resolver(target, why),
    }
}

/// Dials the addresses one after the other, each with an equal share of the deadline.
///
/// # Errors
/// The most certain failure of all addresses. If the operator itself lacks a resource, that is the failure.
pub async fn dial(target: &Target, route: &Route, deadline: Duration) -> Result<TcpStream, Unavailable> {
    let share = share(deadline, route.addresses.len());
    let mut failures = Vec::new();
    for address in &route.addresses {
        let name = described(target, address.port());
        failures.push(match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                tune(&stream).map_err(|e| error::io(&name, Phase::Connect, &e))?;
                return Ok(stream);
            }
            Ok(Err(e)) => (certainty(address, &e), error::connect(&name, &e)),
            Err(_) => (Certainty::TimedOut, error::timed_out(&name, Phase::Connect, deadline)),
        });
    }
    let mut unavailable =
        most_certain(failures).unwrap_or_else(|| error::timed_out(&target.address(), Phase::Connect, deadline));
    if let Some(error) = &route.outdated {
        unavailable.detail += &format!(
            " This port is the last known one, because {error}. SQL Server can listen on another port now: start its Browser first."
        );
    }
    Err(unavailable)
}

/// The first of the failures that prove the most.
fn most_certain(failures: Vec<(Certainty, Unavailable)>) -> Option<Unavailable> {
    // `max_by_key` returns the last one of equal keys.
    failures.into_iter().rev().max_by_key(|(certainty, _)| *certainty).map(|(_, failure)| failure)
}

/// How much a failed connection attempt proves, compared with the attempts at the other addresses of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    /// The operator has no IPv6, and DNS lists an IPv6 address.
    NoFamily,
    TimedOut,
    Unreachable,
    Refused,
    /// The attempt was not made, so that no other attempt is the whole truth.
    NotTried,
}

fn certainty(address: &SocketAddr, error: &io::Error) -> Certainty {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable if address.is_ipv6() => Certainty::NoFamily,
        _ if error::is_operator_limited(error) => Certainty::NotTried,
        io::ErrorKind::ConnectionRefused => Certainty::Refused,
        io::ErrorKind::HostUnreachable => Certainty::Unreachable,
        _ => Certainty::TimedOut,
    }
}

/// The address in the spec, with the port that was found for an instance name.
fn described(target: &Target, port: u16) -> String {
    match &target.endpoint {
        InstanceAddress::Port(_) => target.address(),
        InstanceAddress::Instance(_) => format!("{} (port {port})", target.address()),
    }
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

    use rustix::io::Errno;
    use tokio::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::sql::limits::{Limits, Sizes};
    use crate::sql::resolver::Resolver;
    use crate::sql::tests::{closed_port, opening, target};

    #[test]
    fn share_of_a_deadline_is_the_same_for_each_address() {
        let whole = Duration::from_secs(10);
        assert_eq!([0, 1, 4].map(|parts| share(whole, parts).as_millis()), [10_000, 10_000, 2_500]);
    }

    fn route(addresses: &[SocketAddr]) -> Route {
        Route { addresses: addresses.to_vec(), outdated: None }
    }

    #[tokio::test]
    async fn dial_to_a_closed_port_is_refused() {
        let (_socket, port) = closed_port();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let target = target(port);
        let unavailable = dial(&target, &route(&[address]), Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::ConnectionRefused);
        assert!(unavailable.detail.contains(&target.address()), "{}", unavailable.detail);
    }

    #[tokio::test]
    async fn dial_after_a_refusal_tries_the_second_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let (_socket, port) = closed_port();
        let closed = (Ipv4Addr::LOCALHOST, port).into();
        let stream = dial(&target(open.port()), &route(&[closed, open]), Duration::from_secs(10)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(stream.nodelay().unwrap() && SockRef::from(&stream).keepalive().unwrap());
    }

    #[tokio::test]
    async fn resolve_of_an_unknown_host_is_host_not_found() {
        let mut target = target(1433);
        target.host = "sql a.invalid".into();
        let unavailable = resolve(&target, &opening(), &LastPort::default()).await.unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::HostNotFound);
    }

    #[tokio::test]
    async fn resolve_of_an_instance_without_a_browser_is_browser_silent() {
        let mut target = target(1433);
        target.host = "127.73.14.34".into();
        target.endpoint = InstanceAddress::Instance("RTC".into());
        let unavailable = resolve(&target, &opening(), &LastPort::default()).await.unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::BrowserSilent);
        assert!(unavailable.detail.contains("127.73.14.34\\RTC"), "{}", unavailable.detail);
        assert!(unavailable.detail.contains("set the port"), "{}", unavailable.detail);
    }

    /// A named instance on an address without a SQL Server Browser.
    fn instance() -> Target {
        Target { host: "127.73.14.35".into(), endpoint: InstanceAddress::Instance("RTC".into()), ..target(1) }
    }

    #[tokio::test]
    async fn resolve_without_a_browser_uses_the_last_known_port() {
        let listener = TcpListener::bind("127.73.14.35:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let last_port = LastPort::default();
        last_port.restore(port);
        let found = resolve(&instance(), &opening(), &last_port).await.unwrap();
        assert_eq!(found.outdated, Some(BrowserError::Closed));
        assert!(dial(&instance(), &found, Duration::from_secs(10)).await.is_ok());
        drop(listener);
        let unavailable = dial(&instance(), &found, Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::ConnectionRefused);
        let both = format!(
            "127.73.14.35\\RTC (port {port}) refused the TCP connection: no process listens on the port, or a firewall rejects it. This port is the last known one, because no SQL Server Browser listens on UDP 1434. SQL Server can listen on another port now: start its Browser first."
        );
        assert_eq!(unavailable.detail, both);
    }

    /// Port 1434 of the first address is closed. At the second one, an answer cannot be read.
    #[tokio::test]
    async fn resolve_at_several_addresses_reports_the_only_answer() {
        const SILENT: &str = "127.73.14.37";
        const ANSWERING: &str = "127.73.14.38";
        let browser = UdpSocket::bind((ANSWERING, browser::PORT)).await.unwrap();
        tokio::spawn(async move {
            while let Ok((_, from)) = browser.recv_from(&mut [0; 64]).await {
                let _ = browser.send_to(b"?", from).await;
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let hosts = directory.path().join("hosts");
        std::fs::write(&hosts, format!("{SILENT} before\n{ANSWERING} before after\n{SILENT} after\n")).unwrap();
        let resolver = Resolver::new(hosts, directory.path().join("resolv.conf"), 53);
        let limits = Limits::with_resolver(Sizes::for_descriptors(1024), Vec::new(), resolver);
        let opening = Opening { limits, ..opening() };
        for host in ["before", "after"] {
            let unavailable =
                resolve(&Target { host: host.into(), ..instance() }, &opening, &LastPort::default()).await.unwrap_err();
            assert_eq!(unavailable.cause, UnavailableCause::InstanceNotFound, "{host}: {unavailable:?}");
        }
    }

    #[test]
    fn most_certain_is_the_first_failure_of_those_that_prove_the_most() {
        let table: [(&[Certainty], Option<usize>); 5] = [
            (&[], None),
            (&[Certainty::NoFamily], Some(0)),
            (&[Certainty::TimedOut, Certainty::Refused, Certainty::Unreachable], Some(1)),
            (&[Certainty::NotTried, Certainty::Refused], Some(0)),
            (&[Certainty::NoFamily, Certainty::Refused, Certainty::Refused], Some(1)),
        ];
        for (certainties, first) in table {
            let failures = certainties.iter().enumerate().map(|(index, certainty)| {
                (*certainty, error::unavailable(UnavailableCause::ConnectionRefused, index.to_string()))
            });
            let found = most_certain(failures.collect()).map(|failure| failure.detail);
            assert_eq!(found, first.map(|index| index.to_string()), "{certainties:?}");
        }
    }

    #[test]
    fn without_port_distinguishes_silence_from_an_unknown_instance() {
        let detail = |error| without_port(&instance(), &error).detail;
        let silent = detail(BrowserError::Silent);
        assert!(silent.contains("did not answer. To fix:"), "{silent}");
        let unknown = detail(BrowserError::UnknownInstance { known: "LYNC, RTC2".into() });
        assert!(unknown.contains("set instance to one that it knows (LYNC, RTC2), start"), "{unknown}");
        let limited = without_port(&instance(), &BrowserError::Limited(io::ErrorKind::Other));
        assert_eq!(limited.cause, UnavailableCause::OperatorLimited);
    }

    #[test]
    fn certainty_of_a_missing_family_is_lowest_and_of_exhaustion_highest() {
        let (v4, v6): (SocketAddr, SocketAddr) = ("127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap());
        let of = |address: &SocketAddr, number: Errno| certainty(address, &io::Error::from(number));
        assert_eq!(of(&v6, Errno::NETUNREACH), Certainty::NoFamily);
        assert_eq!(of(&v4, Errno::NETUNREACH), Certainty::NotTried);
        assert_eq!(of(&v6, Errno::MFILE), Certainty::NotTried);
        assert_eq!(of(&v4, Errno::CONNREFUSED), Certainty::Refused);
        assert_eq!(of(&v4, Errno::HOSTUNREACH), Certainty::Unreachable);
        assert_eq!(of(&v4, Errno::TIMEDOUT), Certainty::TimedOut);
    }
}
