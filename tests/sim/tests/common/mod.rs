//! A pair and a witness for one test, and a client for them.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

use mirror_sim::config::Config;
use mirror_sim::sim::Sim;
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use tiberius::{AuthMethod, Client, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

pub const LOGIN: &str = "operator";
pub const PASSWORD: &str = "secret";

pub const MIRRORING: &str = "SELECT d.name, m.mirroring_guid, m.mirroring_state, m.mirroring_role, \
    m.mirroring_role_sequence, m.mirroring_partner_instance FROM sys.databases AS d \
    LEFT JOIN sys.database_mirroring AS m ON m.database_id = d.database_id ORDER BY d.name";
pub const FAILOVER: &str = "ALTER DATABASE [rtcxds] SET PARTNER FAILOVER";
/// A database that exists and is not mirrored: error 1416.
pub const FAILOVER_OF_PLAIN: &str = "ALTER DATABASE [plain] SET PARTNER FAILOVER";

/// The commands that these tests use.
pub const DOWN: &str = "kill";
pub const UP: &str = "start";
pub const FREEZE: &str = "pause";
pub const UNFREEZE: &str = "unpause";

/// A loopback address for one test, unique also among parallel test runs.
pub fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Servers `a`, `b` and witness `w`, with `rtcxds` mirrored from `a` to `b`, and `plain` on `a` without mirroring.
pub fn config(tls: &str) -> Config {
    let ip = own_ip();
    let server = |id: &str, name: &str| {
        json!({
            "id": id,
            "name": name,
            "listen": format!("{ip}:0"),
            "instance": name.split('\\').next_back(),
            "tls": { "mode": tls, "certificateNames": [name.split('\\').next()] },
            "logins": [{ "name": LOGIN, "password": PASSWORD }],
            "plainDatabases": if id == "a" { vec!["plain"] } else { vec![] },
        })
    };
    let config = json!({
        "servers": [server("a", r"SQL-A\RTC"), server("b", r"SQL-B\RTCB"), server("w", r"SQL-W\RTCW")],
        "pairs": [{ "name": "user", "primary": "a", "mirror": "b", "witness": "w", "databases": ["rtcxds"], "timeoutSeconds": 0.05 }],
    });
    serde_json::from_value(config).unwrap()
}

pub async fn start(tls: &str) -> Sim {
    Sim::start(config(tls)).await.unwrap()
}

pub type TestClient = Client<Compat<TcpStream>>;

pub async fn connect(sim: &Sim, server: &str) -> tiberius::Result<TestClient> {
    log_in(sim, server, PASSWORD, "master").await
}

pub async fn log_in(sim: &Sim, server: &str, password: &str, database: &str) -> tiberius::Result<TestClient> {
    let address = sim.address(server);
    let mut config = tiberius::Config::new();
    config.host(address.ip().to_string());
    config.port(address.port());
    config.authentication(AuthMethod::sql_server(LOGIN, password));
    config.database(database);
    config.encryption(EncryptionLevel::NotSupported);
    config.application_name("lync-mirror test");
    let tcp = TcpStream::connect(address).await?;
    Client::connect(config, tcp.compat_write()).await
}

/// The mirroring roles of all databases, as a server reports them.
pub async fn roles(client: &mut TestClient) -> Vec<(String, Option<u8>)> {
    let rows = client.simple_query(MIRRORING).await.unwrap().into_first_result().await.unwrap();
    rows.iter()
        .map(|row| {
            let name: &str = row.try_get("name").unwrap().unwrap();
            (name.to_owned(), row.try_get("mirroring_role").unwrap())
        })
        .collect()
}

pub fn role(roles: &[(String, Option<u8>)], database: &str) -> Option<u8> {
    roles.iter().find(|(name, _)| name == database).and_then(|(_, role)| *role)
}

/// The error number of a server error.
pub fn number<T>(result: tiberius::Result<T>) -> Option<u32> {
    match result {
        Err(tiberius::error::Error::Server(error)) => Some(error.code()),
        _ => None,
    }
}

pub async fn run(client: &mut TestClient, text: &str) -> tiberius::Result<()> {
    client.simple_query(text.to_owned()).await?.into_results().await.map(drop)
}
