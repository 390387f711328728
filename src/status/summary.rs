//! The summary of a resource and of a type: one line for `kubectl get` and for the conditions, of at most [`LIMIT`]
//! characters. The message of the type has the whole text. Pure.

use jiff::Timestamp;

use crate::model::{
    Act, Cause, DatabaseType, Effect, ObservedPrincipal, Operation, Pair, Reason, Seat, ServerObservation, Service,
    Unavailable, UnavailableCause, duration_text,
};
use crate::plan::{Finding, Obstacle, Plan, TypePlan, coarse, second};
use crate::status::summary_text::{LOGIN, Step, read_before_start, text, text_of_server};

pub use crate::api::MESSAGE_LIMIT as LIMIT;

/// Where the whole text is.
const POINTER: &str = " See status.databaseTypes[].message.";
pub(super) const NO_ACTION: &str = " No action is needed.";

/// The first candidate that is short enough. The last one is cut.
pub(super) fn fit(candidates: impl IntoIterator<Item = String>) -> String {
    fit_to(LIMIT, candidates)
}

/// [`fit`], shorter by the service in front of it.
pub(super) fn fit_after_service(candidates: impl IntoIterator<Item = String>) -> String {
    fit_to(LIMIT - "Protected. ".len(), candidates)
}

fn fit_to(limit: usize, candidates: impl IntoIterator<Item = String>) -> String {
    let mut last = String::new();
    for candidate in candidates {
        if candidate.chars().count() <= limit {
            return candidate;
        }
        last = candidate;
    }
    last.chars().take(limit - 3).chain("...".chars()).collect()
}

/// `prefix` with as many of the names as fit, else with their number.
pub(super) fn fit_names(names: &[String], what: &str, sentence: impl Fn(&str) -> String) -> String {
    fit([sentence(&names.join(", ")), sentence(&format!("{} {what}", names.len()))])
}

/// A type with what its summary needs.
#[derive(Clone, Copy)]
pub struct Summary<'a> {
    pub planned: &'a TypePlan,
    pub pair: &'a Pair,
    /// The move in flight, if it is of this type.
    pub operation: Option<&'a Operation>,
    /// Since when the operator does not reach the primary and the mirror.
    pub unreachable_since: [Option<Timestamp>; 2],
}

