//! The truth table S1-S27 and the rules, row by row: what each partner reports -> reason, and whether anything moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::model::*;

/// The only store of these tables.
pub fn store() -> StoreId {
    Stores::single(()).1
}

pub const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// `P/4/C`: role (P, M), mirroring_state, witness (C connected, D disconnected, - none). `NULL`: not mirrored.
/// `dark`: not reachable.
fn view(side: Side, text: &str) -> View {
    let address = format!("sql-{}", side.word());
    if text == "dark" {
        let darkness = Darkness { cause: Dark::ConnectionRefused, detail: format!("{address} refuses connections") };
        return View::Dark { address, darkness };
    }
    let mut server = server(side);
    let database = Database {
        state: DatabaseState::Online,
        mirroring: None,
        redo_queue_kb: Some(0),
        send_queue_kb: None,
        redone_bytes: None,
        redo_rate_kb: None,
    };
    let mirroring = (text != "NULL").then(|| mirroring(side, text));
    let state = match mirroring.as_ref().map(|row| row.role) {
        Some(Role::Mirror) => DatabaseState::Restoring,
        Some(Role::Principal) | None => DatabaseState::Online,
    };
    server.databases.insert(DatabaseName::new("LcsLog"), Database { state, mirroring, ..database });
    View::Lit { address, server: Arc::new(server) }
}

fn server(side: Side) -> Server {
    Server {
        name: format!("SQL-{}", side.word().to_uppercase()),
        version: "11.0.7001.0".to_owned(),
        edition: "Standard Edition".to_owned(),
        login: "lync".to_owned(),
        sysadmin: true,
        view_server_state: true,
        view_any_database: true,
        endpoint: Some(Endpoint { name: "mirroring".to_owned(), started: true, partner: true, port: Some(5022) }),
        databases: BTreeMap::new(),
        witnessed: Vec::new(),
    }
}

fn mirroring(side: Side, text: &str) -> Mirroring {
    let mut parts = text.split('/');
    let role = if parts.next() == Some("P") { Role::Principal } else { Role::Mirror };
    let state = match parts.next() {
        Some("0") => MirroringState::Suspended,
        Some("1") => MirroringState::Disconnected,
        Some("2") => MirroringState::Synchronizing,
        Some("3") => MirroringState::PendingFailover,
        Some("4") => MirroringState::Synchronized,
        _ => MirroringState::Unknown,
    };
    let witness = match parts.next() {
        Some("C") => WitnessLink::Connected,
        Some("D") => WitnessLink::Disconnected,
        _ => WitnessLink::None,
    };
    let role_sequence = parts.next().map_or(7, |sequence| sequence.parse().unwrap());
    Mirroring {
        guid: Guid::from_bytes([1; 16]),
        state,
        role,
        role_sequence,
        safety: Safety::Full,
        partner_name: "TCP://partner:5022".to_owned(),
        partner_instance: format!("SQL-{}", side.other().word().to_uppercase()),
        witness,
    }
}

pub fn pair(a: &str, b: &str) -> Pair {
    Pair { primary: view(Side::Primary, a), mirror: view(Side::Mirror, b), witness: None }
}

pub fn seen(a: &str, b: &str) -> Observation {
    Observation { pairs: Stores::single(pair(a, b)).0, conflicts: BTreeMap::new(), flights: BTreeMap::new() }
}

pub fn desired(want: Side) -> Desired {
    Desired {
        pool: "pool01".to_owned(),
        generation: 2,
        wishes: vec![Wish {
            ty: DatabaseType::Archiving,
            principal: want,
            databases: vec![DatabaseName::new("LcsLog")],
            store: store(),
            approve: None,
            force: None,
            asked_by: Askers::default(),
        }],
        suspend: None,
        policy: Policy::default(),
    }
}

