//! What an administrator on call reads first: the summary, the message with its step, the quorum, and a plan without statements
//! that do not follow.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::LyncPoolMirrorStatus;
use crate::model::*;
use crate::plan::plan;
use crate::plan::tests::{NOW, TY, after, observation, pending, settled, store};
use crate::status::fixtures;

fn known() -> PersistedState {
    PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() }
}

fn seen(observation: &Observation, persisted: &PersistedState) -> LyncPoolMirrorStatus {
    fixtures::status(&fixtures::wanting("Primary"), observation, persisted)
}

#[track_caller]
fn condition<'a>(status: &'a LyncPoolMirrorStatus, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|condition| condition.type_ == kind).unwrap()
}

fn server(view: &mut ServerObservation) -> &mut Server {
    match view {
        ServerObservation::Available { server, .. } => Arc::make_mut(server),
        ServerObservation::Unavailable { .. } => panic!("{view:?}"),
    }
}

/// Server, partner and session of the row in the mirror seat, beside a server that is away.
fn with_third_server(row: &str) -> Observation {
    let mut rows = observation("away", row);
    for database in server(&mut rows.pairs[store()].mirror).databases.values_mut() {
        let row = database.mirroring.as_mut().unwrap();
        (row.partner_instance, row.guid) = ("SQL-THIRD".to_owned(), Guid::from_bytes([9; 16]));
    }
    rows
}

#[test]
fn summary_of_a_third_server_names_it() {
    let status = seen(&with_third_server("P/4/-"), &known());
    let ready = condition(&status, "Ready");
    assert_eq!(ready.reason, "PartnerMismatch");
    assert_eq!(
        ready.message,
        "Exposed. Archiving: the mirror SQL-MIRROR mirrors with SQL-THIRD. To fix: let no client reach sql-primary, and read docs/reasons/PartnerMismatch.md."
    );
    assert!(status.plan.is_empty(), "{:?}", status.plan);
}

#[test]
fn summary_of_two_principals_without_quorum_offers_no_copy_to_choose() {
    let status = seen(&observation("P/1/D/7/r", "P/1/D/8/r"), &known());
    assert_eq!(
        condition(&status, "Ready").message,
        "NotServed. Archiving: both servers are principal and without quorum. To fix: connect SQL-MIRROR with its partner or the witness again."
    );
    assert_eq!(condition(&status, "Serving").status, "False");
}

#[test]
fn summary_of_a_suspended_mirror_alone_names_the_suspension() {
    let status = seen(&observation("away", "M/0/-"), &known());
    let message = &condition(&status, "Ready").message;
    assert!(message.contains("refuses connections, and its mirror is SUSPENDED"), "{message}");
}

#[test]
fn message_of_an_unavailable_server_ends_with_a_step() {
    for (a, b, step) in [
        ("P/1/C", "away", "To fix: check SQL Server there, or correct the port."),
        ("away", "away", "To fix: if a Front End reaches neither, users have no service: start both."),
        ("P/4/C", "refused", "To fix: correct the login on that server, as the other one accepted the Secret."),
        // Started again, the old principal can serve a second copy.
        ("P/0/-", "away", "To fix: read docs/reasons/ServiceForced.md before it starts."),
    ] {
        let message = &seen(&observation(a, b), &known()).database_types[0].message;
        assert!(message.contains(step) && message.matches("To fix: ").count() == 1, "{a} {b}: {message}");
    }
    for (a, b) in [("P/2/C", "M/2/C"), ("P/1/C", "M/1/C"), ("away", "M/1/-"), ("away", "P/1/C")] {
        let message = &seen(&observation(a, b), &known()).database_types[0].message;
        assert!(!message.contains("start SQL Server"), "{a} {b}: {message}");
    }
}

#[test]
fn quorum_is_at_risk_where_the_witness_cannot_fail_over() {
    let mut unsafe_session = observation("P/4/C", "M/4/C");
    let pair = &mut unsafe_session.pairs[store()];
    for view in [&mut pair.primary, &mut pair.mirror] {
        for database in server(view).databases.values_mut() {
            database.mirroring.as_mut().unwrap().safety = Safety::Off;
        }
    }
    for (rows, status, reason) in [
        (observation("P/4/C", "M/4/C"), "False", "QuorumHealthy"),
        (observation("P/4/C", "NULL/s"), "True", "RunningExposed"),
        (observation("P/4/C", "NULL/r"), "True", "RunningExposed"),
        (observation("P/4/C", "M/4/C/s"), "True", "RunningExposed"),
        (observation("P/4/-", "NULL/s"), "False", "NoWitness"),
        // The copy of the principal itself: nothing shows its witness.
        (observation("NULL/r", "M/4/C"), "Unknown", "NotYetObserved"),
        (unsafe_session, "True", "SafetyOff"),
    ] {
        let found = seen(&rows, &known());
        let quorum = condition(&found, "QuorumAtRisk");
        assert_eq!((quorum.status.as_str(), quorum.reason.as_str()), (status, reason), "{rows:?}");
        assert!(status != "True" || quorum.message.contains("no automatic failover"), "{}", quorum.message);
    }
}

