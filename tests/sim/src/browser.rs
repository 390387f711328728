//! SQL Browser: returns the port of an instance over UDP, for the servers that are up (MC-SQLR).

use crate::server::Server;
use crate::server::shared::SharedState;
use crate::settings::BrowserSettings;
use crate::world::{Reach, World};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;

pub const PORT: u16 = 1434;

/// One service per address, for all the instances that listen there.
pub struct Browser {
    address: SocketAddr,
    socket: Option<UdpSocket>,
    servers: Vec<Arc<Server>>,
}

impl Browser {
    /// Binds UDP port 1434 of an address; `None` if no server there has a named instance.
    pub async fn bind(ip: IpAddr, servers: &[Arc<Server>]) -> io::Result<Option<Self>> {
        let named = |server: &&Arc<Server>| server.address().ip() == ip && server.instance.is_some();
        let servers: Vec<_> = servers.iter().filter(named).cloned().collect();
        if servers.is_empty() {
            return Ok(None);
        }
        let address = SocketAddr::new(ip, PORT);
        Ok(Some(Self { address, socket: Some(UdpSocket::bind(address).await?), servers }))
    }

    pub async fn serve(mut self, shared: Arc<SharedState>) {
        loop {
            let Some(socket) = &self.socket else {
                shared.until(|world| (!self.is_stopped(world)).then_some(())).await;
                self.socket = UdpSocket::bind(self.address).await.ok();
                continue;
            };
            let mut request = [0; 1024];
            tokio::select! {
                biased;
                // A closed socket makes the system report that the port is unreachable.
                () = shared.until(|world| self.is_stopped(world).then_some(())) => self.socket = None,
                received = socket.recv_from(&mut request) => {
                    let Ok((length, client)) = received else { continue };
                    self.respond(&shared, socket, request.get(..length).unwrap_or_default(), client).await;
                }
            }
        }
    }

    fn is_stopped(&self, world: &World) -> bool {
        self.servers.iter().any(|server| world.server_settings(&server.id).browser.stopped)
    }

    async fn respond(&self, shared: &SharedState, socket: &UdpSocket, request: &[u8], client: SocketAddr) {
        let instances: Vec<Instance> = shared.with(|world, _| {
            let up = self.servers.iter().filter(|server| world.reach(&server.id) == Reach::Up);
            up.map(|server| Instance::new(world, server)).filter(|instance| !instance.settings.silent).collect()
        });
        let Some(reply) = answer(request, &instances) else { return };
        let from = instances.iter().find_map(|instance| instance.settings.answers_from);
        let other = match from {
            Some(ip) => UdpSocket::bind(SocketAddr::new(ip, 0)).await.ok(),
            None => None,
        };
        let _ = other.as_ref().unwrap_or(socket).send_to(&reply, client).await;
    }
}

/// An instance as SQL Browser describes it.
struct Instance {
    name: Option<String>,
    line: String,
    settings: BrowserSettings,
}

impl Instance {
    fn new(world: &World, server: &Server) -> Self {
        let settings = world.server_settings(&server.id).browser;
        let version = world.product_version(&server.id);
        let host = server.name.split('\\').next().unwrap_or(&server.name);
        let instance = server.instance.as_deref().unwrap_or("MSSQLSERVER");
        let port = settings.port.unwrap_or(server.address().port());
        let clustered = if world.server_settings(&server.id).clustered { "Yes" } else { "No" };
        let line =
            format!("ServerName;{host};InstanceName;{instance};IsClustered;{clustered};Version;{version};tcp;{port};;");
        Self { name: server.instance.clone(), line, settings }
    }
}

/// Opcodes 2 and 3 list all instances; 4 requests one by name, with or without a closing NUL. Other requests get no
/// response.
fn answer(request: &[u8], instances: &[Instance]) -> Option<Vec<u8>> {
    let text: String = match request {
        [2, ..] | [3, ..] => instances.iter().map(|instance| instance.line.as_str()).collect(),
        [4, name @ ..] => {
            let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default());
            let matches = |own: &str| own.eq_ignore_ascii_case(&name);
            let named = |instance: &&Instance| instance.name.as_deref().is_some_and(matches);
            instances.iter().find(named)?.line.clone()
        }
        _ => return None,
    };
    if text.is_empty() {
        return None;
    }
    let mut reply = vec![5];
    reply.extend(u16::try_from(text.len()).ok()?.to_le_bytes());
    reply.extend(text.as_bytes());
    Some(reply)
}
