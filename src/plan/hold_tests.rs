//! What the hold states: why the type does not move, and the ways out that are possible now.

use super::tests::{NOW, TY, after, desired, failing_back, observation, observation_of_two, reason, settled, store};
use super::*;
use crate::model::*;

/// The state after both servers were seen with the principal on the primary.
fn at_home() -> PersistedState {
    PersistedState {
        requests: [(TY, Request { principal: Seat::Primary, generation: 2, pending: false })].into(),
        tracking: [(TY, settled(Seat::Primary))].into(),
        ..PersistedState::default()
    }
}

fn message(plan: &Plan) -> &str {
    &plan.types[&TY].verdict.message
}

/// The parts that a message has, and those that it must not have.
fn assert_parts(message: &str, present: &[&str], absent: &[&str]) {
    for part in present {
        assert!(message.contains(part), "{part:?} is missing: {message}");
    }
    for part in absent {
        assert!(!message.contains(part), "{part:?}: {message}");
    }
}

#[test]
fn hold_under_fail_back_states_what_the_fail_back_waits_for() {
    let never = plan(&failing_back(), &observation("M/4/C", "P/4/C"), &PersistedState::default(), NOW);
    assert_parts(message(&never), &["was in its seat once"], &["waits for a witness"]);
    let unwitnessed = plan(&failing_back(), &observation("M/4/-", "P/4/-"), &at_home(), NOW);
    assert_eq!(reason(&unwitnessed), Reason::UnexpectedPrincipal);
    assert_parts(message(&unwitnessed), &["waits for a witness"], &["was in its seat once"]);
}

#[test]
fn hold_offers_a_move_only_while_it_is_possible() {
    let drifted = observation("M/4/C", "P/4/C");
    let possible = plan(&desired(Seat::Primary), &drifted, &at_home(), NOW);
    assert_parts(message(&possible), &["set approve: {epoch:", "set principal: Mirror"], &["A server was away"]);
    let step = possible.types[&TY].verdict.step.clone().unwrap();
    assert_parts(&step, &["set principal: Mirror", "approve epoch"], &[]);

    let mut absent = at_home();
    absent.tracking.get_mut(&TY).unwrap().absence = Some(Absence::BackSince(NOW));
    let settling = plan(&desired(Seat::Primary), &drifted, &absent, after(1));
    assert_parts(message(&settling), &["A server was away", "policy.settleAfter"], &["set approve"]);
    let step = settling.types[&TY].verdict.step.clone().unwrap();
    assert_parts(&step, &["set principal: Mirror"], &["approve epoch"]);

    let away = plan(&desired(Seat::Primary), &observation("away", "P/1/C"), &at_home(), NOW);
    assert_parts(message(&away), &["A move is not possible now"], &["set approve"]);
}

#[test]
fn hold_states_why_the_approval_of_the_spec_does_not_apply() {
    let drifted = observation("M/4/C", "P/4/C");
    let held = plan(&desired(Seat::Primary), &drifted, &at_home(), NOW);
    let epoch = held.types[&TY].epoch.clone().unwrap();
    let approved = |epoch: Epoch| {
        let mut desired = desired(Seat::Primary);
        desired.types[0].approve = Some(Approval { epoch, until: Some(NOW) });
        plan(&desired, &drifted, &at_home(), NOW)
    };
    let other = approved(Epoch::new("6-0000"));
    assert_parts(message(&other), &["approve.epoch 6-0000 does not apply", epoch.as_str()], &["The approval ended"]);
    assert_parts(message(&approved(epoch)), &["The approval ended at 1970-01-01T00:00:00Z"], &["does not apply"]);
    assert_parts(message(&held), &[], &["does not apply", "The approval ended"]);
}

/// The seats are exchanged in the spec: the move is offered like that of a hold.
#[test]
fn exchange_offers_a_move_only_while_it_is_possible() {
    let exchanged = |a: &str, b: &str, absence| {
        let mut persisted = at_home();
        let tracking = persisted.tracking.get_mut(&TY).unwrap();
        let PairIdentity { primary, mirror } = tracking.pair.clone().unwrap();
        tracking.pair = Some(PairIdentity { primary: mirror, mirror: primary });
        tracking.absence = absence;
        let seen = plan(&desired(Seat::Primary), &observation(a, b), &persisted, after(1));
        assert_eq!(reason(&seen), Reason::SeatsExchanged, "{}", message(&seen));
        message(&seen).to_owned()
    };
    assert_parts(&exchanged("M/4/C", "P/4/C", None), &["set approve: {epoch:"], &[]);
    assert_parts(&exchanged("M/2/C", "P/2/C", None), &[], &["set approve"]);
    assert_parts(&exchanged("M/4/C", "P/4/C", Some(Absence::BackSince(NOW))), &[], &["set approve"]);
}

