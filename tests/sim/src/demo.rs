//! The built-in configurations of `--demo` and `--pools`.

use crate::config::Config;
use anyhow::Context;
use serde_json::{Value as Json, json};
use std::net::Ipv4Addr;

pub const LOGIN: &str = "lync-mirror";
pub const PASSWORD: &str = "Demo-Passw0rd";
const DATABASES: [&str; 5] = ["rtcxds", "rtcshared", "rtcab", "xds", "lis"];

/// The configuration of `pools` pairs and one witness, on consecutive addresses from `base`.
///
/// One pool: servers `a`, `b`, `w` with pair `pool01`, and servers `c`, `d` with pair `pool02` without a witness.
/// More pools: servers `a01`, `b01`, `a02` and so on.
///
/// # Errors
/// A number of pools outside 1 to 99, or an address range that is too short.
pub fn config(base: Ipv4Addr, pools: u8) -> anyhow::Result<Config> {
    anyhow::ensure!((1..=99).contains(&pools), "--pools: expected 1 to 99");
    let mut ips = (u32::from(base)..).map(Ipv4Addr::from);
    let mut ip = || ips.next().context("--listen-base: no address left");
    let (mut servers, mut pairs) = (Vec::new(), Vec::new());
    let mut witness = None;
    for pool in 1..=pools {
        let number = if pools == 1 { String::new() } else { format!("{pool:02}") };
        servers.push(server(&format!("a{number}"), &format!("SQL-A{number}"), ip()?));
        servers.push(server(&format!("b{number}"), &format!("SQL-B{number}"), ip()?));
        if witness.is_none() {
            witness = Some(server("w", "SQL-W", ip()?));
        }
        pairs.push(json!({
            "name": format!("pool{pool:02}"),
            "primary": format!("a{number}"),
            "mirror": format!("b{number}"),
            "witness": "w",
            "databases": DATABASES,
            "switchMillis": 800,
            "timeoutSeconds": 3.0,
        }));
    }
    servers.extend(witness);
    if pools == 1 {
        servers.push(server("c", "SQL-C", ip()?));
        servers.push(server("d", "SQL-D", ip()?));
        pairs.push(json!({
            "name": "pool02", "primary": "c", "mirror": "d", "databases": DATABASES, "switchMillis": 800,
            "timeoutSeconds": 3.0,
        }));
    }
    serde_json::from_value(json!({ "servers": servers, "pairs": pairs })).context("demo configuration")
}

fn server(id: &str, machine: &str, ip: Ipv4Addr) -> Json {
    json!({
        "id": id,
        "name": format!("{machine}\\RTC"),
        "listen": format!("{ip}:0"),
        "instance": "RTC",
        "tls": { "mode": "required", "certificateNames": [machine.to_lowercase()] },
        "logins": [{ "name": LOGIN, "password": PASSWORD }],
    })
}
