//! Predicates over the rows of sys.database_mirroring and the names of servers.

use std::cmp::Ordering;

use crate::model::{Mirroring, MirroringState, Seat, Server, WitnessLink};

/// A partner without a connection to the other one and to its witness. As a principal, it does not serve ("Quorum: How a
/// Witness Affects Database Availability").
pub(crate) fn is_isolated(row: &Mirroring) -> bool {
    row.state == MirroringState::Disconnected && is_witness_lost(row.witness)
}

pub(crate) fn is_witness_lost(witness: WitnessLink) -> bool {
    match witness {
        WitnessLink::Disconnected | WitnessLink::Unknown => true,
        WitnessLink::None | WitnessLink::Connected => false,
    }
}

/// The seat of an old principal without quorum, beside a newer one that has quorum.
pub(crate) fn isolated_principal(a: &Mirroring, b: &Mirroring) -> Option<Seat> {
    // An unknown link to the witness does not show that the principal closed the database.
    let closed = |row: &Mirroring| is_isolated(row) && row.witness == WitnessLink::Disconnected;
    match (is_isolated(a), is_isolated(b)) {
        (true, false) if closed(a) && b.role_sequence > a.role_sequence => Some(Seat::Primary),
        (false, true) if closed(b) && a.role_sequence > b.role_sequence => Some(Seat::Mirror),
        _ => None,
    }
}

/// Two principals that are both isolated: neither has quorum. The seat of the newer one, if one is newer.
pub(crate) fn apart_without_quorum(a: &Mirroring, b: &Mirroring) -> Option<Option<Seat>> {
    // An unknown link to the witness does not show that the principal closed the database.
    let apart = |row: &Mirroring| is_isolated(row) && row.witness == WitnessLink::Disconnected;
    (apart(a) && apart(b)).then(|| match a.role_sequence.cmp(&b.role_sequence) {
        Ordering::Greater => Some(Seat::Primary),
        Ordering::Less => Some(Seat::Mirror),
        Ordering::Equal => None,
    })
}

pub(crate) fn is_connected(row: &Mirroring) -> bool {
    use MirroringState::*;
    matches!(row.state, Synchronized | Synchronizing | PendingFailover)
}

pub(crate) fn is_stable(row: &Mirroring) -> bool {
    matches!(row.state, MirroringState::Synchronized | MirroringState::Disconnected | MirroringState::Suspended)
}

/// Two principals in two polls a moment apart are a switch in transition, as long as the older row was still connected
/// when it was read. In a true split brain the older row is disconnected or suspended (S22).
pub(crate) fn is_stale_principal(a: &Mirroring, b: &Mirroring) -> bool {
    let older = if a.role_sequence <= b.role_sequence { a } else { b };
    a.role_sequence != b.role_sequence && is_connected(older)
}

/// The session may name a server as it was called before its host was renamed (@@SERVERNAME).
pub(crate) fn is_named(server: &Server, name: &str) -> bool {
    same_name(name, &server.name) || server.local_name.as_deref().is_some_and(|local| same_name(name, local))
}

/// Server names compare without case, as Windows does.
pub fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DatabaseName, Pair};
    use crate::plan::tests::pair;

    /// The rows of both partners, each with this link to the witness.
    fn rows(a: &str, b: &str, witness: WitnessLink) -> [Mirroring; 2] {
        let Pair { primary, mirror, .. } = pair(a, b);
        [primary, mirror].map(|view| {
            let row = &view.available().unwrap().databases[&DatabaseName::new("LcsLog")];
            Mirroring { witness, ..row.mirroring.clone().unwrap() }
        })
    }

    #[test]
    fn partners_are_apart_without_quorum_only_if_both_report_a_lost_witness() {
        let apart = |a, b, witness| {
            let [a, b] = rows(a, b, witness);
            apart_without_quorum(&a, &b)
        };
        assert_eq!(apart("P/1/D", "P/1/D/8", WitnessLink::Disconnected), Some(Some(Seat::Mirror)));
        assert_eq!(apart("P/1/D", "P/1/D", WitnessLink::Disconnected), Some(None));
        // An unknown link proves nothing: a principal with a witness serves.
        for witness in [WitnessLink::Unknown, WitnessLink::Connected, WitnessLink::None] {
            assert_eq!(apart("P/1/D", "P/1/D/8", witness), None, "{witness:?}");
        }
        let [a, b] = rows("P/1/D", "P/1/D/8", WitnessLink::Disconnected);
        let unknown = Mirroring { witness: WitnessLink::Unknown, ..a };
        assert_eq!((apart_without_quorum(&unknown, &b), apart_without_quorum(&b, &unknown)), (None, None));
    }
}
