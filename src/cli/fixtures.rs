//! What the tests of this module share: pools with the status of the operator's own code, from rows as in the tables of
//! the planner.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{LyncPoolMirror, LyncPoolMirrorStatus, parse};
use crate::cli::pool::Pool;
use crate::model::{
    Database, DatabaseName, Observation, Pair, PersistedState, PhaseTimings, Role, Seat, ServerObservation, later,
};
use crate::plan::tests::{NOW, observation, store};
use crate::plan::{Plan, plan};
use crate::status::{Input, render};

pub const UID: &str = "uid-1";

/// The databases of the type User.
const NAMES: [&str; 3] = ["rtcxds", "rtcshared", "rtcab"];

/// A pool with the type User over several passes of the operator.
pub struct Passes {
    pub spec: Value,
    pub generation: i64,
    pub persisted: PersistedState,
    pub before: Option<LyncPoolMirrorStatus>,
    pub now: Timestamp,
    pub last: Option<(Observation, Plan)>,
}

impl Passes {
    pub fn new() -> Passes {
        let server = |host: &str| json!({"host": host, "instance": "RTC"});
        Passes {
            spec: json!({
                "poolFqdn": "pool01.contoso.com",
                "sql": {
                    "primary": server("sql-primary"), "mirror": server("sql-mirror"),
                    "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
                },
                "databaseTypes": [{"type": "User", "principal": "Primary"}],
                "policy": {"settleAfter": "0s"},
            }),
            generation: 1,
            persisted: PersistedState::default(),
            before: None,
            now: NOW,
            last: None,
        }
    }

    /// Changes the spec.
    pub fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Passes {
        edit(&mut self.spec);
        self.generation += 1;
        self
    }

    pub fn want(self, seat: &str) -> Passes {
        self.edit(|spec| spec["databaseTypes"][0]["principal"] = json!(seat))
    }

    pub fn after(mut self, seconds: u64) -> Passes {
        self.now = later(self.now, std::time::Duration::from_secs(seconds));
        self
    }

    /// One pass of the operator with these rows on the primary and the mirror, for all databases.
    pub fn pass(self, a: &str, b: &str) -> Passes {
        self.pass_with([[a, b]; 3])
    }

    /// With the rows of each database.
    pub fn pass_with(mut self, rows: [[&str; 2]; 3]) -> Passes {
        let spec = parse(&self.resource());
        let observation = observed(rows);
        let plan = plan(&spec.desired, &observation, &self.persisted, self.now);
        let status = render(&Input {
            spec: &spec,
            uid: UID,
            observation: &observation,
            plan: &plan,
            timings: PhaseTimings { connect: Some(4), statement: Some(812), verify: Some(90) },
            drift: None,
            last_reads: &BTreeMap::new(),
            before: self.before.as_ref(),
            now: self.now,
        });
        self.persisted = plan.persisted.clone();
        self.before = Some(status);
        self.last = Some((observation, plan));
        self
    }

    pub fn resource(&self) -> LyncPoolMirror {
        serde_json::from_value(self.object(None)).unwrap()
    }

    fn object(&self, status: Option<&LyncPoolMirrorStatus>) -> Value {
        json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
            "metadata": {
                "name": "pool01", "namespace": "lync", "uid": UID, "generation": self.generation,
                "resourceVersion": "7",
            },
            "spec": self.spec,
            "status": status,
        })
    }

    /// The resource as the API server returns it.
    pub fn pool(&self) -> Pool {
        Pool::of_value(self.object(self.before.as_ref()))
    }
}

/// The rows of each database on both servers, which have instances `RTC`.
fn observed(rows: [[&str; 2]; 3]) -> Observation {
    let mut all = observation(rows[0][0], rows[0][1]);
    let others = rows.map(|[a, b]| observation(a, b));
    let Pair { primary, mirror, .. } = &mut all.pairs[store()];
    for (seat, view) in [(Seat::Primary, primary), (Seat::Mirror, mirror)] {
        let named = format!("SQL-{}", seat.word().to_uppercase());
        match view {
            ServerObservation::Unavailable { address, .. } => *address = format!("{address}\\RTC"),
            ServerObservation::Available { address, server } => {
                *address = format!("{address}\\RTC");
                let server = Arc::make_mut(server);
                server.name = format!("{named}\\RTC");
                server.databases.clear();
                for (index, (name, other)) in NAMES.iter().zip(&others).enumerate() {
                    let row = other.pair(store()).view(seat).available().unwrap();
                    let row = row.databases[&DatabaseName::new("LcsLog")].clone();
                    server.databases.insert(DatabaseName::new(*name), of_database(index, row));
                }
            }
        }
    }
    all
}

/// The row with a session of its own.
fn of_database(index: usize, mut row: Database) -> Database {
    if let Some(mirroring) = &mut row.mirroring {
        mirroring.guid = crate::model::Guid::from_bytes([u8::try_from(index + 1).unwrap(); 16]);
        mirroring.partner_instance = format!("{}\\RTC", mirroring.partner_instance);
        row.redo_queue_kb = (mirroring.role == Role::Mirror).then_some(0);
    }
    row
}
