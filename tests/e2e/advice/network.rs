//! Pages about addresses, the network and the spec.

use std::io::{Read, Write};

use serde_json::{Value, json};

use super::reader::{Reader, can_run, user};
use crate::support::{Operator, own_ip};

pub const PAGES: &[&str] = &[
    "reasons/HostNotFound",
    "reasons/AddressDenied",
    "reasons/InstanceNotFound",
    "reasons/ProtocolError",
    "reasons/SameServer",
    "reasons/OperatorLimited",
    "reasons/InvalidSpec",
];

/// Applies the resource with another primary.
fn primary(reader: &Reader, server: Value) {
    let mut pool = reader.resource(false, user("Primary"));
    pool["spec"]["sql"]["primary"] = server;
    reader.pool.cluster.apply(&pool);
}

/// A server that answers each client with the banner of another protocol.
fn other_protocol() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind((own_ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut client = client;
            let _ = client.read(&mut [0; 64]);
            let _ = client.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_the_network_lead_to_the_server() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-network", false, PAGES).await;
    let right = reader.pool.server("a");
    let (host, port) = (right["host"].as_str().unwrap().to_owned(), right["port"].to_string());

    let page = "HostNotFound";
    primary(&reader, json!({"host": "sql-a.invalid", "port": right["port"]}));
    reader.until_reason(page);
    let name = [("sql-a.contoso.com", "sql-a.invalid")];
    assert!(reader.sh_with(page, "getent hosts", &name).is_err(), "the name does not resolve");
    reader.edit(page, &format!("s|host: sql-a.invalid|host: {host}|"));
    reader.aligned();

    denied_address(&mut reader, &right);

    let page = "ProtocolError";
    let other = other_protocol();
    primary(&reader, json!({"host": other.ip().to_string(), "port": other.port()}));
    reader.until_reason(page);
    reader.edit(page, &format!("s|host: {}|host: {host}|; s|port: {}|port: {port}|", other.ip(), other.port()));
    reader.aligned();

    let page = "SameServer";
    let mirror = reader.pool.server("b");
    // The API server refuses two equal addresses: this one is spelled by its instance.
    primary(&reader, json!({"host": mirror["host"], "instance": "RTC"}));
    reader.until_reason(page);
    let wrong = mirror["host"].as_str().unwrap();
    reader.edit(page, &format!("/primary:/,$ {{ s|host: {wrong}$|host: {host}| }}"));
    reader.aligned();

    let page = "InstanceNotFound";
    // No process, and no status, knows the port of this address.
    reader.operator.take().unwrap().stop();
    reader.pool.patch_status("pool01", &json!({"servers": null}));
    reader.world(json!({"do": "setServerSettings", "server": "a", "settings": {"browser": {"stopped": true}}}));
    primary(&reader, json!({"host": host, "instance": "RTC", "port": null}));
    reader.operator = Some(Operator::start(reader.pool.cluster, &reader.pool.namespace, "1s"));
    reader.until_reason(page);
    let address = [("sql-a.contoso.com", host.as_str()), ("49172", port.as_str())];
    reader.sh_with(page, "spec/sql/primary", &address).unwrap();
    reader.aligned();
    operator_and_spec(&mut reader);
    reader.finish();
}

fn denied_address(reader: &mut Reader, right: &Value) {
    let page = "AddressDenied";
    primary(reader, json!({"host": "169.254.169.254", "port": right["port"]}));
    reader.until_reason(page);
    reader.edit(page, &format!("s|host: 169.254.169.254|host: {}|", right["host"].as_str().unwrap()));
    reader.aligned();
}

fn operator_and_spec(reader: &mut Reader) {
    // The Pods of the operator are processes here: the commands find the policies and no Pod.
    let printed = reader.sh_with("OperatorLimited", "describe pod", &[]).unwrap();
    assert!(printed.contains("No resources found"), "{printed}");

    let page = "InvalidSpec";
    let mut pool = reader.resource(false, user("Primary"));
    pool["spec"]["policy"]["unrequestedSwitch"] = json!("FailBack");
    pool["spec"]["policy"]["maintenanceWindows"] =
        json!([{"schedule": "0 2 * * *", "duration": "1h", "timeZone": "Europe/Atlantis"}]);
    reader.pool.cluster.apply(&pool);
    reader.pool.until_ready("pool01", "False", page);
    let printed = reader.sh(page, "jsonpath");
    assert!(printed.contains("Europe/Atlantis"), "{printed}");
    reader.edit(page, "s|Europe/Atlantis|Europe/Berlin|");
    reader.aligned();
}
