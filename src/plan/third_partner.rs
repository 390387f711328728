//! A server that mirrors with a third server while the other one of the spec is unavailable. Only the name of the latter, as it
//! was last read, shows that: the row of one server alone cannot.

use crate::model::{Pair, Role, Seat, TypeTracking};
use crate::plan::finding::Finding;
use crate::plan::identity::{self, SameServers};
use crate::plan::obstacle::{Obstacle, Shown};
use crate::plan::row::same_name;

/// Replaces the obstacle of a server that is only unavailable, or that seems to be a lost principal.
pub(crate) fn mark(tracking: Option<&TypeTracking>, pair: &Pair, findings: &mut [Finding]) {
    for finding in findings {
        let away = match finding.obstacle {
            Some(
                Obstacle::Unavailable { seat: away, shown: Some(_), .. } | Obstacle::PrincipalLost { seat: away, .. },
            ) => away,
            // Its quorum is that of the session with the third server.
            Some(Obstacle::NoQuorum { seat, .. }) if pair.view(seat.other()).available().is_none() => seat.other(),
            _ => continue,
        };
        let Some(tracking) = tracking else { continue };
        let Some((shown, expected)) = third(tracking, pair, finding, away) else { continue };
        let seat = away.other();
        // A mirror of a third server proves nothing of the server that the spec names.
        finding.principal = finding.principal.filter(|_| shown.role == Role::Principal);
        finding.obstacle = Some(Obstacle::ThirdPartner { seat, shown, expected });
    }
}

