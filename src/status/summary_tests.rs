//! Every summary is one short line, for every reason and every length of a name.

use std::collections::BTreeSet;

use expect_test::expect;
use strum::IntoEnumIterator;

use super::*;
use crate::model::{Observation, PersistedState};
use crate::plan::plan;
use crate::plan::tests::{NOW, desired, observation, pending};
use crate::status::summary_text::TEXTS;

/// The reasons that no type has: of events and of other conditions.
const NOT_OF_A_TYPE: [Reason; 26] = [
    Reason::StatusUnreadable,
    Reason::MoveStarted,
    Reason::MoveRetried,
    Reason::MoveSucceeded,
    Reason::MoveSuperseded,
    Reason::TypeRemoved,
    Reason::ApprovalRemoved,
    Reason::SecondCentralMgmt,
    Reason::Protected,
    Reason::Exposed,
    Reason::NotServed,
    Reason::ServiceUnknown,
    Reason::WitnessMismatch,
    Reason::WitnessDisconnected,
    Reason::WitnessUnreachable,
    Reason::PostSwitchDrift,
    Reason::NoPostSwitchDrift,
    Reason::CredentialsStale,
    Reason::LegacyTls,
    Reason::TlsDisabled,
    Reason::QuorumHealthy,
    Reason::NoWitness,
    Reason::RunningExposed,
    Reason::PartnersReachable,
    Reason::AllSynchronized,
    Reason::NotSuspended,
];

