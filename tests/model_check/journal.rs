//! Every combination of a journal in flight, the observations meanwhile and the answers: a statement is sent again exactly when
//! the rules, written down a second time, allow it. And the turns of two types.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::disabled::plan;
use crate::observations::{Sight, dark, first, healthy, mirror, pick, principal, scattered, sight, with};
use crate::policies::{ago, noon};
use crate::product::{Counts, HEALTHY, Odd, TY};
use lync_mirror::model::*;
use lync_mirror::plan::{ATTEMPTS, Plan};

/// The state in the journal: the session of [`HEALTHY`], the principal on the primary.
fn meanwhile() -> Vec<Sight> {
    use MirroringState::*;
    let (later, other) = (Odd { sequence: 9, ..HEALTHY }, Odd { guid: 2, ..HEALTHY });
    let alone = Odd { witness: WitnessLink::None, ..HEALTHY };
    let served = Odd { sequence: 8, ..alone };
    let refused = || dark(0, UnavailableCause::ConnectionRefused);
    let half = with(healthy(), "one of two is under way", |seat| match seat {
        0 => principal(0, PendingFailover, HEALTHY),
        _ => mirror(1, PendingFailover, HEALTHY),
    });
    vec![
        half,
        healthy(),
        sight(
            "moved",
            mirror(0, Synchronized, Odd { sequence: 8, ..HEALTHY }),
            principal(1, Synchronized, Odd { sequence: 8, ..HEALTHY }),
        ),
        sight("there and back", principal(0, Synchronized, later), mirror(1, Synchronized, later)),
        sight("another session", principal(0, Synchronized, other), mirror(1, Synchronized, other)),
        sight("catching up", principal(0, Synchronizing, HEALTHY), mirror(1, Synchronizing, HEALTHY)),
        sight("under way", principal(0, PendingFailover, HEALTHY), mirror(1, Synchronized, HEALTHY)),
        sight("half seen", principal(0, Synchronized, HEALTHY), dark(1, UnavailableCause::TimedOut)),
        sight("lost", refused(), mirror(1, Disconnected, alone)),
        sight("lost, later", refused(), mirror(1, Disconnected, Odd { sequence: 9, ..alone })),
        sight("served", refused(), principal(1, Suspended, served)),
    ]
}

#[derive(Debug, Clone)]
struct Flying {
    forced: bool,
    attempt: u32,
    attempted: i64,
    overdue: bool,
    flight: Option<StatementState>,
    suspended: bool,
    conflict: bool,
    to: Seat,
    consent: bool,
    consumed: bool,
}

impl Flying {
    fn numbered(mut number: usize) -> Option<Flying> {
        let n = &mut number;
        let detail = || "x".to_owned();
        let answers = [Answer::Accepted, Answer::GuardRefused { detail: detail() }, Answer::Lost { detail: detail() }];
        let mut statements = vec![None, Some(StatementState::Sent)];
        statements.extend(answers.map(|answer| Some(StatementState::Answered(answer))));
        let flying = Flying {
            forced: pick(n, &[false, true]),
            attempt: pick(n, &[1, ATTEMPTS]),
            attempted: pick(n, &[0, 30]),
            overdue: pick(n, &[false, true]),
            flight: pick(n, &statements),
            suspended: pick(n, &[false, true]),
            conflict: pick(n, &[false, true]),
            to: pick(n, &[Seat::Mirror, Seat::Primary]),
            consent: pick(n, &[true, false]),
            consumed: pick(n, &[true, false]),
        };
        (number == 0).then_some(flying)
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
            cause: if self.forced { Cause::ForcedService } else { Cause::Intent },
            generation: 2,
            requested_by: None,
            started: ago(self.attempted),
            deadline: if self.overdue { ago(1) } else { later(noon(), Duration::from_secs(60)) },
            attempted: ago(self.attempted),
            attempt: self.attempt,
            databases: databases.iter().map(journaled).collect(),
        }
    }

    fn plan(&self, sight: &Sight) -> Plan {
        let mut desired_type = sight.desired_type(self.to);
        let epoch = Epoch::of([(Guid::from_bytes([1; 16]), 7)]);
        desired_type.force = self.consent.then(|| ForceService { epoch: epoch.clone(), until: Timestamp::MAX });
        let desired = desired(vec![desired_type], self.suspended);
        let mut persisted =
            PersistedState { operation: Some(self.operation(&sight.databases)), ..PersistedState::default() };
        persisted.requests.insert(TY, Request { principal: self.to, generation: 2, pending: true });
        let consumed = self.consumed.then_some(epoch);
        persisted.tracking.insert(
            TY,
            TypeTracking {
                last_settled_seat: Some(Seat::Primary),
                consumed_consent_epoch: consumed,
                ..TypeTracking::default()
            },
        );
        let mut seen = sight.seen();
        seen.statements.extend(self.flight.clone().map(|flight| (first(), flight)));
        if self.conflict {
            seen.conflicts = BTreeMap::from([(TY, vec!["other/pool".to_owned()])]);
        }
        plan(&desired, &seen, &persisted, noon())
    }

    /// The rules, a second time.
    fn lets(&self, sight: &Sight) -> Option<Act> {
        let pause = if self.attempt == 1 { 1 } else { 15 };
        let open = self.attempt < ATTEMPTS && !self.overdue && self.attempted >= pause;
        if !open || self.suspended || self.conflict || self.to != Seat::Mirror {
            return None;
        }
        if self.forced {
            let lets = sight.name == "lost" && self.consent && self.consumed && self.flight.is_none();
            return lets.then_some(Act::ForceService);
        }
        (sight.name == "healthy" && self.flight != Some(StatementState::Sent)).then_some(Act::Failover)
    }
}