/// The row that names a third server, and the name of the server in the seat `away`. The session with that server may name it
/// as it was called before, so that only another session counts.
fn third(tracking: &TypeTracking, pair: &Pair, finding: &Finding, away: Seat) -> Option<(Shown, String)> {
    let known = tracking.pair.as_ref()?;
    let server = pair.view(away.other()).available()?;
    let database = server.databases.get(&finding.name)?;
    let row = database.mirroring.as_ref()?;
    let expected = &known.server(away).name;
    let is_third = identity::compare(Some(known), pair) == SameServers::Yes
        && tracking.sessions.get(&finding.name) != Some(&row.guid)
        && !row.partner_instance.is_empty()
        && !same_name(&row.partner_instance, expected);
    is_third.then(|| (Shown::new(row, database.state), expected.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::model::*;
    use crate::plan::tests::{NOW, TY, after, desired, observation, reason, settled, store};
    use crate::plan::{Plan, plan};

    /// The row of the mirror seat names a third server, in this session, and the server in the primary seat is away.
    fn seen(row: &str, guid: u8, persisted: &PersistedState) -> Plan {
        let mut rows = observation("away", row);
        let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].mirror else { panic!() };
        for database in Arc::make_mut(server).databases.values_mut() {
            let row = database.mirroring.as_mut().unwrap();
            (row.partner_instance, row.guid) = ("SQL-THIRD".to_owned(), Guid::from_bytes([guid; 16]));
        }
        plan(&desired(Seat::Primary), &rows, persisted, NOW)
    }

    #[test]
    fn server_whose_former_partner_mirrors_with_a_third_one_starts_after_the_page() {
        let pages = ["P/4/-", "M/4/-"].map(|row| {
            let plan = seen(row, 9, &known());
            plan.types[&TY].before_start(&observation("away", row).pairs[store()], Seat::Primary)
        });
        assert_eq!(pages, [Some(Reason::PartnerMismatch), None]);
    }

    fn known() -> PersistedState {
        PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() }
    }

    /// Its quorum is that of the other session: what a lost principal and witness allow does not apply to this pair.
    #[test]
    fn survivor_without_quorum_that_mirrors_with_a_third_server_names_it() {
        for row in ["M/1/D", "P/1/D"] {
            let third = seen(row, 9, &known());
            assert_eq!((reason(&third), third.steps.len()), (Reason::PartnerMismatch, 0), "{row}");
            let message = &third.types[&TY].verdict.message;
            assert!(message.contains("SQL-THIRD"), "{row}: {message}");
            assert_ne!(reason(&seen(row, 1, &known())), Reason::PartnerMismatch, "{row}: the known session");
        }
    }

    #[test]
    fn principal_with_a_third_server_names_it_and_offers_no_move() {
        let mut persisted = known();
        // Also in the passes after the one that forgot the former session.
        for _ in 0..3 {
            let third = seen("P/4/-", 9, &persisted);
            assert_eq!((reason(&third), third.steps.len()), (Reason::PartnerMismatch, 0));
            let planned = &third.types[&TY];
            let message = &planned.verdict.message;
            assert!(message.contains("SYNCHRONIZED with mirror SQL-THIRD"), "{message}");
            assert!(message.contains("SQL-PRIMARY") && message.contains("second live copy"), "{message}");
            assert!(!message.contains("approve"), "{message}");
            assert_eq!((planned.service, planned.observed), (Service::Exposed, ObservedPrincipal::Mirror));
            persisted = third.persisted;
        }
    }

    /// The principal of this mirror is the third server: the loss of the server in the spec is no reason to force service.
    #[test]
    fn mirror_of_a_third_server_has_lost_no_principal() {
        for row in ["M/1/-", "M/0/-", "M/4/-"] {
            let mirror = seen(row, 9, &known());
            assert_eq!(reason(&mirror), Reason::PartnerMismatch, "{row}");
            let planned = &mirror.types[&TY];
            assert!(planned.next.is_empty() && planned.observed == ObservedPrincipal::Unknown, "{row}");
            let again = seen(row, 9, &mirror.persisted);
            assert!(again.types[&TY].next.is_empty(), "{row}");
        }
    }

    #[test]
    fn partner_under_another_name_in_the_known_session_is_the_renamed_server() {
        assert_eq!(reason(&seen("M/1/-", 1, &known())), Reason::PrincipalLost);
        assert_eq!(reason(&seen("P/1/-", 1, &known())), Reason::UnexpectedPrincipal);
        // Nothing is known of the other server.
        assert_eq!(reason(&seen("P/4/-", 9, &PersistedState::default())), Reason::UnexpectedPrincipal);
    }

    /// Both servers were read: the former name of one, in the row of a new session, names no third server.
    #[test]
    fn renamed_server_that_is_read_is_no_third_one() {
        let mut rows = observation("P/1/D/r", "M/1/D");
        let Pair { primary, mirror, .. } = &mut rows.pairs[store()];
        for (view, renamed) in [(primary, true), (mirror, false)] {
            let ServerObservation::Available { server, .. } = view else { panic!() };
            let server = Arc::make_mut(server);
            server.local_name = renamed.then(|| "SQL-FORMER".to_owned());
            for database in server.databases.values_mut() {
                let row = database.mirroring.as_mut().unwrap();
                row.guid = Guid::from_bytes([9; 16]);
                if !renamed {
                    row.partner_instance = "SQL-FORMER".to_owned();
                }
            }
        }
        assert_eq!(reason(&plan(&desired(Seat::Primary), &rows, &known(), NOW)), Reason::NoQuorum);
    }

    /// What was forgotten with the former session must not support forced service in the new one.
    #[test]
    fn lost_principal_of_a_session_that_was_never_seen_whole_is_not_forced() {
        let mut persisted = known();
        let mut rows = observation("away", "M/1/-");
        let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].mirror else { panic!() };
        for database in Arc::make_mut(server).databases.values_mut() {
            database.mirroring.as_mut().unwrap().guid = Guid::from_bytes([9; 16]);
        }
        for seconds in 0..3 {
            let lost = plan(&desired(Seat::Primary), &rows, &persisted, after(seconds));
            let message = &lost.types[&TY].verdict.message;
            assert!(
                message.contains("never read the present mirroring session of LcsLog on both servers"),
                "{message}"
            );
            persisted = lost.persisted;
        }
    }
}
