//! The changes since the last status, each as one event. Pure: `events` publishes them.

use crate::api::LyncPoolMirrorStatus;
use crate::model::{Cause, Effect, Operation, Outcome, Reason, duration_text};
use crate::plan::{Ended, Plan, coarse};

/// An event. The recorder merges events with the same action, so the action of a type contains the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The event is of type Warning.
    pub warns: bool,
    pub reason: Reason,
    pub action: String,
    pub note: String,
}

impl Announcement {
    pub fn new(reason: Reason, action: impl Into<String>, note: impl Into<String>) -> Self {
        let warns = reason.effect() == Effect::Stalled;
        Self { warns, reason, action: action.into(), note: note.into() }
    }

    /// A forced service may lose data: each of its events is a warning.
    fn of_move(operation: &Operation, reason: Reason, action: String, note: String) -> Self {
        let event = Self::new(reason, action, note);
        Self { warns: event.warns || operation.cause == Cause::ForcedService, ..event }
    }
}

/// The events of a pass. `before`: the status that was read, `now`: the status that was written.
pub fn announcements(
    before: Option<&LyncPoolMirrorStatus>,
    now: &LyncPoolMirrorStatus,
    plan: &Plan,
) -> Vec<Announcement> {
    let mut all = Vec::new();
    all.extend(started(plan));
    all.extend(plan.ended.as_ref().map(ended));
    all.extend(decisions(before, plan));
    all.extend(services(before, plan));
    all.extend(removed_types(before, now));
    all.extend(removed_approvals(before, now));
    all.extend(changed_condition(before, now, "QuorumAtRisk", "True"));
    all.extend(changed_condition(before, now, "PostSwitchDrift", "True"));
    all.extend(changed_condition(before, now, "CredentialsStale", "True"));
    all
}

fn started(plan: &Plan) -> Option<Announcement> {
    let operation = plan.persisted.operation.as_ref().filter(|_| !plan.steps.is_empty())?;
    let names = plan.steps.iter().map(|step| step.database.to_string()).collect::<Vec<_>>().join(", ");
    let (subject, cause, attempt) = (subject(operation), operation.cause, operation.attempt);
    let predicted =
        operation.predicted.map(|exact| format!(" Predicted interruption: {}.", duration_text(coarse(exact))));
    let predicted = predicted.unwrap_or_default();
    let (reason, note) = if attempt == 1 {
        (Reason::MoveStarted, format!("{subject} started with cause {cause}: {names}.{predicted}"))
    } else {
        (Reason::MoveRetried, format!("{subject} is retried with cause {cause}, attempt {attempt}: {names}."))
    };
    Some(Announcement::of_move(operation, reason, format!("Move{}-{attempt}", operation.ty), note))
}

fn ended(ended: &Ended) -> Announcement {
    let (reason, outcome) = match ended.outcome {
        Outcome::Succeeded => (Reason::MoveSucceeded, "succeeded"),
        Outcome::Failed => (Reason::MoveFailed, "failed"),
        Outcome::Partial => (Reason::MoveFailed, "completed partially"),
        Outcome::Unknown => (Reason::MoveFailed, "has an unknown outcome"),
        Outcome::Superseded => (Reason::MoveSuperseded, "was superseded"),
    };
    let operation = &ended.operation;
    let detail = ended.detail.as_ref().map(|detail| format!(": {}", detail.trim_end_matches('.')));
    let note = format!("{} {outcome}{}.", subject(operation), detail.unwrap_or_default());
    let action = format!("End{}-{}", operation.ty, operation.started.as_second());
    Announcement::of_move(operation, reason, action, note)
}

