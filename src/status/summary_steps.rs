//! The step of an administrator on the line of a type, where it depends on more than the reason.

use crate::model::{Effect, Evidence, Reason, Seat, Service, Unavailable, UnavailableCause};
use crate::plan::{Obstacle, Verdict};
use crate::status::summary::{Summary, unavailable};
use crate::status::summary_text::{
    BOTH_SILENT, LOGIN, RESUME_POLLS, SERVERS, Step, UNRESPONSIVE, read_before_start, text,
};

impl Summary<'_> {
    pub(super) fn fixed_step(&self) -> Step {
        match self.both_unreachable() {
            Some(both) if both.map(|one| one.cause.evidence()) == [Evidence::NotAnswering; 2] => {
                let page = Seat::BOTH.into_iter().find_map(|seat| self.planned.before_start(self.pair, seat));
                Step::Do(page.map_or(BOTH_SILENT, |_| "read docs/reasons/ServiceForced.md before a server starts"))
            }
            Some([one, _]) if one.cause == UnavailableCause::PollsStopped => Step::Do(RESUME_POLLS),
            Some([a, b]) if a.cause.reason() != b.cause.reason() => Step::Do("see status.servers[].message"),
            Some(_) => text(self.reason()).1,
            None => self.read_first().or(self.own_step()).unwrap_or(text(self.reason()).1),
        }
    }

    /// The fix in the message of the server that the reason is about, where the reason has none of its own.
    pub(super) fn fix_of_server(&self) -> Option<String> {
        let of_server = self.fixed_step() == SERVERS || self.reason() == Reason::InstanceNotFound;
        if self.planned.verdict.step.is_some() || !of_server {
            return None;
        }
        let fix = |unavailable: &Unavailable| unavailable.detail.split_once("To fix: ").map(|(_, fix)| fix.to_owned());
        let fix = match self.both_unreachable() {
            Some([a, b]) => fix(a).filter(|of_a| fix(b).as_ref() == Some(of_a))?,
            None => fix(unavailable(self.pair.view(self.subject()))?)?,
        };
        Some(format!(" To fix: {}.", fix.trim_end_matches('.')))
    }

    /// How to find out whether clients are served, where the operator cannot: after the step, unless this text has it.
    pub(super) fn front_end(&self, text: &str) -> Option<&'static str> {
        let mut unread = Seat::BOTH.into_iter().filter_map(|seat| unavailable(self.pair.view(seat)));
        let hidden = match self.reason() {
            // A refused check would not show whether the open sessions are served.
            Reason::ServerPaused | Reason::ConnectionLimit => false,
            Reason::TransitionOverdue => true,
            reason if reason.effect() == Effect::Stalled => unread.next().is_some(),
            reason => unread.any(|one| one.cause.reason() == reason),
        };
        let unknown = self.planned.service == Service::Unknown;
        (unknown && hidden && !text.contains("Front End")).then_some(" Check from a Front End.")
    }

    /// The step that depends on more than the reason.
    fn own_step(&self) -> Option<Step> {
        let seat = self.subject();
        let cause = unavailable(self.pair.view(seat)).map(|one| one.cause);
        let other = self.pair.view(seat.other()).available();
        match self.reason() {
            Reason::Moving | Reason::Verifying if self.forces() => {
                Some(Step::Do("do not start the old principal, let no client reach it, and wait"))
            }
            Reason::Suspended if cause.is_none() && self.planned.verdict.until.is_some() => {
                Some(Step::Do("wait, or remove spec.suspend"))
            }
            // The session of the other server can be older than a change of its login.
            Reason::LoginFailed if cause.is_some() && other.is_some_and(|server| server.stale_login.is_none()) => {
                Some(Step::Do(LOGIN))
            }
            Reason::ConnectionTimedOut if cause == Some(UnavailableCause::Unresponsive) => Some(Step::Do(UNRESPONSIVE)),
            reason
                if cause.map(UnavailableCause::reason) == Some(reason)
                    && self.has(|one| matches!(one, Obstacle::PrincipalLost { suspended: true, .. })) =>
            {
                Some(Step::Do("check from a Front End, then start SQL Server there"))
            }
            Reason::SwitchOverdue if self.has(|one| matches!(one, Obstacle::Disconnected)) => {
                Some(Step::Do("repair their network, and force nothing"))
            }
            Reason::DatabaseNotOnline if self.planned.observed == seat.other().into() => {
                Some(Step::Do("do not fail over, and follow docs/reasons/DatabaseNotOnline.md"))
            }
            Reason::NotMirrored if other.is_none() => {
                Some(Step::Do("read docs/reasons/NotMirrored.md before the other server starts"))
            }
            _ => None,
        }
    }

    /// The step for a server that does not answer, if its return is a risk.
    fn read_first(&self) -> Option<Step> {
        let seat = self.subject();
        let cause = unavailable(self.pair.view(seat)).map(|one| one.cause)?;
        let page = self.planned.before_start(self.pair, seat).filter(|_| cause.reason() == self.reason())?;
        Some(read_before_start(page))
    }

    /// The step for a type whose message has none: the cause of a server that is unavailable often has no step of its own.
    pub(super) fn missing_step(&self) -> Option<&'static str> {
        let mut causes = Seat::BOTH.into_iter().filter_map(|seat| unavailable(self.pair.view(seat)));
        let Verdict { message, step, .. } = &self.planned.verdict;
        let missing = step.is_none() && !message.contains("To fix: ");
        match self.fixed_step() {
            // The message has what the status of the servers contains.
            SERVERS => None,
            Step::Do(step) if missing && causes.any(|one| one.cause.reason() == self.reason()) => Some(step),
            _ => None,
        }
    }
}
