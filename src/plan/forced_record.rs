//! The record of a forced service. The operator remembers it until what it left is resolved.

use crate::model::{
    Attempt, Cause, DatabaseName, DatabaseState, DatabaseType, DesiredType, Outcome, Pair, PairIdentity,
    PersistedState, Role, Seat,
};
use crate::plan::finding::{Finding, assess, seat_of};
use crate::plan::row::{is_named, same_name};
use crate::plan::types::Input;

/// Records the end of a move. One that moved nothing does not replace a forced service: what that left is still to be resolved.
pub(crate) fn record_end(persisted: &mut PersistedState, ty: DatabaseType, mut ended: Attempt) {
    let moved_nothing = match ended.outcome {
        Outcome::Failed | Outcome::Superseded => true,
        Outcome::Succeeded | Outcome::Partial | Outcome::Unknown => false,
    };
    match persisted.last.get_mut(&ty).filter(|last| moved_nothing && last.may_be_forced()) {
        Some(forced) => forced.later_failure = Some(ended.ended),
        None => {
            if ended.cause == Cause::ForcedService
                && let Some(before) = persisted.last.get(&ty).filter(|last| last.may_be_forced())
                && before.to_server == ended.to_server
            {
                // Both together are one forced service.
                let earlier = before.forced.iter().map(|(name, sequence)| (name.clone(), *sequence));
                ended.forced.extend(earlier);
                if ended.outcome == Outcome::Unknown && before.outcome != Outcome::Unknown {
                    ended.outcome = Outcome::Partial;
                }
            }
            persisted.last.insert(ty, ended);
        }
    }
}

/// A forced service whose answer was lost happened if the survivor is principal in a later state.
pub(crate) fn follow(input: &Input, persisted: &mut PersistedState, desired_type: &DesiredType, findings: &[Finding]) {
    let pair = input.observation.pair(desired_type.store);
    let Some(last) = persisted.last.get_mut(&desired_type.ty) else { return };
    if is_over(input, pair, last, findings) {
        last.synchronized = true;
    }
    let to = last.to_server.as_deref().unwrap_or_default();
    let is_to = |seat: &Seat| pair.view(*seat).available().is_some_and(|server| is_named(server, to));
    let Some(seat) = Seat::BOTH.into_iter().find(is_to) else { return };
    let serves = |name: &DatabaseName, before: i32| {
        pair.row(seat, name).is_some_and(|row| row.role == Role::Principal && row.role_sequence > before)
    };
    // A status without the list has no sequences either.
    let happened = if last.forced.is_empty() {
        desired_type.databases.iter().all(|name| serves(name, i32::MIN))
    } else {
        last.forced.iter().all(|(name, before)| serves(name, *before))
    };
    if last.outcome == Outcome::Unknown && last.may_be_forced() && happened {
        last.outcome = Outcome::Succeeded;
    }
}

/// Both partners are synchronized again, also of a database that the spec no longer has. Or both agree on the other principal: it
/// did not happen, or the roles were switched since.
fn is_over(input: &Input, pair: &Pair, last: &Attempt, findings: &[Finding]) -> bool {
    if !findings.iter().all(|finding| finding.agreed) {
        return false;
    }
    let is_settled = |name: &DatabaseName| {
        let finding = assess(input.preconditions, pair, name);
        finding.agreed && finding.obstacle.is_none()
    };
    let synchronized = findings.iter().all(|finding| finding.obstacle.is_none())
        && last.forced.keys().all(|name| is_settled(name) || is_retired(pair, name));
    let disproved =
        seat_of(findings).zip(forced_on(last, pair, None)).is_some_and(|(principal, forced)| principal != forced);
    synchronized || disproved
}

/// Neither server has a mirroring session of the database any more. The columns of a database that is not ONLINE are NULL.
fn is_retired(pair: &Pair, name: &DatabaseName) -> bool {
    Seat::BOTH.into_iter().all(|seat| {
        pair.view(seat).available().is_some_and(|server| {
            let retired = server
                .databases
                .get(name)
                .is_none_or(|database| database.mirroring.is_none() && database.state == DatabaseState::Online);
            server.sysadmin && retired
        })
    })
}

/// `known`: the servers of the type. A server that is read is compared by its own names, as it can have been renamed; one that is
/// not read by the name that it had.
pub(crate) fn forced_on(last: &Attempt, pair: &Pair, known: Option<&PairIdentity>) -> Option<Seat> {
    let to = last.to_server.as_deref().filter(|_| last.may_be_forced())?;
    Seat::BOTH.into_iter().find(|seat| match pair.view(*seat).available() {
        Some(server) => is_named(server, to),
        None => known.is_some_and(|known| same_name(to, &known.server(*seat).name)),
    })
}