fn decisions(before: Option<&LyncPoolMirrorStatus>, plan: &Plan) -> Vec<Announcement> {
    let changed = plan.types.iter().filter(|(ty, planned)| {
        let previous = before.and_then(|status| status.database_types.iter().find(|previous| previous.type_ == **ty));
        let reason = planned.verdict.reason;
        // The events of the move and of the spec cover these reasons.
        let covered = matches!(reason, Reason::Moving | Reason::Verifying | Reason::InvalidSpec);
        !covered && previous.is_none_or(|previous| previous.reason != reason.name())
    });
    changed
        .map(|(ty, planned)| {
            Announcement::new(planned.verdict.reason, format!("Decide{ty}"), planned.verdict.message.clone())
        })
        .collect()
}

/// A change of the service of a type, apart from the one that a move of the operator causes.
fn services(before: Option<&LyncPoolMirrorStatus>, plan: &Plan) -> Vec<Announcement> {
    let moving = plan.persisted.operation.as_ref().map(|operation| operation.ty);
    let changed = plan.types.iter().filter(|(ty, _)| Some(**ty) != moving).filter_map(|(ty, planned)| {
        let previous = before?.database_types.iter().find(|previous| previous.type_ == *ty)?;
        (previous.service != planned.service).then_some((ty, previous.service, planned))
    });
    changed
        .map(|(ty, previous, planned)| {
            let note = format!("{ty} is {}, and was {previous} before. {}", planned.service, planned.verdict.message);
            Announcement::new(planned.service.reason(), format!("Service{ty}"), note)
        })
        .collect()
}

/// The types that the spec no longer has.
fn removed_types(before: Option<&LyncPoolMirrorStatus>, now: &LyncPoolMirrorStatus) -> Vec<Announcement> {
    // A backup may have restored the status of another resource.
    let own = before.filter(|status| status.resource_uid == now.resource_uid);
    let known = own.map(|status| status.database_types.as_slice()).unwrap_or_default();
    let removed = known.iter().filter(|old| now.database_types.iter().all(|new| new.type_ != old.type_));
    removed
        .map(|old| {
            let ty = old.type_;
            let names = old.databases.iter().map(|database| database.name.as_str()).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { String::new() } else { format!(" ({names})") };
            let note = format!(
                "{ty} was removed from the spec: for this resource the operator neither watches nor moves its databases any more{names}. A statement that was sent before goes on. To fix, if that was a mistake and no other resource has the type: add it again."
            );
            Announcement::new(Reason::TypeRemoved, format!("Remove{ty}"), note)
        })
        .collect()
}

/// The approvals that left the spec while their state lasts and no move has started, e.g. by a sync from Git.
fn removed_approvals(before: Option<&LyncPoolMirrorStatus>, now: &LyncPoolMirrorStatus) -> Vec<Announcement> {
    let own = before.filter(|before| before.resource_uid == now.resource_uid);
    let moving = now.operation.as_ref().map(|operation| operation.type_);
    let held = now.database_types.iter().filter(|of| Some(of.type_) != moving && of.reason != Reason::Aligned.name());
    let removed = held.filter_map(|of| {
        let previous = own?.database_types.iter().find(|previous| previous.type_ == of.type_)?;
        let approval = previous.tracking.as_ref()?.approval.as_ref()?;
        let moved =
            of.last_move.as_ref().is_some_and(|last| last.cause == Cause::Approved && last.ended_at >= approval.since);
        let lasts = of.tracking.as_ref().is_some_and(|tracking| tracking.approval.is_none());
        (lasts && !moved && of.epoch.as_ref() == Some(&approval.epoch)).then_some((of.type_, &approval.epoch))
    });
    removed
        .map(|(ty, epoch)| {
            let note = format!(
                "The approval of {ty} for epoch {epoch} was removed from the spec before the move started. To fix, if a sync or kubectl apply of a file removed it: apply on the server (server-side apply), then approve again."
            );
            Announcement::new(Reason::ApprovalRemoved, format!("Unapprove{ty}"), note)
        })
        .collect()
}

