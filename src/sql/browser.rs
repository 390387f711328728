//! The client of the SQL Server Browser (MC-SQLR), which reports the TCP port of a named instance. The client in
//! tiberius is not used: it sends one request and accepts a response from any address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::sql::cleaned::cleaned;
use crate::sql::error::{is_operator_limited, lacks_descriptors};

pub const PORT: u16 = 1434;
const TRIES: u32 = 3;
const CLNT_UCAST_EX: u8 = 0x03;
const CLNT_UCAST_INST: u8 = 0x04;
const SVR_RESP: u8 = 0x05;
/// The longest response about one instance, in bytes (MC-SQLR 2.2.5).
const LONGEST: usize = 1024 + 3;
/// The longest list of instances, in bytes (MC-SQLR 2.2.5).
const LONGEST_LIST: usize = u16::MAX as usize + 3;
/// The instance names that a message lists.
const LISTED: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrowserError {
    #[error("the SQL Server Browser (UDP {PORT}) did not answer")]
    Silent,
    /// ICMP reported a closed port.
    #[error("no SQL Server Browser listens on UDP {PORT}")]
    Closed,
    #[error("the SQL Server Browser does not know the instance")]
    UnknownInstance { known: String },
    #[error("the SQL Server Browser reports no TCP port because TCP is disabled for the instance")]
    NoTcp,
    #[error("the SQL Server Browser sent an invalid response")]
    Unreadable,
    #[error("the operator has no free file descriptors")]
    NoDescriptors,
    /// The operator could not send the request.
    #[error("the operator could not send a request to the SQL Server Browser ({0})")]
    Limited(io::ErrorKind),
}

impl BrowserError {
    /// Whether this error at one address of a host is more precise than that at the addresses before: an answer first, then a
    /// request that was not sent.
    pub fn supersedes(&self, before: &BrowserError) -> bool {
        match before {
            Self::Silent | Self::Closed | Self::Limited(_) => true,
            Self::NoDescriptors => !matches!(self, Self::Silent | Self::Closed | Self::Limited(_)),
            Self::UnknownInstance { .. } | Self::NoTcp | Self::Unreadable => false,
        }
    }

    /// The error of an attempt to send.
    fn of(error: &io::Error) -> BrowserError {
        match error {
            _ if lacks_descriptors(error) => Self::NoDescriptors,
            _ if is_operator_limited(error) => Self::Limited(error.kind()),
            _ => Self::Closed,
        }
    }
}

/// Requests the TCP port of `instance` from the SQL Server Browser at `browser`, within `deadline`: three tries, then the
/// list of all instances, because the service sends no response about an unknown instance (MC-SQLR 3.2.5.3).
///
/// # Errors
/// `Silent` only if neither request was answered.
pub async fn resolve_port(browser: SocketAddr, instance: &str, deadline: Duration) -> Result<u16, BrowserError> {
    let any: IpAddr = if browser.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let limited = |e: io::Error| {
        if lacks_descriptors(&e) { BrowserError::NoDescriptors } else { BrowserError::Limited(e.kind()) }
    };
    // A connected socket: the kernel drops datagrams from other addresses and reports a closed port.
    let socket = UdpSocket::bind((any, 0)).await.map_err(limited)?;
    socket.connect(browser).await.map_err(limited)?;
    let mut request = vec![CLNT_UCAST_INST];
    request.extend_from_slice(instance.as_bytes());
    request.push(0);

    let share = deadline / (TRIES + 1);
    let mut outcome = BrowserError::Silent;
    for _ in 0..TRIES {
        match ask(&socket, &request, LONGEST, share).await {
            Ok(answer) => return parse(&answer, instance),
            Err(error) => outcome = error,
        }
    }
    match ask(&socket, &[CLNT_UCAST_EX], LONGEST_LIST, share).await {
        Ok(list) => parse_list(&list, instance),
        Err(BrowserError::Closed) => Err(BrowserError::Closed),
        Err(_) => Err(outcome),
    }
}

