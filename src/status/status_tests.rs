//! The parts of a status, row by row: conditions, planned statements, history and the next window.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fixtures::{UID, observed, observed_stores, rendered, spec, status, wanting};
use crate::api::{LyncPoolMirrorStatus, ParsedSpec};
use crate::model::*;
use crate::plan::plan;
use crate::plan::tests::{NOW, TY, after, pending, settled};
use crate::status::age::CONFIRMED_FOR;
use crate::status::{Input, render};

fn edited(observation: &mut Observation, seat: Seat, edit: impl Fn(&mut Server)) {
    for pair in observation.pairs.iter_mut() {
        let view = if seat == Seat::Primary { &mut pair.primary } else { &mut pair.mirror };
        if let ServerObservation::Available { server, .. } = view {
            edit(Arc::make_mut(server));
        }
    }
}

/// Status, reason and message of a condition. None: it is not published.
fn condition<'a>(status: &'a LyncPoolMirrorStatus, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let mut found = status.conditions.iter().filter(|condition| condition.type_ == kind);
    let condition = found.next()?;
    assert!(found.next().is_none(), "{kind} is published twice");
    Some((&condition.status, &condition.reason, &condition.message))
}

fn fresh(spec: &ParsedSpec, observation: &Observation) -> LyncPoolMirrorStatus {
    status(spec, observation, &PersistedState::default())
}

#[test]
fn conditions_of_a_spec_with_an_unusable_type_are_not_good() {
    let partial = spec(|spec| {
        spec["databaseTypes"] = json!([
            {"type": "Archiving", "principal": "Primary"},
            {"type": "User", "principal": "Primary", "databases": []},
        ]);
    });
    let whole = wanting("Primary");
    for (spec, expected) in [(&whole, "True"), (&partial, "Unknown")] {
        let status = fresh(spec, &observed("P/4/C", "M/4/C"));
        for kind in ["PrincipalsAligned", "Synchronized", "PartnersReachable", "Serving"] {
            assert_eq!(condition(&status, kind).unwrap().0, expected, "{kind}");
        }
        let drifted = fresh(spec, &observed("M/4/C", "P/4/C"));
        assert_eq!(condition(&drifted, "PrincipalsAligned").unwrap().0, "False", "what is bad stays so");
    }
}

#[test]
fn conditions_of_others_and_the_last_comparison_stay() {
    let (spec, rows) = (wanting("Primary"), observed("P/4/C", "M/4/C"));
    let plan = plan(&spec.desired, &rows, &PersistedState::default(), NOW);
    let mut before = rendered(&spec, &rows, &plan, None);
    let mut foreign = before.conditions[0].clone();
    foreign.type_ = "Example".to_owned();
    let mut drift = before.conditions[0].clone();
    (drift.type_, drift.message) = ("PostSwitchDrift".to_owned(), "1 object differs".to_owned());
    before.conditions.extend([foreign.clone(), drift.clone()]);
    let after = rendered(&spec, &rows, &plan, Some(&before));
    assert_eq!(after.conditions.len(), before.conditions.len());
    assert!(after.conditions.contains(&foreign) && after.conditions.contains(&drift), "{:#?}", after.conditions);
}

/// A move under way is progress, even while another type waits for an administrator.
#[test]
fn ready_conditions_during_a_move_are_reconciling() {
    let two = spec(|spec| {
        spec["databaseTypes"] = json!([
            {"type": "Archiving", "principal": "Mirror"},
            {"type": "Monitoring", "principal": "Primary", "databases": ["missing"]},
        ]);
    });
    let rows = observed("P/4/C", "M/4/C");
    for (persisted, expected) in
        [(PersistedState::default(), ["False", "True"]), (pending(Seat::Mirror), ["True", "False"])]
    {
        let status = status(&two, &rows, &persisted);
        let states = ["Reconciling", "Stalled"].map(|kind| condition(&status, kind).unwrap().0);
        assert_eq!(states, expected, "{:?}", status.operation);
    }
}

#[test]
fn credentials_are_stale_if_a_server_refuses_a_fresh_login() {
    for (cause, published) in
        [(Some(UnavailableCause::LoginFailed), true), (Some(UnavailableCause::TimedOut), false), (None, false)]
    {
        let mut rows = observed("P/4/C", "M/4/C");
        edited(&mut rows, Seat::Mirror, |server| {
            server.stale_login = cause.map(|cause| Unavailable { cause, detail: "refused.".to_owned() });
        });
        let status = fresh(&wanting("Primary"), &rows);
        let found = condition(&status, "CredentialsStale");
        assert_eq!(found.map(|(status, ..)| status), published.then_some("True"), "{cause:?}");
        assert!(found.is_none_or(|(.., message)| message.contains("mirror SQL-MIRROR")), "{found:?}");
    }
}