/// The deletion of a resource while its move was in flight. Nothing else reports what becomes of the databases.
pub fn deleted_during(operation: &Operation) -> Announcement {
    let names = operation.databases.iter().map(|database| database.name.to_string()).collect::<Vec<_>>().join(", ");
    let subject = subject(operation);
    let note = format!(
        "{subject} was in progress when the resource was deleted ({names}). SQL Server completes the statements that were sent, and the operator does not follow them. To fix: check the principal of these databases on both servers."
    );
    Announcement::of_move(operation, Reason::MoveSuperseded, format!("Delete{}", operation.ty), note)
}

/// A condition that took this value or, with this value, another reason or message; and its end.
fn changed_condition(
    before: Option<&LyncPoolMirrorStatus>,
    now: &LyncPoolMirrorStatus,
    kind: &str,
    value: &str,
) -> Option<Announcement> {
    let condition = |status: &LyncPoolMirrorStatus| {
        let found = status.conditions.iter().find(|condition| condition.type_ == kind)?;
        Some((found.status.clone(), found.reason.clone(), found.message.clone()))
    };
    let (status, reason, message) = condition(now)?;
    let previous = before.and_then(condition);
    let was = previous.as_ref().is_some_and(|(status, ..)| status == value);
    let is = status == value;
    let news = match (was, is) {
        (false, true) => true,
        (true, true) => {
            previous.is_some_and(|(_, previous, text)| (previous, text) != (reason.clone(), message.clone()))
        }
        (true, false) => status == "False",
        (false, false) => false,
    };
    let reason = reason.parse().ok().filter(|_| news)?;
    Some(Announcement::new(reason, format!("Observe{kind}"), message))
}

