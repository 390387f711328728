//! The history entry of a move: requester, cause, statements, answers and result. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{HistoryDatabase, HistoryEntry};
use crate::model::{Act, Answer, Cause, Observation, Operation, StatementState};
use crate::plan::{Ended, Plan};
use crate::sql;
use crate::status::input::Input;

/// The number of moves that the status keeps.
const LENGTH: usize = 10;

/// The history with the move that has just ended, if one has; newest first.
pub(super) fn history(input: &Input) -> Vec<HistoryEntry> {
    let mut entries: Vec<HistoryEntry> = input.plan.ended.iter().map(|ended| entry(ended, input)).collect();
    // A backup may have restored the status of another resource.
    let own = input.before.filter(|status| status.resource_uid.as_deref() == Some(input.uid));
    entries.extend(own.into_iter().flat_map(|status| status.history.iter().cloned()));
    entries.truncate(LENGTH);
    entries
}

fn entry(ended: &Ended, input: &Input) -> HistoryEntry {
    let (operation, timings) = (&ended.operation, input.timings);
    HistoryEntry {
        type_: operation.ty,
        from: operation.from,
        to: operation.to,
        from_server: operation.from_server.clone(),
        to_server: operation.to_server.clone(),
        cause: operation.cause,
        outcome: ended.outcome,
        generation: operation.generation,
        requested_via: operation.requested_by.clone(),
        why: why(operation),
        started_at: Time(operation.started),
        ended_at: Time(input.now),
        databases: databases(operation, input.observation, input.plan),
        attempts: operation.attempt,
        connect_millis: timings.connect,
        statement_millis: timings.statement,
        verify_millis: timings.verify,
        detail: ended.detail.clone(),
    }
}

fn why(operation: &Operation) -> String {
    let Operation { ty, to, generation, .. } = operation;
    match operation.cause {
        Cause::Intent => {
            format!("Generation {generation} of the spec wants the principal of {ty} on the {}.", to.word())
        }
        Cause::Approved => {
            format!("Generation {generation} of the spec approved the held move of {ty} to the {}.", to.word())
        }
        Cause::FailBack => format!(
            "{ty} had left the {} without a change of the spec, and every condition of policy.unrequestedSwitch: FailBack held.",
            to.word()
        ),
        Cause::ForcedService => format!(
            "Generation {generation} of the spec consents to forced service of {ty} on the {}, as the principal was lost.",
            to.word()
        ),
    }
}

fn databases(operation: &Operation, observation: &Observation, plan: &Plan) -> Vec<HistoryDatabase> {
    let pair = plan.types.get(&operation.ty).map(|planned| observation.pair(planned.desired_type.store));
    let act = match operation.cause {
        Cause::ForcedService => Act::ForceService,
        Cause::Intent | Cause::Approved | Cause::FailBack => Act::Failover,
    };
    operation
        .databases
        .iter()
        .map(|database| HistoryDatabase {
            name: database.name.to_string(),
            statement: sql::statement(act, &database.name),
            answer: observation.statements.get(&database.name).map(answer_text),
            before: database.before.clone(),
            after: pair.map(|pair| pair.describe(&database.name)).unwrap_or_default(),
        })
        .collect()
}

fn answer_text(statement: &StatementState) -> String {
    match statement {
        StatementState::Sent => "no answer yet".to_owned(),
        StatementState::Answered(Answer::Accepted) => "done".to_owned(),
        StatementState::Answered(Answer::GuardRefused { detail }) => format!("refused by the guard: {detail}"),
        StatementState::Answered(Answer::Refused { number, detail }) => format!("error {number}: {detail}"),
        StatementState::Answered(Answer::NotSent { detail, .. }) => format!("not sent: {detail}"),
        StatementState::Answered(Answer::Lost { detail }) => format!("lost: {detail}"),
    }
}
