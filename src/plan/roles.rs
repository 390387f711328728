//! Which partner was the last to become principal. A server that is read alone does not show that the other one took over later.

use crate::model::{LastRoles, Mirroring, Pair, Role, Seat, Service, TypeTracking, WitnessLink};
use crate::plan::finding::Finding;
use crate::plan::obstacle::Obstacle;
use crate::plan::row::is_connected;

/// Both servers were read and agree on every database.
pub(crate) fn record(tracking: &mut TypeTracking, pair: &Pair, findings: &[Finding]) {
    let roles = findings.iter().filter_map(|finding| {
        let sequence = |seat| Some(pair.row(seat, &finding.name)?.role_sequence);
        let roles = LastRoles {
            principal: finding.principal?,
            primary: sequence(Seat::Primary)?,
            mirror: sequence(Seat::Mirror)?,
            replaced: None,
        };
        Some((finding.name.clone(), roles))
    });
    tracking.roles = roles.collect();
}

/// A principal whose own role sequence has risen took over since. Also during a move. The servers are those of the tracking.
pub(crate) fn follow(tracking: &mut TypeTracking, pair: &Pair) {
    let sessions = &tracking.sessions;
    for (name, known) in &mut tracking.roles {
        let row = |seat| pair.row(seat, name).filter(|row| sessions.get(name) == Some(&row.guid));
        let taken_over = Seat::BOTH.into_iter().filter_map(|seat| {
            let row = row(seat)?;
            let rose = row.role == Role::Principal && row.role_sequence > known.sequence(seat);
            rose.then_some((row.role_sequence, seat))
        });
        let newest = taken_over.max_by_key(|(sequence, _)| *sequence).map(|(_, seat)| seat);
        if let Some(seat) = newest.filter(|seat| *seat != known.principal) {
            (known.replaced, known.principal) = (Some(known.sequence(known.principal)), seat);
        }
        let last =
            |seat: Seat| row(seat).map_or(known.sequence(seat), |row| row.role_sequence.max(known.sequence(seat)));
        (known.primary, known.mirror) = (last(Seat::Primary), last(Seat::Mirror));
    }
}

/// A principal whose row is read alone, and that the other one had replaced when it was last read, is not the principal of the pair.
/// The servers are those of the tracking.
pub(crate) fn mark(tracking: &TypeTracking, pair: &Pair, findings: &mut [Finding]) {
    for finding in findings {
        let Some((seat, row)) = older_claim(tracking, pair, finding) else { continue };
        (finding.principal, finding.online) = (None, false);
        if is_connected(row) {
            // The old principal was read just before it became the mirror.
            (finding.obstacle, finding.service) = (Some(Obstacle::Unsettled), Service::Unknown);
            continue;
        }
        if !matches!(finding.obstacle, Some(Obstacle::NotOnline { .. } | Obstacle::Recovering { .. })) {
            finding.obstacle = Some(Obstacle::OlderPrincipal { seat });
        }
        if row.witness != WitnessLink::None {
            // Whether a witness gives quorum to it is not documented.
            finding.service = Service::Unknown;
        }
    }
}

/// The seat and the row of a principal that is read alone, and that was replaced.
fn older_claim<'a>(tracking: &TypeTracking, pair: &'a Pair, finding: &Finding) -> Option<(Seat, &'a Mirroring)> {
    let known = tracking.roles.get(&finding.name)?;
    let seat = known.principal.other();
    // A copy that cannot be opened, e.g. SUSPECT, can have no row although its server is read.
    if pair.row(known.principal, &finding.name).is_some() {
        return None;
    }
    let row = pair.row(seat, &finding.name)?;
    let older = row.role == Role::Principal
        && tracking.sessions.get(&finding.name) == Some(&row.guid)
        && known.replaced.is_some_and(|replaced| row.role_sequence <= replaced);
    // Without quorum it serves no client, which is the more important fact.
    let alone = match finding.obstacle {
        Some(Obstacle::Unavailable { .. }) => true,
        Some(Obstacle::NotOnline { seat, .. } | Obstacle::Recovering { seat, .. }) => seat == known.principal,
        _ => false,
    };
    (older && alone).then_some((seat, row))
}

