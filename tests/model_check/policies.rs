//! Every combination of policy, request, consent, clock and memory for a few observations: a move begins exactly when the rules,
//! written down a second time, allow it.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::disabled::plan;
use crate::observations::{Situation, begins, first, known, known_pair, pick, scattered};
use crate::product::{Counts, TY};
use lync_mirror::model::*;
use lync_mirror::plan::TRIPS;

const COOLDOWN: Duration = Duration::from_secs(300);
const BACK_AFTER: Duration = Duration::from_secs(600);

/// Closed at noon.
static WINDOW: LazyLock<Window> = LazyLock::new(|| Window::new("0 3 * * *", "UTC", Duration::from_secs(3600)).unwrap());

/// A Monday at noon.
pub fn noon() -> Timestamp {
    "2026-01-05T12:00:00Z".parse().unwrap()
}

pub fn ago(seconds: i64) -> Timestamp {
    noon().checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Nothing,
    Present,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    Nothing,
    JustMoved,
    MovedBefore,
    /// A forced service that sent nothing a moment ago.
    ForceFailed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Failures,
    Switches,
    SteadyLong,
    SteadyOtherState,
    SteadyShort,
    Consumed,
    NeverSeen,
    OtherServers,
    OtherSession,
    LaterRequest,
    Exchanged,
    NeverAligned,
    /// A server was away, and is back for a moment.
    BackForAMoment,
    OldApproval,
}

/// One combination.
#[derive(Debug, Clone)]
struct Mind {
    to: Seat,
    policy: UnrequestedSwitch,
    pending: Option<bool>,
    approve: Named,
    consent: Named,
    expired: bool,
    suspended: bool,
    conflict: bool,
    invalid: bool,
    past: Past,
    kept: Kept,
    window: bool,
    short: bool,
    fenced: bool,
}

impl Mind {
    /// The one with this number; None after the last.
    fn numbered(mut number: usize) -> Option<Mind> {
        use Named::*;
        let n = &mut number;
        let mind = Mind {
            to: pick(n, &[Seat::Mirror, Seat::Primary]),
            policy: pick(n, &[UnrequestedSwitch::Hold, UnrequestedSwitch::FailBack]),
            pending: pick(n, &[Some(false), Some(true), None]),
            approve: pick(n, &[Nothing, Present, Other]),
            consent: pick(n, &[Nothing, Present, Other]),
            expired: pick(n, &[false, true]),
            suspended: pick(n, &[false, true]),
            conflict: pick(n, &[false, true]),
            invalid: pick(n, &[false, true]),
            past: pick(n, &[Past::Nothing, Past::JustMoved, Past::MovedBefore, Past::ForceFailed]),
            kept: pick(
                n,
                &[
                    Kept::Nothing,
                    Kept::Failures,
                    Kept::Switches,
                    Kept::SteadyLong,
                    Kept::SteadyOtherState,
                    Kept::SteadyShort,
                    Kept::Consumed,
                    Kept::NeverSeen,
                    Kept::OtherServers,
                    Kept::OtherSession,
                    Kept::LaterRequest,
                    Kept::Exchanged,
                    Kept::NeverAligned,
                    Kept::BackForAMoment,
                    Kept::OldApproval,
                ],
            ),
            window: pick(n, &[false, true]),
            short: pick(n, &[false, true]),
            fenced: pick(n, &[true, false]),
        };
        (number == 0).then_some(mind)
    }

    /// Combinations that differ from another one in what cannot matter.
    fn is_idle(&self) -> bool {
        let fails_back = self.policy == UnrequestedSwitch::FailBack;
        let stable = matches!(self.kept, Kept::SteadyLong | Kept::SteadyOtherState | Kept::SteadyShort);
        let unlike = matches!(
            self.kept,
            Kept::OtherServers
                | Kept::OtherSession
                | Kept::LaterRequest
                | Kept::Exchanged
                | Kept::NeverAligned
                | Kept::BackForAMoment
                | Kept::OldApproval
        );
        let plain = self.kept == Kept::Nothing && self.past == Past::Nothing && !self.short && !self.window;
        (self.consent == Named::Nothing && (self.expired || self.kept == Kept::Consumed))
            || !(self.fenced || (self.consent == Named::Present && plain))
            // What stops every move is combined with what would let it start, and not with another stop.
            || [self.suspended, self.conflict, self.invalid].into_iter().filter(|stops| *stops).count() > 1
            || ((self.suspended || self.conflict || self.invalid) && (self.kept != Kept::Nothing || self.short || self.window))
            || (self.past == Past::ForceFailed && (self.kept != Kept::Nothing || self.short || self.window))
            // What is forgotten does not depend on these.
            || (unlike
                && (self.suspended || self.conflict || self.short || self.window || self.expired || self.consent == Named::Other))
            || (!fails_back && (self.window || stable))
    }

