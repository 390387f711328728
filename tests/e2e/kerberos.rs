//! Windows logins by keytab: an MIT KDC, simulated servers that accept its tickets, and each kind of failure.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use crate::support::kdc::{KdcFixture, REALM, spn};
use crate::support::servers::Servers;
use crate::support::{Operator, TestPool, cannot, condition, own_ip, root, skip, types, until};
use serde_json::{Value, json};

const LOGIN: &str = "CONTOSO\\svc-lync";

/// a and b are a correct pool; c and d take no encryption; e and f are not registered; g and h accept every login; i and
/// j are registered for another account than the one they run as.
fn servers(realm: &KdcFixture) -> Servers {
    let server = |id: &str| {
        let tls = if matches!(id, "c" | "d") { "off" } else { "required" };
        json!({
            "id": id, "name": format!("SQL-{}\\RTC", id.to_uppercase()), "listen": format!("{}:0", own_ip()),
            "instance": "RTC", "tls": {"mode": tls}, "logins": [{"name": LOGIN}],
            "letsInAs": if matches!(id, "g" | "h") { json!(LOGIN) } else { Value::Null },
        })
    };
    let pair = |name: &str, a: &str, b: &str| {
        json!({
            "name": name, "primary": a, "mirror": b, "databases": ["rtcxds", "rtcshared", "rtcab", "xds", "lis"],
            "switchMillis": 100, "timeoutSeconds": 1.0, "resyncMillis": 100,
        })
    };
    let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(server);
    let config = json!({
        "servers": all,
        "pairs": [pair("one", "a", "b"), pair("two", "c", "d"), pair("three", "e", "f"), pair("four", "g", "h"), pair("five", "i", "j")],
    });
    let servers = realm.servers(&config);
    for id in ["a", "b", "c", "d", "g", "h", "i", "j"] {
        realm.register(servers.address(id));
    }
    for id in ["i", "j"] {
        realm.admin(&format!("cpw -randkey {}", spn(servers.address(id))));
    }
    servers
}

/// A pool of two of the servers, with the Secret of its own name.
fn pool(fixture: &TestPool, servers: &Servers, name: &str, (a, b): (&str, &str), kdc: SocketAddr) -> Value {
    let server = |id: &str| {
        let address = servers.address(id);
        json!({"host": address.ip().to_string(), "port": address.port()})
    };
    let mut pool = fixture.pool(name, types("Primary", "Primary"));
    pool["spec"]["poolFqdn"] = json!(format!("{name}.example.com"));
    pool["spec"]["sql"] = json!({
        "primary": server(a), "mirror": server(b),
        "auth": {"method": "Kerberos", "secretRef": {"name": name}, "kdcs": [kdc.to_string()]},
        "tls": {"mode": "TrustServerCertificate"},
    });
    pool
}

fn secret(fixture: &TestPool, name: &str, account: &str, keytab: &[u8]) {
    let bytes = |bytes: &[u8]| k8s_openapi::ByteString(bytes.to_vec());
    fixture.cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": fixture.namespace},
        "data": {"username": bytes(format!("{account}@{REALM}").as_bytes()), "keytab": bytes(keytab)},
    }));
}

fn message(status: &Value) -> String {
    status["databaseTypes"][0]["message"].as_str().unwrap().to_owned()
}

