//! The truth table S1-S27 and the rules, row by row: observation of each partner -> reason, and whether a type moves.

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

/// The only type of these tables.
pub const TY: DatabaseType = DatabaseType::Archiving;

pub fn after(seconds: u64) -> Timestamp {
    later(NOW, Duration::from_secs(seconds))
}

/// `P/4/C`: role (P, M), mirroring_state, witness (C connected, D disconnected, - none), then a role sequence and a database
/// state (r RECOVERING, p RECOVERY_PENDING, s SUSPECT, g RESTORING) in any order. `NULL`: not mirrored. `away`: refuses connections. `refused`: refuses the login.
pub fn view(seat: Seat, text: &str) -> ServerObservation {
    let address = format!("sql-{}", seat.word());
    let cause = match text {
        "away" => Some((UnavailableCause::ConnectionRefused, "refuses connections")),
        "refused" => Some((UnavailableCause::LoginFailed, "refuses the login")),
        _ => None,
    };
    if let Some((cause, what)) = cause {
        let unavailable = Unavailable { cause, detail: format!("{address} {what}.") };
        return ServerObservation::Unavailable { address, unavailable };
    }
    let mut server = server(seat);
    let mirroring = (!text.starts_with("NULL")).then(|| mirroring(seat, text));
    let state = match (text.split('/').next_back(), mirroring.as_ref().map(|row| row.role)) {
        (Some("r"), _) => DatabaseState::Recovering,
        (Some("p"), _) => DatabaseState::RecoveryPending,
        (Some("s"), _) => DatabaseState::Suspect,
        (Some("g"), _) | (_, Some(Role::Mirror)) => DatabaseState::Restoring,
        (_, Some(Role::Principal) | None) => DatabaseState::Online,
    };
    let database = Database {
        state,
        mirroring,
        redo_queue_kb: Some(0),
        send_queue_kb: None,
        redone_bytes: None,
        redo_rate_kb: None,
    };
    server.databases.insert(DatabaseName::new("LcsLog"), database);
    ServerObservation::Available { address, server: Arc::new(server) }
}

fn server(seat: Seat) -> Server {
    Server {
        name: format!("SQL-{}", seat.word().to_uppercase()),
        local_name: None,
        version: "11.0.7001.0".to_owned(),
        edition: "Standard Edition".to_owned(),
        login: "lync".to_owned(),
        sysadmin: true,
        view_server_state: true,
        view_any_database: true,
        endpoint: Some(MirroringEndpoint {
            name: "mirroring".to_owned(),
            started: true,
            partner: true,
            port: Some(5022),
        }),
        databases: BTreeMap::new(),
        witnessed: Vec::new(),
        stale_login: None,
        memory: MemoryShare::default(),
    }
}

fn mirroring(seat: Seat, text: &str) -> Mirroring {
    let mut parts = text.split('/');
    let role = if parts.next() == Some("P") { Role::Principal } else { Role::Mirror };
    let state = match parts.next() {
        Some("0") => MirroringState::Suspended,
        Some("1") => MirroringState::Disconnected,
        Some("2") => MirroringState::Synchronizing,
        Some("3") => MirroringState::PendingFailover,
        Some("4") => MirroringState::Synchronized,
        other => MirroringState::Unknown(other.and_then(|text| text.parse().ok()).unwrap_or(-1)),
    };
    let witness = match parts.next() {
        Some("C") => WitnessLink::Connected,
        Some("D") => WitnessLink::Disconnected,
        _ => WitnessLink::None,
    };
    let role_sequence = parts.find_map(|part| part.parse().ok()).unwrap_or(7);
    Mirroring {
        guid: Guid::from_bytes([1; 16]),
        state,
        role,
        role_sequence,
        safety: Safety::Full,
        partner_name: "TCP://partner:5022".to_owned(),
        partner_instance: format!("SQL-{}", seat.other().word().to_uppercase()),
        witness,
        witness_name: if witness == WitnessLink::None { String::new() } else { "TCP://witness:5022".to_owned() },
    }
}

pub fn pair(a: &str, b: &str) -> Pair {
    Pair { primary: view(Seat::Primary, a), mirror: view(Seat::Mirror, b), witness: None }
}

pub fn observation(a: &str, b: &str) -> Observation {
    Observation {
        pairs: Stores::single(pair(a, b)).0,
        conflicts: BTreeMap::new(),
        turns: BTreeMap::new(),
        statements: BTreeMap::new(),
    }
}

