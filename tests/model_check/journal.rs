//! Every combination of a journal in flight, the observations meanwhile and the answers: a statement is sent again exactly when
//! the rules, written down a second time, allow it. And the turns of two types.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::disabled::plan;
use crate::observations::{
    Situation, elsewhere, first, healthy, known, mirror, pick, principal, scattered, situation, unavailable, with,
};
use crate::policies::{ago, noon};
use crate::product::{Counts, HEALTHY, Odd, TY};
use lync_mirror::model::*;
use lync_mirror::plan::{ATTEMPTS, Plan};

/// The state in the journal: the session of [`HEALTHY`], the principal on the primary.
fn meanwhile() -> Vec<Situation> {
    use MirroringState::*;
    let (later, other) = (Odd { sequence: 9, ..HEALTHY }, Odd { guid: 2, ..HEALTHY });
    let alone = Odd { witness: WitnessLink::None, ..HEALTHY };
    let served = Odd { sequence: 8, ..alone };
    let refused = || unavailable(0, UnavailableCause::ConnectionRefused);
    let half = with(healthy(), "one of two is under way", |seat| match seat {
        0 => principal(0, PendingFailover, HEALTHY),
        _ => mirror(1, PendingFailover, HEALTHY),
    });
    vec![
        half,
        healthy(),
        situation(
            "moved",
            mirror(0, Synchronized, Odd { sequence: 8, ..HEALTHY }),
            principal(1, Synchronized, Odd { sequence: 8, ..HEALTHY }),
        ),
        situation("there and back", principal(0, Synchronized, later), mirror(1, Synchronized, later)),
        situation("another session", principal(0, Synchronized, other), mirror(1, Synchronized, other)),
        situation("catching up", principal(0, Synchronizing, HEALTHY), mirror(1, Synchronizing, HEALTHY)),
        situation("under way", principal(0, PendingFailover, HEALTHY), mirror(1, Synchronized, HEALTHY)),
        situation("half seen", principal(0, Synchronized, HEALTHY), unavailable(1, UnavailableCause::TimedOut)),
        situation("lost", refused(), mirror(1, Disconnected, alone)),
        situation("lost, later", refused(), mirror(1, Disconnected, Odd { sequence: 9, ..alone })),
        situation("served", refused(), principal(1, Suspended, served)),
    ]
}

#[derive(Debug, Clone)]
struct InFlight {
    forced: bool,
    /// What released a failover, if not the spec, and whether the spec still has it.
    released: Option<(Cause, bool)>,
    attempt: u32,
    attempted: i64,
    overdue: bool,
    sent_state: Option<StatementState>,
    suspended: bool,
    conflict: bool,
    to: Seat,
    consent: bool,
    consumed: bool,
    fenced: bool,
    /// The spec has exchanged the servers of the journal since.
    elsewhere: bool,
    /// The journal is of a later generation of the spec.
    restored: bool,
}

impl InFlight {
    fn numbered(mut number: usize) -> Option<InFlight> {
        let n = &mut number;
        let detail = || "x".to_owned();
        let answers = [Answer::Accepted, Answer::GuardRefused { detail: detail() }, Answer::Lost { detail: detail() }];
        let mut statements = vec![None, Some(StatementState::Sent)];
        statements.extend(answers.map(|answer| Some(StatementState::Answered(answer))));
        let mut released = vec![None];
        for cause in [Cause::Approved, Cause::FailBack] {
            released.extend([true, false].map(|still| Some((cause, still))));
        }
        let in_flight = InFlight {
            forced: pick(n, &[false, true]),
            attempt: pick(n, &[1, ATTEMPTS]),
            attempted: pick(n, &[0, 30]),
            overdue: pick(n, &[false, true]),
            sent_state: pick(n, &statements),
            suspended: pick(n, &[false, true]),
            conflict: pick(n, &[false, true]),
            to: pick(n, &[Seat::Mirror, Seat::Primary]),
            consent: pick(n, &[true, false]),
            consumed: pick(n, &[true, false]),
            fenced: pick(n, &[true, false]),
            elsewhere: pick(n, &[false, true]),
            restored: pick(n, &[false, true]),
            released: pick(n, &released),
        };
        (number == 0).then_some(in_flight)
    }

    /// Combinations that differ from another one in what cannot matter.
    fn is_idle(&self) -> bool {
        let hindered = self.suspended || self.conflict || self.overdue || self.attempt > 1 || self.attempted == 0;
        let odd = [!self.fenced, self.elsewhere, self.restored, self.released.is_some()]
            .into_iter()
            .filter(|odd| *odd)
            .count();
        odd > 1
            || (odd == 1 && hindered)
            || (!self.fenced && !self.forced)
            || (self.released.is_some() && self.forced)
            || !(self.forced || (self.consent && self.consumed))
    }

