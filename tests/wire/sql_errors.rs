//! Each error number of SQL Server for mirroring and related statements, as the answer to a poll and to a failover: named,
//! with nothing changed and nothing left behind.

use std::time::Duration;

use crate::support::client::{deadlines, target, verify};
use lync_mirror::model::{Act, Failover};
use lync_mirror::model::{Answer, Database, DatabaseName, Seat, ServerObservation, UnavailableCause};
use lync_mirror::sql::{Deadlines, InstanceMonitors, Target, connect_for_moves, fail_over};
use mirror_sim::config::{Config, TlsMode};
use mirror_sim::sim::Sim;
use serde_json::json;

/// Numbers with the severity that `sys.messages` gives them; those of severity 10 are information and no errors.
const NUMBERS: &[(u8, &[u32])] = &[
    (
        16,
        &[
            1403, 1404, 1405, 1406, 1407, 1408, 1409, 1410, 1411, 1412, 1413, 1414, 1415, 1416, 1417, 1418, 1419, 1420,
            1421, 1422, 1423, 1424, 1425, 1426, 1427, 1428, 1429, 1430, 1431, 1433, 1434, 1435, 1436, 1437, 1438, 1439,
            1447, 1448, 1449, 1450, 1451, 1452, 1455, 1456, 1460, 1462, 1463, 1464, 1465, 1466, 1467, 1468, 1469, 1470,
            1471, 1472, 1473, 1474, 1475, 1476, 1477, 1478, 1479, 1486, 1488, 1489, 1490, 1491, 1499, 945, 952, 5001,
            5002, 5004, 5052, 5059, 5061, 5069, 15151,
        ],
    ),
    (14, &[229, 262, 300, 916, 921, 922, 927, 942, 954, 955, 956, 976, 978, 979, 982, 983, 988, 5011]),
    (13, &[1205]),
    (11, &[946, 4060, 4063, 4064]),
    (17, &[701, 957, 1105, 1453, 1454, 1458]),
    (20, &[1402]),
    (21, &[596, 1401]),
    (23, &[1457]),
    (24, &[823, 1459]),
];

/// The severity at which the server ends the connection ("Database Engine Error Severities").
const FATAL: u8 = 20;

async fn start() -> (Sim, Target) {
    let mut config = Config::sample();
    for server in &mut config.servers {
        server.tls.mode = TlsMode::Required;
    }
    let sim = Sim::start(config).await.unwrap();
    let target = target(sim.address("a"), verify(&sim));
    (sim, target)
}

fn numbers() -> impl Iterator<Item = (u32, u8)> {
    NUMBERS.iter().flat_map(|(class, numbers)| numbers.iter().map(|number| (*number, *class)))
}

#[tokio::test]
async fn poll_that_is_refused_names_the_number_and_the_next_one_succeeds() {
    let (sim, target) = start().await;
    let monitors = InstanceMonitors::new(Duration::from_secs(3600), Deadlines::default());
    let watch = monitors.watch(&target);
    assert!(matches!(watch.refresh().await, ServerObservation::Available { .. }));
    let mut tried = 0;
    for (number, class) in numbers() {
        let what = "sys.database_mirroring";
        let fault = json!({"do": "refuse", "server": "a", "matching": what, "number": number, "class": class});
        sim.do_json(fault).unwrap();
        match watch.refresh().await {
            ServerObservation::Unavailable { unavailable, .. } => {
                let expected =
                    if class < FATAL { UnavailableCause::QueryFailed } else { UnavailableCause::ConnectionLost };
                assert_eq!(unavailable.cause, expected, "{number}: {}", unavailable.detail);
                assert!(unavailable.detail.contains(&format!("error {number}")), "{number}: {}", unavailable.detail);
            }
            ServerObservation::Available { .. } => panic!("{number} was not noticed"),
        }
        assert!(matches!(watch.refresh().await, ServerObservation::Available { .. }), "after {number}");
        tried += 1;
    }
    println!("{tried} numbers as the answer to a poll");
}

/// ENVCHANGE of this type (MS-TDS 2.2.7.8).
fn environment(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 1).unwrap().to_le_bytes();
    [&[0xe3], &length[..], &[kind], value].concat()
}

