//! What a forced service leaves: the old principal, the copy that has everything since, and the end of it.

use super::tests::{NOW, TY, after, attempt, desired, observation, observation_of_two, reason, settled};
use super::*;
use crate::model::*;

fn at_home() -> PersistedState {
    PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() }
}

/// Service was forced on the mirror, or may have been.
fn forced(outcome: Outcome) -> PersistedState {
    let mut persisted = at_home();
    let last = Attempt {
        cause: Cause::ForcedService,
        to_server: Some("SQL-MIRROR".into()),
        forced: [(DatabaseName::new("LcsLog"), 7)].into(),
        ..attempt(outcome)
    };
    persisted.last.insert(TY, last);
    persisted
}

/// The operator read both servers before, with the primary as the principal.
fn with_roles(mut persisted: PersistedState) -> PersistedState {
    let roles = LastRoles { principal: Seat::Primary, primary: 7, mirror: 7, replaced: None };
    let tracking = persisted.tracking.get_mut(&TY).unwrap();
    tracking.roles = tracking.sessions.keys().map(|name| (name.clone(), roles)).collect();
    persisted
}

fn seen(a: &str, b: &str, persisted: &PersistedState) -> Plan {
    plan(&desired(Seat::Primary), &observation(a, b), persisted, NOW)
}

/// Consents to force service in this state.
fn consented(lost: &Observation) -> Desired {
    let epoch = plan(&desired(Seat::Primary), lost, &at_home(), NOW).types[&TY].epoch.clone().unwrap();
    let mut consented = desired(Seat::Primary);
    consented.types[0].force = Some(ForceService { epoch, until: after(3600), fenced: true });
    consented
}

fn message(plan: &Plan) -> &str {
    &plan.types[&TY].verdict.message
}

/// The statement never arrived. The old principal returns and serves, with the survivor as its mirror.
#[test]
fn forced_service_that_both_servers_disprove_is_no_reason_to_cut_clients_off() {
    for outcome in [Outcome::Unknown, Outcome::Partial, Outcome::Succeeded] {
        for (a, b, expected) in
            [("P/1/-", "M/1/-", Reason::PartnersDisconnected), ("P/2/-", "M/2/-", Reason::Synchronizing)]
        {
            let back = seen(a, b, &forced(outcome));
            assert_eq!(reason(&back), expected, "{outcome} {a}: {}", message(&back));
            assert!(!message(&back).contains("forced") && !message(&back).contains("cut all clients"));
            assert!(back.types[&TY].is_aligned() && back.types[&TY].forced_on.is_none());
        }
    }
    // It stays disproved: the survivor restarts, and the living principal is read alone.
    for (a, b) in [("P/2/-", "M/2/-"), ("P/1/-/9", "M/1/-/9")] {
        let back = seen(a, b, &forced(Outcome::Unknown));
        let alone = seen(if a == "P/2/-" { "P/1/-" } else { "P/1/-/9" }, "away", &back.persisted);
        assert_eq!(reason(&alone), Reason::ConnectionRefused, "{a}: {}", message(&alone));
    }
    // It took over again, and only the operator does not read the other one.
    let replaced = seen("away", "P/1/-/8", &with_roles(forced(Outcome::Succeeded))).persisted;
    let again = seen("P/1/-/9", "away", &replaced);
    assert!(!message(&again).contains("cut"), "{}", message(&again));
    assert_eq!(reason(&seen("P/1/-/7", "away", &replaced)), Reason::ServiceForced);
    // The other one was never read as principal: the forced service is all that is known.
    let unread = seen("P/1/-/7", "away", &with_roles(forced(Outcome::Succeeded)));
    assert_eq!(reason(&unread), Reason::ServiceForced);
    for persisted in [forced(Outcome::Unknown), with_roles(forced(Outcome::Unknown))] {
        let alone = seen("P/1/-", "away", &persisted);
        assert_eq!(reason(&alone), Reason::ServiceForced);
        assert!(message(&alone).contains("may have been forced on the mirror"), "{}", message(&alone));
    }
}

