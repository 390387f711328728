//! The summary of a type, row by row: the server that it is about, and the step.

use std::sync::Arc;

use super::fixtures::{observed, wanting};
use super::summary::{fit, fit_after_service, of_databases, of_server};
use super::{LIMIT, Summary};
use crate::api::ParsedSpec;
use crate::model::*;
use crate::plan::tests::{NOW, TY, after, attempt, pending, settled, store};
use crate::plan::{Plan, Verdict, plan};

/// The summary of the only type, with the move in flight or before it began.
fn text(plan: &Plan, observation: &Observation, in_flight: bool) -> String {
    let planned = &plan.types[&TY];
    let pair = observation.pair(planned.desired_type.store);
    let operation = plan.persisted.operation.as_ref().filter(|_| in_flight);
    Summary { planned, pair, operation, unreachable_since: [None; 2] }.text(0)
}

fn at_home() -> PersistedState {
    PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() }
}

fn unavailable(observation: &mut Observation, causes: [UnavailableCause; 2]) {
    for pair in observation.pairs.iter_mut() {
        for (view, cause) in [&mut pair.primary, &mut pair.mirror].into_iter().zip(causes) {
            if let ServerObservation::Unavailable { unavailable, .. } = view {
                unavailable.cause = cause;
            }
        }
    }
}

/// A lost principal, and the consent to force service on its mirror.
fn consented() -> (Desired, Observation) {
    let ParsedSpec { mut desired, .. } = wanting("Primary");
    let rows = observed("away", "M/1/-");
    let epoch = plan(&desired, &rows, &at_home(), NOW).types[&TY].epoch.clone().unwrap();
    desired.types[0].force = Some(ForceService { epoch, until: jiff::Timestamp::MAX, fenced: true });
    (desired, rows)
}

#[test]
fn fit_cuts_the_last_candidate_to_the_limit() {
    assert_eq!(fit(["x".repeat(LIMIT + 1), "x".repeat(LIMIT)]), "x".repeat(LIMIT));
    let cut = fit(["x".repeat(LIMIT + 1)]);
    assert_eq!((cut.chars().count(), cut.ends_with("...")), (LIMIT, true));
    // The longest service, and a space after its period.
    let left = LIMIT - "Protected. ".len();
    assert_eq!(fit_after_service(["x".repeat(left + 1), "x".repeat(left)]), "x".repeat(left));
}

#[test]
fn step_that_is_too_long_is_in_the_message_of_the_type() {
    let rows = observed("P/4/C", "M/4/C");
    let mut plan = plan(&wanting("Primary").desired, &rows, &PersistedState::default(), NOW);
    plan.types.get_mut(&TY).unwrap().verdict.step = Some("x".repeat(LIMIT));
    assert!(text(&plan, &rows, false).ends_with(" See status.databaseTypes[].message."));
}

/// The causes of the primary and of the mirror, and the step.
#[test]
fn step_for_two_unread_servers_depends_on_both_causes() {
    use UnavailableCause::{ConnectionRefused, LoginFailed, PollsStopped, TimedOut};
    let network = "if a Front End reaches neither";
    for (causes, step, present) in [
        ([ConnectionRefused, TimedOut], network, true),
        ([LoginFailed, LoginFailed], network, false),
        ([ConnectionRefused, LoginFailed], network, false),
        ([ConnectionRefused, LoginFailed], "see status.servers[].message", true),
        ([LoginFailed, LoginFailed], "see status.servers[].message", false),
        ([PollsStopped, PollsStopped], "remove spec.suspend.stopPolls", true),
        ([LoginFailed, LoginFailed], "remove spec.suspend.stopPolls", false),
    ] {
        let mut rows = observed("away", "away");
        unavailable(&mut rows, causes);
        let plan = plan(&wanting("Primary").desired, &rows, &PersistedState::default(), NOW);
        let text = text(&plan, &rows, false);
        assert_eq!(text.contains(step), present, "{causes:?}: {text}");
    }
}

