//! Forced service: the only action that may lose data. It requires a lost principal without a witness and a consent for
//! exactly this state (R1, R2). Every other state with a lost principal is refused here, with the reason.

use crate::model::{
    Attempt, Cause, DatabaseType, MirroringState, Operation, Outcome, Pair, PairIdentity, Reason, Role, Seat,
    WitnessLink, later,
};
use crate::plan::consents;
use crate::plan::finding::{Finding, epoch, message_of_all, seat_of};
use crate::plan::identity::{self, SameServers};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Precondition;
use crate::plan::row::{is_named, same_name};
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
    if let (Some(since), DatabaseType::User) = (tracking.principal_lost_since, desired_type.ty) {
        message.push_str(&format!(
            " First observed at {}. If no server serves them, Lync users fall back to limited functionality about 30 minutes after the loss ({}).",
            second(since),
            second(later(since, RESILIENCY))
        ));
    }
    let bring_back = format!("To fix: bring the {} back", pair.label(survivor.other()));
    if let Some(refusal) = refusal(case, survivor) {
        message.push_str(&format!(" Forced service is refused: {refusal}. {bring_back}."));
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
                "If it is lost for good: {price}. First make sure that no client reaches the {old} (docs/how-to/force-service.md, step 0), then set forceService: {{epoch: \"{state}\", acceptDataLoss: true, oldPrincipalFenced: true, until: <time>}} on type {}.",
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
            "The consent does not vouch that the {old} is fenced. Make sure that no client reaches it, then set oldPrincipalFenced: true."
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
    let end = later(last.ended, failure_pause(case.tracking));
    let failed = last.cause == Cause::ForcedService && last.outcome == Outcome::Failed;
    (failed && !case.input.satisfied(Precondition::ForcePaused, case.input.now >= end)).then_some(end)
}

/// Why service must not be forced, whether consented to or not. None: service could be forced. What no edit of the spec
/// lifts comes first, so that no edit is in vain.
pub(crate) fn refusal(case: &Case, survivor: Seat) -> Option<String> {
    let Case { input, tracking, pair, .. } = *case;
    if let Some(refusal) = case.findings.iter().find_map(|finding| refusal_of(case, finding, survivor)) {
        return Some(refusal);
    }
    let known = |finding: &Finding| {
        let session = finding.session.map(|session| session.guid);
        session.is_some() && tracking.sessions.get(&finding.name).copied() == session
    };
    let together = identity::compare(tracking.pair.as_ref(), pair) == SameServers::Yes;
    let unknown = case.findings.iter().find(|finding| !known(finding));
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

fn refusal_of(case: &Case, finding: &Finding, survivor: Seat) -> Option<String> {
    let input = case.input;
    match &finding.obstacle {
        Some(Obstacle::PrincipalLost { witness, .. })
            if !input.satisfied(Precondition::ForceNoWitness, *witness == WitnessLink::None) =>
        {
            Some(format!(
                "{} has a witness ({witness}), and with a witness SQL Server decides, which only a DBA may overrule",
                finding.name
            ))
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
    if !may_be_forced(last) || !case.findings.iter().all(|finding| finding.online) {
        return None;
    }
    if let Some(verdict) = old_principal_open(case, last) {
        return Some(verdict);
    }
    if last.outcome == Outcome::Unknown {
        return None;
    }
    let left = match obstacle {
        Obstacle::Suspended { versions } => {
            let upgrade = match versions {
                Some((principal, mirror)) => format!(
                    " The principal is newer ({principal}) than the mirror ({mirror}), so that RESUME needs an upgrade of the mirror first."
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
        _ => return None,
    };
    let server = last.to_server.as_deref().unwrap_or("the surviving server");
    let names = list(case.findings.iter().map(|finding| &finding.name));
    let message = format!("{names}: service was forced on {server} at {}. {left}", second(last.ended));
    Some(Verdict::waiting(Reason::ServiceForced, message))
}

/// A forced service that took effect, or may have, and whose partners were not synchronized again.
fn may_be_forced(last: &Attempt) -> bool {
    let took_effect = match last.outcome {
        Outcome::Succeeded | Outcome::Partial | Outcome::Unknown => true,
        Outcome::Failed | Outcome::Superseded => false,
    };
    last.cause == Cause::ForcedService && took_effect && !last.synchronized
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

/// `known`: the servers of the type. A server that is read is compared by its own names, as it can have been renamed; one that is
/// not read by the name that it had.
pub(crate) fn forced_on(last: &Attempt, pair: &Pair, known: Option<&PairIdentity>) -> Option<Seat> {
    let to = last.to_server.as_deref().filter(|_| may_be_forced(last))?;
    Seat::BOTH.into_iter().find(|seat| match pair.view(*seat).available() {
        Some(server) => is_named(server, to),
        None => known.is_some_and(|known| same_name(to, &known.server(*seat).name)),
    })
}

/// The operator reads the principal that was fenced for the forced service, and not the server that service was forced on.
fn old_principal_open(case: &Case, last: &Attempt) -> Option<Verdict> {
    let open = seat_of(case.findings)?;
    let forced = forced_on(last, case.pair, case.tracking.pair.as_ref()).filter(|seat| *seat != open)?;
    let (old, new) = (case.pair.label(open), case.pair.label(forced));
    let was = if last.outcome == Outcome::Unknown { "may have been" } else { "was" };
    let message = format!(
        "{}: service {was} forced on the {new} at {}, and the operator does not read it now. The {old}, which was to be fenced, has the principal role and is ONLINE, without what the {new} accepted since. To fix: cut all clients off the {old}, then see docs/reasons/ServiceForced.md.",
        list(case.findings.iter().map(|finding| &finding.name)),
        second(last.ended)
    );
    let step = format!("cut all clients off the {old}, then read docs/reasons/ServiceForced.md");
    Some(Verdict::waiting(Reason::ServiceForced, message).with_step(step))
}