    fn operation(&self, databases: &[DatabaseName]) -> Operation {
        let journaled = |name: &DatabaseName| OperationDatabase {
            name: name.clone(),
            guid: Guid::from_bytes([1; 16]),
            role_sequence: 7,
            before: String::new(),
        };
        Operation {
            ty: TY,
            from: Seat::Primary,
            to: Seat::Mirror,
            cause: match self.released {
                Some((cause, _)) => cause,
                None if self.forced => Cause::ForcedService,
                None => Cause::Intent,
            },
            from_server: Some(if self.elsewhere { "SQL-1" } else { "SQL-0" }.to_owned()),
            to_server: Some(if self.elsewhere { "SQL-0" } else { "SQL-1" }.to_owned()),
            generation: if self.restored { 3 } else { 2 },
            requested_by: None,
            started: ago(self.attempted),
            deadline: if self.overdue { ago(1) } else { later(noon(), Duration::from_secs(60)) },
            attempted: ago(self.attempted),
            attempt: self.attempt,
            predicted: None,
            databases: databases.iter().map(journaled).collect(),
        }
    }

    fn plan(&self, situation: &Situation) -> Plan {
        let mut desired_type = situation.desired_type(self.to);
        let epoch = Epoch::of([(Guid::from_bytes([1; 16]), 7)]);
        desired_type.force =
            self.consent.then(|| ForceService { epoch: epoch.clone(), until: Timestamp::MAX, fenced: self.fenced });
        if self.released == Some((Cause::Approved, true)) {
            desired_type.approve = Some(Approval { epoch: epoch.clone(), until: None });
        }
        let mut desired = desired(vec![desired_type], self.suspended);
        if self.released == Some((Cause::FailBack, true)) {
            desired.policy.unrequested_switch = UnrequestedSwitch::FailBack;
        }
        let mut persisted =
            PersistedState { operation: Some(self.operation(&situation.databases)), ..PersistedState::default() };
        persisted.requests.insert(TY, Request { principal: self.to, generation: 2, pending: true });
        let consumed_consent = self.consumed.then_some(Consent { epoch, until: Timestamp::MAX });
        persisted.tracking.insert(TY, TypeTracking { consumed_consent, ..known() });
        let mut observation = situation.observation();
        observation.statements.extend(self.sent_state.clone().map(|sent_state| (first(), sent_state)));
        if self.conflict {
            observation.conflicts = BTreeMap::from([(TY, vec!["other/pool".to_owned()])]);
        }
        plan(&desired, &observation, &persisted, noon())
    }

    /// The rules, a second time.
    fn lets(&self, situation: &Situation) -> Option<Act> {
        let pause = if self.attempt == 1 { 1 } else { 15 };
        let open = self.attempt < ATTEMPTS && !self.overdue && self.attempted >= pause;
        // Exchanged servers are recognized where one of them was read.
        let read = Seat::BOTH.into_iter().any(|seat| situation.pair.view(seat).available().is_some());
        let foreign = self.restored || (self.elsewhere && read);
        let withdrawn = self.released.is_some_and(|(_, still)| !still);
        if !open || foreign || withdrawn || self.suspended || self.conflict || (self.to != Seat::Mirror && !self.forced)
        {
            return None;
        }
        if self.forced {
            let consent = self.consent && self.consumed && self.fenced;
            let lets = situation.name == "lost" && consent && self.sent_state.is_none();
            return lets.then_some(Act::ForceService);
        }
        (situation.name == "healthy" && self.sent_state != Some(StatementState::Sent)).then_some(Act::Failover)
    }
}

fn desired(types: Vec<DesiredType>, suspended: bool) -> Desired {
    Desired {
        pool: "pool".to_owned(),
        generation: 2,
        types,
        suspend: suspended.then(|| Suspend { reason: "x".to_owned(), until: None }),
        policy: Policy::default(),
        problems: Vec::new(),
        unusable: BTreeMap::new(),
    }
}

/// `Err`: the first combination in which the planner and the rules disagree.
pub fn journals() -> Result<Counts, String> {
    let mut counts = Counts::default();
    for situation in meanwhile() {
        for in_flight in scattered(InFlight::numbered).filter(|in_flight| !in_flight.is_idle()) {
            let decided = in_flight.plan(&situation);
            // A consent that was never used up may begin a move of its own after this one.
            let again = decided.persisted.operation.as_ref().is_some_and(|one| one.attempt > in_flight.attempt);
            let sent = decided.steps.first().map(|step| step.act).filter(|act| again || *act == Act::Failover);
            if again && sent.is_none() {
                return Err(format!("an attempt is counted, and nothing is sent: {}, {in_flight:?}", situation.name));
            }
            counts.plans += 1;
            counts.moves += u64::from(sent == Some(Act::Failover));
            counts.forced += u64::from(sent == Some(Act::ForceService));
            let lets = in_flight.lets(&situation);
            if sent != lets {
                let message = &decided.types[&TY].verdict.message;
                return Err(format!(
                    "the rules allow {lets:?} again, the planner sends {sent:?}: {}, {in_flight:?}: {message}",
                    situation.name
                ));
            }
        }
    }
    Ok(counts)
}

