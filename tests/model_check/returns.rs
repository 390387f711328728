//! Two passes, each with its own observation: a consent forces service only if the servers were not read together while the spec
//! had it. That is written down a second time.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lync_mirror::model::*;
use lync_mirror::plan::Plan;

use crate::disabled::plan;
use crate::observations::{Situation, healthy, known, mirror, pick, principal, situation, unavailable};
use crate::policies::noon;
use crate::product::{Counts, HEALTHY, Odd, TY, available};

/// What the first pass reads, and whether the old principal is back in it.
fn first_passes() -> Vec<(Situation, bool)> {
    use MirroringState::{Disconnected, Synchronized, Synchronizing};
    let alone = Odd { witness: WitnessLink::None, ..HEALTHY };
    let half = situation("half", principal(0, Synchronized, HEALTHY), unavailable(1, UnavailableCause::TimedOut));
    let catching = situation("catching up", principal(0, Synchronizing, alone), mirror(1, Synchronizing, alone));
    let hidden = situation("hidden", available(0, None, alone), mirror(1, Disconnected, alone));
    let refused = unavailable(0, UnavailableCause::LoginFailed);
    let connected = situation("connected", refused, mirror(1, Synchronizing, alone));
    let apart = situation("apart", principal(0, Disconnected, alone), mirror(1, Disconnected, alone));
    vec![
        (lost(), false),
        (half, false),
        (healthy(), true),
        (catching, true),
        (apart, true),
        (hidden, true),
        (connected, true),
    ]
}

fn lost() -> Situation {
    let alone = Odd { witness: WitnessLink::None, ..HEALTHY };
    let refused = unavailable(0, UnavailableCause::ConnectionRefused);
    situation("lost", refused, mirror(1, MirroringState::Disconnected, alone))
}

/// The consent of the spec in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    No,
    Once,
    /// With a new `until`.
    Again,
}

fn pass(situation: &Situation, given: Given, suspended: bool, persisted: &PersistedState, now: Timestamp) -> Plan {
    let hours = match given {
        Given::No => None,
        Given::Once => Some(1),
        Given::Again => Some(2),
    };
    let mut desired_type = situation.desired_type(Seat::Primary);
    desired_type.force = hours.map(|hours| ForceService {
        epoch: Epoch::of([(Guid::from_bytes([1; 16]), 7)]),
        until: later(noon(), Duration::from_secs(3600 * hours)),
        fenced: true,
    });
    let desired = Desired {
        pool: "pool".to_owned(),
        generation: 2,
        types: vec![desired_type],
        suspend: suspended.then(|| Suspend { reason: "x".to_owned(), until: None }),
        policy: Policy::default(),
        problems: Vec::new(),
        unusable: BTreeMap::new(),
    };
    plan(&desired, &situation.observation(), persisted, now)
}

/// `Err`: the first combination in which the planner and the rule disagree.
pub fn returns() -> Result<Counts, String> {
    let mut counts = Counts::default();
    let passes = first_passes();
    let given = [Given::No, Given::Once, Given::Again];
    for number in 0..passes.len() * given.len().pow(2) * 2 {
        let n = &mut number.clone();
        let (situation, back) = pick(n, &passes);
        let (early, late) = (pick(n, &given), pick(n, &given));
        let suspended = pick(n, &[true, false]);
        let mut persisted = PersistedState::default();
        persisted.requests.insert(TY, Request { principal: Seat::Primary, generation: 2, pending: false });
        persisted.tracking.insert(TY, known());
        let before = pass(&situation, early, suspended, &persisted, noon());
        if before.persisted.operation.is_some() {
            // The process ends before the statement: its successor must not send it once the old principal was back.
            resent(&passes, early, &before.persisted, &mut counts)?;
            continue;
        }
        let decided = pass(&lost(), late, false, &before.persisted, later(noon(), Duration::from_secs(60)));
        let forced = decided.steps.iter().any(|step| step.act == Act::ForceService);
        let allowed = late != Given::No && !(back && early == late);
        counts.plans += 1;
        counts.forced += u64::from(forced);
        if forced != allowed {
            let message = &decided.types[&TY].verdict.message;
            return Err(format!(
                "forced: {forced}, allowed: {allowed}, after {} with the consent {early:?}, then {late:?}: {message}",
                situation.name
            ));
        }
    }
    Ok(counts)
}

/// Three passes: forced service is journaled, both servers or one of them are read, and the principal is lost again.
fn resent(
    passes: &[(Situation, bool)],
    given: Given,
    journaled: &PersistedState,
    counts: &mut Counts,
) -> Result<(), String> {
    for (situation, back) in passes {
        let between = pass(situation, given, false, journaled, later(noon(), Duration::from_secs(10)));
        let decided = pass(&lost(), given, false, &between.persisted, later(noon(), Duration::from_secs(60)));
        let sent = !decided.steps.is_empty();
        counts.plans += 1;
        counts.forced += u64::from(sent);
        if sent == *back {
            let message = &decided.types[&TY].verdict.message;
            return Err(format!("sent again: {sent}, after {} with a journal: {message}", situation.name));
        }
    }
    Ok(())
}

#[test]
fn consent_ends_with_the_return_of_the_old_principal() {
    let counts = returns().unwrap_or_else(|broken| panic!("{broken}"));
    println!("returns: {counts:?}");
    assert!(counts.forced > 0);
}