#[test]
fn encryption_is_weak_in_the_modes_disabled_and_legacy() {
    for (mode, method, reason) in [
        ("Verify", "SqlLogin", None),
        ("TrustServerCertificate", "SqlLogin", None),
        ("Legacy", "SqlLogin", Some("LegacyTls")),
        ("Disabled", "Kerberos", Some("TlsDisabled")),
    ] {
        let spec = spec(|spec| {
            spec["sql"]["tls"] = json!({"mode": mode});
            spec["sql"]["auth"]["method"] = json!(method);
        });
        let status = fresh(&spec, &observed_stores(&spec, "P/4/C", "M/4/C"));
        let found = condition(&status, "WeakEncryption");
        assert_eq!(found.map(|(status, reason, _)| (status, reason)), reason.map(|reason| ("True", reason)), "{mode}");
    }
}

#[test]
fn suspension_that_ended_is_named_until_it_is_removed() {
    for (suspend, status, ended) in [
        (Value::Null, "False", false),
        (json!({"reason": "patching"}), "True", false),
        (json!({"reason": "patching", "until": "1970-01-01T00:00:01Z"}), "True", false),
        (json!({"reason": "patching", "until": "1970-01-01T00:00:00Z"}), "False", true),
    ] {
        let spec = spec(|spec| spec["suspend"] = suspend.clone());
        let rendered = fresh(&spec, &observed("M/4/C", "P/4/C"));
        let (found, _, message) = condition(&rendered, "Suspended").unwrap();
        assert_eq!((found, message.contains("ended at 1970-01-01T00:00:00Z")), (status, ended), "{suspend}: {message}");
    }
}

/// The witness of the spec against the sessions of both partners and against the witness itself.
#[test]
fn witness_of_the_spec_is_compared_with_the_sessions() {
    let declared = spec(|spec| {
        spec["sql"]["witness"] = json!({"host": "sql-w"});
        spec["databaseTypes"][0]["principal"] = json!("Primary");
    });
    let session = |guid: u8| Witnessed {
        database: DatabaseName::new("LcsLog"),
        guid: Guid::from_bytes([guid; 16]),
        principal: "SQL-PRIMARY".to_owned(),
        mirror: "SQL-MIRROR".to_owned(),
        role_sequence: 7,
    };
    for (name, spec, link, witnessed, sysadmin, mismatch) in [
        ("no witness in the spec", &wanting("Primary"), "-", None, true, false),
        ("no witness of the session", &declared, "-", None, true, true),
        ("the witness is not read", &declared, "C", None, true, false),
        ("the witness knows the session", &declared, "C", Some(1), true, false),
        ("the witness knows another session", &declared, "C", Some(9), true, true),
        ("the witness hides its sessions", &declared, "C", Some(9), false, false),
        ("the session is not connected to its witness", &declared, "D", Some(9), true, false),
    ] {
        let mut rows = observed(&format!("P/4/{link}"), &format!("M/4/{link}"));
        for pair in rows.pairs.iter_mut() {
            pair.witness = witnessed.map(|guid| {
                let ServerObservation::Available { server, .. } = &pair.primary else { panic!() };
                let mut server = Server { name: "SQL-W".to_owned(), sysadmin, ..Server::clone(server) };
                server.witnessed = vec![session(guid)];
                ServerObservation::Available { address: "sql-w".to_owned(), server: Arc::new(server) }
            });
        }
        let status = fresh(spec, &rows);
        let (_, reason, message) = condition(&status, "QuorumAtRisk").unwrap();
        assert_eq!(reason == "WitnessMismatch", mismatch, "{name}: {reason} {message}");
        assert!(!mismatch || message.contains("LcsLog"), "{name}: {message}");
        assert_eq!(witnessed.is_some() && mismatch, message.contains("does not list this session"), "{message}");
    }
}

/// Without a row of the principal, a statement is wanted unless the principals were last seen where the spec wants them.
#[test]
fn planned_statements_of_unread_servers_depend_on_the_last_observation() {
    let with = |tracking: Option<TypeTracking>, pending| {
        let mut persisted = PersistedState::default();
        persisted.requests.insert(TY, Request { principal: Seat::Primary, generation: 2, pending });
        persisted.tracking.extend(tracking.map(|tracking| (TY, tracking)));
        status(&wanting("Primary"), &observed("away", "away"), &persisted).plan.len()
    };
    assert_eq!(with(None, false), 1);
    assert_eq!(with(Some(settled(Seat::Mirror)), false), 1);
    assert_eq!(with(Some(settled(Seat::Primary)), false), 0);
    assert_eq!(with(Some(settled(Seat::Primary)), true), 1);
}

#[test]
fn next_window_is_shown_only_while_a_fail_back_waits() {
    let windows = spec(|spec| {
        spec["databaseTypes"][0]["principal"] = json!("Primary");
        spec["policy"] = json!({
            "unrequestedSwitch": "FailBack",
            "maintenanceWindows": [{"schedule": "0 2 * * FRI", "duration": "1h", "timeZone": "UTC"}],
        });
    });
    let at_home = PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() };
    let next = |a, b| status(&windows, &observed(a, b), &at_home).next_maintenance_window.map(|at| at.0);
    assert_eq!(next("M/4/C", "P/4/C"), Some(after(26 * 3600)));
    assert_eq!(next("P/4/C", "M/4/C"), None);
}