async fn ask(socket: &UdpSocket, request: &[u8], longest: usize, wait: Duration) -> Result<Vec<u8>, BrowserError> {
    socket.send(request).await.map_err(|e| BrowserError::of(&e))?;
    let mut answer = vec![0; longest];
    match timeout(wait, socket.recv(&mut answer)).await {
        Ok(Ok(length)) => {
            answer.truncate(length);
            Ok(answer)
        }
        Ok(Err(_)) => Err(BrowserError::Closed),
        Err(_) => Err(BrowserError::Silent),
    }
}

/// The entries of a response: `05 length "ServerName;A;InstanceName;RTC;...;tcp;49172;;ServerName;..."`.
fn text(answer: &[u8]) -> Result<String, BrowserError> {
    match answer {
        [SVR_RESP, low, high, text @ ..] if text.len() == usize::from(u16::from_le_bytes([*low, *high])) => {
            Ok(String::from_utf8_lossy(text).into_owned())
        }
        _ => Err(BrowserError::Unreadable),
    }
}

/// The instance name and the TCP port of one entry.
fn entry(entry: &str) -> (Option<&str>, Option<&str>) {
    let fields: Vec<&str> = entry.split(';').collect();
    let (mut named, mut port) = (None, None);
    for pair in fields.chunks_exact(2) {
        match pair[0] {
            key if key.eq_ignore_ascii_case("InstanceName") => named = Some(pair[1]),
            key if key.eq_ignore_ascii_case("tcp") => port = Some(pair[1]),
            _ => {}
        }
    }
    (named, port)
}

fn port_number(port: Option<&str>) -> Result<u16, BrowserError> {
    let port = port.ok_or(BrowserError::NoTcp)?;
    port.parse().ok().filter(|port| *port != 0).ok_or(BrowserError::Unreadable)
}

/// The response about one instance.
fn parse(answer: &[u8], instance: &str) -> Result<u16, BrowserError> {
    let text = text(answer)?;
    let (named, port) = entry(text.split(";;").next().unwrap_or_default());
    if !named.is_some_and(|named| named.eq_ignore_ascii_case(instance)) {
        return Err(BrowserError::Unreadable);
    }
    port_number(port)
}