/// Before and after it has begun, a forced service is on the survivor, which is not where the spec wants the principal.
#[test]
fn summary_of_a_forced_service_names_the_survivor() {
    let (desired, rows) = consented();
    let begun = plan(&desired, &rows, &at_home(), NOW);
    let expected = "service is being forced on SQL-MIRROR";
    for in_flight in [false, true] {
        let text = text(&begun, &rows, in_flight);
        assert!(text.contains(expected), "{in_flight}: {text}");
    }
    let mut sent = rows.clone();
    sent.statements = [(DatabaseName::new("LcsLog"), StatementState::Sent)].into();
    let moving = plan(&desired, &sent, &begun.persisted, NOW);
    assert!(moving.types[&TY].next.is_empty());
    assert!(text(&moving, &sent, true).contains(expected), "{}", text(&moving, &sent, true));

    let healthy = observed("M/4/C", "P/4/C");
    let asked = Request { principal: Seat::Mirror, generation: 1, pending: false };
    let planned = plan(
        &wanting("Primary").desired,
        &healthy,
        &PersistedState { requests: [(TY, asked)].into(), ..at_home() },
        NOW,
    );
    assert_eq!(planned.types[&TY].verdict.reason, Reason::Moving);
    assert!(!text(&planned, &healthy, true).contains("forced"), "{}", text(&planned, &healthy, true));
}

#[test]
fn summary_after_a_forced_service_names_the_new_principal() {
    let mut persisted = at_home();
    persisted.last.insert(TY, Attempt { cause: Cause::ForcedService, ..attempt(Outcome::Succeeded) });
    for (a, b, server) in [("M/0/-/8", "P/0/-/8", "mirror SQL-MIRROR"), ("P/0/-/8", "M/0/-/8", "primary SQL-PRIMARY")] {
        let rows = observed(a, b);
        let seen = plan(&wanting("Primary").desired, &rows, &persisted, NOW);
        assert_eq!(seen.types[&TY].verdict.reason, Reason::ServiceForced);
        let text = text(&seen, &rows, false);
        assert!(text.contains(server), "{text}");
    }
}

/// Stopped polls are not a suspension of the moves.
#[test]
fn summary_of_databases_on_a_server_without_polls_is_about_the_polls() {
    let mut rows = observed("away", "M/4/C");
    unavailable(&mut rows, [UnavailableCause::PollsStopped; 2]);
    let plan = plan(&wanting("Primary").desired, &rows, &PersistedState::default(), NOW);
    let planned = &plan.types[&TY];
    let text = of_databases(planned, &planned.findings[0], "LcsLog");
    assert_eq!(text, "LcsLog: the operator does not poll the primary.");
}

/// The partner and the session that the principal in the mirror seat names.
#[test]
fn summary_of_a_third_server_names_the_principal_and_its_partner() {
    for (partner, session, expected) in [
        ("SQL-THIRD", 1, "SQL-MIRROR names SQL-THIRD as its partner"),
        ("", 1, "SQL-MIRROR does not name the other server as its partner"),
        // The mirror of the former session still names its partner.
        ("SQL-THIRD", 9, "SQL-MIRROR is principal and mirrors with SQL-THIRD"),
    ] {
        let mut rows = observed("M/4/C", "P/4/C");
        let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].mirror else { panic!() };
        for database in Arc::make_mut(server).databases.values_mut() {
            let row = database.mirroring.as_mut().unwrap();
            (row.partner_instance, row.guid) = (partner.to_owned(), Guid::from_bytes([session; 16]));
        }
        let plan = plan(&wanting("Primary").desired, &rows, &PersistedState::default(), NOW);
        let text = text(&plan, &rows, false);
        assert!(text.contains(expected), "{partner:?} {session}: {text}");
    }
}