/// The survivor of a forced service is lost while the old principal is its mirror: that copy is older.
#[test]
fn forced_service_on_the_old_principal_of_another_one_is_refused() {
    for row in ["M/0/-/8", "M/1/-/8"] {
        let persisted = forced(Outcome::Succeeded);
        let epoch = seen(row, "away", &persisted).types[&TY].epoch.clone().unwrap();
        let mut consented = desired(Seat::Primary);
        consented.types[0].force = Some(ForceService { epoch, until: after(3600), fenced: true });
        let refused = plan(&consented, &observation(row, "away"), &persisted, NOW);
        assert_eq!(refused.steps.len(), 0, "{row}");
        assert!(message(&refused).contains("service was forced on the mirror"), "{}", message(&refused));
        assert!(message(&refused).contains("only that copy has what clients changed since"));
        assert_eq!(plan(&consented, &observation(row, "away"), &at_home(), NOW).steps.len(), 1, "{row}: without it");
    }
}

/// A second database of the survivor, of the type or of none: whether its row disproves the loss of the principal.
#[test]
fn forced_service_is_refused_while_another_row_is_connected_to_the_old_principal() {
    for (second, named, steps) in [
        ("M/4/-", false, 0),
        ("P/4/-/8", true, 0),
        ("P/2/-/8", true, 0),
        ("M/3/-", false, 0),
        ("P/1/-/8", true, 1),
        ("M/1/-", false, 1),
    ] {
        let rows = observation_of_two(["away", "M/1/-"], ["away", second]);
        let mut consented = desired(Seat::Primary);
        let mut known = at_home();
        if named {
            consented.types[0].databases.push(DatabaseName::new("QoEMetrics"));
            let sessions = &mut known.tracking.get_mut(&TY).unwrap().sessions;
            sessions.insert(DatabaseName::new("QoEMetrics"), Guid::from_bytes([1; 16]));
        }
        let epoch = plan(&consented, &rows, &known, NOW).types[&TY].epoch.clone().unwrap();
        consented.types[0].force = Some(ForceService { epoch, until: after(3600), fenced: true });
        let decided = plan(&consented, &rows, &known, NOW);
        assert_eq!(decided.steps.len(), steps, "{second}: {}", message(&decided));
        assert_eq!(message(&decided).contains("still connected to SQL-PRIMARY"), steps == 0, "{}", message(&decided));
    }
}

