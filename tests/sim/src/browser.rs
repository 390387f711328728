//! SQL Browser: returns the port of an instance over UDP, for the servers that are up (MC-SQLR).

use crate::server::Server;
use crate::server::shared::SharedState;
use crate::world::Reach;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;

pub const PORT: u16 = 1434;

/// One service per address, for all the instances that listen there.
pub struct Browser {
    socket: UdpSocket,
    servers: Vec<Arc<Server>>,
}

impl Browser {
    /// Binds UDP port 1434 of an address; `None` if no server there has a named instance.
    pub async fn bind(ip: IpAddr, servers: &[Arc<Server>]) -> io::Result<Option<Self>> {
        let named = |server: &&Arc<Server>| server.address.ip() == ip && server.instance.is_some();
        let servers: Vec<_> = servers.iter().filter(named).cloned().collect();
        if servers.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { socket: UdpSocket::bind(SocketAddr::new(ip, PORT)).await?, servers }))
    }

    pub async fn serve(self, shared: Arc<SharedState>) {
        let mut request = [0; 1024];
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut request).await else { continue };
            let up = self.servers.iter().filter(|server| shared.reach(&server.id) == Reach::Up);
            let up = up.map(|server| (server.as_ref(), shared.version(&server.id)));
            if let Some(reply) = answer(request.get(..length).unwrap_or_default(), up) {
                let _ = self.socket.send_to(&reply, from).await;
            }
        }
    }
}

/// Opcodes 2 and 3 list all instances; 4 requests one by name, with or without a closing NUL. Other requests get no
/// response.
fn answer<'a>(request: &[u8], servers: impl Iterator<Item = (&'a Server, String)>) -> Option<Vec<u8>> {
    let text: String = match request {
        [2, ..] | [3, ..] => servers.map(line).collect(),
        [4, name @ ..] => {
            let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default());
            let matches = |own: &str| own.eq_ignore_ascii_case(&name);
            let named = |(server, _): &(&Server, String)| server.instance.as_deref().is_some_and(matches);
            servers.filter(named).map(line).next()?
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

fn line((server, version): (&Server, String)) -> String {
    let host = server.name.split('\\').next().unwrap_or(&server.name);
    let instance = server.instance.as_deref().unwrap_or("MSSQLSERVER");
    let port = server.address.port();
    format!("ServerName;{host};InstanceName;{instance};IsClustered;No;Version;{version};tcp;{port};;")
}
