//! One listener per server: bound while the server is up, closed while it is down, always on the same address.
//! Module `connection` serves an accepted connection.

pub mod connection;
pub mod faults;
mod flood;
mod kerberos;
pub mod login;
pub mod probe;
pub mod procedures;
pub mod session;
pub mod shared;

use crate::config::{ServerConfig, TlsMode};
use crate::wire::tls::Authority;
use crate::world::Reach;
use anyhow::Context;
use openssl::ssl::SslContext;
use shared::SharedState;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The fixed properties of a server.
pub struct Server {
    pub id: String,
    pub name: String,
    pub instance: Option<String>,
    pub mode: TlsMode,
    pub tls: Option<SslContext>,
    address: RwLock<SocketAddr>,
    pub lets_in_as: Option<String>,
}

const BACKLOG: i32 = 128;
/// Delay before the next attempt to bind an address that is in use.
const REBIND: Duration = Duration::from_millis(20);

impl Server {
    /// Binds the listen address; port 0 becomes a free port.
    ///
    /// # Errors
    /// An invalid or used address, an invalid version, or a failure to create the certificate.
    pub fn bind(config: &ServerConfig, authority: &Authority) -> anyhow::Result<(Self, TcpListener)> {
        let listen = config.listen.as_deref().unwrap_or("127.0.0.1:0");
        let wanted: SocketAddr = listen.parse().with_context(|| format!("server {}: listen {listen:?}", config.id))?;
        let listener = listen_on(wanted).with_context(|| format!("server {}: listen on {wanted}", config.id))?;
        let address = listener.local_addr()?;
        let tls = match config.tls.mode {
            TlsMode::Off => None,
            _ => Some(authority.server(&config.tls.certificate_names, address.ip())?),
        };
        build(&config.version).with_context(|| format!("server {}: version {:?}", config.id, config.version))?;
        let server = Self {
            id: config.id.clone(),
            name: config.name.clone(),
            instance: config.instance.clone(),
            mode: config.tls.mode,
            tls,
            address: RwLock::new(address),
            lets_in_as: config.lets_in_as.clone(),
        };
        Ok((server, listener))
    }

    /// The present listen address. The port changes at a start with the setting `newPortAtStart`.
    pub fn address(&self) -> SocketAddr {
        *self.address.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_address(&self, address: SocketAddr) {
        *self.address.write().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Whether the INSTOPT option of PRELOGIN selects this instance. An empty name selects every instance.
    pub fn answers_to(&self, instance: &str) -> bool {
        let own = self.instance.as_deref().or(self.name.split_once('\\').map(|(_, instance)| instance));
        instance.is_empty() || instance.eq_ignore_ascii_case(own.unwrap_or("MSSQLServer"))
    }
}

/// Major, minor and build of `11.0.7001.0`, as PRELOGIN and LOGINACK carry them.
pub fn build(version: &str) -> Option<[u8; 4]> {
    let mut parts = version.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    let [high, low] = parts.next()?.parse::<u16>().ok()?.to_be_bytes();
    Some([major, minor, high, low])
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Runs the listener of a server until the task is dropped. `listening` shows whether the socket is bound.
pub async fn serve(shared: Arc<SharedState>, server: Arc<Server>, first: TcpListener, listening: watch::Sender<bool>) {
    let mut listener = Some(first);
    loop {
        match listener.take() {
            Some(bound) if shared.reach(&server.id) != Reach::Down => {
                listening.send_replace(true);
                up(&shared, &server, bound).await;
            }
            _ => {}
        }
        listening.send_replace(false);
        shared.until(|world| (world.reach(&server.id) != Reach::Down).then_some(())).await;
        let mut wanted = server.address();
        if shared.with(|world, _| world.server_settings(&server.id)).new_port_at_start {
            wanted.set_port(0);
        }
        match listen_on(wanted) {
            Ok(bound) => {
                if let Ok(address) = bound.local_addr() {
                    server.set_address(address);
                }
                listener = Some(bound);
            }
            Err(error) => {
                tracing::warn!(server = server.id, address = %wanted, %error, "cannot listen again yet");
                tokio::time::sleep(REBIND).await;
            }
        }
    }
}

/// Accepts connections until the server is down. Returns after all connections are reset.
async fn up(shared: &Arc<SharedState>, server: &Arc<Server>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    let (alive, until_dropped) = watch::channel(());
    tokio::select! {
        biased;
        () = shared.wait_until_down(&server.id) => {}
        () = accept(shared, server, &listener, &until_dropped, &mut connections) => {}
    }
    drop((listener, alive));
    while connections.join_next().await.is_some() {}
}

async fn accept(
    shared: &Arc<SharedState>,
    server: &Arc<Server>,
    listener: &TcpListener,
    alive: &watch::Receiver<()>,
    connections: &mut JoinSet<()>,
) {
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((tcp, _)) => {
                let _ = tcp.set_nodelay(true);
                connections.spawn(connection::serve(shared.clone(), server.clone(), tcp, alive.clone()));
            }
            Err(error) => {
                tracing::warn!(server = server.id, %error, "accept failed");
                tokio::time::sleep(REBIND).await;
            }
        }
    }
}

/// Makes the close of a socket send a reset.
fn reset_on_close(socket: &Socket) {
    let _ = socket.set_linger(Some(Duration::ZERO));
}

fn second_handle(tcp: &TcpStream) -> io::Result<Socket> {
    socket2::SockRef::from(tcp).try_clone()
}