/// The other server must stay off while service may have been forced on the principal.
#[test]
fn step_of_a_hold_does_not_bring_back_a_server_beside_a_forced_principal() {
    for (row, forced) in [("P/0/C", true), ("P/1/-", true), ("P/1/C", false)] {
        let held = plan(&desired(Seat::Primary), &observation("away", row), &at_home(), NOW);
        assert_eq!(reason(&held), Reason::UnexpectedPrincipal, "{row}");
        let step = held.types[&TY].verdict.step.clone().unwrap();
        assert_eq!(step.contains("docs/reasons/ServiceForced.md"), forced, "{row}: {step}");
        assert_eq!(step.contains("bring sql-primary back"), !forced, "{row}: {step}");
    }
}

/// Each gate names the move and, if time opens it, when.
#[test]
fn gate_names_the_move_and_its_end() {
    let pending = super::tests::pending(Seat::Mirror);
    let healthy = observation("P/4/C", "M/4/C");
    let move_ = "Failover of Archiving to the mirror SQL-MIRROR";

    let mut suspended = desired(Seat::Mirror);
    suspended.suspend = Some(Suspend { reason: "patching".to_owned(), until: Some(after(60)) });
    let mut cooling = pending.clone();
    cooling.last.insert(TY, super::tests::attempt(Outcome::Succeeded));
    let mut tripped = PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..pending.clone() };
    tripped.requests.insert(TY, Request { principal: Seat::Mirror, generation: 2, pending: true });
    let tracking = tripped.tracking.get_mut(&TY).unwrap();
    (tracking.unrequested_switches, tracking.last_unrequested_switch) = (TRIPS, Some(NOW));
    for (desired, persisted, expected, part, until) in [
        (&suspended, &pending, Reason::Suspended, move_, after(60)),
        (&desired(Seat::Mirror), &cooling, Reason::Cooldown, move_, after(600)),
        (&desired(Seat::Mirror), &tripped, Reason::CircuitOpen, "Archiving", after(24 * 3600)),
    ] {
        let closed = plan(desired, &healthy, persisted, NOW);
        assert_eq!(reason(&closed), expected);
        assert_parts(message(&closed), &[part], &[]);
        assert_eq!(closed.types[&TY].verdict.until, Some(until), "{expected:?}");
    }
    let back = plan(&failing_back(), &observation("M/4/C", "P/4/C"), &at_home(), NOW);
    assert_parts(message(&back), &["Fail-back of Archiving to the primary SQL-PRIMARY"], &[]);
    assert_eq!(back.types[&TY].verdict.until, Some(after(1800)));
}

/// A transition ends at the bound, and sequences that differ have a bound of their own.
#[test]
fn transition_waits_until_its_bound() {
    for (a, b) in [("P/3/C", "M/3/C"), ("P/4/C/7", "M/4/C/9")] {
        let seen = plan(&desired(Seat::Primary), &observation(a, b), &at_home(), NOW);
        assert_eq!(seen.types[&TY].verdict.until, Some(after(300)), "{a} {b}");
    }
}

/// The names of a message are the databases with the obstacle.
#[test]
fn message_of_an_obstacle_names_the_databases_and_both_servers() {
    let mut desired = desired(Seat::Primary);
    desired.types[0].databases.push(DatabaseName::new("QoEMetrics"));
    let split = observation_of_two(["P/1/-/7", "P/1/-/8"], ["P/4/-", "M/4/-"]);
    let seen = plan(&desired, &split, &PersistedState::default(), NOW);
    assert_eq!(reason(&seen), Reason::TwoPrincipals);
    assert_parts(message(&seen), &["LcsLog"], &["QoEMetrics"]);

    let mut two_sessions = observation("P/1/-", "P/1/-");
    let ServerObservation::Available { server, .. } = &mut two_sessions.pairs[store()].mirror else { panic!() };
    for database in std::sync::Arc::make_mut(server).databases.values_mut() {
        database.mirroring.as_mut().unwrap().guid = Guid::from_bytes([9; 16]);
    }
    let seen = plan(&super::tests::desired(Seat::Primary), &two_sessions, &PersistedState::default(), NOW);
    assert_parts(message(&seen), &["primary SQL-PRIMARY", "mirror SQL-MIRROR", "DISCONNECTED"], &[]);

    let recovering = |row| {
        let seen = plan(&super::tests::desired(Seat::Primary), &observation(row, "M/1/C"), &at_home(), NOW);
        assert_eq!(reason(&seen), Reason::DatabaseRecovering, "{row}");
        message(&seen).to_owned()
    };
    let (pending, started) = (recovering("P/1/C/p"), recovering("P/1/C/r"));
    assert_parts(&pending, &["SQL-PRIMARY", "RECOVERY_PENDING", "missing"], &[]);
    assert_parts(&started, &["SQL-PRIMARY", "RECOVERING"], &["missing"]);
}

