//! Phase x fault: a bad network between the SQL client and a server, at each phase of a connection. Every cell ends in a
//! named cause, a failover that was sent is never sent again, and the next poll after healing succeeds.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::client::{deadlines, target, verify};
use futures::future::join_all;
use lync_mirror::model::{Act, Failover};
use lync_mirror::model::{Answer, DatabaseName, Seat, ServerObservation, UnavailableCause};
use lync_mirror::sql::{Deadlines, InstanceMonitors, connect_for_moves, fail_over};
use mirror_sim::config::{Config, TlsMode};
use mirror_sim::sim::Sim;
use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};

const NEVER: Duration = Duration::from_secs(3600);
/// Enough for a healthy server on a busy machine; each cell without an answer waits for it once.
const DEADLINE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// How many bytes of an endless answer a client may read: a TDS packet announces 64 KiB at most.
const GULP: u64 = 8 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Connect,
    Prelogin,
    Tls,
    Login,
    Poll,
    Move,
}

const PHASES: [Phase; 6] = [Phase::Connect, Phase::Prelogin, Phase::Tls, Phase::Login, Phase::Poll, Phase::Move];

/// The fault of the answer of the server in that phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It never arrives.
    Stall,
    Close,
    Reset,
    /// Its first half, then nothing: a stall inside a packet.
    HalfThenStall,
    HalfThenClose,
    /// Another protocol's answer in its place.
    Garbage,
    /// Every byte of it changed.
    Corrupt,
    /// Bytes without end in its place.
    Flood,
}

const FAULTS: [Fault; 8] = [
    Fault::Stall,
    Fault::Close,
    Fault::Reset,
    Fault::HalfThenStall,
    Fault::HalfThenClose,
    Fault::Garbage,
    Fault::Corrupt,
    Fault::Flood,
];

/// The network of one server. The fault happens while it is armed.
struct Network {
    phase: Phase,
    fault: Fault,
    armed: AtomicBool,
    happened: AtomicU64,
    flooded: AtomicU64,
}

impl Network {
    async fn start(phase: Phase, fault: Fault, server: std::net::SocketAddr) -> (Arc<Network>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (armed, happened, flooded) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let network = Arc::new(Network { phase, fault, armed, happened, flooded });
        let accepting = network.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().carry(client, server));
            }
        });
        (network, port)
    }

    fn is_due(&self, phase: Phase) -> bool {
        // A failover is the first batch of its own connection, as a poll is.
        let here = phase == self.phase || (phase == Phase::Poll && self.phase == Phase::Move);
        let is_due = here && self.armed.load(Ordering::SeqCst);
        self.happened.fetch_add(is_due.into(), Ordering::SeqCst);
        is_due
    }

    async fn carry(self: Arc<Self>, client: TcpStream, server: std::net::SocketAddr) {
        let (from_client, mut to_client) = client.into_split();
        if self.is_due(Phase::Connect) {
            // There is no answer yet to change: any bytes do.
            self.strike(&[4, 1, 0, 43, 0, 0, 1, 0], to_client).await;
            drop(from_client);
            return;
        }
        let Ok(server) = TcpStream::connect(server).await else { return };
        let (mut from_server, mut to_server) = server.into_split();
        let turns = Arc::new(AtomicU64::new(0));
        let counted = turns.clone();
        let upstream = tokio::spawn(async move {
            let mut from_client = from_client;
            let mut bytes = vec![0; 65536];
            while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
                // Records of TLS that carry data: the login first, then one batch after the other.
                counted.fetch_add((bytes[0] == 0x17).into(), Ordering::SeqCst);
                if to_server.write_all(&bytes[..read]).await.is_err() {
                    break;
                }
            }
        });
        let mut bytes = vec![0; 65536];
        while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
            let phase = match (bytes[0], turns.load(Ordering::SeqCst)) {
                (_, 2..) => Phase::Poll,
                (_, 1) => Phase::Login,
                (0x04, _) => Phase::Prelogin,
                _ => Phase::Tls,
            };
            if self.is_due(phase) {
                self.strike(&bytes[..read], to_client).await;
                break;
            }
            if to_client.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
        upstream.abort();
    }

    async fn strike(&self, answer: &[u8], mut to_client: OwnedWriteHalf) {
        let half = &answer[..answer.len() / 2];
        match self.fault {
            Fault::Stall => std::future::pending().await,
            Fault::Close => {}
            Fault::Reset => {
                let _ = SockRef::from(to_client.as_ref()).set_linger(Some(Duration::ZERO));
            }
            Fault::HalfThenStall => {
                let _ = to_client.write_all(half).await;
                std::future::pending().await
            }
            Fault::HalfThenClose => {
                let _ = to_client.write_all(half).await;
            }
            Fault::Garbage => {
                let _ = to_client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            }
            Fault::Corrupt => {
                let corrupt: Vec<u8> = answer.iter().map(|byte| byte ^ 0x5A).collect();
                let _ = to_client.write_all(&corrupt).await;
            }
            Fault::Flood => {
                // Packets that are always followed by another one, so that a reader without a limit never ends.
                let packet: Vec<u8> = [4, 0, 0x10, 0, 0, 0, 1, 0].into_iter().chain([0x5A; 4088]).collect();
                while to_client.write_all(&packet).await.is_ok() {
                    self.flooded.fetch_add(packet.len() as u64, Ordering::SeqCst);
                }
            }
        }
    }
}