/// `Failover of User to the mirror SQL-B`, or `Forced service of User to the mirror SQL-B`.
fn subject(operation: &Operation) -> String {
    let act = if operation.cause == Cause::ForcedService { "Forced service" } else { "Failover" };
    let server = operation.to_server.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    format!("{act} of {} to the {}{server}", operation.ty, operation.to.word())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::model::{PersistedState, Seat};
    use crate::plan::Requeue;

    fn database(name: &str) -> serde_json::Value {
        json!({
            "name": name, "stateOnPrimary": "Principal", "stateOnMirror": "Mirror",
            "mirroringStatusOnPrimary": "Synchronized", "mirroringStatusOnMirror": "Synchronized",
        })
    }

    fn status(types: &[&str]) -> LyncPoolMirrorStatus {
        let types = types.iter().map(|ty| {
            json!({
                "type": ty, "desired": "Primary", "observed": "Primary", "service": "Protected", "reason": "Aligned",
                "message": "", "databases": [database("rtcxds"), database("rtcshared")],
            })
        });
        serde_json::from_value(json!({"databaseTypes": types.collect::<Vec<_>>()})).unwrap()
    }

    #[test]
    fn type_that_left_the_spec_is_one_event_with_its_databases() {
        let idle = Plan {
            types: BTreeMap::new(),
            persisted: PersistedState::default(),
            steps: Vec::new(),
            ended: None,
            requeue: Requeue::Idle,
        };
        for (before, now, removed) in [
            (None, status(&["User"]), 0),
            (Some(status(&["User"])), status(&["User"]), 0),
            (Some(status(&["User"])), status(&["User", "CentralMgmt"]), 0),
            (Some(status(&["User", "CentralMgmt"])), status(&["User"]), 1),
        ] {
            let all = announcements(before.as_ref(), &now, &idle);
            let events: Vec<_> = all.iter().filter(|event| event.reason == Reason::TypeRemoved).collect();
            assert_eq!(events.len(), removed, "{before:?}");
            for event in events {
                assert!(!event.warns && event.note.contains("CentralMgmt") && event.note.contains("rtcxds, rtcshared"));
            }
        }
    }

    #[test]
    fn events_of_a_move_have_its_prediction_and_those_of_a_forced_service_warn() {
        use crate::plan::tests::{NOW, desired, observation, pending};
        let mut begun =
            crate::plan::plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
        let operation = begun.persisted.operation.as_mut().unwrap();
        operation.predicted = Some(std::time::Duration::from_secs(3_700));
        let event = started(&begun).unwrap();
        assert!(!event.warns && event.note.contains("Predicted interruption: 2h"), "{}", event.note);

        let operation = begun.persisted.operation.as_mut().unwrap();
        operation.cause = Cause::ForcedService;
        let end = Ended {
            diverged: false,
            operation: operation.clone(),
            outcome: Outcome::Succeeded,
            detail: None,
            nothing_sent: false,
            limited: false,
        };
        assert!(started(&begun).unwrap().warns && ended(&end).warns);
    }

    #[test]
    fn approval_that_left_the_spec_before_its_move_is_one_warning() {
        let with = |approved: Option<&str>, epoch: &str, reason: &str| -> LyncPoolMirrorStatus {
            let mut status = serde_json::to_value(status(&["User"])).unwrap();
            let ty = &mut status["databaseTypes"][0];
            ty["epoch"] = json!(epoch);
            ty["reason"] = json!(reason);
            ty["tracking"] = json!({});
            if let Some(epoch) = approved {
                ty["tracking"]["approval"] = json!({"epoch": epoch, "since": "1970-01-01T00:00:00Z"});
            }
            serde_json::from_value(status).unwrap()
        };
        let approved = with(Some("7-ab"), "7-ab", "UnexpectedPrincipal");
        for (now, removed) in [
            (with(None, "7-ab", "UnexpectedPrincipal"), 1),
            (with(Some("7-ab"), "7-ab", "UnexpectedPrincipal"), 0),
            (with(None, "8-ab", "UnexpectedPrincipal"), 0),
            (with(None, "7-ab", "Aligned"), 0),
        ] {
            let events = removed_approvals(Some(&approved), &now);
            assert_eq!(events.len(), removed, "{now:?}");
            assert!(events.iter().all(|event| event.warns && event.note.contains("7-ab")));
        }
        // The move was made, and failed or ended: the approval was not lost before it.
        for (ended, removed) in [("1969-12-31T23:59:59Z", 1), ("1970-01-01T00:00:00Z", 0)] {
            let mut now = serde_json::to_value(with(None, "7-ab", "UnexpectedPrincipal")).unwrap();
            now["databaseTypes"][0]["lastMove"] = json!({"endedAt": ended, "cause": "Approved", "outcome": "Failed"});
            let now = serde_json::from_value(now).unwrap();
            assert_eq!(removed_approvals(Some(&approved), &now).len(), removed, "{ended}");
        }
        assert_eq!(removed_approvals(None, &approved), []);
    }

    #[test]
    fn deletion_during_a_move_is_a_warning_with_its_databases() {
        let journal = json!({
            "resourceUid": "uid-1",
            "operation": {
                "type": "User", "from": "Primary", "to": "Mirror", "toServer": "SQL-B", "cause": "Intent",
                "startedAt": "1970-01-01T00:00:00Z", "deadline": "1970-01-01T00:05:00Z", "generation": 2, "attempt": 1,
                "attemptedAt": "1970-01-01T00:00:00Z",
                "databases": [{"name": "rtcxds", "guid": "00000000-0000-0000-0000-000000000001", "roleSequence": 3, "before": ""}],
            },
        });
        let status: LyncPoolMirrorStatus = serde_json::from_value(journal).unwrap();
        let operation = crate::api::restore_state("uid-1", Some(&status)).operation.unwrap();
        assert_eq!(operation.to, Seat::Mirror);
        let event = deleted_during(&operation);
        assert!(event.warns && event.reason == Reason::MoveSuperseded, "{event:?}");
        assert!(event.note.starts_with("Failover of User to the mirror SQL-B was in progress"), "{}", event.note);
        assert!(event.note.contains("(rtcxds)"), "{}", event.note);
    }
}
