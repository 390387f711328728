//! Valid answers and requests with random mutations, through the whole client and the whole simulated server. Nothing panics
//! (which would end the release build), nothing hangs, and the next poll succeeds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::client::{deadlines, target};
use crate::support::rng::seed;
use fastrand::Rng;
use lync_mirror::model::{ServerObservation, UnavailableCause};
use lync_mirror::sql::{Deadlines, InstanceMonitors, Tls};
use mirror_sim::config::{Config, TlsMode};
use mirror_sim::sim::Sim;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Changed messages in each direction; `LYNC_MIRROR_FUZZ` sets another number.
const TRIES: usize = 2000;
const WORKERS: usize = 16;
/// How long the reader of a message waits whose header announces too many bytes.
const DEADLINE: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    ToClient,
    ToServer,
}

/// A change of a message of the next connection.
#[derive(Debug, Clone)]
struct Change {
    direction: Direction,
    /// 0: PRELOGIN, 1: the login, 2: the poll.
    message: usize,
    seed: u64,
}

/// Extreme values of lengths, counts and offsets.
const EXTREMES: [&[u8]; 8] = [
    &[0],
    &[0xff],
    &[0xff, 0xff],
    &[0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x80],
    &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

fn change(message: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.usize(..3) {
        let at = rng.usize(..message.len().max(1)).min(message.len());
        let rest = message.len() - at;
        let some = rng.usize(..40).min(rest);
        match rng.usize(..7) {
            0 if rest > 0 => message[at] ^= 1 << rng.usize(..8),
            1 if rest > 0 => message[at] = rng.u8(..),
            2 => {
                let extreme = *rng.choice(&EXTREMES).unwrap();
                let end = (at + extreme.len()).min(message.len());
                message.splice(at..end, extreme.iter().copied());
            }
            3 => drop(message.drain(at..at + some)),
            4 => {
                let again = message[at..at + some].to_vec();
                message.splice(at..at, again);
            }
            5 => {
                let noise: Vec<u8> = (0..some).map(|_| rng.u8(..)).collect();
                message.splice(at..at, noise);
            }
            _ => message.truncate(at),
        }
    }
    // With a corrected length the change reaches the parser behind the packet header.
    if rng.usize(..2) == 0
        && let Ok(length) = u16::try_from(message.len())
        && length >= 8
    {
        message[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, me: Direction, planned: Change) {
    let mut bytes = vec![0; 65536];
    for number in 0.. {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { break };
        let mut message = bytes[..read].to_vec();
        if planned.direction == me && planned.message == number {
            change(&mut message, &mut Rng::with_seed(planned.seed));
        }
        if to.write_all(&message).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// Forwards messages unchanged, except for the planned change of a connection; each plan is used once.
async fn proxy(server: SocketAddr, plans: Arc<Mutex<Option<Change>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let none = Change { direction: Direction::ToClient, message: usize::MAX, seed: 0 };
            let plan = plans.lock().unwrap().take().unwrap_or(none);
            let server = TcpStream::connect(server).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_client, to_server, Direction::ToServer, plan.clone()));
            tokio::spawn(carry(from_server, to_client, Direction::ToClient, plan));
        }
    });
    address
}

/// The number of panics, in all threads.
fn count_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, before) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        counted.fetch_add(1, Ordering::SeqCst);
        before(panic);
    }));
    panics
}

type Ends = BTreeMap<(Direction, String), usize>;

/// Without TLS, which would protect the messages from changes. A spec does not allow this with a password.
async fn poll(address: SocketAddr, deadlines: Deadlines) -> ServerObservation {
    let monitors = InstanceMonitors::new(Duration::from_secs(3600), deadlines);
    let watch = monitors.watch(&target(address, Tls::Off));
    watch.refresh().await
}

/// `tries` polls in each direction, one after the other, each with a change of its own.
async fn try_all(server: SocketAddr, tries: usize, seed: u64) -> Ends {
    let plans = Arc::new(Mutex::new(None));
    let address = proxy(server, plans.clone()).await;
    let mut rng = Rng::with_seed(seed);
    let mut ends = Ends::new();
    for direction in [Direction::ToClient, Direction::ToServer] {
        for _ in 0..tries {
            let plan = Change { direction, message: rng.usize(..3), seed: rng.u64(..) };
            *plans.lock().unwrap() = Some(plan.clone());
            let end = match poll(address, deadlines(DEADLINE)).await {
                ServerObservation::Available { .. } => "Available".to_owned(),
                ServerObservation::Unavailable { unavailable, .. } => {
                    assert_ne!(
                        unavailable.cause,
                        UnavailableCause::NotYetPolled,
                        "the poll task of this instance ended: {plan:?}"
                    );
                    assert!(unavailable.detail.contains(&address.ip().to_string()), "{plan:?}: {}", unavailable.detail);
                    format!("{:?}", unavailable.cause)
                }
            };
            *ends.entry((direction, end)).or_default() += 1;
        }
    }
    assert!(
        matches!(poll(address, Deadlines::default()).await, ServerObservation::Available { .. }),
        "the next poll succeeds"
    );
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn message_with_random_mutations_costs_only_its_own_poll() {
    let tries = std::env::var("LYNC_MIRROR_FUZZ").map_or(TRIES, |text| text.parse().unwrap());
    let seed = seed();
    println!("{tries} tries each way, LYNC_MIRROR_SEED={seed}");
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| server.tls.mode = TlsMode::Off);
    let sim = Sim::start(config).await.unwrap();
    let panics = count_panics();
    // Most of the time is spent waiting for bytes that a wrong length announces: many wait in parallel.
    let each = (0..WORKERS as u64).map(|worker| {
        tokio::spawn(try_all(sim.address("a"), tries / WORKERS, seed.wrapping_mul(1000).wrapping_add(worker)))
    });
    let mut ends = Ends::new();
    for worker in futures::future::join_all(each).await {
        for (end, count) in worker.unwrap() {
            *ends.entry(end).or_default() += count;
        }
    }
    for ((direction, end), count) in &ends {
        println!("{direction:?} {end:<16} {count}");
    }
    assert_eq!(panics.load(Ordering::SeqCst), 0);
    assert!(ends.len() > 6, "the mutations reach too few outcomes: {ends:?}");
    assert!(sim.failovers().is_empty());
}
