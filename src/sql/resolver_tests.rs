//! The resolver against a DNS server with scripted answers.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use rustix::io::Errno;
use tempfile::TempDir;

use super::*;
use crate::sql::fake_dns::{FakeDns, NAME_ERROR, NO_ERROR, REFUSED, Reply, Request, SERVER_FAILURE, Value};
use crate::sql::limits::DESCRIPTORS_PER_LOOKUP;

const V4: &str = "192.0.2.7";
const V6: &str = "2001:db8::7";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn records(name: &'static str, request: &Request) -> Reply {
    Reply::Records(vec![(name, Value::Address(address(if request.v6 { V6 } else { V4 })))])
}

fn found(resolver: &Resolver, host: &str) -> Option<Vec<IpAddr>> {
    resolver.without_dns(host).unwrap()
}

/// The files of a system.
struct System {
    directory: TempDir,
    resolver: Resolver,
}

impl System {
    fn new(dns: &FakeDns, hosts: &str, options: &str) -> System {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let resolver = Resolver::new(file("hosts"), file("resolv.conf"), dns.port);
        let system = System { directory, resolver };
        system.write("hosts", hosts);
        system.write("resolv.conf", &format!("nameserver 127.0.0.1\n{options}"));
        system
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).unwrap();
    }
}

#[tokio::test]
async fn lookup_returns_both_kinds_of_addresses() {
    let dns = FakeDns::start(|request| records("sql-a.contoso.com", request)).await;
    let system = System::new(&dns, "", "");
    let found = system.resolver.lookup("sql-a.contoso.com").await.unwrap();
    assert_eq!(found, [address(V4), address(V6)]);
    // Nothing is kept: the next lookup asks again.
    system.resolver.lookup("sql-a.contoso.com").await.unwrap();
    assert_eq!(dns.names().len(), 2);
}

#[tokio::test]
async fn lookup_follows_the_search_list() {
    let dns = FakeDns::start(|request| match request.name.as_str() {
        "sql-a.contoso.com" => records("sql-a.contoso.com", request),
        _ => Reply::Code(NAME_ERROR),
    })
    .await;
    let options = "search lync.svc.cluster.local svc.cluster.local contoso.com\noptions ndots:5\n";
    let system = System::new(&dns, "", options);
    assert_eq!(system.resolver.lookup("sql-a").await.unwrap(), [address(V4), address(V6)]);
    let tried = ["sql-a.lync.svc.cluster.local", "sql-a.svc.cluster.local", "sql-a.contoso.com"];
    assert_eq!(dns.names(), tried);

    dns.requests.lock().clear();
    system.resolver.lookup("sql-a.contoso.com").await.unwrap();
    assert_eq!(dns.names().last().unwrap(), "sql-a.contoso.com", "fewer dots than ndots: the name itself is last");
    assert_eq!(dns.names().len(), 4);

    dns.requests.lock().clear();
    system.resolver.lookup("sql-a.contoso.com.").await.unwrap();
    assert_eq!(dns.names(), ["sql-a.contoso.com"], "a name with a dot at the end is complete");
}

#[tokio::test]
async fn lookup_follows_aliases() {
    let dns = FakeDns::start(|request| match request.name.as_str() {
        "pool01.contoso.com" => Reply::Records(vec![
            ("pool01.contoso.com", Value::Alias("sql.contoso.com")),
            ("sql.contoso.com", Value::Alias("sql-a.contoso.com")),
            ("sql-a.contoso.com", Value::Address(address(if request.v6 { V6 } else { V4 }))),
        ]),
        // The address needs a second request.
        "pool02.contoso.com" => Reply::Records(vec![("pool02.contoso.com", Value::Alias("sql-a.contoso.com"))]),
        "sql-a.contoso.com" => records("sql-a.contoso.com", request),
        _ => Reply::Code(NAME_ERROR),
    })
    .await;
    let system = System::new(&dns, "", "");
    for name in ["pool01.contoso.com", "pool02.contoso.com"] {
        assert_eq!(system.resolver.lookup(name).await.unwrap(), [address(V4), address(V6)], "{name}");
    }
}

#[tokio::test]
async fn lookup_repeats_a_truncated_answer_over_tcp() {
    let dns = FakeDns::start(|request| match request.tcp {
        true => records("sql-a.contoso.com", request),
        false => Reply::Truncated,
    })
    .await;
    let system = System::new(&dns, "", "");
    assert_eq!(system.resolver.lookup("sql-a.contoso.com").await.unwrap(), [address(V4), address(V6)]);
    assert!(dns.requests.lock().iter().any(|request| request.tcp));
}

