//! The memory of the operator, read from outside: no password stays in it after its last user is gone.

use std::io::{Read, Seek, SeekFrom};

use mirror_sim::sim::Sim;
use serde_json::json;

use crate::support::{Cluster, Operator, TestPool, skip, types, until};

const PASSWORD: &str = "Zebra-7319-Quartz";

/// The password as text, as the API server sends it, as UTF-16, and as a login sends it (MS-TDS 2.2.6.4).
fn forms() -> [(&'static str, Vec<u8>); 4] {
    let wide: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let sent = wide.iter().map(|byte| byte.rotate_left(4) ^ 0xa5).collect();
    let coded = openssl::base64::encode_block(PASSWORD.as_bytes()).into_bytes();
    // The end of the text depends on what follows it.
    let coded = coded[..coded.len() - 4].to_vec();
    [("text", PASSWORD.as_bytes().to_vec()), ("base64", coded), ("UTF-16", wide), ("login", sent)]
}

/// How often each form is in the writable memory of a process. Reading it needs root, as the operator forbids dumps.
fn occurrences(pid: u32) -> Result<Vec<(&'static str, usize)>, String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|error| error.to_string())?;
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).map_err(|error| error.to_string())?;
    let mut found: Vec<(&'static str, usize)> = forms().iter().map(|(name, _)| (*name, 0)).collect();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // A region can end between the list and the read.
        if memory.seek(SeekFrom::Start(start)).and_then(|_| memory.read_exact(&mut bytes)).is_err() {
            continue;
        }
        for ((_, form), (_, count)) in forms().iter().zip(&mut found) {
            *count += bytes.windows(form.len()).filter(|window| window == form).count();
        }
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
    let operator = Operator::start(fixture.cluster, "memory", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    let used = occurrences(operator.pid()).unwrap();
    println!("while it is used: {used:?}");
    assert!(used.iter().any(|(_, count)| *count > 0), "the search finds what is there");

    fixture.cluster.kubectl(&["delete", "lpm", "pool01", "-n", "memory"]);
    fixture.cluster.kubectl(&["delete", "secret", "sql", "-n", "memory"]);
    until("the password is in no memory", || {
        let found = occurrences(operator.pid())?;
        if found.iter().all(|(_, count)| *count == 0) { Ok(()) } else { Err(format!("{found:?}")) }
    });
}
