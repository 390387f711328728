//! Forced service: the only action that may lose data. It requires a lost principal without a witness and a consent for
//! exactly this state (R1, R2). Every other state with a lost principal is refused here, with the reason.

use crate::model::{
    Attempt, Cause, DatabaseType, Mirroring, MirroringState, Operation, Outcome, Reason, Role, Seat, TypeTracking,
    WitnessLink, later,
};
use crate::plan::consents;
use crate::plan::finding::{Finding, epoch, message_of_all, seat_of};
use crate::plan::forced_record::forced_on;
use crate::plan::identity::{self, SameServers};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Precondition;
use crate::plan::row::{is_connected, same_name};
use crate::plan::text::{list, second};
use crate::plan::tracking::failure_pause;
use crate::plan::types::{Case, Release, Verdict};

/// Lync users are in limited functionality about this long after the loss of their store ("Back End Server High
/// Availability").
const RESILIENCY: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// The seat of the principal of a database whose mirror is alone.
pub(crate) fn lost_seat(finding: &Finding) -> Option<Seat> {
    match &finding.obstacle {
        Some(Obstacle::PrincipalLost { seat, .. }) => Some(*seat),
        _ => None,
    }
}

/// The seat of the surviving mirror of a type that lost its principal.
pub(crate) fn survivor(findings: &[Finding]) -> Option<Seat> {
    findings.iter().find_map(lost_seat).map(Seat::other)
}

/// The verdict of a type whose mirror lost its principal. None: the type is in another state.
pub(crate) fn verdict(case: &Case) -> Option<Verdict> {
    let Case { desired_type, findings, tracking, pair, .. } = *case;
    let Some(survivor) = survivor(findings) else { return unproved(case) };
    let lost_findings = || findings.iter().filter(|finding| lost_seat(finding).is_some());
    let obstacle = lost_findings().find_map(|finding| finding.obstacle.as_ref())?;
    let names = list(lost_findings().map(|finding| &finding.name));
    let mut message = format!("{names}: {}.", obstacle.problem(pair));
    message.push_str(&limited_functionality(desired_type.ty, tracking));
    let bring_back = format!("To fix: bring the {} back", pair.label(survivor.other()));
    if let Some(refusal) = refusal(case, survivor) {
        let what = match case.desired_type.force {
            Some(_) => "Forced service is refused",
            None => "The operator would not force service",
        };
        message.push_str(&format!(" {what}: {refusal}. {bring_back}."));
        return Some(Verdict::waiting(obstacle.reason(), message));
    }
    Some(match consent(case, survivor, &names) {
        Consent::Given(verdict) => verdict,
        Consent::Missing(sentence, until) => {
            message.push_str(&format!(" {bring_back}. {sentence}"));
            Verdict { until, ..Verdict::waiting(obstacle.reason(), message) }
        }
    })
}

/// A sentence after another one: since when the principal is lost, and until when Lync users keep their functionality (R23). Empty
/// for the other types.
pub(crate) fn limited_functionality(ty: DatabaseType, tracking: &TypeTracking) -> String {
    match (tracking.principal_lost_since, ty) {
        (Some(since), DatabaseType::User) => format!(
            " First observed at {}. If no server serves them, Lync users fall back to limited functionality about 30 minutes after the loss ({}).",
            second(since),
            second(later(since, RESILIENCY))
        ),
        _ => String::new(),
    }
}

/// The refusal of a consent while nothing proves that the principal is gone. None: there is no consent, or another state.
fn unproved(case: &Case) -> Option<Verdict> {
    case.desired_type.force.as_ref()?;
    let mirror = |finding: &Finding| match &finding.obstacle {
        Some(Obstacle::Unavailable { shown: Some(shown), .. }) if shown.role == Role::Mirror => Some(shown.state),
        _ => None,
    };
    let reason = |finding: &Finding| {
        mirror(finding).map(|state| match state {
            MirroringState::Disconnected | MirroringState::Suspended => {
                "nothing proves that the other server does not answer on its own port"
            }
            MirroringState::Synchronizing
            | MirroringState::Synchronized
            | MirroringState::PendingFailover
            | MirroringState::Unknown(_) => {
                "the mirror is neither DISCONNECTED nor SUSPENDED, and may still be connected"
            }
        })
    };
    let finding = case.findings.iter().find(|finding| reason(finding).is_some())?;
    let why = reason(finding)?;
    let obstacle = finding.obstacle.as_ref()?;
    let names = list(case.findings.iter().filter(|other| reason(other) == Some(why)).map(|other| &other.name));
    let message = format!("{} Forced service is refused: {why}.", obstacle.message(&names, case.pair));
    Some(Verdict::waiting(obstacle.reason(), message))
}