#[cfg(test)]
mod tests {
    use crate::model::*;
    use crate::plan::tests::{NOW, TY, after, desired, observation, pending, reason, settled, store};
    use crate::plan::{Plan, plan};

    fn known(roles: LastRoles) -> PersistedState {
        let mut tracking = settled(roles.principal);
        tracking.roles.insert(DatabaseName::new("LcsLog"), roles);
        PersistedState { tracking: [(TY, tracking)].into(), ..PersistedState::default() }
    }

    fn at_home() -> PersistedState {
        known(LastRoles { principal: Seat::Primary, primary: 7, mirror: 7, replaced: None })
    }

    fn seen(a: &str, b: &str, persisted: &PersistedState) -> Plan {
        plan(&desired(Seat::Primary), &observation(a, b), persisted, NOW)
    }

    fn claim(plan: &Plan) -> (Reason, ObservedPrincipal, Service) {
        (reason(plan), plan.types[&TY].observed, plan.types[&TY].service)
    }

    const OLDER: ObservedPrincipal = ObservedPrincipal::Unknown;

    /// The mirror took over while the primary was away. The primary then answers alone, with its former row.
    #[test]
    fn principal_that_is_read_alone_and_was_replaced_is_not_the_principal() {
        let replaced = seen("away", "P/1/-/8", &at_home()).persisted;
        for other in ["away", "refused"] {
            let alone = seen("P/1/-/7", other, &replaced);
            assert_eq!(claim(&alone), (Reason::TwoPrincipals, OLDER, Service::Exposed), "{other}");
            let verdict = &alone.types[&TY].verdict;
            let what = "the primary SQL-PRIMARY has the principal role, but the mirror";
            assert!(verdict.message.contains(what) && verdict.message.contains("took it over later"), "{verdict:?}");
            assert!(verdict.step.as_ref().is_some_and(|step| step.starts_with("cut the clients off SQL-PRIMARY")));
            // Again, after a restart of the operator.
            assert_eq!(claim(&seen("P/1/-/7", other, &alone.persisted)).0, Reason::TwoPrincipals);
        }
        for (copy, reason) in [("NULL/s", Reason::DatabaseNotOnline), ("NULL/r", Reason::DatabaseRecovering)] {
            let damaged = seen("P/1/C/7", copy, &replaced);
            assert_eq!(claim(&damaged), (reason, OLDER, Service::Unknown), "{:?}", damaged.types[&TY].verdict);
            let older = seen("P/1/C/7", copy, &at_home());
            assert_eq!(claim(&older).2, Service::Exposed, "{copy}: the older one is damaged");
        }
        let witnessed = seen("P/1/C/7", "away", &replaced);
        assert_eq!(claim(&witnessed), (Reason::TwoPrincipals, OLDER, Service::Unknown), "its quorum is not documented");
        let moment = seen("P/4/-/7", "away", &replaced);
        assert_eq!(claim(&moment), (Reason::Unsettled, OLDER, Service::Unknown), "connected when it was read");
        // It took the role back: its own sequence has risen.
        let back = seen("P/1/-/9", "away", &replaced);
        assert_eq!(claim(&back).1, ObservedPrincipal::Primary, "{:?}", claim(&back));
        assert_eq!(
            claim(&seen("away", "P/1/-/8", &back.persisted)).0,
            Reason::TwoPrincipals,
            "now the mirror is older"
        );
        let agreed = seen("P/4/-/9", "M/4/-/9", &replaced);
        assert_eq!(claim(&seen("P/1/-/9", "away", &agreed.persisted)).1, ObservedPrincipal::Primary);
    }