    fn epoch(named: Named, situation: &Situation) -> Option<Epoch> {
        match named {
            Named::Nothing => None,
            Named::Present => situation.epoch(),
            Named::Other => Some(Epoch::new("99-dead")),
        }
    }

    fn until(&self) -> Timestamp {
        if self.expired { ago(1) } else { later(noon(), Duration::from_secs(60)) }
    }

    fn desired(&self, situation: &Situation) -> Desired {
        let mut desired_type = situation.desired_type(self.to);
        desired_type.approve = Mind::epoch(self.approve, situation).map(|epoch| Approval { epoch, until: None });
        let until = self.until();
        desired_type.force =
            Mind::epoch(self.consent, situation).map(|epoch| ForceService { epoch, until, fenced: self.fenced });
        Desired {
            pool: "pool".to_owned(),
            generation: 2,
            types: vec![desired_type],
            suspend: self.suspended.then(|| Suspend { reason: "x".to_owned(), until: None }),
            policy: Policy {
                unrequested_switch: self.policy,
                fail_back_after: BACK_AFTER,
                windows: self.window.then(|| WINDOW.clone()).into_iter().collect(),
                max_interruption: self.short.then_some(Duration::from_secs(5)),
                cooldown: COOLDOWN,
                ..Policy::default()
            },
            problems: if self.invalid { vec!["a problem".to_owned()] } else { Vec::new() },
            unusable: BTreeMap::new(),
        }
    }

    fn persisted(&self, situation: &Situation) -> PersistedState {
        let mut persisted = PersistedState::default();
        let generation = if self.kept == Kept::LaterRequest { 3 } else { 2 };
        if let Some(pending) = self.pending {
            persisted.requests.insert(TY, Request { principal: self.to, generation, pending });
        }
        let attempt = |ended, cause, outcome| Attempt::new(ago(ended), cause, outcome);
        let last = match self.past {
            Past::Nothing => None,
            Past::JustMoved => Some(attempt(1, Cause::Intent, Outcome::Succeeded)),
            Past::MovedBefore => Some(attempt(301, Cause::Intent, Outcome::Succeeded)),
            Past::ForceFailed => Some(attempt(1, Cause::ForcedService, Outcome::Failed)),
        };
        persisted.last.extend(last.map(|last| (TY, last)));
        persisted.tracking.insert(TY, self.tracking(situation));
        persisted
    }

    fn tracking(&self, situation: &Situation) -> TypeTracking {
        let seat = situation.seat().map_or(0, |seat| usize::from(seat == Seat::Mirror));
        let base = TypeTracking { last_settled_server: Some(format!("SQL-{seat}")), ..known() };
        let stable = |epoch, seconds| Some(Stable { epoch, since: ago(seconds) });
        let epoch = situation.epoch().unwrap();
        let swapped = PairIdentity { primary: known_pair().mirror, mirror: known_pair().primary };
        let named = |name: &str| ServerIdentity { address: "sql-0".to_owned(), name: name.to_owned() };
        match self.kept {
            Kept::Nothing | Kept::LaterRequest => base,
            Kept::Failures => TypeTracking { consecutive_failures: TRIPS, ..base },
            Kept::Switches => {
                TypeTracking { unrequested_switches: TRIPS, last_unrequested_switch: Some(ago(3600)), ..base }
            }
            Kept::SteadyLong => TypeTracking { stable: stable(epoch, 600), ..base },
            Kept::SteadyOtherState => TypeTracking { stable: stable(Epoch::new("1-0000"), 600), ..base },
            Kept::SteadyShort => TypeTracking { stable: stable(epoch, 599), ..base },
            Kept::Consumed => TypeTracking { consumed_consent: Some(Consent { epoch, until: self.until() }), ..base },
            Kept::NeverSeen => TypeTracking::default(),
            Kept::OtherServers => TypeTracking {
                pair: Some(PairIdentity { primary: named("OTHER-0"), mirror: named("OTHER-1") }),
                sessions: BTreeMap::new(),
                stable: stable(epoch, 600),
                ..base
            },
            Kept::OtherSession => TypeTracking {
                sessions: [(first(), Guid::from_bytes([9; 16]))].into(),
                stable: stable(epoch, 600),
                ..base
            },
            Kept::Exchanged => TypeTracking { pair: Some(swapped), stable: stable(epoch, 600), ..base },
            Kept::NeverAligned => TypeTracking { was_aligned: false, stable: stable(epoch, 600), ..base },
            Kept::BackForAMoment => {
                TypeTracking { absence: Some(Absence::BackSince(ago(60))), stable: stable(epoch, 600), ..base }
            }
            Kept::OldApproval => TypeTracking { approval: stable(epoch, 1800), ..base },
        }
    }