/// What brings service back depends on whether the witness is lost too.
#[test]
fn fix_of_a_lost_principal_names_a_lost_witness() {
    let pair = super::tests::pair("away", "M/1/-");
    let message = |witness| {
        let unavailable = Unavailable { cause: UnavailableCause::ConnectionRefused, detail: String::new() };
        Obstacle::PrincipalLost { seat: Seat::Primary, unavailable, witness, suspended: true }.message("LcsLog", &pair)
    };
    assert_parts(&message(WitnessLink::Disconnected), &["or the witness"], &["is forced"]);
    assert_parts(&message(WitnessLink::None), &["is forced"], &["or the witness"]);
}

/// What the line has to offer where the reason alone has no step.
#[test]
fn step_of_an_obstacle_names_its_server_or_its_endpoint() {
    let step = |rows: &Observation, want| plan(&desired(want), rows, &at_home(), NOW).types[&TY].verdict.clone();
    let mut frozen = observation("away", "P/1/C");
    let ServerObservation::Unavailable { unavailable, .. } = &mut frozen.pairs[store()].primary else { panic!() };
    unavailable.cause = UnavailableCause::Unresponsive;
    let held = step(&frozen, Seat::Primary).step.unwrap();
    assert!(held.starts_with("restart SQL Server on sql-primary if it answers no Front End"), "{held}");
    let mut rows = observation("P/1/C", "M/1/C");
    let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].mirror else { panic!() };
    let server = std::sync::Arc::make_mut(server);
    server.endpoint.as_mut().unwrap().started = false;
    let name = server.endpoint.as_ref().unwrap().name.clone();
    let stopped = step(&rows, Seat::Primary);
    let fix = format!("run ALTER ENDPOINT {name} STATE = STARTED there");
    assert!(stopped.step.as_ref().unwrap().starts_with(&fix) && stopped.message.contains(&fix), "{stopped:?}");
    let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].mirror else { panic!() };
    std::sync::Arc::make_mut(server).endpoint = None;
    assert_eq!(step(&rows, Seat::Primary).step.as_deref(), Some("create a mirroring endpoint"));
    let mut newer = observation("P/0/C", "M/0/C");
    let ServerObservation::Available { server, .. } = &mut newer.pairs[store()].primary else { panic!() };
    std::sync::Arc::make_mut(server).version = "12.0.6024.0".to_owned();
    let suspended = step(&newer, Seat::Primary).step.unwrap();
    assert_eq!(suspended, "if service was not forced, upgrade SQL-MIRROR, see docs/reasons/VersionMismatch.md");
}

/// Without a witness nothing failed over by itself, so that a suspended session on the other server may be a forced service.
#[test]
fn held_principal_of_a_suspended_session_may_be_forced_only_without_a_witness() {
    for (a, b, forced) in [("M/0/-/8", "P/0/-/8", true), ("M/0/C", "P/0/C", false), ("M/0/D", "P/0/D", false)] {
        let held = plan(&desired(Seat::Primary), &observation(a, b), &at_home(), NOW);
        let Verdict { reason, message, step, .. } = &held.types[&TY].verdict;
        assert_eq!(*reason, Reason::UnexpectedPrincipal);
        let page = if forced { "ServiceForced" } else { "MirroringSuspended" };
        assert_eq!(step.as_deref(), Some(&*format!("run no RESUME before you read docs/reasons/{page}.md")), "{a}");
        let sentence = " Service may have been forced on the mirror SQL-MIRROR.";
        assert_eq!(message.contains(sentence), forced, "{a}: {message}");
    }
}

