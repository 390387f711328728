//! The status of what the operator cannot observe, because the spec has problems. A former observation would be false, so
//! only the memory of the planner is kept. Pure.

use jiff::Timestamp;

use crate::api::{DatabaseTypeStatus, LyncPoolMirrorStatus};
use crate::model::{DatabaseType, Desired, ObservedPrincipal, Reason, Seat, Service};
use crate::status::age::confirmed;
use crate::status::{conditions, limits};

/// The types that the spec names and that the operator cannot observe.
pub(super) fn types(desired: &Desired, before: Option<&LyncPoolMirrorStatus>) -> Vec<DatabaseTypeStatus> {
    let former = |ty| before.into_iter().flat_map(|status| &status.database_types).find(|old| old.type_ == ty);
    desired.unusable.iter().map(|(ty, principal)| type_status(*ty, *principal, former(*ty))).collect()
}

/// `Archiving=Unknown!`, as the summary of the principals shows a type that is not observed.
pub(super) fn principal(ty: DatabaseType) -> String {
    format!("{ty}={}!", ObservedPrincipal::Unknown)
}

fn type_status(ty: DatabaseType, desired: Seat, before: Option<&DatabaseTypeStatus>) -> DatabaseTypeStatus {
    DatabaseTypeStatus {
        type_: ty,
        desired,
        observed: ObservedPrincipal::Unknown,
        service: Service::Unknown,
        reason: Reason::InvalidSpec.name().to_owned(),
        message: format!(
            "Unknown. The operator does not observe {ty}, as the spec has problems. To fix: correct what status.specProblems names."
        ),
        epoch: None,
        request: before.and_then(|old| old.request.clone()),
        last_move: before.and_then(|old| old.last_move.clone()),
        tracking: before.and_then(|old| old.tracking.clone()),
        databases: Vec::new(),
    }
}