#[test]
fn synchronized_has_the_reason_of_a_recovery_that_does_not_begin() {
    let spec = fixtures::wanting("Primary");
    let rows = observation("NULL/p", "M/4/C");
    let first = plan(&spec.desired, &rows, &known(), NOW);
    let status = fixtures::rendered(&spec, &rows, &first, None);
    assert_eq!(condition(&status, "Synchronized").reason, "DatabaseRecovering");
    let overdue = plan(&spec.desired, &rows, &first.persisted, after(300));
    let status = fixtures::rendered(&spec, &rows, &overdue, None);
    assert_eq!(condition(&status, "Ready").reason, "DatabaseNotOnline");
    let synchronized = condition(&status, "Synchronized");
    assert_eq!(synchronized.reason, "DatabaseNotOnline");
    assert!(synchronized.message.contains("cannot be opened"), "{}", synchronized.message);
}

#[test]
fn plan_has_no_statement_that_does_not_follow() {
    let begun = plan(&fixtures::wanting("Mirror").desired, &observation("P/4/-", "M/4/-"), &pending(Seat::Mirror), NOW);
    assert!(begun.persisted.operation.is_some());
    let spec = fixtures::wanting("Mirror");
    let late = |a, b| {
        let rows = observation(a, b);
        let first = plan(&spec.desired, &rows, &begun.persisted, after(290));
        let planned = plan(&spec.desired, &rows, &first.persisted, after(301));
        let status = fixtures::rendered(&spec, &rows, &planned, None);
        (planned.types[&TY].verdict.reason, status.plan.len())
    };
    assert_eq!(late("P/1/-", "M/1/-"), (Reason::SwitchOverdue, 0));
    assert_eq!(late("P/1/-/7", "P/1/-/8"), (Reason::TwoPrincipals, 0));
    let held = |a, b| seen(&observation(a, b), &known()).plan.len();
    assert_eq!(held("P/1/D/7", "P/1/C/8"), 0, "isolated");
    assert_eq!(held("M/4/C/8", "P/4/C/8"), 1, "an approval releases it");
    let requested = |a, b| fixtures::status(&spec, &observation(a, b), &pending(Seat::Mirror)).plan.len();
    assert_eq!(requested("P/1/C", "M/1/C"), 1, "the obstacle ends");
}

#[test]
fn summary_names_what_keeps_a_move_or_a_principal_back() {
    let message = |rows: &Observation, principal: &str, persisted: &PersistedState| {
        let status = fixtures::status(&fixtures::wanting(principal), rows, persisted);
        condition(&status, "Ready").message.clone()
    };
    assert_eq!(
        message(&observation("P/1/D/7", "P/1/C/8"), "Primary", &known()),
        "Exposed. Archiving: SQL-MIRROR is principal, and SQL-PRIMARY has no quorum. To fix: repair the network of SQL-PRIMARY, then set principal: Mirror to keep it."
    );
    assert_eq!(
        message(&observation("P/2/C", "M/2/C"), "Mirror", &pending(Seat::Mirror)),
        "Exposed. Archiving: the failover to the mirror SQL-MIRROR waits until the mirror has caught up. No action is needed."
    );
    let mut elsewhere = observation("P/4/-", "M/1/-");
    for database in server(&mut elsewhere.pairs[store()].primary).databases.values_mut() {
        let row = database.mirroring.as_mut().unwrap();
        (row.partner_instance, row.guid) = ("SQL-THIRD".to_owned(), Guid::from_bytes([9; 16]));
    }
    assert_eq!(
        message(&elsewhere, "Primary", &known()),
        "Exposed. Archiving: SQL-PRIMARY is principal and mirrors with SQL-THIRD. To fix: name the two partners of one session in spec.sql, and remove no session."
    );
    let lost = fixtures::status(&fixtures::wanting("Primary"), &observation("P/1/D/r", "away"), &known());
    assert_eq!(lost.principals.as_deref(), Some("Archiving=Primary!"), "NoQuorum");
}

