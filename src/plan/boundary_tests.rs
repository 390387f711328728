//! Values at the boundary of a rule: a row, a name or a duration just on each side of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::estimate::predict;
use super::finding::{Finding, assess, observed_principal};
use super::identity::{SameServers, compare, forget_foreign_state, record};
use super::obstacle::Severity;
use super::precondition::Preconditions;
use super::row::{is_stable, is_stale_principal, isolated_principal};
use super::tests::{NOW, desired, known_pair, observation, observation_of_two, pair, pending, settled, store};
use super::text::coarse;
use super::tracking::{failure_pause, tripped};
use super::types::Input;
use super::version::{is_newer, is_newer_release};
use super::*;
use crate::model::*;

const TY: DatabaseType = DatabaseType::Archiving;

fn name() -> DatabaseName {
    DatabaseName::new("LcsLog")
}

fn rows(a: &str, b: &str) -> (Mirroring, Mirroring) {
    let pair = pair(a, b);
    let row = |seat| pair.row(seat, &name()).unwrap().clone();
    (row(Seat::Primary), row(Seat::Mirror))
}

fn assessed(pair: &Pair) -> Finding {
    assess(&Preconditions::default(), pair, &name())
}

fn server(view: &mut ServerObservation) -> &mut Server {
    let ServerObservation::Available { server, .. } = view else { panic!() };
    Arc::make_mut(server)
}

fn address(view: &mut ServerObservation) -> &mut String {
    match view {
        ServerObservation::Available { address, .. } | ServerObservation::Unavailable { address, .. } => address,
    }
}

#[test]
fn mirroring_state_is_stable_unless_it_is_a_transition() {
    for (row, stable) in [("P/0/C", true), ("P/1/C", true), ("P/4/C", true), ("P/2/C", false), ("P/3/C", false)] {
        assert_eq!(is_stable(&rows(row, "M/4/C").0), stable, "{row}");
    }
}

#[test]
fn principal_is_stale_if_the_row_with_the_lower_sequence_was_connected() {
    for (a, b, stale) in [
        ("P/1/C/7", "P/4/C/8", false),
        ("P/4/C/7", "P/1/C/8", true),
        ("P/4/C/8", "P/1/C/7", false),
        ("P/1/C/8", "P/4/C/7", true),
        ("P/4/C/7", "P/4/C/7", false),
    ] {
        let (a_row, b_row) = rows(a, b);
        assert_eq!(is_stale_principal(&a_row, &b_row), stale, "{a} {b}");
    }
}

#[test]
fn principal_without_quorum_is_the_old_one_only_with_the_lower_sequence() {
    for (a, b, isolated) in [
        ("P/1/D/7", "P/1/C/8", Some(Seat::Primary)),
        ("P/1/C/8", "P/1/D/7", Some(Seat::Mirror)),
        ("P/1/D/7", "P/1/C/7", None),
        ("P/1/C/7", "P/1/D/7", None),
        ("P/1/D/8", "P/1/C/7", None),
        ("P/1/C/7", "P/1/D/8", None),
    ] {
        let (a_row, b_row) = rows(a, b);
        assert_eq!(isolated_principal(&a_row, &b_row), isolated, "{a} {b}");
    }
}

#[test]
fn version_that_is_unreadable_is_never_compared() {
    for (a, b) in [("11.0", ""), ("11.0", "unknown"), ("", "11.0"), ("", "")] {
        assert!(!is_newer(a, b) && !is_newer_release(a, b), "{a} {b}");
    }
}

#[test]
fn duration_is_rounded_up_to_the_next_step() {
    for (exact, step) in [
        (Duration::ZERO, 3),
        (Duration::from_secs(3), 3),
        (Duration::from_millis(3_001), 5),
        (Duration::from_secs(3600), 3600),
        (Duration::from_secs(3601), 7200),
        (Duration::from_secs(7201), 10_800),
    ] {
        assert_eq!(coarse(exact).as_secs(), step, "{exact:?}");
    }
}

