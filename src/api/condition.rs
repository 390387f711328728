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

/// The longest message in characters. The API server rejects 32,768, and the status has a limit as a whole.
const MESSAGE_LIMIT: usize = 2_048;

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

    pub fn is(&self, kind: ConditionType, status: &str) -> bool {
        self.kind == kind && self.status == status
    }

    pub fn reason(&self) -> Reason {
        self.reason
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// The published condition. The transition time changes only with the status.
    pub fn since(self, before: &[Condition], generation: i64, now: Timestamp) -> Condition {
        let type_: &'static str = self.kind.into();
        let last_transition_time = before
            .iter()
            .find(|old| old.type_ == type_ && old.status == self.status)
            .map_or(Time(now), |old| old.last_transition_time.clone());
        let mut message = self.message;
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LIMIT) {
            message.truncate(end);
            message.push('\u{2026}');
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