/// A KDC and its servers. None: this machine has no KDC, and the suite is reported as skipped.
fn start() -> Option<(KdcFixture, Servers)> {
    match KdcFixture::start(SocketAddr::new(own_ip().into(), 10088)) {
        Ok(realm) => {
            let servers = servers(&realm);
            Some((realm, servers))
        }
        Err(why) => {
            skip("kerberos", &why);
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keytab_as_only_credential_allows_polls_and_moves() {
    let Some((mut realm, servers)) = start() else { return };
    let fixture = TestPool::start("kerberos", true).await;
    let pool = |name, pair| pool(&fixture, &servers, name, pair, realm.address);
    let keys = realm.account("svc-lync");
    for name in ["encrypted", "plain"] {
        secret(&fixture, name, "svc-lync", &keys);
    }
    fixture.cluster.apply(&pool("encrypted", ("a", "b")));
    let mut plain = pool("plain", ("c", "d"));
    plain["spec"]["sql"]["tls"] = json!({"mode": "Disabled"});
    fixture.cluster.apply(&plain);
    let _operator = Operator::start(fixture.cluster, "kerberos", "1s");

    fixture.until_ready("encrypted", "True", "Aligned");
    let status = fixture.until_ready("plain", "True", "Aligned");
    let weak = condition(&status, "WeakEncryption").unwrap();
    assert_eq!((&weak["status"], &weak["reason"]), (&json!("True"), &json!("TlsDisabled")), "{weak}");
    for (name, by) in [("encrypted", "b"), ("plain", "d")] {
        fixture.patch(name, &json!({"spec": {"databaseTypes": types("Mirror", "Primary")}}));
        fixture.until_ready(name, "True", "Aligned");
        let moved = servers.get("/failovers").await;
        let to = moved.as_array().unwrap().iter().filter(|failover| failover["to"] == by).count();
        assert_eq!(to, 3, "{moved}");
    }
    let logins = servers.get("/logins").await;
    for login in logins.as_array().unwrap() {
        assert_eq!((&login["login"], &login["outcome"]), (&json!(LOGIN), &json!("done")), "{login}");
    }

    // An open connection needs no KDC. A new login reports that the KDC is unreachable, and succeeds when it is back.
    realm.close();
    servers.command(json!({"do": "kill", "server": "a"})).await;
    servers.command(json!({"do": "start", "server": "a"})).await;
    let text = message(&fixture.until_ready("encrypted", "False", "KdcUnreachable"));
    assert!(text.contains("spec.sql.auth.kdcs") && text.contains(&realm.address.to_string()), "{text}");
    fixture.until_ready("plain", "True", "Aligned");
    realm.open();
    fixture.until_ready("encrypted", "True", "Aligned");

    // New keys are used with the next login: no restart.
    secret(&fixture, "encrypted", "svc-lync", &realm.keytab("svc-lync"));
    servers.command(json!({"do": "kill", "server": "b"})).await;
    servers.command(json!({"do": "start", "server": "b"})).await;
    until("b is logged on to with the new keys", || {
        let status = fixture.status("encrypted")?;
        let ready = condition(&status, "Ready").unwrap();
        if ready["status"] == "True" { Ok(()) } else { Err(ready.to_string()) }
    });
}

/// The keytabs of accounts that the KDC treats differently.
struct Keytabs {
    keys: Vec<u8>,
    stale: Vec<u8>,
    gone: Vec<u8>,
    locked: Vec<u8>,
    expired: Vec<u8>,
    stranger: Vec<u8>,
}

impl Keytabs {
    fn make(realm: &KdcFixture) -> Self {
        let keys = realm.account("svc-lync");
        let stale = realm.account("svc-stale");
        realm.keytab("svc-stale");
        let gone = realm.account("svc-gone");
        realm.admin("delprinc -force svc-gone");
        let locked = realm.account("svc-locked");
        realm.admin("modprinc -allow_tix svc-locked");
        let expired = realm.account("svc-expired");
        realm.admin("modprinc -expire 2001-01-01 svc-expired");
        let stranger = realm.account("svc-stranger");
        Self { keys, stale, gone, locked, expired, stranger }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kerberos_fault_of_one_resource_has_its_reason_and_affects_no_other() {
    let Some((realm, servers)) = start() else { return };
    let fixture = TestPool::start("troubles", true).await;
    let Keytabs { keys, stale, gone, locked, expired, stranger } = Keytabs::make(&realm);
    // Accepts, and never answers: the backlog takes the connection.
    let silent = TcpListener::bind(SocketAddr::new(own_ip().into(), 0)).unwrap();
    let closed = SocketAddr::new(own_ip().into(), 10088);

    let kdc = realm.address;
    let partners = ("a", "b");
    let pool = |name: &str, pair, kdc| {
        let mut pool = pool(&fixture, &servers, name, pair, kdc);
        // A database of its own: two resources for one database are a conflict.
        pool["spec"]["databaseTypes"] = json!([{"type": "Archiving", "principal": "Primary", "databases": [name]}]);
        pool
    };
    #[rustfmt::skip]
    let table = [
        // name         account         keytab      servers     KDC                             reason                   words
        ("silent",      "svc-lync",     &keys,      partners,   silent.local_addr().unwrap(),   "KdcUnreachable",        vec!["no KDC of CONTOSO.TEST answered"]),
        ("closed",      "svc-lync",     &keys,      partners,   closed,                         "KdcUnreachable",        vec!["check the KDCs of spec.sql.auth.kdcs"]),
        ("unknown-spn", "svc-lync",     &keys,      ("e", "f"), kdc,                            "SpnUnknown",            vec!["setspn", "MSSQLSvc/"]),
        ("expired",     "svc-expired",  &expired,   partners,   kdc,                            "TicketExpired",         vec!["svc-expired", "has expired"]),
        ("locked",      "svc-locked",   &locked,    partners,   kdc,                            "LoginLocked",           vec!["svc-locked", "locked or disabled"]),
        ("stale",       "svc-stale",    &stale,     partners,   kdc,                            "NoKerberosCredentials", vec!["not the present one"]),
        ("gone",        "svc-gone",     &gone,      partners,   kdc,                            "NoKerberosCredentials", vec!["has no account svc-gone"]),
        ("other-keys",  "svc-lync",     &stale,     partners,   kdc,                            "NoKerberosCredentials", vec!["holds no key of svc-lync"]),
        ("no-keytab",   "svc-lync",     &b"PK\x03\x04".to_vec(), partners, kdc,                          "NoKerberosCredentials", vec!["the keytab is invalid"]),
        ("no-login",    "svc-stranger", &stranger,  partners,   kdc,                            "LoginFailed",           vec!["18456", "svc-stranger", "no login"]),
        ("other-owner", "svc-lync",     &keys,      ("i", "j"), kdc,                            "LoginFailed",           vec!["18452", "SPN"]),
        ("impostor",    "svc-lync",     &keys,      ("g", "h"), kdc,                            "ProtocolError",         vec!["did not prove"]),
    ];
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    for (name, account, keytab, pair, kdc, ..) in &table {
        secret(&fixture, name, account, keytab);
        fixture.cluster.apply(&pool(name, *pair, *kdc));
    }
    secret(&fixture, "unnamed", "", &keys);
    fixture.cluster.apply(&pool("unnamed", partners, kdc));
    let mut demanding = pool("demanding", partners, kdc);
    demanding["spec"]["sql"]["tls"] = json!({"mode": "Disabled"});
    secret(&fixture, "demanding", "svc-lync", &keys);
    fixture.cluster.apply(&demanding);
    let _operator = Operator::start(fixture.cluster, "troubles", "1s");

    fixture.until_ready("pool01", "True", "Aligned");
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 3);
    for (name, .., reason, words) in &table {
        let text = message(&fixture.until_ready(name, "False", reason));
        for word in words {
            assert!(text.contains(word), "{name}: {text:?} lacks {word:?}");
        }
        println!("{name:<12} {reason:<22} {text}");
    }
    assert_refused_by_setting(&fixture);
    assert_eq!(servers.get("/failovers").await, json!([]));
    drop(silent);
}

/// An account without its realm, and a server that demands encryption while the spec disables it.
fn assert_refused_by_setting(fixture: &TestPool) {
    let text = message(&fixture.until_ready("unnamed", "False", "NoKerberosCredentials"));
    assert!(text.contains("ACCOUNT@REALM"), "{text}");
    let text = message(&fixture.until_ready("demanding", "False", "TlsFailed"));
    assert!(text.contains("demands encryption") && text.contains("spec.sql.tls.mode"), "{text}");
}

/// FreeTDS, and the driver of Microsoft for Linux.
#[tokio::test(flavor = "multi_thread")]
async fn third_party_clients_with_the_same_keytab_log_in() {
    let Some((realm, servers)) = start() else { return };
    let prepared = Command::new(root().join("tests/clients/run")).arg("--prepare").output().unwrap();
    if let Some(why) = cannot(&prepared) {
        return skip("kerberos", &why);
    }
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    let python = String::from_utf8(prepared.stdout).unwrap().trim().to_owned();
    std::fs::write(realm.path("client.keytab"), realm.account("svc-lync")).unwrap();
    let run = |command: &mut Command| {
        let output = command
            .env("KRB5_CONFIG", realm.path("krb5.conf"))
            .env("KRB5_CLIENT_KTNAME", realm.path("client.keytab"))
            .env("KRB5CCNAME", "MEMORY:")
            .env("FREETDSCONF", realm.path("freetds.conf"))
            .output()
            .unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    };
    let address = servers.address("a");
    let tsql = |spn: &str| {
        let (ip, port) = (address.ip(), address.port());
        let section =
            format!("[it]\nhost = {ip}\nport = {port}\ntds version = 7.4\nencryption = require\nspn = {spn}@{REALM}\n");
        std::fs::write(realm.path("freetds.conf"), section).unwrap();
        std::fs::write(realm.path("question"), "SELECT SUSER_SNAME()\ngo\n").unwrap();
        let question = std::fs::File::open(realm.path("question")).unwrap();
        run(Command::new("tsql").args(["-S", "it", "-o", "q"]).stdin(question))
    };
    let odbc = |spn: &str| {
        let script = root().join("tests/clients/windows_login.py");
        let server = format!("{},{}", address.ip(), address.port());
        run(Command::new(&python).arg("-B").arg(script).args([server, spn.to_owned()]))
    };
    let (known, unknown) = (spn(address), spn(servers.address("e")));
    let all = [("tsql", tsql(&known), tsql(&unknown)), ("msodbcsql", odbc(&known), odbc(&unknown))];
    for (name, by_its_name, by_another) in all {
        assert!(by_its_name.contains(LOGIN), "{name}: {by_its_name}");
        assert!(!by_another.contains(LOGIN), "{name}, by a name that the KDC does not know: {by_another}");
    }
}
