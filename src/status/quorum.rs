//! The condition QuorumAtRisk: the quorum of all sessions, and the witness of the spec against that of the sessions (R15, S19).

use std::collections::BTreeSet;

use crate::api::{ConditionDraft, ConditionType, ParsedSpec, Store};
use crate::model::{
    DatabaseName, Mirroring, MirroringState, Observation, Pair, Reason, Role, Safety, Seat, ServerObservation,
    WitnessLink,
};
use crate::plan::{Obstacle, Plan, TypePlan, is_witness_lost};
use crate::status::summary;

/// Without the witness and the mirror, a principal has no quorum and closes its databases.
const WITNESS_LOST: &str = "the witness is lost: no automatic failover, and they stop without the mirror. To fix: start it or repair its network.";

/// True while one further loss stops a database that the witness is to protect.
pub(super) fn condition(spec: &ParsedSpec, observation: &Observation, plan: &Plan) -> ConditionDraft {
    let kind = ConditionType::QuorumAtRisk;
    let at_risk = |reason, message| ConditionDraft::true_(kind, reason, message);
    match fact(spec, observation, plan) {
        QuorumFact::NoSession => ConditionDraft::unknown(
            kind,
            Reason::NotYetObserved,
            "The operator does not read the session of every database on both partners.",
        ),
        // Not the step of the witness: which server comes first is in the message of the type.
        QuorumFact::NoQuorum(names) => at_risk(
            Reason::NoQuorum,
            of(&names, "a server sees neither its partner nor the witness, and does not serve. See condition Ready."),
        ),
        QuorumFact::WitnessDisconnected(names) => at_risk(Reason::WitnessDisconnected, of(&names, WITNESS_LOST)),
        QuorumFact::MirrorWithoutWitness(names) => at_risk(
            Reason::WitnessDisconnected,
            of(
                &names,
                "the mirror has lost the witness: no automatic failover. To fix: start the witness or repair its network.",
            ),
        ),
        QuorumFact::PrincipalAlone(names) => at_risk(
            Reason::RunningExposed,
            of(&names, "the principal runs without its partner. If the witness is lost too, the database stops."),
        ),
        QuorumFact::Suspended(names) => at_risk(
            Reason::RunningExposed,
            of(&names, "mirroring is SUSPENDED: there is no automatic failover if the principal is lost."),
        ),
        QuorumFact::SafetyOff(names) => at_risk(
            Reason::SafetyOff,
            of(&names, "transaction safety is OFF: there is no automatic failover if the principal is lost."),
        ),
        QuorumFact::MirrorNotUsable(names) => at_risk(
            Reason::RunningExposed,
            of(&names, "the copy of the mirror is not in order: expect no automatic failover."),
        ),
        QuorumFact::MirrorAlone(names) => at_risk(
            Reason::RunningExposed,
            of(&names, "the mirror is alone. If the witness is lost too, forced service is not possible either."),
        ),
        QuorumFact::WitnessMismatch(problem) => at_risk(Reason::WitnessMismatch, problem),
        QuorumFact::WitnessUnreachable => ConditionDraft::false_(
            kind,
            Reason::WitnessUnreachable,
            "The partners see the witness, and the operator does not: see status.servers[].message.",
        ),
        QuorumFact::NoWitness => ConditionDraft::false_(
            kind,
            Reason::NoWitness,
            "No witness is configured: there is no automatic failover and no quorum requirement.",
        ),
        QuorumFact::Healthy => {
            ConditionDraft::false_(kind, Reason::QuorumHealthy, "Partners and witness see each other.")
        }
    }
}

/// A mirroring session as one server shows it.
type SessionRow<'a> = (&'a DatabaseName, &'a Mirroring);

/// The quorum of all sessions, the first that applies in this order.
enum QuorumFact {
    NoSession,
    /// Quorum is lost, and not only at risk.
    NoQuorum(Vec<String>),
    /// A principal reports that its session has lost the witness.
    WitnessDisconnected(Vec<String>),
    /// A principal with a witness runs without its partner.
    PrincipalAlone(Vec<String>),
    /// Only the mirror reports that it has lost the witness: the principal has quorum, or was not read.
    MirrorWithoutWitness(Vec<String>),
    /// A SUSPENDED session with a witness: it proves nothing of the connection of the partners.
    Suspended(Vec<String>),
    /// A session with a witness and without transaction safety, which the witness cannot protect.
    SafetyOff(Vec<String>),
    /// The mirror of a principal with a witness was read, and its copy is not in the state of a mirror.
    MirrorNotUsable(Vec<String>),
    /// Mirrors with a witness are without their partner. A further loss of the witness also prevents forced service (error
    /// 1431).
    MirrorAlone(Vec<String>),
    /// The witness of the spec is not that of the sessions.
    WitnessMismatch(String),
    /// The operator cannot reach the witness, the partners can.
    WitnessUnreachable,
    NoWitness,
    Healthy,
}

