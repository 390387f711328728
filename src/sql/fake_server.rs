//! A TDS server without encryption that sends scripted responses, for the tests of the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::sql::prelogin::{HEADER, Header, TABULAR, packets, reply_without_encryption};
use crate::sql::{InstanceAddress, Target, Tls};

/// The present script, which a test can change at any time.
#[derive(Clone)]
pub struct Script {
    /// The payload of the response to a login.
    pub login: Vec<u8>,
    /// The payload of the response to a batch.
    pub batch: Vec<u8>,
    /// Closes the connection after each response to a batch.
    pub close: bool,
    /// Holds the response to a batch until `FakeServer::release`.
    pub hold: bool,
}

pub struct FakeServer {
    pub target: Target,
    accepting: JoinHandle<()>,
    script: Arc<Mutex<Script>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    logins: AtomicU64,
    released: Notify,
    /// The clients that were still connected when their held response was released, or had closed.
    waited: AtomicU64,
    closed: AtomicU64,
}

impl FakeServer {
    pub async fn start(script: Script) -> FakeServer {
        Self::start_at("127.0.0.1", script).await
    }

    pub async fn start_at(host: &str, script: Script) -> FakeServer {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let endpoint = InstanceAddress::Port(listener.local_addr().unwrap().port());
        let target = Target { host: host.to_owned(), endpoint, tls: Tls::Off, ..super::tests::target(0) };
        let (script, counts) = (Arc::new(Mutex::new(script)), Arc::new(Counts::default()));
        let (shared, counters) = (script.clone(), counts.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counters.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, shared.clone(), counters.clone()));
            }
        });
        FakeServer { target, accepting, script, counts }
    }

    /// Closes the port.
    pub async fn stop(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }

    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock());
    }

    /// The number of LOGIN7 messages so far.
    pub fn logins(&self) -> u64 {
        self.counts.logins.load(Ordering::SeqCst)
    }

    /// The number of TCP connections so far.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Sends one held response. Returns whether its client was still connected.
    pub async fn release(&self) -> bool {
        self.counts.released.notify_one();
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        while count(&self.counts.waited) + count(&self.counts.closed) == 0 {
            tokio::task::yield_now().await;
        }
        count(&self.counts.closed) == 0
    }
}

impl Script {
    /// Accepts each login and answers each batch as a server without databases answers a poll.
    pub fn healthy() -> Script {
        Script {
            login: [ack([0x74, 0, 0, 4]), done(0)].concat(),
            batch: poll_response("SQL-A"),
            close: false,
            hold: false,
        }
    }

    /// Answers a poll with this name of the server.
    pub fn named(name: &str) -> Script {
        Script { batch: poll_response(name), ..Script::healthy() }
    }

    /// Answers a poll with this name of the server, and with so many databases, whose names have 128 characters.
    pub fn with_databases(name: &str, count: usize) -> Script {
        Script { batch: poll_response_with(name, &databases(count)), ..Script::healthy() }
    }

    pub fn refusing(number: u32) -> Script {
        Script { login: refusal(number), ..Script::healthy() }
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, counts: Arc<Counts>) -> Option<()> {
    message(&mut stream).await?;
    stream.write_all(&packets(TABULAR, &reply_without_encryption())).await.ok()?;
    message(&mut stream).await?;
    counts.logins.fetch_add(1, Ordering::SeqCst);
    let login = script.lock().login.clone();
    stream.write_all(&response(&login)).await.ok()?;
    if matches!(login.first(), Some(0xaa | 0xab)) && !login.contains(&0xad) {
        // A refused login ends the connection.
        return None;
    }
    loop {
        message(&mut stream).await?;
        let Script { batch, close, hold, .. } = script.lock().clone();
        if hold {
            tokio::select! {
                biased;
                _ = message(&mut stream) => {
                    counts.closed.fetch_add(1, Ordering::SeqCst);
                    return None;
                }
                () = counts.released.notified() => counts.waited.fetch_add(1, Ordering::SeqCst),
            };
        }
        stream.write_all(&response(&batch)).await.ok()?;
        if close {
            return None;
        }
    }
}

/// A message with this payload, which may be empty.
fn response(payload: &[u8]) -> Vec<u8> {
    if payload.is_empty() { vec![TABULAR, 1, 0, 8, 0, 0, 1, 0] } else { packets(TABULAR, payload) }
}

async fn message(stream: &mut TcpStream) -> Option<()> {
    loop {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header).await.ok()?;
        let Header { last, length, .. } = Header::parse(header)?;
        stream.read_exact(&mut vec![0; length]).await.ok()?;
        if last {
            return Some(());
        }
    }
}

