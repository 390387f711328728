//! Whose state is remembered: the servers and sessions that a type was last seen on, against those of this pass (design
//! section 8.2). What belongs to other servers, another session or another resource is forgotten.

use std::collections::BTreeMap;

use crate::model::{
    Attempt, DatabaseName, DesiredType, Guid, Pair, PairIdentity, PersistedState, Seat, ServerIdentity, TypeTracking,
};
use crate::plan::finding::Finding;
use crate::plan::precondition::Precondition;
use crate::plan::row::same_name;
use crate::plan::types::Input;

/// The servers of this pass, compared with those of the persisted state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameServers {
    /// Neither server was read, or nothing is remembered.
    Unknown,
    Yes,
    /// The two servers have exchanged their seats in the spec.
    Exchanged,
    Other,
}

/// Compares the names of the servers that were read. A server that was not read has to have its former address.
pub(crate) fn compare(known: Option<&PairIdentity>, pair: &Pair) -> SameServers {
    let Some(known) = known else { return SameServers::Unknown };
    let name = |seat| pair.view(seat).available().map(|server| server.name.as_str());
    let is = |seat: Seat, of: Seat| name(seat).map(|name| same_name(name, &known.server(of).name));
    let unmoved = |seat: Seat| pair.view(seat).address().eq_ignore_ascii_case(&known.server(seat).address);
    let moved_to = |seat: Seat| pair.view(seat).address().eq_ignore_ascii_case(&known.server(seat.other()).address);
    match Seat::BOTH.map(|seat| (is(seat, seat), is(seat, seat.other()))) {
        [(None, _), (None, _)] => {
            if Seat::BOTH.into_iter().all(unmoved) {
                SameServers::Yes
            } else {
                SameServers::Unknown
            }
        }
        [(Some(true), _), (Some(true), _)] => SameServers::Yes,
        [(_, Some(true)), (_, Some(true))] => SameServers::Exchanged,
        [(None, _), (_, Some(true))] if moved_to(Seat::Primary) => SameServers::Exchanged,
        [(_, Some(true)), (None, _)] if moved_to(Seat::Mirror) => SameServers::Exchanged,
        [(Some(true), _), (None, _)] if unmoved(Seat::Mirror) => SameServers::Yes,
        [(None, _), (Some(true), _)] if unmoved(Seat::Primary) => SameServers::Yes,
        _ => SameServers::Other,
    }
}

/// Both servers as they are named in this pass. None: one of them was not read.
pub(crate) fn of_pair(pair: &Pair) -> Option<PairIdentity> {
    let identity = |seat: Seat| {
        let view = pair.view(seat);
        let name = view.available()?.name.clone();
        Some(ServerIdentity { address: view.address().to_owned(), name })
    };
    Some(PairIdentity { primary: identity(Seat::Primary)?, mirror: identity(Seat::Mirror)? })
}

/// True if a database has another mirroring session than the remembered one.
fn mirrored_anew(known: &BTreeMap<DatabaseName, Guid>, findings: &[Finding]) -> bool {
    findings.iter().any(|finding| {
        let session = finding.session.map(|session| session.guid);
        session.is_some() && known.get(&finding.name).is_some_and(|guid| Some(*guid) != session)
    })
}

/// True if a database has the remembered mirroring session: then the servers are the same ones under other names.
fn has_known_session(known: &BTreeMap<DatabaseName, Guid>, findings: &[Finding]) -> bool {
    findings.iter().any(|finding| is_known_session(known, finding))
}

/// The database has the remembered mirroring session.
pub(crate) fn is_known_session(known: &BTreeMap<DatabaseName, Guid>, finding: &Finding) -> bool {
    finding.session.is_some_and(|session| known.get(&finding.name) == Some(&session.guid))
}