/// What a server answered to a statement is part of the history.
#[test]
fn history_has_the_answer_of_the_server() {
    let detail = || "busy".to_owned();
    for (statement, expected) in [
        (StatementState::Answered(Answer::Refused { number: 1404, detail: detail() }), "error 1404: busy"),
        (StatementState::Answered(Answer::GuardRefused { detail: detail() }), "refused by the guard: busy"),
        (StatementState::Answered(Answer::NotSent { detail: detail(), limited: false }), "not sent: busy"),
        (StatementState::Answered(Answer::Lost { detail: detail() }), "lost: busy"),
        (StatementState::Answered(Answer::Accepted), "done"),
    ] {
        let (spec, mut rows) = (wanting("Mirror"), observed("P/4/C", "M/4/C"));
        let begun = plan(&spec.desired, &rows, &pending(Seat::Mirror), NOW);
        rows.statements = [(DatabaseName::new("LcsLog"), statement)].into();
        let over = plan(&spec.desired, &rows, &begun.persisted, after(300));
        assert!(over.ended.is_some());
        let status = rendered(&spec, &rows, &over, None);
        assert_eq!(status.history[0].databases[0].answer.as_deref(), Some(expected));
    }
}

/// A limit of the operator that lasts must not replace the moves of the past by its own retries.
#[test]
fn history_has_one_entry_for_a_move_that_a_limit_of_the_operator_prevents_again_and_again() {
    let (mut spec, rows) = (wanting("Mirror"), observed("P/4/C", "M/4/C"));
    spec.desired.policy.cooldown = std::time::Duration::ZERO;
    for (limited, entries, attempts) in [(true, 1, 3), (false, 3, 1)] {
        let (mut persisted, mut before, mut now) = (pending(Seat::Mirror), None, 0);
        for _ in 0..3 {
            let begun = plan(&spec.desired, &rows, &persisted, after(now));
            assert_eq!(begun.steps.len(), 1, "limited: {limited}, {now} s");
            let answer = Answer::NotSent { detail: format!("busy at {now} s"), limited };
            let mut answered = rows.clone();
            answered.statements = [(DatabaseName::new("LcsLog"), StatementState::Answered(answer))].into();
            let over = plan(&spec.desired, &answered, &begun.persisted, after(now + 300));
            before = Some(rendered(&spec, &answered, &over, before.as_ref()));
            let at_once = plan(&spec.desired, &rows, &over.persisted, after(now + 300));
            assert!(at_once.steps.is_empty(), "limited: {limited}: the next move has a pause");
            (persisted, now) = (over.persisted, now + 400);
        }
        let history = before.unwrap().history;
        assert_eq!((history.len(), history[0].attempts), (entries, attempts), "limited: {limited}");
        assert_eq!(history[0].started_at.0, after(if limited { 0 } else { 800 }), "limited: {limited}");
    }
}

/// A status that does not change is written again now and then: its age shows whether the operator runs.
#[test]
fn observed_time_is_that_of_the_last_change_or_of_the_last_ten_minutes() {
    let spec = wanting("Primary");
    let at = |before: Option<&LyncPoolMirrorStatus>, a: &str, second: u64| {
        let (rows, now) = (observed(a, "M/4/C"), after(second));
        let plan = plan(&spec.desired, &rows, &pending(Seat::Primary), NOW);
        let timings = PhaseTimings::default();
        let last_reads = Default::default();
        let input = Input {
            spec: &spec,
            uid: UID,
            observation: &rows,
            plan: &plan,
            timings,
            drift: None,
            last_reads: &last_reads,
            before,
            now,
        };
        render(&input)
    };
    let time = |status: &LyncPoolMirrorStatus| status.observed_time.as_ref().unwrap().0;
    let young = CONFIRMED_FOR.as_secs();
    let first = at(None, "P/4/C", 0);
    assert_eq!(time(&first), after(0));
    for (a, second, expected) in [("P/4/C", young - 1, 0), ("P/4/C", young, young), ("P/1/C", 1, 1)] {
        let next = at(Some(&first), a, second);
        assert_eq!((time(&next), next == first), (after(expected), expected == 0), "{a} {second}");
    }
    // A clock that jumped, or an edited status.
    let mut future = first.clone();
    future.observed_time = at(None, "P/4/C", 5_000).observed_time;
    assert_eq!(time(&at(Some(&future), "P/4/C", 7)), after(7));
}

/// The risk is too long for the line of `kubectl get`: the line still differs from that of a healthy pool.
#[test]
fn summary_of_a_ready_resource_at_risk_is_never_that_of_a_healthy_one() {
    for host in ["sql-w", "sql-w.a-long-department.a-long-division.contoso.com"] {
        let declared = spec(|spec| {
            spec["sql"]["witness"] = json!({"host": host, "instance": "LYNCWITNESS"});
            spec["databaseTypes"][0]["principal"] = json!("Primary");
        });
        let status = fresh(&declared, &observed("P/4/-", "M/4/-"));
        let (state, _, message) = condition(&status, "Ready").unwrap();
        assert_eq!(state, "True");
        assert!(message.chars().count() <= super::LIMIT, "{message}");
        assert!(message.contains("SET WITNESS"), "{message}");
    }
}
