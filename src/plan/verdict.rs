//! One database type: findings, wish and memory -> why something is done or not. Every verdict has its words here.

use jiff::Timestamp;

use crate::model::{
    Cause, DatabaseName, Desired, Epoch, Memory, Observation, Outcome, Reason, Request, Side, Track, UnrequestedSwitch,
    Wish,
};
use crate::plan::rule::stands;
use crate::plan::{Act, Failover, Finding, Obstacle, Progress, Rule, epoch, force, gate, holds, list, seat_of, track};

/// Where the principals of a type are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    On(Side),
    Split,
    Unknown,
}

impl Observed {
    pub fn of(findings: &[Finding]) -> Self {
        if let Some(side) = seat_of(findings) {
            return Observed::On(side);
        }
        let on = |side| findings.iter().any(|finding| finding.principal == Some(side));
        if on(Side::Primary) && on(Side::Mirror) { Observed::Split } else { Observed::Unknown }
    }
}

/// Whether a move may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    No,
    /// All that is missing is the turn.
    Ready(Cause),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub reason: Reason,
    pub message: String,
    pub release: Release,
    /// When time alone changes this verdict.
    pub until: Option<Timestamp>,
}

impl Verdict {
    pub(crate) fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), release: Release::No, until: None }
    }
}

/// All that one verdict may rest on.
pub(crate) struct Case<'a> {
    pub desired: &'a Desired,
    pub seen: &'a Observation,
    pub memory: &'a Memory,
    pub wish: &'a Wish,
    pub findings: &'a [Finding],
    pub track: &'a Track,
    pub progress: Option<&'a Progress>,
    pub suspended: bool,
    pub now: Timestamp,
}

/// The verdict of one type. Total.
pub(crate) fn verdict(case: &Case) -> Verdict {
    let Case { desired, seen, memory, wish, findings, suspended, now, .. } = *case;
    if let Some(others) = seen.conflicts.get(&wish.ty)
        && stands(Rule::NoConflict)
    {
        return Verdict::waiting(
            Reason::Conflict,
            format!(
                "{} is also claimed by {}: all resources that claim the same database of the same pair stop. Remove the type from all but one of them",
                wish.ty,
                others.join(", ")
            ),
        );
    }
    if let Some(Progress { reason, message }) = case.progress {
        return Verdict::waiting(*reason, message.clone());
    }
    let obstacle = gravest(findings);
    let aligned = findings.iter().all(|finding| finding.principal == Some(wish.principal));
    if aligned && stands(Rule::AlignedStays) {
        return obstacle.map_or_else(
            || {
                Verdict::waiting(
                    Reason::Aligned,
                    format!("{} has its principal on the {}", wish.ty, wish.principal.word()),
                )
            },
            |(obstacle, of)| after_force(case, obstacle, &of).unwrap_or_else(|| obstructed(obstacle, &of)),
        );
    }
    if let Some(verdict) = force::verdict(seen, wish, findings, case.track, suspended, now) {
        return verdict;
    }
    let wrong = findings.iter().any(|finding| finding.principal == Some(wish.principal.other()));
    if let Some((obstacle, of)) = &obstacle
        && (obstacle.grave() || !wrong)
    {
        return obstructed(obstacle, of);
    }
    let owed = memory.requests.get(&wish.ty).is_some_and(|request: &Request| request.owed);
    let state = epoch(findings);
    let approved = wish.approve.is_some() && holds(Rule::ApprovalNamesEpoch, wish.approve == state);
    let cause = match (owed, approved, desired.policy.unrequested_switch) {
        (true, ..) => Cause::Intent,
        (false, true, _) => Cause::Approved,
        (false, false, UnrequestedSwitch::FailBack) => Cause::FailBack,
        (false, false, UnrequestedSwitch::Hold) if !stands(Rule::AskedFor) => Cause::Intent,
        (false, false, UnrequestedSwitch::Hold) => return held(case, obstacle.as_ref(), state.as_ref()),
    };
    if let Some((obstacle, of)) = obstacle.filter(|_| stands(Rule::NoObstacle)) {
        let message =
            format!("{} moves to the {} when this is over: {}", wish.ty, wish.principal.word(), obstacle.words(&of));
        return Verdict::waiting(obstacle.reason(), message);
    }
    if cause == Cause::FailBack && !holds(Rule::WitnessForFailBack, track::witnessed(seen, wish)) {
        return held(case, None, state.as_ref());
    }
    if let Some(closed) = gate::closed(case, cause, approved) {
        return closed;
    }
    let names =
        list(findings.iter().filter(|finding| finding.principal != Some(wish.principal)).map(|finding| &finding.name));
    Verdict {
        reason: Reason::Moving,
        message: format!("moving {} to the {}: {names}", wish.ty, wish.principal.word()),
        release: Release::Ready(cause),
        until: None,
    }
}

fn obstructed(obstacle: &Obstacle, of: &str) -> Verdict {
    Verdict::waiting(obstacle.reason(), obstacle.words(of))
}