/// The rows of `LcsLog`, and those of `QoEMetrics` on the servers that are seen.
pub fn observation_of_two(log: [&str; 2], metrics: [&str; 2]) -> Observation {
    let (mut rows, other) = (observation(log[0], log[1]), pair(metrics[0], metrics[1]));
    let Pair { primary, mirror, .. } = &mut rows.pairs[store()];
    for (view, other) in [(primary, other.primary), (mirror, other.mirror)] {
        if let (ServerObservation::Available { server, .. }, Some(other)) = (view, other.available()) {
            let row = other.databases[&DatabaseName::new("LcsLog")].clone();
            Arc::make_mut(server).databases.insert(DatabaseName::new("QoEMetrics"), row);
        }
    }
    rows
}

pub fn desired(want: Seat) -> Desired {
    Desired {
        pool: "pool01".to_owned(),
        generation: 2,
        types: vec![DesiredType {
            ty: DatabaseType::Archiving,
            principal: want,
            databases: vec![DatabaseName::new("LcsLog")],
            store: store(),
            approve: None,
            force: None,
            requested_by: FieldManagers::default(),
        }],
        suspend: None,
        policy: Policy::default(),
        problems: Vec::new(),
        unusable: BTreeMap::new(),
    }
}

/// A spec that fails back to the primary.
pub fn failing_back() -> Desired {
    let mut desired = desired(Seat::Primary);
    desired.policy.unrequested_switch = UnrequestedSwitch::FailBack;
    desired
}

/// The spec requested the other seat before, so the present request is pending.
pub fn pending(want: Seat) -> PersistedState {
    let request = Request { principal: want.other(), generation: 1, pending: false };
    PersistedState { requests: [(DatabaseType::Archiving, request)].into(), ..PersistedState::default() }
}

/// The pair of these tables, as a former pass recorded it.
pub fn known_pair() -> PairIdentity {
    let server = |seat: Seat| ServerIdentity {
        address: format!("sql-{}", seat.word()),
        name: format!("SQL-{}", seat.word().to_uppercase()),
    };
    PairIdentity { primary: server(Seat::Primary), mirror: server(Seat::Mirror) }
}

/// The state after both servers were seen together, with the principal in this seat.
pub fn settled(seat: Seat) -> TypeTracking {
    TypeTracking {
        pair: Some(known_pair()),
        sessions: [(DatabaseName::new("LcsLog"), Guid::from_bytes([1; 16]))].into(),
        last_settled_server: Some(known_pair().server(seat).name.clone()),
        was_aligned: true,
        ..TypeTracking::default()
    }
}

pub fn attempt(outcome: Outcome) -> Attempt {
    Attempt::new(NOW, Cause::Intent, outcome)
}

fn decide(want: Seat, a: &str, b: &str, persisted: &PersistedState) -> Plan {
    plan(&desired(want), &observation(a, b), persisted, NOW)
}

pub fn reason(plan: &Plan) -> Reason {
    plan.types[&DatabaseType::Archiving].verdict.reason
}

#[test]
fn plan_each_row_of_the_truth_table_has_its_reason() {
    #[rustfmt::skip]
    let table = [
        // scenario                        A         B          reason
        ("S1 healthy, witness",            "P/4/C",  "M/4/C",   Reason::Moving),
        ("S2 healthy, no witness",         "P/4/-",  "M/4/-",   Reason::Moving),
        ("S3 catching up",                 "P/2/C",  "M/2/C",   Reason::Synchronizing),
        ("S4 failover running",            "P/3/C",  "M/4/C",   Reason::FailoverInProgress),
        ("S5 just after",                  "M/2/C",  "P/2/C",   Reason::Synchronizing),
        ("S5 briefly disconnected",        "M/2/C",  "P/1/C",   Reason::Unsettled),
        ("S6 mirror lost, witness",        "P/1/C",  "away",    Reason::ConnectionRefused),
        ("S7 mirror lost, no witness",     "P/1/-",  "away",    Reason::ConnectionRefused),
        ("S8 ONLINE without quorum",       "P/1/D",  "away",    Reason::ConnectionRefused),
        ("S8 mirror and witness lost",     "P/1/D/r", "away",   Reason::NoQuorum),
        ("S9 automatic failover",          "away",   "P/1/C",   Reason::ConnectionRefused),
        ("S10 the old principal is back",  "M/4/C",  "P/4/C",   Reason::Aligned),
        ("S11 principal lost, no witness", "away",   "M/1/-",   Reason::PrincipalLost),
        ("S12 principal, witness lost",    "away",   "M/1/D",   Reason::NoQuorum),
        ("S13 principal lost, unsynced",   "away",   "M/1/C",   Reason::PrincipalLost),
        ("S14 forced service",             "away",   "P/0/-",   Reason::ConnectionRefused),
        ("S15 back after forced service",  "M/0/-/8", "P/0/-/8", Reason::MirroringSuspended),
        ("S16 after RESUME",               "M/2/-",  "P/2/-",   Reason::Synchronizing),
        ("S17 paused, S18 redo error",     "P/0/C",  "M/0/C",   Reason::MirroringSuspended),
        ("S19 witness lost",               "P/4/D",  "M/4/D",   Reason::Moving),
        ("S20 link cut, witness",          "P/1/C",  "M/1/C",   Reason::PartnersDisconnected),
        ("S21 link cut, no witness",       "P/1/-",  "M/1/-",   Reason::PartnersDisconnected),
        ("S22 split brain",                "P/1/-",  "P/1/-/8", Reason::TwoPrincipals),
        ("S23 B and W only",               "away",   "M/1/C",   Reason::PrincipalLost),
        ("S24 removed on one side",        "NULL",   "M/1/C",   Reason::MirroringRemoved),
        ("S25 not mirrored",               "NULL",   "NULL",    Reason::NotMirrored),
        ("both away",                      "away",   "away",    Reason::ConnectionRefused),
        ("both mirrors",                   "M/4/C",  "M/4/C",   Reason::NoPrincipal),
        ("a switch between two polls",     "P/4/C",  "P/2/C/8", Reason::Unsettled),
        ("sequences differ",               "P/4/C",  "M/4/C/8", Reason::Unsettled),
        ("an undocumented state",          "P/9/C",  "M/9/C",   Reason::Unsettled),
    ];
    for (name, a, b, expected) in table {
        let plan = decide(Seat::Mirror, a, b, &pending(Seat::Mirror));
        assert_eq!(reason(&plan), expected, "{name}: {}", plan.types[&DatabaseType::Archiving].verdict.message);
        assert_eq!(plan.steps.is_empty(), expected != Reason::Moving, "{name}: only a healthy pair moves");
        assert_eq!(plan.persisted.operation.is_some(), expected == Reason::Moving, "{name}: no step without a journal");
    }
}