enum Consent {
    Given(Verdict),
    /// Why there is none, and when time alone changes that.
    Missing(String, Option<jiff::Timestamp>),
}

/// Whether the spec consents to forced service in exactly this state.
fn consent(case: &Case, survivor: Seat, names: &str) -> Consent {
    let Case { input, desired_type, tracking, pair, .. } = *case;
    let current = epoch(case.findings);
    let state = current.as_ref().map(ToString::to_string).unwrap_or_default();
    let server = pair.label(survivor);
    let old = pair.label(survivor.other());
    let price = price(case, &server, names);
    let Some(force) = &desired_type.force else {
        return Consent::Missing(
            format!(
                "If it is lost for good, follow docs/how-to/force-service.md from step 0, which checks that no client reaches the {old}. {price}. The epoch of {} is {state}.",
                desired_type.ty
            ),
            None,
        );
    };
    let until = Some(force.until).filter(|until| input.now < *until);
    let missing = |sentence: String| Consent::Missing(sentence, until);
    if !input.satisfied(Precondition::ConsentNamesEpoch, Some(&force.epoch) == current.as_ref()) {
        return missing(format!(
            "The consent for epoch {} does not apply, as the current epoch is {state}. {price}.",
            force.epoch
        ));
    }
    if !input.satisfied(Precondition::ConsentUnused, !consents::is_spent(tracking, &force.consent())) {
        return missing(format!(
            "The consent until {} no longer applies: it was used, or the old principal was back while the spec had it. Read the outcome in status.history and check the {server}. A new until is a new consent.",
            second(force.until)
        ));
    }
    if !input.satisfied(Precondition::ConsentNotExpired, input.now < force.until) {
        return missing(format!("The consent ended at {}. {price}.", second(force.until)));
    }
    if !input.satisfied(Precondition::ConsentFenced, force.fenced) {
        return missing(format!(
            "The consent does not state that no client can reach the {old}. Make sure of it, then set oldPrincipalFenced: true."
        ));
    }
    if !input.satisfied(Precondition::ForceNotSuspended, !input.is_suspended()) {
        return missing("The spec consents to forced service, and spec.suspend holds it back.".to_owned());
    }
    if let Some(end) = pause(case) {
        return Consent::Missing(
            format!("The last attempt to force service failed. The next one is made at {}.", second(end)),
            Some(end),
        );
    }
    Consent::Given(Verdict {
        reason: Reason::Moving,
        message: format!(
            "Forcing service of {names} on the {server} by consent for epoch {state} until {}: data may be lost.",
            second(force.until)
        ),
        release: Release::Ready(Cause::ForcedService),
        until: None,
        step: None,
    })
}

/// What forced service does and what it costs, without a period.
fn price(case: &Case, server: &str, names: &str) -> String {
    let suspended =
        |finding: &Finding| matches!(finding.obstacle, Some(Obstacle::PrincipalLost { suspended: true, .. }));
    let without = if case.findings.iter().any(suspended) {
        "which ends where mirroring was SUSPENDED: every later change is lost"
    } else {
        "without what the old principal had not sent"
    };
    format!("Forced service on the {server} serves {names} again from its copy, {without}")
}

/// The end of the pause after an attempt that sent nothing.
fn pause(case: &Case) -> Option<jiff::Timestamp> {
    let last = case.persisted.last.get(&case.desired_type.ty)?;
    let failed = Some(last.ended).filter(|_| last.outcome == Outcome::Failed);
    let failed = last.later_failure.or(failed).filter(|_| last.cause == Cause::ForcedService)?;
    let end = later(failed, failure_pause(case.tracking));
    (!case.input.satisfied(Precondition::ForcePaused, case.input.now >= end)).then_some(end)
}