/// A server was away: a move is not offered yet, and nothing has to be done first.
#[test]
fn step_of_a_held_principal_after_an_absence_is_to_keep_it() {
    let mut back = at_home();
    back.tracking.get_mut(&TY).unwrap().absence = Some(Absence::BackSince(NOW));
    let held = plan(&desired(Seat::Primary), &observation("M/4/C", "P/4/C"), &back, NOW);
    assert_eq!(held.types[&TY].verdict.step.as_deref(), Some("set principal: Mirror to keep it"));
}

/// Rows -> a part of the fix in the message, and the step of an obstacle on the line.
#[test]
fn step_of_a_state_of_both_servers_depends_on_what_is_read() {
    for (a, b, fix) in [
        ("P/4/C", "M/4/C/s", "To fix: do not fail over, and follow"),
        ("P/4/C/s", "M/4/C", "To fix: follow"),
        ("P/1/C/r", "M/1/C", "To fix: wait, restart nothing"),
    ] {
        let seen = plan(&desired(Seat::Primary), &observation(a, b), &at_home(), NOW);
        let message = &seen.types[&TY].verdict.message;
        assert!(message.contains(fix), "{a} {b}: {message}");
    }
    for (a, b, seat, mirror, step) in [
        ("P/1/D", "away", Seat::Primary, false, "check sql-mirror from a Front End, and bring it or the witness back"),
        (
            "away",
            "M/1/D",
            Seat::Mirror,
            true,
            "check sql-primary from a Front End, and bring it back if it does not serve",
        ),
    ] {
        let pair = super::tests::pair(a, b);
        let unseen = Obstacle::NoQuorum { seat, mirror };
        assert_eq!(unseen.step(&pair).as_deref(), Some(step));
        assert!(unseen.fix(&pair).unwrap().starts_with("check from a Front End whether"), "{unseen:?}");
    }
    let pair = super::tests::pair("P/1/D", "M/1/D");
    let read = Obstacle::NoQuorum { seat: Seat::Primary, mirror: false };
    assert_eq!((read.step(&pair), read.fix(&pair).as_deref()), (None, Some("bring back the partner or the witness")));
    let outside = Obstacle::PartnerOutside { seat: Seat::Primary, names: "OLD".into(), expected: "SQL-MIRROR".into() };
    assert!(outside.step(&pair).unwrap().starts_with("remove no session, compare names"));
    let shown = Shown { role: Role::Principal, state: MirroringState::Disconnected, online: true, partner: "X".into() };
    let sessions = Obstacle::TwoPrincipals { sessions: Some((shown.clone(), shown)) };
    assert!(sessions.step(&pair).unwrap().starts_with("cut the clients off one copy, remove no session"));
    assert!(!sessions.message("LcsLog", &pair).contains("link"));
    for (started, fix) in [(true, "give m the role PARTNER or ALL"), (false, "run ALTER ENDPOINT m STATE = STARTED")] {
        let endpoint = Some(MirroringEndpoint { name: "m".into(), started, partner: false, port: None });
        let stopped = Obstacle::EndpointStopped { seat: Seat::Mirror, endpoint };
        assert!(stopped.step(&pair).unwrap().starts_with(fix));
    }
}

/// The principal is held on the other server, and an obstacle keeps it from moving: what comes before the choice of its seat.
#[test]
fn step_of_a_held_principal_comes_before_the_choice_of_its_seat() {
    for (a, b, first) in [
        ("M/2/C", "P/2/C", "wait until it is synchronized, then "),
        ("M/1/C", "P/1/C", "see status.databaseTypes[].message, then "),
        ("away", "P/1/C/8", "bring sql-primary back, then "),
        ("refused", "P/1/C/8", "see status.servers[].message, then "),
        ("P/1/D/7", "P/1/C/8", "repair the network of SQL-PRIMARY, then "),
        ("M/4/C", "P/4/C", ""),
    ] {
        let held = plan(&desired(Seat::Primary), &observation(a, b), &at_home(), NOW);
        let Verdict { reason, step, .. } = &held.types[&TY].verdict;
        assert_eq!(*reason, Reason::UnexpectedPrincipal, "{a} {b}");
        let expected = format!("{first}set principal: Mirror to keep it");
        assert!(step.as_ref().is_some_and(|step| step.starts_with(&expected)), "{a} {b}: {step:?}");
    }
}