#[test]
fn plan_split_roles_moves_only_the_databases_in_the_wrong_seat() {
    let mut desired = desired(Seat::Mirror);
    desired.types[0].ty = DatabaseType::Monitoring;
    desired.types[0].databases = vec![DatabaseName::new("lcslog"), DatabaseName::new("QoEMetrics")];
    let mut observation = observation("P/4/C", "M/4/C");
    for (seat, text) in [(Seat::Primary, "M/4/C"), (Seat::Mirror, "P/4/C")] {
        let view = match seat {
            Seat::Primary => &mut observation.pairs[store()].primary,
            Seat::Mirror => &mut observation.pairs[store()].mirror,
        };
        let ServerObservation::Available { server, .. } = view else { panic!() };
        let mut changed = Server::clone(server);
        let mut second = changed.databases[&DatabaseName::new("LcsLog")].clone();
        second.mirroring = Some(mirroring(seat, text));
        second.state = if text.starts_with('P') { DatabaseState::Online } else { DatabaseState::Restoring };
        changed.databases.insert(DatabaseName::new("QoEMetrics"), second);
        *server = Arc::new(changed);
    }
    let drift = plan(&desired, &observation, &PersistedState::default(), NOW);
    let verdict = &drift.types[&DatabaseType::Monitoring].verdict;
    assert_eq!(verdict.reason, Reason::SplitRoles, "{}", verdict.message);
    assert!(drift.steps.is_empty());
    let request = Request { principal: Seat::Primary, generation: 1, pending: false };
    let persisted =
        PersistedState { requests: [(DatabaseType::Monitoring, request)].into(), ..PersistedState::default() };
    let intent = plan(&desired, &observation, &persisted, NOW);
    let steps: Vec<String> = intent.steps.iter().map(|step| step.database.to_string()).collect();
    assert_eq!(steps, ["LcsLog"], "as the server spells it");
}

#[test]
fn plan_unrequested_switch_is_held_until_its_epoch_is_approved() {
    let first = decide(Seat::Mirror, "P/4/C", "M/4/C", &PersistedState::default());
    assert_eq!(reason(&first), Reason::UnexpectedPrincipal, "first seen is not asked for");
    assert!(first.steps.is_empty());
    let epoch = first.types[&DatabaseType::Archiving].epoch.clone().unwrap();
    assert!(first.types[&DatabaseType::Archiving].verdict.message.contains(epoch.as_str()));
    let approve = |epoch: &Epoch| {
        let mut desired = desired(Seat::Mirror);
        desired.types[0].approve = Some(Approval { epoch: epoch.clone(), until: None });
        plan(&desired, &observation("P/4/C", "M/4/C"), &first.persisted, NOW)
    };
    assert!(approve(&Epoch::new("6-0000")).steps.is_empty(), "an approval for another state never fires");
    let approved = approve(&epoch);
    assert_eq!((approved.steps.len(), approved.persisted.operation.unwrap().cause), (1, Cause::Approved));
}