/// A move whose servers contradict each other does not end by itself. One that is only late may.
#[test]
fn move_with_two_principals_is_stalled() {
    let spec = fixtures::wanting("Mirror");
    let begun = plan(&spec.desired, &observation("P/4/-", "M/4/-"), &pending(Seat::Mirror), NOW);
    for (a, b, seconds, kind, reason) in [
        ("P/1/-/7", "P/1/-/8", 20, "Stalled", "TwoPrincipals"),
        ("M/1/-", "M/1/-", 20, "Stalled", "NoPrincipal"),
        ("P/1/-", "M/1/-", 301, "Reconciling", "SwitchOverdue"),
    ] {
        let rows = observation(a, b);
        let first = plan(&spec.desired, &rows, &begun.persisted, after(10));
        let planned = plan(&spec.desired, &rows, &first.persisted, after(seconds));
        let status = fixtures::rendered(&spec, &rows, &planned, None);
        let found = ["Reconciling", "Stalled"].map(|kind| (kind, condition(&status, kind)));
        let holds: Vec<&str> = found.iter().filter(|(_, one)| one.status == "True").map(|(kind, _)| *kind).collect();
        assert_eq!((holds, found[0].1.reason.as_str()), (vec![kind], reason), "{a} {b}");
    }
}

/// A suspension in the spec that does not do what its reader expects.
#[test]
fn summary_names_what_the_suspension_does_not_do() {
    let ended = "spec.suspend ended at 1970-01-01T00:00:00Z: remove it, or set a later until.";
    let goes_on = "spec.suspend does not stop the move of Archiving.";
    for (until, wanted, expected) in [
        (None, "Primary", None),
        (Some("1970-01-01T00:00:00Z"), "Primary", Some(ended)),
        (Some("2030-01-01T00:00:00Z"), "Primary", None),
        (None, "Mirror", Some(goes_on)),
        (Some("2030-01-01T00:00:00Z"), "Mirror", Some(goes_on)),
    ] {
        let suspended = fixtures::spec(|spec| {
            spec["databaseTypes"][0]["principal"] = wanted.into();
            spec["suspend"] = serde_json::json!({"reason": "patching", "until": until});
        });
        let mut rows = observation("P/4/C", "M/4/C");
        // The move began before the suspension, and its statement has no answer.
        let begun = plan(&fixtures::wanting(wanted).desired, &rows, &pending(Seat::Mirror), NOW).persisted;
        assert_eq!(begun.operation.is_some(), wanted == "Mirror");
        rows.statements = [(DatabaseName::new("LcsLog"), StatementState::Sent)].into();
        let status = fixtures::status(&suspended, &rows, &begun);
        let message = &condition(&status, "Ready").message;
        for note in [ended, goes_on] {
            assert_eq!(message.ends_with(note), expected == Some(note), "{until:?} {wanted}: {message}");
        }
        let running = "The move of Archiving goes on, and no other one starts until ";
        let message = &condition(&status, "Suspended").message;
        assert_eq!(message.starts_with(running), expected == Some(goes_on), "{message}");
    }
}

/// Each message about the server has the same step.
#[test]
fn no_message_advises_the_start_of_a_server_that_can_hold_a_second_copy() {
    for (a, b, page) in [("NULL", "away", "NotMirrored"), ("P/0/-", "away", "ServiceForced")] {
        let status = seen(&observation(a, b), &known());
        let step = format!("To fix: read docs/reasons/{page}.md before it starts.");
        let mirror = status.servers.iter().find(|server| server.seat == "Mirror").unwrap();
        for text in [mirror.message.as_deref().unwrap(), &condition(&status, "PartnersReachable").message] {
            assert!(text.ends_with(&step) && text.matches("To fix: ").count() == 1, "{a}: {text}");
        }
        let message = &status.database_types[0].message;
        assert!(!message.contains("check SQL Server there"), "{message}");
    }
}

/// The type is aligned, and what makes it Exposed is in its message too.
#[test]
fn message_of_an_aligned_type_names_a_lost_witness() {
    let alone = |server: &str| Some(format!("The {server} has lost the witness: there is no automatic failover"));
    let both = "Both partners have lost the witness: there is no automatic failover, and without either of them the databases stop".to_owned();
    for (a, b, lost) in [
        ("P/4/C", "M/4/C", None),
        ("P/4/D", "M/4/D", Some(both)),
        ("P/4/C", "M/4/D", alone("mirror SQL-MIRROR")),
        ("P/4/D", "M/4/C", alone("primary SQL-PRIMARY")),
    ] {
        let status = seen(&observation(a, b), &known());
        let message = &status.database_types[0].message;
        assert_eq!(message.contains("lost the witness"), lost.is_some(), "{a} {b}: {message}");
        let sentence = format!(" {}. To fix: start the witness", lost.unwrap_or_default());
        assert!(sentence.starts_with(" .") || message.contains(&sentence), "{a} {b}: {message}");
    }
}