/// A new value and the old one, each behind its length in characters.
fn text(new: &str) -> Vec<u8> {
    let counted = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        std::iter::once(u8::try_from(text.len()).unwrap()).chain(units).collect::<Vec<u8>>()
    };
    [counted(new), counted("4096")].concat()
}

#[tokio::test]
async fn environment_change_without_request_costs_one_poll_at_most() {
    let (sim, target) = start().await;
    let routing: Vec<u8> = [&[15, 0, 0, 0x99, 5, 5, 0][..], b"s\0q\0l\0-\0b\0", &[0, 0]].concat();
    #[rustfmt::skip]
    let changes = [
        // what                 bytes                                       seen all the same
        ("partner",             environment(13, &text("SQL-B")),            true),
        ("language",            environment(2, &text("Deutsch")),           true),
        ("no collation",        environment(7, &[0, 0]),                    true),
        ("transaction",         environment(8, &[8, 1, 2, 3, 4, 5, 6, 7, 8, 0]), true),
        ("reset",               environment(18, &[0, 0]),                   true),
        ("routing",             environment(20, &routing),                  false),
        ("unknown",             environment(99, &[0, 0]),                   false),
        ("packets of 0",        environment(4, &text("0")),                 false),
        ("packets of 99999999", environment(4, &text("99999999")),          false),
        ("packets of -1",       environment(4, &text("-1")),                false),
        ("nothing in it",       vec![0xe3, 0, 0],                           false),
        ("longer than stated", environment(1, &[200, 0, 0]),               false),
    ];
    let mut table = Vec::new();
    for (what, bytes, harmless) in &changes {
        for phase in ["login", "batch"] {
            let monitors = InstanceMonitors::new(Duration::from_secs(3600), deadlines(Duration::from_secs(2)));
            sim.do_json(json!({"do": "surprise", "server": "a", "phase": phase, "bytes": bytes})).unwrap();
            let watch = monitors.watch(&target);
            match watch.refresh().await {
                ServerObservation::Available { .. } => table.push(format!("{what:<22} {phase:<6} Available")),
                ServerObservation::Unavailable { unavailable, .. } => {
                    assert!(!harmless, "{what} in the {phase}: {}", unavailable.detail);
                    assert_ne!(
                        unavailable.cause,
                        UnavailableCause::NotYetPolled,
                        "{what} in the {phase} ended the poll task"
                    );
                    table.push(format!("{what:<22} {phase:<6} {:?}: {}", unavailable.cause, unavailable.detail));
                }
            }
            assert!(
                matches!(watch.refresh().await, ServerObservation::Available { .. }),
                "after {what} in the {phase}"
            );
        }
    }
    println!("{}", table.join("\n"));
}

#[tokio::test]
async fn failover_that_is_refused_names_the_number_and_changes_nothing() {
    let (sim, target) = start().await;
    let view = InstanceMonitors::new(Duration::from_secs(3600), Deadlines::default()).watch(&target).refresh().await;
    let ServerObservation::Available { server, .. } = view else { panic!("{view:?}") };
    let database = DatabaseName::new("rtcxds");
    let Database { mirroring: Some(row), .. } = server.databases[&database].clone() else { panic!("not mirrored") };
    let step = Failover {
        act: Act::Failover,
        database,
        on: Seat::Primary,
        server: server.name.clone(),
        partner: row.partner_instance,
        guid: row.guid,
        role_sequence: row.role_sequence,
    };
    let mut tried = 0;
    for (number, class) in numbers() {
        // An error of the statement, with the trailer that follows each cause, 5069.
        sim.do_json(json!({"do": "failStatement", "server": "a", "number": number, "class": class})).unwrap();
        let mut sessions = connect_for_moves(&target, 1, &Deadlines::default()).await.unwrap();
        let answer = fail_over(sessions.remove(0), &step, Duration::from_secs(30)).await;
        match answer {
            Answer::Refused { number: named, .. } if class < FATAL && number != 1421 => assert_eq!(named, number),
            // 1421: the partner did not answer in time, and may have done it ("the ALTER may or may not have completed").
            Answer::Lost { .. } if class >= FATAL || number == 1421 => {}
            other => panic!("{number}: {other:?}"),
        }
        tried += 1;
    }
    assert!(sim.failovers().is_empty());
    println!("{tried} numbers as the answer to a failover");
}
