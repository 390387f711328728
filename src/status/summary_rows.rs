//! What the fixed words of a reason do not contain: the third server, or the state of the rows.

use crate::model::UnavailableCause::Unresponsive;
use crate::model::{MirroringState, Reason, Role, Seat};
use crate::plan::{Obstacle, Shown};
use crate::status::summary::{Summary, unavailable};
use crate::status::summary_text::{text, text_of_server};

/// The longest name of a database on the line, in characters. Those of Lync are shorter.
const LONGEST_NAME: usize = 24;

impl Summary<'_> {
    pub(super) fn has(&self, is: fn(&Obstacle) -> bool) -> bool {
        self.planned.findings.iter().filter_map(|finding| finding.obstacle.as_ref()).any(is)
    }

    /// What the fixed words of the reason do not contain: the third server, or the state of the rows.
    pub(super) fn special(&self, server: impl Fn(Seat) -> String) -> Option<String> {
        if let Some(what) = self.special_of_the_type(&server) {
            return Some(what);
        }
        let cause = unavailable(self.pair.view(self.subject())).filter(|one| one.cause == Unresponsive);
        if let Some(cause) = cause.filter(|cause| cause.cause.reason() == self.reason()) {
            return Some(text_of_server(cause).0.replace("{}", &server(self.subject())));
        }
        let obstacles = self.planned.findings.iter().filter_map(|finding| finding.obstacle.as_ref());
        let mut of_reason = obstacles.filter(|one| [one.reason(), one.overdue().0].contains(&self.reason()));
        of_reason.find_map(|obstacle| self.special_of(obstacle, &server))
    }

    /// A move or a hold beside a state of the servers.
    fn special_of_the_type(&self, server: impl Fn(Seat) -> String) -> Option<String> {
        let wanted = self.planned.desired_type.principal;
        match self.reason() {
            Reason::UnexpectedPrincipal if self.has(|one| matches!(one, Obstacle::IsolatedPrincipal { .. })) => {
                Some(format!("{} is principal, and {} has no quorum", server(wanted.other()), server(wanted)))
            }
            Reason::UnexpectedPrincipal if self.has(|one| matches!(one, Obstacle::Suspended { .. })) => {
                Some(format!("{} is principal, and mirroring is SUSPENDED", server(wanted.other())))
            }
            Reason::SwitchOverdue if self.has(|one| matches!(one, Obstacle::Disconnected)) => Some(format!(
                "the failover to {} is overdue, and the partners do not reach each other",
                server(self.subject())
            )),
            // Otherwise the hold of the move would be the reason.
            Reason::Synchronizing if self.planned.observed == wanted.other().into() => {
                Some(format!("the failover to {} waits until the mirror has caught up", server(wanted)))
            }
            _ => None,
        }
    }

    fn special_of(&self, obstacle: &Obstacle, server: impl Fn(Seat) -> String) -> Option<String> {
        let database = |seat: &Seat, what: &str| Some(format!("{} on {} {what}", self.databases(), server(*seat)));
        match obstacle {
            Obstacle::FailoverInProgress if self.reason() == Reason::TransitionOverdue => {
                Some("a failover has not ended within policy.switchDeadline".to_owned())
            }
            Obstacle::Unavailable {
                seat,
                unavailable,
                shown: Some(Shown { state: MirroringState::Suspended, role: Role::Mirror, .. }),
            } => {
                let what = text_of_server(unavailable).0.replace("{}", &server(*seat));
                Some(format!("{what}, and its mirror is SUSPENDED"))
            }
            Obstacle::PrincipalLost { seat, suspended: true, .. } => {
                let what = text(self.reason()).0.replace("{}", &server(*seat));
                Some(format!("{what}, and its mirror is SUSPENDED"))
            }
            Obstacle::GuidDiffers { primary, mirror } => self.third_server(primary, mirror, &server),
            Obstacle::ThirdPartner { seat, shown, .. } => {
                Some(format!("{} mirrors with {}", server(*seat), shown.partner))
            }
            Obstacle::PartnerOutside { seat, names, .. } if !names.is_empty() => {
                Some(format!("{} names {names} as its partner", server(*seat)))
            }
            Obstacle::TwoPrincipals { sessions: Some(_) } => {
                Some("both servers are principal, in different sessions".to_owned())
            }
            Obstacle::OlderPrincipal { seat } => {
                Some(format!("{} is principal, and {} took over later", server(*seat), server(seat.other())))
            }
            Obstacle::NotOnline { seat, state } | Obstacle::Recovering { seat, state } => {
                database(seat, &format!("is {state}"))
            }
            Obstacle::Missing { seat } => Some(format!("{} does not exist on {}", self.databases(), server(*seat))),
            Obstacle::NotMirrored { seat, other_has_session: true } => database(seat, "is no longer mirrored"),
            Obstacle::NotMirrored { seat, other_has_session: false } => database(seat, "is not mirrored"),
            Obstacle::ApartWithoutQuorum { .. } => Some("both servers are principal and without quorum".to_owned()),
            _ => None,
        }
    }

    /// The first database that has the reason of the type, and the number of the others.
    fn databases(&self) -> String {
        let found = self.planned.findings.iter().filter(|finding| {
            finding.obstacle.as_ref().is_some_and(|one| [one.reason(), one.overdue().0].contains(&self.reason()))
        });
        let names: Vec<String> = found.map(|finding| finding.name.to_string()).collect();
        let first = names.first().filter(|name| name.chars().count() <= LONGEST_NAME);
        let first = first.map_or("a database", String::as_str);
        match names.len() {
            0 | 1 => first.to_owned(),
            more => format!("{first} (+{} more)", more - 1),
        }
    }

    /// The principal of two servers in different sessions mirrors with a third server.
    fn third_server(&self, primary: &Shown, mirror: &Shown, server: impl Fn(Seat) -> String) -> Option<String> {
        let rows = [(Seat::Primary, primary), (Seat::Mirror, mirror)];
        let (seat, row) = rows.into_iter().find(|(_, row)| row.role == Role::Principal && !row.partner.is_empty())?;
        let other = self.pair.view(seat.other()).available()?;
        let third = !other.name.eq_ignore_ascii_case(&row.partner);
        third.then(|| format!("{} is principal and mirrors with {}", server(seat), row.partner))
    }
}
