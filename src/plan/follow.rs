//! The journal of a move, held against what the servers show now (R18): only looking decides, nothing is sent blindly.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Answer, Cause, Desired, Flight, Memory, Observation, Operation, OperationDatabase, Outcome, Reason, Wish, later,
};
use crate::plan::rule::stands;
use crate::plan::{ATTEMPTS, Ended, Failover, Finding, Rule, force, holds, judge, list, verdict};

/// Where a move stands, for the verdict of its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub reason: Reason,
    pub message: String,
}

pub(crate) enum Followed {
    None,
    Going(Progress),
    /// A further attempt at the databases that the former one did not move.
    Again(Operation, Vec<Failover>, Progress),
    Over(Ended),
}

/// What the servers show of one database of the move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Both agree on the new roles, and the new principal is ONLINE.
    Moved,
    /// Both agree that nothing happened since the journal was written, and a failover is possible.
    Untouched,
    /// The session is not the one of the journal, or it switched and is back.
    Elsewhere,
    /// In transition, or not seen: nothing can be said yet.
    Open,
}

/// Pauses before a further attempt: a statement on its way gets the time to show.
fn pause(attempt: u32) -> Duration {
    Duration::from_secs(match attempt {
        0 | 1 => 1,
        2 => 5,
        _ => 15,
    })
}

pub(crate) fn follow(
    desired: &Desired,
    seen: &Observation,
    memory: &Memory,
    suspended: bool,
    now: Timestamp,
) -> Followed {
    let Some(operation) = &memory.operation else { return Followed::None };
    let over =
        |outcome, detail: Option<String>| Followed::Over(Ended { operation: operation.clone(), outcome, detail });
    let Some(wish) = desired.wishes.iter().find(|wish| wish.ty == operation.ty) else {
        return over(Outcome::Superseded, Some(format!("{} was removed from the spec during the move", operation.ty)));
    };
    let Some(pair) = seen.pairs.get(wish.store) else { return Followed::None };
    let fates: Vec<(&OperationDatabase, Finding, Fate)> = operation
        .databases
        .iter()
        .map(|journal| {
            let finding = judge(pair, &journal.name);
            let fate = fate(operation, journal, &finding);
            (journal, finding, fate)
        })
        .collect();
    let named =
        |wanted: Fate| list(fates.iter().filter(|(.., fate)| *fate == wanted).map(|(journal, ..)| &journal.name));
    let any = |wanted: Fate| fates.iter().any(|(.., fate)| *fate == wanted);
    let pending =
        operation.databases.iter().any(|database| matches!(seen.flights.get(&database.name), Some(Flight::Sent)));
    if operation.cause == Cause::ForcedService {
        let hindered = suspended || seen.conflicts.contains_key(&operation.ty);
        let again = if !holds(Rule::ResendNotHindered, !hindered) {
            Vec::new()
        } else {
            unsent(seen, memory, operation, wish, &fates, now)
        };
        return forced(operation, &fates, again, pending, trouble(operation, seen), now);
    }
    let way = format!("{} to the {}", operation.ty, operation.to.word());
    let trouble = trouble(operation, seen);

    if !any(Fate::Open) && !any(Fate::Untouched) && !any(Fate::Elsewhere) && !pending {
        return over(Outcome::Succeeded, None);
    }
    if !holds(Rule::SettledBeforeRetry, !any(Fate::Open)) || !holds(Rule::AnswerBeforeRetry, !pending) {
        let open = match (named(Fate::Open), pending) {
            (names, false) => format!("not settled yet: {names}"),
            (names, true) if names.is_empty() => "the answer is still to come".to_owned(),
            (names, true) => format!("under way: {names}"),
        };
        let moved = match named(Fate::Moved) {
            names if names.is_empty() => String::new(),
            names => format!("; moved: {names}"),
        };
        if now >= operation.deadline {
            return Followed::Going(Progress {
                reason: Reason::SwitchOverdue,
                message: format!(
                    "the move of {way} has not been seen to end within policy.switchDeadline ({open}{moved}{}). It is not sent again; look at both servers, the operator goes on watching",
                    trouble.map(|text| format!("; {text}")).unwrap_or_default()
                ),
            });
        }
        let reason = if pending { Reason::Moving } else { Reason::Verifying };
        return Followed::Going(Progress { reason, message: format!("moving {way} ({open}{moved})") });
    }

    // Every database is settled now: moved, untouched, or elsewhere.
    let partly = if any(Fate::Moved) { Outcome::Partial } else { Outcome::Failed };
    if any(Fate::Elsewhere) {
        let what = format!("{} changed otherwise during the move", named(Fate::Elsewhere));
        return over(if any(Fate::Moved) { Outcome::Partial } else { Outcome::Superseded }, Some(what));
    }
    if !holds(Rule::RetrySameWish, wish.principal == operation.to) {
        return over(
            if any(Fate::Moved) { Outcome::Partial } else { Outcome::Superseded },
            Some("the spec changed during the move".to_owned()),
        );
    }
    let free = !seen.conflicts.contains_key(&operation.ty);
    if !holds(Rule::RetryNotSuspended, !suspended) || !holds(Rule::RetryNoConflict, free) {
        return over(partly, Some("not tried again: suspended, or in conflict with another resource".to_owned()));
    }
    let why = trouble.unwrap_or_else(|| "the servers show that nothing happened".to_owned());
    if !holds(Rule::AttemptsBounded, operation.attempt < ATTEMPTS)
        || !holds(Rule::BeforeDeadline, now < operation.deadline)
    {
        return over(
            partly,
            Some(format!("{} not moved after {} attempts: {why}", named(Fate::Untouched), operation.attempt)),
        );
    }
    if !holds(Rule::PauseBeforeRetry, now >= later(operation.attempted, pause(operation.attempt))) {
        return Followed::Going(Progress {
            reason: Reason::Verifying,
            message: format!(
                "moving {way}: {} not moved by attempt {} ({why}); it is tried again",
                named(Fate::Untouched),
                operation.attempt
            ),
        });
    }
    let untouched: Vec<Finding> =
        fates.iter().filter(|(.., fate)| *fate == Fate::Untouched).map(|(_, finding, _)| finding.clone()).collect();
    let steps = verdict::failovers(seen, wish, &untouched);
    let again = Operation { attempt: operation.attempt + 1, attempted: now, ..operation.clone() };
    let message = format!("moving {way}: attempt {} for {} ({why})", again.attempt, named(Fate::Untouched));
    Followed::Again(again, steps, Progress { reason: Reason::Moving, message })
}

