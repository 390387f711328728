//! The history entry of a move: requester, cause, statements, answers and result. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{HistoryDatabase, HistoryEntry};
use crate::model::{Act, Answer, Cause, Observation, Operation, StatementState};
use crate::plan::{Ended, Plan};
use crate::sql;
use crate::status::input::Input;

/// The number of moves that the status keeps.
const LENGTH: usize = 10;
/// The answer of a statement that no server received.
const NOT_SENT: &str = "not sent: ";

/// The history with the move that has just ended, if one has; newest first.
pub(super) fn history(input: &Input) -> Vec<HistoryEntry> {
    // A backup may have restored the status of another resource.
    let own = input.before.filter(|status| status.resource_uid.as_deref() == Some(input.uid));
    let mut known = own.map(|status| status.history.clone()).unwrap_or_default();
    let mut entries = Vec::new();
    if let Some(ended) = &input.plan.ended {
        let mut entry = entry(ended, input);
        if ended.limited && known.first().is_some_and(|last| repeats(&entry, last)) {
            let first = known.remove(0);
            (entry.started_at, entry.attempts) = (first.started_at, first.attempts.saturating_add(entry.attempts));
        }
        entries.push(entry);
    }
    entries.extend(known);
    entries.truncate(LENGTH);
    entries
}

/// The same move as the newest of the history, and without an effect too: one entry is enough for a limit of the operator that
/// lasts. Otherwise its retries would replace the moves that mattered.
fn repeats(entry: &HistoryEntry, last: &HistoryEntry) -> bool {
    let state = |one: &HistoryEntry| -> Vec<_> {
        one.databases.iter().map(|it| (it.name.clone(), it.before.clone())).collect()
    };
    let key = |one: &HistoryEntry| (one.type_, one.to, one.cause, one.outcome, one.generation, state(one));
    let is_unsent = |answer: &Option<String>| answer.as_deref().is_some_and(|answer| answer.starts_with(NOT_SENT));
    key(entry) == key(last) && [entry, last].iter().all(|one| one.databases.iter().all(|it| is_unsent(&it.answer)))
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
        StatementState::Answered(Answer::NotSent { detail, .. }) => format!("{NOT_SENT}{detail}"),
        StatementState::Answered(Answer::Lost { detail }) => format!("lost: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(change: impl FnOnce(&mut Value)) -> HistoryEntry {
        let mut entry = json!({
            "type": "User", "from": "Primary", "to": "Mirror", "cause": "Intent", "outcome": "Failed", "generation": 2,
            "startedAt": "1970-01-01T00:00:00Z", "endedAt": "1970-01-01T00:00:01Z", "attempts": 1,
            "databases": [
                {"name": "rtcxds", "statement": "ALTER DATABASE", "before": "primary Principal", "after": "", "answer": "not sent: no descriptor"},
                {"name": "rtcab", "statement": "ALTER DATABASE", "before": "primary Principal", "after": "", "answer": "not sent: no descriptor"},
            ],
        });
        change(&mut entry);
        serde_json::from_value(entry).unwrap()
    }

    /// Only a move that was not sent at all, of the same state and request, replaces the entry before it.
    #[test]
    fn entry_repeats_the_last_one_if_neither_was_sent_and_nothing_else_changed() {
        let last = entry(|_| {});
        let later = entry(|entry| entry["startedAt"] = json!("1970-01-01T00:10:00Z"));
        assert!(repeats(&later, &last));
        let sent = entry(|entry| entry["databases"][1]["answer"] = json!("error 1456: refused"));
        assert!(!repeats(&sent, &last) && !repeats(&last, &sent), "a statement that was sent");
        let unknown = entry(|entry| entry["databases"][0]["answer"] = Value::Null);
        assert!(!repeats(&unknown, &unknown), "no answer is no proof");
        for (field, value) in [
            ("to", json!("Primary")),
            ("cause", json!("Approved")),
            ("outcome", json!("Unknown")),
            ("generation", json!(3)),
        ] {
            assert!(!repeats(&entry(|entry| entry[field] = value), &last), "another {field}");
        }
        assert!(!repeats(&entry(|entry| entry["databases"][0]["before"] = json!("mirror Principal")), &last));
    }
}
