//! The status, written by compare-and-swap with the resource version that was read, and only when it differs.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, ResourceExt};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::warn;

use crate::api::{Asked, LyncPoolMirror, LyncPoolMirrorStatus, Salvaged, salvage};
use crate::controller::compose::{Timings, compose};
use crate::controller::context::{Context, Ref, key};
use crate::controller::flights::Ticket;
use crate::controller::{Error, conditions};
use crate::model::{Memory, Observation, Reason};
use crate::plan::Plan;

/// The client retries for minutes and has no read timeout.
const WRITE: Duration = Duration::from_secs(10);

impl Context {
    /// Writes what the plan says. The journal of a new move is part of it: when this fails, nothing may be sent.
    pub async fn publish(
        &self,
        mirror: &LyncPoolMirror,
        name: &Ref,
        asked: &Asked,
        seen: &Observation,
        plan: &Plan,
        memory: &Memory,
    ) -> Result<LyncPoolMirrorStatus, Error> {
        let uid = mirror.metadata.uid.as_deref().unwrap_or_default();
        let timings = match (&plan.ended, &memory.operation) {
            (Some(_), Some(operation)) => self.flights.timings(&Ticket::of(uid, operation)),
            _ => Timings::default(),
        };
        let drift = self.drift.known(name, uid);
        let status = compose(asked, seen, plan, timings, drift.as_ref(), mirror.status.as_ref(), Timestamp::now());
        self.write(mirror, name, &status).await?;
        if plan.ended.is_some() {
            self.flights.forget(uid);
        }
        Ok(status)
    }

    /// A spec that the API server let through and that cannot be used. What was remembered stays.
    pub async fn publish_invalid(&self, mirror: &LyncPoolMirror, name: &Ref, problem: &str) -> Result<(), Error> {
        let before = mirror.status.clone().unwrap_or_default();
        let generation = mirror.metadata.generation.unwrap_or_default();
        let status = LyncPoolMirrorStatus {
            observed_generation: Some(generation),
            conditions: conditions::invalid(problem, &before.conditions, generation, Timestamp::now()),
            ..before
        };
        self.write(mirror, name, &status).await
    }

    /// A resource that cannot be decoded. An unreadable part of the status is dropped, so that the next reconciliation
    /// can go on without it; an unreadable spec is answered in the status.
    pub async fn publish_undecodable(&self, name: &Ref) -> Result<(), Error> {
        let api = self.undecoded(name);
        let what = || format!("LyncPoolMirror {}", key(name));
        let mut object = match timeout(WRITE, api.get_opt(&name.name)).await {
            Ok(Ok(Some(object))) => object,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(source)) => return Err(Error::Read { what: what(), source }),
            Err(_) => return Err(Error::Slow { what: format!("reading {}", what()) }),
        };
        let raw = serde_json::to_value(&object).unwrap_or_default();
        let Salvaged { spec_problem, mut status, lost } = salvage(&raw);
        let before = status.clone();
        if let Some(problem) = spec_problem {
            let problem = format!("spec: {problem}");
            let generation = object.metadata.generation.unwrap_or_default();
            status.observed_generation = Some(generation);
            status.conditions = conditions::invalid(&problem, &status.conditions, generation, Timestamp::now());
            if status != before {
                warn!(resource = key(name), problem, "the spec cannot be read");
                self.complain(name, Reason::InvalidSpec, &problem).await;
            }
        }
        if !lost.is_empty() {
            let lost = format!("dropped from the status, for it cannot be read: {}", lost.join("; "));
            warn!(resource = key(name), lost, "the status cannot be read");
            self.complain(name, Reason::StatusUnreadable, &lost).await;
        } else if status == before {
            return Ok(());
        }
        object.metadata.managed_fields = None;
        object.data["status"] = serde_json::to_value(&status).unwrap_or_default();
        self.written(name, timeout(WRITE, api.replace_status(&name.name, &PostParams::default(), &object)).await)
    }

    fn undecoded(&self, name: &Ref) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<LyncPoolMirror>(&());
        Api::namespaced_with(self.client.clone(), name.namespace.as_deref().unwrap_or_default(), &kind)
    }

    async fn write(&self, mirror: &LyncPoolMirror, name: &Ref, status: &LyncPoolMirrorStatus) -> Result<(), Error> {
        if mirror.status.as_ref() == Some(status) {
            return Ok(());
        }
        let namespace = name.namespace.as_deref().unwrap_or_default();
        let api = Api::<LyncPoolMirror>::namespaced(self.client.clone(), namespace);
        let mut next = mirror.clone();
        next.metadata.managed_fields = None;
        next.status = Some(status.clone());
        self.written(name, timeout(WRITE, api.replace_status(&mirror.name_any(), &PostParams::default(), &next)).await)
    }

    fn written<T>(&self, name: &Ref, answer: Result<Result<T, kube::Error>, Elapsed>) -> Result<(), Error> {
        match answer {
            Ok(Ok(_)) => {
                self.metrics.status_written();
                Ok(())
            }
            Ok(Err(kube::Error::Api(answer))) if answer.is_conflict() => Err(Error::Conflict),
            // Deleted in between: there is nobody left to tell.
            Ok(Err(kube::Error::Api(answer))) if answer.is_not_found() => Err(Error::Conflict),
            Ok(Err(source)) => Err(Error::Publish { source }),
            Err(_) => Err(Error::Slow { what: format!("writing the status of {}", key(name)) }),
        }
    }
}