    /// The equality of the sequences of both partners is not documented.
    #[test]
    fn role_sequence_is_compared_with_that_of_the_same_server_only() {
        let agreed = known(LastRoles { principal: Seat::Primary, primary: 9, mirror: 4, replaced: None });
        assert_eq!(claim(&seen("P/1/-/9", "away", &agreed)).1, ObservedPrincipal::Primary);
        let replaced = seen("away", "P/1/-/5", &agreed).persisted;
        assert_eq!(claim(&seen("P/1/-/9", "away", &replaced)).0, Reason::TwoPrincipals);
        // The mirror that never rose is no newer principal, and the higher one of two risen ones is.
        let unproved = seen("away", "P/1/-/4", &agreed).persisted;
        assert_eq!(claim(&seen("P/1/-/9", "away", &unproved)).1, ObservedPrincipal::Primary);
        for (a, b, newer) in [("P/1/-/11", "P/1/-/10", Seat::Primary), ("P/1/-/10", "P/1/-/11", Seat::Mirror)] {
            let both = seen(a, b, &agreed).persisted;
            assert_eq!(both.tracking[&TY].roles[&DatabaseName::new("LcsLog")].principal, newer, "{a} {b}");
        }
    }

    #[test]
    fn role_of_another_session_or_without_memory_is_taken_as_it_is() {
        let replaced = seen("away", "P/1/-/8", &at_home()).persisted;
        let mut other = replaced.clone();
        other.tracking.get_mut(&TY).unwrap().sessions =
            [(DatabaseName::new("LcsLog"), Guid::from_bytes([2; 16]))].into();
        let mut renamed = replaced.clone();
        renamed.tracking.get_mut(&TY).unwrap().pair.as_mut().unwrap().primary.name = "SQL-THIRD".into();
        renamed.tracking.get_mut(&TY).unwrap().sessions = other.tracking[&TY].sessions.clone();
        for persisted in [PersistedState::default(), other, renamed] {
            assert_eq!(claim(&seen("P/1/-/7", "away", &persisted)).1, ObservedPrincipal::Primary);
        }
        // The mirror is connected to its principal, which only the operator does not read.
        assert_eq!(claim(&seen("M/4/-/7", "away", &replaced)).1, ObservedPrincipal::Mirror);
        // Isolated and not open: that no client is served comes first.
        assert_eq!(claim(&seen("P/1/D/7/r", "away", &replaced)).0, Reason::NoQuorum);
    }

    /// The two principals that a move leaves behind are remembered after its end.
    #[test]
    fn principals_read_during_a_move_are_remembered() {
        let want = desired(Seat::Mirror);
        let begun = PersistedState { tracking: at_home().tracking, ..pending(Seat::Mirror) };
        let begun = plan(&want, &observation("P/4/-", "M/4/-"), &begun, NOW);
        assert_eq!(begun.steps.len(), 1);
        let split = plan(&want, &observation("P/1/-/7", "P/1/-/8"), &begun.persisted, after(10));
        let mut other = observation("P/1/-/7", "away");
        let ServerObservation::Available { server, .. } = &mut other.pairs[store()].primary else { panic!() };
        for database in std::sync::Arc::make_mut(server).databases.values_mut() {
            database.mirroring.as_mut().unwrap().guid = Guid::from_bytes([9; 16]);
        }
        let other = plan(&want, &other, &split.persisted, after(20));
        assert_eq!(other.types[&TY].observed, ObservedPrincipal::Primary, "another session");
        let alone = plan(&want, &observation("P/1/-/7", "away"), &split.persisted, after(300));
        assert!(alone.ended.is_some(), "{:?}", alone.types[&TY].verdict);
        let later = plan(&want, &observation("P/1/-/7", "away"), &alone.persisted, after(310));
        assert_eq!(reason(&later), Reason::TwoPrincipals);
    }

    /// The message about a forced service has more facts.
    #[test]
    fn old_principal_of_a_forced_service_has_the_message_of_the_forced_service() {
        let mut persisted = seen("away", "P/1/-/8", &at_home()).persisted;
        let forced = Attempt {
            cause: Cause::ForcedService,
            to_server: Some("SQL-MIRROR".into()),
            ..crate::plan::tests::attempt(Outcome::Succeeded)
        };
        persisted.last.insert(TY, forced);
        assert_eq!(reason(&seen("P/1/-/7", "away", &persisted)), Reason::ServiceForced);
    }
}