impl Summary<'_> {
    /// `others`: the number of further types that are not as the spec wants them.
    pub fn text(&self, others: usize) -> String {
        let more = if others == 0 { String::new() } else { format!(" (+{others} more)") };
        let head = format!("{}. {}{more}: ", self.planned.service, self.planned.desired_type.ty);
        let step = match (&self.planned.verdict.step, self.fixed_step()) {
            (Some(step), _) => format!(" To fix: {step}."),
            (None, Step::Do(step)) => format!(" To fix: {step}."),
            (None, Step::Nothing) => NO_ACTION.to_owned(),
            (None, Step::See) => POINTER.to_owned(),
        };
        let left = LIMIT.saturating_sub(
            head.chars().count() + self.what(|seat| format!("the {}", seat.word())).chars().count() + 1,
        );
        let step = self.fix_of_server().filter(|fix| fix.chars().count() <= left).unwrap_or(step);
        let last = if step == NO_ACTION { NO_ACTION } else { POINTER };
        let detail = self.detail();
        let long = || self.what(|seat| format!("the {}", self.pair.label(seat)));
        let label = || self.what(|seat| format!("the {} {}", seat.word(), self.pair.short(seat)));
        let short = || self.what(|seat| format!("the {}", seat.word()));
        let line = |candidate: usize, step: &str| match candidate {
            0 => format!("{head}{}{detail}.{step}", long()),
            1 => format!("{head}{}{detail}.{step}", label()),
            2 => format!("{head}{}.{step}", label()),
            3 => format!("{head}{}.{step}", self.what(|seat| self.pair.short(seat))),
            4 => format!("{head}{}{detail}.{step}", short()),
            5 => format!("{head}{}.{step}", short()),
            _ => format!("{head}{}.{last}", short()),
        };
        let both = self.front_end(&step).map(|check| format!("{step}{check}"));
        let with_check = both.iter().flat_map(|both| (0..4).map(|candidate| line(candidate, both)));
        // One after the other, as the first one is mostly short enough.
        fit(with_check.chain((0..7).map(|candidate| line(candidate, &step))))
    }

    pub(super) fn reason(&self) -> Reason {
        self.planned.verdict.reason
    }

    /// What is going on, without a period. `server`: the words for the server in a seat.
    fn what(&self, server: impl Fn(Seat) -> String) -> String {
        if let Some(both) = self.both_unreachable() {
            if both.map(|one| one.cause) == [UnavailableCause::PollsStopped; 2] {
                return "spec.suspend stops the polls, and the state is not known".to_owned();
            }
            if both.map(|one| one.cause) == [UnavailableCause::TlsFailed; 2] {
                return "TLS with both servers failed".to_owned();
            }
            if both.map(|one| one.cause) == [UnavailableCause::LoginFailed; 2] {
                return "both servers refuse the login".to_owned();
            }
            return format!("the operator reads neither {} nor {}", server(Seat::Primary), server(Seat::Mirror));
        }
        let on = self.subject();
        if self.is_forced() {
            return format!("service is being forced on {}, data may be lost", server(on));
        }
        if let Some(what) = self.special(&server) {
            return what;
        }
        let what = text(self.reason()).0.replace("{}", &server(on));
        let unread = |seat: Seat| self.pair.view(seat).available().is_none();
        match self.reason() {
            Reason::UnexpectedPrincipal if unread(on.other()) => {
                format!("{} is principal, and {}", server(on), self.unread(on.other(), &server))
            }
            Reason::ServiceForced if unread(on.other()) => {
                format!("{what}, and {}", self.unread(on.other(), &server))
            }
            Reason::Moving | Reason::Verifying | Reason::SwitchOverdue => {
                match Seat::BOTH.into_iter().find(|seat| unread(*seat)) {
                    Some(seat) => format!("{what}, {} is not read", server(seat)),
                    None => what,
                }
            }
            _ => what,
        }
    }

    /// Why the operator does not read the server in this seat.
    fn unread(&self, seat: Seat, server: impl Fn(Seat) -> String) -> String {
        let what =
            unavailable(self.pair.view(seat)).map_or("the operator does not read {}", |one| text_of_server(one).0);
        what.replace("{}", &server(seat))
    }

    /// What time or progress adds, such as the end of a wait.
    fn detail(&self) -> String {
        if self.both_unreachable().is_none()
            && let (Reason::Moving, Some(predicted)) =
                (self.reason(), self.operation.and_then(|operation| operation.predicted))
        {
            return format!(" (interruption about {})", duration_text(coarse(predicted)));
        }
        if let (Reason::Cooldown | Reason::Settling | Reason::FailBackPending | Reason::Suspended, Some(until)) =
            (self.reason(), self.planned.verdict.until)
        {
            return format!(" until {}", second(until));
        }
        // The cause may be newer than the absence.
        self.since().map(|at| format!(" (not read since {})", second(at))).unwrap_or_default()
    }

    /// The causes, if the operator reads neither partner and this is the reason.
    pub(super) fn both_unreachable(&self) -> Option<[&Unavailable; 2]> {
        let [primary, mirror] = Seat::BOTH.map(|seat| unavailable(self.pair.view(seat)));
        let both = [primary?, mirror?];
        both.iter().any(|one| one.cause.reason() == self.reason()).then_some(both)
    }

    /// The seat that the reason is about.
    pub(super) fn subject(&self) -> Seat {
        let planned = self.planned;
        let is_lost = planned.verdict.reason == Reason::PrincipalLost;
        if let Some(operation) = self.operation.filter(|_| !is_lost) {
            return operation.to;
        }
        let obstacle = || {
            let obstacles = planned.findings.iter().filter_map(|finding| finding.obstacle.as_ref());
            obstacles
                .filter(|obstacle| [obstacle.reason(), obstacle.overdue().0].contains(&planned.verdict.reason))
                .find_map(|obstacle| obstacle.seat())
        };
        let wanted = planned.desired_type.principal;
        match planned.verdict.reason {
            Reason::UnexpectedPrincipal => wanted.other(),
            Reason::Moving => {
                planned.next.first().filter(|step| step.act == Act::ForceService).map_or(wanted, |step| step.on)
            }
            Reason::ServiceForced => planned.forced_on.unwrap_or(match planned.observed {
                ObservedPrincipal::Primary => Seat::Primary,
                ObservedPrincipal::Mirror => Seat::Mirror,
                ObservedPrincipal::Split | ObservedPrincipal::Unknown => wanted,
            }),
            _ => obstacle().unwrap_or(wanted),
        }
    }

    fn is_forced(&self) -> bool {
        matches!(self.reason(), Reason::Moving | Reason::Verifying) && self.forces()
    }

    /// The move in flight, or the one that begins, is a forced service.
    pub(super) fn forces(&self) -> bool {
        self.planned.next.first().is_some_and(|step| step.act == Act::ForceService)
            || self.operation.is_some_and(|operation| operation.cause == Cause::ForcedService)
    }

    /// Since when the servers that the reason is about are unreachable.
    fn since(&self) -> Option<Timestamp> {
        let [primary, mirror] = self.unreachable_since;
        if self.both_unreachable().is_some() {
            return primary.max(mirror);
        }
        let of = |seat| match seat {
            Seat::Primary => primary,
            Seat::Mirror => mirror,
        };
        let cause = |seat| unavailable(self.pair.view(seat)).map(|one| one.cause.reason());
        match self.reason() {
            Reason::UnexpectedPrincipal | Reason::ServiceForced => of(self.subject().other()),
            Reason::PrincipalLost => of(self.subject()),
            reason => Some(self.subject()).filter(|seat| cause(*seat) == Some(reason)).and_then(of),
        }
    }
}

