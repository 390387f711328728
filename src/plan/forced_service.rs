//! Forced service: the only action that may lose data. It requires a lost principal without a witness and a consent for
//! exactly this state (R1, R2). Every other state with a lost principal is refused here, with the reason.

use crate::model::{Cause, Evidence, MirroringState, Outcome, Reason, Seat, UnavailableCause, WitnessLink, later};
use crate::plan::finding::{Finding, epoch};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Precondition;
use crate::plan::text::{list, second};
use crate::plan::types::{Case, Release, Verdict};

/// Lync users are in limited functionality about this long after the loss ("Back End Server High Availability").
const RESILIENCY: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// The verdict of a type whose mirror lost its principal. None: the type is in another state.
pub(crate) fn verdict(case: &Case) -> Option<Verdict> {
    let Case { input, desired_type, tracking, findings, .. } = *case;
    let lost: Vec<&Finding> =
        findings.iter().filter(|finding| matches!(finding.obstacle, Some(Obstacle::PrincipalLost { .. }))).collect();
    let Some(Obstacle::PrincipalLost { seat, unavailable, .. }) =
        lost.first().and_then(|first| first.obstacle.as_ref())
    else {
        return None;
    };
    let names = list(lost.iter().map(|finding| &finding.name));
    let survivor = seat.other();
    let mut message = format!(
        "{names}: the mirror lost its principal on the {} and does not serve the database. {}",
        seat.word(),
        unavailable.detail
    );
    if let Some(since) = tracking.principal_lost_since {
        message.push_str(&format!(
            " First observed at {}. Lync users fall back to limited functionality about 30 minutes after the loss ({}).",
            second(since),
            second(later(since, RESILIENCY))
        ));
    }
    if let Some(refusal) = refusal(case, survivor) {
        message.push_str(&format!(" Forced service is refused: {refusal}. To fix: bring the principal back."));
        return Some(Verdict::waiting(Reason::PrincipalLost, message));
    }
    Some(match consent(case, survivor, &names) {
        Consent::Given(verdict) => verdict,
        Consent::Missing(sentence) => {
            message.push_str(&sentence);
            let until = desired_type.force.as_ref().map(|force| force.until).filter(|until| input.now < *until);
            Verdict { until, ..Verdict::waiting(Reason::PrincipalLost, message) }
        }
    })
}

enum Consent {
    Given(Verdict),
    /// Why there is none, as a sentence with a leading space.
    Missing(String),
}

/// Whether the spec consents to forced service in exactly this state.
fn consent(case: &Case, survivor: Seat, names: &str) -> Consent {
    let Case { input, desired_type, tracking, .. } = *case;
    let state = epoch(case.findings);
    let names_state = |epoch| input.satisfied(Precondition::ConsentNamesEpoch, Some(epoch) == state.as_ref());
    let live = desired_type.force.as_ref().filter(|force| names_state(&force.epoch));
    let used = input.enforced(Precondition::ConsentUnused)
        && live.is_some_and(|force| tracking.consumed_consent_epoch.as_ref() == Some(&force.epoch));
    let price = format!(
        "Forced service on the {} serves {names} again from its copy. What the lost principal had committed and not sent is lost once mirroring is resumed",
        survivor.word()
    );
    let state = state.map(|epoch| epoch.to_string()).unwrap_or_default();
    Consent::Missing(match (live, &desired_type.force) {
        (Some(_), _) if used => format!(
            " The consent for epoch {state} has been used and does not apply again. To fix: read the outcome in status.history and check the {}.",
            survivor.word()
        ),
        (Some(force), _) if !input.satisfied(Precondition::ConsentNotExpired, input.now < force.until) => {
            format!(" The consent to forced service ended at {} and does not apply. {price}.", second(force.until))
        }
        (Some(_), _) if !input.satisfied(Precondition::ForceNotSuspended, !input.is_suspended()) => {
            " The spec consents to forced service, and spec.suspend holds it back.".to_owned()
        }
        (Some(force), _) => {
            return Consent::Given(Verdict {
                reason: Reason::Moving,
                message: format!(
                    "Forcing service of {names} on the {} by consent for epoch {state} until {}: data may be lost.",
                    survivor.word(),
                    second(force.until)
                ),
                release: Release::Ready(Cause::ForcedService),
                until: None,
            });
        }
        (None, Some(stale)) => {
            format!(" The consent for epoch {} does not apply, as the current epoch is {state}. {price}.", stale.epoch)
        }
        (None, None) => format!(
            " To fix: bring the principal back. {price}. To consent once if the principal is lost for good: set forceService: {{epoch: \"{state}\", acceptDataLoss: true, until: <time>}} on type {}.",
            desired_type.ty
        ),
    })
}