    /// What is remembered is of other servers, another session or another life of the resource: nothing is owed.
    fn is_forgotten(&self) -> bool {
        match self.kept {
            Kept::OtherServers | Kept::OtherSession => true,
            Kept::LaterRequest => self.pending.is_some(),
            _ => false,
        }
    }

    /// The rules, a second time: which statement may be sent.
    fn lets(&self, situation: &Situation) -> Option<Act> {
        if self.suspended || self.conflict || self.invalid {
            return None;
        }
        let forgotten = self.is_forgotten();
        let pending = self.pending == Some(true) && !forgotten;
        let approved = self.approve == Named::Present && self.kept != Kept::OldApproval;
        if situation.survivor().is_some() {
            let consent = self.consent == Named::Present && !self.expired && self.fenced;
            let known = !forgotten && !matches!(self.kept, Kept::Consumed | Kept::NeverSeen | Kept::Exchanged);
            let paused = self.past == Past::ForceFailed;
            return (consent && known && !paused).then_some(Act::ForceService);
        }
        let stable = self.kept == Kept::SteadyLong;
        let fails_back = self.policy == UnrequestedSwitch::FailBack && situation.witnessed() && stable && !self.window;
        let tripped = matches!(self.kept, Kept::Failures | Kept::Switches);
        let hot = matches!(self.past, Past::JustMoved | Past::ForceFailed)
            || (self.kept == Kept::Failures && self.past != Past::Nothing);
        let quick = !self.short || !matches!(situation.name, "a long redo queue" | "an unseen redo queue");
        let lets = situation.may_fail_over(self.to)
            && (pending || approved || fails_back)
            && (approved || !(tripped || situation.is_one_way(self.to) || self.kept == Kept::Exchanged))
            && self.kept != Kept::BackForAMoment
            && (!hot || forgotten)
            && quick;
        lets.then_some(Act::Failover)
    }
}

impl Situation {
    /// Where the databases were last seen together: for a lost principal, on the lost side.
    fn seat(&self) -> Option<Seat> {
        let holds = |seat: Seat| {
            let server = self.pair.view(seat).available()?;
            Some(
                server
                    .databases
                    .values()
                    .all(|one| one.mirroring.as_ref().is_some_and(|row| row.role == Role::Principal)),
            )
        };
        if holds(Seat::Mirror) == Some(true) { Some(Seat::Mirror) } else { Some(Seat::Primary) }
    }
}

/// `Err`: a combination in which the planner and the rules disagree.
pub fn policies() -> Result<Counts, String> {
    let mut counts = Counts::default();
    let situations = begins();
    for mind in scattered(Mind::numbered).filter(|mind| !mind.is_idle()) {
        for situation in &situations {
            compare(situation, &mind, &mut counts)?;
        }
    }
    Ok(counts)
}

fn compare(situation: &Situation, mind: &Mind, counts: &mut Counts) -> Result<(), String> {
    let mut observation = situation.observation();
    if mind.conflict {
        observation.conflicts = BTreeMap::from([(TY, vec!["other/pool".to_owned()])]);
    }
    let decided = plan(&mind.desired(situation), &observation, &mind.persisted(situation), noon());
    counts.plans += 1;
    let sent = decided.steps.first().map(|step| step.act);
    counts.moves += u64::from(sent == Some(Act::Failover));
    counts.forced += u64::from(sent == Some(Act::ForceService));
    let (verdict, lets) = (&decided.types[&TY].verdict, mind.lets(situation));
    let text = |what: String| Err(format!("{what}: {}, {mind:?}: {}", situation.name, verdict.message));
    if sent != lets {
        return text(format!("the rules allow {lets:?}, the planner sends {sent:?}"));
    }
    if situation.is_aligned(mind.to) && !mind.conflict && verdict.reason != Reason::Aligned {
        return text(format!("aligned, and the planner returns {:?}", verdict.reason));
    }
    Ok(())
}

#[test]
fn move_under_every_policy_begins_exactly_when_the_rules_allow() {
    let begun = Instant::now();
    let counts = policies().unwrap_or_else(|broken| panic!("{broken}"));
    println!("policies: {counts:?}, {:.1} s", begun.elapsed().as_secs_f64());
    assert!(counts.moves > 0 && counts.forced > 0);
}
