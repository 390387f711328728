//! The random faults of the soak, and their end.

use fastrand::Rng;
use mirror_sim::sim::Sim;
use serde_json::{Value, json};

use super::{DATABASES, PAIRS, server_ids};

/// Numbers of rejected logins: wrong password, starting, script upgrade, shutting down, single user, logon trigger, paused.
const LOGIN_ERRORS: [u32; 7] = [18456, 17187, 18401, 18451, 18461, 17892, 17142];

/// One random fault, or the end of one.
pub fn random(rng: &mut Rng) -> Value {
    if rng.bool() { of_connections(rng) } else { of_servers(rng) }
}

/// Faults that SQL Server and its network have had since the first version of this test.
fn of_connections(rng: &mut Rng) -> Value {
    let (server, a, b) = place(rng);
    let (from, to) = rng.choice(&[(a.clone(), b.clone()), (a, "w".to_owned()), (b, "w".to_owned())]).unwrap().clone();
    let pool = format!("pool{}", rng.usize(..PAIRS));
    match rng.usize(..14) {
        0 => json!({"do": "kill", "server": server}),
        1..=3 => json!({"do": "start", "server": server}),
        4 => json!({"do": "pause", "server": server}),
        5 => json!({"do": "cut", "a": from, "b": to}),
        6 => json!({"do": "reconnect", "a": from, "b": to}),
        7 => json!({"do": "loseAnswer", "server": server, "matching": "PARTNER FAILOVER"}),
        8 => json!({"do": "cutBefore", "server": server, "matching": "PARTNER FAILOVER"}),
        9 => {
            let phase = *rng.choice(&["prelogin", "tls", "login", "batch"]).unwrap();
            json!({"do": "garbage", "server": server, "phase": phase})
        }
        10 => {
            let phase = *rng.choice(&["connect", "prelogin", "login", "batch"]).unwrap();
            json!({"do": "stall", "server": server, "phase": phase, "millis": 3000})
        }
        11 => json!({"do": "failStatement", "server": server, "number": rng.choice(&[1404, 1456, 1428]).unwrap()}),
        12 => json!({"do": "desync", "pair": pool, "millis": 2000}),
        _ => json!({"do": "suspend", "pair": pool, "database": database(rng)}),
    }
}

/// States of servers and sessions, and what is not documented.
fn of_servers(rng: &mut Rng) -> Value {
    let (server, a, _) = place(rng);
    let number = a.trim_start_matches('a').to_owned();
    let (pool, partner) = (format!("pool{number}"), format!("{}{number}", rng.choice(&["a", "b"]).unwrap()));
    let settings = |settings: Value| json!({"do": "setServerSettings", "server": partner, "settings": settings});
    let behaviour = |settings: Value| json!({"do": "setPairSettings", "pair": pool, "settings": settings});
    match rng.usize(..16) {
        0 => settings(json!({"browser": {"stopped": true}})),
        1 => settings(json!({"browser": {"silent": true}})),
        2 => settings(json!({"startMillis": 800, "recoveryMillis": 200})),
        3 => settings(json!({"nullColumns": rng.choice(&["never", "recovering"]).unwrap()})),
        4 => {
            let number = *rng.choice(&LOGIN_ERRORS).unwrap();
            json!({"do": "refuseLogins", "server": server, "number": number, "times": 2})
        }
        5 => json!({"do": "setWitness", "pair": pool, "database": database(rng), "witness": null}),
        6 => {
            let state = *rng.choice(&[2, 3, 4, 6]).unwrap();
            json!({"do": "setDatabaseState", "server": partner, "database": database(rng), "state": state})
        }
        7 => json!({"do": "setDatabaseState", "server": partner, "database": database(rng), "state": null}),
        8 => json!({"do": "lockCatalog", "server": partner}),
        9 => json!({"do": "unlockCatalog", "server": partner}),
        10 => json!({"do": "rename", "server": partner, "name": format!("NEW-{}\\RTC", partner.to_uppercase())}),
        11 => json!({"do": "setEndpoint", "server": partner, "state": "stopped"}),
        12 => {
            let quorumless = *rng.choice(&["recovering", "recoveringNull", "online"]).unwrap();
            behaviour(json!({"quorumless": quorumless}))
        }
        13 => {
            let apart = *rng.choice(&["disconnected", "suspended"]).unwrap();
            behaviour(json!({"suspendedWhenApart": apart}))
        }
        14 => {
            let lost = *rng.choice(&["keepsRoles", "newPrincipal"]).unwrap();
            behaviour(json!({"lostPartner": lost}))
        }
        _ => behaviour(json!({"failoverAnswer": rng.choice(&["after", "before"]).unwrap()})),
    }
}

/// Any server, and the two servers of a pair.
fn place(rng: &mut Rng) -> (String, String, String) {
    let (servers, pair) = (server_ids(), rng.usize(..PAIRS));
    (rng.choice(&servers).unwrap().clone(), format!("a{pair}"), format!("b{pair}"))
}

fn database(rng: &mut Rng) -> String {
    format!("db{}", rng.usize(..DATABASES))
}

/// Ends every fault.
pub fn heal(sim: &Sim) {
    let mut all: Vec<Value> = Vec::new();
    for server in server_ids() {
        let settings = json!({
            "startMillis": 0, "recoveryMillis": 0, "nullColumns": "recovering",
            "browser": {"stopped": false, "silent": false},
        });
        all.push(json!({"do": "setServerSettings", "server": server, "settings": settings}));
        all.push(json!({"do": "start", "server": server}));
        all.push(json!({"do": "acceptLogins", "server": server}));
        all.push(json!({"do": "unlockCatalog", "server": server}));
        all.push(json!({"do": "setEndpoint", "server": server, "state": "started"}));
        all.push(json!({"do": "rename", "server": server, "name": super::name(&server)}));
    }
    all.push(json!({"do": "reconnectAll"}));
    for pair in 0..PAIRS {
        let pool = format!("pool{pair}");
        for server in [format!("a{pair}"), format!("b{pair}")] {
            let normal = |database: usize| json!({"do": "setDatabaseState", "server": server, "database": format!("db{database}"), "state": null});
            all.extend((0..DATABASES).map(normal));
        }
        if super::has_witness(pair) {
            all.push(json!({"do": "setWitness", "pair": pool, "witness": "w"}));
        }
        all.push(json!({"do": "resume", "pair": pool}));
    }
    sim.do_json(json!(all)).unwrap();
}