/// The spec asked for the other seat before: the present wish is intent, and owed.
pub fn owed(want: Side) -> Memory {
    let request = Request { principal: want.other(), generation: 1, owed: false };
    Memory { requests: [(DatabaseType::Archiving, request)].into(), ..Memory::default() }
}

pub fn attempt(outcome: Outcome) -> Attempt {
    Attempt { ended: NOW, cause: Cause::Intent, outcome, detail: None }
}

fn decide(want: Side, a: &str, b: &str, memory: &Memory) -> Plan {
    plan(&desired(want), &seen(a, b), memory, NOW)
}

pub fn reason(plan: &Plan) -> Reason {
    plan.types[&DatabaseType::Archiving].verdict.reason
}

#[test]
fn the_truth_table_when_the_spec_wants_the_mirror() {
    #[rustfmt::skip]
    let table = [
        // scenario                        A         B          reason
        ("S1 healthy, witness",            "P/4/C",  "M/4/C",   Reason::Moving),
        ("S2 healthy, no witness",         "P/4/-",  "M/4/-",   Reason::Moving),
        ("S3 catching up",                 "P/2/C",  "M/2/C",   Reason::Synchronizing),
        ("S4 failover running",            "P/3/C",  "M/4/C",   Reason::FailoverInProgress),
        ("S5 just after",                  "M/2/C",  "P/2/C",   Reason::Synchronizing),
        ("S5 briefly disconnected",        "M/2/C",  "P/1/C",   Reason::Unsettled),
        ("S6 mirror lost, witness",        "P/1/C",  "dark",    Reason::ConnectionRefused),
        ("S7 mirror lost, no witness",     "P/1/-",  "dark",    Reason::ConnectionRefused),
        ("S8 mirror and witness lost",     "P/1/D",  "dark",    Reason::NoQuorum),
        ("S9 automatic failover",          "dark",   "P/1/C",   Reason::ConnectionRefused),
        ("S10 the old principal is back",  "M/4/C",  "P/4/C",   Reason::Aligned),
        ("S11 principal lost, no witness", "dark",   "M/1/-",   Reason::PrincipalLost),
        ("S12 principal, witness lost",    "dark",   "M/1/D",   Reason::NoQuorum),
        ("S13 principal lost, unsynced",   "dark",   "M/1/C",   Reason::PrincipalLost),
        ("S14 forced service",             "dark",   "P/0/-",   Reason::ConnectionRefused),
        ("S15 back after forced service",  "M/0/-/8", "P/0/-/8", Reason::MirroringSuspended),
        ("S16 after RESUME",               "M/2/-",  "P/2/-",   Reason::Synchronizing),
        ("S17 paused, S18 redo error",     "P/0/C",  "M/0/C",   Reason::MirroringSuspended),
        ("S19 witness lost",               "P/4/D",  "M/4/D",   Reason::Moving),
        ("S20 link cut, witness",          "P/1/C",  "M/1/C",   Reason::PartnersDisconnected),
        ("S21 link cut, no witness",       "P/1/-",  "M/1/-",   Reason::PartnersDisconnected),
        ("S22 split brain",                "P/1/-",  "P/1/-/8", Reason::TwoPrincipals),
        ("S23 B and W only",               "dark",   "M/1/C",   Reason::PrincipalLost),
        ("S24 removed on one side",        "NULL",   "M/1/C",   Reason::MirroringRemoved),
        ("S25 not mirrored",               "NULL",   "NULL",    Reason::NotMirrored),
        ("both dark",                      "dark",   "dark",    Reason::ConnectionRefused),
        ("both mirrors",                   "M/4/C",  "M/4/C",   Reason::NoPrincipal),
        ("a switch between two looks",     "P/4/C",  "P/2/C/8", Reason::Unsettled),
        ("sequences differ",               "P/4/C",  "M/4/C/8", Reason::Unsettled),
        ("a number nobody documents",      "P/9/C",  "M/9/C",   Reason::Unsettled),
    ];
    for (name, a, b, expected) in table {
        let plan = decide(Side::Mirror, a, b, &owed(Side::Mirror));
        assert_eq!(reason(&plan), expected, "{name}: {}", plan.types[&DatabaseType::Archiving].verdict.message);
        assert_eq!(plan.steps.is_empty(), expected != Reason::Moving, "{name}: only a healthy pair moves");
        assert_eq!(plan.memory.operation.is_some(), expected == Reason::Moving, "{name}: no step without a journal");
    }
}