/// Why service must not be forced, whether consented to or not. None: service could be forced. What no edit of the spec
/// lifts comes first, so that no edit is in vain.
pub(crate) fn refusal(case: &Case, survivor: Seat) -> Option<String> {
    let Case { input, tracking, pair, .. } = *case;
    if let Some(refusal) = forced_elsewhere(case, survivor)
        .or_else(|| case.findings.iter().find_map(|finding| refusal_of(case, finding, survivor)))
        .or_else(|| still_connected(case, survivor))
    {
        return Some(refusal);
    }
    let together = identity::compare(tracking.pair.as_ref(), pair) == SameServers::Yes;
    let unknown = case.findings.iter().find(|finding| !identity::is_known_session(&tracking.sessions, finding));
    let old = survivor.other();
    let address = tracking.pair.as_ref().map(|known| known.server(old).address.as_str());
    let edited = address.filter(|known| !known.eq_ignore_ascii_case(pair.view(old).address()));
    (!input.satisfied(Precondition::ForceSeenTogether, together && unknown.is_none())).then(|| match (unknown, edited) {
        (Some(finding), _) if together => {
            format!("the operator never read the present mirroring session of {} on both servers", finding.name)
        }
        (_, Some(known)) => format!(
            "the operator last saw both servers together when the address of the {} was {known}, so that the present one may be wrong (undo this change of spec.sql)",
            old.word()
        ),
        // A wrong port in the spec is indistinguishable from a server that is down.
        _ => "the operator never saw both servers of the pair together under these addresses, so that the address may be wrong"
            .to_owned(),
    })
}

/// Service was forced on the other server before, so that only its copy has what clients changed since.
fn forced_elsewhere(case: &Case, survivor: Seat) -> Option<String> {
    let last = case.persisted.last.get(&case.desired_type.ty)?;
    let newer = forced_on(last, case.pair, case.tracking.pair.as_ref()).filter(|seat| *seat != survivor)?;
    let was = if last.outcome == Outcome::Unknown { "may have been" } else { "was" };
    Some(format!(
        "service {was} forced on the {} at {}, and only that copy has what clients changed since",
        case.pair.label(newer),
        second(last.ended)
    ))
}

/// A row of the survivor, of any database, proves that the old principal runs and reaches it.
fn still_connected(case: &Case, survivor: Seat) -> Option<String> {
    let Case { pair, findings, .. } = *case;
    let lost = findings.iter().filter(|finding| lost_seat(finding).is_some());
    let partners: Vec<&str> = lost
        .filter_map(|finding| Some(pair.row(survivor, &finding.name)?.partner_instance.as_str()))
        .filter(|name| !name.is_empty())
        .collect();
    let connected = |row: &Mirroring| {
        !case.input.satisfied(Precondition::ForceNoneConnected, !is_connected(row))
            && partners.iter().any(|partner| same_name(partner, &row.partner_instance))
    };
    let mut databases = pair.view(survivor).available()?.databases.iter();
    let (name, row) = databases
        .find_map(|(name, database)| Some((name, database.mirroring.as_ref().filter(|row| connected(row))?)))?;
    Some(format!("{name} is {} and still connected to {}, which therefore runs", row.state, row.partner_instance))
}

fn refusal_of(case: &Case, finding: &Finding, survivor: Seat) -> Option<String> {
    let input = case.input;
    match &finding.obstacle {
        Some(Obstacle::PrincipalLost { witness, .. })
            if !input.satisfied(Precondition::ForceNoWitness, *witness == WitnessLink::None) =>
        {
            Some(format!("{} has a witness ({witness}), and with a witness only a DBA may force service", finding.name))
        }
        // The guard compares the name, and Microsoft documents no session without it.
        Some(Obstacle::PrincipalLost { .. }) => {
            let row = case.pair.row(survivor, &finding.name);
            row.is_some_and(|row| row.partner_instance.is_empty()).then(|| {
                format!("{} names no server as its partner, so that only a DBA may force its service", finding.name)
            })
        }
        // Already serving here: forced before, or never lost.
        _ if finding.principal == Some(survivor) => None,
        _ => input.enforced(Precondition::ForceAllAlike).then(|| format!("{} is not in the same state", finding.name)),
    }
}

