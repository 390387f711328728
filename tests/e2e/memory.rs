//! The memory of the operator, read from outside: no password and no key of a keytab stays in it after its last user is gone.
//! None of them is ever in its log, whatever the log filter.

use std::io::{Read, Seek, SeekFrom};

use mirror_sim::sim::Sim;
use serde_json::json;

use crate::support::kdc::keytab;
use crate::support::{Cluster, Operator, TestPool, log_path, skip, types, until};

const PASSWORD: &str = "Zebra-7319-Quartz";

const TRACE: [&str; 2] = ["--log-filter", "trace"];

/// The forms of a secret, by name.
type Forms = Vec<(&'static str, Vec<u8>)>;

/// The password as text, as the API server sends it, as UTF-16, and as a login sends it (MS-TDS 2.2.6.4).
fn password_forms() -> Forms {
    let wide: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let sent = wide.iter().map(|byte| byte.rotate_left(4) ^ 0xa5).collect();
    let coded = openssl::base64::encode_block(PASSWORD.as_bytes()).into_bytes();
    // The end of the text depends on what follows it.
    let coded = coded[..coded.len() - 4].to_vec();
    vec![("text", PASSWORD.as_bytes().to_vec()), ("base64", coded), ("UTF-16", wide), ("login", sent)]
}

/// A key of AES-256 in a keytab.
const KEY: [u8; 32] = *b"\x91Xylo\x04\xf3-5521-\xc7Jasper\x8e-0417-\xb2Onyx";
const ACCOUNT: &str = "svc-memory";

/// The key itself, as the API server sends it, and as the operator sends it to a helper.
fn key_forms() -> Forms {
    let keytab = keytab(ACCOUNT, "EVIL.TEST", &KEY);
    let coded = openssl::base64::encode_block(&keytab);
    // What encodes the key alone: each four characters are three bytes.
    let start = keytab.windows(KEY.len()).position(|bytes| bytes == KEY).unwrap();
    let coded = coded.as_bytes()[start.div_ceil(3) * 4..(start + KEY.len()) / 3 * 4].to_vec();
    let numbers: Vec<String> = KEY.iter().map(ToString::to_string).collect();
    vec![("key", KEY.to_vec()), ("base64", coded), ("request", numbers.join(",").into_bytes())]
}

/// How often each form is in the writable memory of a process. Reading it needs root, as the operator forbids dumps.
fn occurrences(pid: u32, forms: &Forms) -> Result<Vec<(&'static str, usize)>, String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|error| error.to_string())?;
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).map_err(|error| error.to_string())?;
    let mut found = none(forms);
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // A region can end between the list and the read.
        if memory.seek(SeekFrom::Start(start)).and_then(|_| memory.read_exact(&mut bytes)).is_err() {
            continue;
        }
        count(&bytes, forms, &mut found);
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn password_leaves_the_memory_with_its_last_user() {
    if !rustix::process::geteuid().is_root() {
        return skip("memory", "only root can read the memory of a process that forbids dumps");
    }
    let logins = json!([{"name": "lync-mirror", "password": PASSWORD}]);
    let servers: Vec<_> = ["a", "b", "w"].map(|id| TestPool::server_config(id, "sql", logins.clone())).into();
    let databases = ["rtcxds", "rtcshared", "rtcab", "xds", "lis"];
    let pair = json!({"name": "pool01", "primary": "a", "mirror": "b", "witness": "w", "databases": databases});
    let config = json!({"servers": servers, "pairs": [pair]});
    let sim = Sim::start(serde_json::from_value(config).unwrap()).await.unwrap();
    let fixture = TestPool::of(Cluster::get(), "memory", sim);
    fixture.secret(PASSWORD);
    fixture.ca_bundle(&fixture.sim.ca_pem());
    let operator = Operator::start_with(fixture.cluster, "memory", &TRACE);
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    disappears(&fixture, &operator, &password_forms());
}

fn none(forms: &Forms) -> Vec<(&'static str, usize)> {
    forms.iter().map(|(name, _)| (*name, 0)).collect()
}

/// How often each form is in these bytes.
fn count(bytes: &[u8], forms: &Forms, found: &mut [(&'static str, usize)]) {
    for ((_, form), (_, count)) in forms.iter().zip(found) {
        *count += bytes.windows(form.len()).filter(|window| window == form).count();
    }
}

/// The secret is found while it is used, and nowhere after its last user is gone. It is never in the log.
fn disappears(fixture: &TestPool, operator: &Operator, forms: &Forms) {
    let used = occurrences(operator.pid(), forms).unwrap();
    println!("while it is used: {used:?}");
    assert!(used.iter().any(|(_, count)| *count > 0), "the search finds what is there");
    fixture.cluster.kubectl(&["delete", "lpm", "pool01", "-n", &fixture.namespace]);
    fixture.cluster.kubectl(&["delete", "secret", "sql", "-n", &fixture.namespace]);
    until("the secret is in no memory", || {
        let found = occurrences(operator.pid(), forms)?;
        if found.iter().all(|(_, count)| *count == 0) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let log = std::fs::read(log_path(&fixture.namespace)).unwrap();
    // The most that a filter switches on: a library logs nothing at level TRACE.
    let text = String::from_utf8_lossy(&log);
    assert!(text.lines().any(|line| line.contains(" DEBUG ") && line.contains("kube_client")), "the filter is trace");
    let mut logged = none(forms);
    count(&log, forms, &mut logged);
    assert_eq!(logged, none(forms), "in the log");
}

/// Each poll sends the keytab to a helper, which finds no KDC.
#[tokio::test(flavor = "multi_thread")]
async fn key_of_a_keytab_leaves_the_memory_with_its_last_user() {
    if !rustix::process::geteuid().is_root() {
        return skip("memory", "only root can read the memory of a process that forbids dumps");
    }
    let fixture = TestPool::start("keytab", true).await;
    let bytes = |bytes: &[u8]| k8s_openapi::ByteString(bytes.to_vec());
    fixture.cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql", "namespace": fixture.namespace},
        "data": {
            "username": bytes(format!("{ACCOUNT}@EVIL.TEST").as_bytes()),
            "keytab": bytes(&keytab(ACCOUNT, "EVIL.TEST", &KEY)), "password": bytes(b"unused"),
        },
    }));
    let operator = Operator::start_with(fixture.cluster, "keytab", &TRACE);
    let mut pool = fixture.pool("pool01", types("Primary", "Primary"));
    pool["spec"]["sql"]["auth"] = json!({"method": "Kerberos", "secretRef": {"name": "sql"}, "kdcs": ["127.0.0.1:9"]});
    fixture.cluster.apply(&pool);
    fixture.until_ready("pool01", "False", "KdcUnreachable");
    disappears(&fixture, &operator, &key_forms());
}