#[test]
fn s26_split_roles_move_only_what_is_on_the_wrong_side() {
    let mut desired = desired(Side::Mirror);
    desired.wishes[0].ty = DatabaseType::Monitoring;
    desired.wishes[0].databases = vec![DatabaseName::new("lcslog"), DatabaseName::new("QoEMetrics")];
    let mut seen = seen("P/4/C", "M/4/C");
    for (side, text) in [(Side::Primary, "M/4/C"), (Side::Mirror, "P/4/C")] {
        let view = match side {
            Side::Primary => &mut seen.pairs[store()].primary,
            Side::Mirror => &mut seen.pairs[store()].mirror,
        };
        let View::Lit { server, .. } = view else { panic!() };
        let mut changed = Server::clone(server);
        let mut second = changed.databases[&DatabaseName::new("LcsLog")].clone();
        second.mirroring = Some(mirroring(side, text));
        second.state = if text.starts_with('P') { DatabaseState::Online } else { DatabaseState::Restoring };
        changed.databases.insert(DatabaseName::new("QoEMetrics"), second);
        *server = Arc::new(changed);
    }
    let drift = plan(&desired, &seen, &Memory::default(), NOW);
    let verdict = &drift.types[&DatabaseType::Monitoring].verdict;
    assert_eq!(verdict.reason, Reason::SplitRoles, "{}", verdict.message);
    assert!(drift.steps.is_empty());
    let request = Request { principal: Side::Primary, generation: 1, owed: false };
    let memory = Memory { requests: [(DatabaseType::Monitoring, request)].into(), ..Memory::default() };
    let intent = plan(&desired, &seen, &memory, NOW);
    let steps: Vec<String> = intent.steps.iter().map(|step| step.database.to_string()).collect();
    assert_eq!(steps, ["LcsLog"], "as the server spells it");
}

#[test]
fn drift_is_held_until_its_very_epoch_is_approved() {
    let first = decide(Side::Mirror, "P/4/C", "M/4/C", &Memory::default());
    assert_eq!(reason(&first), Reason::UnexpectedPrincipal, "first seen is not asked for");
    assert!(first.steps.is_empty());
    let epoch = first.types[&DatabaseType::Archiving].epoch.clone().unwrap();
    assert!(first.types[&DatabaseType::Archiving].verdict.message.contains(epoch.as_str()));
    let approve = |epoch: &Epoch| {
        let mut desired = desired(Side::Mirror);
        desired.wishes[0].approve = Some(epoch.clone());
        plan(&desired, &seen("P/4/C", "M/4/C"), &first.memory, NOW)
    };
    assert!(approve(&Epoch::new("6-0000")).steps.is_empty(), "an approval for another state never fires");
    let approved = approve(&epoch);
    assert_eq!((approved.steps.len(), approved.memory.operation.unwrap().cause), (1, Cause::Approved));
}