#[test]
fn prediction_with_a_rate_of_zero_uses_the_assumed_rate() {
    let with = |rate| {
        let mut pair = pair("P/4/C", "M/4/C");
        let database = server(&mut pair.mirror).databases.get_mut(&name()).unwrap();
        (database.redo_queue_kb, database.redo_rate_kb) = (Some(20 * 1024), rate);
        predict(&pair, &name())
    };
    assert_eq!(with(Some(0)), Some(Duration::from_secs(23)));
    assert_eq!(with(Some(0)), with(None));
}

#[test]
fn server_that_was_not_read_is_the_same_one_at_its_former_address() {
    let known = known_pair();
    let decided = |a: &str, b: &str, edit: &dyn Fn(&mut Pair)| {
        let mut pair = pair(a, b);
        edit(&mut pair);
        compare(Some(&known), &pair)
    };
    assert_eq!(decided("P/4/C", "M/4/C", &|_| ()), SameServers::Yes);
    let exchange =
        |pair: &mut Pair| std::mem::swap(&mut server(&mut pair.primary).name, &mut server(&mut pair.mirror).name);
    assert_eq!(decided("P/4/C", "M/4/C", &exchange), SameServers::Exchanged);
    assert_eq!(decided("away", "away", &|_| ()), SameServers::Yes);
    assert_eq!(decided("away", "away", &|pair| *address(&mut pair.mirror) = "sql-c".to_owned()), SameServers::Unknown);
    assert_eq!(decided("P/4/C", "away", &|_| ()), SameServers::Yes);
    assert_eq!(decided("away", "M/4/C", &|_| ()), SameServers::Yes);
    assert_eq!(decided("P/4/C", "away", &|pair| *address(&mut pair.mirror) = "sql-c".to_owned()), SameServers::Other);
    assert_eq!(decided("away", "M/4/C", &|pair| *address(&mut pair.primary) = "sql-c".to_owned()), SameServers::Other);
}

#[test]
fn servers_are_exchanged_if_the_unread_one_has_the_address_of_the_other() {
    let known = known_pair();
    for seat in Seat::BOTH {
        for (former, expected) in
            [("sql-mirror", "sql-primary"), ("sql-primary", "sql-mirror")].map(|(a, b)| match seat {
                Seat::Primary => (a, b),
                Seat::Mirror => (b, a),
            })
        {
            let (a, b) = if seat == Seat::Primary { ("away", "M/4/C") } else { ("P/4/C", "away") };
            let mut pair = pair(a, b);
            let (unread, read) = match seat {
                Seat::Primary => (&mut pair.primary, &mut pair.mirror),
                Seat::Mirror => (&mut pair.mirror, &mut pair.primary),
            };
            *address(unread) = former.to_owned();
            *address(read) = expected.to_owned();
            server(read).name = known.server(seat).name.clone();
            let moved = former == known.server(seat.other()).address;
            let same = if moved { SameServers::Exchanged } else { SameServers::Other };
            assert_eq!(compare(Some(&known), &pair), same, "{seat:?} {former}");
        }
    }
}

#[test]
fn other_servers_without_a_visible_session_are_forgotten() {
    let mut observation = observation("NULL/r", "NULL/r");
    let pair = &mut observation.pairs[store()];
    for view in [&mut pair.primary, &mut pair.mirror] {
        server(view).name.insert_str(0, "OTHER-");
    }
    let mut persisted = PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..pending(Seat::Primary) };
    persisted.tracking.get_mut(&TY).unwrap().sessions = BTreeMap::new();
    let (desired, preconditions) = (desired(Seat::Primary), Preconditions::default());
    let input = Input { preconditions: &preconditions, desired: &desired, observation: &observation, now: NOW };
    let findings = [assessed(observation.pair(store()))];
    forget_foreign_state(&input, &mut persisted, &desired.types[0], &findings);
    assert!(persisted.tracking.is_empty() && persisted.requests.is_empty());
}

#[test]
fn identity_of_servers_that_do_not_agree_is_not_recorded() {
    let pair = pair("P/4/C", "NULL/r");
    let mut tracking = TypeTracking::default();
    record(&mut tracking, &pair, &[assessed(&pair)]);
    assert_eq!(tracking.pair, None);
}

