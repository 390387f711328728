//! A DNS server on the loopback interface with scripted answers, over UDP and TCP.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// The answer to a request.
pub enum Reply {
    Silent,
    /// A response code without records, e.g. `NAME_ERROR`.
    Code(u8),
    /// Empty and with the mark for a repetition over TCP.
    Truncated,
    Records(Vec<Record>),
}

/// The owner of a record, and its value.
pub type Record = (&'static str, Value);

pub enum Value {
    Address(IpAddr),
    Alias(&'static str),
}

pub const NO_ERROR: u8 = 0;
pub const SERVER_FAILURE: u8 = 2;
pub const NAME_ERROR: u8 = 3;
pub const REFUSED: u8 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Without a dot at the end.
    pub name: String,
    /// For IPv6 addresses, otherwise for IPv4 addresses.
    pub v6: bool,
    pub tcp: bool,
    /// The port of the client.
    pub from: u16,
}

pub struct FakeDns {
    pub port: u16,
    pub requests: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl FakeDns {
    pub async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> FakeDns {
        Self::start_at((Ipv4Addr::LOCALHOST, 0), script).await
    }

    /// At port 0, with any free port.
    pub async fn start_at(
        address: (Ipv4Addr, u16),
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> FakeDns {
        // The same port for both protocols.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind(address).await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let port = udp.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(script);
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (requests, script) = (requests.clone(), script.clone());
            async move {
                let mut bytes = [0; 512];
                while let Ok((length, from)) = udp.recv_from(&mut bytes).await {
                    let request = parse(&bytes[..length], false, from.port());
                    requests.lock().push(request.clone());
                    if let Some(answer) = answer(&bytes[..length], &script(&request)) {
                        let _ = udp.send_to(&answer, from).await;
                    }
                }
            }
        });
        let (seen, mut clients) = (requests.clone(), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((stream, from)) = tcp.accept().await {
                clients.spawn(serve(stream, from.port(), seen.clone(), script.clone()));
            }
        });
        FakeDns { port, requests, _tasks: tasks }
    }

    /// The names of the requests for IPv4 addresses, in their order.
    pub fn names(&self) -> Vec<String> {
        self.requests.lock().iter().filter(|request| !request.v6).map(|request| request.name.clone()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    from: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    script: Arc<impl Fn(&Request) -> Reply>,
) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.unwrap();
        let request = parse(&bytes, true, from);
        seen.lock().push(request.clone());
        if let Some(answer) = answer(&bytes, &script(&request)) {
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }
}

const HEADER: usize = 12;
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

fn parse(bytes: &[u8], tcp: bool, from: u16) -> Request {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    while bytes[at] != 0 {
        let end = at + 1 + usize::from(bytes[at]);
        labels.push(String::from_utf8_lossy(&bytes[at + 1..end]).to_lowercase());
        at = end;
    }
    let v6 = u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]) == AAAA;
    Request { name: labels.join("."), v6, tcp, from }
}

fn answer(request: &[u8], reply: &Reply) -> Option<Vec<u8>> {
    let (code, truncated, records) = match reply {
        Reply::Silent => return None,
        Reply::Code(code) => (*code, false, &[][..]),
        Reply::Truncated => (NO_ERROR, true, &[][..]),
        Reply::Records(records) => (NO_ERROR, false, records.as_slice()),
    };
    let question = HEADER + request[HEADER..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let mut bytes = request[..2].to_vec();
    bytes.extend([0x81 | (u8::from(truncated) << 1), 0x80 | code, 0, 1, 0, u8::try_from(records.len()).unwrap()]);
    bytes.extend([0; 4]);
    bytes.extend(&request[HEADER..question]);
    for (owner, value) in records {
        let (kind, data) = match value {
            Value::Address(IpAddr::V4(address)) => (A, address.octets().to_vec()),
            Value::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec()),
            Value::Alias(name) => (CNAME, encoded(name)),
        };
        bytes.extend(encoded(owner));
        bytes.extend(kind.to_be_bytes());
        // Class IN, and valid for a minute.
        bytes.extend([0, 1, 0, 0, 0, 60]);
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
    }
    Some(bytes)
}

fn encoded(name: &str) -> Vec<u8> {
    let labels =
        name.split('.').flat_map(|label| std::iter::once(u8::try_from(label.len()).unwrap()).chain(label.bytes()));
    labels.chain([0]).collect()
}
