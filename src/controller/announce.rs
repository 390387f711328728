//! Events and metrics: one event per change of a decision, none per look.

use kube::runtime::events::{Event, EventType};
use tracing::{debug, info};

use crate::api::{LyncPoolMirror, LyncPoolMirrorStatus};
use crate::controller::compose;
use crate::controller::context::{Context, Ref, key};
use crate::metrics::{DatabaseSnapshot, ResourceSnapshot, Seat, TypeSnapshot};
use crate::model::{Observation, Outcome, Reason, Side, Weight};
use crate::plan::{Observed, Plan};

/// Kubernetes refuses a longer note.
const NOTE: usize = 1000;

impl Context {
    pub async fn announce(
        &self,
        name: &Ref,
        mirror: &LyncPoolMirror,
        status: &LyncPoolMirrorStatus,
        seen: &Observation,
        plan: &Plan,
    ) {
        let namespace = name.namespace.as_deref().unwrap_or_default();
        self.metrics.observe(namespace, &name.name, snapshot(status, seen, plan));
        if let Some(ended) = &plan.ended {
            self.metrics.moved(namespace, &name.name, ended.operation.ty, ended.outcome);
        }
        for (reason, action, note) in news(mirror.status.as_ref(), plan) {
            info!(resource = key(name), reason = reason.name(), note, "announced");
            self.tell(name, reason, action, note).await;
        }
        if let Some(found) = new_drift(mirror.status.as_ref(), status) {
            self.tell(name, Reason::PostSwitchDrift, "Compare".to_owned(), found).await;
        }
        self.hint(name).await;
    }

    /// Two Central Management stores are legal (paired pools hold a backup), and worth a second look, once.
    async fn hint(&self, name: &Ref) {
        let (who, existing) = (key(name), self.existing());
        let others = self.claims.other_stores(&who, |other| existing.contains(other)).join(", ");
        if !others.is_empty() && self.first_time(format!("{who} and {others}")) {
            let note = format!(
                "CentralMgmt is also managed on other servers, by {others}: right for paired pools, where one of them is the backup; otherwise one of the resources names the wrong servers"
            );
            self.tell(name, Reason::SecondCentralMgmt, "Compare".to_owned(), note).await;
        }
    }

    /// Something about the resource itself, not about its databases.
    pub async fn complain(&self, name: &Ref, reason: Reason, problem: &str) {
        self.tell(name, reason, "Read".to_owned(), problem.to_owned()).await;
    }

    async fn tell(&self, name: &Ref, reason: Reason, action: String, note: String) {
        let type_ = match reason.weight() {
            Weight::Good | Weight::Progressing => EventType::Normal,
            Weight::Stuck => EventType::Warning,
        };
        let note = note.chars().take(NOTE).collect();
        let event = Event { type_, reason: reason.name().to_owned(), note: Some(note), action, secondary: None };
        // An event is a courtesy: the status has said it already.
        if let Err(error) = self.recorder.publish(&event, &name.clone().into()).await {
            debug!(resource = key(name), %error, "event not recorded");
        }
    }
}

/// What a role switch left behind, when that is news.
fn new_drift(before: Option<&LyncPoolMirrorStatus>, now: &LyncPoolMirrorStatus) -> Option<String> {
    let condition = |status: &LyncPoolMirrorStatus| {
        let found = status.conditions.iter().find(|condition| condition.reason == Reason::PostSwitchDrift.name());
        found.map(|condition| condition.message.clone())
    };
    condition(now).filter(|found| before.and_then(condition).as_ref() != Some(found))
}

/// What is new against the status before. The action tells types apart: the recorder folds events that agree in it.
fn news(before: Option<&LyncPoolMirrorStatus>, plan: &Plan) -> Vec<(Reason, String, String)> {
    let mut news = Vec::new();
    if let (Some(operation), false) = (&plan.memory.operation, plan.steps.is_empty()) {
        let reason = if operation.attempt == 1 { Reason::MoveStarted } else { Reason::MoveRetried };
        let names = plan.steps.iter().map(|step| step.database.to_string()).collect::<Vec<_>>().join(", ");
        news.push((
            reason,
            format!("Move{}-{}", operation.ty, operation.attempt),
            format!("moving {} to the {} ({}): {names}", operation.ty, operation.to.word(), operation.cause),
        ));
    }
    if let Some(ended) = &plan.ended {
        let (reason, word) = match ended.outcome {
            Outcome::Succeeded => (Reason::MoveSucceeded, "moved"),
            Outcome::Failed => (Reason::MoveFailed, "not moved"),
            Outcome::Partial => (Reason::MoveFailed, "moved in part"),
            Outcome::Superseded => (Reason::MoveSuperseded, "move given up"),
        };
        let operation = &ended.operation;
        let detail = ended.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        news.push((
            reason,
            format!("End{}-{}", operation.ty, operation.started.as_second()),
            format!("{} to the {}: {word}{detail}", operation.ty, operation.to.word()),
        ));
    }
    for (ty, of) in &plan.types {
        let old = before.and_then(|status| status.database_types.iter().find(|old| old.type_ == *ty));
        let reason = of.verdict.reason;
        let told = matches!(reason, Reason::Moving | Reason::Verifying);
        if !told && old.is_none_or(|old| old.reason != reason.name()) {
            news.push((reason, format!("Judge{ty}"), of.verdict.message.clone()));
        }
    }
    news
}

fn snapshot(status: &LyncPoolMirrorStatus, seen: &Observation, plan: &Plan) -> ResourceSnapshot {
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    let holds = |kind: &str| condition(kind).is_some_and(|condition| condition.status == "True");
    let reason = condition("Ready").and_then(|ready| ready.reason.parse().ok()).unwrap_or(Reason::NotYetObserved);
    ResourceSnapshot {
        ready: holds("Ready"),
        reason,
        suspended: holds("Suspended"),
        weak_encryption: holds("WeakEncryption"),
        types: plan
            .types
            .iter()
            .map(|(ty, of)| TypeSnapshot {
                ty: *ty,
                desired: of.wish.principal,
                observed: match of.observed {
                    Observed::On(side) => side.into(),
                    Observed::Split => Seat::Split,
                    Observed::Unknown => Seat::Unknown,
                },
                reason: of.verdict.reason,
                databases: of
                    .findings
                    .iter()
                    .filter_map(|finding| {
                        let pair = seen.pairs.get(of.wish.store)?;
                        let state = |side: Side| {
                            let row = pair.view(side).lit()?.databases.get(&finding.name)?;
                            Some((side, row.mirroring.as_ref()?.state))
                        };
                        Some(DatabaseSnapshot {
                            name: finding.name.to_string(),
                            states: Side::BOTH.into_iter().filter_map(state).collect(),
                            redo_queue_kb: compose::redo(pair, &finding.name),
                        })
                    })
                    .collect(),
            })
            .collect(),
    }
}