#[test]
fn rules_that_stop_an_owed_move() {
    let memory = owed(Side::Mirror);
    let healthy = seen("P/4/C", "M/4/C");
    let stopped = |desired: &Desired, seen: &Observation, memory: &Memory| {
        let plan = plan(desired, seen, memory, NOW);
        assert!(plan.steps.is_empty());
        reason(&plan)
    };
    let mut suspended = desired(Side::Mirror);
    suspended.suspend =
        Some(Suspend { reason: "patching".to_owned(), until: Some(later(NOW, Duration::from_secs(60))) });
    assert_eq!(stopped(&suspended, &healthy, &memory), Reason::Suspended);
    let after = later(NOW, Duration::from_secs(61));
    assert_eq!(plan(&suspended, &healthy, &memory, after).steps.len(), 1, "a suspension ends by itself");

    let mut rival = healthy.clone();
    rival.conflicts.insert(DatabaseType::Archiving, vec!["lync/other".to_owned()]);
    assert_eq!(stopped(&desired(Side::Mirror), &rival, &memory), Reason::Conflict);

    let mut hot = memory.clone();
    hot.last.insert(DatabaseType::Archiving, attempt(Outcome::Succeeded));
    assert_eq!(stopped(&desired(Side::Mirror), &healthy, &hot), Reason::Cooldown);
    let cooled = later(NOW, Duration::from_secs(600));
    assert_eq!(plan(&desired(Side::Mirror), &healthy, &hot, cooled).steps.len(), 1);

    let change = |edit: &dyn Fn(Side, &mut Server)| {
        let mut changed = healthy.clone();
        let Pair { primary, mirror, .. } = &mut changed.pairs[store()];
        for (side, view) in [(Side::Primary, primary), (Side::Mirror, mirror)] {
            let View::Lit { server, .. } = view else { panic!() };
            let mut one = Server::clone(server);
            edit(side, &mut one);
            *server = Arc::new(one);
        }
        stopped(&desired(Side::Mirror), &changed, &memory)
    };
    let row = |server: &mut Server, edit: &dyn Fn(&mut Mirroring)| {
        edit(server.databases.get_mut(&DatabaseName::new("LcsLog")).unwrap().mirroring.as_mut().unwrap());
    };
    let on = |wanted: Side, side: Side| wanted == side;
    assert_eq!(change(&|_, server| row(server, &|row| row.safety = Safety::Off)), Reason::SafetyOff);
    assert_eq!(
        change(&|side, server| if on(Side::Mirror, side) {
            row(server, &|row| row.guid = Guid::from_bytes([9; 16]))
        }),
        Reason::SessionMismatch
    );
    assert_eq!(
        change(&|side, server| if on(Side::Primary, side) {
            row(server, &|row| row.partner_instance = "ELSE".to_owned())
        }),
        Reason::PartnerMismatch
    );
    assert_eq!(change(&|_, server| server.name = "ONE".to_owned()), Reason::SameServer);
    assert_eq!(
        change(&|side, server| if on(Side::Mirror, side) {
            server.endpoint = None
        }),
        Reason::EndpointStopped
    );
    assert_eq!(change(&|_, server| server.databases.clear()), Reason::DatabaseMissing);
    assert_eq!(
        change(&|side, server| if on(Side::Mirror, side) {
            server.sysadmin = false;
            server.databases.get_mut(&DatabaseName::new("LcsLog")).unwrap().mirroring = None;
        }),
        Reason::PermissionMissing,
        "S25: NULL without sysadmin is not \"not mirrored\""
    );
    assert_eq!(
        change(&|side, server| if on(Side::Primary, side) {
            server.databases.get_mut(&DatabaseName::new("LcsLog")).unwrap().state = DatabaseState::Suspect;
        }),
        Reason::DatabaseNotOnline
    );
}

#[test]
fn types_take_turns_and_central_management_is_last() {
    let mut desired = desired(Side::Mirror);
    let other = Wish { ty: DatabaseType::CentralMgmt, ..desired.wishes[0].clone() };
    desired.wishes.insert(0, other);
    let mut memory = owed(Side::Mirror);
    memory.requests.insert(DatabaseType::CentralMgmt, memory.requests[&DatabaseType::Archiving]);
    let begun = plan(&desired, &seen("P/4/C", "M/4/C"), &memory, NOW);
    assert_eq!(begun.memory.operation.as_ref().unwrap().ty, DatabaseType::Archiving);
    assert_eq!(begun.types[&DatabaseType::CentralMgmt].verdict.reason, Reason::WaitingForTurn);
}
