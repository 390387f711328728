//! The load of the operator on others, counted from their journals: no writes while nothing changes, one batch per instance
//! and interval for any number of resources, and the databases of a type move in parallel.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Operator, TestPool, condition, types, until};
use serde_json::{Value, json};

const RESOURCES: usize = 50;
/// How many polls are counted on each instance.
const POLLS: usize = 12;
/// `--poll-interval 1s`.
const INTERVAL: u64 = 1_000;

fn status_writes(entries: &[Value]) -> Vec<&Value> {
    entries.iter().filter(|entry| entry["objectRef"]["subresource"] == "status").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_with_fifty_stable_resources_sends_one_batch_per_instance_and_no_write() {
    let names: Vec<String> = (0..RESOURCES).map(|index| format!("db{index:02}")).collect();
    let databases: Vec<&str> = names.iter().map(String::as_str).collect();
    let fixture = TestPool::with_databases("fifty", true, &databases).await;
    let _operator = Operator::start(fixture.cluster, "fifty", "1s");
    let pools: Vec<Value> = names
        .iter()
        .map(|name| fixture.pool(name, json!([{"type": "Archiving", "principal": "Primary", "databases": [name]}])))
        .collect();
    fixture.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": pools}));
    until("all are Ready", || {
        let all = fixture.cluster.get_json(&["lpm", "-n", "fifty"])?;
        let ready = |item: &&Value| condition(&item["status"], "Ready").is_some_and(|ready| ready["status"] == "True");
        let count = all["items"].as_array().map_or(0, |items| items.iter().filter(ready).count());
        if count == RESOURCES { Ok(()) } else { Err(format!("{count} of {RESOURCES}")) }
    });

    let (_, calm) = fixture.audited(0);
    let since = fixture.sim.journal(0).last().map_or(0, |entry| entry.seq);
    let polls = |server: &str| {
        let all = fixture.sim.journal(since).into_iter();
        all.filter(|entry| entry.server == server).collect::<Vec<_>>()
    };
    until("enough polls happened", || {
        let counts = ["a", "b", "w"].map(|server| polls(server).len());
        if counts.iter().all(|count| *count > POLLS) { Ok(()) } else { Err(format!("{counts:?}")) }
    });
    for server in ["a", "b", "w"] {
        let polls = polls(server);
        let span = polls.last().unwrap().started_millis - polls[0].started_millis;
        let intervals = span.div_ceil(INTERVAL);
        println!("{server}: {} batches in {intervals} intervals for {RESOURCES} resources", polls.len());
        assert!(polls.len() as u64 <= intervals + 1, "{server}: {} batches in {span} ms", polls.len());
        let sessions: BTreeSet<u64> = polls.iter().map(|poll| poll.session).collect();
        assert_eq!(sessions.len(), 1, "{server}: one connection");
    }
    let (entries, _) = fixture.audited(calm);
    let writes = status_writes(&entries);
    println!("status writes meanwhile: {}", writes.len());
    assert!(writes.is_empty(), "{writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn move_of_several_databases_runs_in_parallel() {
    let fixture = TestPool::start("overlap", true).await;
    let _operator = Operator::start(fixture.cluster, "overlap", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 2_000}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    let sent: Vec<_> =
        fixture.sim.journal(0).into_iter().filter(|entry| entry.text.contains("SET PARTNER FAILOVER")).collect();
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
async fn operator_needing_credentials_reads_secrets_by_name_only() {
    let fixture = TestPool::start("secrets", false).await;
    let _operator = Operator::start(fixture.cluster, "secrets", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.rotate_password("pool01");
    let (entries, _) = fixture.audited(0);
    let operator =
        |entry: &&Value| entry["user"]["username"].as_str().is_some_and(|user| user.contains("serviceaccount"));
    let mut verbs: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries.iter().filter(operator).filter(|entry| entry["objectRef"]["resource"] == "secrets") {
        *verbs.entry(entry["verb"].to_string()).or_default() += 1;
    }
    assert_eq!(verbs.keys().collect::<Vec<_>>(), ["\"get\""], "{verbs:?}");
}