/// The causes that may be reported in that phase after that fault.
fn named(phase: Phase, fault: Fault) -> &'static [UnavailableCause] {
    match (phase, fault) {
        (_, Fault::Stall | Fault::HalfThenStall) => &[UnavailableCause::Unresponsive],
        // A client cannot distinguish a close during the handshake from a refusal.
        (Phase::Tls, _) => {
            &[UnavailableCause::TlsFailed, UnavailableCause::ProtocolError, UnavailableCause::ConnectionLost]
        }
        (_, Fault::Close | Fault::Reset | Fault::HalfThenClose) => &[UnavailableCause::ConnectionLost],
        (_, Fault::Garbage | Fault::Corrupt | Fault::Flood) => {
            &[UnavailableCause::ProtocolError, UnavailableCause::ConnectionLost]
        }
    }
}

/// The reported result of this cell. Panics where it differs from the expected one.
async fn cell(phase: Phase, fault: Fault) -> String {
    let at = format!("{phase:?} x {fault:?}");
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| {
        server.tls.mode = TlsMode::Required;
        server.tls.certificate_names = vec!["127.0.0.1".into()];
    });
    let sim = Sim::start(config).await.unwrap();
    let (network, port) = Network::start(phase, fault, sim.address("a")).await;
    let target = target((Ipv4Addr::LOCALHOST, port).into(), verify(&sim));
    // One set of monitors for all polls, as in the operator: a broken poll must not affect the next one.
    let monitors = InstanceMonitors::new(NEVER, deadlines(DEADLINE));
    let watch = monitors.watch(&target);
    let database = DatabaseName::new("rtcxds");
    let statements = || sim.journal(0).iter().filter(|entry| entry.text.contains("PARTNER FAILOVER")).count();

    let result = if phase == Phase::Move {
        let ServerObservation::Available { server, .. } = watch.refresh().await else {
            panic!("{at}: unavailable before the fault")
        };
        let mirroring = server.databases[&database].mirroring.clone().unwrap();
        let step = Failover {
            act: Act::Failover,
            database: database.clone(),
            on: Seat::Primary,
            server: server.name.clone(),
            partner: mirroring.partner_instance,
            guid: mirroring.guid,
            role_sequence: mirroring.role_sequence,
        };
        let mut sessions = connect_for_moves(&target, 1, &deadlines(DEADLINE)).await.unwrap();
        network.armed.store(true, Ordering::SeqCst);
        let answer = fail_over(sessions.remove(0), &step, DEADLINE).await;
        let Answer::Lost { detail } = answer else { panic!("{at}: {answer:?}") };
        assert!(detail.len() > 20, "{at}: {detail}");
        // The server executed the failover; it is not sent a second time.
        sim.until(|world| !world.failovers().is_empty()).await;
        format!("Lost ({})", if detail.contains("within") { "no answer in time" } else { "broken" })
    } else {
        network.armed.store(true, Ordering::SeqCst);
        let view = watch.refresh().await;
        let ServerObservation::Unavailable { unavailable, .. } = view else {
            panic!("{at}: the fault was not noticed")
        };
        assert!(named(phase, fault).contains(&unavailable.cause), "{at}: {unavailable:?}");
        assert!(unavailable.detail.contains(&target.address()), "{at}: {}", unavailable.detail);
        format!("{:?}", unavailable.cause)
    };
    assert!(network.happened.load(Ordering::SeqCst) > 0, "{at}: the fault never happened");
    let flooded = network.flooded.load(Ordering::SeqCst);
    assert!(flooded < GULP, "{at}: {flooded} bytes went out");

    network.armed.store(false, Ordering::SeqCst);
    let view = watch.refresh().await;
    let ServerObservation::Available { server, .. } = view else {
        panic!("{at}: still unavailable after healing: {view:?}")
    };
    assert!(server.databases[&database].mirroring.is_some(), "{at}");
    let moves = usize::from(phase == Phase::Move);
    assert_eq!((statements(), sim.failovers().len()), (moves, moves), "{at}: statements, failovers");
    assert_eq!(sim.failures(), Vec::<String>::new(), "{at}");
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn network_fault_in_each_phase_is_named_and_heals() {
    let mut table = format!("{:16}", "");
    for phase in PHASES {
        write!(table, "{:>26}", format!("{phase:?}")).unwrap();
    }
    let mut rows = FAULTS.map(|fault| format!("\n{:16}", format!("{fault:?}")));
    for phase in PHASES {
        let cells = join_all(FAULTS.map(|fault| tokio::spawn(cell(phase, fault)))).await;
        for (row, result) in rows.iter_mut().zip(cells) {
            write!(row, "{:>26}", result.unwrap()).unwrap();
        }
    }
    println!("{table}{}", rows.concat());
    println!(
        "network: {} cells, each named, healed at the next poll, no second statement",
        PHASES.len() * FAULTS.len()
    );
}

