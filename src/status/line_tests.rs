//! What the line of `kubectl get` has for the one on call: the names, the wait that ends by itself, the consequence.

use std::sync::Arc;

use super::Summary;
use super::fixtures::{observed, rendered, spec, wanting};
use super::summary::LIMIT;
use crate::model::*;
use crate::plan::tests::{NOW, TY, after, attempt, settled, store};
use crate::plan::{Plan, plan};

fn text(plan: &Plan, observation: &Observation) -> String {
    let planned = &plan.types[&TY];
    let pair = observation.pair(planned.desired_type.store);
    Summary { planned, pair, operation: None, unreachable_since: [None; 2] }.text(0)
}

fn at_home() -> PersistedState {
    PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() }
}

/// The rows (`-`: the database does not exist there), the further databases in the same state, the name of the first one, and the start of what is going on.
#[test]
fn line_names_the_first_database_and_counts_the_others() {
    let long = "x".repeat(128);
    for (a, b, others, name, expected) in [
        ("-P/4/C", "M/4/C", 0, "LcsLog", "LcsLog does not exist on the primary SQL-PRIMARY"),
        ("P/4/C", "-M/4/C", 2, "LcsLog", "LcsLog (+2 more) does not exist on the mirror SQL-MIRROR"),
        ("NULL", "NULL", 1, "LcsLog", "LcsLog (+1 more) on the primary SQL-PRIMARY is not mirrored"),
        ("NULL", "M/1/C", 0, "LcsLog", "LcsLog on the primary SQL-PRIMARY is no longer mirrored"),
        ("P/4/C", "M/4/C/s", 1, "LcsLog", "LcsLog (+1 more) on the mirror SQL-MIRROR is SUSPECT"),
        ("P/4/C", "M/4/C/s", 1, &long, "a database (+1 more) on the mirror SQL-MIRROR is SUSPECT"),
    ] {
        let mut rows = observed(a.trim_start_matches('-'), b.trim_start_matches('-'));
        let pair = &mut rows.pairs[store()];
        for (view, row) in [(&mut pair.primary, a), (&mut pair.mirror, b)] {
            let ServerObservation::Available { server, .. } = view else { panic!() };
            if row.starts_with('-') {
                Arc::make_mut(server).databases.clear();
            }
        }
        let mut seen = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
        let findings = &mut seen.types.get_mut(&TY).unwrap().findings;
        findings[0].name = DatabaseName::new(name);
        let first = findings[0].clone();
        findings.extend(vec![first; others]);
        let line = text(&seen, &rows);
        assert!(line.contains(&format!(". Archiving: {expected}")), "{a} {b}: {line}");
        assert!(line.chars().count() <= LIMIT && !line.ends_with("..."), "{line}");
    }
}

/// Both servers are away. After a forced service the start of the old principal is a risk.
#[test]
fn line_of_a_total_outage_has_the_page_of_a_forced_service() {
    let mut forced = at_home();
    let to_server = Some("SQL-MIRROR".to_owned());
    forced.last.insert(TY, Attempt { cause: Cause::ForcedService, to_server, ..attempt(Outcome::Succeeded) });
    for (persisted, step) in [
        (at_home(), "To fix: if a Front End reaches neither, users have no service: start both."),
        (forced, "To fix: read docs/reasons/ServiceForced.md before a server starts."),
    ] {
        let rows = observed("away", "away");
        let seen = plan(&wanting("Primary").desired, &rows, &persisted, NOW);
        let line = text(&seen, &rows);
        assert!(line.ends_with(step), "{line}");
    }
}

#[test]
fn line_of_an_unknown_instance_has_the_instances_that_exist() {
    let mut rows = observed("P/4/C", "away");
    let ServerObservation::Unavailable { unavailable, .. } = &mut rows.pairs[store()].mirror else { panic!() };
    let detail = "The port is unknown. To fix: set instance to one that it knows (LYNC, RTC), start it.".to_owned();
    *unavailable = Unavailable { cause: UnavailableCause::InstanceNotFound, detail };
    let seen = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
    let line = text(&seen, &rows);
    assert!(line.ends_with("To fix: set instance to one that it knows (LYNC, RTC), start it."), "{line}");
}

/// The fix of a server is on the line of a reason that has none of its own, and behind a step of the verdict.
#[test]
fn line_has_the_step_of_the_verdict_then_of_the_reason_then_of_the_server() {
    use UnavailableCause::{ConnectionRefused, QueryFailed, TimedOut, Unresponsive};
    for (cause, verdict, expected) in [
        (QueryFailed, None, "answered the poll with an error. To fix: heal it."),
        (QueryFailed, Some("stop"), "answered the poll with an error. To fix: stop."),
        (ConnectionRefused, None, "refuses connections. To fix: check SQL Server there, or correct the port."),
        (TimedOut, None, "does not answer in time. To fix: check the server, its firewall and the network."),
        (Unresponsive, None, "accepts connections and does not answer. To fix: see docs/reasons/ConnectionTimedOut.md"),
    ] {
        let mut rows = observed("P/4/C", "away");
        let ServerObservation::Unavailable { unavailable, .. } = &mut rows.pairs[store()].mirror else { panic!() };
        *unavailable = Unavailable { cause, detail: "It failed. To fix: heal it.".to_owned() };
        let mut seen = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
        seen.types.get_mut(&TY).unwrap().verdict.step = verdict.map(str::to_owned);
        let line = text(&seen, &rows);
        assert!(line.contains(expected), "{cause:?}: {line}");
    }
}

#[test]
fn line_of_an_unread_principal_has_its_suspended_mirror() {
    for (mirror, suspended) in [("M/0/C", true), ("M/4/C", false)] {
        let rows = observed("refused", mirror);
        let seen = plan(&wanting("Primary").desired, &rows, &at_home(), NOW);
        let line = text(&seen, &rows);
        assert_eq!(line.contains("refuses the login, and its mirror is SUSPENDED."), suspended, "{line}");
        assert_eq!(seen.types[&TY].verdict.message.contains("Run no RESUME"), suspended);
    }
}

/// A suspension that ends by itself needs no edit.
#[test]
fn line_of_a_suspended_move_offers_to_wait_for_its_end() {
    for (until, step) in [
        (Some(after(600)), "To fix: wait, or remove spec.suspend."),
        (None, "To fix: remove spec.suspend to let it start."),
    ] {
        let mut desired = wanting("Mirror").desired;
        desired.suspend = Some(Suspend { reason: "patching".into(), until });
        let rows = observed("P/4/C", "M/4/C");
        let pending = crate::plan::tests::pending(Seat::Mirror);
        let seen = plan(&desired, &rows, &pending, NOW);
        assert_eq!(seen.types[&TY].verdict.reason, Reason::Suspended);
        let line = text(&seen, &rows);
        assert!(line.ends_with(step), "{line}");
    }
}

/// The consequence comes first, where there are enough characters for it.
#[test]
fn line_of_a_spec_with_a_problem_has_its_consequence() {
    let spec = spec(|spec| spec["sql"]["auth"]["kdcs"] = serde_json::json!(["kdc.contoso.com"]));
    let rows = observed("P/4/C", "M/4/C");
    let seen = plan(&spec.desired, &rows, &at_home(), NOW);
    let status = rendered(&spec, &rows, &seen, None);
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert!(ready.message.starts_with("Protected. No move starts. spec.sql.auth.kdcs [\"kdc."), "{}", ready.message);
}
