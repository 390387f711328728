//! What the operator costs others, counted from their own journals: nothing is written while nothing changes, one batch
//! per instance and interval however many resources look at it, and the databases of a type move at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Operator, Stage, condition, types, until};
use serde_json::{Value, json};

const RESOURCES: usize = 50;
/// Looks that are counted on each instance.
const LOOKS: usize = 12;
/// `--look-interval 1s`.
const INTERVAL: u64 = 1_000;

fn status_writes(entries: &[Value]) -> Vec<&Value> {
    entries.iter().filter(|entry| entry["objectRef"]["subresource"] == "status").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_resources_at_rest_cost_one_batch_per_instance_and_no_write() {
    let names: Vec<String> = (0..RESOURCES).map(|index| format!("db{index:02}")).collect();
    let databases: Vec<&str> = names.iter().map(String::as_str).collect();
    let stage = Stage::with_databases("fifty", true, &databases).await;
    let _operator = Operator::start(stage.cluster, "fifty", "1s");
    let pools: Vec<Value> = names
        .iter()
        .map(|name| stage.pool(name, json!([{"type": "Archiving", "principal": "Primary", "databases": [name]}])))
        .collect();
    stage.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": pools}));
    until("all are Ready", || {
        let all = stage.cluster.get_json(&["lpm", "-n", "fifty"])?;
        let ready = |item: &&Value| condition(&item["status"], "Ready").is_some_and(|ready| ready["status"] == "True");
        let count = all["items"].as_array().map_or(0, |items| items.iter().filter(ready).count());
        if count == RESOURCES { Ok(()) } else { Err(format!("{count} of {RESOURCES}")) }
    });

    let (_, calm) = stage.audited(0);
    let since = stage.sim.journal(0).last().map_or(0, |entry| entry.seq);
    let looks = |server: &str| {
        let all = stage.sim.journal(since).into_iter();
        all.filter(|entry| entry.server == server).collect::<Vec<_>>()
    };
    until("enough looks were made", || {
        let counts = ["a", "b", "w"].map(|server| looks(server).len());
        if counts.iter().all(|count| *count > LOOKS) { Ok(()) } else { Err(format!("{counts:?}")) }
    });
    for server in ["a", "b", "w"] {
        let looks = looks(server);
        let span = looks.last().unwrap().started_millis - looks[0].started_millis;
        let intervals = span.div_ceil(INTERVAL);
        println!("{server}: {} batches in {intervals} intervals for {RESOURCES} resources", looks.len());
        assert!(looks.len() as u64 <= intervals + 1, "{server}: {} batches in {span} ms", looks.len());
        let sessions: BTreeSet<u64> = looks.iter().map(|look| look.session).collect();
        assert_eq!(sessions.len(), 1, "{server}: one connection");
    }
    let (entries, _) = stage.audited(calm);
    let writes = status_writes(&entries);
    println!("status writes meanwhile: {}", writes.len());
    assert!(writes.is_empty(), "{writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_databases_of_a_type_move_at_once() {
    let stage = Stage::set("overlap", true).await;
    let _operator = Operator::start(stage.cluster, "overlap", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    stage.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 2_000}));
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    let sent: Vec<_> =
        stage.sim.journal(0).into_iter().filter(|entry| entry.text.contains("SET PARTNER FAILOVER")).collect();
    assert_eq!(sent.len(), 3);
    let last_begun = sent.iter().map(|entry| entry.started_millis).max().unwrap();
    let first_ended = sent.iter().filter_map(|entry| entry.ended_millis).min().unwrap();
    assert!(last_begun < first_ended, "all three under way at once: {sent:#?}");
    let whole = sent.iter().filter_map(|entry| entry.ended_millis).max().unwrap()
        - sent.iter().map(|entry| entry.started_millis).min().unwrap();
    let sum: u64 = sent.iter().filter_map(|entry| Some(entry.ended_millis? - entry.started_millis)).sum();
    println!("three databases of 2 s: {whole} ms at once, {sum} ms one after the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_read_by_name_only() {
    let stage = Stage::set("secrets", false).await;
    let _operator = Operator::start(stage.cluster, "secrets", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    // A rotated password: the server takes the new one only, and the Secret follows.
    for server in ["a", "b"] {
        let login = json!({"do": "setPassword", "server": server, "login": "lync-mirror", "password": "N3w-Passw0rd"});
        stage.command(login);
        stage.command(json!({"do": "kill", "server": server}));
        stage.command(json!({"do": "start", "server": server}));
    }
    stage.until_ready("pool01", "False", "LoginFailed");
    stage.secret("N3w-Passw0rd");
    stage.until_ready("pool01", "True", "Aligned");
    let (entries, _) = stage.audited(0);
    let operator =
        |entry: &&Value| entry["user"]["username"].as_str().is_some_and(|user| user.contains("serviceaccount"));
    let mut verbs: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries.iter().filter(operator).filter(|entry| entry["objectRef"]["resource"] == "secrets") {
        *verbs.entry(entry["verb"].to_string()).or_default() += 1;
    }
    assert_eq!(verbs.keys().collect::<Vec<_>>(), ["\"get\""], "{verbs:?}");
}