/// One database is mirrored anew. The others still have what the forced service left.
#[test]
fn forced_service_is_remembered_until_each_of_its_databases_is_synchronized() {
    let both = ["LcsLog", "QoEMetrics"].map(DatabaseName::new);
    let mut persisted = forced(Outcome::Succeeded);
    let session = |name: &DatabaseName| (name.clone(), Guid::from_bytes([1; 16]));
    persisted.tracking.get_mut(&TY).unwrap().sessions = both.iter().map(session).collect();
    persisted.last.get_mut(&TY).unwrap().forced = both.iter().map(|name| (name.clone(), 7)).collect();
    let mut two = desired(Seat::Mirror);
    two.types[0].databases = both.to_vec();
    let rows = |log: [&str; 2], metrics: [&str; 2], anew: bool| {
        let mut rows = observation_of_two(log, metrics);
        let pair = &mut rows.pairs[super::tests::store()];
        for view in [&mut pair.primary, &mut pair.mirror].into_iter().filter(|_| anew) {
            let ServerObservation::Available { server, .. } = view else { panic!() };
            let database = std::sync::Arc::make_mut(server).databases.get_mut(&both[1]).unwrap();
            database.mirroring.as_mut().unwrap().guid = Guid::from_bytes([2; 16]);
        }
        rows
    };
    let anew = rows(["M/0/-/8", "P/0/-/8"], ["M/4/-/1", "P/4/-/1"], true);
    let mut failover = persisted.clone();
    failover.last.insert(TY, attempt(Outcome::Succeeded));
    assert!(plan(&two, &anew, &failover, NOW).persisted.last.is_empty(), "no forced service");
    let mut seen = plan(&two, &anew, &persisted, NOW);
    for _ in 0..2 {
        assert_eq!(reason(&seen), Reason::ServiceForced, "{}", message(&seen));
        seen = plan(&two, &anew, &seen.persisted, NOW);
    }
    // The spec no longer has the database that is not synchronized.
    let mut one = two.clone();
    one.types[0].databases = vec![both[1].clone()];
    let less = plan(&one, &rows(["M/0/-/8", "P/0/-/8"], ["M/4/-/8", "P/4/-/8"], false), &persisted, NOW);
    assert!(!less.persisted.last[&TY].synchronized);
    let over = plan(&one, &rows(["M/4/-/8", "P/4/-/8"], ["M/4/-/8", "P/4/-/8"], false), &less.persisted, NOW);
    assert!(over.persisted.last[&TY].synchronized);
    let mut dropped = rows(["M/4/-/8", "P/4/-/8"], ["M/4/-/8", "P/4/-/8"], false);
    let pair = &mut dropped.pairs[super::tests::store()];
    for view in [&mut pair.primary, &mut pair.mirror] {
        let ServerObservation::Available { server, .. } = view else { panic!() };
        std::sync::Arc::make_mut(server).databases.remove(&both[0]);
    }
    assert!(plan(&one, &dropped, &less.persisted, NOW).persisted.last[&TY].synchronized, "neither server has it");
    // One of them keeps it without a session. A copy that is not ONLINE can have one.
    for (row, over) in [("NULL", true), ("NULL/s", false)] {
        let mut retired = rows(["M/4/-/8", row], ["M/4/-/8", "P/4/-/8"], false);
        let ServerObservation::Available { server, .. } = &mut retired.pairs[super::tests::store()].primary else {
            panic!()
        };
        std::sync::Arc::make_mut(server).databases.remove(&both[0]);
        let seen = plan(&one, &retired, &less.persisted, NOW);
        assert_eq!(seen.persisted.last[&TY].synchronized, over, "{row}");
    }
}

/// The log of the old principal can be the only place of what it had not sent.
#[test]
fn damaged_old_principal_of_a_forced_service_is_no_ordinary_mirror() {
    for (row, part) in [
        ("NULL/s", "save the log of this copy before any repair"),
        ("M/2/-/8", "the mirror is catching up"),
        ("M/0/-/8", "RESUME destroys it"),
    ] {
        let other = row.replace('M', "P");
        let survivor = if row.starts_with("NULL") { "P/1/-/8" } else { &other };
        let back = seen(row, survivor, &forced(Outcome::Succeeded));
        assert_eq!(reason(&back), Reason::ServiceForced, "{row}: {}", message(&back));
        assert!(message(&back).contains(part), "{}", message(&back));
    }
    // The copy that service was forced on, after the other one took over again.
    let newer = seen("P/1/-/9", "NULL/s", &forced(Outcome::Succeeded));
    assert_eq!(reason(&newer), Reason::DatabaseNotOnline, "{}", message(&newer));
    let damaged = seen("NULL/s", "P/1/-/8", &at_home());
    assert_ne!(reason(&damaged), Reason::ServiceForced, "{}", message(&damaged));
}

/// SUSPENDED behind an isolated old principal is no automatic failover.
#[test]
fn isolated_principal_beside_a_suspended_one_is_not_connected_again() {
    for (newer, forced) in [("P/0/C/8", true), ("P/1/C/8", false)] {
        for want in Seat::BOTH {
            let apart = plan(&desired(want), &observation("P/1/D/7", newer), &at_home(), NOW);
            let verdict = &apart.types[&TY].verdict;
            let step = verdict.step.as_deref().unwrap_or_default();
            let text = format!("{} {step}", verdict.message);
            assert_eq!(text.contains("docs/reasons/ServiceForced.md"), forced, "{newer} {want}: {text}");
            assert_eq!(text.contains("repair the network"), !forced, "{newer} {want}: {text}");
        }
    }
}