/// S14, S15: what a person has to decide after a forced service. The operator resumes nothing (R11).
fn after_force(case: &Case, obstacle: &Obstacle, of: &str) -> Option<Verdict> {
    let last = case.memory.last.get(&case.wish.ty)?;
    let left = match obstacle {
        Obstacle::Suspended { .. } => {
            "Both servers answer, mirroring is SUSPENDED. Decide which data to keep: RESUME on the principal (ALTER DATABASE ... SET PARTNER RESUME) throws away for good what the old principal had not sent; SET PARTNER OFF keeps both copies for salvage and ends mirroring"
        }
        Obstacle::Dark { .. } | Obstacle::Disconnected => {
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
                case.wish.principal.word(),
                second(last.ended),
                obstacle.words(of)
            ),
        )
    })
}

/// Drift: the principal is not where the spec wants it, and no change of the spec asked for a move.
fn held(case: &Case, obstacle: Option<&(&Obstacle, String)>, state: Option<&Epoch>) -> Verdict {
    let Case { wish, findings, seen, .. } = *case;
    let split = matches!(Observed::of(findings), Observed::Split);
    let wrong = list(
        findings
            .iter()
            .filter(|finding| finding.principal == Some(wish.principal.other()))
            .map(|finding| &finding.name),
    );
    let where_ = wish.principal.other().word();
    let address = seen
        .pairs
        .get(wish.store)
        .map(|pair| pair.view(wish.principal.other()).address().to_owned())
        .unwrap_or_default();
    let mut message = format!(
        "{wrong} {} the principal on the {where_} ({address}), the spec says {}, and no change of the spec asked for a move: held ({}).",
        if wrong.contains(',') { "have" } else { "has" },
        wish.principal,
        match case.desired.policy.unrequested_switch {
            UnrequestedSwitch::Hold => "policy.unrequestedSwitch: Hold",
            UnrequestedSwitch::FailBack =>
                "policy.unrequestedSwitch: FailBack waits for a witness that both partners see",
        }
    );
    if let Some((obstacle, of)) = obstacle {
        message.push_str(&format!(" A move back is not possible now: {}.", obstacle.words(of).trim_end_matches('.')));
    }
    match (state, &wish.approve) {
        (Some(state), Some(approve)) => message.push_str(&format!(
            " spec.databaseTypes[{}].approve.epoch {approve} is not the present epoch {state} and does nothing.",
            wish.ty
        )),
        (Some(state), None) => message.push_str(&format!(
            " To move it back: set approve: {{epoch: \"{state}\"}} on type {}. To keep it: set principal: {}.",
            wish.ty,
            wish.principal.other()
        )),
        (None, _) => {}
    }
    Verdict::waiting(if split { Reason::SplitRoles } else { Reason::UnexpectedPrincipal }, message)
}

/// The gravest obstacle, and the databases that share its reason.
fn gravest(findings: &[Finding]) -> Option<(&Obstacle, String)> {
    let gravest =
        findings.iter().filter_map(|finding| finding.obstacle.as_ref()).min_by_key(|obstacle| obstacle.rank())?;
    let shared: Vec<&DatabaseName> = findings
        .iter()
        .filter(|finding| finding.obstacle.as_ref().is_some_and(|other| other.rank() == gravest.rank()))
        .map(|finding| &finding.name)
        .collect();
    Some((gravest, list(shared)))
}

/// The failovers that would bring every database of the type to its seat. Empty unless all of them stand the preflight
/// (R5: check all first).
pub(crate) fn failovers(seen: &Observation, wish: &Wish, findings: &[Finding]) -> Vec<Failover> {
    let on = wish.principal.other();
    let Some(pair) = seen.pairs.get(wish.store) else { return Vec::new() };
    let (Some(server), Some(partner)) = (pair.view(on).lit(), pair.view(on.other()).lit()) else { return Vec::new() };
    if !holds(Rule::AllStandPreflight, findings.iter().all(|finding| finding.obstacle.is_none())) {
        return Vec::new();
    }
    findings
        .iter()
        .filter(|finding| finding.principal == Some(on))
        .filter_map(|finding| {
            let session = finding.session?;
            Some(Failover {
                act: Act::Failover,
                // As the server spells it: collations may tell case apart.
                database: server.databases.get_key_value(&finding.name).map_or(&finding.name, |(name, _)| name).clone(),
                on,
                server: server.name.clone(),
                partner: server.databases.get(&finding.name)?.mirroring.as_ref()?.partner_instance.clone(),
                guid: session.guid,
                role_sequence: session.role_sequence,
            })
        })
        .inspect(|step| debug_assert!(step.partner.eq_ignore_ascii_case(&partner.name)))
        .collect()
}

/// Every statement that comes next for a type, by whichever way.
pub(crate) fn steps(seen: &Observation, wish: &Wish, findings: &[Finding], track: &Track) -> Vec<Failover> {
    let planned = failovers(seen, wish, findings);
    if planned.is_empty() { force::steps(seen, wish, findings, track) } else { planned }
}

/// To the second: people read these, and a status must not change for a fraction.
pub(crate) fn second(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}