pub fn done(status: u16) -> Vec<u8> {
    [&[0xfd][..], &status.to_le_bytes(), &[0; 10]].concat()
}

/// LOGINACK with this version of TDS.
pub fn ack(version: [u8; 4]) -> Vec<u8> {
    token(0xad, &[&[1][..], &version, &[0], &[11, 0, 0, 0]].concat())
}

pub fn error(number: u32, text: &str) -> Vec<u8> {
    let text: Vec<u16> = text.encode_utf16().collect();
    let mut body = [&number.to_le_bytes()[..], &[1, 14]].concat();
    body.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
    body.extend(text.iter().flat_map(|unit| unit.to_le_bytes()));
    body.extend([0, 0, 1, 0, 0, 0]);
    token(0xaa, &body)
}

/// The same as an INFO token.
pub fn info(number: u32, text: &str) -> Vec<u8> {
    let mut token = error(number, text);
    token[0] = 0xab;
    token
}

pub fn refusal(number: u32) -> Vec<u8> {
    [error(number, "Login failed."), done(2)].concat()
}

fn token(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
}

/// The five result sets of a poll, the last four without rows.
fn poll_response(server: &str) -> Vec<u8> {
    poll_response_with(server, &metadata(&[column("none", &[0x26, 4])]))
}

/// The result set of the databases. All but their names and states is NULL.
fn databases(count: usize) -> Vec<u8> {
    const NVARCHAR: [u8; 8] = [0xe7, 0, 1, 9, 4, 0xd0, 0, 0x34];
    let texts = ["partner_name", "partner_instance", "witness_name"].map(|name| (name, &NVARCHAR[..]));
    let numbers =
        ["state", "role", "role_sequence", "safety_level", "witness_state"].map(|name| (name, &[0x26, 4][..]));
    let mirroring = [&texts[..], &numbers, &[("guid", &[0x24, 16])]].concat();
    let mirroring = mirroring.into_iter().map(|(name, ty)| column(&format!("mirroring_{name}"), ty));
    let columns: Vec<_> =
        [column("name", &NVARCHAR), column("state", &[0x26, 4])].into_iter().chain(mirroring).collect();
    let mut set = metadata(&columns);
    for at in 0..count {
        set.extend([0xd2, 0b1111_1100, 0b0000_0111, 0, 1]);
        set.extend(format!("{at:0128}").encode_utf16().flat_map(u16::to_le_bytes));
        set.extend([4, 0, 0, 0, 0]);
    }
    set
}

/// The same with this result set of databases.
fn poll_response_with(server: &str, databases: &[u8]) -> Vec<u8> {
    const FLAGS: [&str; 3] = ["is_sysadmin", "can_view_server_state", "can_view_any_database"];
    let texts = [
        ("server_name", server),
        ("local_name", "OLD-A"),
        ("product_version", "11.0.7001.0"),
        ("edition", "Standard Edition"),
        ("login_name", "lync"),
    ];
    let columns = texts.map(|(name, _)| column(name, &[0xe7, 0, 1, 9, 4, 0xd0, 0, 0x34]));
    let flags = FLAGS.map(|name| column(name, &[0x26, 4]));
    let mut response = metadata(&[&columns[..], &flags].concat());
    response.push(0xd1);
    for (_, text) in texts {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        response.extend(u16::try_from(units.len()).unwrap().to_le_bytes());
        response.extend(units);
    }
    for _ in FLAGS {
        response.extend([4, 1, 0, 0, 0]);
    }
    response.extend(done(1));
    let none = metadata(&[column("none", &[0x26, 4])]);
    for set in 0..4 {
        response.extend(if set == 0 { databases } else { &none });
        response.extend(done(u16::from(set < 3)));
    }
    response
}

/// A nullable column of this type.
fn column(name: &str, ty: &[u8]) -> Vec<u8> {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [&[0, 0, 0, 0, 1, 0][..], ty, &[u8::try_from(name.len()).unwrap()], &units].concat()
}

fn metadata(columns: &[Vec<u8>]) -> Vec<u8> {
    [&[0x81][..], &u16::try_from(columns.len()).unwrap().to_le_bytes(), &columns.concat()].concat()
}