pub(super) fn unavailable(view: &ServerObservation) -> Option<&Unavailable> {
    match view {
        ServerObservation::Available { .. } => None,
        ServerObservation::Unavailable { unavailable, .. } => Some(unavailable),
    }
}

/// The summary of a server that is unavailable: `The mirror sql-b refuses connections. To fix: ...` `before_start`: the reason
/// whose page comes before every other step.
pub(super) fn of_server(
    (seat, pair): (Seat, &Pair),
    unavailable: &Unavailable,
    before_start: Option<Reason>,
    others: usize,
) -> String {
    let (what, step) = text_of_server(unavailable);
    let accepted = pair.view(seat.other()).available().is_some_and(|other| other.stale_login.is_none());
    let step = if accepted && unavailable.cause == UnavailableCause::LoginFailed { Step::Do(LOGIN) } else { step };
    let step = before_start.map_or(step, read_before_start);
    let more = if others == 0 { String::new() } else { format!(" (+{others} more in status.servers)") };
    let step = match step {
        Step::Do(step) => format!(" To fix: {step}."),
        Step::Nothing => String::new(),
        Step::See => " See status.servers[].message.".to_owned(),
    };
    let sentence = |server: &str| {
        let what = what.replace("{}", server);
        let first = what.chars().next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{}{more}.{step}", what.get(1..).unwrap_or_default())
    };
    fit([sentence(&format!("the {}", pair.label(seat))), sentence(&format!("the {}", seat.word()))])
}

/// What keeps databases from being SYNCHRONIZED. `names`: the databases.
pub(super) fn of_databases(planned: &TypePlan, finding: &Finding, names: &str) -> String {
    let Some(obstacle) = &finding.obstacle else {
        return format!("{names}: not SYNCHRONIZED on both servers. See status.databaseTypes[].databases.");
    };
    let on = obstacle.seat().unwrap_or(planned.desired_type.principal);
    let what = match obstacle {
        Obstacle::Unavailable { unavailable, .. } => text_of_server(unavailable).0,
        Obstacle::OlderPrincipal { .. } => "{} is principal, and the other one took over later",
        _ => text(reason_of(planned, obstacle)).0,
    };
    let what = what.replace("{}", &format!("the {}", on.word()));
    format!("{names}: {what}.")
}

/// The reason of an obstacle, or the one that it has as a transition that does not end.
pub(super) fn reason_of(planned: &TypePlan, obstacle: &Obstacle) -> Reason {
    let overdue = obstacle.overdue().0;
    let ends = obstacle.transition().is_some() && planned.verdict.reason == overdue;
    if ends { overdue } else { obstacle.reason() }
}

/// The summary of a resource in which every type is as the spec wants it. `risk`: the message of the condition QuorumAtRisk, if it is True.
pub(super) fn of_ready(plan: &Plan, risk: Option<&str>) -> String {
    let service = Service::worst(plan.types.values().map(|planned| planned.service));
    let types: Vec<String> = plan
        .types
        .values()
        .filter(|planned| planned.service == service)
        .map(|planned| planned.desired_type.ty.to_string())
        .collect();
    let aligned = format!("{service}. Every principal is where the spec wants it, synchronized.");
    if let Some(risk) = risk {
        // The text of a risk leaves enough characters for the service.
        return format!("{service}. {risk}");
    }
    match service {
        Service::Protected => aligned,
        Service::Exposed => fit_names(&types, "types", |types| {
            format!("{aligned} A further loss endangers {types}: see condition QuorumAtRisk.")
        }),
        Service::Unknown | Service::NotServed => {
            fit_names(&types, "types", |types| format!("{aligned} See condition Serving for {types}."))
        }
    }
}

/// The summary of the type that is worst, with the number of others that are not as the spec wants them.
pub(super) fn of_worst(worst: &Summary, plan: &Plan) -> String {
    let troubled = |planned: &&TypePlan| planned.verdict.reason.effect() != Effect::Ready;
    let ty: DatabaseType = worst.planned.desired_type.ty;
    worst.text(plan.types.values().filter(troubled).filter(|planned| planned.desired_type.ty != ty).count())
}

/// True for a server that was not polled, so that it is not unreachable: the first poll is not complete, or polls are stopped.
pub(super) fn is_unpolled(unavailable: &Unavailable) -> bool {
    matches!(unavailable.cause, UnavailableCause::NotYetPolled | UnavailableCause::PollsStopped)
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