fn desired(types: Vec<DesiredType>, suspended: bool) -> Desired {
    Desired {
        pool: "pool".to_owned(),
        generation: 2,
        types,
        suspend: suspended.then(|| Suspend { reason: "x".to_owned(), until: None }),
        policy: Policy::default(),
    }
}

/// `Err`: the first combination in which the planner and the rules disagree.
pub fn journals() -> Result<Counts, String> {
    let mut counts = Counts::default();
    for sight in meanwhile() {
        for flying in scattered(Flying::numbered) {
            let decided = flying.plan(&sight);
            // A consent that was never used up may begin a move of its own after this one.
            let again = decided.persisted.operation.as_ref().is_some_and(|one| one.attempt > flying.attempt);
            let sent = decided.steps.first().map(|step| step.act).filter(|act| again || *act == Act::Failover);
            if again && sent.is_none() {
                return Err(format!("an attempt is counted, and nothing is sent: {}, {flying:?}", sight.name));
            }
            counts.plans += 1;
            counts.moves += u64::from(sent == Some(Act::Failover));
            counts.forced += u64::from(sent == Some(Act::ForceService));
            let lets = flying.lets(&sight);
            if sent != lets {
                let message = &decided.types[&TY].verdict.message;
                return Err(format!(
                    "the rules allow {lets:?} again, the planner sends {sent:?}: {}, {flying:?}: {message}",
                    sight.name
                ));
            }
        }
    }
    Ok(counts)
}

/// Two types that both want to move: which may begin.
pub fn turns() -> Result<Counts, String> {
    use MirroringState::*;
    const NEXT: DatabaseType = DatabaseType::Monitoring;
    let mut counts = Counts::default();
    let catching = sight("catching up", principal(0, Synchronizing, HEALTHY), mirror(1, Synchronizing, HEALTHY));
    let unseen =
        sight("not looked yet", dark(0, UnavailableCause::NotYetPolled), dark(1, UnavailableCause::NotYetPolled));
    let states = [healthy(), catching, unseen];
    for number in 0..states.len().pow(2) * 16 {
        let n = &mut number.clone();
        let (a, b) = (pick(n, &states), pick(n, &states));
        let (first_is_next, hot, flying) = (pick(n, &[false, true]), pick(n, &[false, true]), pick(n, &[false, true]));
        let contested = pick(n, &[false, true]);
        let mut seen = a.seen();
        let store = seen.pairs.push(b.pair.clone());
        let mut types =
            vec![a.desired_type(Seat::Mirror), DesiredType { ty: NEXT, store, ..b.desired_type(Seat::Mirror) }];
        types.sort_by_key(|desired_type| desired_type.ty);
        let mut desired = desired(types, false);
        let order = if first_is_next { [NEXT, TY] } else { [TY, NEXT] };
        desired.policy.order = order.to_vec();
        let mut persisted = PersistedState::default();
        for ty in order {
            persisted.requests.insert(ty, Request { principal: Seat::Mirror, generation: 2, pending: true });
        }
        let early = order[0];
        if hot {
            let last = Attempt { ended: ago(1), cause: Cause::Intent, outcome: Outcome::Succeeded, detail: None };
            persisted.last.insert(early, last);
        }
        if flying {
            let going = Flying::numbered(0).unwrap().operation(&[first()]);
            persisted.operation = Some(Operation { ty: early, ..going });
        }
        if contested {
            seen.conflicts.insert(early, vec!["other/pool".to_owned()]);
        }
        if flying {
            seen.statements.insert(first(), StatementState::Sent);
        }
        let decided = plan(&desired, &seen, &persisted, noon());
        counts.plans += 1;
        let sight_of = |ty| if ty == TY { a.name } else { b.name };
        let begun = decided.persisted.operation.as_ref().filter(|_| !decided.steps.is_empty()).map(|one| one.ty);
        counts.moves += u64::from(begun.is_some());
        let ready = |ty| sight_of(ty) == "healthy";
        // The earlier one while it can, then the later one; never while the other is unsettled, or a move is in flight.
        let lets = match (flying, contested) {
            (true, _) => None,
            (false, true) => ready(order[1]).then_some(order[1]),
            (false, false) if hot || !ready(order[0]) => None,
            (false, false) => (sight_of(order[1]) != "catching up").then_some(order[0]),
        };
        if begun != lets || decided.steps.len() > 1 {
            return Err(format!(
                "the turn is {lets:?}'s, and {begun:?} begins with {} statements: {TY} {}, {NEXT} {}, order {order:?}, hot {hot}, flying {flying}, contested {contested}",
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