/// A server that answers without end, in valid TDS and TLS, costs its own poll and a bounded number of bytes.
#[tokio::test]
async fn answer_without_end_is_abandoned_and_the_next_poll_starts_clean() {
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| {
        server.tls.mode = TlsMode::Required;
        server.tls.certificate_names = vec!["127.0.0.1".into()];
    });
    let sim = Sim::start(config).await.unwrap();
    // Long deadlines: the number of bytes must end the poll.
    let monitors = InstanceMonitors::new(NEVER, Deadlines { batch: PATIENCE, ..deadlines(DEADLINE) });
    let watch = |server: &str| monitors.watch(&target(sim.address(server), verify(&sim)));
    let (flooding, other) = (watch("a"), watch("b"));
    sim.do_json(json!({ "do": "flood", "server": "a", "phase": "batch" })).unwrap();
    let ServerObservation::Unavailable { unavailable, .. } = flooding.refresh().await else {
        panic!("a poll without end succeeded")
    };
    assert_eq!(unavailable.cause, UnavailableCause::ProtocolError, "{unavailable:?}");
    assert!(unavailable.detail.contains("more than 8 MiB"), "{unavailable:?}");
    for watch in [&other, &flooding] {
        let view = watch.refresh().await;
        assert!(matches!(view, ServerObservation::Available { .. }), "{view:?}");
    }
}