/// The statements of a forced service of whose sending this process knows nothing: its predecessor wrote the journal and
/// died. The consent was for this state, and while the survivor still shows it, it holds; the guard in the batch lets
/// only one of two such statements through. Empty unless all that R2 asks for is still so.
fn unsent(
    seen: &Observation,
    memory: &Memory,
    operation: &Operation,
    wish: &Wish,
    fates: &[(&OperationDatabase, Finding, Fate)],
    now: Timestamp,
) -> Vec<Failover> {
    let Some(track) = memory.tracks.get(&wish.ty) else { return Vec::new() };
    let consented =
        wish.force.as_ref().is_some_and(|force| track.consumed.as_ref() == Some(&force.epoch) && now < force.until);
    let alone = operation.databases.iter().all(|database| !seen.flights.contains_key(&database.name));
    let bounded = now < operation.deadline && operation.attempt < ATTEMPTS;
    if !holds(Rule::ResendConsented, consented)
        || !holds(Rule::ResendUnsent, alone)
        || !holds(Rule::ResendBounded, bounded)
    {
        return Vec::new();
    }
    let findings: Vec<Finding> = fates.iter().map(|(_, finding, _)| finding.clone()).collect();
    let unchanged = |step: &Failover| {
        let journal = operation.databases.iter().find(|database| database.name == step.database);
        journal.is_some_and(|journal| journal.guid == step.guid && journal.role_sequence == step.role_sequence)
    };
    let steps = force::steps(seen, wish, &findings, track);
    if holds(Rule::ResendUnchanged, steps.iter().all(unchanged)) { steps } else { Vec::new() }
}