/// The survivor is still the mirror while the statement is in flight: the old principal must not be started by then either.
#[test]
fn old_principal_is_not_started_while_service_is_forced() {
    let lost = observation("away", "M/1/-");
    let consented = consented(&lost);
    let begun = plan(&consented, &lost, &at_home(), NOW);
    let mut sent = lost.clone();
    sent.statements = [(DatabaseName::new("LcsLog"), StatementState::Sent)].into();
    let in_flight = plan(&consented, &sent, &begun.persisted, after(5));
    assert_eq!(reason(&in_flight), Reason::Moving, "{}", message(&in_flight));
    assert!(
        message(&in_flight).contains("do not start the primary sql-primary, let no client reach it"),
        "{}",
        message(&in_flight)
    );
    let page = |plan: &Plan| plan.types[&TY].before_start(&lost.pairs[super::tests::store()], Seat::Primary);
    assert_eq!(page(&in_flight), Some(Reason::ServiceForced));
    assert_eq!(page(&plan(&desired(Seat::Primary), &lost, &at_home(), NOW)), None, "nothing is forced");
}

/// The databases are those whose data can be lost, each with its state before.
#[test]
fn end_of_a_forced_service_is_remembered_with_its_databases_and_its_cause() {
    let lost = observation("away", "M/1/-");
    let begun = plan(&consented(&lost), &lost, &at_home(), NOW);
    let mut gone = observation("away", "away");
    gone.statements.insert(DatabaseName::new("LcsLog"), StatementState::Answered(Answer::Accepted));
    let over = plan(&desired(Seat::Primary), &gone, &begun.persisted, after(301));
    let ended = over.ended.as_ref().unwrap();
    let last = &over.persisted.last[&TY];
    assert!(last.detail.is_some() && last.detail == ended.detail, "{last:?}");
    let before = &begun.persisted.operation.as_ref().unwrap().databases[0];
    assert_eq!(last.forced, [(before.name.clone(), before.role_sequence)].into());
}

/// The guard in the batch compares the name of the partner: without it, nothing could be sent, and the consent would be used.
#[test]
fn forced_service_without_the_name_of_the_partner_is_refused() {
    for (name, steps) in [("", 0), ("SQL-PRIMARY", 1)] {
        let mut lost = observation("away", "M/1/-");
        let ServerObservation::Available { server, .. } = &mut lost.pairs[super::tests::store()].mirror else {
            panic!()
        };
        for database in std::sync::Arc::make_mut(server).databases.values_mut() {
            database.mirroring.as_mut().unwrap().partner_instance = name.to_owned();
        }
        let decided = plan(&consented(&lost), &lost, &at_home(), NOW);
        assert_eq!(decided.steps.len(), steps, "{name}: {}", message(&decided));
        assert_eq!(message(&decided).contains("names no server as its partner"), steps == 0, "{}", message(&decided));
    }
}

/// One of two databases is not open, so that the message about the forced service does not apply.
#[test]
fn old_principal_with_a_closed_database_is_still_the_older_one() {
    let mut persisted = forced(Outcome::Succeeded);
    let both = ["LcsLog", "QoEMetrics"].map(DatabaseName::new);
    let tracking = persisted.tracking.get_mut(&TY).unwrap();
    tracking.sessions = both.iter().map(|name| (name.clone(), Guid::from_bytes([1; 16]))).collect();
    let persisted = with_roles(persisted);
    let mut two = desired(Seat::Primary);
    two.types[0].databases = both.to_vec();
    let replaced = plan(&two, &observation_of_two(["away", "P/1/-/8"], ["away", "P/1/-/8"]), &persisted, NOW).persisted;
    let rows = observation_of_two(["P/1/-/7", "away"], ["P/1/-/7/r", "away"]);
    let alone = plan(&two, &rows, &replaced, NOW);
    assert_eq!(reason(&alone), Reason::TwoPrincipals, "{}", message(&alone));
    // The spec does not get its old principal as what it asked for.
    let mut mirror = two.clone();
    mirror.types[0].principal = Seat::Mirror;
    let kept = plan(&mirror, &observation_of_two(["away", "P/1/-/8"], ["away", "P/1/-/8"]), &replaced, NOW).persisted;
    let back = plan(&two, &observation_of_two(["P/1/-/7", "away"], ["P/1/-/7", "away"]), &kept, NOW);
    assert!(back.persisted.requests[&TY].pending, "{}", message(&back));
}