/// Forgets what the persisted state contains about other servers, of other sessions, or of a later generation of the spec.
pub(crate) fn forget_foreign_state(
    input: &Input,
    persisted: &mut PersistedState,
    desired_type: &DesiredType,
    findings: &[Finding],
) {
    let untracked = TypeTracking::default();
    let tracking = persisted.tracking.get(&desired_type.ty).unwrap_or(&untracked);
    let sessions = &tracking.sessions;
    let servers = recognize(tracking, input.observation.pair(desired_type.store), findings);
    let others = servers == SameServers::Other;
    let later_request =
        persisted.requests.get(&desired_type.ty).is_some_and(|request| request.generation > input.desired.generation);
    let ours = input.satisfied(Precondition::SameServers, !others)
        && input.satisfied(Precondition::SameSession, !mirrored_anew(sessions, findings))
        && input.satisfied(Precondition::RequestOfThisSpec, !later_request);
    if !ours {
        // The other databases of a forced service still have what it left to resolve.
        let is_open = persisted.last.get(&desired_type.ty).is_some_and(Attempt::may_be_forced)
            && servers == SameServers::Yes
            && has_known_session(sessions, findings);
        persisted.requests.remove(&desired_type.ty);
        if !is_open {
            persisted.last.remove(&desired_type.ty);
        }
        let known = persisted.tracking.remove(&desired_type.ty).and_then(|tracking| tracking.pair);
        // Under another session, the servers keep their names.
        if let Some(pair) = known.filter(|_| servers == SameServers::Yes && !later_request) {
            persisted.tracking.insert(desired_type.ty, TypeTracking { pair: Some(pair), ..TypeTracking::default() });
        }
    }
}

/// [`compare`], with the sessions. A session has two partners only: with a known session, a server under an unknown name is the
/// known one, and was renamed.
pub(crate) fn recognize(tracking: &TypeTracking, pair: &Pair, findings: &[Finding]) -> SameServers {
    let same = compare(tracking.pair.as_ref(), pair);
    let Some(known) = tracking.pair.as_ref().filter(|_| same == SameServers::Other) else { return same };
    if !has_known_session(&tracking.sessions, findings) {
        return SameServers::Other;
    }
    let name = |seat| pair.view(seat).available().map(|server| server.name.as_str());
    let is = |seat: Seat, of: Seat| name(seat).is_some_and(|name| same_name(name, &known.server(of).name));
    let at = |seat: Seat, of: Seat| pair.view(seat).address().eq_ignore_ascii_case(&known.server(of).address);
    let exchanged = if Seat::BOTH.into_iter().any(|seat| is(seat, Seat::Primary) || is(seat, Seat::Mirror)) {
        Seat::BOTH.into_iter().any(|seat| is(seat, seat.other()))
    } else {
        Seat::BOTH.into_iter().all(|seat| at(seat, seat.other()))
    };
    if exchanged { SameServers::Exchanged } else { SameServers::Yes }
}

/// True if the spec exchanged the two servers since the type was last seen on them.
pub(crate) fn exchanged(tracking: &TypeTracking, pair: &Pair, findings: &[Finding]) -> bool {
    recognize(tracking, pair, findings) == SameServers::Exchanged
}

/// The present name of the server that was called `name` when the type was last seen. Unchanged if it was not read or is unknown.
pub(crate) fn present_name(tracking: &TypeTracking, pair: &Pair, findings: &[Finding], name: String) -> String {
    let present = |known: &PairIdentity| {
        let seat = Seat::BOTH.into_iter().find(|seat| same_name(&known.server(*seat).name, &name))?;
        let seat = match recognize(tracking, pair, findings) {
            SameServers::Yes => seat,
            SameServers::Exchanged => seat.other(),
            SameServers::Other | SameServers::Unknown => return None,
        };
        Some(pair.view(seat).available()?.name.clone())
    };
    tracking.pair.as_ref().and_then(present).unwrap_or(name)
}

/// Records the servers and sessions of the type. False: one server was not read, or they do not agree on every database.
pub(crate) fn record(tracking: &mut TypeTracking, pair: &Pair, findings: &[Finding]) -> bool {
    let agreed = of_pair(pair).filter(|_| findings.iter().all(|finding| finding.agreed));
    let recorded = agreed.is_some();
    if let Some(identity) = agreed {
        tracking.pair = Some(identity);
        tracking.sessions =
            findings.iter().filter_map(|finding| Some((finding.name.clone(), finding.session?.guid))).collect();
    }
    recorded
}
