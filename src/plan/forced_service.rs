//! Forced service: the one act that may lose data. Only the documented disaster without a witness, and only by consent
//! for exactly this state (R1, R2). Everything else that lost its principal is refused here, with the reason.

use crate::model::{Cause, MirroringState, Outcome, Reason, Seat, UnavailableCause, WitnessLink, later};
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
        "{names}: the mirror lost its principal on the {}, nobody serves ({})",
        seat.word(),
        unavailable.detail.trim_end_matches('.')
    );
    match tracking.principal_lost_since {
        Some(since) => message.push_str(&format!(
            ", noticed at {}. Lync users fall back to limited functionality about 30 minutes after the loss ({}).",
            second(since),
            second(later(since, RESILIENCY))
        )),
        None => message.push('.'),
    }
    if let Some(refusal) = refusal(case, survivor) {
        message.push_str(&format!(" Bring the principal back. Forced service is refused: {refusal}."));
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
        "Forced service on the {} would serve {names} again from its copy; what the lost principal had committed and not sent is lost for good once mirroring is resumed",
        survivor.word()
    );
    let state = state.map(|epoch| epoch.to_string()).unwrap_or_default();
    Consent::Missing(match (live, &desired_type.force) {
        (Some(_), _) if used => format!(
            " The consent for epoch {state} has been used and does nothing any more (status.history tells what came of it); look at the {}.",
            survivor.word()
        ),
        (Some(force), _) if !input.satisfied(Precondition::ConsentNotExpired, input.now < force.until) => {
            format!(" The consent to forced service ended at {} and does nothing. {price}.", second(force.until))
        }
        (Some(_), _) if !input.satisfied(Precondition::ForceNotSuspended, !input.is_suspended()) => {
            " There is consent to forced service; spec.suspend holds it.".to_owned()
        }
        (Some(force), _) => {
            return Consent::Given(Verdict {
                reason: Reason::Moving,
                message: format!(
                    "forcing service of {names} on the {} by consent for epoch {state} until {}: data may be lost",
                    survivor.word(),
                    second(force.until)
                ),
                release: Release::Ready(Cause::ForcedService),
                until: None,
            });
        }
        (None, Some(stale)) => {
            format!(" The consent names epoch {}, the present epoch is {state}: it does nothing. {price}.", stale.epoch)
        }
        (None, None) => format!(
            " Bring the principal back. If it is lost for good: {price}. To consent, once: on type {} set forceService: {{epoch: \"{state}\", acceptDataLoss: true, until: <time>}}.",
            desired_type.ty
        ),
    })
}

/// Why service must not be forced, whether consented to or not. None: service could be forced.
pub(crate) fn refusal(case: &Case, survivor: Seat) -> Option<String> {
    let Case { input, desired_type, tracking, .. } = *case;
    if desired_type.principal != survivor {
        return Some(format!(
            "the spec wants the principal on the lost {}; set principal: {survivor} first",
            survivor.other().word()
        ));
    }
    if !input.satisfied(Precondition::ForceSeenTogether, tracking.last_settled_seat.is_some()) {
        // A wrong port in the spec looks like a dead server.
        return Some("both servers of the pair were never seen together under this spec".to_owned());
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
                "{} has a witness (seen as {witness}): with a witness SQL Server decides, and only a DBA may overrule it",
                finding.name
            ));
        }
        Some(Obstacle::PrincipalLost { unavailable, .. })
            if !input.satisfied(Precondition::ForceServerGone, is_gone(unavailable.cause)) =>
        {
            return Some(
                "the lost server answers, or nothing tells that it does not: it may still be serving".to_owned(),
            );
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

/// Nothing at all answered at the address of the server (R2). A server that refuses a login or a certificate is alive.
fn is_gone(cause: UnavailableCause) -> bool {
    match cause {
        UnavailableCause::ConnectionRefused | UnavailableCause::TimedOut | UnavailableCause::BrowserSilent => true,
        UnavailableCause::NotYetPolled
        | UnavailableCause::SecretNotFound
        | UnavailableCause::SecretKeyMissing
        | UnavailableCause::CredentialsForbidden
        | UnavailableCause::CaBundleNotFound
        | UnavailableCause::CaBundleInvalid
        | UnavailableCause::HostNotFound
        | UnavailableCause::InstanceNotFound
        | UnavailableCause::Unresponsive
        | UnavailableCause::ConnectionLost
        | UnavailableCause::TlsFailed
        | UnavailableCause::KdcUnreachable
        | UnavailableCause::SpnUnknown
        | UnavailableCause::TicketExpired
        | UnavailableCause::NoKerberosCredentials
        | UnavailableCause::LoginFailed
        | UnavailableCause::LoginLocked
        | UnavailableCause::QueryFailed
        | UnavailableCause::ProtocolError => false,
    }
}

/// S14, S15: what an administrator has to decide after a forced service. The operator resumes nothing (R11).
pub(crate) fn aftermath(case: &Case, obstacle: &Obstacle, of: &str) -> Option<Verdict> {
    let last = case.persisted.last.get(&case.desired_type.ty)?;
    let left = match obstacle {
        Obstacle::Suspended { .. } => {
            "Both servers answer, mirroring is SUSPENDED. Decide which data to keep: RESUME on the principal (ALTER DATABASE ... SET PARTNER RESUME) throws away for good what the old principal had not sent; SET PARTNER OFF keeps both copies for salvage and ends mirroring"
        }
        Obstacle::Unavailable { .. } | Obstacle::Disconnected => {
            "It serves alone, without a mirror. When the old principal comes back it becomes a suspended mirror; nothing is lost before somebody resumes mirroring"
        }
        _ => return None,
    };
    let forced = last.cause == Cause::ForcedService && matches!(last.outcome, Outcome::Succeeded | Outcome::Partial);
    forced.then(|| {
        Verdict::waiting(
            Reason::ServiceForced,
            format!(
                "{of}: service was forced on the {} at {}. {left}. The operator resumes nothing. Now: {}",
                case.desired_type.principal.word(),
                second(last.ended),
                obstacle.words(of)
            ),
        )
    })
}