#[test]
fn every_reason_of_a_type_has_its_words_once() {
    let listed: Vec<Reason> = TEXTS.iter().map(|(reason, ..)| *reason).collect();
    let distinct: BTreeSet<Reason> = listed.iter().copied().collect();
    assert_eq!(listed.len(), distinct.len(), "a reason is listed twice");
    let missing: Vec<Reason> =
        Reason::iter().filter(|reason| !distinct.contains(reason) && !NOT_OF_A_TYPE.contains(reason)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn step_of_a_reason_is_nothing_only_if_no_administrator_has_to_act() {
    for (reason, what, step) in TEXTS {
        assert!(!what.is_empty() && !what.ends_with('.') && !what.contains("To fix"), "{reason}");
        assert!(step != Step::Nothing || reason.effect() != Effect::Stalled, "{reason}");
        if let Step::Do(step) = step {
            assert!(!step.is_empty() && !step.ends_with('.'), "{reason}");
        }
    }
}

/// The observation with servers of the longest names that the spec allows.
fn renamed(mut observation: Observation, name: &str) -> Observation {
    for pair in observation.pairs.iter_mut() {
        for view in [&mut pair.primary, &mut pair.mirror] {
            match view {
                ServerObservation::Available { server, .. } => std::sync::Arc::make_mut(server).name = name.to_owned(),
                ServerObservation::Unavailable { address, .. } => *address = name.to_owned(),
            }
        }
    }
    observation
}

/// One line of at most 160 characters, uncut, that starts with the service and ends with a period.
fn is_a_summary(text: &str, service: Service) -> bool {
    text.chars().count() <= LIMIT
        && text.starts_with(&format!("{service}. "))
        && text.ends_with('.')
        && !text.ends_with("..")
        && !text.contains(['{', '}', '\n'])
}

#[test]
fn summary_of_every_reason_is_one_short_line() {
    let longest = "n".repeat(253);
    let rows = [("P/4/C", "M/4/C"), ("P/1/C", "away"), ("away", "M/1/-"), ("away", "away")];
    for ((a, b), name) in rows.into_iter().flat_map(|row| [r"SQL-A\RTC", &longest].map(|name| (row, name))) {
        let observation = renamed(observation(a, b), name);
        let planned = plan(&desired(Seat::Mirror), &observation, &PersistedState::default(), NOW);
        let planned = planned.types.into_values().next().unwrap();
        let pair = observation.pair(planned.desired_type.store);
        for (reason, service) in Reason::iter().flat_map(|reason| Service::iter().map(move |service| (reason, service)))
        {
            for (ty, others, step) in [
                (DatabaseType::User, 0, None),
                (DatabaseType::PersistentChatCompliance, 6, None),
                (DatabaseType::PersistentChatCompliance, 6, Some("s".repeat(200))),
            ] {
                let mut planned = planned.clone();
                (planned.desired_type.ty, planned.service) = (ty, service);
                (planned.verdict.reason, planned.verdict.step, planned.verdict.until) = (reason, step, Some(NOW));
                for unreachable_since in [[None; 2], [Some(NOW); 2]] {
                    let summary = Summary { planned: &planned, pair, operation: None, unreachable_since };
                    let text = summary.text(others);
                    assert!(is_a_summary(&text, service), "{reason}: {text}");
                    assert!(text.contains(&ty.to_string()), "{reason}: {text}");
                }
            }
        }
    }
}

#[test]
fn summary_of_unreachable_server_is_one_short_line() {
    for name in [r"sql-a", &"n".repeat(253)] {
        let observation = renamed(observation("away", "away"), name);
        let pair = observation.pairs.iter().next().unwrap();
        for cause in UnavailableCause::iter() {
            let unavailable = Unavailable { cause, detail: "d".repeat(500) };
            let text = of_server((Seat::Mirror, pair), &unavailable, None, 12);
            assert!(text.chars().count() <= LIMIT && !text.ends_with("...") && text.contains("+12 more"), "{text}");
        }
    }
}

/// What an administrator on call reads first, in the states of a bad day.
#[test]
fn summary_states_what_happened_and_what_to_type() {
    let at = |minute: i64| NOW + jiff::SignedDuration::from_mins(minute);
    let (since, both) = ([Some(at(0)), None], [Some(at(0)), Some(at(1))]);
    let rows = [
        ("P/4/C", "M/4/C", Seat::Mirror, pending(Seat::Mirror), [None; 2]),
        ("away", "P/1/C/8", Seat::Primary, PersistedState::default(), since),
        ("M/4/C/8", "P/4/C/8", Seat::Primary, PersistedState::default(), [None; 2]),
        ("P/1/C", "away", Seat::Primary, PersistedState::default(), [None, Some(NOW)]),
        ("away", "M/1/-", Seat::Primary, PersistedState::default(), since),
        ("away", "away", Seat::Primary, PersistedState::default(), both),
        ("P/0/C", "M/0/C", Seat::Primary, PersistedState::default(), [None; 2]),
        ("P/1/-", "P/1/-/8", Seat::Primary, PersistedState::default(), [None; 2]),
        ("P/4/C", "refused", Seat::Primary, PersistedState::default(), [None, Some(NOW)]),
        // Service was forced, and the old principal must stay fenced.
        ("away", "P/0/-/8", Seat::Primary, PersistedState::default(), since),
        ("away", "P/1/-/8", Seat::Primary, PersistedState::default(), since),
        ("away", "P/0/-/8", Seat::Mirror, PersistedState::default(), since),
    ];
    let texts = rows.map(|(a, b, wanted, persisted, unreachable_since)| {
        let observation = observation(a, b);
        let planned = plan(&desired(wanted), &observation, &persisted, NOW).types.into_values().next().unwrap();
        let pair = observation.pair(planned.desired_type.store);
        Summary { planned: &planned, pair, operation: None, unreachable_since }.text(0)
    });
    expect![[r#"
        Protected. Archiving: a failover to the mirror SQL-MIRROR is in progress. No action is needed.
        Exposed. Archiving: SQL-MIRROR is principal, and sql-primary refuses connections. To fix: bring sql-primary back, then set principal: Mirror to keep it.
        Protected. Archiving: SQL-MIRROR is principal, and the spec wants the other one. To fix: set principal: Mirror to keep it, or approve epoch 8-f53b to move it.
        Exposed. Archiving: the mirror sql-mirror refuses connections (not read since 1970-01-01T00:00:00Z). To fix: check SQL Server there, or correct the port.
        Unknown. Archiving: sql-primary does not answer, and may still serve clients. To fix: check from a Front End, start it, or read docs/reasons/PrincipalLost.md.
        Unknown. Archiving: the operator reads neither sql-primary nor sql-mirror. To fix: if a Front End reaches neither, users have no service: start both.
        Exposed. Archiving: mirroring is SUSPENDED. To fix: run no RESUME before you read docs/reasons/MirroringSuspended.md, as it can destroy data.
        Exposed. Archiving: both servers hold the principal role. To fix: cut the clients off one copy, keep the link cut, see docs/reasons/TwoPrincipals.md.
        Protected. Archiving: the mirror sql-mirror refuses the login. To fix: correct the login on that server, as the other one accepted the Secret.
        Exposed. Archiving: SQL-MIRROR is principal, and sql-primary refuses connections. To fix: read docs/reasons/ServiceForced.md before sql-primary starts.
        Exposed. Archiving: SQL-MIRROR is principal, and sql-primary refuses connections. To fix: read docs/reasons/ServiceForced.md before sql-primary starts.
        Exposed. Archiving: the primary sql-primary refuses connections. To fix: read docs/reasons/ServiceForced.md before it starts."#]].assert_eq(&texts.join("\n"));
}

/// The serving server is not the one to repair.
#[test]
fn summary_of_an_overdue_recovery_names_the_server_in_recovery() {
    let rows = observation("P/4/C", "M/4/C/p");
    let desired = desired(Seat::Primary);
    let begun = plan(&desired, &rows, &PersistedState::default(), NOW);
    let later = NOW + jiff::SignedDuration::from_hours(1);
    let planned = plan(&desired, &rows, &begun.persisted, later).types.into_values().next().unwrap();
    let pair = rows.pair(planned.desired_type.store);
    let summary = Summary { planned: &planned, pair, operation: None, unreachable_since: [None; 2] };
    assert_eq!(planned.verdict.reason, Reason::DatabaseNotOnline);
    assert!(summary.text(0).contains("LcsLog on the mirror SQL-MIRROR is RECOVERY_PENDING"), "{}", summary.text(0));
}

#[test]
fn summary_of_a_server_without_polls_does_not_call_it_unreachable() {
    let observation = observation("away", "away");
    let pair = observation.pairs.iter().next().unwrap();
    let unavailable = Unavailable { cause: UnavailableCause::PollsStopped, detail: "stopped".to_owned() };
    assert_eq!(
        of_server((Seat::Primary, pair), &unavailable, None, 0),
        "The operator does not poll the primary sql-primary. To fix: once the maintenance has ended, remove spec.suspend.stopPolls."
    );
}

#[test]
fn summary_of_several_types_names_the_worst_and_counts_the_others() {
    let observation = observation("P/0/C", "M/0/C");
    let mut plan = plan(&desired(Seat::Primary), &observation, &PersistedState::default(), NOW);
    let one = plan.types.values().next().unwrap().clone();
    for (ty, reason) in [
        (DatabaseType::User, Reason::Synchronizing),
        (DatabaseType::Monitoring, Reason::MirroringSuspended),
        (DatabaseType::CentralMgmt, Reason::Aligned),
    ] {
        let mut other = one.clone();
        (other.desired_type.ty, other.verdict.reason) = (ty, reason);
        plan.types.insert(ty, other);
    }
    let pair = observation.pair(one.desired_type.store);
    let worst = Summary { planned: &one, pair, operation: None, unreachable_since: [None; 2] };
    assert_eq!(
        of_worst(&worst, &plan),
        "Exposed. Archiving (+2 more): mirroring is SUSPENDED. To fix: run no RESUME before you read docs/reasons/MirroringSuspended.md, as it can destroy data."
    );
}