#[tokio::test]
async fn lookup_distinguishes_no_address_from_no_answer() {
    let dns = FakeDns::start(|request| {
        Reply::Code(match request.name.as_str() {
            "missing.test" | "sql a.test" => NAME_ERROR,
            "empty.test" => NO_ERROR,
            "refused.test" => REFUSED,
            _ => SERVER_FAILURE,
        })
    })
    .await;
    let system = System::new(&dns, "", "");
    for name in ["missing.test", "empty.test", "sql a.test.", "a..b"] {
        let found = system.resolver.lookup(name).await;
        assert!(matches!(found, Err(LookupError::NotFound)), "{name}: {found:?}");
    }
    for name in ["refused.test", "failed.test"] {
        let found = system.resolver.lookup(name).await;
        assert!(matches!(found, Err(LookupError::Silent)), "{name}: {found:?}");
    }
    // No server listens.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let resolver = Resolver::new(system.path().join("hosts"), system.path().join("resolv.conf"), port);
    let found = resolver.lookup("sql-a.test").await;
    assert!(matches!(found, Err(LookupError::Silent)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn lookup_at_a_silent_server_ends() {
    let dns = FakeDns::start(|_| Reply::Silent).await;
    let system = System::new(&dns, "", "options timeout:30 attempts:9\n");
    let started = tokio::time::Instant::now();
    let found = system.resolver.lookup("sql-a.test").await;
    assert!(matches!(found, Err(LookupError::Silent)), "{found:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "before the deadline of the operator: {:?}", started.elapsed());
}

/// Some servers and firewalls drop all requests for IPv6 addresses.
#[tokio::test]
async fn lookup_at_a_server_that_answers_half_returns_that_half() {
    let dns = FakeDns::start(|request| match request.v6 {
        true => Reply::Silent,
        false => records("sql-a.contoso.com", request),
    })
    .await;
    let system = System::new(&dns, "", "");
    assert_eq!(system.resolver.lookup("sql-a.contoso.com").await.unwrap(), [address(V4)]);
}

#[tokio::test]
async fn cancelled_lookup_closes_its_sockets() {
    let dns = FakeDns::start(|_| Reply::Silent).await;
    let system = System::new(&dns, "", "");
    let lookup = system.resolver.lookup("sql-a.test");
    let sent = async {
        while dns.requests.lock().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        found = lookup => panic!("{found:?}"),
        () = sent => {}
    }
    let ports: Vec<u16> = dns.requests.lock().iter().map(|request| request.from).collect();
    for port in ports {
        // The port is free again once its socket is closed.
        while UdpSocket::bind(("0.0.0.0", port)).is_err() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn hosts_file_precedes_dns_and_is_read_again() {
    let dns = FakeDns::start(|request| records("sql-a.contoso.com", request)).await;
    let hosts = "127.0.0.1 localhost\n# 192.0.2.9 sql-b\n192.0.2.8\tSQL-A.contoso.com sql-a # old\n2001:db8::8 sql-a\nnonsense sql-a\n";
    let system = System::new(&dns, hosts, "");
    let resolver = &system.resolver;
    assert_eq!(found(resolver, "sql-a").unwrap(), [address("192.0.2.8"), address("2001:db8::8")]);
    assert_eq!(found(resolver, "sql-a.CONTOSO.com").unwrap(), [address("192.0.2.8")]);
    assert_eq!((found(resolver, "sql-b"), found(resolver, "old")), (None, None));
    system.write("hosts", "192.0.2.10 sql-a\n");
    assert_eq!(found(resolver, "sql-a").unwrap(), [address("192.0.2.10")]);
    std::fs::remove_file(system.path().join("hosts")).unwrap();
    assert_eq!(found(resolver, "sql-a"), None);
    assert!(dns.requests.lock().is_empty());
}

#[tokio::test]
async fn address_needs_no_dns_and_has_one_spelling() {
    let dns = FakeDns::start(|_| Reply::Code(NAME_ERROR)).await;
    let system = System::new(&dns, "", "options ndots:9\n");
    for text in [V4, V6, "::ffff:192.0.2.7"] {
        assert_eq!(found(&system.resolver, text).unwrap(), [address(text)]);
    }
    // The C library reads these as 127.0.0.1.
    for text in ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"] {
        assert_eq!(found(&system.resolver, text), None, "{text}");
        let found = system.resolver.lookup(text).await;
        assert!(matches!(found, Err(LookupError::NotFound)), "{text}: {found:?}");
    }
}

#[tokio::test]
async fn lookup_without_a_configuration_names_the_file() {
    let dns = FakeDns::start(|request| records("sql-a.contoso.com", request)).await;
    let system = System::new(&dns, "", "");
    let lookup = async || system.resolver.lookup("sql-a.contoso.com").await;
    lookup().await.unwrap();

    let why = async || match lookup().await {
        Err(LookupError::NotConfigured(why)) => why,
        other => panic!("{other:?}"),
    };
    system.write("resolv.conf", "search contoso.com\n");
    assert!(why().await.ends_with("resolv.conf names no DNS server"), "{}", why().await);
    std::fs::remove_file(system.path().join("resolv.conf")).unwrap();
    assert!(why().await.ends_with("resolv.conf cannot be read (entity not found)"), "{}", why().await);
    // The file is read again, so that no restart is needed.
    system.write("resolv.conf", "nameserver 127.0.0.1\n");
    lookup().await.unwrap();
}

#[tokio::test]
async fn hosts_file_that_cannot_be_read_is_no_file_without_the_name() {
    let dns = FakeDns::start(|request| records("sql-a.contoso.com", request)).await;
    let system = System::new(&dns, "", "");
    std::fs::remove_file(system.path().join("hosts")).unwrap();
    std::fs::create_dir(system.path().join("hosts")).unwrap();
    match system.resolver.without_dns("sql-a.contoso.com") {
        Err(LookupError::NotConfigured(why)) => {
            assert!(why.ends_with("hosts cannot be read (is a directory)"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(found(&system.resolver, V4), Some(vec![address(V4)]), "an address needs no file");
}

#[test]
fn file_that_the_operator_lacks_the_means_to_read_is_a_limit_of_the_operator() {
    for own in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        let error = unreadable(Path::new("/etc/hosts"), own.into());
        assert!(matches!(error, LookupError::NotSent(_)), "{own:?}: {error:?}");
    }
    for other in [Errno::ACCESS, Errno::IO] {
        let error = unreadable(Path::new("/etc/resolv.conf"), other.into());
        let LookupError::NotConfigured(why) = &error else { panic!("{other:?}: {error:?}") };
        assert!(why.starts_with("/etc/resolv.conf cannot be read ("), "{why}");
    }
}

/// Set in a process of its own, in which no other test opens a socket.
const ALONE: &str = "LYNC_MIRROR_TEST_ALONE";
const COUNTED: &str = "sql::resolver::tests::lookup_opens_no_more_descriptors_than_its_share_counts";

/// Servers that never answer, and servers that ask for TCP and are silent there.
#[tokio::test]
async fn lookup_opens_no_more_descriptors_than_its_share_counts() {
    if std::env::var_os(ALONE).is_none() {
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", COUNTED, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&test.stdout);
        assert!(test.status.success() && printed.contains("1 passed"), "{printed}");
        return;
    }
    let peak = Arc::new(AtomicUsize::new(0));
    let mut servers: Vec<FakeDns> = Vec::new();
    for last in 1..=4 {
        let port = servers.first().map_or(0, |first| first.port);
        let seen = peak.clone();
        let script = move |request: &Request| {
            seen.fetch_max(client_sockets(), Ordering::Relaxed);
            if request.name == "tcp.test" && !request.tcp { Reply::Truncated } else { Reply::Silent }
        };
        servers.push(FakeDns::start_at((Ipv4Addr::new(127, 0, 0, last), port), script).await);
    }
    PORT.store(servers[0].port, Ordering::Relaxed);
    let idle = client_sockets();
    let more = "nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.4\noptions timeout:1 attempts:5\n";
    for name in ["silent.test.", "tcp.test."] {
        peak.store(0, Ordering::Relaxed);
        let system = System::new(&servers[0], "", more);
        let found = system.resolver.lookup(name).await;
        assert!(matches!(found, Err(LookupError::Silent)), "{found:?}");
        let opened = peak.load(Ordering::Relaxed) - idle;
        println!("{name} {opened} sockets");
        assert!((2..=DESCRIPTORS_PER_LOOKUP).contains(&opened), "{name}: {opened} sockets");
    }
    let asked = servers.iter().filter(|server| !server.requests.lock().is_empty()).count();
    assert_eq!(asked, 3, "as many as the C library asks");
}

/// The port of the servers, whose own sockets do not count.
static PORT: AtomicU16 = AtomicU16::new(0);

/// The sockets of this process apart from those of the servers.
fn client_sockets() -> usize {
    let port = format!(":{:04X}", PORT.load(Ordering::Relaxed));
    let tables = ["udp", "tcp"].map(|table| std::fs::read_to_string(format!("/proc/self/net/{table}")).unwrap());
    // sl, local_address, rem_address, st, queues, timer, retransmissions, uid, timeout, inode.
    let of_servers: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()))
        .filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(&port)))
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let open =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    let sockets = open.map(|link| link.to_string_lossy().into_owned()).filter(|link| link.starts_with("socket:"));
    sockets.filter(|socket| !of_servers.contains(socket)).count()
}