/// Both types are requested; `hot`: the earlier one has just moved; `in_flight`: the earlier one is moving.
fn requested(order: [DatabaseType; 2], hot: bool, in_flight: bool) -> PersistedState {
    let mut persisted = PersistedState::default();
    for ty in order {
        persisted.requests.insert(ty, Request { principal: Seat::Mirror, generation: 2, pending: true });
    }
    if hot {
        let last = Attempt::new(ago(1), Cause::Intent, Outcome::Succeeded);
        persisted.last.insert(order[0], last);
    }
    if in_flight {
        let operation = InFlight::numbered(0).unwrap().operation(&[first()]);
        persisted.operation = Some(Operation { ty: order[0], from_server: None, to_server: None, ..operation });
    }
    persisted
}

/// Two types that both want to move.
#[derive(Debug)]
struct Turn {
    order: [DatabaseType; 2],
    /// The earlier one has just moved.
    hot: bool,
    in_flight: bool,
    /// Another resource names the earlier one too.
    contested: bool,
    on_other_servers: bool,
    /// Another resource moves on the pair of the earlier one.
    taken: bool,
}

impl Turn {
    fn numbered(n: &mut usize, types: [DatabaseType; 2]) -> Turn {
        let [first, second] = types;
        Turn {
            order: pick(n, &[[first, second], [second, first]]),
            hot: pick(n, &[false, true]),
            in_flight: pick(n, &[false, true]),
            contested: pick(n, &[false, true]),
            on_other_servers: pick(n, &[false, true]),
            taken: pick(n, &[false, true]),
        }
    }

    /// Which type may begin: the earlier one while it can, then the later one; on one pair of servers never while the earlier
    /// one cools down, was not polled, or is not synchronized again after a move of the operator.
    fn lets(&self, name_of: impl Fn(DatabaseType) -> &'static str) -> Option<DatabaseType> {
        let [earlier, later] = self.order;
        let ready = |ty| name_of(ty) == "healthy";
        let held = !self.on_other_servers && (self.hot || name_of(earlier) == "not polled yet");
        if self.in_flight {
            None
        } else if self.contested || (ready(earlier) && !self.hot && self.taken) {
            ready(later).then_some(later)
        } else if ready(earlier) && !self.hot {
            Some(earlier)
        } else {
            (ready(later) && !held).then_some(later)
        }
    }
}

/// Two types that both want to move: which may begin.
pub fn turns() -> Result<Counts, String> {
    use MirroringState::*;
    const NEXT: DatabaseType = DatabaseType::Monitoring;
    let mut counts = Counts::default();
    let catching = situation("catching up", principal(0, Synchronizing, HEALTHY), mirror(1, Synchronizing, HEALTHY));
    let unseen = situation(
        "not polled yet",
        unavailable(0, UnavailableCause::NotYetPolled),
        unavailable(1, UnavailableCause::NotYetPolled),
    );
    let states = [healthy(), catching, unseen];
    for number in 0..states.len().pow(2) * 64 {
        let n = &mut number.clone();
        let (a, b) = (pick(n, &states), pick(n, &states));
        let turn = Turn::numbered(n, [TY, NEXT]);
        let mut observation = a.observation();
        let store = observation.pairs.push(if turn.on_other_servers { elsewhere(&b) } else { b.pair.clone() });
        let mut types =
            vec![a.desired_type(Seat::Mirror), DesiredType { ty: NEXT, store, ..b.desired_type(Seat::Mirror) }];
        types.sort_by_key(|desired_type| desired_type.ty);
        let mut desired = desired(types, false);
        desired.policy.order = turn.order.to_vec();
        let early = turn.order[0];
        let persisted = requested(turn.order, turn.hot, turn.in_flight);
        if turn.contested {
            observation.conflicts.insert(early, vec!["other/pool".to_owned()]);
        }
        if turn.taken {
            observation.turns.insert(early, "User of other/pool, which is moving".to_owned());
        }
        if turn.in_flight {
            observation.statements.insert(first(), StatementState::Sent);
        }
        let decided = plan(&desired, &observation, &persisted, noon());
        counts.plans += 1;
        let name_of = |ty| if ty == TY { a.name } else { b.name };
        let begun = decided.persisted.operation.as_ref().filter(|_| !decided.steps.is_empty()).map(|one| one.ty);
        counts.moves += u64::from(begun.is_some());
        let lets = turn.lets(name_of);
        if begun != lets || decided.steps.len() > 1 {
            return Err(format!(
                "{lets:?} may begin, and {begun:?} begins with {} statements: {TY} {}, {NEXT} {}, {turn:?}",
                decided.steps.len(),
                a.name,
                b.name
            ));
        }
    }
    Ok(counts)
}

#[test]
fn statement_in_flight_is_sent_again_exactly_when_the_rules_allow() {
    let begun = Instant::now();
    let counts = journals().unwrap_or_else(|broken| panic!("{broken}"));
    println!("journals: {counts:?}, {:.1} s", begun.elapsed().as_secs_f64());
    assert!(counts.moves > 0 && counts.forced > 0);
}

#[test]
fn types_with_pending_moves_move_one_at_a_time_in_order() {
    let counts = turns().unwrap_or_else(|broken| panic!("{broken}"));
    println!("turns: {counts:?}");
    assert!(counts.moves > 0);
}
