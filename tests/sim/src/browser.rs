//! SQL Browser: which port an instance listens on, by UDP. It knows names and ports, and whether they are up.

use crate::server::Server;
use crate::server::stage::Stage;
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
    pub async fn bind(ip: IpAddr, servers: &[Arc<Server>]) -> io::Result<Option<Self>> {
        let named = |server: &&Arc<Server>| server.address.ip() == ip && server.instance.is_some();
        let servers: Vec<_> = servers.iter().filter(named).cloned().collect();
        if servers.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { socket: UdpSocket::bind(SocketAddr::new(ip, PORT)).await?, servers }))
    }

    pub async fn serve(self, stage: Arc<Stage>) {
        let mut question = [0; 1024];
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut question).await else { continue };
            let up = self.servers.iter().filter(|server| stage.reach(&server.id) == Reach::Up);
            let up = up.map(|server| (server.as_ref(), stage.version(&server.id)));
            if let Some(reply) = answer(question.get(..length).unwrap_or_default(), up) {
                let _ = self.socket.send_to(&reply, from).await;
            }
        }
    }
}

/// Opcodes 2 and 3 list all; 4 asks for one by name, with or without a closing NUL. Silence is the answer to the rest.
fn answer<'a>(question: &[u8], servers: impl Iterator<Item = (&'a Server, String)>) -> Option<Vec<u8>> {
    let text: String = match question {
        [2, ..] | [3, ..] => servers.map(line).collect(),
        [4, name @ ..] => {
            let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default());
            let is_it = |own: &str| own.eq_ignore_ascii_case(&name);
            let named = |(server, _): &(&Server, String)| server.instance.as_deref().is_some_and(is_it);
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