/// Only a login that sees every database proves that one is missing.
#[test]
fn database_without_a_row_is_missing_only_for_a_login_that_sees_all() {
    for (view_any_database, sysadmin, expected, service) in [
        (true, false, Severity::Missing, Service::Protected),
        (false, true, Severity::Missing, Service::Exposed),
        (true, true, Severity::Missing, Service::Exposed),
        (false, false, Severity::Hidden, Service::Protected),
    ] {
        let mut pair = pair("P/4/C", "M/4/C");
        let other = server(&mut pair.mirror);
        (other.view_any_database, other.sysadmin) = (view_any_database, sysadmin);
        other.databases.clear();
        let finding = assessed(&pair);
        let severity = finding.obstacle.as_ref().unwrap().severity();
        assert_eq!((severity, finding.service), (expected, service), "{view_any_database} {sysadmin}");
        assert!(finding.obstacle.unwrap().questions_session());
    }
}

/// A mirror vouches for its partner only while it is connected and the operator reads nothing else of the partner.
#[test]
fn mirror_alone_names_its_partner_only_while_it_is_connected() {
    for (a, b, principal) in [
        ("away", "M/4/C", Some(Seat::Primary)),
        ("away", "M/2/C", Some(Seat::Primary)),
        ("away", "M/3/C", Some(Seat::Primary)),
        ("away", "M/1/C", None),
        ("away", "M/0/C", None),
        ("away", "M/9/C", None),
        ("NULL/r", "M/4/C", None),
        ("NULL", "M/4/C", None),
    ] {
        assert_eq!(assessed(&pair(a, b)).principal, principal, "{a} {b}");
    }
}

#[test]
fn principal_alone_has_no_quorum_only_if_it_is_isolated_and_not_open() {
    for (row, expected) in [
        ("P/1/D/r", Severity::NoQuorum),
        ("P/1/D", Severity::Unavailable),
        ("P/1/C/r", Severity::Unavailable),
        ("P/4/D/r", Severity::Unavailable),
    ] {
        assert_eq!(assessed(&pair(row, "away")).obstacle.unwrap().severity(), expected, "{row}");
    }
}

#[test]
fn one_visible_server_is_online_only_as_an_open_principal() {
    for (row, online) in [("P/1/C", true), ("P/1/C/r", false), ("M/4/C", false), ("M/1/-", false)] {
        assert_eq!(assessed(&pair("away", row)).online, online, "{row}");
    }
}

/// The row of the principal proves protection only with safety FULL and without a lost witness, whatever the mirror shows.
#[test]
fn service_is_protected_only_if_the_principal_shows_it() {
    for (row, safety, service) in [
        ("P/4/C", Safety::Full, Service::Protected),
        ("P/4/-", Safety::Full, Service::Protected),
        ("P/4/D", Safety::Full, Service::Exposed),
        ("P/4/C", Safety::Off, Service::Exposed),
    ] {
        let mut pair = pair(row, "M/4/C");
        let database = server(&mut pair.primary).databases.get_mut(&name()).unwrap();
        database.mirroring.as_mut().unwrap().safety = safety;
        assert_eq!(assessed(&pair).service, service, "{row} {safety:?}");
    }
}

#[test]
fn endpoint_is_usable_only_if_it_is_started_with_the_role_of_a_partner() {
    for (started, partner, obstacle) in [
        (true, true, None),
        (true, false, Some(Severity::EndpointStopped)),
        (false, true, Some(Severity::EndpointStopped)),
    ] {
        let mut pair = pair("P/4/C", "M/4/C");
        let endpoint = server(&mut pair.mirror).endpoint.as_mut().unwrap();
        (endpoint.started, endpoint.partner) = (started, partner);
        let severity = assessed(&pair).obstacle.map(|obstacle| obstacle.severity());
        assert_eq!(severity, obstacle, "{started} {partner}");
    }
}

#[test]
fn isolated_old_principal_leaves_the_state_of_the_new_one() {
    for (a, b, online) in [
        ("P/1/D/7/r", "P/1/C/8", true),
        ("P/1/D/7", "P/1/C/8/r", false),
        ("P/1/C/8", "P/1/D/7/r", true),
        ("P/1/C/8/r", "P/1/D/7", false),
    ] {
        assert_eq!(assessed(&pair(a, b)).online, online, "{a} {b}");
    }
}