/// A forced service is sent once for a state. Whether it happened, the surviving server alone can tell; the other is away.
fn forced(
    operation: &Operation,
    fates: &[(&OperationDatabase, Finding, Fate)],
    again: Vec<Failover>,
    pending: bool,
    trouble: Option<String>,
    now: Timestamp,
) -> Followed {
    let over = |outcome, detail| Followed::Over(Ended { operation: operation.clone(), outcome, detail: Some(detail) });
    let side = operation.to.word();
    let served = fates.iter().filter(|(.., fate)| *fate == Fate::Moved).count();
    if served == fates.len() && !pending {
        return over(
            Outcome::Succeeded,
            format!("service was forced on the {side}; what the lost principal had not sent is not in this copy"),
        );
    }
    let open = list(fates.iter().filter(|(.., fate)| *fate != Fate::Moved).map(|(journal, ..)| &journal.name));
    if !again.is_empty() && now >= later(operation.attempted, pause(operation.attempt)) {
        let message = format!("forcing service of {open} on the {side}: the operator was restarted before it was done");
        let operation = Operation { attempt: operation.attempt + 1, attempted: now, ..operation.clone() };
        return Followed::Again(operation, again, Progress { reason: Reason::Moving, message });
    }
    if !pending && (trouble.is_some() || now >= operation.deadline) {
        let why = trouble.unwrap_or_else(|| "nothing shows that it happened".to_owned());
        let outcome = if served == 0 { Outcome::Failed } else { Outcome::Partial };
        return over(outcome, format!("service of {open} was not forced on the {side}: {why}. The consent is used up"));
    }
    let reason = if pending { Reason::Moving } else { Reason::Verifying };
    Followed::Going(Progress { reason, message: format!("forcing service of {} on the {side} ({open})", operation.ty) })
}

fn fate(operation: &Operation, journal: &OperationDatabase, finding: &Finding) -> Fate {
    let Some(session) = finding.session else { return Fate::Open };
    if operation.cause == Cause::ForcedService {
        let serves = finding.principal == Some(operation.to) && finding.online && session.guid == journal.guid;
        return if serves && session.role_sequence > journal.role_sequence { Fate::Moved } else { Fate::Open };
    }
    if finding.agreed && !holds(Rule::SameSessionAsJournal, session.guid == journal.guid) {
        return Fate::Elsewhere;
    }
    let switched = session.role_sequence > journal.role_sequence && stands(Rule::NotSwitchedSinceJournal);
    match (finding.agreed, finding.principal) {
        (true, Some(seat)) if seat == operation.to && switched && finding.online => Fate::Moved,
        // Role and sequence contradict each other: the two looks straddle the switch.
        (true, Some(seat)) if seat == operation.to => Fate::Open,
        (true, Some(_)) if switched && finding.obstacle.is_none() => Fate::Elsewhere,
        (true, Some(_)) if !switched && finding.obstacle.is_none() => Fate::Untouched,
        _ => Fate::Open,
    }
}

/// What the servers answered, where it was not a plain yes.
fn trouble(operation: &Operation, seen: &Observation) -> Option<String> {
    let said: Vec<String> = operation
        .databases
        .iter()
        .filter_map(|database| match seen.flights.get(&database.name)? {
            Flight::Sent | Flight::Answered(Answer::Accepted) => None,
            Flight::Answered(
                Answer::GuardRefused { detail } | Answer::NotSent { detail } | Answer::Lost { detail },
            ) => Some(format!("{}: {detail}", database.name)),
            Flight::Answered(Answer::Refused { number, detail }) => {
                Some(format!("{}: error {number}: {detail}", database.name))
            }
        })
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}