/// The list of all instances.
fn parse_list(answer: &[u8], instance: &str) -> Result<u16, BrowserError> {
    let text = text(answer)?;
    let mut known = Vec::new();
    for (named, port) in text.split(";;").map(entry) {
        match named {
            Some(named) if named.eq_ignore_ascii_case(instance) => return port_number(port),
            Some(named) => known.push(cleaned(named)),
            None => {}
        }
    }
    if known.is_empty() {
        return Err(BrowserError::Unreadable);
    }
    known.truncate(LISTED);
    Err(BrowserError::UnknownInstance { known: known.join(", ") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(text: &str) -> Vec<u8> {
        let mut bytes = vec![SVR_RESP];
        bytes.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    const USUAL: &str = "ServerName;SQL-A;InstanceName;RTC;IsClustered;No;Version;11.0.7001.0;tcp;49172;np;\\\\SQL-A\\pipe\\MSSQL$RTC\\sql\\query;;";

    #[test]
    fn parse_returns_the_tcp_port() {
        assert_eq!(parse(&answer(USUAL), "RTC"), Ok(49172));
        assert_eq!(parse(&answer(USUAL), "rtc"), Ok(49172));
    }

    #[test]
    fn parse_with_a_hostile_response_fails() {
        assert_eq!(parse(&[], "RTC"), Err(BrowserError::Unreadable));
        assert_eq!(parse(&[SVR_RESP, 0xff, 0xff, b'x'], "RTC"), Err(BrowserError::Unreadable));
        assert_eq!(parse(&[0x04, 0, 0], "RTC"), Err(BrowserError::Unreadable));
        assert_eq!(parse(&answer(USUAL), "OTHER"), Err(BrowserError::Unreadable));
        assert_eq!(parse(&answer("InstanceName;RTC;tcp;99999;;"), "RTC"), Err(BrowserError::Unreadable));
        assert_eq!(parse(&answer("InstanceName;RTC;tcp;0;;"), "RTC"), Err(BrowserError::Unreadable));
        assert_eq!(parse(&answer("InstanceName;RTC;np;x;;"), "RTC"), Err(BrowserError::NoTcp));
        assert_eq!(parse(&answer("InstanceName;RTC;tcp"), "RTC"), Err(BrowserError::NoTcp));
        assert_eq!(
            parse(&answer("InstanceName;RTC;;tcp;7;;"), "RTC"),
            Err(BrowserError::NoTcp),
            "only the first instance counts"
        );
        let mut bytes = answer(USUAL);
        bytes[10] = 0xff;
        assert_eq!(parse(&bytes, "RTC"), Ok(49172), "a name in another code page");
    }

    #[test]
    fn parse_list_finds_the_instance_or_names_the_others() {
        let two = "ServerName;A;InstanceName;LYNC;tcp;1;;ServerName;A;InstanceName;RTC;tcp;49172;;";
        assert_eq!(parse_list(&answer(two), "rtc"), Ok(49172));
        let unknown = parse_list(&answer(two), "OTHER");
        assert_eq!(unknown, Err(BrowserError::UnknownInstance { known: "LYNC, RTC".into() }));
        assert_eq!(parse_list(&answer("InstanceName;RTC;np;x;;"), "RTC"), Err(BrowserError::NoTcp));
        assert_eq!(parse_list(&answer(";;;;"), "RTC"), Err(BrowserError::Unreadable));
        let hostile = parse_list(&answer("InstanceName;a\r\nb;;"), "RTC");
        assert_eq!(hostile, Err(BrowserError::UnknownInstance { known: "a b".into() }));
    }

    #[test]
    fn error_of_the_operator_hides_no_answer_and_no_silence_hides_it() {
        let limited = BrowserError::Limited(io::ErrorKind::Other);
        assert!(BrowserError::NoDescriptors.supersedes(&BrowserError::Silent));
        assert!(!BrowserError::Silent.supersedes(&BrowserError::NoDescriptors));
        assert!(BrowserError::NoTcp.supersedes(&BrowserError::NoDescriptors));
        assert!(!BrowserError::NoDescriptors.supersedes(&BrowserError::NoTcp));
        // An operator without IPv6, and a host with addresses of both kinds.
        assert!(BrowserError::Silent.supersedes(&limited));
        let of = |number: rustix::io::Errno| BrowserError::of(&io::Error::from(number));
        assert_eq!(of(rustix::io::Errno::CONNREFUSED), BrowserError::Closed);
        assert_eq!(of(rustix::io::Errno::MFILE), BrowserError::NoDescriptors);
        assert!(matches!(of(rustix::io::Errno::PERM), BrowserError::Limited(_)), "a packet filter of the node");
    }

    proptest! {
        #[test]
        fn parse_with_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, "RTC");
            let _ = parse_list(&bytes, "RTC");
        }

        /// Random text in a response with a correct header.
        #[test]
        fn parse_with_any_text_returns_only_contained_ports(text in "[A-Za-z;0-9\\\\é]{0,80}") {
            if let Ok(port) = parse(&answer(&text), "RTC") {
                prop_assert!(text.contains(&port.to_string()));
            }
        }
    }

    #[tokio::test]
    async fn resolve_port_after_a_lost_datagram_retries() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; 64];
            server.recv_from(&mut buffer).await.unwrap();
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"\x04RTC\0");
            server.send_to(&answer(USUAL), from).await.unwrap();
        };
        let (port, ()) = tokio::join!(resolve_port(address, "RTC", Duration::from_millis(600)), serve);
        assert_eq!(port, Ok(49172));
    }

    #[tokio::test]
    async fn resolve_port_distinguishes_silence_from_a_closed_port() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        assert_eq!(resolve_port(address, "RTC", Duration::from_millis(30)).await, Err(BrowserError::Silent));
        drop(silent);
        assert_eq!(resolve_port(address, "RTC", Duration::from_secs(3)).await, Err(BrowserError::Closed));
    }
}
