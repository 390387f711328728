//! The builder of conditions. No other module constructs one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::model::Reason;

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumIter)]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    PrincipalsAligned,
    Synchronized,
    PartnersReachable,
    QuorumAtRisk,
    Serving,
    Suspended,
    PostSwitchDrift,
    WeakEncryption,
    CredentialsStale,
}

/// A condition under construction.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionDraft {
    kind: ConditionType,
    status: &'static str,
    reason: Reason,
    message: String,
}

/// The longest message, in characters: a message is one line of `kubectl get` and `kubectl describe`.
pub const MESSAGE_LIMIT: usize = 160;

impl ConditionDraft {
    pub fn true_(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status: "True", reason, message: message.into() }
    }

    pub fn false_(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { status: "False", ..Self::true_(kind, reason, message) }
    }

    pub fn unknown(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { status: "Unknown", ..Self::true_(kind, reason, message) }
    }

    pub fn when(holds: bool, kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        if holds { Self::true_(kind, reason, message) } else { Self::false_(kind, reason, message) }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn is(&self, kind: ConditionType, status: &str) -> bool {
        self.kind == kind && self.status == status
    }

    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The published condition. The transition time changes only with the status.
    pub fn since(self, before: &[Condition], generation: i64, now: Timestamp) -> Condition {
        let type_: &'static str = self.kind.into();
        let last_transition_time = before
            .iter()
            .find(|old| old.type_ == type_ && old.status == self.status)
            .map_or(Time(now), |old| old.last_transition_time.clone());
        let mut message = self.message;
        if message.chars().count() > MESSAGE_LIMIT {
            message = message.chars().take(MESSAGE_LIMIT - 3).chain("...".chars()).collect();
        }
        Condition {
            type_: type_.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.name().to_owned(),
            message,
            observed_generation: Some(generation),
            last_transition_time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn draft(kind: ConditionType, message: &str) -> ConditionDraft {
        ConditionDraft::true_(kind, Reason::Aligned, message)
    }

    /// The type and the status of the former condition, and the transition time of the present one.
    #[test]
    fn transition_time_changes_only_with_the_status_of_the_type() {
        for (kind, holds, expected) in [
            (ConditionType::Ready, true, 1),
            (ConditionType::Ready, false, 9),
            (ConditionType::Stalled, true, 9),
            (ConditionType::Stalled, false, 9),
        ] {
            let before = [ConditionDraft::when(holds, kind, Reason::Aligned, "").since(&[], 1, at(1))];
            let now = draft(ConditionType::Ready, "").since(&before, 2, at(9));
            assert_eq!(now.last_transition_time, Time(at(expected)), "{kind:?} {holds}");
        }
    }

    #[test]
    fn message_longer_than_the_limit_is_cut() {
        for (length, expected) in [(MESSAGE_LIMIT - 1, 159), (MESSAGE_LIMIT, 160), (MESSAGE_LIMIT + 9, 160)] {
            let text = "\u{e4}".repeat(length);
            let message = draft(ConditionType::Ready, &text).since(&[], 1, at(1)).message;
            assert_eq!(message.chars().count(), expected, "{length}");
            assert_eq!(message == text, length <= MESSAGE_LIMIT, "{length}");
        }
    }
}