/// The status of a resource whose spec cannot be decoded.
pub fn undecodable(
    before: &LyncPoolMirrorStatus,
    problem: &str,
    generation: i64,
    now: Timestamp,
) -> LyncPoolMirrorStatus {
    let types = &before.database_types;
    let status = limits::bounded(LyncPoolMirrorStatus {
        observed_generation: Some(generation),
        resource_uid: before.resource_uid.clone(),
        service: Some(Service::Unknown),
        principals: (!types.is_empty())
            .then(|| types.iter().map(|old| principal(old.type_)).collect::<Vec<_>>().join(" ")),
        last_move_time: before.last_move_time.clone(),
        observed_time: None,
        redo_queue: None,
        spec_problems: vec![problem.to_owned()],
        conditions: conditions::invalid(&before.conditions, generation, now),
        servers: Vec::new(),
        database_types: types.iter().map(|old| type_status(old.type_, old.desired, Some(old))).collect(),
        unmanaged_databases: Vec::new(),
        plan: Vec::new(),
        operation: before.operation.clone(),
        next_maintenance_window: None,
        post_switch_differences: before.post_switch_differences.clone(),
        history: before.history.clone(),
    });
    confirmed(status, Some(before), now)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::ParsedSpec;
    use crate::plan::plan;
    use crate::plan::tests::{NOW, pending};
    use crate::status::fixtures::{UID, observed, observed_stores, rendered, spec};

    fn status(spec: &ParsedSpec, before: &LyncPoolMirrorStatus, (a, b): (&str, &str)) -> LyncPoolMirrorStatus {
        let observation = observed_stores(spec, a, b);
        let persisted = crate::api::restore_state(UID, Some(before));
        let plan = plan(&spec.desired, &observation, &persisted, NOW);
        rendered(spec, &observation, &plan, Some(before))
    }

    fn condition<'a>(status: &'a LyncPoolMirrorStatus, kind: &str) -> &'a Condition {
        status.conditions.iter().find(|condition| condition.type_ == kind).unwrap()
    }

    /// Status and reason of a condition.
    fn state<'a>(status: &'a LyncPoolMirrorStatus, kind: &str) -> (&'a str, &'a str) {
        let condition = condition(status, kind);
        (&condition.status, &condition.reason)
    }

    /// A status after a completed move, with memory.
    fn before() -> LyncPoolMirrorStatus {
        let spec = spec(|_| {});
        let observation = observed("P/4/C", "M/4/C");
        let begun = plan(&spec.desired, &observation, &pending(Seat::Mirror), NOW);
        status(&spec, &rendered(&spec, &observation, &begun, None), ("M/4/C/8", "P/4/C/8"))
    }

    #[test]
    fn status_with_a_bad_window_and_a_lost_principal_shows_what_the_servers_show() {
        let invalid = spec(|spec| {
            spec["policy"] = json!({
                "unrequestedSwitch": "FailBack",
                "maintenanceWindows": [{"schedule": "0 25 * * SAT", "duration": "4h", "timeZone": "Europe/Paris"}],
            });
        });
        let status = status(&invalid, &before(), ("P/1/C/9", "away"));
        for (kind, expected) in [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")] {
            assert_eq!(state(&status, kind), (expected, "InvalidSpec"), "{kind}");
        }
        let field = "spec.policy.maintenanceWindows[0].schedule";
        assert_eq!(
            condition(&status, "Ready").message,
            format!(
                "Exposed. {field} \"0 25 * * SAT\" cannot be used, and no move starts. To fix: see status.specProblems."
            )
        );
        assert!(status.spec_problems[0].starts_with(&format!("{field} \"0 25 * * SAT\": The second field")));
        assert_eq!(status.database_types[0].reason, "ConnectionRefused");
        assert_eq!(status.database_types[0].observed, ObservedPrincipal::Primary);
        assert_eq!(status.servers.iter().map(|server| server.reachable).collect::<Vec<_>>(), [true, false]);
        assert_eq!(state(&status, "PartnersReachable"), ("False", "ConnectionRefused"));
    }

    #[test]
    fn status_of_an_unusable_store_keeps_memory_and_drops_observations() {
        let before = before();
        assert_eq!(before.principals.as_deref(), Some("Archiving=Mirror"));
        let same_server = |spec: &mut Value| spec["sql"]["mirror"]["host"] = json!("SQL-PRIMARY.");
        let status = status(&spec(same_server), &before, ("away", "away"));
        assert_eq!(state(&status, "Ready"), ("False", "InvalidSpec"));
        assert_eq!(
            condition(&status, "Ready").message,
            "Unknown. spec.sql \"SQL-PRIMARY.,1433\" cannot be used, and no move starts. To fix: see status.specProblems."
        );
        assert!(status.spec_problems[0].ends_with("correct host, port or instance of one of them."));
        assert!(status.database_types[0].message.contains("does not observe Archiving"));
        for kind in ["PrincipalsAligned", "Synchronized", "PartnersReachable", "QuorumAtRisk", "Serving"] {
            assert_eq!(condition(&status, kind).status, "Unknown", "{kind}");
        }
        assert_eq!(status.principals.as_deref(), Some("Archiving=Unknown!"));
        assert!(status.servers.is_empty() && status.plan.is_empty());
        let ty = &status.database_types[0];
        assert_eq!((ty.observed, ty.reason.as_str()), (ObservedPrincipal::Unknown, "InvalidSpec"));
        assert!(ty.databases.is_empty() && ty.epoch.is_none());
        assert_eq!(status.history, before.history);
        assert_eq!(crate::api::restore_state(UID, Some(&status)), crate::api::restore_state(UID, Some(&before)));
    }

    #[test]
    fn undecodable_keeps_memory_and_drops_observations() {
        let before = before();
        let status = undecodable(&before, "The spec cannot be decoded: no principal.", 3, NOW);
        assert_eq!(state(&status, "Stalled"), ("True", "InvalidSpec"));
        let mut observed = status.conditions.iter().filter(|condition| condition.type_ != "PostSwitchDrift");
        assert!(observed.all(|condition| condition.reason == "InvalidSpec"));
        assert_eq!(status.principals.as_deref(), Some("Archiving=Unknown!"));
        assert!(status.servers.is_empty() && status.plan.is_empty() && status.redo_queue.is_none());
        assert_eq!((&status.history, &status.operation), (&before.history, &before.operation));
        assert_eq!(crate::api::restore_state(UID, Some(&status)), crate::api::restore_state(UID, Some(&before)));
        assert_eq!(undecodable(&status, "The spec cannot be decoded: no principal.", 3, NOW), status);
    }
}