/// S14, S15: what an administrator has to decide after a forced service. The operator resumes nothing (R11). It is over once
/// both partners were synchronized again.
pub(crate) fn aftermath(case: &Case, obstacle: &Obstacle, names: &str) -> Option<Verdict> {
    let last = case.persisted.last.get(&case.desired_type.ty)?;
    if !last.may_be_forced() || !case.findings.iter().all(|finding| finding.online) {
        return None;
    }
    if let Some(verdict) = old_principal_open(case, last) {
        return Some(verdict);
    }
    if last.outcome == Outcome::Unknown {
        return None;
    }
    let left = match obstacle {
        Obstacle::Suspended { principal, versions } => {
            let upgrade = match versions {
                Some(_) => format!(
                    " The principal is on a newer release, so that RESUME needs an upgrade of the {} first.",
                    case.pair.label(principal.other())
                ),
                None => String::new(),
            };
            format!(
                "Both servers answer and mirroring is SUSPENDED; the operator does not resume it. To fix: save what only the old principal has before anything is resumed, see docs/reasons/ServiceForced.md. RESUME destroys it.{upgrade}"
            )
        }
        Obstacle::Unavailable { .. }
        | Obstacle::Disconnected
        | Obstacle::Recovering { .. }
        | Obstacle::IsolatedPrincipal { .. } => format!(
            "It serves without a mirror. When the old principal comes back it becomes a suspended mirror, and the operator does not resume it. {} Do not remove mirroring while the old principal is away, see docs/reasons/ServiceForced.md.",
            message_of_all(case.findings, case.pair, obstacle, names)
        ),
        Obstacle::Synchronizing => "Both partners are connected again, and the mirror is catching up.".to_owned(),
        // The log of the old principal can be the only place of what it had not sent.
        Obstacle::NotOnline { seat, .. } | Obstacle::Hidden { seat, .. } | Obstacle::Missing { seat }
            if forced_on(last, case.pair, case.tracking.pair.as_ref()) == Some(seat.other()) =>
        {
            format!(
                "{names}: {}. To fix: save the log of this copy before any repair, as it can be the only place of what the old principal had not sent, see docs/reasons/ServiceForced.md.",
                obstacle.problem(case.pair)
            )
        }
        _ => return None,
    };
    let server = last.to_server.as_deref().unwrap_or("the surviving server");
    let names = list(case.findings.iter().map(|finding| &finding.name));
    let message = format!("{names}: service was forced on {server} at {}. {left}", second(last.ended));
    Some(Verdict::waiting(Reason::ServiceForced, message))
}

/// The seat of the server that service was forced on, also while that is in flight. None: another state, or its server is not
/// known.
pub(crate) fn forced_seat(case: &Case, in_flight: Option<&Operation>) -> Option<Seat> {
    let forces = in_flight.filter(|operation| operation.cause == Cause::ForcedService);
    forces.map(|operation| operation.to).or_else(|| {
        let last = case.persisted.last.get(&case.desired_type.ty)?;
        forced_on(last, case.pair, case.tracking.pair.as_ref())
    })
}

/// The operator reads the principal that was fenced for the forced service, and not the server that service was forced on.
fn old_principal_open(case: &Case, last: &Attempt) -> Option<Verdict> {
    let open = seat_of(case.findings)?;
    let forced = forced_on(last, case.pair, case.tracking.pair.as_ref()).filter(|seat| *seat != open)?;
    let took_back = |finding: &Finding| {
        let roles = case.tracking.roles.get(&finding.name);
        roles.is_some_and(|roles| roles.principal == open && roles.replaced.is_some())
    };
    if case.pair.view(forced).available().is_some() || case.findings.iter().all(took_back) {
        return None;
    }
    let (old, new) = (case.pair.label(open), case.pair.label(forced));
    let was = if last.outcome == Outcome::Unknown { "may have been" } else { "was" };
    let message = format!(
        "{}: service {was} forced on the {new} at {}, and the operator does not read it now. The {old}, which no client was to reach, has the principal role and is ONLINE, without what the {new} accepted since. To fix: cut all clients off the {old}, then see docs/reasons/ServiceForced.md.",
        list(case.findings.iter().map(|finding| &finding.name)),
        second(last.ended)
    );
    let step = format!("cut all clients off the {old}, then read docs/reasons/ServiceForced.md");
    Some(Verdict::waiting(Reason::ServiceForced, message).with_step(step))
}