/// Why service must not be forced, whether consented to or not. None: service could be forced.
pub(crate) fn refusal(case: &Case, survivor: Seat) -> Option<String> {
    let Case { input, desired_type, tracking, .. } = *case;
    if desired_type.principal != survivor {
        return Some(format!(
            "the spec wants the principal on the lost {}, so that principal: {survivor} must be set first",
            survivor.other().word()
        ));
    }
    if !input.satisfied(Precondition::ForceSeenTogether, tracking.last_settled_seat.is_some()) {
        // A wrong port in the spec is indistinguishable from a server that is down.
        return Some("the operator never saw both servers of the pair together under this spec".to_owned());
    }
    case.findings.iter().find_map(|finding| refusal_of(case, finding, survivor))
}

fn refusal_of(case: &Case, finding: &Finding, survivor: Seat) -> Option<String> {
    let input = case.input;
    match &finding.obstacle {
        Some(Obstacle::PrincipalLost { witness, .. })
            if !input.satisfied(Precondition::ForceNoWitness, *witness == WitnessLink::None) =>
        {
            return Some(format!(
                "{} has a witness ({witness}), and with a witness SQL Server decides, which only a DBA may overrule",
                finding.name
            ));
        }
        Some(Obstacle::PrincipalLost { unavailable, .. })
            if !input.satisfied(Precondition::ForceServerGone, is_gone(unavailable.cause)) =>
        {
            return Some("the lost server may still serve, as nothing proves that it does not answer".to_owned());
        }
        Some(Obstacle::PrincipalLost { .. }) => {}
        // Already serving here: forced before, or never lost.
        _ if finding.principal == Some(survivor) => return None,
        _ if !input.enforced(Precondition::ForceAllAlike) => return None,
        _ => return Some(format!("{} is not in the same state", finding.name)),
    }
    let server = case.pair.view(survivor).available();
    let row = server.and_then(|server| server.databases.get(&finding.name)?.mirroring.as_ref());
    let disconnected = row.is_some_and(|row| row.state == MirroringState::Disconnected);
    (!input.satisfied(Precondition::ForceDisconnected, disconnected))
        .then(|| format!("{} is not DISCONNECTED on the {}", finding.name, survivor.word()))
}

/// The instance's own port does not answer (R2). A silent SQL Browser or a refused certificate proves no loss.
fn is_gone(cause: UnavailableCause) -> bool {
    cause.evidence() == Evidence::NotAnswering
}

/// S14, S15: what an administrator has to decide after a forced service. The operator resumes nothing (R11).
pub(crate) fn aftermath(case: &Case, obstacle: &Obstacle, names: &str) -> Option<Verdict> {
    let last = case.persisted.last.get(&case.desired_type.ty)?;
    let left = match obstacle {
        Obstacle::Suspended { versions } => {
            let upgrade = match versions {
                Some((principal, mirror)) => format!(
                    " The versions differ (principal {principal}, mirror {mirror}), so that RESUME needs an upgrade of the older server first."
                ),
                None => String::new(),
            };
            format!(
                "Both servers answer and mirroring is SUSPENDED; the operator does not resume it. To fix: decide which data to keep. ALTER DATABASE ... SET PARTNER RESUME on the principal destroys what the old principal had not sent; SET PARTNER OFF keeps both copies and ends mirroring.{upgrade}"
            )
        }
        Obstacle::Unavailable { .. } | Obstacle::Disconnected => format!(
            "It serves without a mirror. When the old principal comes back it becomes a suspended mirror, and nothing is lost before mirroring is resumed; the operator does not resume it. {}",
            obstacle.message(names)
        ),
        _ => return None,
    };
    let forced = last.cause == Cause::ForcedService && matches!(last.outcome, Outcome::Succeeded | Outcome::Partial);
    forced.then(|| {
        let message = format!(
            "{names}: service was forced on the {} at {}. {left}",
            case.desired_type.principal.word(),
            second(last.ended)
        );
        Verdict::waiting(Reason::ServiceForced, message)
    })
}