/// The old principal answers alone, after the other server took over.
#[test]
fn summary_of_an_older_principal_names_both_servers() {
    let mut home = at_home();
    let roles = LastRoles { principal: Seat::Primary, primary: 7, mirror: 7, replaced: None };
    let tracking = home.tracking.get_mut(&TY).unwrap();
    tracking.roles = tracking.sessions.keys().map(|name| (name.clone(), roles)).collect();
    let desired = wanting("Primary").desired;
    let replaced = plan(&desired, &observed("away", "P/1/-/8"), &home, NOW);
    let rows = observed("P/1/-/7", "away");
    let alone = plan(&desired, &rows, &replaced.persisted, NOW);
    let text = text(&alone, &rows, false);
    let expected =
        "SQL-PRIMARY is principal, and sql-mirror took over later. To fix: cut the clients off SQL-PRIMARY, read";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn summary_of_an_overdue_move_names_partners_that_do_not_reach_each_other() {
    let desired = wanting("Mirror").desired;
    let begun = plan(&desired, &observed("P/4/-", "M/4/-"), &pending(Seat::Mirror), NOW);
    for (a, b, apart) in [("P/1/-", "M/1/-", true), ("P/3/C", "M/3/C", false)] {
        let rows = observed(a, b);
        let overdue = plan(&desired, &rows, &begun.persisted, after(301));
        let Verdict { reason, message, .. } = &overdue.types[&TY].verdict;
        assert_eq!(*reason, Reason::SwitchOverdue, "{a} {b}");
        assert_eq!(message.contains("To fix: repair the network between the mirroring endpoints"), apart, "{message}");
        let text = text(&overdue, &rows, true);
        assert_eq!(text.contains("overdue, and the partners do not reach each other"), apart, "{text}");
    }
}

/// The step that depends on the other server, or on the cause and not only on its reason.
#[test]
fn step_of_an_unread_server_depends_on_what_is_known_of_it() {
    use UnavailableCause::{LoginFailed, TimedOut, Unresponsive};
    for (a, b, causes, step) in [
        ("P/4/C", "away", [LoginFailed, LoginFailed], "correct the login on that server, as the other one accepted"),
        ("away", "M/0/-", [LoginFailed, LoginFailed], "correct the login on that server, as the other one accepted"),
        ("away", "away", [LoginFailed, LoginFailed], "correct the Secret, or the login on that server"),
        ("P/4/C", "away", [TimedOut, Unresponsive], "see docs/reasons/ConnectionTimedOut.md before a restart"),
        ("P/4/C", "away", [TimedOut, TimedOut], "check the server, its firewall and the network"),
        ("away", "NULL", [TimedOut, TimedOut], "read docs/reasons/NotMirrored.md before the other server starts"),
        ("NULL", "NULL", [TimedOut, TimedOut], "see docs/reasons/NotMirrored.md"),
    ] {
        let mut rows = observed(a, b);
        unavailable(&mut rows, causes);
        let seen = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
        let text = text(&seen, &rows, false);
        assert!(text.contains(step), "{a} {b} {causes:?}: {text}");
    }
}

/// The session of the other server is older than a change of the login there: it proves nothing of the Secret.
#[test]
fn step_of_a_refused_login_beside_a_stale_one_is_about_the_secret_too() {
    let mut rows = observed("P/4/C", "refused");
    for pair in rows.pairs.iter_mut() {
        let ServerObservation::Available { server, .. } = &mut pair.primary else { panic!() };
        let stale = Unavailable { cause: UnavailableCause::LoginFailed, detail: "refused".to_owned() };
        Arc::make_mut(server).stale_login = Some(stale);
    }
    let seen = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
    let text = text(&seen, &rows, false);
    assert!(text.ends_with("To fix: correct the Secret, or the login on that server."), "{text}");
}

/// In flight, a forced service asks to keep the fence. A planned failover needs nothing.
#[test]
fn step_of_a_move_in_flight_is_the_fence_of_a_forced_service_only() {
    let (desired, rows) = consented();
    let forced = plan(&desired, &rows, &at_home(), NOW);
    assert!(
        text(&forced, &rows, true)
            .ends_with(" To fix: do not start the old principal, let no client reach it, and wait.")
    );
    let healthy = observed("P/4/C", "M/4/C");
    let moved = plan(&wanting("Mirror").desired, &healthy, &pending(Seat::Mirror), NOW);
    assert!(text(&moved, &healthy, true).ends_with(" No action is needed."), "{}", text(&moved, &healthy, true));
}

#[test]
fn summary_after_a_forced_service_names_the_server_that_is_not_read() {
    let mut persisted = at_home();
    persisted.last.insert(TY, Attempt { cause: Cause::ForcedService, ..attempt(Outcome::Succeeded) });
    for (a, b, unread) in [("away", "P/1/-/8", true), ("M/0/-/8", "P/0/-/8", false)] {
        let rows = observed(a, b);
        let seen = plan(&wanting("Primary").desired, &rows, &persisted, NOW);
        assert_eq!(seen.types[&TY].verdict.reason, Reason::ServiceForced);
        let text = text(&seen, &rows, false);
        assert_eq!(text.contains("and sql-primary refuses connections"), unread, "{text}");
    }
}

/// The page of each risk of a start.
#[test]
fn summary_of_a_server_whose_start_is_a_risk_names_its_page() {
    let observation = observed("away", "away");
    let pair = observation.pairs.iter().next().unwrap();
    let unavailable = Unavailable { cause: UnavailableCause::ConnectionRefused, detail: "refused".to_owned() };
    for reason in [Reason::PartnerMismatch, Reason::NotMirrored, Reason::ServiceForced] {
        let text = of_server((Seat::Primary, pair), &unavailable, Some(reason), 0);
        assert!(text.ends_with(&format!("To fix: read docs/reasons/{reason}.md before it starts.")), "{text}");
    }
}

/// The summary is all that `kubectl get` shows.
#[test]
fn summary_of_a_move_names_the_server_that_is_not_read() {
    let desired = wanting("Mirror").desired;
    let begun = plan(&desired, &observed("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
    for (a, b, second, reason, named) in [
        ("P/4/C", "refused", 10, Reason::Verifying, Some("mirror")),
        ("P/3/C", "refused", 301, Reason::SwitchOverdue, Some("mirror")),
        ("refused", "M/3/C", 301, Reason::SwitchOverdue, Some("primary")),
        ("P/3/C", "M/3/C", 10, Reason::Verifying, None),
    ] {
        let rows = observed(a, b);
        let moving = plan(&desired, &rows, &begun.persisted, after(second));
        assert_eq!(moving.types[&TY].verdict.reason, reason, "{a} {b} {second}");
        let text = text(&moving, &rows, true);
        assert_eq!(text.contains("is not read"), named.is_some(), "{text}");
        assert!(named.is_none_or(|server| text.contains(&format!("{server} is not read"))), "{text}");
    }
}

/// A step of the verdict or of its message is not repeated, and the message has what the servers of the status contain.
#[test]
fn missing_step_is_that_of_the_cause_of_one_server() {
    use UnavailableCause::{ConnectionRefused, LoginFailed};
    for (a, step, message, missing) in [
        ("P/4/C", None, "Refused.", true),
        ("P/4/C", None, "Refused. To fix: start it.", false),
        ("P/4/C", Some("start it"), "Refused.", false),
        ("away", None, "Refused.", false),
    ] {
        let mut rows = observed(a, "away");
        unavailable(&mut rows, [LoginFailed, ConnectionRefused]);
        let mut plan = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
        let planned = plan.types.get_mut(&TY).unwrap();
        let Verdict { reason, message: text, step: verdict_step, .. } = &mut planned.verdict;
        (*reason, *text, *verdict_step) = (Reason::ConnectionRefused, message.to_owned(), step.map(str::to_owned));
        let pair = rows.pair(planned.desired_type.store);
        let summary = Summary { planned, pair, operation: None, unreachable_since: [None; 2] };
        assert_eq!(summary.missing_step().is_some(), missing, "{a} {step:?} {message}");
    }
}

/// A reason without a step of its own has that of the message of its server, if it is short enough.
#[test]
fn step_of_a_server_with_its_own_fix_is_on_the_line() {
    let long = "x".repeat(LIMIT);
    for (detail, expected) in [
        ("sql-primary answered with error 1222: locked. To fix: wait until it ends.", " To fix: wait until it ends."),
        ("sql-primary answered with error 8.", " To fix: see status.servers[].message."),
        (&format!("sql-primary failed. To fix: {long}."), " To fix: see status.servers[].message."),
    ] {
        let mut rows = observed("away", "M/4/C");
        let ServerObservation::Unavailable { unavailable, .. } = &mut rows.pairs[store()].primary else { panic!() };
        *unavailable = Unavailable { cause: UnavailableCause::QueryFailed, detail: detail.to_owned() };
        let plan = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
        let line = text(&plan, &rows, false);
        assert!(line.contains(expected) && line.contains("answered the poll with an error"), "{line}");
        // The other server is a mirror, which does not show whether clients are served.
        assert!(line.ends_with(" Check from a Front End."), "{line}");
    }
}

#[test]
fn step_of_two_servers_is_on_the_line_if_it_is_the_same() {
    for (other, shared) in [("add the CA", true), ("renew the certificate", false)] {
        let mut rows = observed("away", "away");
        let pair = &mut rows.pairs[store()];
        for (view, fix) in [(&mut pair.primary, "add the CA"), (&mut pair.mirror, other)] {
            let ServerObservation::Unavailable { unavailable, .. } = view else { panic!() };
            let detail = format!("No CA is known. To fix: {fix}.");
            *unavailable = Unavailable { cause: UnavailableCause::TlsFailed, detail };
        }
        let plan = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
        let line = text(&plan, &rows, false);
        assert_eq!(line.ends_with(" To fix: add the CA. Check from a Front End."), shared, "{line}");
    }
}

/// The rows of both servers, the wanted seat, and a part of the line that depends on more than the reason.
#[test]
fn line_of_a_state_without_fixed_words_has_its_server_and_its_step() {
    for (a, b, want, expected) in [
        ("away", "M/0/-", "Primary", "To fix: check from a Front End, then start SQL Server there."),
        (
            "P/4/C",
            "M/4/C/s",
            "Primary",
            "LcsLog on the mirror SQL-MIRROR is SUSPECT. To fix: do not fail over, and follow",
        ),
        ("P/4/C/s", "M/4/C", "Primary", "LcsLog on the primary SQL-PRIMARY is SUSPECT. To fix: follow"),
        ("M/0/C", "P/0/C", "Primary", "SQL-MIRROR is principal, and mirroring is SUSPENDED. To fix: run no RESUME"),
        ("P/1/-/7", "P/1/-/8", "Primary", "both servers hold the principal role. To fix: cut the clients off one copy"),
    ] {
        let rows = observed(a, b);
        let plan = plan(&wanting(want).desired, &rows, &at_home(), NOW);
        let line = text(&plan, &rows, false);
        assert!(line.contains(expected), "{a} {b}: {line}");
    }
    let mut sessions = observed("P/4/C", "P/4/C");
    let ServerObservation::Available { server, .. } = &mut sessions.pairs[store()].mirror else { panic!() };
    for database in Arc::make_mut(server).databases.values_mut() {
        database.mirroring.as_mut().unwrap().guid = Guid::from_bytes([9; 16]);
    }
    let other = plan(&wanting("Primary").desired, &sessions, &at_home(), NOW);
    let line = text(&other, &sessions, false);
    assert!(line.contains("both servers are principal, in different sessions"), "{line}");
}
