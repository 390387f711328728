//! The exit codes of the verbs, for scripts.

use std::process::ExitCode;

use serde::Serialize;

use crate::api::LyncPoolMirrorStatus;
use crate::model::{Effect, Reason, Service};

/// What a verb found, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::EnumIter)]
pub enum Exit {
    /// Everything is as the spec wants it.
    AsWanted,
    /// The operator continues without an administrator.
    OnItsWay,
    /// An administrator has to act, or has to correct the command.
    ActionNeeded,
    /// The state cannot be determined.
    NotKnown,
    /// The servers that could serve a database type were read and do not serve it.
    NotServed,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::AsWanted => 0,
            Exit::OnItsWay => 1,
            Exit::ActionNeeded => 2,
            Exit::NotServed => 3,
            Exit::NotKnown => 4,
        }
    }

    /// The exit in the first line of a pool.
    pub fn words(self) -> &'static str {
        match self {
            Exit::AsWanted => "as the spec wants it",
            Exit::OnItsWay => "on its way",
            Exit::ActionNeeded => "an administrator has to act",
            Exit::NotKnown => "the state is not known",
            Exit::NotServed => "clients are not served",
        }
    }

    /// The exit for a database type or a pool in this state.
    pub fn of(service: Service, reason: Reason) -> Exit {
        let effect = match reason.effect() {
            Effect::Reconciling => Exit::OnItsWay,
            Effect::Stalled => Exit::ActionNeeded,
            // A further loss stops it or endangers its data, although the principal is where the spec wants it.
            Effect::Ready if service == Service::Exposed => Exit::ActionNeeded,
            Effect::Ready => Exit::AsWanted,
        };
        match service {
            Service::NotServed => Exit::NotServed,
            // During a failover no row proves the service for a moment.
            Service::Unknown if effect == Exit::OnItsWay && reason != Reason::NotYetObserved => Exit::OnItsWay,
            Service::Unknown => Exit::NotKnown,
            Service::Protected | Service::Exposed => effect,
        }
    }

    /// The exit of a resource. `generation`: of its spec.
    pub fn of_status(status: &LyncPoolMirrorStatus, generation: Option<i64>) -> Exit {
        let reason = |name: &str| name.parse::<Reason>().ok();
        let worst = Exit::of_types(status);
        // The whole resource can be stalled although its types are not, e.g. by a problem of the spec.
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let whole = match ready.and_then(|ready| reason(&ready.reason)) {
            Some(reason) => Exit::of(Service::Protected, reason),
            None => Exit::NotKnown,
        };
        worst.max(whole).max(Exit::of_age(status, generation))
    }

    /// The worst exit of its database types.
    pub fn of_types(status: &LyncPoolMirrorStatus) -> Exit {
        let types = status.database_types.iter().map(|of| match of.reason.parse() {
            Ok(reason) => Exit::of(of.service, reason),
            // The operator is newer than this program.
            Err(_) => Exit::NotKnown,
        });
        types.max().unwrap_or(Exit::NotKnown)
    }

    /// A status for a former spec is on its way.
    pub fn of_age(status: &LyncPoolMirrorStatus, generation: Option<i64>) -> Exit {
        if status.observed_generation < generation { Exit::OnItsWay } else { Exit::AsWanted }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn exit_of_each_service_and_effect_is_the_documented_code() {
        let table = [
            (Service::Protected, Reason::Aligned, 0),
            (Service::Protected, Reason::Cooldown, 1),
            (Service::Exposed, Reason::Moving, 1),
            (Service::Exposed, Reason::Aligned, 2),
            (Service::Protected, Reason::UnexpectedPrincipal, 2),
            (Service::NotServed, Reason::NoQuorum, 3),
            (Service::NotServed, Reason::Synchronizing, 3),
            (Service::Unknown, Reason::PrincipalLost, 4),
            (Service::Unknown, Reason::Aligned, 4),
            (Service::Unknown, Reason::NotYetObserved, 4),
            (Service::Unknown, Reason::FailoverInProgress, 1),
        ];
        for (service, reason, code) in table {
            assert_eq!(Exit::of(service, reason).code(), code, "{service} {reason}");
        }
        let codes: std::collections::BTreeSet<u8> = Exit::iter().map(Exit::code).collect();
        assert_eq!(codes, (0..5).collect());
    }

    fn status(json: serde_json::Value) -> LyncPoolMirrorStatus {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn exit_of_a_status_is_that_of_its_worst_part() {
        let of_type = |service: &str, reason: &str| {
            serde_json::json!({"type": "User", "desired": "Primary", "observed": "Primary", "service": service,
                "reason": reason, "message": ""})
        };
        let whole = |ready: &str, types: Vec<serde_json::Value>| {
            status(serde_json::json!({
                "observedGeneration": 3, "databaseTypes": types,
                "conditions": [{"type": "Ready", "status": "True", "reason": ready, "message": "",
                    "lastTransitionTime": "2026-11-25T23:38:00Z"}],
            }))
        };
        let fine = whole("Aligned", vec![of_type("Protected", "Aligned")]);
        assert_eq!(Exit::of_status(&fine, Some(3)), Exit::AsWanted);
        assert_eq!(Exit::of_status(&fine, Some(4)), Exit::OnItsWay, "the operator has not read the spec yet");
        let mixed = whole("Cooldown", vec![of_type("Protected", "Cooldown"), of_type("NotServed", "NoQuorum")]);
        assert_eq!(Exit::of_status(&mixed, Some(3)), Exit::NotServed);
        let invalid = whole("InvalidSpec", vec![of_type("Protected", "Aligned")]);
        assert_eq!(Exit::of_status(&invalid, Some(3)), Exit::ActionNeeded);
        let newer = whole("Aligned", vec![of_type("Protected", "AReasonOfTomorrow")]);
        assert_eq!(Exit::of_status(&newer, Some(3)), Exit::NotKnown);
        assert_eq!(Exit::of_status(&status(serde_json::json!({})), Some(1)), Exit::NotKnown);
    }
}