fn fact(spec: &ParsedSpec, observation: &Observation, plan: &Plan) -> QuorumFact {
    let sessions: Vec<SessionRow> = plan
        .types
        .values()
        .flat_map(|planned| {
            let pair = observation.pair(planned.desired_type.store);
            let isolated = isolated_rows(pair, planned);
            let sessions = sessions_of(pair, &planned.desired_type.databases);
            sessions.into_iter().filter(move |(_, row)| isolated.iter().all(|old| !std::ptr::eq(*old, *row)))
        })
        .collect();
    let mut witnesses = observation.pairs.iter().filter_map(|pair| pair.witness.as_ref());
    let protected = |row: &Mirroring| row.witness != WitnessLink::None;
    let apart = |row: &Mirroring| protected(row) && row.state == MirroringState::Disconnected;
    if sessions.is_empty() {
        return QuorumFact::NoSession;
    }
    let lost = |row: &Mirroring| is_witness_lost(row.witness);
    if let Some(names) = without_quorum(plan) {
        return QuorumFact::NoQuorum(names);
    }
    if let Some(names) = names(&sessions, |row| row.role == Role::Principal && lost(row)) {
        return QuorumFact::WitnessDisconnected(names);
    }
    if let Some(names) = names(&sessions, |row| row.role == Role::Principal && apart(row)) {
        return QuorumFact::PrincipalAlone(names);
    }
    if let Some(names) = names(&sessions, lost) {
        return QuorumFact::MirrorWithoutWitness(names);
    }
    if let Some(names) = names(&sessions, apart) {
        return QuorumFact::MirrorAlone(names);
    }
    if let Some(names) = names(&sessions, |row| protected(row) && row.state == MirroringState::Suspended) {
        return QuorumFact::Suspended(names);
    }
    if let Some(names) = names(&sessions, |row| protected(row) && row.safety == Safety::Off) {
        return QuorumFact::SafetyOff(names);
    }
    if let Some(names) = without_usable_mirror(observation, plan) {
        return QuorumFact::MirrorNotUsable(names);
    }
    if let Some(problem) = witness_mismatch(spec, observation, plan) {
        return QuorumFact::WitnessMismatch(problem);
    }
    match rows_of_all(observation, plan) {
        Rows::SomeMissing => return QuorumFact::NoSession,
        Rows::OneOfEach if !sessions.iter().all(|(_, row)| row.witness == WitnessLink::None) => {
            return QuorumFact::NoSession;
        }
        Rows::OneOfEach | Rows::BothOfEach => {}
    }
    if sessions.iter().all(|(_, row)| row.witness == WitnessLink::None) {
        return QuorumFact::NoWitness;
    }
    if witnesses.any(|view| view.available().is_none()) {
        return QuorumFact::WitnessUnreachable;
    }
    QuorumFact::Healthy
}

/// A sentence after the message of an aligned type, which is Exposed for no other reason.
pub(super) fn lost_witness(planned: &TypePlan, pair: &Pair) -> Option<String> {
    let has_lost = |seat: &Seat| {
        let mut rows = planned.desired_type.databases.iter().filter_map(|name| pair.row(*seat, name));
        rows.any(|row| is_witness_lost(row.witness))
    };
    let what = match Seat::BOTH.map(|seat| has_lost(&seat)) {
        [true, true] => "Both partners have lost the witness: there is no automatic failover, and without either of them the databases stop".to_owned(),
        [true, false] => {
            format!("The {} has lost the witness: there is no automatic failover", pair.label(Seat::Primary))
        }
        [false, true] => {
            format!("The {} has lost the witness: there is no automatic failover", pair.label(Seat::Mirror))
        }
        [false, false] => return None,
    };
    Some(format!(" {what}. To fix: start the witness or repair its network."))
}

/// The rows of every database that was to be read.
enum Rows {
    SomeMissing,
    /// One row proves that there is no witness.
    OneOfEach,
    /// Only both rows prove that both partners see the witness.
    BothOfEach,
}

/// Nothing good may be concluded for a database without a row.
fn rows_of_all(observation: &Observation, plan: &Plan) -> Rows {
    let rows = plan.types.values().flat_map(|planned| {
        let pair = observation.pair(planned.desired_type.store);
        let count = |name| Seat::BOTH.into_iter().filter(|seat| pair.row(*seat, name).is_some()).count();
        planned.desired_type.databases.iter().map(count)
    });
    match rows.min() {
        Some(0) => Rows::SomeMissing,
        Some(1) => Rows::OneOfEach,
        Some(_) | None => Rows::BothOfEach,
    }
}