#[test]
fn plan_pending_move_with_a_failed_precondition_does_not_start() {
    let persisted = pending(Seat::Mirror);
    let healthy = observation("P/4/C", "M/4/C");
    let stopped = |desired: &Desired, observation: &Observation, persisted: &PersistedState| {
        let plan = plan(desired, observation, persisted, NOW);
        assert!(plan.steps.is_empty());
        reason(&plan)
    };
    let mut suspended = desired(Seat::Mirror);
    suspended.suspend =
        Some(Suspend { reason: "patching".to_owned(), until: Some(later(NOW, Duration::from_secs(60))) });
    assert_eq!(stopped(&suspended, &healthy, &persisted), Reason::Suspended);
    let after = later(NOW, Duration::from_secs(61));
    assert_eq!(plan(&suspended, &healthy, &persisted, after).steps.len(), 1, "a suspension ends by itself");

    let mut rival = healthy.clone();
    rival.conflicts.insert(DatabaseType::Archiving, vec!["lync/other".to_owned()]);
    assert_eq!(stopped(&desired(Seat::Mirror), &rival, &persisted), Reason::Conflict);

    let mut hot = persisted.clone();
    hot.last.insert(DatabaseType::Archiving, attempt(Outcome::Succeeded));
    assert_eq!(stopped(&desired(Seat::Mirror), &healthy, &hot), Reason::Cooldown);
    let cooled = later(NOW, Duration::from_secs(600));
    assert_eq!(plan(&desired(Seat::Mirror), &healthy, &hot, cooled).steps.len(), 1);
}

#[test]
fn plan_pending_move_with_a_changed_server_reports_the_obstacle() {
    let (persisted, healthy) = (pending(Seat::Mirror), observation("P/4/C", "M/4/C"));
    let change = |edit: &dyn Fn(Seat, &mut Server)| {
        let mut changed = healthy.clone();
        let Pair { primary, mirror, .. } = &mut changed.pairs[store()];
        for (seat, view) in [(Seat::Primary, primary), (Seat::Mirror, mirror)] {
            let ServerObservation::Available { server, .. } = view else { panic!() };
            let mut changed_server = Server::clone(server);
            edit(seat, &mut changed_server);
            *server = Arc::new(changed_server);
        }
        let plan = plan(&desired(Seat::Mirror), &changed, &persisted, NOW);
        assert!(plan.steps.is_empty());
        reason(&plan)
    };
    let row = |server: &mut Server, edit: &dyn Fn(&mut Mirroring)| {
        edit(server.databases.get_mut(&DatabaseName::new("LcsLog")).unwrap().mirroring.as_mut().unwrap());
    };
    let on = |wanted: Seat, seat: Seat| wanted == seat;
    assert_eq!(change(&|_, server| row(server, &|row| row.safety = Safety::Off)), Reason::SafetyOff);
    assert_eq!(
        change(&|seat, server| if on(Seat::Mirror, seat) {
            row(server, &|row| row.guid = Guid::from_bytes([9; 16]))
        }),
        Reason::SessionMismatch
    );
    assert_eq!(
        change(&|seat, server| if on(Seat::Primary, seat) {
            row(server, &|row| row.partner_instance = "ELSE".to_owned())
        }),
        Reason::PartnerMismatch
    );
    assert_eq!(change(&|_, server| server.name = "ONE".to_owned()), Reason::SameServer);
    assert_eq!(
        change(&|seat, server| if on(Seat::Mirror, seat) {
            server.endpoint = None
        }),
        Reason::EndpointStopped
    );
    assert_eq!(change(&|_, server| server.databases.clear()), Reason::DatabaseMissing);
    assert_eq!(
        change(&|seat, server| if on(Seat::Mirror, seat) {
            server.sysadmin = false;
            server.databases.get_mut(&DatabaseName::new("LcsLog")).unwrap().mirroring = None;
        }),
        Reason::PermissionMissing,
        "S25: NULL without sysadmin is not \"not mirrored\""
    );
    assert_eq!(
        change(&|seat, server| if on(Seat::Primary, seat) {
            server.databases.get_mut(&DatabaseName::new("LcsLog")).unwrap().state = DatabaseState::Suspect;
        }),
        Reason::DatabaseNotOnline
    );
}

#[test]
fn plan_two_pending_types_moves_central_management_last() {
    let mut desired = desired(Seat::Mirror);
    let other = DesiredType { ty: DatabaseType::CentralMgmt, ..desired.types[0].clone() };
    desired.types.insert(0, other);
    let mut persisted = pending(Seat::Mirror);
    persisted.requests.insert(DatabaseType::CentralMgmt, persisted.requests[&DatabaseType::Archiving]);
    let begun = plan(&desired, &observation("P/4/C", "M/4/C"), &persisted, NOW);
    assert_eq!(begun.persisted.operation.as_ref().unwrap().ty, DatabaseType::Archiving);
    assert_eq!(begun.types[&DatabaseType::CentralMgmt].verdict.reason, Reason::WaitingForTurn);
}