#[test]
fn principals_of_a_type_are_split_only_if_both_seats_have_one() {
    let on = |principal| Finding { principal, ..assessed(&pair("P/4/C", "M/4/C")) };
    let (primary, mirror, nowhere) = (on(Some(Seat::Primary)), on(Some(Seat::Mirror)), on(None));
    assert_eq!(observed_principal(&[primary.clone(), mirror.clone()]), ObservedPrincipal::Split);
    assert_eq!(observed_principal(&[primary, nowhere.clone()]), ObservedPrincipal::Unknown);
    assert_eq!(observed_principal(&[mirror, nowhere]), ObservedPrincipal::Unknown);
}

#[test]
fn breaker_of_switches_closes_exactly_a_day_after_the_last_one() {
    let tracking =
        TypeTracking { unrequested_switches: TRIPS, last_unrequested_switch: Some(NOW), ..TypeTracking::default() };
    let day = Duration::from_secs(24 * 3600);
    assert!(tripped(&tracking, later(NOW, day - Duration::from_secs(1))).is_some());
    assert!(tripped(&tracking, later(NOW, day)).is_none());
}

#[test]
fn pause_after_a_failed_forced_service_doubles() {
    for (failures, seconds) in [(0, 15), (1, 15), (2, 30), (3, 60)] {
        let tracking = TypeTracking { consecutive_failures: failures, ..TypeTracking::default() };
        assert_eq!(failure_pause(&tracking).as_secs(), seconds, "{failures}");
    }
}

#[test]
fn message_of_a_move_names_the_type_the_server_and_the_time_left() {
    let desired = desired(Seat::Mirror);
    let begun = plan(&desired, &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
    let moving = plan(&desired, &observation("P/3/C", "M/4/C"), &begun.persisted, later(NOW, Duration::from_secs(1)));
    let message = &moving.types[&TY].verdict.message;
    assert!(message.contains("Failing over Archiving to the mirror SQL-MIRROR. "), "{message}");
    assert!(message.contains("LcsLog (about 3s left)"), "{message}");
}

/// What one database shows is not true of another one, and neither is left out.
#[test]
fn message_names_the_facts_of_each_database_of_equal_severity() {
    for (first, second, expected) in [
        (
            ["P/4/C", "M/4/C/s"],
            ["P/4/C", "M/4/C/s"],
            "LcsLog, QoEMetrics: the copy on the mirror SQL-MIRROR is SUSPECT. To fix: ",
        ),
        (
            ["P/4/C", "M/4/C/s"],
            ["P/4/C/s", "M/4/C"],
            " Also QoEMetrics: the copy on the primary SQL-PRIMARY is SUSPECT.",
        ),
    ] {
        let mut desired = desired(Seat::Primary);
        desired.types[0].databases.push(DatabaseName::new("QoEMetrics"));
        let seen = plan(&desired, &observation_of_two(first, second), &PersistedState::default(), NOW);
        let message = &seen.types[&DatabaseType::Archiving].verdict.message;
        assert!(message.contains(expected), "{second:?}: {message}");
    }
}

/// Each queue is that of the server that fills it: the other one shows a former value.
#[test]
fn queues_of_a_pair_are_those_of_the_server_with_the_role() {
    for (a, b, send, redo) in [
        ("P/4/C", "M/4/C", Some(7), Some(90)),
        ("M/4/C", "P/4/C", Some(9), Some(70)),
        ("away", "M/4/C", None, Some(90)),
        ("P/4/C", "away", Some(7), None),
    ] {
        let mut rows = observation(a, b);
        let Pair { primary, mirror, .. } = &mut rows.pairs[store()];
        let mut names = Vec::new();
        for (view, queue) in [(primary, 7), (mirror, 9)] {
            let ServerObservation::Available { server, .. } = view else { continue };
            for (name, database) in &mut Arc::make_mut(server).databases {
                (database.send_queue_kb, database.redo_queue_kb) = (Some(queue), Some(10 * queue));
                names.push(name.clone());
            }
        }
        let pair = &rows.pairs[store()];
        assert_eq!((pair.send_queue_kb(&names[0]), pair.redo_queue_kb(&names[0])), (send, redo), "{a} {b}");
    }
}