fn without_quorum(plan: &Plan) -> Option<Vec<String>> {
    let findings = plan.types.values().flat_map(|planned| planned.findings.iter());
    let without = findings.filter(|finding| {
        matches!(finding.obstacle, Some(Obstacle::NoQuorum { .. } | Obstacle::ApartWithoutQuorum { .. }))
    });
    let names: BTreeSet<String> = without.map(|finding| finding.name.to_string()).collect();
    (!names.is_empty()).then(|| names.into_iter().collect())
}

/// The databases whose principal has a witness, and whose mirror copy is not RESTORING.
fn without_usable_mirror(observation: &Observation, plan: &Plan) -> Option<Vec<String>> {
    let names = plan.types.values().flat_map(|planned| {
        let pair = observation.pair(planned.desired_type.store);
        planned.findings.iter().filter_map(move |finding| match finding.obstacle {
            Some(Obstacle::NotOnline { seat, .. } | Obstacle::Recovering { seat, .. }) => {
                let principal = pair.row(seat.other(), &finding.name)?;
                let protects = principal.role == Role::Principal && principal.witness != WitnessLink::None;
                protects.then(|| finding.name.to_string())
            }
            _ => None,
        })
    });
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then_some(names)
}

/// The rows of old principals without quorum, beside a newer principal: they show nothing of its quorum.
fn isolated_rows<'a>(pair: &'a Pair, planned: &TypePlan) -> Vec<&'a Mirroring> {
    let isolated = planned.findings.iter().filter_map(|finding| match finding.obstacle {
        Some(Obstacle::IsolatedPrincipal { seat, .. }) => pair.row(seat, &finding.name),
        _ => None,
    });
    isolated.collect()
}

fn sessions_of<'a>(pair: &'a Pair, databases: &[DatabaseName]) -> Vec<SessionRow<'a>> {
    let servers = [&pair.primary, &pair.mirror].into_iter().filter_map(ServerObservation::available);
    servers
        .flat_map(|server| {
            databases.iter().filter_map(|name| {
                let (name, database) = server.databases.get_key_value(name)?;
                Some((name, database.mirroring.as_ref()?))
            })
        })
        .collect()
}

/// The witness that the spec names, against the sessions.
fn witness_mismatch(spec: &ParsedSpec, observation: &Observation, plan: &Plan) -> Option<String> {
    plan.types.values().find_map(|planned| {
        let store = planned.desired_type.store;
        let databases = &planned.desired_type.databases;
        store_mismatch(&spec.stores[store], observation.pair(store), databases)
    })
}

const MISMATCH: &str = "To fix: see docs/reasons/WitnessMismatch.md.";

fn store_mismatch(store: &Store, pair: &Pair, databases: &[DatabaseName]) -> Option<String> {
    let declared = store.sql.witness.as_ref()?.address();
    let sessions = sessions_of(pair, databases);
    if let Some(names) = names(&sessions, |row| row.witness == WitnessLink::None) {
        let what = "no automatic failover, as the session has no witness";
        let causes = [
            format!(
                "{what} and the spec names {declared}. To fix: SET WITNESS on the principal, or remove it from the spec."
            ),
            format!("{what}. To fix: SET WITNESS on the principal, or change the spec."),
        ];
        return Some(first_of(&names, &causes));
    }
    // The view of the witness lists every session that it is connected to, but only to a login that may see them.
    let witness = pair.witness.as_ref().and_then(ServerObservation::available).filter(|server| server.sysadmin)?;
    let unknown = |row: &Mirroring| {
        row.witness == WitnessLink::Connected && witness.witnessed.iter().all(|session| session.guid != row.guid)
    };
    let actual = &sessions.iter().find(|(_, row)| unknown(row))?.1.witness_name;
    let names = names(&sessions, unknown)?;
    let causes = [
        format!(
            "the witness {declared} ({}) does not list this session, which names {actual}. {MISMATCH}",
            witness.name
        ),
        format!("the witness {declared} does not list this session. {MISMATCH}"),
        format!("the witness of the spec does not list this session. {MISMATCH}"),
    ];
    Some(first_of(&names, &causes))
}

/// `rtcxds, rtcab: what`, with the number of the databases if their names are too long.
fn of(names: &[String], what: &str) -> String {
    first_of(names, &[what.to_owned()])
}

/// [`of`], with the first of these texts that is short enough.
fn first_of(names: &[String], texts: &[String]) -> String {
    let subjects = [names.join(", "), format!("{} databases", names.len())];
    summary::fit_after_service(
        texts.iter().flat_map(|text| subjects.iter().map(move |subject| format!("{subject}: {text}"))),
    )
}

/// The databases whose row satisfies the predicate, each once.
fn names(sessions: &[SessionRow], is: impl Fn(&Mirroring) -> bool) -> Option<Vec<String>> {
    let names: BTreeSet<&str> = sessions.iter().filter(|(_, row)| is(row)).map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| names.into_iter().map(ToOwned::to_owned).collect())
}
