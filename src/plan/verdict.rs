//! One database type: findings, wish and memory -> why something is done or not. Every verdict has its words here.

use jiff::Timestamp;

use crate::model::{Cause, DatabaseName, Desired, Epoch, Memory, Observation, Outcome, Reason, Request, Side, Wish};
use crate::plan::{Failover, Finding, Obstacle, Progress, epoch, later, list, seat_of};

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
    pub progress: Option<&'a Progress>,
    pub suspended: bool,
    pub now: Timestamp,
}

/// The verdict of one type. Total.
pub(crate) fn verdict(case: &Case) -> Verdict {
    let Case { desired, seen, memory, wish, findings, suspended, now, .. } = *case;
    if let Some(others) = seen.conflicts.get(&wish.ty) {
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
    if aligned {
        return obstacle.map_or_else(
            || {
                Verdict::waiting(
                    Reason::Aligned,
                    format!("{} has its principal on the {}", wish.ty, wish.principal.word()),
                )
            },
            |(obstacle, of)| Verdict::waiting(obstacle.reason(), obstacle.words(&of)),
        );
    }
    let wrong = findings.iter().any(|finding| finding.principal == Some(wish.principal.other()));
    if let Some((obstacle, of)) = &obstacle
        && (obstacle.grave() || !wrong)
    {
        return Verdict::waiting(obstacle.reason(), obstacle.words(of));
    }
    let owed = memory.requests.get(&wish.ty).is_some_and(|request: &Request| request.owed);
    let state = epoch(findings);
    let approved = wish.approve.is_some() && wish.approve == state;
    if !owed && !approved {
        return held(case, obstacle.as_ref(), state.as_ref());
    }
    let to = wish.principal.word();
    if let Some((obstacle, of)) = obstacle {
        let message = format!("{} moves to the {to} when this is over: {}", wish.ty, obstacle.words(&of));
        return Verdict::waiting(obstacle.reason(), message);
    }
    if suspended && let Some(suspend) = &desired.suspend {
        let until = suspend.until.map_or("spec.suspend is removed".to_owned(), |until| until.to_string());
        return Verdict {
            until: suspend.until,
            ..Verdict::waiting(
                Reason::Suspended,
                format!("{} is to move to the {to}; suspended until {until} ({})", wish.ty, suspend.reason),
            )
        };
    }
    if let Some(last) = memory.last.get(&wish.ty)
        && let end = later(last.ended, desired.policy.cooldown)
        && now < end
    {
        let (reason, why) = match (last.outcome, &last.detail) {
            (Outcome::Failed | Outcome::Partial, detail) => {
                (Reason::MoveFailed, format!("the last move failed ({})", detail.as_deref().unwrap_or("no detail")))
            }
            (Outcome::Succeeded | Outcome::Superseded, _) => {
                (Reason::Cooldown, format!("the last move ended at {}", second(last.ended)))
            }
        };
        return Verdict {
            until: Some(end),
            ..Verdict::waiting(
                reason,
                format!(
                    "{} moves to the {to} at {}: {why} and policy.cooldown holds; set policy.cooldown to 0s to move at once",
                    wish.ty,
                    second(end)
                ),
            )
        };
    }
    let cause = if owed { Cause::Intent } else { Cause::Approved };
    let names =
        list(findings.iter().filter(|finding| finding.principal != Some(wish.principal)).map(|finding| &finding.name));
    Verdict {
        reason: Reason::Moving,
        message: format!("moving {} to the {to}: {names}", wish.ty),
        release: Release::Ready(cause),
        until: None,
    }
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
        "{wrong} {} the principal on the {where_} ({address}), the spec says {}, and no change of the spec asked for a move: held (policy.unrequestedSwitch: Hold).",
        if wrong.contains(',') { "have" } else { "has" },
        wish.principal
    );
    if let Some((obstacle, of)) = obstacle {
        message.push_str(&format!(" A move back is not possible now: {}.", obstacle.words(of)));
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
    if findings.iter().any(|finding| finding.obstacle.is_some()) {
        return Vec::new();
    }
    findings
        .iter()
        .filter(|finding| finding.principal == Some(on))
        .filter_map(|finding| {
            let session = finding.session?;
            Some(Failover {
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

/// To the second: people read these, and a status must not change for a fraction.
fn second(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}
