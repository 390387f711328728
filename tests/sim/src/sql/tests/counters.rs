//! The counters of the object Database Mirroring, which follow from the state of the session.

use serde_json::json;

use super::Client;
use crate::value::Value;

/// Redo queue and send queue in KB, and the totals of redone and sent KB, of rtcxds.
fn counters(client: &mut Client, server: &str) -> [i64; 4] {
    client.log_in(server);
    ["Redo Queue KB", "Log Send Queue KB", "Redo Bytes/sec", "Log Bytes Sent/sec"].map(|name| {
        let text = format!(
            "SELECT cntr_value FROM sys.dm_os_performance_counters \
             WHERE counter_name = N'{name}' AND instance_name = N'rtcxds'"
        );
        let Value::BigInt(value) = client.value(&text) else { panic!("{name}: not a BIGINT") };
        if name.contains("Bytes") { value / 1024 } else { value }
    })
}

fn log_rate(client: &mut Client, kb_per_s: u64) {
    client.apply(&json!({"do": "setLogRate", "pair": "user", "kbPerS": kb_per_s}));
}

#[test]
fn counters_of_an_idle_pair_do_not_grow() {
    let mut client = Client::new("a");
    client.advance(60_000);
    assert_eq!((counters(&mut client, "a"), counters(&mut client, "b")), ([0; 4], [0; 4]));
    assert!(client.world.failures.is_empty());
}

#[test]
fn synchronization_empties_the_send_queue_of_the_principal() {
    let mut client = Client::new("a");
    client.apply(&json!({"do": "desync", "pair": "user", "millis": 10_000, "unsentKb": 4000}));
    assert_eq!((counters(&mut client, "a"), counters(&mut client, "b")), ([0, 4000, 0, 0], [0; 4]));
    client.advance(2500);
    assert_eq!((counters(&mut client, "a"), counters(&mut client, "b")), ([0, 3000, 0, 1000], [0, 0, 1000, 0]));
    client.advance(7500);
    assert_eq!((counters(&mut client, "a"), counters(&mut client, "b")), ([0, 0, 0, 4000], [0, 0, 4000, 0]));
    client.advance(10_000);
    assert_eq!(counters(&mut client, "a"), [0, 0, 0, 4000], "nothing more to send");
}

#[test]
fn log_that_clients_write_waits_while_the_mirror_is_lost_or_suspended() {
    for (begin, end) in [
        (json!({"do": "kill", "server": "b"}), json!({"do": "start", "server": "b"})),
        (json!({"do": "suspend", "pair": "user"}), json!({"do": "resume", "pair": "user"})),
    ] {
        let mut client = Client::new("a");
        log_rate(&mut client, 100);
        client.advance(10_000);
        assert_eq!(counters(&mut client, "a"), [0, 0, 0, 1000], "sent at once");
        client.apply(&begin);
        client.advance(20_000);
        assert_eq!(counters(&mut client, "a"), [0, 2000, 0, 1000], "{begin}");
        log_rate(&mut client, 0);
        client.apply(&end);
        client.advance(1000);
        assert_eq!(counters(&mut client, "a"), [0, 0, 0, 3000], "{end}");
    }
}

#[test]
fn redo_queue_is_redone_at_its_rate_and_totals_begin_at_zero_with_the_server() {
    let mut client = Client::new("a");
    client.apply(&json!({"do": "setRedo", "pair": "user", "queueKb": 5000, "rateKbPerS": 200}));
    client.advance(10_000);
    assert_eq!((counters(&mut client, "a"), counters(&mut client, "b")), ([0; 4], [5000, 0, 2000, 0]));
    client.apply(&json!({"do": "kill", "server": "b"}));
    client.advance(10_000);
    client.apply(&json!({"do": "start", "server": "b"}));
    assert_eq!(counters(&mut client, "b"), [5000, 0, 0, 0]);
}

#[test]
fn forced_service_loses_the_log_that_was_not_sent() {
    let mut client = Client::new("a");
    client.apply(&json!({"do": "setWitness", "pair": "user", "witness": null}));
    log_rate(&mut client, 100);
    client.apply(&json!({"do": "cut", "a": "a", "b": "b"}));
    client.advance(20_000);
    client.apply(&json!({"do": "kill", "server": "a"}));
    client.advance(10_000);
    log_rate(&mut client, 0);
    client.apply(&json!({"do": "force", "pair": "user"}));
    assert_eq!(counters(&mut client, "b"), [0; 4]);
    client.apply(&json!({"do": "reconnectAll"}));
    client.apply(&json!({"do": "start", "server": "a"}));
    assert_eq!(counters(&mut client, "a"), [0; 4], "the old principal is the mirror");
}
