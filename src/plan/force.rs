//! Forced service: the one act that may lose data. Only the documented disaster without a witness, and only by consent
//! for exactly this state (R1, R2). Everything else that lost its principal is refused here, with the reason.

use jiff::Timestamp;

use crate::model::{Cause, Dark, MirroringState, Observation, Reason, Side, Track, View, Wish, WitnessLink, later};
use crate::plan::rule::stands;
use crate::plan::verdict::{Release, Verdict, second};
use crate::plan::{Act, Failover, Finding, Obstacle, Rule, epoch, holds, list};

/// Lync users are in limited functionality about this long after the loss ("Back End Server High Availability").
const RESILIENCY: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// The verdict of a type whose mirror lost its principal. None: that is not the matter here.
pub(crate) fn verdict(
    seen: &Observation,
    wish: &Wish,
    findings: &[Finding],
    track: &Track,
    suspended: bool,
    now: Timestamp,
) -> Option<Verdict> {
    let lost: Vec<&Finding> =
        findings.iter().filter(|finding| matches!(finding.obstacle, Some(Obstacle::PrincipalLost { .. }))).collect();
    let Some(Obstacle::PrincipalLost { side, darkness, .. }) = lost.first().and_then(|first| first.obstacle.as_ref())
    else {
        return None;
    };
    let names = list(lost.iter().map(|finding| &finding.name));
    let survivor = side.other();
    let mut message = format!(
        "{names}: the mirror lost its principal on the {}, nobody serves ({})",
        side.word(),
        darkness.detail.trim_end_matches('.')
    );
    if let Some(since) = track.lost {
        message.push_str(&format!(
            ", noticed at {}. Lync users fall back to limited functionality about 30 minutes after the loss ({}).",
            second(since),
            second(later(since, RESILIENCY))
        ));
    } else {
        message.push('.');
    }
    if let Some(refusal) = refusal(wish, seen, findings, track, survivor) {
        message.push_str(&format!(" Bring the principal back. Forced service is refused: {refusal}."));
        return Some(Verdict::waiting(Reason::PrincipalLost, message));
    }
    let state = epoch(findings);
    let live = wish.force.as_ref().filter(|force| holds(Rule::ConsentNamesEpoch, Some(&force.epoch) == state.as_ref()));
    let used = stands(Rule::ConsentUnused) && live.is_some_and(|force| track.consumed.as_ref() == Some(&force.epoch));
    let price = format!(
        "Forced service on the {} would serve {names} again from its copy; what the lost principal had committed and not sent is lost for good once mirroring is resumed",
        survivor.word()
    );
    let state = state.map(|epoch| epoch.to_string()).unwrap_or_default();
    match (live, &wish.force) {
        (Some(_), _) if used => message.push_str(&format!(
            " The consent for epoch {state} has been used and does nothing any more (status.history tells what came of it); look at the {}.",
            survivor.word()
        )),
        (Some(force), _) if !holds(Rule::ConsentNotExpired, now < force.until) => message.push_str(&format!(
            " The consent to forced service ended at {} and does nothing. {price}.",
            second(force.until)
        )),
        (Some(_), _) if !holds(Rule::ForceNotSuspended, !suspended) => {
            message.push_str(" There is consent to forced service; spec.suspend holds it.");
        }
        (Some(force), _) => {
            return Some(Verdict {
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
        (None, Some(stale)) => message.push_str(&format!(
            " The consent names epoch {}, the present epoch is {state}: it does nothing. {price}.",
            stale.epoch
        )),
        (None, None) => message.push_str(&format!(
            " Bring the principal back. If it is lost for good: {price}. To consent, once: on type {} set forceService: {{epoch: \"{state}\", acceptDataLoss: true, until: <time>}}.",
            wish.ty
        )),
    }
    let until = wish.force.as_ref().map(|force| force.until).filter(|until| now < *until);
    Some(Verdict { until, ..Verdict::waiting(Reason::PrincipalLost, message) })
}

/// Why service must not be forced, whoever consents. None: it could be.
fn refusal(wish: &Wish, seen: &Observation, findings: &[Finding], track: &Track, survivor: Side) -> Option<String> {
    if wish.principal != survivor {
        return Some(format!(
            "the spec wants the principal on the lost {}; set principal: {survivor} first",
            survivor.other().word()
        ));
    }
    if !holds(Rule::ForceSeenTogether, track.seat.is_some()) {
        // A wrong port in the spec looks like a dead server.
        return Some("both servers of the pair were never seen together under this spec".to_owned());
    }
    let pair = seen.pairs.get(wish.store)?;
    for finding in findings {
        match &finding.obstacle {
            Some(Obstacle::PrincipalLost { witness, .. })
                if !holds(Rule::ForceNoWitness, *witness == WitnessLink::None) =>
            {
                return Some(format!(
                    "{} has a witness (seen as {witness}): with a witness SQL Server decides, and only a DBA may overrule it",
                    finding.name
                ));
            }
            Some(Obstacle::PrincipalLost { darkness, .. })
                if !holds(Rule::ForceServerGone, is_gone(darkness.cause)) =>
            {
                return Some(
                    "the lost server answers, or nothing tells that it does not: it may still be serving".to_owned(),
                );
            }
            Some(Obstacle::PrincipalLost { .. }) => {}
            // Already serving here: forced before, or never lost.
            _ if finding.principal == Some(survivor) => continue,
            _ if !stands(Rule::ForceAllAlike) => continue,
            _ => return Some(format!("{} is not in the same state", finding.name)),
        }
        let row = pair.view(survivor).lit().and_then(|server| server.databases.get(&finding.name)?.mirroring.as_ref());
        if !holds(Rule::ForceDisconnected, row.is_some_and(|row| row.state == MirroringState::Disconnected)) {
            return Some(format!("{} is not DISCONNECTED on the {}", finding.name, survivor.word()));
        }
    }
    None
}

/// Nothing at all answered at the address of the server (R2). A server that refuses a login or a certificate is alive.
fn is_gone(cause: Dark) -> bool {
    match cause {
        Dark::ConnectionRefused | Dark::TimedOut | Dark::BrowserSilent => true,
        Dark::NotYetLooked
        | Dark::SecretNotFound
        | Dark::SecretKeyMissing
        | Dark::CredentialsForbidden
        | Dark::CaBundleNotFound
        | Dark::CaBundleInvalid
        | Dark::HostNotFound
        | Dark::InstanceNotFound
        | Dark::Unresponsive
        | Dark::ConnectionLost
        | Dark::TlsFailed
        | Dark::KdcUnreachable
        | Dark::SpnUnknown
        | Dark::TicketExpired
        | Dark::NoKerberosCredentials
        | Dark::LoginFailed
        | Dark::LoginLocked
        | Dark::QueryFailed
        | Dark::ProtocolError => false,
    }
}

/// The statements that would serve the type again. Empty unless R2 allows it for every database.
pub(crate) fn steps(seen: &Observation, wish: &Wish, findings: &[Finding], track: &Track) -> Vec<Failover> {
    let survivor = wish.principal;
    let Some(server) = seen.pairs.get(wish.store).and_then(|pair| View::lit(pair.view(survivor))) else {
        return Vec::new();
    };
    if refusal(wish, seen, findings, track, survivor).is_some() {
        return Vec::new();
    }
    findings
        .iter()
        .filter(|finding| matches!(finding.obstacle, Some(Obstacle::PrincipalLost { .. })))
        .filter_map(|finding| {
            let (name, database) = server.databases.get_key_value(&finding.name)?;
            let (row, session) = (database.mirroring.as_ref()?, finding.session?);
            Some(Failover {
                act: Act::ForceService,
                database: name.clone(),
                on: survivor,
                server: server.name.clone(),
                partner: row.partner_instance.clone(),
                guid: session.guid,
                role_sequence: session.role_sequence,
            })
        })
        .collect()
}
